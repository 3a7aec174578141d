//! A batch of the log: what one group commit writes.
//!
//! Invariants:
//! - A batch starts on a block, is padded to whole blocks with zeros, and lies within one extent.
//! - `previous_crc` is the crc of the batch before it: batches of another life or lap never chain.
//! - `durable_sequence` was durable when this batch was written: it convicts a hole before it as damage.

use std::mem::{offset_of, size_of};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{BLOCK_BYTES, FormatDamage, Le16, Le32, Le64, blocks_up};

pub const MAGIC: [u8; 8] = *b"RBBATCH1";
/// Header, records and padding together, at most.
pub const BATCH_BYTES_MAX: usize = 1 << 20;
pub const HEADER_BYTES: usize = size_of::<BatchHeaderOnDisk>();

/// First bytes of a batch; records follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct BatchHeaderOnDisk {
    pub magic: [u8; 8],
    /// crc32c of header and records behind this field, up to `length`.
    pub crc: Le32,
    /// Header and records without padding, bytes.
    pub length: Le32,
    pub shard: Le16,
    pub version: Le16,
    pub records: Le32,
    pub sequence: Le64,
    /// Epoch of the node's life that wrote it.
    pub epoch: Le32,
    pub previous_crc: Le32,
    pub durable_sequence: Le64,
    /// First half of the drive's UUID.
    pub drive: Le64,
    /// How often this extent had been made a log extent of this shard's log.
    pub lap: Le64,
}

const _: () = {
    assert!(size_of::<BatchHeaderOnDisk>() == 64);
    assert!(offset_of!(BatchHeaderOnDisk, sequence) == 24);
    assert!(offset_of!(BatchHeaderOnDisk, durable_sequence) == 40);
    assert!(offset_of!(BatchHeaderOnDisk, lap) == 56);
};

impl BatchHeaderOnDisk {
    /// Writes this header, with its checksum, before the records that `batch[HEADER_BYTES..length]` holds.
    /// Returns the crc.
    pub fn seal_into(mut self, batch: &mut [u8]) -> u32 {
        let length = self.length.get() as usize;
        batch[..HEADER_BYTES].copy_from_slice(self.as_bytes());
        let crc = crc32c::crc32c(&batch[12..length]);
        self.crc = Le32::new(crc);
        batch[..HEADER_BYTES].copy_from_slice(self.as_bytes());
        crc
    }

    /// Checks what starts at `bytes`; `Short` when the batch is longer than what is given.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatDamage> {
        let header = Self::read_from_prefix(bytes).map_err(|_| FormatDamage::Short)?.0;
        if header.magic != MAGIC {
            return Err(FormatDamage::Magic);
        }
        let length = header.length.get() as usize;
        if !(HEADER_BYTES..=BATCH_BYTES_MAX).contains(&length) {
            return Err(FormatDamage::Field("length"));
        }
        let body = bytes.get(12..length).ok_or(FormatDamage::Short)?;
        if crc32c::crc32c(body) != header.crc.get() {
            return Err(FormatDamage::Checksum);
        }
        Ok(header)
    }

    /// What the block at `bytes` says of itself, without a check: only to decide whether reading the rest is worth it.
    pub fn peek(bytes: &[u8]) -> Option<Self> {
        let header = Self::read_from_prefix(bytes).ok()?.0;
        let possible = (HEADER_BYTES..=BATCH_BYTES_MAX).contains(&(header.length.get() as usize));
        (header.magic == MAGIC && possible).then_some(header)
    }

    /// Bytes it takes in the log.
    pub fn padded_bytes(&self) -> usize {
        blocks_up(self.length.get() as usize)
    }
}

const _: () = assert!(BATCH_BYTES_MAX.is_multiple_of(BLOCK_BYTES));

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Vec<u8> {
        let mut batch = vec![0; BLOCK_BYTES];
        batch[HEADER_BYTES..HEADER_BYTES + 5].copy_from_slice(b"hello");
        let header = BatchHeaderOnDisk {
            magic: MAGIC,
            crc: Le32::new(0),
            length: Le32::new(HEADER_BYTES as u32 + 5),
            shard: Le16::new(3),
            version: Le16::new(1),
            records: Le32::new(1),
            sequence: Le64::new(42),
            epoch: Le32::new(2),
            previous_crc: Le32::new(0xdead_beef),
            durable_sequence: Le64::new(41),
            drive: Le64::new(9),
            lap: Le64::new(1),
        };
        header.seal_into(&mut batch);
        batch
    }

    #[test]
    fn golden_bytes() {
        let batch = example();
        assert_eq!(&batch[..8], b"RBBATCH1");
        assert_eq!(&batch[12..32], &[69, 0, 0, 0, 3, 0, 1, 0, 1, 0, 0, 0, 42, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(crc32c::crc32c(&batch), 0x6dc9_41ad, "the golden batch changed");
        let header = BatchHeaderOnDisk::parse(&batch).expect("valid");
        assert_eq!((header.sequence.get(), header.padded_bytes()), (42, BLOCK_BYTES));
    }

    #[test]
    fn every_flipped_bit_is_seen() {
        for bit in 0..(HEADER_BYTES + 5) * 8 {
            let mut batch = example();
            batch[bit / 8] ^= 1 << (bit % 8);
            assert!(BatchHeaderOnDisk::parse(&batch).is_err(), "bit {bit} was not noticed");
        }
    }
}
