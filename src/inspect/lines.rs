//! Objects of JSON: what a table of a lake has, or anybody else's lines. Read as a stream to its end, however large.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Problems;
use super::input::Input;
use super::row::Row;
use super::shown::Options;
use super::sniff::{Compression, inflated};
use super::values::{Item, Values, plainly};
use crate::source::file::members::Known;

/// Of more columns than this no count is kept: a table has fewer, and what is no table may have a name for each value.
const MOST_COLUMNS: usize = 500;
/// Characters of a bad line that are shown.
const BAD_SHOWN: usize = 60;
/// The column that tells when an event was.
const TIMESTAMP: &str = "timestamp";

/// What the lines are.
#[derive(Debug, Default, Serialize)]
pub struct Rows {
    pub rows: u64,
    /// Bytes of the lines, inflated.
    pub content_bytes: u64,
    /// The smallest and the largest of the texts in `timestamp`, as they are written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timestamps: Option<(String, String)>,
    /// In the order in which they came.
    pub columns: Vec<Column>,
    /// There are more columns than are listed.
    pub more_columns: bool,
    pub first_rows: Vec<Row>,
}

/// A name that objects have a value for.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Column {
    pub name: String,
    /// As JSON calls them.
    pub types: BTreeSet<&'static str>,
    /// Rows that have a value for it.
    pub rows: u64,
}

/// Reads all of it.
pub fn inspect(
    input: &Arc<Input>,
    compression: Option<Compression>,
    options: Options,
    problems: &mut Problems,
) -> std::io::Result<Rows> {
    let (mut rows, mut places) = (Rows::default(), BTreeMap::new());
    read(input, compression, problems, |item, bytes| match item {
        Some(value) => rows.add(value, &mut places, options),
        None => {
            rows.content_bytes = bytes;
            Ok(())
        }
    })?;
    Ok(rows)
}

/// Hands out every value, and in the end `None` and the bytes that the content has; why a value is refused is an error of
/// its line. What is wrong with lines or the compression becomes a problem.
pub fn read(
    input: &Arc<Input>,
    compression: Option<Compression>,
    problems: &mut Problems,
    mut take: impl FnMut(Option<&[u8]>, u64) -> Result<(), String>,
) -> std::io::Result<()> {
    let damage = Known::default();
    let mut values = Values::new(inflated(input.read()?, compression, &damage)?);
    let (mut item, mut bad, mut last_is_bad) = (0u64, Bad::default(), false);
    loop {
        let (at, bytes, result) = match values.next() {
            Ok(Some((at, Item::Value(value)))) => (at, value, take(Some(value), at)),
            Ok(Some((at, Item::Bad(line, why)))) => (at, line, Err(why)),
            Ok(None) => break,
            Err(error) => {
                let of = compression.map_or(String::new(), |compression| format!("{compression}: "));
                problems.add(format!("{of}{error}, behind {} whole values", item - bad.count));
                break;
            }
        };
        item += 1;
        last_is_bad = result.is_err();
        if let Err(why) = result {
            bad.add(item, at, bytes, &why);
        }
    }
    if let Some(damage) = damage.get() {
        if last_is_bad {
            // The line that the damage cut: said once.
            bad.drop_last(item);
        }
        let trusted = if damage.intact < values.offset() { ", and what was read behind it may be wrong" } else { "" };
        problems.add(format!("{}: good up to byte {} of its content{trusted}", damage.why, damage.intact));
    }
    problems.extend(bad.told());
    take(None, values.offset()).map_err(std::io::Error::other)
}

/// Lines that are none.
#[derive(Default)]
struct Bad {
    count: u64,
    /// Which value, and what is to be said of it.
    first: Option<(u64, String)>,
}

impl Bad {
    fn add(&mut self, item: u64, at: u64, line: &[u8], why: &str) {
        self.count += 1;
        self.first.get_or_insert_with(|| {
            let line = String::from_utf8_lossy(&line[..line.len().min(4 * BAD_SHOWN)]);
            let begins: String = line.chars().take(BAD_SHOWN).collect();
            let more = if begins.len() < line.len() { "…" } else { "" };
            (item, format!("value {item}, at byte {at} of the content, is bad ({why}): {begins}{more}"))
        });
    }

    fn drop_last(&mut self, item: u64) {
        self.count -= 1;
        self.first.take_if(|(first, ..)| *first == item);
    }

    fn told(self) -> Vec<String> {
        let Some((_, first)) = self.first else { return Vec::new() };
        match self.count - 1 {
            0 => vec![first],
            more => vec![first, format!("of the values behind it, {more} are bad too")],
        }
    }
}

impl Rows {
    fn add(&mut self, value: &[u8], places: &mut BTreeMap<String, usize>, options: Options) -> Result<(), String> {
        let members: Members<'_> = serde_json::from_slice(value).map_err(|error| plainly(&error))?;
        self.rows += 1;
        for (name, value) in &members.0 {
            self.see(name, value.get(), places);
        }
        if self.first_rows.len() < options.rows {
            let row = serde_json::from_slice::<Row>(value).map_err(|error| plainly(&error))?;
            self.first_rows.push(row.cut(options));
        }
        Ok(())
    }

    fn see(&mut self, name: &str, value: &str, places: &mut BTreeMap<String, usize>) {
        let kind = match value.as_bytes().first() {
            Some(b'"') => "string",
            Some(b'{') => "object",
            Some(b'[') => "list",
            Some(b't' | b'f') => "boolean",
            Some(b'n') | None => return,
            Some(_) => "number",
        };
        if name == TIMESTAMP && kind == "string" {
            let text = value.trim_matches('"');
            let (first, last) = self.timestamps.get_or_insert_with(|| (text.to_owned(), text.to_owned()));
            if text < first.as_str() {
                text.clone_into(first);
            }
            if text > last.as_str() {
                text.clone_into(last);
            }
        }
        let place = match places.get(name) {
            Some(place) => *place,
            None if self.columns.len() == MOST_COLUMNS => {
                self.more_columns = true;
                return;
            }
            None => {
                self.columns.push(Column { name: name.to_owned(), types: BTreeSet::new(), rows: 0 });
                places.insert(name.to_owned(), self.columns.len() - 1);
                self.columns.len() - 1
            }
        };
        let column = &mut self.columns[place];
        column.rows += 1;
        if !column.types.contains(kind) {
            column.types.insert(kind);
        }
    }
}

/// The members of an object, their values as they are written.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(PartialEq, Eq, PartialOrd, Ord, Deserialize)]
        struct Name<'n>(#[serde(borrow)] Cow<'n, str>);

        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    members.push((name, value));
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::fixtures::{SHORT, gzip, zstd};

    fn of(content: &[u8], compression: Option<Compression>) -> (Rows, Vec<String>) {
        let mut problems = Problems::default();
        let rows = inspect(&Input::memory(content.to_vec()), compression, SHORT, &mut problems).unwrap();
        (rows, problems.into_inner())
    }

    fn lines(rows: usize) -> String {
        let line = |n| format!("{{\"timestamp\":\"2024-03-22 05:00:{:02}.000\",\"n\":{n},\"null\":null}}\n", n % 60);
        (0..rows).map(line).collect()
    }

    #[test]
    fn rows_are_counted_and_the_first_of_them_shown() {
        let content = lines(200) + "{\"n\":\"text\",\"timestamp\":5}";
        let plain = of(content.as_bytes(), None);
        assert!(plain.1.is_empty());
        let (rows, timestamps) = (&plain.0, plain.0.timestamps.as_ref().unwrap());
        assert_eq!((rows.rows, rows.content_bytes, rows.first_rows.len()), (201, content.len() as u64, SHORT.rows));
        assert_eq!((&timestamps.0[..], &timestamps.1[..]), ("2024-03-22 05:00:00.000", "2024-03-22 05:00:59.000"));
        let seen: Vec<_> = rows.columns.iter().map(|column| (&column.name[..], column.rows)).collect();
        assert_eq!(seen, [("timestamp", 201), ("n", 201)]);
        assert_eq!(rows.columns[1].types, BTreeSet::from(["number", "string"]));
        let names: Vec<_> = rows.first_rows[0].0.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["timestamp", "n"], "in their order, without what is null");
        for (bytes, compression) in
            [(gzip(content.as_bytes()), Compression::Gzip), (zstd(content.as_bytes()), Compression::Zstd)]
        {
            assert_eq!((of(&bytes, Some(compression)).0.rows, of(&bytes, Some(compression)).1.len()), (201, 0));
        }
    }

    #[test]
    fn damage_is_told_with_what_could_be_read() {
        let content = lines(50_000);
        for (whole, compression, says) in [
            (gzip(content.as_bytes()), Compression::Gzip, "gzip: truncated: good up to byte"),
            (zstd(content.as_bytes()), Compression::Zstd, "zstd: "),
        ] {
            let (rows, problems) = of(&whole[..whole.len() / 2], Some(compression));
            assert!(rows.rows > 1000 && rows.rows < 50_000, "{}", rows.rows);
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].starts_with(says), "{problems:?}");
        }
        let mut wrong = gzip(content.as_bytes());
        let at = wrong.len() - 6;
        wrong[at] ^= 1;
        let (rows, problems) = of(&wrong, Some(Compression::Gzip));
        assert_eq!(rows.rows, 50_000);
        assert!(problems[0].contains("good up to byte 0 of its content, and what was read behind it may be wrong"));
    }

    #[test]
    fn a_bad_line_is_told_with_its_place_and_the_others_are_read() {
        let content = "{\"a\":1}\n{\"a\":}\n5\n{\"a\":2}\n{\"a\"";
        let (rows, problems) = of(content.as_bytes(), None);
        assert_eq!(rows.rows, 2);
        let first = "value 2, at byte 8 of the content, is bad (expected value at its byte 6): {\"a\":}";
        assert_eq!(problems, [first, "of the values behind it, 2 are bad too"]);
    }

    #[test]
    fn as_many_names_as_values_take_no_memory_without_a_bound() {
        let content: String = (0..2000).map(|n| format!("{{\"n{n}\":1}}\n")).collect();
        let (rows, _) = of(content.as_bytes(), None);
        assert_eq!((rows.rows, rows.columns.len(), rows.more_columns), (2000, MOST_COLUMNS, true));
    }
}
