//! This module generates content and choices from a seed.
//!
//! Invariants: two contents of different seeds differ in every 8-byte word with near certainty, so
//! a block in the wrong place is detected. The same seed gives the same bytes on every machine.

use crate::random::Random;

/// This is the body of one object: `size_bytes` bytes generated from `seed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Content {
    pub seed: u64,
    pub size_bytes: usize,
}

impl Content {
    pub fn new(seed: u64, size_bytes: usize) -> Self {
        Self { seed, size_bytes }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut dice = Dice::new(self.seed);
        let mut bytes = Vec::with_capacity(self.size_bytes + 8);
        while bytes.len() < self.size_bytes {
            bytes.extend_from_slice(&dice.next().to_le_bytes());
        }
        bytes.truncate(self.size_bytes);
        bytes
    }

    /// Returns where `got` first differs from this content; `None` if they are equal.
    pub fn difference(&self, got: &[u8]) -> Option<String> {
        let wanted = self.bytes();
        if wanted == got {
            return None;
        }
        let at = wanted.iter().zip(got).position(|(want, have)| want != have);
        Some(format!("wanted {} bytes, got {}, first difference at {at:?}", wanted.len(), got.len()))
    }
}

/// Draws the choices of a test from [`Random`].
#[derive(Clone, Debug)]
pub struct Dice {
    random: Random,
}

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self { random: Random::new(seed) }
    }

    #[inline]
    #[allow(clippy::should_implement_trait, reason = "it never ends, so an Option would only be in the way")]
    pub fn next(&mut self) -> u64 {
        self.random.next_u64()
    }

    /// Draws evenly from `0..limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// Draws a size at or between the limits at which storage changes: empty, inline, sliced, many
    /// slices.
    pub fn size_bytes(&mut self) -> usize {
        const BORDERS: [usize; 9] =
            [0, 1, 4096, 65_535, 65_536, 65_537, 1 << 20, (4 << 20) + 1, (5 << 20) + 1];
        match self.below(10) {
            0..=3 => BORDERS[self.below(BORDERS.len())],
            4..=6 => self.below(64 << 10),
            7..=8 => self.below(1 << 20),
            _ => self.below((12 << 20) + 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_bytes_and_another_seed_others() {
        let bytes = Content::new(7, 1000).bytes();
        assert_eq!(bytes.len(), 1000);
        assert_eq!(Content::new(7, 1000).difference(&bytes), None);
        assert!(Content::new(8, 1000).difference(&bytes).is_some());
        assert!(Content::new(7, 999).difference(&bytes).is_some());
    }

    #[test]
    fn sizes_stay_within_what_the_tests_announce() {
        let mut dice = Dice::new(1);
        let sizes: Vec<usize> = (0..2000).map(|_| dice.size_bytes()).collect();
        assert!(sizes.iter().all(|&size| size <= 12 << 20));
        assert!(sizes.contains(&0) && sizes.contains(&65_536) && sizes.iter().any(|&size| size > 8 << 20));
    }
}
