use std::collections::HashSet;

use super::layers::{Said, Value};
use super::*;

const GOOD: &str = "destination = \"s3://lake/logs/\"\n[source.kinesis]\nstream = \"app-logs\"\n";

fn load_file(text: &str) -> Result<Loaded, BadConfig> {
    load(Layer::new(), [], Some(("c.toml", text)))
}

fn with_environment(text: &str, variables: &[(&str, &str)]) -> Result<Loaded, BadConfig> {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    load(Layer::new(), variables, Some(("c.toml", text)))
}

fn flag(path: &'static str, value: Value) -> Layer {
    Layer::from([(path, Said { value, origin: Origin::Flag("--flag") })])
}

#[test]
fn the_defaults_are_those_of_the_contract() {
    let config = load_file(GOOD).unwrap().config;
    assert_eq!(config.group, "default");
    assert_eq!(config.lease_timeout, Duration::from_secs(30));
    assert_eq!(config.shutdown_timeout, Duration::from_secs(110));
    assert_eq!(config.stuck_after, Duration::from_secs(600));
    assert_eq!(config.destination, Destination::S3 { bucket: "lake".into(), prefix: "logs".into() });
    let source = KinesisConfig { stream: "app-logs".into(), start: Start::TrimHorizon };
    assert_eq!(config.source, SourceConfig::Kinesis(source));
    let flush = FlushConfig {
        interval: Duration::from_secs(300),
        buffer_bytes: 256 << 20,
        object_bytes: 128 << 20,
        open_partitions: 5000,
    };
    assert_eq!(config.flush, flush);
    assert_eq!(config.format, Format { kind: FormatKind::Parquet, compression: Compression::Zstd, level: 3 });
    assert_eq!((config.errors.prefix.as_str(), config.limits.inflated_record_bytes), ("errors", 64 << 20));
}

/// Each wrong text with what the message must name.
#[test]
fn what_is_wrong_is_named_with_its_place() {
    let cases: [(&str, &[&str]); 19] = [
        ("[flush]\nintervall = \"5m\"", &["c.toml:5:1", "flush.intervall", "flush.interval"]),
        ("destinaton = \"s3://x/y\"", &["destinaton", "`destination`"]),
        ("[sink]\nkind = \"s3\"", &["section `sink`"]),
        ("[flush]\ninterval = true", &["c.toml:5:1", "flush.interval", "boolean"]),
        ("[flush]\ninterval = \"soon\"", &["flush.interval", "\"soon\"", "from 1s to 1h"]),
        ("[flush]\ninterval = \"2h\"", &["flush.interval", "from 1s to 1h"]),
        ("[flush]\ninterval = \"999ms\"", &["flush.interval"]),
        ("[flush]\nbuffer_bytes = \"12 parsecs\"", &["flush.buffer_bytes", "12 parsecs"]),
        ("[flush]\nobject_bytes = \"2GiB\"", &["flush.object_bytes", "1GiB"]),
        ("[flush]\nopen_partitions = \"many\"", &["flush.open_partitions"]),
        ("[flush]\nopen_partitions = 0", &["flush.open_partitions"]),
        ("[limits]\ninflated_record_bytes = \"-1MiB\"", &["limits.inflated_record_bytes"]),
        ("[format]\nkind = \"orc\"", &["format.kind", "parquet | json"]),
        ("[format]\ncompression = \"brotli\"", &["format.compression", "zstd"]),
        ("[format]\nkind = \"json\"\ncompression = \"snappy\"", &["format.compression", "gzip"]),
        ("[format]\ncompression = \"gzip\"\nlevel = 10", &["format.level", "1 to 9"]),
        ("[errors]\nprefix = \"_firemain/x\"", &["errors.prefix"]),
        ("[source.file]\npaths = [\"x\"]", &["two sources", "source.file", "source.kinesis"]),
        ("[flush\ninterval = 1", &["c.toml:4", "TOML"]),
    ];
    for (text, names) in cases {
        // Top-level keys come before the sections.
        let whole = if text.starts_with('[') { format!("{GOOD}{text}") } else { format!("{text}\n{GOOD}") };
        let said = load_file(&whole).unwrap_err().to_string();
        assert!(names.iter().all(|name| said.contains(name)), "{text}: {said}");
    }
    for (text, names) in [
        ("[source.kinesis]\nstream = \"x\"", ["`destination`", "FIREMAIN_DESTINATION"]),
        ("destination = \"memory:///\"", ["source", "--source"]),
        ("destination = \"ftp://x/y\"\n[source.kinesis]\nstream = \"x\"", ["destination", "ftp"]),
        ("destination = \"file://x/y\"\n[source.kinesis]\nstream = \"x\"", ["destination", "absolute"]),
        ("destination = \"s3://b/x//y\"\n[source.kinesis]\nstream = \"x\"", ["destination", "empty"]),
    ] {
        let said = load_file(text).unwrap_err().to_string();
        assert!(names.iter().all(|name| said.contains(name)), "{text}: {said}");
    }
}

#[test]
fn all_problems_are_told_at_once() {
    let text = format!("{GOOD}[flush]\ninterval = 1\nbuffer_bytes = true\n[format]\nkind = \"x\"\n");
    assert_eq!(load_file(&text).unwrap_err().0.len(), 3);
}

#[test]
fn every_key_can_be_said_in_the_environment() {
    let variables = [
        ("FIREMAIN_GROUP", "g"),
        ("FIREMAIN_LEASE_TIMEOUT", "2s"),
        ("FIREMAIN_SHUTDOWN_TIMEOUT", "20s"),
        ("FIREMAIN_STUCK_AFTER", "1m"),
        ("FIREMAIN_DESTINATION", "memory:///"),
        ("FIREMAIN_SOURCE__KINESIS__STREAM", "s"),
        ("FIREMAIN_SOURCE__KINESIS__START", "2024-03-22T05:00:00Z"),
        ("FIREMAIN_FLUSH__INTERVAL", "60s"),
        ("FIREMAIN_FLUSH__BUFFER_BYTES", "33554432"),
        ("FIREMAIN_FLUSH__OBJECT_BYTES", "1MiB"),
        ("FIREMAIN_FLUSH__OPEN_PARTITIONS", "7"),
        ("FIREMAIN_FORMAT__KIND", "json"),
        ("FIREMAIN_FORMAT__COMPRESSION", "zstd"),
        ("FIREMAIN_FORMAT__LEVEL", "1"),
        ("FIREMAIN_ERRORS__PREFIX", "bad/"),
        ("FIREMAIN_LIMITS__INFLATED_RECORD_BYTES", "4MiB"),
        ("PATH", "not ours"),
    ];
    let said: HashSet<&str> = variables.iter().map(|(name, _)| *name).collect();
    for key in keys::KEYS.iter().filter(|key| key.path != "source.file.paths") {
        assert!(said.contains(keys::variable(key.path).as_str()), "{} is not tried here", key.path);
    }
    let config = with_environment("", &variables).unwrap().config;
    assert_eq!(config.flush.buffer_bytes, 32 << 20);
    assert_eq!(config.flush.open_partitions, 7);
    assert_eq!(config.errors.prefix, "bad");
    assert_eq!(config.format, Format { kind: FormatKind::Json, compression: Compression::Zstd, level: 1 });
    let start = Start::At(1_711_083_600_000);
    assert_eq!(config.source, SourceConfig::Kinesis(KinesisConfig { stream: "s".into(), start }));

    let files = [("FIREMAIN_DESTINATION", "memory:///"), ("FIREMAIN_SOURCE__FILE__PATHS", "a, b*")];
    let config = with_environment("", &files).unwrap().config;
    assert_eq!(config.source, SourceConfig::File(FileConfig { paths: vec!["a".into(), "b*".into()] }));
}

#[test]
fn an_unknown_variable_is_an_error_that_names_the_nearest() {
    let said = with_environment(GOOD, &[("FIREMAIN_FLUSH__INTERVALL", "60s")]).unwrap_err().to_string();
    assert!(said.contains("FIREMAIN_FLUSH__INTERVALL") && said.contains("FIREMAIN_FLUSH__INTERVAL?"), "{said}");
}

#[test]
fn flags_go_before_environment_before_file() {
    let file = "destination = \"ftp://host/x\"\n[source.kinesis]\nstream = \"x\"\n";
    let variables = [("FIREMAIN_DESTINATION".to_owned(), "also-wrong".to_owned())];
    let flags = flag("destination", Value::Text("memory:///".into()));
    let loaded = load(flags, variables, Some(("c.toml", file))).unwrap();
    assert_eq!(loaded.config.destination, Destination::Memory);
    let origin = loaded.values.iter().find(|(path, ..)| *path == "destination").map(|(.., origin)| origin);
    assert_eq!(origin, Some(&Origin::Flag("--flag")));

    let orc = format!("{GOOD}[format]\nkind = \"orc\"\n");
    let config = with_environment(&orc, &[("FIREMAIN_FORMAT__KIND", "json")]).unwrap().config;
    assert_eq!(config.format, Format { kind: FormatKind::Json, compression: Compression::Gzip, level: 4 });
}

#[test]
fn a_source_from_above_replaces_one_of_another_kind_and_adds_to_one_of_its_own() {
    let flags = flag("source.file.paths", Value::List(vec!["/x,y".into()]));
    let config = load(flags, [], Some(("c.toml", GOOD))).unwrap().config;
    assert_eq!(config.source, SourceConfig::File(FileConfig { paths: vec!["/x,y".into()] }));
    let config = with_environment(GOOD, &[("FIREMAIN_SOURCE__KINESIS__START", "latest")]).unwrap().config;
    let source = KinesisConfig { stream: "app-logs".into(), start: Start::Latest };
    assert_eq!(config.source, SourceConfig::Kinesis(source));
}

/// `UPDATE_DOCS=1 cargo test the_reference` writes it anew.
#[test]
fn the_reference_is_what_the_code_says() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/configuration.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, keys::reference()).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == keys::reference(), "docs/configuration.md is old: UPDATE_DOCS=1 cargo test the_reference");
}
