//! A drive in memory with a volatile write cache, for the engine's own tests.
//!
//! Invariants:
//! - A write is visible to reads at once and durable only after a flush (or at once when asked for).
//! - `crash` keeps, drops or tears each write that was not flushed, by the caller's choice, at sector granularity.
//! - Operations complete when polled a second time, so that tasks interleave.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use super::{Device, DeviceError, Durability, FlushFuture, IoFuture, assert_aligned};
use crate::ring::Buffer;

const SECTOR: usize = 512;

/// What becomes of one unflushed write when the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Kept,
    Lost,
    /// The first sectors are there, the others are not.
    Torn {
        sectors: usize,
    },
}

/// Clones share the medium.
#[derive(Clone)]
pub struct SimDevice(Rc<RefCell<Medium>>);

struct Medium {
    durable: Vec<u8>,
    /// What reads see: `durable` with the cached writes applied.
    visible: Vec<u8>,
    cached: Vec<(u64, Vec<u8>)>,
    fail_writes: bool,
    fail_flushes: bool,
    writes: u64,
    flushes: u64,
}

impl SimDevice {
    /// A zeroed drive.
    pub fn new(size_bytes: u64) -> Self {
        Self(Rc::new(RefCell::new(Medium {
            durable: vec![0; size_bytes as usize],
            visible: vec![0; size_bytes as usize],
            cached: Vec::new(),
            fail_writes: false,
            fail_flushes: false,
            writes: 0,
            flushes: 0,
        })))
    }

    /// The power goes: a new device with what survived. `fate` is asked for each unflushed write in order.
    pub fn crash(&self, mut fate: impl FnMut(usize) -> Fate) -> Self {
        let medium = self.0.borrow();
        let mut survived = medium.durable.clone();
        for (index, (offset, bytes)) in medium.cached.iter().enumerate() {
            let kept = match fate(index) {
                Fate::Kept => bytes.len(),
                Fate::Lost => 0,
                Fate::Torn { sectors } => bytes.len().min(sectors * SECTOR),
            };
            survived[*offset as usize..*offset as usize + kept].copy_from_slice(&bytes[..kept]);
        }
        let new = Self::new(0);
        *new.0.borrow_mut() = Medium { visible: survived.clone(), durable: survived, ..Medium::empty() };
        new
    }

    /// Unflushed writes.
    pub fn cached_writes(&self) -> usize {
        self.0.borrow().cached.len()
    }

    /// Writes and flushes so far.
    pub fn counts(&self) -> (u64, u64) {
        let medium = self.0.borrow();
        (medium.writes, medium.flushes)
    }

    /// From now on every write fails, or every flush.
    pub fn fail(&self, writes: bool, flushes: bool) {
        let mut medium = self.0.borrow_mut();
        (medium.fail_writes, medium.fail_flushes) = (writes, flushes);
    }

    /// Changes stored bytes behind the engine's back.
    pub fn damage(&self, offset: u64, change: impl FnOnce(&mut [u8])) {
        let mut medium = self.0.borrow_mut();
        change(&mut medium.visible[offset as usize..]);
        let copy = medium.visible.clone();
        medium.durable = copy;
    }

    /// Finds stored bytes; for tests that damage what they know.
    pub fn find(&self, pattern: &[u8]) -> Option<u64> {
        let medium = self.0.borrow();
        medium.visible.windows(pattern.len()).position(|window| window == pattern).map(|at| at as u64)
    }
}

impl Medium {
    fn empty() -> Self {
        Self {
            durable: Vec::new(),
            visible: Vec::new(),
            cached: Vec::new(),
            fail_writes: false,
            fail_flushes: false,
            writes: 0,
            flushes: 0,
        }
    }

    fn write(&mut self, offset: u64, bytes: &[u8], durability: Durability) {
        self.writes += 1;
        let at = offset as usize;
        self.visible[at..at + bytes.len()].copy_from_slice(bytes);
        match durability {
            // A durable write says nothing of others, but it supersedes what was cached of the same blocks.
            Durability::Immediate => {
                self.durable[at..at + bytes.len()].copy_from_slice(bytes);
                for (start, cached) in &mut self.cached {
                    overlay(*start as usize, cached, at, bytes);
                }
            }
            Durability::Deferred => self.cached.push((offset, bytes.to_vec())),
        }
    }

    fn flush(&mut self) {
        self.flushes += 1;
        for (offset, bytes) in std::mem::take(&mut self.cached) {
            self.durable[offset as usize..offset as usize + bytes.len()].copy_from_slice(&bytes);
        }
    }
}

/// Copies onto `target`, which starts at `start`, what `bytes` at `at` has in common with it.
fn overlay(start: usize, target: &mut [u8], at: usize, bytes: &[u8]) {
    let (from, to) = (start.max(at), (start + target.len()).min(at + bytes.len()));
    if from < to {
        target[from - start..to - start].copy_from_slice(&bytes[from - at..to - at]);
    }
}

/// Pending once, so that other tasks run between the start and the end of an operation.
#[derive(Default)]
struct Turn(bool);

impl Future for Turn {
    type Output = ();
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

fn failed(operation: &'static str, offset: u64, length: usize) -> DeviceError {
    DeviceError { operation, offset, length, reason: "simulated fault".to_owned() }
}

impl Device for SimDevice {
    fn size_bytes(&self) -> u64 {
        self.0.borrow().visible.len() as u64
    }

    fn needs_flush(&self) -> bool {
        true
    }

    fn read(&self, offset: u64, length: usize, mut buffer: Buffer) -> IoFuture {
        assert_aligned(offset, length, &buffer, self.size_bytes());
        let device = self.clone();
        Box::pin(async move {
            Turn::default().await;
            let at = offset as usize;
            buffer[..length].copy_from_slice(&device.0.borrow().visible[at..at + length]);
            (Ok(()), buffer)
        })
    }

    fn write(&self, offset: u64, length: usize, buffer: Buffer, durability: Durability) -> IoFuture {
        assert_aligned(offset, length, &buffer, self.size_bytes());
        if self.0.borrow().fail_writes {
            return Box::pin(std::future::ready((Err(failed("write", offset, length)), buffer)));
        }
        // The write may reach the medium from the moment it was started, whether or not anybody waits.
        self.0.borrow_mut().write(offset, &buffer[..length], durability);
        Box::pin(async move {
            Turn::default().await;
            (Ok(()), buffer)
        })
    }

    fn flush(&self) -> FlushFuture {
        if self.0.borrow().fail_flushes {
            return Box::pin(std::future::ready(Err(failed("flush", 0, 0))));
        }
        let device = self.clone();
        Box::pin(async move {
            Turn::default().await;
            device.0.borrow_mut().flush();
            Ok(())
        })
    }
}
