//! This module sums results over the threads of a group.
//!
//! Invariant: merging is commutative in all figures, and counts add up exactly.

use crate::result::{DepthCounts, DirectionResult, Interval, JobResult, LogEntry, Samples, Usage};
use crate::run::measure::INTERVAL_NS;
use crate::spec::Direction;

impl JobResult {
    /// Adds what another thread measured, as if one thread had measured both. The job stays, and so
    /// does an error that is already there.
    pub fn merge(&mut self, other: &Self) {
        self.threads += other.threads;
        self.thread_numbers.extend_from_slice(&other.thread_numbers);
        if self.error == 0 && self.error_text.is_none() {
            self.error = other.error;
            self.error_text.clone_from(&other.error_text);
        }
        self.runtime_ns = self.runtime_ns.max(other.runtime_ns);
        for direction in Direction::ALL {
            self.by_direction.get_mut(direction).merge(other.by_direction.get(direction));
        }
        self.sync.merge(&other.sync);
        self.usage.merge(&other.usage);
        self.depth.merge(&other.depth);
        self.submitted.merge(&other.submitted);
        self.completed.merge(&other.completed);
        self.latency_depth = self.latency_depth.max(other.latency_depth);
        if self.steady.is_none() {
            self.steady.clone_from(&other.steady);
        }
        merge_intervals(&mut self.intervals, &other.intervals);
        merge_log(&mut self.bandwidth_log, &other.bandwidth_log);
        merge_log(&mut self.iops_log, &other.iops_log);
        merge_log(&mut self.slat_log, &other.slat_log);
        merge_log(&mut self.clat_log, &other.clat_log);
        merge_log(&mut self.lat_log, &other.lat_log);
        self.verify_failures += other.verify_failures;
        self.failures.merge(&other.failures);
        self.reconnections = match (self.reconnections, other.reconnections) {
            (None, one) | (one, None) => one,
            (Some(one), Some(other)) => Some(one + other),
        };
        self.client_wait = self.client_wait.or(other.client_wait);
        for note in &other.notes {
            if !self.notes.contains(note) {
                self.notes.push(note.clone());
            }
        }
    }
}

impl DirectionResult {
    fn merge(&mut self, other: &Self) {
        self.bytes += other.bytes;
        self.ios += other.ios;
        self.short_ios += other.short_ios;
        self.failed_ios += other.failed_ios;
        self.cut_ios += other.cut_ios;
        self.runtime_ns = self.runtime_ns.max(other.runtime_ns);
        self.slat.merge(&other.slat);
        self.clat.merge(&other.clat);
        self.lat.merge(&other.lat);
        self.response.merge(&other.response);
        self.bandwidth.merge(&other.bandwidth);
        self.iops.merge(&other.iops);
    }
}

impl Samples {
    /// Adds samples of the same half second: the sum is the rate of both.
    fn merge(&mut self, other: &Self) {
        self.0.resize(self.0.len().max(other.0.len()), 0.0);
        self.0.iter_mut().zip(&other.0).for_each(|(sum, value)| *sum += value);
    }
}

impl DepthCounts {
    fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, count)| *sum += count);
    }
}

impl Usage {
    /// Adds CPU times and wall times: their quotient is the mean share of a core that each thread
    /// used.
    fn merge(&mut self, other: &Self) {
        self.user_ns += other.user_ns;
        self.system_ns += other.system_ns;
        self.context_switches += other.context_switches;
        self.major_faults += other.major_faults;
        self.minor_faults += other.minor_faults;
        self.wall_ns += other.wall_ns;
    }
}

fn merge_log(log: &mut Vec<LogEntry>, other: &[LogEntry]) {
    log.extend_from_slice(other);
    log.sort_by_key(|entry| entry.at_ms);
}

fn merge_intervals(intervals: &mut Vec<Interval>, other: &[Interval]) {
    let longest_ns = intervals.iter().chain(other).map(|interval| interval.length_ns).max().unwrap_or(0);
    // Intervals are this wide or shorter: the first begins, and the last ends, with the job.
    let mut common = INTERVAL_NS;
    while common < longest_ns {
        common *= 2;
    }
    intervals.extend_from_slice(other);
    intervals.sort_by_key(|interval| interval.start_ns);
    coarsen(intervals, common);
}

/// Joins intervals, ordered by start, that lie in the same span of `width_ns`. The joined interval
/// begins and ends with its parts, not with the span.
pub fn coarsen(intervals: &mut Vec<Interval>, width_ns: u64) {
    let slot = |interval: &Interval| interval.start_ns / width_ns.max(1);
    let mut joined: Vec<Interval> = Vec::with_capacity(intervals.len());
    for interval in intervals.drain(..) {
        match joined.last_mut() {
            Some(last) if slot(last) == slot(&interval) => {
                let end_ns = (last.start_ns + last.length_ns).max(interval.start_ns + interval.length_ns);
                last.length_ns = end_ns - last.start_ns;
                for direction in Direction::ALL {
                    let (into, from) =
                        (last.by_direction.get_mut(direction), interval.by_direction.get(direction));
                    into.ios += from.ios;
                    into.bytes += from.bytes;
                    into.latencies.merge(&from.latencies);
                }
            }
            _ => joined.push(interval),
        }
    }
    for interval in &mut joined {
        Direction::ALL.into_iter().for_each(|of| interval.by_direction.get_mut(of).latencies.compact());
    }
    *intervals = joined;
}
