//! Flags over environment over file over defaults: which value of each key counts, and where it was said.
//!
//! Absent on purpose: what a value means. That is found out by the module above, for the values that count.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;

use toml::Spanned;
use toml::de::{DeInteger, DeTable, DeValue};

use super::Problem;
use super::keys::{self, KEYS, Key, Values};
use super::tables::{self, PlacedRule};

/// What was said for a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Text(String),
    /// Its decimal digits, with a sign if it is negative.
    Integer(String),
    List(Vec<String>),
    /// A type that no key takes.
    Other(&'static str),
}

/// As in a TOML file.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Integer(digits) => f.write_str(digits),
            Self::List(items) => write!(f, "{items:?}"),
            Self::Other(kind) => write!(f, "of type {kind}"),
        }
    }
}

/// Where a value was said; the highest layer first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    Flag(&'static str),
    Variable(String),
    /// Line and column (in characters) count from 1.
    File {
        name: String,
        line: usize,
        column: usize,
    },
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
pub struct Setting {
    pub value: Value,
    pub origin: Origin,
}

/// One layer, or all of them: path of a key to what was said.
pub type Layer = BTreeMap<&'static str, Setting>;

/// In the layer of flags: the URL of a source, before [`flags`] turns it into the key that it stands for.
pub const SOURCE_URL: &str = "source";

/// Turns the URL of `--source` into the key that it stands for.
pub fn flags(mut layer: Layer, problems: &mut Vec<Problem>) -> Layer {
    let Some(Setting { value: Value::Text(url), origin }) = layer.remove(SOURCE_URL) else { return layer };
    let (path, value) = match url.split_once("://") {
        None if url == "-" => ("source.file.paths", Value::List(vec![url])),
        Some(("kinesis", name)) if !name.is_empty() => ("source.kinesis.stream", Value::Text(name.to_owned())),
        Some(("file", path)) if path.len() > 1 && path.starts_with('/') => {
            ("source.file.paths", Value::List(vec![path.to_owned()]))
        }
        _ => {
            let message = format!(
                "the source can't be {url:?}: give kinesis://NAME (or an ARN after kinesis://), file:///path/glob, \
                 or - for standard input"
            );
            problems.push(Problem { subject: origin.to_string(), place: Some(origin), message });
            return layer;
        }
    };
    layer.insert(path, Setting { value, origin });
    layer
}

/// Reads the variables that begin with `FIREMAIN_`: keys, and the rules of tables, if they are said. Unknown ones are
/// problems.
pub fn environment(
    variables: impl IntoIterator<Item = (OsString, OsString)>,
    problems: &mut Vec<Problem>,
) -> (Layer, Option<Vec<PlacedRule>>) {
    let (mut layer, mut rules) = (Layer::new(), None);
    for (name, value) in variables {
        let name = name.to_string_lossy().into_owned();
        let Some(rest) = name.strip_prefix("FIREMAIN_") else { continue };
        if rest == tables::VARIABLE {
            let place = Origin::Variable(name);
            rules = Some(tables::of_text(&value.to_string_lossy(), &place, problems));
            continue;
        }
        let message = match (KEYS.iter().find(|key| key.variable() == name), value.into_string()) {
            (Some(key), Ok(text)) => {
                layer.insert(key.path, Setting { value: value_of_text(key, text), origin: Origin::Variable(name) });
                continue;
            }
            (Some(key), Err(_)) => format!("`{}` is not valid UTF-8: give {}", key.path, key.values.describe()),
            (None, _) => {
                let path = rest.to_lowercase().replace("__", ".");
                match keys::in_section(&path).next() {
                    Some(_) => section_not_key(&path, keys::variable),
                    None => format!("unknown variable {name}: {}", keys::nearest_key(&path, keys::variable)),
                }
            }
        };
        problems.push(Problem { subject: name.clone(), place: Some(Origin::Variable(name)), message });
    }
    (layer, rules)
}

/// A list is a TOML array of strings, or its items with commas between them; everything else is the text itself.
fn value_of_text(key: &Key, text: String) -> Value {
    if !matches!(key.values, Values::List(_)) {
        return Value::Text(text);
    }
    // A glob may begin with a bracket too, `[ab]*.gz`, but not with a bracket and a quotation mark.
    let inside = text.trim_start().strip_prefix('[').map(str::trim_start);
    if inside.is_some_and(|inside| inside.starts_with(['"', '\'', ']'])) {
        // What is no array stays a text, which no list takes.
        return DeValue::parse(text.trim()).map(|value| value_of(value.get_ref())).unwrap_or(Value::Text(text));
    }
    Value::List(text.split(',').map(|item| item.trim().to_owned()).collect())
}

/// Reads a TOML file: its keys, and its rules of tables. Unknown keys are problems; a file that is no TOML is an error.
pub fn file(name: &str, text: &str, problems: &mut Vec<Problem>) -> Result<(Layer, Vec<PlacedRule>), Problem> {
    let place = |offset: usize| {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = before.matches('\n').count() + 1;
        Origin::File { name: name.to_owned(), line, column: before[line_start..].chars().count() + 1 }
    };
    match DeTable::parse(text) {
        Ok(table) => {
            let mut walk = Walk { place: &place, layer: Layer::new(), rules: Vec::new(), problems };
            walk.table(table.get_ref(), "");
            Ok((walk.layer, walk.rules))
        }
        Err(error) => {
            let at = place(error.span().map_or(0, |span| span.start));
            let message = format!("not valid TOML: {}", error.message().replace('\n', " "));
            Err(Problem { subject: name.to_owned(), place: Some(at), message })
        }
    }
}

/// The way through the tables of a file.
struct Walk<'w> {
    place: &'w dyn Fn(usize) -> Origin,
    layer: Layer,
    rules: Vec<PlacedRule>,
    problems: &'w mut Vec<Problem>,
}

impl Walk<'_> {
    fn table(&mut self, table: &DeTable<'_>, above: &str) {
        for (name, value) in table {
            let path =
                if above.is_empty() { name.get_ref().to_string() } else { format!("{above}.{}", name.get_ref()) };
            self.entry(&path, value, (self.place)(name.span().start));
        }
    }

    fn entry(&mut self, path: &str, value: &Spanned<DeValue<'_>>, origin: Origin) {
        if path == tables::SECTION {
            self.rules = tables::read(value, self.place, self.problems);
            return;
        }
        let is_section = keys::in_section(path).next().is_some();
        let message = match (keys::find(path), value.get_ref()) {
            (Some(key), value) => {
                self.layer.insert(key.path, Setting { value: value_of(value), origin });
                return;
            }
            (None, DeValue::Table(section)) if is_section => return self.table(section, path),
            (None, _) if is_section => section_not_key(path, str::to_owned),
            (None, DeValue::Table(_)) => format!("unknown section `{path}`: {}", keys::nearest_section(path)),
            (None, _) => format!("unknown key `{path}`: {}", keys::nearest_key(path, str::to_owned)),
        };
        self.problems.push(Problem { subject: path.to_owned(), place: Some(origin), message });
    }
}

fn section_not_key(path: &str, show: impl Fn(&str) -> String) -> String {
    let keys: Vec<String> = keys::in_section(path).map(|key| format!("`{}`", show(key.path))).collect();
    format!("`{path}` is a section and has no value of its own: set {}", keys.join(", "))
}

pub fn value_of(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::Text(text.to_string()),
        DeValue::Datetime(time) => Value::Text(time.to_string()),
        DeValue::Integer(integer) => Value::Integer(decimal(integer)),
        DeValue::Array(items) => {
            let texts = items.iter().map(|item| item.get_ref().as_str().map(str::to_owned));
            texts.collect::<Option<Vec<_>>>().map_or(Value::Other("array of other things than strings"), Value::List)
        }
        other => Value::Other(other.type_str()),
    }
}

/// A number with too many digits for any key stays as it is written, and is refused as such.
fn decimal(integer: &DeInteger<'_>) -> String {
    i128::from_str_radix(integer.as_str(), integer.radix())
        .map_or_else(|_| integer.to_string(), |number| number.to_string())
}

/// Puts layers together, the first one on top.
///
/// The topmost layer that says anything of a source decides which kind of source it is; what lower layers say of
/// other kinds does not count. Two kinds in the layer that decides are a problem.
pub fn merge(layers: impl IntoIterator<Item = Layer>, problems: &mut Vec<Problem>) -> Layer {
    let mut merged = Layer::new();
    let mut kind: Option<&'static str> = None;
    for layer in layers {
        if kind.is_none() {
            kind = layer.keys().find_map(|path| source_kind(path));
            let others = layer.iter().filter_map(|(path, said)| Some((&said.origin, source_kind(path)?)));
            let other = others.filter(|(_, its)| Some(*its) != kind).min();
            if let (Some((place, other)), Some(kind)) = (other, kind) {
                let message =
                    format!("`source.{other}` is a second source beside `source.{kind}`: keep one of the two");
                problems.push(Problem { subject: "source".to_owned(), place: Some(place.clone()), message });
            }
        }
        for (path, said) in layer {
            if source_kind(path).is_none_or(|its| Some(its) == kind) {
                merged.entry(path).or_insert(said);
            }
        }
    }
    merged
}

/// `kinesis` for `source.kinesis.stream`.
fn source_kind(path: &'static str) -> Option<&'static str> {
    path.strip_prefix("source.")?.split('.').next()
}
