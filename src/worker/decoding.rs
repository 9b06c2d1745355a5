//! Batches are decoded and given to their tables on as many cores as there are, and come out in the order in which they
//! went in.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;

use super::compute::Compute;
use super::shards::Tenure;
use crate::commit::snapshot::RecordCounts;
use crate::decode::{self, Decoded, Decoder};
use crate::event::{Record, Rejection, ShardId};
use crate::position::{Indices, Position};
use crate::source::Batch;
use crate::table::tabulate::{self, Tabulated, Tabulator};

/// Decodes under way, at most so many at once.
pub struct Decoding {
    decoder: Arc<Decoder>,
    tabulator: Arc<Tabulator>,
    compute: Compute,
    limit: usize,
    jobs: FuturesOrdered<Job>,
    /// The rest of a batch that came out in part.
    rest: Option<Job>,
    scratches: Pool<(decode::Scratch, tabulate::Scratch)>,
    spares: Pool<Tabulated>,
}

type Job = BoxFuture<'static, (Done, Option<Batch>)>;

/// A decoded batch, or a part of one. Give its memory back with [`Decoding::reuse`].
#[derive(Debug)]
pub struct Done {
    pub shard: ShardId,
    pub tenure: Tenure,
    pub batch: Tabulated,
    /// Where the shard stands behind this; `None`: where it stood, for nothing of the batch was decoded yet.
    pub position: Option<Position>,
    /// The records that it moved past.
    pub records: RecordCounts,
    /// As in [`Batch`].
    pub expired: Option<Position>,
    pub at_tip: bool,
    pub at_end: bool,
}

impl Decoding {
    pub fn new(decoder: &Arc<Decoder>, tabulator: &Arc<Tabulator>, compute: Compute) -> Self {
        let (decoder, tabulator) = (Arc::clone(decoder), Arc::clone(tabulator));
        // One more than there are cores, so that none of them waits for the next batch to be handed over.
        let (limit, jobs) = (compute.cores() + 1, FuturesOrdered::new());
        let (scratches, spares) = (Pool::default(), Pool::default());
        Self { decoder, tabulator, compute, limit, jobs, rest: None, scratches, spares }
    }

    pub fn has_room(&self) -> bool {
        self.jobs.len() < self.limit
    }

    pub fn is_empty(&self) -> bool {
        self.jobs.is_empty() && self.rest.is_none()
    }

    pub fn start(&mut self, shard: ShardId, tenure: Tenure, batch: Batch) {
        let job = self.job(shard, tenure, batch, false);
        self.jobs.push_back(job);
    }

    /// The next batch or part of one, in the order of [`Decoding::start`]. Waits for ever while there is none.
    pub async fn next(&mut self) -> Done {
        let job = match &mut self.rest {
            Some(job) => Some(job.await),
            None => self.jobs.next().await,
        };
        let Some((done, rest)) = job else { return std::future::pending().await };
        // What is left of it goes before all others: so the order holds. It is one at a time, so it may be large.
        self.rest = rest.map(|rest| self.job(done.shard.clone(), done.tenure, rest, true));
        done
    }

    fn job(&self, shard: ShardId, tenure: Tenure, mut batch: Batch, large: bool) -> Job {
        let (decoder, tabulator) = (Arc::clone(&self.decoder), Arc::clone(&self.tabulator));
        let (scratches, mut out) = (self.scratches.clone(), self.spares.take());
        self.compute.start(move || {
            let mut scratch = scratches.take();
            let done = decoder.decode(&mut scratch.0, &batch.records, large, &mut out.decoded);
            tabulator.run(&mut scratch.1, &mut out);
            scratches.give(scratch);
            let last = behind(&batch.records[..done], batch.done.as_mut());
            let records = became(done, &out.decoded);
            // Told with the first part that moves the position, to be counted in the same commit.
            let expired = batch.expired.take_if(|_| last.is_some() || done == batch.records.len());
            if done < batch.records.len() {
                batch.records.drain(..done);
                let (position, at_tip, at_end) = (last, false, false);
                return (Done { shard, tenure, batch: out, position, records, expired, at_tip, at_end }, Some(batch));
            }
            let position = if batch.at_end { Some(Position::End) } else { last };
            let Batch { at_tip, at_end, .. } = batch;
            (Done { shard, tenure, batch: out, position, records, expired, at_tip, at_end }, None)
        })
    }

    pub fn reuse(&self, mut batch: Tabulated) {
        batch.clear();
        self.spares.give(batch);
    }
}

/// Where a shard stands behind some records; `None` behind none. `done`: as in [`Batch`]; moves along.
fn behind(records: &[Record], done: Option<&mut Indices>) -> Option<Position> {
    let last = records.last()?;
    let Some(done) = done else { return Some(Position::After(last.sequence.clone())) };
    records.iter().filter_map(|record| record.earlier.as_ref()).for_each(|earlier| done.insert(earlier.index));
    Some(Position::of(done.clone()))
}

/// What became of so many records, which a position goes past: as what was decoded says, so that it does not balance if
/// any of them is missing there.
fn became(read: usize, decoded: &Decoded) -> RecordCounts {
    let of = |rejection: &'_ Rejection| rejection.earlier.as_ref().map(|earlier| earlier.index);
    let rejected: HashSet<_> =
        decoded.rejections.iter().map(|rejection| (of(rejection), &rejection.sequence)).collect();
    let (rejected, control) = (rejected.len() as u64, decoded.counts.control);
    let delivered = decoded.counts.records.saturating_sub(rejected + control);
    RecordCounts { read: read as u64, delivered, rejected, control }
}

/// Memory that was used and is used again: touching fresh pages costs a good part of what decoding into them does.
/// Holds at most as many as were ever out at once.
#[derive(Debug, Default)]
struct Pool<T>(Arc<Mutex<Vec<T>>>);

impl<T: Default> Pool<T> {
    fn take(&self) -> T {
        self.0.lock().expect("no panic while it is locked").pop().unwrap_or_default()
    }

    fn give(&self, used: T) {
        self.0.lock().expect("no panic while it is locked").push(used);
    }
}

impl<T> Clone for Pool<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
