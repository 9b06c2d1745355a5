//! One task a shard, all into one bounded queue.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::event::ShardId;
use crate::position::Position;
use crate::source::{Batch, Source, SourceError};

/// Batches wait here; what they weigh is bounded by [`crate::source::ReadAhead`].
const QUEUE: usize = 16;

#[derive(Debug)]
pub struct Readers {
    tasks: HashMap<ShardId, JoinHandle<()>>,
    sender: mpsc::Sender<Read>,
    queue: mpsc::Receiver<Read>,
}

/// What a reader has to say of its shard.
#[derive(Debug)]
pub struct Read {
    pub shard: ShardId,
    pub batch: Result<Batch, SourceError>,
}

impl Readers {
    pub fn new() -> Self {
        let (sender, queue) = mpsc::channel(QUEUE);
        Self { tasks: HashMap::new(), sender, queue }
    }

    /// Starts to read a shard, unless it is being read.
    pub fn start(&mut self, source: &Arc<dyn Source>, shard: &ShardId, from: Position) {
        if self.tasks.contains_key(shard) {
            return;
        }
        let (source, id, sender) = (Arc::clone(source), shard.clone(), self.sender.clone());
        let task = tokio::spawn(async move {
            if let Err(error) = read(source.as_ref(), &id, &from, &sender).await {
                // Nobody listens when the worker has ended: then nobody cares either.
                let _ = sender.send(Read { shard: id, batch: Err(error) }).await;
            }
        });
        self.tasks.insert(shard.clone(), task);
    }

    /// The next batch of any shard.
    pub async fn next(&mut self) -> Read {
        self.queue.recv().await.expect("this holds a sender itself")
    }

    /// Ends every reader; what they had fetched is forgotten, and read again by whoever comes next.
    pub fn stop(&mut self) {
        for (_, task) in self.tasks.drain() {
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
    from: &Position,
    sender: &mpsc::Sender<Read>,
) -> Result<(), SourceError> {
    let mut reader = source.open(shard, from).await?;
    loop {
        let batch = reader.next().await?;
        let at_end = batch.at_end;
        let sent = sender.send(Read { shard: shard.clone(), batch: Ok(batch) }).await;
        if at_end || sent.is_err() {
            return Ok(());
        }
    }
}
