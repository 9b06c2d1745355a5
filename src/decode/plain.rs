//! Payloads of other producers than CloudWatch Logs become rows: lines of text, and objects of JSON.
//!
//! An event's id is `<sequence number>-<n>`, n being the index of the event in its payload from 0, bad ones counted; of
//! a user record `<sequence number>-<user record>-<n>`, with its index in the aggregated record; of a payload that was
//! rejected before, and is a part of its record perhaps, `<sequence number>-x<CRC-32C of the payload>-<n>`. So it is the same
//! however often the record is read, and no other event of the stream has it.
//!
//! Decided here: a payload that isn't valid UTF-8, or is to be JSON and isn't, is rejected whole. Rows of small events
//! take many times the payload's memory; past [`Room::fits`] the payload is rejected, before memory is taken for them.

#[cfg(test)]
pub(super) mod tests;

use std::borrow::Cow;
use std::io::Write;

use memchr::memchr_iter;
use serde_json::value::RawValue;

use super::envelope::Head;
use super::rejecter::Rejecter;
use super::room::Full;
use super::strict::{Refusal, invalid, not_json};
use super::time::TimeField;
use super::{Decoded, Mark, Origin, Room, Row, member, not_decodable};
use crate::event::{Millis, RejectionCode};

/// What the payloads of records are: `source.kinesis.decode`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Payloads {
    /// Envelopes of CloudWatch Logs: `cloudwatch`, and `auto` without a log group.
    #[default]
    Envelopes,
    /// What each looks like: `auto` with a log group.
    Any(Plain),
    /// `lines`
    Lines(Plain),
    /// `json`
    Json(Plain),
}

/// What is told of the events in payloads that are no envelopes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plain {
    /// `source.kinesis.log_group`, not empty.
    pub log_group: Box<str>,
    /// `source.kinesis.log_stream`
    pub log_stream: Option<Box<str>>,
    /// `source.kinesis.time_field`, of objects; without it their time is the arrival of their record.
    pub time_field: Option<TimeField>,
}

/// How a payload that is no envelope is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As objects, or else as lines.
    Any,
    Lines,
    Json,
}

/// Why a payload made no rows.
#[derive(Debug)]
pub(super) enum Unread {
    Refused(Refusal),
    /// It takes more memory than may be now: to be read again when a large one may be.
    Large,
}

impl From<Refusal> for Unread {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Full> for Unread {
    fn from(full: Full) -> Self {
        match full {
            Full::ForNow => Self::Large,
            Full::ForGood(error) => {
                Self::Refused(Refusal { code: RejectionCode::TooLarge, message: error.to_string() })
            }
        }
    }
}

impl Payloads {
    /// What is told of events that are in no envelopes, where there are any.
    pub fn plain(&self) -> Option<&Plain> {
        match self {
            Self::Envelopes => None,
            Self::Any(plain) | Self::Lines(plain) | Self::Json(plain) => Some(plain),
        }
    }

    /// How this payload is read; `None`: as an envelope. In [`Payloads::Any`], what begins with an object that has a
    /// `messageType` is one, or is rejected as one.
    pub(super) fn form(&self, payload: &[u8]) -> Option<(&Plain, Form)> {
        match self {
            Self::Envelopes => None,
            Self::Any(plain) => (!member::has(payload, "messageType")).then_some((plain, Form::Any)),
            Self::Lines(plain) => Some((plain, Form::Lines)),
            Self::Json(plain) => Some((plain, Form::Json)),
        }
    }
}

impl Plain {
    /// Reads a whole payload; its rows and the rejections of its bad events are appended to `out`, for the caller to
    /// take back when there is an error. `id` is working memory.
    pub(super) fn read(
        &self,
        form: Form,
        payload: &[u8],
        origin: &Origin<'_>,
        room: &mut Room,
        id: &mut Vec<u8>,
        out: &mut Decoded,
    ) -> Result<Head<'_>, Unread> {
        let text = std::str::from_utf8(payload).map_err(|error| {
            let at = error.valid_up_to();
            not_decodable(&format!("not valid UTF-8: byte 0x{:02x} at {at}", payload[at]))
        })?;
        begin_id(origin, payload, id);
        match form {
            Form::Lines => lines(text, origin, room, id, out)?,
            Form::Json => self.objects(text, origin, room, id, out)?,
            Form::Any if text.trim_ascii_start().starts_with('{') => {
                let mark = Mark::of(out);
                match self.objects(text, origin, room, id, out) {
                    Err(Unread::Refused(refusal)) if refusal.code != RejectionCode::TooLarge => {
                        mark.back(out);
                        lines(text, origin, room, id, out)?;
                    }
                    read => read?,
                }
            }
            Form::Any => lines(text, origin, room, id, out)?,
        }
        let log_stream = self.log_stream.as_deref().map(Cow::Borrowed);
        Ok(Head { log_group: Cow::Borrowed(&self.log_group), log_stream, owner: None })
    }

    /// Objects, with white space between them or nothing. The message of each is its text as it was written.
    fn objects(
        &self,
        text: &str,
        origin: &Origin<'_>,
        room: &mut Room,
        id: &[u8],
        out: &mut Decoded,
    ) -> Result<(), Unread> {
        // Each has a brace, so that memory grows here or not at all; what isn't used of it is never touched.
        let (most, left) = (memchr_iter(b'{', text.as_bytes()).count(), room.rows_left_now());
        out.text.reserve(text.len() + left.min(most * id_len(id, most)));
        out.rows.reserve(most.min(left / size_of::<Row>()));
        let (mark, mut rejecter) = (Mark::of(out), Rejecter::as_they_are(RejectionCode::EventInvalid, origin));
        for (index, value) in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>().enumerate() {
            let value = value.map_err(|error| not_json(&error))?;
            let object = value.get();
            if !object.starts_with('{') {
                return Err(invalid(format!("value {} of the payload is not an object", index + 1)).into());
            }
            match self.time_field.as_ref().map_or(Ok(origin.arrival), |field| field.read(value)) {
                Ok(timestamp) => push_row(id, index, timestamp, object, out)?,
                Err(why) => rejecter.reject(object.as_bytes(), why, out),
            }
            room.fits(mark.row_bytes(out))?;
        }
        rejecter.finish(out);
        room.take_rows(mark.row_bytes(out));
        Ok(())
    }
}

/// Lines that are not empty, without their ends (`\n` or `\r\n`). The time of each is the arrival of its record.
fn lines(text: &str, origin: &Origin<'_>, room: &mut Room, id: &[u8], out: &mut Decoded) -> Result<(), Unread> {
    // Counted first, so that no memory is taken for more than may be.
    let most = memchr_iter(b'\n', text.as_bytes()).count() + 1;
    let text_bytes = text.len() + most * id_len(id, most);
    room.fits(text_bytes + most * size_of::<Row>())?;
    out.text.reserve(text_bytes);
    out.rows.reserve(most);
    let mark = Mark::of(out);
    let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    for (index, line) in lines.filter(|line| !line.is_empty()).enumerate() {
        push_row(id, index, origin.arrival, line, out)?;
    }
    room.take_rows(mark.row_bytes(out));
    Ok(())
}

/// What the ids of a payload's events begin with.
fn begin_id(origin: &Origin<'_>, payload: &[u8], id: &mut Vec<u8>) {
    id.clear();
    id.extend_from_slice(origin.sequence.as_str().as_bytes());
    id.push(b'-');
    if let Some(index) = origin.user_record {
        append_number(index, id);
        id.push(b'-');
    }
    if origin.earlier.is_some() {
        write!(id, "x{:08x}-", crc32c::crc32c(payload)).expect("a vector takes what is written");
    }
}

/// Bytes of the longest id of so many events.
fn id_len(id: &[u8], events: usize) -> usize {
    id.len() + events.max(1).ilog10() as usize + 1
}

fn append_number(number: usize, text: &mut Vec<u8>) {
    write!(text, "{number}").expect("a vector takes what is written");
}

fn push_row(id: &[u8], index: usize, timestamp: Millis, message: &str, out: &mut Decoded) -> Result<(), Refusal> {
    let at = out.text.len();
    out.text.extend_from_slice(id);
    append_number(index, &mut out.text);
    let lens = (u32::try_from(out.text.len() - at), u32::try_from(message.len()));
    let (Ok(id_len), Ok(message_len)) = lens else {
        let message = "an event is longer than 4 GiB".to_owned();
        return Err(Refusal { code: RejectionCode::TooLarge, message });
    };
    out.text.extend_from_slice(message.as_bytes());
    out.rows.push(Row { timestamp, at, id_len, message_len });
    Ok(())
}
