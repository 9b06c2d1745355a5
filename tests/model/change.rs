//! The legal changes, as pure functions of a snapshot, and an independent judge of what follows what.

use super::Broken;
use super::state::{Change, FLUSHES, IDS, Id, NOBODY, PACKS, Pack, Packs, Rows, Rule, SHARDS, Snapshot, State};
use super::state::{bit, each, rows_between, worker_of};

/// Why a change is not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    NotAMember,
    NotOwner,
    Moved,
    Nothing,
}

/// What `head` becomes, without number and attempt, as src/commit/change.rs has it (`the_code_makes_the_same_changes`).
pub fn change(head: &Snapshot, me: Id, change: Change, records: u8, broken: Broken) -> Result<Snapshot, Refused> {
    let mut next = *head;
    let unchecked = broken == Broken::UncheckedCommit && matches!(change, Change::Commit { .. });
    if change == Change::Register {
        next.members |= 1 << me;
        next.seq[me as usize] = 0;
        return Ok(next);
    }
    if !head.is_member(me) && !unchecked {
        return Err(Refused::NotAMember);
    }
    match change {
        Change::Register => unreachable!("handled above"),
        Change::Claim { dead, take, .. } => {
            next.members &= !dead | 1 << me;
            for pack in each(next.listed()) {
                if !next.is_member(next.publisher[pack]) && broken != Broken::NoAdoption {
                    next.publisher[pack] = me;
                }
            }
            for (shard, take) in take.into_iter().enumerate() {
                if !next.is_member(next.owner[shard]) {
                    // A shard at its end has no owner; the model's shards end with their last record.
                    next.owner[shard] = if take && next.position[shard] < records { me } else { NOBODY };
                }
            }
        }
        Change::Commit { pack, from, to, published } => {
            for shard in (0..SHARDS).filter(|shard| from[*shard] != to[*shard]) {
                if !unchecked && next.owner[shard] != me {
                    return Err(Refused::NotOwner);
                }
                if !unchecked && next.position[shard] != from[shard] {
                    return Err(Refused::Moved);
                }
                next.position[shard] = to[shard];
                if to[shard] == records {
                    next.owner[shard] = NOBODY;
                }
            }
            drop_published(&mut next, me, published);
            next.publisher[pack] = me;
        }
        Change::Clear { published } => drop_published(&mut next, me, published),
        Change::Leave { published } => {
            drop_published(&mut next, me, published);
            next.owner.iter_mut().filter(|owner| **owner == me).for_each(|owner| *owner = NOBODY);
            next.members &= !(1 << me);
        }
    }
    if next == *head { Err(Refused::Nothing) } else { Ok(next) }
}

fn drop_published(next: &mut Snapshot, me: Id, published: Packs) {
    for pack in each(published) {
        if next.publisher[pack] == me {
            next.publisher[pack] = NOBODY;
        }
    }
}

/// Whether `next` may follow `state.head`: rules 1, 2, 6 and 7, without a look at how it was made. Says which rows are
/// committed by it.
pub fn judge(state: &State, next: &Snapshot) -> Result<Rows, Rule> {
    let (head, (me, seq)) = (&state.head, next.attempt);
    let ensure = |rule: Rule, holds: bool| if holds { Ok(()) } else { Err(rule) };
    ensure(Rule::Legal, next.number == head.number + 1)?;
    ensure(Rule::Legal, head.is_member(me) || next.is_member(me))?;
    ensure(Rule::Legal, !head.is_member(me) || head.seq[me as usize] < seq)?;
    ensure(Rule::Legal, !next.is_member(me) || next.seq[me as usize] == seq)?;
    for other in (0..IDS as Id).filter(|id| *id != me && next.is_member(*id)) {
        let same = head.is_member(other) && head.seq[other as usize] == next.seq[other as usize];
        ensure(Rule::Legal, same)?;
    }
    for shard in 0..SHARDS {
        let (was, is) = (head.owner[shard], next.owner[shard]);
        ensure(Rule::Positions, next.position[shard] >= head.position[shard])?;
        ensure(Rule::Positions, next.position[shard] == head.position[shard] || was == me)?;
        ensure(Rule::Positions, is == was || is == me || is == NOBODY)?;
        ensure(Rule::Positions, is == was || was == NOBODY || was == me || !next.is_member(was))?;
        ensure(Rule::Positions, is == NOBODY || next.is_member(is))?;
    }
    let mut rows = 0;
    for pack in 0..PACKS {
        match (head.publisher[pack], next.publisher[pack]) {
            (NOBODY, NOBODY) => {}
            (NOBODY, is) => {
                ensure(Rule::Legal, is == me && worker_of(pack) == me)?;
                ensure(Rule::OnePack, state.ever & bit(pack) == 0)?;
                ensure(Rule::OnePack, (state.committed | rows) & state.rows[pack] == 0)?;
                rows |= state.rows[pack];
            }
            (was, NOBODY) => {
                ensure(Rule::ClearedAfterVisible, was == me && state.visible & bit(pack) != 0)?;
            }
            (was, is) => ensure(Rule::Legal, was == is || (is == me && !next.is_member(was)))?,
        }
    }
    ensure(Rule::OnePack, rows == rows_between(head.position, next.position))?;
    Ok(rows)
}

/// The pack that a flush of this life fills.
pub fn pack_of(id: Id, flush: u8) -> Pack {
    id as usize * FLUSHES + flush as usize
}
