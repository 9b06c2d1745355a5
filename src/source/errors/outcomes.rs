//! What became of each rejection of a replay.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use crate::event::ShardId;
use crate::position::Position;

/// What was done with a rejection. What comes of it counts when it is committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Handed on to be delivered.
    Delivered,
    /// It failed again, or a part of it.
    RejectedAgain,
    /// It was delivered by an earlier replay.
    Before,
    /// It was not asked for, has no payload, or is no rejection.
    Left,
}

/// By object and place: reading a record again changes nothing.
#[derive(Debug, Default)]
pub struct Outcomes(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Every code that was met; [`Outcomes::lines`] names them by their place.
    codes: Vec<String>,
    lines: BTreeMap<ShardId, Vec<(u16, Fate)>>,
}

/// How many rejections of one code met which fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Tally {
    pub replayed: u64,
    pub rejected_again: u64,
    pub skipped: u64,
    /// Delivered by an earlier replay.
    pub before: u64,
    /// Read, and not committed before the replay ended.
    pub unfinished: u64,
}

impl std::ops::Add for Tally {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            replayed: self.replayed + other.replayed,
            rejected_again: self.rejected_again + other.rejected_again,
            skipped: self.skipped + other.skipped,
            before: self.before + other.before,
            unfinished: self.unfinished + other.unfinished,
        }
    }
}

impl Outcomes {
    /// The rejection at a place of an object has this code, and this is done with it. Places come in their order.
    pub fn met(&self, object: &ShardId, index: u64, code: &str, fate: Fate) {
        let mut known = self.known();
        let place = known.codes.iter().position(|known| known == code).unwrap_or_else(|| {
            known.codes.push(code.to_owned());
            known.codes.len() - 1
        });
        let line = (u16::try_from(place).unwrap_or(u16::MAX), fate);
        let lines = known.lines.entry(object.clone()).or_default();
        match usize::try_from(index).ok().and_then(|index| lines.get_mut(index)) {
            // It was met in this replay already.
            Some(_) if fate == Fate::Before => {}
            Some(known) if known.1 == Fate::RejectedAgain && fate == Fate::Delivered => {}
            Some(known) => *known = line,
            None => lines.push(line),
        }
    }

    /// A record that was handed on was rejected.
    pub fn rejected_again(&self, object: &ShardId, index: u64) {
        let mut known = self.known();
        let lines = known.lines.get_mut(object);
        if let Some(line) = usize::try_from(index).ok().and_then(|index| lines?.get_mut(index)) {
            line.1 = Fate::RejectedAgain;
        }
    }

    /// An object is read, though nothing may be in it.
    pub fn begin(&self, object: &ShardId) {
        self.known().lines.entry(object.clone()).or_default();
    }

    /// Whether an object was read.
    pub fn has_read(&self, object: &ShardId) -> bool {
        self.known().lines.contains_key(object)
    }

    /// By code, where the objects are committed as far as this says.
    pub fn tally(&self, committed: impl Fn(&ShardId) -> Option<Position>) -> BTreeMap<String, Tally> {
        let known = self.known();
        let mut tallies = BTreeMap::<String, Tally>::new();
        for (object, lines) in &known.lines {
            let done = committed(object).map(|position| position.done());
            let is_done = |index: usize| match &done {
                // At its end.
                Some(None) => true,
                Some(Some(done)) => done.contains(index as u64),
                None => false,
            };
            for (index, (code, fate)) in lines.iter().enumerate() {
                let code = known.codes.get(usize::from(*code)).map_or("(others)", String::as_str);
                let tally = tallies.entry(code.to_owned()).or_default();
                match fate {
                    Fate::Left => tally.skipped += 1,
                    Fate::Before => tally.before += 1,
                    _ if !is_done(index) => tally.unfinished += 1,
                    Fate::Delivered => tally.replayed += 1,
                    Fate::RejectedAgain => tally.rejected_again += 1,
                }
            }
        }
        tallies
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().expect("no panic while it is locked")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_committed_is_counted_and_reading_again_changes_nothing() {
        let (outcomes, a, b) = (Outcomes::default(), ShardId::from("a"), ShardId::from("b"));
        for _ in 0..2 {
            outcomes.met(&a, 0, "X", Fate::Delivered);
            outcomes.met(&a, 1, "X", Fate::Delivered);
            outcomes.met(&a, 2, "Y", Fate::Left);
            outcomes.met(&a, 3, "Y", Fate::Delivered);
            outcomes.met(&b, 0, "Y", Fate::Before);
            outcomes.rejected_again(&a, 1);
        }
        outcomes.met(&a, 1, "X", Fate::Delivered);
        outcomes.met(&a, 0, "X", Fate::Before);
        let at = |shard: &ShardId| (shard.as_str() == "a").then(|| "after 1".parse().unwrap());
        let tally = outcomes.tally(at);
        assert_eq!(tally["X"], Tally { replayed: 1, rejected_again: 1, ..Tally::default() });
        assert_eq!(tally["Y"], Tally { skipped: 1, before: 1, unfinished: 1, ..Tally::default() });
        let end = outcomes.tally(|_| Some(Position::End));
        assert_eq!(end["Y"], Tally { replayed: 1, skipped: 1, before: 1, ..Tally::default() });
    }
}
