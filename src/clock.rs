//! The one place that knows the time of day and chance. Everything else is handed a [`Clock`].
//!
//! Durations and deadlines are `tokio::time::Instant`s, which a test can pause; the time of day and random choices
//! come from here, so that a simulation repeats itself from its seed.

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;
use uuid::Uuid;

use crate::event::Millis;

/// The time of day, and chance. Cheap to clone; clones share their randomness.
#[derive(Clone)]
pub struct Clock {
    time: Time,
    chance: Arc<Mutex<StdRng>>,
}

#[derive(Clone)]
enum Time {
    System,
    Simulated { start: Instant, at: Millis, set_by: Arc<AtomicI64> },
}

impl Clock {
    /// The machine's clock and randomness.
    pub fn system() -> Self {
        Self { time: Time::System, chance: Arc::new(Mutex::new(StdRng::from_os_rng())) }
    }

    /// A clock that starts at `at` and goes with tokio's (paused) time; the same seed makes the same choices.
    pub fn simulated(seed: u64, at: Millis) -> Self {
        let time = Time::Simulated { start: Instant::now(), at, set_by: Arc::default() };
        Self { time, chance: Arc::new(Mutex::new(StdRng::seed_from_u64(seed))) }
    }

    /// Milliseconds since 1970, UTC. Decides only when to try and what to show, never what is true.
    pub fn now(&self) -> Millis {
        match &self.time {
            Time::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
            }
            Time::Simulated { start, at, set_by } => {
                at + i64::try_from(start.elapsed().as_millis()).unwrap_or(0) + set_by.load(Ordering::Relaxed)
            }
        }
    }

    /// Sets a simulated clock forward, or back, as operators and time servers do; the machine's is left alone.
    pub fn set_by(&self, millis: Millis) {
        if let Time::Simulated { set_by, .. } = &self.time {
            set_by.fetch_add(millis, Ordering::Relaxed);
        }
    }

    /// A random duration between half of `upto` and `upto`.
    pub fn jitter(&self, upto: Duration) -> Duration {
        upto.mul_f64(0.5 + 0.5 * self.with(|rng| rng.random::<f64>()))
    }

    /// A new worker id (UUIDv7: sorts by time of birth).
    pub fn new_id(&self) -> Uuid {
        let random: [u8; 10] = self.with(|rng| rng.random());
        let millis = u64::try_from(self.now()).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid()
    }

    fn with<T>(&self, choose: impl FnOnce(&mut StdRng) -> T) -> T {
        choose(&mut self.chance.lock().expect("no panic while a random number is drawn"))
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.time {
            Time::System => "Clock::system",
            Time::Simulated { .. } => "Clock::simulated",
        })
    }
}
