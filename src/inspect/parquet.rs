//! Parquet: what its footer says, and its first rows. Read by ranges, so that of a large file on S3 only the footer and
//! the first pages of each column are fetched; whether the other pages are intact is not looked at.

use std::io::{self, BufReader, Read};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::{SortOptions, cast, sort_to_indices};
use arrow::datatypes::{DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Schema};
use arrow::datatypes::{TimeUnit, UInt8Type, UInt16Type, UInt32Type, UInt64Type};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use bytes::Bytes;
use chrono::{DateTime, SecondsFormat};
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::{ChunkReader, Length};
use parquet::schema::printer::print_schema;
use parquet::schema::types::ColumnDescriptor;
use serde::Serialize;
use serde_json::{Map, Value};

use super::Problems;
use super::input::Input;
use super::row::Row;
use super::shown::{Options, hex};

/// The column that tells when an event was.
const TIMESTAMP: &str = "timestamp";
/// Characters of the smallest and the largest value of a column.
const LONGEST_BOUND: usize = 40;
/// Bytes that are read to find a page's header.
const HEADER: usize = 4 << 10;

/// What a Parquet file is.
#[derive(Debug, Default, Serialize)]
pub struct Parquet {
    pub rows: u64,
    pub created_by: Option<String>,
    /// The version of the format that its writer claims.
    pub version: i32,
    /// Names and values in the footer, but for the Arrow schema in it.
    pub key_values: Vec<(String, String)>,
    pub row_groups: Vec<RowGroup>,
    pub columns: Vec<Column>,
    pub first_rows: Vec<Row>,
}

/// A row group.
#[derive(Debug, Serialize)]
pub struct RowGroup {
    pub rows: u64,
    pub compressed_bytes: u64,
    pub uncompressed_bytes: u64,
    /// The smallest and the largest value of `timestamp`, by its statistics.
    pub timestamp: Option<Bounds>,
}

/// A column, over all row groups.
#[derive(Debug, Serialize)]
pub struct Column {
    /// Its path, with dots.
    pub name: String,
    /// As Parquet calls it: `INT64 TIMESTAMP(MILLIS,true)`.
    pub parquet_type: String,
    pub required: bool,
    /// Each that a row group uses.
    pub compression: Vec<String>,
    pub compressed_bytes: u64,
    pub uncompressed_bytes: u64,
    /// Row groups that have a Bloom filter for it.
    pub bloom_filters: usize,
    pub bounds: Option<Bounds>,
}

/// The smallest and the largest value, where statistics say so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Bounds {
    pub min: String,
    pub max: String,
}

/// What could be read: nothing but the problems, when the footer can't be.
pub fn inspect(input: &Arc<Input>, options: Options, problems: &mut Problems) -> io::Result<Parquet> {
    let chunks = Chunks(Arc::clone(input));
    // A pipe that is too long says so.
    input.range(0, 4)?;
    let metadata = match ParquetMetaDataReader::new().parse_and_finish(&chunks) {
        Ok(metadata) => Arc::new(metadata),
        Err(error) => {
            problems.add(format!(
                "its footer, which stands at its end, can't be read: {}; without it nothing of Parquet can be: it may be \
                 cut short",
                told(&error)
            ));
            return Ok(Parquet::default());
        }
    };
    if *input.range(0, 4)? != *b"PAR1" {
        problems.add("it does not begin as Parquet does: somebody wrote over its beginning".to_owned());
    }
    let mut parquet = Parquet::of(&metadata);
    let arrow = match ArrowReaderMetadata::try_new(Arc::clone(&metadata), ArrowReaderOptions::new()) {
        Ok(arrow) => arrow,
        Err(error) => {
            problems.add(format!("its rows can't be read: {}", told(&error)));
            return Ok(parquet);
        }
    };
    parquet.add_bounds(&metadata, arrow.schema());
    match first_rows(chunks, arrow, options) {
        Ok(rows) => parquet.first_rows = rows,
        Err(error) => problems.add(format!("its first rows can't be read: {error}")),
    }
    Ok(parquet)
}

fn told(error: &ParquetError) -> String {
    let text = error.to_string();
    let what = ["Parquet error: ", "EOF: ", "External: "].iter().find_map(|kind| text.strip_prefix(kind));
    what.unwrap_or(&text).to_owned()
}

impl Parquet {
    fn of(metadata: &ParquetMetaData) -> Self {
        let about = metadata.file_metadata();
        let key_values = about.key_value_metadata().into_iter().flatten();
        let key_values = key_values.filter(|pair| pair.key != "ARROW:schema");
        let row_groups = metadata.row_groups().iter().map(|group| RowGroup {
            rows: number(group.num_rows()),
            compressed_bytes: number(group.compressed_size()),
            uncompressed_bytes: number(group.total_byte_size()),
            timestamp: None,
        });
        let columns = about.schema_descr().columns().iter().enumerate();
        Self {
            rows: number(about.num_rows()),
            created_by: about.created_by().map(str::to_owned),
            version: about.version(),
            key_values: key_values.map(|pair| (pair.key.clone(), pair.value.clone().unwrap_or_default())).collect(),
            row_groups: row_groups.collect(),
            columns: columns.map(|(at, column)| Column::of(metadata, at, column)).collect(),
            first_rows: Vec::new(),
        }
    }

    /// Adds what statistics say. A column that has none, or a nested one, stays without.
    fn add_bounds(&mut self, metadata: &ParquetMetaData, schema: &Schema) {
        let descriptor = metadata.file_metadata().schema_descr();
        for column in &mut self.columns {
            let Ok(converter) = StatisticsConverter::try_new(&column.name, schema, descriptor) else { continue };
            let groups = || metadata.row_groups().iter();
            let (Ok(mins), Ok(maxes)) = (converter.row_group_mins(groups()), converter.row_group_maxes(groups()))
            else {
                continue;
            };
            column.bounds = extreme(&mins, false).zip(extreme(&maxes, true)).map(|(min, max)| Bounds { min, max });
            if column.name == TIMESTAMP {
                for (at, group) in self.row_groups.iter_mut().enumerate() {
                    let bounds = shown_value(&mins, at).zip(shown_value(&maxes, at));
                    group.timestamp = bounds.map(|(min, max)| Bounds { min, max });
                }
            }
        }
    }
}

/// A damaged footer may say less than nothing.
fn number(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

impl Column {
    fn of(metadata: &ParquetMetaData, at: usize, column: &ColumnDescriptor) -> Self {
        let chunks = || metadata.row_groups().iter().filter_map(|group| group.columns().get(at));
        let mut compression = Vec::new();
        for chunk in chunks() {
            let name = chunk.compression_codec().to_string();
            if !compression.contains(&name) {
                compression.push(name);
            }
        }
        let sum = |bytes: fn(&parquet::file::metadata::ColumnChunkMetaData) -> i64| {
            chunks().fold(0u64, |sum, chunk| sum.saturating_add(number(bytes(chunk))))
        };
        Self {
            name: column.path().string(),
            parquet_type: type_of(column),
            required: column.max_def_level() == 0,
            compression,
            compressed_bytes: sum(|chunk| chunk.compressed_size()),
            uncompressed_bytes: sum(|chunk| chunk.uncompressed_size()),
            bloom_filters: chunks().filter(|chunk| chunk.bloom_filter_offset().is_some()).count(),
            bounds: None,
        }
    }
}

/// `REQUIRED INT64 timestamp (TIMESTAMP(MILLIS,true));` without repetition and name.
fn type_of(column: &ColumnDescriptor) -> String {
    let mut printed = Vec::new();
    print_schema(&mut printed, column.self_type());
    let printed = String::from_utf8_lossy(&printed);
    let (physical, logical) = printed.split_once(column.name()).unwrap_or((&printed, ""));
    let physical = physical.split_whitespace().last().unwrap_or_default();
    let logical = logical.trim().trim_end_matches(';').trim_start_matches('(').strip_suffix(')').unwrap_or_default();
    format!("{physical} {logical}").trim_end().to_owned()
}

/// The smallest or the largest that is not null.
fn extreme(values: &ArrayRef, largest: bool) -> Option<String> {
    let order = SortOptions { descending: largest, nulls_first: false };
    let first = sort_to_indices(values, Some(order), Some(1)).ok()?;
    shown_value(values, first.values().first().copied()? as usize)
}

fn shown_value(values: &ArrayRef, at: usize) -> Option<String> {
    if at >= values.len() || values.is_null(at) {
        return None;
    }
    let text = match value(values.as_ref(), at).ok()? {
        Value::String(text) => text,
        other => other.to_string(),
    };
    Some(match text.char_indices().nth(LONGEST_BOUND) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    })
}

fn first_rows(chunks: Chunks, metadata: ArrowReaderMetadata, options: Options) -> Result<Vec<Row>, String> {
    if options.rows == 0 {
        return Ok(Vec::new());
    }
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(chunks, metadata);
    let reader = reader.with_limit(options.rows).with_batch_size(options.rows).build().map_err(|error| told(&error))?;
    let mut rows = Vec::new();
    for batch in reader {
        let batch = batch.map_err(|error| error.to_string())?;
        for at in 0..batch.num_rows() {
            rows.push(row(&batch, at).map_err(|error| error.to_string())?.cut(options));
        }
    }
    Ok(rows)
}

fn row(batch: &RecordBatch, at: usize) -> Result<Row, ArrowError> {
    let schema = batch.schema();
    let members = schema.fields().iter().zip(batch.columns());
    let members = members.map(|(field, column)| Ok((field.name().clone(), value(column, at)?)));
    members.collect::<Result<_, _>>().map(Row)
}

/// A value as JSON has it; what JSON has not is text.
fn value(array: &dyn Array, at: usize) -> Result<Value, ArrowError> {
    macro_rules! primitive {
        ($kind:ty) => {
            array.as_primitive::<$kind>().value(at).into()
        };
    }
    if array.is_null(at) {
        return Ok(Value::Null);
    }
    Ok(match array.data_type() {
        DataType::Boolean => array.as_boolean().value(at).into(),
        DataType::Int8 => primitive!(Int8Type),
        DataType::Int16 => primitive!(Int16Type),
        DataType::Int32 => primitive!(Int32Type),
        DataType::Int64 => primitive!(Int64Type),
        DataType::UInt8 => primitive!(UInt8Type),
        DataType::UInt16 => primitive!(UInt16Type),
        DataType::UInt32 => primitive!(UInt32Type),
        DataType::UInt64 => primitive!(UInt64Type),
        DataType::Float32 => primitive!(Float32Type),
        DataType::Float64 => primitive!(Float64Type),
        DataType::Utf8 => array.as_string::<i32>().value(at).into(),
        DataType::Binary => binary(array.as_binary::<i32>().value(at)),
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(at);
            (0..items.len()).map(|at| value(&items, at)).collect::<Result<Vec<_>, _>>()?.into()
        }
        DataType::Struct(fields) => {
            let members = fields.iter().zip(array.as_struct().columns());
            let members = members.map(|(field, column)| Ok((field.name().clone(), value(column, at)?)));
            Value::Object(members.collect::<Result<_, ArrowError>>()?)
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(at);
            let (keys, values) = (entries.column(0), entries.column(1));
            let mut members = Map::new();
            for at in 0..entries.len() {
                let key = match value(keys, at)? {
                    Value::String(text) => text,
                    other => other.to_string(),
                };
                members.insert(key, value(values, at)?);
            }
            Value::Object(members)
        }
        DataType::Timestamp(unit, zone) => timestamp(array, at, *unit, zone.is_some())?,
        _ => ArrayFormatter::try_new(array, &FormatOptions::default())?.value(at).try_to_string()?.into(),
    })
}

/// As RFC 3339, with a `Z` if it is of UTC; the number where no calendar has it.
fn timestamp(array: &dyn Array, at: usize, unit: TimeUnit, is_utc: bool) -> Result<Value, ArrowError> {
    let number = cast(&array.slice(at, 1), &DataType::Int64)?.as_primitive::<Int64Type>().value(0);
    let (time, digits) = match unit {
        TimeUnit::Second => (DateTime::from_timestamp(number, 0), SecondsFormat::Secs),
        TimeUnit::Millisecond => (DateTime::from_timestamp_millis(number), SecondsFormat::Millis),
        TimeUnit::Microsecond => (DateTime::from_timestamp_micros(number), SecondsFormat::Micros),
        TimeUnit::Nanosecond => (Some(DateTime::from_timestamp_nanos(number)), SecondsFormat::Nanos),
    };
    Ok(match time.map(|time| time.to_rfc3339_opts(digits, true)) {
        Some(text) if is_utc => text.into(),
        Some(text) => text.trim_end_matches('Z').into(),
        None => number.into(),
    })
}

/// Texts that nobody has marked as such, as older writers do.
fn binary(bytes: &[u8]) -> Value {
    std::str::from_utf8(bytes).map_or_else(|_| hex(bytes).into(), Into::into)
}

/// An input as the Parquet library reads one.
#[derive(Debug)]
struct Chunks(Arc<Input>);

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.0.size.unwrap_or(0)
    }
}

impl ChunkReader for Chunks {
    type T = BufReader<Ranges>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        Ok(BufReader::with_capacity(HEADER, Ranges { input: Arc::clone(&self.0), at: start }))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<Bytes> {
        let bytes = self.0.range(start, length)?;
        match bytes.len() == length {
            true => Ok(bytes),
            false => Err(ParquetError::EOF(format!("it ends {} bytes before it should", length - bytes.len()))),
        }
    }
}

/// Reads on in small ranges, for headers: who reads all of it fetches far more.
#[derive(Debug)]
struct Ranges {
    input: Arc<Input>,
    at: u64,
}

impl Read for Ranges {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let bytes = self.input.range(self.at, into.len())?;
        into[..bytes.len()].copy_from_slice(&bytes);
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::inspect::fixtures::{self, SHORT};

    fn of(bytes: &[u8]) -> (Parquet, Vec<String>) {
        let mut problems = Problems::default();
        let parquet = inspect(&Input::memory(bytes.to_vec()), SHORT, &mut problems).unwrap();
        (parquet, problems.into_inner())
    }

    fn bounds(min: &str, max: &str) -> Option<Bounds> {
        Some(Bounds { min: min.into(), max: max.into() })
    }

    #[test]
    fn footer_and_first_rows_are_told() {
        let (parquet, problems) = of(&fixtures::parquet(250));
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!((parquet.rows, parquet.created_by.as_deref()), (250, Some("a test")));
        assert_eq!(parquet.key_values, [("firemain.schema".to_owned(), "t".to_owned())]);
        let groups: Vec<_> = parquet.row_groups.iter().map(|group| group.rows).collect();
        assert_eq!(groups, [100, 100, 50]);
        assert_eq!(parquet.row_groups[1].timestamp, bounds("2024-03-22T05:00:00.100Z", "2024-03-22T05:00:00.199Z"));
        let column = |name: &str| parquet.columns.iter().find(|column| column.name == name).unwrap();
        let time = column("timestamp");
        assert_eq!(time.parquet_type, "INT64 TIMESTAMP(MILLIS,true)");
        assert_eq!(time.bounds, bounds("2024-03-22T05:00:00.000Z", "2024-03-22T05:00:00.249Z"));
        assert_eq!(column("status").bounds, bounds("-3", "246"));
        assert_eq!((column("message").bloom_filters, column("owner").bloom_filters), (3, 0));
        assert_eq!(
            (column("tags.list.item").parquet_type.as_str(), column("owner").required),
            ("BYTE_ARRAY STRING", false)
        );
        assert!(time.compressed_bytes > 0 && time.compression[0].starts_with("ZSTD"));
        let first = json!({"timestamp": "2024-03-22T05:00:00.000Z", "message": "message 0", "status": -3, "ratio": 0.0,
            "good": true, "tags": ["t0", null], "headers": {"k": "v0"}, "raw": "ff 00"});
        assert_eq!(serde_json::to_value(&parquet.first_rows[0]).unwrap(), first);
        assert_eq!((parquet.first_rows.len(), parquet.first_rows[1].0.len()), (SHORT.rows, 9), "null is left out");
    }

    #[test]
    fn of_a_large_file_little_is_read() {
        let (bytes, none) = (fixtures::parquet(100), Options { rows: 0, full: false });
        let mut problems = Problems::default();
        let parquet = inspect(&Input::memory(bytes), none, &mut problems).unwrap();
        assert!(parquet.first_rows.is_empty() && problems.into_inner().is_empty());
    }

    #[test]
    fn a_file_without_its_end_or_its_beginning_is_told() {
        let whole = fixtures::parquet(250);
        for cut in [4, 8, 100, whole.len() - 1] {
            let (parquet, problems) = of(&whole[..cut]);
            assert!(parquet.columns.is_empty() && problems[0].contains("it may be cut short"), "{problems:?}");
        }
        let mut headless = whole.clone();
        headless[..4].fill(0);
        let (parquet, problems) = of(&headless);
        assert_eq!((parquet.rows, problems.len()), (250, 1));
        let mut wrong = whole;
        wrong[4..400].fill(0xa5);
        let (parquet, problems) = of(&wrong);
        assert_eq!((parquet.rows, parquet.first_rows.len()), (250, 0));
        assert!(problems[0].starts_with("its first rows can't be read: "), "{problems:?}");
    }

    proptest! {
        // Each reads a whole file.
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// What is damaged is told or read, and never a panic, which would be called a fault of Firemain's own.
        #[test]
        fn no_damage_makes_it_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..20)) {
            static WHOLE: LazyLock<Vec<u8>> = LazyLock::new(|| fixtures::parquet(20));
            let mut bytes = WHOLE.clone();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            of(&bytes);
        }
    }
}
