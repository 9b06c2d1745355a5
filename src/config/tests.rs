mod consumer;
mod tables;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::Duration;

use proptest::prelude::*;

use super::keys::{KEYS, Key, Values};
use super::layers::{Layer, Origin, SOURCE_URL, Said, Value};
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
        (path, Said { value: Value::Text(text.to_owned()), origin: Origin::Flag(flag) })
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
        glue_database: None,
        errors: ErrorsConfig { prefix: "errors".to_owned() },
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
        ("FIREMAIN_ERRORS__PREFIX", "bad/things/"),
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
        glue_database: Some("logs".to_owned()),
        errors: ErrorsConfig { prefix: "bad/things".to_owned() },
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
fn wrong_values_are_told_with_key_value_place_and_what_is_allowed() {
    for (more, place, parts) in [
        ("[flush]\ninterval = true", "c.toml:5:1", &["`flush.interval`", "boolean", "1s to 1h"][..]),
        ("[flush]\ninterval = \"soon\"", "c.toml:5:1", &["`flush.interval`", "\"soon\"", "1s to 1h"]),
        ("[flush]\ninterval = \"2h\"", "c.toml:5:1", &["`flush.interval`", "\"2h\"", "too much", "1h"]),
        ("[flush]\ninterval = \"999ms\"", "c.toml:5:1", &["`flush.interval`", "too little"]),
        ("[flush]\ninterval = 60", "c.toml:5:1", &["`flush.interval`", "60", "unit is missing"]),
        ("[flush]\n  buffer_bytes = \"12 parsecs\"", "c.toml:5:3", &["`flush.buffer_bytes`", "12 parsecs", "1MiB"]),
        ("[flush]\nobject_bytes = 0xffff", "c.toml:5:1", &["`flush.object_bytes`", "65535", "1MiB to 1GiB"]),
        ("[flush]\nobject_bytes = \"2GiB\"", "c.toml:5:1", &["`flush.object_bytes`", "too much", "1MiB to 1GiB"]),
        ("[flush]\nobject_bytes = 1.5", "c.toml:5:1", &["`flush.object_bytes`", "float"]),
        ("[flush]\nopen_partitions = \"many\"", "c.toml:5:1", &["`flush.open_partitions`", "\"many\"", "from 1 to"]),
        ("[flush]\nopen_partitions = 0", "c.toml:5:1", &["`flush.open_partitions`", "too little"]),
        ("[flush]\nopen_partitions = {a = 1}", "c.toml:5:1", &["`flush.open_partitions`", "table"]),
        ("[limits]\ninflated_record_bytes = \"-1MiB\"", "c.toml:5:1", &["`limits.inflated_record_bytes`", "-1MiB"]),
        ("[limits]\ninflated_record_bytes = -5", "c.toml:5:1", &["`limits.inflated_record_bytes`", "-5", "1KiB"]),
        ("[limits]\ninflated_record_bytes = 1023", "c.toml:5:1", &["too little", "1KiB to 1GiB"]),
        ("[format]\nkind = \"orc\"", "c.toml:5:1", &["`format.kind`", "\"orc\"", "parquet or json"]),
        ("[format]\ncompression = \"brotli\"", "c.toml:5:1", &["`format.compression`", "brotli", "zstd, snappy"]),
        ("[format]\nkind = \"json\"\ncompression = \"snappy\"", "c.toml:6:1", &["`format.compression`", "JSON"]),
        ("[format]\nlevel = 23", "c.toml:5:1", &["`format.level`", "23", "1 to 22"]),
        ("[format]\nkind = \"json\"\nlevel = 10", "c.toml:6:1", &["`format.level`", "10", "gzip takes 1 to 9"]),
        ("[format]\ncompression = \"snappy\"\nlevel = 3", "c.toml:6:1", &["`format.level`", "snappy has no level"]),
        ("[format]\ncompression = \"none\"\nlevel = 3", "c.toml:6:1", &["`format.level`", "none has no level"]),
        ("[errors]\nprefix = \"\"", "c.toml:5:1", &["`errors.prefix`", "empty"]),
        ("[errors]\nprefix = \"/errors\"", "c.toml:5:1", &["`errors.prefix`", "slash"]),
        ("[errors]\nprefix = \"a/../b\"", "c.toml:5:1", &["`errors.prefix`", "`..`"]),
        ("[errors]\nprefix = \"_firemain/x\"", "c.toml:5:1", &["`errors.prefix`", "_firemain holds other things"]),
        ("[errors]\nprefix = \"log_events\"", "c.toml:5:1", &["`errors.prefix`", "log_events holds other things"]),
    ] {
        let line = wrong_with(more);
        assert!(line.starts_with(&format!("{place}: ")), "{line}");
        assert!(parts.iter().all(|part| line.contains(part)), "{parts:?} in {line}");
    }
}

#[test]
fn wrong_texts_are_told_from_any_layer() {
    let long = "x".repeat(129);
    for (variable, texts) in [
        ("FIREMAIN_GROUP", &["", ".hidden", "a/b", "a b", "ä", &long][..]),
        ("FIREMAIN_DESTINATION", &["", "lake", "/var/lake", "ftp://host/x", "s3://", "s3:///x", "s3://a b/x"]),
        ("FIREMAIN_DESTINATION", &["s3://bucket/a//b", "file://", "file:///", "file://lake", "memory://x"]),
        ("FIREMAIN_LEASE_TIMEOUT", &["999ms", "601s", "30"]),
        ("FIREMAIN_FORMAT__LEVEL", &["0", "-1", "3.5", "three"]),
    ] {
        for text in texts {
            let line = wrong(from_variables(&[(variable, text)]));
            assert!(line.starts_with(variable) && line.contains(&format!("can't be {text:?}")), "{line}");
        }
    }
    let arn = "arn:aws:kinesis:eu-west-1:1:stream";
    for stream in ["", "a b", arn, &format!("{arn}/"), &format!("{arn}/x/consumer/y:1"), "arn:aws:s3:::stream/x", &long]
    {
        let line = wrong(from_variables(&[("FIREMAIN_SOURCE__KINESIS__STREAM", stream)]));
        assert!(line.contains("`source.kinesis.stream` can't be "), "{line}");
    }
    for start in ["", "yesterday", "2024-03-22", "2024-03-22T05:00:00"] {
        let said = [("FIREMAIN_SOURCE__KINESIS__STREAM", "s"), ("FIREMAIN_SOURCE__KINESIS__START", start)];
        assert!(wrong(from_variables(&said)).contains("`source.kinesis.start`"), "{start}");
    }
}

#[test]
fn how_payloads_are_read_is_said_by_keys_that_agree() {
    let payloads = |more: &str| {
        let file = format!("destination = \"memory:///\"\n[source.kinesis]\nstream = \"s\"\n{more}\n");
        from_file(&file).map(|loaded| match loaded.config.source {
            SourceConfig::Kinesis(config) => config.payloads,
            SourceConfig::File(_) => unreachable!("the file names a stream"),
        })
    };
    let plain = Plain { log_group: "g".into(), log_stream: None, time_field: None };
    let timed = Plain { time_field: Some("t".parse().unwrap()), ..plain.clone() };
    for (more, expected) in [
        ("", Payloads::Envelopes),
        ("decode = \"auto\"", Payloads::Envelopes),
        ("decode = \"cloudwatch\"", Payloads::Envelopes),
        ("log_group = \"g\"", Payloads::Any(plain.clone())),
        ("log_group = \"g\"\ntime_field = \"t\"", Payloads::Any(timed.clone())),
        ("decode = \"lines\"\nlog_group = \"g\"", Payloads::Lines(plain.clone())),
        ("decode = \"json\"\nlog_group = \"g\"\ntime_field = \"t\"", Payloads::Json(timed)),
        (
            "decode = \"json\"\nlog_group = \"g\"\nlog_stream = \"s\"",
            Payloads::Json(Plain { log_stream: Some("s".into()), ..plain }),
        ),
    ] {
        assert_eq!(payloads(more).unwrap(), expected, "{more}");
    }
    let none = |more: &str| payloads(more).unwrap_err().0.iter().map(ToString::to_string).collect::<Vec<_>>();
    for (more, parts) in [
        (
            "decode = \"xml\"",
            &["c.toml:4:1: ", "`source.kinesis.decode` can't be \"xml\"", "cloudwatch, lines or json"][..],
        ),
        ("decode = \"lines\"", &["`source.kinesis.log_group` is missing", "decode` \"lines\" needs it", "__LOG_GROUP"]),
        ("decode = \"json\"", &["`source.kinesis.log_group` is missing", "decode` \"json\" needs it"]),
        (
            "log_group = \"g\"\ndecode = \"cloudwatch\"",
            &["c.toml:4:1: ", "log_group` can't be \"g\"", "\"cloudwatch\", which"],
        ),
        (
            "log_stream = \"s\"\ndecode = \"cloudwatch\"",
            &["log_stream` can't be \"s\"", "\"cloudwatch\", which has no use"],
        ),
        (
            "time_field = \"t\"\ndecode = \"lines\"\nlog_group = \"g\"",
            &["time_field` can't be \"t\"", "\"lines\", which"],
        ),
        ("log_stream = \"s\"", &["log_stream` can't be \"s\"", "`source.kinesis.log_group` is not set"]),
        ("time_field = \"t\"", &["time_field` can't be \"t\"", "`source.kinesis.log_group` is not set"]),
        ("log_group = \"\"", &["log_group` can't be \"\"", "1 to 512 bytes"]),
        ("log_group = \"a\\nb\"", &["log_group` can't be", "without control characters"]),
        ("log_group = 7", &["log_group` can't be 7"]),
        ("log_group = \"g\"\ntime_field = \"a..b\"", &["time_field` can't be \"a..b\"", "a name in it is empty"]),
    ] {
        let lines = none(more);
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert!(parts.iter().all(|part| lines[0].contains(part)), "{parts:?} in {}", lines[0]);
    }
    assert_eq!(none("log_group = \"g\"\nlog_stream = \"s\"\ndecode = \"cloudwatch\"").len(), 2, "all are told");
}

#[test]
fn what_nobody_knows_is_told_with_the_nearest_that_is_known() {
    for (text, expected) in [
        ("[flush]\nintervall = \"5m\"", "c.toml:5:1: unknown key `flush.intervall`: did you mean `flush.interval`?"),
        ("[flush]\nprefix = \"x\"", "c.toml:5:1: unknown key `flush.prefix`: did you mean `errors.prefix`?"),
        ("[sink]\nkind = \"s3\"", "c.toml:4:2: unknown section `sink`: the nearest known section is `"),
        ("[formt]\nkind = \"orc\"", "c.toml:4:2: unknown section `formt`: did you mean `format`?"),
        ("[source.kinesiss]\nx = 1", "c.toml:4:9: unknown section `source.kinesiss`: did you mean `source.kinesis`?"),
        (
            "[[flush]]\ninterval = \"5m\"",
            "c.toml:4:3: `flush` is a section and has no value of its own: set `flush.int",
        ),
    ] {
        let line = wrong_with(text);
        assert!(line.starts_with(expected), "{line}");
    }
    let line = wrong(from_file(&format!("intervall = 1\n{GOOD}")));
    assert_eq!(line, "c.toml:1:1: unknown key `intervall`: did you mean `flush.interval`?");

    for (variable, meant) in [
        ("FIREMAIN_FLUSH__INTERVALL", "FIREMAIN_FLUSH__INTERVAL"),
        ("FIREMAIN_FLUSH_INTERVAL", "FIREMAIN_FLUSH__INTERVAL"),
        ("FIREMAIN_flush__interval", "FIREMAIN_FLUSH__INTERVAL"),
        ("FIREMAIN_DESTINATON", "FIREMAIN_DESTINATION"),
    ] {
        let line = wrong(from_variables(&[(variable, "60s"), ("FIREMAN_X", "1"), ("HOME", "/")]));
        assert_eq!(line, format!("{variable}: unknown variable {variable}: did you mean `{meant}`?"));
    }
    let line = wrong(from_variables(&[("FIREMAIN_SOURCE", "kinesis://x")]));
    assert!(line.contains("is a section") && line.contains("`FIREMAIN_SOURCE__KINESIS__STREAM`"), "{line}");
}

#[test]
fn a_source_that_is_a_text_is_told_how_to_write_it() {
    let lines = lines(from_file("destination = \"memory:///\"\nsource = \"kinesis://x\"\n"));
    assert!(lines[0].starts_with("c.toml:2:1: `source` is a section"), "{lines:?}");
    assert!(lines[0].contains("`source.kinesis.stream`"), "{lines:?}");
}

#[test]
fn what_is_missing_is_told_with_all_the_ways_to_say_it() {
    let line = wrong(from_file("[source.file]\npaths = [\"x\"]\n"));
    assert!(line.starts_with("`destination` is missing: "), "{line}");
    assert!(["FIREMAIN_DESTINATION", "--destination", "s3://"].iter().all(|way| line.contains(way)), "{line}");
    let line = wrong(from_file("destination = \"memory:///\"\n[source]\n"));
    assert!(line.starts_with("no source: set `source.kinesis.stream` or `source.file.paths`"), "{line}");
    let line = wrong(from_file("destination = \"memory:///\"\n[source.kinesis]\nstart = \"latest\"\n"));
    assert!(line.starts_with("`source.kinesis.stream` is missing: "), "{line}");
}

#[test]
fn a_file_that_is_no_toml_is_told_once_with_line_and_column() {
    let line = wrong(from_file("group = \"x\"\n[flush\ninterval = 1"));
    assert!(line.starts_with("c.toml:2:7: not valid TOML: "), "{line}");
    let line = wrong(from_file("group = \"ä\" x\n"));
    assert!(line.starts_with("c.toml:1:13: not valid TOML: "), "{line}");
    let line = wrong(from_file("group = \"x\"\ngroup = \"y\"\n"));
    assert!(line.starts_with("c.toml:2:1: not valid TOML: duplicate key"), "{line}");
    assert!(from_file(&format!("\u{feff}{GOOD}")).is_ok(), "a byte order mark is none");
}

#[test]
fn all_that_is_wrong_is_told_and_the_last_line_says_what_to_do() {
    let file = "destinaton = \"s3://x/y\"\n[source.file]\npaths = [\"x\"]\n[format]\nkind = \"orc\"\n\
                compression = \"brotli\"\nlevel = 99\n[flush]\ninterval = 1\n";
    let bad = load(Layer::new(), variables(&[("FIREMAIN_GROUP", "a/b")]), Some(("c.toml", file))).unwrap_err();
    let subjects: Vec<&str> = bad.0.iter().map(|problem| problem.subject.as_str()).collect();
    let expected = ["group", "destinaton", "format.kind", "format.compression", "format.level", "flush.interval"];
    assert_eq!(subjects, [&expected[..], &["destination"]].concat());
    let text = bad.to_string();
    assert_eq!(text.lines().count(), 8);
    let last = text.lines().last().unwrap();
    assert!(last.contains("7 things") && last.contains("`group`") && last.contains("check-config"), "{last}");
    // One mistake is its own last line.
    assert_eq!(from_file("[source.file]\npaths = [\"x\"]\n").unwrap_err().to_string().lines().count(), 1);
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
