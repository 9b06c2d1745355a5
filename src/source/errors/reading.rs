//! Reads one error object: JSON values, one a line or several, gzip or not.

use std::cell::Cell;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use memchr::memchr;
use object_store::ObjectMeta;
use tokio::runtime::Handle;
use tracing::warn;

use super::line::{Line, Numbers};
use super::outcomes::{Fate, Outcomes};
use super::progress::Progress;
use super::selection::Selection;
use super::values::{TooMany, Vain, Value, next_rejection, value};
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
/// So many objects in a row that can't be got are not odd objects: it is the store.
const AWAY: u64 = 16;

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
    /// Objects in a row that could not be got.
    pub failing: Arc<AtomicU64>,
    /// Bytes of it that progress has counted.
    pub read: Cell<u64>,
}

enum Failed {
    Stopped,
    /// It was deleted or moved, or is another one now.
    Gone,
    /// The store refuses it.
    Refused(io::Error),
    /// It is no error object.
    Shape(String),
}

impl From<Stopped> for Failed {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound { Self::Gone } else { Self::Refused(error) }
    }
}

impl From<TooMany> for Failed {
    fn from(_: TooMany) -> Self {
        Self::Shape("there is little in it but beginnings of JSON: is it an error object?".to_owned())
    }
}

impl Reading {
    /// Hands on what is wanted. The object is at its end only if nothing was left in it.
    pub fn run(self, turn: Turn<'_>, mut outlet: Outlet) {
        self.outcomes.begin(&self.name);
        let result = self.read(turn, &mut outlet);
        self.progress.read(self.object.size.saturating_sub(self.read.get()));
        self.progress.object();
        match result {
            Ok(left) => drop(outlet.finish(left == 0)),
            Err(Failed::Stopped) => {}
            Err(Failed::Gone) => {
                warn!("{} is not there any more, or was written again: the rest of it is passed over", self.name);
                drop(outlet.finish(false));
            }
            Err(Failed::Refused(error)) if self.failing.fetch_add(1, Ordering::Relaxed) + 1 >= AWAY => {
                outlet.fail(SourceError::Fatal(error.to_string()));
            }
            Err(Failed::Refused(error)) => self.leave(outlet, &error.to_string()),
            Err(Failed::Shape(why)) => self.leave(outlet, &why),
        }
    }

    /// What was read of it is delivered, and the others are too.
    fn leave(&self, outlet: Outlet, why: &str) {
        warn!("{} is left where it is: {why}", self.name);
        self.outcomes.leave(&self.name, why);
        drop(outlet.finish(false));
    }

    /// Returns how many were left.
    fn read(&self, turn: Turn<'_>, outlet: &mut Outlet) -> Result<u64, Failed> {
        let mut object = Ranges::new(self, outlet.runtime());
        let (damage, beginning) = (Known::default(), object.beginning()?);
        if !is_gzip(&beginning) {
            object.counts = true;
            self.values(Window::new(object, turn), &damage, outlet)
        } else {
            // Its checksum comes last, and nothing is delivered that it would have refuted.
            members::check(&mut object, &damage)?;
            object.rewind();
            object.counts = true;
            self.values(Window::new(Members::new(object, &damage), turn), &damage, outlet)
        }
    }

    fn values(&self, mut window: Window<'_, impl Read>, damage: &Known, outlet: &mut Outlet) -> Result<u64, Failed> {
        let (mut index, mut left, mut vain) = (0, 0, Vain::default());
        loop {
            let blank = window.bytes().iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            window.consume(blank);
            if window.bytes().is_empty() && window.is_last() {
                break;
            }
            let Some((end, text)) = self.next(&window, &mut vain)? else {
                window.grow()?;
                continue;
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

    /// Where the first value ends, and its text if it is an object; what is none ends where the next rejection begins, or the
    /// line does. `None` when more bytes are needed to tell.
    fn next<'w>(
        &self,
        window: &'w Window<'_, impl Read>,
        vain: &mut Vain,
    ) -> Result<Option<(usize, Option<&'w str>)>, Failed> {
        let (bytes, is_whole) = (window.bytes(), window.is_last() || window.bytes().len() >= self.largest);
        let read = window.offset() + bytes.len() as u64;
        let parsed = match value(bytes) {
            Value::Object(end, text) => return Ok(Some((end, Some(text)))),
            Value::Unfinished => bytes.len(),
            Value::None(parsed) => parsed,
        };
        vain.add(parsed, read)?;
        if parsed == bytes.len() && !is_whole {
            return Ok(None);
        }
        let end = match memchr(b'\n', bytes) {
            Some(end) => end,
            None if window.is_last() => bytes.len(),
            None if !is_whole => return Ok(None),
            None => {
                let largest = self.largest;
                return Err(Failed::Shape(format!("a line has more than {largest} bytes: is it an error object?")));
            }
        };
        let end = next_rejection(&bytes[..end], vain, read)?.unwrap_or(end);
        Ok(Some((end, None)))
    }

    /// One of them; false when it is left.
    fn line(&self, index: u64, text: Option<&str>, outlet: &mut Outlet) -> Result<bool, Failed> {
        let modified: Millis = self.object.last_modified.timestamp_millis();
        let met = |code: &str, fate| self.outcomes.met(&self.name, index, code, fate);
        let Some(line) = text.and_then(Line::parse) else {
            met(NO_REJECTION, Fate::Broken);
            return Ok(false);
        };
        if self.done.contains(index) {
            met(&line.code, Fate::Before);
            return Ok(true);
        }
        if !self.selection.takes(&line, modified) {
            met(&line.code, Fate::NotAskedFor);
            return Ok(false);
        }
        if let Some(why) = line.flaw() {
            self.outcomes.flawed(&self.name, index, &line.code, why);
            return Ok(false);
        }
        met(&line.code, Fate::Delivered);
        if let Some(record) = line.into_record(Numbers::of(&self.name), index, modified) {
            outlet.push(record)?;
        }
        Ok(true)
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
    }

    fn fetch(&self, from: u64) -> io::Result<Bytes> {
        let Reading { storage, object, .. } = self.reading;
        let to = object.size.min(from + FETCH);
        if from >= to {
            return Ok(Bytes::new());
        }
        let fetched = self.runtime.block_on(storage.get_range(object, from..to)).map_err(io::Error::other)?;
        self.reading.failing.store(0, Ordering::Relaxed);
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
            self.reading.read.set(self.reading.read.get() + length as u64);
        }
        Ok(length)
    }
}
