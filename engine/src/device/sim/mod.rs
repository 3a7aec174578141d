//! A drive in memory with a volatile write cache, for the engine's own tests.
//!
//! Invariants:
//! - A write is visible to reads from its start; it is durable once it completed as an immediate one, or when a flush
//!   that started after its completion completes. Nothing else makes it durable.
//! - `crash` keeps, drops or tears each write that is not durable, by the caller's choice, sector by sector.
//! - After a failed flush, what it should have made durable never becomes durable: a later good flush says nothing of
//!   it (as with the page cache of Linux).
//! - Operations take virtual time, as the pace says, so that tasks interleave.
//! - What goes wrong by a [`FaultPlan`] is decided when an operation starts. The kernel may end a transfer early
//!   beneath us; it goes on by the same code as a real one.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

mod faults;

use self::faults::{Course, Injector};
pub use self::faults::{FaultCounts, FaultKind, FaultPlan};
use super::transfer::Transfer;
use super::{Device, DeviceError, Durability, FlushFuture, IoFuture, assert_aligned};
use crate::env::LocalTask;
use crate::ring::Buffer;
use crate::ring::uring::Completion;

const SECTOR: usize = 512;

/// What becomes of one write that was not durable when the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Kept,
    Lost,
    /// The first sectors are there, the others are not.
    Torn {
        sectors: usize,
    },
    /// Sector `n` is there if bit `n % 64` is set.
    Scattered {
        mask: u64,
    },
}

/// What the drive does wrong from now on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    pub fail_reads: bool,
    pub fail_writes: bool,
    pub fail_flushes: bool,
    /// Flushes answer well and do nothing: what a test of the tests plants.
    pub lie_about_flushes: bool,
}

/// How long an operation takes; much longer if it is asked for with `true`.
pub type Pace = Rc<dyn Fn(bool) -> LocalTask>;

type Piece = Pin<Box<dyn Future<Output = Completion>>>;

/// Clones share the medium.
#[derive(Clone)]
pub struct SimDevice(Rc<RefCell<Medium>>);

struct Medium {
    /// What reads see.
    visible: Vec<u8>,
    /// Oldest first.
    cached: Vec<Cached>,
    next_write: u64,
    faults: Faults,
    injector: Injector,
    pace: Option<Pace>,
    writes: u64,
    flushes: u64,
}

/// A write that is not durable.
struct Cached {
    id: u64,
    offset: usize,
    bytes: Vec<u8>,
    /// What was there before: the medium without this write.
    before: Vec<u8>,
    completed: bool,
    /// A flush of it failed.
    doomed: bool,
}

impl SimDevice {
    /// A zeroed drive. Memory is taken as it is written to.
    pub fn new(size_bytes: u64) -> Self {
        Self(Rc::new(RefCell::new(Medium {
            visible: vec![0; size_bytes as usize],
            cached: Vec::new(),
            next_write: 0,
            faults: Faults::default(),
            injector: Injector::new(size_bytes),
            pace: None,
            writes: 0,
            flushes: 0,
        })))
    }

    /// Operations take what `pace` takes. Without one they complete when polled a second time.
    pub fn set_pace(&self, pace: Pace) {
        self.0.borrow_mut().pace = Some(pace);
    }

    /// The power goes and comes back: `fate` is asked for each write that was not durable, in order. Faults end.
    pub fn crash(&self, mut fate: impl FnMut(usize) -> Fate) {
        let mut medium = self.0.borrow_mut();
        medium.faults = Faults::default();
        let cached = std::mem::take(&mut medium.cached);
        for write in cached.iter().rev() {
            medium.visible[write.offset..write.offset + write.before.len()].copy_from_slice(&write.before);
        }
        for (index, write) in cached.iter().enumerate() {
            let fate = fate(index);
            for (sector, bytes) in write.bytes.chunks(SECTOR).enumerate() {
                let kept = match fate {
                    Fate::Kept => true,
                    Fate::Lost => false,
                    Fate::Torn { sectors } => sector < sectors,
                    Fate::Scattered { mask } => mask >> (sector % 64) & 1 == 1,
                };
                if kept {
                    let at = write.offset + sector * SECTOR;
                    medium.visible[at..at + bytes.len()].copy_from_slice(bytes);
                }
            }
        }
    }

    /// Writes that are not durable.
    pub fn cached_writes(&self) -> usize {
        self.0.borrow().cached.len()
    }

    /// Writes and flushes so far.
    pub fn counts(&self) -> (u64, u64) {
        let medium = self.0.borrow();
        (medium.writes, medium.flushes)
    }

    /// What goes wrong from now on; until the next crash.
    pub fn set_faults(&self, faults: Faults) {
        self.0.borrow_mut().faults = faults;
    }

    /// Faults by seed; from now on they are drawn from `seed`.
    pub fn seed_faults(&self, seed: u64) {
        self.0.borrow_mut().injector = Injector::new(seed);
    }

    /// What goes wrong from now on by the odds of `plan`, until another plan comes.
    pub fn follow(&self, plan: FaultPlan) {
        self.0.borrow_mut().injector.follow(plan);
    }

    /// Faults that stay, end: what could not be read or written can be.
    pub fn heal(&self) {
        self.0.borrow_mut().injector.heal();
    }

    /// Faults so far, by kind.
    pub fn fault_counts(&self) -> FaultCounts {
        self.0.borrow().injector.counts
    }

    /// Changes stored bytes behind the engine's back.
    pub fn damage(&self, offset: u64, change: impl FnOnce(&mut [u8])) {
        change(&mut self.0.borrow_mut().visible[offset as usize..]);
    }

    /// Copies stored bytes, without an operation.
    pub fn peek(&self, offset: u64, length: usize) -> Vec<u8> {
        self.0.borrow().visible[offset as usize..offset as usize + length].to_vec()
    }

    /// Writes durable bytes, without an operation.
    pub fn poke(&self, offset: u64, bytes: &[u8]) {
        self.0.borrow_mut().visible[offset as usize..offset as usize + bytes.len()].copy_from_slice(bytes);
    }

    /// Every place in whole blocks where the bytes start with `pattern`; for tests that damage what they know.
    pub fn blocks_starting_with(&self, pattern: &[u8]) -> Vec<u64> {
        let medium = self.0.borrow();
        let blocks = medium.visible.chunks(crate::format::BLOCK_BYTES).enumerate();
        blocks
            .filter(|(_, block)| block.starts_with(pattern))
            .map(|(at, _)| (at * crate::format::BLOCK_BYTES) as u64)
            .collect()
    }

    /// Finds stored bytes.
    pub fn find(&self, pattern: &[u8]) -> Option<u64> {
        let medium = self.0.borrow();
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

    fn duration(&self) -> LocalTask {
        let (pace, slow) = {
            let mut medium = self.0.borrow_mut();
            medium.rot();
            (medium.pace.clone(), medium.injector.strikes(FaultKind::Delay))
        };
        pace.map_or_else(|| Box::pin(Turn::default()) as LocalTask, |pace| pace(slow))
    }

    /// One operation of the kernel: reads into `buffer` behind `done` bytes.
    fn read_piece(&self, offset: u64, done: usize, length: usize, mut buffer: Buffer) -> Piece {
        let (device, duration) = (self.clone(), self.duration());
        let (at, wanted) = (offset as usize + done, length - done);
        let course = self.0.borrow_mut().injector.course_of_read(at, wanted);
        Box::pin(async move {
            duration.await;
            let medium = device.0.borrow();
            let (from, bytes) = match course {
                _ if medium.faults.fail_reads => return ended(-libc::EIO, buffer),
                Course::Fails { .. } => return ended(-libc::EIO, buffer),
                Course::Interrupted => return ended(-libc::EINTR, buffer),
                Course::Short { bytes } => (at, bytes),
                Course::Elsewhere { offset } => (offset, wanted.min(medium.visible.len() - offset)),
                Course::Well | Course::Lost => (at, wanted),
            };
            buffer[done..done + bytes].copy_from_slice(&medium.visible[from..from + bytes]);
            ended(bytes as i32, buffer)
        })
    }

    /// One operation of the kernel: writes what `buffer` holds behind `done` bytes.
    fn write_piece(
        &self,
        offset: u64,
        done: usize,
        length: usize,
        buffer: Buffer,
        durability: Durability,
    ) -> Piece {
        let duration = self.duration();
        let (at, wanted) = (offset as usize + done, length - done);
        let mut medium = self.0.borrow_mut();
        let course = match medium.faults.fail_writes {
            true => Course::Fails { done: 0 },
            false => medium.injector.course_of_write(at, wanted),
        };
        let room = medium.visible.len();
        // Where, how much, and what the kernel says.
        let (to, bytes, result) = match course {
            Course::Well => (at, wanted, wanted as i32),
            Course::Fails { done } => (at, done, -libc::EIO),
            Course::Interrupted => (at, 0, -libc::EINTR),
            Course::Short { bytes } => (at, bytes, bytes as i32),
            Course::Elsewhere { offset } => (offset, wanted.min(room - offset), wanted as i32),
            Course::Lost => (at, 0, wanted as i32),
        };
        let id = (bytes > 0).then(|| medium.start_write(to as u64, &buffer[done..done + bytes]));
        drop(medium);
        let completion = id.map(|id| Completing { device: self.clone(), id, durability });
        Box::pin(async move {
            duration.await;
            drop(completion);
            ended(result, buffer)
        })
    }
}

fn ended(result: i32, buffer: Buffer) -> Completion {
    Completion { result, buffer: Some(buffer) }
}

impl Medium {
    fn start_write(&mut self, offset: u64, bytes: &[u8]) -> u64 {
        self.writes += 1;
        self.next_write += 1;
        let at = offset as usize;
        let before = self.visible[at..at + bytes.len()].to_vec();
        self.visible[at..at + bytes.len()].copy_from_slice(bytes);
        let bytes = bytes.to_vec();
        self.cached.push(Cached {
            id: self.next_write,
            offset: at,
            bytes,
            before,
            completed: false,
            doomed: false,
        });
        self.next_write
    }

    /// The write `id` is durable: older ones that are not no longer show through where they overlap.
    fn settle(&mut self, id: u64) {
        let Some(position) = self.cached.iter().position(|write| write.id == id) else { return };
        let durable = self.cached.remove(position);
        for older in &mut self.cached[..position] {
            overlay(older.offset, &mut older.before, durable.offset, &durable.bytes);
            overlay(older.offset, &mut older.bytes, durable.offset, &durable.bytes);
        }
    }

    /// Durable data rots, not what is still on its way.
    fn rot(&mut self) {
        let Some((at, bit)) = self.injector.place_to_rot() else { return };
        let on_its_way = |write: &Cached| write.offset <= at && at < write.offset + write.bytes.len();
        if !self.cached.iter().any(on_its_way) && self.injector.strikes(FaultKind::Rot) {
            self.visible[at] ^= bit;
        }
    }

    fn completed(&self) -> Vec<u64> {
        self.cached.iter().filter(|write| write.completed && !write.doomed).map(|write| write.id).collect()
    }
}

/// Copies onto `target`, which starts at `start`, what `bytes` at `at` has in common with it.
fn overlay(start: usize, target: &mut [u8], at: usize, bytes: &[u8]) {
    let (from, to) = (start.max(at), (start + target.len()).min(at + bytes.len()));
    if from < to {
        target[from - start..to - start].copy_from_slice(&bytes[from - at..to - at]);
    }
}

/// Completes a write, also when nobody waits for it any more: an operation that was started goes on.
struct Completing {
    device: SimDevice,
    id: u64,
    durability: Durability,
}

impl Drop for Completing {
    fn drop(&mut self) {
        let mut medium = self.device.0.borrow_mut();
        match self.durability {
            Durability::Immediate => medium.settle(self.id),
            Durability::Deferred => {
                if let Some(write) = medium.cached.iter_mut().find(|write| write.id == self.id) {
                    write.completed = true;
                }
            }
        }
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

impl Device for SimDevice {
    fn size_bytes(&self) -> u64 {
        self.0.borrow().visible.len() as u64
    }

    fn needs_flush(&self) -> bool {
        true
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
        let (device, duration) = (self.clone(), self.duration());
        let (covered, fails) = {
            let mut medium = self.0.borrow_mut();
            (medium.completed(), medium.injector.strikes(FaultKind::FlushError))
        };
        Box::pin(async move {
            duration.await;
            let mut medium = device.0.borrow_mut();
            medium.flushes += 1;
            if fails || medium.faults.fail_flushes {
                medium.cached.iter_mut().filter(|write| covered.contains(&write.id)).for_each(|write| {
                    write.doomed = true;
                });
                let reason = "simulated fault".to_owned();
                return Err(DeviceError { operation: "flush", offset: 0, length: 0, reason });
            }
            if !medium.faults.lie_about_flushes {
                covered.into_iter().for_each(|id| medium.settle(id));
            }
            Ok(())
        })
    }
}
