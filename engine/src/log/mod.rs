//! A shard's log: where every change is made durable, and where small objects live.
//!
//! Invariants:
//! - One batch is written at a time; the next one starts when it is durable and applied. So when a batch is
//!   durable, every earlier one is, and the index always equals the durable log.
//! - The last block of an extent is kept for the batch that names the next extent.
//! - After a failed write or flush nothing more is written (law 3).

pub mod replay;
mod salvage;
pub mod space;
pub mod writer;

/// The numbers of a life's log extents begin with its epoch.
const EPOCH_SHIFT: u32 = 32;

/// The least number that a log extent of the life `epoch` may have.
pub fn first_log_number(epoch: u32) -> u64 {
    u64::from(epoch) << EPOCH_SHIFT
}

/// Epoch of the life that began the log extent with this number. 0 in the first life of a drive, which counts from 1.
pub fn epoch_of(log_number: u64) -> u32 {
    (log_number >> EPOCH_SHIFT) as u32
}

/// Where the next batch goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPosition {
    pub extent: u32,
    pub log_number: u64,
    /// Byte offset in the extent.
    pub offset: u32,
    pub sequence: u64,
    /// Crc of the batch before.
    pub previous_crc: u32,
}

/// Where a record came to lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordPlace {
    pub extent: u32,
    pub offset: u32,
    pub length: u32,
    /// Of its batch.
    pub sequence: u64,
    /// A cleaner's copy.
    pub moved: bool,
}
