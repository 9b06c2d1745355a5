//! How often and how much one shard may be read: the service's limits, kept from this side.

use std::time::Duration;

use tokio::time::Instant;

/// Limits of one shard.
/// Source: <https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Between the starts of two calls: 5 a second.
    pub between_calls: Duration,
    /// Read throughput: 2 MiB/s. A call may fetch 10 MiB at once; the service then refuses calls until that is paid
    /// for.
    pub bytes_per_second: f64,
    /// Between two calls while there is nothing new.
    pub idle: Duration,
    /// What can arrive: 1 MiB/s.
    pub arriving_per_second: f64,
    /// The most that one call fetches, in bytes and in records.
    pub call_bytes: usize,
    pub call_records: usize,
    /// How long a subscription lasts at most: 5 minutes.
    /// Source: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_SubscribeToShard.html>
    pub subscription: Duration,
    /// Between two calls of SubscribeToShard: 1 a second. Source: as above.
    pub between_subscriptions: Duration,
    /// A subscription that brings no event for so long is taken for dead. An idle one brings an event without records
    /// every 5 seconds or so.
    pub silence: Duration,
    /// What is set aside for an event that is to come, in bytes: what a shard pushes in a second, 2 MiB. No bound is
    /// documented; one that turns out to be larger waits until there is room for it.
    pub event_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            between_calls: Duration::from_millis(200),
            bytes_per_second: (2 << 20) as f64,
            idle: Duration::from_secs(1),
            arriving_per_second: (1 << 20) as f64,
            call_bytes: 10 << 20,
            call_records: 10_000,
            subscription: Duration::from_secs(300),
            between_subscriptions: Duration::from_secs(1),
            silence: Duration::from_secs(30),
            event_bytes: 2 << 20,
        }
    }
}

/// What the first call asks for, since nobody knows how large the records are.
const FIRST_RECORDS: usize = 100;
/// From one call to the next at most so many times as many records are asked for.
const GROWTH: usize = 8;

/// When the next call is due, what to ask for, and what it may bring.
#[derive(Debug)]
pub struct Pace {
    limits: Limits,
    next: Instant,
    /// When the shard was last seen to have nothing more; `None`: there is more, or nobody looked.
    caught_up: Option<Instant>,
    records: usize,
}

impl Pace {
    pub fn new(limits: Limits) -> Self {
        let records = FIRST_RECORDS.min(limits.call_records);
        Self { limits, next: Instant::now(), caught_up: None, records }
    }

    /// When the next call is due.
    pub fn next(&self) -> Instant {
        self.next
    }

    pub fn between_calls(&self) -> Duration {
        self.limits.between_calls
    }

    /// How many records to ask for. The service ends an answer at 10 MiB by itself; not every server does, and memory
    /// is to stay within its bound with those too: so no more than fit, going by the size of those that came last.
    pub fn records(&self) -> usize {
        self.records
    }

    /// A call that started at `start` has fetched so much.
    pub fn called(&mut self, start: Instant, records: usize, bytes: usize, caught_up: bool) {
        let paid = Duration::from_secs_f64(bytes as f64 / self.limits.bytes_per_second);
        let pause = if caught_up { self.limits.idle } else { self.limits.between_calls };
        self.next = start + pause.max(paid).max(self.limits.between_calls);
        self.caught_up = caught_up.then_some(start);
        if let Some(size) = bytes.checked_div(records) {
            let fit = self.limits.call_bytes / size.max(1);
            self.records = fit.min(self.records * GROWTH).clamp(1, self.limits.call_records);
        }
    }

    /// The most that a call made now can reasonably fetch, in bytes.
    pub fn expected(&self, now: Instant) -> usize {
        const SLACK: usize = 64 << 10;
        let Some(since) = self.caught_up else { return self.limits.call_bytes };
        let arrived = (now - since).as_secs_f64() * self.limits.arriving_per_second;
        (arrived as usize + SLACK).min(self.limits.call_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_full_shard_is_read_as_fast_as_the_service_allows() {
        let (mut pace, start) = (Pace::new(Limits::default()), Instant::now());
        pace.called(start, 0, 0, false);
        assert_eq!(pace.next() - start, Duration::from_millis(200));
        pace.called(start, 100, 10 << 20, false);
        assert_eq!(pace.next() - start, Duration::from_secs(5));
        assert_eq!(pace.expected(start), 10 << 20);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_shard_rests_and_little_is_expected_of_it() {
        let (mut pace, start) = (Pace::new(Limits::default()), Instant::now());
        assert_eq!(pace.expected(start), 10 << 20, "nobody knows yet");
        pace.called(start, 0, 0, true);
        assert_eq!(pace.next() - start, Duration::from_secs(1));
        assert_eq!(pace.expected(start + Duration::from_secs(1)), (1 << 20) + (64 << 10));
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_records_are_asked_for_as_fit() {
        let (mut pace, start) = (Pace::new(Limits::default()), Instant::now());
        assert_eq!(pace.records(), 100);
        pace.called(start, 100, 100 << 10, false);
        assert_eq!(pace.records(), 800);
        pace.called(start, 800, 800 << 10, false);
        assert_eq!(pace.records(), 6_400);
        pace.called(start, 6_400, 6_400 << 10, false);
        assert_eq!(pace.records(), 10_000, "the most that the service takes");
        pace.called(start, 10, 10 << 20, false);
        assert_eq!(pace.records(), 10);
        pace.called(start, 0, 0, true);
        assert_eq!(pace.records(), 10, "nothing was learned");
        pace.called(start, 1, 10 << 20, false);
        pace.called(start, 1, 40 << 20, false);
        assert_eq!(pace.records(), 1);
        pace.called(start, 1, 0, false);
        assert_eq!(pace.records(), 8, "empty records");
    }
}
