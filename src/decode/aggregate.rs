//! Records that the Kinesis Producer Library aggregated, taken apart into the user records in them.
//!
//! Format: <https://github.com/awslabs/amazon-kinesis-producer/blob/master/aggregation-format.md>: a magic number, a
//! protobuf message and the MD5 of that message. A record that begins with the magic number, which begins neither text
//! nor gzip, is aggregated; when anything is wrong with its form, all of it is rejected.
//!
//! Memory: user records share the record's. The protobuf message is walked through, never held as a list: a record of
//! 10 MiB has place for millions of user records, each far smaller than what a list keeps of it.

#[cfg(test)]
pub(super) mod tests;

use std::ops::Range;

use bytes::{Buf, Bytes};
use md5::{Digest, Md5};
use prost::Message;

use super::rejecter::SINGLE_REJECTIONS;
use super::strict::Refusal;
use super::{Decoded, Decoder, Mark, Origin, Room, Scratch, not_decodable, refuse};
use crate::event::{Record, Rejection, RejectionCode};

const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
const MD5_LEN: usize = 16;

/// Bytes of rejections of a record's user records, past which a further one makes the whole record one rejection: each
/// costs more memory than a small user record has bytes.
const REJECTIONS: usize = SINGLE_REJECTIONS;

/// Whether a record is aggregated.
pub fn is_aggregate(data: &[u8]) -> bool {
    data.starts_with(&MAGIC)
}

/// What is wrong with an aggregated record. Messages hold nothing of it but numbers.
#[derive(Debug, thiserror::Error)]
enum BadAggregate {
    #[error("aggregated record: {0} bytes are too few for a magic number and an MD5")]
    TooShort(usize),
    #[error("aggregated record: its MD5 is not that of its content")]
    Md5,
    #[error("aggregated record: no protobuf message of the Kinesis Producer Library at byte {at}: {why}")]
    Protobuf { at: usize, why: &'static str },
    #[error("aggregated record: user record {user_record} has the partition key {index}, counted from 0, of {keys}")]
    PartitionKey { user_record: usize, index: u64, keys: usize },
    #[error("aggregated record: user record {user_record} is no protobuf message: {why}")]
    UserRecord { user_record: usize, why: String },
}

impl From<BadAggregate> for Refusal {
    fn from(bad: BadAggregate) -> Self {
        not_decodable(&bad.to_string())
    }
}

/// The protobuf message `Record`. Its explicit hash key and tags are passed over as unknown fields.
#[derive(Clone, PartialEq, Message)]
struct UserRecord {
    /// Required, as the data: `optional` shows what is missing.
    #[prost(uint64, optional, tag = "1")]
    partition_key_index: Option<u64>,
    #[prost(bytes = "bytes", optional, tag = "3")]
    data: Option<Bytes>,
}

/// A field of the protobuf message `AggregatedRecord`.
enum Field {
    PartitionKey(Bytes),
    ExplicitHashKey,
    UserRecord(Bytes),
}

/// The fields of an `AggregatedRecord`, one after the other; nothing comes after an error.
struct Fields {
    rest: Bytes,
    len: usize,
}

impl Fields {
    fn of(message: &Bytes) -> Self {
        Self { rest: message.clone(), len: message.len() }
    }

    /// Of the next field.
    fn at(&self) -> usize {
        self.len - self.rest.len()
    }

    fn read(&mut self) -> Result<Field, &'static str> {
        // All of its fields have a length before their content (wire type 2), and numbers that take one byte.
        let key = self.rest.get_u8();
        if !matches!(key, 0x0a | 0x12 | 0x1a) {
            return Err("unknown field");
        }
        let len = prost::decode_length_delimiter(&mut self.rest).map_err(|_| "bad length")?;
        if len > self.rest.len() {
            return Err("a field is longer than the message");
        }
        let content = self.rest.split_to(len);
        match key {
            0x1a => Ok(Field::UserRecord(content)),
            _ if std::str::from_utf8(&content).is_err() => Err("a key is not valid UTF-8"),
            // Kinesis has none; so a table of them is never much larger than the message.
            _ if content.is_empty() => Err("a key is empty"),
            0x0a => Ok(Field::PartitionKey(content)),
            _ => Ok(Field::ExplicitHashKey),
        }
    }
}

impl Iterator for Fields {
    type Item = Result<Field, BadAggregate>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.rest.has_remaining() {
            return None;
        }
        let at = MAGIC.len() + self.at();
        Some(self.read().map_err(|why| {
            self.rest.clear();
            BadAggregate::Protobuf { at, why }
        }))
    }
}

/// The partition keys of an aggregated record.
struct PartitionKeys<'a> {
    message: &'a Bytes,
    /// Where each begins, and how long it is.
    places: Vec<(u32, u32)>,
}

impl<'a> PartitionKeys<'a> {
    /// Reads all fields, for the keys may come after the user records; so what is wrong with one of them is found here.
    fn of(message: &'a Bytes) -> Result<Self, BadAggregate> {
        let mut fields = Fields::of(message);
        let mut places = Vec::new();
        while let Some(field) = fields.next() {
            if let Field::PartitionKey(key) = field? {
                let place = (u32::try_from(fields.at() - key.len()), u32::try_from(key.len()));
                let (Ok(start), Ok(len)) = place else {
                    return Err(BadAggregate::Protobuf { at: fields.at(), why: "it is longer than 4 GiB" });
                };
                places.push((start, len));
            }
        }
        Ok(Self { message, places })
    }

    fn get(&self, index: u64) -> Option<&'a str> {
        let (start, len) = *self.places.get(usize::try_from(index).ok()?)?;
        let key = self.message.get(start as usize..)?.get(..len as usize)?;
        std::str::from_utf8(key).ok()
    }
}

/// The protobuf message of an aggregated record.
fn message(data: &Bytes) -> Result<Bytes, BadAggregate> {
    let Some(end) = data.len().checked_sub(MD5_LEN).filter(|end| *end >= MAGIC.len()) else {
        return Err(BadAggregate::TooShort(data.len()));
    };
    let message = data.slice(MAGIC.len()..end);
    if Md5::digest(&message)[..] == data[end..] { Ok(message) } else { Err(BadAggregate::Md5) }
}

impl Decoder {
    /// Decodes each user record of an aggregated record like a record of its own, or rejects the record whole. False
    /// when the record is left as it is, for it is large: all its rows belong to one step of the position.
    pub(super) fn aggregate(&self, scratch: &mut Scratch, record: &Record, room: &mut Room, out: &mut Decoded) -> bool {
        let start = Mark::of(out);
        let done = self.user_records(scratch, record, room, out);
        if !matches!(done, Ok(true)) {
            start.back(out);
        }
        done.unwrap_or_else(|refusal| {
            refuse(out, &Origin::of(record), refusal);
            true
        })
    }

    /// What is in the output when it ends early is for the caller to take back.
    fn user_records(
        &self,
        scratch: &mut Scratch,
        record: &Record,
        room: &mut Room,
        out: &mut Decoded,
    ) -> Result<bool, Refusal> {
        let message = message(&record.data)?;
        let keys = PartitionKeys::of(&message)?;
        let first = out.payloads.len();
        let (mut user_records, mut rejections) = (0, 0);
        for field in Fields::of(&message) {
            let Field::UserRecord(encoded) = field? else { continue };
            let (partition_key, data) = user_record(user_records, encoded, &keys)?;
            let origin = Origin {
                data: &data,
                partition_key: Some(partition_key),
                user_record: Some(user_records),
                ..Origin::of(record)
            };
            let before = out.rejections.len();
            if is_aggregate(&data) {
                // The library makes none. To take them apart would need a bound of its own on how deep they go.
                refuse(out, &origin, not_decodable("an aggregated record within an aggregated one is not taken apart"));
            } else if !self.part(scratch, &origin, room, out) {
                return Ok(false);
            }
            join_last(out, first);
            let added: usize = out.rejections[before..].iter().map(held_bytes).sum();
            if added > 0 && rejections > REJECTIONS {
                let message = format!(
                    "aggregated record: the rejections of its first {user_records} user records take more than \
                     {REJECTIONS} bytes, so it is rejected whole"
                );
                return Err(Refusal { code: RejectionCode::TooLarge, message });
            }
            rejections += added;
            user_records += 1;
        }
        Ok(true)
    }
}

/// The partition key and the data of a user record, counted from 0.
fn user_record<'k>(index: usize, encoded: Bytes, keys: &PartitionKeys<'k>) -> Result<(&'k str, Bytes), BadAggregate> {
    let bad = |why: String| BadAggregate::UserRecord { user_record: index, why };
    let fields = UserRecord::decode(encoded).map_err(|error| bad(error.to_string()))?;
    let key = fields.partition_key_index.ok_or_else(|| bad("partition_key_index is missing".into()))?;
    let data = fields.data.ok_or_else(|| bad("data is missing".into()))?;
    match keys.get(key) {
        Some(key) => Ok((key, data)),
        None => Err(BadAggregate::PartitionKey { user_record: index, index: key, keys: keys.places.len() }),
    }
}

/// Makes the last two payloads one when they share all that a payload has, for user records are often small. Payloads
/// before `first` are of other records.
fn join_last(out: &mut Decoded, first: usize) {
    let [.., before, last] = &mut out.payloads[first..] else { return };
    let text = |range: &Range<usize>| &out.text[range.clone()];
    let same = text(&before.log_group) == text(&last.log_group)
        && before.log_stream.as_ref().map(text) == last.log_stream.as_ref().map(text)
        && before.owner.as_ref().map(text) == last.owner.as_ref().map(text);
    if same && before.rows.end == last.rows.start {
        before.rows.end = last.rows.end;
        // Its head comes behind all other text.
        out.text.truncate(last.log_group.start);
        out.payloads.pop();
    }
}

/// Bytes that a rejection holds beside its record.
fn held_bytes(rejection: &Rejection) -> usize {
    let copied = super::copied_bytes(rejection);
    let text = rejection.message.len() + rejection.sequence.as_str().len();
    size_of::<Rejection>() + text + rejection.partition_key.as_deref().map_or(0, str::len) + copied
}
