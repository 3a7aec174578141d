//! What a shard needs of the node around it.

use crate::device::DeviceError;
use crate::env::LocalFuture;
use crate::error::Result;
use crate::extent::allocator::{Class, HeldBack, Refusal, Taken};
use crate::format::superblock::ShardRootOnDisk;
use crate::types::BucketId;

/// The drive of a shard and the shards beside it, as the node gives them. Time, tasks and buffers come from
/// [`Environment`](crate::env::Environment) and [`Pool`](crate::ring::Pool).
///
/// Every method answers also while the node goes down: with an error, a refusal, or nothing.
pub(crate) trait Surroundings {
    /// Takes an extent out of the drive's free ones. An extent whose taker is gone goes back by itself.
    fn take_extent(&self, class: Class) -> LocalFuture<std::result::Result<Taken, Refusal>>;

    /// Gives extents back to the drive.
    fn give_extents(&self, extents: Vec<u32>);

    /// Tells the drive what a shard wants to be able to go on when the drive is full.
    fn hold_back(&self, shard: u16, extents: HeldBack);

    /// Free extents of the drive beside those that are held back, as far as this core knows; at most what counts as
    /// few.
    fn spare_extents(&self) -> u32;

    /// Makes every shard of the drive give back what it can. Whether any did.
    fn reclaim(&self, refusal: Refusal) -> LocalFuture<bool>;

    /// Makes the shards of the drive give extents back by moving slices together, `first` before the others. Whether
    /// one did.
    fn compact(&self, first: u16) -> LocalFuture<bool>;

    /// Makes `root` the start of its shard's recovery.
    ///
    /// # Errors
    /// When the device failed: the old root may or may not be in force. When the node goes down.
    fn install_root(
        &self,
        root: ShardRootOnDisk,
    ) -> LocalFuture<Result<std::result::Result<(), DeviceError>>>;

    /// Notes durably that this life has begun the log of a shard.
    ///
    /// # Errors
    /// When the device failed: it may be noted or not.
    fn note_log_begun(&self, shard: u16) -> LocalFuture<std::result::Result<(), DeviceError>>;

    /// A flush failed: every shard of the drive stops writing, on all cores (law 3).
    fn stop_drive(&self, error: &DeviceError);

    /// Whether a bucket is there.
    ///
    /// # Errors
    /// [`NoSuchBucket`](crate::EngineError::NoSuchBucket), or [`ShuttingDown`](crate::EngineError::ShuttingDown).
    fn check_bucket(&self, bucket: BucketId) -> Result<()>;
}
