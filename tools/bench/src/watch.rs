//! This module shows a run while it lasts: the progress line, results so far, notes.
//!
//! Invariant: nothing here fails a run; what cannot be shown is left out.

use super::cli::RunOptions;
use super::command::Output;
use super::report::live::{self, LiveLine, Progress, ThreadState};
use super::result::Run;
use super::run::{JobStatus, Phase, Status, Watcher};
use super::spec::{ByDirection, Direction, Job, Plan};
use std::io::{self, Stderr};

/// Shows a run on the terminal, if there is one.
pub struct Screen<'run> {
    plan: &'run Plan,
    options: &'run RunOptions,
    output: &'run mut Output,
    line: Option<LiveLine<Stderr>>,
}

impl<'run> Screen<'run> {
    pub fn new(plan: &'run Plan, options: &'run RunOptions, output: &'run mut Output) -> Self {
        let line = live::is_wanted(options.eta).then(|| LiveLine::new(io::stderr()));
        Self { plan, options, output, line }
    }

    fn end_line(&mut self) {
        if let Some(line) = &mut self.line {
            _ = line.end();
        }
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        self.end_line();
    }
}

impl Watcher for Screen<'_> {
    fn status(&mut self, status: &Status) {
        if let Some(line) = &mut self.line {
            _ = line.show(&progress(status, &self.plan.jobs));
        }
    }

    fn interim(&mut self, run: &Run) {
        self.end_line();
        self.output.interim(run, self.options);
    }

    fn note(&mut self, job: &str, text: &str) {
        self.end_line();
        eprintln!("{job}: {text}");
    }
}

fn state(phase: Phase) -> ThreadState {
    match phase {
        Phase::Waiting => ThreadState::Waiting,
        Phase::LayingOut => ThreadState::Preparing,
        Phase::Ramping => ThreadState::Ramp,
        Phase::Running => ThreadState::Running,
        Phase::Verifying => ThreadState::Verifying,
        Phase::Done => ThreadState::Done,
    }
}

/// Returns the figures of the line; `jobs` are those of the plan, in the same order.
fn progress(status: &Status, jobs: &[Job]) -> Progress {
    let mut progress = Progress::default();
    let mut rates: ByDirection<(f64, f64)> = ByDirection::default();
    let mut running = Vec::new();
    for (at, job) in status.jobs.iter().zip(jobs) {
        let letter = live::letter(state(at.phase), job.pattern);
        progress.states.extend(std::iter::repeat_n(letter, at.threads as usize));
        if !matches!(at.phase, Phase::Waiting | Phase::Done) {
            progress.running += at.threads;
            progress.open_files += at.threads * job.nrfiles;
            running.push(at);
        }
        for direction in Direction::ALL {
            let (bytes, ios) = rates.get_mut(direction);
            *bytes += at.rate.get(direction).bytes_a_second;
            *ios += at.rate.get(direction).ios_a_second;
        }
    }
    for direction in Direction::ALL {
        let (bytes, ios) = *rates.get(direction);
        *progress.rates.get_mut(direction) = (bytes as u64, ios as u64);
    }
    progress.percent = percent(&running);
    progress.remaining_s = status.left_ns.map(|left_ns| left_ns.div_ceil(1_000_000_000));
    progress
}

/// Returns the progress of the running jobs in per cent; `None` while one of them is still
/// preparing.
fn percent(running: &[&JobStatus]) -> Option<f64> {
    if running.is_empty() || running.iter().any(|job| job.phase < Phase::Running) {
        return None;
    }
    let sum: f64 = running.iter().map(|job| job.fraction).sum();
    Some(100.0 * sum / running.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Rate;
    use crate::spec::Engine;

    fn at(phase: Phase, fraction: f64) -> JobStatus {
        let rate = Rate { bytes_a_second: 4096.0, ios_a_second: 1.0 };
        let none = Rate::default();
        JobStatus {
            name: "a".to_owned(),
            threads: 2,
            phase,
            fraction,
            rate: ByDirection { read: rate, write: none, trim: none },
        }
    }

    #[test]
    fn the_line_sums_what_runs() {
        let jobs = vec![Job::plain("a", Engine::IoUring); 3];
        let status = Status {
            elapsed_ns: 1,
            left_ns: Some(1_500_000_000),
            jobs: vec![at(Phase::Running, 0.25), at(Phase::Running, 0.75), at(Phase::Waiting, 0.0)],
        };
        let shown = progress(&status, &jobs);
        assert_eq!((shown.running, shown.percent, shown.remaining_s), (4, Some(50.0), Some(2)));
        assert_eq!(shown.rates.read, (3 * 4096, 3));
        assert_eq!(shown.states, ['R', 'R', 'R', 'R', 'P', 'P']);
    }

    #[test]
    fn what_prepares_has_no_share_yet() {
        let jobs = vec![Job::plain("a", Engine::IoUring); 2];
        let of =
            |phase| progress(&Status { elapsed_ns: 1, left_ns: None, jobs: vec![at(phase, 0.5)] }, &jobs);
        assert_eq!(of(Phase::Ramping).percent, None);
        assert_eq!(of(Phase::Running).percent, Some(50.0));
        assert_eq!(of(Phase::Done).percent, None);
    }
}
