//! Rejections of single events of a payload, each in a payload of its own that can be delivered again.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Serialize;

use super::{Decoded, Origin, Payload, Row, reject};
use crate::event::{Millis, Rejection, RejectionCode};

/// Bytes of payloads around single bad events of one record; past it the others share payloads. It bounds what a record
/// can swell to when each of its many events is bad, for every payload repeats the envelope's head.
pub(super) const SINGLE_REJECTIONS: usize = 8 * 1024 * 1024;

/// Bytes at which such a shared payload ends; four times its head, where that is more.
pub(super) const SHARED_REJECTION: usize = 4 * 1024 * 1024;

/// Puts bad events into payloads of their own: into envelopes, or as they are.
#[derive(Debug)]
pub struct Rejecter<'a> {
    code: RejectionCode,
    origin: Origin<'a>,
    /// A payload up to its first event.
    head: Vec<u8>,
    /// Between two events.
    separator: u8,
    /// Behind the last event.
    tail: &'static [u8],
    /// Bytes of the payloads made.
    bytes: usize,
    /// A payload that isn't closed yet, for what comes when there is too much: its events and the reason of the first.
    shared: Option<(Vec<u8>, usize, String)>,
}

static NO_DATA: Bytes = Bytes::new();

impl<'a> Rejecter<'a> {
    /// For events of an envelope; `head` is all that comes before the first.
    pub(super) fn in_envelopes(code: RejectionCode, origin: &Origin<'a>, head: Vec<u8>) -> Self {
        Self { code, origin: *origin, head, separator: b',', tail: b"]}", bytes: 0, shared: None }
    }

    /// For events that are lines, or objects one after the other.
    pub(super) fn as_they_are(code: RejectionCode, origin: &Origin<'a>) -> Self {
        Self { code, origin: *origin, head: Vec::new(), separator: b'\n', tail: b"", bytes: 0, shared: None }
    }

    /// For rows of a decoded payload that no table takes: see [`Rejecter::event`].
    pub fn of_payload(code: RejectionCode, payload: &'a Payload, decoded: &Decoded) -> Self {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Head<'h> {
            message_type: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            owner: Option<Cow<'h, str>>,
            log_group: Cow<'h, str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            log_stream: Option<Cow<'h, str>>,
            log_events: [(); 0],
        }
        let Payload { sequence, partition_key, arrival, earlier, .. } = payload;
        let (partition_key, earlier) = (partition_key.as_deref(), earlier.as_ref());
        let origin = Origin { data: &NO_DATA, partition_key, sequence, arrival: *arrival, user_record: None, earlier };
        if !payload.enveloped {
            return Self::as_they_are(code, &origin);
        }
        let text = |range: &std::ops::Range<usize>| String::from_utf8_lossy(&decoded.text[range.clone()]);
        let head = Head {
            message_type: "DATA_MESSAGE",
            owner: payload.owner.as_ref().map(text),
            log_group: text(&payload.log_group),
            log_stream: payload.log_stream.as_ref().map(text),
            log_events: [],
        };
        let mut head = serde_json::to_vec(&head).expect("texts are JSON");
        // Open at the list.
        head.truncate(head.len() - 2);
        Self::in_envelopes(code, &origin, head)
    }

    /// A row as the event that it was.
    pub fn event(&self, row: &Row, decoded: &Decoded) -> Vec<u8> {
        #[derive(Serialize)]
        struct Event<'e> {
            id: Cow<'e, str>,
            timestamp: Millis,
            message: Cow<'e, str>,
        }
        let message = &decoded.text[row.message()];
        if self.tail.is_empty() {
            return message.to_vec();
        }
        let (id, message) = (String::from_utf8_lossy(&decoded.text[row.id()]), String::from_utf8_lossy(message));
        serde_json::to_vec(&Event { id, timestamp: row.timestamp, message }).expect("texts and a number are JSON")
    }

    /// Rejects an event.
    pub fn reject(&mut self, event: &[u8], why: String, out: &mut Decoded) {
        if self.bytes < SINGLE_REJECTIONS {
            let payload = [&self.head[..], event, self.tail].concat();
            // Also what a rejection costs besides.
            self.bytes += payload.len() + size_of::<Rejection>();
            return reject(out, &self.origin, self.code, why, Bytes::from(payload));
        }
        if let Some((payload, events, _)) = &mut self.shared {
            payload.push(self.separator);
            payload.extend_from_slice(event);
            *events += 1;
        } else {
            self.shared = Some(([&self.head[..], event].concat(), 1, why));
        }
        if self.shared.as_ref().is_some_and(|(payload, ..)| payload.len() >= SHARED_REJECTION.max(4 * self.head.len()))
        {
            self.finish(out);
        }
    }

    /// Rejects what is left. To be called at the end.
    pub fn finish(&mut self, out: &mut Decoded) {
        if let Some((mut payload, events, first)) = self.shared.take() {
            payload.extend_from_slice(self.tail);
            let why = format!("{events} further bad events of this record, of the first: {first}");
            reject(out, &self.origin, self.code, why, Bytes::from(payload));
        }
    }
}
