//! The only door to storage.
//!
//! Invariants:
//! - Offsets, lengths and buffers are aligned to 4 KiB; asserted here, relied on by every device.
//! - A call starts its operation at once; the future only waits. A dropped future does not take back the operation.
//! - A transfer is whole or an error: short reads and writes are continued inside.
//! - "Durable" is what a completed durable write, or a completed flush that started after a completed write, is.

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
#[cfg(feature = "record")]
pub mod record;
pub(crate) mod transfer;
pub mod uring;

use std::future::Future;
use std::pin::Pin;

pub use crate::error::DeviceError;
use crate::ring::Buffer;
use crate::ring::arena::ALIGNMENT;

/// The buffer comes back in any case.
pub type IoFuture = Pin<Box<dyn Future<Output = (Result<(), DeviceError>, Buffer)>>>;
/// A flush.
pub type FlushFuture = Pin<Box<dyn Future<Output = Result<(), DeviceError>>>>;

/// When a write must be on stable media.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// By its own completion.
    Immediate,
    /// By a later flush.
    Deferred,
}

/// One drive as one core sees it.
pub trait Device {
    /// Bytes, fixed.
    fn size_bytes(&self) -> u64;
    /// False when a completed write is durable by itself (the kernel reports write-through).
    fn needs_flush(&self) -> bool;
    /// Whether a durable write is a write with a flush behind it. False when the drive takes it past its cache, so that
    /// it neither makes other writes durable nor suffers from a flush that failed.
    fn durable_write_flushes(&self) -> bool {
        self.needs_flush()
    }
    /// Fills `buffer[..length]`.
    fn read(&self, offset: u64, length: usize, buffer: Buffer) -> IoFuture;
    /// Writes `buffer[..length]`.
    fn write(&self, offset: u64, length: usize, buffer: Buffer, durability: Durability) -> IoFuture;
    /// Makes every completed write durable.
    fn flush(&self) -> FlushFuture;
}

/// Asserts what every caller owes a device.
pub(crate) fn assert_aligned(offset: u64, length: usize, buffer: &Buffer, size_bytes: u64) {
    assert!(offset.is_multiple_of(ALIGNMENT as u64), "offset {offset} is not aligned");
    assert!(length > 0 && length.is_multiple_of(ALIGNMENT), "length {length} is not aligned");
    assert!(length <= buffer.capacity(), "length {length} exceeds the buffer of {}", buffer.capacity());
    assert!(
        offset + length as u64 <= size_bytes,
        "{length} bytes at {offset} exceed the drive of {size_bytes}"
    );
}
