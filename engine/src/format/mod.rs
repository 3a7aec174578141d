//! The structures on a drive, one file each. docs/on-disk-format.md shows them as diagrams.
//!
//! Invariants:
//! - All integers are little-endian. Every structure has assertions of its size and offsets, and a
//!   test of golden bytes.
//! - Every structure carries a crc32c over everything behind the crc field, and is checked before
//!   it is used.
//! - What is read by address proves where and when it was written; see [`mark`].
//! - A new field is a new version. From the first release on, old versions stay readable.

pub mod batch;
pub mod checkpoint;
pub mod lifecycle;
pub mod mark;
pub mod parts;
pub mod record;
pub mod scrub;
pub mod set;
pub mod slice;
pub mod superblock;
pub(crate) mod varint;

use zerocopy::byteorder::little_endian::{U32, U64};

/// The smallest unit of I/O and the alignment of every structure, in bytes.
pub const BLOCK_BYTES: usize = 4096;
/// Version of the whole layout, stored in the superblock.
pub const FORMAT_VERSION: u32 = 3;

pub type Le32 = U32;
pub type Le64 = U64;
pub type Le16 = zerocopy::byteorder::little_endian::U16;

/// The reason why bytes are not the structure that they should be.
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

/// Rounds a number of bytes up to whole blocks.
pub const fn blocks_up(bytes: usize) -> usize {
    bytes.next_multiple_of(BLOCK_BYTES)
}
