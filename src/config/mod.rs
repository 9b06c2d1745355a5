//! What a run is told: file, environment and flags, parsed into types that cannot be wrong.

use std::path::PathBuf;
use std::time::Duration;

use crate::event::Millis;

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
