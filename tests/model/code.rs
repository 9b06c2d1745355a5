//! The model's changes of the shared state, held against those of src/commit/change.rs.

use std::collections::{BTreeSet, HashSet};
use std::sync::{Arc, Mutex};

use firemain::commit::change::{self, Commit, Move, Wanted};
use firemain::commit::snapshot::{
    PackId, PackState, RecordCounts, ShardState, Snapshot as Stored, WorkerId, WorkerState,
};
use firemain::event::ShardId;
use firemain::position::Position;
use firemain::source::Shard;
use stateright::{Checker, Model};

use super::change::{Refused, change};
use super::state::{Change, FLUSHES, Id, NOBODY, Pack, Packs, SHARDS, Shards, Snapshot, each};
use super::{Bounds, Broken, ONE_CRASH, Protocol, reduce};

/// Every change that was asked for, when that is recorded.
pub type Changes = Option<Arc<Mutex<HashSet<(Snapshot, Id, Change)>>>>;

const SOURCE: &str = "stream";

fn worker(id: Id) -> WorkerId {
    uuid::Uuid::from_u128(id.into()).into()
}

fn pack(pack: Pack) -> PackId {
    PackId { worker: worker((pack / FLUSHES) as Id), flush: (pack % FLUSHES) as u64 }
}

fn packs(packs: Packs) -> BTreeSet<PackId> {
    each(packs).map(pack).collect()
}

fn shard(shard: usize) -> ShardId {
    ShardId::from(if shard == 0 { "a" } else { "b" })
}

fn position(at: u8, records: u8) -> Position {
    match at {
        0 => Position::TrimHorizon,
        _ if at == records => Position::End,
        _ => Position::After(u64::from(at).into()),
    }
}

fn listed(pack: PackId, publisher: Id) -> PackState {
    PackState { id: pack, publisher: worker(publisher), objects: 0, bytes: 0, committed: None }
}

/// A snapshot as the code has it, without numbers and attempts, which no change looks at.
fn stored(snapshot: &Snapshot, records: u8) -> Stored {
    let mut stored = Stored::empty();
    SOURCE.clone_into(&mut stored.source);
    for n in 0..SHARDS {
        let owner = (snapshot.owner[n] != NOBODY).then(|| worker(snapshot.owner[n]));
        let state = ShardState { owner, ..ShardState::new(position(snapshot.position[n], records), Vec::new()) };
        stored.shards.insert(shard(n), state);
    }
    for id in (0..8).filter(|id| snapshot.members & (1 << id) != 0) {
        stored.workers.insert(worker(id), WorkerState { seq: 0, joined: 0 });
    }
    stored.packs = each(snapshot.listed()).map(|its| listed(pack(its), snapshot.publisher[its])).collect();
    stored
}

fn by_the_code(head: Snapshot, me: Id, change: Change, records: u8) -> Result<Stored, change::Refused> {
    let (head, me) = (stored(&head, records), worker(me));
    let moves = |from: Shards, to: Shards| {
        let moved = (0..SHARDS).filter(move |n| from[*n] != to[*n]);
        moved.map(move |n| {
            let (from, to) = (position(from[n], records), position(to[n], records));
            Move { shard: shard(n), from, to, records: RecordCounts::default() }
        })
    };
    match change {
        Change::Register => head.register(&me, SOURCE, 0),
        Change::Claim { dead, .. } => {
            let known: Vec<_> = (0..SHARDS).map(|n| Shard { id: shard(n), parents: Vec::new() }).collect();
            let dead = (0..8).filter(|id| dead & (1 << id) != 0).map(worker).collect();
            let gone = BTreeSet::new();
            let (seen, at_once) = (0, BTreeSet::new());
            let start = &Position::TrimHorizon;
            let wanted = Wanted { known: &known, seen, start, gone: &gone, at_once: &at_once };
            head.claim(&me, &wanted, &dead)
        }
        Change::Commit { pack: its, from, to, published } => {
            let pack = Some(PackState { publisher: me.clone(), ..listed(pack(its), 0) });
            let commit =
                Commit { moves: moves(from, to).collect(), pack, published: packs(published), ..Commit::default() };
            head.commit(&me, &commit)
        }
        Change::Clear { published } => head.commit(&me, &Commit { published: packs(published), ..Commit::default() }),
        Change::Leave { published } => head.leave(&me, &packs(published)),
    }
}

#[test]
fn the_code_makes_the_same_changes() {
    for bounds in [Bounds { leaves: true, ..ONE_CRASH }, Bounds { records: 2, crashes: 0, lives: 0, ..ONE_CRASH }] {
        let recorded = Arc::default();
        let mut protocol = Protocol::new(bounds, Broken::None);
        protocol.changes = Some(Arc::clone(&recorded));
        protocol.checker().symmetry_fn(reduce::representative).spawn_dfs().join().assert_properties();
        let changes = recorded.lock().unwrap();
        assert!(changes.len() > 3_000, "only {} changes", changes.len());
        for (head, me, mut its) in changes.iter().copied() {
            if let Change::Claim { dead, had, .. } = its {
                // What the code takes is one of the ways that the model may go.
                let code = by_the_code(head, me, its, bounds.records);
                let owner = |n: usize| code.as_ref().ok().and_then(|next| next.shards[&shard(n)].owner.clone());
                its = Change::Claim { dead, take: [0, 1].map(|n| owner(n) == Some(worker(me))), had };
            }
            let model = change(&head, me, its, bounds.records, Broken::None);
            let model = model.map(|next| stored(&next, bounds.records)).map_err(|refused| format!("{refused:?}"));
            let code = by_the_code(head, me, its, bounds.records).map(|mut next| {
                next.packs.sort_by(|a, b| a.id.cmp(&b.id));
                next.workers.values_mut().for_each(|worker| worker.seq = 0);
                next
            });
            let code = code.map_err(|refused| {
                let refused = match refused {
                    change::Refused::NotAMember => Refused::NotAMember,
                    change::Refused::NotOwner(_) => Refused::NotOwner,
                    change::Refused::Moved { .. } => Refused::Moved,
                    change::Refused::Nothing => Refused::Nothing,
                    change::Refused::OtherSource { .. } | change::Refused::Table(_) => {
                        panic!("there is one source, and no table: {refused}")
                    }
                };
                format!("{refused:?}")
            });
            assert_eq!(model, code, "{its:?} by {me} on {head:?}");
        }
        println!("{} changes are the same", changes.len());
    }
}
