//! The Kinesis stream: what it is, and that it can be read, by the calls that the service makes.
//!
//! Never SubscribeToShard: it would take the subscription of a running worker.

use std::time::Duration;

use aws_sdk_kinesis::types::{EncryptionType, StreamDescriptionSummary, StreamMode, StreamStatus};
use tokio::time::sleep;

use super::aws::{Clocks, NO_CREDENTIALS, Settings};
use super::{BOUND, Finding, State, Topic, bounded, counted, unreachable_because};
use crate::config::{Consumer, KinesisConfig, Mode};
use crate::event::ShardId;
use crate::retry::Verdict;
use crate::source::kinesis::calls::{Begin, Calls, ConsumerState, Service};
use crate::source::kinesis::errors::ApiError;

/// Calls of GetRecords until there is a record. From the oldest on, answers may be empty for a while.
const MOST_READS: usize = 5;
/// Between them: a shard takes five a second, of all that read it.
const BETWEEN_READS: Duration = Duration::from_millis(300);
/// Shards that are looked into for a record, from the youngest on.
const MOST_SHARDS: usize = 3;

/// Looks at the stream, and reads a record.
pub(super) async fn check(config: &KinesisConfig, settings: &Settings, clocks: &Clocks, topic: Topic) {
    let Settings::Found(found) = settings else {
        topic.tell("stream", Finding::not_checked(NO_CREDENTIALS));
        return;
    };
    let service = Service::new(&found.aws, &config.stream).watched(clocks.of("Kinesis"));
    let (name, region) = (service.name.clone(), service.region());
    let summary = asked("DescribeStreamSummary", service.summary()).await;
    let hopeless = summary.as_ref().is_err_and(|error| !is_denied(error));
    topic.tell("stream", stream(&name, &region, summary.as_ref().map(Option::as_ref)));
    if hopeless {
        let text = "its shards and records: the stream can't be asked";
        topic.tell("records", Finding::not_checked(text));
        return;
    }
    let key = summary.as_ref().ok().and_then(|summary| key_of(summary.as_ref()?));
    let page = asked("ListShards", service.list_shards(None)).await;
    match page {
        Ok(page) => {
            let more = if page.token.is_some() { " and more" } else { "" };
            let shards = counted(page.shards.len() as u64, "shard");
            topic.tell("shards", Finding::ok(format!("{shards}{more} listed, closed ones too")));
            let ids: Vec<ShardId> = page.shards.into_iter().map(|shard| shard.id).collect();
            let read = read(&service, &ids).await;
            topic.tell("records", records(&read, key.as_deref(), &config.mode));
        }
        Err(error) => {
            topic.tell("shards", Finding::failed(explained(&error)));
            topic.tell("records", Finding::not_checked("no shard is known that could be read"));
        }
    }
    if let Mode::FanOut(named) = &config.mode {
        let arn = summary.as_ref().ok().and_then(|summary| Some(summary.as_ref()?.stream_arn.clone()));
        fan_out(&service, named, arn.as_deref(), &topic).await;
    }
}

async fn asked<T>(action: &'static str, call: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
    let silent = || ApiError::passing(action, format!("no answer within {} s", BOUND.as_secs()));
    bounded(call).await.unwrap_or_else(|| Err(silent()))
}

fn is_denied(error: &ApiError) -> bool {
    error.has_code("AccessDeniedException") || error.has_code("AccessDenied")
}

/// The advice of the source itself; of no answer, where to look.
fn explained(error: &ApiError) -> String {
    if error.code.is_none() && error.verdict == Verdict::Transient {
        return format!("Kinesis {}", unreachable_because(&error.text));
    }
    error.text.clone()
}

/// The key that the stream is encrypted with.
fn key_of(summary: &StreamDescriptionSummary) -> Option<String> {
    (summary.encryption_type == Some(EncryptionType::Kms)).then(|| summary.key_id.clone().unwrap_or_default())
}

/// Judges an answer of DescribeStreamSummary.
///
/// How long the stream keeps records is told and never warned about: 24 hours is what every stream has that nobody gave
/// more, and how long an outage may last only its owner knows.
fn stream(name: &str, region: &str, answer: Result<Option<&StreamDescriptionSummary>, &ApiError>) -> Finding {
    let summary = match answer {
        Ok(Some(summary)) => summary,
        Ok(None) => return Finding::failed(format!("{name} in {region}: DescribeStreamSummary answers with nothing")),
        Err(error) => return Finding::failed(format!("{name}: {}", explained(error))),
    };
    let status = &summary.stream_status;
    if !matches!(status, StreamStatus::Active | StreamStatus::Updating) {
        let what = match status {
            StreamStatus::Creating => "wait until it is ACTIVE",
            _ => "name another in `source.kinesis.stream`",
        };
        return Finding::failed(format!("{name} in {region} is {status}: {what}"));
    }
    let hours = summary.retention_period_hours;
    let mut about = vec![counted(u64::try_from(summary.open_shard_count).unwrap_or(0), "open shard")];
    about.extend(summary.stream_mode_details.as_ref().map(|details| match details.stream_mode {
        StreamMode::OnDemand => "on demand".to_owned(),
        StreamMode::Provisioned => "provisioned".to_owned(),
        ref other => other.to_string(),
    }));
    about.push(match key_of(summary) {
        Some(key) => format!("encrypted with {key}"),
        None => "not encrypted".to_owned(),
    });
    about.extend(summary.consumer_count.filter(|count| *count > 0).map(|count| {
        let consumers = counted(u64::try_from(count).unwrap_or(0), "consumer");
        format!("{consumers} registered")
    }));
    let about = about.join(", ");
    Finding::ok(format!(
        "{name} in {region} is {status}: {about}; records are kept for {hours} h, and an outage that lasts longer loses some"
    ))
}

/// What was read of some shards.
#[derive(Debug, PartialEq, Eq)]
enum Read {
    /// A record of this shard.
    Record(ShardId),
    /// So many shards, and no record.
    Nothing(usize),
    Failed(ApiError),
}

/// Reads until there is a record: from the youngest shards, which are the ones that are written to.
async fn read(service: &dyn Calls, shards: &[ShardId]) -> Read {
    let mut looked = 0;
    for shard in shards.iter().rev().take(MOST_SHARDS) {
        match read_one(service, shard).await {
            Ok(true) => return Read::Record(shard.clone()),
            Ok(false) => looked += 1,
            Err(error) => return Read::Failed(error),
        }
    }
    Read::Nothing(looked)
}

/// Whether there was a record.
async fn read_one(service: &dyn Calls, shard: &ShardId) -> Result<bool, ApiError> {
    let mut iterator = asked("GetShardIterator", service.shard_iterator(shard, &Begin::TrimHorizon)).await?;
    let mut throttled = None;
    for _ in 0..MOST_READS {
        let Some(from) = &iterator else { return Ok(false) };
        match asked("GetRecords", service.get_records(from, 1)).await {
            Ok(fetched) if !fetched.records.is_empty() => return Ok(true),
            Ok(fetched) if fetched.millis_behind == Some(0) => return Ok(false),
            Ok(fetched) => (iterator, throttled) = (fetched.iterator, None),
            // Those that deliver from it go first.
            Err(error) if error.verdict == Verdict::Transient && error.code.is_some() => throttled = Some(error),
            Err(error) => return Err(error),
        }
        sleep(BETWEEN_READS).await;
    }
    throttled.map_or(Ok(false), Err)
}

/// Judges what was read of a stream that is encrypted with a key, or not.
fn records(read: &Read, key: Option<&str>, mode: &Mode) -> Finding {
    let error = match (read, key) {
        (Read::Record(shard), None) => return Finding::ok(format!("one of {shard} was read")),
        (Read::Record(shard), Some(key)) => {
            return Finding::ok(format!("one of {shard} was read, and decrypted with {key}"));
        }
        (Read::Nothing(0), _) => return Finding::not_checked("the stream has no shard yet"),
        (Read::Nothing(shards), None) => {
            return Finding::ok(format!(
                "reading is allowed; none is in the {} looked at",
                counted(*shards as u64, "shard")
            ));
        }
        (Read::Nothing(shards), Some(key)) => {
            let shards = counted(*shards as u64, "shard");
            return Finding::not_checked(format!(
                "reading is allowed, and none is in the {shards} looked at: whether kms:Decrypt is allowed with {key} shows \
                 when there is one"
            ));
        }
        (Read::Failed(error), _) => error,
    };
    let key = key.filter(|_| error.code.as_ref().is_some_and(|code| code.starts_with("KMS")));
    let key = key.map(|key| format!("; the key is {key}")).unwrap_or_default();
    let text = format!("{}: {}{key}", error.action, explained(error));
    match mode {
        // With the key it would be the same by a subscription.
        Mode::FanOut(_) if is_denied(error) => Finding::warning(format!(
            "{text}; with fan_out it is needed for --drain beside other workers only, whose shards are looked at by polling"
        )),
        _ if error.verdict == Verdict::Transient && error.code.is_some() => Finding::warning(format!(
            "{text}: others read as much as the shard gives; with fan_out it has its own share"
        )),
        Mode::Polling | Mode::FanOut(_) => Finding::failed(text),
    }
}

/// The consumer of fan-out; what can't be tried is named.
async fn fan_out(service: &Service, named: &Consumer, stream_arn: Option<&str>, topic: &Topic) {
    let (finding, arn) = match (named, stream_arn) {
        (Consumer::Arn(arn), Some(of)) if !is_of(arn, of) => {
            let advice = "correct `source.kinesis.consumer_arn`, or the region and the account";
            (Finding::failed(format!("{arn} is no consumer of {of}: {advice}")), None)
        }
        (Consumer::Name(_), None) => {
            let text = "the stream's ARN is not known, by which it is asked for: see that kinesis:DescribeStreamConsumer is \
                        allowed, and, where it is not registered yet, kinesis:RegisterStreamConsumer for the stream";
            (Finding::not_checked(text), None)
        }
        (_, of) => {
            let answer = service.describe_consumer(of.unwrap_or_default(), named);
            let answer = asked("DescribeStreamConsumer", answer).await;
            let arn = answer.as_ref().ok().map(|found| found.arn.clone());
            (consumer(named, answer), arn)
        }
    };
    let refused = finding.state == State::Failed;
    topic.tell("consumer", finding);
    if !refused {
        let of = arn.unwrap_or_else(|| "<the stream's ARN>/consumer/*".to_owned());
        let text =
            format!("trying it would take a running worker's: see that kinesis:SubscribeToShard is allowed for {of}");
        topic.tell("subscription", Finding::not_checked(text));
    }
}

fn is_of(consumer: &str, stream: &str) -> bool {
    consumer.strip_prefix(stream).is_some_and(|rest| rest.starts_with("/consumer/"))
}

/// Judges an answer of DescribeStreamConsumer.
fn consumer(named: &Consumer, answer: Result<ConsumerState, ApiError>) -> Finding {
    match (answer, named) {
        (Ok(found), _) if found.status == "ACTIVE" => Finding::ok(format!("{} is ACTIVE", found.arn)),
        (Ok(found), _) => Finding::warning(format!(
            "{} is {}: the service waits until it is ACTIVE, or gone and can be registered",
            found.arn, found.status
        )),
        (Err(error), Consumer::Name(name)) if error.has_code("ResourceNotFoundException") => {
            Finding::not_checked(format!(
                "{name} is registered at the first start, which would cost to try: see that kinesis:RegisterStreamConsumer is \
                 allowed for the stream"
            ))
        }
        (Err(error), _) => Finding::failed(explained(&error)),
    }
}

#[cfg(test)]
mod tests;
