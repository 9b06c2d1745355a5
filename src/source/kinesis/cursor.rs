//! Where reading of a shard stands: turns what the service hands out into batches, whichever way it was fetched.
//!
//! Invariant: every record behind the position is handed out once and in order, and the position moves with records
//! only. What the stream has trimmed is told as [`Batch::expired`]. Absent on purpose: calls that fetch records.

use std::collections::VecDeque;

use super::api::Api;
use super::calls::{Begin, RawRecord};
use super::errors::ApiError;
use crate::event::{Millis, Record, ShardId};
use crate::position::{Position, SequenceNumber};
use crate::retry::Verdict;
use crate::source::{Batch, Hold, ReadAhead, SourceError};

/// An answer is handed on in parts of about so many bytes, to be decoded side by side.
const BATCH_BYTES: usize = 512 << 10;
/// "Nothing behind this" is believed only of an answer that no limit can have cut: some servers say it of every one.
const CUT_RECORDS: usize = 5_000;
const CUT_BYTES: usize = 5 << 20;
/// Empty answers are told when the lag has changed by so much since it was last told.
const NEWS_MILLIS: u64 = 10_000;
/// The calls that say where reading begins.
const BEGINNING: [&str; 2] = ["GetShardIterator", "SubscribeToShard"];

#[derive(Debug)]
pub struct Cursor {
    pub api: Api,
    pub shard: ShardId,
    pub read_ahead: ReadAhead,
    /// Behind the last record received.
    position: Position,
    /// The record that reading began at, while nobody knows whether the stream still has it.
    awaited: Option<SequenceNumber>,
    /// As in [`Batch`], for the next one.
    expired: Option<Position>,
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

/// What the service hands out at once.
#[derive(Debug)]
pub struct Answer {
    pub records: Vec<RawRecord>,
    pub millis_behind: Option<u64>,
    /// As many records as were asked for: more may be there.
    pub cut: bool,
    /// The shard is closed, and nothing comes behind these.
    pub at_end: bool,
}

/// What an answer was.
#[derive(Debug)]
pub struct Accepted {
    /// Records and their bytes, those that were known already too.
    pub records: usize,
    pub bytes: usize,
    pub at_tip: bool,
}

impl Cursor {
    pub fn new(api: Api, shard: &ShardId, from: &Position, read_ahead: ReadAhead) -> Self {
        Self {
            api,
            shard: shard.clone(),
            read_ahead,
            position: from.clone(),
            awaited: None,
            expired: None,
            received: VecDeque::new(),
            said: Said::default(),
        }
    }

    pub fn position(&self) -> &Position {
        &self.position
    }

    /// Where to begin, by the position; `None` behind the end of the shard.
    pub fn begin(&self) -> Option<Begin> {
        match &self.position {
            Position::TrimHorizon => Some(Begin::TrimHorizon),
            Position::At(time) => Some(Begin::Time(*time)),
            // At the last record, not behind it: whether that is still there tells whether any were lost behind it.
            Position::After(sequence) => Some(Begin::Record(sequence.clone())),
            Position::Set(_) => unreachable!("the shard of a stream is read in order"),
            Position::End => None,
        }
    }

    /// What is accepted next was asked for by the position, from here.
    pub fn begun(&mut self, begin: Begin) {
        self.awaited = if let Begin::Record(sequence) = begin { Some(sequence) } else { None };
    }

    /// The next batch of what was received.
    pub fn pop(&mut self) -> Option<Batch> {
        self.received.pop_front()
    }

    /// There is nothing (more) in this shard.
    pub fn end(&mut self) {
        let expired = self.expired.take();
        self.received.push_back(Batch { at_end: true, at_tip: true, expired, ..Batch::default() });
    }

    /// Takes an answer in, and what of the hold its records need; no await in here, so that it is taken in whole or not
    /// at all.
    pub fn accept(&mut self, answer: Answer, mut hold: Hold) -> Result<Accepted, SourceError> {
        self.api.telemetry.heard(&self.shard);
        let (count, since) = (answer.records.len(), self.start());
        let records = answer.records.into_iter().map(|record| self.record(record));
        let mut records = records.collect::<Result<Vec<Record>, _>>()?;
        let bytes: usize = records.iter().map(|record| record.data.len()).sum();
        // Without the record itself either another one comes first, or the end of the shard.
        let first = records.first().map(|first| &first.sequence);
        if let Some(awaited) = self.awaited.take_if(|_| first.is_some() || answer.at_end) {
            self.expired = first.is_none_or(|first| *first > awaited).then(|| self.position.clone());
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

        let (behind, at_end) = (answer.millis_behind, answer.at_end);
        let whole = !answer.cut && count < CUT_RECORDS && bytes < CUT_BYTES;
        let at_tip = at_end || (behind == Some(0) && whole);
        if !records.is_empty() || at_end || self.said.is_news(at_tip, behind) {
            self.said = Said { at_tip, behind };
            self.hand_out(records, hold);
            let last = self.received.back_mut().expect("at least one batch was made");
            (last.millis_behind, last.at_tip, last.at_end) = (behind, at_tip, at_end);
        }
        Ok(Accepted { records: count, bytes, at_tip })
    }

    /// Whether an error says that the stream has no such shard any more: it was closed, and retention has removed it.
    /// Then the shard is at its end.
    pub async fn is_gone(&mut self, error: &ApiError) -> Result<bool, SourceError> {
        let unknown = BEGINNING.contains(&error.action) && error.has_code("ResourceNotFoundException");
        if !unknown || self.api.list_shards().await?.iter().any(|shard| shard.id == self.shard) {
            return Ok(false);
        }
        // Its end would have been told before: not all of it was read.
        self.expired = Some(self.position.clone());
        self.end();
        Ok(true)
    }

    /// Counts what failed.
    pub fn count(&self, error: &ApiError) {
        self.api.count(error);
        self.api.telemetry.metrics().throttled.add(u64::from(error.is_throttled()));
    }

    /// What an error means here, where the position is what was refused: for [`crate::retry::Retry::again`].
    pub fn explain(&self, error: &ApiError) -> (Verdict, String) {
        let (verdict, text) = (error.verdict, &error.text);
        if BEGINNING.contains(&error.action) && error.has_code("InvalidArgumentException") {
            match &self.position {
                Position::At(_) if error.message.as_ref().is_some_and(|message| message.contains("imestamp")) => {
                    let text = format!(
                        "the service takes the time to start at for one to come: is this clock right? ({text})"
                    );
                    return (Verdict::Transient, text);
                }
                Position::After(_) => {
                    let text = format!(
                        "stream {} does not know the position `{}` of {} ({text}): was it deleted and made anew? then \
                         choose another `group`",
                        self.api.name, self.position, self.shard
                    );
                    return (verdict, text);
                }
                _ => {}
            }
        }
        (verdict, text.clone())
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
        Ok(Record { data, sequence, partition_key, arrival, flaw: None, earlier: None })
    }
}

impl Said {
    /// Whether an answer without records is worth a batch: caught up, or another lag than was told.
    fn is_news(&self, at_tip: bool, behind: Option<u64>) -> bool {
        let moved = behind.unwrap_or(0).abs_diff(self.behind.unwrap_or(0));
        (at_tip && !self.at_tip) || moved >= NEWS_MILLIS
    }
}
