//! JSON values one behind the other, and where the next one begins behind one that is broken.
//!
//! Firehose writes objects without anything between them. So a truncated one is followed by good ones on the same line, and
//! only the beginning of the next rejection tells where it ends.

use memchr::{memchr_iter, memmem, memrchr};
use serde_json::value::RawValue;

use super::line::Line;

/// What every rejection has in it.
const KEY: &[u8] = br#""rawData""#;
/// Braces before a key at which its rejection may begin: those between are in texts, or begin values that are in it.
const TRIES: usize = 8;
/// Of each byte of an object so many are parsed in vain at most, and so many at any rate.
const VAIN: u64 = 8;
const VAIN_AT_LEAST: u64 = 16 << 20;

/// What stands at the beginning of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Value<'w> {
    /// An object, and where it ends.
    Object(usize, &'w str),
    /// The bytes end before it does.
    Unfinished,
    /// None, which shows after so many bytes.
    None(usize),
}

/// What stands at the beginning of some bytes, that are not blank.
pub fn value(bytes: &[u8]) -> Value<'_> {
    if bytes.first().is_some_and(|first| *first != b'{') {
        return Value::None(1);
    }
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<&RawValue>();
    match values.next() {
        Some(Ok(raw)) => Value::Object(values.byte_offset(), raw.get()),
        Some(Err(error)) if !error.is_eof() => Value::None(offset(bytes, &error)),
        _ => Value::Unfinished,
    }
}

/// How far it was parsed.
fn offset(bytes: &[u8], error: &serde_json::Error) -> usize {
    let line = error.line().checked_sub(2).and_then(|before| memchr_iter(b'\n', bytes).nth(before));
    line.map_or(0, |end| end + 1) + error.column()
}

/// Bytes that were parsed in vain. Without a bound, what was made for it would take hours: each of a million braces may
/// begin a value that ends nowhere.
#[derive(Debug, Default)]
pub struct Vain(u64);

/// There were too many: it is no file of rejections.
#[derive(Debug, PartialEq, Eq)]
pub struct TooMany;

impl Vain {
    /// Counts more of them; `read`: bytes that were read so far, of which some were parsed.
    pub fn add(&mut self, bytes: usize, read: u64) -> Result<(), TooMany> {
        self.0 += bytes as u64;
        if self.0 > VAIN_AT_LEAST + VAIN * read { Err(TooMany) } else { Ok(()) }
    }
}

/// Where the next rejection begins on a line, behind its first byte; `None` if there is none. `read`: as for [`Vain::add`].
pub fn next_rejection(line: &[u8], vain: &mut Vain, read: u64) -> Result<Option<usize>, TooMany> {
    let mut from = 1;
    for key in memmem::find_iter(line, KEY) {
        let mut before = key;
        for _ in 0..TRIES {
            let Some(at) = line.get(from..before).and_then(|between| memrchr(b'{', between)) else { break };
            before = from + at;
            let parsed = match value(&line[before..]) {
                Value::Object(end, text) if before + end > key && Line::parse(text).is_some() => {
                    return Ok(Some(before));
                }
                Value::Object(end, _) => end,
                Value::Unfinished => line.len() - before,
                Value::None(bytes) => bytes,
            };
            vain.add(parsed, read)?;
        }
        from = key + KEY.len();
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"attemptsMade":1,"errorMessage":"a } or { \"x\"","rawData":"YQ==","table":{"a":{}}}"#;

    fn next(line: &str) -> Result<Option<usize>, TooMany> {
        next_rejection(line.as_bytes(), &mut Vain::default(), line.len() as u64)
    }

    #[test]
    fn behind_any_cut_of_one_the_next_is_found() {
        for cut in 1..GOOD.len() {
            let line = format!("{}{GOOD}{GOOD}", &GOOD[..cut]);
            assert!(!matches!(value(line.as_bytes()), Value::Object(..)), "{line}");
            assert_eq!(next(&line), Ok(Some(cut)), "{line}");
        }
        assert_eq!(next(&GOOD[..GOOD.len() - 1]), Ok(None));
        assert_eq!(next(&format!("junk {{{GOOD}")), Ok(Some(6)));
        assert_eq!(next(r#"{"a":{"b":1}{"message":"rawData"}"#), Ok(None), "they are no rejections");
    }

    #[test]
    fn it_is_told_how_far_was_parsed() {
        assert_eq!(value(b"x"), Value::None(1));
        assert_eq!(value(b"{\"a\":1}{"), Value::Object(7, "{\"a\":1}"));
        assert_eq!(value(b"{\"a\":"), Value::Unfinished);
        assert!(
            matches!(value(b"{\"a\":1,\n\"b\":2,\n\"c\"}"), Value::None(19 | 20)),
            "{:?}",
            value(b"{\"a\":1,\n\"b\":2,\n\"c\"}")
        );
    }

    /// Made to be slow: it takes some passes over it, not one for each of a million beginnings, which would be days.
    #[test]
    fn long_lines_of_nothing_but_beginnings_come_to_an_end() {
        let began = std::time::Instant::now();
        assert_eq!(next(&"{".repeat(16 << 20)), Ok(None));
        assert_eq!(next(&r#"{"rawData":"#.repeat((4 << 20) / 11)), Err(TooMany));
        assert_eq!(next(&r#"{"a":"#.repeat((16 << 20) / 5)), Ok(None));
        assert_eq!(next(&format!("{}{GOOD}", "{".repeat(1 << 20))), Ok(Some(1 << 20)));
        assert!(began.elapsed().as_secs() < 30, "{:?}", began.elapsed());
    }
}
