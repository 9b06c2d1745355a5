//! The invariants of docs/protocol.md, as properties of every state.

use stateright::{Model, Property};

use super::state::rows_between;
use super::state::{
    FLUSHES, HEAD, IDS, Id, NOBODY, NOT_READ, PACKS, Rule, SHARDS, SLOTS, Snapshot, State, Worker, each, worker_of,
};
use super::steps::Step;
use super::{Bounds, Protocol, reduce};

pub const LEGAL: &str = "1: the log has no gap, and each snapshot is a legal change of the one before";
pub const POSITIONS: &str = "2: positions only grow, and are moved by their owner, a member";
pub const ONE_CONTENT: &str = "3: no key is written with two contents";
pub const PACK_EXISTS: &str = "4: every pack that the head lists is there";
pub const VISIBLE_AFTER_LISTED: &str = "5: an object is visible only if a snapshot listed its pack";
pub const ONE_PACK: &str = "6: each record is in one pack of all that were ever listed";
pub const CLEARED_AFTER_VISIBLE: &str = "7: a pack leaves the list only when its objects are visible";
pub const BELIEF: &str = "8: a worker believes in what is in the log, all of it and no more";
pub const COMPLETE: &str = "9: when nobody has anything left to do, each record is visible, once, and nothing is left";
pub const NEVER_REFUSED: &str = "no commit of a member is refused";

impl Model for Protocol {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let head = Snapshot {
            number: HEAD,
            attempt: (NOBODY, 0),
            position: [0; SHARDS],
            owner: [NOBODY; SHARDS],
            members: 0,
            seq: [0; IDS],
            publisher: [NOBODY; PACKS],
        };
        let Bounds { crashes, doubts, lives, .. } = self.bounds;
        let mut state = State {
            head,
            strays: [None; 2],
            workers: [Worker::new(NOBODY); SLOTS],
            rows: [0; PACKS],
            stored: 0,
            puts: 0,
            deletes: 0,
            ever: 0,
            visible: 0,
            objects: 0,
            committed: 0,
            shown: 0,
            crashes,
            doubts,
            lives,
            broken: None,
        };
        for slot in 0..SLOTS {
            self.begin(&mut state, slot, slot as Id);
        }
        vec![state]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        self.steps(state, steps);
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = *state;
        self.take(&mut next, step);
        reduce::forget(&mut next, self.broken);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        macro_rules! never {
            ($rule:ident, $name:ident) => {
                Property::<Self>::always($name, |_, state| state.broken != Some(Rule::$rule))
            };
        }
        vec![
            never!(Legal, LEGAL),
            never!(Positions, POSITIONS),
            never!(OneContent, ONE_CONTENT),
            never!(PackExists, PACK_EXISTS),
            never!(VisibleAfterListed, VISIBLE_AFTER_LISTED),
            never!(OnePack, ONE_PACK),
            never!(ClearedAfterVisible, CLEARED_AFTER_VISIBLE),
            never!(Belief, BELIEF),
            never!(NeverRefused, NEVER_REFUSED),
            Property::always(COMPLETE, |protocol: &Self, state| !protocol.rests(state) || protocol.complete(state)),
        ]
    }
}

impl Protocol {
    /// Somebody lives, and nobody has anything to do: what may still happen is a crash, a doubt, a leaving, or a late
    /// request. Requests that never land are those that have not landed in such a state.
    fn rests(&self, state: &State) -> bool {
        let living = || (0..SLOTS).filter(|slot| state.workers[*slot].lives());
        let undoubted = State { doubts: 0, crashes: 0, ..*state };
        let calm = Protocol {
            bounds: Bounds { leaves: false, sweeps: false, ..self.bounds },
            broken: self.broken,
            events: self.events.clone(),
            changes: None,
        };
        let rests = |slot: usize| {
            let worker = &state.workers[slot];
            let mut steps = Vec::new();
            calm.steps_of(&undoubted, slot, &mut steps);
            // With records left and no flush for them, it has come to the end of the model, not of its work.
            let stopped = worker.flushes as usize == FLUSHES && worker.read != [NOT_READ; SHARDS];
            !stopped
                && worker.attempt.is_none()
                && worker.sweep.is_none()
                && worker.todo & state.objects == 0
                && steps.is_empty()
        };
        state.broken.is_none() && living().next().is_some() && living().all(rests) && !self.sweepable(state)
    }

    fn sweepable(&self, state: &State) -> bool {
        let mut orphans = each(state.stored & !state.head.listed() & !state.deletes);
        self.bounds.sweeps && orphans.any(|pack| !state.head.is_member(worker_of(pack)))
    }

    fn complete(&self, state: &State) -> bool {
        let all = rows_between([0; SHARDS], [self.bounds.records; SHARDS]);
        // A copy of a put that lands late may leave a pack of a living worker behind, until that is gone.
        let clean = !self.bounds.sweeps || self.bounds.late || state.stored == 0;
        state.committed == all && state.shown == all && state.head.listed() == 0 && clean
    }
}
