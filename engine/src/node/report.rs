//! Reports of a node's space and of its work.

use super::state::CoreState;
use crate::extent::RunCount;
use crate::format::superblock::HOMES;

/// The space of a node: physical = live + dead + reserved + free + copies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpaceReport {
    pub physical_bytes: u64,
    pub live_bytes: u64,
    pub dead_bytes: u64,
    pub reserved_bytes: u64,
    /// The part of the reserved bytes that is in extents which no shard has taken.
    pub held_bytes: u64,
    /// With copies, what users can store is the free bytes by the number of copies.
    pub free_bytes: u64,
    /// Bytes of further copies of what is live, dead, reserved or free within extents.
    pub copies_bytes: u64,
    /// The part of the free bytes that lies between slices, in extents that hold some.
    pub gap_bytes: u64,
    /// The live bytes by how many more drives may be lost before they are.
    pub bytes_by_losses: [u64; HOMES],
    pub objects: u64,
    pub index_bytes: u64,
    /// Runs of large objects, which show their fragmentation.
    pub runs: RunCount,
}

/// Counts of what one core's shards and devices have done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub batches: u64,
    pub records: u64,
    pub log_bytes: u64,
    /// Batches that a synchronous write made durable.
    pub synchronous_writes: u64,
    /// Flushes, for batches and for slices.
    pub flushes: u64,
    /// Bytes of bodies that became objects or parts.
    pub user_bytes: u64,
    /// Bytes of the log that are records moved by the cleaner.
    pub moved_bytes: u64,
    /// Bytes that the cleaner read.
    pub cleaner_read_bytes: u64,
    /// Bytes written as slices of large objects, including headers and padding.
    pub slice_bytes: u64,
    /// Bytes of slices that compaction copied.
    pub relocated_bytes: u64,
    pub checkpoints: u64,
    pub checkpoint_bytes: u64,
    pub superblock_bytes: u64,
}

impl Counters {
    /// Returns the counts of one core.
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

    /// Returns every count; the pattern makes sure that none is missing.
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

    /// Adds the counts of another core.
    pub fn add(&mut self, other: &Self) {
        *self = self.combine(*other, |own, other| own + other);
    }

    /// Returns the bytes that were written to devices in all.
    pub fn device_bytes(&self) -> u64 {
        self.log_bytes
            + self.slice_bytes
            + self.relocated_bytes
            + self.checkpoint_bytes
            + self.superblock_bytes
    }

    /// Returns the counts since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        self.combine(*earlier, |now, earlier| now - earlier)
    }

    /// Returns the bytes written to devices for each byte that users stored, or 0 before the first.
    pub fn write_amplification(&self) -> f64 {
        if self.user_bytes == 0 { 0.0 } else { self.device_bytes() as f64 / self.user_bytes as f64 }
    }
}
