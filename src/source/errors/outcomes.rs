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
    /// It was not asked for.
    NotAskedFor,
    /// It has no payload that could be delivered.
    Withheld,
    /// It is no rejection.
    Broken,
}

/// By object and place: reading a record again changes nothing.
#[derive(Debug, Default)]
pub struct Outcomes(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Every code that was met; [`Outcomes::lines`] names them by their place.
    codes: Vec<String>,
    lines: BTreeMap<ShardId, Vec<(u16, Fate)>>,
    /// Why rejections can't be delivered, and how many.
    flaws: BTreeMap<&'static str, u64>,
    /// Objects that can't be read to their end, and why.
    left: BTreeMap<ShardId, String>,
}

/// How many rejections of one code met which fate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Tally {
    pub replayed: u64,
    pub rejected_again: u64,
    /// Not asked for.
    pub unselected: u64,
    /// There is nothing of it that could be delivered.
    pub withheld: u64,
    /// No rejection, or a damaged one.
    pub broken: u64,
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
            unselected: self.unselected + other.unselected,
            withheld: self.withheld + other.withheld,
            broken: self.broken + other.broken,
            before: self.before + other.before,
            unfinished: self.unfinished + other.unfinished,
        }
    }
}

impl Known {
    /// Whether it is met for the first time.
    fn met(&mut self, object: &ShardId, index: u64, code: &str, fate: Fate) -> bool {
        let place = self.codes.iter().position(|known| known == code).unwrap_or_else(|| {
            self.codes.push(code.to_owned());
            self.codes.len() - 1
        });
        let line = (u16::try_from(place).unwrap_or(u16::MAX), fate);
        let lines = self.lines.entry(object.clone()).or_default();
        match usize::try_from(index).ok().and_then(|index| lines.get_mut(index)) {
            // It was met in this replay already.
            Some(_) if fate == Fate::Before => {}
            Some(known) if known.1 == Fate::RejectedAgain && fate == Fate::Delivered => {}
            Some(known) => *known = line,
            None => {
                lines.push(line);
                return true;
            }
        }
        false
    }
}

impl Outcomes {
    /// The rejection at a place of an object has this code, and this is done with it. Places come in their order.
    pub fn met(&self, object: &ShardId, index: u64, code: &str, fate: Fate) {
        self.known().met(object, index, code, fate);
    }

    /// The same of one that can't be delivered, and why.
    pub fn flawed(&self, object: &ShardId, index: u64, code: &str, why: &'static str) {
        let mut known = self.known();
        if known.met(object, index, code, Fate::Withheld) {
            *known.flaws.entry(why).or_default() += 1;
        }
    }

    /// An object can't be read to its end: what is left of it is left where it is.
    pub fn leave(&self, object: &ShardId, why: &str) {
        self.known().left.insert(object.clone(), why.to_owned());
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
                    Fate::NotAskedFor => tally.unselected += 1,
                    Fate::Withheld => tally.withheld += 1,
                    Fate::Broken => tally.broken += 1,
                    Fate::Before => tally.before += 1,
                    _ if !is_done(index) => tally.unfinished += 1,
                    Fate::Delivered => tally.replayed += 1,
                    Fate::RejectedAgain => tally.rejected_again += 1,
                }
            }
        }
        tallies
    }

    /// Why rejections can't be delivered, and how many.
    pub fn flaws(&self) -> BTreeMap<&'static str, u64> {
        self.known().flaws.clone()
    }

    /// Objects that were not read to their end, and why.
    pub fn left(&self) -> BTreeMap<ShardId, String> {
        self.known().left.clone()
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
            outcomes.met(&a, 2, "Y", Fate::NotAskedFor);
            outcomes.met(&a, 3, "Y", Fate::Delivered);
            outcomes.flawed(&a, 4, "Y", "why");
            outcomes.met(&a, 5, "Z", Fate::Broken);
            outcomes.met(&b, 0, "Y", Fate::Before);
            outcomes.rejected_again(&a, 1);
        }
        outcomes.met(&a, 1, "X", Fate::Delivered);
        outcomes.met(&a, 0, "X", Fate::Before);
        let at = |shard: &ShardId| (shard.as_str() == "a").then(|| "after 1".parse().unwrap());
        let tally = outcomes.tally(at);
        assert_eq!(tally["X"], Tally { replayed: 1, rejected_again: 1, ..Tally::default() });
        assert_eq!(tally["Y"], Tally { unselected: 1, withheld: 1, before: 1, unfinished: 1, ..Tally::default() });
        assert_eq!(tally["Z"], Tally { broken: 1, ..Tally::default() });
        assert_eq!(outcomes.flaws(), BTreeMap::from([("why", 1)]), "it was met twice, and is one");
        let end = outcomes.tally(|_| Some(Position::End));
        assert_eq!(end["Y"], Tally { replayed: 1, unselected: 1, withheld: 1, before: 1, ..Tally::default() });
    }
}
