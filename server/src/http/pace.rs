//! How slow a peer may be with what it sends or takes: not silent for long, and not trickling for ever either.
//!
//! Invariants: only time in which the peer was waited for counts, none in which the server itself was busy. Every
//! window of waiting brings at least [`WINDOW_BYTES_MIN`], or the peer is too slow; so what it holds here (a
//! connection, an I/O buffer) is held for a time that follows from the length of what is sent.

use std::time::{Duration, Instant};

/// Bytes in one window: some hundred bytes a second, which every line of today has, and no attacker can afford to
/// multiply by many connections.
pub const WINDOW_BYTES_MIN: u64 = 16 << 10;

/// The peer is slower than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooSlow;

/// The current window.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    window: Duration,
    waited: Duration,
    bytes: u64,
    waiting_since: Option<Instant>,
}

impl Pace {
    /// `window`: how long the peer may be waited for until it has to have moved enough.
    pub fn new(window: Duration) -> Self {
        Self { window, waited: Duration::ZERO, bytes: 0, waiting_since: None }
    }

    /// The peer is waited for from now on, if it is not already.
    pub fn waits(&mut self) {
        self.waiting_since.get_or_insert_with(Instant::now);
    }

    /// `bytes` were moved, which ends the waiting.
    pub fn moved(&mut self, bytes: u64) -> Result<(), TooSlow> {
        let waited = self.waiting_since.take().map_or(Duration::ZERO, |since| since.elapsed());
        self.moved_after(bytes, waited)
    }

    fn moved_after(&mut self, bytes: u64, waited: Duration) -> Result<(), TooSlow> {
        self.bytes = self.bytes.saturating_add(bytes);
        self.waited += waited;
        if self.waited < self.window {
            return Ok(());
        }
        if self.bytes < WINDOW_BYTES_MIN {
            return Err(TooSlow);
        }
        *self = Self::new(self.window);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);
    const STEP: Duration = Duration::from_secs(5);

    #[test]
    fn a_byte_in_five_seconds_is_too_slow_after_one_window() {
        let mut pace = Pace::new(WINDOW);
        for _ in 0..11 {
            assert_eq!(pace.moved_after(1, STEP), Ok(()));
        }
        assert_eq!(pace.moved_after(1, STEP), Err(TooSlow));
    }

    #[test]
    fn whoever_moves_enough_in_every_window_goes_on() {
        let mut pace = Pace::new(WINDOW);
        for _ in 0..1000 {
            assert_eq!(pace.moved_after(WINDOW_BYTES_MIN / 12 + 1, STEP), Ok(()));
        }
        // What was moved in one window counts in that one only.
        assert_eq!(pace.moved_after(1 << 30, STEP), Ok(()));
        let slow = (0..24).map(|_| pace.moved_after(1, STEP)).find(|moved| moved.is_err());
        assert_eq!(slow, Some(Err(TooSlow)));
    }

    #[test]
    fn time_in_which_nobody_waited_for_the_peer_does_not_count() {
        let mut pace = Pace::new(Duration::ZERO);
        pace.moved(WINDOW_BYTES_MIN).unwrap();
        let mut pace = Pace::new(WINDOW);
        for _ in 0..1000 {
            assert_eq!(pace.moved(1), Ok(()), "it had been sent already");
        }
    }
}
