//! What runs beside a worker so that others can see how it does.

use std::convert::Infallible;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tracing::info;

use super::RunError;
use crate::config::{Config, Loaded, SourceConfig};
use crate::event::Millis;
use crate::telemetry::emf::{Emf, Teller};
use crate::telemetry::health::Limits;
use crate::telemetry::page::Facts;
use crate::telemetry::server::{Server, listen};
use crate::worker::Parts;

/// Ends when it is dropped.
#[derive(Debug)]
pub struct Beside {
    _serving: JoinSet<()>,
    emf: Option<Metrics>,
}

impl Beside {
    /// Starts to serve and to write, as it is configured.
    pub async fn start(loaded: &Loaded, parts: &Parts) -> Result<Self, RunError> {
        let (config, mut serving) = (&loaded.config, JoinSet::new());
        let said = !loaded.is_default("http.listen");
        // Files are soon read: nobody looks, unless somebody wants to.
        let wanted = said || matches!(config.source, SourceConfig::Kinesis(_));
        if let Some(address) = config.http.listen.filter(|_| wanted)
            && let Some(listener) = listen(address, said).await.map_err(RunError::Fatal)?
        {
            let at = listener.local_addr().unwrap_or(address);
            info!("status page: http://{at}/");
            let server = server(config, parts);
            serving.spawn(server.serve(listener));
        }
        let emf = config.metrics.emf.map(|interval| Metrics { parts: parts.clone(), interval, emf: Emf::default() });
        Ok(Self { _serving: serving, emf })
    }

    /// Writes metrics for as long as it is polled.
    pub async fn write(&mut self) -> Infallible {
        match &mut self.emf {
            Some(metrics) => metrics.write().await,
            None => std::future::pending().await,
        }
    }

    /// The last metrics, of what came since the last ones.
    pub async fn finish(mut self) {
        if let Some(metrics) = &mut self.emf {
            metrics.lines().await;
        }
    }
}

fn server(config: &Config, parts: &Parts) -> Arc<Server> {
    let (clock, settings) = (parts.storage.clock.clone(), &parts.settings);
    let facts = Facts {
        started: clock.now(),
        group: config.group.clone(),
        source: parts.source.id().to_owned(),
        destination: config.destination.to_string(),
        host: settings.about.host.clone(),
        flush_interval: Millis::try_from(config.flush.interval.as_millis()).unwrap_or(Millis::MAX),
        buffer_limit: config.flush.buffer_bytes,
    };
    let limits = Limits { flush_interval: config.flush.interval, stuck_after: config.stuck_after };
    Server::new(parts.telemetry.clone(), clock, facts, limits, config.metrics.prometheus)
}

/// Metrics on standard output.
#[derive(Debug)]
struct Metrics {
    parts: Parts,
    interval: Duration,
    emf: Emf,
}

impl Metrics {
    async fn write(&mut self) -> Infallible {
        let mut ticks = interval(self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        loop {
            ticks.tick().await;
            self.lines().await;
        }
    }

    async fn lines(&mut self) {
        let Parts { telemetry, storage, settings, .. } = &self.parts;
        let now = storage.clock.now();
        let worker = telemetry.live().worker.as_ref().map(ToString::to_string).unwrap_or_default();
        let teller = Teller { group: &settings.group, worker: &worker };
        let lines: String =
            self.emf.lines(telemetry.metrics_at(now), teller, now).iter().map(|line| format!("{line}\n")).collect();
        // In a thread: whoever reads standard output may be slow. Nobody is told when he has gone.
        let _ = tokio::task::spawn_blocking(move || std::io::stdout().lock().write_all(lines.as_bytes())).await;
    }
}
