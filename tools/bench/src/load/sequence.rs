//! This module chooses the place of the next operation in one file.
//!
//! Invariants:
//! - `start <= offset` and `offset + length <= end` of the region.
//! - With a random map every unit of the region is used once in a pass; the next pass has another
//!   order.

use super::distribution::Picker;
use super::permutation::Permutation;
use super::tiling::{Class, Tiling};
use crate::spec::{ByDirection, Direction, Distribution};
use ringbolt_tool_common::random::Random;

/// At most this many units are tracked one by one, which takes 1 GiB of memory for a map.
pub const MAP_UNITS_MAX: u64 = 1 << 33;

/// This is the part of a file that a job works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    pub start: u64,
    pub length: u64,
}

/// This is the place of one operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    pub offset: u64,
    pub length: u64,
}

#[derive(Clone, Debug)]
enum Order {
    Sequential,
    /// Uses each unit once, by operations of one unit.
    Once {
        order: Permutation,
        place: u64,
    },
    /// Uses each unit once, by operations of several units. The second value is the class of each
    /// direction.
    Tiles(Box<Tiling>, ByDirection<usize>),
    /// Places operations by distribution. The second value is the percentage of operations at a
    /// random place, for each direction; the others follow the last one.
    Free(Box<ByDirection<Picker>>, ByDirection<u32>),
}

/// Chooses the places of operations in one region.
#[derive(Clone, Debug)]
pub struct Sequence {
    region: Region,
    unit: u64,
    order: Order,
    /// This is the end of the last operation, within the region, where the next sequential one
    /// goes.
    position: ByDirection<u64>,
}

impl Sequence {
    /// Places operations in order, from the beginning and round again.
    pub fn sequential(region: Region, unit: u64) -> Self {
        Self::new(region, unit, Order::Sequential)
    }

    /// Places operations at random and uses each unit once. All operations have the length of the
    /// unit.
    pub fn covering(region: Region, unit: u64, random: &mut Random) -> Self {
        let order = Permutation::new(region.length / unit, random.next_u64());
        Self::new(region, unit, Order::Once { order, place: 0 })
    }

    /// Places operations at random and uses each unit once. Operations have the lengths of their
    /// direction's class.
    pub fn tiled(
        region: Region,
        unit: u64,
        (classes, of): (&[Class], ByDirection<usize>),
        random: &mut Random,
    ) -> Self {
        let tiling = Tiling::new(region.length / unit, unit, classes, random);
        Self::new(region, unit, Order::Tiles(Box::new(tiling), of))
    }

    /// Places `random_percent` of the operations by distribution; the others follow the one before.
    pub fn random(
        region: Region,
        unit: u64,
        distributions: &ByDirection<Distribution>,
        random_percent: ByDirection<u32>,
        random: &mut Random,
    ) -> Self {
        // The same blocks are hot for reads and for writes.
        let seed = random.next_u64();
        let picker = |direction| Picker::new(distributions.get(direction), region.length / unit, seed);
        let pickers = ByDirection {
            read: picker(Direction::Read),
            write: picker(Direction::Write),
            trim: picker(Direction::Trim),
        };
        Self::new(region, unit, Order::Free(Box::new(pickers), random_percent))
    }

    fn new(region: Region, unit: u64, order: Order) -> Self {
        assert!(region.length >= unit, "a region of {} bytes for units of {unit}", region.length);
        Self { region, unit, order, position: ByDirection::default() }
    }

    /// Begins a new pass.
    pub fn restart(&mut self) {
        self.position = ByDirection::default();
    }

    /// Returns the place of the next operation. `length` is the wanted length, a multiple of the
    /// unit, and `most` is the limit. A random map for several lengths chooses lengths of its own.
    #[inline]
    pub fn next(&mut self, direction: Direction, length: u64, most: u64, random: &mut Random) -> Extent {
        let units = self.region.length / self.unit;
        let length = length.min(most).min(units * self.unit);
        let (at, length) = match &mut self.order {
            Order::Sequential => {
                (follow(self.position.get_mut(direction), length, self.region.length), length)
            }
            Order::Once { order, place } => {
                if *place == units {
                    *order = Permutation::new(units, random.next_u64());
                    *place = 0;
                }
                *place += 1;
                (order.at(*place - 1) * self.unit, length)
            }
            Order::Tiles(tiling, of) => {
                let (first, taken) = tiling.next(*of.get(direction), most / self.unit, random);
                (first * self.unit, taken * self.unit)
            }
            Order::Free(pickers, random_percent) => {
                let percent = *random_percent.get(direction);
                let position = self.position.get_mut(direction);
                if percent < 100 && random.below(100) >= u64::from(percent) {
                    (follow(position, length, self.region.length), length)
                } else {
                    let picked = pickers.get(direction).next(random) * self.unit;
                    let at = picked.min(units * self.unit - length);
                    *position = at + length;
                    (at, length)
                }
            }
        };
        debug_assert!(at + length <= self.region.length, "{at} + {length} of {}", self.region.length);
        Extent { offset: self.region.start + at, length }
    }
}

/// Returns the end of the last operation, or the beginning of the region if `length` bytes do not
/// fit there.
#[inline]
fn follow(position: &mut u64, length: u64, region_bytes: u64) -> u64 {
    if *position + length > region_bytes {
        *position = 0;
    }
    let at = *position;
    *position += length;
    at
}

/// Holds a set of units.
#[derive(Clone, Debug)]
pub struct Bitmap {
    words: Vec<u64>,
}

impl Bitmap {
    pub fn new(count: u64) -> Self {
        Self { words: vec![0; count.div_ceil(64) as usize] }
    }

    pub fn clear(&mut self) {
        self.words.fill(0);
    }

    #[inline]
    pub fn contains(&self, unit: u64) -> bool {
        self.words[(unit / 64) as usize] >> (unit % 64) & 1 == 1
    }

    pub fn insert(&mut self, unit: u64) {
        self.words[(unit / 64) as usize] |= 1 << (unit % 64);
    }

    /// Returns the first unit of the set that is greater than `unit`.
    #[inline]
    pub fn next_behind(&self, unit: u64) -> Option<u64> {
        let from = unit + 1;
        let mut at = (from / 64) as usize;
        let mut word = self.words.get(at)? & (u64::MAX << (from % 64));
        while word == 0 {
            at += 1;
            word = *self.words.get(at)?;
        }
        Some(at as u64 * 64 + u64::from(word.trailing_zeros()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REGION: Region = Region { start: 8192, length: 1_000 * 4096 + 100 };

    fn check(extent: Extent) {
        assert!(
            extent.offset >= REGION.start && extent.offset + extent.length <= REGION.start + REGION.length
        );
    }

    #[test]
    fn a_random_map_covers_each_block_once_in_each_pass() {
        let mut random = Random::new(1);
        let mut sequence = Sequence::covering(REGION, 4096, &mut random);
        let mut orders = Vec::new();
        for _ in 0..2 {
            let mut seen = vec![0; 1000];
            let mut order = Vec::new();
            for _ in 0..1000 {
                let extent = sequence.next(Direction::Read, 4096, u64::MAX, &mut random);
                check(extent);
                seen[((extent.offset - REGION.start) / 4096) as usize] += 1;
                order.push(extent.offset);
            }
            assert!(seen.iter().all(|count| *count == 1));
            orders.push(order);
        }
        assert_ne!(orders[0], orders[1]);
    }

    #[test]
    fn a_set_knows_what_comes_next() {
        let mut set = Bitmap::new(1000);
        [0, 63, 64, 700].into_iter().for_each(|unit| set.insert(unit));
        let next: Vec<_> = [0, 62, 63, 64, 699, 700, 999].map(|unit| set.next_behind(unit)).into();
        assert_eq!(next, [Some(63), Some(63), Some(64), Some(700), Some(700), None, None]);
    }

    #[test]
    fn sequential_wraps_before_the_end_and_directions_have_their_own_places() {
        let mut random = Random::new(3);
        let mut sequence = Sequence::sequential(Region { start: 0, length: 10_000 }, 4096);
        let offsets: Vec<u64> =
            (0..3).map(|_| sequence.next(Direction::Read, 4096, u64::MAX, &mut random).offset).collect();
        assert_eq!(offsets, [0, 4096, 0]);
        assert_eq!(sequence.next(Direction::Write, 4096, u64::MAX, &mut random).offset, 0);
    }

    #[test]
    fn a_share_of_a_random_load_follows_the_operation_before() {
        let mut random = Random::new(5);
        let even = ByDirection::same(Distribution::Even);
        for percent in [0, 30, 100] {
            let mut sequence = Sequence::random(REGION, 4096, &even, ByDirection::same(percent), &mut random);
            let extents: Vec<Extent> =
                (0..10_000).map(|_| sequence.next(Direction::Read, 4096, u64::MAX, &mut random)).collect();
            let follow =
                extents.windows(2).filter(|two| two[1].offset == two[0].offset + two[0].length).count();
            let wanted = (100 - percent as usize) * 100;
            assert!(follow.abs_diff(wanted) < 200, "{follow} of 10000 follow, {percent}% are random");
        }
    }

    #[test]
    fn no_distribution_goes_beyond_the_region() {
        let mut random = Random::new(4);
        for distribution in [
            Distribution::Even,
            Distribution::Zipf(1.1),
            Distribution::Pareto(0.3),
            Distribution::Normal(80.0),
        ] {
            let distributions = ByDirection::same(distribution);
            let mut sequence =
                Sequence::random(REGION, 4096, &distributions, ByDirection::same(60), &mut random);
            for _ in 0..20_000 {
                let wanted = 4096 * (1 + random.below(16));
                check(sequence.next(Direction::Read, wanted, u64::MAX, &mut random));
            }
        }
    }
}
