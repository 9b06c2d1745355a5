//! Who lives: each worker rewrites an object of its own, the others watch whether it changes.
//!
//! This decides only when to try to take over, on this worker's own monotonic clock; being wrong costs work, never
//! correctness.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use object_store::ObjectMeta;
use object_store::path::Path;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::snapshot::WorkerId;
use super::storage::{Answer, Description, Storage};
use crate::retry::{GaveUp, Retry, Verdict};

/// The objects under `workers/`.
#[derive(Debug)]
pub struct Peers {
    storage: Storage,
    prefix: Path,
    me: WorkerId,
    about: About,
    counter: u64,
    lease: Duration,
    seen: BTreeMap<WorkerId, Seen>,
    /// Looks at the others, of those that are far enough apart for everybody to beat in between.
    rounds: u64,
    /// When the last one was made.
    round_made: Instant,
}

/// So many rounds without a change make a silence. After an outage, or a sleep of this process, and over a store on which
/// everything takes long, time alone says nothing: the others could not show a sign of life, or this one not see it.
const ROUNDS: u64 = 3;

/// What a heartbeat tells a person who looks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    pub host: String,
    pub pid: u32,
    pub version: String,
}

/// The content of such an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    pub worker: WorkerId,
    /// Heartbeats so far.
    pub counter: u64,
    #[serde(flatten)]
    pub about: About,
}

#[derive(Debug)]
struct Seen {
    /// Changes whenever the object is rewritten.
    mark: String,
    since: Instant,
    /// The round in which it was seen first.
    round: u64,
}

/// Why a worker can't announce itself.
#[derive(Debug, thiserror::Error)]
pub enum AnnounceError {
    #[error(
        "the store created {0} twice, though it was asked to create it only if it is absent: it ignores conditional \
         writes (If-None-Match), and exactly-once delivery rests on them; use Amazon S3, or a store that honours them"
    )]
    NoConditionalCreate(Path),
    #[error(transparent)]
    GaveUp(#[from] GaveUp),
}

impl Peers {
    /// `lease`: how long a heartbeat may rest before its worker is taken for dead.
    pub fn new(storage: Storage, prefix: Path, me: WorkerId, about: About, lease: Duration) -> Self {
        let (seen, round_made) = (BTreeMap::new(), Instant::now());
        Self { storage, prefix, me, about, counter: 0, lease, seen, rounds: 0, round_made }
    }

    /// The first heartbeat, by which the store shows that it creates an object only once.
    pub async fn announce(&mut self) -> Result<(), AnnounceError> {
        let key = self.key(&self.me);
        let mut retry =
            Retry::new(&self.storage.clock, &self.storage.patience, format!("first heartbeat, create of {key}"));
        let mut created = false;
        loop {
            let bytes = self.heartbeat();
            match self.storage.create(&key, &bytes, &mut retry).await? {
                Answer::Created if created => return Err(AnnounceError::NoConditionalCreate(key)),
                Answer::Created => created = true,
                Answer::Exists if created || self.is_announced().await? => return Ok(()),
                Answer::Exists => {
                    let refused = format!("{key} is said to exist, and is not listed");
                    retry.again(Verdict::Transient, &refused).await?;
                }
                Answer::Unknown => {}
            }
        }
    }

    /// A create may also be answered "exists" while another request for the same key is under way, here a lost one of
    /// this worker: then the heartbeat may be there, or not.
    async fn is_announced(&self) -> Result<bool, GaveUp> {
        let listed = self.storage.list(&self.prefix, None).await?;
        Ok(listed.iter().filter_map(worker_of).any(|id| id == self.me))
    }

    /// Says that this worker lives.
    pub async fn beat(&mut self) -> Result<(), GaveUp> {
        let (key, bytes) = (self.key(&self.me), self.heartbeat());
        self.storage.put(&key, bytes.into(), &Description::default()).await
    }

    /// Looks at the others. True when somebody came or went since the last look.
    pub async fn look(&mut self) -> Result<bool, GaveUp> {
        // When it was asked, not when it was answered: one slow answer at the beginning of a silence would cost a round.
        let now = Instant::now();
        let listed = self.storage.list(&self.prefix, None).await?;
        // Heartbeats come every third of a lease, or more often.
        if now - self.round_made >= self.lease / 4 {
            self.rounds += 1;
            self.round_made = now;
        }
        let mut seen = BTreeMap::new();
        let mut changed = false;
        for object in &listed {
            let Some(id) = worker_of(object) else { continue };
            let mark = object.e_tag.clone().unwrap_or_else(|| object.last_modified.to_rfc3339());
            let before = self.seen.remove(&id);
            changed |= before.is_none();
            let rests = before.filter(|before| before.mark == mark);
            seen.insert(id, rests.unwrap_or(Seen { mark, since: now, round: self.rounds }));
        }
        changed |= !self.seen.is_empty();
        self.seen = seen;
        Ok(changed)
    }

    /// Those of `workers` whose heartbeat is gone, or has not changed for a lease and for three looks that were a good part of
    /// it apart.
    pub fn dead<'a>(&self, workers: impl Iterator<Item = &'a WorkerId>) -> BTreeSet<WorkerId> {
        let rests = |seen: &Seen| seen.since.elapsed() >= self.lease && self.rounds >= seen.round + ROUNDS;
        let lives = |id: &WorkerId| *id == self.me || self.seen.get(id).is_some_and(|seen| !rests(seen));
        workers.filter(|id| !lives(id)).cloned().collect()
    }

    /// Deletes heartbeats that nobody has rewritten for ten leases, of workers that are not in the state.
    pub async fn sweep(&self, workers: &BTreeSet<WorkerId>) -> Result<(), GaveUp> {
        let unchanged_for = self.lease * 10;
        let old = self
            .seen
            .iter()
            .filter(|(id, seen)| **id != self.me && !workers.contains(*id) && seen.since.elapsed() >= unchanged_for);
        self.storage.delete(old.map(|(id, _)| self.key(id)).collect()).await
    }

    /// Removes this worker's heartbeat: it ends.
    pub async fn retire(&self) -> Result<(), GaveUp> {
        self.storage.delete(vec![self.key(&self.me)]).await
    }

    fn heartbeat(&mut self) -> Bytes {
        self.counter += 1;
        let heartbeat = Heartbeat { worker: self.me.clone(), counter: self.counter, about: self.about.clone() };
        serde_json::to_vec(&heartbeat).expect("plain values are always JSON").into()
    }

    fn key(&self, worker: &WorkerId) -> Path {
        self.prefix.clone().join(format!("{worker}.json"))
    }
}

fn worker_of(object: &ObjectMeta) -> Option<WorkerId> {
    let name = object.location.filename()?.strip_suffix(".json")?;
    uuid::Uuid::parse_str(name).ok().map(WorkerId::from)
}
