//! The shards of this worker: how far each is read, and how far it is committed.

use std::collections::{BTreeMap, BTreeSet};

use crate::commit::change::Move;
use crate::commit::snapshot::RecordCounts;
use crate::event::ShardId;
use crate::position::Position;

/// Tells one time of owning a shard from the next: what was read in an earlier one must not be taken for this one's.
pub type Tenure = u64;

#[derive(Debug)]
struct Owned {
    tenure: Tenure,
    /// As in the shared state, once every flush under way is committed.
    flushed: Position,
    /// Behind the last record in the buffers.
    buffered: Position,
    /// The records between the two.
    records: RecordCounts,
    /// Everything that was there when it was last asked is buffered.
    at_tip: bool,
}

/// Not known yet by which snapshot, or never to be owned again.
const LATER_THAN_ALL: u64 = u64::MAX;

#[derive(Debug, Default)]
pub struct Shards {
    owned: BTreeMap<ShardId, Owned>,
    /// Shards that were committed at their end or given up, with the number of a snapshot that knows of it: what was
    /// seen of an older one says nothing of them.
    let_go: BTreeMap<ShardId, u64>,
    tenures: Tenure,
}

impl Shards {
    /// A shard that is this worker's by snapshot `number`. Says under which tenure it is to be read, if it is news.
    pub fn take_up(&mut self, shard: &ShardId, committed: &Position, number: u64) -> Option<Tenure> {
        let outdated = self.let_go.get(shard).is_some_and(|let_go| number < *let_go);
        if outdated || self.owned.contains_key(shard) {
            return None;
        }
        self.tenures += 1;
        let owned = Owned {
            tenure: self.tenures,
            flushed: committed.clone(),
            buffered: committed.clone(),
            records: RecordCounts::default(),
            at_tip: false,
        };
        self.owned.insert(shard.clone(), owned);
        self.let_go.remove(shard);
        Some(self.tenures)
    }

    /// Whether the shard is owned, and since this tenure.
    pub fn is_current(&self, shard: &ShardId, tenure: Tenure) -> bool {
        self.owned.get(shard).is_some_and(|owned| owned.tenure == tenure)
    }

    /// Records are buffered, up to this position if they moved it.
    pub fn buffered(&mut self, shard: &ShardId, position: Option<Position>, records: RecordCounts, at_tip: bool) {
        let Some(owned) = self.owned.get_mut(shard) else { return };
        owned.at_tip = at_tip;
        owned.records += records;
        if let Some(position) = position {
            owned.buffered = position;
        }
    }

    /// What a flush of everything that is buffered moves. It is under way then.
    pub fn flush(&mut self) -> Vec<Move> {
        let moved = self.owned.iter_mut().filter(|(_, owned)| owned.buffered != owned.flushed);
        let step = |(id, owned): (&ShardId, &mut Owned)| {
            let from = std::mem::replace(&mut owned.flushed, owned.buffered.clone());
            Move { shard: id.clone(), from, to: owned.buffered.clone(), records: std::mem::take(&mut owned.records) }
        };
        moved.map(step).collect()
    }

    /// Lets go of so many, the last ones. The flush under way has to give them up.
    pub fn give_up(&mut self, count: usize) -> BTreeSet<ShardId> {
        let given: BTreeSet<ShardId> = self.owned.keys().rev().take(count).cloned().collect();
        for shard in &given {
            self.owned.remove(shard);
            self.let_go.insert(shard.clone(), LATER_THAN_ALL);
        }
        given
    }

    /// A flush is committed, and snapshot `number` knows of it. Says whether a shard came to its end.
    pub fn committed(&mut self, moves: &[Move], given_up: &BTreeSet<ShardId>, number: u64) -> bool {
        let mut ended = false;
        for step in moves.iter().filter(|step| step.to == Position::End) {
            self.owned.remove(&step.shard);
            self.let_go.insert(step.shard.clone(), LATER_THAN_ALL);
            ended = true;
        }
        for shard in given_up {
            self.let_go.entry(shard.clone()).and_modify(|let_go| *let_go = number);
        }
        ended
    }

    pub fn len(&self) -> usize {
        self.owned.len()
    }

    /// Nothing was ever let go.
    pub fn are_new(&self) -> bool {
        self.let_go.is_empty()
    }

    pub fn all_at_tip(&self) -> bool {
        self.owned.values().all(|owned| owned.at_tip)
    }

    /// `None` for a shard that is not owned.
    pub fn at_tip(&self, shard: &ShardId) -> Option<bool> {
        self.owned.get(shard).map(|owned| owned.at_tip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(n: u64) -> Position {
        Position::After(n.into())
    }

    #[test]
    fn a_view_from_before_a_shard_was_let_go_does_not_bring_it_back() {
        let (a, b) = (ShardId::from("a"), ShardId::from("b"));
        let mut shards = Shards::default();
        let first = shards.take_up(&a, &Position::TrimHorizon, 3).unwrap();
        shards.take_up(&b, &Position::TrimHorizon, 3).unwrap();
        assert_eq!(shards.take_up(&a, &Position::TrimHorizon, 4), None, "it is owned already");
        let records = |read| RecordCounts { read, delivered: read, ..RecordCounts::default() };
        shards.buffered(&b, Some(after(4)), records(5), false);
        shards.buffered(&b, Some(after(7)), records(3), true);
        let moves = shards.flush();
        assert_eq!(moves, [Move { shard: b.clone(), from: Position::TrimHorizon, to: after(7), records: records(8) }]);

        let given = shards.give_up(1);
        assert_eq!(given, BTreeSet::from([b.clone()]));
        assert_eq!(shards.take_up(&b, &Position::TrimHorizon, 9), None, "the flush is under way");
        shards.committed(&moves, &given, 10);
        assert_eq!(shards.take_up(&b, &Position::TrimHorizon, 9), None, "seen before it was given up");
        let again = shards.take_up(&b, &after(7), 10).unwrap();
        assert!(shards.is_current(&b, again) && shards.is_current(&a, first) && !shards.is_current(&b, first));

        shards.buffered(&a, Some(Position::End), records(0), true);
        let end = shards.flush();
        assert_eq!(shards.flush(), [], "it is under way");
        assert!(shards.committed(&end, &BTreeSet::new(), 11));
        assert_eq!(shards.take_up(&a, &Position::TrimHorizon, 10), None, "it ended");
        assert_eq!(shards.len(), 1);
    }
}
