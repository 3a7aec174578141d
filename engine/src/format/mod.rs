//! Every structure on the drive, one file each. docs/on-disk-format.md has the pictures.
//!
//! Invariants:
//! - All integers are little-endian; every structure has its size and offsets asserted and a golden-byte test.
//! - Every structure carries a crc32c over all of it behind the crc field, and is checked before it is believed.
//! - What is read by address proves where and when it was written: [`mark`].
//! - A new field is a new version. From the first release on, old versions stay readable.

pub mod batch;
pub mod checkpoint;
pub mod mark;
pub mod record;
pub mod scrub;
pub mod slice;
pub mod superblock;

use zerocopy::byteorder::little_endian::{U32, U64};

/// Smallest unit of I/O and of every structure's alignment.
pub const BLOCK_BYTES: usize = 4096;
/// Version of the whole layout, in the superblock.
pub const FORMAT_VERSION: u32 = 2;

pub type Le32 = U32;
pub type Le64 = U64;
pub type Le16 = zerocopy::byteorder::little_endian::U16;

/// Why bytes are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatDamage {
    #[error("too short")]
    Short,
    #[error("no magic number")]
    Magic,
    #[error("checksum mismatch")]
    Checksum,
    #[error("impossible value in field {0}")]
    Field(&'static str),
    #[error("it belongs at another place or to another life")]
    Elsewhere,
    #[error("version {0} is not one that this program reads")]
    Version(u32),
}

/// Rounds up to whole blocks.
pub const fn blocks_up(bytes: usize) -> usize {
    bytes.next_multiple_of(BLOCK_BYTES)
}
