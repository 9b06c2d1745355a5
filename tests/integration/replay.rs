//! `firemain replay`, by the binary: what is delivered again, once, and what becomes of the error objects.

mod odd;
mod stream;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Output;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use firemain::generate::Made;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::binary::{environment, firemain, last_line};
use crate::kinesis::KinesisServer;
use crate::s3::S3Server;

/// 2024-03-22T05:00:00Z.
const FIVE: i64 = 1_711_083_600_000;
const MINUTE: i64 = 60_000;
/// Every message of `/app/…` is to be a line of an access log: then most are none.
const WRONG_TABLE: &str = "[[table]]\nschema = \"apache_access\"\nlog_groups = [\"/app/*\"]\n";

/// A lake on a disk.
struct Lake(TempDir);

impl Lake {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn config(&self, more: &str) -> String {
        let path = self.path("firemain.toml");
        let lake = self.path("lake");
        let format = "format.kind = \"json\"\nflush.interval = \"1s\"\nlease_timeout = \"1s\"\n";
        let text = format!("destination = \"file://{}\"\n{format}{more}", lake.display());
        // Not while another that runs reads it.
        if std::fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            std::fs::write(&path, text).unwrap();
        }
        path.display().to_string()
    }

    /// Delivers records of a file; each its payload and its arrival.
    async fn deliver(&self, name: &str, records: &[(Vec<u8>, i64)], more: &str) {
        let record = |(n, (data, arrival)): (usize, &(Vec<u8>, i64))| {
            json!({"Data": BASE64_STANDARD.encode(data), "ApproximateArrivalTimestamp": *arrival as f64 / 1000.0,
                "SequenceNumber": n.to_string(), "PartitionKey": "key"})
        };
        let page = json!({ "Records": records.iter().enumerate().map(record).collect::<Vec<_>>() });
        std::fs::write(self.path(name), page.to_string()).unwrap();
        let source = format!("file://{}", self.path(name).display());
        // One source, one group.
        let group = name.trim_end_matches(".json");
        let run = ["run", "--config", &self.config(more), "--source", &source, "--group", group];
        let output = firemain(&run, &[]).await;
        assert!(output.status.success(), "{}", last_line(&output));
    }

    async fn replay(&self, args: &[&str]) -> Output {
        let config = self.config("");
        firemain(&[&["replay", "--config", &config, "--output", "json"], args].concat(), &[]).await
    }

    /// What a replay that goes well says of itself.
    async fn replayed(&self, args: &[&str]) -> Value {
        let output = self.replay(args).await;
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Files below a folder of the lake, by their paths below it.
    fn files(&self, folder: &str) -> BTreeMap<String, Vec<u8>> {
        let root = self.path("lake").join(folder);
        let found = glob::glob(&format!("{}/**/*", root.display())).unwrap().map(Result::unwrap);
        let files = found.filter(|path| path.is_file());
        let name = |path: &Path| path.strip_prefix(&root).unwrap().display().to_string();
        files.map(|path| (name(&path), std::fs::read(&path).unwrap())).collect()
    }

    /// The lines of every object below a folder.
    fn lines(&self, folder: &str) -> Vec<Value> {
        let mut lines = Vec::new();
        for (_, gzip) in self.files(folder) {
            let mut text = String::new();
            MultiGzDecoder::new(&gzip[..]).read_to_string(&mut text).unwrap();
            lines.extend(text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()));
        }
        lines
    }

    /// The ids of all rows, each of which has to be there once.
    fn ids(&self) -> BTreeSet<String> {
        let rows = self.lines("log_events");
        let ids: BTreeSet<String> = rows.iter().map(|row| row["event_id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ids.len(), rows.len(), "an event is there twice");
        ids
    }

    fn errors(&self) -> Vec<Value> {
        self.lines("errors")
    }

    fn put(&self, key: &str, bytes: &[u8]) {
        let path = self.path("lake").join(key);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// A payload of so many events, whose ids begin with a name.
fn envelope(name: &str, events: usize) -> Vec<u8> {
    let event = |n| json!({"id": format!("{name}-{n}"), "timestamp": FIVE + n as i64, "message": format!("message {n} of {name}")});
    let events: Vec<Value> = (0..events).map(event).collect();
    let envelope = json!({"messageType": "DATA_MESSAGE", "owner": "123456789012", "logGroup": "/app/web", "logStream": "s",
        "subscriptionFilters": [], "logEvents": events});
    gzip(envelope.to_string().as_bytes())
}

fn ids(names: &[&str], events: usize) -> BTreeSet<String> {
    names.iter().flat_map(|name| (0..events).map(move |n| format!("{name}-{n}"))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_mended_table_takes_is_delivered_once_however_often_it_is_replayed() {
    let lake = Lake::new();
    let records = [(envelope("a", 30), FIVE), (envelope("b", 20), FIVE + MINUTE), (b"\0junk".to_vec(), FIVE)];
    lake.deliver("records.json", &records, WRONG_TABLE).await;
    let before = lake.files("errors");
    assert_eq!((lake.ids().len(), lake.errors().len(), before.len()), (0, 51, 2));

    let dry = lake.replayed(&["--dry-run"]).await;
    assert_eq!((&dry["events"], &dry["codes"]["Table.Mismatch"]["replayed"]), (&json!(50), &json!(50)));
    assert_eq!(dry["codes"]["Record.NotDecodable"]["rejected_again"], 1);
    assert!(lake.files("errors") == before && lake.ids().is_empty(), "it only says so");

    // Two at once, then once more.
    let (one, other) = tokio::join!(lake.replay(&[]), lake.replay(&[]));
    for output in [one, other] {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(lake.ids(), ids(&["a"], 30).union(&ids(&["b"], 20)).cloned().collect());
    let replayed = lake.files("replayed");
    assert!(before.iter().all(|(key, bytes)| replayed.get(key) == Some(bytes)), "they are as they were, elsewhere");
    assert!(lake.errors().iter().all(|line| line["errorCode"] == "Record.NotDecodable"));
    lake.replayed(&[]).await;
    assert_eq!(lake.ids().len(), 50);

    let [again] = &lake.errors()[..] else { panic!("{:?}", lake.errors()) };
    assert!(again["attemptsMade"].as_u64().unwrap() >= 3, "{again}");
    let source = lake.path("records.json").display().to_string();
    assert_eq!(
        (&again["sequenceNumber"], &again["shardId"]),
        (&json!("2"), &json!(source)),
        "where it came from first"
    );
    assert_eq!((&again["arrivalTimestamp"], &again["partitionKey"]), (&json!(FIVE), &json!("key")));
    assert_eq!(BASE64_STANDARD.decode(again["rawData"].as_str().unwrap()).unwrap(), b"\0junk");
}

/// Parts of one object, by time and by code, in any order: each of them once, and then nothing is left.
#[tokio::test(flavor = "multi_thread")]
async fn parts_of_an_object_are_replayed_one_after_the_other() {
    let lake = Lake::new();
    let names: Vec<String> = (0..10).map(|n| format!("r{n}")).collect();
    let records: Vec<_> = names.iter().zip(0..).map(|(name, n)| (envelope(name, 3), FIVE + n * MINUTE)).collect();
    lake.deliver("records.json", &records, WRONG_TABLE).await;
    let at = |minute: i64| chrono::DateTime::from_timestamp_millis(FIVE + minute * MINUTE).unwrap().to_rfc3339();
    let mut want = BTreeSet::new();
    for (since, until, names, moved) in [
        (3, 5, &["r3", "r4"][..], 0),
        (2, 7, &["r2", "r5", "r6"], 0),
        (8, 99, &["r8", "r9"], 0),
        (8, 99, &[], 0),
        (-99, 99, &["r0", "r1", "r7"], 1),
    ] {
        let said = lake.replayed(&["--since", &at(since), "--until", &at(until)]).await;
        want.extend(ids(names, 3));
        assert_eq!(lake.ids(), want, "{since} to {until}");
        assert_eq!(
            (&said["moved"], &said["codes"]["Table.Mismatch"]["replayed"]),
            (&json!(moved), &json!(3 * names.len()))
        );
    }
    assert_eq!((lake.files("errors").len(), lake.replayed(&[]).await["objects"].as_u64()), (0, Some(0)));

    lake.deliver("more.json", &[(envelope("x", 1), FIVE), (b"junk".to_vec(), FIVE)], WRONG_TABLE).await;
    let said = lake.replayed(&["--code", "Table.Mismatch", "--code", "Other"]).await;
    assert_eq!((&said["objects"], &said["passed_over"], &said["events"]), (&json!(1), &json!(1), &json!(1)));
}

/// What is kept is known to be done.
#[tokio::test(flavor = "multi_thread")]
async fn objects_that_are_kept_are_not_replayed_twice() {
    let lake = Lake::new();
    lake.deliver("records.json", &[(envelope("a", 5), FIVE)], WRONG_TABLE).await;
    let before = lake.files("errors");
    for (events, round) in [(5, 1), (0, 2)] {
        let said = lake.replayed(&["--keep"]).await;
        assert_eq!((&said["events"], &said["moved"]), (&json!(events), &json!(0)), "round {round}");
        assert!(lake.files("errors") == before && lake.ids().len() == 5);
    }
    assert_eq!(lake.replayed(&[]).await["moved"], 1, "without --keep it goes, and is delivered no second time");
    assert_eq!(lake.ids().len(), 5);
}

/// Files of Amazon Data Firehose: several objects a line or one, gzip or not, both forms; and damage.
#[tokio::test(flavor = "multi_thread")]
async fn error_files_of_firehose_are_read_and_what_is_no_rejection_stays() {
    let lake = Lake::new();
    let processing = |name: &str| {
        json!({"attemptsMade": 4, "arrivalTimestamp": FIVE, "errorCode": "Lambda.FunctionError", "errorMessage": "m",
            "attemptEndingTimestamp": FIVE, "rawData": BASE64_STANDARD.encode(envelope(name, 2)), "lambdaArn": "arn"})
    };
    let conversion = |data: &[u8]| {
        json!({"attemptsMade": 1, "arrivalTimestamp": FIVE, "lastErrorCode": "DataFormatConversion.MalformedData",
            "lastErrorMessage": "m", "attemptEndingTimestamp": FIVE, "rawData": BASE64_STANDARD.encode(data),
            "sequenceNumber": "4957", "subSequenceNumber": null, "dataCatalogTable": {"tableName": "t"}})
    };
    let glued = format!("{}{}\n{}", processing("a"), processing("b"), conversion(&envelope("c", 2)));
    lake.put("firehose/processing-failed/2024/03/22/05/app-1-x", glued.as_bytes());
    lake.put(
        "firehose/format-conversion-failed/2024/03/22/05/app-1-y.gz",
        &gzip(format!("{}\n", conversion(b"no json")).as_bytes()),
    );
    let mixed = format!("{}\nnot a rejection\n{{\"a\":1}}{}\n", processing("d"), processing("e"));
    lake.put("firehose/mixed", mixed.as_bytes());
    lake.put("firehose/damaged.gz", &gzip(glued.replace("arn", "arm").as_bytes())[..200]);
    lake.put("firehose/other.parquet", b"PAR1\0\0\0PAR1");
    let from = format!("file://{}/lake/firehose/", lake.0.path().display());
    let said = lake.replayed(&["--from", &from]).await;
    assert_eq!(lake.ids(), ids(&["a", "b", "c", "d", "e"], 2));
    let broken = said["codes"]["(no rejection)"]["broken"].as_u64().unwrap();
    assert!(broken >= 3, "{said}");
    let moved: Vec<String> = lake.files("replayed").into_keys().collect();
    assert_eq!(
        moved,
        [
            "firehose/format-conversion-failed/2024/03/22/05/app-1-y.gz",
            "firehose/processing-failed/2024/03/22/05/app-1-x"
        ]
    );
    let left: Vec<String> = lake.files("firehose").into_keys().collect();
    assert_eq!(left, ["damaged.gz", "mixed", "other.parquet"], "nothing that was not delivered goes away");
    let [again] = &lake.errors()[..] else { panic!("{:?}", lake.errors()) };
    assert_eq!((&again["attemptsMade"], &again["sequenceNumber"]), (&json!(2), &json!("4957")));
    lake.replayed(&["--from", &from]).await;
    assert_eq!(lake.ids().len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_s3_objects_move_within_their_bucket() {
    let (s3, kinesis) = (S3Server::start().await, KinesisServer::start(0).await);
    kinesis.create("app-logs", 1).await;
    let made = |n: u64| Made {
        data: format!("{{\"n\":{n}}}").into(),
        partition_key: "k".into(),
        arrival: FIVE,
        events: 0,
        rejections: 1,
        json_bytes: 1,
    };
    kinesis.put("app-logs", &(0..40).map(made).collect::<Vec<_>>()).await;
    let env = environment(&s3, &kinesis);
    let run = ["run", "--drain", "--source", "kinesis://app-logs", "--destination", "s3://lake/logs"];
    assert!(firemain(&run, &env).await.status.success());
    let mut mended = env.clone();
    mended.extend([
        ("FIREMAIN_SOURCE__KINESIS__STREAM", "app-logs"),
        ("FIREMAIN_SOURCE__KINESIS__LOG_GROUP", "/agents/web"),
    ]);
    let output = firemain(&["replay", "--destination", "s3://lake/logs"], &mended).await;
    assert!(output.status.success(), "{}", last_line(&output));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("40 events delivered, 1 object moved to replayed/"), "{said}");
    let keys: Vec<String> = crate::binary::objects(&s3).await.into_keys().collect();
    assert!(keys.iter().any(|key| key.starts_with("logs/replayed/error=Payload.Invalid/")), "{keys:?}");
    assert!(!keys.iter().any(|key| key.starts_with("logs/errors/")), "{keys:?}");
    assert!(keys.iter().any(|key| key.starts_with("logs/log_events/log_group=%2Fagents%2Fweb/")), "{keys:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_replayed_is_named() {
    let lake = Lake::new();
    let root = lake.path("lake").display().to_string();
    for (args, names) in [
        (vec!["--from", "nowhere"], "not a URL"),
        (vec!["--from", "memory:///"], "memory"),
        (vec!["--since", "yesterday"], "2h"),
        (vec!["--dry-run", "--to-stream", "x"], "cannot be used with"),
    ] {
        let output = lake.replay(&args).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), said.contains(names)), (Some(2), true), "{args:?}: {said}");
    }
    for (folder, names) in [("", "name the error prefix"), ("/replayed/error=X", "delivered already")] {
        let output = lake.replay(&["--from", &format!("file://{root}{folder}")]).await;
        assert_eq!(
            (output.status.code(), last_line(&output).contains(names)),
            (Some(2), true),
            "{}",
            last_line(&output)
        );
    }
    let output = lake.replay(&["--from", &format!("file://{}", lake.0.path().display())]).await;
    let last = last_line(&output);
    assert!(output.status.code() == Some(2) && last.contains("lies in it, with its tables"), "{last}");
    assert!(last.contains(&format!("name the error prefix, file://{root}/errors/")), "{last}");
    for (more, names) in [
        ("errors.prefix = \"replayed\"\n", "holds what was replayed"),
        ("[[table]]\nschema = \"apache_access\"\nname = \"replayed\"\nlog_groups = [\"a\"]\n", "nor \"replayed\""),
    ] {
        let output = firemain(&["check-config", "--source", "-", "--config", &lake.config(more)], &[]).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(names), "{said}");
    }
    let said = lake.replayed(&[]).await;
    assert_eq!(said["objects"], 0, "an error prefix without anything is well");
}
