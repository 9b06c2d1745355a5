//! Parquet: V1 data pages, one row group a run (or the part of a run that an object still took), statistics only
//! where a reader prunes by them.
//!
//! Texts are not copied on their way into pages: the columns are view arrays over the segments themselves. The file's
//! schema is given, not derived from the Arrow types, so that the views may be of bytes: the texts are UTF-8 already,
//! and are not checked again.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryViewArray, RecordBatch, TimestampMillisecondArray};
use arrow::buffer::{Buffer, NullBuffer, ScalarBuffer};
use arrow::datatypes::{Field as ArrowField, Schema as ArrowSchema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression as Codec, Encoding, GzipLevel, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion};
use parquet::schema::types::ColumnPath;

use super::run::{Entry, Run};
use super::sink::Sink;
use super::values::{self, Values};
use super::{Content, EncodeSettings, Fault, ObjectWriter};
use crate::config::{Compression, Format};
use crate::table::{Column, Field, Schema, Source, Type};

/// Bytes of a column's values that go into one page, at most.
const LARGEST_PAGE: usize = 512 << 10;
/// Bytes of rows that are handed over at once, at most.
const LARGEST_BATCH: usize = 1 << 20;
/// And values, empty ones too: each takes up to 16 bytes.
const MOST_VALUES: usize = 512 << 10;
/// Pages and batches are at most this part of an object, so that its size is known well enough to end it in time.
const PART_OF_OBJECT: usize = 64;
/// And no smaller than this.
const SMALLEST_PART: usize = 4 << 10;
/// Values that a Bloom filter is made for, at most: it takes a byte and a half for each.
const MOST_DISTINCT: u64 = 1_000_000;
/// Views shorter than this hold their text themselves.
const LONGEST_INLINE: usize = 12;

/// What all objects of one partition have in common.
pub(super) struct Layout {
    schema: Arc<Schema>,
    arrow: SchemaRef,
    options: ArrowWriterOptions,
    object_bytes: usize,
}

impl Layout {
    /// `group_rows`: the rows of a row group, about.
    pub(super) fn new(schema: &Arc<Schema>, group_rows: u64, settings: &EncodeSettings) -> Result<Self, ParquetError> {
        let schema = Arc::clone(schema);
        let fields: Vec<_> = schema.columns.iter().map(arrow_field).collect();
        let options = ArrowWriterOptions::new()
            .with_properties(properties(&schema, group_rows, settings)?)
            .with_parquet_schema(schema.parquet()?)
            .with_skip_arrow_metadata(true);
        Ok(Self { schema, arrow: Arc::new(ArrowSchema::new(fields)), options, object_bytes: settings.object_bytes })
    }

    pub(super) fn open(&self) -> Result<ParquetObject, Fault> {
        let writer = ArrowWriter::try_new_with_options(Sink::default(), Arc::clone(&self.arrow), self.options.clone())?;
        Ok(ParquetObject {
            writer,
            schema: Arc::clone(&self.schema),
            arrow: Arc::clone(&self.arrow),
            object_bytes: self.object_bytes,
            batch: Vec::new(),
        })
    }
}

fn arrow_field(column: &Column) -> ArrowField {
    ArrowField::new(&column.name, values::arrow_type(column.kind), !column.required)
}

fn properties(schema: &Schema, group_rows: u64, settings: &EncodeSettings) -> Result<WriterProperties, ParquetError> {
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by(concat!("firemain ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(codec(settings.format)?)
        .set_data_page_size_limit(part_of(settings.object_bytes, LARGEST_PAGE))
        .set_statistics_enabled(EnabledStatistics::None)
        // Row groups end with runs.
        .set_max_row_group_row_count(None)
        .set_max_row_group_bytes(None)
        .set_key_value_metadata(Some(vec![
            KeyValue::new("firemain.schema".to_owned(), schema.name.clone()),
            KeyValue::new("firemain.schema.version".to_owned(), schema.version.to_string()),
        ]));
    if let Some(at) = schema.position(Field::Timestamp).and_then(|at| i32::try_from(at).ok()) {
        let sorted = SortingColumn { column_idx: at, descending: false, nulls_first: false };
        properties = properties.set_sorting_columns(Some(vec![sorted]));
    }
    for column in &schema.columns {
        properties = column_properties(properties, column);
        if settings.bloom_filters.contains(&column.name) {
            let path = ColumnPath::from(column.name.as_str());
            properties = properties.set_column_bloom_filter_enabled(path.clone(), true);
            properties = properties.set_column_bloom_filter_max_ndv(path, group_rows.clamp(1, MOST_DISTINCT));
        }
    }
    Ok(properties.build())
}

/// What is unique gets no dictionary; what ascends gets deltas; what readers prune by gets statistics.
fn column_properties(properties: WriterPropertiesBuilder, column: &Column) -> WriterPropertiesBuilder {
    let path = || ColumnPath::from(column.name.as_str());
    let field = match column.source {
        Source::Event(field) => field,
        // Texts of logs repeat; numbers and times are what readers compare.
        Source::Message { .. } if matches!(column.kind, Type::String | Type::Strings | Type::StringMap) => {
            return properties;
        }
        Source::Message { .. } | Source::Rejection => {
            return properties.set_column_statistics_enabled(path(), EnabledStatistics::Chunk);
        }
    };
    match field {
        // Ids of neighbours share their first digits.
        Field::EventId => properties
            .set_column_dictionary_enabled(path(), false)
            .set_column_encoding(path(), Encoding::DELTA_BYTE_ARRAY),
        Field::Timestamp => properties
            .set_column_dictionary_enabled(path(), false)
            .set_column_encoding(path(), Encoding::DELTA_BINARY_PACKED)
            .set_column_statistics_enabled(path(), EnabledStatistics::Page),
        Field::Message => {
            properties.set_column_dictionary_enabled(path(), false).set_column_encoding(path(), Encoding::PLAIN)
        }
        Field::IngestedAt => properties
            .set_column_dictionary_enabled(path(), false)
            .set_column_encoding(path(), Encoding::DELTA_BINARY_PACKED),
        // Few values: a page is a list of small numbers.
        Field::LogStream | Field::Owner => properties.set_column_dictionary_enabled(path(), true),
    }
}

fn codec(format: Format) -> Result<Codec, ParquetError> {
    Ok(match format.compression {
        Compression::Zstd => Codec::ZSTD(ZstdLevel::try_new(format.level)?),
        Compression::Snappy => Codec::SNAPPY,
        // A level below 0 means 0.
        Compression::Gzip => Codec::GZIP(GzipLevel::try_new(u32::try_from(format.level).unwrap_or(0))?),
        Compression::None => Codec::UNCOMPRESSED,
    })
}

fn part_of(object_bytes: usize, largest: usize) -> usize {
    (object_bytes / PART_OF_OBJECT).clamp(SMALLEST_PART, largest)
}

/// One Parquet file.
pub(super) struct ParquetObject {
    writer: ArrowWriter<Sink>,
    schema: Arc<Schema>,
    arrow: SchemaRef,
    object_bytes: usize,
    /// The rows of one batch, side by side.
    batch: Vec<Entry>,
}

impl ParquetObject {
    /// The bytes that an end now would make, rather too many than too few: finished pages, and what is to be
    /// compressed yet as it is.
    fn size(&self) -> usize {
        self.writer.bytes_written() + self.writer.in_progress_size()
    }

    fn write_batch(&mut self, run: &Run) -> Result<(), Fault> {
        let mut cells = Values::of_cells(&self.schema, &self.batch, run)?.into_iter();
        let columns = self.schema.columns.iter().map(|column| match (column.source, column.kind) {
            (Source::Event(field), Type::Timestamp) => Ok(timestamps(&self.batch, field)),
            (Source::Event(field), _) => texts(&self.batch, run, field),
            // They are in one order, of the columns and of the cells.
            (Source::Message { .. } | Source::Rejection, _) => Ok(cells.next().expect("a cell for each such column")),
        });
        let batch = RecordBatch::try_new(Arc::clone(&self.arrow), columns.collect::<Result<_, Fault>>()?)?;
        self.writer.write(&batch)?;
        Ok(())
    }
}

impl ObjectWriter for ParquetObject {
    fn write(&mut self, run: &Run, from: usize) -> Result<usize, Fault> {
        let batch_bytes = part_of(self.object_bytes, LARGEST_BATCH);
        let batch_rows = (MOST_VALUES / self.schema.columns.len().max(1)).max(1);
        let mut to = from;
        loop {
            let mut bytes = 0;
            self.batch.clear();
            self.batch.extend(run.entries(to).take(batch_rows).take_while(|entry| {
                let room = bytes < batch_bytes;
                bytes += run.row_bytes(entry) + size_of::<Entry>();
                room
            }));
            to += self.batch.len();
            self.write_batch(run)?;
            if to == run.len() || self.is_full() {
                return Ok(to);
            }
        }
    }

    fn is_full(&self) -> bool {
        self.size() >= self.object_bytes
    }

    fn end_run(&mut self) -> Result<usize, Fault> {
        self.writer.flush()?;
        Ok(self.writer.bytes_written())
    }

    fn finish(self) -> Result<Content, Fault> {
        Ok(Content {
            bytes: self.writer.into_inner()?.finish(),
            extension: "parquet",
            content_type: "application/vnd.apache.parquet",
            schema: Some(self.schema),
        })
    }
}

/// A column of strings, as views into the run's texts.
fn texts(batch: &[Entry], run: &Run, field: Field) -> Result<ArrayRef, Fault> {
    let mut missing = false;
    let views: Vec<u128> = batch
        .iter()
        .map(|entry| {
            let span = entry.text(field);
            missing |= span.is_none();
            span.map_or(0, |span| view(run.bytes(span), span.part, span.at))
        })
        .collect();
    let nulls = missing.then(|| batch.iter().map(|entry| entry.text(field).is_some()).collect::<NullBuffer>());
    let buffers: Arc<[Buffer]> = Arc::clone(run.texts());
    Ok(Arc::new(BinaryViewArray::try_new(ScalarBuffer::from(views), buffers, nulls)?))
}

/// A view as Arrow lays it out: a length, then the whole of a short text, or the first four bytes of a long one and
/// where it is.
pub(super) fn view(text: &[u8], buffer: u32, at: u32) -> u128 {
    let mut bytes = [0; 16];
    bytes[..4].copy_from_slice(&(text.len() as u32).to_le_bytes());
    if text.len() <= LONGEST_INLINE {
        bytes[4..4 + text.len()].copy_from_slice(text);
    } else {
        bytes[4..8].copy_from_slice(&text[..4]);
        bytes[8..12].copy_from_slice(&buffer.to_le_bytes());
        bytes[12..].copy_from_slice(&at.to_le_bytes());
    }
    u128::from_le_bytes(bytes)
}

fn timestamps(batch: &[Entry], field: Field) -> ArrayRef {
    let values = batch.iter().map(|entry| entry.millis(field).unwrap_or_default());
    Arc::new(TimestampMillisecondArray::from_iter_values(values).with_timezone("UTC"))
}
