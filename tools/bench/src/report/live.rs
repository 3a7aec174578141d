//! This module formats the progress line of a run as fio does: states, share done, rates, time
//! left.
//!
//! Invariant: a line replaces the one before it entirely, also when it is shorter.

use crate::cli::Eta;
use crate::spec::{ByDirection, Direction, Pattern};
use ringbolt_tool_common::number::{self, Prefix};
use std::io::{self, IsTerminal, Write};

/// Holds what the line shows.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Holds a letter for each thread, in order; [`letter`] returns them.
    pub states: Vec<char>,
    pub running: u32,
    pub open_files: u32,
    /// This is from 0 to 100; `None` if it is not known, for example during a ramp.
    pub percent: Option<f64>,
    /// Holds bytes and operations per second since the last line.
    pub rates: ByDirection<(u64, u64)>,
    /// This is `None` if it is not known.
    pub remaining_s: Option<u64>,
}

/// Says what a thread is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ThreadState {
    Waiting,
    Preparing,
    Ramp,
    Running,
    Verifying,
    Flushing,
    Done,
    Failed,
}

/// Returns fio's letter for a thread: R, W, M for sequential reads, writes, both; lower case for
/// random ones; D for trims.
pub fn letter(state: ThreadState, pattern: Pattern) -> char {
    let running = match (pattern.reads, pattern.writes) {
        (true, true) => 'M',
        (true, false) => 'R',
        (false, true) => 'W',
        (false, false) => 'D',
    };
    match state {
        ThreadState::Waiting => 'P',
        ThreadState::Preparing => 'I',
        ThreadState::Ramp => '/',
        ThreadState::Running if pattern.random => running.to_ascii_lowercase(),
        ThreadState::Running => running,
        ThreadState::Verifying => 'V',
        ThreadState::Flushing => 'F',
        ThreadState::Done => '_',
        ThreadState::Failed => 'X',
    }
}

/// Formats the line: "Jobs: 1 (f=1): [r(1)][50.0%][r=100MiB/s][r=25.6k IOPS][eta 00m:05s]".
pub fn line(progress: &Progress) -> String {
    let mut line = format!("Jobs: {} (f={}): ", progress.running, progress.open_files);
    line += &format!("[{}]", condensed(&progress.states));
    line += &match progress.percent {
        Some(percent) => format!("[{percent:3.1}%]"),
        None => "[-.-%]".to_owned(),
    };
    let moving: Vec<Direction> =
        Direction::ALL.into_iter().filter(|one| *progress.rates.get(*one) != (0, 0)).collect();
    if !moving.is_empty() {
        let each = |show: &dyn Fn((u64, u64)) -> String| {
            let parts =
                moving.iter().map(|one| format!("{}={}", &one.name()[..1], show(*progress.rates.get(*one))));
            parts.collect::<Vec<_>>().join(",")
        };
        let bytes = each(&|(bytes, _)| number::short(bytes, number::SIGNIFICANT, Prefix::Binary, "B/s"));
        let operations = each(&|(_, operations)| number::count(operations));
        line += &format!("[{bytes}][{operations} IOPS]");
    }
    line + &format!("[eta {}]", progress.remaining_s.map_or("--".to_owned(), duration))
}

/// Counts equal neighbours: "r(2),_(1)".
fn condensed(states: &[char]) -> String {
    let runs = states.chunk_by(|left, right| left == right);
    runs.map(|run| format!("{}({})", run[0], run.len())).collect::<Vec<_>>().join(",")
}

/// Formats a duration: "00m:05s", "01h:00m:00s", "02d:00h:00m:00s".
fn duration(seconds: u64) -> String {
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let mut text = String::new();
    if days > 0 {
        text += &format!("{days:02}d:");
    }
    if days > 0 || hours > 0 {
        text += &format!("{hours:02}h:");
    }
    text + &format!("{:02}m:{:02}s", seconds / 60 % 60, seconds % 60)
}

/// Returns whether the line is to be shown on stderr.
pub fn is_wanted(eta: Eta) -> bool {
    match eta {
        Eta::Auto => io::stderr().is_terminal(),
        Eta::Always => true,
        Eta::Never => false,
    }
}

/// Writes lines over one another.
#[derive(Debug)]
pub struct LiveLine<W> {
    out: W,
    width_last: usize,
}

impl<W: Write> LiveLine<W> {
    pub fn new(out: W) -> Self {
        Self { out, width_last: 0 }
    }

    /// Shows the line in place of the last one.
    ///
    /// # Errors
    /// Fails when `out` cannot be written.
    pub fn show(&mut self, progress: &Progress) -> io::Result<()> {
        let line = line(progress);
        let width = line.chars().count();
        write!(self.out, "\r{line:<blank$}", blank = self.width_last)?;
        self.width_last = width;
        self.out.flush()
    }

    /// Ends the last line, so that further output begins on a new one.
    ///
    /// # Errors
    /// Fails when `out` cannot be written.
    pub fn end(&mut self) -> io::Result<()> {
        if self.width_last > 0 {
            self.width_last = 0;
            writeln!(self.out)?;
        }
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress() -> Progress {
        Progress {
            states: vec!['r'],
            running: 1,
            open_files: 1,
            percent: Some(50.0),
            rates: ByDirection { read: (104_857_600, 25_600), write: (0, 0), trim: (0, 0) },
            remaining_s: Some(5),
        }
    }

    #[test]
    fn the_line_is_fios() {
        assert_eq!(line(&progress()), "Jobs: 1 (f=1): [r(1)][50.0%][r=100MiB/s][r=25.6k IOPS][eta 00m:05s]");
        let mut mixed = progress();
        mixed.states = vec!['m', 'm', '_'];
        mixed.running = 2;
        mixed.rates.write = (512, 1);
        mixed.remaining_s = Some(90_061);
        assert_eq!(
            line(&mixed),
            "Jobs: 2 (f=1): [m(2),_(1)][50.0%][r=100MiB/s,w=512B/s][r=25.6k,w=1 IOPS][eta 01d:01h:01m:01s]"
        );
    }

    #[test]
    fn what_is_not_known_is_not_guessed() {
        let waiting = Progress { states: vec!['P'], ..Progress::default() };
        assert_eq!(line(&waiting), "Jobs: 0 (f=0): [P(1)][-.-%][eta --]");
    }

    #[test]
    fn letters_say_what_a_thread_does() {
        let random = |reads, writes| Pattern { reads, writes, trims: !reads && !writes, random: true };
        assert_eq!(letter(ThreadState::Running, random(true, false)), 'r');
        assert_eq!(letter(ThreadState::Running, random(true, true)), 'm');
        assert_eq!(letter(ThreadState::Running, random(false, false)), 'd');
        let sequential = Pattern { random: false, ..random(false, true) };
        assert_eq!(letter(ThreadState::Running, sequential), 'W');
        assert_eq!(letter(ThreadState::Ramp, sequential), '/');
    }

    #[test]
    fn a_shorter_line_covers_a_longer_one() {
        let mut out = Vec::new();
        let mut live = LiveLine::new(&mut out);
        live.show(&progress()).expect("memory");
        live.show(&Progress { states: vec!['E'], ..Progress::default() }).expect("memory");
        live.end().expect("memory");
        let text = String::from_utf8(out).expect("text");
        let lines: Vec<&str> = text.trim_end_matches('\n').split('\r').skip(1).collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].len(), lines[1].len());
        assert!(text.ends_with('\n'));
    }
}
