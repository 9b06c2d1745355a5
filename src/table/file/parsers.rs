//! The part of a schema file that says how a message becomes a row.

use std::collections::{BTreeMap, HashSet};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::super::extract::{self, Delimited, Json, Parser, Patterns, Place, Target};
use super::super::kind::Type;
use super::wording::{self, Object};
use super::{At, Reader, SchemaError};

/// How a message becomes a row.
pub(super) enum Parse<'a> {
    Json(JsonEntry<'a>),
    Delimited(DelimitedEntry<'a>),
    Regex(RegexEntry<'a>),
    Grok(GrokEntry<'a>),
}

/// The ways to say so, of which a file has one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ParseEntry<'a> {
    #[serde(borrow)]
    json: Option<Object<JsonEntry<'a>>>,
    #[serde(borrow)]
    delimited: Option<Object<DelimitedEntry<'a>>>,
    #[serde(borrow)]
    regex: Option<Object<RegexEntry<'a>>>,
    #[serde(borrow)]
    grok: Option<Object<GrokEntry<'a>>>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Parse<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Object(ParseEntry { json, delimited, regex, grok }) = Object::deserialize(deserializer)?;
        match (json, delimited, regex, grok) {
            (Some(Object(json)), None, None, None) => Ok(Self::Json(json)),
            (None, Some(Object(delimited)), None, None) => Ok(Self::Delimited(delimited)),
            (None, None, Some(Object(regex)), None) => Ok(Self::Regex(regex)),
            (None, None, None, Some(Object(grok))) => Ok(Self::Grok(grok)),
            _ => Err(D::Error::custom("\"parse\" has one of `json`, `delimited`, `regex` and `grok`")),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct JsonEntry<'a> {
    /// The column for all other members.
    #[serde(borrow)]
    rest: Option<At<'a, String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DelimitedEntry<'a> {
    #[serde(borrow)]
    delimiter: At<'a, char>,
    #[serde(borrow)]
    quote: Option<At<'a, char>>,
    /// Those of a message, in their order.
    #[serde(borrow)]
    fields: Vec<At<'a, String>>,
    /// Others that a table may name instead.
    #[serde(default)]
    known: Vec<String>,
    /// Whether further fields are left out.
    #[serde(default)]
    more: bool,
    #[serde(default)]
    absent: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RegexEntry<'a> {
    #[serde(borrow)]
    patterns: Vec<At<'a, String>>,
    #[serde(default)]
    absent: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct GrokEntry<'a> {
    #[serde(borrow)]
    patterns: Vec<At<'a, String>>,
    /// Patterns of one's own, by name.
    #[serde(default)]
    definitions: BTreeMap<String, String>,
    #[serde(default)]
    absent: Vec<String>,
}

impl Parse<'_> {
    /// Texts that stand for no value in all columns that do not say otherwise.
    pub(super) fn absent(&self) -> &[String] {
        match self {
            Self::Json(_) => &[],
            Self::Delimited(entry) => &entry.absent,
            Self::Regex(entry) => &entry.absent,
            Self::Grok(entry) => &entry.absent,
        }
    }
}

impl<'a> Reader<'a> {
    pub(super) fn parser(
        &self,
        parse: Parse<'a>,
        froms: &[&At<'a, String>],
        targets: &[Target],
        fields: Option<&[String]>,
    ) -> Result<Parser, SchemaError> {
        if let (Some(_), Parse::Json(_) | Parse::Regex(_) | Parse::Grok(_)) = (fields, &parse) {
            return Err(self.wrong(
                self.text,
                "its messages are not delimited, so that `fields` has no use: remove it".to_owned(),
            ));
        }
        match parse {
            Parse::Json(entry) => self.json(entry, froms, targets),
            Parse::Delimited(entry) => self.delimited(entry, froms, targets, fields),
            Parse::Regex(entry) => {
                let compile = |pattern: &At<'a, String>| {
                    regex::Regex::new(&pattern.value)
                        .map_err(|error| self.wrong(pattern.raw, wording::bad_regex(&error)))
                };
                let regexes: Vec<_> = entry.patterns.iter().map(compile).collect::<Result<_, _>>()?;
                let names = regexes.iter().flat_map(|regex| regex.capture_names().flatten()).collect();
                let groups = self.groups(&names, &entry.patterns, froms, targets)?;
                Ok(Parser::Patterns(Patterns::of_regexes(regexes, &groups)))
            }
            Parse::Grok(entry) => {
                let compile = |pattern: &At<'a, String>| {
                    extract::grok(&pattern.value, &entry.definitions)
                        .map_err(|why| self.wrong(pattern.raw, wording::bad_grok(&why)))
                };
                let patterns: Vec<_> = entry.patterns.iter().map(compile).collect::<Result<_, _>>()?;
                let names = patterns.iter().flat_map(grok::Pattern::capture_names).collect();
                let groups = self.groups(&names, &entry.patterns, froms, targets)?;
                Ok(Parser::Patterns(Patterns::of_grok(patterns, &groups)))
            }
        }
    }

    fn json(&self, entry: JsonEntry<'a>, froms: &[&At<'a, String>], targets: &[Target]) -> Result<Parser, SchemaError> {
        let rest = match &entry.rest {
            Some(rest) => {
                let at = targets
                    .iter()
                    .position(|target| target.column == rest.value && target.conversion.kind == Type::String);
                Some(at.ok_or_else(|| {
                    self.wrong(rest.raw, format!("there is no column {:?} of type string", rest.value))
                })?)
            }
            None => None,
        };
        let places =
            froms.iter().enumerate().map(|(column, from)| (rest != Some(column)).then(|| Place::parse(&from.value)));
        Ok(Parser::Json(Json::new(&places.collect::<Vec<_>>(), rest)))
    }

    fn delimited(
        &self,
        entry: DelimitedEntry<'a>,
        froms: &[&At<'a, String>],
        targets: &[Target],
        order: Option<&[String]>,
    ) -> Result<Parser, SchemaError> {
        let ascii = |at: &At<'a, char>| {
            u8::try_from(at.value)
                .ok()
                .filter(u8::is_ascii)
                .ok_or_else(|| self.wrong(at.raw, "an ASCII character is wanted".to_owned()))
        };
        let (delimiter, quote) = (ascii(&entry.delimiter)?, entry.quote.as_ref().map(ascii).transpose()?);
        let usual: Vec<&str> = entry.fields.iter().map(|field| field.value.as_str()).collect();
        let known: Vec<&str> = usual.iter().copied().chain(entry.known.iter().map(String::as_str)).collect();
        let fields: Vec<&str> = order.map_or(usual, |order| order.iter().map(String::as_str).collect());
        if let Some(unknown) = fields.iter().find(|field| !known.contains(field)) {
            let why = format!("there is no field {unknown:?}: the schema has {}", known.join(", "));
            return Err(self.wrong(self.text, why));
        }
        if let Some((from, target)) = froms.iter().zip(targets).find(|(from, _)| !known.contains(&from.value.as_str()))
        {
            return Err(
                self.wrong(from.raw, format!("column {:?}: no field is called {:?}", target.column, from.value))
            );
        }
        let map = targets.iter().zip(froms).find(|(target, _)| target.conversion.kind == Type::StringMap);
        if let Some((_, from)) = map {
            return Err(self.wrong(from.raw, "a map comes from JSON only".to_owned()));
        }
        let columns = |field: &str| {
            froms.iter().enumerate().filter(|(_, from)| from.value == field).map(|(column, _)| column).collect()
        };
        let fields = fields.into_iter().map(columns).collect();
        Ok(Parser::Delimited(Delimited { delimiter, quote, fields, more: entry.more }))
    }

    /// The group that fills each column; `names` are those that there are.
    fn groups<'f>(
        &self,
        names: &HashSet<&str>,
        places: &[At<'a, String>],
        froms: &[&'f At<'a, String>],
        targets: &[Target],
    ) -> Result<Vec<&'f str>, SchemaError> {
        if places.is_empty() {
            // A list without items has no place of its own.
            let place = self.text.find("\"patterns\"").map_or(self.text, |at| &self.text[at..]);
            return Err(self.wrong(place, "\"patterns\" is empty: give at least one".to_owned()));
        }
        for (from, target) in froms.iter().zip(targets) {
            if !names.contains(from.value.as_str()) {
                let why = format!("column {:?}: no group of a pattern is called {:?}", target.column, from.value);
                return Err(self.wrong(from.raw, why));
            }
            if target.conversion.kind == Type::StringMap {
                return Err(self.wrong(from.raw, "a map comes from JSON only".to_owned()));
            }
        }
        Ok(froms.iter().map(|from| from.value.as_str()).collect())
    }
}
