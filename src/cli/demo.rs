//! `firemain demo`: the main job on a made-up stream, and a look at what came of it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use flate2::read::MultiGzDecoder;
use indicatif::ProgressBar;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Row;

use super::generate::{self, FILE_START};
use super::{Failure, output};
use crate::config;
use crate::config::layers::{Layer, Origin, Setting, Value};
use crate::generate::{Generator, Plan, Totals};
use crate::service;

/// Tells a folder that a demo made, and that the next one may replace.
const MARK: &str = ".firemain-demo";

#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Folder for the records and the lake; one of an earlier demo is replaced
    #[arg(default_value = "firemain-demo")]
    dir: PathBuf,
}

pub async fn run(args: DemoArgs) -> Result<(), Failure> {
    let dir = std::path::absolute(&args.dir).map_err(|error| failed(&args.dir, &error))?;
    prepare(&dir)?;
    let (records, lake) = (dir.join("records.ndjson"), dir.join("lake"));
    let made = generate(&records).map_err(|error| failed(&records, &error))?;
    output::print(&format!(
        "Made {} events of 6 applications in {} subscription records, {} of them poison:\n  {}\n\n",
        made.events,
        made.records,
        made.rejections,
        records.display()
    ))?;
    let started = Instant::now();
    deliver(&records, &lake).await?;
    output::print(&format!("Delivered in {:.1} s:\n  {}\n\n", started.elapsed().as_secs_f64(), lake.display()))?;
    let found = Found::look(&lake).map_err(|error| failed(&lake, &error))?;
    output::print(&found.told(&made))?;
    output::print(&format!(
        "\nAsk it something, with DuckDB (https://duckdb.org):\n\n  duckdb -c \"SELECT log_group, hour, count(*) AS events, min(timestamp), max(timestamp)\n             \
         FROM read_parquet('{}/log_events/**/*.parquet', hive_partitioning = true)\n             \
         GROUP BY ALL ORDER BY ALL\"\n\n\
         Then try `firemain run --help`, and a stream of your own.\n",
        quoted(&lake)
    ))?;
    if found.events != made.events || found.rejections != made.rejections {
        return Err(Failure::fatal("the books do not balance: please report this, with the folder"));
    }
    Ok(())
}

fn failed(path: &Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::fatal(format!("{}: {error}", path.display()))
}

/// An empty folder with the mark. Refuses one that holds anything else.
fn prepare(dir: &Path) -> Result<(), Failure> {
    let is_used = fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
    if is_used && !dir.join(MARK).exists() {
        let message = format!("{} holds something else: name another folder", dir.display());
        return Err(Failure::usage(message));
    }
    let cleared = if is_used { fs::remove_dir_all(dir) } else { Ok(()) };
    cleared
        .and_then(|()| fs::create_dir_all(dir))
        .and_then(|()| fs::write(dir.join(MARK), "A demo of Firemain made this folder; the next one replaces it.\n"))
        .map_err(|error| Failure::fatal(format!("{}: {error}; name a folder that can be written", dir.display())))
}

/// A path as it stands in a string of SQL, that stands between double quotes in a shell.
fn quoted(path: &Path) -> String {
    let mut quoted = String::new();
    for character in path.to_string_lossy().chars() {
        match character {
            '\'' => quoted.push('\''),
            '"' | '$' | '`' | '\\' => quoted.push('\\'),
            _ => {}
        }
        quoted.push(character);
    }
    quoted
}

fn generate(path: &Path) -> std::io::Result<Totals> {
    let plan = Plan { events: 20_000, log_groups: 6, seed: 1, poison: 8, start: FILE_START, span: 2 * 3_600_000 };
    generate::write(Generator::new(plan), File::create(path)?, &ProgressBar::hidden())
}

async fn deliver(records: &Path, lake: &Path) -> Result<(), Failure> {
    let say = |value| Setting { value, origin: Origin::Default };
    let flags = Layer::from([
        ("source.file.paths", say(Value::List(vec![glob::Pattern::escape(&records.to_string_lossy())]))),
        ("destination", say(Value::Text(format!("file://{}", lake.display())))),
    ]);
    let loaded = config::load(flags, [], None).map_err(|bad| Failure::fatal(bad.to_string()))?;
    let report = service::run(&loaded, true).await;
    report.map(drop).map_err(|error| Failure::fatal(error.to_string()))
}

/// What is in the lake, counted from its files and not from what the delivery said of itself.
#[derive(Default)]
struct Found {
    /// By partition: objects, rows, bytes.
    partitions: BTreeMap<String, (u64, u64, u64)>,
    events: u64,
    rejections: u64,
    first_rows: Vec<Row>,
}

impl Found {
    fn look(lake: &Path) -> Result<Self, Box<dyn std::error::Error>> {
        let mut found = Self::default();
        for path in glob::glob(&format!("{}/*/**/*", glob::Pattern::escape(&lake.to_string_lossy())))? {
            let path = path?;
            let name = path.to_string_lossy();
            let rows = if name.ends_with(".parquet") {
                let reader = SerializedFileReader::new(File::open(&path)?)?;
                if found.first_rows.is_empty() {
                    found.first_rows = reader.get_row_iter(None)?.take(3).collect::<Result<_, _>>()?;
                }
                let rows = u64::try_from(reader.metadata().file_metadata().num_rows())?;
                found.events += rows;
                rows
            } else if name.ends_with(".json.gz") {
                let lines = BufReader::new(MultiGzDecoder::new(File::open(&path)?)).lines();
                let rows = lines.count() as u64;
                found.rejections += rows;
                rows
            } else {
                continue;
            };
            let folder = path.parent().and_then(|folder| folder.strip_prefix(lake).ok()).unwrap_or(Path::new(""));
            let partition = found.partitions.entry(folder.display().to_string()).or_default();
            partition.0 += 1;
            partition.1 += rows;
            partition.2 += fs::metadata(&path)?.len();
        }
        Ok(found)
    }

    fn told(&self, made: &Totals) -> String {
        let width = self.partitions.keys().map(String::len).max().unwrap_or(0);
        let mut lines = vec![format!("{:width$}  objects    rows     bytes", "partition")];
        lines.extend(self.partitions.iter().map(|(partition, (objects, rows, bytes))| {
            format!("{partition:width$}  {objects:7}  {rows:6}  {bytes:8}")
        }));
        lines.push("\nThe books          made  in the lake".to_owned());
        lines.push(format!("  events      {:9}  {:11}", made.events, self.events));
        lines.push(format!("  rejections  {:9}  {:11}", made.rejections, self.rejections));
        lines.push("\nFirst rows:".to_owned());
        lines.extend(self.first_rows.iter().map(|row| {
            let row = row.to_string();
            let short: String = row.chars().take(160).collect();
            format!("  {short}{}", if short.len() < row.len() { "…" } else { "" })
        }));
        lines.join("\n") + "\n"
    }
}
