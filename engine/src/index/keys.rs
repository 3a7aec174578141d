//! Composite keys of the ordered index: bucket, object key and version, encoded so that byte order
//! is listing order.
//!
//! ```text
//! bucket, u32 big-endian | key, each 0x00 as 0x00 0xFF | 0x00 0x02                          the null version
//!                                                      | 0x00 0x01 | !version, u64 big-endian   reserved
//! ```
//! Invariants: composites are ordered by bucket, then by key in byte order, then by version with
//! the newest first and the null version last. A composite begins with the escaped forms of exactly
//! the prefixes of its key.

const ESCAPE: u8 = 0x00;
const ESCAPED_ZERO: u8 = 0xff;
const NULL_VERSION: u8 = 0x02;
const BEYOND_VERSIONS: u8 = 0x03;

/// Returns the composite key of the null version of an object.
pub fn encode(bucket: u32, key: &[u8]) -> Vec<u8> {
    let mut composite = prefix_start(bucket, key);
    composite.extend_from_slice(&[ESCAPE, NULL_VERSION]);
    composite
}

/// Returns bucket and object key of a null version, or `None` for any other composite key.
pub fn decode(composite: &[u8]) -> Option<(u32, Vec<u8>)> {
    let (bucket, escaped) = composite.split_first_chunk::<4>()?;
    let escaped = escaped.strip_suffix(&[ESCAPE, NULL_VERSION])?;
    let bucket = u32::from_be_bytes(*bucket);
    if !escaped.contains(&ESCAPE) {
        return Some((bucket, escaped.to_vec()));
    }
    let mut key = Vec::with_capacity(escaped.len());
    let mut bytes = escaped.iter();
    while let Some(&byte) = bytes.next() {
        if byte == ESCAPE && bytes.next() != Some(&ESCAPED_ZERO) {
            return None;
        }
        key.push(byte);
    }
    Some((bucket, key))
}

/// Returns the common beginning of all composites whose key begins with `prefix`. It is not greater
/// than any of them, and greater than all composites that sort before them.
pub fn prefix_start(bucket: u32, prefix: &[u8]) -> Vec<u8> {
    let mut start = Vec::with_capacity(4 + prefix.len() + 2);
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
        fn order_is_kept(left in (bucket(), awkward_key()), right in (bucket(), awkward_key())) {
            let composites = [encode(left.0, &left.1), encode(right.0, &right.1)];
            prop_assert_eq!(composites[0].cmp(&composites[1]), left.cmp(&right));
            prop_assert_eq!(decode(&composites[0]), Some(left));
        }

        #[test]
        fn prefix_bounds_are_exact(bucket in bucket(), prefix in awkward_key(), other in (bucket(), awkward_key())) {
            let composite = encode(other.0, &other.1);
            let inside = other.0 == bucket && other.1.starts_with(&prefix);
            let start = prefix_start(bucket, &prefix);
            let below_end = prefix_end(bucket, &prefix).is_none_or(|end| composite < end);
            prop_assert_eq!(composite >= start && below_end, inside);
            prop_assert_eq!(composite.starts_with(&start), inside);
        }

        #[test]
        fn after_lies_between(bucket in bucket(), key in awkward_key(), other in awkward_key(), version: u64) {
            let after = after(bucket, &key);
            let mut versioned = prefix_start(bucket, &other);
            versioned.extend_from_slice(&[0, 1]);
            versioned.extend_from_slice(&(!version).to_be_bytes());
            prop_assert_eq!(encode(bucket, &other) < after, other <= key);
            prop_assert_eq!(versioned < after, other <= key);
            prop_assert!(versioned < encode(bucket, &other));
            prop_assert_eq!(decode(&versioned), None);
        }

        #[test]
        fn decoding_never_panics(
            bytes in proptest::collection::vec(prop_oneof![Just(0u8), Just(2), any::<u8>()], 0..16),
        ) {
            if let Some((bucket, key)) = decode(&bytes) {
                prop_assert_eq!(encode(bucket, &key), bytes);
            }
        }
    }
}
