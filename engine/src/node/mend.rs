//! Writing a copy anew that a reader found damaged, from another one that it verified.
//!
//! Invariants:
//! - The place stays pinned until the write has ended, whatever becomes of the reader: a late write must
//!   not land in space that has a new owner.
//! - A core writes few copies anew at a time. While it is at that, readers of clients go on and leave
//!   what they found to the scrub, which waits.
//! - Records share blocks, and each is written with the rest of its blocks as the copy has it. A core does
//!   that for one record of a home of a shard after the other: otherwise the later write would take back what
//!   the earlier one mended. Two cores may do so to each other; the next pass of the scrub finds that.

use std::ops::Range;
use std::rc::Rc;

use super::bodies::BodyCount;
use super::state::CoreState;
use crate::device::Durability;
use crate::extent::{Drives, SetPlace};
use crate::hook::{Bug, Rare, reached};
use crate::shard::{Pins, ShardRequest};

/// Copies that a core writes anew at a time.
const MENDS_MAX: usize = 4;

/// A pin on the space that a reader uses. It is released when this is dropped.
pub(super) struct PinGuard {
    pub core: Rc<CoreState>,
    pub shard: u16,
    pub pins: Pins,
    /// Counts the reader from before it asked where to read.
    pub _count: BodyCount,
}

impl PinGuard {
    /// Returns the drives of the shard, as the reader's core reaches them.
    pub fn drives(&self) -> &Drives {
        &self.core.writer_of(self.shard).drives
    }
}

impl Drop for PinGuard {
    fn drop(&mut self) {
        self.core.tell(self.shard, ShardRequest::Unpin(self.pins));
    }
}

/// What is to be written over a copy that is bad.
pub(super) struct Mend {
    /// The home of the copy.
    pub home: usize,
    pub at: SetPlace,
    /// Byte offset of the blocks in the set.
    pub offset: u32,
    /// Whole blocks, as another copy has them.
    pub blocks: Vec<u8>,
    /// The part of them that was verified, or `None` when all of it was. What else lies in the blocks
    /// stays as the copy has it, if that can be read.
    pub verified: Option<Range<usize>>,
}

/// Returns whether another copy may be written anew. A reader that `waits` does so until one may.
pub(super) async fn may_mend(core: &Rc<CoreState>, waits: bool) -> bool {
    while waits && core.mending.get() >= MENDS_MAX {
        core.environment.sleep(1).await;
    }
    core.mending.get() < MENDS_MAX
}

impl Mend {
    /// Starts to write over the bad copy.
    pub fn start(self, pin: &Rc<PinGuard>) {
        let (core, shard, pin) = (pin.core.clone(), pin.shard, pin.clone());
        core.mending.set(core.mending.get() + 1);
        core.environment.clone().spawn(Box::pin(async move {
            let is_late = core.layout.geometry_of(0).planted.is(Bug::MendLate);
            let pin = Some(pin).filter(|_| !is_late);
            if is_late {
                core.environment.sleep(1000).await;
            }
            self.carry_out(&core, shard).await;
            core.mending.set(core.mending.get() - 1);
            drop(pin);
        }));
    }

    async fn carry_out(self, core: &Rc<CoreState>, shard: u16) {
        let Self { home, at, offset, blocks, verified } = self;
        let (drives, length) = (&core.writer_of(shard).drives, blocks.len());
        // It comes before the buffer, which must not be held while waiting for others that need one.
        let _one = match verified {
            Some(_) => Some(core.record_mends.lock(u64::from(shard) << 32 | home as u64).await),
            None => None,
        };
        let mut buffer = core.pool.take_for_step(length).await;
        if drives.get(home).has_left() {
            return;
        }
        let copy = drives.copy(at, home);
        let mut written = 0..length;
        if let Some(verified) = verified {
            let (had, same) = copy.read(offset, length, buffer).await;
            if copy.drive.has_left() {
                return;
            }
            buffer = same;
            written = if had.is_ok() { verified } else { written };
        }
        buffer[written.clone()].copy_from_slice(&blocks[written]);
        let (drive, extent) = (copy.drive.number.get(), copy.extent);
        match copy.write(offset, length, buffer, Durability::Deferred).await.0 {
            Ok(()) => {
                reached(Rare::CopyMended);
                core.repairs.set(core.repairs.get() + 1);
                if let Some(place) = drive.and_then(|drive| core.place_of(drive)) {
                    core.layout.catch_up_of(place).copied(length as u64);
                }
                if copy.drive.is_whole() {
                    let what = "a damaged copy was written anew from another one";
                    tracing::warn!(shard, drive, extent, offset, length, "{what}");
                } else {
                    core.caught_up.set(core.caught_up.get() + 1);
                    tracing::debug!(shard, drive, extent, offset, length, "a copy was brought up to date");
                }
            }
            Err(error) => {
                tracing::error!(shard, drive, extent, offset, %error, "a damaged copy could not be written anew");
                // The other copy serves, whatever becomes of the drive.
                let _ = core.writer_of(shard).lose(home, error).await;
            }
        }
    }
}
