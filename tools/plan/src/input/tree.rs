//! This module parses a TOML file into values that know their lines.
//!
//! Invariant: nesting is bounded by the parser (80 levels of lists, tables and dotted names), so
//! that no text overflows the stack of code that walks it; a test checks this.

use super::Document;
use super::error::{InputError, Place};
use ringbolt_tool_common::units::shortened;
use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// A text may have thousands of lines; a plan has a hundred.
pub const TEXT_BYTES_MAX: usize = 1 << 20;

/// This is a value and its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub place: Place,
    pub value: Value,
}

/// This is a value. Numbers are kept as text, because their meaning depends on the key.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Scalar(String),
    List(Vec<Node>),
    Table(Vec<(String, Node)>),
}

impl Node {
    /// Formats the value for messages.
    pub fn shown(&self) -> String {
        match &self.value {
            Value::Scalar(text) if text.is_empty() => "\"\"".to_owned(),
            Value::Scalar(text) => shortened(text),
            Value::List(items) => format!("a list of {}", items.len()),
            Value::Table(_) => "a table".to_owned(),
        }
    }
}

/// Parses a file into its sections, in the order of their names.
///
/// # Errors
/// Fails when the text is not TOML.
pub fn document(document: &Document) -> Result<Vec<(String, Node)>, InputError> {
    let text = document.text.as_str();
    let place = |at: usize| {
        let before = text.as_bytes().get(..at).unwrap_or(text.as_bytes());
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        Place::Line { file: document.name.clone(), line }
    };
    let wrong = |place, reason: String| InputError::Syntax { place, reason };
    if text.len() > TEXT_BYTES_MAX {
        let whole = Place::Line { file: document.name.clone(), line: 0 };
        return Err(wrong(whole, format!("{} bytes: a file has at most {TEXT_BYTES_MAX}", text.len())));
    }
    let root = DeTable::parse(text).map_err(|error| {
        wrong(place(error.span().map_or(0, |span| span.start)), error.message().replace('\n', ", "))
    })?;
    Ok(table(root.get_ref(), &|span| place(span.start)))
}

/// Parses a value of the command line: TOML if it is valid, otherwise a text.
///
/// # Errors
/// Returns the reason when the value is beyond the limits.
pub fn from_command_line(text: &str) -> Result<Node, String> {
    let text = text.trim();
    if text.is_empty() {
        return Err("a value is needed behind the `=`".to_owned());
    }
    if text.len() > TEXT_BYTES_MAX {
        return Err(format!("longer than {TEXT_BYTES_MAX} bytes"));
    }
    Ok(match DeValue::parse(text).ok() {
        Some(value) => node(value.get_ref(), value.span(), &|_| Place::CommandLine),
        None => Node { place: Place::CommandLine, value: Value::Scalar(text.to_owned()) },
    })
}

fn table(table: &DeTable<'_>, place: &dyn Fn(Range<usize>) -> Place) -> Vec<(String, Node)> {
    let entries = table.iter();
    entries
        .map(|(key, value)| (key.get_ref().to_string(), node(value.get_ref(), key.span(), place)))
        .collect()
}

fn node(value: &DeValue<'_>, span: Range<usize>, place: &dyn Fn(Range<usize>) -> Place) -> Node {
    let at = place(span);
    let value = match value {
        DeValue::String(text) => Value::Scalar(text.to_string()),
        DeValue::Integer(number) => {
            let parsed = i128::from_str_radix(number.as_str(), number.radix());
            Value::Scalar(parsed.map_or_else(|_| number.to_string(), |number| number.to_string()))
        }
        DeValue::Float(number) => {
            let parsed = number.as_str().parse::<f64>();
            Value::Scalar(parsed.map_or_else(|_| number.to_string(), |number| number.to_string()))
        }
        DeValue::Boolean(value) => Value::Scalar(value.to_string()),
        DeValue::Datetime(date) => Value::Scalar(date.to_string()),
        DeValue::Array(items) => {
            Value::List(items.iter().map(|item| node(item.get_ref(), item.span(), place)).collect())
        }
        DeValue::Table(entries) => Value::Table(table(entries, place)),
    };
    Node { place: at, value }
}
