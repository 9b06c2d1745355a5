//! What is replaced: where the value of a name begins and ends, in JSON, in JSON that is a string in other JSON, and in
//! pairs.
//!
//! JSON in a string in JSON has each quote behind a backslash, one in a string in that behind three, and so on: so many
//! stand before every quote of that depth, and a quote inside a string there has more.

use std::borrow::Cow;
use std::ops::Range;

/// Words before the secret proper: `authorization=Bearer abc`.
const SCHEMES: [&[u8]; 4] = [b"bearer", b"basic", b"digest", b"token"];

/// How far back a quote is looked for.
const SEEN_BACK: usize = 4096;

/// A part of a text that is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    pub range: Range<usize>,
    pub quote: Quote,
}

/// What the replacement is put into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quote {
    /// Nothing: it stands in quotes already, or has none.
    Bare {
        /// Backslashes before a quote, if the value is a JSON string.
        depth: Option<usize>,
    },
    /// So many backslashes and a quote: the value was no string.
    Add { depth: usize, quote: u8 },
}

impl Quote {
    pub fn open(self, out: &mut Vec<u8>) {
        if let Self::Add { depth, quote } = self {
            out.extend(std::iter::repeat_n(b'\\', depth));
            out.push(quote);
        }
    }

    pub fn close(self, out: &mut Vec<u8>) {
        self.open(out);
    }

    /// The value without escapes, so that it hashes alike wherever it stands.
    pub fn plain(self, value: &[u8]) -> Cow<'_, [u8]> {
        let Self::Bare { depth: Some(depth) } = self else { return Cow::Borrowed(value) };
        let mut plain = Cow::Borrowed(value);
        // Each depth is a string of its own: 0, 1, 3, 7 backslashes.
        for _ in 0..=(depth + 1).ilog2() {
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
pub fn of_member(text: &[u8], name: Range<usize>) -> Option<Value> {
    let depth = backslashes_from(text, name.start);
    let quote = text[name.start + depth];
    let at = name.end;
    let value = match string(text, at, depth) {
        Some(string) => return Some(string),
        None if matches!(text.get(at), Some(b'{' | b'[')) => at..skip_nested(text, at, depth),
        None => at..end_of_token(text, at, b",}] \t\r\n\\\"'"),
    };
    let is_value = !value.is_empty() && text[value.clone()] != *b"null";
    is_value.then_some(Value { range: value, quote: Quote::Add { depth, quote } })
}

/// The value behind `name=`.
pub fn of_pair(text: &[u8], at: usize) -> Option<Value> {
    if let Some(string) = string(text, at, backslashes_from(text, at)) {
        return Some(string);
    }
    const ENDS: &[u8] = b" \t\r\n&;,\"'<>(){}[]|\\";
    let mut end = end_of_pair(text, at, ENDS);
    if SCHEMES.iter().any(|scheme| text[at..end].eq_ignore_ascii_case(scheme)) {
        let next = end + text[end..].iter().take_while(|byte| **byte == b' ').count();
        end = end_of_pair(text, next, ENDS);
    }
    (end > at).then_some(Value { range: at..end, quote: Quote::Bare { depth: None } })
}

/// A secret as an expression found it, but for escapes that it begins or ends within; `None` when nothing else of it is
/// left. `floor`: what comes before belongs to another.
pub fn bare(text: &[u8], found: Range<usize>, floor: usize) -> Option<Value> {
    let Range { mut start, mut end } = found;
    let depth = depth_at(text, start);
    if let Some(escape) = unicode_escape(text, start, floor) {
        start = escape.end;
    } else if backslashes_before(text, start, floor) / (depth + 1) % 2 == 1 && text[start].is_ascii() {
        // The n of `\n` is no letter. (What is not ASCII is no escape, and has more bytes.)
        start += 1;
    }
    if let Some(escape) = unicode_escape(text, end, start) {
        end = escape.end;
    } else if start < end {
        end -= backslashes_before(text, end, start) % (2 * (depth + 1));
    }
    let range = start..end;
    let quote = of_number(text, &range).unwrap_or(Quote::Bare { depth: Some(depth) });
    (start < end).then_some(Value { range, quote })
}

/// The quotes that a number needs which is the whole value of a member of JSON.
fn of_number(text: &[u8], number: &Range<usize>) -> Option<Quote> {
    let behind = text.get(number.end).is_none_or(|byte| b",} \t\r\n\\".contains(byte));
    if !behind || !text[number.clone()].iter().all(u8::is_ascii_digit) {
        return None;
    }
    let before = text[..number.start].trim_ascii_end().strip_suffix(b":")?.trim_ascii_end();
    let (quote, name) = before.split_last().filter(|(quote, _)| matches!(quote, b'"' | b'\''))?;
    Some(Quote::Add { depth: backslashes_before(name, name.len(), name.len().saturating_sub(64)), quote: *quote })
}

/// The `\u0041` that this place is within, its digits at least.
fn unicode_escape(text: &[u8], at: usize, floor: usize) -> Option<Range<usize>> {
    let is_escape =
        |escape: &[u8]| matches!(escape, [b'\\', b'u', digits @ ..] if digits.iter().all(u8::is_ascii_hexdigit));
    let starts = at.saturating_sub(5).max(floor)..at;
    starts.map(|start| start..start + 6).find(|escape| text.get(escape.clone()).is_some_and(is_escape))
}

/// Whether a word begins here: the `n` of `\n` and the digits of `\u0026` belong to no word, at any depth.
pub fn begins_word(text: &[u8], at: usize) -> bool {
    let Some(before) = at.checked_sub(1).map(|before| text[before]) else { return true };
    let is_escape = matches!(before, b'b' | b'f' | b'n' | b'r' | b't') && text[..at - 1].ends_with(b"\\");
    !(before.is_ascii_alphanumeric() || before == b'_')
        || is_escape
        || at
            .checked_sub(6)
            .is_some_and(|start| unicode_escape(text, at - 1, start).is_some_and(|escape| escape.end == at))
}

/// How many backslashes are before the quotes of the string that this place is in, as far as the last quote tells.
fn depth_at(text: &[u8], at: usize) -> usize {
    let seen = &text[at.saturating_sub(SEEN_BACK)..at];
    let quote = memchr::memrchr(b'"', seen).map_or(0, |quote| backslashes_before(seen, quote, 0));
    // Quotes of strings have 0, 1, 3, 7 before them; what lies between is a quote within a string.
    (quote + 1).next_power_of_two() - 1
}

/// What is between the quotes of a string that begins here; to the end of the text if it does not end.
fn string(text: &[u8], at: usize, depth: usize) -> Option<Value> {
    let quote = *text.get(at + depth)?;
    if backslashes_from(text, at) != depth || !matches!(quote, b'"' | b'\'') {
        return None;
    }
    let range = at + depth + 1..close(text, at + depth + 1, depth, quote);
    Some(Value { range, quote: Quote::Bare { depth: Some(depth) } })
}

/// Where the closing quote of this depth is, with its backslashes; the end of the text if there is none.
fn close(text: &[u8], start: usize, depth: usize, quote: u8) -> usize {
    memchr::memchr_iter(quote, &text[start..])
        .map(|at| start + at)
        .find(|at| backslashes_before(text, *at, start) % (2 * (depth + 1)) == depth)
        .map_or(text.len(), |at| at - depth)
}

/// Behind the object or list that begins here; the end of the text if it does not end.
fn skip_nested(text: &[u8], start: usize, depth: usize) -> usize {
    let (mut at, mut open) = (start, 0usize);
    while let Some(&byte) = text.get(at) {
        match byte {
            b'{' | b'[' => open += 1,
            b'}' | b']' => open -= 1,
            b'"' => {
                at = close(text, at + 1, depth, byte) + depth;
            }
            _ => {}
        }
        at += 1;
        if open == 0 {
            return at;
        }
    }
    text.len()
}

/// The same, but for escapes that end nothing: `\/`, and characters by their number that are neither quotes nor the like.
fn end_of_pair(text: &[u8], at: usize, ends: &[u8]) -> usize {
    let mut end = at;
    loop {
        end = end_of_token(text, end, ends);
        let escape = backslashes_from(text, end);
        let rest = &text[end + escape..];
        end += match rest {
            [b'/', ..] if escape > 0 => escape + 1,
            [b'u', digits @ ..] if escape > 0 && is_part_of_value(digits, ends) => escape + 5,
            _ => return end,
        };
    }
}

/// Four hexadecimal digits of a character that ends no value.
fn is_part_of_value(digits: &[u8], ends: &[u8]) -> bool {
    let digits = digits.get(..4).and_then(|digits| std::str::from_utf8(digits).ok());
    let number = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
    number.is_some_and(|number| u8::try_from(number).map_or(true, |byte| byte > b' ' && !ends.contains(&byte)))
}

fn end_of_token(text: &[u8], at: usize, ends: &[u8]) -> usize {
    text[at..].iter().position(|byte| ends.contains(byte)).map_or(text.len(), |len| at + len)
}

fn backslashes_from(text: &[u8], at: usize) -> usize {
    text[at..].iter().take_while(|byte| **byte == b'\\').count()
}

fn backslashes_before(text: &[u8], at: usize, floor: usize) -> usize {
    text[floor..at].iter().rev().take_while(|byte| **byte == b'\\').count()
}
