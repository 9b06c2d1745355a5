//! A model of the commit protocol, explored exhaustively: two workers, two shards, two crashes, and requests that land
//! late or never.
//!
//! It follows docs/protocol.md and knows nothing of bytes, clocks and HTTP. That its changes of the shared state are
//! those of the code is a test of its own, in [`code`]; that the code makes its requests in this order is what the
//! simulation in tests/sim shows. Each rule of the protocol that can be left out is left out once, to
//! see that the model can fail.
//!
//! `MODEL_TRACE=1 cargo test --test model -- --nocapture` prints how each of those goes wrong.

mod change;
mod code;
mod reduce;
mod rules;
mod state;
mod steps;
mod traces;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use state::State;

/// How far an exploration goes.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Records of each shard, after which it ends.
    pub records: u8,
    pub crashes: u8,
    /// How often a living worker may be taken for dead.
    pub doubts: u8,
    /// Lives that begin after the first two, in place of those that crashed or were fenced.
    pub lives: u8,
    /// Puts of packs come twice, the second copy late or never; deletes of packs come late or never.
    pub late: bool,
    /// Workers sweep `staged/`.
    pub sweeps: bool,
    /// Workers may leave in good order.
    pub leaves: bool,
}

const TWO_CRASHES: Bounds =
    Bounds { records: 1, crashes: 2, doubts: 1, lives: 2, late: false, sweeps: false, leaves: false };
/// One crash, to which each of the other kinds of step is added.
const ONE_CRASH: Bounds = Bounds { crashes: 1, lives: 1, ..TWO_CRASHES };
/// Enough for each broken variant to go wrong.
const SMALL: Bounds = Bounds { sweeps: true, leaves: true, ..ONE_CRASH };

/// The protocol as it is, or without one of its rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    None,
    TrustCreated,
    OtherBytesForUnknown,
    NoAttemptIds,
    NoSeq,
    UncheckedCommit,
    PublishBeforeCommit,
    ClearBeforePublish,
    ReuseWorkerId,
    HeadBeforeList,
    DeleteListed,
    DeleteWhenFenced,
    NoAdoption,
    SlowRead,
}

/// What is worth knowing that it happened at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A living worker was taken for dead.
    Doubt,
    /// A worker found that it is no member any more.
    Fenced,
    /// Another worker's snapshot took the number.
    LostRace,
    /// A pack got another publisher.
    Takeover,
    /// The create of a dead worker landed, and was next.
    LateCreate,
    /// A collected number was created again, below the head, and answered "created".
    CreatedBelow,
    /// ... and its worker did not believe it.
    CreatedBelowRefused,
    /// A worker that is no member put an object.
    ZombiePublishes,
    Left,
    /// A pack was there again after it was deleted.
    LatePut,
    /// A sweep deleted something.
    Swept,
}

const EVENTS: [Event; 11] = [
    Event::Doubt,
    Event::Fenced,
    Event::LostRace,
    Event::Takeover,
    Event::LateCreate,
    Event::CreatedBelow,
    Event::CreatedBelowRefused,
    Event::ZombiePublishes,
    Event::Left,
    Event::LatePut,
    Event::Swept,
];

/// What is explored.
#[derive(Debug)]
pub struct Protocol {
    pub bounds: Bounds,
    pub broken: Broken,
    /// Counted beside the states: part of them, it would tell apart what has the same future.
    events: Arc<[AtomicUsize; EVENTS.len()]>,
    changes: code::Changes,
}

impl Protocol {
    fn new(bounds: Bounds, broken: Broken) -> Self {
        Self { bounds, broken, events: Arc::default(), changes: None }
    }

    fn saw(&self, event: Event) {
        self.events[event as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// Explores all of it, up to symmetry; returns the number of states and what was seen on the way.
fn explore(bounds: Bounds) -> (usize, Vec<Event>) {
    let began = Instant::now();
    let protocol = Protocol::new(bounds, Broken::None);
    let events = Arc::clone(&protocol.events);
    let checker = protocol.checker().finish_when(HasDiscoveries::AnyFailures);
    let checker = checker.symmetry_fn(reduce::representative).spawn_dfs().join();
    let seen = EVENTS.map(|event| (event, events[event as usize].load(Ordering::Relaxed)));
    let (states, steps, depth) = (checker.unique_state_count(), checker.state_count(), checker.max_depth());
    println!("{bounds:?}: {states} states, {steps} steps, depth {depth}, {:.1?}; {seen:?}", began.elapsed());
    assert!(checker.is_done(), "it was not explored to its end");
    if let Some((name, path)) = checker.discoveries().into_iter().next() {
        panic!("{name}:\n{}", trace(path.into_vec()));
    }
    (states, seen.into_iter().filter(|(_, times)| *times > 0).map(|(event, _)| event).collect())
}

/// Asserts that a rule is broken; the history found is a shortest one.
fn goes_wrong(broken: Broken, bounds: Bounds, rule: &str) {
    let checker = Protocol::new(bounds, broken).checker().finish_when(HasDiscoveries::AnyFailures);
    let checker = checker.spawn_bfs().join();
    let mut found: Vec<_> = checker.discoveries().into_iter().collect();
    let (name, path) = found.pop().unwrap_or_else(|| panic!("nothing goes wrong with {broken:?}"));
    if std::env::var_os("MODEL_TRACE").is_some() {
        println!("{broken:?} breaks {name}:\n{}", trace(path.clone().into_vec()));
    }
    assert_eq!(name, rule, "{broken:?}:\n{}", trace(path.into_vec()));
}

fn trace(path: Vec<(State, Option<steps::Step>)>) -> String {
    let lines = path.into_iter().map(|(state, step)| match step {
        Some(step) => format!("  {state:?}\n{step:?}\n"),
        None => format!("  {state:?}\n"),
    });
    lines.collect()
}

#[test]
fn two_crashes_keep_every_rule() {
    let (states, seen) = explore(TWO_CRASHES);
    assert!(states > 1_500_000, "only {states} states: the model has lost steps");
    let beyond = [Event::Left, Event::LatePut, Event::Swept];
    for event in EVENTS.into_iter().filter(|event| !beyond.contains(event)) {
        assert!(seen.contains(&event), "{event:?} never happened");
    }
}

#[test]
fn puts_and_deletes_of_packs_that_land_late_keep_every_rule() {
    let (states, seen) = explore(Bounds { late: true, ..ONE_CRASH });
    assert!(states > 200_000, "only {states} states: the model has lost steps");
    assert!(seen.contains(&Event::LatePut));
}

#[test]
fn sweeps_keep_every_rule() {
    let (states, seen) = explore(Bounds { sweeps: true, ..ONE_CRASH });
    assert!(states > 500_000, "only {states} states: the model has lost steps");
    assert!(seen.contains(&Event::Swept));
}

#[test]
fn leaving_keeps_every_rule() {
    let (states, seen) = explore(Bounds { leaves: true, ..ONE_CRASH });
    assert!(states > 200_000, "only {states} states: the model has lost steps");
    assert!(seen.contains(&Event::Left));
}

/// Minutes and gigabytes: `cargo test --release --test model -- --ignored --nocapture`.
#[test]
#[ignore = "takes minutes and gigabytes, even when optimised"]
fn larger_bounds_keep_every_rule() {
    explore(Bounds { late: true, leaves: true, ..TWO_CRASHES });
    explore(Bounds { sweeps: true, ..TWO_CRASHES });
    explore(Bounds { lives: 3, doubts: 2, ..TWO_CRASHES });
    explore(Bounds { records: 2, ..ONE_CRASH });
}

#[test]
fn trusting_created_believes_a_collected_number_created_again() {
    goes_wrong(Broken::TrustCreated, SMALL, rules::BELIEF);
}

#[test]
fn other_bytes_while_the_first_are_under_way_take_the_own_commit_for_a_lost_race() {
    goes_wrong(Broken::OtherBytesForUnknown, SMALL, rules::NEVER_REFUSED);
}

#[test]
fn without_attempt_ids_a_lost_answer_is_a_lost_race() {
    goes_wrong(Broken::NoAttemptIds, SMALL, rules::BELIEF);
}

#[test]
fn without_seq_nobody_can_tell_past_the_next_number() {
    goes_wrong(Broken::NoSeq, SMALL, rules::BELIEF);
}

/// Membership, ownership and position each stand in for the others: only without all three does a zombie commit.
#[test]
fn a_commit_that_is_not_checked_is_made_by_a_zombie() {
    goes_wrong(Broken::UncheckedCommit, SMALL, rules::LEGAL);
}

#[test]
fn publishing_before_the_commit_shows_what_no_snapshot_listed() {
    goes_wrong(Broken::PublishBeforeCommit, SMALL, rules::VISIBLE_AFTER_LISTED);
}

#[test]
fn clearing_before_publishing_forgets_objects() {
    goes_wrong(Broken::ClearBeforePublish, SMALL, rules::CLEARED_AFTER_VISIBLE);
}

/// The create of the life before registers the new one, or commits in its name.
#[test]
fn a_worker_id_used_again_is_its_own_ghost() {
    goes_wrong(Broken::ReuseWorkerId, SMALL, rules::BELIEF);
}

/// A worker that registers, stages and commits after the head was read is not in it, but its pack is in the listing.
#[test]
fn sweeping_by_a_head_older_than_the_listing_deletes_what_is_committed() {
    goes_wrong(Broken::HeadBeforeList, SMALL, rules::PACK_EXISTS);
}

/// Who is put out while it leaves has published packs that its successor has adopted, and is about to read.
#[test]
fn deleting_what_the_head_lists_takes_it_from_the_successor() {
    goes_wrong(Broken::DeleteListed, SMALL, rules::PACK_EXISTS);
}

/// A worker may be put out after its commit was made and before it knew.
#[test]
fn a_fenced_worker_that_deletes_its_pack_may_delete_what_is_committed() {
    goes_wrong(Broken::DeleteWhenFenced, SMALL, rules::PACK_EXISTS);
}

#[test]
fn packs_of_the_dead_that_nobody_adopts_are_never_visible() {
    goes_wrong(Broken::NoAdoption, SMALL, rules::COMPLETE);
}
