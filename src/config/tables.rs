//! `[[table]]`: which log groups go to which table, a rule each, in their order. A variable can say all of them at once.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::layers::{Origin, Value, value_of};
use super::{Problem, TableConfig, values};
use crate::table::tables::OnMismatch;

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
        "1 to 255 lower-case letters, digits and underscores, a letter first; not \"errors\"",
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

/// Reads the rules; what is wrong is added to the problems.
pub fn read(
    rules: &Spanned<DeValue<'_>>,
    place: &dyn Fn(usize) -> Origin,
    problems: &mut Vec<Problem>,
) -> Vec<TableConfig> {
    let mut problem = |at: usize, message: String| {
        problems.push(Problem { subject: SECTION.to_owned(), place: Some(place(at)), message });
    };
    let Some(rules) = rules.get_ref().as_array() else {
        problem(rules.span().start, "`table` is a list of rules: write [[table]], with two brackets".to_owned());
        return Vec::new();
    };
    let mut read = Vec::new();
    for rule in rules {
        match rule.get_ref() {
            DeValue::Table(table) => read.extend(one(table, rule.span().start, &mut problem)),
            _ => problem(rule.span().start, "a rule is a table: write [[table]] and its keys below".to_owned()),
        }
    }
    read
}

/// The same from the text of a variable.
pub fn of_text(text: &str, place: &Origin, problems: &mut Vec<Problem>) -> Vec<TableConfig> {
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

/// What a rule says, as far as it is read.
#[derive(Default)]
struct Said {
    schema: Option<String>,
    name: Option<String>,
    log_groups: Option<Vec<String>>,
    on_mismatch: OnMismatch,
    fields: Option<Vec<String>>,
}

impl Said {
    /// `None` if the key does not take the value.
    fn set(&mut self, key: &str, value: &Value) -> Option<()> {
        match (key, value) {
            ("schema", Value::Text(text)) if !text.is_empty() => self.schema = Some(text.clone()),
            ("name", Value::Text(text)) => self.name = Some(values::table_name(text).ok()?),
            ("log_groups", Value::List(items)) if !items.is_empty() => self.log_groups = Some(items.clone()),
            ("on_mismatch", Value::Text(text)) => {
                self.on_mismatch = match text.as_str() {
                    "error" => OnMismatch::Error,
                    "log_events" => OnMismatch::LogEvents,
                    _ => return None,
                }
            }
            ("fields", Value::List(items)) if !items.is_empty() => self.fields = Some(items.clone()),
            _ => return None,
        }
        Some(())
    }
}

fn one(table: &DeTable<'_>, start: usize, problem: &mut dyn FnMut(usize, String)) -> Option<TableConfig> {
    let (mut said, mut sound) = (Said::default(), true);
    for (key, value) in table {
        let (name, value) = (key.get_ref(), value_of(value.get_ref()));
        let message = match KEYS.iter().find(|(known, ..)| known == name) {
            Some((known, takes, _)) => match said.set(known, &value) {
                Some(()) => continue,
                None => format!("`table.{known}` can't be {value}: give {takes}"),
            },
            None => {
                let all: Vec<_> = KEYS.iter().map(|(key, ..)| format!("`{key}`")).collect();
                format!("unknown key `{name}` of a table: there are {}", all.join(", "))
            }
        };
        problem(key.span().start, message);
        sound = false;
    }
    let Said { schema, name, log_groups, on_mismatch, fields } = said;
    for (key, missing) in [("schema", schema.is_none()), ("log_groups", log_groups.is_none())] {
        if missing && sound {
            problem(start, format!("a [[table]] has no `{key}`: set it"));
        }
    }
    let (schema, log_groups) = (schema?, log_groups?);
    sound.then_some(TableConfig { schema, name, log_groups, on_mismatch, fields })
}
