//! This module counts what was checked, and reports the progress of a long run.

use std::fmt;
use std::time::{Duration, Instant};

/// This is the minimum time between two lines.
const PAUSE: Duration = Duration::from_secs(10);

#[derive(Debug, Default)]
pub struct Counts {
    pub recordings: usize,
    pub acknowledged: usize,
    pub writes: usize,
    pub flushes: usize,
    pub cuts: usize,
    pub drives: usize,
    pub open_writes: usize,
    pub real_files: usize,
    pub objects: usize,
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "recordings {}: acknowledged changes {}, writes {}, flushes {}; places cut {}, \
             writes open at a place {:.1} on average, drives recovered {}, of them also as real files {}, \
             objects compared {}",
            self.recordings,
            self.acknowledged,
            self.writes,
            self.flushes,
            self.cuts,
            self.open_writes as f64 / self.cuts.max(1) as f64,
            self.drives,
            self.real_files,
            self.objects,
        )
    }
}

/// Reports the progress of one recording.
pub struct Progress {
    places: usize,
    /// Counts the drives of earlier recordings.
    drives_before: usize,
    started: Instant,
    printed: Instant,
}

impl Progress {
    pub fn new(places: usize, counts: &Counts) -> Self {
        let now = Instant::now();
        Self { places, drives_before: counts.drives, started: now, printed: now }
    }

    /// Prints a line if the last one was long ago.
    pub fn tell(&mut self, seed: u64, done: usize, counts: &Counts) {
        if self.printed.elapsed() < PAUSE {
            return;
        }
        self.printed = Instant::now();
        let (elapsed, drives) = (self.started.elapsed().as_secs_f64(), counts.drives - self.drives_before);
        println!(
            "seed {seed}: {done} of {} places cut, {drives} drives recovered, {:.1} a second, {:.0} s to go",
            self.places,
            drives as f64 / elapsed,
            elapsed / done as f64 * (self.places - done) as f64,
        );
    }
}
