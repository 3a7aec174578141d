//! Extents of a drive, and the slices in those that hold large objects.
//!
//! Invariants:
//! - A free extent belongs to the drive's allocator; an owned one to one shard, from that shard's own durable record
//!   on.
//! - What is allocated is derived at recovery from what the index names; nothing here is logged.

pub mod allocator;
mod geometry;
pub mod slices;

pub use self::geometry::Geometry;
use crate::format::BLOCK_BYTES;
use crate::format::record::{RunV1, SegmentV1};
use crate::format::slice::{SLICE_BYTES, SliceHeaderOnDisk, SliceIdentity, UNIT_BYTES, UNITS_PER_SLOT};

/// A slice's place and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlicePlace {
    pub extent: u32,
    /// Byte offset of the header within the extent.
    pub offset: u32,
    /// Within the segment, from 0.
    pub number: u32,
    /// Bytes of payload.
    pub length: u32,
}

impl SlicePlace {
    /// What the header of this slice says, of the segment with this generation on the drive with this identity.
    pub fn identity(&self, drive: u64, shard: u16, generation: u64) -> SliceIdentity {
        let Self { extent, offset, number, .. } = *self;
        SliceIdentity { drive, shard, generation, number, extent, offset }
    }

    /// Whether a header that was read here is this slice's, of the segment with this generation.
    pub fn is_headed_by(
        &self,
        header: &SliceHeaderOnDisk,
        (drive, shard): (u64, u16),
        generation: u64,
    ) -> bool {
        header.identity() == self.identity(drive, shard, generation) && header.length.get() == self.length
    }
}

/// Units of the tail slice of a body of `length` bytes; 0 when it ends with a full slice.
pub fn tail_units(length: u64) -> u32 {
    match (length % SLICE_BYTES as u64) as usize {
        0 => 0,
        tail => (BLOCK_BYTES + tail).div_ceil(UNIT_BYTES) as u32,
    }
}

/// Full slices of a body of `length` bytes.
pub fn full_slices(length: u64) -> u64 {
    length / SLICE_BYTES as u64
}

/// The slices of a segment in order.
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

/// A run for each slice of a segment, in order.
pub fn runs_one_by_one(segment: &SegmentV1) -> impl Iterator<Item = RunV1> + '_ {
    segment.runs.iter().flat_map(|run| {
        let one = |at| RunV1 { unit: run.unit + at * UNITS_PER_SLOT, slices: run.slices.min(1), ..*run };
        (0..run.slices.max(1)).map(one)
    })
}

/// Joins runs where they touch, so that a large object's layout stays short.
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

/// How much of large objects lies in a row: full slices, and the runs they are in. Tails are always one by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RunCount {
    pub slices: u64,
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

    /// Fragmentation: slices in a row, on average. 0 without any.
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

/// Units that a segment takes.
pub fn segment_units(segment: &SegmentV1) -> u64 {
    segment.runs.iter().map(|run| u64::from(run_units(run, segment.length))).sum()
}

/// Whether the runs are those of a body of the segment's length, and lie within a drive of `extents` extents of
/// `units_per_extent` units. What comes from a drive is asked this before anything else counts with it.
pub fn is_whole(segment: &SegmentV1, extents: u32, units_per_extent: u32) -> bool {
    let lies_within = |run: &RunV1| {
        let units = match run.slices {
            0 => Some(tail_units(segment.length)),
            slices => slices.checked_mul(UNITS_PER_SLOT),
        };
        let end = units.and_then(|units| run.unit.checked_add(units));
        run.extent < extents && end.is_some_and(|end| end <= units_per_extent)
    };
    let full: u64 = segment.runs.iter().map(|run| u64::from(run.slices)).sum();
    let tails = segment.runs.iter().filter(|run| run.slices == 0).count();
    let tail_is_last = segment.runs.iter().rev().skip(1).all(|run| run.slices > 0);
    segment.runs.iter().all(lies_within)
        && full == full_slices(segment.length)
        && tails == usize::from(tail_units(segment.length) > 0)
        && tail_is_last
}

/// Units that a run takes, in a segment of `length` bytes.
pub fn run_units(run: &RunV1, length: u64) -> u32 {
    if run.slices == 0 { tail_units(length) } else { run.slices * UNITS_PER_SLOT }
}
