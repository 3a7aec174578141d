//! This module decides which drives of a set with redundancy are taken away, and when they are given back.
//!
//! Invariants:
//! - No more drives lack something at any time than may be lost. A drive lacks something from the moment when it
//!   is taken away until a server has said that it holds everything again.
//! - A server is started without a drive only where it has to go on by itself (decision 0016): either the view
//!   in use is without that drive, or the drives that are left are enough of every view that there may be. So a
//!   start that is refused is a finding. No drive is named as gone for good here, because it would never come back.
//! - A drive that fails under a server counts as out of the view only when the server has said so.

use ringbolt_tool_common::content::Dice;
use serde::Deserialize;
use std::collections::BTreeSet;

/// One life in this many has a drive fail under the server, if one can.
const FAILING_LIVES: usize = 3;

pub type Drives = BTreeSet<usize>;

/// This is the part of a drive in the set, as `ringbolt drive list` says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    In,
    CatchingUp,
    Left,
    Absent,
    Gone,
}

/// This is what happens to the drives in one life of the server, before it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// The drives stay as they are.
    Plain,
    /// The server is not killed before it has brought all drives up to date that were given back.
    UntilWhole,
    /// This drive fails under the server; `noticed` says that the kill waits until the server goes on without it.
    Fails { drive: usize, noticed: bool },
}

/// These drives are taken away or given back by a start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    pub taken: usize,
    pub given: usize,
}

/// Holds what is known of the drives of a set, each by its number.
#[derive(Clone, Debug)]
pub struct Set {
    count: usize,
    /// Up to so many drives may be lost.
    failures_max: usize,
    /// These drives were away, and are not known to hold everything again.
    lacking: Drives,
    /// The view in use was without these drives when a server last told, and none was given to a start since.
    out: Drives,
    /// These drives are not in use: they were not given to the last start, or failed since.
    away: Drives,
    /// These drives were not given to the last start.
    absent: Drives,
}

impl Set {
    pub fn new(count: usize, failures_max: usize) -> Self {
        let none = Drives::new();
        Self {
            count,
            failures_max,
            lacking: none.clone(),
            out: none.clone(),
            away: none.clone(),
            absent: none,
        }
    }

    /// Returns how many drives a start may be without whatever the views are: what is left has to be a drive
    /// more than may be lost.
    fn absent_max(&self) -> usize {
        self.failures_max.min(self.count.saturating_sub(self.failures_max + 1))
    }

    /// Returns whether a start without these drives has to go on.
    fn may_be_absent(&self, absent: &Drives) -> bool {
        absent.is_subset(&self.out) || self.lacking.union(absent).count() <= self.absent_max()
    }

    /// Chooses the drives that the next start is without: the same as before, none, or others that may be lost too.
    pub fn choose_absent(&self, dice: &mut Dice) -> Drives {
        let (roll, chosen) = (dice.below(3), dice.below(self.count));
        let stay = self.away.clone();
        let more: Drives = stay.iter().copied().chain([chosen]).collect();
        let wanted = match roll {
            0 => [Drives::new(), Drives::new()],
            1 if !self.is_whole() => [stay, Drives::new()],
            _ => [more, stay],
        };
        wanted.into_iter().find(|absent| self.may_be_absent(absent)).unwrap_or_default()
    }

    /// Notes that a server is started without these drives, which may use or begin views with all others.
    pub fn begin_start(&mut self, absent: &Drives) -> Moved {
        let taken = absent.difference(&self.away).count();
        let given = self.away.difference(absent).count();
        self.out.retain(|drive| absent.contains(drive));
        self.lacking.extend(absent);
        (self.absent, self.away) = (absent.clone(), absent.clone());
        Moved { taken, given }
    }

    /// Notes what a server says of the drives. It may not have noticed yet that one fails.
    pub fn observe(&mut self, parts: &[Part]) {
        for (drive, part) in parts.iter().enumerate() {
            match part {
                Part::In if !self.away.contains(&drive) => self.lacking.remove(&drive),
                _ => self.lacking.insert(drive),
            };
            if matches!(part, Part::Left | Part::Absent) {
                self.out.insert(drive);
            }
        }
    }

    /// Returns whether a drive that was given to the last start is brought up to date.
    pub fn is_catching_up(&self) -> bool {
        self.lacking.iter().any(|drive| !self.away.contains(drive))
    }

    /// Returns whether every drive is there and holds everything.
    pub fn is_whole(&self) -> bool {
        self.lacking.is_empty() && self.away.is_empty()
    }

    /// Chooses what happens to the drives in the next life. `failing` are the drives that can be made to fail.
    pub fn choose_course(&self, failing: &Drives, dice: &mut Dice) -> Course {
        let (roll, at, noticed) = (dice.below(FAILING_LIVES), dice.next(), dice.below(2) == 0);
        let may_fail = |drive: &&usize| {
            let lost = self.lacking.contains(drive) as usize;
            !self.away.contains(drive) && self.lacking.len() + 1 - lost <= self.failures_max
        };
        let able: Vec<usize> = failing.iter().filter(may_fail).copied().collect();
        match able.len() {
            count if count > 0 && roll == 0 => Course::Fails { drive: able[at as usize % count], noticed },
            _ if self.is_catching_up() && noticed => Course::UntilWhole,
            _ => Course::Plain,
        }
    }

    /// Notes that a drive was made to fail under the server.
    pub fn fail(&mut self, drive: usize) {
        self.lacking.insert(drive);
        self.away.insert(drive);
    }

    /// Returns the starts that prove that the others have everything that a drive has: the drives that each is
    /// without, and whether the operator's word is needed for them. With that word no drive comes back.
    pub fn last_rounds(&self) -> (Vec<Drives>, bool) {
        let most = self.absent_max();
        let without = |first: usize| (first..first + most).map(|drive| drive % self.count).collect();
        let alone = |only: usize| (0..self.count).filter(|drive| *drive != only).collect();
        if most > 0 {
            return ((0..self.count).map(without).collect(), false);
        }
        ((0..self.count).map(alone).collect(), true)
    }
}

#[cfg(test)]
mod tests {
    use super::Part::{Absent, CatchingUp, In, Left};
    use super::*;

    fn drives(numbers: &[usize]) -> Drives {
        numbers.iter().copied().collect()
    }

    #[test]
    fn one_of_three_may_be_absent_and_no_other_before_it_is_whole() {
        let mut set = Set::new(3, 1);
        assert!(set.may_be_absent(&drives(&[2])) && !set.may_be_absent(&drives(&[1, 2])));
        assert_eq!(set.begin_start(&drives(&[2])), Moved { taken: 1, given: 0 });
        assert!(set.may_be_absent(&drives(&[2])) && !set.may_be_absent(&drives(&[1])));
        set.observe(&[In, In, Absent]);
        assert_eq!(set.begin_start(&drives(&[])), Moved { taken: 0, given: 1 });
        set.observe(&[In, In, CatchingUp]);
        assert!(set.is_catching_up() && !set.is_whole());
        assert!(set.may_be_absent(&drives(&[2])) && !set.may_be_absent(&drives(&[0])));
        set.observe(&[In, In, In]);
        assert!(set.is_whole() && set.may_be_absent(&drives(&[0])));
    }

    #[test]
    fn one_of_two_is_absent_only_after_the_server_went_on_without_it() {
        let mut set = Set::new(2, 1);
        assert!(set.may_be_absent(&drives(&[])) && !set.may_be_absent(&drives(&[0])));
        set.fail(0);
        set.observe(&[In, In]);
        assert!(!set.may_be_absent(&drives(&[0])), "the view in use may have it still");
        assert!(!set.is_whole());
        set.observe(&[Left, In]);
        assert!(set.may_be_absent(&drives(&[0])) && !set.may_be_absent(&drives(&[1])));
        assert_eq!(set.begin_start(&drives(&[0])), Moved::default(), "it was away before");
        assert!(set.may_be_absent(&drives(&[0])), "a start without it changes nothing");
        // The view has two members as soon as a start has both, even if it is killed.
        assert_eq!(set.begin_start(&drives(&[])), Moved { taken: 0, given: 1 });
        assert!(!set.may_be_absent(&drives(&[0])));
    }

    #[test]
    fn as_many_as_may_be_lost_are_away_and_no_more() {
        let mut set = Set::new(5, 2);
        assert!(set.may_be_absent(&drives(&[0, 1])) && !set.may_be_absent(&drives(&[0, 1, 2])));
        set.begin_start(&drives(&[0]));
        assert!(set.may_be_absent(&drives(&[3])) && set.may_be_absent(&drives(&[0, 3])));
        set.fail(4);
        assert!(!set.may_be_absent(&drives(&[3])) && set.may_be_absent(&drives(&[0, 4])));
        let four = Set::new(4, 2);
        assert!(
            four.may_be_absent(&drives(&[1])) && !four.may_be_absent(&drives(&[1, 2])),
            "two are too few"
        );
    }

    #[test]
    fn every_choice_keeps_the_rules_and_each_is_made() {
        for (count, failures_max) in [(2, 1), (3, 1), (3, 2), (4, 1), (5, 2)] {
            let (mut set, mut dice) = (Set::new(count, failures_max), Dice::new(7));
            let (mut taken, mut failed, mut given, mut waited) = (0, 0, 0, 0);
            for _ in 0..2000 {
                let absent = set.choose_absent(&mut dice);
                assert!(set.may_be_absent(&absent), "{set:?} without {absent:?}");
                let moved = set.begin_start(&absent);
                (taken, given) = (taken + moved.taken, given + moved.given);
                assert!(set.lacking.len() <= failures_max, "{set:?}");
                // Some starts are killed before anybody hears of the drives.
                if dice.below(4) == 0 {
                    continue;
                }
                let caught_up = dice.below(2) == 0;
                let part = |drive| match (set.absent.contains(&drive), set.lacking.contains(&drive)) {
                    (true, _) => Absent,
                    (_, true) if !caught_up => CatchingUp,
                    _ => In,
                };
                let mut parts: Vec<Part> = (0..count).map(part).collect();
                set.observe(&parts);
                match set.choose_course(&(0..count).collect(), &mut dice) {
                    Course::Fails { drive, noticed } => {
                        set.fail(drive);
                        failed += 1;
                        assert!(set.lacking.len() <= failures_max, "{set:?}");
                        parts[drive] = Left;
                        if noticed {
                            set.observe(&parts);
                        }
                    }
                    Course::UntilWhole => waited += 1,
                    Course::Plain => {}
                }
            }
            assert!(failed > 100 && given > 100 && waited > 100, "{count}: {failed} {given} {waited}");
            assert_eq!(taken > 100, set.absent_max() > 0, "{count} drives, {taken} taken");
        }
    }

    #[test]
    fn a_drive_that_can_not_be_made_to_fail_never_is() {
        let (set, mut dice) = (Set::new(2, 1), Dice::new(1));
        assert!((0..100).all(|_| set.choose_course(&Drives::new(), &mut dice) == Course::Plain));
        let only = |dice: &mut Dice| match set.choose_course(&drives(&[1]), dice) {
            Course::Fails { drive, .. } => drive == 1,
            course => course == Course::Plain,
        };
        assert!((0..100).all(|_| only(&mut dice)));
    }

    #[test]
    fn at_the_end_every_drive_is_done_without() {
        let rounds = |count, failures_max| Set::new(count, failures_max).last_rounds();
        assert_eq!(rounds(2, 1), (vec![drives(&[1]), drives(&[0])], true));
        assert_eq!(rounds(3, 1), (vec![drives(&[0]), drives(&[1]), drives(&[2])], false));
        assert_eq!(rounds(3, 2).0[1], drives(&[0, 2]));
        assert_eq!(rounds(4, 2), ((0..4).map(|drive| drives(&[drive])).collect(), false));
        assert_eq!(rounds(5, 2).0[4], drives(&[0, 4]));
    }

    #[test]
    fn parts_are_read_as_they_are_told() {
        let told = r#"["in", "catching-up", "left", "absent", "gone"]"#;
        let parts: Vec<Part> = serde_json::from_str(told).unwrap();
        assert_eq!(parts, [In, CatchingUp, Left, Absent, Part::Gone]);
    }
}
