mod typed;

use std::io::Read;

use arrow::array::{Array, AsArray};
use arrow::datatypes::TimestampMillisecondType;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression as Codec, Encoding, PageType};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::reader::{FileReader, SerializedFileReader};
use proptest::prelude::*;

use super::*;
use crate::buffer::fixtures::{TestEvent, TestPayload, decoded, flush, place};
use crate::buffer::{Buffers, Flush};
use crate::config::Compression;
use crate::decode::Decoded;
use crate::event::{Rejection, RejectionCode};

const START: Millis = 1_711_083_600_000;
const MIB: usize = 1 << 20;

/// A row as readers see it: id, timestamp, message, log stream, owner, arrival.
type Whole = (String, Millis, String, Option<String>, Option<String>, Millis);

fn settings(kind: FormatKind, compression: Compression, object_bytes: usize, budget: &Arc<Budget>) -> EncodeSettings {
    EncodeSettings {
        format: Format { kind, compression, level: 3 },
        object_bytes,
        tables: Tables::log_events(),
        bloom_filters: Arc::default(),
        budget: Arc::clone(budget),
    }
}

fn wholes(payloads: &[TestPayload]) -> Vec<Whole> {
    let rows = payloads.iter().flat_map(|payload| {
        payload.events.iter().map(|event| {
            let TestPayload { log_stream, owner, arrival, .. } = payload.clone();
            (event.id.clone(), event.timestamp, event.message.clone(), log_stream, owner, arrival)
        })
    });
    rows.collect()
}

fn read_parquet(object: &Object) -> Vec<Whole> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(Bytes::from(object.bytes.concat())).unwrap();
    let mut rows = Vec::new();
    for batch in reader.build().unwrap() {
        let batch = batch.unwrap();
        let text = |at: usize, row: usize| {
            let column = batch.column(at).as_string::<i32>();
            column.is_valid(row).then(|| column.value(row).to_owned())
        };
        let millis = |at: usize, row: usize| batch.column(at).as_primitive::<TimestampMillisecondType>().value(row);
        rows.extend((0..batch.num_rows()).map(|row| {
            (text(0, row).unwrap(), millis(1, row), text(2, row).unwrap(), text(3, row), text(4, row), millis(5, row))
        }));
    }
    rows
}

fn inflate(object: &Object) -> Vec<u8> {
    let bytes = object.bytes.concat();
    let mut out = Vec::new();
    match object.extension {
        // One member: the rest of a second one would be missing.
        "json.gz" => flate2::bufread::GzDecoder::new(&*bytes).read_to_end(&mut out).unwrap(),
        "json.zst" => zstd::stream::read::Decoder::new(&*bytes).unwrap().read_to_end(&mut out).unwrap(),
        _ => return bytes,
    };
    out
}

fn read_json(object: &Object) -> Vec<Whole> {
    let lines = inflate(object);
    assert_eq!(lines.last(), Some(&b'\n'));
    let parse_time = |value: &serde_json::Value| {
        let time = chrono::NaiveDateTime::parse_from_str(value.as_str().unwrap(), "%Y-%m-%d %H:%M:%S%.3f").unwrap();
        time.and_utc().timestamp_millis()
    };
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    lines[..lines.len() - 1]
        .split(|byte| *byte == b'\n')
        .map(|line| {
            let row: serde_json::Value = serde_json::from_slice(line).unwrap();
            (
                text(&row["event_id"]),
                parse_time(&row["timestamp"]),
                text(&row["message"]),
                row.get("log_stream").map(text),
                row.get("owner").map(text),
                parse_time(&row["ingested_at"]),
            )
        })
        .collect()
}

fn read(object: &Object) -> Vec<Whole> {
    if object.extension == "parquet" { read_parquet(object) } else { read_json(object) }
}

fn encode_only(flush: Flush, settings: &EncodeSettings) -> Vec<Object> {
    encode_in_runs(flush, 8 * MIB, settings)
}

fn encode_in_runs(flush: Flush, run_bytes: usize, settings: &EncodeSettings) -> Vec<Object> {
    let [(partition, rows)] = flush.partitions.try_into().expect("one partition");
    encode(&partition, rows, run_bytes, settings).unwrap()
}

/// Payloads of 100 rows; `text` makes a message from its number.
fn payloads(rows: usize, text: impl Fn(usize) -> String) -> Vec<TestPayload> {
    let ids: Vec<_> = (0..rows).collect();
    ids.chunks(100)
        .map(|ids| TestPayload {
            log_group: "/aws/lambda/one".to_owned(),
            log_stream: Some(format!("stream-{}", ids[0] / 100 % 7)),
            owner: (ids[0] % 300 != 0).then(|| "123456789012".to_owned()),
            arrival: START + ids[0] as i64,
            events: ids
                .iter()
                .map(|&i| TestEvent {
                    id: format!("{:056}", 38_000_000_000_000_000u64 + i as u64 * 977),
                    // Out of order, and several to a millisecond.
                    timestamp: START + (i as i64 * 7919 % 20_000),
                    message: text(i),
                })
                .collect(),
        })
        .collect()
}

/// Looks like a log line: compresses to a small part.
fn repetitive(i: usize) -> String {
    format!("[INFO] RequestId: 0000{} processed batch of {} items in {} ms \"ok\"", i % 10, i % 3, i % 5)
}

/// Hexadecimal noise: compresses to a half at best.
fn noisy(i: usize) -> String {
    let mut state = i as u64 + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{:016x}", state ^ (state >> 29))
    };
    (0..12).map(|_| next()).collect()
}

/// Sorted by time, rows of one millisecond in the order of their arrival.
fn sorted(mut rows: Vec<Whole>) -> Vec<Whole> {
    rows.sort_by_key(|row| row.1);
    rows
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => any::<String>().boxed(),
        2 => proptest::collection::vec(prop_oneof![Just('\0'), Just('"'), Just('\\'), Just('\n'), Just('\u{2028}'),
            Just('\u{7f}'), Just('\u{1}'), Just('𝄞')], 0..30).prop_map(|chars| chars.into_iter().collect()).boxed(),
        1 => Just(String::new()).boxed(),
        1 => (0..400_000usize).prop_map(|len| "é€".repeat(len / 5)).boxed(),
    ]
}

fn any_payload() -> impl Strategy<Value = TestPayload> {
    let event = (any_text(), 0..3_600_000i64, any_text()).prop_map(|(id, after, message)| TestEvent {
        id,
        timestamp: START + after,
        message,
    });
    let text = || proptest::option::of(any_text());
    (text(), text(), 0..7_258_118_400_000i64, proptest::collection::vec(event, 1..20)).prop_map(
        |(log_stream, owner, arrival, events)| TestPayload {
            log_group: "a".to_owned(),
            log_stream,
            owner,
            arrival,
            events,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever the texts, readers get every row once, whole, and sorted within a run; and the budget gets its bytes
    /// back.
    #[test]
    fn rows_are_read_back_as_they_were(
        payloads in proptest::collection::vec(any_payload(), 1..12),
        (kind, compression) in prop_oneof![
            Just((FormatKind::Parquet, Compression::Zstd)),
            Just((FormatKind::Parquet, Compression::Snappy)),
            Just((FormatKind::Parquet, Compression::Gzip)),
            Just((FormatKind::Parquet, Compression::None)),
            Just((FormatKind::Json, Compression::Gzip)),
            Just((FormatKind::Json, Compression::Zstd)),
            Just((FormatKind::Json, Compression::None)),
        ],
        one_run: bool,
        small_objects: bool,
    ) {
        let budget = Budget::new(usize::MAX);
        let object_bytes = if small_objects { 100_000 } else { MIB * 128 };
        let settings = settings(kind, compression, object_bytes, &budget);
        let run_bytes = if one_run { usize::MAX } else { 60_000 };
        let objects = encode_in_runs(flush(&budget, &payloads), run_bytes, &settings);
        prop_assert_eq!(budget.rows(), 0);
        prop_assert!(budget.packed() >= objects.iter().map(Object::len).sum::<usize>());
        let mut got: Vec<Whole> = Vec::new();
        for object in &objects {
            let rows = read(object);
            prop_assert_eq!(rows.len() as u64, object.rows);
            prop_assert_eq!(rows.iter().map(|row| row.1).min(), Some(object.min_timestamp));
            prop_assert_eq!(rows.iter().map(|row| row.1).max(), Some(object.max_timestamp));
            got.extend(rows);
        }
        let mut expected = sorted(wholes(&payloads));
        if !one_run {
            got.sort();
            expected.sort();
        }
        prop_assert_eq!(got, expected);
        drop(objects);
        prop_assert_eq!(budget.packed(), 0);
    }
}

/// Objects end within a fifth of the size that was asked for, and no row is lost at their seams.
#[track_caller]
fn assert_objects_roll(payloads: &[TestPayload], kind: FormatKind, compression: Compression, object_bytes: usize) {
    let budget = Budget::new(1 << 30);
    let settings = settings(kind, compression, object_bytes, &budget);
    let objects = encode_only(flush(&budget, payloads), &settings);
    let sizes: Vec<_> = objects.iter().map(Object::len).collect();
    let (last, full) = sizes.split_last().unwrap();
    let bounds = object_bytes * 4 / 5..=object_bytes * 6 / 5;
    assert!(!full.is_empty(), "{kind:?} {compression:?}: {sizes:?}");
    assert!(full.iter().all(|size| bounds.contains(size)), "{kind:?} {compression:?}: {sizes:?}");
    assert!(last <= bounds.end(), "{sizes:?}");
    let rows: usize = payloads.iter().map(|payload| payload.events.len()).sum();
    assert_eq!(objects.iter().map(|object| object.rows).sum::<u64>(), rows as u64);
}

#[test]
fn objects_of_repetitive_rows_roll_near_their_size() {
    let payloads = payloads(40_000, repetitive);
    assert_objects_roll(&payloads, FormatKind::Parquet, Compression::Zstd, MIB / 8);
    assert_objects_roll(&payloads, FormatKind::Json, Compression::Gzip, MIB / 4);
    assert_objects_roll(&payloads, FormatKind::Json, Compression::Zstd, MIB / 4);
}

#[test]
fn objects_of_noisy_rows_roll_near_their_size() {
    let payloads = payloads(15_000, noisy);
    assert_objects_roll(&payloads, FormatKind::Parquet, Compression::Zstd, MIB);
    assert_objects_roll(&payloads, FormatKind::Parquet, Compression::None, MIB);
    assert_objects_roll(&payloads, FormatKind::Json, Compression::Gzip, MIB);
    assert_objects_roll(&payloads, FormatKind::Json, Compression::Zstd, MIB);
    assert_objects_roll(&payloads, FormatKind::Json, Compression::None, MIB);
}

/// Slow without optimization: `cargo test --release -- --ignored`.
#[test]
#[ignore = "takes a minute without optimization"]
fn larger_objects_roll_near_their_size() {
    for payloads in [payloads(900_000, repetitive), payloads(90_000, noisy)] {
        for object_bytes in [MIB, 4 * MIB] {
            assert_objects_roll(&payloads, FormatKind::Parquet, Compression::Zstd, object_bytes);
            assert_objects_roll(&payloads, FormatKind::Json, Compression::Gzip, object_bytes);
            assert_objects_roll(&payloads, FormatKind::Json, Compression::Zstd, object_bytes);
        }
    }
}

fn metadata(object: &Object) -> (SerializedFileReader<Bytes>, ParquetMetaData) {
    let reader = SerializedFileReader::new(Bytes::from(object.bytes.concat())).unwrap();
    let metadata = reader.metadata().clone();
    (reader, metadata)
}

#[test]
fn parquet_files_are_laid_out_for_athena() {
    let budget = Budget::new(1 << 30);
    let settings = settings(FormatKind::Parquet, Compression::Zstd, 128 * MIB, &budget);
    let objects = encode_only(flush(&budget, &payloads(100_000, repetitive)), &settings);
    assert_eq!((objects.len(), objects[0].extension), (1, "parquet"));
    let (reader, metadata) = metadata(&objects[0]);
    let file = metadata.file_metadata();
    assert_eq!(file.created_by(), Some(concat!("firemain ", env!("CARGO_PKG_VERSION"))));
    let pairs: Vec<_> = file.key_value_metadata().unwrap().iter().map(|kv| (&*kv.key, kv.value.as_deref())).collect();
    assert_eq!(pairs, [("firemain.schema", Some("log_events")), ("firemain.schema.version", Some("1"))]);
    assert!(metadata.num_row_groups() > 1, "one for each run");
    for (index, group) in metadata.row_groups().iter().enumerate() {
        let sorting = group.sorting_columns().unwrap();
        assert_eq!((sorting.len(), sorting[0].column_idx, sorting[0].descending), (1, 1, false));
        for (at, column) in group.columns().iter().enumerate() {
            assert!(matches!(column.compression(), Codec::ZSTD(_)));
            let (name, encodings) = (column.column_path().string(), column.encodings().collect::<Vec<_>>());
            let expected = match name.as_str() {
                "event_id" => Encoding::DELTA_BYTE_ARRAY,
                "timestamp" | "ingested_at" => Encoding::DELTA_BINARY_PACKED,
                "message" => Encoding::PLAIN,
                _ => Encoding::RLE_DICTIONARY,
            };
            assert!(encodings.contains(&expected), "{name}: {encodings:?}");
            assert_eq!(column.dictionary_page_offset().is_some(), expected == Encoding::RLE_DICTIONARY, "{name}");
            assert_eq!(column.statistics().is_some(), name == "timestamp", "{name}");
            let mut pages = reader.get_row_group(index).unwrap().get_column_page_reader(at).unwrap();
            while let Some(page) = pages.get_next_page().unwrap() {
                assert!(matches!(page.page_type(), PageType::DATA_PAGE | PageType::DICTIONARY_PAGE), "{name}");
            }
        }
    }
    // Rows are sorted within each row group.
    let mut rows = read_parquet(&objects[0]).into_iter();
    for group in metadata.row_groups() {
        let times: Vec<_> = rows.by_ref().take(group.num_rows() as usize).map(|row| row.1).collect();
        assert!(times.is_sorted());
    }
    assert!(rows.next().is_none());
}

#[test]
fn objects_say_what_they_hold() {
    let budget = Budget::new(1 << 30);
    for kind in [FormatKind::Parquet, FormatKind::Json] {
        let settings = settings(kind, Compression::Zstd, MIB, &budget);
        let objects = encode_only(flush(&budget, &payloads(100, repetitive)), &settings);
        let [min, max] = [objects[0].min_timestamp.to_string(), objects[0].max_timestamp.to_string()];
        let pairs: Vec<_> = objects[0].metadata.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(
            pairs,
            [
                ("rows", "100"),
                ("min-timestamp", &*min),
                ("max-timestamp", &*max),
                ("schema", "log_events"),
                ("schema-version", "1")
            ]
        );
    }
}

#[test]
fn json_lines_are_as_athena_reads_them() {
    let budget = Budget::new(1 << 30);
    let settings = settings(FormatKind::Json, Compression::None, MIB, &budget);
    let event = |id: &str, timestamp, message: &str| TestEvent { id: id.into(), timestamp, message: message.into() };
    let mut payload = TestPayload {
        log_group: "a".into(),
        log_stream: Some("s/1".into()),
        owner: None,
        arrival: 7_258_118_399_999,
        events: vec![event("2", START + 59_999, "say \"hi\"\n\u{0}é/"), event("1", START + 1, "")],
    };
    let objects = encode_only(flush(&budget, std::slice::from_ref(&payload)), &settings);
    assert_eq!((objects[0].extension, objects[0].content_type), ("json", "application/x-ndjson"));
    let expected = concat!(
        r#"{"event_id":"1","timestamp":"2024-03-22 05:00:00.001","message":"","#,
        r#""log_stream":"s/1","ingested_at":"2199-12-31 23:59:59.999"}"#,
        "\n",
        r#"{"event_id":"2","timestamp":"2024-03-22 05:00:59.999","message":"say \"hi\"\n\u0000é/","#,
        r#""log_stream":"s/1","ingested_at":"2199-12-31 23:59:59.999"}"#,
        "\n"
    );
    assert_eq!(String::from_utf8(inflate(&objects[0])).unwrap(), expected);

    drop(objects);

    // A time that no calendar has is an error, not a panic.
    payload.arrival = Millis::MAX;
    let [(partition, rows)] = flush(&budget, &[payload]).partitions.try_into().unwrap();
    let error = encode(&partition, rows, 8 * MIB, &settings).unwrap_err().to_string();
    assert!(error.starts_with("cannot encode 2 rows of log_events/log_group=a/dt="), "{error}");
    assert_eq!((budget.rows(), budget.packed()), (0, 0));
}

/// Rejections are gzip of lines, whatever the tables are, and roll like rows.
#[test]
fn rejections_are_lines_in_gzip() {
    let budget = Budget::new(1 << 30);
    let mut buffers = Buffers::new(Arc::clone(&budget), "errors");
    let rejections: Vec<_> = (0..4000u64)
        .map(|i| Rejection {
            code: RejectionCode::NotDecodable,
            message: format!("number {i}"),
            payload: noisy(i as usize).repeat(5).into(),
            sequence: i.into(),
            partition_key: Some("k".into()),
            arrival: START + (i as i64 * 31) % 1000,
            earlier: None,
        })
        .collect();
    buffers.push(&Tables::log_events(), &mut Decoded { rejections, ..Decoded::default() }.into(), &place(), START);
    let settings = settings(FormatKind::Parquet, Compression::Zstd, MIB / 2, &budget);
    let objects = encode_only(buffers.take(), &settings);
    assert!(objects.len() > 1);
    assert!(objects.iter().all(|object| object.extension == "json.gz" && object.content_type == "application/gzip"));
    let mut seen = Vec::new();
    for object in &objects {
        for line in inflate(object).split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let line: serde_json::Value = serde_json::from_slice(line).unwrap();
            let arrival = line["arrivalTimestamp"].as_i64().unwrap();
            seen.push((arrival, line["sequenceNumber"].as_str().unwrap().parse::<u64>().unwrap()));
        }
    }
    assert!(seen.is_sorted_by_key(|(arrival, _)| *arrival));
    seen.sort_by_key(|(_, sequence)| *sequence);
    assert!(seen.iter().map(|(_, sequence)| *sequence).eq(0..4000));
}

/// The rows of a run are given back before the next one is encoded.
#[test]
fn memory_is_given_back_run_by_run() {
    let budget = Budget::new(1 << 30);
    let mut buffers = Buffers::new(Arc::clone(&budget), "errors");
    for payload in payloads(50_000, repetitive) {
        buffers.push(&Tables::log_events(), &mut decoded(&[payload]), &place(), 0);
    }
    let [(_, rows)] = buffers.take().partitions.try_into().unwrap();
    let total = rows.bytes();
    let mut held = Vec::new();
    for segments in rows.into_runs(MIB) {
        let run = Run::sorted(segments);
        held.push(budget.rows());
        drop(run);
    }
    assert!(held.len() >= total * 4 / 5 / MIB && held.is_sorted_by(|a, b| a > b), "{held:?}");
    assert_eq!(budget.rows(), 0);
}
