//! One member of an object of JSON, looked up without reading the others.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

/// Whether what begins as an object of JSON has a member of this name. Nothing behind the member is read.
pub(super) fn has(json: &[u8], name: &str) -> bool {
    let mut found = false;
    // The error that it ends with says nothing more.
    let _ = serde_json::Deserializer::from_slice(json).deserialize_map(Has { name, found: &mut found });
    found
}

/// The value of a member of a valid object; of the last one where there are several of this name.
pub(super) fn value<'j>(object: &'j RawValue, name: &str) -> Option<&'j RawValue> {
    serde_json::Deserializer::from_str(object.get()).deserialize_map(Value { name }).ok().flatten()
}

struct Has<'a> {
    name: &'a str,
    found: &'a mut bool,
}

impl<'de> Visitor<'de> for Has<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(is_it) = map.next_key_seed(KeyIs(self.name))? {
            if is_it {
                *self.found = true;
                return Err(A::Error::custom("found"));
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

struct Value<'a> {
    name: &'a str,
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut value = None;
        while let Some(is_it) = map.next_key_seed(KeyIs(self.name))? {
            if is_it {
                value = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(value)
    }
}

/// Whether a key is this one. As bytes, for a key that is no text is as good as any other.
struct KeyIs<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for KeyIs<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for KeyIs<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_bytes<E: Error>(self, key: &[u8]) -> Result<bool, E> {
        Ok(key == self.0.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_found_by_its_unescaped_name() {
        for json in [r#"{"a":1}"#, r#" {"x":[{"b":2}],"\u0061":1"#, "{\"a\":\u{1}", "{\"\\ud800\":\"\\ud800\",\"a\":"] {
            assert!(has(json.as_bytes(), "a"), "{json}");
        }
        assert!(has(b"{\"\xff\":\"\xff\",\"a\":", "a"));
        for json in
            ["", "a", "[\"a\"]", "\"a\"", r#"{"x":{"a":1}}"#, r#"{"A":1}"#, r#"{"x":1}{"a":1}"#, r#"{"x" "a":1}"#]
        {
            assert!(!has(json.as_bytes(), "a"), "{json}");
        }
    }

    #[test]
    fn the_last_of_equals_counts() {
        let value_of = |json: &str| {
            let object: Box<RawValue> = serde_json::from_str(json).unwrap();
            value(&object, "a").map(|value| value.get().to_owned())
        };
        assert_eq!(value_of(r#"{"a":1,"b":{"a":2},"\u0061": [3] }"#).as_deref(), Some("[3]"));
        assert_eq!(value_of(r#"{"b":{"a":2}}"#), None);
        assert_eq!(value_of("[1]"), None);
    }
}
