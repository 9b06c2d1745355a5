//! Every key of the configuration: the one list that parsing, suggestions, `check-config` and the reference are made
//! from.

/// A key, its values and what it is for.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// As in the file, sections joined by dots: `flush.interval`.
    pub path: &'static str,
    pub values: Values,
    pub default: Option<&'static str>,
    pub about: &'static str,
}

/// What a key takes.
#[derive(Clone, Copy, Debug)]
pub enum Values {
    Text(&'static str),
    /// Between two durations, both allowed.
    Duration(&'static str, &'static str),
    /// Between two sizes, both allowed.
    Size(&'static str, &'static str),
    Count(u64, u64),
    Choice(&'static [&'static str]),
    List(&'static str),
}

impl Values {
    /// For a person: what may stand there.
    pub fn describe(self) -> String {
        match self {
            Self::Text(what) | Self::List(what) => what.to_owned(),
            Self::Duration(least, most) => format!("a duration from {least} to {most}, such as \"90s\" or \"5m\""),
            Self::Size(least, most) => format!("a size from {least} to {most}, such as \"64MiB\""),
            Self::Count(least, most) => format!("a whole number from {least} to {most}"),
            Self::Choice(choices) => choices.join(" | "),
        }
    }
}

const fn key(path: &'static str, values: Values, default: Option<&'static str>, about: &'static str) -> Key {
    Key { path, values, default, about }
}

pub const KEYS: &[Key] = &[
    key(
        "group",
        Values::Text("up to 128 letters, digits, `.`, `_` and `-`, not a dot first"),
        Some("default"),
        "Names the shared state under `<destination>/_firemain/`. Workers of one group share the shards; two groups \
         read the same stream without disturbing each other.",
    ),
    key(
        "lease_timeout",
        Values::Duration("1s", "10m"),
        Some("30s"),
        "A worker whose heartbeat has not changed for so long is taken for dead, and its shards are taken over. The \
         heartbeat is written every 10 s, or a third of this if that is less.",
    ),
    key(
        "shutdown_timeout",
        Values::Duration("1s", "1h"),
        Some("110s"),
        "How long SIGTERM or SIGINT waits for everything buffered to be committed and published. Keep it below the \
         container's stop timeout (Fargate: at most 120 s).",
    ),
    key(
        "stuck_after",
        Values::Duration("1s", "1h"),
        Some("10m"),
        "How long a running worker bears refusals (access denied, no such bucket) before it ends with exit code 1. \
         At the start they are fatal at once; throttling, 5xx and timeouts are retried for ever.",
    ),
    key(
        "destination",
        Values::Text("s3://bucket/prefix, file:///folder or memory:///"),
        None,
        "Where the lake is. All state is kept there too, under `_firemain/`.",
    ),
    key(
        "source.kinesis.stream",
        Values::Text("a stream's name or ARN"),
        None,
        "The Kinesis data stream to read. An ARN also names its region.",
    ),
    key(
        "source.kinesis.start",
        Values::Text("trim_horizon, latest or an RFC 3339 time"),
        Some("trim_horizon"),
        "Where a shard is read from that the group has never seen: the oldest record, the moment of the first start, \
         or a time.",
    ),
    key(
        "source.file.paths",
        Values::List("a list of globs; \"-\" is standard input"),
        None,
        "Files to read instead of a stream, in any of the shapes that records come in, gzip or not. The run ends by \
         itself when all are read.",
    ),
    key(
        "flush.interval",
        Values::Duration("1s", "1h"),
        Some("5m"),
        "How long a row waits at most before its flush begins. Longer makes fewer and larger objects.",
    ),
    key(
        "flush.buffer_bytes",
        Values::Size("1MiB", "64GiB"),
        Some("256MiB"),
        "Memory for rows before they are encoded, over all partitions. Full means that a flush comes early and readers \
         wait. The process takes at most 200 MiB beyond this.",
    ),
    key(
        "flush.object_bytes",
        Values::Size("1MiB", "1GiB"),
        Some("128MiB"),
        "Encoded bytes past which a partition rolls to a further object, within a fifth.",
    ),
    key(
        "flush.open_partitions",
        Values::Count(1, 1_000_000),
        Some("5000"),
        "Past so many open partitions the flush comes early.",
    ),
    key("format.kind", Values::Choice(&["parquet", "json"]), Some("parquet"), "The format of the tables' objects."),
    key(
        "format.compression",
        Values::Choice(&["zstd", "snappy", "gzip", "none"]),
        None,
        "Parquet takes all of them, JSON all but snappy. Default: zstd for Parquet, gzip for JSON.",
    ),
    key(
        "format.level",
        Values::Count(1, 22),
        None,
        "The compression's level: zstd 1 to 22, gzip 1 to 9; snappy and none have none. Default: 3 for zstd, 4 for \
         gzip.",
    ),
    key(
        "errors.prefix",
        Values::Text("a folder below the destination"),
        Some("errors"),
        "Where rejections are delivered, with their payload.",
    ),
    key(
        "limits.inflated_record_bytes",
        Values::Size("1KiB", "1GiB"),
        Some("64MiB"),
        "A record that inflates past this is rejected as `Record.TooLarge`: a guard against decompression bombs.",
    ),
];

/// The key of a path.
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The environment variable of a key: `FIREMAIN_FLUSH__INTERVAL`.
pub fn variable(path: &str) -> String {
    format!("FIREMAIN_{}", path.to_uppercase().replace('.', "__"))
}

/// The key that was probably meant.
pub fn nearest(path: &str) -> &'static str {
    let distance = |key: &&Key| {
        let last = key.path.rsplit('.').next().unwrap_or(key.path);
        let typed = path.rsplit('.').next().unwrap_or(path);
        let closeness = strsim::jaro_winkler(key.path, path).max(strsim::jaro_winkler(last, typed));
        (closeness * 1e6) as u64
    };
    KEYS.iter().max_by_key(distance).map_or("", |key| key.path)
}

/// The reference of all keys, as Markdown: `docs/configuration.md` is this.
pub fn reference() -> String {
    let mut text = String::from(REFERENCE_HEAD);
    for key in KEYS {
        let default = key.default.map_or("none".to_owned(), |default| format!("`{default}`"));
        let values = key.values.describe();
        text.push_str(&format!(
            "\n## `{}`\n\n{}\n\nValues: {values}. Default: {default}. Variable: `{}`.\n",
            key.path,
            key.about,
            variable(key.path)
        ));
    }
    text
}

const REFERENCE_HEAD: &str = "\
# Configuration

Flags go before the environment, the environment before the file (`--config FILE`, TOML), the file before defaults.
`firemain check-config` shows what counts and where it was said. In the file a key `a.b` is `b` in the section `[a]`.
Exactly one source is set; a source from a flag or the environment replaces one of another kind in the file.

AWS settings come from the standard chain: `AWS_REGION`, credentials (environment, profile, task role),
`AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL_KINESIS`. Needed on the stream:
`kinesis:DescribeStreamSummary`, `kinesis:ListShards`, `kinesis:GetShardIterator`, `kinesis:GetRecords` (and
`kms:Decrypt` for its key); on the bucket `s3:ListBucket`, on its objects `s3:GetObject`, `s3:PutObject`,
`s3:DeleteObject`, `s3:AbortMultipartUpload` (and `kms:GenerateDataKey`, `kms:Decrypt` for its key).
";
