//! `firemain schema`: the schemas, and tables for Athena and others.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand, ValueEnum};

use super::{Failure, print};
use crate::config::FormatKind;
use crate::table::catalog::{Dialect, PROJECTED_DAYS, Partitions, TableIn};
use crate::table::library::Library;
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
    /// The table's folder: the destination, and below it the table's name
    #[arg(long, value_name = "URL")]
    location: String,
    /// How partitions are known: registered one by one, or projected from the query
    #[arg(long, value_enum, default_value = "registered")]
    partitions: PartitionsArg,
    /// Of a projected table: how many days back it shows
    #[arg(long, value_name = "N", default_value_t = PROJECTED_DAYS)]
    days: u32,
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
    let library = Library::open(args.schemas_dir.as_deref()).map_err(|error| Failure::usage(error.to_string()))?;
    match &args.command {
        SchemaCommand::List => print(&list(&library)),
        SchemaCommand::Show { name } if name == ERRORS => print(include_str!("../../schemas/errors.json")),
        SchemaCommand::Show { name } => print(library.text(name).map_err(|error| Failure::usage(error.to_string()))?),
        SchemaCommand::Ddl { table, dialect } => {
            let dialect = match dialect {
                DialectArg::Athena => Dialect::Athena,
                DialectArg::Trino => Dialect::Trino,
                DialectArg::Duckdb => Dialect::DuckDb,
            };
            table.with(&library, |table| print(&table.ddl(dialect)))
        }
        SchemaCommand::Glue { table } => table.with(&library, |table| print(&format!("{:#}\n", table.glue()))),
    }
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
    fn with(&self, library: &Library, print: impl Fn(TableIn<'_>) -> Result<(), Failure>) -> Result<(), Failure> {
        let schema = match self.name.as_str() {
            ERRORS => Arc::new(Schema::errors()),
            name => Arc::clone(library.get(name).map_err(|error| Failure::usage(error.to_string()))?),
        };
        if !self.location.contains("://") || self.location.contains(['\'', '"', '\n']) {
            return Err(Failure::usage(format!(
                "--location can't be {:?}: give s3://BUCKET/PREFIX/TABLE/",
                self.location
            )));
        }
        let name = self.table.as_deref().unwrap_or(&schema.name);
        if !crate::table::is_name(name) {
            let why = "a name is of lower-case letters, digits and underscores, and begins with a letter";
            return Err(Failure::usage(format!("--table can't be {name:?}: {why}")));
        }
        print(TableIn {
            schema: &schema,
            name,
            location: &format!("{}/", self.location.trim_end_matches('/')),
            format: match self.format {
                FormatArg::Parquet if schema.name != ERRORS => FormatKind::Parquet,
                FormatArg::Parquet | FormatArg::Json => FormatKind::Json,
            },
            partitions: match self.partitions {
                PartitionsArg::Registered => Partitions::Registered,
                PartitionsArg::Projected => Partitions::Projected { days: self.days },
            },
        })
    }
}
