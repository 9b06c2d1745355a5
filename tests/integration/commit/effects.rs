//! What one undisturbed worker asks of the store, in order.

use super::Worker;
use super::world::{World, told};
use crate::support::faults::Effect;

/// What was done since the last time.
fn since(effects: &[Effect], seen: &mut usize, worker: &Worker) -> Vec<String> {
    let new = told(&effects[*seen..], &[("A", worker)]);
    *seen = effects.len();
    new
}

#[tokio::test(start_paused = true)]
async fn each_step_makes_these_requests_in_this_order() {
    let world = World::new(&[("a", 4), ("b", 1)]);
    let process = world.healthy(1);
    let mut seen = 0;

    let mut worker = world.join(&process).await.unwrap();
    assert_eq!(
        since(&process.recording.effects(), &mut seen, &worker),
        [
            "create workers/A.json",
            "create workers/A.json -> exists",
            "list state",
            "create state/1",
            "list state",
            "list workers",
        ]
    );

    worker.claim().await.unwrap();
    let claim = ["list state", "create state/2", "list state"];
    assert_eq!(since(&process.recording.effects(), &mut seen, &worker), claim);

    let (commit, objects) = worker.stage(2).await.unwrap();
    assert_eq!(since(&process.recording.effects(), &mut seen, &worker), ["put staged/A-1.pack"]);

    let committed = worker.commit(commit, objects).await.unwrap();
    assert_eq!(since(&process.recording.effects(), &mut seen, &worker), ["create state/3", "list state"]);

    worker.publish(committed).await.unwrap();
    assert_eq!(
        since(&process.recording.effects(), &mut seen, &worker),
        ["put log_events/log_group=a/A-1-0.json", "put log_events/log_group=b/A-1-1.json",]
    );

    // The next commit clears the pack before.
    let committed = worker.flush(2).await.unwrap().unwrap();
    assert_eq!(
        since(&process.recording.effects(), &mut seen, &worker),
        ["put staged/A-2.pack", "create state/4", "list state", "delete staged/A-1.pack",]
    );

    worker.publish(committed).await.unwrap();
    worker.clear().await.unwrap();
    assert_eq!(
        since(&process.recording.effects(), &mut seen, &worker),
        ["put log_events/log_group=a/A-2-0.json", "create state/5", "list state", "delete staged/A-2.pack",]
    );

    worker.group.sweep().await.unwrap();
    let sweep = ["list staged", "list state"];
    assert_eq!(since(&process.recording.effects(), &mut seen, &worker), sweep);

    worker.leave().await.unwrap();
    let leave = ["create state/6", "list state", "delete workers/A.json"];
    assert_eq!(since(&process.recording.effects(), &mut seen, &worker), leave);
    world.checked(|checker| checker.finished(&world.stream.events()));
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_puts_nothing_but_its_heartbeat() {
    let world = World::new(&[("a", 0)]);
    let process = world.healthy(1);
    let mut worker = world.join(&process).await.unwrap();
    worker.claim().await.unwrap();
    let mut seen = process.recording.effects().len();
    assert!(!worker.group.beat().await.unwrap(), "nobody came, nobody went");
    let beat = ["put workers/A.json", "list workers"];
    assert_eq!(since(&process.recording.effects(), &mut seen, &worker), beat);

    worker.claim().await.unwrap();
    worker.clear().await.unwrap();
    assert_eq!(since(&process.recording.effects(), &mut seen, &worker), ["list state"]);
}
