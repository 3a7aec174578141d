//! A shard's data extents: full slices in slots, tails in units.
//!
//! Invariants:
//! - An extent holds slots or tails, never both: full slices never find holes of odd sizes.
//! - Slices never move. `used` plus free units of an owned extent is always its size.

use std::collections::{BTreeMap, BTreeSet};

use crate::format::record::RunV1;
use crate::format::slice::UNITS_PER_SLOT;

/// Bookkeeping of one shard.
pub struct SliceSpace {
    slots_per_extent: u32,
    units_per_extent: u32,
    full: BTreeMap<u32, u32>,
    /// Extents of `full` with a free slot.
    open_full: BTreeSet<u32>,
    tails: BTreeMap<u32, TailExtent>,
    used_units: u64,
}

struct TailExtent {
    /// One bit per unit, set when used.
    bits: Vec<u64>,
    used: u32,
    /// No free run is longer than this.
    longest_free: u32,
}

impl SliceSpace {
    pub fn new(units_per_extent: u32) -> Self {
        let slots_per_extent = units_per_extent / UNITS_PER_SLOT;
        assert!((1..=32).contains(&slots_per_extent), "an extent holds 1 to 32 full slices");
        Self {
            slots_per_extent,
            units_per_extent,
            full: BTreeMap::new(),
            open_full: BTreeSet::new(),
            tails: BTreeMap::new(),
            used_units: 0,
        }
    }

    /// Extents owned for data.
    pub fn extents(&self) -> impl Iterator<Item = u32> + '_ {
        self.full.keys().chain(self.tails.keys()).copied()
    }

    pub fn extent_count(&self) -> usize {
        self.full.len() + self.tails.len()
    }

    pub fn used_units(&self) -> u64 {
        self.used_units
    }

    /// Up to `want` full slices in a row.
    pub fn allocate_full(&mut self, want: u32) -> Option<RunV1> {
        let extent = *self.open_full.first()?;
        let used = self.full.get_mut(&extent)?;
        let first = (!*used).trailing_zeros();
        let limit = (first + want).min(self.slots_per_extent);
        let mut last = first;
        while last < limit && *used & (1 << last) == 0 {
            *used |= 1 << last;
            last += 1;
        }
        if used.count_ones() == self.slots_per_extent {
            self.open_full.remove(&extent);
        }
        self.used_units += u64::from((last - first) * UNITS_PER_SLOT);
        Some(RunV1 { extent, unit: first * UNITS_PER_SLOT, slices: last - first })
    }

    /// A tail of `units`.
    pub fn allocate_tail(&mut self, units: u32) -> Option<RunV1> {
        for (&extent, tail) in &mut self.tails {
            if tail.longest_free < units {
                continue;
            }
            if let Some(unit) = tail.find(units, self.units_per_extent) {
                tail.mark(unit, units, true);
                self.used_units += u64::from(units);
                return Some(RunV1 { extent, unit, slices: 0 });
            }
            tail.longest_free = units - 1;
        }
        None
    }

    /// A new extent for full slices, or for tails.
    pub fn add(&mut self, extent: u32, for_tails: bool) {
        assert!(
            !self.full.contains_key(&extent) && !self.tails.contains_key(&extent),
            "extent {extent} is owned"
        );
        if for_tails {
            self.tails.insert(extent, TailExtent::new(self.units_per_extent));
        } else {
            self.full.insert(extent, 0);
            self.open_full.insert(extent);
        }
    }

    /// Recovery: a run that the index names. False when it overlaps another or does not fit: damage.
    #[must_use]
    pub fn claim(&mut self, run: &RunV1, units: u32) -> bool {
        if run.unit + units > self.units_per_extent {
            return false;
        }
        if run.slices == 0 {
            if self.full.contains_key(&run.extent) {
                return false;
            }
            let size = self.units_per_extent;
            let tail = self.tails.entry(run.extent).or_insert_with(|| TailExtent::new(size));
            if tail.any_used(run.unit, units) {
                return false;
            }
            tail.mark(run.unit, units, true);
        } else {
            if self.tails.contains_key(&run.extent) || !run.unit.is_multiple_of(UNITS_PER_SLOT) {
                return false;
            }
            let mask = slot_mask(run);
            let used = self.full.entry(run.extent).or_insert(0);
            if *used & mask != 0 {
                return false;
            }
            *used |= mask;
            if used.count_ones() < self.slots_per_extent {
                self.open_full.insert(run.extent);
            } else {
                self.open_full.remove(&run.extent);
            }
        }
        self.used_units += u64::from(units);
        true
    }

    /// Frees a run. Returns its extent when that is empty now: it leaves this shard.
    pub fn free(&mut self, run: &RunV1, units: u32) -> Option<u32> {
        self.used_units -= u64::from(units);
        if run.slices == 0 {
            let tail =
                self.tails.get_mut(&run.extent).unwrap_or_else(|| panic!("{run:?} is in no tail extent"));
            assert!(tail.all_used(run.unit, units), "{run:?} is not allocated");
            tail.mark(run.unit, units, false);
            if tail.used > 0 {
                return None;
            }
            self.tails.remove(&run.extent);
        } else {
            let used =
                self.full.get_mut(&run.extent).unwrap_or_else(|| panic!("{run:?} is in no full extent"));
            let mask = slot_mask(run);
            assert_eq!(*used & mask, mask, "{run:?} is not allocated");
            *used &= !mask;
            if *used > 0 {
                self.open_full.insert(run.extent);
                return None;
            }
            self.full.remove(&run.extent);
            self.open_full.remove(&run.extent);
        }
        Some(run.extent)
    }
}

fn slot_mask(run: &RunV1) -> u32 {
    let ones = if run.slices >= 32 { u32::MAX } else { (1 << run.slices) - 1 };
    ones << (run.unit / UNITS_PER_SLOT)
}

impl TailExtent {
    fn new(units: u32) -> Self {
        Self { bits: vec![0; units.div_ceil(64) as usize], used: 0, longest_free: units }
    }

    fn is_used(&self, unit: u32) -> bool {
        self.bits[unit as usize / 64] & (1 << (unit % 64)) != 0
    }

    fn any_used(&self, unit: u32, units: u32) -> bool {
        (unit..unit + units).any(|at| self.is_used(at))
    }

    fn all_used(&self, unit: u32, units: u32) -> bool {
        (unit..unit + units).all(|at| self.is_used(at))
    }

    fn mark(&mut self, unit: u32, units: u32, used: bool) {
        for at in unit..unit + units {
            let bit = 1 << (at % 64);
            match used {
                true => self.bits[at as usize / 64] |= bit,
                false => self.bits[at as usize / 64] &= !bit,
            }
        }
        if used {
            self.used += units;
        } else {
            self.used -= units;
            self.longest_free = u32::MAX;
        }
    }

    /// First fit.
    fn find(&self, units: u32, size: u32) -> Option<u32> {
        let (mut start, mut at) = (0, 0);
        while at < size {
            let word = self.bits[at as usize / 64];
            if at % 64 == 0 && word == u64::MAX {
                at += 64;
                start = at;
                continue;
            }
            at += 1;
            if word & (1 << ((at - 1) % 64)) != 0 {
                start = at;
            } else if at - start == units {
                return Some(start);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn full_slices_come_in_runs_and_empty_extents_leave() {
        let mut space = SliceSpace::new(4 * UNITS_PER_SLOT);
        assert_eq!(space.allocate_full(1), None);
        space.add(9, false);
        let first = space.allocate_full(3).expect("room");
        let second = space.allocate_full(3).expect("room");
        assert_eq!((first.slices, second.slices), (3, 1));
        assert_eq!(space.allocate_full(1), None);
        assert_eq!(space.free(&first, 3 * UNITS_PER_SLOT), None);
        assert_eq!(space.allocate_full(2).map(|run| (run.unit, run.slices)), Some((0, 2)));
        assert_eq!(space.free(&RunV1 { slices: 2, ..first }, 2 * UNITS_PER_SLOT), None);
        assert_eq!(space.free(&second, UNITS_PER_SLOT), Some(9));
        assert_eq!((space.used_units(), space.extent_count()), (0, 0));
    }

    proptest! {
        #[test]
        fn tails_never_overlap_and_all_comes_back(sizes in proptest::collection::vec(1u32..80, 1..60)) {
            let mut space = SliceSpace::new(UNITS_PER_SLOT);
            let mut extents = 0;
            let mut live: Vec<(RunV1, u32)> = Vec::new();
            for (step, &units) in sizes.iter().enumerate() {
                let run = space.allocate_tail(units).unwrap_or_else(|| {
                    space.add(extents, true);
                    extents += 1;
                    space.allocate_tail(units).expect("a fresh extent has room")
                });
                for (other, size) in &live {
                    let behind = other.unit + size <= run.unit || run.unit + units <= other.unit;
                    let apart = other.extent != run.extent || behind;
                    prop_assert!(apart, "{other:?} and {run:?} overlap");
                }
                live.push((run, units));
                if step % 3 == 2 {
                    let (run, units) = live.swap_remove(step % live.len());
                    space.free(&run, units);
                }
            }
            let mut again = SliceSpace::new(UNITS_PER_SLOT);
            for (run, units) in &live {
                prop_assert!(again.claim(run, *units));
            }
            prop_assert_eq!(again.used_units(), space.used_units());
            for (run, units) in live {
                space.free(&run, units);
            }
            prop_assert_eq!((space.used_units(), space.extent_count()), (0, 0));
        }
    }
}
