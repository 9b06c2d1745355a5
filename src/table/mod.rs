//! Tables: the schema files that say which columns the rows of a table have.
//!
//! A schema file is the single source of a table's Parquet schema and of the names in its JSON rows. A column maps to
//! a built-in [`Field`] of an event by its name. Parsed once, at start, into a [`Schema`] that cannot be wrong: every
//! column is known, has the type of its field, and is required only where an event always has it.
//!
//! Absent on purpose: values and files. How a column is encoded is the encoder's choice.

mod parquet;

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, LazyLock};

use serde::Deserialize;

/// A table: its name, its columns, and the columns that are in the keys of its objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// The table's name, and its folder in the lake.
    pub name: String,
    /// Counts up when columns are added; written into every object.
    pub version: u32,
    pub description: String,
    /// In the order of the file; never empty.
    pub columns: Vec<Column>,
    /// In the order of the folders of a key.
    pub partitions: Vec<PartitionColumn>,
}

/// A column of a table's objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub name: String,
    pub kind: Type,
    /// No row lacks a value.
    pub required: bool,
    pub description: String,
    /// Where its values come from.
    pub field: Field,
}

/// A column that is a part of the key, and so in no object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionColumn {
    pub name: String,
    pub kind: Type,
    pub description: String,
}

/// What a column holds. Text forms are Athena's names of types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `string`: valid UTF-8.
    String,
    /// `timestamp(3)`: milliseconds since 1970, UTC.
    Timestamp,
}

impl Type {
    const ALL: [Self; 2] = [Self::String, Self::Timestamp];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Timestamp => "timestamp(3)",
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A part of an event that a column can hold. The text form is the column's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Field {
    EventId,
    /// When the event happened: what rows are sorted by.
    Timestamp,
    Message,
    LogStream,
    Owner,
    /// The approximate arrival of the event's record on the stream.
    IngestedAt,
}

impl Field {
    const ALL: [Self; 6] =
        [Self::EventId, Self::Timestamp, Self::Message, Self::LogStream, Self::Owner, Self::IngestedAt];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::EventId => "event_id",
            Self::Timestamp => "timestamp",
            Self::Message => "message",
            Self::LogStream => "log_stream",
            Self::Owner => "owner",
            Self::IngestedAt => "ingested_at",
        }
    }

    fn kind(self) -> Type {
        match self {
            Self::Timestamp | Self::IngestedAt => Type::Timestamp,
            Self::EventId | Self::Message | Self::LogStream | Self::Owner => Type::String,
        }
    }

    /// Whether every event has it: envelopes may come without a log stream or an owner.
    fn always_there(self) -> bool {
        !matches!(self, Self::LogStream | Self::Owner)
    }
}

/// Why a schema file is refused.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    #[error("{file}: no schema of a table: {source}")]
    Syntax { file: String, source: serde_json::Error },
    #[error("{file}: has no columns; give it at least one")]
    NoColumns { file: String },
    #[error("{file}: column {column:?} is there twice; keep one")]
    Twice { file: String, column: String },
    #[error("{file}: column {column:?}: unknown type {kind:?}; use one of {known}")]
    UnknownType { file: String, column: String, kind: String, known: String },
    #[error("{file}: column {column:?}: an event has no such field; use one of {known}")]
    UnknownColumn { file: String, column: String, known: String },
    #[error("{file}: column {column:?}: its type is {kind}; the event's field is a {expected}")]
    WrongType { file: String, column: String, kind: Type, expected: Type },
    #[error("{file}: column {column:?}: not every event has it, so it cannot be required")]
    NotAlwaysThere { file: String, column: String },
}

/// A schema file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SchemaFile {
    name: String,
    version: u32,
    #[serde(default)]
    description: String,
    columns: Vec<ColumnEntry>,
    #[serde(default)]
    partitions: Vec<ColumnEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ColumnEntry {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    required: bool,
    #[serde(default)]
    description: String,
}

impl Schema {
    /// The built-in table of CloudWatch Logs events: `schemas/log_events.json`.
    pub fn log_events() -> Arc<Self> {
        static LOG_EVENTS: LazyLock<Arc<Schema>> = LazyLock::new(|| {
            let schema = Schema::parse("schemas/log_events.json", include_str!("../../schemas/log_events.json"));
            Arc::new(schema.expect("a test parses the built-in schema"))
        });
        Arc::clone(&LOG_EVENTS)
    }

    /// Parses the text of a schema file; `file` is its name, for errors.
    ///
    /// # Errors
    /// What is wrong, with the file and the column.
    pub fn parse(file: &str, text: &str) -> Result<Self, SchemaError> {
        let entries: SchemaFile =
            serde_json::from_str(text).map_err(|source| SchemaError::Syntax { file: file.to_owned(), source })?;
        if entries.columns.is_empty() {
            return Err(SchemaError::NoColumns { file: file.to_owned() });
        }
        let mut names = HashSet::new();
        for entry in entries.columns.iter().chain(&entries.partitions) {
            if !names.insert(entry.name.as_str()) {
                return Err(SchemaError::Twice { file: file.to_owned(), column: entry.name.clone() });
            }
        }
        Ok(Self {
            name: entries.name,
            version: entries.version,
            description: entries.description,
            columns: entries.columns.into_iter().map(|entry| entry.column(file)).collect::<Result<_, _>>()?,
            partitions: entries.partitions.into_iter().map(|entry| entry.partition(file)).collect::<Result<_, _>>()?,
        })
    }

    /// Where a field of an event is among the columns; `None` when the table does not have it.
    pub fn position(&self, field: Field) -> Option<usize> {
        self.columns.iter().position(|column| column.field == field)
    }
}

impl ColumnEntry {
    fn kind(&self, file: &str) -> Result<Type, SchemaError> {
        Type::ALL.into_iter().find(|kind| kind.as_str() == self.kind).ok_or_else(|| SchemaError::UnknownType {
            file: file.to_owned(),
            column: self.name.clone(),
            kind: self.kind.clone(),
            known: Type::ALL.map(Type::as_str).join(", "),
        })
    }

    fn column(self, file: &str) -> Result<Column, SchemaError> {
        let kind = self.kind(file)?;
        let Some(field) = Field::ALL.into_iter().find(|field| field.as_str() == self.name) else {
            let known = Field::ALL.map(Field::as_str).join(", ");
            return Err(SchemaError::UnknownColumn { file: file.to_owned(), column: self.name, known });
        };
        if kind != field.kind() {
            let expected = field.kind();
            return Err(SchemaError::WrongType { file: file.to_owned(), column: self.name, kind, expected });
        }
        if self.required && !field.always_there() {
            return Err(SchemaError::NotAlwaysThere { file: file.to_owned(), column: self.name });
        }
        Ok(Column { name: self.name, kind, required: self.required, description: self.description, field })
    }

    fn partition(self, file: &str) -> Result<PartitionColumn, SchemaError> {
        let kind = self.kind(file)?;
        Ok(PartitionColumn { name: self.name, kind, description: self.description })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_table_is_the_one_of_the_file() {
        let schema = Schema::log_events();
        assert_eq!((schema.name.as_str(), schema.version), ("log_events", 1));
        let columns: Vec<_> =
            schema.columns.iter().map(|column| (column.name.as_str(), column.kind, column.required)).collect();
        assert_eq!(
            columns,
            [
                ("event_id", Type::String, true),
                ("timestamp", Type::Timestamp, true),
                ("message", Type::String, true),
                ("log_stream", Type::String, false),
                ("owner", Type::String, false),
                ("ingested_at", Type::Timestamp, true),
            ]
        );
        let partitions: Vec<_> = schema.partitions.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(partitions, ["log_group", "dt", "hour"]);
        assert_eq!(schema.position(Field::Timestamp), Some(1));
    }

    #[test]
    fn errors_name_the_file_and_the_column() {
        let cases = [
            (r#"{"name":"tag","type":"string"}"#, r#"t.json: column "tag": an event has no such field; use one of"#),
            (r#"{"name":"message","type":"varchar"}"#, r#"t.json: column "message": unknown type "varchar"; use one"#),
            (r#"{"name":"message","type":"timestamp(3)"}"#, r#"t.json: column "message": its type is timestamp(3)"#),
            (r#"{"name":"owner","type":"string","required":true}"#, r#"t.json: column "owner": not every event has"#),
            (r#"{"name":"owner","type":"string","nullable":true}"#, "t.json: no schema of a table: unknown field"),
            (r#"{"name":"hour","type":"string"}"#, r#"t.json: column "hour" is there twice"#),
            ("", "t.json: has no columns"),
        ];
        for (column, message) in cases {
            let partitions = r#"[{"name":"hour","type":"string"}]"#;
            let text = format!(r#"{{"name":"t","version":1,"columns":[{column}],"partitions":{partitions}}}"#);
            let error = Schema::parse("t.json", &text).unwrap_err().to_string();
            assert!(error.starts_with(message), "{error}");
        }
    }
}
