//! Delivers rejections again: out of the error prefix, through the pipeline and the commit protocol that the service uses.
//!
//! All replays into a lake share one group of their own: so each rejection is delivered again once, whoever asks for it, and
//! however often. What fails again becomes a rejection again, in an object that the next replay finds.

mod dry;
mod place;
mod stream;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use serde::Serialize;
use tokio::sync::watch;
use tracing::{info, warn};

use self::place::Place;
use crate::aws::Aws;
use crate::commit::group;
use crate::commit::snapshot::Snapshot;
use crate::commit::storage::Storage;
use crate::config::{Config, Destination, Loaded};
use crate::event::ShardId;
use crate::position::Position;
use crate::service::{self, Base, RunError, deliver, fatal};
use crate::source::errors::{ErrorSource, Selection, Tally};
use crate::store;

/// The group of all replays. No group of a service is called so: their names don't begin with a dot.
pub const GROUP: &str = ".replay";
/// Objects that are moved at once.
const MOVES: usize = 16;

/// What is to be delivered again, and how.
#[derive(Clone, Debug)]
pub struct Plan {
    /// A folder of error objects.
    pub from: Destination,
    pub selection: Selection,
    /// Objects stay where they are when they are done.
    pub keep: bool,
    /// Only say what would come of it.
    pub dry_run: bool,
    /// Put the payloads on this stream instead.
    pub to_stream: Option<String>,
}

/// What came of it.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub dry_run: bool,
    /// Objects that were looked into.
    pub objects: u64,
    /// Objects that have nothing that is wanted, going by their keys.
    pub passed_over: u64,
    /// Objects that moved to `replayed/`.
    pub moved: u64,
    /// Objects that were there again, though they had moved to `replayed/`: they were not delivered again.
    pub replayed_before: u64,
    /// Events that became rows.
    pub events: u64,
    /// Payloads that were put on a stream.
    pub put: u64,
    /// Objects that were at their end before, or that another replay has brought there: this one did not look into them.
    pub done_before: u64,
    /// Objects that another replay is at.
    pub left_to_others: u64,
    /// Told to stop before all was done.
    pub stopped: bool,
    pub codes: BTreeMap<String, Tally>,
    /// Why rejections can't be delivered, and how many.
    pub undeliverable: BTreeMap<&'static str, u64>,
    /// Objects that are left where they are, and why.
    pub left: BTreeMap<ShardId, String>,
}

/// Delivers again what the plan wants; ends when that is committed and published, or by a signal.
pub async fn run(loaded: &Loaded, plan: &Plan) -> Result<Report, RunError> {
    let config = &loaded.config;
    let tabulator = service::tabulator(loaded).map_err(|bad| RunError::Usage(bad.to_string()))?;
    let place = Place::new(&plan.from, config)
        .map_err(|why| RunError::Usage(format!("--from can't be {}: {why}", plan.from)))?;
    let stop = service::on_signals()?;
    let base = Base::new(config, Arc::new(tabulator)).await?;
    let errors = open(&place.store, &base).await?;
    let source = find(&place, &errors, &base, config, plan).await?;
    info!(objects = source.objects().len(), from = %plan.from, "replaying");
    let progress = source.progress();
    let mut report = Report {
        dry_run: plan.dry_run,
        objects: source.objects().len() as u64,
        passed_over: source.passed_over(),
        ..Report::default()
    };
    let (storage, telemetry) = (base.storage.clone(), base.telemetry.clone());
    let show = async {
        progress.show(&telemetry).await;
    };
    if source.objects().is_empty() {
        // There may be some that are left, or were replayed before.
    } else if plan.dry_run {
        let state = state(&storage).await?;
        (report.codes, report.events) = dry::run(&base, &source, &state, show).await?;
    } else if let Some(name) = &plan.to_stream {
        report.left_to_others = stream::put_back(&base, config, &source, name, stop.clone(), show).await?;
    } else {
        let parts = base.parts(&Config { group: GROUP.to_owned(), ..config.clone() }, Arc::clone(&source) as _, true);
        report.events = deliver(&parts, stop.clone(), config.shutdown_timeout, show).await?.counts.events;
    }
    let outcomes = source.outcomes();
    (report.undeliverable, report.left) = (outcomes.flaws(), outcomes.left());
    report.replayed_before = source.again().len() as u64;
    if plan.dry_run {
        return Ok(report);
    }
    let state = state(&storage).await?;
    let is_done = |shard: &&ShardId| position(&state, shard) == Some(Position::End);
    report.done_before = source.objects().keys().filter(|id| !outcomes.has_read(id)).filter(is_done).count() as u64;
    report.codes = outcomes.tally(|shard| position(&state, shard));
    if plan.to_stream.is_some() {
        report.put = report.codes.values().map(|tally| tally.replayed).sum();
    }
    report.stopped = *stop.borrow();
    if !plan.keep {
        report.moved = retire(&errors, &place, &source, &state, &stop).await?;
    }
    Ok(report)
}

async fn open(at: &Destination, base: &Base) -> Result<Storage, RunError> {
    let aws = match (at, &base.aws) {
        (Destination::S3 { .. }, None) => Some(Aws::load(None).await.map_err(fatal)?),
        (_, aws) => aws.clone(),
    };
    let opened = store::open(at, aws.as_ref()).map_err(fatal)?;
    let Storage { clock, patience, .. } = &base.storage;
    Ok(Storage::new(opened.store, opened.attributes, clock.clone(), patience.clone()).telling(&base.telemetry))
}

async fn find(
    place: &Place,
    errors: &Storage,
    base: &Base,
    config: &Config,
    plan: &Plan,
) -> Result<Arc<ErrorSource>, RunError> {
    // As base64, with what stands around it.
    let largest = config.limits.inflated_record_bytes / 3 * 4 + (1 << 20);
    let (url, folders, read_ahead) = (place.store.to_string(), place.folders.clone(), base.read_ahead.clone());
    let source = ErrorSource::new(&url, errors.clone(), folders, read_ahead, plan.selection.clone(), largest).await;
    Ok(Arc::new(source.map_err(fatal)?))
}

/// Where all replays stand.
async fn state(storage: &Storage) -> Result<Snapshot, RunError> {
    Ok(group::look(storage, GROUP).await.map_err(fatal)?.unwrap_or_else(Snapshot::empty))
}

fn position(state: &Snapshot, shard: &ShardId) -> Option<Position> {
    state.shards.get(shard).map(|shard| shard.position.clone())
}

/// Moves every object out of which everything is committed, those of earlier runs too. Returns how many. Those that had
/// moved before and were there again are deleted: what they hold is in `replayed/`.
async fn retire(
    errors: &Storage,
    place: &Place,
    source: &ErrorSource,
    state: &Snapshot,
    stop: &watch::Receiver<bool>,
) -> Result<u64, RunError> {
    let is_done = |shard: &ShardId| position(state, shard) == Some(Position::End);
    let done: Vec<_> =
        source.objects().iter().filter(|(shard, _)| is_done(shard)).map(|(_, object)| &object.location).collect();
    if *stop.borrow() {
        if !done.is_empty() {
            warn!("{} objects are done and stay where they are: the next replay moves them", done.len());
        }
        return Ok(0);
    }
    let moves = done.iter().map(|key| async { errors.rename(key, &place.folders.replayed(key)).await });
    let moves: Vec<_> = moves.map(futures::FutureExt::boxed).collect();
    futures::stream::iter(moves).buffer_unordered(MOVES).try_collect::<Vec<()>>().await.map_err(fatal)?;
    errors.delete(source.again().to_vec()).await.map_err(fatal)?;
    Ok(done.len() as u64)
}
