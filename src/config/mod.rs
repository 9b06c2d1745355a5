//! What a run is told: file, environment and flags, parsed into types that cannot be wrong.
//!
//! [`keys`] lists every key, [`layers`] finds out which value of it counts, and [`Loaded`] is what comes out: a valid
//! [`Config`] and the origin of each value. The command line's entry point hands the environment in: nothing else reads
//! it.

mod build;
pub mod keys;
pub mod layers;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use self::layers::{Layer, Origin};
use crate::event::Millis;

/// Something wrong with the configuration, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub place: Origin,
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

/// Everything that is wrong, a line each.
#[derive(Debug, thiserror::Error)]
pub struct BadConfig(pub Vec<Problem>);

impl fmt::Display for BadConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

/// A valid configuration, and where each of its values was said.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub config: Config,
    /// Each key that has a value, as text, and its origin; in the order of [`keys::KEYS`].
    pub values: Vec<(&'static str, String, Origin)>,
}

/// Puts flags, environment and file together, in this order, over the defaults.
pub fn load(
    flags: Layer,
    environment: impl IntoIterator<Item = (String, String)>,
    file: Option<(&str, &str)>,
) -> Result<Loaded, BadConfig> {
    let mut problems = Vec::new();
    let environment = layers::environment(environment, &mut problems);
    let file = file.map(|(name, text)| layers::file(name, text, &mut problems)).unwrap_or_default();
    let said = layers::merge(vec![flags, environment, file], &mut problems);
    build::build(&said, problems)
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
    pub errors: ErrorsConfig,
    pub limits: LimitsConfig,
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

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceConfig {
    Kinesis(KinesisConfig),
    File(FileConfig),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KinesisConfig {
    /// The stream's name, or its ARN.
    pub stream: String,
    pub start: Start,
}

/// Where a shard that the group has never seen is read from.
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
