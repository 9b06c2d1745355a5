//! One history, from its seed to its verdict.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use firemain::event::Millis;
use firemain::worker::{self, Report, WorkerError};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::chaos::Chance;
use super::stream::Kind;
use super::world::{LEASE, Process, World};

/// How long faults go on.
const CHAOS: Duration = Duration::from_secs(300);
/// How long it may take then until everything is in order.
const ORDER: Duration = Duration::from_secs(1800);

/// Runs a history. Returns everything that was done to the store, or what is wrong and how to repeat it.
pub fn run(seed: u64) -> Result<Vec<String>, String> {
    run_with(seed, false)
}

/// `same_ids`: with workers that all have one id.
pub fn run_with(seed: u64, same_ids: bool) -> Result<Vec<String>, String> {
    let verdict = catch_unwind(AssertUnwindSafe(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(history(Chance::new(seed), same_ids))
    }));
    verdict.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        format!("SIM_SEED={seed}: {}", text.unwrap_or_default())
    })
}

async fn history(chance: Chance, same_ids: bool) -> Vec<String> {
    let world = Arc::new(World::new(&chance, same_ids));
    chaos(&world).await;
    if chance.is(25) {
        // Nobody was there for longer than the stream keeps records: some of the last chapter's, and all before.
        world.stream.trim(world.now() - chance.upto(CHAOS / 3).as_millis() as Millis, || chance.is(50));
        chaos(&world).await;
    }
    land_all(&world).await;
    world.checked(|_| ());

    settle(&world).await;
    if chance.is(20) {
        drain(&world).await;
    }
    land_all(&world).await;
    world.checked(|checker| {
        checker.finished(&world.expected(checker));
        let head = checker.head.as_ref().expect("there was a group");
        assert!(head.workers.is_empty(), "9: everybody left, but the state has {:?}", head.workers);
        assert!(head.shards.values().all(|shard| shard.owner.is_none()), "9: who left has left shards behind");
    });
    world.store.effects().iter().map(ToString::to_string).collect()
}

/// A chapter of faults. When its time is up, whoever is still there vanishes.
async fn chaos(world: &Arc<World>) {
    let mut tasks = JoinSet::new();
    for _ in 0..world.chance.pick(2..6) {
        tasks.spawn(slot(Arc::clone(world)));
    }
    tasks.spawn(produce(Arc::clone(world)));
    tasks.spawn(disturb(Arc::clone(world)));
    let over = async {
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
        }
    };
    let _ = timeout(CHAOS, over).await;
    tasks.shutdown().await;
    world.checked(|_| ());
}

/// Records come in, shards split and merge, and what is read is removed in time.
async fn produce(world: Arc<World>) {
    let chance = &world.chance;
    let pause = Duration::from_millis(chance.pick(1000..6000));
    loop {
        for _ in 0..chance.pick(1..5) {
            let kind = match chance.pick(0..100) {
                0..4 => Kind::Poison,
                4..8 => Kind::Control,
                _ => Kind::Events(chance.pick(0..4)),
            };
            world.stream.put(chance.pick(0..1 << 32), kind, world.now());
        }
        match chance.pick(0..100) {
            0..3 if world.stream.open() < 9 => world.stream.split(chance.pick(0..1000)),
            3..5 => world.stream.merge(chance.pick(0..1000)),
            5..7 => remove(&world),
            _ => {}
        }
        chance.pause(pause).await;
    }
}

fn remove(world: &World) {
    let read: BTreeSet<_> = world.checked(|checker| {
        let shards = checker.head.iter().flat_map(|head| &head.shards);
        shards.filter(|(_, shard)| shard.has_ended()).map(|(id, _)| id.clone()).collect()
    });
    world.stream.remove(&read);
}

/// Outages, and requests that land long after they were sent.
async fn disturb(world: Arc<World>) {
    let chance = &world.chance;
    loop {
        chance.pause(LEASE * 2).await;
        if chance.is(15) {
            world.weather.break_down(chance.upto(LEASE * 5));
        }
        let lines = world.lines.lock().unwrap().clone();
        if !lines.is_empty() {
            lines[chance.pick(0..lines.len() as u64) as usize].land().await;
        }
        world.checked(|_| ());
    }
}

async fn land_all(world: &World) {
    let lines = world.lines.lock().unwrap().clone();
    for line in lines {
        line.land().await;
    }
}

/// One place where processes run, one after the other.
async fn slot(world: Arc<World>) {
    loop {
        world.chance.pause(LEASE / 2).await;
        let process = world.process();
        one_process(&world, &process).await;
        world.checked(|_| ());
    }
}

async fn one_process(world: &World, process: &Process) {
    let chance = &world.chance;
    let life = live(world, process);
    tokio::pin!(life);
    loop {
        tokio::select! {
            biased;
            () = process.line.frozen() => {
                if chance.is(40) {
                    return;
                }
                // Nothing reaches it meanwhile, and nothing of it gets out.
                let long = if chance.is(50) { LEASE * 5 } else { LEASE / 3 };
                chance.pause(long).await;
                process.line.thaw();
            }
            ended = &mut life => {
                if let Err(error) = ended {
                    panic!("a worker ended: {error}");
                }
                world.is_drained(process);
                return;
            }
            () = chance.pause(LEASE * 6) => match chance.pick(0..4) {
                0 => return,
                1 => process.line.freeze(),
                2 => world.set_clock(process),
                _ => {
                    process.stop.send_replace(true);
                }
            },
        }
    }
}

/// As the service does it: a worker that was taken for dead is followed by a new one.
async fn live(world: &World, process: &Process) -> Result<Report, WorkerError> {
    let mut report = Report::default();
    loop {
        let parts = world.parts(process).await?;
        match worker::run(parts, process.stop.subscribe(), &mut report).await {
            Err(error) if error.is_fenced() && *process.stop.borrow() => return Ok(report),
            Err(error) if error.is_fenced() => {}
            ended => return ended.map(|()| report),
        }
    }
}

/// More comes, and some healthy workers drain the stream together: each ends by itself, when all is visible.
async fn drain(world: &Arc<World>) {
    for _ in 0..world.chance.pick(1..20) {
        world.stream.put(world.chance.pick(0..1 << 32), Kind::Events(2), world.now());
    }
    let mut drains = JoinSet::new();
    for _ in 0..world.chance.pick(1..4) {
        let (world, process) = (Arc::clone(world), world.healthy_drain());
        drains.spawn(async move {
            let report = live(&world, &process).await;
            world.is_drained(&process);
            report
        });
    }
    let all = async {
        while let Some(ended) = drains.join_next().await {
            ended.expect("no worker panics").unwrap_or_else(|error| panic!("a healthy drain ended: {error}"));
        }
    };
    timeout(ORDER, all).await.expect("9: a drain does not end");
}

/// Some healthy workers take over what is left, share the shards and deliver everything. Then they leave.
async fn settle(world: &Arc<World>) {
    let count = world.chance.pick(1..4) as usize;
    // As many of these, with nothing left to do, would look the same as healthy ones.
    let dead = world.members();
    let (mut workers, mut stops) = (JoinSet::new(), Vec::new());
    for _ in 0..count {
        let process = world.healthy();
        stops.push(process.stop.clone());
        let world = Arc::clone(world);
        workers.spawn(async move { live(&world, &process).await });
    }
    let began = Instant::now();
    while !world.is_settled(count, &dead) {
        if let Some(ended) = workers.try_join_next() {
            panic!("a healthy worker ended: {ended:?}");
        }
        assert!(
            began.elapsed() < ORDER,
            "9: no order comes about: {:?}",
            world.checked(|checker| checker.head.clone())
        );
        sleep(Duration::from_secs(10)).await;
    }
    for stop in stops {
        stop.send_replace(true);
    }
    while let Some(ended) = workers.join_next().await {
        ended.expect("no worker panics").unwrap_or_else(|error| panic!("a healthy worker ended: {error}"));
    }
}
