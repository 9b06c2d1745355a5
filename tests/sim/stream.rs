//! A stream that grows, splits and merges, and what is in it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use firemain::event::{Millis, ShardId};
use firemain::position::{Position, SequenceNumber};
use firemain::source::Shard;
use flate2::read::MultiGzDecoder;
use serde_json::Value;
use tokio::time::Instant;

use crate::support::invariants::Books;

/// 2024-03-22T05:00:00Z.
pub const START: Millis = 1_711_083_600_000;
const HOUR: Millis = 3_600_000;
/// For so long nobody else can subscribe.
const TAKE_OVER: Duration = Duration::from_secs(5);

/// The stream as the service has it. Shared.
#[derive(Clone, Debug, Default)]
pub struct Stream(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    shards: BTreeMap<ShardId, Simulated>,
    /// Of the whole stream, as the service has them: they grow over time in every shard.
    sequence: u64,
    /// The folder that each row belongs to.
    folders: BTreeMap<String, String>,
    /// Rows that were dropped, read or not.
    trimmed: BTreeSet<String>,
}

#[derive(Clone, Debug, Default)]
struct Simulated {
    parents: Vec<ShardId>,
    records: Vec<Put>,
    closed: bool,
    /// Records before this sequence number are gone.
    horizon: u64,
    /// The service lists it no more.
    removed: bool,
    /// The last subscriptions to it: how many there were, and when the last one began.
    subscribed: (u64, Option<Instant>),
}

/// A record on the stream.
#[derive(Clone, Debug)]
pub struct Put {
    pub sequence: u64,
    pub arrival: Millis,
    pub data: Bytes,
    /// The texts that its rows are known by.
    rows: Vec<String>,
}

/// What a record is made of.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// An envelope with so many events.
    Events(u64),
    Control,
    Poison,
}

impl Stream {
    pub fn new(shards: u64) -> Self {
        let stream = Self::default();
        for _ in 0..shards {
            stream.create(Vec::new());
        }
        stream
    }

    fn create(&self, parents: Vec<ShardId>) {
        let mut state = self.0.lock().unwrap();
        let id = ShardId::from(format!("shardId-{:012}", state.shards.len()).as_str());
        state.shards.insert(id, Simulated { parents, ..Simulated::default() });
    }

    /// Puts a record on the open shard that a hash key in 0..2^32 falls to, more or less.
    pub fn put(&self, hash: u64, kind: Kind, arrival: Millis) {
        let state = &mut *self.0.lock().unwrap();
        let open: Vec<ShardId> = state.open();
        let id = &open[hash as usize % open.len()];
        state.sequence += 1 + hash % 3;
        let sequence = state.sequence;
        let (data, rows) = match kind {
            Kind::Poison => (format!("poison {sequence}").into(), vec![format!("poison {sequence}")]),
            Kind::Control => {
                let json = r#"{"messageType":"CONTROL_MESSAGE","owner":"CloudwatchLogs","logGroup":"","logStream":"",
                    "subscriptionFilters":[],"logEvents":[{"id":"","timestamp":1510254469274,"message":"CWL"}]}"#;
                (Bytes::from(json), Vec::new())
            }
            Kind::Events(count) => {
                let (group, hour) = (hash % 3, hash / 3 % 2);
                let ids: Vec<String> = (0..count).map(|n| format!("{sequence}-{n}")).collect();
                let time = START + hour as Millis * HOUR + (sequence % 1000) as Millis;
                let events = ids.iter().map(|id| format!(r#"{{"id":"{id}","timestamp":{time},"message":"m {id}"}}"#));
                let json = format!(
                    r#"{{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"/g{group}","logStream":"s","logEvents":[{}]}}"#,
                    events.collect::<Vec<_>>().join(",")
                );
                let folder = format!("log_events/log_group=%2Fg{group}/dt=2024-03-22/hour={:02}", 5 + hour);
                state.folders.extend(ids.iter().map(|id| (id.clone(), folder.clone())));
                (json.into(), ids)
            }
        };
        let shard = state.shards.get_mut(id).expect("it is one of them");
        shard.records.push(Put { sequence, arrival, data, rows });
    }

    /// Splits an open shard in two.
    pub fn split(&self, which: u64) {
        let parent = self.close(which, 1);
        for _ in 0..2 {
            self.create(parent.clone());
        }
    }

    /// Merges two open shards, if there are two.
    pub fn merge(&self, which: u64) {
        if self.open() > 1 {
            let parents = self.close(which, 2);
            self.create(parents);
        }
    }

    pub fn open(&self) -> usize {
        self.0.lock().unwrap().open().len()
    }

    fn close(&self, which: u64, count: usize) -> Vec<ShardId> {
        let mut state = self.0.lock().unwrap();
        let open = state.open();
        let first = which as usize % (open.len() + 1 - count);
        let closed = open[first..first + count].to_vec();
        for id in &closed {
            state.shards.get_mut(id).expect("it is open").closed = true;
        }
        closed
    }

    /// Removes closed shards that a group has read to their end, as retention does in time.
    pub fn remove(&self, read: &BTreeSet<ShardId>) {
        let mut state = self.0.lock().unwrap();
        for (_, shard) in state.shards.iter_mut().filter(|(id, _)| read.contains(*id)) {
            assert!(shard.closed, "only a closed shard has an end");
            shard.removed = true;
        }
    }

    /// Drops what arrived before a time, read or not, as retention does; and some of the closed shards of which nothing
    /// is left.
    pub fn trim(&self, before: Millis, removes: impl Fn() -> bool) {
        let state = &mut *self.0.lock().unwrap();
        for shard in state.shards.values_mut() {
            let kept = shard.records.iter().find(|record| record.arrival >= before);
            shard.horizon = kept.map_or(state.sequence + 1, |record| record.sequence);
            shard.removed |= shard.closed && kept.is_none() && removes();
            let gone = shard.records.iter().take_while(|record| record.sequence < shard.horizon);
            state.trimmed.extend(gone.flat_map(|record| record.rows.clone()));
        }
    }

    /// As the service lists them.
    pub fn shards(&self) -> Vec<Shard> {
        let state = self.0.lock().unwrap();
        let listed = state.shards.iter().filter(|(_, shard)| !shard.removed);
        listed.map(|(id, shard)| Shard { id: id.clone(), parents: shard.parents.clone() }).collect()
    }

    /// At most so many records of a shard from a sequence number on; whether these are the last for now, and whether the
    /// shard ends behind them.
    pub fn read(&self, shard: &ShardId, from: u64, limit: usize) -> (Vec<Put>, bool, bool) {
        let state = self.0.lock().unwrap();
        let shard = &state.shards[shard];
        let mut rest = shard.kept().filter(|record| record.sequence >= from);
        let records: Vec<Put> = rest.by_ref().take(limit).cloned().collect();
        let at_tip = rest.next().is_none();
        (records, at_tip, at_tip && shard.closed)
    }

    /// A new subscription to a shard, which ends the one before; `None` while that one is too young for it.
    pub fn subscribe(&self, shard: &ShardId) -> Option<u64> {
        let mut state = self.0.lock().unwrap();
        let (number, began) = &mut state.shards.get_mut(shard).expect("it is one of them").subscribed;
        if began.is_some_and(|began| began.elapsed() < TAKE_OVER) {
            return None;
        }
        (*number, *began) = (*number + 1, Some(Instant::now()));
        Some(*number)
    }

    /// Whether a subscription is a shard's last one.
    pub fn is_subscribed(&self, shard: &ShardId, number: u64) -> bool {
        self.0.lock().unwrap().shards[shard].subscribed.0 == number
    }

    /// The shards that a closed one was split or merged into.
    pub fn children(&self, shard: &ShardId) -> Vec<ShardId> {
        let state = self.0.lock().unwrap();
        state.shards.iter().filter(|(_, child)| child.parents.contains(shard)).map(|(id, _)| id.clone()).collect()
    }

    /// Where reading begins for records that arrived then or later.
    pub fn at_time(&self, shard: &ShardId, time: Millis) -> u64 {
        let state = self.0.lock().unwrap();
        let found = state.shards[shard].kept().find(|record| record.arrival >= time);
        found.map_or(state.sequence + 1, |record| record.sequence)
    }

    /// Rows of a shard before the place where reading it starts.
    pub fn before(&self, shard: &ShardId, start: &Position) -> Vec<String> {
        let Position::At(time) = start else { return Vec::new() };
        let state = self.0.lock().unwrap();
        let old = state.shards[shard].records.iter().filter(|record| record.arrival < *time);
        old.flat_map(|record| record.rows.clone()).collect()
    }

    /// Every row of the stream.
    pub fn rows(&self) -> BTreeSet<String> {
        let state = self.0.lock().unwrap();
        state.shards.values().flat_map(|shard| &shard.records).flat_map(|record| record.rows.clone()).collect()
    }

    /// Shards that can still be read: the open ones, and those whose end was not reached.
    pub fn unread(&self, ended: impl Fn(&ShardId) -> bool) -> Vec<ShardId> {
        let state = self.0.lock().unwrap();
        state.shards.iter().filter(|(id, shard)| !shard.removed && !ended(id)).map(|(id, _)| id.clone()).collect()
    }
}

impl State {
    fn open(&self) -> Vec<ShardId> {
        self.shards.iter().filter(|(_, shard)| !shard.closed).map(|(id, _)| id.clone()).collect()
    }
}

impl Simulated {
    /// The records that can still be read.
    fn kept(&self) -> impl Iterator<Item = &Put> {
        self.records.iter().filter(|record| record.sequence >= self.horizon)
    }
}

impl Books for Stream {
    fn rows(&self, key: &str, bytes: &Bytes) -> Vec<String> {
        let (folder, _) = key.rsplit_once('/').expect("objects are in folders");
        if let Some(error) = folder.strip_prefix("errors/") {
            assert!(error.starts_with("error=Record.NotDecodable/dt=2024-03-22/hour="), "{key}");
            let mut lines = Vec::new();
            MultiGzDecoder::new(&bytes[..]).read_to_end(&mut lines).expect("an object of rejections is a gzip");
            return values(&lines)
                .map(|row| BASE64_STANDARD.decode(row["rawData"].as_str().expect("a text")).expect("base64"))
                .map(|raw| String::from_utf8(raw).expect("poison is text here"))
                .collect();
        }
        let state = self.0.lock().unwrap();
        let rows = values(bytes).map(|row| {
            let id = row["event_id"].as_str().expect("a text").to_owned();
            assert_eq!(state.folders.get(&id).map(String::as_str), Some(folder), "6: {id} is not in its partition");
            assert_eq!(row["message"], format!("m {id}"));
            id
        });
        rows.collect()
    }

    fn between(&self, shard: &ShardId, from: &Position, to: &Position) -> Vec<String> {
        let state = self.0.lock().unwrap();
        let shard = &state.shards[shard];
        let is_behind = |record: &&Put| match from {
            Position::TrimHorizon => true,
            Position::At(time) => record.arrival >= *time,
            Position::After(last) => record.sequence > number(last),
            Position::Set(_) | Position::End => false,
        };
        let is_before = |record: &&Put| match to {
            Position::After(last) => record.sequence <= number(last),
            Position::End => true,
            other => panic!("2: nothing moves to {other}"),
        };
        assert!(*to != Position::End || shard.closed, "2: an open shard has no end");
        let records = shard.records.iter().filter(is_behind).filter(is_before);
        records.flat_map(|record| record.rows.clone()).collect()
    }

    fn is_event(&self, row: &str) -> bool {
        !row.starts_with("poison")
    }

    fn is_trimmed(&self, row: &str) -> bool {
        self.0.lock().unwrap().trimmed.contains(row)
    }

    fn has_expired(&self, shard: &ShardId, position: &Position) -> bool {
        let state = self.0.lock().unwrap();
        matches!(position, Position::After(last) if number(last) < state.shards[shard].horizon)
    }

    fn is_removed(&self, shard: &ShardId) -> bool {
        self.0.lock().unwrap().shards[shard].removed
    }
}

fn values(lines: &[u8]) -> impl Iterator<Item = Value> {
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).expect("a line is JSON"))
}

fn number(sequence: &SequenceNumber) -> u64 {
    sequence.index().expect("simulated sequence numbers are small")
}
