//! The rows of one partition, in the order of their arrival.
//!
//! Text lies in segments that grow with the partition, from 2 KiB to 128 KiB, and are never moved: a partition of few
//! rows is small, and a giant one wastes no more than a part of its last segment. A segment stands by itself: its rows
//! point into its own text and at its own heads. So a partition can be encoded, and its memory given back, part by
//! part.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::budget::{Budget, Held, Lease};
use crate::event::Millis;
use crate::table::tabulate::Tabulated;

/// Text capacity of a partition's first segment; each further one has twice that of the one before.
const FIRST_SEGMENT: usize = 2 << 10;
/// And no more than this, unless a single row needs it.
const LARGEST_SEGMENT: usize = 128 << 10;
/// What an open partition costs beside its segments' contents: names, map entries, the first list of segments.
const PARTITION_BYTES: usize = 1024;

/// The rows of one partition, with their share of the [`Budget`].
#[derive(Debug)]
pub struct PartitionRows {
    segments: Vec<Segment>,
    rows: u64,
    /// Bytes of all leases but the last segment's.
    full_bytes: usize,
    /// The payload that the last head stands for; payloads count from 1.
    payload: u64,
    budget: Arc<Budget>,
    /// For [`PARTITION_BYTES`].
    _lease: Lease,
}

/// Some consecutive rows, with all that they point at.
pub struct Segment {
    /// Each row's id and message, with its cells behind them, and the heads' texts. All but the cells is valid UTF-8.
    pub text: Vec<u8>,
    pub rows: Vec<Row>,
    pub heads: Vec<Head>,
    /// Of the capacities of all three.
    pub lease: Lease,
}

/// One event, or one line of a rejection. Its id is at `at..at + id_len` of its segment's text, its message right
/// behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub timestamp: Millis,
    pub at: u32,
    pub id_len: u32,
    pub message_len: u32,
    /// Which of the segment's heads; a rejection's line has none.
    pub head: u32,
}

const _: () = assert!(size_of::<Row>() == 24, "every row of the process has one");

/// What the rows of one payload share. The log stream is at `at` of the segment's text, the owner right behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub arrival: Millis,
    pub at: u32,
    pub log_stream_len: Option<u32>,
    pub owner_len: Option<u32>,
}

/// A payload's head as it comes in, with a number that no other payload has, from 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct NewHead<'a> {
    pub payload: u64,
    pub arrival: Millis,
    pub log_stream: Option<&'a [u8]>,
    pub owner: Option<&'a [u8]>,
}

impl PartitionRows {
    pub(super) fn new(budget: &Arc<Budget>) -> Self {
        let lease = budget.hold(Held::Rows, PARTITION_BYTES);
        let budget = Arc::clone(budget);
        Self { segments: Vec::new(), rows: 0, full_bytes: lease.bytes(), payload: 0, budget, _lease: lease }
    }

    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes that these rows hold of the budget, by capacity.
    pub fn bytes(&self) -> usize {
        self.full_bytes + self.segments.last().map_or(0, |last| last.lease.bytes())
    }

    /// How many runs [`PartitionRows::into_runs`] makes, about; at least one.
    pub fn runs(&self, run_bytes: usize) -> usize {
        let most = run_bytes.max(1).saturating_add(run_bytes / 4);
        self.bytes().div_ceil(most).max(1)
    }

    /// Cuts the rows, in order, into runs of about equal size that hold about so many bytes each, and a quarter more
    /// rather than one run more; a run has at least one segment.
    pub fn into_runs(self, run_bytes: usize) -> impl Iterator<Item = Vec<Segment>> {
        let target = self.bytes() / self.runs(run_bytes);
        let mut segments = self.segments.into_iter().peekable();
        std::iter::from_fn(move || {
            let first = segments.next()?;
            let mut bytes = first.lease.bytes();
            let mut run = vec![first];
            while let Some(next) = segments.next_if(|next| bytes + next.lease.bytes() / 2 <= target) {
                bytes += next.lease.bytes();
                run.push(next);
            }
            Some(run)
        })
    }

    /// Copies these rows of a batch, which are of one payload.
    pub(super) fn extend(&mut self, rows: Range<usize>, batch: &Tabulated, head: &NewHead) {
        let count = rows.len() as u64;
        for (index, row) in rows.clone().zip(&batch.decoded.rows[rows]) {
            let (len, cells) = (row.id_len as usize + row.message_len as usize, batch.cells.of(index));
            let segment = self.segment_for(len + cells.len(), Some(head));
            let at = segment.place(&batch.decoded.text[row.at..row.at + len]);
            // Right behind the message.
            segment.place(cells);
            let head = segment.heads.len() - 1;
            let row = Row {
                timestamp: row.timestamp,
                at,
                id_len: row.id_len,
                message_len: row.message_len,
                head: narrow(head),
            };
            push_exact(&mut segment.rows, row, &mut segment.lease);
        }
        self.rows += count;
    }

    /// Copies a line that is no event: its time, for the order, and its text.
    pub(super) fn push_line(&mut self, timestamp: Millis, line: &[u8]) {
        let segment = self.segment_for(line.len(), None);
        let at = segment.place(line);
        let row = Row { timestamp, at, id_len: 0, message_len: narrow(line.len()), head: 0 };
        push_exact(&mut segment.rows, row, &mut segment.lease);
        self.rows += 1;
    }

    /// The last segment, with room for so much text, and with `head` as its last head.
    #[inline]
    fn segment_for(&mut self, len: usize, head: Option<&NewHead>) -> &mut Segment {
        let head_is_there = head.is_none_or(|head| head.payload == self.payload);
        let fits = self.segments.last().is_some_and(|last| last.text.capacity() - last.text.len() >= len);
        if !(fits && head_is_there) {
            self.make_room(len, head);
        }
        self.segments.last_mut().expect("room was made in it")
    }

    fn make_room(&mut self, len: usize, head: Option<&NewHead>) {
        let head_len =
            head.map_or(0, |head| head.log_stream.map_or(0, <[u8]>::len) + head.owner.map_or(0, <[u8]>::len));
        let need = len + head_len;
        let last = self.segments.last();
        if last.is_none_or(|last| last.text.capacity() - last.text.len() < need) {
            let next = Segment::after(last, need, &self.budget);
            self.full_bytes += last.map_or(0, |last| last.lease.bytes());
            self.segments.push(next);
        }
        if let (Some(head), Some(segment)) = (head, self.segments.last_mut()) {
            segment.push_head(head);
            self.payload = head.payload;
        }
    }
}

impl Segment {
    /// An empty segment to follow `last`, with room for `need` bytes of text at least.
    fn after(last: Option<&Self>, need: usize, budget: &Arc<Budget>) -> Self {
        let next = last.map_or(FIRST_SEGMENT, |last| (last.text.capacity() * 2).clamp(FIRST_SEGMENT, LARGEST_SEGMENT));
        let capacity = next.max(need);
        // As many rows to a byte as in the last one, and an eighth more.
        let rows = last.map_or(0, |last| last.rows.len() * capacity / last.text.len().max(1));
        let text = Vec::with_capacity(capacity);
        let rows = Vec::with_capacity(rows + rows / 8 + 4);
        let bytes = size_of::<Self>() + text.capacity() + rows.capacity() * size_of::<Row>();
        Self { text, rows, heads: Vec::new(), lease: budget.hold(Held::Rows, bytes) }
    }

    /// Copies text to where there is room for it, and says where that is.
    #[inline]
    fn place(&mut self, text: &[u8]) -> u32 {
        let at = self.text.len();
        debug_assert!(self.text.capacity() - at >= text.len(), "text is never moved");
        self.text.extend_from_slice(text);
        narrow(at)
    }

    /// Adds a head; payloads of one log stream share its text.
    fn push_head(&mut self, head: &NewHead) {
        let shared = self.heads.last().filter(|last| {
            let (log_stream, owner) = self.head_texts(last);
            log_stream == head.log_stream && owner == head.owner
        });
        let at = match shared {
            Some(last) => last.at,
            None => {
                let at = self.place(head.log_stream.unwrap_or_default());
                self.place(head.owner.unwrap_or_default());
                at
            }
        };
        let head = Head {
            arrival: head.arrival,
            at,
            log_stream_len: head.log_stream.map(|text| narrow(text.len())),
            owner_len: head.owner.map(|text| narrow(text.len())),
        };
        push_exact(&mut self.heads, head, &mut self.lease);
    }

    fn head_texts(&self, head: &Head) -> (Option<&[u8]>, Option<&[u8]>) {
        let text = |at: u32, len: Option<u32>| len.map(|len| &self.text[at as usize..][..len as usize]);
        (text(head.at, head.log_stream_len), text(head.at + head.log_stream_len.unwrap_or(0), head.owner_len))
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Segment")
            .field("rows", &self.rows.len())
            .field("text", &self.text.len())
            .field("bytes", &self.lease.bytes())
            .finish_non_exhaustive()
    }
}

/// A segment's text is 128 KiB, or holds one row of one record.
fn narrow(offset: usize) -> u32 {
    u32::try_from(offset).expect("an inflated record has less than 4 GiB")
}

/// Pushes with little spare capacity, and counts all of it.
#[inline]
fn push_exact<T>(list: &mut Vec<T>, value: T, lease: &mut Lease) {
    if list.len() == list.capacity() {
        let before = list.capacity();
        list.reserve_exact((before / 2).max(4));
        lease.grow((list.capacity() - before) * size_of::<T>());
    }
    list.push(value);
}
