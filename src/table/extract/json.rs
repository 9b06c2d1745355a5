//! A JSON object: its members by name, or by a pointer (RFC 6901) to a member of a member.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::super::cells::{Slot, Span, push_item};
use super::super::convert::{self, BadValue, Lies};
use super::super::kind::Type;
use super::{Mismatch, Row, Shown, Target, bad_value, narrow};

/// Which members fill which columns.
#[derive(Clone, Debug)]
pub struct Json {
    members: Members,
    /// Of each column; none of the one that takes the rest.
    places: Vec<Option<Place>>,
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
    /// The columns that these fill, and those in them.
    below: Vec<usize>,
}

/// Where a column's value is: the names of a member, of one in it, and so on; at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place(Vec<String>);

impl Place {
    /// A pointer if it begins with a slash, otherwise the name of a member.
    pub fn parse(from: &str) -> Result<Self, String> {
        if from.is_empty() {
            return Err("it names no member: give \"/\" for the one whose name is empty".to_owned());
        }
        let Some(pointer) = from.strip_prefix('/') else { return Ok(Self(vec![from.to_owned()])) };
        if pointer.split('~').skip(1).any(|behind| !behind.starts_with(['0', '1'])) {
            return Err(format!("{from:?} is no JSON pointer: write ~ as ~0, and / in a name as ~1"));
        }
        Ok(Self(pointer.split('/').map(|name| name.replace("~1", "/").replace("~0", "~")).collect()))
    }
}

/// What the message has for a column, as far as it is read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Found {
    #[default]
    Nothing,
    Value(Span),
    /// A member that the value should be in, so many names into the column's place, is something else.
    NoObject {
        depth: usize,
        member: Span,
    },
}

impl Json {
    /// `places`: where each column's value is; none for the column that takes the rest.
    pub fn new(places: Vec<Option<Place>>, rest: Option<usize>) -> Self {
        let mut members = Members::new();
        for (column, Place(names)) in
            places.iter().enumerate().filter_map(|(column, place)| Some((column, place.as_ref()?)))
        {
            let (last, above) = names.split_last().expect("a place has a name");
            let inside = above.iter().fold(&mut members, |members, name| {
                let member = members.entry(name.clone()).or_default();
                member.below.push(column);
                &mut member.inside
            });
            inside.entry(last.clone()).or_default().columns.push(column);
        }
        Self { members, places, rest }
    }

    pub(super) fn read(&self, found: &mut Vec<Found>, message: &str, row: &mut Row<'_>) -> Result<(), Mismatch> {
        if !message.trim_ascii_start().starts_with('{') {
            return Err(Mismatch::NoObject);
        }
        found.clear();
        found.resize(row.targets.len(), Found::Nothing);
        let rest = row.arena.len();
        let each = |key: &RawValue, value: &RawValue| {
            let member = self.members.get(&*text_of(key));
            if let Some(member) = member {
                member.find(message, value, 1, found);
            }
            if self.rest.is_some() && member.is_none_or(|member| member.columns.is_empty()) {
                row.arena.push(if row.arena.len() == rest { b'{' } else { b',' });
                row.arena.extend_from_slice(key.get().as_bytes());
                row.arena.push(b':');
                row.arena.extend_from_slice(value.get().as_bytes());
            }
        };
        members(message, each).map_err(|_| Mismatch::NoObject)?;
        if let Some(column) = self.rest.filter(|_| row.arena.len() > rest) {
            row.arena.push(b'}');
            row.slots[column] = Slot::Arena(Span { at: narrow(rest), len: narrow(row.arena.len() - rest) });
        }
        for (column, found) in found.iter().enumerate() {
            match *found {
                Found::Nothing => {}
                Found::Value(value) => fill(column, message, value, row)?,
                Found::NoObject { depth, member } => {
                    let names = self.places[column].iter().flat_map(|place| &place.0[..depth]);
                    let member_name = names.map(String::as_str).collect::<Vec<_>>().join("/");
                    let shown = Shown(part(message, member)).to_string();
                    return Err(Mismatch::Member { member: member_name, shown });
                }
            }
        }
        Ok(())
    }
}

impl Member {
    /// Notes what it has for columns. A member that comes again counts instead of the one before, with all that is in it.
    fn find(&self, message: &str, value: &RawValue, depth: usize, found: &mut [Found]) {
        let member = span(message, value.get());
        for column in &self.columns {
            found[*column] = Found::Value(member);
        }
        if self.below.is_empty() {
            return;
        }
        let none = match value.get().as_bytes()[0] {
            b'{' | b'n' => Found::Nothing,
            _ => Found::NoObject { depth, member },
        };
        self.below.iter().for_each(|column| found[*column] = none);
        if value.get().starts_with('{') {
            let each = |key: &RawValue, value: &RawValue| {
                if let Some(member) = self.inside.get(&*text_of(key)) {
                    member.find(message, value, depth + 1, found);
                }
            };
            members(value.get(), each).expect("it is read as JSON before");
        }
    }
}

/// Where a part of the message is.
fn span(message: &str, part: &str) -> Span {
    let at = part.as_ptr() as usize - message.as_ptr() as usize;
    Span { at: narrow(at), len: narrow(part.len()) }
}

fn part(message: &str, span: Span) -> &str {
    &message[span.at as usize..][..span.len as usize]
}

/// Fills a column with a value of JSON.
fn fill(column: usize, message: &str, value: Span, row: &mut Row<'_>) -> Result<(), Mismatch> {
    let raw = part(message, value);
    let in_message = |text: &str| Lies::InMessage(span(message, text));
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
            items(raw, |item| push(item, arena)).expect("it is read as JSON before");
        }),
        (b'{', Type::StringMap) => convert::items(row.arena, |arena| push_members(raw, arena)),
        _ => return Err(is_no()),
    };
    Ok(())
}

/// The members of an object as items. Readers refuse a key that is there twice: the last counts, as everywhere.
fn push_members<'a>(object: &'a str, arena: &mut Vec<u8>) {
    let mut left = HashMap::<_, usize>::new();
    members(object, |key, _| *left.entry(text_of(key)).or_default() += 1).expect("it is read as JSON before");
    let each = |key: &'a RawValue, value: &'a RawValue| {
        let key = text_of(key);
        let left = left.get_mut(&key).expect("all keys are counted");
        *left -= 1;
        if *left == 0 {
            push_item(Some(key.as_bytes()), arena);
            push(value, arena);
        }
    };
    members(object, each).expect("it is read as JSON before");
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

/// Calls `each` with every member of an object as it is written, its name and its value.
fn members<'a>(object: &'a str, each: impl FnMut(&'a RawValue, &'a RawValue)) -> serde_json::Result<()> {
    let mut json = serde_json::Deserializer::from_str(object);
    json.deserialize_map(EachMember(each))?;
    json.end()
}

/// Likewise with every item of a list.
fn items<'a>(list: &'a str, each: impl FnMut(&'a RawValue)) -> serde_json::Result<()> {
    let mut json = serde_json::Deserializer::from_str(list);
    json.deserialize_seq(EachItem(each))?;
    json.end()
}

struct EachMember<F>(F);

impl<'de, F: FnMut(&'de RawValue, &'de RawValue)> Visitor<'de> for EachMember<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some((name, value)) = map.next_entry()? {
            self.0(name, value);
        }
        Ok(())
    }
}

struct EachItem<F>(F);

impl<'de, F: FnMut(&'de RawValue)> Visitor<'de> for EachItem<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        while let Some(item) = list.next_element()? {
            self.0(item);
        }
        Ok(())
    }
}
