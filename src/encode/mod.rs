//! Turns the rows of a partition into the bytes of finished objects: Parquet, or lines of JSON.
//!
//! A partition is encoded run by run, in the order of arrival; the rows of a run are sorted by timestamp, and their
//! memory is given back before the next run starts. So no more than one run is held twice, as rows and as pages.
//! Objects end near the configured size, wherever in a run that falls.
//!
//! CPU only and synchronous: to be called on blocking threads, for many partitions at once. Absent on purpose: I/O,
//! clocks, and the names of objects.

mod columnar;
mod lines;
mod run;
mod sink;
#[cfg(test)]
mod tests;
mod values;

use std::sync::Arc;

use bytes::Bytes;

use crate::buffer::{Budget, Held, Lease, PartitionRows};
use crate::config::{Format, FormatKind};
use crate::event::Millis;
use crate::partition::{Folder, Partition};
use crate::table::Schema;
use crate::table::tables::Tables;
use run::Run;

/// How objects are made.
#[derive(Clone, Debug)]
pub struct EncodeSettings {
    /// Of the objects of tables; rejections are always lines of JSON in gzip.
    pub format: Format,
    /// An object ends when its encoded bytes pass this; every object but a partition's last is within a fifth of it,
    /// as long as single rows are small beside it.
    pub object_bytes: usize,
    pub tables: Arc<Tables>,
    /// Columns that get Bloom filters, in every table that has them.
    pub bloom_filters: Arc<[String]>,
    /// What encoded bytes are counted against.
    pub budget: Arc<Budget>,
}

/// A finished object, without its name.
#[derive(Debug)]
pub struct Object {
    pub rows: u64,
    /// The content, in order.
    pub bytes: Vec<Bytes>,
    /// The end of its name, without a dot in front: `parquet`, `json.gz`, `json.zst` or `json`.
    pub extension: &'static str,
    pub content_type: &'static str,
    /// What it says about itself to who lists a bucket: lower-case names with dashes.
    pub metadata: Vec<(String, String)>,
    pub min_timestamp: Millis,
    pub max_timestamp: Millis,
    /// Counts the content against the budget: keep it as long as the bytes.
    pub lease: Lease,
}

impl Object {
    /// Bytes of the content.
    pub fn len(&self) -> usize {
        self.bytes.iter().map(Bytes::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A partition could not be encoded: a fault of this program, not of the data.
#[derive(Debug, thiserror::Error)]
#[error("cannot encode {rows} rows of {partition}: {source}")]
pub struct EncodeError {
    partition: Box<Partition>,
    rows: u64,
    source: Fault,
}

#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Parquet(#[from] parquet::errors::ParquetError),
    #[error(transparent)]
    Arrow(#[from] arrow::error::ArrowError),
    #[error("cannot compress: {0}")]
    Compress(#[from] std::io::Error),
    #[error("a text is not valid UTF-8: {0}")]
    NotUtf8(#[from] std::str::Utf8Error),
    #[error("no calendar has the time {0} ms after 1970")]
    Time(Millis),
    #[error("there is no such table")]
    NoTable,
    #[error("a value has another type than its column")]
    Type,
}

/// Encodes all rows of a partition, sorted by timestamp within each run. The rows' memory is given back as they are
/// done; the objects hold their own share of the budget.
///
/// `run_bytes`: rows that are sorted together, and that make a Parquet row group, take about so many bytes.
///
/// # Errors
/// Only when this program is wrong: the rows are lost then, and must be read again.
pub fn encode(
    partition: &Partition,
    rows: PartitionRows,
    run_bytes: usize,
    settings: &EncodeSettings,
) -> Result<Vec<Object>, EncodeError> {
    let count = rows.rows();
    let objects = match (&partition.folder, settings.format.kind) {
        (Folder::Table { table, .. }, kind) => match (settings.tables.find(table), kind) {
            (Some(table), FormatKind::Parquet) => {
                let group_rows = count.div_ceil(rows.runs(run_bytes) as u64);
                columnar::Layout::new(&table.schema, group_rows, settings)
                    .map_err(Fault::from)
                    .and_then(|layout| pack(rows, run_bytes, settings, || layout.open()))
            }
            (Some(table), FormatKind::Json) => {
                pack(rows, run_bytes, settings, || lines::Lines::of_table(&table.schema, settings))
            }
            (None, _) => Err(Fault::NoTable),
        },
        (Folder::Errors { .. }, _) => pack(rows, run_bytes, settings, || lines::Lines::of_rejections(settings)),
    };
    objects.map_err(|source| EncodeError { partition: Box::new(partition.clone()), rows: count, source })
}

/// An object while it is being made.
trait ObjectWriter: Sized {
    /// Adds rows of a run, from its row `from` on, at least one, until the object is full or the run at its end;
    /// returns the row that comes next.
    fn write(&mut self, run: &Run, from: usize) -> Result<usize, Fault>;

    /// Whether the object has its size.
    fn is_full(&self) -> bool;

    /// The run is at its end and its rows are about to go; returns the encoded bytes so far.
    fn end_run(&mut self) -> Result<usize, Fault>;

    /// The content, and what it is.
    fn finish(self) -> Result<Content, Fault>;
}

struct Content {
    bytes: Vec<Bytes>,
    extension: &'static str,
    content_type: &'static str,
    schema: Option<Arc<Schema>>,
}

/// What is known of an object beside its content.
struct Open<W> {
    writer: W,
    rows: u64,
    min_timestamp: Millis,
    max_timestamp: Millis,
    lease: Lease,
}

/// Writes the rows run by run into as many objects as their size asks for.
fn pack<W: ObjectWriter>(
    rows: PartitionRows,
    run_bytes: usize,
    settings: &EncodeSettings,
    open: impl Fn() -> Result<W, Fault>,
) -> Result<Vec<Object>, Fault> {
    let mut objects = Vec::new();
    let mut current: Option<Open<W>> = None;
    for segments in rows.into_runs(run_bytes) {
        let run = Run::sorted(segments);
        let mut from = 0;
        while from < run.len() {
            let mut object = match current.take() {
                Some(object) => object,
                None => Open::new(open()?, &settings.budget),
            };
            from = object.write(&run, from)?;
            if object.writer.is_full() {
                objects.push(object.finish()?);
            } else {
                current = Some(object);
            }
        }
        if let Some(object) = &mut current {
            object.end_run()?;
        }
    }
    objects.extend(current.map(Open::finish).transpose()?);
    Ok(objects)
}

impl<W: ObjectWriter> Open<W> {
    fn new(writer: W, budget: &Arc<Budget>) -> Self {
        let lease = budget.hold(Held::Packed, 0);
        Self { writer, rows: 0, min_timestamp: Millis::MAX, max_timestamp: Millis::MIN, lease }
    }

    fn write(&mut self, run: &Run, from: usize) -> Result<usize, Fault> {
        let to = self.writer.write(run, from)?;
        self.rows += (to - from) as u64;
        self.min_timestamp = self.min_timestamp.min(run.timestamp(from));
        self.max_timestamp = self.max_timestamp.max(run.timestamp(to - 1));
        Ok(to)
    }

    fn end_run(&mut self) -> Result<(), Fault> {
        let bytes = self.writer.end_run()?;
        self.lease.grow(bytes.saturating_sub(self.lease.bytes()));
        Ok(())
    }

    fn finish(self) -> Result<Object, Fault> {
        let Self { writer, rows, min_timestamp, max_timestamp, mut lease } = self;
        let Content { bytes, extension, content_type, schema } = writer.finish()?;
        let len: usize = bytes.iter().map(Bytes::len).sum();
        lease.grow(len.saturating_sub(lease.bytes()));
        let mut metadata = vec![
            ("rows".to_owned(), rows.to_string()),
            ("min-timestamp".to_owned(), min_timestamp.to_string()),
            ("max-timestamp".to_owned(), max_timestamp.to_string()),
        ];
        if let Some(schema) = schema {
            metadata.push(("schema".to_owned(), schema.name.clone()));
            metadata.push(("schema-version".to_owned(), schema.version.to_string()));
        }
        Ok(Object { rows, bytes, extension, content_type, metadata, min_timestamp, max_timestamp, lease })
    }
}
