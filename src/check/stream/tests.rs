use async_trait::async_trait;
use aws_sdk_kinesis::primitives::DateTime;
use aws_sdk_kinesis::types::StreamModeDetails;
use std::sync::Mutex;

use super::*;
use crate::source::kinesis::calls::{Fetched, RawRecord, ShardPage, Subscription};

const ARN: &str = "arn:aws:kinesis:eu-west-1:123456789012:stream/app-logs";
const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/k";

fn error(action: &'static str, code: &str, verdict: Verdict, text: &str) -> ApiError {
    ApiError { code: Some(code.to_owned()), verdict, ..ApiError::passing(action, text) }
}

fn denied(action: &'static str) -> ApiError {
    error(action, "AccessDeniedException", Verdict::Refused, "access denied: allow kinesis:X for the stream")
}

fn summary(status: StreamStatus) -> aws_sdk_kinesis::types::builders::StreamDescriptionSummaryBuilder {
    StreamDescriptionSummary::builder()
        .stream_name("app-logs")
        .stream_arn(ARN)
        .stream_status(status)
        .retention_period_hours(24)
        .stream_creation_timestamp(DateTime::from_secs(0))
        .set_enhanced_monitoring(Some(Vec::new()))
        .open_shard_count(4)
}

#[test]
fn a_stream_is_told_with_what_one_wants_to_know_of_it() {
    let mode = StreamModeDetails::builder().stream_mode(StreamMode::OnDemand).build().unwrap();
    let about = summary(StreamStatus::Active).stream_mode_details(mode).consumer_count(2);
    let about = about.encryption_type(EncryptionType::Kms).key_id(KEY).build().unwrap();
    let finding = stream("app-logs", "eu-west-1", Ok(Some(&about)));
    let expected = format!(
        "app-logs in eu-west-1 is ACTIVE: 4 open shards, on demand, encrypted with {KEY}, 2 consumers registered; \
         records are kept for 24 h, and an outage that lasts longer loses some"
    );
    assert_eq!(finding, Finding::ok(expected));
    let plain = summary(StreamStatus::Updating).encryption_type(EncryptionType::None).build().unwrap();
    let finding = stream("app-logs", "eu-west-1", Ok(Some(&plain)));
    assert!(finding.state == State::Ok && finding.text.contains("4 open shards, not encrypted;"), "{}", finding.text);
    for status in [StreamStatus::Creating, StreamStatus::Deleting] {
        let finding = stream("app-logs", "eu-west-1", Ok(Some(&summary(status).build().unwrap())));
        assert_eq!(finding.state, State::Failed);
    }
    let refused = denied("DescribeStreamSummary");
    let finding = stream("app-logs", "eu-west-1", Err(&refused));
    assert!(finding.state == State::Failed && finding.text.contains("allow kinesis:X"), "{}", finding.text);
    let away = ApiError::passing("DescribeStreamSummary", "no answer within 10 s");
    let finding = stream("app-logs", "eu-west-1", Err(&away));
    assert!(finding.text.contains("app-logs: Kinesis can't be reached (no answer within 10 s)"), "{}", finding.text);
}

#[test]
fn what_was_read_proves_the_key_or_not() {
    let read = |read: &Read, key| records(read, key, &Mode::Polling);
    let shard = ShardId::from("shardId-000000000003");
    let record = Read::Record(shard);
    assert_eq!(read(&record, None), Finding::ok("one of shardId-000000000003 was read"));
    assert!(read(&record, Some(KEY)).text.ends_with(&format!("and decrypted with {KEY}")));
    assert_eq!(read(&Read::Nothing(1), None).state, State::Ok);
    let unproven = read(&Read::Nothing(2), Some(KEY));
    assert!(unproven.state == State::NotChecked && unproven.text.contains("kms:Decrypt"), "{}", unproven.text);
    assert_eq!(read(&Read::Nothing(0), None).state, State::NotChecked);
    let text = "access denied: allow kms:Decrypt with the key of the stream (KMSAccessDeniedException)";
    let refused = Read::Failed(error("GetRecords", "KMSAccessDeniedException", Verdict::Refused, text));
    let finding = read(&refused, Some(KEY));
    assert_eq!(finding, Finding::failed(format!("GetRecords: {text}; the key is {KEY}")));
    assert_eq!(records(&refused, Some(KEY), &Mode::FanOut(Consumer::Name("c".into()))).state, State::Failed);
}

#[test]
fn with_fan_out_polling_is_needed_by_few() {
    let read = Read::Failed(denied("GetRecords"));
    assert_eq!(records(&read, None, &Mode::Polling).state, State::Failed);
    let finding = records(&read, None, &Mode::FanOut(Consumer::Name("c".into())));
    assert!(finding.state == State::Warning && finding.text.contains("needed for --drain"), "{}", finding.text);
    let code = "ProvisionedThroughputExceededException";
    let throttled = Read::Failed(error("GetRecords", code, Verdict::Transient, code));
    assert_eq!(records(&throttled, None, &Mode::Polling).state, State::Warning);
}

#[test]
fn a_consumer_is_active_or_can_be_registered_or_is_missing() {
    let (name, arn) = (Consumer::Name("firemain".into()), Consumer::Arn(format!("{ARN}/consumer/firemain:1")));
    let state = |status: &str| Ok(ConsumerState { arn: "the consumer".into(), status: status.into() });
    assert_eq!(consumer(&arn, state("ACTIVE")), Finding::ok("the consumer is ACTIVE"));
    assert_eq!(consumer(&arn, state("DELETING")).state, State::Warning);
    let absent = || error("DescribeStreamConsumer", "ResourceNotFoundException", Verdict::Refused, "no such consumer");
    assert_eq!(consumer(&arn, Err(absent())), Finding::failed("no such consumer"));
    let later = consumer(&name, Err(absent()));
    assert!(
        later.state == State::NotChecked && later.text.contains("kinesis:RegisterStreamConsumer"),
        "{}",
        later.text
    );
    assert_eq!(consumer(&name, Err(denied("DescribeStreamConsumer"))).state, State::Failed);
    assert!(is_of(&format!("{ARN}/consumer/firemain:1"), ARN));
    assert!(!is_of(&format!("{ARN}-other/consumer/firemain:1"), ARN));
}

/// Answers of GetRecords, one after the other; of other calls the good one.
#[derive(Debug)]
struct Answers(Mutex<Vec<Result<Fetched, ApiError>>>);

#[async_trait]
impl Calls for Answers {
    async fn describe(&self) -> Result<String, ApiError> {
        unreachable!("it is asked for more than this")
    }

    async fn list_shards(&self, _: Option<&str>) -> Result<ShardPage, ApiError> {
        unreachable!("the shards are given")
    }

    async fn shard_iterator(&self, shard: &ShardId, begin: &Begin) -> Result<Option<String>, ApiError> {
        assert_eq!(*begin, Begin::TrimHorizon);
        Ok(Some(shard.to_string()))
    }

    async fn get_records(&self, _: &str, limit: usize) -> Result<Fetched, ApiError> {
        assert_eq!(limit, 1, "no more is taken from those that deliver");
        self.0.lock().unwrap().remove(0)
    }

    async fn subscribe(&self, _: &str, _: &ShardId, _: &Begin) -> Result<Box<dyn Subscription>, ApiError> {
        panic!("it would take the subscription of a worker");
    }

    async fn register_consumer(&self, _: &str, _: &str) -> Result<(), ApiError> {
        panic!("nothing is registered");
    }

    async fn describe_consumer(&self, _: &str, _: &Consumer) -> Result<ConsumerState, ApiError> {
        unreachable!("records are read")
    }
}

fn fetched(records: usize, behind: u64, more: bool) -> Result<Fetched, ApiError> {
    let record = RawRecord { data: "x".into(), sequence: "1".into(), partition_key: None, arrival: None };
    let iterator = more.then(|| "next".to_owned());
    Ok(Fetched { records: vec![record; records], iterator, millis_behind: Some(behind) })
}

#[tokio::test(start_paused = true)]
async fn shards_are_read_until_there_is_a_record_and_not_for_long() {
    let shards = ["a", "b", "c", "d"].map(ShardId::from);
    let code = "ProvisionedThroughputExceededException";
    let throttled = || Err(error("GetRecords", code, Verdict::Transient, code));
    let behind = || fetched(0, 9, true);
    for (answers, expected) in [
        (vec![fetched(1, 0, true)], Read::Record("d".into())),
        // Far from the tip answers may be empty.
        (vec![behind(), throttled(), fetched(1, 9, true)], Read::Record("d".into())),
        // At the tip, and behind the end of a closed shard.
        (vec![fetched(0, 0, true), fetched(0, 9, false), fetched(1, 0, true)], Read::Record("b".into())),
        (vec![fetched(0, 0, true), fetched(0, 0, true), fetched(0, 0, true)], Read::Nothing(3)),
        (vec![behind(), behind(), behind(), behind(), behind(), fetched(1, 0, true)], Read::Record("c".into())),
        (vec![throttled(), throttled(), throttled(), throttled(), throttled()], Read::Failed(throttled().unwrap_err())),
        (vec![Err(denied("GetRecords"))], Read::Failed(denied("GetRecords"))),
    ] {
        let calls = Answers(Mutex::new(answers));
        assert_eq!(read(&calls, &shards).await, expected);
        assert!(calls.0.lock().unwrap().is_empty(), "all were asked for");
    }
    assert_eq!(read(&Answers(Mutex::default()), &[]).await, Read::Nothing(0));
}
