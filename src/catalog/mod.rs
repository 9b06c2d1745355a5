//! Makes new partitions known to a catalogue, so that queries find them: behind delivery, which never waits for it.
//!
//! What is registered is told by the keys of published objects alone, so that packs of others are treated like one's own.
//! Invariant: idempotent. What can't be registered is tried again for as long as the process lives.

pub mod glue;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::Notify;
use tokio::time::sleep;
use tracing::{debug, warn};

use crate::clock::Clock;
use crate::partition::unescaped;
use crate::retry::{Patience, Retry, Verdict};
use crate::table::ERRORS;

/// Where tables and their partitions are known.
#[async_trait]
pub trait Catalog: fmt::Debug + Send + Sync {
    /// Makes these partitions of a table known, [`BATCH`] at most. Those that it knows stay as they are.
    ///
    /// # Errors
    /// When none of them is known. Of single ones that failed it says which they are, by their place, and why.
    async fn add(&self, table: &str, partitions: &[NewPartition]) -> Result<Vec<(usize, CatalogError)>, CatalogError>;
}

/// Partitions of one call: <https://docs.aws.amazon.com/glue/latest/webapi/API_BatchCreatePartition.html>
pub const BATCH: usize = 100;

/// A partition: the values of its columns, and its folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPartition {
    /// In the order of the key's folders, not escaped.
    pub values: Vec<String>,
    /// Its URL, escaped as the keys are, with a slash at the end.
    pub location: String,
}

/// Why partitions are not known.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// There is no such table, or none that partitions can be added to: nobody waits for it to come.
    #[error("{0}")]
    NoTable(String),
    /// Something is wrong with one of the partitions, which no other try will mend.
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Transient(String),
}

/// Registers the partitions of published objects, each once in a process: in a task of its own, so that nobody waits who
/// does not want to.
#[derive(Debug)]
pub struct Registrar {
    catalog: Arc<dyn Catalog>,
    /// The destination's URL, without a slash at the end.
    destination: String,
    /// The folder of rejections, whose table has a name of its own.
    errors: String,
    clock: Clock,
    folders: Mutex<Folders>,
    /// Told when folders are wanted, and when there are fewer.
    changed: Notify,
}

/// Folders below the destination.
#[derive(Debug, Default)]
struct Folders {
    known: HashSet<String>,
    /// By their table.
    wanted: BTreeMap<String, BTreeSet<String>>,
    /// Tables that were not there, once: it is said only then.
    missing: HashSet<String>,
}

/// The pause after a refusal, beside the usual one: somebody has to do something first.
const REFUSED: Duration = Duration::from_secs(60);
/// Folders that are remembered. A month of a thousand log groups would be more; what was forgotten is asked for again.
const REMEMBERED: usize = 100_000;

impl Registrar {
    pub fn new(catalog: Arc<dyn Catalog>, destination: &str, errors: &str, clock: Clock) -> Self {
        let destination = destination.trim_end_matches('/').to_owned();
        let errors = format!("{errors}/");
        Self { catalog, destination, errors, clock, folders: Mutex::default(), changed: Notify::new() }
    }

    /// Wants the partitions registered that these keys of objects lie in.
    pub fn add<'k>(&self, keys: impl IntoIterator<Item = &'k str>) {
        let mut folders = self.folders();
        for folder in keys.into_iter().filter_map(folder) {
            if let Some(table) = self.table(folder).filter(|_| !folders.known.contains(folder)) {
                folders.wanted.entry(table.to_owned()).or_default().insert(folder.to_owned());
            }
        }
        drop(folders);
        self.changed.notify_waiters();
    }

    /// How many partitions are wanted and not known yet.
    pub fn backlog(&self) -> usize {
        self.folders().wanted.values().map(BTreeSet::len).sum()
    }

    /// Returns when none of these keys lies in a partition that is wanted still.
    pub async fn registered(&self, keys: &[String]) {
        loop {
            let changed = self.changed.notified();
            let is_wanted = |folders: &Folders, key: &String| {
                let wanted = |folder: &str| folders.wanted.values().any(|wanted| wanted.contains(folder));
                folder(key).is_some_and(wanted)
            };
            let waits = {
                let folders = self.folders();
                keys.iter().any(|key| is_wanted(&folders, key))
            };
            if !waits {
                return;
            }
            changed.await;
        }
    }

    /// Registers what is wanted, for as long as it is polled. A failure is tried again for ever: nothing waits for it for
    /// long.
    pub async fn run(&self) -> Infallible {
        // Each table by itself: one that is refused does not hold up the others.
        let (mut tables, mut running) = (HashSet::new(), FuturesUnordered::new());
        loop {
            let changed = self.changed.notified();
            let wanted: Vec<String> = self.folders().wanted.keys().cloned().collect();
            running.extend(
                wanted.into_iter().filter(|table| tables.insert(table.clone())).map(|table| self.register(table)),
            );
            tokio::select! {
                Some(table) = running.next() => { tables.remove(&table); }
                () = changed => {}
            }
        }
    }

    /// Registers what is wanted of a table, batch by batch, and returns its name.
    async fn register(&self, table: String) -> String {
        let patience = Patience::default();
        patience.relax(Duration::MAX);
        let mut retry = Retry::new(&self.clock, &patience, format!("registering partitions of {table}"));
        let mut batch = BATCH;
        loop {
            let folders: Vec<String> =
                self.folders().wanted.get(&table).into_iter().flatten().take(batch).cloned().collect();
            if folders.is_empty() {
                return table;
            }
            let partitions: Vec<_> = folders.iter().map(|folder| self.partition(folder)).collect();
            let (verdict, error) = match self.catalog.add(&table, &partitions).await {
                Ok(failed) => {
                    batch = BATCH;
                    match self.added(&table, folders, failed) {
                        None => {
                            retry.recovered();
                            continue;
                        }
                        Some(error) => (Verdict::Transient, error),
                    }
                }
                Err(CatalogError::NoTable(why)) => {
                    self.leave(&table, &why);
                    return table;
                }
                // One of them is: the smaller the batch, the fewer others it takes with it.
                Err(CatalogError::Invalid(_)) if folders.len() > 1 => {
                    batch = folders.len() / 2;
                    continue;
                }
                Err(error @ CatalogError::Invalid(_)) => {
                    self.added(&table, folders, vec![(0, error)]);
                    continue;
                }
                Err(CatalogError::Refused(why)) => (Verdict::Refused, why),
                Err(CatalogError::Transient(why)) => (Verdict::Transient, why),
            };
            if retry.again(verdict, &error).await.is_err() {
                unreachable!("its patience has no end");
            }
            if verdict == Verdict::Refused {
                sleep(REFUSED).await;
            }
        }
    }

    /// Takes note of what is known now, and of what never will be. Returns why others have to be tried again, if any.
    fn added(&self, table: &str, mut folders: Vec<String>, failed: Vec<(usize, CatalogError)>) -> Option<String> {
        let (mut again, mut left) = (None, Vec::new());
        for (at, error) in failed.into_iter().rev() {
            let folder = folders.remove(at);
            match error {
                CatalogError::Transient(why) => again = Some(why),
                CatalogError::NoTable(why) | CatalogError::Invalid(why) | CatalogError::Refused(why) => {
                    warn!(table, folder, "this partition is not registered: {why}");
                    left.push(folder);
                }
            }
        }
        debug!(table, partitions = folders.len(), "registered");
        // Those that are left are not asked for again.
        folders.append(&mut left);
        self.done(table, &folders.into_iter().collect(), true);
        again
    }

    /// Leaves what is wanted of a table that is not there.
    fn leave(&self, table: &str, why: &str) {
        if self.folders().missing.insert(table.to_owned()) {
            warn!(
                table,
                "partitions are not registered: {why}; `firemain schema glue` prints the table, and MSCK REPAIR TABLE finds \
                 then what is there already"
            );
        }
        let folders = self.folders().wanted.get(table).cloned().unwrap_or_default();
        self.done(table, &folders, false);
    }

    fn done(&self, table: &str, done: &BTreeSet<String>, known: bool) {
        let mut folders = self.folders();
        if let Some(wanted) = folders.wanted.get_mut(table) {
            wanted.retain(|folder| !done.contains(folder));
        }
        folders.wanted.retain(|_, wanted| !wanted.is_empty());
        if known {
            folders.missing.remove(table);
            if folders.known.len() + done.len() > REMEMBERED {
                folders.known.clear();
            }
            folders.known.extend(done.iter().cloned());
        }
        drop(folders);
        self.changed.notify_waiters();
    }

    fn partition(&self, folder: &str) -> NewPartition {
        let values = folder.split('/').filter_map(|part| part.split_once('=')).map(|(_, value)| unescaped(value));
        NewPartition { values: values.collect(), location: format!("{}/{folder}/", self.destination) }
    }

    /// The table of a folder: what is before its first `column=value`.
    fn table<'f>(&self, folder: &'f str) -> Option<&'f str> {
        if folder.starts_with(&self.errors) {
            return Some(ERRORS);
        }
        folder.split('/').take_while(|part| !part.contains('=')).last()
    }

    fn folders(&self) -> MutexGuard<'_, Folders> {
        self.folders.lock().expect("no panic while it is locked")
    }
}

fn folder(key: &str) -> Option<&str> {
    Some(key.rsplit_once('/')?.0)
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};

    use super::*;

    /// Says these answers, the last one first, then yes; and what it was asked.
    #[derive(Debug, Default)]
    struct Scripted {
        answers: Mutex<Vec<CatalogError>>,
        asked: Mutex<Vec<(String, Vec<NewPartition>)>>,
    }

    #[async_trait]
    impl Catalog for Scripted {
        async fn add(
            &self,
            table: &str,
            partitions: &[NewPartition],
        ) -> Result<Vec<(usize, CatalogError)>, CatalogError> {
            self.asked.lock().unwrap().push((table.to_owned(), partitions.to_vec()));
            self.answers.lock().unwrap().pop().map_or(Ok(Vec::new()), Err)
        }
    }

    impl Scripted {
        fn asked(&self) -> Vec<(String, Vec<NewPartition>)> {
            std::mem::take(&mut *self.asked.lock().unwrap())
        }
    }

    fn registrar(answers: Vec<CatalogError>) -> (Arc<Scripted>, Arc<Registrar>) {
        let catalog = Arc::new(Scripted { answers: Mutex::new(answers), ..Scripted::default() });
        let clock = Clock::simulated(1, 0);
        let registrar = Registrar::new(Arc::clone(&catalog) as Arc<dyn Catalog>, "s3://lake/logs/", "bad/ones", clock);
        let registrar = Arc::new(registrar);
        let running = Arc::clone(&registrar);
        tokio::spawn(async move { running.run().await });
        (catalog, registrar)
    }

    async fn register(registrar: &Registrar, keys: &[&str]) -> bool {
        registrar.add(keys.iter().copied());
        let keys: Vec<_> = keys.iter().map(|key| (*key).to_owned()).collect();
        timeout(Duration::from_secs(60), registrar.registered(&keys)).await.is_ok()
    }

    const A: &str = "log_events/log_group=%2Faws%2Fa%25b/dt=2024-03-22/hour=05/";

    fn a(name: &str) -> String {
        format!("{A}{name}")
    }

    #[tokio::test(start_paused = true)]
    async fn each_partition_is_registered_once_with_its_values_unescaped() {
        let (catalog, registrar) = registrar(Vec::new());
        let rejection = "bad/ones/error=Event.Invalid/dt=2024-03-22/hour=05/3.json.gz";
        assert!(register(&registrar, &[&a("1.parquet"), &a("2.parquet"), rejection]).await);
        let partition = |values: [&str; 3], location: &str| NewPartition {
            values: values.map(str::to_owned).to_vec(),
            location: location.to_owned(),
        };
        let expected = [
            (
                "errors".to_owned(),
                vec![partition(
                    ["Event.Invalid", "2024-03-22", "05"],
                    "s3://lake/logs/bad/ones/error=Event.Invalid/dt=2024-03-22/hour=05/",
                )],
            ),
            (
                "log_events".to_owned(),
                vec![partition(["/aws/a%b", "2024-03-22", "05"], &format!("s3://lake/logs/{A}"))],
            ),
        ];
        assert_eq!(catalog.asked(), expected);
        assert!(register(&registrar, &[&a("3.parquet")]).await);
        assert_eq!((catalog.asked(), registrar.backlog()), (Vec::new(), 0), "it is known");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_are_tried_again_for_ever() {
        let refused = || CatalogError::Refused("denied".into());
        let (catalog, registrar) =
            registrar((0..100).map(|_| refused()).chain([CatalogError::Transient("throttled".into())]).collect());
        let began = Instant::now();
        assert!(!register(&registrar, &[&a("1.parquet")]).await, "not within a minute");
        assert_eq!(registrar.backlog(), 1);
        registrar.registered(&[a("1.parquet")]).await;
        assert_eq!((catalog.asked().len(), registrar.backlog()), (102, 0));
        // A minute and some seconds after each refusal.
        assert!(began.elapsed() > Duration::from_secs(6000) && began.elapsed() < Duration::from_secs(7000));
    }

    /// Denies one table, and takes note of the others.
    #[derive(Debug, Default)]
    struct DeniesErrors(Mutex<Vec<String>>);

    #[async_trait]
    impl Catalog for DeniesErrors {
        async fn add(&self, table: &str, _: &[NewPartition]) -> Result<Vec<(usize, CatalogError)>, CatalogError> {
            if table == ERRORS {
                return Err(CatalogError::Refused("denied".into()));
            }
            self.0.lock().unwrap().push(table.to_owned());
            Ok(Vec::new())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_table_that_is_refused_does_not_hold_up_the_others() {
        let catalog = Arc::new(DeniesErrors::default());
        let registrar = Arc::new(Registrar::new(catalog.clone(), "s3://lake", "errors", Clock::simulated(1, 0)));
        let running = Arc::clone(&registrar);
        tokio::spawn(async move { running.run().await });
        assert!(!register(&registrar, &["errors/error=X/dt=2024-03-22/hour=05/1.json.gz"]).await);
        assert!(register(&registrar, &[&a("1.parquet")]).await);
        assert!(register(&registrar, &["web/log_group=x/dt=2024-03-22/hour=05/1.parquet"]).await);
        assert_eq!(
            (catalog.0.lock().unwrap().as_slice(), registrar.backlog()),
            (&["log_events".to_owned(), "web".to_owned()][..], 1)
        );
    }

    /// Fails every second call, refuses one partition in its answer and another by refusing the whole batch.
    #[derive(Debug, Default)]
    struct Picky {
        calls: Mutex<usize>,
        known: Mutex<Vec<String>>,
    }

    #[async_trait]
    impl Catalog for Picky {
        async fn add(&self, _: &str, partitions: &[NewPartition]) -> Result<Vec<(usize, CatalogError)>, CatalogError> {
            assert!(partitions.len() <= BATCH);
            *self.calls.lock().unwrap() += 1;
            if self.calls.lock().unwrap().is_multiple_of(2) {
                return Err(CatalogError::Transient("throttled".into()));
            }
            if partitions.iter().any(|partition| partition.values[0] == "g250") {
                return Err(CatalogError::Invalid("g250".into()));
            }
            let (mut failed, mut known) = (Vec::new(), self.known.lock().unwrap());
            for (at, partition) in partitions.iter().enumerate() {
                match partition.values[0].as_str() {
                    "g120" => failed.push((at, CatalogError::Invalid("g120".into()))),
                    name => known.push(name.to_owned()),
                }
            }
            Ok(failed)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn each_batch_counts_and_one_partition_that_is_refused_takes_no_other_with_it() {
        let catalog = Arc::new(Picky::default());
        let registrar = Arc::new(Registrar::new(catalog.clone(), "s3://lake", "errors", Clock::simulated(1, 0)));
        let running = Arc::clone(&registrar);
        tokio::spawn(async move { running.run().await });
        let keys: Vec<_> = (0..450).map(|n| format!("t/log_group=g{n:03}/dt=2024-03-22/hour=05/1.parquet")).collect();
        let keys: Vec<_> = keys.iter().map(String::as_str).collect();
        assert!(register(&registrar, &keys).await);
        let mut known = catalog.known.lock().unwrap().clone();
        known.sort();
        let expected: Vec<_> = (0..450).filter(|n| ![120, 250].contains(n)).map(|n| format!("g{n:03}")).collect();
        assert_eq!(known, expected, "each once");
        assert!(*catalog.calls.lock().unwrap() < 40);
    }

    #[tokio::test(start_paused = true)]
    async fn a_table_that_is_not_there_is_left_and_asked_for_with_the_next_object() {
        let (catalog, registrar) = registrar(vec![CatalogError::NoTable("none".into())]);
        assert!(register(&registrar, &[&a("1.parquet")]).await, "nobody waits for it");
        assert_eq!(catalog.asked().len(), 1);
        assert!(register(&registrar, &[&a("2.parquet")]).await);
        assert_eq!(catalog.asked().len(), 1, "it may have come");
    }
}
