//! Composite keys of the ordered index: bucket, object key and version, encoded so that byte order
//! is listing order.
//!
//! ```text
//! bucket, u32 big-endian | key, each 0x00 as 0x00 0xFF | 0x00 0x01 | !generation, u64 big-endian
//! └───────────────────── the stack of the key ─────────────────────┘
//! ```
//! Invariants: composites are ordered by bucket, then by key in byte order, then by generation with
//! the newest first. A composite begins with the escaped forms of exactly the prefixes of its key.
//! No stack is the beginning of another one.

const ESCAPE: u8 = 0x00;
const ESCAPED_ZERO: u8 = 0xff;
const VERSION: u8 = 0x01;
const BEYOND_VERSIONS: u8 = 0x02;
/// Bytes of the generation at the end of a composite.
pub const GENERATION_BYTES: usize = 8;

/// Returns the composite key of a version.
pub fn encode(bucket: u32, key: &[u8], generation: u64) -> Vec<u8> {
    let mut composite = stack(bucket, key);
    push_generation(&mut composite, generation);
    composite
}

/// Returns what the composites of all versions of a key begin with, and no others.
pub fn stack(bucket: u32, key: &[u8]) -> Vec<u8> {
    let mut stack = prefix_start(bucket, key);
    stack.extend_from_slice(&[ESCAPE, VERSION]);
    stack
}

/// Completes a stack to the composite key of the version with this generation.
pub fn push_generation(stack: &mut Vec<u8>, generation: u64) {
    stack.extend_from_slice(&(!generation).to_be_bytes());
}

/// Returns the generation at the end of a composite, given what follows the stack.
pub fn generation_of(rest: &[u8]) -> Option<u64> {
    Some(!u64::from_be_bytes(rest.try_into().ok()?))
}

/// Returns the stack of a composite, or everything before its last eight bytes.
pub fn stack_of(composite: &[u8]) -> &[u8] {
    &composite[..composite.len().saturating_sub(GENERATION_BYTES)]
}

/// Returns bucket, object key and generation of a composite, or `None` for bytes that are none.
pub fn decode(composite: &[u8]) -> Option<(u32, Vec<u8>, u64)> {
    let (bucket, rest) = composite.split_first_chunk::<4>()?;
    let (escaped, generation) = rest.split_last_chunk::<GENERATION_BYTES>()?;
    let escaped = escaped.strip_suffix(&[ESCAPE, VERSION])?;
    let (bucket, generation) = (u32::from_be_bytes(*bucket), !u64::from_be_bytes(*generation));
    if !escaped.contains(&ESCAPE) {
        return Some((bucket, escaped.to_vec(), generation));
    }
    let mut key = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.iter();
    while let Some(&byte) = bytes.next() {
        if byte == ESCAPE && bytes.next() != Some(&ESCAPED_ZERO) {
            return None;
        }
        key.push(byte);
    }
    Some((bucket, key, generation))
}

/// Returns the common beginning of all composites whose key begins with `prefix`. It is not greater
/// than any of them, and greater than all composites that sort before them.
pub fn prefix_start(bucket: u32, prefix: &[u8]) -> Vec<u8> {
    let mut start = Vec::with_capacity(4 + prefix.len() + 2 + GENERATION_BYTES);
    start.extend_from_slice(&bucket.to_be_bytes());
    for &byte in prefix {
        start.push(byte);
        if byte == ESCAPE {
            start.push(ESCAPED_ZERO);
        }
    }
    start
}

/// Returns a bound that is greater than every composite whose key begins with `prefix`, and not
/// greater than any that sorts after them. Returns `None` if nothing can sort after them.
pub fn prefix_end(bucket: u32, prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix_start(bucket, prefix);
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

/// Returns a bound that is greater than every version of `key` and not greater than any greater
/// key.
pub fn after(bucket: u32, key: &[u8]) -> Vec<u8> {
    let mut after = prefix_start(bucket, key);
    after.extend_from_slice(&[ESCAPE, BEYOND_VERSIONS]);
    after
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn awkward_key() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(
            prop_oneof![Just(0u8), Just(1), Just(2), Just(3), Just(0xff), any::<u8>()],
            0..8,
        )
    }

    fn bucket() -> impl Strategy<Value = u32> {
        prop_oneof![Just(0), Just(1), Just(0xff), Just(0x100), Just(u32::MAX), any::<u32>()]
    }

    proptest! {
        #[test]
        fn order_is_kept(
            left in (bucket(), awkward_key(), any::<u64>()),
            right in (bucket(), awkward_key(), any::<u64>()),
        ) {
            let composites = [encode(left.0, &left.1, left.2), encode(right.0, &right.1, right.2)];
            let order = (left.0, &left.1, !left.2).cmp(&(right.0, &right.1, !right.2));
            prop_assert_eq!(composites[0].cmp(&composites[1]), order);
            let same = (left.0, &left.1) == (right.0, &right.1);
            prop_assert_eq!(composites[0].starts_with(&stack(right.0, &right.1)), same);
            prop_assert_eq!(stack_of(&composites[0]) == stack_of(&composites[1]), same);
            prop_assert_eq!(generation_of(&composites[0][stack_of(&composites[0]).len()..]), Some(left.2));
            prop_assert_eq!(decode(&composites[0]), Some(left));
        }

        #[test]
        fn prefix_bounds_are_exact(
            bucket in bucket(),
            prefix in awkward_key(),
            other in (bucket(), awkward_key(), any::<u64>()),
        ) {
            let composite = encode(other.0, &other.1, other.2);
            let inside = other.0 == bucket && other.1.starts_with(&prefix);
            let start = prefix_start(bucket, &prefix);
            let below_end = prefix_end(bucket, &prefix).is_none_or(|end| composite < end);
            prop_assert_eq!(composite >= start && below_end, inside);
            prop_assert_eq!(composite.starts_with(&start), inside);
        }

        #[test]
        fn after_lies_between(bucket in bucket(), key in awkward_key(), other in awkward_key(), version: u64) {
            let after = after(bucket, &key);
            prop_assert_eq!(encode(bucket, &other, version) < after, other <= key);
        }

        #[test]
        fn decoding_never_panics(
            bytes in proptest::collection::vec(prop_oneof![Just(0u8), Just(1), any::<u8>()], 0..24),
        ) {
            if let Some((bucket, key, generation)) = decode(&bytes) {
                prop_assert_eq!(encode(bucket, &key, generation), bytes);
            }
        }
    }
}
