//! The simulation notices when a rule of the protocol is broken: each of these has to fail within so many histories.

use firemain::broken::{Broken, break_rule};

use super::history;

/// Histories that it may take.
const SEEDS: u64 = 1000;

/// Breaks a rule and says what the first history to fail says, which goes well with the rule.
fn caught(rule: Option<Broken>, same_ids: bool) -> String {
    break_rule(rule);
    let failure = (0..SEEDS).find_map(|seed| Some((seed, history::run_with(seed, same_ids).err()?)));
    break_rule(None);
    let (seed, failure) = failure.unwrap_or_else(|| panic!("{SEEDS} histories went well with {rule:?}"));
    println!("{rule:?}, history {seed}: {failure}");
    assert_eq!(history::run(seed).err(), None, "it is not for the rule that it fails");
    failure
}

#[test]
fn skipping_the_owner_check_is_caught() {
    caught(Some(Broken::SkipOwnerCheck), false);
}

#[test]
fn publishing_before_the_commit_is_caught() {
    assert!(caught(Some(Broken::PublishBeforeCommit), false).contains(": 5: "));
}

#[test]
fn clearing_before_publishing_is_caught() {
    assert!(caught(Some(Broken::ClearBeforePublish), false).contains(": 7: "));
}

#[test]
fn ignoring_a_lost_answer_is_caught() {
    caught(Some(Broken::IgnoreLostAnswer), false);
}

#[test]
fn using_a_workers_id_again_is_caught() {
    caught(None, true);
}

#[test]
fn believing_created_is_caught() {
    caught(Some(Broken::TrustCreated), false);
}

#[test]
fn sweeping_by_an_old_head_is_caught() {
    caught(Some(Broken::SweepByAnOldHead), false);
}

#[test]
fn forgetting_the_packs_of_the_dead_is_caught() {
    assert!(caught(Some(Broken::ForgetPacks), false).contains(": 9: "));
}
