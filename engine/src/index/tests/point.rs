use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::{Found, PointTable};

#[derive(Clone, Debug)]
enum Op {
    Insert(u64, u64),
    Replace(u64, u64, u64),
    Remove(u64, u64),
}

/// Returns few different hashes, some of them equal only in the bits that choose the sub-table, the
/// bucket or the tag.
fn hash() -> impl Strategy<Value = u64> {
    let high = prop_oneof![Just(0u64), Just(1), Just(0x8000), Just(0xffff)];
    let middle = prop_oneof![Just(0u64), Just(1), Just(0xffff_ffff)];
    (high, middle, 0u64..3).prop_map(|(high, middle, low)| high << 48 | middle << 16 | low)
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (hash(), 0u64..4).prop_map(|(hash, location)| Op::Insert(hash, location)),
        1 => (hash(), 0u64..4, 0u64..4).prop_map(|(hash, old, new)| Op::Replace(hash, old, new)),
        2 => (hash(), 0u64..4).prop_map(|(hash, location)| Op::Remove(hash, location)),
    ]
}

proptest! {
    #[test]
    fn equals_a_multimap(ops in proptest::collection::vec(op(), 0..300)) {
        let mut table = PointTable::new();
        let mut model: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for op in ops {
            match op {
                Op::Insert(hash, location) => {
                    table.insert(hash, location);
                    model.entry(hash).or_default().push(location);
                }
                Op::Replace(hash, old, new) => {
                    let entry = model.entry(hash).or_default().iter_mut().find(|location| **location == old);
                    let expected = entry.map(|location| *location = new).is_some();
                    prop_assert_eq!(table.replace(hash, old, new), expected);
                }
                Op::Remove(hash, location) => {
                    let locations = model.entry(hash).or_default();
                    let at = locations.iter().position(|one| *one == location);
                    prop_assert_eq!(table.remove(hash, location), at.map(|at| locations.remove(at)).is_some());
                }
            }
            prop_assert_eq!(table.len(), model.values().map(Vec::len).sum::<usize>());
        }
        for (hash, locations) in &model {
            let expected = match locations[..] {
                [] => Found::None,
                [location] => Found::One(location),
                _ => Found::Many,
            };
            prop_assert_eq!(table.find(*hash), expected);
        }
    }
}

fn scrambled(number: u64) -> u64 {
    // This is the mixing step of SplitMix64: Steele, Lea, Flood: Fast splittable pseudorandom
    // number generators.
    let mut mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// With sub-tables of equal shares this would vary between 19 and 39.
#[test]
fn memory_stays_near_28_bytes_an_entry_at_every_size() {
    let mut table = PointTable::new();
    for number in 0..400_000 {
        table.insert(scrambled(number), number);
        if number > 50_000 && number % 10_000 == 0 {
            let bytes = table.memory_bytes() as f64 / table.len() as f64;
            assert!((25.0..32.0).contains(&bytes), "{bytes} bytes an entry at {number}");
        }
    }
    assert!((0..400_000).all(|number| table.find(scrambled(number)) == Found::One(number)));
    assert!((400_000..500_000).all(|number| table.find(scrambled(number)) == Found::None));
}

#[test]
fn reserving_leaves_little_to_grow() {
    let mut table = PointTable::new();
    table.reserve(200_000);
    let reserved = table.memory_bytes();
    for number in 0..200_000 {
        table.insert(scrambled(number), number);
    }
    assert!(table.memory_bytes() <= reserved + reserved / 50, "{} of {reserved}", table.memory_bytes());
    assert!(reserved < 200_000 * 34, "{reserved}");
}

#[test]
fn memory_comes_back_after_mass_deletes() {
    const COUNT: u64 = 200_000;
    let hash = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number << 7;
    let mut table = PointTable::new();
    let empty = table.memory_bytes();
    (0..COUNT).for_each(|number| table.insert(hash(number), number));
    let full = table.memory_bytes();
    for number in 0..COUNT {
        assert!(table.remove(hash(number), number), "{number}");
        if number == COUNT / 10 * 9 {
            let left = table.memory_bytes();
            assert!(left < full / 2, "{left} bytes for a tenth of the entries, {full} for all");
            (number + 1..COUNT).for_each(|kept| assert_eq!(table.find(hash(kept)), Found::One(kept)));
        }
    }
    assert_eq!((table.memory_bytes(), table.len()), (empty, 0));
}
