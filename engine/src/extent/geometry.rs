//! The layout of a drive's extents, and what tells the structures of this format from those of
//! other formats and lives.

use std::rc::Rc;

use crate::device::{Device, DeviceError};
use crate::format::set::{KIND_CHECKPOINT, KIND_LOG, KIND_SLICES, MemberV1, SETS_MAX, SetV1};
use crate::format::{BLOCK_BYTES, FormatDamage, batch};
use crate::hook::Planted;
use crate::ring::{Buffer, Pool};

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
    /// Number of the drive in the view.
    pub drive: u16,
    /// The extent on that drive.
    pub extent: u32,
}

impl SetPlace {
    /// Returns number and birth, by which headers say to which set they belong.
    pub fn identity(&self) -> (u32, u64) {
        (self.set, self.birth)
    }

    /// Returns the set as a record or a checkpoint says it.
    pub fn to_disk(self, kind: u8) -> SetV1 {
        let Self { set, birth, drive, extent } = self;
        SetV1 { set, kind, birth, members: vec![MemberV1 { node: 0, drive, extent }] }
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

    /// Returns the byte offset on the device of byte `offset` of a set.
    ///
    /// # Panics
    /// Panics when the set does not lie on this drive, or when the drive has no such place.
    pub fn byte_of(&self, at: SetPlace, offset: u32) -> u64 {
        assert_eq!(at.drive, self.drive, "set {} lies on another drive", at.set);
        self.byte(at.extent, offset)
    }

    /// Returns the byte offset of an extent's last block, which is kept for the batch that names
    /// the log's next set.
    pub(crate) fn last_block(&self) -> u32 {
        self.extent_bytes / BLOCK_BYTES as u32 * BLOCK_BYTES as u32 - BLOCK_BYTES as u32
    }

    /// Reads `length` bytes at an extent and a byte offset in it, into one of the buffers that are
    /// kept for operations of one step.
    ///
    /// # Errors
    /// Returns [`DeviceError`] when the device fails.
    pub(crate) async fn read(
        &self,
        device: &Rc<dyn Device>,
        pool: &Pool,
        (extent, offset): (u32, u32),
        length: usize,
    ) -> Result<Buffer, DeviceError> {
        let buffer = pool.take_for_step(length).await;
        let (result, buffer) = device.read(self.byte(extent, offset), length, buffer).await;
        result.map(|()| buffer)
    }

    /// Reads bytes of a set as [`Self::read`] reads those of an extent.
    ///
    /// # Errors
    /// Returns [`DeviceError`] when the device fails.
    pub(crate) async fn read_set(
        &self,
        device: &Rc<dyn Device>,
        pool: &Pool,
        (at, offset): (SetPlace, u32),
        length: usize,
    ) -> Result<Buffer, DeviceError> {
        assert_eq!(at.drive, self.drive, "set {} lies on another drive", at.set);
        self.read(device, pool, (at.extent, offset), length).await
    }

    /// Returns the mark of a record of `shard` at byte `offset` of a set of the log.
    pub(crate) fn record_mark(&self, shard: u16, log: LogSet, offset: u32) -> u32 {
        batch::record_mark((self.format_id, shard), log.place.birth, log.log_number, offset)
    }

    /// Returns the place of a set that a drive says there is, and its kind.
    ///
    /// # Errors
    /// Returns [`FormatDamage::Field`] when it can not be a set of a shard with this home drive.
    pub(crate) fn set_of(&self, set: &SetV1) -> Result<(SetPlace, u8), FormatDamage> {
        let known = [KIND_LOG, KIND_CHECKPOINT, KIND_SLICES].contains(&set.kind);
        let &[MemberV1 { node, drive, extent }] = set.members.as_slice() else {
            return Err(FormatDamage::Field("members of a set"));
        };
        if (node, drive) != (0, self.drive) || extent >= self.extents {
            return Err(FormatDamage::Field("member of a set"));
        }
        // The lowest free number is always the next, so none is greater than there are extents.
        if !known || set.set >= self.extents.min(SETS_MAX) {
            return Err(FormatDamage::Field("set"));
        }
        Ok((SetPlace { set: set.set, birth: set.birth, drive, extent }, set.kind))
    }
}
