//! What a replay meets that is not as it should be: objects that are there again, broken ones, those without payloads.

use std::process::{Command, Stdio};

use super::*;
use crate::s3::Oddity;

/// A line as Firehose writes it.
fn firehose(code: &str, data: &[u8]) -> String {
    json!({"attemptsMade": 4, "arrivalTimestamp": FIVE, "errorCode": code, "errorMessage": "m",
        "attemptEndingTimestamp": FIVE, "rawData": BASE64_STANDARD.encode(data), "lambdaArn": "arn"})
    .to_string()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned()
}

impl Lake {
    fn url(&self, folder: &str) -> String {
        format!("file://{}/lake/{folder}", self.0.path().display())
    }

    /// A replay that leaves something: what it says of itself, and on standard error.
    async fn leaves(&self, args: &[&str]) -> (Value, String) {
        let output = self.replay(args).await;
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        (serde_json::from_slice(&output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// A publisher that slept puts an object that was replayed, moved and forgotten meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_was_replayed_and_is_there_again_is_not_delivered_twice() {
    let lake = Lake::new();
    lake.deliver("a.json", &[(envelope("a", 6), FIVE)], WRONG_TABLE).await;
    let (key, bytes) = lake.files("errors").pop_first().unwrap();
    lake.replayed(&[]).await;
    lake.deliver("b.json", &[(envelope("b", 6), FIVE)], WRONG_TABLE).await;
    lake.replayed(&[]).await;
    let (_, newest) = lake.files("_firemain/.replay/state").pop_last().unwrap();
    assert!(!String::from_utf8(newest).unwrap().contains(&key), "the state has forgotten it");
    assert_eq!(lake.ids().len(), 12);

    lake.put(&format!("errors/{key}"), &bytes);
    let said = lake.replayed(&["--dry-run"]).await;
    assert_eq!((&said["objects"], &said["replayed_before"]), (&json!(0), &json!(1)), "{said}");
    let said = lake.replayed(&["--keep"]).await;
    assert_eq!((&said["events"], &said["replayed_before"]), (&json!(0), &json!(1)), "{said}");
    let config = lake.config("");
    let output = firemain(&["replay", "--config", &config], &[]).await;
    assert!(output.status.success() && text(&output).contains("1 object replayed before"), "{}", text(&output));
    assert_eq!((lake.ids().len(), lake.files("errors").len(), lake.files("replayed").len()), (12, 0, 2));
    let verify = firemain(&["verify", "--replays", "--config", &config], &[]).await;
    assert!(verify.status.success(), "{}", text(&verify));

    // Another by its name: nobody knows whether it was delivered.
    for other in [gzip(b"something else"), [&bytes[..bytes.len() - 1], b"x"].concat()] {
        lake.put(&format!("errors/{key}"), &other);
        let (said, last) = lake.leaves(&[]).await;
        assert!(last.contains(&key) && last.contains("has other bytes"), "{last}");
        assert_eq!((&said["events"], said["left"].as_object().unwrap().len()), (&json!(0), 1), "{said}");
        assert!(lake.files("errors")[&key] == other && lake.files("replayed")[&key] == bytes);
    }
    // Out of `replayed/`, as whoever wants it once more is told.
    std::fs::remove_file(lake.path("lake/replayed").join(&key)).unwrap();
    lake.put(&format!("errors/{key}"), &bytes);
    assert_eq!(lake.replayed(&[]).await["events"], 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_is_none_is_left_and_named_and_the_others_are_delivered() {
    let lake = Lake::new();
    for name in ["a", "b", "z"] {
        lake.put(&format!("firehose/{name}"), firehose("X", &envelope(name, 2)).as_bytes());
    }
    lake.put("firehose/odd", "x".repeat(3 << 20).as_bytes());
    let begins = format!("{}\n{}", firehose("X", &envelope("c", 2)), r#"{"rawData":"#.repeat(90_000));
    lake.put("firehose/begins", begins.as_bytes());
    let config = lake.config("limits.inflated_record_bytes = \"16KiB\"\n");
    let from = lake.url("firehose/");
    let args = ["replay", "--config", &config, "--from", &from, "--output", "json"];
    for round in 0..2 {
        let output = firemain(&args, &[]).await;
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(1), "{}", text(&output));
        assert_eq!(said["moved"], if round == 0 { 3 } else { 0 }, "{said}");
        assert!(said["left"][format!("{from}odd")].as_str().unwrap().contains("a line has more than"), "{said}");
        assert!(said["left"][format!("{from}begins")].as_str().unwrap().contains("beginnings"), "{said}");
        let last: Vec<_> = String::from_utf8_lossy(&output.stderr).lines().map(str::to_owned).collect();
        let [.., odd, last] = &last[..] else { panic!("{last:?}") };
        assert!(
            odd.contains("firehose/odd: a line") && last.contains("2 objects left where they are"),
            "{odd}\n{last}"
        );
        assert_eq!(lake.ids(), ids(&["a", "b", "c", "z"], 2), "what came before in one is delivered, once");
        assert_eq!(lake.files("firehose").into_keys().collect::<Vec<_>>(), ["begins", "odd"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_the_store_refuses_is_left_and_a_store_that_refuses_all_ends_it() {
    let (s3, kinesis, folder) = (S3Server::start().await, KinesisServer::start(0).await, TempDir::new().unwrap());
    let lines = |name: &str| bytes::Bytes::from(firehose("X", &envelope(name, 1)));
    let store = s3.store();
    for n in 0..20 {
        let key = object_store::path::Path::from(format!("firehose/{n:02}"));
        object_store::ObjectStoreExt::put(&store, &key, lines(&format!("e{n}")).into()).await.unwrap();
    }
    let config = folder.path().join("firemain.toml");
    std::fs::write(&config, "destination = \"s3://lake/logs\"\nflush.interval = \"1s\"\nlease_timeout = \"1s\"\n")
        .unwrap();
    let config = config.display().to_string();
    let args = ["replay", "--config", &config, "--from", "s3://lake/firehose/", "--output", "json"];
    let env = environment(&s3, &kinesis);
    s3.turn(Some(Oddity::Denies("GET", "/firehose/")));
    let output = firemain(&args, &env).await;
    assert!(output.status.code() == Some(1) && output.stdout.is_empty(), "{}", text(&output));
    assert!(last_line(&output).contains("get of firehose/"), "{}", last_line(&output));
    s3.turn(Some(Oddity::Denies("GET", "/firehose/07")));
    let output = firemain(&args, &env).await;
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &said["moved"], &said["events"]), (Some(1), &json!(19), &json!(19)), "{said}");
    assert_eq!(said["left"].as_object().unwrap().keys().collect::<Vec<_>>(), ["s3://lake/firehose/07"]);
    s3.turn(None);
    let output = firemain(&args, &env).await;
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success() && said["events"] == 1, "{said}");
}

/// As when a file was cut and others were appended, and as Firehose writes: all on one line.
#[tokio::test(flavor = "multi_thread")]
async fn behind_a_broken_rejection_the_next_ones_are_delivered() {
    let lake = Lake::new();
    let good: Vec<String> = ["a", "b", "c"].map(|name| firehose("X", &envelope(name, 2))).into();
    let cut = firehose("X", &envelope("cut", 2));
    let line = format!("{}{}{}{}\n{}", &cut[..cut.len() / 2], good[0], &cut[..40], good[1], good[2]);
    lake.put("firehose/cut", line.as_bytes());
    lake.put("firehose/zipped", &gzip(line.replace("\"arn\"", "\"arm\"").as_bytes()));
    for round in 0..2 {
        let said = lake.replayed(&["--from", &lake.url("firehose/")]).await;
        // Equal events of two objects have ids of their own by their envelopes only.
        assert_eq!(lake.lines("log_events").len(), 12, "round {round}");
        let codes = &said["codes"];
        assert_eq!((&codes["(no rejection)"]["broken"], &said["moved"]), (&json!(4), &json!(0)), "{said}");
        let delivered = if round == 0 { "replayed" } else { "before" };
        assert_eq!((&codes["X"][delivered], &codes["X"]["broken"]), (&json!(6), &json!(0)), "{said}");
    }
}

/// Firehose's rejections of a transformation have no sequence number.
#[tokio::test(flavor = "multi_thread")]
async fn equal_lines_of_two_objects_are_two_events() {
    let lake = Lake::new();
    let line = firehose("Lambda.FunctionError", b"the same line");
    for name in ["one", "other"] {
        lake.put(&format!("firehose/{name}"), line.as_bytes());
    }
    let more = "[source.kinesis]\nstream = \"app\"\nlog_group = \"/app/web\"\ndecode = \"lines\"\n";
    let (config, from) = (lake.config(more), lake.url("firehose"));
    let env = [("AWS_REGION", "us-east-1"), ("AWS_ACCESS_KEY_ID", "A"), ("AWS_SECRET_ACCESS_KEY", "S")];
    let replay = ["replay", "--config", &config, "--from", &from];
    assert!(firemain(&replay, &env).await.status.success());
    let first = lake.ids();
    assert_eq!(first.len(), 2, "{first:?}");
    // The same objects in another lake have the same ids: nothing but their URL and their place is in them.
    for folder in ["log_events", "_firemain"] {
        std::fs::remove_dir_all(lake.path("lake").join(folder)).unwrap();
    }
    for name in ["one", "other"] {
        std::fs::rename(lake.path("lake/replayed/firehose").join(name), lake.path("lake/firehose").join(name)).unwrap();
    }
    assert!(firemain(&replay, &env).await.status.success());
    assert_eq!(lake.ids(), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_delivered_is_told_apart() {
    let lake = Lake::new();
    lake.put("firehose/empty", b"");
    lake.put("firehose/blank.gz", &gzip(b" \n"));
    let withheld = [firehose("X", b""), firehose("X", b"").replace("\"rawData\":\"\"", "\"rawData\":\"?\"")].join("\n");
    lake.put("firehose/withheld", withheld.as_bytes());
    let mixed = [firehose("X", &envelope("a", 1)), firehose("Y", &envelope("b", 1)), "junk".to_owned()].join("\n");
    lake.put("firehose/mixed", mixed.as_bytes());
    let from = lake.url("firehose/");
    let said = lake.replayed(&["--from", &from, "--code", "X"]).await;
    let (x, y, none) = (&said["codes"]["X"], &said["codes"]["Y"], &said["codes"]["(no rejection)"]);
    assert_eq!((&x["replayed"], &x["withheld"], &x["unselected"]), (&json!(1), &json!(2), &json!(0)), "{said}");
    assert_eq!((&y["unselected"], &none["broken"], &none["unselected"]), (&json!(1), &json!(1), &json!(0)), "{said}");
    assert_eq!(said["undeliverable"].as_object().unwrap().values().collect::<Vec<_>>(), [1, 1], "{said}");
    assert_eq!(said["moved"], 2, "there is nothing in them: {said}");
    assert_eq!(lake.files("firehose").into_keys().collect::<Vec<_>>(), ["mixed", "withheld"]);
    let output = firemain(&["replay", "--config", &lake.config(""), "--from", &from], &[]).await;
    let said = text(&output);
    assert!(said.contains("1 rejection can't be delivered: it has no payload"), "{said}");
    assert!(output.status.success() && said.contains("its rawData is not base64"), "{said}");
}

/// On a terminal, by `script` of util-linux: no more is read than there is, though a gzip is read twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_bar_shows_how_much_is_read() {
    let lake = Lake::new();
    let records: Vec<_> = (0..300).map(|n| (envelope(&format!("r{n}"), 50), FIVE)).collect();
    lake.deliver("records.json", &records, WRONG_TABLE).await;
    let all: usize = lake.files("errors").values().map(Vec::len).sum();
    let run = format!("{} replay --config {}", env!("CARGO_BIN_EXE_firemain"), lake.config(""));
    let mut command = Command::new("script");
    command.args(["-qec", &run, "/dev/null"]).env_clear().env("TERM", "xterm").stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().expect("util-linux is there");
    let said = text(&output);
    assert!(output.status.success() && said.contains("15000 events delivered, 1 object moved"), "{said}");
    let all = match all as f64 / 1000.0 {
        kb if kb < 1000.0 => format!("{kb:.2} kB"),
        kb => format!("{:.2} MB", kb / 1000.0),
    };
    let (before, _) = said.rsplit_once(&format!(" of {all}")).expect("a bar is shown");
    assert!(before.ends_with(&all), "{all}: {said:?}");
}
