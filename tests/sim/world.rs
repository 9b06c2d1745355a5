//! One bucket, one stream, and the processes that work between them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use firemain::clock::Clock;
use firemain::commit::peers::About;
use firemain::commit::snapshot::{ShardState, WorkerId};
use firemain::commit::storage::Storage;
use firemain::config::{Compression, Consumer, FlushConfig, Format, FormatKind, Start};
use firemain::decode::{DecodeConfig, Decoder, Payloads};
use firemain::event::{Millis, ShardId};
use firemain::partition::KeyLimits;
use firemain::position::Position;
use firemain::retry::Patience;
use firemain::source::kinesis::{KinesisSource, Limits};
use firemain::source::{ReadAhead, SourceError};
use firemain::table::tabulate::Tabulator;
use firemain::telemetry::Telemetry;
use firemain::worker::compute::Compute;
use firemain::worker::{Parts, Settings};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use tokio::sync::watch;
use tokio::time::Instant;

use super::chaos::{Chance, Weather};
use super::service::Service;
use super::stream::{START, Stream};
use crate::support::faults::{Fault, Faulty, Recording};
use crate::support::invariants::{Books, Checker};

pub const GROUP: &str = "sim";
pub const LEASE: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub struct World {
    pub chance: Chance,
    pub weather: Weather,
    pub stream: Stream,
    pub store: Arc<Recording>,
    /// Every process's line to the store, dead ones too: what they sent may land yet.
    pub lines: Mutex<Vec<Faulty>>,
    plan: Plan,
    began: Instant,
    checked: Mutex<(usize, Checker)>,
}

/// What all processes of a history are told.
#[derive(Debug)]
struct Plan {
    flush: FlushConfig,
    start: Start,
    fan_out: bool,
    snapshots_kept: usize,
    /// For the ids of workers: one for each process, unless that rule is broken.
    same_ids: bool,
}

/// A process: what its worker is made of, and how to take hold of it.
#[derive(Debug)]
pub struct Process {
    pub line: Faulty,
    pub stop: watch::Sender<bool>,
    clock: Clock,
    parts: Settings,
    chance: Chance,
    weather: Option<Weather>,
    /// Rows that were on the stream when it began.
    found: BTreeSet<String>,
}

impl World {
    pub fn new(chance: &Chance, same_ids: bool) -> Self {
        let weather = Weather::new(chance);
        let flush = FlushConfig {
            interval: Duration::from_secs([3, 10, 20, 90][chance.pick(0..4) as usize]),
            buffer_bytes: if chance.is(30) { 256 << 10 } else { 32 << 20 },
            object_bytes: 128 << 20,
            open_partitions: if chance.is(20) { 2 } else { 100 },
        };
        let start = if chance.is(20) { Start::Latest } else { Start::TrimHorizon };
        let fan_out = chance.is(30);
        let snapshots_kept = [2, 5, 500][chance.pick(0..3) as usize];
        let stream = Stream::new(chance.pick(1..5));
        let checker = Checker::new(GROUP, Arc::new(stream.clone()), snapshots_kept as u64);
        Self {
            chance: chance.clone(),
            weather,
            stream,
            store: Arc::new(Recording::new(Arc::new(InMemory::new()))),
            lines: Mutex::default(),
            plan: Plan { flush, start, fan_out, snapshots_kept, same_ids },
            began: Instant::now(),
            checked: Mutex::new((0, checker)),
        }
    }

    /// The time of day of the stream, which nobody sets.
    pub fn now(&self) -> Millis {
        START + self.began.elapsed().as_millis() as Millis
    }

    pub fn process(&self) -> Process {
        let script = self.weather.script(&self.chance);
        let mut process = self.process_with(script, Some(self.weather.clone()));
        process.parts.drain = self.chance.is(10);
        process
    }

    /// A process without faults.
    pub fn healthy(&self) -> Process {
        self.process_with(|_, _| Fault::Slow(Duration::from_millis(10)), None)
    }

    /// The same, which ends when everything is delivered.
    pub fn healthy_drain(&self) -> Process {
        let mut process = self.healthy();
        process.parts.drain = true;
        process
    }

    fn process_with(
        &self,
        script: impl FnMut(usize, &crate::support::faults::Call) -> Fault + Send + 'static,
        weather: Option<Weather>,
    ) -> Process {
        let line = Faulty::new(Arc::clone(&self.store) as Arc<dyn ObjectStore>, script);
        self.lines.lock().unwrap().push(line.clone());
        let clock = if self.plan.same_ids {
            Clock::simulated(1, START)
        } else {
            Clock::simulated(self.chance.seed(), self.now())
        };
        let parts = Settings {
            group: GROUP.into(),
            lease: LEASE,
            snapshots_kept: self.plan.snapshots_kept,
            flush: self.plan.flush.clone(),
            format: Format { kind: FormatKind::Json, compression: Compression::None, level: 0 },
            bloom_filters: Arc::default(),
            errors: "errors".into(),
            drain: false,
            compute: Compute::Inline,
            stuck_after: Duration::from_secs(600),
            about: About::default(),
        };
        Process {
            line,
            stop: watch::Sender::new(false),
            clock,
            parts,
            chance: self.chance.clone(),
            weather,
            found: self.stream.rows(),
        }
    }

    /// What a worker of this process is made of; connecting is a part of its life.
    pub async fn parts(&self, process: &Process) -> Result<Parts, SourceError> {
        let patience = Patience::default();
        let service = Arc::new(Service::new(&self.stream, &process.chance, &process.line, process.weather.clone()));
        let (clock, start) = (process.clock.clone(), self.plan.start);
        let source = KinesisSource::over(
            service,
            "sim",
            start,
            &clock,
            &patience,
            &Telemetry::default(),
            ReadAhead::new(64 << 20),
        )
        .await?;
        let source = if self.plan.fan_out { source.fan_out(&Consumer::Name("sim".into())).await? } else { source };
        let limits = Limits {
            between_calls: Duration::from_secs(1),
            idle: Duration::from_secs(3),
            call_bytes: 64 << 10,
            ..Limits::default()
        };
        let keys = KeyLimits { key: 1024, segment: 1024, before: 0 };
        let longest_table = "log_events".into();
        let decode =
            DecodeConfig { payloads: Payloads::Envelopes, inflated_record_bytes: 1 << 20, longest_table, keys };
        Ok(Parts {
            source: Arc::new(source.with_limits(limits)),
            storage: Storage::new(Arc::new(process.line.clone()), true, clock, patience),
            decoder: Arc::new(Decoder::new(decode)),
            tabulator: Tabulator::log_events(),
            registrar: None,
            telemetry: firemain::telemetry::Telemetry::default(),
            settings: process.parts.clone(),
        })
    }

    /// Sets the clock of a process, unless records are chosen by it.
    pub fn set_clock(&self, process: &Process) {
        if self.plan.start == Start::TrimHorizon {
            let hours = self.chance.pick(0..5) as Millis - 2;
            process.clock.set_by(hours * 3_600_000 + self.chance.pick(0..1000) as Millis);
        }
    }

    /// Checks the invariants after each request that came since the last call, and asks about what is there now.
    pub fn checked<T>(&self, ask: impl FnOnce(&Checker) -> T) -> T {
        let (seen, checker) = &mut *self.checked.lock().unwrap_or_else(|broken| broken.into_inner());
        for effect in self.store.effects_from(*seen) {
            *seen += 1;
            checker.see(&effect);
        }
        ask(checker)
    }

    /// Every row that is to be delivered.
    pub fn expected(&self, checker: &Checker) -> BTreeSet<String> {
        self.due(self.stream.rows(), checker)
    }

    /// Of these rows those that are to be delivered, by where the group started to read.
    fn due(&self, mut rows: BTreeSet<String>, checker: &Checker) -> BTreeSet<String> {
        for (shard, start) in &checker.started {
            // Shards that come later start at their beginning, which the checker sees to.
            let right = match (self.plan.start, start) {
                (Start::TrimHorizon, Position::TrimHorizon) => true,
                (Start::Latest, Position::At(time)) => (START..=self.now()).contains(time),
                _ => !checker.first.contains(shard),
            };
            assert!(right, "2: {shard} started at {start}, and was to start at {:?}", self.plan.start);
            for row in self.stream.before(shard, start) {
                rows.remove(&row);
            }
        }
        // What the stream has dropped may be delivered even so, by a commit that was on its way.
        rows.retain(|row| checker.has_delivered(row) || !self.stream.is_trimmed(row));
        rows
    }

    /// Asserts what a drain promises that has ended by itself: what it found is visible.
    pub fn is_drained(&self, process: &Process) {
        if !process.parts.drain || *process.stop.borrow() {
            return;
        }
        self.checked(|checker| {
            let visible = checker.visible_rows();
            let due = self.due(process.found.clone(), checker);
            let missing: Vec<_> = due.difference(&visible).collect();
            assert!(missing.is_empty(), "a drain has ended, and these rows are not visible: {missing:?}");
        });
    }

    /// Who is in the group.
    pub fn members(&self) -> BTreeSet<WorkerId> {
        self.checked(|checker| checker.head.iter().flat_map(|head| head.workers.keys().cloned()).collect())
    }

    /// Whether everything is as it is to be in the end: delivered, published and cleared, and owned evenly.
    pub fn is_settled(&self, workers: usize, dead: &BTreeSet<WorkerId>) -> bool {
        self.checked(|checker| {
            let Some(head) = &checker.head else { return false };
            let ended = |id: &ShardId| head.shards.get(id).is_some_and(ShardState::has_ended);
            let unread = self.stream.unread(ended);
            let owned: Vec<usize> = head.workers.keys().map(|worker| head.owned_by(worker).count()).collect();
            let even = owned.iter().max().unwrap_or(&0) - owned.iter().min().unwrap_or(&0) <= 1;
            let has_owner = |id: &ShardId| head.shards.get(id).is_some_and(|shard| shard.owner.is_some());
            head.workers.len() == workers
                && head.workers.keys().all(|worker| !dead.contains(worker))
                && even
                && unread.iter().all(has_owner)
                && head.packs.is_empty()
                && checker.staged().is_empty()
                && checker.delivered() == self.expected(checker).len()
        })
    }
}
