//! The invariants of the commit protocol, checked over what was really done to the store, request by request.
//!
//! Written against `docs/protocol.md` and not against the code: a change of the state is judged here by rules of its
//! own. Numbers are those of the list in that page.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use bytes::Bytes;
use firemain::commit::pack;
use firemain::commit::snapshot::{PackId, PackState, Snapshot, WorkerId};

use super::stream::next_of;
use crate::faults::{Effect, Outcome, Verb};

/// What is known of the store's past.
#[derive(Debug, Default)]
pub struct Checker {
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
}

impl Checker {
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
        assert!(!key.contains("/state/"), "1: {key} was deleted, of so few");
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
            assert!(self.present.contains_key(&key_of(&pack.id)), "4: {} is listed and not there", pack.id);
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

        let moved = self.positions(before, next, me);
        let new = self.packs(before, next, me);
        self.rows(&new, &moved);
        assert_eq!(next.totals.events, before.totals.events + moved.values().map(|(a, b)| b - a).sum::<u64>());
    }

    /// 2: the numbers of the records between old and new positions.
    fn positions(&self, before: &Snapshot, next: &Snapshot, me: &WorkerId) -> BTreeMap<String, (u64, u64)> {
        let mut moved = BTreeMap::new();
        for (id, was) in &before.shards {
            let now = &next.shards[id];
            assert!(now.position >= was.position, "2: {id} went back from {} to {}", was.position, now.position);
            if now.position != was.position {
                assert_eq!(was.owner.as_ref(), Some(me), "2: {me} moved {id}, which it does not own");
                moved.insert(id.as_str().to_owned(), (next_of(&was.position), next_of(&now.position)));
            }
            if now.owner != was.owner {
                let lost = was.owner.as_ref().is_none_or(|owner| owner == me || !next.workers.contains_key(owner));
                assert!(lost, "2: {id} was taken from {:?}, who is in the group", was.owner);
                assert!(now.owner.as_ref().is_none_or(|owner| owner == me), "2: {me} gave {id} to {:?}", now.owner);
            }
        }
        moved
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
                    for (key, bytes) in contents(&self.written[&key_of(&pack.id)]) {
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

    /// 6: the rows of the new packs are those between the positions, once.
    fn rows(&mut self, new: &[PackState], moved: &BTreeMap<String, (u64, u64)>) {
        let mut rows = BTreeSet::new();
        for pack in new {
            let objects =
                contents(self.present.get(&key_of(&pack.id)).expect("4: a pack is staged before it is listed"));
            assert_eq!(objects.len() as u64, pack.objects);
            for (key, bytes) in objects {
                for row in lines(&bytes) {
                    let other = self.events.insert(row.clone(), pack.id.clone());
                    assert!(other.is_none(), "6: {row} is in {} and in {other:?}", pack.id);
                    rows.insert(row);
                }
                self.allowed.insert(key, bytes);
            }
            self.listed.insert(pack.id.clone());
        }
        let between = |(shard, (from, to)): (&String, &(u64, u64))| {
            (*from..*to).map(|n| format!("{shard}/{n}")).collect::<Vec<_>>()
        };
        let expected: BTreeSet<String> = moved.iter().flat_map(between).collect();
        assert_eq!(rows, expected, "6: the pack is not what lies between the positions");
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
                visible.extend(lines(bytes));
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

    pub fn staged(&self) -> Vec<&str> {
        self.present.keys().filter(|key| key.contains("/staged/")).map(String::as_str).collect()
    }
}

fn key_of(pack: &PackId) -> String {
    format!("_firemain/{}/staged/{pack}.pack", super::stream::GROUP)
}

fn contents(pack: &Bytes) -> Vec<(String, Bytes)> {
    let objects = pack::read(pack).expect("4: a pack is whole");
    objects.into_iter().map(|object| (object.key, object.body.concat().into())).collect()
}

fn lines(bytes: &Bytes) -> Vec<String> {
    std::str::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
}
