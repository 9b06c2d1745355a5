//! The calls of the Kinesis API, tried again as long as that can help.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use tokio::time::{Instant, sleep};
use tracing::{debug, info};

use super::calls::{Calls, Service};
use super::errors::ApiError;
use crate::clock::Clock;
use crate::config::Consumer;
use crate::retry::{Patience, Retry, Verdict};
use crate::source::{Shard, SourceError};
use crate::telemetry::Telemetry;

/// Between two looks at a consumer that is not active yet. The service takes 20 a second.
const BETWEEN_LOOKS: Duration = Duration::from_millis(500);
/// A consumer that takes longer to become active is warned about.
const SOON_ACTIVE: Duration = Duration::from_secs(60);

/// One stream of one account. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Api {
    /// For what is one attempt only.
    pub calls: Arc<dyn Calls>,
    /// The stream's name.
    pub name: Arc<str>,
    pub telemetry: Telemetry,
    clock: Clock,
    patience: Patience,
}

impl Api {
    pub fn new(calls: Arc<dyn Calls>, name: &str, clock: &Clock, patience: &Patience, telemetry: &Telemetry) -> Self {
        let telemetry = telemetry.clone();
        Self { calls, name: name.into(), telemetry, clock: clock.clone(), patience: patience.clone() }
    }

    /// The same where what is refused is refused at once.
    pub fn impatient(&self) -> Self {
        Self { patience: Patience::default(), ..self.clone() }
    }

    /// For the attempts at one call.
    pub fn retry(&self, call: &str) -> Retry {
        Retry::new(&self.clock, &self.patience, format!("{call} of stream {}", self.name))
    }

    /// Counts what failed.
    pub fn count(&self, error: &ApiError) {
        self.telemetry.metrics().stream_errors.add(error.kind, 1);
    }

    async fn again(&self, retry: &mut Retry, error: &ApiError) -> Result<(), SourceError> {
        self.count(error);
        again(retry, error).await
    }

    /// The stream's ARN.
    pub async fn describe(&self) -> Result<String, SourceError> {
        let mut retry = self.retry("DescribeStreamSummary");
        loop {
            match self.calls.describe().await {
                Ok(arn) => {
                    retry.recovered();
                    return Ok(arn);
                }
                Err(error) => self.again(&mut retry, &error).await?,
            }
        }
    }

    /// The ARN of a consumer that may be used. One that is given by name is registered where there is none; one that is
    /// being made or removed is waited for.
    pub async fn consumer(&self, stream_arn: &str, consumer: &Consumer) -> Result<String, SourceError> {
        let (mut describing, mut registering) =
            (self.retry("DescribeStreamConsumer"), self.retry("RegisterStreamConsumer"));
        let start = Instant::now();
        loop {
            match self.calls.describe_consumer(stream_arn, consumer).await {
                Ok(found) if found.status == "ACTIVE" => {
                    describing.recovered();
                    return Ok(found.arn);
                }
                Ok(found) if start.elapsed() < SOON_ACTIVE => {
                    debug!("consumer {} is {}: waiting until it is ACTIVE", found.arn, found.status);
                    sleep(BETWEEN_LOOKS).await;
                }
                Ok(found) => {
                    let text = format!("consumer {} is {}, not ACTIVE", found.arn, found.status);
                    self.again(&mut describing, &ApiError::passing("DescribeStreamConsumer", text)).await?;
                }
                Err(error) => match consumer {
                    Consumer::Name(name) if error.has_code("ResourceNotFoundException") => {
                        let passing = start.elapsed() < SOON_ACTIVE;
                        self.register(stream_arn, name, &mut registering, passing).await?;
                    }
                    _ => self.again(&mut describing, &error).await?,
                },
            }
        }
    }

    /// Registers a consumer, unless somebody else does so at this moment. `passing`: that there are too many may be for a
    /// moment only, since five at most may be on the way at once.
    /// Source: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_RegisterStreamConsumer.html>
    async fn register(
        &self,
        stream_arn: &str,
        name: &str,
        retry: &mut Retry,
        passing: bool,
    ) -> Result<(), SourceError> {
        match self.calls.register_consumer(stream_arn, name).await {
            Ok(()) => {
                retry.recovered();
                info!("registered the consumer {name} of stream {}: it stays when this ends", self.name);
            }
            // Also what a stream says that is being changed: then there is none yet, and this is tried again.
            Err(error) if error.has_code("ResourceInUseException") => sleep(BETWEEN_LOOKS).await,
            Err(error) if error.has_code("LimitExceededException") => {
                let text = format!(
                    "the stream has as many consumers as it may have, or too many are being registered: deregister one, \
                     or read as another ({})",
                    error.text
                );
                let verdict = if passing { Verdict::Transient } else { Verdict::Refused };
                self.again(retry, &ApiError { verdict, text, ..error }).await?;
            }
            Err(error) => self.again(retry, &error).await?,
        }
        Ok(())
    }

    /// Every shard, closed ones too.
    pub async fn list_shards(&self) -> Result<Vec<Shard>, SourceError> {
        let mut retry = self.retry("ListShards");
        let (mut shards, mut token) = (Vec::new(), None::<String>);
        loop {
            match self.calls.list_shards(token.as_deref()).await {
                Ok(page) => {
                    retry.recovered();
                    shards.extend(page.shards);
                    token = page.token;
                    if token.is_none() {
                        return Ok(shards);
                    }
                }
                Err(error) => {
                    if error.has_code("ExpiredNextTokenException") {
                        (shards, token) = (Vec::new(), None);
                    }
                    self.again(&mut retry, &error).await?;
                }
            }
        }
    }
}

/// Puts records, those that are throttled again and again. At most 500 records and 5 MiB.
pub async fn put_records(
    service: &Service,
    mut entries: Vec<PutRecordsRequestEntry>,
    mut retry: Retry,
) -> Result<(), SourceError> {
    while !entries.is_empty() {
        match service.put_records(entries.clone()).await {
            Ok(throttled) if throttled.is_empty() => break,
            Ok(throttled) => {
                let refused = format!("{} records were throttled", throttled.len());
                entries = throttled;
                retry.again(Verdict::Transient, &refused).await?;
            }
            Err(error) => again(&mut retry, &error).await?,
        }
    }
    retry.recovered();
    Ok(())
}

async fn again(retry: &mut Retry, error: &ApiError) -> Result<(), SourceError> {
    Ok(retry.again(error.verdict, &error.text).await?)
}
