//! A stream that needs no service, and a worker that takes it through the protocol, step by step.
//!
//! Every record is one event, `<shard>/<number>`; every flush makes one object for each shard that it moves.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use firemain::buffer::Budget;
use firemain::commit::change::{Commit, Move, Wanted};
use firemain::commit::group::{Group, GroupError, Joining};
use firemain::commit::log::KEPT;
use firemain::commit::pack::PackedObject;
use firemain::commit::peers::About;
use firemain::commit::publish::publish;
use firemain::commit::snapshot::{PackId, PackState, RecordCounts};
use firemain::commit::storage::{Description, Storage};
use firemain::decode::Counts;
use firemain::event::ShardId;
use firemain::position::Position;
use firemain::source::Shard;

use crate::support::invariants::Books;

pub const LEASE: Duration = Duration::from_secs(30);
pub const HEARTBEAT: Duration = Duration::from_secs(10);
pub const GROUP: &str = "g";

/// Shards with so many records each, all there from the beginning and none to come.
#[derive(Clone, Debug)]
pub struct Stream(pub BTreeMap<&'static str, u64>);

impl Stream {
    pub fn shards(&self) -> Vec<Shard> {
        self.0.keys().map(|id| Shard { id: (*id).into(), parents: Vec::new() }).collect()
    }

    pub fn len(&self, shard: &ShardId) -> u64 {
        self.0[shard.as_str()]
    }

    pub fn events(&self) -> BTreeSet<String> {
        self.0.iter().flat_map(|(shard, len)| (0..*len).map(move |n| format!("{shard}/{n}"))).collect()
    }
}

impl Books for Stream {
    fn rows(&self, _: &str, bytes: &Bytes) -> Vec<String> {
        std::str::from_utf8(bytes).unwrap().lines().map(str::to_owned).collect()
    }

    fn between(&self, shard: &ShardId, from: &Position, to: &Position) -> Vec<String> {
        (next_of(from)..next_of(to)).map(|n| format!("{shard}/{n}")).collect()
    }

    fn is_event(&self, _: &str) -> bool {
        true
    }
}

/// The number of the record behind a position.
pub fn next_of(position: &Position) -> u64 {
    match position {
        Position::After(sequence) => sequence.index().expect("records of a test have small numbers") + 1,
        _ => 0,
    }
}

/// What workers were told to be committed: to be compared with what is.
pub type Beliefs = Arc<Mutex<Vec<PackId>>>;

/// A flush that is committed, and not published.
#[derive(Debug)]
pub struct Committed {
    pub id: PackId,
    objects: Vec<PackedObject>,
}

#[derive(Debug)]
pub struct Worker {
    pub group: Arc<Group>,
    pub stream: Stream,
    /// The committed positions of the shards that it owns.
    pub at: BTreeMap<ShardId, Position>,
    pub published: BTreeSet<PackId>,
    flushes: u64,
    beliefs: Beliefs,
}

impl Worker {
    pub async fn join(storage: Storage, stream: &Stream, beliefs: &Beliefs) -> Result<Self, GroupError> {
        let joining = Joining { name: GROUP, source: "stream", lease: LEASE, kept: KEPT, about: About::default() };
        let group = Arc::new(Group::join(storage, joining).await?);
        let (stream, beliefs) = (stream.clone(), Arc::clone(beliefs));
        Ok(Self { group, stream, at: BTreeMap::new(), published: BTreeSet::new(), flushes: 0, beliefs })
    }

    pub async fn claim(&mut self) -> Result<(), GroupError> {
        let seen = self.group.seen().number;
        let (known, start, none) = (self.stream.shards(), Position::TrimHorizon, BTreeSet::new());
        let wanted = Wanted { known: &known, seen, start: &start, gone: &none, at_once: &none };
        let adopted = self.group.claim(&wanted).await?;
        for pack in adopted {
            self.group.publish_adopted(&pack, &Budget::new(1 << 20)).await?;
            self.group.clear(&BTreeSet::from([pack.id])).await?;
        }
        let head = self.group.seen();
        self.at = head.owned_by(self.group.id()).map(|(id, shard)| (id.clone(), shard.position.clone())).collect();
        Ok(())
    }

    /// Encodes and stages the next `most` records of each of its shards: what is to be committed then.
    pub async fn stage(&mut self, most: u64) -> Result<(Commit, Vec<PackedObject>), GroupError> {
        self.flushes += 1;
        let id = PackId { worker: self.group.id().clone(), flush: self.flushes };
        let mut commit = Commit { published: self.published.clone(), ..Commit::default() };
        let mut objects = Vec::new();
        for (shard, from) in &self.at {
            let first = next_of(from);
            let end = (first + most).min(self.stream.len(shard));
            if first == end {
                continue;
            }
            let rows: String = (first..end).map(|n| format!("{shard}/{n}\n")).collect();
            let key = format!("log_events/log_group={shard}/dt=2024-03-22/hour=05/{id}-{}.json", objects.len());
            let description = Description { content_type: "application/x-ndjson".into(), metadata: Vec::new() };
            objects.push(PackedObject { key, description, body: vec![Bytes::from(rows)], lease: None });
            let records = end - first;
            let (from, to) = (from.clone(), Position::After((end - 1).into()));
            let counts = RecordCounts { read: records, delivered: records, ..RecordCounts::default() };
            commit.moves.push(Move { shard: shard.clone(), from, to, records: counts });
            commit.counts = Counts {
                records: commit.counts.records + records,
                events: commit.counts.events + records,
                ..Counts::default()
            };
        }
        if !objects.is_empty() {
            let bytes = self.group.stage(&id, &objects).await?;
            let publisher = self.group.id().clone();
            commit.pack = Some(PackState { id, publisher, objects: objects.len() as u64, bytes, committed: None });
        }
        Ok((commit, objects))
    }

    pub async fn commit(&mut self, commit: Commit, objects: Vec<PackedObject>) -> Result<Committed, GroupError> {
        let id = commit.pack.as_ref().expect("a commit of something").id.clone();
        self.group.commit(&commit).await?;
        self.beliefs.lock().unwrap().push(id.clone());
        self.published.retain(|pack| !commit.published.contains(pack));
        self.group.delete_packs(commit.published).await?;
        for step in commit.moves {
            self.at.insert(step.shard, step.to);
        }
        Ok(Committed { id, objects })
    }

    /// Stages and commits; `None` when all is committed.
    pub async fn flush(&mut self, most: u64) -> Result<Option<Committed>, GroupError> {
        if self.at.iter().all(|(shard, at)| next_of(at) == self.stream.len(shard)) {
            return Ok(None);
        }
        let (commit, objects) = self.stage(most).await?;
        self.commit(commit, objects).await.map(Some)
    }

    pub async fn publish(&mut self, committed: Committed) -> Result<(), GroupError> {
        publish(&self.group, committed.objects).await?;
        self.published.insert(committed.id);
        Ok(())
    }

    pub async fn clear(&mut self) -> Result<(), GroupError> {
        self.group.clear(&self.published).await?;
        self.published.clear();
        Ok(())
    }

    pub async fn leave(&mut self) -> Result<(), GroupError> {
        self.group.leave(std::mem::take(&mut self.published)).await
    }

    /// Whether every record of the stream is committed, whoever did it.
    pub async fn is_drained(&self) -> Result<bool, GroupError> {
        let head = self.group.look().await?;
        let drained = |(id, shard)| next_of(&shard) == self.stream.len(&id);
        let known = head.shards.len() == self.stream.0.len();
        Ok(known && head.shards.iter().map(|(id, shard)| (id.clone(), shard.position.clone())).all(drained))
    }

    /// From where it stands to the end: takes over what the dead leave, commits and publishes everything, cleans up.
    pub async fn drain(&mut self, most: u64) -> Result<(), GroupError> {
        let mut rounds = 0;
        loop {
            rounds += 1;
            assert!(rounds < 100, "9: what is left does not come to an end");
            self.claim().await?;
            while let Some(committed) = self.flush(most).await? {
                self.publish(committed).await?;
            }
            self.clear().await?;
            let head = self.group.look().await?;
            if self.is_drained().await? && head.workers.len() == 1 && head.packs.is_empty() {
                break;
            }
            tokio::time::sleep(HEARTBEAT).await;
            self.group.beat().await?;
        }
        self.group.sweep().await?;
        self.leave().await
    }
}
