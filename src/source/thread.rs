//! Records that a thread of its own reads out of a file, for a [`Reader`] to hand on.

use async_trait::async_trait;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::task::spawn_blocking;

use super::{Batch, Hold, ReadAhead, Reader, SourceError};
use crate::event::Record;
use crate::position::Indices;

/// Files that are read at once: each takes a thread.
pub const OPEN_FILES: usize = 8;
/// Records are handed on in batches of about so many bytes, to be decoded side by side.
const BATCH_BYTES: usize = 512 << 10;

/// Nobody takes records any more.
#[derive(Debug)]
pub struct Stopped;

/// Where the thread puts what it has read.
#[derive(Debug)]
pub struct Outlet {
    batch: Vec<Record>,
    bytes: usize,
    /// As in [`Batch`].
    done: Option<Indices>,
    read_ahead: ReadAhead,
    runtime: Handle,
    sender: mpsc::Sender<Result<Batch, SourceError>>,
    _open: OwnedSemaphorePermit,
}

/// Starts to read. `open`: held for as long as the thread runs. `done`: as in [`Batch`].
pub fn start(
    open: OwnedSemaphorePermit,
    read_ahead: &ReadAhead,
    done: Option<Indices>,
    read: impl FnOnce(Outlet) + Send + 'static,
) -> Box<dyn Reader> {
    let (sender, batches) = mpsc::channel(2);
    let (read_ahead, runtime) = (read_ahead.clone(), Handle::current());
    let outlet = Outlet { batch: Vec::new(), bytes: 0, done, read_ahead, runtime, sender, _open: open };
    spawn_blocking(move || read(outlet));
    Box::new(ThreadReader { batches, at_tip: false })
}

impl Outlet {
    /// Takes a record, and hands on those before it when they are enough; says how many that were.
    pub fn push(&mut self, record: Record) -> Result<usize, Stopped> {
        let full = !self.batch.is_empty() && self.bytes + record.data.len() > BATCH_BYTES;
        let sent = if full { self.send()? } else { 0 };
        self.bytes += record.data.len();
        self.batch.push(record);
        Ok(sent)
    }

    /// Hands on what is there, if anything is: the next record may be long in coming. Says how many.
    pub fn send(&mut self) -> Result<usize, Stopped> {
        if self.batch.is_empty() { Ok(0) } else { self.hand_on(Batch::default()) }
    }

    /// The same with the last ones. `at_end`: nothing can come behind them.
    pub fn finish(mut self, at_end: bool) -> Result<usize, Stopped> {
        self.hand_on(Batch { at_tip: true, at_end, ..Batch::default() })
    }

    fn hand_on(&mut self, batch: Batch) -> Result<usize, Stopped> {
        let hold: Hold = self.runtime.block_on(self.read_ahead.hold(self.bytes));
        self.bytes = 0;
        let (records, done) = (std::mem::take(&mut self.batch), self.done.clone());
        if let Some(done) = &mut self.done {
            records.iter().filter_map(|record| record.earlier.as_ref()).for_each(|earlier| done.insert(earlier.index));
        }
        let sent = records.len();
        self.sender.blocking_send(Ok(Batch { records, done, hold: Some(hold), ..batch })).map_err(|_| Stopped)?;
        Ok(sent)
    }

    /// The last word. Nobody listens when the worker has ended: then nobody cares either.
    pub fn fail(&self, error: SourceError) {
        let _ = self.sender.blocking_send(Err(error));
    }

    /// For what the thread waits for besides.
    pub fn runtime(&self) -> &Handle {
        &self.runtime
    }
}

/// Hands on what the thread sends.
#[derive(Debug)]
struct ThreadReader {
    batches: mpsc::Receiver<Result<Batch, SourceError>>,
    /// The last batch was handed on.
    at_tip: bool,
}

#[async_trait]
impl Reader for ThreadReader {
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
