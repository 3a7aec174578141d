//! What GETs and HEADs ask of drives.
//!
//! Every request that the read cache does not answer opens its object first: one read of the record, with the body if
//! that is small. A GET of a large one then reads slices, in whole checksum blocks, with a header for each.
//!
//! Invariant: what a request reads is what the engine says ([`sizing`]); only means are taken here.

use super::demand::MonthDemand;
use super::node::Fleet;
use crate::plan::workload::Requests;
use ringbolt_engine::format::BLOCK_BYTES;
use ringbolt_engine::format::record::RECORD_ALIGNMENT;
use ringbolt_engine::node::sizing::{self, ObjectShape, ObjectSizing};

/// Ranges of a class of sizes that are looked at. They begin anywhere in their object, drawn with a seed of their own.
const RANGES: u64 = 256;
const SEED: u64 = 1;

/// Means over all objects: those of small ones are 0 for large ones, and the other way round.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ReadCost {
    /// Read to open a small object, and a large one: the blocks of a record that begins anywhere in a block.
    pub small_opened_bytes: f64,
    pub large_opened_bytes: f64,
    /// Of slices, by a GET of the whole.
    pub whole_reads: f64,
    pub whole_bytes: f64,
    /// By a GET of a range.
    pub range_reads: f64,
    pub range_bytes: f64,
    /// Bytes that the GET of a range answers with, and those of them from small objects.
    pub range_got_bytes: f64,
    pub range_got_small_bytes: f64,
}

impl ReadCost {
    pub fn of(shape: &ObjectShape, sizing: &ObjectSizing, ranges: &mut Ranges) -> Self {
        let aligned = sizing.record_bytes.next_multiple_of(RECORD_ALIGNMENT as u64);
        // Over all places that a record may have in a block, the mean of the blocks that it touches.
        let opened = (BLOCK_BYTES as u64 - RECORD_ALIGNMENT as u64 + aligned) as f64;
        let got = ranges.bytes.min(shape.body_bytes) as f64;
        if sizing.slice_bytes == 0 {
            return Self {
                small_opened_bytes: opened,
                range_got_bytes: got,
                range_got_small_bytes: got,
                ..Self::default()
            };
        }
        let whole = sizing::slice_reads(shape, 0..shape.body_bytes);
        let (range_reads, range_bytes) = ranges.mean(shape);
        Self {
            large_opened_bytes: opened,
            whole_reads: whole.reads as f64,
            whole_bytes: whole.bytes as f64,
            range_reads,
            range_bytes,
            range_got_bytes: got,
            ..Self::default()
        }
    }

    /// Every figure; the pattern misses none.
    pub fn values(&mut self) -> [&mut f64; 8] {
        let Self {
            small_opened_bytes,
            large_opened_bytes,
            whole_reads,
            whole_bytes,
            range_reads,
            range_bytes,
            range_got_bytes,
            range_got_small_bytes,
        } = self;
        [
            small_opened_bytes,
            large_opened_bytes,
            whole_reads,
            whole_bytes,
            range_reads,
            range_bytes,
            range_got_bytes,
            range_got_small_bytes,
        ]
    }
}

/// Ranges that GETs ask for.
pub struct Ranges {
    bytes: u64,
    /// Of each object; 0: nobody asks for any.
    drawn: u64,
    random: fastrand::Rng,
}

impl Ranges {
    /// For so many objects of a class.
    pub fn new(requests: &Requests, objects: u64) -> Self {
        let drawn = if requests.range_share > 0.0 { RANGES.div_ceil(objects) } else { 0 };
        Self { bytes: requests.range_bytes, drawn, random: fastrand::Rng::with_seed(SEED) }
    }

    /// Reads of slices and their bytes.
    fn mean(&mut self, shape: &ObjectShape) -> (f64, f64) {
        let length = self.bytes.min(shape.body_bytes);
        let (mut reads, mut bytes) = (0, 0);
        for _ in 0..self.drawn {
            let start = self.random.u64(..=shape.body_bytes - length);
            let read = sizing::slice_reads(shape, start..start + length);
            (reads, bytes) = (reads + read.reads, bytes + read.bytes);
        }
        let drawn = self.drawn.max(1) as f64;
        (reads as f64 / drawn, bytes as f64 / drawn)
    }
}

/// Of all drives together, in a second.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct DriveReads {
    pub reads: f64,
    pub bytes: f64,
}

impl Fleet<'_> {
    /// What the GETs and HEADs of a month read from drives; HEADs find in the read cache what GETs find there.
    pub fn drive_reads(&self, month: &MonthDemand, nodes: f64) -> DriveReads {
        let (object, read) = (&self.object, &self.object.read);
        let missed = 1.0 - self.cache_hit_share(month, nodes);
        let opened = month.get_per_s + month.head_per_s;
        let opened_bytes = missed * read.small_opened_bytes + read.large_opened_bytes;
        let opened_reads = missed * object.inline_share + 1.0 - object.inline_share;
        let range_share = self.workload.requests.range_share;
        let by_get = |whole: f64, range: f64| whole + range_share * (range - whole);
        DriveReads {
            reads: opened * opened_reads + month.get_per_s * by_get(read.whole_reads, read.range_reads),
            bytes: opened * opened_bytes + month.get_per_s * by_get(read.whole_bytes, read.range_bytes),
        }
    }

    /// Bytes of the answer to a GET: of all objects, and of those of them that lie in their records.
    pub(super) fn got_bytes(&self) -> (f64, f64) {
        let (object, read) = (&self.object, &self.object.read);
        let range_share = self.workload.requests.range_share;
        let mean = |whole: f64, ranged: f64| whole + range_share * (ranged - whole);
        let all = mean(object.logical_bytes, read.range_got_bytes);
        (all, mean(object.inline_bytes, read.range_got_small_bytes).min(all))
    }
}
