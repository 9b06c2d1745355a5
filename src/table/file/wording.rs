//! What is said of a schema file that is no sound JSON of its kind: the place, in characters, and a sentence for who wrote
//! the file. serde's own words are of the types of this program.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use super::SchemaError;

/// An object, and nothing else: a struct would be read from a list of its members' values too, which nobody means.
pub(super) struct Object<T>(pub T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, members: M) -> Result<Self::Value, M::Error> {
        T::deserialize(MapAccessDeserializer::new(members)).map(Object)
    }
}

/// For a field that is a list of objects.
pub(super) fn objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Vec::<Object<T>>::deserialize(deserializer)?.into_iter().map(|object| object.0).collect())
}

/// Reads a file's one object.
pub(super) fn read<'de, T: Deserialize<'de>>(file: &str, text: &'de str) -> Result<T, SchemaError> {
    const HINT: &str = "`firemain schema show app_json` prints one to begin with";
    let start = text.len() - text.trim_start().len();
    let wrong = |at: usize, why: String| {
        let before = &text[..at];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let (line, column) = (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1);
        SchemaError { file: file.to_owned(), line, column, why }
    };
    match text[start..].chars().next() {
        None => return Err(wrong(0, format!("the file is empty: {HINT}"))),
        // What is no JSON at all is said to be so below.
        Some('[' | '"' | '-' | '0'..='9' | 't' | 'f' | 'n') => {
            return Err(wrong(start, format!("a schema is an object, {{ \"name\": … }}: {HINT}")));
        }
        Some(_) => {}
    }
    let object = serde_json::from_str::<Object<T>>(text);
    object.map(|object| object.0).map_err(|error| wrong(offset(text, &error), sentence(&error)))
}

/// Where an error is. serde counts bytes, lines in which it has read nothing yet have the column 0, and a list or an object
/// that should be something else it only looks at.
fn offset(text: &str, error: &serde_json::Error) -> usize {
    let line: usize = text.split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
    let mut offset = (line + error.column().saturating_sub(1)).min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    let rest = text.get(offset + 1..).unwrap_or_default();
    let next = offset + 1 + rest.len() - rest.trim_start().len();
    let is_ahead =
        error.to_string().starts_with("invalid type: ") && text[next.min(text.len())..].starts_with(['[', '{']);
    if is_ahead { next } else { offset }
}

/// What an error says, in words of JSON, without its place.
pub(super) fn sentence(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(why, _)| why);
    let mismatch = ["invalid type: ", "invalid value: "].iter().find_map(|start| text.strip_prefix(start));
    if let Some((found, wanted)) = mismatch.and_then(|mismatch| mismatch.rsplit_once(", expected ")) {
        return format!("{} is wanted here, not {}", of_json(wanted), of_json(found));
    }
    match text {
        _ if text.starts_with("EOF while parsing") => {
            "the file ends too early: a bracket, a brace or a quotation mark is not closed".to_owned()
        }
        _ if text.starts_with("missing field ") => format!("{text}: add it"),
        _ if text.starts_with("duplicate field ") => format!("{text}: keep one"),
        "expected value" => "no value of JSON: texts are in double quotes".to_owned(),
        "key must be a string" => "a name in double quotes is wanted here".to_owned(),
        "trailing comma" => "a comma too many: remove it".to_owned(),
        "trailing characters" => "something is behind the end of the schema: remove it".to_owned(),
        _ => text.to_owned(),
    }
}

/// What serde calls a type or a value, as JSON does.
fn of_json(of_serde: &str) -> String {
    match of_serde {
        "u32" => "a whole number, 0 or more,".to_owned(),
        "a sequence" | "sequence" => "a list".to_owned(),
        "a map" | "map" => "an object".to_owned(),
        "a boolean" => "true or false".to_owned(),
        "a character" => "a single character".to_owned(),
        _ => match of_serde.split_once(' ') {
            Some(("string", value)) => format!("the string {value}"),
            Some(("integer", value)) => format!("the number {}", value.trim_matches('`')),
            Some(("floating", value)) => format!("the number {}", value.trim_start_matches("point ").trim_matches('`')),
            Some(("boolean", value)) => value.trim_matches('`').to_owned(),
            _ => of_serde.to_owned(),
        },
    }
}

/// Why a pattern is no regular expression.
pub(super) fn bad_regex(error: &regex::Error) -> String {
    if let regex::Error::CompiledTooBig(bytes) = error {
        return format!("the pattern takes more than {} MiB when it is compiled: let it repeat less", bytes >> 20);
    }
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().collect();
    let why = lines.last().map_or("", |last| last.trim().trim_start_matches("error: "));
    // The pattern is shown indented, and a caret below it, where it has one line.
    let at = match lines.as_slice() {
        [_, pattern, carets, _] if pattern.starts_with("    ") => carets.find('^').map(|at| at - 3),
        _ => None,
    };
    let at = at.map(|at| format!(", at its character {at}")).unwrap_or_default();
    let hint = if why.starts_with("look-around") { ": \"grok\" has it" } else { "" };
    format!("the pattern is no regular expression: {why}{at}{hint}")
}
