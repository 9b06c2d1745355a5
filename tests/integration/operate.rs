//! `status`, `verify`, `health`, metrics and the status page: by the binary, beside a worker that runs.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use firemain::generate::{Generator, Made, Plan, Totals};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::binary::{environment, firemain, last_line};
use crate::kinesis::KinesisServer;
use crate::s3::{Instead, S3Server};

const DESTINATION: &str = "s3://lake/logs";

pub fn made(events: u64) -> (Vec<Made>, Totals) {
    let plan = Plan { events, log_groups: 3, seed: 7, poison: 8, start: 1_711_083_600_000, span: 3_600_000 };
    let records: Vec<Made> = Generator::new(plan).collect();
    let mut totals = Totals::default();
    records.iter().for_each(|made| totals.add(made));
    (records, totals)
}

/// A worker that runs until it is dropped.
pub struct Running {
    child: Child,
    address: SocketAddr,
    /// Its standard output.
    said: mpsc::Receiver<String>,
}

impl Running {
    pub fn start(env: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_firemain"));
        command.args(["run", "--source", "kinesis://app-logs", "--destination", DESTINATION]).env_clear();
        command.envs(env.iter().copied()).envs([
            ("FIREMAIN_FLUSH__INTERVAL", "1s"),
            ("FIREMAIN_LEASE_TIMEOUT", "1s"),
            ("FIREMAIN_HTTP__LISTEN", "127.0.0.1:0"),
            ("FIREMAIN_METRICS__EMF", "on"),
            ("FIREMAIN_METRICS__EMF_INTERVAL", "1s"),
        ]);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let page =
            log.find_map(|line| Some(line.split_once("status page: http://")?.1.trim_end_matches('/').to_owned()));
        let address = page.expect("it says where its page is").parse().unwrap();
        let (sender, said) = mpsc::channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || out.lines().map(Result::unwrap).try_for_each(|line| sender.send(line)));
        std::thread::spawn(move || log.for_each(drop));
        Self { child, address, said }
    }

    /// The status and the body of an answer.
    pub fn get(&self, path: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head[9..12].parse().unwrap(), body.to_owned())
    }

    pub fn until(&self, path: &str, what: &str, good: impl Fn(u16, &str) -> bool) -> String {
        let end = Instant::now() + Duration::from_secs(30);
        loop {
            let (status, body) = self.get(path);
            if good(status, &body) {
                return body;
            }
            assert!(Instant::now() < end, "{what}: {path} says {status} {body}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub async fn health(&self, more: &[&str]) -> std::process::Output {
        let address = self.address.to_string();
        firemain(&[&["health", "--address", &address], more].concat(), &[]).await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_runs_tells_how_it_does() {
    let (s3, kinesis) = (S3Server::start().await, KinesisServer::start(0).await);
    kinesis.create("app-logs", 2).await;
    let (records, totals) = made(2_000);
    kinesis.put("app-logs", &records).await;
    let env = environment(&s3, &kinesis);
    let worker = Running::start(&env);
    let records = format!("firemain_delivery_to_s3_records_total{{group=\"default\"}} {}\n", totals.records);
    let metrics = worker.until("/metrics", "all records are delivered", |_, body| body.contains(&records));
    let sum = |name: &str| {
        let lines = metrics.lines().filter(|line| line.starts_with(name));
        lines.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum::<u64>()
    };
    assert_eq!(sum("firemain_rejections_total{"), totals.rejections);
    assert_eq!(sum("firemain_events_total{"), totals.events);
    assert_eq!((sum("firemain_owned_shards{"), sum("firemain_s3_errors_total{")), (2, 0));
    worker.until("/readyz", "it owns shards and commits", |status, _| status == 200);
    assert_eq!(worker.get("/healthz"), (200, "ready\n".to_owned()));
    assert!(worker.health(&[]).await.status.success() && worker.health(&["--ready"]).await.status.success());

    let status: Value = serde_json::from_str(&worker.get("/status.json").1).unwrap();
    assert_eq!((&status["state"], &status["totals"]["events"]), (&json!("ready"), &json!(totals.events)));
    assert_eq!(status["workers"][0]["shards"], 2);
    assert!(status["rejections"].as_array().unwrap().len() > 2 && !status["objects"].as_array().unwrap().is_empty());
    assert!(worker.get("/").1.contains("<!doctype html>"));

    // The Embedded Metric Format adds up to the same.
    let (mut events, end) = (0, Instant::now() + Duration::from_secs(20));
    while events < totals.events {
        let line = worker.said.recv_timeout(end - Instant::now()).expect("a line a second");
        let line: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(
            (&line["_aws"]["CloudWatchMetrics"][0]["Namespace"], &line["Group"]),
            (&json!("Firemain"), &json!("default"))
        );
        events += line["Events"].as_u64().unwrap_or(0);
    }
    assert_eq!(events, totals.events);
}

/// Some never say what they want, some ask for the page again and again and never read it.
#[tokio::test(flavor = "multi_thread")]
async fn clients_that_stall_stand_in_nobodys_way() {
    let (s3, kinesis) = (S3Server::start().await, KinesisServer::start(0).await);
    kinesis.create("app-logs", 1).await;
    let worker = Running::start(&environment(&s3, &kinesis));
    let mut stalled = Vec::new();
    for number in 0..160 {
        let mut stream = TcpStream::connect(worker.address).unwrap();
        stream.set_nonblocking(true).unwrap();
        let said =
            if number % 2 == 0 { "GET / HTTP/1.1\r\nHost: lo" } else { "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" };
        // One that does not read takes no more at some time, or is closed.
        for _ in 0..if number % 2 == 0 { 1 } else { 1000 } {
            if stream.write_all(said.as_bytes()).is_err() {
                break;
            }
        }
        stalled.push(stream);
    }
    for _ in 0..3 {
        let begun = Instant::now();
        let output = worker.health(&[]).await;
        assert!(output.status.success(), "after {:?}: {}", begun.elapsed(), last_line(&output));
    }
    drop(stalled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_cannot_commit_turns_unhealthy_and_well_again() {
    let (s3, kinesis) = (S3Server::start().await, KinesisServer::start(0).await);
    kinesis.create("app-logs", 1).await;
    let mut env = environment(&s3, &kinesis);
    env.push(("FIREMAIN_STUCK_AFTER", "2s"));
    let worker = Running::start(&env);
    worker.until("/readyz", "it has begun", |status, _| status == 200);
    s3.next(std::iter::repeat_n(Instead::Answer(503), 100_000));
    kinesis.put("app-logs", &made(200).0).await;
    let body = worker.until("/healthz", "it can't commit", |status, _| status == 503);
    assert!(body.starts_with("unhealthy\nno commit for "), "{body}");
    let output = worker.health(&[]).await;
    assert_eq!((output.status.code(), last_line(&output).contains("no commit for")), (Some(1), true));
    let errors = worker.get("/metrics").1;
    assert!(errors.contains("firemain_s3_errors_total{group=\"default\",kind=\"throttled\"}"), "{errors}");
    s3.serve_again();
    worker.until("/healthz", "S3 answers again", |status, _| status == 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn status_says_what_is_wrong_by_its_exit_code_too() {
    let (s3, kinesis) = (S3Server::start().await, KinesisServer::start(0).await);
    kinesis.create("app-logs", 2).await;
    let (records, totals) = made(500);
    kinesis.put("app-logs", &records).await;
    let mut env = environment(&s3, &kinesis);
    // Of the worker too.
    env.push(("FIREMAIN_LEASE_TIMEOUT", "1s"));
    let ask = ["status", "--source", "kinesis://app-logs", "--destination", DESTINATION, "--output", "json"];
    let status = async |more: &[&str]| {
        let output = firemain(&[&ask, more].concat(), &env).await;
        let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", last_line(&output)));
        (output.status.code(), said)
    };
    let (code, said) = status(&[]).await;
    assert_eq!((code, &said["problems"][0]["problem"]), (Some(1), &json!("no_state")));

    let worker = Running::start(&env);
    let records = format!("firemain_delivery_to_s3_records_total{{group=\"default\"}} {}\n", totals.records);
    worker.until("/metrics", "all is delivered", |_, body| body.contains(&records));
    let (code, said) = status(&["--max-lag", "1h"]).await;
    assert_eq!((code, &said["problems"]), (Some(0), &json!([])), "{said}");
    assert_eq!((said["workers"].as_array().unwrap().len(), &said["workers"][0]["shards"]), (1, &json!(2)));
    assert!(said["shards"].as_array().unwrap().iter().all(|shard| shard["millis_behind"] == 0), "{said}");
    assert!(said["shards"][0]["committed_age"].as_i64().unwrap() < 60_000, "{said}");

    // Without a stream nobody knows how far it is behind, and that is said.
    let unknown = firemain(&["status", "--destination", DESTINATION, "--output", "json"], &env).await;
    let said: Value = serde_json::from_slice(&unknown.stdout).unwrap();
    assert_eq!((unknown.status.code(), &said["notes"]), (Some(0), &json!([{"note": "lag_not_looked_at"}])), "{said}");
    let unknown = firemain(&["status", "--destination", DESTINATION], &env).await;
    let told = String::from_utf8_lossy(&unknown.stdout).into_owned();
    assert!(told.contains("lag not looked at: ") && told.ends_with("all else is well\n"), "{told}");

    drop(worker);
    kinesis.put("app-logs", &made(500).0).await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    let (code, said) = status(&["--max-lag", "1s"]).await;
    let problems: Vec<&str> =
        said["problems"].as_array().unwrap().iter().map(|problem| problem["problem"].as_str().unwrap()).collect();
    assert!(code == Some(1) && problems.contains(&"no_live_worker") && problems.contains(&"lag"), "{problems:?}");

    let told = firemain(&ask[..5], &env).await;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.contains("shardId-000000000001") && !told.contains('\u{1b}'), "no colours into a pipe: {told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_books_balance_and_what_is_missing_or_too_much_is_named() {
    let (s3, kinesis) = (S3Server::start().await, KinesisServer::start(0).await);
    kinesis.create("app-logs", 2).await;
    let (records, totals) = made(3_000);
    let env = environment(&s3, &kinesis);
    let run = ["run", "--drain", "--source", "kinesis://app-logs", "--destination", DESTINATION];
    for half in records.chunks(records.len() / 2 + 1) {
        kinesis.put("app-logs", half).await;
        assert!(firemain(&run, &env).await.status.success());
    }
    let verify = ["verify", "--destination", DESTINATION, "--output", "json"];
    let output = firemain(&verify, &env).await;
    assert!(output.status.success(), "{}", last_line(&output));
    let proof: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&proof["read"]["events"], &proof["delivered"]["rows"]), (&json!(totals.events), &json!(totals.events)));
    assert_eq!(
        (&proof["delivered"]["rejections"], &proof["read"]["records"]),
        (&json!(totals.rejections), &json!(totals.records))
    );
    assert_eq!((proof["shards"].as_array().unwrap().len(), &proof["commits"]), (2, &json!(2)));

    // A lake on a disk keeps no metadata: there the rows are counted.
    let folder = TempDir::new().unwrap();
    let dir = folder.path().join("demo");
    assert!(firemain(&["demo", dir.to_str().unwrap()], &[]).await.status.success());
    let lake = format!("file://{}/lake", dir.display());
    let verify = ["verify", "--destination", &lake];
    let output = firemain(&verify, &[]).await;
    assert!(String::from_utf8_lossy(&output.stdout).contains("the books balance"), "{}", last_line(&output));
    let find =
        |pattern: &str| glob::glob(&format!("{}/lake/{pattern}", dir.display())).unwrap().next().unwrap().unwrap();
    let (rows, errors) = (find("log_events/**/*.parquet"), find("errors/**/*.gz"));
    let gone = folder.path().join("gone");
    std::fs::rename(&rows, &gone).unwrap();
    let said = last_line(&firemain(&verify, &[]).await);
    let name = rows.file_stem().unwrap().to_str().unwrap();
    assert!(said.contains("of its 17 objects are there") && said.contains(name), "{said}");
    std::fs::rename(&gone, &rows).unwrap();
    let nothing = GzEncoder::new(Vec::new(), Compression::fast()).finish().unwrap();
    std::fs::write(&errors, nothing).unwrap();
    let output = firemain(&verify, &[]).await;
    let said = last_line(&output);
    assert!(said.contains("were counted, and its objects hold"), "{said}");
    assert_eq!(output.status.code(), Some(1));
    let nothing = firemain(&["verify", "--destination", &lake, "--group", "other"], &[]).await;
    assert!(last_line(&nothing).contains("no state at this destination"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_is_taken_is_named() {
    let (s3, kinesis) = (S3Server::start().await, KinesisServer::start(0).await);
    kinesis.create("app-logs", 1).await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut env = environment(&s3, &kinesis);
    env.push(("FIREMAIN_HTTP__LISTEN", &address));
    let run = ["run", "--drain", "--source", "kinesis://app-logs", "--destination", DESTINATION];
    let output = firemain(&run, &env).await;
    let said = last_line(&output);
    assert!(output.status.code() == Some(1) && said.contains(&address) && said.contains("http.listen"), "{said}");
    drop(taken);
    let output = firemain(&["health", "--address", &address], &[]).await;
    assert!(
        output.status.code() == Some(1) && last_line(&output).contains("no worker answers"),
        "{}",
        last_line(&output)
    );
}
