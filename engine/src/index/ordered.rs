//! The ordered index: every key of a shard in byte order, in front-coded leaves under a two-level
//! directory.
//!
//! Invariants:
//! - Leaves are not empty, ascend, and do not overlap. Chunks (consecutive leaves, see
//!   [`chunk`](super::chunk)) are not empty.
//! - The directory holds no keys: the first key of a leaf is stored unshortened at the leaf's
//!   start, and the search reads it there. So a leaf costs 24 bytes of directory, however long its
//!   keys are.
//! - `leaf_bytes` is what all leaves take from the allocator.
//!
//! Leaves are split above [`LEAF_BYTES_MAX`] and joined with a neighbour of their chunk below
//! [`LEAF_BYTES_MIN`]. An entry longer than that has a leaf of its own. Ascending inserts fill
//! leaves completely.

use std::borrow::Cow;

use super::check::{LeafError, check};
use super::chunk::{self, Chunk};
use super::leaf::{self, Cursor, Position};
use super::{allocated, edit};

const LEAF_BYTES_MAX: usize = 4096;
const LEAF_BYTES_MIN: usize = 1024;
/// The largest leaf that a join may produce. It is well below the maximum, so that the next insert
/// does not split it again.
const LEAF_BYTES_JOINED: usize = 3072;

const CHUNK_LEAVES_MIN: usize = 32;
const CHUNK_LEAVES_JOINED: usize = 96;

/// What a visitor wants next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Continue,
    Stop,
    /// The visit continues with the first key that is at least this one. A key that was already
    /// passed means `Continue`.
    SeekTo(Vec<u8>),
}

/// All keys of a shard in byte order, each with a value.
#[derive(Default)]
pub struct OrderedIndex {
    chunks: Vec<Chunk>,
    entries: u64,
    leaf_bytes: usize,
}

#[derive(Clone, Copy)]
struct Place {
    chunk: usize,
    leaf: usize,
}

impl OrderedIndex {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn len(&self) -> u64 {
        self.entries
    }

    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Returns all that is allocated in bytes, including the allocator's own share.
    pub fn memory_bytes(&self) -> usize {
        let directory = allocated(self.chunks.capacity() * size_of::<Chunk>());
        self.leaf_bytes + self.chunks.len() * Chunk::allocated() + directory
    }

    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        leaf::get(self.leaf(self.locate(key)?), key)
    }

    /// Returns the first entry whose key begins with `prefix` and is longer: what follows the prefix
    /// in its key, and its value.
    pub fn first_with(&self, prefix: &[u8]) -> Option<(&[u8], &[u8])> {
        let place = self.locate(prefix)?;
        let Position::Absent(gap) = leaf::search(self.leaf(place), prefix) else { return None };
        if let Some((entry, common)) = gap.next {
            let begins = common == prefix.len();
            return begins.then(|| (&entry.suffix[common - entry.shared..], entry.value));
        }
        let first = leaf::entry_at(self.leaf(self.next_place(place)?), leaf::HEADER_BYTES);
        first.suffix.strip_prefix(prefix).map(|rest| (rest, first.value))
    }

    /// Inserts or replaces an entry. Returns the replaced value.
    pub fn insert(&mut self, key: &[u8], value: &[u8]) -> Option<Box<[u8]>> {
        let Some(place) = self.locate(key) else {
            let Position::Absent(gap) = leaf::search(edit::EMPTY, key) else { unreachable!("an empty leaf") };
            self.entries = 1;
            self.add_leaf(Place { chunk: 0, leaf: 0 }, edit::insert(edit::EMPTY, &gap, key, value));
            return None;
        };
        let current = self.leaf(place);
        match leaf::search(current, key) {
            Position::Found(entry) => {
                let replaced = Box::from(entry.value);
                let edited = edit::set_value(current, &entry, value);
                self.put(place, edited);
                self.settle(place);
                Some(replaced)
            }
            Position::Absent(gap) => {
                let full = current.len() + key.len() + value.len() > LEAF_BYTES_MAX;
                if full && gap.next.is_none() {
                    self.insert_behind(place, key, value);
                } else {
                    let edited = edit::insert(current, &gap, key, value);
                    self.put(place, edited);
                    self.settle(place);
                }
                self.entries += 1;
                None
            }
        }
    }

    /// Removes an entry. Returns the removed value.
    pub fn remove(&mut self, key: &[u8]) -> Option<Box<[u8]>> {
        let place = self.locate(key)?;
        let current = self.leaf(place);
        let Position::Found(entry) = leaf::search(current, key) else { return None };
        let removed = Box::from(entry.value);
        let edited = edit::remove(current, &entry);
        self.entries -= 1;
        if leaf::entry_count(&edited) == 0 {
            self.take_leaf(place);
            self.settle_chunk(place.chunk);
        } else {
            self.put(place, edited);
            self.settle(place);
        }
        Some(removed)
    }

    /// Shows the entries with keys from `start` on to the visitor, in order, until it stops. A jump
    /// by [`Step::SeekTo`] is a new search and costs the same however much it skips.
    pub fn visit(&self, start: &[u8], visitor: &mut dyn FnMut(&[u8], &[u8]) -> Step) {
        let mut target = Cow::Borrowed(start);
        while let Some(sought) = self.visit_run(&target, visitor) {
            target = Cow::Owned(sought);
        }
    }

    /// Visits entries up to a jump and returns its target. Returns `None` at the end or after a
    /// stop.
    fn visit_run(&self, start: &[u8], visitor: &mut dyn FnMut(&[u8], &[u8]) -> Step) -> Option<Vec<u8>> {
        let mut place = self.locate(start)?;
        let mut cursor = Cursor::new(self.leaf(place));
        let mut at_entry = cursor.advance_to(start);
        loop {
            while at_entry {
                match visitor(cursor.key(), cursor.value()) {
                    Step::Stop => return None,
                    Step::SeekTo(target) if target.as_slice() > cursor.key() => return Some(target),
                    Step::Continue | Step::SeekTo(_) => at_entry = cursor.advance(),
                }
            }
            place = self.next_place(place)?;
            cursor = Cursor::new(self.leaf(place));
            at_entry = cursor.advance();
        }
    }

    /// Returns the greatest key.
    pub fn last_key(&self) -> Option<Vec<u8>> {
        self.chunks.last()?.leaves().last().map(|leaf| leaf::last_key(leaf))
    }

    /// Returns one step of a checkpoint's walk: the next entries with keys greater than `after`, or
    /// the first ones if it is `None`, as an encoded leaf of at least one entry. Returns `None`
    /// when there are none.
    ///
    /// The caller continues with `after` set to the [`leaf::last_key`] of what it got, whatever was
    /// changed in between. An entry that stays unchanged during the whole walk is then delivered
    /// exactly once: every key up to `after` has been covered, and the next leaf is cut so that it
    /// begins right behind `after`, even when splits and joins have moved the borders. An entry
    /// that is changed meanwhile is delivered at most once, old or new. So the leaves of a walk
    /// ascend without overlap, as [`Self::load_leaf`] needs them.
    pub fn leaf_after(&self, after: Option<&[u8]>) -> Option<Cow<'_, [u8]>> {
        let place = self.locate(after.unwrap_or_default())?;
        let Some(after) = after else { return Some(Cow::Borrowed(self.leaf(place))) };
        edit::beyond(self.leaf(place), after)
            .or_else(|| self.next_place(place).map(|next| Cow::Borrowed(self.leaf(next))))
    }

    /// Appends a leaf whose keys are greater than every key so far, at recovery.
    pub fn load_leaf(&mut self, encoded: &[u8]) -> Result<(), LeafError> {
        let count = check(encoded)?;
        let last = self.chunks.iter().enumerate().next_back();
        let Some((chunk, last)) = last else {
            self.add_leaf(Place { chunk: 0, leaf: 0 }, encoded.into());
            self.entries += count as u64;
            return Ok(());
        };
        let place = Place { chunk, leaf: last.leaves().len() - 1 };
        let current = self.leaf(place);
        if leaf::last_key(current).as_slice() >= leaf::first_key(encoded) {
            return Err(LeafError::NotBeyondIndex);
        }
        if current.len() + encoded.len() <= LEAF_BYTES_JOINED {
            let joined = edit::join(current, encoded);
            self.put(place, joined);
        } else {
            self.add_leaf(Place { chunk, leaf: place.leaf + 1 }, encoded.into());
        }
        self.entries += count as u64;
        Ok(())
    }

    /// Returns the leaf that holds `key` if any does: the last one that begins at or before it, or
    /// else the first.
    fn locate(&self, key: &[u8]) -> Option<Place> {
        let begins_at_or_before = |chunk: &Chunk| leaf::first_key(&chunk.leaves()[0]) <= key;
        let chunk = self.chunks.partition_point(begins_at_or_before).saturating_sub(1);
        Some(Place { chunk, leaf: self.chunks.get(chunk)?.find(key) })
    }

    fn leaf(&self, place: Place) -> &[u8] {
        &self.chunks[place.chunk].leaves()[place.leaf]
    }

    fn next_place(&self, place: Place) -> Option<Place> {
        if place.leaf + 1 < self.chunks[place.chunk].leaves().len() {
            return Some(Place { leaf: place.leaf + 1, ..place });
        }
        (place.chunk + 1 < self.chunks.len()).then_some(Place { chunk: place.chunk + 1, leaf: 0 })
    }

    /// Inserts a key that is greater than all of a full leaf: into the next leaf if that has room,
    /// otherwise as a leaf of its own. Splitting the full leaf instead would leave half-full leaves
    /// behind ascending inserts.
    fn insert_behind(&mut self, place: Place, key: &[u8], value: &[u8]) {
        if let Some(next) = self.next_place(place) {
            let leaf = self.leaf(next);
            let room = leaf.len() + key.len() + value.len() <= LEAF_BYTES_MAX;
            if let (true, Position::Absent(gap)) = (room, leaf::search(leaf, key)) {
                let edited = edit::insert(leaf, &gap, key, value);
                self.put(next, edited);
                return;
            }
        }
        let Position::Absent(gap) = leaf::search(edit::EMPTY, key) else { unreachable!("an empty leaf") };
        let alone = edit::insert(edit::EMPTY, &gap, key, value);
        self.add_leaf(Place { leaf: place.leaf + 1, ..place }, alone);
    }

    /// Replaces a leaf.
    fn put(&mut self, place: Place, leaf: Box<[u8]>) {
        self.leaf_bytes += allocated(leaf.len());
        let replaced = self.chunks[place.chunk].replace(place.leaf, leaf);
        self.leaf_bytes -= allocated(replaced.len());
    }

    /// Adds a leaf at a place, or behind the last leaf of a chunk.
    fn add_leaf(&mut self, mut place: Place, leaf: Box<[u8]>) {
        self.leaf_bytes += allocated(leaf.len());
        if self.chunks.is_empty() {
            self.chunks.push(Chunk::new());
        }
        if self.chunks[place.chunk].leaves().len() == chunk::CAPACITY {
            // The new leaf follows the last leaf of the whole index: ascending keys fill chunks
            // completely, as they fill leaves.
            let ascending = place.leaf == chunk::CAPACITY && place.chunk + 1 == self.chunks.len();
            let at = if ascending { chunk::CAPACITY } else { chunk::CAPACITY / 2 };
            let upper = self.chunks[place.chunk].split_off(at);
            self.chunks.insert(place.chunk + 1, upper);
            if place.leaf >= at {
                place = Place { chunk: place.chunk + 1, leaf: place.leaf - at };
            }
        }
        self.chunks[place.chunk].insert(place.leaf, leaf);
    }

    fn take_leaf(&mut self, place: Place) -> Box<[u8]> {
        let leaf = self.chunks[place.chunk].remove(place.leaf);
        self.leaf_bytes -= allocated(leaf.len());
        leaf
    }

    /// Splits a leaf that is too long, or joins one that is too short with a neighbour.
    fn settle(&mut self, place: Place) {
        let current = self.leaf(place);
        let length = current.len();
        if length > LEAF_BYTES_MAX {
            if let Some([left, right]) = edit::split(current) {
                self.put(place, left);
                self.add_leaf(Place { leaf: place.leaf + 1, ..place }, right);
            }
        } else if length < LEAF_BYTES_MIN {
            let joins_next = self.join_with_next(place);
            if !joins_next && place.leaf > 0 {
                self.join_with_next(Place { leaf: place.leaf - 1, ..place });
            }
        }
    }

    /// Joins two leaves of a chunk if the result is not too long. Returns whether it did.
    fn join_with_next(&mut self, place: Place) -> bool {
        let [left, right] = match self.chunks[place.chunk].leaves().get(place.leaf..place.leaf + 2) {
            Some([left, right]) if left.len() + right.len() <= LEAF_BYTES_JOINED => [left, right],
            _ => return false,
        };
        let joined = edit::join(left, right);
        self.put(place, joined);
        self.take_leaf(Place { leaf: place.leaf + 1, ..place });
        self.settle_chunk(place.chunk);
        true
    }

    /// Removes a chunk that is empty, or joins one that is small with a neighbour.
    fn settle_chunk(&mut self, chunk: usize) {
        if self.chunks[chunk].leaves().is_empty() {
            self.chunks.remove(chunk);
        } else if self.chunks[chunk].leaves().len() < CHUNK_LEAVES_MIN {
            let joins_next = self.join_chunk_with_next(chunk);
            if !joins_next && chunk > 0 {
                self.join_chunk_with_next(chunk - 1);
            }
        }
    }

    fn join_chunk_with_next(&mut self, chunk: usize) -> bool {
        let leaves =
            |chunk: usize| self.chunks.get(chunk).map_or(chunk::CAPACITY, |chunk| chunk.leaves().len());
        let joins = leaves(chunk) + leaves(chunk + 1) <= CHUNK_LEAVES_JOINED;
        if joins {
            let next = self.chunks.remove(chunk + 1);
            self.chunks[chunk].append(next);
        }
        joins
    }

    /// Asserts the invariants at the top of this file.
    #[cfg(test)]
    pub(super) fn assert_sound(&self) {
        let mut previous: Option<Vec<u8>> = None;
        let (mut entries, mut bytes) = (0, 0);
        for chunk in &self.chunks {
            chunk.assert_sound();
            for leaf in chunk.leaves() {
                entries += check(leaf).expect("valid leaf") as u64;
                bytes += allocated(leaf.len());
                assert!(previous.is_none_or(|last| last.as_slice() < leaf::first_key(leaf)));
                previous = Some(leaf::last_key(leaf));
            }
        }
        assert_eq!((entries, bytes), (self.entries, self.leaf_bytes));
    }
}
