//! This module writes one page that shows a run: results, charts over time, and the machine it ran
//! on.
//!
//! Invariants: the page is self-contained: nothing is loaded from anywhere, and there is no script
//! in it. All text that comes from a job, a device or a file is escaped.

mod charts;

use super::engine_name;
use crate::result::{DirectionResult, JobResult, Latencies, Run};
use crate::spec::Direction;
use ringbolt_tool_common::date;
use ringbolt_tool_common::html::plot::{self, duration, figures};
use ringbolt_tool_common::html::{self, escaped, shortened};
use ringbolt_tool_common::number::{self, per_second};
use std::fmt::Write;
use std::path::Path;
use std::{fs, io};

/// At most this many jobs have charts; the table has all.
const PICTURED_MAX: usize = 32;

/// A job's name in the table has at most this many characters: three lines on a narrow screen.
const JOB_CHARACTERS_MAX: usize = 48;

/// Writes the page to a file.
///
/// # Errors
/// Fails when the file cannot be written.
pub fn write(run: &Run, path: &Path) -> io::Result<()> {
    fs::write(path, page(run))
}

pub fn page(run: &Run) -> String {
    let names: Vec<&str> = run.jobs.iter().map(|result| result.job.name.as_str()).collect();
    let title = format!("ringbolt bench: {}", shortened(&names.join(", "), 80));
    let mut html = String::new();
    let started = date::text(run.started_unix_ms / 1000);
    let _ = writeln!(html, "<p>Started {started} UTC, ringbolt {}</p>", env!("CARGO_PKG_VERSION"));
    html += &results(run);
    for result in run.jobs.iter().take(PICTURED_MAX) {
        html += &job(result);
    }
    if run.jobs.len() > PICTURED_MAX {
        let _ = writeln!(html, "<p>Pictures of the first {PICTURED_MAX} of {} results.</p>", run.jobs.len());
    }
    html += &fingerprint(run);
    html::page(&title, "", &html)
}

const COLUMNS: [&str; 12] = [
    "direction",
    "latency",
    "operations",
    "operations/s",
    "MiB/s",
    "mean",
    "50%",
    "99%",
    "99.9%",
    "99.99%",
    "largest",
    "CPU/operation",
];

fn results(run: &Run) -> String {
    let mut html = String::from("<h2>Results</h2>\n<div class=\"wide\"><table>\n<thead><tr><th>job</th>");
    for column in COLUMNS {
        let class = if matches!(column, "direction" | "latency") { " class=\"left\"" } else { "" };
        let _ = write!(html, "<th{class}>{column}</th>");
    }
    html += "</tr></thead>\n<tbody>\n";
    for result in &run.jobs {
        for direction in charts::moved(result) {
            let measured = result.by_direction.get(direction);
            html += &row(result, direction, "completion", &measured.clat);
            if measured.response.count() > 0 {
                html += &row(result, direction, "response", &measured.response);
            }
        }
        if result.sync.count() > 0 {
            html += &latency_row(result, "flush", "completion", &result.sync);
        }
    }
    html + "</tbody></table></div>\n"
}

fn row(result: &JobResult, direction: Direction, kind: &str, latencies: &Latencies) -> String {
    let DirectionResult { ios, bytes, runtime_ns, .. } = result.by_direction.get(direction);
    let operations = plot::count(per_second(*ios, *runtime_ns));
    let rate = figures(per_second(*bytes, *runtime_ns) / 1_048_576.0);
    let used = (result.usage.user_ns + result.usage.system_ns) as f64;
    let all: u64 = Direction::ALL.iter().map(|one| result.by_direction.get(*one).ios).sum();
    let cells = [ios.to_string(), operations, rate];
    cells_row(result, direction.name(), kind, &cells, latencies, &duration(used / all.max(1) as f64))
}

fn latency_row(result: &JobResult, name: &str, kind: &str, latencies: &Latencies) -> String {
    let cells = [latencies.count().to_string(), String::new(), String::new()];
    cells_row(result, name, kind, &cells, latencies, "")
}

fn cells_row(
    result: &JobResult,
    name: &str,
    kind: &str,
    cells: &[String; 3],
    latencies: &Latencies,
    cpu: &str,
) -> String {
    // The heading of the charts has the whole name, and so does the tooltip.
    let whole = escaped(&result.job.name);
    let job = escaped(&shortened(&result.job.name, JOB_CHARACTERS_MAX));
    let mut html = format!(
        "<tr><td class=\"name\" title=\"{whole}\">{job}</td><td class=\"left\">{name}</td><td class=\"left\">{kind}</td>"
    );
    for cell in cells {
        let _ = write!(html, "<td>{cell}</td>");
    }
    let percentiles = [50.0, 99.0, 99.9, 99.99].map(|percent| latencies.percentile_ns(percent) as f64);
    let _ = write!(html, "<td>{}</td>", duration(number::finite(latencies.mean_ns())));
    for value in percentiles {
        let _ = write!(html, "<td>{}</td>", duration(value));
    }
    let _ = writeln!(html, "<td>{}</td><td>{cpu}</td></tr>", duration(latencies.max_ns() as f64));
    html
}

fn job(result: &JobResult) -> String {
    let job = &result.job;
    let mut html = format!("<h2>{}</h2>\n", escaped(&job.name));
    let threads =
        if result.threads == 1 { "1 thread".to_owned() } else { format!("{} threads", result.threads) };
    let mut facts =
        vec![format!("ioengine {}", engine_name(job.engine)), format!("depth {}", job.depth), threads];
    facts.extend(job.description.as_deref().map(escaped));
    let _ = write!(html, "<p>{}", facts.join(", "));
    if result.error != 0 {
        let text = escaped(result.error_text.as_deref().unwrap_or("unknown"));
        let _ = write!(html, " <span class=\"bad\">ended by error {}: {text}</span>", result.error);
    }
    if result.verify_failures > 0 {
        let _ = write!(html, " <span class=\"bad\">{} wrong blocks</span>", result.verify_failures);
    }
    html += "</p>\n";
    html + &charts::figures_of(result)
}

fn fingerprint(run: &Run) -> String {
    let mut html =
        String::from("<h2>Environment</h2>\n<div class=\"wide\"><table class=\"fingerprint\"><tbody>\n");
    for (name, value) in &run.fingerprint.0 {
        let _ = writeln!(html, "<tr><th>{}</th><td><code>{}</code></td></tr>", escaped(name), escaped(value));
    }
    html + "</tbody></table></div>\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn the_page_loads_nothing() {
        let page = page(&sample::run_with_rate());
        for part in ["http://", "https://", "<script", "<link", "@import", "url(", "src="] {
            assert!(!page.contains(part), "{part} in the page");
        }
    }

    #[test]
    fn text_from_outside_is_escaped() {
        let mut run = sample::run();
        run.jobs[0].job.name = "<script>alert(1)</script>".to_owned();
        run.jobs[0].job.description = Some("<b>".to_owned());
        run.jobs[0].error = 5;
        run.jobs[0].error_text = Some("<i>".to_owned());
        let page = page(&run);
        for part in ["<script", "<b>", "<i>", "<test>"] {
            assert!(!page.contains(part), "{part} in the page");
        }
        assert!(page.contains("&lt;test&gt; &amp; more"), "the fingerprint is there");
    }

    #[test]
    fn every_picture_is_there_and_every_number_finite() {
        let page = page(&sample::run());
        for (title, times) in [
            ("<figcaption>Operations over time", 2),
            ("<figcaption>Throughput over time", 2),
            ("<figcaption>Latency over time: read", 1),
            ("<figcaption>Latency over time: write", 2),
            ("<figcaption>Latency heat map: read", 1),
            ("<figcaption>Latency by percentile", 2),
        ] {
            assert_eq!(page.matches(title).count(), times, "{title}");
        }
        assert!(!page.contains("NaN") && !page.contains("inf "), "a number that is none");
        assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
        assert!(page.len() < 400_000, "{} bytes", page.len());
    }

    #[test]
    fn response_times_are_shown_beside_service_times() {
        let page = page(&sample::run_with_rate());
        assert!(page.contains("read, response time") && page.contains("read, service time"));
        assert!(page.contains("<td class=\"left\">response</td>"));
    }

    #[test]
    fn a_run_without_anything_is_a_page() {
        let mut run = sample::run();
        run.jobs[0].by_direction = Default::default();
        run.jobs[0].intervals.clear();
        assert!(page(&run).ends_with("</html>\n"));
    }
}
