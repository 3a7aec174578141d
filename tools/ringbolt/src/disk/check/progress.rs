//! This module shows the progress of a check as a line on the terminal: how far, how fast, and how
//! long it will take.

use std::io::{IsTerminal, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

use ringbolt_engine::check::BlockingDevice;
use ringbolt_engine::check::Progress;
use ringbolt_tool_common::units::human_time;

/// This is the time between two updates of the line.
const STEP: Duration = Duration::from_millis(200);

/// Shows the progress of a check.
pub struct Bar {
    wanted: bool,
    drives: Vec<Rc<BlockingDevice>>,
    started: Instant,
    shown: Option<Instant>,
}

impl Bar {
    pub fn new(wanted: bool, drives: Vec<Rc<BlockingDevice>>) -> Self {
        let wanted = wanted && std::io::stderr().is_terminal();
        Self { wanted, drives, started: Instant::now(), shown: None }
    }

    /// Shows the progress, unless the last update was a moment ago.
    pub fn show(&mut self, progress: &Progress) {
        if !self.wanted || self.shown.is_some_and(|shown| shown.elapsed() < STEP) {
            return;
        }
        self.shown = Some(Instant::now());
        let bytes = self.drives.iter().map(|drive| drive.bytes_read()).sum();
        eprint!("\r\x1b[K{}", line(progress, bytes, self.started.elapsed()));
        // A line that cannot be shown does not fail the check.
        let _ = std::io::stderr().flush();
    }

    /// Clears the line for other output.
    pub fn clear(&mut self) {
        if self.shown.take().is_some() {
            eprint!("\r\x1b[K");
        }
    }
}

fn line(progress: &Progress, bytes: u64, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    let rate = bytes as f64 / seconds.max(0.001) / f64::from(1 << 20);
    let left = match progress.share {
        share if share > 0.001 => {
            format!("{} left", human_time((seconds / share * (1.0 - share)).round() as u64))
        }
        _ => "…".to_owned(),
    };
    let (percent, shard, shards) = (progress.share * 100.0, progress.shard + 1, progress.shards);
    format!("  {percent:5.1}%  shard {shard} of {shards}  {rate:.0} MiB/s  {left}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_says_rate_and_remaining_time() {
        let progress = Progress { shard: 1, shards: 4, share: 0.25 };
        let text = line(&progress, 512 << 20, Duration::from_secs(100));
        assert_eq!(text, "   25.0%  shard 2 of 4  5 MiB/s  5 min 0 s left");
        let begun = Progress { share: 0.0, ..progress };
        assert!(line(&begun, 0, Duration::ZERO).ends_with('…'));
    }
}
