//! This module prints the comparison as text.

use super::figures::{DirectionFigures, LayerFigures, Report};
use crate::spec::Direction;
use std::fmt::Write;

const LABEL: usize = 22;
const COLUMN: usize = 20;

/// Formats a value with its change against the layer below.
fn cell(value: f64, below: Option<f64>) -> String {
    let digits = if value < 100.0 { 1 } else { 0 };
    match below.filter(|below| *below > 0.0) {
        Some(below) => format!("{value:.digits$} ({:+.0}%)", (value / below - 1.0) * 100.0),
        None => format!("{value:.digits$}"),
    }
}

fn row(text: &mut String, label: &str, values: &[Option<f64>]) {
    if values.iter().all(Option::is_none) {
        return;
    }
    let mut line = format!("  {label:<LABEL$}");
    let mut below = None;
    for value in values {
        let shown = value.map_or_else(|| "-".to_owned(), |value| cell(value, below));
        line.push_str(&format!("{shown:>COLUMN$}"));
        below = *value;
    }
    text.push_str(line.trim_end());
    text.push('\n');
}

/// Returns the table, followed by what each layer adds to the one below.
pub fn text(report: &Report) -> String {
    let mut text = String::new();
    let Report { job, objects, object_bytes, depth, layers, .. } = report;
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{job}: {objects} objects of {object_bytes} bytes, depth {depth}\n");
    let titles: String = layers.iter().map(|layer| format!("{:>COLUMN$}", layer.layer.title())).collect();
    let _ = writeln!(text, "  {:LABEL$}{titles}", "");
    for direction in [Direction::Read, Direction::Write] {
        let of = |figure: &dyn Fn(&DirectionFigures) -> f64| -> Vec<Option<f64>> {
            layers.iter().map(|layer| layer.direction(direction).map(figure)).collect()
        };
        let mut named = |label: &str, values: Vec<Option<f64>>| {
            row(&mut text, &format!("{} {label}", direction.name()), &values);
        };
        named("IOPS", of(&|figures| figures.iops));
        named("MB/s", of(&|figures| figures.bytes_per_s / 1e6));
        named("p50 us", of(&|figures| figures.latency_p50_ns as f64 / 1000.0));
        named("p99 us", of(&|figures| figures.latency_p99_ns as f64 / 1000.0));
        named("p99.9 us", of(&|figures| figures.latency_p99_9_ns as f64 / 1000.0));
    }
    let cpu = |figure: &dyn Fn(&LayerFigures) -> Option<f64>| layers.iter().map(figure).collect::<Vec<_>>();
    row(&mut text, "client CPU us/op", &cpu(&|layer| Some(layer.client_cpu_us_per_operation)));
    row(&mut text, "server CPU us/op", &cpu(&|layer| layer.server_cpu_us_per_operation));
    row(&mut text, "server, busy cores", &cpu(&|layer| layer.server_busy_cores));
    row(&mut text, "CPU us/op", &cpu(&|layer| Some(layer.cpu_us_per_operation())));
    let failed: u64 = layers.iter().map(|layer| layer.failed_operations).sum();
    if failed > 0 {
        row(&mut text, "failed operations", &cpu(&|layer| Some(layer.failed_operations as f64)));
    }
    text.push_str("\nIn brackets: against the layer to the left. What each layer does:\n");
    for layer in layers {
        let _ = writeln!(text, "  {:<10} {}", layer.layer.title(), layer.adds);
    }
    text.push_str("The S3 client turns round while it waits: its CPU time is an upper bound.\n");
    text
}
