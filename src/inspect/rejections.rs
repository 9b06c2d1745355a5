//! An error object: what could not be delivered, as Firemain and Amazon Data Firehose write it down.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;

use super::Problems;
use super::input::Input;
use super::lines;
use super::payload::{Payload, Reader};
use super::row::Row;
use super::shown::{Options, Span, Time};
use super::sniff::Compression;
use crate::source::errors::fields::Fields;

/// Of more codes than this no count is kept: there are some dozens.
const MOST_CODES: usize = 1000;

/// Who wrote an error object, as far as its fields tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Writer {
    Firemain,
    /// `processing-failed` of Amazon Data Firehose, and others in its form.
    FirehoseProcessing,
    /// `format-conversion-failed`
    FirehoseFormatConversion,
}

/// What an error object holds.
#[derive(Debug, Default, Serialize)]
pub struct Rejections {
    pub rejections: u64,
    pub written_by: Option<Writer>,
    pub arrival: Option<Span>,
    pub codes: BTreeMap<String, Code>,
    pub first_rejections: Vec<Shown>,
}

/// The rejections of one code.
#[derive(Debug, Default, Serialize)]
pub struct Code {
    pub rejections: u64,
    pub arrival: Option<Span>,
}

/// A rejection that is shown.
#[derive(Debug, Serialize)]
pub struct Shown {
    /// From 1.
    pub number: u64,
    pub code: String,
    pub reason: Option<String>,
    pub arrival: Option<Time>,
    pub attempts: Option<i64>,
    /// When the last of them ended.
    pub attempt_ended: Option<Time>,
    /// Shard, sequence number and whatever else says where it comes from, by the names of their fields.
    pub from: Row,
    /// `None` when its data is missing or no base64.
    pub payload: Option<Payload>,
}

/// Reads all of it.
pub fn inspect(
    input: &Arc<Input>,
    compression: Option<Compression>,
    options: Options,
    problems: &mut Problems,
) -> std::io::Result<Rejections> {
    let (mut found, mut reader) = (Rejections::default(), Reader::new(options));
    lines::read(input, compression, problems, |value, _| {
        let Some(value) = value else { return Ok(()) };
        let fields = Fields::parse(value).ok_or("it is no rejection: it has no data")?;
        found.add(fields, &mut reader, options);
        Ok(())
    })?;
    Ok(found)
}

impl Rejections {
    fn add(&mut self, fields: Fields<'_>, reader: &mut Reader, options: Options) {
        self.rejections += 1;
        self.written_by.get_or_insert(Writer::of(&fields));
        let (code, arrival) = (options.text(&fields.code()), fields.arrival());
        if let Some(arrival) = arrival {
            Span::add(&mut self.arrival, arrival);
        }
        if self.codes.len() < MOST_CODES || self.codes.contains_key(&code) {
            let count = self.codes.entry(code.clone()).or_default();
            count.rejections += 1;
            if let Some(arrival) = arrival {
                Span::add(&mut count.arrival, arrival);
            }
        }
        if self.first_rejections.len() < options.rows {
            self.first_rejections.push(Shown::of(fields, self.rejections, code, reader, options));
        }
    }
}

impl Writer {
    fn of(fields: &Fields<'_>) -> Self {
        if fields.data_catalog_table.is_some() || fields.sub_sequence_number.is_some() {
            Self::FirehoseFormatConversion
        } else if fields.shard_id.is_some() {
            Self::Firemain
        } else {
            Self::FirehoseProcessing
        }
    }
}

impl Shown {
    fn of(fields: Fields<'_>, number: u64, code: String, reader: &mut Reader, options: Options) -> Self {
        let payload = fields.payload().ok().map(|data| reader.of_bytes(data));
        let (attempts, arrival, ended) = (fields.attempts(), fields.arrival(), fields.attempt_ended());
        let from = [
            ("streamName", fields.stream_name),
            ("shardId", fields.shard_id),
            ("sequenceNumber", fields.sequence_number),
            ("subSequenceNumber", fields.sub_sequence_number),
            ("partitionKey", fields.partition_key),
            ("lambdaArn", fields.lambda_arn),
            ("dataCatalogTable", fields.data_catalog_table),
        ];
        let from = from.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Self {
            number,
            code,
            reason: fields.error_message.map(|why| options.reason(&text(&why))),
            arrival: arrival.map(Time),
            attempts,
            attempt_ended: ended.map(Time),
            from: Row(from.collect()).cut(options),
            payload,
        }
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use serde_json::json;

    use super::*;
    use crate::inspect::fixtures::{SHORT, envelope, gzip};

    fn of(content: &[u8], compression: Option<Compression>) -> (Rejections, Vec<String>) {
        let mut problems = Problems::default();
        let found = inspect(&Input::memory(content.to_vec()), compression, SHORT, &mut problems).unwrap();
        (found, problems.into_inner())
    }

    fn from<'s>(shown: &'s Shown, name: &str) -> &'s Value {
        &shown.from.0.iter().find(|(known, _)| known == name).unwrap().1
    }

    fn base64(data: &[u8]) -> String {
        base64::engine::general_purpose::STANDARD.encode(data)
    }

    #[test]
    fn own_rejections_are_counted_by_code() {
        let line = |n: i64| {
            let code = if n % 3 == 0 { "Table.Mismatch" } else { "Record.NotDecodable" };
            let data = if n == 0 { gzip(&envelope(2)) } else { b"not JSON".to_vec() };
            json!({"attemptsMade": 1, "arrivalTimestamp": 1_711_083_600_000 + n, "errorCode": code,
                "errorMessage": "because", "attemptEndingTimestamp": 1_711_083_700_000i64, "rawData": base64(&data),
                "sequenceNumber": n.to_string(), "partitionKey": null, "shardId": "shardId-7", "streamName": "logs"})
        };
        let content: String = (0..30).map(|n| format!("{}\n", line(n))).collect();
        let (found, problems) = of(&gzip(content.as_bytes()), Some(Compression::Gzip));
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!((found.rejections, found.written_by), (30, Some(Writer::Firemain)));
        let codes: Vec<_> = found.codes.iter().map(|(code, count)| (code.as_str(), count.rejections)).collect();
        assert_eq!(codes, [("Record.NotDecodable", 20), ("Table.Mismatch", 10)]);
        assert_eq!(found.arrival.unwrap().last, Time(1_711_083_600_029));
        let first = &found.first_rejections[0];
        assert_eq!((first.attempts, first.reason.as_deref()), (Some(1), Some("because")));
        assert_eq!(from(first, "shardId"), "shardId-7");
        let names: Vec<_> = first.from.0.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["streamName", "shardId", "sequenceNumber"]);
        assert_eq!(first.payload.as_ref().unwrap().logs[0].log_group, "/g");
        assert_eq!(found.first_rejections[1].payload.as_ref().unwrap().refused.len(), 1);
    }

    #[test]
    fn what_firehose_writes_needs_nothing_between_its_objects() {
        let processing = json!({"attemptsMade": 4, "arrivalTimestamp": 1_711_083_600_000i64,
            "errorCode": "Lambda.FunctionError", "errorMessage": "The Lambda function was successfully invoked but it \
            returned an error result.", "attemptEndingTimestamp": 1_711_083_650_000i64,
            "rawData": base64(&gzip(&envelope(1))), "lambdaArn": "arn:aws:lambda:eu-west-1:1:function:f:$LATEST"});
        let (found, problems) = of(format!("{processing}{processing}").as_bytes(), None);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!((found.rejections, found.written_by), (2, Some(Writer::FirehoseProcessing)));
        assert_eq!(found.first_rejections[1].attempts, Some(4));
        assert!(from(&found.first_rejections[1], "lambdaArn").as_str().unwrap().starts_with("arn:aws:lambda"));

        let conversion = json!({"attemptsMade": 1, "arrivalTimestamp": "1711083600000",
            "lastErrorCode": "DataFormatConversion.ParseError", "lastErrorMessage": "Encountered malformed JSON.",
            "attemptEndingTimestamp": 1_711_083_650_000i64, "rawData": base64(b"{\"a\":"), "sequenceNumber": "4957",
            "subSequenceNumber": 0, "dataCatalogTable": {"databaseName": "logs", "tableName": "t"}});
        let (found, problems) = of(format!("{conversion} {conversion}{{\"attempts").as_bytes(), None);
        assert_eq!((found.rejections, found.written_by), (2, Some(Writer::FirehoseFormatConversion)));
        assert_eq!(found.arrival.unwrap().first, Time(1_711_083_600_000));
        assert_eq!(found.codes["DataFormatConversion.ParseError"].rejections, 2);
        assert_eq!(from(&found.first_rejections[0], "dataCatalogTable")["tableName"], "t");
        assert_eq!(problems.len(), 1);
        assert!(problems[0].contains("it ends early"), "{problems:?}");
    }

    #[test]
    fn data_that_is_no_base64_and_lines_of_another_kind_do_not_end_it() {
        let content = "{\"errorCode\":\"X\",\"rawData\":\"?\"}\n{\"other\":1}\n{\"errorCode\":\"X\",\"rawData\":5}\n";
        let (found, problems) = of(content.as_bytes(), None);
        assert_eq!(found.rejections, 2);
        assert!(found.first_rejections.iter().all(|shown| shown.payload.is_none()));
        assert_eq!(problems.len(), 1);
        assert!(problems[0].contains("it is no rejection"), "{problems:?}");
    }
}
