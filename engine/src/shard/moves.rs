//! What a shard does to move members of its sets from one drive to others.
//!
//! Invariants:
//! - A set whose member is copied rests, and whoever wrote to it or moved something in it has ended. So what is copied
//!   does not change, but for what is freed.
//! - A set names a new member once the copy is durable, first in memory and then by a record.
//! - The extent of a member that a set names no more goes back to its drive when the record that says so is durable, a
//!   checkpoint behind that is in force, and all who may know the old place have ended (law 6).

use std::collections::BTreeSet;
use std::ops::Range;

use super::instance::Shard;
use crate::error::Result;
use crate::extent::sets::{KIND_CHECKPOINT, KIND_LOG, KIND_SLICES};
use crate::extent::{Member, Members, SetPlace};
use crate::format::slice::UNIT_BYTES;
use crate::hook::Bug;

impl Shard {
    /// Returns the sets that a new home needs a member of, beside those of checkpoints, which the next one replaces:
    /// those of the log, and those of slices that are copied.
    pub(crate) fn sets_for_home(&self, drive: u16) -> Vec<(SetPlace, u8)> {
        self.copied_sets(|place| place.members.on(drive).is_none())
    }

    /// Returns those sets of the log, and of slices that are copied, that are meant.
    fn copied_sets(&self, is_meant: impl Fn(&SetPlace) -> bool) -> Vec<(SetPlace, u8)> {
        let (state, is_striped) = (self.state.borrow(), self.geometry.shape.is_striped());
        let is_copied = |kind: u8| kind == KIND_LOG || kind == KIND_SLICES && !is_striped;
        state.space.sets.all().filter(|(place, kind)| is_copied(*kind) && is_meant(place)).collect()
    }

    /// Returns whether a new home has everything that a home needs, while the log stands still.
    pub(crate) fn has_all_for_home(&self, drive: u16) -> bool {
        self.log.position().set.members.on(drive).is_some() && self.sets_for_home(drive).is_empty()
    }

    /// Returns the sets of the log, and of slices that are copied, that have a member on a drive that does not stay.
    pub(crate) fn copied_sets_beside(&self, stays: &dyn Fn(u16) -> bool) -> Vec<SetPlace> {
        let beside = self.copied_sets(|place| place.members.iter().any(|member| !stays(member.drive)));
        beside.into_iter().map(|(place, _)| place).collect()
    }

    /// Returns where a set is now, if it is still there, or where it was.
    pub(crate) fn place_now(&self, old: SetPlace) -> SetPlace {
        let found = self.state.borrow().space.sets.get(old.set);
        found.map(|(place, _)| place).filter(|place| place.birth == old.birth).unwrap_or(old)
    }

    /// Returns the striped sets that have a member on a drive.
    pub(crate) fn striped_sets_on(&self, drive: u16) -> Vec<SetPlace> {
        if !self.geometry.shape.is_striped() {
            return Vec::new();
        }
        let forgets_tails = self.geometry.planted.is(Bug::DrainLeavesTail);
        let state = self.state.borrow();
        let is_meant = |(place, kind): &(SetPlace, u8)| {
            let is_left = forgets_tails && state.space.slices.is_for_tails(place.set);
            *kind == KIND_SLICES && place.members.on(drive).is_some() && !is_left
        };
        state.space.sets.all().filter(is_meant).map(|(place, _)| place).collect()
    }

    /// Returns striped sets, each with the drive whose member is to move to another one, so that this has its share of
    /// them by the sizes of the drives, which are given with their numbers.
    pub(crate) fn sets_to_spread(&self, to: u16, sizes: &[(u16, u64)]) -> Vec<(SetPlace, u16)> {
        if !self.geometry.shape.is_striped() {
            return Vec::new();
        }
        let state = self.state.borrow();
        let striped = state.space.sets.all().filter(|(_, kind)| *kind == KIND_SLICES);
        members_to_move(striped.map(|(place, _)| place).collect(), to, sizes)
    }

    /// Lets nothing new be placed in these sets of slices until [`Self::end_moving`].
    pub(crate) fn begin_moving(&self, sets: impl IntoIterator<Item = u32>) {
        self.moving.borrow_mut().extend(sets);
        self.rest_sets();
    }

    /// Ends what [`Self::begin_moving`] began, for all sets.
    pub(crate) fn end_moving(&self) {
        self.moving.borrow_mut().clear();
        self.rest_sets();
    }

    /// Returns the byte ranges of a set that hold something.
    pub(crate) fn used_ranges(&self, place: SetPlace, kind: u8) -> Vec<Range<u32>> {
        let state = self.state.borrow();
        let unit = |unit: u32| unit * UNIT_BYTES as u32;
        match kind {
            KIND_SLICES => {
                let ranges = state.space.slices.used_ranges(place.set).into_iter();
                ranges.map(|range| unit(range.start)..unit(range.end)).collect()
            }
            // The last block of a set of the log may hold a copy of a batch.
            KIND_LOG if state.space.logs.contains(place.set) => {
                Vec::from([Range { start: 0, end: self.geometry.extent_bytes }])
            }
            _ => Vec::new(),
        }
    }

    /// Takes the member on a drive out of a set, and queues the record of it. Returns false when the set has changed
    /// meanwhile. Sets of checkpoints stay as they are: the next one replaces them.
    ///
    /// # Errors
    /// Returns an error when the shard writes no more.
    pub(crate) fn drop_member(&self, old: SetPlace, drive: u16) -> Result<bool> {
        let dropped = {
            let sets = &mut self.state.borrow_mut().space.sets;
            match sets.get(old.set) {
                Some((_, KIND_CHECKPOINT)) | None => None,
                Some(_) => sets.drop_member(old, drive),
            }
        };
        let Some((place, kind, is_named)) = dropped else { return Ok(false) };
        self.note_left(old, drive);
        if is_named && !self.geometry.planted.is(Bug::FreeMemberEarly) {
            self.say_set(place, kind)?;
        }
        Ok(true)
    }

    /// Notes that a set has no member on a drive any more.
    pub(crate) fn note_left(&self, old: SetPlace, drive: u16) {
        let member = old.members.on(drive).map(|extent| Member { drive, extent });
        let Some(members) = member.and_then(|member| Members::new([member])) else { return };
        match self.geometry.planted.is(Bug::FreeMemberEarly) {
            true => self.surroundings.give_extents(vec![members]),
            false => self.left.borrow_mut().push(members),
        }
    }

    /// Returns the members whose extents are not given back yet, and forgets them.
    pub(crate) fn take_left(&self) -> Vec<Members> {
        self.left.take()
    }

    /// Gives back the extents of members that no set names, and nobody uses, any more.
    pub(crate) fn give_left(&self, left: Vec<Members>) {
        self.surroundings.give_extents(left);
    }

    /// Forgets members on a drive that are not given back yet: the drive comes back, and no set has them there.
    pub(crate) fn forget_left(&self, drive: u16) {
        self.left.borrow_mut().retain(|members| members.on(drive).is_none());
    }

    /// Notes again what could not be given back.
    pub(crate) fn keep_left(&self, left: Vec<Members>) {
        self.left.borrow_mut().extend(left);
    }
}

/// Chooses members of sets that move to a drive which has none of the set: always one of the drive that has the most by
/// its size, until that would have fewer than the other.
fn members_to_move(sets: Vec<SetPlace>, to: u16, sizes: &[(u16, u64)]) -> Vec<(SetPlace, u16)> {
    let on = |drive: u16| sets.iter().filter(move |place| place.members.on(drive).is_some());
    let size_of = |drive: u16| sizes.iter().find(|(number, _)| *number == drive).map(|(_, size)| *size);
    let (Some(size), mut own) = (size_of(to), on(to).count() as u128) else { return Vec::new() };
    let mut others: Vec<_> = sizes
        .iter()
        .filter(|(drive, _)| *drive != to)
        .map(|(drive, size)| {
            let may_move: Vec<SetPlace> =
                on(*drive).filter(|place| place.members.on(to).is_none()).copied().collect();
            (*drive, u128::from(*size), on(*drive).count() as u128, may_move)
        })
        .collect();
    let (mut chosen, mut taken) = (Vec::new(), BTreeSet::new());
    loop {
        for (_, _, _, may_move) in &mut others {
            while may_move.last().is_some_and(|place| taken.contains(&place.set)) {
                may_move.pop();
            }
        }
        let full = others.iter_mut().filter(|(_, _, _, may_move)| !may_move.is_empty());
        let fullest = full.max_by(|one, other| (one.2 * other.1).cmp(&(other.2 * one.1)));
        let Some((drive, of_size, count, may_move)) = fullest else { return chosen };
        if (own + 1) * *of_size > (*count - 1) * u128::from(size) {
            return chosen;
        }
        let Some(place) = may_move.pop() else { return chosen };
        (own, *count) = (own + 1, *count - 1);
        taken.insert(place.set);
        chosen.push((place, *drive));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns sets on all but one of some drives, by turns.
    fn sets(count: u32, drives: u16) -> Vec<SetPlace> {
        let place = |set: u32| {
            let left_out = set as u16 % drives;
            let members = (0..drives).filter(|drive| *drive != left_out);
            let members = Members::new(members.map(|drive| Member { drive, extent: set })).expect("members");
            SetPlace { set, birth: 1, members }
        };
        (0..count).map(place).collect()
    }

    fn counts(moved: &[(SetPlace, u16)], sets: &[SetPlace], drives: u16) -> Vec<usize> {
        let had = |drive: u16| sets.iter().filter(|place| place.members.on(drive).is_some()).count();
        let lost = |drive: u16| moved.iter().filter(|(_, from)| *from == drive).count();
        (0..drives).map(|drive| had(drive) - lost(drive)).collect()
    }

    #[test]
    fn a_drive_gets_its_share_by_its_size() {
        let sets = sets(60, 5);
        // Four members of each of 60 sets: 240 over six equal drives are 40 each.
        let alike: Vec<(u16, u64)> = (0..6).map(|drive| (drive, 100)).collect();
        let moved = members_to_move(sets.clone(), 5, &alike);
        assert_eq!((moved.len(), counts(&moved, &sets, 5)), (40, vec![40; 5]));
        // A set moves one member at most.
        let mut once: Vec<u32> = moved.iter().map(|(place, _)| place.set).collect();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), 40);
        // One of half the size gets half as many.
        let small: Vec<(u16, u64)> = (0..6).map(|drive| (drive, if drive == 5 { 50 } else { 100 })).collect();
        let moved = members_to_move(sets.clone(), 5, &small);
        assert!((20..=22).contains(&moved.len()), "{}", moved.len());
        // Nothing moves off a drive that is not there, or to one that has its share.
        let fewer: Vec<(u16, u64)> = alike.iter().copied().filter(|(drive, _)| *drive != 0).collect();
        assert!(members_to_move(sets.clone(), 5, &fewer).iter().all(|(_, from)| *from != 0));
        assert!(members_to_move(sets, 4, &alike[..5]).is_empty());
        assert!(members_to_move(Vec::new(), 5, &alike).is_empty());
    }
}
