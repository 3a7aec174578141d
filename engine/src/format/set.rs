//! Extent sets: where the bytes of a shard lie. Everything else names a place by the number of a
//! set and an offset in it.
//!
//! Invariants:
//! - A set is extents of equal size on distinct drives; each byte of it lies at the same offset of
//!   each. With one home a set has one member; with several, a copy on each.
//! - A shard numbers its sets from 0. A number may be used again, with another birth. A birth is
//!   used once in the shard; what was written to a set proves with it to which use of the number it
//!   belongs ([`super::mark`]).
//! - A record that names a set comes behind the record that says which set it is, or behind a
//!   checkpoint that says so. Another such record of the same set, with the same birth, says more members.

use rkyv::{Archive, Deserialize, Serialize};

/// The most numbers of sets that a shard uses at a time, so that a packed location can hold each.
pub const SETS_MAX: u32 = 1 << 20;
/// Encoded size of a set with one member, bytes.
pub const SET_BYTES: usize = 29;
/// What each further member adds to that, bytes.
pub const FURTHER_MEMBER_BYTES: usize = 8;

/// The set holds batches of the log.
pub const KIND_LOG: u8 = 1;
/// The set holds chunks of a checkpoint.
pub const KIND_CHECKPOINT: u8 = 2;
/// The set holds slices.
pub const KIND_SLICES: u8 = 3;

/// An extent of a set.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberV1 {
    /// It is 0: there is one node.
    pub node: u16,
    /// Number of the drive in the view.
    pub drive: u16,
    pub extent: u32,
}

/// A set, as a record or a checkpoint says it.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct SetV1 {
    pub set: u32,
    /// [`KIND_LOG`], [`KIND_CHECKPOINT`] or [`KIND_SLICES`].
    pub kind: u8,
    /// A number that no other set of the shard ever has.
    pub birth: u64,
    pub members: Vec<MemberV1>,
}
