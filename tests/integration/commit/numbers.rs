//! The numbers of snapshots: races for one, collection, and stores that can't be raced on.

use std::sync::Arc;
use std::time::Duration;

use firemain::commit::change::Commit;
use firemain::commit::group::GroupError;
use firemain::commit::log::KEPT;
use firemain::commit::peers::AnnounceError;
use firemain::commit::snapshot::Snapshot;
use firemain::decode::Counts;
use futures::TryStreamExt;
use futures::future::try_join_all;
use object_store::ObjectStore;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::timeout;

use super::world::{World, state_key};
use super::{GROUP, HEARTBEAT, LEASE, Worker};
use crate::support::faults::{Effect, Fault, LookAlike, Oddity, Outcome, Verb, When, first};

/// Snapshots that are there when collection starts.
const COLLECTED_PAST: usize = 2 * KEPT;

/// Joins over a store with an oddity; says why that is impossible.
async fn refused(oddity: Oddity) -> GroupError {
    let world = World::new(&[("a", 1)]);
    let process = world.healthy(1);
    let store = Arc::new(LookAlike(oddity, process.recording.clone()));
    let (clock, patience) = (process.storage.clock.clone(), Default::default());
    let storage = firemain::commit::storage::Storage::new(store, true, clock, patience);
    // The first one finds no snapshot to read.
    let _ = Worker::join(storage.clone(), &world.stream, &world.beliefs).await;
    let second = Worker::join(storage, &world.stream, &world.beliefs);
    timeout(LEASE, second).await.expect("it says so soon").unwrap_err()
}

#[tokio::test(start_paused = true)]
async fn a_store_that_ignores_conditional_creates_is_refused() {
    let error = refused(Oddity::CreatesTwice).await;
    assert!(matches!(error, GroupError::Announce(AnnounceError::NoConditionalCreate(_))), "{error}");
    assert!(error.to_string().contains("If-None-Match"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_lists_other_etags_than_it_serves_is_refused() {
    let error = refused(Oddity::ListsOtherTags).await.to_string();
    assert!(error.contains("00000000000000000001.json") && error.contains("ETag"), "{error}");
}

/// Many want the next number at the same moment, again and again: one gets it, the others go on from there.
#[tokio::test(start_paused = true)]
async fn races_for_a_number_have_one_winner() {
    for round in 0..100 {
        let seed = rand::random();
        println!("round {round}, seed {seed}");
        race(seed).await;
    }
}

async fn race(seed: u64) {
    let world = World::new(&[("a", 6), ("b", 6)]);
    let lag = |seed| {
        let mut rng = StdRng::seed_from_u64(seed);
        move |_: usize, _: &_| Fault::Slow(Duration::from_millis(rng.random_range(0..5)))
    };
    let process = world.process(seed, lag(seed));
    let mut owner = world.join(&process).await.unwrap();
    owner.claim().await.unwrap();
    let owning = async {
        while let Some(committed) = owner.flush(2).await? {
            owner.publish(committed).await?;
        }
        owner.leave().await
    };
    let passing = |n: u64| {
        let process = world.process(seed.wrapping_add(n), lag(seed ^ n));
        let world = &world;
        async move { world.join(&process).await?.leave().await }
    };
    let (owned, passed) = tokio::join!(owning, try_join_all((1..4).map(passing)));
    owned.unwrap();
    passed.unwrap();
    // Each came, went; three commits, a claim.
    assert_eq!(world.head().number, 2 * 4 + 3 + 1, "seed {seed}");
    world.check();
    assert_eq!(world.head().totals.events, 12, "seed {seed}");
}

/// A transition that costs nothing: a control message was seen.
fn control() -> Commit {
    Commit { counts: Counts { records: 1, control: 1, ..Counts::default() }, ..Commit::default() }
}

async fn numbers(world: &World) -> Vec<u64> {
    let prefix = format!("_firemain/{GROUP}/state").into();
    let found: Vec<_> = world.store.list(Some(&prefix)).try_collect().await.unwrap();
    let number = |object: &object_store::ObjectMeta| object.location.filename()?.strip_suffix(".json")?.parse().ok();
    let mut numbers: Vec<u64> = found.iter().filter_map(number).collect();
    numbers.sort_unstable();
    numbers
}

async fn snapshot(world: &World, number: u64) -> Snapshot {
    Snapshot::from_json(&world.bytes_at(&state_key(number)).await.unwrap()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn collection_leaves_the_newest_and_the_head() {
    let world = World::new(&[("a", 1)]);
    let worker = world.join(&world.healthy(1)).await.unwrap();
    for _ in 1..COLLECTED_PAST {
        worker.group.commit(&control()).await.unwrap();
    }
    world.join(&world.healthy(2)).await.unwrap();
    let head = COLLECTED_PAST as u64 + 1;
    assert_eq!(numbers(&world).await, (1..=head).collect::<Vec<_>>(), "1,000 are not too many");

    world.join(&world.healthy(3)).await.unwrap();
    let first = head - KEPT as u64 + 1;
    assert_eq!(numbers(&world).await, (first..=head + 1).collect::<Vec<_>>(), "the newest 500, and one more now");
    assert_eq!(snapshot(&world, head + 1).await.totals.control, COLLECTED_PAST as u64 - 1);

    // A worker that lives long collects as well, and goes on from the same head.
    for _ in 0..COLLECTED_PAST {
        worker.group.commit(&control()).await.unwrap();
        worker.group.beat().await.unwrap();
    }
    let (last, left) = (head + 1 + COLLECTED_PAST as u64, numbers(&world).await);
    assert_eq!(left.last(), Some(&last));
    assert!((KEPT..=COLLECTED_PAST + KEPT).contains(&left.len()), "{}", left.len());
    assert_eq!(left, (last + 1 - left.len() as u64..=last).collect::<Vec<_>>(), "without a gap");
}

/// Hundreds of deletes must not keep a worker from saying that it lives.
#[tokio::test(start_paused = true)]
async fn collection_is_done_well_within_a_heartbeat() {
    let world = World::new(&[("a", 1)]);
    let process = world.process(1, |_, call| match call.verb {
        Verb::Delete => Fault::Slow(Duration::from_millis(25)),
        _ => Fault::Pass,
    });
    let worker = world.join(&process).await.unwrap();
    for _ in 0..=COLLECTED_PAST {
        worker.group.commit(&control()).await.unwrap();
    }
    let start = tokio::time::Instant::now();
    worker.group.beat().await.unwrap();
    assert!(numbers(&world).await.len() <= COLLECTED_PAST - KEPT + 2);
    assert!(start.elapsed() < HEARTBEAT / 5, "{:?}", start.elapsed());
}

/// Makes so many snapshots that `number` is collected.
async fn bury(world: &World, worker: &Worker, number: u64) {
    for _ in 0..=COLLECTED_PAST {
        worker.group.commit(&control()).await.unwrap();
    }
    world.join(&world.healthy(99)).await.unwrap().leave().await.unwrap();
    assert!(numbers(world).await[0] > number);
}

fn created(effects: &[Effect], number: u64) -> Vec<Outcome> {
    let creates = effects.iter().filter(|effect| effect.call.is(Verb::Create, &state_key(number)));
    creates.map(|effect| effect.outcome).collect()
}

/// A worker of the group slept while its number was created by another and collected: the store creates it again.
#[tokio::test(start_paused = true)]
async fn created_below_the_head_is_not_believed() {
    let world = World::new(&[("a", 1)]);
    let (busy, process) = (world.join(&world.healthy(1)).await.unwrap(), world.healthy(2));
    let sleeper = world.join(&process).await.unwrap();
    let number = numbers(&world).await.last().unwrap() + 1;
    process.faulty.set(first(Verb::Create, "/state/", Fault::Freeze(When::Before)));
    let sleeping = tokio::spawn(async move { sleeper.group.commit(&control()).await });
    process.faulty.frozen().await;
    bury(&world, &busy, number).await;
    let head = *numbers(&world).await.last().unwrap();
    let before = snapshot(&world, head).await.totals.control;

    process.faulty.thaw();
    sleeping.await.unwrap().unwrap();
    let effects = process.recording.effects();
    assert_eq!(created(&effects, number), [Outcome::Ok], "it was told that it made {number}");
    assert_eq!(created(&effects, head + 1), [Outcome::Ok], "and made its transition on the head all the same");
    assert_eq!(snapshot(&world, head + 1).await.totals.control, before + 1, "once");
}

/// As before, but it was taken for dead meanwhile: what it wanted to commit, others have committed.
#[tokio::test(start_paused = true)]
async fn created_below_the_head_does_not_save_who_is_fenced() {
    let world = World::new(&[("a", 2)]);
    let process = world.healthy(1);
    let mut sleeper = world.join(&process).await.unwrap();
    sleeper.claim().await.unwrap();
    let number = world.head().number + 1;
    process.faulty.set(first(Verb::Create, "/state/", Fault::Freeze(When::Before)));
    let sleeping = tokio::spawn(async move {
        let committed = sleeper.flush(2).await?.expect("there is more");
        sleeper.publish(committed).await
    });
    process.faulty.frozen().await;

    let mut successor = world.join(&world.healthy(2)).await.unwrap();
    for _ in 0..=LEASE.as_secs() / HEARTBEAT.as_secs() {
        tokio::time::sleep(HEARTBEAT).await;
        successor.group.beat().await.unwrap();
    }
    successor.claim().await.unwrap();
    let committed = successor.flush(2).await.unwrap().unwrap();
    successor.publish(committed).await.unwrap();
    successor.clear().await.unwrap();
    world.check();
    bury(&world, &successor, number).await;
    let visible = visible(&world).await;

    process.faulty.thaw();
    let ended = sleeping.await.unwrap();
    assert!(matches!(ended, Err(GroupError::Fenced)), "{ended:?}");
    assert_eq!(created(&process.recording.effects(), number), [Outcome::Ok], "it was told that it made {number}");
    assert!(world.beliefs.lock().unwrap().len() == 1, "and did not believe it");
    assert_eq!(self::visible(&world).await, visible);
    // Nor does anybody take the stray for the head.
    let late = world.join(&world.healthy(3)).await.unwrap();
    assert_eq!(late.group.seen().number, *numbers(&world).await.last().unwrap());
}

async fn visible(world: &World) -> Vec<String> {
    let found: Vec<_> = world.store.list(Some(&"log_events".into())).try_collect().await.unwrap();
    found.iter().map(|object| object.location.to_string()).collect()
}
