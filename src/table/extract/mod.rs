//! Takes the values of a row out of a message: by JSON, by delimiters, or by regular expressions.
//!
//! Invariant: a message makes all its values or a [`Mismatch`]; none becomes null by being wrong. No bytes make it
//! panic. Absent on purpose: what becomes of a message that does not match.

mod delimited;
mod grok;
mod json;
mod pattern;
#[cfg(test)]
mod tests;

use std::fmt;

pub use self::delimited::Delimited;
pub use self::grok::Grok;
pub use self::json::{Json, Place};
pub use self::pattern::Patterns;

use super::cells::{self, Slot, Span};
use super::convert::{BadValue, Conversion, Lies};

/// How messages become rows.
#[derive(Debug)]
pub struct Extractor {
    pub parser: Parser,
    /// The columns that it fills, in the order of their cells.
    pub targets: Vec<Target>,
}

#[derive(Debug)]
pub enum Parser {
    Json(Json),
    Delimited(Delimited),
    Patterns(Patterns),
}

/// A column that is filled from the message.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    pub column: String,
    pub required: bool,
    pub conversion: Conversion,
}

/// Why a message is no row of the table: a sentence for a person, with a part of the value at most.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    #[error("the message is not a JSON object")]
    NoObject,
    #[error("the message has {found} fields, of {}", range(*least, *most))]
    Fields { found: usize, least: usize, most: usize },
    #[error("the message has more than one line")]
    Lines,
    #[error("the quote that field {field} begins with is not closed")]
    Unclosed { field: usize },
    #[error("the message does not match {0}")]
    NoMatch(&'static str),
    #[error("the message takes too long to match {0}")]
    TooLong(&'static str),
    #[error("{member}: {shown} is no object")]
    Member { member: String, shown: String },
    #[error("{column}: {shown} {why}")]
    Value { column: String, shown: String, why: BadValue },
    #[error("{column}: there is no value, and it is required")]
    Missing { column: String },
}

/// `25 to 33`, or one number.
fn range(least: usize, most: usize) -> String {
    if least == most { most.to_string() } else { format!("{least} to {most}") }
}

/// Working memory of one thread.
#[derive(Debug, Default)]
pub struct Scratch {
    slots: Vec<Slot>,
    /// Texts that are not in the message as they are.
    arena: Vec<u8>,
    found: Vec<json::Found>,
}

/// Bytes of the arena that are kept for further messages: more than nearly all need.
const KEPT: usize = 1 << 20;

impl Extractor {
    /// How messages are read, in a word.
    pub fn kind(&self) -> &'static str {
        match &self.parser {
            Parser::Json(_) => "json",
            Parser::Delimited(_) => "delimited",
            Parser::Patterns(Patterns::Regex(_)) => "regex",
            Parser::Patterns(Patterns::Grok(_)) => "grok",
        }
    }

    /// Appends the cells of a message to `cells`; nothing when it does not match.
    pub fn extract(&self, scratch: &mut Scratch, message: &str, cells: &mut Vec<u8>) -> Result<(), Mismatch> {
        let result = self.read(scratch, message);
        if result.is_ok() {
            scratch.slots.iter().for_each(|slot| cells::write(*slot, &scratch.arena, cells));
        }
        // One huge message should not hold memory for ever.
        scratch.arena.clear();
        scratch.arena.shrink_to(KEPT);
        result
    }

    /// Fills the slots, of which all columns have one.
    fn read(&self, scratch: &mut Scratch, message: &str) -> Result<(), Mismatch> {
        let Scratch { slots, arena, found } = scratch;
        slots.clear();
        slots.resize(self.targets.len(), Slot::Null);
        let mut row = Row { targets: &self.targets, slots, arena };
        match &self.parser {
            Parser::Json(json) => json.read(found, message, &mut row)?,
            Parser::Delimited(fields) => fields.read(message, &mut row)?,
            Parser::Patterns(patterns) => patterns.read(message, &mut row)?,
        }
        let missing = self.targets.iter().zip(slots).find(|(target, slot)| target.required && **slot == Slot::Null);
        match missing {
            Some((target, _)) => Err(Mismatch::Missing { column: target.column.clone() }),
            None => Ok(()),
        }
    }
}

/// The row that is being filled.
struct Row<'r> {
    targets: &'r [Target],
    slots: &'r mut Vec<Slot>,
    arena: &'r mut Vec<u8>,
}

impl Row<'_> {
    /// Fills a column from a text, which is not copied when it lies in the message.
    fn text(&mut self, target: usize, text: &str, lies: Lies) -> Result<(), Mismatch> {
        let Target { column, conversion, .. } = &self.targets[target];
        self.slots[target] = match conversion.is_absent(text) {
            true => Slot::Null,
            false => conversion.text(text, lies, self.arena).map_err(|why| bad_value(column, text, why))?,
        };
        Ok(())
    }

    /// Copies a text to where it can be pointed at.
    fn keep(&mut self, text: &str) -> Lies {
        let at = self.arena.len();
        self.arena.extend_from_slice(text.as_bytes());
        Lies::InArena(Span { at: narrow(at), len: narrow(text.len()) })
    }
}

fn bad_value(column: &str, text: &str, why: BadValue) -> Mismatch {
    Mismatch::Value { column: column.to_owned(), shown: Shown(text).to_string(), why }
}

fn narrow(len: usize) -> u32 {
    u32::try_from(len).expect("a message has less than 4 GiB")
}

/// The beginning of a value in quotes, escaped.
struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 40;
        let end = self.0.char_indices().nth(MOST).map_or(self.0.len(), |(at, _)| at);
        write!(f, "\"{}\"{}", self.0[..end].escape_debug(), if end < self.0.len() { "…" } else { "" })
    }
}
