//! Buffers the rows of open partitions until a flush takes them.
//!
//! Invariant: accounted bytes <= budget + one decoded batch, when who fills waits for room between batches; each row
//! belongs to exactly one flush. Bytes are counted by capacity, so that they are the memory that is really held.
//!
//! Absent on purpose: I/O, clocks, file formats, and the decision when to flush.

mod budget;
#[cfg(test)]
pub(crate) mod fixtures;
mod rejection;
mod rows;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub use budget::{Budget, Held, Lease};
use rows::NewHead;
pub use rows::{Head, PartitionRows, Row, Segment};

use crate::decode::{Counts, Payload};
use crate::event::{Millis, Rejection, RejectionCode, ShardId};
use crate::partition::{Folder, Hour, Partition};
use crate::table::tables::Tables;
use crate::table::tabulate::Tabulated;

/// The rows of all open partitions.
#[derive(Debug)]
pub struct Buffers {
    budget: Arc<Budget>,
    errors_prefix: Arc<str>,
    tables: BTreeMap<Arc<str>, LogGroups>,
    errors: BTreeMap<(RejectionCode, Hour), PartitionRows>,
    /// Open partitions.
    open: usize,
    bytes: usize,
    counts: Counts,
    oldest_arrival: Option<Millis>,
    /// Payloads that were ever pushed: the number of the last one.
    payloads: u64,
    /// A rejection's line while it is made.
    line: Vec<u8>,
}

/// A table's open partitions: looked up once for all rows of a payload that fall into one hour.
type LogGroups = HashMap<Arc<str>, BTreeMap<Hour, PartitionRows>>;

/// Where the records of a batch come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub shard: ShardId,
    /// The stream's name; `None` for files.
    pub stream: Option<Arc<str>>,
}

/// What one flush delivers.
#[derive(Debug, Default)]
pub struct Flush {
    /// In the order of the partitions; none is without rows.
    pub partitions: Vec<(Partition, PartitionRows)>,
    /// Of all batches since the flush before.
    pub counts: Counts,
    /// The lowest arrival of the rows and rejections.
    pub oldest_arrival: Option<Millis>,
}

impl Buffers {
    /// Empty buffers, whose rows count against `budget`; rejections go to the folder `errors_prefix`.
    pub fn new(budget: Arc<Budget>, errors_prefix: &str) -> Self {
        Self {
            budget,
            errors_prefix: errors_prefix.into(),
            tables: BTreeMap::new(),
            errors: BTreeMap::new(),
            open: 0,
            bytes: 0,
            counts: Counts::default(),
            oldest_arrival: None,
            payloads: 0,
            line: Vec::new(),
        }
    }

    /// Takes a batch over: copies its rows to partitions of their tables, and moves its rejections to those of the error
    /// prefix, one by one, since a record of bad events can have tens of MiB of them. `now` is when the attempt to
    /// deliver these rejections ended.
    pub fn push(&mut self, tables: &Tables, batch: &mut Tabulated, place: &Place, now: Millis) {
        for (payload, table) in batch.decoded.payloads.iter().zip(&batch.tables) {
            self.push_payload(&tables.get(*table).name, payload, batch);
        }
        for rejection in batch.decoded.rejections.drain(..) {
            self.push_rejection(&rejection, place, now);
        }
        self.counts += batch.decoded.counts;
    }

    /// Hands over all rows, and starts anew.
    pub fn take(&mut self) -> Flush {
        let mut partitions = Vec::with_capacity(self.open);
        for (table, groups) in std::mem::take(&mut self.tables) {
            for (log_group, hours) in groups {
                let folder = Folder::Table { table: Arc::clone(&table), log_group };
                partitions
                    .extend(hours.into_iter().map(|(hour, rows)| (Partition { folder: folder.clone(), hour }, rows)));
            }
        }
        for ((code, hour), rows) in std::mem::take(&mut self.errors) {
            let folder = Folder::Errors { prefix: Arc::clone(&self.errors_prefix), code };
            partitions.push((Partition { folder, hour }, rows));
        }
        partitions.sort_by(|(a, _), (b, _)| a.cmp(b));
        self.open = 0;
        self.bytes = 0;
        Flush { partitions, counts: std::mem::take(&mut self.counts), oldest_arrival: self.oldest_arrival.take() }
    }

    /// Bytes of memory that the rows hold; without those that a flush has taken.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Open partitions.
    pub fn open(&self) -> usize {
        self.open
    }

    /// Whether there is nothing to deliver. There may still be counts: of control messages, for one.
    pub fn is_empty(&self) -> bool {
        self.open == 0
    }

    /// What was pushed since the last flush.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The lowest arrival of what was pushed since the last flush.
    pub fn oldest_arrival(&self) -> Option<Millis> {
        self.oldest_arrival
    }

    fn push_payload(&mut self, table: &Arc<str>, payload: &Payload, batch: &Tabulated) {
        let decoded = &batch.decoded;
        self.payloads += 1;
        self.arrived(payload.arrival);
        let text = |range: &Option<std::ops::Range<usize>>| range.clone().map(|range| &decoded.text[range]);
        let head = NewHead {
            payload: self.payloads,
            arrival: payload.arrival,
            log_stream: text(&payload.log_stream),
            owner: text(&payload.owner),
        };
        // Never lossy: the text is valid UTF-8.
        let log_group = String::from_utf8_lossy(&decoded.text[payload.log_group.clone()]);
        let hours = hours(&mut self.tables, table, &log_group);
        let mut at = payload.rows.start;
        while let Some(first) = decoded.rows[..payload.rows.end].get(at) {
            let hour = Hour::of(first.timestamp);
            let start = hour.start();
            let same_hour = |row: &crate::decode::Row| (start..start + 3_600_000).contains(&row.timestamp);
            let rest = &decoded.rows[at..payload.rows.end];
            let end = rest.iter().position(|row| !same_hour(row)).map_or(payload.rows.end, |len| at + len);
            let rows = hours.entry(hour).or_insert_with(|| {
                self.open += 1;
                PartitionRows::new(&self.budget)
            });
            let before = if rows.rows() == 0 { 0 } else { rows.bytes() };
            rows.extend(at..end, batch, &head);
            self.bytes += rows.bytes() - before;
            at = end;
        }
    }

    fn push_rejection(&mut self, rejection: &Rejection, place: &Place, now: Millis) {
        self.arrived(rejection.arrival);
        rejection::render(rejection, place, now, &mut self.line);
        let rows = self.errors.entry((rejection.code, Hour::of(rejection.arrival))).or_insert_with(|| {
            self.open += 1;
            PartitionRows::new(&self.budget)
        });
        let before = if rows.rows() == 0 { 0 } else { rows.bytes() };
        rows.push_line(rejection.arrival, &self.line);
        self.bytes += rows.bytes() - before;
        if self.line.capacity() > LARGEST_LINE_KEPT {
            self.line = Vec::new();
        }
    }

    fn arrived(&mut self, arrival: Millis) {
        self.oldest_arrival = Some(self.oldest_arrival.map_or(arrival, |oldest| oldest.min(arrival)));
    }
}

/// A line can have tens of MiB; memory for such a one is not kept.
const LARGEST_LINE_KEPT: usize = 1 << 20;

/// The open partitions of a log group. Names are copied only when they are new.
fn hours<'a>(
    tables: &'a mut BTreeMap<Arc<str>, LogGroups>,
    table: &Arc<str>,
    log_group: &str,
) -> &'a mut BTreeMap<Hour, PartitionRows> {
    let groups = tables.entry(Arc::clone(table)).or_default();
    if !groups.contains_key(log_group) {
        groups.insert(log_group.into(), BTreeMap::new());
    }
    groups.get_mut(log_group).expect("inserted above")
}
