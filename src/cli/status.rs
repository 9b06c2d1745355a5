//! `firemain status`: how a group stands.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::time::sleep;

use super::output::{self, BAD, Cell, Column, Form, GOOD, POOR, counted, painted, table};
use super::{ConfigArgs, Failure};
use crate::config::{Config, KinesisConfig, Mode, Needs, SourceConfig};
use crate::event::Millis;
use crate::inspect::shown::{Time, escaped, escaped_json};
use crate::position::Position;
use crate::replay;
use crate::service::{self, Base};
use crate::source::Source;
use crate::status::{self, Question, Status, span};

pub const EXAMPLES: &str = "\
Reads the state below the destination, the workers' heartbeats, and of each shard what lies behind its position (one \
GetRecords a shard). Writes nothing, and disturbs nobody.

Exit code 1 when something is wrong: no worker that shows a sign of life, a pack that is not published after 10 minutes, a \
shard that is further behind than --max-lag, or no state at all. With --replays no worker is as it should be, unless one \
has left something unfinished. Positions that expired are told and wrong no more: they have happened.

Examples:
  firemain status --config firemain.toml
  firemain status --config firemain.toml --watch    again every five seconds
  firemain status --destination s3://my-lake/logs   without a source: nobody knows how far shards are behind
  firemain status --config firemain.toml --output json | jq '.shards[] | select(.millis_behind > 60000)'";

#[derive(Debug, Args)]
pub struct StatusArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Of the group that all replays into this destination share
    #[arg(long, conflicts_with_all = ["group", "max_lag"])]
    replays: bool,
    /// How far a shard may be behind; of the stream that is configured [default: twice flush.interval and a minute]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    max_lag: Option<Duration>,
    /// Look again and again, every so many seconds, until it is ended
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "5",
        value_parser = clap::value_parser!(u64).range(1..))]
    watch: Option<u64>,
    /// In what form; JSON that is watched is a line each time
    #[arg(long, value_enum, default_value_t)]
    output: Form,
}

pub async fn run(args: StatusArgs) -> Result<(), Failure> {
    let StatusArgs { config, replays, max_lag, watch, output } = args;
    let loaded = config.load_for(Needs::NoSource)?;
    let tabulator = service::tabulator(&loaded).map_err(|bad| Failure::usage(bad.to_string()))?;
    let config = &loaded.config;
    if max_lag.is_some() && !matches!(config.source, SourceConfig::Kinesis(_)) {
        return Err(Failure::usage(
            "--max-lag needs a stream to be looked at: say `source.kinesis.stream`, or --source kinesis://NAME, or leave it out",
        ));
    }
    let base = Base::new(config, Arc::new(tabulator)).await?;
    let source = stream(&base, config).await?;
    let max_lag = max_lag.unwrap_or(config.flush.interval * 2 + Duration::from_secs(60));
    let (group, source) = if replays { (replay::GROUP, None) } else { (config.group.as_str(), source) };
    let question = Question { group, lease: config.lease_timeout, max_lag };
    loop {
        let status = status::look(&base.storage, source.as_ref(), question).await;
        let status = status.map_err(|error| Failure::fatal(error.to_string()))?;
        match (output, watch) {
            (Form::Json, None) => output::print_json(&status)?,
            (Form::Json, Some(_)) => {
                let line = serde_json::to_string(&status).expect("plain values are always JSON");
                output::print(&format!("{}\n", escaped_json(&line)))?;
            }
            (Form::Text, None) => output::print(&told(&status))?,
            (Form::Text, Some(_)) => output::print_anew(&Time(status.at).to_string(), &told(&status))?,
        }
        match watch {
            Some(seconds) => sleep(Duration::from_secs(seconds)).await,
            None if status.problems.is_empty() => return Ok(()),
            None => return Err(Failure::told()),
        }
    }
}

/// The stream, to be looked at by GetRecords alone: a fan-out consumer is left to its workers.
async fn stream(base: &Base, config: &Config) -> Result<Option<Arc<dyn Source>>, Failure> {
    let SourceConfig::Kinesis(stream) = &config.source else { return Ok(None) };
    let polled = SourceConfig::Kinesis(KinesisConfig { mode: Mode::Polling, ..stream.clone() });
    let (source, _) = base.source(&Config { source: polled, ..config.clone() }).await?;
    Ok(Some(source))
}

fn told(status: &Status) -> String {
    let mut text = String::new();
    let Status { group, source, snapshot, totals, .. } = status;
    if *snapshot > 0 {
        let _ = writeln!(text, "group {group}, snapshot {snapshot}, reads {}\n", escaped(source));
        text.push_str(&shards(status));
        text.push_str(&workers(status));
        text.push_str(&packs(status));
        let _ = writeln!(
            text,
            "since it began: {}, {}, {}, {}, {} in {}",
            counted(totals.records, "record"),
            counted(totals.events, "event"),
            counted(totals.rejections, "rejection"),
            counted(totals.control, "control message"),
            bytesize::ByteSize::b(totals.bytes),
            counted(totals.objects, "object"),
        );
    }
    for note in &status.notes {
        let _ = writeln!(text, "{}", painted(POOR, &escaped(&note.to_string())));
    }
    if status.problems.is_empty() {
        let well = if status.notes.is_empty() { "all is well" } else { "all else is well" };
        let _ = writeln!(text, "{}", painted(GOOD, well));
    }
    for problem in &status.problems {
        let _ = writeln!(text, "{}", painted(BAD, &escaped(&problem.to_string())));
    }
    text
}

fn shards(status: &Status) -> String {
    let columns = [
        Column::left("shard"),
        Column::left("position"),
        Column::left("owner"),
        Column::right("committed"),
        Column::right("behind"),
    ];
    let (ended, open): (Vec<_>, Vec<_>) = status.shards.iter().partition(|shard| shard.position == Position::End);
    let rows = open.into_iter().map(|shard| {
        let owner = shard.owner.as_deref().map_or_else(|| Cell::painted(POOR, "nobody"), |owner| short(owner).into());
        let behind = shard.millis_behind.map(|behind| span(Millis::try_from(behind).unwrap_or(Millis::MAX)));
        [
            shard.id.as_str().into(),
            position(&shard.position).into(),
            owner,
            ago(shard.committed_age).into(),
            behind.unwrap_or_else(|| "?".to_owned()).into(),
        ]
    });
    let ended = match ended.len() {
        0 => String::new(),
        count => format!("{} read to the end\n", counted(count as u64, "shard")),
    };
    let open = if rows.len() > 0 { table(columns, rows) } else { String::new() };
    format!("{open}{ended}\n")
}

fn workers(status: &Status) -> String {
    let columns = [
        Column::left("worker"),
        Column::left("host"),
        Column::right("pid"),
        Column::left("version"),
        Column::right("shards"),
        Column::right("heartbeat"),
    ];
    let rows = status.workers.iter().map(|worker| {
        let heartbeat = ago(worker.heartbeat_age);
        let heartbeat = match (worker.alive, worker.member) {
            (true, true) => heartbeat.into(),
            (true, false) => Cell::painted(POOR, format!("{heartbeat}, not joined")),
            (false, _) => Cell::painted(BAD, heartbeat),
        };
        [
            short(&worker.id).into(),
            worker.host.as_str().into(),
            worker.pid.map(|pid| pid.to_string()).unwrap_or_default().into(),
            worker.version.as_str().into(),
            worker.shards.to_string().into(),
            heartbeat,
        ]
    });
    if status.workers.is_empty() { String::new() } else { format!("{}\n", table(columns, rows)) }
}

fn packs(status: &Status) -> String {
    if status.packs.is_empty() {
        return String::new();
    }
    let columns = [
        Column::left("pack that waits to be published"),
        Column::left("publisher"),
        Column::right("objects"),
        Column::right("size"),
        Column::right("committed"),
    ];
    let rows = status.packs.iter().map(|pack| {
        [
            pack.id.as_str().into(),
            short(&pack.publisher).into(),
            pack.objects.to_string().into(),
            bytesize::ByteSize::b(pack.bytes).to_string().into(),
            ago(pack.age).into(),
        ]
    });
    format!("{}\n", table(columns, rows))
}

/// A worker's id, as far as one needs to tell it from others: its random end.
fn short(id: &str) -> &str {
    id.rsplit('-').next().unwrap_or(id)
}

fn ago(age: Option<Millis>) -> String {
    age.map_or_else(|| "never".to_owned(), |age| format!("{} ago", span(age)))
}

/// A position, with the middle of a long number left out.
fn position(position: &Position) -> String {
    let text = position.to_string();
    match text.split_once(' ') {
        Some((kind, number)) if number.len() > 24 && number.is_ascii() => {
            format!("{kind} {}…{}", &number[..6], &number[number.len() - 8..])
        }
        _ => text,
    }
}
