//! When to flush: numbers in, a decision out. No I/O, no clock.

use std::time::Duration;

use tokio::time::Instant;

/// A shard's end is committed soon, for its children wait for it, but not at once: shards often end together.
const AFTER_SHARD_END: Duration = Duration::from_secs(1);

/// Shards that this worker has too many are given up with the next commit, which is brought forward to so long after it
/// was known: who is to have them waits, and perhaps the stream with it.
const HAND_OVER: Duration = Duration::from_secs(10);

/// What a commit takes, more or less: workers whose intervals end together end them so much apart.
const COMMIT: Duration = Duration::from_millis(500);

#[derive(Clone, Debug)]
pub struct Policy {
    interval: Duration,
    open_partitions: usize,
}

/// What is buffered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fill {
    /// Since when something waits to be committed: rows, or a position alone.
    pub since: Option<Instant>,
    /// The buffers may take no more bytes.
    pub full: bool,
    pub partitions: usize,
    /// Since when the end of a shard with possible children waits to be committed.
    pub shard_ended: Option<Instant>,
    /// Since when there are shards to give up.
    pub surplus: Option<Instant>,
    /// Since when packs are published that the state still lists.
    pub published: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Interval,
    Full,
    OpenPartitions,
    ShardEnd,
    HandOver,
    /// Nothing came along to take published packs off the state: once, and then the state rests.
    Clear,
    /// Everything there is was read, or the process was asked to end.
    Finish,
}

impl Policy {
    /// For one of so many workers: each ends its intervals a little before the one of the rank below, by a third of
    /// an interval at most. Otherwise those that once fell into step, at a deployment or after an outage, would wait for
    /// each other at every commit.
    pub fn new(interval: Duration, open_partitions: usize, rank: usize, workers: usize) -> Self {
        let (rank, workers) =
            (u32::try_from(rank).unwrap_or(u32::MAX), u32::try_from(workers).unwrap_or(u32::MAX).max(1));
        let apart = COMMIT.min(interval / workers.saturating_mul(3));
        Self { interval: interval.saturating_sub(apart.saturating_mul(rank)), open_partitions }
    }

    /// From the first record of a flush to the flush, at most.
    pub fn interval(&self) -> Duration {
        self.interval
    }

    pub fn due(&self, fill: &Fill, now: Instant) -> Option<Reason> {
        if fill.full && fill.partitions > 0 {
            Some(Reason::Full)
        } else if fill.partitions > self.open_partitions {
            Some(Reason::OpenPartitions)
        } else if fill.shard_ended.is_some_and(|ended| now >= ended + AFTER_SHARD_END) {
            Some(Reason::ShardEnd)
        } else if fill.surplus.is_some_and(|surplus| fill.since.is_none() || now >= surplus + HAND_OVER) {
            Some(Reason::HandOver)
        } else if fill.since.is_some_and(|since| now >= since + self.interval) {
            Some(Reason::Interval)
        } else if fill.published.is_some_and(|published| now >= published + self.interval) {
            Some(Reason::Clear)
        } else {
            None
        }
    }

    /// When `due` will say yes if nothing more comes.
    pub fn deadline(&self, fill: &Fill) -> Option<Instant> {
        let by_interval = [fill.since, fill.published].into_iter().flatten().min().map(|since| since + self.interval);
        let by_end = fill.shard_ended.map(|ended| ended + AFTER_SHARD_END);
        let by_surplus = fill.surplus.map(|surplus| if fill.since.is_none() { surplus } else { surplus + HAND_OVER });
        by_interval.into_iter().chain(by_end).chain(by_surplus).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> Policy {
        Policy::new(Duration::from_secs(300), 2, 0, 1)
    }

    #[tokio::test]
    async fn flushes_by_time_by_size_by_partitions_and_at_a_shards_end() {
        let (policy, start) = (policy(), Instant::now());
        let fill = Fill { since: Some(start), partitions: 2, ..Fill::default() };
        let later = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(policy.due(&Fill::default(), later(9999)), None, "nothing to flush");
        assert_eq!(policy.due(&fill, later(299)), None);
        assert_eq!(policy.due(&fill, later(300)), Some(Reason::Interval));
        assert_eq!(policy.due(&Fill { full: true, ..fill }, start), Some(Reason::Full));
        assert_eq!(policy.due(&Fill { partitions: 3, ..fill }, start), Some(Reason::OpenPartitions));
        let ended = Fill { shard_ended: Some(start), ..fill };
        assert_eq!(policy.due(&ended, start), None);
        assert_eq!(policy.due(&ended, later(1)), Some(Reason::ShardEnd));
        let surplus = Fill { surplus: Some(later(3)), ..fill };
        assert_eq!(policy.due(&surplus, later(12)), None);
        assert_eq!(policy.due(&surplus, later(13)), Some(Reason::HandOver));
        assert_eq!(
            policy.due(&Fill { since: None, ..surplus }, later(3)),
            Some(Reason::HandOver),
            "nothing to wait for"
        );
        let published = Fill { published: Some(start), ..Fill::default() };
        assert_eq!(policy.due(&published, later(299)), None);
        assert_eq!(policy.due(&published, later(300)), Some(Reason::Clear));
    }

    #[test]
    fn workers_end_their_intervals_one_after_the_other() {
        let interval = |seconds, rank, workers| Policy::new(Duration::from_secs(seconds), 2, rank, workers).interval();
        assert_eq!(interval(300, 0, 3), Duration::from_secs(300));
        assert_eq!(interval(300, 2, 3), Duration::from_secs(299));
        assert_eq!(interval(300, 49, 50), Duration::from_millis(300_000 - 49 * 500));
        assert_eq!(
            interval(1, 49, 50),
            Duration::from_millis(1000) - 49 * (Duration::from_secs(1) / 150),
            "a third of it, or not quite"
        );
    }

    #[tokio::test]
    async fn the_deadline_is_when_it_becomes_due() {
        let (policy, start) = (policy(), Instant::now());
        assert_eq!(policy.deadline(&Fill::default()), None);
        let fill = Fill { since: Some(start), ..Fill::default() };
        let ended = Fill { shard_ended: Some(start), ..fill };
        let published = Fill { published: Some(start), ..Fill::default() };
        let surplus = Fill { surplus: Some(start), ..fill };
        for fill in [fill, ended, published, surplus] {
            let deadline = policy.deadline(&fill).unwrap();
            assert!(policy.due(&fill, deadline).is_some());
            assert!(policy.due(&fill, deadline - Duration::from_millis(1)).is_none());
        }
    }
}
