//! Checkpoint walks while the index changes, and loading what they delivered.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::leaf::{self, Cursor};
use super::super::{LeafError, OrderedIndex};
use super::ordered::contents;

fn name(number: u16) -> Vec<u8> {
    format!("{number:05}").repeat(4).into_bytes()
}

/// Changes between two leaves of the walk: (from this number on, this many, whether they are
/// inserted or removed).
type Change = (u16, u16, bool);

fn apply(index: &mut OrderedIndex, (from, count, insert): Change, value: &[u8]) {
    for number in from..from + count {
        if insert {
            index.insert(&name(number), value);
        } else {
            index.remove(&name(number));
        }
    }
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    proptest::collection::vec((0u16..3_000, 0u16..200, any::<bool>()), 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_stays_is_delivered_once(initial in changes(), changes in changes()) {
        let mut index = OrderedIndex::new();
        for number in 0..2_500 {
            index.insert(&name(number), b"initial");
        }
        for one in initial {
            apply(&mut index, one, b"initial");
        }
        let before = contents(&index);

        let mut changes = changes.into_iter();
        let mut touched = BTreeSet::new();
        let mut loaded = OrderedIndex::new();
        let mut delivered = BTreeMap::new();
        let mut after: Option<Vec<u8>> = None;
        while let Some(encoded) = index.leaf_after(after.as_deref()) {
            let mut cursor = Cursor::new(&encoded);
            while cursor.advance() {
                let repeated = delivered.insert(cursor.key().to_vec(), cursor.value().to_vec());
                prop_assert_eq!(repeated, None);
            }
            loaded.load_leaf(&encoded).unwrap();
            after = Some(leaf::last_key(&encoded));
            if let Some(one) = changes.next() {
                apply(&mut index, one, b"changed");
                touched.extend((one.0..one.0 + one.1).map(name));
            }
        }
        for (key, value) in before.iter().filter(|(key, _)| !touched.contains(*key)) {
            prop_assert_eq!(delivered.get(key), Some(value));
        }
        for key in delivered.keys() {
            prop_assert!(before.contains_key(key) || touched.contains(key));
        }
        loaded.assert_sound();
        prop_assert_eq!(contents(&loaded), delivered);
    }
}

#[test]
fn leaves_out_of_order_are_refused() {
    let mut index = OrderedIndex::new();
    for number in 0..500 {
        index.insert(&name(number), &[1; 50]);
    }
    let first = index.leaf_after(None).unwrap().into_owned();
    let second = index.leaf_after(Some(&leaf::last_key(&first))).unwrap().into_owned();
    let mut loaded = OrderedIndex::new();
    loaded.load_leaf(&first).unwrap();
    assert_eq!(loaded.load_leaf(&first), Err(LeafError::NotBeyondIndex));
    loaded.load_leaf(&second).unwrap();
    assert_eq!(loaded.load_leaf(&first), Err(LeafError::NotBeyondIndex));
    assert_eq!(
        loaded.load_leaf(&second[..second.len() - 1]),
        Err(LeafError::CutShort { entry: leaf::entry_count(&second) - 1, what: "value" })
    );
    loaded.assert_sound();
    assert_eq!(loaded.len(), (leaf::entry_count(&first) + leaf::entry_count(&second)) as u64);
}
