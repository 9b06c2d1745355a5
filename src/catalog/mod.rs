//! Makes new partitions known to a catalogue, so that queries find them: behind delivery, which never waits for it.
//!
//! What is registered is told by the keys of published objects alone, so that packs of others are treated like one's own.
//! Invariant: idempotent. What can't be registered is tried again for as long as the process lives; of each table so many
//! partitions are kept for that, and not more.

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
use tracing::{debug, info, warn};

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
    /// When none of them is known.
    async fn add(&self, table: &str, partitions: &[NewPartition]) -> Result<Added, CatalogError>;
}

/// What became of partitions that were to be made known.
#[derive(Debug, Default)]
pub struct Added {
    /// Those that failed, by their place, and why.
    pub failed: Vec<(usize, CatalogError)>,
    /// What tells the table from another of its name that there was before: it is new when a table was made again.
    pub made: String,
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
    /// There is no such table, or none that partitions can be added to. It may come.
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
    /// By their names.
    tables: Mutex<BTreeMap<String, Table>>,
    /// Told when folders are wanted, and when there are fewer.
    changed: Notify,
}

/// Partitions of a table, as folders below the destination.
#[derive(Debug, Default)]
struct Table {
    wanted: BTreeSet<String>,
    known: HashSet<String>,
    /// Of the table that knows them.
    made: String,
    /// It was not there when it was last asked for.
    is_missing: bool,
    /// Objects in partitions that there was no room to want.
    dropped: usize,
}

/// The pause after a refusal, beside the usual one: somebody has to do something first.
const REFUSED: Duration = Duration::from_secs(60);
/// The pause, at most, before a table that was not there is asked for again.
const MISSING: Duration = Duration::from_secs(300);
/// Folders of a table that are wanted at once: of a hundred log groups those of four days.
const MOST_WANTED: usize = 10_000;
/// Folders that are remembered. A month of a thousand log groups would be more; what was forgotten is asked for again.
const REMEMBERED: usize = 100_000;

impl Table {
    fn want(&mut self, name: &str, folder: &str) {
        if self.known.contains(folder) || self.wanted.contains(folder) {
            return;
        }
        if self.wanted.len() < MOST_WANTED {
            self.wanted.insert(folder.to_owned());
            return;
        }
        if self.dropped == 0 {
            warn!(
                table = name,
                "{MOST_WANTED} partitions wait to be registered: further ones are not kept, and MSCK REPAIR TABLE finds them"
            );
        }
        self.dropped += 1;
    }

    /// Forgets what another table of this name knew.
    fn is_that_of(&mut self, name: &str, made: String) {
        if self.made == made {
            return;
        }
        let is_first = std::mem::replace(&mut self.made, made).is_empty();
        if !is_first {
            let known = std::mem::take(&mut self.known);
            info!(table = name, partitions = known.len(), "the table was made again: so are its partitions registered");
            known.iter().for_each(|folder| self.want(name, folder));
        }
    }
}

impl Registrar {
    pub fn new(catalog: Arc<dyn Catalog>, destination: &str, errors: &str, clock: Clock) -> Self {
        let destination = destination.trim_end_matches('/').to_owned();
        let errors = format!("{errors}/");
        Self { catalog, destination, errors, clock, tables: Mutex::default(), changed: Notify::new() }
    }

    /// Wants the partitions registered that these keys of objects lie in.
    pub fn add<'k>(&self, keys: impl IntoIterator<Item = &'k str>) {
        let mut tables = self.tables();
        for folder in keys.into_iter().filter_map(folder) {
            if let Some(name) = self.table_of(folder) {
                tables.entry(name.to_owned()).or_default().want(name, folder);
            }
        }
        drop(tables);
        self.changed.notify_waiters();
    }

    /// How many partitions are wanted and not known yet, of tables that are there; and how many objects are in others
    /// that there was no room to want.
    pub fn backlog(&self) -> (usize, usize) {
        let tables = self.tables();
        let there = tables.values().filter(|table| !table.is_missing);
        there.fold((0, 0), |(wanted, dropped), table| (wanted + table.wanted.len(), dropped + table.dropped))
    }

    /// Returns when none of these keys lies in a partition that is wanted still; nobody waits for a table to be made.
    pub async fn registered(&self, keys: &[String]) {
        loop {
            let changed = self.changed.notified();
            let waits = {
                let tables = self.tables();
                keys.iter().filter_map(|key| folder(key)).any(|folder| {
                    let table = self.table_of(folder).and_then(|name| tables.get(name));
                    table.is_some_and(|table| !table.is_missing && table.wanted.contains(folder))
                })
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
            let wanted: Vec<_> = self
                .tables()
                .iter()
                .filter(|(_, table)| !table.wanted.is_empty())
                .map(|(name, _)| name.clone())
                .collect();
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
            let folders: Vec<String> = {
                let tables = self.tables();
                tables.get(&table).into_iter().flat_map(|table| &table.wanted).take(batch).cloned().collect()
            };
            if folders.is_empty() {
                return table;
            }
            let partitions: Vec<_> = folders.iter().map(|folder| self.partition(folder)).collect();
            let (verdict, error) = match self.catalog.add(&table, &partitions).await {
                Ok(added) => {
                    batch = BATCH;
                    match self.added(&table, folders, added) {
                        None => {
                            retry.recovered();
                            continue;
                        }
                        Some(error) => (Verdict::Transient, error),
                    }
                }
                Err(CatalogError::NoTable(why)) => {
                    self.missing(&table, &why);
                    // It is known when it comes by no other way than asking.
                    sleep(self.clock.jitter(MISSING)).await;
                    continue;
                }
                // One of them is: the smaller the batch, the fewer others it takes with it.
                Err(CatalogError::Invalid(_)) if folders.len() > 1 => {
                    batch = folders.len() / 2;
                    continue;
                }
                Err(error @ CatalogError::Invalid(_)) => {
                    self.settle(&table, folders, vec![(0, error)]);
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

    /// Takes note of what a catalogue made known. Returns why others have to be tried again, if any.
    fn added(&self, name: &str, folders: Vec<String>, Added { failed, made }: Added) -> Option<String> {
        let mut tables = self.tables();
        let table = tables.entry(name.to_owned()).or_default();
        if std::mem::take(&mut table.is_missing) {
            info!(table = name, "the table is there now: its partitions are registered");
        }
        table.is_that_of(name, made);
        drop(tables);
        self.settle(name, folders, failed)
    }

    /// Takes note of what is known now, and of what never will be. Returns why others have to be tried again, if any.
    fn settle(&self, name: &str, mut folders: Vec<String>, failed: Vec<(usize, CatalogError)>) -> Option<String> {
        let (mut again, mut left) = (None, Vec::new());
        for (at, error) in failed.into_iter().rev() {
            let folder = folders.remove(at);
            match error {
                CatalogError::Transient(why) => again = Some(why),
                CatalogError::NoTable(why) | CatalogError::Invalid(why) | CatalogError::Refused(why) => {
                    warn!(table = name, folder, "this partition is not registered: {why}");
                    left.push(folder);
                }
            }
        }
        debug!(table = name, partitions = folders.len(), "registered");
        // Those that are left are not asked for again.
        folders.append(&mut left);
        let mut tables = self.tables();
        if tables.values().map(|table| table.known.len()).sum::<usize>() + folders.len() > REMEMBERED {
            tables.values_mut().for_each(|table| table.known.clear());
        }
        let table = tables.entry(name.to_owned()).or_default();
        for folder in folders {
            table.wanted.remove(&folder);
            table.known.insert(folder);
        }
        let dropped = if table.wanted.is_empty() { std::mem::take(&mut table.dropped) } else { 0 };
        if dropped > 0 {
            warn!(
                table = name,
                objects = dropped,
                "partitions are registered again, but not those of these objects: MSCK REPAIR TABLE finds them"
            );
        }
        drop(tables);
        self.changed.notify_waiters();
        again
    }

    /// Nobody waits for a table that is not there; what is wanted of it stays so.
    fn missing(&self, name: &str, why: &str) {
        let was_missing = {
            let mut tables = self.tables();
            std::mem::replace(&mut tables.entry(name.to_owned()).or_default().is_missing, true)
        };
        if !was_missing {
            warn!(
                table = name,
                "partitions are not registered: {why}; `firemain schema glue` prints the table, and MSCK REPAIR TABLE finds \
                 then what is there already"
            );
        }
        self.changed.notify_waiters();
    }

    fn partition(&self, folder: &str) -> NewPartition {
        let values = folder.split('/').filter_map(|part| part.split_once('=')).map(|(_, value)| unescaped(value));
        NewPartition { values: values.collect(), location: format!("{}/{folder}/", self.destination) }
    }

    /// The table of a folder: what is before its first `column=value`.
    fn table_of<'f>(&self, folder: &'f str) -> Option<&'f str> {
        if folder.starts_with(&self.errors) {
            return Some(ERRORS);
        }
        folder.split('/').take_while(|part| !part.contains('=')).last()
    }

    fn tables(&self) -> MutexGuard<'_, BTreeMap<String, Table>> {
        self.tables.lock().expect("no panic while it is locked")
    }
}

fn folder(key: &str) -> Option<&str> {
    Some(key.rsplit_once('/')?.0)
}

#[cfg(test)]
mod tests;
