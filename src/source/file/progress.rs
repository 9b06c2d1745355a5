//! How far the reading of files has come.

use std::io::{IsTerminal, Read, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytesize::ByteSize;
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::{Instant, sleep};
use tracing::info;

/// Between two looks of a bar, and between two lines of a log.
const FRAME: Duration = Duration::from_millis(200);
const LINE: Duration = Duration::from_secs(5);
const WITH_TOTAL: &str = "{bar:40} {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left";
const WITHOUT_TOTAL: &str = "{spinner} {decimal_bytes}, {decimal_bytes_per_sec}";

/// Counters that readers move and a person's display reads.
#[derive(Debug, Default)]
pub struct Progress {
    /// Bytes of all files; `None` when one of them has no known end.
    total: Option<u64>,
    read: AtomicU64,
    records: AtomicU64,
}

impl Progress {
    pub fn new(total: u64, endless: bool) -> Self {
        Self { total: (!endless).then_some(total), ..Self::default() }
    }

    /// Bytes of all files, where that is known.
    pub fn total(&self) -> Option<u64> {
        self.total
    }

    /// Bytes read so far.
    pub fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    /// Records handed on so far.
    pub fn handed_on(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// Shows it until it is dropped: a bar on a terminal, a line now and then elsewhere.
    pub async fn show(&self) {
        if stderr().is_terminal() {
            let bar = self.total.map_or_else(ProgressBar::new_spinner, ProgressBar::new);
            let template = if self.total.is_some() { WITH_TOTAL } else { WITHOUT_TOTAL };
            bar.set_style(ProgressStyle::with_template(template).expect("the templates are valid"));
            loop {
                bar.set_position(self.read());
                sleep(FRAME).await;
            }
        }
        let began = Instant::now();
        loop {
            sleep(LINE).await;
            let (read, seconds) = (self.read(), began.elapsed().as_secs_f64());
            let left = self.total.filter(|_| read > 0).map(|total| {
                let left = total.saturating_sub(read) as f64 / read as f64 * seconds;
                format!(" of {}, about {left:.0} s left", ByteSize::b(total))
            });
            let rate = ByteSize::b((read as f64 / seconds) as u64);
            info!(records = self.handed_on(), "read {}{}, {rate}/s", ByteSize::b(read), left.unwrap_or_default());
        }
    }

    pub(super) fn records(&self, records: usize) {
        self.records.fetch_add(records as u64, Ordering::Relaxed);
    }

    /// Counts what goes through.
    pub(super) fn counting<R: Read>(self: &Arc<Self>, input: R) -> Counting<R> {
        Counting { input, progress: Arc::clone(self) }
    }
}

pub struct Counting<R> {
    input: R,
    progress: Arc<Progress>,
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.input.read(into)?;
        self.progress.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}
