//! What a node says of its space and of its work.

use super::state::CoreState;
use crate::extent::RunCount;

/// Space of the node in bytes: physical = live + dead + reserved + free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpaceReport {
    pub physical_bytes: u64,
    pub live_bytes: u64,
    pub dead_bytes: u64,
    pub reserved_bytes: u64,
    pub free_bytes: u64,
    /// Of them: between slices, in extents that hold some.
    pub gap_bytes: u64,
    pub objects: u64,
    pub index_bytes: u64,
    /// Fragmentation of large objects.
    pub runs: RunCount,
}

/// What this core's shards and devices have done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub batches: u64,
    pub records: u64,
    pub log_bytes: u64,
    /// Batches made durable by a synchronous write.
    pub synchronous_writes: u64,
    /// Flushes, for batches and for slices.
    pub flushes: u64,
    /// Bodies that became objects or parts.
    pub user_bytes: u64,
    /// Of the log: records that the cleaner moved.
    pub moved_bytes: u64,
    /// Read by the cleaner.
    pub cleaner_read_bytes: u64,
    /// Slices of large objects, headers and padding included.
    pub slice_bytes: u64,
    /// The same, moved to empty extents.
    pub relocated_bytes: u64,
    pub checkpoints: u64,
    pub checkpoint_bytes: u64,
    pub superblock_bytes: u64,
}

impl Counters {
    pub(super) fn of(core: &CoreState) -> Self {
        let mut sum = Self::default();
        for shard in core.own_shards() {
            let (log, own) = (shard.log.counters(), shard.counters());
            sum.batches += log.batches;
            sum.records += log.records;
            sum.log_bytes += log.bytes;
            sum.synchronous_writes += log.synchronous_writes;
            sum.user_bytes += own.user_bytes;
            sum.moved_bytes += log.moved_bytes;
            sum.cleaner_read_bytes += own.cleaner_read_bytes;
            sum.relocated_bytes += own.relocated_bytes;
            sum.checkpoints += own.checkpoints;
            sum.checkpoint_bytes += own.checkpoint_bytes;
        }
        sum.slice_bytes = core.drives.iter().map(|drive| drive.slice_bytes.get()).sum();
        sum.superblock_bytes =
            core.allocators.borrow().values().map(|allocator| allocator.written_bytes()).sum();
        sum.flushes = core.drives.iter().map(|drive| drive.flush.flushes()).sum();
        sum
    }

    /// Every count; the pattern misses none.
    fn counts(&mut self) -> [&mut u64; 13] {
        let Self {
            batches,
            records,
            log_bytes,
            synchronous_writes,
            flushes,
            user_bytes,
            moved_bytes,
            cleaner_read_bytes,
            slice_bytes,
            relocated_bytes,
            checkpoints,
            checkpoint_bytes,
            superblock_bytes,
        } = self;
        [
            batches,
            records,
            log_bytes,
            synchronous_writes,
            flushes,
            user_bytes,
            moved_bytes,
            cleaner_read_bytes,
            slice_bytes,
            relocated_bytes,
            checkpoints,
            checkpoint_bytes,
            superblock_bytes,
        ]
    }

    fn combine(mut self, mut other: Self, with: impl Fn(u64, u64) -> u64) -> Self {
        for (count, other) in self.counts().into_iter().zip(other.counts()) {
            *count = with(*count, *other);
        }
        self
    }

    /// Adds those of another core.
    pub fn add(&mut self, other: &Self) {
        *self = self.combine(*other, |own, other| own + other);
    }

    /// Everything that was written to devices.
    pub fn device_bytes(&self) -> u64 {
        self.log_bytes
            + self.slice_bytes
            + self.relocated_bytes
            + self.checkpoint_bytes
            + self.superblock_bytes
    }

    /// What happened since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        self.combine(*earlier, |now, earlier| now - earlier)
    }

    /// Bytes written to devices for each byte that users stored; 0 before the first.
    pub fn write_amplification(&self) -> f64 {
        if self.user_bytes == 0 { 0.0 } else { self.device_bytes() as f64 / self.user_bytes as f64 }
    }
}
