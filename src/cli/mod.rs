//! The command line: one file a subcommand.
//!
//! What was typed becomes the top layer of the configuration; this is also where the environment is handed to
//! [`crate::config`]. How a command ended is a [`Failure`], or nothing.

mod check;
mod check_config;
mod demo;
mod generate;
mod health;
mod inspect;
mod output;
mod replay;
mod run;
mod schema;
mod shell;
mod status;
mod verify;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing::warn;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use self::output::print;
use crate::config::layers::{Layer, Origin, SOURCE_URL, Setting, Value};
use crate::config::{self, Loaded, Needs, keys};
use crate::inspect::shown::escaped;
use crate::service;

/// CloudWatch Logs off a Kinesis data stream into S3, as partitioned Parquet or gzip JSON, exactly once.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 110, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// How log lines on standard error look
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text, help_heading = "Logging")]
    log_format: LogFormat,
    /// Which log lines are shown: off, error, warn, info, debug or trace, or a filter by module such as
    /// `info,firemain::commit=debug` [env: RUST_LOG] [default: info]
    #[arg(long, global = true, value_name = "FILTER", value_parser = log_filter, help_heading = "Logging")]
    log_level: Option<String>,
}

const EXAMPLES: &str = "\
Examples:
  firemain demo                                     deliver a made-up stream into ./firemain-demo and look at it
  firemain check-config --config firemain.toml      show every setting and where it comes from
  firemain check --config firemain.toml             try what a run will need: access, bucket, stream, limits
  firemain run --config firemain.toml               deliver until a signal ends it
  firemain run --source kinesis://app-logs --destination s3://my-lake/logs --drain
                                                    deliver all there is, then end
  firemain inspect s3://my-lake/logs/errors/…       what is inside this file?

Exit codes: 0 done; 1 failed; 2 wrong usage or configuration; 101 a fault of Firemain's own; 128 + n \
ended by a second signal n.";

const RUN_EXAMPLES: &str = "\
Every key of the configuration can also be set from the environment: FIREMAIN_ and the key in capitals, with __ for \
each dot. A flag goes before the environment, the environment before the file, the file before the default. \
docs/configuration.md describes all keys. AWS settings come from the standard chain: AWS_REGION, credentials, \
AWS_ENDPOINT_URL.

Examples:
  firemain run --config firemain.toml               a service: deliver until SIGTERM or SIGINT
  FIREMAIN_FLUSH__INTERVAL=60s firemain run --config firemain.toml
                                                    the same with one key changed
  firemain run --source 'file:///var/log/records/*.json.gz' --destination file:///var/lib/lake
                                                    files into a local lake, then end
  zcat records.gz | firemain run --source - --destination s3://my-lake/logs --format json
                                                    standard input into gzip JSON on S3";

const CHECK_CONFIG_EXAMPLES: &str = "\
Prints each key with the value that counts and where it was said: a flag, a variable, a place in the file, or the \
default. Takes the flags of `firemain run`, and reads neither the source nor the destination.

Examples:
  firemain check-config --config firemain.toml
  FIREMAIN_FLUSH__INTERVAL=60s firemain check-config --config firemain.toml";

const GENERATE_EXAMPLES: &str = "\
Examples:
  firemain generate --events 100000 --out records.ndjson
  firemain run --source \"file://$PWD/records.ndjson\" --destination \"file://$PWD/lake\"
                                                    make records, then deliver them
  firemain generate --events 1000000 --poison 10 --to-stream app-logs
                                                    load a stream, with some records that can't be delivered";

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Deliver: read the source, write the lake, until a signal (or, with --drain, until all there is is delivered)
    #[command(after_help = RUN_EXAMPLES)]
    Run(run::RunArgs),
    /// Try what a run will need, from here: credentials, stream, bucket, catalogue, limits; and say what to do
    #[command(after_help = check::EXAMPLES)]
    Check(check::CheckArgs),
    /// Check a configuration, and show each value and where it was said
    #[command(after_help = CHECK_CONFIG_EXAMPLES)]
    CheckConfig(ConfigArgs),
    /// Show how a group stands: shards, workers, lag, and what is wrong
    #[command(after_help = status::EXAMPLES)]
    Status(status::StatusArgs),
    /// Ask a worker on this machine whether it is well: for the health check of a container
    #[command(after_help = health::EXAMPLES)]
    Health(health::HealthArgs),
    /// Compare what was read with what the lake holds: the proof, or the first difference
    #[command(after_help = verify::EXAMPLES)]
    Verify(verify::VerifyArgs),
    /// Deliver rejections again, out of the error prefix
    #[command(after_help = replay::EXAMPLES)]
    Replay(replay::ReplayArgs),
    /// Make realistic subscription records, for load tests and tries
    #[command(after_help = GENERATE_EXAMPLES)]
    Generate(generate::GenerateArgs),
    /// Look into a file: records, an object of the lake or of the error prefix, a pack, the state
    #[command(after_help = inspect::EXAMPLES)]
    Inspect(inspect::InspectArgs),
    /// Show the schemas of tables, and print tables for Athena, Glue, Trino and DuckDB
    #[command(after_help = schema::EXAMPLES)]
    Schema(schema::SchemaArgs),
    /// Deliver a made-up stream into a local lake and show what came of it: no account, no server
    Demo(demo::DemoArgs),
    /// Print a script that lets a shell complete what is typed
    #[command(after_help = shell::COMPLETIONS)]
    Completions(shell::CompletionsArgs),
    /// Print the manual page, or write one for each command
    #[command(after_help = shell::MAN)]
    Man(shell::ManArgs),
}

/// Where the configuration comes from. Flags go before environment (FIREMAIN_…) before file before defaults.
// The help of a key's flag is made from the list of keys.
#[derive(Debug, Default, Args)]
struct ConfigArgs {
    /// Configuration in TOML. Without it there are flags, environment and defaults
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// What to read, as a URL: kinesis://NAME (or an ARN after kinesis://), file:///path/glob, or - for standard
    /// input. Goes before any source that environment or file name
    #[arg(long, value_name = "URL")]
    source: Option<String>,
    #[arg(long, value_name = "URL", help = keys::get("destination").help())]
    destination: Option<String>,
    #[arg(long, value_name = "FORMAT", help = keys::get("format.kind").help())]
    format: Option<String>,
    #[arg(long, value_name = "NAME", help = keys::get("group").help())]
    group: Option<String>,
    #[arg(long, value_name = "DURATION", help = keys::get("flush.interval").help())]
    flush_interval: Option<String>,
}

/// Why a command failed, and how: the last lines on standard error, and the exit code.
#[derive(Debug)]
pub struct Failure {
    /// A line each; the last one says what to do.
    message: String,
    code: u8,
}

impl From<service::RunError> for Failure {
    fn from(error: service::RunError) -> Self {
        Self { message: error.to_string(), code: error.exit_code() }
    }
}

impl Failure {
    fn usage(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: 2 }
    }

    /// What is wrong was printed already.
    fn told() -> Self {
        Self { message: String::new(), code: 1 }
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
            for line in failure.message.lines() {
                eprintln!("firemain: {}", escaped(line));
            }
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
        Command::Check(args) => runtime.block_on(check::run(args)),
        Command::CheckConfig(args) => check_config::run(&args),
        Command::Status(args) => runtime.block_on(status::run(args)),
        Command::Health(args) => health::run(&args),
        Command::Verify(args) => runtime.block_on(verify::run(args)),
        Command::Replay(args) => runtime.block_on(replay::run(args)),
        Command::Generate(args) => runtime.block_on(generate::run(args)),
        Command::Inspect(args) => runtime.block_on(inspect::run(args)),
        Command::Schema(args) => schema::run(&args),
        Command::Completions(args) => shell::completions(&args),
        Command::Man(args) => shell::man(&args),
        Command::Demo(args) => runtime.block_on(demo::run(args)),
    };
    // Standard input may be read in a thread that nobody can end.
    runtime.shutdown_background();
    result
}

fn log_to_standard_error(cli: &Cli) {
    let said = std::env::var_os(EnvFilter::DEFAULT_ENV).filter(|filter| !filter.is_empty());
    let (said, refused) = match said.map(|filter| log_filter(&filter.to_string_lossy())) {
        Some(Ok(filter)) => (Some(filter), None),
        Some(Err(why)) => (None, Some(why)),
        None => (None, None),
    };
    let filter = match (&cli.log_level, &said, &cli.command) {
        (Some(filter), ..) | (None, Some(filter), _) => filter,
        // Its lines say what the log would, in fewer words.
        (None, None, Command::Check(_)) => "off,firemain=warn",
        (None, None, _) => "",
    };
    let filter = EnvFilter::builder().with_default_directive(LevelFilter::INFO.into()).parse_lossy(filter);
    let to = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match cli.log_format {
        LogFormat::Text => to.with_ansi(has_colours(&std::io::stderr())).init(),
        LogFormat::Json => to.json().init(),
    }
    if let (None, Some(why)) = (&cli.log_level, refused) {
        warn!("RUST_LOG is not used: {why}");
    }
}

/// Whether what is written there may have colours.
fn has_colours(to: &impl anstream::stream::RawStream) -> bool {
    anstream::AutoStream::choice(to) != anstream::ColorChoice::Never
}

/// A filter that shows what was meant: a lone word that is no level would be taken as a module, and hide all others.
fn log_filter(text: &str) -> Result<String, String> {
    let is_level = |part: &str| !part.is_empty() && part.parse::<LevelFilter>().is_ok();
    let stray = text.split(',').find(|part| !part.contains('=') && !is_level(part));
    if let Some(part) = stray {
        return Err(format!("{part:?} is no level: off, error, warn, info, debug, trace, or module=level"));
    }
    EnvFilter::builder().parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

impl ConfigArgs {
    /// The configuration, of flags, environment and file.
    fn load(&self) -> Result<Loaded, Failure> {
        self.load_for(Needs::Source)
    }

    /// The same for a command that may need less.
    fn load_for(&self, needs: Needs) -> Result<Loaded, Failure> {
        self.load_with(needs, Layer::new())
    }

    /// Where a worker with this configuration listens. Its destination need not be said: it is not asked.
    fn load_listen(&self) -> Result<Option<SocketAddr>, Failure> {
        let nowhere = Setting { value: Value::Text("s3://not-asked".to_owned()), origin: Origin::Default };
        let loaded = self.load_with(Needs::NoSource, Layer::from([("destination", nowhere)]))?;
        Ok(loaded.config.http.listen)
    }

    /// `more`: what counts before everything that is said.
    fn load_with(&self, needs: Needs, more: Layer) -> Result<Loaded, Failure> {
        let file = match &self.config {
            Some(path) => {
                let name = path.display().to_string();
                let read = std::fs::read_to_string(path);
                let text = read.map_err(|error| {
                    Failure::usage(format!("configuration {name} can't be read: {error}; check --config"))
                })?;
                Some((name, text))
            }
            None => None,
        };
        let file = file.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
        let mut flags = self.flags();
        flags.extend(more);
        config::load_for(needs, flags, std::env::vars_os(), file).map_err(|bad| Failure::usage(bad.to_string()))
    }

    fn flags(&self) -> Layer {
        let flags = [
            (SOURCE_URL, "--source", &self.source),
            ("destination", "--destination", &self.destination),
            ("format.kind", "--format", &self.format),
            ("group", "--group", &self.group),
            ("flush.interval", "--flush-interval", &self.flush_interval),
        ];
        let said = flags.into_iter().filter_map(|(path, flag, value)| {
            Some((path, Setting { value: Value::Text(value.clone()?), origin: Origin::Flag(flag) }))
        });
        said.collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use clap::error::ErrorKind;

    use super::*;
    use crate::config::SourceConfig;

    fn parse(line: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(["firemain"].iter().chain(line))
    }

    fn load(line: &[&str]) -> Loaded {
        let line = [&["check-config"], line].concat();
        let Command::CheckConfig(args) = parse(&line).unwrap().command else { panic!("another command") };
        config::load(args.flags(), [], None).unwrap()
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_of_a_key_is_there_and_says_its_default() {
        let mut command = Cli::command();
        let run = command.find_subcommand_mut("run").unwrap();
        let help = run.render_long_help().to_string();
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        for key in keys::KEYS {
            let Some(flag) = key.flag else { continue };
            let argument = run.get_arguments().find(|argument| argument.get_long() == flag.strip_prefix("--"));
            assert!(argument.is_some(), "{flag} of {}", key.path);
            if let Some(default) = key.default {
                assert!(help.contains(&format!("[default: {default}]")), "{default} in {help}");
            }
        }
    }

    #[test]
    fn flags_are_the_top_layer() {
        let said = load(&["--source", "-", "--destination", "memory:///", "--format", "json", "--group", "g"]);
        let SourceConfig::File(files) = &said.config.source else { panic!("another source") };
        assert_eq!(files.paths, ["-"]);
        assert_eq!(said.config.group, "g");
        assert!(said.values.contains(&("format.kind", "\"json\"".to_owned(), Origin::Flag("--format"))));
        assert!(said.values.contains(&("source.file.paths", "[\"-\"]".to_owned(), Origin::Flag("--source"))));
    }

    #[test]
    fn what_nobody_knows_is_wrong_usage() {
        for (line, kind) in [
            (&["run", "--dry-drain"][..], ErrorKind::UnknownArgument),
            (&["rum"], ErrorKind::InvalidSubcommand),
            (&["run", "--source", "--drain"], ErrorKind::InvalidValue),
            (&["run", "--log-format", "xml"], ErrorKind::InvalidValue),
            (&["run", "--log-level", "bogus"], ErrorKind::ValueValidation),
            (&["generate", "--out", "x", "--to-stream", "y"], ErrorKind::ArgumentConflict),
        ] {
            let error = parse(line).unwrap_err();
            assert_eq!((error.kind(), error.exit_code()), (kind, 2), "{line:?}: {error}");
        }
    }

    #[test]
    fn log_filters_are_levels_or_levels_by_module() {
        for good in ["info", "WARN", "off", "info,firemain::commit=debug", "firemain=trace"] {
            assert_eq!(log_filter(good).as_deref(), Ok(good));
        }
        for bad in ["bogus", "info,firemain", "firemain=loud", "", "info,"] {
            assert!(log_filter(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_configuration_file_that_is_not_there_is_wrong_usage_and_named() {
        let args = ConfigArgs { config: Some("/nowhere/absent.toml".into()), ..ConfigArgs::default() };
        let failure = args.load().unwrap_err();
        assert_eq!(failure.code, 2);
        assert!(failure.message.contains("/nowhere/absent.toml"), "{}", failure.message);
    }
}
