//! Every legal change of the shared state.
//!
//! A change is a pure function: it takes the head and says what the next snapshot is, or why there is none. What makes
//! it happen, exactly once and in order, is [`super::member`].

use std::collections::BTreeSet;

use super::snapshot::{PackId, PackState, RecordCounts, ShardState, Snapshot, WorkerId, WorkerState};
use super::tables::{self, Contradiction, TableStates};
use crate::broken::{Broken, is_broken};
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
    /// The records between the two.
    pub records: RecordCounts,
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
    /// Shards to give up: nothing of them is buffered any more.
    pub give_up: BTreeSet<ShardId>,
    /// Positions that the stream had trimmed before they were read on from.
    pub expired: u64,
    /// The tables that the pack has rows of.
    pub tables: TableStates,
    /// The time of day, for people who look at the state.
    pub now: Option<Millis>,
}

/// What a worker wants to claim.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Every shard that the source has.
    pub known: &'a [Shard],
    /// The number of a snapshot that was seen before the source was asked for them.
    pub seen: u64,
    /// Where the shards of a new group start; those that come later start at their beginning.
    pub start: &'a Position,
    /// Shards of the state that the source has no more, for good.
    pub gone: &'a BTreeSet<ShardId>,
    /// Shards to take past the fair share too, if they are free: so that they are read now, whoever is to have them then.
    pub at_once: &'a BTreeSet<ShardId>,
}

/// Why a change is not legal on the head.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error(transparent)]
    Table(#[from] Contradiction),
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

    /// Takes shards that nobody owns or whose owner is taken for dead, up to a fair share, and the packs of the dead;
    /// adds shards that the source has and the state has not. The dead leave the state, and so do shards that are gone
    /// and that nobody owns: what was not read of them is lost, which is counted.
    ///
    /// `dead`: workers that are taken for dead.
    pub fn claim(&self, worker: &WorkerId, wanted: &Wanted<'_>, dead: &BTreeSet<WorkerId>) -> Result<Self, Refused> {
        let Wanted { known, seen, start, gone, at_once } = *wanted;
        if !self.workers.contains_key(worker) {
            return Err(Refused::NotAMember);
        }
        let mut next = self.clone();
        next.workers.retain(|id, _| id == worker || !dead.contains(id));
        let Self { shards, workers, packs, totals, .. } = &mut next;
        let is_new = |shard: &&Shard| !self.shards.contains_key(&shard.id) && seen >= self.forgot;
        // Shards that come later are made of those that were there, by one step or by many, some of which nobody may ever
        // have listed.
        let is_first = self.shards.is_empty() && self.forgot == 0;
        for shard in known.iter().filter(is_new) {
            let position = if is_first { start.clone() } else { Position::TrimHorizon };
            shards.insert(shard.id.clone(), ShardState::new(position, shard.parents.clone()));
        }
        let is_left = |pack: &&mut PackState| !workers.contains_key(&pack.publisher) && !is_broken(Broken::ForgetPacks);
        for pack in packs.iter_mut().filter(is_left) {
            pack.publisher = worker.clone();
        }
        for shard in shards.values_mut() {
            if shard.owner.as_ref().is_some_and(|owner| !workers.contains_key(owner)) {
                shard.owner = None;
            }
        }
        shards.retain(|id, shard| {
            let stays = shard.owner.is_some() || !gone.contains(id);
            totals.expired += u64::from(!stays && !shard.has_ended());
            stays
        });
        if self.shards.keys().any(|id| !shards.contains_key(id)) {
            next.forgot = self.number + 1;
        }
        let listed: BTreeSet<&ShardId> = known.iter().map(|shard| &shard.id).collect();
        let share = next.share(worker, known);
        let wanted = share.fair.saturating_sub(share.owned);
        let (first, others): (Vec<_>, Vec<_>) = next.claimable(&listed).cloned().partition(|id| at_once.contains(id));
        let claimed = [&others[..wanted.saturating_sub(first.len()).min(others.len())], &first].concat();
        for id in &claimed {
            next.shards.entry(id.clone()).and_modify(|shard| shard.owner = Some(worker.clone()));
        }
        if next == *self { Err(Refused::Nothing) } else { Ok(next) }
    }

    /// Moves positions and lists the pack of one flush.
    pub fn commit(&self, worker: &WorkerId, commit: &Commit) -> Result<Self, Refused> {
        let any_owner = is_broken(Broken::SkipOwnerCheck);
        if !self.workers.contains_key(worker) && !any_owner {
            return Err(Refused::NotAMember);
        }
        let mut next = self.clone();
        for step in &commit.moves {
            let is_mine = |shard: &&mut ShardState| any_owner || shard.is_owned_by(worker);
            let shard = next.shards.get_mut(&step.shard).filter(is_mine);
            let shard = shard.ok_or_else(|| Refused::NotOwner(step.shard.clone()))?;
            if shard.position != step.from || step.to < step.from {
                let (committed, began) = (shard.position.clone(), step.from.clone());
                return Err(Refused::Moved { shard: step.shard.clone(), committed, began });
            }
            shard.position = step.to.clone();
            shard.committed = commit.now;
            shard.records += step.records;
            if step.to == Position::End {
                shard.owner = None;
            }
        }
        next.drop_published(worker, &commit.published);
        for shard in &commit.give_up {
            if let Some(shard) = next.shards.get_mut(shard).filter(|shard| shard.is_owned_by(worker)) {
                shard.owner = None;
            }
        }
        tables::learn(&mut next.tables, &commit.tables)?;
        let totals = &mut next.totals;
        totals.records += commit.counts.records;
        totals.events += commit.counts.events;
        totals.rejections += commit.counts.rejections;
        totals.control += commit.counts.control;
        totals.expired += commit.expired;
        if let Some(pack) = &commit.pack {
            totals.objects += pack.objects;
            totals.bytes += pack.bytes;
            next.packs.push(PackState { committed: commit.now, ..pack.clone() });
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
        for shard in self.shards.values_mut().filter(|shard| shard.is_owned_by(worker)) {
            shard.owner = None;
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
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
        claim(&head, 1, &[shard("a", &[]), shard("b", &[])], &Position::TrimHorizon, &[]).unwrap()
    }

    /// A claim of worker `n`.
    fn claim(head: &Snapshot, n: u128, known: &[Shard], start: &Position, dead: &[u128]) -> Result<Snapshot, Refused> {
        let (dead, none) = (dead.iter().map(|n| worker(*n)).collect(), BTreeSet::new());
        head.claim(&worker(n), &Wanted { known, seen: head.number, start, gone: &none, at_once: &none }, &dead)
    }

    fn owner(state: &Snapshot, id: &str) -> Option<WorkerId> {
        state.shards[&ShardId::from(id)].owner.clone()
    }

    pub fn step(shard: &str, from: Position, to: Position) -> Commit {
        let records = RecordCounts { read: 1, delivered: 1, ..RecordCounts::default() };
        Commit { moves: vec![Move { shard: shard.into(), from, to, records }], ..Commit::default() }
    }

    pub fn pack(id: &str, publisher: u128) -> PackState {
        PackState { id: id.parse().unwrap(), publisher: worker(publisher), objects: 2, bytes: 10, committed: None }
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
        let alive = claim(&head, 2, &known, &Position::TrimHorizon, &[]);
        assert_eq!(alive, Err(Refused::Nothing));

        let mut head = head;
        head.packs.push(pack(&format!("{}-1", worker(1)), 1));
        let taken = claim(&head, 2, &known, &Position::TrimHorizon, &[1]).unwrap();
        assert_eq!((owner(&taken, "a"), owner(&taken, "b")), (Some(worker(2)), Some(worker(2))));
        assert_eq!(taken.workers.keys().collect::<Vec<_>>(), [&worker(2)]);
        assert_eq!(taken.packs[0].publisher, worker(2), "its unpublished packs come along");
    }

    #[test]
    fn a_child_waits_for_its_parents_and_starts_at_its_beginning() {
        let start = Position::At(1000);
        let known = [shard("a", &[]), shard("b", &[]), shard("c", &["a", "b"])];
        let state = claim(&group(), 1, &known, &start, &[]).unwrap();
        assert_eq!(owner(&state, "c"), None, "parents are not at their end");

        let state = state.commit(&worker(1), &step("a", Position::TrimHorizon, Position::End)).unwrap();
        assert_eq!(claim(&state, 1, &known, &start, &[]), Err(Refused::Nothing), "b is not at its end");
        let state = state.commit(&worker(1), &step("b", Position::TrimHorizon, Position::End)).unwrap();
        let state = claim(&state, 1, &known, &start, &[]).unwrap();
        assert_eq!(owner(&state, "c"), Some(worker(1)));
        assert_eq!(owner(&state, "a"), None, "what is at its end has no owner");
    }

    /// Whoever was their parent, and whether anybody has ever seen it.
    #[test]
    fn shards_that_come_after_the_first_claim_start_at_their_beginning() {
        let (start, later) = (Position::At(1000), Position::At(2000));
        let first = [shard("a", &[]), shard("b", &[])];
        let head = Snapshot::empty().register(&worker(1), "arn", 0).unwrap();
        let state = claim(&head, 1, &first, &start, &[]).unwrap();
        let new = [shard("c", &["a"]), shard("d", &["c"]), shard("e", &["gone"]), shard("f", &[])];
        let state = claim(&state, 1, &[&first[..], &new].concat(), &later, &[]).unwrap();
        let at = |id: &str| state.shards[&ShardId::from(id)].position.clone();
        assert_eq!(["a", "b"].map(at), [start.clone(), start]);
        assert_eq!(["c", "d", "e", "f"].map(at), [const { Position::TrimHorizon }; 4]);
    }

    #[test]
    fn a_parent_that_is_no_longer_known_does_not_block() {
        let known = [shard("c", &["gone"])];
        let head = Snapshot::empty().register(&worker(1), "arn", 0).unwrap();
        let state = claim(&head, 1, &known, &Position::At(5), &[]).unwrap();
        assert_eq!(owner(&state, "c"), Some(worker(1)));
        assert_eq!(state.shards[&ShardId::from("c")].position, Position::At(5), "it was there before the group");
    }

    #[test]
    fn a_claim_takes_no_more_than_a_fair_share_and_what_is_given_up_is_free() {
        let head = group().register(&worker(2), "arn", 0).unwrap();
        let known = [shard("a", &[]), shard("b", &[])];
        let give_up = Commit { give_up: ["a".into(), "b".into()].into(), ..Commit::default() };
        assert_eq!(head.commit(&worker(2), &give_up), Err(Refused::Nothing), "they are not its own");
        let free = head.commit(&worker(1), &give_up).unwrap();
        let state = claim(&free, 2, &known, &Position::TrimHorizon, &[]).unwrap();
        assert_eq!(state.owned_by(&worker(2)).count(), 1);
        let state = claim(&state, 1, &known, &Position::TrimHorizon, &[]).unwrap();
        assert_eq!(state.owned_by(&worker(1)).count(), 1);
        assert_eq!(claim(&state, 2, &known, &Position::TrimHorizon, &[]), Err(Refused::Nothing));

        let (none, nobody, both) = (BTreeSet::new(), BTreeSet::new(), ["a".into(), "b".into()].into());
        let wanted = Wanted { known: &known, seen: 0, start: &Position::TrimHorizon, gone: &none, at_once: &both };
        let state = free.claim(&worker(2), &wanted, &nobody).unwrap();
        assert_eq!(state.owned_by(&worker(2)).count(), 2, "past its share, so that they are read");
        assert_eq!(state.share(&worker(2), &known).surplus(), 1);
    }

    #[test]
    fn shards_that_are_gone_leave_the_state_and_what_was_unread_is_counted() {
        let state = group().commit(&worker(1), &step("a", Position::TrimHorizon, Position::End)).unwrap();
        let state = state.register(&worker(2), "arn", 0).unwrap();
        let gone = BTreeSet::from(["a".into(), "b".into()]);
        let (none, dead, nothing) = (BTreeSet::new(), BTreeSet::from([worker(1)]), BTreeSet::new());
        let wanted = Wanted { known: &[], seen: 0, start: &Position::TrimHorizon, gone: &gone, at_once: &nothing };
        let without = state.claim(&worker(2), &wanted, &none).unwrap();
        assert_eq!(
            without.shards.keys().map(ShardId::as_str).collect::<Vec<_>>(),
            ["b"],
            "who owns b may still read it"
        );
        assert_eq!(without.totals.expired, 0);
        let without = without.claim(&worker(2), &wanted, &dead).unwrap();
        assert_eq!((without.shards.len(), without.totals.expired), (0, 1));

        // Who listed a shard before it was forgotten does not bring it back.
        let known = [shard("a", &[])];
        let wanted = Wanted { known: &known, gone: &nothing, ..wanted };
        assert_eq!(without.claim(&worker(2), &wanted, &none), Err(Refused::Nothing));
        let later = without.claim(&worker(2), &Wanted { seen: without.forgot, ..wanted }, &none).unwrap();
        assert_eq!(later.shards.len(), 1);
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
        assert_eq!(
            state.totals,
            Totals { records: 4, events: 18, rejections: 2, control: 2, objects: 4, bytes: 20, expired: 0 }
        );
    }

    /// Of a file of which some records were left out: what is done grows, and nothing of it is done again.
    #[test]
    fn a_set_of_records_only_grows() {
        let at = |text: &str| text.parse::<Position>().unwrap();
        let mut head = group();
        let steps = ["trim_horizon", "set 3-4", "set 1 3-4", "set 0-1 3-4", "after 4", "set 0-4 9", "end"];
        for pair in steps.windows(2) {
            let (head_at, to) = (at(pair[0]), at(pair[1]));
            let next = head.commit(&worker(1), &step("a", head_at.clone(), to.clone())).unwrap();
            assert_eq!(next.shards[&ShardId::from("a")].position, to);
            let refused = |from: &Position, to: &Position| {
                let refused = Refused::Moved { shard: "a".into(), committed: head_at.clone(), began: from.clone() };
                assert_eq!(head.commit(&worker(1), &step("a", from.clone(), to.clone())), Err(refused));
            };
            for other in steps.map(at) {
                if other != head_at {
                    refused(&other, &to);
                }
                if other < head_at {
                    refused(&head_at, &other);
                }
            }
            head = next;
        }
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
        let state = claim(&state, 2, &known, &Position::TrimHorizon, &[]).unwrap();
        assert_eq!(state.packs, [pack(&open, 2)]);
    }
}
