//! What a lake remembers of its tables: which columns and which format their objects have had. At the start of a process
//! that is compared with the configuration, so that no object is written that makes a table unreadable beside the objects
//! that are there.
//!
//! A column may come, which reads as null from older objects, and may go; its type may not change, in any version. Objects
//! of a table are all Parquet or all JSON: an engine that meets another kind fails the whole query.
//!
//! It is kept in a numbered log as a group's state is, under `_firemain/_lake/state/`, which gets an entry only when a
//! table or a version of a schema is new. No group has that name: none begins with an underscore.

use std::collections::BTreeMap;

use bytes::Bytes;
use object_store::path::Path;
use serde::{Deserialize, Serialize};

use crate::commit::log::{Entry, KEPT, Log};
use crate::commit::storage::{Answer, Storage};
use crate::config::FormatKind;
use crate::retry::{GaveUp, Retry};
use crate::table::tables::{Table, Tables};

const FOLDER: &str = "_firemain/_lake/state";

/// Why a configuration does not go with what is in the lake.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    #[error(transparent)]
    Store(#[from] GaveUp),
    #[error(
        "table {table}: column {column} is of type {now} now, and was of type {before} in {version}: objects of both can't be \
         read together; give the column another name, or the table another `name` in its [[table]]"
    )]
    Type { table: String, column: String, now: String, before: String, version: String },
    #[error("table {table}: {version} has had other columns in this lake: raise the `version` in the schema's file")]
    Version { table: String, version: String },
    #[error(
        "table {table}: its objects are {before}, and `format.kind` is {now}: they can't be read together; set it back, or \
         deliver to another destination"
    )]
    Format { table: String, now: String, before: String },
    #[error(
        "{FOLDER}/{number:020}.json is not what this version of Firemain writes ({why}): a newer one may have made it; \
         run that one"
    )]
    Unreadable { number: u64, why: String },
}

/// All that is remembered: an entry of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Memory {
    tables: BTreeMap<String, TableMemory>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TableMemory {
    format: String,
    /// The columns of each version of a schema that it has had, `apache_access v1`: type by name.
    versions: BTreeMap<String, BTreeMap<String, String>>,
}

/// Compares each table with what the lake remembers of it, and makes it remember what is new.
pub async fn check(storage: &Storage, tables: &Tables, format: FormatKind) -> Result<(), LakeError> {
    let log = Log::new(storage.clone(), Path::from(FOLDER), KEPT);
    let mut retry = Retry::new(&storage.clock, &storage.patience, "recording the tables of the lake");
    loop {
        let head = log.head(0).await?;
        let number = head.as_ref().map_or(0, |head| head.number);
        let before = head.map_or_else(|| Ok(Memory::default()), Memory::parse)?;
        let mut now = before.clone();
        for table in tables.iter() {
            now.learn(table, format)?;
        }
        if now == before {
            return Ok(());
        }
        let bytes = Bytes::from(serde_json::to_vec(&now).expect("texts can be written"));
        // Else another process was faster, or nobody knows: the log says.
        if log.create(number + 1, &bytes, &mut retry).await? == Answer::Created {
            return Ok(());
        }
    }
}

impl Memory {
    fn parse(Entry { number, bytes }: Entry) -> Result<Self, LakeError> {
        serde_json::from_slice(&bytes).map_err(|error| LakeError::Unreadable { number, why: error.to_string() })
    }

    /// Adds a table, or a version of its schema, if that goes with what is known of it.
    fn learn(&mut self, table: &Table, format: FormatKind) -> Result<(), LakeError> {
        let (name, schema) = (table.name.to_string(), &table.schema);
        let format = match format {
            FormatKind::Parquet => "parquet",
            FormatKind::Json => "json",
        };
        let columns = schema.columns.iter().map(|column| (column.name.clone(), column.kind.to_string()));
        let (columns, version) = (BTreeMap::from_iter(columns), format!("{} v{}", schema.name, schema.version));
        let new = || TableMemory { format: format.to_owned(), versions: BTreeMap::new() };
        let known = self.tables.entry(name.clone()).or_insert_with(new);
        if known.format != format {
            return Err(LakeError::Format { table: name, now: format.to_owned(), before: known.format.clone() });
        }
        for (version, before) in &known.versions {
            let both = columns.iter().filter_map(|(column, now)| Some((column, now, before.get(column)?)));
            if let Some((column, now, before)) = both.into_iter().find(|(_, now, before)| now != before) {
                let (column, now, before) = (column.clone(), now.clone(), before.clone());
                return Err(LakeError::Type { table: name, column, now, before, version: version.clone() });
            }
        }
        if known.versions.get(&version).is_some_and(|before| *before != columns) {
            return Err(LakeError::Version { table: name, version });
        }
        known.versions.insert(version, columns);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    use super::*;
    use crate::clock::Clock;
    use crate::retry::Patience;
    use crate::table::Schema;
    use crate::table::tables::{OnMismatch, Rule};

    fn tables(version: u32, columns: &str) -> Tables {
        let text = format!(
            r#"{{"name": "s", "version": {version}, "keep_message": false, "parse": {{"json": {{}}}}, "columns": [{columns}],
            "partitions": [{{"name": "log_group", "type": "string"}}, {{"name": "dt", "type": "string"}},
                           {{"name": "hour", "type": "string"}}]}}"#
        );
        let schema = Arc::new(Schema::parse("s.json", &text, None).unwrap());
        let log_groups = vec!["/x".to_owned()];
        Tables::new(vec![Rule { name: "t".to_owned(), schema, log_groups, on_mismatch: OnMismatch::Error }]).unwrap()
    }

    fn storage(store: &Arc<InMemory>) -> Storage {
        Storage::new(Arc::clone(store) as _, true, Clock::simulated(1, 0), Patience::default())
    }

    async fn entries(storage: &Storage) -> usize {
        storage.list(&Path::from(FOLDER), None).await.unwrap().len()
    }

    const A: &str = r#"{"name":"a","type":"bigint"}"#;
    const B: &str = r#"{"name":"a","type":"bigint"},{"name":"b","type":"string"}"#;

    #[tokio::test]
    async fn columns_come_and_go_and_keep_their_type_for_ever() {
        let storage = storage(&Arc::new(InMemory::new()));
        let check =
            async |version, columns: &str| check(&storage, &tables(version, columns), FormatKind::Parquet).await;
        for _ in 0..2 {
            check(1, A).await.unwrap();
        }
        assert_eq!(entries(&storage).await, 1, "nothing was new");
        check(2, B).await.unwrap();
        check(1, A).await.unwrap();
        check(3, A).await.unwrap();
        let error = check(4, r#"{"name":"b","type":"int"}"#).await.unwrap_err().to_string();
        assert_eq!(
            error,
            "table t: column b is of type int now, and was of type string in s v2: objects of both can't be read together; \
             give the column another name, or the table another `name` in its [[table]]"
        );
        let error = check(3, B).await.unwrap_err().to_string();
        assert_eq!(error, "table t: s v3 has had other columns in this lake: raise the `version` in the schema's file");
        assert_eq!(entries(&storage).await, 3, "nothing of what was refused");
    }

    #[tokio::test]
    async fn a_table_keeps_its_format() {
        let (storage, tables) = (storage(&Arc::new(InMemory::new())), tables(1, A));
        check(&storage, &tables, FormatKind::Json).await.unwrap();
        let error = check(&storage, &tables, FormatKind::Parquet).await.unwrap_err().to_string();
        assert!(error.starts_with("table t: its objects are json, and `format.kind` is parquet"), "{error}");
    }

    #[tokio::test]
    async fn processes_that_start_at_once_all_are_remembered() {
        let store = Arc::new(InMemory::new());
        let versions: Vec<_> = (1..=8).map(|version| tables(version, A)).collect();
        let storages: Vec<_> = versions.iter().map(|_| storage(&store)).collect();
        let checks = versions.iter().zip(&storages).map(|(tables, storage)| check(storage, tables, FormatKind::Json));
        futures::future::try_join_all(checks).await.unwrap();
        let head = Log::new(storage(&store), Path::from(FOLDER), KEPT).head(0).await.unwrap().unwrap();
        assert_eq!(Memory::parse(head).unwrap().tables["t"].versions.len(), 8);
    }

    #[tokio::test]
    async fn what_a_newer_version_wrote_is_not_guessed_at() {
        let store = Arc::new(InMemory::new());
        let key = Path::from(format!("{FOLDER}/00000000000000000007.json"));
        store.put(&key, r#"{"tables":{},"views":{}}"#.into()).await.unwrap();
        let error = check(&storage(&store), &tables(1, A), FormatKind::Json).await.unwrap_err().to_string();
        assert!(error.starts_with("_firemain/_lake/state/00000000000000000007.json is not what"), "{error}");
    }
}
