//! A numbered log of small objects in a store: entry N+1 is created only if it is absent. It knows nothing of what the
//! entries hold.
//!
//! Numbers only grow and the newest entries are never deleted, so the highest number listed is the head, always. No
//! cached number and no answer of a create is trusted for that.

use bytes::Bytes;
use object_store::ObjectMeta;
use object_store::path::Path;
use tracing::warn;

use super::storage::{Answer, Storage};
use crate::retry::{GaveUp, Retry, Verdict};

/// Entries that collection leaves. One would do for correctness; these are for people who want to know what happened.
/// Collection starts when a listing shows twice as many.
pub const KEPT: usize = 500;
/// What the names of objects begin with by which `firemain check` tries a store, here and beside: no entries, and nobody's
/// mistake. They are before all entries in the order of keys, and queries pass them over.
pub const PROBE: &str = ".check-";

/// The log below one prefix.
#[derive(Clone, Debug)]
pub struct Log {
    storage: Storage,
    prefix: Path,
    kept: usize,
}

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub number: u64,
    pub bytes: Bytes,
}

impl Log {
    /// `kept`: entries that collection leaves, usually [`KEPT`].
    pub fn new(storage: Storage, prefix: Path, kept: usize) -> Self {
        Self { storage, prefix, kept }
    }

    pub fn kept(&self) -> usize {
        self.kept
    }

    /// The newest entry, if it is newer than one that is known by its number: only entries from that on are listed. With
    /// 0 everything is listed, and old entries are collected on the way.
    pub async fn head(&self, known: u64) -> Result<Option<Entry>, GaveUp> {
        self.newest(known, known == 0).await
    }

    /// The newest entry, for somebody who only looks: nothing is collected.
    pub async fn look(&self) -> Result<Option<Entry>, GaveUp> {
        self.newest(0, false).await
    }

    async fn newest(&self, known: u64, collect: bool) -> Result<Option<Entry>, GaveUp> {
        let what = format!("reading the newest snapshot of {}", self.prefix);
        let mut retry = Retry::new(&self.storage.clock, &self.storage.patience, what);
        let mut unread = None;
        loop {
            let mut listed = self.listed(known).await?;
            if collect {
                self.collect(&listed).await?;
            }
            let Some((number, object)) = listed.pop().filter(|(number, _)| *number > known) else { return Ok(None) };
            if let Some(bytes) = self.storage.get_as_listed(&object).await? {
                return Ok(Some(Entry { number, bytes }));
            }
            // It was collected meanwhile, and perhaps created again below the head, by a request that came late. Then a
            // newer one is listed now.
            if unread.as_ref() == Some(&object) {
                let odd = format!("{} is listed with an ETag that it is not served by: is this S3?", object.location);
                retry.again(Verdict::Refused, &odd).await?;
            }
            unread = Some(object);
        }
    }

    /// The highest number there is, looking from a known one on; 0 while there is none.
    pub async fn highest(&self, known: u64) -> Result<u64, GaveUp> {
        Ok(self.listed(known).await?.last().map_or(0, |(number, _)| *number))
    }

    /// One attempt to create an entry. What really happened, the listing says, not the answer.
    pub async fn create(&self, number: u64, bytes: &Bytes, retry: &mut Retry) -> Result<Answer, GaveUp> {
        self.storage.create(&self.key(number), bytes, retry).await
    }

    /// Deletes the oldest entries, when there are many, and never the newest ones that are to be kept.
    async fn collect(&self, listed: &[(u64, ObjectMeta)]) -> Result<(), GaveUp> {
        if listed.len() > 2 * self.kept {
            let old = &listed[..listed.len() - self.kept];
            self.storage.delete(old.iter().map(|(_, object)| object.location.clone()).collect()).await?;
        }
        Ok(())
    }

    /// Entries from a number on, by their numbers.
    async fn listed(&self, from: u64) -> Result<Vec<(u64, ObjectMeta)>, GaveUp> {
        let offset = from.checked_sub(1).filter(|before| *before > 0).map(|before| self.key(before));
        let found = self.storage.list(&self.prefix, offset.as_ref()).await?;
        let listed = found.into_iter().filter_map(|object| {
            let name = object.location.filename().unwrap_or_default();
            let number = name.strip_suffix(".json").filter(|digits| digits.len() == 20).and_then(|d| d.parse().ok());
            if number.is_none() && !name.starts_with(PROBE) {
                warn!("{} is not a snapshot: it is left alone", object.location);
            }
            Some((number?, object))
        });
        Ok(listed.collect())
    }

    fn key(&self, number: u64) -> Path {
        self.prefix.clone().join(format!("{number:020}.json"))
    }
}
