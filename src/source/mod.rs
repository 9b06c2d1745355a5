//! Where records come from: the shards of a stream, or files.
//!
//! A [`Source`] knows its shards; a [`Reader`] reads one shard in order from a position. Both retry by themselves what
//! can heal by itself (see [`crate::retry`]) and return an error only when a person is needed.

pub mod errors;
pub mod file;
pub mod kinesis;
pub mod thread;

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::event::{Record, ShardId};
use crate::position::{Indices, Position};
use crate::retry::GaveUp;

/// A shard as its source knows it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    pub id: ShardId,
    /// The shards that it was split or merged from, known or not any more: they are read to their end first.
    pub parents: Vec<ShardId>,
}

/// A stream or a set of files.
#[async_trait]
pub trait Source: std::fmt::Debug + Send + Sync + 'static {
    /// What the positions of a group belong to: the stream's ARN, or `file:` and the patterns. One group, one source.
    fn id(&self) -> &str;

    /// The stream's name, for rejections; `None` for files.
    fn stream(&self) -> Option<&str>;

    /// Every shard that is there now, closed ones included.
    async fn shards(&self) -> Result<Vec<Shard>, SourceError>;

    /// Where the shards of a new group start.
    fn start(&self) -> Position;

    /// Whether the source ends by itself when all its shards are at their end: files do, streams do not.
    fn ends(&self) -> bool;

    /// A reader of one shard, from a position that is not `end`.
    async fn open(&self, shard: &ShardId, from: &Position) -> Result<Box<dyn Reader>, SourceError>;

    /// A record, or a part of it, is rejected again: one that has a [`crate::event::Earlier`], by its index.
    fn rejected_again(&self, _shard: &ShardId, _index: u64) {}

    /// Of shards that were read to their end, and that this source has not listed: whether it never will again.
    fn is_gone(&self, _shard: &ShardId) -> bool {
        !self.ends()
    }

    /// The same for a look at a shard that another worker reads, which is not to notice. Whoever looks tries again.
    async fn peek(&self, shard: &ShardId, from: &Position) -> Result<Box<dyn Reader>, SourceError> {
        self.open(shard, from).await
    }
}

/// Reads one shard in order.
#[async_trait]
pub trait Reader: std::fmt::Debug + Send {
    /// The next records. Paces itself: waits while there is nothing, within the service's limits, and waits for
    /// [`ReadAhead`]. Returns an empty batch when that is news (first caught up, end of the shard).
    ///
    /// Cancel-safe: a call that is dropped half-way loses nothing.
    async fn next(&mut self) -> Result<Batch, SourceError>;
}

/// Records of one shard, in order, right behind those of the batch before.
#[derive(Debug, Default)]
pub struct Batch {
    pub records: Vec<Record>,
    /// How far this batch's end was behind the tip of the shard when it was read; `None` where the source can't tell.
    pub millis_behind: Option<u64>,
    /// Nothing more was there when this was read.
    pub at_tip: bool,
    /// Where reading was to go on, when the stream had trimmed that: this batch begins at the oldest record that is
    /// still there, and what came in between, if anything did, is lost.
    pub expired: Option<Position>,
    /// The shard is closed and this was the last of it. No further call of `next` is made.
    pub at_end: bool,
    /// Of a file of which some records may be left out: those that were done before this batch, by their index. `None`:
    /// all that come before.
    pub done: Option<Indices>,
    /// What these records hold of [`ReadAhead`], until they are decoded.
    pub hold: Option<Hold>,
}

/// Bounds the bytes that readers have fetched and nobody has decoded yet, over all shards of the process.
#[derive(Clone, Debug)]
pub struct ReadAhead {
    permits: Arc<Semaphore>,
    total: u32,
}

/// A share of [`ReadAhead`]; given back when dropped.
pub type Hold = OwnedSemaphorePermit;

/// Permits count KiB, so that the semaphore's 32 bits suffice.
const PERMIT: usize = 1024;

impl ReadAhead {
    pub fn new(bytes: usize) -> Self {
        let total = u32::try_from(bytes.div_ceil(PERMIT)).unwrap_or(u32::MAX).max(1);
        Self { permits: Arc::new(Semaphore::new(total as usize)), total }
    }

    /// Waits until so many bytes may be held. More than the whole budget takes the whole budget.
    pub async fn hold(&self, bytes: usize) -> Hold {
        let permits = Arc::clone(&self.permits);
        permits.acquire_many_owned(self.count(bytes)).await.expect("the semaphore is never closed")
    }

    /// Gives back what a hold has over so many bytes: after a call that fetched less than it might have.
    pub fn shrink(&self, hold: &mut Hold, bytes: usize) {
        let surplus = hold.num_permits().saturating_sub(self.count(bytes) as usize);
        drop(hold.split(surplus));
    }

    /// Whether a hold is enough for so many bytes.
    pub fn covers(&self, hold: &Hold, bytes: usize) -> bool {
        hold.num_permits() >= self.count(bytes) as usize
    }

    /// Cuts a part for so many bytes off a hold; `None` when it has no more to give.
    pub fn split(&self, hold: &mut Hold, bytes: usize) -> Option<Hold> {
        hold.split((self.count(bytes) as usize).min(hold.num_permits()))
    }

    fn count(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.div_ceil(PERMIT)).unwrap_or(u32::MAX).clamp(1, self.total)
    }
}

/// Why a source gave up: each of these needs a person. What heals by itself is retried inside the source.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The message names the thing and says what to do.
    #[error("{0}")]
    Fatal(String),
    /// Likewise, and records that were handed out may be wrong: what is not committed of them must not be.
    #[error("{0}")]
    Untrusted(String),
}

impl From<GaveUp> for SourceError {
    fn from(gave_up: GaveUp) -> Self {
        Self::Fatal(gave_up.to_string())
    }
}
