//! A table as catalogues want it: Athena's DDL, Glue's table input, and the same for Trino and DuckDB.
//!
//! Registered partitions are known to the catalogue one by one. Projected ones are worked out from the query: nothing
//! is to be registered, but a query has to name its log groups. No `storage.location.template` is given: with one, the
//! value of a partition would be put into the path as it is, while keys have it escaped.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::{Schema, Type};
use crate::config::FormatKind;

/// Bytes of a comment, at most: <https://docs.aws.amazon.com/glue/latest/webapi/API_Column.html>
const LONGEST_COMMENT: usize = 255;
/// Days back that a projected table shows.
pub const PROJECTED_DAYS: u32 = 30;

/// How a catalogue knows of partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partitions {
    Registered,
    /// Back to so many days ago.
    Projected {
        days: u32,
    },
}

/// A table of the lake.
#[derive(Clone, Copy, Debug)]
pub struct TableIn<'t> {
    pub schema: &'t Schema,
    pub name: &'t str,
    /// The table's folder, `s3://bucket/prefix/name/`, with a slash at the end.
    pub location: &'t str,
    pub format: FormatKind,
    pub partitions: Partitions,
}

/// Whose SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Athena,
    Trino,
    DuckDb,
}

impl TableIn<'_> {
    pub fn ddl(&self, dialect: Dialect) -> String {
        match dialect {
            Dialect::Athena => self.athena(),
            Dialect::Trino => self.trino(),
            Dialect::DuckDb => self.duckdb(),
        }
    }

    fn athena(&self) -> String {
        let column = |name: &str, kind: Type, description: &str| {
            let comment = comment(description);
            let comment = if comment.is_empty() { comment } else { format!(" COMMENT '{comment}'") };
            format!("  `{name}` {}{comment}", hive_type(kind))
        };
        let columns: Vec<_> = self.schema.columns.iter().map(|c| column(&c.name, c.kind, &c.description)).collect();
        let partitions: Vec<_> =
            self.schema.partitions.iter().map(|c| column(&c.name, c.kind, &c.description)).collect();
        let format = match self.format {
            FormatKind::Parquet => "STORED AS PARQUET".to_owned(),
            FormatKind::Json => format!("ROW FORMAT SERDE '{JSON_SERDE}'\nSTORED AS TEXTFILE"),
        };
        let properties: Vec<_> =
            self.parameters().into_iter().map(|(key, value)| format!("  '{key}' = '{value}'")).collect();
        let mut text = self.about();
        let _ = write!(
            text,
            "CREATE EXTERNAL TABLE IF NOT EXISTS `{}` (\n{}\n)\nCOMMENT '{}'\nPARTITIONED BY (\n{}\n)\n{format}\n\
             LOCATION '{}'\nTBLPROPERTIES (\n{}\n);\n",
            self.name,
            columns.join(",\n"),
            comment(&self.schema.description),
            partitions.join(",\n"),
            self.location,
            properties.join(",\n"),
        );
        text
    }

    /// What one has to know of the partitions, as comments.
    fn about(&self) -> String {
        match self.partitions {
            Partitions::Registered => "\
-- Partitions are registered: by Firemain after each commit (catalog.glue.database), or now and then by
-- MSCK REPAIR TABLE. Any condition on them works, LIKE too.
"
            .to_owned(),
            Partitions::Projected { days } => {
                let injected =
                    if self.is_by_log_group() { "Each query has to name its log groups, by = or IN.\n-- " } else { "" };
                format!(
                    "-- Partitions are projected: nothing is to be registered. {injected}Bound dt in every query: each hour \
                     that is not ruled out is listed, one request each.\n-- Days before the last {days} are not seen: \
                     see projection.dt.range.\n"
                )
            }
        }
    }

    fn is_by_log_group(&self) -> bool {
        self.schema.partitions.iter().any(|column| column.name == "log_group")
    }

    fn parameters(&self) -> Vec<(String, String)> {
        let mut parameters = vec![match self.format {
            FormatKind::Parquet => ("classification", "parquet".to_owned()),
            FormatKind::Json => ("classification", "json".to_owned()),
        }];
        parameters.push(("firemain.schema", self.schema.name.clone()));
        parameters.push(("firemain.schema.version", self.schema.version.to_string()));
        if let Partitions::Projected { days } = self.partitions {
            parameters.push(("projection.enabled", "true".to_owned()));
            let first = self.schema.partitions.first().map_or("", |column| column.name.as_str());
            match first {
                "log_group" => parameters.push(("projection.log_group.type", "injected".to_owned())),
                _ => {
                    parameters.push(("projection.error.type", "enum".to_owned()));
                    let codes: Vec<_> = crate::event::RejectionCode::ALL.iter().map(|code| code.as_str()).collect();
                    parameters.push(("projection.error.values", codes.join(",")));
                }
            }
            for (key, value) in [
                ("projection.dt.type", "date"),
                ("projection.dt.format", "yyyy-MM-dd"),
                ("projection.dt.range", &format!("NOW-{days}DAYS,NOW+1DAYS")),
                ("projection.dt.interval", "1"),
                ("projection.dt.interval.unit", "DAYS"),
                ("projection.hour.type", "integer"),
                ("projection.hour.range", "0,23"),
                ("projection.hour.digits", "2"),
            ] {
                parameters.push((key, value.to_owned()));
            }
        }
        parameters.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// The `TableInput` of Glue's CreateTable and UpdateTable.
    /// Format: <https://docs.aws.amazon.com/glue/latest/webapi/API_TableInput.html>
    pub fn glue(&self) -> Value {
        let column = |name: &str, kind: Type, description: &str| {
            let mut column = json!({ "Name": name, "Type": hive_type(kind) });
            if !description.is_empty() {
                column["Comment"] = comment(description).into();
            }
            column
        };
        let columns: Vec<_> = self.schema.columns.iter().map(|c| column(&c.name, c.kind, &c.description)).collect();
        let keys: Vec<_> = self.schema.partitions.iter().map(|c| column(&c.name, c.kind, &c.description)).collect();
        let mut parameters = Map::from_iter([("EXTERNAL".to_owned(), Value::from("TRUE"))]);
        parameters.extend(self.parameters().into_iter().map(|(key, value)| (key, value.into())));
        let (input, output, serde) = match self.format {
            FormatKind::Parquet => (
                "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat",
                "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat",
                "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe",
            ),
            FormatKind::Json => (
                "org.apache.hadoop.mapred.TextInputFormat",
                "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat",
                JSON_SERDE,
            ),
        };
        json!({
            "Name": self.name,
            "Description": comment(&self.schema.description),
            "TableType": "EXTERNAL_TABLE",
            "Parameters": parameters,
            "PartitionKeys": keys,
            "StorageDescriptor": {
                "Columns": columns,
                "Location": self.location,
                "InputFormat": input,
                "OutputFormat": output,
                "SerdeInfo": { "SerializationLibrary": serde },
            },
        })
    }

    /// For Trino's Hive connector.
    /// Format: <https://trino.io/docs/current/connector/hive.html>
    fn trino(&self) -> String {
        let projected = |name: &str| match (self.partitions, name) {
            (Partitions::Registered, _) => String::new(),
            (Partitions::Projected { .. }, "log_group") => " WITH (partition_projection_type = 'INJECTED')".to_owned(),
            (Partitions::Projected { days }, "dt") => format!(
                " WITH (partition_projection_type = 'DATE', partition_projection_format = 'yyyy-MM-dd', \
                 partition_projection_range = ARRAY['NOW-{days}DAYS', 'NOW+1DAYS'], partition_projection_interval = 1, \
                 partition_projection_interval_unit = 'DAYS')"
            ),
            (Partitions::Projected { .. }, "hour") => {
                " WITH (partition_projection_type = 'INTEGER', partition_projection_range = ARRAY['0', '23'], \
                 partition_projection_digits = 2)"
                    .to_owned()
            }
            (Partitions::Projected { .. }, _) => {
                let codes: Vec<_> =
                    crate::event::RejectionCode::ALL.iter().map(|code| format!("'{}'", code.as_str())).collect();
                let codes = codes.join(", ");
                format!(" WITH (partition_projection_type = 'ENUM', partition_projection_values = ARRAY[{codes}])")
            }
        };
        let columns = self.schema.columns.iter().map(|c| format!("  \"{}\" {}", c.name, trino_type(c.kind)));
        let keys = self.schema.partitions.iter();
        let partitions = keys.clone().map(|c| format!("  \"{}\" {}{}", c.name, trino_type(c.kind), projected(&c.name)));
        let columns: Vec<_> = columns.chain(partitions).collect();
        let keys: Vec<_> = keys.map(|c| format!("'{}'", c.name)).collect();
        let format = match self.format {
            FormatKind::Parquet => "PARQUET",
            FormatKind::Json => "OPENX_JSON",
        };
        let enabled = match self.partitions {
            Partitions::Registered => "",
            Partitions::Projected { .. } => ",\n  partition_projection_enabled = true",
        };
        format!(
            "{}CREATE TABLE IF NOT EXISTS \"{}\" (\n{}\n)\nWITH (\n  external_location = '{}',\n  format = '{format}',\n  \
             partitioned_by = ARRAY[{}]{enabled}\n);\n",
            self.about(),
            self.name,
            columns.join(",\n"),
            self.location,
            keys.join(", "),
        )
    }

    /// A view: DuckDB finds partitions by listing. It has all columns, also those that no object has yet.
    fn duckdb(&self) -> String {
        let Self { schema, name, location, .. } = self;
        let keys: Vec<_> = schema.partitions.iter().map(|c| format!("'{}': VARCHAR", c.name)).collect();
        let hive = format!("hive_partitioning = true, hive_types = {{{}}}", keys.join(", "));
        let read = match self.format {
            FormatKind::Parquet => {
                let none =
                    schema.columns.iter().map(|c| format!("NULL::{} AS \"{}\"", self.duckdb_type(c.kind), c.name));
                let none: Vec<_> = none.collect();
                format!(
                    "(\n  SELECT * FROM (SELECT {}) WHERE false\n  UNION ALL BY NAME\n  \
                     SELECT * FROM read_parquet('{location}*/*/*/*.parquet', {hive}, union_by_name = true)\n)",
                    none.join(", "),
                )
            }
            FormatKind::Json => {
                let columns = schema.columns.iter().map(|c| format!("'{}': '{}'", c.key, self.duckdb_type(c.kind)));
                let columns: Vec<_> = columns.collect();
                format!(
                    "read_json('{location}*/*/*/*.json*', format = 'newline_delimited', {hive}, columns = {{{}}})",
                    columns.join(", ")
                )
            }
        };
        let names = schema.columns.iter().map(|c| &c.name).chain(schema.partitions.iter().map(|c| &c.name));
        let names: Vec<_> = names.map(|name| format!("\"{name}\"")).collect();
        format!("CREATE OR REPLACE VIEW \"{name}\" AS SELECT {} FROM {read};\n", names.join(", "))
    }

    fn duckdb_type(&self, kind: Type) -> &'static str {
        match kind {
            Type::String => "VARCHAR",
            Type::Bigint => "BIGINT",
            Type::Int => "INTEGER",
            Type::Double => "DOUBLE",
            Type::Boolean => "BOOLEAN",
            // Parquet says that they are of UTC, JSON can't.
            Type::Timestamp if self.format == FormatKind::Parquet => "TIMESTAMPTZ",
            Type::Timestamp => "TIMESTAMP",
            Type::Date => "DATE",
            Type::Strings => "VARCHAR[]",
            Type::StringMap => "MAP(VARCHAR, VARCHAR)",
        }
    }
}

const JSON_SERDE: &str = "org.openx.data.jsonserde.JsonSerDe";

/// A description, cut to what Glue takes, without what Athena's DDL might take for its own: quotes, the ends of
/// statements and of lines.
fn comment(description: &str) -> String {
    let plain = |c: char| match c {
        '\'' | '`' => '’',
        '"' => '”',
        ';' => ',',
        '\\' => '/',
        c if c.is_control() => ' ',
        c => c,
    };
    let description: String = description.chars().map(plain).collect();
    let end =
        description.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= LONGEST_COMMENT).last();
    description[..end.unwrap_or(0)].to_owned()
}

/// As Hive, Glue and Athena's DDL call it.
pub fn hive_type(kind: Type) -> &'static str {
    match kind {
        Type::Timestamp => "timestamp",
        other => other.as_str(),
    }
}

fn trino_type(kind: Type) -> &'static str {
    match kind {
        Type::String => "varchar",
        Type::Int => "integer",
        Type::Strings => "array(varchar)",
        Type::StringMap => "map(varchar, varchar)",
        Type::Bigint | Type::Double | Type::Boolean | Type::Timestamp | Type::Date => kind.as_str(),
    }
}
