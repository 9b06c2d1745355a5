use std::collections::BTreeSet;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::StreamStatus;
use ferrokinesis::store::StoreOptions;
use tokio::net::TcpListener;

use super::*;

pub struct Standin {
    pub endpoint: String,
    pub client: Client,
}

impl Standin {
    /// A stream `s` with so many shards.
    pub async fn start(shards: i32, options: StoreOptions) -> Self {
        let options = StoreOptions { create_stream_ms: 0, update_stream_ms: 0, shard_limit: 100, ..options };
        let (app, _) = ferrokinesis::create_app(options);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(ferrokinesis::serve_plain_http(listener, app, std::future::pending()));
        let client = Client::new(&aws(&endpoint).await.sdk);
        client.create_stream().stream_name("s").shard_count(shards).send().await.unwrap();
        let standin = Self { endpoint, client };
        standin.active().await;
        standin
    }

    pub async fn active(&self) {
        loop {
            let answer = self.client.describe_stream_summary().stream_name("s").send().await.unwrap();
            if answer.stream_description_summary.unwrap().stream_status == StreamStatus::Active {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub async fn put(&self, numbers: std::ops::Range<usize>) -> Vec<String> {
        let texts: Vec<String> = numbers.map(|number| format!("record {number}")).collect();
        for text in &texts {
            let put = self.client.put_record().stream_name("s").partition_key(text).data(Blob::new(text.as_bytes()));
            put.send().await.unwrap();
        }
        texts
    }

    async fn connect(&self, start: Start) -> KinesisSource {
        connect(&self.endpoint, "s", start, &Patience::default()).await.unwrap()
    }
}

pub fn shard(index: usize) -> ShardId {
    format!("shardId-{index:012}").as_str().into()
}

#[tokio::test]
async fn every_record_of_every_shard_is_read_once_and_in_order() {
    let standin = Standin::start(3, StoreOptions::default()).await;
    let put = standin.put(0..60).await;
    let source = standin.connect(Start::TrimHorizon).await;
    assert!(source.id().starts_with("arn:aws:kinesis:us-east-1:") && source.id().ends_with(":stream/s"));
    assert_eq!((source.stream(), source.ends()), (Some("s"), false));
    let mut all = Vec::new();
    let shards = source.shards().await.unwrap();
    assert_eq!(shards.len(), 3);
    for shard in shards {
        let mut reader = source.open(&shard.id, &source.start()).await.unwrap();
        let (read, last) = read_on(&mut reader).await;
        assert!(last.at_tip && !last.at_end);
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
async fn a_record_brings_its_key_and_its_arrival() {
    let standin = Standin::start(1, StoreOptions::default()).await;
    let before = Clock::system().now() / 1000 * 1000;
    standin.put(7..8).await;
    let source = standin.connect(Start::TrimHorizon).await;
    let mut reader = source.open(&shard(0), &Position::TrimHorizon).await.unwrap();
    let record = next(&mut reader).await.records.remove(0);
    assert_eq!(record.partition_key.as_deref(), Some("record 7"));
    assert!((before..=Clock::system().now()).contains(&record.arrival), "{}", record.arrival);
}

/// From after each of the records: exactly the rest, whichever it is.
#[tokio::test]
async fn reading_goes_on_after_any_record() {
    let standin = Standin::start(1, StoreOptions::default()).await;
    let put = standin.put(0..12).await;
    let source = standin.connect(Start::TrimHorizon).await;
    let mut reader = source.open(&shard(0), &Position::TrimHorizon).await.unwrap();
    let records = next(&mut reader).await.records;
    assert_eq!(records.len(), put.len());
    for (n, record) in records.into_iter().enumerate() {
        let mut reader = source.open(&shard(0), &Position::After(record.sequence)).await.unwrap();
        assert_eq!(read_on(&mut reader).await.0, put[n + 1..]);
    }
}

#[tokio::test]
async fn the_tip_is_told_once_and_what_comes_later_is_read() {
    let standin = Standin::start(1, StoreOptions::default()).await;
    let source = standin.connect(Start::TrimHorizon).await;
    let mut reader = source.open(&shard(0), &Position::TrimHorizon).await.unwrap();
    let first = next(&mut reader).await;
    assert!(first.at_tip && first.records.is_empty());
    let silence = tokio::time::timeout(Duration::from_millis(200), reader.next()).await;
    assert!(silence.is_err(), "nothing is news on an idle shard: {silence:?}");
    let put = standin.put(0..3).await;
    let mut read = Vec::new();
    while read.len() < put.len() {
        read.extend(read_on(&mut reader).await.0);
    }
    assert_eq!(read, put);
}

/// Each call is dropped half-way, again and again, at another moment.
#[tokio::test]
async fn dropped_calls_lose_nothing() {
    let standin = Standin::start(1, StoreOptions::default()).await;
    let put = standin.put(0..300).await;
    let source = standin.connect(Start::TrimHorizon).await;
    let mut reader = source.open(&shard(0), &Position::TrimHorizon).await.unwrap();
    let (mut read, mut wait, mut dropped) = (Vec::new(), Duration::ZERO, 0);
    while read.len() < put.len() {
        match tokio::time::timeout(wait, reader.next()).await {
            Ok(batch) => {
                read.extend(
                    batch.unwrap().records.iter().map(|record| String::from_utf8_lossy(&record.data).into_owned()),
                );
                wait = Duration::ZERO;
            }
            Err(_) => (wait, dropped) = (wait + Duration::from_micros(300), dropped + 1),
        }
    }
    assert_eq!(read, put);
    assert!(dropped > 0);
}

#[tokio::test]
async fn a_closed_shard_drains_and_ends_and_its_children_name_it() {
    let standin = Standin::start(2, StoreOptions::default()).await;
    let put = standin.put(0..20).await;
    let merge = standin.client.merge_shards().stream_name("s").shard_to_merge(shard(0).as_str());
    merge.adjacent_shard_to_merge(shard(1).as_str()).send().await.unwrap();
    standin.active().await;
    let later = standin.put(20..30).await;
    let source = standin.connect(Start::TrimHorizon).await;
    let shards = source.shards().await.unwrap();
    let child = shards.iter().find(|shard| !shard.parents.is_empty()).unwrap();
    assert_eq!((shards.len(), &child.parents), (3, &vec![shard(0), shard(1)]));
    let mut before = Vec::new();
    for parent in &child.parents {
        let mut reader = source.open(parent, &Position::TrimHorizon).await.unwrap();
        loop {
            let (read, last) = read_on(&mut reader).await;
            before.extend(read);
            if last.at_end {
                break;
            }
        }
    }
    before.sort();
    let mut put = put;
    put.sort();
    assert_eq!(before, put);
    let mut reader = source.open(&child.id, &Position::TrimHorizon).await.unwrap();
    let (after, last) = read_on(&mut reader).await;
    assert_eq!((after, last.at_end), (later, false));
}

#[tokio::test]
async fn expired_iterators_are_replaced() {
    let standin = Standin::start(1, StoreOptions { iterator_ttl_seconds: 1, ..StoreOptions::default() }).await;
    let first = standin.put(0..5).await;
    let source = standin.connect(Start::TrimHorizon).await;
    let mut reader = source.open(&shard(0), &Position::TrimHorizon).await.unwrap();
    assert_eq!(read_on(&mut reader).await.0, first);
    tokio::time::sleep(Duration::from_millis(1300)).await;
    let second = standin.put(5..9).await;
    assert_eq!(read_on(&mut reader).await.0, second, "each once, none skipped");
}

#[tokio::test]
async fn latest_is_a_moment_and_holds_for_those_who_come_later() {
    let standin = Standin::start(1, StoreOptions::default()).await;
    standin.put(0..3).await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let source = standin.connect(Start::Latest).await;
    let start = source.start();
    assert!(matches!(start, Position::At(_)) && start == source.start());
    // Nobody reads, then somebody does, from the position in the state.
    let mut idle = source.open(&shard(0), &start).await.unwrap();
    assert_eq!(read_on(&mut idle).await.0, [""; 0], "what was there before is not read");
    let later = standin.put(3..6).await;
    let mut reader = source.open(&shard(0), &start).await.unwrap();
    assert_eq!(read_on(&mut reader).await.0, later);
}

#[tokio::test]
async fn a_position_of_another_stream_is_refused_by_name() {
    let standin = Standin::start(1, StoreOptions::default()).await;
    let source = standin.connect(Start::TrimHorizon).await;
    let stranger = "49590338271490256608559692538361571095921575989136588898".parse().unwrap();
    let mut reader = source.open(&shard(0), &Position::After(stranger)).await.unwrap();
    let error = reader.next().await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("shardId-000000000000") && text.contains("after 49590338271"), "{text}");
}

#[tokio::test]
async fn a_stream_that_is_not_there_is_fatal_at_the_start() {
    let standin = Standin::start(1, StoreOptions::default()).await;
    let error = connect(&standin.endpoint, "absent", Start::TrimHorizon, &Patience::default()).await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("absent") && text.contains("no such stream") && text.contains("us-east-1"), "{text}");
}

#[tokio::test]
async fn a_stream_may_be_named_by_its_arn() {
    let standin = Standin::start(1, StoreOptions::default()).await;
    let put = standin.put(0..3).await;
    let arn = standin.connect(Start::TrimHorizon).await.id().to_owned();
    let source = connect(&standin.endpoint, &arn, Start::TrimHorizon, &Patience::default()).await.unwrap();
    assert_eq!((source.id(), source.stream()), (arn.as_str(), Some("s")));
    assert_eq!(source.shards().await.unwrap().len(), 1);
    let mut reader = source.open(&shard(0), &Position::TrimHorizon).await.unwrap();
    assert_eq!(read_on(&mut reader).await.0, put);
}

/// Far more than a call may bring: the bound holds though this server has none of its own.
#[tokio::test]
async fn large_answers_are_cut_and_memory_is_accounted_for() {
    let standin = Standin::start(1, StoreOptions::default()).await;
    for n in 0..40u8 {
        let put = standin.client.put_record().stream_name("s").partition_key("k").data(Blob::new(vec![n; 700_000]));
        put.send().await.unwrap();
    }
    let budget = 40 << 20;
    let config = KinesisConfig {
        stream: "s".into(),
        start: Start::TrimHorizon,
        mode: Mode::Polling,
        payloads: Payloads::Envelopes,
    };
    let (clock, patience, read_ahead) = (Clock::system(), Patience::default(), ReadAhead::new(budget));
    let aws = aws(&standin.endpoint).await;
    let telemetry = Telemetry::default();
    let source =
        KinesisSource::connect(&config, &aws, &clock, &patience, &telemetry, read_ahead.clone(), Duration::ZERO);
    let limits = Limits { call_records: 10, ..quick() };
    let source = source.await.unwrap().with_limits(limits);
    let mut reader = source.open(&shard(0), &Position::TrimHorizon).await.unwrap();
    let (mut seen, mut kept) = (0, Vec::new());
    while seen < 20 {
        let batch = next(&mut reader).await;
        assert_eq!(batch.records.len(), 1, "each is larger than a batch should be");
        let held = batch.hold.as_ref().unwrap().num_permits() * 1024;
        // In whole KiB, rounded for the answer as one.
        assert!((690_000..702_000).contains(&held), "{held}");
        seen += 1;
        kept.push(batch.hold);
    }
    // With 14 of 40 MB kept, what a call may need is not there: the reader waits until some is given back.
    let waits = tokio::time::timeout(Duration::from_millis(300), reader.next()).await;
    assert!(waits.is_err(), "{waits:?}");
    kept.clear();
    while seen < 40 {
        seen += next(&mut reader).await.records.len();
    }
}
