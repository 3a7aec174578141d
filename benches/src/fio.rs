//! This module runs fio as the other side of the engine's comparisons, and reads its JSON.
//!
//! Invariant: fio has direct I/O, one process, one core and its own clock. It has nothing that the
//! engine does not have (no registered buffers, no batching beyond fio's defaults), as the targets
//! require.

use serde::Deserialize;
use std::io;
use std::path::Path;
use std::process::Command;

#[derive(Debug, thiserror::Error)]
pub enum FioError {
    #[error("could not start fio ({0}); install fio 3.x")]
    Start(#[source] io::Error),
    #[error("fio ended with {status}: {stderr}")]
    Failed { status: std::process::ExitStatus, stderr: String },
    #[error("fio's JSON was not understood: {0}")]
    Json(#[from] serde_json::Error),
    #[error("fio reported no job")]
    NoJob,
}

/// Describes one job. Sizes are in bytes, times in seconds.
#[derive(Clone, Debug)]
pub struct FioJob<'a> {
    pub file: &'a Path,
    /// This is `randread`, `read` or `write`, with fio's names.
    pub pattern: &'a str,
    pub block_bytes: u64,
    /// Offsets are multiples of this; 0 means of `block_bytes`.
    pub align_bytes: u64,
    pub depth: u32,
    /// Limits the job to the beginning of the file; 0 means the whole file.
    pub size_bytes: u64,
    /// Makes every write durable by itself (`--sync=dsync`).
    pub dsync: bool,
    pub ramp_s: u32,
    pub runtime_s: u32,
    pub core: usize,
}

/// Holds the results of one job.
#[derive(Clone, Copy, Debug)]
pub struct FioResult {
    pub iops: f64,
    pub bytes_per_s: f64,
    /// This is the user and system time for each I/O.
    pub cpu_us_per_io: f64,
    pub p50_us: f64,
    pub p99_us: f64,
}

/// Sums reads and writes over the threads of one job of a report.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Sums {
    pub bytes: [f64; 2],
    pub ios: [f64; 2],
    pub iops: [f64; 2],
}

#[derive(Deserialize)]
struct Report {
    jobs: Vec<Job>,
}

#[derive(Deserialize)]
struct Job {
    #[serde(default)]
    jobname: String,
    read: Direction,
    write: Direction,
    /// This is in milliseconds.
    job_runtime: f64,
    /// This is in per cent of one core.
    usr_cpu: f64,
    sys_cpu: f64,
}

#[derive(Deserialize)]
struct Direction {
    iops: f64,
    bw_bytes: f64,
    #[serde(default)]
    io_bytes: f64,
    total_ios: f64,
    lat_ns: Latency,
}

#[derive(Deserialize)]
struct Latency {
    #[serde(default)]
    percentile: std::collections::HashMap<String, f64>,
}

impl FioJob<'_> {
    /// Returns the arguments of the command, also for docs and logs.
    pub fn arguments(&self) -> Vec<String> {
        let mut arguments = vec![
            "--name=ringbolt-bench".to_string(),
            "--ioengine=io_uring".into(),
            "--direct=1".into(),
            format!("--filename={}", self.file.display()),
            format!("--rw={}", self.pattern),
            format!("--bs={}", self.block_bytes),
            format!("--iodepth={}", self.depth),
            format!("--ramp_time={}", self.ramp_s),
            format!("--runtime={}", self.runtime_s),
            "--time_based=1".into(),
            "--lat_percentiles=1".into(),
            format!("--cpus_allowed={}", self.core),
            "--output-format=json".into(),
        ];
        if self.align_bytes > 0 {
            arguments.push(format!("--blockalign={}", self.align_bytes));
        }
        if self.size_bytes > 0 {
            arguments.push(format!("--size={}", self.size_bytes));
        }
        if self.dsync {
            arguments.push("--sync=dsync".into());
        }
        if self.pattern.contains("write") {
            // The file was written completely before; laying it out again would only take time.
            arguments.push("--overwrite=1".into());
        }
        arguments
    }

    /// Runs the job and waits for its end.
    pub fn run(&self) -> Result<FioResult, FioError> {
        parse(&said_by(Command::new("fio").args(self.arguments()))?)
    }
}

/// Runs a job file of one job and waits for its end.
pub fn run_job_file(path: &Path) -> Result<FioResult, FioError> {
    parse(&said_by(Command::new("fio").arg("--output-format=json").arg(path))?)
}

/// Runs a job file with its own files, waits at most `seconds`, and returns the sums of each job.
pub fn sums_of_job_file(path: &Path, seconds: u32) -> Result<Vec<(String, Sums)>, FioError> {
    let mut limited = Command::new("timeout");
    limited.arg(seconds.to_string()).args(["fio", "--output-format=json"]).arg(path);
    sums(&said_by(&mut limited)?)
}

/// Returns the output of a command, which must succeed.
fn said_by(command: &mut Command) -> Result<Vec<u8>, FioError> {
    let output = command.output().map_err(FioError::Start)?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    Err(FioError::Failed { status: output.status, stderr })
}

/// Parses the report; messages of fio may come before it.
fn report(json: &[u8]) -> Result<Report, FioError> {
    let start = json.iter().position(|&byte| byte == b'{').unwrap_or(0);
    Ok(serde_json::from_slice(&json[start..])?)
}

/// Returns the sums of each job, by its name, of a report in fio's JSON, written by fio or by
/// `ringbolt bench`.
pub fn sums(json: &[u8]) -> Result<Vec<(String, Sums)>, FioError> {
    let report = report(json)?;
    let mut all: Vec<(String, Sums)> = Vec::new();
    for job in &report.jobs {
        let known = all.iter().position(|(name, _)| *name == job.jobname);
        let at = known.unwrap_or_else(|| {
            all.push((job.jobname.clone(), Sums::default()));
            all.len() - 1
        });
        let sums = &mut all[at].1;
        for (at, direction) in [&job.read, &job.write].into_iter().enumerate() {
            sums.bytes[at] += direction.io_bytes;
            sums.ios[at] += direction.total_ios;
            sums.iops[at] += direction.iops;
        }
    }
    Ok(all)
}

fn parse(json: &[u8]) -> Result<FioResult, FioError> {
    let job = report(json)?.jobs.into_iter().next().ok_or(FioError::NoJob)?;
    let direction = if job.read.total_ios > 0.0 { &job.read } else { &job.write };
    let percentile_us = |name: &str| direction.lat_ns.percentile.get(name).map_or(f64::NAN, |ns| ns / 1000.0);
    Ok(FioResult {
        iops: direction.iops,
        bytes_per_s: direction.bw_bytes,
        cpu_us_per_io: (job.usr_cpu + job.sys_cpu) / 100.0 * job.job_runtime * 1000.0 / direction.total_ios,
        p50_us: percentile_us("50.000000"),
        p99_us: percentile_us("99.000000"),
    })
}

/// Writes all of `file` once, so that later writes change no metadata of the file system.
pub fn write_through(file: &Path, size_bytes: u64, core: usize) -> Result<(), FioError> {
    let mut prepare = Command::new("fio");
    prepare
        .args(["--name=prepare", "--ioengine=io_uring", "--direct=1", "--rw=write", "--bs=1M", "--iodepth=4"])
        .arg(format!("--filename={}", file.display()))
        .arg(format!("--size={size_bytes}"))
        .arg(format!("--cpus_allowed={core}"))
        .arg("--end_fsync=1");
    said_by(&mut prepare).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_of_a_report_are_summed() {
        let job = br#"{"job_runtime":1,"usr_cpu":0,"sys_cpu":0,
            "read":{"iops":10.5,"bw_bytes":1,"io_bytes":8192,"total_ios":2,"lat_ns":{}},
            "write":{"iops":1.0,"bw_bytes":1,"io_bytes":0,"total_ios":0,"lat_ns":{}}}"#;
        let json = format!("note\n{{\"jobs\":[{0},{0}]}}", String::from_utf8_lossy(job));
        let all = sums(json.as_bytes()).unwrap();
        assert_eq!(all.len(), 1, "both have one name");
        let sums = all[0].1;
        assert_eq!((sums.bytes[0], sums.ios[0], sums.iops), (16_384.0, 4.0, [21.0, 2.0]));
    }

    #[test]
    fn cpu_per_io_follows_from_percent_and_runtime() {
        let json = br#"note
            {"jobs":[{"job_runtime":2000,"usr_cpu":10.0,"sys_cpu":15.0,
            "read":{"iops":50000.0,"bw_bytes":409600000,"total_ios":100000,"lat_ns":{"percentile":{"50.000000":70000}}},
            "write":{"iops":0.0,"bw_bytes":0,"total_ios":0,"lat_ns":{}}}]}"#;
        let result = parse(json).unwrap();
        assert_eq!(result.cpu_us_per_io, 5.0);
        assert_eq!(result.p50_us, 70.0);
        assert!(result.p99_us.is_nan());
    }
}
