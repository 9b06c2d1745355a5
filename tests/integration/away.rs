//! A stream that is away, at the start and later: a worker waits, and says so by metrics and health.

use std::net::SocketAddr;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::binary::environment;
use crate::kinesis::KinesisServer;
use crate::operate::{Running, made};
use crate::s3::S3Server;

/// The network between a worker and its stream.
struct Network {
    address: SocketAddr,
    up: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Network {
    async fn to(server: SocketAddr, up: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, receiver) = watch::channel(up);
        let task = tokio::spawn(async move {
            loop {
                let (mut near, _) = listener.accept().await.unwrap();
                let mut up = receiver.clone();
                if !*up.borrow() {
                    continue;
                }
                tokio::spawn(async move {
                    let mut far = TcpStream::connect(server).await.unwrap();
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        _ = up.wait_for(|up| !*up) => {}
                    }
                });
            }
        });
        Self { address, up: sender, task }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn number(metrics: &str, name: &str) -> f64 {
    let line = metrics.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}: {metrics}"));
    line.rsplit_once(' ').unwrap().1.parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_stream_is_away_is_watched_from_the_start_and_falls_behind() {
    let (s3, kinesis) = (S3Server::start().await, KinesisServer::start(0).await);
    kinesis.create("app-logs", 1).await;
    let (records, totals) = made(500);
    kinesis.put("app-logs", &records).await;
    let server = kinesis.endpoint.strip_prefix("http://").unwrap().parse().unwrap();
    let network = Network::to(server, false).await;
    let endpoint = format!("http://{}", network.address);
    let mut env = environment(&s3, &kinesis);
    env.retain(|(name, _)| *name != "AWS_ENDPOINT_URL_KINESIS");
    env.push(("AWS_ENDPOINT_URL_KINESIS", &endpoint));

    let worker = Running::start(&env);
    let errors = "firemain_kinesis_errors_total{group=\"default\",kind=\"connection\"}";
    worker.until("/metrics", "the calls that fail are counted", |_, body| number(body, errors) > 1.0);
    assert_eq!(worker.get("/healthz"), (200, "starting\nit has not joined its group and claimed yet\n".to_owned()));
    assert_eq!(worker.get("/readyz").0, 503);
    assert!(worker.health(&[]).await.status.success());

    network.up.send_replace(true);
    let delivered = |body: &str| number(body, "firemain_events_total{");
    worker.until("/metrics", "all is delivered", |_, body| delivered(body) == totals.events as f64);
    worker.until("/readyz", "it reads", |status, _| status == 200);
    let metrics = worker.until("/metrics", "it is at the tip", |_, body| {
        body.contains("firemain_kinesis_millis_behind_latest{group=\"default\"} 0\n")
    });

    let failed = number(&metrics, errors);
    network.up.send_replace(false);
    let behind = |body: &str| number(body, "firemain_kinesis_millis_behind_latest{");
    let metrics = worker.until("/metrics", "it falls behind", |_, body| behind(body) >= 15_000.0);
    assert!(number(&metrics, errors) > failed, "{metrics}");
    assert_eq!(worker.get("/healthz").0, 200, "a restart would not help");

    network.up.send_replace(true);
    worker.until("/metrics", "it has caught up", |_, body| behind(body) == 0.0);
}
