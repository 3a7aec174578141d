//! This module is a random map for operations of several lengths: the region is cut into tiles,
//! whose lengths are drawn as the job asks, and each tile is one operation.
//!
//! Invariants:
//! - Every unit is in exactly one tile, so that a pass uses each once. Only the last tile of the
//!   region, and what a budget cuts off, is shorter than drawn.
//! - Tiles of each class come in a random order. A class whose tiles are used up takes those of
//!   others.

use super::choice::Deck;
use super::permutation::Permutation;
use super::sequence::Bitmap;
use super::sizes::Sizes;
use ringbolt_tool_common::random::Random;

/// Holds the lengths that some directions of a job have, and their weight against the others.
#[derive(Clone, Debug)]
pub struct Class {
    pub sizes: Sizes,
    pub weight: u32,
}

#[derive(Clone, Debug)]
struct Tiles {
    sizes: Sizes,
    /// Holds the first units of this class's tiles.
    starts: Bitmap,
    left: u64,
    order: Permutation,
    place: u64,
}

/// This is a region cut into tiles.
#[derive(Clone, Debug)]
pub struct Tiling {
    units: u64,
    unit: u64,
    classes: Vec<Tiles>,
    deck: Deck<usize>,
    /// This is the rest of a tile that was cut short: its first unit and its length in units.
    rest: Option<(u64, u64)>,
}

impl Tiling {
    /// Creates a tiling of `units` units of `unit` bytes each. Every length of a class must be a
    /// multiple of the unit.
    pub fn new(units: u64, unit: u64, classes: &[Class], random: &mut Random) -> Self {
        let weights: Vec<(usize, u32)> = classes.iter().map(|class| class.weight).enumerate().collect();
        let tiles = |class: &Class| Tiles {
            sizes: class.sizes.clone(),
            starts: Bitmap::new(units),
            left: 0,
            order: Permutation::new(units, 0),
            place: 0,
        };
        let classes = classes.iter().map(tiles).collect();
        let mut tiling = Self { units, unit, classes, deck: Deck::new(&weights), rest: None };
        tiling.lay(random);
        tiling
    }

    /// Cuts the region anew.
    fn lay(&mut self, random: &mut Random) {
        for class in &mut self.classes {
            class.starts.clear();
            (class.left, class.place) = (0, 0);
            class.order = Permutation::new(self.units, random.next_u64());
        }
        let mut at = 0;
        while at < self.units {
            let class = &mut self.classes[self.deck.draw(random)];
            class.starts.insert(at);
            class.left += 1;
            at += class.sizes.next(random) / self.unit;
        }
    }

    /// Returns the first unit and the length, in units, of the next operation of `class`; the
    /// length is at most `most`.
    pub fn next(&mut self, class: usize, most: u64, random: &mut Random) -> (u64, u64) {
        let (first, length) = match self.rest.take() {
            Some(rest) => rest,
            None => {
                let first = self.next_tile(class, random);
                let behind = self.classes.iter().filter_map(|class| class.starts.next_behind(first));
                (first, behind.min().unwrap_or(self.units) - first)
            }
        };
        if length > most {
            self.rest = Some((first + most, length - most));
        }
        (first, length.min(most))
    }

    fn next_tile(&mut self, class: usize, random: &mut Random) -> u64 {
        if self.classes.iter().all(|class| class.left == 0) {
            self.lay(random);
        }
        let own = self.classes[class].left > 0;
        let most_left = (0..self.classes.len()).max_by_key(|class| self.classes[*class].left);
        let tiles = &mut self.classes[if own { class } else { most_left.unwrap_or(class) }];
        loop {
            let unit = tiles.order.at(tiles.place);
            tiles.place += 1;
            if tiles.starts.contains(unit) {
                tiles.left -= 1;
                return unit;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::BlockSize;

    const UNITS: u64 = 100_000;

    fn class(block: BlockSize, weight: u32) -> Class {
        Class { sizes: Sizes::new(&block), weight }
    }

    /// Runs a pass of operations of classes 0 and 1 in turn. Returns how often each unit was used,
    /// and each operation's class and length.
    fn pass(tiling: &mut Tiling, random: &mut Random, classes: usize) -> (Vec<u32>, Vec<(usize, u64)>) {
        let (mut seen, mut lengths, mut used) = (vec![0; UNITS as usize], Vec::new(), 0);
        for turn in 0.. {
            if used == UNITS {
                break;
            }
            let (first, length) = tiling.next(turn % classes, u64::MAX, random);
            (first..first + length).for_each(|unit| seen[unit as usize] += 1);
            lengths.push((turn % classes, length));
            used += length;
        }
        (seen, lengths)
    }

    #[test]
    fn each_unit_comes_once_in_a_pass_and_lengths_are_as_asked_for() {
        let mut random = Random::new(5);
        let split = class(BlockSize::Split(vec![(4096, 60), (65_536, 40)]), 1);
        let mut tiling = Tiling::new(UNITS, 4096, &[split], &mut random);
        for _ in 0..2 {
            let (seen, lengths) = pass(&mut tiling, &mut random, 1);
            assert!(seen.iter().all(|count| *count == 1));
            let mean = UNITS as f64 / lengths.len() as f64;
            assert!(
                (6.7..7.3).contains(&mean),
                "{mean} units in the mean, 0.6 x 1 + 0.4 x 16 were asked for"
            );
            let other = lengths.iter().filter(|(_, length)| ![1, 16].contains(length)).count();
            assert!(other <= 1, "{other} operations are neither short nor long");
        }
    }

    #[test]
    fn directions_have_their_own_lengths() {
        let mut random = Random::new(6);
        let classes = [class(BlockSize::Fixed(4096), 50), class(BlockSize::Fixed(8192), 50)];
        let mut tiling = Tiling::new(UNITS, 4096, &classes, &mut random);
        let (seen, lengths) = pass(&mut tiling, &mut random, 2);
        assert!(seen.iter().all(|count| *count == 1));
        let strange = lengths.iter().filter(|(class, length)| *length != *class as u64 + 1).count();
        assert!(strange <= 2, "{strange} of {} have another length than their direction's", lengths.len());
    }

    #[test]
    fn what_a_budget_cuts_off_comes_next() {
        let mut random = Random::new(7);
        let mut tiling = Tiling::new(UNITS, 4096, &[class(BlockSize::Fixed(65_536), 1)], &mut random);
        let (first, length) = tiling.next(0, 5, &mut random);
        assert_eq!((length, tiling.next(0, u64::MAX, &mut random)), (5, (first + 5, 11)));
    }
}
