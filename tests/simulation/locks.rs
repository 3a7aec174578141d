//! This module models object lock: by what each version was locked, and from which time on it may be
//! removed. It is written from the rule, and shares none of the engine's code for it.
//!
//! Invariants:
//! - The attributes of a version follow from the tag of its body, or of the last change of its
//!   metadata. So does its lock.
//! - The clock here is never behind any clock of the engine that keeps to the rule: the wall clock
//!   counts, unless it is further ahead than the time that has passed and a day, since the node was
//!   opened or an operator confirmed it. A version that is protected by this clock must be there.
//! - What is not known of a lock forbids nothing to the engine.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fmt;

use ringbolt_engine::env::Environment;
use ringbolt_engine::sim::Simulator;
use ringbolt_engine::types::{BucketLock, DefaultRetention, Lock, Period, Retention, RetentionMode};

/// The longest step of the wall clock that is believed, milliseconds.
pub const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Says what keeps a version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    pub hold: bool,
    /// Ends at this Unix time in milliseconds.
    pub until_ms: Option<u64>,
    /// Nobody may end the retention early.
    pub compliance: bool,
}

impl Keep {
    pub fn of(lock: Lock) -> Self {
        let until_ms = lock.retention.map(|retention| retention.until_ms);
        let compliance = lock.retention.is_some_and(|retention| retention.mode == RetentionMode::Compliance);
        Self { hold: lock.hold, until_ms, compliance }
    }

    pub fn lock(self) -> Lock {
        let mode = if self.compliance { RetentionMode::Compliance } else { RetentionMode::Governance };
        let retention = self.until_ms.map(|until_ms| Retention { mode, until_ms });
        Lock { retention, hold: self.hold }
    }

    /// Returns whether the retention lasts at a time.
    fn is_retained(self, at_ms: u64, bypass: bool) -> bool {
        self.until_ms.is_some_and(|until_ms| at_ms < until_ms && (self.compliance || !bypass))
    }

    /// Returns whether the version may not be removed at a time.
    pub fn protects(self, at_ms: u64, bypass: bool) -> bool {
        self.hold || self.is_retained(at_ms, bypass)
    }

    /// Returns whether the version may not be locked as `next` says instead, at a time.
    pub fn forbids(self, next: Self, at_ms: u64, bypass: bool) -> bool {
        let longer = next.compliance == self.compliance && next.until_ms >= self.until_ms;
        self.is_retained(at_ms, bypass) && !longer
    }
}

/// The retention that a bucket gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefaultKeep {
    pub compliance: bool,
    pub days: u32,
}

/// Says which retention a bucket gives, and whether that is certain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BucketDefault {
    pub keep: Option<DefaultKeep>,
    pub is_certain: bool,
}

/// Says how the lock of a version was set.
#[derive(Clone, Copy, Debug)]
struct Set {
    given: Keep,
    /// This is what the bucket adds, or may add, if no retention was given, from this time on at least.
    default: Option<(BucketDefault, u64)>,
    /// This is what was answered or read.
    known: Option<Keep>,
}

impl DefaultKeep {
    pub fn of(default: DefaultRetention) -> Self {
        let compliance = default.mode == RetentionMode::Compliance;
        Self { compliance, days: default.period.days() as u32 }
    }

    pub fn bucket_lock(self) -> BucketLock {
        let mode = if self.compliance { RetentionMode::Compliance } else { RetentionMode::Governance };
        BucketLock { default: Some(DefaultRetention { mode, period: Period::Days(self.days) }) }
    }
}

/// This is a time, and the virtual time in microseconds then.
#[derive(Clone, Copy, Debug, Default)]
struct Moment {
    ms: u64,
    at_us: u64,
}

impl Moment {
    fn passed(self, now_us: u64) -> u64 {
        self.ms + now_us.saturating_sub(self.at_us).div_ceil(1000)
    }
}

/// Holds what is known of all locks, and the clock.
#[derive(Default)]
pub struct Locks {
    sim: Option<Simulator>,
    set: RefCell<BTreeMap<u64, Set>>,
    /// This is the latest time that any shard may judge by.
    latest: Cell<Moment>,
    /// This is the time from which steps of the wall clock are counted.
    base: Cell<Moment>,
    /// No shard judges by an earlier time than this.
    floor_ms: Cell<u64>,
    stepped: Cell<bool>,
    /// All shards keep time.
    begun: Cell<bool>,
    longest_ms: Cell<u64>,
}

impl Locks {
    pub fn new(sim: Simulator) -> Self {
        Self { sim: Some(sim), ..Self::default() }
    }

    pub fn wall_ms(&self) -> u64 {
        self.sim.as_ref().map_or(0, Environment::wall_clock_ms)
    }

    fn now_us(&self) -> u64 {
        self.sim.as_ref().map_or(0, Simulator::now_us)
    }

    /// Believes the wall clock: nothing was locked so far, or an operator says that it is right.
    pub fn believe(&self) {
        let now = Moment { ms: self.latest_ms().max(self.wall_ms()), at_us: self.now_us() };
        self.latest.set(now);
        self.base.set(now);
    }

    /// Believes the wall clock if no shard keeps time for certain.
    pub fn believe_first(&self) {
        if !self.begun.get() {
            self.believe();
        }
    }

    /// Records that all shards keep time.
    pub fn begun(&self) {
        self.believe_first();
        self.begun.set(true);
    }

    /// Counts the steps of the wall clock from now on, because a node opens.
    pub fn restart(&self) {
        self.base.set(Moment { ms: self.latest_ms(), at_us: self.now_us() });
        self.latest_ms();
    }

    /// Returns the latest time by which a retention may be judged now.
    pub fn latest_ms(&self) -> u64 {
        let (wall_ms, now_us) = (self.wall_ms(), self.now_us());
        let passed_ms = self.latest.get().passed(now_us);
        let mut base = self.base.get();
        if now_us.saturating_sub(base.at_us) >= DAY_MS * 1000 {
            base = Moment { ms: passed_ms, at_us: now_us };
            self.base.set(base);
        }
        let believed = wall_ms <= base.passed(now_us) + DAY_MS;
        let ms = if believed { passed_ms.max(wall_ms) } else { passed_ms };
        self.latest.set(Moment { ms, at_us: now_us });
        ms
    }

    /// Returns the earliest time by which a retention may be judged now, for [`Self::may_protect`] and
    /// [`Self::may_forbid`] when what begins now ends.
    pub fn begin_ms(&self) -> u64 {
        if self.stepped.get() { self.floor_ms.get() } else { self.wall_ms() }
    }

    /// Returns the earliest time by which a retention may be judged by what began when that was
    /// `from_ms`.
    fn earliest_ms(&self, from_ms: u64) -> u64 {
        if self.stepped.get() { self.floor_ms.get().min(from_ms) } else { from_ms }
    }

    /// Steps the wall clock.
    pub fn step(&self, by_ms: i64) {
        self.latest_ms();
        if let Some(sim) = &self.sim {
            sim.jump_wall_clock(by_ms);
        }
        self.stepped.set(true);
        self.latest_ms();
    }

    /// Records that every shard that keeps time has believed the wall clock as it was. One that keeps none
    /// yet takes the clock that it finds later, which may have stepped back.
    pub fn confirmed(&self, wall_ms: u64) {
        if self.begun.get() {
            self.floor_ms.set(wall_ms);
        }
    }

    /// Records that any shard may have lost what it knew of the time.
    pub fn lose_floor(&self) {
        self.stepped.set(true);
        self.floor_ms.set(0);
    }

    /// Returns for how long the wall clock has to go on until no retention is left.
    pub fn rest_ms(&self) -> u64 {
        self.longest_ms.get().saturating_sub(self.wall_ms())
    }

    /// Records that a body or a change of metadata with this tag locks its version.
    pub fn give(&self, tag: u64, given: Keep, default: BucketDefault) {
        let adds = default.keep.is_some() && given.until_ms.is_none();
        let default = adds.then(|| (default, self.wall_ms()));
        self.note_longest(given);
        self.set.borrow_mut().insert(tag, Set { given, default, known: default.is_none().then_some(given) });
    }

    fn note_longest(&self, keep: Keep) {
        self.longest_ms.set(self.longest_ms.get().max(keep.until_ms.unwrap_or(0)));
    }

    /// Returns the lock that a tag stands for, or `None` if it is not known.
    pub fn of_tag(&self, tag: u64) -> Option<Keep> {
        self.set.borrow().get(&tag).map_or(Some(Keep::default()), |set| set.known)
    }

    /// Records the lock that an answer or a read says.
    ///
    /// # Panics
    /// Panics when it is not the one that was set.
    pub fn learn(&self, tag: u64, seen: Keep) {
        let mut all = self.set.borrow_mut();
        let Some(set) = all.get_mut(&tag) else {
            assert_eq!(seen, Keep::default(), "nobody locked what {tag} stands for");
            return;
        };
        if let Some(known) = set.known {
            assert_eq!(seen, known, "the lock that {tag} stands for");
            return;
        }
        let possible = set.default.is_some_and(|(BucketDefault { keep, is_certain }, from_ms)| {
            let from_ms = if self.stepped.get() { 0 } else { from_ms };
            let by_default = keep.zip(seen.until_ms).is_some_and(|(default, until_ms)| {
                let least_ms = from_ms + u64::from(default.days) * DAY_MS;
                seen.compliance == default.compliance && until_ms >= least_ms
            });
            by_default && seen.hold == set.given.hold || !is_certain && seen == set.given
        });
        assert!(possible, "{seen:?} of {tag}, which was {set:?}");
        set.known = Some(seen);
        drop(all);
        self.note_longest(seen);
    }

    /// Describes the newest locks and the time, for the report of a violation.
    pub fn describe(&self) -> String {
        let set = self.set.borrow();
        let locks: Vec<_> =
            set.iter().rev().take(60).filter_map(|(tag, set)| Some((tag, set.known?))).collect();
        format!("the latest time is {}, the wall clock {}, locks {locks:?}", self.latest_ms(), self.wall_ms())
    }

    /// Returns whether a version with this lock cannot have been removed so far.
    pub fn protects(&self, keep: Option<Keep>, bypass: bool) -> bool {
        keep.is_some_and(|keep| keep.protects(self.latest_ms(), bypass))
    }

    /// Returns whether a version with this lock may be protected from what began at `from_ms`.
    pub fn may_protect(&self, keep: Option<Keep>, bypass: bool, from_ms: u64) -> bool {
        keep.is_none_or(|keep| keep.protects(self.earliest_ms(from_ms), bypass))
    }

    /// Returns whether a lock cannot have become another one so far.
    pub fn forbids(&self, keep: Option<Keep>, next: Option<Keep>, bypass: bool) -> bool {
        let both = keep.zip(next);
        both.is_some_and(|(keep, next)| keep.forbids(next, self.latest_ms(), bypass))
    }

    /// Returns whether a lock may be kept from becoming another one by what began at `from_ms`.
    pub fn may_forbid(&self, keep: Option<Keep>, next: Option<Keep>, bypass: bool, from_ms: u64) -> bool {
        let both = keep.zip(next);
        both.is_none_or(|(keep, next)| keep.forbids(next, self.earliest_ms(from_ms), bypass))
    }
}

impl fmt::Debug for Locks {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.describe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retained(until_ms: u64, compliance: bool) -> Keep {
        Keep { until_ms: Some(until_ms), compliance, hold: false }
    }

    #[test]
    fn steps_are_believed_up_to_a_day_and_until_they_are_confirmed() {
        let sim = Simulator::new(1);
        let locks = Locks::new(sim.clone());
        locks.believe();
        let start = locks.latest_ms();
        locks.step(DAY_MS as i64 - 1);
        assert_eq!(locks.latest_ms(), start + DAY_MS - 1);
        locks.step(2);
        assert_eq!(locks.latest_ms(), start + DAY_MS - 1, "two steps are more than a day");
        locks.step(-3 * DAY_MS as i64);
        assert_eq!(locks.latest_ms(), start + DAY_MS - 1, "time went back");
        locks.step(5 * DAY_MS as i64);
        assert_eq!(locks.latest_ms(), start + DAY_MS - 1);
        locks.restart();
        assert_eq!(locks.latest_ms(), start + DAY_MS - 1);
        locks.believe();
        assert_eq!(locks.latest_ms(), start + 3 * DAY_MS + 1);
    }

    #[test]
    fn a_lock_keeps_what_it_names() {
        let (governance, compliance) = (retained(10, false), retained(10, true));
        assert!(governance.protects(9, false) && !governance.protects(9, true));
        assert!(compliance.protects(9, true) && !compliance.protects(10, true));
        assert!(Keep { hold: true, ..Keep::default() }.protects(u64::MAX, true));
        assert!(
            compliance.forbids(retained(9, true), 5, true)
                && !compliance.forbids(retained(9, true), 10, false)
        );
        assert!(
            governance.forbids(retained(11, true), 5, false) && !governance.forbids(Keep::default(), 5, true)
        );
        assert!(
            !governance.forbids(retained(10, false), 5, false)
                && governance.forbids(Keep::default(), 5, false)
        );
    }
}
