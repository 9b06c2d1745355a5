//! Reports of whole inputs, as JSON has them: a contract with scripts.

use serde_json::{Value, json};

use super::fixtures::{SHORT, envelope, gzip, parquet, zstd};
use super::*;

fn of(bytes: &[u8]) -> Report {
    inspect(&Input::memory(bytes.to_vec()), SHORT).unwrap()
}

fn told(bytes: &[u8]) -> Value {
    serde_json::to_value(of(bytes)).unwrap()
}

#[test]
fn each_kind_has_its_name_and_its_numbers() {
    let golden = include_bytes!("../../tests/golden/pack-v1.bin");
    let cases = [
        (told(&parquet(3)), json!({"kind": "parquet", "rows": 3, "compression": null})),
        (told(&zstd(b"{\"a\":1}\n{\"a\":2}\n")), json!({"kind": "rows", "rows": 2, "compression": "zstd"})),
        (
            told(&gzip(&envelope(7))),
            json!({"kind": "records", "shape": "payloads", "events": 7, "compression": "gzip"}),
        ),
        (told(b"{\"errorCode\":\"X\",\"rawData\":\"\"}"), json!({"kind": "rejections", "rejections": 1})),
        (told(golden), json!({"kind": "pack", "object_bytes": 10, "size": golden.len()})),
        (told(include_bytes!("../../tests/golden/state-v1.json")), json!({"kind": "snapshot", "number": 42})),
        (
            told(b"{\"worker\":\"w\",\"counter\":3,\"host\":\"h\",\"pid\":1,\"version\":\"v\"}"),
            json!({"kind": "heartbeat", "pid": 1}),
        ),
    ];
    for (report, expected) in cases {
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&report[name], value, "{name} of {report}");
        }
        assert_eq!(report["problems"], json!([]), "{report}");
    }
}

#[test]
fn what_is_none_of_all_that_is_shown_as_bytes() {
    for (bytes, begins, looks_like) in [
        (&b"PK\x03\x04"[..], "50 4b 03 04", json!("a zip archive")),
        (&gzip(b"plain text"), "70 6c 61 69 6e 20 74 65 78 74", json!("text")),
        (&gzip(&gzip(b"x"))[..], "1f 8b", json!("gzip")),
        (b"\0\x01", "00 01", Value::Null),
        (b"\x1f\x8b", "1f 8b", json!("gzip")),
        (b"", "", Value::Null),
    ] {
        let report = told(bytes);
        assert_eq!((&report["kind"], &report["looks_like"]), (&json!("unknown"), &looks_like), "{report}");
        assert!(report["first_bytes"].as_str().unwrap().starts_with(begins), "{report}");
        assert_eq!(report["problems"].as_array().unwrap().len(), 1, "{report}");
    }
    let twice = of(&gzip(&gzip(&envelope(1))));
    assert!(twice.notes[0].contains("unpack it once (zcat)"), "{:?}", twice.notes);
    let cut = told(&include_bytes!("../../tests/golden/state-v1.json")[..80]);
    assert_eq!(cut["kind"], "unknown");
    assert!(cut["text"].as_str().unwrap().starts_with("{\"version\":1,\"number\":42"));
}

#[test]
fn metadata_that_says_other_rows_is_a_problem() {
    let with = |rows: &str| {
        let mut input = Arc::into_inner(Input::memory(parquet(3))).unwrap();
        input.metadata.insert("rows".into(), rows.into());
        inspect(&Arc::new(input), SHORT).unwrap().problems
    };
    assert!(with("3").is_empty());
    assert_eq!(with("4"), ["its metadata says 4 rows, and it has 3"]);
}

proptest::proptest! {
    /// Nor does any gzip, nor what begins as one of the kinds does.
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>, kind in 0usize..6) {
        let begin: &[u8] = [b"".as_slice(), b"PAR1", b"FMPACK01", b"{\"rawData\":\"\",\"errorCode\":",
            b"{\"Records\":[{", b"{\"version\":1,\"number\":1,\"shards\":"][kind];
        let bytes = [begin, &bytes].concat();
        of(&bytes);
        of(&gzip(&bytes));
    }
}
