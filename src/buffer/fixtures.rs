//! Decoded batches for tests.

use std::sync::Arc;

use super::{Budget, Buffers, Flush, Place};
use crate::decode::{Counts, Decoded, Payload, Row};
use crate::event::Millis;
use crate::table::tables::Tables;
use crate::table::tabulate::Tabulated;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TestEvent {
    pub id: String,
    pub timestamp: Millis,
    pub message: String,
}

#[derive(Clone, Debug)]
pub(crate) struct TestPayload {
    pub log_group: String,
    pub log_stream: Option<String>,
    pub owner: Option<String>,
    pub arrival: Millis,
    pub events: Vec<TestEvent>,
}

/// What the decoder would make of these payloads.
pub(crate) fn decoded(payloads: &[TestPayload]) -> Tabulated {
    let mut out = Decoded::default();
    for payload in payloads {
        let mut put = |text: &str| {
            out.text.extend_from_slice(text.as_bytes());
            out.text.len() - text.len()..out.text.len()
        };
        let log_group = put(&payload.log_group);
        let log_stream = payload.log_stream.as_deref().map(&mut put);
        let owner = payload.owner.as_deref().map(&mut put);
        let first = out.rows.len();
        for event in &payload.events {
            let at = put(&event.id).start;
            put(&event.message);
            let (id_len, message_len) = (event.id.len() as u32, event.message.len() as u32);
            out.rows.push(Row { timestamp: event.timestamp, at, id_len, message_len });
        }
        let rows = first..out.rows.len();
        out.counts.records += 1;
        out.counts.events += rows.len() as u64;
        if !rows.is_empty() {
            let (arrival, sequence) = (payload.arrival, 1.into());
            let (partition_key, enveloped) = (None, true);
            out.payloads.push(Payload {
                rows,
                log_group,
                log_stream,
                owner,
                arrival,
                sequence,
                partition_key,
                enveloped,
                earlier: None,
            });
        }
    }
    out.counts = Counts { bytes: out.text.len() as u64, ..out.counts };
    out.into()
}

pub(crate) fn place() -> Place {
    Place { shard: "shardId-000000000000".into(), stream: Some("app-logs".into()) }
}

/// The flush of these payloads, pushed as one batch each.
pub(crate) fn flush(budget: &Arc<Budget>, payloads: &[TestPayload]) -> Flush {
    let mut buffers = Buffers::new(Arc::clone(budget), "errors");
    for payload in payloads {
        buffers.push(&Tables::log_events(), &mut decoded(std::slice::from_ref(payload)), &place(), 0);
    }
    buffers.take()
}
