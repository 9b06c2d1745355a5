//! Reads one shard by GetRecords.

use std::collections::VecDeque;

use async_trait::async_trait;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::debug;

use super::api::Api;
use super::calls::{Begin, Fetched, RawRecord};
use super::errors::ApiError;
use super::pace::{Limits, Pace};
use crate::event::{Millis, Record, ShardId};
use crate::position::{Position, SequenceNumber};
use crate::retry::{Retry, Verdict};
use crate::source::{Batch, Hold, ReadAhead, Reader, SourceError};

/// An answer is handed on in parts of about so many bytes, to be decoded side by side.
const BATCH_BYTES: usize = 512 << 10;
/// While it is received an answer is there as the body, as the client's copy of it, and decoded.
const COPIES: usize = 3;
/// "Nothing behind this" is believed only of an answer that no limit can have cut: some servers say it of every one.
const CUT_RECORDS: usize = 5_000;
const CUT_BYTES: usize = 5 << 20;
/// Empty answers are told when the lag has changed by so much since it was last told.
const NEWS_MILLIS: u64 = 10_000;

#[derive(Debug)]
pub struct PollingReader {
    api: Api,
    shard: ShardId,
    /// Behind the last record received.
    position: Position,
    iterator: Option<String>,
    /// The record that the iterator was asked for, while nobody knows whether the stream still has it.
    awaited: Option<SequenceNumber>,
    /// As in [`Batch`], for the next one.
    expired: Option<Position>,
    pace: Pace,
    read_ahead: ReadAhead,
    retry: Retry,
    /// Received and not handed out.
    received: VecDeque<Batch>,
    said: Said,
}

/// What was last told about the tip.
#[derive(Debug, Default)]
struct Said {
    at_tip: bool,
    behind: Option<u64>,
}

impl PollingReader {
    pub fn new(api: Api, shard: &ShardId, from: &Position, limits: Limits, read_ahead: ReadAhead) -> Self {
        Self {
            retry: api.retry(&format!("reading {shard}")),
            api,
            shard: shard.clone(),
            position: from.clone(),
            iterator: None,
            awaited: None,
            expired: None,
            pace: Pace::new(limits),
            read_ahead,
            received: VecDeque::new(),
            said: Said::default(),
        }
    }

    /// One call, with what goes before it. What it brings is in `received`, if that is anything.
    async fn poll(&mut self) -> Result<(), SourceError> {
        sleep_until(self.pace.next()).await;
        let hold = self.read_ahead.hold(COPIES * self.pace.expected(Instant::now())).await;
        let (start, asked) = (Instant::now(), self.pace.records());
        match self.fetch(asked).await {
            Ok(Some(answer)) => {
                self.retry.recovered();
                self.accept(answer, hold, start, asked)
            }
            Ok(None) => {
                self.end();
                Ok(())
            }
            Err(error) => {
                // Nothing is held through the pause: other shards may be readable.
                drop(hold);
                self.failed(error).await
            }
        }
    }

    /// Gets records, with a new iterator where there is none. `None` behind the end of the shard.
    async fn fetch(&mut self, limit: usize) -> Result<Option<Fetched>, ApiError> {
        if let Some(iterator) = &self.iterator {
            match self.api.calls.get_records(iterator, limit).await {
                Ok(answer) => return Ok(Some(answer)),
                Err(error) if error.has_code("ExpiredIteratorException") => {
                    debug!(shard = %self.shard, "the iterator has expired: a new one {}", self.position);
                    self.iterator = None;
                    // The failed call counts too.
                    sleep(self.pace.between_calls()).await;
                }
                Err(error) => return Err(error),
            }
        }
        let begin = match &self.position {
            Position::TrimHorizon => Begin::TrimHorizon,
            Position::At(time) => Begin::Time(*time),
            // At the last record, not behind it: whether that is still there tells whether any were lost behind it.
            Position::After(sequence) => Begin::Record(sequence.clone()),
            Position::End => return Ok(None),
        };
        self.iterator = self.api.calls.shard_iterator(&self.shard, &begin).await?;
        self.awaited = if let Begin::Record(sequence) = begin { Some(sequence) } else { None };
        match &self.iterator {
            Some(iterator) => self.api.calls.get_records(iterator, limit).await.map(Some),
            None => Ok(None),
        }
    }

    /// Waits until it is time to try again, unless that is hopeless.
    async fn failed(&mut self, error: ApiError) -> Result<(), SourceError> {
        if error.action == "GetShardIterator" && error.has_code("ResourceNotFoundException") && self.is_gone().await? {
            // Its end would have been told before: not all of it was read.
            self.expired = Some(self.position.clone());
            self.end();
            return Ok(());
        }
        let (mut verdict, mut text) = (error.verdict, error.text.clone());
        if error.has_code("ExpiredIteratorException") || verdict == Verdict::Refused {
            // It may be the iterator that is refused: keys that iterators are sealed with change.
            self.iterator = None;
        }
        if error.action == "GetShardIterator" && error.has_code("InvalidArgumentException") {
            match &self.position {
                Position::At(_) if error.message.is_some_and(|message| message.contains("imestamp")) => {
                    verdict = Verdict::Transient;
                    text = format!(
                        "the service takes the time to start at for one to come: is this clock right? ({text})"
                    );
                }
                Position::After(_) => {
                    text = format!(
                        "stream {} does not know the position `{}` of {} ({text}): was it deleted and made anew? then \
                         choose another `group`",
                        self.api.name, self.position, self.shard
                    );
                }
                _ => {}
            }
        }
        self.retry.again(verdict, &text).await.map_err(|gave_up| SourceError::Fatal(gave_up.to_string()))
    }

    /// Whether the stream has no such shard any more: it was closed, and retention has removed it.
    async fn is_gone(&self) -> Result<bool, SourceError> {
        Ok(self.api.list_shards().await?.iter().all(|shard| shard.id != self.shard))
    }

    fn end(&mut self) {
        let expired = self.expired.take();
        self.received.push_back(Batch { at_end: true, at_tip: true, expired, ..Batch::default() });
    }

    /// Takes an answer in; no await in here, so that a call is taken in whole or not at all.
    fn accept(&mut self, answer: Fetched, mut hold: Hold, start: Instant, asked: usize) -> Result<(), SourceError> {
        let (received, since) = (answer.records.len(), self.start());
        let records = answer.records.into_iter().map(|record| self.record(record));
        let mut records = records.collect::<Result<Vec<Record>, _>>()?;
        let bytes: usize = records.iter().map(|record| record.data.len()).sum();
        if let (Some(awaited), Some(first)) = (&self.awaited, records.first()) {
            self.expired = (first.sequence > *awaited).then(|| self.position.clone());
            self.awaited = None;
        }
        // The record that reading begins at was read before. And some servers begin with the oldest record when there is
        // none at this time or later.
        let known = |record: &Record| match &self.position {
            Position::After(last) => record.sequence <= *last,
            _ => since.is_some_and(|since| record.arrival < since),
        };
        let known = records.iter().take_while(|record| known(record)).count();
        records.drain(..known);
        if let Some(last) = records.last() {
            self.position = Position::After(last.sequence.clone());
        }
        self.read_ahead.shrink(&mut hold, records.iter().map(|record| record.data.len()).sum());

        let behind = answer.millis_behind;
        let whole = received < asked.min(CUT_RECORDS) && bytes < CUT_BYTES;
        let at_end = answer.iterator.is_none();
        let at_tip = at_end || (behind == Some(0) && whole);
        self.iterator = answer.iterator;
        self.pace.called(start, received, bytes, at_tip);
        if !records.is_empty() || at_end || self.said.is_news(at_tip, behind) {
            self.said = Said { at_tip, behind };
            self.hand_out(records, hold);
            let last = self.received.back_mut().expect("at least one batch was made");
            (last.millis_behind, last.at_tip, last.at_end) = (behind, at_tip, at_end);
        }
        Ok(())
    }

    /// The time to start at, while no record that old has come.
    fn start(&self) -> Option<Millis> {
        match self.position {
            Position::At(time) => Some(time),
            _ => None,
        }
    }

    /// Cuts the records into batches, each with its part of the hold.
    fn hand_out(&mut self, records: Vec<Record>, mut hold: Hold) {
        let (mut batch, mut bytes) = (Batch { expired: self.expired.take(), ..Batch::default() }, 0);
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

    fn record(&self, record: RawRecord) -> Result<Record, SourceError> {
        let RawRecord { data, sequence, partition_key, arrival } = record;
        let sequence = sequence
            .parse()
            .map_err(|error| SourceError::Fatal(format!("stream {}, {}: {error}", self.api.name, self.shard)))?;
        let (partition_key, arrival) = (partition_key.map(Into::into), arrival.unwrap_or(0));
        Ok(Record { data, sequence, partition_key, arrival, flaw: None })
    }
}

impl Said {
    /// Whether an answer without records is worth a batch: caught up, or another lag than was told.
    fn is_news(&self, at_tip: bool, behind: Option<u64>) -> bool {
        let moved = behind.unwrap_or(0).abs_diff(self.behind.unwrap_or(0));
        (at_tip && !self.at_tip) || moved >= NEWS_MILLIS
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
