//! This module holds what a run measured.
//!
//! Invariants: everything merges: the sum of two threads' results is the result of both. Latencies
//! are whole histograms, never means of percentiles. Nothing is counted before a job's ramp is
//! over.

use super::engine::failures::Failures;
use super::spec::{ByDirection, ClientWait, Job};
use hdrhistogram::Histogram;

/// Longer latencies count as this: 200 s.
pub const LATENCY_NS_MAX: u64 = 200_000_000_000;

/// This is a mergeable histogram of latencies with three significant figures. It takes no memory
/// before the first value.
#[derive(Clone, Debug, Default)]
pub struct Latencies(Form);

#[derive(Clone, Debug, Default)]
enum Form {
    #[default]
    Empty,
    Dense(Box<Histogram<u64>>),
    /// Holds (nanoseconds, count) in ascending order, for values that are kept and not added to.
    Sparse(Vec<(u64, u64)>),
}

impl Latencies {
    #[inline]
    pub fn record(&mut self, nanoseconds: u64) {
        self.dense().saturating_record(nanoseconds.max(1));
    }

    /// Adds all latencies of another histogram.
    pub fn merge(&mut self, other: &Self) {
        match &other.0 {
            Form::Empty => {}
            Form::Dense(histogram) => self.dense().add(&**histogram).expect("all have the same bounds"),
            Form::Sparse(bins) => bins.iter().for_each(|(value, count)| {
                self.dense().saturating_record_n(*value, *count);
            }),
        }
    }

    /// Releases the memory of unused values; the next record allocates it again.
    pub fn compact(&mut self) {
        if let Form::Dense(_) = self.0 {
            self.0 = Form::Sparse(self.bins().collect());
        }
    }

    fn dense(&mut self) -> &mut Histogram<u64> {
        if !matches!(self.0, Form::Dense(_)) {
            let mut histogram =
                Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("the bounds are constants in order");
            if let Form::Sparse(bins) = &self.0 {
                bins.iter().for_each(|(value, count)| histogram.saturating_record_n(*value, *count));
            }
            self.0 = Form::Dense(Box::new(histogram));
        }
        match &mut self.0 {
            Form::Dense(histogram) => histogram,
            Form::Empty | Form::Sparse(_) => unreachable!("it was made dense above"),
        }
    }

    pub fn count(&self) -> u64 {
        match &self.0 {
            Form::Empty => 0,
            Form::Dense(histogram) => histogram.len(),
            Form::Sparse(bins) => bins.iter().map(|(_, count)| count).sum(),
        }
    }

    /// Returns the smallest latency; 0 when nothing was recorded, as in fio's output.
    pub fn min_ns(&self) -> u64 {
        match &self.0 {
            Form::Dense(histogram) if !histogram.is_empty() => histogram.min(),
            Form::Sparse(bins) => bins.first().map_or(0, |(value, _)| *value),
            Form::Empty | Form::Dense(_) => 0,
        }
    }

    pub fn max_ns(&self) -> u64 {
        match &self.0 {
            Form::Empty => 0,
            Form::Dense(histogram) => histogram.max(),
            Form::Sparse(bins) => bins.last().map_or(0, |(value, _)| *value),
        }
    }

    pub fn mean_ns(&self) -> f64 {
        match &self.0 {
            Form::Dense(histogram) if !histogram.is_empty() => histogram.mean(),
            Form::Sparse(bins) => {
                let sum: f64 = bins.iter().map(|(value, count)| *value as f64 * *count as f64).sum();
                sum / self.count().max(1) as f64
            }
            Form::Empty | Form::Dense(_) => 0.0,
        }
    }

    pub fn deviation_ns(&self) -> f64 {
        match &self.0 {
            Form::Dense(histogram) if !histogram.is_empty() => histogram.stdev(),
            Form::Sparse(bins) => {
                let mean = self.mean_ns();
                let square = |(value, count): &(u64, u64)| (*value as f64 - mean).powi(2) * *count as f64;
                (bins.iter().map(square).sum::<f64>() / self.count().max(1) as f64).sqrt()
            }
            Form::Empty | Form::Dense(_) => 0.0,
        }
    }

    /// Returns a percentile; `percent` is from 0 to 100.
    pub fn percentile_ns(&self, percent: f64) -> u64 {
        match &self.0 {
            Form::Dense(histogram) if !histogram.is_empty() => histogram.value_at_percentile(percent),
            Form::Sparse(bins) => {
                let rank = ((percent / 100.0 * self.count() as f64).ceil() as u64).max(1);
                let mut seen = 0;
                let mut reached = bins.iter().filter(|(_, count)| {
                    seen += count;
                    seen >= rank
                });
                reached.next().map_or_else(|| self.max_ns(), |(value, _)| *value)
            }
            Form::Empty | Form::Dense(_) => 0,
        }
    }

    /// Iterates over (nanoseconds, count) of every value that occurred, in ascending order.
    pub fn bins(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        let (dense, sparse) = match &self.0 {
            Form::Empty => (None, &[][..]),
            Form::Dense(histogram) => (Some(histogram.iter_recorded()), &[][..]),
            Form::Sparse(bins) => (None, &bins[..]),
        };
        let dense = dense.into_iter().flatten();
        dense.map(|bin| (bin.value_iterated_to(), bin.count_at_value())).chain(sparse.iter().copied())
    }
}

/// Holds values of a rate sampled over time: fio's bw and iops statistics.
#[derive(Clone, Debug, Default)]
pub struct Samples(pub Vec<f64>);

/// Holds the results of one direction.
#[derive(Clone, Debug, Default)]
pub struct DirectionResult {
    pub bytes: u64,
    pub ios: u64,
    pub short_ios: u64,
    pub failed_ios: u64,
    /// Counts the operations that were in flight at the end of the job or run, and were aborted.
    pub cut_ios: u64,
    /// This is the time from the end of the ramp to the last completion.
    pub runtime_ns: u64,
    /// Holds the latencies of submission; `clat` those of completion, and `lat` the sum of both.
    pub slat: Latencies,
    pub clat: Latencies,
    pub lat: Latencies,
    /// Holds latencies from the intended start, with a rate: the time a user would have waited. It
    /// is empty without a rate.
    pub response: Latencies,
    /// Holds KiB/s, sampled every 500 ms; `iops` holds operations per second.
    pub bandwidth: Samples,
    pub iops: Samples,
}

/// Counts how many operations were in flight, or were submitted or completed at once. It holds
/// counts, because percentages would not merge. The buckets are those of fio. Depths: from 1, 2, 4,
/// 8, 16, 32, 64 on. Submissions and completions: 0, then up to 4, 8, 16, 32, 64, and more.
#[derive(Clone, Copy, Debug, Default)]
pub struct DepthCounts(pub [u64; 7]);

/// Holds the figures of one interval of the run, for charts.
#[derive(Clone, Debug, Default)]
pub struct Interval {
    /// This is the beginning, from the start of the run.
    pub start_ns: u64,
    pub length_ns: u64,
    pub by_direction: ByDirection<IntervalCounts>,
}

/// Counts the operations of one direction in one interval.
#[derive(Clone, Debug, Default)]
pub struct IntervalCounts {
    pub ios: u64,
    pub bytes: u64,
    /// Holds response times with a rate, otherwise completion times.
    pub latencies: Latencies,
}

/// This is one operation, or the mean of an interval, in a log of fio's format.
#[derive(Clone, Copy, Debug)]
pub struct LogEntry {
    pub at_ms: u64,
    /// This is in KiB/s, operations per second, or nanoseconds.
    pub value: u64,
    pub direction: super::spec::Direction,
    /// This is 0 for a mean of several operations.
    pub block_bytes: u64,
    pub offset: u64,
    /// This is the number of the thread within the run, from 1.
    pub thread: u32,
}

/// Holds CPU times and memory events of the thread that ran a job.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub user_ns: u64,
    pub system_ns: u64,
    pub context_switches: u64,
    pub major_faults: u64,
    pub minor_faults: u64,
    /// This is the time over which these were counted.
    pub wall_ns: u64,
}

/// Holds the results of one thread, or of the threads of a group.
#[derive(Clone, Debug)]
pub struct JobResult {
    pub job: Job,
    /// Counts the threads in the sum.
    pub threads: u32,
    /// Lists their numbers within the run, from 1.
    pub thread_numbers: Vec<u32>,
    /// This is the errno of the first error that ended the job, or 0; `error_text` is the same as
    /// text.
    pub error: i32,
    pub error_text: Option<String>,
    pub runtime_ns: u64,
    pub by_direction: ByDirection<DirectionResult>,
    /// Holds the latencies of fsync and fdatasync.
    pub sync: Latencies,
    pub usage: Usage,
    pub depth: DepthCounts,
    pub submitted: DepthCounts,
    pub completed: DepthCounts,
    /// This is the depth that `latency_target` found.
    pub latency_depth: Option<u32>,
    /// This is the result of `steadystate`.
    pub steady: Option<super::run::SteadyReport>,
    pub intervals: Vec<Interval>,
    pub bandwidth_log: Vec<LogEntry>,
    pub iops_log: Vec<LogEntry>,
    pub slat_log: Vec<LogEntry>,
    pub clat_log: Vec<LogEntry>,
    pub lat_log: Vec<LogEntry>,
    /// Counts blocks whose content was not what was written.
    pub verify_failures: u64,
    /// Holds the failed operations by reason.
    pub failures: Failures,
    /// Counts connections that were made again; `None` if the engine has no connections.
    pub reconnections: Option<u64>,
    /// Says how the client waited for responses.
    pub client_wait: Option<ClientWait>,
    /// Lists what a user should know beyond the figures.
    pub notes: Vec<String>,
}

impl JobResult {
    /// Sets the number of the thread that this result belongs to.
    pub fn number(&mut self, thread: u32) {
        self.thread_numbers = vec![thread];
        let logs = [
            &mut self.bandwidth_log,
            &mut self.iops_log,
            &mut self.slat_log,
            &mut self.clat_log,
            &mut self.lat_log,
        ];
        logs.into_iter().flatten().for_each(|entry| entry.thread = thread);
    }

    /// Returns a result without measurements.
    pub fn empty(job: &Job) -> Self {
        Self {
            job: job.clone(),
            threads: 1,
            thread_numbers: Vec::new(),
            error: 0,
            error_text: None,
            runtime_ns: 0,
            by_direction: ByDirection::<DirectionResult>::default(),
            sync: Default::default(),
            usage: Usage::default(),
            depth: DepthCounts::default(),
            submitted: DepthCounts::default(),
            completed: DepthCounts::default(),
            latency_depth: None,
            steady: None,
            intervals: Vec::new(),
            bandwidth_log: Vec::new(),
            iops_log: Vec::new(),
            slat_log: Vec::new(),
            clat_log: Vec::new(),
            lat_log: Vec::new(),
            verify_failures: 0,
            failures: Failures::default(),
            reconnections: None,
            client_wait: None,
            notes: Vec::new(),
        }
    }
}

/// Holds the counters of a block device over the run, as fio's disk_util.
#[derive(Clone, Debug, Default)]
pub struct DiskUsage {
    pub name: String,
    pub ios: [u64; 2],
    /// Counts sectors of 512 bytes, whatever the drive's block size is.
    pub sectors: [u64; 2],
    pub merges: [u64; 2],
    pub ticks_ms: [u64; 2],
    pub in_queue_ms: u64,
    pub utilisation_percent: f64,
}

/// Describes the machine and its software, as far as they affect the figures.
#[derive(Clone, Debug, Default)]
pub struct Fingerprint(pub Vec<(String, String)>);

/// Holds the results of a whole run.
#[derive(Clone, Debug)]
pub struct Run {
    /// This is in milliseconds since 1970.
    pub started_unix_ms: u64,
    pub plan: super::spec::Plan,
    /// Holds the results by job, or by group with `group_reporting`.
    pub jobs: Vec<JobResult>,
    pub disks: Vec<DiskUsage>,
    pub fingerprint: Fingerprint,
    /// Says that a signal ended the run before everything was done.
    pub interrupted: bool,
}

impl Run {
    /// Returns the result of a run of one job.
    ///
    /// # Errors
    /// Returns what ended the job, as text.
    pub fn only_result(&self) -> Result<&JobResult, String> {
        if self.interrupted {
            return Err("interrupted".to_owned());
        }
        let result = self.jobs.first().ok_or("nothing was measured")?;
        if result.error == 0 && result.error_text.is_none() {
            return Ok(result);
        }
        Err(result.error_text.clone().unwrap_or_else(|| format!("errno {}", result.error)))
    }
}
