//! The node's implementation of what the shards of one drive on one core need.

use std::rc::{Rc, Weak};
use std::sync::Arc;

use super::state::CoreState;
use crate::device::DeviceError;
use crate::env::LocalFuture;
use crate::error::{EngineError, Result};
use crate::extent::allocator::{Class, HeldBack, Refusal, Taken};
use crate::format::superblock::ShardRootOnDisk;
use crate::lifecycle::LifecycleRules;
use crate::shard::{BucketRules, Growth, LedgerId, ShardReply, ShardRequest, Surroundings};
use crate::types::BucketId;

/// A drive as one core sees it. It does not keep the core alive.
pub(super) struct DriveOfCore {
    core: Weak<CoreState>,
    drive: u16,
}

impl DriveOfCore {
    pub fn new(core: &Rc<CoreState>, drive: u16) -> Self {
        Self { core: Rc::downgrade(core), drive }
    }

    /// Returns the core, or an error when the node is closing.
    fn core(&self) -> Result<Rc<CoreState>> {
        self.core.upgrade().ok_or(EngineError::ShuttingDown)
    }
}

/// Returns a future that is ready with this answer.
fn at_once<T: 'static>(answer: T) -> LocalFuture<T> {
    Box::pin(std::future::ready(answer))
}

/// Takes a free extent, on the core of the drive's allocator.
fn take_here(core: &Rc<CoreState>, drive: u16, class: Class) -> std::result::Result<Taken, Refusal> {
    let taken = core.allocator(drive).take(class);
    tell_spare(core, drive);
    taken
}

/// Returns an extent to its drive's allocator, by message if that is on another core.
fn give(core: &Rc<CoreState>, drive: u16, extent: u32) {
    let give = move |core: &Rc<CoreState>| {
        core.allocator(drive).give(extent);
        tell_spare(core, drive);
    };
    core.send(core.layout.allocator_core(drive), Box::new(give));
}

/// Tells every core how many extents users can still take, while they are few. It runs on the core
/// of the drive's allocator.
fn tell_spare(core: &Rc<CoreState>, drive: u16) {
    let few = core.layout.settings_of(drive).few_extents;
    let Some(spare) = core.allocator(drive).spare_to_tell(few) else { return };
    for other in 0..core.layout.cores {
        let hear = move |core: &Rc<CoreState>| {
            core.drives[usize::from(drive)].spare_extents.set(spare);
            core.shards_of_drive(drive).for_each(|shard| shard.note_free_extents());
        };
        core.send(other, Box::new(hear));
    }
}

impl Surroundings for DriveOfCore {
    fn take_extent(&self, class: Class) -> LocalFuture<std::result::Result<Taken, Refusal>> {
        let Ok(core) = self.core() else { return at_once(Err(Refusal::Scarce)) };
        let drive = self.drive;
        let allocator = core.layout.allocator_core(drive);
        if allocator == core.index {
            return Box::pin(async move { take_here(&core, drive, class) });
        }
        Box::pin(async move {
            let orphan = move |core: &Rc<CoreState>, taken: std::result::Result<Taken, Refusal>| {
                taken.into_iter().for_each(|taken| give(core, drive, taken.extent));
            };
            let take = move |core: Rc<CoreState>| async move { take_here(&core, drive, class) };
            core.call_or(allocator, take, orphan).await
        })
    }

    fn give_extents(&self, extents: Vec<u32>) {
        if let Ok(core) = self.core() {
            extents.into_iter().for_each(|extent| give(&core, self.drive, extent));
        }
    }

    fn hold_back(&self, shard: u16, extents: HeldBack) {
        let Ok(core) = self.core() else { return };
        let drive = self.drive;
        let hold = move |core: &Rc<CoreState>| {
            core.allocator(drive).hold_back(shard, extents);
            tell_spare(core, drive);
        };
        core.send(core.layout.allocator_core(drive), Box::new(hold));
    }

    fn spare_extents(&self) -> u32 {
        self.core().map_or(u32::MAX, |core| core.drives[usize::from(self.drive)].spare_extents.get())
    }

    fn reclaim(&self, refusal: Refusal) -> LocalFuture<bool> {
        let Ok(core) = self.core() else { return at_once(false) };
        let drive = self.drive;
        Box::pin(async move {
            let shards: Vec<u16> = core.layout.shards_of_drive(drive).collect();
            let asked = shards.into_iter().map(|shard| core.ask(shard, ShardRequest::Reclaim(refusal)));
            let outcomes = futures_util::future::join_all(asked).await;
            outcomes.into_iter().any(|outcome| matches!(outcome, Ok(ShardReply::Judged(true))))
        })
    }

    fn compact(&self, first: u16) -> LocalFuture<bool> {
        let Ok(core) = self.core() else { return at_once(false) };
        let drive = self.drive;
        Box::pin(async move {
            let mut shards: Vec<u16> = core.layout.shards_of_drive(drive).collect();
            shards.sort_by_key(|shard| *shard != first);
            for shard in shards {
                if matches!(core.ask(shard, ShardRequest::Compact).await, Ok(ShardReply::Judged(true))) {
                    return true;
                }
            }
            false
        })
    }

    fn install_root(
        &self,
        root: ShardRootOnDisk,
    ) -> LocalFuture<Result<std::result::Result<(), DeviceError>>> {
        let core = match self.core() {
            Ok(core) => core,
            Err(error) => return at_once(Err(error)),
        };
        let (drive, allocator) = (self.drive, core.layout.allocator_core(self.drive));
        let install = move |core: Rc<CoreState>| async move { core.allocator(drive).install(root).await };
        Box::pin(async move { Ok(core.call(allocator, install).await) })
    }

    fn note_log_begun(&self, shard: u16) -> LocalFuture<std::result::Result<(), DeviceError>> {
        let Ok(core) = self.core() else { return at_once(Ok(())) };
        let (drive, allocator) = (self.drive, core.layout.allocator_core(self.drive));
        let note =
            move |core: Rc<CoreState>| async move { core.allocator(drive).note_log_begun(shard).await };
        Box::pin(async move { core.call(allocator, note).await })
    }

    /// Nobody knows whose writes the flush should have made durable, so the shards stop on all
    /// cores.
    fn stop_drive(&self, error: &DeviceError) {
        let Ok(core) = self.core() else { return };
        let drive = self.drive;
        for other in 0..core.layout.cores {
            let error = error.clone();
            let stop = move |core: &Rc<CoreState>| {
                core.drives[usize::from(drive)].flush.stop(error);
                core.shards_of_drive(drive).for_each(|shard| shard.end_writing());
            };
            core.send(other, Box::new(stop));
        }
    }

    fn reserve_quota(
        &self,
        bucket: BucketId,
        ledger: LedgerId,
        growth: Growth,
    ) -> LocalFuture<Result<Growth>> {
        let core = match self.core() {
            Ok(core) => core,
            Err(error) => return at_once(Err(error)),
        };
        Box::pin(async move { core.reserve_quota(bucket, ledger, growth).await })
    }

    fn settle_quota(&self, bucket: BucketId, ledger: LedgerId, change: Growth) {
        if let Ok(core) = self.core() {
            core.settle_quota(bucket, ledger, change);
        }
    }

    fn quota_heard(&self, bucket: BucketId) -> LocalFuture<()> {
        let Ok(core) = self.core() else { return at_once(()) };
        Box::pin(async move { core.quota_heard(bucket).await })
    }

    fn rules(&self, bucket: BucketId) -> Result<BucketRules> {
        self.core()?.buckets.borrow().rules(bucket).ok_or(EngineError::NoSuchBucket)
    }

    fn lifecycle(&self, bucket: BucketId) -> Result<Option<Arc<LifecycleRules>>> {
        let bucket = self.core()?.buckets.borrow().by_id(bucket).ok_or(EngineError::NoSuchBucket)?;
        Ok(bucket.lifecycle.clone())
    }
}
