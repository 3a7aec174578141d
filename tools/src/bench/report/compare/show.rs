//! A comparison as a table and as JSON.

use super::{Change, Comparison, Verdict};
use crate::bench::report::number::{self, Prefix};
use std::fmt::Write;

/// A block for each job and direction, then the sum.
pub fn table(comparison: &Comparison) -> String {
    let mut out = String::new();
    let same_place =
        |left: &Change, right: &Change| left.job == right.job && left.direction == right.direction;
    for block in comparison.changes.chunk_by(same_place) {
        let _ = writeln!(out, "{}, {}", block[0].job, block[0].direction);
        let _ = writeln!(
            out,
            "  {:<15} {:>12} {:>12} {:>9}  {:<19}",
            "", "before", "after", "change", "95% interval"
        );
        for change in block {
            let _ = writeln!(
                out,
                "  {:<15} {:>12} {:>12} {:>+8.1}%  {:<19} {}",
                change.figure,
                value(change.before, change.unit),
                value(change.after, change.unit),
                change.change_percent,
                interval(change.interval_percent),
                word(change.verdict)
            );
        }
        out.push('\n');
    }
    for (place, missing) in [("before", &comparison.only_before), ("after", &comparison.only_after)] {
        if !missing.is_empty() {
            let _ = writeln!(out, "Only {place}: {}", missing.join(", "));
        }
    }
    if comparison.changes.iter().any(|change| change.verdict == Verdict::Unknown) {
        out += "No interval: latencies need json+, CPU time several files on each side (A1.json,A2.json).\n";
    }
    let threshold = comparison.threshold_percent;
    let _ = match comparison.regressions {
        0 => writeln!(out, "No regression beyond {threshold}%."),
        1 => writeln!(out, "1 regression beyond {threshold}%."),
        number => writeln!(out, "{number} regressions beyond {threshold}%."),
    };
    out
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Regression => "REGRESSION",
        Verdict::Worse => "worse",
        Verdict::Better => "better",
        Verdict::Same => "same",
        Verdict::Unknown => "",
    }
}

fn interval(interval: Option<(f64, f64)>) -> String {
    interval.map_or("none".to_owned(), |(low, high)| format!("{low:+.1}% to {high:+.1}%"))
}

fn value(value: f64, unit: &str) -> String {
    match unit {
        "ns" if value >= 1e9 => format!("{:.3} s", value / 1e9),
        "ns" if value >= 1e6 => format!("{:.3} ms", value / 1e6),
        "ns" if value >= 1e3 => format!("{:.2} us", value / 1e3),
        "ns" => format!("{value:.0} ns"),
        "B/s" => number::short(value as u64, number::SIGNIFICANT, Prefix::Binary, "B/s"),
        _ => format!("{value:.0}"),
    }
}

/// For programs.
pub fn json(comparison: &Comparison) -> String {
    serde_json::to_string_pretty(comparison).expect("names are texts and numbers finite") + "\n"
}
