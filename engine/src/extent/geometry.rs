//! The layout of a drive's extents, and what tells the structures of this format from those of
//! other formats and lives.

use super::members::Members;
use super::shape::Shape;
use crate::format::set::SetV1;
use crate::format::{BLOCK_BYTES, batch};
use crate::hook::Planted;

/// The extents of a drive, as its superblock describes them, in one life of the node.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    pub extent_bytes: u32,
    pub extents: u32,
    /// Byte offset of extent 0 on the device.
    pub extents_start: u64,
    /// The first half of the UUID of the format, which all drives of the set share.
    pub format_id: u64,
    /// The first half of the drive's UUID.
    pub drive_id: u64,
    /// Number of the drive in the view.
    pub drive: u16,
    /// The most members of a set whose members are copies: M + 1.
    pub copies: u8,
    /// The members of a set of slices.
    pub shape: Shape,
    /// The number of this life of the node.
    pub epoch: u32,
    pub(crate) planted: Planted,
}

/// A set and where it lies. Whoever has it needs no table of sets to read there, and to verify what
/// is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetPlace {
    pub set: u32,
    pub birth: u64,
    /// Its copies.
    pub members: Members,
}

impl SetPlace {
    /// Returns number and birth, by which headers say to which set they belong.
    pub fn identity(&self) -> (u32, u64) {
        (self.set, self.birth)
    }

    /// Returns the extent of the first member, by which messages name the place.
    pub fn extent(&self) -> u32 {
        self.members.first().extent
    }

    /// Returns the set as a record or a checkpoint says it.
    pub fn to_disk(self, kind: u8) -> SetV1 {
        SetV1 { set: self.set, kind, birth: self.birth, members: self.members.to_disk() }
    }
}

/// A set of the log, as a reader of its records needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSet {
    pub place: SetPlace,
    /// The log extent number.
    pub log_number: u64,
}

impl Geometry {
    /// Returns the bytes of all extents of the drive.
    pub(crate) fn size_bytes(&self) -> u64 {
        u64::from(self.extents) * u64::from(self.extent_bytes)
    }

    /// Returns the byte offset on the device of byte `offset` of `extent`.
    ///
    /// # Panics
    /// Panics when the drive has no such place.
    pub fn byte(&self, extent: u32, offset: u32) -> u64 {
        assert!(
            extent < self.extents && offset <= self.extent_bytes,
            "extent {extent}, offset {offset} is not there"
        );
        self.extents_start + u64::from(extent) * u64::from(self.extent_bytes) + u64::from(offset)
    }

    /// Returns the byte offset of an extent's last block, which is kept for the batch that names
    /// the log's next set.
    pub(crate) fn last_block(&self) -> u32 {
        self.extent_bytes / BLOCK_BYTES as u32 * BLOCK_BYTES as u32 - BLOCK_BYTES as u32
    }

    /// Returns the mark of a record of `shard` at byte `offset` of a set of the log.
    pub(crate) fn record_mark(&self, shard: u16, log: LogSet, offset: u32) -> u32 {
        batch::record_mark((self.format_id, shard), log.place.birth, log.log_number, offset)
    }
}
