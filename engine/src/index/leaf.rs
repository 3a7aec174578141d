//! A leaf: a front-coded run of entries, with the same bytes in memory and on the drive.
//!
//! ```text
//! u16 entry count (little-endian) | entry | entry | …
//! entry: shared | suffix length | suffix | value length | value        (lengths: shortest LEB128)
//! ```
//! Invariants (which [`check`](super::check::check) proves for bytes from a drive, and every edit
//! keeps):
//! - Keys ascend strictly in byte order.
//! - `shared` is the *whole* common prefix with the previous key, and 0 for the first entry. The
//!   search relies on it: it never rebuilds a key, because the first byte of a suffix is where the
//!   key differs from its predecessor.
//! - The count is that of the entries, and nothing follows the last one.
//!
//! There are no restart points: at 2 to 4 KiB a leaf has about 40 entries, and skipping one costs a
//! few nanoseconds, which is less than what a restart table would cost in memory.

use std::cmp::Ordering;

use crate::format::varint;

pub(super) const HEADER_BYTES: usize = 2;

/// An entry and its place in the leaf. The offsets are from the start of the leaf.
pub(super) struct Entry<'a> {
    /// Offset of the entry.
    pub start: usize,
    /// Length of the common prefix with the previous key.
    pub shared: usize,
    /// The key behind the common prefix.
    pub suffix: &'a [u8],
    /// Offset of the value length.
    pub suffix_end: usize,
    pub value: &'a [u8],
    /// Offset of the next entry.
    pub end: usize,
}

#[inline]
pub(super) fn entry_at(leaf: &[u8], start: usize) -> Entry<'_> {
    let mut at = start;
    let shared = varint::read(leaf, &mut at);
    let suffix_length = varint::read(leaf, &mut at);
    let suffix_end = at + suffix_length;
    let suffix = &leaf[at..suffix_end];
    at = suffix_end;
    let value_length = varint::read(leaf, &mut at);
    let end = at + value_length;
    Entry { start, shared, suffix, suffix_end, value: &leaf[at..end], end }
}

/// Returns the number of entries of a checked leaf.
pub fn entry_count(leaf: &[u8]) -> usize {
    usize::from(u16::from_le_bytes([leaf[0], leaf[1]]))
}

/// Returns the smallest key of a checked leaf that is not empty.
#[inline]
pub fn first_key(leaf: &[u8]) -> &[u8] {
    let mut at = HEADER_BYTES + 1;
    let length = varint::read(leaf, &mut at);
    &leaf[at..at + length]
}

/// Returns the greatest key of a checked leaf that is not empty. A walk by
/// [`leaf_after`](super::OrderedIndex::leaf_after) continues behind it.
pub fn last_key(leaf: &[u8]) -> Vec<u8> {
    let mut cursor = Cursor::new(leaf);
    while cursor.advance() {}
    cursor.key
}

/// The place at which an absent key would be inserted.
pub(super) struct Gap<'a> {
    /// Offset at which the entry would begin.
    pub offset: usize,
    /// Length of the common prefix with the entry before the gap.
    pub shared: usize,
    /// The entry behind the gap, and the length of its common prefix with the absent key.
    pub next: Option<(Entry<'a>, usize)>,
}

/// The result of a search for a key.
pub(super) enum Position<'a> {
    Found(Entry<'a>),
    Absent(Gap<'a>),
}

/// Finds `key` without rebuilding any key. `matched` is the length of the common prefix of `key`
/// and the previous entry, which is smaller. An entry that shares more with its predecessor than
/// that is smaller too; one that shares less is greater; only one that shares exactly as much must
/// be compared.
#[inline]
pub(super) fn search<'a>(leaf: &'a [u8], key: &[u8]) -> Position<'a> {
    let mut matched = 0;
    let mut offset = HEADER_BYTES;
    while offset < leaf.len() {
        let entry = entry_at(leaf, offset);
        offset = entry.end;
        match entry.shared.cmp(&matched) {
            Ordering::Greater => {}
            Ordering::Less => {
                let (start, common) = (entry.start, entry.shared);
                return Position::Absent(Gap { offset: start, shared: matched, next: Some((entry, common)) });
            }
            Ordering::Equal => {
                let rest = &key[matched..];
                let common = common_prefix(entry.suffix, rest);
                match entry.suffix[common..].first().cmp(&rest[common..].first()) {
                    Ordering::Equal => return Position::Found(entry),
                    Ordering::Less => matched += common,
                    Ordering::Greater => {
                        let start = entry.start;
                        let next = Some((entry, matched + common));
                        return Position::Absent(Gap { offset: start, shared: matched, next });
                    }
                }
            }
        }
    }
    Position::Absent(Gap { offset, shared: matched, next: None })
}

/// Returns the value of `key` in a checked leaf.
pub fn get<'a>(leaf: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    match search(leaf, key) {
        Position::Found(entry) => Some(entry.value),
        Position::Absent(_) => None,
    }
}

#[inline]
pub(super) fn common_prefix(left: &[u8], right: &[u8]) -> usize {
    left.iter().zip(right).take_while(|(left, right)| left == right).count()
}

/// Walks the entries of a checked leaf and rebuilds their keys.
pub struct Cursor<'a> {
    leaf: &'a [u8],
    start: usize,
    end: usize,
    key: Vec<u8>,
    value: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// Creates a cursor before the first entry.
    pub fn new(leaf: &'a [u8]) -> Self {
        Self { leaf, start: HEADER_BYTES, end: HEADER_BYTES, key: Vec::new(), value: &[] }
    }

    /// Moves to the next entry. Returns false when there is none; the last entry then stays
    /// current.
    pub fn advance(&mut self) -> bool {
        if self.end == self.leaf.len() {
            return false;
        }
        let entry = entry_at(self.leaf, self.end);
        self.key.truncate(entry.shared);
        self.key.extend_from_slice(entry.suffix);
        self.value = entry.value;
        self.start = entry.start;
        self.end = entry.end;
        true
    }

    /// Moves on to the first entry whose key is at least `key`. Returns false when there is none.
    pub fn advance_to(&mut self, key: &[u8]) -> bool {
        while self.advance() {
            if self.key.as_slice() >= key {
                return true;
            }
        }
        false
    }

    pub fn key(&self) -> &[u8] {
        &self.key
    }

    pub fn value(&self) -> &'a [u8] {
        self.value
    }

    /// Returns the offset of the current entry in the leaf.
    pub(super) fn offset(&self) -> usize {
        self.start
    }
}
