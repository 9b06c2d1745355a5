//! A rejection of an error object, as it is delivered again.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::fields::{Fields, some};
use crate::event::{Earlier, Millis, Record, ShardId, TIMESTAMP_LIMIT};
use crate::position::SequenceNumber;

/// A rejection.
#[derive(Debug)]
pub struct Line {
    pub code: String,
    /// `None` where it does not say so.
    pub arrival: Option<Millis>,
    attempts: u32,
    sequence: Option<String>,
    partition_key: Option<String>,
    shard: Option<String>,
    stream: Option<String>,
    payload: Result<Bytes, &'static str>,
}

impl Line {
    /// What a JSON value says; `None` when it is no rejection.
    pub fn parse(json: &str) -> Option<Self> {
        let fields = Fields::parse(json.as_bytes())?;
        let attempts = fields.attempts().and_then(|attempts| u32::try_from(attempts).ok());
        Some(Self {
            code: fields.code(),
            arrival: fields.arrival().filter(|arrival| (0..TIMESTAMP_LIMIT).contains(arrival)),
            // That it is here is an attempt.
            attempts: attempts.unwrap_or(1).max(1),
            sequence: some(fields.sequence_number.as_ref()),
            partition_key: some(fields.partition_key.as_ref()),
            shard: some(fields.shard_id.as_ref()),
            stream: some(fields.stream_name.as_ref()),
            payload: fields.payload(),
        })
    }

    /// Why it can't be delivered again, where that is so.
    pub fn flaw(&self) -> Option<&'static str> {
        self.payload.as_ref().err().copied()
    }

    /// The record to deliver again, at a place of its object. `None` where it has a [`Line::flaw`]. `modified`: its
    /// arrival where it does not say so.
    pub fn into_record(self, object: Numbers, index: u64, modified: Millis) -> Option<Record> {
        let boxed = |text: Option<String>| text.map(String::into_boxed_str);
        let earlier = Earlier { index, attempts: self.attempts, shard: boxed(self.shard), stream: boxed(self.stream) };
        Some(Record {
            data: self.payload.ok()?,
            sequence: self.sequence.and_then(|digits| digits.parse().ok()).unwrap_or_else(|| object.at(index)),
            partition_key: boxed(self.partition_key),
            arrival: self.arrival.unwrap_or(modified),
            flaw: None,
            earlier: Some(earlier.into()),
        })
    }
}

/// Sequence numbers for the rejections of an object that have none, as many of Firehose: the same whenever it is read, and
/// others than those of another object. Ids of events are made of them.
#[derive(Clone, Copy, Debug)]
pub struct Numbers(u64);

impl Numbers {
    /// Of an object, by its URL.
    pub fn of(object: &ShardId) -> Self {
        let digest = Sha256::digest(object.as_str());
        Self(u64::from_be_bytes(*digest.first_chunk().expect("it has 32 bytes")).max(1))
    }

    fn at(self, index: u64) -> SequenceNumber {
        let digits = format!("{}{index:010}", self.0);
        digits.parse().expect("they are at most 40 digits, of which the first is no zero")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::errors::fields::NO_CODE;

    fn numbers() -> Numbers {
        Numbers::of(&"s3://a/x".into())
    }

    #[test]
    fn our_own_lines_keep_everything() {
        let line = r#"{"attemptsMade":2,"arrivalTimestamp":1700000000123,"errorCode":"Event.Invalid","errorMessage":"x",
            "attemptEndingTimestamp":1700000000999,"rawData":"AP9h","sequenceNumber":"49571","partitionKey":"k",
            "shardId":"shardId-0","streamName":"app"}"#;
        let line = Line::parse(line).unwrap();
        assert_eq!((line.code.as_str(), line.arrival, line.flaw()), ("Event.Invalid", Some(1_700_000_000_123), None));
        let record = line.into_record(numbers(), 7, 5).unwrap();
        let earlier = Earlier { index: 7, attempts: 2, shard: Some("shardId-0".into()), stream: Some("app".into()) };
        assert_eq!((&record.data[..], record.sequence.as_str()), (&b"\0\xffa"[..], "49571"));
        assert_eq!((record.partition_key.as_deref(), record.arrival), (Some("k"), 1_700_000_000_123));
        assert_eq!(record.earlier.as_deref(), Some(&earlier));
    }

    #[test]
    fn lines_of_firehose_are_read_as_well() {
        let processing = r#"{"attemptsMade":4,"arrivalTimestamp":1711083600000,"errorCode":"Lambda.FunctionError",
            "errorMessage":"m","attemptEndingTimestamp":1711083700000,"rawData":"YQ==","lambdaArn":"arn"}"#;
        let conversion = r#"{"attemptsMade":1,"arrivalTimestamp":"1711083600000","lastErrorCode":"DataFormatConversion.MalformedData",
            "lastErrorMessage":"m","attemptEndingTimestamp":1711083700000,"rawData":"YQ==","sequenceNumber":"4957",
            "subSequenceNumber":null,"dataCatalogTable":{"catalogId":null}}"#;
        let line = Line::parse(processing).unwrap();
        assert_eq!((line.code.as_str(), line.attempts), ("Lambda.FunctionError", 4));
        let made_up = line.into_record(numbers(), 3, 5).unwrap().sequence;
        assert_eq!(made_up.as_str(), "71310901652528628050000000003");
        let other = Numbers::of(&"s3://a/y".into()).at(3);
        assert!(made_up != other && made_up != numbers().at(4) && made_up == numbers().at(3));
        let line = Line::parse(conversion).unwrap();
        assert_eq!((line.code.as_str(), line.arrival), ("DataFormatConversion.MalformedData", Some(1_711_083_600_000)));
        assert_eq!(line.into_record(numbers(), 3, 5).unwrap().sequence.as_str(), "4957");
    }

    #[test]
    fn what_has_no_payload_says_so_and_what_is_no_rejection_is_none() {
        assert!(Line::parse(r#"{"rawData":""}"#).unwrap().flaw().unwrap().contains("withheld"));
        assert!(Line::parse(r#"{"rawData":"?"}"#).unwrap().flaw().unwrap().contains("base64"));
        let bare =
            Line::parse(r#"{"rawData":"YQ==","errorCode":null,"attemptsMade":-1,"arrivalTimestamp":{}}"#).unwrap();
        assert_eq!((bare.code.as_str(), bare.attempts, bare.arrival), (NO_CODE, 1, None));
        assert_eq!(bare.into_record(numbers(), 0, 9).unwrap().arrival, 9);
        for other in ["{}", "[]", "7", r#"{"message":"x"}"#, "{"] {
            assert!(Line::parse(other).is_none(), "{other}");
        }
    }
}
