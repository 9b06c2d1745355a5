//! How far a replay has come.

use std::io::{IsTerminal, stderr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Instant, sleep};
use tracing::info;

use crate::telemetry::Telemetry;

/// Between two looks of a bar, and between two lines of a log.
const FRAME: Duration = Duration::from_millis(200);
const LINE: Duration = Duration::from_secs(5);
const TEMPLATE: &str = "{bar:40} {decimal_bytes} of {decimal_total_bytes}, {msg}, {eta} left";

/// What readers move and a person's display reads.
#[derive(Debug, Default)]
pub struct Progress {
    objects: AtomicU64,
    bytes: AtomicU64,
    objects_in_all: AtomicU64,
    bytes_in_all: AtomicU64,
}

impl Progress {
    pub(super) fn expect(&self, objects: u64, bytes: u64) {
        self.objects_in_all.store(objects, Ordering::Relaxed);
        self.bytes_in_all.store(bytes, Ordering::Relaxed);
    }

    pub(super) fn read(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn object(&self) {
        self.objects.fetch_add(1, Ordering::Relaxed);
    }

    /// Shows it until it is dropped: a bar on a terminal, a line now and then elsewhere.
    pub async fn show(&self, telemetry: &Telemetry) {
        let began = Instant::now();
        let get = |number: &AtomicU64| number.load(Ordering::Relaxed);
        let told = || {
            let (events, seconds) = (telemetry.metrics().events.get(), began.elapsed().as_secs_f64());
            let rate = events as f64 / seconds.max(0.001);
            format!("{} of {} objects, {events} events, {rate:.0}/s", get(&self.objects), get(&self.objects_in_all))
        };
        if stderr().is_terminal() {
            let bar = ProgressBar::new(get(&self.bytes_in_all));
            bar.set_style(ProgressStyle::with_template(TEMPLATE).expect("the template is valid"));
            loop {
                bar.set_position(get(&self.bytes));
                bar.set_message(told());
                sleep(FRAME).await;
            }
        }
        loop {
            sleep(LINE).await;
            let (read, all) = (get(&self.bytes), get(&self.bytes_in_all));
            let left = began.elapsed().as_secs_f64() * all.saturating_sub(read) as f64 / (read as f64).max(1.0);
            info!("read {}, about {left:.0} s left", told());
        }
    }
}
