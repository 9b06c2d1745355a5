//! `firemain check` against servers inside the test process: what it says, and that it leaves nothing.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};

use firemain::generate::{Generator, Plan};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::binary::{environment, firemain, last_line, objects};
use crate::kinesis::KinesisServer;
use crate::s3::{Oddity, S3Server};

const CONFIG: [&str; 4] = ["--source", "kinesis://app-logs", "--destination", "s3://lake/logs"];

/// Gives every request the same answer.
struct Answering {
    endpoint: String,
    serving: JoinHandle<()>,
}

impl Answering {
    /// STS, which says of everybody that it is the same role.
    async fn sts() -> Self {
        let body = "<GetCallerIdentityResponse><GetCallerIdentityResult><Account>123456789012</Account>\
            <Arn>arn:aws:sts::123456789012:assumed-role/firemain/task</Arn><UserId>A</UserId>\
            </GetCallerIdentityResult></GetCallerIdentityResponse>";
        Self::start("Action=GetCallerIdentity", body).await
    }

    /// `request`: in what is asked.
    async fn start(request: &'static str, body: &'static str) -> Self {
        let wanted = request;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (mut request, mut part) = (String::new(), [0; 4096]);
                while !request.contains(wanted) {
                    let Ok(read @ 1..) = stream.read(&mut part).await else { break };
                    request.push_str(&String::from_utf8_lossy(&part[..read]));
                }
                let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
                let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
            }
        });
        Self { endpoint, serving }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// A deployment that has everything: a stream with records, a bucket, and credentials.
struct World {
    s3: S3Server,
    kinesis: KinesisServer,
    sts: Answering,
}

impl World {
    async fn new() -> Self {
        let world =
            Self { s3: S3Server::start().await, kinesis: KinesisServer::start(0).await, sts: Answering::sts().await };
        world.kinesis.create("app-logs", 2).await;
        let plan = Plan { events: 1000, log_groups: 2, seed: 1, poison: 0, start: 1_711_083_600_000, span: 1 };
        world.kinesis.put("app-logs", &Generator::new(plan).collect::<Vec<_>>()).await;
        world
    }

    fn environment(&self) -> Vec<(&str, &str)> {
        let mut environment = environment(&self.s3, &self.kinesis);
        environment.push(("AWS_ENDPOINT_URL_STS", &self.sts.endpoint));
        // Two workers on one machine would want the same port.
        environment.push(("FIREMAIN_HTTP__LISTEN", "off"));
        environment
    }

    async fn check(&self, config: &[&str]) -> Checked {
        checked(&[&["check", "--output", "json"], config].concat(), &self.environment()).await
    }
}

/// What was printed as JSON, and how it ended.
struct Checked {
    document: Value,
    output: Output,
}

async fn checked(args: &[&str], env: &[(&str, &str)]) -> Checked {
    let output = firemain(args, env).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    let document = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"));
    Checked { document, output }
}

impl Checked {
    /// State and text of the only line of a subject.
    fn line(&self, subject: &str) -> (&str, &str) {
        let lines = self.document["checks"].as_array().unwrap();
        let mut lines = lines.iter().filter(|line| line["subject"] == subject);
        let line = lines.next().unwrap_or_else(|| panic!("no line of {subject}: {:#}", self.document));
        assert!(lines.next().is_none(), "{subject}: {:#}", self.document);
        (line["state"].as_str().unwrap(), line["text"].as_str().unwrap())
    }

    fn subjects(&self, state: &str) -> Vec<&str> {
        let lines = self.document["checks"].as_array().unwrap();
        lines.iter().filter(|line| line["state"] == state).map(|line| line["subject"].as_str().unwrap()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_missing_nothing_fails_and_nothing_stays() {
    let world = World::new().await;
    let checked = world.check(&CONFIG).await;
    assert!(checked.output.status.success(), "{:#}", checked.document);
    assert!(checked.output.stderr.is_empty(), "{}", String::from_utf8_lossy(&checked.output.stderr));
    assert_eq!((checked.subjects("failed"), checked.subjects("warning")), (vec![], vec![]));
    // What this server does not have.
    let unknown = ["object ownership", "public access", "encryption", "versioning", "lifecycle"];
    assert_eq!(checked.subjects("not_checked"), unknown);
    assert_eq!(checked.document["not_checked"], unknown.len());
    assert_eq!(checked.document["passed"], checked.subjects("ok").len());
    for (subject, says) in [
        (
            "credentials",
            "arn:aws:sts::123456789012:assumed-role/firemain/task of account 123456789012; region us-east-1",
        ),
        ("clock", "s of that of Kinesis, S3"),
        ("stream", "app-logs in us-east-1 is ACTIVE: 2 open shards"),
        ("shards", "2 shards listed"),
        ("records", "was read"),
        ("bucket", "lake is there, in us-east-1"),
        ("bucket owner", "account 123456789012"),
        (
            "objects, state",
            "below _firemain/default/state: create, create only once, overwrite, list, get, multipart upload, delete",
        ),
        ("objects, workers", "below _firemain/default/workers"),
        ("objects, errors", "below errors"),
        ("memory", "the process takes up to 456.0 MiB"),
    ] {
        let (state, text) = checked.line(subject);
        assert!(state == "ok" && text.contains(says), "{subject}: {state}: {text}");
    }
    assert!(objects(&world.s3).await.is_empty(), "probes are left");

    // The same as text: a line each, and the sum of them.
    let output = firemain(&[&["check"][..], &CONFIG].concat(), &world.environment()).await;
    let text = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines.len(), checked.document["checks"].as_array().unwrap().len() + 3, "{text}");
    assert!(lines[0].starts_with("state        check") && lines[1].starts_with("ok           configuration"), "{text}");
    let passed = checked.subjects("ok").len();
    assert_eq!(lines.last(), Some(&&*format!("{passed} passed, 0 warnings, 0 failed, 5 not checked")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_fails_by_itself() {
    let world = World::new().await;
    let no_bucket = world.check(&["--source", "kinesis://app-logs", "--destination", "s3://no-such-bucket/x"]).await;
    assert_eq!(no_bucket.output.status.code(), Some(1));
    assert_eq!(last_line(&no_bucket.output), "firemain: 2 checks failed: do what is said there, then check again");
    assert_eq!(no_bucket.subjects("failed"), ["bucket", "objects, state"], "once each, and not for every prefix");
    assert_eq!(no_bucket.line("bucket").1, "there is no bucket no-such-bucket: make it, or correct `destination`");
    assert!(no_bucket.line("objects, state").1.contains("no such bucket: make it"), "{:#}", no_bucket.document);
    assert_eq!(no_bucket.line("records").0, "ok", "the stream is read all the same");

    let no_stream = world.check(&["--source", "kinesis://no-such-stream", "--destination", "s3://lake/logs"]).await;
    assert_eq!(no_stream.output.status.code(), Some(1));
    assert_eq!(no_stream.subjects("failed"), ["stream"]);
    assert!(no_stream.line("stream").1.contains("no such stream or shard in us-east-1"), "{:#}", no_stream.document);
    assert_eq!(no_stream.line("objects, state").0, "ok", "the bucket is tried all the same");

    let args = ["check", "--source", "kinesis://app-logs", "--destination", "ftp://lake"];
    let wrong = firemain(&args, &world.environment()).await;
    assert_eq!(wrong.status.code(), Some(2));
    assert!(wrong.stdout.is_empty() && last_line(&wrong).contains("`destination` can't be"), "{}", last_line(&wrong));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_ignores_conditional_creates_fails() {
    let world = World::new().await;
    world.s3.turn(Some(Oddity::IgnoresConditions));
    let checked = world.check(&CONFIG).await;
    assert_eq!(checked.output.status.code(), Some(1));
    assert_eq!(checked.subjects("failed"), ["objects, state", "objects, workers"], "{:#}", checked.document);
    let (_, text) = checked.line("objects, state");
    assert!(text.contains("create only once: the store created one object twice"), "{text}");
    assert!(objects(&world.s3).await.is_empty(), "probes are left");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_that_is_denied_is_named_where_the_service_needs_it() {
    for (method, part, failed, warned, says) in [
        (
            "POST",
            "uploads",
            vec!["objects, staged", "objects, log_events", "objects, errors"],
            vec!["objects, state", "objects, workers"],
            "multipart upload: access denied: allow s3:PutObject and s3:AbortMultipartUpload",
        ),
        ("GET", "log_events/.check-", vec![], vec!["objects, log_events"], "get: access denied"),
        (
            "GET",
            "list-type=2",
            vec!["objects, state", "objects, staged", "objects, workers"],
            vec!["objects, log_events", "objects, errors"],
            "list: access denied: allow s3:ListBucket",
        ),
    ] {
        let world = World::new().await;
        world.s3.turn(Some(Oddity::Denies(method, part)));
        let checked = world.check(&CONFIG).await;
        assert_eq!(checked.subjects("failed"), failed, "{method} {part}: {:#}", checked.document);
        assert_eq!(checked.subjects("warning"), warned, "{method} {part}: {:#}", checked.document);
        assert_eq!(checked.output.status.code(), Some(i32::from(!failed.is_empty())));
        let (_, text) = checked.line(failed.first().unwrap_or(&"objects, log_events"));
        assert!(text.contains(says), "{text}");
        world.s3.turn(None);
        assert!(objects(&world.s3).await.is_empty(), "probes are left");
    }
}

/// A table that only one rule fills.
#[tokio::test(flavor = "multi_thread")]
async fn each_table_that_rows_come_into_is_tried() {
    let world = World::new().await;
    world.s3.turn(Some(Oddity::Denies("PUT", "/apache_access/")));
    let mut environment = world.environment();
    environment.push(("FIREMAIN_TABLE", "[{schema='apache_access', log_groups=['/ecs/web/*']}]"));
    let checked = checked(&[&["check", "--output", "json"][..], &CONFIG].concat(), &environment).await;
    assert_eq!(checked.subjects("failed"), ["objects, apache_access"], "{:#}", checked.document);
    assert_eq!(checked.line("objects, log_events").0, "ok");
    assert_eq!(checked.output.status.code(), Some(1));
}

/// To those who may list below a prefix alone, which is all that the service does.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_may_not_be_asked_for_as_a_whole_is_good_enough() {
    let world = World::new().await;
    world.s3.turn(Some(Oddity::Denies("HEAD", "/lake")));
    let checked = world.check(&CONFIG).await;
    assert!(checked.output.status.success(), "{:#}", checked.document);
    assert_eq!((checked.line("bucket").0, checked.line("bucket owner").0), ("ok", "ok"), "{:#}", checked.document);
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_that_are_not_accepted_are_told_once_for_each_service() {
    let world = World::new().await;
    let environment = world.environment().into_iter();
    let stranger = environment.map(|(name, value)| (name, if name.contains("SECRET") { "another" } else { value }));
    let stranger: Vec<_> = stranger.collect();
    let checked = checked(&[&["check", "--output", "json"][..], &CONFIG].concat(), &stranger).await;
    assert_eq!(checked.subjects("failed"), ["bucket", "objects, state"], "{:#}", checked.document);
    let (_, text) = checked.line("objects, state");
    assert!(text.contains("the credentials are not accepted: check them, and this machine's clock"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_that_cannot_be_deleted_are_named() {
    let world = World::new().await;
    world.s3.turn(Some(Oddity::Denies("POST", "?delete")));
    let checked = world.check(&CONFIG).await;
    let (state, text) = checked.line("objects, state");
    assert!(state == "failed" && text.contains("delete: access denied: allow s3:DeleteObject"), "{text}");
    let left: Vec<String> = objects(&world.s3).await.into_keys().collect();
    assert_eq!(left.len(), 5, "{left:?}");
    let all = checked.document.to_string();
    for key in left {
        let key = key.strip_prefix("logs/").unwrap();
        assert!(key.rsplit('/').next().unwrap().starts_with(".check-"), "{key}");
        assert!(all.contains(&format!("left behind: {key}")), "{key}: {:#}", checked.document);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_credentials_everything_else_is_still_looked_at() {
    let world = World::new().await;
    let environment = world.environment();
    let nobody: Vec<_> = environment.into_iter().filter(|(name, _)| !name.contains("KEY")).collect();
    let nobody = [&nobody[..], &[("AWS_EC2_METADATA_DISABLED", "true")]].concat();
    let checked = checked(&[&["check", "--output", "json"][..], &CONFIG].concat(), &nobody).await;
    assert_eq!(checked.output.status.code(), Some(1));
    assert_eq!(checked.subjects("failed"), ["credentials"]);
    assert!(checked.line("credentials").1.contains("set AWS_ACCESS_KEY_ID"), "{:#}", checked.document);
    assert_eq!(checked.subjects("not_checked"), ["stream", "bucket", "objects", "clock"]);
    assert_eq!(checked.line("memory").0, "ok");
}

/// As Fargate tells a task of 256 MiB.
#[tokio::test(flavor = "multi_thread")]
async fn what_ecs_gives_a_task_is_held_against_what_a_run_takes() {
    let world = World::new().await;
    let elsewhere = world.check(&CONFIG).await;
    assert!(elsewhere.line("memory").0 == "ok" && !elsewhere.document.to_string().contains("ECS"));

    let task = r#"{"LaunchType": "FARGATE", "Limits": {"CPU": 0.25, "Memory": 256}}"#;
    let ecs = Answering::start("GET /v4/abc/task HTTP/1.1\r\n", task).await;
    let within = async |uri: &str, more: &[(&str, &str)]| {
        let mut environment = world.environment();
        environment.push(("ECS_CONTAINER_METADATA_URI_V4", uri));
        environment.extend(more);
        checked(&[&["check", "--output", "json"][..], &CONFIG].concat(), &environment).await
    };
    let uri = format!("{}/v4/abc", ecs.endpoint);
    let small = within(&uri, &[("FIREMAIN_SHUTDOWN_TIMEOUT", "5m")]).await;
    assert_eq!(small.output.status.code(), Some(1));
    assert_eq!(small.subjects("failed"), ["memory"], "{:#}", small.document);
    let (_, text) = small.line("memory");
    let says = "the ECS task, which its containers share, has 256.0 MiB, and the process takes up to 456.0 MiB";
    assert!(text.starts_with(says) && text.contains("give it more memory"), "{text}");
    assert!(small.line("CPUs").1.ends_with("the ECS task has 0.25 vCPU"), "{:#}", small.document);
    assert_eq!(small.line("shutdown_timeout").0, "warning", "{:#}", small.document);
    let enough = within(&uri, &[("FIREMAIN_FLUSH__BUFFER_BYTES", "32MiB")]).await;
    assert_eq!(enough.line("memory").0, "ok", "{:#}", enough.document);

    drop(ecs);
    let silent = within(&uri, &[]).await;
    assert_eq!((silent.line("ECS task").0, silent.line("memory").0), ("not_checked", "ok"), "{:#}", silent.document);
}

/// Workers list the same folders all the time.
#[tokio::test(flavor = "multi_thread")]
async fn a_running_worker_does_not_notice() {
    let world = World::new().await;
    // One that could not be deleted.
    let left = Path::from("logs/_firemain/default/state/.check-left");
    world.s3.store().put(&left, "x".into()).await.unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_firemain"));
    command.arg("run").args(CONFIG).env_clear().envs(world.environment());
    // Both the same: who beats more seldom than another expects is taken for dead.
    let settings = [("FIREMAIN_FLUSH__INTERVAL", "1s"), ("FIREMAIN_LEASE_TIMEOUT", "5s")];
    command.envs(settings);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    assert!(said.any(|line| line.contains("reading shard")), "it begins");
    for round in 0..5 {
        let checked = world.check(&CONFIG).await;
        assert!(checked.output.status.success(), "round {round}: {:#}", checked.document);
    }
    // One that comes later lists all that there is.
    let (args, environment) =
        ([&["run", "--drain"][..], &CONFIG].concat(), [world.environment(), settings.into()].concat());
    let (_, drained) = tokio::join!(world.check(&CONFIG), firemain(&args, &environment));
    assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
    let rest: Vec<String> = said.collect();
    assert!(child.wait().unwrap().success(), "{rest:?}");
    let drained = String::from_utf8_lossy(&drained.stderr).into_owned();
    let warned = rest.iter().map(String::as_str).chain(drained.lines()).filter(|line| line.contains("WARN"));
    // This server stumbles over files that go while it lists a folder.
    let mut warned = warned.filter(|line| !line.contains("InternalError"));
    assert_eq!(warned.next(), None);
    let probes = objects(&world.s3).await.into_keys().filter(|key| key.contains(".check-"));
    assert_eq!(probes.collect::<Vec<_>>(), [left.to_string()]);
}
