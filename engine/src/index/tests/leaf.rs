use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::check::{LeafError, check};
use super::super::leaf::{self, Cursor, Position};
use super::super::{OrderedIndex, edit};
use super::{key, value};

fn leaf_of(entries: &BTreeMap<Vec<u8>, Vec<u8>>) -> Box<[u8]> {
    let mut bytes = Box::from(edit::EMPTY);
    for (key, value) in entries {
        let Position::Absent(gap) = leaf::search(&bytes, key) else { panic!("unique keys") };
        bytes = edit::insert(&bytes, &gap, key, value);
    }
    bytes
}

fn entries_of(bytes: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let mut entries = BTreeMap::new();
    let mut cursor = Cursor::new(bytes);
    while cursor.advance() {
        entries.insert(cursor.key().to_vec(), cursor.value().to_vec());
    }
    entries
}

/// Does what a reader does with a leaf that passed the check. Nothing of it may panic.
fn read_everything(bytes: &[u8]) {
    let entries = entries_of(bytes);
    assert_eq!(entries.len(), leaf::entry_count(bytes));
    assert_eq!(entries.first_key_value().map(|(key, _)| key.as_slice()), Some(leaf::first_key(bytes)));
    for (key, value) in &entries {
        assert_eq!(leaf::get(bytes, key), Some(value.as_slice()));
    }
    let mut index = OrderedIndex::new();
    index.load_leaf(bytes).unwrap();
    index.assert_sound();
}

#[test]
fn the_encoding_is_the_documented_one() {
    let entries = [("photos/a", "1"), ("photos/abc", ""), ("photos/b", "23")];
    let entries = entries.map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec()));
    let expected = b"\x03\x00\x00\x08photos/a\x011\x08\x02bc\x00\x07\x01b\x0223";
    assert_eq!(&*leaf_of(&BTreeMap::from(entries)), expected);
    assert_eq!(check(expected), Ok(3));
}

#[test]
fn each_kind_of_damage_is_named() {
    let cases: [(&[u8], LeafError); 10] = [
        (b"\x01", LeafError::TooShort { length: 1 }),
        (b"\0\0", LeafError::BadCount { count: 0 }),
        (b"\xff\xff", LeafError::BadCount { count: 65_535 }),
        (b"\x01\0", LeafError::CutShort { entry: 0, what: "shared length" }),
        (b"\x01\0\0\x05abc", LeafError::CutShort { entry: 0, what: "suffix" }),
        (b"\x01\0\0\x01a\x80\0", LeafError::BadNumber { entry: 0, what: "value length" }),
        (b"\x01\0\x01\x01a\0", LeafError::SharedTooLong { entry: 0, shared: 1, previous: 0 }),
        (b"\x02\0\0\x02ab\0\x01\x01a\0", LeafError::NotAscending { entry: 1 }),
        // The keys ascend, but share one byte more than the entry says.
        (b"\x02\0\0\x02ab\0\0\x02ac\0", LeafError::NotAscending { entry: 1 }),
        (b"\x01\0\0\x01a\0!", LeafError::TrailingBytes { length: 1 }),
    ];
    for (bytes, error) in cases {
        assert_eq!(check(bytes), Err(error), "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn edits_equal_a_model(
        entries in proptest::collection::btree_map(key(), value(), 1..40),
        changes in proptest::collection::vec((key(), proptest::option::of(value())), 0..60),
    ) {
        let mut model = entries;
        let mut bytes = leaf_of(&model);
        for (key, change) in changes {
            bytes = match (leaf::search(&bytes, &key), &change) {
                (Position::Found(entry), Some(value)) => edit::set_value(&bytes, &entry, value),
                (Position::Found(entry), None) => edit::remove(&bytes, &entry),
                (Position::Absent(gap), Some(value)) => edit::insert(&bytes, &gap, &key, value),
                (Position::Absent(_), None) => bytes,
            };
            match change {
                Some(value) => drop(model.insert(key, value)),
                None => drop(model.remove(&key)),
            }
            if model.is_empty() {
                prop_assert_eq!(&*bytes, edit::EMPTY);
                return Ok(());
            }
            prop_assert_eq!(check(&bytes), Ok(model.len()));
        }
        prop_assert_eq!(entries_of(&bytes), model);
    }

    #[test]
    fn splitting_and_joining_are_inverse(entries in proptest::collection::btree_map(key(), value(), 1..40)) {
        let whole = leaf_of(&entries);
        let Some([left, right]) = edit::split(&whole) else {
            prop_assert_eq!(entries.len(), 1);
            return Ok(());
        };
        check(&left).unwrap();
        check(&right).unwrap();
        prop_assert_eq!(edit::join(&left, &right), whole);
    }

    #[test]
    fn cutting_keeps_what_lies_beyond(
        entries in proptest::collection::btree_map(key(), value(), 1..40), after in key(),
    ) {
        let mut beyond = entries.clone();
        beyond.retain(|key, _| *key > after);
        let cut = edit::beyond(&leaf_of(&entries), &after).map(|leaf| {
            check(&leaf).unwrap();
            entries_of(&leaf)
        });
        prop_assert_eq!(cut.unwrap_or_default(), beyond);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(prop_oneof![0u8..4, any::<u8>()], 0..60)) {
        if check(&bytes).is_ok() {
            read_everything(&bytes);
        }
    }

    #[test]
    fn damaged_leaves_never_panic(
        entries in proptest::collection::btree_map(key(), proptest::collection::vec(any::<u8>(), 0..6), 1..12),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = leaf_of(&entries).into_vec();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if check(&bytes).is_ok() {
            read_everything(&bytes);
        }
    }
}
