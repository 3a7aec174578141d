//! This module draws the charts of one job: rates and latencies over time, the heat map, the
//! percentile curve.
//!
//! Invariant: a chart has at most as many columns as can be told apart. A longer run is merged into
//! them, including its histograms; nothing is dropped.

use crate::result::{Interval, JobResult, Latencies};
use crate::spec::Direction;
use ringbolt_tool_common::html::plot::{Axis, Kind, Plot, count, duration, escaped, figures};
use ringbolt_tool_common::html::{figure, key};
use ringbolt_tool_common::number::per_second;
use std::collections::BTreeMap;
use std::fmt::Write;

const LINE_COLUMNS_MAX: usize = 400;
const HEAT_COLUMNS_MAX: usize = 120;
/// The heat map has this many rows for each factor of ten.
const HEAT_ROWS: f64 = 12.0;
const HEAT_SHADES: usize = 12;

/// Returns all charts of a job.
pub fn figures_of(result: &JobResult) -> String {
    let mut html = String::from("<div class=\"figures\">\n");
    let moved = moved(result);
    if !result.intervals.is_empty() {
        let intervals = merged(&without_slivers(&result.intervals), LINE_COLUMNS_MAX);
        let operations = |interval: &Interval, direction: Direction| {
            per_second(interval.by_direction.get(direction).ios, interval.length_ns)
        };
        let bytes = |interval: &Interval, direction: Direction| {
            per_second(interval.by_direction.get(direction).bytes, interval.length_ns) / 1_048_576.0
        };
        html += &rate("Operations over time", "operations/s", count, &moved, &intervals, operations);
        html += &rate("Throughput over time", "MiB/s", figures, &moved, &intervals, bytes);
        for direction in &moved {
            html += &latency_over_time(result, *direction, &intervals);
            html += &heat_map(result, *direction);
        }
    }
    html += &percentile_curve(result, &moved);
    html + "</div>\n"
}

/// Returns the directions that have operations.
pub fn moved(result: &JobResult) -> Vec<Direction> {
    Direction::ALL.into_iter().filter(|one| result.by_direction.get(*one).ios > 0).collect()
}

/// Merges neighbours until there are at most `columns` intervals.
fn merged(intervals: &[Interval], columns: usize) -> Vec<Interval> {
    let together = intervals.len().div_ceil(columns).max(1);
    intervals.chunks(together).map(sum).collect()
}

/// Merges a very short first or last interval with its neighbour. A job begins and ends anywhere
/// within the intervals of its run, so either end may be a few operations in a millisecond, which
/// say nothing about a rate.
fn without_slivers(intervals: &[Interval]) -> Vec<Interval> {
    let widest_ns = intervals.iter().map(|interval| interval.length_ns).max().unwrap_or(0);
    let mut rest = intervals;
    let mut joined = Vec::with_capacity(intervals.len());
    if let [first, second, after @ ..] = rest
        && first.length_ns < widest_ns / 4
    {
        joined.push(sum(&[first.clone(), second.clone()]));
        rest = after;
    }
    joined.extend_from_slice(rest);
    if let [.., before, last] = &joined[..]
        && last.length_ns < widest_ns / 4
    {
        let end = sum(&[before.clone(), last.clone()]);
        joined.truncate(joined.len() - 2);
        joined.push(end);
    }
    joined
}

fn sum(parts: &[Interval]) -> Interval {
    let mut whole = parts[0].clone();
    for part in &parts[1..] {
        let end = part.start_ns.saturating_add(part.length_ns);
        whole.length_ns = end.saturating_sub(whole.start_ns);
        for direction in Direction::ALL {
            let (into, from) = (whole.by_direction.get_mut(direction), part.by_direction.get(direction));
            into.ios += from.ios;
            into.bytes += from.bytes;
            into.latencies.merge(&from.latencies);
        }
    }
    whole
}

fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

fn middle(interval: &Interval) -> f64 {
    seconds(interval.start_ns) + seconds(interval.length_ns) / 2.0
}

/// Returns an axis from the first interval to the end of the last.
fn time_axis(intervals: &[Interval]) -> Axis {
    let from = intervals.first().map_or(0.0, |first| seconds(first.start_ns));
    let to = intervals.last().map_or(1.0, |last| seconds(last.start_ns) + seconds(last.length_ns));
    let to = to.max(from + 1e-3);
    Axis { kind: Kind::Linear, from, to, title: "time since the start, s", label: figures }
}

fn rate(
    title: &str,
    unit: &'static str,
    label: fn(f64) -> String,
    moved: &[Direction],
    intervals: &[Interval],
    value: impl Fn(&Interval, Direction) -> f64,
) -> String {
    let all = intervals.iter().flat_map(|interval| moved.iter().map(|one| value(interval, *one)));
    let largest = all.fold(0.0, f64::max);
    let plot = Plot { x: time_axis(intervals), y: Axis::from_zero(largest, unit, label) };
    let mut body = String::new();
    let mut legend = String::new();
    for direction in moved {
        let points: Vec<(f64, Option<f64>)> =
            intervals.iter().map(|interval| (middle(interval), Some(value(interval, *direction)))).collect();
        body += &plot.curve(direction.name(), &points);
        legend += &key(direction.name(), direction.name());
    }
    figure(title, "", &legend, &plot.svg(title, &body))
}

/// Says from which moment the latencies of intervals are counted.
fn counted_from(result: &JobResult, direction: Direction) -> &'static str {
    if result.by_direction.get(direction).response.count() > 0 {
        "response time, from the intended start"
    } else {
        "completion latency"
    }
}

fn latency_over_time(result: &JobResult, direction: Direction, intervals: &[Interval]) -> String {
    let lines = [("p50", 50.0, "median"), ("p99", 99.0, "99%"), ("p999", 99.9, "99.9%")];
    let with_any = || {
        intervals
            .iter()
            .map(|interval| &interval.by_direction.get(direction).latencies)
            .filter(|latencies| latencies.count() > 0)
    };
    let least = with_any().map(|one| one.percentile_ns(50.0)).min().unwrap_or(1);
    let most = with_any().map(|one| one.percentile_ns(99.9)).max().unwrap_or(10);
    let y = Axis::log(least as f64, most as f64, "latency", duration);
    let plot = Plot { x: time_axis(intervals), y };
    let mut body = String::new();
    let mut legend = String::new();
    for (class, percent, name) in lines {
        let value = |interval: &Interval| {
            let latencies = &interval.by_direction.get(direction).latencies;
            (latencies.count() > 0).then(|| latencies.percentile_ns(percent) as f64)
        };
        let points: Vec<(f64, Option<f64>)> =
            intervals.iter().map(|interval| (middle(interval), value(interval))).collect();
        body += &plot.curve(class, &points);
        legend += &key(class, name);
    }
    let title = format!("Latency over time: {}", direction.name());
    figure(&title, counted_from(result, direction), &legend, &plot.svg(&title, &body))
}

/// Holds the cells of each shade, as a path.
type Cells = BTreeMap<usize, String>;

fn heat_map(result: &JobResult, direction: Direction) -> String {
    let intervals = merged(&result.intervals, HEAT_COLUMNS_MAX);
    let columns: Vec<BTreeMap<i64, u64>> =
        intervals.iter().map(|one| rows(&one.by_direction.get(direction).latencies)).collect();
    let keys = || columns.iter().flat_map(|column| column.keys().copied());
    let (Some(lowest), Some(highest)) = (keys().min(), keys().max()) else { return String::new() };
    let most = columns.iter().flat_map(|column| column.values().copied()).max().unwrap_or(1);
    let (from, to) = (row_start(lowest), row_start(highest + 1));
    let y = Axis { kind: Kind::Log, from, to, title: "latency", label: duration };
    let plot = Plot { x: time_axis(&intervals), y };
    let mut cells = Cells::new();
    for (interval, column) in intervals.iter().zip(&columns) {
        let left = plot.place_x(seconds(interval.start_ns));
        let right = plot.place_x(seconds(interval.start_ns.saturating_add(interval.length_ns)));
        for (row, number) in column {
            let (top, bottom) = (plot.place_y(row_start(row + 1)), plot.place_y(row_start(*row)));
            let (width, height) = (right - left, bottom - top);
            let path = cells.entry(shade(*number, most)).or_default();
            let _ = write!(path, "M{left:.1} {top:.1}h{width:.1}v{height:.1}h-{width:.1}z");
        }
    }
    let mut body = String::new();
    for (shade, path) in &cells {
        let opacity = opacity(*shade);
        let _ = writeln!(body, "<path class=\"heat\" fill-opacity=\"{opacity:.2}\" d=\"{path}\"/>");
    }
    let title = format!("Latency heat map: {}", direction.name());
    figure(&title, counted_from(result, direction), &ramp(most), &plot.svg(&title, &body))
}

/// Counts operations by row of the map.
fn rows(latencies: &Latencies) -> BTreeMap<i64, u64> {
    let mut rows = BTreeMap::new();
    for (nanoseconds, number) in latencies.bins() {
        *rows.entry(((nanoseconds.max(1) as f64).log10() * HEAT_ROWS).floor() as i64).or_insert(0) += number;
    }
    rows
}

fn row_start(row: i64) -> f64 {
    10_f64.powf(row as f64 / HEAT_ROWS)
}

/// Returns the shade for a count, by logarithm, so that a single slow operation is visible beside a
/// hundred thousand.
fn shade(number: u64, most: u64) -> usize {
    let share = (1.0 + number as f64).ln() / (1.0 + most as f64).ln();
    ((share * HEAT_SHADES as f64).ceil() as usize).clamp(1, HEAT_SHADES)
}

fn opacity(shade: usize) -> f64 {
    0.92_f64.mul_add(shade as f64 / HEAT_SHADES as f64, 0.08)
}

fn ramp(most: u64) -> String {
    let mut steps = String::new();
    for shade in 1..=HEAT_SHADES {
        let x = (shade - 1) * 10;
        let opacity = opacity(shade);
        let _ = write!(steps, "<path class=\"heat\" fill-opacity=\"{opacity:.2}\" d=\"M{x} 0h10v10h-10z\"/>");
    }
    let most = count(most as f64);
    format!(
        "<span>operations in a cell, logarithmic: 1 <svg class=\"ramp\" viewBox=\"0 0 120 10\" \
         preserveAspectRatio=\"none\">{steps}</svg>{most}</span>"
    )
}

fn percentile_curve(result: &JobResult, moved: &[Direction]) -> String {
    let mut curves: Vec<(String, String, &Latencies)> = Vec::new();
    for direction in moved {
        let measured = result.by_direction.get(*direction);
        let name = direction.name();
        if measured.response.count() > 0 {
            curves.push((name.to_owned(), format!("{name}, service time"), &measured.clat));
            curves.push((format!("{name} dashed"), format!("{name}, response time"), &measured.response));
        } else {
            curves.push((name.to_owned(), name.to_owned(), &measured.clat));
        }
    }
    curves.retain(|(_, _, latencies)| latencies.count() > 0);
    if curves.is_empty() {
        return String::new();
    }
    let least = curves.iter().map(|(_, _, latencies)| latencies.min_ns()).min().unwrap_or(1);
    let most = curves.iter().map(|(_, _, latencies)| latencies.percentile_ns(99.99)).max().unwrap_or(1);
    let plot = Plot {
        x: Axis { kind: Kind::Nines, from: 0.0, to: 99.99, title: "percentile", label: percent_label },
        y: Axis::log(least as f64, most as f64, "latency", duration),
    };
    let mut body = String::new();
    let mut legend = String::new();
    for (class, label, latencies) in &curves {
        let points: Vec<(f64, Option<f64>)> = (0..=160)
            .map(|step| 100.0 * (1.0 - 10_f64.powf(-f64::from(step) / 40.0)))
            .map(|percent| (percent, Some(latencies.percentile_ns(percent) as f64)))
            .collect();
        body += &plot.curve(class, &points);
        legend += &key(class, label);
    }
    let title = "Latency by percentile";
    figure(title, "", &legend, &plot.svg(&escaped(title), &body))
}

fn percent_label(percent: f64) -> String {
    format!("{percent}%")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn merging_keeps_every_operation() {
        let run = sample::run();
        let intervals = &run.jobs[0].intervals;
        let merged = merged(intervals, 7);
        assert_eq!(merged.len(), 7);
        let sum = |all: &[Interval]| all.iter().map(|one| one.by_direction.read.ios).sum::<u64>();
        let counted =
            |all: &[Interval]| all.iter().map(|one| one.by_direction.read.latencies.count()).sum::<u64>();
        assert_eq!(sum(&merged), sum(intervals));
        assert_eq!(counted(&merged), counted(intervals));
        assert_eq!(merged[0].length_ns, 3 * intervals[0].length_ns);
    }

    /// Regression: a line fell or leapt at the end of a run whose last second had only some
    /// milliseconds.
    #[test]
    fn the_last_milliseconds_of_a_run_are_no_point_of_their_own() {
        let run = sample::run();
        let mut intervals = run.jobs[0].intervals.clone();
        let count = intervals.len();
        let ios = |all: &[Interval]| all.iter().map(|one| one.by_direction.read.ios).sum::<u64>();
        assert_eq!(without_slivers(&intervals).len(), count);
        intervals[0].length_ns /= 5;
        intervals[count - 1].length_ns /= 100;
        let joined = without_slivers(&intervals);
        assert_eq!((joined.len(), ios(&joined)), (count - 2, ios(&intervals)));
        let (last, before) = (&joined[count - 3], &intervals[count - 2]);
        assert_eq!(last.start_ns + last.length_ns, before.start_ns + before.length_ns * 101 / 100);
        assert_eq!(without_slivers(&intervals[..1]).len(), 1);
        assert!(without_slivers(&[]).is_empty());
    }

    #[test]
    fn rows_hold_every_operation_in_its_place() {
        let mut latencies = Latencies::default();
        for nanoseconds in [1_000, 1_000, 10_000, 99_999] {
            latencies.record(nanoseconds);
        }
        let rows = rows(&latencies);
        assert_eq!(rows.values().sum::<u64>(), 4);
        assert_eq!(rows[&36], 2, "{rows:?}");
        assert!((row_start(36) - 1_000.0).abs() < 1e-6);
    }

    #[test]
    fn one_operation_is_seen_beside_many() {
        assert!(opacity(shade(1, 1_000_000)) >= 0.08);
        assert_eq!(shade(1_000_000, 1_000_000), HEAT_SHADES);
        assert!(shade(10, 1_000) < shade(100, 1_000));
    }
}
