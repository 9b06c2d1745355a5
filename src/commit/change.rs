//! Every legal change of the shared state.
//!
//! A change is a pure function: it takes the head and says what the next snapshot is, or why there is none. What makes
//! it happen, exactly once and in order, is [`super::member`].

use std::collections::BTreeSet;

use super::snapshot::{PackId, PackState, ShardState, Snapshot, WorkerId, WorkerState};
use crate::decode::Counts;
use crate::event::{Millis, ShardId};
use crate::position::Position;
use crate::source::Shard;

/// A step of one shard's position, from where the flush began to where it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    pub shard: ShardId,
    pub from: Position,
    pub to: Position,
}

/// What one flush changes.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    pub moves: Vec<Move>,
    /// The staged pack; `None` when there were no rows (control messages alone).
    pub pack: Option<PackState>,
    pub counts: Counts,
    /// Packs all of whose objects were acknowledged at their final keys.
    pub published: BTreeSet<PackId>,
    /// Give up every shard: the worker ends, nothing is buffered any more.
    pub give_up: bool,
}

/// Why a change is not legal on the head.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error(
        "the group's state belongs to another source, {theirs}; this run reads {ours}: \
         choose another `group`, or another destination"
    )]
    OtherSource { ours: String, theirs: String },
    #[error("this worker is no longer in the group's state: it was taken for dead")]
    NotAMember,
    #[error("shard {0} is not owned by this worker")]
    NotOwner(ShardId),
    #[error("shard {shard} is committed at {committed}, but this flush began at {began}")]
    Moved { shard: ShardId, committed: Position, began: Position },
    #[error("there is nothing to change")]
    Nothing,
}

/// Each returns the next state without number and attempt, which the member fills in.
impl Snapshot {
    /// Adds a worker.
    pub fn register(&self, worker: &WorkerId, source: &str, joined: Millis) -> Result<Self, Refused> {
        if self.number > 0 && self.source != source {
            return Err(Refused::OtherSource { ours: source.to_owned(), theirs: self.source.clone() });
        }
        let mut next = self.clone();
        source.clone_into(&mut next.source);
        next.workers.insert(worker.clone(), WorkerState { seq: 0, joined });
        Ok(next)
    }

    /// Takes shards that nobody owns or whose owner is taken for dead, and the packs of the dead; adds shards that
    /// the source has and the state has not. The dead leave the state.
    ///
    /// `start`: where a shard that was never seen starts, unless its parents were: then at its beginning.
    pub fn claim(
        &self,
        worker: &WorkerId,
        known: &[Shard],
        start: &Position,
        dead: &BTreeSet<WorkerId>,
    ) -> Result<Self, Refused> {
        if !self.workers.contains_key(worker) {
            return Err(Refused::NotAMember);
        }
        let mut next = self.clone();
        next.workers.retain(|id, _| id == worker || !dead.contains(id));
        let Self { shards, workers, packs, .. } = &mut next;
        for shard in known.iter().filter(|shard| !self.shards.contains_key(&shard.id)) {
            let child = shard.parents.iter().any(|parent| self.shards.contains_key(parent));
            let position = if child { Position::TrimHorizon } else { start.clone() };
            let state = ShardState { position, owner: None, parents: shard.parents.clone() };
            shards.insert(shard.id.clone(), state);
        }
        for pack in packs.iter_mut().filter(|pack| !workers.contains_key(&pack.publisher)) {
            pack.publisher = worker.clone();
        }
        for shard in shards.values_mut() {
            if shard.owner.as_ref().is_some_and(|owner| !workers.contains_key(owner)) {
                shard.owner = None;
            }
        }
        let listed: BTreeSet<&ShardId> = known.iter().map(|shard| &shard.id).collect();
        for id in next.claimable(&listed) {
            if let Some(shard) = next.shards.get_mut(&id) {
                shard.owner = Some(worker.clone());
            }
        }
        if next == *self { Err(Refused::Nothing) } else { Ok(next) }
    }

    /// Shards without owner that may be read now: not at their end, still listed by the source, and each parent at
    /// its end or gone.
    fn claimable(&self, listed: &BTreeSet<&ShardId>) -> Vec<ShardId> {
        let blocks = |parent: &ShardId| {
            listed.contains(parent) && self.shards.get(parent).is_some_and(|state| state.position != Position::End)
        };
        let free = self.shards.iter().filter(|(id, shard)| {
            shard.owner.is_none()
                && shard.position != Position::End
                && listed.contains(id)
                && !shard.parents.iter().any(blocks)
        });
        free.map(|(id, _)| id.clone()).collect()
    }

    /// Moves positions and lists the pack of one flush.
    pub fn commit(&self, worker: &WorkerId, commit: &Commit) -> Result<Self, Refused> {
        if !self.workers.contains_key(worker) {
            return Err(Refused::NotAMember);
        }
        let mut next = self.clone();
        for step in &commit.moves {
            let shard = next.shards.get_mut(&step.shard).filter(|shard| shard.owner.as_ref() == Some(worker));
            let shard = shard.ok_or_else(|| Refused::NotOwner(step.shard.clone()))?;
            if shard.position != step.from || step.to < step.from {
                let (committed, began) = (shard.position.clone(), step.from.clone());
                return Err(Refused::Moved { shard: step.shard.clone(), committed, began });
            }
            shard.position = step.to.clone();
            if step.to == Position::End {
                shard.owner = None;
            }
        }
        next.drop_published(worker, &commit.published);
        if commit.give_up {
            next.disown(worker);
        }
        let totals = &mut next.totals;
        totals.records += commit.counts.records;
        totals.events += commit.counts.events;
        totals.rejections += commit.counts.rejections;
        totals.control += commit.counts.control;
        if let Some(pack) = &commit.pack {
            totals.objects += pack.objects;
            totals.bytes += pack.bytes;
            next.packs.push(pack.clone());
        }
        if next == *self { Err(Refused::Nothing) } else { Ok(next) }
    }

    /// Takes a worker out of the group: its shards are free at once. Packs that it has not published are left to
    /// whoever comes next.
    pub fn leave(&self, worker: &WorkerId, published: &BTreeSet<PackId>) -> Result<Self, Refused> {
        if !self.workers.contains_key(worker) {
            return Err(Refused::NotAMember);
        }
        let mut next = self.clone();
        next.drop_published(worker, published);
        next.disown(worker);
        next.workers.remove(worker);
        Ok(next)
    }

    fn drop_published(&mut self, worker: &WorkerId, published: &BTreeSet<PackId>) {
        self.packs.retain(|pack| &pack.publisher != worker || !published.contains(&pack.id));
    }

    fn disown(&mut self, worker: &WorkerId) {
        for shard in self.shards.values_mut().filter(|shard| shard.owner.as_ref() == Some(worker)) {
            shard.owner = None;
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::commit::snapshot::Totals;

    pub fn worker(n: u128) -> WorkerId {
        uuid::Uuid::from_u128(n).into()
    }

    fn shard(id: &str, parents: &[&str]) -> Shard {
        Shard { id: id.into(), parents: parents.iter().map(|id| ShardId::from(*id)).collect() }
    }

    pub fn after(n: u64) -> Position {
        Position::After(n.into())
    }

    /// A group of worker 1 that owns shards a and b.
    pub fn group() -> Snapshot {
        let head = Snapshot::empty().register(&worker(1), "arn", 7).unwrap();
        head.claim(&worker(1), &[shard("a", &[]), shard("b", &[])], &Position::TrimHorizon, &BTreeSet::new()).unwrap()
    }

    fn owner(state: &Snapshot, id: &str) -> Option<WorkerId> {
        state.shards[&ShardId::from(id)].owner.clone()
    }

    pub fn step(shard: &str, from: Position, to: Position) -> Commit {
        Commit { moves: vec![Move { shard: shard.into(), from, to }], ..Commit::default() }
    }

    pub fn pack(id: &str, publisher: u128) -> PackState {
        PackState { id: id.parse().unwrap(), publisher: worker(publisher), objects: 2, bytes: 10 }
    }

    #[test]
    fn another_source_is_refused_and_both_are_named() {
        let mut head = group();
        head.number = 1;
        let error = head.register(&worker(2), "other", 0).unwrap_err().to_string();
        assert!(error.contains("arn") && error.contains("other"), "{error}");
    }

    #[test]
    fn a_claim_leaves_what_the_living_own_and_takes_what_the_dead_owned() {
        let head = group().register(&worker(2), "arn", 0).unwrap();
        let known = [shard("a", &[]), shard("b", &[])];
        let alive = head.claim(&worker(2), &known, &Position::TrimHorizon, &BTreeSet::new());
        assert_eq!(alive, Err(Refused::Nothing));

        let dead = BTreeSet::from([worker(1)]);
        let mut head = head;
        head.packs.push(pack(&format!("{}-1", worker(1)), 1));
        let taken = head.claim(&worker(2), &known, &Position::TrimHorizon, &dead).unwrap();
        assert_eq!((owner(&taken, "a"), owner(&taken, "b")), (Some(worker(2)), Some(worker(2))));
        assert_eq!(taken.workers.keys().collect::<Vec<_>>(), [&worker(2)]);
        assert_eq!(taken.packs[0].publisher, worker(2), "its unpublished packs come along");
    }

    #[test]
    fn a_child_waits_for_its_parents_and_starts_at_its_beginning() {
        let start = Position::At(1000);
        let known = [shard("a", &[]), shard("b", &[]), shard("c", &["a", "b"])];
        let none = BTreeSet::new();
        let state = group().claim(&worker(1), &known, &start, &none).unwrap();
        assert_eq!(owner(&state, "c"), None, "parents are not at their end");
        assert_eq!(state.shards[&ShardId::from("c")].position, Position::TrimHorizon, "not at the group's start");

        let state = state.commit(&worker(1), &step("a", Position::TrimHorizon, Position::End)).unwrap();
        assert_eq!(state.claim(&worker(1), &known, &start, &none), Err(Refused::Nothing), "b is not at its end");
        let state = state.commit(&worker(1), &step("b", Position::TrimHorizon, Position::End)).unwrap();
        let state = state.claim(&worker(1), &known, &start, &none).unwrap();
        assert_eq!(owner(&state, "c"), Some(worker(1)));
        assert_eq!(owner(&state, "a"), None, "what is at its end has no owner");
    }

    #[test]
    fn a_parent_that_is_no_longer_known_does_not_block() {
        let known = [shard("c", &["gone"])];
        let head = Snapshot::empty().register(&worker(1), "arn", 0).unwrap();
        let state = head.claim(&worker(1), &known, &Position::At(5), &BTreeSet::new()).unwrap();
        assert_eq!(owner(&state, "c"), Some(worker(1)));
        assert_eq!(state.shards[&ShardId::from("c")].position, Position::At(5), "its parents were never seen");
    }

    #[test]
    fn a_commit_moves_only_what_is_owned_and_stands_where_the_flush_began() {
        let head = group();
        let moved = head.commit(&worker(1), &step("a", Position::TrimHorizon, after(5))).unwrap();
        assert_eq!(moved.shards[&ShardId::from("a")].position, after(5));

        let again = moved.commit(&worker(1), &step("a", Position::TrimHorizon, after(6)));
        assert!(matches!(again, Err(Refused::Moved { .. })), "{again:?}");
        let back = moved.commit(&worker(1), &step("a", after(5), after(4)));
        assert!(matches!(back, Err(Refused::Moved { .. })), "{back:?}");
        assert_eq!(
            moved.commit(&worker(2), &step("a", after(5), after(6))),
            Err(Refused::NotAMember),
            "a worker that is not in the state commits nothing"
        );
        let other = moved.register(&worker(2), "arn", 0).unwrap();
        let foreign = other.commit(&worker(2), &step("a", after(5), after(6)));
        assert_eq!(foreign, Err(Refused::NotOwner("a".into())));
    }

    #[test]
    fn a_commit_lists_its_pack_drops_what_is_published_and_counts() {
        let (first, second) = (format!("{}-1", worker(1)), format!("{}-2", worker(1)));
        let counts = Counts { records: 2, events: 9, rejections: 1, control: 1, bytes: 100 };
        let mut commit = step("a", Position::TrimHorizon, after(5));
        (commit.pack, commit.counts) = (Some(pack(&first, 1)), counts);
        let state = group().commit(&worker(1), &commit).unwrap();
        let mut commit = step("a", after(5), after(6));
        (commit.pack, commit.counts) = (Some(pack(&second, 1)), counts);
        commit.published = BTreeSet::from([first.parse().unwrap()]);
        let state = state.commit(&worker(1), &commit).unwrap();
        assert_eq!(state.packs, [pack(&second, 1)]);
        assert_eq!(state.totals, Totals { records: 4, events: 18, rejections: 2, control: 2, objects: 4, bytes: 20 });
    }

    #[test]
    fn nobody_clears_a_pack_that_another_publishes() {
        let id = format!("{}-1", worker(1));
        let mut state = group();
        state.packs.push(pack(&id, 2));
        let clear = Commit { published: BTreeSet::from([id.parse().unwrap()]), ..Commit::default() };
        assert_eq!(state.commit(&worker(1), &clear), Err(Refused::Nothing));
    }

    #[test]
    fn who_leaves_owns_nothing_and_leaves_its_packs_to_others() {
        let mut state = group();
        let (done, open) = (format!("{}-1", worker(1)), format!("{}-2", worker(1)));
        state.packs = vec![pack(&done, 1), pack(&open, 1)];
        let state = state.leave(&worker(1), &BTreeSet::from([done.parse().unwrap()])).unwrap();
        assert!(state.workers.is_empty());
        assert_eq!(owner(&state, "a"), None);
        assert_eq!(state.packs, [pack(&open, 1)]);

        let state = state.register(&worker(2), "arn", 0).unwrap();
        let known = [shard("a", &[]), shard("b", &[])];
        let state = state.claim(&worker(2), &known, &Position::TrimHorizon, &BTreeSet::new()).unwrap();
        assert_eq!(state.packs, [pack(&open, 2)]);
    }
}
