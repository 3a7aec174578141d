//! What a change adds to a bucket, as the ledger of its quota counts it.

use super::entry::Entry;
use crate::format::record::PutV1;

/// Tells a ledger from the earlier ones of its bucket. What is given back to an earlier one counts for
/// nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LedgerId(pub u64);

/// What a change adds to what a bucket holds, or takes from it if it is negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Growth {
    pub bytes: i64,
    /// Versions that are objects.
    pub versions: i64,
}

impl Growth {
    fn of(bytes: u64, is_marker: bool) -> Self {
        // A damaged log may say any size. It is taken off again as it was added.
        Self { bytes: bytes.cast_signed(), versions: i64::from(!is_marker) }
    }

    /// Returns what a put adds that replaces this version.
    pub fn of_put(put: &PutV1, replaced: Option<&Entry>) -> Self {
        let added = Self::of(put.size, put.is_marker());
        replaced.map_or(added, |old| added.minus(Self::of(old.size, old.is_marker)))
    }

    /// Returns what the removal of a version adds.
    pub fn of_delete(old: &Entry) -> Self {
        Self::default().minus(Self::of(old.size, old.is_marker))
    }

    pub fn minus(self, other: Self) -> Self {
        Self {
            bytes: self.bytes.wrapping_sub(other.bytes),
            versions: self.versions.wrapping_sub(other.versions),
        }
    }

    /// Returns the part of it that is to be judged.
    pub fn positive(self) -> Self {
        Self { bytes: self.bytes.max(0), versions: self.versions.max(0) }
    }

    pub fn is_zero(self) -> bool {
        self == Self::default()
    }
}
