//! A chunk: consecutive leaves, with enough of their first keys to search them without reading the
//! leaves.
//!
//! Invariants:
//! - All first keys share their first `skip` bytes (not always as many as they could).
//! - `heads[n]` is the eight bytes behind those of leaf n's first key, big-endian, padded with
//!   zeros. So heads ascend as the keys do, and only equal heads need a look at the keys.
//!
//! Reading the first keys in the leaves instead cost about six cache and TLB misses for each
//! search.

use std::cmp::Ordering;

use super::leaf::{common_prefix, first_key};

/// The most leaves of a chunk. A chunk is always allocated for this many, so that its memory
/// follows from the number of chunks.
pub const CAPACITY: usize = 128;

/// Consecutive leaves with the heads of their first keys.
pub struct Chunk {
    skip: usize,
    heads: Vec<u64>,
    leaves: Vec<Box<[u8]>>,
}

impl Chunk {
    pub fn new() -> Self {
        Self { skip: 0, heads: Vec::with_capacity(CAPACITY), leaves: Vec::with_capacity(CAPACITY) }
    }

    /// Returns the bytes that one chunk allocates, without its leaves.
    pub fn allocated() -> usize {
        super::allocated(CAPACITY * size_of::<u64>()) + super::allocated(CAPACITY * size_of::<Box<[u8]>>())
    }

    pub fn leaves(&self) -> &[Box<[u8]>] {
        &self.leaves
    }

    /// Returns the last leaf that begins at or before `key`, or else the first one. The chunk must
    /// not be empty.
    pub fn find(&self, key: &[u8]) -> usize {
        let shared = &first_key(&self.leaves[0])[..self.skip];
        match key[..key.len().min(self.skip)].cmp(shared) {
            Ordering::Less => return 0,
            Ordering::Greater => return self.leaves.len() - 1,
            Ordering::Equal => {}
        }
        let head = head_of(key, self.skip);
        let below = self.heads.partition_point(|other| *other < head);
        let equal = self.heads[below..].partition_point(|other| *other == head);
        let begun = self.leaves[below..below + equal].partition_point(|leaf| first_key(leaf) <= key);
        (below + begun).saturating_sub(1)
    }

    /// Inserts a leaf. The chunk must have room.
    pub fn insert(&mut self, at: usize, leaf: Box<[u8]>) {
        assert!(self.leaves.len() < CAPACITY, "a full chunk must be split first");
        self.heads.insert(at, 0);
        self.leaves.insert(at, leaf);
        self.renew_head(at);
    }

    /// Replaces a leaf and returns the previous one.
    pub fn replace(&mut self, at: usize, leaf: Box<[u8]>) -> Box<[u8]> {
        let replaced = std::mem::replace(&mut self.leaves[at], leaf);
        self.renew_head(at);
        replaced
    }

    /// Removes a leaf and returns it.
    pub fn remove(&mut self, at: usize) -> Box<[u8]> {
        self.heads.remove(at);
        self.leaves.remove(at)
    }

    /// Removes the leaves from `at` on and returns them as a chunk.
    pub fn split_off(&mut self, at: usize) -> Self {
        let mut upper = Self::new();
        upper.leaves.extend(self.leaves.drain(at..));
        self.heads.truncate(at);
        self.renew();
        upper.renew();
        upper
    }

    /// Adds the leaves of the next chunk. There must be room for them.
    pub fn append(&mut self, next: Self) {
        assert!(self.leaves.len() + next.leaves.len() <= CAPACITY, "joined chunks must fit in one");
        self.leaves.extend(next.leaves);
        self.renew();
    }

    /// Updates the head of one leaf, or all of them if its first key shares less than `skip` bytes.
    fn renew_head(&mut self, at: usize) {
        let other = if at == 0 { self.leaves.len() - 1 } else { 0 };
        let (key, other) = (first_key(&self.leaves[at]), first_key(&self.leaves[other]));
        if key.len() >= self.skip && key[..self.skip] == other[..self.skip] {
            self.heads[at] = head_of(key, self.skip);
        } else {
            self.renew();
        }
    }

    /// Computes `skip` and all heads from the leaves.
    fn renew(&mut self) {
        let [first, .., last] = self.leaves.as_slice() else {
            self.skip = 0;
            self.heads.clear();
            self.heads.extend(self.leaves.iter().map(|leaf| head_of(first_key(leaf), 0)));
            return;
        };
        let skip = common_prefix(first_key(first), first_key(last));
        self.skip = skip;
        self.heads.clear();
        self.heads.extend(self.leaves.iter().map(|leaf| head_of(first_key(leaf), skip)));
    }

    /// Asserts the invariants at the top of this file.
    #[cfg(test)]
    pub fn assert_sound(&self) {
        assert!(
            !self.leaves.is_empty()
                && self.leaves.capacity() == CAPACITY
                && self.heads.capacity() == CAPACITY
        );
        let shared = &first_key(&self.leaves[0])[..self.skip];
        assert!(self.leaves.iter().all(|leaf| first_key(leaf).starts_with(shared)));
        let heads: Vec<u64> = self.leaves.iter().map(|leaf| head_of(first_key(leaf), self.skip)).collect();
        assert_eq!(heads, self.heads);
    }
}

fn head_of(key: &[u8], skip: usize) -> u64 {
    let rest = key.get(skip..).unwrap_or_default();
    if let Some(head) = rest.first_chunk::<8>() {
        return u64::from_be_bytes(*head);
    }
    let mut head = [0; 8];
    head[..rest.len()].copy_from_slice(rest);
    u64::from_be_bytes(head)
}
