//! `firemain replay`: rejections are delivered again.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use clap::Args;

use super::output::{self, Cell, Column, Form, POOR, counted, table};
use super::{ConfigArgs, Failure};
use crate::clock::Clock;
use crate::config::{Destination, Needs, values};
use crate::event::Millis;
use crate::replay::{self, Plan, Report};
use crate::source::errors::{REPLAYED, Selection, Tally};

pub const EXAMPLES: &str = "\
Rejections are decoded with today's configuration and delivered by the same pipeline as the service's own: each once, though \
the replay is killed and started again, or run twice. What fails again is rejected again, with attemptsMade one higher. \
An object moves to replayed/ once everything out of it is committed; one of which a part was left, by --code, --since or \
--until, stays, and the next replay takes the rest of it. So does one that can't be read to its end: it is named at the end, \
which is 1 then, and all others are delivered. One that is in replayed/ and here again is not delivered again.

--to-stream delivers at least once instead: what was put within the last ten seconds before a crash is put again. What another \
replay has is left to it while that is at work, with exit code 1; whether it is takes two lease_timeout to know.

Reads Firemain's own error objects and those of Amazon Data Firehose (processing-failed, format-conversion-failed).

Examples:
  firemain replay --config firemain.toml --dry-run  what would come of it, by code
  firemain replay --config firemain.toml --code Table.Mismatch --since 2h
                                                    what a schema that is mended now had refused
  firemain replay --config firemain.toml --from s3://my-bucket/firehose-errors/ --keep
                                                    what Firehose could not deliver; its files stay
  firemain replay --config firemain.toml --to-stream app-logs
                                                    back on the stream, for all who read it";

#[derive(Debug, Args)]
pub struct ReplayArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The folder of error objects: s3://BUCKET/PREFIX/ or file:///FOLDER [default: the destination's error prefix]
    #[arg(long, value_name = "URL", value_parser = values::destination)]
    from: Option<Destination>,
    /// Only rejections with this code; may be given several times
    #[arg(long, value_name = "CODE")]
    code: Vec<String>,
    /// Only what arrived on the stream at this time or later: 2024-03-22T05:00:00Z, 2024-03-22, or 2h for two hours ago
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Millis>,
    /// Only what arrived before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Millis>,
    /// Only say what would come of it
    #[arg(long)]
    dry_run: bool,
    /// Leave error objects where they are when they are done; they are known to be
    #[arg(long)]
    keep: bool,
    /// Put the payloads on this Kinesis stream instead of delivering them
    #[arg(long, value_name = "NAME", conflicts_with = "dry_run")]
    to_stream: Option<String>,
    /// How the summary looks
    #[arg(long, value_enum, default_value_t)]
    output: Form,
}

pub async fn run(args: ReplayArgs) -> Result<(), Failure> {
    let ReplayArgs { config, from, code, since, until, dry_run, keep, to_stream, output } = args;
    let loaded = config.load_for(Needs::NoSource)?;
    let from = match from {
        Some(from) => from,
        None => values::destination(&format!("{}/{}", loaded.config.destination, loaded.config.errors.prefix))
            .map_err(|why| {
                Failure::usage(format!("`destination` has no error prefix to replay from ({why}): give --from"))
            })?,
    };
    let plan = Plan { from, selection: Selection { codes: code, since, until }, keep, dry_run, to_stream };
    let report = replay::run(&loaded, &plan).await?;
    match output {
        Form::Json => output::print_json(&report)?,
        Form::Text => output::print(&told(&report, &plan))?,
    }
    failure(&report).map_or(Ok(()), Err)
}

/// Objects that are named; the others are counted.
const NAMED: usize = 5;

/// What a replay that came to its end leaves to be done.
fn failure(report: &Report) -> Option<Failure> {
    let Report { left, left_to_others, .. } = report;
    let mut lines: Vec<String> = left.iter().take(NAMED).map(|(object, why)| format!("{object}: {why}")).collect();
    if !left.is_empty() {
        let all = counted(left.len() as u64, "object");
        lines.push(format!(
            "{all} left where they are (--output json names all): mend or move them, and run this again"
        ));
    }
    if *left_to_others > 0 {
        let objects = counted(*left_to_others, "object");
        lines.push(format!("{objects} left to another replay, which is at work: run this again when it has ended"));
    }
    (!lines.is_empty()).then(|| Failure::fatal(lines.join("\n")))
}

fn told(report: &Report, plan: &Plan) -> String {
    let Report { dry_run, objects, passed_over, moved, replayed_before, events, put, done_before, .. } = report;
    let others = match passed_over {
        0 => String::new(),
        1 => " (1 other has nothing that is wanted)".to_owned(),
        more => format!(" ({more} others have nothing that is wanted)"),
    };
    let mut text = if report.codes.is_empty() { String::new() } else { format!("{}\n", summary(&report.codes)) };
    if *objects == 0 {
        text.push_str(&format!("Nothing to replay below {}{others}.\n", plan.from));
    } else {
        let done = match (dry_run, &plan.to_stream) {
            (true, _) => format!("{} would be delivered; nothing was written", counted(*events, "event")),
            (false, Some(stream)) => format!("{} put on {stream}", counted(*put, "payload")),
            (false, None) => format!("{} delivered", counted(*events, "event")),
        };
        text.push_str(&format!("{}{others}: {done}", counted(*objects, "object")));
        if *done_before > 0 {
            text.push_str(&format!(", {} done before", counted(*done_before, "object")));
        }
        text.push_str(&match (dry_run, moved) {
            (true, _) => String::new(),
            (false, 0) => ", no object moved".to_owned(),
            (false, moved) => format!(", {} moved to {REPLAYED}/", counted(*moved, "object")),
        });
        text.push_str(".\n");
    }
    if *replayed_before > 0 {
        text.push_str(&format!(
            "{} replayed before and there again: what is in {REPLAYED}/ is not delivered again.\n",
            counted(*replayed_before, "object")
        ));
    }
    for (why, count) in &report.undeliverable {
        text.push_str(&format!("{} can't be delivered: {why}.\n", counted(*count, "rejection")));
    }
    if report.stopped {
        text.push_str("It was stopped: run it again to go on.\n");
    }
    text
}

fn summary(codes: &BTreeMap<String, Tally>) -> String {
    let columns = [
        Column::left("code"),
        Column::right("replayed"),
        Column::right("rejected again"),
        Column::right("not asked for"),
        Column::right("withheld"),
        Column::right("broken"),
        Column::right("done before"),
        Column::right("unfinished"),
    ];
    let poor = |count: u64| if count > 0 { Cell::painted(POOR, count.to_string()) } else { "0".into() };
    let row = |code: &str, tally: &Tally| {
        let Tally { replayed, rejected_again, unselected, withheld, broken, before, unfinished } = *tally;
        [
            code.into(),
            replayed.to_string().into(),
            poor(rejected_again),
            unselected.to_string().into(),
            poor(withheld),
            poor(broken),
            before.to_string().into(),
            poor(unfinished),
        ]
    };
    let all = codes.values().fold(Tally::default(), |sum, tally| sum + *tally);
    let rows = codes.iter().map(|(code, tally)| row(code, tally));
    let last = (codes.len() > 1).then(|| row("all", &all));
    table(columns, rows.chain(last))
}

/// A time as one gives it on a command line.
pub fn time(text: &str) -> Result<Millis, String> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.timestamp_millis());
    }
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Ok(date
            .and_hms_opt(0, 0, 0)
            .map_or(0, |time| DateTime::<Utc>::from_naive_utc_and_offset(time, Utc).timestamp_millis()));
    }
    let back = humantime::parse_duration(text).ok().and_then(|back| Millis::try_from(back.as_millis()).ok());
    let back =
        back.ok_or("give a time such as 2024-03-22T05:00:00Z, a date such as 2024-03-22, or 2h for two hours ago")?;
    Ok(Clock::system().now() - back)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_three_ways() {
        assert_eq!(time("2024-03-22T05:00:00Z"), Ok(1_711_083_600_000));
        assert_eq!(time("2024-03-22T07:00:00+02:00"), Ok(1_711_083_600_000));
        assert_eq!(time("2024-03-22"), Ok(1_711_065_600_000));
        let ago = Clock::system().now() - time("2h").unwrap();
        assert!((7_200_000..7_260_000).contains(&ago), "{ago}");
        assert!(time("yesterday").unwrap_err().contains("2h"));
    }
}
