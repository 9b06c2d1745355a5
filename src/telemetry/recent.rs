//! What happened within the last hour, for the status page. Bounded, whatever happens.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;

use crate::event::{Millis, Rejection};

/// Between two points of the plots.
pub const STEP: Millis = 30_000;
/// An hour of them.
pub const POINTS: usize = 120;
/// What is summed is summed by slots of so long, of which an hour is kept.
const SLOT: Millis = 600_000;
const SLOTS: usize = 6;
/// Partitions of a slot that are told apart.
const PARTITIONS: usize = 2_000;
/// Objects that are named.
const OBJECTS: usize = 20;
/// Partitions that are shown.
const TOP: usize = 10;
/// Characters of a rejection's reason that are kept.
const REASON: usize = 500;

/// The plots: the value of each step, the oldest first.
#[derive(Clone, Debug, Serialize)]
pub struct History {
    pub step_ms: Millis,
    pub end: Millis,
    pub events: VecDeque<Option<f64>>,
    pub decoded_bytes: VecDeque<Option<f64>>,
    pub behind_ms: VecDeque<Option<f64>>,
    pub freshness_ms: VecDeque<Option<f64>>,
}

impl History {
    pub fn new(now: Millis) -> Self {
        let nothing = || VecDeque::from(vec![None; POINTS]);
        Self {
            step_ms: STEP,
            end: now,
            events: nothing(),
            decoded_bytes: nothing(),
            behind_ms: nothing(),
            freshness_ms: nothing(),
        }
    }

    /// A step has ended: events and bytes within it, and how things stand now.
    pub fn push(&mut self, now: Millis, events: u64, decoded_bytes: u64, behind: Option<f64>, freshness: Option<f64>) {
        self.end = now;
        let points = [Some(events as f64), Some(decoded_bytes as f64), behind, freshness];
        let series = [&mut self.events, &mut self.decoded_bytes, &mut self.behind_ms, &mut self.freshness_ms];
        for (series, point) in series.into_iter().zip(points) {
            series.pop_front();
            series.push_back(point);
        }
    }
}

/// An object that was published.
#[derive(Clone, Debug, Serialize)]
pub struct Published {
    pub key: String,
    pub rows: u64,
    pub bytes: u64,
    pub at: Millis,
}

/// Of a partition, within the last hour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Partition {
    pub partition: String,
    pub rows: u64,
    pub bytes: u64,
    pub objects: u64,
}

/// Rejections of a code within the last hour.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rejections {
    pub code: &'static str,
    pub count: u64,
    pub last: Millis,
    /// The last one's reason.
    pub message: String,
}

#[derive(Debug, Default)]
pub struct Recent {
    slots: VecDeque<Slot>,
    objects: VecDeque<Published>,
    reasons: BTreeMap<&'static str, (Millis, String)>,
}

#[derive(Debug, Default)]
struct Slot {
    /// The number of the slot since 1970.
    number: Millis,
    /// Rows, bytes and objects.
    partitions: BTreeMap<String, (u64, u64, u64)>,
    rejections: BTreeMap<&'static str, u64>,
}

impl Recent {
    pub fn published(&mut self, object: Published) {
        let slot = self.slot(object.at);
        let partition = object.key.rsplit_once('/').map_or("", |(partition, _)| partition);
        if slot.partitions.len() < PARTITIONS || slot.partitions.contains_key(partition) {
            let sums = slot.partitions.entry(partition.to_owned()).or_default();
            *sums = (sums.0 + object.rows, sums.1 + object.bytes, sums.2 + 1);
        }
        self.objects.push_front(object);
        self.objects.truncate(OBJECTS);
    }

    pub fn rejected(&mut self, rejections: &[Rejection], now: Millis) {
        let mut last = BTreeMap::new();
        let slot = self.slot(now);
        for rejection in rejections {
            *slot.rejections.entry(rejection.code.as_str()).or_default() += 1;
            last.insert(rejection.code.as_str(), &rejection.message);
        }
        for (code, reason) in last {
            self.reasons.insert(code, (now, reason.chars().take(REASON).collect()));
        }
    }

    /// Those that were published last, the newest first.
    pub fn objects(&self) -> Vec<Published> {
        self.objects.iter().cloned().collect()
    }

    /// Those with the most bytes.
    pub fn partitions(&self, now: Millis) -> Vec<Partition> {
        let mut sums = BTreeMap::<&str, Partition>::new();
        for (partition, (rows, bytes, objects)) in self.within(now).flat_map(|slot| &slot.partitions) {
            let nothing = || Partition { partition: partition.clone(), rows: 0, bytes: 0, objects: 0 };
            let sum = sums.entry(partition).or_insert_with(nothing);
            (sum.rows, sum.bytes, sum.objects) = (sum.rows + rows, sum.bytes + bytes, sum.objects + objects);
        }
        let mut partitions: Vec<_> = sums.into_values().collect();
        partitions.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.partition.cmp(&b.partition)));
        partitions.truncate(TOP);
        partitions
    }

    pub fn rejections(&self, now: Millis) -> Vec<Rejections> {
        let mut counts = BTreeMap::<&'static str, u64>::new();
        for (code, count) in self.within(now).flat_map(|slot| &slot.rejections) {
            *counts.entry(code).or_default() += count;
        }
        let shown = counts.into_iter().filter_map(|(code, count)| {
            let (last, message) = self.reasons.get(code)?.clone();
            Some(Rejections { code, count, last, message })
        });
        shown.collect()
    }

    fn within(&self, now: Millis) -> impl Iterator<Item = &Slot> {
        let first = now.div_euclid(SLOT) - SLOTS as Millis;
        self.slots.iter().filter(move |slot| slot.number > first)
    }

    fn slot(&mut self, now: Millis) -> &mut Slot {
        let number = now.div_euclid(SLOT);
        if self.slots.back().is_none_or(|last| last.number < number) {
            self.slots.push_back(Slot { number, ..Slot::default() });
            if self.slots.len() > SLOTS {
                self.slots.pop_front();
            }
        }
        // A clock that was set back goes on in the last one.
        self.slots.back_mut().expect("there is one now")
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::event::RejectionCode;

    fn object(partition: &str, bytes: u64, at: Millis) -> Published {
        Published { key: format!("{partition}/x-{at}.parquet"), rows: 2, bytes, at }
    }

    #[test]
    fn partitions_are_summed_over_an_hour_and_then_forgotten() {
        let mut recent = Recent::default();
        for minute in 0..120 {
            recent.published(object("a", 1, minute * 60_000));
        }
        recent.published(object("b", 1000, 119 * 60_000));
        let top = recent.partitions(119 * 60_000);
        assert_eq!((top[0].partition.as_str(), top[1].partition.as_str()), ("b", "a"));
        assert!((50..=60).contains(&top[1].objects), "{top:?}");
        assert_eq!(recent.partitions(300 * 60_000), []);
        assert_eq!(recent.objects().len(), OBJECTS);
        assert_eq!(recent.objects()[0].bytes, 1000, "the newest first");
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let mut recent = Recent::default();
        for n in 0..3 * PARTITIONS as Millis {
            recent.published(object(&format!("p{n}"), 1, n));
        }
        assert_eq!(recent.slots[0].partitions.len(), PARTITIONS);
        let rejection = Rejection {
            code: RejectionCode::EventInvalid,
            message: "é".repeat(9999),
            payload: Bytes::new(),
            sequence: 7.into(),
            partition_key: None,
            arrival: 0,
            earlier: None,
        };
        recent.rejected(&[rejection.clone(), rejection], 5);
        let shown = &recent.rejections(5)[0];
        assert_eq!((shown.code, shown.count, shown.message.chars().count()), ("Event.Invalid", 2, REASON));
    }

    #[test]
    fn plots_have_a_point_for_each_step() {
        let mut history = History::new(0);
        for step in 1..=3 {
            history.push(step * STEP, step as u64, 0, None, Some(1.0));
        }
        assert_eq!((history.events.len(), history.end), (POINTS, 3 * STEP));
        assert_eq!(history.events.iter().flatten().copied().collect::<Vec<_>>(), [1.0, 2.0, 3.0]);
    }
}
