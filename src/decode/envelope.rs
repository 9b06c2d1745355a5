//! The envelope of CloudWatch Logs, read in one pass straight into rows: the fast path.
//!
//! It delivers a payload only when there is nothing to explain: all of it valid, no key twice, numbers that fit. On
//! anything else it gives up without a reason, its rows are taken back, and [`super::strict`] reads the payload again.
//! Invariant: what both accept, both read alike. Absent on purpose: messages for people, rejections, allocation per row.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::strict::append_id;
use super::{Decoded, Row};
use crate::event::{Millis, TIMESTAMP_LIMIT};

/// A valid envelope, its events already rows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Envelope<'a> {
    Control,
    Data(Head<'a>),
}

/// What the events of an envelope share. The log group is not empty.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head<'a> {
    pub(super) log_group: Cow<'a, str>,
    pub(super) log_stream: Option<Cow<'a, str>>,
    pub(super) owner: Option<Cow<'a, str>>,
}

/// What `messageType` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MessageType {
    Data,
    Control,
}

impl MessageType {
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "DATA_MESSAGE" => Some(Self::Data),
            "CONTROL_MESSAGE" => Some(Self::Control),
            _ => None,
        }
    }
}

/// Which ids are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ids {
    /// Strings: what CloudWatch Logs writes.
    Strings,
    /// Numbers too, as they are written. A little slower, but several times as fast as the slow path.
    AsWritten,
}

/// Reads a whole payload; its rows are appended to `out`, also those of an attempt that fails and those of a control
/// message, for the caller to take back. `aside` is working memory.
pub(super) fn read<'de>(json: &'de str, ids: Ids, aside: &mut Vec<u8>, out: &mut Decoded) -> Option<Envelope<'de>> {
    // Of the JSON readers this one passes over unread values without recursion, so that no depth of them overflows the
    // stack; sonic-rs was up to a quarter faster, and did.
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let envelope = deserializer.deserialize_map(EnvelopeVisitor { ids, aside, out }).ok()?;
    deserializer.end().ok()?;
    Some(envelope)
}

/// Any error: nobody reads it.
fn unusual<E: Error>() -> E {
    E::custom("unusual")
}

/// Puts a value where there is none yet: no key may come twice.
fn once<T, E: Error>(place: &mut Option<T>, value: T) -> Result<(), E> {
    if place.replace(value).is_some() { Err(unusual()) } else { Ok(()) }
}

macro_rules! key {
    ($(#[$doc:meta])* $name:ident { $($variant:ident = $text:literal),* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(super) enum $name { $($variant,)* Unknown }

        impl $name {
            pub(super) fn parse(key: &str) -> Self {
                match key {
                    $($text => Self::$variant,)*
                    _ => Self::Unknown,
                }
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct KeyVisitor;

                impl Visitor<'_> for KeyVisitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a key")
                    }

                    fn visit_str<E: Error>(self, key: &str) -> Result<$name, E> {
                        Ok($name::parse(key))
                    }
                }

                deserializer.deserialize_str(KeyVisitor)
            }
        }
    };
}

key! {
    EnvelopeKey {
        MessageType = "messageType",
        Owner = "owner",
        LogGroup = "logGroup",
        LogStream = "logStream",
        SubscriptionFilters = "subscriptionFilters",
        LogEvents = "logEvents"
    }
}

key! {
    EventKey { Id = "id", Timestamp = "timestamp", Message = "message" }
}

struct EnvelopeVisitor<'a> {
    ids: Ids,
    aside: &'a mut Vec<u8>,
    out: &'a mut Decoded,
}

impl<'de> Visitor<'de> for EnvelopeVisitor<'_> {
    type Value = Envelope<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an envelope of CloudWatch Logs")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut message_type, mut log_group, mut log_stream, mut owner, mut events) = (None, None, None, None, None);
        while let Some(key) = map.next_key()? {
            match key {
                EnvelopeKey::MessageType => once(&mut message_type, map.next_value_seed(Text)?)?,
                EnvelopeKey::LogGroup => once(&mut log_group, map.next_value_seed(Text)?)?,
                EnvelopeKey::LogStream => once(&mut log_stream, map.next_value_seed(OptionalText)?)?,
                EnvelopeKey::Owner => once(&mut owner, map.next_value_seed(OptionalText)?)?,
                EnvelopeKey::LogEvents => {
                    let rows = EventsVisitor { ids: self.ids, aside: &mut *self.aside, out: &mut *self.out };
                    once(&mut events, map.next_value_seed(rows)?)?;
                }
                EnvelopeKey::SubscriptionFilters | EnvelopeKey::Unknown => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        match (message_type.as_deref().and_then(MessageType::parse), log_group, events) {
            (Some(MessageType::Control), ..) => Ok(Envelope::Control),
            (Some(MessageType::Data), Some(log_group), Some(())) if !log_group.is_empty() => {
                Ok(Envelope::Data(Head { log_group, log_stream: log_stream.flatten(), owner: owner.flatten() }))
            }
            _ => Err(unusual()),
        }
    }
}

struct EventsVisitor<'a> {
    ids: Ids,
    aside: &'a mut Vec<u8>,
    out: &'a mut Decoded,
}

impl<'de> DeserializeSeed<'de> for EventsVisitor<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for EventsVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of events")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut events: A) -> Result<(), A::Error> {
        let Decoded { text, rows, .. } = self.out;
        while let Some(row) = events.next_element_seed(EventVisitor { ids: self.ids, aside: &mut *self.aside, text })? {
            rows.push(row);
        }
        Ok(())
    }
}

struct EventVisitor<'a> {
    ids: Ids,
    aside: &'a mut Vec<u8>,
    text: &'a mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for EventVisitor<'_> {
    type Value = Row;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Row, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EventVisitor<'_> {
    type Value = Row;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut event: A) -> Result<Row, A::Error> {
        let Self { ids, aside, text } = self;
        let at = text.len();
        let (mut id, mut timestamp, mut message, mut is_aside) = (None, None, None, false);
        while let Some(key) = event.next_key()? {
            match key {
                EventKey::Id => {
                    let id_len = match ids {
                        Ids::Strings => event.next_value_seed(Append(&mut *text))?,
                        Ids::AsWritten => {
                            append_id(event.next_value::<&RawValue>()?.get(), text).map_err(|_| unusual())?
                        }
                    };
                    once(&mut id, id_len)?;
                }
                EventKey::Timestamp => once(&mut timestamp, event.next_value_seed(Timestamp)?)?,
                EventKey::Message => {
                    // In the text it comes behind the id, in the payload nearly always too.
                    is_aside = id.is_none();
                    let text = if is_aside { &mut *aside } else { &mut *text };
                    text.truncate(if is_aside { 0 } else { text.len() });
                    once(&mut message, event.next_value_seed(Append(text))?)?;
                }
                EventKey::Unknown => drop(event.next_value::<IgnoredAny>()?),
            }
        }
        if is_aside {
            text.extend_from_slice(aside);
        }
        match (id, timestamp, message) {
            (Some(id_len), Some(timestamp), Some(message_len)) => Ok(Row { timestamp, at, id_len, message_len }),
            _ => Err(unusual()),
        }
    }
}

/// Appends a string and returns its length.
pub(super) struct Append<'a>(pub(super) &'a mut Vec<u8>);

impl<'de> DeserializeSeed<'de> for Append<'_> {
    type Value = u32;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<u32, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Append<'_> {
    type Value = u32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<u32, E> {
        self.0.extend_from_slice(text.as_bytes());
        u32::try_from(text.len()).map_err(|_| unusual())
    }
}

struct Timestamp;

impl<'de> DeserializeSeed<'de> for Timestamp {
    type Value = Millis;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Millis, D::Error> {
        deserializer.deserialize_u64(self)
    }
}

impl Visitor<'_> for Timestamp {
    type Value = Millis;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("milliseconds since 1970")
    }

    fn visit_u64<E: Error>(self, millis: u64) -> Result<Millis, E> {
        let millis = Millis::try_from(millis).map_err(|_| unusual())?;
        if millis < TIMESTAMP_LIMIT { Ok(millis) } else { Err(unusual()) }
    }
}

struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Text {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}

struct OptionalText;

impl<'de> DeserializeSeed<'de> for OptionalText {
    type Value = Option<Cow<'de, str>>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for OptionalText {
    type Value = Option<Cow<'de, str>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or null")
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        Text.deserialize(deserializer).map(Some)
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
}
