//! Keeps a worker running that was built from a configuration: signals, drain, a new worker when one was taken for dead.

mod beside;
mod build;

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing::{info, warn};

use self::beside::Beside;
pub use self::build::{Base, about, aws, blocking_threads, check_log_group, cores, tabulator};
use crate::config::Loaded;
use crate::source::file::Progress;
use crate::worker::{self, Parts, Report};

/// Why a run failed, and with which exit code.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Bad usage: a file that is not there.
    #[error("{0}")]
    Usage(String),
    #[error("{0}")]
    Fatal(String),
    #[error(
        "shutdown_timeout ({0:?}) passed with work uncommitted: nothing is lost, the next worker reads it again; \
         the store may be out of reach, see the warnings above"
    )]
    ShutdownTimeout(Duration),
}

impl RunError {
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Fatal(_) | Self::ShutdownTimeout(_) => 1,
        }
    }
}

/// Runs until a signal ends it, or, when draining or reading files, until everything is committed and published.
pub async fn run(loaded: &Loaded, drain: bool) -> Result<Report, RunError> {
    let config = &loaded.config;
    let tabulator = tabulator(loaded).map_err(|bad| RunError::Usage(bad.to_string()))?;
    loaded.warnings().iter().for_each(|warning| warn!("{warning}"));
    let stop = on_signals()?;
    let base = tokio::select! {
        base = Base::new(config, Arc::new(tabulator)) => base?,
        () = stopped(stop.clone()) => return Ok(nothing_begun()),
    };
    // Before the stream is asked, which may be long out of reach: others see that then.
    let mut others = Beside::start(loaded, &base).await?;
    let (source, progress) = tokio::select! {
        source = base.source(config) => source?,
        () = stopped(stop.clone()) => return Ok(nothing_begun()),
        never = others.write() => match never {},
    };
    let parts = base.parts(config, source, drain);
    let beside = async {
        tokio::join!(show(progress), others.write());
    };
    let report = deliver(&parts, stop, config.shutdown_timeout, beside).await;
    others.finish().await;
    report
}

/// Works until it is done, or told to stop and then for `shutdown_timeout` at most. `show` is polled meanwhile.
pub async fn deliver(
    parts: &Parts,
    stop: watch::Receiver<bool>,
    shutdown_timeout: Duration,
    show: impl Future<Output = ()>,
) -> Result<Report, RunError> {
    let work = keep_working(parts, stop.clone());
    tokio::select! {
        report = work => report,
        () = show => unreachable!("it is shown until the work is done"),
        () = passed(stop, shutdown_timeout) => Err(RunError::ShutdownTimeout(shutdown_timeout)),
    }
}

/// A worker after the other: one that was taken for dead is followed by a new one with a new id.
async fn keep_working(parts: &Parts, stop: watch::Receiver<bool>) -> Result<Report, RunError> {
    let mut report = Report::default();
    loop {
        match worker::run(parts.clone(), stop.clone(), &mut report).await {
            Ok(()) => return Ok(report),
            Err(error) if error.is_fenced() && *stop.borrow() => {
                warn!("{error}, while it was ending: what it had not committed is its successor's to read");
                return Ok(report);
            }
            Err(error) if error.is_fenced() => {
                parts.telemetry.fenced();
                warn!("{error}: starting again as a new worker");
            }
            Err(error) => return Err(RunError::Fatal(error.to_string())),
        }
    }
}

/// Shows how far files are read, for as long as it is polled.
async fn show(progress: Option<Arc<Progress>>) {
    match progress {
        Some(progress) => progress.show().await,
        None => std::future::pending().await,
    }
}

pub(crate) fn fatal(error: impl std::fmt::Display) -> RunError {
    RunError::Fatal(error.to_string())
}

/// True from the first SIGTERM or SIGINT on; the second one ends the process with 128 + its number.
pub fn on_signals() -> Result<watch::Receiver<bool>, RunError> {
    let (sender, stop) = watch::channel(false);
    let handle = |kind| signal(kind).map_err(|error| RunError::Fatal(format!("signals can't be handled: {error}")));
    let (mut terminate, mut interrupt) = (handle(SignalKind::terminate())?, handle(SignalKind::interrupt())?);
    tokio::spawn(async move {
        loop {
            let (name, kind) = tokio::select! {
                _ = terminate.recv() => ("SIGTERM", SignalKind::terminate()),
                _ = interrupt.recv() => ("SIGINT", SignalKind::interrupt()),
            };
            if *sender.borrow() {
                warn!("{name} again: ending at once; what is not committed is read again by the next worker");
                std::process::exit(128 + kind.as_raw_value());
            }
            info!("{name}: committing what is buffered, then ending");
            sender.send_replace(true);
        }
    });
    Ok(stop)
}

/// So long after `stop` said so.
async fn passed(stop: watch::Receiver<bool>, bound: Duration) {
    stopped(stop).await;
    tokio::time::sleep(bound).await;
}

pub(crate) async fn stopped(mut stop: watch::Receiver<bool>) {
    // The sender lives as long as the process.
    let _ = stop.wait_for(|stop| *stop).await;
}

fn nothing_begun() -> Report {
    info!("ended before anything was begun");
    Report::default()
}
