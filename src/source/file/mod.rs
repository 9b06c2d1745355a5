//! Files in place of a stream: each file is a shard, its position the index of the last record done.

pub(crate) mod content;
pub(crate) mod members;
mod paths;
mod progress;
#[cfg(test)]
mod tests;
pub(crate) mod window;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use self::content::{Again, Content, Failed, Found, Sink};
pub use self::paths::OpenError;
pub use self::progress::Progress;
use super::{Batch, Hold, ReadAhead, Reader, Shard, Source, SourceError};
use crate::event::{Millis, Record, ShardId};
use crate::position::Position;

/// Files that are read at once: each takes a thread.
pub const OPEN_FILES: usize = 8;
/// Records are handed on in batches of about so many bytes, to be decoded side by side.
const BATCH_BYTES: usize = 512 << 10;
/// Standard input is known again by its first bytes.
const FINGERPRINT_BYTES: usize = 64 << 10;

/// A set of files. Each is known by its path; one that was read to its end is not read again. Standard input is known
/// by its beginning, and has no end for good: when the same comes again and more behind it, that is read.
#[derive(Debug)]
pub struct FileSource {
    id: String,
    inputs: BTreeMap<ShardId, Input>,
    read_ahead: ReadAhead,
    progress: Arc<Progress>,
    open: Arc<Semaphore>,
    /// Held by the one file, of those that are being read, that may have large windows.
    large: Arc<Mutex<()>>,
}

#[derive(Clone, Debug)]
enum Input {
    File(PathBuf),
    /// What was read of standard input already, until a reader takes it.
    Standard(Arc<Mutex<Option<Vec<u8>>>>),
}

impl FileSource {
    /// Finds the files of globs; `-` is standard input, of which the beginning is read here.
    pub fn new(paths: &[String], read_ahead: ReadAhead) -> Result<Self, OpenError> {
        let (mut inputs, mut files) = (BTreeMap::new(), BTreeMap::new());
        let (mut patterns, mut total) = (Vec::new(), 0);
        for path in paths {
            if path == "-" {
                let (id, input) = standard_input()?;
                patterns.push("-".to_owned());
                inputs.insert(id, input);
                continue;
            }
            let absolute = std::path::absolute(path).map_err(|error| OpenError::file(Path::new(path), error))?;
            patterns.push(absolute.display().to_string());
            for file in paths::matching(path)? {
                let id = ShardId::from(file.display().to_string().as_str());
                if inputs.contains_key(&id) {
                    continue;
                }
                let opened = File::open(&file).and_then(|opened| Ok((opened.metadata()?, file.canonicalize()?)));
                let (about, real) = opened.map_err(|error| OpenError::file(&file, error))?;
                if let Some(same) = files.get(&real) {
                    warn!("{id} and {same} are the same file: it is read once");
                    if file != real {
                        continue;
                    }
                    inputs.remove(same);
                    total -= about.len();
                }
                files.insert(real, id.clone());
                total += about.len();
                inputs.insert(id, Input::File(file));
            }
        }
        patterns.sort();
        let progress = Arc::new(Progress::new(total, inputs.values().any(|input| matches!(input, Input::Standard(_)))));
        Ok(Self {
            id: format!("file:{}", patterns.join(",")),
            inputs,
            read_ahead,
            progress,
            open: Arc::new(Semaphore::new(OPEN_FILES)),
            large: Arc::default(),
        })
    }

    /// How far reading has come; for a person who watches.
    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }
}

/// Standard input under a name of its content: the same input goes on where it stood, another one is another shard.
fn standard_input() -> Result<(ShardId, Input), OpenError> {
    let mut head = Vec::new();
    let read = std::io::stdin().lock().take(FINGERPRINT_BYTES as u64).read_to_end(&mut head);
    read.map_err(|error| OpenError::file(Path::new("standard input"), error))?;
    let id = format!("-:{:08x}:{}", crc32c::crc32c(&head), head.len());
    Ok((ShardId::from(id.as_str()), Input::Standard(Arc::new(Mutex::new(Some(head))))))
}

impl Input {
    /// Its bytes, and when bare payloads in it arrived: the modification time.
    fn open(&self) -> std::io::Result<(Box<dyn Read + Send>, Millis)> {
        match self {
            Self::File(path) => {
                let file = File::open(path)?;
                let modified = file.metadata()?.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
                Ok((Box::new(file), Millis::try_from(modified.as_millis()).unwrap_or(0)))
            }
            Self::Standard(head) => {
                let head = head.lock().expect("no panic while it is locked").take();
                let head = head.ok_or_else(|| std::io::Error::other("standard input can be read only once"))?;
                let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
                let all = Cursor::new(head).chain(std::io::stdin());
                Ok((Box::new(all), Millis::try_from(now.as_millis()).unwrap_or(0)))
            }
        }
    }
}

#[async_trait]
impl Source for FileSource {
    fn id(&self) -> &str {
        &self.id
    }

    fn stream(&self) -> Option<&str> {
        None
    }

    async fn shards(&self) -> Result<Vec<Shard>, SourceError> {
        Ok(self.inputs.keys().map(|id| Shard { id: id.clone(), parents: Vec::new() }).collect())
    }

    fn start(&self) -> Position {
        Position::TrimHorizon
    }

    fn ends(&self) -> bool {
        true
    }

    async fn open(&self, shard: &ShardId, from: &Position) -> Result<Box<dyn Reader>, SourceError> {
        let input = self.inputs.get(shard).expect("shards are those of this source").clone();
        let done = match from {
            Position::After(sequence) => sequence.index().map_or(0, |index| index + 1),
            _ => 0,
        };
        let open = Arc::clone(&self.open).acquire_owned().await.expect("the semaphore is never closed");
        let (sender, batches) = mpsc::channel(2);
        let ends = matches!(input, Input::File(_));
        let reading = Reading {
            name: shard.to_string(),
            done,
            ends,
            next: 0,
            batch: Vec::new(),
            bytes: 0,
            read_ahead: self.read_ahead.clone(),
            progress: self.progress(),
            runtime: tokio::runtime::Handle::current(),
            sender,
            large: Arc::clone(&self.large),
            _open: open,
        };
        spawn_blocking(move || reading.run(&input));
        Ok(Box::new(FileReader { batches, at_tip: false }))
    }
}

/// Hands on what the reading thread sends.
#[derive(Debug)]
struct FileReader {
    batches: mpsc::Receiver<Result<Batch, SourceError>>,
    /// The last batch was handed on.
    at_tip: bool,
}

#[async_trait]
impl Reader for FileReader {
    async fn next(&mut self) -> Result<Batch, SourceError> {
        match self.batches.recv().await {
            Some(batch) => {
                self.at_tip = batch.as_ref().is_ok_and(|batch| batch.at_tip);
                batch
            }
            None if self.at_tip => std::future::pending().await,
            None => Err(SourceError::Fatal("the thread that reads a file has ended".to_owned())),
        }
    }
}

/// Reads one file in a thread of its own. Ends when nobody takes its batches any more.
struct Reading {
    name: String,
    /// Records that are committed already.
    done: u64,
    /// Whether nothing can come behind the end of this file.
    ends: bool,
    /// Index of the next record.
    next: u64,
    batch: Vec<Record>,
    bytes: usize,
    read_ahead: ReadAhead,
    progress: Arc<Progress>,
    runtime: tokio::runtime::Handle,
    sender: mpsc::Sender<Result<Batch, SourceError>>,
    large: Arc<Mutex<()>>,
    _open: OwnedSemaphorePermit,
}

impl Reading {
    fn run(mut self, input: &Input) {
        let name = self.name.clone();
        let progress = Arc::clone(&self.progress);
        let (large, held) = (Arc::clone(&self.large), RefCell::new(None));
        // It guards no data that a panic could have left in pieces.
        let turn = || {
            held.borrow_mut().get_or_insert_with(|| large.lock().unwrap_or_else(PoisonError::into_inner));
        };
        let result = input.open().map_err(Failed::Io).and_then(|(bytes, modified)| {
            let again = || {
                info!(file = name, "a large gzip is checked before it is read");
                input.open().map(|(bytes, _)| bytes)
            };
            let again: Option<Again<'_>> = self.ends.then_some(&again);
            Content::new(progress.counting(bytes), modified, &turn, again).read(&mut self)
        });
        match result {
            Ok(()) if self.next < self.done => self.fail(SourceError::Fatal(format!(
                "{}: it has {} records, but {} were read of it before: it is not the same any more; \
                 restore it, or deliver it under another `group`",
                self.name, self.next, self.done
            ))),
            Ok(()) => drop(self.send(true)),
            Err(Failed::Stopped) => {}
            Err(error @ Failed::Untrusted(_)) => self.fail(SourceError::Untrusted(format!("{}: {error}", self.name))),
            // What was read before is good, and goes first.
            Err(error) if self.send(false).is_ok() => self.fail(SourceError::Fatal(format!("{}: {error}", self.name))),
            Err(_) => {}
        }
    }

    /// Nobody listens when the worker has ended: then nobody cares either.
    fn fail(&self, error: SourceError) {
        let _ = self.sender.blocking_send(Err(error));
    }

    /// Hands the batch on, when there is room for it.
    fn send(&mut self, at_end: bool) -> Result<(), Failed> {
        if self.batch.is_empty() && !at_end {
            return Ok(());
        }
        let hold: Hold = self.runtime.block_on(self.read_ahead.hold(self.bytes));
        self.bytes = 0;
        self.progress.records(self.batch.len());
        let records = std::mem::take(&mut self.batch);
        let batch =
            Batch { records, at_tip: at_end, at_end: at_end && self.ends, hold: Some(hold), ..Batch::default() };
        self.sender.blocking_send(Ok(batch)).map_err(|_| Failed::Stopped)
    }
}

impl Sink for Reading {
    fn take(&mut self, found: Found) -> Result<(), Failed> {
        let index = self.next;
        self.next += 1;
        if index < self.done {
            return Ok(());
        }
        if !self.batch.is_empty() && self.bytes + found.data.len() > BATCH_BYTES {
            self.send(false)?;
        }
        self.bytes += found.data.len();
        let Found { data, partition_key, arrival, flaw } = found;
        self.batch.push(Record { data, sequence: index.into(), partition_key, arrival, flaw });
        Ok(())
    }

    fn pause(&mut self) -> Result<(), Failed> {
        self.send(false)
    }

    fn damaged(&mut self, why: &str) {
        warn!(file = self.name, "a gzip is damaged ({why}): what of it can't be trusted goes to the error prefix");
    }
}
