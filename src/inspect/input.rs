//! What is inspected: bytes that are read from their beginning, and but for a long pipe from anywhere.
//!
//! Synchronous, for blocking threads. No more of it is held than what a reader asks for; of an S3 object its beginning too,
//! and of a pipe as much as [`Input::pipe`] says.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Cursor, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use bytes::Bytes;

use super::remote::Remote;
use crate::event::Millis;

/// Of a pipe so much is kept, to be read more than once;
const PIPE: u64 = 64 << 20;
/// and so much of what is read from its end.
const SOUGHT_PIPE: u64 = 512 << 20;
/// Enough to know what needs that.
const MAGIC: usize = 8;
/// Bytes of an S3 object that one request asks for when all of it is read.
const STEP: u64 = 8 << 20;

/// Something with bytes in it.
#[derive(Debug)]
pub struct Input {
    /// As it was named.
    pub name: String,
    /// In bytes; `None` of a pipe that holds more than is kept of it.
    pub size: Option<u64>,
    pub modified: Option<Millis>,
    /// What its store says of it: content type, user metadata.
    pub metadata: BTreeMap<String, String>,
    stored: Stored,
}

enum Stored {
    File(File),
    Memory(Bytes),
    /// Read once: the beginning is kept.
    Pipe {
        head: Bytes,
        rest: Mutex<Option<Box<dyn Read + Send>>>,
    },
    Remote(Remote),
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::File(_) => "File",
            Self::Memory(_) => "Memory",
            Self::Pipe { .. } => "Pipe",
            Self::Remote(_) => "Remote",
        })
    }
}

impl Input {
    /// A file, or a pipe that has a name. A folder is an error of kind `IsADirectory`.
    pub fn file(path: &Path) -> io::Result<Self> {
        let about = std::fs::metadata(path)?;
        if about.is_dir() {
            return Err(io::ErrorKind::IsADirectory.into());
        }
        let (name, file) = (path.display().to_string(), File::open(path)?);
        if !about.is_file() {
            return Self::pipe(name, file);
        }
        let modified = about.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let modified = modified.and_then(|time| Millis::try_from(time.as_millis()).ok());
        let (size, metadata) = (Some(about.len()), BTreeMap::new());
        Ok(Self { name, size, modified, metadata, stored: Stored::File(file) })
    }

    /// What can be read once, from its beginning: read here as far as it is kept, 64 MiB; 512 MiB of Parquet and of a pack.
    pub fn pipe(name: String, mut from: impl Read + Send + 'static) -> io::Result<Self> {
        let mut head = Vec::new();
        from.by_ref().take(MAGIC as u64).read_to_end(&mut head)?;
        let most = if is_sought(&head) { SOUGHT_PIPE } else { PIPE };
        let read = from.by_ref().take(most).read_to_end(&mut head)? as u64;
        let head = Bytes::from(head);
        let (size, stored) = if read < most {
            (Some(head.len() as u64), Stored::Memory(head))
        } else {
            (None, Stored::Pipe { head, rest: Mutex::new(Some(Box::new(from))) })
        };
        Ok(Self { name, size, modified: None, metadata: BTreeMap::new(), stored })
    }

    pub(super) fn remote(name: String, metadata: BTreeMap<String, String>, remote: Remote) -> Self {
        let (size, modified) = (Some(remote.size()), Some(remote.modified()));
        Self { name, size, modified, metadata, stored: Stored::Remote(remote) }
    }

    #[cfg(test)]
    pub fn memory(bytes: impl Into<Bytes>) -> Arc<Self> {
        let bytes = bytes.into();
        let (size, metadata) = (Some(bytes.len() as u64), BTreeMap::new());
        Arc::new(Self { name: "test".into(), size, modified: None, metadata, stored: Stored::Memory(bytes) })
    }

    /// All of it, from the beginning. Of a long pipe once.
    pub fn read(self: &Arc<Self>) -> io::Result<Box<dyn Read + Send>> {
        if let Stored::Pipe { head, rest } = &self.stored {
            let rest = rest.lock().unwrap_or_else(PoisonError::into_inner).take();
            let rest = rest.ok_or_else(|| io::Error::other("it can be read only once"))?;
            return Ok(Box::new(Cursor::new(head.clone()).chain(rest)));
        }
        Ok(Box::new(self.from(0)))
    }

    /// Whether [`Input::read`] can be called again.
    pub fn is_read_again(&self) -> bool {
        !matches!(self.stored, Stored::Pipe { .. })
    }

    /// Its beginning, any number of times: of a long pipe what is kept of it, else all.
    pub fn read_head(self: &Arc<Self>) -> Box<dyn Read + Send> {
        match &self.stored {
            Stored::Pipe { head, .. } => Box::new(Cursor::new(head.clone())),
            _ => Box::new(self.from(0)),
        }
    }

    /// From a byte on.
    pub fn from(self: &Arc<Self>, at: u64) -> Sequential {
        Sequential { input: Arc::clone(self), at, step: Bytes::new() }
    }

    /// So many bytes, or fewer where it ends before.
    pub fn range(&self, at: u64, length: usize) -> io::Result<Bytes> {
        let within = |bytes: &Bytes| {
            let from = usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
            bytes.slice(from..from.saturating_add(length).min(bytes.len()))
        };
        match &self.stored {
            Stored::File(file) => read_at(file, at, length),
            Stored::Memory(bytes) => Ok(within(bytes)),
            Stored::Remote(remote) => remote.range(at, length),
            Stored::Pipe { .. } => Err(io::Error::other(
                "it is a pipe of more than is kept in memory, and this must be read from its end: save it to a file, and \
                 name that",
            )),
        }
    }
}

/// Whether this is read from its end, or twice.
fn is_sought(head: &[u8]) -> bool {
    head.starts_with(b"PAR1") || head.starts_with(b"FMPACK")
}

fn read_at(file: &File, at: u64, length: usize) -> io::Result<Bytes> {
    // No more memory than there are bytes, whatever is asked for.
    let left = file.metadata()?.len().saturating_sub(at);
    let mut bytes = vec![0; usize::try_from(left).unwrap_or(usize::MAX).min(length)];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(filled);
    Ok(bytes.into())
}

/// Reads on from a byte.
#[derive(Debug)]
pub struct Sequential {
    input: Arc<Input>,
    at: u64,
    /// Of an S3 object: what was fetched and not read yet.
    step: Bytes,
}

impl Read for Sequential {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let length = match &self.input.stored {
            Stored::File(file) => file.read_at(into, self.at)?,
            _ => {
                if self.step.is_empty() && !into.is_empty() {
                    self.step = match &self.input.stored {
                        Stored::Remote(remote) => remote.step(self.at, STEP)?,
                        _ => self.input.range(self.at, into.len())?,
                    };
                }
                let length = self.step.len().min(into.len());
                into[..length].copy_from_slice(&self.step.split_to(length));
                length
            }
        };
        self.at += length as u64;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(input: &Arc<Input>) -> Vec<u8> {
        let mut bytes = Vec::new();
        input.read().unwrap().read_to_end(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_file_is_read_from_anywhere_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        let content: Vec<u8> = (0..=255).collect();
        std::fs::write(&path, &content).unwrap();
        let input = Arc::new(Input::file(&path).unwrap());
        assert_eq!((input.size, input.modified.is_some(), input.is_read_again()), (Some(256), true, true));
        assert!(all(&input) == content && all(&input) == content);
        assert_eq!(input.range(250, 3).unwrap(), content[250..253]);
        assert_eq!(input.range(250, usize::MAX).unwrap(), content[250..]);
        assert!(input.range(999, 3).unwrap().is_empty());
        assert_eq!(Input::file(folder.path()).unwrap_err().kind(), io::ErrorKind::IsADirectory);
    }

    #[test]
    fn a_short_pipe_is_as_good_as_a_file_and_a_long_one_is_read_once() {
        let short = Arc::new(Input::pipe("-".into(), &b"short"[..]).unwrap());
        assert_eq!((short.size, &all(&short)[..], &all(&short)[..]), (Some(5), &b"short"[..], &b"short"[..]));
        assert_eq!(short.range(1, 2).unwrap(), "ho");

        let long = Arc::new(Input::pipe("-".into(), io::repeat(b'x').take(PIPE + 100)).unwrap());
        assert_eq!((long.size, long.is_read_again()), (None, false));
        let mut head = [0; 3];
        long.read_head().read_exact(&mut head).unwrap();
        assert_eq!(all(&long).len() as u64, PIPE + 100);
        assert!(long.read().is_err() && long.range(0, 1).unwrap_err().to_string().contains("save it to a file"));
        let parquet = b"PAR1".chain(io::repeat(0).take(PIPE + 100));
        assert_eq!(Input::pipe("-".into(), parquet).unwrap().size, Some(PIPE + 104));
    }
}
