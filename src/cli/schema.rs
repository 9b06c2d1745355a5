//! `firemain schema`: the schemas, and tables for Athena and others.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand, ValueEnum};

use super::{Failure, print};
use crate::config::{Destination, FormatKind, values};
use crate::table::catalog::{Dialect, PROJECTED_DAYS, Partitions, TableIn};
use crate::table::library::{Library, LibraryError};
use crate::table::{ERRORS, Extractor, Schema};

pub const EXAMPLES: &str = "\
Examples:
  firemain schema list                              the schemas that there are
  firemain schema show apache_access                the file of one, to begin one's own with
  firemain schema ddl apache_access --location s3://my-lake/logs/apache_access/
                                                    the table for Athena, with registered partitions
  firemain schema ddl log_events --location s3://my-lake/logs/log_events/ --partitions projected
                                                    the same where nothing is to be registered
  aws glue create-table --database-name logs \\
    --table-input \"$(firemain schema glue log_events --location s3://my-lake/logs/log_events/)\"";

/// A century: more would only make queries without a bound on `dt` list more.
const MOST_DAYS: i64 = 36_500;

#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// A folder of schema files of your own, as the key `schemas_dir`
    #[arg(long, value_name = "FOLDER", env = "FIREMAIN_SCHEMAS_DIR", global = true)]
    schemas_dir: Option<PathBuf>,
    #[command(subcommand)]
    command: SchemaCommand,
}

#[derive(Debug, Subcommand)]
enum SchemaCommand {
    /// List all schemas: name, version, how many columns, and what they are for
    List,
    /// Print the file of a schema
    Show { name: String },
    /// Print the statement that makes the table
    Ddl {
        #[command(flatten)]
        table: TableArgs,
        /// Whose SQL
        #[arg(long, value_enum, default_value = "athena")]
        dialect: DialectArg,
    },
    /// Print the table input for `aws glue create-table`
    Glue {
        #[command(flatten)]
        table: TableArgs,
    },
}

#[derive(Debug, Args)]
struct TableArgs {
    /// The schema; `errors` for the error prefix
    name: String,
    /// The table's folder: the destination, and below it the table's name: s3://BUCKET/PREFIX/TABLE/
    #[arg(long, value_name = "URL")]
    location: String,
    /// How partitions are known: registered one by one, or projected from the query
    #[arg(long, value_enum, default_value = "registered")]
    partitions: PartitionsArg,
    #[arg(long, value_name = "N", help = days_help(), allow_negative_numbers = true,
        value_parser = clap::value_parser!(u32).range(1..=MOST_DAYS))]
    days: Option<u32>,
    /// The format of the table's objects; the error prefix always has JSON
    #[arg(long, value_enum, default_value = "parquet")]
    format: FormatArg,
    /// The table's name, where it is not the schema's
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DialectArg {
    Athena,
    Trino,
    Duckdb,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PartitionsArg {
    Registered,
    Projected,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum FormatArg {
    Parquet,
    Json,
}

pub fn run(args: &SchemaArgs) -> Result<(), Failure> {
    let library = Library::open(args.schemas_dir.as_deref()).map_err(|error| {
        Failure::usage(match error {
            LibraryError::Folder { folder, why } => {
                format!(
                    "--schemas-dir (FIREMAIN_SCHEMAS_DIR) can't be {folder:?} ({why}): give a folder of schema files"
                )
            }
            other => other.to_string(),
        })
    })?;
    match &args.command {
        SchemaCommand::List => print(&list(&library)),
        SchemaCommand::Show { name } if name == ERRORS => print(include_str!("../../schemas/errors.json")),
        SchemaCommand::Show { name } => print(library.text(name).ok_or_else(|| unknown(name, &library))?),
        SchemaCommand::Ddl { table, dialect } => {
            let dialect = match dialect {
                DialectArg::Athena => Dialect::Athena,
                DialectArg::Trino => Dialect::Trino,
                DialectArg::Duckdb => Dialect::DuckDb,
            };
            table.with(&library, dialect, |table| print(&table.ddl(dialect)))
        }
        SchemaCommand::Glue { table } => {
            table.with(&library, Dialect::Athena, |table| print(&format!("{:#}\n", table.glue())))
        }
    }
}

fn days_help() -> String {
    format!("Of a projected table: how many days back it shows [default: {PROJECTED_DAYS}]")
}

fn unknown(name: &str, library: &Library) -> Failure {
    Failure::usage(format!(
        "there is no schema {name:?}: give one of {}, {ERRORS}, or name the folder of your own by --schemas-dir",
        library.names()
    ))
}

fn list(library: &Library) -> String {
    let schemas: Vec<_> = library.schemas().collect();
    let errors = (&Arc::new(Schema::errors()), "schemas/errors.json");
    let all = schemas.iter().copied().chain([errors]);
    let width = all.clone().map(|(schema, _)| schema.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (schema, path) in all {
        let parser = schema.rows.as_deref().map_or("as it is", Extractor::kind);
        let Schema { name, version, columns, description, .. } = &**schema;
        let own = if path.starts_with("schemas/") { String::new() } else { format!(" ({path})") };
        let _ =
            writeln!(text, "{name:width$}  v{version}  {:>2} columns, {parser:9}  {description}{own}", columns.len());
    }
    text
}

impl TableArgs {
    fn with(
        &self,
        library: &Library,
        dialect: Dialect,
        print: impl Fn(TableIn<'_>) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let schema = match self.name.as_str() {
            ERRORS => Arc::new(Schema::errors()),
            name => Arc::clone(library.get(name).ok_or_else(|| unknown(name, library))?),
        };
        let name = self.table.as_deref().unwrap_or(&schema.name);
        if !crate::table::is_name(name) {
            let why = "give 1 to 255 lower-case letters, digits and underscores, a letter first";
            return Err(Failure::usage(format!("--table can't be {name:?}: {why}")));
        }
        let location = location(&self.location, dialect).map_err(|why| {
            Failure::usage(format!(
                "--location can't be {:?} ({why}): give the destination, and below it the table: s3://BUCKET/PREFIX/{name}/",
                self.location
            ))
        })?;
        let partitions = match (self.partitions, self.days) {
            (PartitionsArg::Registered, None) => Partitions::Registered,
            (PartitionsArg::Projected, days) => Partitions::Projected { days: days.unwrap_or(PROJECTED_DAYS) },
            (PartitionsArg::Registered, Some(_)) => {
                let message = "--days has no use for registered partitions: remove it, or add --partitions projected";
                return Err(Failure::usage(message));
            }
        };
        let folder = location.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        // The error prefix is called as one likes.
        if schema.name != ERRORS && folder != name && folder != schema.name {
            eprintln!(
                "firemain: warning: --location ends with {folder:?}, and rows of the table {name} are in a folder {name:?} below \
                 the destination: is it {location}{name}/?"
            );
        }
        print(TableIn {
            schema: &schema,
            name,
            location: &location,
            format: match self.format {
                FormatArg::Parquet if schema.name != ERRORS => FormatKind::Parquet,
                FormatArg::Parquet | FormatArg::Json => FormatKind::Json,
            },
            partitions,
        })
    }
}

/// The location as statements have it, with a slash at the end; or why it can't be one.
fn location(url: &str, dialect: Dialect) -> Result<String, String> {
    if url.contains(|c: char| c.is_control() || matches!(c, '\'' | '"' | '`' | '\\')) {
        return Err("it has a quotation mark, a backslash or a control character".to_owned());
    }
    if url.starts_with("http://") || url.starts_with("https://") {
        return Err("an address of S3 is no location".to_owned());
    }
    match (values::destination(url)?, dialect) {
        (Destination::Memory, _) => Err("nobody else reads the memory of a process".to_owned()),
        (Destination::File { .. }, Dialect::Athena) => Err("Athena and Glue know S3 alone".to_owned()),
        (Destination::S3 { prefix, .. }, _) if prefix.is_empty() => Err("it is a whole bucket".to_owned()),
        (Destination::S3 { .. } | Destination::File { .. }, _) => Ok(format!("{}/", url.trim_end_matches('/'))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(schema: &str, location: &str) -> TableArgs {
        let (partitions, format) = (PartitionsArg::Registered, FormatArg::Parquet);
        TableArgs { name: schema.into(), location: location.into(), partitions, days: None, format, table: None }
    }

    fn wrong(args: &TableArgs, dialect: Dialect) -> String {
        let failure = args.with(&Library::open(None).unwrap(), dialect, |_| Ok(())).unwrap_err();
        assert_eq!(failure.code, 2);
        failure.message
    }

    #[test]
    fn a_location_that_no_table_has_is_refused_with_the_reason() {
        for (url, why) in [
            ("s3://my lake/logs/", "characters that no bucket has"),
            ("s3://", "the bucket is missing"),
            ("s3:///logs", "the bucket is missing"),
            ("s3://lake", "it is a whole bucket"),
            ("s3://lake/a//b", "an empty part"),
            ("s3://lake/it's/", "a quotation mark"),
            ("s3://lake/`x`/", "a quotation mark"),
            ("s3://lake/a\nb/", "a control character"),
            ("https://lake.s3.amazonaws.com/logs/", "an address of S3"),
            ("http://x/y", "an address of S3"),
            ("gs://lake/x", "gs is no kind of destination"),
            ("/var/lake", "for a folder, write file:///var/lake"),
            ("file:///var/lake", "Athena and Glue know S3 alone"),
            ("memory:///", "nobody else reads"),
            ("", "not a URL"),
        ] {
            let message = wrong(&made("log_events", url), Dialect::Athena);
            assert!(message.starts_with(&format!("--location can't be {url:?} (")), "{message}");
            assert!(message.contains(why) && message.ends_with("s3://BUCKET/PREFIX/log_events/"), "{message}");
        }
        for (url, dialect) in [
            ("s3://lake/my logs/log_events", Dialect::Athena),
            ("s3://lake/log_events/", Dialect::Trino),
            ("file:///lake/log_events", Dialect::DuckDb),
        ] {
            let made = made("log_events", url);
            let with_slash = |table: TableIn<'_>| {
                assert_eq!(table.location, format!("{}/", url.trim_end_matches('/')));
                Ok(())
            };
            made.with(&Library::open(None).unwrap(), dialect, with_slash).unwrap();
        }
    }

    #[test]
    fn names_that_nobody_knows_and_days_without_use_are_refused() {
        let message = wrong(&made("nope", "s3://lake/x/"), Dialect::Athena);
        assert!(message.contains("there is no schema \"nope\": give one of alb_access, "), "{message}");
        assert!(message.contains("errors, or name the folder of your own by --schemas-dir"), "{message}");
        let table = TableArgs { table: Some("A-b".into()), ..made("log_events", "s3://lake/x/") };
        assert!(wrong(&table, Dialect::Athena).starts_with("--table can't be \"A-b\": give 1 to 255 lower-case"));
        let days = TableArgs { days: Some(7), ..made("log_events", "s3://lake/x/") };
        assert!(wrong(&days, Dialect::Athena).ends_with("remove it, or add --partitions projected"));
    }
}
