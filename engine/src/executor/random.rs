//! The source of every choice in a simulation.

use std::cell::Cell;

/// A random generator: SplitMix64 (Steele, Lea, Flood, 2014). It is small, takes any seed, and is
/// good enough to make choices.
pub struct Random(Cell<u64>);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(Cell::new(seed))
    }

    pub fn next_u64(&self) -> u64 {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// Returns a uniform number from 0 to `limit - 1`.
    pub fn below(&self, limit: u64) -> u64 {
        assert!(limit > 0, "nothing is below 0");
        ((u128::from(self.next_u64()) * u128::from(limit)) >> 64) as u64
    }

    /// Returns true once in `times` calls on average.
    pub fn one_in(&self, times: u64) -> bool {
        self.below(times) == 0
    }
}
