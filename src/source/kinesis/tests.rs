//! Against a Kinesis stand-in in this process, and against a server that answers as the test says.

mod events;
mod fan_out;
mod scripted;
mod standin;

use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;

use super::*;
use crate::decode::Payloads;
use crate::source::Batch;

async fn aws(endpoint: &str) -> Aws {
    let sdk = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .retry_config(RetryConfig::disabled())
        .credentials_provider(SharedCredentialsProvider::new(Credentials::new("AKID", "secret", None, None, "test")));
    Aws::new(sdk.build()).await.unwrap()
}

/// The service's limits, but quick.
fn quick() -> Limits {
    let between_calls = Duration::from_millis(5);
    let between_subscriptions = between_calls;
    Limits { between_calls, between_subscriptions, idle: between_calls, bytes_per_second: 1e12, ..Limits::default() }
}

async fn connect(
    endpoint: &str,
    stream: &str,
    start: Start,
    patience: &Patience,
) -> Result<KinesisSource, SourceError> {
    connect_in(Mode::Polling, endpoint, stream, start, patience).await
}

async fn connect_in(
    mode: Mode,
    endpoint: &str,
    stream: &str,
    start: Start,
    patience: &Patience,
) -> Result<KinesisSource, SourceError> {
    let config = KinesisConfig { stream: stream.to_owned(), start, mode, payloads: Payloads::Envelopes };
    let (clock, read_ahead) = (Clock::system(), ReadAhead::new(64 << 20));
    let aws = aws(endpoint).await;
    let source =
        KinesisSource::connect(&config, &aws, &clock, patience, &Telemetry::default(), read_ahead, Duration::ZERO)
            .await?;
    Ok(source.with_limits(quick()))
}

async fn next(reader: &mut Box<dyn Reader>) -> Batch {
    tokio::time::timeout(Duration::from_secs(20), reader.next()).await.expect("an answer in time").unwrap()
}

/// Everything up to the tip or the end, and how it ended.
async fn read_on(reader: &mut Box<dyn Reader>) -> (Vec<String>, Batch) {
    let mut read = Vec::new();
    loop {
        let mut batch = next(reader).await;
        read.extend(batch.records.drain(..).map(|record| String::from_utf8(record.data.to_vec()).unwrap()));
        if batch.at_tip || batch.at_end {
            return (read, batch);
        }
    }
}
