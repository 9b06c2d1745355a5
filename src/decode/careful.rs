//! The unusual payload: decides exactly what of it is good, what is wrong with the rest, and keeps the rest's bytes.
//!
//! Slow, and only for payloads that the one-pass reader in [`super::envelope`] refuses.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::envelope::Kind;
use super::{Decoded, Row, is_valid_time};

/// What an unusual payload is.
#[derive(Debug)]
pub enum Found<'j> {
    Control,
    Data(Data<'j>),
}

/// An envelope whose head is good. Its events are judged one by one.
#[derive(Debug)]
pub struct Data<'j> {
    pub log_group: String,
    pub log_stream: Option<String>,
    pub owner: Option<String>,
    /// Each event's own bytes.
    events: Vec<&'j [u8]>,
    /// The head's fields as they were, for envelopes around single events.
    head: Vec<u8>,
}

/// Why a payload can't be delivered at all.
#[derive(Debug, PartialEq, Eq)]
pub enum Unusable {
    NotJson(String),
    Invalid(String),
}

type Fields<'t> = BTreeMap<String, &'t RawValue>;

/// The fields that an envelope around a single event takes over.
const HEAD: [&str; 5] = ["messageType", "owner", "logGroup", "logStream", "subscriptionFilters"];

/// Looks at a payload's head.
pub fn read(json: &[u8]) -> Result<Found<'_>, Unusable> {
    let text = same_length_text(json);
    let place = Place { original: json, text: &text };
    let fields: Fields<'_> = match serde_json::from_str(&text) {
        Ok(fields) => fields,
        Err(error) => {
            return Err(match serde_json::from_str::<&RawValue>(&text) {
                Ok(_) => Unusable::Invalid("messageType is missing: the payload is no JSON object".to_owned()),
                Err(_) => Unusable::NotJson(format!("not JSON: {error}")),
            });
        }
    };
    let kind = place.string(&fields, "messageType")?.ok_or_else(|| missing("messageType"))?;
    match Kind::of(&kind) {
        Some(Kind::Control) => return Ok(Found::Control),
        Some(Kind::Data) => {}
        None => return Err(Unusable::Invalid(format!("messageType {} is not known", shown(&kind)))),
    }
    let log_group = place.string(&fields, "logGroup")?.ok_or_else(|| missing("logGroup"))?;
    if log_group.is_empty() {
        return Err(Unusable::Invalid("logGroup is empty".to_owned()));
    }
    let log_stream = place.string(&fields, "logStream")?;
    let owner = place.string(&fields, "owner")?;
    let events = fields.get("logEvents").ok_or_else(|| missing("logEvents"))?;
    let events: Vec<&RawValue> =
        serde_json::from_str(events.get()).map_err(|_| Unusable::Invalid("logEvents is not a list".to_owned()))?;
    let events = events.into_iter().map(|event| place.original(event)).collect();
    let mut head = vec![b'{'];
    for (name, value) in HEAD.iter().filter_map(|name| Some((name, fields.get(*name)?))) {
        head.extend_from_slice(format!("\"{name}\":").as_bytes());
        head.extend_from_slice(place.original(value));
        head.push(b',');
    }
    Ok(Found::Data(Data { log_group, log_stream, owner, events, head }))
}

impl Data<'_> {
    pub fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    /// Adds the good events to `out`; hands each bad one to `reject`, as an envelope that holds it alone, with the
    /// reason.
    pub fn events(&self, out: &mut Decoded, mut reject: impl FnMut(&mut Decoded, Vec<u8>, String)) {
        for event in &self.events {
            match Event::read(event) {
                Ok(event) => out.rows.push(event.append(&mut out.text)),
                Err(reason) => {
                    let alone = [&self.head, b"\"logEvents\":[".as_slice(), event, b"]}"].concat();
                    reject(out, alone, reason);
                }
            }
        }
    }
}

struct Event {
    id: String,
    timestamp: i64,
    message: String,
}

impl Event {
    fn read(json: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(json).map_err(|_| "the event is not valid UTF-8".to_owned())?;
        if !text.starts_with('{') {
            return Err("the event is no JSON object".to_owned());
        }
        let fields: Fields<'_> = serde_json::from_str(text).map_err(|error| format!("the event: {error}"))?;
        let field = |name: &str| fields.get(name).map(|value| value.get()).ok_or(format!("{name} is missing"));
        let id = field("id")?;
        let id = match id.as_bytes()[0] {
            b'"' => serde_json::from_str(id).map_err(|error| format!("id is not valid text: {error}"))?,
            b'-' | b'0'..=b'9' => id.to_owned(),
            _ => return Err(format!("id {} is neither text nor a number", shown(id))),
        };
        let timestamp = field("timestamp")?;
        let digits = timestamp.strip_prefix('-').unwrap_or(timestamp);
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("timestamp {} is not an integer of milliseconds", shown(timestamp)));
        }
        let time = timestamp.parse().ok().filter(|time| is_valid_time(*time));
        let time = time.ok_or_else(|| format!("timestamp {} is outside 1970..2200", shown(timestamp)))?;
        let message = field("message")?;
        if !message.starts_with('"') {
            return Err(format!("message {} is not a string", shown(message)));
        }
        let message = serde_json::from_str(message).map_err(|error| format!("message is not valid text: {error}"))?;
        Ok(Self { id, timestamp: time, message })
    }

    fn append(&self, text: &mut Vec<u8>) -> Row {
        let at = text.len();
        text.extend_from_slice(self.id.as_bytes());
        text.extend_from_slice(self.message.as_bytes());
        let len = |text: &str| u32::try_from(text.len()).expect("records are limited to far less than 4 GiB");
        Row { timestamp: self.timestamp, at, id_len: len(&self.id), message_len: len(&self.message) }
    }
}

/// The text with `?` for every byte that is not UTF-8: every place in it is the place in the original.
fn same_length_text(json: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(json) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => {
            let mut text = String::with_capacity(json.len());
            for chunk in json.utf8_chunks() {
                text.push_str(chunk.valid());
                text.extend(chunk.invalid().iter().map(|_| '?'));
            }
            Cow::Owned(text)
        }
    }
}

/// Finds the original bytes of what was parsed from the text.
struct Place<'j, 't> {
    original: &'j [u8],
    text: &'t str,
}

impl<'j> Place<'j, '_> {
    fn original(&self, value: &RawValue) -> &'j [u8] {
        let start = value.get().as_ptr() as usize - self.text.as_ptr() as usize;
        &self.original[start..start + value.get().len()]
    }

    /// A field of the head that must be text, if it is there and not null.
    fn string(&self, fields: &Fields<'_>, name: &str) -> Result<Option<String>, Unusable> {
        let Some(value) = fields.get(name).filter(|value| value.get() != "null") else { return Ok(None) };
        let text = serde_json::from_slice(self.original(value));
        text.map(Some).map_err(|_| Unusable::Invalid(format!("{name} {} is not valid text", shown(value.get()))))
    }
}

fn missing(field: &str) -> Unusable {
    Unusable::Invalid(format!("{field} is missing"))
}

/// A value for a message: short, and without anything that could pass for another line of a log.
fn shown(value: &str) -> String {
    let (short, more) = match value.char_indices().nth(64) {
        Some((end, _)) => (&value[..end], "…"),
        None => (value, ""),
    };
    format!("{}{more}", short.escape_debug())
}
