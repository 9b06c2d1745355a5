//! How far the reading of files has come.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counters that readers move and a person's display reads.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes of all files; `None` when one of them has no known end.
    total: Option<u64>,
    read: AtomicU64,
    records: AtomicU64,
}

impl Progress {
    pub fn new(total: u64, endless: bool) -> Self {
        Self { total: (!endless).then_some(total), ..Self::default() }
    }

    /// Bytes of all files, where that is known.
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// Bytes read so far.
    pub fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Records handed on so far.
    pub fn handed_on(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    pub(super) fn records(&self, records: usize) {
        self.records.fetch_add(records as u64, Ordering::Relaxed);
    }

    /// Counts what goes through.
    pub(super) fn counting<R: Read>(self: &Arc<Self>, input: R) -> Counting<R> {
        Counting { input, progress: Arc::clone(self) }
    }
}

pub struct Counting<R> {
    input: R,
    progress: Arc<Progress>,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.input.read(into)?;
        self.progress.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}
