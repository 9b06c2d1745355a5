//! Reads one shard by GetRecords.

use async_trait::async_trait;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::debug;

use super::api::Api;
use super::calls::Fetched;
use super::cursor::{Answer, Cursor};
use super::errors::ApiError;
use super::pace::{Limits, Pace};
use crate::event::ShardId;
use crate::position::Position;
use crate::retry::{Retry, Verdict};
use crate::source::{Batch, Hold, ReadAhead, Reader, SourceError};

/// While it is received an answer is there as the body, as the client's copy of it, and decoded.
pub const COPIES: usize = 3;

#[derive(Debug)]
pub struct PollingReader {
    cursor: Cursor,
    iterator: Option<String>,
    pace: Pace,
    retry: Retry,
}

impl PollingReader {
    pub fn new(api: Api, shard: &ShardId, from: &Position, limits: Limits, read_ahead: ReadAhead) -> Self {
        Self {
            retry: api.retry(&format!("reading {shard}")),
            cursor: Cursor::new(api, shard, from, read_ahead),
            iterator: None,
            pace: Pace::new(limits),
        }
    }

    /// One call, with what goes before it. The cursor has what it brings, if that is anything.
    async fn poll(&mut self) -> Result<(), SourceError> {
        sleep_until(self.pace.next()).await;
        let hold = self.cursor.read_ahead.hold(COPIES * self.pace.expected(Instant::now())).await;
        let (start, asked) = (Instant::now(), self.pace.records());
        match self.fetch(asked).await {
            Ok(Some(answer)) => {
                self.retry.recovered();
                self.accept(answer, hold, start, asked)
            }
            Ok(None) => {
                self.cursor.end();
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
        let calls = self.cursor.api.calls.clone();
        if let Some(iterator) = &self.iterator {
            match calls.get_records(iterator, limit).await {
                Ok(answer) => return Ok(Some(answer)),
                Err(error) if error.has_code("ExpiredIteratorException") => {
                    debug!(shard = %self.cursor.shard, "the iterator has expired: a new one {}", self.cursor.position());
                    self.iterator = None;
                    // The failed call counts too.
                    sleep(self.pace.between_calls()).await;
                }
                Err(error) => return Err(error),
            }
        }
        let Some(begin) = self.cursor.begin() else { return Ok(None) };
        self.iterator = calls.shard_iterator(&self.cursor.shard, &begin).await?;
        self.cursor.begun(begin);
        match &self.iterator {
            Some(iterator) => calls.get_records(iterator, limit).await.map(Some),
            None => Ok(None),
        }
    }

    /// Waits until it is time to try again, unless that is hopeless.
    async fn failed(&mut self, error: ApiError) -> Result<(), SourceError> {
        if self.cursor.is_gone(&error).await? {
            return Ok(());
        }
        self.cursor.count(&error);
        let (verdict, text) = self.cursor.explain(&error);
        if error.has_code("ExpiredIteratorException") || error.verdict == Verdict::Refused {
            // It may be the iterator that is refused: keys that iterators are sealed with change.
            self.iterator = None;
        }
        Ok(self.retry.again(verdict, &text).await?)
    }

    /// Takes an answer in; no await in here, so that a call is taken in whole or not at all.
    fn accept(&mut self, answer: Fetched, hold: Hold, start: Instant, asked: usize) -> Result<(), SourceError> {
        let Fetched { records, iterator, millis_behind } = answer;
        let cut = records.len() >= asked;
        let at_end = iterator.is_none();
        let accepted = self.cursor.accept(Answer { records, millis_behind, cut, at_end }, hold)?;
        self.iterator = iterator;
        self.pace.called(start, accepted.records, accepted.bytes, accepted.at_tip);
        Ok(())
    }
}

#[async_trait]
impl Reader for PollingReader {
    async fn next(&mut self) -> Result<Batch, SourceError> {
        loop {
            if let Some(batch) = self.cursor.pop() {
                return Ok(batch);
            }
            self.poll().await?;
        }
    }
}
