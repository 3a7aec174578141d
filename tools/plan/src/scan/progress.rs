//! This module shows the progress of a scan as a line on stderr.

use ringbolt_tool_common::number::{Prefix, short};
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// This is the time between two updates of the line on a terminal; elsewhere, `STEP_ELSEWHERE` is
/// the time between two lines.
const STEP_ON_TERMINAL: Duration = Duration::from_millis(200);
const STEP_ELSEWHERE: Duration = Duration::from_secs(10);
const DIGITS: usize = 5;

/// Counts what has been scanned so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub objects: u64,
    pub total_bytes: u64,
}

/// Shows the progress of a scan.
pub struct ProgressLine {
    terminal: bool,
    shown: Instant,
    began: Instant,
}

impl Default for ProgressLine {
    fn default() -> Self {
        let now = Instant::now();
        Self { terminal: std::io::stderr().is_terminal(), shown: now, began: now }
    }
}

impl ProgressLine {
    /// Shows the progress, unless the last update was a moment ago.
    pub fn show(&mut self, progress: Progress) {
        let step = if self.terminal { STEP_ON_TERMINAL } else { STEP_ELSEWHERE };
        if self.shown.elapsed() < step {
            return;
        }
        self.shown = Instant::now();
        let line = line(progress, self.began.elapsed());
        let (before, after) = if self.terminal { ("\r\x1b[K", "") } else { ("", "\n") };
        // A line that cannot be shown does not fail the scan.
        let _ = write!(std::io::stderr(), "{before}{line}{after}");
    }

    /// Clears the line for other output.
    pub fn clear(&self) {
        if self.terminal {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}

fn line(progress: Progress, elapsed: Duration) -> String {
    let per_s = (progress.objects as f64 / elapsed.as_secs_f64().max(0.001)) as u64;
    let bytes = short(progress.total_bytes, DIGITS, Prefix::Decimal, "B");
    format!("  {} objects, {bytes}, {per_s} objects/s", progress.objects)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_what_was_found_and_how_fast() {
        let progress = Progress { objects: 120_000, total_bytes: 7_500_000_000 };
        assert_eq!(line(progress, Duration::from_secs(10)), "  120000 objects, 7500MB, 12000 objects/s");
    }
}
