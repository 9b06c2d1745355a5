//! The part of a schema file that says how a message becomes a row.

use std::collections::{BTreeMap, HashSet};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::super::extract::{Delimited, Grok, Json, Parser, Patterns, Place, Target};
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
    #[serde(borrow)]
    escape: Option<At<'a, char>>,
    /// Those of a message, in their order.
    #[serde(borrow)]
    fields: Vec<At<'a, String>>,
    /// How many of the last of them a message may end before.
    #[serde(borrow)]
    optional: Option<At<'a, usize>>,
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

    /// What would be lost of messages that are not kept, and how it would not be. What a schema itself leaves out of account
    /// is not said to be lost.
    pub(super) fn loses(&self) -> Option<&'static str> {
        match self {
            Self::Json(entry) if entry.rest.is_none() => {
                Some("members without a column would be lost: name a \"rest\"")
            }
            Self::Delimited(entry) if entry.more => Some("further fields would be lost: leave \"more\" out"),
            _ => None,
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
                    Grok::compile(&pattern.value, &entry.definitions).map_err(|why| self.wrong(pattern.raw, why))
                };
                let patterns: Vec<_> = entry.patterns.iter().map(compile).collect::<Result<_, _>>()?;
                let names = patterns.iter().flat_map(Grok::names).collect();
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
        let place = |(column, from): (usize, &&At<'a, String>)| match rest == Some(column) {
            true => Ok(None),
            false => Place::parse(&from.value).map(Some).map_err(|why| self.wrong(from.raw, why)),
        };
        let places = froms.iter().enumerate().map(place).collect::<Result<_, _>>()?;
        Ok(Parser::Json(Json::new(places, rest)))
    }

    fn delimited(
        &self,
        entry: DelimitedEntry<'a>,
        froms: &[&At<'a, String>],
        targets: &[Target],
        order: Option<&[String]>,
    ) -> Result<Parser, SchemaError> {
        let (delimiter, quote, escape) = self.signs(&entry)?;
        let optional = match &entry.optional {
            Some(optional) if optional.value >= entry.fields.len() => {
                return Err(
                    self.wrong(optional.raw, "a message has one field at least: give less than there are".to_owned())
                );
            }
            // A rule says which fields there are.
            Some(optional) if order.is_none() => optional.value,
            _ => 0,
        };
        let usual: Vec<&str> = entry.fields.iter().map(|field| field.value.as_str()).collect();
        let known: Vec<&str> = usual.iter().copied().chain(entry.known.iter().map(String::as_str)).collect();
        // The fields of a rule are in another file: the place is that of those that they take the place of.
        let places: Vec<&str> = match order {
            Some(order) => order.iter().map(|_| self.text).collect(),
            None => entry.fields.iter().map(|field| field.raw).collect(),
        };
        let fields: Vec<&str> = order.map_or(usual, |order| order.iter().map(String::as_str).collect());
        if let Some(unknown) = fields.iter().find(|field| !known.contains(field)) {
            let why = format!("there is no field {unknown:?}: the schema has {}", known.join(", "));
            return Err(self.wrong(self.text, why));
        }
        let mut names = HashSet::new();
        if let Some((twice, place)) = fields.iter().zip(places).find(|(field, _)| !names.insert(**field)) {
            return Err(self.wrong(place, format!("field {twice:?} is there twice: give each a name of its own")));
        }
        if fields.is_empty() {
            return Err(self.wrong(self.text, "\"fields\" is empty: name at least one".to_owned()));
        }
        if let Some((from, target)) = froms.iter().zip(targets).find(|(from, _)| !known.contains(&from.value.as_str()))
        {
            return Err(
                self.wrong(from.raw, format!("column {:?}: no field is called {:?}", target.column, from.value))
            );
        }
        let missing =
            |(from, target): &(&&At<'a, String>, &Target)| target.required && !names.contains(from.value.as_str());
        if let Some((from, target)) = froms.iter().zip(targets).find(missing) {
            let why = format!(
                "column {:?} is required, and {:?} is not among the fields: no message could be a row",
                target.column, from.value
            );
            return Err(self.wrong(from.raw, why));
        }
        let map = targets.iter().zip(froms).find(|(target, _)| target.conversion.kind == Type::StringMap);
        if let Some((_, from)) = map {
            return Err(self.wrong(from.raw, "a map comes from JSON only".to_owned()));
        }
        let columns = |field: &str| {
            froms.iter().enumerate().filter(|(_, from)| from.value == field).map(|(column, _)| column).collect()
        };
        let fields = fields.into_iter().map(columns).collect();
        Ok(Parser::Delimited(Delimited { delimiter, quote, escape, fields, optional, more: entry.more }))
    }

    /// The delimiter, the quote and the escape of delimited messages.
    fn signs(&self, entry: &DelimitedEntry<'a>) -> Result<(u8, Option<u8>, Option<u8>), SchemaError> {
        let sign = |at: &At<'a, char>| match u8::try_from(at.value) {
            Ok(b'\n' | b'\r') => Err(self.wrong(at.raw, "it ends the line: give another character".to_owned())),
            Ok(sign) if sign.is_ascii() => Ok(sign),
            _ => Err(self.wrong(at.raw, "an ASCII character is wanted".to_owned())),
        };
        let delimiter = sign(&entry.delimiter)?;
        let quote = entry.quote.as_ref().map(sign).transpose()?;
        let escape = entry.escape.as_ref().map(sign).transpose()?;
        let wrong = |at: &Option<At<'a, char>>, why: &str| {
            Err(self.wrong(at.as_ref().map_or(self.text, |at| at.raw), why.to_owned()))
        };
        if quote == Some(delimiter) {
            return wrong(&entry.quote, "it is the delimiter too: give another character");
        }
        match escape {
            Some(_) if quote.is_none() => wrong(&entry.escape, "it escapes quotes, and there is no \"quote\": add one"),
            Some(_) if escape == quote => wrong(&entry.escape, "a quote may be doubled without it: leave it out"),
            Some(escape) if escape == delimiter => {
                wrong(&entry.escape, "it is the delimiter too: give another character")
            }
            _ => Ok((delimiter, quote, escape)),
        }
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
