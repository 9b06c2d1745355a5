//! Files in place of a stream: each file is a shard, its position the index of the last record done.

pub(crate) mod content;
pub(crate) mod members;
mod paths;
mod progress;
#[cfg(test)]
mod tests;
pub(crate) mod window;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tracing::{info, warn};

use self::content::{Again, Content, Failed, Found, Sink};
pub use self::paths::OpenError;
pub use self::progress::Progress;
use self::window::Large;
use super::thread::{self, OPEN_FILES, Outlet, Stopped};
use super::{ReadAhead, Reader, Shard, Source, SourceError};
use crate::event::{Millis, Record, ShardId};
use crate::position::Position;

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
    large: Large,
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
            large: Large::default(),
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

impl From<Stopped> for Failed {
    fn from(_: Stopped) -> Self {
        Self::Stopped
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
        let (name, progress, large) = (shard.to_string(), self.progress(), self.large.clone());
        let ends = matches!(input, Input::File(_));
        Ok(thread::start(open, &self.read_ahead, None, move |outlet| {
            Reading { name, done, ends, next: 0, progress, large, outlet }.run(&input);
        }))
    }
}

/// Reads one file. Ends when nobody takes its records any more.
struct Reading {
    name: String,
    /// Records that are committed already.
    done: u64,
    /// Whether nothing can come behind the end of this file.
    ends: bool,
    /// Index of the next record.
    next: u64,
    progress: Arc<Progress>,
    large: Large,
    outlet: Outlet,
}

impl Reading {
    fn run(mut self, input: &Input) {
        let (name, progress, large) = (self.name.clone(), Arc::clone(&self.progress), self.large.clone());
        let result = large.in_turn(|turn| {
            let (bytes, modified) = input.open()?;
            let again = || {
                info!(file = name, "a large gzip is checked before it is read");
                input.open().map(|(bytes, _)| bytes)
            };
            let again: Option<Again<'_>> = self.ends.then_some(&again);
            Content::new(progress.counting(bytes), modified, turn, again).read(&mut self)
        });
        match result {
            Ok(()) if self.next < self.done => self.outlet.fail(SourceError::Fatal(format!(
                "{}: it has {} records, but {} were read of it before: it is not the same any more; \
                 restore it, or deliver it under another `group`",
                self.name, self.next, self.done
            ))),
            Ok(()) => {
                if let Ok(sent) = self.outlet.finish(self.ends) {
                    self.progress.records(sent);
                }
            }
            Err(Failed::Stopped) => {}
            Err(error @ Failed::Untrusted(_)) => {
                self.outlet.fail(SourceError::Untrusted(format!("{}: {error}", self.name)));
            }
            // What was read before is good, and goes first.
            Err(error) if self.pause().is_ok() => {
                self.outlet.fail(SourceError::Fatal(format!("{}: {error}", self.name)));
            }
            Err(_) => {}
        }
    }
}

impl Sink for Reading {
    fn take(&mut self, found: Found) -> Result<(), Failed> {
        let index = self.next;
        self.next += 1;
        if index < self.done {
            return Ok(());
        }
        let Found { data, partition_key, arrival, flaw } = found;
        let record = Record { data, sequence: index.into(), partition_key, arrival, flaw, earlier: None };
        self.progress.records(self.outlet.push(record)?);
        Ok(())
    }

    fn pause(&mut self) -> Result<(), Failed> {
        self.progress.records(self.outlet.send()?);
        Ok(())
    }

    fn damaged(&mut self, why: &str) {
        warn!(file = self.name, "a gzip is damaged ({why}): what of it can't be trusted goes to the error prefix");
    }
}
