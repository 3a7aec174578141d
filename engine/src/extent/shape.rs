//! How bodies are cut into slices, and how a slice lies in its set.
//!
//! A slice of a set with one data member lies whole in each member. A slice of a striped set is cut into rows: each
//! data member has [`ROW_BYTES`] of a row, one member behind the other, and the parity members have the parity of
//! the row. The last row is as long as what is left needs, in whole blocks, and alike on all members. What a member
//! has of a slice is its chunk.

use crate::format::record::{RunV1, SegmentV1};
use crate::format::slice::{DATA_MEMBERS_MAX, ROW_BYTES, SLICE_BYTES, UNIT_BYTES, UNITS_PER_SLOT};
use crate::format::{BLOCK_BYTES, blocks_up};

use super::SlicePlace;

const ROW: usize = ROW_BYTES as usize;

/// The numbers of members of the sets that slices lie in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    data: u8,
    parity: u8,
}

/// A part of a slice's payload that lies next to each other in one data member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The data member.
    pub member: usize,
    /// Byte offset in the member's chunk.
    pub at: usize,
    /// Number of bytes.
    pub length: usize,
}

impl Shape {
    /// Slices lie whole in each member.
    pub const PLAIN: Self = Self { data: 1, parity: 0 };

    /// Returns the shape of sets with `data` data members and `parity` parity members.
    ///
    /// # Panics
    /// Panics when there is no data member, or are too many.
    pub fn new(data: u8, parity: u8) -> Self {
        assert!((1..=DATA_MEMBERS_MAX).contains(&usize::from(data)), "a set has 1 to 14 data members");
        if data == 1 { Self::PLAIN } else { Self { data, parity } }
    }

    /// Returns whether a slice is cut into rows over several data members.
    pub fn is_striped(self) -> bool {
        self.data > 1
    }

    /// Returns the number of data members.
    pub fn data(self) -> usize {
        usize::from(self.data)
    }

    /// Returns the number of parity members, or 0 when slices lie whole in each member.
    pub fn parity(self) -> usize {
        usize::from(self.parity)
    }

    /// Returns the number of members that differ: all of a striped set, or one.
    pub fn members(self) -> usize {
        self.data() + self.parity()
    }

    /// Returns the bytes of payload of a full slice.
    pub fn slice_bytes(self) -> usize {
        self.data() * SLICE_BYTES
    }

    /// Returns the bytes of payload of a row that is full.
    pub fn row_bytes(self) -> usize {
        self.data() * ROW
    }

    /// Returns the bytes of each member in the last row, if that is not full, of a slice with `payload` bytes.
    fn last_piece(self, payload: usize) -> usize {
        blocks_up((payload % self.row_bytes()).div_ceil(self.data()))
    }

    /// Returns the bytes that each member has of a slice with `payload` bytes, behind its header. The end of the
    /// only data member's last block is not among them.
    pub fn chunk_bytes(self, payload: usize) -> usize {
        if !self.is_striped() {
            return payload;
        }
        payload / self.row_bytes() * ROW + self.last_piece(payload)
    }

    /// Returns what lies next to each other from byte `at` of the payload on, of a slice with `payload` bytes.
    ///
    /// # Panics
    /// Panics when the payload ends before.
    pub fn piece_at(self, at: usize, payload: usize) -> Piece {
        assert!(at < payload, "byte {at} of {payload}");
        let (row, within) = (at / self.row_bytes(), at % self.row_bytes());
        let is_last = row == payload / self.row_bytes();
        let width = if is_last { self.last_piece(payload) } else { ROW };
        let (member, skipped) = (within / width, within % width);
        let length = (width - skipped).min(payload - at);
        Piece { member, at: row * ROW + skipped, length }
    }

    /// Returns the bytes of payload that a data member has of a slice, from byte `at` of its chunk on, within one
    /// row: where they are in the payload, and how many there are. What lies behind them in the row is padding.
    pub fn payload_of(self, (member, at): (usize, usize), payload: usize) -> (usize, usize) {
        let row = at / ROW;
        let is_last = row == payload / self.row_bytes();
        let width = if is_last { self.last_piece(payload) } else { ROW };
        let start = row * self.row_bytes() + member * width + at % ROW;
        (start, payload.saturating_sub(start).min(width - at % ROW))
    }

    /// Returns the units that the slice behind the full ones takes in each member, of a body of `length` bytes, or
    /// 0 if the body ends with a full slice.
    pub fn tail_units(self, length: u64) -> u32 {
        match (length % self.slice_bytes() as u64) as usize {
            0 => 0,
            tail => (BLOCK_BYTES + self.chunk_bytes(tail)).div_ceil(UNIT_BYTES) as u32,
        }
    }

    /// Returns the number of full slices of a body of `length` bytes.
    pub fn full_slices(self, length: u64) -> u64 {
        length / self.slice_bytes() as u64
    }

    /// Returns the slices of a segment in order.
    pub fn slices_of(self, segment: &SegmentV1) -> impl Iterator<Item = SlicePlace> + '_ {
        let full_length = self.slice_bytes() as u32;
        let tail_length = (segment.length % self.slice_bytes() as u64) as u32;
        let places = segment.runs.iter().flat_map(move |run| {
            let count = run.slices.max(1);
            let length = if run.slices == 0 { tail_length } else { full_length };
            let offset = move |at| (run.unit + at * UNITS_PER_SLOT) * UNIT_BYTES as u32;
            (0..count).map(move |at| (run.extent, offset(at), length))
        });
        places.enumerate().map(|(number, (extent, offset, length))| SlicePlace {
            extent,
            offset,
            number: number as u32,
            length,
        })
    }

    /// Returns the slice that has byte `offset` of a body of these segments, its segment, and where the byte is in the
    /// slice's payload.
    ///
    /// # Panics
    /// Panics when the body ends before, or its segments are not whole.
    pub fn slice_at(self, segments: &[SegmentV1], offset: u64) -> (&SegmentV1, SlicePlace, usize) {
        let mut base = 0;
        let mut segments = segments.iter();
        let segment = loop {
            let Some(segment) = segments.next() else { panic!("offset {offset} is beyond the object") };
            if offset < base + segment.length {
                break segment;
            }
            base += segment.length;
        };
        let (within, slice_bytes) = (offset - base, self.slice_bytes() as u64);
        let number = within / slice_bytes;
        let place = self.slices_of(segment).nth(number as usize);
        let place = place.unwrap_or_else(|| panic!("slice {number} of {segment:?} is not there"));
        (segment, place, (within % slice_bytes) as usize)
    }

    /// Returns the units that a run takes in each member, in a segment of `length` bytes.
    pub fn run_units(self, run: &RunV1, length: u64) -> u32 {
        if run.slices == 0 { self.tail_units(length) } else { run.slices * UNITS_PER_SLOT }
    }

    /// Returns the units that a segment takes in each member.
    pub fn segment_units(self, segment: &SegmentV1) -> u64 {
        segment.runs.iter().map(|run| u64::from(self.run_units(run, segment.length))).sum()
    }

    /// Returns whether the runs are those of a body of the segment's length, and lie within sets of
    /// `units_per_extent` units each. A segment that was read from a drive is checked with this before
    /// anything else relies on it.
    pub fn is_whole(self, segment: &SegmentV1, units_per_extent: u32) -> bool {
        let lies_within = |run: &RunV1| {
            let units = match run.slices {
                0 => Some(self.tail_units(segment.length)),
                slices => slices.checked_mul(UNITS_PER_SLOT),
            };
            let end = units.and_then(|units| run.unit.checked_add(units));
            end.is_some_and(|end| end <= units_per_extent)
        };
        let full: u64 = segment.runs.iter().map(|run| u64::from(run.slices)).sum();
        let tails = segment.runs.iter().filter(|run| run.slices == 0).count();
        let tail_is_last = segment.runs.iter().rev().skip(1).all(|run| run.slices > 0);
        segment.runs.iter().all(lies_within)
            && full == self.full_slices(segment.length)
            && tails == usize::from(self.tail_units(segment.length) > 0)
            && tail_is_last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every byte of the payload has one place in one data member, and the other way round.
    #[test]
    fn each_byte_of_a_slice_has_one_place() {
        for (data, parity) in [(2u8, 1u8), (3, 2), (4, 2), (8, 3), (14, 3)] {
            let shape = Shape::new(data, parity);
            let row = shape.row_bytes();
            let lengths = [1, 4095, 4096, 4097, row / 2, row - 1, row, row + 1, 3 * row + 70_000];
            for payload in lengths {
                let chunk = shape.chunk_bytes(payload);
                assert!(chunk.is_multiple_of(BLOCK_BYTES) && chunk * shape.data() >= payload);
                assert!(
                    (chunk - chunk.min(BLOCK_BYTES)) * shape.data() < payload,
                    "{payload} bytes take {chunk}"
                );
                let mut at = 0;
                while at < payload {
                    let piece = shape.piece_at(at, payload);
                    assert!(piece.at + piece.length <= chunk && piece.length > 0, "{piece:?} of {chunk}");
                    assert!(piece.member < shape.data());
                    assert_eq!(shape.payload_of((piece.member, piece.at), payload), (at, piece.length));
                    if piece.length > 1 {
                        let behind = shape.piece_at(at + 1, payload);
                        let rest = Piece { at: piece.at + 1, length: piece.length - 1, ..piece };
                        assert_eq!(behind, rest);
                    }
                    at += piece.length;
                }
                assert_eq!(at, payload);
            }
            assert_eq!(shape.chunk_bytes(shape.slice_bytes()), SLICE_BYTES);
        }
    }

    #[test]
    fn what_a_data_member_lacks_at_the_end_is_padding() {
        let shape = Shape::new(4, 2);
        // 65 KiB over 4 members: 17 KiB each, so 20 KiB in whole blocks; the last one has 5 KiB.
        assert_eq!(shape.chunk_bytes(65 << 10), 20 << 10);
        assert_eq!(shape.payload_of((3, 0), 65 << 10), (60 << 10, 5 << 10));
        assert_eq!(shape.payload_of((3, 8 << 10), 65 << 10), (68 << 10, 0));
        assert_eq!(shape.payload_of((3, 0), 9 << 10), (12 << 10, 0));
        assert_eq!(shape.tail_units(65 << 10), 2);
        assert_eq!(Shape::PLAIN.tail_units(65 << 10), 5);
        assert_eq!((shape.full_slices(40 << 20), shape.tail_units(32 << 20)), (2, 0));
    }
}
