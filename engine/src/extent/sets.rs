//! The sets of one shard: which extent each number means.
//!
//! Invariants:
//! - A number belongs to at most one set at a time. It is used again only when the extent of its set
//!   goes back to the drive, and not while a checkpoint is being written. So a set that a record
//!   names gives its number back after a later record made that one void, and after a checkpoint
//!   behind that later record is in force (law 6). And a set that the checkpoint being written names
//!   has a number that neither the checkpoint's own sets nor any other can have before it is in force
//!   or given up.
//! - A birth is used once in the shard: it has the epoch of its life in its upper half.
//! - A set of slices that no record has named yet needs a record of its own before the first one
//!   that does. [`SetTable::name`] says so once.
//! - Recovery enters what the checkpoint and the log say, and keeps what something claims.

use std::collections::BTreeSet;

use super::geometry::SetPlace;
use super::members::{Member, Members};
use crate::format::record::{RunV1, SegmentV1};
use crate::format::set::SETS_MAX;
pub use crate::format::set::{KIND_CHECKPOINT, KIND_LOG, KIND_SLICES};
use crate::hook::{Rare, reached};

/// The births of a life carry its epoch in the bits from this one on.
const EPOCH_SHIFT: u32 = 32;

/// A new set, whose extent was taken from the drive's allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakenSet {
    pub place: SetPlace,
    /// The extent is one of those that are held back from user data.
    pub held_back: bool,
    /// No more extents are left than the shards need for their next checkpoints and log extents.
    pub tight: bool,
}

#[derive(Clone, Copy)]
struct Entry {
    place: SetPlace,
    kind: u8,
    /// A record in the log, or a checkpoint in force, says where the set is.
    named: bool,
}

/// The sets of a shard.
pub struct SetTable {
    entries: Vec<Option<Entry>>,
    /// Numbers below the length of `entries` that are not used.
    free: BTreeSet<u32>,
    /// While a checkpoint is being written, the numbers that were given back since it began.
    held: Option<Vec<u32>>,
    /// The last birth that was given.
    birth: u64,
}

impl SetTable {
    /// Returns an empty table, of a shard in the life `epoch` of the node.
    pub fn new(epoch: u32) -> Self {
        Self {
            entries: Vec::new(),
            free: BTreeSet::new(),
            held: None,
            birth: u64::from(epoch) << EPOCH_SHIFT,
        }
    }

    /// Adds a new set with these members, and returns its place. Returns `None` when every number is
    /// used.
    pub fn add(&mut self, kind: u8, members: Members) -> Option<SetPlace> {
        let set = match self.free.first() {
            Some(&set) => set,
            None => self.entries.len() as u32,
        };
        if set >= SETS_MAX {
            return None;
        }
        self.birth += 1;
        let place = SetPlace { set, birth: self.birth, members };
        if self.insert(place, kind, false) {
            reached(Rare::SetNumberReused);
        }
        Some(place)
    }

    /// Enters a set as a checkpoint or a record says it, in place of another one with its number.
    pub fn enter(&mut self, place: SetPlace, kind: u8) {
        self.insert(place, kind, true);
    }

    /// Returns whether the number is one that was used before.
    fn insert(&mut self, place: SetPlace, kind: u8, named: bool) -> bool {
        let length = self.entries.len();
        let at = place.set as usize;
        if at >= length {
            self.entries.resize(at + 1, None);
            self.free.extend(length as u32..place.set);
        }
        self.free.remove(&place.set);
        self.entries[at] = Some(Entry { place, kind, named });
        at < length
    }

    /// Removes a set. Its number may be used again at once, or when numbers are no longer held.
    /// Returns where it was.
    ///
    /// # Panics
    /// Panics when there is no such set.
    pub fn remove(&mut self, set: u32) -> SetPlace {
        let entry = self.entries.get_mut(set as usize).and_then(Option::take);
        match &mut self.held {
            Some(held) => held.push(set),
            None => drop(self.free.insert(set)),
        }
        entry.unwrap_or_else(|| panic!("there is no set {set}")).place
    }

    /// Holds the numbers that are given back from now on: a checkpoint that names sets is begun.
    pub fn hold_numbers(&mut self) {
        self.held.get_or_insert_default();
    }

    /// Ends holding numbers: the checkpoint is in force, or was given up.
    pub fn release_numbers(&mut self) {
        self.free.extend(self.held.take().unwrap_or_default());
    }

    /// Removes the sets that are not `claimed`.
    pub fn retain(&mut self, claimed: impl Fn(u32) -> bool) {
        for (set, entry) in (0..).zip(&mut self.entries) {
            if entry.is_some() && !claimed(set) {
                *entry = None;
                self.free.insert(set);
            }
        }
    }

    /// Returns where a set is.
    ///
    /// # Panics
    /// Panics when there is no such set.
    pub fn place(&self, set: u32) -> SetPlace {
        self.get(set).map_or_else(|| panic!("there is no set {set}"), |(place, _)| place)
    }

    /// Returns where a set is, and its kind.
    pub fn get(&self, set: u32) -> Option<(SetPlace, u8)> {
        let entry = self.entries.get(set as usize)?.as_ref()?;
        Some((entry.place, entry.kind))
    }

    /// Returns whether there is a set of this kind with this number.
    pub fn is(&self, set: u32, kind: u8) -> bool {
        self.get(set).is_some_and(|(_, own)| own == kind)
    }

    /// Returns the place of a set that no record has named yet. From now on it counts as named.
    pub fn name(&mut self, set: u32) -> Option<SetPlace> {
        let entry = self.entries.get_mut(set as usize)?.as_mut()?;
        (!std::mem::replace(&mut entry.named, true)).then_some(entry.place)
    }

    /// Returns whether a record has named the set, or is about to.
    pub fn is_named(&self, set: u32) -> bool {
        self.entries.get(set as usize).is_some_and(|entry| entry.is_some_and(|entry| entry.named))
    }

    /// Adds a member to a set, if it is still there, in place of those on drives that `give_way`. Returns its new
    /// place, its kind, and whether a record has named it.
    pub fn add_member(
        &mut self,
        old: SetPlace,
        member: Member,
        give_way: impl Fn(u16) -> bool,
    ) -> Option<(SetPlace, u8, bool)> {
        let entry = self.entries.get_mut(old.set as usize)?.as_mut().filter(|entry| entry.place == old)?;
        entry.place.members = old.members.with(member, give_way)?;
        Some((entry.place, entry.kind, entry.named))
    }

    /// Takes the member on a drive out of a set, if it is still there. Returns its new place, its kind, and whether a
    /// record has named it.
    pub fn drop_member(&mut self, old: SetPlace, drive: u16) -> Option<(SetPlace, u8, bool)> {
        let entry = self.entries.get_mut(old.set as usize)?.as_mut().filter(|entry| entry.place == old)?;
        entry.place.members = old.members.without(drive)?;
        Some((entry.place, entry.kind, entry.named))
    }

    /// Takes back that the set with this number and birth is named, because the record that says
    /// where it is was not written.
    pub fn forget_name(&mut self, set: u32, birth: u64) {
        if let Some(Some(entry)) = self.entries.get_mut(set as usize)
            && entry.place.birth == birth
        {
            entry.named = false;
        }
    }

    /// Returns all sets with their kinds, in the order of their numbers.
    pub fn all(&self) -> impl Iterator<Item = (SetPlace, u8)> + '_ {
        self.entries.iter().flatten().map(|entry| (entry.place, entry.kind))
    }

    /// Returns the places of the sets in which these segments lie.
    pub fn places_of(&self, segments: &[SegmentV1]) -> Places {
        let mut places = Places::default();
        for segment in segments {
            self.add_places(&segment.runs, &mut places);
        }
        places
    }

    /// Adds the places of the sets in which these runs lie.
    pub fn add_places(&self, runs: &[RunV1], places: &mut Places) {
        for run in runs {
            places.add(self.place(run.extent));
        }
    }
}

/// The places of some sets, for a reader or a writer that has no table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The places in ascending order of the sets' numbers.
    places: Vec<SetPlace>,
}

impl Places {
    fn add(&mut self, place: SetPlace) {
        match self.places.binary_search_by_key(&place.set, |known| known.set) {
            Ok(at) => self.places[at] = place,
            Err(at) => self.places.insert(at, place),
        }
    }

    /// Adds the places of `other`. They are newer: where a writer gave slices back, the number of
    /// their set may be that of another set now.
    pub fn merge(&mut self, other: &Self) {
        other.places.iter().for_each(|place| self.add(*place));
    }

    /// Returns where a set is.
    ///
    /// # Panics
    /// Panics when it is not one of these.
    pub fn of(&self, set: u32) -> SetPlace {
        match self.places.binary_search_by_key(&set, |known| known.set) {
            Ok(at) => self.places[at],
            Err(_) => panic!("the place of set {set} was not told"),
        }
    }

    /// Returns all places.
    pub fn all(&self) -> &[SetPlace] {
        &self.places
    }

    /// Returns the memory of the places, bytes.
    pub fn memory_bytes(&self) -> usize {
        self.places.capacity() * size_of::<SetPlace>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_used_again_with_another_birth() {
        let mut table = SetTable::new(3);
        let [first, second] =
            [7, 9].map(|extent| table.add(KIND_SLICES, Members::one(0, extent)).expect("a number"));
        assert_eq!((first.set, second.set, second.extent()), (0, 1, 9));
        assert_eq!((first.birth >> 32, second.birth), (3, first.birth + 1));
        assert_eq!(table.remove(0), first);
        assert_eq!(table.get(0), None);
        let again = table.add(KIND_LOG, Members::one(0, 2)).expect("a number");
        assert_eq!((again.set, again.birth, table.is(0, KIND_LOG)), (0, second.birth + 1, true));
    }

    #[test]
    fn a_number_that_is_held_is_used_again_when_it_is_released() {
        let mut table = SetTable::new(1);
        let give = |table: &mut SetTable| table.add(KIND_SLICES, Members::one(0, 7)).expect("a number").set;
        assert_eq!([give(&mut table), give(&mut table), give(&mut table)], [0, 1, 2]);
        table.remove(2);
        table.hold_numbers();
        table.remove(0);
        assert_eq!([give(&mut table), give(&mut table)], [2, 3]);
        table.release_numbers();
        assert_eq!([give(&mut table), give(&mut table)], [0, 4]);
    }

    #[test]
    fn a_set_is_named_once_unless_the_record_was_not_written() {
        let mut table = SetTable::new(1);
        let place = table.add(KIND_SLICES, Members::one(0, 7)).expect("a number");
        assert!(!table.is_named(0) && table.name(0) == Some(place) && table.is_named(0));
        assert_eq!(table.name(0), None);
        table.forget_name(0, place.birth + 1);
        assert!(table.is_named(0), "another set's name is taken back");
        table.forget_name(0, place.birth);
        assert_eq!(table.name(0), Some(place));
        assert_eq!(table.name(5), None);
    }

    #[test]
    fn what_nothing_claims_after_recovery_is_free() {
        let mut table = SetTable::new(2);
        for set in [4, 1, 6] {
            table
                .enter(SetPlace { set, birth: 1 << 32 | 5, members: Members::one(0, set + 10) }, KIND_SLICES);
        }
        table.retain(|set| set != 4);
        assert_eq!(table.all().map(|(place, _)| place.set).collect::<Vec<_>>(), [1, 6]);
        let given: Vec<u32> =
            (0..6).map(|extent| table.add(KIND_LOG, Members::one(0, extent)).expect("one").set).collect();
        assert_eq!(given, [0, 2, 3, 4, 5, 7]);
    }

    #[test]
    fn places_are_found_by_the_number_of_their_set() {
        let mut table = SetTable::new(1);
        for extent in 20..29 {
            table.add(KIND_SLICES, Members::one(0, extent)).expect("a number");
        }
        let run = |extent| RunV1 { extent, unit: 0, slices: 1 };
        let segment = |runs| SegmentV1 { runs, ..SegmentV1::default() };
        let mut places = table.places_of(&[segment(vec![run(5), run(2), run(5)]), segment(vec![run(3)])]);
        table.add_places(&[run(8)], &mut places);
        for set in [2, 3, 5, 8] {
            assert_eq!(places.of(set), table.place(set));
        }
        assert_eq!(places.places.len(), 4);
    }
}
