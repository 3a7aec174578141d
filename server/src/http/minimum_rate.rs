//! The minimum rate of a peer: it must not be silent for long, and must not trickle for ever
//! either.
//!
//! Invariants:
//! - Only time in which the peer was waited for counts, and none in which the server itself was
//!   busy.
//! - Every window of waiting brings at least [`WINDOW_BYTES_MIN`], or the peer is too slow. So what
//!   it holds here (a connection, an I/O buffer) is held for a time that follows from the length of
//!   what is sent.

use std::time::{Duration, Instant};

/// The least bytes that a peer must move in one window. That is some hundred bytes a second, which
/// every line of today has, and which no attacker can afford to multiply by many connections.
pub const WINDOW_BYTES_MIN: u64 = 16 << 10;

/// The peer moved fewer bytes than [`WINDOW_BYTES_MIN`] in a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooSlow;

/// Holds a peer to a minimum rate, window by window.
#[derive(Clone, Copy, Debug)]
pub struct MinimumRate {
    window: Duration,
    waited: Duration,
    bytes: u64,
    waiting_since: Option<Instant>,
}

impl MinimumRate {
    /// Begins the first window. `window` is how long the peer may be waited for until it must have
    /// moved enough.
    pub fn new(window: Duration) -> Self {
        Self { window, waited: Duration::ZERO, bytes: 0, waiting_since: None }
    }

    /// Notes that the peer is waited for from now on, if it is not already.
    pub fn waits(&mut self) {
        self.waiting_since.get_or_insert_with(Instant::now);
    }

    /// Notes that the peer is not waited for any more, although it moved nothing.
    pub fn rests(&mut self) {
        if let Some(since) = self.waiting_since.take() {
            self.waited += since.elapsed();
        }
    }

    /// Notes that `bytes` were moved, which ends the waiting. Fails if the peer was too slow in the
    /// window that ends with it.
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
        let mut rate = MinimumRate::new(WINDOW);
        for _ in 0..11 {
            assert_eq!(rate.moved_after(1, STEP), Ok(()));
        }
        assert_eq!(rate.moved_after(1, STEP), Err(TooSlow));
    }

    #[test]
    fn whoever_moves_enough_in_every_window_goes_on() {
        let mut rate = MinimumRate::new(WINDOW);
        for _ in 0..1000 {
            assert_eq!(rate.moved_after(WINDOW_BYTES_MIN / 12 + 1, STEP), Ok(()));
        }
        // What was moved in one window counts in that one only.
        assert_eq!(rate.moved_after(1 << 30, STEP), Ok(()));
        let slow = (0..24).map(|_| rate.moved_after(1, STEP)).find(|moved| moved.is_err());
        assert_eq!(slow, Some(Err(TooSlow)));
    }

    #[test]
    fn time_in_which_nobody_waited_for_the_peer_does_not_count() {
        let mut rate = MinimumRate::new(Duration::ZERO);
        rate.moved(WINDOW_BYTES_MIN).unwrap();
        let mut rate = MinimumRate::new(WINDOW);
        for _ in 0..1000 {
            assert_eq!(rate.moved(1), Ok(()), "it had been sent already");
        }
    }
}
