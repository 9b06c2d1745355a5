//! A Kinesis data stream, polled or subscribed to: one reader a shard.
//!
//! Each reader keeps the service's limits for its shard by itself, so that nothing is shared between them but the
//! bound of [`ReadAhead`]. Absent on purpose: which worker reads which shard, and that parents are read before their
//! children; the state decides both.

pub mod api;
pub mod calls;
mod cursor;
pub mod errors;
mod fan_out;
mod pace;
mod polling;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use self::api::Api;
use self::calls::{Calls, Service};
use self::fan_out::FanOutReader;
pub use self::pace::Limits;
use self::polling::PollingReader;
use super::{ReadAhead, Reader, Shard, Source, SourceError};
use crate::aws::Aws;
use crate::clock::Clock;
use crate::config::{Consumer, KinesisConfig, Mode, Start};
use crate::event::ShardId;
use crate::position::Position;
use crate::retry::Patience;
use crate::telemetry::Telemetry;

/// What a look at a shard of another worker is expected to bring, in bytes.
const PEEK_BYTES: usize = 1 << 20;

/// One stream. Its readers share what it was made with, and no state.
#[derive(Clone, Debug)]
pub struct KinesisSource {
    api: Api,
    arn: String,
    start: Position,
    /// The ARN of the consumer to subscribe as; `None`: shards are polled.
    consumer: Option<Arc<str>>,
    limits: Limits,
    read_ahead: ReadAhead,
}

impl KinesisSource {
    /// Looks the stream up, and the consumer to read it as, which fails when one of them is not there or may not be used.
    /// `idle`: the pause between two polls of a shard that has nothing new.
    pub async fn connect(
        config: &KinesisConfig,
        aws: &Aws,
        clock: &Clock,
        patience: &Patience,
        telemetry: &Telemetry,
        read_ahead: ReadAhead,
        idle: Duration,
    ) -> Result<Self, SourceError> {
        let service = Service::new(aws, &config.stream);
        let name = service.name.clone();
        let limits = Limits { idle, ..Limits::default() };
        let source = Self::over(Arc::new(service), &name, config.start, clock, patience, telemetry, read_ahead).await?;
        let source = source.with_limits(limits);
        match &config.mode {
            Mode::Polling => Ok(source),
            Mode::FanOut(consumer) => source.fan_out(consumer).await,
        }
    }

    /// The same, by whatever answers the calls.
    pub async fn over(
        calls: Arc<dyn Calls>,
        name: &str,
        start: Start,
        clock: &Clock,
        patience: &Patience,
        telemetry: &Telemetry,
        read_ahead: ReadAhead,
    ) -> Result<Self, SourceError> {
        let api = Api::new(calls, name, clock, patience, telemetry);
        let arn = api.describe().await?;
        let start = match start {
            Start::TrimHorizon => Position::TrimHorizon,
            // A moment that the state can hold: with "the tip" itself in the state, what arrives before the first
            // commit would be skipped when the worker starts again. A whole second, since some servers stamp records
            // with the second that they arrive in: with a part of it, the rest of this second would be skipped there.
            Start::Latest => Position::At(clock.now() / 1000 * 1000),
            Start::At(time) => Position::At(time),
        };
        Ok(Self { api, arn, start, consumer: None, limits: Limits::default(), read_ahead })
    }

    /// The same stream, read by enhanced fan-out: once the consumer is active, which one that is registered here takes
    /// some seconds to be.
    pub async fn fan_out(self, consumer: &Consumer) -> Result<Self, SourceError> {
        if let Consumer::Arn(consumer) = consumer
            && !consumer.strip_prefix(&self.arn).is_some_and(|rest| rest.starts_with("/consumer/"))
        {
            return Err(SourceError::Fatal(format!(
                "{consumer} is no consumer of stream {}: correct `source.kinesis.consumer_arn`, or the region and the \
                 account",
                self.arn
            )));
        }
        let consumer = self.api.consumer(&self.arn, consumer).await?;
        Ok(Self { consumer: Some(consumer.into()), ..self })
    }

    /// Other limits than those of the service: for servers that have others.
    pub fn with_limits(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }
}

#[async_trait]
impl Source for KinesisSource {
    fn id(&self) -> &str {
        &self.arn
    }

    fn stream(&self) -> Option<&str> {
        Some(&self.api.name)
    }

    async fn shards(&self) -> Result<Vec<Shard>, SourceError> {
        self.api.list_shards().await
    }

    fn start(&self) -> Position {
        self.start.clone()
    }

    fn ends(&self) -> bool {
        false
    }

    async fn open(&self, shard: &ShardId, from: &Position) -> Result<Box<dyn Reader>, SourceError> {
        let (api, read_ahead) = (self.api.clone(), self.read_ahead.clone());
        Ok(match &self.consumer {
            None => Box::new(PollingReader::new(api, shard, from, self.limits, read_ahead)),
            Some(consumer) => {
                Box::new(FanOutReader::new(api, Arc::clone(consumer), shard, from, self.limits, read_ahead))
            }
        })
    }

    /// By polling: the consumer's subscription to the shard is its owner's. What is refused is so at once.
    async fn peek(&self, shard: &ShardId, from: &Position) -> Result<Box<dyn Reader>, SourceError> {
        // The record before the position may come, and one behind it is all that there is to see: many looks at once are
        // not to take the room of what is read for delivery.
        let limits = Limits { call_records: 2, call_bytes: PEEK_BYTES, ..self.limits };
        let (api, read_ahead) = (self.api.impatient(), self.read_ahead.clone());
        Ok(Box::new(PollingReader::new(api, shard, from, limits, read_ahead)))
    }
}
