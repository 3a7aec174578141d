//! How far a run is.
//!
//! Invariant: a thread only stores here, a handful of words ten times a second; whoever watches only loads.

use super::steady::Sample;
use crate::result::{JobResult, Run};
use crate::spec::{ByDirection, Direction};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// How often it is looked at.
pub const TICK_NS: u64 = 500_000_000;

/// What a job is at.
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

/// Now, in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rate {
    pub bytes_a_second: f64,
    pub ios_a_second: f64,
}

/// Of one job: the least of its threads' phases, the mean of how far they are, the sum of their rates.
#[derive(Clone, Debug)]
pub struct JobStatus {
    pub name: String,
    pub threads: u32,
    pub phase: Phase,
    /// From 0 to 1, of the phase.
    pub fraction: f64,
    pub rate: ByDirection<Rate>,
}

/// Of a whole run, twice a second.
#[derive(Clone, Debug, Default)]
pub struct Status {
    pub elapsed_ns: u64,
    /// Until the jobs that run now will have ended; None: not known.
    pub left_ns: Option<u64>,
    pub jobs: Vec<JobStatus>,
}

/// Whoever shows a run while it goes on.
pub trait Watcher {
    fn status(&mut self, _status: &Status) {}

    /// The results so far, at `--status-interval`.
    fn interim(&mut self, _run: &Run) {}

    /// Something that the figures do not say.
    fn note(&mut self, _job: &str, _text: &str) {}
}

/// Nobody looks.
#[derive(Debug, Default)]
pub struct Unwatched;

impl Watcher for Unwatched {}

/// What a thread says of itself.
#[derive(Debug, Default)]
pub struct Telemetry {
    phase: AtomicU8,
    /// Millionths.
    fraction: AtomicU32,
    bytes: [AtomicU64; 3],
    ios: [AtomicU64; 3],
    pub wants_snapshot: AtomicBool,
    /// The thread has done enough: its job is steady.
    pub enough: AtomicBool,
    /// What the thread did in the span of each sample of `steadystate`.
    samples: Mutex<Vec<Sample>>,
    snapshot: Mutex<Option<JobResult>>,
}

impl Telemetry {
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

    pub fn set_counts(&self, result: &JobResult) {
        for (at, direction) in Direction::ALL.into_iter().enumerate() {
            let from = result.by_direction.get(direction);
            self.bytes[at].store(from.bytes, Ordering::Relaxed);
            self.ios[at].store(from.ios, Ordering::Relaxed);
        }
    }

    /// Bytes and operations of each direction.
    pub fn counts(&self) -> [(u64, u64); 3] {
        std::array::from_fn(|at| {
            (self.bytes[at].load(Ordering::Relaxed), self.ios[at].load(Ordering::Relaxed))
        })
    }

    /// Adds the next sample of `steadystate`.
    pub fn add_sample(&self, sample: Sample) {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
    }

    /// The sample at this place, if it was taken.
    pub fn sample(&self, at: usize) -> Option<Sample> {
        self.samples.lock().unwrap_or_else(PoisonError::into_inner).get(at).copied()
    }

    pub fn give_snapshot(&self, result: JobResult) {
        *self.snapshot.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        self.wants_snapshot.store(false, Ordering::Release);
    }

    pub fn latest_snapshot(&self) -> Option<JobResult> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
