//! Rules of the protocol that can be broken on purpose, to show that the simulation notices.
//!
//! Only with the feature `broken`, which the tests of this crate alone turn on; without it `is_broken` is `false` for
//! the compiler, and nothing of this is in a binary.

/// A rule that is broken, for the thread that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// A commit is applied whoever owns the shards, member or not.
    SkipOwnerCheck,
    /// Objects are put at their final keys before the flush is committed.
    PublishBeforeCommit,
    /// A pack is dropped from the state before its objects are acknowledged.
    ClearBeforePublish,
    /// A create without an answer is taken for one that did not happen.
    IgnoreLostAnswer,
    /// "Created" is believed without a look at the listing.
    TrustCreated,
    /// Packs that a head from before the listing of packs does not know are deleted.
    SweepByAnOldHead,
    /// The packs that a dead worker left are not adopted.
    ForgetPacks,
}

#[cfg(feature = "broken")]
mod state {
    use std::cell::Cell;

    use super::Broken;

    thread_local! {
        static BROKEN: Cell<Option<Broken>> = const { Cell::new(None) };
    }

    /// Breaks a rule, or none, for everything that this thread does from now on.
    pub fn break_rule(rule: Option<Broken>) {
        BROKEN.set(rule);
    }

    pub fn is_broken(rule: Broken) -> bool {
        BROKEN.get() == Some(rule)
    }
}

#[cfg(not(feature = "broken"))]
mod state {
    use super::Broken;

    pub const fn is_broken(_: Broken) -> bool {
        false
    }
}

#[cfg(feature = "broken")]
pub use state::break_rule;
pub(crate) use state::is_broken;
