//! When there is nothing more to do, and what is left to do then.

use tracing::info;

use super::policy::Reason;
use super::{Worker, WorkerError};
use crate::event::ShardId;

impl Worker {
    pub(super) fn all_at_tip(&self) -> bool {
        self.decoding.is_empty() && self.view.is_some() && self.shards.all_at_tip()
    }

    /// Draining, and everything that the source has is committed and published, by whoever owns it. (What this worker
    /// has committed itself it publishes before it ends.)
    pub(super) fn is_drained(&self) -> bool {
        let Some(view) = self.view.as_ref().filter(|_| self.parts.settings.drain) else { return false };
        let done = |id: &ShardId| self.shards.at_tip(id).unwrap_or_else(|| view.done.contains(id));
        let idle = self.decoding.is_empty() && self.flushing.is_empty();
        idle && view.complete && view.awaited.is_empty() && view.shards.iter().all(|shard| done(&shard.id))
    }

    /// Commits what is buffered, gives everything up, publishes, clears and leaves.
    pub(super) async fn finish(&mut self) -> Result<(), WorkerError> {
        self.telemetry.ending();
        // What is read and not yet buffered is left to the next worker: it takes as long to decode as to read again.
        self.readers.stop();
        self.ownership.stop_claiming();
        while let Some(committed) = self.flushing.join_next().await {
            self.committed(committed)?;
        }
        if self.since.is_some() {
            self.flush(Reason::Finish, self.shards.len());
        }
        while let Some(committed) = self.flushing.join_next().await {
            self.committed(committed)?;
        }
        while let Some(published) = self.publishing.join_next().await {
            self.published(published)?;
        }
        self.published.extend(self.registering.finish().await);
        self.group.leave(std::mem::take(&mut self.published)).await?;
        info!(worker = %self.group.id(), "left the group: everything is committed and published");
        Ok(())
    }
}
