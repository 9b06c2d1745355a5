//! The loop undisturbed, and ended in the usual ways.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use firemain::source::SourceError;
use firemain::worker::Report;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use tokio::sync::watch;
use tokio::time::Instant;

use super::lake::Lake;
use super::script::{ScriptedSource, closed, open, payload};
use super::{LEASE, never, parts, run};
use crate::support::faults::{Fault, Faulty};

#[tokio::test(start_paused = true)]
async fn a_drain_delivers_everything_once_and_leaves_nothing_behind() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let source = ScriptedSource::new([
        ("a", open(vec![payload("/x", 0..10), payload("/y", 10..15), payload("/x", 15..20)])),
        ("b", open(vec![payload("/x", 20..30), Bytes::from_static(b"poison")])),
    ]);
    let report = run(parts(&source, Arc::clone(&store), true), never()).await.unwrap();
    assert_eq!((report.counts.records, report.counts.events, report.counts.rejections), (5, 30, 1));
    let lake = Lake::read(&store).await;
    assert_eq!(lake.ids(), (0..30).collect::<Vec<_>>());
    assert_eq!(lake.rejections, [("Record.NotDecodable".to_owned(), b"poison".to_vec())]);
    assert_eq!(lake.events[12].1, "log_group=%2Fy/dt=2024-03-22/hour=05");
    assert_eq!(lake.states(), lake.others.len(), "{:?}", lake.others);

    let report = run(parts(&source, Arc::clone(&store), true), never()).await.unwrap();
    assert_eq!(report, Report::default(), "there is nothing new");
    assert_eq!(Lake::read(&store).await.events, lake.events);
}

#[tokio::test(start_paused = true)]
async fn children_are_read_after_their_parents_end() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let source = ScriptedSource::new([
        ("a", closed(vec![payload("/x", 0..5)])),
        ("b", closed(vec![])),
        ("c", closed(vec![payload("/x", 5..9)]).after(&["a", "b"])),
        ("d", open(vec![payload("/x", 9..12)]).after(&["c"])),
    ]);
    let report = run(parts(&source, Arc::clone(&store), true), never()).await.unwrap();
    assert_eq!(report.counts.events, 12);
    assert_eq!(Lake::read(&store).await.ids(), (0..12).collect::<Vec<_>>());
    assert_eq!(source.opened(), ["a trim_horizon", "b trim_horizon", "c trim_horizon", "d trim_horizon"]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_commits_what_is_buffered_and_the_next_run_goes_on_from_there() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let records = (0..100).map(|n| payload("/x", n * 10..n * 10 + 10)).collect();
    let source = ScriptedSource::new([("a", open(records))]);
    let (sender, stop) = watch::channel(false);
    let running = tokio::spawn(run(parts(&source, Arc::clone(&store), false), stop));
    tokio::time::sleep(Duration::from_secs(3)).await;
    sender.send_replace(true);
    let first = running.await.unwrap().unwrap();
    assert!(first.counts.events > 0 && first.counts.events < 1000, "{first:?}");
    assert_eq!(Lake::read(&store).await.ids().len() as u64, first.counts.events);

    let second = run(parts(&source, Arc::clone(&store), true), never()).await.unwrap();
    assert_eq!(first.counts.events + second.counts.events, 1000);
    assert!(Lake::read(&store).await.ids().into_iter().eq(0..1000));
}

#[tokio::test(start_paused = true)]
async fn what_was_read_before_its_source_failed_is_delivered() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let records: Vec<Bytes> = (0..7).map(|n| payload("/x", n * 10..n * 10 + 10)).collect();
    let source = ScriptedSource::new([
        ("a", open(records).failing(SourceError::Fatal)),
        ("b", open(vec![payload("/x", 70..75)])),
    ]);
    for round in 0..2 {
        let began = Instant::now();
        let error = run(parts(&source, Arc::clone(&store), false), never()).await.unwrap_err().to_string();
        assert_eq!(error, "the script says so");
        assert!(began.elapsed() < LEASE, "round {round}: nobody waits for a lease");
        assert!(Lake::read(&store).await.ids().into_iter().eq(0..75));
    }
}

/// Whether the other one has read everything it can't know, and so it can't end well.
#[tokio::test(start_paused = true)]
async fn a_drain_that_may_not_look_at_the_shards_of_others_fails_at_the_start() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let source = ScriptedSource::new([("a", open(vec![payload("/x", 0..5)]))]);
    let (sender, stop) = watch::channel(false);
    let owner = tokio::spawn(run(parts(&source, Arc::clone(&store), false), stop));
    tokio::time::sleep(Duration::from_secs(5)).await;
    let began = Instant::now();
    let error = run(parts(&source.private(), Arc::clone(&store), true), never()).await.unwrap_err().to_string();
    assert!(error.contains("looking is denied") && began.elapsed() < LEASE, "{error}");
    sender.send_replace(true);
    assert_eq!(owner.await.unwrap().unwrap().counts.events, 5);
    run(parts(&source, Arc::clone(&store), true), never()).await.unwrap();
    assert_eq!(Lake::read(&store).await.ids(), (0..5).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_a_shard_that_only_the_state_knows_of() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let records = (0..100).map(|n| payload("/x", n..n + 1)).collect();
    let source = ScriptedSource::new([("a", open(vec![])), ("b", open(records))]);
    let (sender, stop) = watch::channel(false);
    let running = tokio::spawn(run(parts(&source, Arc::clone(&store), false), stop));
    tokio::time::sleep(Duration::from_secs(3)).await;
    sender.send_replace(true);
    assert!(running.await.unwrap().unwrap().counts.events < 100);
    run(parts(&source.hiding(3), Arc::clone(&store), true), never()).await.unwrap();
    assert!(Lake::read(&store).await.ids().into_iter().eq(0..100));
}

#[tokio::test(start_paused = true)]
async fn what_may_be_wrong_is_not_delivered() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let source = ScriptedSource::new([("a", open(vec![payload("/x", 0..10)]).failing(SourceError::Untrusted))]);
    let error = run(parts(&source, Arc::clone(&store), false), never()).await.unwrap_err().to_string();
    assert_eq!((error.as_str(), Lake::read(&store).await.ids()), ("the script says so", vec![]));
}

#[tokio::test(start_paused = true)]
async fn rows_become_visible_after_the_interval_and_an_idle_stream_rests() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let source = ScriptedSource::new([("a", open(vec![payload("/x", 0..5)]))]);
    let (sender, stop) = watch::channel(false);
    let running = tokio::spawn(run(parts(&source, Arc::clone(&store), false), stop));
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!(Lake::read(&store).await.events, []);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(Lake::read(&store).await.ids(), [0, 1, 2, 3, 4]);

    tokio::time::sleep(Duration::from_secs(120)).await;
    let lake = Lake::read(&store).await;
    let packs: Vec<_> = lake.others.iter().filter(|key| key.ends_with(".pack")).collect();
    assert!(packs.is_empty(), "cleared when nothing came along: {packs:?}");
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(Lake::read(&store).await.states(), lake.states(), "an idle stream costs no snapshots");
    sender.send_replace(true);
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_worker_owned_is_taken_over_after_its_lease() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let records = (0..50).map(|n| payload("/x", n * 10..n * 10 + 10)).collect();
    let source = ScriptedSource::new([("a", open(records))]);
    let running = tokio::spawn(run(parts(&source, Arc::clone(&store), false), never()));
    tokio::time::sleep(Duration::from_secs(2)).await;
    running.abort();
    let _ = running.await;

    let start = Instant::now();
    run(parts(&source, Arc::clone(&store), true), never()).await.unwrap();
    assert!(start.elapsed() >= LEASE, "not before the lease: {:?}", start.elapsed());
    assert!(start.elapsed() < 2 * LEASE, "soon after it: {:?}", start.elapsed());
    assert!(Lake::read(&store).await.ids().into_iter().eq(0..500));
}

/// The interval and two seconds, with a store that takes 50 ms for each answer, whatever the number of partitions.
#[tokio::test(start_paused = true)]
async fn thousands_of_partitions_become_visible_in_time() {
    const PARTITIONS: u64 = 5_000;
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let slow = Faulty::new(Arc::clone(&store), |_, _| Fault::Slow(Duration::from_millis(25)));
    // In many shards, so that all are read soon after the start.
    let records = (0..PARTITIONS).map(|n| payload(&format!("/x/{n}"), n..n + 1)).collect::<Vec<_>>();
    let shards: Vec<(String, _)> =
        records.chunks(10).enumerate().map(|(n, records)| (format!("shard-{n}"), open(records.to_vec()))).collect();
    let source = ScriptedSource::new(shards.iter().map(|(id, shard)| (id.as_str(), shard.clone())));
    let mut parts = parts(&source, Arc::new(slow), false);
    parts.settings.flush.open_partitions = 2 * PARTITIONS as usize;
    let start = Instant::now();
    let (sender, stop) = watch::channel(false);
    let running = tokio::spawn(run(parts, stop));
    tokio::time::sleep(Duration::from_secs(61)).await;
    while Lake::read(&store).await.events.len() < PARTITIONS as usize {
        assert!(start.elapsed() < Duration::from_secs(90), "{:?} later not all are visible", start.elapsed());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // From the start of the process: joining and claiming are in it.
    let late = start.elapsed() - Duration::from_secs(60);
    assert!(late < Duration::from_secs(2), "visible {late:?} after the interval");
    sender.send_replace(true);
    running.await.unwrap().unwrap();
}
