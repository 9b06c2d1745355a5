//! What runs beside a worker so that others can see how it does.

use std::convert::Infallible;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tracing::info;

use super::{Base, RunError, about};
use crate::clock::Clock;
use crate::config::{Config, Loaded, SourceConfig};
use crate::event::Millis;
use crate::telemetry::Telemetry;
use crate::telemetry::emf::{Emf, Teller};
use crate::telemetry::health::Limits;
use crate::telemetry::page::Facts;
use crate::telemetry::server::{Server, listen};

/// How long the last metrics may take to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// Ends when it is dropped.
#[derive(Debug)]
pub struct Beside {
    _serving: JoinSet<()>,
    emf: Option<Metrics>,
}

impl Beside {
    /// Starts to serve and to write, as it is configured.
    pub async fn start(loaded: &Loaded, base: &Base) -> Result<Self, RunError> {
        let (config, mut serving) = (&loaded.config, JoinSet::new());
        let said = !loaded.is_default("http.listen");
        // Files are soon read: nobody looks, unless somebody wants to.
        let wanted = said || matches!(config.source, SourceConfig::Kinesis(_));
        if let Some(address) = config.http.listen.filter(|_| wanted)
            && let Some(listener) = listen(address, said).await.map_err(RunError::Fatal)?
        {
            let at = listener.local_addr().unwrap_or(address);
            info!("status page: http://{at}/");
            let server = server(config, base);
            serving.spawn(server.serve(listener));
        }
        let emf = config.metrics.emf.map(|interval| Metrics {
            telemetry: base.telemetry.clone(),
            clock: base.storage.clock.clone(),
            group: config.group.clone(),
            interval,
            emf: Emf::default(),
        });
        Ok(Self { _serving: serving, emf })
    }

    /// Writes metrics for as long as it is polled.
    pub async fn write(&mut self) -> Infallible {
        match &mut self.emf {
            Some(metrics) => metrics.write().await,
            None => std::future::pending().await,
        }
    }

    /// The last metrics, of what came since the last ones. Who reads them too slowly goes without.
    pub async fn finish(mut self) {
        if let Some(metrics) = &mut self.emf {
            let _ = timeout(LAST_LINES, metrics.lines()).await;
        }
    }
}

fn server(config: &Config, base: &Base) -> Arc<Server> {
    let clock = base.storage.clock.clone();
    let source = match &config.source {
        SourceConfig::Kinesis(stream) => stream.stream.clone(),
        SourceConfig::File(files) => files.paths.join(", "),
        SourceConfig::None => String::new(),
    };
    let facts = Facts {
        started: clock.now(),
        group: config.group.clone(),
        source,
        destination: config.destination.to_string(),
        host: about().host,
        flush_interval: Millis::try_from(config.flush.interval.as_millis()).unwrap_or(Millis::MAX),
        buffer_limit: config.flush.buffer_bytes,
    };
    let limits = Limits { flush_interval: config.flush.interval, stuck_after: config.stuck_after };
    Server::new(base.telemetry.clone(), clock, facts, limits, config.metrics.prometheus)
}

/// Metrics on standard output.
#[derive(Debug)]
struct Metrics {
    telemetry: Telemetry,
    clock: Clock,
    group: String,
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
        let Self { telemetry, clock, group, emf, .. } = self;
        let now = clock.now();
        let worker = telemetry.live().worker.as_ref().map(ToString::to_string).unwrap_or_default();
        let teller = Teller { group, worker: &worker };
        let lines: String =
            emf.lines(telemetry.metrics_at(now), teller, now).iter().map(|line| format!("{line}\n")).collect();
        // In a thread: whoever reads standard output may be slow. Nobody is told when he has gone.
        let _ = tokio::task::spawn_blocking(move || std::io::stdout().lock().write_all(lines.as_bytes())).await;
    }
}
