//! This module makes the measurements of a profile, each of which is a job of its own on the raw
//! drive.

use super::schedule::Point;
use super::schema::{Flush, Latency, LatencyAtLoad, Rate, SustainedWrite};
use crate::cli::RunOptions;
use crate::result::{DirectionResult, JobResult, Latencies, Run};
use crate::run::{self, RunError, Unwatched};
use crate::spec::{BlockSize, ByDirection, Durable, Engine, Job, Pattern, Plan};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// The ramp is this share of every run and is not counted.
const RAMP_SHARE: f64 = 0.1;
const SUSTAINED_BLOCK: u64 = 1 << 20;
const SUSTAINED_DEPTH: u32 = 8;
const SMALL_BLOCK: u64 = 4 << 10;
/// At most this many operations of the open loop may be late at once.
const LOAD_DEPTH: u32 = 256;

/// Says why a figure could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("{0}")]
    Failed(String),
    #[error("interrupted")]
    Interrupted,
}

/// This is the drive under measurement.
#[derive(Clone, Debug)]
pub struct Target {
    pub path: PathBuf,
    pub tested_bytes: u64,
    pub allow_overwrite: bool,
    /// Ends the measurement when it is set.
    pub stop: Arc<AtomicBool>,
}

impl Target {
    fn job(&self, pattern: Pattern, block_bytes: u64, depth: u32, seconds: f64) -> Job {
        let nanoseconds = |share: f64| (seconds * share * 1e9) as u64;
        Job {
            files: vec![self.path.clone()],
            pattern,
            block: ByDirection::same(BlockSize::Fixed(block_bytes)),
            size: Some(self.tested_bytes / block_bytes * block_bytes),
            depth,
            time_based: true,
            norandommap: true,
            runtime_ns: Some(nanoseconds(1.0 - RAMP_SHARE)),
            ramp_ns: nanoseconds(RAMP_SHARE),
            ..Job::plain("profile", Engine::IoUring)
        }
    }

    /// Returns a plan on this drive, from which the fingerprint is gathered.
    pub fn plan(&self) -> Plan {
        Plan { jobs: vec![self.job(pattern(true, 100), SMALL_BLOCK, 1, 1.0)], ..Plan::default() }
    }

    fn run(&self, job: Job) -> Result<JobResult, MeasureError> {
        let plan = Plan { jobs: vec![job], ..Plan::default() };
        let options = RunOptions { allow_overwrite: self.allow_overwrite, ..RunOptions::default() };
        let Run { jobs, interrupted, .. } =
            run::run_until(&plan, &options, &mut Unwatched, self.stop.clone())?;
        if interrupted {
            return Err(MeasureError::Interrupted);
        }
        let result = jobs.into_iter().next().ok_or_else(|| MeasureError::Failed("no job ran".into()))?;
        match &result.error_text {
            Some(text) => Err(MeasureError::Failed(text.clone())),
            None if result.error != 0 => Err(MeasureError::Failed(format!("errno {}", result.error))),
            None => Ok(result),
        }
    }

    /// Measures one point of the matrix.
    ///
    /// # Errors
    /// Fails when the drive fails.
    pub fn rate(&self, point: &Point, seconds: f64) -> Result<Rate, MeasureError> {
        let pattern = pattern(point.random, point.read_percent);
        let mut job = self.job(pattern, point.block_bytes, point.depth, seconds);
        job.read_percent = point.read_percent;
        let result = self.run(job)?;
        let (iops, bytes_per_s) = rates(&result);
        let cpu_ns = result.usage.user_ns + result.usage.system_ns;
        Ok(Rate {
            random: point.random,
            block_bytes: point.block_bytes,
            depth: point.depth,
            read_percent: point.read_percent,
            iops,
            bytes_per_s,
            read_latency: latency_of(&result.by_direction.read),
            write_latency: latency_of(&result.by_direction.write),
            cpu_us_per_operation: rounded(
                cpu_ns as f64 / result.usage.wall_ns.max(1) as f64 * 1e6 / iops.max(1e-9),
            ),
            seconds: rounded(result.runtime_ns as f64 / 1e9),
        })
    }

    /// Measures small random operations at a share of `highest_iops`, in an open loop.
    ///
    /// # Errors
    /// Fails when the drive fails.
    pub fn latency_at_load(
        &self,
        read_percent: u32,
        load_percent: u32,
        highest_iops: f64,
        seconds: f64,
    ) -> Result<LatencyAtLoad, MeasureError> {
        let offered = (highest_iops * f64::from(load_percent) / 100.0).max(1.0);
        let mut job = self.job(pattern(true, read_percent), SMALL_BLOCK, LOAD_DEPTH, seconds);
        job.rate_iops = ByDirection::same(Some(offered as u64));
        let result = self.run(job)?;
        let of = if read_percent == 100 { &result.by_direction.read } else { &result.by_direction.write };
        Ok(LatencyAtLoad {
            block_bytes: SMALL_BLOCK,
            read_percent,
            load_percent,
            offered_iops: (offered as u64) as f64,
            achieved_iops: rates(&result).0,
            response: latency(&of.response),
            service: latency(&of.clat),
        })
    }

    /// Measures what it costs to make a small write durable.
    ///
    /// # Errors
    /// Fails when the drive fails.
    pub fn flush(&self, seconds: f64) -> Result<Flush, MeasureError> {
        let job = || self.job(pattern(true, 0), SMALL_BLOCK, 1, seconds);
        let flushed = self.run(Job { fdatasync: 1, ..job() })?;
        let durable = self.run(Job { durable: Durable::Data, ..job() })?;
        Ok(Flush {
            block_bytes: SMALL_BLOCK,
            write: latency(&flushed.by_direction.write.clat),
            fdatasync: latency(&flushed.sync),
            write_fdatasync_iops: rates(&flushed).0,
            dsync_write: latency(&durable.by_direction.write.clat),
            dsync_write_iops: rates(&durable).0,
        })
    }

    /// Writes sequentially for one window; returns bytes, and bytes per second.
    ///
    /// # Errors
    /// Fails when the drive fails.
    pub fn window(&self, seconds: f64, offset: u64) -> Result<(u64, f64), MeasureError> {
        let mut job = self.job(pattern(false, 0), SUSTAINED_BLOCK, SUSTAINED_DEPTH, seconds);
        let nanoseconds = (seconds * 1e9) as u64;
        (job.runtime_ns, job.ramp_ns) = (Some(nanoseconds), 0);
        // Each window begins where the last one ended, as one long write would.
        let wraps_at = self.tested_bytes / 2 / SUSTAINED_BLOCK * SUSTAINED_BLOCK;
        job.offset = if wraps_at > 0 { offset / SUSTAINED_BLOCK * SUSTAINED_BLOCK % wraps_at } else { 0 };
        job.size = Some(self.tested_bytes - job.offset);
        let result = self.run(job)?;
        Ok((result.by_direction.write.bytes, rates(&result).1))
    }
}

/// Summarises the windows.
pub fn sustained(
    windows: Vec<f64>,
    window_s: f64,
    written_bytes: u64,
    settled: bool,
) -> Option<SustainedWrite> {
    let (first, last) = (*windows.first()?, *windows.last()?);
    Some(SustainedWrite {
        block_bytes: SUSTAINED_BLOCK,
        depth: SUSTAINED_DEPTH,
        first_bytes_per_s: first,
        settled_bytes_per_s: last,
        settled,
        written_bytes,
        window_s,
        windows_bytes_per_s: windows,
    })
}

fn pattern(random: bool, read_percent: u32) -> Pattern {
    Pattern { reads: read_percent > 0, writes: read_percent < 100, trims: false, random }
}

/// Rounds to a thousandth: more digits would claim more than was measured.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

/// Returns operations and bytes per second.
fn rates(result: &JobResult) -> (f64, f64) {
    let each = |direction: &DirectionResult| {
        let seconds = direction.runtime_ns.max(1) as f64 / 1e9;
        (direction.ios as f64 / seconds, direction.bytes as f64 / seconds)
    };
    let (read, write) = (each(&result.by_direction.read), each(&result.by_direction.write));
    (rounded(read.0 + write.0), rounded(read.1 + write.1))
}

fn latency(of: &Latencies) -> Latency {
    let at = |percent| rounded(of.percentile_ns(percent) as f64 / 1000.0);
    Latency { p50_us: at(50.0), p99_us: at(99.0) }
}

fn latency_of(direction: &DirectionResult) -> Option<Latency> {
    (direction.ios > 0).then(|| latency(&direction.clat))
}
