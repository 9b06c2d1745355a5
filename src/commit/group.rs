//! What one worker does in its group: join, claim, stage, commit, publish, clear, leave.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use object_store::path::Path;
use tokio::sync::{Mutex, watch};
use tracing::{info, warn};

use super::change::{Commit, Refused, Wanted};
use super::log::{KEPT, Log};
use super::member::{AdvanceError, Member, Seen};
use super::pack::{self, BadPack, PackedObject};
use super::peers::{About, AnnounceError, Peers};
use super::publish;
use super::snapshot::{PackId, PackState, Snapshot, WorkerId};
use super::storage::{Description, Storage};
use crate::broken::{Broken, is_broken};
use crate::buffer::{Budget, Held};
use crate::retry::GaveUp;

/// Why a worker can't go on.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// Taken for dead: forget everything and start again under a new id.
    #[error("this worker was taken for dead by another")]
    Fenced,
    #[error(transparent)]
    Advance(AdvanceError),
    #[error(transparent)]
    Announce(#[from] AnnounceError),
    #[error(transparent)]
    GaveUp(#[from] GaveUp),
    #[error(
        "pack {pack} is committed but can't be read ({error}): the rows of {objects} objects are in it; \
         restore it under _firemain/ from a backup or version, or start a new `group` to read the stream again"
    )]
    BadPack { pack: PackId, objects: u64, error: String },
}

impl From<AdvanceError> for GroupError {
    fn from(error: AdvanceError) -> Self {
        match error {
            AdvanceError::Fenced => Self::Fenced,
            other => Self::Advance(other),
        }
    }
}

/// Where a group keeps its state.
pub fn root(group: &str) -> Path {
    Path::from("_firemain").join(group)
}

/// The newest state of a group, for somebody who only looks; `None` if it has none.
pub async fn look(storage: &Storage, group: &str) -> Result<Option<Snapshot>, AdvanceError> {
    let log = Log::new(storage.clone(), root(group).join("state"), KEPT);
    log.look().await?.map(|entry| entry.snapshot()).transpose()
}

/// A worker's place in its group. Shared by its loop and its heartbeat. Whoever needs both locks takes `member` first.
#[derive(Debug)]
pub struct Group {
    id: WorkerId,
    storage: Storage,
    staged: Path,
    lease: Duration,
    seen: watch::Receiver<Seen>,
    member: Mutex<Member>,
    peers: Mutex<Peers>,
}

/// What joining a group takes.
#[derive(Debug)]
pub struct Joining<'a> {
    /// Names the state: `_firemain/<name>/`.
    pub name: &'a str,
    /// What the positions belong to.
    pub source: &'a str,
    pub lease: Duration,
    /// Snapshots that collection leaves, usually [`super::log::KEPT`].
    pub kept: usize,
    pub about: About,
}

impl Group {
    /// Announces a new worker and adds it to the group.
    pub async fn join(storage: Storage, joining: Joining<'_>) -> Result<Self, GroupError> {
        let root = root(joining.name);
        let id = WorkerId::from(storage.clock.new_id());
        let mut peers =
            Peers::new(storage.clone(), root.clone().join("workers"), id.clone(), joining.about, joining.lease);
        peers.announce().await?;
        let log = Log::new(storage.clone(), root.clone().join("state"), joining.kept);
        let member = match Self::register(&id, &storage, log, joining.source).await {
            Ok(member) => member,
            Err(error) => {
                peers.retire().await?;
                return Err(error.into());
            }
        };
        peers.look().await?;
        let (staged, lease, seen) = (root.join("staged"), joining.lease, member.watch());
        Ok(Self { id, storage, staged, lease, seen, member: Mutex::new(member), peers: Mutex::new(peers) })
    }

    async fn register(id: &WorkerId, storage: &Storage, log: Log, source: &str) -> Result<Member, AdvanceError> {
        let mut member = Member::new(id.clone(), log, storage.clock.clone(), storage.patience.clone()).await?;
        let now = storage.clock.now();
        member.advance("register", |head| head.register(id, source, now)).await?;
        Ok(member)
    }

    pub fn id(&self) -> &WorkerId {
        &self.id
    }

    /// The newest snapshot that this worker has seen; costs nothing, and never waits.
    pub fn seen(&self) -> Arc<Snapshot> {
        Arc::clone(&self.seen.borrow().head)
    }

    /// The head, read now.
    pub async fn look(&self) -> Result<Arc<Snapshot>, GroupError> {
        Ok(Arc::clone(self.member.lock().await.look().await?))
    }

    /// One heartbeat: a put and a list. True when the head is worth a look: somebody came, went or died.
    pub async fn beat(&self) -> Result<bool, GroupError> {
        // A change that is long in coming through must not keep this worker from saying that it lives.
        if let Ok(mut member) = self.member.try_lock() {
            member.collect_if_due().await?;
        }
        let mut peers = self.peers.lock().await;
        peers.beat().await?;
        let changed = peers.look().await?;
        Ok(changed || !peers.dead(self.seen().workers.keys()).is_empty())
    }

    /// Claims what may be claimed, up to a fair share. Returns the packs of the dead that are now this worker's to
    /// publish: see [`Group::publish_adopted`].
    pub async fn claim(&self, wanted: &Wanted<'_>) -> Result<Vec<PackState>, GroupError> {
        let mut member = self.member.lock().await;
        let head = Arc::clone(member.look().await?);
        let before: BTreeSet<PackId> = head.packs_of(&self.id).map(|pack| pack.id.clone()).collect();
        let dead = self.silent(&head).await?;
        for worker in &dead {
            warn!(%worker, "worker shows no sign of life for {:?}: taking over", self.lease);
        }
        unless_nothing(member.advance("claim", |head| head.claim(&self.id, wanted, &dead)).await)?;
        Ok(member.head().packs_of(&self.id).filter(|pack| !before.contains(&pack.id)).cloned().collect())
    }

    /// Publishes a pack that another worker committed, and could not publish any more. Returns the keys of its objects.
    /// What comes next is [`Group::clear`].
    pub async fn publish_adopted(&self, pack: &PackState, budget: &Arc<Budget>) -> Result<Vec<String>, GroupError> {
        info!(pack = %pack.id, objects = pack.objects, "publishing what another worker committed");
        // Past the budget perhaps, but counted: this worker reads less meanwhile.
        let held = budget.hold(Held::Packed, usize::try_from(pack.bytes).unwrap_or(usize::MAX / 2));
        let objects = self.fetch(&pack.id, pack.objects).await?;
        let keys = objects.iter().map(|object| object.key.clone()).collect();
        publish::publish(self, objects).await?;
        drop(held);
        Ok(keys)
    }

    /// Puts a pack under `staged/`. Returns its size in bytes.
    pub async fn stage(&self, id: &PackId, objects: &[PackedObject]) -> Result<u64, GroupError> {
        let payload = pack::write(objects);
        let bytes = payload.content_length() as u64;
        let description = Description { content_type: "application/octet-stream".into(), metadata: Vec::new() };
        self.storage.put(&self.pack_key(id), payload, &description).await?;
        Ok(bytes)
    }

    /// The one step that makes a flush durable. When it is refused, its pack is deleted; not so when this worker was
    /// fenced: the commit may have happened before, and then the pack is its successor's to publish.
    ///
    /// What it drops from the state stays under `staged/`: see [`Group::delete_packs`].
    pub async fn commit(&self, commit: &Commit) -> Result<(), GroupError> {
        let result = self.member.lock().await.advance("commit", |head| head.commit(&self.id, commit)).await;
        let result = unless_nothing(result);
        if let (Err(AdvanceError::Refused(_)), Some(pack)) = (&result, &commit.pack) {
            self.delete_packs([pack.id.clone()]).await?;
        }
        Ok(result?)
    }

    /// Drops published packs from the state, then deletes them.
    pub async fn clear(&self, published: &BTreeSet<PackId>) -> Result<(), GroupError> {
        let clear = Commit { published: published.clone(), ..Commit::default() };
        let cleared = self.member.lock().await.advance("clear", |head| head.commit(&self.id, &clear)).await;
        unless_nothing(cleared)?;
        self.delete_packs(published.clone()).await
    }

    /// Ends in good order: everything is given up, what was published is cleared, the heartbeat removed.
    pub async fn leave(&self, published: BTreeSet<PackId>) -> Result<(), GroupError> {
        self.member.lock().await.advance("leave", |head| head.leave(&self.id, &published)).await?;
        self.delete_packs(published).await?;
        Ok(self.peers.lock().await.retire().await?)
    }

    /// Deletes what nobody can need any more: packs of workers that are gone which were never committed, and old
    /// heartbeats.
    pub async fn sweep(&self) -> Result<(), GroupError> {
        // In this order only: a pack staged after the listing is not in it; one that was committed before the head
        // was read is in the head.
        let old = self.seen();
        let staged = self.storage.list(&self.staged, None).await?;
        let head = if is_broken(Broken::SweepByAnOldHead) { old } else { self.look().await? };
        let listed: BTreeSet<&PackId> = head.packs.iter().map(|pack| &pack.id).collect();
        let packs = staged.iter().filter_map(|object| object.location.filename()?.strip_suffix(".pack")?.parse().ok());
        let orphans: Vec<PackId> = packs
            .filter(|pack: &PackId| !listed.contains(pack) && !head.workers.contains_key(&pack.worker))
            .inspect(|pack| info!(%pack, "deleting a pack that was never committed"))
            .collect();
        self.delete_packs(orphans).await?;
        let workers = head.workers.keys().cloned().collect();
        Ok(self.peers.lock().await.sweep(&workers).await?)
    }

    /// Members of the head that show no sign of life. Looks at the heartbeats after the head was read: what is known
    /// of them from before says nothing about a worker that has joined since, nor about any when this one slept.
    async fn silent(&self, head: &Snapshot) -> Result<BTreeSet<WorkerId>, GroupError> {
        let mut peers = self.peers.lock().await;
        if head.workers.keys().any(|id| *id != self.id) {
            peers.look().await?;
        }
        Ok(peers.dead(head.workers.keys()))
    }

    /// Fenced when this worker is not in the head, which is read anew if it was not seen for a lease.
    pub(super) async fn still_member(&self) -> Result<(), GroupError> {
        if self.seen.borrow().asked.elapsed() >= self.lease {
            self.look().await?;
        }
        if self.seen().workers.contains_key(&self.id) { Ok(()) } else { Err(GroupError::Fenced) }
    }

    pub(super) fn storage(&self) -> &Storage {
        &self.storage
    }

    async fn fetch(&self, id: &PackId, objects: u64) -> Result<Vec<PackedObject>, GroupError> {
        let bad = |error: String| GroupError::BadPack { pack: id.clone(), objects, error };
        let Some(bytes) = self.storage.get(&self.pack_key(id)).await? else {
            // Another worker may have put this one out, published the pack and deleted it meanwhile.
            let member = self.look().await?.workers.contains_key(&self.id);
            return Err(if member { bad("it is not there".into()) } else { GroupError::Fenced });
        };
        pack::read(&bytes).map_err(|error: BadPack| bad(error.to_string()))
    }

    /// Deletes packs that are not listed any more, but none that the newest head seen lists: then another worker has put
    /// this one out, adopted its packs and may be about to read them.
    pub async fn delete_packs(&self, packs: impl IntoIterator<Item = PackId>) -> Result<(), GroupError> {
        let head = self.seen();
        let unlisted = packs.into_iter().filter(|id| head.packs.iter().all(|pack| pack.id != *id));
        let keys = unlisted.map(|id| self.pack_key(&id)).collect();
        Ok(self.storage.delete(keys).await?)
    }

    fn pack_key(&self, id: &PackId) -> Path {
        self.staged.clone().join(format!("{id}.pack"))
    }
}

fn unless_nothing(result: Result<(), AdvanceError>) -> Result<(), AdvanceError> {
    match result {
        Err(AdvanceError::Refused(Refused::Nothing)) => Ok(()),
        other => other,
    }
}
