//! The calls of the Kinesis API that Firemain makes, and what their errors mean.

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, ShardIteratorType};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

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

/// A call that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiError {
    /// The service's code, such as `ExpiredIteratorException`.
    pub code: Option<String>,
    pub verdict: Verdict,
    pub text: String,
}

impl Api {
    pub fn new(client: Client, stream: &str, clock: &Clock, patience: &Patience) -> Self {
        let arn = stream.starts_with("arn:").then(|| stream.to_owned());
        let name = stream.rsplit('/').next().unwrap_or(stream).to_owned();
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
                Err(error) => self.again(&mut retry, error).await?,
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
                    self.again(&mut retry, error).await?;
                }
            }
        }
    }

    /// An iterator at a position that is not the end. Valid for 5 minutes.
    pub async fn shard_iterator(&self, shard: &ShardId, from: &Position) -> Result<Option<String>, SourceError> {
        let mut retry = self.retry(&format!("GetShardIterator for {shard}"));
        loop {
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
                Ok(output) => {
                    retry.recovered();
                    return Ok(output.shard_iterator);
                }
                Err(error) if error.code() == Some("InvalidArgumentException") => {
                    return Err(SourceError::BadPosition(format!(
                        "stream {} does not know the position `{from}` of {shard} ({}): was it deleted and made anew? \
                         then choose another `group`",
                        self.name,
                        error.message().unwrap_or_default()
                    )));
                }
                Err(error) => self.again(&mut retry, error).await?,
            }
        }
    }

    /// One attempt to get records.
    pub async fn get_records(&self, iterator: &str) -> Result<GetRecordsOutput, ApiError> {
        let call = self.client.get_records().shard_iterator(iterator).set_stream_arn(self.arn.clone());
        call.send().await.map_err(judge)
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
                Err(error) => self.again(&mut retry, error).await?,
            }
        }
        retry.recovered();
        Ok(())
    }

    async fn again<E>(&self, retry: &mut Retry, error: SdkError<E, HttpResponse>) -> Result<(), SourceError>
    where
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let error = judge(error);
        retry.again(error.verdict, &error.text).await.map_err(|gave_up| SourceError::Fatal(gave_up.to_string()))
    }
}

/// What an error lets its caller do, and how to say it.
fn judge<E: ProvideErrorMetadata + std::error::Error + 'static>(error: SdkError<E, HttpResponse>) -> ApiError {
    let code = error.code().map(str::to_owned);
    let status = error.raw_response().map(|response| response.status().as_u16());
    let detail = match error.message() {
        Some(message) => format!("{}: {message}", code.as_deref().unwrap_or("error")),
        None => DisplayErrorContext(&error).to_string().replace('\n', " "),
    };
    let (verdict, hint) = match code.as_deref() {
        Some("ResourceNotFoundException") => (Verdict::Refused, "no such stream: check its name, region and account"),
        Some(code) if code.contains("AccessDenied") => {
            (Verdict::Refused, "access denied: allow the kinesis: and kms: actions that docs/configuration.md names")
        }
        Some(
            "UnrecognizedClientException"
            | "InvalidSignatureException"
            | "ExpiredTokenException"
            | "InvalidClientTokenId"
            | "MissingAuthenticationTokenException"
            | "IncompleteSignatureException",
        ) => (Verdict::Refused, "the credentials are not accepted"),
        Some(
            "ProvisionedThroughputExceededException"
            | "LimitExceededException"
            | "ResourceInUseException"
            | "KMSThrottlingException"
            | "ThrottlingException"
            | "ExpiredIteratorException"
            | "ExpiredNextTokenException"
            | "InternalFailureException",
        ) => (Verdict::Transient, ""),
        _ if matches!(status, Some(400..=499)) && !matches!(status, Some(408 | 429)) => (Verdict::Refused, ""),
        _ if detail.contains("credential") && status.is_none() => (Verdict::Refused, "no credentials"),
        _ => (Verdict::Transient, ""),
    };
    let text = if hint.is_empty() { detail } else { format!("{hint} ({detail})") };
    ApiError { code, verdict, text }
}
