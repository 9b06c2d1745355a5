//! Every row of the contract's tables, record by record.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::*;

pub(super) const LIMIT: usize = 1 << 20;
const ARRIVAL: Millis = 1_700_000_000_123;

pub(super) fn decoder(limit: usize) -> Decoder {
    decoder_of(limit, Payloads::Envelopes)
}

pub(super) fn decoder_of(limit: usize, payloads: Payloads) -> Decoder {
    let keys = KeyLimits { key: 1024, segment: 255, before: 0 };
    Decoder::new(DecodeConfig { inflated_record_bytes: limit, longest_table: "log_events".into(), keys, payloads })
}

pub(super) fn record(data: impl Into<Bytes>) -> Record {
    Record {
        data: data.into(),
        sequence: 42.into(),
        partition_key: Some("key".into()),
        arrival: ARRIVAL,
        flaw: None,
        earlier: None,
    }
}

pub(super) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

pub(super) fn decode(records: &[Record]) -> Decoded {
    decode_as(Payloads::Envelopes, records)
}

pub(super) fn decode_as(payloads: Payloads, records: &[Record]) -> Decoded {
    let mut out = Decoded::default();
    assert_eq!(decoder_of(LIMIT, payloads).decode(&mut Scratch::new(), records, true, &mut out), records.len());
    out
}

/// A row with all that it shares.
#[derive(Debug, PartialEq)]
pub(super) struct Event {
    pub(super) id: String,
    pub(super) timestamp: Millis,
    pub(super) message: String,
    pub(super) log_group: String,
    pub(super) log_stream: Option<String>,
    pub(super) owner: Option<String>,
}

/// The rows as a reader of the output finds them; checks the books, and the rejections of [`record`].
pub(super) fn events(out: &Decoded) -> Vec<Event> {
    assert!(out.rejections.iter().all(|rejection| rejection.partition_key.as_deref() == Some("key")));
    rows(out)
}

/// The rows as a reader of the output finds them; checks the books.
pub(super) fn rows(out: &Decoded) -> Vec<Event> {
    let text = |range: Range<usize>| String::from_utf8(out.text[range].to_vec()).unwrap();
    let mut events = Vec::new();
    for payload in &out.payloads {
        assert!(!payload.rows.is_empty());
        assert_eq!(payload.rows.start, events.len());
        assert_eq!(payload.arrival, ARRIVAL);
        for row in &out.rows[payload.rows.clone()] {
            let message = row.at + row.id_len as usize;
            events.push(Event {
                id: text(row.at..message),
                timestamp: row.timestamp,
                message: text(message..message + row.message_len as usize),
                log_group: text(payload.log_group.clone()),
                log_stream: payload.log_stream.clone().map(text),
                owner: payload.owner.clone().map(text),
            });
        }
    }
    assert_eq!(events.len(), out.rows.len());
    assert_eq!(out.counts.events, events.len() as u64);
    assert_eq!(out.counts.rejections, out.rejections.len() as u64);
    for rejection in &out.rejections {
        assert_eq!(rejection.sequence.as_str(), "42");
        assert_eq!(rejection.arrival, ARRIVAL);
        assert!(rejection.message.chars().count() < 300 && !rejection.message.contains(char::is_control));
    }
    events
}

/// The messages of a payload's rows, which must be all there is.
fn messages(json: impl AsRef<[u8]>) -> Vec<String> {
    let out = decode(&[record(gzip(json.as_ref()))]);
    assert_eq!(out.rejections, []);
    events(&out).into_iter().map(|event| event.message).collect()
}

/// The whole record is refused: its code, and its message holds `why`.
pub(super) fn refused(data: impl Into<Bytes>, code: RejectionCode, why: &str) {
    let data = data.into();
    let out = decode(&[record(data.clone())]);
    assert_eq!(events(&out), []);
    let [rejection] = &out.rejections[..] else { panic!("{} rejections of {data:?}", out.rejections.len()) };
    assert_eq!(rejection.code, code, "{}", rejection.message);
    assert!(rejection.message.contains(why), "{}", rejection.message);
    assert_eq!(rejection.payload, data);
    assert_eq!(out.counts.records, 1);
}

pub(super) fn with_events(events: &str) -> String {
    format!(r#"{{"messageType":"DATA_MESSAGE","owner":"1","logGroup":"/g","logStream":"s","logEvents":{events}}}"#)
}

pub(super) const GOOD: &str = r#"{"id":"a","timestamp":1,"message":"good"}"#;

/// One event is refused, the good ones around it are delivered, and what is kept is exactly that event.
fn bad_event(event: &[u8], why: &str) {
    let good = GOOD.as_bytes();
    let [start, end] = [
        &b"{\"subscriptionFilters\":[1, \"\xc3\xa9\"],\"logGroup\" : \"/g\\u00e9\",\"logEvents\":["[..],
        &b"],\"other\":{},\"messageType\":\"DATA_MESSAGE\",\"logStream\":\"\\u0073\",\"owner\":null}"[..],
    ];
    let json = [start, good, b" , ", event, b",", good, end].concat();
    let out = decode(&[record(gzip(&json))]);
    let delivered = events(&out);
    assert_eq!(delivered.len(), 2, "{:?}", event.escape_ascii().to_string());
    assert!(delivered.iter().all(|event| event.message == "good" && event.log_group == "/gé"));
    let [rejection] = &out.rejections[..] else { panic!("{} rejections", out.rejections.len()) };
    assert_eq!(rejection.code, RejectionCode::EventInvalid);
    assert!(rejection.message.contains(why), "{} of {:?}", rejection.message, event.escape_ascii().to_string());
    let head = "{\"messageType\":\"DATA_MESSAGE\",\"owner\":null,\"logGroup\":\"/g\\u00e9\",\"logStream\":\"\\u0073\",\
                \"subscriptionFilters\":[1, \"é\"],\"logEvents\":[";
    assert_eq!(rejection.payload, [head.as_bytes(), event, b"]}"].concat());

    // What is kept, delivered again, is one bad event for the same reason.
    let again = decode(&[record(rejection.payload.clone())]);
    assert_eq!((again.rows.len(), again.rejections.len()), (0, 1));
    assert_eq!((&again.rejections[0].message, &again.rejections[0].payload), (&rejection.message, &rejection.payload));
}

use RejectionCode::{NotDecodable, PartitionTooLong, PayloadInvalid};

#[test]
fn a_payload_becomes_rows() {
    let json = json!({
        "messageType": "DATA_MESSAGE", "owner": "123456789012", "logGroup": "/aws/lambda/a", "logStream": "s/[1]",
        "subscriptionFilters": ["f"],
        "logEvents": [
            {"id": "1", "timestamp": 0, "message": "zero"},
            {"id": "", "timestamp": 7_258_118_399_999i64, "message": "", "extractedFields": {"a": [1, {}]}},
        ],
    })
    .to_string();
    let data = gzip(json.as_bytes());
    for records in [vec![record(data.clone())], vec![record(json.clone())], vec![record(data), record(json.clone())]] {
        let out = decode(&records);
        let event = |id: &str, timestamp, message: &str| Event {
            id: id.into(),
            timestamp,
            message: message.into(),
            log_group: "/aws/lambda/a".into(),
            log_stream: Some("s/[1]".into()),
            owner: Some("123456789012".into()),
        };
        let once = [event("1", 0, "zero"), event("", 7_258_118_399_999, "")];
        assert!(events(&out).chunks(2).all(|events| events == once));
        let n = records.len() as u64;
        let counts = Counts { records: n, events: 2 * n, rejections: 0, control: 0, bytes: n * json.len() as u64 };
        assert_eq!((out.counts, out.payloads.len()), (counts, records.len()));
    }
}

#[test]
fn what_is_neither_gzip_nor_json_is_not_decodable() {
    refused("", NotDecodable, "the record is empty");
    for data in ["hello", "{", "{}{}", "\x1f", " ", "{\"messageType\":\"DATA_MESSAGE\",}", "\u{feff}{}"] {
        refused(data, NotDecodable, "not JSON");
        refused(gzip(data.as_bytes()), NotDecodable, "not JSON");
    }
    refused(&b"\xff\xfe{}"[..], NotDecodable, "not JSON");
    refused(gzip(b""), NotDecodable, "not JSON");
    let trailing = with_events(&format!("[{GOOD}]"));
    refused(gzip(format!("{trailing} x").as_bytes()), NotDecodable, "not JSON");
    refused(gzip([trailing.as_bytes(), b" \xff"].concat().as_slice()), NotDecodable, "not JSON");
    assert_eq!(messages(format!(" \n{trailing}\r\n\t ")), ["good"]);
}

#[test]
fn what_its_source_found_wrong_with_a_record_decides_before_all_else() {
    for data in [Vec::new(), gzip(with_events(&format!("[{GOOD}]")).as_bytes())] {
        let flawed = Record { flaw: Some("gzip: truncated".into()), ..record(data) };
        let out = decode(std::slice::from_ref(&flawed));
        assert_eq!((events(&out), out.rejections.len()), (vec![], 1));
        let Rejection { code, message, payload, .. } = &out.rejections[0];
        assert_eq!((*code, message.as_str(), payload), (NotDecodable, "gzip: truncated", &flawed.data));
    }
}

#[test]
fn the_type_of_message_decides_first() {
    for json in ["{}", "[]", "null", " 7 ", "1e999", "\"DATA_MESSAGE\"", r#"{"logGroup":"g","logEvents":[]}"#] {
        refused(gzip(json.as_bytes()), PayloadInvalid, "messageType is missing");
    }
    for (value, why) in [
        ("7", "messageType is not a string"),
        ("null", "messageType is not a string"),
        (r#""DATA""#, r#"messageType "DATA" is unknown"#),
        (r#""\ud800""#, "messageType is not text"),
        (r#""\u0000\n""#, r#"messageType "\0\n" is unknown"#),
    ] {
        refused(format!(r#"{{"messageType":{value},"logGroup":"g","logEvents":[]}}"#), PayloadInvalid, why);
    }
    refused(&b"{\"messageType\":\"\xff\",\"logGroup\":\"g\",\"logEvents\":[]}"[..], PayloadInvalid, "messageType");

    for json in [
        r#"{"messageType":"CONTROL_MESSAGE"}"#.to_owned(),
        r#"{"messageType":"CONTROL_MESSAGE","logGroup":7,"logStream":{},"owner":[],"logEvents":"x"}"#.to_owned(),
        format!(r#"{{"logEvents":[{GOOD},7],"messageType":"CONTROL_MESSAGE"}}"#),
        format!(r#"{{"logGroup":"g","logEvents":[{GOOD}],"messageType":"\u0043ONTROL_MESSAGE"}}"#),
    ] {
        let out = decode(&[record(gzip(json.as_bytes()))]);
        assert_eq!((events(&out), &out.rejections[..]), (vec![], &[][..]));
        assert_eq!((out.counts.control, out.counts.records, out.text.len()), (1, 1, 0), "{json}");
    }
}

#[test]
fn the_head_must_be_whole() {
    let refused = |fields: &str, why: &str| {
        let json = format!(r#"{{"messageType":"DATA_MESSAGE",{fields}}}"#);
        refused(gzip(json.as_bytes()), PayloadInvalid, why);
    };
    let events = format!(r#""logEvents":[{GOOD}]"#);
    refused(&events, "logGroup is missing");
    refused(&format!(r#"{events},"logGroup":"""#), "logGroup is empty");
    for value in ["null", "7", "[]", r#"{"a":1}"#] {
        refused(&format!(r#"{events},"logGroup":{value}"#), "logGroup is not a string");
        refused(&format!(r#""logEvents":{value},"logGroup":7"#), "logGroup is not a string");
    }
    refused(&format!(r#"{events},"logGroup":"\udc00""#), "logGroup is not text");
    refused(r#""logGroup":"g""#, "logEvents is missing");
    for value in ["null", "7", r#""[]""#, "{}"] {
        refused(&format!(r#""logGroup":"g","logEvents":{value}"#), "logEvents is not a list");
    }
    for name in ["logStream", "owner"] {
        for value in ["7", "[]", "{}", "true"] {
            let why = format!("{name} is not a string");
            refused(&format!(r#""logGroup":"g","{name}":{value},{events}"#), &why);
        }
    }
}

#[test]
fn bytes_that_are_no_text_are_the_fault_of_their_field() {
    for name in ["logGroup", "logStream", "owner"] {
        let json = with_events(&format!("[{GOOD}]"));
        let at = json.find(&format!(r#""{name}":""#)).unwrap() + name.len() + 4;
        let json = [&json.as_bytes()[..at], b"\xf0\x9f", &json.as_bytes()[at..]].concat();
        refused(gzip(&json), PayloadInvalid, &format!("{name} is not valid UTF-8"));
    }
    // Nobody reads these.
    for unread in [&b"\"subscriptionFilters\":[\"\xff\"],"[..], b"\"x\xff\":\"\xc3\",", br#""\ud800":"\ud800","#] {
        let json = [b"{", unread, &with_events(&format!("[{GOOD}]")).as_bytes()[1..]].concat();
        assert_eq!(messages(json), ["good"]);
    }
}

#[test]
fn what_may_be_missing_may_be_null() {
    for head in [r#""logGroup":"g""#, r#""logGroup":"g","logStream":null,"owner":null"#] {
        let json = format!(r#"{{"messageType":"DATA_MESSAGE",{head},"logEvents":[{GOOD}]}}"#);
        let out = decode(&[record(json)]);
        let [event] = &events(&out)[..] else { panic!() };
        assert_eq!((&event.log_stream, &event.owner), (&None, &None));
    }
}

#[test]
fn no_events_are_counted_only() {
    let out = decode(&[record(gzip(with_events("[ ]").as_bytes()))]);
    assert_eq!((events(&out), &out.rejections[..], out.payloads.len()), (vec![], &[][..], 0));
    assert_eq!(out.counts, Counts { records: 1, bytes: with_events("[ ]").len() as u64, ..Counts::default() });
}

#[test]
fn a_bad_event_is_refused_alone() {
    let refused = |event: &str, why: &str| bad_event(event.as_bytes(), why);
    for event in ["7", "null", "[ ]", "\"x\"", "true"] {
        refused(event, "the event is not an object");
    }
    refused("{}", "timestamp is missing");
    refused(r#"{"timestamp":1,"message":"m"}"#, "id is missing");
    for id in ["null", "true", "[1]", "{}"] {
        refused(&format!(r#"{{"id":{id},"timestamp":1,"message":"m"}}"#), "id is neither a string nor a number");
    }
    refused(r#"{"id":"\udfff","timestamp":1,"message":"m"}"#, "id is not text");
    refused(r#"{"id":"a","message":"m"}"#, "timestamp is missing");
    refused(r#"{"id":"a","timestamp":"1","message":"m"}"#, "timestamp \"1\" is a string, not an integer");
    for timestamp in ["1.0", "1e3", "1.5", "null", "[1]", "{ \"a\" : 1 }", "true"] {
        let event = format!(r#"{{"id":"a","timestamp":{timestamp},"message":"m"}}"#);
        refused(&event, "is not an integer, in milliseconds since 1970");
    }
    for timestamp in ["-1", "7258118400000", "10413792000000", "99999999999999999999999999", "-99999999999999999999"] {
        let event = format!(r#"{{"id":"a","timestamp":{timestamp},"message":"m"}}"#);
        refused(&event, &format!("timestamp {timestamp} is outside 1970..2200"));
    }
    refused(r#"{"id":"a","timestamp":1}"#, "message is missing");
    for message in ["7", "null", "[\"a\"]", "{\"a\":\"\\ud800\"}"] {
        refused(&format!(r#"{{"id":"a","timestamp":1,"message":{message}}}"#), "message is not a string");
    }
    for message in [r"\ud800", r"\udc00\ud800", r"a\uD83Db", r"\ud800\u0041"] {
        refused(&format!(r#"{{"id":"a","timestamp":1,"message":"{message}"}}"#), "message is not text");
    }
    for bytes in [&b"\xff"[..], b"\xc3", b"\xed\xa0\x80", b"\xf0\x9f\x98", b"\xc0\xaf", b"\xf5\x80\x80\x80"] {
        let event = [br#"{"id":"a","timestamp":1,"message":"x"#, bytes, br#"y"}"#].concat();
        bad_event(&event, &format!("the event is not valid UTF-8: byte 0x{:02x} at 36", bytes[0]));
    }
}

#[test]
fn a_log_holds_no_more_than_64_characters_of_a_value() {
    let long = "9".repeat(1000);
    bad_event(format!(r#"{{"id":1,"timestamp":{long},"message":""}}"#).as_bytes(), &format!(" {}… is", &long[..64]));
    let json = format!(r#"{{"messageType":"{}"}}"#, "\\n\u{1F600}".repeat(1000));
    refused(json, PayloadInvalid, &format!("\"{}…\"", "\\n\u{1F600}".repeat(32)));
}

#[test]
fn numbers_are_ids_with_every_digit() {
    for id in ["1", "0", "18446744073709551615", "18446744073709551616", "-0", "-7", "1e5", "1.50", "1E-999999"] {
        let ids = decode(&[record(with_events(&format!(r#"[{{"id":{id} ,"timestamp":1,"message":"m"}}]"#)))]);
        assert_eq!(events(&ids)[0].id, id);
    }
    let id = "38113372222222222222222222222222222222222222222222222222";
    assert_eq!(id.len(), 56);
    let out = decode(&[record(with_events(&format!(r#"[{{"timestamp":1,"message":"m","id":{id}}}]"#)))]);
    assert_eq!((events(&out)[0].id.as_str(), events(&out)[0].message.as_str()), (id, "m"));
}

#[test]
fn keys_come_in_any_order_and_the_last_of_equals_counts() {
    let reordered = r#"{"logEvents":[{"message":"mé\n","timestamp":5,"id":"i"},{"message":"","id":"j","timestamp":6}],
        "logStream":"s","logGroup":"g","messageType":"DATA_MESSAGE"}"#;
    assert_eq!(messages(reordered), ["mé\n", ""]);

    let twice = r#"{"messageType":"CONTROL_MESSAGE","logGroup":7,"logEvents":[{"id":"x","timestamp":1,"message":"x"}],
        "messageType":"DATA_MESSAGE","logGroup":"g","logStream":"\ud800","logStream":"s","logEvents":[
        {"id":null,"timestamp":"","message":"a","i\u0064":"i","timestamp":2,"message":"b"}]}"#;
    let out = decode(&[record(twice)]);
    let [event] = &events(&out)[..] else { panic!() };
    assert_eq!((event.id.as_str(), event.timestamp, event.message.as_str()), ("i", 2, "b"));
    assert_eq!(event.log_group, "g");
}

#[test]
fn text_comes_through_unharmed() {
    let long = "x\\\"é😀\u{0}".repeat(100_000);
    let texts = [
        "\u{0}",
        "a\nb\r\n\tc",
        "\u{1b}[31mred\u{7f}\u{85}\u{2028}",
        "\"\\/",
        "{\"a\":\"\\\"\"}",
        "é😀\u{ffff}",
        &long,
    ];
    let list: Vec<Value> = texts.iter().map(|text| json!({"id": text, "timestamp": 1, "message": text})).collect();
    for log_events in [json!(list).to_string(), format!("[7,{}", &json!(list).to_string()[1..])] {
        let json = with_events(&log_events);
        let mut out = Decoded::default();
        assert_eq!(decoder(64 << 20).decode(&mut Scratch::new(), &[record(gzip(json.as_bytes()))], true, &mut out), 1);
        let events = events(&out);
        assert!(events.iter().zip(texts).all(|(event, text)| event.message == text && event.id == text));
        assert_eq!(events.len(), texts.len());
    }
    assert_eq!(messages(with_events(r#"[{"id":1,"timestamp":1,"message":"\ud83d\ude00\/\b\f"}]"#)), ["😀/\u{8}\u{c}"]);
    // A control character must be escaped in JSON, in keys that nobody reads too.
    refused("{\"messageType\":\"CONTROL_MESSAGE\",\"\n\":1}", NotDecodable, "not JSON: control character");
    refused(
        with_events("[{\"id\":1,\"timestamp\":1,\"message\":\"\n\"}]"),
        NotDecodable,
        "not JSON: control character",
    );
}

#[test]
fn a_log_group_that_no_key_can_hold_is_refused_whole() {
    let json = |log_group: &str, events: &str| with_events(events).replace("/g", log_group);
    let most = "x".repeat(255 - "log_group=".len());
    assert_eq!(messages(json(&most, &format!("[{GOOD}]"))), ["good"]);
    for log_group in [format!("{most}x"), format!("/{}", &most[2..])] {
        for events in [format!("[{GOOD}]"), format!("[7,{GOOD},8]")] {
            refused(
                gzip(json(&log_group, &events).as_bytes()),
                PartitionTooLong,
                "256 bytes; the store's limit is 255",
            );
        }
        // No row, no key.
        assert_eq!(decode(&[record(json(&log_group, "[]"))]).rejections, []);
        assert_eq!(decode(&[record(json(&log_group, "[7]"))]).rejections[0].code, RejectionCode::EventInvalid);
    }
}

#[test]
fn depth_is_no_danger() {
    let deep = "[".repeat(200_000) + &"]".repeat(200_000);
    let unread = format!(r#"[{{"id":1,"timestamp":1,"message":"m","x":{deep}}}]"#);
    assert_eq!(messages(with_events(&unread)), ["m"]);
    assert_eq!(messages(with_events(&unread).replacen('{', &format!(r#"{{"x":{deep},"#), 1)).len(), 1);
    refused(gzip(deep.as_bytes()), PayloadInvalid, "messageType");
    refused(gzip(&deep.as_bytes()[..200_001]), NotDecodable, "not JSON");
    let out = decode(&[record(gzip(with_events(&format!("[{deep}]")).as_bytes()))]);
    assert_eq!(out.rejections[0].code, RejectionCode::EventInvalid);
}

#[test]
fn too_many_bad_events_of_one_record_share_payloads() {
    for head in [LIMIT / 2, 100] {
        let filter = "f".repeat(head);
        let bad = rejecter::SINGLE_REJECTIONS / (head + 100) + rejecter::SHARED_REJECTION / 2;
        let json = with_events(&format!("[{GOOD}{}]", ",700".repeat(bad)));
        let json = json.replacen('{', &format!(r#"{{"subscriptionFilters":["{filter}"],"#), 1);
        let mut out = Decoded::default();
        let records = [record(gzip(json.as_bytes()))];
        assert_eq!(decoder(64 << 20).decode(&mut Scratch::new(), &records, true, &mut out), 1);
        assert_eq!(events(&out).len(), 1);
        let mut counted = 0;
        let mut shared = 0;
        for rejection in &out.rejections {
            let value: Value = serde_json::from_slice(&rejection.payload).unwrap();
            let count = value["logEvents"].as_array().unwrap().len();
            counted += count;
            if count > 1 {
                shared += 1;
                assert!(rejection.message.starts_with(&format!("{count} further bad events")));
                assert!(rejection.payload.len() < head + rejecter::SHARED_REJECTION + 100);
            }
        }
        assert_eq!(counted, bad, "none is lost");
        assert!((2..5).contains(&shared), "{shared} payloads share 8 MiB of events");
    }
}

#[test]
fn a_large_batch_is_decoded_in_parts_and_memory_given_back() {
    let message = "m".repeat(9 << 20);
    let json = with_events(&format!(r#"[{{"id":1,"timestamp":1,"message":"{message}"}}]"#));
    let records = [record(gzip(GOOD.as_bytes())), record(gzip(json.as_bytes())), record(json.clone())];
    let (decoder, mut scratch, mut out) = (decoder(64 << 20), Scratch::new(), Decoded::default());
    assert_eq!(decoder.decode(&mut scratch, &records, true, &mut out), 2);
    assert_eq!((out.rows.len(), out.rejections.len()), (1, 1));
    assert!(out.text.capacity() > KEPT);
    out.clear();
    assert_eq!((out.text.capacity(), out.counts), (KEPT, Counts::default()));
    assert!(out.rows.is_empty() && out.payloads.is_empty() && out.rejections.is_empty());
    assert_eq!(decoder.decode(&mut scratch, &records[2..], true, &mut out), 1);
    assert_eq!(events(&out)[0].message, message);
    assert_eq!(decoder.decode(&mut scratch, &[], true, &mut out), 0);
}
