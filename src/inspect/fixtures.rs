//! What several tests of this module are made of.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Float64Array, Int64Array, ListBuilder, MapBuilder, RecordBatch, StringArray,
    StringBuilder, TimestampMillisecondArray,
};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;

use super::shown::Options;

pub const SHORT: Options = Options { rows: 5, full: false };

pub fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub fn zstd(content: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(content, 1).unwrap()
}

/// An envelope of so many events, a millisecond apart.
pub fn envelope(events: u64) -> Vec<u8> {
    let event = |n: u64| serde_json::json!({"id": n.to_string(), "timestamp": 1_711_083_600_000 + n, "message": format!("message {n}")});
    let events: Vec<_> = (0..events).map(event).collect();
    let envelope = serde_json::json!({"messageType": "DATA_MESSAGE", "owner": "123456789012", "logGroup": "/g",
        "logStream": "s", "subscriptionFilters": ["f"], "logEvents": events});
    envelope.to_string().into_bytes()
}

/// Parquet of every type of column that a table has, in row groups of a hundred rows.
pub fn parquet(rows: usize) -> Vec<u8> {
    let properties = WriterProperties::builder()
        .set_created_by("a test".to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap()))
        .set_max_row_group_row_count(Some(100))
        .set_column_bloom_filter_enabled("message".into(), true)
        .set_key_value_metadata(Some(vec![KeyValue::new("firemain.schema".to_owned(), "t".to_owned())]))
        .build();
    let numbers = || 0..i64::try_from(rows).unwrap();
    let mut tags = ListBuilder::new(StringBuilder::new());
    let mut headers = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for n in numbers() {
        tags.append_value([Some(format!("t{n}")), None]);
        headers.keys().append_value("k");
        headers.values().append_value(format!("v{n}"));
        headers.append(true).unwrap();
    }
    let times = TimestampMillisecondArray::from_iter_values(numbers().map(|n| 1_711_083_600_000 + n));
    let columns: [(&str, ArrayRef); 8] = [
        ("timestamp", Arc::new(times.with_timezone("UTC"))),
        ("message", Arc::new(StringArray::from_iter_values(numbers().map(|n| format!("message {n}"))))),
        ("owner", Arc::new(StringArray::from_iter(numbers().map(|n| (n % 2 == 1).then_some("o"))))),
        ("status", Arc::new(Int64Array::from_iter_values(numbers().map(|n| n - 3)))),
        ("ratio", Arc::new(Float64Array::from_iter_values(numbers().map(|n| n as f64 / 2.0)))),
        ("good", Arc::new(BooleanArray::from_iter(numbers().map(|n| Some(n % 2 == 0))))),
        ("tags", Arc::new(tags.finish())),
        ("headers", Arc::new(headers.finish())),
    ];
    let raw: (&str, ArrayRef) = ("raw", Arc::new(BinaryArray::from_iter_values(numbers().map(|_| b"\xff\0"))));
    let batch = RecordBatch::try_from_iter(columns.into_iter().chain([raw])).unwrap();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}
