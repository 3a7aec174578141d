//! The index entry of an object: everything that a listing shows, and where the object's record and
//! slices are.
//!
//! Invariants:
//! - A [`Location`] packs into 64 bits, so an entry of the point table is two words.
//! - `check` is 14 bits of the object's generation. It tells whether index and record describe the
//!   same put. That the record was written at this place is proved by the mark in its checksum.

use crate::format::BLOCK_BYTES;
use crate::format::batch::BATCH_BYTES_MAX;
use crate::format::mark::mix;
use crate::format::record::{PutV1, RunV1, SegmentV1};
use crate::index::varint;
use crate::types::Etag;

/// Most extents that a drive may have, so that a packed location can name each.
pub const EXTENTS_MAX: u32 = 1 << 20;
const OFFSET_BITS: u32 = 24;
const BLOCKS_BITS: u32 = 5;
const CHECK_BITS: u32 = 14;
/// Longest record whose blocks a packed location can count, bytes.
pub const INLINE_RECORD_BYTES_MAX: u32 = 30 * BLOCK_BYTES as u32;

/// The place of a record, as the point table stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    pub extent: u32,
    /// Byte offset in the extent, a multiple of 8.
    pub offset: u32,
    /// Blocks to read for the whole record, or 0 for a large object, whose entry must be looked up
    /// in the leaves.
    pub blocks: u32,
    /// Bits of the object's generation, which tell whether index and record describe the same put.
    pub check: u16,
}

impl Location {
    /// Returns the location of a record of `length` bytes at `offset`. `large` tells that the
    /// object has slices.
    pub fn new(extent: u32, offset: u32, length: u32, generation: u64, large: bool) -> Self {
        let blocks = if large { 0 } else { blocks_covering(offset, length) };
        assert!(extent < EXTENTS_MAX && offset.is_multiple_of(8) && blocks < 1 << BLOCKS_BITS);
        Self { extent, offset, blocks, check: check_of(generation) }
    }

    /// Packs the location into the 64 bits that the point table stores.
    pub fn pack(self) -> u64 {
        let mut packed = u64::from(self.extent);
        packed = packed << OFFSET_BITS | u64::from(self.offset / 8);
        packed = packed << BLOCKS_BITS | u64::from(self.blocks);
        packed << CHECK_BITS | u64::from(self.check)
    }

    /// Unpacks a location of the point table.
    pub fn unpack(packed: u64) -> Self {
        let field = |shift: u32, bits: u32| (packed >> shift & ((1 << bits) - 1)) as u32;
        Self {
            check: field(0, CHECK_BITS) as u16,
            blocks: field(CHECK_BITS, BLOCKS_BITS),
            offset: field(CHECK_BITS + BLOCKS_BITS, OFFSET_BITS) * 8,
            extent: field(CHECK_BITS + BLOCKS_BITS + OFFSET_BITS, 20),
        }
    }

    /// Returns whether a record of this generation can be the one that the location means.
    pub fn accepts(self, generation: u64) -> bool {
        self.check == check_of(generation)
    }
}

fn check_of(generation: u64) -> u16 {
    // The parts of a generation, epoch and counter, are small numbers. Unmixed, the bits of
    // generations from two lives would often agree.
    (mix(generation) >> (u64::BITS - CHECK_BITS)) as u16
}

/// Returns the number of blocks that cover `length` bytes from `offset`.
pub fn blocks_covering(offset: u32, length: u32) -> u32 {
    let block = BLOCK_BYTES as u32;
    (offset + length).div_ceil(block) - offset / block
}

/// The index entry of an object, which is the value of its key in a leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub location: Location,
    /// Length of the record, bytes.
    pub record_length: u32,
    pub generation: u64,
    pub size: u64,
    pub modified_ms: u64,
    pub etag: Etag,
    /// The object's slices; empty for an inline object.
    pub segments: Vec<SegmentV1>,
}

impl Entry {
    /// Returns the entry of an object whose record lies in `extent` at `offset`.
    pub fn of_put(put: &PutV1, extent: u32, offset: u32, record_length: u32) -> Self {
        // A record that is too long for a packed location, such as that of an empty object of very
        // many parts, is looked up like that of a large object.
        let large = !put.segments.is_empty() || record_length > INLINE_RECORD_BYTES_MAX;
        Self {
            location: Location::new(extent, offset, record_length, put.generation, large),
            record_length,
            generation: put.generation,
            size: put.size,
            modified_ms: put.modified_ms,
            etag: Etag { md5: put.md5, parts: put.etag_parts },
            segments: put.segments.clone(),
        }
    }

    /// Returns whether a reader needs this entry and not only the location.
    pub fn is_large(&self) -> bool {
        self.location.blocks == 0
    }

    /// Returns whether a record can lie where the entry says, in an extent of `extent_bytes`, and
    /// whether the slices make up the object. An entry that comes from a drive is checked this way
    /// before anything is read at its place.
    pub fn is_possible(&self, extent_bytes: u32) -> bool {
        let Location { offset, blocks, .. } = self.location;
        let Some(end) = offset.checked_add(self.record_length) else { return false };
        let covering = blocks_covering(offset, self.record_length);
        let fits = self.record_length > 0
            && end <= extent_bytes
            && covering as usize * BLOCK_BYTES <= BATCH_BYTES_MAX;
        let sum = self.segments.iter().try_fold(0u64, |sum, segment| sum.checked_add(segment.length));
        let whole = self.segments.is_empty() || sum == Some(self.size);
        fits && whole && (self.is_large() || (blocks == covering && self.segments.is_empty()))
    }

    /// Appends the encoding to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.location.pack().to_le_bytes());
        out.extend_from_slice(&self.etag.md5);
        for value in [
            u64::from(self.record_length),
            self.size,
            self.modified_ms,
            u64::from(self.etag.parts),
            self.generation,
            self.segments.len() as u64,
        ] {
            put_varint(out, value);
        }
        for segment in &self.segments {
            put_varint(out, segment.generation);
            put_varint(out, segment.length);
            put_varint(out, segment.runs.len() as u64);
            for run in &segment.runs {
                put_varint(out, u64::from(run.extent));
                put_varint(out, u64::from(run.unit));
                put_varint(out, u64::from(run.slices));
            }
        }
    }

    /// Decodes an entry. Returns `None` for bytes that are damaged or of a newer version.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader { bytes };
        let location = Location::unpack(u64::from_le_bytes(reader.array()?));
        let md5 = reader.array()?;
        let record_length = reader.varint()?.try_into().ok()?;
        let (size, modified_ms) = (reader.varint()?, reader.varint()?);
        let parts = reader.varint()?.try_into().ok()?;
        let generation = reader.varint()?;
        let count = reader.count()?;
        let segments = (0..count).map(|_| reader.segment()).collect::<Option<Vec<_>>>()?;
        let etag = Etag { md5, parts };
        Some(Self { location, record_length, generation, size, modified_ms, etag, segments })
    }

    /// Decodes only what a listing shows: size, modification time in milliseconds, and ETag. Returns
    /// None for bytes that are no entry.
    pub fn listed(bytes: &[u8]) -> Option<(u64, u64, Etag)> {
        let mut reader = Reader { bytes: bytes.get(8..)? };
        let md5 = reader.array()?;
        reader.varint()?;
        let (size, modified_ms) = (reader.varint()?, reader.varint()?);
        Some((size, modified_ms, Etag { md5, parts: reader.varint()?.try_into().ok()? }))
    }
}

fn put_varint(out: &mut Vec<u8>, value: u64) {
    varint::encode(value, |byte| out.push(byte));
}

struct Reader<'a> {
    bytes: &'a [u8],
}

impl Reader<'_> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        Some(*head)
    }

    fn varint(&mut self) -> Option<u64> {
        let mut at = 0;
        let value = varint::checked_read(self.bytes, &mut at)?;
        self.bytes = &self.bytes[at..];
        Some(value)
    }

    /// Reads a count of items that take at least a byte each. A count larger than the number of
    /// bytes left is refused.
    fn count(&mut self) -> Option<u64> {
        self.varint().filter(|&count| count <= self.bytes.len() as u64)
    }

    fn segment(&mut self) -> Option<SegmentV1> {
        let (generation, length) = (self.varint()?, self.varint()?);
        let count = self.count()?;
        let runs = (0..count).map(|_| self.run()).collect::<Option<Vec<_>>>()?;
        Some(SegmentV1 { generation, length, runs })
    }

    fn run(&mut self) -> Option<RunV1> {
        let mut field = || self.varint()?.try_into().ok();
        Some(RunV1 { extent: field()?, unit: field()?, slices: field()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn locations_pack(
            extent in 0..EXTENTS_MAX,
            offset in 0u32..(64 << 20) / 8,
            length in 1u32..100_000,
            generation: u64,
        ) {
            let location = Location::new(extent, offset * 8, length, generation, false);
            prop_assert_eq!(Location::unpack(location.pack()), location);
            prop_assert!(location.accepts(generation));
        }

        #[test]
        fn entries_round_trip(
            size: u64,
            modified_ms: u64,
            generation: u64,
            md5: [u8; 16],
            runs in proptest::collection::vec((0u32..1000, 0u32..4000, 0u32..16), 0..5),
        ) {
            let runs: Vec<_> = runs.into_iter().map(|(extent, unit, slices)| RunV1 { extent, unit, slices }).collect();
            let segments = if runs.is_empty() { vec![] } else { vec![SegmentV1 { generation, length: size, runs }] };
            let location = Location::new(7, 64, 500, generation, !segments.is_empty());
            let etag = Etag { md5, parts: 3 };
            let entry = Entry { location, record_length: 500, generation, size, modified_ms, etag, segments };
            let mut bytes = Vec::new();
            entry.encode(&mut bytes);
            prop_assert_eq!(Entry::listed(&bytes), Some((size, modified_ms, entry.etag)));
            for cut in 0..bytes.len() {
                prop_assert_eq!(Entry::decode(&bytes[..cut]), None);
            }
            prop_assert_eq!(Entry::decode(&bytes), Some(entry));
        }

        #[test]
        fn garbage_is_no_entry_and_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Entry::decode(&bytes);
        }
    }
}
