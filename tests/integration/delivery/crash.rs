//! The same small stream, while the process dies before and after every single request, while every request fails or
//! is answered by silence, and while a dead process wakes again. Afterwards every event is there, exactly once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use firemain::worker::{Parts, Report, WorkerError};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::lake::Lake;
use super::script::{ScriptedSource, closed, open, payload};
use super::{LEASE, never, parts, run};
use crate::support::faults::{Call, Fault, Faulty, Recording, When, at};

/// A request that no run of this stream makes.
const BEYOND: usize = 10_000;
const HOUR: u64 = 3_600_000;

/// Two shards, a child of one of them, two log groups, two hours, poison, one event that is bad among good ones.
fn stream() -> ScriptedSource {
    let bad = r#"{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"/x","logStream":"s","logEvents":[
        {"id":"90","timestamp":1711083600090,"message":"good"},{"id":"91","message":"without a time"}]}"#;
    ScriptedSource::new([
        ("a", closed((0..6).map(|n| payload("/x", n * 5..n * 5 + 5)).collect())),
        ("b", closed(vec![payload("/y", HOUR - 2..HOUR + 3), Bytes::from_static(b"poison"), bad.into()])),
        ("c", open((6..12).map(|n| payload("/y", n * 5..n * 5 + 5)).collect()).after(&["a"])),
    ])
}

fn expected() -> Lake {
    let folder = |id: u64| {
        let group = if id < 30 || id == 90 { "x" } else { "y" };
        format!("log_group=%2F{group}/dt=2024-03-22/hour={:02}", 5 + id / HOUR)
    };
    let ids = (0..60).chain([90]).chain(HOUR - 2..HOUR + 3);
    let alone = concat!(
        r#"{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"/x","logStream":"s","#,
        r#""logEvents":[{"id":"91","message":"without a time"}]}"#
    );
    let rejections = [("Event.Invalid", alone.as_bytes()), ("Record.NotDecodable", b"poison")];
    Lake {
        events: ids.map(|id| (id, folder(id))).collect(),
        rejections: rejections.map(|(code, raw)| (code.to_owned(), raw.to_vec())).into(),
        others: Vec::new(),
    }
}

/// The store, and the stream that is to be in it.
struct World {
    store: Arc<Recording>,
    source: ScriptedSource,
}

type Running = JoinHandle<Result<Report, WorkerError>>;

impl World {
    fn new() -> Self {
        Self { store: Arc::new(Recording::new(Arc::new(InMemory::new()))), source: stream() }
    }

    /// A process that drains the stream, with several flushes on its way.
    fn start(&self, script: impl FnMut(usize, &Call) -> Fault + Send + 'static) -> (Faulty, Running) {
        let faulty = Faulty::new(Arc::clone(&self.store) as Arc<dyn ObjectStore>, script);
        let mut parts: Parts = parts(&self.source, Arc::new(faulty.clone()), true);
        parts.settings.flush.interval = Duration::from_millis(450);
        (faulty, tokio::spawn(run(parts, never())))
    }

    /// Runs a process to its end, or until it freezes: then it is gone. Whether it came to its end.
    async fn run(&self, script: impl FnMut(usize, &Call) -> Fault + Send + 'static) -> bool {
        let (faulty, mut running) = self.start(script);
        tokio::select! {
            ended = &mut running => {
                ended.unwrap().unwrap();
                true
            }
            () = faulty.frozen() => {
                running.abort();
                false
            }
        }
    }

    /// Every event exactly once in its place, every rejection too. A further worker finds nothing to do but to sweep
    /// what the dead have staged, once it has seen for a lease that they are; of one that died before it joined, the
    /// heartbeat stays for a while.
    async fn check(&self, what: &str) {
        let (sender, stop) = watch::channel(false);
        let last = tokio::spawn(run(parts(&self.source, Arc::clone(&self.store) as _, false), stop));
        sleep(LEASE * 2).await;
        sender.send_replace(true);
        last.await.unwrap().unwrap();
        let mut lake = Lake::read(&self.store).await;
        lake.others.retain(|key| !key.contains("/state/") && !key.contains("/workers/"));
        assert_eq!(lake, expected(), "{what}; what happened:\n{}", self.told());
    }

    fn told(&self) -> String {
        self.store.effects().iter().map(|effect| format!("{effect}\n")).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn undisturbed_it_flushes_several_times() {
    let world = World::new();
    assert!(world.run(at(BEYOND, Fault::Pass)).await);
    world.check("undisturbed").await;
    let packs = world.store.effects().iter().filter(|effect| effect.call.key.ends_with(".pack")).count();
    assert!(packs >= 6, "puts and deletes of three packs at least, or the other tests show little:\n{}", world.told());
}

#[tokio::test(start_paused = true)]
async fn a_crash_before_and_after_every_request_is_survived() {
    for when in [When::Before, When::After] {
        let mut crashes = 0;
        loop {
            let world = World::new();
            let ended = world.run(at(crashes, Fault::Freeze(when))).await;
            if !ended {
                assert!(world.run(at(BEYOND, Fault::Pass)).await);
            }
            world.check(&format!("crash {when:?} request {crashes}")).await;
            if ended {
                break;
            }
            crashes += 1;
        }
        assert!(crashes > 30, "only {crashes} requests");
    }
}

#[tokio::test(start_paused = true)]
async fn crashes_on_crashes_are_survived() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut chance = StdRng::seed_from_u64(seed);
    for round in 0..100 {
        let world = World::new();
        let mut deaths = Vec::new();
        loop {
            let when = if chance.random() { When::Before } else { When::After };
            let request = if deaths.len() < 6 { chance.random_range(0..40) } else { BEYOND };
            if world.run(at(request, Fault::Freeze(when))).await {
                break;
            }
            deaths.push((request, when));
        }
        world.check(&format!("seed {seed}, round {round}: {deaths:?}")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_request_may_fail_once_and_every_answer_be_lost_once() {
    for fault in [Fault::Fail, Fault::Lose] {
        for request in 0.. {
            let world = World::new();
            let (faulty, running) = world.start(at(request, fault));
            running.await.unwrap().unwrap();
            world.check(&format!("{fault:?} at request {request}")).await;
            if faulty.requests() <= request {
                assert!(request > 30, "only {request} requests");
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_first_answer_may_be_lost() {
    let world = World::new();
    let mut seen = std::collections::HashSet::new();
    let (_, running) =
        world.start(move |_, call| if seen.insert(call.to_string()) { Fault::Lose } else { Fault::Pass });
    running.await.unwrap().unwrap();
    world.check("every first answer lost").await;
}

#[tokio::test(start_paused = true)]
async fn a_zombie_that_wakes_after_its_successor_changes_nothing() {
    for when in [When::Before, When::After] {
        for request in 0.. {
            let world = World::new();
            let (faulty, mut running) = world.start(at(request, Fault::Freeze(when)));
            let ended = tokio::select! {
                ended = &mut running => {
                    ended.unwrap().unwrap();
                    true
                }
                () = faulty.frozen() => false,
            };
            if ended {
                assert!(request > 30, "only {request} requests");
                break;
            }
            assert!(world.run(at(BEYOND, Fault::Pass)).await);
            faulty.thaw();
            // It may find out that it was taken for dead, or join anew and find that there is nothing to do.
            let zombie = tokio::time::timeout(20 * LEASE, running).await;
            let what = format!("frozen {when:?} request {request}, then {zombie:?}");
            assert!(
                matches!(&zombie, Ok(Ok(Ok(_)))) || matches!(&zombie, Ok(Ok(Err(error))) if error.is_fenced()),
                "{what}"
            );
            world.check(&what).await;
        }
    }
}
