//! Grok patterns: regular expressions that are put together of others by their names, `%{IP:client}`.
//!
//! The syntax and the usual definitions are those of the `grok` crate. They are expanded and compiled here, since it bounds
//! neither how long an expression becomes, nor how many steps a match takes.

use std::collections::{BTreeMap, HashMap};

use fancy_regex::{Assertion, Captures, Expr, Regex, RegexBuilder};
use grok::parser::{GrokComponent, GrokPatternError, grok_split};

/// Bytes of an expression in which all definitions are put in.
pub(super) const LONGEST: usize = 64 << 10;
/// Definitions in each other: as many as the regular expressions take groups in each other.
const DEEPEST: usize = 64;
/// Steps back of one search.
const STEPS: usize = 20_000;
/// A longer message is given fewer, since what lies between two of them may take all of its length.
const LONG: usize = 64 << 10;
const STEPS_OF_LONG: usize = 2_000;

/// A compiled pattern.
#[derive(Debug)]
pub struct Grok {
    regex: Regex,
    of_long: Regex,
    /// Of each group that has a name, that and its number.
    names: Vec<(String, usize)>,
    /// The group that takes part where the pattern has not matched.
    other: Option<usize>,
}

/// It was given up, since it takes too many steps.
#[derive(Debug)]
pub(super) struct TooLong;

impl Grok {
    /// With the usual definitions and some of one's own, which count before them.
    pub fn compile(pattern: &str, definitions: &BTreeMap<String, String>) -> Result<Self, String> {
        let mut expansion = Expansion { own: definitions, text: String::new(), aliases: Vec::new(), open: Vec::new() };
        expansion.push(pattern)?;
        let Expansion { text, aliases, .. } = expansion;
        if text.is_empty() {
            return Err("it is empty".to_owned());
        }
        // The engine would try at every place of the message what can only match at its beginning: there, something else is
        // found then.
        let or_else =
            Some(format!("(?:{text})|()")).filter(|or_else| is_anchored(&text) && Expr::parse_tree(or_else).is_ok());
        let compiled = or_else.as_ref().unwrap_or(&text);
        let compile = |steps| RegexBuilder::new(compiled).backtrack_limit(steps).build().map_err(|error| line(&error));
        let (regex, of_long) = (compile(STEPS)?, compile(STEPS_OF_LONG)?);
        let other = or_else.as_ref().map(|_| regex.captures_len() - 1);
        let mut names = Vec::new();
        for (number, name) in regex.capture_names().enumerate().filter_map(|(number, name)| Some((number, name?))) {
            let alias = name.strip_prefix(GROUP).and_then(|at| aliases.get(at.parse::<usize>().ok()?));
            // Of two groups of one name the engine forgets the first.
            let count = |begin: &str| text.matches(&format!("{begin}{name}>")).count();
            if alias.is_none() && count("(?<") + count("(?P<") > 1 {
                return Err(format!("group {name:?} is there twice: give each a name of its own"));
            }
            names.push(((*alias.unwrap_or(&name)).to_owned(), number));
        }
        Ok(Self { regex, of_long, names, other })
    }

    /// The names behind colons, and those of other groups.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|(name, _)| name.as_str())
    }

    /// The numbers of the groups of a name, of which at most one takes part if they are in alternatives.
    pub(super) fn groups(&self, name: &str) -> Vec<usize> {
        self.names.iter().filter(|(of, _)| of == name).map(|(_, number)| *number).collect()
    }

    pub(super) fn find<'m>(&self, message: &'m str) -> Result<Option<Captures<'m>>, TooLong> {
        let regex = if message.len() > LONG { &self.of_long } else { &self.regex };
        let found = regex.captures(message).map_err(|_| TooLong)?;
        Ok(found.filter(|found| self.other.is_none_or(|other| found.get(other).is_none())))
    }
}

/// Whether all that an expression matches is at the beginning of the message.
fn is_anchored(expression: &str) -> bool {
    fn begins(expression: &Expr) -> bool {
        match expression {
            Expr::Assertion(Assertion::StartText) => true,
            Expr::Concat(parts) => parts.iter().find(|part| **part != Expr::Empty).is_some_and(begins),
            Expr::Alt(parts) => parts.iter().all(begins),
            Expr::Group(inside) => begins(inside),
            _ => false,
        }
    }
    Expr::parse_tree(expression).is_ok_and(|tree| begins(&tree.expr))
}

/// What groups with an alias are called, before their number: an alias may have characters that no group's name has, and may
/// be there more than once.
const GROUP: &str = "_n_";

/// A pattern as it becomes a regular expression.
struct Expansion<'a> {
    own: &'a BTreeMap<String, String>,
    text: String,
    aliases: Vec<&'a str>,
    /// The definitions that are being put in.
    open: Vec<&'a str>,
}

impl<'a> Expansion<'a> {
    fn push(&mut self, pattern: &'a str) -> Result<(), String> {
        // `%{NAME=definition}` holds for what comes behind it.
        let mut inline = HashMap::new();
        for part in grok_split(pattern) {
            match part {
                GrokComponent::RegularExpression { string, .. } => self.text.push_str(string),
                GrokComponent::GrokPattern { name, alias, definition, .. } => {
                    if !definition.is_empty() {
                        inline.insert(name, definition);
                    }
                    let definition = match inline.get(name) {
                        Some(definition) => definition,
                        None => self.definition(name)?,
                    };
                    if alias.is_empty() {
                        self.text.push_str("(?:");
                    } else {
                        self.text.push_str(&format!("(?<{GROUP}{}>", self.aliases.len()));
                        self.aliases.push(alias);
                    }
                    self.open.push(name);
                    self.push(definition)?;
                    self.open.pop();
                    self.text.push(')');
                }
                GrokComponent::PatternError(error) => {
                    return Err(format!("{pattern:?} is no grok pattern: {}", why(error)));
                }
            }
            if self.text.len() > LONGEST {
                return Err(format!("it is longer than {} KiB with its definitions put in", LONGEST >> 10));
            }
        }
        Ok(())
    }

    fn definition(&self, name: &str) -> Result<&'a str, String> {
        if self.open.contains(&name) {
            return Err(format!("the definition of {name:?} has itself in it"));
        }
        if self.open.len() == DEEPEST {
            return Err(format!("more than {DEEPEST} definitions are in each other, the last of them {name:?}"));
        }
        let usual =
            || grok::patterns().iter().rev().find(|(usual, _)| *usual == name).map(|(_, definition)| *definition);
        let definition = self.own.get(name).map(String::as_str).or_else(usual);
        definition.ok_or_else(|| format!("there is no pattern {name:?}: add it to \"definitions\""))
    }
}

fn why(error: GrokPatternError) -> String {
    match error {
        GrokPatternError::InvalidCharacter(character) => format!("{character:?} has no place in %{{...}}"),
        GrokPatternError::InvalidPattern | GrokPatternError::InvalidPatternDefinition => {
            "it has a %{...} that is not whole".to_owned()
        }
    }
}

fn line(error: &fancy_regex::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
