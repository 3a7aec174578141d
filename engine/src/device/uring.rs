//! A drive on the core's io_uring.

use super::transfer::Transfer;
use super::{Device, DeviceError, Durability, FlushFuture, IoFuture, assert_aligned};
use crate::ring::uring::Target;
use crate::ring::{Buffer, Operation, Ring};

/// Transfers of this size do not wait for the end of the turn to be submitted.
const SUBMIT_AT_ONCE_BYTES: usize = 128 << 10;

/// A block device or preallocated file, opened with O_DIRECT and registered with the ring as file `file`.
pub struct UringDevice {
    ring: Ring,
    file: u32,
    size_bytes: u64,
    needs_flush: bool,
}

impl UringDevice {
    /// `file` is the index in the ring's registered files.
    pub fn new(ring: Ring, file: u32, size_bytes: u64, needs_flush: bool) -> Self {
        Self { ring, file, size_bytes, needs_flush }
    }

    fn transfer(
        &self,
        operation: &'static str,
        offset: u64,
        length: usize,
        buffer: Buffer,
        kind: Kind,
    ) -> IoFuture {
        assert_aligned(offset, length, &buffer, self.size_bytes);
        let (ring, file) = (self.ring.clone(), self.file);
        let running = start(&ring, file, offset, 0, length, buffer, kind);
        if length >= SUBMIT_AT_ONCE_BYTES {
            // Whoever moves bodies copies and hashes next: the device should not be idle meanwhile.
            ring.submit();
        }
        let rest = move |done, buffer| start(&ring, file, offset, done, length, buffer, kind);
        Box::pin(Transfer { operation, offset, length }.complete(running, rest))
    }
}

#[derive(Clone, Copy)]
enum Kind {
    Read,
    Write { durable: bool },
}

fn start(
    ring: &Ring,
    file: u32,
    offset: u64,
    skip: usize,
    length: usize,
    buffer: Buffer,
    kind: Kind,
) -> Operation {
    let target = Target { file, offset: offset + skip as u64, skip, length: length - skip };
    match kind {
        Kind::Read => ring.read(target, buffer),
        Kind::Write { durable } => ring.write(target, buffer, durable),
    }
}

impl Device for UringDevice {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn needs_flush(&self) -> bool {
        self.needs_flush
    }

    fn read(&self, offset: u64, length: usize, buffer: Buffer) -> IoFuture {
        self.transfer("read", offset, length, buffer, Kind::Read)
    }

    fn write(&self, offset: u64, length: usize, buffer: Buffer, durability: Durability) -> IoFuture {
        let durable = durability == Durability::Immediate && self.needs_flush;
        self.transfer("write", offset, length, buffer, Kind::Write { durable })
    }

    fn flush(&self) -> FlushFuture {
        if !self.needs_flush {
            return Box::pin(std::future::ready(Ok(())));
        }
        let running = self.ring.flush(self.file);
        Box::pin(async move {
            // No retry: after a failed flush the kernel may have dropped the dirty state (law 3).
            let result = running.await.result;
            if result >= 0 {
                return Ok(());
            }
            let reason = std::io::Error::from_raw_os_error(-result).to_string();
            Err(DeviceError { operation: "flush", offset: 0, length: 0, reason })
        })
    }
}
