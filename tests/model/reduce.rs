//! States that can't be told apart by anything that may still happen are made equal.

use super::Broken;
use super::state::{
    Attempt, Change, FLUSHES, HEAD, IDS, Id, KEPT, NOBODY, NOT_READ, PACKS, Packs, Phase, ROWS, Rows, SHARDS,
};
use super::state::{SLOTS, Snapshot, State, bit, each};

/// Forgets what no later step can ask for.
pub fn forget(state: &mut State, broken: Broken) {
    numbers(state);
    for worker in &mut state.workers {
        // A claim that is tried again takes for dead only who is there, or comes back while it registers.
        if let Some(Attempt { change: Change::Claim { dead, had, .. }, .. }) = &mut worker.attempt {
            *dead &= state.head.members;
            *had &= state.head.listed();
        }
        if let Some(seen) = worker.sweep.as_mut().filter(|_| broken != Broken::HeadBeforeList) {
            *seen &= state.stored;
        }
    }
    // An object that is put again is the same.
    if broken != Broken::ReuseWorkerId {
        state.objects &= !state.visible;
        packs(state);
    }
}

/// Only the distance of a number from the head matters, and of those that are collected not even that.
fn numbers(state: &mut State) {
    let base = state.head.number;
    let shift = |number: u8| if number + KEPT <= base { HEAD - KEPT } else { number + HEAD - base };
    // An attempt number is four times the number of the snapshot that was attempted, and some.
    let shift_seq = |seq: u8| 4 * shift(seq / 4) + seq % 4;
    // Who wrote the last attempt matters only to a worker that waits to learn of its own.
    let waiting: [Option<u8>; IDS] = std::array::from_fn(|id| {
        let worker = state.workers.iter().find(|worker| worker.id as usize == id)?;
        worker.attempt.map(|attempt| attempt.seq)
    });
    for worker in &mut state.workers {
        if let Some(attempt) = &mut worker.attempt {
            if attempt.number <= base {
                attempt.flying = None;
            }
            attempt.number = shift(attempt.number);
            attempt.seq = shift_seq(attempt.seq);
        }
    }
    for stray in &mut state.strays {
        if stray.is_some_and(|next| next.number <= base) {
            *stray = None;
        }
    }
    let renumber = |snapshot: &mut Snapshot, is_head: bool| {
        snapshot.number = shift(snapshot.number);
        let (by, seq) = snapshot.attempt;
        let awaited = by != NOBODY && waiting[by as usize] == Some(seq);
        snapshot.attempt = if awaited || !is_head { (by, shift_seq(seq)) } else { (NOBODY, 0) };
        for id in 0..IDS {
            let seq = snapshot.seq[id];
            snapshot.seq[id] = match waiting[id] {
                _ if snapshot.members & (1 << id) == 0 => 0,
                _ if !is_head && by as usize == id => shift_seq(seq),
                Some(waiting) if seq >= waiting => shift_seq(waiting),
                _ => 0,
            };
        }
    };
    renumber(&mut state.head, true);
    for worker in &mut state.workers {
        if let Some(flying) = worker.attempt.as_mut().and_then(|attempt| attempt.flying.as_mut()) {
            renumber(flying, false);
        }
    }
    state.strays.iter_mut().flatten().for_each(|stray| renumber(stray, false));
    state.strays.sort_unstable();
    if state.strays[0].is_some() && state.strays[0] == state.strays[1] {
        state.strays[0] = None;
    }
}

/// Packs that are not stored, nor ever will be, and of no concern to anybody.
fn packs(state: &mut State) {
    let mut used = state.stored | state.puts | state.objects | state.head.listed();
    for worker in &state.workers {
        used |= worker.todo;
        if let Some(attempt) = worker.attempt {
            used |= attempt.flying.map_or(0, |next| next.listed());
            used |= match attempt.change {
                Change::Register => 0,
                Change::Claim { had, .. } => had,
                Change::Commit { pack, published, .. } => bit(pack) | published,
                Change::Clear { published } | Change::Leave { published } => published,
            };
        }
    }
    state.strays.iter().flatten().for_each(|stray| used |= stray.listed());
    state.deletes &= state.stored | state.puts;
    state.ever &= used;
    state.visible &= used;
    for (pack, rows) in state.rows.iter_mut().enumerate() {
        if used & bit(pack) == 0 {
            *rows = 0;
        }
    }
}

/// The same state with the ids of workers, the slots and the shards in an order that follows from their parts. Where two
/// have the same part the order is left: such a state is explored twice, which is cheaper than to compare both.
pub fn representative(state: &State) -> State {
    let slot = |slot: usize| {
        let worker = &state.workers[slot];
        let attempt = worker.attempt.map(|attempt| {
            let kind = match attempt.change {
                Change::Register => 0,
                Change::Claim { dead, .. } => 1 + dead.count_ones(),
                Change::Commit { .. } => 10,
                Change::Clear { .. } => 11,
                Change::Leave { .. } => 12,
            };
            (attempt.number, attempt.unsent, attempt.created, attempt.real, kind)
        });
        let reads = worker.read.iter().filter(|read| **read != NOT_READ).count();
        (worker.phase, reads, worker.flushes, worker.todo.count_ones(), attempt, worker.sweep.is_some())
    };
    let slots = order(slot(0), slot(1));
    let shard = |shard: usize| {
        let owner = state.workers.iter().position(|worker| worker.id == state.head.owner[shard]);
        let owner = owner.map(|slot| slots[slot]);
        let read = slots.map(|slot| state.workers[slot].read[shard]);
        let rows = |rows: Rows| rows >> (shard * ROWS) & ((1 << ROWS) - 1);
        (state.head.position[shard], owner, read, rows(state.committed), rows(state.shown))
    };
    arranged(state, slots, order(shard(0), shard(1)))
}

fn order<T: PartialOrd>(first: T, second: T) -> [usize; 2] {
    if second < first { [1, 0] } else { [0, 1] }
}

fn arranged(state: &State, slots: [usize; SLOTS], shards: [usize; SHARDS]) -> State {
    // The living first, then the dead in the order of their ids.
    let mut names = [NOBODY; IDS];
    let used = state.ids();
    let living = slots.map(|slot| state.workers[slot].id);
    let dead = (0..IDS as Id).filter(|id| used & (1 << id) != 0 && !living.contains(id));
    for (name, id) in living.into_iter().filter(|id| *id != NOBODY).chain(dead).enumerate() {
        names[id as usize] = name as Id;
    }
    Arrangement { names, slots, shards }.apply(state)
}

struct Arrangement {
    names: [Id; IDS],
    slots: [usize; SLOTS],
    shards: [usize; SHARDS],
}

impl Arrangement {
    fn apply(&self, state: &State) -> State {
        let mut new = *state;
        new.head = self.snapshot(&state.head);
        new.strays = state.strays.map(|stray| stray.map(|stray| self.snapshot(&stray)));
        new.strays.sort_unstable();
        new.rows = [0; PACKS];
        for pack in (0..PACKS).filter(|pack| state.rows[*pack] != 0) {
            new.rows[self.pack(pack)] = self.rows(state.rows[pack]);
        }
        for (new, old) in [
            (&mut new.stored, state.stored),
            (&mut new.puts, state.puts),
            (&mut new.deletes, state.deletes),
            (&mut new.ever, state.ever),
            (&mut new.visible, state.visible),
            (&mut new.objects, state.objects),
        ] {
            *new = self.packs(old);
        }
        new.committed = self.rows(state.committed);
        new.shown = self.rows(state.shown);
        for (slot, old) in self.slots.into_iter().enumerate() {
            let worker = &mut new.workers[slot];
            *worker = state.workers[old];
            if worker.phase == Phase::Off {
                continue;
            }
            worker.id = self.names[worker.id as usize];
            worker.read = self.shards(worker.read);
            worker.todo = self.packs(worker.todo);
            worker.sweep = worker.sweep.map(|seen| self.packs(seen));
            if let Some(attempt) = &mut worker.attempt {
                attempt.flying = attempt.flying.map(|next| self.snapshot(&next));
                attempt.change = self.change(attempt.change);
            }
        }
        new
    }

    fn change(&self, change: Change) -> Change {
        match change {
            Change::Register => change,
            Change::Claim { dead, take, had } => {
                Change::Claim { dead: self.members(dead), take: self.shards(take), had: self.packs(had) }
            }
            Change::Commit { pack, from, to, published } => Change::Commit {
                pack: self.pack(pack),
                from: self.shards(from),
                to: self.shards(to),
                published: self.packs(published),
            },
            Change::Clear { published } => Change::Clear { published: self.packs(published) },
            Change::Leave { published } => Change::Leave { published: self.packs(published) },
        }
    }

    fn snapshot(&self, old: &Snapshot) -> Snapshot {
        let mut new = *old;
        new.attempt.0 = self.id(old.attempt.0);
        new.position = self.shards(old.position);
        new.owner = self.shards(old.owner.map(|id| self.id(id)));
        new.members = self.members(old.members);
        new.seq = [0; IDS];
        for id in (0..IDS).filter(|id| old.members & (1 << id) != 0) {
            new.seq[self.names[id] as usize] = old.seq[id];
        }
        new.publisher = [NOBODY; PACKS];
        for pack in (0..PACKS).filter(|pack| old.publisher[*pack] != NOBODY) {
            new.publisher[self.pack(pack)] = self.id(old.publisher[pack]);
        }
        new
    }

    fn id(&self, id: Id) -> Id {
        if id == NOBODY { NOBODY } else { self.names[id as usize] }
    }

    fn members(&self, members: u8) -> u8 {
        (0..IDS).filter(|id| members & (1 << id) != 0).map(|id| 1 << self.names[id]).sum()
    }

    fn pack(&self, pack: usize) -> usize {
        self.names[pack / FLUSHES] as usize * FLUSHES + pack % FLUSHES
    }

    fn packs(&self, packs: Packs) -> Packs {
        each(packs).map(|pack| bit(self.pack(pack))).sum()
    }

    fn shards<T: Copy>(&self, of: [T; SHARDS]) -> [T; SHARDS] {
        self.shards.map(|shard| of[shard])
    }

    fn rows(&self, rows: Rows) -> Rows {
        let of = |shard: usize| rows >> (shard * ROWS) & ((1 << ROWS) - 1);
        of(self.shards[0]) | of(self.shards[1]) << ROWS
    }
}
