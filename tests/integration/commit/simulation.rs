//! Random histories: workers that come, commit, freeze, crash and wake, over requests that fail, are slow, lose their
//! answer or land late. The invariants are checked after every request that reached the store.
//!
//! A history follows from its seed alone. `SIM_SEED=<seed>` repeats one; `SIM_HISTORIES=<n>` runs so many.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use firemain::commit::change::{Commit, Refused};
use firemain::commit::group::{Group, GroupError};
use firemain::commit::member::AdvanceError;
use firemain::commit::pack::PackedObject;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::world::{Process, World};
use super::{HEARTBEAT, LEASE, Worker};
use crate::support::faults::{Call, Fault, Faulty, When};

const HISTORIES: u64 = 150;
/// How long faults go on, on the paused clock.
const CHAOS: Duration = Duration::from_secs(600);

#[test]
fn random_histories_keep_every_invariant() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    if let Some(seed) = number("SIM_SEED") {
        println!("{}", history(seed).join("\n"));
        return;
    }
    let first = rand::random::<u32>();
    for n in 0..number("SIM_HISTORIES").unwrap_or(HISTORIES) {
        history(u64::from(first) + n);
    }
}

/// Without this, a seed would be of no use.
#[test]
fn a_seed_repeats_its_history() {
    assert_eq!(history(7), history(7));
}

/// Says which history it was, should it fail.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to repeat this history: SIM_SEED={}", self.0);
        }
    }
}

/// Runs one history to its end. Returns everything that was done to the store.
fn history(seed: u64) -> Vec<String> {
    let _named = Named(seed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let chaos = Chaos::new(seed);
        let world = Arc::new(World::new(&[("a", 30), ("b", 20), ("c", 10)]));
        let mut slots = JoinSet::new();
        for _ in 0..chaos.pick(2..4) {
            slots.spawn(slot(Arc::clone(&world), chaos.clone()));
        }
        slots.spawn(chaos.clone().land_late_requests());
        let over = async {
            while let Some(ended) = slots.join_next().await {
                ended.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()));
            }
        };
        // When the time is up, whoever is still there vanishes.
        let _ = timeout(CHAOS, over).await;
        slots.shutdown().await;
        chaos.land_all().await;
        world.check();
        world.finish(chaos.seed()).await;
        chaos.land_all().await;
        world.check();
        world.store.effects().iter().map(ToString::to_string).collect()
    })
}

/// All the chance of one history.
#[derive(Clone)]
struct Chaos {
    rng: Arc<Mutex<StdRng>>,
    lines: Arc<Mutex<Vec<Faulty>>>,
    over: Arc<AtomicBool>,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let rng = Arc::new(Mutex::new(StdRng::seed_from_u64(seed)));
        Self { rng, lines: Arc::default(), over: Arc::default() }
    }

    fn pick(&self, range: std::ops::Range<u64>) -> u64 {
        self.rng.lock().unwrap().random_range(range)
    }

    fn seed(&self) -> u64 {
        self.rng.lock().unwrap().random()
    }

    fn chance(&self, percent: u64) -> bool {
        self.pick(0..100) < percent
    }

    async fn pause(&self, upto: Duration) {
        sleep(Duration::from_millis(self.pick(0..upto.as_millis() as u64))).await;
    }

    fn script(&self) -> impl FnMut(usize, &Call) -> Fault + Send + 'static {
        let chaos = self.clone();
        move |_, _| match chaos.pick(0..1000) {
            0..30 => Fault::Fail,
            30..60 => Fault::Lose,
            60..85 => Fault::Late,
            85..97 => Fault::Freeze(When::Before),
            97..110 => Fault::Freeze(When::After),
            110..400 => Fault::Pass,
            _ => Fault::Slow(Duration::from_millis(chaos.pick(0..200))),
        }
    }

    fn process(&self, world: &World) -> Process {
        let process = world.process(self.seed(), self.script());
        self.lines.lock().unwrap().push(process.faulty.clone());
        process
    }

    async fn land_late_requests(self) {
        while !self.over.load(Ordering::Relaxed) {
            self.pause(LEASE * 2).await;
            let lines = self.lines.lock().unwrap().clone();
            if !lines.is_empty() {
                lines[self.pick(0..lines.len() as u64) as usize].land().await;
            }
        }
    }

    async fn land_all(&self) {
        let lines = self.lines.lock().unwrap().clone();
        for line in lines {
            line.land().await;
        }
    }
}

/// One place where workers run, one after the other.
async fn slot(world: Arc<World>, chaos: Chaos) {
    loop {
        chaos.pause(LEASE).await;
        let process = chaos.process(&world);
        let life = live(&world, &process, &chaos);
        tokio::pin!(life);
        loop {
            tokio::select! {
                biased;
                () = process.faulty.frozen() => {
                    if chaos.chance(40) {
                        break;
                    }
                    // Nothing of the process moves meanwhile, its timers neither.
                    let long = if chaos.chance(50) { LEASE * 5 } else { LEASE / 3 };
                    chaos.pause(long).await;
                    process.faulty.thaw();
                }
                ended = &mut life => match ended {
                    Ok(()) | Err(GroupError::Fenced) => break,
                    Err(error) => panic!("{error}"),
                },
            }
        }
        world.check();
        let drained = world.checked(|checker| checker.head.as_ref().is_some_and(|head| head.totals.events == 60));
        if drained && chaos.chance(30) {
            chaos.over.store(true, Ordering::Relaxed);
            return;
        }
    }
}

async fn live(world: &World, process: &Process, chaos: &Chaos) -> Result<(), GroupError> {
    let worker = world.join(process).await?;
    let group = Arc::clone(&worker.group);
    tokio::select! {
        biased;
        worked = work(worker, world, chaos) => worked,
        beaten = beat(&group) => beaten,
    }
}

async fn beat(group: &Group) -> Result<(), GroupError> {
    loop {
        sleep(HEARTBEAT).await;
        group.beat().await?;
    }
}

async fn work(mut worker: Worker, world: &World, chaos: &Chaos) -> Result<(), GroupError> {
    let mut unpublished = Vec::new();
    loop {
        worker.claim().await?;
        world.check();
        for _ in 0..chaos.pick(1..5) {
            chaos.pause(HEARTBEAT / 2).await;
            let stale = if chaos.chance(5) { Some(worker.stage(chaos.pick(1..5)).await?) } else { None };
            unpublished.extend(worker.flush(chaos.pick(1..5)).await?);
            world.check();
            if let Some((commit, objects)) = stale {
                commit_again(&mut worker, commit, objects).await?;
            }
            while !unpublished.is_empty() && chaos.chance(60) {
                worker.publish(unpublished.remove(0)).await?;
                world.check();
            }
        }
        if chaos.chance(30) {
            worker.clear().await?;
        }
        if chaos.chance(10) {
            worker.group.sweep().await?;
        }
        let drained = worker.is_drained().await? && unpublished.is_empty();
        if chaos.chance(if drained { 50 } else { 10 }) {
            return worker.leave().await;
        }
        world.check();
    }
}

/// What was staged before another flush of the same records was committed: it must be refused.
async fn commit_again(worker: &mut Worker, commit: Commit, objects: Vec<PackedObject>) -> Result<(), GroupError> {
    if commit.moves.is_empty() {
        return Ok(());
    }
    match worker.commit(commit, objects).await {
        Err(GroupError::Advance(AdvanceError::Refused(Refused::Moved { .. }))) => Ok(()),
        Err(error) => Err(error),
        Ok(committed) => panic!("6: {} was committed on top of the same records", committed.id),
    }
}
