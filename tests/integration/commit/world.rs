//! One store in memory and the workers' connections to it.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use firemain::clock::Clock;
use firemain::commit::group::GroupError;
use firemain::commit::log::KEPT;
use firemain::commit::snapshot::Snapshot;
use firemain::commit::storage::Storage;
use firemain::retry::Patience;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};

use super::stream::{Beliefs, Stream, Worker};
use crate::support::faults::{Call, Effect, Fault, Faulty, Recording};
use crate::support::invariants::Checker;

/// 2024-03-22T05:00:00Z.
const START: i64 = 1_711_083_600_000;

/// What really is in the store, with its whole past.
#[derive(Debug)]
pub struct World {
    pub store: Arc<Recording>,
    pub stream: Stream,
    pub beliefs: Beliefs,
    checked: Mutex<(usize, Checker)>,
}

/// One worker process: its connection, and what it did.
#[derive(Debug)]
pub struct Process {
    pub faulty: Faulty,
    pub recording: Recording,
    pub storage: Storage,
}

impl World {
    pub fn new(stream: &[(&'static str, u64)]) -> Self {
        Self::over(Arc::new(InMemory::new()), stream)
    }

    pub fn over(store: Arc<dyn ObjectStore>, stream: &[(&'static str, u64)]) -> Self {
        let store = Arc::new(Recording::new(store));
        let stream = Stream(stream.iter().copied().collect());
        let checker = Checker::new(super::stream::GROUP, Arc::new(stream.clone()), KEPT as u64);
        Self { store, stream, beliefs: Beliefs::default(), checked: Mutex::new((0, checker)) }
    }

    /// A process whose requests go as the script says. The seed is its chance: ids and jitter.
    pub fn process(&self, seed: u64, script: impl FnMut(usize, &Call) -> Fault + Send + 'static) -> Process {
        let faulty = Faulty::new(Arc::clone(&self.store) as Arc<dyn ObjectStore>, script);
        let recording = Recording::new(Arc::new(faulty.clone()));
        let clock = Clock::simulated(seed, START);
        let storage = Storage::new(Arc::new(recording.clone()), true, clock, Patience::default());
        Process { faulty, recording, storage }
    }

    /// A process without faults.
    pub fn healthy(&self, seed: u64) -> Process {
        self.process(seed, |_, _| Fault::Pass)
    }

    pub async fn join(&self, process: &Process) -> Result<Worker, GroupError> {
        Worker::join(process.storage.clone(), &self.stream, &self.beliefs).await
    }

    /// Checks the invariants after each request that came since the last call.
    pub fn check(&self) {
        self.checked(|_| ());
    }

    /// Checks, and asks about what is there now.
    pub fn checked<T>(&self, ask: impl FnOnce(&Checker) -> T) -> T {
        let (seen, checker) = &mut *self.checked.lock().unwrap_or_else(|broken| broken.into_inner());
        for effect in self.store.effects_from(*seen) {
            *seen += 1;
            checker.see(&effect);
        }
        for pack in self.beliefs.lock().unwrap().iter() {
            checker.believes(pack);
        }
        ask(checker)
    }

    pub fn head(&self) -> Snapshot {
        self.checked(|checker| checker.head.clone()).expect("a snapshot is there")
    }

    /// A worker without faults takes over what is left, once the lease is over, and cleans up: then everything is
    /// there, exactly once.
    pub async fn finish(&self, seed: u64) {
        let process = self.healthy(seed);
        let mut worker = self.join(&process).await.expect("nothing fails any more");
        worker.drain(3).await.expect("nothing fails any more");
        self.checked(|checker| checker.finished(&self.stream.events()));
    }

    pub async fn bytes_at(&self, key: &str) -> Option<Bytes> {
        match self.store.get(&key.into()).await {
            Ok(found) => Some(found.bytes().await.expect("memory reads")),
            Err(_) => None,
        }
    }
}

pub fn state_key(number: u64) -> String {
    format!("_firemain/{}/state/{number:020}.json", super::stream::GROUP)
}

/// Effects for people: short keys, and names in place of the ids of workers.
pub fn told(effects: &[Effect], names: &[(&str, &Worker)]) -> Vec<String> {
    let tell = |effect: &Effect| {
        let mut text = effect.to_string().replace(&format!("_firemain/{}/", super::stream::GROUP), "");
        for (name, worker) in names {
            text = text.replace(&worker.group.id().to_string(), name);
        }
        text = text.replace("/dt=2024-03-22/hour=05", "");
        match text.split_once("state/0000000000") {
            Some((verb, number)) => format!("{verb}state/{}", number.trim_start_matches('0').replace(".json", "")),
            None => text,
        }
    };
    effects.iter().map(tell).collect()
}
