//! What may happen next: one request, one answer, one look, or one death at a time.
//!
//! What only one worker can notice is part of the step before it. A worker may be as slow as it likes between two
//! steps, and what it has sent lands whenever it does: so a request that is sent late needs no step of its own, nor
//! does one that is sent again with the same bytes. A number that was collected may be created again: nothing reads
//! it, for it is below the head, so its content is not kept; only the answer is.

use super::change::{self, Refused, pack_of};
use super::state::{Attempt, Change, NOBODY, NOT_READ, Pack, Packs, Phase, Rule, SHARDS, SLOTS, Shards};
use super::state::{FLUSHES, Id, KEPT, Snapshot, State, Worker, bit, each, packs_of, rows_between, worker_of};
use super::{Broken, Event, Protocol};

/// Steps of the worker in a slot (the first number), and requests that reach the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Takes these members for dead, and takes these shards.
    Claim(usize, u8, [bool; SHARDS]),
    /// It reads to these positions, stages what was read as one pack, and sends the create that commits it.
    Stage(usize, Shards),
    /// The worker's own create reaches the store.
    Land(usize),
    /// It lists the log and sees its own number as the highest; what is there it asks for later.
    List(usize),
    /// It looks at the log to see what became of its create; `true`: it has had the answer "created".
    Resolve(usize, bool),
    Clear(usize),
    Leave(usize),
    ListStaged(usize),
    Sweep(usize),
    Crash(usize),
    /// A create of a life that has ended reaches the store.
    LandStray(usize),
    /// Another copy of the put reaches the store.
    LandPut(Pack),
    LandObjects(Pack),
    LandDelete(Pack),
}

impl Protocol {
    pub fn steps(&self, state: &State, steps: &mut Vec<Step>) {
        if state.broken.is_some() {
            return;
        }
        for slot in 0..SLOTS {
            if state.workers[slot].lives() {
                self.steps_of(state, slot, steps);
            }
        }
        for (n, stray) in state.strays.iter().enumerate() {
            if stray.is_some() {
                steps.push(Step::LandStray(n));
            }
        }
        steps.extend(each(state.puts & !state.stored).map(Step::LandPut));
        steps.extend(each(state.objects).map(Step::LandObjects));
        steps.extend(each(state.deletes).map(Step::LandDelete));
    }

    pub fn steps_of(&self, state: &State, slot: usize, steps: &mut Vec<Step>) {
        let worker = &state.workers[slot];
        if state.crashes > 0 {
            steps.push(Step::Crash(slot));
        }
        match worker.attempt {
            Some(attempt) => {
                let collected = attempt.number + KEPT <= state.head.number;
                if attempt.unsent && (state.head.number < attempt.number || collected) {
                    steps.push(Step::Land(slot));
                }
                if self.broken == Broken::SlowRead && state.head.number == attempt.number && !attempt.listed {
                    steps.push(Step::List(slot));
                }
                if state.head.number >= attempt.number || self.believes_answers(&attempt) {
                    steps.push(Step::Resolve(slot, false));
                    if attempt.created {
                        steps.push(Step::Resolve(slot, true));
                    }
                } else if self.broken == Broken::OtherBytesForUnknown && state.strays == [None; 2] {
                    steps.push(Step::Resolve(slot, false));
                }
            }
            None => self.transitions(state, slot, steps),
        }
        if worker.phase != Phase::Member {
            return;
        }
        if self.bounds.sweeps {
            match worker.sweep {
                None if self.orphans_for(state, slot) != 0 || self.broken == Broken::HeadBeforeList => {
                    steps.push(Step::ListStaged(slot))
                }
                None => {}
                Some(_) => steps.push(Step::Sweep(slot)),
            }
        }
    }

    fn believes_answers(&self, attempt: &Attempt) -> bool {
        attempt.created && self.broken == Broken::TrustCreated
    }

    /// Transitions that a worker may begin: one at a time.
    fn transitions(&self, state: &State, slot: usize, steps: &mut Vec<Step>) {
        let worker = &state.workers[slot];
        let others = state.head.members & !(1 << worker.id);
        let mut dead = others;
        loop {
            let alive = state.workers.iter().any(|other| other.lives() && dead & (1 << other.id) != 0);
            for take in [[false, false], [true, false], [false, true], [true, true]] {
                let claim = Change::Claim { dead, take, had: 0 };
                let takes =
                    |next: &Snapshot, shard: usize| next.owner[shard] == worker.id && !self.owns(state, slot, shard);
                let is_new = match self.change(&state.head, worker.id, claim) {
                    // What is not free can't be taken.
                    Ok(next) => (0..SHARDS).all(|shard| takes(&next, shard) == take[shard]),
                    Err(Refused::Nothing) => false,
                    // So it learns that it is no member any more.
                    Err(_) => take == [false; SHARDS],
                };
                if is_new && (!alive || state.doubts > 0) {
                    steps.push(Step::Claim(slot, dead, take));
                }
            }
            if dead == 0 {
                break;
            }
            dead = (dead - 1) & others;
        }
        if (worker.flushes as usize) < FLUSHES {
            self.flushes(slot, worker, steps);
        }
        let acknowledged = self.acknowledged(state, slot);
        if acknowledged != 0 {
            steps.push(Step::Clear(slot));
        }
        if self.bounds.leaves && acknowledged == worker.todo {
            steps.push(Step::Leave(slot));
        }
    }

    fn owns(&self, state: &State, slot: usize, shard: usize) -> bool {
        state.head.owner[shard] == state.workers[slot].id
    }

    fn acknowledged(&self, state: &State, slot: usize) -> Packs {
        let worker = &state.workers[slot];
        if self.broken == Broken::ClearBeforePublish { worker.todo } else { worker.todo & state.visible }
    }

    /// One flush covers what was read: anything of at least one shard.
    fn flushes(&self, slot: usize, worker: &Worker, steps: &mut Vec<Step>) {
        let ends = |shard: usize| {
            let from = worker.read[shard];
            if from == NOT_READ { 0..=0 } else { from..=self.bounds.records }
        };
        for first in ends(0) {
            for second in ends(1) {
                let from = worker.read.map(|from| if from == NOT_READ { 0 } else { from });
                if [first, second] != from {
                    steps.push(Step::Stage(slot, [first, second]));
                }
            }
        }
    }

    /// Packs of others that are under `staged/` and not in the head.
    fn orphans_for(&self, state: &State, slot: usize) -> Packs {
        state.stored & !state.head.listed() & !packs_of(state.workers[slot].id)
    }

    fn change(&self, head: &Snapshot, me: Id, change: Change) -> Result<Snapshot, Refused> {
        if let Some(changes) = &self.changes {
            changes.lock().unwrap().insert((*head, me, change));
        }
        change::change(head, me, change, self.bounds.records, self.broken)
    }

    pub fn take(&self, state: &mut State, step: Step) {
        match step {
            Step::Claim(slot, dead, take) => {
                if state.workers.iter().any(|other| other.lives() && dead & (1 << other.id) != 0) {
                    state.doubts -= 1;
                    self.saw(Event::Doubt);
                }
                let had = state.head.listed_by(state.workers[slot].id);
                self.attempt(state, slot, Change::Claim { dead, take, had });
            }
            Step::Stage(slot, to) => self.stage(state, slot, to),
            Step::Clear(slot) => self.attempt(state, slot, Change::Clear { published: self.acknowledged(state, slot) }),
            Step::Leave(slot) => self.attempt(state, slot, Change::Leave { published: self.acknowledged(state, slot) }),
            Step::Land(slot) => self.land(state, slot),
            Step::List(slot) => state.workers[slot].attempt.as_mut().expect("it attempts something").listed = true,
            Step::Resolve(slot, answered) => self.resolve(state, slot, answered),
            Step::ListStaged(slot) => {
                let mut seen = state.stored & !packs_of(state.workers[slot].id);
                if self.broken == Broken::HeadBeforeList {
                    seen = self.deletable(state, !0);
                }
                state.workers[slot].sweep = Some(seen);
            }
            Step::Sweep(slot) => {
                let seen = state.workers[slot].sweep.take().expect("it has listed");
                let orphans = if self.broken == Broken::HeadBeforeList {
                    seen & state.stored
                } else {
                    self.deletable(state, seen)
                };
                if orphans != 0 {
                    self.saw(Event::Swept);
                }
                self.delete(state, orphans);
            }
            Step::Crash(slot) => {
                state.crashes -= 1;
                self.end(state, slot);
            }
            Step::LandStray(n) => {
                let snapshot = state.strays[n].take().expect("it is under way");
                self.saw(Event::LateCreate);
                self.apply(state, snapshot);
            }
            Step::LandPut(pack) => {
                state.puts &= !bit(pack);
                state.stored |= bit(pack);
                self.saw(Event::LatePut);
            }
            Step::LandObjects(pack) => self.show(state, pack),
            Step::LandDelete(pack) => {
                state.deletes &= !bit(pack);
                state.stored &= !bit(pack);
            }
        }
        if state.head.listed() & !state.stored != 0 {
            broke(state, Rule::PackExists);
        }
    }

    fn stage(&self, state: &mut State, slot: usize, to: Shards) {
        let published = self.acknowledged(state, slot);
        let worker = &mut state.workers[slot];
        let pack = pack_of(worker.id, worker.flushes);
        let from = worker.read.map(|from| if from == NOT_READ { 0 } else { from });
        worker.flushes += 1;
        let rows = rows_between(from, to);
        if state.rows[pack] != 0 && state.rows[pack] != rows {
            broke(state, Rule::OneContent);
        }
        state.rows[pack] = rows;
        state.stored |= bit(pack);
        if self.bounds.late {
            state.puts |= bit(pack);
        }
        if self.broken == Broken::PublishBeforeCommit {
            state.objects |= bit(pack);
        }
        self.attempt(state, slot, Change::Commit { pack, from, to, published });
    }

    fn show(&self, state: &mut State, pack: Pack) {
        state.objects &= !bit(pack);
        let zombie = |worker: &Worker| worker.todo & bit(pack) != 0 && !state.head.is_member(worker.id);
        if state.workers.iter().any(zombie) {
            self.saw(Event::ZombiePublishes);
        }
        if state.ever & bit(pack) == 0 {
            broke(state, Rule::VisibleAfterListed);
        } else if state.visible & bit(pack) == 0 && state.shown & state.rows[pack] != 0 {
            broke(state, Rule::OnePack);
        }
        state.visible |= bit(pack);
        state.shown |= state.rows[pack];
    }

    /// Packs that the head shows to be of no use to anybody.
    fn deletable(&self, state: &State, packs: Packs) -> Packs {
        let gone = |pack: &Pack| !state.head.is_member(worker_of(*pack));
        each(packs & !state.head.listed()).filter(gone).map(bit).sum()
    }

    fn delete(&self, state: &mut State, packs: Packs) {
        if self.bounds.late {
            state.deletes |= packs & (state.stored | state.puts);
        } else {
            state.stored &= !packs;
        }
    }

    /// Deletes the worker's own, but none that the head lists.
    fn delete_unlisted(&self, state: &mut State, packs: Packs) {
        let listed = if self.broken == Broken::DeleteListed { 0 } else { state.head.listed() };
        self.delete(state, packs & !listed);
    }

    /// Makes the next snapshot from the head and sends its create.
    fn attempt(&self, state: &mut State, slot: usize, change: Change) {
        let me = state.workers[slot].id;
        match self.change(&state.head, me, change) {
            Err(Refused::NotAMember) => self.fenced(state, slot, change),
            Err(Refused::Nothing) => self.done(state, slot, change),
            Err(Refused::NotOwner | Refused::Moved) => broke(state, Rule::NeverRefused),
            Ok(mut next) => {
                next.number = state.head.number + 1;
                let again = state.workers[slot].attempt.filter(|last| last.number == next.number);
                let seq = again.map_or(4 * next.number, |last| last.seq + 1);
                next.attempt = (me, seq);
                if next.is_member(me) {
                    next.seq[me as usize] = seq;
                }
                let number = next.number;
                let flying = Some(next);
                let attempt =
                    Attempt { change, number, seq, flying, unsent: true, created: false, listed: false, real: false };
                state.workers[slot].attempt = Some(attempt);
            }
        }
    }

    /// A worker's create reaches the store, however late: below the head it may be there again, where collection was.
    fn land(&self, state: &mut State, slot: usize) {
        let attempt = state.workers[slot].attempt.as_mut().expect("it attempts something");
        attempt.unsent = false;
        let number = attempt.number;
        if number <= state.head.number {
            attempt.created = number + KEPT <= state.head.number;
            if attempt.created {
                self.saw(Event::CreatedBelow);
            }
        } else {
            attempt.created = true;
            attempt.real = true;
            let snapshot = attempt.flying.take().expect("it can still land");
            self.apply(state, snapshot);
        }
    }

    fn apply(&self, state: &mut State, next: Snapshot) {
        let new = next.listed() & !state.head.listed();
        match change::judge(state, &next) {
            Ok(rows) => state.committed |= rows,
            Err(rule) => broke(state, rule),
        }
        if next.listed() & state.head.listed() != 0 {
            let adopted = |pack: &Pack| next.publisher[*pack] != state.head.publisher[*pack];
            if each(next.listed() & state.head.listed()).any(|pack| adopted(&pack)) {
                self.saw(Event::Takeover);
            }
        }
        state.ever |= new;
        state.head = next;
    }

    fn resolve(&self, state: &mut State, slot: usize, answered: bool) {
        let worker = &state.workers[slot];
        let (me, attempt) = (worker.id, worker.attempt.expect("it attempts something"));
        let (head, number) = (&state.head, attempt.number);
        let leaves = matches!(attempt.change, Change::Leave { .. });
        if head.number < number {
            // Only without the rule of the same bytes.
            state.workers[slot].attempt.as_mut().expect("it is still there").unsent = false;
            if let Some(flying) = attempt.flying {
                *state.strays.iter_mut().find(|stray| stray.is_none()).expect("one attempt strays") = Some(flying);
            }
            self.attempt(state, slot, attempt.change);
            return;
        }
        let done = if attempt.listed && attempt.created && number + KEPT <= head.number {
            // What was listed is collected, and what it gets instead is its own late create.
            true
        } else if answered && (head.number == number || self.broken == Broken::TrustCreated) {
            true
        } else if head.number == number {
            head.attempt == (me, attempt.seq) && self.broken != Broken::NoAttemptIds
        } else if head.is_member(me) {
            head.seq[me as usize] >= attempt.seq && self.broken != Broken::NoSeq
        } else {
            leaves
        };
        if attempt.real && !done && head.is_member(me) {
            broke(state, Rule::Belief);
            return;
        }
        if attempt.created && !attempt.real && !done {
            self.saw(Event::CreatedBelowRefused);
        }
        state.workers[slot].attempt = None;
        if done {
            if !attempt.real && !leaves {
                broke(state, Rule::Belief);
            }
            self.done(state, slot, attempt.change);
        } else {
            self.saw(Event::LostRace);
            self.attempt(state, slot, attempt.change);
        }
    }

    /// The change is in the log, or needs not be.
    fn done(&self, state: &mut State, slot: usize, change: Change) {
        let head = state.head;
        let records = self.bounds.records;
        let worker = &mut state.workers[slot];
        match change {
            Change::Register => worker.phase = Phase::Member,
            Change::Claim { had, .. } => {
                worker.todo |= head.listed_by(worker.id) & !had;
                for shard in 0..SHARDS {
                    if head.owner[shard] == worker.id && worker.read[shard] == NOT_READ {
                        worker.read[shard] = head.position[shard];
                    }
                }
            }
            Change::Commit { pack, to, from, published } => {
                for shard in (0..SHARDS).filter(|shard| from[*shard] != to[*shard]) {
                    worker.read[shard] = if to[shard] == records { NOT_READ } else { to[shard] };
                }
                worker.todo = worker.todo & !published | bit(pack);
                self.delete_unlisted(state, published);
            }
            Change::Clear { published } => {
                worker.todo &= !published;
                self.delete_unlisted(state, published);
            }
            Change::Leave { published } => {
                state.workers[slot] = Worker::new(NOBODY);
                self.saw(Event::Left);
                self.delete_unlisted(state, published);
            }
        }
        // To publish later, or never because it ends before, is to have puts that land late, or never.
        state.objects |= state.workers[slot].todo & !state.visible;
    }

    fn fenced(&self, state: &mut State, slot: usize, change: Change) {
        self.saw(Event::Fenced);
        if let (Change::Commit { pack, .. }, Broken::DeleteWhenFenced) = (change, self.broken) {
            self.delete(state, bit(pack));
        }
        if matches!(change, Change::Leave { .. }) {
            state.workers[slot] = Worker::new(NOBODY);
            return;
        }
        self.end(state, slot);
    }

    /// A life ends, and another begins in its slot.
    fn end(&self, state: &mut State, slot: usize) {
        let worker = state.workers[slot];
        // There is room for one of each crash, and who is fenced waits for none.
        let free = state.strays.iter_mut().find(|stray| stray.is_none());
        if let (Some(flying), Some(stray)) = (worker.attempt.and_then(|attempt| attempt.flying), free) {
            *stray = Some(flying);
        }
        state.workers[slot] = Worker::new(NOBODY);
        if state.lives > 0 {
            state.lives -= 1;
            let used = state.ids();
            let fresh = (0..).find(|id| used & (1 << id) == 0).expect("there are fewer lives than ids");
            let id = if self.broken == Broken::ReuseWorkerId { worker.id } else { fresh };
            self.begin(state, slot, id);
        }
    }

    /// A life begins: its first request is the create that registers it.
    pub fn begin(&self, state: &mut State, slot: usize, id: Id) {
        state.workers[slot] = Worker::new(id);
        self.attempt(state, slot, Change::Register);
    }
}

pub fn broke(state: &mut State, rule: Rule) {
    state.broken.get_or_insert(rule);
}
