//! Who lives: each worker rewrites an object of its own, the others watch whether it changes.
//!
//! This decides only when to try to take over, on this worker's own monotonic clock; being wrong costs work, never
//! correctness.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use object_store::ObjectMeta;
use object_store::path::Path;
use serde::Serialize;
use tokio::time::Instant;
use tracing::warn;

use super::snapshot::WorkerId;
use super::storage::{Answer, Description, Storage};
use crate::retry::{GaveUp, Retry};

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
    /// When the others were last looked at.
    looked: Instant,
    /// How long it is usually between two looks: the heartbeat, and what slow requests add to it.
    usual: Duration,
}

/// What a heartbeat tells a person who looks.
#[derive(Clone, Debug, Default, Serialize)]
pub struct About {
    pub host: String,
    pub pid: u32,
    pub version: String,
}

#[derive(Debug)]
struct Seen {
    /// Changes whenever the object is rewritten.
    mark: String,
    since: Instant,
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
        let (seen, looked) = (BTreeMap::new(), Instant::now());
        Self { storage, prefix, me, about, counter: 0, lease, seen, looked, usual: Duration::ZERO }
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
                Answer::Exists => return Ok(()),
                Answer::Unknown => {}
            }
        }
    }

    /// Says that this worker lives.
    pub async fn beat(&mut self) -> Result<(), GaveUp> {
        let (key, bytes) = (self.key(&self.me), self.heartbeat());
        self.storage.put(&key, bytes.into(), &Description::default()).await
    }

    /// Looks at the others. True when somebody came or went since the last look.
    pub async fn look(&mut self) -> Result<bool, GaveUp> {
        let listed = self.storage.list(&self.prefix, None).await?;
        let now = Instant::now();
        let was_blind = self.was_blind(now);
        let mut seen = BTreeMap::new();
        let mut changed = false;
        for object in &listed {
            let Some(id) = worker_of(object) else { continue };
            let mark = object.e_tag.clone().unwrap_or_else(|| object.last_modified.to_rfc3339());
            let before = self.seen.remove(&id);
            changed |= before.is_none();
            let rests = before.filter(|before| before.mark == mark && !was_blind);
            let since = rests.map_or(now, |before| before.since);
            seen.insert(id, Seen { mark, since });
        }
        changed |= !self.seen.is_empty();
        self.seen = seen;
        Ok(changed)
    }

    /// Who has not looked for so long, for the store was out of reach or the process was stopped, has not seen anybody
    /// silent either: the others may have been cut off likewise, and beat again as this one does. But where every look
    /// takes long, that is no reason to wait for ever.
    fn was_blind(&mut self, now: Instant) -> bool {
        let gap = now - self.looked;
        self.looked = now;
        if gap <= self.lease / 2 {
            self.usual = self.usual * 9 / 10;
            return false;
        }
        let blind = gap > self.usual * 2;
        self.usual = gap.min((self.usual * 2).max(self.lease / 2));
        if blind && self.seen.len() > 1 {
            warn!(
                "the heartbeats of the others were not looked at for {gap:?}, more than half of `lease_timeout`: they are \
                 watched anew. If nothing was out of reach, and nothing stopped, it is too short for this store"
            );
        }
        blind
    }

    /// Those of `workers` whose heartbeat is gone or has not changed for a lease.
    pub fn dead<'a>(&self, workers: impl Iterator<Item = &'a WorkerId>) -> BTreeSet<WorkerId> {
        let lives = |id: &WorkerId| *id == self.me || self.seen.get(id).is_some_and(|s| s.since.elapsed() < self.lease);
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
        #[derive(Serialize)]
        struct Heartbeat<'a> {
            worker: &'a WorkerId,
            counter: u64,
            #[serde(flatten)]
            about: &'a About,
        }
        self.counter += 1;
        let heartbeat = Heartbeat { worker: &self.me, counter: self.counter, about: &self.about };
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
