//! This module computes a random order of 0..n without memory for it: each number occurs once, and
//! the order follows from a seed.
//!
//! Invariant: [`Permutation::at`] is a bijection of 0..n.
//!
//! It is a Feistel network over the smallest even number of bits that holds n, with cycle walking
//! for larger values: M. Luby, C. Rackoff, "How to Construct Pseudorandom Permutations", 1988; J.
//! Black, P. Rogaway, "Ciphers with Arbitrary Finite Domains", CT-RSA 2002.

use ringbolt_tool_common::random::mix;

const ROUNDS: usize = 4;

/// This is a random order of 0..n.
#[derive(Clone, Debug)]
pub struct Permutation {
    count: u64,
    half_bits: u32,
    keys: [u64; ROUNDS],
}

impl Permutation {
    /// Creates an order of 0..`count`; `count` is at most 2^62.
    pub fn new(count: u64, seed: u64) -> Self {
        assert!((1..=1 << 62).contains(&count), "an order of {count}, allowed are 1 to 2^62");
        let bits = u64::BITS - (count - 1).leading_zeros();
        let half_bits = bits.div_ceil(2).max(1);
        let keys = std::array::from_fn(|round| mix(seed.wrapping_add(mix(round as u64 + 1))));
        Self { count, half_bits, keys }
    }

    /// Returns the number at `place` of the order.
    #[inline]
    pub fn at(&self, place: u64) -> u64 {
        debug_assert!(place < self.count, "place {place} of {}", self.count);
        let mut value = self.encrypt(place);
        // The network's domain is less than four times as large, so this takes at most four steps
        // on average.
        while value >= self.count {
            value = self.encrypt(value);
        }
        value
    }

    #[inline]
    fn encrypt(&self, value: u64) -> u64 {
        let mask = (1u64 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for key in self.keys {
            let next = left ^ (mix(right ^ key) & mask);
            (left, right) = (right, next);
        }
        (left << self.half_bits) | right
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_comes_once() {
        for count in [1, 2, 3, 5, 64, 1000, 4097] {
            let order = Permutation::new(count, 7);
            let mut seen = vec![false; count as usize];
            for place in 0..count {
                let was = std::mem::replace(&mut seen[order.at(place) as usize], true);
                assert!(!was, "{} of {count} twice", order.at(place));
            }
            assert!(seen.into_iter().all(|was| was));
        }
    }

    #[test]
    fn orders_of_different_seeds_differ_and_do_not_run_in_sequence() {
        let (one, other) = (Permutation::new(10_000, 1), Permutation::new(10_000, 2));
        let same = (0..10_000).filter(|place| one.at(*place) == other.at(*place)).count();
        assert!(same < 20, "{same} places agree, about 1 is expected");
        let neighbours = (1..10_000).filter(|place| one.at(*place) == one.at(place - 1) + 1).count();
        assert!(neighbours < 20, "{neighbours} neighbours, about 1 is expected");
    }
}
