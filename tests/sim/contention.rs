//! Many workers commit to one state: how long they wait for each other.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use firemain::clock::Clock;
use firemain::commit::change::Commit;
use firemain::commit::group::{Group, Joining};
use firemain::commit::log::KEPT;
use firemain::commit::peers::About;
use firemain::commit::storage::Storage;
use firemain::decode::Counts;
use firemain::retry::Patience;
use firemain::worker::policy::Policy;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::chaos::Chance;
use super::stream::START;
use crate::support::faults::{Fault, Faulty};

const WORKERS: u64 = 50;
const INTERVAL: Duration = Duration::from_secs(60);
const ROUNDS: u32 = 8;
/// One way; as far from S3 as from another zone or, at the worst, another region.
const LATENCY: std::ops::Range<u64> = 10..60;

/// When intervals begin and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Whenever it was that a worker started.
    Any,
    /// All began in the same moment, as after a deployment or an outage.
    Same,
    /// They end in the same moment too, as they do for the ends of shards when a stream is resharded whole.
    Locked,
}

/// Commits every interval, as a worker would that is never out of records. Returns how long each took, sorted.
async fn commits(chance: Chance, step: Step) -> Vec<Duration> {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (took, began) = (Arc::new(Mutex::new(Vec::new())), Instant::now());
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let (chance, took) = (chance.clone(), Arc::clone(&took));
        let delay = chance.clone();
        let line = Faulty::new(Arc::clone(&store), move |_, _| Fault::Slow(Duration::from_millis(delay.pick(LATENCY))));
        workers.spawn(async move {
            let storage =
                Storage::new(Arc::new(line), true, Clock::simulated(chance.seed(), START), Patience::default());
            let lease = Duration::from_secs(30);
            let joining = Joining { name: "g", source: "s", lease, kept: KEPT, about: About::default() };
            let group = Group::join(storage, joining).await.expect("nothing fails here");
            let mut since = if step == Step::Any { began + chance.upto(INTERVAL) } else { began };
            for _ in 0..ROUNDS {
                // As a worker does it, once a minute.
                sleep_until(since + chance.upto(INTERVAL / 2)).await;
                let seen = group.look().await.expect("nothing fails here");
                let rank = seen.workers.keys().position(|id| id == group.id()).expect("it has joined");
                let rank = if step == Step::Locked { 0 } else { rank };
                sleep_until(since + Policy::new(INTERVAL, 100, rank, seen.workers.len()).interval()).await;
                let start = Instant::now();
                since = start;
                let counts = Counts { control: 1, ..Counts::default() };
                group.commit(&Commit { counts, ..Commit::default() }).await.expect("nothing fails here");
                took.lock().unwrap().push(start.elapsed());
            }
        });
    }
    workers.join_all().await;
    let mut took = took.lock().unwrap().clone();
    took.sort();
    took
}

async fn report(step: Step) -> Duration {
    let seed = rand::random();
    let took = commits(Chance::new(seed), step).await;
    assert_eq!(took.len() as u64, WORKERS * u64::from(ROUNDS));
    let at = |part: f64| took[((took.len() - 1) as f64 * part) as usize];
    let (median, late, longest) = (at(0.5), at(0.99), at(1.0));
    println!("{WORKERS} workers, seed {seed}, {step:?}: median {median:?}, 99 % {late:?}, longest {longest:?}");
    longest
}

#[tokio::test(start_paused = true)]
async fn no_commit_of_fifty_workers_waits_for_more_than_five_seconds() {
    assert!(report(Step::Any).await < Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn nor_when_all_began_in_the_same_moment() {
    assert!(report(Step::Same).await < Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn fifty_commits_in_the_same_moment_are_through_soon() {
    assert!(report(Step::Locked).await < Duration::from_secs(10));
}
