//! What is replaced: where the value of a name begins and ends, in JSON and in pairs.
//!
//! Where it can't be told, rather too much is taken than too little.

use std::borrow::Cow;
use std::ops::Range;

use super::text::{Mark, Text};

/// Words before the secret proper, one word more: `authorization=Bearer abc`.
/// <https://www.iana.org/assignments/http-authschemes/http-authschemes.xhtml>, and some that are not there.
const SCHEMES: [&[u8]; 13] = [
    b"bearer",
    b"basic",
    b"token",
    b"apikey",
    b"api-key",
    b"key",
    b"negotiate",
    b"ntlm",
    b"dpop",
    b"gnap",
    b"privatetoken",
    b"ssws",
    b"splunk",
];
/// Words before a list of parameters, some of them secret.
const LISTS: [&[u8]; 12] = [
    b"digest",
    b"aws4-hmac-sha256",
    b"aws4-ecdsa-p256-sha256",
    b"oauth",
    b"hawk",
    b"hoba",
    b"mutual",
    b"signature",
    b"scram-sha-1",
    b"scram-sha-256",
    b"vapid",
    b"concealed",
];
/// What a pair's value ends at.
const ENDS: &[u8] = b" \t\r\n&;,\"\\";
/// Bytes of a number, and of a word that may be the name of a scheme, at most.
const LONGEST_WORD: usize = 64;

/// A part of a text that is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    pub range: Range<usize>,
    pub quote: Quote,
}

/// What the replacement is put into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Quote {
    /// Nothing: it stands in quotes already, or has none.
    Bare {
        /// Of the string that it is in, if it is in one.
        level: Option<u32>,
    },
    /// Quotes as the name's: the value was no string.
    AsName(Range<usize>),
    /// Quotes without backslashes.
    Double,
}

impl Quote {
    /// What is put before and behind.
    pub fn mark<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        match self {
            Self::Bare { .. } => b"",
            Self::AsName(range) => &text[range.clone()],
            Self::Double => b"\"",
        }
    }

    /// The value without escapes, so that it hashes alike wherever it stands.
    pub fn plain<'v>(&self, value: &'v [u8]) -> Cow<'v, [u8]> {
        let Self::Bare { level: Some(level) } = self else { return Cow::Borrowed(value) };
        let mut plain = Cow::Borrowed(value);
        for _ in 0..=*level {
            if !plain.contains(&b'\\') {
                break;
            }
            let quoted = [b"\"", &plain[..], b"\""].concat();
            match serde_json::from_slice::<String>(&quoted) {
                Ok(text) => plain = Cow::Owned(text.into_bytes()),
                Err(_) => break,
            }
        }
        plain
    }
}

/// The value behind the name of a member and its colon, which are at `name`; `None` for `null`, and where none is.
pub fn of_member(text: &Text<'_>, name: Range<usize>) -> Option<Value> {
    let opening = text.mark_at(name.start)?;
    let is_mark = |byte: &u8| matches!(byte, b'\\' | b'"' | b'\'');
    let closing = text.bytes[opening.range.end..].iter().position(is_mark)?;
    let closing = text.mark_at(opening.range.end + closing)?;
    let at = name.end;
    if let Some(mark) = string_at(text, at, |mark| text.ends_string(mark)) {
        return Some(in_quotes(text, &mark));
    }
    let nested = |at| text.nested(at, closing.level);
    let end = match text.bytes.get(at) {
        Some(b'{' | b'[' | b'(') => nested(at),
        // `Binary("…")`
        _ => match end_of_token(text.bytes, at, b",}] \t\r\n\\\"'(") {
            end if text.bytes.get(end) == Some(&b'(') => nested(end),
            end => end,
        },
    };
    let is_value = end > at && !matches!(&text.bytes[at..end], b"null" | b"None");
    is_value.then_some(Value { range: at..end, quote: Quote::AsName(closing.range) })
}

/// The value behind `name=`, which is at `name`.
pub fn of_pair(text: &Text<'_>, name: Range<usize>) -> Option<Value> {
    let at = name.end;
    let bytes = text.bytes;
    if let Some(mark) = string_at(text, at, |mark| text.closes(mark)) {
        return Some(in_quotes(text, &mark));
    }
    // The end of a request: nothing was behind the name.
    if bytes[name.clone()].ends_with(b" ") && bytes[at..].starts_with(b"HTTP/") {
        return None;
    }
    let found = bytes[name].to_ascii_lowercase();
    let is_called = |end: &[u8]| memchr::memmem::find(&found, end).is_some();
    if is_called(b"cookie") {
        // Of several, each with its value.
        return bare_value(at..end_of_line(text, at));
    }
    let from = match bytes.get(at) {
        Some(b'{' | b'[') => text.nested(at, text.level_at(at)),
        _ => at,
    };
    let mut end = end_of_pair(text, from);
    let is_one_of = |words: &[&[u8]]| words.iter().any(|word| bytes[at..end].eq_ignore_ascii_case(word));
    if is_one_of(&LISTS) {
        return bare_value(at..end_of_line(text, end));
    }
    let next = end + bytes[end..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let next = next..end_of_pair(text, next);
    if is_one_of(&SCHEMES) || (is_called(b"authorization") && is_scheme(&bytes[at..end], &bytes[next.clone()])) {
        end = next.end;
    }
    bare_value(at..without_closers(bytes, at..end))
}

/// Whether a word is the scheme of another behind it, as far as both tell.
fn is_scheme(word: &[u8], next: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_".contains(byte);
    let is_pair = || {
        let name = next.iter().take_while(|byte| is_part(byte)).count();
        name > 0 && next[name..].starts_with(b"=") && next[name..].iter().any(|byte| *byte != b'=')
    };
    word.len() <= LONGEST_WORD && word.iter().all(is_part) && !is_pair()
}

fn bare_value(range: Range<usize>) -> Option<Value> {
    (!range.is_empty()).then_some(Value { range, quote: Quote::Bare { level: None } })
}

/// The quote of a string that begins here, behind a prefix such as Python's `b` where there is one; `is_end` says of a quote
/// that the string around ends with it.
fn string_at(text: &Text<'_>, at: usize, is_end: impl Fn(&Mark) -> bool) -> Option<Mark> {
    let is_prefix = |byte: &&u8| b"bBfFrRuU".contains(byte);
    let prefix = text.bytes[at..].iter().take(2).take_while(is_prefix).count();
    // Not with backslashes before it that are part of a value.
    let mark_at = |at| text.mark_at(at).filter(|mark| mark.range.start == at);
    mark_at(at).filter(|mark| !is_end(mark)).or_else(|| mark_at(at + prefix).filter(|mark| !text.closes(mark)))
}

fn in_quotes(text: &Text<'_>, mark: &Mark) -> Value {
    Value { range: text.string(mark), quote: Quote::Bare { level: Some(mark.level) } }
}

/// A secret as an expression found it, but for escapes that it begins or ends within; `None` when nothing else of it is
/// left. `floor`: what comes before belongs to another.
pub fn bare(text: &Text<'_>, found: Range<usize>, floor: usize) -> Option<Value> {
    let Range { mut start, mut end } = found;
    let level = text.level_at(start);
    // So many backslashes are one in the string.
    let one = 1 << level.min(31);
    // The outermost string is not broken, even if the last quote was of one that is in it.
    let is_escape = |backslashes: usize| backslashes % 2 == 1 || backslashes / one % 2 == 1;
    if let Some(escape) = text.unicode_escape(start, floor) {
        start = escape.end;
    } else if is_escape(text.backslashes_before(start, floor)) && text.bytes[start].is_ascii() {
        // The n of `\n` is no letter. (What is not ASCII is no escape, and has more bytes.)
        start += 1;
    }
    if let Some(escape) = text.unicode_escape(end, start) {
        end = escape.end;
    } else if start < end {
        end -= text.backslashes_before(end, start) % (2 * one);
    }
    if start >= end {
        return None;
    }
    let range = start..end;
    Some(literal(text, &range).unwrap_or(Value { range, quote: Quote::Bare { level: Some(level) } }))
}

/// The number that a secret is or is a part of, where it is a value of JSON by itself: it needs quotes then.
fn literal(text: &Text<'_>, found: &Range<usize>) -> Option<Value> {
    let bytes = text.bytes;
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.".contains(byte);
    if !bytes[found.clone()].iter().all(is_part) {
        return None;
    }
    let before = bytes[..found.start].iter().rev().take(LONGEST_WORD).take_while(|byte| is_part(byte)).count();
    let behind = bytes[found.end..].iter().take(LONGEST_WORD).take_while(|byte| is_part(byte)).count();
    let (start, end) = (found.start - before, found.end + behind);
    if before.max(behind) == LONGEST_WORD || !bytes.get(end).is_none_or(|byte| b",]} \t\r\n\\".contains(byte)) {
        return None;
    }
    let range = start..end;
    if text.is_json() && !text.in_string(start) {
        return Some(Value { range, quote: Quote::Double });
    }
    // In JSON that is a string or cut off, what stands before it has to tell.
    let before = bytes[..start].trim_ascii_end().strip_suffix(b":")?;
    let name = text.mark_before(before.trim_ascii_end().len())?;
    let is_number = bytes[range.clone()].iter().all(u8::is_ascii_digit);
    let is_name = name.level > 0 || !text.is_json();
    (is_number && is_name).then_some(Value { range, quote: Quote::AsName(name.range) })
}

/// The end of a pair's value that has no quotes around it: a quote in it ends it where it ends the string around, and an
/// escape where it stands for such an end.
fn end_of_pair(text: &Text<'_>, at: usize) -> usize {
    let mut end = at;
    let mut level = None;
    loop {
        end = end_of_token(text.bytes, end, ENDS);
        let backslashes = text.backslashes_from(end);
        let literal = backslashes - backslashes % (2 << *level.get_or_insert_with(|| text.level_at(at).min(31)));
        let (escape, rest) = (end + literal, &text.bytes[end + backslashes..]);
        end += match rest {
            [b'"', ..] => match text.mark_at(end) {
                Some(mark) if text.closes(&mark) => return mark.range.start,
                _ => backslashes + 1,
            },
            _ if backslashes == 0 => return end,
            _ if literal == backslashes => literal,
            [] | [b'\'', ..] => return escape,
            // In what is no JSON a backslash is one.
            [b'n' | b'r' | b't' | b'b' | b'f', ..] if text.is_json() => return escape,
            [b'u', digits @ ..] => match is_part_of_value(digits) {
                Some(true) => backslashes + 5,
                Some(false) => return escape,
                None => backslashes,
            },
            // A slash, or no escape of JSON at all.
            _ => backslashes,
        };
    }
}

/// Of four hexadecimal digits, whether their character ends no value.
fn is_part_of_value(digits: &[u8]) -> Option<bool> {
    let digits = digits.get(..4).and_then(|digits| std::str::from_utf8(digits).ok())?;
    let number = u32::from_str_radix(digits, 16).ok()?;
    Some(u8::try_from(number).map_or(true, |byte| byte > b' ' && !ENDS.contains(&byte)))
}

/// Where the line ends, or its string.
fn end_of_line(text: &Text<'_>, at: usize) -> usize {
    let around = text.in_string(at).then(|| text.level_at(at));
    let bytes = text.bytes;
    let mut end = at;
    while let Some(byte) = bytes.get(end) {
        match byte {
            b'\r' | b'\n' => break,
            b'"' | b'\\' => {
                let backslashes = text.backslashes_from(end);
                let mark = text.mark_at(end);
                let ends = mark
                    .as_ref()
                    .is_some_and(|mark| mark.is_double && around.is_some_and(|around| mark.level <= around));
                let is_line_end = backslashes % 2 == 1 && matches!(bytes.get(end + backslashes), Some(b'n' | b'r'));
                if ends || is_line_end {
                    return mark.map_or(end + backslashes - 1, |mark| mark.range.start);
                }
                end = mark.map_or(end + backslashes.max(1), |mark| mark.range.end);
            }
            _ => end += 1,
        }
    }
    end
}

/// Without what closes something that began before the value: `{a=b, password=c}`, `'password=c'`.
fn without_closers(text: &[u8], range: Range<usize>) -> usize {
    const PAIRS: [[u8; 2]; 4] = [*b"()", *b"[]", *b"{}", *b"<>"];
    let count = |byte: u8| text[range.clone()].iter().filter(|other| **other == byte).count();
    let mut unopened = PAIRS.map(|[open, close]| count(close).saturating_sub(count(open)));
    let mut unpaired = count(b'\'') % 2;
    let mut end = range.end;
    while end > range.start {
        let left = match PAIRS.iter().position(|[_, close]| *close == text[end - 1]) {
            Some(pair) => &mut unopened[pair],
            None if text[end - 1] == b'\'' => &mut unpaired,
            None => break,
        };
        let Some(less) = left.checked_sub(1) else { break };
        *left = less;
        end -= 1;
    }
    end
}

fn end_of_token(text: &[u8], at: usize, ends: &[u8]) -> usize {
    text[at..].iter().position(|byte| ends.contains(byte)).map_or(text.len(), |len| at + len)
}
