//! The kinds of metrics: what counts, and what can be read of it. Cheap to move from any thread.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What a metric stands at.
#[derive(Clone, Debug, PartialEq)]
pub enum Sample {
    /// Only grows.
    Counter(u64),
    /// The same by the value of a label.
    Labelled(Vec<(&'static str, u64)>),
    /// `None` while nobody knows.
    Gauge(Option<f64>),
    /// Of so many tries so many went well. Both only grow.
    Ratio {
        good: u64,
        all: u64,
    },
    Durations(Histogram),
}

/// How many durations were at most each of [`BOUNDS`] long, and those that were longer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Histogram {
    /// One more than there are bounds; not cumulative.
    pub counts: [u64; BOUNDS.len() + 1],
    /// Seconds of all of them.
    pub sum: f64,
    /// Milliseconds of each, of the latest, at most [`LATEST`].
    pub latest: Vec<f64>,
    /// How many there were ever; `latest` has the last of them.
    pub count: u64,
}

/// Seconds.
pub const BOUNDS: [f64; 11] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
/// As many values as a metric may have in one document of the Embedded Metric Format.
pub const LATEST: usize = 100;

/// What can be sampled.
pub trait Measure {
    /// As Prometheus calls it.
    const KIND: &'static str;

    fn sample(&self) -> Sample;
}

#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Measure for Counter {
    const KIND: &'static str = "counter";

    fn sample(&self) -> Sample {
        Sample::Counter(self.get())
    }
}

/// Counters by the value of one label. The values are few, and known when this is compiled.
#[derive(Debug, Default)]
pub struct Labelled(Mutex<BTreeMap<&'static str, u64>>);

impl Labelled {
    pub fn add(&self, value: &'static str, more: u64) {
        *self.0.lock().expect("no panic while it is locked").entry(value).or_default() += more;
    }
}

impl Measure for Labelled {
    const KIND: &'static str = "counter";

    fn sample(&self) -> Sample {
        let counts = self.0.lock().expect("no panic while it is locked");
        Sample::Labelled(counts.iter().map(|(value, count)| (*value, *count)).collect())
    }
}

/// A number that goes up and down; not known at the start.
#[derive(Debug)]
pub struct Gauge(AtomicU64);

impl Default for Gauge {
    fn default() -> Self {
        Self(AtomicU64::new(f64::NAN.to_bits()))
    }
}

impl Gauge {
    /// `None`: nobody knows (any more).
    pub fn set(&self, value: Option<f64>) {
        self.0.store(value.unwrap_or(f64::NAN).to_bits(), Ordering::Relaxed);
    }

    pub fn get(&self) -> Option<f64> {
        Some(f64::from_bits(self.0.load(Ordering::Relaxed))).filter(|value| !value.is_nan())
    }
}

impl Measure for Gauge {
    const KIND: &'static str = "gauge";

    fn sample(&self) -> Sample {
        Sample::Gauge(self.get())
    }
}

#[derive(Debug, Default)]
pub struct Ratio {
    good: AtomicU64,
    all: AtomicU64,
}

impl Ratio {
    pub fn tried(&self, went_well: bool) {
        self.all.fetch_add(1, Ordering::Relaxed);
        self.good.fetch_add(u64::from(went_well), Ordering::Release);
    }
}

impl Measure for Ratio {
    const KIND: &'static str = "counter";

    fn sample(&self) -> Sample {
        // In this order, so that no more went well than were tried.
        let good = self.good.load(Ordering::Acquire);
        Sample::Ratio { good, all: self.all.load(Ordering::Relaxed) }
    }
}

#[derive(Debug, Default)]
pub struct Durations(Mutex<Histogram>);

impl Durations {
    pub fn took(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let mut histogram = self.0.lock().expect("no panic while it is locked");
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        histogram.counts[bucket] += 1;
        histogram.sum += seconds;
        histogram.count += 1;
        if histogram.latest.len() == LATEST {
            histogram.latest.remove(0);
        }
        histogram.latest.push(seconds * 1000.0);
    }
}

impl Measure for Durations {
    const KIND: &'static str = "histogram";

    fn sample(&self) -> Sample {
        Sample::Durations(self.0.lock().expect("no panic while it is locked").clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_counted_by_their_bounds_and_the_latest_are_kept() {
        let durations = Durations::default();
        for millis in [50, 51, 400_000].into_iter().chain(std::iter::repeat_n(100, LATEST - 1)) {
            durations.took(Duration::from_millis(millis));
        }
        let Sample::Durations(histogram) = durations.sample() else { panic!("another kind") };
        assert_eq!((histogram.counts[0], histogram.counts[1], histogram.counts[BOUNDS.len()]), (1, 100, 1));
        assert_eq!((histogram.count, histogram.latest.len(), histogram.latest[0]), (102, LATEST, 400_000.0));
    }

    #[test]
    fn a_gauge_is_not_known_before_it_is_set() {
        let gauge = Gauge::default();
        assert_eq!(gauge.sample(), Sample::Gauge(None));
        gauge.set(Some(0.0));
        assert_eq!(gauge.sample(), Sample::Gauge(Some(0.0)));
        gauge.set(None);
        assert_eq!(gauge.get(), None);
    }
}
