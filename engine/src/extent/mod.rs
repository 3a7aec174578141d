//! The extents of a drive, the sets that shards make of them, and the slices in those that hold
//! large objects.
//!
//! Invariants:
//! - A free extent belongs to the drive's allocator. An owned one belongs to one set of one shard,
//!   from the moment when that shard's own durable record names the set.
//! - What is allocated is derived at recovery from what the index names; allocations are not
//!   logged.

pub mod allocator;
mod drives;
mod geometry;
mod members;
pub mod sets;
mod shape;
pub mod slices;

pub use self::drives::{
    DriveNumber, Drives, Losses, MemberWrite, Outcomes, Reached, SetCopy, SetWriter, Writes,
};
pub use self::geometry::{Geometry, LogSet, SetPlace};
pub use self::members::{MEMBERS_MAX, Member, Members};
pub use self::shape::{Piece, Shape};
use crate::format::record::{RunV1, SegmentV1};
use crate::format::slice::{Membership, SliceHeaderOnDisk, SliceIdentity, UNITS_PER_SLOT};

/// The place of a slice, and its part of the segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlicePlace {
    /// Number of the set.
    pub extent: u32,
    /// Byte offset of the header within the set.
    pub offset: u32,
    /// Number of the slice within the segment, from 0.
    pub number: u32,
    /// Bytes of payload.
    pub length: u32,
}

impl SlicePlace {
    /// Returns the identity that the header of this slice must have, given the format, the shard,
    /// the set's birth and the segment's generation.
    pub fn identity(&self, (format, shard): (u64, u16), birth: u64, generation: u64) -> SliceIdentity {
        let Self { extent: set, offset, number, .. } = *self;
        SliceIdentity { format, shard, generation, number, set, birth, offset }
    }

    /// Returns whether a header that was read here is that of this slice of the segment with this
    /// generation, for this member.
    pub fn is_headed_by(
        &self,
        header: &SliceHeaderOnDisk,
        owner: (u64, u16),
        (birth, generation): (u64, u64),
        member: Membership,
    ) -> bool {
        header.identity() == self.identity(owner, birth, generation)
            && header.length.get() == self.length
            && header.membership() == member
    }
}

/// Returns a run for each slice of a segment, in order.
pub fn runs_one_by_one(segment: &SegmentV1) -> impl Iterator<Item = RunV1> + '_ {
    segment.runs.iter().flat_map(|run| {
        let one = |at| RunV1 { unit: run.unit + at * UNITS_PER_SLOT, slices: run.slices.min(1), ..*run };
        (0..run.slices.max(1)).map(one)
    })
}

/// Joins adjacent runs, so that the layout of a large object stays short.
pub fn coalesce(runs: impl IntoIterator<Item = RunV1>) -> Vec<RunV1> {
    let mut joined: Vec<RunV1> = Vec::new();
    for run in runs {
        let touches = |last: &RunV1| {
            last.slices > 0
                && run.slices > 0
                && last.extent == run.extent
                && last.unit + last.slices * UNITS_PER_SLOT == run.unit
        };
        match joined.last_mut().filter(|last| touches(last)) {
            Some(last) => last.slices += run.slices,
            None => joined.push(run),
        }
    }
    joined
}

/// Counts the full slices of large objects and the runs that they are in. Tail slices are not
/// counted, because each one is a run of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunCount {
    /// Number of full slices.
    pub slices: u64,
    /// Number of runs that hold full slices.
    pub runs: u64,
}

impl RunCount {
    pub fn add(&mut self, segment: &SegmentV1) {
        *self = self.plus(Self::of(segment));
    }

    pub fn plus(self, other: Self) -> Self {
        Self { slices: self.slices + other.slices, runs: self.runs + other.runs }
    }

    pub fn remove(&mut self, segment: &SegmentV1) {
        *self = self.minus(Self::of(segment));
    }

    pub fn minus(self, other: Self) -> Self {
        Self { slices: self.slices - other.slices, runs: self.runs - other.runs }
    }

    /// Returns the mean number of slices in a run, which measures fragmentation, or 0 if there are
    /// none.
    pub fn mean_slices(&self) -> f64 {
        if self.runs == 0 { 0.0 } else { self.slices as f64 / self.runs as f64 }
    }

    pub fn of(segment: &SegmentV1) -> Self {
        let full = segment.runs.iter().filter(|run| run.slices > 0);
        full.fold(Self::default(), |sum, run| Self {
            slices: sum.slices + u64::from(run.slices),
            runs: sum.runs + 1,
        })
    }
}
