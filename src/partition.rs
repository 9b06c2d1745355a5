//! Which prefix of the lake a row belongs to: table, log group and event hour (UTC).
//!
//! Values are escaped as Hive escapes them, so that Athena, Trino, Spark and DuckDB read the same tree.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::event::{Millis, RejectionCode};

/// An hour, UTC, counted from 1970-01-01T00.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hour(i64);

impl Hour {
    pub fn of(time: Millis) -> Self {
        Self(time.div_euclid(3_600_000))
    }

    pub fn start(self) -> Millis {
        self.0 * 3_600_000
    }
}

/// Shown as the folders of the lake: `dt=2024-03-22/hour=05`.
impl fmt::Display for Hour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = DateTime::<Utc>::from_timestamp_millis(self.start()).unwrap_or_default();
        write!(f, "{}", time.format("dt=%Y-%m-%d/hour=%H"))
    }
}

/// One prefix of the lake.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    pub folder: Folder,
    pub hour: Hour,
}

/// What comes before the hour in a partition's prefix.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Folder {
    /// Rows of a table, by log group; the hour is the event's.
    Table { table: Arc<str>, log_group: Arc<str> },
    /// Rejections, by code, below the configured error prefix; the hour is the record's arrival.
    Errors { prefix: Arc<str>, code: RejectionCode },
}

/// Shown as its prefix below the destination, without a slash at the end.
impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.folder {
            Folder::Table { table, log_group } => write!(f, "{table}/log_group={}/{}", Escaped(log_group), self.hour),
            Folder::Errors { prefix, code } => write!(f, "{prefix}/error={}/{}", Escaped(code.as_str()), self.hour),
        }
    }
}

/// Escapes a partition value as Hive's `FileUtils.escapePathName` does: `%` and two upper-case hexadecimal digits.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a str);

impl Escaped<'_> {
    /// Bytes of the escaped value.
    pub fn len(self) -> usize {
        self.0.bytes().map(|byte| if needs_escape(byte) { 3 } else { 1 }).sum()
    }

    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        while let Some(at) = rest.bytes().position(needs_escape) {
            write!(f, "{}%{:02X}", &rest[..at], rest.as_bytes()[at])?;
            rest = &rest[at + 1..];
        }
        f.write_str(rest)
    }
}

/// All of them are ASCII, so that a byte is a character.
fn needs_escape(byte: u8) -> bool {
    matches!(
        byte,
        0x00..=0x1f
            | 0x7f
            | b'"'
            | b'#'
            | b'%'
            | b'\''
            | b'*'
            | b'/'
            | b':'
            | b'='
            | b'?'
            | b'\\'
            | b'{'
            | b'['
            | b']'
            | b'^'
    )
}

/// What a store can hold as a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyLimits {
    /// Bytes of a whole key: 1,024 on S3.
    pub key: usize,
    /// Bytes of one folder name: 255 on a disk; no limit of its own on S3.
    pub segment: usize,
    /// Bytes that come before the table: the destination's prefix and its slash.
    pub before: usize,
}

/// No object's name is longer: `<worker, 36>-<commit, 20>-<object, 6>.json.zst`, with room to spare.
pub const LONGEST_OBJECT_NAME: usize = 80;

impl KeyLimits {
    /// Whether every object of this log group's partitions has a key that the store can hold; if not, the length
    /// that is too much and its limit.
    pub fn check(&self, table: &str, log_group: &str) -> Result<(), TooLong> {
        let segment = "log_group=".len() + Escaped(log_group).len();
        if segment > self.segment {
            return Err(TooLong { what: "folder name", bytes: segment, limit: self.segment });
        }
        let hour = "/dt=2024-03-22/hour=05/".len();
        let key = self.before + table.len() + 1 + segment + hour + LONGEST_OBJECT_NAME;
        if key > self.key {
            return Err(TooLong { what: "key", bytes: key, limit: self.key });
        }
        Ok(())
    }
}

/// A partition that the store can't hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {what} of this log group would have {bytes} bytes; the store's limit is {limit}")]
pub struct TooLong {
    what: &'static str,
    bytes: usize,
    limit: usize,
}
