//! Realistic subscription records from a seed: for the demo, for benchmarks, and for load tests of a deployment.
//!
//! The same plan makes the same bytes, always.

mod messages;
mod poison;

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::Serialize;

use self::messages::Application;
use crate::event::Millis;

/// What is to be made.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Events in good records.
    pub events: u64,
    pub log_groups: usize,
    pub seed: u64,
    /// Records that cannot be delivered, of every kind in turn, spread among the good ones.
    pub poison: u64,
    /// Time of the first event; the others follow within `span`.
    pub start: Millis,
    pub span: Millis,
}

/// A record as a producer would put it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    pub data: Bytes,
    pub partition_key: String,
    pub arrival: Millis,
    /// Events that must be delivered from it.
    pub events: u64,
    /// Rejections that must come of it.
    pub rejections: u64,
    /// Bytes of its JSON.
    pub json_bytes: u64,
}

/// What was made so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub records: u64,
    pub events: u64,
    pub rejections: u64,
    pub json_bytes: u64,
}

impl Totals {
    pub fn add(&mut self, made: &Made) {
        self.records += 1;
        self.events += made.events;
        self.rejections += made.rejections;
        self.json_bytes += made.json_bytes;
    }
}

/// Makes records in the order of time.
#[derive(Debug)]
pub struct Generator {
    plan: Plan,
    rng: StdRng,
    applications: Vec<Application>,
    /// Good events that are still to be made.
    left: u64,
    /// Records so far.
    records: u64,
    /// Poison records so far.
    poisoned: u64,
    ids: u64,
}

/// Events a record: subscriptions send up to some hundreds.
const EVENTS_A_RECORD: std::ops::RangeInclusive<u64> = 50..=350;
/// Every so many records the service checks whether its destination is well.
const CONTROL_EVERY: u64 = 500;

impl Generator {
    pub fn new(plan: Plan) -> Self {
        let mut rng = StdRng::seed_from_u64(plan.seed);
        let applications = (0..plan.log_groups.max(1)).map(|n| Application::new(n, &mut rng)).collect();
        Self { left: plan.events, rng, applications, records: 0, poisoned: 0, ids: 0, plan }
    }

    fn good(&mut self) -> Made {
        let count = self.rng.random_range(EVENTS_A_RECORD).min(self.left);
        let begin = self.now();
        self.left -= count;
        let end = self.now();
        let application = self.rng.random_range(0..self.applications.len());
        let application = &mut self.applications[application];
        let mut times: Vec<Millis> = (0..count).map(|_| self.rng.random_range(begin..=end.max(begin))).collect();
        times.sort_unstable();
        let log_events = times.into_iter().map(|timestamp| {
            self.ids += 1;
            Event {
                id: event_id(timestamp, self.ids),
                timestamp,
                message: application.message(timestamp, &mut self.rng),
            }
        });
        let log_events: Vec<Event> = log_events.collect();
        let envelope = Envelope {
            message_type: "DATA_MESSAGE",
            owner: "123456789012",
            log_group: &application.log_group,
            log_stream: &application.log_stream,
            subscription_filters: ["firemain"],
            log_events: &log_events,
        };
        let json = serde_json::to_vec(&envelope).expect("plain values are always JSON");
        self.made(gzip(&json), count, 0, json.len(), end)
    }

    fn control(&mut self) -> Made {
        let now = self.now();
        let json = poison::control_message(now);
        self.made(gzip(&json), 0, 0, json.len(), now)
    }

    fn poison(&mut self) -> Made {
        let now = self.now();
        self.ids += 1;
        let poison = poison::make(self.poisoned, &event_id(now, self.ids), now);
        self.poisoned += 1;
        self.made(poison.data, poison.events, 1, poison.json_bytes, now)
    }

    fn made(&mut self, data: Vec<u8>, events: u64, rejections: u64, json_bytes: usize, at: Millis) -> Made {
        self.records += 1;
        let partition_key = format!("{:032x}", self.rng.random::<u128>());
        let arrival = at + self.rng.random_range(200..2_000);
        Made { data: data.into(), partition_key, arrival, events, rejections, json_bytes: json_bytes as u64 }
    }

    /// The time of the plan, by how much of it is done.
    fn now(&self) -> Millis {
        let done = 1.0 - self.left as f64 / self.plan.events.max(1) as f64;
        self.plan.start + (done * self.plan.span as f64) as Millis
    }

    /// Poison that is due by now, spread evenly.
    fn poison_due(&self) -> bool {
        let done = self.plan.events - self.left;
        let due = if self.left == 0 { self.plan.poison } else { self.plan.poison * done / self.plan.events.max(1) };
        self.poisoned < due
    }
}

impl Iterator for Generator {
    type Item = Made;

    fn next(&mut self) -> Option<Made> {
        if self.poison_due() {
            Some(self.poison())
        } else if self.left == 0 {
            None
        } else if self.records % CONTROL_EVERY == CONTROL_EVERY - 1 {
            Some(self.control())
        } else {
            Some(self.good())
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    message_type: &'a str,
    owner: &'a str,
    log_group: &'a str,
    log_stream: &'a str,
    subscription_filters: [&'a str; 1],
    log_events: &'a [Event],
}

#[derive(Serialize)]
struct Event {
    id: String,
    timestamp: Millis,
    message: String,
}

/// 56 digits that rise with time, as CloudWatch Logs gives them.
fn event_id(timestamp: Millis, number: u64) -> String {
    format!("3{timestamp:016}{number:039}")
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(data.len() / 4), Compression::new(6));
    encoder.write_all(data).and_then(|()| encoder.finish()).expect("memory takes every write")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::{DecodeConfig, Decoded, Decoder, Payloads, Scratch};
    use crate::event::Record;
    use crate::partition::KeyLimits;

    fn plan(seed: u64) -> Plan {
        Plan { events: 5_000, log_groups: 6, seed, poison: 20, start: 1_711_083_600_000, span: 3 * 3_600_000 }
    }

    #[test]
    fn the_same_plan_makes_the_same_bytes_and_another_seed_others() {
        let records: Vec<Made> = Generator::new(plan(1)).collect();
        assert_eq!(records, Generator::new(plan(1)).collect::<Vec<_>>());
        assert_ne!(records, Generator::new(plan(2)).collect::<Vec<_>>());
    }

    #[test]
    fn decoding_finds_what_the_generator_says_it_made() {
        let keys = KeyLimits { key: 1024, segment: 1024, before: 0 };
        let config = DecodeConfig {
            inflated_record_bytes: 1 << 20,
            longest_table: "log_events".into(),
            keys,
            payloads: Payloads::Envelopes,
        };
        let decoder = Decoder::new(config);
        let (mut totals, mut events, mut rejections, mut codes) = (Totals::default(), 0, 0, Vec::new());
        for made in Generator::new(plan(3)) {
            totals.add(&made);
            let record = Record {
                data: made.data.clone(),
                sequence: 0.into(),
                partition_key: Some(made.partition_key.as_str().into()),
                arrival: made.arrival,
                flaw: None,
                earlier: None,
            };
            let mut decoded = Decoded::default();
            assert_eq!(decoder.decode(&mut Scratch::default(), &[record], true, &mut decoded), 1);
            assert_eq!((decoded.counts.events, decoded.counts.rejections), (made.events, made.rejections));
            (events, rejections) = (events + decoded.counts.events, rejections + decoded.counts.rejections);
            codes.extend(decoded.rejections.iter().map(|rejection| rejection.code.as_str()));
        }
        assert_eq!((totals.events, totals.rejections), (events, rejections));
        assert_eq!(rejections, 20);
        assert!(events >= 5_000);
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes, ["Event.Invalid", "Payload.Invalid", "Record.NotDecodable", "Record.TooLarge"]);
    }
}
