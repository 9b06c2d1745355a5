//! Regular expressions with named groups, or grok patterns, of which the first that matches counts.

use regex::Regex;

use super::super::cells::Span;
use super::super::convert::Lies;
use super::grok::Grok;
use super::{Mismatch, Row, narrow};

/// The expressions of a table.
#[derive(Debug)]
pub enum Patterns {
    Regex(Vec<(Regex, Vec<Filled>)>),
    /// They look around and back: slower than regular expressions proper, and given up after so many steps.
    Grok(Vec<(Grok, Vec<Filled>)>),
}

/// A column, and the groups that fill it, of which the first that took part counts.
#[derive(Clone, Debug)]
pub struct Filled {
    column: usize,
    groups: Vec<usize>,
}

impl Patterns {
    /// `columns`: the group that fills each column.
    pub fn of_regexes(regexes: Vec<Regex>, columns: &[&str]) -> Self {
        let with_groups = |regex: Regex| {
            let group = |name: &str| regex.capture_names().position(|group| group == Some(name));
            let filled = filled(columns, |name| group(name).into_iter().collect());
            (regex, filled)
        };
        Self::Regex(regexes.into_iter().map(with_groups).collect())
    }

    /// The same of grok patterns, where the names are those behind a colon: `%{IP:client}`.
    pub fn of_grok(patterns: Vec<Grok>, columns: &[&str]) -> Self {
        let with_groups = |grok: Grok| {
            let filled = filled(columns, |name| grok.groups(name));
            (grok, filled)
        };
        Self::Grok(patterns.into_iter().map(with_groups).collect())
    }

    pub(super) fn read(&self, message: &str, row: &mut Row<'_>) -> Result<(), Mismatch> {
        match self {
            Self::Regex(patterns) => {
                for (regex, filled) in patterns {
                    let mut found = regex.capture_locations();
                    if regex.captures_read(&mut found, message).is_some() {
                        return fill(row, message, filled, |group| found.get(group));
                    }
                }
                Err(Mismatch::NoMatch("the regular expression"))
            }
            Self::Grok(patterns) => {
                for (grok, filled) in patterns {
                    // Whether the next one would count is unknown if this one might.
                    let found = grok.find(message).map_err(|_| Mismatch::TooLong("the grok pattern"))?;
                    if let Some(found) = found {
                        let group = |group| found.get(group).map(|part| (part.start(), part.end()));
                        return fill(row, message, filled, group);
                    }
                }
                Err(Mismatch::NoMatch("the grok pattern"))
            }
        }
    }
}

/// The groups of each column that has any.
fn filled(columns: &[&str], groups: impl Fn(&str) -> Vec<usize>) -> Vec<Filled> {
    let filled = columns.iter().enumerate().map(|(column, name)| Filled { column, groups: groups(name) });
    filled.filter(|filled| !filled.groups.is_empty()).collect()
}

/// Fills columns with the parts of the message that groups matched. One that took no part has no value.
fn fill(
    row: &mut Row<'_>,
    message: &str,
    filled: &[Filled],
    found: impl Fn(usize) -> Option<(usize, usize)>,
) -> Result<(), Mismatch> {
    for Filled { column, groups } in filled {
        if let Some((start, end)) = groups.iter().find_map(|group| found(*group)) {
            let lies = Lies::InMessage(Span { at: narrow(start), len: narrow(end - start) });
            row.text(*column, &message[start..end], lies)?;
        }
    }
    Ok(())
}
