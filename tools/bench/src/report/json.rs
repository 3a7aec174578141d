//! This module writes the report in fio's JSON, field for field, so that programs that read fio's
//! output accept it.
//!
//! Invariants: an integer of fio is an integer here, and a float has a decimal point. Fields that
//! fio does not have are under the one key `ringbolt`, of the run and of each job.

use super::normal::class_name;
use super::summary::{self, GroupSum, LatencyClasses, Spread, steady_name};
use super::{engine_name, shown_options, version_text};
use crate::engine::failures::FailureKind;
use crate::result::{DirectionResult, DiskUsage, Interval, JobResult, Latencies, Run};
use crate::run::SteadyReport;
use crate::spec::{ByDirection, ClientWait, Direction, Job, SteadyMetric};
use ringbolt_tool_common::date;
use ringbolt_tool_common::number::{finite, per_second};
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;

/// Returns the whole report, with a line break at its end. `with_bins` asks for json+.
pub fn text(run: &Run, with_bins: bool) -> String {
    let report = Report::of(run, with_bins);
    let text = serde_json::to_string_pretty(&report).expect("names are texts and numbers finite");
    text + "\n"
}

/// This is a map that keeps its order.
struct Pairs<T>(Vec<(String, T)>);

impl<T: Serialize> Serialize for Pairs<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl<T> Pairs<T> {
    fn zip(names: impl IntoIterator<Item = String>, values: impl IntoIterator<Item = T>) -> Self {
        Self(names.into_iter().zip(values).collect())
    }
}

#[derive(Serialize)]
struct Report {
    #[serde(rename = "fio version")]
    version: String,
    timestamp: u64,
    timestamp_ms: u64,
    time: String,
    #[serde(rename = "global options", skip_serializing_if = "BTreeMap::is_empty")]
    global: BTreeMap<String, String>,
    jobs: Vec<JobReport>,
    disk_util: Vec<DiskReport>,
    ringbolt: RunExtras,
}

/// Holds the fields of the run that fio does not have.
#[derive(Serialize)]
struct RunExtras {
    version: &'static str,
    fingerprint: Pairs<String>,
}

#[derive(Serialize)]
struct JobReport {
    jobname: String,
    groupid: usize,
    job_start: u64,
    error: i32,
    eta: u64,
    elapsed: u64,
    #[serde(rename = "job options")]
    options: BTreeMap<String, String>,
    read: DirectionReport,
    write: DirectionReport,
    trim: DirectionReport,
    sync: SyncReport,
    job_runtime: u64,
    usr_cpu: f64,
    sys_cpu: f64,
    ctx: u64,
    majf: u64,
    minf: u64,
    iodepth_level: Pairs<f64>,
    iodepth_submit: Pairs<f64>,
    iodepth_complete: Pairs<f64>,
    latency_ns: Pairs<f64>,
    latency_us: Pairs<f64>,
    latency_ms: Pairs<f64>,
    latency_depth: u32,
    latency_target: u64,
    latency_target_ns: u64,
    latency_percentile: f64,
    latency_window: u64,
    latency_window_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    steadystate: Option<SteadyStateReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    desc: Option<String>,
    ringbolt: JobExtras,
}

/// Holds the result of `steadystate` as fio reports it, in KiB and operations per second.
#[derive(Serialize)]
struct SteadyStateReport {
    ss: String,
    duration: u64,
    attained: u8,
    criterion: String,
    max_deviation: f64,
    slope: f64,
    data: SteadyStateData,
}

#[derive(Serialize)]
struct SteadyStateData {
    bw_mean: u64,
    iops_mean: u64,
    iops: Vec<u64>,
    bw: Vec<u64>,
}

impl SteadyStateReport {
    fn of(report: &SteadyReport) -> Self {
        let settings = report.settings;
        // Bandwidths are in KiB/s, as in fio.
        let scale = if settings.metric == SteadyMetric::Bandwidth { 1024.0 } else { 1.0 };
        let per_cent = if settings.percent { "%" } else { "" };
        let criterion = if settings.percent { report.criterion() } else { report.criterion() / scale };
        let whole = |values: &[f64], scale: f64| values.iter().map(|value| (value / scale) as u64).collect();
        let mean = |values: &[f64], scale: f64| {
            (values.iter().sum::<f64>() / values.len().max(1) as f64 / scale) as u64
        };
        Self {
            ss: format!("{}:{:.6}{per_cent}", steady_name(&settings), settings.limit),
            duration: settings.window_ns / 1_000_000_000,
            attained: u8::from(report.attained),
            criterion: format!("{criterion:.6}{per_cent}"),
            max_deviation: finite(report.deviation / scale),
            slope: finite(report.slope / scale),
            data: SteadyStateData {
                bw_mean: mean(&report.bytes, 1024.0),
                iops_mean: mean(&report.iops, 1.0),
                iops: whole(&report.iops, 1.0),
                bw: whole(&report.bytes, 1024.0),
            },
        }
    }
}

/// Holds the fields of a job that fio does not have.
#[derive(Serialize)]
struct JobExtras {
    /// Holds the mean size in bytes of the counted operations, for each direction.
    mean_bytes: BTreeMap<&'static str, f64>,
    engine: &'static str,
    threads: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_text: Option<String>,
    verify_failures: u64,
    /// Counts the operations that were aborted at the end.
    cut_ios: Pairs<u64>,
    /// Lists failures by reason, each with the first one; `failures_of_other_kinds` counts the
    /// rest.
    failures: Vec<FailureKind>,
    failures_of_other_kinds: u64,
    /// Counts the connections that were made again.
    #[serde(skip_serializing_if = "Option::is_none")]
    reconnections: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_wait: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notes: Vec<String>,
    /// Holds latencies from the intended start of each operation; it is empty without a rate.
    response_ns: Pairs<LatencyReport>,
    intervals: Vec<IntervalReport>,
}

#[derive(Serialize)]
struct IntervalReport {
    start_ms: f64,
    length_ms: f64,
    #[serde(flatten)]
    by_direction: BTreeMap<&'static str, CountsReport>,
}

#[derive(Serialize)]
struct CountsReport {
    ios: u64,
    bytes: u64,
    mean_ns: f64,
    p50_ns: u64,
    p99_ns: u64,
    #[serde(rename = "p99.9_ns")]
    p99_9_ns: u64,
    max_ns: u64,
}

#[derive(Serialize)]
struct DirectionReport {
    io_bytes: u64,
    io_kbytes: u64,
    bw_bytes: u64,
    bw: u64,
    iops: f64,
    runtime: u64,
    total_ios: u64,
    short_ios: u64,
    drop_ios: u64,
    slat_ns: LatencyReport,
    clat_ns: LatencyReport,
    lat_ns: LatencyReport,
    bw_min: u64,
    bw_max: u64,
    bw_agg: f64,
    bw_mean: f64,
    bw_dev: f64,
    bw_samples: u64,
    iops_min: u64,
    iops_max: u64,
    iops_mean: f64,
    iops_stddev: f64,
    iops_samples: u64,
}

#[derive(Serialize)]
struct SyncReport {
    total_ios: u64,
    lat_ns: LatencyReport,
}

#[derive(Serialize)]
struct LatencyReport {
    min: u64,
    max: u64,
    mean: f64,
    stddev: f64,
    #[serde(rename = "N")]
    count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    percentile: Option<Pairs<u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bins: Option<Pairs<u64>>,
}

#[derive(Serialize)]
struct DiskReport {
    name: String,
    read_ios: u64,
    write_ios: u64,
    /// The following fields are in newer versions of fio.
    read_sectors: u64,
    write_sectors: u64,
    read_merges: u64,
    write_merges: u64,
    read_ticks: u64,
    write_ticks: u64,
    in_queue: u64,
    util: f64,
}

impl Report {
    fn of(run: &Run, with_bins: bool) -> Self {
        let groups = summary::groups(run);
        let job = |result: &JobResult| {
            let sums = groups.get(&result.job.group).copied().unwrap_or_default();
            JobReport::of(run, result, &sums, with_bins)
        };
        let seconds = run.started_unix_ms / 1000;
        Self {
            version: version_text(),
            timestamp: seconds,
            timestamp_ms: run.started_unix_ms,
            time: date::text(seconds),
            global: shown_options(&run.plan.global),
            jobs: run.jobs.iter().map(job).collect(),
            disk_util: run.disks.iter().map(DiskReport::of).collect(),
            ringbolt: RunExtras {
                version: env!("CARGO_PKG_VERSION"),
                fingerprint: Pairs(run.fingerprint.0.clone()),
            },
        }
    }
}

impl JobReport {
    fn of(run: &Run, result: &JobResult, sums: &ByDirection<GroupSum>, with_bins: bool) -> Self {
        let job = &result.job;
        let direction = |direction: Direction| {
            let measured = result.by_direction.get(direction);
            DirectionReport::of(measured, sums.get(direction), job, with_bins)
        };
        let (user, system) = summary::cpu_percent(result);
        let classes = LatencyClasses::of(result);
        let starts_ns = result.intervals.first().map_or(0, |first| first.start_ns);
        let target = job.latency_target;
        let (target_ns, window_us) =
            target.map_or((0, 0), |target| (target.target_ns, target.window_ns / 1000));
        Self {
            jobname: job.name.clone(),
            groupid: job.group,
            job_start: run.started_unix_ms + starts_ns / 1_000_000,
            error: result.error,
            eta: 0,
            elapsed: result.runtime_ns.div_ceil(1_000_000_000),
            options: shown_options(&job.given),
            read: direction(Direction::Read),
            write: direction(Direction::Write),
            trim: direction(Direction::Trim),
            sync: SyncReport {
                total_ios: result.sync.count(),
                lat_ns: LatencyReport::full(&result.sync, &job.percentiles, with_bins),
            },
            job_runtime: summary::milliseconds(result.usage.wall_ns),
            usr_cpu: user,
            sys_cpu: system,
            ctx: result.usage.context_switches,
            majf: result.usage.major_faults,
            minf: result.usage.minor_faults,
            iodepth_level: Pairs::zip(
                depth_names(["1", "2", "4", "8", "16", "32"]),
                summary::depth_percent(&result.depth),
            ),
            iodepth_submit: Pairs::zip(batch_names(), summary::depth_percent(&result.submitted)),
            iodepth_complete: Pairs::zip(batch_names(), summary::depth_percent(&result.completed)),
            latency_ns: Pairs::zip(class_names(), classes.nano),
            latency_us: Pairs::zip(class_names(), classes.micro),
            latency_ms: Pairs::zip(class_names(), classes.milli),
            latency_depth: result.latency_depth.unwrap_or(job.depth),
            latency_target: target_ns,
            latency_target_ns: target_ns,
            latency_percentile: target.map_or(100.0, |target| finite(target.percentile)),
            latency_window: window_us,
            latency_window_us: window_us,
            steadystate: result.steady.as_ref().map(SteadyStateReport::of),
            desc: job.description.clone(),
            ringbolt: JobExtras::of(result, job, with_bins),
        }
    }
}

fn depth_names(below_64: [&str; 6]) -> Vec<String> {
    below_64.iter().chain(&[">=64"]).map(|name| (*name).to_owned()).collect()
}

fn batch_names() -> Vec<String> {
    ["0", "4", "8", "16", "32", "64", ">=64"].map(str::to_owned).to_vec()
}

fn class_names() -> impl Iterator<Item = String> {
    (0..12).map(class_name)
}

impl JobExtras {
    fn of(result: &JobResult, job: &Job, with_bins: bool) -> Self {
        let with_response = Direction::ALL
            .into_iter()
            .filter(|direction| result.by_direction.get(*direction).response.count() > 0);
        let response_ns = with_response.map(|direction| {
            let response = &result.by_direction.get(direction).response;
            (direction.name().to_owned(), LatencyReport::full(response, &job.percentiles, with_bins))
        });
        Self {
            mean_bytes: summary::mean_bytes(result).map(|(of, bytes)| (of.name(), bytes)).collect(),
            engine: engine_name(job.engine),
            threads: result.threads,
            error_text: result.error_text.clone(),
            verify_failures: result.verify_failures,
            cut_ios: Pairs(
                Direction::ALL.map(|of| (of.name().to_owned(), result.by_direction.get(of).cut_ios)).into(),
            ),
            failures: result.failures.kinds.clone(),
            failures_of_other_kinds: result.failures.others,
            reconnections: result.reconnections,
            client_wait: result.client_wait.map(ClientWait::name),
            notes: result.notes.clone(),
            response_ns: Pairs(response_ns.collect()),
            intervals: result.intervals.iter().map(IntervalReport::of).collect(),
        }
    }
}

impl IntervalReport {
    fn of(interval: &Interval) -> Self {
        let mut by_direction = BTreeMap::new();
        for direction in Direction::ALL {
            let counts = interval.by_direction.get(direction);
            if counts.ios > 0 {
                let latencies = &counts.latencies;
                let report = CountsReport {
                    ios: counts.ios,
                    bytes: counts.bytes,
                    mean_ns: finite(latencies.mean_ns()),
                    p50_ns: latencies.percentile_ns(50.0),
                    p99_ns: latencies.percentile_ns(99.0),
                    p99_9_ns: latencies.percentile_ns(99.9),
                    max_ns: latencies.max_ns(),
                };
                by_direction.insert(direction.name(), report);
            }
        }
        let milliseconds = |nanoseconds: u64| nanoseconds as f64 / 1e6;
        Self {
            start_ms: milliseconds(interval.start_ns),
            length_ms: milliseconds(interval.length_ns),
            by_direction,
        }
    }
}

impl DirectionReport {
    fn of(measured: &DirectionResult, group: &GroupSum, job: &Job, with_bins: bool) -> Self {
        let latencies = |of: &Latencies, full: bool| match full {
            true => LatencyReport::full(of, &job.percentiles, with_bins),
            false => LatencyReport::brief(of),
        };
        let rate = per_second(measured.bytes, measured.runtime_ns) as u64;
        let bandwidth = Spread::of_samples(&measured.bandwidth);
        let iops = Spread::of_samples(&measured.iops);
        Self {
            io_bytes: measured.bytes,
            io_kbytes: measured.bytes / 1024,
            bw_bytes: rate,
            bw: rate / 1024,
            iops: per_second(measured.ios, measured.runtime_ns),
            runtime: summary::milliseconds(measured.runtime_ns),
            total_ios: measured.ios,
            short_ios: measured.short_ios,
            drop_ios: measured.failed_ios,
            slat_ns: latencies(&measured.slat, job.more_percentiles.submission),
            clat_ns: latencies(&measured.clat, true),
            lat_ns: latencies(&measured.lat, job.more_percentiles.total),
            bw_min: bandwidth.min,
            bw_max: bandwidth.max,
            bw_agg: if bandwidth.count == 0 { 0.0 } else { group.share(bandwidth.mean) },
            bw_mean: bandwidth.mean,
            bw_dev: bandwidth.deviation,
            bw_samples: bandwidth.count,
            iops_min: iops.min,
            iops_max: iops.max,
            iops_mean: iops.mean,
            iops_stddev: iops.deviation,
            iops_samples: iops.count,
        }
    }
}

/// This is the largest bin of fio. Programs that read fio's output search for the next bin
/// downwards from here and never end if there is a larger one, so longer latencies are counted
/// here.
const BIN_NS_MAX: u64 = 17_112_760_320;

impl LatencyReport {
    fn brief(latencies: &Latencies) -> Self {
        let spread = Spread::of_latencies(latencies);
        Self {
            min: spread.min,
            max: spread.max,
            mean: finite(spread.mean),
            stddev: finite(spread.deviation),
            count: spread.count,
            percentile: None,
            bins: None,
        }
    }

    /// Creates the report with percentiles, and with bins for json+, if there is anything to show.
    fn full(latencies: &Latencies, percentiles: &[f64], with_bins: bool) -> Self {
        let mut report = Self::brief(latencies);
        if report.count > 0 {
            let wanted = summary::percentiles(percentiles);
            let values: Vec<u64> = wanted.iter().map(|percent| latencies.percentile_ns(*percent)).collect();
            let names = wanted.iter().map(|percent| format!("{percent:.6}"));
            report.percentile = Some(Pairs::zip(names, values));
            report.bins = with_bins.then(|| bins(latencies));
        }
        report
    }
}

fn bins(latencies: &Latencies) -> Pairs<u64> {
    let mut bins = Vec::new();
    let mut beyond = 0;
    for (nanoseconds, count) in latencies.bins() {
        if nanoseconds < BIN_NS_MAX {
            bins.push((nanoseconds.to_string(), count));
        } else {
            beyond += count;
        }
    }
    if beyond > 0 {
        bins.push((BIN_NS_MAX.to_string(), beyond));
    }
    Pairs(bins)
}

impl DiskReport {
    fn of(disk: &DiskUsage) -> Self {
        Self {
            name: disk.name.clone(),
            read_ios: disk.ios[0],
            write_ios: disk.ios[1],
            read_sectors: disk.sectors[0],
            write_sectors: disk.sectors[1],
            read_merges: disk.merges[0],
            write_merges: disk.merges[1],
            read_ticks: disk.ticks_ms[0],
            write_ticks: disk.ticks_ms[1],
            in_queue: disk.in_queue_ms,
            util: finite(disk.utilisation_percent).min(100.0),
        }
    }
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
