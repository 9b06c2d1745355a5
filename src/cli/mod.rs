//! The command line: one file a subcommand.

mod check_config;
mod demo;
mod generate;
mod run;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing_subscriber::EnvFilter;

use crate::config::layers::{Layer, Origin, Said, Value};
use crate::config::{self, Loaded};
use crate::service;

/// CloudWatch Logs off a Kinesis data stream into S3, as partitioned Parquet or gzip JSON, exactly once.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 110, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How log lines on standard error look
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    /// Which log lines are shown: a level, or a filter such as `info,firemain::commit=debug` [env: RUST_LOG]
    #[arg(long, global = true, value_name = "FILTER")]
    log_level: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  firemain demo                                     deliver a made-up stream into ./firemain-demo and look at it
  firemain check-config --config firemain.toml      show every setting and where it comes from
  firemain run --config firemain.toml               deliver until a signal ends it
  firemain run --source kinesis://app-logs --destination s3://my-lake/logs --drain
                                                    deliver all there is, then end

Exit codes: 0 done; 1 failed; 2 wrong usage or configuration; 128 + n ended by a second signal n.";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Deliver: read the source, write the lake, until a signal (or, with --drain, until all there is is delivered)
    Run(run::RunArgs),
    /// Check a configuration, and show each value and where it was said
    CheckConfig(ConfigArgs),
    /// Make realistic subscription records, for load tests and tries
    Generate(generate::GenerateArgs),
    /// Deliver a made-up stream into a local lake and show what came of it: no account, no server
    Demo(demo::DemoArgs),
}

/// Where the configuration comes from. Flags go before environment (FIREMAIN_…) before file before defaults.
#[derive(Debug, Args)]
struct ConfigArgs {
    /// Configuration in TOML
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What to read: kinesis://NAME (or kinesis://ARN), file:///path/glob, or - for standard input
    #[arg(long, value_name = "URL", allow_hyphen_values = true)]
    source: Option<String>,
    /// Where the lake is: s3://bucket/prefix, file:///folder or memory:///
    #[arg(long, value_name = "URL")]
    destination: Option<String>,
    /// The format of the lake's objects: parquet or json
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Name of the group, whose workers share the work
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// How long a row waits at most before its flush begins, such as 60s
    #[arg(long, value_name = "DURATION")]
    flush_interval: Option<String>,
}

/// Why a command ended, and how: the last line on standard error, and the exit code.
#[derive(Debug)]
pub struct Failure {
    message: String,
    code: u8,
}

impl Failure {
    fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 2 }
    }

    fn fatal(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 1 }
    }
}

/// Parses the command line, does what it says, and tells how it ended.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_standard_error(&cli);
    match dispatch(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("firemain: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}

fn dispatch(command: Command) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .max_blocking_threads(service::blocking_threads())
        .build()
        .map_err(|error| Failure::fatal(format!("threads can't be started: {error}")))?;
    let result = match command {
        Command::Run(args) => runtime.block_on(run::run(args)),
        Command::CheckConfig(args) => check_config::run(&args),
        Command::Generate(args) => runtime.block_on(generate::run(args)),
        Command::Demo(args) => runtime.block_on(demo::run(args)),
    };
    // Standard input may be read in a thread that nobody can end.
    runtime.shutdown_background();
    result
}

fn log_to_standard_error(cli: &Cli) {
    let filter = match &cli.log_level {
        Some(filter) => EnvFilter::new(filter),
        None => EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info")),
    };
    let to = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match cli.log_format {
        LogFormat::Text => to.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => to.json().init(),
    }
}

impl ConfigArgs {
    /// The configuration, of flags, environment and file.
    fn load(&self) -> Result<Loaded, Failure> {
        let text = self.config.as_ref().map(|path| {
            let read = std::fs::read_to_string(path);
            read.map_err(|error| Failure::usage(format!("configuration {}: {error}", path.display())))
        });
        let text = text.transpose()?;
        let name = self.config.as_ref().map(|path| path.display().to_string()).unwrap_or_default();
        let file = text.as_deref().map(|text| (name.as_str(), text));
        let variables =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        config::load(self.flags()?, variables, file).map_err(|bad| Failure::usage(bad.to_string()))
    }

    fn flags(&self) -> Result<Layer, Failure> {
        let mut layer = Layer::new();
        let mut say = |path, flag, value: Value| layer.insert(path, Said { value, origin: Origin::Flag(flag) });
        let flags = [
            ("destination", "--destination", &self.destination),
            ("format.kind", "--format", &self.format),
            ("group", "--group", &self.group),
            ("flush.interval", "--flush-interval", &self.flush_interval),
        ];
        for (path, flag, value) in flags {
            if let Some(value) = value {
                say(path, flag, Value::Text(value.clone()));
            }
        }
        if let Some(url) = &self.source {
            let (path, value) = match url.split_once("://") {
                _ if url == "-" => ("source.file.paths", Value::List(vec![url.clone()])),
                Some(("kinesis", name)) if !name.is_empty() => ("source.kinesis.stream", Value::Text(name.to_owned())),
                Some(("file", path)) if path.starts_with('/') => {
                    ("source.file.paths", Value::List(vec![path.to_owned()]))
                }
                _ => {
                    let message = format!("--source {url}: kinesis://NAME, file:///path/glob or - is wanted");
                    return Err(Failure::usage(message));
                }
            };
            say(path, "--source", value);
        }
        Ok(layer)
    }
}
