//! Where strings begin and end in a text: in JSON, in JSON that is a string in other JSON, and in what is nearly JSON.
//!
//! Each time that JSON becomes a string in other JSON, a quote gets a backslash, and each backslash another: a quote has
//! none, then one, then three. Writers such as .NET's make it `\u0022` instead, then `\\u0022`. The level of a quote is how
//! many times a text has to be read as a string until it is a quote without a backslash.

use std::cell::{Cell, OnceCell};
use std::ops::Range;

use serde::de::IgnoredAny;

/// How far back quotes are counted.
const SEEN_BACK: usize = 4096;

/// A text that is searched.
#[derive(Debug)]
pub struct Text<'t> {
    pub bytes: &'t [u8],
    is_json: OnceCell<bool>,
    /// Whether any quote is written by its number.
    has_numbers: OnceCell<bool>,
    /// A place, and whether it is in a string if the text is JSON.
    known: Cell<(usize, bool)>,
    /// A place, and the level of the last quote before it.
    last: Cell<(usize, u32)>,
}

/// A quote, with the backslashes that belong to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    pub range: Range<usize>,
    pub level: u32,
    pub is_double: bool,
}

impl Mark {
    fn is_like(&self, other: &Self) -> bool {
        (self.is_double, self.level) == (other.is_double, other.level)
    }
}

impl<'t> Text<'t> {
    pub fn new(bytes: &'t [u8]) -> Self {
        let (is_json, has_numbers) = (OnceCell::new(), OnceCell::new());
        Self { bytes, is_json, has_numbers, known: Cell::new((0, false)), last: Cell::new((0, 0)) }
    }

    /// Whether the text is JSON as a whole; a number by itself is not called so.
    pub fn is_json(&self) -> bool {
        let begins = || matches!(self.bytes.trim_ascii_start(), [b'{' | b'[' | b'"', ..]);
        *self.is_json.get_or_init(|| begins() && serde_json::from_slice::<IgnoredAny>(self.bytes).is_ok())
    }

    /// Whether a place is in a string of a text that is JSON; false in any other, where a quote need not mean a string.
    pub fn in_string(&self, at: usize) -> bool {
        if !self.is_json() {
            return false;
        }
        let (known, is_in) = self.known.get();
        let between = known.min(at)..known.max(at);
        let quotes = memchr::memchr_iter(b'"', &self.bytes[between.clone()])
            .filter(|quote| self.backslashes_before(between.start + quote, 0).is_multiple_of(2));
        let is_in = is_in ^ !quotes.count().is_multiple_of(2);
        self.known.set((at, is_in));
        is_in
    }

    /// The quote that begins here, backslashes first.
    pub fn mark_at(&self, at: usize) -> Option<Mark> {
        let behind = at + self.backslashes_from(at);
        self.mark(behind, at)
    }

    /// The quote that ends here.
    pub fn mark_before(&self, end: usize) -> Option<Mark> {
        let found = [1, 5].into_iter().filter_map(|len| self.mark(end.checked_sub(len)?, 0));
        found.into_iter().find(|mark| mark.range.end == end)
    }

    /// The quote whose last part begins here, behind backslashes of which none is before `floor`.
    fn mark(&self, at: usize, floor: usize) -> Option<Mark> {
        let (len, is_double, by_number) = match self.bytes.get(at..)? {
            [b'"', ..] => (1, true, false),
            [b'\'', ..] => (1, false, false),
            [b'u', b'0', b'0', b'2', b'2', ..] => (5, true, true),
            [b'u', b'0', b'0', b'2', b'7', ..] => (5, false, true),
            _ => return None,
        };
        let backslashes = self.backslashes_before(at, floor);
        // A single quote needs no backslash in JSON: those that it has are of the text in the string.
        let in_json = !is_double && !by_number && backslashes > 0 && self.in_string(at);
        let level = level(if in_json { backslashes / 2 } else { backslashes }, by_number)?;
        let own = if in_json { backslashes } else { backslashes % (2 << level.min(31)) };
        Some(Mark { range: at - own..at + len, level, is_double })
    }

    /// Whether this quote is the end of a string that began before, in a text that is JSON.
    pub fn ends_string(&self, mark: &Mark) -> bool {
        mark.is_double && mark.level == 0 && self.in_string(mark.range.start)
    }

    /// Whether this quote, behind what may be a name, is the end of a string rather than the beginning of a value: by what
    /// follows it, and by the quotes of its level before it.
    pub fn closes(&self, mark: &Mark) -> bool {
        if self.ends_string(mark) || mark.range.end == self.bytes.len() {
            return true;
        }
        let behind = &self.bytes[mark.range.end..];
        if !matches!(
            behind,
            [b' ' | b',' | b'}' | b']' | b')' | b';' | b'&' | b':' | b'\\' | b'\t' | b'\r' | b'\n' | b'"', ..]
        ) {
            return false;
        }
        let from = mark.range.start.saturating_sub(SEEN_BACK);
        let end = memchr::memrchr(b'\n', &self.bytes[from..mark.range.start]);
        let line = end.map_or(from, |end| from + end + 1);
        // So far back one is in a string rather than between two.
        let mut is_open = line == from && from > 0;
        for other in self.marks(line..mark.range.start) {
            if other.is_like(mark) {
                is_open = !is_open;
            } else if other.is_double && other.level < mark.level {
                // A string of another level began or ended, and none in it has begun.
                is_open = false;
            }
        }
        is_open
    }

    fn marks(&self, range: Range<usize>) -> impl Iterator<Item = Mark> {
        memchr::memchr3_iter(b'"', b'\'', b'u', &self.bytes[range.clone()])
            .filter_map(move |at| self.mark(range.start + at, range.start))
    }

    /// What is in the string that this quote begins: to its other quote, or where the string ends that it is in itself, or
    /// the text.
    pub fn string(&self, mark: &Mark) -> Range<usize> {
        let start = mark.range.end;
        // Quotes up to this level end the string around.
        let around = if mark.is_double {
            mark.level.checked_sub(1)
        } else {
            self.in_string(mark.range.start).then(|| self.level_at(mark.range.start))
        };
        let end = self
            .marks(start..self.bytes.len())
            .find(|other| {
                other.is_like(mark) || (other.is_double && around.is_some_and(|around| other.level <= around))
            })
            .map_or(self.bytes.len(), |other| other.range.start);
        start..end
    }

    /// Behind the object, list or tuple that begins here, whose strings have quotes of this level; the end of what there
    /// is of it, if it does not end.
    pub fn nested(&self, start: usize, level: u32) -> usize {
        let (mut at, mut open) = (start, 0usize);
        while let Some(&byte) = self.bytes.get(at) {
            match byte {
                b'{' | b'[' | b'(' => open += 1,
                b'}' | b']' | b')' => open -= 1,
                b'"' | b'\'' | b'\\' => {
                    if let Some(mark) = self.mark_at(at) {
                        if mark.is_double && mark.level < level || self.ends_string(&mark) {
                            return mark.range.start;
                        }
                        let end = self.string(&mark).end;
                        let closing = self.mark_at(end).filter(|other| other.is_like(&mark));
                        at = closing.map_or(end, |other| other.range.end);
                        continue;
                    }
                }
                _ => {}
            }
            at += 1;
            if open == 0 {
                return at;
            }
        }
        at
    }

    /// The level of the string that this place is in, as far as the last quote tells.
    pub fn level_at(&self, at: usize) -> u32 {
        // Up to where it is known it need not be looked for again: a text with many secrets is read once.
        let (known, level) = self.last.get();
        let from = if known <= at { known } else { at.saturating_sub(SEEN_BACK) };
        let seen = &self.bytes[from..at];
        let has_numbers = *self.has_numbers.get_or_init(|| memchr::memmem::find(self.bytes, b"u0022").is_some());
        let number = has_numbers.then(|| memchr::memmem::rfind(seen, b"u0022")).flatten();
        let quote = memchr::memrchr(b'"', seen).max(number);
        let level = quote.and_then(|quote| self.mark(from + quote, 0)).map_or(level, |mark| mark.level);
        self.last.set((at, level));
        level
    }

    /// The `\u0041` that this place is within, its digits at least.
    pub fn unicode_escape(&self, at: usize, floor: usize) -> Option<Range<usize>> {
        let is_escape =
            |escape: &[u8]| matches!(escape, [b'\\', b'u', digits @ ..] if digits.iter().all(u8::is_ascii_hexdigit));
        let starts = at.saturating_sub(5).max(floor)..at;
        starts.map(|start| start..start + 6).find(|escape| self.bytes.get(escape.clone()).is_some_and(is_escape))
    }

    /// Whether a word begins here: the `n` of `\n` and the digits of `\u0026` belong to no word, at any level.
    pub fn begins_word(&self, at: usize) -> bool {
        let Some(before) = at.checked_sub(1).map(|before| self.bytes[before]) else { return true };
        let is_escape = matches!(before, b'b' | b'f' | b'n' | b'r' | b't') && self.bytes[..at - 1].ends_with(b"\\");
        !(before.is_ascii_alphanumeric() || before == b'_')
            || is_escape
            || at
                .checked_sub(6)
                .is_some_and(|start| self.unicode_escape(at - 1, start).is_some_and(|escape| escape.end == at))
    }

    pub fn backslashes_from(&self, at: usize) -> usize {
        self.bytes[at..].iter().take_while(|byte| **byte == b'\\').count()
    }

    pub fn backslashes_before(&self, at: usize, floor: usize) -> usize {
        self.bytes[floor..at].iter().rev().take_while(|byte| **byte == b'\\').count()
    }
}

/// The level of a quote with so many backslashes before it, or before its number; `None` if it is no quote at any.
fn level(mut backslashes: usize, mut by_number: bool) -> Option<u32> {
    let mut level = 0;
    loop {
        match (by_number, backslashes % 2) {
            (false, 0) => return Some(level),
            (true, _) if backslashes == 0 => return None,
            (_, odd) => by_number &= odd == 0,
        }
        backslashes /= 2;
        level += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_how_often_a_text_is_read_as_a_string() {
        for (quote, expected) in [
            (r#"""#, Some(0)),
            (r#"\""#, Some(1)),
            (r#"\\""#, Some(0)),
            (r#"\\\""#, Some(2)),
            (r#"\\\\\""#, Some(1)),
            (r#"\\\\\\\""#, Some(3)),
            (r"\u0022", Some(1)),
            (r"\\u0022", Some(2)),
            (r"\\\u0022", Some(2)),
            (r"\\\\u0022", Some(3)),
            (r"u0022", None),
        ] {
            let text = Text::new(quote.as_bytes());
            assert_eq!(text.mark_at(0).map(|mark| mark.level), expected, "{quote}");
        }
    }

    #[test]
    fn a_place_is_in_a_string_by_the_quotes_before_it_of_json_alone() {
        let json = br#"{"a\"b":"c","d":["e\\"]}"#;
        let text = Text::new(json);
        let is_in = |at: usize| text.in_string(at);
        let forward: Vec<bool> = (0..json.len()).map(is_in).collect();
        let backward: Vec<bool> = (0..json.len()).rev().map(is_in).collect();
        assert!(forward.iter().eq(backward.iter().rev()));
        let inside: Vec<u8> = json.iter().zip(&forward).filter(|(_, is_in)| **is_in).map(|(byte, _)| *byte).collect();
        assert_eq!(std::str::from_utf8(&inside), Ok(r#"a\"b"c"d"e\\""#));
        assert!(!Text::new(br#"5" disk"#).in_string(4), "no JSON");
    }
}
