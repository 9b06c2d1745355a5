//! Records become rows and rejections: bounded inflation, then the envelope of CloudWatch Logs, or what a plain
//! producer wrote. An aggregated record is taken apart first; each of its user records is then decoded like a record of its own.
//!
//! Pure: no I/O, no clock. Nothing on the row path takes a lock or allocates per row; a [`Decoded`] is cleared and
//! used again. Every event of every record is a row or in a rejection, and never in both; no bytes can make it panic.
//!
//! A payload is first read by the fast path (`envelope`), which gives up on whatever is not quite usual; then the
//! slow path (`strict`) decides. Payloads that are no envelopes are read by `plain`, where the configuration says so.

mod aggregate;
mod envelope;
mod inflate;
mod libdeflate;
mod member;
mod plain;
#[cfg(test)]
mod properties;
mod rejecter;
mod room;
mod strict;
#[cfg(test)]
mod tests;
mod time;

use std::borrow::Cow;
use std::ops::{AddAssign, Range};
use std::sync::Arc;

use bytes::Bytes;

pub use self::aggregate::is_aggregate;
use self::envelope::{Envelope, Head, Ids};
use self::inflate::{InflateError, Inflater};
use self::plain::Unread;
pub use self::plain::{Payloads, Plain};
pub use self::rejecter::Rejecter;
use self::room::Room;
use self::strict::Refusal;
pub use self::time::{BadTimeField, TimeField};
use crate::event::{Earlier, Millis, Record, Rejection, RejectionCode};
use crate::gzip::is_gzip;
use crate::partition::KeyLimits;
use crate::position::SequenceNumber;

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

impl Row {
    /// Where its id is in the text.
    pub fn id(&self) -> Range<usize> {
        self.at..self.at + self.id_len as usize
    }

    /// Where its message is in the text.
    pub fn message(&self) -> Range<usize> {
        let at = self.id().end;
        at..at + self.message_len as usize
    }
}

/// What the rows of one record share; an aggregated record may have several.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    pub rows: Range<usize>,
    pub log_group: Range<usize>,
    pub log_stream: Option<Range<usize>>,
    pub owner: Option<Range<usize>>,
    pub arrival: Millis,
    /// The record that it came in.
    pub sequence: SequenceNumber,
    /// The user record's, if its record is aggregated.
    pub partition_key: Option<Box<str>>,
    /// Whether it was an envelope of CloudWatch Logs.
    pub enveloped: bool,
    /// As of its record.
    pub earlier: Option<Arc<Earlier>>,
}

/// What was seen: the books of a commit. Every event of every record is a row or in a rejection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// As they are read from the source: an aggregated one is one, however many user records it holds.
    pub records: u64,
    /// Events that became rows.
    pub events: u64,
    pub rejections: u64,
    /// Records that held control messages and nothing else.
    pub control: u64,
    /// Bytes of payloads after inflation.
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

/// What a decoder is told.
#[derive(Clone, Debug)]
pub struct DecodeConfig {
    /// `limits.inflated_record_bytes`, for a payload that isn't compressed too; of an aggregated record for the sum of
    /// its user records.
    pub inflated_record_bytes: usize,
    /// The longest name of a table that rows may go to, for the length of their keys.
    pub longest_table: Arc<str>,
    pub keys: KeyLimits,
    pub payloads: Payloads,
}

/// Decodes records; on many threads at once, each with a [`Scratch`] of its own.
#[derive(Clone, Debug)]
pub struct Decoder {
    config: DecodeConfig,
}

/// A decoder's working memory, one a thread, to be used again and again.
#[derive(Debug)]
pub struct Scratch {
    inflater: Inflater,
    /// A message that comes before its id, or what the ids of a payload's events begin with.
    aside: Vec<u8>,
}

/// Bytes of output past which [`Decoder::decode`] stops between two records: what stays in a processor's cache is
/// faster, and a batch of well compressed records would need many times its size.
const ENOUGH: usize = 4 * 1024 * 1024;

/// Bytes of memory that is kept for the next records: some more than [`ENOUGH`] and a usual record.
const KEPT: usize = 8 * 1024 * 1024;

impl Scratch {
    pub fn new() -> Self {
        Self { inflater: Inflater::new(), aside: Vec::new() }
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoded {
    /// Empties it for further records. Memory is kept, unless it is far more than records usually need.
    pub fn clear(&mut self) {
        fn empty<T>(values: &mut Vec<T>) {
            values.clear();
            values.shrink_to(KEPT / size_of::<T>());
        }
        empty(&mut self.text);
        empty(&mut self.rows);
        empty(&mut self.payloads);
        empty(&mut self.rejections);
        self.counts = Counts::default();
    }

    /// Bytes held, but for those that rejections share with their records.
    fn bytes(&self) -> usize {
        self.text.len()
            + self.rows.len() * size_of::<Row>()
            + self.payloads.len() * size_of::<Payload>()
            + self.rejections.len() * size_of::<Rejection>()
    }
}

impl Decoder {
    pub fn new(config: DecodeConfig) -> Self {
        Self { config }
    }

    /// Decodes records of one shard into `out`, which is clear, and returns how many. The caller comes again with the
    /// rest: of more than `out` takes (one record at least), and without `large` of what lies behind a record that
    /// inflates past 8 MiB. So the caller sees to it that of those not many are decoded at once.
    #[must_use = "the records after these are not decoded yet"]
    pub fn decode(&self, scratch: &mut Scratch, records: &[Record], large: bool, out: &mut Decoded) -> usize {
        // At once, so that it doesn't grow past what is kept by doubling.
        out.text.reserve(ENOUGH);
        let (mut decoded, mut copied) = (0, 0);
        for record in records {
            if decoded > 0 && out.bytes() + copied >= ENOUGH {
                break;
            }
            let before = out.rejections.len();
            if !self.record(scratch, record, large, out) {
                break;
            }
            copied += out.rejections[before..].iter().map(copied_bytes).sum::<usize>();
            decoded += 1;
        }
        decoded
    }

    /// False when the record is left as it is, for it is large.
    fn record(&self, scratch: &mut Scratch, record: &Record, large: bool, out: &mut Decoded) -> bool {
        let mut room = Room::new(self.config.inflated_record_bytes, large);
        let (origin, before) = (Origin::of(record), out.counts);
        if let Some(flaw) = &record.flaw {
            refuse(out, &origin, not_decodable(flaw));
        } else if aggregate::is_aggregate(&record.data) {
            if !self.aggregate(scratch, record, &mut room, out) {
                return false;
            }
        } else if !self.part(scratch, &origin, &mut room, out) {
            return false;
        }
        let Counts { records, events, rejections, control, .. } = &mut out.counts;
        *records += 1;
        let is_control = *control > before.control && (*events, *rejections) == (before.events, before.rejections);
        *control = before.control + u64::from(is_control);
        true
    }

    /// A record that is not aggregated, or a user record. False, and nothing is done, when it is large.
    fn part(&self, scratch: &mut Scratch, origin: &Origin<'_>, room: &mut Room, out: &mut Decoded) -> bool {
        let Scratch { inflater, aside } = scratch;
        aside.clear();
        aside.shrink_to(KEPT);
        if origin.data.is_empty() {
            refuse(out, origin, not_decodable("the record is empty"));
        } else if is_gzip(origin.data) {
            match inflater.inflate(origin.data, room) {
                Ok(content) => {
                    room.take(content.len());
                    let done = self.payload(content, origin, room, aside, out);
                    inflater.trim();
                    return done;
                }
                Err(InflateError::Large) => return false,
                Err(error) => refuse(out, origin, error.into()),
            }
        } else if let Err(too_large) = room.check(origin.data.len()) {
            refuse(out, origin, InflateError::from(too_large).into());
        } else {
            room.take(origin.data.len());
            return self.payload(origin.data, origin, room, aside, out);
        }
        true
    }

    /// A whole payload, not compressed any more. False, and nothing is done, when it is large.
    fn payload(
        &self,
        content: &[u8],
        origin: &Origin<'_>,
        room: &mut Room,
        aside: &mut Vec<u8>,
        out: &mut Decoded,
    ) -> bool {
        out.counts.bytes += content.len() as u64;
        let mark = Mark::of(out);
        let form = self.config.payloads.form(content);
        let enveloped = form.is_none();
        let read = match form {
            None => envelope(content, origin, &mark, aside, out).map_err(Unread::Refused),
            Some((plain, form)) => plain.read(form, content, origin, room, aside, out).map(Envelope::Data),
        };
        let accepted = read.and_then(|envelope| match envelope {
            Envelope::Control => {
                mark.back(out);
                out.counts.control += 1;
                Ok(())
            }
            Envelope::Data(head) => self.accept(head, enveloped, &mark, origin, out).map_err(Unread::Refused),
        });
        match accepted {
            Ok(()) => true,
            Err(Unread::Refused(refusal)) => {
                mark.back(out);
                refuse(out, origin, refusal);
                true
            }
            Err(Unread::Large) => {
                mark.back(out);
                out.counts.bytes -= content.len() as u64;
                false
            }
        }
    }

    /// Makes the rows since `mark` a payload, if there are any.
    fn accept(
        &self,
        head: Head<'_>,
        enveloped: bool,
        mark: &Mark,
        origin: &Origin<'_>,
        out: &mut Decoded,
    ) -> Result<(), Refusal> {
        let rows = mark.rows..out.rows.len();
        if rows.is_empty() {
            return Ok(());
        }
        self.config
            .keys
            .check(&self.config.longest_table, &head.log_group)
            .map_err(|error| Refusal { code: RejectionCode::PartitionTooLong, message: error.to_string() })?;
        out.counts.events += rows.len() as u64;
        let mut append = |text: Cow<'_, str>| {
            let start = out.text.len();
            out.text.extend_from_slice(text.as_bytes());
            start..out.text.len()
        };
        let (log_group, log_stream, owner) =
            (append(head.log_group), head.log_stream.map(&mut append), head.owner.map(&mut append));
        let (sequence, partition_key) = (origin.sequence.clone(), origin.partition_key.map(Into::into));
        let (arrival, earlier) = (origin.arrival, origin.earlier.cloned());
        let payload =
            Payload { rows, log_group, log_stream, owner, arrival, sequence, partition_key, enveloped, earlier };
        out.payloads.push(payload);
        Ok(())
    }
}

/// Reads an envelope of CloudWatch Logs, whose rows since `mark` may be those of a control message.
fn envelope<'j>(
    json: &'j [u8],
    origin: &Origin<'_>,
    mark: &Mark,
    aside: &mut Vec<u8>,
    out: &mut Decoded,
) -> Result<Envelope<'j>, Refusal> {
    // Nothing decoded is longer than its JSON, so that the text grows here or not at all.
    out.text.reserve(json.len());
    let mut fast = |json, ids| {
        mark.back(out);
        envelope::read(json, ids, aside, out)
    };
    let envelope = match std::str::from_utf8(json) {
        Ok(json) => fast(json, Ids::Strings).or_else(|| fast(json, Ids::AsWritten)),
        Err(_) => None,
    };
    match envelope {
        Some(envelope) => Ok(envelope),
        None => {
            mark.back(out);
            strict::read(json, origin, out)
        }
    }
}

/// What a payload came in: a record, or a user record of an aggregated one.
#[derive(Clone, Copy, Debug)]
struct Origin<'a> {
    /// The payload as it came: what a rejection of all of it keeps.
    data: &'a Bytes,
    partition_key: Option<&'a str>,
    /// Of the record, for user records too.
    sequence: &'a SequenceNumber,
    arrival: Millis,
    /// The index of a user record in its aggregated record, from 0.
    user_record: Option<usize>,
    earlier: Option<&'a Arc<Earlier>>,
}

impl<'a> Origin<'a> {
    fn of(record: &'a Record) -> Self {
        let Record { data, sequence, partition_key, arrival, earlier, .. } = record;
        let (partition_key, earlier) = (partition_key.as_deref(), earlier.as_ref());
        Self { data, partition_key, sequence, arrival: *arrival, user_record: None, earlier }
    }
}

/// How far the output was before a payload or a record.
struct Mark {
    text: usize,
    rows: usize,
    payloads: usize,
    rejections: usize,
    counts: Counts,
}

impl Mark {
    fn of(out: &Decoded) -> Self {
        Self {
            text: out.text.len(),
            rows: out.rows.len(),
            payloads: out.payloads.len(),
            rejections: out.rejections.len(),
            counts: out.counts,
        }
    }

    /// Bytes of the rows that came since, with their text.
    fn row_bytes(&self, out: &Decoded) -> usize {
        out.text.len() - self.text + (out.rows.len() - self.rows) * size_of::<Row>()
    }

    /// Takes back what came since.
    fn back(&self, out: &mut Decoded) {
        out.text.truncate(self.text);
        out.rows.truncate(self.rows);
        out.payloads.truncate(self.payloads);
        out.rejections.truncate(self.rejections);
        out.counts = self.counts;
    }
}

impl From<InflateError> for Refusal {
    fn from(error: InflateError) -> Self {
        let code = match error {
            InflateError::TooLarge { .. } | InflateError::Large => RejectionCode::TooLarge,
            InflateError::Damaged(_) => RejectionCode::NotDecodable,
        };
        Self { code, message: error.to_string() }
    }
}

fn not_decodable(why: &str) -> Refusal {
    Refusal { code: RejectionCode::NotDecodable, message: why.into() }
}

/// A bad event is copied out of its payload; a record rejected whole is shared.
fn copied_bytes(rejection: &Rejection) -> usize {
    if rejection.code == RejectionCode::EventInvalid { rejection.payload.len() } else { 0 }
}

/// Rejects a record, or a user record, whole, as it came.
fn refuse(out: &mut Decoded, origin: &Origin<'_>, refusal: Refusal) {
    reject(out, origin, refusal.code, refusal.message, origin.data.clone());
}

fn reject(out: &mut Decoded, origin: &Origin<'_>, code: RejectionCode, message: String, payload: Bytes) {
    out.counts.rejections += 1;
    out.rejections.push(Rejection {
        code,
        message,
        payload,
        sequence: origin.sequence.clone(),
        partition_key: origin.partition_key.map(Into::into),
        arrival: origin.arrival,
        earlier: origin.earlier.cloned(),
    });
}
