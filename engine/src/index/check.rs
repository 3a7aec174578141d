//! Validation of leaves read from a drive. Everything else in the index relies on checked bytes and
//! may panic on others.

use super::leaf::HEADER_BYTES;
use crate::format::varint;

/// The most entries of a leaf. It is far more than fits in one, and keeps the count of a leaf that
/// is about to be split within its field.
const MAX_ENTRIES: usize = 32_767;

/// The reason why bytes are not a leaf, or not the next leaf. Offsets are from the start of the
/// leaf.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeafError {
    #[error("a leaf of {length} bytes: shorter than its header")]
    TooShort { length: usize },
    #[error("a leaf that announces {count} entries; it must have 1 to {MAX_ENTRIES}")]
    BadCount { count: usize },
    #[error("entry {entry} of the leaf ends before its {what}")]
    CutShort { entry: usize, what: &'static str },
    #[error("the {what} of entry {entry} is no valid number")]
    BadNumber { entry: usize, what: &'static str },
    #[error("entry {entry} shares {shared} bytes with a previous key of {previous}")]
    SharedTooLong { entry: usize, shared: usize, previous: usize },
    #[error(
        "the key of entry {entry} does not follow the one before it, or shares more with it than it says"
    )]
    NotAscending { entry: usize },
    #[error("{length} bytes follow the last entry of the leaf")]
    TrailingBytes { length: usize },
    #[error("the first key of the leaf does not follow the last key of the index")]
    NotBeyondIndex,
}

/// Checks every invariant of a leaf and returns its number of entries.
pub fn check(bytes: &[u8]) -> Result<usize, LeafError> {
    let header = bytes.first_chunk::<HEADER_BYTES>().ok_or(LeafError::TooShort { length: bytes.len() })?;
    let count = usize::from(u16::from_le_bytes(*header));
    if count == 0 || count > MAX_ENTRIES {
        return Err(LeafError::BadCount { count });
    }
    let mut at = HEADER_BYTES;
    let mut key = Vec::new();
    for entry in 0..count {
        check_entry(bytes, &mut at, entry, &mut key)?;
    }
    if at != bytes.len() {
        return Err(LeafError::TrailingBytes { length: bytes.len() - at });
    }
    Ok(count)
}

/// Checks the entry at `at` against the previous key in `key`, and moves both to the entry just
/// checked.
fn check_entry(bytes: &[u8], at: &mut usize, entry: usize, key: &mut Vec<u8>) -> Result<(), LeafError> {
    let shared = number(bytes, at, entry, "shared length")?;
    if shared > key.len() {
        return Err(LeafError::SharedTooLong { entry, shared, previous: key.len() });
    }
    let suffix = run(bytes, at, entry, ["suffix length", "suffix"])?;
    // The key must be greater at the first byte that is not shared. This proves both the order and
    // the length of the prefix.
    let follows = suffix.first() > key.get(shared);
    if entry > 0 && !follows {
        return Err(LeafError::NotAscending { entry });
    }
    key.truncate(shared);
    key.extend_from_slice(suffix);
    run(bytes, at, entry, ["value length", "value"])?;
    Ok(())
}

fn number(bytes: &[u8], at: &mut usize, entry: usize, what: &'static str) -> Result<usize, LeafError> {
    if *at == bytes.len() {
        return Err(LeafError::CutShort { entry, what });
    }
    varint::checked_length(bytes, at).ok_or(LeafError::BadNumber { entry, what })
}

fn run<'a>(
    bytes: &'a [u8],
    at: &mut usize,
    entry: usize,
    [length_name, name]: [&'static str; 2],
) -> Result<&'a [u8], LeafError> {
    let length = number(bytes, at, entry, length_name)?;
    let cut_short = LeafError::CutShort { entry, what: name };
    let end = at.checked_add(length).ok_or_else(|| cut_short.clone())?;
    let run = bytes.get(*at..end).ok_or(cut_short)?;
    *at = end;
    Ok(run)
}
