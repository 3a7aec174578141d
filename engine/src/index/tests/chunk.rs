use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::chunk::{CAPACITY, Chunk};
use super::super::edit;
use super::super::leaf::{self, Position};
use super::key;

/// Returns the usual keys, and some that differ only behind the eight bytes that the chunk keeps of
/// them.
fn first_key() -> impl Strategy<Value = Vec<u8>> {
    let alike = (0usize..3, 0usize..3, 6usize..12);
    let alike =
        alike.prop_map(|(start, end, middle)| [vec![b's'; start], vec![0; middle], vec![b'e'; end]].concat());
    prop_oneof![key(), alike]
}

fn leaf_with(key: &[u8]) -> Box<[u8]> {
    let Position::Absent(gap) = leaf::search(edit::EMPTY, key) else { panic!("the empty leaf holds a key") };
    edit::insert(edit::EMPTY, &gap, key, b"value")
}

fn check_finds(chunk: &Chunk, keys: &BTreeSet<Vec<u8>>, sought: &[Vec<u8>]) {
    chunk.assert_sound();
    for key in sought.iter().chain(keys) {
        let expected = keys.range(..=key.clone()).count().saturating_sub(1);
        assert_eq!(chunk.find(key), expected, "{key:?} among {keys:?}");
    }
}

proptest! {
    #[test]
    fn finding_equals_counting(
        inserted in proptest::collection::vec(first_key(), 1..60),
        removed in proptest::collection::vec(any::<prop::sample::Index>(), 0..40),
        sought in proptest::collection::vec(first_key(), 0..20),
        at in any::<prop::sample::Index>(),
    ) {
        let mut chunk = Chunk::new();
        let mut keys = BTreeSet::new();
        for key in inserted {
            if keys.insert(key.clone()) {
                chunk.insert(keys.range(..key.clone()).count(), leaf_with(&key));
            }
        }
        check_finds(&chunk, &keys, &sought);
        for index in removed {
            if keys.len() > 1 {
                let at = index.index(keys.len());
                let key = keys.iter().nth(at).unwrap().clone();
                prop_assert_eq!(chunk.remove(at), leaf_with(&key));
                keys.remove(&key);
            }
        }
        check_finds(&chunk, &keys, &sought);
        let at = at.index(keys.len());
        let upper_keys = keys.iter().nth(at).cloned().map(|key| keys.split_off(&key)).unwrap();
        let upper = chunk.split_off(at);
        check_finds(&upper, &upper_keys, &sought);
        if !keys.is_empty() {
            check_finds(&chunk, &keys, &sought);
        }
        chunk.append(upper);
        keys.extend(upper_keys);
        check_finds(&chunk, &keys, &sought);
    }
}

#[test]
fn a_new_first_key_is_found() {
    let mut chunk = Chunk::new();
    for key in [&b"photos/a"[..], b"photos/c", b"photos/e"] {
        chunk.insert(chunk.leaves().len(), leaf_with(key));
    }
    let replaced = chunk.replace(1, leaf_with(b"photos/b"));
    assert_eq!(replaced, leaf_with(b"photos/c"));
    chunk.replace(0, leaf_with(b"a"));
    let keys = [&b"a"[..], b"photos/b", b"photos/e"].map(<[u8]>::to_vec);
    check_finds(&chunk, &BTreeSet::from(keys), &[b"".to_vec(), b"photos".to_vec(), b"z".to_vec()]);
    while chunk.leaves().len() < CAPACITY {
        let key = format!("z{:03}", chunk.leaves().len());
        chunk.insert(chunk.leaves().len(), leaf_with(key.as_bytes()));
    }
    chunk.assert_sound();
}
