//! What a producer put on the stream, as a person wants to see it: what delivery makes of it, and where that is nothing,
//! as much of it as can be read.

use std::io::Read;
use std::sync::Arc;

use bytes::Bytes;
use flate2::bufread::GzDecoder;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::shown::{Options, Span, Time};
use super::sniff::is_text;
use crate::decode::{self, Counts, DecodeConfig, Decoded, Decoder, Payloads, Scratch, is_aggregate};
use crate::event::{Record, Rejection};
use crate::gzip::is_gzip;
use crate::partition::KeyLimits;
use crate::table::LOG_EVENTS;

/// `limits.inflated_record_bytes`, as it is unless it was said otherwise.
const INFLATED: usize = 64 << 20;
/// Of a payload that nobody can decode no more is looked at.
const LOOKED_AT: u64 = 16 << 20;

/// Decodes as delivery does, and looks at what it refuses.
#[derive(Debug)]
pub struct Reader {
    decoder: Decoder,
    scratch: Scratch,
    decoded: Decoded,
    options: Options,
}

/// How a payload is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Form {
    Gzip,
    /// By the Kinesis Producer Library.
    Aggregated,
    Plain,
}

/// A payload.
#[derive(Debug, Serialize)]
pub struct Payload {
    pub bytes: u64,
    pub form: Form,
    /// Events that would be rows.
    pub events: u64,
    /// Control messages.
    pub control: u64,
    pub rejections: u64,
    /// What the events came out of: an aggregated record may have several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub logs: Vec<Log>,
    /// The first of the parts that would be rejections, or all of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refused>,
}

/// Events of one log stream.
#[derive(Debug, Serialize)]
pub struct Log {
    pub log_group: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_stream: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    pub events: u64,
    pub time: Option<Span>,
    /// The first events.
    pub first: Vec<Event>,
}

/// A log event.
#[derive(Debug, Serialize)]
pub struct Event {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<Time>,
    pub message: String,
}

/// What delivery makes no rows of.
#[derive(Debug, Serialize)]
pub struct Refused {
    pub code: &'static str,
    pub reason: String,
    pub begins: Beginning,
}

/// The beginning of what can't be decoded.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Beginning {
    /// What an envelope says, as far as it is one.
    Envelope {
        log_group: Option<String>,
        log_stream: Option<String>,
        /// `None` where they are no list.
        events: Option<u64>,
        first: Vec<Event>,
    },
    Text(String),
    Hex(String),
}

impl Reader {
    pub fn new(options: Options) -> Self {
        let decoder = Decoder::new(DecodeConfig {
            inflated_record_bytes: INFLATED,
            longest_table: LOG_EVENTS.into(),
            keys: KeyLimits { key: 1024, segment: 1024, before: 0 },
            payloads: Payloads::Envelopes,
        });
        Self { decoder, scratch: Scratch::new(), decoded: Decoded::default(), options }
    }

    /// Decodes a record: what came of it stays until the next one.
    pub fn decode(&mut self, record: &Record) -> &Decoded {
        self.decoded.clear();
        let records = std::slice::from_ref(record);
        // Of one record at least there is room.
        let _ = self.decoder.decode(&mut self.scratch, records, true, &mut self.decoded);
        &self.decoded
    }

    /// What the record that was decoded last holds.
    pub fn look(&self, record: &Record) -> Payload {
        let decoded = &self.decoded;
        let Counts { events, control, rejections, .. } = decoded.counts;
        let refused = decoded.rejections.iter().take(self.options.rows.max(1));
        Payload {
            bytes: record.data.len() as u64,
            form: Form::of(&record.data),
            events,
            control,
            rejections,
            logs: decoded.payloads.iter().take(self.options.rows.max(1)).map(|payload| self.log(payload)).collect(),
            refused: refused.map(|rejection| self.refused(rejection)).collect(),
        }
    }

    /// A payload that has no record around it.
    pub fn of_bytes(&mut self, data: Bytes) -> Payload {
        let record = Record { data, sequence: 0.into(), partition_key: None, arrival: 0, flaw: None, earlier: None };
        self.decode(&record);
        self.look(&record)
    }

    fn log(&self, payload: &decode::Payload) -> Log {
        let Decoded { text, rows, .. } = &self.decoded;
        let rows = &rows[payload.rows.clone()];
        let whole = |range: std::ops::Range<usize>| String::from_utf8_lossy(&text[range]).into_owned();
        let mut time = None;
        rows.iter().for_each(|row| Span::add(&mut time, row.timestamp));
        let event = |row: &decode::Row| {
            let message = self.options.text(&String::from_utf8_lossy(&text[row.message()]));
            Event { timestamp: Some(Time(row.timestamp)), message }
        };
        Log {
            log_group: whole(payload.log_group.clone()),
            log_stream: payload.log_stream.clone().map(whole),
            owner: payload.owner.clone().map(whole),
            events: rows.len() as u64,
            time,
            first: rows.iter().take(self.options.rows).map(event).collect(),
        }
    }

    fn refused(&self, rejection: &Rejection) -> Refused {
        let begins = Beginning::of(&rejection.payload, self.options);
        Refused { code: rejection.code.as_str(), reason: self.options.reason(&rejection.message), begins }
    }
}

impl Form {
    fn of(data: &[u8]) -> Self {
        if is_gzip(data) {
            Self::Gzip
        } else if is_aggregate(data) {
            Self::Aggregated
        } else {
            Self::Plain
        }
    }
}

impl Beginning {
    /// Of a gzip, what can be inflated of it.
    pub fn of(payload: &[u8], options: Options) -> Self {
        if is_gzip(payload) {
            let mut content = Vec::new();
            // What is wrong with it is said elsewhere.
            let _ = GzDecoder::new(payload).take(LOOKED_AT).read_to_end(&mut content);
            if !content.is_empty() {
                return Self::of_content(&content, options);
            }
        }
        Self::of_content(payload, options)
    }

    fn of_content(content: &[u8], options: Options) -> Self {
        if let Some(envelope) = Self::of_envelope(content, options) {
            return envelope;
        }
        let looked_at = &content[..content.len().min(LOOKED_AT as usize)];
        if is_text(looked_at) {
            Self::Text(options.text(&String::from_utf8_lossy(looked_at)))
        } else {
            Self::Hex(options.hex(looked_at))
        }
    }

    /// `None` when nothing of it reminds of an envelope.
    fn of_envelope(json: &[u8], options: Options) -> Option<Self> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Lenient<'a> {
            log_group: Option<Value>,
            log_stream: Option<Value>,
            #[serde(borrow)]
            log_events: Option<&'a RawValue>,
        }
        #[derive(Deserialize)]
        struct LenientEvent {
            timestamp: Option<Value>,
            message: Option<Value>,
        }
        let Lenient { log_group, log_stream, log_events } = serde_json::from_slice(json).ok()?;
        if log_group.is_none() && log_events.is_none() {
            return None;
        }
        let text = |value: Value| match value {
            Value::String(text) => options.text(&text),
            other => options.text(&other.to_string()),
        };
        let events: Option<Vec<&RawValue>> = log_events.and_then(|list| serde_json::from_str(list.get()).ok());
        let event = |raw: &&RawValue| match serde_json::from_str(raw.get()) {
            Ok(LenientEvent { timestamp, message: Some(message) }) => {
                Event { timestamp: timestamp.and_then(|time| time.as_i64()).map(Time), message: text(message) }
            }
            _ => Event { timestamp: None, message: options.text(raw.get()) },
        };
        Some(Self::Envelope {
            log_group: log_group.map(text),
            log_stream: log_stream.map(text),
            events: events.as_ref().map(|events| events.len() as u64),
            first: events.iter().flatten().take(options.rows.max(1)).map(event).collect(),
        })
    }
}

/// A record as a file has it, with the number that it would get.
pub fn record(index: u64, found: crate::source::file::content::Found) -> Record {
    let crate::source::file::content::Found { data, partition_key, arrival, flaw } = found;
    let flaw: Option<Arc<str>> = flaw;
    Record { data, sequence: index.into(), partition_key, arrival, flaw, earlier: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::fixtures::{SHORT, envelope, gzip};

    fn look(data: impl Into<Bytes>) -> Payload {
        Reader::new(SHORT).of_bytes(data.into())
    }

    fn only(payload: Payload) -> Refused {
        assert_eq!((payload.events, payload.logs.len(), payload.refused.len()), (0, 0, 1));
        payload.refused.into_iter().next().unwrap()
    }

    #[test]
    fn an_envelope_is_shown_with_its_first_messages() {
        let payload = look(gzip(&envelope(300)));
        assert_eq!((payload.form, payload.events, payload.control), (Form::Gzip, 300, 0));
        let log = &payload.logs[0];
        assert_eq!((&log.log_group[..], log.log_stream.as_deref(), log.events), ("/g", Some("s"), 300));
        assert_eq!((log.first.len(), &log.first[1].message[..]), (SHORT.rows, "message 1"));
        assert_eq!(log.time.unwrap().to_string(), "2024-03-22T05:00:00.000Z to 2024-03-22T05:00:00.299Z");
    }

    #[test]
    fn an_aggregated_record_is_taken_apart_and_a_control_message_told() {
        let payload = look(&include_bytes!("../../tests/golden/kpl-aggregate.bin")[..]);
        assert_eq!(payload.form, Form::Aggregated);
        assert!(payload.events + payload.control > 0 || !payload.refused.is_empty());
        let control = br#"{"messageType":"CONTROL_MESSAGE","logGroup":"","logStream":"","logEvents":[]}"#;
        assert_eq!(look(&control[..]).control, 1);
    }

    #[test]
    fn of_what_is_refused_as_much_is_shown_as_can_be_read() {
        let bad = r#"{"messageType":"DATA_MESSAGE","logGroup":"/g","logStream":"s","logEvents":[{"id":"1","timestamp":-5,"message":"m"}]}"#;
        let refused = only(look(bad));
        assert_eq!(refused.code, "Event.Invalid");
        let Beginning::Envelope { log_group, events: Some(1), first, .. } = refused.begins else { panic!() };
        assert_eq!((log_group.as_deref(), &first[0].message[..]), (Some("/g"), "m"));

        let whole = gzip(&envelope(300));
        let cut = only(look(whole[..whole.len() / 2].to_vec()));
        assert_eq!((cut.code, &cut.reason[..]), ("Record.NotDecodable", "gzip: truncated"));
        assert!(matches!(cut.begins, Beginning::Text(text) if text.starts_with("{\"logEvents\"")));
        let Beginning::Envelope { events, .. } = only(look(whole[..whole.len() - 8].to_vec())).begins else { panic!() };
        assert_eq!(events, Some(300), "all but its checksum is there");

        assert!(matches!(only(look("plain text")).begins, Beginning::Text(text) if text == "plain text"));
        assert!(matches!(only(look(&[0xff, 0, 1][..])).begins, Beginning::Hex(hex) if hex == "ff 00 01"));
        assert!(matches!(only(look(&b"\x1f\x8b"[..])).begins, Beginning::Hex(hex) if hex == "1f 8b"));
        let odd = r#"{"logGroup":5,"logEvents":{"a":1}}"#;
        let Beginning::Envelope { log_group, events: None, .. } = only(look(odd)).begins else { panic!() };
        assert_eq!(log_group.as_deref(), Some("5"));
    }
}
