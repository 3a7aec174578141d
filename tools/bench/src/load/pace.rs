//! This module computes when operations are meant to start (open loop).
//!
//! Invariants:
//! - The intended start of an operation depends on the rate alone, never on when earlier ones
//!   completed. A backlog is the difference between the clock and the next intended start, and
//!   takes no memory.
//! - Starts are in nanoseconds from the beginning of the job.

use crate::spec::{Direction, Job, RateProcess};
use ringbolt_tool_common::random::Random;

/// Computes the intended starts of one direction.
#[derive(Clone, Debug)]
pub struct Pace {
    bytes_a_second: Option<u64>,
    ios_a_second: Option<u64>,
    process: RateProcess,
    bytes: u64,
    ios: u64,
    /// This is the start of the next operation, when gaps are random.
    drawn_start_ns: f64,
}

impl Pace {
    /// Creates the pace of a direction; returns `None` without a rate (closed loop).
    pub fn new(job: &Job, direction: Direction) -> Option<Self> {
        let (bytes_a_second, ios_a_second) = (*job.rate.get(direction), *job.rate_iops.get(direction));
        (bytes_a_second.is_some() || ios_a_second.is_some()).then_some(Self {
            bytes_a_second,
            ios_a_second,
            process: job.rate_process,
            bytes: 0,
            ios: 0,
            drawn_start_ns: 0.0,
        })
    }

    /// Returns the intended start of the next operation.
    pub fn next_start_ns(&self) -> u64 {
        match self.process {
            RateProcess::Linear => self.gap_ns(self.bytes, self.ios) as u64,
            RateProcess::Poisson => self.drawn_start_ns as u64,
        }
    }

    /// Records that the next operation, of this length, was taken.
    pub fn take(&mut self, length: u64, random: &mut Random) {
        self.bytes += length;
        self.ios += 1;
        if self.process == RateProcess::Poisson {
            self.drawn_start_ns += random.exponential(self.gap_ns(length, 1));
        }
    }

    /// Returns the time that this amount takes at the rate; with two rates, the longer one.
    fn gap_ns(&self, bytes: u64, ios: u64) -> f64 {
        let at = |amount: u64, rate: Option<u64>| {
            // The division comes last, so that whole results stay whole.
            rate.map_or(0.0, |rate| amount as f64 * 1e9 / rate.max(1) as f64)
        };
        at(bytes, self.bytes_a_second).max(at(ios, self.ios_a_second))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Next, Region, Source, Target};
    use crate::report::sample;
    use crate::spec::ByDirection;

    fn pace(bytes: Option<u64>, ios: Option<u64>, process: RateProcess) -> Pace {
        Pace { bytes_a_second: bytes, ios_a_second: ios, process, bytes: 0, ios: 0, drawn_start_ns: 0.0 }
    }

    #[test]
    fn linear_starts_keep_their_distance_without_drift() {
        let mut pace = pace(None, Some(3), RateProcess::Linear);
        let mut random = Random::new(1);
        let starts: Vec<u64> = (0..7)
            .map(|_| {
                let start = pace.next_start_ns();
                pace.take(4096, &mut random);
                start
            })
            .collect();
        assert_eq!(starts[..4], [0, 333_333_333, 666_666_666, 1_000_000_000]);
        assert_eq!(starts[6], 2_000_000_000);
    }

    #[test]
    fn bandwidth_spaces_by_length_and_the_slower_rate_counts() {
        let mut pace = pace(Some(1 << 20), Some(1000), RateProcess::Linear);
        let mut random = Random::new(1);
        pace.take(1 << 19, &mut random);
        assert_eq!(pace.next_start_ns(), 500_000_000);
        (0..999).for_each(|_| pace.take(0, &mut random));
        assert_eq!(pace.next_start_ns(), 1_000_000_000);
    }

    #[test]
    fn poisson_gaps_have_mean_and_deviation_of_an_exponential() {
        let mut pace = pace(None, Some(1000), RateProcess::Poisson);
        let mut random = Random::new(9);
        let (mut last, mut gaps) = (0, Vec::new());
        for _ in 0..100_000 {
            pace.take(1, &mut random);
            gaps.push((pace.next_start_ns() - last) as f64);
            last = pace.next_start_ns();
        }
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        let deviation = (gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
        assert!((mean / 1e6 - 1.0).abs() < 0.02, "{mean}");
        assert!((deviation / 1e6 - 1.0).abs() < 0.03, "{deviation}");
    }

    /// This takes an hour of operations from the source as a job does, on a clock that jumps to the
    /// next start. A run of some seconds says little about the mean: 2000 operations of a Poisson
    /// process vary by 45.
    #[test]
    fn an_hour_of_poisson_starts_has_the_rate_that_was_asked_for() {
        const HOUR_NS: u64 = 3_600_000_000_000;
        for (iops, seed) in [(200, 1), (200, 2), (200, 0x89), (1_000, 3), (37, 4)] {
            let mut job = sample::job("job", 0, true, false);
            job.rate_iops = ByDirection::same(Some(iops));
            job.rate_process = RateProcess::Poisson;
            job.seed = seed;
            job.io_size = Some(u64::MAX);
            let region = Region { start: 0, length: 1 << 20 };
            let mut source = Source::new(&job, 0, &Target::Files(vec![region])).expect("a source");
            let (mut now_ns, mut taken) = (0, 0_u64);
            while now_ns < HOUR_NS {
                match source.next(now_ns) {
                    Next::Work(work) => {
                        assert!(work.intended_ns.is_some_and(|due| due <= now_ns), "{work:?} at {now_ns}");
                        taken += 1;
                    }
                    Next::WaitUntil(due) => now_ns = due,
                    Next::Exhausted => source.restart(),
                }
            }
            let mean = taken as f64 / 3_600.0;
            assert!((mean / iops as f64 - 1.0).abs() < 0.01, "{mean} a second of {iops}, seed {seed}");
        }
    }

    /// Regression: gaps of 1428.57 ns were truncated to whole nanoseconds before they were drawn.
    #[test]
    fn a_high_rate_loses_nothing_to_rounding() {
        let mut pace = pace(None, Some(700_000_000), RateProcess::Poisson);
        let mut random = Random::new(5);
        (0..1_000_000).for_each(|_| pace.take(4096, &mut random));
        let mean_ns = pace.drawn_start_ns / 1e6;
        assert!((mean_ns * 0.7 - 1.0).abs() < 0.01, "{mean_ns} ns instead of 1.43");
    }
}
