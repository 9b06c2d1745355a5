//! The whole worker with a store that takes its time: how much of the throughput is left when each put takes 200 ms and
//! each flush has a thousand partitions. Reading, decoding, encoding and publishing should go on beside each other.
//!
//!     cargo bench --bench latency [-- ROUNDS]

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use firemain::clock::Clock;
use firemain::commit::log::KEPT;
use firemain::commit::peers::About;
use firemain::commit::storage::Storage;
use firemain::config::{Compression, FlushConfig, Format, FormatKind};
use firemain::decode::{DecodeConfig, Decoder, Payloads};
use firemain::event::{Record, ShardId};
use firemain::generate::{Generator, Plan};
use firemain::partition::KeyLimits;
use firemain::position::Position;
use firemain::retry::Patience;
use firemain::service::blocking_threads;
use firemain::source::{Batch, Reader, Shard, Source, SourceError};
use firemain::table::tabulate::Tabulator;
use firemain::worker::compute::Compute;
use firemain::worker::{Parts, Report, Settings, run};
use object_store::memory::InMemory;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use tokio::sync::watch;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const LATENCY: Duration = Duration::from_millis(200);
const LOG_GROUPS: usize = 1_000;
const EVENTS: u64 = 1_000_000;
const SHARDS: usize = 4;
/// How often the records are read, in a short run and in a long one. What they differ by has neither the start nor the
/// end in it, which are some dozens of requests one after the other, whatever the amount.
const SHORT: u64 = 2;
const LONG: u64 = 8;

/// Records in memory, each shard with its part of them, over and over.
#[derive(Debug)]
struct Memory {
    shards: Vec<Arc<[Record]>>,
    times: u64,
}

impl Memory {
    /// With the bytes of JSON that they come to each time.
    fn new(times: u64) -> (Self, u64) {
        let plan = Plan {
            events: EVENTS,
            log_groups: LOG_GROUPS,
            seed: 7,
            poison: 0,
            start: 1_711_083_600_000,
            span: 600_000,
        };
        let (mut shards, mut bytes) = (vec![Vec::new(); SHARDS], 0);
        for (n, made) in Generator::new(plan).enumerate() {
            bytes += made.json_bytes;
            shards[n % SHARDS].push(Record {
                data: made.data,
                sequence: 0.into(),
                partition_key: None,
                arrival: made.arrival,
                flaw: None,
                earlier: None,
            });
        }
        (Self { shards: shards.into_iter().map(Into::into).collect(), times }, bytes)
    }
}

#[async_trait]
impl Source for Memory {
    fn id(&self) -> &str {
        "memory"
    }

    fn stream(&self) -> Option<&str> {
        None
    }

    async fn shards(&self) -> Result<Vec<Shard>, SourceError> {
        Ok((0..SHARDS).map(|n| Shard { id: n.to_string().as_str().into(), parents: Vec::new() }).collect())
    }

    fn start(&self) -> Position {
        Position::TrimHorizon
    }

    fn ends(&self) -> bool {
        true
    }

    async fn open(&self, shard: &ShardId, _: &Position) -> Result<Box<dyn Reader>, SourceError> {
        let records = Arc::clone(&self.shards[shard.as_str().parse::<usize>().expect("a shard of this source")]);
        let end = records.len() as u64 * self.times;
        Ok(Box::new(Looping { records, next: 0, end }))
    }
}

#[derive(Debug)]
struct Looping {
    records: Arc<[Record]>,
    next: u64,
    end: u64,
}

#[async_trait]
impl Reader for Looping {
    async fn next(&mut self) -> Result<Batch, SourceError> {
        let upto = (self.next + 20).min(self.end);
        let record = |n: u64| Record { sequence: n.into(), ..self.records[n as usize % self.records.len()].clone() };
        let records = (self.next..upto).map(record).collect();
        self.next = upto;
        let at_end = upto == self.end;
        Ok(Batch { records, at_tip: at_end, at_end, ..Batch::default() })
    }
}

/// Delivers everything. Returns wall seconds and the number of commits.
fn deliver(source: &Arc<Memory>, latency: Duration, cores: usize) -> (f64, u64) {
    let config = ThrottleConfig {
        wait_put_per_call: latency,
        wait_get_per_call: latency,
        wait_list_per_call: latency,
        wait_delete_per_call: latency,
        ..ThrottleConfig::default()
    };
    let store = Arc::new(ThrottledStore::new(InMemory::new(), config));
    let settings = Settings {
        group: "bench".into(),
        lease: Duration::from_secs(30),
        snapshots_kept: KEPT,
        flush: FlushConfig {
            interval: Duration::from_secs(300),
            buffer_bytes: 256 << 20,
            object_bytes: 128 << 20,
            open_partitions: 5_000,
        },
        format: Format { kind: FormatKind::Parquet, compression: Compression::Zstd, level: 1 },
        bloom_filters: Arc::default(),
        errors: "errors".into(),
        drain: true,
        compute: Compute::Threads(cores),
        stuck_after: Duration::from_secs(600),
        about: About::default(),
    };
    let decode = DecodeConfig {
        payloads: Payloads::Envelopes,
        inflated_record_bytes: 64 << 20,
        longest_table: "log_events".into(),
        keys: KeyLimits { key: 1024, segment: 1024, before: 0 },
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(cores)
        .max_blocking_threads(blocking_threads())
        .enable_all()
        .build()
        .expect("a runtime");
    let began = Instant::now();
    let report = runtime.block_on(async {
        let parts = Parts {
            source: Arc::clone(source) as Arc<dyn Source>,
            storage: Storage::new(store, true, Clock::system(), Patience::default()),
            decoder: Arc::new(Decoder::new(decode)),
            tabulator: Tabulator::log_events(),
            registrar: None,
            telemetry: firemain::telemetry::Telemetry::default(),
            settings,
        };
        let (_sender, stop) = watch::channel(false);
        let mut report = Report::default();
        run(parts, stop, &mut report).await.expect("nothing fails here");
        report
    });
    assert_eq!(report.counts.events, EVENTS * source.times);
    (began.elapsed().as_secs_f64(), report.commits)
}

fn main() {
    let rounds = std::env::args().skip(1).find_map(|word| word.parse().ok()).unwrap_or(3);
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get()).min(2);
    let (long, bytes) = Memory::new(LONG);
    let short = Arc::new(Memory { shards: long.shards.clone(), times: SHORT });
    let (long, megabytes) = (Arc::new(long), (bytes * (LONG - SHORT)) as f64 / 1e6);
    println!("{megabytes:.0} MB of JSON in {LOG_GROUPS} log groups, {cores} cores");
    for round in 1..=rounds {
        let [none, late] = [Duration::ZERO, LATENCY].map(|latency| {
            let ((short, before), (long, after)) = (deliver(&short, latency, cores), deliver(&long, latency, cores));
            println!("  {:.1} s and {} flushes with {latency:?}", long - short, after - before);
            megabytes / (long - short)
        });
        println!(
            "round {round}: without latency {none:.0} MB/s, with {LATENCY:?} {late:.0} MB/s: {:.0} %",
            100.0 * late / none
        );
    }
}
