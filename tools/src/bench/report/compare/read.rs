//! Figures of a run out of its JSON: ours with all there is, fio's as far as it goes.
//!
//! Invariants: nothing in a file makes this panic; a figure that a file does not have is not there rather than 0.

use super::CompareError;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

const FILE_BYTES_MAX: u64 = 1 << 30;

/// What is compared.
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
    /// None: the mean.
    Completion(Option<f64>),
    Response(Option<f64>),
    Cpu,
}

const fn latency(name: &'static str, source: Source) -> Kind {
    Kind { name, unit: "ns", more_is_better: false, source }
}

pub const KINDS: [Kind; 11] = [
    Kind { name: "IOPS", unit: "1/s", more_is_better: true, source: Source::Operations },
    Kind { name: "bandwidth", unit: "B/s", more_is_better: true, source: Source::Bytes },
    latency("latency mean", Source::Completion(None)),
    latency("latency p50", Source::Completion(Some(50.0))),
    latency("latency p99", Source::Completion(Some(99.0))),
    latency("latency p99.9", Source::Completion(Some(99.9))),
    latency("response mean", Source::Response(None)),
    latency("response p50", Source::Response(Some(50.0))),
    latency("response p99", Source::Response(Some(99.0))),
    latency("response p99.9", Source::Response(Some(99.9))),
    latency("CPU per I/O", Source::Cpu),
];

/// What a figure can be drawn from.
#[derive(Clone, Debug, PartialEq)]
pub enum Spread {
    None,
    /// Deviation of the mean.
    Mean {
        deviation: f64,
    },
    /// (amount, seconds) of each interval of the run.
    Intervals(Vec<(f64, f64)>),
    /// Values ascending, each with the number of operations up to it.
    Ranked {
        percent: f64,
        bins: Vec<(u64, u64)>,
    },
}

/// One number of one file.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    pub kind: Kind,
    pub value: f64,
    pub spread: Spread,
}

/// By job and direction; `all` is what no direction has for itself. Of jobs with one name the second is called
/// `name#2`.
#[derive(Debug)]
pub struct File {
    pub figures: BTreeMap<(String, String), Vec<Figure>>,
}

/// Files separated by commas.
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

fn figures_of(jobs: &[Value]) -> BTreeMap<(String, String), Vec<Figure>> {
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
    // fio leaves completion latencies out when it was asked for the total ones.
    let counted = |value: &&Value| number(value, "N").is_some_and(|number| number > 0.0);
    let completion = [&part["clat_ns"], &part["lat_ns"]].into_iter().find(counted).unwrap_or(&Value::Null);
    let response = &job["ringbolt"]["response_ns"][direction];
    let figure = |kind: Kind| {
        let (value, spread) = match kind.source {
            Source::Operations => {
                rate(job, direction, "ios", number(part, "iops"), ["iops_stddev", "iops_samples"])?
            }
            Source::Bytes => {
                rate(job, direction, "bytes", number(part, "bw_bytes"), ["bw_dev", "bw_samples"])?
            }
            Source::Completion(percent) => latency_figure(completion, percent)?,
            Source::Response(percent) => latency_figure(response, percent)?,
            Source::Cpu => return None,
        };
        Some(Figure { kind, value, spread })
    };
    KINDS.into_iter().filter_map(figure).collect()
}

/// With the intervals of our files, or else the deviation of the samples that fio took.
fn rate(
    job: &Value,
    direction: &str,
    amount: &str,
    value: Option<f64>,
    samples: [&str; 2],
) -> Option<(f64, Spread)> {
    let value = value?;
    let intervals: Vec<(f64, f64)> = job["ringbolt"]["intervals"]
        .as_array()
        .map(|intervals| {
            let one = |interval: &Value| {
                let amount = number(&interval[direction], amount).unwrap_or(0.0);
                Some((amount, number(interval, "length_ms")? / 1000.0))
            };
            intervals.iter().filter_map(one).collect()
        })
        .unwrap_or_default();
    if intervals.len() > 1 {
        return Some((value, Spread::Intervals(intervals)));
    }
    let part = &job[direction];
    let unit = if amount == "bytes" { 1024.0 } else { 1.0 };
    let deviation = number(part, samples[0]).map(|deviation| deviation * unit);
    let spread = match (deviation, number(part, samples[1])) {
        (Some(deviation), Some(count)) if count > 1.0 => Spread::Mean { deviation: deviation / count.sqrt() },
        _ => Spread::None,
    };
    Some((value, spread))
}

fn latency_figure(latency: &Value, percent: Option<f64>) -> Option<(f64, Spread)> {
    let bins = bins(latency);
    let Some(percent) = percent else {
        let (mean, deviation, count) =
            (number(latency, "mean")?, number(latency, "stddev")?, number(latency, "N")?);
        let spread =
            if count > 1.0 { Spread::Mean { deviation: deviation / count.sqrt() } } else { Spread::None };
        return Some((mean, spread));
    };
    if let Some((_, total)) = bins.last() {
        let rank = (percent / 100.0 * *total as f64).ceil();
        let at = bins.partition_point(|(_, until)| (*until as f64) < rank);
        let value = bins.get(at)?.0 as f64;
        return Some((value, Spread::Ranked { percent, bins }));
    }
    let stored = latency.get("percentile")?.as_object()?;
    let same = |name: &str| name.parse::<f64>().is_ok_and(|number| (number - percent).abs() < 1e-6);
    let value = stored.iter().find(|(name, _)| same(name))?.1.as_f64()?;
    Some((value, Spread::None))
}

/// Ascending, with the running sum.
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

/// CPU time of the job over its operations.
fn cpu(job: &Value) -> Option<Figure> {
    let runtime_ms = number(job, "job_runtime")?;
    let used = (number(job, "usr_cpu")? + number(job, "sys_cpu")?) / 100.0 * runtime_ms * 1e6;
    let ios: f64 =
        ["read", "write", "trim"].iter().filter_map(|direction| number(&job[*direction], "total_ios")).sum();
    let kind = KINDS.into_iter().find(|kind| kind.source == Source::Cpu)?;
    (ios > 0.0).then(|| Figure { kind, value: used / ios, spread: Spread::None })
}
