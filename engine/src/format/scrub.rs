//! The progress of a shard's scrub: one block for each shard, behind the copies of the superblock.
//!
//! Invariants:
//! - Block `n` belongs to the shard of root slot `n`. It is overwritten in place. Nothing depends
//!   on it: if a block is torn, damaged or zero (as on every drive of an earlier version), the
//!   scrub starts again.

use std::mem::{offset_of, size_of};

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout};

use super::{BLOCK_BYTES, FormatDamage, Le16, Le32, Le64};

pub const MAGIC: [u8; 8] = *b"RBSCRUB1";
/// Byte offset of the first shard's block on the drive.
pub const SCRUB_START: u64 = 256 << 10;
const KEY_BYTES_MAX: usize = 3072;

/// The block of one shard.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ScrubOnDisk {
    pub magic: [u8; 8],
    /// The crc32c of everything behind this field.
    pub crc: Le32,
    pub version: Le16,
    pub shard: Le16,
    /// The first half of the drive's UUID.
    pub drive: Le64,
    /// Number of finished passes.
    pub passes: Le64,
    /// Unix time in milliseconds when the running pass began; 0 if none is running.
    pub started_ms: Le64,
    /// Unix time in milliseconds when the last pass ended; 0 if none has ended.
    pub finished_ms: Le64,
    /// Objects that the running pass has read, or that the last one read.
    pub objects: Le64,
    /// Bytes that the running pass has read, or that the last one read.
    pub bytes: Le64,
    /// Number of findings of the running pass, or of the last one.
    pub findings: Le64,
    /// Length of `key` in bytes.
    pub key_length: Le16,
    pub reserved: [u8; 950],
    /// The pass continues behind this key of the index.
    pub key: [u8; KEY_BYTES_MAX],
}

const _: () = {
    assert!(size_of::<ScrubOnDisk>() == BLOCK_BYTES);
    assert!(offset_of!(ScrubOnDisk, passes) == 24);
    assert!(offset_of!(ScrubOnDisk, key_length) == 72);
    assert!(offset_of!(ScrubOnDisk, key) == 1024);
};

/// The contents of a block in memory. The fields are those of [`ScrubOnDisk`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrubState {
    pub passes: u64,
    pub started_ms: u64,
    pub finished_ms: u64,
    pub objects: u64,
    pub bytes: u64,
    pub findings: u64,
    pub key: Vec<u8>,
}

impl ScrubState {
    /// Returns the block of `shard` on the drive with the identity `drive`.
    pub fn to_block(&self, shard: u16, drive: u64) -> ScrubOnDisk {
        assert!(self.key.len() <= KEY_BYTES_MAX, "the longest key of the index fits");
        let mut block = ScrubOnDisk::new_zeroed();
        block.magic = MAGIC;
        (block.version, block.shard, block.drive) = (Le16::new(1), Le16::new(shard), Le64::new(drive));
        block.passes = Le64::new(self.passes);
        block.started_ms = Le64::new(self.started_ms);
        block.finished_ms = Le64::new(self.finished_ms);
        block.objects = Le64::new(self.objects);
        block.bytes = Le64::new(self.bytes);
        block.findings = Le64::new(self.findings);
        block.key_length = Le16::new(self.key.len() as u16);
        block.key[..self.key.len()].copy_from_slice(&self.key);
        block.crc = Le32::new(crc32c::crc32c(&block.as_bytes()[12..]));
        block
    }

    /// Decodes a block.
    ///
    /// # Errors
    /// Returns what is wrong with the block; [`FormatDamage::Field`] when it is not that of `shard`
    /// on `drive`.
    pub fn parse(bytes: &[u8], shard: u16, drive: u64) -> Result<Self, FormatDamage> {
        let block = ScrubOnDisk::read_from_prefix(bytes).map_err(|_| FormatDamage::Short)?.0;
        if block.magic != MAGIC {
            return Err(FormatDamage::Magic);
        }
        if crc32c::crc32c(&block.as_bytes()[12..]) != block.crc.get() {
            return Err(FormatDamage::Checksum);
        }
        if block.version.get() != 1 {
            return Err(FormatDamage::Version(u32::from(block.version.get())));
        }
        let key = block.key.get(..usize::from(block.key_length.get()));
        let own = block.shard.get() == shard && block.drive.get() == drive;
        let Some(key) = key.filter(|_| own) else { return Err(FormatDamage::Field("identity or key")) };
        Ok(Self {
            passes: block.passes.get(),
            started_ms: block.started_ms.get(),
            finished_ms: block.finished_ms.get(),
            objects: block.objects.get(),
            bytes: block.bytes.get(),
            findings: block.findings.get(),
            key: key.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_bytes() {
        let state = ScrubState {
            passes: 3,
            started_ms: 1_700_000_000_000,
            finished_ms: 1_690_000_000_000,
            objects: 10,
            bytes: 20,
            findings: 1,
            key: b"\0\0\0\x01key\0\x02".to_vec(),
        };
        let block = state.to_block(2, 9);
        let bytes = block.as_bytes();
        assert_eq!(&bytes[..8], b"RBSCRUB1");
        assert_eq!(&bytes[12..32], &[1, 0, 2, 0, 9, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(crc32c::crc32c(bytes), 0x17c2_2801, "the golden scrub block changed");
        assert_eq!(ScrubState::parse(bytes, 2, 9), Ok(state));
        assert!(ScrubState::parse(bytes, 1, 9).is_err() && ScrubState::parse(bytes, 2, 8).is_err());
        assert_eq!(ScrubState::parse(&[0; BLOCK_BYTES], 2, 9), Err(FormatDamage::Magic));
        for bit in (0..BLOCK_BYTES * 8).step_by(7) {
            let mut flipped = bytes.to_vec();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(ScrubState::parse(&flipped, 2, 9).is_err(), "bit {bit} was not noticed");
        }
    }
}
