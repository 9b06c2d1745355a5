//! Enhanced fan-out against a server that pushes what a test says.

use std::sync::Mutex;

use aws_config::timeout::TimeoutConfig;
use ferrokinesis::event_stream::{encode_exception, encode_initial_response, encode_subscribe_event};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::scripted::{ARN, described, listed, raw_records, shard};
use super::*;
use crate::aws::scripted::{Reply, Request, Scripted, StreamEnd};

const CONSUMER: &str = "arn:aws:kinesis:us-east-1:123456789012:stream/s/consumer/firemain:1711083600";

/// An event with records `from`, `from` + 1, … and the continuation behind them.
fn event(from: u64, count: u64, behind: u64) -> Vec<u8> {
    encoded(&json!({"Records": raw_records(from, count), "MillisBehindLatest": behind, "ChildShards": [],
        "ContinuationSequenceNumber": (from + count).to_string()}))
}

/// The last event of a shard, as the service tells it.
fn last_event(from: u64, count: u64) -> Vec<u8> {
    let child = json!({"ShardId": "shardId-000000000001", "ParentShards": ["shardId-000000000000"],
        "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": "1"}});
    encoded(&json!({"Records": raw_records(from, count), "MillisBehindLatest": 0, "ChildShards": [child]}))
}

fn encoded(event: &Value) -> Vec<u8> {
    encode_subscribe_event(event.to_string().as_bytes(), "application/json")
}

fn stream(events: Vec<Vec<u8>>, end: StreamEnd) -> Reply {
    let mut parts = vec![encode_initial_response()];
    parts.extend(events);
    Reply::Stream { parts, pause: Duration::ZERO, end }
}

/// A server that knows the stream and its consumer, and answers everything else by the script.
async fn server(script: Vec<Reply>) -> Scripted {
    let script = Mutex::new(script.into_iter());
    Scripted::serve(move |request| match request.action() {
        "DescribeStreamSummary" => described(),
        "DescribeStreamConsumer" => consumer("ACTIVE"),
        _ => script.lock().unwrap().next().unwrap_or_else(|| panic!("not in the script: {request:?}")),
    })
    .await
}

fn consumer(status: &str) -> Reply {
    let description = json!({"ConsumerName": "firemain", "ConsumerARN": CONSUMER, "ConsumerStatus": status,
        "ConsumerCreationTimestamp": 1.0, "StreamARN": ARN});
    Reply::new(200, json!({"ConsumerDescription": description}).to_string())
}

fn mode() -> Mode {
    Mode::FanOut(Consumer::Arn(CONSUMER.to_owned()))
}

async fn source(server: &Scripted, patience: &Patience, limits: Limits) -> KinesisSource {
    let source = connect_in(mode(), &server.url, "s", Start::TrimHorizon, patience).await.unwrap();
    source.with_limits(limits)
}

async fn reader(server: &Scripted, from: Position) -> Box<dyn Reader> {
    let limits = Limits { silence: Duration::from_millis(300), ..quick() };
    let source = source(server, &Patience::default(), limits).await;
    source.open(&"shardId-000000000000".into(), &from).await.unwrap()
}

/// Where the subscriptions so far began.
fn begun(server: &Scripted) -> Vec<Value> {
    let requests = server.requests();
    let subscriptions = requests.iter().filter(|request| request.action() == "SubscribeToShard");
    subscriptions
        .map(|request| {
            let body: Value = serde_json::from_str(&request.body).unwrap();
            assert_eq!((&body["ConsumerARN"], &body["ShardId"]), (&json!(CONSUMER), &json!("shardId-000000000000")));
            body["StartingPosition"].clone()
        })
        .collect()
}

fn at(sequence: u64) -> Value {
    json!({"Type": "AT_SEQUENCE_NUMBER", "SequenceNumber": sequence.to_string()})
}

/// What is logged, by this thread.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Whichever way the service ends what another subscription takes the place of.
#[tokio::test]
async fn that_somebody_else_reads_as_the_same_consumer_is_told_when_it_goes_on() {
    let refused = || Reply::error(400, "ResourceInUseException");
    let in_stream = encode_exception("ResourceInUseException", "another subscription");
    for (times, told) in [(2, 0), (3, 1), (6, 2)] {
        for (more, end) in
            [(vec![], StreamEnd::Whole), (vec![], StreamEnd::Cut), (vec![in_stream.clone()], StreamEnd::Whole)]
        {
            let taken = |n| [stream([vec![event(n, 1, 9)], more.clone()].concat(), end), refused(), refused()];
            let script: Vec<Reply> = (1..=times).flat_map(taken).collect();
            let server =
                server([script, vec![stream(vec![event(times + 1, 1, 0)], StreamEnd::Silence)]].concat()).await;
            let logged = Logged::default();
            let writer = logged.clone();
            let log = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
            let _guard = tracing::subscriber::set_default(log);
            let mut reader = reader(&server, Position::TrimHorizon).await;
            assert_eq!(read_on(&mut reader).await.0.len() as u64, times + 1);
            let log = String::from_utf8(logged.0.lock().unwrap().clone()).unwrap();
            assert_eq!(log.matches("a group needs a consumer of its own").count(), told, "{log}");
            assert!(told == 0 || log.contains(CONSUMER), "{log}");
        }
    }
}

#[tokio::test]
async fn what_can_heal_is_subscribed_again_from_where_it_stood() {
    let mut cut = event(6, 2, 0);
    cut.truncate(cut.len() / 2);
    let server = server(vec![
        Reply::error(400, "ResourceInUseException"),
        Reply::error(400, "LimitExceededException"),
        Reply::error(500, "InternalFailureException"),
        Reply::Cut,
        stream(vec![event(1, 2, 9), encode_exception("InternalFailureException", "said by a test")], StreamEnd::Whole),
        stream(vec![encode_exception("ResourceInUseException", "another connection")], StreamEnd::Whole),
        stream(vec![event(3, 3, 9), cut.clone()], StreamEnd::Cut),
        stream(vec![cut], StreamEnd::Whole),
        stream(vec![], StreamEnd::Whole),
        // A continuation that is no record of its own, and one before it that is told again.
        stream(vec![event(5, 3, 0)], StreamEnd::Silence),
    ])
    .await;
    let mut reader = reader(&server, Position::TrimHorizon).await;
    let (read, last) = read_on(&mut reader).await;
    assert_eq!(read, ["1", "2", "3", "4", "5", "6", "7"]);
    assert_eq!((last.at_tip, last.at_end, last.millis_behind), (true, false, Some(0)));
    let oldest = json!({"Type": "TRIM_HORIZON"});
    let mut expected = vec![oldest; 5];
    expected.extend([at(3), at(3), at(6), at(6), at(6)]);
    assert_eq!(begun(&server), expected);
}

#[tokio::test]
async fn a_subscription_that_ends_by_itself_is_renewed_at_its_continuation() {
    let server = server(vec![
        stream(vec![event(4, 1, 0), event(5, 0, 0)], StreamEnd::Whole),
        stream(vec![event(90, 1, 0)], StreamEnd::Silence),
    ])
    .await;
    let mut reader = reader(&server, Position::After(3.into())).await;
    let first = next(&mut reader).await;
    assert_eq!(first.expired, Some(Position::After(3.into())), "record 3 is gone");
    let second = next(&mut reader).await;
    assert_eq!((second.records[0].sequence.as_str(), second.expired), ("90", None), "a continuation is no record");
    assert_eq!(begun(&server), [at(3), at(5)]);
}

#[tokio::test]
async fn a_position_that_the_stream_has_trimmed_is_told_with_the_oldest_record() {
    let trimmed = vec![
        stream(vec![event(5, 0, 80_000_000)], StreamEnd::Whole),
        stream(vec![event(7, 2, 0), event(9, 1, 0)], StreamEnd::Silence),
    ];
    let server = server(trimmed).await;
    let mut reader = reader(&server, Position::After(3.into())).await;
    let empty = next(&mut reader).await;
    assert_eq!((empty.records.len(), empty.expired), (0, None), "not known yet, nor after the renewal");
    let oldest = next(&mut reader).await;
    assert_eq!((oldest.records.len(), oldest.expired), (2, Some(Position::After(3.into()))));
    let then = next(&mut reader).await;
    assert_eq!((then.records.len(), then.expired), (1, None), "told once");

    let kept = self::server(vec![stream(vec![event(3, 3, 0)], StreamEnd::Silence)]).await;
    let mut reader = self::reader(&kept, Position::After(3.into())).await;
    let batch = next(&mut reader).await;
    assert_eq!((batch.records.len(), batch.expired), (2, None));
}

#[tokio::test]
async fn the_last_event_of_a_shard_brings_its_records_and_the_end() {
    let server = server(vec![stream(vec![event(1, 1, 5), last_event(2, 2)], StreamEnd::Whole)]).await;
    let mut reader = reader(&server, Position::TrimHorizon).await;
    let (read, last) = read_on(&mut reader).await;
    assert_eq!((read, last.at_end, last.at_tip), (vec!["1".to_owned(), "2".to_owned(), "3".to_owned()], true, true));
}

/// Else what comes behind it would be lost, should the server have been wrong.
#[tokio::test]
async fn an_event_without_a_continuation_is_the_end_only_with_children() {
    let odd = encoded(&json!({"Records": raw_records(2, 1), "MillisBehindLatest": 0}));
    let server = server(vec![
        stream(vec![event(1, 1, 5), odd], StreamEnd::Silence),
        stream(vec![last_event(2, 1)], StreamEnd::Whole),
    ])
    .await;
    let mut reader = reader(&server, Position::TrimHorizon).await;
    let (read, last) = read_on(&mut reader).await;
    assert_eq!((read, last.at_end), (vec!["1".to_owned(), "2".to_owned()], true));
    assert_eq!(begun(&server)[1], at(2));
}

#[tokio::test]
async fn a_shard_that_retention_has_removed_ends_and_what_was_left_in_it_is_told() {
    for gone in [
        Reply::error(400, "ResourceNotFoundException"),
        stream(vec![encode_exception("ResourceNotFoundException", "gone")], StreamEnd::Whole),
    ] {
        let server = server(vec![gone, listed(vec![shard("shardId-000000000001", [None, None])])]).await;
        let mut reader = reader(&server, Position::After(3.into())).await;
        let end = next(&mut reader).await;
        assert_eq!((end.records.len(), end.at_end, end.expired), (0, true, Some(Position::After(3.into()))));
    }
}

#[tokio::test]
async fn refusals_are_fatal_at_the_start_and_say_what_to_allow() {
    let there = || listed(vec![shard("shardId-000000000000", [None, None])]);
    let frame = |code| stream(vec![encode_exception(code, "said by a test")], StreamEnd::Whole);
    for (script, told) in [
        (vec![Reply::error(400, "AccessDeniedException")], "kinesis:SubscribeToShard for the stream's consumer"),
        (vec![frame("KMSAccessDeniedException")], "kms:Decrypt"),
        (vec![frame("KMSDisabledException")], "check its state in KMS"),
        (vec![frame("NobodyKnowsThisException")], "NobodyKnowsThisException"),
        (vec![Reply::error(400, "ResourceNotFoundException"), there()], "no such consumer"),
        (vec![frame("ResourceNotFoundException"), there()], "no such consumer"),
    ] {
        let server = server(script).await;
        let error = reader(&server, Position::TrimHorizon).await.next().await.unwrap_err().to_string();
        assert!(error.contains(told) && error.contains("shardId-000000000000"), "{error}");
        assert_eq!(begun(&server).len(), 1, "once: {error}");
    }
    let server = server(vec![Reply::error(400, "InvalidArgumentException")]).await;
    let error = reader(&server, Position::After(3.into())).await.next().await.unwrap_err().to_string();
    assert!(error.contains("after 3") && error.contains("another `group`"), "{error}");
}

#[tokio::test]
async fn a_continuation_that_is_refused_gives_way_to_the_position() {
    let server = server(vec![
        stream(vec![event(1, 2, 5), event(9, 0, 5)], StreamEnd::Whole),
        Reply::error(400, "InvalidArgumentException"),
        stream(vec![event(2, 2, 0)], StreamEnd::Silence),
    ])
    .await;
    let mut reader = reader(&server, Position::TrimHorizon).await;
    assert_eq!(read_on(&mut reader).await.0, ["1", "2", "3"]);
    assert_eq!(begun(&server)[1..], [at(9), at(2)]);
}

#[tokio::test]
async fn a_subscription_from_which_nothing_comes_is_renewed() {
    let server = server(vec![
        Reply::Stream { parts: vec![], pause: Duration::ZERO, end: StreamEnd::Silence },
        stream(vec![], StreamEnd::Silence),
        stream(vec![event(1, 1, 5)], StreamEnd::Silence),
        stream(vec![event(2, 1, 0)], StreamEnd::Silence),
    ])
    .await;
    let mut reader = reader(&server, Position::TrimHorizon).await;
    let start = Instant::now();
    assert_eq!(read_on(&mut reader).await.0, ["1", "2"]);
    assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
    assert_eq!(begun(&server)[2..], [json!({"Type": "TRIM_HORIZON"}), at(2)]);
}

/// Not the timeout of an attempt, nor the 5 s after which the SDK takes other answers for stalled.
#[tokio::test]
async fn seconds_between_two_events_end_no_subscription() {
    let parts = vec![encode_initial_response(), event(1, 1, 5), event(2, 1, 0)];
    let server = server(vec![Reply::Stream { parts, pause: Duration::from_secs(7), end: StreamEnd::Silence }]).await;
    let mut aws = aws(&server.url).await;
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(Duration::from_secs(2));
    aws.sdk = aws.sdk.into_builder().timeout_config(timeouts.build()).build();
    let config =
        KinesisConfig { stream: "s".into(), start: Start::TrimHorizon, mode: mode(), payloads: Payloads::Envelopes };
    let (clock, patience, read_ahead) = (Clock::system(), Patience::default(), ReadAhead::new(64 << 20));
    let source =
        KinesisSource::connect(&config, &aws, &clock, &patience, &Telemetry::default(), read_ahead, Duration::ZERO)
            .await
            .unwrap();
    let mut reader = source.open(&"shardId-000000000000".into(), &Position::TrimHorizon).await.unwrap();
    assert_eq!(read_on(&mut reader).await.0, ["1", "2"]);
    assert_eq!(begun(&server).len(), 1);
}

#[tokio::test]
async fn empty_events_are_told_only_when_they_are_news() {
    let lags = [50_000, 49_000, 38_000, 37_000, 0, 0];
    let mut events: Vec<Vec<u8>> = lags.iter().map(|lag| event(1, 0, *lag)).collect();
    events.push(last_event(1, 0));
    let server = server(vec![stream(events, StreamEnd::Whole)]).await;
    let mut reader = reader(&server, Position::TrimHorizon).await;
    let mut told = Vec::new();
    while told.last().is_none_or(|(_, _, at_end)| !at_end) {
        let batch = next(&mut reader).await;
        assert!(batch.records.is_empty());
        told.push((batch.millis_behind.unwrap(), batch.at_tip, batch.at_end));
    }
    assert_eq!(told, [(50_000, false, false), (38_000, false, false), (0, true, false), (0, true, true)]);
}

#[tokio::test]
async fn subscriptions_keep_their_distance_and_share_no_connection() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let calls = Arc::clone(&seen);
    let server = Scripted::serve(move |request: &Request| match request.action() {
        "DescribeStreamSummary" => described(),
        "DescribeStreamConsumer" => consumer("ACTIVE"),
        _ => {
            let mut calls = calls.lock().unwrap();
            calls.push(Instant::now());
            stream(vec![event(calls.len() as u64, 1, 5)], StreamEnd::Whole)
        }
    })
    .await;
    let distance = Duration::from_millis(150);
    let limits = Limits { between_subscriptions: distance, ..quick() };
    let source = source(&server, &Patience::default(), limits).await;
    let mut reader = source.open(&"shardId-000000000000".into(), &Position::TrimHorizon).await.unwrap();
    let start = Instant::now();
    for _ in 0..5 {
        next(&mut reader).await;
    }
    let calls = seen.lock().unwrap().clone();
    let after: Vec<Duration> = calls.iter().map(|call| *call - start).collect();
    assert!((0..).zip(&after).all(|(n, after)| *after >= distance * n), "{after:?}");
    assert_eq!(server.connections(), 1 + calls.len(), "one for the other calls, and one each");
}

/// Memory for what nobody has decoded yet is bounded, and no reader waits for ever for another's part of it.
#[tokio::test]
async fn events_wait_for_room() {
    let large = || {
        let mut records = raw_records(1, 3);
        for record in &mut records {
            record["Data"] = json!("A".repeat(800_000));
        }
        let event = json!({"Records": records, "MillisBehindLatest": 0, "ContinuationSequenceNumber": "4"});
        stream(vec![encoded(&event), event_after(4)], StreamEnd::Silence)
    };
    fn event_after(from: u64) -> Vec<u8> {
        event(from, 1, 0)
    }
    let server = server(vec![large(), large()]).await;
    // Each event has 1.8 MB: only one of them fits at a time.
    let read_ahead = ReadAhead::new(3 << 20);
    let limits = Limits { event_bytes: 300_000, ..quick() };
    let source = source(&server, &Patience::default(), limits).await;
    let source = KinesisSource { read_ahead: read_ahead.clone(), ..source };
    let mut one = source.open(&"shardId-000000000000".into(), &Position::TrimHorizon).await.unwrap();
    let mut other = source.open(&"shardId-000000000000".into(), &Position::TrimHorizon).await.unwrap();
    let mut kept = Vec::new();
    for _ in 0..3 {
        let batch = next(&mut one).await;
        assert!((585..=588).contains(&batch.hold.as_ref().unwrap().num_permits()), "{batch:?}");
        kept.push(batch);
    }
    let waits = tokio::time::timeout(Duration::from_millis(300), other.next()).await;
    assert!(waits.is_err(), "{waits:?}");
    assert_eq!(next(&mut one).await.records[0].sequence.as_str(), "4", "a small one fits still");
    kept.clear();
    let mut read = 0;
    while read < 4 {
        read += next(&mut other).await.records.len();
    }
}
