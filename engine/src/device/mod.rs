//! Access to drives. Everything that the engine reads or writes goes through a [`Device`].
//!
//! Invariants:
//! - Offsets, lengths and buffers are aligned to 4 KiB. This is asserted here, and every device
//!   relies on it.
//! - A call starts its operation at once; the future only waits for it. A dropped future does not
//!   cancel the operation.
//! - A transfer is complete or an error: short reads and writes are continued by the device.
//! - Data is durable when its durable write has completed, or when a flush has completed that
//!   started after its write had completed.

pub mod blocking;
#[expect(
    clippy::disallowed_methods,
    reason = "opening a drive happens before there is a ring, and is not simulated"
)]
pub mod file;
pub mod flush;
pub mod latch;
#[cfg(test)]
mod latch_model;
pub(crate) mod pace;
#[cfg(feature = "planted-bugs")]
pub(crate) mod planted;
#[cfg(feature = "record")]
pub mod record;
pub(crate) mod seat;
pub(crate) mod transfer;
pub mod uring;
pub(crate) mod watch;

use std::future::Future;
use std::pin::Pin;

pub use crate::error::DeviceError;
use crate::ring::Buffer;
use crate::ring::arena::ALIGNMENT;

/// The result of a read or write. The buffer is returned also when the operation failed, or one of no
/// bytes when the drive keeps it for ever: [`watch`].
pub type IoFuture = Pin<Box<dyn Future<Output = (Result<(), DeviceError>, Buffer)>>>;
/// The result of a flush.
pub type FlushFuture = Pin<Box<dyn Future<Output = Result<(), DeviceError>>>>;

/// The time by which a write must be on stable media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The write is durable when it completes.
    Immediate,
    /// The write is made durable by a later flush.
    Deferred,
}

/// One drive as one core sees it.
pub trait Device {
    /// Returns the size of the drive in bytes, which does not change.
    fn size_bytes(&self) -> u64;
    /// Returns false when a completed write is durable by itself (the kernel reports a
    /// write-through cache).
    fn needs_flush(&self) -> bool;
    /// Returns whether a durable write is a write followed by a flush. It is false when the drive
    /// writes past its cache, so that a durable write neither makes other writes durable nor is
    /// affected by a failed flush.
    fn durable_write_flushes(&self) -> bool {
        self.needs_flush()
    }
    /// Returns whether everything that this core sent has been answered, also what nobody waits for any more.
    fn is_idle(&self) -> bool;
    /// Reads into `buffer[..length]` from byte `offset`.
    fn read(&self, offset: u64, length: usize, buffer: Buffer) -> IoFuture;
    /// Writes `buffer[..length]` at byte `offset`.
    fn write(&self, offset: u64, length: usize, buffer: Buffer, durability: Durability) -> IoFuture;
    /// Makes every completed write durable.
    fn flush(&self) -> FlushFuture;
}

/// Asserts that a transfer is aligned and lies within the buffer and the drive.
pub(crate) fn assert_aligned(offset: u64, length: usize, buffer: &Buffer, size_bytes: u64) {
    assert!(offset.is_multiple_of(ALIGNMENT as u64), "offset {offset} is not aligned");
    assert!(length > 0 && length.is_multiple_of(ALIGNMENT), "length {length} is not aligned");
    assert!(length <= buffer.capacity(), "length {length} exceeds the buffer of {}", buffer.capacity());
    assert!(
        offset + length as u64 <= size_bytes,
        "{length} bytes at {offset} exceed the drive of {size_bytes}"
    );
}
