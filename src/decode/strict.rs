//! The envelope of CloudWatch Logs, read step by step: the slow path, which decides exactly.
//!
//! It reads what the fast path gave up, and says what is wrong with which field; of the events each stands for
//! itself. Memory beyond the rows and rejections is one copy of the payload, and that only when it isn't UTF-8.
//!
//! Decided here: the last of several equal keys counts. Fields that nobody reads may hold whatever has the form of
//! JSON. Bytes that are not UTF-8 are the fault of the event that they are in, or of the field of the envelope.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::envelope::{Append, Envelope, EnvelopeKey, EventKey, Head, MessageType};
use super::rejecter::Rejecter;
use super::{Decoded, Origin, Row, not_decodable};
use crate::event::{Millis, RejectionCode, TIMESTAMP_LIMIT};

/// Why a whole payload is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: RejectionCode,
    pub(super) message: String,
}

pub(super) fn invalid(message: String) -> Refusal {
    Refusal { code: RejectionCode::PayloadInvalid, message }
}

/// Reads a whole payload; its rows and the rejections of its bad events are appended to `out`.
pub(super) fn read<'j>(json: &'j [u8], origin: &Origin<'_>, out: &mut Decoded) -> Result<Envelope<'j>, Refusal> {
    let text = same_length_text(json);
    let source = Source { json, text: &text };
    let fields = source.fields()?;
    match source.message_type(&fields)? {
        MessageType::Control => Ok(Envelope::Control),
        MessageType::Data => {
            let head = source.head(&fields)?;
            let events = fields.log_events.ok_or_else(|| invalid("logEvents is missing".into()))?;
            if !events.get().starts_with('[') {
                return Err(invalid("logEvents is not a list".into()));
            }
            let rejecter = source.rejecter(&fields, origin);
            let mut events = serde_json::Deserializer::from_str(events.get());
            events
                .deserialize_seq(EventsVisitor { source: &source, rejecter, out })
                .map_err(|error| not_json(&error))?;
            Ok(Envelope::Data(head))
        }
    }
}

/// The payload with `?` for each byte that isn't UTF-8, so that what is found in it is at the same place in both. Such
/// a byte never hides one that has a meaning in JSON, as those are ASCII.
fn same_length_text(json: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(json) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(json.len());
    for chunk in json.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '?'));
    }
    Cow::Owned(text)
}

pub(super) fn not_json(error: &serde_json::Error) -> Refusal {
    not_decodable(&format!("not JSON: {error}"))
}

/// A payload and its text, of the same length.
struct Source<'j, 't> {
    json: &'j [u8],
    text: &'t str,
}

/// The values of an envelope's known fields as they stand in the text.
#[derive(Default)]
struct Fields<'t> {
    message_type: Option<&'t RawValue>,
    owner: Option<&'t RawValue>,
    log_group: Option<&'t RawValue>,
    log_stream: Option<&'t RawValue>,
    subscription_filters: Option<&'t RawValue>,
    log_events: Option<&'t RawValue>,
}

impl<'j, 't> Source<'j, 't> {
    /// The bytes, as they came, of a part of the text.
    fn original(&self, part: &'t RawValue) -> &'j [u8] {
        let start = part.get().as_ptr() as usize - self.text.as_ptr() as usize;
        &self.json[start..start + part.get().len()]
    }

    /// For single events, in envelopes with this one's head as it came.
    fn rejecter<'a>(&self, fields: &Fields<'t>, origin: &Origin<'a>) -> Rejecter<'a> {
        let mut head = vec![b'{'];
        let kept = [
            ("messageType", fields.message_type),
            ("owner", fields.owner),
            ("logGroup", fields.log_group),
            ("logStream", fields.log_stream),
            ("subscriptionFilters", fields.subscription_filters),
        ];
        for (name, value) in kept {
            if let Some(value) = value {
                head.extend_from_slice(format!("\"{name}\":").as_bytes());
                head.extend_from_slice(self.original(value));
                head.push(b',');
            }
        }
        head.extend_from_slice(b"\"logEvents\":[");
        Rejecter::in_envelopes(RejectionCode::EventInvalid, origin, head)
    }

    fn fields(&self) -> Result<Fields<'t>, Refusal> {
        let mut deserializer = serde_json::Deserializer::from_str(self.text);
        let fields = if self.text.trim_ascii_start().starts_with('{') {
            deserializer.deserialize_map(FieldsVisitor)
        } else {
            <&RawValue as serde::Deserialize>::deserialize(&mut deserializer).map(|_| Fields::default())
        };
        let fields = fields.and_then(|fields| deserializer.end().map(|()| fields));
        fields.map_err(|error| not_json(&error))
    }

    fn message_type(&self, fields: &Fields<'t>) -> Result<MessageType, Refusal> {
        let raw = fields.message_type.ok_or_else(|| invalid("messageType is missing".into()))?;
        let text = self.string("messageType", raw)?;
        MessageType::parse(&text).ok_or_else(|| {
            let shown = Shown(text.as_bytes());
            invalid(format!("messageType \"{shown}\" is unknown: neither DATA_MESSAGE nor CONTROL_MESSAGE"))
        })
    }

    fn head(&self, fields: &Fields<'t>) -> Result<Head<'j>, Refusal> {
        let log_group = fields.log_group.ok_or_else(|| invalid("logGroup is missing".into()))?;
        let log_group = self.string("logGroup", log_group)?;
        if log_group.is_empty() {
            return Err(invalid("logGroup is empty".into()));
        }
        Ok(Head {
            log_group,
            log_stream: self.optional_string("logStream", fields.log_stream)?,
            owner: self.optional_string("owner", fields.owner)?,
        })
    }

    fn optional_string(&self, name: &str, raw: Option<&'t RawValue>) -> Result<Option<Cow<'j, str>>, Refusal> {
        raw.filter(|raw| raw.get() != "null").map(|raw| self.string(name, raw)).transpose()
    }

    fn string(&self, name: &str, raw: &'t RawValue) -> Result<Cow<'j, str>, Refusal> {
        let mut text = Vec::new();
        append_string(self.original(raw), &mut text).map_err(|why| invalid(format!("{name} {why}")))?;
        // It can't fail: what was appended is a string.
        String::from_utf8(text).map(Cow::Owned).map_err(|_| invalid(format!("{name} is not valid UTF-8")))
    }
}

/// Appends the string that this JSON value is, and returns its length.
fn append_string(value: &[u8], text: &mut Vec<u8>) -> Result<u32, &'static str> {
    if !value.starts_with(b"\"") {
        return Err("is not a string");
    }
    if std::str::from_utf8(value).is_err() {
        return Err("is not valid UTF-8");
    }
    // The value has the form of a JSON string, its length is within a record's: only its escapes can be wrong.
    let mut deserializer = serde_json::Deserializer::from_slice(value);
    Append(text)
        .deserialize(&mut deserializer)
        .map_err(|_| "is not text: it holds half of a surrogate pair, or more than 4 GiB")
}

/// The text of a key. It may hold escapes that stand for no text; as an unread field's it is as good as any other.
pub(super) fn key_text(key: &RawValue) -> Cow<'_, str> {
    let quoted = key.get();
    match quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(text) if !text.contains('\\') => Cow::Borrowed(text),
        _ => Cow::Owned(serde_json::from_str(quoted).unwrap_or_default()),
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Fields::default();
        while let Some((key, value)) = map.next_entry::<&'de RawValue, &'de RawValue>()? {
            let field = match EnvelopeKey::parse(&key_text(key)) {
                EnvelopeKey::MessageType => &mut fields.message_type,
                EnvelopeKey::Owner => &mut fields.owner,
                EnvelopeKey::LogGroup => &mut fields.log_group,
                EnvelopeKey::LogStream => &mut fields.log_stream,
                EnvelopeKey::SubscriptionFilters => &mut fields.subscription_filters,
                EnvelopeKey::LogEvents => &mut fields.log_events,
                EnvelopeKey::Unknown => continue,
            };
            *field = Some(value);
        }
        Ok(fields)
    }
}

struct EventsVisitor<'a, 'j, 't> {
    source: &'a Source<'j, 't>,
    rejecter: Rejecter<'a>,
    out: &'a mut Decoded,
}

impl<'t> Visitor<'t> for EventsVisitor<'_, '_, 't> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'t>>(mut self, mut events: A) -> Result<(), A::Error> {
        while let Some(event) = events.next_element::<&'t RawValue>()? {
            let event = self.source.original(event);
            let start = self.out.text.len();
            match read_event(event, &mut self.out.text) {
                Ok(row) => self.out.rows.push(row),
                Err(why) => {
                    self.out.text.truncate(start);
                    self.rejecter.reject(event, why, self.out);
                }
            }
        }
        self.rejecter.finish(self.out);
        Ok(())
    }
}

#[derive(Default)]
struct EventFields<'e> {
    id: Option<&'e RawValue>,
    timestamp: Option<&'e RawValue>,
    message: Option<&'e RawValue>,
}

struct EventFieldsVisitor;

impl<'de> Visitor<'de> for EventFieldsVisitor {
    type Value = EventFields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = EventFields::default();
        while let Some((key, value)) = map.next_entry::<&'de RawValue, &'de RawValue>()? {
            let field = match EventKey::parse(&key_text(key)) {
                EventKey::Id => &mut fields.id,
                EventKey::Timestamp => &mut fields.timestamp,
                EventKey::Message => &mut fields.message,
                EventKey::Unknown => continue,
            };
            *field = Some(value);
        }
        Ok(fields)
    }
}

/// Reads one event, given as it came, or says what is wrong with it.
fn read_event(event: &[u8], text: &mut Vec<u8>) -> Result<Row, String> {
    if !event.starts_with(b"{") {
        return Err("the event is not an object".into());
    }
    let json = std::str::from_utf8(event).map_err(|error| {
        let at = error.valid_up_to();
        format!("the event is not valid UTF-8: byte 0x{:02x} at {at}", event[at])
    })?;
    let fields = serde_json::Deserializer::from_str(json)
        .deserialize_map(EventFieldsVisitor)
        .map_err(|error| format!("the event is not JSON: {error}"))?;
    let timestamp = timestamp(fields.timestamp.ok_or("timestamp is missing")?.get())?;
    let at = text.len();
    let id_len = append_id(fields.id.ok_or("id is missing")?.get(), text).map_err(|why| format!("id {why}"))?;
    let message = fields.message.ok_or("message is missing")?.get();
    let message_len = append_string(message.as_bytes(), text).map_err(|why| format!("message {why}"))?;
    Ok(Row { timestamp, at, id_len, message_len })
}

/// Appends the text of a JSON value that is an id, and returns its length. A number is taken as it is written: with
/// every digit, and with its exponent if it has one.
pub(super) fn append_id(value: &str, text: &mut Vec<u8>) -> Result<u32, &'static str> {
    match value.as_bytes() {
        [b'"', ..] => append_string(value.as_bytes(), text),
        number @ [b'-' | b'0'..=b'9', ..] => {
            text.extend_from_slice(number);
            u32::try_from(number.len()).map_err(|_| "is longer than 4 GiB")
        }
        _ => Err("is neither a string nor a number"),
    }
}

fn timestamp(value: &str) -> Result<Millis, String> {
    if let Some(text) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        let shown = Shown(text.as_bytes());
        return Err(format!("timestamp \"{shown}\" is a string, not an integer, in milliseconds since 1970"));
    }
    let shown = Shown(value.as_bytes());
    if !value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') {
        return Err(format!("timestamp {shown} is not an integer, in milliseconds since 1970"));
    }
    // What doesn't fit is out of range too.
    match value.parse() {
        Ok(millis @ 0..TIMESTAMP_LIMIT) => Ok(millis),
        _ => Err(format!("timestamp {shown} is outside 1970..2200, in milliseconds since 1970")),
    }
}

/// At most 64 characters of a value, escaped: a message must neither carry the payload nor break a log.
pub(super) struct Shown<'a>(pub(super) &'a [u8]);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 64;
        // No character has more than 4 bytes.
        let start = String::from_utf8_lossy(&self.0[..self.0.len().min(4 * MOST)]);
        let shown: String = start.chars().take(MOST).collect();
        write!(f, "{}", shown.escape_debug())?;
        if shown.len() < self.0.len() { f.write_str("…") } else { Ok(()) }
    }
}
