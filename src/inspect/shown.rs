//! How what comes out of a file is made fit to be shown: short, and so that nobody who writes a log line moves the cursor
//! of who reads it.

use std::fmt;

use bytesize::ByteSize;
use chrono::{DateTime, SecondsFormat, Utc};
use indicatif::HumanCount;
use serde::{Serialize, Serializer};

use crate::event::Millis;

/// Characters of a text that are shown, where it is not to be shown uncut.
const TEXT: usize = 120;
/// Of a reason: what is to be done about it may come last.
const REASON: usize = 1000;
/// Bytes of what is no text.
const BYTES: usize = 48;

/// How much is shown.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Rows, records, rejections; and messages of each record.
    pub rows: usize,
    /// Messages and payloads uncut.
    pub full: bool,
}

impl Options {
    /// The beginning of a text, or all of it. Cut between characters.
    pub fn text(self, text: &str) -> String {
        self.at_most(TEXT, text)
    }

    /// The same of what somebody says of an error.
    pub fn reason(self, text: &str) -> String {
        self.at_most(REASON, text)
    }

    fn at_most(self, most: usize, text: &str) -> String {
        match text.char_indices().nth(most).filter(|_| !self.full) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text.to_owned(),
        }
    }

    /// The same of bytes that are no text.
    pub fn hex(self, bytes: &[u8]) -> String {
        if self.full || bytes.len() <= BYTES { hex(bytes) } else { format!("{} …", hex(&bytes[..BYTES])) }
    }
}

/// `1f 8b 08`
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(" ")
}

/// A text in which nothing steers a terminal: on one line, and read from left to right.
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if steers(character) {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// A JSON document, of which `serde_json` escapes the first 32 characters alone, with the others escaped too.
pub fn escaped_json(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        if character != '\n' && steers(character) {
            escaped.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            escaped.push(character);
        }
    }
    escaped
}

/// Controls, what ends a line, and what turns the direction of the text or is not seen at all.
fn steers(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// `12,345 bytes (12.1 KiB)`
pub fn bytes(bytes: u64) -> String {
    if bytes < 1024 { count(bytes, "byte") } else { format!("{} ({})", count(bytes, "byte"), ByteSize::b(bytes)) }
}

/// `1 row`, `12,345 rows`
pub fn count(number: u64, what: &str) -> String {
    format!("{} {what}{}", HumanCount(number), if number == 1 { "" } else { "s" })
}

/// A time, shown as RFC 3339 in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(pub Millis);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::<Utc>::from_timestamp_millis(self.0) {
            Some(time) => f.write_str(&time.to_rfc3339_opts(SecondsFormat::Millis, true)),
            None => write!(f, "{} ms", self.0),
        }
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The first and the last of some times.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Span {
    pub first: Time,
    pub last: Time,
}

impl Span {
    /// Makes room for one more.
    pub fn add(span: &mut Option<Self>, time: Millis) {
        let time = Time(time);
        let Self { first, last } = span.get_or_insert(Self { first: time, last: time });
        (*first, *last) = (time.min(*first), time.max(*last));
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { write!(f, "{}", self.first) } else { write!(f, "{} to {}", self.first, self.last) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SHORT: Options = Options { rows: 5, full: false };

    #[test]
    fn a_text_is_cut_between_characters() {
        let text = "é".repeat(TEXT);
        assert_eq!(SHORT.text(&text), text);
        assert_eq!(SHORT.text(&format!("{text}ü")), format!("{text}…"));
        assert_eq!(Options { full: true, ..SHORT }.text(&format!("{text}ü")), format!("{text}ü"));
        assert_eq!(SHORT.hex(&[0; BYTES + 1]), format!("{} …", hex(&[0; BYTES])));
        assert_eq!(SHORT.hex(b"\x1f\x8b"), "1f 8b");
    }

    #[test]
    fn a_log_line_cannot_steer_a_terminal() {
        let line = "a\u{1b}[2J\u{9b}31m\r\nERROR\t\u{7f}\u{202e}gnp\u{2028}é😀\\";
        assert_eq!(escaped(line), r"a\u{1b}[2J\u{9b}31m\r\nERROR\t\u{7f}\u{202e}gnp\u{2028}é😀\");
        let json = serde_json::to_string_pretty(&[line]).unwrap();
        let safe = escaped_json(&json);
        assert_eq!(safe, "[\n  \"a\\u001b[2J\\u009b31m\\r\\nERROR\\t\\u007f\\u202egnp\\u2028é😀\\\\\"\n]");
        assert_eq!(serde_json::from_str::<[String; 1]>(&safe).unwrap(), [line]);
    }

    proptest! {
        #[test]
        fn what_is_escaped_has_nothing_that_steers(text: String) {
            prop_assert!(!escaped(&text).chars().any(steers));
        }
    }

    #[test]
    fn numbers_and_times_are_for_people() {
        assert_eq!(bytes(1), "1 byte");
        assert_eq!(bytes(1_234_567), "1,234,567 bytes (1.2 MiB)");
        assert_eq!(count(20_000, "row"), "20,000 rows");
        assert_eq!(Time(1_711_083_600_123).to_string(), "2024-03-22T05:00:00.123Z");
        assert_eq!(Time(Millis::MAX).to_string(), "9223372036854775807 ms");
        let mut span = None;
        [5, 3, 9].into_iter().for_each(|time| Span::add(&mut span, time));
        assert_eq!(span.unwrap().to_string(), "1970-01-01T00:00:00.003Z to 1970-01-01T00:00:00.009Z");
    }
}
