//! What commands print: columns for a person, JSON for a program. Colours are for terminals, and for those who do not
//! refuse them (`NO_COLOR`, <https://no-color.org>).

use std::io::{ErrorKind, Write};

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use serde::Serialize;

use super::Failure;
use crate::inspect::shown::escaped_json;

/// In what form a command prints what it found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// For a person
    #[default]
    Text,
    /// One JSON document
    Json,
}

pub const GOOD: Style = AnsiColor::Green.on_default();
pub const POOR: Style = AnsiColor::Yellow.on_default();
pub const BAD: Style = AnsiColor::Red.on_default().bold();
const HEAD: Style = Style::new().bold();

/// Writes to standard output. Colours go where they are wanted only.
pub fn print(text: &str) -> Result<(), Failure> {
    unless_closed(anstream::stdout().lock().write_all(text.as_bytes())).map(drop)
}

/// Writes one JSON document, and an end of line. Nothing in it can steer a terminal.
pub fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).expect("plain values are always JSON");
    print(&format!("{}\n", escaped_json(&text)))
}

/// `None` when the reader of standard output has gone: it has seen enough, which is no failure.
pub fn unless_closed<T>(written: std::io::Result<T>) -> Result<Option<T>, Failure> {
    match written {
        Ok(written) => Ok(Some(written)),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(None),
        Err(error) => Err(Failure::fatal(format!("standard output can't be written: {error}"))),
    }
}

/// A text in a style.
pub fn painted(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// `1 object`, `2 objects`.
pub fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// A cell of a [`table`].
#[derive(Clone, Debug, Default)]
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub fn painted(style: Style, text: impl Into<String>) -> Self {
        Self { text: text.into(), style }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.into(), style: Style::new() }
    }
}

/// A column of a [`table`].
#[derive(Clone, Copy, Debug)]
pub struct Column {
    head: &'static str,
    right: bool,
    /// A wider cell pushes what is right of it further, instead of all the others.
    widest: usize,
}

impl Column {
    pub const fn left(head: &'static str) -> Self {
        Self { head, right: false, widest: usize::MAX }
    }

    /// For numbers.
    pub const fn right(head: &'static str) -> Self {
        Self { head, right: true, widest: usize::MAX }
    }

    pub const fn at_most(mut self, widest: usize) -> Self {
        self.widest = widest;
        self
    }
}

/// Rows below their heads, each column as wide as its widest cell; each row ends with an end of line.
pub fn table<const N: usize>(columns: [Column; N], rows: impl IntoIterator<Item = [Cell; N]>) -> String {
    let heads = columns.map(|column| Cell::painted(HEAD, column.head));
    let rows: Vec<_> = std::iter::once(heads).chain(rows).collect();
    let width = |at: usize| rows.iter().map(|row: &[Cell; N]| row[at].text.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = columns.iter().enumerate().map(|(at, column)| width(at).min(column.widest)).collect();
    let mut text = String::new();
    for row in &rows {
        for (at, Cell { text: cell, style }) in row.iter().enumerate() {
            let pad = " ".repeat(widths[at].saturating_sub(cell.chars().count()));
            let cell = if style.is_plain() { cell.clone() } else { painted(*style, cell) };
            let last = at + 1 == N;
            match (columns[at].right, last) {
                (true, _) => text.extend([pad.as_str(), &cell]),
                (false, true) => text.push_str(&cell),
                (false, false) => text.extend([cell.as_str(), &pad]),
            }
            text.push_str(if last { "\n" } else { "  " });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_colours_take_no_room() {
        let columns = [Column::left("name").at_most(5), Column::right("rows"), Column::left("what")];
        let rows = [
            ["a".into(), "12345".into(), Cell::painted(GOOD, "ok")],
            [Cell::painted(BAD, "too long"), "7".into(), "x".into()],
        ];
        let text = anstream::adapter::strip_str(&table(columns, rows)).to_string();
        assert_eq!(text, "name    rows  what\na      12345  ok\ntoo long      7  x\n");
    }
}
