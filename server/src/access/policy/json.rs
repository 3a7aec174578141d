//! The JSON of a policy, read strictly: a name that stands twice in an object is refused, because
//! readers differ in which of the two they take, and so is nesting beyond what a policy has.

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use std::collections::HashSet;
use std::fmt;

/// A policy nests seven deep: document, statements, statement, conditions, operator, values, value.
const DEPTH_MAX: usize = 8;

/// A value of JSON. Numbers are kept as texts: policies compare them as texts too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Json>),
    /// In the order of the document; each name stands once.
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Parses a text.
    pub fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        let value = Depth(DEPTH_MAX).deserialize(&mut deserializer)?;
        deserializer.end()?;
        Ok(value)
    }

    /// Returns what kind of value it is, for errors.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "true or false",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }
}

/// How much deeper a value may nest.
#[derive(Clone, Copy)]
struct Depth(usize);

impl<'de> DeserializeSeed<'de> for Depth {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Depth {
    fn below<E: de::Error>(self) -> Result<Self, E> {
        match self.0.checked_sub(1) {
            Some(depth) => Ok(Self(depth)),
            None => Err(E::custom("it nests deeper than a policy does")),
        }
    }
}

impl<'de> Visitor<'de> for Depth {
    type Value = Json;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Number(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Json, A::Error> {
        let below = self.below()?;
        let mut list = Vec::new();
        while let Some(element) = elements.next_element_seed(below)? {
            list.push(element);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let below = self.below()?;
        let mut object = Vec::new();
        let mut names = HashSet::new();
        while let Some(name) = entries.next_key::<String>()? {
            if !names.insert(name.clone()) {
                return Err(de::Error::custom(format_args!("{name:?} stands twice in one object")));
            }
            object.push((name, entries.next_value_seed(below)?));
        }
        Ok(Json::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_in_their_order() {
        let text = br#" {"b": ["x", true, null], "a": {"n": 1, "f": 1.5, "m": -2}} "#;
        let number = |text: &str| Json::Number(text.to_owned());
        let expected = Json::Object(vec![
            ("b".to_owned(), Json::List(vec![Json::Text("x".to_owned()), Json::Bool(true), Json::Null])),
            (
                "a".to_owned(),
                Json::Object(vec![
                    ("n".to_owned(), number("1")),
                    ("f".to_owned(), number("1.5")),
                    ("m".to_owned(), number("-2")),
                ]),
            ),
        ]);
        assert_eq!(Json::parse(text).unwrap(), expected);
    }

    #[test]
    fn what_readers_take_differently_is_refused() {
        for text in [
            &br#"{"a": 1, "a": 2}"#[..],
            br#"{"a": 1, "\u0061": 2}"#,
            br#"{"x": {"a": 1, "a": 1}}"#,
            b"{} {}",
            b"{,}",
            b"{'a': 1}",
            b"\xef\xbb\xbf{}",
            b"{\"a\": \"\xff\"}",
            b"",
            b"{\"a\": 1, }",
            b"// a comment\n{}",
        ] {
            assert!(Json::parse(text).is_err(), "{}", String::from_utf8_lossy(text));
        }
        assert!(Json::parse(&[b"[".repeat(8), b"]".repeat(8)].concat()).is_ok());
        let deep = Json::parse(&[b"[".repeat(9), b"]".repeat(9)].concat()).unwrap_err();
        assert!(deep.to_string().contains("nests deeper"), "{deep}");
        assert!(Json::parse(&b"[".repeat(100_000)).is_err(), "the stack is not for the client to fill");
    }
}
