//! This module shows the difference between a plan and a live node, as text and JSON.

use super::table::{Align, Table, or_nothing};
use super::words::{self, amount, bytes};
use crate::live::node::{Difference, DifferenceLine};
use serde::Serialize;

const SCHEMA: &str = "ringbolt-plan-difference";
const VERSION: u32 = 1;

/// Returns the text for people, with lines in the order given.
pub fn text(difference: &Difference) -> String {
    let columns = [
        ("for one node", Align::Left),
        ("planned", Align::Right),
        ("live", Align::Right),
        ("difference", Align::Right),
    ];
    let live = &difference.live;
    let title = format!(
        "{} at {}, over {} s, against the plan's {}",
        live.url,
        words::minute(live.read_unix_ms),
        amount(live.seconds),
        difference.month
    );
    let mut table = Table::new(ringbolt_tool_common::text::plain(&title), &columns);
    for line in &difference.lines {
        let live = or_nothing(line.live.map(|live| value(line, live)));
        let relative = or_nothing(line.relative().map(|relative| format!("{:+.1}%", relative * 100.0)));
        table.rows.push(vec![line.name.clone(), value(line, line.planned), live, relative]);
    }
    table.notes.push(format!("Difference: live against planned. {}: the node does not say.", words::NOTHING));
    table.notes.extend(difference.notes.iter().cloned());
    table.text().trim_end().to_owned() + "\n"
}

/// Formats a value with the unit in the line's name.
fn value(line: &DifferenceLine, value: f64) -> String {
    if line.name.ends_with("_share") || line.name.ends_with("_of_limit") {
        return words::percent(value);
    }
    if line.name.contains("bytes") { bytes(value) } else { amount(value) }
}

/// Returns the JSON for programs, which includes the relative differences.
pub fn json(difference: &Difference) -> String {
    #[derive(Serialize)]
    struct Line<'a> {
        #[serde(flatten)]
        line: &'a DifferenceLine,
        /// This is the live value over the planned one, less 1.
        relative: Option<f64>,
    }
    #[derive(Serialize)]
    struct File<'a> {
        schema: &'static str,
        version: u32,
        month: String,
        lines: Vec<Line<'a>>,
        notes: &'a [String],
        live: &'a crate::live::node::LiveNode,
    }
    let file = File {
        schema: SCHEMA,
        version: VERSION,
        month: difference.month.to_string(),
        lines: difference.lines.iter().map(|line| Line { line, relative: line.relative() }).collect(),
        notes: &difference.notes,
        live: &difference.live,
    };
    match serde_json::to_string_pretty(&file) {
        Ok(text) => text + "\n",
        Err(error) => unreachable!("a difference of plain fields is written: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use crate::report::table::WIDTH;

    #[test]
    fn each_line_says_how_far_it_is_off() {
        let text = text(&sample::difference());
        let line = |part: &str| text.lines().find(|line| line.contains(part)).unwrap().to_owned();
        assert!(line("write_amplification  ").ends_with("+33.3%"), "{text}");
        assert!(line("stored_bytes_per_object").contains("61.2 kB      61.3 kB       +0.1%"), "{text}");
        assert!(line("cpu_cores").ends_with(" 3.5            -           -"), "{text}");
        assert!(line("list_per_s").ends_with("0.5           -"), "nothing was planned: {text}");
        assert!(line("objects").contains("-3.0%"), "{text}");
        assert!(text.contains("younger than a day"));
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        let order =
            ["objects", "stored_bytes_per_object", "write_amplification  ", "list_per_s", "cpu_cores"];
        let places: Vec<usize> = order.iter().map(|name| text.find(name).unwrap()).collect();
        assert!(places.is_sorted(), "{text}");
    }

    #[test]
    fn json_has_the_relative_difference() {
        let json: serde_json::Value = serde_json::from_str(&json(&sample::difference())).unwrap();
        assert_eq!(json["schema"], SCHEMA);
        assert_eq!(json["month"], "2026-12");
        assert!((json["lines"][2]["relative"].as_f64().unwrap() - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!(json["lines"][4]["relative"], serde_json::Value::Null);
        assert_eq!(json["lines"][1]["name"], "stored_bytes_per_object");
    }
}
