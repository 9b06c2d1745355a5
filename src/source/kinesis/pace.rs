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
    /// The most that one call fetches.
    pub call_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            between_calls: Duration::from_millis(200),
            bytes_per_second: (2 << 20) as f64,
            idle: Duration::from_secs(1),
            arriving_per_second: (1 << 20) as f64,
            call_bytes: 10 << 20,
        }
    }
}

/// When the next call is due, and what it may bring.
#[derive(Debug)]
pub struct Pace {
    limits: Limits,
    next: Instant,
    /// When the shard was last seen to have nothing more; `None`: there is more, or nobody looked.
    caught_up: Option<Instant>,
}

impl Pace {
    pub fn new(limits: Limits) -> Self {
        Self { limits, next: Instant::now(), caught_up: None }
    }

    pub fn next(&self) -> Instant {
        self.next
    }

    /// A call that started at `start` has fetched so many bytes.
    pub fn called(&mut self, start: Instant, bytes: usize, caught_up: bool) {
        let paid = Duration::from_secs_f64(bytes as f64 / self.limits.bytes_per_second);
        let pause = if caught_up { self.limits.idle } else { self.limits.between_calls };
        self.next = start + pause.max(paid).max(self.limits.between_calls);
        self.caught_up = caught_up.then_some(start);
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
        pace.called(start, 0, false);
        assert_eq!(pace.next() - start, Duration::from_millis(200));
        pace.called(start, 10 << 20, false);
        assert_eq!(pace.next() - start, Duration::from_secs(5));
        assert_eq!(pace.expected(start), 10 << 20);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_shard_rests_and_little_is_expected_of_it() {
        let (mut pace, start) = (Pace::new(Limits::default()), Instant::now());
        assert_eq!(pace.expected(start), 10 << 20, "nobody knows yet");
        pace.called(start, 0, true);
        assert_eq!(pace.next() - start, Duration::from_secs(1));
        assert_eq!(pace.expected(start + Duration::from_secs(1)), (1 << 20) + (64 << 10));
    }
}
