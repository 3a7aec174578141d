//! The header of a slice: identity and checksums of up to 4 MiB of a large object.
//!
//! Invariants:
//! - The header is the slice's first block. The payload follows, padded to whole blocks with zeros.
//! - `block_crcs[i]` is the crc32c of the 64 KiB of payload from byte `i * 64 KiB` on. The last
//!   block may be shorter.
//! - A header is accepted only with the generation and slice number that the object's record names,
//!   on the drive and at the place that it names. After a lost or misdirected write, or a
//!   misdirected read, the header is another one, and this is noticed.
//! - Data blocks carry no mark: the checksums of an accepted header prove them.

use std::mem::{offset_of, size_of};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::mark::{Structure, mark, place_in};
use super::{BLOCK_BYTES, FormatDamage, Le16, Le32, Le64};

pub const MAGIC: [u8; 8] = *b"RBSLICE2";
/// Bytes of payload of a full slice.
pub const SLICE_BYTES: usize = 4 << 20;
/// Bytes of payload under one checksum.
pub const CRC_BLOCK_BYTES: usize = 64 << 10;
/// The unit of allocation in bytes.
pub const UNIT_BYTES: usize = 16 << 10;
/// Units of a full slice with its header.
pub const UNITS_PER_SLOT: u32 = ((SLICE_BYTES + UNIT_BYTES) / UNIT_BYTES) as u32;
const CRC_BLOCKS: usize = SLICE_BYTES / CRC_BLOCK_BYTES;

/// The first block of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SliceHeaderOnDisk {
    pub magic: [u8; 8],
    /// The crc32c of the block behind this field, XOR the mark.
    pub crc: Le32,
    pub version: Le16,
    pub shard: Le16,
    /// Generation of the segment. It is never used twice in the shard.
    pub generation: Le64,
    /// Number of the slice within the segment, from 0.
    pub number: Le32,
    /// Bytes of payload, from 1 to [`SLICE_BYTES`].
    pub length: Le32,
    /// The first half of the drive's UUID.
    pub drive: Le64,
    /// The extent in which the slice was written.
    pub extent: Le32,
    /// Byte offset of this block in the extent.
    pub offset: Le32,
    /// The crc32c of each 64 KiB of the payload.
    pub block_crcs: [Le32; CRC_BLOCKS],
    pub reserved: [u8; 3792],
}

/// The identity of a slice and its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SliceIdentity {
    /// The first half of the drive's UUID.
    pub drive: u64,
    pub shard: u16,
    /// Generation of the segment.
    pub generation: u64,
    /// Number of the slice within the segment, from 0.
    pub number: u32,
    pub extent: u32,
    /// Byte offset of the header in the extent.
    pub offset: u32,
}

const _: () = {
    assert!(size_of::<SliceHeaderOnDisk>() == BLOCK_BYTES);
    assert!(offset_of!(SliceHeaderOnDisk, generation) == 16);
    assert!(offset_of!(SliceHeaderOnDisk, block_crcs) == 48);
    assert!(UNITS_PER_SLOT == 257);
};

impl SliceHeaderOnDisk {
    /// Returns the header, with its checksum, of a slice of `length` bytes.
    pub fn new(identity: SliceIdentity, length: u32, crcs: &[u32]) -> Self {
        assert_eq!(crcs.len(), (length as usize).div_ceil(CRC_BLOCK_BYTES), "a crc for each 64 KiB");
        let mut block_crcs = [Le32::new(0); CRC_BLOCKS];
        for (slot, crc) in block_crcs.iter_mut().zip(crcs) {
            *slot = Le32::new(*crc);
        }
        let mut header = Self {
            magic: MAGIC,
            crc: Le32::new(0),
            version: Le16::new(2),
            shard: Le16::new(identity.shard),
            generation: Le64::new(identity.generation),
            number: Le32::new(identity.number),
            length: Le32::new(length),
            drive: Le64::new(identity.drive),
            extent: Le32::new(identity.extent),
            offset: Le32::new(identity.offset),
            block_crcs,
            reserved: [0; 3792],
        };
        header.seal();
        header
    }

    /// Returns the header of the same slice at another place, with a new checksum.
    pub fn moved_to(mut self, extent: u32, offset: u32) -> Self {
        (self.extent, self.offset) = (Le32::new(extent), Le32::new(offset));
        self.seal();
        self
    }

    /// Computes the checksum and stores it.
    pub fn seal(&mut self) {
        self.crc = Le32::new(self.checksum());
    }

    fn checksum(&self) -> u32 {
        let place = place_in(self.extent.get(), self.offset.get());
        let mark = mark(Structure::Slice, self.drive.get(), self.shard.get(), self.generation.get(), place);
        crc32c::crc32c(&self.as_bytes()[12..]) ^ mark
    }

    /// Returns the identity and place that the header claims.
    pub fn identity(&self) -> SliceIdentity {
        SliceIdentity {
            drive: self.drive.get(),
            shard: self.shard.get(),
            generation: self.generation.get(),
            number: self.number.get(),
            extent: self.extent.get(),
            offset: self.offset.get(),
        }
    }

    /// Checks a header with the mark of the place that it claims. The caller compares the claim,
    /// [`Self::identity`], with what it expects.
    ///
    /// # Errors
    /// Returns what is wrong with the header.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatDamage> {
        let header = Self::read_from_prefix(bytes).map_err(|_| FormatDamage::Short)?.0;
        if header.magic != MAGIC {
            return Err(FormatDamage::Magic);
        }
        if header.checksum() != header.crc.get() {
            return Err(FormatDamage::Checksum);
        }
        if !(1..=SLICE_BYTES as u32).contains(&header.length.get()) {
            return Err(FormatDamage::Field("length"));
        }
        Ok(header)
    }

    /// Returns whether `payload`, which starts at byte `offset` (a multiple of 64 KiB) of this
    /// slice's payload, is what was written.
    pub fn verifies(&self, offset: usize, payload: &[u8]) -> bool {
        assert!(offset.is_multiple_of(CRC_BLOCK_BYTES), "verification starts on a checksum's block");
        let first = offset / CRC_BLOCK_BYTES;
        payload
            .chunks(CRC_BLOCK_BYTES)
            .enumerate()
            .all(|(at, block)| crc32c::crc32c(block) == self.block_crcs[first + at].get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: SliceIdentity =
        SliceIdentity { drive: 9, shard: 2, generation: 77, number: 1, extent: 3, offset: 16 << 10 };

    #[test]
    fn golden_bytes() {
        let header = SliceHeaderOnDisk::new(IDENTITY, 70_000, &[11, 12]);
        let bytes = header.as_bytes();
        assert_eq!(&bytes[..8], b"RBSLICE2");
        assert_eq!(&bytes[12..32], &[2, 0, 2, 0, 77, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0x70, 0x11, 1, 0]);
        assert_eq!(crc32c::crc32c(bytes), 0x0ab7_ffb6, "the golden slice header changed");
        assert_eq!(SliceHeaderOnDisk::parse(bytes), Ok(header));
        assert_eq!(header.identity(), IDENTITY);
        let moved = header.moved_to(4, 0);
        assert_eq!(SliceHeaderOnDisk::parse(moved.as_bytes()), Ok(moved));
        assert_eq!(moved.identity(), SliceIdentity { extent: 4, offset: 0, ..IDENTITY });
        assert_eq!(moved.block_crcs, header.block_crcs);
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        let header = SliceHeaderOnDisk::new(IDENTITY, 70_000, &[11, 12]);
        for bit in 0..BLOCK_BYTES * 8 {
            let mut flipped = header.as_bytes().to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(SliceHeaderOnDisk::parse(&flipped).is_err(), "bit {bit} was not noticed");
        }
    }

    #[test]
    fn payload_is_verified_block_by_block() {
        let payload: Vec<u8> = (0..100_000u32).map(|at| at as u8).collect();
        let crcs: Vec<u32> = payload.chunks(CRC_BLOCK_BYTES).map(crc32c::crc32c).collect();
        let header = SliceHeaderOnDisk::new(IDENTITY, payload.len() as u32, &crcs);
        assert!(header.verifies(0, &payload));
        assert!(header.verifies(CRC_BLOCK_BYTES, &payload[CRC_BLOCK_BYTES..]));
        let mut rotten = payload.clone();
        rotten[99_999] ^= 4;
        assert!(!header.verifies(CRC_BLOCK_BYTES, &rotten[CRC_BLOCK_BYTES..]));
    }
}
