//! This module computes what the text, JSON and terse reports have in common: spreads, the latency
//! distribution, sums of groups.
//!
//! Invariant: units of lines, and the totals of shares, follow fio's rules, because people compare
//! the two.

use crate::result::{DepthCounts, JobResult, Latencies, Run, Samples};
use crate::spec::{ByDirection, Direction, Steady, SteadyMetric};
use ringbolt_tool_common::number::{per_second, percent};
use std::collections::BTreeMap;

/// Holds the smallest and largest value, the mean, and the standard deviation.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Spread {
    pub count: u64,
    pub min: u64,
    pub max: u64,
    pub mean: f64,
    pub deviation: f64,
}

impl Spread {
    /// Computes the spread of latencies in nanoseconds.
    pub fn of_latencies(latencies: &Latencies) -> Self {
        Self {
            count: latencies.count(),
            min: latencies.min_ns(),
            max: latencies.max_ns(),
            mean: latencies.mean_ns(),
            deviation: latencies.deviation_ns(),
        }
    }

    /// Computes the spread of samples; the deviation divides by n - 1.
    pub fn of_samples(samples: &Samples) -> Self {
        let values: Vec<f64> = samples.0.iter().copied().filter(|value| value.is_finite()).collect();
        if values.is_empty() {
            return Self::default();
        }
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let deviation = if values.len() > 1 { (squares / (values.len() - 1) as f64).sqrt() } else { 0.0 };
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let most = values.iter().copied().fold(0.0, f64::max);
        Self { count: values.len() as u64, min: least as u64, max: most as u64, mean, deviation }
    }

    /// Returns the unit in which the whole line stays readable.
    pub fn unit(&self) -> TimeUnit {
        if self.min > 2_000_000 && self.max > 99_999_999 && self.deviation > 1e6 {
            TimeUnit::Milli
        } else if self.min > 2_000 && self.max > 99_999 && self.deviation > 1e3 {
            TimeUnit::Micro
        } else {
            TimeUnit::Nano
        }
    }
}

/// This is the unit of a line of latencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeUnit {
    Nano,
    Micro,
    Milli,
}

impl TimeUnit {
    /// Returns the nanoseconds of the unit.
    pub fn nanoseconds(self) -> u64 {
        match self {
            Self::Nano => 1,
            Self::Micro => 1_000,
            Self::Milli => 1_000_000,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Nano => "nsec",
            Self::Micro => "usec",
            Self::Milli => "msec",
        }
    }

    /// Returns the unit for a block of percentiles from the smallest to the largest.
    pub fn of_percentiles(least: u64, most: u64) -> Self {
        if least > 2_000_000 && most > 99_999_999 {
            Self::Milli
        } else if least > 2_000 && most > 99_999 {
            Self::Micro
        } else {
            Self::Nano
        }
    }
}

/// Returns the mean bytes per operation of the directions that have operations.
pub fn mean_bytes(result: &JobResult) -> impl Iterator<Item = (Direction, f64)> + '_ {
    let counted = Direction::ALL.into_iter().map(|of| (of, result.by_direction.get(of)));
    counted
        .filter(|(_, counted)| counted.ios > 0)
        .map(|(of, counted)| (of, counted.bytes as f64 / counted.ios as f64))
}

/// Returns the name of the criterion of `steadystate`.
pub fn steady_name(settings: &Steady) -> &'static str {
    match (settings.metric, settings.slope) {
        (SteadyMetric::Iops, false) => "iops",
        (SteadyMetric::Iops, true) => "iops_slope",
        (SteadyMetric::Bandwidth, false) => "bw",
        (SteadyMetric::Bandwidth, true) => "bw_slope",
    }
}

/// Holds the upper ends of the distribution's classes, in their unit; milliseconds have two more
/// classes.
pub const CLASS_ENDS: [u64; 10] = [2, 4, 10, 20, 50, 100, 250, 500, 750, 1000];

/// Holds the distribution of completion latencies in per cent of all operations: below 1 us, below
/// 1 ms, the rest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LatencyClasses {
    pub nano: [f64; 10],
    pub micro: [f64; 10],
    pub milli: [f64; 12],
}

impl LatencyClasses {
    /// Computes the distribution over all directions of a result.
    pub fn of(result: &JobResult) -> Self {
        let mut counts = Self::default();
        let mut total = 0.0;
        for direction in Direction::ALL {
            for (nanoseconds, count) in result.by_direction.get(direction).clat.bins() {
                *counts.class_of(nanoseconds) += count as f64;
                total += count as f64;
            }
        }
        let classes = counts.nano.iter_mut().chain(&mut counts.micro).chain(&mut counts.milli);
        for class in classes.filter(|class| **class > 0.0) {
            // A class that is not empty is never shown as 0.
            *class = percent(*class, total).max(0.01);
        }
        counts
    }

    fn class_of(&mut self, nanoseconds: u64) -> &mut f64 {
        let position = |value: u64| CLASS_ENDS.iter().position(|end| value < *end);
        match nanoseconds {
            0..1_000 => &mut self.nano[position(nanoseconds).unwrap_or(9)],
            1_000..1_000_000 => &mut self.micro[position(nanoseconds / 1_000).unwrap_or(9)],
            _ => {
                let milliseconds = nanoseconds / 1_000_000;
                let beyond = if milliseconds < 2_000 { 10 } else { 11 };
                &mut self.milli[position(milliseconds).unwrap_or(beyond)]
            }
        }
    }
}

/// Returns counts of depths in per cent of their sum; a count that is not 0 gives at least 0.1.
pub fn depth_percent(counts: &DepthCounts) -> [f64; 7] {
    let total: u64 = counts.0.iter().sum();
    counts.0.map(|count| if count == 0 { 0.0 } else { percent(count as f64, total as f64).max(0.1) })
}

/// Returns the user and system CPU time of a job's threads in per cent of one thread's time.
pub fn cpu_percent(result: &JobResult) -> (f64, f64) {
    let wall = result.usage.wall_ns as f64;
    (percent(result.usage.user_ns as f64, wall), percent(result.usage.system_ns as f64, wall))
}

/// Sums one direction of a group, over the results that are reported for it.
#[derive(Clone, Copy, Debug, Default)]
pub struct GroupSum {
    pub bytes: u64,
    /// This is in bytes per second: all bytes over the longest run time.
    pub rate: u64,
    pub rate_min: u64,
    pub rate_max: u64,
    pub runtime_ms_min: u64,
    pub runtime_ms_max: u64,
}

impl GroupSum {
    fn add(&mut self, bytes: u64, runtime_ns: u64) {
        let rate = per_second(bytes, runtime_ns) as u64;
        let runtime_ms = milliseconds(runtime_ns);
        let first = self.runtime_ms_max == 0;
        self.rate_min = if first { rate } else { self.rate_min.min(rate) };
        self.runtime_ms_min = if first { runtime_ms } else { self.runtime_ms_min.min(runtime_ms) };
        self.rate_max = self.rate_max.max(rate);
        self.runtime_ms_max = self.runtime_ms_max.max(runtime_ms);
        self.bytes += bytes;
    }

    /// Returns the share of a mean of samples, in KiB/s, in the group's rate, in per cent and at
    /// most 100.
    pub fn share(&self, mean_kib: f64) -> f64 {
        if self.rate <= 1024 { 100.0 } else { percent(mean_kib, self.rate as f64 / 1024.0).min(100.0) }
    }
}

/// Returns the groups of a run by their number.
pub fn groups(run: &Run) -> BTreeMap<usize, ByDirection<GroupSum>> {
    let mut groups: BTreeMap<usize, ByDirection<GroupSum>> = BTreeMap::new();
    let mut longest_ns: BTreeMap<(usize, Direction), u64> = BTreeMap::new();
    for result in &run.jobs {
        let group = groups.entry(result.job.group).or_default();
        for direction in Direction::ALL {
            let measured = result.by_direction.get(direction);
            if measured.runtime_ns > 0 && measured.ios > 0 {
                group.get_mut(direction).add(measured.bytes, measured.runtime_ns);
                let longest = longest_ns.entry((result.job.group, direction)).or_default();
                *longest = (*longest).max(measured.runtime_ns);
            }
        }
    }
    for ((group, direction), nanoseconds) in longest_ns {
        let sum = groups.entry(group).or_default().get_mut(direction);
        sum.rate = per_second(sum.bytes, nanoseconds) as u64;
    }
    groups
}

/// Returns whole milliseconds, and 1 for a shorter time that is not 0, because 0 means that nothing
/// ran.
pub fn milliseconds(nanoseconds: u64) -> u64 {
    if nanoseconds == 0 { 0 } else { (nanoseconds / 1_000_000).max(1) }
}

/// Returns the percentiles of a job in ascending order; fio's defaults if none are given.
pub fn percentiles(given: &[f64]) -> Vec<f64> {
    let mut wanted: Vec<f64> = if given.is_empty() { DEFAULT_PERCENTILES.to_vec() } else { given.to_vec() };
    wanted.retain(|percent| (0.0..=100.0).contains(percent));
    wanted.sort_by(f64::total_cmp);
    wanted
}

pub const DEFAULT_PERCENTILES: [f64; 17] =
    [1.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn latencies_fall_into_fios_classes() {
        let mut classes = LatencyClasses::default();
        for (nanoseconds, expected) in [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (749, 8), (750, 9), (999, 9)]
        {
            classes = LatencyClasses::default();
            *classes.class_of(nanoseconds) += 1.0;
            assert_eq!(classes.nano[expected], 1.0, "{nanoseconds} ns");
        }
        *classes.class_of(1_999) += 1.0;
        assert_eq!(classes.micro[0], 1.0);
        for (milliseconds, expected) in [(1, 0), (2, 1), (999, 9), (1_000, 10), (1_999, 10), (2_000, 11)] {
            classes = LatencyClasses::default();
            *classes.class_of(milliseconds * 1_000_000) += 1.0;
            assert_eq!(classes.milli[expected], 1.0, "{milliseconds} ms");
        }
    }

    #[test]
    fn classes_are_shares_of_all_operations() {
        let run = sample::run();
        let classes = LatencyClasses::of(&run.jobs[0]);
        let sum: f64 = classes.nano.iter().chain(&classes.micro).chain(&classes.milli).sum();
        assert!((sum - 100.0).abs() < 0.2, "{sum}");
    }

    #[test]
    fn samples_have_the_deviation_of_a_sample() {
        let spread = Spread::of_samples(&Samples(vec![2.0, 4.0, 4.0, 6.0]));
        assert_eq!((spread.min, spread.max, spread.mean), (2, 6, 4.0));
        assert!((spread.deviation - (8.0_f64 / 3.0).sqrt()).abs() < 1e-12);
        assert_eq!(Spread::of_samples(&Samples::default()), Spread::default());
        assert_eq!(Spread::of_samples(&Samples(vec![5.0])).deviation, 0.0);
    }

    #[test]
    fn a_group_is_as_fast_as_all_its_bytes_over_its_longest_run() {
        let run = sample::run();
        let groups = groups(&run);
        let reads = groups[&0].read;
        assert_eq!(reads.bytes, run.jobs[0].by_direction.read.bytes);
        assert_eq!(reads.rate, reads.rate_max);
        assert!((reads.share(reads.rate as f64 / 2048.0) - 50.0).abs() < 1.0);
        assert_eq!(groups[&0].trim.runtime_ms_max, 0);
    }
}
