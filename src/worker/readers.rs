//! One task a shard, all into one bounded queue.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::shards::Tenure;
use crate::event::ShardId;
use crate::position::Position;
use crate::source::{Batch, Source, SourceError};

/// Batches wait here; what they weigh is bounded by [`crate::source::ReadAhead`].
const QUEUE: usize = 16;

#[derive(Debug)]
pub struct Readers {
    tasks: BTreeMap<ShardId, JoinHandle<()>>,
    sender: mpsc::Sender<Read>,
    queue: mpsc::Receiver<Read>,
}

/// What a reader has to say of its shard.
#[derive(Debug)]
pub struct Read {
    pub shard: ShardId,
    pub tenure: Tenure,
    pub batch: Result<Batch, SourceError>,
}

impl Readers {
    pub fn new() -> Self {
        let (sender, queue) = mpsc::channel(QUEUE);
        Self { tasks: BTreeMap::new(), sender, queue }
    }

    /// Starts to read a shard that is not being read.
    pub fn start(&mut self, source: &Arc<dyn Source>, shard: &ShardId, tenure: Tenure, from: Position) {
        let (source, id, sender) = (Arc::clone(source), shard.clone(), self.sender.clone());
        let task = tokio::spawn(async move {
            if let Err(error) = read(source.as_ref(), &id, tenure, &from, &sender).await {
                // Nobody listens when the worker has ended: then nobody cares either.
                let _ = sender.send(Read { shard: id, tenure, batch: Err(error) }).await;
            }
        });
        self.tasks.insert(shard.clone(), task);
    }

    /// Reads a shard no more. What it has fetched may still come: it is known by its tenure.
    pub fn end(&mut self, shard: &ShardId) {
        if let Some(task) = self.tasks.remove(shard) {
            task.abort();
        }
    }

    /// The next batch of any shard.
    pub async fn next(&mut self) -> Read {
        self.queue.recv().await.expect("this holds a sender itself")
    }

    /// Ends every reader; what they had fetched is forgotten, and read again by whoever comes next.
    pub fn stop(&mut self) {
        for task in std::mem::take(&mut self.tasks).into_values() {
            task.abort();
        }
        while self.queue.try_recv().is_ok() {}
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn read(
    source: &dyn Source,
    shard: &ShardId,
    tenure: Tenure,
    from: &Position,
    sender: &mpsc::Sender<Read>,
) -> Result<(), SourceError> {
    let mut reader = source.open(shard, from).await?;
    loop {
        let batch = reader.next().await?;
        let at_end = batch.at_end;
        let sent = sender.send(Read { shard: shard.clone(), tenure, batch: Ok(batch) }).await;
        if at_end || sent.is_err() {
            return Ok(());
        }
    }
}
