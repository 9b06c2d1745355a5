//! What the model remembers: the store, what is under way to it, and two workers.
//!
//! Everything is small, plain and copied: millions of these are made, by unoptimised test code.

use std::fmt;

pub const SLOTS: usize = 2;
pub const SHARDS: usize = 2;
/// Worker ids that may be told apart at one time: the living, and the dead that have left something behind.
pub const IDS: usize = 5;
/// Flushes of one life: each moves at least one shard by at least one record.
pub const FLUSHES: usize = 2;
pub const PACKS: usize = IDS * FLUSHES;
/// Bits kept for the records of one shard in a mask of rows.
pub const ROWS: usize = 2;
/// Snapshots that collection leaves: the head and the one below it.
pub const KEPT: u8 = 2;
/// The number that the head has in the normal form, where only the distance to it matters.
pub const HEAD: u8 = 8;

/// One life of a worker. A slot whose life ends begins another under a new id.
pub type Id = u8;
pub const NOBODY: Id = u8::MAX;
/// Index of a pack: `id * FLUSHES + flush`.
pub type Pack = usize;
/// Packs, by index.
pub type Packs = u16;
/// Records: bit `shard * ROWS + record`.
pub type Rows = u8;
/// Shards, by index.
pub type Shards = [u8; SHARDS];

pub fn bit(pack: Pack) -> Packs {
    1 << pack
}

pub fn each(packs: Packs) -> Each {
    Each(packs)
}

/// The packs of a mask, one by one.
#[derive(Debug)]
pub struct Each(Packs);

impl Iterator for Each {
    type Item = Pack;

    fn next(&mut self) -> Option<Pack> {
        if self.0 == 0 {
            return None;
        }
        let pack = self.0.trailing_zeros() as Pack;
        self.0 &= self.0 - 1;
        Some(pack)
    }
}

pub fn worker_of(pack: Pack) -> Id {
    (pack / FLUSHES) as Id
}

/// Packs that a life may have staged.
pub fn packs_of(id: Id) -> Packs {
    ((1 << FLUSHES) - 1) << (id as usize * FLUSHES)
}

/// The rows between two sets of positions.
pub fn rows_between(from: Shards, to: Shards) -> Rows {
    let shard = |n: usize| ((1u8 << to[n]) - 1) & !((1u8 << from[n]) - 1);
    shard(0) | shard(1) << ROWS
}

/// The shared state, as one snapshot has it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Snapshot {
    pub number: u8,
    /// Who wrote it, as which attempt.
    pub attempt: (Id, u8),
    pub position: Shards,
    pub owner: [Id; SHARDS],
    /// Members, as bits.
    pub members: u8,
    /// The last attempt of each member.
    pub seq: [u8; IDS],
    /// The publisher of each pack that is listed.
    pub publisher: [Id; PACKS],
}

impl Snapshot {
    pub fn is_member(&self, id: Id) -> bool {
        id != NOBODY && self.members & (1 << id) != 0
    }

    fn ids(&self) -> u8 {
        let mut ids = self.members | bit_of(self.attempt.0);
        for id in self.owner.iter().chain(&self.publisher) {
            ids |= bit_of(*id);
        }
        ids
    }

    pub fn listed(&self) -> Packs {
        self.having(|publisher| publisher != NOBODY)
    }

    pub fn listed_by(&self, publisher: Id) -> Packs {
        self.having(|its| its == publisher)
    }

    fn having(&self, publisher: impl Fn(Id) -> bool) -> Packs {
        let mut packs = 0;
        for (pack, its) in self.publisher.iter().enumerate() {
            packs |= Packs::from(publisher(*its)) << pack;
        }
        packs
    }
}

/// A transition that a worker wants, to be applied to whatever the head is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Change {
    Register,
    /// `take`: any of the shards that are free; how many are fair is not of the model. `had`: the packs that were this
    /// worker's to publish before.
    Claim {
        dead: u8,
        take: [bool; SHARDS],
        had: Packs,
    },
    Commit {
        pack: Pack,
        from: Shards,
        to: Shards,
        published: Packs,
    },
    Clear {
        published: Packs,
    },
    Leave {
        published: Packs,
    },
}

/// An attempt to make a transition, whose fate its worker does not know yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attempt {
    pub change: Change,
    pub number: u8,
    pub seq: u8,
    /// The request, while it may still land; nothing once it can't change the log any more.
    pub flying: Option<Snapshot>,
    /// The request has not reached the store.
    pub unsent: bool,
    /// It was answered "created".
    pub created: bool,
    /// Its number was listed as the highest, but not yet got: only where that is two requests.
    pub listed: bool,
    /// It is in the log. The worker does not know that: the rules do.
    pub real: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Phase {
    /// Not registered yet.
    New,
    /// A member, as far as it knows.
    Member,
    /// No process, and none to come.
    Off,
}

pub const NOT_READ: u8 = u8::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Worker {
    pub phase: Phase,
    pub id: Id,
    /// For each shard that it believes to own: where its next flush begins.
    pub read: Shards,
    pub flushes: u8,
    /// Committed packs that it has to publish.
    pub todo: Packs,
    pub attempt: Option<Attempt>,
    /// What it saw under `staged/`, before it looks at the head to see which of it can go.
    pub sweep: Option<Packs>,
}

impl Worker {
    pub fn new(id: Id) -> Self {
        let phase = if id == NOBODY { Phase::Off } else { Phase::New };
        let read = [NOT_READ; SHARDS];
        Self { phase, id, read, flushes: 0, todo: 0, attempt: None, sweep: None }
    }

    pub fn lives(&self) -> bool {
        self.phase != Phase::Off
    }
}

/// A rule that was broken on the way: the invariants of docs/protocol.md, by number, and one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Rule {
    /// 1.
    Legal,
    /// 2.
    Positions,
    /// 3. Numbers of snapshots that were collected are excepted: see [`super::steps`].
    OneContent,
    /// 4.
    PackExists,
    /// 5.
    VisibleAfterListed,
    /// 6.
    OnePack,
    /// 7.
    ClearedAfterVisible,
    /// 8, both ways: nothing believed that is not in the log, nothing given up that is.
    Belief,
    /// A member owns what it believes to own, and nobody else moves it.
    NeverRefused,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct State {
    pub head: Snapshot,
    /// Creates of lives that ended, which may still land.
    pub strays: [Option<Snapshot>; 2],
    pub workers: [Worker; SLOTS],
    /// What each pack holds; 0 for those that are not there and never will be again.
    pub rows: [Rows; PACKS],
    /// Under `staged/`.
    pub stored: Packs,
    /// Puts of packs that may still land.
    pub puts: Packs,
    /// Deletes of packs that may still land.
    pub deletes: Packs,
    /// Listed by any snapshot so far.
    pub ever: Packs,
    /// Their objects are at their final keys.
    pub visible: Packs,
    /// Puts of objects that may still land.
    pub objects: Packs,
    /// Rows in packs that were ever listed, and rows that are visible.
    pub committed: Rows,
    pub shown: Rows,
    /// How often each may still happen: a crash, taking a living worker for dead, a new life in place of one that
    /// ended.
    pub crashes: u8,
    pub doubts: u8,
    pub lives: u8,
    pub broken: Option<Rule>,
}

impl State {
    /// Worker ids, as bits, that anything still names.
    pub fn ids(&self) -> u8 {
        let mut ids = self.head.ids();
        for worker in &self.workers {
            ids |= bit_of(worker.id);
            if let Some(attempt) = &worker.attempt {
                ids |= attempt.flying.map_or(0, |next| next.ids());
                ids |= if let Change::Claim { dead, .. } = attempt.change { dead } else { 0 };
            }
        }
        for stray in self.strays.iter().flatten() {
            ids |= stray.ids();
        }
        for (pack, rows) in self.rows.iter().enumerate() {
            ids |= if *rows == 0 { 0 } else { bit_of(worker_of(pack)) };
        }
        ids
    }
}

fn bit_of(id: Id) -> u8 {
    if id == NOBODY { 0 } else { 1 << id }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packs: Vec<_> = each(self.listed()).map(|pack| (pack, self.publisher[pack])).collect();
        let members: Vec<_> = (0..IDS).filter(|id| self.is_member(*id as Id)).map(|id| (id, self.seq[id])).collect();
        write!(f, "#{} by {:?}: at {:?}", self.number, self.attempt, self.position)?;
        write!(f, " of {:?}, members {members:?}, packs {packs:?}", self.owner)
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let staged: Vec<_> = each(self.stored).collect();
        let visible: Vec<_> = each(self.visible).collect();
        write!(f, "{:?}, staged {staged:?}, visible {visible:?}", self.head)?;
        self.broken.map_or(Ok(()), |rule| write!(f, ", broken: {rule:?}"))
    }
}
