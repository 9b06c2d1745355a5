//! Puts the payloads of rejections back on a stream. At least once: what was put right before a crash is put again.
//!
//! Objects are owned and their positions committed as when they are delivered, so that no two replays take the same one.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::GROUP;
use crate::aws::Aws;
use crate::buffer::Budget;
use crate::catalog::Registrar;
use crate::commit::change::{Commit, Move, Wanted};
use crate::commit::group::{Group, GroupError, Joining};
use crate::commit::log::KEPT;
use crate::commit::snapshot::{PackState, RecordCounts, ShardState, WorkerId};
use crate::commit::storage::Storage;
use crate::config::Config;
use crate::decode::Counts;
use crate::event::{Record, ShardId};
use crate::position::{Indices, Position};
use crate::retry::Retry;
use crate::service::{Base, RunError, about, fatal, stopped};
use crate::source::Source;
use crate::source::errors::{ErrorSource, SOURCE};
use crate::source::kinesis::api::put_records;
use crate::source::kinesis::calls::Service;
use crate::worker::WorkerError;

/// PutRecords takes 500 records and 5 MiB; keys count too.
const PUT_RECORDS: usize = 500;
const PUT_BYTES: usize = 4 << 20;
/// How much may be put again after a crash.
const BETWEEN_COMMITS: Duration = Duration::from_secs(10);
/// Who is in the state after so many beats of this one, two leases, and was not taken for dead by then, is at work.
const BEATS: u64 = 6;
/// How long leaving may take after an error: who does not leave is taken for dead a lease later.
const LEAVING: Duration = Duration::from_secs(10);
/// How long the partitions of an adopted pack may take.
const REGISTERING: Duration = Duration::from_secs(10);

/// Puts what the source has on a stream, until a signal. `show` is polled meanwhile. Returns how many objects are left to
/// another replay, which is at work.
pub async fn put_back(
    base: &Base,
    config: &Config,
    source: &Arc<ErrorSource>,
    name: &str,
    stop: watch::Receiver<bool>,
    show: impl Future<Output = ()>,
) -> Result<u64, RunError> {
    let aws = match &base.aws {
        Some(aws) => aws.clone(),
        None => Aws::load(None).await.map_err(fatal)?,
    };
    let parts = base.clone().parts(config, Arc::clone(source) as _, true);
    let replay = Replay {
        base,
        source,
        service: Service::new(&aws, name),
        registrar: parts.registrar,
        budget: Budget::new(config.flush.buffer_bytes),
        lease: config.lease_timeout,
        stop: stop.clone(),
    };
    let too_late = async {
        stopped(stop).await;
        sleep(config.shutdown_timeout).await;
    };
    tokio::select! {
        left = replay.run() => left.map_err(fatal),
        () = show => unreachable!("it is shown until the work is done"),
        () = too_late => Err(RunError::ShutdownTimeout(config.shutdown_timeout)),
    }
}

struct Replay<'a> {
    base: &'a Base,
    source: &'a Arc<ErrorSource>,
    service: Service,
    registrar: Option<Arc<Registrar>>,
    /// For packs of others.
    budget: Arc<Budget>,
    lease: Duration,
    stop: watch::Receiver<bool>,
}

impl Replay<'_> {
    /// A member after the other: one that was taken for dead is followed by a new one.
    async fn run(&self) -> Result<u64, WorkerError> {
        loop {
            match self.as_member().await {
                Err(error) if error.is_fenced() && *self.stop.borrow() => {
                    warn!("{error}, while it was ending: what it had not committed is put again by the next one");
                    return Ok(0);
                }
                Err(error) if error.is_fenced() => warn!("{error}: starting again as a new worker"),
                ended => return ended,
            }
        }
    }

    async fn as_member(&self) -> Result<u64, WorkerError> {
        let joining = Joining { name: GROUP, source: SOURCE, lease: self.lease, kept: KEPT, about: about() };
        let group = Group::join(self.base.storage.clone(), joining).await?;
        let beats = AtomicU64::new(0);
        let mut putting = Putting {
            replay: self,
            group: &group,
            beats: &beats,
            moves: Vec::new(),
            committed: Instant::now(),
            read: BTreeSet::new(),
        };
        let ended = tokio::select! {
            left = putting.run() => left,
            ended = beat(&group, self.lease, &beats) => ended.map(|never| match never {}),
        };
        if ended.is_ok() {
            return match group.leave(BTreeSet::new()).await {
                // Everything is committed: whoever took it for dead has only saved it from leaving.
                Err(error) if !matches!(error, GroupError::Fenced) => Err(error.into()),
                _ => ended,
            };
        }
        let tidy = async {
            // What was put is not to be put again, and whoever comes next need not wait until this one is taken for dead.
            let committed = putting.commit().await;
            committed.and(group.leave(BTreeSet::new()).await.map_err(Into::into))
        };
        match timeout(LEAVING, tidy).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) if error.is_fenced() => {}
            Ok(Err(error)) => warn!("{error}: the next replay waits for a lease, and puts some payloads again"),
            Err(_) => {
                warn!("the store does not answer: the next replay waits for a lease, and puts some payloads again")
            }
        }
        ended
    }
}

async fn beat(group: &Group, lease: Duration, beats: &AtomicU64) -> Result<Infallible, WorkerError> {
    loop {
        sleep(lease / 3).await;
        group.beat().await?;
        beats.fetch_add(1, Ordering::Relaxed);
    }
}

struct Putting<'a> {
    replay: &'a Replay<'a>,
    group: &'a Group,
    beats: &'a AtomicU64,
    /// What is put, and not committed.
    moves: Vec<Move>,
    committed: Instant,
    /// Objects that were read by this member: what was left in them is left.
    read: BTreeSet<ShardId>,
}

/// Objects that are to be put.
#[derive(Debug, Default)]
struct Standing {
    mine: Vec<(ShardId, Position)>,
    /// How many are another's; nobody's, of those that the next claim brings.
    others: BTreeMap<Option<WorkerId>, u64>,
}

impl Putting<'_> {
    /// Claims and puts until all is done, or what is not is another's who is at work: says how much that is. Who has died
    /// is known a lease later.
    async fn run(&mut self) -> Result<u64, WorkerError> {
        let mut since = BTreeMap::<Option<WorkerId>, (Instant, u64)>::new();
        let mut waits = false;
        loop {
            let now = (Instant::now(), self.beats.load(Ordering::Relaxed));
            let Standing { mine, others } = self.claim().await?;
            let has_put = !mine.is_empty();
            for (shard, from) in mine {
                if *self.replay.stop.borrow() {
                    break;
                }
                self.object(shard, from).await?;
            }
            self.commit().await?;
            since.retain(|owner, _| others.contains_key(owner));
            let lease = self.replay.lease;
            let is_at_work = |owner: &Option<WorkerId>| {
                let (began, beats) = *since.entry(owner.clone()).or_insert(now);
                owner.is_some() && now.0 - began >= lease && now.1 >= beats + BEATS
            };
            let all_at_work = others.keys().map(is_at_work).fold(true, std::ops::BitAnd::bitand);
            let count = others.values().sum();
            if *self.replay.stop.borrow() {
                return Ok(0);
            }
            if all_at_work && !has_put {
                return Ok(count);
            }
            if count > 0 && !std::mem::replace(&mut waits, true) {
                info!(
                    "{count} objects belong to another replay: waiting up to {:?} to see whether it lives",
                    2 * lease
                );
            }
            if !has_put {
                tokio::select! {
                    () = sleep(lease / 4) => {}
                    () = stopped(self.replay.stop.clone()) => {}
                }
            }
        }
    }

    async fn claim(&self) -> Result<Standing, WorkerError> {
        let (before, source) = (self.group.seen(), self.replay.source);
        let shards = source.shards().await?;
        let all = shards.iter().map(|shard| shard.id.clone()).collect();
        let ended = before.shards.iter().filter(|(_, shard)| shard.has_ended()).map(|(id, _)| id);
        let gone = ended.filter(|id| source.is_gone(id)).cloned().collect();
        let wanted =
            Wanted { known: &shards, seen: before.number, start: &Position::TrimHorizon, gone: &gone, at_once: &all };
        for pack in self.group.claim(&wanted).await? {
            self.publish(&pack).await?;
        }
        let head = self.group.seen();
        let mut standing = Standing::default();
        for shard in shards.into_iter().filter(|shard| !self.read.contains(&shard.id)) {
            match head.shards.get(&shard.id) {
                Some(state) if state.has_ended() => {}
                Some(state) if state.is_owned_by(self.group.id()) => {
                    standing.mine.push((shard.id, state.position.clone()));
                }
                state => *standing.others.entry(owner(state)).or_default() += 1,
            }
        }
        Ok(standing)
    }

    /// What another replay has committed as rows, and could not publish any more.
    async fn publish(&self, pack: &PackState) -> Result<(), WorkerError> {
        let keys = self.group.publish_adopted(pack, &self.replay.budget).await?;
        if let Some(registrar) = &self.replay.registrar {
            registrar.add(keys.iter().map(String::as_str));
            tokio::select! {
                never = registrar.run() => match never {},
                () = registrar.registered(&keys) => {}
                () = sleep(REGISTERING) => warn!(pack = %pack.id, "partitions are not registered: MSCK REPAIR TABLE finds them"),
            }
        }
        Ok(self.group.clear(&BTreeSet::from([pack.id.clone()])).await?)
    }

    async fn object(&mut self, shard: ShardId, from: Position) -> Result<(), WorkerError> {
        let mut reader = self.replay.source.open(&shard, &from).await?;
        let (mut done, mut at) = (from.done().unwrap_or_default(), from);
        loop {
            let batch = reader.next().await?;
            self.put(&batch.records).await?;
            let to = if batch.at_end { Position::End } else { behind(&mut done, &batch.records) };
            self.step(&shard, &mut at, to, batch.records.len());
            if self.committed.elapsed() >= BETWEEN_COMMITS {
                self.commit().await?;
            }
            if batch.at_tip {
                self.read.insert(shard);
                return Ok(());
            }
            if *self.replay.stop.borrow() {
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

    async fn commit(&mut self) -> Result<(), WorkerError> {
        let moves = std::mem::take(&mut self.moves);
        self.committed = Instant::now();
        let records = moves.iter().map(|step| step.records.read).sum();
        let counts = Counts { records, ..Counts::default() };
        let commit = Commit { moves, counts, now: Some(self.clock().now()), ..Commit::default() };
        Ok(self.group.commit(&commit).await?)
    }

    async fn put(&self, records: &[Record]) -> Result<(), WorkerError> {
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

    async fn put_once(&self, entries: Vec<PutRecordsRequestEntry>) -> Result<(), WorkerError> {
        let (Storage { clock, patience, .. }, service) = (&self.replay.base.storage, &self.replay.service);
        let retry = Retry::new(clock, patience, format!("PutRecords of stream {}", service.name));
        Ok(put_records(service, entries, retry).await?)
    }

    fn clock(&self) -> &crate::clock::Clock {
        &self.replay.base.storage.clock
    }
}

fn owner(state: Option<&ShardState>) -> Option<WorkerId> {
    state?.owner.clone()
}

/// Where an object stands behind some records.
fn behind(done: &mut Indices, records: &[Record]) -> Position {
    records.iter().filter_map(|record| record.earlier.as_ref()).for_each(|earlier| done.insert(earlier.index));
    Position::of(done.clone())
}
