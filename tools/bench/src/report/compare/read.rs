//! This module reads the figures of a run from its JSON: all of them from ours, and those that
//! exist from fio's.
//!
//! Invariants: no content of a file panics; a figure that a file does not have is absent rather
//! than 0.

use super::CompareError;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

const FILE_BYTES_MAX: u64 = 1 << 30;

/// Describes a figure that is compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kind {
    pub name: &'static str,
    pub unit: &'static str,
    pub more_is_better: bool,
    source: Source,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Source {
    Operations,
    Bytes,
    /// Holds the percentile; `None` is the mean.
    Completion(Option<f64>),
    Response(Option<f64>),
    Cpu,
}

impl Kind {
    pub fn is_percentile(self) -> bool {
        matches!(self.source, Source::Completion(Some(_)) | Source::Response(Some(_)))
    }
}

const fn of_latency(name: &'static str, source: Source) -> Kind {
    Kind { name, unit: "ns", more_is_better: false, source }
}

pub const KINDS: [Kind; 11] = [
    Kind { name: "IOPS", unit: "1/s", more_is_better: true, source: Source::Operations },
    Kind { name: "bandwidth", unit: "B/s", more_is_better: true, source: Source::Bytes },
    of_latency("latency mean", Source::Completion(None)),
    of_latency("latency p50", Source::Completion(Some(50.0))),
    of_latency("latency p99", Source::Completion(Some(99.0))),
    of_latency("latency p99.9", Source::Completion(Some(99.9))),
    of_latency("response mean", Source::Response(None)),
    of_latency("response p50", Source::Response(Some(50.0))),
    of_latency("response p99", Source::Response(Some(99.0))),
    of_latency("response p99.9", Source::Response(Some(99.9))),
    of_latency("CPU per I/O", Source::Cpu),
];

/// Holds what one interval of a run adds to a figure: operations or bytes and seconds, or
/// nanoseconds and operations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    pub amount: f64,
    pub weight: f64,
}

/// Holds one number of one file.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    pub kind: Kind,
    pub value: f64,
    /// This is the relative width of the classes in which latencies are counted; smaller
    /// differences are not visible.
    pub resolution: f64,
    /// Holds the intervals of the run, in order; it is empty if the file has none for this figure.
    pub intervals: Vec<Interval>,
}

/// Holds the figures of a file by job and direction; `all` is the direction of figures that belong
/// to none. The second job with the same name is called `name#2`.
#[derive(Debug)]
pub struct File {
    pub figures: BTreeMap<(String, String), Vec<Figure>>,
}

/// Reads the files of a side, whose names are separated by commas.
pub fn side(names: &str) -> Result<Vec<File>, CompareError> {
    names.split(',').map(|name| file(Path::new(name.trim()))).collect()
}

fn file(path: &Path) -> Result<File, CompareError> {
    let unreadable = |source| CompareError::Unreadable { path: path.to_path_buf(), source };
    let not_a_result = |reason: String| CompareError::NotAResult { path: path.to_path_buf(), reason };
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(path).map_err(unreadable)?;
    opened.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(CompareError::TooLarge { path: PathBuf::from(path), limit: FILE_BYTES_MAX });
    }
    // fio prints warnings into the same file, before its JSON.
    let start = bytes.iter().position(|byte| *byte == b'{').unwrap_or(0);
    let value: Value =
        serde_json::from_slice(&bytes[start..]).map_err(|error| not_a_result(error.to_string()))?;
    let jobs = value.get("jobs").and_then(Value::as_array);
    let jobs = jobs.ok_or_else(|| not_a_result("it has no \"jobs\"".to_owned()))?;
    Ok(File { figures: figures_of(jobs) })
}

/// Reads the `jobs` of a file, and returns the figures by job and direction.
pub fn figures_of(jobs: &[Value]) -> BTreeMap<(String, String), Vec<Figure>> {
    let mut figures = BTreeMap::new();
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for job in jobs {
        let name = job.get("jobname").and_then(Value::as_str).unwrap_or("(unnamed)").to_owned();
        let times = seen.entry(name.clone()).or_default();
        *times += 1;
        let name = if *times == 1 { name } else { format!("{name}#{times}") };
        for direction in ["read", "write", "trim"] {
            if number(&job[direction], "total_ios").is_some_and(|ios| ios > 0.0) {
                figures.insert((name.clone(), direction.to_owned()), of_direction(job, direction));
            }
        }
        figures.extend(cpu(job).map(|figure| ((name, "all".to_owned()), vec![figure])));
    }
    figures
}

fn number(value: &Value, key: &str) -> Option<f64> {
    value.get(key)?.as_f64().filter(|number| number.is_finite())
}

fn of_direction(job: &Value, direction: &str) -> Vec<Figure> {
    let part = &job[direction];
    // fio omits completion latencies when it was asked for total ones.
    let counted = |value: &&Value| number(value, "N").is_some_and(|number| number > 0.0);
    let completion = [&part["clat_ns"], &part["lat_ns"]].into_iter().find(counted).unwrap_or(&Value::Null);
    let response = &job["ringbolt"]["response_ns"][direction];
    // fio's classes are a 64th of their values wide, ours a thousandth.
    let resolution = if job["ringbolt"].is_object() { 1e-3 } else { 1.0 / 64.0 };
    let figure = |kind: Kind| {
        let value = match kind.source {
            Source::Operations => number(part, "iops")?,
            Source::Bytes => number(part, "bw_bytes")?,
            Source::Completion(percent) => latency(completion, percent)?,
            Source::Response(percent) => latency(response, percent)?,
            Source::Cpu => return None,
        };
        let resolution = if kind.is_percentile() { resolution } else { 0.0 };
        Some(Figure { kind, value, resolution, intervals: intervals(job, direction, kind.source) })
    };
    KINDS.into_iter().filter_map(figure).filter(|figure| figure.value > 0.0).collect()
}

/// Returns what each interval of one of our files adds to a figure. Tails are left out: the tail of
/// a second is not that of a run.
fn intervals(job: &Value, direction: &str, source: Source) -> Vec<Interval> {
    let Some(stored) = job["ringbolt"]["intervals"].as_array() else { return Vec::new() };
    // With a rate, the latencies of intervals are response times.
    let is_response = job["ringbolt"]["response_ns"].get(direction).is_some();
    let latency = |interval: &Value, name: &str| {
        let ios = number(&interval[direction], "ios").unwrap_or(0.0);
        let latency = number(&interval[direction], name).unwrap_or(0.0);
        Interval { amount: latency * ios, weight: ios }
    };
    let rate = |interval: &Value, name: &str| Interval {
        amount: number(&interval[direction], name).unwrap_or(0.0),
        weight: number(interval, "length_ms").unwrap_or(0.0) / 1000.0,
    };
    let mut found = Vec::with_capacity(stored.len());
    let mut end_ms = None;
    for interval in stored {
        let (Some(start_ms), Some(length_ms)) = (number(interval, "start_ms"), number(interval, "length_ms"))
        else {
            return Vec::new();
        };
        let is_rate = matches!(source, Source::Operations | Source::Bytes);
        // An interval in which nothing ended is not in the file.
        let gap_ms = end_ms.map_or(0.0, |end_ms: f64| start_ms - end_ms);
        if is_rate && gap_ms > 1.0 {
            found.push(Interval { amount: 0.0, weight: gap_ms / 1000.0 });
        }
        end_ms = Some(start_ms + length_ms);
        found.push(match source {
            Source::Operations => rate(interval, "ios"),
            Source::Bytes => rate(interval, "bytes"),
            Source::Completion(None) if !is_response => latency(interval, "mean_ns"),
            Source::Completion(Some(50.0)) if !is_response => latency(interval, "p50_ns"),
            Source::Response(None) if is_response => latency(interval, "mean_ns"),
            Source::Response(Some(50.0)) if is_response => latency(interval, "p50_ns"),
            _ => return Vec::new(),
        });
    }
    found
}

/// Returns the mean, or a percentile if `percent` is given. It computes a percentile from the
/// classes if the file has them.
fn latency(latency: &Value, percent: Option<f64>) -> Option<f64> {
    let Some(percent) = percent else { return number(latency, "mean") };
    let bins = bins(latency);
    if let Some((_, total)) = bins.last() {
        let rank = (percent / 100.0 * *total as f64).ceil();
        let at = bins.partition_point(|(_, until)| (*until as f64) < rank);
        return Some(bins.get(at)?.0 as f64);
    }
    let stored = latency.get("percentile")?.as_object()?;
    let same = |name: &str| name.parse::<f64>().is_ok_and(|number| (number - percent).abs() < 1e-6);
    stored.iter().find(|(name, _)| same(name))?.1.as_f64()
}

/// Returns the classes in ascending order, with the running sum of their counts.
fn bins(latency: &Value) -> Vec<(u64, u64)> {
    let Some(stored) = latency.get("bins").and_then(Value::as_object) else { return Vec::new() };
    let mut bins: Vec<(u64, u64)> =
        stored.iter().filter_map(|(name, count)| Some((name.parse().ok()?, count.as_u64()?))).collect();
    bins.sort_unstable();
    let mut until = 0_u64;
    for (_, count) in &mut bins {
        until = until.saturating_add(*count);
        *count = until;
    }
    bins
}

/// Returns the CPU time of the job per operation.
fn cpu(job: &Value) -> Option<Figure> {
    let runtime_ms = number(job, "job_runtime")?;
    let used = (number(job, "usr_cpu")? + number(job, "sys_cpu")?) / 100.0 * runtime_ms * 1e6;
    let ios: f64 =
        ["read", "write", "trim"].iter().filter_map(|direction| number(&job[*direction], "total_ios")).sum();
    let kind = KINDS.into_iter().find(|kind| kind.source == Source::Cpu)?;
    let is_measured = ios > 0.0 && used > 0.0;
    is_measured.then(|| Figure { kind, value: used / ios, resolution: 0.0, intervals: Vec::new() })
}
