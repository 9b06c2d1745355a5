//! What an operator sees of a worker: the requests on the bill, and the log.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use tokio::sync::watch;
use tokio::time::sleep;

use super::script::{ScriptedSource, open, payload};
use super::{never, parts, run};
use crate::support::faults::{Effect, Recording, Verb};

/// Requests of so many idle workers in ten minutes, by verb and folder.
async fn requests(workers: u64) -> BTreeMap<String, usize> {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let recording = Recording::new(store);
    let source = ScriptedSource::new([("a", open(vec![payload("/x", 0..5)])), ("b", open(vec![]))]);
    let (sender, stop) = watch::channel(false);
    let mut running = Vec::new();
    for _ in 0..workers {
        running.push(tokio::spawn(run(parts(&source, Arc::new(recording.clone()), false), stop.clone())));
        sleep(Duration::from_secs(1)).await;
    }
    sleep(Duration::from_secs(300)).await;
    let before = recording.effects().len();
    sleep(Duration::from_secs(600)).await;
    let mut requests = BTreeMap::new();
    for Effect { call, .. } in recording.effects_from(before) {
        let folder = call.key.split('/').nth(2).unwrap_or_default();
        *requests.entry(format!("{:?} {folder}", call.verb)).or_insert(0) += 1;
    }
    sender.send_replace(true);
    for worker in running {
        worker.await.unwrap().unwrap();
    }
    requests
}

/// As `docs/cost.md` says.
#[tokio::test(start_paused = true)]
async fn idle_workers_ask_for_nothing_but_heartbeats_and_a_look_a_minute() {
    let verbs = |put, workers, state| {
        let counts = [(Verb::Put, "workers", put), (Verb::List, "workers", workers), (Verb::List, "state", state)];
        BTreeMap::from(counts.map(|(verb, folder, count): (Verb, &str, usize)| (format!("{verb:?} {folder}"), count)))
    };
    assert_eq!(requests(1).await, verbs(60, 60, 10));
    assert_eq!(requests(2).await, verbs(120, 140, 20));
}

#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn an_expired_position_is_logged_and_counted() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let source = ScriptedSource::new([("a", open(vec![payload("/x", 0..5)]).trimmed()), ("b", open(vec![]))]);
    let report = run(parts(&source, Arc::clone(&store), true), never()).await.unwrap();
    assert_eq!((report.expired, report.counts.events), (1, 5));
    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let told: Vec<&str> = log.lines().filter(|line| line.contains("PositionExpired")).collect();
    assert!(told.len() == 1 && told[0].contains("WARN") && told[0].contains("shard=a"), "{log}");
}
