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
use serde_json::json;

const RECORDS: usize = 64;
const EVENTS: u64 = 200;
/// 2024-03-22T05:00:00Z
const START: u64 = 1_711_083_600_000;

/// Makes a message of some kind.
type Message = fn(&mut StdRng) -> String;

fn access_line(rng: &mut StdRng) -> String {
    let path = ["/", "/index.html", "/api/v1/orders", "/api/v1/users/me", "/static/app.3f9d2c.js", "/health"];
    let agent = [
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36",
        "curl/8.5.0",
        "ELB-HealthChecker/2.0",
    ];
    format!(
        r#"10.{}.{}.{} - - [22/Mar/2024:05:{:02}:{:02} +0000] "GET {}?q={:x} HTTP/1.1" {} {} "-" "{}""#,
        rng.random::<u8>(),
        rng.random::<u8>(),
        rng.random::<u8>(),
        rng.random_range(0..60),
        rng.random_range(0..60),
        path[rng.random_range(0..path.len())],
        rng.random::<u32>(),
        [200, 200, 200, 304, 404, 500][rng.random_range(0..6)],
        rng.random_range(100..90_000),
        agent[rng.random_range(0..agent.len())],
    )
}

fn application_json(rng: &mut StdRng) -> String {
    let level = ["INFO", "INFO", "WARN", "ERROR"][rng.random_range(0..4)];
    json!({
        "timestamp": format!("2024-03-22T05:{:02}:{:02}.{:03}Z", rng.random_range(0..60), rng.random_range(0..60), rng.random_range(0..1000)),
        "level": level,
        "service": "checkout",
        "requestId": format!("{:032x}", rng.random::<u128>()),
        "userId": rng.random_range(1..100_000),
        "durationMs": f64::from(rng.random_range(0..500_000)) / 1000.0,
        "message": "order placed",
        "tags": ["eu-west-1", "blue"],
    })
    .to_string()
}

fn stack_trace(rng: &mut StdRng) -> String {
    let mut trace =
        format!("java.lang.IllegalStateException: order {} is \"closed\"\n", rng.random_range(1..1_000_000));
    for _ in 0..rng.random_range(8..24) {
        let class = ["OrderService", "PaymentClient", "RetryTemplate", "HttpServlet"][rng.random_range(0..4)];
        let line = rng.random_range(10..900);
        trace.push_str(&format!("\tat com.example.shop.{class}.invoke({class}.java:{line})\n"));
    }
    trace
}

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
    };
    payloads.enumerate().map(record).collect()
}

fn decode(criterion: &mut Criterion) {
    let decoder = Decoder::new(DecodeConfig {
        inflated_record_bytes: 64 << 20,
        table: "log_events".into(),
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
