//! Tables: what columns their rows have, which log groups they take, and how a message becomes a row.
//!
//! A schema file is the single source of a table's Parquet schema, of the names in its JSON rows and of its columns in
//! Glue and Athena. A column either holds a [`Field`] of the event, by its name, or is taken out of the message. Parsed
//! once, at start, into a [`Schema`] that cannot be wrong.
//!
//! Absent on purpose: how a column is encoded, which is the encoder's choice, and all I/O.

pub mod catalog;
pub mod cells;
mod convert;
mod extract;
mod file;
mod kind;
pub mod library;
mod parquet;
pub mod tables;
pub mod tabulate;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, LazyLock};

pub use self::extract::{Extractor, Mismatch, Scratch};
pub use self::file::{SchemaError, is_name};
pub use self::kind::Type;

/// A table: its name, its columns, and the columns that are in the keys of its objects.
#[derive(Clone, Debug)]
pub struct Schema {
    /// The table's name, and its folder in the lake.
    pub name: String,
    /// Counts up when columns are added; written into every object.
    pub version: u32,
    pub description: String,
    /// In the order of the file.
    pub columns: Vec<Column>,
    /// In the order of the folders of a key.
    pub partitions: Vec<PartitionColumn>,
    /// Where columns are taken out of the message.
    pub rows: Option<Arc<Extractor>>,
}

/// A column of a table's objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Lower-case, as Hive and Glue have it.
    pub name: String,
    /// Its name in rows of JSON, which in rejections is not that.
    pub key: String,
    pub kind: Type,
    /// No row lacks a value.
    pub required: bool,
    pub description: String,
    pub source: Source,
}

/// Where a column's values come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    Event(Field),
    /// This one of the row's [`cells`].
    Message {
        cell: usize,
    },
    /// A field of a rejection's line.
    Rejection,
}

/// A column that is a part of the key, and so in no object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionColumn {
    pub name: String,
    pub kind: Type,
    pub description: String,
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

    pub fn kind(self) -> Type {
        match self {
            Self::Timestamp | Self::IngestedAt => Type::Timestamp,
            Self::EventId | Self::Message | Self::LogStream | Self::Owner => Type::String,
        }
    }

    /// Whether every event has it: envelopes may come without a log stream or an owner.
    pub fn always_there(self) -> bool {
        !matches!(self, Self::LogStream | Self::Owner)
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.as_str() == name)
    }

    /// All of them, for a message.
    pub fn known() -> String {
        Self::ALL.map(Self::as_str).join(", ")
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The schemas that need only be named: the files of `schemas/`, in alphabetical order.
pub const BUILT_IN: [(&str, &str); 8] = [
    ("schemas/alb_access.json", include_str!("../../schemas/alb_access.json")),
    ("schemas/apache_access.json", include_str!("../../schemas/apache_access.json")),
    ("schemas/app_json.json", include_str!("../../schemas/app_json.json")),
    ("schemas/cloudtrail.json", include_str!("../../schemas/cloudtrail.json")),
    ("schemas/lambda_platform.json", include_str!("../../schemas/lambda_platform.json")),
    ("schemas/lambda_platform_json.json", include_str!("../../schemas/lambda_platform_json.json")),
    ("schemas/log_events.json", include_str!("../../schemas/log_events.json")),
    ("schemas/vpc_flow.json", include_str!("../../schemas/vpc_flow.json")),
];

/// The table of what no other table takes.
pub const LOG_EVENTS: &str = "log_events";
/// The table of the error prefix, whatever its folder is called.
pub const ERRORS: &str = "errors";

impl Schema {
    /// The built-in table of CloudWatch Logs events: `schemas/log_events.json`.
    pub fn log_events() -> Arc<Self> {
        static LOG_EVENTS: LazyLock<Arc<Schema>> = LazyLock::new(|| {
            let schema = Schema::parse("schemas/log_events.json", include_str!("../../schemas/log_events.json"), None);
            Arc::new(schema.expect("a test parses the built-in schemas"))
        });
        Arc::clone(&LOG_EVENTS)
    }

    /// The table of the error prefix: `schemas/errors.json`. Its rows are lines of JSON, whatever the format of others is.
    pub fn errors() -> Self {
        let errors = file::errors("schemas/errors.json", include_str!("../../schemas/errors.json"));
        errors.expect("a test parses the built-in schemas")
    }

    /// Parses the text of a schema file; `file` is its name, for errors. `fields`: the fields of a delimited message in
    /// their order, where that is not the file's.
    ///
    /// # Errors
    /// What is wrong, with the file, the line and the column.
    pub fn parse(file: &str, text: &str, fields: Option<&[String]>) -> Result<Self, SchemaError> {
        file::parse(file, text, fields)
    }

    /// Whether rows of both can be in one table.
    pub fn has_columns_of(&self, other: &Self) -> bool {
        (&self.name, self.version, &self.columns) == (&other.name, other.version, &other.columns)
    }

    /// Where a field of an event is among the columns; `None` when the table does not have it.
    pub fn position(&self, field: Field) -> Option<usize> {
        self.columns.iter().position(|column| column.source == Source::Event(field))
    }
}
