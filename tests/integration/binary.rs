//! The binary itself, against servers inside the test process.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use firemain::generate::{Generator, Made, Plan, Totals};
use tempfile::TempDir;

use crate::kinesis::KinesisServer;
use crate::s3::{ACCESS_KEY, BUCKET, Instead, REGION, S3Server, SECRET_KEY};

const START: i64 = 1_711_083_600_000;

fn made(seed: u64) -> (Vec<Made>, Totals) {
    let plan = Plan { events: 3_000, log_groups: 5, seed, poison: 8, start: START, span: 2 * 3_600_000 };
    let records: Vec<Made> = Generator::new(plan).collect();
    let mut totals = Totals::default();
    records.iter().for_each(|made| totals.add(made));
    (records, totals)
}

/// Runs the binary to its end, with nothing of this process's environment.
pub async fn firemain(args: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_firemain"));
    command.args(args).env_clear().envs(env.iter().copied()).stdin(Stdio::null());
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

pub fn environment<'a>(s3: &'a S3Server, kinesis: &'a KinesisServer) -> Vec<(&'a str, &'a str)> {
    vec![
        ("AWS_REGION", REGION),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        ("AWS_ENDPOINT_URL_S3", &s3.endpoint),
        ("AWS_ENDPOINT_URL_KINESIS", &kinesis.endpoint),
    ]
}

pub fn last_line(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).lines().last().unwrap_or_default().to_owned()
}

/// Every key and its bytes, by the AWS SDK: a witness that shares no code with the delivery.
pub async fn objects(s3: &S3Server) -> BTreeMap<String, Vec<u8>> {
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(&s3.endpoint)
        .region(Region::new(REGION))
        .force_path_style(true)
        .credentials_provider(Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test"))
        .build();
    let client = Client::from_conf(config);
    let mut objects = BTreeMap::new();
    let mut pages = client.list_objects_v2().bucket(BUCKET).into_paginator().send();
    while let Some(page) = pages.next().await {
        for object in page.unwrap().contents.unwrap_or_default() {
            let key = object.key.unwrap();
            let body = client.get_object().bucket(BUCKET).key(&key).send().await.unwrap().body;
            objects.insert(key, body.collect().await.unwrap().to_vec());
        }
    }
    objects
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_drained_into_s3_exactly_once() {
    let (s3, kinesis) = (S3Server::start().await, KinesisServer::start(0).await);
    kinesis.create("app-logs", 3).await;
    let (records, totals) = made(1);
    kinesis.put("app-logs", &records).await;
    let args = ["run", "--drain", "--source", "kinesis://app-logs", "--destination", "s3://lake/logs"];
    let mut env = environment(&s3, &kinesis);
    env.extend([("FIREMAIN_FORMAT__KIND", "json"), ("FIREMAIN_FORMAT__COMPRESSION", "none")]);
    for round in 0..2 {
        let output = firemain(&args, &env).await;
        assert!(output.status.success(), "round {round}: {}", String::from_utf8_lossy(&output.stderr));
        let (mut ids, mut rejections) = (Vec::new(), 0);
        for (key, body) in objects(&s3).await {
            if key.starts_with("logs/errors/") {
                let mut lines = String::new();
                std::io::Read::read_to_string(&mut flate2::read::MultiGzDecoder::new(&body[..]), &mut lines).unwrap();
                rejections += lines.lines().count() as u64;
            } else if key.starts_with("logs/log_events/") {
                for line in String::from_utf8(body).unwrap().lines() {
                    let row: serde_json::Value = serde_json::from_str(line).unwrap();
                    let time = row["timestamp"].as_str().unwrap();
                    assert!(key.contains(&format!("/dt={}/hour={}/", &time[..10], &time[11..13])), "{time} in {key}");
                    ids.push(row["event_id"].as_str().unwrap().to_owned());
                }
            } else {
                assert!(key.starts_with("logs/_firemain/default/state/"), "{key} was left behind");
            }
        }
        let rows = ids.len() as u64;
        ids.sort_unstable();
        ids.dedup();
        assert_eq!((rows, ids.len() as u64, rejections), (totals.events, totals.events, totals.rejections));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named_and_ends_with_its_exit_code() {
    let (s3, kinesis) = (S3Server::start().await, KinesisServer::start(0).await);
    kinesis.create("app-logs", 1).await;
    let env = environment(&s3, &kinesis);
    let stranger: Vec<_> = env
        .iter()
        .map(|(name, value)| (*name, if *name == "AWS_ACCESS_KEY_ID" { "STRANGER" } else { value }))
        .collect();
    let nobody: Vec<_> = env.iter().filter(|(name, _)| !name.contains("KEY")).copied().collect();
    let nobody: Vec<_> = nobody.into_iter().chain([("AWS_EC2_METADATA_DISABLED", "true")]).collect();
    type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], i32, &'a str);
    let cases: [Case<'_>; 6] = [
        ("kinesis://no-such-stream", "s3://lake/x", &env, 1, "no-such-stream"),
        ("kinesis://app-logs", "s3://no-such-bucket/x", &env, 1, "no-such-bucket"),
        ("kinesis://app-logs", "s3://lake/x", &stranger, 1, "access"),
        ("kinesis://app-logs", "s3://lake/x", &nobody, 1, "credentials"),
        ("file:///no/such/file", "memory:///", &env, 2, "/no/such/file"),
        ("kinesis://app-logs", "ftp://lake/x", &env, 2, "destination"),
    ];
    for (source, destination, env, code, names) in cases {
        let output = firemain(&["run", "--drain", "--source", source, "--destination", destination], env).await;
        let said = last_line(&output);
        assert_eq!(output.status.code(), Some(code), "{source} {destination}: {said}");
        assert!(said.to_lowercase().contains(names), "{source} {destination}: {said}");
        let all = String::from_utf8_lossy(&output.stderr);
        assert!(!all.contains(SECRET_KEY), "{all}");
    }
}

/// Nobody listens at the stream's endpoint, nor does standard input come to its end: a stop ends it all the same.
#[tokio::test]
async fn a_stop_before_anything_was_begun_ends_it() {
    let env = [
        ("AWS_REGION", REGION),
        ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
    ];
    for (source, destination) in [("kinesis://app-logs", "memory:///"), ("-", "s3://redirect-logs/x")] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_firemain"));
        command.args(["run", "--source", source, "--destination", destination]);
        let command = command.env_clear().envs(env).stdin(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut input = child.stdin.take();
        if source == "-" {
            // Its beginning, so that the destination is asked; the rest never comes.
            input.as_mut().unwrap().write_all(&[b'\n'; 70_000]).unwrap();
        }
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
        said.find(|line| line.as_ref().unwrap().contains("is tried again")).expect("it tries again").unwrap();
        let pid = child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let rest: Vec<String> = said.map(Result::unwrap).collect();
        assert_eq!(child.wait().unwrap().code(), Some(0), "{source}: {rest:?}");
        drop(input);
    }
}

/// S3 answers nothing but 503 when it is told to stop: it ends when its time is up, or at once by a second signal.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_cannot_commit_comes_to_an_end() {
    let records = firemain(&["generate", "--events", "3000"], &[]).await.stdout;
    assert!(records.len() > 100_000, "more than the beginning by which standard input is known");
    for (shutdown_timeout, signals, code) in [("1s", 1, 1), ("1h", 2, 128 + 15)] {
        let s3 = S3Server::start().await;
        let mut command = Command::new(env!("CARGO_BIN_EXE_firemain"));
        command
            .args(["--log-level", "debug", "run", "--source", "-", "--destination", "s3://lake/x"])
            .env_clear()
            .envs([
                ("AWS_REGION", REGION),
                ("AWS_ACCESS_KEY_ID", ACCESS_KEY),
                ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
                ("AWS_ENDPOINT_URL_S3", &s3.endpoint),
                ("FIREMAIN_SHUTDOWN_TIMEOUT", shutdown_timeout),
                ("FIREMAIN_FLUSH__INTERVAL", "1s"),
            ]);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(&records).unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        assert!(said.any(|line| line.contains("reading shard")), "it begins");
        s3.next(std::iter::repeat_n(Instead::Answer(503), 100_000));
        let flush = said.any(|line| line.contains("put of _firemain/default/staged") && line.contains("tried again"));
        assert!(flush, "what is buffered can't be staged");
        for _ in 0..signals {
            assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
            assert!(said.any(|line| line.contains("SIGTERM")));
        }
        let last = said.last();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{last:?}");
        let uncommitted = last.is_some_and(|line| line.contains("passed with work uncommitted: nothing is lost"));
        assert_eq!(uncommitted, signals == 1);
        drop(input);
    }
}

/// Killed in the middle, standard input goes on where it stood when it comes again; and what is new behind it is read.
#[tokio::test(flavor = "multi_thread")]
async fn standard_input_that_comes_again_goes_on_where_it_stood() {
    let folder = TempDir::new().unwrap();
    let lake = folder.path().join("lake");
    let first = firemain(&["generate", "--events", "9000", "--seed", "1"], &[]).await.stdout;
    let more = firemain(&["generate", "--events", "1000", "--seed", "2"], &[]).await.stdout;
    let destination = format!("file://{}", lake.display());
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_firemain"));
        command.args(["run", "--source", "-", "--destination", &destination, "--format", "json"]).env_clear();
        command.envs([("FIREMAIN_FLUSH__INTERVAL", "1s"), ("FIREMAIN_LEASE_TIMEOUT", "1s")]);
        let mut child = command.env("FIREMAIN_FORMAT__COMPRESSION", "none").stdin(Stdio::piped()).spawn().unwrap();
        let input = child.stdin.take().unwrap();
        (child, input)
    };
    let ids = || {
        let files = glob::glob(&format!("{}/log_events/**/*.json", lake.display())).unwrap();
        let lines = files.map(|file| std::fs::read_to_string(file.unwrap()).unwrap()).collect::<String>();
        let id = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["event_id"].to_string();
        lines.lines().map(id).collect::<Vec<_>>()
    };

    let (mut killed, mut input) = start();
    let half = first[..first.len() / 2].iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    input.write_all(&first[..half]).unwrap();
    while ids().is_empty() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let before = ids().len();
    assert!(before < 9000, "{before}");
    for (all, events) in [(first.clone(), 9000), (first.clone(), 9000), ([&first[..], &more].concat(), 10_000)] {
        let (mut child, mut input) = start();
        input.write_all(&all).unwrap();
        drop(input);
        assert!(child.wait().unwrap().success());
        let ids = ids();
        assert_eq!((ids.len(), ids.iter().collect::<BTreeSet<_>>().len()), (events, events));
    }
    let (mut child, mut input) = start();
    input.write_all(&first[..80_000]).unwrap();
    drop(input);
    assert_eq!(child.wait().unwrap().code(), Some(1), "less than was delivered of it before is another input");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_balances_its_books() {
    let folder = TempDir::new().unwrap();
    let dir = folder.path().join("demo");
    for round in 0..2 {
        let output = firemain(&["demo", dir.to_str().unwrap()], &[]).await;
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "round {round}: {}", last_line(&output));
        assert!(said.contains("The books") && said.contains("read_parquet"), "{said}");
    }
    std::fs::write(folder.path().join("mine"), "x").unwrap();
    let output = firemain(&["demo", folder.path().to_str().unwrap()], &[]).await;
    assert_eq!(output.status.code(), Some(2), "a folder that holds something else is left alone");
}
