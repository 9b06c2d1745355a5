//! The Kinesis API over the simulated stream, as one process sees it: with its latency, errors and limits.

use std::time::Duration;

use async_trait::async_trait;
use firemain::config::Consumer;
use firemain::event::ShardId;
use firemain::retry::Verdict;
use firemain::source::kinesis::calls::{
    Begin, Calls, ConsumerState, Event, Fetched, RawRecord, ShardPage, Subscription,
};
use firemain::source::kinesis::errors::ApiError;
use tokio::time::{Instant, sleep};

use super::chaos::{Chance, Weather};
use super::stream::{Put, Stream};
use crate::support::faults::Faulty;
use crate::support::invariants::Books;

/// How long an iterator is valid.
const ITERATOR_LIVES: Duration = Duration::from_secs(300);
/// How long a subscription lasts at most: five minutes would be all of a history.
const SUBSCRIPTION_LASTS: Duration = Duration::from_secs(60);
const SUBSCRIBE: &str = "SubscribeToShard";
const IN_USE: &str = "ResourceInUseException";
const UNKNOWN: &str = "ResourceNotFoundException";
/// Records of one answer at most, so that there is much to interrupt.
const RECORDS: u64 = 6;

#[derive(Clone, Debug)]
pub struct Service {
    stream: Stream,
    chance: Chance,
    /// The process's line to the store: it is frozen together with this one.
    process: Faulty,
    /// For the expiry of iterators.
    start: Instant,
    /// Out of a thousand calls so many fail, in each way.
    failing: u64,
    /// For outages; none for a process without faults.
    weather: Option<Weather>,
}

impl Service {
    pub fn new(stream: &Stream, chance: &Chance, process: &Faulty, weather: Option<Weather>) -> Self {
        let (stream, chance, process) = (stream.clone(), chance.clone(), process.clone());
        let failing = weather.as_ref().map_or(0, |weather| weather.failing);
        Self { stream, chance, process, start: Instant::now(), failing, weather }
    }

    /// The sequence number of the first record to read.
    fn first(&self, shard: &ShardId, begin: &Begin) -> u64 {
        match begin {
            Begin::TrimHorizon => 0,
            Begin::Time(time) => self.stream.at_time(shard, *time),
            Begin::Record(sequence) => sequence.index().expect("a small number"),
        }
    }

    fn exists(&self, action: &'static str, shard: &ShardId) -> Result<(), ApiError> {
        if self.stream.is_removed(shard) { Err(error(action, UNKNOWN)) } else { Ok(()) }
    }

    /// The way there and back, or an error on it.
    async fn travel(&self, action: &'static str) -> Result<(), ApiError> {
        self.process.thawed().await;
        sleep(Duration::from_millis(self.chance.pick(0..100))).await;
        if self.weather.as_ref().is_some_and(Weather::is_down) {
            return Err(error(action, "ServiceUnavailable"));
        }
        let draw = self.chance.pick(0..1000);
        let code = match draw / self.failing.max(1) {
            _ if self.failing == 0 => None,
            0 => Some("ProvisionedThroughputExceededException"),
            1 => Some("InternalFailure"),
            2 if action == "GetRecords" => Some("ExpiredIteratorException"),
            _ => None,
        };
        self.process.thawed().await;
        code.map_or(Ok(()), |code| Err(error(action, code)))
    }
}

fn error(action: &'static str, code: &str) -> ApiError {
    let verdict = if code == UNKNOWN { Verdict::Refused } else { Verdict::Transient };
    let (code, message) = (Some(code.to_owned()), None);
    ApiError { text: format!("{code:?}"), code, message, verdict, ..ApiError::passing(action, "") }
}

#[async_trait]
impl Calls for Service {
    async fn describe(&self) -> Result<String, ApiError> {
        self.travel("DescribeStreamSummary").await?;
        Ok("arn:aws:kinesis:eu-west-1:123456789012:stream/sim".into())
    }

    async fn list_shards(&self, token: Option<&str>) -> Result<ShardPage, ApiError> {
        // What is listed is of the time of the call, however long the answer takes; pages of three.
        let shards = self.stream.shards();
        self.travel("ListShards").await?;
        let mut behind = shards.into_iter().filter(|shard| token.is_none_or(|token| shard.id.as_str() > token));
        let page: Vec<_> = behind.by_ref().take(3).collect();
        let token = behind.next().and(page.last()).map(|last| last.id.to_string());
        Ok(ShardPage { shards: page, token })
    }

    async fn shard_iterator(&self, shard: &ShardId, begin: &Begin) -> Result<Option<String>, ApiError> {
        self.travel("GetShardIterator").await?;
        self.exists("GetShardIterator", shard)?;
        Ok(Some(format!("{shard} {} {}", self.first(shard, begin), self.start.elapsed().as_millis())))
    }

    async fn get_records(&self, iterator: &str, limit: usize) -> Result<Fetched, ApiError> {
        let words: Vec<&str> = iterator.split(' ').collect();
        let number = |word: &str| word.parse::<u64>().expect("a number in an iterator");
        let (shard, from, made) = (ShardId::from(words[0]), number(words[1]), number(words[2]));
        self.process.thawed().await;
        if self.start.elapsed() > Duration::from_millis(made) + ITERATOR_LIVES {
            return Err(error("GetRecords", "ExpiredIteratorException"));
        }
        let limit = limit.min(self.chance.pick(1..RECORDS + 1) as usize);
        let (records, at_tip, at_end) = self.stream.read(&shard, from, limit);
        self.travel("GetRecords").await?;
        let next = records.last().map_or(from, |last| last.sequence + 1);
        Ok(Fetched {
            records: records.into_iter().map(raw).collect(),
            iterator: (!at_end).then(|| format!("{shard} {next} {}", self.start.elapsed().as_millis())),
            millis_behind: Some(if at_tip { 0 } else { 1000 }),
        })
    }

    async fn subscribe(&self, _: &str, shard: &ShardId, begin: &Begin) -> Result<Box<dyn Subscription>, ApiError> {
        self.travel(SUBSCRIBE).await?;
        self.exists(SUBSCRIBE, shard)?;
        let number = self.stream.subscribe(shard).ok_or_else(|| error(SUBSCRIBE, IN_USE))?;
        let next = self.first(shard, begin);
        let until = Instant::now() + self.chance.upto(SUBSCRIPTION_LASTS);
        Ok(Box::new(Subscribed { service: self.clone(), shard: shard.clone(), number, next, until, ended: false }))
    }

    async fn register_consumer(&self, _: &str, _: &str) -> Result<(), ApiError> {
        self.travel("RegisterStreamConsumer").await
    }

    async fn describe_consumer(&self, stream_arn: &str, _: &Consumer) -> Result<ConsumerState, ApiError> {
        self.travel("DescribeStreamConsumer").await?;
        Ok(ConsumerState { arn: format!("{stream_arn}/consumer/sim:1"), status: "ACTIVE".into() })
    }
}

/// What is pushed to one subscriber.
#[derive(Debug)]
struct Subscribed {
    service: Service,
    shard: ShardId,
    number: u64,
    /// The sequence number that the next event begins at.
    next: u64,
    until: Instant,
    ended: bool,
}

#[async_trait]
impl Subscription for Subscribed {
    async fn next(&mut self) -> Result<Option<Event>, ApiError> {
        let service = &self.service;
        sleep(Duration::from_millis(service.chance.pick(300..3000))).await;
        service.process.thawed().await;
        if self.ended || Instant::now() > self.until {
            return Ok(None);
        }
        if !service.stream.is_subscribed(&self.shard, self.number) {
            self.ended = true;
            return Err(error(SUBSCRIBE, IN_USE));
        }
        if service.chance.pick(0..1000) < service.failing {
            self.ended = true;
            return Err(error(SUBSCRIBE, "InternalFailureException"));
        }
        let limit = service.chance.pick(1..RECORDS + 1) as usize;
        let (records, at_tip, at_end) = service.stream.read(&self.shard, self.next, limit);
        self.next = records.last().map_or(self.next, |last| last.sequence + 1);
        self.ended = at_end;
        Ok(Some(Event {
            records: records.into_iter().map(raw).collect(),
            continuation: (!at_end).then(|| self.next.to_string()),
            millis_behind: Some(if at_tip { 0 } else { 1000 }),
            children: if at_end { service.stream.children(&self.shard) } else { Vec::new() },
        }))
    }
}

fn raw(record: Put) -> RawRecord {
    RawRecord {
        data: record.data,
        sequence: record.sequence.to_string(),
        partition_key: Some("k".into()),
        arrival: Some(record.arrival),
    }
}
