//! A source whose shards and records a test writes down.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use firemain::event::{Record, ShardId};
use firemain::position::Position;
use firemain::source::{Batch, Reader, Shard, Source, SourceError};

use super::START;

/// Between two reads of a shard, and what each brings.
const PAUSE: Duration = Duration::from_millis(200);
const RECORDS: usize = 2;

/// Shards with records that are all there from the beginning; a closed shard ends behind its last record.
#[derive(Clone, Debug)]
pub struct ScriptedSource {
    shards: Arc<BTreeMap<ShardId, Scripted>>,
    opened: Arc<Mutex<Vec<String>>>,
    /// Whether looks at the shards of others are refused.
    private: bool,
    /// Listings to come in which the last shard is missing.
    hiding: Arc<AtomicUsize>,
}

#[derive(Clone, Debug, Default)]
pub struct Scripted {
    parents: Vec<ShardId>,
    records: Vec<Bytes>,
    closed: bool,
    fails: Option<fn(String) -> SourceError>,
    trimmed: bool,
}

pub fn open(records: Vec<Bytes>) -> Scripted {
    Scripted { records, ..Scripted::default() }
}

pub fn closed(records: Vec<Bytes>) -> Scripted {
    Scripted { records, closed: true, ..Scripted::default() }
}

impl Scripted {
    pub fn after(self, parents: &[&str]) -> Self {
        Self { parents: parents.iter().map(|id| ShardId::from(*id)).collect(), ..self }
    }

    /// The stream has dropped the position that is read from, whichever it is.
    pub fn trimmed(self) -> Self {
        Self { trimmed: true, ..self }
    }

    /// Reading fails for good behind its last record.
    pub fn failing(self, how: fn(String) -> SourceError) -> Self {
        Self { fails: Some(how), ..self }
    }
}

impl ScriptedSource {
    pub fn new<'a>(shards: impl IntoIterator<Item = (&'a str, Scripted)>) -> Self {
        let shards = shards.into_iter().map(|(id, shard)| (ShardId::from(id), shard)).collect();
        Self { shards: Arc::new(shards), opened: Arc::default(), private: false, hiding: Arc::default() }
    }

    /// The same, where nobody may look at the shards of others.
    pub fn private(&self) -> Self {
        Self { private: true, ..self.clone() }
    }

    /// The same, with so many listings first from which the last shard is missing.
    pub fn hiding(&self, listings: usize) -> Self {
        Self { hiding: Arc::new(listings.into()), ..self.clone() }
    }

    /// Every reader so far: its shard and where it started.
    pub fn opened(&self) -> Vec<String> {
        self.opened.lock().unwrap().clone()
    }
}

/// A payload with events of these ids; the id is also the message, and milliseconds behind [`START`].
pub fn payload(group: &str, ids: std::ops::Range<u64>) -> Bytes {
    let events = ids.map(|id| format!(r#"{{"id":"{id}","timestamp":{},"message":"m{id}"}}"#, START + id as i64));
    let events: Vec<String> = events.collect();
    let json = format!(
        r#"{{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"{group}","logStream":"s","logEvents":[{}]}}"#,
        events.join(",")
    );
    json.into()
}

#[async_trait]
impl Source for ScriptedSource {
    fn id(&self) -> &str {
        "script"
    }

    fn stream(&self) -> Option<&str> {
        Some("app-logs")
    }

    async fn shards(&self) -> Result<Vec<Shard>, SourceError> {
        let shard = |(id, shard): (&ShardId, &Scripted)| Shard { id: id.clone(), parents: shard.parents.clone() };
        let is_hiding =
            self.hiding.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        Ok(self.shards.iter().take(self.shards.len() - usize::from(is_hiding)).map(shard).collect())
    }

    fn start(&self) -> Position {
        Position::TrimHorizon
    }

    fn ends(&self) -> bool {
        false
    }

    async fn open(&self, shard: &ShardId, from: &Position) -> Result<Box<dyn Reader>, SourceError> {
        self.opened.lock().unwrap().push(format!("{shard} {from}"));
        let next = match from {
            Position::After(sequence) => usize::try_from(sequence.index().unwrap()).unwrap() + 1,
            _ => 0,
        };
        let shard = self.shards[shard].clone();
        let expired = shard.trimmed.then(|| from.clone());
        Ok(Box::new(ScriptedReader { shard, next, said_tip: false, expired }))
    }

    async fn peek(&self, shard: &ShardId, from: &Position) -> Result<Box<dyn Reader>, SourceError> {
        if self.private {
            Err(SourceError::Fatal("looking is denied".to_owned()))
        } else {
            self.open(shard, from).await
        }
    }
}

#[derive(Debug)]
struct ScriptedReader {
    shard: Scripted,
    next: usize,
    said_tip: bool,
    expired: Option<Position>,
}

#[async_trait]
impl Reader for ScriptedReader {
    async fn next(&mut self) -> Result<Batch, SourceError> {
        tokio::time::sleep(PAUSE).await;
        let coming = self.shard.records.iter().enumerate().skip(self.next).take(RECORDS);
        let records: Vec<Record> = coming
            .map(|(index, data)| Record {
                data: data.clone(),
                sequence: (index as u64).into(),
                partition_key: Some("k".into()),
                arrival: START,
                flaw: None,
                earlier: None,
            })
            .collect();
        self.next += records.len();
        if let (Some(how), true) = (self.shard.fails, records.is_empty()) {
            return Err(how("the script says so".to_owned()));
        }
        let at_tip = self.next == self.shard.records.len() && self.shard.fails.is_none();
        if records.is_empty() && self.said_tip && !self.shard.closed {
            std::future::pending::<()>().await;
        }
        self.said_tip |= at_tip;
        let (at_end, expired) = (at_tip && self.shard.closed, self.expired.take());
        Ok(Batch { records, at_tip, at_end, expired, ..Batch::default() })
    }
}
