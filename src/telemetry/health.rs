//! Whether a process is well: its loops turn, and what is to be committed is.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

/// The loop of a worker turns at least so often when it is watched.
pub const PULSE: Duration = Duration::from_secs(5);
/// Without a turn for so long it hangs.
const HANGS: Duration = Duration::from_secs(60);

/// The loops that have to turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loop {
    Worker,
    Heartbeat,
}

/// Where a process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum State {
    #[serde(rename = "starting")]
    Starting,
    #[serde(rename = "ready")]
    Ready,
    #[serde(rename = "not ready")]
    NotReady,
    #[serde(rename = "unhealthy")]
    Unhealthy,
    #[serde(rename = "ending")]
    Ending,
}

/// What is known of a process; times are of its own clock.
#[derive(Debug)]
pub struct Vitals {
    pub started: Instant,
    pub joined: bool,
    pub ending: bool,
    /// Shards that are not at their end: of this worker, and of nobody. `None` before the first claim.
    pub shards: Option<(usize, usize)>,
    /// The last turn of each loop.
    pub turns: BTreeMap<Loop, Instant>,
    /// Since when something waits to be flushed.
    pub waiting: Option<Instant>,
    /// Since when the oldest flush under way is.
    pub flushing: Option<Instant>,
    /// Since when the oldest one is that is not visible yet.
    pub publishing: Option<Instant>,
}

impl Default for Vitals {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            joined: false,
            ending: false,
            shards: None,
            turns: BTreeMap::new(),
            waiting: None,
            flushing: None,
            publishing: None,
        }
    }
}

/// By what a process is judged.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub flush_interval: Duration,
    pub stuck_after: Duration,
}

/// A judgement, with a sentence for each thing that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub state: State,
    pub problems: Vec<String>,
}

impl Verdict {
    /// Whether to leave the process alone: one that is only not ready needs no restart.
    pub fn is_healthy(&self) -> bool {
        self.state != State::Unhealthy
    }
}

impl Vitals {
    /// Judges, at this time. `heard`: when the shard of its stream last answered that has been silent for longest.
    pub fn judge(&self, limits: Limits, heard: Option<Instant>, now: Instant) -> Verdict {
        let problems = self.ailments(limits, now);
        if !problems.is_empty() {
            return Verdict { state: State::Unhealthy, problems };
        }
        if self.ending {
            return Verdict { state: State::Ending, problems };
        }
        if !self.joined || self.shards.is_none() {
            return Verdict {
                state: State::Starting,
                problems: vec!["it has not joined its group and claimed yet".to_owned()],
            };
        }
        let problems = self.delays(limits, heard, now);
        let state = if problems.is_empty() { State::Ready } else { State::NotReady };
        Verdict { state, problems }
    }

    /// What a restart may help against.
    fn ailments(&self, limits: Limits, now: Instant) -> Vec<String> {
        let stuck = |since: Instant| Some(now - since).filter(|age| *age >= limits.stuck_after);
        let mut problems = Vec::new();
        if let Some(age) = stuck(self.started).filter(|_| !self.joined || self.shards.is_none()) {
            let what = if self.joined { "claimed" } else { "joined" };
            problems
                .push(format!("not {what} for {age:.0?}: the store or the stream is out of reach, the log says more"));
        }
        if let Some(age) = self.flushing.and_then(stuck) {
            problems.push(format!("no commit for {age:.0?}, though one is due: the log says why"));
        }
        for (which, turned) in &self.turns {
            // A heartbeat waits for a store that is away; a loop waits for nothing that long.
            let (name, most) = match which {
                Loop::Worker => ("the loop of the worker", HANGS),
                Loop::Heartbeat => ("the heartbeat", limits.stuck_after.max(HANGS)),
            };
            let age = now - *turned;
            if age >= most && !self.ending {
                problems.push(format!("{name} has not turned for {age:.0?}"));
            }
        }
        problems
    }

    /// What may pass by itself.
    fn delays(&self, limits: Limits, heard: Option<Instant>, now: Instant) -> Vec<String> {
        let mut problems = Vec::new();
        if let Some((0, free)) = self.shards.filter(|(_, free)| *free > 0) {
            problems.push(format!("it owns no shard, though {free} have no owner"));
        }
        let late = limits.flush_interval * 2 + HANGS;
        let oldest = [self.waiting, self.flushing].into_iter().flatten().min();
        if let Some(age) = oldest.map(|since| now - since).filter(|age| *age >= late) {
            problems.push(format!("what was read {age:.0?} ago is not committed yet"));
        } else if let Some(age) = self.publishing.map(|since| now - since).filter(|age| *age >= late) {
            problems.push(format!("what was to be delivered {age:.0?} ago is committed, and not published yet"));
        }
        if let Some(age) = heard.map(|heard| now - heard).filter(|age| *age >= HANGS) {
            problems.push(format!(
                "a shard was last read {age:.0?} ago: the stream is out of reach, or the buffers are full; the log says why"
            ));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { flush_interval: Duration::from_secs(300), stuck_after: Duration::from_secs(600) };

    fn well(now: Instant) -> Vitals {
        let turns = BTreeMap::from([(Loop::Worker, now), (Loop::Heartbeat, now)]);
        Vitals { joined: true, shards: Some((2, 0)), turns, ..Vitals::default() }
    }

    fn state(change: impl FnOnce(&mut Vitals), after: u64) -> (State, Vec<String>) {
        let start = Instant::now();
        let now = start + Duration::from_secs(after);
        let mut vitals = well(now);
        change(&mut vitals);
        let verdict = vitals.judge(LIMITS, Some(now), now);
        (verdict.state, verdict.problems)
    }

    #[tokio::test(start_paused = true)]
    async fn who_reads_nothing_or_cannot_publish_is_not_ready() {
        let start = Instant::now();
        let heard = |after| {
            let now = start + Duration::from_secs(after);
            well(now).judge(LIMITS, Some(start), now)
        };
        assert_eq!(heard(59).state, State::Ready);
        assert!(heard(60).state == State::NotReady && heard(60).problems[0].contains("last read 60s ago"));
        assert!(heard(9999).is_healthy(), "a restart does not help");
        let (late, why) = state(|vitals| vitals.publishing = Some(start), 660);
        assert!(late == State::NotReady && why[0].contains("not published yet"), "{why:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_turns_owns_and_commits_is_ready() {
        assert_eq!(state(|_| {}, 9999).0, State::Ready);
        assert_eq!(state(|vitals| vitals.shards = Some((0, 0)), 1).0, State::Ready, "there is none to own");
        let start = Instant::now();
        assert_eq!(state(|vitals| vitals.waiting = Some(start), 659).0, State::Ready);
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_not_begun_or_is_late_is_not_ready_but_needs_no_restart() {
        let start = Instant::now();
        assert_eq!(state(|vitals| vitals.joined = false, 599).0, State::Starting);
        let claiming = |vitals: &mut Vitals| (vitals.shards, vitals.started) = (None, start);
        assert_eq!((state(claiming, 599).0, state(claiming, 600).0), (State::Starting, State::Unhealthy));
        assert_eq!(state(|vitals| vitals.shards = Some((0, 3)), 1).0, State::NotReady);
        let (late, why) = state(|vitals| vitals.waiting = Some(start), 660);
        assert!(late == State::NotReady && why[0].contains("not committed yet"), "{why:?}");
        assert_eq!(state(|vitals| vitals.ending = true, 1).0, State::Ending);
    }

    #[tokio::test(start_paused = true)]
    async fn who_hangs_or_cannot_commit_is_unhealthy() {
        let start = Instant::now();
        assert_eq!(state(|vitals| vitals.flushing = Some(start), 599).0, State::Ready);
        let (stuck, why) = state(|vitals| vitals.flushing = Some(start), 600);
        assert!(stuck == State::Unhealthy && why[0].contains("no commit for 600s"), "{why:?}");
        assert_eq!(state(|vitals| vitals.joined = false, 600).0, State::Unhealthy);
        let hangs = |which| move |vitals: &mut Vitals| vitals.turns.extend([(which, start)]);
        let worker = hangs(Loop::Worker);
        assert_eq!((state(worker, 59).0, state(worker, 60).0), (State::Ready, State::Unhealthy));
        let heartbeat = hangs(Loop::Heartbeat);
        assert_eq!((state(heartbeat, 599).0, state(heartbeat, 600).0), (State::Ready, State::Unhealthy));
    }
}
