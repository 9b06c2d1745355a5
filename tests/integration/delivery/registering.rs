//! Partitions are registered behind delivery, with a catalogue that works, fails, hangs, or is told by a successor.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use firemain::catalog::{Added, Catalog, CatalogError, NewPartition, Registrar};
use firemain::clock::Clock;
use firemain::worker::Parts;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::lake::Lake;
use super::script::{ScriptedSource, open, payload};
use super::{LEASE, never, parts, run};

/// A catalogue that answers only while it is up, and what it knows.
#[derive(Debug, Default)]
struct Known {
    up: AtomicBool,
    /// Down, it does not even answer.
    hangs: bool,
    locations: Mutex<Vec<String>>,
}

#[async_trait]
impl Catalog for Known {
    async fn add(&self, table: &str, partitions: &[NewPartition]) -> Result<Added, CatalogError> {
        if !self.up.load(Ordering::Relaxed) {
            if self.hangs {
                std::future::pending::<()>().await;
            }
            return Err(CatalogError::Transient("503".into()));
        }
        assert_eq!(table, "log_events");
        self.locations.lock().unwrap().extend(partitions.iter().map(|partition| partition.location.clone()));
        Ok(Added::default())
    }
}

impl Known {
    fn locations(&self) -> Vec<String> {
        let mut locations = self.locations.lock().unwrap().clone();
        locations.sort();
        locations
    }
}

fn registering(parts: Parts, catalog: &Arc<Known>) -> Parts {
    let clock = Clock::simulated(7, 0);
    let registrar = Registrar::new(Arc::clone(catalog) as Arc<dyn Catalog>, "s3://lake", "errors", clock);
    Parts { registrar: Some(Arc::new(registrar)), ..parts }
}

fn source() -> ScriptedSource {
    ScriptedSource::new([("a", open(vec![payload("/x", 0..5), payload("/y", 5..9), payload("/x", 9..12)]))])
}

const LOCATIONS: [&str; 2] = [
    "s3://lake/log_events/log_group=%2Fx/dt=2024-03-22/hour=05/",
    "s3://lake/log_events/log_group=%2Fy/dt=2024-03-22/hour=05/",
];

#[tokio::test(start_paused = true)]
async fn each_partition_is_registered_once() {
    let (store, catalog): (Arc<dyn ObjectStore>, _) = (Arc::new(InMemory::new()), Arc::new(Known::default()));
    catalog.up.store(true, Ordering::Relaxed);
    run(registering(parts(&source(), Arc::clone(&store), true), &catalog), never()).await.unwrap();
    assert_eq!(catalog.locations(), LOCATIONS);
    assert_eq!(Lake::read(&store).await.ids().len(), 12);
}

#[tokio::test(start_paused = true)]
async fn a_catalogue_that_is_down_holds_up_neither_delivery_nor_the_end() {
    for hangs in [false, true] {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let catalog = Arc::new(Known { hangs, ..Known::default() });
        let began = Instant::now();
        let parts = registering(parts(&source(), Arc::clone(&store), true), &catalog);
        run(parts, never()).await.unwrap();
        assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
        let lake = Lake::read(&store).await;
        assert_eq!((lake.ids().len(), lake.states()), (12, lake.others.len()), "{:?}", lake.others);
    }
}

#[tokio::test(start_paused = true)]
async fn partitions_are_registered_once_the_catalogue_is_up_and_packs_wait_a_minute_for_it() {
    let (store, catalog): (Arc<dyn ObjectStore>, _) = (Arc::new(InMemory::new()), Arc::new(Known::default()));
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(run(registering(parts(&source(), Arc::clone(&store), false), &catalog), stopped));
    let packs = async || Lake::read(&store).await.others.iter().filter(|key| key.ends_with(".pack")).count();
    sleep(Duration::from_secs(80)).await;
    assert_eq!(Lake::read(&store).await.ids().len(), 12, "it is delivered");
    assert_eq!(packs().await, 1, "a successor would have to know");
    sleep(Duration::from_secs(120)).await;
    assert_eq!(packs().await, 0, "it has waited long enough");
    catalog.up.store(true, Ordering::Relaxed);
    sleep(Duration::from_secs(10)).await;
    assert_eq!(catalog.locations(), LOCATIONS);
    stop.send_replace(true);
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_successor_registers_what_its_predecessor_was_killed_before() {
    let (store, catalog): (Arc<dyn ObjectStore>, _) = (Arc::new(InMemory::new()), Arc::new(Known::default()));
    let source = source();
    let killed = registering(parts(&source, Arc::clone(&store), false), &catalog);
    // Flushed after a minute, and published; the catalogue does not answer.
    assert!(timeout(Duration::from_secs(80), run(killed, never())).await.is_err());
    let delivered = Lake::read(&store).await.ids();
    assert_eq!((delivered.len(), catalog.locations()), (12, Vec::new()));

    catalog.up.store(true, Ordering::Relaxed);
    sleep(LEASE).await;
    run(registering(parts(&source, Arc::clone(&store), true), &catalog), never()).await.unwrap();
    let known: BTreeSet<_> = catalog.locations().into_iter().collect();
    assert!(known.iter().eq(LOCATIONS), "{known:?}");
    assert_eq!(Lake::read(&store).await.ids(), delivered);
}
