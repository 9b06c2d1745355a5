//! The time of an event, from a field of the object of JSON that it is.

use std::str::FromStr;

use chrono::{Offset, Utc};
use serde_json::value::RawValue;

use super::member;
use super::strict::{Shown, key_text};
use crate::event::{Millis, TIMESTAMP_LIMIT};
use crate::iso8601;

/// A number below this is seconds since 1970, another one milliseconds: 1973 in milliseconds, 5138 in seconds.
const LEAST_MILLIS: Millis = 100_000_000_000;

/// `source.kinesis.time_field`: the name of a member, or several with dots between them for a member of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TimeField(Box<str>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a name in it is empty")]
pub struct BadTimeField;

impl FromStr for TimeField {
    type Err = BadTimeField;

    fn from_str(path: &str) -> Result<Self, Self::Err> {
        if path.split('.').any(str::is_empty) { Err(BadTimeField) } else { Ok(Self(path.into())) }
    }
}

impl TimeField {
    /// The time that an object has there, or what is wrong with it.
    pub(super) fn read(&self, object: &RawValue) -> Result<Millis, String> {
        let field = Shown(self.0.as_bytes());
        let value = self.0.split('.').try_fold(object, member::value);
        let value = value.ok_or_else(|| format!("{field} (source.kinesis.time_field) is missing"))?;
        let shown = Shown(value.get().as_bytes());
        match time(value) {
            Some(millis @ 0..TIMESTAMP_LIMIT) => Ok(millis),
            Some(_) => Err(format!("{field} (source.kinesis.time_field) {shown} is outside 1970..2200")),
            None => Err(format!(
                "{field} (source.kinesis.time_field) {shown} is no time: neither a number of seconds or milliseconds \
                 since 1970 nor as in RFC 3339"
            )),
        }
    }
}

/// `None` when it is no time. What is out of bounds may be any other time that is.
fn time(value: &RawValue) -> Option<Millis> {
    match value.get().as_bytes() {
        [b'"', ..] => of_text(&key_text(value)),
        [b'-' | b'0'..=b'9', ..] => Some(of_number(value.get())),
        _ => None,
    }
}

fn of_number(digits: &str) -> Millis {
    if let Ok(number) = digits.parse::<Millis>() {
        let is_seconds = (-LEAST_MILLIS..LEAST_MILLIS).contains(&number);
        return if is_seconds { number * 1000 } else { number };
    }
    // A fraction, an exponent, or far out of bounds. Doubles tell microseconds apart until far behind 2200; what is too
    // much for one becomes infinite, and then the largest integer.
    let number: f64 = digits.parse().unwrap_or(f64::INFINITY);
    let is_seconds = number.abs() < LEAST_MILLIS as f64;
    (if is_seconds { number * 1000.0 } else { number }).round() as Millis
}

/// As of [`iso8601::millis`], and with a comma before the fraction too; of UTC where nothing else is said.
fn of_text(text: &str) -> Option<Millis> {
    iso8601::millis(text, Utc.fix()).or_else(|| iso8601::millis(&text.replacen(',', ".", 1), Utc.fix()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(field: &str, json: &str) -> Result<Millis, String> {
        let object: Box<RawValue> = serde_json::from_str(json).unwrap();
        field.parse::<TimeField>().unwrap().read(&object)
    }

    #[test]
    fn numbers_are_seconds_or_milliseconds_by_their_magnitude() {
        for (value, expected) in [
            ("0", 0),
            ("-0", 0),
            ("1711083600", 1_711_083_600_000),
            ("1711083600.123", 1_711_083_600_123),
            ("1711083600.0004", 1_711_083_600_000),
            ("1.7110836e9", 1_711_083_600_000),
            ("1711083600123", 1_711_083_600_123),
            ("1711083600123.4", 1_711_083_600_123),
            ("1.711083600123E+12", 1_711_083_600_123),
            ("7258118399", TIMESTAMP_LIMIT - 1000),
            ("7258118399999", TIMESTAMP_LIMIT - 1),
            ("100000000000", 100_000_000_000),
        ] {
            assert_eq!(read("t", &format!(r#"{{"t": {value} }}"#)), Ok(expected), "{value}");
        }
        for value in ["-1", "-1711083600123", "7258118400", "99999999999", "7258118400000", "1e400", "-1e400", "9e30"] {
            let why = read("t", &format!(r#"{{"t":{value}}}"#)).unwrap_err();
            assert_eq!(why, format!("t (source.kinesis.time_field) {value} is outside 1970..2200"));
        }
        assert!(read("t", &format!(r#"{{"t":{}}}"#, "9".repeat(99))).unwrap_err().contains("is outside"));
    }

    #[test]
    fn texts_are_as_in_rfc_3339_or_nearly() {
        for text in [
            "2024-03-22T05:00:00.123Z",
            "2024-03-22T05:00:00.123456789Z",
            "2024-03-22t05:00:00.123z",
            "2024-03-22T06:30:00.123+01:30",
            "2024-03-22T06:30:00.123+0130",
            "2024-03-22T06:00:00.123+01",
            "2024-03-22T05:00:00.123",
            "2024-03-22T05:00:00,123Z",
            "2024-03-22 05:00:00,123",
            "2024-03-22 05:00:00.123Z",
            "2024-03-22 05:00:00.123-00:00",
            r"2024-03-22T05:00:00.123\u005a",
        ] {
            assert_eq!(read("t", &format!(r#"{{"t":"{text}"}}"#)), Ok(1_711_083_600_123), "{text}");
        }
        assert_eq!(read("t", r#"{"t":"2024-03-22T05:00:00Z"}"#), Ok(1_711_083_600_000));
        for text in ["1969-12-31T23:59:59.999Z", "2200-01-01T00:00:00Z", "9999-01-01T00:00:00"] {
            assert!(
                read("t", &format!(r#"{{"t":"{text}"}}"#)).unwrap_err().contains("is outside 1970..2200"),
                "{text}"
            );
        }
        for value in [
            r#""""#,
            r#""yesterday""#,
            r#""2024-03-22""#,
            r#""2024-13-22T05:00:00Z""#,
            r#""1711083600""#,
            r#""2024-03-22T05:00:00Z ""#,
            r#""2024-03-22\u000005:00:00""#,
            r#""\ud800""#,
            "null",
            "true",
            "[1]",
            "{}",
        ] {
            assert!(
                read("t", &format!(r#"{{"t":{value}}}"#)).unwrap_err().contains(" is no time: neither "),
                "{value}"
            );
        }
    }

    #[test]
    fn dots_lead_into_objects() {
        assert_eq!(read("a.b", r#"{"b":1,"a":{"b":2},"a.b":3}"#), Ok(2000));
        for json in ["{}", r#"{"a":1}"#, r#"{"a":"b"}"#, r#"{"a":{}}"#, r#"{"a":[{"b":1}]}"#] {
            assert_eq!(read("a.b", json).unwrap_err(), "a.b (source.kinesis.time_field) is missing");
        }
        for path in ["", ".", "a.", ".a", "a..b"] {
            assert_eq!(path.parse::<TimeField>(), Err(BadTimeField));
        }
    }
}
