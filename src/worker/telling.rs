//! What the loop tells of itself: see [`crate::telemetry`].

use std::collections::BTreeMap;
use std::time::Duration;

use super::Worker;
use super::registering::Published;
use crate::commit::change::Commit;
use crate::decode::Counts;
use crate::event::RejectionCode;
use crate::telemetry::{Stands, recent};

impl Worker {
    /// A flush is committed.
    pub(super) fn count(&self, commit: &Commit, by_code: &BTreeMap<RejectionCode, u64>, took: Duration) {
        let metrics = self.telemetry.metrics();
        let Counts { records, events, control, bytes, .. } = commit.counts;
        metrics.records.add(records);
        metrics.events.add(events);
        metrics.control.add(control);
        metrics.decoded_bytes.add(bytes);
        metrics.expired.add(commit.expired);
        metrics.commits.took(took);
        for (code, count) in by_code {
            metrics.rejections.add(code.as_str(), *count);
        }
    }

    /// What stands as it does after this turn of the loop.
    pub(super) fn tell(&self) {
        let metrics = self.telemetry.metrics();
        metrics.shards.set(Some(self.shards.len() as f64));
        metrics.partitions.set(Some(self.buffers.open() as f64));
        metrics.buffered.set(Some((self.budget.rows() + self.budget.packed()) as f64));
        metrics.backlog.set(Some(self.group.seen().packs.len() as f64));
        metrics.unregistered.set(self.parts.registrar.as_ref().map(|registrar| registrar.backlog().0 as f64));
        let waiting = self.in_flight.values().map(|(_, arrival)| *arrival).chain(self.buffers.oldest_arrival());
        let shards = self.view.as_ref().map(|view| {
            let listed = view.shards.iter().map(|shard| &shard.id).collect();
            let owned = self.shards.len();
            (owned, if owned == 0 { view.head.claimable(&listed).count() } else { 0 })
        });
        self.telemetry.stands(Stands {
            state: self.group.seen(),
            shards,
            oldest: waiting.min(),
            waiting: self.since,
            flushing: self.flushes_began.front().copied(),
            publishing: self.in_flight.values().map(|(began, _)| *began).min(),
        });
    }

    pub(super) fn tell_published(&self, published: &Published) {
        let at = self.parts.storage.clock.now();
        let objects = published.keys.iter().zip(&published.sizes);
        self.telemetry.published(objects.map(|(key, (rows, bytes))| recent::Published {
            key: key.clone(),
            rows: *rows,
            bytes: *bytes,
            at,
        }));
    }
}
