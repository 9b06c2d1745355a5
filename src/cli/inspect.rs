//! `firemain inspect`: what is inside this file?

mod lake;
mod state;
mod stream;
mod text;

use clap::Args;

use super::Failure;
use super::output::{Form, print, print_json};
use crate::inspect::open::{self, Address, OpenError};
use crate::inspect::shown::{Options, escaped};
use crate::inspect::{self, Report};

pub const EXAMPLES: &str = "\
What it is, is told by its content: a record file (pages of `aws kinesis get-records`, the event that Lambda gets from \
Kinesis, payloads, lines of any of these), an object of a lake (Parquet, lines of JSON), an error object of Firemain or of \
Amazon Data Firehose, a pack, a snapshot of the state, a heartbeat; each but Parquet and packs in gzip or zstd too. \
Records are decoded as delivery does with `decode = \"cloudwatch\"`. All of it is read as a stream, but for Parquet: of that \
the footer and the first rows, whether the rest is intact is not looked at. Nothing is written.

What could steer a terminal is escaped. AWS settings come from the standard chain: AWS_REGION, credentials, AWS_ENDPOINT_URL.

Exit codes: 0 it could be read; 1 it is damaged, or none of all that: what could be read is shown all the same; 2 it is \
not there.

Examples:
  firemain inspect records.ndjson                   how many records, and which can't be decoded
  firemain inspect --full s3://my-lake/logs/errors/error=Event.Invalid/dt=2024-03-22/hour=05/x.json.gz
                                                    why they were rejected, with whole payloads
  aws kinesis get-records --shard-iterator \"$I\" | firemain inspect -
                                                    what is on the stream
  firemain inspect --output json --rows 0 part.parquet | jq .rows
                                                    for a script";

#[derive(Debug, Args)]
pub struct InspectArgs {
    /// A path, `-` for standard input, file:///PATH or s3://BUCKET/KEY (nothing in it is percent-decoded)
    #[arg(value_name = "FILE|URL")]
    file: String,
    /// In what form it is told
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
    /// How many rows, records or rejections are shown, and of each record how many messages
    #[arg(long, value_name = "N", default_value_t = 5)]
    rows: usize,
    /// Show messages and payloads uncut
    #[arg(long)]
    full: bool,
}

pub async fn run(args: InspectArgs) -> Result<(), Failure> {
    let InspectArgs { file, output, rows, full } = args;
    let shown = escaped(&file);
    let address: Address =
        file.parse().map_err(|why| Failure::usage(format!("{shown:?} can't be inspected: {why}")))?;
    let input = open::open(address).await.map_err(|error| match error {
        OpenError::Usage(message) => Failure::usage(escaped_lines(&message)),
        OpenError::Failed(message) => Failure::fatal(escaped_lines(&message)),
    })?;
    // It reads, and waits for a store.
    let looking = tokio::task::spawn_blocking(move || inspect::inspect(&input, Options { rows, full }));
    let report = looking.await.expect("what panics ends the process");
    let report =
        report.map_err(|error| Failure::fatal(format!("{shown} can't be read: {}", escaped(&error.to_string()))))?;
    match output {
        Form::Text => print(&text::of(&report))?,
        Form::Json => print_json(&report)?,
    }
    verdict(&report)
}

/// What is wrong with it is a failure, after all has been shown that could be read.
fn verdict(report: &Report) -> Result<(), Failure> {
    let Some((first, more)) = report.problems.split_first() else { return Ok(()) };
    let more = if more.is_empty() { String::new() } else { format!(" (and {} more: see above)", more.len()) };
    Err(Failure::fatal(escaped(&format!("{}: {first}{more}", report.name))))
}

fn escaped_lines(message: &str) -> String {
    message.lines().map(escaped).collect::<Vec<_>>().join("\n")
}
