use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;
use crate::aws::scripted::{Reply, Request, Scripted};

pub const ARN: &str = "arn:aws:kinesis:us-east-1:123456789012:stream/s";

pub fn described() -> Reply {
    Reply::new(
        200,
        json!({"StreamDescriptionSummary": {
            "StreamName": "s", "StreamARN": ARN, "StreamStatus": "ACTIVE", "RetentionPeriodHours": 24,
            "StreamCreationTimestamp": 1.0, "EnhancedMonitoring": [], "OpenShardCount": 1,
        }})
        .to_string(),
    )
}

/// An answer of GetRecords with records 1, 2, …
fn records(from: u64, count: u64, behind: u64, next: Option<&str>) -> Reply {
    let mut answer = json!({"Records": raw_records(from, count), "MillisBehindLatest": behind});
    if let Some(next) = next {
        answer["NextShardIterator"] = next.into();
    }
    Reply::new(200, answer.to_string())
}

/// Records `from`, `from` + 1, …, each with its number as its data.
pub fn raw_records(from: u64, count: u64) -> Vec<Value> {
    let record = |n: u64| {
        json!({"SequenceNumber": n.to_string(), "Data": STANDARD.encode(n.to_string()), "PartitionKey": "k",
            "ApproximateArrivalTimestamp": 1_700_000_000.125})
    };
    (from..from + count).map(record).collect()
}

/// An answer of ListShards.
pub fn listed(shards: Vec<Value>) -> Reply {
    Reply::new(200, json!({"Shards": shards}).to_string())
}

fn iterator(name: &str) -> Reply {
    Reply::new(200, json!({"ShardIterator": name}).to_string())
}

/// A server that knows the stream, and answers everything else by the script: one reply after the other.
async fn server(script: Vec<Reply>) -> Scripted {
    let script = Mutex::new(script.into_iter());
    Scripted::serve(move |request| match request.action() {
        "DescribeStreamSummary" => described(),
        _ => script.lock().unwrap().next().unwrap_or_else(|| panic!("not in the script: {request:?}")),
    })
    .await
}

async fn reader(server: &Scripted, patience: &Patience, from: Position) -> Box<dyn Reader> {
    let source = connect(&server.url, "s", Start::TrimHorizon, patience).await.unwrap();
    source.open(&"shardId-000000000000".into(), &from).await.unwrap()
}

/// A shard as ListShards tells of it.
pub fn shard(id: &str, parents: [Option<&str>; 2]) -> Value {
    json!({"ShardId": id, "ParentShardId": parents[0], "AdjacentParentShardId": parents[1],
        "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": "1"},
        "SequenceNumberRange": {"StartingSequenceNumber": "1"}})
}

fn body(request: &Request) -> Value {
    serde_json::from_str(&request.body).unwrap()
}

#[tokio::test]
async fn what_can_heal_is_tried_again_from_where_it_stood() {
    let server = server(vec![
        Reply::error(400, "LimitExceededException"),
        iterator("first"),
        Reply::error(400, "ProvisionedThroughputExceededException"),
        Reply::error(500, "InternalFailure"),
        Reply::new(503, "<html>busy</html>"),
        Reply::Cut,
        Reply::error(400, "KMSThrottlingException"),
        records(1, 3, 0, Some("second")),
    ])
    .await;
    let mut reader = reader(&server, &Patience::default(), Position::TrimHorizon).await;
    let (read, last) = read_on(&mut reader).await;
    assert_eq!(read, ["1", "2", "3"]);
    assert_eq!((last.at_tip, last.millis_behind), (true, Some(0)));
    let requests = server.requests();
    let asked: Vec<Value> = requests.iter().filter(|request| request.action() == "GetRecords").map(body).collect();
    assert_eq!(asked.len(), 6);
    assert!(asked.iter().all(|call| call["ShardIterator"] == "first"), "{asked:?}");
}

#[tokio::test]
async fn an_expired_iterator_is_replaced_by_one_at_the_last_record() {
    let server = server(vec![
        iterator("first"),
        records(0, 4, 5_000, Some("second")),
        Reply::error(400, "ExpiredIteratorException"),
        iterator("third"),
        records(3, 3, 0, None),
    ])
    .await;
    let mut reader = reader(&server, &Patience::default(), Position::After(0.into())).await;
    let first = next(&mut reader).await;
    assert_eq!((first.at_tip, first.millis_behind), (false, Some(5_000)));
    assert_eq!(first.records[0].arrival, 1_700_000_000_125);
    let (read, last) = read_on(&mut reader).await;
    assert_eq!((read, last.at_end), (vec!["4".to_owned(), "5".to_owned()], true));
    let requests = server.requests();
    let begun: Vec<Value> =
        requests.iter().filter(|request| request.action() == "GetShardIterator").map(body).collect();
    assert_eq!(begun.iter().map(|call| &call["StartingSequenceNumber"]).collect::<Vec<_>>(), ["0", "3"]);
    assert!(begun.iter().all(|call| call["ShardIteratorType"] == "AT_SEQUENCE_NUMBER"));
    assert_eq!((first.expired, last.expired), (None, None), "records 0 and 3 were still there");
}

#[tokio::test]
async fn a_position_that_the_stream_has_trimmed_is_told_with_the_oldest_record() {
    let server = server(vec![
        iterator("first"),
        records(0, 0, 80_000_000, Some("second")),
        records(7, 2, 5_000, Some("third")),
        records(9, 1, 0, Some("fourth")),
    ])
    .await;
    let mut reader = reader(&server, &Patience::default(), Position::After(3.into())).await;
    let empty = next(&mut reader).await;
    assert_eq!((empty.records.len(), empty.expired), (0, None), "not known yet");
    let oldest = next(&mut reader).await;
    assert_eq!(oldest.expired, Some(Position::After(3.into())));
    assert_eq!(oldest.records.iter().map(|record| record.sequence.as_str()).collect::<Vec<_>>(), ["7", "8"]);
    let then = next(&mut reader).await;
    assert_eq!((then.records.len(), then.expired), (1, None), "told once");
}

#[tokio::test]
async fn a_closed_shard_without_the_record_that_was_read_last_has_lost_its_end() {
    let server = server(vec![iterator("first"), records(0, 0, 0, None)]).await;
    let mut reader = reader(&server, &Patience::default(), Position::After(3.into())).await;
    let end = next(&mut reader).await;
    assert_eq!((end.records.len(), end.at_end, end.expired), (0, true, Some(Position::After(3.into()))));
}

#[tokio::test]
async fn a_shard_that_retention_has_removed_ends_and_what_was_left_in_it_is_told() {
    let gone = || Reply::error(400, "ResourceNotFoundException");
    let listed = |id: &str| Reply::new(200, json!({"Shards": [shard(id, [None, None])]}).to_string());
    let server = server(vec![gone(), listed("shardId-000000000001")]).await;
    let mut reader = reader(&server, &Patience::default(), Position::After(3.into())).await;
    let end = next(&mut reader).await;
    assert_eq!((end.records.len(), end.at_end, end.expired), (0, true, Some(Position::After(3.into()))));
}

#[tokio::test]
async fn a_shard_that_is_listed_and_not_found_is_an_error() {
    let gone = Reply::error(400, "ResourceNotFoundException");
    let listed = Reply::new(200, json!({"Shards": [shard("shardId-000000000000", [None, None])]}).to_string());
    let server = server(vec![gone, listed]).await;
    let mut reader = reader(&server, &Patience::default(), Position::TrimHorizon).await;
    let error = reader.next().await.unwrap_err().to_string();
    assert!(error.contains("no such stream or shard"), "{error}");
}

#[tokio::test]
async fn refusals_are_fatal_at_the_start_and_say_what_to_allow() {
    let refusals = [
        ("AccessDeniedException", "kinesis:DescribeStreamSummary"),
        ("ExpiredTokenException", "credentials"),
        ("UnrecognizedClientException", "credentials"),
        ("ResourceNotFoundException", "no such stream"),
    ];
    for (code, told) in refusals {
        let server = Scripted::serve(move |_| Reply::error(400, code)).await;
        let error = connect(&server.url, "s", Start::TrimHorizon, &Patience::default()).await.unwrap_err().to_string();
        assert!(error.contains(told) && error.contains(code) && error.contains("stream s"), "{error}");
        assert_eq!(server.requests().len(), 1, "once: {code}");
    }
}

#[tokio::test]
async fn later_refusals_are_borne_for_a_while() {
    let patience = Patience::default();
    patience.relax(Duration::from_secs(60));
    let server = server(vec![
        iterator("first"),
        Reply::error(400, "AccessDeniedException"),
        // It may have been the iterator that was refused.
        iterator("second"),
        records(1, 1, 0, None),
    ])
    .await;
    let mut reader = reader(&server, &patience, Position::TrimHorizon).await;
    assert_eq!(read_on(&mut reader).await.0, ["1"]);

    let impatient = Patience::default();
    impatient.relax(Duration::from_millis(300));
    let deny = |request: &Request| match request.action() {
        "DescribeStreamSummary" => described(),
        "GetShardIterator" => iterator("i"),
        _ => Reply::error(400, "AccessDeniedException"),
    };
    let server = Scripted::serve(deny).await;
    let mut reader = self::reader(&server, &impatient, Position::TrimHorizon).await;
    let error = reader.next().await.unwrap_err().to_string();
    assert!(error.contains("kinesis:GetRecords") && error.contains("shardId-000000000000"), "{error}");
}

#[tokio::test]
async fn shards_are_listed_over_all_pages_by_token_alone() {
    let page = |shards: Vec<Value>, token: Option<&str>| {
        Reply::new(200, json!({"Shards": shards, "NextToken": token}).to_string())
    };
    let server = server(vec![
        Reply::error(400, "ResourceInUseException"),
        page(vec![shard("a", [None, None])], Some("t1")),
        Reply::error(400, "LimitExceededException"),
        Reply::error(400, "ExpiredNextTokenException"),
        page(vec![shard("a", [None, None])], Some("t2")),
        page(vec![shard("b", [None, None])], Some("t3")),
        page(vec![shard("c", [Some("a"), Some("b")])], None),
    ])
    .await;
    let source = connect(&server.url, ARN, Start::TrimHorizon, &Patience::default()).await.unwrap();
    let shards = source.shards().await.unwrap();
    let found: Vec<&str> = shards.iter().map(|shard| shard.id.as_str()).collect();
    assert_eq!(found, ["a", "b", "c"]);
    assert_eq!(shards[2].parents, ["a".into(), "b".into()]);
    let asked: Vec<Value> = server.requests().iter().skip(1).map(body).collect();
    let by_name = json!({"StreamName": "s", "StreamARN": ARN});
    let by_token = |token: &str| json!({"NextToken": token});
    let expected =
        [by_name.clone(), by_name.clone(), by_token("t1"), by_token("t1"), by_name, by_token("t2"), by_token("t3")];
    assert_eq!(asked, expected);
}

#[tokio::test]
async fn an_answer_that_a_limit_may_have_cut_is_not_the_tip() {
    let server =
        server(vec![iterator("first"), records(1, 100, 0, Some("second")), records(101, 5, 0, Some("third"))]).await;
    let mut reader = reader(&server, &Patience::default(), Position::TrimHorizon).await;
    let full = next(&mut reader).await;
    assert_eq!((full.records.len(), full.at_tip), (100, false), "as many as were asked for");
    assert!(next(&mut reader).await.at_tip);
    let requests = server.requests();
    assert_eq!(body(&requests[2])["Limit"], 100);
}

#[tokio::test]
async fn empty_answers_are_told_only_when_they_are_news() {
    let server = server(vec![
        iterator("0"),
        records(1, 0, 50_000, Some("1")),
        records(1, 0, 49_000, Some("2")),
        records(1, 0, 38_000, Some("3")),
        records(1, 0, 37_000, Some("4")),
        records(1, 0, 0, Some("5")),
        records(1, 0, 0, Some("6")),
        records(1, 0, 0, None),
    ])
    .await;
    let mut reader = reader(&server, &Patience::default(), Position::TrimHorizon).await;
    let mut told = Vec::new();
    while told.last().is_none_or(|(_, _, at_end)| !at_end) {
        let batch = next(&mut reader).await;
        assert!(batch.records.is_empty());
        told.push((batch.millis_behind.unwrap(), batch.at_tip, batch.at_end));
    }
    assert_eq!(told, [(50_000, false, false), (38_000, false, false), (0, true, false), (0, true, true)]);
}

#[tokio::test]
async fn calls_keep_their_distance_and_bytes_are_paid_for() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let (seen, number) = (Arc::clone(&calls), AtomicUsize::new(0));
    let server = Scripted::serve(move |request| match request.action() {
        "DescribeStreamSummary" => described(),
        "GetShardIterator" => iterator("i"),
        _ => {
            seen.lock().unwrap().push(Instant::now());
            match number.fetch_add(1, Ordering::Relaxed) {
                // 99 * 3 bytes at 1,000 a second.
                5 => records(100, 99, 9_000, Some("i")),
                n => records(n as u64 + if n > 5 { 200 } else { 0 }, 1, 9_000, Some("i")),
            }
        }
    })
    .await;
    let source = connect(&server.url, "s", Start::TrimHorizon, &Patience::default()).await.unwrap();
    let distance = Duration::from_millis(60);
    let limits = Limits { between_calls: distance, idle: distance, bytes_per_second: 1_000.0, ..Limits::default() };
    let source = source.with_limits(limits);
    let mut reader = source.open(&"shardId-000000000000".into(), &Position::TrimHorizon).await.unwrap();
    for _ in 0..8 {
        next(&mut reader).await;
    }
    let calls = calls.lock().unwrap().clone();
    let gaps: Vec<Duration> = calls.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // The starts are kept apart on this side; on the way a request may lose some milliseconds on the one before.
    let slack = Duration::from_millis(25);
    assert!(gaps.iter().all(|gap| *gap + slack >= distance), "{gaps:?}");
    assert!(gaps[5] + slack >= Duration::from_millis(297), "{gaps:?}");
    assert!(gaps[..5].iter().all(|gap| *gap < distance * 3), "no longer than the limits ask for: {gaps:?}");
}

#[tokio::test]
async fn a_time_that_the_service_takes_for_one_to_come_is_waited_for() {
    let future = json!({"__type": "InvalidArgumentException",
        "message": "The timestampInMillis parameter cannot be greater than the currentTimestampInMillis."});
    let server = server(vec![Reply::new(400, future.to_string()), iterator("i"), records(1, 1, 0, None)]).await;
    let mut reader = reader(&server, &Patience::default(), Position::At(1_600_000_000_000)).await;
    assert_eq!(read_on(&mut reader).await.0, ["1"]);
    assert_eq!(body(&server.requests()[1])["ShardIteratorType"], "AT_TIMESTAMP");
}

#[tokio::test]
async fn records_from_before_the_time_to_start_at_are_left_out() {
    let server = server(vec![
        iterator("i"),
        records(1, 2, 9_000, Some("j")),
        Reply::error(400, "ExpiredIteratorException"),
        iterator("k"),
        records(3, 2, 0, None),
    ])
    .await;
    // All of them arrive at 1,700,000,000,125.
    let mut reader = reader(&server, &Patience::default(), Position::At(1_700_000_000_126)).await;
    assert_eq!(read_on(&mut reader).await.0, [""; 0]);
    let again = body(&server.requests()[4]);
    assert_eq!(again["ShardIteratorType"], "AT_TIMESTAMP", "nothing was handed out: it begins at the time again");
}

/// While a shard can't be read, what it would need is free for the others.
#[tokio::test]
async fn a_shard_that_fails_holds_nothing_while_it_waits() {
    let mut n = 0;
    let server =
        Scripted::serve(move |request| match (request.action(), request.body.contains("shardId-000000000001")) {
            ("DescribeStreamSummary", _) => described(),
            ("GetShardIterator", true) => Reply::error(500, "InternalFailure"),
            ("GetShardIterator", false) => iterator("good"),
            _ => {
                n += 1;
                records(n, 1, 0, Some("good"))
            }
        })
        .await;
    let config = KinesisConfig {
        stream: "s".into(),
        start: Start::TrimHorizon,
        mode: Mode::Polling,
        payloads: Payloads::Envelopes,
    };
    let (clock, patience, read_ahead) = (Clock::system(), Patience::default(), ReadAhead::new(1 << 20));
    let aws = aws(&server.url).await;
    let telemetry = Telemetry::default();
    let source = KinesisSource::connect(&config, &aws, &clock, &patience, &telemetry, read_ahead, Duration::ZERO);
    let source = source.await.unwrap().with_limits(quick());
    let mut bad = source.open(&"shardId-000000000001".into(), &Position::TrimHorizon).await.unwrap();
    let bad = tokio::spawn(async move { bad.next().await });
    let mut good = source.open(&"shardId-000000000000".into(), &Position::TrimHorizon).await.unwrap();
    // By now it pauses for longer each time; five reads that waited for its pauses would take ten seconds.
    tokio::time::sleep(Duration::from_millis(700)).await;
    let five = async {
        for _ in 0..5 {
            assert_eq!(next(&mut good).await.records.len(), 1);
        }
    };
    tokio::time::timeout(Duration::from_secs(3), five).await.expect("no wait for the other shard");
    bad.abort();
}

#[tokio::test]
async fn lost_credentials_are_a_refusal() {
    #[derive(Debug)]
    struct None;
    impl aws_credential_types::provider::ProvideCredentials for None {
        fn provide_credentials<'a>(&'a self) -> aws_credential_types::provider::future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let error = aws_credential_types::provider::error::CredentialsError::not_loaded("said by a test");
            aws_credential_types::provider::future::ProvideCredentials::ready(Err(error))
        }
    }
    let mut without = aws("http://127.0.0.1:9").await;
    without.sdk = without.sdk.into_builder().credentials_provider(SharedCredentialsProvider::new(None)).build();
    let config = KinesisConfig {
        stream: "s".into(),
        start: Start::TrimHorizon,
        mode: Mode::Polling,
        payloads: Payloads::Envelopes,
    };
    let (clock, patience) = (Clock::system(), Patience::default());
    let read_ahead = ReadAhead::new(1 << 20);
    let telemetry = Telemetry::default();
    let connected =
        KinesisSource::connect(&config, &without, &clock, &patience, &telemetry, read_ahead, Duration::ZERO);
    let connected = tokio::time::timeout(Duration::from_secs(10), connected).await.expect("not tried for ever");
    assert!(connected.unwrap_err().to_string().contains("credentials"));
}
