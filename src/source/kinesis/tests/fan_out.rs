//! Enhanced fan-out against a stand-in that has it.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use ferrokinesis::store::StoreOptions;

use super::standin::{Standin, shard};
use super::*;
use crate::source::kinesis::calls::{Begin, ConsumerState, Fetched, ShardPage, Subscription};
use crate::source::kinesis::errors::ApiError;

/// The service, with the subscriptions written down. After `blind`, it once finds no consumer; when it is `full`, it
/// registers none. Polled it must not be, but for a look.
#[derive(Debug)]
struct Recording {
    service: Service,
    begun: Mutex<Vec<(ShardId, Begin)>>,
    blind: AtomicBool,
    full: AtomicBool,
    looked_at: AtomicBool,
}

#[async_trait]
impl Calls for Recording {
    async fn describe(&self) -> Result<String, ApiError> {
        self.service.describe().await
    }
    async fn list_shards(&self, token: Option<&str>) -> Result<ShardPage, ApiError> {
        self.service.list_shards(token).await
    }
    async fn shard_iterator(&self, shard: &ShardId, begin: &Begin) -> Result<Option<String>, ApiError> {
        assert!(self.looked_at.load(Ordering::Relaxed), "{shard} is polled");
        self.service.shard_iterator(shard, begin).await
    }
    async fn get_records(&self, iterator: &str, limit: usize) -> Result<Fetched, ApiError> {
        self.service.get_records(iterator, limit).await
    }
    async fn subscribe(
        &self,
        consumer_arn: &str,
        shard: &ShardId,
        begin: &Begin,
    ) -> Result<Box<dyn Subscription>, ApiError> {
        self.begun.lock().unwrap().push((shard.clone(), begin.clone()));
        self.service.subscribe(consumer_arn, shard, begin).await
    }
    async fn register_consumer(&self, stream_arn: &str, name: &str) -> Result<(), ApiError> {
        if self.full.load(Ordering::Relaxed) {
            let code = Some("LimitExceededException".to_owned());
            return Err(ApiError { code, ..ApiError::passing("RegisterStreamConsumer", "20 of 20") });
        }
        self.service.register_consumer(stream_arn, name).await
    }
    async fn describe_consumer(&self, stream_arn: &str, consumer: &Consumer) -> Result<ConsumerState, ApiError> {
        if self.blind.swap(false, Ordering::Relaxed) {
            let code = Some("ResourceNotFoundException".to_owned());
            return Err(ApiError { code, ..ApiError::passing("DescribeStreamConsumer", "none") });
        }
        self.service.describe_consumer(stream_arn, consumer).await
    }
}

fn consumer() -> Consumer {
    Consumer::Name("firemain".to_owned())
}

/// The stand-in's stream by fan-out, each subscription for so long.
async fn subscribing(standin: &Standin, lasting: Duration) -> (KinesisSource, Arc<Recording>) {
    let (clock, patience, read_ahead) = (Clock::system(), Patience::default(), ReadAhead::new(64 << 20));
    let service = Service::new(&aws(&standin.endpoint).await, "s");
    let (begun, [blind, full, looked_at]) = (Mutex::default(), [const { AtomicBool::new(false) }; 3]);
    let calls = Arc::new(Recording { service, begun, blind, full, looked_at });
    let telemetry = Telemetry::default();
    let source = KinesisSource::over(
        Arc::clone(&calls) as _,
        "s",
        Start::TrimHorizon,
        &clock,
        &patience,
        &telemetry,
        read_ahead,
    );
    let source = source.await.unwrap().with_limits(Limits { subscription: lasting, ..quick() });
    (source.fan_out(&consumer()).await.unwrap(), calls)
}

const LONG: Duration = Duration::from_secs(300);

/// Reads so many records.
async fn read(reader: &mut Box<dyn Reader>, count: usize) -> Vec<String> {
    let mut read = Vec::new();
    while read.len() < count {
        read.extend(texts(&next(reader).await));
    }
    read
}

fn texts(batch: &Batch) -> Vec<String> {
    batch.records.iter().map(|record| String::from_utf8(record.data.to_vec()).unwrap()).collect()
}

#[tokio::test]
async fn every_record_is_read_once_and_in_order_while_subscriptions_are_renewed() {
    let standin = Standin::start(1, StoreOptions::default()).await;
    let (source, calls) = subscribing(&standin, Duration::from_millis(250)).await;
    let mut reader = source.open(&shard(0), &Position::TrimHorizon).await.unwrap();
    let putting = async {
        let mut put = Vec::new();
        for round in 0..12 {
            put.extend(standin.put(round * 10..(round + 1) * 10).await);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        put
    };
    let (put, read) = tokio::join!(putting, read(&mut reader, 120));
    assert_eq!(read, put);
    let silence = tokio::time::timeout(Duration::from_millis(700), reader.next()).await;
    assert!(silence.is_err(), "nothing is left, and renewals are no news: {silence:?}");
    let begun = calls.begun.lock().unwrap();
    assert!(begun.len() >= 5 && begun[0].1 == Begin::TrimHorizon, "{begun:?}");
    assert!(begun[1..].iter().all(|(_, begin)| matches!(begin, Begin::Record(_))), "{begun:?}");
}

#[tokio::test]
async fn readers_of_different_shards_do_not_disturb_each_other() {
    let standin = Standin::start(2, StoreOptions::default()).await;
    let (source, _) = subscribing(&standin, Duration::from_millis(400)).await;
    let put = standin.put(0..60).await;
    let mut readers = [shard(0), shard(1)].map(|shard| {
        let source = source.clone();
        tokio::spawn(async move {
            let mut reader = source.open(&shard, &Position::TrimHorizon).await.unwrap();
            let mut read = read_on(&mut reader).await.0;
            while let Ok(batch) = tokio::time::timeout(Duration::from_secs(1), reader.next()).await {
                read.extend(texts(&batch.unwrap()));
            }
            read
        })
    });
    let mut all = Vec::new();
    for reader in &mut readers {
        let read = reader.await.unwrap();
        let of_shard: BTreeSet<&String> = read.iter().collect();
        let order: Vec<&String> = put.iter().filter(|text| of_shard.contains(text)).collect();
        assert_eq!(read.iter().collect::<Vec<_>>(), order);
        all.extend(read);
    }
    all.sort();
    let mut put = put;
    put.sort();
    assert_eq!(all, put);
}

#[tokio::test]
async fn reading_goes_on_after_any_record() {
    let standin = Standin::start(1, StoreOptions::default()).await;
    let put = standin.put(0..6).await;
    let (source, calls) = subscribing(&standin, LONG).await;
    let mut reader = source.open(&shard(0), &Position::TrimHorizon).await.unwrap();
    let records = next(&mut reader).await.records;
    assert_eq!(records.len(), put.len());
    for (n, record) in records.into_iter().enumerate() {
        let from = Position::After(record.sequence.clone());
        let mut reader = source.open(&shard(0), &from).await.unwrap();
        let (read, last) = read_on(&mut reader).await;
        assert_eq!((read.as_slice(), last.expired), (&put[n + 1..], None));
        let begun = calls.begun.lock().unwrap().last().cloned();
        assert_eq!(begun, Some((shard(0), Begin::Record(record.sequence))), "whether it is there is looked at");
    }
}

#[tokio::test]
async fn a_time_to_start_at_leaves_out_what_came_before() {
    let standin = Standin::start(1, StoreOptions::default()).await;
    standin.put(0..3).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let (source, _) = subscribing(&standin, LONG).await;
    let from = Position::At(Clock::system().now() / 1000 * 1000);
    let mut reader = source.open(&shard(0), &from).await.unwrap();
    assert_eq!(read_on(&mut reader).await.0, [""; 0]);
    let later = standin.put(3..6).await;
    assert_eq!(read(&mut reader, 3).await, later);
}

/// With few records an event, children are named before all records were told.
#[tokio::test]
async fn a_shard_that_was_merged_drains_and_ends() {
    let options = StoreOptions { subscribe_to_shard_event_record_limit: 3, ..StoreOptions::default() };
    let standin = Standin::start(2, options).await;
    let mut put = standin.put(0..20).await;
    let merge = standin.client.merge_shards().stream_name("s").shard_to_merge(shard(0).as_str());
    merge.adjacent_shard_to_merge(shard(1).as_str()).send().await.unwrap();
    standin.active().await;
    let later = standin.put(20..26).await;
    let (source, _) = subscribing(&standin, LONG).await;
    let mut before = Vec::new();
    for parent in [shard(0), shard(1)] {
        let mut reader = source.open(&parent, &Position::TrimHorizon).await.unwrap();
        loop {
            let batch = next(&mut reader).await;
            before.extend(texts(&batch));
            if batch.at_end {
                break;
            }
        }
    }
    before.sort();
    put.sort();
    assert_eq!(before, put);
    let mut reader = source.open(&shard(2), &Position::TrimHorizon).await.unwrap();
    assert_eq!(read(&mut reader, later.len()).await, later);
}

/// Each call is dropped half-way, again and again, at another moment.
#[tokio::test]
async fn dropped_calls_lose_nothing() {
    let standin = Standin::start(1, StoreOptions::default()).await;
    let put = standin.put(0..300).await;
    let (source, _) = subscribing(&standin, Duration::from_millis(100)).await;
    let mut reader = source.open(&shard(0), &Position::TrimHorizon).await.unwrap();
    let (mut read, mut wait, mut dropped) = (Vec::new(), Duration::ZERO, 0);
    while read.len() < put.len() {
        match tokio::time::timeout(wait, reader.next()).await {
            Ok(batch) => {
                read.extend(texts(&batch.unwrap()));
                wait = Duration::ZERO;
            }
            Err(_) => (wait, dropped) = (wait + Duration::from_micros(300), dropped + 1),
        }
    }
    assert_eq!(read, put);
    assert!(dropped > 0);
}

#[tokio::test]
async fn a_consumer_is_registered_once_and_used_by_all() {
    let standin = Standin::start(1, StoreOptions::default()).await;
    let long = Duration::from_secs(1);
    let (one, other) = tokio::join!(subscribing(&standin, long), subscribing(&standin, long));
    assert_eq!(one.0.consumer, other.0.consumer);
    let arn = one.0.consumer.clone().unwrap();
    assert!(arn.starts_with(&format!("{}/consumer/firemain:", one.0.id())), "{arn}");
    // Another worker registers it between the look and the registration.
    other.1.blind.store(true, Ordering::Relaxed);
    let again = other.0.fan_out(&consumer()).await.unwrap();
    assert_eq!(again.consumer, one.0.consumer);
    let by_arn = one.0.fan_out(&Consumer::Arn(arn.to_string())).await.unwrap();
    assert_eq!(by_arn.consumer, again.consumer);
    let listed = standin.client.list_stream_consumers().stream_arn(by_arn.id()).send().await.unwrap();
    assert_eq!(listed.consumers().len(), 1);
}

/// The subscription is another worker's: a second one would end it.
#[tokio::test]
async fn a_look_at_a_shard_takes_nobodys_subscription() {
    let standin = Standin::start(1, StoreOptions::default()).await;
    let put = standin.put(0..3).await;
    let (source, calls) = subscribing(&standin, LONG).await;
    calls.looked_at.store(true, Ordering::Relaxed);
    let mut look = source.peek(&shard(0), &Position::TrimHorizon).await.unwrap();
    assert_eq!(read(&mut look, put.len()).await, put);
    assert!(calls.begun.lock().unwrap().is_empty());
}

/// That there are too many may pass, when others are being registered. Then it is for a person to see to.
#[tokio::test]
async fn a_stream_with_too_many_consumers_is_fatal_after_a_minute() {
    let standin = Standin::start(1, StoreOptions::default()).await;
    let (source, calls) = subscribing(&standin, LONG).await;
    let set = |blind, full| {
        calls.blind.store(blind, Ordering::Relaxed);
        calls.full.store(full, Ordering::Relaxed);
    };
    set(true, true);
    let consumer = consumer();
    let (found, ()) = tokio::join!(source.clone().fan_out(&consumer), async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        set(false, false);
    });
    found.unwrap();
    let api = source.api.impatient();
    let arn = source.id().to_owned();
    let other = Consumer::Name("other".to_owned());
    calls.full.store(true, Ordering::Relaxed);
    tokio::time::pause();
    let began = tokio::time::Instant::now();
    let error = api.consumer(&arn, &other).await.unwrap_err().to_string();
    assert!(error.contains("deregister one") && error.contains("20 of 20"), "{error}");
    assert!(began.elapsed() >= Duration::from_secs(60));
}

#[tokio::test]
async fn a_consumer_that_is_not_there_or_not_the_streams_is_fatal_at_the_start() {
    let standin = Standin::start(1, StoreOptions::default()).await;
    let (source, _) = subscribing(&standin, LONG).await;
    let absent = format!("{}/consumer/absent:1711083600", source.id());
    let error = source.clone().fan_out(&Consumer::Arn(absent)).await.unwrap_err().to_string();
    assert!(error.contains("no such consumer") && error.contains("source.kinesis.consumer_arn"), "{error}");
    let other = format!("{}-x/consumer/firemain:1711083600", source.id());
    let error = source.fan_out(&Consumer::Arn(other)).await.unwrap_err().to_string();
    assert!(error.contains("is no consumer of stream") && error.contains("source.kinesis.consumer_arn"), "{error}");
}
