//! The calls of the Kinesis API that Firemain makes.

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::Region;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, ShardIteratorType};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::errors::{ApiError, judge};
use crate::aws::Aws;
use crate::clock::Clock;
use crate::event::ShardId;
use crate::position::Position;
use crate::retry::{Patience, Retry, Verdict};
use crate::source::{Shard, SourceError};

/// One stream of one account. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Api {
    client: Client,
    /// The stream's name: always sent, since not every server looks at ARNs.
    pub name: String,
    /// Its ARN, where it was configured by that: it may be another account's.
    arn: Option<String>,
    clock: Clock,
    patience: Patience,
}

/// The region that a stream's ARN names; `None` for a name.
pub fn region_of(stream: &str) -> Option<&str> {
    stream.strip_prefix("arn:")?.split(':').nth(2).filter(|region| !region.is_empty())
}

/// A client for a stream, in the region of its ARN if it is given by that.
pub fn client(aws: &Aws, stream: &str) -> Client {
    let config = aws_sdk_kinesis::config::Builder::from(&aws.sdk);
    let config = match region_of(stream) {
        Some(region) => config.region(Region::new(region.to_owned())),
        None => config,
    };
    Client::from_conf(config.build())
}

impl Api {
    pub fn new(client: Client, stream: &str, clock: &Clock, patience: &Patience) -> Self {
        let arn = stream.starts_with("arn:").then(|| stream.to_owned());
        let name = if arn.is_some() { stream.rsplit('/').next().unwrap_or(stream) } else { stream }.to_owned();
        Self { client, name, arn, clock: clock.clone(), patience: patience.clone() }
    }

    /// For the attempts at one call.
    pub fn retry(&self, call: &str) -> Retry {
        Retry::new(&self.clock, &self.patience, format!("{call} of stream {}", self.name))
    }

    /// The stream's ARN.
    pub async fn describe(&self) -> Result<String, SourceError> {
        let mut retry = self.retry("DescribeStreamSummary");
        loop {
            let call = self.client.describe_stream_summary().stream_name(&self.name).set_stream_arn(self.arn.clone());
            match call.send().await {
                Ok(output) => {
                    retry.recovered();
                    let summary = output.stream_description_summary;
                    return Ok(summary.map(|summary| summary.stream_arn).unwrap_or_else(|| self.name.clone()));
                }
                Err(error) => self.again(&mut retry, "DescribeStreamSummary", error).await?,
            }
        }
    }

    /// Every shard, closed ones too.
    pub async fn list_shards(&self) -> Result<Vec<Shard>, SourceError> {
        let mut retry = self.retry("ListShards");
        let (mut shards, mut token) = (Vec::new(), None::<String>);
        loop {
            let call = match &token {
                // Nothing may stand beside the token.
                Some(token) => self.client.list_shards().next_token(token),
                None => self.client.list_shards().stream_name(&self.name).set_stream_arn(self.arn.clone()),
            };
            match call.send().await {
                Ok(page) => {
                    retry.recovered();
                    shards.extend(page.shards.unwrap_or_default().into_iter().map(|shard| {
                        let parents = [shard.parent_shard_id, shard.adjacent_parent_shard_id];
                        let parents = parents.iter().flatten().map(|id| ShardId::from(id.as_str())).collect();
                        Shard { id: ShardId::from(shard.shard_id.as_str()), parents }
                    }));
                    token = page.next_token.filter(|token| !token.is_empty());
                    if token.is_none() {
                        return Ok(shards);
                    }
                }
                Err(error) => {
                    if error.code() == Some("ExpiredNextTokenException") {
                        (shards, token) = (Vec::new(), None);
                    }
                    self.again(&mut retry, "ListShards", error).await?;
                }
            }
        }
    }

    /// One attempt to get an iterator, valid for 5 minutes. `None` where there is nothing to read: behind the end.
    pub async fn shard_iterator(&self, shard: &ShardId, from: &Position) -> Result<Option<String>, ApiError> {
        let call = self.client.get_shard_iterator().shard_id(shard.as_str()).stream_name(&self.name);
        let call = call.set_stream_arn(self.arn.clone());
        let call = match from {
            Position::TrimHorizon => call.shard_iterator_type(ShardIteratorType::TrimHorizon),
            Position::At(time) => {
                call.shard_iterator_type(ShardIteratorType::AtTimestamp).timestamp(DateTime::from_millis(*time))
            }
            Position::After(sequence) => call
                .shard_iterator_type(ShardIteratorType::AfterSequenceNumber)
                .starting_sequence_number(sequence.as_str()),
            Position::End => return Ok(None),
        };
        match call.send().await {
            Ok(output) => Ok(output.shard_iterator),
            Err(error) => Err(judge("GetShardIterator", &self.region(), error)),
        }
    }

    /// One attempt to get records, at most so many.
    pub async fn get_records(&self, iterator: &str, limit: i32) -> Result<GetRecordsOutput, ApiError> {
        let call = self.client.get_records().shard_iterator(iterator).limit(limit).set_stream_arn(self.arn.clone());
        call.send().await.map_err(|error| judge("GetRecords", &self.region(), error))
    }

    /// Puts records, those that are throttled again and again. At most 500 records and 5 MiB.
    pub async fn put_records(&self, mut entries: Vec<PutRecordsRequestEntry>) -> Result<(), SourceError> {
        let mut retry = self.retry("PutRecords");
        while !entries.is_empty() {
            let call = self.client.put_records().stream_name(&self.name).set_stream_arn(self.arn.clone());
            match call.set_records(Some(entries.clone())).send().await {
                Ok(answer) => {
                    let failed = answer.records.iter().map(|record| record.error_code.is_some());
                    let mut failed = failed.chain(std::iter::repeat(false));
                    entries.retain(|_| failed.next().unwrap_or(false));
                    if !entries.is_empty() {
                        let refused = format!("{} records were throttled", entries.len());
                        let again = retry.again(Verdict::Transient, &refused).await;
                        again.map_err(|gave_up| SourceError::Fatal(gave_up.to_string()))?;
                    }
                }
                Err(error) => self.again(&mut retry, "PutRecords", error).await?,
            }
        }
        retry.recovered();
        Ok(())
    }

    fn region(&self) -> String {
        self.client.config().region().map(ToString::to_string).unwrap_or_default()
    }

    async fn again<E>(
        &self,
        retry: &mut Retry,
        action: &'static str,
        error: SdkError<E, HttpResponse>,
    ) -> Result<(), SourceError>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let error = judge(action, &self.region(), error);
        retry.again(error.verdict, &error.text).await.map_err(|gave_up| SourceError::Fatal(gave_up.to_string()))
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
