//! This module shows a comparison as a table and as JSON.

use super::statistics::{INTERVALS_MIN, RUN_DEVIATION};
use super::{Change, Comparison, JudgedBy, Verdict};
use ringbolt_tool_common::number::{self, Prefix};
use std::collections::BTreeSet;
use std::fmt::Write;

/// With this many runs per side, changes of the size of the noise can be detected.
const RUNS_ADVISED: usize = 3;

/// Returns a block for each job and direction, and a summary.
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
    out += &notes(comparison);
    let threshold = comparison.threshold_percent;
    let _ = match comparison.regressions {
        0 => writeln!(out, "No regression beyond {threshold}%."),
        1 => writeln!(out, "1 regression beyond {threshold}%."),
        number => writeln!(out, "{number} regressions beyond {threshold}%."),
    };
    out
}

/// Explains what the intervals mean and what they do not.
fn notes(comparison: &Comparison) -> String {
    let mut out = String::new();
    let (before, after) = comparison.runs;
    let _ = match comparison.judged_by {
        JudgedBy::Runs => {
            writeln!(out, "Judged by how the runs of each side differ: {before} before, {after} after.")
        }
        JudgedBy::Intervals => writeln!(
            out,
            "Judged by how the seconds of each run differ; runs are taken to differ by {:.0}% by themselves, which one \
             run a side does not show.",
            RUN_DEVIATION * 100.0
        ),
    };
    let unknown: BTreeSet<&str> = comparison
        .changes
        .iter()
        .filter(|change| change.verdict == Verdict::Unknown)
        .map(|change| change.figure)
        .collect();
    if !unknown.is_empty() {
        let names = unknown.into_iter().collect::<Vec<_>>().join(", ");
        let _ = writeln!(
            out,
            "Not judged: {names}. So few runs can not tell: tails and CPU time take at least {RUNS_ADVISED} runs a \
             side, made in turns (A1.json,A2.json,A3.json B1.json,B2.json,B3.json); rates, means and medians a run \
             of {INTERVALS_MIN} seconds by ringbolt bench, or as many runs."
        );
    } else if before.min(after) < RUNS_ADVISED {
        let _ = writeln!(
            out,
            "With at least {RUNS_ADVISED} runs a side, made in turns, smaller changes are told."
        );
    }
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

pub fn json(comparison: &Comparison) -> String {
    serde_json::to_string_pretty(comparison).expect("names are texts and numbers finite") + "\n"
}
