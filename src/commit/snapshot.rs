//! The shared state of a group, and its stored form. What may change in it: [`super::change`].

use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::tables::TableStates;
use crate::event::{Millis, ShardId};
use crate::position::Position;

/// The stored form that this code writes and reads.
const VERSION: u32 = 1;

/// A running worker: a UUIDv7, new at every start, never used again.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkerId(String);

impl From<uuid::Uuid> for WorkerId {
    fn from(id: uuid::Uuid) -> Self {
        Self(id.hyphenated().to_string())
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A pack: its worker and which of that worker's flushes it holds, from 1. Also the first part of the names of its
/// objects.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PackId {
    pub worker: WorkerId,
    pub flush: u64,
}

impl fmt::Display for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.worker, self.flush)
    }
}

impl fmt::Debug for PackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl std::str::FromStr for PackId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = text.rsplit_once('-').and_then(|(worker, flush)| Some((worker, flush.parse().ok()?)));
        let (worker, flush) = parsed.ok_or_else(|| format!("{text:?} is no pack: <worker>-<number>"))?;
        Ok(Self { worker: WorkerId(worker.to_owned()), flush })
    }
}

impl Serialize for PackId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PackId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Snapshot number N: the whole shared state of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    version: u32,
    pub number: u64,
    /// Who wrote it, and as which attempt. `None` only in the state before the first snapshot, which is not stored.
    pub attempt: Option<Attempt>,
    /// The stream's ARN or the file set that the positions belong to.
    pub source: String,
    pub shards: BTreeMap<ShardId, ShardState>,
    /// The number of the last snapshot by which shards were forgotten: what was listed before that may name them, and
    /// says nothing of what is new. 0 while none were.
    #[serde(default)]
    pub forgot: u64,
    pub workers: BTreeMap<WorkerId, WorkerState>,
    /// Committed, and not yet known to be published.
    pub packs: Vec<PackState>,
    pub totals: Totals,
    /// The tables that objects were committed to.
    #[serde(default, skip_serializing_if = "TableStates::is_empty")]
    pub tables: TableStates,
}

/// One try of one worker to make one transition: this pair is never used for another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    pub worker: WorkerId,
    pub seq: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardState {
    pub position: Position,
    pub owner: Option<WorkerId>,
    pub parents: Vec<ShardId>,
    /// When its position was moved last, by the clock of who did: for people, nothing is decided by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed: Option<Millis>,
    /// What became of its records, since it is in the state.
    #[serde(default, skip_serializing_if = "RecordCounts::is_none")]
    pub records: RecordCounts,
}

/// Records that a position went past, and what became of them: each was delivered, rejected or a control message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordCounts {
    /// As whoever moves the position counts them.
    pub read: u64,
    /// All of their events are rows.
    pub delivered: u64,
    /// All of it, or a part, is in the error prefix.
    pub rejected: u64,
    /// Nothing but control messages.
    pub control: u64,
}

impl RecordCounts {
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }

    /// Whether it is known of each what became of it.
    pub fn balance(&self) -> bool {
        self.read == self.delivered + self.rejected + self.control
    }

    /// What came since; `None` if anything became less.
    pub fn since(self, before: Self) -> Option<Self> {
        Some(Self {
            read: self.read.checked_sub(before.read)?,
            delivered: self.delivered.checked_sub(before.delivered)?,
            rejected: self.rejected.checked_sub(before.rejected)?,
            control: self.control.checked_sub(before.control)?,
        })
    }
}

impl AddAssign for RecordCounts {
    fn add_assign(&mut self, more: Self) {
        self.read += more.read;
        self.delivered += more.delivered;
        self.rejected += more.rejected;
        self.control += more.control;
    }
}

impl ShardState {
    /// One that nothing was read of.
    pub fn new(position: Position, parents: Vec<ShardId>) -> Self {
        Self { position, owner: None, parents, committed: None, records: RecordCounts::default() }
    }

    pub fn is_owned_by(&self, worker: &WorkerId) -> bool {
        self.owner.as_ref() == Some(worker)
    }

    /// Whether all of it is committed, and no more will come.
    pub fn has_ended(&self) -> bool {
        self.position == Position::End
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerState {
    /// Its last attempt that is in the state.
    pub seq: u64,
    pub joined: Millis,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackState {
    pub id: PackId,
    /// The worker whose task it is to publish it.
    pub publisher: WorkerId,
    pub objects: u64,
    pub bytes: u64,
    /// When it was committed, by the clock of who did: for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed: Option<Millis>,
}

/// Sums over the life of the group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    pub records: u64,
    pub events: u64,
    pub rejections: u64,
    pub control: u64,
    pub objects: u64,
    pub bytes: u64,
    /// Positions that the stream had trimmed before they were read on from: each may be a loss.
    #[serde(default)]
    pub expired: u64,
}

/// Bytes that are no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum BadSnapshot {
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("version {0} is newer than this firemain knows ({VERSION}): use the release that wrote it")]
    Version(u32),
}

impl Snapshot {
    /// The state before anybody registered: number 0, never stored.
    pub fn empty() -> Self {
        Self {
            version: VERSION,
            number: 0,
            attempt: None,
            source: String::new(),
            shards: BTreeMap::new(),
            forgot: 0,
            workers: BTreeMap::new(),
            packs: Vec::new(),
            totals: Totals::default(),
            tables: TableStates::new(),
        }
    }

    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a snapshot of plain values is always JSON")
    }

    pub fn from_json(bytes: &[u8]) -> Result<Self, BadSnapshot> {
        #[derive(Deserialize)]
        struct Versioned {
            version: u32,
        }
        let Versioned { version } = serde_json::from_slice(bytes)?;
        if version != VERSION {
            return Err(BadSnapshot::Version(version));
        }
        Ok(serde_json::from_slice(bytes)?)
    }

    /// The last attempt of a worker that this state knows to have happened; `None`: it is not (any more) in the group.
    pub fn last_attempt(&self, worker: &WorkerId) -> Option<u64> {
        self.workers.get(worker).map(|state| state.seq)
    }

    pub fn owned_by<'a>(&'a self, worker: &'a WorkerId) -> impl Iterator<Item = (&'a ShardId, &'a ShardState)> {
        self.shards.iter().filter(move |(_, shard)| shard.is_owned_by(worker))
    }

    /// Packs whose publisher is this worker.
    pub fn packs_of<'a>(&'a self, worker: &'a WorkerId) -> impl Iterator<Item = &'a PackState> {
        self.packs.iter().filter(move |pack| &pack.publisher == worker)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::change::tests::{after, group, pack, step, worker};

    /// The stored format: a change here needs a new version and a reader for the old one.
    #[test]
    fn version_1_is_this_json() {
        let mut state = group().commit(&worker(1), &step("a", Position::TrimHorizon, after(41))).unwrap();
        state = state.commit(&worker(1), &step("b", Position::TrimHorizon, Position::End)).unwrap();
        state.shards.values_mut().for_each(|shard| shard.records = RecordCounts::default());
        (state.number, state.forgot) = (42, 40);
        state.attempt = Some(Attempt { worker: worker(1), seq: 3 });
        state.packs.push(pack(&format!("{}-2", worker(1)), 1));
        state.totals = Totals { records: 1, events: 2, rejections: 3, control: 4, objects: 5, bytes: 6, expired: 7 };
        let golden = include_str!("../../tests/golden/state-v1.json").trim_end();
        assert_eq!(String::from_utf8(state.to_json()).unwrap(), golden);
        assert_eq!(Snapshot::from_json(golden.as_bytes()).unwrap(), state);

        // What came later is left out where it is not known.
        let records = RecordCounts { read: 6, delivered: 3, rejected: 2, control: 1 };
        state.shards.values_mut().for_each(|shard| (shard.committed, shard.records) = (Some(7), records));
        state.packs.iter_mut().for_each(|pack| pack.committed = Some(7));
        let json = String::from_utf8(state.to_json()).unwrap();
        let records = r#","records":{"read":6,"delivered":3,"rejected":2,"control":1}"#;
        assert_eq!(json.replace(",\"committed\":7", "").replace(records, ""), golden);
        assert_eq!(Snapshot::from_json(json.as_bytes()).unwrap(), state);
    }

    #[test]
    fn a_newer_version_is_refused_and_named() {
        let json = String::from_utf8(group().to_json()).unwrap().replacen("\"version\":1", "\"version\":2", 1);
        let error = Snapshot::from_json(json.as_bytes()).unwrap_err();
        assert!(matches!(error, BadSnapshot::Version(2)), "{error}");
    }
}
