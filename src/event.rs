//! What travels: records as a source hands them out, and the parts of them that cannot become rows.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::position::SequenceNumber;

/// Milliseconds since 1970-01-01T00:00:00Z.
pub type Millis = i64;

/// 2200-01-01T00:00:00Z: the first instant that is no event's, nor the arrival of a record.
pub const TIMESTAMP_LIMIT: Millis = 7_258_118_400_000;

/// A shard of the stream, or one input file: the unit that has a position and an owner.
///
/// Cheap to clone. For a Kinesis shard its id (`shardId-000000000000`), for a file its path, `-` for standard input.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShardId(Arc<str>);

impl Serialize for ShardId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ShardId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(String::deserialize(deserializer)?.into()))
    }
}

impl ShardId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for ShardId {
    fn from(id: &str) -> Self {
        Self(id.into())
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One Kinesis record, or what a file holds in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The payload as it was put: up to 10 MiB, normally a gzip of a CloudWatch Logs envelope. It may be aggregated.
    pub data: Bytes,
    /// Its place in the shard; in a file its index, from 0.
    pub sequence: SequenceNumber,
    /// `None` where the source knows none (a bare payload in a file).
    pub partition_key: Option<Box<str>>,
    /// The approximate arrival on the stream; for a bare payload file the file's modification time.
    pub arrival: Millis,
    /// What its source found wrong with it: it is rejected with this, whatever it holds.
    pub flaw: Option<Arc<str>>,
    /// For one that was rejected before, and comes out of an error object now.
    pub earlier: Option<Arc<Earlier>>,
}

/// What is known of a record from before, when it was rejected. `sequence`, partition key and arrival are those that it had
/// then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// Its place in the error object, from 0.
    pub index: u64,
    /// How often it was tried to deliver it.
    pub attempts: u32,
    /// Where it came from, as far as the rejection says so.
    pub shard: Option<Box<str>>,
    pub stream: Option<Box<str>>,
}

/// Why a payload is in the error prefix. The text form is the `errorCode` and part of the key: never change one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RejectionCode {
    /// Neither a whole, intact gzip of JSON nor JSON; or of text, where that is wanted. Or a damaged aggregated record.
    NotDecodable,
    /// Inflates past `limits.inflated_record_bytes`, or would take more memory than that allows.
    TooLarge,
    /// JSON, but no envelope of CloudWatch Logs; or not only objects, where these are wanted.
    PayloadInvalid,
    /// One event of an otherwise good payload.
    EventInvalid,
    /// The partition of its log group would have a key that the store cannot hold.
    PartitionTooLong,
    /// Its message is no row of the table that its log group has.
    TableMismatch,
}

impl RejectionCode {
    pub const ALL: [Self; 6] = [
        Self::NotDecodable,
        Self::TooLarge,
        Self::PayloadInvalid,
        Self::EventInvalid,
        Self::PartitionTooLong,
        Self::TableMismatch,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotDecodable => "Record.NotDecodable",
            Self::TooLarge => "Record.TooLarge",
            Self::PayloadInvalid => "Payload.Invalid",
            Self::EventInvalid => "Event.Invalid",
            Self::PartitionTooLong => "Partition.TooLong",
            Self::TableMismatch => "Table.Mismatch",
        }
    }
}

impl fmt::Display for RejectionCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A record, or the part of one, that could not be delivered as rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    pub code: RejectionCode,
    /// One sentence for a person: which field, which value, which limit.
    pub message: String,
    /// Exactly what must be delivered again: the record or user record as it came, or the bad event alone, in an
    /// envelope if it came in one.
    pub payload: Bytes,
    /// The record that it came in.
    pub sequence: SequenceNumber,
    /// The user record's, if its record is aggregated.
    pub partition_key: Option<Box<str>>,
    pub arrival: Millis,
    /// As of its record.
    pub earlier: Option<Arc<Earlier>>,
}
