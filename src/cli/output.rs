//! What commands print: columns for a person, JSON for a program. Colours are for terminals, and for those who do not
//! refuse them (`NO_COLOR`, <https://no-color.org>).

use std::io::{ErrorKind, IsTerminal, Write};

use anstyle::{AnsiColor, Style};
use clap::ValueEnum;
use serde::Serialize;

use super::Failure;
use crate::inspect::shown::{escaped, escaped_json};

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
pub const FAINT: Style = Style::new().dimmed();
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

/// Writes a text in the place of the one before: on a terminal the screen is cleared first, colours or not. Elsewhere it
/// stands below that, between a heading and an empty line.
pub fn print_anew(heading: &str, text: &str) -> Result<(), Failure> {
    // A terminal of this kind knows no control sequences.
    let is_dumb = std::env::var_os("TERM").is_some_and(|name| name == "dumb");
    if is_dumb || !std::io::stdout().is_terminal() {
        return print(&format!("{heading}\n{text}\n"));
    }
    // Past what takes colours out, which would take this out too.
    unless_closed(std::io::stdout().lock().write_all(b"\x1b[H\x1b[2J"))?;
    print(text)
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

/// A cell of a [`table`]. Nothing in it can steer a terminal: hosts, shards and errors are whatever somebody wrote.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub fn painted(style: Style, text: impl Into<String>) -> Self {
        Self { text: escaped(&text.into()), style }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::painted(Style::new(), text)
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
    let widths = std::array::from_fn(|at| width(at).min(columns[at].widest));
    let table = Rows { columns, widths, line: None };
    rows.iter().map(|row| table.row(row)).collect()
}

/// A table whose rows are written as they come, so that its columns have their widths beforehand.
#[derive(Clone, Debug)]
pub struct Rows<const N: usize> {
    columns: [Column; N],
    widths: [usize; N],
    /// Characters of a line: past them the last column goes on in the next one, below its beginning.
    line: Option<usize>,
}

impl<const N: usize> Rows<N> {
    /// The last column takes the rest of the line, if standard output is a terminal.
    pub fn new(columns: [Column; N], widths: [usize; N]) -> Self {
        Self { columns, widths, line: terminal_width() }
    }

    pub fn heads(&self) -> String {
        self.row(&self.columns.map(|column| Cell::painted(HEAD, column.head)))
    }

    /// One row, with its end of line.
    pub fn row(&self, cells: &[Cell; N]) -> String {
        let mut text = String::new();
        for (at, Cell { text: cell, style }) in cells.iter().enumerate() {
            let pad = " ".repeat(self.widths[at].saturating_sub(cell.chars().count()));
            let last = at + 1 == N;
            let cell = if last { self.wrapped(cell) } else { cell.clone() };
            let cell = if style.is_plain() { cell } else { painted(*style, &cell) };
            match (self.columns[at].right, last) {
                (true, _) => text.extend([pad.as_str(), &cell]),
                (false, true) => text.push_str(&cell),
                (false, false) => text.extend([cell.as_str(), &pad]),
            }
            text.push_str(if last { "\n" } else { "  " });
        }
        text
    }

    /// A cell of the last column, in lines where it is too long.
    fn wrapped(&self, cell: &str) -> String {
        let before = self.widths[..N - 1].iter().map(|width| width + 2).sum();
        let Some(room) = self.line.and_then(|line| line.checked_sub(before)).filter(|room| *room >= NARROWEST) else {
            return cell.to_owned();
        };
        let (mut lines, mut length) = (String::new(), 0);
        for word in cell.split(' ') {
            let letters = word.chars().count();
            if length > 0 && length + 1 + letters > room {
                lines.push('\n');
                lines.push_str(&" ".repeat(before));
                length = 0;
            } else if length > 0 {
                lines.push(' ');
                length += 1;
            }
            lines.push_str(word);
            length += letters;
        }
        lines
    }
}

/// Lines that are shorter are harder to read than those that a terminal breaks.
const NARROWEST: usize = 30;
/// Longer ones are hard to read too.
const WIDEST: usize = 120;

/// `None` where standard output is none.
fn terminal_width() -> Option<usize> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(usize::from(size.ws_col).min(WIDEST)).filter(|width| *width > 0)
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

    #[test]
    fn a_cell_cannot_steer_a_terminal() {
        let rows = [["\u{1b}]0;pwned\u{7}\u{1b}[2J".into(), Cell::painted(BAD, "a\nb")]];
        let text = anstream::adapter::strip_str(&table([Column::left("host"), Column::left("what")], rows)).to_string();
        assert_eq!(text.lines().last(), Some(r"\u{1b}]0;pwned\u{7}\u{1b}[2J  a\nb"));
    }

    #[test]
    fn the_last_column_goes_on_below_its_beginning() {
        let rows = |line| Rows { columns: [Column::left("a"), Column::left("what")], widths: [6, 4], line };
        let cells = ["ok".into(), "one two three, four-and-twenty five six".into()];
        let whole = "ok      one two three, four-and-twenty five six\n";
        assert_eq!(rows(None).row(&cells), whole);
        assert_eq!(rows(Some(47)).row(&cells), whole);
        let broken = |end: &str, next: &str| format!("ok      one two three, {end}\n        {next}\n");
        assert_eq!(rows(Some(46)).row(&cells), broken("four-and-twenty five", "six"));
        assert_eq!(rows(Some(38)).row(&cells), broken("four-and-twenty", "five six"));
        assert_eq!(rows(Some(37)).row(&cells), whole, "too narrow");
    }
}
