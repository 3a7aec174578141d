//! A place for a drive that comes while the node runs.
//!
//! Invariant: a place has one drive at most, and never another one. What is sent to it before ends with an error.

use std::cell::OnceCell;
use std::rc::Rc;

use super::{Device, DeviceError, Durability, FlushFuture, IoFuture};
use crate::ring::Buffer;

/// A place for a drive, as one core sees it.
#[derive(Default)]
pub struct SeatDevice {
    drive: OnceCell<Rc<dyn Device>>,
}

impl SeatDevice {
    /// Returns whether the place has, or had, a drive.
    pub fn is_taken(&self) -> bool {
        self.drive.get().is_some()
    }

    /// Gives the place its drive.
    ///
    /// # Panics
    /// Panics when it has one.
    pub fn take(&self, drive: Rc<dyn Device>) {
        assert!(self.drive.set(drive).is_ok(), "a place has one drive");
    }
}

fn empty(operation: &'static str) -> DeviceError {
    DeviceError { operation, offset: 0, length: 0, reason: "no drive is at this place".to_owned() }
}

impl Device for SeatDevice {
    fn size_bytes(&self) -> u64 {
        self.drive.get().map_or(0, |drive| drive.size_bytes())
    }

    fn needs_flush(&self) -> bool {
        self.drive.get().is_none_or(|drive| drive.needs_flush())
    }

    fn durable_write_flushes(&self) -> bool {
        self.drive.get().is_none_or(|drive| drive.durable_write_flushes())
    }

    fn is_idle(&self) -> bool {
        self.drive.get().is_none_or(|drive| drive.is_idle())
    }

    fn read(&self, offset: u64, length: usize, buffer: Buffer) -> IoFuture {
        match self.drive.get() {
            Some(drive) => drive.read(offset, length, buffer),
            None => Box::pin(std::future::ready((Err(empty("read")), buffer))),
        }
    }

    fn write(&self, offset: u64, length: usize, buffer: Buffer, durability: Durability) -> IoFuture {
        match self.drive.get() {
            Some(drive) => drive.write(offset, length, buffer, durability),
            None => Box::pin(std::future::ready((Err(empty("write")), buffer))),
        }
    }

    fn flush(&self) -> FlushFuture {
        match self.drive.get() {
            Some(drive) => drive.flush(),
            None => Box::pin(std::future::ready(Err(empty("flush")))),
        }
    }
}
