//! Records become rows and rejections: bounded inflation, then the envelope of CloudWatch Logs.
//!
//! Pure: no I/O, no clock. Nothing on the row path takes a lock or allocates per row; a [`Decoded`] is cleared and
//! used again.

mod careful;
mod envelope;
mod inflate;
mod libdeflate;

use std::ops::{AddAssign, Range};
use std::sync::Arc;

use bytes::Bytes;

use self::careful::{Found, Unusable};
use self::envelope::Kind;
use self::inflate::{Inflater, NotInflated};
use crate::event::{Millis, Record, Rejection, RejectionCode};
use crate::partition::KeyLimits;

/// 2200-01-01T00:00:00Z: no event is of that time or later.
const END_OF_TIME: Millis = 7_258_118_400_000;
/// A record that inflates past this is decoded alone, when nothing else is: see [`Decoder::decode`].
const LARGE: usize = 8 << 20;
/// A batch is cut after so many bytes of text: what is decoded and not yet buffered stays bounded.
const ENOUGH: usize = 4 << 20;

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

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.records += other.records;
        self.events += other.events;
        self.rejections += other.rejections;
        self.control += other.control;
        self.bytes += other.bytes;
    }
}

impl Decoded {
    /// Empties it for the next batch. Keeps memory, but not what an unusually large record took.
    pub fn clear(&mut self) {
        if self.text.capacity() > 2 * ENOUGH {
            self.text = Vec::new();
        }
        self.text.clear();
        self.rows.clear();
        self.payloads.clear();
        self.rejections.clear();
        self.counts = Counts::default();
    }
}

/// Memory that decoding uses again and again; one for each thread at work.
#[derive(Debug, Default)]
pub struct Scratch {
    inflater: Inflater,
}

/// Decodes records. Shared by all threads.
#[derive(Clone, Debug)]
pub struct Decoder {
    /// Bytes of JSON that one record may have.
    limit: usize,
    table: Arc<str>,
    keys: KeyLimits,
}

impl Decoder {
    /// `limit`: bytes after inflation; `table`: whose partitions the rows go to; `keys`: what their store can hold.
    pub fn new(limit: usize, table: Arc<str>, keys: KeyLimits) -> Self {
        Self { limit, table, keys }
    }

    /// Decodes records in order into `out`, which is empty. Returns how many it did: not all of them when there is
    /// enough in `out`, or when a record inflates past 8 MiB and this is not the only decode under way (`alone`).
    /// Alone it always does at least one. So memory is bounded by a few records, whatever the senders send.
    pub fn decode(&self, scratch: &mut Scratch, records: &[Record], alone: bool, out: &mut Decoded) -> usize {
        let mut done = 0;
        for record in records {
            let may_be_large = alone && done == 0;
            if out.text.len() >= ENOUGH || !self.record(scratch, record, may_be_large, out) {
                break;
            }
            done += 1;
        }
        scratch.inflater.shrink(LARGE);
        done
    }

    /// False when the record is large and may not be: then nothing of it is in `out`.
    fn record(&self, scratch: &mut Scratch, record: &Record, may_be_large: bool, out: &mut Decoded) -> bool {
        let limit = if may_be_large { self.limit } else { self.limit.min(LARGE) };
        let json = if record.data.starts_with(b"\x1f\x8b") {
            scratch.inflater.inflate(&record.data, limit)
        } else if record.data.len() > limit {
            Err(NotInflated::PastLimit)
        } else {
            Ok(&record.data[..])
        };
        match json {
            Ok(json) => self.payload(record, json, out),
            Err(NotInflated::PastLimit) if limit < self.limit => return false,
            Err(NotInflated::PastLimit) => {
                let message = format!("inflates past {limit} bytes (limits.inflated_record_bytes)");
                reject(out, record, RejectionCode::TooLarge, message, record.data.clone());
            }
            Err(NotInflated::Bad(why)) => {
                reject(out, record, RejectionCode::NotDecodable, why, record.data.clone());
            }
        }
        out.counts.records += 1;
        true
    }

    fn payload(&self, record: &Record, json: &[u8], out: &mut Decoded) {
        out.counts.bytes += json.len() as u64;
        let (rows, text) = (out.rows.len(), out.text.len());
        let usual = std::str::from_utf8(json).ok().and_then(|json| envelope::read(json, out).ok());
        let head = usual.and_then(|head| match (head.kind?, head.log_group, head.has_events) {
            (Kind::Control, ..) => Some(None),
            (Kind::Data, Some(group), true) if !group.is_empty() => Some(Some((group, head.log_stream, head.owner))),
            _ => None,
        });
        match head {
            Some(Some((log_group, log_stream, owner))) => {
                if out.rows.len() > rows && !self.fits(record, &log_group, rows, out) {
                    out.text.truncate(text);
                    return;
                }
                let payload =
                    Payload { rows: rows..out.rows.len(), log_group, log_stream, owner, arrival: record.arrival };
                add(out, payload);
            }
            Some(None) => {
                out.rows.truncate(rows);
                out.text.truncate(text);
                out.counts.control += 1;
            }
            None => {
                out.rows.truncate(rows);
                out.text.truncate(text);
                self.unusual(record, json, out);
            }
        }
    }

    fn unusual(&self, record: &Record, json: &[u8], out: &mut Decoded) {
        let data = match careful::read(json) {
            Ok(Found::Control) => {
                out.counts.control += 1;
                return;
            }
            Ok(Found::Data(data)) => data,
            Err(Unusable::NotJson(why)) => {
                return reject(out, record, RejectionCode::NotDecodable, why, record.data.clone());
            }
            Err(Unusable::Invalid(why)) => {
                return reject(out, record, RejectionCode::PayloadInvalid, why, record.data.clone());
            }
        };
        let rows = out.rows.len();
        let mut append = |text: &str| {
            let start = out.text.len();
            out.text.extend_from_slice(text.as_bytes());
            start..out.text.len()
        };
        let log_group = append(&data.log_group);
        let (log_stream, owner) = (data.log_stream.as_deref().map(&mut append), data.owner.as_deref().map(&mut append));
        if !data.is_empty() && !self.fits(record, &log_group, rows, out) {
            out.text.truncate(log_group.start);
            return;
        }
        data.events(out, |out, alone, why| {
            reject(out, record, RejectionCode::EventInvalid, why, alone.into());
        });
        let payload = Payload { rows: rows..out.rows.len(), log_group, log_stream, owner, arrival: record.arrival };
        add(out, payload);
    }

    /// Whether the store can hold the partitions of this log group; if not, the record is rejected and its rows go.
    fn fits(&self, record: &Record, log_group: &Range<usize>, rows: usize, out: &mut Decoded) -> bool {
        let name = std::str::from_utf8(&out.text[log_group.clone()]).expect("text is UTF-8");
        let Err(too_long) = self.keys.check(&self.table, name) else { return true };
        out.rows.truncate(rows);
        reject(out, record, RejectionCode::PartitionTooLong, too_long.to_string(), record.data.clone());
        false
    }
}

fn add(out: &mut Decoded, payload: Payload) {
    if !payload.rows.is_empty() {
        out.counts.events += payload.rows.len() as u64;
        out.payloads.push(payload);
    }
}

fn reject(out: &mut Decoded, record: &Record, code: RejectionCode, message: String, payload: Bytes) {
    let (sequence, partition_key) = (record.sequence.clone(), record.partition_key.clone());
    let arrival = record.arrival;
    out.counts.rejections += 1;
    out.rejections.push(Rejection { code, message, payload, sequence, partition_key, arrival });
}

fn is_valid_time(time: Millis) -> bool {
    (0..END_OF_TIME).contains(&time)
}
