//! The header of a slice: identity and checksums of up to 4 MiB of a large object.
//!
//! Invariants:
//! - The header is the slice's first block, the payload follows, padded to whole blocks with zeros.
//! - `block_crcs[i]` is the crc32c of payload bytes `i * 64 KiB ..`, the last one of what is left.
//! - A header is believed only with the generation and slice number that the object's record names: a lost or
//!   misdirected write leaves another slice's header, and is noticed.

use std::mem::{offset_of, size_of};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{BLOCK_BYTES, FormatDamage, Le16, Le32, Le64};

pub const MAGIC: [u8; 8] = *b"RBSLICE1";
/// Payload of a full slice, bytes.
pub const SLICE_BYTES: usize = 4 << 20;
/// Payload bytes under one checksum.
pub const CRC_BLOCK_BYTES: usize = 64 << 10;
/// Unit of allocation, bytes.
pub const UNIT_BYTES: usize = 16 << 10;
/// Units of a full slice with its header.
pub const UNITS_PER_SLOT: u32 = ((SLICE_BYTES + UNIT_BYTES) / UNIT_BYTES) as u32;
const CRC_BLOCKS: usize = SLICE_BYTES / CRC_BLOCK_BYTES;

/// First block of a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SliceHeaderOnDisk {
    pub magic: [u8; 8],
    /// crc32c of the block behind this field.
    pub crc: Le32,
    pub version: Le16,
    pub shard: Le16,
    /// Of the segment: unique in the node's life.
    pub generation: Le64,
    /// Within the segment, from 0.
    pub number: Le32,
    /// Bytes of payload, 1 to [`SLICE_BYTES`].
    pub length: Le32,
    /// First half of the drive's UUID.
    pub drive: Le64,
    pub block_crcs: [Le32; CRC_BLOCKS],
    pub reserved: [u8; 3800],
}

const _: () = {
    assert!(size_of::<SliceHeaderOnDisk>() == BLOCK_BYTES);
    assert!(offset_of!(SliceHeaderOnDisk, generation) == 16);
    assert!(offset_of!(SliceHeaderOnDisk, block_crcs) == 40);
    assert!(UNITS_PER_SLOT == 257);
};

impl SliceHeaderOnDisk {
    /// A sealed header.
    pub fn new(shard: u16, drive: u64, generation: u64, number: u32, length: u32, crcs: &[u32]) -> Self {
        assert_eq!(crcs.len(), (length as usize).div_ceil(CRC_BLOCK_BYTES), "a crc for each 64 KiB");
        let mut block_crcs = [Le32::new(0); CRC_BLOCKS];
        for (slot, crc) in block_crcs.iter_mut().zip(crcs) {
            *slot = Le32::new(*crc);
        }
        let mut header = Self {
            magic: MAGIC,
            crc: Le32::new(0),
            version: Le16::new(1),
            shard: Le16::new(shard),
            generation: Le64::new(generation),
            number: Le32::new(number),
            length: Le32::new(length),
            drive: Le64::new(drive),
            block_crcs,
            reserved: [0; 3800],
        };
        header.crc = Le32::new(crc32c::crc32c(&header.as_bytes()[12..]));
        header
    }

    /// Checks a block.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatDamage> {
        let header = Self::read_from_prefix(bytes).map_err(|_| FormatDamage::Short)?.0;
        if header.magic != MAGIC {
            return Err(FormatDamage::Magic);
        }
        if crc32c::crc32c(&header.as_bytes()[12..]) != header.crc.get() {
            return Err(FormatDamage::Checksum);
        }
        if !(1..=SLICE_BYTES as u32).contains(&header.length.get()) {
            return Err(FormatDamage::Field("length"));
        }
        Ok(header)
    }

    /// Whether `payload`, which starts at `offset` (a multiple of 64 KiB) of this slice, is what was written.
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

    #[test]
    fn golden_bytes() {
        let header = SliceHeaderOnDisk::new(2, 9, 77, 1, 70_000, &[11, 12]);
        let bytes = header.as_bytes();
        assert_eq!(&bytes[..8], b"RBSLICE1");
        assert_eq!(&bytes[12..32], &[1, 0, 2, 0, 77, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0x70, 0x11, 1, 0]);
        assert_eq!(crc32c::crc32c(bytes), 0x5488_088e, "the golden slice header changed");
        assert_eq!(SliceHeaderOnDisk::parse(bytes), Ok(header));
    }

    #[test]
    fn payload_is_verified_block_by_block() {
        let payload: Vec<u8> = (0..100_000u32).map(|at| at as u8).collect();
        let crcs: Vec<u32> = payload.chunks(CRC_BLOCK_BYTES).map(crc32c::crc32c).collect();
        let header = SliceHeaderOnDisk::new(0, 0, 1, 0, payload.len() as u32, &crcs);
        assert!(header.verifies(0, &payload));
        assert!(header.verifies(CRC_BLOCK_BYTES, &payload[CRC_BLOCK_BYTES..]));
        let mut rotten = payload.clone();
        rotten[99_999] ^= 4;
        assert!(!header.verifies(CRC_BLOCK_BYTES, &rotten[CRC_BLOCK_BYTES..]));
    }
}
