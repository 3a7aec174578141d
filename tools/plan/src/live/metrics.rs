//! This module parses the values in the text format of Prometheus, version 0.0.4.
//!
//! Source: "Text-based format" in Prometheus' exposition formats. Invariant: series that nobody
//! asks for are parsed like all others; a line that is not valid is an error.

use std::collections::BTreeMap;

const SHOWN_CHARACTERS: usize = 100;

/// Holds values by name, and by labels within a name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics {
    families: BTreeMap<String, Vec<Series>>,
}

#[derive(Clone, Debug, PartialEq)]
struct Series {
    labels: Vec<(String, String)>,
    value: f64,
}

/// Says which line is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {text:?}")]
pub struct MetricsError {
    pub line: usize,
    pub text: String,
}

impl Metrics {
    /// Parses metrics.
    ///
    /// # Errors
    /// Fails at the first line that is neither a comment nor a value.
    pub fn parse(text: &str) -> Result<Self, MetricsError> {
        let mut metrics = Self::default();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong =
                || MetricsError { line: number + 1, text: line.chars().take(SHOWN_CHARACTERS).collect() };
            let (name, series) = parse_line(line).ok_or_else(wrong)?;
            metrics.families.entry(name.to_owned()).or_default().push(series);
        }
        Ok(metrics)
    }

    /// Returns the value of a series without labels.
    pub fn value(&self, name: &str) -> Option<f64> {
        let series = self.families.get(name)?;
        series.iter().find(|series| series.labels.is_empty()).map(|series| series.value)
    }

    /// Returns the values of a family by the text of one of its labels; the map is empty if there
    /// is no such family.
    pub fn by_label(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut values = BTreeMap::new();
        for series in self.families.get(name).into_iter().flatten() {
            if let Some((_, text)) = series.labels.iter().find(|(found, _)| found == label) {
                *values.entry(text.clone()).or_insert(0.0) += series.value;
            }
        }
        values
    }
}

/// Parses `name{label="text",…} value timestamp`; labels and timestamp may be absent.
fn parse_line(line: &str) -> Option<(&str, Series)> {
    let end = line.find(|character: char| !is_name(character)).filter(|end| *end > 0)?;
    let (name, rest) = line.split_at(end);
    let rest = rest.trim_start();
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(inside) => parse_labels(inside)?,
        None => (Vec::new(), rest),
    };
    let mut words = rest.split_whitespace();
    let value = parse_value(words.next()?)?;
    if let Some(timestamp) = words.next() {
        timestamp.parse::<i64>().ok()?;
    }
    (!name.starts_with(|first: char| first.is_ascii_digit()) && words.next().is_none())
        .then_some((name, Series { labels, value }))
}

fn is_name(character: char) -> bool {
    character.is_ascii_alphanumeric() || character == '_' || character == ':'
}

/// Parses labels after `{`, and returns them with the text after `}`.
fn parse_labels(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut labels = Vec::new();
    loop {
        rest = rest.trim_start();
        if let Some(behind) = rest.strip_prefix('}') {
            return Some((labels, behind));
        }
        let (name, behind) = rest.split_once('=')?;
        let (text, behind) = parse_quoted(behind.trim_start().strip_prefix('"')?)?;
        let name = name.trim();
        if name.is_empty() || !name.chars().all(is_name) {
            return None;
        }
        labels.push((name.to_owned(), text));
        rest = behind.trim_start();
        match rest.strip_prefix(',') {
            Some(behind) => rest = behind,
            None if rest.starts_with('}') => {}
            None => return None,
        }
    }
}

/// Parses a text after the first `"`, and returns it with the text after the closing one. The
/// escapes are `\\`, `\"` and `\n`.
fn parse_quoted(text: &str) -> Option<(String, &str)> {
    let mut unescaped = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((unescaped, &text[at + 1..])),
            '\\' => unescaped.push(match characters.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => unescaped.push(other),
        }
    }
    None
}

fn parse_value(text: &str) -> Option<f64> {
    match text {
        "+Inf" => Some(f64::INFINITY),
        "-Inf" => Some(f64::NEG_INFINITY),
        "NaN" => Some(f64::NAN),
        digits => digits.parse().ok().filter(|value: &f64| value.is_finite()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_name_and_label() {
        let text = "# HELP a_total Things.\n# TYPE a_total counter\na_total{kind=\"x\",other=\"1\"} 3\n\
            a_total{other=\"2\", kind=\"x\",} 4 1395066363000\na_total{kind=\"y, \\\"z\\\" \\\\ \\n}\"} 1.5e3\n\n\
            plain 12.047\n  not:a_number NaN\nhuge +Inf\n";
        let metrics = Metrics::parse(text).unwrap();
        assert_eq!(metrics.value("plain"), Some(12.047));
        assert_eq!(metrics.value("huge"), Some(f64::INFINITY));
        assert!(metrics.value("not:a_number").unwrap().is_nan());
        let kinds = metrics.by_label("a_total", "kind");
        assert_eq!(
            kinds.into_iter().collect::<Vec<_>>(),
            [("x".into(), 7.0), ("y, \"z\" \\ \n}".into(), 1500.0)]
        );
        assert_eq!((metrics.value("a_total"), metrics.value("none")), (None, None));
        assert!(metrics.by_label("none", "kind").is_empty() && metrics.by_label("plain", "kind").is_empty());
        assert_eq!(Metrics::parse("").unwrap(), Metrics::default());
    }

    #[test]
    fn a_line_of_another_format_is_named() {
        for line in [
            "<html>",
            "name",
            "name x",
            "name{a=\"1\" 2",
            "name{a=1} 2",
            "name{a=\"1} 2",
            "{a=\"1\"} 2",
            "name 1 2 3",
            "name 1 x",
            "1name 2",
            "name{=\"1\"} 2",
            "name{a=\"1\"b=\"2\"} 2",
            "name 1,5",
            "name inf",
            "é 1",
        ] {
            let error = Metrics::parse(&format!("good 1\n{line}\n")).unwrap_err();
            assert_eq!((error.line, error.text.as_str()), (2, line));
        }
    }
}
