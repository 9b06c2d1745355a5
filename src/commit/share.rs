//! How many shards each worker is to have. Pure: it says what is fair on a snapshot, and changes nothing.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use super::snapshot::{ShardState, Snapshot, WorkerId};
use crate::event::ShardId;
use crate::source::Shard;

/// A worker's shards on one snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    pub owned: usize,
    /// As many as it is to have.
    pub fair: usize,
    /// Shards that have more to read and that nobody owns: those too that wait for their parents, and those that only a
    /// newer listing has.
    pub unowned: usize,
}

impl Share {
    /// What it has too many, to be given up with a commit.
    pub fn surplus(&self) -> usize {
        self.owned.saturating_sub(self.fair)
    }

    /// Whether this worker has what it is to have, and every shard its owner. If not, somebody will soon change that.
    pub fn is_settled(&self) -> bool {
        self.owned == self.fair && self.unowned == 0
    }
}

impl Snapshot {
    /// A member's fair share. Shards are spread so that no two workers differ by more than one; of those that may have
    /// one more, who has more keeps it, so that nothing moves without need. All workers come to the same result.
    pub fn share(&self, worker: &WorkerId, known: &[Shard]) -> Share {
        let listed: BTreeSet<&ShardId> = known.iter().map(|shard| &shard.id).collect();
        let free = self.claimable(&listed).count();
        let mut owned: Vec<(Reverse<usize>, &WorkerId)> =
            self.workers.keys().map(|id| (Reverse(self.owned_by(id).count()), id)).collect();
        owned.sort_unstable();
        let shards = free + owned.iter().map(|(Reverse(owned), _)| owned).sum::<usize>();
        let (each, more) = (shards / owned.len().max(1), shards % owned.len().max(1));
        let rank = owned.iter().position(|(_, id)| *id == worker);
        let is_unowned = |shard: &&ShardState| shard.owner.is_none() && !shard.has_ended();
        Share {
            owned: rank.map_or(0, |rank| owned[rank].0.0),
            fair: rank.map_or(0, |rank| each + usize::from(rank < more)),
            unowned: self.shards.values().filter(is_unowned).count(),
        }
    }

    /// Whether a shard is known, and not at its end.
    pub fn is_unread(&self, shard: &ShardId) -> bool {
        self.shards.get(shard).is_some_and(|shard| !shard.has_ended())
    }

    /// Shards without owner that may be read now: not at their end, still listed by the source, and each parent at
    /// its end or gone.
    pub fn claimable<'a>(&'a self, listed: &'a BTreeSet<&ShardId>) -> impl Iterator<Item = &'a ShardId> {
        let blocks = |parent: &ShardId| listed.contains(parent) && self.is_unread(parent);
        let is_free = move |(id, shard): &(&ShardId, &ShardState)| {
            shard.owner.is_none() && !shard.has_ended() && listed.contains(id) && !shard.parents.iter().any(blocks)
        };
        self.shards.iter().filter(is_free).map(|(id, _)| id)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::commit::change::tests::worker;
    use crate::position::Position;

    /// Workers that own so many shards each, and so many that are free.
    fn state(owned: &[usize], free: usize) -> (Snapshot, Vec<Shard>) {
        let mut state = Snapshot::empty();
        let mut known = Vec::new();
        for (n, count) in owned.iter().copied().chain([free]).enumerate() {
            let owner = (n < owned.len()).then(|| worker(n as u128));
            if let Some(owner) = &owner {
                state = state.register(owner, "arn", 0).unwrap();
            }
            for k in 0..count {
                let id = ShardId::from(format!("{n}-{k}").as_str());
                let shard = ShardState { owner: owner.clone(), ..ShardState::new(Position::TrimHorizon, Vec::new()) };
                state.shards.insert(id.clone(), shard);
                known.push(Shard { id, parents: Vec::new() });
            }
        }
        (state, known)
    }

    fn fair(owned: &[usize], free: usize) -> Vec<usize> {
        let (state, known) = state(owned, free);
        (0..owned.len()).map(|n| state.share(&worker(n as u128), &known).fair).collect()
    }

    #[test]
    fn shards_are_spread_evenly_and_who_has_more_keeps_it() {
        assert_eq!(fair(&[0], 5), [5]);
        assert_eq!(fair(&[0, 0], 5), [3, 2]);
        assert_eq!(fair(&[0, 3, 0], 1), [1, 2, 1]);
        assert_eq!(fair(&[2, 2, 0], 0), [2, 1, 1], "three is not three times two at most");
        assert_eq!(fair(&[1, 1, 0], 0), [1, 1, 0], "one is a spare");
        assert_eq!(fair(&[0, 4], 0), [2, 2]);
        assert_eq!(fair(&[], 3), [0; 0]);
    }

    #[test]
    fn a_shard_that_only_others_have_listed_is_something_to_look_for() {
        let (state, mut known) = state(&[2, 1], 1);
        known.pop();
        let share = state.share(&worker(1), &known);
        assert_eq!((share.owned, share.fair, share.unowned), (1, 1, 1));
        assert!(!share.is_settled(), "it has what it knows of, but not all is known");
    }

    proptest! {
        /// Every worker that acts on its share alone, in any order, ends with all of them even.
        #[test]
        fn acting_on_shares_settles(owned in prop::collection::vec(0usize..6, 1..6), free in 0usize..9, order: u64) {
            let (mut owned, mut free) = (owned, free);
            let total = owned.iter().sum::<usize>() + free;
            let mut turn = order;
            for _ in 0..200 {
                turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let me = (turn >> 33) as usize % owned.len();
                let (state, known) = state(&owned, free);
                let share = state.share(&worker(me as u128), &known);
                prop_assert_eq!(share.owned, owned[me]);
                // It gives up at a commit, and claims in the meantime.
                let claimed = share.fair.saturating_sub(owned[me]).min(free);
                owned[me] = owned[me] + claimed - share.surplus();
                free = free + share.surplus() - claimed;
            }
            prop_assert_eq!(owned.iter().sum::<usize>(), total, "none is left over: {:?}", owned);
            prop_assert!(owned.iter().max().unwrap() - owned.iter().min().unwrap() <= 1, "{:?}", owned);
            let (state, known) = state(&owned, free);
            prop_assert!((0..owned.len()).all(|n| state.share(&worker(n as u128), &known).is_settled()));
        }
    }
}
