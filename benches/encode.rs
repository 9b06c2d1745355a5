//! Buffers and encoders on one thread, in bytes of the decoded JSON that the rows came from.

use std::fmt::Write;
use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use firemain::buffer::{Budget, Buffers, Place};
use firemain::config::{Compression, Format, FormatKind};
use firemain::decode::{Decoded, Payload, Row};
use firemain::encode::{EncodeSettings, encode};
use firemain::partition::Partition;
use firemain::table::tables::Tables;
use firemain::table::tabulate::Tabulated;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const START: i64 = 1_711_083_600_000;
const EVENTS: usize = 400_000;
const PAYLOAD: usize = 100;
const MIB: usize = 1 << 20;

/// Access lines, JSON application logs and stack traces, as services write them.
fn message(rng: &mut StdRng, out: &mut String) {
    let (a, b, c): (u32, u32, u64) = (rng.random(), rng.random(), rng.random());
    let path = ["/api/v1/orders", "/api/v1/users", "/health", "/static/app.js"][a as usize % 4];
    let status = [200, 200, 200, 201, 304, 404, 500][b as usize % 7];
    match rng.random_range(0..20) {
        0..8 => write!(
            out,
            "10.{}.{}.{} - - [22/Mar/2024:05:{:02}:{:02} +0000] \"GET {path}/{} HTTP/1.1\" {status} {} \"-\" \
             \"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\"",
            a % 4,
            b % 256,
            a % 256,
            a % 60,
            b % 60,
            c % 100_000,
            b % 50_000,
        ),
        8..19 => write!(
            out,
            "{{\"level\":\"info\",\"service\":\"checkout\",\"request_id\":\"{c:016x}\",\"path\":\"{path}\",\
             \"status\":{status},\"duration_ms\":{},\"user\":\"user-{}\",\"msg\":\"request handled\"}}",
            a % 900,
            b % 10_000,
        ),
        _ => write!(
            out,
            "java.lang.IllegalStateException: order {c:x} is closed\n\tat com.example.Orders.close(Orders.java:{})\n\
             \tat com.example.Api.handle(Api.java:{})\n\tat java.base/java.lang.Thread.run(Thread.java:840)",
            a % 500,
            b % 300,
        ),
    }
    .expect("a string takes it");
}

/// One batch a payload, over `groups` log groups, and the bytes of JSON that they stand for.
fn batches(groups: usize, events: usize) -> (Vec<Tabulated>, u64) {
    let mut rng = StdRng::seed_from_u64(7);
    let mut bytes = 0;
    let mut line = String::new();
    let batches = (0..events / PAYLOAD)
        .map(|payload| {
            let mut out = Decoded::default();
            let put = |out: &mut Decoded, text: &str| {
                out.text.extend_from_slice(text.as_bytes());
                out.text.len() - text.len()..out.text.len()
            };
            let log_group = put(&mut out, &format!("/aws/lambda/service-{}", payload % groups));
            let log_stream = put(&mut out, &format!("2024/03/22/[$LATEST]{:032x}", payload * 31 % 50));
            let owner = put(&mut out, "123456789012");
            // What the envelope has beside its events.
            bytes += 250;
            for i in 0..PAYLOAD {
                let timestamp = START + (payload as i64 * 800 + i as i64 * 17) % 3_600_000;
                line.clear();
                write!(line, "{:056}", 38_000_000_000_000_000_000u128 + (payload * PAYLOAD + i) as u128 * 977)
                    .expect("a string takes it");
                let id_len = line.len() as u32;
                message(&mut rng, &mut line);
                let at = put(&mut out, &line).start;
                out.rows.push(Row { timestamp, at, id_len, message_len: line.len() as u32 - id_len });
                // Keys, braces and commas of an event, and the escapes of its message.
                bytes += line.len() as u64 + 52 + line.matches(['"', '\n', '\t', '\\']).count() as u64;
            }
            out.payloads.push(Payload {
                rows: 0..PAYLOAD,
                log_group,
                log_stream: Some(log_stream),
                owner: Some(owner),
                arrival: START + payload as i64 * 7,
                sequence: (payload as u64).into(),
                partition_key: None,
                enveloped: true,
                earlier: None,
            });
            out.into()
        })
        .collect();
    (batches, bytes)
}

fn filled(batches: &mut [Tabulated]) -> Buffers {
    let mut buffers = Buffers::new(Budget::new(1 << 30), "errors");
    let place = Place { shard: "shardId-000000000000".into(), stream: Some("app-logs".into()) };
    let tables = Tables::log_events();
    for batch in batches {
        buffers.push(&tables, batch, &place, START);
    }
    buffers
}

fn settings(kind: FormatKind, compression: Compression, level: i32) -> EncodeSettings {
    EncodeSettings {
        format: Format { kind, compression, level },
        object_bytes: 128 * MIB,
        tables: Tables::log_events(),
        bloom_filters: Arc::default(),
        budget: Budget::new(1 << 30),
    }
}

fn encode_all(buffers: Buffers, settings: &EncodeSettings) -> usize {
    let mut buffers = buffers;
    let partitions: Vec<(Partition, _)> = buffers.take().partitions;
    partitions
        .into_iter()
        .flat_map(|(partition, rows)| encode(&partition, rows, 32 * MIB, settings).expect("rows can be encoded"))
        .map(|object| object.len())
        .sum()
}

fn benches(c: &mut Criterion) {
    for (groups, events) in [(3, EVENTS), (4_000, EVENTS)] {
        let (mut batches, bytes) = batches(groups, events);
        let mut group = c.benchmark_group(format!("{groups} log groups"));
        group.throughput(Throughput::Bytes(bytes)).sample_size(10).sampling_mode(SamplingMode::Flat);
        group.bench_function("buffer", |b| b.iter_with_large_drop(|| filled(black_box(&mut batches))));
        for (name, settings) in [
            ("parquet, zstd 1", settings(FormatKind::Parquet, Compression::Zstd, 1)),
            ("parquet, zstd 3", settings(FormatKind::Parquet, Compression::Zstd, 3)),
            ("parquet, none", settings(FormatKind::Parquet, Compression::None, 0)),
            ("json, gzip 6", settings(FormatKind::Json, Compression::Gzip, 6)),
            ("json, zstd 1", settings(FormatKind::Json, Compression::Zstd, 1)),
        ] {
            let packed = encode_all(filled(&mut batches), &settings);
            println!("{name}: {bytes} bytes of JSON become {packed}");
            group.bench_function(name, |b| {
                b.iter_batched(|| filled(&mut batches), |rows| encode_all(rows, &settings), BatchSize::PerIteration)
            });
        }
        group.finish();
    }
}

criterion_group!(encoding, benches);
criterion_main!(encoding);
