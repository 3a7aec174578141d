//! The index of one shard, in memory: where every object is, and in which order the keys come.
//!
//! [`point`] answers "where is this key" with one probe; [`ordered`] holds every key with what a listing shows
//! of it, so that no listing touches object data. [`list`] walks it and merges the shards.
//!
//! Deliberately absent: I/O, clocks, randomness, async. The caller keeps both structures in step and decides
//! what the values mean.

mod check;
mod chunk;
mod edit;
pub mod keys;
pub mod leaf;
pub mod list;
pub mod merge;
pub mod ordered;
pub mod point;
pub(crate) mod varint;

#[cfg(test)]
mod tests;

pub use check::{LeafError, check as check_leaf};
pub use list::{common_prefix, list};
pub use merge::{ListMerge, ListRequest};
pub use ordered::{OrderedIndex, Step};
pub use point::{Found, PointTable};

/// What a heap block of `bytes` takes from a common allocator: its length field, rounded up to 16 bytes.
/// Without it a million small blocks would be reported 10% too small.
fn allocated(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { (bytes + 8).next_multiple_of(16).max(32) }
}
