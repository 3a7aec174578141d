//! How far the opening of a node is, for whoever waits for it.
//!
//! Invariant: each core only adds to the sums, so that anybody may read them without a lock. They say
//! nothing that anything is decided by.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::shard::RecoveryStep;

/// The sums of all shards.
#[derive(Debug, Default)]
pub struct Opening {
    shards: u32,
    recovered: AtomicU32,
    bytes: AtomicU64,
    read_bytes: AtomicU64,
}

/// How far the opening is at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpeningProgress {
    /// Number of the node's shards.
    pub shards: u32,
    /// Number of shards that were recovered.
    pub recovered: u32,
    /// Bytes that are to be read, as far as is known: the checkpoints, and of each log as much as there
    /// may be behind them.
    pub bytes: u64,
    /// Bytes of these that were read or turned out not to be there.
    pub read_bytes: u64,
}

impl Opening {
    pub(crate) fn new(shards: u16) -> Self {
        Self { shards: u32::from(shards), ..Self::default() }
    }

    /// Returns how far the opening is.
    pub fn progress(&self) -> OpeningProgress {
        OpeningProgress {
            shards: self.shards,
            recovered: self.recovered.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            read_bytes: self.read_bytes.load(Relaxed),
        }
    }

    /// Begins the sums of one shard, whose log may have up to `log_bytes` behind its checkpoint.
    pub(crate) fn shard(&self, log_bytes: u64) -> ShardOpening<'_> {
        self.bytes.fetch_add(log_bytes, Relaxed);
        ShardOpening { all: self, left: Cell::new(log_bytes) }
    }
}

/// The sums of one shard.
pub(crate) struct ShardOpening<'a> {
    all: &'a Opening,
    /// Bytes that are still to be read.
    left: Cell<u64>,
}

impl ShardOpening<'_> {
    /// Notes a step of the recovery.
    pub fn note(&self, step: RecoveryStep) {
        match step {
            RecoveryStep::Checkpoint(bytes) => {
                self.left.set(self.left.get() + bytes);
                self.all.bytes.fetch_add(bytes, Relaxed);
            }
            RecoveryStep::Read(bytes) => {
                // A log may be longer than was expected.
                let bytes = bytes.min(self.left.get());
                self.left.set(self.left.get() - bytes);
                self.all.read_bytes.fetch_add(bytes, Relaxed);
            }
        }
    }

    /// Notes that the shard was recovered.
    pub fn finish(self) {
        self.note(RecoveryStep::Read(u64::MAX));
        self.all.recovered.fetch_add(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sums_reach_the_whole_whatever_the_logs_were() {
        let opening = Opening::new(2);
        let (one, other) = (opening.shard(1000), opening.shard(1000));
        one.note(RecoveryStep::Checkpoint(500));
        one.note(RecoveryStep::Read(500));
        let half = OpeningProgress { shards: 2, recovered: 0, bytes: 2500, read_bytes: 500 };
        assert_eq!(opening.progress(), half);
        other.note(RecoveryStep::Read(5000));
        one.finish();
        assert_eq!(opening.progress(), OpeningProgress { recovered: 1, read_bytes: 2500, ..half });
        other.finish();
        assert_eq!(opening.progress(), OpeningProgress { recovered: 2, read_bytes: 2500, ..half });
    }
}
