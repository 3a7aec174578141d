//! A set of drives, by their slots in the view.

use std::fmt;
use std::ops::{BitAnd, BitOr, Sub};

/// One bit for each of the 64 drives that a set of drives ever has.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DriveSet(u64);

impl DriveSet {
    pub const EMPTY: Self = Self(0);

    /// Returns the set that these bits say.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// Returns a bit for each drive.
    pub fn bits(self) -> u64 {
        self.0
    }

    /// Returns whether a drive is in the set.
    pub fn contains(self, drive: u16) -> bool {
        drive < 64 && self.0 & (1 << drive) != 0
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Returns the number of drives.
    pub fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// Returns whether each of these drives is in `other` too.
    pub fn is_within(self, other: Self) -> bool {
        (self - other).is_empty()
    }

    /// Iterates over the drives, ascending.
    pub fn iter(self) -> impl Iterator<Item = u16> {
        (0..64).filter(move |drive| self.contains(*drive))
    }
}

impl FromIterator<u16> for DriveSet {
    /// Makes a set of slots.
    ///
    /// # Panics
    /// Panics when a view has no such slot.
    fn from_iter<I: IntoIterator<Item = u16>>(drives: I) -> Self {
        drives.into_iter().fold(Self::EMPTY, |set, drive| {
            assert!(drive < 64, "slot {drive} is not in a view");
            set | Self(1 << drive)
        })
    }
}

impl BitAnd for DriveSet {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitOr for DriveSet {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl Sub for DriveSet {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }
}

impl fmt::Debug for DriveSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.iter()).finish()
    }
}
