//! This module searches for the greatest depth that meets a `latency_target`, one window per step.
//!
//! Invariant: `holds` < `fails`. The next depth to try lies between them, and the search ends when
//! they are neighbours. As in fio, the depth doubles from 1 while the target is met; then the range
//! is halved.

use crate::spec::LatencyTarget;

/// This is the outcome of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The search goes on with this depth.
    Depth(u32),
    /// The search is over. The value is the greatest depth that meets the target, or 0 if none
    /// does.
    Found(u32),
}

/// Holds the state of a search for the depth.
#[derive(Debug)]
pub struct DepthSearch {
    target: LatencyTarget,
    depth: u32,
    holds: u32,
    fails: u32,
    window_end_ns: u64,
    ios: u64,
    slow: u64,
}

impl DepthSearch {
    pub fn new(target: LatencyTarget, depth_max: u32, now_ns: u64) -> Self {
        let window_end_ns = now_ns + target.window_ns;
        Self { target, depth: 1, holds: 0, fails: depth_max + 1, window_end_ns, ios: 0, slow: 0 }
    }

    /// Returns the depth of the current window.
    pub fn depth(&self) -> u32 {
        self.depth
    }

    /// Returns the greatest depth so far that met the target.
    pub fn held(&self) -> u32 {
        self.holds
    }

    /// Counts an operation of the current window.
    #[inline]
    pub fn count(&mut self, latency_ns: u64) {
        self.ios += 1;
        self.slow += u64::from(latency_ns > self.target.target_ns);
    }

    /// Judges a window once it has ended; returns `None` before that.
    #[inline]
    pub fn check(&mut self, now_ns: u64) -> Option<Verdict> {
        if now_ns < self.window_end_ns || self.ios == 0 {
            return None;
        }
        let fast_percent = (self.ios - self.slow) as f64 * 100.0 / self.ios as f64;
        if fast_percent >= self.target.percentile {
            self.holds = self.depth;
        } else {
            self.fails = self.depth;
        }
        (self.ios, self.slow) = (0, 0);
        self.window_end_ns = now_ns + self.target.window_ns;
        if self.holds + 1 >= self.fails {
            return Some(Verdict::Found(self.holds));
        }
        let doubled = self.depth.saturating_mul(2);
        let is_climbing = self.holds == self.depth && doubled < self.fails;
        self.depth = if is_climbing { doubled } else { self.holds.midpoint(self.fails) };
        Some(Verdict::Depth(self.depth))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches on a drive whose latency is `step_ns` for each operation in flight, and returns the
    /// depth found.
    fn search(step_ns: u64, target_ns: u64, depth_max: u32) -> u32 {
        let target = LatencyTarget { target_ns, window_ns: 100, percentile: 99.0 };
        let mut search = DepthSearch::new(target, depth_max, 0);
        for window in 1..100 {
            let latency = u64::from(search.depth()) * step_ns;
            // One operation in 200 is slow at any depth.
            (0..199).for_each(|_| search.count(latency));
            search.count(u64::MAX);
            if let Some(Verdict::Found(depth)) = search.check(window * 100) {
                return depth;
            }
        }
        panic!("no end after 100 windows");
    }

    #[test]
    fn the_greatest_depth_that_holds_is_found() {
        assert_eq!(search(10, 375, 128), 37);
        assert_eq!(search(10, 10, 128), 1);
        assert_eq!(search(10, 9, 128), 0);
        assert_eq!(search(10, 100_000, 128), 128);
        assert_eq!(search(10, 100_000, 1), 1);
    }

    #[test]
    fn a_window_without_operations_says_nothing() {
        let target = LatencyTarget { target_ns: 10, window_ns: 100, percentile: 99.0 };
        let mut search = DepthSearch::new(target, 8, 0);
        assert_eq!(search.check(500), None);
        search.count(5);
        assert_eq!(search.check(50), None);
        assert_eq!(search.check(500), Some(Verdict::Depth(2)));
    }
}
