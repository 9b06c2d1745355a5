//! One flush: encode, stage, commit. Publishing goes on behind it.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use tokio::sync::{Mutex, MutexGuard, Notify};
use tokio::time::Instant;

use super::WorkerError;
use super::compute::Compute;
use crate::broken::{Broken, is_broken};
use crate::buffer::PartitionRows;
use crate::commit::change::Commit;
use crate::commit::group::Group;
use crate::commit::pack::PackedObject;
use crate::commit::publish;
use crate::commit::snapshot::{PackId, PackState, RecordCounts};
use crate::commit::storage::Description;
use crate::decode::Counts;
use crate::encode::{self, EncodeError, EncodeSettings, Object};
use crate::event::RejectionCode;
use crate::partition::{Folder, Partition};

/// Bytes of rows that are held twice while they are encoded, as rows and as pages, on all cores together. One large
/// partition gets row groups of that size, which is what Athena and Trino read best.
const RUNS_BYTES: usize = 128 << 20;
/// Smaller ones would make poor row groups.
const SHORTEST_RUN: usize = 8 << 20;

/// What is flushed: rows taken out of the buffers, and the commit that they belong to (without its pack).
#[derive(Debug)]
pub struct Flush {
    pub id: PackId,
    pub rows: Vec<(Partition, PartitionRows)>,
    pub commit: Commit,
    pub began: Instant,
}

/// A flush that is durable, and now to be published.
#[derive(Debug)]
pub struct Committed {
    pub id: PackId,
    pub commit: Commit,
    pub objects: Vec<PackedObject>,
    /// Rejections of each code.
    pub by_code: BTreeMap<RejectionCode, u64>,
    /// From the beginning of the flush.
    pub took: Duration,
}

/// Lets one flush at a time encode, and one at a time commit, in their order: so the next one encodes while a slow store
/// takes in the one before.
#[derive(Clone, Debug, Default)]
pub struct Turns {
    committing: Arc<Mutex<()>>,
    encoding: Arc<AtomicBool>,
    encoded: Arc<Notify>,
}

impl Turns {
    /// Whether a flush is being encoded, or waits to be committed.
    pub fn is_encoding(&self) -> bool {
        self.encoding.load(Ordering::Relaxed)
    }

    /// Returns when that is over.
    pub async fn encoded(&self) {
        self.encoded.notified().await;
    }

    /// A flush begins to encode.
    pub fn begin(&self) {
        self.encoding.store(true, Ordering::Relaxed);
    }

    /// Waits until the flush before is committed, or has failed: then this one will be refused.
    async fn commit(&self) -> MutexGuard<'_, ()> {
        let turn = self.committing.lock().await;
        self.encoding.store(false, Ordering::Relaxed);
        self.encoded.notify_one();
        turn
    }
}

/// Encodes every partition, stages the objects as one pack and commits.
pub async fn flush(
    group: &Group,
    settings: &Arc<EncodeSettings>,
    compute: Compute,
    flush: Flush,
    turns: &Turns,
) -> Result<Committed, WorkerError> {
    let Flush { id, rows, mut commit, began } = flush;
    let by_code = by_code(&rows);
    balance(&commit, &rows);
    let encoded = encode_all(rows, settings, compute).await?;
    let _turn = turns.commit().await;
    let mut objects = pack_up(&id, encoded);
    if !objects.is_empty() {
        let bytes = group.stage(&id, &objects).await?;
        let publisher = group.id().clone();
        commit.pack =
            Some(PackState { id: id.clone(), publisher, objects: objects.len() as u64, bytes, committed: None });
    }
    if is_broken(Broken::PublishBeforeCommit) {
        publish::publish(group, std::mem::take(&mut objects)).await?;
    }
    group.commit(&commit).await?;
    Ok(Committed { id, commit, objects, by_code, took: began.elapsed() })
}

/// Sees to it that nothing is committed of which anything was lost on the way from the reader to here.
///
/// # Panics
///
/// If it was: a fault of ours. The records are still on the stream, and a commit would pass over them.
fn balance(commit: &Commit, rows: &[(Partition, PartitionRows)]) {
    let mut records = RecordCounts::default();
    commit.moves.iter().for_each(|step| records += step.records);
    let (mut events, mut rejections) = (0, 0);
    for (partition, rows) in rows {
        let is_table = matches!(partition.folder, Folder::Table { .. });
        *if is_table { &mut events } else { &mut rejections } += rows.rows();
    }
    let Counts { records: decoded, events: counted, rejections: rejected, .. } = commit.counts;
    assert!(
        records.balance() && (records.read, events, rejections) == (decoded, counted, rejected),
        "the books of a flush do not balance: it moves positions past {records:?}, of which {decoded} were decoded; it has \
         {events} of {counted} rows and {rejections} of {rejected} rejections"
    );
}

fn by_code(rows: &[(Partition, PartitionRows)]) -> BTreeMap<RejectionCode, u64> {
    let mut counts = BTreeMap::new();
    for (partition, rows) in rows {
        if let Folder::Errors { code, .. } = &partition.folder {
            *counts.entry(*code).or_default() += rows.rows();
        }
    }
    counts
}

/// Encodes on all cores at once, the largest partitions first, so that no core is left with one at the end.
async fn encode_all(
    rows: Vec<(Partition, PartitionRows)>,
    settings: &Arc<EncodeSettings>,
    compute: Compute,
) -> Result<Vec<(Partition, Vec<Object>)>, EncodeError> {
    let mut rows: Vec<_> = rows.into_iter().enumerate().collect();
    rows.sort_by_key(|(_, (_, rows))| Reverse(rows.bytes()));
    let run_bytes = run_bytes(rows.iter().map(|(_, (_, rows))| rows.bytes()), compute.cores());
    let encoding = futures::stream::iter(rows).map(|(place, (partition, rows))| {
        let settings = Arc::clone(settings);
        async move {
            let encode =
                move || encode::encode(&partition, rows, run_bytes, &settings).map(|objects| (partition, objects));
            Ok((place, compute.start(encode).await?))
        }
    });
    let mut encoded: Vec<_> = encoding.buffer_unordered(compute.cores()).try_collect().await?;
    encoded.sort_unstable_by_key(|(place, _)| *place);
    Ok(encoded.into_iter().map(|(_, encoded)| encoded).collect())
}

/// Large partitions that are encoded at once share what runs may take.
fn run_bytes(partitions: impl Iterator<Item = usize>, cores: usize) -> usize {
    let large = partitions.filter(|bytes| *bytes > SHORTEST_RUN).take(cores).count();
    (RUNS_BYTES / large.max(1)).max(SHORTEST_RUN)
}

/// Gives each object its final key: `<partition>/<pack>-<n>.<extension>`.
fn pack_up(id: &PackId, encoded: Vec<(Partition, Vec<Object>)>) -> Vec<PackedObject> {
    let objects = encoded.into_iter().flat_map(|(partition, objects)| {
        let prefix = partition.to_string();
        objects.into_iter().map(move |object| (prefix.clone(), object))
    });
    let keyed = objects.enumerate().map(|(n, (prefix, object))| {
        let Object { bytes: body, extension, content_type, mut metadata, lease, .. } = object;
        metadata.push(("firemain-commit".to_owned(), id.to_string()));
        let description = Description { content_type: content_type.to_owned(), metadata };
        PackedObject { key: format!("{prefix}/{id}-{n}.{extension}"), description, body, lease: Some(lease) }
    });
    keyed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::change::Move;
    use crate::position::Position;

    fn commit(read: u64, delivered: u64, counts: Counts) -> Commit {
        let records = RecordCounts { read, delivered, ..RecordCounts::default() };
        let (from, to) = (Position::TrimHorizon, Position::End);
        Commit { moves: vec![Move { shard: "a".into(), from, to, records }], counts, ..Commit::default() }
    }

    #[test]
    fn a_flush_that_balances_is_committed() {
        balance(&commit(2, 2, Counts { records: 2, ..Counts::default() }), &[]);
    }

    #[test]
    #[should_panic(expected = "the books of a flush do not balance")]
    fn a_record_that_was_not_decoded_is_not_passed_over() {
        balance(&commit(2, 2, Counts { records: 1, ..Counts::default() }), &[]);
    }

    #[test]
    #[should_panic(expected = "the books of a flush do not balance")]
    fn a_record_of_which_nothing_is_known_is_not_passed_over() {
        balance(&commit(2, 1, Counts { records: 2, ..Counts::default() }), &[]);
    }

    #[test]
    #[should_panic(expected = "it has 0 of 1 rows")]
    fn a_row_that_is_missing_is_not_passed_over() {
        balance(&commit(2, 2, Counts { records: 2, events: 1, ..Counts::default() }), &[]);
    }

    #[test]
    fn large_partitions_that_are_encoded_at_once_share_the_runs() {
        const MIB: usize = 1 << 20;
        let run_bytes = |large: usize, cores: usize| {
            let bytes = std::iter::repeat_n(200 * MIB, large).chain([SHORTEST_RUN; 500]);
            run_bytes(bytes, cores) / MIB
        };
        assert_eq!((run_bytes(0, 2), run_bytes(1, 2), run_bytes(2, 2), run_bytes(3, 2)), (128, 128, 64, 64));
        assert_eq!((run_bytes(9, 1), run_bytes(9, 8), run_bytes(99, 64)), (128, 16, 8));
    }
}
