//! A drive in memory with a volatile write cache, for the engine's own tests.
//!
//! Invariants:
//! - A write reaches the drive's cache sector by sector between its start and its end, in any
//!   order. A read sees what is there at two moments between its start and its end. A write is
//!   durable once it completed as an immediate one, or when a flush completes that started after
//!   the write's completion. Nothing else makes it durable.
//! - `crash` keeps, drops or tears each write that is not durable, by the caller's choice, sector
//!   by sector. Of a write in flight, only what the drive had taken can remain.
//! - An operation goes on when nobody waits for it any more, and holds its buffer until it ends.
//!   When the process dies (the [`Simulator`] was killed), the operations that it started end
//!   before anybody else sees the drive.
//! - After a failed flush, what it should have made durable never becomes durable. A later flush
//!   that succeeds does not cover it (as with the page cache of Linux).
//! - Operations take virtual time, so that tasks interleave.
//! - The faults of a [`FaultPlan`] are decided when an operation starts. The kernel may end a
//!   transfer early, at any byte; the rest is transferred by the same code as on a real drive. Each
//!   piece must be aligned as O_DIRECT requires.

use std::cell::{RefCell, RefMut};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

mod fate;
mod faults;
mod medium;

use self::fate::SECTOR;
pub use self::fate::{Fate, Faults};
use self::faults::Course;
pub use self::faults::{FaultCounts, FaultKind, FaultPlan};
use self::medium::{Medium, Wait, Work};
use crate::device::transfer::Transfer;
use crate::device::{Device, DeviceError, Durability, FlushFuture, IoFuture, assert_aligned};
use crate::env::LocalTask;
use crate::executor::Simulator;
use crate::ring::Buffer;
use crate::ring::arena::ALIGNMENT;
use crate::ring::uring::Completion;

/// A simulated drive. Clones share the medium.
#[derive(Clone)]
pub struct SimDevice(Rc<RefCell<Medium>>);

impl SimDevice {
    /// Makes a zeroed drive. Memory is taken only as it is written to.
    pub fn new(size_bytes: u64) -> Self {
        Self(Rc::new(RefCell::new(Medium::new(size_bytes))))
    }

    /// Makes operations take the virtual time of `sim`. Without it, they complete when they are
    /// polled a second time or dropped.
    pub fn live_in(&self, sim: &Simulator) {
        self.0.borrow_mut().world = Some(sim.clone());
    }

    /// Makes operations take no time until [`Self::live_in`] is called, for code without a clock,
    /// such as a check. Operations of a dead process end first.
    pub fn stand_alone(&self) {
        let mut medium = self.0.borrow_mut();
        medium.end_abandoned();
        medium.world = None;
    }

    /// Cuts the power and restores it. `fate` is asked, in order, for each write that was not
    /// durable. Faults end. Operations in flight never complete.
    pub fn crash(&self, mut fate: impl FnMut(usize) -> Fate) {
        self.0.borrow_mut().lose_power(&mut fate);
    }

    /// Ends the operations of a process that is dead, and frees their buffers.
    pub(crate) fn end_dead_operations(&self) {
        self.0.borrow_mut().end_abandoned();
    }

    /// Lets the operations of processes that are dead run until their time is over, as nothing does that locks its
    /// drives.
    #[cfg(feature = "planted-bugs")]
    pub(crate) fn let_dead_operations_go_on(&self) {
        self.0.borrow_mut().dead_go_on = true;
    }

    /// Returns the number of writes that are not durable.
    pub fn cached_writes(&self) -> usize {
        self.0.borrow().cached_writes()
    }

    /// Returns the number of reads, writes and flushes so far.
    pub fn counts(&self) -> (u64, u64, u64) {
        let medium = self.0.borrow();
        (medium.reads, medium.writes, medium.flushes)
    }

    /// Sets the faults that the drive has until the next crash.
    pub fn set_faults(&self, faults: Faults) {
        self.0.borrow_mut().faults = faults;
    }

    /// Sets the seed from which faults are drawn from now on.
    pub fn seed_faults(&self, seed: u64) {
        self.0.borrow_mut().seed(seed);
    }

    /// Sets the odds of faults until another plan is set.
    pub fn follow(&self, plan: FaultPlan) {
        self.0.borrow_mut().injector.follow(plan);
    }

    /// Ends lasting faults, so that blocks that could not be read or written can be again, and what is sent
    /// from now on is answered.
    pub fn heal(&self) {
        self.0.borrow_mut().go_on();
        self.0.borrow_mut().injector.heal();
    }

    /// Makes the drive answer nothing for this long, and then go on.
    pub fn stand_still_us(&self, microseconds: u64) {
        let mut medium = self.0.borrow_mut();
        let now_us = medium.world.as_ref().map_or(0, Simulator::now_us);
        medium.stall(now_us, microseconds);
    }

    /// Sets what every operation takes from now on, microseconds.
    pub fn take_us(&self, takes_us: u64) {
        self.0.borrow_mut().take_us(Some(takes_us));
    }

    /// Makes operations take so many times as long from now on.
    pub fn slow_down(&self, times: u64) {
        self.0.borrow_mut().slow_down(times);
    }

    /// Returns the number of faults so far, by kind.
    pub fn fault_counts(&self) -> FaultCounts {
        self.0.borrow().injector.counts
    }

    /// Changes stored bytes without the engine's knowledge.
    pub fn damage(&self, offset: u64, change: impl FnOnce(&mut [u8])) {
        change(&mut self.shown().visible[offset as usize..]);
    }

    /// Copies stored bytes without an operation.
    pub fn peek(&self, offset: u64, length: usize) -> Vec<u8> {
        self.shown().visible[offset as usize..offset as usize + length].to_vec()
    }

    /// Writes durable bytes without an operation.
    pub fn poke(&self, offset: u64, bytes: &[u8]) {
        self.shown().visible[offset as usize..offset as usize + bytes.len()].copy_from_slice(bytes);
    }

    /// Returns the medium with everything that writes in flight have done by now.
    fn shown(&self) -> RefMut<'_, Medium> {
        let mut medium = self.0.borrow_mut();
        medium.settle_time(0..usize::MAX);
        medium
    }

    /// Returns the offset of every block that starts with `pattern`, for tests that damage what
    /// they know.
    pub fn blocks_starting_with(&self, pattern: &[u8]) -> Vec<u64> {
        let medium = self.shown();
        let blocks = medium.visible.chunks(crate::format::BLOCK_BYTES).enumerate();
        blocks
            .filter(|(_, block)| block.starts_with(pattern))
            .map(|(at, _)| (at * crate::format::BLOCK_BYTES) as u64)
            .collect()
    }

    /// Returns the first offset of `pattern` in the stored bytes.
    pub fn find(&self, pattern: &[u8]) -> Option<u64> {
        let medium = self.shown();
        let (first, rest) = pattern.split_first()?;
        let mut from = 0;
        while let Some(at) = medium.visible[from..].iter().position(|byte| byte == first) {
            from += at + 1;
            if medium.visible[from..].starts_with(rest) {
                return Some(from as u64 - 1);
            }
        }
        None
    }

    /// Starts one operation of the kernel that reads into `buffer` behind `done` bytes.
    fn read_piece(&self, offset: u64, done: usize, length: usize, buffer: Buffer) -> Running {
        let (at, wanted) = piece(offset, done, length, &buffer);
        let mut medium = self.0.borrow_mut();
        let span = medium.span();
        let course = medium.injector.course_of_read(at, wanted);
        let room = medium.visible.len();
        let (from, bytes, result) = match course {
            Course::Well | Course::Lost { .. } => (at, wanted, wanted as i32),
            Course::Fails { .. } => (at, 0, -libc::EIO),
            Course::Interrupted => (at, 0, -libc::EINTR),
            Course::Short { bytes } => (at, bytes, bytes as i32),
            // A misdirected read never gives fewer bytes.
            Course::Elsewhere { offset } => (offset.min(room - wanted), wanted, wanted as i32),
        };
        let work = Work::Read { from, bytes, early: 0 };
        let id = medium.start(work, Some(buffer), done, result, span);
        drop(medium);
        Running::new(self, id)
    }

    /// Starts one operation of the kernel that writes what `buffer` holds behind `done` bytes.
    fn write_piece(
        &self,
        offset: u64,
        done: usize,
        length: usize,
        buffer: Buffer,
        durability: Durability,
    ) -> Running {
        let (at, wanted) = piece(offset, done, length, &buffer);
        let mut medium = self.0.borrow_mut();
        let span = medium.span();
        let all = wanted / SECTOR;
        let course = match medium.faults.fail_writes {
            true => Course::Fails { sectors: 0, refused: Vec::new() },
            false => medium.injector.course_of_write(at, wanted, &buffer[done..]),
        };
        let room = medium.visible.len();
        // The offset, the bytes in the order of the drive, how many of their sectors are done, the
        // kernel's result, and the places that take no write.
        let (to, bytes, limit, result, refused) = match course {
            Course::Well => (at, wanted, all, wanted as i32, Vec::new()),
            Course::Fails { sectors, refused } => (at, wanted, sectors, -libc::EIO, refused),
            Course::Interrupted => (at, 0, 0, -libc::EINTR, Vec::new()),
            Course::Short { bytes } => {
                let whole = bytes / SECTOR;
                (at, whole * SECTOR, whole, bytes as i32, Vec::new())
            }
            Course::Elsewhere { offset } => {
                let bytes = wanted.min(room - offset.min(room));
                (offset, bytes, bytes / SECTOR, wanted as i32, Vec::new())
            }
            Course::Lost { sectors } => (at, wanted, sectors, wanted as i32, Vec::new()),
        };
        let work = Work::Write { to, bytes, durability, limit, refused };
        let id = medium.start(work, Some(buffer), done, result, span);
        drop(medium);
        Running::new(self, id)
    }
}

/// Returns the offset and length of a piece of a transfer. With O_DIRECT the kernel refuses what is
/// not aligned in offset, length and memory.
fn piece(offset: u64, done: usize, length: usize, buffer: &Buffer) -> (usize, usize) {
    let (at, wanted) = (offset as usize + done, length - done);
    let memory = buffer[done..].as_ptr().addr();
    let aligned = [at, wanted, memory].iter().all(|value| value.is_multiple_of(ALIGNMENT));
    assert!(
        aligned,
        "{wanted} bytes at {at}, in memory at {memory:#x}: O_DIRECT asks for multiples of {ALIGNMENT}"
    );
    (at, wanted)
}

/// An operation that somebody waits for. It goes on when this is dropped.
struct Running {
    device: SimDevice,
    id: u64,
    sleep: Option<LocalTask>,
    turned: bool,
    ended: bool,
}

impl Running {
    fn new(device: &SimDevice, id: u64) -> Self {
        let mut running = Self { device: device.clone(), id, sleep: None, turned: false, ended: false };
        running.set_sleep();
        running
    }

    /// Sets the time to sleep for, and returns false when there is none.
    fn set_sleep(&mut self) -> bool {
        let medium = self.device.0.borrow();
        let wait = medium.wait(self.id);
        self.sleep = match (wait, &medium.world) {
            (Wait::Us(microseconds), Some(sim)) => Some(Box::pin(sim.sleep_us(microseconds))),
            _ => None,
        };
        self.sleep.is_some()
    }
}

impl Future for Running {
    type Output = Completion;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Completion> {
        loop {
            if let Some(sleep) = &mut self.sleep {
                std::task::ready!(sleep.as_mut().poll(context));
            }
            // The drive may have stalled meanwhile.
            if self.set_sleep() {
                continue;
            }
            let turned = std::mem::replace(&mut self.turned, true);
            let wait = self.device.0.borrow().wait(self.id);
            match wait {
                Wait::ForEver => return Poll::Pending,
                Wait::Turn if !turned => {
                    context.waker().wake_by_ref();
                    return Poll::Pending;
                }
                _ => {}
            }
            let completion = self.device.0.borrow_mut().end(self.id);
            self.ended = true;
            return completion.map_or(Poll::Pending, Poll::Ready);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let goes_on = self.device.0.borrow_mut().abandon(self.id);
        let world = self.device.0.borrow().world.clone();
        if let Some(sim) = world.filter(|_| goes_on) {
            sim.spawn(outlast(self.device.clone(), self.id, sim.clone()));
        }
    }
}

/// Releases what an operation holds once it ends, although nobody waits for it.
async fn outlast(device: SimDevice, id: u64, sim: Simulator) {
    loop {
        let wait = device.0.borrow().wait(id);
        let Wait::Us(microseconds) = wait else { break };
        sim.sleep_us(microseconds).await;
    }
    device.0.borrow_mut().end_abandoned();
}

impl Device for SimDevice {
    fn size_bytes(&self) -> u64 {
        self.0.borrow().visible.len() as u64
    }

    fn needs_flush(&self) -> bool {
        true
    }

    fn is_idle(&self) -> bool {
        self.0.borrow_mut().is_idle()
    }

    fn read(&self, offset: u64, length: usize, buffer: Buffer) -> IoFuture {
        assert_aligned(offset, length, &buffer, self.size_bytes());
        let running = self.read_piece(offset, 0, length, buffer);
        let device = self.clone();
        let rest = move |done, buffer| device.read_piece(offset, done, length, buffer);
        Box::pin(Transfer { operation: "read", offset, length }.complete(running, rest))
    }

    fn write(&self, offset: u64, length: usize, buffer: Buffer, durability: Durability) -> IoFuture {
        assert_aligned(offset, length, &buffer, self.size_bytes());
        let running = self.write_piece(offset, 0, length, buffer, durability);
        let device = self.clone();
        let rest = move |done, buffer| device.write_piece(offset, done, length, buffer, durability);
        Box::pin(Transfer { operation: "write", offset, length }.complete(running, rest))
    }

    fn flush(&self) -> FlushFuture {
        let running = {
            let mut medium = self.0.borrow_mut();
            let span = medium.span();
            let (covered, fails) = (medium.completed(), medium.injector.strikes(FaultKind::FlushError));
            let id = medium.start(Work::Flush { covered, fails }, None, 0, 0, span);
            drop(medium);
            Running::new(self, id)
        };
        Box::pin(async move {
            match running.await.result {
                0 => Ok(()),
                _ => {
                    let reason = "simulated fault".to_owned();
                    Err(DeviceError { operation: "flush", offset: 0, length: 0, reason })
                }
            }
        })
    }
}
