//! Which shards this worker owns: heartbeats, the source's list of shards, claims. Runs beside the loop and tells it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{FutureExt, StreamExt, TryStreamExt};
use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tracing::warn;

use super::{Parts, WorkerError};
use crate::buffer::Budget;
use crate::catalog::Registrar;
use crate::commit::change::Wanted;
use crate::commit::group::Group;
use crate::commit::snapshot::{PackId, ShardState, Snapshot};
use crate::event::ShardId;
use crate::retry::{Retry, Verdict};
use crate::source::{Shard, Source, SourceError};
use crate::telemetry::Telemetry;
use crate::telemetry::health::Loop;

/// How often the source is asked for its shards and the state for its head though nothing seems to have changed:
/// children are found at their parents' end already, so that this is for surprises. A shard that was not listed for so
/// long is gone.
const RELIST: Duration = Duration::from_secs(60);
/// How long a look at a shard of another worker may take.
const PROBE: Duration = Duration::from_secs(10);
/// Such looks at once.
const PROBES: usize = 16;
/// Orphaned packs and old heartbeats are looked for at the start and then so often.
const SWEEP: Duration = Duration::from_secs(3600);

/// What is known after a claim.
#[derive(Debug)]
pub struct View {
    /// Every shard that the source has.
    pub shards: Vec<Shard>,
    /// The state, with the shards of this worker.
    pub head: Arc<Snapshot>,
    /// Whether the source listed every shard that the state has and that was not read to its end.
    pub complete: bool,
    /// Shards of the source that are committed at their end, or (while draining) at their tip by another worker.
    pub done: BTreeSet<ShardId>,
    /// Packs of other workers that were listed when all shards were first `done` or owned, and still are: what is in
    /// them is committed, and not yet known to be published.
    pub awaited: BTreeSet<PackId>,
    /// As of [`Ownership::epoch`], from before the source was asked.
    pub epoch: u64,
}

/// The tasks; they end when this is dropped.
#[derive(Debug)]
pub struct Ownership {
    views: mpsc::Receiver<Result<View, WorkerError>>,
    wanted: Arc<Notify>,
    unsettled: Arc<AtomicBool>,
    ended: Arc<Mutex<BTreeSet<ShardId>>>,
    epoch: Arc<AtomicU64>,
    claiming: AbortHandle,
    _tasks: JoinSet<()>,
}

impl Ownership {
    /// Starts to claim at once, and to beat every `heartbeat`. `looks`: draining, for those at what others have read.
    pub fn start(group: &Arc<Group>, parts: &Parts, budget: &Arc<Budget>, heartbeat: Duration, looks: Retry) -> Self {
        let (sender, views) = mpsc::channel(1);
        let wanted = Arc::new(Notify::new());
        wanted.notify_one();
        let mut tasks = JoinSet::new();
        let (beats, claims) = (sender.clone(), sender);
        let epoch = Arc::new(AtomicU64::new(0));
        // Draining, whether others have read what there is shows in their positions only.
        let unsettled = Arc::new(AtomicBool::new(true));
        let ended = Arc::new(Mutex::new(BTreeSet::new()));
        let mut claiming = Claiming {
            epoch: Arc::clone(&epoch),
            group: Arc::clone(group),
            source: Arc::clone(&parts.source),
            registrar: parts.registrar.clone(),
            budget: Arc::clone(budget),
            unsettled: Arc::clone(&unsettled),
            missing: BTreeMap::new(),
            free: BTreeMap::new(),
            heartbeat,
            ended: Arc::clone(&ended),
            wanted: Arc::clone(&wanted),
            draining: parts.settings.drain,
            looks,
            awaited: None,
        };
        let (group, notify, looking) = (Arc::clone(group), Arc::clone(&wanted), Arc::clone(&unsettled));
        let telemetry = parts.telemetry.clone();
        tasks.spawn(async move {
            if let Err(error) = beat(&group, heartbeat, &looking, &notify, &telemetry).await {
                let _ = beats.send(Err(error)).await;
            }
        });
        let claiming = tasks.spawn(async move {
            if let Err(error) = claiming.run(&claims).await {
                let _ = claims.send(Err(error)).await;
            }
        });
        Self { views, wanted, unsettled, ended, epoch, claiming, _tasks: tasks }
    }

    /// Asks for a claim: shards have ended, their children may be free, and are this worker's first.
    pub fn refresh(&self, ended: impl Iterator<Item = ShardId>) {
        self.ended.lock().expect("no panic while it is locked").extend(ended);
        self.epoch.fetch_add(1, Ordering::Relaxed);
        self.wanted.notify_one();
    }

    /// Has the head looked at with each heartbeat until shards are shared evenly and all have their owners.
    pub fn look_on(&self) {
        self.unsettled.store(true, Ordering::Relaxed);
    }

    /// Refreshes so far.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    /// Claims nothing more; the heartbeat goes on. A claim that is under way may still be applied: leaving undoes it.
    pub fn stop_claiming(&self) {
        self.claiming.abort();
    }

    /// What a claim brought, or why this worker can't go on.
    pub async fn next(&mut self) -> Result<View, WorkerError> {
        match self.views.recv().await {
            Some(view) => view,
            None => std::future::pending().await,
        }
    }
}

async fn beat(
    group: &Group,
    heartbeat: Duration,
    unsettled: &AtomicBool,
    wanted: &Notify,
    telemetry: &Telemetry,
) -> Result<(), WorkerError> {
    let mut ticks = interval(heartbeat);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        telemetry.turned(Loop::Heartbeat);
        if group.beat().await? || unsettled.load(Ordering::Relaxed) {
            wanted.notify_one();
        }
    }
}

struct Claiming {
    group: Arc<Group>,
    source: Arc<dyn Source>,
    registrar: Option<Arc<Registrar>>,
    budget: Arc<Budget>,
    wanted: Arc<Notify>,
    /// The head is to be looked at with each heartbeat: something is about to change.
    unsettled: Arc<AtomicBool>,
    /// Shards of the state that the source did not list, and since when.
    missing: BTreeMap<ShardId, Instant>,
    /// Shards that nobody owns, and since when. Whoever is to have one may not know: then anybody takes it in the end.
    free: BTreeMap<ShardId, Instant>,
    heartbeat: Duration,
    /// Shards that this worker has read to their end: it takes their children at once, so that reading goes on.
    ended: Arc<Mutex<BTreeSet<ShardId>>>,
    epoch: Arc<AtomicU64>,
    draining: bool,
    /// Draining, the looks at what others have read.
    looks: Retry,
    /// As in [`View`]; `None` while not all is done.
    awaited: Option<BTreeSet<PackId>>,
}

impl Claiming {
    async fn run(&mut self, views: &mpsc::Sender<Result<View, WorkerError>>) -> Result<(), WorkerError> {
        let (mut relist, mut sweep) = (interval(RELIST), interval(SWEEP));
        for ticks in [&mut relist, &mut sweep] {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        relist.tick().await;
        loop {
            tokio::select! {
                biased;
                () = self.wanted.notified() => {}
                _ = relist.tick() => {}
                _ = sweep.tick() => {
                    self.group.sweep().await?;
                    continue;
                }
            }
            let before = self.group.seen();
            let view = self.claim(&before).await?;
            if before.workers.keys().any(|worker| !view.head.workers.contains_key(worker)) {
                sweep.reset_immediately();
            }
            if views.send(Ok(view)).await.is_err() {
                return Ok(());
            }
        }
    }

    /// `before`: a snapshot from before.
    async fn claim(&mut self, before: &Snapshot) -> Result<View, WorkerError> {
        let epoch = self.epoch.load(Ordering::Relaxed);
        let shards = self.source.shards().await?;
        let gone = self.gone(before, &shards);
        let (start, at_once) = (self.source.start(), self.at_once(&shards));
        let wanted = Wanted { known: &shards, seen: before.number, start: &start, gone: &gone, at_once: &at_once };
        for pack in self.group.claim(&wanted).await? {
            let keys = self.group.publish_adopted(&pack, &self.budget).await?;
            // Shards wait for this pack to be cleared: it does not wait for a catalogue.
            if let Some(registrar) = &self.registrar {
                registrar.add(keys.iter().map(String::as_str));
            }
            self.group.clear(&BTreeSet::from([pack.id])).await?;
        }
        let head = self.group.seen();
        let is_free = |id: &ShardId| head.shards.get(id).is_some_and(|shard| shard.owner.is_none());
        let since = |id: &ShardId| (id.clone(), self.free.get(id).copied().unwrap_or_else(Instant::now));
        self.free = shards.iter().map(|shard| &shard.id).filter(|id| is_free(id)).map(since).collect();
        for shard in gone.iter().filter(|id| before.is_unread(id)).filter(|id| !head.shards.contains_key(*id)) {
            warn!(%shard, "PositionExpired: the stream has removed a shard that was not read to its end: the rest is lost");
        }
        let share = head.share(self.group.id(), &shards);
        self.unsettled.store(self.draining || !share.is_settled(), Ordering::Relaxed);
        let done = self.done(&shards, &head).await?;
        let mine = |id: &ShardId| head.shards.get(id).is_some_and(|shard| shard.is_owned_by(self.group.id()));
        let complete = !self.missing.keys().any(|id| head.is_unread(id));
        let all = complete && shards.iter().all(|shard| done.contains(&shard.id) || mine(&shard.id));
        let awaited = self.still_awaited(&head, all);
        Ok(View { shards, head, complete, done, awaited, epoch })
    }

    /// Shards that this worker takes whatever its share is, if it can: the children of those that it has ended, once, and
    /// those that were free at an earlier heartbeat already.
    fn at_once(&mut self, listed: &[Shard]) -> BTreeSet<ShardId> {
        let mut ended = self.ended.lock().expect("no panic while it is locked");
        let children = listed.iter().filter(|shard| shard.parents.iter().any(|parent| ended.contains(parent)));
        let children: Vec<&Shard> = children.collect();
        for parent in children.iter().flat_map(|child| &child.parents) {
            ended.remove(parent);
        }
        let left = self.free.iter().filter(|(_, since)| since.elapsed() >= self.heartbeat / 2).map(|(id, _)| id);
        children.iter().map(|child| &child.id).chain(left).cloned().collect()
    }

    /// Shards of a snapshot that were not in what the source listed since then, nor in any listing for a while: so that
    /// one listing that is not whole does not make a shard forgotten, to be read again from its beginning.
    fn gone(&mut self, before: &Snapshot, listed: &[Shard]) -> BTreeSet<ShardId> {
        let listed: BTreeSet<&ShardId> = listed.iter().map(|shard| &shard.id).collect();
        if self.source.ends() {
            // A file that is not there may come again, and is not to be read again: only what the source knows by other
            // means then is forgotten, as objects of rejections by their twins in `replayed/`.
            let ended = before.shards.iter().filter(|(_, shard)| shard.has_ended()).map(|(id, _)| id);
            return ended.filter(|id| !listed.contains(id) && self.source.is_gone(id)).cloned().collect();
        }
        let missing = before.shards.keys().filter(|id| !listed.contains(id));
        let since = |id: &ShardId| (id.clone(), self.missing.get(id).copied().unwrap_or_else(Instant::now));
        self.missing = missing.map(since).collect();
        self.missing.iter().filter(|(_, since)| since.elapsed() >= RELIST).map(|(id, _)| id.clone()).collect()
    }

    /// Not simply all packs of others: a busy one lists a new pack whenever it drops an old one.
    fn still_awaited(&mut self, head: &Snapshot, all_done: bool) -> BTreeSet<PackId> {
        let others = head.packs.iter().filter(|pack| pack.publisher != *self.group.id()).map(|pack| &pack.id);
        let before = self.awaited.take().filter(|_| all_done);
        let awaited = others.filter(|id| before.as_ref().is_none_or(|before| before.contains(id))).cloned().collect();
        if all_done {
            self.awaited = Some(BTreeSet::clone(&awaited));
        }
        awaited
    }

    /// Shards with nothing more to do: those at their end and, draining, those of others of which everything is committed.
    async fn done(&mut self, shards: &[Shard], head: &Snapshot) -> Result<BTreeSet<ShardId>, SourceError> {
        let ended = |id: &&ShardId| head.shards.get(*id).is_some_and(ShardState::has_ended);
        let (done, others): (Vec<_>, Vec<_>) = shards.iter().map(|shard| shard.id.clone()).partition(|id| ended(&id));
        let mut done = BTreeSet::from_iter(done);
        if self.draining {
            match self.drained(&others, head).await {
                Ok(drained) => {
                    self.looks.recovered();
                    done.extend(drained);
                }
                Err(error) => self.looks.again(Verdict::Refused, &error).await?,
            }
        }
        Ok(done)
    }

    /// Of some shards those that another worker owns, and of which everything is committed.
    async fn drained(&self, shards: &[ShardId], head: &Snapshot) -> Result<Vec<ShardId>, SourceError> {
        let look = async |id: &ShardId| Ok(self.others_at_tip(head, id).await?.then(|| id.clone()));
        let looks: Vec<_> = shards.iter().map(|id| look(id).boxed()).collect();
        futures::stream::iter(looks).buffered(PROBES).try_filter_map(async |drained| Ok(drained)).try_collect().await
    }

    /// Whether a shard that another worker owns has nothing behind its committed position. Of a file that is never
    /// known before it is committed at its end: standard input can't be opened to see.
    async fn others_at_tip(&self, head: &Snapshot, shard: &ShardId) -> Result<bool, SourceError> {
        if self.source.ends() {
            return Ok(false);
        }
        let Some(state) =
            head.shards.get(shard).filter(|state| state.owner.as_ref().is_some_and(|owner| owner != self.group.id()))
        else {
            return Ok(false);
        };
        let look = async { self.source.peek(shard, &state.position).await?.next().await };
        // No answer in time is no: it is asked again at the next heartbeat.
        match timeout(PROBE, look).await {
            Ok(batch) => batch.map(|batch| batch.records.is_empty() && batch.at_tip),
            Err(_) => Ok(false),
        }
    }
}
