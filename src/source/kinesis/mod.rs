//! A Kinesis data stream, polled: one reader a shard.
//!
//! Each reader keeps the service's limits for its shard by itself, so that nothing is shared between them but the
//! bound of [`ReadAhead`]. Absent on purpose: which worker reads which shard, and that parents are read before their
//! children; the state decides both.

pub mod api;
pub mod calls;
mod cursor;
pub mod errors;
mod pace;
mod polling;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use self::api::Api;
use self::calls::{Calls, Service};
pub use self::pace::Limits;
use self::polling::PollingReader;
use super::{ReadAhead, Reader, Shard, Source, SourceError};
use crate::aws::Aws;
use crate::clock::Clock;
use crate::config::{KinesisConfig, Start};
use crate::event::ShardId;
use crate::position::Position;
use crate::retry::Patience;

/// One stream. Its readers share what it was made with, and no state.
#[derive(Clone, Debug)]
pub struct KinesisSource {
    api: Api,
    arn: String,
    start: Position,
    limits: Limits,
    read_ahead: ReadAhead,
}

impl KinesisSource {
    /// Looks the stream up, which fails when it is not there or may not be read. `idle`: the pause between two reads of a shard that has nothing new.
    pub async fn connect(
        config: &KinesisConfig,
        aws: &Aws,
        clock: &Clock,
        patience: &Patience,
        read_ahead: ReadAhead,
        idle: Duration,
    ) -> Result<Self, SourceError> {
        let service = Service::new(aws, &config.stream);
        let name = service.name.clone();
        let limits = Limits { idle, ..Limits::default() };
        Self::over(Arc::new(service), &name, config.start, clock, patience, read_ahead)
            .await
            .map(|source| source.with_limits(limits))
    }

    /// The same, by whatever answers the calls.
    pub async fn over(
        calls: Arc<dyn Calls>,
        name: &str,
        start: Start,
        clock: &Clock,
        patience: &Patience,
        read_ahead: ReadAhead,
    ) -> Result<Self, SourceError> {
        let api = Api::new(calls, name, clock, patience);
        let arn = api.describe().await?;
        let start = match start {
            Start::TrimHorizon => Position::TrimHorizon,
            // A moment that the state can hold: with "the tip" itself in the state, what arrives before the first
            // commit would be skipped when the worker starts again. A whole second, since some servers stamp records
            // with the second that they arrive in: with a part of it, the rest of this second would be skipped there.
            Start::Latest => Position::At(clock.now() / 1000 * 1000),
            Start::At(time) => Position::At(time),
        };
        Ok(Self { api, arn, start, limits: Limits::default(), read_ahead })
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
        let reader = PollingReader::new(self.api.clone(), shard, from, self.limits, self.read_ahead.clone());
        Ok(Box::new(reader))
    }
}
