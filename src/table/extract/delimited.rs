//! Fields with a delimiter between them, quoted or not: as in RFC 4180, with any delimiter.
//!
//! Every byte of the message is in a field, or is a delimiter, a quote around one, or a line end behind the last.

use std::borrow::Cow;

use memchr::{memchr, memchr2, memchr3};

use super::super::cells::Span;
use super::super::convert::Lies;
use super::{Mismatch, Row, narrow};

/// What the fields of a message are.
#[derive(Clone, Debug)]
pub struct Delimited {
    pub delimiter: u8,
    pub quote: Option<u8>,
    /// Before a quote in a quoted field, where that may be doubled as well, and before another of itself.
    pub escape: Option<u8>,
    /// For each field of the message, in its order, the columns that it fills.
    pub fields: Vec<Vec<usize>>,
    /// How many of the last of them a message may end before, as those do that were written when a format had fewer.
    pub optional: usize,
    /// Whether a message may have more fields than these, which are in its `message` column only: as formats do that grow.
    pub more: bool,
}

/// Where a field stands in the message.
struct Field {
    start: usize,
    /// Where its quote closes, if it has one.
    close: Option<usize>,
    end: usize,
    /// Whether a quote or an escape in it stands for something else.
    is_escaped: bool,
}

impl Delimited {
    pub(super) fn read(&self, message: &str, row: &mut Row<'_>) -> Result<(), Mismatch> {
        let message = message.trim_end_matches(['\r', '\n']);
        let (mut at, mut found, mut bad) = (0, 0, None);
        loop {
            let field = self.field(message.as_bytes(), at, found)?;
            if bad.is_none()
                && let Some(columns) = self.fields.get(found)
            {
                bad = self.fill(columns, message, &field, row).err();
            }
            found += 1;
            if field.end == message.len() {
                break;
            }
            at = field.end + 1;
        }
        // That a message is of another format says more than that a value is.
        let (least, most) = (self.fields.len() - self.optional, self.fields.len());
        if found < least || (found > most && !self.more) {
            return Err(Mismatch::Fields { found, least, most });
        }
        bad.map_or(Ok(()), Err)
    }

    /// The field that begins at `start`, of which there are `before` others.
    fn field(&self, message: &[u8], start: usize, before: usize) -> Result<Field, Mismatch> {
        let Some(quote) = self.quote.filter(|quote| message.get(start) == Some(quote)) else {
            return Ok(Field { start, close: None, end: self.end(message, start)?, is_escaped: false });
        };
        let (mut at, mut is_escaped) = (start + 1, false);
        let close = loop {
            let rest = &message[at..];
            let next = match self.escape {
                Some(escape) => memchr2(quote, escape, rest),
                None => memchr(quote, rest),
            };
            at += next.ok_or(Mismatch::Unclosed { field: before + 1 })?;
            if self.is_pair(message, at, quote) {
                is_escaped = true;
                at += 2;
            } else if message[at] == quote {
                break at;
            } else {
                at += 1;
            }
        };
        Ok(Field { start, close: Some(close), end: self.end(message, close + 1)?, is_escaped })
    }

    /// Whether the byte here, a quote or an escape, and the next stand for that alone.
    fn is_pair(&self, message: &[u8], at: usize, quote: u8) -> bool {
        let is_escape = self.escape == Some(message[at]);
        message.get(at + 1).is_some_and(|next| *next == message[at] || (is_escape && *next == quote))
    }

    /// Where a field ends that is not in quotes here.
    fn end(&self, message: &[u8], at: usize) -> Result<usize, Mismatch> {
        match memchr3(self.delimiter, b'\n', b'\r', &message[at..]) {
            None => Ok(message.len()),
            Some(next) if message[at + next] == self.delimiter => Ok(at + next),
            Some(_) => Err(Mismatch::Lines),
        }
    }

    fn fill(&self, columns: &[usize], message: &str, field: &Field, row: &mut Row<'_>) -> Result<(), Mismatch> {
        if columns.is_empty() {
            return Ok(());
        }
        let text = self.text(message, field);
        let lies = match &text {
            Cow::Borrowed(text) => {
                let at = text.as_ptr() as usize - message.as_ptr() as usize;
                Lies::InMessage(Span { at: narrow(at), len: narrow(text.len()) })
            }
            Cow::Owned(text) => row.keep(text),
        };
        columns.iter().try_for_each(|column| row.text(*column, &text, lies))
    }

    /// A field's text, copied only if that is not how it stands in the message. It is cut at ASCII.
    fn text<'m>(&self, message: &'m str, field: &Field) -> Cow<'m, str> {
        let Some((close, quote)) = field.close.zip(self.quote) else {
            return Cow::Borrowed(&message[field.start..field.end]);
        };
        let (quoted, behind) = (&message[field.start + 1..close], &message[close + 1..field.end]);
        if !field.is_escaped && behind.is_empty() {
            return Cow::Borrowed(quoted);
        }
        let mut text = String::with_capacity(quoted.len() + behind.len());
        let (mut from, mut at) = (0, 0);
        let bytes = quoted.as_bytes();
        while at < bytes.len() {
            let is_special = bytes[at] == quote || self.escape == Some(bytes[at]);
            if is_special && self.is_pair(bytes, at, quote) {
                text.push_str(&quoted[from..at]);
                from = at + 1;
                at += 1;
            }
            at += 1;
        }
        text.push_str(&quoted[from..]);
        text.push_str(behind);
        Cow::Owned(text)
    }
}
