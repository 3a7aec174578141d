//! A small set of numbers below eight: of drives, or of batches of a log.

use std::fmt;
use std::ops::{BitAnd, BitOr, Sub};

use ringbolt_engine::view::DriveSet;

/// One bit for each number.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Set(u8);

/// Drives, by their numbers.
pub type Drives = Set;

/// Batches of one shard's log, by their numbers.
pub type Batches = Set;

impl Set {
    pub const EMPTY: Self = Self(0);

    /// Returns the numbers below `count`.
    pub fn first(count: u8) -> Self {
        assert!(count < 8, "{count} numbers do not fit");
        Self((1 << count) - 1)
    }

    pub fn one(number: u8) -> Self {
        Self(1 << number)
    }

    pub fn contains(self, number: u8) -> bool {
        self.0 & (1 << number) != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn len(self) -> u32 {
        self.0.count_ones()
    }

    pub fn is_within(self, other: Self) -> bool {
        (self - other).is_empty()
    }

    /// Returns the drives as the engine's rules take them.
    pub fn drives(self) -> DriveSet {
        DriveSet::from_bits(u64::from(self.0))
    }

    /// Returns the drives that the engine's rules gave.
    pub fn of(drives: DriveSet) -> Self {
        Self(drives.bits() as u8)
    }

    pub fn highest(self) -> Option<u8> {
        self.iter().last()
    }

    /// Iterates over the numbers, which ascend.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..8).filter(move |number| self.contains(*number))
    }

    /// Iterates over all subsets, from the empty one to the whole.
    pub fn subsets(self) -> impl Iterator<Item = Self> {
        (0..=self.0).map(Self).filter(move |subset| subset.is_within(self))
    }
}

impl BitAnd for Set {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitOr for Set {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Sub for Set {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Debug for Set {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.iter()).finish()
    }
}

/// Sets of drives, each at most once. There are at most four drives, so one bit for each set is enough.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Memberships(u16);

impl Memberships {
    pub const NONE: Self = Self(0);

    pub fn one(drives: Drives) -> Self {
        Self::NONE.with(drives)
    }

    pub fn with(self, drives: Drives) -> Self {
        Self(self.0 | 1 << drives.0)
    }

    pub fn iter(self) -> impl Iterator<Item = Drives> {
        (0..16).filter(move |drives| self.0 & (1 << drives) != 0).map(Set)
    }
}

impl fmt::Debug for Memberships {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.iter()).finish()
    }
}

#[test]
fn subsets_are_all_subsets() {
    let set = Set::one(0) | Set::one(2);
    let expected = [Set::EMPTY, Set::one(0), Set::one(2), set];
    assert_eq!(set.subsets().collect::<Vec<_>>(), expected);
    assert_eq!(set.iter().collect::<Vec<_>>(), [0, 2]);
    assert_eq!((set - Set::one(0)).highest(), Some(2));
    assert_eq!(Set::first(3).len(), 3);
}
