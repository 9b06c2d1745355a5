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

/// Why a rule is refused, and which of its keys is to blame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{key}` of rule {} {message}", rule + 1)]
pub struct BadRule {
    /// Its index.
    pub rule: usize,
    pub key: &'static str,
    /// As the end of a sentence that begins with the key.
    pub message: String,
}

impl Tables {
    /// The tables of these rules, and the general one.
    pub fn new(rules: Vec<Rule>) -> Result<Self, BadRule> {
        let (mut tables, mut routes) = (Vec::<Table>::new(), Vec::new());
        check_names(&rules)?;
        let general = Rule {
            name: LOG_EVENTS.to_owned(),
            schema: Schema::log_events(),
            log_groups: vec!["*".to_owned()],
            on_mismatch: OnMismatch::Error,
        };
        for (rule, Rule { name, schema, log_groups, on_mismatch }) in rules.into_iter().chain([general]).enumerate() {
            let same = tables.iter().position(|table| *table.name == *name);
            let table = same.unwrap_or_else(|| {
                tables.push(Table { name: name.into(), schema: Arc::clone(&schema) });
                tables.len() - 1
            });
            let matcher = |glob: &String| {
                let message = |why| format!("can't have {glob:?}, which is no glob: {why}");
                matcher(glob).map_err(|why| BadRule { rule, key: "log_groups", message: message(why) })
            };
            let log_groups = log_groups.iter().map(matcher).collect::<Result<_, _>>()?;
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

/// Rules of one table must agree on its columns.
fn check_names(rules: &[Rule]) -> Result<(), BadRule> {
    let general = Schema::log_events();
    for (rule, Rule { name, schema, .. }) in rules.iter().enumerate() {
        let other = rules[..rule].iter().position(|other| other.name == *name && !other.schema.has_columns_of(schema));
        let whose = match other {
            Some(other) => format!("rule {} fills a table of that name", other + 1),
            None if name == LOG_EVENTS && !schema.has_columns_of(&general) => {
                "the table of what no rule takes has that name".to_owned()
            }
            None => continue,
        };
        let (theirs, ours) = (other.map_or(&general.name, |other| &rules[other].schema.name), &schema.name);
        let message = format!(
            "can't be {name:?}: {whose}, with the columns of {theirs}, and this one has those of {ours}; give it another"
        );
        return Err(BadRule { rule, key: "name", message });
    }
    Ok(())
}

/// Log groups are no paths: a star takes slashes too.
pub fn matcher(glob: &str) -> Result<GlobMatcher, String> {
    let compiled = GlobBuilder::new(glob).literal_separator(false).backslash_escape(true).build();
    compiled.map(|glob| glob.compile_matcher()).map_err(|error| error.kind().to_string())
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
            wrong(vec![rule("a", &["x"], OnMismatch::Error), rule("a", &["[x"], OnMismatch::Error)]),
            r#"`log_groups` of rule 2 can't have "[x", which is no glob: unclosed character class; missing ']'"#
        );
        let mut other = Schema::clone(&Schema::log_events());
        other.name = "short".to_owned();
        other.columns.pop();
        let other = Arc::new(other);
        let other = |name| Rule { schema: Arc::clone(&other), ..rule(name, &["x"], OnMismatch::Error) };
        assert_eq!(
            wrong(vec![other("log_events")]),
            "`name` of rule 1 can't be \"log_events\": the table of what no rule takes has that name, with the columns of \
             log_events, and this one has those of short; give it another"
        );
        assert_eq!(
            wrong(vec![rule("a", &["y"], OnMismatch::Error), other("b"), other("a")]),
            "`name` of rule 3 can't be \"a\": rule 1 fills a table of that name, with the columns of log_events, and this \
             one has those of short; give it another"
        );
    }
}
