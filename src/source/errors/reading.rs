//! Reads one error object: JSON values, one a line or several, gzip or not.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use object_store::ObjectMeta;
use serde_json::value::RawValue;
use tokio::runtime::Handle;
use tracing::warn;

use super::line::Line;
use super::outcomes::{Fate, Outcomes};
use super::progress::Progress;
use super::selection::Selection;
use crate::commit::storage::Storage;
use crate::event::{Millis, ShardId};
use crate::gzip::is_gzip;
use crate::position::Indices;
use crate::source::SourceError;
use crate::source::file::members::{self, Known, Members};
use crate::source::file::window::{Turn, Window};
use crate::source::thread::{Outlet, Stopped};

/// Bytes that are fetched at once: of each object that is read, twice so many are held.
const FETCH: u64 = 2 << 20;
/// How lines are called that are no rejections.
const NO_REJECTION: &str = "(no rejection)";

/// One object, and what is wanted of it.
pub struct Reading {
    pub name: ShardId,
    pub object: ObjectMeta,
    pub storage: Storage,
    /// What is done already.
    pub done: Indices,
    pub selection: Arc<Selection>,
    pub outcomes: Arc<Outcomes>,
    pub progress: Arc<Progress>,
    /// Bytes that a rejection may have.
    pub largest: usize,
}

enum Failed {
    Stopped,
    /// It was deleted or moved, or is another one now.
    Gone,
    Io(io::Error),
    Shape(String),
}

impl From<Stopped> for Failed {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound { Self::Gone } else { Self::Io(error) }
    }
}

impl Reading {
    /// Hands on what is wanted. The object is at its end only if nothing was left in it.
    pub fn run(self, turn: Turn<'_>, mut outlet: Outlet) {
        self.outcomes.begin(&self.name);
        let result = self.read(turn, &mut outlet);
        self.progress.object();
        match result {
            Ok(left) => drop(outlet.finish(left == 0)),
            Err(Failed::Stopped) => {}
            Err(Failed::Gone) => {
                warn!("{} is not there any more, or was written again: the rest of it is passed over", self.name);
                drop(outlet.finish(false));
            }
            Err(Failed::Io(error)) => outlet.fail(SourceError::Fatal(error.to_string())),
            Err(Failed::Shape(why)) => outlet.fail(SourceError::Fatal(format!("{}: {why}", self.name))),
        }
    }

    /// Returns how many were left.
    fn read(&self, turn: Turn<'_>, outlet: &mut Outlet) -> Result<u64, Failed> {
        let mut object = Ranges::new(self, outlet.runtime());
        let (damage, beginning) = (Known::default(), object.beginning()?);
        if !is_gzip(&beginning) {
            self.values(Window::new(object, turn), &damage, outlet)
        } else {
            // Its checksum comes last, and nothing is delivered that it would have refuted.
            members::check(&mut object, &damage)?;
            object.rewind();
            self.values(Window::new(Members::new(object, &damage), turn), &damage, outlet)
        }
    }

    fn values(&self, mut window: Window<'_, impl Read>, damage: &Known, outlet: &mut Outlet) -> Result<u64, Failed> {
        let (mut index, mut left) = (0, 0);
        loop {
            let blank = window.bytes().iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            window.consume(blank);
            let bytes = window.bytes();
            let (end, text) = match value(bytes) {
                _ if bytes.is_empty() && window.is_last() => break,
                Value::Object(end, text) => (end, Some(text)),
                Value::Unfinished if !window.is_last() && bytes.len() < self.largest => {
                    window.grow()?;
                    continue;
                }
                Value::Unfinished | Value::None => match (memchr::memchr(b'\n', bytes), window.is_last()) {
                    (Some(end), _) => (end, None),
                    (None, true) => (bytes.len(), None),
                    (None, false) if bytes.len() >= self.largest => {
                        return Err(Failed::Shape(format!(
                            "a line has more than {} bytes: is it an error object?",
                            self.largest
                        )));
                    }
                    (None, false) => {
                        window.grow()?;
                        continue;
                    }
                },
            };
            let intact = damage.get().is_none_or(|damage| window.offset() + end as u64 <= damage.intact);
            left += u64::from(!self.line(index, text.filter(|_| intact), outlet)?);
            window.consume(end);
            index += 1;
        }
        if let Some(damage) = damage.get() {
            warn!("{} is damaged ({}): what of it can't be trusted is left in it", self.name, damage.why);
            left += 1;
        }
        Ok(left)
    }

    /// One of them; false when it is left.
    fn line(&self, index: u64, text: Option<&str>, outlet: &mut Outlet) -> Result<bool, Failed> {
        let modified: Millis = self.object.last_modified.timestamp_millis();
        let met = |code: &str, fate| self.outcomes.met(&self.name, index, code, fate);
        let Some(line) = text.and_then(Line::parse) else {
            met(NO_REJECTION, Fate::Left);
            return Ok(false);
        };
        if self.done.contains(index) {
            met(&line.code, Fate::Before);
            return Ok(true);
        }
        if !self.selection.takes(&line, modified) || line.flaw().is_some() {
            met(&line.code, Fate::Left);
            return Ok(false);
        }
        met(&line.code, Fate::Delivered);
        if let Some(record) = line.into_record(index, modified) {
            outlet.push(record)?;
        }
        Ok(true)
    }
}

/// What stands at the beginning of some bytes.
enum Value<'w> {
    /// An object, and where it ends.
    Object(usize, &'w str),
    /// The bytes end before it does.
    Unfinished,
    None,
}

fn value(bytes: &[u8]) -> Value<'_> {
    if bytes.first().is_some_and(|first| *first != b'{') {
        return Value::None;
    }
    let mut values = serde_json::Deserializer::from_slice(bytes).into_iter::<&RawValue>();
    match values.next() {
        Some(Ok(raw)) => Value::Object(values.byte_offset(), raw.get()),
        Some(Err(error)) if !error.is_eof() => Value::None,
        _ => Value::Unfinished,
    }
}

/// The bytes of an object, fetched in ranges.
struct Ranges<'r> {
    reading: &'r Reading,
    runtime: Handle,
    /// The first bytes: all of a small object.
    first: Option<Bytes>,
    /// Fetched, and not read.
    chunk: Bytes,
    /// Of the next fetch.
    at: u64,
    /// Whether what is read counts: not when it is checked.
    counts: bool,
}

impl<'r> Ranges<'r> {
    fn new(reading: &'r Reading, runtime: &Handle) -> Self {
        Self { reading, runtime: runtime.clone(), first: None, chunk: Bytes::new(), at: 0, counts: false }
    }

    fn beginning(&mut self) -> io::Result<Bytes> {
        if self.first.is_none() {
            self.first = Some(self.fetch(0)?);
        }
        self.rewind();
        Ok(self.first.clone().unwrap_or_default())
    }

    fn rewind(&mut self) {
        self.chunk = self.first.clone().unwrap_or_default();
        self.at = self.chunk.len() as u64;
        self.counts = true;
    }

    fn fetch(&self, from: u64) -> io::Result<Bytes> {
        let Reading { storage, object, .. } = self.reading;
        let to = object.size.min(from + FETCH);
        if from >= to {
            return Ok(Bytes::new());
        }
        let fetched = self.runtime.block_on(storage.get_range(object, from..to)).map_err(io::Error::other)?;
        fetched.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }
}

impl Read for Ranges<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.chunk.is_empty() {
            self.chunk = self.fetch(self.at)?;
            self.at += self.chunk.len() as u64;
        }
        let length = into.len().min(self.chunk.len());
        into[..length].copy_from_slice(&self.chunk.split_to(length));
        if self.counts {
            self.reading.progress.read(length as u64);
        }
        Ok(length)
    }
}
