//! `docs/configuration.md`, made from the list of keys. The file is written anew by
//! `UPDATE_DOCS=1 cargo test --lib config::reference`.

use std::fmt::Write as _;

use super::keys::{KEYS, Key, Values};
use super::layers::{Layer, Origin};
use super::{Config, load, tables};
use crate::aws::actions::{ACTIONS, Action};

const PATH: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");

const HEAD: &str = r#"# Configuration

<!-- Made from src/config/keys.rs: UPDATE_DOCS=1 cargo test --lib config::reference -->

A value can be said in four places. The first one of them counts; what it overrides is not looked at.

1. a flag: `--flush-interval 60s`
2. an environment variable: `FIREMAIN_` and the key in capitals, with `__` for each dot: `FIREMAIN_FLUSH__INTERVAL=60s`
3. the TOML file that `--config` names
4. the default

`firemain check-config --config firemain.toml` shows each value that counts and where it was said. An unknown key or
`FIREMAIN_` variable, or a value that a key does not take, ends Firemain with exit code 2 and a line for each mistake.

There is exactly one source. The topmost place that names a kind of source decides the kind: `--source file:///x` goes
before a stream in the file, and what the file says of Kinesis then does not count. `--source` takes `kinesis://NAME` (or
an ARN after `kinesis://`), `file:///path/glob` or `-` for standard input. Paths in URLs are taken as they are written;
nothing is percent-decoded.

A list in a variable is a TOML array (`["a,b.gz", "c.gz"]`) or its items with commas between them (`a.gz,c.gz`).

"#;

const EXAMPLE: &str = r#"group = "default"
lease_timeout = "30s"
shutdown_timeout = "110s"
stuck_after = "10m"
destination = "s3://my-lake/logs"       # also file:///var/lib/lake and memory:///
# schemas_dir = "/etc/firemain/schemas"

[source.kinesis]                        # exactly one source
stream = "app-logs"
start = "trim_horizon"
mode = "polling"                        # or "fan_out", with one of
# consumer_name = "firemain"
# consumer_arn = "arn:aws:kinesis:eu-west-1:123456789012:stream/app-logs/consumer/firemain:1711083600"
decode = "auto"
# log_group = "/agents/web"             # for records that are no envelopes of CloudWatch Logs, as log_stream
# log_stream = "web-1"                  # and time_field
# time_field = "time"
# [source.file]
# paths = ["samples/*.json.gz"]

[flush]
interval = "5m"
buffer_bytes = "256MiB"
object_bytes = "128MiB"
open_partitions = 5000

[format]
kind = "parquet"
compression = "zstd"
level = 3
# bloom_filters = ["log_stream"]

[[table]]                               # any number of them: the first that matches a log group counts
schema = "apache_access"
log_groups = ["/ecs/web/*"]

[mask]
# fields = ["password", "authorization"]
patterns = ["aws_access_key", "bearer_token", "jwt"]
# regexes = ['TAN: (?P<secret>[0-9]{6})']
replacement = "****"                    # or, for hashes
# hash_key = "best set by FIREMAIN_MASK__HASH_KEY, out of a store of secrets"
unreadable = "withhold"

# [catalog.glue]
# database = "logs"
# catalog_id = "123456789012"           # of another account

[http]
listen = "127.0.0.1:9464"              # status page, /metrics, /healthz and /readyz; or "off"

[metrics]
prometheus = "on"
emf = "off"                             # "on": CloudWatch Embedded Metric Format on standard output
emf_interval = "1m"

[errors]
prefix = "errors"

[limits]
inflated_record_bytes = "64MiB"
"#;

const RULES: &str = "Which log groups go to which table. A file has this section once for each rule. The variable \
                     `FIREMAIN_TABLE` says all of them at once, instead of those of the file, as a TOML array of inline \
                     tables: `[{schema = \"apache_access\", log_groups = [\"/ecs/web/*\"]}]`. What schemas there are and what \
                     they make of a message is in [tables.md](tables.md).";

const TAIL: &str = r#"## AWS

AWS settings are not keys of Firemain. They come from the standard chain and hold for Kinesis, S3 and Glue alike: `AWS_REGION`,
credentials (environment, profile, ECS task role, instance role), and `AWS_ENDPOINT_URL`, `AWS_ENDPOINT_URL_S3`,
`AWS_ENDPOINT_URL_KINESIS`, `AWS_ENDPOINT_URL_GLUE`, `AWS_ENDPOINT_URL_STS` for other endpoints. With an endpoint set, S3 is addressed path-style.
`AWS_USE_FIPS_ENDPOINT` and `AWS_USE_DUALSTACK_ENDPOINT` hold for Kinesis and Glue; for S3 say such an endpoint by
`AWS_ENDPOINT_URL_S3`, `https://s3-fips.us-east-1.amazonaws.com` for instance.

What Firemain needs leave for:

ACTIONS
`firemain check` tries what the service needs, but for what can't be tried without a trace (`kinesis:SubscribeToShard`,
`kinesis:RegisterStreamConsumer`, `glue:BatchCreatePartition`). Below the tables and the error prefix it also gets and deletes
what it has put there itself. What it needs alone is for looking at settings: it names those that it may not look at, and goes
on. `sts:GetCallerIdentity`, which it calls too, nobody has to allow; `s3:GetBucketLocation` it calls only of stores that do not
tell it otherwise.

By `fan_out` the consumer is `<the stream's ARN>/consumer/*`; `kinesis:GetShardIterator` and `kinesis:GetRecords` are then needed
only to `--drain` beside other workers, whose shards are looked at by polling, and for `firemain status`, which asks the stream how
far behind each shard is.

`firemain replay` lists and gets error objects, moves them by a get, a put and a delete (S3 copies with the first two), and writes
rows and state as the service does. With `--from` it needs `s3:ListBucket`, `s3:GetObject`, `s3:PutObject` and `s3:DeleteObject`
there as well, the last two not with `--keep`.

The [Terraform module](../terraform/README.md#rights) gives the service's role these, each on what it is for.

## Logging

`--log-level` (or `RUST_LOG`) chooses the log lines on standard error, `--log-format json` makes each a JSON object.

## Kubernetes

A service called `firemain` makes Kubernetes set variables such as `FIREMAIN_SERVICE_HOST` in its pods, which Firemain
refuses as unknown. Set `enableServiceLinks: false` in the pod, or give the service another name.
"#;

fn reference() -> String {
    let mut text = format!("{HEAD}All keys, with their defaults and an example where there is none:\n\n");
    let _ = write!(text, "```toml\n{EXAMPLE}```\n\n## Top level\n");
    let mut above = "";
    for key in KEYS {
        if key.path.starts_with("mask.") && above != "mask" {
            text.push_str(&rules());
        }
        let (section, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        if section != above {
            let _ = write!(text, "\n## `[{section}]`\n");
            above = section;
        }
        let _ = write!(text, "\n### `{name}`\n\n{}\n\n- Takes: {}\n", wrapped(key.about), key.values.describe());
        if let Some(default) = shown_default(key) {
            let _ = writeln!(text, "- Default: {default}");
        }
        let flag = key.flag.map(|flag| format!(", or the flag `{flag}`")).unwrap_or_default();
        let _ = writeln!(text, "- Set by: `{}`{flag}", key.variable());
    }
    text + "\n" + &TAIL.replace("ACTIONS\n", &actions())
}

/// The table of what has to be allowed.
fn actions() -> String {
    let mut text = "| action | on | needed by |\n| --- | --- | --- |\n".to_owned();
    for Action { name, on, needed_by, .. } in ACTIONS {
        let needed_by: Vec<_> = needed_by.iter().map(|need| need.text()).collect();
        let _ = writeln!(text, "| `{name}` | {on} | {} |", needed_by.join("; "));
    }
    text + "\n"
}

/// The section of the rules of tables.
fn rules() -> String {
    let mut text = format!("\n## `[[{}]]`\n\n{}\n", tables::SECTION, wrapped(RULES));
    for (key, takes, about) in tables::KEYS {
        let _ = write!(text, "\n### `{key}`\n\n{}\n\n- Takes: {takes}\n", wrapped(about));
    }
    text
}

fn shown_default(key: &Key) -> Option<String> {
    let default = key.default?;
    Some(if matches!(key.values, Values::Count(..)) { format!("`{default}`") } else { format!("`\"{default}\"`") })
}

/// In lines of up to 120 characters.
fn wrapped(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("one line is there from the start");
        if last.is_empty() {
            last.push_str(word);
        } else if last.chars().count() + 1 + word.chars().count() <= 120 {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines.join("\n")
}

#[test]
fn the_reference_is_what_the_list_of_keys_says() {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(PATH, reference()).unwrap();
    }
    let written = std::fs::read_to_string(PATH).unwrap_or_default();
    assert!(written == reference(), "{PATH} is old: UPDATE_DOCS=1 cargo test --lib config::reference writes it anew");
}

#[test]
fn the_example_is_valid_whole_and_says_the_defaults() {
    let said = load(Layer::new(), [], Some(("example", EXAMPLE))).unwrap();
    for key in KEYS {
        let Some((_, value, origin)) = said.values.iter().find(|(path, ..)| *path == key.path) else {
            assert!(EXAMPLE.contains(&format!("\n# {} = ", key.path.rsplit('.').next().unwrap())), "{}", key.path);
            assert_eq!(key.default, None, "{} is not in the example", key.path);
            continue;
        };
        assert!(matches!(origin, Origin::File { .. }), "{} is not in the example", key.path);
        if let Some(default) = key.default {
            assert_eq!(value.trim_matches('"'), default, "{}", key.path);
        }
    }
    let minimal = "destination = \"s3://my-lake/logs\"\nsource.kinesis.stream = \"app-logs\"\n";
    let minimal = load(Layer::new(), [], Some(("minimal", minimal))).unwrap().config;
    // There are none by default.
    assert!(said.config.mask.is_some() && !said.config.tables.is_empty());
    assert_eq!(minimal, Config { mask: None, tables: Vec::new(), ..said.config });
}
