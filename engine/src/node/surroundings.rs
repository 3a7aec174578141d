//! The node's implementation of what the shards of one drive on one core need.

use std::rc::{Rc, Weak};

use super::state::CoreState;
use crate::device::DeviceError;
use crate::env::LocalFuture;
use crate::error::{EngineError, Result};
use crate::extent::allocator::{Class, HeldBack, Refusal, Taken};
use crate::format::superblock::ShardRootOnDisk;
use crate::shard::Surroundings;
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

impl Surroundings for DriveOfCore {
    fn take_extent(&self, class: Class) -> LocalFuture<std::result::Result<Taken, Refusal>> {
        let Ok(core) = self.core() else { return at_once(Err(Refusal::Scarce)) };
        let drive = self.drive;
        let allocator = core.layout.allocator_core(drive);
        if allocator == core.index {
            return Box::pin(async move { core.take_free_extent(drive, class) });
        }
        Box::pin(async move {
            let orphan = move |core: &Rc<CoreState>, taken: std::result::Result<Taken, Refusal>| {
                taken.into_iter().for_each(|taken| core.give_extent(drive, taken.extent));
            };
            core.call_or(allocator, move |core| async move { core.take_free_extent(drive, class) }, orphan)
                .await
        })
    }

    fn give_extents(&self, extents: Vec<u32>) {
        if let Ok(core) = self.core() {
            extents.into_iter().for_each(|extent| core.give_extent(self.drive, extent));
        }
    }

    fn hold_back(&self, shard: u16, extents: HeldBack) {
        if let Ok(core) = self.core() {
            core.hold_back(self.drive, shard, extents);
        }
    }

    fn spare_extents(&self) -> u32 {
        self.core().map_or(u32::MAX, |core| core.drives[usize::from(self.drive)].spare_extents.get())
    }

    fn reclaim(&self, refusal: Refusal) -> LocalFuture<bool> {
        let Ok(core) = self.core() else { return at_once(false) };
        let drive = self.drive;
        Box::pin(async move { core.reclaim(drive, refusal).await })
    }

    fn compact(&self, first: u16) -> LocalFuture<bool> {
        let Ok(core) = self.core() else { return at_once(false) };
        let drive = self.drive;
        Box::pin(async move { core.compact(drive, first).await })
    }

    fn install_root(
        &self,
        root: ShardRootOnDisk,
    ) -> LocalFuture<Result<std::result::Result<(), DeviceError>>> {
        let drive = self.drive;
        match self.core() {
            Ok(core) => Box::pin(async move { Ok(core.install_root(drive, root).await) }),
            Err(error) => at_once(Err(error)),
        }
    }

    fn note_log_begun(&self, shard: u16) -> LocalFuture<std::result::Result<(), DeviceError>> {
        let Ok(core) = self.core() else { return at_once(Ok(())) };
        let drive = self.drive;
        Box::pin(async move { core.note_log_begun(drive, shard).await })
    }

    fn stop_drive(&self, error: &DeviceError) {
        if let Ok(core) = self.core() {
            core.stop_drive(self.drive, error);
        }
    }

    fn check_bucket(&self, bucket: BucketId) -> Result<()> {
        self.core()?.check_bucket(bucket)
    }
}
