//! The index entry of a version of a key: everything that a listing shows, and where its records and
//! slices are.
//!
//! Invariants:
//! - A [`Location`] packs into 64 bits, so an entry of the point table is two words.
//! - `check` is 14 bits of the object's generation. It tells whether index and record describe the
//!   same put. That the record was written at this place is proved by the mark in its checksum.

use crate::format::BLOCK_BYTES;
use crate::format::batch::BATCH_BYTES_MAX;
use crate::format::mark::mix;
use crate::format::parts::{Packed, Reader, put_varint, split_table};
use crate::format::record::{PutV1, SegmentV1};
use crate::index::Listed;
use crate::types::Etag;
use crate::types::traits::{Lock, Retention, RetentionMode, StorageClass, Traits};

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

/// The place of the record that holds the newest metadata of a version, if that is not the record of
/// the version itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetaPlace {
    pub extent: u32,
    /// Byte offset in the extent, a multiple of 8.
    pub offset: u32,
    /// Length of the record, bytes.
    pub record_length: u32,
    /// Number of the change that the record holds.
    pub change: u32,
}

/// The index entry of a version, which is the value of its composite key in a leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub location: Location,
    /// Length of the record, bytes.
    pub record_length: u32,
    /// The number at the end of the composite key.
    pub generation: u64,
    /// Number of times that the slices were moved.
    pub change: u32,
    pub size: u64,
    pub modified_ms: u64,
    pub etag: Etag,
    pub is_null: bool,
    pub is_marker: bool,
    /// Generation of the key's null version; 0 if it has none. Only in the newest entry of a key it
    /// is up to date.
    pub null: u64,
    pub meta: Option<MetaPlace>,
    /// What the newest attributes of the version say that is judged or listed without a read.
    pub traits: Traits,
    /// The object's slices, and those of the table of its parts; empty for an inline object.
    pub segments: Vec<SegmentV1>,
}

/// Bits of an entry that say which of its fields follow, and what a listing shows without them.
mod flags {
    pub const NULL: u64 = 1;
    pub const MARKER: u64 = 1 << 1;
    pub const PARTS: u64 = 1 << 2;
    pub const SEGMENTS: u64 = 1 << 3;
    pub const CHANGE: u64 = 1 << 4;
    pub const META: u64 = 1 << 5;
    /// The key's null version is another one.
    pub const OTHER_NULL: u64 = 1 << 6;
    pub const LOCKED: u64 = 1 << 7;
    /// The storage class is not the standard one.
    pub const CLASS: u64 = 1 << 8;
    pub const TAGS: u64 = 1 << 9;
    /// The first bit that no version of this program writes.
    pub const END: u64 = 1 << 10;
}

impl Entry {
    /// Returns the entry of a version whose record lies in `extent` at `offset`.
    pub fn of_put(put: &PutV1, extent: u32, offset: u32, record_length: u32) -> Self {
        // A record that is too long for a packed location, such as that of an empty object of very
        // many parts, is looked up like that of a large object. So is a delete marker.
        let large = !put.segments.is_empty() || record_length > INLINE_RECORD_BYTES_MAX || put.is_marker();
        Self {
            location: Location::new(extent, offset, record_length, put.generation, large),
            record_length,
            generation: put.generation,
            change: put.change,
            size: put.size,
            modified_ms: put.modified_ms,
            etag: Etag { md5: put.md5, parts: put.etag_parts },
            is_null: put.is_null(),
            is_marker: put.is_marker(),
            null: put.null,
            meta: None,
            traits: Traits::of(&put.attributes),
            segments: put.segments.clone(),
        }
    }

    /// Returns whether a reader needs this entry and not only the location.
    pub fn is_large(&self) -> bool {
        self.location.blocks == 0
    }

    /// Returns the generation of the key's null version, if this is the key's newest entry and there
    /// is one.
    pub fn null_version(&self) -> Option<u64> {
        let null = if self.is_null { self.generation } else { self.null };
        (null != 0).then_some(null)
    }

    /// Returns whether the records can lie where the entry says, in extents of `extent_bytes`, and
    /// whether the slices make up the object. An entry that comes from a drive is checked this way
    /// before anything is read at its place.
    pub fn is_possible(&self, extent_bytes: u32) -> bool {
        let Location { offset, blocks, .. } = self.location;
        if !fits(offset, self.record_length, extent_bytes) {
            return false;
        }
        let covering = blocks_covering(offset, self.record_length);
        let whole = self.segments.is_empty() || split_table(&self.segments, self.size).is_some();
        let meta = self.meta.is_none_or(|meta| fits(meta.offset, meta.record_length, extent_bytes));
        let small = blocks == covering && self.segments.is_empty() && self.meta.is_none();
        meta && whole && (self.is_large() || (small && !self.is_marker))
    }

    /// Points the entry at another record of its metadata.
    pub fn set_meta(&mut self, meta: MetaPlace) {
        self.meta = Some(meta);
        self.location.blocks = 0;
    }

    /// Appends the encoding to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.location.pack().to_le_bytes());
        let has = |flag: u64, set: bool| if set { flag } else { 0 };
        let other_null = !self.is_null && self.null != 0;
        let class = self.traits.class as u64;
        put_varint(
            out,
            has(flags::NULL, self.is_null)
                | has(flags::MARKER, self.is_marker)
                | has(flags::PARTS, self.etag.parts != 0)
                | has(flags::SEGMENTS, !self.segments.is_empty())
                | has(flags::CHANGE, self.change != 0)
                | has(flags::META, self.meta.is_some())
                | has(flags::OTHER_NULL, other_null)
                | has(flags::LOCKED, !self.traits.lock.is_none())
                | has(flags::CLASS, class != 0)
                | has(flags::TAGS, self.traits.has_tags),
        );
        put_varint(out, u64::from(self.record_length));
        put_varint(out, self.modified_ms);
        if !self.is_marker {
            out.extend_from_slice(&self.etag.md5);
            put_varint(out, self.size);
        }
        if self.etag.parts != 0 {
            put_varint(out, u64::from(self.etag.parts));
        }
        if class != 0 {
            put_varint(out, class);
        }
        if self.change != 0 {
            put_varint(out, u64::from(self.change));
        }
        if other_null {
            put_varint(out, self.null);
        }
        if let Some(meta) = &self.meta {
            for value in [meta.extent, meta.offset, meta.record_length, meta.change] {
                put_varint(out, u64::from(value));
            }
        }
        if !self.traits.lock.is_none() {
            put_lock(out, self.traits.lock);
        }
        if !self.segments.is_empty() {
            SegmentV1::pack(&self.segments, out);
        }
    }

    /// Decodes the entry of the version with this generation. Returns `None` for bytes that are
    /// damaged or of a newer version of the format.
    pub fn decode(generation: u64, bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let location = Location::unpack(u64::from_le_bytes(reader.array()?));
        let has = read_flags(&mut reader)?;
        let record_length = reader.number()?;
        let Listed { size, modified_ms, etag, is_null, is_marker, class } = read_listed(&mut reader, has)?;
        let change = if has & flags::CHANGE == 0 { 0 } else { reader.number()? };
        let null = match has & flags::OTHER_NULL {
            0 if is_null => generation,
            0 => 0,
            _ => reader.varint()?,
        };
        let meta = if has & flags::META == 0 { None } else { Some(read_meta(&mut reader)?) };
        let lock = if has & flags::LOCKED == 0 { Lock::default() } else { read_lock(&mut reader)? };
        let traits = Traits { lock, class, has_tags: has & flags::TAGS != 0 };
        let segments = if has & flags::SEGMENTS == 0 { Vec::new() } else { SegmentV1::unpack(&mut reader)? };
        let entry = Self {
            location,
            record_length,
            generation,
            change,
            size,
            modified_ms,
            etag,
            is_null,
            is_marker,
            null,
            meta,
            traits,
            segments,
        };
        reader.is_empty().then_some(entry)
    }

    /// Decodes only what a listing shows. Returns `None` for bytes that are no entry.
    pub fn listed(bytes: &[u8]) -> Option<Listed> {
        let mut reader = Reader::new(bytes.get(8..)?);
        let has = read_flags(&mut reader)?;
        // The length of the record.
        reader.varint()?;
        read_listed(&mut reader, has)
    }

    /// Returns whether an encoded entry is a delete marker; false for bytes that are no entry.
    pub fn is_encoded_marker(bytes: &[u8]) -> bool {
        // The flags begin with the byte behind the location.
        bytes.get(8).is_some_and(|has| u64::from(*has) & flags::MARKER != 0)
    }
}

/// Returns whether a record of `length` bytes at `offset` lies within an extent and can be read at
/// once.
fn fits(offset: u32, length: u32, extent_bytes: u32) -> bool {
    let Some(end) = offset.checked_add(length) else { return false };
    let covering = blocks_covering(offset, length) as usize * BLOCK_BYTES;
    offset.is_multiple_of(8) && length > 0 && end <= extent_bytes && covering <= BATCH_BYTES_MAX
}

/// Reads the flags. Bits that this program does not know are refused.
fn read_flags(reader: &mut Reader<'_>) -> Option<u64> {
    reader.varint().filter(|has| *has < flags::END)
}

/// Reads what a listing shows. A delete marker has no size and no ETag.
#[inline]
fn read_listed(reader: &mut Reader<'_>, has: u64) -> Option<Listed> {
    let modified_ms = reader.varint()?;
    let (is_null, is_marker) = (has & flags::NULL != 0, has & flags::MARKER != 0);
    if is_marker {
        return Some(Listed { modified_ms, is_null, is_marker, ..Listed::default() });
    }
    let (md5, size) = (reader.array()?, reader.varint()?);
    let parts = if has & flags::PARTS == 0 { 0 } else { reader.varint()?.try_into().ok()? };
    let class = if has & flags::CLASS == 0 { StorageClass::Standard } else { read_class(reader)? };
    Some(Listed { size, modified_ms, etag: Etag { md5, parts }, is_null, is_marker, class })
}

/// Reads a class that is not the standard one.
fn read_class(reader: &mut Reader<'_>) -> Option<StorageClass> {
    let number: usize = reader.varint()?.try_into().ok()?;
    StorageClass::ALL.get(number).copied().filter(|class| *class != StorageClass::Standard)
}

/// The bit of a legal hold in the first number of a lock. Above it is the mode of the retention.
const HOLD: u64 = 1;
const GOVERNANCE: u64 = 1 << 1;
const COMPLIANCE: u64 = 2 << 1;

fn put_lock(out: &mut Vec<u8>, lock: Lock) {
    let mode = match lock.retention.map(|retention| retention.mode) {
        None => 0,
        Some(RetentionMode::Governance) => GOVERNANCE,
        Some(RetentionMode::Compliance) => COMPLIANCE,
    };
    put_varint(out, mode | if lock.hold { HOLD } else { 0 });
    if let Some(retention) = lock.retention {
        put_varint(out, retention.until_ms);
    }
}

/// Reads a lock that locks something.
fn read_lock(reader: &mut Reader<'_>) -> Option<Lock> {
    let bits = reader.varint()?;
    let mode = match bits & !HOLD {
        0 => None,
        GOVERNANCE => Some(RetentionMode::Governance),
        COMPLIANCE => Some(RetentionMode::Compliance),
        _ => return None,
    };
    let retention = match mode {
        None => None,
        Some(mode) => Some(Retention { mode, until_ms: reader.varint()? }),
    };
    let lock = Lock { retention, hold: bits & HOLD != 0 };
    (!lock.is_none()).then_some(lock)
}

fn read_meta(reader: &mut Reader<'_>) -> Option<MetaPlace> {
    let (extent, offset, record_length) = (reader.number()?, reader.number()?, reader.number()?);
    Some(MetaPlace { extent, offset, record_length, change: reader.number()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::record::RunV1;
    use proptest::prelude::*;

    #[test]
    fn golden_lock() {
        let lock = |retention, hold| {
            let mut bytes = Vec::new();
            put_lock(&mut bytes, Lock { retention, hold });
            bytes
        };
        let until = |mode| Some(Retention { mode, until_ms: 300 });
        assert_eq!(lock(None, true), [1]);
        assert_eq!(lock(until(RetentionMode::Governance), false), [2, 0xac, 2]);
        assert_eq!(lock(until(RetentionMode::Compliance), true), [5, 0xac, 2]);
        for wrong in [&[0][..], &[6, 1], &[8], &[2], &[]] {
            assert_eq!(read_lock(&mut Reader::new(wrong)), None, "{wrong:?}");
        }
    }

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
            (size, modified_ms, generation, md5) in any::<(u64, u64, u64, [u8; 16])>(),
            (is_null, is_marker, null, change) in any::<(bool, bool, u64, u32)>(),
            meta in proptest::option::of((0u32..1000, 0u32..1 << 20, any::<u32>(), any::<u32>())),
            (hold, mode, until_ms) in (any::<bool>(), 0..3usize, any::<u64>()),
            (class, has_tags) in (0..6usize, any::<bool>()),
            runs in proptest::collection::vec((0u32..1000, 0u32..4000, 0u32..16), 0..5),
        ) {
            let runs: Vec<_> = runs.into_iter().map(|(extent, unit, slices)| RunV1 { extent, unit, slices }).collect();
            let segments = if runs.is_empty() || is_marker {
                vec![]
            } else {
                vec![SegmentV1 { generation, length: size, runs }]
            };
            let meta = meta.map(|(extent, offset, record_length, change)| {
                MetaPlace { extent, offset, record_length, change }
            });
            let large = !segments.is_empty() || is_marker || meta.is_some();
            let (size, etag) = if is_marker { (0, Etag::default()) } else { (size, Etag { md5, parts: 3 }) };
            let mode = [None, Some(RetentionMode::Governance), Some(RetentionMode::Compliance)][mode];
            let lock = Lock { retention: mode.map(|mode| Retention { mode, until_ms }), hold };
            let class = if is_marker { StorageClass::Standard } else { StorageClass::ALL[class] };
            let entry = Entry {
                location: Location::new(7, 64, 500, generation, large),
                record_length: 500,
                generation,
                change,
                size,
                modified_ms,
                etag,
                is_null,
                is_marker,
                null: if is_null { generation } else { null },
                meta,
                traits: Traits { lock, class, has_tags },
                segments,
            };
            let mut bytes = Vec::new();
            entry.encode(&mut bytes);
            prop_assert_eq!(Entry::listed(&bytes), Some(Listed { size, modified_ms, etag, is_null, is_marker, class }));
            prop_assert_eq!(Entry::is_encoded_marker(&bytes), is_marker);
            for cut in 0..bytes.len() {
                prop_assert_eq!(Entry::decode(generation, &bytes[..cut]), None);
            }
            prop_assert_eq!(Entry::decode(generation, &bytes), Some(entry));
        }

        #[test]
        fn garbage_is_no_entry_and_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Entry::decode(1, &bytes);
            let _ = Entry::listed(&bytes);
        }
    }
}
