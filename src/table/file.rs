//! Schema files: read, checked, and said to be wrong with the line and the field.

mod parsers;
#[cfg(test)]
mod tests;
mod wording;

use std::collections::HashSet;
use std::sync::Arc;

use chrono::FixedOffset;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _};
use serde_json::value::RawValue;

use self::parsers::Parse;
use super::convert::{self, Conversion, TimeFormat};
use super::extract::{Extractor, Target};
use super::kind::Type;
use super::{Column, Field, PartitionColumn, Schema, Source};

/// Bytes of a table's or a column's name: Glue takes 255.
const LONGEST_NAME: usize = 255;
/// The columns that are in every key, in the order of its folders.
const PARTITIONS: [&str; 3] = ["log_group", "dt", "hour"];
/// A column of this name has the whole message.
const MESSAGE: &str = "message";

/// Why a schema file is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}:{column}: {why}")]
pub struct SchemaError {
    pub file: String,
    /// From 1, in characters.
    pub line: usize,
    pub column: usize,
    pub why: String,
}

/// A value, and how it stands in the file.
struct At<'a, T> {
    raw: &'a str,
    value: T,
}

impl<'de: 'a, 'a, T: DeserializeOwned> Deserialize<'de> for At<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = <&RawValue>::deserialize(deserializer)?.get();
        // Without the place inside of it, which the error around says better.
        let value = serde_json::from_str(raw).map_err(|error| D::Error::custom(wording::sentence(&error)))?;
        Ok(Self { raw, value })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File<'a> {
    #[serde(borrow)]
    name: At<'a, String>,
    version: u32,
    #[serde(default)]
    description: String,
    #[serde(borrow, deserialize_with = "wording::objects")]
    columns: Vec<ColumnEntry<'a>>,
    #[serde(borrow, deserialize_with = "wording::objects")]
    partitions: Vec<PartitionEntry<'a>>,
    /// Nothing is taken out of the message without it.
    #[serde(borrow)]
    parse: Option<Parse<'a>>,
    #[serde(borrow)]
    keep_message: Option<At<'a, bool>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ColumnEntry<'a> {
    #[serde(borrow)]
    name: At<'a, String>,
    #[serde(borrow, rename = "type")]
    kind: At<'a, String>,
    #[serde(default)]
    required: bool,
    #[serde(default)]
    description: String,
    #[serde(borrow)]
    from: Option<At<'a, String>>,
    #[serde(borrow)]
    format: Option<At<'a, String>>,
    #[serde(borrow)]
    zone: Option<At<'a, String>>,
    #[serde(borrow)]
    separator: Option<At<'a, char>>,
    #[serde(borrow)]
    absent: Option<At<'a, Vec<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PartitionEntry<'a> {
    #[serde(borrow)]
    name: At<'a, String>,
    #[serde(borrow, rename = "type")]
    kind: At<'a, String>,
    #[serde(default)]
    description: String,
}

/// Reads a schema file; `fields` are the names of a delimited message's fields in another order than the file has.
pub fn parse(file: &str, text: &str, fields: Option<&[String]>) -> Result<Schema, SchemaError> {
    // As editors of Windows begin a file.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    Reader { file, text }.schema(wording::read(file, text)?, fields)
}

/// Reads the schema of the error prefix, whose columns are the fields of rejections.
pub fn errors(file: &str, text: &str) -> Result<Schema, SchemaError> {
    let entries: File<'_> = wording::read(file, text)?;
    let column = |entry: ColumnEntry<'_>| Column {
        key: entry.from.map_or_else(|| entry.name.value.clone(), |from| from.value),
        kind: Type::parse(&entry.kind.value).unwrap_or(Type::String),
        name: entry.name.value,
        required: entry.required,
        description: entry.description,
        source: Source::Rejection,
    };
    Ok(Schema {
        name: entries.name.value,
        version: entries.version,
        description: entries.description,
        columns: entries.columns.into_iter().map(column).collect(),
        partitions: entries.partitions.into_iter().map(partition).collect(),
        rows: None,
    })
}

fn partition(entry: PartitionEntry<'_>) -> PartitionColumn {
    PartitionColumn { name: entry.name.value, kind: Type::String, description: entry.description }
}

struct Reader<'a> {
    file: &'a str,
    text: &'a str,
}

impl<'a> Reader<'a> {
    fn schema(&self, entries: File<'a>, fields: Option<&[String]>) -> Result<Schema, SchemaError> {
        let File { name, version, description, columns, partitions, parse, keep_message } = entries;
        if !is_name(&name.value) {
            return Err(self.wrong(name.raw, BAD_NAME.to_owned()));
        }
        if columns.is_empty() {
            return Err(self.wrong(name.raw, "there are no columns: add one".to_owned()));
        }
        let mut names = HashSet::new();
        for name in columns.iter().map(|column| &column.name).chain(partitions.iter().map(|column| &column.name)) {
            if !is_name(&name.value) {
                return Err(self.wrong(name.raw, BAD_NAME.to_owned()));
            }
            if !names.insert(name.value.clone()) {
                return Err(self.wrong(name.raw, format!("column {:?} is there twice: keep one", name.value)));
            }
        }
        let partitions = self.partitions(partitions, name.raw)?;
        let absent = parse.as_ref().map_or(&[][..], Parse::absent);
        let (mut targets, mut froms, mut parsed) = (Vec::new(), Vec::new(), Vec::new());
        for entry in &columns {
            let (column, target) = self.column(entry, targets.len(), absent, parse.is_some())?;
            parsed.push(column);
            if let Some(target) = target {
                targets.push(target);
                froms.push(entry.from.as_ref().unwrap_or(&entry.name));
            }
        }
        self.keeping(keep_message.as_ref(), &columns, parse.as_ref(), name.raw)?;
        let rows = match parse {
            Some(parse) => Some(Extractor { parser: self.parser(parse, &froms, &targets, fields)?, targets }),
            None => None,
        };
        Ok(Schema { name: name.value, version, description, columns: parsed, partitions, rows: rows.map(Arc::new) })
    }

    /// Whether the message is kept has to be said in one way, and if not, the columns have to hold all of it.
    fn keeping(
        &self,
        keep: Option<&At<'a, bool>>,
        columns: &[ColumnEntry<'a>],
        parse: Option<&Parse<'a>>,
        name: &'a str,
    ) -> Result<(), SchemaError> {
        let column = columns.iter().find(|column| column.name.value == MESSAGE && column.from.is_none());
        let place = keep.map_or(name, |keep| keep.raw);
        match (keep.is_none_or(|keep| keep.value), column) {
            (true, Some(_)) => Ok(()),
            (true, None) => {
                let why = "there is no column `message`, which has the event's text: add it (a required string), or say \
                           \"keep_message\": false";
                Err(self.wrong(place, why.to_owned()))
            }
            (false, Some(column)) => {
                let why = "\"keep_message\" is false, and here is the column `message`: remove one of the two";
                Err(self.wrong(column.name.raw, why.to_owned()))
            }
            (false, None) => match parse.and_then(Parse::loses) {
                Some(loses) => Err(self.wrong(place, format!("{loses}, or keep the message"))),
                None => Ok(()),
            },
        }
    }

    /// Those of the lake, which every table has.
    fn partitions(
        &self,
        entries: Vec<PartitionEntry<'a>>,
        place: &'a str,
    ) -> Result<Vec<PartitionColumn>, SchemaError> {
        let wrong = entries
            .iter()
            .zip(PARTITIONS)
            .find(|(entry, name)| entry.name.value != *name || entry.kind.value != "string");
        let place = wrong.map_or(place, |(entry, _)| entry.name.raw);
        if wrong.is_some() || entries.len() != PARTITIONS.len() {
            let why = format!("the partitions are {}, in this order, each a string", PARTITIONS.join(", "));
            return Err(self.wrong(place, why));
        }
        Ok(entries.into_iter().map(partition).collect())
    }

    /// A column, and how it is filled when that is from the message.
    fn column(
        &self,
        entry: &ColumnEntry<'a>,
        cell: usize,
        absent: &[String],
        is_parsed: bool,
    ) -> Result<(Column, Option<Target>), SchemaError> {
        let kind = Type::parse(&entry.kind.value).ok_or_else(|| {
            let why = format!("unknown type {:?}: use one of {}", entry.kind.value, Type::known());
            self.wrong(entry.kind.raw, why)
        })?;
        let (name, required, description) = (entry.name.value.clone(), entry.required, entry.description.clone());
        let column = |source| Column { key: name.clone(), name, kind, required, description, source };
        if entry.from.is_none()
            && let Some(field) = Field::parse(&entry.name.value)
        {
            if kind != field.kind() {
                return Err(
                    self.wrong(entry.kind.raw, format!("the event's {field} is a {}, not a {kind}", field.kind()))
                );
            }
            if required && !field.always_there() {
                return Err(self.wrong(entry.name.raw, format!("not every event has a {field}: it can't be required")));
            }
            return Ok((column(Source::Event(field)), None));
        }
        if !is_parsed {
            let why = format!(
                "an event has no {}: use one of {}, or say how to \"parse\" the message",
                entry.name.value,
                Field::known()
            );
            return Err(self.wrong(entry.name.raw, why));
        }
        let conversion = self.conversion(entry, kind, absent)?;
        let target = Target { column: entry.name.value.clone(), required, conversion };
        Ok((column(Source::Message { cell }), Some(target)))
    }

    fn conversion(&self, entry: &ColumnEntry<'a>, kind: Type, absent: &[String]) -> Result<Conversion, SchemaError> {
        let is_time = matches!(kind, Type::Timestamp | Type::Date);
        let misplaced = [
            entry.format.as_ref().filter(|_| !is_time).map(|at| (at.raw, "only a timestamp or a date has a format")),
            entry.zone.as_ref().filter(|_| !is_time).map(|at| (at.raw, "only a timestamp or a date has a zone")),
            entry
                .separator
                .as_ref()
                .filter(|_| kind != Type::Strings)
                .map(|at| (at.raw, "only a list has a separator")),
        ];
        if let Some((place, why)) = misplaced.into_iter().flatten().next() {
            return Err(self.wrong(place, why.to_owned()));
        }
        let time = match &entry.format {
            Some(format) => TimeFormat::parse(&format.value, kind).map_err(|why| self.wrong(format.raw, why))?,
            None => TimeFormat::default(),
        };
        let zone = match &entry.zone {
            Some(zone) => convert::zone(&zone.value).ok_or_else(|| {
                self.wrong(zone.raw, format!("{:?} is no offset: give one such as \"+02:00\", or \"UTC\"", zone.value))
            })?,
            None => FixedOffset::east_opt(0).expect("none is in range"),
        };
        let absent = entry.absent.as_ref().map_or_else(|| absent.to_vec(), |absent| absent.value.clone());
        Ok(Conversion { kind, absent, time, zone, separator: entry.separator.as_ref().map_or(',', |at| at.value) })
    }

    /// An error at a part of the text.
    fn wrong(&self, part: &str, why: String) -> SchemaError {
        let offset = (part.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        let before = self.text.get(..offset).unwrap_or_default();
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let (line, column) = (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1);
        SchemaError { file: self.file.to_owned(), line, column, why }
    }
}

const BAD_NAME: &str = "a name is of lower-case letters, digits and underscores, and begins with a letter";

/// What Athena, Glue, Trino and Spark all take without quoting, and DuckDB and S3 as they are.
pub fn is_name(name: &str) -> bool {
    (1..=LONGEST_NAME).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        && name.as_bytes()[0].is_ascii_lowercase()
}
