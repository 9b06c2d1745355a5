mod consumer;
mod mistakes;
mod tables;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;

use super::keys::{KEYS, Key, Values};
use super::layers::{Layer, Origin, SOURCE_URL, Setting, Value};
use super::*;
use crate::decode::Plain;
use crate::mask::Replacement;

/// A file that lacks nothing.
const GOOD: &str = "destination = \"memory:///\"\n[source.file]\npaths = [\"x\"]\n";

fn kinesis(stream: &str, start: Start) -> KinesisConfig {
    KinesisConfig { stream: stream.to_owned(), start, mode: Mode::Polling, payloads: Payloads::Envelopes }
}

fn flags(said: &[(&'static str, &'static str, &str)]) -> Layer {
    let entry = |&(path, flag, text): &(&'static str, &'static str, &str)| {
        (path, Setting { value: Value::Text(text.to_owned()), origin: Origin::Flag(flag) })
    };
    said.iter().map(entry).collect()
}

fn variables(said: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    said.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn from_file(text: &str) -> Result<Loaded, BadConfig> {
    load(Layer::new(), [], Some(("c.toml", text)))
}

fn from_variables(said: &[(&str, &str)]) -> Result<Loaded, BadConfig> {
    load(Layer::new(), variables(said), Some(("c.toml", GOOD)))
}

/// All that is wrong, a line each.
fn lines(result: Result<Loaded, BadConfig>) -> Vec<String> {
    result.unwrap_err().0.iter().map(ToString::to_string).collect()
}

/// The line of the only thing that is wrong.
fn wrong(result: Result<Loaded, BadConfig>) -> String {
    let lines = lines(result);
    assert_eq!(lines.len(), 1, "{lines:#?}");
    lines.into_iter().next().unwrap()
}

fn wrong_with(more: &str) -> String {
    wrong(from_file(&format!("{GOOD}{more}")))
}

#[test]
fn every_default_and_bound_of_the_list_parses() {
    for key in KEYS {
        let (least, default, most) = match key.values {
            Values::Duration(least, most) => {
                let nanos = |text| keys::duration(text).unwrap().as_nanos();
                (nanos(least), key.default.map(nanos), nanos(most))
            }
            Values::Size(least, most) => {
                let bytes = |text| u128::from(keys::size(text).unwrap());
                (bytes(least), key.default.map(bytes), bytes(most))
            }
            Values::Count(least, most) => (least.into(), key.default.map(|text| text.parse().unwrap()), most.into()),
            Values::Choice(choices) => {
                assert!(key.default.is_none_or(|default| choices.contains(&default)), "{}", key.path);
                continue;
            }
            Values::Text(_) | Values::List(_) => continue,
        };
        assert!(least < most && default.is_none_or(|default| (least..=most).contains(&default)), "{}", key.path);
    }
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let config = from_file("destination = \"s3://my-lake/logs/\"\n[source.kinesis]\nstream = \"app-logs\"\n").unwrap();
    let expected = Config {
        group: "default".to_owned(),
        lease_timeout: Duration::from_secs(30),
        shutdown_timeout: Duration::from_secs(110),
        stuck_after: Duration::from_secs(600),
        destination: Destination::S3 { bucket: "my-lake".to_owned(), prefix: "logs".to_owned() },
        source: SourceConfig::Kinesis(kinesis("app-logs", Start::TrimHorizon)),
        flush: FlushConfig {
            interval: Duration::from_secs(300),
            buffer_bytes: 256 << 20,
            object_bytes: 128 << 20,
            open_partitions: 5000,
        },
        format: Format { kind: FormatKind::Parquet, compression: Compression::Zstd, level: 3 },
        bloom_filters: Vec::new(),
        schemas_dir: None,
        tables: Vec::new(),
        mask: None,
        glue: None,
        errors: ErrorsConfig { prefix: "errors".to_owned() },
        http: HttpConfig { listen: Some("127.0.0.1:9464".parse().unwrap()) },
        metrics: MetricsConfig { prometheus: true, emf: None },
        limits: LimitsConfig { inflated_record_bytes: 64 << 20 },
    };
    assert_eq!(config.config, expected);
}

#[test]
fn every_key_can_be_set_from_the_environment() {
    let said = variables(&[
        ("FIREMAIN_GROUP", "blue"),
        ("FIREMAIN_LEASE_TIMEOUT", "1s"),
        ("FIREMAIN_SHUTDOWN_TIMEOUT", "1h"),
        ("FIREMAIN_STUCK_AFTER", "1m30s"),
        ("FIREMAIN_DESTINATION", "s3://lake"),
        ("FIREMAIN_SOURCE__KINESIS__STREAM", "arn:aws:kinesis:eu-west-1:123456789012:stream/app-logs"),
        ("FIREMAIN_SOURCE__KINESIS__START", "2024-03-22T05:00:00+01:00"),
        ("FIREMAIN_SOURCE__KINESIS__MODE", "fan_out"),
        ("FIREMAIN_SOURCE__KINESIS__CONSUMER_NAME", "firemain"),
        ("FIREMAIN_SOURCE__KINESIS__DECODE", "json"),
        ("FIREMAIN_SOURCE__KINESIS__LOG_GROUP", "/agents/web"),
        ("FIREMAIN_SOURCE__KINESIS__LOG_STREAM", "web-1"),
        ("FIREMAIN_SOURCE__KINESIS__TIME_FIELD", "event.time"),
        ("FIREMAIN_FLUSH__INTERVAL", "1500ms"),
        ("FIREMAIN_FLUSH__BUFFER_BYTES", "1GiB"),
        ("FIREMAIN_FLUSH__OBJECT_BYTES", "128MB"),
        ("FIREMAIN_FLUSH__OPEN_PARTITIONS", "7"),
        ("FIREMAIN_FORMAT__KIND", "json"),
        ("FIREMAIN_FORMAT__COMPRESSION", "zstd"),
        ("FIREMAIN_FORMAT__LEVEL", "22"),
        ("FIREMAIN_FORMAT__BLOOM_FILTERS", "log_stream,request_id"),
        ("FIREMAIN_SCHEMAS_DIR", "/etc/firemain/schemas"),
        (
            "FIREMAIN_TABLE",
            "[{schema='apache_access', name='web', log_groups=['/ecs/web/*'], on_mismatch='log_events'}]",
        ),
        ("FIREMAIN_MASK__FIELDS", "password"),
        ("FIREMAIN_MASK__PATTERNS", "jwt, email"),
        ("FIREMAIN_MASK__REGEXES", "['TAN: [0-9]{1,6}']"),
        ("FIREMAIN_MASK__HASH_KEY", "sixteen bytes and more"),
        ("FIREMAIN_MASK__UNREADABLE", "keep"),
        ("FIREMAIN_CATALOG__GLUE__DATABASE", "logs"),
        ("FIREMAIN_CATALOG__GLUE__CATALOG_ID", "123456789012"),
        ("FIREMAIN_ERRORS__PREFIX", "bad/things/"),
        ("FIREMAIN_HTTP__LISTEN", "off"),
        ("FIREMAIN_METRICS__PROMETHEUS", "off"),
        ("FIREMAIN_METRICS__EMF", "on"),
        ("FIREMAIN_METRICS__EMF_INTERVAL", "10s"),
        ("FIREMAIN_LIMITS__INFLATED_RECORD_BYTES", "1024"),
    ]);
    let others = ["source.file.paths", "source.kinesis.consumer_arn", "mask.replacement"];
    for key in KEYS.iter().filter(|key| !others.contains(&key.path)) {
        assert!(said.iter().any(|(name, _)| *name == *key.variable()), "{} is not tried here", key.path);
    }
    let stream = "arn:aws:kinesis:eu-west-1:123456789012:stream/app-logs";
    let time_field = Some("event.time".parse().unwrap());
    let payloads =
        Payloads::Json(Plain { log_group: "/agents/web".into(), log_stream: Some("web-1".into()), time_field });
    let expected = Config {
        group: "blue".to_owned(),
        lease_timeout: Duration::from_secs(1),
        shutdown_timeout: Duration::from_secs(3600),
        stuck_after: Duration::from_secs(90),
        destination: Destination::S3 { bucket: "lake".to_owned(), prefix: String::new() },
        source: SourceConfig::Kinesis(KinesisConfig {
            mode: Mode::FanOut(Consumer::Name("firemain".to_owned())),
            payloads,
            ..kinesis(stream, Start::At(1_711_080_000_000))
        }),
        flush: FlushConfig {
            interval: Duration::from_millis(1500),
            buffer_bytes: 1 << 30,
            object_bytes: 128_000_000,
            open_partitions: 7,
        },
        format: Format { kind: FormatKind::Json, compression: Compression::Zstd, level: 22 },
        bloom_filters: vec!["log_stream".to_owned(), "request_id".to_owned()],
        schemas_dir: Some(PathBuf::from("/etc/firemain/schemas")),
        tables: vec![TableConfig {
            schema: "apache_access".to_owned(),
            name: Some("web".to_owned()),
            log_groups: vec!["/ecs/web/*".to_owned()],
            on_mismatch: OnMismatch::LogEvents,
            fields: None,
        }],
        mask: Some(MaskSettings {
            mask: MaskConfig {
                fields: vec!["password".to_owned()],
                patterns: vec!["jwt".to_owned(), "email".to_owned()],
                regexes: vec!["TAN: [0-9]{1,6}".to_owned()],
                replacement: Replacement::Hash { key: b"sixteen bytes and more".to_vec() },
            },
            unreadable: Unreadable::Keep,
        }),
        glue: Some(GlueConfig { database: "logs".to_owned(), catalog_id: Some("123456789012".to_owned()) }),
        errors: ErrorsConfig { prefix: "bad/things".to_owned() },
        http: HttpConfig { listen: None },
        metrics: MetricsConfig { prometheus: false, emf: Some(Duration::from_secs(10)) },
        limits: LimitsConfig { inflated_record_bytes: 1024 },
    };
    let said = load(Layer::new(), said, None).unwrap();
    assert_eq!(said.config, expected);
    for (path, _, origin) in said.values {
        assert_eq!(origin, Origin::Variable(keys::variable(path)));
    }
}

#[test]
fn lists_from_the_environment_are_toml_arrays_or_have_commas() {
    for (text, paths) in [
        ("a.gz", &["a.gz"][..]),
        ("a.gz, b.gz", &["a.gz", "b.gz"]),
        ("-", &["-"]),
        (" [ \"a,1.gz\", 'b.gz' ] ", &["a,1.gz", "b.gz"]),
        ("[ab]*.gz", &["[ab]*.gz"]),
    ] {
        let said = from_variables(&[("FIREMAIN_SOURCE__FILE__PATHS", text)]).unwrap();
        let expected = FileConfig { paths: paths.iter().map(|&path| path.to_owned()).collect() };
        assert_eq!(said.config.source, SourceConfig::File(expected), "{text}");
    }
    for text in ["", "a,,b", "[]", "[\"a\"", "[\"a\", 1]", "a[", "***"] {
        let line = wrong(from_variables(&[("FIREMAIN_SOURCE__FILE__PATHS", text)]));
        assert!(line.starts_with("FIREMAIN_SOURCE__FILE__PATHS: `source.file.paths` can't be "), "{line}");
    }
}

#[test]
fn a_wrong_value_that_is_overridden_does_no_harm() {
    let file = format!("{GOOD}[format]\nkind = \"orc\"\n").replace("memory:///", "ftp://host/x");
    let environment = variables(&[("FIREMAIN_DESTINATION", "also-wrong"), ("FIREMAIN_FORMAT__KIND", "json")]);
    let top = flags(&[("destination", "--destination", "memory:///")]);
    let said = load(top, environment, Some(("c.toml", &file))).unwrap();
    assert_eq!(said.config.destination, Destination::Memory);
    assert_eq!(said.config.format, Format { kind: FormatKind::Json, compression: Compression::Gzip, level: 4 });
}

#[test]
fn the_topmost_layer_that_names_a_source_decides_its_kind() {
    let file = "destination = \"memory:///\"\n[source.kinesis]\nstream = \"a\"\nstart = \"latest\"\n";
    let both = format!("{file}[source.file]\npaths = [\"x\"]\n");
    let line = wrong(from_file(&both));
    assert!(line.starts_with("c.toml:3:1: `source.kinesis` is a second source beside"), "{line}");

    let url = |url: &str| flags(&[(SOURCE_URL, "--source", url)]);
    let environment =
        || variables(&[("FIREMAIN_SOURCE__KINESIS__START", "soon"), ("FIREMAIN_SOURCE__FILE__PATHS", "y")]);
    for text in [file, &both] {
        let said = load(url("file:///x/*.gz"), environment(), Some(("c.toml", text))).unwrap();
        assert_eq!(said.config.source, SourceConfig::File(FileConfig { paths: vec!["/x/*.gz".to_owned()] }));
        assert!(said.values.iter().all(|(path, ..)| !path.starts_with("source.kinesis.")));
    }
    assert!(wrong(load(Layer::new(), environment(), Some(("c.toml", file)))).contains("second source"));

    // Of the same kind, each key counts by itself.
    let arn = "arn:aws:kinesis:eu-west-1:1:stream/b";
    for stream in ["b", arn] {
        let said = load(url(&format!("kinesis://{stream}")), [], Some(("c.toml", file))).unwrap();
        let expected = kinesis(stream, Start::Latest);
        assert_eq!(said.config.source, SourceConfig::Kinesis(expected));
    }
    let said =
        load(Layer::new(), variables(&[("FIREMAIN_SOURCE__KINESIS__START", "trim_horizon")]), Some(("c.toml", file)));
    let expected = kinesis("a", Start::TrimHorizon);
    assert_eq!(said.unwrap().config.source, SourceConfig::Kinesis(expected));
    let said = load(url("file:///a,b"), [], Some(("c.toml", file))).unwrap();
    assert_eq!(said.config.source, SourceConfig::File(FileConfig { paths: vec!["/a,b".to_owned()] }));
    for bad in ["", "x", "/x", "kinesis://", "file://", "file:///", "file://x", "s3://x/y"] {
        let line = wrong(load(url(bad), [], Some(("c.toml", "destination = \"memory:///\""))));
        assert!(line.starts_with(&format!("--source: the source can't be {bad:?}: ")), "{line}");
    }
    assert!(
        wrong(load(url("kinesis://a/b"), [], Some(("c.toml", GOOD)))).starts_with("--source: `source.kinesis.stream`")
    );
}

#[test]
fn text_that_is_not_utf_8_is_never_passed_over() {
    let broken = OsString::from_vec(vec![b'x', 0xff]);
    let line = wrong(load(Layer::new(), [("FIREMAIN_GROUP".into(), broken.clone())], Some(("c.toml", GOOD))));
    assert!(line.starts_with("FIREMAIN_GROUP: `group` is not valid UTF-8"), "{line}");
    let others = [("OTHER".into(), broken.clone()), (broken, "x".into())];
    assert!(load(Layer::new(), others, Some(("c.toml", GOOD))).is_ok());
}

#[test]
fn the_error_prefix_stays_out_of_the_table() {
    let table = crate::table::Schema::log_events().name.clone();
    let line = wrong(from_variables(&[("FIREMAIN_ERRORS__PREFIX", table.as_str())]));
    assert!(line.contains("holds other things"), "{line}");
}

proptest! {
    /// Any text for any key, as a variable or in a file: it counts, or it is told by the key's name; no panic.
    #[test]
    fn any_text_counts_or_is_told(
        index in 0..KEYS.len(),
        text in prop_oneof!["\\PC{0,12}", "[0-9]{1,25}(MiB|s|h|m|GB|ns)?", "(s3|file|memory|ftp)://[a-z./]{0,9}"],
    ) {
        let key: &Key = &KEYS[index];
        let said = load(Layer::new(), [(key.variable().into(), (&text).into())], Some(("c.toml", GOOD)));
        match said {
            Ok(said) => {
                let (_, _, origin) = said.values.iter().find(|(path, ..)| *path == key.path).unwrap();
                prop_assert_eq!(origin, &Origin::Variable(key.variable()));
            }
            Err(bad) => {
                // A start alone makes the source a stream, whose name is missing.
                let told = |problem: &Problem| problem.subject == key.path || problem.subject == "source.kinesis.stream";
                prop_assert!(bad.0.iter().all(told), "{bad}");
            }
        }
    }

    #[test]
    fn any_text_is_a_file_or_is_told(text in "\\PC{0,40}|(group|destination|[\\[\\]\"=.\n{},a-z0-9]){0,30}") {
        let told = from_file(&text);
        prop_assert!(told.is_err_and(|bad| !bad.0.is_empty() && !bad.to_string().is_empty()));
    }

    /// Flag before environment before file before default, for each key by itself.
    #[test]
    fn the_highest_layer_that_speaks_counts(flag: bool, variable: bool, file: bool) {
        let top = if flag { flags(&[("group", "--group", "f")]) } else { Layer::new() };
        let environment = if variable { variables(&[("FIREMAIN_GROUP", "v")]) } else { Vec::new() };
        let text = if file { format!("group = \"c\"\n{GOOD}") } else { GOOD.to_owned() };
        let said = load(top, environment, Some(("c.toml", &text))).unwrap();
        let expected = match (flag, variable, file) {
            (true, ..) => "f",
            (_, true, _) => "v",
            (.., true) => "c",
            _ => "default",
        };
        prop_assert_eq!(said.config.group, expected);
    }
}
