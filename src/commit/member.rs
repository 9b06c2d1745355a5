//! One worker's membership of its group: the only place where shared state is changed.
//!
//! [`Member::advance`] applies a pure change of the [`Snapshot`] to the head of the [`Log`]: compare-and-swap by
//! put-if-absent. Invariants: bytes for a number whose fate is unknown are never replaced by others; nothing is
//! believed from an answer alone (the listing and the attempt's number decide); who is not in the state any more is
//! fenced, and stays so.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::change::Refused;
use super::log::{Entry, Log};
use super::snapshot::{Attempt, BadSnapshot, Snapshot, WorkerId};
use super::storage::Answer;
use crate::broken::{Broken, is_broken};
use crate::clock::Clock;
use crate::retry::{GaveUp, Patience, Retry, Verdict};

/// What a worker pauses at most that lost a number to another, however often: longer pauses would only let those pass who
/// came later, for one of all who try is always first.
const RIVAL_PAUSE: Duration = Duration::from_millis(20);

/// Why a change was not made.
#[derive(Debug, thiserror::Error)]
pub enum AdvanceError {
    /// Taken for dead: forget every buffer, staged pack and position, and start again under a new id.
    #[error("this worker was taken for dead by another")]
    Fenced,
    /// The change is not legal on the head.
    #[error("{0}")]
    Refused(Refused),
    #[error(transparent)]
    GaveUp(#[from] GaveUp),
    #[error("snapshot {number} can't be read: {error}")]
    BadSnapshot { number: u64, error: BadSnapshot },
    #[error("snapshot {number} calls itself {told}: was it copied or renamed? restore it, or choose another `group`")]
    WrongNumber { number: u64, told: u64 },
}

impl From<Refused> for AdvanceError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::NotAMember => Self::Fenced,
            other => Self::Refused(other),
        }
    }
}

/// This worker and what it last saw of the shared state.
#[derive(Debug)]
pub struct Member {
    id: WorkerId,
    log: Log,
    clock: Clock,
    patience: Patience,
    /// The newest snapshot seen. It may be old: a create on top of it then fails, and the head is read.
    head: Arc<Snapshot>,
    seen: watch::Sender<Seen>,
    /// Attempts made so far: each has a number of its own, the refused ones too.
    seq: u64,
    /// The head when old snapshots were last looked for.
    collected: u64,
}

/// The newest snapshot that a worker has seen.
#[derive(Clone, Debug)]
pub struct Seen {
    pub head: Arc<Snapshot>,
    /// When it was asked for: by the time of the answer it may be long outdated.
    pub asked: Instant,
}

impl Member {
    /// Reads the head. Registers nothing yet.
    pub async fn new(id: WorkerId, log: Log, clock: Clock, patience: Patience) -> Result<Self, AdvanceError> {
        let head = Arc::new(Snapshot::empty());
        let seen = watch::Sender::new(Seen { head: Arc::clone(&head), asked: Instant::now() });
        let mut member = Self { id, log, clock, patience, head, seen, seq: 0, collected: 0 };
        member.look_from(0).await?;
        member.collected = member.head.number;
        Ok(member)
    }

    pub fn id(&self) -> &WorkerId {
        &self.id
    }

    /// The newest snapshot that this worker has seen.
    pub fn head(&self) -> &Arc<Snapshot> {
        &self.head
    }

    /// The same for those who must not wait while this worker changes the state.
    pub fn watch(&self) -> watch::Receiver<Seen> {
        self.seen.subscribe()
    }

    /// Reads the head anew.
    pub async fn look(&mut self) -> Result<&Arc<Snapshot>, AdvanceError> {
        self.look_from(self.head.number).await?;
        Ok(&self.head)
    }

    /// Now and then, by the number of snapshots that came since: lists the whole log and collects what is old in it.
    pub async fn collect_if_due(&mut self) -> Result<(), AdvanceError> {
        if self.head.number >= self.collected + self.log.kept() as u64 {
            self.look_from(0).await?;
            self.collected = self.head.number;
        }
        Ok(())
    }

    /// Makes one transition: returns when the change is in the shared state, or why it is not and never will be.
    ///
    /// `change` is asked again on every new head until it is applied or refuses.
    pub async fn advance(
        &mut self,
        what: &str,
        change: impl Fn(&Snapshot) -> Result<Snapshot, Refused>,
    ) -> Result<(), AdvanceError> {
        loop {
            let mut next = change(&self.head)?;
            self.seq += 1;
            next.number = self.head.number + 1;
            next.attempt = Some(Attempt { worker: self.id.clone(), seq: self.seq });
            if let Some(me) = next.workers.get_mut(&self.id) {
                me.seq = self.seq;
            }
            match self.attempt(what, next).await? {
                Outcome::Done => return Ok(()),
                Outcome::Fenced => return Err(AdvanceError::Fenced),
                Outcome::Lost => {
                    debug!(number = self.head.number, "{what}: another worker was first");
                    // Not in step with all who lost to the same one.
                    sleep(self.clock.jitter(RIVAL_PAUSE)).await;
                }
            }
        }
    }

    /// Creates one snapshot on top of the head, sending identical bytes until its fate is known.
    async fn attempt(&mut self, what: &str, next: Snapshot) -> Result<Outcome, AdvanceError> {
        let (base, number) = (self.head.number, next.number);
        let bytes = Bytes::from(next.to_json());
        let mut retry = Retry::new(&self.clock, &self.patience, format!("{what}: create of snapshot {number}"));
        let mut refused = true;
        loop {
            let asked = Instant::now();
            let answer = self.log.create(number, &bytes, &mut retry).await?;
            if answer == Answer::Unknown && is_broken(Broken::IgnoreLostAnswer) {
                self.look_from(base).await?;
                return Ok(Outcome::Lost);
            }
            if answer == Answer::Created && is_broken(Broken::TrustCreated) {
                self.saw(next, asked);
                return Ok(Outcome::Done);
            }
            refused &= answer == Answer::Exists;
            let highest = self.log.highest(base).await?;
            if highest < number {
                // Not there (yet). After "created" that is a store whose listing lags: wait for it likewise.
                if answer != Answer::Unknown {
                    let unseen = format!("the listing does not show it, though the answer was {answer:?}");
                    retry.again(Verdict::Transient, &unseen).await?;
                }
                continue;
            }
            retry.recovered();
            if highest == number && answer == Answer::Created {
                self.saw(next, asked);
                return Ok(Outcome::Done);
            }
            let leaves = !next.workers.contains_key(&self.id);
            self.look_from(base).await?;
            return Ok(self.judge(number, refused, leaves));
        }
    }

    /// Whether the attempt for `number` is in the state, of which the head was just read, at or above that number.
    /// `refused`: every answer was that another was there before.
    fn judge(&self, number: u64, refused: bool, leaves: bool) -> Outcome {
        let mine = Attempt { worker: self.id.clone(), seq: self.seq };
        if self.head.number == number {
            return if self.head.attempt.as_ref() == Some(&mine) { Outcome::Done } else { Outcome::Lost };
        }
        match self.head.last_attempt(&self.id) {
            Some(seq) if seq >= self.seq => Outcome::Done,
            Some(_) => Outcome::Lost,
            // A worker that wanted to leave is out, by its own hand or another's: the same to everybody.
            None if leaves => Outcome::Done,
            // It was never in, as when it wants to register; or the change itself finds that it is out.
            None if refused => Outcome::Lost,
            // It may have been in and put out meanwhile, and nobody joins twice under one id.
            None => Outcome::Fenced,
        }
    }

    async fn look_from(&mut self, known: u64) -> Result<(), AdvanceError> {
        let asked = Instant::now();
        if let Some(entry) = self.log.head(known).await? {
            self.saw(entry.snapshot()?, asked);
        } else {
            self.seen.send_modify(|seen| seen.asked = asked);
        }
        Ok(())
    }

    fn saw(&mut self, head: Snapshot, asked: Instant) {
        self.head = Arc::new(head);
        self.seen.send_replace(Seen { head: Arc::clone(&self.head), asked });
    }
}

impl Entry {
    /// What it holds.
    pub fn snapshot(&self) -> Result<Snapshot, AdvanceError> {
        let number = self.number;
        let snapshot = Snapshot::from_json(&self.bytes);
        let snapshot = snapshot.map_err(|error| AdvanceError::BadSnapshot { number, error })?;
        if snapshot.number != number {
            return Err(AdvanceError::WrongNumber { number, told: snapshot.number });
        }
        Ok(snapshot)
    }
}

enum Outcome {
    Done,
    Lost,
    Fenced,
}
