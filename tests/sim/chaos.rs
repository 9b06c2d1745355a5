//! All the chance of one history, and what it does to requests.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::{Instant, sleep};

use crate::support::faults::{Call, Fault, Verb, When};

/// One source of chance, whoever draws from it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Chance(Arc<Mutex<StdRng>>);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    pub fn pick(&self, range: std::ops::Range<u64>) -> u64 {
        self.0.lock().unwrap().random_range(range)
    }

    pub fn seed(&self) -> u64 {
        self.0.lock().unwrap().random()
    }

    pub fn is(&self, percent: u64) -> bool {
        self.pick(0..100) < percent
    }

    pub async fn pause(&self, upto: Duration) {
        sleep(self.upto(upto)).await;
    }

    pub fn upto(&self, upto: Duration) -> Duration {
        Duration::from_millis(self.pick(0..upto.as_millis().max(1) as u64))
    }
}

/// How rough a history is: each has a weather of its own, so that the rare things come together in some.
#[derive(Clone, Debug)]
pub struct Weather {
    /// Requests out of a thousand that fail, lose their answer, conflict, or land late: each of these.
    pub failing: u64,
    /// Requests out of a thousand at which the process freezes or dies.
    pub freezing: u64,
    /// The longest latency of a request, each way.
    pub latency: Duration,
    /// While it lasts nothing comes through, for anybody.
    outage: Arc<Mutex<Option<Instant>>>,
}

impl Weather {
    pub fn new(chance: &Chance) -> Self {
        Self {
            failing: [0, 5, 20, 60][chance.pick(0..4) as usize],
            freezing: [0, 2, 6, 12][chance.pick(0..4) as usize],
            latency: Duration::from_millis([20, 200, 200, 2000][chance.pick(0..4) as usize]),
            outage: Arc::default(),
        }
    }

    /// Store and stream are out of reach for so long.
    pub fn break_down(&self, lasts: Duration) {
        *self.outage.lock().unwrap() = Some(Instant::now() + lasts);
    }

    pub fn is_down(&self) -> bool {
        self.outage.lock().unwrap().is_some_and(|until| Instant::now() < until)
    }

    /// What happens to the requests of one process.
    pub fn script(&self, chance: &Chance) -> impl FnMut(usize, &Call) -> Fault + Send + 'static {
        let (weather, chance) = (self.clone(), chance.clone());
        move |_, call| {
            let (failing, freezing) = (weather.failing, weather.freezing);
            let draw = chance.pick(0..1000);
            if weather.is_down() {
                // Some of what is sent arrives even so.
                return if draw < 50 { Fault::Lose } else { Fault::Fail };
            }
            let bounds = [failing, failing, failing, failing, freezing / 2, freezing - freezing / 2];
            let mut left = draw;
            let kind = bounds.iter().position(|width| {
                let is_here = left < *width;
                left = left.saturating_sub(*width);
                is_here
            });
            match kind {
                Some(0) => Fault::Fail,
                Some(1) => Fault::Lose,
                Some(2) => Fault::Late,
                Some(3) if call.verb == Verb::Create => Fault::Conflict,
                Some(3) => Fault::Fail,
                Some(4) => Fault::Freeze(When::Before),
                Some(5) => Fault::Freeze(When::After),
                _ if chance.is(20) => Fault::Pass,
                _ => Fault::Slow(chance.upto(weather.latency)),
            }
        }
    }
}
