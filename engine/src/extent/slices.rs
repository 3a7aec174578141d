//! The data extents of one shard: full slices in slots, tail slices in units.
//!
//! Invariants:
//! - An extent holds slots or tails, never both, so full slices never meet holes of odd sizes.
//! - Slices stay where they are, except those of a closed extent: nothing new is placed there while
//!   compaction moves its slices into gaps of other extents. The used and the free units of an
//!   owned extent always add up to its size.
//! - A tail is placed in the smallest gap that holds it, in an extent whose longest gap is the
//!   smallest that is long enough: long gaps are kept for long tails. `by_gap` has every tail
//!   extent that is not closed, with its longest gap.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::format::record::RunV1;
use crate::format::slice::UNITS_PER_SLOT;

/// The allocated and free space in one shard's data extents.
pub struct SliceSpace {
    slots_per_extent: u32,
    units_per_extent: u32,
    full: BTreeMap<u32, u32>,
    /// Extents of `full` that have a free slot and are not closed.
    open_full: BTreeSet<u32>,
    tails: BTreeMap<u32, TailExtent>,
    by_gap: BTreeSet<(u32, u32)>,
    /// Extents that compaction empties. They are in neither `open_full` nor `by_gap`.
    closed: BTreeSet<u32>,
    /// Striped sets that lack a drive, so that nothing new is placed there as long as others lack none. They are in
    /// neither of those lists.
    resting: BTreeSet<u32>,
    used_units: u64,
    /// The part of `used_units` that is in tail slices.
    tail_units: u64,
}

/// Gaps between tails never fit exactly what is moved into them: one unit in this many is counted
/// as lost.
const TAIL_LOSS_PART: u64 = 8;

/// An extent that compaction could empty.
struct Candidate {
    extent: u32,
    used: u32,
    for_tails: bool,
}

struct TailExtent {
    /// One bit per unit, set when the unit is used. The bits beyond the extent's end are set too.
    bits: Vec<u64>,
    used: u32,
    longest_gap: u32,
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
            by_gap: BTreeSet::new(),
            closed: BTreeSet::new(),
            resting: BTreeSet::new(),
            used_units: 0,
            tail_units: 0,
        }
    }

    /// Returns the extents that the shard owns for data.
    pub fn extents(&self) -> impl Iterator<Item = u32> + '_ {
        self.full.keys().chain(self.tails.keys()).copied()
    }

    pub fn extent_count(&self) -> usize {
        self.full.len() + self.tails.len()
    }

    pub fn used_units(&self) -> u64 {
        self.used_units
    }

    pub fn contains(&self, extent: u32) -> bool {
        self.full.contains_key(&extent) || self.tails.contains_key(&extent)
    }

    /// Returns the used units of an extent, or 0 if the shard does not own it.
    pub fn used_units_of(&self, extent: u32) -> u32 {
        match (self.full.get(&extent), self.tails.get(&extent)) {
            (Some(used), _) => used.count_ones() * UNITS_PER_SLOT,
            (None, Some(tail)) => tail.used,
            (None, None) => 0,
        }
    }

    /// Returns how many extents would be free if slices had no gaps between them.
    pub fn gainable_extents(&self) -> u32 {
        let full_units = self.used_units - self.tail_units;
        let full = full_units.div_ceil(u64::from(self.slots_per_extent * UNITS_PER_SLOT));
        let tails = with_loss(self.tail_units).div_ceil(u64::from(self.units_per_extent));
        let gained = |owned: usize, packed: u64| owned.saturating_sub(packed as usize) as u32;
        gained(self.full.len(), full) + gained(self.tails.len(), tails)
    }

    /// Returns extents whose slices fit into gaps of the others, those with the least to move
    /// first, until about `units_max` units are to be moved. Extents for which `skip` returns true,
    /// given the extent and its used units, are left out.
    pub fn victims(&self, units_max: u64, skip: impl Fn(u32, u32) -> bool) -> Vec<u32> {
        let full = self.open_full.iter().map(|extent| (*extent, false));
        let tails = self.by_gap.iter().map(|(_, extent)| (*extent, true));
        let resting =
            self.resting.iter().filter(|extent| self.has_gap(**extent) && !self.closed.contains(extent));
        let resting = resting.map(|extent| (*extent, self.tails.contains_key(extent)));
        let mut candidates: Vec<Candidate> = full
            .chain(tails)
            .chain(resting)
            .map(|(extent, for_tails)| Candidate { extent, used: self.used_units_of(extent), for_tails })
            .collect();
        candidates.sort_by_key(|candidate| (candidate.used, candidate.extent));
        let capacity = |for_tails| match for_tails {
            true => u64::from(self.units_per_extent),
            false => u64::from(self.slots_per_extent * UNITS_PER_SLOT),
        };
        // Nothing is moved into a set that rests.
        let free = |of: &Candidate| match self.resting.contains(&of.extent) {
            true => 0,
            false => capacity(of.for_tails) - u64::from(of.used),
        };
        let room_in =
            |kind: bool| candidates.iter().filter(|one| one.for_tails == kind).map(free).sum::<u64>();
        let mut room = [room_in(false), room_in(true)];
        let (mut victims, mut moved) = (Vec::new(), 0);
        for candidate in &candidates {
            let used = u64::from(candidate.used);
            let needed = if candidate.for_tails { with_loss(used) } else { used };
            let room = &mut room[usize::from(candidate.for_tails)];
            let taken = free(candidate) + needed;
            if skip(candidate.extent, candidate.used) || taken > *room {
                continue;
            }
            if !victims.is_empty() && moved + used > units_max {
                break;
            }
            *room -= taken;
            moved += used;
            victims.push(candidate.extent);
        }
        victims
    }

    /// Returns whether an extent has a free slot or gap.
    fn has_gap(&self, extent: u32) -> bool {
        let of_full = self.full.get(&extent).map(|used| used.count_ones() < self.slots_per_extent);
        let of_tails = self.tails.get(&extent).map(|tail| tail.longest_gap > 0);
        of_full.or(of_tails).unwrap_or(false)
    }

    /// Returns whether an extent is one for tails.
    pub fn is_for_tails(&self, extent: u32) -> bool {
        self.tails.contains_key(&extent)
    }

    /// Returns the used units of an extent, as ranges.
    pub fn used_ranges(&self, extent: u32) -> Vec<Range<u32>> {
        if let Some(used) = self.full.get(&extent) {
            let slots = (0..self.slots_per_extent).filter(|slot| used & (1 << slot) != 0);
            return slots.map(|slot| slot * UNITS_PER_SLOT..(slot + 1) * UNITS_PER_SLOT).collect();
        }
        let Some(tail) = self.tails.get(&extent) else { return Vec::new() };
        let (mut ranges, mut at) = (Vec::new(), 0);
        while let Some(start) = tail.next(at, true).filter(|start| *start < self.units_per_extent) {
            // The bits beyond the end are set.
            let end = tail.next(start, false).unwrap_or(self.units_per_extent);
            ranges.push(start..end);
            at = end;
        }
        ranges
    }

    /// Closes an extent: nothing new is placed there from now on.
    pub fn close(&mut self, extent: u32) {
        assert!(self.contains(extent) && self.closed.insert(extent), "extent {extent} can not be closed");
        self.open_full.remove(&extent);
        if let Some(tail) = self.tails.get(&extent) {
            self.by_gap.remove(&(tail.longest_gap, extent));
        }
    }

    /// Lets the extents rest for which `lacks` returns true, and no others: nothing new is placed there.
    pub fn rest(&mut self, lacks: impl Fn(u32) -> bool) {
        let all: Vec<u32> = self.extents().collect();
        for extent in all {
            let lacks = lacks(extent);
            if lacks && self.resting.insert(extent) {
                self.open_full.remove(&extent);
                if let Some(tail) = self.tails.get(&extent) {
                    self.by_gap.remove(&(tail.longest_gap, extent));
                }
            } else if !lacks && self.resting.remove(&extent) && !self.closed.contains(&extent) {
                self.place_again(extent);
            }
        }
    }

    /// Opens a closed extent again. It does nothing if the extent has left the shard meanwhile.
    pub fn reopen(&mut self, extent: u32) {
        if self.closed.remove(&extent) && !self.resting.contains(&extent) {
            self.place_again(extent);
        }
    }

    /// Lets something new be placed in an extent again.
    fn place_again(&mut self, extent: u32) {
        if let Some(used) = self.full.get(&extent)
            && used.count_ones() < self.slots_per_extent
        {
            self.open_full.insert(extent);
        }
        if let Some(tail) = self.tails.get(&extent) {
            self.by_gap.insert((tail.longest_gap, extent));
        }
    }

    /// Allocates up to `want` consecutive full slices. Returns `None` if no extent has a free slot.
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

    /// Returns whether an extent that is not closed has a free slot.
    pub fn has_full(&self) -> bool {
        !self.open_full.is_empty()
    }

    /// Returns whether an extent that is not closed has a gap of at least `units`.
    pub fn has_tail(&self, units: u32) -> bool {
        self.by_gap.range((units, 0)..).next().is_some()
    }

    /// Allocates a tail of `units`. Returns `None` if no gap is long enough.
    pub fn allocate_tail(&mut self, units: u32) -> Option<RunV1> {
        let &(_, extent) = self.by_gap.range((units, 0)..).next()?;
        let unit = self.tails.get(&extent)?.best_gap(units)?;
        self.mark_tail(extent, unit, units, true);
        Some(RunV1 { extent, unit, slices: 0 })
    }

    /// Marks units of a tail extent as used or free. Returns whether any unit of the extent is used
    /// now.
    fn mark_tail(&mut self, extent: u32, unit: u32, units: u32, used: bool) -> bool {
        let tail = self.tails.get_mut(&extent).unwrap_or_else(|| panic!("{extent} is no tail extent"));
        let before = (tail.longest_gap, extent);
        tail.mark(unit, units, used);
        if self.by_gap.remove(&before) {
            self.by_gap.insert((tail.longest_gap, extent));
        }
        if used {
            self.used_units += u64::from(units);
            self.tail_units += u64::from(units);
        } else {
            self.used_units -= u64::from(units);
            self.tail_units -= u64::from(units);
        }
        tail.used > 0
    }

    fn add_tail_extent(&mut self, extent: u32) {
        let tail = TailExtent::new(self.units_per_extent);
        self.by_gap.insert((tail.longest_gap, extent));
        self.tails.insert(extent, tail);
    }

    /// Adds a new extent for full slices, or for tails.
    pub fn add(&mut self, extent: u32, for_tails: bool) {
        assert!(
            !self.full.contains_key(&extent) && !self.tails.contains_key(&extent),
            "extent {extent} is owned"
        );
        if for_tails {
            self.add_tail_extent(extent);
        } else {
            self.full.insert(extent, 0);
            self.open_full.insert(extent);
        }
    }

    /// Marks a run that the index names as allocated, at recovery. Returns false when it overlaps
    /// another run or does not fit, which means damage.
    #[must_use]
    pub fn claim(&mut self, run: &RunV1, units: u32) -> bool {
        if run.unit + units > self.units_per_extent {
            return false;
        }
        if run.slices == 0 {
            if self.full.contains_key(&run.extent) {
                return false;
            }
            if !self.tails.contains_key(&run.extent) {
                self.add_tail_extent(run.extent);
            }
            if self.tails[&run.extent].any_used(run.unit, units) {
                return false;
            }
            self.mark_tail(run.extent, run.unit, units, true);
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
            self.used_units += u64::from(units);
        }
        true
    }

    /// Frees a run. If its extent is empty now, the extent leaves this shard and is returned.
    pub fn free(&mut self, run: &RunV1, units: u32) -> Option<u32> {
        if run.slices == 0 {
            assert!(self.tails[&run.extent].all_used(run.unit, units), "{run:?} is not allocated");
            if self.mark_tail(run.extent, run.unit, units, false) {
                return None;
            }
            self.by_gap.remove(&(self.units_per_extent, run.extent));
            self.tails.remove(&run.extent);
        } else {
            self.used_units -= u64::from(units);
            let used =
                self.full.get_mut(&run.extent).unwrap_or_else(|| panic!("{run:?} is in no full extent"));
            let mask = slot_mask(run);
            assert_eq!(*used & mask, mask, "{run:?} is not allocated");
            *used &= !mask;
            if *used > 0 {
                if !self.closed.contains(&run.extent) && !self.resting.contains(&run.extent) {
                    self.open_full.insert(run.extent);
                }
                return None;
            }
            self.full.remove(&run.extent);
            self.open_full.remove(&run.extent);
        }
        self.closed.remove(&run.extent);
        self.resting.remove(&run.extent);
        Some(run.extent)
    }
}

fn with_loss(units: u64) -> u64 {
    units + units / TAIL_LOSS_PART
}

fn slot_mask(run: &RunV1) -> u32 {
    let ones = if run.slices >= 32 { u32::MAX } else { (1 << run.slices) - 1 };
    ones << (run.unit / UNITS_PER_SLOT)
}

impl TailExtent {
    fn new(units: u32) -> Self {
        let mut bits = vec![0; units.div_ceil(64) as usize];
        if let Some(last) = bits.last_mut().filter(|_| !units.is_multiple_of(64)) {
            *last = u64::MAX << (units % 64);
        }
        Self { bits, used: 0, longest_gap: units }
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
        }
        self.longest_gap = self.gaps().map(|(_, length)| length).max().unwrap_or(0);
    }

    /// Returns the first unit of the smallest gap of at least `units`.
    fn best_gap(&self, units: u32) -> Option<u32> {
        let fitting = self.gaps().filter(|(_, length)| *length >= units);
        fitting.min_by_key(|(_, length)| *length).map(|(unit, _)| unit)
    }

    /// Returns the first unit and the length of each run of free units.
    fn gaps(&self) -> impl Iterator<Item = (u32, u32)> + '_ {
        let mut at = 0;
        std::iter::from_fn(move || {
            let start = self.next(at, false)?;
            let end = self.next(start, true).unwrap_or(self.bits.len() as u32 * 64);
            at = end;
            Some((start, end - start))
        })
    }

    /// Returns the first unit from `from` on that is used, or free if `used` is false.
    fn next(&self, from: u32, used: bool) -> Option<u32> {
        let flip = if used { 0 } else { u64::MAX };
        let mut word = from as usize / 64;
        let mut wanted = (self.bits.get(word)? ^ flip) & (u64::MAX << (from % 64));
        while wanted == 0 {
            word += 1;
            wanted = self.bits.get(word)? ^ flip;
        }
        Some(word as u32 * 64 + wanted.trailing_zeros())
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

    #[test]
    fn a_tail_takes_the_smallest_gap_that_holds_it() {
        let mut space = SliceSpace::new(UNITS_PER_SLOT);
        space.add(3, true);
        space.add(5, true);
        let taken = [40, 30, 20, 100, 67].map(|units| space.allocate_tail(units).expect("room"));
        assert!(taken.iter().all(|run| run.extent == 3), "one extent is filled before the next: {taken:?}");
        assert_eq!(space.free(&taken[0], 40), None);
        assert_eq!(space.free(&taken[2], 20), None);
        assert!(space.has_tail(UNITS_PER_SLOT), "extent 5 is empty");
        assert_eq!(space.allocate_tail(18).map(|run| (run.extent, run.unit)), Some((3, 70)));
        assert_eq!(space.allocate_tail(40).map(|run| (run.extent, run.unit)), Some((3, 0)));
        assert_eq!(space.allocate_tail(3).map(|run| (run.extent, run.unit)), Some((5, 0)));
        assert_eq!(
            (space.used_ranges(5), space.used_ranges(7)),
            (Vec::from([Range { start: 0, end: 3 }]), vec![])
        );
        assert_eq!(space.used_ranges(3), vec![0..88, 90..257]);
    }

    #[test]
    fn victims_are_what_the_gaps_of_others_hold_and_nothing_new_goes_there() {
        let mut space = SliceSpace::new(4 * UNITS_PER_SLOT);
        let mut runs = Vec::new();
        for extent in 0..4 {
            space.add(extent, false);
            runs.extend((0..4).map(|_| space.allocate_full(1).expect("room")));
        }
        assert_eq!((space.gainable_extents(), space.victims(u64::MAX, |_, _| false)), (0, vec![]));
        // Used slots of the four extents: 1, 3, 2 and 3.
        for at in [0, 1, 2, 4, 8, 9, 12] {
            assert_eq!(space.free(&runs[at], UNITS_PER_SLOT), None);
        }
        assert_eq!(space.gainable_extents(), 1, "9 slots fit into 3 extents");
        assert_eq!(
            space.victims(u64::MAX, |_, _| false),
            [0],
            "what is left has room for one extent's slot only"
        );
        assert_eq!(space.victims(u64::MAX, |extent, used| extent == 0 && used == UNITS_PER_SLOT), [2]);
        space.close(0);
        let moved: Vec<RunV1> = std::iter::from_fn(|| space.allocate_full(1)).collect();
        assert!(moved.len() == 4 && moved.iter().all(|run| run.extent != 0), "{moved:?}");
        assert_eq!(space.free(&moved[0], UNITS_PER_SLOT), None);
        assert_eq!(
            space.free(&runs[3], UNITS_PER_SLOT),
            Some(0),
            "the closed extent leaves when it is empty"
        );
        space.reopen(0);
        assert!(space.has_full() && !space.contains(0));
    }

    #[test]
    fn a_closed_extent_of_tails_opens_again_with_its_gaps() {
        let mut space = SliceSpace::new(UNITS_PER_SLOT);
        for extent in 0..3 {
            space.add(extent, true);
        }
        let runs: Vec<RunV1> = (0..6).map(|_| space.allocate_tail(100).expect("room")).collect();
        for at in [1, 3, 5] {
            assert_eq!(space.free(&runs[at], 100), None);
        }
        let victims = space.victims(u64::MAX, |_, _| false);
        assert_eq!(victims, [0], "one at a time: what is moved never fits exactly");
        space.close(0);
        assert_eq!(space.free(&runs[0], 100), Some(0));
        space.add(0, true);
        space.close(1);
        assert!(!space.by_gap.iter().any(|(_, extent)| *extent == 1));
        space.reopen(1);
        assert_eq!(space.by_gap.iter().filter(|(_, extent)| *extent == 1).count(), 1);
    }

    #[test]
    fn nothing_new_is_placed_where_a_drive_is_missing() {
        let mut space = SliceSpace::new(2 * UNITS_PER_SLOT);
        (0..2).for_each(|extent| space.add(extent, false));
        (2..4).for_each(|extent| space.add(extent, true));
        let [full, other, last] = [(); 3].map(|()| space.allocate_full(1).expect("room"));
        let tail = space.allocate_tail(9).expect("room");
        assert_eq!((full.extent, last.extent, tail.extent), (0, 1, 2));
        assert_eq!(space.free(&other, UNITS_PER_SLOT), None);
        space.rest(|set| set % 2 == 0);
        assert!(
            space.victims(u64::MAX, |_, _| false).contains(&0),
            "what rests may be moved to where all drives are"
        );
        assert_eq!(space.allocate_full(9).map(|run| (run.extent, run.slices)), Some((1, 1)));
        assert_eq!((space.allocate_full(1), space.allocate_tail(9).map(|run| run.extent)), (None, Some(3)));
        // What is there may leave, and a set that is empty leaves.
        assert_eq!((space.free(&full, UNITS_PER_SLOT), space.free(&tail, 9)), (Some(0), Some(2)));
        space.add(0, false);
        assert_eq!(
            space.allocate_full(1).map(|run| run.extent),
            Some(0),
            "the number is that of another set"
        );
        space.close(3);
        space.rest(|_| true);
        space.rest(|_| false);
        assert!(space.has_full() && !space.has_tail(1), "the closed one stays closed");
        space.reopen(3);
        assert!(space.has_tail(2 * UNITS_PER_SLOT - 9));
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
