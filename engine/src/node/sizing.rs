//! The space that objects take on a drive and the room that a drive has: the engine's own
//! arithmetic, for planning.
//!
//! Invariants: nothing here does I/O, and no formula is written twice. Lengths are those of encoded
//! records, and shares are those that the shards keep.

use super::format;
pub use crate::extent::Shape;
pub use crate::format::BLOCK_BYTES;
use crate::format::batch;
use crate::format::blocks_up;
use crate::format::parts::{PARTS_IN_RECORD_MAX, encode_table};
pub use crate::format::record::RECORD_ALIGNMENT;
use crate::format::record::{
    DeleteV1, ENVELOPE_BYTES, Mutation, PartPutV1, PartV1, PutV1, RunV1, STATE_NULL, SegmentV1, UploadPartV1,
};
pub use crate::format::slice::{CRC_BLOCK_BYTES, MEMBERS_OF_SLICES_MAX, SLICE_BYTES, UNIT_BYTES};
pub use crate::format::superblock::{HOMES as HOMES_MAX, VIEW_DRIVES};
use crate::index::{OrderedIndex, PointTable, Step, keys, leaf};
use crate::shard::PIECE_BYTES_MAX;
use crate::shard::checkpoint;
use crate::shard::entry::{EXTENTS_MAX, Entry};
use crate::shard::space as shares;
use std::ops::Range;

/// Bytes of a group commit before its records.
pub const BATCH_HEADER_BYTES: u64 = batch::HEADER_BYTES as u64;
/// Longest group commit, bytes.
pub const BATCH_BYTES_MAX: u64 = batch::BATCH_BYTES_MAX as u64;
/// Longest body that is stored in its record, bytes.
pub const INLINE_BYTES_MAX: u64 = format::INLINE_BYTES_MAX as u64;
/// The share by which live log bytes grow when the cleaner writes them together: headers, padding
/// and unused ends of extents.
pub const COPIES_OVERHEAD_SHARE: f64 = 1.0 / shares::COPIES_OVERHEAD_PART as f64;

/// While puts wait for space, a shard writes a checkpoint when it frees at least one byte for this
/// many bytes of its index.
pub const RECLAIMED_PART: u64 = checkpoint::RECLAIMED_PART;

/// Example values of a time in milliseconds and of a generation of a node's first life. They give
/// realistic lengths, because the index writes numbers in as few bytes as they need.
const MODIFIED_MS: u64 = 1_800_000_000_000;
const GENERATION: u64 = 1 << 41;

/// The properties of an object that decide its size on a drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObjectShape {
    pub key_bytes: usize,
    /// Length of all attributes, names and values.
    pub attribute_bytes: usize,
    pub body_bytes: u64,
    /// Length of the parts in which the object was uploaded; `None` for an upload in one piece.
    pub part_bytes: Option<u64>,
}

/// The space that an object takes: records in each copy, and slices in each member of their sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ObjectSizing {
    /// Length of its record in the log, including the body if that is small.
    pub record_bytes: u64,
    /// Length of its slices, in whole units.
    pub slice_bytes: u64,
    /// The part of the slices that is tails, at the end of the object or of each part.
    pub tail_bytes: u64,
    /// Bytes that are written for the slices, including headers and padding.
    pub slice_written_bytes: u64,
    /// Number of the writes of these bytes.
    pub slice_writes: u64,
    /// Length of the records of its parts, which are dead once the upload is complete.
    pub part_record_bytes: u64,
    /// Length of the index entry beside the key.
    pub index_value_bytes: u64,
}

/// Returns the space that an object of this shape takes where slices lie in `sets`.
pub fn object(sets: Shape, shape: &ObjectShape) -> ObjectSizing {
    let mut segments = segments(sets, shape);
    let inline = if segments.is_empty() { shape.body_bytes } else { 0 };
    let attributes = attributes(shape.attribute_bytes);
    let multipart = shape.part_bytes.is_some() && segments.len() > 1;
    let part_record_bytes = if multipart { part_records(shape, &segments) } else { 0 };
    let mut parts: Vec<PartV1> = if multipart {
        segments.iter().enumerate().map(|(at, segment)| part(at, segment.length)).collect()
    } else {
        Vec::new()
    };
    if parts.len() > PARTS_IN_RECORD_MAX {
        segments.push(segment(sets, encode_table(&std::mem::take(&mut parts)).len() as u64));
    }
    let put = PutV1 {
        bucket: 1,
        key: vec![0; shape.key_bytes],
        generation: GENERATION,
        change: 0,
        state: STATE_NULL,
        removes: 0,
        null: GENERATION,
        size: shape.body_bytes,
        modified_ms: MODIFIED_MS,
        md5: [0; 16],
        etag_parts: 0,
        upload: multipart.then_some(0),
        attributes,
        parts,
        segments: segments.clone(),
    };
    let mut value = Vec::new();
    Entry::of_put(&put, 0, 0, 0).encode(&mut value);
    ObjectSizing {
        record_bytes: record_bytes(&Mutation::Put(put)) + inline,
        slice_bytes: segments.iter().map(|segment| sets.segment_units(segment) * UNIT_BYTES as u64).sum(),
        tail_bytes: segments.iter().map(|segment| tail_bytes(sets, segment.length)).sum(),
        slice_written_bytes: segments.iter().map(|segment| written(sets, segment.length).bytes).sum(),
        slice_writes: segments.iter().map(|segment| written(sets, segment.length).writes).sum(),
        part_record_bytes,
        index_value_bytes: value.len() as u64,
    }
}

/// Returns the length of the record of a delete.
pub fn delete_record_bytes(key_bytes: usize) -> u64 {
    record_bytes(&Mutation::Delete(DeleteV1 { bucket: 1, key: vec![0; key_bytes], removes: 0, null: 0 }))
}

fn record_bytes(mutation: &Mutation) -> u64 {
    (ENVELOPE_BYTES + mutation.encode().len()) as u64
}

fn part_records(shape: &ObjectShape, segments: &[SegmentV1]) -> u64 {
    let record = |segment: &SegmentV1| {
        record_bytes(&Mutation::UploadPart(PartPutV1 {
            bucket: 1,
            key: vec![0; shape.key_bytes],
            upload: 0,
            part: UploadPartV1 { info: part(0, segment.length), segment: segment.clone() },
        }))
    };
    // All parts but the last are alike.
    let [first, .., last] = segments else { return 0 };
    record(first) * (segments.len() as u64 - 1) + record(last)
}

fn part(at: usize, size: u64) -> PartV1 {
    PartV1 { number: at as u16 + 1, size, modified_ms: 0, md5: [0; 16], checksum: Vec::new() }
}

/// Makes attributes of `bytes` bytes in all. Names are fifteen bytes long, about as `content-type`
/// is.
fn attributes(bytes: usize) -> Vec<(String, String)> {
    const NAME_BYTES: usize = 15;
    if bytes == 0 {
        return Vec::new();
    }
    let name = "n".repeat(NAME_BYTES.min(bytes));
    vec![(name, "v".repeat(bytes.saturating_sub(NAME_BYTES)))]
}

/// Returns the object's segments as they lie when there is room for full slices in a row.
fn segments(sets: Shape, shape: &ObjectShape) -> Vec<SegmentV1> {
    let body = shape.body_bytes;
    let Some(each) = segment_bytes(shape) else { return Vec::new() };
    (0..body.div_ceil(each)).map(|at| segment(sets, each.min(body - at * each))).collect()
}

/// Returns the length of all segments but the last, or `None` when the body is in the record.
fn segment_bytes(shape: &ObjectShape) -> Option<u64> {
    let body = shape.body_bytes;
    let part = shape.part_bytes.filter(|&part| part > 0 && body > part);
    part.or_else(|| (body > INLINE_BYTES_MAX).then_some(body))
}

fn segment(sets: Shape, length: u64) -> SegmentV1 {
    let full = sets.full_slices(length);
    let rows = (0..full.div_ceil(format::SLOTS_MAX)).map(|row| RunV1 {
        extent: 0,
        unit: 0,
        slices: (full - row * format::SLOTS_MAX).min(format::SLOTS_MAX) as u32,
    });
    let tail = (sets.tail_units(length) > 0).then_some(RunV1 { extent: 0, unit: 0, slices: 0 });
    SegmentV1 { generation: GENERATION, length, runs: rows.chain(tail).collect() }
}

fn tail_bytes(sets: Shape, length: u64) -> u64 {
    u64::from(sets.tail_units(length)) * UNIT_BYTES as u64
}

/// Number and size of the writes to each member.
#[derive(Clone, Copy, Debug, Default)]
struct Written {
    writes: u64,
    bytes: u64,
}

/// Returns what is written for a segment: headers, and the payload in whole blocks.
fn written(sets: Shape, length: u64) -> Written {
    let of_slice = |payload: u64| {
        let chunk = blocks_up(sets.chunk_bytes(payload as usize)) as u64;
        Written { writes: 1 + chunk.div_ceil(piece_bytes(sets)), bytes: BLOCK_BYTES as u64 + chunk }
    };
    let full = sets.full_slices(length);
    let tail = length % sets.slice_bytes() as u64;
    let (each, last) = (of_slice(sets.slice_bytes() as u64), of_slice(tail));
    let tails = u64::from(tail > 0);
    Written {
        writes: full * each.writes + tails * last.writes,
        bytes: full * each.bytes + tails * last.bytes,
    }
}

/// Number and size of reads of a drive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadSizing {
    pub reads: u64,
    pub bytes: u64,
}

impl ReadSizing {
    fn add(&mut self, other: Self, times: u64) {
        self.reads += other.reads * times;
        self.bytes += other.bytes * times;
    }
}

/// Bytes that are read or written at once when there are enough buffers.
pub const PIECE_BYTES: u64 = 1 << 20;

/// Returns the bytes that are read of a member at once, or written, when there are enough buffers.
pub fn piece_bytes(sets: Shape) -> u64 {
    if sets.is_striped() { PIECE_BYTES_MAX as u64 } else { PIECE_BYTES }
}

/// Returns what a GET of `range`, which is within the body, reads of slices in `sets` after the
/// record, from all members together. That is nothing if the record holds the body.
pub fn slice_reads(sets: Shape, shape: &ObjectShape, range: Range<u64>) -> ReadSizing {
    let mut sum = ReadSizing::default();
    let Some(segment) = segment_bytes(shape) else { return sum };
    each_piece(range, segment, shape.body_bytes, |range, length, segments| {
        each_piece(range, sets.slice_bytes() as u64, length, |range, length, slices| {
            let reads = match sets.is_striped() {
                true => reads_of_striped(sets, range.start as usize..range.end as usize, length as usize),
                false => reads_of_slice(range, length),
            };
            sum.add(reads, segments * slices);
        });
    });
    sum
}

/// Returns the reads of one slice: its header, and whole checksum blocks.
fn reads_of_slice(range: Range<u64>, length: u64) -> ReadSizing {
    let block = CRC_BLOCK_BYTES as u64;
    let start = range.start - range.start % block;
    let end = range.end.next_multiple_of(block).min(length);
    ReadSizing {
        reads: 1 + (range.end - start).div_ceil(PIECE_BYTES),
        bytes: (BLOCK_BYTES + blocks_up((end - start) as usize)) as u64,
    }
}

/// Returns the reads of one slice of `payload` bytes in a striped set: the header of each data member that has bytes
/// of the range, and whole checksum blocks of these.
fn reads_of_striped(sets: Shape, range: Range<usize>, payload: usize) -> ReadSizing {
    let (chunk, row) = (sets.chunk_bytes(payload), sets.row_bytes());
    let mut sum = ReadSizing::default();
    let mut is_headed = vec![false; sets.data()];
    let mut at = range.start;
    while at < range.end {
        let start = at / row * CRC_BLOCK_BYTES;
        let end_of_row = (at / row * row + row).min(payload);
        let is_part = !at.is_multiple_of(row) || range.end < end_of_row;
        let (columns, length, next) = if is_part {
            let next = range.end.min(end_of_row);
            let columns = sets.piece_at(at, payload).member..sets.piece_at(next - 1, payload).member + 1;
            (columns, (chunk - start).min(CRC_BLOCK_BYTES), next)
        } else {
            let end = if range.end == payload { chunk } else { range.end / row * CRC_BLOCK_BYTES };
            let length = (end - start).min(PIECE_BYTES_MAX);
            let is_last = start + length == chunk;
            let next = if is_last { payload } else { (start + length) / CRC_BLOCK_BYTES * row };
            (0..sets.data(), length, next)
        };
        at = next;
        is_headed[columns.clone()].fill(true);
        sum.add(ReadSizing { reads: 1, bytes: length as u64 }, columns.len() as u64);
    }
    let headers = is_headed.into_iter().filter(|is_headed| *is_headed).count() as u64;
    sum.add(ReadSizing { reads: 1, bytes: BLOCK_BYTES as u64 }, headers);
    sum
}

/// Calls `visit` for each piece of `piece` bytes that `range` touches; the last piece ends at
/// `all`. `visit` gets the range within the piece, the piece's length, and the number of equal
/// pieces.
fn each_piece(range: Range<u64>, piece: u64, all: u64, mut visit: impl FnMut(Range<u64>, u64, u64)) {
    if range.is_empty() {
        return;
    }
    let (first, last) = (range.start / piece, (range.end - 1) / piece);
    let mut visit_one = |at: u64, times: u64| {
        let (start, length) = (at * piece, piece.min(all - at * piece));
        visit(range.start.saturating_sub(start)..(range.end - start).min(length), length, times);
    };
    visit_one(first, 1);
    // The pieces between the first and the last are read whole.
    if last > first + 1 {
        visit_one(first + 1, last - first - 1);
    }
    if last > first {
        visit_one(last, 1);
    }
}

/// A drive as `format` makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DriveSizing {
    pub extent_bytes: u64,
    pub extents: u64,
    /// Number of shards on the drive.
    pub shards: u64,
    /// Extents of each shard that can hold no live data, beside what its log and checkpoints need.
    pub cleaner_extents: u64,
    /// Free extents in which each shard's cleaner works.
    pub cleaner_working_extents: u64,
    /// Most log bytes that a shard writes between two checkpoints.
    pub checkpoint_after_bytes: u64,
    /// Dead log bytes from which on a shard cleans, however much space is free, if they are more
    /// than the live ones.
    pub dead_bytes_max: u64,
}

/// Returns the size of the smallest drive.
pub fn drive_bytes_min() -> u64 {
    format::EXTENTS_START + format::EXTENTS_PER_SHARD * format::SLOT_BYTES
}

/// Returns the size of the largest drive that is used completely.
pub fn drive_bytes_max() -> u64 {
    format::EXTENTS_START + u64::from(EXTENTS_MAX) * format::SLOT_BYTES * format::SLOTS_MAX
}

/// Returns the layout of a drive of `size_bytes`, at least [`drive_bytes_min`], with `shards` of
/// the node's shards on it.
pub fn drive(size_bytes: u64, shards: u64) -> DriveSizing {
    let extent_bytes = format::extent_bytes(size_bytes);
    let room = size_bytes.saturating_sub(format::EXTENTS_START) / extent_bytes;
    let extents = room.min(u64::from(EXTENTS_MAX));
    let shards = shards.max(1);
    let (dead_bytes_max, checkpoint_after_bytes) =
        super::layout::maintenance_bytes(size_bytes, shards, extent_bytes);
    DriveSizing {
        extent_bytes,
        extents,
        shards,
        cleaner_extents: u64::from(shares::cleaner_extents(extents as u32, shards as u32)),
        cleaner_working_extents: u64::from(shares::CLEANER_EXTENTS_MIN),
        checkpoint_after_bytes,
        dead_bytes_max,
    }
}

/// Returns how many shards `format` makes by default on a node with `cores` cores and `drives`
/// drives, the smallest of `size_bytes`, with `copies` copies of every byte.
pub fn default_shards(size_bytes: u64, cores: u64, drives: u64, copies: u64) -> u64 {
    let extents = drive(size_bytes, 1).extents;
    format::default_shards(cores, drives.max(1), format::shards_max(extents, drives.max(1), copies.max(1)))
}

/// The shards of a node on its drives, as `format` lays them: shard n has its homes, one for each
/// copy, on drives n, n + 1 and so on, modulo the number of drives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingSizing {
    pub drives: u64,
    /// Copies of every byte, each on a drive of its own.
    pub copies: u64,
    pub shards: u64,
    /// Homes on the drive that has the most of them.
    pub homes_max: u64,
}

impl RingSizing {
    /// Returns the number of homes on each drive.
    pub fn homes(&self) -> Vec<u64> {
        let mut homes = vec![0; self.drives as usize];
        for shard in 0..self.shards {
            for drive in format::first_homes(shard as u16, self.drives as u16, self.copies as usize) {
                homes[usize::from(drive)] += 1;
            }
        }
        homes
    }
}

/// Returns the ring of `shards` shards on `drives` drives with `copies` copies.
pub fn ring(shards: u64, drives: u64, copies: u64) -> RingSizing {
    let (drives, copies, shards) = (drives.max(1), copies.max(1), shards.max(1));
    RingSizing { drives, copies, shards, homes_max: format::homes_max(shards, drives, copies) }
}

/// Returns the extents that a shard can not do without beside its checkpoint of
/// `checkpoint_extents`: for its log, and for the next checkpoint of an index of `index_bytes`.
pub fn needed_extents(index_bytes: u64, checkpoint_extents: u64, extent_bytes: u64) -> u64 {
    shares::needed_extents(index_bytes, checkpoint_extents, extent_bytes)
}

/// The memory of an index that was built, bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IndexSizing {
    pub objects: u64,
    pub memory_bytes: u64,
    /// The leaves as a checkpoint writes them.
    pub leaf_bytes: u64,
}

/// Builds the index of a shard from keys, each with its encoded value and a hash, and measures it.
/// `each` gets every key in the order of the index.
pub fn index(
    entries: impl Iterator<Item = (Vec<u8>, Vec<u8>, u64)>,
    each: &mut dyn FnMut(&[u8]),
) -> IndexSizing {
    let (mut index, mut points) = (OrderedIndex::new(), PointTable::new());
    for (key, value, hash) in entries {
        if index.insert(&keys::encode(1, &key, GENERATION), &value).is_none() {
            points.insert(hash, hash);
        }
    }
    let (mut leaf_bytes, mut after) = (0, None::<Vec<u8>>);
    while let Some(found) = index.leaf_after(after.as_deref()) {
        leaf_bytes += found.len() as u64;
        after = Some(leaf::last_key(&found));
    }
    index.visit(&[], &mut |key, _| {
        each(key);
        Step::Continue
    });
    let memory_bytes = (index.memory_bytes() + points.memory_bytes()) as u64;
    IndexSizing { objects: index.len(), memory_bytes, leaf_bytes }
}
