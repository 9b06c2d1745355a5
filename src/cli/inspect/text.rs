//! A report for a person. Whatever comes out of the file is escaped here, where it becomes text.

use anstyle::Style;
use serde_json::Value;

use super::super::output::{BAD, POOR, painted};
use super::{lake, state, stream};
use crate::inspect::row::Row;
use crate::inspect::shown::{Time, bytes, count, escaped};
use crate::inspect::{Found, Report, Unknown};

const BOLD: Style = Style::new().bold();

/// The whole report.
pub fn of(report: &Report) -> String {
    let (what, mut facts, sections) = match &report.found {
        Found::Parquet(parquet) => lake::parquet(parquet),
        Found::Rows(rows) => lake::rows(rows),
        Found::Records(records) => stream::records(records),
        Found::Rejections(rejections) => stream::rejections(rejections),
        Found::Pack(pack) => state::pack(pack),
        Found::Snapshot(snapshot) => state::snapshot(snapshot),
        Found::Heartbeat(heartbeat) => state::heartbeat(heartbeat),
        Found::Unknown(unknown) => self::unknown(unknown),
    };
    let what = match report.compression {
        Some(compression) => format!("{what}, in {compression}"),
        None => what,
    };
    let size = report.size.map_or_else(|| "that of a pipe: read to its end, and not kept".to_owned(), bytes);
    facts.splice(0..0, [fact("what", what), fact("size", size)]);
    facts.extend(report.modified.map(|time| fact("modified", time.to_string())));
    facts.extend(report.metadata.iter().map(|(name, value)| fact(name, with_time(name, value))));
    facts.extend(report.notes.iter().map(|note| fact("note", note.clone()).painted(POOR)));
    facts.extend(report.problems.iter().map(|problem| fact("wrong", problem.clone()).painted(BAD)));
    format!("{}\n{}{sections}", painted(BOLD, &escaped(&report.name)), listed(&facts, "  "))
}

/// What a kind has to say: in a few words, line by line, and what comes below that.
pub type Told = (String, Vec<Fact>, String);

/// A name and its value, neither of them escaped yet.
#[derive(Clone, Debug)]
pub struct Fact {
    name: String,
    value: String,
    style: Style,
}

impl Fact {
    pub fn painted(self, style: Style) -> Self {
        Self { style, ..self }
    }
}

pub fn fact(name: &str, value: impl Into<String>) -> Fact {
    Fact { name: name.to_owned(), value: value.into(), style: Style::new() }
}

/// One below the other, the values in a column.
pub fn listed(facts: &[Fact], indent: &str) -> String {
    let names: Vec<_> = facts.iter().map(|fact| escaped(&fact.name)).collect();
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let line = |(name, fact): (&String, &Fact)| {
        let pad = " ".repeat(width - name.chars().count());
        let (value, plain) = (escaped(&fact.value), fact.style.is_plain());
        let painted = |text: &str| if plain { text.to_owned() } else { painted(fact.style, text) };
        format!("{indent}{}{pad}  {}\n", painted(name), painted(&value))
    };
    names.iter().zip(facts).map(line).collect()
}

/// A section, with an empty line before it; none without content.
pub fn section(head: &str, content: &str) -> String {
    if content.is_empty() { String::new() } else { format!("\n{}\n{content}", painted(BOLD, &escaped(head))) }
}

/// `first 5 of 3,401 rows`
pub fn first(shown: usize, of: u64, what: &str) -> String {
    let shown = shown as u64;
    if shown == of { count(of, what) } else { format!("First {shown} of {}", count(of, what)) }
}

/// Rows one below the other, each value on a line.
pub fn rows(rows: &[Row]) -> String {
    let row = |(at, row): (usize, &Row)| {
        let facts: Vec<_> = row.0.iter().map(|(name, value)| fact(name, plain(value))).collect();
        numbered(at as u64 + 1, &listed(&facts, ""))
    };
    rows.iter().enumerate().map(row).collect()
}

/// Puts a number before the first line, and what takes its room before the others.
pub fn numbered(number: u64, block: &str) -> String {
    let number = format!("{number:>3}  ");
    let rest = " ".repeat(number.chars().count());
    let lines = block.lines().enumerate();
    lines.map(|(at, line)| format!("{}{line}\n", if at == 0 { &number } else { &rest })).collect()
}

pub fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Metadata has times in milliseconds.
fn with_time(name: &str, value: &str) -> String {
    match value.parse() {
        Ok(millis) if name.ends_with("-timestamp") => format!("{value} ({})", Time(millis)),
        _ => value.to_owned(),
    }
}

fn unknown(unknown: &Unknown) -> Told {
    let mut facts = Vec::new();
    if !unknown.first_bytes.is_empty() {
        facts.push(fact("begins with", unknown.first_bytes.clone()));
    }
    facts.extend(unknown.text.iter().map(|text| fact("as text", text.clone())));
    let what = match unknown.looks_like {
        _ if unknown.first_bytes.is_empty() => "nothing".to_owned(),
        Some(kind) => format!("nothing of Firemain's: it looks like {kind}"),
        None => "nothing that is known here".to_owned(),
    };
    (what, facts, String::new())
}
