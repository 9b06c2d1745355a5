use serde_json::json;

use super::*;
use crate::check::State;

const LOCATION: &str = "s3://lake/logs/log_events/";

fn wanted(schema: &Schema) -> TableIn<'_> {
    let (format, partitions) = (FormatKind::Parquet, Partitions::Registered);
    TableIn { schema, name: &schema.name, location: LOCATION, format, partitions }
}

/// Judges the table that Firemain would make, with a change.
fn changed(change: impl FnOnce(&mut Value)) -> Finding {
    let schema = Schema::log_events();
    let mut found = wanted(&schema).glue();
    change(&mut found);
    table(&found, &wanted(&schema), "logs")
}

#[test]
fn a_table_that_firemain_prints_is_right() {
    let finding = changed(|_| {});
    assert_eq!(finding.state, State::Ok, "{}", finding.text);
    assert!(finding.text.starts_with("it has the location and the 6 columns of log_events v1"), "{}", finding.text);
    assert!(finding.text.ends_with("partitions are registered"), "{}", finding.text);
    let schema = Schema::log_events();
    let projected = TableIn { partitions: Partitions::Projected { days: 7 }, ..wanted(&schema) }.glue();
    let finding = table(&projected, &wanted(&schema), "logs");
    assert!(finding.state == State::Ok && finding.text.ends_with("projected: none is registered"), "{}", finding.text);
    let errors = Schema::errors();
    let json = TableIn { format: FormatKind::Json, ..wanted(&errors) };
    assert_eq!(table(&json.glue(), &json, "logs").state, State::Ok);
}

#[test]
fn what_queries_would_miss_or_fail_on_is_said() {
    let storage = "StorageDescriptor";
    type Case = (&'static str, State, fn(&mut Value));
    let cases: [Case; 8] = [
        ("its location is \"s3://other/log_events\"", State::Failed, |t| {
            t["StorageDescriptor"]["Location"] = "s3://other/log_events".into();
        }),
        ("is no Hive table", State::Failed, |t| t["StorageDescriptor"]["InputFormat"] = "".into()),
        ("it is partitioned by dt string, and its objects by log_group string, dt string", State::Failed, |t| {
            t["PartitionKeys"] = json!([{ "Name": "dt", "Type": "string" }]);
        }),
        ("its input format is \"org.apache.hadoop.mapred.TextInputFormat\"", State::Failed, |t| {
            t["StorageDescriptor"]["InputFormat"] = "org.apache.hadoop.mapred.TextInputFormat".into();
        }),
        ("its column event_id is of type bigint, and objects have string", State::Failed, |t| {
            t["StorageDescriptor"]["Columns"][0]["Type"] = "bigint".into();
        }),
        ("ALTER TABLE logs.log_events ADD COLUMNS (event_id string)", State::Warning, |t| {
            t["StorageDescriptor"]["Columns"].as_array_mut().unwrap().remove(0);
        }),
        ("its storage.location.template (s3://x/${log_group}) puts values", State::Failed, |t| {
            t["Parameters"]["projection.enabled"] = "true".into();
            t["Parameters"]["storage.location.template"] = "s3://x/${log_group}".into();
        }),
        // A column more is of an older version, or somebody's own; a slash less is the same folder.
        ("it has the location and the 6 columns", State::Ok, |t| {
            t["StorageDescriptor"]["Columns"].as_array_mut().unwrap().push(json!({ "Name": "x", "Type": "int" }));
            t["StorageDescriptor"]["Location"] = LOCATION.trim_end_matches('/').into();
        }),
    ];
    for (says, state, change) in cases {
        let finding = changed(change);
        assert_eq!(finding.state, state, "{}", finding.text);
        assert!(finding.text.contains(says), "{says}: {}", finding.text);
    }
    let schema = Schema::log_events();
    let mut found = wanted(&schema).glue();
    found[storage]["Columns"].as_array_mut().unwrap().truncate(3);
    assert!(table(&found, &wanted(&schema), "logs").text.contains("it lacks columns that"));
}

#[test]
fn types_are_compared_and_not_how_they_are_written() {
    let list = json!([{ "Name": "A", "Type": "map<string, string>" }, { "Name": "b", "Type": "INTEGER" }]);
    let columns: Vec<_> = columns(&list).into_iter().map(|(name, kind)| format!("{name} {kind}")).collect();
    assert_eq!(columns, ["a map<string,string>", "b int"]);
}

#[test]
fn a_database_is_there_and_need_not_be_asked_for() {
    assert_eq!(database("logs", Ok(())).state, State::Ok);
    let absent = database("logs", Err(CatalogError::NoTable("x".into())));
    assert!(absent.state == State::Failed && absent.text.contains("catalog.glue.database"), "{}", absent.text);
    let denied = || CatalogError::Refused("Glue GetDatabase: 400 AccessDeniedException why".into());
    let hidden = database("logs", Err(denied()));
    assert!(hidden.state == State::NotChecked && hidden.text.contains("allow glue:GetDatabase"), "{}", hidden.text);
    let away = database("logs", Err(CatalogError::Transient("dispatch failure".into())));
    assert!(
        away.state == State::Failed && away.text.starts_with("can't be reached (dispatch failure)"),
        "{}",
        away.text
    );
    let silent = database("logs", Err(CatalogError::Transient(silence())));
    assert_eq!(silent.text, silence());
}

#[test]
fn a_table_that_is_missing_comes_with_the_command_that_makes_it() {
    let schema = Schema::log_events();
    let absent = || CatalogError::NoTable("x".into());
    let finding = missing(&wanted(&schema), absent());
    assert_eq!(finding.state, State::Warning);
    let command = format!("`firemain schema glue log_events --location {LOCATION}`");
    assert!(finding.text.contains(&command), "{}", finding.text);
    let other = TableIn { name: "web", format: FormatKind::Json, ..wanted(&schema) };
    let command = format!("`firemain schema glue log_events --location {LOCATION} --table web --format json`");
    assert!(missing(&other, absent()).text.contains(&command), "{}", missing(&other, absent()).text);
    let denied = CatalogError::Refused("Glue GetTable: 400 AccessDeniedException why".into());
    let finding = missing(&other, denied);
    assert!(finding.state == State::Failed && finding.text.contains("allow glue:GetTable"), "{}", finding.text);
}
