//! Reads one shard by SubscribeToShard: as a registered consumer, to which the service pushes what arrives.
//!
//! A subscription lasts 5 minutes. The next one begins at the continuation that the last event named: AT, not AFTER it,
//! since that is never too late, and what it brings a second time is known by the position. A continuation may be ahead
//! of the last record, so a worker that starts anew begins at the record, which alone can tell whether the stream has
//! trimmed the position; so does a subscription that comes so late that this must be told again.
//!
//! Events are taken only when there is room for them in [`ReadAhead`]: until then the connection's window fills up, and
//! the service waits. When it waits for too long it ends the subscription, which is then renewed.
//!
//! A consumer has one subscription a shard, and the latest one ends the one before. A worker that has lost the shard and
//! does not know yet may take it back and lose it again until it knows: that costs time, and no more, since the state
//! decides who commits.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tracing::{debug, warn};

use super::api::Api;
use super::calls::{Begin, Event, Subscription};
use super::cursor::{Answer, Cursor};
use super::errors::ApiError;
use super::pace::Limits;
use super::polling::COPIES;
use crate::event::ShardId;
use crate::position::{Position, SequenceNumber};
use crate::retry::{Retry, Verdict};
use crate::source::{Batch, Hold, ReadAhead, Reader, SourceError};

const SUBSCRIBE: &str = "SubscribeToShard";
/// A continuation is good for as long as an iterator is. Later, the stream may have trimmed what came behind it.
const CONTINUATION: Duration = Duration::from_secs(300);
/// Who has just subscribed can't be ended by another subscriber for 5 seconds.
/// Source: <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_SubscribeToShard.html>
const TAKE_OVER: Duration = Duration::from_secs(6);
/// A worker whose shard has gone to another subscribes again until it knows. More often than this it is something else.
const USUAL_TAKES: u32 = 3;
/// What is set aside while nothing much is expected, in bytes; an event that is larger waits for the rest.
const SLACK: usize = 16 << 10;
/// When more is expected and does not come within this, what was set aside for it is given back.
const PROMPT: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct FanOutReader {
    cursor: Cursor,
    consumer: Arc<str>,
    subscription: Option<Open>,
    continuation: Option<Continuation>,
    /// When SubscribeToShard may be called again.
    next_call: Instant,
    /// Whether the last event said that nothing was behind it.
    at_tip: bool,
    /// Taken off the subscription, and waiting for its place in [`ReadAhead`].
    arrived: Option<Arrived>,
    /// Since when the service says that somebody else has the subscription.
    in_use: Option<Instant>,
    /// A subscription that worked has ended before its time.
    cut_short: bool,
    /// How often somebody else took it, since that was last told.
    taken: u32,
    limits: Limits,
    retry: Retry,
}

#[derive(Debug)]
struct Arrived {
    event: Event,
    at: Instant,
    hold: Option<Hold>,
}

#[derive(Debug)]
struct Open {
    events: Box<dyn Subscription>,
    until: Instant,
    /// Whether it has brought an event.
    works: bool,
}

#[derive(Debug)]
struct Continuation {
    sequence: SequenceNumber,
    told: Instant,
}

impl FanOutReader {
    pub fn new(
        api: Api,
        consumer: Arc<str>,
        shard: &ShardId,
        from: &Position,
        limits: Limits,
        read_ahead: ReadAhead,
    ) -> Self {
        Self {
            retry: api.retry(&format!("subscription to {shard}")),
            cursor: Cursor::new(api, shard, from, read_ahead),
            consumer,
            subscription: None,
            continuation: None,
            next_call: Instant::now(),
            at_tip: false,
            arrived: None,
            in_use: None,
            cut_short: false,
            taken: 0,
            limits,
        }
    }

    /// Takes one event, with what goes before it. The cursor has what it brings, if that is anything.
    async fn poll(&mut self) -> Result<(), SourceError> {
        if self.arrived.is_none() {
            if self.subscription.is_none() && self.cursor.begin().is_none() {
                self.cursor.end();
                return Ok(());
            }
            match self.receive().await {
                Ok(Some(arrived)) => {
                    self.retry.recovered();
                    (self.in_use, self.cut_short) = (None, false);
                    self.arrived = Some(arrived);
                }
                Ok(None) => {
                    self.ended();
                    return Ok(());
                }
                Err(error) => {
                    self.ended();
                    return self.failed(error).await;
                }
            }
        }
        let hold = self.make_room().await;
        match (self.arrived.take(), hold) {
            (Some(arrived), Some(hold)) => self.accept(arrived, hold),
            _ => Ok(()),
        }
    }

    /// The next event, and what is held for it. `None` when the subscription is over. Cancel-safe.
    async fn receive(&mut self) -> Result<Option<Arrived>, ApiError> {
        if self.subscription.as_ref().is_some_and(|open| open.until <= Instant::now()) {
            return Ok(None);
        }
        if self.subscription.is_none() {
            self.subscribe().await?;
        }
        let expected = if self.at_tip { SLACK } else { COPIES * self.limits.event_bytes };
        let mut hold = self.cursor.read_ahead.hold(expected).await;
        let Some(open) = &mut self.subscription else { return Ok(None) };
        let now = Instant::now();
        let silent = now + self.limits.silence;
        let patience = open.until.min(silent);
        let next = match timeout_at(patience.min(now + PROMPT), open.events.next()).await {
            Ok(next) => Ok(next),
            Err(_) => {
                self.cursor.read_ahead.shrink(&mut hold, SLACK);
                timeout_at(patience, open.events.next()).await
            }
        };
        match next {
            Ok(Ok(Some(event))) if event.continuation.is_none() && event.children.is_empty() => {
                // To take this for the end of the shard would lose what comes next, if it is not.
                Err(ApiError::passing(SUBSCRIBE, "an event names neither a continuation nor child shards"))
            }
            Ok(Ok(Some(event))) => {
                open.works = true;
                Ok(Some(Arrived { event, at: Instant::now(), hold: Some(hold) }))
            }
            Ok(Ok(None)) if open.works => Ok(None),
            Ok(Ok(None)) => Err(ApiError::passing(SUBSCRIBE, "it ended before it brought anything")),
            Ok(Err(error)) => Err(error),
            Err(_) if patience < silent => Ok(None),
            Err(_) => Err(ApiError::passing(SUBSCRIBE, format!("nothing came for {:?}", self.limits.silence))),
        }
    }

    /// Subscribes, within the service's limit of calls.
    async fn subscribe(&mut self) -> Result<(), ApiError> {
        sleep_until(self.next_call).await;
        self.continuation.take_if(|continuation| continuation.told.elapsed() > CONTINUATION);
        let begin = match &self.continuation {
            Some(continuation) => Begin::Record(continuation.sequence.clone()),
            None => self.cursor.begin().expect("a reader is not opened behind the end of its shard"),
        };
        debug!(shard = %self.cursor.shard, ?begin, "subscribing");
        let start = Instant::now();
        self.next_call = start + self.limits.between_subscriptions;
        let subscribed = self.cursor.api.calls.subscribe(&self.consumer, &self.cursor.shard, &begin);
        let events = timeout(self.limits.silence, subscribed)
            .await
            .map_err(|_| ApiError::passing(SUBSCRIBE, format!("no answer within {:?}", self.limits.silence)))??;
        if self.continuation.is_none() {
            self.cursor.begun(begin);
        }
        self.subscription = Some(Open { events, until: start + self.limits.subscription, works: false });
        Ok(())
    }

    /// The subscription is over.
    fn ended(&mut self) {
        let worked = |open: &Open| open.works && Instant::now() < open.until;
        self.cut_short |= self.subscription.take().is_some_and(|open| worked(&open));
    }

    /// Waits until it is time to try again, unless that is hopeless.
    async fn failed(&mut self, error: ApiError) -> Result<(), SourceError> {
        if self.cursor.is_gone(&error).await? {
            return Ok(());
        }
        if error.has_code("ResourceInUseException") {
            return self.is_in_use(error).await;
        }
        self.cursor.count(&error);
        let (mut verdict, mut text) = self.cursor.explain(&error);
        if error.has_code("InvalidArgumentException") && self.continuation.take().is_some() {
            // It may be the continuation that is refused: next it is the position.
            (verdict, text) = (Verdict::Transient, error.text);
        }
        Ok(self.retry.again(verdict, &text).await?)
    }

    /// Another reader has the subscription, or had it until some seconds ago: for so long the service keeps it for who
    /// called last. That is how a shard goes from one worker to the next, and worth a word only if it goes on.
    async fn is_in_use(&mut self, error: ApiError) -> Result<(), SourceError> {
        let (shard, since) = (&self.cursor.shard, *self.in_use.get_or_insert_with(Instant::now));
        self.taken += u32::from(std::mem::take(&mut self.cut_short));
        if self.taken >= USUAL_TAKES {
            self.taken = 0;
            warn!(
                %shard,
                "somebody else reads this shard as consumer {}, and each ends the other's subscription: a group needs a \
                 consumer of its own",
                self.consumer
            );
        }
        if since.elapsed() > TAKE_OVER {
            let text =
                format!("somebody else has the subscription: a group needs a consumer of its own ({})", error.text);
            return Ok(self.retry.again(error.verdict, &text).await?);
        }
        debug!(%shard, "another reader has the subscription, or had it a moment ago: {}", error.text);
        sleep(self.limits.between_subscriptions).await;
        Ok(())
    }

    /// What the event that has arrived needs: what was set aside for it, or else what it waits for here. Cancel-safe.
    async fn make_room(&mut self) -> Option<Hold> {
        let arrived = self.arrived.as_mut()?;
        let bytes = arrived.event.records.iter().map(|record| record.data.len()).sum();
        // Given back before more is waited for: those who wait with a part in hand could wait for each other.
        match arrived.hold.take().filter(|hold| self.cursor.read_ahead.covers(hold, bytes)) {
            Some(enough) => Some(enough),
            None => Some(self.cursor.read_ahead.hold(bytes).await),
        }
    }

    /// Takes an event in; no await in here, so that it is taken in whole or not at all.
    fn accept(&mut self, arrived: Arrived, hold: Hold) -> Result<(), SourceError> {
        let Event { records, continuation, millis_behind, children } = arrived.event;
        // Some servers name the children before all records are told, and then a continuation still.
        let at_end = !children.is_empty() && (continuation.is_none() || records.is_empty());
        let answer = Answer { records, millis_behind, cut: false, at_end };
        self.at_tip = self.cursor.accept(answer, hold)?.at_tip;
        let sequence = continuation.and_then(|sequence| sequence.parse().ok());
        self.continuation = sequence.map(|sequence| Continuation { sequence, told: arrived.at });
        Ok(())
    }
}

#[async_trait]
impl Reader for FanOutReader {
    async fn next(&mut self) -> Result<Batch, SourceError> {
        loop {
            if let Some(batch) = self.cursor.pop() {
                return Ok(batch);
            }
            self.poll().await?;
        }
    }
}
