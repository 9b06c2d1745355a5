//! `firemain replay --to-stream`: what comes to the stream, and what is left when it does not go well.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;

/// What a stream does with what is put.
#[derive(Clone, Copy, Debug)]
enum Mood {
    TakesAll,
    /// All but every third record of a call.
    Throttles,
    /// So many calls; the others are denied.
    Denies(usize),
    /// So many calls; the others get no answer while it is so.
    IsSilent(usize),
}

/// A stream that takes PutRecords, and nothing else.
struct Stream {
    endpoint: String,
    mood: Arc<Mutex<Mood>>,
    /// What every call has put that was answered.
    taken: Arc<Mutex<Vec<Vec<u8>>>>,
    calls: Arc<Mutex<usize>>,
    accepting: JoinHandle<()>,
}

impl Stream {
    async fn start(mood: Mood) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (mood, taken, calls) = (Arc::new(Mutex::new(mood)), Arc::default(), Arc::default());
        let served = (Arc::clone(&mood), Arc::clone(&taken), Arc::clone(&calls));
        let accepting = tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let served = served.clone();
                let serve = service_fn(move |request| answer(served.clone(), request));
                tokio::spawn(async move {
                    // An error here is a client that went away.
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(connection), serve).await;
                });
            }
        });
        Self { endpoint, mood, taken, calls, accepting }
    }

    fn becomes(&self, mood: Mood) {
        (*self.mood.lock().unwrap(), *self.calls.lock().unwrap()) = (mood, 0);
    }

    async fn called(&self, times: usize) {
        while *self.calls.lock().unwrap() < times {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// How often each payload was put.
    fn taken(&self) -> BTreeMap<Vec<u8>, usize> {
        let mut times = BTreeMap::new();
        for payload in self.taken.lock().unwrap().iter() {
            *times.entry(payload.clone()).or_default() += 1;
        }
        times
    }

    fn environment(&self) -> Vec<(&str, &str)> {
        vec![
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_ENDPOINT_URL_KINESIS", &self.endpoint),
        ]
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

type Served = (Arc<Mutex<Mood>>, Arc<Mutex<Vec<Vec<u8>>>>, Arc<Mutex<usize>>);

/// As <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html> says.
async fn answer((mood, taken, calls): Served, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    assert_eq!(request.headers()["x-amz-target"], "Kinesis_20131202.PutRecords");
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let put: Value = serde_json::from_slice(&body).unwrap();
    let call = {
        let mut calls = calls.lock().unwrap();
        *calls += 1;
        *calls
    };
    let silent = || matches!(*mood.lock().unwrap(), Mood::IsSilent(calls) if call > calls);
    while silent() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mood = *mood.lock().unwrap();
    if matches!(mood, Mood::Denies(calls) if call > calls) {
        let denied = json!({"__type": "AccessDeniedException", "message": "no"}).to_string();
        return Ok(Response::builder().status(400).body(Full::new(denied.into())).unwrap());
    }
    let (mut results, mut failed) = (Vec::new(), 0);
    for (n, record) in put["Records"].as_array().unwrap().iter().enumerate() {
        if matches!(mood, Mood::Throttles) && n % 3 == 2 {
            failed += 1;
            results.push(json!({"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "slow down"}));
        } else {
            taken.lock().unwrap().push(BASE64_STANDARD.decode(record["Data"].as_str().unwrap()).unwrap());
            results.push(json!({"SequenceNumber": "1", "ShardId": "shardId-000000000000"}));
        }
    }
    let answer = json!({"FailedRecordCount": failed, "Records": results}).to_string();
    Ok(Response::builder().header("content-type", "application/x-amz-json-1.1").body(Full::new(answer.into())).unwrap())
}

/// A lake with so many error objects, each of 20 payloads; and those.
async fn lake(objects: usize) -> (Lake, BTreeMap<Vec<u8>, usize>) {
    let (lake, mut all) = (Lake::new(), BTreeMap::new());
    let records = |object: usize| (0..20).map(move |n| (format!("junk {object}-{n}").into_bytes(), FIVE));
    for object in 0..objects {
        let records: Vec<_> = records(object).collect();
        lake.deliver(&format!("records{object}.json"), &records, "").await;
        all.extend(records.into_iter().map(|(data, _)| (data, 1)));
    }
    (lake, all)
}

fn started(lake: &Lake, stream: &Stream) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_firemain"));
    command.args(["replay", "--config", &lake.config(""), "--to-stream", "app-logs"]);
    command.env_clear().envs(stream.environment()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

async fn replay(lake: &Lake, stream: &Stream, more: &[&str]) -> Output {
    let config = lake.config("");
    let args = [&["replay", "--config", &config, "--to-stream", "app-logs"], more].concat();
    firemain(&args, &stream.environment()).await
}

fn said(output: &Output) -> String {
    let said = [&output.stdout[..], &output.stderr].concat();
    String::from_utf8_lossy(&said).into_owned()
}

/// What the newest state of all replays says.
fn state(lake: &Lake) -> Value {
    let (_, newest) = lake.files("_firemain/.replay/state").pop_last().unwrap();
    serde_json::from_slice(&newest).unwrap()
}

async fn verified(lake: &Lake, env: &[(&str, &str)]) -> Value {
    let output = firemain(&["verify", "--replays", "--config", &lake.config(""), "--output", "json"], env).await;
    assert!(output.status.success(), "{}", last_line(&output));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_go_back_on_a_stream_as_they_were() {
    let (s3, kinesis, lake) = (S3Server::start().await, KinesisServer::start(0).await, Lake::new());
    kinesis.create("app-logs", 2).await;
    let payloads: Vec<Vec<u8>> = (0..600).map(|n| format!("junk {n}").into_bytes()).collect();
    let records: Vec<_> = payloads.iter().map(|data| (data.clone(), FIVE)).collect();
    lake.deliver("records.json", &records, "").await;
    let config = lake.config("");
    let env = environment(&s3, &kinesis);
    let to = |stream| ["replay", "--config", &config, "--to-stream", stream];
    let output = firemain(&to("nosuch"), &env).await;
    assert_eq!((output.status.code(), last_line(&output).contains("no such stream")), (Some(1), true));
    assert_eq!(state(&lake)["workers"], json!({}), "whoever comes next need not wait");

    let output = firemain(&to("app-logs"), &env).await;
    assert!(output.status.success(), "{}", last_line(&output));
    assert!(said(&output).contains("1 object: 600 payloads put on app-logs, 1 object moved"), "{}", said(&output));
    let mut found = kinesis.payloads("app-logs").await;
    found.sort();
    let mut want = payloads;
    want.sort();
    assert!(found == want, "{} records", found.len());
    assert_eq!((lake.files("errors").len(), lake.files("replayed").len()), (0, 1));
    let output = firemain(&to("app-logs"), &env).await;
    assert!(output.status.success() && !said(&output).contains("put on"), "{}", said(&output));
    assert_eq!(kinesis.payloads("app-logs").await.len(), 600, "nothing is left to put");
    let proof = verified(&lake, &env).await;
    assert_eq!((&proof["read"]["records"], &proof["shards"][0]["to"]), (&json!(600), &json!("end")), "{proof}");
}

/// What was put before an error is not put again by the next one, which need not wait for anybody.
#[tokio::test(flavor = "multi_thread")]
async fn after_an_error_the_next_one_puts_the_rest() {
    let (stream, (lake, all)) = (Stream::start(Mood::Denies(1)).await, lake(3).await);
    let output = replay(&lake, &stream, &[]).await;
    let last = last_line(&output);
    assert_eq!((output.status.code(), last.contains("kinesis:PutRecords")), (Some(1), true), "{last}");
    assert_eq!((stream.taken().len(), &state(&lake)["workers"]), (20, &json!({})));
    stream.becomes(Mood::TakesAll);
    let output = replay(&lake, &stream, &["--output", "json"]).await;
    assert!(output.status.success(), "{}", said(&output));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&report["put"], &report["done_before"], &report["moved"]), (&json!(40), &json!(1), &json!(3)));
    assert!(stream.taken() == all && !said(&output).contains("waiting"), "{}", said(&output));
    let proof = verified(&lake, &[]).await;
    assert_eq!((&proof["read"]["records"], proof["shards"].as_array().unwrap().len()), (&json!(60), 3), "{proof}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_had_that_was_killed_is_put_a_lease_later() {
    let (stream, (lake, all)) = (Stream::start(Mood::IsSilent(1)).await, lake(3).await);
    let mut child = started(&lake, &stream);
    stream.called(2).await;
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(state(&lake)["workers"].as_object().unwrap().len(), 1, "it did not leave");
    stream.becomes(Mood::TakesAll);
    let output = replay(&lake, &stream, &[]).await;
    assert!(output.status.success(), "{}", said(&output));
    assert!(said(&output).contains("3 objects belong to another replay: waiting up to 2s"), "{}", said(&output));
    assert!(stream.taken().into_keys().eq(all.into_keys()), "each at least once");
    assert_eq!((lake.files("errors").len(), lake.files("replayed").len()), (0, 3));
    verified(&lake, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_is_at_is_left_to_it_and_said() {
    let (stream, (lake, all)) = (Stream::start(Mood::IsSilent(1)).await, lake(3).await);
    let mut child = started(&lake, &stream);
    stream.called(2).await;
    let output = replay(&lake, &stream, &[]).await;
    let last = last_line(&output);
    assert_eq!(output.status.code(), Some(1), "{last}");
    assert!(last.contains("3 objects left to another replay, which is at work"), "{last}");
    assert!(said(&output).contains("3 objects: 0 payloads put on app-logs, no object moved"), "{}", said(&output));
    stream.becomes(Mood::TakesAll);
    let last = BufReader::new(child.stdout.take().unwrap()).lines().last().unwrap().unwrap();
    assert!(child.wait().unwrap().success() && last.contains("60 payloads put"), "{last}");
    assert!(stream.taken() == all, "each once");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_at_once_put_each_payload_once() {
    let (stream, (lake, all)) = (Stream::start(Mood::Throttles).await, lake(4).await);
    let (one, other) = tokio::join!(replay(&lake, &stream, &[]), replay(&lake, &stream, &[]));
    for output in [&one, &other] {
        let left = last_line(output).contains("left to another replay");
        assert!(output.status.success() || left, "{}", said(output));
    }
    assert!(one.status.success() || other.status.success());
    assert!(stream.taken() == all, "what was throttled is put again, and nothing else");
    assert!(said(&one).contains("records were throttled") || said(&other).contains("records were throttled"));
    assert_eq!(lake.files("replayed").len(), 4);
    verified(&lake, &[]).await;
}

/// Rows that a replay has committed, and not published when it was killed, are not forgotten by one that puts.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_committed_by_one_that_was_killed_is_published() {
    let (s3, stream) = (S3Server::start().await, Stream::start(Mood::TakesAll).await);
    let folder = TempDir::new().unwrap();
    let record = |n: usize, data: Vec<u8>| {
        let arrival = (FIVE + n as i64 * MINUTE) as f64 / 1000.0;
        json!({"Data": BASE64_STANDARD.encode(data), "ApproximateArrivalTimestamp": arrival,
            "SequenceNumber": n.to_string(), "PartitionKey": "key"})
    };
    let page = json!({"Records": [record(0, envelope("a", 3)), record(9, envelope("b", 3))]});
    std::fs::write(folder.path().join("records.json"), page.to_string()).unwrap();
    let source = format!("file://{}", folder.path().join("records.json").display());
    let config = |more: &str| {
        let path = folder.path().join(format!("{}.toml", more.len()));
        let head = "destination = \"s3://lake/logs\"\nflush.interval = \"1s\"\nlease_timeout = \"1s\"\n";
        std::fs::write(&path, format!("{head}{more}")).unwrap();
        path.display().to_string()
    };
    let mut env = stream.environment();
    env[2].1 = crate::s3::SECRET_KEY;
    env.push(("AWS_ENDPOINT_URL_S3", &s3.endpoint));
    let run = ["run", "--config", &config(WRONG_TABLE), "--source", &source];
    assert!(firemain(&run, &env).await.status.success());

    s3.turn(Some(crate::s3::Oddity::Denies("PUT", "/log_events/")));
    let mut command = Command::new(env!("CARGO_BIN_EXE_firemain"));
    command.args(["replay", "--config", &config(""), "--until", "2024-03-22T05:05:00Z"]).env_clear();
    let mut child = command.envs(env.iter().copied()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.contains("put of log_events") && line.contains("tried again")));
    child.kill().unwrap();
    child.wait().unwrap();
    s3.turn(None);

    let output = firemain(&["replay", "--config", &config(""), "--to-stream", "app-logs"], &env).await;
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(stream.taken().values().sum::<usize>(), 3, "those that the other left");
    let keys: Vec<String> = crate::binary::objects(&s3).await.into_keys().collect();
    assert!(keys.iter().any(|key| key.starts_with("logs/log_events/")), "{keys:?}");
    assert!(!keys.iter().any(|key| key.contains("/staged/")), "{keys:?}");
    let output = firemain(&["verify", "--replays", "--config", &config(""), "--output", "json"], &env).await;
    let proof: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&proof["read"]["events"], &proof["unpublished"]), (&json!(3), &json!(0)), "{proof}");
}
