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
        self.0.saturating_mul(3_600_000)
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

/// Escapes a partition value as Hive's `FileUtils.escapePathName` does: `%` and two upper-case hexadecimal digits. Of a
/// value that readers take for null the first character is escaped too, so that they read it as text.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a str);

impl Escaped<'_> {
    /// Bytes of the escaped value.
    pub fn len(self) -> usize {
        let plain: usize = self.0.bytes().map(|byte| if needs_escape(byte) { 3 } else { 1 }).sum();
        plain + if means_null(self.0) { 2 } else { 0 }
    }

    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        if means_null(rest) {
            write!(f, "%{:02X}", rest.as_bytes()[0])?;
            rest = &rest[1..];
        }
        while let Some(at) = rest.bytes().position(needs_escape) {
            write!(f, "{}%{:02X}", &rest[..at], rest.as_bytes()[at])?;
            rest = &rest[at + 1..];
        }
        f.write_str(rest)
    }
}

/// The value that was escaped.
pub fn unescaped(escaped: &str) -> String {
    let mut parts = escaped.split('%');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        match part.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend(b"%".iter().chain(part.as_bytes().get(..2).unwrap_or_default())),
        }
        bytes.extend_from_slice(part.as_bytes().get(2..).unwrap_or_default());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// DuckDB reads a folder `log_group=null` as no log group; Hive, Trino and Spark have a word of their own for that.
fn means_null(value: &str) -> bool {
    value.eq_ignore_ascii_case("null") || value == "__HIVE_DEFAULT_PARTITION__"
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

/// No object's name is longer: `<worker, 36>-<commit, up to 10>-<object, up to 6>.json.zst`.
pub const LONGEST_OBJECT_NAME: usize = 36 + 1 + 10 + 1 + 6 + ".json.zst".len();

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
#[error("the {what} of this log group may have up to {bytes} bytes; the store's limit is {limit}")]
pub struct TooLong {
    what: &'static str,
    bytes: usize,
    limit: usize,
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;
    use proptest::prelude::*;

    use super::*;

    /// As a reader of the lake does it, knowing nothing of what is escaped: every `%` and two digits is a byte.
    fn unescape(escaped: &str) -> String {
        let mut parts = escaped.split('%');
        let mut bytes = parts.next().unwrap().as_bytes().to_vec();
        for part in parts {
            bytes.push(u8::from_str_radix(&part[..2], 16).unwrap());
            bytes.extend_from_slice(&part.as_bytes()[2..]);
        }
        String::from_utf8(bytes).unwrap()
    }

    /// Log group names are of `[\.\-_/#A-Za-z0-9]`, 1 to 512 of them:
    /// <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_CreateLogGroup.html>
    const LEGAL: &str = "[.\\-_/#A-Za-z0-9]{1,512}";

    fn rows_of(log_group: &str, time: Millis) -> Partition {
        let folder = Folder::Table { table: "log_events".into(), log_group: log_group.into() };
        Partition { folder, hour: Hour::of(time) }
    }

    /// Any text, with many of the characters that have a meaning somewhere.
    fn any_value() -> impl Strategy<Value = String> {
        prop_oneof![
            LEGAL,
            "(?i)null|__HIVE_DEFAULT_PARTITION__",
            ".{0,40}",
            "[\\x00-\\x7f]{0,40}",
            prop::collection::vec(any::<char>(), 0..40).prop_map(String::from_iter)
        ]
    }

    proptest! {
        #[test]
        fn escaping_loses_nothing(value in any_value()) {
            let escaped = Escaped(&value).to_string();
            prop_assert_eq!(unescape(&escaped), &value[..]);
            prop_assert_eq!(Escaped(&value).len(), escaped.len());
            prop_assert_eq!(Escaped(&value).is_empty(), escaped.is_empty());
        }

        /// An escaped value is one folder, whose name and value a reader can tell apart.
        #[test]
        fn an_escaped_value_is_one_folder(value in any_value()) {
            let escaped = Escaped(&value).to_string();
            prop_assert!(!escaped.contains(|c: char| c == '/' || c == '=' || c == '\\' || c.is_ascii_control()));
        }

        #[test]
        fn prefixes_are_as_different_as_their_partitions(
            a in LEGAL, b in LEGAL, x in 0i64..7_258_118_400_000, y in 0i64..7_258_118_400_000,
        ) {
            let same = a == b && x / 3_600_000 == y / 3_600_000;
            prop_assert_eq!(rows_of(&a, x).to_string() == rows_of(&b, y).to_string(), same);
        }

        #[test]
        fn an_hour_holds_its_time(time in -7_258_118_400_000i64..7_258_118_400_000) {
            let start = Hour::of(time).start();
            prop_assert!(start <= time && time - start < 3_600_000 && start % 3_600_000 == 0);
            let (days, hour) = (start.div_euclid(86_400_000), start.rem_euclid(86_400_000) / 3_600_000);
            let date = NaiveDate::from_epoch_days(i32::try_from(days).unwrap()).unwrap();
            prop_assert_eq!(Hour::of(time).to_string(), format!("dt={date}/hour={hour:02}"));
        }

        /// What passes the check has keys within the limits, and what doesn't would have passed them.
        #[test]
        fn the_check_says_what_the_keys_are(
            log_group in LEGAL, before in 0usize..300, key in 0usize..2000, segment in 0usize..2000,
        ) {
            let prefix = rows_of(&log_group, 0).to_string();
            let longest = before + prefix.len() + 1 + LONGEST_OBJECT_NAME;
            let widest = prefix.split('/').nth(1).unwrap().len();
            let fits = longest <= key && widest <= segment;
            prop_assert_eq!(KeyLimits { key, segment, before }.check("log_events", &log_group).is_ok(), fits);
        }
    }

    #[test]
    fn what_is_escaped_is_what_hive_escapes() {
        // `charToEscape` of org.apache.hadoop.hive.common.FileUtils, and the control characters.
        let printable: String = (' '..='~').filter(|character| Escaped(&character.to_string()).len() == 3).collect();
        assert_eq!(printable, "\"#%'*/:=?[\\]^{");
        assert_eq!(Escaped("\u{0}\n\u{1f}\u{7f}").to_string(), "%00%0A%1F%7F");
        assert_eq!(Escaped("aA0 ._-é😀}~").to_string(), "aA0 ._-é😀}~");
        let nulls = ["null", "NULL", "Null", "__HIVE_DEFAULT_PARTITION__"].map(|value| Escaped(value).to_string());
        assert_eq!(nulls, ["%6Eull", "%4EULL", "%4Eull", "%5F_HIVE_DEFAULT_PARTITION__"]);
        assert_eq!(Escaped("nullx").to_string(), "nullx");
    }

    #[test]
    fn a_partition_is_shown_as_its_prefix() {
        let time = 1_711_083_600_000;
        assert_eq!(
            rows_of("/aws/lambda/a.b#c_d-E9", time).to_string(),
            "log_events/log_group=%2Faws%2Flambda%2Fa.b%23c_d-E9/dt=2024-03-22/hour=05"
        );
        let folder = Folder::Errors { prefix: "errors".into(), code: RejectionCode::EventInvalid };
        assert_eq!(
            Partition { folder, hour: Hour::of(time) }.to_string(),
            "errors/error=Event.Invalid/dt=2024-03-22/hour=05"
        );
    }

    #[test]
    fn hours_change_on_the_hour() {
        let midnight = 1_711_065_600_000;
        let shown = [-1, 0, 3_599_999, 3_600_000].map(|offset| Hour::of(midnight + offset).to_string());
        let expected =
            ["dt=2024-03-21/hour=23", "dt=2024-03-22/hour=00", "dt=2024-03-22/hour=00", "dt=2024-03-22/hour=01"];
        assert_eq!(shown, expected);
        assert_eq!(Hour::of(0).to_string(), "dt=1970-01-01/hour=00");
        assert_eq!(Hour::of(7_258_118_399_999).to_string(), "dt=2199-12-31/hour=23");
        // No event has such a time, but nothing breaks.
        assert_eq!(Hour::of(-1).to_string(), "dt=1969-12-31/hour=23");
        for time in [Millis::MIN, Millis::MAX] {
            assert!(!Hour::of(time).to_string().is_empty());
        }
    }

    #[test]
    fn what_is_too_long_says_by_how_much() {
        let disk = KeyLimits { key: 4096, segment: 255, before: 0 };
        assert_eq!(disk.check("t", &"x".repeat(245)), Ok(()));
        let error = disk.check("t", &"/".repeat(100)).unwrap_err().to_string();
        assert_eq!(error, "the folder name of this log group may have up to 310 bytes; the store's limit is 255");
        let s3 = KeyLimits { key: 1024, segment: usize::MAX, before: 5 };
        assert_eq!(s3.check("log_events", &"x".repeat(512)), Ok(()));
        let error = s3.check("log_events", &"/".repeat(512)).unwrap_err().to_string();
        assert!(error.starts_with("the key of this log group may have up to 16"), "{error}");
    }
}
