//! Every key of the configuration: the one list that parsing, suggestions, `--help`, `check-config` and
//! `docs/configuration.md` are made from.
//!
//! Invariant: every default and every bound parses; a test holds it.

use std::time::Duration;

use bytesize::ByteSize;

/// Similarity (Jaro-Winkler, 0 to 1) from which on a known key was probably meant.
const PROBABLY_MEANT: f64 = 0.8;

/// A key, its values and what it is for.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// As in the file, sections joined by dots: `flush.interval`.
    pub path: &'static str,
    pub values: Values,
    /// `None`: the key must be set, or its default depends on another key (`about` says how).
    pub default: Option<&'static str>,
    /// The flag that sets it, where there is one.
    pub flag: Option<&'static str>,
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
    /// Between two numbers, both allowed.
    Count(u64, u64),
    Choice(&'static [&'static str]),
    List(&'static str),
}

impl Values {
    /// For a person: what may stand there.
    pub fn describe(self) -> String {
        match self {
            Self::Text(what) | Self::List(what) => what.to_owned(),
            Self::Duration(least, most) => format!("a duration from {least} to {most}, such as \"90s\" or \"1m30s\""),
            Self::Size(least, most) => {
                format!("a size from {least} to {most}, such as \"64MiB\", \"128MB\" or a number of bytes")
            }
            Self::Count(least, most) => format!("a whole number from {least} to {most}"),
            Self::Choice(choices) => match choices {
                [others @ .., last] if !others.is_empty() => format!("{} or {last}", others.join(", ")),
                few => few.concat(),
            },
        }
    }
}

const fn key(path: &'static str, values: Values, default: Option<&'static str>, about: &'static str) -> Key {
    Key { path, values, default, flag: None, about }
}

impl Key {
    const fn flag(mut self, flag: &'static str) -> Self {
        self.flag = Some(flag);
        self
    }

    /// The environment variable that sets it: `FIREMAIN_FLUSH__INTERVAL`.
    pub fn variable(&self) -> String {
        variable(self.path)
    }

    /// Whether its value is never shown.
    pub fn is_secret(&self) -> bool {
        self.path == "mask.hash_key"
    }

    /// Its flag's `--help`.
    pub fn help(&self) -> String {
        let default = self.default.map(|default| format!(" [default: {default}]")).unwrap_or_default();
        let about = self.about.replace('`', "");
        format!("{about} Takes {} [key: {}] [env: {}]{default}", self.values.describe(), self.path, self.variable())
    }
}

pub const KEYS: &[Key] = &[
    key(
        "group",
        Values::Text("1 to 128 letters (a to z), digits, dots, underscores and hyphens, not a dot first"),
        Some("default"),
        "Names the shared state under `<destination>/_firemain/`. Workers of one group share the shards; two groups \
         read the same stream without disturbing each other.",
    )
    .flag("--group"),
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
        "Where the lake is; it has to be set. All state is kept there too, under `_firemain/`.",
    )
    .flag("--destination"),
    key(
        "schemas_dir",
        Values::Text("a folder of schema files, such as \"/etc/firemain/schemas\""),
        None,
        "Schemas of one's own, beside those that are built in: every file there that ends with `.json`. One of the name of \
         a built-in schema takes its place, but for `log_events` and `errors`.",
    ),
    key(
        "source.kinesis.stream",
        Values::Text("a stream's name or ARN, such as \"app-logs\""),
        None,
        "The Kinesis data stream to read. An ARN also names its region.",
    )
    .flag("--source"),
    key(
        "source.kinesis.start",
        Values::Text("trim_horizon, latest or an RFC 3339 time such as \"2024-03-22T05:00:00Z\""),
        Some("trim_horizon"),
        "Where a new group begins to read: at the oldest records, at the moment of its first start, or at a time. Shards \
         that come later, by splits and merges, are read from their beginning.",
    ),
    key(
        "source.kinesis.mode",
        Values::Choice(&["polling", "fan_out"]),
        Some("polling"),
        "How shards are read. `polling` calls GetRecords, within the 2 MiB/s of each shard that all its readers share. \
         `fan_out` subscribes as a registered consumer: records come at once, with 2 MiB/s of each shard for this \
         consumer alone. AWS bills a consumer for each shard and hour, and for what it reads. It needs \
         `source.kinesis.consumer_arn` or `source.kinesis.consumer_name`.",
    ),
    key(
        "source.kinesis.consumer_arn",
        Values::Text("a consumer's ARN: arn:aws:kinesis:REGION:ACCOUNT:stream/STREAM/consumer/NAME:TIMESTAMP"),
        None,
        "The registered consumer to read as, for `fan_out`. Two groups that read at once need a consumer each.",
    ),
    key(
        "source.kinesis.consumer_name",
        Values::Text("a consumer's name, such as \"firemain\": 1 to 128 letters, digits, dots, underscores and hyphens"),
        None,
        "In place of `source.kinesis.consumer_arn`: the consumer of this name. When the stream has none, it is \
         registered. It is never deregistered, since other workers read as it too: that is left to you.",
    ),
    key(
        "source.kinesis.decode",
        Values::Choice(&["auto", "cloudwatch", "lines", "json"]),
        Some("auto"),
        "What the payloads of the records are, gzip or not. `cloudwatch`: envelopes of CloudWatch Logs; others are \
         rejected. `lines`: UTF-8 text, each line that is not empty an event. `json`: objects one after the other, \
         each an event whose message is the object as it was written. What is not so is rejected whole. `auto`: with \
         `log_group`, as each payload looks: one that begins with an object with a `messageType` is an envelope, one of \
         objects is as with `json`, other text as with `lines`; without `log_group`, as `cloudwatch`. Records that the \
         Kinesis Producer Library aggregated are taken apart first. An event of `lines` or `json` has the id `<sequence \
         number>-<n>`, or `<sequence number>-<user record>-<n>` out of an aggregated record, both counted from 0.",
    ),
    key(
        "source.kinesis.log_group",
        Values::Text("1 to 512 bytes without control characters, such as \"/agents/web\""),
        None,
        "The log group of events that come without one: with `decode` `lines` or `json` it has to be set; with `auto` it \
         makes payloads that are no envelopes events instead of rejections.",
    ),
    key(
        "source.kinesis.log_stream",
        Values::Text("1 to 512 bytes without control characters, such as \"web-1\""),
        None,
        "The log stream of the same events. They have none without it.",
    ),
    key(
        "source.kinesis.time_field",
        Values::Text("a field's name, or several with dots between them, such as \"time\" or \"event.time\""),
        None,
        "Where an object of `json` (or `auto`) has its time: a number since 1970, of seconds when it is below 10^11 and \
         else of milliseconds, or a text as in RFC 3339, without an offset UTC. An object without it, or with another \
         value there, is rejected as `Event.Invalid`. Without this key the time of an event is the arrival of its record.",
    ),
    key(
        "source.file.paths",
        Values::List("a list of globs, such as [\"samples/*.json.gz\"]; \"-\" is standard input"),
        None,
        "Files to read instead of a stream, in any of the shapes that records come in, gzip or not. The run ends by \
         itself when all are read. A file is known by its path, and read once; standard input by its first 64 KiB: when \
         the same comes again, only what is new behind it is read.",
    )
    .flag("--source"),
    key(
        "flush.interval",
        Values::Duration("1s", "1h"),
        Some("5m"),
        "How long a row waits at most before its flush begins. Longer makes fewer and larger objects.",
    )
    .flag("--flush-interval"),
    key(
        "flush.buffer_bytes",
        Values::Size("1MiB", "64GiB"),
        Some("256MiB"),
        "Memory for rows before they are encoded, over all partitions. Full means that a flush comes early and readers \
         wait. The process takes at most 200 MiB beyond this, with the default of `limits.inflated_record_bytes`.",
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
    key("format.kind", Values::Choice(&["parquet", "json"]), Some("parquet"), "The format of the tables' objects.")
        .flag("--format"),
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
        "format.bloom_filters",
        Values::List("a list of columns, such as [\"log_stream\", \"request_id\"]"),
        None,
        "Columns of Parquet objects that get Bloom filters, in every table that has them: for who looks for one value. Each \
         takes about a byte and a half for each row.",
    ),
    key(
        "mask.fields",
        Values::List("a list of names, such as [\"password\", \"authorization\"]"),
        None,
        "Values that are masked by their name: of members of JSON, at any depth and in strings that are JSON, and of \
         `key=value` pairs. Upper and lower case are the same.",
    ),
    key(
        "mask.patterns",
        Values::List(
            "a list of: aws_access_key, aws_secret_key, basic_auth, bearer_token, credit_card, email, github_token, ipv4, \
             jwt, private_key, slack_token, url_password, us_ssn",
        ),
        None,
        "Values that are masked by what they look like.",
    ),
    key(
        "mask.regexes",
        Values::List("a list of regular expressions, such as ['TAN: (?P<secret>[0-9]{6})']"),
        None,
        "The same by expressions of one's own; where one has a group named `secret`, the group alone is masked.",
    ),
    key(
        "mask.replacement",
        Values::Text("a text without control characters, quotes and backslashes"),
        Some("****"),
        "What stands in the place of what is masked.",
    ),
    key(
        "mask.hash_key",
        Values::Text("a secret of at least 16 bytes"),
        None,
        "With it, `hmac:` and 32 hexadecimal digits of the HMAC-SHA256 of the value stand there instead: equal values are \
         equal still, so that they can be joined and counted. Never shown; best set by its variable, out of a store of \
         secrets.",
    ),
    key(
        "mask.unreadable",
        Values::Choice(&["withhold", "keep"]),
        Some("withhold"),
        "What becomes of the payload of a rejection that can't be searched for secrets, such as a damaged gzip: the \
         rejection is delivered without it, or with it.",
    ),
    key(
        "catalog.glue.database",
        Values::Text("a database of AWS Glue, such as \"logs\""),
        None,
        "New partitions are made known to the tables of this database, which have to be there: `firemain schema ddl` \
         prints how to make them. Delivery never waits for it.",
    ),
    key(
        "catalog.glue.catalog_id",
        Values::Text("the 12 digits of an AWS account, such as \"123456789012\""),
        None,
        "The account whose catalogue has the database, where that is not the account of the credentials. Its catalogue's \
         resource policy has to allow them what Firemain needs.",
    ),
    key(
        "errors.prefix",
        Values::Text("a folder below the destination, such as \"errors\"; not \"replayed\", where replays move what is done"),
        Some("errors"),
        "Where rejections are delivered, with their payload.",
    ),
    key(
        "http.listen",
        Values::Text("an address with a port, such as \"127.0.0.1:9464\" or \"0.0.0.0:9464\", or \"off\""),
        Some("127.0.0.1:9464"),
        "Where a worker that reads a stream serves its status page (`/`), `/metrics`, `/healthz` and `/readyz`. They name log \
         groups and say why events were rejected: open the port to those only who may know. A port that is taken is a \
         warning where this is the default, and else an error.",
    ),
    key(
        "metrics.prometheus",
        Values::Choice(&["on", "off"]),
        Some("on"),
        "Serves `/metrics` in the text format of Prometheus, at `http.listen`.",
    ),
    key(
        "metrics.emf",
        Values::Choice(&["on", "off"]),
        Some("off"),
        "Writes metrics to standard output in the Embedded Metric Format, of which CloudWatch Logs makes metrics.",
    ),
    key(
        "metrics.emf_interval",
        Values::Duration("1s", "1h"),
        Some("1m"),
        "How often.",
    ),
    key(
        "limits.inflated_record_bytes",
        Values::Size("1KiB", "1GiB"),
        Some("64MiB"),
        "A record that inflates past this is rejected as `Record.TooLarge`: a guard against decompression bombs. Of an \
         aggregated record the sum counts: user records that no longer fit are rejected one by one. Of `lines` and `json` \
         rows may take twice as much. One such record at a time is in memory, up to three times over.",
    ),
];

/// The key of a path.
pub fn find(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// The key of a path that is in the list for certain.
pub fn get(path: &'static str) -> &'static Key {
    find(path).expect("the path of a key in the list")
}

/// The keys in a section, at any depth.
pub fn in_section(section: &str) -> impl Iterator<Item = &'static Key> {
    KEYS.iter().filter(move |key| key.path.strip_prefix(section).is_some_and(|rest| rest.starts_with('.')))
}

/// The environment variable of a path: `FIREMAIN_FLUSH__INTERVAL`.
pub fn variable(path: &str) -> String {
    format!("FIREMAIN_{}", path.to_uppercase().replace('.', "__"))
}

/// `5m`, `1h30m`, `500ms`.
pub fn duration(text: &str) -> Option<Duration> {
    humantime::parse_duration(text).ok()
}

/// Bytes: `256MiB`, `128MB`, `1048576`.
pub fn size(text: &str) -> Option<u64> {
    text.parse::<ByteSize>().ok().map(|size| size.as_u64())
}

/// The known key next to a mistaken one, as half a sentence that suggests it; `show` says how to write its path.
pub fn nearest_key(typed: &str, show: impl Fn(&str) -> String) -> String {
    suggestion(KEYS.iter().map(|key| key.path), "key", typed, show)
}

/// The same for sections.
pub fn nearest_section(typed: &str) -> String {
    let sections = KEYS.iter().flat_map(|key| key.path.match_indices('.').map(|(at, _)| &key.path[..at]));
    suggestion(sections, "section", typed, str::to_owned)
}

fn suggestion(
    known: impl Iterator<Item = &'static str>,
    what: &str,
    typed: &str,
    show: impl Fn(&str) -> String,
) -> String {
    let nearest = known.map(|path| (similarity(path, typed), path)).max_by(|(a, _), (b, _)| a.total_cmp(b));
    let (similarity, path) = nearest.expect("the list of keys is not empty");
    if similarity >= PROBABLY_MEANT {
        format!("did you mean `{}`?", show(path))
    } else {
        format!("the nearest known {what} is `{}`", show(path))
    }
}

/// Of the whole paths or of their last parts, for a key in the wrong section.
fn similarity(known: &str, typed: &str) -> f64 {
    let last = |path: &str| path.rsplit('.').next().unwrap_or_default().to_owned();
    strsim::jaro_winkler(known, typed).max(strsim::jaro_winkler(&last(known), &last(typed)))
}
