//! JSON: one object a line, with the names of the schema, in gzip, zstd or as it is.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, NaiveDate, Utc};
use flate2::write::GzEncoder;
use serde::Serialize;

use super::run::{Entry, Run, Value};
use super::sink::Sink;
use super::{Content, EncodeSettings, Fault, ObjectWriter};
use crate::config::{Compression, Format, FormatKind};
use crate::event::Millis;
use crate::table::cells::Items;
use crate::table::{Column, Field, Schema, Source, Type};

/// Bytes of lines that are compressed at once.
const BLOCK: usize = 32 << 10;

/// Rejections are few: their size matters, their speed does not.
const REJECTIONS: Format = Format { kind: FormatKind::Json, compression: Compression::Gzip, level: 6 };

/// A file of lines.
pub(super) struct Lines {
    out: Compressor,
    rows: Rows,
    object_bytes: usize,
    /// Lines that are not compressed yet.
    block: Vec<u8>,
}

/// How a row becomes a line.
enum Rows {
    /// An object with these columns.
    Table { schema: Arc<Schema>, columns: Vec<LineColumn> },
    /// A line already.
    Rejections,
}

struct LineColumn {
    kind: Type,
    source: Source,
    /// The name in quotes, and a colon.
    key: Vec<u8>,
    time: TimeText,
}

impl Lines {
    pub(super) fn of_table(schema: &Arc<Schema>, settings: &EncodeSettings) -> Result<Self, Fault> {
        let schema = Arc::clone(schema);
        let columns = schema.columns.iter().map(LineColumn::new).collect();
        Self::new(settings.format, Rows::Table { schema, columns }, settings)
    }

    pub(super) fn of_rejections(settings: &EncodeSettings) -> Result<Self, Fault> {
        Self::new(REJECTIONS, Rows::Rejections, settings)
    }

    fn new(format: Format, rows: Rows, settings: &EncodeSettings) -> Result<Self, Fault> {
        let out = Compressor::new(format)?;
        Ok(Self { out, rows, object_bytes: settings.object_bytes, block: Vec::with_capacity(2 * BLOCK) })
    }

    fn compress(&mut self) -> Result<(), Fault> {
        self.out.write_all(&self.block)?;
        self.block.clear();
        Ok(())
    }
}

impl ObjectWriter for Lines {
    fn write(&mut self, run: &Run, from: usize) -> Result<usize, Fault> {
        let mut to = from;
        for entry in run.entries(from) {
            self.rows.write(&entry, run, &mut self.block)?;
            to += 1;
            if self.block.len() >= BLOCK {
                self.compress()?;
                if self.is_full() {
                    break;
                }
            }
        }
        Ok(to)
    }

    fn is_full(&self) -> bool {
        self.out.written() >= self.object_bytes
    }

    fn end_run(&mut self) -> Result<usize, Fault> {
        self.compress()?;
        Ok(self.out.written())
    }

    fn finish(mut self) -> Result<Content, Fault> {
        self.compress()?;
        let (extension, content_type) = self.out.names();
        let schema = match self.rows {
            Rows::Table { schema, .. } => Some(schema),
            Rows::Rejections => None,
        };
        Ok(Content { bytes: self.out.finish()?, extension, content_type, schema })
    }
}

impl Rows {
    fn write(&mut self, entry: &Entry, run: &Run, line: &mut Vec<u8>) -> Result<(), Fault> {
        match self {
            Self::Rejections => line.extend_from_slice(entry.text(Field::Message).map_or(&[], |span| run.bytes(span))),
            Self::Table { columns, .. } => {
                let mut before = b'{';
                let mut cells = entry.cells(run);
                for column in columns {
                    let value = match column.source {
                        Source::Event(field) => {
                            entry.text(field).map(Value::Text).or_else(|| entry.millis(field).map(Value::Timestamp))
                        }
                        // They are in one order, of the columns and of the cells.
                        Source::Message { .. } => Some(cells.read()),
                        Source::Rejection => None,
                    };
                    if column.write(value.unwrap_or(Value::Null), run, before, line)? {
                        before = b',';
                    }
                }
                if before == b'{' {
                    line.push(b'{');
                }
                line.push(b'}');
            }
        }
        line.push(b'\n');
        Ok(())
    }
}

impl LineColumn {
    fn new(column: &Column) -> Self {
        let mut key = serde_json::to_vec(&column.key).expect("a string is JSON");
        key.push(b':');
        Self { kind: column.kind, source: column.source, key, time: TimeText::default() }
    }

    /// Writes `before`, the name and the value; nothing at all when there is no value.
    fn write(&mut self, value: Value<'_>, run: &Run, before: u8, line: &mut Vec<u8>) -> Result<bool, Fault> {
        if matches!(value, Value::Null) {
            return Ok(false);
        }
        line.push(before);
        line.extend_from_slice(&self.key);
        match value {
            Value::Null => {}
            Value::Text(span) => json(std::str::from_utf8(run.bytes(span))?, line)?,
            Value::Bigint(number) => json(&number, line)?,
            Value::Int(number) => json(&number, line)?,
            Value::Double(number) => json(&number, line)?,
            Value::Boolean(value) => json(&value, line)?,
            Value::Timestamp(millis) => {
                line.push(b'"');
                line.extend_from_slice(self.time.of(millis).ok_or(Fault::Time(millis))?);
                line.push(b'"');
            }
            Value::Date(days) => {
                let date = NaiveDate::from_epoch_days(days).ok_or(Fault::Time(Millis::from(days) * 86_400_000))?;
                write!(line, "\"{}\"", date.format("%Y-%m-%d"))?;
            }
            Value::Items(items) => self.write_items(items, line)?,
        }
        Ok(true)
    }

    /// A list, or an object of the keys and values that come by turns.
    fn write_items(&self, items: Items<'_>, line: &mut Vec<u8>) -> Result<(), Fault> {
        let (open, close, is_map) = if self.kind == Type::StringMap { (b'{', b'}', true) } else { (b'[', b']', false) };
        line.push(open);
        for (at, item) in items.enumerate() {
            match at {
                0 => {}
                at if is_map && at % 2 == 1 => line.push(b':'),
                _ => line.push(b','),
            }
            json(&item.map(std::str::from_utf8).transpose()?, line)?;
        }
        line.push(close);
        Ok(())
    }
}

fn json<T: Serialize + ?Sized>(value: &T, line: &mut Vec<u8>) -> Result<(), Fault> {
    Ok(serde_json::to_writer(line, value).map_err(std::io::Error::from)?)
}

/// Times as `2024-03-22 05:06:07.089`, which both of Athena's readers of JSON take. Keeps the minute: rows are sorted.
#[derive(Default)]
struct TimeText {
    minute: Option<i64>,
    text: Vec<u8>,
}

const MINUTE: Millis = 60_000;

impl TimeText {
    /// `None` for a time that is in no calendar.
    fn of(&mut self, millis: Millis) -> Option<&[u8]> {
        let minute = millis.div_euclid(MINUTE);
        if self.minute != Some(minute) {
            let time = DateTime::<Utc>::from_timestamp_millis(minute.checked_mul(MINUTE)?)?;
            self.text.clear();
            write!(self.text, "{}", time.format("%Y-%m-%d %H:%M:00.000")).ok()?;
            self.minute = Some(minute);
        }
        let within = millis.rem_euclid(MINUTE);
        let [.., s10, s1, _, m100, m10, m1] = self.text.as_mut_slice() else { return None };
        // Each is below 10.
        let digit = |unit: Millis| b'0' + (within / unit % 10) as u8;
        (*s10, *s1, *m100, *m10, *m1) = (digit(10_000), digit(1_000), digit(100), digit(10), digit(1));
        Some(&self.text)
    }
}

/// Compresses into a sink.
enum Compressor {
    Gzip(GzEncoder<Sink>),
    Zstd(zstd::stream::write::Encoder<'static, Sink>),
    None(Sink),
}

impl Compressor {
    fn new(format: Format) -> Result<Self, Fault> {
        Ok(match format.compression {
            Compression::Gzip => {
                let level = u32::try_from(format.level).unwrap_or(0).min(9);
                Self::Gzip(GzEncoder::new(Sink::default(), flate2::Compression::new(level)))
            }
            Compression::Zstd => Self::Zstd(zstd::stream::write::Encoder::new(Sink::default(), format.level)?),
            // Lines of JSON have no snappy form that readers agree on; the configuration refuses it.
            Compression::Snappy | Compression::None => Self::None(Sink::default()),
        })
    }

    fn write_all(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        match self {
            Self::Gzip(out) => out.write_all(bytes),
            Self::Zstd(out) => out.write_all(bytes),
            Self::None(out) => out.write_all(bytes),
        }
    }

    /// Compressed bytes so far, without those that the compressor still holds.
    fn written(&self) -> usize {
        match self {
            Self::Gzip(out) => out.get_ref().len(),
            Self::Zstd(out) => out.get_ref().len(),
            Self::None(out) => out.len(),
        }
    }

    /// The end of the object's name, and its content type.
    fn names(&self) -> (&'static str, &'static str) {
        match self {
            Self::Gzip(_) => ("json.gz", "application/gzip"),
            Self::Zstd(_) => ("json.zst", "application/zstd"),
            Self::None(_) => ("json", "application/x-ndjson"),
        }
    }

    fn finish(self) -> std::io::Result<Vec<Bytes>> {
        Ok(match self {
            Self::Gzip(out) => out.finish()?,
            Self::Zstd(out) => out.finish()?,
            Self::None(out) => out,
        }
        .finish())
    }
}
