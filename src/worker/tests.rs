//! The loop against a scripted source and a store in memory, on paused time.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};

use super::*;
use crate::clock::Clock;
use crate::config::{Compression, FormatKind};
use crate::decode::DecodeConfig;
use crate::event::Record;
use crate::partition::KeyLimits;
use crate::retry::Patience;
use crate::source::{Batch, Reader, Shard};

const START: i64 = 1_711_083_600_000;

/// Shards with records that are all there from the beginning; a closed shard ends behind its last record.
#[derive(Debug, Default)]
struct Script {
    shards: BTreeMap<ShardId, Scripted>,
    reads: Mutex<Vec<String>>,
}

#[derive(Clone, Debug, Default)]
struct Scripted {
    parents: Vec<ShardId>,
    records: Vec<Bytes>,
    closed: bool,
}

#[derive(Debug)]
struct ScriptedReader {
    shard: Scripted,
    next: u64,
    said_tip: bool,
}

/// The scripted source that a worker reads; the test keeps another handle to the script.
#[derive(Clone, Debug)]
struct ScriptedSource(Arc<Mutex<Script>>);

#[async_trait]
impl Source for ScriptedSource {
    fn id(&self) -> &str {
        "script"
    }

    fn stream(&self) -> Option<&str> {
        Some("app-logs")
    }

    async fn shards(&self) -> Result<Vec<Shard>, SourceError> {
        let script = self.0.lock().unwrap();
        let shard = |(id, shard): (&ShardId, &Scripted)| Shard { id: id.clone(), parents: shard.parents.clone() };
        Ok(script.shards.iter().map(shard).collect())
    }

    fn start(&self) -> Position {
        Position::TrimHorizon
    }

    fn ends(&self) -> bool {
        false
    }

    async fn open(&self, shard: &ShardId, from: &Position) -> Result<Box<dyn Reader>, SourceError> {
        let script = self.0.lock().unwrap();
        script.reads.lock().unwrap().push(format!("{shard} {from}"));
        let next = match from {
            Position::After(sequence) => sequence.index().unwrap() + 1,
            _ => 0,
        };
        Ok(Box::new(ScriptedReader { shard: script.shards[shard].clone(), next, said_tip: false }))
    }
}

#[async_trait]
impl Reader for ScriptedReader {
    async fn next(&mut self) -> Result<Batch, SourceError> {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let left = self.shard.records.iter().skip(usize::try_from(self.next).unwrap());
        let records: Vec<Record> = left
            .take(2)
            .enumerate()
            .map(|(n, data)| Record {
                data: data.clone(),
                sequence: (self.next + n as u64).into(),
                partition_key: Some("k".into()),
                arrival: START,
            })
            .collect();
        self.next += records.len() as u64;
        let at_tip = usize::try_from(self.next).unwrap() == self.shard.records.len();
        if records.is_empty() && self.said_tip && !self.shard.closed {
            std::future::pending::<()>().await;
        }
        self.said_tip |= at_tip;
        Ok(Batch { records, at_tip, at_end: at_tip && self.shard.closed, ..Batch::default() })
    }
}

fn payload(group: &str, ids: std::ops::Range<u64>) -> Bytes {
    let events = ids.map(|id| format!(r#"{{"id":"{id}","timestamp":{},"message":"m{id}"}}"#, START + id as i64));
    let events: Vec<String> = events.collect();
    let json = format!(
        r#"{{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"{group}","logStream":"s","logEvents":[{}]}}"#,
        events.join(",")
    );
    json.into()
}

fn shard(parents: &[&str], closed: bool, records: Vec<Bytes>) -> Scripted {
    Scripted { parents: parents.iter().map(|id| ShardId::from(*id)).collect(), records, closed }
}

fn script(shards: Vec<(&str, Scripted)>) -> ScriptedSource {
    let shards = shards.into_iter().map(|(id, shard)| (ShardId::from(id), shard)).collect();
    ScriptedSource(Arc::new(Mutex::new(Script { shards, reads: Mutex::default() })))
}

fn parts(source: &ScriptedSource, store: &Arc<dyn ObjectStore>, drain: bool) -> Parts {
    // Another seed for each worker: the same one would give them the same id.
    static SEED: AtomicU64 = AtomicU64::new(1);
    let clock = Clock::simulated(SEED.fetch_add(1, Ordering::Relaxed), START);
    let keys = KeyLimits { key: 1024, segment: 1024, before: 0 };
    let flush = FlushConfig {
        interval: Duration::from_secs(60),
        buffer_bytes: 32 << 20,
        object_bytes: 128 << 20,
        open_partitions: 100,
    };
    let settings = Settings {
        group: "test".into(),
        lease: Duration::from_secs(30),
        flush,
        format: Format { kind: FormatKind::Json, compression: Compression::None, level: 0 },
        errors: "errors".into(),
        drain,
        cores: 2,
        stuck_after: Duration::from_secs(600),
        about: About::default(),
    };
    Parts {
        source: Arc::new(source.clone()),
        storage: Storage::new(Arc::clone(store), true, clock, Patience::default()),
        decoder: Arc::new(Decoder::new(DecodeConfig {
            inflated_record_bytes: 1 << 20,
            table: "log_events".into(),
            keys,
        })),
        schema: Schema::log_events(),
        settings,
    }
}

/// Every delivered event id with the folder it is in, sorted; and all other keys.
async fn lake(store: &Arc<dyn ObjectStore>) -> (Vec<(u64, String)>, Vec<String>) {
    let (mut events, mut others) = (Vec::new(), Vec::new());
    let objects: Vec<_> = store.list(None).try_collect().await.unwrap();
    for object in objects {
        let key = object.location.to_string();
        let Some(folder) = key.strip_prefix("log_events/") else {
            others.push(key);
            continue;
        };
        let folder = folder.rsplit_once('/').unwrap().0.to_owned();
        let bytes = store.get(&object.location).await.unwrap().bytes().await.unwrap();
        for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let row: serde_json::Value = serde_json::from_slice(line).unwrap();
            events.push((row["event_id"].as_str().unwrap().parse().unwrap(), folder.clone()));
        }
    }
    events.sort();
    (events, others)
}

fn never() -> watch::Receiver<bool> {
    let (sender, stop) = watch::channel(false);
    std::mem::forget(sender);
    stop
}

fn ids(events: &[(u64, String)]) -> Vec<u64> {
    events.iter().map(|(id, _)| *id).collect()
}

#[tokio::test(start_paused = true)]
async fn a_drain_delivers_everything_once_and_leaves_nothing_behind() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let source = script(vec![
        ("a", shard(&[], false, vec![payload("/x", 0..10), payload("/y", 10..15), payload("/x", 15..20)])),
        ("b", shard(&[], false, vec![payload("/x", 20..30), Bytes::from_static(b"poison")])),
    ]);
    let report = run(parts(&source, &store, true), never()).await.unwrap();
    assert_eq!((report.counts.records, report.counts.events, report.counts.rejections), (5, 30, 1));
    let (events, others) = lake(&store).await;
    assert_eq!(ids(&events), (0..30).collect::<Vec<_>>());
    assert_eq!(events[12].1, "log_group=%2Fy/dt=2024-03-22/hour=05");
    assert!(others.iter().all(|key| key.starts_with("errors/") || key.contains("/state/")), "{others:?}");

    let report = run(parts(&source, &store, true), never()).await.unwrap();
    assert_eq!(report, Report::default(), "there is nothing new");
    assert_eq!(lake(&store).await.0, events);
}

#[tokio::test(start_paused = true)]
async fn children_are_read_after_their_parents_end() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let source = script(vec![
        ("a", shard(&[], true, vec![payload("/x", 0..5)])),
        ("b", shard(&[], true, vec![])),
        ("c", shard(&["a", "b"], true, vec![payload("/x", 5..9)])),
        ("d", shard(&["c"], false, vec![payload("/x", 9..12)])),
    ]);
    let report = run(parts(&source, &store, true), never()).await.unwrap();
    assert_eq!(report.counts.events, 12);
    assert_eq!(ids(&lake(&store).await.0), (0..12).collect::<Vec<_>>());
    let reads = source.0.lock().unwrap().reads.lock().unwrap().clone();
    assert_eq!(reads, ["a trim_horizon", "b trim_horizon", "c trim_horizon", "d trim_horizon"]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_commits_what_is_buffered_and_the_next_run_goes_on_from_there() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let records = (0..100).map(|n| payload("/x", n * 10..n * 10 + 10)).collect();
    let source = script(vec![("a", shard(&[], false, records))]);
    let (sender, stop) = watch::channel(false);
    let running = tokio::spawn(run(parts(&source, &store, false), stop));
    tokio::time::sleep(Duration::from_secs(3)).await;
    sender.send_replace(true);
    let first = running.await.unwrap().unwrap();
    assert!(first.counts.events > 0 && first.counts.events < 1000, "{first:?}");
    assert_eq!(ids(&lake(&store).await.0).len() as u64, first.counts.events);

    let second = run(parts(&source, &store, true), never()).await.unwrap();
    assert_eq!(first.counts.events + second.counts.events, 1000);
    assert!(ids(&lake(&store).await.0).into_iter().eq(0..1000));
}

#[tokio::test(start_paused = true)]
async fn rows_become_visible_after_the_interval_and_an_idle_stream_rests() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let source = script(vec![("a", shard(&[], false, vec![payload("/x", 0..5)]))]);
    let (sender, stop) = watch::channel(false);
    let running = tokio::spawn(run(parts(&source, &store, false), stop));
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!(lake(&store).await.0, []);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(ids(&lake(&store).await.0), [0, 1, 2, 3, 4]);

    let states = |others: Vec<String>| others.into_iter().filter(|key| key.contains("/state/")).count();
    tokio::time::sleep(Duration::from_secs(120)).await;
    let (_, others) = lake(&store).await;
    assert!(!others.iter().any(|key| key.ends_with(".pack")), "cleared when nothing came along: {others:?}");
    let before = states(others);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(states(lake(&store).await.1), before, "an idle stream costs no snapshots");
    sender.send_replace(true);
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_worker_owned_is_taken_over_after_its_lease() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let records = (0..50).map(|n| payload("/x", n * 10..n * 10 + 10)).collect();
    let source = script(vec![("a", shard(&[], false, records))]);
    let running = tokio::spawn(run(parts(&source, &store, false), never()));
    tokio::time::sleep(Duration::from_secs(2)).await;
    running.abort();
    let _ = running.await;

    let start = Instant::now();
    run(parts(&source, &store, true), never()).await.unwrap();
    assert!(start.elapsed() >= Duration::from_secs(30), "not before the lease: {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(60), "soon after it: {:?}", start.elapsed());
    assert!(ids(&lake(&store).await.0).into_iter().eq(0..500));
}
