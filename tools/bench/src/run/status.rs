//! This module shows the progress of a run.
//!
//! Invariant: a thread only stores here, a few words ten times a second; whoever watches only
//! loads.

use super::steady::Sample;
use crate::result::{JobResult, Run};
use crate::spec::{ByDirection, Direction};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The status is updated at this interval.
pub const TICK_NS: u64 = 500_000_000;

/// Says what a job is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Waiting,
    LayingOut,
    Ramping,
    Running,
    Verifying,
    Done,
}

impl Phase {
    const ALL: [Self; 6] =
        [Self::Waiting, Self::LayingOut, Self::Ramping, Self::Running, Self::Verifying, Self::Done];
}

/// Holds the current rate of one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    pub bytes_a_second: f64,
    pub ios_a_second: f64,
}

/// Holds the status of one job: the earliest of its threads' phases, the mean of their progress,
/// and the sum of their rates.
#[derive(Clone, Debug)]
pub struct JobStatus {
    pub name: String,
    pub threads: u32,
    pub phase: Phase,
    /// This is the progress within the phase, from 0 to 1.
    pub fraction: f64,
    pub rate: ByDirection<Rate>,
}

/// Holds the status of a whole run; it is updated twice a second.
#[derive(Clone, Debug, Default)]
pub struct Status {
    pub elapsed_ns: u64,
    /// This is the time until the running jobs will have ended; `None` if it is not known.
    pub left_ns: Option<u64>,
    pub jobs: Vec<JobStatus>,
}

/// Shows a run while it lasts.
pub trait Watcher {
    fn status(&mut self, _status: &Status) {}

    /// Receives the results so far, at `--status-interval`.
    fn interim(&mut self, _run: &Run) {}

    /// Receives a note that the figures do not show.
    fn note(&mut self, _job: &str, _text: &str) {}
}

/// Ignores the status of a run.
#[derive(Debug, Default)]
pub struct Unwatched;

impl Watcher for Unwatched {}

/// Holds what a thread reports about itself.
#[derive(Debug, Default)]
pub struct Telemetry {
    phase: AtomicU8,
    /// This is in millionths.
    fraction: AtomicU32,
    bytes: [AtomicU64; 3],
    ios: [AtomicU64; 3],
    pub wants_snapshot: AtomicBool,
    /// Tells the thread to end, because its job is steady.
    pub enough: AtomicBool,
    /// Holds what the thread did in the span of each sample of `steadystate`.
    samples: Mutex<Vec<Sample>>,
    snapshot: Mutex<Option<JobResult>>,
}

impl Telemetry {
    /// Sets the phase, and its progress to 0.
    pub fn set_phase(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
        self.set_fraction(0.0);
    }

    pub fn phase(&self) -> Phase {
        Phase::ALL[usize::from(self.phase.load(Ordering::Relaxed)).min(Phase::ALL.len() - 1)]
    }

    pub fn set_fraction(&self, fraction: f64) {
        self.fraction.store((fraction.clamp(0.0, 1.0) * 1e6) as u32, Ordering::Relaxed);
    }

    pub fn fraction(&self) -> f64 {
        f64::from(self.fraction.load(Ordering::Relaxed)) / 1e6
    }

    /// Stores the bytes and operations of a result.
    pub fn set_counts(&self, result: &JobResult) {
        for (at, direction) in Direction::ALL.into_iter().enumerate() {
            let from = result.by_direction.get(direction);
            self.bytes[at].store(from.bytes, Ordering::Relaxed);
            self.ios[at].store(from.ios, Ordering::Relaxed);
        }
    }

    /// Returns bytes and operations of each direction.
    pub fn counts(&self) -> [(u64, u64); 3] {
        std::array::from_fn(|at| {
            (self.bytes[at].load(Ordering::Relaxed), self.ios[at].load(Ordering::Relaxed))
        })
    }

    /// Adds the next sample of `steadystate`.
    pub fn add_sample(&self, sample: Sample) {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
    }

    /// Returns the sample with this index, if it was taken.
    pub fn sample(&self, at: usize) -> Option<Sample> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).get(at).copied()
    }

    /// Stores a snapshot of the results, which was requested by `wants_snapshot`.
    pub fn give_snapshot(&self, result: JobResult) {
        *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        self.wants_snapshot.store(false, Ordering::Release);
    }

    pub fn latest_snapshot(&self) -> Option<JobResult> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
