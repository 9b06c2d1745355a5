//! `[[table]]`: which log groups go to which table, a rule each, in their order. A variable can say all of them at once.

use std::collections::BTreeMap;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::layers::{Origin, Value, value_of};
use super::{Problem, TableConfig, values};
use crate::table::ERRORS;
use crate::table::tables::{self, OnMismatch};

/// The name of the section.
pub const SECTION: &str = "table";
/// What the variable of all rules is called, behind `FIREMAIN_`: an array of inline tables, instead of the file's rules.
pub const VARIABLE: &str = "TABLE";

/// The keys of a rule: what each takes, and what it is for.
pub const KEYS: [(&str, &str, &str); 5] = [
    (
        "schema",
        "the name of a schema, such as \"apache_access\"; `firemain schema list` shows them",
        "The columns of the table's rows, and how a message becomes one. It has to be set.",
    ),
    (
        "log_groups",
        "a list of globs, such as [\"/ecs/web/*\"]",
        "The log groups whose events are rows of this table. `*` takes any characters, slashes too, `?` one, `[ab]` one \
         of these. It has to be set. Of several rules the first that matches counts; what none matches goes to \
         `log_events`.",
    ),
    (
        "name",
        "1 to 255 lower-case letters, digits and underscores, a letter first; neither \"errors\" nor \"replayed\"",
        "The table's name, and its folder below the destination, where that is not the schema's name.",
    ),
    (
        "on_mismatch",
        "error or log_events",
        "What becomes of a message that does not parse: `error` rejects it as `Table.Mismatch`, with the reason; \
         `log_events` makes it a row of that table. Default: `error`.",
    ),
    (
        "fields",
        "a list of the schema's fields, such as [\"version\", \"srcaddr\", \"bytes\"]",
        "The fields of a message in their order, where they are not those of the schema's file. Of delimited messages only.",
    ),
];

/// A rule, and where it was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedRule {
    pub config: TableConfig,
    pub origins: RuleOrigins,
}

/// Where a rule was said, and each of its keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleOrigins {
    rule: Origin,
    keys: BTreeMap<&'static str, Origin>,
}

impl RuleOrigins {
    /// That of a key; of one that was not said, the rule's.
    pub fn of(&self, key: &str) -> &Origin {
        self.keys.get(key).unwrap_or(&self.rule)
    }
}

/// What a key of a rule is called in a message. A variable has all rules in one line, so that their number counts; it is
/// from 1.
pub fn subject(key: &str, rule: usize) -> String {
    format!("`{SECTION}.{key}` of rule {}", rule + 1)
}

/// Reads the rules; what is wrong is added to the problems.
pub fn read(
    rules: &Spanned<DeValue<'_>>,
    place: &dyn Fn(usize) -> Origin,
    problems: &mut Vec<Problem>,
) -> Vec<PlacedRule> {
    let mut problem = |place: Origin, message: String| {
        problems.push(Problem { subject: SECTION.to_owned(), place: Some(place), message });
    };
    let Some(array) = rules.get_ref().as_array() else {
        let message = "`table` is a list of rules: write [[table]], with two brackets";
        problem(place(rules.span().start), message.to_owned());
        return Vec::new();
    };
    let mut read = Vec::new();
    for (number, rule) in array.iter().enumerate() {
        let start = place(rule.span().start);
        match rule.get_ref() {
            DeValue::Table(table) => read.extend(one(table, number, start, place, &mut problem)),
            _ => problem(start, format!("rule {} is no table: write [[table]] and its keys below", number + 1)),
        }
    }
    read
}

/// The same from the text of a variable.
pub fn of_text(text: &str, place: &Origin, problems: &mut Vec<Problem>) -> Vec<PlacedRule> {
    match DeValue::parse(text.trim()) {
        Ok(rules) => read(&rules, &|_| place.clone(), problems),
        Err(error) => {
            let why = error.message().replace('\n', " ");
            let message = format!(
                "the rules of tables are no TOML array ({why}): give one of inline tables, such as \
                 [{{schema = \"apache_access\", log_groups = [\"/ecs/web/*\"]}}]"
            );
            problems.push(Problem { subject: SECTION.to_owned(), place: Some(place.clone()), message });
            Vec::new()
        }
    }
}

/// A rule, as far as it is read.
#[derive(Default)]
struct Partial {
    schema: Option<String>,
    name: Option<String>,
    log_groups: Option<Vec<String>>,
    on_mismatch: OnMismatch,
    fields: Option<Vec<String>>,
}

impl Partial {
    /// An error says why the key does not take the value; it is empty where what the key takes says it.
    fn set(&mut self, key: &str, value: &Value) -> Result<(), String> {
        match (key, value) {
            ("schema", Value::Text(text)) if text == ERRORS => {
                return Err("it is that of the error prefix, which Firemain fills itself".to_owned());
            }
            ("schema", Value::Text(text)) if !text.is_empty() => self.schema = Some(text.clone()),
            ("name", Value::Text(text)) => self.name = Some(values::table_name(text).map_err(|_| String::new())?),
            ("log_groups", Value::List(items)) => self.log_groups = Some(globs(items)?),
            ("on_mismatch", Value::Text(text)) => {
                self.on_mismatch = match text.as_str() {
                    "error" => OnMismatch::Error,
                    "log_events" => OnMismatch::LogEvents,
                    _ => return Err(String::new()),
                }
            }
            ("fields", Value::List(items)) if !items.is_empty() => self.fields = Some(items.clone()),
            _ => return Err(String::new()),
        }
        Ok(())
    }
}

fn globs(items: &[String]) -> Result<Vec<String>, String> {
    if items.is_empty() {
        return Err("it is empty".to_owned());
    }
    for glob in items {
        if glob.is_empty() {
            return Err("a glob in it is empty".to_owned());
        }
        tables::matcher(glob).map_err(|why| format!("{glob:?} is no glob: {why}"))?;
    }
    Ok(items.to_vec())
}

fn one(
    table: &DeTable<'_>,
    number: usize,
    start: Origin,
    place: &dyn Fn(usize) -> Origin,
    problem: &mut dyn FnMut(Origin, String),
) -> Option<PlacedRule> {
    let (mut partial, mut keys, mut sound) = (Partial::default(), BTreeMap::new(), true);
    for (key, value) in table {
        let (name, value, at) = (key.get_ref(), value_of(value.get_ref()), place(key.span().start));
        let message = match KEYS.iter().find(|(known, ..)| known == name) {
            Some((known, takes, _)) => match partial.set(known, &value) {
                Ok(()) => {
                    keys.insert(*known, at);
                    continue;
                }
                Err(why) => {
                    let why = if why.is_empty() { why } else { format!(" ({why})") };
                    format!("{} can't be {value}{why}: give {takes}", subject(known, number))
                }
            },
            None => {
                let all: Vec<_> = KEYS.iter().map(|(key, ..)| format!("`{key}`")).collect();
                format!("unknown key `{name}` of a table, in rule {}: there are {}", number + 1, all.join(", "))
            }
        };
        problem(at, message);
        sound = false;
    }
    let Partial { schema, name, log_groups, on_mismatch, fields } = partial;
    for (key, missing) in [("schema", schema.is_none()), ("log_groups", log_groups.is_none())] {
        if missing && sound {
            problem(start.clone(), format!("rule {}: this [[table]] has no `{key}`: set it", number + 1));
        }
    }
    let (schema, log_groups) = (schema?, log_groups?);
    let config = TableConfig { schema, name, log_groups, on_mismatch, fields };
    sound.then_some(PlacedRule { config, origins: RuleOrigins { rule: start, keys } })
}

/// Globs that never take a log group, since one before them takes all that they would: the rule of each, and why.
pub fn never_reached(rules: &[TableConfig]) -> Vec<(usize, String)> {
    let globs =
        rules.iter().enumerate().flat_map(|(rule, config)| config.log_groups.iter().map(move |glob| (rule, glob)));
    let globs: Vec<_> = globs.collect();
    let useless = globs.iter().enumerate().filter_map(|(at, (rule, glob))| {
        let (first, other) = globs[..at].iter().find(|(_, other)| covers(other, glob))?;
        Some((
            *rule,
            if first == rule {
                format!("has {glob:?} for nothing: {other:?} before it takes all that it would; remove one of them")
            } else {
                let first = first + 1;
                format!(
                    "has {glob:?} for nothing: {other:?} of rule {first} takes all that it would; put the narrower rule \
                     first, or remove one of them"
                )
            },
        ))
    });
    useless.collect()
}

/// Whether a glob surely takes all that another one takes: it is the same, or a beginning and a star.
fn covers(wide: &str, narrow: &str) -> bool {
    const SPECIAL: [char; 6] = ['*', '?', '[', ']', '{', '\\'];
    let head = |glob: &str| glob.find(SPECIAL).unwrap_or(glob.len());
    let begins = |start: &str| head(start) == start.len() && narrow[..head(narrow)].starts_with(start);
    wide == narrow || (wide.ends_with('*') && begins(wide.trim_end_matches('*')))
}
