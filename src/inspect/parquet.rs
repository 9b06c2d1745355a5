//! Parquet: what its footer says, and its first rows. Read by ranges, so that of a large file on S3 only the footer and
//! the first pages of each column are fetched; whether the other pages are intact is not looked at.

use std::io::{self, BufReader, Read};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::compute::{SortOptions, sort_to_indices};
use arrow::datatypes::Schema;
use bytes::Bytes;
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::{Compression, Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::{ChunkReader, Length};
use parquet::schema::printer::print_schema;
use parquet::schema::types::{ColumnDescriptor, ColumnPath};
use serde::Serialize;
use serde_json::Value;

use super::Problems;
use super::cells::{row, value};
use super::guard::guarded;
use super::input::Input;
use super::row::Row;
use super::shown::Options;

/// The column that tells when an event was.
const TIMESTAMP: &str = "timestamp";
/// Characters of the smallest and the largest value of a column.
const LONGEST_BOUND: usize = 40;
/// Rows that are read at once.
const LARGEST_BATCH: usize = 1024;
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
    pub key_values: Row,
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
    let begins = input.range(0, 4)?;
    let footer = guarded(|| ParquetMetaDataReader::new().parse_and_finish(&chunks).map_err(|error| told(&error)));
    let metadata = match footer.flatten() {
        Ok(metadata) => Arc::new(metadata),
        Err(error) => {
            problems.add(format!(
                "its footer, which stands at its end, can't be read: {error}; without it nothing of Parquet can be: it may \
                 be cut short"
            ));
            return Ok(Parquet::default());
        }
    };
    if *begins != *b"PAR1" {
        problems.add("it does not begin as Parquet does: somebody wrote over its beginning".to_owned());
    }
    let mut parquet = Parquet::of(&metadata);
    if let Err(why) = check(&metadata, footer_at(input)?) {
        problems.add(format!("its footer can't be right: {why}"));
        return Ok(parquet);
    }
    let rows = guarded(|| -> Result<_, ParquetError> {
        let arrow = ArrowReaderMetadata::try_new(Arc::clone(&metadata), ArrowReaderOptions::new())?;
        parquet.add_bounds(&metadata, arrow.schema());
        match unread_compression(&metadata) {
            None => first_rows(chunks, arrow, options).map(Ok),
            Some(compression) => Ok(Err(compression)),
        }
    });
    match rows.and_then(|rows| rows.map_err(|error| told(&error))) {
        Ok(Ok(rows)) => parquet.first_rows = rows,
        Ok(Err(compression)) => problems.note(&format!("its rows are not shown: {compression} is not read here")),
        Err(error) => problems.add(format!("its first rows can't be read: {error}")),
    }
    Ok(parquet)
}

/// Its length comes before the last four bytes.
fn footer_at(input: &Input) -> io::Result<u64> {
    let end = input.size.unwrap_or(0).saturating_sub(8);
    let length = input.range(end, 4)?;
    Ok(end.saturating_sub(length.as_ref().try_into().map_or(0, u32::from_le_bytes).into()))
}

/// Why a footer does not belong to what is before it, so many bytes.
fn check(metadata: &ParquetMetaData, before: u64) -> Result<(), String> {
    let mut rows = 0i64;
    for (at, group) in metadata.row_groups().iter().enumerate() {
        let of = |name: &ColumnPath| format!("column {} of row group {}", name.string(), at + 1);
        if group.num_rows() < 0 {
            return Err(format!("row group {} has {} rows", at + 1, group.num_rows()));
        }
        rows = rows.saturating_add(group.num_rows());
        for chunk in group.columns() {
            let start = chunk.dictionary_page_offset().unwrap_or_else(|| chunk.data_page_offset());
            let bytes = chunk.compressed_size();
            let all = [start, bytes, chunk.data_page_offset(), chunk.uncompressed_size(), chunk.num_values()];
            if let Some(number) = all.into_iter().find(|number| *number < 0) {
                return Err(format!("{} is said to be at, or to have, {number}", of(chunk.column_path())));
            }
            let end = start.saturating_add(bytes);
            if number(end) > before {
                return Err(format!("{} ends at byte {end} of {before}", of(chunk.column_path())));
            }
        }
    }
    match metadata.file_metadata().num_rows() {
        said if said != rows => Err(format!("it says {said} rows, and its row groups have {rows}")),
        _ => Ok(()),
    }
}

/// What an error says, without what it is called within the libraries.
fn told(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    let mut what = text.as_str();
    while let Some(rest) = CALLED.iter().find_map(|kind| what.strip_prefix(kind)) {
        what = rest;
    }
    what.to_owned()
}

const CALLED: [&str; 4] = ["Parquet argument error: ", "Parquet error: ", "EOF: ", "External: "];

/// A compression that is not read here; nor is it by Trino.
fn unread_compression(metadata: &ParquetMetaData) -> Option<Compression> {
    let chunks = metadata.row_groups().iter().flat_map(|group| group.columns());
    chunks.map(|chunk| chunk.compression()).find(|compression| {
        matches!(compression, Compression::LZ4 | Compression::LZ4_RAW | Compression::LZO | Compression::BROTLI(_))
    })
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
            key_values: Row(key_values.map(|pair| (pair.key.clone(), pair.value.clone().into())).collect()),
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

/// What is printed as `OPTIONAL FIXED_LEN_BYTE_ARRAY (4) price (DECIMAL(9,2));`, without repetition and name.
fn type_of(column: &ColumnDescriptor) -> String {
    let mut printed = Vec::new();
    print_schema(&mut printed, column.self_type());
    let printed = String::from_utf8_lossy(&printed);
    let length = column.type_length();
    let physical = match column.physical_type() {
        Type::FIXED_LEN_BYTE_ARRAY => format!("{} ({length})", Type::FIXED_LEN_BYTE_ARRAY),
        other => other.to_string(),
    };
    let (_, logical) = printed.split_once(&format!("{physical} {}", column.name())).unwrap_or_default();
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

fn first_rows(chunks: Chunks, metadata: ArrowReaderMetadata, options: Options) -> Result<Vec<Row>, ParquetError> {
    if options.rows == 0 {
        return Ok(Vec::new());
    }
    let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(chunks, metadata).with_limit(options.rows);
    let mut rows = Vec::new();
    for batch in reader.with_batch_size(options.rows.min(LARGEST_BATCH)).build()? {
        let batch = batch?;
        for at in 0..batch.num_rows() {
            rows.push(row(&batch, at)?.cut(options));
        }
    }
    Ok(rows)
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
        assert_eq!(parquet.key_values, Row(vec![("firemain.schema".to_owned(), "t".into())]));
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
    fn a_type_is_told_whatever_the_column_is_called() {
        use parquet::schema::parser::parse_message_type;
        use parquet::schema::types::SchemaDescriptor;
        let message = "message m { REQUIRED BYTE_ARRAY A (UTF8); OPTIONAL FIXED_LEN_BYTE_ARRAY (4) B (DECIMAL(9,2)); \
            OPTIONAL INT32 INT32; OPTIONAL INT96 REQUIRED; }";
        let schema = SchemaDescriptor::new(Arc::new(parse_message_type(message).unwrap()));
        let types: Vec<_> = schema.columns().iter().map(|column| type_of(column)).collect();
        assert_eq!(types, ["BYTE_ARRAY UTF8", "FIXED_LEN_BYTE_ARRAY (4) DECIMAL(9,2)", "INT32", "INT96"]);
    }

    #[test]
    fn no_rows_are_read_where_none_are_wanted() {
        let (mut wrong, none) = (fixtures::parquet(250), Options { rows: 0, full: false });
        wrong[4..400].fill(0xa5);
        let mut problems = Problems::default();
        let parquet = inspect(&Input::memory(wrong), none, &mut problems).unwrap();
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

    #[test]
    fn a_footer_of_another_file_is_told() {
        let (whole, longer) = (fixtures::parquet(50), fixtures::parquet(99));
        let footer = u32::from_le_bytes(longer[longer.len() - 8..longer.len() - 4].try_into().unwrap()) as usize + 8;
        let mixed = [&whole[..100], &longer[longer.len() - footer..]].concat();
        let (parquet, problems) = of(&mixed);
        assert_eq!((parquet.rows, parquet.first_rows.len()), (99, 0), "the footer is shown");
        assert!(problems[0].contains("its footer can't be right: column "), "{problems:?}");
        assert!(problems[0].contains(" of row group 1 ends at byte "), "{problems:?}");
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
