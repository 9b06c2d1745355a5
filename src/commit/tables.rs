//! What a group remembers of the tables that it has delivered to: which columns and which format their objects have.
//!
//! A column may come, which reads as null from older objects, and may go; its type may not change, in any version. Objects
//! of a table are all Parquet or all JSON: an engine that meets another kind fails the whole query. So what would contradict
//! the objects that are there is no legal commit, and is refused at the start already.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// By the table's name.
pub type TableStates = BTreeMap<String, TableState>;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableState {
    /// `parquet` or `json`.
    pub format: String,
    /// The columns of each version of a schema that it has had, `apache_access v1`: type by name.
    pub versions: BTreeMap<String, BTreeMap<String, String>>,
}

/// Why objects can't be added to a table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
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
}

/// Adds tables, or versions of their schemas, if they go with what is known.
pub fn learn(known: &mut TableStates, tables: &TableStates) -> Result<(), Contradiction> {
    for (name, table) in tables {
        match known.get_mut(name) {
            Some(known) => known.learn(name, table)?,
            None => {
                known.insert(name.clone(), table.clone());
            }
        }
    }
    Ok(())
}

impl TableState {
    fn learn(&mut self, table: &str, new: &Self) -> Result<(), Contradiction> {
        let table = table.to_owned();
        if self.format != new.format {
            return Err(Contradiction::Format { table, now: new.format.clone(), before: self.format.clone() });
        }
        for (version, columns) in &new.versions {
            for (old, before) in &self.versions {
                let both = columns.iter().filter_map(|(column, now)| Some((column, now, before.get(column)?)));
                if let Some((column, now, before)) = both.into_iter().find(|(_, now, before)| now != before) {
                    let (column, now, before) = (column.clone(), now.clone(), before.clone());
                    return Err(Contradiction::Type { table, column, now, before, version: old.clone() });
                }
            }
            if self.versions.get(version).is_some_and(|before| before != columns) {
                return Err(Contradiction::Version { table, version: version.clone() });
            }
            self.versions.insert(version.clone(), columns.clone());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(version: u32, columns: &[(&str, &str)], format: &str) -> TableStates {
        let columns = columns.iter().map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned())).collect();
        let versions = BTreeMap::from([(format!("s v{version}"), columns)]);
        BTreeMap::from([("t".to_owned(), TableState { format: format.to_owned(), versions })])
    }

    const A: &[(&str, &str)] = &[("a", "bigint")];
    const B: &[(&str, &str)] = &[("a", "bigint"), ("b", "string")];

    #[test]
    fn columns_come_and_go_and_keep_their_type_for_ever() {
        let mut known = TableStates::new();
        for (version, columns) in [(1, A), (1, A), (2, B), (1, A), (3, A)] {
            learn(&mut known, &table(version, columns, "parquet")).unwrap();
        }
        let before = known.clone();
        let mut refused =
            |version, columns| learn(&mut known, &table(version, columns, "parquet")).unwrap_err().to_string();
        assert_eq!(
            refused(4, &[("b", "int")]),
            "table t: column b is of type int now, and was of type string in s v2: objects of both can't be read together; \
             give the column another name, or the table another `name` in its [[table]]"
        );
        assert_eq!(
            refused(3, B),
            "table t: s v3 has had other columns in this lake: raise the `version` in the schema's file"
        );
        assert_eq!(known, before);
    }

    #[test]
    fn a_table_keeps_its_format() {
        let mut known = table(1, A, "json");
        let error = learn(&mut known, &table(2, A, "parquet")).unwrap_err().to_string();
        assert!(error.starts_with("table t: its objects are json, and `format.kind` is parquet"), "{error}");
    }
}
