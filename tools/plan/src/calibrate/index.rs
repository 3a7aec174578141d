//! Memory of the index for an object: measured on the engine's own structures.

use crate::sizes::shared_bytes;
use ringbolt_engine::index::{OrderedIndex, PointTable, keys, leaf};
use ringbolt_engine::node::sizing::{self, ObjectShape};

/// Enough that memory grows evenly, few enough for a second.
const OBJECTS: u64 = 400_000;
/// Bytes of a key that differ from the key before it: short and long.
const RANDOM_BYTES: [usize; 2] = [12, 44];

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IndexCost {
    /// With an empty key.
    pub bytes_per_object: f64,
    /// For each byte of a key that the key before it does not have.
    pub bytes_per_key_byte: f64,
    /// Of the memory: what a checkpoint writes.
    pub checkpoint_share: f64,
}

/// Builds the index of so many objects twice, with short keys and with long ones, in random order.
pub fn measure(seed: u64) -> IndexCost {
    let [short, long] = RANDOM_BYTES.map(|bytes| build(bytes, seed));
    let bytes_per_key_byte = (long.bytes - short.bytes) / (long.own_key_bytes - short.own_key_bytes);
    IndexCost {
        bytes_per_object: short.bytes - bytes_per_key_byte * short.own_key_bytes,
        bytes_per_key_byte,
        checkpoint_share: (short.leaf_bytes / short.bytes + long.leaf_bytes / long.bytes) / 2.0,
    }
}

/// By object.
struct Built {
    bytes: f64,
    leaf_bytes: f64,
    own_key_bytes: f64,
}

fn build(random_bytes: usize, seed: u64) -> Built {
    let shape = ObjectShape { key_bytes: 0, attribute_bytes: 0, body_bytes: 4096, part_bytes: None };
    let value_bytes = sizing::object(&shape).index_value_bytes as usize;
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut index, mut points) = (OrderedIndex::new(), PointTable::new());
    let mut value = vec![0; value_bytes];
    for _ in 0..OBJECTS {
        let digits = (0..random_bytes).map(|_| char::from(b'a' + random.u8(..16)));
        let key: String = "data/".chars().chain(digits).collect();
        random.fill(&mut value);
        if index.insert(&keys::encode(1, key.as_bytes()), &value).is_none() {
            points.insert(random.u64(..), random.u64(..));
        }
    }
    let objects = index.len() as f64;
    let (mut leaf_bytes, mut after) = (0, None::<Vec<u8>>);
    while let Some(found) = index.leaf_after(after.as_deref()) {
        leaf_bytes += found.len();
        after = Some(leaf::last_key(&found));
    }
    Built {
        bytes: (index.memory_bytes() + points.memory_bytes()) as f64 / objects,
        leaf_bytes: leaf_bytes as f64 / objects,
        own_key_bytes: own_key_bytes(&index),
    }
}

/// Mean length of what a key does not share with the one before it.
fn own_key_bytes(index: &OrderedIndex) -> f64 {
    let (mut sum, mut before) = (0, Vec::new());
    index.visit(&[], &mut |key, _| {
        sum += key.len() - shared_bytes(key, &before);
        before = key.to_vec();
        ringbolt_engine::index::Step::Continue
    });
    sum as f64 / index.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn longer_keys_take_their_length_and_the_leaves_slack() {
        let cost = measure(1);
        assert!(cost.bytes_per_key_byte >= 1.0 && cost.bytes_per_key_byte < 2.0, "{cost:?}");
        // Entry and value at least; twice that at most.
        assert!(cost.bytes_per_object > 50.0 && cost.bytes_per_object < 150.0, "{cost:?}");
        assert!(cost.checkpoint_share > 0.3 && cost.checkpoint_share < 1.0, "{cost:?}");
    }
}
