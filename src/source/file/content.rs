//! Records out of a file's content, told by what it is and never by its name.
//!
//! Accepted, each compressed by gzip or not: the JSON of `aws kinesis get-records`, the event that Lambda gets from
//! Kinesis, the payload of a subscription, and lines of any of these. What is none of them becomes a record as it is,
//! so that decoding rejects it and keeps it: nothing is passed over in silence.
//!
//! Of a gzip that is damaged, what its checksum does not vouch for becomes records with a flaw.

use std::borrow::Cow;
use std::fmt;
use std::io::{BufReader, Read};
use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use chrono::DateTime;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::value::RawValue;

use super::members::{self, Known, Members};
use super::window::{Turn, Window};
use crate::event::{Millis, TIMESTAMP_LIMIT};
use crate::gzip::is_gzip;

/// No record is larger, in any form: 10 MiB on the stream, and a third more as base64.
const LARGEST_VALUE: usize = 16 << 20;

/// With padding or without.
pub const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A record, before it has a number.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    pub data: Bytes,
    pub partition_key: Option<Box<str>>,
    pub arrival: Millis,
    /// As of [`crate::event::Record`].
    pub flaw: Option<Arc<str>>,
}

#[derive(Debug, thiserror::Error)]
pub enum Failed {
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("{0}")]
    Shape(String),
    #[error(
        "is damaged ({0}), and that showed only behind records that may be wrong; nothing more of it is delivered: \
         repair it, or deliver it as a file, which is checked before anything is taken out of it"
    )]
    Untrusted(Arc<str>),
    #[error("nobody takes records any more")]
    Stopped,
}

/// Takes the records, in the order of the file.
pub trait Sink {
    fn take(&mut self, found: Found) -> Result<(), Failed>;

    /// The next record may be long in coming.
    fn pause(&mut self) -> Result<(), Failed> {
        Ok(())
    }

    /// The gzip that they come out of is damaged: what of it can't be trusted has a flaw.
    fn damaged(&mut self, _why: &str) {}
}

impl<F: FnMut(Found) -> Result<(), Failed>> Sink for F {
    fn take(&mut self, found: Found) -> Result<(), Failed> {
        self(found)
    }
}

/// Opens the same input once more, from its beginning.
pub type Again<'a> = &'a dyn Fn() -> std::io::Result<Box<dyn Read + Send>>;

pub struct Content<'t, R> {
    input: R,
    /// When bare payloads arrived.
    modified: Millis,
    turn: Turn<'t>,
    again: Option<Again<'t>>,
}

impl<'t, R: Read> Content<'t, R> {
    /// Without `again` a large gzip can't be checked before it is read.
    pub fn new(input: R, modified: Millis, turn: Turn<'t>, again: Option<Again<'t>>) -> Self {
        Self { input, modified, turn, again }
    }

    /// Hands every record to the sink.
    pub fn read(self, sink: &mut dyn Sink) -> Result<(), Failed> {
        let Self { input, modified, turn, again } = self;
        let damage = Known::default();
        let mut window = Window::new(input, turn);
        window.grow()?;
        if !is_gzip(window.bytes()) {
            return Values { window, modified, done: 0, damage, checked: true }.read(sink);
        }
        // Its beginning mostly tells already. All of it can be checked, if it is not too large.
        if window.is_last() || again.is_none() || !is_container(window.bytes(), turn) {
            while !window.is_last() && window.bytes().len() < LARGEST_VALUE {
                window.grow()?;
            }
        }
        if !window.is_last() {
            if let Some(again) = again {
                members::check(again()?, &damage)?;
            }
            let window = Window::new(Members::new(window.rest(), &damage), turn);
            return Values { window, modified, done: 0, damage, checked: again.is_some() }.read(sink);
        }
        if is_container(window.bytes(), turn) {
            members::check(window.bytes(), &damage)?;
            let window = Window::new(Members::new(window.bytes(), &damage), turn);
            Values { window, modified, done: 0, damage, checked: true }.read(sink)
        } else {
            let data = Bytes::copy_from_slice(window.bytes());
            sink.take(Found { data, partition_key: None, arrival: modified, flaw: None })
        }
    }
}

/// Whether the content of a gzip is records to take out: else the gzip itself is one record, whatever it is. Of the
/// beginning of one, false says nothing.
fn is_container(bytes: &[u8], turn: Turn<'_>) -> bool {
    let mut window = Window::new(Members::new(bytes, &Known::default()), turn);
    loop {
        if window.grow().is_err() {
            return false;
        }
        let blank = blank_prefix(window.bytes(), true);
        match Value::parse(&window.bytes()[blank..]) {
            Value::Records(..) => return true,
            Value::Other(end) => {
                window.consume(blank + end);
                // One payload and nothing behind it is what a gzip of a subscription holds.
                return !is_blank_to_its_end(&mut window);
            }
            Value::Unfinished if !window.is_last() && window.bytes().len() < LARGEST_VALUE => {}
            Value::Unfinished | Value::Bad => return false,
        }
    }
}

fn is_blank_to_its_end(window: &mut Window<'_, impl Read>) -> bool {
    loop {
        if !window.bytes().iter().all(u8::is_ascii_whitespace) {
            return false;
        }
        window.consume(window.bytes().len());
        if window.is_last() {
            return true;
        }
        if window.grow().is_err() {
            return true;
        }
    }
}

/// JSON values, one behind the other.
struct Values<'t, R> {
    window: Window<'t, R>,
    modified: Millis,
    /// Values that were read.
    done: usize,
    /// What is wrong with the gzip that they come out of.
    damage: Known,
    /// Whether damage, if there is any, was known from the start.
    checked: bool,
}

impl<R: Read> Values<'_, R> {
    fn read(mut self, sink: &mut dyn Sink) -> Result<(), Failed> {
        loop {
            let blank = blank_prefix(self.window.bytes(), self.done == 0);
            self.window.consume(blank);
            let bytes = self.window.bytes();
            if self.window.is_last() && bytes.is_empty() {
                return self.end(sink);
            }
            match if bytes.is_empty() { Value::Unfinished } else { Value::parse(bytes) } {
                Value::Records(records, end) => {
                    let flaw = self.flaw(end);
                    for record in records {
                        sink.take(record.into_found(self.modified, flaw.as_ref()))?;
                    }
                    self.window.consume(end);
                    self.done += 1;
                }
                Value::Other(end) => {
                    self.bare(end, sink)?;
                    self.done += 1;
                }
                Value::Unfinished if self.window.is_last() && self.is_cut() => return self.end(sink),
                Value::Unfinished if self.window.is_last() => self.damaged(sink)?,
                Value::Unfinished if bytes.len() >= LARGEST_VALUE => return self.large(sink),
                Value::Unfinished => {
                    sink.pause()?;
                    self.window.grow()?;
                }
                Value::Bad => self.damaged(sink)?,
            }
        }
    }

    /// Why the first bytes of the window may not be what they were.
    fn flaw(&self, length: usize) -> Option<Arc<str>> {
        let end = self.window.offset().saturating_add(length as u64);
        self.damage.get().filter(|damage| end > damage.intact).map(|damage| Arc::clone(&damage.why))
    }

    /// Whether the last of the content is the beginning of a line whose end is behind the damage.
    fn is_cut(&self) -> bool {
        self.damage.get().is_some() && memchr::memchr(b'\n', self.window.bytes()).is_none()
    }

    /// Behind the last value: of a damaged gzip what is left, for a person.
    fn end(self, sink: &mut dyn Sink) -> Result<(), Failed> {
        let Some(damage) = self.damage.get() else { return Ok(()) };
        let (why, cut) = (&damage.why, self.window.bytes());
        if !self.checked && self.window.offset() > damage.intact {
            return Err(Failed::Untrusted(Arc::clone(why)));
        }
        sink.damaged(why);
        let data: Bytes = [cut, &damage.trailing].concat().into();
        if data.is_empty() && self.window.offset() > damage.intact {
            // There are records already that say so.
            return Ok(());
        }
        sink.take(Found { data, partition_key: None, arrival: self.modified, flaw: Some(Arc::clone(why)) })
    }

    /// Hands on the first bytes of the window as one record.
    fn bare(&mut self, length: usize, sink: &mut dyn Sink) -> Result<(), Failed> {
        let data = Bytes::copy_from_slice(&self.window.bytes()[..length]);
        let flaw = self.flaw(length);
        self.window.consume(length);
        sink.take(Found { data, partition_key: None, arrival: self.modified, flaw })
    }

    /// No JSON value is here. Among lines it is this line alone, else all that is left.
    fn damaged(&mut self, sink: &mut dyn Sink) -> Result<(), Failed> {
        loop {
            let bytes = self.window.bytes();
            let line = memchr::memchr(b'\n', bytes).map(|end| end + 1);
            if let Some(end) = line.filter(|end| self.done > 0 || is_value(&bytes[*end..])) {
                let text = bytes[..end].trim_ascii_end().len();
                self.bare(text, sink)?;
                self.done += 1;
                return Ok(());
            }
            if self.window.is_last() {
                return self.bare(bytes.len(), sink);
            }
            if bytes.len() >= LARGEST_VALUE {
                return Err(Failed::Shape(format!(
                    "is neither records nor JSON lines after {} values, and too large to be one record: \
                     correct it, or leave it out of `source.file.paths`",
                    self.done
                )));
            }
            self.window.grow()?;
        }
    }

    /// One value that is larger than the window may be: its records are taken out one by one.
    fn large(mut self, sink: &mut dyn Sink) -> Result<(), Failed> {
        // Where in it one record ends is not known: any damage counts for all of them.
        let (modified, flaw) = (self.modified, self.flaw(usize::MAX));
        let mut failed = None;
        let mut taken = 0u64;
        let mut take = |record: Element<'_>| {
            taken += 1;
            sink.take(record.into_found(modified, flaw.as_ref())).map_err(|error| failed = Some(error))
        };
        let result = {
            let rest = BufReader::with_capacity(1 << 20, self.window.rest());
            let mut deserializer = serde_json::Deserializer::from_reader(rest);
            Document(&mut take).deserialize(&mut deserializer).and_then(|()| deserializer.end())
        };
        match (failed, result) {
            (Some(error), _) => Err(error),
            (None, Ok(())) => self.end(sink),
            (None, Err(error)) => Err(Failed::Shape(format!(
                "is not valid JSON behind its record {taken}: {error}; the records before are delivered"
            ))),
        }
    }
}

/// White space, and a byte order mark at the very beginning.
fn blank_prefix(bytes: &[u8], beginning: bool) -> usize {
    let mark = if beginning && bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    mark + bytes[mark..].iter().take_while(|byte| byte.is_ascii_whitespace()).count()
}

/// Whether a whole JSON object stands here.
fn is_value(bytes: &[u8]) -> bool {
    matches!(Value::parse(bytes), Value::Records(..) | Value::Other(_))
}

/// What stands at the beginning of some bytes.
enum Value<'w> {
    /// Records, and where they end.
    Records(Vec<Element<'w>>, usize),
    /// Another JSON value, and where it ends.
    Other(usize),
    /// The bytes end before the value does.
    Unfinished,
    Bad,
}

impl<'w> Value<'w> {
    fn parse(bytes: &'w [u8]) -> Self {
        #[derive(Deserialize)]
        struct Page<'a> {
            #[serde(borrow, rename = "Records")]
            records: Option<Vec<Element<'a>>>,
        }
        let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<Page<'_>>();
        match values.next() {
            Some(Ok(Page { records: Some(records) })) if records.iter().all(Element::has_data) => {
                Self::Records(records, values.byte_offset())
            }
            Some(Ok(Page { records: None })) => Self::Other(values.byte_offset()),
            Some(Err(error)) if error.is_eof() => Self::Unfinished,
            None => Self::Unfinished,
            _ => Self::unusual(bytes),
        }
    }

    /// Records of an unusual form, one by one: those that are none are records as they stand.
    fn unusual(bytes: &'w [u8]) -> Self {
        #[derive(Deserialize)]
        struct Page<'a> {
            #[serde(borrow, rename = "Records")]
            records: Vec<&'a RawValue>,
        }
        let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<Page<'_>>();
        if let Some(Ok(page)) = values.next() {
            let element = |raw: &'w RawValue| {
                let element = serde_json::from_str::<Element<'_>>(raw.get()).ok().filter(Element::has_data);
                element.unwrap_or_else(|| Element { raw: Some(raw.get()), ..Element::default() })
            };
            return Self::Records(page.records.into_iter().map(element).collect(), values.byte_offset());
        }
        let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<IgnoredAny>();
        match values.next() {
            Some(Ok(_)) => Self::Other(values.byte_offset()),
            Some(Err(error)) if error.is_eof() => Self::Unfinished,
            _ => Self::Bad,
        }
    }
}

/// An element of `Records`: of get-records, or (in `kinesis`) of the event that Lambda gets.
#[derive(Default, Deserialize)]
struct Element<'a> {
    #[serde(borrow, rename = "Data")]
    data: Option<Text<'a>>,
    #[serde(borrow, rename = "PartitionKey")]
    partition_key: Option<Text<'a>>,
    #[serde(rename = "ApproximateArrivalTimestamp")]
    arrival: Option<Time>,
    #[serde(borrow)]
    kinesis: Option<Kinesis<'a>>,
    #[serde(skip)]
    raw: Option<&'a str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kinesis<'a> {
    #[serde(borrow)]
    data: Text<'a>,
    #[serde(borrow)]
    partition_key: Option<Text<'a>>,
    approximate_arrival_timestamp: Option<Time>,
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Element<'_> {
    fn has_data(&self) -> bool {
        self.data.is_some() || self.kinesis.is_some() || self.raw.is_some()
    }

    fn into_found(self, modified: Millis, flaw: Option<&Arc<str>>) -> Found {
        let (data, key, arrival) = match self.kinesis {
            Some(kinesis) => (Some(kinesis.data), kinesis.partition_key, kinesis.approximate_arrival_timestamp),
            None => (self.data, self.partition_key, self.arrival),
        };
        let (text, none) = match &data {
            Some(text) => (text.0.as_ref(), None),
            None => (self.raw.unwrap_or_default(), Some("in `Records`, but no record with its data")),
        };
        let (data, none) = match (BASE64.decode(text), none) {
            (Ok(data), None) => (data.into(), None),
            // Kept as it is.
            (_, none) => (Bytes::copy_from_slice(text.as_bytes()), none.or(Some("its data is not base64"))),
        };
        let partition_key = key.map(|key| Box::from(key.0.as_ref()));
        // A time that no record can have come at is as good as none.
        let arrival = arrival.and_then(|time| time.0).filter(|time| (0..TIMESTAMP_LIMIT).contains(time));
        let flaw = flaw.cloned().or_else(|| none.map(Arc::from));
        Found { data, partition_key, arrival: arrival.unwrap_or(modified), flaw }
    }
}

/// Seconds since 1970 as a number (version 1 of the AWS CLI, Lambda), or ISO 8601 (version 2). Anything else is no
/// reason to refuse a record.
struct Time(Option<Millis>);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form<'a> {
            Seconds(f64),
            Text(#[serde(borrow)] Cow<'a, str>),
            Other(IgnoredAny),
        }
        Ok(Self(match Form::deserialize(deserializer)? {
            Form::Seconds(seconds) => Some((seconds * 1000.0).round() as Millis),
            Form::Text(text) => DateTime::parse_from_rfc3339(&text).ok().map(|time| time.timestamp_millis()),
            Form::Other(_) => None,
        }))
    }
}

/// A whole document, whose records are taken out as they come.
struct Document<'t, F>(&'t mut F);

impl<'de, F: FnMut(Element<'_>) -> Result<(), ()>> DeserializeSeed<'de> for Document<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, F: FnMut(Element<'_>) -> Result<(), ()>> Visitor<'de> for Document<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object with `Records`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut found = false;
        while let Some(key) = map.next_key::<String>()? {
            if key == "Records" {
                map.next_value_seed(Records(self.0))?;
                found = true;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        if found { Ok(()) } else { Err(de::Error::custom("an object without `Records`, and larger than any payload")) }
    }
}

struct Records<'t, F>(&'t mut F);

impl<'de, F: FnMut(Element<'_>) -> Result<(), ()>> DeserializeSeed<'de> for Records<'_, F> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(Element<'_>) -> Result<(), ()>> Visitor<'de> for Records<'_, F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        while let Some(raw) = seq.next_element::<Box<RawValue>>()? {
            let element = serde_json::from_str::<Element<'_>>(raw.get()).ok().filter(Element::has_data);
            let element = element.unwrap_or_else(|| Element { raw: Some(raw.get()), ..Element::default() });
            (self.0)(element).map_err(|()| de::Error::custom("stopped"))?;
        }
        Ok(())
    }
}
