//! A row as it is shown: names and values in their order.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::shown::Options;

/// What has no value is left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row(pub Vec<(String, Value)>);

impl Row {
    /// With its texts cut, where they are to be.
    pub fn cut(mut self, options: Options) -> Self {
        self.0.retain(|(_, value)| !value.is_null());
        self.0.iter_mut().for_each(|(_, value)| cut(value, options));
        self
    }
}

fn cut(value: &mut Value, options: Options) {
    match value {
        Value::String(text) => *text = options.text(text),
        Value::Array(values) => values.iter_mut().for_each(|value| cut(value, options)),
        Value::Object(members) => members.values_mut().for_each(|value| cut(value, options)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Row;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Row, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Row(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}
