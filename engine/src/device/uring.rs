//! A drive that is accessed through the core's io_uring.

use super::file::OpenDrive;
use super::transfer::Transfer;
use super::{Device, DeviceError, Durability, FlushFuture, IoFuture, assert_aligned};
use crate::ring::uring::Target;
use crate::ring::{Buffer, Operation, Ring};

/// Transfers of at least this many bytes are submitted at once and not at the end of the turn.
const SUBMIT_AT_ONCE_BYTES: usize = 128 << 10;

/// A block device or preallocated file, opened with O_DIRECT and registered with the ring as file
/// number `file`.
pub struct UringDevice {
    ring: Ring,
    file: u32,
    size_bytes: u64,
    needs_flush: bool,
    durable_write_flushes: bool,
}

impl UringDevice {
    /// Creates the device of `drive`. `file` is the drive's index in the ring's registered files.
    pub fn new(ring: Ring, file: u32, drive: &OpenDrive) -> Self {
        Self {
            ring,
            file,
            size_bytes: drive.size_bytes,
            needs_flush: drive.needs_flush,
            durable_write_flushes: drive.durable_write_flushes,
        }
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
            // The caller copies and hashes a body next, and the device should not be idle
            // meanwhile.
            ring.submit_early();
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

    fn durable_write_flushes(&self) -> bool {
        self.durable_write_flushes
    }

    fn is_idle(&self) -> bool {
        self.ring.is_idle(self.file)
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
            // The flush is not repeated: after a failed one the kernel may have dropped the dirty
            // pages (law 3).
            let result = running.await.result;
            if result >= 0 {
                return Ok(());
            }
            let reason = std::io::Error::from_raw_os_error(-result).to_string();
            Err(DeviceError { operation: "flush", offset: 0, length: 0, reason })
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::os::fd::AsRawFd;
    use std::pin::{Pin, pin};
    use std::sync::Arc;
    use std::sync::atomic::AtomicI32;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::device::file::allocate_file;
    use crate::ring::Pool;

    const BLOCK: usize = 4096;
    /// Bytes of a file that ends within a block. The kernel ends a read there, which is not where
    /// O_DIRECT may continue.
    const SHORT: u64 = 2 * BLOCK as u64 + 100;

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    /// Reads three blocks with O_DIRECT from a file that ends after [`SHORT`] bytes. `meanwhile`
    /// runs after the first completion.
    fn read_short(meanwhile: impl FnOnce(&OpenDrive, &[u8])) -> (Result<(), DeviceError>, bool) {
        // The directory is below the target directory, like the drives of other tests, because
        // O_DIRECT works there.
        let program = std::env::current_exe().expect("a test is a program");
        let directory =
            tempfile::tempdir_in(program.parent().expect("it lies somewhere")).expect("a directory");
        let path = directory.path().join("drive");
        allocate_file(&path, 3 * BLOCK as u64).expect("a file");
        let drive = OpenDrive::open(&path).expect("a drive");
        let bytes: Vec<u8> = (0..3 * BLOCK).map(|at| (at % 251) as u8).collect();
        drive.write(0, &bytes).expect("written");
        drive.file.set_len(SHORT).expect("cut");
        let (pool, peers) = (Pool::new(0).expect("memory"), Arc::new(vec![AtomicI32::new(-1)]));
        let ring = Ring::new(0, peers, &[drive.file.as_raw_fd()], pool.clone(), false).expect("a ring");
        let device = UringDevice::new(ring.clone(), 0, &drive);
        let mut running = pin!(device.read(0, 3 * BLOCK, pool.try_take(3 * BLOCK).expect("a buffer")));
        ring.submit_and_wait();
        assert_eq!(ring.reap(), 1);
        meanwhile(&drive, &bytes);
        assert!(poll(running.as_mut()).is_pending(), "the first answer was short");
        let (result, buffer) = loop {
            ring.submit_and_wait();
            ring.reap();
            if let Poll::Ready(done) = poll(running.as_mut()) {
                break done;
            }
        };
        (result, buffer[..3 * BLOCK] == bytes)
    }

    /// A read that continued at the byte where it had ended was refused, because O_DIRECT continues
    /// only at a block.
    #[test]
    fn a_short_read_goes_on_at_its_block() {
        let (result, is_whole) = read_short(|drive, bytes| {
            drive.file.set_len(3 * BLOCK as u64).expect("grown");
            drive.write(2 * BLOCK as u64, &bytes[2 * BLOCK..]).expect("written");
        });
        assert_eq!((result, is_whole), (Ok(()), true));
    }

    #[test]
    fn a_device_that_ends_within_a_block_is_an_error() {
        let (result, _) = read_short(|_, _| ());
        let error = result.expect_err("there is no third block");
        assert!(error.reason.contains("at byte 8192"), "{error}");
    }
}
