//! How far the start of a node is, as clients and operators are told while they wait.

use ringbolt_engine::node::{Opening, OpeningProgress};
use std::sync::Arc;
use std::time::Instant;

/// The longest time after which a client is told to come again, in seconds.
const RETRY_AFTER_S_MAX: u64 = 60;

/// The start of a node that recovers its drives.
#[derive(Clone, Debug)]
pub struct Start {
    began: Instant,
    opening: Arc<Opening>,
}

/// How far a start is at one moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StartProgress {
    pub opening: OpeningProgress,
    /// Seconds since it began.
    pub seconds: f64,
}

impl Start {
    /// Begins to count now.
    pub fn new(opening: Arc<Opening>) -> Self {
        Self { began: Instant::now(), opening }
    }

    /// Returns how far it is.
    pub fn progress(&self) -> StartProgress {
        StartProgress { opening: self.opening.progress(), seconds: self.began.elapsed().as_secs_f64() }
    }
}

impl StartProgress {
    /// Returns the part of the work that is done, from 0 to 1.
    pub fn share(&self) -> f64 {
        self.opening.read_bytes as f64 / self.opening.bytes.max(1) as f64
    }

    /// Returns in how many seconds the node will be ready if it goes on like this. None: nothing is known
    /// yet. Logs are often shorter than they may be, and then it is sooner.
    pub fn ready_in_s(&self) -> Option<f64> {
        let share = self.share();
        (share > 0.0).then(|| self.seconds * (1.0 - share) / share)
    }

    /// Returns after how many seconds a client should come again.
    pub fn retry_after_s(&self) -> u64 {
        let wait = self.ready_in_s().unwrap_or(0.0) as u64;
        wait.saturating_add(1).min(RETRY_AFTER_S_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_follows_from_what_was_done() {
        let opening = OpeningProgress { shards: 4, recovered: 1, bytes: 1000, read_bytes: 250 };
        let at = |seconds, opening| StartProgress { opening, seconds };
        let quarter = at(10.0, opening);
        assert_eq!((quarter.share(), quarter.ready_in_s(), quarter.retry_after_s()), (0.25, Some(30.0), 31));
        let nothing = at(10.0, OpeningProgress { read_bytes: 0, ..opening });
        assert_eq!((nothing.share(), nothing.ready_in_s(), nothing.retry_after_s()), (0.0, None, 1));
        let slow = at(1e9, OpeningProgress { read_bytes: 1, ..opening });
        assert_eq!(slow.retry_after_s(), 60);
        let done = at(10.0, OpeningProgress { read_bytes: 1000, ..opening });
        assert_eq!((done.share(), done.ready_in_s(), done.retry_after_s()), (1.0, Some(0.0), 1));
        assert_eq!(at(0.0, OpeningProgress { bytes: 0, read_bytes: 0, ..opening }).share(), 0.0);
    }
}
