//! The Glue database and its tables: whether queries will find what is delivered.

use serde_json::Value;

use super::aws::{NO_CREDENTIALS, Settings};
use super::{Finding, Topic, action_in, bounded, counted, silence, unreachable_because};
use crate::catalog::CatalogError;
use crate::catalog::glue::{Glue, is_projected, is_table_of_files};
use crate::config::{Config, FormatKind};
use crate::table::catalog::{Partitions, TableIn};
use crate::table::tables::Tables;
use crate::table::{ERRORS, Schema};

/// The action that the database is asked with, beside those that the service needs.
pub const DATABASE: &str = "glue:GetDatabase";

/// Looks at the database that is configured, if one is, and at each table.
pub(super) async fn check(config: &Config, tables: &Tables, settings: &Settings, topic: Topic) {
    let Some(named) = &config.glue else { return };
    let aws = match settings {
        Settings::Found(found) => &found.aws,
        Settings::Missing => return topic.tell("Glue database", Finding::not_checked(NO_CREDENTIALS)),
        Settings::NotNeeded => {
            let text = "files into a local lake: nothing is registered, `catalog.glue` has no use";
            return topic.tell("Glue database", Finding::warning(text));
        }
    };
    let glue = Glue::new(aws, named);
    let answer = asked(glue.database()).await;
    let hopeless = matches!(&answer, Err(error) if !is_denied(error));
    topic.tell("Glue database", database(&named.database, answer));
    if hopeless {
        return topic.tell("Glue tables", Finding::not_checked("the database can't be asked for them"));
    }
    let errors = Schema::errors();
    let ours = tables.iter().map(|table| (&*table.name, &*table.schema, &*table.name, config.format.kind));
    let folder = config.errors.prefix.as_str();
    for (name, schema, folder, format) in ours.chain([(ERRORS, &errors, folder, FormatKind::Json)]) {
        let location = format!("{}/{folder}/", config.destination);
        // The service does not make a difference between them; neither do columns and location.
        let wanted = TableIn { schema, name, location: &location, format, partitions: Partitions::Registered };
        let found = asked(glue.describe(name)).await;
        let database = &named.database;
        topic.tell(
            format!("Glue, {name}"),
            found.map_or_else(|error| missing(&wanted, error), |found| table(&found, &wanted, database)),
        );
    }
    topic.tell("Glue partitions", Finding::not_checked(
        "trying it would write: see that glue:BatchCreatePartition is allowed on the catalogue, the database and its tables",
    ));
}

async fn asked<T>(call: impl Future<Output = Result<T, CatalogError>>) -> Result<T, CatalogError> {
    bounded(call).await.unwrap_or_else(|| Err(CatalogError::Transient(silence())))
}

fn is_denied(error: &CatalogError) -> bool {
    matches!(error, CatalogError::Refused(text) if text.contains("AccessDenied"))
}

/// What to do about a refusal of an action.
fn explained(error: &CatalogError, action: &str) -> String {
    match error {
        CatalogError::Refused(text) if is_denied(error) => {
            format!("access denied: allow {} ({text})", action_in(text).unwrap_or(action))
        }
        CatalogError::Transient(text) if text.starts_with("Glue ") || text.starts_with("can't") => text.clone(),
        CatalogError::Transient(text) => unreachable_because(text),
        other => other.to_string(),
    }
}

/// Judges an answer of GetDatabase.
fn database(name: &str, answer: Result<(), CatalogError>) -> Finding {
    match answer {
        Ok(()) => Finding::ok(format!("{name} is there")),
        Err(error) if is_denied(&error) => {
            Finding::not_checked(format!("to look at it, allow {DATABASE}; the service does not need that"))
        }
        Err(CatalogError::NoTable(_)) => {
            Finding::failed(format!("there is no database {name}: make it, or correct `catalog.glue.database`"))
        }
        Err(error) => Finding::failed(explained(&error, DATABASE)),
    }
}

fn missing(wanted: &TableIn<'_>, error: CatalogError) -> Finding {
    let TableIn { schema, name, location, format, .. } = wanted;
    match error {
        CatalogError::NoTable(_) => {
            let table = if schema.name == *name { String::new() } else { format!(" --table {name}") };
            let json = if *format == FormatKind::Json && schema.name != ERRORS { " --format json" } else { "" };
            Finding::warning(format!(
                "there is no such table, and nothing of it is registered until there is: `firemain schema glue {} --location \
                 {location}{table}{json}` prints one for `aws glue create-table`",
                schema.name
            ))
        }
        error => Finding::failed(explained(&error, "glue:GetTable")),
    }
}

/// Judges a table that is there, against the one that would be made.
fn table(found: &Value, wanted: &TableIn<'_>, database: &str) -> Finding {
    let (expected, schema) = (wanted.glue(), wanted.schema);
    let at = |table: &Value, field: &str| table["StorageDescriptor"][field].as_str().unwrap_or_default().to_owned();
    if !is_table_of_files(found) {
        return Finding::failed(
            "it is no Hive table, such as partitions are added to: give ours another name or database",
        );
    }
    let (theirs, ours) = (at(found, "Location"), &wanted.location);
    if theirs.trim_end_matches('/') != ours.trim_end_matches('/') {
        return Finding::failed(format!(
            "its location is {theirs:?}, and rows are delivered to {ours}: correct the table, or `destination`"
        ));
    }
    let template = found["Parameters"]["storage.location.template"].as_str();
    if let Some(template) = template.filter(|_| is_projected(found)) {
        return Finding::failed(format!(
            "its storage.location.template ({template}) puts values of partitions into the path as they are, and keys have \
             them escaped: remove it, the location does without"
        ));
    }
    let (theirs, ours) = (columns(&found["PartitionKeys"]), columns(&expected["PartitionKeys"]));
    if theirs != ours {
        let (theirs, ours) = (listed(&theirs), listed(&ours));
        return Finding::failed(format!("it is partitioned by {theirs}, and its objects by {ours}: make it anew"));
    }
    let (theirs, ours) = (at(found, "InputFormat"), at(&expected, "InputFormat"));
    if theirs != ours {
        return Finding::failed(format!(
            "its input format is {theirs:?}, and objects are for {ours}: make it anew, or correct `format.kind`"
        ));
    }
    let theirs = columns(&found["StorageDescriptor"]["Columns"]);
    let kind = |name: &str| theirs.iter().find(|(known, _)| known == name).map(|(_, kind)| kind.as_str());
    let ours = columns(&expected["StorageDescriptor"]["Columns"]);
    if let Some((name, ours, theirs)) =
        ours.iter().find_map(|(name, ours)| Some((name, ours, kind(name).filter(|theirs| theirs != ours)?)))
    {
        return Finding::failed(format!(
            "its column {name} is of type {theirs}, and objects have {ours}: queries fail on it; make the table anew"
        ));
    }
    let missing: Vec<_> = ours.iter().filter(|(name, _)| kind(name).is_none()).cloned().collect();
    if !missing.is_empty() {
        let columns = if missing.len() == 1 { "a column" } else { "columns" };
        return Finding::warning(format!(
            "it lacks {columns} that queries then do not see: ALTER TABLE {database}.{} ADD COLUMNS ({})",
            wanted.name,
            listed(&missing)
        ));
    }
    let partitions = if is_projected(found) { "projected: none is registered" } else { "registered" };
    let count = counted(schema.columns.len() as u64, "column");
    Finding::ok(format!(
        "it has the location and the {count} of {} v{}; partitions are {partitions}",
        schema.name, schema.version
    ))
}

/// Name and type of each.
fn columns(list: &Value) -> Vec<(String, String)> {
    let columns = list.as_array().map(Vec::as_slice).unwrap_or_default().iter();
    let text = |column: &Value, field: &str| column[field].as_str().unwrap_or_default().to_ascii_lowercase();
    let kind = |column: &Value| text(column, "Type").replace(' ', "").replace("integer", "int");
    columns.map(|column| (text(column, "Name"), kind(column))).collect()
}

fn listed(columns: &[(String, String)]) -> String {
    columns.iter().map(|(name, kind)| format!("{name} {kind}")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
