//! Histories that are worth keeping as they are.

use stateright::Model;

use super::state::Rule;
use super::steps::Step::{self, Claim, Clear, Land, LandObjects, List, Resolve, Stage};
use super::{Broken, Protocol, SMALL, goes_wrong, rules};

/// What `worker` 1 does to `worker` 0, whose commit is under way: puts it out, commits the same records, publishes and
/// clears them, so that the number which both wanted is collected.
const OVERTAKEN: [Step; 17] = [
    Land(0),
    Resolve(0, true),
    Claim(0, 0, [true; 2]),
    Land(0),
    Resolve(0, true),
    Resolve(1, false),
    Land(1),
    Resolve(1, true),
    Stage(0, [1, 1]),
    Claim(1, 0b01, [true; 2]),
    Land(1),
    Resolve(1, true),
    List(0),
    Stage(1, [1, 1]),
    Land(1),
    Resolve(1, true),
    LandObjects(2),
];

fn after(protocol: &Protocol, steps: impl IntoIterator<Item = Step>) -> super::State {
    let mut state = protocol.init_states().remove(0);
    for step in steps {
        let mut possible = Vec::new();
        protocol.actions(&state, &mut possible);
        assert!(possible.contains(&step), "{step:?} can't happen in {state:?}: {possible:?}");
        state = protocol.next_state(&state, step).unwrap();
    }
    state
}

/// The head is read by a list and a get. Between the two, the number listed may be collected, and created again by a
/// request of the reader's own that lands late: what it got was its own attempt, and it believed a commit that was never
/// made. So the get is on the condition of the ETag that was listed, which makes the two one.
#[test]
fn a_reader_that_sleeps_until_what_it_listed_is_collected_may_get_its_own_late_create() {
    let protocol = Protocol::new(SMALL, Broken::SlowRead);
    let state = after(&protocol, OVERTAKEN.into_iter().chain([Clear(1), Land(1), Land(0), Resolve(0, false)]));
    assert_eq!(state.broken, Some(Rule::Belief), "{state:?}");
    goes_wrong(Broken::SlowRead, SMALL, rules::BELIEF);
}

/// The same, read at once: the worker finds itself fenced.
#[test]
fn its_own_late_create_below_the_head_deceives_nobody_who_reads_the_head() {
    let protocol = Protocol::new(SMALL, Broken::None);
    let steps = OVERTAKEN.into_iter().filter(|step| *step != List(0));
    let state = after(&protocol, steps.chain([Clear(1), Land(1), Land(0), Resolve(0, true)]));
    assert_eq!(state.broken, None, "{state:?}");
    assert_ne!(state.workers[0].id, 0, "a new life has begun");
}
