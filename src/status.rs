//! How a group stands: read from its state, its heartbeats and its stream, and nothing is written.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use object_store::ObjectMeta;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use crate::commit::group;
use crate::commit::member::AdvanceError;
use crate::commit::snapshot::{ShardState, Snapshot, Totals};
use crate::commit::storage::Storage;
use crate::event::{Millis, ShardId};
use crate::position::Position;
use crate::replay;
use crate::retry::GaveUp;
use crate::source::{Source, SourceError};

/// A pack is published within seconds, or somebody is in trouble.
const OLD_PACK: Duration = Duration::from_secs(600);
/// S3 says in whole seconds when an object was written.
const RESOLUTION: Millis = 1000;
/// Shards that are asked at once for what they have behind their position.
const LOOKS: usize = 16;
/// How long one of them may take.
const LOOK: Duration = Duration::from_secs(10);

/// A group at a moment. Times are milliseconds since 1970, ages and lags milliseconds.
#[derive(Debug, Serialize)]
pub struct Status {
    pub at: Millis,
    pub group: String,
    pub source: String,
    /// The number of the newest snapshot; 0 when there is none.
    pub snapshot: u64,
    pub shards: Vec<ShardStatus>,
    pub workers: Vec<WorkerStatus>,
    pub packs: Vec<PackStatus>,
    pub totals: Totals,
    /// What is wrong; nothing when all is well.
    pub problems: Vec<Problem>,
    /// What one should know, and need not be woken for.
    pub notes: Vec<Note>,
}

#[derive(Debug, Serialize)]
pub struct ShardStatus {
    pub id: ShardId,
    pub position: Position,
    pub owner: Option<String>,
    /// Since its position was last moved.
    pub committed_age: Option<Millis>,
    /// How long the oldest record that is not committed has been on the stream; 0 when there is none.
    pub millis_behind: Option<u64>,
}

#[derive(Debug, Serialize)]
pub struct WorkerStatus {
    pub id: String,
    pub host: String,
    pub pid: Option<u32>,
    pub version: String,
    /// Since its last heartbeat; `None` when it has none any more.
    pub heartbeat_age: Option<Millis>,
    pub alive: bool,
    /// Whether the state has it as a member.
    pub member: bool,
    pub shards: usize,
}

#[derive(Debug, Serialize)]
pub struct PackStatus {
    pub id: String,
    pub publisher: String,
    pub objects: u64,
    pub bytes: u64,
    pub age: Option<Millis>,
}

/// Something that a person should look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "problem", rename_all = "snake_case")]
pub enum Problem {
    NoState {
        group: String,
    },
    NoLiveWorker,
    /// What a replay has left that is no longer alive: objects that it owns, and packs that are not published.
    UnfinishedReplay {
        objects: u64,
        packs: u64,
    },
    OldPack {
        id: String,
        age: Millis,
    },
    Lag {
        shard: ShardId,
        millis_behind: u64,
    },
    /// Its lag can't be told.
    Unknown {
        shard: ShardId,
        why: String,
    },
}

/// For a person: what it is, and what to look at.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoState { group } => {
                write!(
                    f,
                    "group {group} has no state at this destination: has it ever run? check `group` and `destination`"
                )
            }
            Self::NoLiveWorker => {
                f.write_str("no worker shows a sign of life: nothing is delivered until one is started")
            }
            Self::UnfinishedReplay { objects, packs } => write!(
                f,
                "no replay is running, and of the last one {objects} objects and {packs} packs wait: run `firemain replay` \
                 again, it goes on from there"
            ),
            Self::OldPack { id, age } => {
                write!(f, "pack {id} is committed for {} and not published: its publisher's log says why", span(*age))
            }
            Self::Lag { shard, millis_behind } => {
                let behind = span(Millis::try_from(*millis_behind).unwrap_or(Millis::MAX));
                write!(f, "{shard} is {behind} behind: its oldest record that is not delivered has waited for so long")
            }
            Self::Unknown { shard, why } => write!(f, "how far {shard} is behind can't be told: {why}"),
        }
    }
}

/// Something that a person should know; it does not fail anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "note", rename_all = "snake_case")]
pub enum Note {
    /// How far shards are behind is not known.
    LagNotLookedAt,
    /// As it is most of the time.
    NoReplay,
    /// It has happened: nothing that is done now brings it back.
    Expired { positions: u64 },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LagNotLookedAt => f.write_str(
                "lag not looked at: the configuration names no stream; say `source.kinesis.stream`, or --source kinesis://NAME",
            ),
            Self::NoReplay => f.write_str("no replay is running"),
            Self::Expired { positions: 1 } => {
                f.write_str("1 position expired: what was on the stream in between is lost")
            }
            Self::Expired { positions } => {
                write!(f, "{positions} positions expired: what was on the stream in between is lost")
            }
        }
    }
}

/// `3m 20s`, `1h 2m`: in two units at most.
pub fn span(millis: Millis) -> String {
    let seconds = millis.max(0) / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds}s"),
        (0, 0, minutes, seconds) => format!("{minutes}m {seconds}s"),
        (0, hours, minutes, _) => format!("{hours}h {minutes}m"),
        (days, hours, ..) => format!("{days}d {hours}h"),
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    pub group: &'a str,
    /// How long a heartbeat may rest.
    pub lease: Duration,
    /// More than this is a problem.
    pub max_lag: Duration,
}

/// Why nobody knows how a group stands.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    #[error(transparent)]
    State(#[from] AdvanceError),
    #[error(transparent)]
    Store(#[from] GaveUp),
}

/// Looks. Without a source nobody knows how far shards are behind.
pub async fn look(
    storage: &Storage,
    source: Option<&Arc<dyn Source>>,
    question: Question<'_>,
) -> Result<Status, StatusError> {
    let (state, heartbeats) =
        tokio::try_join!(async { Ok::<_, StatusError>(group::look(storage, question.group).await?) }, async {
            Ok(heartbeats(storage, question.group).await?)
        })?;
    // Looks at shards take a while, in which heartbeats go on.
    let now = storage.clock.now();
    let lags = match (&state, source) {
        (Some(state), Some(source)) => Some(lags(state, source, storage).await),
        _ => None,
    };
    Ok(Status::of(state.as_ref(), &heartbeats, lags, question, now))
}

/// What a heartbeat says, and when it was written.
#[derive(Debug)]
struct Heartbeat {
    written: Millis,
    says: Says,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Says {
    host: String,
    pid: Option<u32>,
    version: String,
}

async fn heartbeats(storage: &Storage, group: &str) -> Result<BTreeMap<String, Heartbeat>, GaveUp> {
    let listed = storage.list(&group::root(group).join("workers"), None).await?;
    let mut heartbeats = BTreeMap::new();
    for object in listed {
        let Some(id) = object.location.filename().and_then(|name| name.strip_suffix(".json")) else { continue };
        let says = storage.get(&object.location).await?;
        let says = says.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        heartbeats.insert(id.to_owned(), Heartbeat { written: written(&object), says });
    }
    Ok(heartbeats)
}

fn written(object: &ObjectMeta) -> Millis {
    object.last_modified.timestamp_millis()
}

type Lag = Result<u64, String>;

async fn lags(state: &Snapshot, source: &Arc<dyn Source>, storage: &Storage) -> BTreeMap<ShardId, Lag> {
    let unread = state.shards.iter().filter(|(_, shard)| !shard.has_ended());
    let looks: Vec<_> = unread
        .map(|(id, shard)| {
            async move {
                let lag = match timeout(LOOK, lag(source.as_ref(), id, shard, storage)).await {
                    Ok(lag) => lag.map_err(|error| error.to_string()),
                    Err(_) => Err(format!("no answer within {LOOK:?}")),
                };
                (id.clone(), lag)
            }
            .boxed()
        })
        .collect();
    futures::stream::iter(looks).buffer_unordered(LOOKS).collect().await
}

async fn lag(source: &dyn Source, id: &ShardId, shard: &ShardState, storage: &Storage) -> Result<u64, SourceError> {
    let batch = source.peek(id, &shard.position).await?.next().await?;
    let age = |arrival: Millis| u64::try_from(storage.clock.now() - arrival).unwrap_or(0);
    Ok(batch.records.first().map_or(0, |first| age(first.arrival)).max(batch.millis_behind.unwrap_or(0)))
}

impl Status {
    /// `lags`: `None` when nobody looked at them.
    fn of(
        state: Option<&Snapshot>,
        heartbeats: &BTreeMap<String, Heartbeat>,
        lags: Option<BTreeMap<ShardId, Lag>>,
        question: Question<'_>,
        now: Millis,
    ) -> Self {
        let group = question.group.to_owned();
        let Some(state) = state else {
            let problems = vec![Problem::NoState { group: group.clone() }];
            let (shards, workers, packs, totals) = (Vec::new(), Vec::new(), Vec::new(), Totals::default());
            return Self {
                at: now,
                group,
                source: String::new(),
                snapshot: 0,
                shards,
                workers,
                packs,
                totals,
                problems,
                notes: Vec::new(),
            };
        };
        let is_looked_at = lags.is_some();
        let lags = lags.unwrap_or_default();
        let shard = |(id, shard): (&ShardId, &ShardState)| ShardStatus {
            id: id.clone(),
            position: shard.position.clone(),
            owner: shard.owner.as_ref().map(ToString::to_string),
            committed_age: shard.committed.map(|at| now - at),
            millis_behind: lags.get(id).and_then(|lag| lag.as_ref().ok()).copied(),
        };
        let shards = state.shards.iter().map(shard).collect();
        let workers = workers(state, heartbeats, question.lease, now);
        let packs: Vec<PackStatus> = state
            .packs
            .iter()
            .map(|pack| PackStatus {
                id: pack.id.to_string(),
                publisher: pack.publisher.to_string(),
                objects: pack.objects,
                bytes: pack.bytes,
                age: pack.committed.map(|at| now - at),
            })
            .collect();
        let problems = problems(state, &workers, &packs, lags, question);
        let notes = notes(state, &workers, is_looked_at, question);
        let (source, snapshot, totals) = (state.source.clone(), state.number, state.totals);
        Self { at: now, group, source, snapshot, shards, workers, packs, totals, problems, notes }
    }
}

fn is_working(workers: &[WorkerStatus]) -> bool {
    workers.iter().any(|worker| worker.alive && worker.member)
}

fn problems(
    state: &Snapshot,
    workers: &[WorkerStatus],
    packs: &[PackStatus],
    lags: BTreeMap<ShardId, Lag>,
    question: Question<'_>,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    if !is_working(workers) {
        if question.group == replay::GROUP {
            // What it had to leave out, or let go of, nobody waits for.
            let owned = state.shards.values().filter(|shard| shard.owner.is_some() && !shard.has_ended());
            let (objects, packs) = (owned.count() as u64, packs.len() as u64);
            problems.extend((objects + packs > 0).then_some(Problem::UnfinishedReplay { objects, packs }));
        } else {
            problems.push(Problem::NoLiveWorker);
        }
    }
    let old = packs.iter().filter_map(|pack| Some((pack, pack.age.filter(|age| *age >= millis(OLD_PACK))?)));
    problems.extend(old.map(|(pack, age)| Problem::OldPack { id: pack.id.clone(), age }));
    problems.extend(lags.into_iter().filter_map(|(shard, lag)| match lag {
        Ok(behind) if behind > question.max_lag.as_millis() as u64 => {
            Some(Problem::Lag { shard, millis_behind: behind })
        }
        Ok(_) => None,
        Err(why) => Some(Problem::Unknown { shard, why }),
    }));
    problems
}

fn notes(state: &Snapshot, workers: &[WorkerStatus], is_looked_at: bool, question: Question<'_>) -> Vec<Note> {
    let mut notes = Vec::new();
    if question.group == replay::GROUP {
        // Its objects are no stream, that somebody could be behind of.
        notes.extend((!is_working(workers)).then_some(Note::NoReplay));
    } else if !is_looked_at {
        notes.push(Note::LagNotLookedAt);
    }
    let positions = state.totals.expired;
    notes.extend((positions > 0).then_some(Note::Expired { positions }));
    notes
}

fn workers(
    state: &Snapshot,
    heartbeats: &BTreeMap<String, Heartbeat>,
    lease: Duration,
    now: Millis,
) -> Vec<WorkerStatus> {
    let members: BTreeMap<String, usize> =
        state.workers.keys().map(|id| (id.to_string(), state.owned_by(id).count())).collect();
    let all: std::collections::BTreeSet<&String> = members.keys().chain(heartbeats.keys()).collect();
    let nothing = Says::default();
    all.into_iter()
        .map(|id| {
            let heartbeat = heartbeats.get(id);
            let age = heartbeat.map(|heartbeat| now - heartbeat.written);
            let says = heartbeat.map_or(&nothing, |heartbeat| &heartbeat.says);
            WorkerStatus {
                id: id.clone(),
                host: says.host.clone(),
                pid: says.pid,
                version: says.version.clone(),
                heartbeat_age: age,
                alive: age.is_some_and(|age| age < millis(lease) + RESOLUTION),
                member: members.contains_key(id),
                shards: members.get(id).copied().unwrap_or(0),
            }
        })
        .collect()
}

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::change::tests::{group, pack, worker};

    const NOW: Millis = 1_711_083_600_000;
    const QUESTION: Question<'static> =
        Question { group: "g", lease: Duration::from_secs(30), max_lag: Duration::from_secs(60) };

    fn beats(ages: &[(u128, Millis)]) -> BTreeMap<String, Heartbeat> {
        let beat = |(n, age): &(u128, Millis)| {
            (worker(*n).to_string(), Heartbeat { written: NOW - age, says: Says::default() })
        };
        ages.iter().map(beat).collect()
    }

    #[test]
    fn all_is_well_with_a_live_member_fresh_packs_and_little_lag() {
        let mut state = group();
        state.packs.push(pack(&format!("{}-1", worker(1)), 1));
        state.packs[0].committed = Some(NOW - millis(OLD_PACK) + 1);
        let lags = BTreeMap::from([("a".into(), Ok(60_000)), ("b".into(), Ok(0))]);
        let status = Status::of(Some(&state), &beats(&[(1, 30_999)]), Some(lags), QUESTION, NOW);
        assert_eq!((status.problems, status.notes), (vec![], vec![]));
        assert_eq!((status.workers[0].shards, status.shards[0].millis_behind), (2, Some(60_000)));
    }

    #[test]
    fn each_thing_that_is_wrong_is_a_problem_that_names_it() {
        let mut state = group();
        let id = format!("{}-1", worker(1));
        state.packs.push(pack(&id, 1));
        state.packs[0].committed = Some(NOW - millis(OLD_PACK));
        let lags = BTreeMap::from([("a".into(), Ok(60_001)), ("b".into(), Err("denied".to_owned()))]);
        let status = Status::of(Some(&state), &beats(&[(1, 31_000), (2, 0)]), Some(lags), QUESTION, NOW);
        let wrong = [
            Problem::NoLiveWorker,
            Problem::OldPack { id, age: millis(OLD_PACK) },
            Problem::Lag { shard: "a".into(), millis_behind: 60_001 },
            Problem::Unknown { shard: "b".into(), why: "denied".to_owned() },
        ];
        assert_eq!(status.problems, wrong, "one that beats and is no member is no worker of the group");
        let none = Status::of(None, &beats(&[]), None, QUESTION, NOW);
        assert_eq!(none.problems, [Problem::NoState { group: "g".to_owned() }]);
    }

    #[test]
    fn what_was_not_looked_at_or_is_lost_is_noted_and_no_problem() {
        let mut state = group();
        state.totals.expired = 2;
        let status = Status::of(Some(&state), &beats(&[(1, 0)]), None, QUESTION, NOW);
        assert_eq!(status.problems, []);
        assert_eq!(status.notes, [Note::LagNotLookedAt, Note::Expired { positions: 2 }]);
        let lost = "2 positions expired: what was on the stream in between is lost";
        assert_eq!(status.notes[1].to_string(), lost);
    }

    #[test]
    fn no_replay_is_no_problem_unless_one_has_left_something() {
        let replays = Question { group: replay::GROUP, ..QUESTION };
        let of = |state: &Snapshot| Status::of(Some(state), &beats(&[]), None, replays, NOW);
        let mut state = group();
        let unfinished = state.shards.values().filter(|shard| shard.owner.is_some()).count() as u64;
        assert!(unfinished > 0);
        state.packs.push(pack(&format!("{}-1", worker(1)), 1));
        assert_eq!(of(&state).problems, [Problem::UnfinishedReplay { objects: unfinished, packs: 1 }]);
        state.packs.clear();
        state.shards.values_mut().for_each(|shard| shard.owner = None);
        assert_eq!((of(&state).problems, of(&state).notes), (vec![], vec![Note::NoReplay]));
        let alive = Status::of(Some(&state), &beats(&[(1, 0)]), None, replays, NOW);
        assert_eq!((alive.problems, alive.notes), (vec![], vec![]));
    }

    #[test]
    fn spans_have_two_units_at_most() {
        let spans = [-5, 0, 59_999, 200_000, 3_720_000, 90_000_000].map(span);
        assert_eq!(spans, ["0s", "0s", "59s", "3m 20s", "1h 2m", "1d 1h"]);
    }
}
