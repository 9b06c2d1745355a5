//! Workers that are taken for dead, rightly or not, and wake up again.

use std::sync::Arc;
use std::time::Duration;

use firemain::commit::group::GroupError;
use firemain::commit::snapshot::WorkerId;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use super::world::{Process, World, state_key, told};
use super::{HEARTBEAT, LEASE, Worker};
use crate::support::faults::{Effect, Fault, Verb, When, at, first};

type Ended = JoinHandle<Result<(), GroupError>>;

/// A worker that commits two records of each shard and publishes them, on a task of its own: it may freeze.
fn flushing(mut worker: Worker) -> Ended {
    tokio::spawn(async move {
        let committed = worker.flush(2).await?.expect("there is more");
        worker.publish(committed).await
    })
}

/// Beats until whoever is silent is taken for dead.
async fn wait_out_the_lease(worker: &Worker) {
    for _ in 0..=LEASE.as_secs() / HEARTBEAT.as_secs() {
        worker.group.beat().await.unwrap();
        sleep(HEARTBEAT).await;
    }
}

async fn joined(world: &World, seed: u64) -> (Process, Worker) {
    let process = world.healthy(seed);
    let mut worker = world.join(&process).await.unwrap();
    worker.claim().await.unwrap();
    (process, worker)
}

/// A worker that owns everything and freezes as told; and another that has joined, sees it and beats.
async fn frozen_and_successor(world: &World, freeze: (Verb, &'static str, When)) -> (Process, WorkerId, Ended, Worker) {
    let (process, worker) = joined(world, 1).await;
    let id = worker.group.id().clone();
    process.faulty.set(first(freeze.0, freeze.1, Fault::Freeze(freeze.2)));
    let ended = flushing(worker);
    process.faulty.frozen().await;
    let (_, successor) = joined(world, 2).await;
    assert!(successor.at.is_empty(), "the frozen one is not dead yet");
    wait_out_the_lease(&successor).await;
    (process, id, ended, successor)
}

fn is_fenced(ended: Result<(), GroupError>) -> bool {
    matches!(ended, Err(GroupError::Fenced))
}

#[tokio::test(start_paused = true)]
async fn a_zombie_that_slept_before_its_commit_is_fenced_and_its_pack_swept() {
    let world = World::new(&[("a", 5), ("b", 3)]);
    let (zombie, id, ended, mut successor) =
        frozen_and_successor(&world, (Verb::Create, "/state/", When::Before)).await;

    successor.claim().await.unwrap();
    assert_eq!(successor.at.len(), 2, "the successor owns what the zombie owned");
    let committed = successor.flush(2).await.unwrap().unwrap();
    successor.publish(committed).await.unwrap();
    assert_eq!(world.checked(|checker| checker.staged().len()), 2);
    successor.group.sweep().await.unwrap();
    let left = world.checked(|checker| checker.staged().iter().all(|key| !key.contains(&id.to_string())));
    assert!(left, "a pack that can never be committed is swept");

    zombie.faulty.thaw();
    assert!(is_fenced(ended.await.unwrap()));
    assert!(world.checked(|checker| checker.visible().iter().all(|key| !key.contains(&id.to_string()))));
    successor.drain(2).await.unwrap();
    world.checked(|checker| checker.finished(&world.stream.events()));
}

#[tokio::test(start_paused = true)]
async fn a_zombie_that_slept_before_publishing_puts_nothing_that_its_successor_has_not_put() {
    let world = World::new(&[("a", 5), ("b", 3)]);
    let (zombie, id, ended, mut successor) =
        frozen_and_successor(&world, (Verb::Put, "log_events/", When::Before)).await;

    successor.drain(2).await.unwrap();
    let mine = |key: &&str| key.contains(&id.to_string());
    let before: Vec<String> = world.checked(|checker| checker.visible().iter().map(|key| key.to_string()).collect());
    assert_eq!(before.iter().filter(|key| mine(&key.as_str())).count(), 2, "the successor published both objects");

    // Its puts were under way, and carry what the successor has put.
    zombie.faulty.thaw();
    ended.await.unwrap().unwrap();
    let after: Vec<String> = world.checked(|checker| checker.visible().iter().map(|key| key.to_string()).collect());
    assert_eq!(before, after);
    world.checked(|checker| checker.finished(&world.stream.events()));
}

/// What a user or a lifecycle rule deleted is not put back by a worker that slept before it began to publish.
#[tokio::test(start_paused = true)]
async fn a_zombie_looks_at_the_head_before_it_publishes() {
    let world = World::new(&[("a", 5), ("b", 3)]);
    let (process, mut worker) = joined(&world, 1).await;
    let committed = worker.flush(2).await.unwrap().unwrap();
    let (_, mut successor) = joined(&world, 2).await;
    // It sleeps on its own feet here: between two requests.
    wait_out_the_lease(&successor).await;
    successor.drain(2).await.unwrap();

    let before = process.recording.effects().len();
    assert!(is_fenced(worker.publish(committed).await));
    let puts = |effect: &&Effect| effect.call.verb == Verb::Put;
    assert_eq!(process.recording.effects()[before..].iter().filter(puts).count(), 0);
}

/// The look itself may take longer than a lease: what it says is as old as its request.
#[tokio::test(start_paused = true)]
async fn what_was_seen_is_as_old_as_the_request_that_asked() {
    let world = World::new(&[("a", 5), ("b", 3)]);
    let (process, mut worker) = joined(&world, 1).await;
    let committed = worker.flush(2).await.unwrap().unwrap();
    process.faulty.set(first(Verb::List, "/state", Fault::Freeze(When::After)));
    let zombie = tokio::spawn(async move {
        worker.group.look().await?;
        worker.publish(committed).await
    });
    process.faulty.frozen().await;
    let (_, mut successor) = joined(&world, 2).await;
    wait_out_the_lease(&successor).await;
    successor.drain(2).await.unwrap();

    let before = process.recording.effects().len();
    process.faulty.thaw();
    assert!(is_fenced(zombie.await.unwrap()));
    let puts = |effect: &&Effect| effect.call.verb == Verb::Put;
    assert_eq!(process.recording.effects()[before..].iter().filter(puts).count(), 0);
}

/// Fenced, and yet its commit had happened: the pack is its successor's to publish.
#[tokio::test(start_paused = true)]
async fn a_fenced_worker_does_not_delete_a_pack_that_may_be_committed() {
    let world = World::new(&[("a", 5), ("b", 3)]);
    let (zombie, id, ended, _) = frozen_and_successor(&world, (Verb::Create, "/state/", When::After)).await;

    // The successor has adopted the pack, and not read it yet, when the zombie wakes.
    let (third, mut adopter) = {
        let process = world.process(3, first(Verb::Get, "/staged/", Fault::Freeze(When::Before)));
        let worker = world.join(&process).await.unwrap();
        (process, worker)
    };
    wait_out_the_lease(&adopter).await;
    let adopting = tokio::spawn(async move { adopter.drain(2).await });
    third.faulty.frozen().await;
    assert!(!world.head().workers.contains_key(&id));

    zombie.faulty.thaw();
    assert!(is_fenced(ended.await.unwrap()));
    assert!(world.checked(|checker| checker.staged().iter().any(|key| key.contains(&id.to_string()))));
    third.faulty.thaw();
    adopting.await.unwrap().unwrap();
    world.checked(|checker| checker.finished(&world.stream.events()));
}

/// It wanted to leave and finds that it is gone; but another put it out, and that one has its packs now.
#[tokio::test(start_paused = true)]
async fn who_was_put_out_while_leaving_does_not_delete_packs_that_another_adopted() {
    let world = World::new(&[("a", 2), ("b", 2)]);
    let (leaver, mut worker) = joined(&world, 1).await;
    let committed = worker.flush(2).await.unwrap().unwrap();
    worker.publish(committed).await.unwrap();
    leaver.faulty.set(first(Verb::Create, "/state/", Fault::Freeze(When::Before)));
    let leaving = tokio::spawn(async move { worker.leave().await });
    leaver.faulty.frozen().await;

    let adopter = world.process(2, first(Verb::Get, "/staged/", Fault::Freeze(When::Before)));
    let mut successor = world.join(&adopter).await.unwrap();
    wait_out_the_lease(&successor).await;
    let adopting = tokio::spawn(async move { successor.drain(2).await });
    adopter.faulty.frozen().await;
    // One more transition, so that the leaver's number is below the head when it wakes.
    let (_, mut third) = joined(&world, 3).await;

    leaver.faulty.thaw();
    // Whichever it is told: gone is gone.
    let _ = leaving.await.unwrap();
    world.check();
    adopter.faulty.thaw();
    third.leave().await.unwrap();
    adopting.await.unwrap().unwrap();
    world.checked(|checker| checker.finished(&world.stream.events()));
}

/// A shard that was lost and regained while its buffers were kept, seen from the commit.
#[tokio::test(start_paused = true)]
async fn a_flush_that_began_at_another_position_is_refused_and_its_pack_deleted() {
    let world = World::new(&[("a", 5), ("b", 3)]);
    let (_, mut worker) = joined(&world, 1).await;
    let (stale, objects) = worker.stage(2).await.unwrap();
    let committed = worker.flush(1).await.unwrap().unwrap();
    let refused = worker.commit(stale, objects).await.unwrap_err();
    assert!(refused.to_string().contains("committed at after 0, but this flush began at trim_horizon"), "{refused}");
    world.checked(|checker| assert_eq!(checker.staged().len(), 1, "what can never be committed is gone"));
    worker.publish(committed).await.unwrap();
    worker.drain(2).await.unwrap();
    world.checked(|checker| checker.finished(&world.stream.events()));
}

/// A pack that its adopter finds gone is no loss when the adopter was put out itself.
#[tokio::test(start_paused = true)]
async fn an_adopter_that_slept_is_fenced_when_the_pack_is_gone() {
    let world = World::new(&[("a", 5), ("b", 3)]);
    let (_, mut worker) = joined(&world, 1).await;
    worker.flush(2).await.unwrap().unwrap();
    let adopter = world.process(2, first(Verb::Get, "/staged/", Fault::Freeze(When::Before)));
    let mut second = world.join(&adopter).await.unwrap();
    wait_out_the_lease(&second).await;
    let adopting = tokio::spawn(async move { second.claim().await });
    adopter.faulty.frozen().await;
    world.finish(3).await;

    adopter.faulty.thaw();
    let ended = adopting.await.unwrap();
    assert!(is_fenced(ended), "it has nothing to publish any more");
}

#[tokio::test(start_paused = true)]
async fn who_joined_since_the_last_look_is_not_taken_for_dead() {
    let world = World::new(&[("a", 2)]);
    let (_, mut old) = joined(&world, 1).await;
    let (_, new) = joined(&world, 2).await;
    old.claim().await.unwrap();
    assert!(world.head().workers.contains_key(new.group.id()));
}

#[tokio::test(start_paused = true)]
async fn who_slept_does_not_take_the_others_for_dead() {
    let world = World::new(&[("a", 2)]);
    let (_, mut sleeper) = joined(&world, 1).await;
    let (_, other) = joined(&world, 2).await;
    sleeper.group.beat().await.unwrap();
    for _ in 0..2 * LEASE.as_secs() / HEARTBEAT.as_secs() {
        sleep(HEARTBEAT).await;
        other.group.beat().await.unwrap();
    }
    sleeper.claim().await.unwrap();
    assert!(world.head().workers.contains_key(other.group.id()), "it beat all the time");
}

/// Where every look at the others takes longer than half a lease.
#[tokio::test(start_paused = true)]
async fn the_dead_are_noticed_over_a_slow_store_too() {
    let world = World::new(&[("a", 2)]);
    let (_, dead) = joined(&world, 1).await;
    let (process, mut other) = joined(&world, 2).await;
    process.faulty.set(|_, _| Fault::Slow(Duration::from_secs(4)));
    let (dead, died) = (dead.group.id().clone(), Instant::now());
    while world.head().workers.contains_key(&dead) {
        assert!(died.elapsed() < LEASE * 5, "it owns its shard for ever");
        let began = Instant::now();
        if other.group.beat().await.unwrap() {
            other.claim().await.unwrap();
        }
        assert!(began.elapsed() + HEARTBEAT > LEASE / 2);
        sleep(HEARTBEAT).await;
    }
    assert_eq!(other.at.len(), 1);
}

/// The first request for a number lands after others have looked: nobody may be misled by it.
#[tokio::test(start_paused = true)]
async fn a_create_that_lands_late_is_sent_again_with_the_same_bytes() {
    let world = World::new(&[("a", 5), ("b", 3)]);
    let (late, mut worker) = joined(&world, 1).await;
    let number = world.head().number + 1;
    // Timeout, then 503 until the first request lands.
    let mut creates = 0;
    late.faulty.set(move |_, call| {
        creates += usize::from(call.is(Verb::Create, "/state/"));
        match (call.is(Verb::Create, "/state/"), creates) {
            (true, 1) => Fault::Late,
            (true, _) => Fault::Fail,
            _ => Fault::Pass,
        }
    });
    let committing = tokio::spawn(async move {
        let committed = worker.flush(2).await?.expect("there is more");
        worker.publish(committed).await
    });
    sleep(HEARTBEAT).await;
    let observer = world.healthy(2);
    assert_eq!(world.bytes_at(&state_key(number)).await, None, "nobody sees it yet");
    let (mut other, before) = (world.join(&observer).await.unwrap(), world.head());
    assert_eq!(before.number, number, "the number went to who came in between");
    assert_eq!(late.faulty.land().await, 1);

    late.faulty.set(|_, _| Fault::Pass);
    committing.await.unwrap().unwrap();
    let sent = |number| {
        let key = state_key(number);
        let effects = late.recording.effects().into_iter();
        effects.filter(|effect| effect.call.is(Verb::Create, &key)).map(|effect| effect.bytes.unwrap()).collect()
    };
    let (first, second): (Vec<_>, Vec<_>) = (sent(number), sent(number + 1));
    assert!(first.len() > 2 && first.iter().all(|bytes| *bytes == first[0]), "sent again, the same");
    assert_eq!(second.len(), 1, "and made anew on the new head");
    other.leave().await.unwrap();
    world.finish(3).await;
}

/// As before, but nobody comes in between, and the late request makes the transition.
#[tokio::test(start_paused = true)]
async fn a_create_that_lands_late_counts_once() {
    let world = World::new(&[("a", 5), ("b", 3)]);
    let (late, mut worker) = joined(&world, 1).await;
    let number = world.head().number + 1;
    let from = late.faulty.requests() + 1;
    late.faulty.set(at(from, Fault::Late));
    let (commit, objects) = worker.stage(2).await.unwrap();
    let faulty = late.faulty.clone();
    let landing = tokio::spawn(async move {
        sleep(std::time::Duration::from_millis(10)).await;
        faulty.land().await
    });
    worker.commit(commit, objects).await.unwrap();
    assert_eq!(landing.await.unwrap(), 1);
    let effects = told(&late.recording.effects()[from..], &[]);
    // It is there by then, and whose it is, its attempt says.
    let (create, get) = (format!("create state/{number} -> failed"), format!("get state/{number}"));
    assert_eq!(effects, [create.as_str(), "list state", "list state", &get]);
    world.finish(2).await;
}

/// Both wake up in the same moment and want the same number.
#[tokio::test(start_paused = true)]
async fn claims_of_the_same_shards_have_one_winner() {
    let world = World::new(&[("a", 5), ("b", 3)]);
    let (_, dead) = joined(&world, 1).await;
    drop(dead);
    let mut workers = Vec::new();
    for seed in 2..5 {
        let process = world.process(seed, |_, _| Fault::Slow(std::time::Duration::from_millis(50)));
        let worker = Arc::new(tokio::sync::Mutex::new(world.join(&process).await.unwrap()));
        workers.push(worker);
    }
    for _ in 0..=LEASE.as_secs() / HEARTBEAT.as_secs() {
        for worker in &workers {
            worker.lock().await.group.beat().await.unwrap();
        }
        sleep(HEARTBEAT - std::time::Duration::from_secs(1)).await;
    }
    let claims = workers.iter().map(|worker| async move {
        let mut worker = worker.lock().await;
        worker.claim().await.map(|()| worker.at.len())
    });
    let owned = futures::future::try_join_all(claims).await.unwrap();
    assert_eq!(owned.iter().sum::<usize>(), 2, "{owned:?}");
    assert_eq!(world.head().workers.len(), 3);
}
