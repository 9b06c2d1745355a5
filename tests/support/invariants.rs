//! The invariants of the commit protocol, checked over what was really done to the store, request by request.
//!
//! Written against `docs/protocol.md` and not against the code: a change of the state is judged here by rules of its
//! own. Numbers are those of the list in that page.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use firemain::commit::pack;
use firemain::commit::snapshot::{PackId, PackState, Snapshot, WorkerId};

use firemain::event::ShardId;
use firemain::position::Position;

use super::faults::{Effect, Outcome, Verb};

/// What a stream holds, by which the objects are judged. A row is told by any text that no other row has.
pub trait Books: fmt::Debug + Send + Sync {
    /// The rows in an object at a final key; panics at one that does not belong there.
    fn rows(&self, key: &str, bytes: &Bytes) -> Vec<String>;

    /// The rows of a shard between two positions, which must be places where it can stand.
    fn between(&self, shard: &ShardId, from: &Position, to: &Position) -> Vec<String>;

    /// Whether a row is an event; otherwise it is a rejection.
    fn is_event(&self, row: &str) -> bool;

    /// Whether the stream has dropped a row: then it is no fault if nobody has read it.
    fn is_trimmed(&self, _row: &str) -> bool {
        false
    }

    /// Whether the stream has dropped the record at a position, so that more may be lost behind it.
    fn has_expired(&self, _shard: &ShardId, _position: &Position) -> bool {
        false
    }

    /// Whether the stream has no such shard any more.
    fn is_removed(&self, _shard: &ShardId) -> bool {
        false
    }
}

/// A shard that one snapshot read on.
#[derive(Debug)]
struct Moved<'a> {
    shard: &'a ShardId,
    from: &'a Position,
    /// What the stream held in between.
    rows: BTreeSet<String>,
}

/// What is known of the store's past.
#[derive(Debug)]
pub struct Checker {
    /// `_firemain/<group>`.
    root: String,
    books: Arc<dyn Books>,
    /// How many snapshots collection leaves at least.
    kept: u64,
    collected: BTreeSet<u64>,
    /// Where each shard started, that was ever known.
    pub started: BTreeMap<ShardId, Position>,
    /// Those that were there when the group began.
    pub first: BTreeSet<ShardId>,
    /// What each key was ever written with.
    written: HashMap<String, Bytes>,
    /// What is there now.
    present: BTreeMap<String, Bytes>,
    pub head: Option<Snapshot>,
    /// Every pack that was ever listed, by any snapshot.
    listed: BTreeSet<PackId>,
    /// Final keys that a listed pack allows, with their bytes.
    allowed: HashMap<String, Bytes>,
    /// The pack that each event is in, of those ever listed.
    events: BTreeMap<String, PackId>,
    /// The shards that were claimed together with a pack of somebody dead.
    adopted: BTreeMap<PackId, BTreeSet<ShardId>>,
}

impl Checker {
    pub fn new(group: &str, books: Arc<dyn Books>, kept: u64) -> Self {
        Self {
            root: format!("_firemain/{group}"),
            books,
            kept,
            collected: BTreeSet::new(),
            started: BTreeMap::new(),
            first: BTreeSet::new(),
            written: HashMap::new(),
            present: BTreeMap::new(),
            head: None,
            listed: BTreeSet::new(),
            allowed: HashMap::new(),
            events: BTreeMap::new(),
            adopted: BTreeMap::new(),
        }
    }

    /// Takes in one effect on the store itself; panics where an invariant breaks.
    pub fn see(&mut self, effect: &Effect) {
        if effect.outcome != Outcome::Ok {
            return;
        }
        let key = &effect.call.key;
        match effect.call.verb {
            Verb::Put | Verb::Create => {
                self.wrote(key, effect.bytes.clone().expect("a put carries bytes"), effect.call.verb)
            }
            Verb::Delete => self.deleted(key),
            Verb::Get | Verb::List => {}
            Verb::Copy => panic!("nothing is ever copied: {effect}"),
        }
    }

    fn wrote(&mut self, key: &str, bytes: Bytes, verb: Verb) {
        if key.contains("/state/") && self.collected.contains(&number_of(key)) {
            // A request that landed when its number was long collected: nobody takes it for the head.
            self.present.insert(key.to_owned(), bytes);
            return;
        }
        if !key.contains("/workers/") {
            let before = self.written.insert(key.to_owned(), bytes.clone());
            assert!(before.is_none_or(|before| before == bytes), "3: {key} was written with two contents");
        }
        self.present.insert(key.to_owned(), bytes.clone());
        if key.contains("/state/") {
            assert_eq!(verb, Verb::Create, "1: {key} was not created but put");
            self.snapshot(key, &bytes);
        } else if !key.starts_with("_firemain/") {
            let allowed = self.allowed.get(key);
            assert!(allowed.is_some(), "5: {key} is visible, but no snapshot listed its pack");
            assert!(allowed == Some(&bytes), "5: {key} is not what its pack holds");
        }
    }

    fn deleted(&mut self, key: &str) {
        assert!(key.starts_with("_firemain/"), "{key} is visible and was deleted");
        if key.contains("/state/") {
            let head = self.head.as_ref().map_or(0, |head| head.number);
            let number = number_of(key);
            assert!(number + self.kept <= head, "1: {key} was deleted, of the newest {} up to {head}", self.kept);
            self.collected.insert(number);
        }
        self.present.remove(key);
        self.packs_exist();
    }

    fn snapshot(&mut self, key: &str, bytes: &Bytes) {
        let next = Snapshot::from_json(bytes).unwrap();
        let before = self.head.take().unwrap_or_else(Snapshot::empty);
        assert!(key.ends_with(&format!("/{:020}.json", next.number)), "1: {key} holds number {}", next.number);
        assert_eq!(next.number, before.number + 1, "1: a gap or a number below the head");
        self.change(&before, &next);
        self.head = Some(next);
        self.packs_exist();
    }

    /// 4, and 2 as far as one snapshot shows it.
    fn packs_exist(&self) {
        let Some(head) = &self.head else { return };
        for pack in &head.packs {
            assert!(self.present.contains_key(&self.key_of(&pack.id)), "4: {} is listed and not there", pack.id);
        }
        for (id, shard) in &head.shards {
            let known = shard.owner.as_ref().is_none_or(|owner| head.workers.contains_key(owner));
            assert!(known, "2: {id} is owned by {:?}, who is not in the group", shard.owner);
        }
    }

    /// Whether one snapshot may follow the other.
    fn change(&mut self, before: &Snapshot, next: &Snapshot) {
        let attempt = next.attempt.as_ref().expect("who wrote a snapshot is in it");
        let me = &attempt.worker;
        let known = before.last_attempt(me);
        match next.last_attempt(me) {
            Some(seq) => assert_eq!(seq, attempt.seq, "1: the attempt is not in workers"),
            None => assert!(known.is_some(), "1: {me} left and was not there"),
        }
        assert!(known.is_none_or(|seq| seq < attempt.seq), "1: {me} used attempt {} again", attempt.seq);
        for (id, worker) in &before.workers {
            let same = next.workers.get(id).is_none_or(|now| now.joined == worker.joined && now.seq >= worker.seq);
            assert!(same && (id == me || next.last_attempt(id).is_none_or(|seq| seq == worker.seq)), "1: {id}");
        }
        let came = next.workers.keys().filter(|id| !before.workers.contains_key(*id));
        assert!(came.into_iter().all(|id| id == me), "1: somebody else was added by {me}");

        self.new_shards(before, next);
        let moved = self.positions(before, next, me);
        self.adoptions(before, next, me, &moved);
        let new = self.packs(before, next, me);
        let rows = self.rows(&new);
        self.losses(before, next, &moved, &rows);
        let events = rows.iter().filter(|row| self.books.is_event(row)).count() as u64;
        assert_eq!(next.totals.events, before.totals.events + events);
        assert_eq!(next.totals.rejections, before.totals.rejections + rows.len() as u64 - events);
    }

    /// 2: a shard is new once, and starts at its beginning if it is not of the first.
    fn new_shards(&mut self, before: &Snapshot, next: &Snapshot) {
        for (id, shard) in next.shards.iter().filter(|(id, _)| !before.shards.contains_key(*id)) {
            if before.shards.is_empty() && before.forgot == 0 {
                self.first.insert(id.clone());
            } else {
                assert_eq!(shard.position, Position::TrimHorizon, "2: {id} came later");
            }
            let again = self.started.insert(id.clone(), shard.position.clone());
            assert!(again.is_none(), "2: {id} was forgotten and started again");
        }
    }

    /// 2: the shards that moved.
    fn positions<'a>(&self, before: &'a Snapshot, next: &Snapshot, me: &WorkerId) -> Vec<Moved<'a>> {
        let mut moved = Vec::new();
        for (id, was) in &before.shards {
            let Some(now) = next.shards.get(id) else {
                let over = was.position == Position::End || self.books.is_removed(id);
                let free = was.owner.as_ref().is_none_or(|owner| !next.workers.contains_key(owner));
                assert!(free && over, "2: {id} of {:?} was forgotten at {}", was.owner, was.position);
                continue;
            };
            assert!(now.position >= was.position, "2: {id} went back from {} to {}", was.position, now.position);
            if now.position != was.position {
                assert_eq!(was.owner.as_ref(), Some(me), "2: {me} moved {id}, which it does not own");
                let rows = self.books.between(id, &was.position, &now.position).into_iter().collect();
                moved.push(Moved { shard: id, from: &was.position, rows });
            }
            if now.owner != was.owner {
                let lost = was.owner.as_ref().is_none_or(|owner| owner == me || !next.workers.contains_key(owner));
                assert!(lost, "2: {id} was taken from {:?}, who is in the group", was.owner);
                assert!(now.owner.as_ref().is_none_or(|owner| owner == me), "2: {me} gave {id} to {:?}", now.owner);
            }
        }
        moved
    }

    /// 10: who adopts packs has cleared them before it moves the shards that it took with them.
    fn adoptions(&mut self, before: &Snapshot, next: &Snapshot, me: &WorkerId, moved: &[Moved]) {
        for pack in before.packs.iter().filter(|pack| pack.publisher == *me) {
            let Some(taken) = self.adopted.get(&pack.id) else { continue };
            let early = moved.iter().map(|step| step.shard).find(|shard| taken.contains(*shard));
            assert!(early.is_none(), "10: {me} moves {early:?} and has not cleared {}", pack.id);
        }
        let is_mine = |state: &Snapshot, id| state.shards.get(id).is_some_and(|shard| shard.owner.as_ref() == Some(me));
        let taken = next.shards.keys().filter(|id| is_mine(next, id) && !is_mine(before, id));
        let taken: BTreeSet<ShardId> = taken.cloned().collect();
        for pack in before.packs.iter().filter(|pack| pack.publisher != *me) {
            if next.packs.iter().any(|now| now.id == pack.id && now.publisher == *me) {
                self.adopted.insert(pack.id.clone(), taken.clone());
            }
        }
    }

    /// 7: the packs that came, after those that went were judged.
    fn packs(&self, before: &Snapshot, next: &Snapshot, me: &WorkerId) -> Vec<PackState> {
        for pack in &before.packs {
            match next.packs.iter().find(|now| now.id == pack.id) {
                Some(now) if now.publisher != pack.publisher => {
                    assert!(!next.workers.contains_key(&pack.publisher), "1: {} taken from a member", pack.id);
                    assert_eq!(&now.publisher, me, "1: {} given away", pack.id);
                }
                Some(_) => {}
                None => {
                    assert_eq!(&pack.publisher, me, "7: {me} cleared {}, which is not its own", pack.id);
                    for (key, bytes) in contents(&self.written[&self.key_of(&pack.id)]) {
                        let published = self.present.get(&key) == Some(&bytes);
                        assert!(published, "7: {} left the list and {key} is not there", pack.id);
                    }
                }
            }
        }
        let new: Vec<_> = next.packs.iter().filter(|pack| before.packs.iter().all(|was| was.id != pack.id)).collect();
        for pack in &new {
            assert!(!self.listed.contains(&pack.id), "6: {} was listed before", pack.id);
            assert!(&pack.publisher == me && &pack.id.worker == me, "1: {me} listed {}", pack.id);
        }
        new.into_iter().cloned().collect()
    }

    /// 6: the rows of the new packs, none of which was in another.
    fn rows(&mut self, new: &[PackState]) -> BTreeSet<String> {
        let mut rows = BTreeSet::new();
        for pack in new {
            let objects =
                contents(self.present.get(&self.key_of(&pack.id)).expect("4: a pack is staged before it is listed"));
            assert_eq!(objects.len() as u64, pack.objects);
            for (key, bytes) in objects {
                for row in self.books.rows(&key, &bytes) {
                    let other = self.events.insert(row.clone(), pack.id.clone());
                    assert!(other.is_none(), "6: {row} is in {} and in {other:?}", pack.id);
                    rows.insert(row);
                }
                self.allowed.insert(key, bytes);
            }
            self.listed.insert(pack.id.clone());
        }
        rows
    }

    /// 6: the rows are those between the positions, but for what the stream has dropped, and that is counted: never
    /// missed where a record was read before, and never made up.
    fn losses(&self, before: &Snapshot, next: &Snapshot, moved: &[Moved], rows: &BTreeSet<String>) {
        let between: BTreeSet<&String> = moved.iter().flat_map(|shard| &shard.rows).collect();
        assert!(rows.iter().all(|row| between.contains(row)), "6: {rows:?} do not all lie between the positions");
        let lost = |shard: &Moved| shard.rows.iter().any(|row| !rows.contains(row));
        let missing = between.iter().filter(|row| !rows.contains(**row));
        for row in missing {
            assert!(self.books.is_trimmed(row), "6: {row} lies between the positions and is in no pack");
        }
        let at_record = |shard: &&Moved| matches!(shard.from, Position::After(_));
        let sure = moved.iter().filter(at_record).filter(|shard| lost(shard)).count();
        let forgotten = before.shards.iter().filter(|(id, _)| !next.shards.contains_key(*id));
        let forgotten = forgotten.filter(|(_, shard)| shard.position != Position::End).count();
        let expired =
            |shard: &&Moved| self.books.has_expired(shard.shard, shard.from) || self.books.is_removed(shard.shard);
        let possible = moved.iter().filter(expired).count();
        let told = (next.totals.expired - before.totals.expired) as usize;
        assert!(
            (sure + forgotten..=possible + forgotten).contains(&told),
            "6: {told} positions are counted as expired, of {sure} to {possible} and {forgotten}"
        );
    }

    /// 8.
    pub fn believes(&self, pack: &PackId) {
        assert!(self.listed.contains(pack), "8: {pack} is believed to be committed, and no snapshot lists it");
    }

    /// 9, as far as one worker that cleaned up can bring it about.
    pub fn finished(&self, expected: &BTreeSet<String>) {
        let mut visible = Vec::new();
        for (key, bytes) in &self.present {
            assert!(!key.contains("/staged/"), "9: {key} stays behind");
            if !key.starts_with("_firemain/") {
                visible.extend(self.books.rows(key, bytes));
            }
        }
        visible.sort();
        let expected: Vec<String> = expected.iter().cloned().collect();
        assert_eq!(visible, expected, "9: not every event is visible exactly once");
    }

    /// Objects at final keys and packs, for what a test wants to say about them.
    pub fn visible(&self) -> Vec<&str> {
        self.present.keys().filter(|key| !key.starts_with("_firemain/")).map(String::as_str).collect()
    }

    /// Rows of all objects that are visible.
    pub fn visible_rows(&self) -> BTreeSet<String> {
        let visible = self.present.iter().filter(|(key, _)| !key.starts_with("_firemain/"));
        visible.flat_map(|(key, bytes)| self.books.rows(key, bytes)).collect()
    }

    fn key_of(&self, pack: &PackId) -> String {
        format!("{}/staged/{pack}.pack", self.root)
    }

    /// How many rows are in packs that were ever listed.
    pub fn delivered(&self) -> usize {
        self.events.len()
    }

    /// Whether a row is in one of them.
    pub fn has_delivered(&self, row: &str) -> bool {
        self.events.contains_key(row)
    }

    pub fn staged(&self) -> Vec<&str> {
        self.present.keys().filter(|key| key.contains("/staged/")).map(String::as_str).collect()
    }
}

/// The number of a snapshot, by its key.
fn number_of(key: &str) -> u64 {
    let name = key.rsplit('/').next().and_then(|name| name.strip_suffix(".json"));
    name.and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("{key} is no snapshot"))
}

fn contents(pack: &Bytes) -> Vec<(String, Bytes)> {
    let objects = pack::read(pack).expect("4: a pack is whole");
    objects.into_iter().map(|object| (object.key, object.body.concat().into())).collect()
}
