//! This module measures the memory of the index per object on the engine's own structures.

use crate::sizes::shared_bytes;
use ringbolt_engine::node::sizing::{self, ObjectShape, Shape};

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
    let value_bytes = sizing::object(Shape::PLAIN, &shape).index_value_bytes as usize;
    let mut random = fastrand::Rng::with_seed(seed);
    let entries = (0..OBJECTS).map(|_| {
        let digits = (0..random_bytes).map(|_| char::from(b'a' + random.u8(..16)));
        let key: String = "data/".chars().chain(digits).collect();
        let mut value = vec![0; value_bytes];
        random.fill(&mut value);
        (key.into_bytes(), value, random.u64(..))
    });
    let (mut own_key_bytes, mut before) = (0, Vec::new());
    let built = sizing::index(entries, &mut |key| {
        // This is the part of a key that it does not share with the previous one.
        own_key_bytes += key.len() - shared_bytes(key, &before);
        before = key.to_vec();
    });
    let objects = built.objects as f64;
    Built {
        bytes: built.memory_bytes as f64 / objects,
        leaf_bytes: built.leaf_bytes as f64 / objects,
        own_key_bytes: own_key_bytes as f64 / objects,
    }
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
