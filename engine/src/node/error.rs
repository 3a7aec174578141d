//! The errors of opening a node.

use std::path::PathBuf;

use super::format::FormatError;
use crate::device::DeviceError;
use crate::device::file::DriveError;
use crate::ring::RingError;
use crate::shard::RecoverError;

/// The reason why a node does not open. The text of each says what is wrong and what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("no drive was given; make one with `ringbolt format --drive PATH --size 8GiB`")]
    NoDrives,
    #[error(transparent)]
    Drive(#[from] DriveError),
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error(transparent)]
    Ring(#[from] RingError),
    #[error(
        "{path} belongs to another set of drives than {first}; give the drives that were formatted together"
    )]
    OtherSet { path: PathBuf, first: PathBuf },
    #[error(
        "the set has {expected} drives, {given} were given; missing: number {missing:?} \
         (from 0, in the order of the format)"
    )]
    Missing { expected: u16, given: usize, missing: Vec<u16> },
    #[error(
        "the set has {expected} drives, {given} of them were given; missing: number {missing:?} (from 0, in the order \
         of the format). A drive that is missing may know of changes that those that are here do not. Give it, or say \
         that it is gone for good: {words}. Drives that were added to the set while these were away are not known to \
         them: give them, too"
    )]
    TooFew { expected: u16, given: usize, missing: Vec<u16>, words: String },
    #[error(
        "more drives are missing than may be lost: {shards} shards have no drive among those given that holds what they \
         hold. Shard {shard} needs the drive {homes}: give it. If there is none any more, those objects are lost; \
         restore them from a copy onto drives that are formatted anew"
    )]
    NoHome { shards: usize, shard: u16, homes: String },
    #[error("{path} is given, and said to be gone by --without-drive; do one of both")]
    GivenAndGone { path: PathBuf },
    #[error(
        "no drive of the set has the UUID {uuid}, which --without-drive says is gone; \
         `ringbolt inspect` shows those that there are"
    )]
    Unknown { uuid: String },
    #[error(
        "{path} and {first} say that they are of one set, and differ in what all drives of a set have alike; \
         run `ringbolt check` on the drives"
    )]
    Unlike { path: PathBuf, first: PathBuf },
    #[error(
        "{path} and the other drives have each gone on without the other: both may have what the other has not. If a \
         drive is missing, give it first, and leave this one out. Else start with one side alone, copy what you need \
         over S3, and format the drives of the other side anew"
    )]
    TwoHistories { path: PathBuf },
    #[error("{path} is given twice")]
    Twice { path: PathBuf },
    #[error(
        "{path} was made to take the place of drive {number} of the set, which is given too; take one of both out of \
         the list"
    )]
    GivenAndReplaced { path: PathBuf, number: u16 },
    #[error(
        "{path} was made to take a place in its set that it can not have: another drive has got it or takes it now, or \
         the set has had as many drives as it may. Leave it out; if a place is free still, make it anew with `ringbolt \
         drive replace`, and give that the other new drives too"
    )]
    Outdated { path: PathBuf },
    #[error(
        "{path} holds another view of the set than a drive that was given with it, under the same number; \
         run `ringbolt check` on the drives"
    )]
    TwoViews { path: PathBuf },
    #[error("{path} was dropped from its set: what it holds is old; start without it")]
    Dropped { path: PathBuf },
    #[error("shard {shard} does not open: {error}")]
    Recover { shard: u16, error: RecoverError },
    #[error("drive {drive}: two shards own extent {extent}; run `ringbolt check` on the drive")]
    Conflict { drive: u16, extent: u32 },
    #[error("another shard of the node did not open; its own message says why")]
    Elsewhere,
    #[error("drive {drive}: {error}")]
    Device { drive: u16, error: DeviceError },
}
