//! What something is, told by its content alone.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;

use serde::Serialize;
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::input::Input;
use crate::decode::is_aggregate;
use crate::gzip::is_gzip;
use crate::source::file::members::{Known, Members};
use crate::source::file::window::Window;

/// No record is larger, nor a line that begins with one.
const LARGEST_VALUE: usize = 16 << 20;
/// Lines that are looked at for one that can be told.
const LINES: usize = 10;
/// More keys than any of the kinds has.
const KEYS: usize = 200;

/// What all of it is compressed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    Gzip,
    Zstd,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

/// In what form a record file has its records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Shape {
    /// Of `aws kinesis get-records`.
    Pages,
    /// The event that Lambda gets from Kinesis.
    LambdaEvents,
    /// What producers put on the stream, as it is.
    Payloads,
}

/// What it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Parquet,
    Pack,
    Records(Shape),
    Rejections,
    /// Objects of JSON, as a lake has them.
    Rows,
    Snapshot,
    Heartbeat,
    Empty,
    Unknown,
}

/// Reads no more than its beginning, and the last bytes of what has no beginning that is known.
pub fn tell(input: &Arc<Input>) -> io::Result<(Kind, Option<Compression>)> {
    let mut magic = Vec::new();
    input.read_head().take(8).read_to_end(&mut magic)?;
    let compression = match magic.as_slice() {
        [] => return Ok((Kind::Empty, None)),
        [b'P', b'A', b'R', b'1' | b'E', ..] => return Ok((Kind::Parquet, None)),
        [b'F', b'M', b'P', b'A', b'C', b'K', ..] => return Ok((Kind::Pack, None)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Compression::Zstd),
        bytes if is_gzip(bytes) => Some(Compression::Gzip),
        _ => None,
    };
    let content = inflated(input.read_head(), compression, &Known::default())?;
    let kind = match content_kind(content) {
        Ok(kind) => kind,
        // What is wrong with it is for who reads it.
        Err(error) if compression.is_none() => return Err(error),
        Err(_) => Kind::Unknown,
    };
    // Somebody may have written over its beginning.
    let ends_as_parquet = |size: u64| size > 12 && input.range(size - 4, 4).is_ok_and(|end| *end == *b"PAR1");
    let is_parquet = kind == Kind::Unknown && compression.is_none() && input.size.is_some_and(ends_as_parquet);
    Ok((if is_parquet { Kind::Parquet } else { kind }, compression))
}

/// The content of what may be compressed. Damage of a gzip ends it, and is known then; of zstd it is an error.
pub fn inflated(
    bytes: Box<dyn Read + Send>,
    compression: Option<Compression>,
    damage: &Known,
) -> io::Result<Box<dyn Read + Send>> {
    Ok(match compression {
        None => bytes,
        Some(Compression::Gzip) => Box::new(Members::new(bytes, damage)),
        Some(Compression::Zstd) => Box::new(zstd::stream::read::Decoder::new(bytes)?),
    })
}

fn content_kind(content: impl Read) -> io::Result<Kind> {
    let mut window = Window::new(content, &|| ());
    for line in 0..LINES {
        loop {
            let bytes = window.bytes();
            let mark = if line == 0 && bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
            let bytes = bytes[mark..].trim_ascii_start();
            if is_aggregate(bytes) {
                return Ok(Kind::Records(Shape::Payloads));
            }
            let (peek, ended) = Peek::of(bytes);
            let more = !window.is_last() && bytes.len() < LARGEST_VALUE;
            match (peek.kind(), ended) {
                (Some(kind), _) => return Ok(kind),
                (None, Ended::Whole) => return Ok(Kind::Rows),
                (None, Ended::Cut) if more => window.grow()?,
                (None, Ended::Cut) if !peek.keys.is_empty() => return Ok(Kind::Rows),
                (None, Ended::Cut | Ended::Bad) => break,
            }
        }
        // This line is none of all that; the next one may be.
        match memchr::memchr(b'\n', window.bytes()) {
            Some(end) => window.consume(end + 1),
            None => return Ok(Kind::Unknown),
        }
    }
    Ok(Kind::Unknown)
}

/// How the object ends that was looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Whole,
    /// The bytes end before it does.
    Cut,
    /// It is none.
    Bad,
}

/// What an object of JSON has, as far as it is there.
#[derive(Debug, Default)]
struct Peek {
    keys: Vec<String>,
    /// Of the first of its `Records`.
    record_keys: Option<Vec<String>>,
}

impl Peek {
    fn of(bytes: &[u8]) -> (Self, Ended) {
        let mut peek = Self::default();
        let mut deserializer = serde_json::Deserializer::from_slice(bytes);
        let ended = match deserializer.deserialize_map(Object { peek: &mut peek }) {
            Ok(()) => Ended::Whole,
            Err(error) if error.is_eof() => Ended::Cut,
            Err(_) => Ended::Bad,
        };
        (peek, ended)
    }

    /// What can be told already.
    fn kind(&self) -> Option<Kind> {
        let has = |key: &str| self.keys.iter().any(|known| known == key);
        let any = |keys: &[&str]| keys.iter().any(|key| has(key));
        if let Some(keys) = &self.record_keys {
            let is_lambda = keys.iter().any(|key| key == "kinesis");
            Some(Kind::Records(if is_lambda { Shape::LambdaEvents } else { Shape::Pages }))
        } else if has("messageType") {
            Some(Kind::Records(Shape::Payloads))
        } else if has("rawData") && any(&["errorCode", "lastErrorCode", "attemptsMade"]) {
            Some(Kind::Rejections)
        } else if has("version") && has("number") && any(&["attempt", "shards"]) {
            Some(Kind::Snapshot)
        } else if has("worker") && has("counter") && any(&["host", "pid", "version"]) {
            Some(Kind::Heartbeat)
        } else {
            None
        }
    }
}

struct Object<'p> {
    peek: &'p mut Peek,
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            let is_records = key == "Records";
            if self.peek.keys.len() < KEYS {
                self.peek.keys.push(key);
            }
            if is_records {
                map.next_value_seed(Records { keys: &mut self.peek.record_keys })?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// The value of `Records`: the keys of the first element are all that counts.
struct Records<'p> {
    keys: &'p mut Option<Vec<String>>,
}

impl<'de> DeserializeSeed<'de> for Records<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Records<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of records")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let keys = self.keys.insert(Vec::new());
        list.next_element_seed(Record { keys })?;
        Err(A::Error::custom("it has been seen"))
    }
}

struct Record<'p> {
    keys: &'p mut Vec<String>,
}

impl<'de> DeserializeSeed<'de> for Record<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Record<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a record")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if self.keys.len() < KEYS {
                self.keys.push(key);
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

/// What else begins so, for who has taken the wrong file.
pub fn looks_like(bytes: &[u8]) -> Option<&'static str> {
    const MAGICS: [(&[u8], &str); 12] = [
        (b"\x1f\x8b", "gzip"),
        (b"\x28\xb5\x2f\xfd", "zstd"),
        (b"ORC", "ORC"),
        (b"Obj\x01", "Avro"),
        (b"SEQ", "a Hadoop sequence file"),
        (b"PK\x03\x04", "a zip archive"),
        (b"BZh", "bzip2"),
        (b"\xfd7zXZ\0", "xz"),
        (b"\x04\x22\x4d\x18", "LZ4"),
        (b"\xff\x06\0\0sNaPpY", "framed snappy"),
        (b"ARROW1", "Arrow IPC"),
        (b"<?xml", "XML"),
    ];
    let known = MAGICS.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, name)| *name);
    let is_list = || bytes.trim_ascii_start().starts_with(b"[").then_some("a list of JSON");
    known.or_else(is_list).or_else(|| is_text(bytes).then_some("text"))
}

/// Whether it is UTF-8, but perhaps for a last character that is cut, and has no controls that no text has.
pub fn is_text(bytes: &[u8]) -> bool {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => return false,
    };
    !text.is_empty() && !text.chars().any(|c| c.is_control() && !c.is_ascii_whitespace() && c != '\u{1b}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::inspect::fixtures::{gzip, zstd};

    fn kind(content: &[u8]) -> Kind {
        tell(&Input::memory(content.to_vec())).unwrap().0
    }

    #[test]
    fn each_kind_is_told_compressed_or_not_and_from_its_beginning() {
        let padding = "x".repeat(3 << 20);
        let late = format!(r#"{{"logEvents":[{{"message":"{padding}"}}],"messageType":"DATA_MESSAGE"}}"#);
        let snapshot = include_str!("../../tests/golden/state-v1.json");
        let pretty = |json: &str| {
            serde_json::to_string_pretty(&serde_json::from_str::<serde_json::Value>(json).unwrap()).unwrap()
        };
        let page = r#"{"Records":[{"SequenceNumber":"1","Data":"eA==","PartitionKey":"k"}],"NextShardIterator":"x"}"#;
        let cases = [
            (page.to_owned(), Kind::Records(Shape::Pages)),
            (pretty(page), Kind::Records(Shape::Pages)),
            (r#"{"MillisBehindLatest":0,"Records":[]}"#.to_owned(), Kind::Records(Shape::Pages)),
            (
                r#"{"Records":[{"eventSource":"x","kinesis":{"data":"eA=="}}]}"#.into(),
                Kind::Records(Shape::LambdaEvents),
            ),
            (r#"{"messageType":"DATA_MESSAGE","logGr"#.into(), Kind::Records(Shape::Payloads)),
            (late, Kind::Records(Shape::Payloads)),
            (r#"{"attemptsMade":1,"errorCode":"X","rawData":"eA=="}{"#.into(), Kind::Rejections),
            (r#"{"attemptsMade":1,"lastErrorCode":"X","rawData":"#.into(), Kind::Rejections),
            (snapshot.to_owned(), Kind::Snapshot),
            (pretty(snapshot), Kind::Snapshot),
            (snapshot[..100].to_owned(), Kind::Snapshot),
            (r#"{"worker":"w","counter":3,"host":"h","pid":1,"version":"0.1.0"}"#.into(), Kind::Heartbeat),
            (r#"{"event_id":"1","message":"messageType"}"#.into(), Kind::Rows),
            ("rubbish\n{\"event_id\":\"1\"}\n{}".into(), Kind::Rows),
            ("\u{feff}{}\n".into(), Kind::Rows),
            (r#"{"event_id":"#.into(), Kind::Rows),
            ("{".into(), Kind::Unknown),
            ("[1]".into(), Kind::Unknown),
            ("plain\ntext".into(), Kind::Unknown),
            ("\n \n".into(), Kind::Unknown),
        ];
        for (content, expected) in cases {
            let shown: String = content.chars().take(60).collect();
            assert_eq!(kind(content.as_bytes()), expected, "{shown}");
            assert_eq!(kind(&gzip(content.as_bytes())), expected, "gzip {shown}");
            assert_eq!(kind(&zstd(content.as_bytes())), expected, "zstd {shown}");
        }
        assert_eq!(kind(b""), Kind::Empty);
        assert_eq!(kind(include_bytes!("../../tests/golden/pack-v1.bin")), Kind::Pack);
        assert_eq!(kind(include_bytes!("../../tests/golden/kpl-aggregate.bin")), Kind::Records(Shape::Payloads));
        assert_eq!(kind(b"PAR1"), Kind::Parquet);
        assert_eq!(kind(b"\0\0\0\0 some bytes in between PAR1"), Kind::Parquet, "by its end");
        assert_eq!(kind(&gzip(b"{\"Records\":[{\"Data\":\"\"}]}")[..30]), Kind::Records(Shape::Pages), "damaged");
        assert_eq!(kind(b"\x1f\x8b"), Kind::Unknown);
    }

    #[test]
    fn what_it_looks_like_helps_who_took_the_wrong_file() {
        assert_eq!(looks_like(b"PK\x03\x04zip"), Some("a zip archive"));
        assert_eq!(looks_like(b" [{}]"), Some("a list of JSON"));
        assert_eq!(looks_like("text, über alles\n\u{1b}[0m".as_bytes()), Some("text"));
        assert_eq!(looks_like(&"ü".as_bytes()[..1]), None);
        assert_eq!(looks_like(b"\x00\x01"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_told_without_a_panic(bytes: Vec<u8>) {
            kind(&bytes);
            kind(&gzip(&bytes));
            kind(&[b"{\"Records\":[".as_slice(), &bytes].concat());
        }
    }
}
