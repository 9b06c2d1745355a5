//! What the service does with its destination, really done, by the same client: below every prefix that it will use.
//!
//! Probes have names that nobody else reads ([`PROBE`]), and are deleted whatever happens; what can't be is named.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use futures::stream::iter;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};
use tokio::time::sleep;

use super::aws::{NO_CREDENTIALS, Settings};
use super::{Finding, Topic, action_in, bounded, local, silence, unreachable_because};
use crate::clock::Clock;
use crate::commit::log::PROBE;
use crate::config::{Config, Destination, TableConfig};
use crate::retry::Verdict;
use crate::service;
use crate::store::{self, Advice, OpenError};
use crate::table::LOG_EVENTS;
use crate::table::tables::{OnMismatch, Tables};

/// One thing that is done with objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Create,
    /// Of an object that is there: it must be refused.
    SecondCreate,
    Overwrite,
    List,
    Get,
    Multipart,
    Delete,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::SecondCreate => "create only once",
            Self::Overwrite => "overwrite",
            Self::List => "list",
            Self::Get => "get",
            Self::Multipart => "multipart upload",
            Self::Delete => "delete",
        }
    }
}

/// A folder below the destination that the service writes in.
#[derive(Debug)]
struct Place {
    /// What it is called in a line.
    name: String,
    folder: Path,
    /// What the service does there; that something else is refused is a warning.
    needs: &'static [Step],
}

/// Places that are tried at once.
const AT_ONCE: usize = 8;

/// The places of a configuration: each table that rows may come into has its own, for leave may be given table by table.
fn places(config: &Config, tables: &Tables) -> Vec<Place> {
    use Step::{Create, Delete, Get, List, Multipart, Overwrite, SecondCreate};
    let group = Path::from("_firemain").join(config.group.as_str());
    let errors = &config.errors.prefix;
    let of_group = |name: &str, needs| Place { name: name.to_owned(), folder: group.clone().join(name), needs };
    // Errors may be delivered some folders deep.
    let below = |name: &str| Path::parse(name).expect("the configuration has checked it");
    let of_table = |name: &str| Place { name: name.to_owned(), folder: below(name), needs: &[Overwrite, Multipart] };
    let of_group = [
        of_group("state", &[Create, SecondCreate, List, Get, Delete]),
        of_group("staged", &[Overwrite, List, Get, Multipart, Delete]),
        of_group("workers", &[Create, SecondCreate, Overwrite, List, Delete]),
    ];
    let tables = tables.iter().filter(|table| *table.name != *LOG_EVENTS || takes_others(config));
    of_group.into_iter().chain(tables.map(|table| of_table(&table.name))).chain([of_table(errors)]).collect()
}

/// Whether a row may come into the table of all others: not when rules take every log group, and reject what does not match.
fn takes_others(config: &Config) -> bool {
    let is_everything = |glob: &String| !glob.is_empty() && glob.chars().all(|character| character == '*');
    let Some(last) = config.tables.iter().position(|rule| rule.log_groups.iter().any(is_everything)) else {
        return true;
    };
    let name = |rule: &TableConfig| rule.name.as_ref().unwrap_or(&rule.schema) == LOG_EVENTS;
    config.tables[..=last].iter().any(|rule| rule.on_mismatch == OnMismatch::LogEvents || name(rule))
}

/// Objects that are there, or may be: they have to go again.
#[derive(Debug, Default)]
pub struct Probes {
    keys: Mutex<BTreeSet<Path>>,
    store: Mutex<Option<Arc<dyn ObjectStore>>>,
}

impl Probes {
    /// Deletes what is there still, when the checks were ended half-way. Returns what could not be deleted.
    pub async fn clear(&self) -> Vec<String> {
        let keys: Vec<Path> = self.keys.lock().expect("no panic while it is locked").iter().cloned().collect();
        let store = self.store.lock().expect("no panic while it is locked").clone();
        let Some(store) = store else { return Vec::new() };
        let deleted = join_all(keys.iter().map(|key| self.delete(store.as_ref(), key))).await;
        keys.iter().zip(deleted).filter(|(_, deleted)| deleted.is_err()).map(|(key, _)| key.to_string()).collect()
    }

    fn will_put(&self, key: &Path) {
        self.keys.lock().expect("no panic while it is locked").insert(key.clone());
    }

    async fn delete(&self, store: &dyn ObjectStore, key: &Path) -> Result<(), Trouble> {
        match tried(store.delete(key)).await {
            Err(trouble) if !trouble.is_absence => Err(trouble),
            _ => {
                self.keys.lock().expect("no panic while it is locked").remove(key);
                Ok(())
            }
        }
    }
}

/// Tries every place of the destination.
pub(super) async fn check(config: &Config, tables: &Tables, settings: &Settings, probes: &Probes, topic: Topic) {
    let aws = match settings {
        Settings::Found(found) => Some(&found.aws),
        Settings::Missing | Settings::NotNeeded => None,
    };
    if aws.is_none() && matches!(config.destination, Destination::S3 { .. }) {
        topic.tell("objects", Finding::not_checked(NO_CREDENTIALS));
        return;
    }
    let places = places(config, tables);
    // On a disk the probes make folders too.
    let made = match &config.destination {
        Destination::File { folder } => local::Made::of(places.iter().map(|place| folder.join(place.folder.as_ref()))),
        Destination::S3 { .. } | Destination::Memory => local::Made::default(),
    };
    let opened = match store::open(&config.destination, aws) {
        Ok(opened) => opened,
        Err(OpenError::Folder { .. }) => {
            topic.tell("objects", Finding::not_checked("there is no folder for them, see above"));
            return;
        }
        Err(error) => {
            topic.tell("objects", Finding::failed(error.to_string()));
            return;
        }
    };
    if let Err(error) = service::check_log_group(config, tables, opened.keys) {
        topic.tell("configuration", Finding::failed(error.to_string()));
    }
    *probes.store.lock().expect("no panic while it is locked") = Some(Arc::clone(&opened.store));
    let is_local = matches!(config.destination, Destination::File { .. });
    let attempt = |place| attempt(opened.store.as_ref(), place, is_local, probes);
    let (first, others) = places.split_first().expect("there are some");
    let of_first = attempt(first).await;
    // What stands in the way of everything is said once.
    let hopeless = of_first.hopeless;
    topic.tell(subject(first), judged(first, &of_first));
    if hopeless {
        let names: Vec<_> = others.iter().map(|place| place.name.as_str()).collect();
        let text = format!("those of {}: the same stands in their way", names.join(", "));
        topic.tell("objects", Finding::not_checked(text));
    } else {
        let attempts: Vec<_> = others.iter().map(attempt).collect();
        let tried: Vec<_> = iter(attempts).buffered(AT_ONCE).collect().await;
        others.iter().zip(&tried).for_each(|(place, tried)| topic.tell(subject(place), judged(place, tried)));
    }
    made.remove();
}

fn subject(place: &Place) -> String {
    format!("objects, {}", place.name)
}

/// What became of the steps at one place.
#[derive(Debug, Default)]
struct Tried {
    done: Vec<Step>,
    failed: Vec<(Step, Trouble)>,
    /// Probes that could not be deleted.
    left: Vec<Path>,
    /// It would be the same everywhere.
    hopeless: bool,
    /// A put that was not answered may have been done.
    unsure: bool,
}

impl Tried {
    fn note(&mut self, step: Step, result: Result<(), Trouble>) {
        match result {
            Ok(()) => self.done.push(step),
            Err(trouble) => {
                self.hopeless |= trouble.is_hopeless;
                self.unsure |= trouble.is_silence;
                self.failed.push((step, trouble));
            }
        }
    }
}

/// The steps at a place, of one run.
#[derive(Debug)]
struct Attempt<'a> {
    store: &'a dyn ObjectStore,
    place: &'a Place,
    is_local: bool,
    probes: &'a Probes,
    /// Before the keys, in their order.
    before: Path,
    /// Of the object that is put.
    key: Path,
    /// Of the upload in parts.
    parts: Path,
}

/// Does each step at a place, and deletes what it has put.
async fn attempt(store: &dyn ObjectStore, place: &Place, is_local: bool, probes: &Probes) -> Tried {
    let (mut tried, run) = (Tried::default(), Clock::system().new_id());
    let path = |end: &str| place.folder.clone().join(format!("{PROBE}{run}{end}"));
    let (before, key, parts) = (path(""), path("-object"), path("-parts"));
    let attempt = Attempt { store, place, is_local, probes, before, key, parts };
    probes.will_put(&attempt.key);
    for step in [Step::Create, Step::SecondCreate, Step::Overwrite, Step::List, Step::Get, Step::Multipart] {
        let is_there = tried.done.iter().any(|done| matches!(done, Step::Create | Step::Overwrite));
        if let Some(result) = attempt.again(step, is_there).await {
            tried.note(step, result);
        }
        if tried.hopeless {
            break;
        }
    }
    let deleted = attempt.again(Step::Delete, true).await.expect("it is done everywhere");
    if deleted.is_err() && (tried.unsure || !tried.done.is_empty()) {
        tried.left.push(attempt.key);
    }
    // When nothing else could be reached, this is no news.
    if !tried.hopeless {
        tried.note(Step::Delete, deleted);
    }
    tried
}

impl Attempt<'_> {
    /// Does a step, a few times if what it meets passes by itself, as the service does.
    async fn again(&self, step: Step, is_there: bool) -> Option<Result<(), Trouble>> {
        for _ in 1..TRIES {
            match self.step(step, is_there).await {
                Some(Err(trouble)) if trouble.is_passing => sleep(BETWEEN_TRIES).await,
                other => return other,
            }
        }
        self.step(step, is_there).await
    }

    /// `None`: there is nothing to do. `is_there`: the object is.
    async fn step(&self, step: Step, is_there: bool) -> Option<Result<(), Trouble>> {
        let Self { store, place, key, .. } = self;
        let done = match step {
            Step::Create => create(*store, key).await,
            Step::SecondCreate if is_there => second_create(*store, key).await,
            Step::Overwrite => overwrite(*store, key).await,
            // Without an order of keys, a table's whole folder would be listed, which the service never does.
            Step::List if self.is_local && !place.needs.contains(&step) => return None,
            Step::List => list(*store, &place.folder, &self.before, is_there.then_some(key)).await,
            Step::Get if is_there => get(*store, key).await,
            Step::Multipart => multipart(*store, &self.parts).await,
            Step::Delete => self.probes.delete(*store, key).await,
            Step::SecondCreate | Step::Get => return None,
        };
        Some(done)
    }
}

/// Attempts at a step, and the pause between them.
const TRIES: usize = 3;
const BETWEEN_TRIES: Duration = Duration::from_millis(500);

const FIRST: Bytes = Bytes::from_static(b"firemain check: create\n");
const SECOND: Bytes = Bytes::from_static(b"firemain check: overwrite\n");

/// Whether the object was created by this.
async fn created(store: &dyn ObjectStore, key: &Path) -> Result<bool, Trouble> {
    use object_store::Error::{AlreadyExists, Precondition};
    match bounded(store.put_opts(key, FIRST.into(), PutMode::Create.into())).await {
        Some(Ok(_)) => Ok(true),
        Some(Err(AlreadyExists { .. } | Precondition { .. })) => Ok(false),
        Some(Err(error)) => Err(trouble(&error)),
        None => Err(Trouble::silent()),
    }
}

async fn create(store: &dyn ObjectStore, key: &Path) -> Result<(), Trouble> {
    // Nobody else has this name: if it is there, an attempt before was not told of its success.
    created(store, key).await.map(drop)
}

async fn second_create(store: &dyn ObjectStore, key: &Path) -> Result<(), Trouble> {
    match created(store, key).await? {
        false => Ok(()),
        true => Err(Trouble::new(
            "the store created one object twice: it ignores conditional writes (If-None-Match), and exactly-once delivery \
             rests on them: use Amazon S3, or a store that honours them",
        )),
    }
}

async fn overwrite(store: &dyn ObjectStore, key: &Path) -> Result<(), Trouble> {
    tried(store.put(key, SECOND.into())).await.map(drop)
}

/// Looks for the object right behind an offset, or only whether listing is allowed. The first page has it, where keys are
/// in order.
async fn list(store: &dyn ObjectStore, folder: &Path, offset: &Path, key: Option<&Path>) -> Result<(), Trouble> {
    let mut listed = store.list_with_offset(Some(folder), offset);
    let Some(key) = key else { return tried(listed.try_next()).await.map(drop) };
    let found = async {
        while let Some(object) = listed.next().await.transpose()? {
            if object.location == *key {
                return Ok(true);
            }
        }
        Ok(false)
    };
    match tried(found).await? {
        true => Ok(()),
        false => Err(Trouble::new(
            "an object that was put is not listed: the store must show each put to every later list, as S3 does",
        )),
    }
}

async fn get(store: &dyn ObjectStore, key: &Path) -> Result<(), Trouble> {
    let bytes = tried(async { store.get(key).await?.bytes().await }).await?;
    if bytes == SECOND || bytes == FIRST {
        return Ok(());
    }
    Err(Trouble::new("other bytes came back than were put: something between here and the store changes them"))
}

/// Begins an upload and gives it up.
async fn multipart(store: &dyn ObjectStore, key: &Path) -> Result<(), Trouble> {
    let mut upload = tried(store.put_multipart(key)).await?;
    tried(upload.abort()).await
}

/// Why a step was not done.
#[derive(Debug, PartialEq, Eq)]
struct Trouble {
    text: String,
    /// The action that has to be allowed, where it is that; `text` is what was said.
    allow: Option<String>,
    is_absence: bool,
    /// Whatever is tried next will fail likewise.
    is_hopeless: bool,
    is_silence: bool,
    /// It may be gone at the next try.
    is_passing: bool,
}

impl Trouble {
    fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            allow: None,
            is_absence: false,
            is_hopeless: false,
            is_silence: false,
            is_passing: false,
        }
    }

    fn hopeless(text: String) -> Self {
        Self { is_hopeless: true, ..Self::new(text) }
    }

    fn silent() -> Self {
        Self { is_silence: true, ..Self::hopeless(silence()) }
    }
}

async fn tried<T>(call: impl Future<Output = object_store::Result<T>>) -> Result<T, Trouble> {
    bounded(call).await.ok_or_else(Trouble::silent)?.map_err(|error| trouble(&error))
}

fn trouble(error: &object_store::Error) -> Trouble {
    let said = store::said(error);
    let is_absence = matches!(error, object_store::Error::NotFound { .. });
    match (store::advice(error), action_in(&said)) {
        (Some(advice), _) if advice.of_all => Trouble::hopeless(format!("{} ({said})", advice.text)),
        // S3 knows it better: it may be an action of KMS.
        (Some(_), Some(action)) => Trouble { allow: Some(action.to_owned()), ..Trouble::new(said) },
        (Some(Advice { allow: Some(action), .. }), None) => {
            Trouble { allow: Some(action.to_owned()), ..Trouble::new(said) }
        }
        (Some(advice), None) => Trouble::new(format!("{} ({said})", advice.text)),
        (None, _) if store::verdict(error) == Verdict::Transient && store::status(error).is_none() => {
            Trouble::hopeless(unreachable_because(&said))
        }
        (None, _) => {
            let is_passing = store::verdict(error) == Verdict::Transient;
            Trouble { is_absence, is_passing, ..Trouble::new(said) }
        }
    }
}

/// Judges what became of the steps at a place.
fn judged(place: &Place, tried: &Tried) -> Finding {
    let folder = &place.folder;
    if tried.failed.is_empty() {
        return Finding::ok(format!("below {folder}: {}", names(&tried.done)));
    }
    let mut text = format!("below {folder}: {}", told(&tried.failed));
    let needed = tried.failed.iter().any(|(step, _)| place.needs.contains(step));
    if !needed {
        text.push_str("; the service does not do that there");
    }
    for left in &tried.left {
        let perhaps = if tried.done.is_empty() { "perhaps " } else { "" };
        text.push_str(&format!("; {perhaps}left behind: {left}"));
    }
    if needed { Finding::failed(text) } else { Finding::warning(text) }
}

/// What failed and why; all that is denied at once, since one who allows does so at once.
fn told(failed: &[(Step, Trouble)]) -> String {
    let (denied, others): (Vec<_>, Vec<_>) = failed.iter().partition(|(_, trouble)| trouble.allow.is_some());
    let steps = |failed: &[&(Step, Trouble)]| names(&failed.iter().map(|(step, _)| *step).collect::<Vec<_>>());
    let mut told = Vec::new();
    if !denied.is_empty() {
        let actions = distinct(denied.iter().filter_map(|(_, trouble)| trouble.allow.as_deref()));
        let said = distinct(denied.iter().map(|(_, trouble)| trouble.text.as_str()));
        told.push(format!("{}: access denied: allow {} ({})", steps(&denied), actions.join(", "), said.join("; ")));
    }
    for text in distinct(others.iter().map(|(_, trouble)| trouble.text.as_str())) {
        let of: Vec<_> = others.iter().filter(|(_, trouble)| trouble.text == text).copied().collect();
        told.push(format!("{}: {text}", steps(&of)));
    }
    told.join("; ")
}

fn names(steps: &[Step]) -> String {
    steps.iter().map(|step| step.name()).collect::<Vec<_>>().join(", ")
}

/// Each once, in the order in which they come first.
fn distinct<'t>(texts: impl Iterator<Item = &'t str>) -> Vec<&'t str> {
    let mut distinct = Vec::new();
    texts.for_each(|text| {
        if !distinct.contains(&text) {
            distinct.push(text);
        }
    });
    distinct
}

#[cfg(test)]
mod tests;
