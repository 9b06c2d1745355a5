//! The schemas that can be named: the built-in ones and those of a folder; and the tables of a configuration.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::tables::{BadRule, Rule, Tables};
use super::{BUILT_IN, ERRORS, LOG_EVENTS, Schema, SchemaError};
use crate::config::TableConfig;

/// Texts of schema files, by the name of their schema.
#[derive(Debug)]
pub struct Library(BTreeMap<String, File>);

#[derive(Debug)]
struct File {
    path: String,
    text: String,
    schema: Arc<Schema>,
}

/// Why there are no tables.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    #[error("the folder of schemas, {folder}, can't be read: {why}")]
    Folder { folder: String, why: std::io::Error },
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error("{0} and {1} are both the schema {2}: rename one")]
    Twice(String, String, String),
    #[error("{path} is called {name}, as the table {of} is, and can't be another: rename it")]
    Taken { path: String, name: String, of: &'static str },
    #[error("there is no schema {0:?}: there are {1}")]
    Unknown(String, String),
    #[error(transparent)]
    Rule(#[from] BadRule),
}

impl Library {
    /// The built-in schemas, and over them those of the files in a folder that end with `.json`.
    pub fn open(folder: Option<&Path>) -> Result<Self, LibraryError> {
        let mut files = BTreeMap::new();
        for (path, text) in BUILT_IN {
            let schema = Arc::new(Schema::parse(path, text, None)?);
            files.insert(schema.name.clone(), File { path: path.to_owned(), text: text.to_owned(), schema });
        }
        let mut own = BTreeMap::<String, File>::new();
        for (path, text) in folder.map(read).transpose()?.unwrap_or_default() {
            let schema = Arc::new(Schema::parse(&path, &text, None)?);
            let name = schema.name.clone();
            let taken = [(LOG_EVENTS, "of all events that no other takes"), (ERRORS, "of the error prefix")];
            if let Some((_, of)) = taken.into_iter().find(|(taken, _)| *taken == name) {
                return Err(LibraryError::Taken { path, name, of });
            }
            if let Some(other) = own.get(&name) {
                return Err(LibraryError::Twice(other.path.clone(), path, name));
            }
            own.insert(name, File { path, text, schema });
        }
        files.extend(own);
        Ok(Self(files))
    }

    /// In alphabetical order.
    pub fn schemas(&self) -> impl Iterator<Item = (&Arc<Schema>, &str)> {
        self.0.values().map(|file| (&file.schema, file.path.as_str()))
    }

    /// A schema by its name.
    pub fn get(&self, name: &str) -> Result<&Arc<Schema>, LibraryError> {
        self.file(name).map(|file| &file.schema)
    }

    /// The text of its file.
    pub fn text(&self, name: &str) -> Result<&str, LibraryError> {
        self.file(name).map(|file| file.text.as_str())
    }

    fn file(&self, name: &str) -> Result<&File, LibraryError> {
        let known = || self.0.keys().cloned().collect::<Vec<_>>().join(", ");
        self.0.get(name).ok_or_else(|| LibraryError::Unknown(name.to_owned(), known()))
    }

    /// The tables of a configuration.
    pub fn tables(&self, rules: &[TableConfig]) -> Result<Tables, LibraryError> {
        let general = Schema::log_events();
        let rule = |config: &TableConfig| {
            let file = self.file(&config.schema)?;
            let schema = match &config.fields {
                Some(fields) => Arc::new(Schema::parse(&file.path, &file.text, Some(fields))?),
                None if file.schema.name == general.name => Arc::clone(&general),
                None => Arc::clone(&file.schema),
            };
            let name = config.name.clone().unwrap_or_else(|| schema.name.clone());
            let TableConfig { log_groups, on_mismatch, .. } = config.clone();
            Ok(Rule { name, schema, log_groups, on_mismatch })
        };
        let rules = rules.iter().map(rule).collect::<Result<Vec<_>, LibraryError>>()?;
        Ok(Tables::new(rules)?)
    }
}

/// Paths and texts of the schema files in a folder, in the order of their names.
fn read(folder: &Path) -> Result<BTreeMap<String, String>, LibraryError> {
    let failed = |why| LibraryError::Folder { folder: folder.display().to_string(), why };
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let text = std::fs::read_to_string(&path).map_err(failed)?;
            files.insert(path.display().to_string(), text);
        }
    }
    Ok(files)
}
