//! Fields with a delimiter between them, quoted or not: as in RFC 4180, with any delimiter.

use std::fmt;

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use super::{Mismatch, Row};

/// What the fields of a message are.
#[derive(Clone, Debug)]
pub struct Delimited {
    pub delimiter: u8,
    pub quote: Option<u8>,
    /// For each field of the message, in its order, the columns that it fills.
    pub fields: Vec<Vec<usize>>,
    /// Whether a message may have more fields than these, which are in its `message` column only: as formats do that grow.
    pub more: bool,
}

/// Bytes of memory that are kept for further messages.
const KEPT: usize = 1 << 20;

/// Working memory of one thread.
#[derive(Default)]
pub struct Scratch {
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch").finish_non_exhaustive()
    }
}

impl Delimited {
    fn reader(&self) -> Reader {
        let mut builder = ReaderBuilder::new();
        builder.delimiter(self.delimiter).quoting(self.quote.is_some());
        if let Some(quote) = self.quote {
            // A quote in a quoted field is doubled, or behind a backslash.
            builder.quote(quote).escape(Some(b'\\')).double_quote(true);
        }
        builder.build()
    }

    pub(super) fn read(&self, scratch: &mut Scratch, message: &str, row: &mut Row<'_>) -> Result<(), Mismatch> {
        let Scratch { text, ends } = scratch;
        let message = message.strip_suffix('\n').unwrap_or(message);
        // Unquoted it is shorter. One field more than there should be is enough to know that there are too many.
        text.resize(text.len().max(message.len()), 0);
        text.shrink_to(KEPT.max(message.len()));
        ends.resize(self.fields.len() + 2, 0);
        let mut reader = self.reader();
        let (result, read, written, mut count) = reader.read_record(message.as_bytes(), text, ends);
        if result == ReadRecordResult::InputEmpty {
            // Told so, it ends the record.
            let (_, _, _, last) = reader.read_record(&[], &mut text[written..], &mut ends[count..]);
            count += last;
        } else if result == ReadRecordResult::Record && read < message.len() {
            return Err(Mismatch::Lines);
        }
        if count < self.fields.len() || (count > self.fields.len() && !self.more) {
            return Err(Mismatch::Fields { found: count, wanted: self.fields.len() });
        }
        let mut start = 0;
        for (columns, end) in self.fields.iter().zip(&*ends) {
            // Cut at delimiters and quotes, which are ASCII.
            let field = std::str::from_utf8(&text[start..*end]).expect("it is cut at ASCII");
            for column in columns {
                let kept = row.keep(field);
                row.text(*column, field, kept)?;
            }
            start = *end;
        }
        Ok(())
    }
}
