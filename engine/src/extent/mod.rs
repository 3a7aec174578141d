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
pub mod slices;

pub use self::drives::{Drives, Losses, Outcomes, Reached, SetCopy, SetWriter, Writes};
pub use self::geometry::{Geometry, LogSet, SetPlace};
pub use self::members::{MEMBERS_MAX, Member, Members};
use crate::format::BLOCK_BYTES;
use crate::format::record::{RunV1, SegmentV1};
use crate::format::slice::{SLICE_BYTES, SliceHeaderOnDisk, SliceIdentity, UNIT_BYTES, UNITS_PER_SLOT};

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
    /// generation.
    pub fn is_headed_by(
        &self,
        header: &SliceHeaderOnDisk,
        owner: (u64, u16),
        birth: u64,
        generation: u64,
    ) -> bool {
        header.identity() == self.identity(owner, birth, generation) && header.length.get() == self.length
    }
}

/// Returns the units of the tail slice of a body of `length` bytes, or 0 if the body ends with a
/// full slice.
pub fn tail_units(length: u64) -> u32 {
    match (length % SLICE_BYTES as u64) as usize {
        0 => 0,
        tail => (BLOCK_BYTES + tail).div_ceil(UNIT_BYTES) as u32,
    }
}

/// Returns the number of full slices of a body of `length` bytes.
pub fn full_slices(length: u64) -> u64 {
    length / SLICE_BYTES as u64
}

/// Returns the slices of a segment in order.
pub fn slices_of(segment: &SegmentV1) -> impl Iterator<Item = SlicePlace> + '_ {
    let tail_length = (segment.length % SLICE_BYTES as u64) as u32;
    let places = segment.runs.iter().flat_map(move |run| {
        let count = run.slices.max(1);
        let length = if run.slices == 0 { tail_length } else { SLICE_BYTES as u32 };
        (0..count).map(move |at| (run.extent, (run.unit + at * UNITS_PER_SLOT) * UNIT_BYTES as u32, length))
    });
    places.enumerate().map(|(number, (extent, offset, length))| SlicePlace {
        extent,
        offset,
        number: number as u32,
        length,
    })
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

/// Returns the units that a segment takes.
pub fn segment_units(segment: &SegmentV1) -> u64 {
    segment.runs.iter().map(|run| u64::from(run_units(run, segment.length))).sum()
}

/// Returns whether the runs are those of a body of the segment's length, and lie within sets of
/// `units_per_extent` units each. A segment that was read from a drive is checked with this before
/// anything else relies on it.
pub fn is_whole(segment: &SegmentV1, units_per_extent: u32) -> bool {
    let lies_within = |run: &RunV1| {
        let units = match run.slices {
            0 => Some(tail_units(segment.length)),
            slices => slices.checked_mul(UNITS_PER_SLOT),
        };
        let end = units.and_then(|units| run.unit.checked_add(units));
        end.is_some_and(|end| end <= units_per_extent)
    };
    let full: u64 = segment.runs.iter().map(|run| u64::from(run.slices)).sum();
    let tails = segment.runs.iter().filter(|run| run.slices == 0).count();
    let tail_is_last = segment.runs.iter().rev().skip(1).all(|run| run.slices > 0);
    segment.runs.iter().all(lies_within)
        && full == full_slices(segment.length)
        && tails == usize::from(tail_units(segment.length) > 0)
        && tail_is_last
}

/// Returns the units that a run takes in a segment of `length` bytes.
pub fn run_units(run: &RunV1, length: u64) -> u32 {
    if run.slices == 0 { tail_units(length) } else { run.slices * UNITS_PER_SLOT }
}
