//! The error prefix as a source: each error object is a shard, its position the rejections of it that are done.
//!
//! An object is known by its URL. What a run wants of it may be a part ([`Selection`]): then it has no end, and its
//! position says which of its rejections are done, so that whoever wants the others gets them, and no others.

pub mod fields;
mod line;
mod outcomes;
mod progress;
mod reading;
mod selection;
mod twins;
mod values;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use object_store::ObjectMeta;
use object_store::path::Path;
use tokio::sync::Semaphore;

pub use self::outcomes::{Outcomes, Tally};
pub use self::progress::Progress;
use self::reading::Reading;
pub use self::selection::Selection;
use self::twins::Twins;
use super::file::window::Large;
use super::thread::{self, OPEN_FILES};
use super::{ReadAhead, Reader, Shard, Source, SourceError};
use crate::commit::storage::Storage;
use crate::event::ShardId;
use crate::position::Position;
use crate::retry::{GaveUp, Patience};

/// What the positions of all replays belong to: an object is delivered again once, whoever asks for it.
pub const SOURCE: &str = "errors";

/// Where error objects are, and where they go when they are done: below a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Folders {
    pub errors: Path,
    /// What a key loses at its beginning when it moves to [`REPLAYED`].
    pub strip: Path,
}

impl Folders {
    /// Where an object goes when everything out of it is committed.
    pub fn replayed(&self, key: &Path) -> Path {
        let rest: Vec<_> = key.prefix_match(&self.strip).map(Iterator::collect).unwrap_or_default();
        Path::from(REPLAYED).parts().chain(rest).collect()
    }
}

/// Objects below a URL. Those that come after the start are for the next run: what is rejected again would else be
/// delivered again for ever.
#[derive(Debug)]
pub struct ErrorSource {
    /// The URL of the store, with a slash at its end: names of objects begin with it.
    store: String,
    storage: Storage,
    /// The same for gets: one object that is refused is left at once, and does not hold up the others.
    impatient: Storage,
    folders: Folders,
    read_ahead: ReadAhead,
    selection: Arc<Selection>,
    outcomes: Arc<Outcomes>,
    progress: Arc<Progress>,
    largest: usize,
    /// Objects in a row that could not be got.
    failing: Arc<AtomicU64>,
    objects: BTreeMap<ShardId, ObjectMeta>,
    /// Objects that were there and have nothing that is wanted, going by their keys.
    passed_over: u64,
    /// Objects that were replayed before and are there again.
    again: Vec<Path>,
    /// All that were there when they were last listed.
    present: Mutex<BTreeMap<ShardId, ObjectMeta>>,
    open: Arc<Semaphore>,
    large: Large,
}

impl ErrorSource {
    /// Finds the objects in a folder of a store. `url` is the store's. `largest`: bytes that a rejection may have.
    pub async fn new(
        url: &str,
        storage: Storage,
        folders: Folders,
        read_ahead: ReadAhead,
        selection: Selection,
        largest: usize,
    ) -> Result<Self, GaveUp> {
        let mut impatient = storage.clone();
        impatient.patience = Patience::default();
        let mut source = Self {
            store: format!("{}/", url.trim_end_matches('/')),
            folders,
            impatient,
            storage,
            read_ahead,
            selection: Arc::new(selection),
            outcomes: Arc::default(),
            progress: Arc::default(),
            largest,
            failing: Arc::default(),
            objects: BTreeMap::new(),
            passed_over: 0,
            again: Vec::new(),
            present: Mutex::default(),
            open: Arc::new(Semaphore::new(OPEN_FILES)),
            large: Large::default(),
        };
        let found = source.list().await?;
        let all = found.len();
        source.objects =
            found.into_iter().filter(|(_, object)| source.selection.may_take(object.location.as_ref())).collect();
        source.passed_over = (all - source.objects.len()) as u64;
        source.pass_over_markers().await?;
        let Twins { done, odd } =
            twins::take(&source.storage, &source.impatient, &source.folders, &mut source.objects).await?;
        source.again = done;
        odd.iter().for_each(|(object, why)| source.outcomes.leave(object, why));
        source.progress.expect(source.objects.len() as u64, source.objects.values().map(|object| object.size).sum());
        Ok(source)
    }

    /// What consoles put in place of folders is listed by the name of an object that is not there.
    async fn pass_over_markers(&mut self) -> Result<(), GaveUp> {
        let empty = self.objects.iter().filter(|(_, object)| object.size == 0);
        let empty: Vec<_> = empty.map(|(id, object)| (id.clone(), object.location.clone())).collect();
        for (id, key) in empty {
            if self.storage.get(&key).await?.is_none() {
                self.objects.remove(&id);
            }
        }
        Ok(())
    }

    /// What is there now, by its name.
    async fn list(&self) -> Result<BTreeMap<ShardId, ObjectMeta>, GaveUp> {
        let listed = self.storage.list(&self.folders.errors, None).await?;
        let is_aside = |object: &ObjectMeta| is_aside(self.below(&object.location));
        let wanted = listed.into_iter().filter(|object| !is_aside(object));
        let name = |object: &ObjectMeta| ShardId::from(format!("{}{}", self.store, object.location).as_str());
        let found: BTreeMap<_, _> = wanted.map(|object| (name(&object), object)).collect();
        self.present.lock().expect("no panic while it is locked").clone_from(&found);
        Ok(found)
    }

    /// The key of an object below the folder.
    fn below<'k>(&self, key: &'k Path) -> &'k str {
        let below = key.as_ref().strip_prefix(self.folders.errors.as_ref()).unwrap_or(key.as_ref());
        below.trim_start_matches('/')
    }

    /// The objects that may have something that is wanted.
    pub fn objects(&self) -> &BTreeMap<ShardId, ObjectMeta> {
        &self.objects
    }

    pub fn passed_over(&self) -> u64 {
        self.passed_over
    }

    /// Objects that are not delivered, for they were replayed before.
    pub fn again(&self) -> &[Path] {
        &self.again
    }

    pub fn outcomes(&self) -> Arc<Outcomes> {
        Arc::clone(&self.outcomes)
    }

    pub fn progress(&self) -> Arc<Progress> {
        Arc::clone(&self.progress)
    }
}

/// Whether an object, by its key below the folder, is none to look at: it was replayed, or is hidden from readers of the lake.
fn is_aside(key: &str) -> bool {
    key.split('/').any(|folder| folder == REPLAYED || folder.starts_with(['_', '.']))
}

/// The folder that objects are moved to when everything out of them is committed.
pub const REPLAYED: &str = "replayed";

#[async_trait]
impl Source for ErrorSource {
    fn id(&self) -> &str {
        SOURCE
    }

    fn stream(&self) -> Option<&str> {
        None
    }

    async fn shards(&self) -> Result<Vec<Shard>, SourceError> {
        // Without those that another run has moved meanwhile, be they there again: whether they have twins is the next
        // run's to find out.
        let present = self.list().await?;
        let is_there = |(id, object): &(&ShardId, &ObjectMeta)| {
            present.get(*id).is_some_and(|now| (now.last_modified, now.size) == (object.last_modified, object.size))
        };
        let left = self.objects.iter().filter(is_there);
        Ok(left.map(|(id, _)| Shard { id: id.clone(), parents: Vec::new() }).collect())
    }

    fn start(&self) -> Position {
        Position::TrimHorizon
    }

    fn ends(&self) -> bool {
        true
    }

    fn rejected_again(&self, shard: &ShardId, index: u64) {
        self.outcomes.rejected_again(shard, index);
    }

    fn is_gone(&self, shard: &ShardId) -> bool {
        let present = self.present.lock().expect("no panic while it is locked");
        let key = shard.as_str().strip_prefix(&self.store).map(Path::from);
        key.is_some_and(|key| key.prefix_matches(&self.folders.errors)) && !present.contains_key(shard)
    }

    async fn open(&self, shard: &ShardId, from: &Position) -> Result<Box<dyn Reader>, SourceError> {
        let object = self.objects.get(shard).expect("shards are those of this source").clone();
        let done = from.done().expect("nobody reads behind the end");
        let open = Arc::clone(&self.open).acquire_owned().await.expect("the semaphore is never closed");
        let reading = Reading {
            name: shard.clone(),
            object,
            storage: self.impatient.clone(),
            done: done.clone(),
            selection: Arc::clone(&self.selection),
            outcomes: Arc::clone(&self.outcomes),
            progress: Arc::clone(&self.progress),
            largest: self.largest,
            failing: Arc::clone(&self.failing),
            read: Cell::new(0),
        };
        let large = self.large.clone();
        Ok(thread::start(open, &self.read_ahead, Some(done), move |outlet| {
            large.in_turn(|turn| reading.run(turn, outlet));
        }))
    }
}
