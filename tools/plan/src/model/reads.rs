//! This module computes what GETs and HEADs read from drives.
//!
//! Every request that the read cache does not answer first opens its object: one read of the
//! record, which includes the body of a small object. A GET of a large object then reads slices, in
//! whole checksum blocks, with a header for each. Of a slice in a striped set it reads the data members
//! that have bytes of what is wanted. If an object is stored in pieces, a GET reads as many as suffice,
//! and a HEAD reads one.
//!
//! Invariant: what a request reads is what the engine says ([`sizing`]); this module only takes
//! means.

use super::demand::MonthDemand;
use super::node::Fleet;
use crate::workload::Requests;
use ringbolt_engine::node::sizing::{self, ObjectShape, ObjectSizing, Shape};
use ringbolt_engine::node::sizing::{BLOCK_BYTES, CRC_BLOCK_BYTES, RECORD_ALIGNMENT};

/// Means are taken over this many ranges of a class of sizes. They begin anywhere in their object,
/// and are drawn with a constant seed.
const RANGES: u64 = 256;
const SEED: u64 = 1;

/// Holds the cost of opening an object, as means over all objects: the figures of small objects are
/// 0 for large ones, and vice versa.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OpenCost {
    /// Counts opened records of pieces that are inline; `large` counts those of pieces in slices.
    pub small: f64,
    pub large: f64,
    /// This is what is read to open them: the blocks of a record that begins anywhere in a block.
    pub small_bytes: f64,
    pub large_bytes: f64,
}

impl OpenCost {
    /// Returns the cost of one piece.
    pub fn of(sizing: &ObjectSizing) -> Self {
        let aligned = sizing.record_bytes.next_multiple_of(RECORD_ALIGNMENT as u64);
        // The mean is over all positions of the record in its first block.
        let opened = (BLOCK_BYTES as u64 - RECORD_ALIGNMENT as u64 + aligned) as f64;
        if sizing.slice_bytes == 0 {
            Self { small: 1.0, small_bytes: opened, ..Self::default() }
        } else {
            Self { large: 1.0, large_bytes: opened, ..Self::default() }
        }
    }

    fn times(self, by: f64) -> Self {
        let Self { small, large, small_bytes, large_bytes } = self;
        Self {
            small: small * by,
            large: large * by,
            small_bytes: small_bytes * by,
            large_bytes: large_bytes * by,
        }
    }

    /// Returns the reads and their bytes, if the share `hit` of the small ones is in the read
    /// cache.
    fn reads(&self, hit: f64) -> DriveReads {
        let missed = 1.0 - hit;
        DriveReads {
            reads: missed * self.small + self.large,
            bytes: missed * self.small_bytes + self.large_bytes,
        }
    }

    /// Returns every figure; the pattern is exhaustive.
    pub fn values(&mut self) -> [&mut f64; 4] {
        let Self { small, large, small_bytes, large_bytes } = self;
        [small, large, small_bytes, large_bytes]
    }
}

/// Holds the cost of a GET, as means over all GETs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ReadCost {
    /// This is the cost of opening for a GET of the whole object: it opens each of the pieces that
    /// suffice.
    pub whole_opened: OpenCost,
    /// Counts reads of slices.
    pub whole_reads: f64,
    pub whole_bytes: f64,
    /// This is the size of the response; `whole_got_small_bytes` is the part that comes from inline
    /// pieces.
    pub whole_got_bytes: f64,
    pub whole_got_small_bytes: f64,
    /// This is the same for the GET of a range, and so are the next four.
    pub range_opened: OpenCost,
    pub range_reads: f64,
    pub range_bytes: f64,
    pub range_got_bytes: f64,
    pub range_got_small_bytes: f64,
}

impl ReadCost {
    /// Returns the cost of an object of `body_bytes`, which is stored in `data` pieces of the shape
    /// `piece`, with slices in `sets`.
    pub fn of(
        (sets, piece): (Shape, &ObjectShape),
        sizing: &ObjectSizing,
        body_bytes: u64,
        data: u64,
        ranges: &mut Ranges,
    ) -> Self {
        let opened = OpenCost::of(sizing);
        let inline = sizing.slice_bytes == 0;
        let (whole, range) = (body_bytes as f64, ranges.bytes.min(body_bytes) as f64);
        let touched = ranges.touched(body_bytes, data);
        let all = Self {
            whole_opened: opened.times(data as f64),
            whole_got_bytes: whole,
            range_opened: opened.times(touched as f64),
            range_got_bytes: range,
            ..Self::default()
        };
        if inline {
            return Self { whole_got_small_bytes: whole, range_got_small_bytes: range, ..all };
        }
        let read = sizing::slice_reads(sets, piece, 0..piece.body_bytes);
        let (range_reads, range_bytes) = ranges.mean((sets, piece), touched);
        Self {
            whole_reads: (read.reads * data) as f64,
            whole_bytes: (read.bytes * data) as f64,
            range_reads: range_reads * touched as f64,
            range_bytes: range_bytes * touched as f64,
            ..all
        }
    }

    /// Returns the mean of a whole GET and a range GET, if `range_share` of the GETs are for a
    /// range.
    fn mean(range_share: f64, whole: f64, range: f64) -> f64 {
        whole + range_share * (range - whole)
    }

    /// Returns the cost of the records that a GET opens.
    pub fn opened(&self, range_share: f64) -> OpenCost {
        let (mut whole, mut range) = (self.whole_opened, self.range_opened);
        for (value, ranged) in whole.values().into_iter().zip(range.values()) {
            *value = Self::mean(range_share, *value, *ranged);
        }
        whole
    }

    /// Returns every figure; the pattern is exhaustive.
    pub fn values(&mut self) -> Vec<&mut f64> {
        let Self {
            whole_opened,
            whole_reads,
            whole_bytes,
            whole_got_bytes,
            whole_got_small_bytes,
            range_opened,
            range_reads,
            range_bytes,
            range_got_bytes,
            range_got_small_bytes,
        } = self;
        let own = [
            whole_reads,
            whole_bytes,
            whole_got_bytes,
            whole_got_small_bytes,
            range_reads,
            range_bytes,
            range_got_bytes,
            range_got_small_bytes,
        ];
        own.into_iter().chain(whole_opened.values()).chain(range_opened.values()).collect()
    }
}

/// Draws the ranges that GETs ask for.
pub struct Ranges {
    bytes: u64,
    /// This is the number of ranges per object; it is 0 if no GET asks for a range.
    drawn: u64,
    random: fastrand::Rng,
}

impl Ranges {
    /// Creates the ranges for this many objects of a class.
    pub fn new(requests: &Requests, objects: u64) -> Self {
        let drawn = if requests.range_share > 0.0 { RANGES.div_ceil(objects) } else { 0 };
        Self { bytes: requests.range_bytes, drawn, random: fastrand::Rng::with_seed(SEED) }
    }

    /// Returns how many of the `data` pieces of a body of `body_bytes` contain bytes of a range.
    /// The pieces take turns in checksum blocks; those of a short object are shorter than a block.
    fn touched(&self, body_bytes: u64, data: u64) -> u64 {
        let block = (CRC_BLOCK_BYTES as u64).min(body_bytes.div_ceil(data)).max(1);
        self.bytes.min(body_bytes).div_ceil(block).clamp(1, data)
    }

    /// Returns the mean reads of slices, and their bytes, for one of `touched` pieces that contain
    /// a range together.
    fn mean(&mut self, (sets, piece): (Shape, &ObjectShape), touched: u64) -> (f64, f64) {
        let length = self.bytes.div_ceil(touched).min(piece.body_bytes);
        let (mut reads, mut bytes) = (0, 0);
        for _ in 0..self.drawn {
            let start = self.random.u64(..=piece.body_bytes - length);
            let read = sizing::slice_reads(sets, piece, start..start + length);
            (reads, bytes) = (reads + read.reads, bytes + read.bytes);
        }
        let drawn = self.drawn.max(1) as f64;
        (reads as f64 / drawn, bytes as f64 / drawn)
    }
}

/// Holds the reads from all drives together, per second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DriveReads {
    pub reads: f64,
    pub bytes: f64,
}

impl Fleet<'_> {
    /// Returns what the GETs and HEADs of a month read from drives. HEADs find in the read cache
    /// what GETs find there.
    pub fn drive_reads(&self, month: &MonthDemand, nodes: f64) -> DriveReads {
        let read = &self.object.get;
        let hit = self.cache_hit_share(month, nodes);
        let range_share = self.workload.requests.range_share;
        let (by_get, by_head) = (read.opened(range_share).reads(hit), self.object.head.reads(hit));
        let of_slices = |whole, range| ReadCost::mean(range_share, whole, range);
        DriveReads {
            reads: month.get_per_s * (by_get.reads + of_slices(read.whole_reads, read.range_reads))
                + month.head_per_s * by_head.reads,
            bytes: month.get_per_s * (by_get.bytes + of_slices(read.whole_bytes, read.range_bytes))
                + month.head_per_s * by_head.bytes,
        }
    }

    /// Returns the bytes in the response to a GET: of all objects, and of the inline ones among
    /// them.
    pub(super) fn got_bytes(&self) -> (f64, f64) {
        let read = &self.object.get;
        let range_share = self.workload.requests.range_share;
        let mean = |whole, ranged| ReadCost::mean(range_share, whole, ranged);
        let all = mean(read.whole_got_bytes, read.range_got_bytes);
        (all, mean(read.whole_got_small_bytes, read.range_got_small_bytes).min(all))
    }
}
