//! This module chooses the length of the next operation.
//!
//! Invariant: every length is a multiple of [`Sizes::unit`] and at most [`Sizes::most`].

use crate::spec::BlockSize;
use ringbolt_tool_common::random::Random;

/// Chooses the lengths of one direction.
#[derive(Clone, Debug)]
pub struct Sizes {
    block: BlockSize,
    unit: u64,
    most: u64,
}

impl Sizes {
    pub fn new(block: &BlockSize) -> Self {
        let (unit, most) = match block {
            BlockSize::Fixed(bytes) => (*bytes, *bytes),
            BlockSize::Range { least, most } => (*least, most / least * least),
            BlockSize::Split(parts) => {
                let unit = parts.iter().fold(0, |unit, (bytes, _)| greatest_common_divisor(unit, *bytes));
                (unit, parts.iter().map(|(bytes, _)| *bytes).max().unwrap_or(0))
            }
        };
        assert!(unit > 0 && most >= unit, "a block size without bytes: {block:?}");
        Self { block: block.clone(), unit, most }
    }

    /// Returns the unit in bytes; every length is a multiple of it.
    pub fn unit(&self) -> u64 {
        self.unit
    }

    /// Returns the largest length in bytes.
    pub fn most(&self) -> u64 {
        self.most
    }

    /// Returns the only size, if there is only one.
    pub fn fixed(&self) -> Option<u64> {
        (self.unit == self.most).then_some(self.unit)
    }

    /// Draws the next length in bytes.
    #[inline]
    pub fn next(&self, random: &mut Random) -> u64 {
        match &self.block {
            BlockSize::Fixed(bytes) => *bytes,
            BlockSize::Range { .. } => self.unit * (1 + random.below(self.most / self.unit)),
            BlockSize::Split(parts) => {
                let mut draw = random.below(parts.iter().map(|(_, percent)| u64::from(*percent)).sum());
                for (bytes, percent) in parts {
                    if draw < u64::from(*percent) {
                        return *bytes;
                    }
                    draw -= u64::from(*percent);
                }
                self.most
            }
        }
    }
}

pub fn greatest_common_divisor(left: u64, right: u64) -> u64 {
    if right == 0 { left } else { greatest_common_divisor(right, left % right) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_split_has_its_shares() {
        let sizes = Sizes::new(&BlockSize::Split(vec![(4096, 60), (65_536, 40)]));
        let mut random = Random::new(4);
        let small = (0..100_000).filter(|_| sizes.next(&mut random) == 4096).count();
        assert!((59_000..61_000).contains(&small), "{small}");
        assert_eq!((sizes.unit(), sizes.most(), sizes.fixed()), (4096, 65_536, None));
    }

    #[test]
    fn a_range_is_even_over_its_multiples() {
        let sizes = Sizes::new(&BlockSize::Range { least: 1024, most: 4096 });
        let mut random = Random::new(4);
        let mut counts = [0; 4];
        for _ in 0..100_000 {
            counts[(sizes.next(&mut random) / 1024) as usize - 1] += 1;
        }
        assert!(counts.iter().all(|count| (24_000..26_000).contains(count)), "{counts:?}");
    }
}
