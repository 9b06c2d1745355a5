//! `firemain verify`: do the books balance?

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;

use super::output::{self, Cell, Column, Form, GOOD, counted, painted, table};
use super::replay::time;
use super::{ConfigArgs, Failure};
use crate::commit::snapshot::RecordCounts;
use crate::config::Needs;
use crate::event::Millis;
use crate::replay;
use crate::service::{self, Base};
use crate::verify::{self, Proof, Range};

pub const EXAMPLES: &str = "\
Reads the snapshots of the state that are there, the newest 500 or more, and of every commit between them the objects in \
the lake. Each snapshot has to follow the one before, with every position where it was or further on. Of each shard the \
records that a commit read have to be those that were delivered, rejected (all of it or a part) and control messages; and \
what they held, as much as its objects have: events as rows of tables, rejections in the error prefix or in replayed/. On \
S3 objects say by their metadata how many rows they have; on a disk they are counted. Lists all of the lake. Neither rows \
nor the stream are read again.

Prints what was compared, and exits with 0; or the first difference, with 1. Objects that a lifecycle rule or somebody has \
deleted are a difference: --since leaves what is older alone. A --since that is before the oldest snapshot fails.

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
    let proof = verify::verify(&base.storage, group, since).await;
    let proof = proof.map_err(|error| Failure::fatal(error.to_string()))?;
    match output {
        Form::Json => output::print_json(&proof),
        Form::Text => output::print(&told(&proof)),
    }
}

fn told(proof: &Proof) -> String {
    let Proof { group, source, from, to, since, commits, read, delivered, unpublished, expired, shards } = proof;
    let time = DateTime::<Utc>::from_timestamp_millis(*since).unwrap_or_default();
    let time = time.to_rfc3339_opts(SecondsFormat::Secs, true);
    let numbers = ["commits", "records", "delivered", "rejected", "control"].map(Column::right);
    let [commits_head, records, delivered_head, rejected, control] = numbers;
    let [shard, from_head, to_head] = ["shard", "from", "to"].map(Column::left);
    let columns = [shard, commits_head, records, delivered_head, rejected, control, from_head, to_head];
    let row = |shard: &str, commits: u64, records: RecordCounts, from: String, to: String| -> [Cell; 8] {
        let RecordCounts { read, delivered, rejected, control } = records;
        let [commits, read, delivered, rejected, control] =
            [commits, read, delivered, rejected, control].map(|number| number.to_string().into());
        [shard.into(), commits, read, delivered, rejected, control, from.into(), to.into()]
    };
    let mut all = RecordCounts::default();
    shards.iter().for_each(|range| all += range.records);
    let rows = shards.iter().map(|Range { shard, from, to, commits, records }| {
        row(shard.as_str(), *commits, *records, from.to_string(), to.to_string())
    });
    let rows = rows.chain([row("all", *commits, all, String::new(), String::new())]);
    let books = [Column::left("of the records"), Column::right("committed"), Column::right("in the lake")];
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
    let lost = match expired {
        0 => String::new(),
        positions => format!(
            "{} had expired: what was there was not read, for the stream had trimmed it\n",
            counted(*positions, "position")
        ),
    };
    format!(
        "group {group}, snapshots {from} to {to}, since {time}, of {source}\n\n{}\n{}\n{waiting}{lost}{}\n",
        table(columns, rows),
        table(books, lines),
        painted(GOOD, "the books balance"),
    )
}
