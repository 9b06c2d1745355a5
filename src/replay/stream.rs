//! Puts the payloads of rejections back on a stream. At least once: what was put right before a crash is put again.
//!
//! Objects are owned and their positions committed as when they are delivered, so that no two replays take the same one.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::GROUP;
use crate::aws::Aws;
use crate::commit::change::{Commit, Move, Wanted};
use crate::commit::group::{Group, Joining};
use crate::commit::log::KEPT;
use crate::commit::snapshot::RecordCounts;
use crate::commit::storage::Storage;
use crate::config::Config;
use crate::decode::Counts;
use crate::event::{Record, ShardId};
use crate::position::{Indices, Position};
use crate::retry::Retry;
use crate::service::{Base, RunError, about, fatal};
use crate::source::Source;
use crate::source::errors::{ErrorSource, SOURCE};
use crate::source::kinesis::api::put_records;
use crate::source::kinesis::calls::Service;

/// PutRecords takes 500 records and 5 MiB; keys count too.
const PUT_RECORDS: usize = 500;
const PUT_BYTES: usize = 4 << 20;
/// How much may be put again after a crash.
const BETWEEN_COMMITS: Duration = Duration::from_secs(10);

/// Puts what the source has on a stream, until a signal. `show` is polled meanwhile.
pub async fn put_back(
    base: &Base,
    config: &Config,
    source: &Arc<ErrorSource>,
    name: &str,
    stop: watch::Receiver<bool>,
    show: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let aws = match &base.aws {
        Some(aws) => aws.clone(),
        None => Aws::load(None).await.map_err(fatal)?,
    };
    let (storage, lease) = (base.storage.clone(), config.lease_timeout);
    let joining = Joining { name: GROUP, source: SOURCE, lease, kept: KEPT, about: about() };
    let group = Group::join(storage, joining).await.map_err(fatal)?;
    let putting = Putting { base, group: &group, source, service: Service::new(&aws, name), moves: Vec::new() };
    tokio::select! {
        put = putting.run(stop) => put?,
        ended = beat(&group, lease) => ended?,
        () = show => unreachable!("it is shown until the work is done"),
    }
    group.leave(BTreeSet::new()).await.map_err(fatal)
}

async fn beat(group: &Group, lease: Duration) -> Result<(), RunError> {
    loop {
        sleep(lease / 3).await;
        group.beat().await.map_err(fatal)?;
    }
}

struct Putting<'a> {
    base: &'a Base,
    group: &'a Group,
    source: &'a Arc<ErrorSource>,
    service: Service,
    /// What is put, and not committed.
    moves: Vec<Move>,
}

impl Putting<'_> {
    async fn run(mut self, stop: watch::Receiver<bool>) -> Result<(), RunError> {
        for (shard, from) in self.claim().await? {
            if *stop.borrow() {
                break;
            }
            self.object(shard, from, &stop).await?;
        }
        self.commit().await
    }

    /// Every object that nobody else has.
    async fn claim(&self) -> Result<Vec<(ShardId, Position)>, RunError> {
        let seen = self.group.seen().number;
        let shards = self.source.shards().await.map_err(fatal)?;
        let all = shards.iter().map(|shard| shard.id.clone()).collect();
        let wanted =
            Wanted { known: &shards, seen, start: &Position::TrimHorizon, gone: &BTreeSet::new(), at_once: &all };
        let adopted = self.group.claim(&wanted).await.map_err(fatal)?;
        if !adopted.is_empty() {
            warn!(
                "a replay that ended early left {} packs: they are published by the next one without --to-stream",
                adopted.len()
            );
        }
        let head = self.group.seen();
        let owned = head.owned_by(self.group.id()).map(|(shard, state)| (shard.clone(), state.position.clone()));
        let owned: Vec<_> = owned.filter(|(shard, _)| self.source.objects().contains_key(shard)).collect();
        let unread = shards.iter().filter(|shard| head.is_unread(&shard.id)).count();
        if owned.len() < unread {
            warn!("another replay has {} of the objects: they are left to it", unread - owned.len());
        }
        Ok(owned)
    }

    async fn object(&mut self, shard: ShardId, from: Position, stop: &watch::Receiver<bool>) -> Result<(), RunError> {
        let mut reader = self.source.open(&shard, &from).await.map_err(fatal)?;
        let mut done = from.done().unwrap_or_default();
        let (mut at, mut committed) = (from, Instant::now());
        loop {
            let batch = reader.next().await.map_err(fatal)?;
            self.put(&batch.records).await?;
            let to = if batch.at_end { Position::End } else { behind(&mut done, &batch.records) };
            self.step(&shard, &mut at, to, batch.records.len());
            if committed.elapsed() >= BETWEEN_COMMITS {
                self.commit().await?;
                committed = Instant::now();
            }
            if batch.at_tip || *stop.borrow() {
                return Ok(());
            }
        }
    }

    /// `read`: records that were put since.
    fn step(&mut self, shard: &ShardId, at: &mut Position, to: Position, read: usize) {
        let records = RecordCounts { read: read as u64, delivered: read as u64, ..RecordCounts::default() };
        match self.moves.last_mut().filter(|step| step.shard == *shard) {
            Some(step) => {
                step.to = to.clone();
                step.records += records;
            }
            None if *at == to => {}
            None => self.moves.push(Move { shard: shard.clone(), from: at.clone(), to: to.clone(), records }),
        }
        *at = to;
    }

    async fn commit(&mut self) -> Result<(), RunError> {
        let moves = std::mem::take(&mut self.moves);
        let records = moves.iter().map(|step| step.records.read).sum();
        let counts = Counts { records, ..Counts::default() };
        let commit = Commit { moves, counts, now: Some(self.clock().now()), ..Commit::default() };
        self.group.commit(&commit).await.map_err(fatal)
    }

    async fn put(&self, records: &[Record]) -> Result<(), RunError> {
        let (mut entries, mut bytes) = (Vec::new(), 0);
        for record in records {
            let key = record.partition_key.as_deref().map_or_else(|| self.clock().new_id().to_string(), str::to_owned);
            if entries.len() == PUT_RECORDS || bytes + record.data.len() > PUT_BYTES {
                self.put_once(std::mem::take(&mut entries)).await?;
                bytes = 0;
            }
            bytes += record.data.len() + key.len();
            let entry = PutRecordsRequestEntry::builder().data(Blob::new(record.data.as_ref())).partition_key(key);
            entries.push(entry.build().expect("data and key are set"));
        }
        self.put_once(entries).await
    }

    async fn put_once(&self, entries: Vec<PutRecordsRequestEntry>) -> Result<(), RunError> {
        let Storage { clock, patience, .. } = &self.base.storage;
        let retry = Retry::new(clock, patience, format!("PutRecords of stream {}", self.service.name));
        put_records(&self.service, entries, retry).await.map_err(fatal)
    }

    fn clock(&self) -> &crate::clock::Clock {
        &self.base.storage.clock
    }
}

/// Where an object stands behind some records.
fn behind(done: &mut Indices, records: &[Record]) -> Position {
    records.iter().filter_map(|record| record.earlier.as_ref()).for_each(|earlier| done.insert(earlier.index));
    Position::of(done.clone())
}
