//! The superblock: a drive's identity and geometry, and where each shard's recovery starts.
//!
//! Invariants:
//! - Four copies of 4 KiB lie 64 KiB apart from the start of the drive. An update writes copies 0
//!   and 1, flushes, writes copies 2 and 3, and flushes again. So at any time two copies of one
//!   sequence are whole.
//! - The superblock in force is the one with the highest sequence that at least two valid copies
//!   agree on, byte for byte.
//! - It changes only when the drive is formatted, when it is opened (a new epoch), when a life
//!   begins a shard's log, and after a checkpoint.

use std::mem::{offset_of, size_of};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::{BLOCK_BYTES, FORMAT_VERSION, FormatDamage, Le16, Le32, Le64};

pub const MAGIC: [u8; 8] = *b"RINGBOLT";
pub const COPIES: usize = 4;
/// Distance between the copies in bytes.
pub const COPY_STRIDE: u64 = 64 << 10;
/// The most shards that can have their root on one drive.
pub const ROOTS: usize = 96;

/// The place where a shard's recovery starts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ShardRootOnDisk {
    pub shard: Le16,
    /// [`ROOT_NONE`], [`ROOT_LOG`] or [`ROOT_CHECKPOINT`].
    pub kind: Le16,
    /// Extent of the log's first batch, or of the checkpoint's root chunk.
    pub extent: Le32,
    /// Byte offset of the root chunk within the extent.
    pub offset: Le32,
    /// Length of the root chunk in bytes.
    pub length: Le32,
    /// Sequence of the log's first batch, or of the checkpoint.
    pub sequence: Le64,
    /// The crc32c of the root chunk.
    pub crc: Le32,
    /// Epoch of the last life that began a new extent for the shard's log. A log that ends in an
    /// earlier life is incomplete.
    pub log_epoch: Le32,
}

/// The slot holds no shard.
pub const ROOT_NONE: u16 = 0;
/// Recovery starts with the first batch of the log.
pub const ROOT_LOG: u16 = 1;
/// Recovery starts with a checkpoint.
pub const ROOT_CHECKPOINT: u16 = 2;

/// One copy of the superblock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SuperblockOnDisk {
    pub magic: [u8; 8],
    /// The crc32c of everything behind this field.
    pub crc: Le32,
    pub format_version: Le32,
    /// Counts the updates of the superblock.
    pub sequence: Le64,
    /// Crc of the superblock that this one replaced.
    pub parent_crc: Le32,
    /// Number of the node's life. Every start adds one, so that generations and batches of
    /// different lives are distinct.
    pub epoch: Le32,
    pub node_uuid: [u8; 16],
    pub set_uuid: [u8; 16],
    pub drive_uuid: [u8; 16],
    /// Key of the hash that distributes keys over shards.
    pub hash_key: [Le64; 2],
    /// Unix time in milliseconds when the drive was formatted.
    pub created_ms: Le64,
    pub size_bytes: Le64,
    pub extent_bytes: Le64,
    /// Byte offset of extent 0.
    pub extents_start: Le64,
    pub extents: Le32,
    /// Bytes of the largest object that is stored inside its record.
    pub inline_bytes_max: Le32,
    pub slice_bytes: Le32,
    pub unit_bytes: Le32,
    /// Number of this drive in its set, from 0.
    pub drive_index: Le16,
    /// Number of drives in the set.
    pub drives: Le16,
    /// Number of shards of the whole node.
    pub shards: Le16,
    /// Unused: it is always 0.
    pub clean: Le16,
    pub reserved: [u8; 872],
    pub roots: [ShardRootOnDisk; ROOTS],
}

const _: () = {
    assert!(size_of::<ShardRootOnDisk>() == 32);
    assert!(size_of::<SuperblockOnDisk>() == BLOCK_BYTES);
    assert!(offset_of!(SuperblockOnDisk, sequence) == 16);
    assert!(offset_of!(SuperblockOnDisk, node_uuid) == 32);
    assert!(offset_of!(SuperblockOnDisk, hash_key) == 80);
    assert!(offset_of!(SuperblockOnDisk, extents) == 128);
    assert!(offset_of!(SuperblockOnDisk, reserved) == 152);
    assert!(offset_of!(SuperblockOnDisk, roots) == 1024);
};

impl SuperblockOnDisk {
    /// Computes the checksum and stores it.
    pub fn seal(&mut self) {
        self.crc = Le32::new(self.checksum());
    }

    /// Returns the bytes of the copy.
    pub fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }

    fn checksum(&self) -> u32 {
        crc32c::crc32c(&self.as_bytes()[12..])
    }

    /// Checks one copy.
    ///
    /// # Errors
    /// Returns what is wrong with the copy.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatDamage> {
        let block = Self::read_from_prefix(bytes).map_err(|_| FormatDamage::Short)?.0;
        if block.magic != MAGIC {
            return Err(FormatDamage::Magic);
        }
        if block.crc.get() != block.checksum() {
            return Err(FormatDamage::Checksum);
        }
        if block.format_version.get() != FORMAT_VERSION {
            return Err(FormatDamage::Version(block.format_version.get()));
        }
        let geometry = block.extent_bytes.get().checked_mul(u64::from(block.extents.get()));
        match geometry.and_then(|bytes| bytes.checked_add(block.extents_start.get())) {
            Some(end) if end <= block.size_bytes.get() && block.extents.get() > 0 => {}
            _ => return Err(FormatDamage::Field("extents")),
        }
        if block.shards.get() == 0 || block.drives.get() == 0 || block.drive_index >= block.drives {
            return Err(FormatDamage::Field("shards or drives"));
        }
        Ok(block)
    }

    /// Returns the superblock in force, given the four copies as read from the drive.
    ///
    /// # Errors
    /// Returns [`FormatDamage::Version`] if any copy has another version, [`FormatDamage::Magic`]
    /// if no copy has the magic number, and [`FormatDamage::Checksum`] if no two copies agree.
    pub fn choose(copies: &[&[u8]]) -> Result<Self, FormatDamage> {
        let parsed: Vec<_> = copies.iter().map(|bytes| Self::parse(bytes)).collect();
        if let Some(other) = parsed.iter().find_map(|copy| match copy {
            Err(FormatDamage::Version(version)) => Some(*version),
            _ => None,
        }) {
            return Err(FormatDamage::Version(other));
        }
        let valid: Vec<Self> = parsed.iter().filter_map(|copy| copy.ok()).collect();
        let agreed = valid.iter().filter(|one| valid.iter().filter(|other| other == one).count() >= 2);
        match agreed.max_by_key(|copy| copy.sequence.get()) {
            Some(copy) => Ok(*copy),
            None if valid.is_empty() && parsed.iter().all(|copy| *copy == Err(FormatDamage::Magic)) => {
                Err(FormatDamage::Magic)
            }
            None => Err(FormatDamage::Checksum),
        }
    }

    /// Returns the root of `shard`, if the drive has one.
    pub fn root_of(&self, shard: u16) -> Option<ShardRootOnDisk> {
        self.roots.iter().find(|root| root.kind.get() != ROOT_NONE && root.shard.get() == shard).copied()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn example(sequence: u64) -> SuperblockOnDisk {
        let mut block = SuperblockOnDisk::new_zeroed_for_test();
        block.magic = MAGIC;
        block.format_version = Le32::new(FORMAT_VERSION);
        block.sequence = Le64::new(sequence);
        block.size_bytes = Le64::new(1 << 30);
        block.extent_bytes = Le64::new(4_210_688);
        block.extents_start = Le64::new(1 << 20);
        block.extents = Le32::new(200);
        block.shards = Le16::new(4);
        block.drives = Le16::new(1);
        block.seal();
        block
    }

    impl SuperblockOnDisk {
        fn new_zeroed_for_test() -> Self {
            Self::read_from_bytes(&[0; BLOCK_BYTES]).expect("a block of zeros")
        }
    }

    #[test]
    fn golden_bytes() {
        let block = example(7);
        let bytes = block.bytes();
        assert_eq!(&bytes[..8], b"RINGBOLT");
        assert_eq!(&bytes[12..32], &[2, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(&bytes[104..112], &[0, 0, 0, 0x40, 0, 0, 0, 0]);
        assert_eq!(crc32c::crc32c(bytes), 0x23d2_d073, "the golden superblock changed");
        assert_eq!(SuperblockOnDisk::parse(bytes), Ok(block));
    }

    #[test]
    fn two_copies_must_agree() {
        let (old, new) = (example(7), example(8));
        let zero = [0u8; BLOCK_BYTES];
        let choose = |copies: [&[u8]; 4]| SuperblockOnDisk::choose(&copies).map(|block| block.sequence.get());
        assert_eq!(choose([new.bytes(), new.bytes(), old.bytes(), old.bytes()]), Ok(8));
        assert_eq!(choose([new.bytes(), &zero, old.bytes(), old.bytes()]), Ok(7));
        assert_eq!(choose([new.bytes(), &zero, &zero, old.bytes()]), Err(FormatDamage::Checksum));
        assert_eq!(choose([&zero, &zero, &zero, &zero]), Err(FormatDamage::Magic));
        let mut flipped = new.bytes().to_vec();
        flipped[2000] ^= 1;
        assert_eq!(choose([&flipped, new.bytes(), old.bytes(), old.bytes()]), Ok(7));
    }

    #[test]
    fn another_version_is_named() {
        for version in [FORMAT_VERSION + 1, 1] {
            let mut other = example(9);
            other.format_version = Le32::new(version);
            other.seal();
            let old = example(8);
            let copies = [other.bytes(), other.bytes(), old.bytes(), old.bytes()];
            assert_eq!(SuperblockOnDisk::choose(&copies), Err(FormatDamage::Version(version)));
        }
    }
}
