use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::{OrderedIndex, Step};
use super::{key, value};

#[derive(Clone, Debug)]
enum Op {
    Insert(Vec<u8>, Vec<u8>),
    /// The nth of the existing keys.
    Remove(prop::sample::Index),
    RemoveAbsent(Vec<u8>),
    Get(Vec<u8>),
    Replace(prop::sample::Index, Vec<u8>),
    /// A visit from a key on: this many entries, a jump to the key, this many entries again, and a
    /// stop.
    Visit(Vec<u8>, usize, Vec<u8>, usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => (key(), value()).prop_map(|(key, value)| Op::Insert(key, value)),
        3 => any::<prop::sample::Index>().prop_map(Op::Remove),
        1 => key().prop_map(Op::RemoveAbsent),
        2 => key().prop_map(Op::Get),
        1 => (any::<prop::sample::Index>(), value()).prop_map(|(index, value)| Op::Replace(index, value)),
        1 => (key(), 0usize..20, key(), 0usize..20)
            .prop_map(|(start, first, jump, second)| Op::Visit(start, first, jump, second)),
    ]
}

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn check_visit(index: &OrderedIndex, model: &Model, start: &[u8], first: usize, jump: &[u8], second: usize) {
    let mut seen = Vec::new();
    index.visit(start, &mut |key, value| {
        seen.push((key.to_vec(), value.to_vec()));
        match seen.len() {
            count if count == first + 1 => Step::SeekTo(jump.to_vec()),
            count if count == first + 1 + second => Step::Stop,
            _ => Step::Continue,
        }
    });
    let pair = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
    let mut expected: Vec<_> = model.range(start.to_vec()..).take(first + 1).map(pair).collect();
    if expected.len() == first + 1 {
        let here = expected[first].0.clone();
        let take = if second == 0 { usize::MAX } else { second };
        expected.extend(model.range(jump.to_vec()..).filter(|(key, _)| **key > here).take(take).map(pair));
    }
    assert_eq!(seen, expected);
}

fn apply(index: &mut OrderedIndex, model: &mut Model, op: Op) {
    let nth = |model: &Model, nth: prop::sample::Index| {
        (!model.is_empty()).then(|| model.keys().nth(nth.index(model.len())).unwrap().clone())
    };
    match op {
        Op::Insert(key, value) => {
            assert_eq!(index.insert(&key, &value).map(Vec::from), model.insert(key, value));
        }
        Op::Remove(at) => {
            let Some(key) = nth(model, at) else { return };
            assert_eq!(index.remove(&key).map(Vec::from), model.remove(&key));
        }
        Op::RemoveAbsent(key) => {
            assert_eq!(index.remove(&key).map(Vec::from), model.remove(&key));
        }
        Op::Get(key) => {
            assert_eq!(index.get(&key), model.get(&key).map(Vec::as_slice));
            let longer = model.range(key.clone()..).find(|(other, _)| **other != key);
            let longer = longer.filter(|(other, _)| other.starts_with(&key) && !model.contains_key(&key));
            let longer = longer.map(|(other, value)| (&other[key.len()..], value.as_slice()));
            assert!(model.contains_key(&key) || index.first_with(&key) == longer);
        }
        Op::Replace(at, value) => {
            let Some(key) = nth(model, at) else { return };
            assert_eq!(index.insert(&key, &value).map(Vec::from), model.insert(key, value));
        }
        Op::Visit(start, first, jump, second) => check_visit(index, model, &start, first, &jump, second),
    }
}

pub(super) fn contents(index: &OrderedIndex) -> Model {
    let mut contents = Model::new();
    let mut count = 0;
    index.visit(&[], &mut |key, value| {
        count += 1;
        contents.insert(key.to_vec(), value.to_vec());
        Step::Continue
    });
    assert_eq!(count, index.len());
    contents
}

proptest! {
    #[test]
    fn equals_a_btree_map(ops in proptest::collection::vec(op(), 0..400)) {
        let (mut index, mut model) = (OrderedIndex::new(), Model::new());
        for op in ops {
            apply(&mut index, &mut model, op);
            prop_assert_eq!(index.len(), model.len() as u64);
        }
        index.assert_sound();
        prop_assert_eq!(contents(&index), model);
    }
}

/// Returns numbers in a fixed order without a pattern.
fn scattered(count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(move |number| number.wrapping_mul(7_919) % count)
}

fn numbered(number: u64) -> Vec<u8> {
    format!("bucket/{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).into_bytes()
}

/// There are enough leaves for several chunks, so that chunks split and join in each order of
/// inserting and removing.
#[test]
fn large_indexes_stay_sound_in_every_order() {
    const COUNT: u64 = 30_011;
    let orders: [fn(u64) -> Vec<u64>; 3] = [
        |count| (0..count).collect(),
        |count| (0..count).rev().collect(),
        |count| scattered(count).collect(),
    ];
    for insert_order in orders {
        let mut index = OrderedIndex::new();
        for number in insert_order(COUNT) {
            assert_eq!(index.insert(format!("{number:040}").as_bytes(), &[7; 45]), None);
        }
        index.assert_sound();
        assert!(index.memory_bytes() < 100 * COUNT as usize, "{} bytes", index.memory_bytes());
        let keep = |number: u64| number.is_multiple_of(1_000);
        for number in insert_order(COUNT).into_iter().rev().filter(|number| !keep(*number)) {
            assert!(index.remove(format!("{number:040}").as_bytes()).is_some());
        }
        index.assert_sound();
        assert_eq!(index.len(), COUNT.div_ceil(1_000));
        assert!(index.memory_bytes() < 12_000, "{} bytes for {} entries", index.memory_bytes(), index.len());
        for number in (0..COUNT).filter(|number| keep(*number)) {
            assert_eq!(index.get(format!("{number:040}").as_bytes()), Some(&[7; 45][..]));
        }
    }
}

/// A seek over many entries must not walk them: the visitor sees one entry for each jump.
#[test]
fn seeking_skips_without_visiting() {
    let mut index = OrderedIndex::new();
    for number in 0..20_000u64 {
        index.insert(&numbered(number), b"value");
    }
    let mut seen = 0;
    index.visit(b"", &mut |key, _| {
        seen += 1;
        let mut next = key[.."bucket/0".len()].to_vec();
        *next.last_mut().unwrap() += 1;
        Step::SeekTo(next)
    });
    assert_eq!(seen, 16);
}

#[test]
fn an_empty_index_answers() {
    let mut index = OrderedIndex::new();
    assert_eq!(index.remove(b"x"), None);
    assert_eq!((index.get(b""), index.len()), (None, 0));
    assert!(index.leaf_after(None).is_none() && index.leaf_after(Some(b"x")).is_none());
    index.visit(b"", &mut |_, _| panic!("there is nothing to visit"));
    index.insert(b"", b"");
    assert_eq!(index.remove(b"").as_deref(), Some(&[][..]));
    index.assert_sound();
    assert!(index.leaf_after(None).is_none());
}
