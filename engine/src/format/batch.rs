//! A batch of the log: what one group commit writes.
//!
//! Invariants:
//! - A batch starts on a block, is padded to whole blocks with zeros, and lies within one extent.
//! - It says where and when it was written (format, shard, set with its birth, log extent number,
//!   offset). Its checksum and those of its records carry the [`mark`] of that place, so that what is
//!   read by address is accepted only if it belongs there.
//! - Key id and tag are room for drives that are encrypted whole. They are zero.
//! - `previous_crc` is the crc of the batch before it, so batches of another life or log extent
//!   number never chain.
//! - `durable_sequence` was durable when this batch was written. It proves that a missing batch
//!   before it is damage.

use std::mem::{offset_of, size_of};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::mark::{Structure, mark};
use super::{BLOCK_BYTES, FormatDamage, Le16, Le32, Le64, blocks_up};

pub const MAGIC: [u8; 8] = *b"RBBATCH3";
/// The largest size of a batch in bytes: header, records and padding together.
pub const BATCH_BYTES_MAX: usize = 1 << 20;
pub const HEADER_BYTES: usize = size_of::<BatchHeaderOnDisk>();

/// The header of a batch. The records follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct BatchHeaderOnDisk {
    pub magic: [u8; 8],
    /// The crc32c of header and records behind this field, up to `length`, XOR the mark.
    pub crc: Le32,
    /// Bytes of header and records without padding.
    pub length: Le32,
    pub shard: Le16,
    pub version: Le16,
    /// Number of records in the batch.
    pub records: Le32,
    pub sequence: Le64,
    /// Epoch of the life that wrote the batch.
    pub epoch: Le32,
    /// The crc of the batch before this one.
    pub previous_crc: Le32,
    /// Sequence of the last batch that was durable when this one was written.
    pub durable_sequence: Le64,
    /// The first half of the UUID of the format.
    pub format: Le64,
    /// The log extent number. It counts the sets that this shard's log has gone through and is never
    /// used twice.
    pub log_number: Le64,
    /// Birth of the set in which the batch was written.
    pub birth: Le64,
    /// Number of that set.
    pub set: Le32,
    /// Byte offset in the set at which the batch was written.
    pub offset: Le32,
    /// Number of the key with which the batch is encrypted; 0 for none.
    pub key_id: Le32,
    pub reserved: [u8; 4],
    /// The tag of an authenticated encryption.
    pub tag: [u8; 16],
}

/// The version of the header.
pub const VERSION: u16 = 3;

const _: () = {
    assert!(size_of::<BatchHeaderOnDisk>() == 104);
    assert!(offset_of!(BatchHeaderOnDisk, sequence) == 24);
    assert!(offset_of!(BatchHeaderOnDisk, durable_sequence) == 40);
    assert!(offset_of!(BatchHeaderOnDisk, log_number) == 56);
    assert!(offset_of!(BatchHeaderOnDisk, offset) == 76);
    assert!(offset_of!(BatchHeaderOnDisk, tag) == 88);
};

impl BatchHeaderOnDisk {
    /// Computes the checksum and writes this header before the records that
    /// `batch[HEADER_BYTES..length]` holds. Returns the crc.
    pub fn seal_into(mut self, batch: &mut [u8]) -> u32 {
        let length = self.length.get() as usize;
        batch[..HEADER_BYTES].copy_from_slice(self.as_bytes());
        let crc = crc32c::crc32c(&batch[12..length]) ^ self.mark();
        self.crc = Le32::new(crc);
        batch[..HEADER_BYTES].copy_from_slice(self.as_bytes());
        crc
    }

    fn mark(&self) -> u32 {
        mark(Structure::Batch, self.owner(), self.birth.get(), self.log_number.get(), self.offset.get())
    }

    /// Returns the mark of the record that starts `at` bytes behind the start of the batch.
    pub fn record_mark(&self, at: usize) -> u32 {
        let offset = self.offset.get() + at as u32;
        record_mark(self.owner(), self.birth.get(), self.log_number.get(), offset)
    }

    /// Returns the format and the shard that the header names.
    fn owner(&self) -> (u64, u16) {
        (self.format.get(), self.shard.get())
    }

    /// Returns whether `shard` wrote it in the format with this identity.
    pub fn is_of(&self, format: u64, shard: u16) -> bool {
        self.owner() == (format, shard)
    }

    /// Returns whether the header says that the batch was written at byte `offset` of the set with
    /// this number and birth.
    pub fn is_at(&self, (set, birth): (u32, u64), offset: u32) -> bool {
        (self.set.get(), self.birth.get()) == (set, birth) && self.offset.get() == offset
    }

    /// Checks the batch that starts at `bytes`, with the mark of the place that the batch claims.
    /// The caller compares that place with the one it was read from.
    ///
    /// # Errors
    /// Returns what is wrong with the batch; [`FormatDamage::Short`] when it is longer than
    /// `bytes`.
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
        if crc32c::crc32c(body) ^ header.mark() != header.crc.get() {
            return Err(FormatDamage::Checksum);
        }
        if header.version.get() != VERSION {
            return Err(FormatDamage::Version(u32::from(header.version.get())));
        }
        if header.key_id.get() != 0 || header.tag != [0; 16] {
            return Err(FormatDamage::Field("key_id or tag"));
        }
        // The places of all records must be representable.
        match header.offset.get().checked_add(header.length.get()) {
            Some(_) => Ok(header),
            None => Err(FormatDamage::Field("offset")),
        }
    }

    /// Returns the header at `bytes` if it is plausible, without checking the checksum. It only
    /// serves to decide whether the rest is worth reading.
    pub fn peek(bytes: &[u8]) -> Option<Self> {
        let header = Self::read_from_prefix(bytes).ok()?.0;
        let possible = (HEADER_BYTES..=BATCH_BYTES_MAX).contains(&(header.length.get() as usize));
        (header.magic == MAGIC && possible).then_some(header)
    }

    /// Returns the bytes that the batch takes in the log.
    pub fn padded_bytes(&self) -> usize {
        blocks_up(self.length.get() as usize)
    }
}

/// Returns the mark of a record of `owner` (format and shard) at byte `offset` of the set that was
/// born as `birth` and is the log extent with the number `log_number`.
pub fn record_mark(owner: (u64, u16), birth: u64, log_number: u64, offset: u32) -> u32 {
    mark(Structure::Record, owner, birth, log_number, offset)
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
            version: Le16::new(VERSION),
            records: Le32::new(1),
            sequence: Le64::new(42),
            epoch: Le32::new(2),
            previous_crc: Le32::new(0xdead_beef),
            durable_sequence: Le64::new(41),
            format: Le64::new(9),
            log_number: Le64::new(1),
            birth: Le64::new(6),
            set: Le32::new(5),
            offset: Le32::new(8192),
            key_id: Le32::new(0),
            reserved: [0; 4],
            tag: [0; 16],
        };
        header.seal_into(&mut batch);
        batch
    }

    #[test]
    fn golden_bytes() {
        let batch = example();
        assert_eq!(&batch[..8], b"RBBATCH3");
        assert_eq!(&batch[12..32], &[109, 0, 0, 0, 3, 0, 3, 0, 1, 0, 0, 0, 42, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(crc32c::crc32c(&batch), 0x475b_0daf, "the golden batch changed");
        let header = BatchHeaderOnDisk::parse(&batch).expect("valid");
        assert_eq!((header.sequence.get(), header.padded_bytes()), (42, BLOCK_BYTES));
        assert!(header.is_at((5, 6), 8192) && !header.is_at((5, 6), 4096));
        assert!(!header.is_at((4, 6), 8192) && !header.is_at((5, 5), 8192));
    }

    /// A batch is changed to claim another place or life and gets a plain checksum that fits. A
    /// program that knows no marks would accept it.
    #[test]
    fn a_claim_of_another_place_is_not_believed() {
        type Change = fn(&mut BatchHeaderOnDisk);
        let changes: [Change; 6] = [
            |header| header.log_number = Le64::new(2),
            |header| header.offset = Le32::new(4096),
            |header| header.shard = Le16::new(1),
            |header| header.format = Le64::new(8),
            |header| header.birth = Le64::new(5),
            |header| header.offset = Le32::new(u32::MAX - 4095),
        ];
        for change in changes {
            let batch = example();
            let mut header = BatchHeaderOnDisk::parse(&batch).expect("valid");
            let length = header.length.get() as usize;
            let old_mark = crc32c::crc32c(&batch[12..length]) ^ header.crc.get();
            change(&mut header);
            let mut changed = batch;
            changed[..HEADER_BYTES].copy_from_slice(header.as_bytes());
            let crc = crc32c::crc32c(&changed[12..length]) ^ old_mark;
            changed[8..12].copy_from_slice(&crc.to_le_bytes());
            assert_eq!(BatchHeaderOnDisk::parse(&changed), Err(FormatDamage::Checksum));
        }
    }

    #[test]
    fn an_encrypted_batch_is_refused() {
        type Change = fn(&mut BatchHeaderOnDisk);
        for change in [(|header| header.key_id = Le32::new(1)) as Change, |header| header.tag[15] = 1] {
            let mut batch = example();
            let mut header = BatchHeaderOnDisk::parse(&batch).expect("valid");
            change(&mut header);
            header.seal_into(&mut batch);
            assert_eq!(BatchHeaderOnDisk::parse(&batch), Err(FormatDamage::Field("key_id or tag")));
        }
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
