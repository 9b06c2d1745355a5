//! What a process tells of itself: metrics, in the form of Prometheus and of CloudWatch.
//!
//! A [`Telemetry`] is handed to whoever has something to tell; a default one is as good as none. No event and no payload
//! comes here.

pub mod emf;
pub mod health;
pub mod measures;
pub mod metrics;
pub mod page;
pub mod prometheus;
pub mod recent;
#[cfg(test)]
mod reference;
pub mod server;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use self::health::{Limits, Loop, Verdict, Vitals};
use self::metrics::{Metrics, STORE_KINDS, STREAM_KINDS};
use self::recent::{Published, Recent};
use crate::commit::snapshot::{Snapshot, WorkerId};
use crate::event::{Millis, Rejection, RejectionCode, ShardId};

/// Cheap to clone; clones tell the same.
#[derive(Clone, Debug)]
pub struct Telemetry(Arc<Inner>);

impl Default for Telemetry {
    fn default() -> Self {
        let inner = Inner::default();
        let Metrics { rejections, store_errors, stream_errors, .. } = &inner.metrics;
        // From the start: the first one would else be no increase for whoever asks for that.
        RejectionCode::ALL.iter().for_each(|code| rejections.add(code.as_str(), 0));
        STORE_KINDS.iter().for_each(|kind| store_errors.add(kind, 0));
        STREAM_KINDS.iter().for_each(|kind| stream_errors.add(kind, 0));
        Self(Arc::new(inner))
    }
}

#[derive(Debug, Default)]
struct Inner {
    metrics: Metrics,
    watched: AtomicBool,
    live: Mutex<Live>,
}

/// How things stand.
#[derive(Debug, Default)]
pub struct Live {
    /// The shards of a stream that this worker reads.
    pub reading: BTreeMap<ShardId, Reading>,
    /// Arrival of the oldest record that is not visible yet.
    oldest: Option<Millis>,
    pub worker: Option<WorkerId>,
    /// The newest state that the worker has seen.
    pub state: Option<Arc<Snapshot>>,
    pub vitals: Vitals,
    pub recent: Recent,
}

/// How far the reading of a shard is.
#[derive(Clone, Copy, Debug)]
pub struct Reading {
    /// Milliseconds behind the tip, as the stream said last.
    behind: Option<u64>,
    /// When it last said anything.
    pub heard: Instant,
}

/// A shard that is asked is heard of more often: between two polls, or two events of a subscription, lie some seconds.
const SILENCE: Duration = Duration::from_secs(15);

impl Reading {
    /// Milliseconds behind the tip. Of a shard that says nothing, nobody knows what has come since.
    pub fn behind(&self, now: Instant) -> Option<u64> {
        let silence = now.saturating_duration_since(self.heard);
        if silence < SILENCE {
            return self.behind;
        }
        Some(self.behind.unwrap_or(0).saturating_add(u64::try_from(silence.as_millis()).unwrap_or(u64::MAX)))
    }
}

/// How a worker stands.
#[derive(Debug)]
pub struct Stands {
    /// The newest state that it has seen.
    pub state: Arc<Snapshot>,
    /// As in [`Vitals`].
    pub shards: Option<(usize, usize)>,
    /// Arrival of the oldest record that was read and is not visible in the lake yet.
    pub oldest: Option<Millis>,
    /// As in [`Vitals`].
    pub waiting: Option<Instant>,
    pub flushing: Option<Instant>,
    pub publishing: Option<Instant>,
}

impl Telemetry {
    /// For counting.
    pub fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// The same with what depends on the time worked out, for showing.
    pub fn metrics_at(&self, now: Millis) -> &Metrics {
        let live = self.live();
        let freshness = live.oldest.map_or(0, |oldest| (now - oldest).max(0));
        self.0.metrics.freshness.set(Some(freshness as f64 / 1000.0));
        let tick = Instant::now();
        let behind = live.reading.values().filter_map(|reading| reading.behind(tick)).max();
        self.0.metrics.behind.set(behind.map(|behind| behind as f64));
        &self.0.metrics
    }

    /// From now on somebody looks at what is recent, and whether loops turn.
    pub fn watch(&self) {
        self.0.watched.store(true, Ordering::Relaxed);
    }

    pub fn is_watched(&self) -> bool {
        self.0.watched.load(Ordering::Relaxed)
    }

    /// Whether all is well.
    pub fn judge(&self, limits: Limits) -> Verdict {
        let live = self.live();
        let heard = live.reading.values().map(|reading| reading.heard).min();
        live.vitals.judge(limits, heard, Instant::now())
    }

    /// How things stand, while the lock is held: not for long.
    pub fn live(&self) -> MutexGuard<'_, Live> {
        self.0.live.lock().expect("no panic while it is locked")
    }

    /// A shard was read; `None` where the source can't tell how far behind it is.
    pub fn read(&self, shard: &ShardId, records: usize, bytes: usize, behind: Option<u64>) {
        let metrics = &self.0.metrics;
        metrics.read_records.add(records as u64);
        metrics.read_bytes.add(bytes as u64);
        if let Some(behind) = behind {
            let reading = Reading { behind: Some(behind), heard: Instant::now() };
            self.live().reading.insert(shard.clone(), reading);
        }
    }

    /// A shard of a stream is read from now on.
    pub fn reading(&self, shard: &ShardId) {
        self.live().reading.insert(shard.clone(), Reading { behind: None, heard: Instant::now() });
    }

    /// The stream has answered for a shard, if only that there is nothing new.
    pub fn heard(&self, shard: &ShardId) {
        if let Some(reading) = self.live().reading.get_mut(shard) {
            reading.heard = Instant::now();
        }
    }

    /// A shard is read no more by this worker.
    pub fn let_go(&self, shard: &ShardId) {
        self.live().reading.remove(shard);
    }

    /// A new worker begins, that reads no shard yet.
    pub fn joined(&self, worker: &WorkerId) {
        let mut live = self.live();
        live.begin(Vitals { joined: true, ..Vitals::default() });
        live.worker = Some(worker.clone());
    }

    /// The worker was taken for dead: another one is to begin.
    pub fn fenced(&self) {
        self.metrics().fenced.add(1);
        self.live().begin(Vitals::default());
    }

    /// A loop has turned.
    pub fn turned(&self, which: Loop) {
        self.live().vitals.turns.insert(which, Instant::now());
    }

    /// How a worker stands after a turn of its loop.
    pub fn stands(&self, stands: Stands) {
        let mut live = self.live();
        let Stands { state, shards, oldest, waiting, flushing, publishing } = stands;
        (live.state, live.oldest) = (Some(state), oldest);
        let vitals = &mut live.vitals;
        (vitals.waiting, vitals.flushing, vitals.publishing) = (waiting, flushing, publishing);
        // Once there were some: for a moment nobody knows them while the children of one are looked for.
        vitals.shards = shards.or(vitals.shards);
        vitals.turns.insert(Loop::Worker, Instant::now());
    }

    /// The worker commits what it has and leaves.
    pub fn ending(&self) {
        self.live().vitals.ending = true;
    }

    /// These are rejected. What is said of them is shown to people.
    pub fn rejected(&self, rejections: &[Rejection], now: Millis) {
        if self.is_watched() && !rejections.is_empty() {
            self.live().recent.rejected(rejections, now);
        }
    }

    /// Objects are at their keys.
    pub fn published(&self, objects: impl Iterator<Item = Published>) {
        let metrics = &self.0.metrics;
        let (mut live, watched) = (self.live(), self.is_watched());
        for object in objects {
            metrics.objects.add(1);
            metrics.bytes.add(object.bytes);
            if watched {
                live.recent.published(object);
            }
        }
    }
}

impl Live {
    fn begin(&mut self, vitals: Vitals) {
        self.reading.clear();
        self.oldest = None;
        self.vitals = vitals;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_shard_that_says_nothing_falls_behind() {
        let (telemetry, shard) = (Telemetry::default(), ShardId::from("a"));
        let behind = || telemetry.metrics_at(0).behind.get();
        telemetry.reading(&shard);
        assert_eq!(behind(), None);
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(behind(), Some(20_000.0), "it was asked, and has never answered");
        telemetry.read(&shard, 1, 1, Some(5_000));
        tokio::time::advance(Duration::from_secs(14)).await;
        assert_eq!(behind(), Some(5_000.0));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(behind(), Some(20_000.0));
        telemetry.heard(&shard);
        assert_eq!(behind(), Some(5_000.0));
        telemetry.let_go(&shard);
        telemetry.heard(&shard);
        assert_eq!(behind(), None, "a look at a shard that another worker reads is no reading");
    }

    #[test]
    fn freshness_is_the_age_of_the_oldest_and_lag_that_of_the_worst_shard() {
        let telemetry = Telemetry::default();
        let oldest = |oldest| {
            let (state, shards) = (Arc::new(Snapshot::empty()), Some((2, 0)));
            telemetry.stands(Stands { state, shards, oldest, waiting: None, flushing: None, publishing: None });
        };
        let (a, b) = (ShardId::from("a"), ShardId::from("b"));
        assert_eq!(telemetry.metrics_at(9_000).behind.get(), None);
        telemetry.read(&a, 2, 10, Some(1_000));
        telemetry.read(&b, 1, 5, Some(7_000));
        telemetry.read(&b, 1, 5, None);
        oldest(Some(4_000));
        let metrics = telemetry.metrics_at(9_500);
        assert_eq!((metrics.freshness.get(), metrics.behind.get()), (Some(5.5), Some(7_000.0)));
        assert_eq!((metrics.read_records.get(), metrics.read_bytes.get()), (4, 20));
        telemetry.let_go(&b);
        oldest(None);
        let metrics = telemetry.metrics_at(9_500);
        assert_eq!((metrics.freshness.get(), metrics.behind.get()), (Some(0.0), Some(1_000.0)));
    }
}
