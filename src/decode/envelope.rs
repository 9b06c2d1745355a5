//! The usual payload, in one pass: from the JSON text straight into the rows, nothing allocated per row.
//!
//! Takes only what is beyond doubt. Whatever else there is (an error of any kind, a bad event, an id that is a huge
//! number, keys twice or in an unusual order) ends in an error, and [`super::careful`] decides.

use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Decoded, Row, is_valid_time};

/// What the envelope says beside its events, as ranges of `Decoded::text`.
#[derive(Debug, Default)]
pub struct Head {
    pub kind: Option<Kind>,
    pub log_group: Option<Range<usize>>,
    pub log_stream: Option<Range<usize>>,
    pub owner: Option<Range<usize>>,
    pub has_events: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Data,
    Control,
}

/// Reads an envelope and adds its events to `out`. After an error `out` holds a part of them.
pub fn read(json: &str, out: &mut Decoded) -> Result<Head, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let head = Envelope(out).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(head)
}

struct Envelope<'o>(&'o mut Decoded);

impl<'de> DeserializeSeed<'de> for Envelope<'_> {
    type Value = Head;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Head, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Envelope<'_> {
    type Value = Head;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an envelope of CloudWatch Logs")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Head, A::Error> {
        let (out, mut head) = (self.0, Head::default());
        while let Some(key) = map.next_key_seed(KeySeed)? {
            match key {
                Key::MessageType => once(&mut head.kind, map.next_value_seed(KindSeed)?)?,
                Key::LogGroup => once(&mut head.log_group, map.next_value_seed(Text(&mut out.text))?)?,
                Key::LogStream => once(&mut head.log_stream, map.next_value_seed(Text(&mut out.text))?)?,
                Key::Owner => once(&mut head.owner, map.next_value_seed(Text(&mut out.text))?)?,
                Key::LogEvents if head.has_events => return Err(A::Error::custom("logEvents twice")),
                Key::LogEvents => {
                    head.has_events = true;
                    map.next_value_seed(Events(out))?;
                }
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(head)
    }
}

fn once<T, E: Error>(field: &mut Option<T>, value: T) -> Result<(), E> {
    if field.replace(value).is_some() { Err(E::custom("a field twice")) } else { Ok(()) }
}

struct Events<'o>(&'o mut Decoded);

impl<'de> DeserializeSeed<'de> for Events<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Events<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while seq.next_element_seed(Event(self.0))?.is_some() {}
        Ok(())
    }
}

struct Event<'o>(&'o mut Decoded);

impl<'de> DeserializeSeed<'de> for Event<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Event<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let text = &mut self.0.text;
        let (mut id, mut timestamp, mut message) = (None, None, None);
        while let Some(key) = map.next_key_seed(KeySeed)? {
            match key {
                Key::Id => once(&mut id, map.next_value_seed(Id(text))?)?,
                Key::Timestamp => once(&mut timestamp, map.next_value::<i64>()?)?,
                Key::Message => once(&mut message, map.next_value_seed(Text(text))?)?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let (Some(id), Some(timestamp), Some(message)) = (id, timestamp, message) else {
            return Err(A::Error::custom("an event without id, timestamp or message"));
        };
        let id: Range<usize> = id;
        if !is_valid_time(timestamp) || message.start != id.end {
            return Err(A::Error::custom("an unusual event"));
        }
        let lengths = (u32::try_from(id.len()), u32::try_from(message.len()));
        let (Ok(id_len), Ok(message_len)) = lengths else { return Err(A::Error::custom("a text past 4 GiB")) };
        self.0.rows.push(Row { timestamp, at: id.start, id_len, message_len });
        Ok(())
    }
}

#[derive(Clone, Copy)]
enum Key {
    MessageType,
    Owner,
    LogGroup,
    LogStream,
    LogEvents,
    Id,
    Timestamp,
    Message,
    Other,
}

struct KeySeed;

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Key;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Key, E> {
        Ok(match key {
            "messageType" => Key::MessageType,
            "owner" => Key::Owner,
            "logGroup" => Key::LogGroup,
            "logStream" => Key::LogStream,
            "logEvents" => Key::LogEvents,
            "id" => Key::Id,
            "timestamp" => Key::Timestamp,
            "message" => Key::Message,
            _ => Key::Other,
        })
    }
}

struct KindSeed;

impl<'de> DeserializeSeed<'de> for KindSeed {
    type Value = Kind;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Kind, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for KindSeed {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DATA_MESSAGE or CONTROL_MESSAGE")
    }

    fn visit_str<E: Error>(self, kind: &str) -> Result<Kind, E> {
        Kind::of(kind).ok_or_else(|| E::custom("an unknown messageType"))
    }
}

impl Kind {
    pub fn of(message_type: &str) -> Option<Self> {
        match message_type {
            "DATA_MESSAGE" => Some(Self::Data),
            "CONTROL_MESSAGE" => Some(Self::Control),
            _ => None,
        }
    }
}

/// Appends a string to the text. Anything but a string is an error.
struct Text<'t>(&'t mut Vec<u8>);

impl Text<'_> {
    fn append(self, text: &[u8]) -> Range<usize> {
        let start = self.0.len();
        self.0.extend_from_slice(text);
        start..self.0.len()
    }
}

impl<'de> DeserializeSeed<'de> for Text<'_> {
    type Value = Range<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Range<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Text<'_> {
    type Value = Range<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, text: &str) -> Result<Range<usize>, E> {
        Ok(self.append(text.as_bytes()))
    }
}

/// Appends an id: a string, or an integer that fits, with its digits.
struct Id<'t>(&'t mut Vec<u8>);

impl<'de> DeserializeSeed<'de> for Id<'_> {
    type Value = Range<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Range<usize>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Id<'_> {
    type Value = Range<usize>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or an integer of up to 64 bits")
    }

    fn visit_str<E>(self, id: &str) -> Result<Range<usize>, E> {
        Ok(Text(self.0).append(id.as_bytes()))
    }

    fn visit_u64<E>(self, id: u64) -> Result<Range<usize>, E> {
        Ok(Text(self.0).append(itoa::Buffer::new().format(id).as_bytes()))
    }

    fn visit_i64<E>(self, id: i64) -> Result<Range<usize>, E> {
        Ok(Text(self.0).append(itoa::Buffer::new().format(id).as_bytes()))
    }
}
