//! This module generates runs for the tests of the reports. They are invented, but shaped like
//! measurements, and the same each time. The module is also part of `examples/report_samples.rs`,
//! which writes them for programs in other languages.
//!
//! Invariant: what must add up does: intervals sum to the totals, and depth counts to the
//! operations.

use crate::result::{
    DepthCounts, DirectionResult, DiskUsage, Fingerprint, Interval, IntervalCounts, JobResult, Latencies,
    LogEntry, Run, Usage,
};
use crate::spec::{ByDirection, Direction, Engine, Job, Pattern, Plan};
use std::collections::BTreeMap;

const INTERVALS: u64 = 20;
const INTERVAL_NS: u64 = 500_000_000;

/// Returns two jobs after one another: a random mix of reads and writes with a stall, then writes
/// with flushes.
pub fn run() -> Run {
    let mixed =
        result(job("mixed", 0, true, true), &[(Direction::Read, 5_000), (Direction::Write, 2_000)], 1.0);
    let mut writes = result(job("writes", 1, false, true), &[(Direction::Write, 1_000)], 1.0);
    for index in 0..500 {
        writes.sync.record(300_000 + index * 1_000);
    }
    let jobs = vec![mixed, writes];
    Run {
        started_unix_ms: 1_795_275_389_534,
        plan: Plan {
            global: BTreeMap::from([("direct".to_owned(), "1".to_owned())]),
            jobs: jobs.iter().map(|result| result.job.clone()).collect(),
        },
        jobs,
        disks: vec![DiskUsage {
            name: "vda".to_owned(),
            ios: [100_000, 60_000],
            sectors: [800_000, 480_000],
            merges: [3, 4],
            ticks_ms: [5_000, 6_000],
            in_queue_ms: 11_000,
            utilisation_percent: 99.5,
        }],
        fingerprint: Fingerprint(vec![("kernel".to_owned(), "6.1 <test> & more".to_owned())]),
        interrupted: false,
    }
}

/// Returns the same run with every latency and every count of an interval multiplied.
pub fn run_scaled(latency: f64, rate: f64) -> Run {
    let mut run = run();
    let reads = [(Direction::Read, (5_000.0 * rate) as u64), (Direction::Write, 2_000)];
    run.jobs[0] = result(job("mixed", 0, true, true), &reads, latency);
    run
}

/// Returns a run with a rate: it has response times besides service times, and a stall of one
/// second in the middle.
pub fn run_with_rate() -> Run {
    let mut run = run();
    let job = &mut run.jobs[0];
    job.job.rate_iops = ByDirection::same(Some(10_000));
    for direction in [Direction::Read, Direction::Write] {
        let measured = job.by_direction.get_mut(direction);
        measured.response = measured.clat.clone();
        for waited in 1..1_000 {
            measured.response.record(waited * 1_000_000);
        }
    }
    run
}

fn result(job: Job, rates: &[(Direction, u64)], latency: f64) -> JobResult {
    let mut chance = Chance(0x9E37_79B9_7F4A_7C15 ^ job.name.len() as u64);
    let mut by_direction: ByDirection<DirectionResult> = ByDirection::default();
    let mut intervals = Vec::new();
    let mut ios_all = 0;
    for index in 0..INTERVALS {
        let mut interval = Interval {
            start_ns: index * INTERVAL_NS,
            length_ns: INTERVAL_NS,
            by_direction: ByDirection::default(),
        };
        for (direction, per_interval) in rates {
            let ios = per_interval + chance.below(per_interval / 10 + 1);
            // In one interval the device is busy with itself.
            let slow = if index == INTERVALS / 2 { 8.0 } else { 1.0 };
            let measured = by_direction.get_mut(*direction);
            let counts = fill(measured, ios, latency * slow, &mut chance);
            *interval.by_direction.get_mut(*direction) = counts;
            ios_all += ios;
        }
        intervals.push(interval);
    }
    for (direction, _) in rates {
        by_direction.get_mut(*direction).runtime_ns = INTERVALS * INTERVAL_NS;
    }
    let thread = job.group as u32 + 1;
    let logs = log_entries(&intervals, thread);
    JobResult {
        job,
        threads: 1,
        thread_numbers: vec![thread],
        error: 0,
        error_text: None,
        runtime_ns: INTERVALS * INTERVAL_NS,
        by_direction,
        sync: Latencies::default(),
        usage: Usage {
            user_ns: 1_000_000_000,
            system_ns: 2_500_000_000,
            context_switches: 12_345,
            major_faults: 1,
            minor_faults: 23,
            wall_ns: INTERVALS * INTERVAL_NS,
        },
        depth: DepthCounts([ios_all / 10, 0, 0, 0, 0, ios_all - ios_all / 10, 0]),
        submitted: DepthCounts([0, ios_all, 0, 0, 0, 0, 0]),
        completed: DepthCounts([0, ios_all - 1, 1, 0, 0, 0, 0]),
        steady: None,
        latency_depth: None,
        intervals,
        bandwidth_log: logs.clone(),
        iops_log: logs.clone(),
        slat_log: logs.clone(),
        clat_log: logs.clone(),
        lat_log: logs,
        verify_failures: 0,
        failures: Default::default(),
        reconnections: None,
        client_wait: None,
        notes: Vec::new(),
    }
}

/// Adds the operations of one interval, also to the totals.
fn fill(measured: &mut DirectionResult, ios: u64, latency: f64, chance: &mut Chance) -> IntervalCounts {
    let mut latencies = Latencies::default();
    for _ in 0..ios {
        let nanoseconds = (chance.latency_ns() * latency) as u64;
        measured.slat.record(1_500);
        measured.clat.record(nanoseconds);
        measured.lat.record(nanoseconds + 1_500);
        latencies.record(nanoseconds);
    }
    let bytes = ios * 4096;
    measured.ios += ios;
    measured.bytes += bytes;
    let per_second = 1e9 / INTERVAL_NS as f64;
    measured.iops.0.push(ios as f64 * per_second);
    measured.bandwidth.0.push(bytes as f64 / 1024.0 * per_second);
    IntervalCounts { ios, bytes, latencies }
}

fn log_entries(intervals: &[Interval], thread: u32) -> Vec<LogEntry> {
    let entry = |(index, interval): (usize, &Interval)| LogEntry {
        at_ms: (interval.start_ns + interval.length_ns) / 1_000_000,
        value: 1_000 + index as u64,
        direction: if index % 2 == 0 { Direction::Read } else { Direction::Write },
        block_bytes: 4096,
        offset: index as u64 * 8192,
        thread,
    };
    intervals.iter().enumerate().map(entry).collect()
}

/// Generates random numbers by xorshift, because the tests need the same ones each time.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Draws a latency of about 80 us, with a tail up to some milliseconds.
    fn latency_ns(&mut self) -> f64 {
        let sum: f64 = (0..4).map(|_| self.fraction()).sum();
        let body = 80_000.0 * (sum - 2.0).mul_add(0.8, 0.0).exp();
        if self.below(500) == 0 { body * (5.0 + 40.0 * self.fraction()) } else { body }
    }
}

/// Returns a job of an io_uring file.
pub fn job(name: &str, group: usize, reads: bool, writes: bool) -> Job {
    let rw = if reads { "randrw" } else { "randwrite" };
    let given = [("name", name), ("rw", rw), ("bs", "4k"), ("iodepth", "32"), ("numjobs", "1")];
    Job {
        given: given.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        stage: group,
        group,
        pattern: Pattern { reads, writes, trims: false, random: true },
        size: Some(1 << 30),
        depth: 32,
        read_percent: 70,
        runtime_ns: Some(INTERVALS * INTERVAL_NS),
        time_based: true,
        // An empty list stands for fio's.
        percentiles: Vec::new(),
        ..Job::plain(name, Engine::IoUring)
    }
}
