//! The tables of a lake, and which of them takes the events of a log group.

use std::sync::Arc;

use globset::{GlobBuilder, GlobMatcher};

use super::{Extractor, LOG_EVENTS, Schema};

/// A rule: `[[table]]` of the configuration, with its schema.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The table's name, and its folder.
    pub name: String,
    pub schema: Arc<Schema>,
    /// Globs of log groups; `*` takes slashes too.
    pub log_groups: Vec<String>,
    pub on_mismatch: OnMismatch,
}

/// What becomes of a message that is no row of its table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnMismatch {
    /// It is rejected, with the reason.
    #[default]
    Error,
    /// It is a row of the table of all others.
    LogEvents,
}

/// All tables; the last one takes what no other does.
#[derive(Debug)]
pub struct Tables {
    tables: Vec<Table>,
    /// In their order; the first that matches counts.
    routes: Vec<Route>,
}

#[derive(Clone, Debug)]
pub struct Table {
    pub name: Arc<str>,
    pub schema: Arc<Schema>,
}

#[derive(Debug)]
struct Route {
    log_groups: Vec<GlobMatcher>,
    table: usize,
    /// Two rules may fill one table from messages of other forms.
    rows: Option<Arc<Extractor>>,
    on_mismatch: OnMismatch,
}

/// Where the events of a log group go.
#[derive(Clone, Copy, Debug)]
pub struct Routed<'t> {
    /// The table's index.
    pub table: usize,
    /// What takes values out of their messages, if anything.
    pub rows: Option<&'t Extractor>,
    /// The index of the table of those that do not match, if they are not rejected.
    pub other: Option<usize>,
}

/// Why rules are refused.
#[derive(Debug, thiserror::Error)]
pub enum BadRule {
    #[error("{glob:?} is no pattern of log groups: {why}")]
    Glob { glob: String, why: String },
    #[error("two tables of other columns are called {0}: give one of them another `name`")]
    SameName(String),
}

impl Tables {
    /// The tables of these rules, and the general one.
    pub fn new(rules: Vec<Rule>) -> Result<Self, BadRule> {
        let (mut tables, mut routes) = (Vec::<Table>::new(), Vec::new());
        let general = Rule {
            name: LOG_EVENTS.to_owned(),
            schema: Schema::log_events(),
            log_groups: vec!["*".to_owned()],
            on_mismatch: OnMismatch::Error,
        };
        for Rule { name, schema, log_groups, on_mismatch } in rules.into_iter().chain([general]) {
            let table = match tables.iter().position(|table| *table.name == *name) {
                Some(same) if !tables[same].schema.has_columns_of(&schema) => return Err(BadRule::SameName(name)),
                Some(same) => same,
                None => {
                    tables.push(Table { name: name.into(), schema: Arc::clone(&schema) });
                    tables.len() - 1
                }
            };
            let log_groups = log_groups.iter().map(|glob| matcher(glob)).collect::<Result<_, _>>()?;
            routes.push(Route { log_groups, table, rows: schema.rows.clone(), on_mismatch });
        }
        Ok(Self { tables, routes })
    }

    /// The general table alone.
    pub fn log_events() -> Arc<Self> {
        Arc::new(Self::new(Vec::new()).expect("no rule is wrong"))
    }

    /// Where a log group's events go.
    pub fn route(&self, log_group: &str) -> Routed<'_> {
        let route = self.routes.iter().find(|route| route.log_groups.iter().any(|glob| glob.is_match(log_group)));
        let route = route.unwrap_or_else(|| self.routes.last().expect("the general one is there"));
        let other = match route.on_mismatch {
            OnMismatch::Error => None,
            OnMismatch::LogEvents => self.tables.iter().position(|table| *table.name == *LOG_EVENTS),
        };
        Routed { table: route.table, rows: route.rows.as_deref(), other }
    }

    pub fn get(&self, index: usize) -> &Table {
        &self.tables[index]
    }

    pub fn iter(&self) -> impl Iterator<Item = &Table> {
        self.tables.iter()
    }

    /// By its name.
    pub fn find(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| *table.name == *name)
    }
}

/// Log groups are no paths: a star takes slashes too.
fn matcher(glob: &str) -> Result<GlobMatcher, BadRule> {
    let compiled = GlobBuilder::new(glob).literal_separator(false).backslash_escape(true).build();
    compiled
        .map(|glob| glob.compile_matcher())
        .map_err(|error| BadRule::Glob { glob: glob.to_owned(), why: error.kind().to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(name: &str, log_groups: &[&str], on_mismatch: OnMismatch) -> Rule {
        let log_groups = log_groups.iter().map(|glob| (*glob).to_owned()).collect();
        Rule { name: name.to_owned(), schema: Schema::log_events(), log_groups, on_mismatch }
    }

    #[test]
    fn the_first_rule_that_matches_counts_and_the_general_table_takes_the_rest() {
        let rules = vec![
            rule("web", &["/ecs/web/*", "nginx"], OnMismatch::Error),
            rule("ecs", &["/ecs/*"], OnMismatch::LogEvents),
            rule("one", &["/a/?[bc]"], OnMismatch::Error),
        ];
        let tables = Tables::new(rules).unwrap();
        let route = |log_group: &str| {
            let Routed { table, other, .. } = tables.route(log_group);
            (&*tables.get(table).name, other.map(|other| &*tables.get(other).name))
        };
        assert_eq!(route("/ecs/web/a/b"), ("web", None));
        assert_eq!(route("nginx"), ("web", None));
        assert_eq!(route("/ecs/webs"), ("ecs", Some("log_events")));
        assert_eq!(route("/a/xb"), ("one", None));
        for other in ["/a/xd", "/aws/lambda/x", "nginx2", "/ECS/web/a", ""] {
            assert_eq!(route(other), ("log_events", None), "{other:?}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_rule_is_said() {
        let wrong = |rules| Tables::new(rules).unwrap_err().to_string();
        assert_eq!(
            wrong(vec![rule("a", &["[x"], OnMismatch::Error)]),
            r#""[x" is no pattern of log groups: unclosed character class; missing ']'"#
        );
        let mut other = Schema::clone(&Schema::log_events());
        other.columns.pop();
        let rule = Rule { schema: Arc::new(other), ..rule("log_events", &["x"], OnMismatch::Error) };
        assert_eq!(
            wrong(vec![rule]),
            "two tables of other columns are called log_events: give one of them another `name`"
        );
    }
}
