//! The one way to try again: jittered backoff, for ever where it can heal by itself, and a word about it in the log.
//!
//! What an error allows is said by its [`Verdict`]. Throttling, 5xx, timeouts and lost connections are
//! [`Verdict::Transient`]. An answer that says no (denied, no such bucket) is [`Verdict::Refused`]: fatal while the
//! process starts, and later borne for as long as its [`Patience`] says, since permissions and buckets come and go
//! under running services too.

use std::fmt::Display;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::clock::Clock;

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// What an error lets its caller do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Transient,
    Refused,
}

/// How long refusals are borne: not at all until [`Patience::relax`]. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Patience(Arc<AtomicU64>);

impl Patience {
    /// From now on a refusal is fatal only after it has lasted for so long.
    pub fn relax(&self, refused_for: Duration) {
        self.0.store(u64::try_from(refused_for.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn refused_for(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }
}

/// A refusal that lasted longer than the patience.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {error}")]
pub struct GaveUp {
    pub what: String,
    pub error: String,
}

/// The attempts at one thing.
#[derive(Debug)]
pub struct Retry {
    clock: Clock,
    patience: Patience,
    what: String,
    attempts: u32,
    failing_since: Option<Instant>,
    refused_since: Option<Instant>,
}

impl Retry {
    /// `what` is named in the log and in the error: `"put of staged/x.pack"`.
    pub fn new(clock: &Clock, patience: &Patience, what: impl Into<String>) -> Self {
        Self {
            clock: clock.clone(),
            patience: patience.clone(),
            what: what.into(),
            attempts: 0,
            failing_since: None,
            refused_since: None,
        }
    }

    /// After a failure: says so, waits, and returns when it is time to try again; or an error when it is not.
    pub async fn again(&mut self, verdict: Verdict, error: &(dyn Display + Sync)) -> Result<(), GaveUp> {
        let now = Instant::now();
        let failing_since = *self.failing_since.get_or_insert(now);
        match verdict {
            Verdict::Transient => self.refused_since = None,
            Verdict::Refused => {
                let refused_since = *self.refused_since.get_or_insert(now);
                if now - refused_since >= self.patience.refused_for() {
                    return Err(GaveUp { what: self.what.clone(), error: error.to_string() });
                }
            }
        }
        self.attempts += 1;
        let doubled = FIRST_PAUSE.saturating_mul(1 << (self.attempts - 1).min(10));
        let pause = self.clock.jitter(doubled.min(LONGEST_PAUSE));
        warn!(
            attempt = self.attempts,
            failing_for = ?(now - failing_since),
            next_in = ?pause,
            "{} failed and is tried again: {error}",
            self.what
        );
        sleep(pause).await;
        Ok(())
    }

    /// After a success: says so when there was something to recover from, and starts anew.
    pub fn recovered(&mut self) {
        if let Some(since) = self.failing_since.take() {
            info!(attempts = self.attempts, after = ?since.elapsed(), "{} works again", self.what);
        }
        self.attempts = 0;
        self.refused_since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn transient_errors_are_tried_for_ever_with_bounded_pauses() {
        let mut retry = Retry::new(&Clock::simulated(1, 0), &Patience::default(), "x");
        for _ in 0..1000 {
            let before = Instant::now();
            retry.again(Verdict::Transient, &"503").await.unwrap();
            assert!(before.elapsed() <= LONGEST_PAUSE && before.elapsed() >= FIRST_PAUSE / 2);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_fatal_at_start_and_borne_for_a_while_later() {
        let patience = Patience::default();
        let mut retry = Retry::new(&Clock::simulated(1, 0), &patience, "put of x");
        let error = retry.again(Verdict::Refused, &"access denied").await.unwrap_err();
        assert_eq!(error.to_string(), "put of x: access denied");

        patience.relax(Duration::from_secs(600));
        let (mut retry, start) = (Retry::new(&Clock::simulated(1, 0), &patience, "put of x"), Instant::now());
        while retry.again(Verdict::Refused, &"access denied").await.is_ok() {}
        assert!(start.elapsed() >= Duration::from_secs(600) && start.elapsed() < Duration::from_secs(610));
    }
}
