//! `firemain inspect` on what `firemain run` wrote, and on what others write.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use object_store::path::Path as Key;
use object_store::{ObjectStore, ObjectStoreExt};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::binary::firemain;
use crate::s3::{ACCESS_KEY, REGION, S3Server, SECRET_KEY};

/// What was made, as `firemain generate` says.
#[derive(Debug, PartialEq, Eq)]
struct Made {
    records: u64,
    events: u64,
    rejections: u64,
}

async fn generate(out: &Path) -> Made {
    let args = ["generate", "--events", "3000", "--poison", "8", "--out", out.to_str().unwrap()];
    let said = String::from_utf8(firemain(&args, &[]).await.stderr).unwrap();
    let numbers: Vec<u64> = said.split(' ').filter_map(|word| word.parse().ok()).collect();
    Made { records: numbers[0], events: numbers[1], rejections: numbers[2] }
}

async fn deliver(records: &Path, destination: &str, env: &[(&str, &str)]) {
    let source = format!("file://{}", records.display());
    let output = firemain(&["run", "--drain", "--source", &source, "--destination", destination], env).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Its text, and its exit code.
async fn inspect(args: &[&str], env: &[(&str, &str)]) -> (String, Option<i32>, String) {
    let Output { status, stdout, stderr } = firemain(&[&["inspect"], args].concat(), env).await;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(stdout), status.code(), text(stderr))
}

/// The JSON of what is whole.
async fn found(what: &str, env: &[(&str, &str)]) -> Value {
    let (text, code, said) = inspect(&["--output", "json", what], env).await;
    assert_eq!((code, said.as_str()), (Some(0), ""), "{what}: {text}");
    serde_json::from_str(&text).unwrap()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let all = glob::glob(&format!("{}/**/*", folder.display())).unwrap();
    all.map(Result::unwrap).filter(|path| path.is_file()).collect()
}

fn sum(reports: &[Value], kind: &str, name: &str) -> u64 {
    reports.iter().filter(|report| report["kind"] == kind).map(|report| report[name].as_u64().unwrap()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_file_tells_what_its_delivery_will() {
    let folder = TempDir::new().unwrap();
    let records = folder.path().join("records");
    let made = generate(&records).await;
    let report = found(records.to_str().unwrap(), &[]).await;
    assert_eq!((&report["kind"], &report["shape"]), (&json!("records"), &json!("pages")));
    let rejections: u64 = report["rejections"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    let (of, events) = (report["records"].as_u64().unwrap(), report["events"].as_u64().unwrap());
    assert_eq!(Made { records: of, events, rejections }, made);
    assert_eq!(report["first_records"].as_array().unwrap().len(), 5);

    let (text, code, _) = inspect(&["--rows", "2", records.to_str().unwrap()], &[]).await;
    assert_eq!(code, Some(0));
    assert!(text.contains(&format!("record file: {} records as of `aws kinesis get-records`", made.records)), "{text}");
    assert!(text.contains(&format!("First 2 of {} records\n", made.records)), "{text}");
    assert!(text.contains("Record.NotDecodable: not JSON: expected value at line 1 column 1\n"), "{text}");
    assert!(text.contains("begins with the text: \"plain text, no payload: 0\"\n"), "{text}");

    let mut child = Command::new(env!("CARGO_BIN_EXE_firemain"))
        .args(["inspect", "-", "--output", "json"])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut gzip = flate2::write::GzEncoder::new(child.stdin.take().unwrap(), flate2::Compression::fast());
    gzip.write_all(&std::fs::read(&records).unwrap()).unwrap();
    drop(gzip.finish().unwrap());
    let piped: Value = serde_json::from_slice(&child.wait_with_output().unwrap().stdout).unwrap();
    assert_eq!((&piped["records"], &piped["compression"]), (&report["records"], &json!("gzip")));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_object_of_a_local_lake_is_told() {
    let folder = TempDir::new().unwrap();
    let records = folder.path().join("records");
    let made = generate(&records).await;
    let (parquet, zstd, plain) = ("parquet", "zstd", "none");
    for (kind, format, compression) in [(parquet, "parquet", zstd), ("rows", "json", zstd), ("rows", "json", plain)] {
        let lake = folder.path().join(format!("{format} {compression}"));
        let env = [("FIREMAIN_FORMAT__KIND", format), ("FIREMAIN_FORMAT__COMPRESSION", compression)];
        deliver(&records, &format!("file://{}", lake.display()), &env).await;
        let mut reports = Vec::new();
        for file in files(&lake) {
            reports.push(found(&format!("file://{}", file.display()), &[]).await);
        }
        assert_eq!(sum(&reports, kind, "rows"), made.events, "{format} {compression}");
        assert_eq!(sum(&reports, "rejections", "rejections"), made.rejections);
        let newest =
            reports.iter().filter(|report| report["kind"] == "snapshot").max_by_key(|of| of["number"].as_u64());
        let totals = &newest.unwrap()["totals"];
        assert_eq!((&totals["events"], &totals["records"]), (&json!(made.events), &json!(made.records)));
        let kinds = [kind, "rejections", "snapshot"];
        assert!(reports.iter().all(|report| kinds.contains(&report["kind"].as_str().unwrap())));

        let object = files(&lake.join("log_events")).swap_remove(0);
        let (text, _, _) = inspect(&["--rows", "1", object.to_str().unwrap()], &[]).await;
        let says: &[&str] = match kind {
            "parquet" => {
                &["Parquet: ", "firemain.schema", "Row groups\n", "INT64 TIMESTAMP(MILLIS,true)", "First 1 of "]
            }
            _ => &["lines of JSON: ", "Columns\n", "First 1 of "],
        };
        says.iter().for_each(|say| assert!(text.contains(say), "{say}: {text}"));
        let errors = files(&lake.join("errors/error=Event.Invalid")).swap_remove(0);
        let (text, _, _) = inspect(&[errors.to_str().unwrap()], &[]).await;
        for say in
            ["error object of Firemain: ", "in gzip", "By code\n", "reason ", "envelope of /poisoned/app, stream s"]
        {
            assert!(text.contains(say), "{say}: {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_object_of_a_bucket_is_told_with_its_metadata() {
    let (s3, folder) = (S3Server::start().await, TempDir::new().unwrap());
    let env = [
        ("AWS_REGION", REGION),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        ("AWS_ENDPOINT_URL_S3", s3.endpoint.as_str()),
    ];
    let records = folder.path().join("records");
    let made = generate(&records).await;
    deliver(&records, "s3://lake/logs", &env).await;
    let store = s3.store();
    let pack = include_bytes!("../golden/pack-v1.bin");
    store.put(&Key::from("packs/one.pack"), pack.to_vec().into()).await.unwrap();
    store.put(&Key::from("records"), std::fs::read(&records).unwrap().into()).await.unwrap();
    store.put(&Key::from("empty"), Vec::new().into()).await.unwrap();

    let listed: Vec<_> = futures::TryStreamExt::try_collect(store.list(Some(&Key::from("logs")))).await.unwrap();
    let listed: Vec<object_store::ObjectMeta> = listed;
    let mut reports = Vec::new();
    for object in &listed {
        let report = found(&format!("s3://lake/{}", object.location), &env).await;
        assert_eq!(report["size"], json!(object.size));
        reports.push(report);
    }
    assert_eq!(sum(&reports, "parquet", "rows"), made.events);
    assert_eq!(sum(&reports, "rejections", "rejections"), made.rejections);
    let object = reports.iter().find(|report| report["kind"] == "parquet").unwrap();
    assert_eq!(object["metadata"]["rows"].as_str().unwrap(), object["rows"].to_string());
    assert_eq!(object["metadata"]["schema"], "log_events");
    assert!(object["metadata"]["firemain-commit"].as_str().unwrap().ends_with("-1"), "{object}");
    let (text, _, _) = inspect(&[object["name"].as_str().unwrap()], &env).await;
    assert!(text.contains("min-timestamp") && text.contains(" (2024-03-22T0"), "{text}");

    let report = found("s3://lake/records", &env).await;
    assert_eq!(report["events"], json!(made.events));
    let (text, code, _) = inspect(&["s3://lake/packs/one.pack"], &env).await;
    assert_eq!(code, Some(0));
    assert!(text.contains("pack: 2 objects") && text.contains("good      8 bytes"), "{text}");

    let stranger = [env[0], ("AWS_ACCESS_KEY_ID", "STRANGER"), env[2], env[3]];
    for (what, env, code, says) in [
        ("s3://lake/logs/nothing", &env, 2, "no such object"),
        ("s3://lake/logs/", &env, 2, "is a prefix: name one of what is in it"),
        ("s3://lake", &env, 2, "is a bucket: name one of what is in it"),
        ("s3://elsewhere/x", &env, 2, "no such bucket"),
        ("s3://lake/records", &stranger, 1, "access denied"),
        ("s3://lake/empty", &env, 1, "it is empty"),
    ] {
        let (text, got, said) = inspect(&[what], env).await;
        assert_eq!(got, Some(code), "{what}: {text}{said}");
        assert!(said.lines().last().unwrap().contains(says), "{what}: {said}");
        assert!(!said.contains("is a ") || said.contains("firemain:   s3://lake/"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_or_missing_is_told_plainly() {
    let folder = TempDir::new().unwrap();
    let (records, lake) = (folder.path().join("records"), folder.path().join("lake"));
    generate(&records).await;
    deliver(&records, &format!("file://{}", lake.display()), &[]).await;
    let parquet = std::fs::read(files(&lake.join("log_events")).swap_remove(0)).unwrap();
    let errors = std::fs::read(files(&lake.join("errors")).swap_remove(0)).unwrap();
    let snapshot = include_bytes!("../golden/state-v1.json");
    let mut pack = include_bytes!("../golden/pack-v1.bin").to_vec();
    *pack.last_mut().unwrap() ^= 1;
    let record_lines = std::fs::read(&records).unwrap();
    for (name, bytes, shows, says) in [
        ("parquet", &parquet[..parquet.len() / 2], "Parquet", "it may be cut short"),
        ("errors", &errors[..errors.len() - 4], "error object of Firemain: ", "gzip: truncated"),
        ("pack", &pack, "changed", "of its 2 objects, 1 changed since it was staged"),
        ("snapshot", &snapshot[..200], "\"number\":42", "it begins as a snapshot of the state"),
        ("lines", &record_lines[..record_lines.len() - 99], "record file: ", "damaged JSON between them"),
        ("zip", b"PK\x03\x04", "50 4b 03 04", "nothing that Firemain or Amazon Data Firehose writes"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let (text, code, said) = inspect(&[path.to_str().unwrap()], &[]).await;
        assert_eq!(code, Some(1), "{name}: {text}{said}");
        assert!(text.contains(shows) && text.contains("wrong  "), "{name}: {text}");
        assert!(said.lines().count() == 1 && said.contains(says), "{name}: {said}");
    }
    for (what, says) in [
        (format!("{}/none", folder.path().display()), "no such file: check the path"),
        (lake.display().to_string(), "is a folder: name one of what is in it, such as those above"),
        ("gs://bucket/x".to_owned(), "gs is nothing that is read here"),
        ("file:///no/such/file".to_owned(), "no such file"),
    ] {
        let (text, code, said) = inspect(&[&what], &[]).await;
        assert_eq!((code, text.as_str()), (Some(2), ""), "{what}: {said}");
        assert!(said.lines().last().unwrap().contains(says), "{what}: {said}");
    }
}

/// As Amazon Data Firehose writes them: nothing stands between the objects.
#[tokio::test(flavor = "multi_thread")]
async fn error_files_of_firehose_are_told_and_nothing_in_them_steers_a_terminal() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("processing-failed-1\u{1b}[31m");
    let message = "\u{1b}[2J\u{9b}0;0H\nERROR all is well\u{202e}";
    let envelope = json!({"messageType": "DATA_MESSAGE", "logGroup": "/g\u{7}", "logStream": "s", "owner": "1",
        "logEvents": [{"id": "1", "timestamp": 1_711_083_600_000i64, "message": message}]});
    let line = json!({"attemptsMade": 4, "arrivalTimestamp": 1_711_083_600_000i64,
        "errorCode": "Lambda.FunctionError", "errorMessage": format!("failed: {message}"),
        "attemptEndingTimestamp": 1_711_083_650_000i64, "rawData": STANDARD.encode(envelope.to_string()),
        "lambdaArn": "arn:aws:lambda:eu-west-1:1:function:f"});
    std::fs::write(&path, format!("{line}{line}{line}")).unwrap();
    let colours = [("CLICOLOR_FORCE", "1")];
    let (text, code, _) = inspect(&[path.to_str().unwrap()], &colours).await;
    assert_eq!(code, Some(0), "{text}");
    for say in [
        "error object of Amazon Data Firehose (processing-failed): 3 rejections",
        "Lambda.FunctionError",
        "4 attempts, the last ended 2024-03-22T05:00:50.000Z",
        r"failed: \u{1b}[2J\u{9b}0;0H\nERROR all is well\u{202e}",
        r"/g\u{7}",
        r"/processing-failed-1\u{1b}[31m",
    ] {
        assert!(text.contains(say), "{say}: {text}");
    }
    assert!(text.contains("\u{1b}[1m"), "there are colours: {text}");
    for steers in ["\u{1b}[2J", "\u{9b}", "\u{7}", "\u{202e}", "\nERROR all"] {
        assert!(!text.contains(steers), "{steers:?} in {text:?}");
    }
    let (json, ..) = inspect(&["--output", "json", path.to_str().unwrap()], &colours).await;
    assert!(!json.chars().any(|c| c != '\n' && (c.is_control() || c == '\u{202e}')), "{json:?}");
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["first_rejections"][0]["payload"]["logs"][0]["first"][0]["message"], message);
}
