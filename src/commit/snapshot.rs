//! The shared state of a group, and every legal change of it.
//!
//! A change is a pure function: it takes the head and says what the next snapshot is, or why there is none. What makes
//! it happen, exactly once and in order, is [`super::member`].

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::decode::Counts;
use crate::event::{Millis, ShardId};
use crate::position::Position;
use crate::source::Shard;

/// The stored form that this code writes and reads.
const VERSION: u32 = 1;

/// A running worker: a UUIDv7, new at every start, never used again.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkerId(String);

impl From<uuid::Uuid> for WorkerId {
    fn from(id: uuid::Uuid) -> Self {
        Self(id.hyphenated().to_string())
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A pack: its worker and which of that worker's flushes it holds, from 1. Also the first part of the names of its
/// objects.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PackId {
    pub worker: WorkerId,
    pub flush: u64,
}

impl fmt::Display for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.worker, self.flush)
    }
}

impl fmt::Debug for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl std::str::FromStr for PackId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text.rsplit_once('-').and_then(|(worker, flush)| Some((worker, flush.parse().ok()?)));
        let (worker, flush) = parsed.ok_or_else(|| format!("{text:?} is no pack: <worker>-<number>"))?;
        Ok(Self { worker: WorkerId(worker.to_owned()), flush })
    }
}

impl Serialize for PackId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PackId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Snapshot number N: the whole shared state of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    version: u32,
    pub number: u64,
    /// Who wrote it, and as which attempt. `None` only in the state before the first snapshot, which is not stored.
    pub attempt: Option<Attempt>,
    /// The stream's ARN or the file set that the positions belong to.
    pub source: String,
    pub shards: BTreeMap<ShardId, ShardState>,
    pub workers: BTreeMap<WorkerId, WorkerState>,
    /// Committed, and not yet known to be published.
    pub packs: Vec<PackState>,
    pub totals: Totals,
}

/// One try of one worker to make one transition: this pair is never used for another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub worker: WorkerId,
    pub seq: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardState {
    pub position: Position,
    pub owner: Option<WorkerId>,
    pub parents: Vec<ShardId>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerState {
    /// Its last attempt that is in the state.
    pub seq: u64,
    pub joined: Millis,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackState {
    pub id: PackId,
    /// The worker whose task it is to publish it.
    pub publisher: WorkerId,
    pub objects: u64,
    pub bytes: u64,
}

/// Sums over the life of the group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    pub records: u64,
    pub events: u64,
    pub rejections: u64,
    pub control: u64,
    pub objects: u64,
    pub bytes: u64,
}

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

/// Bytes that are no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum BadSnapshot {
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("version {0} is newer than this firemain knows ({VERSION}): use the release that wrote it")]
    Version(u32),
}

impl Snapshot {
    /// The state before anybody registered: number 0, never stored.
    pub fn empty() -> Self {
        Self {
            version: VERSION,
            number: 0,
            attempt: None,
            source: String::new(),
            shards: BTreeMap::new(),
            workers: BTreeMap::new(),
            packs: Vec::new(),
            totals: Totals::default(),
        }
    }

    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a snapshot of plain values is always JSON")
    }

    pub fn from_json(bytes: &[u8]) -> Result<Self, BadSnapshot> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let Versioned { version } = serde_json::from_slice(bytes)?;
        if version != VERSION {
            return Err(BadSnapshot::Version(version));
        }
        Ok(serde_json::from_slice(bytes)?)
    }

    /// The last attempt of a worker that this state knows to have happened; `None`: it is not (any more) in the group.
    pub fn last_attempt(&self, worker: &WorkerId) -> Option<u64> {
        self.workers.get(worker).map(|state| state.seq)
    }

    pub fn owned_by<'a>(&'a self, worker: &'a WorkerId) -> impl Iterator<Item = (&'a ShardId, &'a ShardState)> {
        self.shards.iter().filter(move |(_, shard)| shard.owner.as_ref() == Some(worker))
    }

    /// Packs whose publisher is this worker.
    pub fn packs_of<'a>(&'a self, worker: &'a WorkerId) -> impl Iterator<Item = &'a PackState> {
        self.packs.iter().filter(move |pack| &pack.publisher == worker)
    }

    // The changes. Each returns the next state without number and attempt, which the member fills in.

    /// Adds a worker.
    pub fn register(&self, worker: &WorkerId, source: &str, joined: Millis) -> Result<Self, Refused> {
        if self.number > 0 && self.source != source {
            return Err(Refused::OtherSource { ours: source.to_owned(), theirs: self.source.clone() });
        }
        let mut next = Self { source: source.to_owned(), ..self.clone() };
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
mod tests {
    use super::*;

    fn worker(n: u128) -> WorkerId {
        uuid::Uuid::from_u128(n).into()
    }

    fn shard(id: &str, parents: &[&str]) -> Shard {
        Shard { id: id.into(), parents: parents.iter().map(|id| ShardId::from(*id)).collect() }
    }

    fn after(n: u64) -> Position {
        Position::After(n.into())
    }

    /// A group of worker 1 that owns shards a and b.
    fn group() -> Snapshot {
        let head = Snapshot::empty().register(&worker(1), "arn", 7).unwrap();
        head.claim(&worker(1), &[shard("a", &[]), shard("b", &[])], &Position::TrimHorizon, &BTreeSet::new()).unwrap()
    }

    fn owner(state: &Snapshot, id: &str) -> Option<WorkerId> {
        state.shards[&ShardId::from(id)].owner.clone()
    }

    fn step(shard: &str, from: Position, to: Position) -> Commit {
        Commit { moves: vec![Move { shard: shard.into(), from, to }], ..Commit::default() }
    }

    fn pack(id: &str, publisher: u128) -> PackState {
        PackState { id: id.parse().unwrap(), publisher: worker(publisher), objects: 2, bytes: 10 }
    }

    /// The stored format: a change here needs a new version and a reader for the old one.
    #[test]
    fn version_1_is_this_json() {
        let mut state = group().commit(&worker(1), &step("a", Position::TrimHorizon, after(41))).unwrap();
        state = state.commit(&worker(1), &step("b", Position::TrimHorizon, Position::End)).unwrap();
        state.number = 42;
        state.attempt = Some(Attempt { worker: worker(1), seq: 3 });
        state.packs.push(pack(&format!("{}-2", worker(1)), 1));
        state.totals = Totals { records: 1, events: 2, rejections: 3, control: 4, objects: 5, bytes: 6 };
        let golden = include_str!("../../tests/golden/state-v1.json").trim_end();
        assert_eq!(String::from_utf8(state.to_json()).unwrap(), golden);
        assert_eq!(Snapshot::from_json(golden.as_bytes()).unwrap(), state);
    }

    #[test]
    fn a_newer_version_is_refused_and_named() {
        let json = String::from_utf8(group().to_json()).unwrap().replacen("\"version\":1", "\"version\":2", 1);
        let error = Snapshot::from_json(json.as_bytes()).unwrap_err();
        assert!(matches!(error, BadSnapshot::Version(2)), "{error}");
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
