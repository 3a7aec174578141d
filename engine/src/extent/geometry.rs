//! The layout of a drive's extents, and what tells the structures of this drive from those of other
//! drives and lives.

use std::rc::Rc;

use crate::device::{Device, DeviceError};
use crate::format::{BLOCK_BYTES, batch};
use crate::hook::Planted;
use crate::ring::{Buffer, Pool};

/// The extents of a drive, as its superblock describes them, in one life of the node.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    pub extent_bytes: u32,
    pub extents: u32,
    /// Byte offset of extent 0 on the device.
    pub extents_start: u64,
    /// The first half of the drive's UUID.
    pub drive_id: u64,
    /// The number of this life of the node.
    pub epoch: u32,
    pub(crate) planted: Planted,
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
    /// the log's next extent.
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

    /// Returns the mark of a record of `shard` at byte `offset` of the log extent with the number
    /// `log_number`.
    pub(crate) fn record_mark(&self, shard: u16, log_number: u64, offset: u32) -> u32 {
        batch::record_mark(self.drive_id, shard, log_number, offset)
    }
}
