//! Reads one shard by GetRecords.

use std::collections::VecDeque;

use async_trait::async_trait;
use aws_sdk_kinesis::operation::get_records::GetRecordsOutput;
use bytes::Bytes;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use super::api::Api;
use super::pace::{Limits, Pace};
use crate::event::{Record, ShardId};
use crate::position::Position;
use crate::retry::Retry;
use crate::source::{Batch, Hold, ReadAhead, Reader, SourceError};

/// An answer is handed on in parts of about so many bytes, to be decoded side by side.
const BATCH_BYTES: usize = 128 << 10;
/// While it is received an answer is there as the body, as the client's copy of it, and decoded.
const COPIES: usize = 3;
/// "Nothing behind this" is believed only of an answer that no limit can have cut: some servers say it of every one.
const CUT_RECORDS: usize = 5_000;
const CUT_BYTES: usize = 5 << 20;

#[derive(Debug)]
pub struct PollingReader {
    api: Api,
    shard: ShardId,
    /// Behind the last record received.
    position: Position,
    iterator: Option<String>,
    pace: Pace,
    read_ahead: ReadAhead,
    retry: Retry,
    /// Received and not handed out.
    received: VecDeque<Batch>,
    /// That the tip was reached has been said, and nothing came since.
    said_tip: bool,
}

impl PollingReader {
    pub fn new(api: Api, shard: &ShardId, from: &Position, limits: Limits, read_ahead: ReadAhead) -> Self {
        Self {
            retry: api.retry(&format!("GetRecords for {shard}")),
            api,
            shard: shard.clone(),
            position: from.clone(),
            iterator: None,
            pace: Pace::new(limits),
            read_ahead,
            received: VecDeque::new(),
            said_tip: false,
        }
    }

    /// One call, with what goes before it. What it brings is in `received`, if that is anything.
    async fn poll(&mut self) -> Result<(), SourceError> {
        sleep_until(self.pace.next()).await;
        let hold = self.read_ahead.hold(COPIES * self.pace.expected(Instant::now())).await;
        if self.iterator.is_none() {
            self.iterator = self.api.shard_iterator(&self.shard, &self.position).await?;
        }
        let Some(iterator) = &self.iterator else {
            self.received.push_back(Batch { at_end: true, at_tip: true, ..Batch::default() });
            return Ok(());
        };
        let start = Instant::now();
        match self.api.get_records(iterator).await {
            Ok(answer) => {
                self.retry.recovered();
                self.accept(answer, hold, start)
            }
            Err(error) if error.code.as_deref() == Some("ExpiredIteratorException") => {
                debug!(shard = %self.shard, "the iterator has expired: a new one {}", self.position);
                self.iterator = None;
                self.pace.called(start, 0, false);
                Ok(())
            }
            Err(error) => {
                drop(hold);
                let again = self.retry.again(error.verdict, &error.text).await;
                again.map_err(|gave_up| SourceError::Fatal(gave_up.to_string()))
            }
        }
    }

    /// Takes an answer in; no await in here, so that a call is taken in whole or not at all.
    fn accept(&mut self, answer: GetRecordsOutput, mut hold: Hold, start: Instant) -> Result<(), SourceError> {
        let records = answer.records.into_iter().map(|record| self.record(record));
        let records = records.collect::<Result<Vec<Record>, _>>()?;
        let bytes: usize = records.iter().map(|record| record.data.len()).sum();
        self.read_ahead.shrink(&mut hold, bytes);
        if let Some(last) = records.last() {
            self.position = Position::After(last.sequence.clone());
        }
        let behind = answer.millis_behind_latest.and_then(|millis| u64::try_from(millis).ok());
        let whole = records.len() < CUT_RECORDS && bytes < CUT_BYTES;
        let at_end = answer.next_shard_iterator.is_none();
        let at_tip = at_end || (behind == Some(0) && whole);
        self.iterator = answer.next_shard_iterator;
        self.pace.called(start, bytes, at_tip);
        let news = at_end || (at_tip && !self.said_tip);
        if records.is_empty() && !news {
            return Ok(());
        }
        self.said_tip = at_tip;
        self.hand_out(records, hold);
        let last = self.received.back_mut().expect("at least one batch was made");
        (last.millis_behind, last.at_tip, last.at_end) = (behind, at_tip, at_end);
        Ok(())
    }

    /// Cuts the records into batches, each with its part of the hold.
    fn hand_out(&mut self, records: Vec<Record>, mut hold: Hold) {
        let (mut batch, mut bytes) = (Batch::default(), 0);
        for record in records {
            if bytes > 0 && bytes + record.data.len() > BATCH_BYTES {
                batch.hold = self.read_ahead.split(&mut hold, bytes);
                self.received.push_back(std::mem::take(&mut batch));
                bytes = 0;
            }
            bytes += record.data.len();
            batch.records.push(record);
        }
        batch.hold = Some(hold);
        self.received.push_back(batch);
    }

    fn record(&self, record: aws_sdk_kinesis::types::Record) -> Result<Record, SourceError> {
        let sequence = record
            .sequence_number
            .parse()
            .map_err(|error| SourceError::Fatal(format!("stream {}, {}: {error}", self.api.name, self.shard)))?;
        let arrival = record.approximate_arrival_timestamp.and_then(|time| time.to_millis().ok()).unwrap_or(0);
        let data = Bytes::from(record.data.into_inner());
        Ok(Record { data, sequence, partition_key: record.partition_key.map(Into::into), arrival })
    }
}

#[async_trait]
impl Reader for PollingReader {
    async fn next(&mut self) -> Result<Batch, SourceError> {
        loop {
            if let Some(batch) = self.received.pop_front() {
                return Ok(batch);
            }
            self.poll().await?;
        }
    }
}
