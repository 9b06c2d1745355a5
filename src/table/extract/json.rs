//! A JSON object: its members by name, or by a pointer (RFC 6901) to a member of a member.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::super::cells::{Slot, Span, push_item};
use super::super::convert::{self, BadValue, Lies};
use super::super::kind::Type;
use super::{Mismatch, Row, Target, bad_value, narrow};

/// Which members fill which columns.
#[derive(Clone, Debug, Default)]
pub struct Json {
    members: Members,
    /// The column that takes all other members of the object, as an object of their own.
    rest: Option<usize>,
}

type Members = HashMap<String, Member>;

/// What becomes of a member.
#[derive(Clone, Debug, Default)]
struct Member {
    /// Columns that take its value.
    columns: Vec<usize>,
    /// What becomes of the members in it.
    inside: Members,
}

/// Where a column's value is: the names of a member, of one in it, and so on; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(Vec<String>);

impl Place {
    /// A pointer if it begins with a slash, otherwise the name of a member.
    pub fn parse(from: &str) -> Self {
        let Some(pointer) = from.strip_prefix('/') else { return Self(vec![from.to_owned()]) };
        Self(pointer.split('/').map(|name| name.replace("~1", "/").replace("~0", "~")).collect())
    }
}

impl Json {
    /// `places`: where each column's value is; none for the column that takes the rest.
    pub fn new(places: &[Option<Place>], rest: Option<usize>) -> Self {
        let mut members = Members::new();
        for (column, Place(names)) in
            places.iter().enumerate().filter_map(|(column, place)| Some((column, place.as_ref()?)))
        {
            let (last, above) = names.split_last().expect("a place has a name");
            let inside =
                above.iter().fold(&mut members, |members, name| &mut members.entry(name.clone()).or_default().inside);
            inside.entry(last.clone()).or_default().columns.push(column);
        }
        Self { members, rest }
    }

    pub(super) fn read(&self, message: &str, row: &mut Row<'_>) -> Result<(), Mismatch> {
        if !message.trim_ascii_start().starts_with('{') {
            return Err(Mismatch::NoObject);
        }
        let mut others = Vec::new();
        for (key, value) in entries(message)? {
            let member = self.members.get(&*text_of(key));
            if let Some(member) = member {
                member.read(message, value, row)?;
            }
            if member.is_none_or(|member| member.columns.is_empty()) && self.rest.is_some() {
                others.push((key, value));
            }
        }
        if let Some(rest) = self.rest.filter(|_| !others.is_empty()) {
            let at = row.arena.len();
            for (key, value) in others {
                row.arena.push(if row.arena.len() == at { b'{' } else { b',' });
                row.arena.extend_from_slice(key.get().as_bytes());
                row.arena.push(b':');
                row.arena.extend_from_slice(value.get().as_bytes());
            }
            row.arena.push(b'}');
            row.slots[rest] = Slot::Arena(Span { at: narrow(at), len: narrow(row.arena.len() - at) });
        }
        Ok(())
    }
}

impl Member {
    fn read(&self, message: &str, value: &RawValue, row: &mut Row<'_>) -> Result<(), Mismatch> {
        for column in &self.columns {
            fill(*column, message, value, row)?;
        }
        if !self.inside.is_empty() && value.get().starts_with('{') {
            for (key, value) in entries(value.get())? {
                if let Some(member) = self.inside.get(&*text_of(key)) {
                    member.read(message, value, row)?;
                }
            }
        }
        Ok(())
    }
}

/// Fills a column with a value of JSON; the last of several counts.
fn fill(column: usize, message: &str, value: &RawValue, row: &mut Row<'_>) -> Result<(), Mismatch> {
    let raw = value.get();
    let in_message = |text: &str| {
        let at = text.as_ptr() as usize - message.as_ptr() as usize;
        Lies::InMessage(Span { at: narrow(at), len: narrow(text.len()) })
    };
    let Target { column: name, conversion, .. } = &row.targets[column];
    let bad = |why| bad_value(name, raw, why);
    let is_no = || bad(BadValue::IsNo(conversion.kind));
    row.slots[column] = match (raw.as_bytes()[0], conversion.kind) {
        (b'n', _) => Slot::Null,
        (b'"', Type::Strings | Type::StringMap) => return Err(is_no()),
        (b'"', _) => {
            return match unquoted(raw) {
                Some(Cow::Borrowed(text)) => row.text(column, text, in_message(text)),
                Some(Cow::Owned(text)) => {
                    let kept = row.keep(&text);
                    row.text(column, &text, kept)
                }
                // Half of a surrogate pair.
                None => Err(is_no()),
            };
        }
        (_, Type::String) => in_message(raw).into(),
        (b't', Type::Boolean) => Slot::Boolean(true),
        (b'f', Type::Boolean) => Slot::Boolean(false),
        (b'-' | b'0'..=b'9', _) => conversion.number(raw, in_message(raw), row.arena).map_err(bad)?,
        (b'[', Type::Strings) => convert::items(row.arena, |arena| {
            let items: Vec<&RawValue> = serde_json::from_str(raw).unwrap_or_default();
            items.into_iter().for_each(|item| push(item, arena));
        }),
        (b'{', Type::StringMap) => convert::items(row.arena, |arena| {
            // Readers refuse a key that is there twice: the last counts, as everywhere.
            let mut seen = HashSet::new();
            let mut entries = entries(raw).unwrap_or_default();
            entries.reverse();
            entries.retain(|(key, _)| seen.insert(text_of(key)));
            for (key, value) in entries.into_iter().rev() {
                push_item(Some(text_of(key).as_bytes()), arena);
                push(value, arena);
            }
        }),
        _ => return Err(is_no()),
    };
    Ok(())
}

/// A value as an item: the text of a string, no text for null, the JSON of anything else.
fn push(value: &RawValue, arena: &mut Vec<u8>) {
    match value.get() {
        "null" => push_item(None, arena),
        raw if raw.starts_with('"') => push_item(Some(text_of(value).as_bytes()), arena),
        raw => push_item(Some(raw.as_bytes()), arena),
    }
}

/// The text of a string; of one that stands for no text, how it is written.
fn text_of(string: &RawValue) -> Cow<'_, str> {
    unquoted(string.get()).unwrap_or(Cow::Borrowed(string.get()))
}

/// `None` for a string with half of a surrogate pair.
fn unquoted(string: &str) -> Option<Cow<'_, str>> {
    match string.strip_prefix('"')?.strip_suffix('"')? {
        text if !text.contains('\\') => Some(Cow::Borrowed(text)),
        _ => serde_json::from_str(string).ok().map(Cow::Owned),
    }
}

/// The members of an object, each as it is written.
fn entries(object: &str) -> Result<Vec<(&RawValue, &RawValue)>, Mismatch> {
    serde_json::from_str::<Entries<'_>>(object).map(|entries| entries.0).map_err(|_| Mismatch::NoObject)
}

struct Entries<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}

struct EntriesVisitor<'a>(PhantomData<&'a ()>);

impl<'de: 'a, 'a> Visitor<'de> for EntriesVisitor<'a> {
    type Value = Entries<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Entries(entries))
    }
}
