//! This module implements `steadystate`: a job ends once its rate, over a window, no longer
//! changes.
//!
//! Each thread stores the sum of each sample's span in its telemetry. The spans of all threads are
//! the same, because the threads of a job begin at one gate. The scheduler adds up the samples of
//! the threads that are judged together.
//!
//! Invariant: a window that is not full, or in which nothing was done, is never steady.

use crate::spec::{Steady, SteadyMetric};
use std::collections::VecDeque;

/// Counts the operations and bytes of one thread in the span of one sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    pub ios: u64,
    pub bytes: u64,
}

/// Holds the figures of the window: fio's `steadystate` of a report.
#[derive(Clone, Debug, PartialEq)]
pub struct SteadyReport {
    pub settings: Steady,
    pub attained: bool,
    /// This is the largest deviation from the mean, in operations or bytes per second; `slope` is
    /// the same per sample.
    pub deviation: f64,
    pub slope: f64,
    /// Holds the rates of the window per second, the latest last; `bytes` likewise.
    pub iops: Vec<f64>,
    pub bytes: Vec<f64>,
}

impl SteadyReport {
    /// Returns the judged figure: in per cent of the window's mean if the limit is, otherwise in
    /// operations or bytes per second.
    pub fn criterion(&self) -> f64 {
        let judged = if self.settings.slope { self.slope.abs() } else { self.deviation };
        if self.settings.percent {
            judged / mean(self.judged()).max(f64::MIN_POSITIVE) * 100.0
        } else {
            judged
        }
    }

    fn judged(&self) -> &[f64] {
        match self.settings.metric {
            SteadyMetric::Iops => &self.iops,
            SteadyMetric::Bandwidth => &self.bytes,
        }
    }
}

/// Holds the window of the threads that are judged together.
#[derive(Debug)]
pub struct Window {
    settings: Steady,
    samples: VecDeque<Sample>,
    attained: Option<SteadyReport>,
}

impl Window {
    pub fn new(settings: Steady) -> Self {
        Self { settings, samples: VecDeque::new(), attained: None }
    }

    /// Adds what all threads did in the span of a sample. Returns true when the window has become
    /// steady.
    pub fn add(&mut self, sample: Sample) -> bool {
        if self.attained.is_some() {
            return false;
        }
        if self.samples.len() == self.capacity() {
            self.samples.pop_front();
        }
        self.samples.push_back(sample);
        let report = self.report();
        // A drive that does nothing is not steady.
        let is_full = self.samples.len() == self.capacity() && mean(report.judged()) > 0.0;
        let is_steady = is_full && report.criterion() < self.settings.limit;
        self.attained = is_steady.then_some(SteadyReport { attained: true, ..report });
        is_steady
    }

    fn capacity(&self) -> usize {
        (self.settings.window_ns / self.settings.interval_ns).max(2) as usize
    }

    /// Returns the figures of the window as it is, or as it was when it became steady.
    pub fn report(&self) -> SteadyReport {
        if let Some(attained) = &self.attained {
            return attained.clone();
        }
        let seconds = self.settings.interval_ns as f64 / 1e9;
        let of = |part: fn(&Sample) -> u64| -> Vec<f64> {
            self.samples.iter().map(|sample| part(sample) as f64 / seconds).collect()
        };
        let (iops, bytes) = (of(|sample| sample.ios), of(|sample| sample.bytes));
        let judged = match self.settings.metric {
            SteadyMetric::Iops => &iops,
            SteadyMetric::Bandwidth => &bytes,
        };
        let mean = mean(judged);
        let deviation = judged.iter().map(|value| (value - mean).abs()).fold(0.0, f64::max);
        let slope = slope(judged);
        SteadyReport { settings: self.settings, attained: false, deviation, slope, iops, bytes }
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Returns the slope of the least-squares line through the values, per value; 0 for fewer than two.
fn slope(values: &[f64]) -> f64 {
    let middle = (values.len().max(1) - 1) as f64 / 2.0;
    let mean = mean(values);
    let places = || values.iter().enumerate().map(|(at, value)| (at as f64 - middle, value - mean));
    let squares: f64 = places().map(|(at, _)| at * at).sum();
    if squares == 0.0 { 0.0 } else { places().map(|(at, above)| at * above).sum::<f64>() / squares }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(limit: f64, slope: bool) -> Window {
        Window::new(Steady {
            metric: SteadyMetric::Iops,
            slope,
            limit,
            percent: true,
            window_ns: 4_000_000_000,
            ramp_ns: 0,
            interval_ns: 1_000_000_000,
        })
    }

    fn steady_at(window: &mut Window, ios: &[u64]) -> Option<usize> {
        ios.iter().position(|ios| window.add(Sample { ios: *ios, bytes: *ios * 4096 }))
    }

    #[test]
    fn a_full_window_whose_deviation_is_small_is_steady() {
        let mut falling = window(5.0, false);
        assert_eq!(steady_at(&mut falling, &[1000, 1000, 1000]), None, "it is not full");
        assert_eq!(steady_at(&mut falling, &[500, 505, 498, 501, 502]), Some(3));
        let report = falling.report();
        assert!(report.attained && report.criterion() < 5.0, "{report:?}");
        assert_eq!(report.iops, [500.0, 505.0, 498.0, 501.0], "what came after it does not count");
        assert_eq!(report.bytes[0], 500.0 * 4096.0);
    }

    #[test]
    fn a_slope_lets_what_goes_up_and_down_pass() {
        let swinging = [100, 140, 140, 100, 100, 140, 140, 100];
        assert_eq!(steady_at(&mut window(5.0, false), &swinging), None);
        assert_eq!(steady_at(&mut window(5.0, true), &swinging), Some(3));
        let rising: Vec<u64> = (1..40).map(|at| 100 * at).collect();
        assert_eq!(steady_at(&mut window(2.0, true), &rising), None);
        assert!((slope(&[1.0, 3.0, 5.0]) - 2.0).abs() < 1e-12);
        assert_eq!((slope(&[]), slope(&[4.0])), (0.0, 0.0));
    }

    #[test]
    fn what_stands_still_is_not_steady() {
        let mut idle = window(1.0, false);
        assert_eq!(steady_at(&mut idle, &[0, 0, 0, 0, 0]), None);
        assert_eq!(idle.report().criterion(), 0.0);
        assert_eq!(steady_at(&mut idle, &[9, 9, 9, 9]), Some(3));
    }
}
