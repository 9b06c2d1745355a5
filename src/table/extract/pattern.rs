//! Regular expressions with named groups, or grok patterns, of which the first that matches counts.

use std::collections::BTreeMap;

use grok::Grok;
use regex::Regex;

use super::super::cells::Span;
use super::super::convert::Lies;
use super::{Mismatch, Row, narrow};

/// The expressions of a table.
#[derive(Debug)]
pub enum Patterns {
    Regex(Vec<(Regex, Vec<Group>)>),
    /// They look around and back: slower than regular expressions proper, and given up after a million steps, which is a
    /// mismatch.
    Grok(Vec<(grok::Pattern, Vec<(String, usize)>)>),
}

/// A group that fills a column.
#[derive(Clone, Copy, Debug)]
pub struct Group {
    index: usize,
    column: usize,
}

impl Patterns {
    /// `columns`: the group that fills each column.
    pub fn of_regexes(regexes: Vec<Regex>, columns: &[&str]) -> Self {
        let groups = |regex: &Regex| {
            let names = regex.capture_names().enumerate().filter_map(|(index, name)| Some((index, name?)));
            let filled =
                names.flat_map(|(index, name)| filled_by(name, columns).map(move |column| Group { index, column }));
            filled.collect::<Vec<_>>()
        };
        Self::Regex(
            regexes
                .into_iter()
                .map(|regex| {
                    let groups = groups(&regex);
                    (regex, groups)
                })
                .collect(),
        )
    }

    /// The same of grok patterns, where the names are those behind a colon: `%{IP:client}`.
    pub fn of_grok(patterns: Vec<grok::Pattern>, columns: &[&str]) -> Self {
        let names = |pattern: &grok::Pattern| {
            let names = pattern.capture_names();
            names.flat_map(|name| filled_by(name, columns).map(|column| (name.to_owned(), column))).collect::<Vec<_>>()
        };
        Self::Grok(
            patterns
                .into_iter()
                .map(|pattern| {
                    let names = names(&pattern);
                    (pattern, names)
                })
                .collect(),
        )
    }

    pub(super) fn read(&self, message: &str, row: &mut Row<'_>) -> Result<(), Mismatch> {
        match self {
            Self::Regex(patterns) => {
                for (regex, groups) in patterns {
                    let mut found = regex.capture_locations();
                    if regex.captures_read(&mut found, message).is_some() {
                        // A group that took no part has no value.
                        let texts = groups.iter().filter_map(|group| Some((group.column, found.get(group.index)?)));
                        return texts
                            .into_iter()
                            .try_for_each(|(column, (start, end))| fill(row, message, column, start, end));
                    }
                }
                Err(Mismatch::NoMatch("the regular expression"))
            }
            Self::Grok(patterns) => {
                let Some((found, names)) =
                    patterns.iter().find_map(|(pattern, names)| Some((pattern.match_against(message)?, names)))
                else {
                    return Err(Mismatch::NoMatch("the grok pattern"));
                };
                let texts = names.iter().filter_map(|(name, column)| Some((*column, found.get(name)?)));
                texts.into_iter().try_for_each(|(column, text)| {
                    let start = text.as_ptr() as usize - message.as_ptr() as usize;
                    fill(row, message, column, start, start + text.len())
                })
            }
        }
    }
}

fn filled_by<'c>(name: &'c str, columns: &'c [&str]) -> impl Iterator<Item = usize> + 'c {
    columns.iter().enumerate().filter(move |(_, group)| **group == name).map(|(column, _)| column)
}

fn fill(row: &mut Row<'_>, message: &str, column: usize, start: usize, end: usize) -> Result<(), Mismatch> {
    let lies = Lies::InMessage(Span { at: narrow(start), len: narrow(end - start) });
    row.text(column, &message[start..end], lies)
}

/// Compiles a grok pattern, with the usual definitions and some of one's own.
pub fn grok(pattern: &str, definitions: &BTreeMap<String, String>) -> Result<grok::Pattern, String> {
    let mut grok = Grok::with_default_patterns();
    for (name, definition) in definitions {
        grok.add_pattern(name, definition);
    }
    grok.compile(pattern, true).map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())
}
