//! The whole worker, from a source to the lake, on paused time: a scripted source, a store in memory, faults between.

mod books;
mod crash;
mod flow;
mod lake;
mod registering;
mod script;
mod seen;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use firemain::clock::Clock;
use firemain::commit::log::KEPT;
use firemain::commit::peers::About;
use firemain::commit::storage::Storage;
use firemain::config::{Compression, FlushConfig, Format, FormatKind};
use firemain::decode::{DecodeConfig, Decoder, Payloads};
use firemain::partition::KeyLimits;
use firemain::retry::Patience;
use firemain::table::tabulate::Tabulator;
use firemain::worker::compute::Compute;
use firemain::worker::{self, Parts, Report, Settings, WorkerError};
use object_store::ObjectStore;
use tokio::sync::watch;

use self::script::ScriptedSource;

/// 2024-03-22T05:00:00Z.
const START: i64 = 1_711_083_600_000;
const LEASE: Duration = Duration::from_secs(30);

/// A worker process that reads this source and writes to this store, with a flush a minute.
fn parts(source: &ScriptedSource, store: Arc<dyn ObjectStore>, drain: bool) -> Parts {
    // Another seed for each process: the same one would give it the same id.
    static SEED: AtomicU64 = AtomicU64::new(1);
    let clock = Clock::simulated(SEED.fetch_add(1, Ordering::Relaxed), START);
    let keys = KeyLimits { key: 1024, segment: 1024, before: 0 };
    let flush = FlushConfig {
        interval: Duration::from_secs(60),
        buffer_bytes: 32 << 20,
        object_bytes: 128 << 20,
        open_partitions: 100,
    };
    let settings = Settings {
        group: "test".into(),
        lease: LEASE,
        snapshots_kept: KEPT,
        flush,
        format: Format { kind: FormatKind::Json, compression: Compression::None, level: 0 },
        bloom_filters: Arc::default(),
        errors: "errors".into(),
        drain,
        compute: Compute::Threads(2),
        stuck_after: Duration::from_secs(600),
        about: About::default(),
    };
    Parts {
        source: Arc::new(source.clone()),
        storage: Storage::new(store, true, clock, Patience::default()),
        decoder: Arc::new(Decoder::new(DecodeConfig {
            inflated_record_bytes: 1 << 20,
            longest_table: "log_events".into(),
            keys,
            payloads: Payloads::Envelopes,
        })),
        tabulator: Tabulator::log_events(),
        registrar: None,
        telemetry: firemain::telemetry::Telemetry::default(),
        settings,
    }
}

/// A worker's life, and what it did.
async fn run(parts: Parts, stop: watch::Receiver<bool>) -> Result<Report, WorkerError> {
    let mut report = Report::default();
    worker::run(parts, stop, &mut report).await?;
    Ok(report)
}

/// A stop signal that never comes.
fn never() -> watch::Receiver<bool> {
    let (sender, stop) = watch::channel(false);
    std::mem::forget(sender);
    stop
}
