//! Flags over environment over file over defaults: which value of each key counts, and where it was said.

use std::collections::BTreeMap;
use std::fmt;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::Problem;
use super::keys::{self, KEYS};

/// What was said for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Text(String),
    Integer(String),
    List(Vec<String>),
    /// A type that no key takes.
    Other(&'static str),
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Integer(digits) => f.write_str(digits),
            Self::List(items) => write!(f, "{items:?}"),
            Self::Other(kind) => write!(f, "a {kind}"),
        }
    }
}

/// Where a value was said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Flag(&'static str),
    Variable(String),
    File { name: String, line: usize, column: usize },
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Variable(name) => f.write_str(name),
            Self::File { name, line, column } => write!(f, "{name}:{line}:{column}"),
            Self::Default => f.write_str("default"),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    pub value: Value,
    pub origin: Origin,
}

/// One layer, or all of them: path of a key to what was said.
pub type Layer = BTreeMap<&'static str, Said>;

/// Reads a TOML file. Unknown keys are problems; a file that is no TOML is one problem.
pub fn file(name: &str, text: &str, problems: &mut Vec<Problem>) -> Layer {
    let mut layer = Layer::new();
    let place = |offset: usize| {
        let before = &text[..offset.min(text.len())];
        let line = before.matches('\n').count() + 1;
        let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1) + 1;
        Origin::File { name: name.to_owned(), line, column }
    };
    match DeTable::parse(text) {
        Ok(table) => walk(table.get_ref(), "", &place, &mut layer, problems),
        Err(error) => {
            let at = place(error.span().map_or(0, |span| span.start));
            problems.push(Problem { place: at, message: format!("not valid TOML: {}", error.message()) });
        }
    }
    layer
}

fn walk(
    table: &DeTable<'_>,
    above: &str,
    place: &impl Fn(usize) -> Origin,
    layer: &mut Layer,
    problems: &mut Vec<Problem>,
) {
    for (name, value) in table {
        let path = if above.is_empty() { name.get_ref().to_string() } else { format!("{above}.{}", name.get_ref()) };
        let origin = place(name.span().start);
        if let Some(key) = keys::find(&path) {
            layer.insert(key.path, Said { value: value_of(value), origin });
        } else if let Some(section) = value.get_ref().as_table()
            && KEYS.iter().any(|key| key.path.starts_with(&format!("{path}.")))
        {
            walk(section, &path, place, layer, problems);
        } else {
            let kind = if value.get_ref().is_table() { "section" } else { "key" };
            problems.push(unknown(kind, &path, origin));
        }
    }
}

fn value_of(value: &Spanned<DeValue<'_>>) -> Value {
    match value.get_ref() {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Datetime(time) => Value::Text(time.to_string()),
        DeValue::Integer(integer) if integer.radix() == 10 => Value::Integer(integer.as_str().replace('_', "")),
        DeValue::Array(items) => {
            let texts = items.iter().map(|item| item.get_ref().as_str().map(str::to_owned));
            texts.collect::<Option<Vec<_>>>().map_or(Value::Other("list of other things than texts"), Value::List)
        }
        other => Value::Other(other.type_str()),
    }
}

/// Reads the variables that begin with `FIREMAIN_`. Unknown ones are problems.
pub fn environment(variables: impl IntoIterator<Item = (String, String)>, problems: &mut Vec<Problem>) -> Layer {
    let mut layer = Layer::new();
    for (name, value) in variables {
        let Some(rest) = name.strip_prefix("FIREMAIN_") else { continue };
        match KEYS.iter().find(|key| keys::variable(key.path) == name) {
            Some(key) => {
                layer.insert(key.path, Said { value: Value::Text(value), origin: Origin::Variable(name) });
            }
            None => {
                let path = rest.to_lowercase().replace("__", ".");
                let nearest = keys::variable(keys::nearest(&path));
                let message = format!("unknown variable {name}: did you mean {nearest}?");
                problems.push(Problem { place: Origin::Variable(name), message });
            }
        }
    }
    layer
}

/// Puts layers together, the first one on top.
///
/// The source is taken as a whole: the topmost layer that names a kind of source decides for that kind, and what lower
/// layers say of other kinds does not count.
pub fn merge(layers: Vec<Layer>, problems: &mut Vec<Problem>) -> Layer {
    let mut merged = Layer::new();
    let mut kind: Option<&'static str> = None;
    for layer in layers {
        let mut kinds: Vec<&'static str> = layer.keys().filter_map(|path| source_kind(path)).collect();
        kinds.dedup();
        if let (None, [first, second, ..]) = (kind, kinds.as_slice()) {
            let said = layer.iter().find(|(path, _)| source_kind(path) == Some(second)).map(|(_, said)| said);
            let place = said.map_or(Origin::Default, |said| said.origin.clone());
            let message = format!("two sources, `source.{first}` and `source.{second}`: keep one of them");
            problems.push(Problem { place, message });
        }
        kind = kind.or(kinds.first().copied());
        for (path, said) in layer {
            if source_kind(path).is_none_or(|its| Some(its) == kind) {
                merged.entry(path).or_insert(said);
            }
        }
    }
    merged
}

fn source_kind(path: &'static str) -> Option<&'static str> {
    path.strip_prefix("source.")?.split('.').next()
}

fn unknown(what: &str, path: &str, place: Origin) -> Problem {
    Problem { place, message: format!("unknown {what} `{path}`: did you mean `{}`?", keys::nearest(path)) }
}
