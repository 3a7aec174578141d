//! A shard's write-ahead log, which makes every change durable and holds the small objects.
//!
//! Invariants:
//! - One batch is written at a time. The next one starts when it is durable and applied. So when a
//!   batch is durable, every earlier one is, and the index always equals the durable log.
//! - The last block of a set is kept for the batch that names the next set.
//! - After a failed write or flush nothing more is written (law 3).

pub mod replay;
mod salvage;
pub mod space;
pub mod writer;

use crate::extent::SetPlace;

/// The log extent numbers of a life carry its epoch in the bits from this one on.
const EPOCH_SHIFT: u32 = 32;

/// Returns the least number that a log extent of the life `epoch` may have.
pub fn first_log_number(epoch: u32) -> u64 {
    u64::from(epoch) << EPOCH_SHIFT
}

/// Returns the epoch of the life that began the log extent with this number. It is 0 for the first
/// extent that a drive is formatted with, which no life has begun.
pub fn epoch_of(log_number: u64) -> u32 {
    (log_number >> EPOCH_SHIFT) as u32
}

/// The position at which the next batch is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPosition {
    pub set: SetPlace,
    pub log_number: u64,
    /// Byte offset in the set.
    pub offset: u32,
    /// Sequence of the next batch.
    pub sequence: u64,
    /// Crc of the batch before.
    pub previous_crc: u32,
}

/// The place at which a record was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordPlace {
    /// Number of the set.
    pub extent: u32,
    /// Byte offset in the set.
    pub offset: u32,
    /// Length in bytes without alignment padding.
    pub length: u32,
    /// Sequence of the record's batch.
    pub sequence: u64,
    /// The record is the cleaner's copy.
    pub moved: bool,
}
