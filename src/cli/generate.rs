//! `firemain generate`: records for load tests and tries.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::DateTime;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::{Failure, output};
use crate::aws::Aws;
use crate::clock::Clock;
use crate::event::{Millis, TIMESTAMP_LIMIT};
use crate::generate::{Generator, Made, Plan, Totals};
use crate::retry::{Patience, Retry};
use crate::source::kinesis::api::put_records;
use crate::source::kinesis::calls::Service;

/// 2024-03-22T05:00:00Z, so that the same seed makes the same file on any day.
pub const FILE_START: Millis = 1_711_083_600_000;
/// PutRecords takes 500 records and 5 MiB; keys count too.
const PUT_RECORDS: usize = 500;
const PUT_BYTES: usize = 4 << 20;

#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// Events to make, in records of some 200
    #[arg(long, default_value_t = 20_000)]
    events: u64,
    /// Log groups that they come from
    #[arg(long, default_value_t = 6)]
    log_groups: usize,
    /// The same seed makes the same bytes
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Records that can't be delivered, of every kind in turn
    #[arg(long, default_value_t = 0)]
    poison: u64,
    /// Time of the first event (RFC 3339) [default: 2024-03-22T05:00:00Z for a file, for a stream now less the span]
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// Time from the first event to the last
    #[arg(long, value_name = "DURATION", default_value = "3h", value_parser = humantime::parse_duration)]
    span: Duration,
    /// Where to: newline-delimited JSON as of `aws kinesis get-records`; without it, standard output
    #[arg(long, value_name = "FILE", conflicts_with = "to_stream")]
    out: Option<PathBuf>,
    /// Put them on this Kinesis stream instead
    #[arg(long, value_name = "NAME")]
    to_stream: Option<String>,
}

pub async fn run(args: GenerateArgs) -> Result<(), Failure> {
    let span = Millis::try_from(args.span.as_millis()).map_err(|_| Failure::usage("--span: too long"))?;
    let start = match &args.start {
        Some(text) => DateTime::parse_from_rfc3339(text)
            .map_err(|error| Failure::usage(format!("--start {text}: {error}; such as 2024-03-22T05:00:00Z")))?
            .timestamp_millis(),
        None if args.to_stream.is_some() => Clock::system().now() - span,
        None => FILE_START,
    };
    if start < 0 || start.saturating_add(span) >= TIMESTAMP_LIMIT {
        return Err(Failure::usage("--start and --span: events have times from 1970 to 2199, no others are delivered"));
    }
    let GenerateArgs { events, log_groups, seed, poison, .. } = args;
    let made = Generator::new(Plan { events, log_groups, seed, poison, start, span });
    let bar = ProgressBar::new(events);
    bar.set_style(
        ProgressStyle::with_template("{bar:40} {human_pos} of {human_len} events, {per_sec}, {eta} left")
            .expect("a valid template"),
    );
    let totals = match (&args.to_stream, &args.out) {
        (Some(stream), _) => Some(to_stream(made, stream, &bar).await?),
        (None, out) => to_file(made, out.as_deref(), &bar)?,
    };
    bar.finish_and_clear();
    if let Some(Totals { records, events, rejections, json_bytes }) = totals {
        eprintln!("{records} records, {events} events, {rejections} rejections to come, {json_bytes} bytes of JSON");
    }
    Ok(())
}

/// `None` when whoever read standard output has gone.
fn to_file(made: Generator, out: Option<&Path>, bar: &ProgressBar) -> Result<Option<Totals>, Failure> {
    let Some(path) = out.filter(|path| *path != Path::new("-")) else {
        return output::unless_closed(write(made, std::io::stdout().lock(), bar));
    };
    let file = File::create(path).map_err(|error| {
        Failure::usage(format!("--out {}: {error}; name a file that can be written", path.display()))
    })?;
    let written = write(made, file, bar);
    written.map(Some).map_err(|error| Failure::fatal(format!("{}: {error}", path.display())))
}

/// Writes records as pages of `aws kinesis get-records`, one a line.
pub fn write(made: impl Iterator<Item = Made>, to: impl Write, bar: &ProgressBar) -> std::io::Result<Totals> {
    let mut to = BufWriter::with_capacity(1 << 20, to);
    let mut totals = Totals::default();
    for made in made {
        let page = json!({"Records": [{
            "SequenceNumber": totals.records.to_string(),
            "ApproximateArrivalTimestamp": made.arrival as f64 / 1000.0,
            "Data": STANDARD.encode(&made.data),
            "PartitionKey": made.partition_key,
        }]});
        serde_json::to_writer(&mut to, &page)?;
        to.write_all(b"\n")?;
        totals.add(&made);
        bar.set_position(totals.events);
    }
    to.flush()?;
    Ok(totals)
}

async fn to_stream(made: Generator, stream: &str, bar: &ProgressBar) -> Result<Totals, Failure> {
    let aws = Aws::load(None).await.map_err(|error| Failure::fatal(error.to_string()))?;
    let service = Service::new(&aws, stream);
    let put = async |entries| {
        let retry =
            Retry::new(&Clock::system(), &Patience::default(), format!("PutRecords of stream {}", service.name));
        put_records(&service, entries, retry).await.map_err(|error| Failure::fatal(error.to_string()))
    };
    let (mut totals, mut batch, mut bytes) = (Totals::default(), Vec::new(), 0);
    for made in made {
        if batch.len() == PUT_RECORDS || bytes + made.data.len() > PUT_BYTES {
            put(std::mem::take(&mut batch)).await?;
            bytes = 0;
        }
        bytes += made.data.len() + made.partition_key.len();
        totals.add(&made);
        let entry = PutRecordsRequestEntry::builder().data(Blob::new(made.data)).partition_key(made.partition_key);
        batch.push(entry.build().expect("data and key are set"));
        bar.set_position(totals.events);
    }
    put(batch).await?;
    Ok(totals)
}
