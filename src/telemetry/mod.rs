//! What a process tells of itself: metrics, in the form of Prometheus and of CloudWatch.
//!
//! A [`Telemetry`] is handed to whoever has something to tell; a default one is as good as none. No event and no payload
//! comes here.

pub mod emf;
pub mod measures;
pub mod metrics;
pub mod prometheus;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use self::metrics::Metrics;
use crate::event::{Millis, ShardId};

/// Cheap to clone; clones tell the same.
#[derive(Clone, Debug, Default)]
pub struct Telemetry(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    metrics: Metrics,
    live: Mutex<Live>,
}

/// What metrics are worked out of.
#[derive(Debug, Default)]
struct Live {
    /// Milliseconds behind the tip, of each shard that is read.
    behind: BTreeMap<ShardId, u64>,
    /// Arrival of the oldest record that is not visible yet.
    oldest: Option<Millis>,
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
        self.0.metrics.behind.set(live.behind.values().max().map(|behind| *behind as f64));
        &self.0.metrics
    }

    /// A shard was read; `None` where the source can't tell how far behind it is.
    pub fn read(&self, shard: &ShardId, records: usize, bytes: usize, behind: Option<u64>) {
        let metrics = &self.0.metrics;
        metrics.read_records.add(records as u64);
        metrics.read_bytes.add(bytes as u64);
        if let Some(behind) = behind {
            self.live().behind.insert(shard.clone(), behind);
        }
    }

    /// A shard is read no more by this worker.
    pub fn let_go(&self, shard: &ShardId) {
        self.live().behind.remove(shard);
    }

    /// A new worker begins, that reads no shard yet.
    pub fn joined(&self) {
        let mut live = self.live();
        live.behind.clear();
        live.oldest = None;
    }

    /// Arrival of the oldest record that was read and is not visible in the lake yet.
    pub fn oldest(&self, arrival: Option<Millis>) {
        self.live().oldest = arrival;
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.0.live.lock().expect("no panic while it is locked")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freshness_is_the_age_of_the_oldest_and_lag_that_of_the_worst_shard() {
        let telemetry = Telemetry::default();
        let (a, b) = (ShardId::from("a"), ShardId::from("b"));
        assert_eq!(telemetry.metrics_at(9_000).behind.get(), None);
        telemetry.read(&a, 2, 10, Some(1_000));
        telemetry.read(&b, 1, 5, Some(7_000));
        telemetry.read(&b, 1, 5, None);
        telemetry.oldest(Some(4_000));
        let metrics = telemetry.metrics_at(9_500);
        assert_eq!((metrics.freshness.get(), metrics.behind.get()), (Some(5.5), Some(7_000.0)));
        assert_eq!((metrics.read_records.get(), metrics.read_bytes.get()), (4, 20));
        telemetry.let_go(&b);
        telemetry.oldest(None);
        let metrics = telemetry.metrics_at(9_500);
        assert_eq!((metrics.freshness.get(), metrics.behind.get()), (Some(0.0), Some(1_000.0)));
    }
}
