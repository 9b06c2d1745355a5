//! One fault, or one crash, at every single request of a worker's life.

use firemain::commit::group::GroupError;

use super::world::{Process, World};
use crate::support::faults::{Effect, Fault, Outcome, Verb, When, at, first};

/// A whole life: two flushes, the second of which clears the first; it leaves with records still to be read.
async fn live(world: &World, process: &Process) -> Result<(), GroupError> {
    let mut worker = world.join(process).await?;
    worker.claim().await?;
    for _ in 0..2 {
        let committed = worker.flush(2).await?.expect("there is more");
        worker.publish(committed).await?;
    }
    worker.clear().await?;
    worker.group.beat().await?;
    worker.group.sweep().await?;
    worker.leave().await
}

fn world() -> World {
    World::new(&[("a", 5), ("b", 3)])
}

/// Creates of snapshots by number and content, without those that came too late.
fn creates(effects: &[Effect]) -> Vec<(String, Vec<u8>)> {
    let creates = effects.iter().filter(|effect| effect.call.is(Verb::Create, "/state/"));
    creates.map(|effect| (effect.call.key.clone(), effect.bytes.clone().unwrap().to_vec())).collect()
}

/// Lives with this fault at each request in turn; nothing but time may be lost.
async fn with_each_request(fault: Fault) {
    let undisturbed = world();
    let process = undisturbed.healthy(1);
    live(&undisturbed, &process).await.unwrap();
    let (requests, expected) = (process.faulty.requests(), undisturbed.head());

    for index in 0..requests {
        let (world, process) = {
            let world = world();
            let process = world.process(1, at(index, fault));
            (world, process)
        };
        live(&world, &process).await.unwrap_or_else(|error| panic!("{fault:?} at request {index}: {error}"));
        let effects = process.recording.effects();
        let what = format!("{fault:?} at request {index}, {}", effects[index]);
        assert_eq!(effects[index].outcome, Outcome::Failed, "{what}");

        let head = world.head();
        assert_eq!((head.number, &head.shards), (expected.number, &expected.shards), "{what}");
        assert_eq!((&head.totals, &head.packs), (&expected.totals, &expected.packs), "{what}");
        // What was sent for a number is the same, however often.
        let mut creates = creates(&effects);
        creates.dedup();
        assert_eq!(creates.len() as u64, head.number, "{what}: other bytes for the same number");

        process.faulty.land().await;
        world.check();
        world.finish(2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_first_heartbeat_that_meets_a_conflict_is_there_before_its_worker_registers() {
    let world = world();
    let process = world.process(1, first(Verb::Create, "/workers/", Fault::Conflict));
    world.join(&process).await.unwrap();
    let effects = process.recording.effects();
    let done = |part: &str| effects.iter().position(|e| e.call.is(Verb::Create, part) && e.outcome == Outcome::Ok);
    let (announced, registered) = (done("/workers/").expect("announced"), done("/state/").expect("registered"));
    assert!(announced < registered, "{effects:#?}");
}

#[tokio::test(start_paused = true)]
async fn every_request_fails_once() {
    with_each_request(Fault::Fail).await;
}

#[tokio::test(start_paused = true)]
async fn every_answer_is_lost_once() {
    with_each_request(Fault::Lose).await;
}

#[tokio::test(start_paused = true)]
async fn every_request_lands_late_once() {
    with_each_request(Fault::Late).await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_at_every_request_leaves_what_a_successor_completes() {
    for when in [When::Before, When::After] {
        let mut crashes = 0;
        loop {
            let world = world();
            let process = world.process(1, at(crashes, Fault::Freeze(when)));
            tokio::select! {
                biased;
                () = process.faulty.frozen() => {}
                ended = live(&world, &process) => {
                    ended.unwrap();
                    break;
                }
            }
            world.check();
            world.finish(2).await;
            crashes += 1;
        }
        assert!(crashes > 25, "{crashes} requests make a life");
    }
}

/// The successor crashes as well, wherever it is in taking over.
#[tokio::test(start_paused = true)]
async fn a_crash_at_every_request_of_the_takeover_leaves_what_a_third_completes() {
    for when in [When::Before, When::After] {
        let mut crashes = 0;
        loop {
            let world = world();
            // The first dies with a pack that is published in part, and its shards not at their end.
            let mut published = 0;
            let first = world.process(1, move |_, call| {
                published += usize::from(call.is(Verb::Put, "log_events/"));
                if published == 3 { Fault::Freeze(When::After) } else { Fault::Pass }
            });
            tokio::select! {
                biased;
                () = first.faulty.frozen() => {}
                ended = live(&world, &first) => panic!("{ended:?}"),
            }
            let second = world.process(2, at(crashes, Fault::Freeze(when)));
            let taking_over = async {
                let mut worker = world.join(&second).await?;
                worker.drain(3).await
            };
            tokio::select! {
                biased;
                () = second.faulty.frozen() => {}
                ended = taking_over => {
                    ended.unwrap();
                    break;
                }
            }
            world.check();
            world.finish(3).await;
            crashes += 1;
        }
        assert!(crashes > 30, "{crashes} requests make a takeover");
    }
}
