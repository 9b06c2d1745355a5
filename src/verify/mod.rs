//! Whether the books balance: what the state says was read against what the objects of the lake say they hold.
//!
//! The state's snapshots are a chain: each was checked against the one before when it was written, and is here again. Every
//! commit between two of them has a pack, whose objects are looked for in the lake, by their names, and asked for their rows.

mod books;
mod lake;

use std::collections::BTreeSet;

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
use crate::commit::snapshot::{PackId, Snapshot};
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

/// Why there is no proof.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error(transparent)]
    Difference(#[from] Difference),
    #[error("group {0} has no state at this destination: check `group` and `destination`")]
    NoState(String),
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
pub async fn verify(storage: &Storage, group: &str, errors: &str, since: Option<Millis>) -> Result<Proof, VerifyError> {
    let (snapshots, written) = snapshots(storage, group, since).await?;
    let (Some(first), Some(last)) = (snapshots.first(), snapshots.last()) else {
        return Err(VerifyError::NoState(group.to_owned()));
    };
    let commits = books::commits(&snapshots)?;
    let wanted: BTreeSet<&PackId> = commits.iter().filter_map(|commit| Some(&commit.pack.as_ref()?.id)).collect();
    let found = lake::find(storage, &wanted, errors).await?;
    let mut proof = Proof {
        group: group.to_owned(),
        source: last.source.clone(),
        from: first.number,
        to: last.number,
        since: written,
        commits: commits.len() as u64,
        read: Books::default(),
        delivered: Delivered::default(),
        unpublished: 0,
        shards: books::ranges(&commits),
    };
    for commit in &commits {
        proof.read += commit.counts;
        let delivered = delivered(storage, group, errors, commit, &found, last, &mut proof.unpublished).await?;
        proof.delivered.objects += delivered.objects;
        proof.delivered.rows += delivered.rows;
        proof.delivered.rejections += delivered.rejections;
    }
    strangers(&commits, &found)?;
    Ok(proof)
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
    let read = |object: ObjectMeta| {
        async move {
            let name = object.location.filename().unwrap_or_default();
            let Some(number) = name.strip_suffix(".json").and_then(|digits| digits.parse().ok()) else {
                return Ok(None);
            };
            // Collected meanwhile: the chain begins behind it.
            let Some(bytes) = storage.get(&object.location).await? else { return Ok(None) };
            Ok::<_, VerifyError>(Some(Entry { number, bytes }.snapshot()?))
        }
        .boxed()
    };
    let reads: Vec<_> = listed.into_iter().map(read).collect();
    let snapshots: Vec<Option<Snapshot>> = futures::stream::iter(reads).buffered(READS).try_collect().await?;
    let snapshots: Vec<Snapshot> = snapshots.into_iter().flatten().collect();
    Ok((snapshots, begins))
}

/// What the objects of a commit hold, which has to be what it counted.
async fn delivered(
    storage: &Storage,
    group: &str,
    errors: &str,
    commit: &Commit,
    found: &Found,
    head: &Snapshot,
    unpublished: &mut u64,
) -> Result<Delivered, VerifyError> {
    let Some(pack) = &commit.pack else { return Ok(Delivered::default()) };
    let waits = head.packs.iter().any(|listed| listed.id == pack.id);
    let staged = if waits { staged(storage, group, errors, &pack.id).await? } else { None };
    let published =
        || found.objects.get(&pack.id).map(|objects| objects.values().cloned().collect()).unwrap_or_default();
    *unpublished += u64::from(staged.is_some());
    let objects: Vec<Object> = staged.unwrap_or_else(published);
    let rows =
        |is_error: bool| objects.iter().filter(|object| object.is_error == is_error).map(|object| object.rows).sum();
    let delivered = Delivered { objects: objects.len() as u64, rows: rows(false), rejections: rows(true) };
    let Books { events, rejections, .. } = commit.counts;
    let range = || {
        let ranges = commit.moves.iter().map(|step| format!("{} from `{}` to `{}`", step.shard, step.from, step.to));
        ranges.collect::<Vec<_>>().join(", ")
    };
    let wrong = |what: String| {
        Err(VerifyError::Difference(Difference(format!(
            "snapshot {}, pack {}, which read {}: {what}",
            commit.number,
            pack.id,
            range()
        ))))
    };
    if delivered.objects != pack.objects {
        let there = found.objects.get(&pack.id);
        let missing = (0..pack.objects).find(|n| there.is_none_or(|there| !there.contains_key(n)));
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

/// The objects of a pack that waits to be published; `None` when it does not any more.
async fn staged(storage: &Storage, group: &str, errors: &str, id: &PackId) -> Result<Option<Vec<Object>>, VerifyError> {
    let key = group::root(group).join("staged").join(format!("{id}.pack"));
    let Some(bytes) = storage.get(&key).await? else { return Ok(None) };
    let packed = pack::read(&bytes).map_err(|error| VerifyError::Unreadable(key.to_string(), error.to_string()))?;
    let object = |object: pack::PackedObject| {
        let (rows, is_error) = (object.rows(), object.key.starts_with(&format!("{errors}/")));
        Object { key: object.key, rows, is_error }
    };
    Ok(Some(packed.into_iter().map(object).collect()))
}

/// Objects of these workers, of flushes between those that were committed, which never were.
fn strangers(commits: &[Commit], found: &Found) -> Result<(), VerifyError> {
    let packs: Vec<&PackId> = commits.iter().filter_map(|commit| Some(&commit.pack.as_ref()?.id)).collect();
    for (stranger, key) in &found.others {
        let of_worker = || packs.iter().filter(|pack| pack.worker == stranger.worker).map(|pack| pack.flush);
        let (first, last) = (of_worker().min(), of_worker().max());
        if first.is_some_and(|first| stranger.flush > first) && last.is_some_and(|last| stranger.flush < last) {
            let what =
                format!("{key} is in the lake, and was never committed: its rows are there twice, or are nobody's");
            return Err(Difference(what).into());
        }
    }
    Ok(())
}
