use super::super::tests::{GOOD, LIMIT, decode, decoder, gzip, record, refused, rows, with_events};
use super::*;
use crate::decode::Counts;
use crate::decode::inflate::LARGE;
use crate::event::RejectionCode::{EventInvalid, NotDecodable, PayloadInvalid, TooLarge};

/// The format as a producer writes it, with the fields that nobody reads here.
#[derive(Clone, PartialEq, Message)]
struct AggregatedRecord {
    #[prost(string, repeated, tag = "1")]
    partition_key_table: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    explicit_hash_key_table: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    records: Vec<Written>,
}

#[derive(Clone, PartialEq, Message)]
struct Written {
    #[prost(uint64, required, tag = "1")]
    partition_key_index: u64,
    #[prost(uint64, optional, tag = "2")]
    explicit_hash_key_index: Option<u64>,
    #[prost(bytes = "vec", required, tag = "3")]
    data: Vec<u8>,
    #[prost(message, repeated, tag = "4")]
    tags: Vec<Tag>,
}

#[derive(Clone, PartialEq, Message)]
struct Tag {
    #[prost(string, required, tag = "1")]
    key: String,
    #[prost(string, optional, tag = "2")]
    value: Option<String>,
}

/// An aggregated record of partition keys and data.
pub(in crate::decode) fn aggregate(user_records: &[(impl AsRef<str>, impl AsRef<[u8]>)]) -> Vec<u8> {
    let mut table: Vec<String> = Vec::new();
    let mut records = Vec::new();
    for (key, data) in user_records {
        let key = key.as_ref();
        let index = table.iter().position(|known| known == key).unwrap_or_else(|| {
            table.push(key.to_owned());
            table.len() - 1
        });
        let (has_hash, tag) = (index % 2 == 0, Tag { key: "t".to_owned(), value: Some("v".to_owned()) });
        records.push(Written {
            partition_key_index: index as u64,
            explicit_hash_key_index: has_hash.then_some(0),
            data: data.as_ref().to_vec(),
            tags: vec![tag; index % 3],
        });
    }
    let explicit_hash_key_table = vec!["170141183460469231731687303715884105728".to_owned()];
    wrap(&AggregatedRecord { partition_key_table: table, explicit_hash_key_table, records }.encode_to_vec())
}

/// Magic number, message, MD5.
fn wrap(message: &[u8]) -> Vec<u8> {
    [&MAGIC, message, &Md5::digest(message)[..]].concat()
}

fn good(message: &str) -> String {
    with_events(&format!("[{}]", GOOD.replace("good", message)))
}

/// Made by the package aws_kinesis_agg 1.2.3 of PyPI (awslabs/kinesis-aggregation) with Python 3.11:
///
/// ```python
/// aggregator = aws_kinesis_agg.aggregator.RecordAggregator()
/// aggregator.add_user_record("key-a", gzip.compress(envelope(0), mtime=0))
/// aggregator.add_user_record("key-b", envelope(1), "170141183460469231731687303715884105728")
/// aggregator.add_user_record("key-a", b"GET /health 200\nGET / 404\n")
/// data = aggregator.clear_and_get().get_contents()[2]
/// ```
///
/// where `envelope(i)` is the JSON of a data message with one event, whose message is `line {i} é`.
#[test]
fn what_another_implementation_aggregated_is_taken_apart() {
    let data = &include_bytes!("../../../tests/golden/kpl-aggregate.bin")[..];
    let out = decode(&[record(data)]);
    let rows = rows(&out);
    let read: Vec<_> = rows.iter().map(|row| (row.id.as_str(), row.timestamp, row.message.as_str())).collect();
    assert_eq!(read, [("38113370", 1_711_083_600_000, "line 0 é"), ("38113371", 1_711_083_600_001, "line 1 é")]);
    assert!(rows.iter().all(|row| row.log_group == "/aws/lambda/checkout"));
    let [rejection] = &out.rejections[..] else { panic!("{:?}", out.rejections) };
    assert_eq!((rejection.code, rejection.partition_key.as_deref()), (NotDecodable, Some("key-a")));
    assert_eq!(rejection.payload, &b"GET /health 200\nGET / 404\n"[..]);
    assert_eq!((out.counts.records, out.counts.events, out.counts.rejections), (1, 2, 1));
}

#[test]
fn each_user_record_is_decoded_like_a_record() {
    let control = r#"{"messageType":"CONTROL_MESSAGE"}"#;
    let bad_event = with_events("[7]");
    let data = aggregate(&[
        ("a", gzip(good("first").as_bytes())),
        ("b", b"{}".to_vec()),
        ("a", control.into()),
        ("é", Vec::new()),
        ("c", bad_event.clone().into_bytes()),
        ("b", good("last").into_bytes()),
    ]);
    let out = decode(&[record(good("before")), record(data), record(good("behind"))]);
    let messages: Vec<_> = rows(&out).into_iter().map(|row| row.message).collect();
    assert_eq!(messages, ["before", "first", "last", "behind"]);
    let rejections: Vec<_> = out
        .rejections
        .iter()
        .map(|rejection| (rejection.code, rejection.partition_key.as_deref().unwrap(), rejection.payload.as_ref()))
        .collect();
    assert_eq!(
        rejections,
        [(PayloadInvalid, "b", &b"{}"[..]), (NotDecodable, "é", b""), (EventInvalid, "c", bad_event.as_bytes())]
    );
    assert_eq!((out.counts.records, out.counts.events), (3, 4));
    assert_eq!(out.counts.control, 0, "no record is a control message and nothing else");
    assert_eq!(out.payloads.len(), 3, "what is alike in an aggregate is joined, and records are not");
    assert_eq!(out.rejections[0].sequence.as_str(), "42");
}

#[test]
fn no_user_records_are_nothing() {
    for data in [wrap(b""), wrap(b"\x0a\x01k"), aggregate(&[("", ""); 0])] {
        let out = decode(&[record(data)]);
        assert_eq!((out.rows.len(), out.rejections.len()), (0, 0));
        assert_eq!(out.counts, Counts { records: 1, ..Counts::default() });
    }
}

#[test]
fn what_is_wrong_with_the_form_refuses_all_of_it() {
    let whole = aggregate(&[("a", good("a")), ("b", good("b"))]);
    for len in 4..20 {
        refused(whole[..len].to_vec(), NotDecodable, &format!("aggregated record: {len} bytes are too few"));
    }
    for len in 20..whole.len() {
        refused(whole[..len].to_vec(), NotDecodable, "aggregated record: its MD5 is not that of its content");
    }
    let message = &whole[MAGIC.len()..whole.len() - MD5_LEN];
    for at in [0, message.len() / 2, message.len() + MD5_LEN - 1] {
        let mut damaged = whole.clone();
        damaged[MAGIC.len() + at] ^= 1;
        refused(damaged, NotDecodable, "its MD5 is not that of its content");
    }
    let wrong = |more: &[u8], why: &str| {
        for message in [[message, more].concat(), [more, message].concat()] {
            refused(wrap(&message), NotDecodable, why);
        }
    };
    wrong(b"\x22\x00", ": unknown field");
    wrong(b"\x08\x01", ": unknown field");
    wrong(b"\x0a\x02\xff\xff", ": a key is not valid UTF-8");
    wrong(b"\x12\x00", ": a key is empty");
    wrong(b"\x1a\x00", "partition_key_index is missing");
    wrong(b"\x1a\x02\x08\x00", "data is missing");
    wrong(b"\x1a\x02\x1a\x00", "partition_key_index is missing");
    wrong(b"\x1a\x04\x08\x02\x1a\x00", "has the partition key 2, counted from 0, of 2");
    wrong(b"\x1a\x0d\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x1a\x00", "partition key 18446744073709551615,");
    wrong(b"\x1a\x03\x0d\x00\x00", "is no protobuf message: ");
    let ends_wrong = |more: &[u8], why: &str| refused(wrap(&[message, more].concat()), NotDecodable, why);
    ends_wrong(b"\x1a", &format!("at byte {}: bad length", 4 + message.len()));
    ends_wrong(b"\x1a\x05\x08\x00", "a field is longer than the message");
    ends_wrong(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "bad length");
    ends_wrong(b"\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "a field is longer than the message");
}

#[test]
fn keys_may_come_behind_the_user_records() {
    let data = good("late");
    let record_field = Written { data: data.clone().into_bytes(), ..Written::default() }.encode_to_vec();
    let mut message = vec![0x1a];
    prost::encode_length_delimiter(record_field.len(), &mut message).unwrap();
    message.extend([&record_field[..], b"\x1a\x05\x08\x00\x1a\x01{", b"\x0a\x01k"].concat());
    let out = decode(&[record(wrap(&message))]);
    assert_eq!(rows(&out)[0].message, "late");
    assert_eq!((out.rejections[0].partition_key.as_deref(), &out.rejections[0].payload[..]), (Some("k"), &b"{"[..]));
}

#[test]
fn an_aggregate_in_an_aggregate_is_not_taken_apart() {
    let inner = aggregate(&[("a", good("inner"))]);
    let out = decode(&[record(aggregate(&[("a", inner.clone()), ("b", good("outer").into_bytes())]))]);
    assert_eq!(rows(&out).len(), 1);
    assert_eq!((out.rejections[0].code, &out.rejections[0].payload), (NotDecodable, &Bytes::from(inner)));
    assert!(out.rejections[0].message.contains("within an aggregated one"));
}

/// The limit holds for the sum, and what fits behind what did not is delivered.
#[test]
fn user_records_past_the_limit_are_refused_one_by_one() {
    let half = good("half") + &" ".repeat(LIMIT / 2);
    for compress in [false, true] {
        let data = |json: &str| if compress { gzip(json.as_bytes()) } else { json.as_bytes().to_vec() };
        let parts = [("a", data(&half)), ("b", data(&half)), ("c", data(&good("small")))];
        let out = decode(&[record(aggregate(&parts))]);
        let messages: Vec<_> = rows(&out).into_iter().map(|row| row.message).collect();
        assert_eq!(messages, ["half", "small"]);
        let [rejection] = &out.rejections[..] else { panic!() };
        assert_eq!((rejection.code, &rejection.payload[..]), (TooLarge, &parts[1].1[..]));
        let left = LIMIT - half.len();
        let why = format!("inflates past the {left} bytes that the user records before it left of {LIMIT}");
        assert!(rejection.message.starts_with(&why), "{}", rejection.message);
    }
    let over = good("over") + &" ".repeat(LIMIT);
    let out = decode(&[record(aggregate(&[("a", gzip(over.as_bytes())), ("b", good("small").into_bytes())]))]);
    assert_eq!((rows(&out).len(), out.rejections.len()), (1, 1));
    assert!(out.rejections[0].message.starts_with("inflates past 1048576 bytes"));
}

/// Together its user records are large, each of them is not.
#[test]
fn a_large_aggregate_is_left_whole_until_large_ones_may_be() {
    let part = gzip((good("part") + &" ".repeat(LARGE / 4)).as_bytes());
    let bad = b"{}".to_vec();
    let parts: Vec<_> = [bad].into_iter().chain(vec![part; 6]).map(|data| ("k", data)).collect();
    let records = [record(good("small")), record(aggregate(&parts)), record(good("small"))];
    let (decoder, mut scratch, mut out) = (decoder(64 << 20), Scratch::new(), Decoded::default());
    assert_eq!(decoder.decode(&mut scratch, &records, false, &mut out), 1);
    let before = (out.text.len(), out.rows.len(), out.payloads.len(), out.counts);
    assert_eq!(decoder.decode(&mut scratch, &records[1..], false, &mut out), 0);
    assert_eq!((out.text.len(), out.rows.len(), out.payloads.len(), out.counts), before, "nothing of it is there");
    assert_eq!(out.rejections, []);
    assert_eq!(decoder.decode(&mut scratch, &records[1..], true, &mut out), 2);
    assert_eq!((rows(&out).len(), out.rejections.len(), out.counts.records), (8, 1, 3));
}

#[test]
fn more_rejections_than_memory_should_hold_are_one() {
    let refused_parts = |count: usize| decode(&[record(aggregate(&vec![("key", "x"); count]))]);
    let out = refused_parts(100);
    assert_eq!((out.rejections.len(), out.counts.rejections), (100, 100));
    let each = held_bytes(&out.rejections[0]);
    let most = REJECTIONS / each + 1;
    assert_eq!(refused_parts(most).rejections.len(), most);
    let data = aggregate(&[vec![("key", good("fine"))], vec![("key", "x".to_owned()); most + 1]].concat());
    refused(data, TooLarge, &format!("aggregated record: the rejections of its first {} user", most + 1));
}
