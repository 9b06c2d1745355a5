//! What a rejection says in an error object: one of ours, or one of Amazon Data Firehose.
//!
//! Ours are written by `buffer::rejection`. Firehose's forms:
//! <https://docs.aws.amazon.com/firehose/latest/dev/retry.html> (`processing-failed`), and with `lastErrorCode` in place of
//! `errorCode` where it converts formats (`format-conversion-failed`).

use std::borrow::Cow;

use base64::Engine as _;
use bytes::Bytes;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::source::file::content::BASE64;

/// How a code is called where there is none.
pub const NO_CODE: &str = "(none)";

/// Whoever wrote it. Those that have another type than they should are as good as none.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fields<'a> {
    #[serde(borrow)]
    raw_data: Option<Data<'a>>,
    #[serde(alias = "lastErrorCode")]
    error_code: Option<Value>,
    #[serde(alias = "lastErrorMessage")]
    pub error_message: Option<Value>,
    arrival_timestamp: Option<Value>,
    attempts_made: Option<Value>,
    attempt_ending_timestamp: Option<Value>,
    pub shard_id: Option<Value>,
    pub sequence_number: Option<Value>,
    pub sub_sequence_number: Option<Value>,
    pub partition_key: Option<Value>,
    pub stream_name: Option<Value>,
    #[serde(alias = "lambdaARN")]
    pub lambda_arn: Option<Value>,
    pub data_catalog_table: Option<Value>,
}

/// Not copied: it may be most of the object.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Data<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    Other(IgnoredAny),
}

impl<'a> Fields<'a> {
    /// What a JSON value says; `None` when it is no rejection.
    pub fn parse(json: &'a [u8]) -> Option<Self> {
        let fields: Self = serde_json::from_slice(json).ok()?;
        fields.raw_data.is_some().then_some(fields)
    }

    pub fn code(&self) -> String {
        some(self.error_code.as_ref()).unwrap_or_else(|| NO_CODE.to_owned())
    }

    /// In milliseconds since 1970, as all times of it are.
    pub fn arrival(&self) -> Option<i64> {
        number(self.arrival_timestamp.as_ref())
    }

    /// When the last attempt ended.
    pub fn attempt_ended(&self) -> Option<i64> {
        number(self.attempt_ending_timestamp.as_ref())
    }

    pub fn attempts(&self) -> Option<i64> {
        number(self.attempts_made.as_ref())
    }

    /// The payload, or why there is none.
    pub fn payload(&self) -> Result<Bytes, &'static str> {
        match &self.raw_data {
            Some(Data::Text(text)) if text.is_empty() => Err("it has no payload: that was withheld, or is empty"),
            Some(Data::Text(text)) => {
                BASE64.decode(text.as_bytes()).map(Bytes::from).map_err(|_| "its rawData is not base64")
            }
            _ => Err("its rawData is no text"),
        }
    }
}

/// A text that says something.
pub fn some(value: Option<&Value>) -> Option<String> {
    value?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// A whole number, also in quotes.
fn number(value: Option<&Value>) -> Option<i64> {
    match value? {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}
