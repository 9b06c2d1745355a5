//! Builds the live parts from a configuration.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use super::{RunError, fatal};
use crate::aws::Aws;
use crate::catalog::Registrar;
use crate::catalog::glue::Glue;
use crate::clock::Clock;
use crate::commit::log;
use crate::commit::peers::About;
use crate::commit::storage::Storage;
use crate::config::{BadConfig, Config, Destination, Loaded, Problem, SourceConfig};
use crate::decode::{DecodeConfig, Decoder, Payloads, Plain};
use crate::mask::{Masker, Masking};
use crate::partition::KeyLimits;
use crate::retry::Patience;
use crate::source::file::{FileSource, Progress};
use crate::source::kinesis::KinesisSource;
use crate::source::thread::OPEN_FILES;
use crate::source::{ReadAhead, Source};
use crate::store;
use crate::table::library::{Library, LibraryError};
use crate::table::tables::Tables;
use crate::table::tabulate::Tabulator;
use crate::table::{Column, Type};
use crate::telemetry::Telemetry;
use crate::worker::compute::Compute;
use crate::worker::{self, Parts, Settings};

/// Bytes that readers may have fetched and nobody decoded: enough for two shards that are behind to fetch at once, which
/// takes 30 MiB each, so that one whose answer does not come leaves room for the others. A part of the 200 MiB that the
/// process may take beyond `flush.buffer_bytes`.
const READ_AHEAD: usize = 64 << 20;
/// The pause between two polls of a shard that has nothing new, by the flush interval: a tenth of it, within this and
/// [`worker::LONGEST_IDLE`]. A hundred shards that are polled every second would take more than two percent of a core.
const SHORTEST_IDLE: Duration = Duration::from_millis(200);

/// Everything that a worker is made of but its source.
#[derive(Clone, Debug)]
pub struct Base {
    /// Where anything needs it.
    pub aws: Option<Aws>,
    pub storage: Storage,
    pub read_ahead: ReadAhead,
    pub telemetry: Telemetry,
    pub decoder: Arc<Decoder>,
    pub tabulator: Arc<Tabulator>,
    registrar: Option<Arc<Registrar>>,
}

impl Base {
    /// Asks AWS for settings and credentials, and opens the destination.
    pub async fn new(config: &Config, tabulator: Arc<Tabulator>) -> Result<Self, RunError> {
        let (clock, patience, telemetry) = (Clock::system(), Patience::default(), Telemetry::default());
        let aws = aws(config).await?;
        let opened = store::open(&config.destination, aws.as_ref()).map_err(fatal)?;
        let longest = longest_name(&tabulator.tables);
        let payloads = match &config.source {
            SourceConfig::Kinesis(stream) => stream.payloads.clone(),
            SourceConfig::File(_) | SourceConfig::None => Payloads::Envelopes,
        };
        check_log_group(config, &tabulator.tables, opened.keys)?;
        let decoder = Arc::new(Decoder::new(DecodeConfig {
            inflated_record_bytes: config.limits.inflated_record_bytes,
            longest_table: Arc::clone(longest),
            keys: opened.keys,
            payloads,
        }));
        let registrar = aws.as_ref().and_then(|aws| registrar(config, aws, &clock));
        let storage = Storage::new(opened.store, opened.attributes, clock, patience).telling(&telemetry);
        let read_ahead = ReadAhead::new(READ_AHEAD);
        Ok(Self { aws, storage, read_ahead, telemetry, decoder, tabulator, registrar })
    }

    /// The source that is configured; of files, with how far they are read.
    pub async fn source(&self, config: &Config) -> Result<(Arc<dyn Source>, Option<Arc<Progress>>), RunError> {
        let read_ahead = self.read_ahead.clone();
        match (&config.source, &self.aws) {
            (SourceConfig::File(files), _) => {
                // In a thread: the beginning of standard input may be long in coming.
                let paths = files.paths.clone();
                let opening = tokio::task::spawn_blocking(move || FileSource::new(&paths, read_ahead));
                let files = opening.await.expect("opening files does not panic");
                let files = files.map_err(|error| RunError::Usage(error.to_string()))?;
                let progress = files.progress();
                Ok((Arc::new(files), Some(progress)))
            }
            (SourceConfig::Kinesis(stream), Some(aws)) => {
                let Storage { clock, patience, .. } = &self.storage;
                let idle = (config.flush.interval / 10).clamp(SHORTEST_IDLE, worker::LONGEST_IDLE);
                let connected =
                    KinesisSource::connect(stream, aws, clock, patience, &self.telemetry, read_ahead, idle).await;
                Ok((Arc::new(connected.map_err(fatal)?), None))
            }
            (SourceConfig::Kinesis(_), None) => unreachable!("a Kinesis source loads the AWS settings"),
            (SourceConfig::None, _) => unreachable!("a configuration without a source was loaded by who needs none"),
        }
    }

    /// A worker's parts.
    pub fn parts(self, config: &Config, source: Arc<dyn Source>, drain: bool) -> Parts {
        let settings = Settings {
            group: config.group.clone(),
            lease: config.lease_timeout,
            snapshots_kept: log::KEPT,
            flush: config.flush.clone(),
            format: config.format,
            bloom_filters: config.bloom_filters.clone().into(),
            errors: config.errors.prefix.as_str().into(),
            // Files end by themselves.
            drain: drain || source.ends(),
            compute: Compute::Threads(cores()),
            stuck_after: config.stuck_after,
            about: about(),
        };
        let Self { storage, decoder, tabulator, registrar, telemetry, .. } = self;
        Parts { source, storage, decoder, tabulator, registrar, telemetry, settings }
    }
}

/// Of all tables.
fn longest_name(tables: &Tables) -> &Arc<str> {
    let longest = tables.iter().map(|table| &table.name).max_by_key(|name| name.len());
    longest.expect("the general one is there")
}

/// Whether each event of the log group that is configured has a key that the store can hold: else all would be rejected.
pub fn check_log_group(config: &Config, tables: &Tables, keys: KeyLimits) -> Result<(), RunError> {
    let plain = match &config.source {
        SourceConfig::Kinesis(stream) => stream.payloads.plain(),
        SourceConfig::File(_) | SourceConfig::None => None,
    };
    let Some(Plain { log_group, .. }) = plain else { return Ok(()) };
    keys.check(longest_name(tables), log_group).map_err(|error| {
        RunError::Usage(format!("`source.kinesis.log_group` can't be {log_group:?}: {error}: give a shorter one"))
    })
}

fn registrar(config: &Config, aws: &Aws, clock: &Clock) -> Option<Arc<Registrar>> {
    let catalog = Arc::new(Glue::new(aws, config.glue.as_ref()?));
    let destination = config.destination.to_string();
    Some(Arc::new(Registrar::new(catalog, &destination, &config.errors.prefix, clock.clone())))
}

/// The tables, and what is masked.
///
/// # Errors
/// What is wrong with schemas, with the rules that name them, and with columns that no table has.
pub fn tabulator(loaded: &Loaded) -> Result<Tabulator, BadConfig> {
    let config = &loaded.config;
    let one = |problem| BadConfig::new(vec![problem]);
    let library = Library::open(config.schemas_dir.as_deref()).map_err(|error| match error {
        LibraryError::Folder { why, .. } => one(loaded.problem("schemas_dir", &why.to_string())),
        // These name a file themselves.
        other => one(Problem { subject: "schemas_dir".to_owned(), place: None, message: other.to_string() }),
    })?;
    let tables = library.tables(&config.tables).map_err(|bad| {
        BadConfig::new(bad.iter().map(|bad| loaded.problem_of_rule(bad.rule, bad.key, &bad.message)).collect())
    })?;
    if let Some(why) = config.bloom_filters.iter().find_map(|column| no_bloom_filter(column, &tables)) {
        return Err(one(loaded.problem("format.bloom_filters", &why)));
    }
    let masking = config.mask.as_ref().map(|settings| {
        let masker =
            Masker::new(&settings.mask).map_err(|error| one(loaded.problem("mask.regexes", &error.to_string())))?;
        let inflated_record_bytes = config.limits.inflated_record_bytes;
        Ok::<_, BadConfig>(Masking { masker, unreadable: settings.unreadable, inflated_record_bytes })
    });
    Ok(Tabulator { tables: Arc::new(tables), masking: masking.transpose()? })
}

/// Why no table gets a Bloom filter for this column; `None` if one does.
fn no_bloom_filter(name: &str, tables: &Tables) -> Option<String> {
    let columns = || tables.iter().flat_map(|table| &table.schema.columns);
    // Of lists and maps there is no single value to look for.
    let is_single = |column: &&Column| !matches!(column.kind, Type::Strings | Type::StringMap);
    if columns().filter(is_single).any(|column| column.name == name) {
        return None;
    }
    if let Some(column) = columns().find(|column| column.name == name) {
        return Some(format!("{name:?} is of type {}, which has no filter", column.kind));
    }
    let known: BTreeSet<_> = columns().filter(is_single).map(|column| column.name.as_str()).collect();
    let known: Vec<_> = known.into_iter().collect();
    Some(format!("no table has a column {name:?}: there are {}", known.join(", ")))
}

/// The AWS settings, where anything needs them. A stream's ARN names its region.
pub async fn aws(config: &Config) -> Result<Option<Aws>, RunError> {
    let region = match &config.source {
        SourceConfig::Kinesis(stream) if stream.stream.starts_with("arn:") => stream.stream.split(':').nth(3),
        _ => None,
    };
    let wanted =
        matches!(config.source, SourceConfig::Kinesis(_)) || matches!(config.destination, Destination::S3 { .. });
    if wanted { Aws::load(region).await.map(Some).map_err(fatal) } else { Ok(None) }
}

/// More would take more memory than is promised, and a worker of its own does more with them.
const MOST_CORES: usize = 8;

/// How many threads decode and encode at once.
pub fn cores() -> usize {
    available_parallelism().map_or(1, NonZero::get).min(MOST_CORES)
}

/// Threads for what blocks: files being read, decoding and encoding, and some for a local disk. Not tokio's 512: each
/// keeps memory of what it once compressed.
pub fn blocking_threads() -> usize {
    OPEN_FILES + 2 * cores() + 4
}

/// Who this process is, for people who look at its heartbeat.
pub fn about() -> About {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned();
    About { host, pid: std::process::id(), version: env!("CARGO_PKG_VERSION").to_owned() }
}
