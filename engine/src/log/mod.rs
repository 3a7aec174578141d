//! A shard's log: where every change is made durable, and where small objects live.
//!
//! Invariants:
//! - One batch is written at a time; the next one starts when it is durable and applied. So when a batch is
//!   durable, every earlier one is, and the index always equals the durable log.
//! - The last block of an extent is kept for the batch that names the next extent.
//! - After a failed write or flush nothing more is written (law 3).

pub mod queue;
pub mod replay;
mod salvage;
pub mod space;
pub mod writer;

/// Where the next batch goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPosition {
    pub extent: u32,
    pub lap: u64,
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
