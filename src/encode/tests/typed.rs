//! Columns that were taken out of messages, of every type.

use parquet::file::reader::FileReader;
use serde_json::{Value, json};

use super::*;
use crate::buffer::fixtures::{decoded, place};
use crate::table::Schema;
use crate::table::tables::{OnMismatch, Rule};
use crate::table::tabulate::{Scratch, Tabulator};

const COLUMNS: &str = r#"
    {"name": "event_id", "type": "string", "required": true},
    {"name": "s", "type": "string", "required": true},
    {"name": "b", "type": "bigint"},
    {"name": "i", "type": "int"},
    {"name": "d", "type": "double"},
    {"name": "t", "type": "boolean"},
    {"name": "timestamp", "type": "timestamp(3)", "required": true},
    {"name": "at", "type": "timestamp(3)"},
    {"name": "day", "type": "date"},
    {"name": "l", "type": "array<string>"},
    {"name": "m", "type": "map<string,string>"},
    {"name": "message", "type": "string", "required": true}"#;

fn tables() -> Arc<Tables> {
    let text = format!(
        r#"{{"name": "typed", "version": 3, "parse": {{"json": {{}}}}, "columns": [{COLUMNS}], "partitions": [
        {{"name": "log_group", "type": "string"}}, {{"name": "dt", "type": "string"}}, {{"name": "hour", "type": "string"}}]}}"#
    );
    let schema = Arc::new(Schema::parse("typed.json", &text, None).unwrap());
    let log_groups = vec!["*".to_owned()];
    let rule = Rule { name: "typed".to_owned(), schema, log_groups, on_mismatch: OnMismatch::Error };
    Arc::new(Tables::new(vec![rule]).unwrap())
}

/// Everything, nothing, and the ends of ranges.
fn messages() -> [Value; 4] {
    [
        json!({"s": "a text that is too long for a view, and \u{e9}", "b": i64::MAX, "i": i32::MIN, "d": -1.5e-7, "t": true,
               "at": "1969-12-31T23:59:59.999Z", "day": "1969-12-31", "l": ["x", null, "", "\"quoted\"\n"],
               "m": {"k": "v", "none": null, "": "empty"}}),
        json!({"s": ""}),
        json!({"s": "escaped \" and \\", "b": i64::MIN, "i": i32::MAX, "d": 1.7976931348623157e308, "t": false,
               "at": "9999-12-31T23:59:59.999Z", "day": "0001-01-01", "l": [], "m": {}}),
        json!({"s": "x", "b": 0, "at": "0001-01-01T00:00:00Z", "day": "9999-12-31", "l": [null], "m": {"k": "{}"}}),
    ]
}

/// One object of these messages, later ones first.
fn encoded(kind: FormatKind, bloom_filters: &[&str]) -> Object {
    let (budget, tables) = (Budget::new(1 << 30), tables());
    let events = messages().into_iter().enumerate().map(|(n, message)| TestEvent {
        id: format!("id{n}"),
        timestamp: START + 9 - n as Millis,
        message: message.to_string(),
    });
    let payload = TestPayload {
        log_group: "/g".to_owned(),
        log_stream: None,
        owner: None,
        arrival: START,
        events: events.collect(),
    };
    let tabulator = Tabulator { tables: Arc::clone(&tables), masking: None };
    let mut batch = decoded(std::slice::from_ref(&payload));
    tabulator.run(&mut Scratch::default(), &mut batch);
    assert!(batch.decoded.rejections.is_empty(), "{:?}", batch.decoded.rejections);
    let mut buffers = Buffers::new(Arc::clone(&budget), "errors");
    buffers.push(&tables, &mut batch, &place(), 0);
    let bloom_filters = bloom_filters.iter().map(|&name| name.to_owned()).collect();
    let settings = EncodeSettings { tables, bloom_filters, ..settings(kind, Compression::None, MIB, &budget) };
    let [object] = encode_only(buffers.take(), &settings).try_into().unwrap();
    object
}

#[test]
fn values_of_every_type_are_read_back_from_parquet() {
    let (reader, metadata) = metadata(&encoded(FormatKind::Parquet, &[]));
    let rows = reader.get_row_iter(None).unwrap().map(|row| row.unwrap().to_string());
    let messages: Vec<_> = messages().iter().map(ToString::to_string).collect();
    let row = |id: usize, values: &str| {
        let (at, message) = (START + 9 - id as Millis, &messages[id]);
        let at = chrono::DateTime::from_timestamp_millis(at).unwrap().format("%Y-%m-%d %H:%M:%S%.3f %:z");
        format!("{{event_id: \"id{id}\", {}, message: \"{message}\"}}", values.replace("NOW", &at.to_string()))
    };
    let expected = [
        row(
            3,
            "s: \"x\", b: 0, i: null, d: null, t: null, timestamp: NOW, at: 0001-01-01 00:00:00.000 +00:00, day: 9999-12-31, l: [null], m: {\"k\" -> \"{}\"}",
        ),
        row(
            2,
            "s: \"escaped \" and \\\", b: -9223372036854775808, i: 2147483647, d: 1.7976931348623157E308, t: false, timestamp: NOW, at: 9999-12-31 23:59:59.999 +00:00, day: 0001-01-01, l: [], m: {}",
        ),
        row(1, "s: \"\", b: null, i: null, d: null, t: null, timestamp: NOW, at: null, day: null, l: null, m: null"),
        row(
            0,
            "s: \"a text that is too long for a view, and \u{e9}\", b: 9223372036854775807, i: -2147483648, d: -1.5E-7, t: true, timestamp: NOW, at: 1969-12-31 23:59:59.999 +00:00, day: 1969-12-31, l: [\"x\", null, \"\", \"\"quoted\"\n\"], m: {\"\" -> \"empty\", \"k\" -> \"v\", \"none\" -> null}",
        ),
    ];
    assert_eq!(rows.collect::<Vec<_>>(), expected);
    // What readers prune by, and by which they know the table.
    let group = metadata.row_group(0);
    let with_statistics: Vec<_> = group
        .columns()
        .iter()
        .filter(|column| column.statistics().is_some())
        .map(|column| column.column_path().string())
        .collect();
    assert_eq!(with_statistics, ["b", "i", "d", "t", "timestamp", "at", "day"]);
    assert_eq!(group.sorting_columns().unwrap()[0].column_idx, 6);
    let pairs = metadata.file_metadata().key_value_metadata().unwrap();
    assert_eq!(pairs.iter().filter_map(|pair| pair.value.as_deref()).collect::<Vec<_>>(), ["typed", "3"]);
}

#[test]
fn values_of_every_type_are_read_back_from_json() {
    let object = encoded(FormatKind::Json, &[]);
    let text = String::from_utf8(inflate(&object)).unwrap();
    let rows: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (n, (row, message)) in rows.iter().rev().zip(messages()).enumerate() {
        let mut expected = message.clone();
        // Times as the readers of JSON take them.
        for (column, was) in message.as_object().unwrap().iter().filter(|(name, _)| *name == "at") {
            expected[column] = was.as_str().unwrap().replace('T', " ").replace('Z', "").into();
        }
        if n == 3 {
            expected["at"] = "0001-01-01 00:00:00.000".into();
        }
        let (at, text) = (START + 9 - n as Millis, message.to_string());
        let at = chrono::DateTime::from_timestamp_millis(at).unwrap().format("%Y-%m-%d %H:%M:%S%.3f").to_string();
        expected["timestamp"] = at.into();
        expected["event_id"] = format!("id{n}").into();
        expected["message"] = text.into();
        assert_eq!(*row, expected);
    }
    assert_eq!(rows.len(), 4);
}

#[test]
fn columns_get_bloom_filters_on_request() {
    let object = encoded(FormatKind::Parquet, &["s", "log_stream", "b"]);
    let (_, metadata) = metadata(&object);
    let columns = metadata.row_group(0).columns().iter();
    let with_filters: Vec<_> =
        columns.filter(|column| column.bloom_filter_offset().is_some()).map(|c| c.column_path().string()).collect();
    assert_eq!(with_filters, ["s", "b"], "those that the table has");
    let bytes = Bytes::from(object.bytes.concat());
    let properties = parquet::file::properties::ReaderProperties::builder().set_read_bloom_filter(true).build();
    let options =
        parquet::file::serialized_reader::ReadOptionsBuilder::new().with_reader_properties(properties).build();
    let reader = SerializedFileReader::new_with_options(bytes, options).unwrap();
    let group = reader.get_row_group(0).unwrap();
    let filter = group.get_column_bloom_filter(1).unwrap();
    assert!(filter.check(&parquet::data_type::ByteArray::from("x")));
    assert!(!filter.check(&parquet::data_type::ByteArray::from("not there")));
}
