//! The clock by which retentions are judged.
//!
//! Whoever can set the clock of the machine could end every retention. So a shard notes in its log
//! what time it was, and believes no wall clock that is further ahead of that than the time that
//! has passed since and a step that is allowed ([`Settings::clock_step_max_ms`]), until an operator
//! confirms it. While the shard is open the passed time is measured; over a stop nothing measures
//! it, so a node that was off for longer than the step wants its clock confirmed too.
//!
//! Invariants:
//! - Time never goes back: a wall clock that is behind what was noted counts for nothing. Only an
//!   operator's word can set an earlier time.
//! - A shard in which nothing was ever locked keeps no time.
//! - A record of the time precedes the first record that locks a version, and follows at least every
//!   [`NOTED_EVERY_MS`] while the shard is open and its clock is believed.

use std::cell::Cell;

use super::instance::{Commit, Shard};
use crate::error::Result;
use crate::format::record::{ClockV1, ENVELOPE_BYTES, EncodedRecord, Mutation};
use crate::hook::{Bug, Rare, reached};
use crate::sync::oneshot;

#[cfg(doc)]
use super::settings::Settings;

/// How often the time is noted while it passes, milliseconds.
pub const NOTED_EVERY_MS: u64 = 60 * 60 * 1000;
/// What a record of the time takes in the log at most, bytes.
pub(super) const CLOCK_RECORD_BYTES: usize = ENVELOPE_BYTES + 16;

/// What the clock shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReading {
    /// The time by which retentions are judged, a Unix time in milliseconds.
    pub now_ms: u64,
    /// How far the wall clock is ahead of that, milliseconds; 0 while it is believed.
    pub ahead_ms: u64,
}

/// The clock of one shard.
#[derive(Debug, Default)]
pub(super) struct LockClock {
    /// The newest time that was believed, and the monotonic time then, in microseconds. `None` while
    /// nothing was ever locked.
    believed: Cell<Option<(u64, u64)>>,
}

impl LockClock {
    /// Returns the clock of a shard whose log noted this time last.
    pub fn new(noted_ms: Option<u64>, monotonic_us: u64) -> Self {
        Self { believed: Cell::new(noted_ms.map(|noted| (noted, monotonic_us))) }
    }

    fn read(&self, wall_ms: u64, monotonic_us: u64, step_max_ms: u64) -> ClockReading {
        let Some((believed_ms, at_us)) = self.believed.get() else {
            return ClockReading { now_ms: wall_ms, ahead_ms: 0 };
        };
        let passed_ms = believed_ms + monotonic_us.saturating_sub(at_us) / 1000;
        if wall_ms > passed_ms.saturating_add(step_max_ms) {
            return ClockReading { now_ms: passed_ms, ahead_ms: wall_ms - passed_ms };
        }
        if wall_ms > believed_ms {
            self.believed.set(Some((wall_ms, monotonic_us)));
        }
        ClockReading { now_ms: wall_ms.max(believed_ms), ahead_ms: 0 }
    }

    fn set(&self, now_ms: u64, monotonic_us: u64) {
        self.believed.set(Some((now_ms, monotonic_us)));
    }
}

impl Shard {
    /// Returns the time by which retentions are judged.
    pub fn lock_time(&self) -> ClockReading {
        let (wall_ms, monotonic_us) = (self.environment.wall_clock_ms(), self.environment.monotonic_us());
        if self.geometry.planted.is(Bug::BelieveClock) {
            return ClockReading { now_ms: wall_ms, ahead_ms: 0 };
        }
        let reading = self.lock_clock.read(wall_ms, monotonic_us, self.settings.clock_step_max_ms);
        if reading.ahead_ms > 0 {
            reached(Rare::ClockAhead);
        }
        reading
    }

    /// Returns whether anything was ever locked here.
    pub fn keeps_time(&self) -> bool {
        self.state.borrow().clock_ms.is_some()
    }

    /// Queues a record of the time, if none was written for a while. It is called before the record
    /// of something that is locked.
    ///
    /// # Errors
    /// Returns [`EngineError::WritesStopped`](crate::EngineError::WritesStopped) or
    /// [`EngineError::ShuttingDown`](crate::EngineError::ShuttingDown) when the shard writes no
    /// more.
    pub(super) fn name_time(&self) -> Result<()> {
        let Some(now_ms) = self.time_to_note() else { return Ok(()) };
        // Nobody waits for it, because the record of what is locked comes behind it.
        self.push_time(now_ms, oneshot::channel().0)
    }

    /// Notes the time, if something was ever locked here and the time was not noted for a while.
    ///
    /// # Errors
    /// Returns an error when the shard writes no more.
    pub async fn note_time(&self) -> Result<()> {
        if !self.keeps_time() {
            return Ok(());
        }
        match self.time_to_note() {
            Some(now_ms) => self.write_time(now_ms).await,
            None => Ok(()),
        }
    }

    /// Believes the wall clock as it is, on the word of an operator. It is durable before the
    /// answer.
    ///
    /// # Errors
    /// Returns an error when the shard writes no more.
    pub async fn confirm_time(&self) -> Result<()> {
        if !self.keeps_time() {
            return Ok(());
        }
        let now_ms = self.environment.wall_clock_ms();
        self.write_time(now_ms).await?;
        self.lock_clock.set(now_ms, self.environment.monotonic_us());
        Ok(())
    }

    /// Returns the time if it is to be noted.
    fn time_to_note(&self) -> Option<u64> {
        let reading = self.lock_time();
        let noted_ms = self.time_queued.get().or(self.state.borrow().clock_ms);
        let due = noted_ms.is_none_or(|noted| reading.now_ms >= noted.saturating_add(NOTED_EVERY_MS));
        (due && reading.ahead_ms == 0).then_some(reading.now_ms)
    }

    async fn write_time(&self, now_ms: u64) -> Result<()> {
        let (reply, answer) = oneshot::channel();
        self.push_time(now_ms, reply)?;
        self.outcome(answer).await.map(|_| ())
    }

    fn push_time(&self, now_ms: u64, reply: oneshot::Sender<Result<crate::log::RecordPlace>>) -> Result<()> {
        let mutation = Mutation::Clock(ClockV1 { now_ms });
        let record = EncodedRecord::new(&mutation, 0, 0, Vec::new());
        let commit =
            Commit { mutation: Some(mutation), guard: None, reserved: Vec::new(), quota: None, reply };
        self.log.push(Some(record), commit)?;
        self.time_queued.set(Some(now_ms));
        if self.lock_clock.believed.get().is_none() {
            self.lock_clock.set(now_ms, self.environment.monotonic_us());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY_MS: u64 = crate::types::rules::DAY_MS;
    const START_MS: u64 = 1_800_000_000_000;

    fn clock() -> LockClock {
        LockClock::new(Some(START_MS), 0)
    }

    fn at(now_ms: u64) -> ClockReading {
        ClockReading { now_ms, ahead_ms: 0 }
    }

    #[test]
    fn a_wall_clock_that_steps_less_than_is_allowed_is_believed() {
        let clock = clock();
        assert_eq!(clock.read(START_MS + DAY_MS, 0, DAY_MS), at(START_MS + DAY_MS));
        assert_eq!(clock.read(START_MS, 0, DAY_MS), at(START_MS + DAY_MS), "time went back");
        let later = START_MS + 30 * DAY_MS;
        assert_eq!(clock.read(later, 29 * DAY_MS * 1000, DAY_MS), at(later), "the time passed");
    }

    #[test]
    fn a_longer_step_ends_nothing_and_time_passes_all_the_same() {
        let clock = clock();
        let far = START_MS + 400 * DAY_MS;
        let read = clock.read(far, 0, DAY_MS);
        assert_eq!(read, ClockReading { now_ms: START_MS, ahead_ms: 400 * DAY_MS });
        let read = clock.read(far + 5000, 5_000_000, DAY_MS);
        assert_eq!(read, ClockReading { now_ms: START_MS + 5000, ahead_ms: 400 * DAY_MS });
        assert_eq!(clock.read(START_MS + 6000, 6_000_000, DAY_MS), at(START_MS + 6000), "it was set right");
        clock.set(far, 7_000_000);
        assert_eq!(clock.read(far + 1, 7_001_000, DAY_MS), at(far + 1), "the operator's word counts");
    }

    #[test]
    fn a_step_back_and_forth_is_no_step_ahead() {
        let clock = clock();
        clock.read(START_MS - 5 * DAY_MS, DAY_MS * 1000, DAY_MS);
        assert_eq!(clock.read(START_MS + 2 * DAY_MS, 2 * DAY_MS * 1000, DAY_MS), at(START_MS + 2 * DAY_MS));
    }

    #[test]
    fn nothing_locked_keeps_no_time() {
        let clock = LockClock::new(None, 0);
        assert_eq!(clock.read(5, 0, 1), at(5));
        assert_eq!(clock.read(1 << 60, 0, 1), at(1 << 60));
    }
}
