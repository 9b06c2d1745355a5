//! A rejection as it stands in an error object: our own, or one of Amazon Data Firehose.
//!
//! Firehose's forms: <https://docs.aws.amazon.com/firehose/latest/dev/retry.html> (`processing-failed`), and with
//! `lastErrorCode` in place of `errorCode` where it converts formats (`format-conversion-failed`).

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::event::{Earlier, Millis, Record, TIMESTAMP_LIMIT};

/// What a line is called whose rejection has no code.
pub const NO_CODE: &str = "(none)";

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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(borrow)]
    raw_data: Option<Text<'a>>,
    #[serde(borrow, alias = "lastErrorCode")]
    error_code: Option<Text<'a>>,
    arrival_timestamp: Option<Number<'a>>,
    attempts_made: Option<Number<'a>>,
    #[serde(borrow)]
    sequence_number: Option<Text<'a>>,
    #[serde(borrow)]
    partition_key: Option<Text<'a>>,
    #[serde(borrow)]
    shard_id: Option<Text<'a>>,
    #[serde(borrow)]
    stream_name: Option<Text<'a>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Text<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    Other(IgnoredAny),
}

impl Text<'_> {
    fn some(&self) -> Option<String> {
        match self {
            Self::Text(text) if !text.is_empty() => Some(text.clone().into_owned()),
            _ => None,
        }
    }
}

/// As a number, or as a text of one.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number<'a> {
    Integer(i64),
    Text(#[serde(borrow)] Cow<'a, str>),
    Other(IgnoredAny),
}

impl Number<'_> {
    fn get(&self) -> Option<i64> {
        match self {
            Self::Integer(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
            Self::Other(_) => None,
        }
    }
}

impl Line {
    /// What a JSON value says; `None` when it is no rejection.
    pub fn parse(json: &str) -> Option<Self> {
        let fields: Fields<'_> = serde_json::from_str(json).ok()?;
        let raw = fields.raw_data?;
        let payload = match &raw {
            Text::Text(text) if text.is_empty() => Err("it has no payload: that was withheld, or is empty"),
            Text::Text(text) => {
                STANDARD.decode(text.as_bytes()).map(Bytes::from).map_err(|_| "its rawData is not base64")
            }
            Text::Other(_) => Err("its rawData is no text"),
        };
        let text = |field: &Option<Text<'_>>| field.as_ref().and_then(Text::some);
        let attempts = fields.attempts_made.and_then(|attempts| u32::try_from(attempts.get()?).ok());
        let arrival = fields.arrival_timestamp.and_then(|arrival| arrival.get());
        Some(Self {
            code: text(&fields.error_code).unwrap_or_else(|| NO_CODE.to_owned()),
            arrival: arrival.filter(|arrival| (0..TIMESTAMP_LIMIT).contains(arrival)),
            // That it is here is an attempt.
            attempts: attempts.unwrap_or(1).max(1),
            sequence: text(&fields.sequence_number),
            partition_key: text(&fields.partition_key),
            shard: text(&fields.shard_id),
            stream: text(&fields.stream_name),
            payload,
        })
    }

    /// Why it can't be delivered again, where that is so.
    pub fn flaw(&self) -> Option<&'static str> {
        self.payload.as_ref().err().copied()
    }

    /// The record to deliver again, at a place of its object. `None` where it has a [`Line::flaw`]. `modified`: its
    /// arrival where it does not say so.
    pub fn into_record(self, index: u64, modified: Millis) -> Option<Record> {
        let boxed = |text: Option<String>| text.map(String::into_boxed_str);
        let earlier = Earlier { index, attempts: self.attempts, shard: boxed(self.shard), stream: boxed(self.stream) };
        Some(Record {
            data: self.payload.ok()?,
            sequence: self.sequence.and_then(|digits| digits.parse().ok()).unwrap_or_else(|| index.into()),
            partition_key: boxed(self.partition_key),
            arrival: self.arrival.unwrap_or(modified),
            flaw: None,
            earlier: Some(earlier.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_lines_keep_everything() {
        let line = r#"{"attemptsMade":2,"arrivalTimestamp":1700000000123,"errorCode":"Event.Invalid","errorMessage":"x",
            "attemptEndingTimestamp":1700000000999,"rawData":"AP9h","sequenceNumber":"49571","partitionKey":"k",
            "shardId":"shardId-0","streamName":"app"}"#;
        let line = Line::parse(line).unwrap();
        assert_eq!((line.code.as_str(), line.arrival, line.flaw()), ("Event.Invalid", Some(1_700_000_000_123), None));
        let record = line.into_record(7, 5).unwrap();
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
        assert_eq!(
            line.into_record(3, 5).unwrap().sequence.as_str(),
            "3",
            "its place in the object, for want of another"
        );
        let line = Line::parse(conversion).unwrap();
        assert_eq!((line.code.as_str(), line.arrival), ("DataFormatConversion.MalformedData", Some(1_711_083_600_000)));
        assert_eq!(line.into_record(3, 5).unwrap().sequence.as_str(), "4957");
    }

    #[test]
    fn what_has_no_payload_says_so_and_what_is_no_rejection_is_none() {
        assert!(Line::parse(r#"{"rawData":""}"#).unwrap().flaw().unwrap().contains("withheld"));
        assert!(Line::parse(r#"{"rawData":"?"}"#).unwrap().flaw().unwrap().contains("base64"));
        let bare =
            Line::parse(r#"{"rawData":"YQ==","errorCode":null,"attemptsMade":-1,"arrivalTimestamp":{}}"#).unwrap();
        assert_eq!((bare.code.as_str(), bare.attempts, bare.arrival), (NO_CODE, 1, None));
        assert_eq!(bare.into_record(0, 9).unwrap().arrival, 9);
        for other in ["{}", "[]", "7", r#"{"message":"x"}"#, "{"] {
            assert!(Line::parse(other).is_none(), "{other}");
        }
    }
}
