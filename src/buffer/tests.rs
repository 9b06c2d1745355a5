use std::collections::BTreeMap;

use proptest::prelude::*;

use super::fixtures::{TestEvent, TestPayload, decoded, flush, place};
use super::*;
use crate::decode::Decoded;

const HOUR: Millis = 3_600_000;
const START: Millis = 1_711_083_600_000;

fn payload(log_group: &str, events: impl IntoIterator<Item = (Millis, usize)>) -> TestPayload {
    let event = |(i, (timestamp, len)): (usize, (Millis, usize))| TestEvent {
        id: format!("{i:056}"),
        timestamp,
        message: "x".repeat(len),
    };
    TestPayload {
        log_group: log_group.to_owned(),
        log_stream: Some("stream".to_owned()),
        owner: Some("123456789012".to_owned()),
        arrival: START,
        events: events.into_iter().enumerate().map(event).collect(),
    }
}

/// Every row of a partition as (id, timestamp, message, log stream, owner, arrival), in order.
type Whole = (String, Millis, String, Option<String>, Option<String>, Millis);

fn rows_of(rows: PartitionRows, run_bytes: usize) -> Vec<Whole> {
    let mut out = Vec::new();
    for segment in rows.into_runs(run_bytes).flatten() {
        let text = |at: u32, len: u32| String::from_utf8(segment.text[at as usize..][..len as usize].to_vec()).unwrap();
        for row in &segment.rows {
            let head = segment.heads[row.head as usize];
            out.push((
                text(row.at, row.id_len),
                row.timestamp,
                text(row.at + row.id_len, row.message_len),
                head.log_stream_len.map(|len| text(head.at, len)),
                head.owner_len.map(|len| text(head.at + head.log_stream_len.unwrap_or(0), len)),
                head.arrival,
            ));
        }
    }
    out
}

fn any_payload() -> impl Strategy<Value = TestPayload> {
    let message = prop_oneof![
        8 => ".{0,40}".boxed(),
        2 => (0..3000usize).prop_map(|len| "m".repeat(len)).boxed(),
        1 => (100_000..300_000usize).prop_map(|len| "L".repeat(len)).boxed(),
    ];
    let event = ("[a-z0-9]{0,20}", 0..2 * HOUR, message).prop_map(|(id, after, message)| TestEvent {
        id,
        timestamp: START + after,
        message,
    });
    let text = || proptest::option::of("[a-zé]{0,9}");
    ("[ab]", text(), text(), 0..3i64, proptest::collection::vec(event, 1..12)).prop_map(
        |(log_group, log_stream, owner, arrival, events)| TestPayload { log_group, log_stream, owner, arrival, events },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Every row is in its partition, once, whole, in the order of its arrival, however it is cut into runs.
    #[test]
    fn rows_come_out_as_they_went_in(
        payloads in proptest::collection::vec(any_payload(), 1..20),
        run_bytes in 1usize..500_000,
    ) {
        let mut expected: BTreeMap<Partition, Vec<Whole>> = BTreeMap::new();
        for payload in &payloads {
            let folder =
                Folder::Table { table: "log_events".into(), log_group: payload.log_group.as_str().into() };
            for event in payload.events.iter().cloned() {
                let partition = Partition { folder: folder.clone(), hour: Hour::of(event.timestamp) };
                let TestPayload { log_stream, owner, arrival, .. } = payload.clone();
                let row = (event.id, event.timestamp, event.message, log_stream, owner, arrival);
                expected.entry(partition).or_default().push(row);
            }
        }
        let budget = Budget::new(1 << 30);
        let flush = flush(&budget, &payloads);
        let held: usize = flush.partitions.iter().map(|(_, rows)| rows.bytes()).sum();
        prop_assert_eq!(budget.rows(), held);
        let mut got = Vec::new();
        for (partition, rows) in flush.partitions {
            let count = rows.rows();
            let rows = rows_of(rows, run_bytes);
            prop_assert_eq!(rows.len() as u64, count);
            got.push((partition, rows));
        }
        prop_assert_eq!(got, expected.into_iter().collect::<Vec<_>>());
        prop_assert_eq!(budget.rows(), 0);
    }
}

#[test]
fn a_flush_takes_all_and_the_books_start_anew() {
    let budget = Budget::new(1 << 20);
    let mut buffers = Buffers::new(Arc::clone(&budget), "errors");
    let tables = Tables::log_events();
    let mut batch = decoded(&[payload("b", [(START, 1), (START + HOUR, 2)]), payload("a", [(START, 3)])]);
    batch.decoded.payloads[1].arrival = START - 5;
    batch.decoded.counts.control = 2;
    buffers.push(&tables, &mut batch, &place(), 0);
    buffers.push(&tables, &mut batch, &place(), 0);
    assert_eq!((buffers.open(), buffers.is_empty()), (3, false));
    assert_eq!(buffers.bytes(), budget.rows());

    let first = buffers.take();
    let names: Vec<_> = first.partitions.iter().map(|(partition, _)| partition.to_string()).collect();
    assert_eq!(
        names,
        [
            "log_events/log_group=a/dt=2024-03-22/hour=05",
            "log_events/log_group=b/dt=2024-03-22/hour=05",
            "log_events/log_group=b/dt=2024-03-22/hour=06"
        ]
    );
    assert_eq!((first.counts.events, first.counts.records, first.counts.control), (6, 4, 4));
    assert_eq!(first.oldest_arrival, Some(START - 5));
    assert!(budget.rows() > 0, "what is taken is held until it is encoded");
    assert_eq!((buffers.open(), buffers.bytes(), buffers.is_empty()), (0, 0, true));

    let second = buffers.take();
    assert!(second.partitions.is_empty());
    assert_eq!((second.counts, second.oldest_arrival), (Counts::default(), None));
    drop(first);
    assert_eq!(budget.rows(), 0);
}

#[test]
fn rejections_are_lines_of_the_error_prefix_by_arrival() {
    let budget = Budget::new(1 << 20);
    let mut buffers = Buffers::new(Arc::clone(&budget), "errors");
    let rejection = |code, arrival| Rejection {
        code,
        message: "why".to_owned(),
        payload: vec![7; 400_000].into(),
        sequence: 3.into(),
        partition_key: None,
        arrival,
        earlier: None,
    };
    let rejections = vec![
        rejection(RejectionCode::EventInvalid, START + HOUR),
        rejection(RejectionCode::NotDecodable, START),
        rejection(RejectionCode::NotDecodable, START + 1),
    ];
    let mut batch = Decoded { rejections, ..Decoded::default() }.into();
    buffers.push(&Tables::log_events(), &mut batch, &place(), START + 9);
    assert_eq!((buffers.open(), buffers.oldest_arrival()), (2, Some(START)));
    let mut flush = buffers.take();
    let names: Vec<_> = flush.partitions.iter().map(|(partition, rows)| (partition.to_string(), rows.rows())).collect();
    assert_eq!(
        names,
        [
            ("errors/error=Record.NotDecodable/dt=2024-03-22/hour=05".to_owned(), 2),
            ("errors/error=Event.Invalid/dt=2024-03-22/hour=06".to_owned(), 1),
        ]
    );
    let segments: Vec<_> = flush.partitions.remove(0).1.into_runs(usize::MAX).flatten().collect();
    let row = segments[1].rows[0];
    let line = &segments[1].text[row.at as usize..][..row.message_len as usize];
    let line: serde_json::Value = serde_json::from_slice(line).unwrap();
    assert_eq!(line["arrivalTimestamp"], START + 1);
    assert_eq!(line["attemptEndingTimestamp"], START + 9);
}

/// 5,000 partitions of ten lines each, and one of a hundred thousand: counted bytes stay near the text.
#[test]
fn small_and_giant_partitions_waste_little() {
    let text = |payload: &TestPayload| payload.events.iter().map(|e| e.id.len() + e.message.len()).sum::<usize>();
    let budget = Budget::new(1 << 30);
    let mut buffers = Buffers::new(Arc::clone(&budget), "errors");
    let mut total = 0;
    for group in 0..5000 {
        let payload = payload(&format!("/aws/lambda/function-{group}"), (0..10).map(|i| (START + i, 120)));
        total += text(&payload);
        buffers.push(&Tables::log_events(), &mut decoded(&[payload]), &place(), 0);
    }
    let small = buffers.take();
    assert!(budget.rows() < total * 5 / 2, "{} bytes for {total} of text", budget.rows());
    drop(small);

    let mut total = 0;
    for batch in 0..1000 {
        let payload = payload("one", (0..100).map(|i| (START + batch + i, 120)));
        total += text(&payload);
        buffers.push(&Tables::log_events(), &mut decoded(&[payload]), &place(), 0);
    }
    let giant = buffers.take();
    assert!(budget.rows() < total * 13 / 10, "{} bytes for {total} of text", budget.rows());
    drop(giant);
    assert_eq!(budget.rows(), 0);
}

/// Rows that go to and fro between two hours bring their head to each once, not once a row.
#[test]
fn a_payload_has_one_head_a_segment() {
    let budget = Budget::new(1 << 20);
    let payload = payload("a", (0..100).map(|i| (START + (i % 2) * HOUR, 1)));
    for (_, rows) in flush(&budget, &[payload]).partitions {
        let segments: Vec<_> = rows.into_runs(usize::MAX).flatten().collect();
        assert!(segments.len() > 1);
        assert!(segments.iter().all(|segment| segment.heads.len() == 1));
    }
}
