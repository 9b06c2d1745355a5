//! Whether the books balance: what the state says was read against what the objects of the lake say they hold.
//!
//! The state's snapshots are a chain: each was checked against the one before when it was written, and is here again. Every
//! commit between two of them has a pack, whose objects are looked for in the lake, by their names, and asked for their rows.

mod books;
mod lake;

use std::collections::BTreeSet;
use std::ops::AddAssign;

use chrono::{DateTime, SecondsFormat, Utc};
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::ObjectMeta;
use serde::Serialize;

pub use self::books::{Books, Range};
use self::books::{Commit, Difference};
use self::lake::{Found, Object};
use crate::commit::group;
use crate::commit::log::Entry;
use crate::commit::member::AdvanceError;
use crate::commit::pack;
use crate::commit::snapshot::{PackId, PackState, Snapshot, WorkerId};
use crate::commit::storage::Storage;
use crate::event::Millis;
use crate::retry::GaveUp;

/// Snapshots that are read at once.
const READS: usize = 32;

/// That everything agrees, and what it is that agrees.
#[derive(Debug, Serialize)]
pub struct Proof {
    pub group: String,
    pub source: String,
    /// The first and last snapshot that were compared.
    pub from: u64,
    pub to: u64,
    /// When the first of them was written; milliseconds since 1970.
    pub since: Millis,
    pub commits: u64,
    /// What the state says was read.
    pub read: Books,
    /// What the objects hold.
    pub delivered: Delivered,
    /// Commits whose packs are not published yet: their objects were counted in the pack.
    pub unpublished: u64,
    /// Positions that the stream had trimmed before they were read on from: what was there was not read.
    pub expired: u64,
    pub shards: Vec<Range>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Delivered {
    pub objects: u64,
    /// In tables.
    pub rows: u64,
    /// In the error prefix, or where they went from there.
    pub rejections: u64,
}

impl AddAssign for Delivered {
    fn add_assign(&mut self, more: Self) {
        self.objects += more.objects;
        self.rows += more.rows;
        self.rejections += more.rejections;
    }
}

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error(transparent)]
    Difference(#[from] Difference),
    #[error("group {0} has no state at this destination: check `group` and `destination`")]
    NoState(String),
    #[error(
        "the state reaches back to {0} only, since old snapshots are deleted: what was committed before that can't be \
         compared any more; ask for --since {0} or later"
    )]
    Forgotten(String),
    #[error("{0} and {1} are the same object of one commit: its rows are there twice")]
    Twice(String, String),
    #[error("{0} can't be read: {1}")]
    Unreadable(String, String),
    #[error(transparent)]
    State(#[from] AdvanceError),
    #[error(transparent)]
    Store(#[from] GaveUp),
}

/// Compares what was committed since a time, or as far back as the state goes.
pub async fn verify(storage: &Storage, group: &str, since: Option<Millis>) -> Result<Proof, VerifyError> {
    let (snapshots, written) = snapshots(storage, group, since).await?;
    let (Some(first), Some(last)) = (snapshots.first(), snapshots.last()) else {
        return Err(VerifyError::NoState(group.to_owned()));
    };
    if since.is_some_and(|since| written > since) && first.number > 1 {
        return Err(VerifyError::Forgotten(rfc3339(written)));
    }
    let commits = books::commits(&snapshots)?;
    let wanted: BTreeSet<&PackId> = commits.iter().filter_map(|commit| Some(&commit.pack.as_ref()?.id)).collect();
    let workers: BTreeSet<&WorkerId> = snapshots.iter().flat_map(|snapshot| snapshot.workers.keys()).collect();
    let found = lake::find(storage, &wanted, &workers).await?;
    let comparing = Comparing { storage, group, head: last };
    let (mut delivered, mut unpublished, mut late) = (Delivered::default(), 0, Vec::new());
    for commit in &commits {
        let Some(pack) = &commit.pack else { continue };
        let staged = comparing.staged(&pack.id).await?;
        unpublished += u64::from(staged.is_some());
        let objects = staged.unwrap_or_else(|| found.of(&pack.id));
        // Published, and its pack deleted, while the lake was listed.
        if comparing.waits(&pack.id) && objects.len() as u64 != pack.objects {
            late.push((commit, pack));
        } else {
            delivered += compared(commit, pack, &objects)?;
        }
    }
    let again: BTreeSet<&PackId> = late.iter().map(|(_, pack)| &pack.id).collect();
    let found_late = if late.is_empty() { Found::default() } else { lake::find(storage, &again, &workers).await? };
    for (commit, pack) in late {
        delivered += compared(commit, pack, &found_late.of(&pack.id))?;
    }
    // What was committed while the lake was listed is known by now.
    let newer = newer(storage, group, last.number).await?;
    strangers(&snapshots, &newer, &wanted, &found)?;
    let mut read = Books::default();
    commits.iter().for_each(|commit| read += commit.counts);
    Ok(Proof {
        group: group.to_owned(),
        source: last.source.clone(),
        from: first.number,
        to: last.number,
        since: written,
        commits: commits.len() as u64,
        read,
        delivered,
        unpublished,
        expired: last.totals.expired - first.totals.expired,
        shards: books::ranges(&commits),
    })
}

fn rfc3339(time: Millis) -> String {
    let time = DateTime::<Utc>::from_timestamp_millis(time).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// In their order, with when the first was written: those since a time and the one before.
async fn snapshots(
    storage: &Storage,
    group: &str,
    since: Option<Millis>,
) -> Result<(Vec<Snapshot>, Millis), VerifyError> {
    let written = |object: &ObjectMeta| object.last_modified.timestamp_millis();
    let mut listed = storage.list(&group::root(group).join("state"), None).await?;
    let first = since.map_or(0, |since| listed.partition_point(|object| written(object) < since).saturating_sub(1));
    listed.drain(..first);
    let begins = listed.first().map_or(0, written);
    Ok((read(storage, listed).await?, begins))
}

/// Those that came after a number.
async fn newer(storage: &Storage, group: &str, number: u64) -> Result<Vec<Snapshot>, VerifyError> {
    let mut listed = storage.list(&group::root(group).join("state"), None).await?;
    listed.retain(|object| numbered(object).is_some_and(|newer| newer > number));
    read(storage, listed).await
}

fn numbered(object: &ObjectMeta) -> Option<u64> {
    object.location.filename()?.strip_suffix(".json")?.parse().ok()
}

async fn read(storage: &Storage, listed: Vec<ObjectMeta>) -> Result<Vec<Snapshot>, VerifyError> {
    let read = |object: ObjectMeta| {
        async move {
            let Some(number) = numbered(&object) else { return Ok(None) };
            // Collected meanwhile: the chain begins behind it.
            let Some(bytes) = storage.get(&object.location).await? else { return Ok(None) };
            Ok::<_, VerifyError>(Some(Entry { number, bytes }.snapshot()?))
        }
        .boxed()
    };
    let reads: Vec<_> = listed.into_iter().map(read).collect();
    let snapshots: Vec<Option<Snapshot>> = futures::stream::iter(reads).buffered(READS).try_collect().await?;
    Ok(snapshots.into_iter().flatten().collect())
}

struct Comparing<'a> {
    storage: &'a Storage,
    group: &'a str,
    head: &'a Snapshot,
}

impl Comparing<'_> {
    /// Whether a pack was not known to be published by the head.
    fn waits(&self, id: &PackId) -> bool {
        self.head.packs.iter().any(|listed| listed.id == *id)
    }

    /// The objects of a pack that waits to be published; `None` when it does not any more.
    async fn staged(&self, id: &PackId) -> Result<Option<Vec<Object>>, VerifyError> {
        if !self.waits(id) {
            return Ok(None);
        }
        let key = group::root(self.group).join("staged").join(format!("{id}.pack"));
        let Some(bytes) = self.storage.get(&key).await? else { return Ok(None) };
        let packed = pack::read(&bytes).map_err(|error| VerifyError::Unreadable(key.to_string(), error.to_string()))?;
        let object = |object: pack::PackedObject| {
            let (rows, is_error) = (object.rows(), lake::is_error(&object.key));
            Object { key: object.key, rows, is_error }
        };
        Ok(Some(packed.into_iter().map(object).collect()))
    }
}

/// What the objects of a commit hold, which has to be what it counted.
fn compared(commit: &Commit, pack: &PackState, objects: &[Object]) -> Result<Delivered, Difference> {
    let rows =
        |is_error: bool| objects.iter().filter(|object| object.is_error == is_error).map(|object| object.rows).sum();
    let delivered = Delivered { objects: objects.len() as u64, rows: rows(false), rejections: rows(true) };
    let Books { events, rejections, .. } = commit.counts;
    let wrong = |what: String| {
        let ranges = commit.moves.iter().map(|step| format!("{} from `{}` to `{}`", step.shard, step.from, step.to));
        let ranges = ranges.collect::<Vec<_>>().join(", ");
        Err(Difference(format!("snapshot {}, pack {}, which read {ranges}: {what}", commit.number, pack.id)))
    };
    if delivered.objects != pack.objects {
        let named = |n: u64| objects.iter().any(|object| object.key.contains(&format!("{}-{n}.", pack.id)));
        let missing = (0..pack.objects).find(|n| !named(*n));
        let missing = missing
            .map_or(String::new(), |n| format!(": {}-{n}.* is not in the lake (deleted, moved or expired?)", pack.id));
        return wrong(format!("{} of its {} objects are there{missing}", delivered.objects, pack.objects));
    }
    if (delivered.rows, delivered.rejections) != (events, rejections) {
        return wrong(format!(
            "{events} events and {rejections} rejections were counted, and its objects hold {} and {}",
            delivered.rows, delivered.rejections
        ));
    }
    Ok(delivered)
}

/// Objects of the group's workers that no commit has: of those who joined between these snapshots any, of others those
/// of flushes after the first that was committed.
fn strangers(
    snapshots: &[Snapshot],
    newer: &[Snapshot],
    committed: &BTreeSet<&PackId>,
    found: &Found,
) -> Result<(), Difference> {
    let late: BTreeSet<&PackId> = newer.iter().flat_map(|snapshot| &snapshot.packs).map(|pack| &pack.id).collect();
    for (stranger, key) in &found.others {
        let was_there = snapshots.first().is_some_and(|first| first.workers.contains_key(&stranger.worker));
        let of_worker = committed.iter().filter(|pack| pack.worker == stranger.worker).map(|pack| pack.flush);
        let first = if was_there { of_worker.min() } else { Some(0) };
        if !late.contains(stranger) && first.is_some_and(|first| stranger.flush > first) {
            return Err(Difference(format!(
                "{key} is in the lake, and was never committed: its rows are there twice, or are nobody's"
            )));
        }
    }
    Ok(())
}
