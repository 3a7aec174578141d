//! This module draws the charts of a plan.
//!
//! Invariant: a line that leaves the chart ends there, and the note says so: it never runs along
//! the edge as if that were its value.

use super::super::sections::{full_sentence, size_range};
use super::super::sizes::merged;
use super::super::words::{self, count, percent};
use crate::month::Month;
use crate::result::{ClassLayout, Constraint, Plan, Use, WhenFull};
use ringbolt_tool_common::html::plot::{Axis, Kind, Plot};
use ringbolt_tool_common::html::{area_key, escaped, figure, key};
use ringbolt_tool_common::units::DAYS_PER_MONTH;
use std::fmt::Write;

const FILL_MAX: f64 = 1.5;
/// At least this many months are shown, even if the drives are full sooner.
const FILL_MONTHS_MIN: usize = 3;
const USE_MAX: f64 = 2.0;
/// This many bars can be told apart.
const BARS_MAX: usize = 64;
/// This many points between two months are computed, so that a line ends near the edge that it
/// leaves the chart at.
const STEPS: u32 = 8;

/// Returns all charts that have something to show.
pub fn all(plan: &Plan) -> String {
    let mut html = fill(plan);
    html += &uses(plan, "Use of each limit with all nodes up", |one| one.use_of_limit);
    if plan.nodes > 1 {
        html += &uses(plan, "Use of each limit with one node down", |one| one.use_of_limit_with_one_down);
    }
    html += &nodes(plan);
    html += &objects(plan);
    html += &stored(plan);
    html + &waste(plan)
}

fn place(month: Month) -> f64 {
    f64::from(month.year() * 12 + month.number() - 1)
}

fn month_label(value: f64) -> String {
    let index = value.max(0.0) as u32;
    format!("{:04}-{:02}", index / 12, index % 12 + 1)
}

/// Returns an axis from the start of the first month to the end of the last.
fn month_axis(plan: &Plan) -> Axis {
    let from = place(plan.workload.horizon.start);
    let to = from + (plan.months.len().max(1) as f64);
    Axis { kind: Kind::Months, from, to, title: "month", label: month_label }
}

/// Returns an axis up to the largest value, which ends a little above 1 at least and at `most` at
/// most; and whether anything is cut off.
fn share_axis(largest: f64, most: f64, title: &'static str) -> (Axis, bool) {
    let to = (largest * 1.05).clamp(1.1, most);
    (Axis { kind: Kind::Linear, from: 0.0, to, title, label: percent }, largest > to)
}

/// Adds points between those given, on straight lines.
fn dense(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let mut dense: Vec<(f64, f64)> = Vec::new();
    for pair in points.windows(2) {
        for step in 0..STEPS {
            let part = f64::from(step) / f64::from(STEPS);
            let between = |from: f64, to: f64| (to - from).mul_add(part, from);
            dense.push((between(pair[0].0, pair[1].0), between(pair[0].1, pair[1].1)));
        }
    }
    dense.extend(points.last());
    dense
}

/// Returns a gap for each value that is above the axis or not a number.
fn cut(points: &[(f64, f64)], axis: &Axis) -> Vec<(f64, Option<f64>)> {
    points.iter().map(|(x, y)| (*x, Some(*y).filter(|y| *y <= axis.to))).collect()
}

fn fill(plan: &Plan) -> String {
    let months = &plan.fill.months;
    let largest = months.iter().map(|month| month.fill_p95).fold(0.0, f64::max);
    let (y, is_cut) = share_axis(largest, FILL_MAX, "of what can be live");
    let mut x = month_axis(plan);
    // Beyond the month in which even the lowest samples leave the chart, nothing can be seen.
    if let Some(left) = months.iter().position(|month| month.fill_p5 > y.to) {
        x.to = x.from + (left.max(FILL_MONTHS_MIN) as f64).min(x.to - x.from);
    }
    let plot = Plot { x, y };
    let months = &months[..months.len().min((x.to - x.from) as usize + 1)];
    let of = |value: fn(&crate::result::FillMonth) -> f64| -> Vec<(f64, f64)> {
        dense(&months.iter().map(|month| (place(month.month), value(month))).collect::<Vec<_>>())
    };
    let (low, middle, high) = (of(|one| one.fill_p5), of(|one| one.fill_p50), of(|one| one.fill_p95));
    let band: Vec<(f64, f64, f64)> = low
        .iter()
        .zip(&high)
        .filter(|(low, _)| low.1 <= y.to)
        .map(|(low, high)| (low.0, low.1, high.1))
        .collect();
    let mut body = plot.area("band", &band);
    body += &plot.across(0.8, "80%");
    body += &plot.across(1.0, "100%");
    body += &plot.curve("median", &cut(&middle, &y));
    body += &marks(&plot, plan);
    let legend = key("median", "median")
        + &area_key("band", "5% to 95% of the samples")
        + &key("across", "80% and 100% full");
    let nodes = words::counted(&plan.nodes.to_string(), "node");
    let cut = if is_cut { format!(" Cut at {}.", percent(y.to)) } else { String::new() };
    let note = format!("{nodes}. {}{cut}", escaped(&full_sentence(plan)));
    figure("Time to full", &note, &legend, &plot.svg("Time to full", &body))
}

/// Returns dots where the median reaches 80% and 100%.
fn marks(plot: &Plot, plan: &Plan) -> String {
    let mut dots = String::new();
    let mark = |when: &WhenFull| when.days_p50.map(|days| plot.x.from + days / DAYS_PER_MONTH);
    for (level, when) in [(0.8, &plan.fill.at_80_percent), (1.0, &plan.fill.at_100_percent)] {
        if let Some(x) = mark(when) {
            let (x, y) = (plot.place_x(x), plot.place_y(level));
            let _ = writeln!(dots, "<path class=\"dot median\" d=\"M{x:.1} {y:.1}h0.01\"/>");
        }
    }
    dots
}

fn uses(plan: &Plan, title: &str, value: fn(&Use) -> f64) -> String {
    let all = plan.months.iter().flat_map(|month| month.uses.iter().map(value));
    let largest = all.filter(|value| value.is_finite()).fold(0.0, f64::max);
    let (y, is_cut) = share_axis(largest, USE_MAX, "of the limit");
    let plot = Plot { x: month_axis(plan), y };
    let mut body = plot.across(1.0, "limit");
    let mut legend = String::new();
    for constraint in Constraint::ALL {
        let points: Vec<(f64, f64)> = plan
            .months
            .iter()
            .filter_map(|month| {
                let found = month.uses.iter().find(|one| one.constraint == constraint)?;
                // The figure of a month is placed in its middle.
                Some((place(month.month) + 0.5, value(found)))
            })
            .collect();
        let class = words::name(constraint);
        body += &plot.curve(&class, &cut(&dense(&points), &y));
        legend += &key(&class, constraint.title());
    }
    let nodes = words::counted(&plan.nodes.to_string(), "node");
    let cut = if is_cut { format!(", cut at {}", percent(y.to)) } else { String::new() };
    figure(title, &format!("{nodes}, busiest seconds{cut}"), &legend, &plot.svg(title, &body))
}

fn nodes(plan: &Plan) -> String {
    let months = &plan.months;
    let largest = months
        .iter()
        .map(|month| month.nodes_p95.max(month.needed.nodes).max(month.needed_with_one_down.nodes))
        .max()
        .unwrap_or(1);
    let plot = Plot { x: month_axis(plan), y: Axis::from_zero(f64::from(largest), "nodes", count) };
    // The number of nodes is whole, so the line has steps, not slopes.
    let steps = |value: fn(&crate::result::MonthPlan) -> u32| -> Vec<(f64, Option<f64>)> {
        let ends = |month| [place(month), place(month) + 1.0];
        months
            .iter()
            .flat_map(|month| ends(month.month).map(|x| (x, Some(f64::from(value(month))))))
            .collect()
    };
    let band: Vec<(f64, f64, f64)> = months
        .iter()
        .flat_map(|month| {
            let (low, high) = (f64::from(month.nodes_p5), f64::from(month.nodes_p95));
            [place(month.month), place(month.month) + 1.0].map(|x| (x, low, high))
        })
        .collect();
    let mut body = plot.area("band", &band);
    body += &plot.curve("one-down", &steps(|month| month.needed_with_one_down.nodes));
    body += &plot.curve("median", &steps(|month| month.needed.nodes));
    let legend = key("median", "all nodes up")
        + &key("one-down", "enough with one node down")
        + &area_key("band", "5% to 95% of the samples");
    figure("Nodes needed", "", &legend, &plot.svg("Nodes needed", &body))
}

fn size_label(size_bytes: f64) -> String {
    words::binary_bytes(size_bytes)
}

/// Returns an axis from the smallest to the largest size; 0 is placed at 1.
fn size_axis(classes: &[ClassLayout]) -> Axis {
    // The axis is a little wider, so that exact sizes are not at the edges.
    let from = classes.first().map_or(1.0, |class| (class.lower_bytes as f64 / 1.5).max(0.7));
    let to = classes.last().map_or(2.0, |class| class.upper_bytes.max(1) as f64 * 1.5);
    Axis { kind: Kind::Binary, from, to, title: "size of an object", label: size_label }
}

fn ends(class: &ClassLayout) -> (f64, f64) {
    (class.lower_bytes.max(1) as f64, class.upper_bytes as f64 + 1.0)
}

fn objects(plan: &Plan) -> String {
    let classes = merged(&plan.layout.classes, BARS_MAX);
    let largest = classes.iter().map(|class| class.objects_share).fold(0.0, f64::max);
    let plot = Plot { x: size_axis(&classes), y: Axis::from_zero(largest, "of the objects", percent) };
    let mut body = String::new();
    for class in &classes {
        let size = size_range(class.lower_bytes, class.upper_bytes);
        let tip = format!("{size}: {} of the objects", percent(class.objects_share));
        body += &plot.bar("users", ends(class), (0.0, class.objects_share), &tip);
    }
    let legend = area_key("users", "objects");
    figure("Objects by size", "", &legend, &plot.svg("Objects by size", &body))
}

fn stored(plan: &Plan) -> String {
    let classes = merged(&plan.layout.classes, BARS_MAX);
    let bytes = |class: &ClassLayout| class.objects_share * class.stored_bytes_per_object;
    let all: f64 = classes.iter().map(bytes).sum();
    let share = |class: &ClassLayout| if all > 0.0 { bytes(class) / all } else { 0.0 };
    let largest = classes.iter().map(share).fold(0.0, f64::max);
    let plot = Plot { x: size_axis(&classes), y: Axis::from_zero(largest, "of the stored bytes", percent) };
    let mut body = String::new();
    for class in &classes {
        let (whole, waste) = (share(class), class.waste_share.clamp(0.0, 1.0));
        let size = size_range(class.lower_bytes, class.upper_bytes);
        let tip =
            format!("{size}: {} of the stored bytes, {} of these waste", percent(whole), percent(waste));
        let users = whole * (1.0 - waste);
        body += &plot.bar("users", ends(class), (0.0, users), &tip);
        body += &plot.bar("waste", ends(class), (users, whole), &tip);
    }
    let legend = area_key("users", "users' bytes") + &area_key("waste", "waste");
    let note = format!("{} of all is waste", percent(plan.layout.waste_share));
    let title = "Stored bytes by size, and waste";
    figure(title, &note, &legend, &plot.svg(title, &body))
}

fn waste(plan: &Plan) -> String {
    let classes = merged(&plan.layout.classes, BARS_MAX);
    let y = Axis { kind: Kind::Linear, from: 0.0, to: 1.0, title: "of what is stored", label: percent };
    let plot = Plot { x: size_axis(&classes), y };
    let mut body = String::new();
    for class in &classes {
        let waste = class.waste_share.clamp(0.0, 1.0);
        let size = size_range(class.lower_bytes, class.upper_bytes);
        let stored = size_label(class.stored_bytes_per_object);
        let tip = format!("{size}: {} of the {stored} that each takes", percent(waste));
        body += &plot.bar("waste", ends(class), (0.0, waste), &tip);
    }
    let legend = area_key("waste", "record, headers, padding");
    figure("Waste by size", "of the stored bytes of each size", &legend, &plot.svg("Waste by size", &body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn a_line_is_cut_where_it_leaves() {
        let axis = share_axis(9.0, 1.5, "").0;
        let points = cut(&dense(&[(0.0, 0.5), (1.0, 2.5)]), &axis);
        assert_eq!(points.len(), 9);
        assert_eq!(points[4], (0.5, Some(1.5)));
        assert_eq!(points[5].1, None);
        assert_eq!(cut(&[(0.0, f64::INFINITY), (1.0, f64::NAN)], &axis), [(0.0, None), (1.0, None)]);
    }

    #[test]
    fn months_stand_in_their_place() {
        let plan = sample::plan();
        let axis = month_axis(&plan);
        assert_eq!(month_label(axis.from), "2026-12");
        assert_eq!(month_label(axis.to), "2028-12");
        assert_eq!(month_label(place("2027-01".parse().unwrap())), "2027-01");
    }

    #[test]
    fn the_picture_ends_when_it_is_full_for_sure() {
        let mut plan = sample::with_months(60);
        assert!(fill(&plan).contains(">2028-01<") && !fill(&plan).contains(">2031-01<"), "{}", fill(&plan));
        plan.fill.months.iter_mut().for_each(|month| month.fill_p5 = 0.1);
        assert!(fill(&plan).contains(">2031-01<"));
        plan.fill.months.iter_mut().for_each(|month| month.fill_p5 = 9.0);
        assert!(fill(&plan).contains(">2027-01<"));
    }

    #[test]
    fn bars_stand_for_all_objects() {
        let mut plan = sample::plan();
        plan.layout = sample::layout(2000);
        let bars = objects(&plan).matches("<title>").count();
        assert!((16..=BARS_MAX).contains(&bars), "{bars} bars");
        // All objects have one exact size.
        plan.layout.classes =
            vec![ClassLayout { lower_bytes: 4096, upper_bytes: 4096, ..sample::classes(1)[0] }];
        let one = objects(&plan);
        assert_eq!(one.matches("<title>4 KiB: 100% of the objects</title>").count(), 1, "{one}");
    }
}
