//! The calls of the Kinesis API, tried again as long as that can help.

use std::sync::Arc;

use aws_sdk_kinesis::types::PutRecordsRequestEntry;

use super::calls::{Calls, Service};
use super::errors::ApiError;
use crate::clock::Clock;
use crate::retry::{Patience, Retry, Verdict};
use crate::source::{Shard, SourceError};

/// One stream of one account. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Api {
    /// For what is one attempt only.
    pub calls: Arc<dyn Calls>,
    /// The stream's name.
    pub name: Arc<str>,
    clock: Clock,
    patience: Patience,
}

impl Api {
    pub fn new(calls: Arc<dyn Calls>, name: &str, clock: &Clock, patience: &Patience) -> Self {
        Self { calls, name: name.into(), clock: clock.clone(), patience: patience.clone() }
    }

    /// For the attempts at one call.
    pub fn retry(&self, call: &str) -> Retry {
        Retry::new(&self.clock, &self.patience, format!("{call} of stream {}", self.name))
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
                Err(error) => again(&mut retry, &error).await?,
            }
        }
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
                    again(&mut retry, &error).await?;
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
                let again = retry.again(Verdict::Transient, &refused).await;
                again.map_err(|gave_up| SourceError::Fatal(gave_up.to_string()))?;
            }
            Err(error) => again(&mut retry, &error).await?,
        }
    }
    retry.recovered();
    Ok(())
}

async fn again(retry: &mut Retry, error: &ApiError) -> Result<(), SourceError> {
    retry.again(error.verdict, &error.text).await.map_err(|gave_up| SourceError::Fatal(gave_up.to_string()))
}
