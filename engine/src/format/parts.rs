//! What an object is made of: the segments that hold its body, and the parts that it was uploaded
//! in. Both have a packed form, so that the record of an object of very many parts is small enough
//! to be read and written at once.
//!
//! Invariants:
//! - The parts of an object lie in its record, or, from [`PARTS_IN_RECORD_MAX`] on, in a table of
//!   their own: a segment behind those of the body. So whatever is done with the segments of an
//!   object (flushing them before the commit, freeing, moving, verifying) is done with the table.
//! - The length of the body tells whether there is a table: it ends where the table's segment
//!   begins.
//! - The packed form is a count and the items one behind the other. Most numbers are differences
//!   from the same number of the item before, because neighbours are alike.
//! - Packed bytes that were not written by this code are refused. Nothing is allocated for items
//!   that the bytes left cannot hold.

use rkyv::rancor::{Fallible, Source, fail};
use rkyv::ser::{Allocator, Writer};
use rkyv::vec::{ArchivedVec, VecResolver};
use rkyv::with::{ArchiveWith, DeserializeWith, SerializeWith};
use rkyv::{Archive, Deserialize, Place, Serialize};

use super::{FormatDamage, varint};

/// Consecutive slices of one segment within one data extent.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunV1 {
    pub extent: u32,
    /// The first unit of 16 KiB within the extent.
    pub unit: u32,
    /// The number of full slices in a row; 0 for the one tail slice, whose length follows from the
    /// segment's.
    pub slices: u32,
}

/// One body as it was uploaded: that of an object put in one piece, or that of a part.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Default)]
pub struct SegmentV1 {
    pub generation: u64,
    /// Bytes of the body.
    pub length: u64,
    pub runs: Vec<RunV1>,
}

/// A part of an upload, or of the object that was completed from it.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct PartV1 {
    pub number: u16,
    pub size: u64,
    pub modified_ms: u64,
    pub md5: [u8; 16],
    /// What the front end keeps of the body's checksum. The engine reads no meaning into it.
    pub checksum: Vec<u8>,
}

/// Most parts that an object's record holds by itself.
pub const PARTS_IN_RECORD_MAX: usize = 1000;

/// Splits the segments of an object whose body has `size` bytes into those of the body and that of
/// the table of its parts. Returns `None` when they are not the segments of such an object.
pub fn split_table(segments: &[SegmentV1], size: u64) -> Option<(&[SegmentV1], Option<&SegmentV1>)> {
    let sum = |segments: &[SegmentV1]| {
        segments.iter().try_fold(0u64, |sum, segment| sum.checked_add(segment.length))
    };
    if sum(segments) == Some(size) {
        return Some((segments, None));
    }
    let (table, body) = segments.split_last()?;
    (sum(body) == Some(size)).then_some((body, Some(table)))
}

/// Encodes the table of an object's parts, of which there is at least one.
pub fn encode_table(parts: &[PartV1]) -> Vec<u8> {
    packed(parts)
}

/// Decodes what [`encode_table`] returned.
///
/// # Errors
/// Returns [`FormatDamage::Field`] when the bytes are no table.
pub fn decode_table(bytes: &[u8]) -> Result<Vec<PartV1>, FormatDamage> {
    unpacked(bytes).filter(|parts| !parts.is_empty()).ok_or(FormatDamage::Field("table of parts"))
}

/// An item of a list that has a packed form.
pub trait Packed: Sized {
    /// Appends the packed form of the list to `out`.
    fn pack(items: &[Self], out: &mut Vec<u8>);

    /// Reads a packed list. Returns `None` for bytes that are damaged.
    fn unpack(reader: &mut Reader<'_>) -> Option<Vec<Self>>;
}

impl Packed for SegmentV1 {
    fn pack(items: &[Self], out: &mut Vec<u8>) {
        put_varint(out, items.len() as u64);
        let (mut generation, mut length, mut extent) = (0, 0, 0);
        for segment in items {
            put_difference(out, segment.generation, &mut generation);
            put_difference(out, segment.length, &mut length);
            put_varint(out, segment.runs.len() as u64);
            for run in &segment.runs {
                put_difference(out, u64::from(run.extent), &mut extent);
                put_varint(out, u64::from(run.unit));
                put_varint(out, u64::from(run.slices));
            }
        }
    }

    fn unpack(reader: &mut Reader<'_>) -> Option<Vec<Self>> {
        let (mut generation, mut length, mut extent) = (0, 0, 0);
        let count = reader.count()?;
        let mut segment = || {
            reader.difference(&mut generation)?;
            reader.difference(&mut length)?;
            let runs = reader.count()?;
            let mut run = || {
                let extent = reader.difference(&mut extent)?.try_into().ok()?;
                Some(RunV1 { extent, unit: reader.number()?, slices: reader.number()? })
            };
            let runs = (0..runs).map(|_| run()).collect::<Option<Vec<_>>>()?;
            Some(Self { generation, length, runs })
        };
        (0..count).map(|_| segment()).collect()
    }
}

impl Packed for PartV1 {
    fn pack(items: &[Self], out: &mut Vec<u8>) {
        put_varint(out, items.len() as u64);
        let (mut number, mut size, mut modified_ms) = (0, 0, 0);
        for part in items {
            put_difference(out, u64::from(part.number), &mut number);
            put_difference(out, part.size, &mut size);
            put_difference(out, part.modified_ms, &mut modified_ms);
            out.extend_from_slice(&part.md5);
            put_varint(out, part.checksum.len() as u64);
            out.extend_from_slice(&part.checksum);
        }
    }

    fn unpack(reader: &mut Reader<'_>) -> Option<Vec<Self>> {
        let (mut number, mut size, mut modified_ms) = (0, 0, 0);
        let count = reader.count()?;
        let mut part = || {
            let number = reader.difference(&mut number)?.try_into().ok()?;
            reader.difference(&mut size)?;
            reader.difference(&mut modified_ms)?;
            let (md5, length) = (reader.array()?, reader.varint()?);
            Some(Self { number, size, modified_ms, md5, checksum: reader.bytes(length)?.to_vec() })
        };
        (0..count).map(|_| part()).collect()
    }
}

/// Returns the length of the packed form of a list, bytes.
pub(super) fn packed_bytes<T: Packed>(items: &[T]) -> usize {
    // Almost all objects have neither parts nor segments.
    if items.is_empty() { 0 } else { packed(items).len() }
}

/// Returns the packed form of a list. That of an empty one is empty.
fn packed<T: Packed>(items: &[T]) -> Vec<u8> {
    let mut bytes = Vec::new();
    if !items.is_empty() {
        T::pack(items, &mut bytes);
    }
    bytes
}

fn unpacked<T: Packed>(bytes: &[u8]) -> Option<Vec<T>> {
    if bytes.is_empty() {
        return Some(Vec::new());
    }
    let mut reader = Reader::new(bytes);
    T::unpack(&mut reader).filter(|items| !items.is_empty() && reader.is_empty())
}

/// The form of a list in an rkyv payload: its packed bytes.
pub(super) struct AsPacked;

impl<T: Packed> ArchiveWith<Vec<T>> for AsPacked {
    type Archived = ArchivedVec<u8>;
    /// The number of packed bytes, and where they lie.
    type Resolver = (usize, VecResolver);

    fn resolve_with(_: &Vec<T>, (length, resolver): Self::Resolver, out: Place<Self::Archived>) {
        ArchivedVec::resolve_from_len(length, resolver, out);
    }
}

impl<T: Packed, S: Fallible + Allocator + Writer + ?Sized> SerializeWith<Vec<T>, S> for AsPacked {
    fn serialize_with(items: &Vec<T>, serializer: &mut S) -> Result<Self::Resolver, S::Error> {
        let bytes = packed(items);
        Ok((bytes.len(), ArchivedVec::serialize_from_slice(&bytes, serializer)?))
    }
}

impl<T: Packed, D: Fallible + ?Sized> DeserializeWith<ArchivedVec<u8>, Vec<T>, D> for AsPacked
where
    D::Error: Source,
{
    fn deserialize_with(bytes: &ArchivedVec<u8>, _: &mut D) -> Result<Vec<T>, D::Error> {
        match unpacked(bytes) {
            Some(items) => Ok(items),
            None => fail!(FormatDamage::Field("packed list")),
        }
    }
}

/// Appends a varint to `out`.
pub fn put_varint(out: &mut Vec<u8>, value: u64) {
    varint::encode(value, |byte| out.push(byte));
}

/// Appends the difference of `value` from `before` with its sign in the lowest bit, so that small
/// ones of either sign are short. `before` becomes `value`.
fn put_difference(out: &mut Vec<u8>, value: u64, before: &mut u64) {
    let difference = value.wrapping_sub(*before) as i64;
    put_varint(out, (difference << 1 ^ difference >> 63) as u64);
    *before = value;
}

/// Reads numbers and bytes that may be damaged. Each method returns `None` when they are.
pub struct Reader<'a> {
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes }
    }

    /// Returns whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Reads bytes of a known number.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.bytes.split_first_chunk::<N>()?;
        self.bytes = rest;
        Some(*head)
    }

    /// Returns what was not read.
    pub fn rest(self) -> &'a [u8] {
        self.bytes
    }

    /// Reads this many bytes.
    pub fn bytes(&mut self, length: u64) -> Option<&'a [u8]> {
        let (head, rest) = self.bytes.split_at_checked(length.try_into().ok()?)?;
        self.bytes = rest;
        Some(head)
    }

    /// Reads a varint.
    pub fn varint(&mut self) -> Option<u64> {
        let mut at = 0;
        let value = varint::checked_read(self.bytes, &mut at)?;
        self.bytes = &self.bytes[at..];
        Some(value)
    }

    /// Reads a varint of at most 32 bits.
    pub fn number(&mut self) -> Option<u32> {
        self.varint()?.try_into().ok()
    }

    /// Reads a count of items that take at least a byte each. A count larger than the number of
    /// bytes left is refused.
    fn count(&mut self) -> Option<u64> {
        self.varint().filter(|&count| count <= self.bytes.len() as u64)
    }

    /// Reads what [`put_difference`] wrote.
    fn difference(&mut self, before: &mut u64) -> Option<u64> {
        let coded = self.varint()?;
        *before = before.wrapping_add(coded >> 1 ^ (coded & 1).wrapping_neg());
        Some(*before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn part() -> impl Strategy<Value = PartV1> {
        let numbers = any::<(u16, u64, u64)>();
        (numbers, any::<[u8; 16]>(), vec(any::<u8>(), 0..70)).prop_map(|(numbers, md5, checksum)| {
            let (number, size, modified_ms) = numbers;
            PartV1 { number, size, modified_ms, md5, checksum }
        })
    }

    fn segment() -> impl Strategy<Value = SegmentV1> {
        let run = any::<(u32, u32, u32)>();
        let run = run.prop_map(|(extent, unit, slices)| RunV1 { extent, unit, slices });
        (any::<u64>(), any::<u64>(), vec(run, 0..5)).prop_map(|(generation, length, runs)| SegmentV1 {
            generation,
            length,
            runs,
        })
    }

    /// Packs and unpacks, and unpacks every cut.
    fn check<T: Packed + Clone + PartialEq + std::fmt::Debug>(items: &[T]) {
        let bytes = packed(items);
        assert_eq!(bytes.len(), packed_bytes(items));
        assert_eq!(unpacked::<T>(&bytes).as_deref(), Some(items));
        for cut in 1..bytes.len() {
            assert_eq!(unpacked::<T>(&bytes[..cut]), None, "{cut} of {} bytes", bytes.len());
        }
        assert_eq!(unpacked::<T>(&[bytes.as_slice(), &[0]].concat()), None, "a byte too many");
    }

    proptest! {
        #[test]
        fn lists_survive(parts in vec(part(), 0..5), segments in vec(segment(), 0..5)) {
            check(&parts);
            check(&segments);
        }

        #[test]
        fn garbage_is_no_panic(bytes in vec(any::<u8>(), 0..200)) {
            let _ = unpacked::<PartV1>(&bytes);
            let _ = unpacked::<SegmentV1>(&bytes);
        }
    }

    /// Parts of one size, uploaded a little apart, each in three runs.
    fn alike(count: u16, checksum_bytes: usize) -> (Vec<PartV1>, Vec<SegmentV1>) {
        let part = |number: u16| PartV1 {
            number,
            size: 48 << 20,
            modified_ms: 1_700_000_000_000 + u64::from(number) * 700,
            md5: [number as u8; 16],
            checksum: vec![1; checksum_bytes],
        };
        let run = |number: u16, at: u32| RunV1 {
            extent: u32::from(number) % 900 + at,
            unit: u32::from(number) % 16 * 257,
            slices: 4,
        };
        let segment = |number| SegmentV1 {
            generation: (9 << 40) + 3 * u64::from(number),
            length: 48 << 20,
            runs: (0..3).map(|at| run(number, at)).collect(),
        };
        ((1..=count).map(part).collect(), (1..=count).map(segment).collect())
    }

    #[test]
    fn golden_bytes() {
        let (parts, segments) = alike(3, 5);
        let bytes = [packed(&parts), packed(&segments)].concat();
        let golden = (bytes.len(), crc32c::crc32c(&bytes));
        assert_eq!(golden, (141, 0xa62ccc3f), "the packed form changed");
    }

    #[test]
    fn a_part_takes_little_more_than_its_digests() {
        for checksum_bytes in [0, 5, 33, 65] {
            let (parts, segments) = alike(10_000, checksum_bytes);
            let each = packed_bytes(&parts) / 10_000;
            assert!(each <= 16 + checksum_bytes + 6, "{each} bytes for {checksum_bytes} of checksum");
            assert!(packed_bytes(&segments) / 10_000 <= 3 + 3 * 4, "{}", packed_bytes(&segments));
        }
    }

    #[test]
    fn the_table_is_what_follows_the_body() {
        let segment = |length| SegmentV1 { length, ..SegmentV1::default() };
        let both = [segment(5), segment(7), segment(4)];
        assert_eq!(split_table(&both, 16), Some((&both[..], None)));
        assert_eq!(split_table(&both, 12), Some((&both[..2], Some(&both[2]))));
        assert_eq!(split_table(&both[..1], 0), Some((&both[..0], Some(&both[0]))));
        assert_eq!(split_table(&[], 0), Some((&both[..0], None)));
        for size in [0, 5, 11, 13, 17] {
            assert_eq!(split_table(&both, size), None, "{size}");
        }
        assert_eq!(split_table(&[], 1), None);
        assert_eq!(split_table(&[segment(u64::MAX), segment(1), segment(1)], 0), None);
        let (parts, _) = alike(3, 5);
        assert_eq!(decode_table(&encode_table(&parts)), Ok(parts));
        assert!(decode_table(&[]).is_err() && decode_table(&[0]).is_err());
    }

    #[test]
    fn a_count_that_the_bytes_can_not_hold_is_refused() {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, u64::MAX);
        bytes.extend([0; 100]);
        assert_eq!(unpacked::<SegmentV1>(&bytes), None);
        assert_eq!(unpacked::<PartV1>(&bytes), None);
    }
}
