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
    pub checkpoints: u64,
    pub checkpoint_bytes: u64,
    pub superblock_bytes: u64,
}

impl Counters {
    pub(super) fn of(core: &CoreState) -> Self {
        let mut sum = Self::default();
        for shard in core.own_shards() {
            let log = shard.log.counters.get();
            sum.batches += log.batches;
            sum.records += log.records;
            sum.log_bytes += log.bytes;
            sum.synchronous_writes += log.synchronous_writes;
            sum.user_bytes += log.user_bytes;
            sum.moved_bytes += log.moved_bytes;
            sum.cleaner_read_bytes += log.cleaner_read_bytes;
            sum.checkpoints += log.checkpoints;
            sum.checkpoint_bytes += log.checkpoint_bytes;
        }
        sum.slice_bytes = core.drives.iter().map(|drive| drive.slice_bytes.get()).sum();
        sum.superblock_bytes = core.keepers.borrow().values().map(|keeper| keeper.written_bytes()).sum();
        sum.flushes = core.drives.iter().map(|drive| drive.flush.flushes()).sum();
        sum
    }

    /// Adds those of another core.
    pub fn add(&mut self, other: &Self) {
        self.batches += other.batches;
        self.records += other.records;
        self.log_bytes += other.log_bytes;
        self.synchronous_writes += other.synchronous_writes;
        self.flushes += other.flushes;
        self.user_bytes += other.user_bytes;
        self.moved_bytes += other.moved_bytes;
        self.cleaner_read_bytes += other.cleaner_read_bytes;
        self.slice_bytes += other.slice_bytes;
        self.checkpoints += other.checkpoints;
        self.checkpoint_bytes += other.checkpoint_bytes;
        self.superblock_bytes += other.superblock_bytes;
    }

    /// Everything that was written to devices.
    pub fn device_bytes(&self) -> u64 {
        self.log_bytes + self.slice_bytes + self.checkpoint_bytes + self.superblock_bytes
    }

    /// What happened since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            batches: self.batches - earlier.batches,
            records: self.records - earlier.records,
            log_bytes: self.log_bytes - earlier.log_bytes,
            synchronous_writes: self.synchronous_writes - earlier.synchronous_writes,
            flushes: self.flushes - earlier.flushes,
            user_bytes: self.user_bytes - earlier.user_bytes,
            moved_bytes: self.moved_bytes - earlier.moved_bytes,
            cleaner_read_bytes: self.cleaner_read_bytes - earlier.cleaner_read_bytes,
            slice_bytes: self.slice_bytes - earlier.slice_bytes,
            checkpoints: self.checkpoints - earlier.checkpoints,
            checkpoint_bytes: self.checkpoint_bytes - earlier.checkpoint_bytes,
            superblock_bytes: self.superblock_bytes - earlier.superblock_bytes,
        }
    }

    /// Bytes written to devices for each byte that users stored; 0 before the first.
    pub fn write_amplification(&self) -> f64 {
        if self.user_bytes == 0 { 0.0 } else { self.device_bytes() as f64 / self.user_bytes as f64 }
    }
}
