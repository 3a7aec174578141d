//! A drive that is accessed through plain system calls, for commands that inspect or repair a drive
//! while no server runs.
//!
//! Invariants:
//! - An operation is complete when its future is created.
//! - Blocks that the drive can not read are returned as zeros, which no checksum accepts, and
//!   recorded one by one: a bad sector must not hide the sound ones around it. A server never reads
//!   in this way.

use std::cell::{Cell, RefCell};
use std::future::ready;
use std::os::unix::fs::FileExt;

use super::file::OpenDrive;
use super::{Device, DeviceError, Durability, FlushFuture, IoFuture, assert_aligned};
use crate::format::BLOCK_BYTES;
use crate::ring::Buffer;

/// A drive whose operations block the calling thread.
pub struct BlockingDevice {
    drive: OpenDrive,
    unreadable: RefCell<Vec<u64>>,
    bytes_read: Cell<u64>,
}

impl BlockingDevice {
    pub fn new(drive: OpenDrive) -> Self {
        Self { drive, unreadable: RefCell::default(), bytes_read: Cell::new(0) }
    }

    pub fn drive(&self) -> &OpenDrive {
        &self.drive
    }

    /// Returns the byte offsets of the blocks that could not be read since the last call, in
    /// ascending order.
    pub fn take_unreadable(&self) -> Vec<u64> {
        let mut blocks = self.unreadable.take();
        blocks.sort_unstable();
        blocks.dedup();
        blocks
    }

    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.get()
    }

    fn read_blocks(&self, offset: u64, buffer: &mut [u8]) {
        for (at, block) in buffer.chunks_mut(BLOCK_BYTES).enumerate() {
            let place = offset + (at * BLOCK_BYTES) as u64;
            if self.drive.file.read_exact_at(block, place).is_err() {
                block.fill(0);
                self.unreadable.borrow_mut().push(place);
            }
        }
    }
}

impl Device for BlockingDevice {
    fn size_bytes(&self) -> u64 {
        self.drive.size_bytes
    }

    fn needs_flush(&self) -> bool {
        true
    }

    fn is_idle(&self) -> bool {
        true
    }

    fn read(&self, offset: u64, length: usize, mut buffer: Buffer) -> IoFuture {
        assert_aligned(offset, length, &buffer, self.drive.size_bytes);
        self.bytes_read.set(self.bytes_read.get() + length as u64);
        if self.drive.file.read_exact_at(&mut buffer[..length], offset).is_err() {
            self.read_blocks(offset, &mut buffer[..length]);
        }
        Box::pin(ready((Ok(()), buffer)))
    }

    fn write(&self, offset: u64, length: usize, buffer: Buffer, durability: Durability) -> IoFuture {
        assert_aligned(offset, length, &buffer, self.drive.size_bytes);
        let failed = |error: std::io::Error| DeviceError {
            operation: "write",
            offset,
            length,
            reason: error.to_string(),
        };
        let mut result = self.drive.file.write_all_at(&buffer[..length], offset).map_err(failed);
        if durability == Durability::Immediate {
            result = result.and_then(|()| self.drive.file.sync_data().map_err(failed));
        }
        Box::pin(ready((result, buffer)))
    }

    fn flush(&self) -> FlushFuture {
        let failed = |error: std::io::Error| DeviceError {
            operation: "flush",
            offset: 0,
            length: 0,
            reason: error.to_string(),
        };
        Box::pin(ready(self.drive.file.sync_all().map_err(failed)))
    }
}
