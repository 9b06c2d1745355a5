//! The last step of a pack: its partitions are registered with a catalogue, where there is one. Only then is it cleared,
//! so that whoever takes over from a worker that was killed registers them; but nothing waits for a catalogue that is
//! down.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::warn;

use crate::catalog::Registrar;
use crate::commit::snapshot::PackId;

/// How long a pack waits for its partitions. Past it they are registered by this process alone, as long as it lives.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same for a worker that ends.
const LAST: Duration = Duration::from_secs(10);

/// A pack whose objects are at their keys.
#[derive(Debug)]
pub struct Published {
    pub id: PackId,
    pub keys: Vec<String>,
    /// Rows and bytes of each.
    pub sizes: Vec<(u64, u64)>,
}

/// Packs that are published and wait for their partitions.
#[derive(Debug)]
pub struct Registering {
    registrar: Option<Arc<Registrar>>,
    /// Ends when this is dropped.
    _running: JoinSet<Infallible>,
    waiting: JoinSet<PackId>,
    /// True from when the worker ends.
    ending: watch::Sender<bool>,
}

impl Registering {
    /// Without a registrar nothing waits.
    pub fn new(registrar: Option<Arc<Registrar>>) -> Self {
        let mut running = JoinSet::new();
        if let Some(registrar) = registrar.clone() {
            running.spawn(async move { registrar.run().await });
        }
        Self { registrar, _running: running, waiting: JoinSet::new(), ending: watch::Sender::new(false) }
    }

    /// Has the partitions of a pack registered. Returns the pack if it need not wait for that.
    pub fn begin(&mut self, Published { id, keys, .. }: Published) -> Option<PackId> {
        let Some(registrar) = self.registrar.clone() else { return Some(id) };
        registrar.add(keys.iter().map(String::as_str));
        let mut ending = self.ending.subscribe();
        self.waiting.spawn(async move {
            let last = async {
                // The sender lives as long as this task.
                let _ = ending.wait_for(|ending| *ending).await;
                sleep(LAST).await;
            };
            tokio::select! {
                () = registrar.registered(&keys) => {}
                () = sleep(PATIENCE) => warn!(pack = %id, "partitions are not registered yet: that goes on behind delivery"),
                () = last => {}
            }
            id
        });
        None
    }

    /// The next pack that need not wait any longer; `None` while none waits.
    pub async fn next(&mut self) -> Option<PackId> {
        Some(self.waiting.join_next().await?.expect("waiting does not panic"))
    }

    /// All that are left, after a little while at most.
    pub async fn finish(&mut self) -> Vec<PackId> {
        self.ending.send_replace(true);
        let mut packs = Vec::new();
        while let Some(pack) = self.next().await {
            packs.push(pack);
        }
        let (partitions, objects) = self.registrar.as_ref().map(|registrar| registrar.backlog()).unwrap_or_default();
        if partitions + objects > 0 {
            let others = if objects > 0 { format!(", nor those of {objects} more objects,") } else { String::new() };
            warn!(
                "{partitions} partitions could not be registered{others} before the end: MSCK REPAIR TABLE finds them"
            );
        }
        packs
    }
}
