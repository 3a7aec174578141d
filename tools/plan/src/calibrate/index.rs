//! This module measures the memory of the index per object on the engine's own structures.

use crate::sizes::shared_bytes;
use ringbolt_engine::index::{OrderedIndex, PointTable, keys, leaf};
use ringbolt_engine::node::sizing::{self, ObjectShape};

/// There are enough objects for even growth of memory, and few enough for a second.
const OBJECTS: u64 = 400_000;
/// This is the number of bytes of a key that differ from the previous key: short and long.
const RANDOM_BYTES: [usize; 2] = [12, 44];

/// Holds the measured costs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct IndexCost {
    /// This is the memory for an object with an empty key.
    pub bytes_per_object: f64,
    /// This is the memory for each byte of a key that the previous key does not share.
    pub bytes_per_key_byte: f64,
    /// This is the share of the memory that a checkpoint writes.
    pub checkpoint_share: f64,
}

/// Builds the index of `OBJECTS` objects twice, with short keys and with long ones, in random
/// order.
pub fn measure(seed: u64) -> IndexCost {
    let [short, long] = RANDOM_BYTES.map(|bytes| build(bytes, seed));
    let bytes_per_key_byte = (long.bytes - short.bytes) / (long.own_key_bytes - short.own_key_bytes);
    IndexCost {
        bytes_per_object: short.bytes - bytes_per_key_byte * short.own_key_bytes,
        bytes_per_key_byte,
        checkpoint_share: (short.leaf_bytes / short.bytes + long.leaf_bytes / long.bytes) / 2.0,
    }
}

/// Holds the figures of a built index per object.
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

/// Returns the mean length of the part of a key that it does not share with the previous one.
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
        // The memory is at least entry and value, and at most twice that.
        assert!(cost.bytes_per_object > 50.0 && cost.bytes_per_object < 150.0, "{cost:?}");
        assert!(cost.checkpoint_share > 0.3 && cost.checkpoint_share < 1.0, "{cost:?}");
    }
}
