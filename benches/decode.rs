//! Decoding speed by kind of log, in bytes of JSON: gzip as it arrives, and plain JSON to see its share.

use std::io::Write;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use firemain::decode::{DecodeConfig, Decoded, Decoder, Payloads, Scratch};
use firemain::event::Record;
use firemain::partition::KeyLimits;
use flate2::Compression;
use flate2::write::GzEncoder;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

mod messages;

use messages::{Message, access_line, application_json, stack_trace};

const RECORDS: usize = 64;
const EVENTS: u64 = 200;
/// 2024-03-22T05:00:00Z
const START: u64 = 1_711_083_600_000;

/// An envelope as CloudWatch Logs writes it, or as those do that write ids as numbers.
fn envelope(rng: &mut StdRng, message: Message, id_quote: &str) -> Vec<u8> {
    let start = START + rng.random_range(0..3_600_000);
    let events: Vec<_> = (0..EVENTS)
        .map(|n| {
            let id = format!("381{:020}{:033}", start + n, rng.random::<u64>());
            format!(
                r#"{{"id":{id_quote}{id}{id_quote},"timestamp":{},"message":{}}}"#,
                start + n * 7,
                serde_json::to_string(&message(rng)).unwrap()
            )
        })
        .collect();
    format!(
        r#"{{"messageType":"DATA_MESSAGE","owner":"123456789012","logGroup":"/aws/ecs/checkout","logStream":"app/{:x}","subscriptionFilters":["firemain"],"logEvents":[{}]}}"#,
        rng.random::<u128>(),
        events.join(",")
    )
    .into_bytes()
}

fn gzip(json: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::new(6));
    encoder.write_all(json).unwrap();
    encoder.finish().unwrap()
}

fn records(payloads: impl Iterator<Item = Vec<u8>>) -> Vec<Record> {
    let record = |(index, data): (usize, Vec<u8>)| Record {
        data: data.into(),
        sequence: (index as u64).into(),
        partition_key: Some("key".into()),
        arrival: START.cast_signed(),
        flaw: None,
        earlier: None,
    };
    payloads.enumerate().map(record).collect()
}

fn decode(criterion: &mut Criterion) {
    let decoder = Decoder::new(DecodeConfig {
        inflated_record_bytes: 64 << 20,
        longest_table: "log_events".into(),
        keys: KeyLimits { key: 1024, segment: 1024, before: 0 },
        payloads: Payloads::Envelopes,
    });
    let mixed = |rng: &mut StdRng| match rng.random_range(0..10) {
        0 => stack_trace(rng),
        1..=5 => application_json(rng),
        _ => access_line(rng),
    };
    let kinds: [(&str, Message, &str); 5] = [
        ("access lines", access_line, "\""),
        ("application json", application_json, "\""),
        ("stack traces", stack_trace, "\""),
        ("mixed", mixed, "\""),
        ("mixed, ids as numbers", mixed, ""),
    ];
    for (name, message, id_quote) in kinds {
        let mut rng = StdRng::seed_from_u64(1);
        let payloads: Vec<_> = (0..RECORDS).map(|_| envelope(&mut rng, message, id_quote)).collect();
        let mut group = criterion.benchmark_group(name);
        group.throughput(Throughput::Bytes(payloads.iter().map(|json| json.len() as u64).sum()));
        let forms =
            [("gzip", records(payloads.iter().map(|json| gzip(json)))), ("plain", records(payloads.iter().cloned()))];
        for (form, records) in forms {
            let (mut scratch, mut out) = (Scratch::new(), Decoded::default());
            group.bench_function(form, |bencher| {
                bencher.iter(|| {
                    let mut rest = &records[..];
                    while !rest.is_empty() {
                        out.clear();
                        rest = &rest[decoder.decode(&mut scratch, rest, false, &mut out)..];
                    }
                    assert!(out.rejections.is_empty());
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, decode);
criterion_main!(benches);
