//! Values of JSON one behind the other, with or without anything between them: lines, and what Amazon Data Firehose
//! writes. In a window of bounded size.

use std::io::{self, Read};

use serde::de::IgnoredAny;

use crate::source::file::window::Window;

/// A longer value is not read: no event is longer, nor a record in base64.
const LONGEST: usize = 128 << 20;
/// Of what is no value, and has no end of line, so much is one item.
const LONGEST_BAD: usize = 1 << 20;

/// What stands next.
#[derive(Debug)]
pub enum Item<'w> {
    /// One valid value.
    Value(&'w [u8]),
    /// The rest of a line that is none, and why.
    Bad(&'w [u8], String),
}

/// Reads them. An error of the input is its end.
pub struct Values<R> {
    window: Window<'static, R>,
    /// Bytes of the item that was handed out last.
    done: usize,
    beginning: bool,
}

enum Measured {
    Whole(usize),
    Cut,
    Bad(String),
}

impl<R: Read> Values<R> {
    pub fn new(input: R) -> Self {
        Self { window: Window::new(input, &|| ()), done: 0, beginning: true }
    }

    /// Bytes of the content so far.
    pub fn offset(&self) -> u64 {
        self.window.offset() + self.done as u64
    }

    /// The next item, and at which byte of the content it begins.
    pub fn next(&mut self) -> io::Result<Option<(u64, Item<'_>)>> {
        self.window.consume(std::mem::take(&mut self.done));
        loop {
            self.skip_blank();
            let bytes = self.window.bytes();
            if bytes.is_empty() {
                if self.window.is_last() {
                    return Ok(None);
                }
                self.window.grow()?;
                continue;
            }
            let at = self.window.offset();
            match measure(bytes) {
                Measured::Whole(length) => {
                    self.done = length;
                    return Ok(Some((at, Item::Value(&self.window.bytes()[..length]))));
                }
                Measured::Cut if self.window.is_last() => {
                    return Ok(Some((at, self.bad("it ends early".to_owned())?)));
                }
                Measured::Cut if bytes.len() >= LONGEST => {
                    return Err(io::Error::other(format!(
                        "the value at byte {at} is longer than {LONGEST} bytes: what is behind it is not read"
                    )));
                }
                Measured::Cut => self.window.grow()?,
                Measured::Bad(why) => return Ok(Some((at, self.bad(why)?))),
            }
        }
    }

    /// White space, and a byte order mark at the very beginning.
    fn skip_blank(&mut self) {
        let bytes = self.window.bytes();
        let mark = if self.beginning && bytes.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        self.beginning &= bytes.is_empty();
        let blank = mark + bytes[mark..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        self.window.consume(blank);
    }

    /// Up to the end of the line, or of what the window takes.
    fn bad(&mut self, why: String) -> io::Result<Item<'_>> {
        loop {
            let bytes = self.window.bytes();
            let line = memchr::memchr(b'\n', bytes);
            if line.is_some() || self.window.is_last() || bytes.len() >= LONGEST_BAD {
                self.done = line.unwrap_or(bytes.len());
                return Ok(Item::Bad(&self.window.bytes()[..self.done], why));
            }
            self.window.grow()?;
        }
    }
}

fn measure(bytes: &[u8]) -> Measured {
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<IgnoredAny>();
    match values.next() {
        Some(Ok(_)) => Measured::Whole(values.byte_offset()),
        Some(Err(error)) if error.is_eof() => Measured::Cut,
        None => Measured::Cut,
        Some(Err(error)) => Measured::Bad(plainly(&error)),
    }
}

/// What is wrong, and at which character of the line: the line's number would be that of the window.
pub fn plainly(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let what = text.rfind(" at line ").map_or(text.as_str(), |at| &text[..at]);
    match error.column() {
        0 => what.to_owned(),
        column => format!("{what} at its byte {column}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn all(bytes: impl Read) -> Vec<(bool, String)> {
        let (mut values, mut all) = (Values::new(bytes), Vec::new());
        while let Some((_, item)) = values.next().unwrap() {
            let (good, bytes) = match item {
                Item::Value(bytes) => (true, bytes),
                Item::Bad(bytes, why) => {
                    assert!(!why.is_empty());
                    (false, bytes)
                }
            };
            all.push((good, String::from_utf8_lossy(bytes).into_owned()));
        }
        all
    }

    fn is(content: &[u8], expected: &[(bool, &str)]) {
        let expected: Vec<_> = expected.iter().map(|(good, text)| (*good, (*text).to_owned())).collect();
        assert_eq!(all(content), expected);
    }

    #[test]
    fn values_need_nothing_between_them_and_a_bad_line_is_one_item() {
        is(b"\xef\xbb\xbf{\"a\":1}{\"b\":\n2} \r\n3\n", &[(true, "{\"a\":1}"), (true, "{\"b\":\n2}"), (true, "3")]);
        is(b"{}\nrubbish {}\n{}", &[(true, "{}"), (false, "rubbish {}"), (true, "{}")]);
        is(b"{}\n{\"cut\":", &[(true, "{}"), (false, "{\"cut\":")]);
        is(b"{} {\"a\" 1}\n[]", &[(true, "{}"), (false, "{\"a\" 1}"), (true, "[]")]);
        is(b" \n", &[]);
    }

    #[test]
    fn a_value_may_be_larger_than_the_first_window() {
        let large = format!("\"{}\"", "x".repeat(5 << 20));
        let all = all(format!("{large}\n1").as_bytes());
        assert!(all == [(true, large), (true, "1".to_owned())]);
    }

    #[test]
    fn each_item_is_told_with_its_place() {
        let mut values = Values::new(&b" {}  {} "[..]);
        assert_eq!(values.next().unwrap().unwrap().0, 1);
        assert_eq!((values.next().unwrap().unwrap().0, values.offset()), (5, 7));
        assert!(values.next().unwrap().is_none() && values.offset() == 8);
    }

    proptest! {
        #[test]
        fn any_bytes_come_to_an_end(bytes: Vec<u8>) {
            all(&bytes[..]);
        }
    }
}
