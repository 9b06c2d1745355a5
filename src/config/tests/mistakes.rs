//! What is said of a configuration that is wrong.

use super::*;

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
        ("[errors]\nprefix = \"replayed/x\"", "c.toml:5:1", &["`errors.prefix`", "replayed holds what was replayed"]),
        ("[errors]\nprefix = \"x/replayed\"", "c.toml:5:1", &["`errors.prefix`", "taken for what was replayed"]),
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
            SourceConfig::File(_) | SourceConfig::None => unreachable!("the file names a stream"),
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
