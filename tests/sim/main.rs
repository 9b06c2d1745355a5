//! The simulation: real workers, real protocol, real Kinesis reader, over a simulated service and bucket, on simulated
//! time. A history follows from its seed alone: which workers come, crash, freeze and wake; which requests fail, lose
//! their answer or land late; how the stream splits and merges; when nothing can be reached, when clocks are set.
//!
//! After every request that reached the store the invariants of `docs/protocol.md` are checked; at the end, that every
//! row is visible exactly once and that shards are spread evenly.
//!
//! `SIM_SEEDS=<n>` runs so many, `SIM_SEED=<seed>` repeats one and prints what happened (with the
//! log of the workers if `RUST_LOG=firemain=debug`); see `just sim`.

mod broken;
mod chaos;
mod contention;
mod history;
mod service;
mod stream;
#[path = "../support/mod.rs"]
mod support;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Run by every `cargo test`; more by `just sim`.
const SEEDS: u64 = 100;

#[test]
fn every_history_delivers_everything_exactly_once() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    if let Some(seed) = number("SIM_SEED") {
        let log = tracing_subscriber::fmt().without_time().with_ansi(false).with_writer(std::io::stderr);
        log.with_env_filter(tracing_subscriber::EnvFilter::from_default_env()).init();
        println!("{}", history::run(seed).unwrap_or_else(|failure| panic!("{failure}")).join("\n"));
        return;
    }
    let seeds = number("SIM_SEEDS").unwrap_or(SEEDS);
    let first = number("SIM_FIRST").unwrap_or_else(|| u64::from(rand::random::<u32>()) << 20);
    println!("seeds {first} to {}", first + seeds - 1);
    let (next, done) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, |cores| cores.get()) {
            scope.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= seeds {
                        break;
                    }
                    if let Err(failure) = history::run(first + n) {
                        // The other threads need not go on.
                        next.store(seeds, Ordering::Relaxed);
                        panic!("{failure}");
                    }
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    if done.is_multiple_of(5000) {
                        println!("{done} of {seeds} histories");
                    }
                }
            });
        }
    });
}

/// Without this, a seed would be of no use.
#[test]
fn a_seed_repeats_its_history() {
    for seed in 0..5 {
        assert_eq!(history::run(seed), history::run(seed));
    }
}
