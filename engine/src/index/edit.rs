//! Edits of leaves. Every edit makes a new leaf of exactly its size, so leaves have no slack.
//!
//! Invariant: given a valid leaf (see [`leaf`](super::leaf)), the result is valid. Only the entry
//! behind the change needs a new head, because only its predecessor has changed.

use std::borrow::Cow;
use std::ops::Range;

use super::leaf::{
    Cursor, Entry, Gap, HEADER_BYTES, common_prefix, entry_at, entry_count, first_key, last_key,
};
use crate::format::varint::Encoded;

/// A leaf without entries, into which the first entry is inserted.
pub const EMPTY: &[u8] = &[0; HEADER_BYTES];

/// Returns the leaf with `range` replaced by `pieces`, and with `count` entries.
fn splice(leaf: &[u8], count: usize, range: Range<usize>, pieces: &[&[u8]]) -> Box<[u8]> {
    let added: usize = pieces.iter().map(|piece| piece.len()).sum();
    let mut bytes = Vec::with_capacity(leaf.len() - range.len() + added);
    let count = u16::try_from(count).expect("a leaf is split long before 65,536 entries");
    bytes.extend_from_slice(&count.to_le_bytes());
    bytes.extend_from_slice(&leaf[HEADER_BYTES..range.start]);
    for piece in pieces {
        bytes.extend_from_slice(piece);
    }
    bytes.extend_from_slice(&leaf[range.end..]);
    bytes.into_boxed_slice()
}

/// Inserts an entry at a gap that a search for `key` found in this leaf.
pub fn insert(leaf: &[u8], gap: &Gap<'_>, key: &[u8], value: &[u8]) -> Box<[u8]> {
    let suffix = &key[gap.shared..];
    let head = Encoded::two(gap.shared, suffix.len());
    let value_length = Encoded::one(value.len());
    let entry = [head.as_slice(), suffix, value_length.as_slice(), value];
    let count = entry_count(leaf) + 1;
    match &gap.next {
        Some((next, shared)) if *shared > next.shared => {
            let next_suffix = &next.suffix[shared - next.shared..];
            let next_head = Encoded::two(*shared, next_suffix.len());
            let [head, suffix, value_length, value] = entry;
            let pieces = [head, suffix, value_length, value, next_head.as_slice(), next_suffix];
            splice(leaf, count, gap.offset..next.suffix_end, &pieces)
        }
        _ => splice(leaf, count, gap.offset..gap.offset, &entry),
    }
}

/// Replaces the value of an entry of this leaf.
pub fn set_value(leaf: &[u8], entry: &Entry<'_>, value: &[u8]) -> Box<[u8]> {
    let length = Encoded::one(value.len());
    splice(leaf, entry_count(leaf), entry.suffix_end..entry.end, &[length.as_slice(), value])
}

/// Removes an entry of this leaf. The result may be empty.
pub fn remove(leaf: &[u8], entry: &Entry<'_>) -> Box<[u8]> {
    let count = entry_count(leaf) - 1;
    if entry.end < leaf.len() {
        let next = entry_at(leaf, entry.end);
        if next.shared > entry.shared {
            let inherited = &entry.suffix[..next.shared - entry.shared];
            let head = Encoded::two(entry.shared, inherited.len() + next.suffix.len());
            let pieces = [head.as_slice(), inherited, next.suffix];
            return splice(leaf, count, entry.start..next.suffix_end, &pieces);
        }
    }
    splice(leaf, count, entry.start..entry.end, &[])
}

/// Splits a leaf near the middle of its bytes. Returns `None` for a single entry.
pub fn split(leaf: &[u8]) -> Option<[Box<[u8]>; 2]> {
    let mut cursor = Cursor::new(leaf);
    let mut before = 0;
    cursor.advance();
    while cursor.advance() {
        before += 1;
        if cursor.offset() >= leaf.len() / 2 || before + 1 == entry_count(leaf) {
            let left = splice(leaf, before, cursor.offset()..leaf.len(), &[]);
            return Some([left, tail(leaf, before, &cursor)]);
        }
    }
    None
}

/// Returns the entries from the cursor's on. `before` is the number of entries before it.
fn tail(leaf: &[u8], before: usize, cursor: &Cursor<'_>) -> Box<[u8]> {
    let head = Encoded::two(0, cursor.key().len());
    let dropped = HEADER_BYTES..entry_at(leaf, cursor.offset()).suffix_end;
    splice(leaf, entry_count(leaf) - before, dropped, &[head.as_slice(), cursor.key()])
}

/// Returns the entries with keys greater than `after`, or `None` if there are none.
pub fn beyond<'a>(leaf: &'a [u8], after: &[u8]) -> Option<Cow<'a, [u8]>> {
    if first_key(leaf) > after {
        return Some(Cow::Borrowed(leaf));
    }
    let mut cursor = Cursor::new(leaf);
    let mut before = 0;
    while cursor.advance() {
        if cursor.key() > after {
            return Some(Cow::Owned(tail(leaf, before, &cursor).into_vec()));
        }
        before += 1;
    }
    None
}

/// Joins two leaves. The keys of `right` must be greater than all of `left`.
pub fn join(left: &[u8], right: &[u8]) -> Box<[u8]> {
    let first = entry_at(right, HEADER_BYTES);
    let shared = common_prefix(&last_key(left), first.suffix);
    let suffix = &first.suffix[shared..];
    let head = Encoded::two(shared, suffix.len());
    let pieces = [head.as_slice(), suffix, &right[first.suffix_end..]];
    splice(left, entry_count(left) + entry_count(right), left.len()..left.len(), &pieces)
}
