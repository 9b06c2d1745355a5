//! A Kinesis API inside the test process.
//!
//! What it is not: `StreamARN` is ignored in some calls, arrival is told in whole seconds, nothing is throttled.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, ShardIteratorType, StreamStatus};
use ferrokinesis::store::StoreOptions;
use ferrokinesis::{create_app, serve_plain_http};
use firemain::generate::Made;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::s3::{ACCESS_KEY, REGION, SECRET_KEY};

/// Serves streams until it is dropped.
#[derive(Debug)]
pub struct KinesisServer {
    pub endpoint: String,
    pub client: Client,
    serving: JoinHandle<()>,
}

impl KinesisServer {
    pub async fn start(port: u16) -> Self {
        let options = StoreOptions { create_stream_ms: 0, update_stream_ms: 0, shard_limit: 500, ..Default::default() };
        let (app, _store) = create_app(options);
        let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a free port");
        let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
        let serving = tokio::spawn(async move {
            let _ = serve_plain_http(listener, app, std::future::pending()).await;
        });
        let config = aws_sdk_kinesis::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&endpoint)
            .region(Region::new(REGION))
            .credentials_provider(Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "test"))
            .build();
        Self { endpoint, client: Client::from_conf(config), serving }
    }

    /// Makes a stream and waits until it can be used.
    pub async fn create(&self, stream: &str, shards: i32) {
        self.client.create_stream().stream_name(stream).shard_count(shards).send().await.unwrap();
        loop {
            let about = self.client.describe_stream_summary().stream_name(stream).send().await.unwrap();
            if about.stream_description_summary.unwrap().stream_status == StreamStatus::Active {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub async fn put(&self, stream: &str, records: &[Made]) {
        for batch in records.chunks(100) {
            let entry = |made: &Made| {
                let entry = PutRecordsRequestEntry::builder().partition_key(&made.partition_key);
                entry.data(Blob::new(made.data.to_vec())).build().unwrap()
            };
            let entries = batch.iter().map(entry).collect();
            let answer = self.client.put_records().stream_name(stream).set_records(Some(entries)).send().await.unwrap();
            assert_eq!(answer.failed_record_count.unwrap_or(0), 0);
        }
    }
}

impl KinesisServer {
    /// What all records of a stream hold.
    pub async fn payloads(&self, stream: &str) -> Vec<Vec<u8>> {
        let mut payloads = Vec::new();
        for shard in self.client.list_shards().stream_name(stream).send().await.unwrap().shards.unwrap() {
            let begin = self.client.get_shard_iterator().stream_name(stream).shard_id(shard.shard_id);
            let begin = begin.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await.unwrap();
            let mut iterator = begin.shard_iterator;
            loop {
                let page = self.client.get_records().set_shard_iterator(iterator).send().await.unwrap();
                if page.records.is_empty() {
                    break;
                }
                payloads.extend(page.records.into_iter().map(|record| record.data.into_inner()));
                iterator = page.next_shard_iterator;
            }
        }
        payloads
    }
}

impl Drop for KinesisServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Not a test: serves on `KINESIS_PORT` until it is killed, for the tests against real servers (`tests/services`).
#[tokio::test(flavor = "multi_thread")]
#[ignore = "a server for tests/services/run"]
async fn serve() {
    let port = std::env::var("KINESIS_PORT").expect("KINESIS_PORT").parse().expect("a port");
    let _server = KinesisServer::start(port).await;
    std::future::pending::<()>().await;
}
