//! Some consecutive segments of a partition, with their rows in the order of their timestamps.

use arrow::buffer::Buffer;
use std::sync::Arc;

use crate::buffer::{Head, Lease, Row, Segment};
use crate::event::Millis;
use crate::table::Field;
use crate::table::cells::{self, Cell, Cells, Items};

/// Rows that are sorted together. Holds their share of the budget until dropped.
pub(super) struct Run {
    parts: Vec<Part>,
    /// The segments' texts, as the buffers of view arrays.
    texts: Arc<[Buffer]>,
    order: Vec<Key>,
}

/// A segment without its text.
struct Part {
    /// Bytes of text for each row, its values among it.
    row_bytes: usize,
    rows: Vec<Row>,
    heads: Vec<Head>,
    _lease: Lease,
}

/// Where a row is, and what it is sorted by.
#[derive(Clone, Copy)]
struct Key {
    timestamp: Millis,
    part: u32,
    row: u32,
}

/// A row of a [`Run`].
#[derive(Clone, Copy)]
pub(super) struct Entry {
    pub row: Row,
    pub head: Head,
    part: u32,
}

/// A piece of one of a run's texts.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub part: u32,
    pub at: u32,
    pub len: u32,
}

impl Run {
    /// Sorts by timestamp; rows of one millisecond stay in the order of their arrival.
    pub(super) fn sorted(segments: Vec<Segment>) -> Self {
        let mut order = Vec::with_capacity(segments.iter().map(|segment| segment.rows.len()).sum());
        let mut texts = Vec::with_capacity(segments.len());
        let mut parts = Vec::with_capacity(segments.len());
        for (part, segment) in (0..).zip(segments) {
            order.extend((0..).zip(&segment.rows).map(|(row, &Row { timestamp, .. })| Key { timestamp, part, row }));
            let row_bytes = segment.text.len() / segment.rows.len().max(1);
            texts.push(Buffer::from_vec(segment.text));
            parts.push(Part { row_bytes, rows: segment.rows, heads: segment.heads, _lease: segment.lease });
        }
        // Stable, and linear for input that is made of sorted stretches, as it mostly is.
        order.sort_by_key(|key| key.timestamp);
        Self { parts, texts: texts.into(), order }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn texts(&self) -> &Arc<[Buffer]> {
        &self.texts
    }

    /// The timestamp of a row, counted in sorted order.
    pub(super) fn timestamp(&self, at: usize) -> Millis {
        self.order[at].timestamp
    }

    /// The rows from `from` on, in sorted order.
    pub(super) fn entries(&self, from: usize) -> impl Iterator<Item = Entry> {
        self.order[from..].iter().map(|key| {
            let part = &self.parts[key.part as usize];
            let row = part.rows[key.row as usize];
            // Lines of rejections have no heads.
            let head = part.heads.get(row.head as usize).copied().unwrap_or(NO_HEAD);
            Entry { row, head, part: key.part }
        })
    }

    /// Bytes that a row takes, on the average of its segment or more.
    pub(super) fn row_bytes(&self, entry: &Entry) -> usize {
        entry.text_len().max(self.parts[entry.part as usize].row_bytes)
    }

    pub(super) fn bytes(&self, span: Span) -> &[u8] {
        &self.texts[span.part as usize][span.at as usize..][..span.len as usize]
    }
}

/// The cells of a row, one after the other.
pub(super) struct RowCells<'r> {
    cells: Cells<'r>,
    part: u32,
    message_at: u32,
    cells_at: u32,
}

/// A value of a row.
#[derive(Clone, Copy)]
pub(super) enum Value<'r> {
    Null,
    Text(Span),
    Bigint(i64),
    Int(i32),
    Double(f64),
    Boolean(bool),
    Timestamp(Millis),
    Date(i32),
    Items(Items<'r>),
}

impl<'r> RowCells<'r> {
    /// The next one.
    pub(super) fn read(&mut self) -> Value<'r> {
        let span =
            |from: u32, span: cells::Span| Value::Text(Span { part: self.part, at: from + span.at, len: span.len });
        match self.cells.read() {
            Cell::Null => Value::Null,
            Cell::Message(place) => span(self.message_at, place),
            Cell::Own(place) => span(self.cells_at, place),
            Cell::Bigint(number) => Value::Bigint(number),
            Cell::Int(number) => Value::Int(number),
            Cell::Double(number) => Value::Double(number),
            Cell::Boolean(value) => Value::Boolean(value),
            Cell::Timestamp(millis) => Value::Timestamp(millis),
            Cell::Date(days) => Value::Date(days),
            Cell::Items(items) => Value::Items(items),
        }
    }
}

const NO_HEAD: Head = Head { arrival: 0, at: 0, log_stream_len: None, owner_len: None };

impl Entry {
    /// The values that were taken out of the message.
    pub(super) fn cells<'r>(&self, run: &'r Run) -> RowCells<'r> {
        let at = self.message_at() + self.row.message_len;
        let text = &run.texts[self.part as usize];
        RowCells {
            cells: Cells::new(&text[at as usize..]),
            part: self.part,
            message_at: self.message_at(),
            cells_at: at,
        }
    }

    fn message_at(&self) -> u32 {
        self.row.at + self.row.id_len
    }

    /// Bytes of id and message: what a row mostly is.
    pub(super) fn text_len(&self) -> usize {
        self.row.id_len as usize + self.row.message_len as usize
    }

    /// The text of a field of strings; `None` where the event has none.
    pub(super) fn text(&self, field: Field) -> Option<Span> {
        let Self { row, head, part } = *self;
        let span = |at, len| Span { part, at, len };
        match field {
            Field::EventId => Some(span(row.at, row.id_len)),
            Field::Message => Some(span(self.message_at(), row.message_len)),
            Field::LogStream => head.log_stream_len.map(|len| span(head.at, len)),
            Field::Owner => head.owner_len.map(|len| span(head.at + head.log_stream_len.unwrap_or(0), len)),
            Field::Timestamp | Field::IngestedAt => None,
        }
    }

    /// The value of a field of timestamps; `None` for any other.
    pub(super) fn millis(&self, field: Field) -> Option<Millis> {
        match field {
            Field::Timestamp => Some(self.row.timestamp),
            Field::IngestedAt => Some(self.head.arrival),
            Field::EventId | Field::Message | Field::LogStream | Field::Owner => None,
        }
    }
}
