//! What a run is told: file, environment and flags, parsed into types that cannot be wrong.
//!
//! [`keys`] lists every key, [`layers`] finds out which value of it counts, and [`Loaded`] is what comes out: a valid
//! [`Config`] and the origin of each value. A value that a higher layer overrides is not looked at, so it cannot be
//! wrong; what is wrong is all reported at once.
//!
//! Absent on purpose: reading the environment or a file. The command line hands both in, so that a test needs neither.

mod build;
pub mod keys;
pub mod layers;
#[cfg(test)]
mod reference;
pub mod tables;
#[cfg(test)]
mod tests;
pub mod values;

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use self::layers::{Layer, Origin};
use self::tables::RuleOrigins;
use crate::decode::Payloads;
use crate::event::Millis;
use crate::mask::{MaskConfig, Unreadable};
use crate::table::tables::OnMismatch;

/// Something wrong with the configuration, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key, variable or flag.
    pub subject: String,
    /// `None` for what was not said at all.
    pub place: Option<Origin>,
    /// Names the subject, its value and what is allowed.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// Everything that is wrong, a line each; the last line names the first key and what to do.
#[derive(Debug, thiserror::Error)]
pub struct BadConfig(pub Vec<Problem>);

impl BadConfig {
    /// Flags first, then the environment, then the file from top to bottom, then what is missing.
    pub fn new(mut problems: Vec<Problem>) -> Self {
        problems.sort_by(|a, b| (a.place.is_none(), &a.place).cmp(&(b.place.is_none(), &b.place)));
        Self(problems)
    }
}

impl fmt::Display for BadConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => write!(f, "{one}"),
            all => {
                all.iter().try_for_each(|problem| writeln!(f, "{problem}"))?;
                let first = all.first().map_or("", |problem| &problem.subject);
                write!(f, "{} things are wrong in the configuration, the first is `{first}`: ", all.len())?;
                f.write_str("correct what the lines above name, then run `firemain check-config`")
            }
        }
    }
}

/// A valid configuration, and where each of its values was said.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    /// Each key that has a value, as TOML, and its origin; in the order of [`keys::KEYS`].
    pub values: Vec<(&'static str, String, Origin)>,
    /// Where the rules of tables were said, in their order.
    pub rules: Vec<RuleOrigins>,
}

impl Loaded {
    /// A problem with the value of a key that only shows in what it names, such as files.
    pub fn problem(&self, path: &'static str, why: &str) -> Problem {
        let value = self.value(path).map_or("nothing", |(value, _)| value);
        let message = format!("`{path}` can't be {value} ({why}): give {}", keys::get(path).values.describe());
        Problem { subject: path.to_owned(), place: self.value(path).map(|(_, origin)| origin.clone()), message }
    }

    /// The same with a key of a rule; the message goes on behind its name, such as `can't be "x": …`.
    pub fn problem_of_rule(&self, rule: usize, key: &str, message: &str) -> Problem {
        let place = self.rules.get(rule).map(|origins| origins.of(key).clone());
        let message = format!("{} {message}", tables::subject(key, rule));
        Problem { subject: format!("{}.{key}", tables::SECTION), place, message }
    }

    /// What is allowed and has no use.
    pub fn warnings(&self) -> Vec<Problem> {
        const FILTERS: &str = "format.bloom_filters";
        let globs = tables::never_reached(&self.config.tables);
        let globs = globs.into_iter().map(|(rule, why)| self.problem_of_rule(rule, "log_groups", &why));
        // No mistake: `--format json` for a try is to do with the file as it is.
        let filters = self.value(FILTERS).filter(|_| self.config.format.kind == FormatKind::Json).map(|(_, origin)| {
            let message = format!("`{FILTERS}` has no use while `format.kind` is json");
            Problem { subject: FILTERS.to_owned(), place: Some(origin.clone()), message }
        });
        globs.chain(filters).collect()
    }

    /// Whether nobody said anything of a key.
    pub fn is_default(&self, path: &str) -> bool {
        self.value(path).is_none_or(|(_, origin)| *origin == Origin::Default)
    }

    fn value(&self, path: &str) -> Option<(&str, &Origin)> {
        let (_, value, origin) = self.values.iter().find(|(said, ..)| *said == path)?;
        Some((value, origin))
    }
}

/// What a command can't do without, beside a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    Source,
    NoSource,
}

/// Puts flags, environment and file together, in this order, over the defaults.
///
/// Of `environment` only the variables that begin with `FIREMAIN_` count; `file` is the file's name, for messages, and
/// its text.
pub fn load(
    flags: Layer,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    file: Option<(&str, &str)>,
) -> Result<Loaded, BadConfig> {
    load_for(Needs::Source, flags, environment, file)
}

/// The same for a command that may need less.
pub fn load_for(
    needs: Needs,
    flags: Layer,
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    file: Option<(&str, &str)>,
) -> Result<Loaded, BadConfig> {
    let mut problems = Vec::new();
    let flags = layers::flags(flags, &mut problems);
    let (environment, rules) = layers::environment(environment, &mut problems);
    let (file, rules_of_file) = match file.map(|(name, text)| layers::file(name, text, &mut problems)) {
        Some(Ok(said)) => said,
        None => (Layer::new(), Vec::new()),
        // Nobody knows what it says: to call its keys missing would mislead.
        Some(Err(not_toml)) => {
            problems.push(not_toml);
            return Err(BadConfig::new(problems));
        }
    };
    let said = layers::merge([flags, environment, file], &mut problems);
    build::build(&said, rules.unwrap_or(rules_of_file), needs, problems)
}

/// A whole, valid configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    pub group: String,
    pub lease_timeout: Duration,
    pub shutdown_timeout: Duration,
    pub stuck_after: Duration,
    pub destination: Destination,
    pub source: SourceConfig,
    pub flush: FlushConfig,
    pub format: Format,
    /// Columns that get Bloom filters.
    pub bloom_filters: Vec<String>,
    pub schemas_dir: Option<PathBuf>,
    /// In the order in which they count.
    pub tables: Vec<TableConfig>,
    pub mask: Option<MaskSettings>,
    pub glue: Option<GlueConfig>,
    pub errors: ErrorsConfig,
    pub http: HttpConfig,
    pub metrics: MetricsConfig,
    pub limits: LimitsConfig,
}

/// A rule: which log groups go to a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableConfig {
    /// The name of a schema.
    pub schema: String,
    /// The table's name, where it is not the schema's.
    pub name: Option<String>,
    /// Globs.
    pub log_groups: Vec<String>,
    pub on_mismatch: OnMismatch,
    /// Of a delimited message, in their order.
    pub fields: Option<Vec<String>>,
}

/// The database of AWS Glue that learns of partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlueConfig {
    pub database: String,
    /// The account that has it, where that is not the one of the credentials.
    pub catalog_id: Option<String>,
}

/// What is masked: at least one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaskSettings {
    pub mask: MaskConfig,
    pub unreadable: Unreadable,
}

/// Where the lake is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// `s3://bucket/prefix`; the prefix without slashes at its ends, possibly empty.
    S3 { bucket: String, prefix: String },
    /// `file:///folder`, made when it is not there.
    File { folder: PathBuf },
    /// `memory:///`: for tries; gone when the process ends.
    Memory,
}

/// As a URL, without a slash at its end.
impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::S3 { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
            Self::File { folder } => write!(f, "file://{}", folder.display()),
            Self::Memory => f.write_str("memory:///"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceConfig {
    Kinesis(KinesisConfig),
    File(FileConfig),
    /// None was said, for a command that can do without.
    None,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KinesisConfig {
    /// The stream's name, or its ARN.
    pub stream: String,
    pub start: Start,
    pub mode: Mode,
    /// From the keys `decode`, `log_group`, `log_stream` and `time_field`.
    pub payloads: Payloads,
}

/// How the shards of a stream are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By GetRecords, within the throughput that all readers of the stream share.
    Polling,
    /// By enhanced fan-out: SubscribeToShard, with the throughput of a consumer of its own.
    FanOut(Consumer),
}

/// A registered consumer of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consumer {
    Arn(String),
    /// Its name; it is registered when the stream has none of this name.
    Name(String),
}

/// Where a new group begins to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    TrimHorizon,
    Latest,
    At(Millis),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileConfig {
    /// Globs, or `-` for standard input.
    pub paths: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlushConfig {
    pub interval: Duration,
    /// Bytes of rows held before encoding, over all partitions.
    pub buffer_bytes: usize,
    /// Encoded bytes past which a partition rolls to a further object.
    pub object_bytes: usize,
    pub open_partitions: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    pub kind: FormatKind,
    pub compression: Compression,
    pub level: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatKind {
    Parquet,
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    Zstd,
    Snappy,
    Gzip,
    None,
}

/// Where a worker tells of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// `None`: nowhere.
    pub listen: Option<SocketAddr>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsConfig {
    pub prometheus: bool,
    /// Between two lines of the Embedded Metric Format; `None`: there are none.
    pub emf: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorsConfig {
    /// The folder of rejections below the destination, without slashes at its ends.
    pub prefix: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    pub inflated_record_bytes: usize,
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Zstd => "zstd",
            Self::Snappy => "snappy",
            Self::Gzip => "gzip",
            Self::None => "none",
        })
    }
}
