//! A failed flush is final for all cores that share a drive.
//!
//! Invariant: once a flush of the drive failed on any core, no flush that ends later says that it went well: what the
//! failed one should have made durable may be what the later one was asked for. The news goes by one flag, because a
//! message would come too late: the other core's flush may end, and its client be told, before it arrives.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Device, DeviceError, Durability, FlushFuture, IoFuture};
use crate::ring::Buffer;

/// One core's view of a drive, with the flag that all its cores share.
pub struct LatchedDevice {
    device: Rc<dyn Device>,
    failed: Arc<AtomicBool>,
}

impl LatchedDevice {
    pub fn new(device: Rc<dyn Device>, failed: Arc<AtomicBool>) -> Self {
        Self { device, failed }
    }
}

impl Device for LatchedDevice {
    fn size_bytes(&self) -> u64 {
        self.device.size_bytes()
    }

    fn needs_flush(&self) -> bool {
        self.device.needs_flush()
    }

    fn read(&self, offset: u64, length: usize, buffer: Buffer) -> IoFuture {
        self.device.read(offset, length, buffer)
    }

    fn write(&self, offset: u64, length: usize, buffer: Buffer, durability: Durability) -> IoFuture {
        self.device.write(offset, length, buffer, durability)
    }

    fn flush(&self) -> FlushFuture {
        let (running, failed) = (self.device.flush(), self.failed.clone());
        Box::pin(async move {
            let result = running.await;
            if result.is_err() {
                failed.store(true, Ordering::Release);
                return result;
            }
            if failed.load(Ordering::Acquire) {
                let reason = "an earlier flush of this drive failed on another core".to_owned();
                return Err(DeviceError { operation: "flush", offset: 0, length: 0, reason });
            }
            Ok(())
        })
    }
}
