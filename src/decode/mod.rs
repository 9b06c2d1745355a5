//! Records become rows and rejections: bounded inflation, then the envelope of CloudWatch Logs.
//!
//! Pure: no I/O, no clock. Nothing on the row path takes a lock or allocates per row; a [`Decoded`] is cleared and
//! used again.

use std::ops::Range;

use crate::event::{Millis, Rejection};

/// The rows, rejections and counts of some records of one shard.
#[derive(Debug, Default)]
pub struct Decoded {
    /// Text of ids, messages and payload heads, valid UTF-8, as [`Row`] and [`Payload`] point into it.
    pub text: Vec<u8>,
    pub rows: Vec<Row>,
    /// In the order of their rows; each has at least one row.
    pub payloads: Vec<Payload>,
    pub rejections: Vec<Rejection>,
    pub counts: Counts,
}

/// One event. Its id is at `at..at + id_len` of the text, its message right behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    pub timestamp: Millis,
    pub at: usize,
    pub id_len: u32,
    pub message_len: u32,
}

/// What the rows of one record share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    pub rows: Range<usize>,
    pub log_group: Range<usize>,
    pub log_stream: Option<Range<usize>>,
    pub owner: Option<Range<usize>>,
    pub arrival: Millis,
}

/// What was seen: the books of a commit. Every event of every record is a row or in a rejection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub records: u64,
    /// Events that became rows.
    pub events: u64,
    pub rejections: u64,
    /// Control messages.
    pub control: u64,
    /// Bytes of JSON after inflation.
    pub bytes: u64,
}
