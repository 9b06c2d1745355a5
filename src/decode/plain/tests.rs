use super::super::aggregate::tests::aggregate;
use super::super::tests::{GOOD, decode_as, decoder_of, events, gzip, record, rows, with_events};
use super::*;
use crate::decode::inflate::LARGE;
use crate::decode::{Counts, Scratch};
use crate::event::Record;
use crate::event::RejectionCode::{EventInvalid, NotDecodable, PartitionTooLong, PayloadInvalid, TooLarge};

const ARRIVAL: Millis = 1_700_000_000_123;

pub(in crate::decode) fn plain(time_field: Option<&str>) -> Plain {
    Plain {
        log_group: "/agents/web".into(),
        log_stream: Some("web-1".into()),
        time_field: time_field.map(|field| field.parse().unwrap()),
    }
}

fn lines_mode() -> Payloads {
    Payloads::Lines(plain(None))
}

fn json_mode(time_field: Option<&str>) -> Payloads {
    Payloads::Json(plain(time_field))
}

/// Ids, times and messages of a payload's rows, which must be all there is; the same as gzip.
fn read(payloads: &Payloads, data: &[u8]) -> Vec<(String, Millis, String)> {
    let out = decode_as(payloads.clone(), &[record(data.to_vec())]);
    assert_eq!(out.rejections, []);
    assert_eq!(out.counts.bytes, data.len() as u64);
    assert!(out.payloads.len() <= 1);
    let rows = events(&out);
    assert_eq!(events(&decode_as(payloads.clone(), &[record(gzip(data))])), rows);
    assert!(rows.iter().all(|row| row.log_group == "/agents/web" && row.log_stream.as_deref() == Some("web-1")));
    rows.into_iter().map(|row| (row.id, row.timestamp, row.message)).collect()
}

fn messages(payloads: &Payloads, data: &[u8]) -> Vec<String> {
    read(payloads, data).into_iter().map(|(_, _, message)| message).collect()
}

fn refused(payloads: &Payloads, data: &[u8], code: RejectionCode, why: &str) {
    for data in [data.to_vec(), gzip(data)] {
        let out = decode_as(payloads.clone(), &[record(data.clone())]);
        assert_eq!(events(&out), []);
        let [rejection] = &out.rejections[..] else { panic!("{:?}", out.rejections) };
        assert_eq!((rejection.code, &rejection.payload[..]), (code, &data[..]), "{}", rejection.message);
        assert!(rejection.message.contains(why), "{}", rejection.message);
    }
}

#[test]
fn lines_are_events() {
    let lines = read(&lines_mode(), "first\nsecond é\r\n\n\r\n {\"a\":1} \r\r\nlast".as_bytes());
    let expected = ["first", "second é", " {\"a\":1} \r", "last"];
    let expected = expected.iter().enumerate().map(|(n, line)| (format!("42-{n}"), ARRIVAL, (*line).to_owned()));
    assert_eq!(lines, expected.collect::<Vec<_>>());
    for nothing in ["\n", "\r\n\r\n", "\n\n\n"] {
        assert_eq!(messages(&lines_mode(), nothing.as_bytes()), [""; 0]);
    }
    assert_eq!(messages(&lines_mode(), with_events("[]").as_bytes()).len(), 1, "an envelope is a line like others");
    refused(&lines_mode(), b"good\nb\xffd\n", NotDecodable, "not valid UTF-8: byte 0xff at 6");
    let out = decode_as(lines_mode(), &[record("")]);
    assert_eq!(out.rejections[0].message, "the record is empty");
}

#[test]
fn objects_are_events_as_they_were_written() {
    let json = "{\"a\": 1.0, \"b\":\"\\u00e9\"}{} \r\n\t{\"a\":\n[{}]}\n";
    let objects = read(&json_mode(None), json.as_bytes());
    let expected = ["{\"a\": 1.0, \"b\":\"\\u00e9\"}", "{}", "{\"a\":\n[{}]}"];
    let expected = expected.iter().enumerate().map(|(n, json)| (format!("42-{n}"), ARRIVAL, (*json).to_owned()));
    assert_eq!(objects, expected.collect::<Vec<_>>());
    assert_eq!(messages(&json_mode(None), b" \n "), [""; 0]);

    let mode = json_mode(Some("t"));
    let times = read(&mode, b"{\"t\":1711083600}{\"t\":\"2024-03-22T05:00:00.5Z\"}{\"t\":1711083600123}");
    let times: Vec<_> = times.into_iter().map(|(_, time, _)| time).collect();
    assert_eq!(times, [1_711_083_600_000, 1_711_083_600_500, 1_711_083_600_123]);

    for mode in [json_mode(None), mode] {
        for value in ["7", "null", "\"x\"", "[{}]", "[]"] {
            let json = format!("{{\"t\":1}} {value} {{\"t\":1}}");
            refused(&mode, json.as_bytes(), PayloadInvalid, "value 2 of the payload is not an object");
        }
        for broken in ["{\"t\":1}x", "{\"t\":1},{\"t\":1}", "{\"t\":1", "{\"t\":1}{\"t\"}", "line"] {
            refused(&mode, broken.as_bytes(), NotDecodable, "not JSON: ");
        }
        refused(&mode, b"{\"t\":1,\"a\":\"\xff\"}", NotDecodable, "not valid UTF-8: byte 0xff at 12");
    }
}

#[test]
fn an_object_without_a_usable_time_is_refused_alone() {
    let mode = json_mode(Some("e.t"));
    let bad = ["{ \"e\":{}}", "{\"e\":{\"t\":\"soon\"}}", "{\"e\":{\"t\":-1}}", "{\"t\":1}"];
    let good = "{\"e\":{\"t\":1}}";
    let json = bad.iter().map(|bad| format!("{bad}{good}")).collect::<String>();
    let out = decode_as(mode.clone(), &[record(gzip(json.as_bytes()))]);
    let ids: Vec<_> = events(&out).into_iter().map(|event| event.id).collect();
    assert_eq!(ids, ["42-1", "42-3", "42-5", "42-7"], "bad ones count");
    assert_eq!(out.counts.events, 4);
    for ((rejection, bad), why) in out.rejections.iter().zip(bad).zip(["missing", "\\\"soon\\\"", "-1", "missing"]) {
        assert_eq!((rejection.code, &rejection.payload[..]), (EventInvalid, bad.as_bytes()));
        let message = &rejection.message;
        assert!(message.starts_with("e.t (source.kinesis.time_field)") && message.contains(why), "{message}");
        let again = decode_as(mode.clone(), &[record(rejection.payload.clone())]);
        assert_eq!((again.rows.len(), &again.rejections[..]), (0, std::slice::from_ref(rejection)));
    }
    assert_eq!(out.rejections.len(), bad.len());
}

#[test]
fn many_bad_objects_share_payloads() {
    let mode = Payloads::Json(plain(Some("t")));
    let bad = 200_000;
    let (decoder, mut out) = (decoder_of(64 << 20, mode.clone()), Decoded::default());
    let data = record(gzip("{}".repeat(bad).as_bytes()));
    assert_eq!(decoder.decode(&mut Scratch::new(), &[data], true, &mut out), 1);
    assert!(out.rejections.len() < 100_000, "{}", out.rejections.len());
    let counted: usize = out.rejections.iter().map(|rejection| rejection.payload.split(|b| *b == b'\n').count()).sum();
    assert_eq!(counted, bad, "none is lost");
    let shared = out.rejections.last().unwrap();
    assert!(
        shared.message.contains("further bad events of this record, of the first: t (source"),
        "{}",
        shared.message
    );
    let again = decode_as(mode, &[record(shared.payload.clone())]);
    assert!(again.rejections.iter().all(|rejection| rejection.code == EventInvalid));
}

#[test]
fn auto_takes_each_payload_for_what_it_looks_like() {
    let auto = Payloads::Any(plain(Some("t")));
    assert_eq!(messages(&auto, b"GET /\n{\"t\":1}\n"), ["GET /", "{\"t\":1}"]);
    assert_eq!(messages(&auto, b" {\"t\":1}{\"t\":2}\n"), ["{\"t\":1}", "{\"t\":2}"]);
    assert_eq!(messages(&auto, b"{\"t\":1}\n{broken\n"), ["{\"t\":1}", "{broken"], "lines");
    assert_eq!(messages(&auto, b"{\"t\":1}\n7\n"), ["{\"t\":1}", "7"]);
    assert_eq!(messages(&auto, b"[{\"t\":1}]"), ["[{\"t\":1}]"]);
    let out = decode_as(auto.clone(), &[record("{\"t\":null}{\"t\":1}")]);
    assert_eq!((events(&out).len(), out.rejections[0].code), (1, EventInvalid));
    refused(&auto, b"a\xff", NotDecodable, "not valid UTF-8");

    // What has a `messageType` is an envelope, with all that is said of envelopes.
    let envelope = with_events(&format!("[{GOOD},7]"));
    let unusual = format!("{{\"\\ud800\":1,{}", &envelope[1..]);
    for data in [envelope.clone(), unusual] {
        let out = decode_as(auto.clone(), &[record(gzip(data.as_bytes()))]);
        assert_eq!((events(&out)[0].log_group.as_str(), out.rejections[0].code), ("/g", EventInvalid));
    }
    let out = decode_as(auto.clone(), &[record("{\"messageType\":\"CONTROL_MESSAGE\"}")]);
    assert_eq!((out.counts.control, out.rejections.len()), (1, 0));
    refused(&auto, b"{\"messageType\":\"ORDER\",\"t\":1}", PayloadInvalid, "messageType \"ORDER\" is unknown");
    refused(&auto, &envelope.as_bytes()[..60], NotDecodable, "not JSON");
    refused(&auto, [envelope.as_bytes(), b"{}"].concat().as_slice(), NotDecodable, "not JSON: trailing");
}

#[test]
fn a_user_record_has_its_index_in_the_ids() {
    let data = aggregate(&[("a", "x\ny\n"), ("b", "\n"), ("a", "z")]);
    let out = decode_as(lines_mode(), &[record(data)]);
    let ids: Vec<_> = rows(&out).into_iter().map(|row| (row.id, row.message)).collect();
    let expected = [("42-0-0", "x"), ("42-0-1", "y"), ("42-2-0", "z")];
    assert_eq!(ids, expected.map(|(id, message)| (id.to_owned(), message.to_owned())));
    assert_eq!(out.payloads.len(), 1);
    assert_eq!(out.counts, Counts { records: 1, events: 3, bytes: 6, ..Counts::default() });
}

#[test]
fn rows_of_small_events_are_bounded() {
    // A long one makes long ids, so that fewer rows are enough.
    let sequence = "9".repeat(120);
    let with_sequence = |data: Vec<u8>| Record { sequence: sequence.parse().unwrap(), ..record(data) };
    let count = 2 * LARGE / (sequence.len() + "-0".len() + size_of::<Row>());
    for (mode, event) in [(lines_mode(), "x\n"), (json_mode(None), "{}"), (json_mode(Some("t")), "{\"t\":1}")] {
        let over = with_sequence(gzip(event.repeat(count).as_bytes()));
        let (mut scratch, mut out) = (Scratch::new(), Decoded::default());
        // More than fits at all.
        let small = decoder_of(LARGE, mode.clone());
        assert_eq!(small.decode(&mut scratch, std::slice::from_ref(&over), true, &mut out), 1);
        assert_eq!((out.rows.len(), out.rejections[0].code), (0, TooLarge));
        assert!(out.rejections[0].message.starts_with("its events take more than 16777216 bytes as rows"));

        // More than fits at once, alone and behind another in an aggregated record.
        let (decoder, mut out) = (decoder_of(8 * LARGE, mode), Decoded::default());
        let aggregated = with_sequence(aggregate(&[("a", event), ("b", &event.repeat(count))]));
        for record in [&over, &aggregated] {
            assert_eq!(decoder.decode(&mut scratch, std::slice::from_ref(record), false, &mut out), 0);
            assert_eq!((out.rows.len(), out.text.len(), out.counts), (0, 0, Counts::default()), "nothing is done");
        }
        assert_eq!(decoder.decode(&mut scratch, &[over], true, &mut out), 1);
        assert_eq!((out.rows.len(), out.rejections.len()), (count, 0));
        let taken = out.text.capacity() + out.rows.capacity() * size_of::<Row>();
        assert!(taken <= 2 * 8 * LARGE, "{taken}");
    }
}

#[test]
fn a_log_group_that_no_key_can_hold_is_refused_whole() {
    let long = Plain { log_group: "x".repeat(256).into(), ..plain(None) };
    refused(&Payloads::Lines(long), b"a\nb", PartitionTooLong, "the store's limit is 255");
}
