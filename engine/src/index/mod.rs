//! The index of one shard, in memory: where every object is, and in which order the keys come.
//!
//! [`point`] answers where a key is with one probe. [`ordered`] holds every key with what a listing
//! shows of it, so that no listing reads object data. [`list`] walks it, and [`merge`] joins the
//! shards' pages.
//!
//! The index has no I/O, clocks, randomness or async. The caller keeps both structures consistent
//! with each other and decides what the values mean.

mod check;
mod chunk;
mod edit;
pub mod keys;
pub mod leaf;
pub mod list;
pub mod merge;
pub mod ordered;
pub mod point;

#[cfg(test)]
mod tests;

pub use check::{LeafError, check as check_leaf};
pub use list::{Listed, common_prefix, list, list_versions};
pub use merge::{ListMerge, ListRequest, Listable};
pub use ordered::{OrderedIndex, Step};
pub use point::{Found, PointTable};

/// Returns what a heap block of `bytes` takes from a common allocator: with its length field,
/// rounded up to 16 bytes. Without this, a million small blocks would be reported as 10% too small.
fn allocated(bytes: usize) -> usize {
    if bytes == 0 { 0 } else { (bytes + 8).next_multiple_of(16).max(32) }
}
