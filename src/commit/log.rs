//! A numbered log of small objects in a store: entry N+1 is created only if it is absent. It knows nothing of what the
//! entries hold.
//!
//! Numbers only grow and the newest entries are never deleted, so the highest number listed is the head, always. No
//! cached number and no answer of a create is trusted for that.

use bytes::Bytes;
use object_store::path::Path;
use tracing::warn;

use super::storage::{Answer, Storage};
use crate::retry::{GaveUp, Retry};

/// Entries that collection leaves. One would do for correctness; these are for people who want to know what happened.
/// Collection starts when a listing shows twice as many.
pub const KEPT: usize = 500;

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
        loop {
            let numbers = self.numbers(known).await?;
            if known == 0 {
                self.collect(&numbers).await?;
            }
            let Some(&number) = numbers.last().filter(|number| **number > known) else { return Ok(None) };
            // Not there any more: it was collected, so that a newer one is listed now.
            if let Some(bytes) = self.storage.get(&self.key(number)).await? {
                return Ok(Some(Entry { number, bytes }));
            }
        }
    }

    /// The highest number there is, looking from a known one on; 0 while there is none.
    pub async fn highest(&self, known: u64) -> Result<u64, GaveUp> {
        Ok(self.numbers(known).await?.last().copied().unwrap_or(0))
    }

    /// One attempt to create an entry. What really happened, the listing says, not the answer.
    pub async fn create(&self, number: u64, bytes: &Bytes, retry: &mut Retry) -> Result<Answer, GaveUp> {
        self.storage.create(&self.key(number), bytes, retry).await
    }

    /// Deletes the oldest entries, when there are many, and never the newest ones that are to be kept.
    async fn collect(&self, numbers: &[u64]) -> Result<(), GaveUp> {
        if numbers.len() > 2 * self.kept {
            let old = &numbers[..numbers.len() - self.kept];
            self.storage.delete(old.iter().map(|number| self.key(*number)).collect()).await?;
        }
        Ok(())
    }

    async fn numbers(&self, from: u64) -> Result<Vec<u64>, GaveUp> {
        let offset = from.checked_sub(1).filter(|before| *before > 0).map(|before| self.key(before));
        let found = self.storage.list(&self.prefix, offset.as_ref()).await?;
        let numbers = found.iter().filter_map(|object| {
            let name = object.location.filename().unwrap_or_default();
            let number = name.strip_suffix(".json").filter(|digits| digits.len() == 20).and_then(|d| d.parse().ok());
            if number.is_none() {
                warn!("{} is not a snapshot: it is left alone", object.location);
            }
            number
        });
        Ok(numbers.collect())
    }

    fn key(&self, number: u64) -> Path {
        self.prefix.clone().join(format!("{number:020}.json"))
    }
}
