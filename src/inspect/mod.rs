//! What is inside this file? For an engineer who has one before them and a question.
//!
//! What it is, is told by its content and never by its name. All of it is read where that is the answer (how many rows,
//! which of them are bad), as a stream; of Parquet the footer and the first rows alone. Nothing here writes, prints or
//! ends a process: a [`Report`] says what was found, and what is wrong with it.
//!
//! Synchronous, to be called on a blocking thread.

mod cells;
#[cfg(test)]
mod fixtures;
pub mod guard;
pub mod input;
pub mod lines;
pub mod open;
pub mod pack;
pub mod parquet;
pub mod payload;
pub mod records;
pub mod rejections;
mod remote;
pub mod row;
pub mod shown;
pub mod sniff;
mod state;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::Arc;

use serde::Serialize;

use self::input::Input;
use self::lines::Rows;
use self::pack::Pack;
use self::parquet::Parquet;
use self::records::Records;
use self::rejections::Rejections;
use self::shown::{Options, Time, hex};
use self::sniff::{Compression, Kind};
use crate::commit::peers::Heartbeat;
use crate::commit::snapshot::Snapshot;
use crate::gzip::is_gzip;
use crate::source::file::members::Known;

/// Bytes that are shown of what nobody knows.
const FIRST_BYTES: usize = 64;

/// What was found.
#[derive(Debug, Serialize)]
pub struct Report {
    pub name: String,
    /// In bytes; `None` of a long pipe.
    pub size: Option<u64>,
    pub modified: Option<Time>,
    /// What the store says of it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
    /// What all of it is compressed with.
    pub compression: Option<Compression>,
    #[serde(flatten)]
    pub found: Found,
    pub problems: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What it is.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Found {
    Parquet(Parquet),
    Rows(Rows),
    Records(Records),
    Rejections(Rejections),
    Pack(Pack),
    Snapshot(Box<Snapshot>),
    Heartbeat(Heartbeat),
    Unknown(Unknown),
}

/// Bytes that are none of all that.
#[derive(Debug, Serialize)]
pub struct Unknown {
    /// Of the content, if it could be inflated.
    pub first_bytes: String,
    /// What else begins so.
    pub looks_like: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// What is wrong, and what is good to know, in the order in which it was met.
#[derive(Debug, Default)]
pub struct Problems {
    wrong: Vec<String>,
    notes: Vec<String>,
}

impl Problems {
    pub fn add(&mut self, problem: String) {
        self.wrong.push(problem);
    }

    pub fn extend(&mut self, problems: impl IntoIterator<Item = String>) {
        self.wrong.extend(problems);
    }

    pub fn note(&mut self, note: &str) {
        self.notes.push(note.to_owned());
    }

    #[cfg(test)]
    fn into_inner(self) -> Vec<String> {
        self.wrong
    }
}

/// Tells what it is, and looks into it.
///
/// # Errors
/// When it can't be read at all: whatever can be told of what is in it is told in the report.
pub fn inspect(input: &Arc<Input>, options: Options) -> io::Result<Report> {
    let mut problems = Problems::default();
    let (kind, compression) = sniff::tell(input)?;
    let found = match kind {
        Kind::Parquet => Found::Parquet(parquet::inspect(input, options, &mut problems)?),
        Kind::Pack => Found::Pack(pack::inspect(input, &mut problems)?),
        Kind::Records(shape) => Found::Records(records::inspect(input, compression, shape, options, &mut problems)?),
        Kind::Rejections => Found::Rejections(rejections::inspect(input, compression, options, &mut problems)?),
        Kind::Rows => Found::Rows(lines::inspect(input, compression, options, &mut problems)?),
        Kind::Snapshot => match state::snapshot(input, compression, &mut problems)? {
            Some(snapshot) => Found::Snapshot(Box::new(snapshot)),
            None => unknown(input, compression, options, &mut problems)?,
        },
        Kind::Heartbeat => match state::heartbeat(input, compression, &mut problems)? {
            Some(heartbeat) => Found::Heartbeat(heartbeat),
            None => unknown(input, compression, options, &mut problems)?,
        },
        Kind::Empty => {
            problems.add("it is empty".to_owned());
            Found::Unknown(Unknown { first_bytes: String::new(), looks_like: None, text: None })
        }
        Kind::Unknown => unknown(input, compression, options, &mut problems)?,
    };
    compare(&found, input, &mut problems);
    let Problems { wrong: problems, notes } = problems;
    let (name, size, modified) = (input.name.clone(), input.size, input.modified.map(Time));
    Ok(Report { name, size, modified, metadata: input.metadata.clone(), compression, found, problems, notes })
}

fn unknown(
    input: &Arc<Input>,
    compression: Option<Compression>,
    options: Options,
    problems: &mut Problems,
) -> io::Result<Found> {
    let (mut bytes, damage) = (Vec::new(), Known::default());
    let read = sniff::inflated(input.read_head(), compression, &damage)
        .and_then(|content| content.take(1 << 16).read_to_end(&mut bytes));
    if let Err(error) = read {
        problems.add(compression.map_or(error.to_string(), |compression| format!("{compression}: {error}")));
    } else if let Some(damage) = damage.get() {
        problems.add(damage.why.to_string());
    }
    if bytes.is_empty() {
        input.read_head().take(FIRST_BYTES as u64).read_to_end(&mut bytes)?;
    }
    if problems.wrong.is_empty() {
        problems.add("it is nothing that Firemain or Amazon Data Firehose writes, nor a record file".to_owned());
    }
    if compression.is_some() && is_gzip(&bytes) {
        problems.note(
            "a gzip within it, as a delivery that compresses makes of compressed records: unpack it once (zcat), and \
             inspect what comes out",
        );
    }
    let text = sniff::is_text(&bytes).then(|| options.text(&String::from_utf8_lossy(&bytes)));
    let looks_like = sniff::looks_like(&bytes);
    Ok(Found::Unknown(Unknown { first_bytes: hex(&bytes[..bytes.len().min(FIRST_BYTES)]), looks_like, text }))
}

/// What its metadata says of it, against what is in it.
fn compare(found: &Found, input: &Input, problems: &mut Problems) {
    let rows = match found {
        Found::Parquet(parquet) => parquet.rows,
        Found::Rows(rows) => rows.rows,
        Found::Rejections(rejections) => rejections.rejections,
        _ => return,
    };
    let said = input.metadata.get("rows").and_then(|rows| rows.parse::<u64>().ok());
    if let Some(said) = said.filter(|said| *said != rows && problems.wrong.is_empty()) {
        problems.add(format!("its metadata says {said} rows, and it has {rows}"));
    }
}
