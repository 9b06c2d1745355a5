//! The schemas that can be named: the built-in ones and those of a folder; and the tables of a configuration.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::tables::{BadRule, Rule, Tables};
use super::{BUILT_IN, ERRORS, LOG_EVENTS, Schema, SchemaError};
use crate::config::TableConfig;
use crate::source::errors::REPLAYED;

/// Texts of schema files, by the name of their schema.
#[derive(Debug)]
pub struct Library(BTreeMap<String, File>);

#[derive(Debug)]
struct File {
    path: String,
    text: String,
    schema: Arc<Schema>,
}

/// Why there is no library.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    #[error("the folder of schemas, {folder}, can't be read: {why}")]
    Folder { folder: String, why: std::io::Error },
    #[error("{path} can't be read: {why}: a schema file is a text in UTF-8 that Firemain may read")]
    File { path: String, why: std::io::Error },
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error("{0} and {1} are both the schema {2}: rename one")]
    Twice(String, String, String),
    #[error("{path} is called {name}, as {of} is, and can't be another: rename it")]
    Taken { path: String, name: String, of: &'static str },
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
            let taken = [
                (LOG_EVENTS, "the table of all events that no other takes"),
                (ERRORS, "the table of the error prefix"),
                (REPLAYED, "the folder of what was replayed"),
            ];
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
    pub fn get(&self, name: &str) -> Option<&Arc<Schema>> {
        self.0.get(name).map(|file| &file.schema)
    }

    /// The text of its file.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(|file| file.text.as_str())
    }

    /// All names, for a message.
    pub fn names(&self) -> String {
        self.0.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
    }

    /// The tables of a configuration.
    ///
    /// # Errors
    /// All rules that name what is not there; or the first that does not go together with another.
    pub fn tables(&self, rules: &[TableConfig]) -> Result<Tables, Vec<BadRule>> {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for (number, config) in rules.iter().enumerate() {
            match self.rule(config) {
                Ok(rule) => good.push(rule),
                Err((key, message)) => bad.push(BadRule { rule: number, key, message }),
            }
        }
        if !bad.is_empty() {
            return Err(bad);
        }
        Tables::new(good).map_err(|bad| vec![bad])
    }

    /// A rule with its schema; or the key that is to blame, and why.
    fn rule(&self, config: &TableConfig) -> Result<Rule, (&'static str, String)> {
        let file = self.0.get(&config.schema).ok_or_else(|| {
            ("schema", format!("can't be {:?}: there is no such schema, but {}", config.schema, self.names()))
        })?;
        let schema = match &config.fields {
            // Its file is sound without them, so that they are to blame.
            Some(fields) => Schema::parse(&file.path, &file.text, Some(fields))
                .map(Arc::new)
                .map_err(|error| ("fields", format!("can't be {fields:?}: {}", error.why)))?,
            None => Arc::clone(&file.schema),
        };
        let TableConfig { name, log_groups, on_mismatch, .. } = config.clone();
        Ok(Rule { name: name.unwrap_or_else(|| schema.name.clone()), schema, log_groups, on_mismatch })
    }
}

/// Paths and texts of the schema files in a folder, in the order of their names.
fn read(folder: &Path) -> Result<BTreeMap<String, String>, LibraryError> {
    let failed = |why| LibraryError::Folder { folder: folder.display().to_string(), why };
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(&path);
            let text = text.map_err(|why| LibraryError::File { path: name.clone(), why })?;
            files.insert(name, text);
        }
    }
    Ok(files)
}
