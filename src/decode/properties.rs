//! Properties of decoding: the two readings agree with each other and with a plain one, and no bytes do harm.

use md5::Digest;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

use super::aggregate::tests::aggregate;
use super::plain::tests::plain;
use super::tests::{Event, LIMIT, decode, decode_as, decoder, events, gzip, record, rows};
use super::*;

/// An event of a valid payload: id, whether it is a number, timestamp, message.
type Parts = (String, Option<u64>, Millis, String);

/// Text as logs have it, and as they should not: any characters, those that JSON escapes among them often.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,40}",
        prop::collection::vec(any::<char>(), 0..20).prop_map(String::from_iter),
        prop::collection::vec(select(vec!['"', '\\', '\n', '\0', '\u{1f}', 'é', '😀', 'u', '/']), 0..60)
            .prop_map(String::from_iter),
    ]
}

fn any_event() -> impl Strategy<Value = Parts> {
    (any_text(), prop::option::weighted(0.2, any::<u64>()), 0..crate::event::TIMESTAMP_LIMIT, any_text())
}

/// Text as JSON, each character escaped or not as `escape` says in turn.
fn write_string(text: &str, escape: &[bool]) -> String {
    let mut json = String::from("\"");
    for (index, character) in text.chars().enumerate() {
        let must = character < ' ' || character == '"' || character == '\\';
        if must || escape.get(index % escape.len().max(1)) == Some(&true) {
            let mut units = [0; 2];
            json.extend(character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")));
        } else {
            json.push(character);
        }
    }
    json + "\""
}

/// Members in an order that `seed` chooses.
fn write_object(mut members: Vec<String>, seed: u64) -> String {
    let len = members.len();
    members.rotate_left((seed % len as u64) as usize);
    if seed & 8 == 0 {
        members.reverse();
    }
    format!("{{{}}}", members.join(if seed & 16 == 0 { "," } else { " ,\r\n\t" }))
}

prop_compose! {
    /// A valid payload.
    fn any_payload()(
        parts in prop::collection::vec(any_event(), 0..8),
        log_group in any_text().prop_map(|text| if text.is_empty() { "g".into() } else { text }),
        (log_stream, owner) in (prop::option::of(any_text()), prop::option::of(any_text())),
        escape in prop::collection::vec(any::<bool>(), 0..5),
        seeds in prop::collection::vec(any::<u64>(), 9),
        unread in select(vec!["1", "-1.5e+9", "\"\\ud800\"", "[[],{\"a\":[null,true]}]", "{\"id\":\"no\"}", "1e999"]),
    ) -> String {
        let string = |text: &str| write_string(text, &escape);
        let list: Vec<String> = parts.iter().zip(&seeds).map(|((id, number, timestamp, message), seed)| {
            let id = number.map_or_else(|| string(id), |number| number.to_string());
            write_object(vec![
                format!("\"id\":{id}"),
                format!("\"timestamp\": {timestamp}"),
                format!("\"message\" :{}", string(message)),
                format!("\"extractedFields\":{unread}"),
            ], *seed)
        }).collect();
        let optional = |text: &Option<String>| text.as_deref().map_or("null".into(), string);
        write_object(vec![
            "\"messageType\":\"DATA_MESSAGE\"".into(),
            format!("\"owner\":{}", optional(&owner)),
            format!("\"logGroup\":{}", string(&log_group)),
            format!("\"logStream\":{}", optional(&log_stream)),
            format!("\"subscriptionFilters\":{unread}"),
            format!("\"logEvents\":[{}]", list.join(",")),
        ], seeds[8])
    }
}

/// What a reader of values makes of a valid payload, without what only the two readings know how to pass over.
fn plain_reading(json: &str) -> Vec<Event> {
    let payload: Value = serde_json::from_str(&json.replace("\"\\ud800\"", "0").replace("1e999", "0")).unwrap();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let event = |event: &Value| Event {
        id: text(&event["id"]).unwrap_or_else(|| event["id"].to_string()),
        timestamp: event["timestamp"].as_i64().unwrap(),
        message: text(&event["message"]).unwrap(),
        log_group: text(&payload["logGroup"]).unwrap(),
        log_stream: text(&payload["logStream"]),
        owner: text(&payload["owner"]),
    };
    payload["logEvents"].as_array().unwrap().iter().map(event).collect()
}

/// Rows and head as one reading alone sees them.
fn fast(json: &str, ids: Ids) -> Option<Decoded> {
    let mut out = Decoded::default();
    let envelope = envelope::read(json, ids, &mut Vec::new(), &mut out)?;
    Some(accepted(envelope, out))
}

fn slow(json: &[u8]) -> Result<Decoded, Refusal> {
    let mut out = Decoded::default();
    let envelope = strict::read(json, &Origin::of(&record("")), &mut out)?;
    Ok(accepted(envelope, out))
}

fn accepted(envelope: Envelope<'_>, mut out: Decoded) -> Decoded {
    let start = Mark::of(&Decoded::default());
    match envelope {
        Envelope::Control => start.back(&mut out),
        Envelope::Data(head) => {
            // Any key will do.
            let mut decoder = decoder(LIMIT);
            decoder.config.keys = KeyLimits { key: usize::MAX, segment: usize::MAX, before: 0 };
            decoder.accept(head, true, &start, &Origin::of(&record("")), &mut out).unwrap();
        }
    }
    out
}

/// A payload damaged in some places: bytes changed, put in, taken out, and parts that JSON has said once more.
fn damage(json: &mut Vec<u8>, changes: Vec<(Index, u8, Vec<u8>)>) {
    for (at, kind, bytes) in changes {
        if json.is_empty() {
            return;
        }
        let at = at.index(json.len());
        let end = json.len().min(at + bytes.len());
        let (end, bytes) = match kind % 3 {
            0 => (at, bytes),
            1 => (end, bytes),
            _ => (end, Vec::new()),
        };
        json.splice(at..end, bytes);
    }
}

fn any_changes() -> impl Strategy<Value = Vec<(Index, u8, Vec<u8>)>> {
    let tokens = [
        "null",
        "1",
        "-",
        "0",
        ".5",
        "e1",
        "\"",
        "\\",
        "\\ud800",
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"id\":",
        "\"logEvents\":[",
        "\"timestamp\":",
        "\"messageType\":\"CONTROL_MESSAGE\",",
        "\"a\":{},",
        "7,",
        " ",
        "\n",
    ];
    let bytes = prop_oneof![
        2 => select(tokens.to_vec()).prop_map(|token| token.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    prop::collection::vec((any::<Index>(), any::<u8>(), bytes), 1..4)
}

/// Lines, objects, envelopes, and what is neither.
fn any_plain() -> impl Strategy<Value = Vec<u8>> {
    let parts = [
        "{\"t\":1711083600}",
        "{\"t\":\"2024-03-22T05:00:00Z\",\"a\":[{}]}",
        "{\"t\":null}",
        "{}",
        " {\"a\":{\"t\":1}}",
        "\n",
        "\r\n",
        "\r",
        " ",
        "GET / 200",
        "é",
        "7",
        "[{}]",
        "{",
        "{\"messageType\":\"DATA_MESSAGE\",\"logGroup\":\"g\",\"logEvents\":[7]}",
        "{\"messageType\":1}",
        "\"messageType\"",
    ];
    let part = prop_oneof![
        9 => select(parts.to_vec()).prop_map(|part| part.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    prop::collection::vec(part, 0..8).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn both_readings_and_a_plain_one_agree_on_valid_payloads(json in any_payload()) {
        let expected = plain_reading(&json);
        let fast = fast(&json, Ids::AsWritten).expect("the fast path takes what is valid");
        let slow = slow(json.as_bytes()).unwrap();
        for mut out in [fast, slow] {
            out.counts.rejections = 0;
            prop_assert_eq!(out.rejections.len(), 0);
            prop_assert_eq!(&events(&out), &expected);
        }
    }

    /// Where the fast path takes a damaged payload, the slow one takes it too, for the same; and the JSON of every
    /// payload taken is JSON to a plain reader as well.
    #[test]
    fn both_readings_agree_on_damaged_payloads(json in any_payload(), changes in any_changes()) {
        let mut json = json.into_bytes();
        damage(&mut json, changes);
        let slow = slow(&json);
        let text = std::str::from_utf8(&json).ok();
        let fast = |ids| text.and_then(|json| fast(json, ids));
        for fast in [Ids::Strings, Ids::AsWritten].into_iter().filter_map(fast) {
            let slow = slow.as_ref().unwrap();
            prop_assert_eq!(events(&fast), events(slow));
            prop_assert_eq!(slow.rejections.len(), 0);
        }
        let is_json = serde_json::from_slice::<serde::de::IgnoredAny>(&json).is_ok();
        let refused = slow.as_ref().is_err_and(|refusal| refusal.code == RejectionCode::NotDecodable);
        prop_assert_eq!(is_json, !refused);
    }

    /// Every event of a damaged payload is a row or in a rejection, and what is rejected stays so when it comes again.
    #[test]
    fn nothing_is_lost_of_damaged_payloads(json in any_payload(), changes in any_changes(), compress: bool) {
        let mut json = json.into_bytes();
        damage(&mut json, changes);
        let data = if compress { gzip(&json) } else { json.clone() };
        let out = decode(&[record(data.clone())]);
        let delivered = events(&out).len();
        let mut kept = delivered;
        for rejection in &out.rejections {
            let again = decode(&[record(rejection.payload.clone())]);
            prop_assert_eq!(again.rows.len(), 0);
            prop_assert_eq!(&again.rejections, std::slice::from_ref(rejection));
            kept += usize::from(rejection.code == RejectionCode::EventInvalid);
        }
        let whole = out.rejections.iter().any(|rejection| rejection.code != RejectionCode::EventInvalid);
        prop_assert!(!whole || (out.rejections.len() == 1 && delivered == 0 && out.rejections[0].payload == data));
        if let (false, 0, Ok(payload)) = (whole, out.counts.control, serde_json::from_slice::<Value>(&json)) {
            prop_assert_eq!(kept, payload["logEvents"].as_array().unwrap().len());
        }
    }

    #[test]
    fn arbitrary_bytes_do_no_harm(
        data in prop::collection::vec(any::<u8>(), 0..200),
        start in select(vec![&b""[..], b"{", b"\x1f\x8b", b"\x1f\x8b\x08\0\0\0\0\0\0\x03"]),
    ) {
        let data = [start, &data].concat();
        let out = decode(&[record(data.clone()), record(gzip(&data))]);
        events(&out);
        prop_assert_eq!(out.rejections.len(), 2);
    }

    /// A gzip with bytes changed, or cut off, or followed by others, is either taken for what it was or refused whole.
    #[test]
    fn a_damaged_gzip_is_never_read_otherwise(json in any_payload(), changes in any_changes(), cut in any::<Index>()) {
        let whole = gzip(json.as_bytes());
        let mut damaged = whole.clone();
        damage(&mut damaged, changes);
        damaged.truncate(18.max(cut.index(2 * damaged.len())));
        let (before, after) = (decode(&[record(whole)]), decode(&[record(damaged.clone())]));
        if after.rejections.first().is_some_and(|rejection| rejection.code == RejectionCode::NotDecodable) {
            prop_assert_eq!(&after.rejections[0].payload, &damaged);
        } else {
            // Fields of the header that nobody reads were hit.
            prop_assert_eq!(events(&after), events(&before));
        }
    }

    /// The user records of an aggregated record make what they make as records of their own.
    #[test]
    fn an_aggregate_is_its_user_records(
        payloads in prop::collection::vec((any_payload(), any_changes(), 0u8..4), 0..6),
        keys in prop::collection::vec("[a-zé]{1,9}", 6),
    ) {
        let payloads: Vec<(String, Vec<u8>)> = keys.into_iter().zip(payloads).map(|(key, (json, changes, kind))| {
            let mut data = json.into_bytes();
            if kind & 1 == 1 {
                damage(&mut data, changes);
            }
            (key, if kind & 2 == 2 { gzip(&data) } else { data })
        }).collect();
        let together = decode(&[record(aggregate(&payloads))]);
        let alone: Vec<Decoded> = payloads.iter().map(|(key, data)| {
            decode(&[Record { partition_key: Some(key.as_str().into()), ..record(data.clone()) }])
        }).collect();
        prop_assert_eq!(rows(&together), alone.iter().flat_map(rows).collect::<Vec<_>>());
        prop_assert_eq!(&together.rejections, &alone.iter().flat_map(|out| out.rejections.clone()).collect::<Vec<_>>());
        let mut counts = Counts::default();
        alone.iter().for_each(|out| counts += out.counts);
        let control = u64::from(counts.control > 0 && counts.events + counts.rejections == 0);
        prop_assert_eq!(together.counts, Counts { records: 1, control, ..counts });
    }

    /// Any bytes in any mode: no harm, and the rows and rejections are those of the user records one by one.
    #[test]
    fn plain_payloads_in_an_aggregate_are_the_same_as_alone(
        payloads in prop::collection::vec((any_plain(), any::<bool>()), 0..6),
        mode in select(vec![
            Payloads::Envelopes,
            Payloads::Any(plain(Some("t"))),
            Payloads::Lines(plain(None)),
            Payloads::Json(plain(None)),
            Payloads::Json(plain(Some("t"))),
        ]),
    ) {
        let payloads: Vec<(&str, Vec<u8>)> =
            payloads.into_iter().map(|(data, compress)| ("key", if compress { gzip(&data) } else { data })).collect();
        let together = decode_as(mode.clone(), &[record(aggregate(&payloads))]);
        let (mut rows, mut rejections, mut counts) = (Vec::new(), Vec::new(), Counts::default());
        for (index, (_, data)) in payloads.into_iter().enumerate() {
            let out = decode_as(mode.clone(), &[record(data)]);
            rows.extend(events(&out).into_iter().map(|event| {
                let id = event.id.strip_prefix("42-").map(|n| format!("42-{index}-{n}"));
                Event { id: id.unwrap_or(event.id), ..event }
            }));
            rejections.extend(out.rejections);
            counts += out.counts;
        }
        prop_assert_eq!(events(&together), rows);
        prop_assert_eq!(&together.rejections, &rejections);
        let control = u64::from(counts.control > 0 && counts.events + counts.rejections == 0);
        prop_assert_eq!(together.counts, Counts { records: 1, control, ..counts });
    }

    /// Every line is a row; every object is a row or in a rejection, and none where the payload is rejected whole.
    #[test]
    fn nothing_is_lost_of_plain_payloads(data in any_plain()) {
        prop_assume!(!data.is_empty() && !is_gzip(&data));
        let out = decode_as(Payloads::Lines(plain(None)), &[record(data.clone())]);
        match std::str::from_utf8(&data) {
            Ok(text) => {
                let lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
                let lines: Vec<&str> = lines.filter(|line| !line.is_empty()).collect();
                let read: Vec<String> = events(&out).into_iter().map(|event| event.message).collect();
                prop_assert_eq!(read, lines);
            }
            Err(_) => prop_assert_eq!((out.rows.len(), &out.rejections[0].payload[..]), (0, &data[..])),
        }
        let out = decode_as(Payloads::Json(plain(Some("t"))), &[record(data.clone())]);
        let values: Result<Vec<Value>, _> = serde_json::Deserializer::from_slice(&data).into_iter().collect();
        let whole = out.rejections.iter().any(|rejection| rejection.code != RejectionCode::EventInvalid);
        if let (Ok(values), false) = (values, whole) {
            prop_assert_eq!(values.len(), events(&out).len() + out.rejections.len());
        }
        prop_assert!(!whole || (out.rejections.len() == 1 && out.rows.is_empty() && out.rejections[0].payload == data));
    }

    /// A damaged aggregate is one rejection, or what it was when only its unread fields were hit.
    #[test]
    fn a_damaged_aggregate_is_refused_whole(
        payloads in prop::collection::vec(("[a-z]{1,3}", any_payload().prop_map(String::into_bytes)), 0..4),
        changes in any_changes(),
        repair: bool,
    ) {
        let whole = aggregate(&payloads);
        let mut damaged = whole.clone();
        damage(&mut damaged, changes);
        if repair && damaged.len() >= 20 {
            let end = damaged.len() - 16;
            let digest = md5::Md5::digest(&damaged[4..end]);
            damaged[end..].copy_from_slice(&digest);
        }
        let out = decode(&[record(damaged.clone())]);
        rows(&out);
        prop_assert_eq!(out.counts.records, 1);
        if !repair && damaged != whole {
            prop_assert_eq!((out.rows.len(), out.rejections.len()), (0, 1));
            prop_assert_eq!(&out.rejections[0].payload, &damaged);
        }
    }

    /// What is in the output already stays, whatever comes after it.
    #[test]
    fn records_do_not_touch_each_other(payloads in prop::collection::vec((any_payload(), any_changes(), any::<bool>()), 1..5)) {
        let records: Vec<Record> = payloads.into_iter().map(|(json, changes, whole)| {
            let mut json = json.into_bytes();
            if !whole {
                damage(&mut json, changes);
            }
            record(gzip(&json))
        }).collect();
        let alone: Vec<Decoded> = records.iter().map(|record| decode(std::slice::from_ref(record))).collect();
        let together = decode(&records);
        prop_assert_eq!(events(&together), alone.iter().flat_map(events).collect::<Vec<_>>());
        prop_assert_eq!(&together.rejections, &alone.iter().flat_map(|out| out.rejections.clone()).collect::<Vec<_>>());
        prop_assert_eq!(together.counts.bytes, alone.iter().map(|out| out.counts.bytes).sum::<u64>());
    }
}

#[test]
fn the_plain_reading_reads() {
    let json = json!({"logGroup": "g", "logEvents": [{"id": 1, "timestamp": 2, "message": "m"}]}).to_string();
    let [event] = &plain_reading(&json)[..] else { panic!() };
    assert_eq!((event.id.as_str(), event.timestamp, event.message.as_str()), ("1", 2, "m"));
}
