//! The clock by which retentions are judged. `lock_time.rs` keeps it in the log.
//!
//! Whoever can set the clock of the machine could end every retention. So a shard notes in its log
//! what time it was, and believes no wall clock that is further ahead of that than the time that
//! has passed since and a step that is allowed ([`Settings::clock_step_max_ms`]), until an operator
//! confirms it. While the shard is open the passed time is measured, and several steps together may
//! not be longer than the one that is allowed, until as much time has passed. Over a stop nothing
//! measures time, so a node that was off for longer than the step wants its clock confirmed too.
//!
//! Invariants:
//! - Time never goes back: a wall clock that is behind what was noted counts for nothing. Only an
//!   operator's word can set an earlier time.
//! - A node in which there was never a bucket with object lock, and never a locked version, keeps no
//!   time. From the first one on, every shard does, so none of them takes a clock that stepped later
//!   for its first time.
//! - In the log, a record of the time precedes the first record that locks a version. More follow
//!   at least every [`NOTED_EVERY_MS`] while the shard is open and its clock is believed.
//! - A shard that has retentions, or whose node has a bucket with object lock, and that has lost the
//!   time takes it for the beginning of time, so that nothing ends before an operator confirms the
//!   clock ([`TIME_LOST_MS`]).

use std::cell::Cell;

#[cfg(doc)]
use super::settings::Settings;

/// How often the time is noted while it passes, milliseconds.
pub const NOTED_EVERY_MS: u64 = 60 * 60 * 1000;
/// The time of a shard that should keep it, and whose records of it are lost.
pub(super) const TIME_LOST_MS: u64 = 0;

/// What the clock shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockReading {
    /// The time by which retentions are judged, a Unix time in milliseconds.
    pub now_ms: u64,
    /// How far the wall clock is ahead of that, milliseconds; 0 while it is believed.
    pub ahead_ms: u64,
}

/// A time, and the monotonic time then.
#[derive(Clone, Copy, Debug)]
struct Moment {
    /// Unix time in milliseconds.
    time_ms: u64,
    monotonic_us: u64,
}

impl Moment {
    /// Returns the time when this much monotonic time is shown, if no clock had stepped since.
    fn passed_ms(self, monotonic_us: u64) -> u64 {
        self.time_ms.saturating_add(self.elapsed_ms(monotonic_us))
    }

    fn elapsed_ms(self, monotonic_us: u64) -> u64 {
        monotonic_us.saturating_sub(self.monotonic_us) / 1000
    }
}

/// The clock of one shard.
#[derive(Debug, Default)]
pub(super) struct LockClock {
    /// `None` while the shard keeps no time.
    known: Cell<Option<Known>>,
}

/// What a shard knows of the time.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// The newest time that was believed.
    believed: Moment,
    /// The time from which the steps of the wall clock are counted. It is newer than when the shard
    /// opened only where an operator confirmed the clock or as much time has passed as a step may
    /// have.
    base: Moment,
}

impl LockClock {
    /// Returns the clock of a shard whose log noted this time last.
    pub fn new(noted_ms: Option<u64>, monotonic_us: u64) -> Self {
        let clock = Self::default();
        if let Some(noted_ms) = noted_ms {
            clock.set(noted_ms, monotonic_us);
        }
        clock
    }

    /// Returns the time, and believes the wall clock if it may.
    pub fn read(&self, wall_ms: u64, monotonic_us: u64, step_max_ms: u64) -> ClockReading {
        let Some(Known { mut believed, mut base }) = self.known.get() else {
            return ClockReading { now_ms: wall_ms, ahead_ms: 0 };
        };
        let passed_ms = believed.passed_ms(monotonic_us);
        if base.elapsed_ms(monotonic_us) >= step_max_ms {
            base = Moment { time_ms: passed_ms, monotonic_us };
        }
        let is_believed = wall_ms <= base.passed_ms(monotonic_us).saturating_add(step_max_ms);
        let newest_ms = if is_believed { wall_ms } else { passed_ms };
        if newest_ms > believed.time_ms {
            believed = Moment { time_ms: newest_ms, monotonic_us };
        }
        self.known.set(Some(Known { believed, base }));
        match is_believed {
            true => ClockReading { now_ms: wall_ms.max(believed.time_ms), ahead_ms: 0 },
            false => ClockReading { now_ms: passed_ms, ahead_ms: wall_ms.saturating_sub(passed_ms) },
        }
    }

    /// Returns whether the shard keeps time.
    pub fn is_kept(&self) -> bool {
        self.known.get().is_some()
    }

    /// Takes a time as it is.
    pub fn set(&self, time_ms: u64, monotonic_us: u64) {
        let now = Moment { time_ms, monotonic_us };
        self.known.set(Some(Known { believed: now, base: now }));
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

    /// A clock that was set ahead by a little less than is allowed again and again once ended every
    /// retention.
    #[test]
    fn many_steps_that_are_allowed_are_together_one_that_is_not() {
        let (clock, step) = (clock(), DAY_MS - 1);
        assert_eq!(clock.read(START_MS + step, 0, DAY_MS), at(START_MS + step));
        let read = clock.read(START_MS + 2 * step, 0, DAY_MS);
        assert_eq!(read, ClockReading { now_ms: START_MS + step, ahead_ms: step });
        // When a day has passed, a day may be stepped over again.
        let (passed, day_us) = (START_MS + step + DAY_MS, DAY_MS * 1000);
        let read = clock.read(passed + DAY_MS + 1, day_us, DAY_MS);
        assert_eq!(read, ClockReading { now_ms: passed, ahead_ms: DAY_MS + 1 });
        assert_eq!(clock.read(passed + DAY_MS, day_us, DAY_MS), at(passed + DAY_MS));
    }

    #[test]
    fn no_time_is_too_great() {
        let clock = LockClock::new(Some(u64::MAX), 0);
        assert_eq!(clock.read(5, u64::MAX, u64::MAX), at(u64::MAX));
        let clock = LockClock::new(Some(TIME_LOST_MS), 7);
        assert_eq!(clock.read(START_MS, 7, DAY_MS), ClockReading { now_ms: 0, ahead_ms: START_MS });
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
