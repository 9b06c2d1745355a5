//! `firemain verify`: do the books balance?

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;

use super::output::{self, Column, Form, GOOD, counted, painted, table};
use super::replay::time;
use super::{ConfigArgs, Failure};
use crate::config::Needs;
use crate::event::Millis;
use crate::replay;
use crate::service::{self, Base};
use crate::verify::{self, Proof};

pub const EXAMPLES: &str = "\
Reads the snapshots of the state that are there, the newest 500 or more, and of every commit between them the objects in \
the lake. Each snapshot has to follow the one before, with every position where it was or further on; and what a commit \
counted has to be what its objects hold: events as rows of tables, rejections in the error prefix or in replayed/. On S3 \
objects say by their metadata how many rows they have; on a disk they are counted. Lists all of the lake.

Prints what was compared, and exits with 0; or the first difference, with 1. Objects that a lifecycle rule or somebody has \
deleted are a difference: --since leaves what is older alone.

Examples:
  firemain verify --config firemain.toml
  firemain verify --config firemain.toml --since 6h --output json";

#[derive(Debug, Args)]
pub struct VerifyArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Of the group that all replays into this destination share
    #[arg(long, conflicts_with = "group")]
    replays: bool,
    /// Only what was committed at this time or later: 2024-03-22T05:00:00Z, 2024-03-22, or 2h for two hours ago
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Millis>,
    #[arg(long, value_enum, default_value_t, help = "In what form")]
    output: Form,
}

pub async fn run(args: VerifyArgs) -> Result<(), Failure> {
    let VerifyArgs { config, replays, since, output } = args;
    let loaded = config.load_for(Needs::NoSource)?;
    let tabulator = service::tabulator(&loaded).map_err(|bad| Failure::usage(bad.to_string()))?;
    let config = &loaded.config;
    let base = Base::new(config, Arc::new(tabulator)).await?;
    let group = if replays { replay::GROUP } else { config.group.as_str() };
    let proof = verify::verify(&base.storage, group, &config.errors.prefix, since).await;
    let proof = proof.map_err(|error| Failure::fatal(error.to_string()))?;
    match output {
        Form::Json => output::print_json(&proof),
        Form::Text => output::print(&told(&proof)),
    }
}

fn told(proof: &Proof) -> String {
    let Proof { group, source, from, to, since, commits, read, delivered, unpublished, shards } = proof;
    let time = DateTime::<Utc>::from_timestamp_millis(*since).unwrap_or_default();
    let time = time.to_rfc3339_opts(SecondsFormat::Secs, true);
    let columns = [Column::left("shard"), Column::left("from"), Column::left("to"), Column::right("commits")];
    let rows = shards.iter().map(|range| {
        [
            range.shard.as_str().into(),
            range.from.to_string().into(),
            range.to.to_string().into(),
            range.commits.to_string().into(),
        ]
    });
    let books = [Column::left("the books"), Column::right("read"), Column::right("in the lake")];
    let sum = read.events + read.rejections + read.control;
    let line = |what: &str, read: u64, lake: u64| [what.into(), read.to_string().into(), lake.to_string().into()];
    let lines = [
        line("events", read.events, delivered.rows),
        line("rejections", read.rejections, delivered.rejections),
        line("objects", read.objects, delivered.objects),
    ];
    let waiting = match unpublished {
        0 => String::new(),
        packs => format!("{} not published yet: counted where they are staged\n", counted(*packs, "pack")),
    };
    format!(
        "group {group}, snapshots {from} to {to}, since {time}, of {source}\n\n{}\n{}\n\
         {} in {} held {sum} things: {} + {} + {}\n{waiting}{}\n",
        table(columns, rows),
        table(books, lines),
        counted(read.records, "record"),
        counted(*commits, "commit"),
        counted(read.events, "event"),
        counted(read.rejections, "rejection"),
        counted(read.control, "control message"),
        painted(GOOD, "the books balance"),
    )
}
