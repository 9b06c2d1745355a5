//! The calls of the Kinesis API that are made, one attempt each: the seam where a test puts another stream.
//!
//! SubscribeToShard wants HTTP/2. Over TLS the protocol is agreed on by ALPN: the SDK's default HTTPS client, which the
//! features in `Cargo.toml` choose (aws-smithy-http-client with rustls and hyper 1), offers `h2` before `http/1.1`. Over
//! plain http it speaks HTTP/1.1, which stand-ins take.

use std::fmt;

use async_trait::async_trait;
use aws_config::retry::RetryConfig;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::{Intercept, Region};
use aws_sdk_kinesis::operation::subscribe_to_shard::SubscribeToShardOutput;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{
    PutRecordsRequestEntry, ShardIteratorType, StartingPosition, StreamDescriptionSummary, SubscribeToShardEvent,
    SubscribeToShardEventStream,
};
use bytes::Bytes;

use super::errors::{ApiError, judge, judge_event};
use crate::aws::Aws;
use crate::config::Consumer;
use crate::event::{Millis, ShardId};
use crate::position::SequenceNumber;
use crate::source::Shard;

/// What is read by. Each makes one attempt; who calls tries again.
#[async_trait]
pub trait Calls: fmt::Debug + Send + Sync + 'static {
    /// The stream's ARN.
    async fn describe(&self) -> Result<String, ApiError>;

    /// A page of shards, closed ones too: the first, or the one behind a token.
    async fn list_shards(&self, token: Option<&str>) -> Result<ShardPage, ApiError>;

    /// An iterator, valid for 5 minutes. `None` where there is nothing to read: behind the end.
    async fn shard_iterator(&self, shard: &ShardId, begin: &Begin) -> Result<Option<String>, ApiError>;

    /// Records, at most so many.
    async fn get_records(&self, iterator: &str, limit: usize) -> Result<Fetched, ApiError>;

    /// Events of a shard, pushed to a consumer from here on, for up to 5 minutes.
    async fn subscribe(
        &self,
        consumer_arn: &str,
        shard: &ShardId,
        begin: &Begin,
    ) -> Result<Box<dyn Subscription>, ApiError>;

    /// Makes a consumer, which is not at once to be used.
    async fn register_consumer(&self, stream_arn: &str, name: &str) -> Result<(), ApiError>;

    async fn describe_consumer(&self, stream_arn: &str, consumer: &Consumer) -> Result<ConsumerState, ApiError>;
}

/// A shard's events as they come. Dropping it ends it.
#[async_trait]
pub trait Subscription: fmt::Debug + Send {
    /// The next event; `None` when the service has ended the subscription. Nothing comes after that, or after an error.
    /// Cancel-safe.
    async fn next(&mut self) -> Result<Option<Event>, ApiError>;
}

/// An event of a subscription.
#[derive(Clone, Debug, Default)]
pub struct Event {
    pub records: Vec<RawRecord>,
    /// Where the next subscription is to begin, which may be ahead of the last record. `None` at the end of the shard.
    pub continuation: Option<String>,
    pub millis_behind: Option<u64>,
    /// The shards that come after this one, told at its end.
    pub children: Vec<ShardId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerState {
    pub arn: String,
    /// `CREATING`, `ACTIVE` or `DELETING`.
    pub status: String,
}

/// Where an iterator or a subscription starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begin {
    /// At the oldest record.
    TrimHorizon,
    /// At the first record that arrived then or later.
    Time(Millis),
    /// At this record, or at the oldest if it is trimmed.
    Record(SequenceNumber),
}

#[derive(Clone, Debug, Default)]
pub struct ShardPage {
    pub shards: Vec<Shard>,
    /// For the next page.
    pub token: Option<String>,
}

/// An answer of GetRecords.
#[derive(Clone, Debug, Default)]
pub struct Fetched {
    pub records: Vec<RawRecord>,
    /// `None` behind the end of a closed shard.
    pub iterator: Option<String>,
    pub millis_behind: Option<u64>,
}

#[derive(Clone, Debug)]
pub struct RawRecord {
    pub data: Bytes,
    /// As the service says it, not looked at.
    pub sequence: String,
    pub partition_key: Option<String>,
    pub arrival: Option<Millis>,
}

/// The service, by its SDK.
#[derive(Clone, Debug)]
pub struct Service {
    client: Client,
    /// The stream's name: always sent, since not every server looks at ARNs.
    pub name: String,
    /// Its ARN, where it was configured by that: it may be another account's.
    arn: Option<String>,
}

/// The region that a stream's ARN names; `None` for a name.
pub fn region_of(stream: &str) -> Option<&str> {
    stream.strip_prefix("arn:")?.split(':').nth(2).filter(|region| !region.is_empty())
}

impl Service {
    /// For a stream, by name or ARN; in the region of its ARN if it is given by that.
    pub fn new(aws: &Aws, stream: &str) -> Self {
        let config = aws_sdk_kinesis::config::Builder::from(&aws.sdk);
        let config = match region_of(stream) {
            Some(region) => config.region(Region::new(region.to_owned())),
            None => config,
        };
        let arn = stream.starts_with("arn:").then(|| stream.to_owned());
        let name = if arn.is_some() { stream.rsplit('/').next().unwrap_or(stream) } else { stream }.to_owned();
        Self { client: Client::from_conf(config.build()), name, arn }
    }

    /// The same for a look: what passes by itself is tried again at once, and answers are shown to somebody.
    pub fn watched(self, by: impl Intercept + 'static) -> Self {
        let config = self.client.config().to_builder().retry_config(RetryConfig::standard()).interceptor(by);
        Self { client: Client::from_conf(config.build()), ..self }
    }

    /// All that the service tells of the stream; `None` where it answers without.
    pub async fn summary(&self) -> Result<Option<StreamDescriptionSummary>, ApiError> {
        let call = self.client.describe_stream_summary().stream_name(&self.name).set_stream_arn(self.arn.clone());
        let answer = call.send().await.map_err(|error| judge("DescribeStreamSummary", &self.region(), error))?;
        Ok(answer.stream_description_summary)
    }

    /// Puts records; those that were throttled come back. At most 500 records and 5 MiB.
    pub async fn put_records(
        &self,
        mut entries: Vec<PutRecordsRequestEntry>,
    ) -> Result<Vec<PutRecordsRequestEntry>, ApiError> {
        let call = self.client.put_records().stream_name(&self.name).set_stream_arn(self.arn.clone());
        let answer = call.set_records(Some(entries.clone())).send().await;
        let answer = answer.map_err(|error| judge("PutRecords", &self.region(), error))?;
        let failed = answer.records.iter().map(|record| record.error_code.is_some());
        let mut failed = failed.chain(std::iter::repeat(false));
        entries.retain(|_| failed.next().unwrap_or(false));
        Ok(entries)
    }

    /// A client for one subscription, and so with a connection of its own: what one shard has not taken yet must not
    /// hold up what comes for another over the same connection.
    ///
    /// No timeout of the client ends a subscription while its events come: that of an attempt ([`crate::aws`]) ends with
    /// the head of the answer, and the SDK protects no stream of events against stalling. [`super::Limits::silence`] is
    /// in their place.
    fn subscriber(&self) -> Client {
        Client::from_conf(self.client.config().to_builder().build())
    }

    pub fn region(&self) -> String {
        self.client.config().region().map(ToString::to_string).unwrap_or_default()
    }
}

/// A subscription by the SDK.
#[derive(Debug)]
struct Pushed {
    output: SubscribeToShardOutput,
    region: String,
}

#[async_trait]
impl Subscription for Pushed {
    async fn next(&mut self) -> Result<Option<Event>, ApiError> {
        loop {
            match self.output.event_stream.recv().await {
                Ok(Some(SubscribeToShardEventStream::SubscribeToShardEvent(event))) => return Ok(Some(pushed(event))),
                // Of a kind that this SDK does not know.
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                Err(error) => return Err(judge_event("SubscribeToShard", &self.region, error)),
            }
        }
    }
}

fn pushed(event: SubscribeToShardEvent) -> Event {
    let children = event.child_shards.unwrap_or_default();
    Event {
        records: event.records.into_iter().map(raw).collect(),
        continuation: Some(event.continuation_sequence_number).filter(|sequence| !sequence.is_empty()),
        millis_behind: u64::try_from(event.millis_behind_latest).ok(),
        children: children.iter().map(|child| ShardId::from(child.shard_id.as_str())).collect(),
    }
}

fn starting_position(begin: &Begin) -> StartingPosition {
    let builder = StartingPosition::builder();
    let builder = match begin {
        Begin::TrimHorizon => builder.r#type(ShardIteratorType::TrimHorizon),
        Begin::Time(time) => builder.r#type(ShardIteratorType::AtTimestamp).timestamp(DateTime::from_millis(*time)),
        Begin::Record(sequence) => {
            builder.r#type(ShardIteratorType::AtSequenceNumber).sequence_number(sequence.as_str())
        }
    };
    builder.build().expect("the type is set")
}

#[async_trait]
impl Calls for Service {
    async fn describe(&self) -> Result<String, ApiError> {
        Ok(self.summary().await?.map(|summary| summary.stream_arn).unwrap_or_else(|| self.name.clone()))
    }

    async fn list_shards(&self, token: Option<&str>) -> Result<ShardPage, ApiError> {
        let call = match token {
            // Nothing may stand beside the token.
            Some(token) => self.client.list_shards().next_token(token),
            None => self.client.list_shards().stream_name(&self.name).set_stream_arn(self.arn.clone()),
        };
        let page = call.send().await.map_err(|error| judge("ListShards", &self.region(), error))?;
        let shards = page.shards.unwrap_or_default().into_iter().map(|shard| {
            let parents = [shard.parent_shard_id, shard.adjacent_parent_shard_id];
            let parents = parents.iter().flatten().map(|id| ShardId::from(id.as_str())).collect();
            Shard { id: ShardId::from(shard.shard_id.as_str()), parents }
        });
        Ok(ShardPage { shards: shards.collect(), token: page.next_token.filter(|token| !token.is_empty()) })
    }

    async fn shard_iterator(&self, shard: &ShardId, begin: &Begin) -> Result<Option<String>, ApiError> {
        let call = self.client.get_shard_iterator().shard_id(shard.as_str()).stream_name(&self.name);
        let call = call.set_stream_arn(self.arn.clone());
        let call = match begin {
            Begin::TrimHorizon => call.shard_iterator_type(ShardIteratorType::TrimHorizon),
            Begin::Time(time) => {
                call.shard_iterator_type(ShardIteratorType::AtTimestamp).timestamp(DateTime::from_millis(*time))
            }
            Begin::Record(sequence) => call
                .shard_iterator_type(ShardIteratorType::AtSequenceNumber)
                .starting_sequence_number(sequence.as_str()),
        };
        match call.send().await {
            Ok(output) => Ok(output.shard_iterator),
            Err(error) => Err(judge("GetShardIterator", &self.region(), error)),
        }
    }

    async fn get_records(&self, iterator: &str, limit: usize) -> Result<Fetched, ApiError> {
        let limit = i32::try_from(limit).unwrap_or(i32::MAX);
        let call = self.client.get_records().shard_iterator(iterator).limit(limit).set_stream_arn(self.arn.clone());
        let answer = call.send().await.map_err(|error| judge("GetRecords", &self.region(), error))?;
        Ok(Fetched {
            records: answer.records.into_iter().map(raw).collect(),
            iterator: answer.next_shard_iterator,
            millis_behind: answer.millis_behind_latest.and_then(|millis| u64::try_from(millis).ok()),
        })
    }

    async fn subscribe(
        &self,
        consumer_arn: &str,
        shard: &ShardId,
        begin: &Begin,
    ) -> Result<Box<dyn Subscription>, ApiError> {
        let call = self.subscriber().subscribe_to_shard().consumer_arn(consumer_arn).shard_id(shard.as_str());
        let answer = call.starting_position(starting_position(begin)).send().await;
        let output = answer.map_err(|error| judge("SubscribeToShard", &self.region(), error))?;
        Ok(Box::new(Pushed { output, region: self.region() }))
    }

    async fn register_consumer(&self, stream_arn: &str, name: &str) -> Result<(), ApiError> {
        let call = self.client.register_stream_consumer().stream_arn(stream_arn).consumer_name(name);
        call.send().await.map_err(|error| judge("RegisterStreamConsumer", &self.region(), error))?;
        Ok(())
    }

    async fn describe_consumer(&self, stream_arn: &str, consumer: &Consumer) -> Result<ConsumerState, ApiError> {
        let call = self.client.describe_stream_consumer();
        let call = match consumer {
            Consumer::Arn(arn) => call.consumer_arn(arn),
            Consumer::Name(name) => call.stream_arn(stream_arn).consumer_name(name),
        };
        let answer = call.send().await.map_err(|error| judge("DescribeStreamConsumer", &self.region(), error))?;
        let found = answer.consumer_description;
        let found = found.ok_or_else(|| ApiError::passing("DescribeStreamConsumer", "the answer is empty"))?;
        Ok(ConsumerState { arn: found.consumer_arn, status: found.consumer_status.to_string() })
    }
}

fn raw(record: aws_sdk_kinesis::types::Record) -> RawRecord {
    RawRecord {
        data: record.data.into_inner().into(),
        sequence: record.sequence_number,
        partition_key: record.partition_key,
        arrival: record.approximate_arrival_timestamp.and_then(|time| time.to_millis().ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_names_the_region_and_a_name_does_not() {
        assert_eq!(region_of("arn:aws:kinesis:eu-west-1:123456789012:stream/app-logs"), Some("eu-west-1"));
        assert_eq!(region_of("arn:aws-cn:kinesis:cn-north-1:123456789012:stream/app-logs"), Some("cn-north-1"));
        assert_eq!(region_of("app-logs"), None);
    }
}
