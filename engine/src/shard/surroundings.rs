//! The interface to what a shard needs of the node around it.

use std::sync::Arc;

use super::growth::{Growth, LedgerId};
use crate::device::DeviceError;
use crate::env::LocalFuture;
use crate::error::Result;
use crate::extent::Members;
use crate::extent::allocator::{Class, HeldBack, Refusal};
use crate::format::superblock::ShardRootOnDisk;
use crate::lifecycle::LifecycleRules;
use crate::types::{BucketId, BucketLock, Versioning};

/// What a bucket wants of changes in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BucketRules {
    pub versioning: Versioning,
    pub lock: Option<BucketLock>,
    /// The ledger that judges what changes add to the bucket; `None` when it has no quota.
    pub ledger: Option<LedgerId>,
}

/// The extents that were taken for a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TakenExtents {
    pub members: Members,
    /// One of them is held back from user data.
    pub held_back: bool,
    /// A drive has no more extents left than the shards need for their next checkpoints and log extents.
    pub tight: bool,
}

/// The shard's homes and the other shards, as the node provides them. Time, tasks and buffers come
/// from [`Environment`](crate::env::Environment) and [`Pool`](crate::ring::Pool).
///
/// Every method also answers while the node shuts down: with an error, a refusal, or nothing.
pub(crate) trait Surroundings {
    /// Takes a free extent of each home, or none. If the caller is dropped before it gets them, they go
    /// back to the drives.
    fn take_extents(&self, class: Class) -> LocalFuture<std::result::Result<TakenExtents, Refusal>>;

    /// Takes a free extent for each member of a set of slices, or none: on each home or, if slices are striped, on the
    /// drives with the most room. If too few drives are here, the set has fewer parity members, but at least one.
    fn take_extents_for_slices(
        &self,
        class: Class,
    ) -> LocalFuture<std::result::Result<TakenExtents, Refusal>>;

    /// Returns the extents of sets to their drives' allocators.
    fn give_extents(&self, extents: Vec<Members>);

    /// Tells the homes' allocators how many extents the shard needs to go on when a drive is full, and those of the
    /// other drives that hold slices of it how many extents it would gain there.
    fn hold_back(&self, shard: u16, extents: HeldBack, elsewhere: u32);

    /// Returns the number of free extents beside those that are held back on the home that has the fewest,
    /// as far as this core knows: at most the number that counts as few once the allocator has told it, and
    /// [`u32::MAX`] before.
    fn spare_extents(&self) -> u32;

    /// Makes every shard of the homes return what it can, and returns whether any shard did.
    fn reclaim(&self, refusal: Refusal) -> LocalFuture<bool>;

    /// Makes the shards of the homes free extents by compaction, `first` before the others, and
    /// returns whether one did.
    fn compact(&self, first: u16) -> LocalFuture<bool>;

    /// Makes `root` the start of its shard's recovery, on every home. `members` are those of the set that
    /// it names: the root on a home says which extent that is there.
    ///
    /// # Errors
    /// Returns an error when the node shuts down. The inner result is an error when the device
    /// failed; the old root may or may not be in force then.
    fn install_root(
        &self,
        root: ShardRootOnDisk,
        members: Members,
    ) -> LocalFuture<Result<std::result::Result<(), DeviceError>>>;

    /// Records durably on every home that this life has begun the log of a shard.
    ///
    /// # Errors
    /// Returns the device's error. The note may or may not be durable then.
    fn note_log_begun(&self, shard: u16) -> LocalFuture<std::result::Result<(), DeviceError>>;

    /// Stops writing on every shard of the homes, on all cores, after a flush failed (law 3).
    fn stop_drive(&self, error: &DeviceError);

    /// Asks a bucket's ledger to admit what a change adds to the bucket. Returns what the ledger has
    /// counted of it. If the caller is dropped before it gets the answer, nothing stays counted.
    ///
    /// # Errors
    /// Returns [`QuotaExceeded`](crate::EngineError::QuotaExceeded), or
    /// [`ShuttingDown`](crate::EngineError::ShuttingDown).
    fn reserve_quota(
        &self,
        bucket: BucketId,
        ledger: LedgerId,
        growth: Growth,
    ) -> LocalFuture<Result<Growth>>;

    /// Tells a bucket's ledger to count a change without judging it.
    fn settle_quota(&self, bucket: BucketId, ledger: LedgerId, change: Growth);

    /// Waits until a bucket's ledger has heard everything that this core has told it.
    fn quota_heard(&self, bucket: BucketId) -> LocalFuture<()>;

    /// Returns what a bucket wants of changes in it, as this core knows it.
    ///
    /// # Errors
    /// Returns [`NoSuchBucket`](crate::EngineError::NoSuchBucket), or
    /// [`ShuttingDown`](crate::EngineError::ShuttingDown).
    fn rules(&self, bucket: BucketId) -> Result<BucketRules>;

    /// Returns the lifecycle rules of a bucket, if it has any, as this core knows them.
    ///
    /// # Errors
    /// Returns the same errors as [`Self::rules`].
    fn lifecycle(&self, bucket: BucketId) -> Result<Option<Arc<LifecycleRules>>>;

    /// Returns the state of a bucket's versioning, as this core knows it.
    ///
    /// # Errors
    /// Returns the same errors as [`Self::rules`].
    fn versioning(&self, bucket: BucketId) -> Result<Versioning> {
        Ok(self.rules(bucket)?.versioning)
    }
}
