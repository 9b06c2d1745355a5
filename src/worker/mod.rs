//! The loop of one worker: read, decode, buffer, flush, commit, publish.
//!
//! Invariant: a shard's position is committed together with exactly the rows that lie between the old position and the
//! new one. At most one flush is being encoded at a time and one committed, in their order; publishing goes on behind them,
//! bounded by the [`Budget`].

pub mod compute;
mod decoding;
mod ending;
mod flush;
mod ownership;
mod parts;
pub mod policy;
mod readers;
mod registering;
mod shards;
mod telling;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info, warn};

use self::decoding::{Decoding, Done};
use self::flush::{Committed, Flush, Turns};
use self::ownership::{Ownership, View};
pub use self::parts::{Parts, Report, Settings, WorkerError};
use self::policy::{Fill, Policy, Reason};
use self::readers::{Read, Readers};
use self::registering::{Published, Registering};
use self::shards::Shards;
use crate::broken::{Broken, is_broken};
use crate::buffer::{Budget, Buffers, Place};
use crate::commit::change::Commit;
use crate::commit::group::{Group, Joining};
use crate::commit::publish;
use crate::commit::snapshot::PackId;
use crate::commit::storage::Storage;
use crate::commit::tables::{self, TableState, TableStates};
use crate::config::FlushConfig;
use crate::decode::Counts;
use crate::encode::EncodeSettings;
use crate::event::Millis;
use crate::partition::{Folder, Partition};
use crate::position::Position;
use crate::retry::Retry;
use crate::source::SourceError;
use crate::telemetry::Telemetry;
use crate::telemetry::health::PULSE;

/// How long a record may have been on the stream before it was read, and still count from its arrival: the flush interval
/// begins then, or half an interval ago, so that who lags behind still fills its objects. No source should rest for longer
/// between two reads.
pub const LONGEST_IDLE: Duration = Duration::from_secs(3);

/// Joins the group and works until `stop` says so, or, when draining, until everything is committed and published.
/// What it did is added to `report`, whatever it ends by.
pub async fn run(parts: Parts, mut stop: watch::Receiver<bool>, report: &mut Report) -> Result<(), WorkerError> {
    let Settings { group, lease, snapshots_kept, about, .. } = &parts.settings;
    let (lease, kept, about) = (*lease, *snapshots_kept, about.clone());
    let joining = Joining { name: group, source: parts.source.id(), lease, kept, about };
    let group = tokio::select! {
        biased;
        joined = Group::join(parts.storage.clone(), joining) => Arc::new(joined?),
        // It owns nothing yet: if it has just become a member, it will be taken for dead.
        _ = stop.wait_for(|stop| *stop) => {
            info!("ended before it had joined");
            return Ok(());
        }
    };
    let states = parts.table_states();
    if let Err(contradiction) = tables::learn(&mut group.seen().tables.clone(), &states) {
        group.leave(BTreeSet::new()).await?;
        return Err(contradiction.into());
    }
    info!(worker = %group.id(), group = parts.settings.group, source = parts.source.id(), "joined");
    parts.telemetry.joined(group.id());
    let mut worker = Worker::new(parts, states, group);
    let ended = worker.run(stop).await;
    *report += worker.report;
    ended
}

/// What a task beside the loop came to.
type Joined<T> = Result<Result<T, WorkerError>, JoinError>;

struct Worker {
    parts: Parts,
    telemetry: Telemetry,
    group: Arc<Group>,
    budget: Arc<Budget>,
    encode: Arc<EncodeSettings>,
    tables: TableStates,
    stream: Option<Arc<str>>,
    ownership: Ownership,
    readers: Readers,
    decoding: Decoding,
    buffers: Buffers,
    policy: Policy,
    shards: Shards,
    view: Option<View>,
    /// Shards that this worker has too many, and since when.
    surplus: usize,
    surplus_since: Option<Instant>,
    /// Since when something waits to be committed.
    since: Option<Instant>,
    shard_ended: Option<Instant>,
    /// The flushes under way: two at most. They end when this is dropped.
    flushing: JoinSet<Result<Committed, WorkerError>>,
    turns: Turns,
    /// What is published, and packs that nobody needs any more and that are deleted behind it.
    publishing: JoinSet<Result<Option<Published>, WorkerError>>,
    registering: Registering,
    /// Published and registered, and not yet dropped from the state.
    published: BTreeSet<PackId>,
    published_since: Option<Instant>,
    /// Expired positions that no flush has counted yet.
    expired: u64,
    flushes: u64,
    /// When the flushes under way began.
    flushes_began: VecDeque<Instant>,
    /// Of each flush that is not visible yet, when it began and the arrival of its oldest record.
    in_flight: BTreeMap<u64, (Instant, Millis)>,
    report: Report,
}

impl Worker {
    fn new(parts: Parts, tables: TableStates, group: Arc<Group>) -> Self {
        let settings = &parts.settings;
        let heartbeat = (settings.lease / 3).min(Duration::from_secs(10));
        let FlushConfig { interval, open_partitions, buffer_bytes, .. } = settings.flush;
        let budget = Budget::new(buffer_bytes);
        let Storage { clock, patience, .. } = &parts.storage;
        let looks = Retry::new(clock, patience, "a look at what other workers have drained");
        let encode = EncodeSettings {
            format: settings.format,
            object_bytes: settings.flush.object_bytes,
            tables: Arc::clone(&parts.tabulator.tables),
            bloom_filters: Arc::clone(&settings.bloom_filters),
            budget: Arc::clone(&budget),
        };
        Self {
            ownership: Ownership::start(&group, &parts, &budget, heartbeat, looks),
            readers: Readers::new(),
            decoding: Decoding::new(&parts.decoder, &parts.tabulator, settings.compute),
            buffers: Buffers::new(Arc::clone(&budget), &settings.errors),
            policy: Policy::new(interval, open_partitions, 0, 1),
            shards: Shards::default(),
            view: None,
            surplus: 0,
            surplus_since: None,
            since: None,
            shard_ended: None,
            flushing: JoinSet::new(),
            turns: Turns::default(),
            publishing: JoinSet::new(),
            registering: Registering::new(parts.registrar.clone()),
            published: BTreeSet::new(),
            published_since: None,
            expired: 0,
            flushes: 0,
            report: Report::default(),
            stream: parts.source.stream().map(Into::into),
            encode: Arc::new(encode),
            tables,
            telemetry: parts.telemetry.clone(),
            flushes_began: VecDeque::new(),
            in_flight: BTreeMap::new(),
            parts,
            group,
            budget,
        }
    }

    async fn run(&mut self, stop: watch::Receiver<bool>) -> Result<(), WorkerError> {
        match self.work(stop).await {
            Ok(()) => self.finish().await,
            // What was read before is good: it is delivered, and whoever comes next need not wait for a lease.
            Err(WorkerError::Source(error @ SourceError::Fatal(_))) => {
                while !self.decoding.is_empty() {
                    let done = self.decoding.next().await;
                    self.absorb(done);
                }
                warn!("{error}: committing what was read before, then ending");
                self.finish().await?;
                Err(error.into())
            }
            Err(error) => Err(error),
        }
    }

    /// Until it is told to stop or everything is drained.
    async fn work(&mut self, mut stop: watch::Receiver<bool>) -> Result<(), WorkerError> {
        while !*stop.borrow() && !self.is_drained() {
            let deadline = self.deadline();
            tokio::select! {
                // What happens seldom first, and what makes room before what takes it: so that nothing waits for ever,
                // and a simulation has one order of things.
                biased;
                _ = stop.changed() => {}
                Some(committed) = self.flushing.join_next() => self.committed(committed)?,
                Some(published) = self.publishing.join_next() => self.published(published)?,
                Some(pack) = self.registering.next() => self.registered(pack),
                () = self.turns.encoded() => {}
                view = self.ownership.next() => self.see(view?),
                done = self.decoding.next(), if self.budget.room() > 0 => self.absorb(done),
                read = self.readers.next(), if self.has_room() => self.decode(read)?,
                () = self.budget.wait_for_room(), if self.budget.room() == 0 => {}
                () = sleep(PULSE), if self.telemetry.is_watched() => {}
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {}
            }
            if let Some(reason) = self.flush_due() {
                let surplus = std::mem::take(&mut self.surplus);
                self.flush(reason, surplus);
            }
            self.tell();
        }
        Ok(())
    }

    // Reading and buffering.

    fn has_room(&self) -> bool {
        let crowded = self.turns.is_encoding() && self.buffers.open() > self.parts.settings.flush.open_partitions;
        self.decoding.has_room() && self.budget.room() > 0 && !crowded
    }

    fn see(&mut self, view: View) {
        let is_first = self.view.is_none() && self.shards.are_new();
        let owned: Vec<_> = view.head.owned_by(self.group.id()).collect();
        for (id, shard) in &owned {
            if let Some(tenure) = self.shards.take_up(id, &shard.position, view.head.number) {
                info!(shard = %id, from = %shard.position, "reading");
                if self.stream.is_some() {
                    self.telemetry.reading(id);
                }
                self.readers.start(&self.parts.source, id, tenure, shard.position.clone());
            }
        }
        if owned.iter().any(|(id, _)| self.shards.at_tip(id).is_none()) {
            // Given up, and claimed again, by when it was not known yet that giving up was committed.
            self.ownership.look_on();
        }
        if let Some(first) = view.done.first().filter(|_| is_first && self.parts.source.ends()) {
            let files = view.done.len();
            info!(files, %first, "read to their end before, and not again: each group reads a file once");
        }
        if owned.is_empty() {
            self.parts.storage.patience.relax(self.parts.settings.stuck_after);
        }
        // One that began before a shard ended knows nothing of its children.
        if view.epoch == self.ownership.epoch() {
            self.view = Some(view);
            self.weigh();
        }
    }

    /// Whether this worker has more shards than is fair, and where it stands among the others, going by the newest
    /// snapshot that it has seen.
    fn weigh(&mut self) {
        let (seen, flush) = (self.group.seen(), &self.parts.settings.flush);
        let rank = seen.workers.keys().take_while(|id| *id != self.group.id()).count();
        self.policy = Policy::new(flush.interval, flush.open_partitions, rank, seen.workers.len());
        self.surplus = self.view.as_ref().map_or(0, |view| {
            let share = seen.share(self.group.id(), &view.shards);
            if !share.is_settled() {
                self.ownership.look_on();
            }
            // What a flush under way gives up is not counted twice.
            self.shards.len().saturating_sub(share.fair).min(share.surplus())
        });
        let since = self.surplus_since.unwrap_or_else(Instant::now);
        self.surplus_since = (self.surplus > 0).then_some(since);
    }

    fn decode(&mut self, read: Read) -> Result<(), WorkerError> {
        if !self.shards.is_current(&read.shard, read.tenure) {
            return Ok(());
        }
        let batch = read.batch?;
        let bytes = batch.records.iter().map(|record| record.data.len()).sum();
        self.telemetry.read(&read.shard, batch.records.len(), bytes, batch.millis_behind);
        // The start has succeeded: state, shards and records could be reached.
        self.parts.storage.patience.relax(self.parts.settings.stuck_after);
        self.decoding.start(read.shard, read.tenure, batch);
        Ok(())
    }

    fn absorb(&mut self, mut done: Done) {
        if self.shards.is_current(&done.shard, done.tenure) {
            self.buffer(&mut done);
        }
        self.decoding.reuse(done.batch);
    }

    fn buffer(&mut self, done: &mut Done) {
        let place = Place { shard: done.shard.clone(), stream: self.stream.clone() };
        for rejection in &done.batch.decoded.rejections {
            if let Some(earlier) = &rejection.earlier {
                self.parts.source.rejected_again(&done.shard, earlier.index);
            }
        }
        let now = self.parts.storage.clock.now();
        self.telemetry.rejected(&done.batch.decoded.rejections, now);
        self.buffers.push(&self.parts.tabulator.tables, &mut done.batch, &place, now);
        if let Some(position) = &done.expired {
            warn!(
                shard = %done.shard,
                "PositionExpired: the stream has trimmed the position `{position}`: going on from the oldest record; what \
                 came in between, if anything did, is lost. Compare the stream's retention with how long no worker ran"
            );
            self.expired += 1;
        }
        if done.position.is_some() && self.since.is_none() {
            self.since = Some(self.oldest());
        }
        self.shards.buffered(&done.shard, done.position.take(), done.records, done.at_tip || done.at_end);
        if done.at_end {
            debug!(shard = %done.shard, "read to its end");
            if !self.parts.source.ends() {
                self.shard_ended.get_or_insert_with(Instant::now);
            }
        }
    }

    /// When the oldest of what is buffered arrived, within limits.
    fn oldest(&self) -> Instant {
        let now = self.parts.storage.clock.now();
        let age = self.buffers.oldest_arrival().map_or(0, |arrival| u64::try_from(now - arrival).unwrap_or(0));
        let age = Duration::from_millis(age).min(LONGEST_IDLE).min(self.policy.interval() / 2);
        Instant::now().checked_sub(age).unwrap_or_else(Instant::now)
    }

    // Flushing and committing.

    fn fill(&self) -> Fill {
        // Full of packs that are being published: a flush of the little else that is there would not help.
        let packs = !self.publishing.is_empty() && self.buffers.bytes() < self.budget.limit() / 2;
        Fill {
            since: self.since,
            full: self.budget.room() == 0 && !packs,
            partitions: self.buffers.open(),
            shard_ended: self.shard_ended,
            surplus: self.surplus_since,
            published: self.published_since,
        }
    }

    /// When the loop must turn again though nothing happens.
    fn deadline(&self) -> Option<Instant> {
        self.policy.deadline(&self.fill()).filter(|_| self.flushing.is_empty())
    }

    fn flush_due(&self) -> Option<Reason> {
        if self.turns.is_encoding() {
            return None;
        }
        if !self.flushing.is_empty() {
            // What is under way makes the state newer soon; only what stops the reading can't wait for that.
            let due = self.policy.due(&self.fill(), Instant::now());
            return due.filter(|due| matches!(due, Reason::Full | Reason::OpenPartitions));
        }
        let drained = self.parts.settings.drain && self.since.is_some() && self.all_at_tip();
        // Other drains wait until what is published is known to be.
        let published = self.parts.settings.drain && !self.published.is_empty() && self.all_at_tip();
        let due = self.policy.due(&self.fill(), Instant::now());
        due.or_else(|| drained.then_some(Reason::Finish)).or_else(|| published.then_some(Reason::Clear))
    }

    /// Takes everything that is buffered and lets it be encoded, staged and committed behind the loop; with it, so many
    /// shards are given up.
    fn flush(&mut self, reason: Reason, give_up: usize) {
        let taken = self.buffers.take();
        self.flushes += 1;
        let id = PackId { worker: self.group.id().clone(), flush: self.flushes };
        let moves = self.shards.flush();
        let give_up = self.shards.give_up(give_up);
        for shard in &give_up {
            info!(%shard, "giving up: another worker is to have it");
            self.telemetry.let_go(shard);
            self.readers.end(shard);
        }
        debug!(pack = %id, ?reason, partitions = taken.partitions.len(), events = taken.counts.events, "flush");
        let (published, expired) = (std::mem::take(&mut self.published), std::mem::take(&mut self.expired));
        self.in_flight.extend(taken.oldest_arrival.map(|arrival| (self.flushes, (Instant::now(), arrival))));
        let tables = taken.partitions.iter().filter_map(|(partition, _)| self.table_state(partition)).collect();
        let now = Some(self.parts.storage.clock.now());
        let commit = Commit { moves, pack: None, counts: taken.counts, published, give_up, expired, tables, now };
        let flush = Flush { id, rows: taken.partitions, commit, began: Instant::now() };
        let (group, encode) = (Arc::clone(&self.group), Arc::clone(&self.encode));
        let compute = self.parts.settings.compute;
        let turns = self.turns.clone();
        turns.begin();
        self.flushes_began.push_back(flush.began);
        self.flushing.spawn(async move { flush::flush(&group, &encode, compute, flush, &turns).await });
        (self.since, self.shard_ended, self.published_since, self.surplus_since) = (None, None, None, None);
    }

    /// What is committed of the table of a partition.
    fn table_state(&self, partition: &Partition) -> Option<(String, TableState)> {
        let Folder::Table { table, .. } = &partition.folder else { return None };
        self.tables.get(&**table).map(|state| (table.to_string(), state.clone()))
    }

    fn committed(&mut self, committed: Joined<Committed>) -> Result<(), WorkerError> {
        let Committed { id, commit, objects, by_code, took } = committed.expect("a flush does not panic")?;
        self.flushes_began.pop_front();
        if self.shards.committed(&commit.moves, &commit.give_up, self.group.seen().number) {
            // Until the next view nobody knows whether there are children.
            self.view = None;
            let ended = commit.moves.iter().filter(|step| step.to == Position::End);
            self.ownership.refresh(ended.map(|step| step.shard.clone()));
        }
        for step in commit.moves.iter().filter(|step| step.to == Position::End) {
            self.telemetry.let_go(&step.shard);
        }
        self.weigh();
        let bytes: usize = objects.iter().map(|object| object.len()).sum();
        let Counts { records, events, rejections, control, .. } = commit.counts;
        info!(pack = %id, records, events, rejections, control, objects = objects.len(), bytes, "committed");
        self.report.counts += commit.counts;
        self.report.expired += commit.expired;
        self.report.commits += u64::from(!commit.moves.is_empty());
        self.count(&commit, &by_code, took);
        if objects.is_empty() {
            self.in_flight.remove(&id.flush);
        }
        self.report.objects += objects.len() as u64;
        self.report.bytes += bytes as u64;
        let group = Arc::clone(&self.group);
        if is_broken(Broken::ClearBeforePublish) && !objects.is_empty() {
            self.published.insert(id.clone());
        }
        let keys = objects.iter().map(|object| object.key.clone()).collect();
        let sizes = objects.iter().map(|object| (object.rows(), object.len() as u64)).collect();
        let published = (!objects.is_empty()).then_some(Published { id, keys, sizes });
        self.publishing.spawn(async move {
            publish::publish(&group, objects).await?;
            // Off the state with this commit: nobody needs them, so they can wait.
            group.delete_packs(commit.published).await?;
            Ok(published)
        });
        Ok(())
    }

    fn published(&mut self, published: Joined<Option<Published>>) -> Result<(), WorkerError> {
        if let Some(published) = published.expect("publishing does not panic")? {
            debug!(pack = %published.id, "published");
            self.in_flight.remove(&published.id.flush);
            self.tell_published(&published);
            if let Some(pack) = self.registering.begin(published) {
                self.registered(pack);
            }
        }
        Ok(())
    }

    /// What a crash would have made another worker do again is done.
    fn registered(&mut self, pack: PackId) {
        self.published.insert(pack);
        self.published_since.get_or_insert_with(Instant::now);
    }
}
