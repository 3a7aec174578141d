//! The views of this life of the node, and which may follow.
//!
//! Invariant: a view follows only by the rules of [`crate::view`].

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use super::layout::{Layout, join, keep_only};
use crate::format::superblock::{
    DRIVE_EMPTIED, DRIVE_IN, DRIVE_NONE, DRIVE_OUT, HOME_LACKS, LACKS, LEAVES, SPREADS, ViewDriveOnDisk,
    ViewOnDisk,
};
use crate::format::{Le16, Le32};
use crate::sync::locks::KeyLocks;
use crate::sync::signal::Signal;
use crate::view::{DriveSet, Rules, ShardDrives};

/// Returns the number in the view of the drive at a place, or one that no drive has.
pub(super) type NumberOf<'a> = &'a dyn Fn(u16) -> u16;

/// The views of this life.
pub(super) struct Views {
    rules: Rules,
    pub changing: KeyLocks,
    /// Held while a drive takes a seat.
    pub seating: KeyLocks,
    /// Held while a shard moves from a drive to another one.
    pub moving: KeyLocks,
    /// The drives that are emptied by a task, by their places.
    pub emptying: RefCell<BTreeSet<u16>>,
    /// The places of drives that a task moves old stripes to.
    pub spreading: RefCell<BTreeSet<u16>>,
    /// The drives that failed, by their places. They may still be in the view.
    pub failed: RefCell<BTreeSet<u16>>,
    /// The reasons why drives have left, or are not up to date yet, by their places.
    pub reasons: RefCell<BTreeMap<u16, String>>,
    /// Raised when one more has failed.
    pub news: Signal,
    /// The members of the view in use.
    pub in_use: Cell<DriveSet>,
    /// The view of the highest number.
    pub latest: RefCell<Box<ViewOnDisk>>,
    /// The view of the start is in use, and no change has failed.
    pub may_change: Cell<bool>,
}

impl Views {
    pub fn new(layout: &Layout) -> Self {
        let view = layout.start.view;
        Self {
            rules: Rules { failures_max: u32::from(layout.superblocks[0].parity_members) },
            changing: KeyLocks::default(),
            seating: KeyLocks::default(),
            moving: KeyLocks::default(),
            emptying: RefCell::default(),
            spreading: RefCell::default(),
            failed: RefCell::default(),
            reasons: RefCell::default(),
            news: Signal::default(),
            in_use: Cell::new(view.members()),
            latest: RefCell::new(Box::new(view)),
            may_change: Cell::new(false),
        }
    }

    /// Takes back that a drive failed.
    pub fn withdraw(&self, drive: u16) {
        self.failed.borrow_mut().remove(&drive);
    }

    /// Notes that the view of the start is in use.
    pub fn begin(&self) {
        self.may_change.set(true);
    }

    /// Returns the view that follows the latest one by a change, or `None` when the rules do not allow it.
    pub fn next(&self, change: &Change, layout: &Layout, number_of: NumberOf<'_>) -> Option<Box<ViewOnDisk>> {
        let has = |drives: &[u16], number: Le16| drives.iter().any(|drive| number_of(*drive) == number.get());
        let latest = self.latest.borrow();
        let mut view = latest.clone();
        // A view that was begun may have it already.
        let is_new =
            |joining: &ViewDriveOnDisk| !latest.drives_known().any(|drive| drive.uuid == joining.uuid);
        change.joining.filter(is_new).into_iter().for_each(|joining| join(&mut view, joining));
        for drive in view.drives.iter_mut().filter(|drive| drive.state.get() == DRIVE_OUT) {
            if has(change.back.as_slice(), drive.number) {
                drive.state = Le16::new(DRIVE_IN);
            }
        }
        keep_only(&mut view, |number| !has(&change.lost, number));
        let new_home = change.move_home(&mut view, number_of)?;
        change.empty(&mut view, number_of)?;
        let mut ready = DriveSet::EMPTY;
        if let Some(home) = change.home.filter(|home| !change.lost.contains(home)) {
            let number = number_of(home);
            let is_it = |slot: &u16| view.drives[usize::from(*slot)].number.get() == number;
            ready = view.members().iter().filter(is_it).collect();
            view.rename_homes(number | HOME_LACKS, number);
            let own = view.drives.iter_mut().filter(|drive| drive.number.get() == number);
            own.for_each(|drive| drive.set_flag(LACKS, false));
        }
        let (in_use, next) = (self.in_use.get(), view.members());
        let is_lost = |slot: &u16| has(&change.lost, view.drives[usize::from(*slot)].number);
        let alive = (in_use | latest.members() | next).iter().filter(|slot| !is_lost(slot)).collect();
        let may_be_homes = |shard: u16| {
            let homes = latest.homes(shard);
            let new = new_home.filter(|(of, _)| *of == shard).map(|(_, slot)| slot).into_iter().collect();
            self.rules.may_be_homes(
                ShardDrives { homes, ready: homes | ready | new },
                next,
                view.homes(shard),
            )
        };
        // Of a striped slice up to M members may be lost, whatever was lost before and is not made up for.
        // What the operator has accepted to be without is not refused again.
        let lacking = |view: &ViewOnDisk| view.lacking(|_| true);
        let lacks_more = || lacking(&view) > lacking(&latest).max(self.rules.failures_max);
        if layout.geometry_of(0).shape.is_striped() && !change.lost.is_empty() && lacks_more() {
            return None;
        }
        let may_follow = self.rules.may_change(in_use, latest.members(), next, alive)
            && (0..layout.shards).all(may_be_homes);
        // One that another drive has replaced meanwhile never comes back.
        let is_in = |drive: u16| view.drives_in().any(|found| found.number.get() == number_of(drive));
        let is_back = change.back.is_none_or(is_in);
        view.counter = Le32::new(latest.counter.get() + 1);
        (may_follow && is_back).then_some(view)
    }
}

/// A change of the view, by the places of the drives.
#[derive(Clone, Debug, Default)]
pub(super) struct Change {
    /// Drives that failed.
    pub lost: Vec<u16>,
    /// A drive that was out of the view.
    pub back: Option<u16>,
    /// A drive that is ready to be the home of all shards that it was a home of.
    pub home: Option<u16>,
    /// A drive that no view knows yet, as the first view that has it says.
    pub joining: Option<ViewDriveOnDisk>,
    /// A drive, and whether what it holds is moved to others from now on.
    pub leaving: Option<(u16, bool)>,
    /// A drive, and whether it gets its share of old stripes from now on.
    pub spreading: Option<(u16, bool)>,
    /// A shard that gets another home.
    pub moved: Option<HomeMove>,
    /// A drive that nothing lies on any more, which leaves for good.
    pub emptied: Option<u16>,
    /// One that was to leave so, and stays since another drive failed.
    pub kept: Option<u16>,
}

/// A shard with the places of a drive that is its home, and of one that is ready to be it instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HomeMove {
    pub shard: u16,
    pub from: u16,
    pub to: u16,
}

impl Change {
    /// A drive is in the view again.
    pub fn back(drive: u16) -> Self {
        Self { back: Some(drive), ..Self::default() }
    }

    /// A drive is a home again.
    pub fn home(drive: u16) -> Self {
        Self { home: Some(drive), ..Self::default() }
    }

    /// The same change, but a drive failed too.
    pub fn without(&self, drive: u16) -> Self {
        let mut change = self.clone();
        if let Some(emptied) = change.emptied.take_if(|emptied| *emptied != drive && !change.lost.is_empty())
        {
            change.lost.retain(|lost| *lost != emptied);
            change.kept = Some(emptied);
        }
        change.lost.push(drive);
        change.back.take_if(|back| *back == drive);
        change
    }

    /// A drive that nothing lies on leaves for good.
    pub fn emptied(drive: u16) -> Self {
        Self { lost: vec![drive], emptied: Some(drive), ..Self::default() }
    }

    /// Moves the home in a view, which a view that was begun may have done already. If the new home is lost, the old
    /// one has its place again. Returns the shard and the slot of the drive that is ready to be its home, or `None`
    /// when the homes are others than was meant.
    fn move_home(&self, view: &mut ViewOnDisk, number_of: NumberOf<'_>) -> Option<Option<(u16, u16)>> {
        let Some(HomeMove { shard, from, to }) = self.moved else { return Some(None) };
        if self.lost.contains(&from) {
            return Some(None);
        }
        let (old, new) = (number_of(from), number_of(to));
        if old >= HOME_LACKS || new >= HOME_LACKS {
            return None;
        }
        let is_lost = self.lost.contains(&to);
        let (leaves, comes) = if is_lost { (new | HOME_LACKS, old) } else { (old, new) };
        let homes = &mut view.homes[usize::from(shard)].drives;
        let count = |number: u16| homes.iter().filter(|home| home.get() == number).count();
        match (count(leaves), count(comes)) {
            (1, 0) => {
                homes
                    .iter_mut()
                    .filter(|home| home.get() == leaves)
                    .for_each(|home| *home = Le16::new(comes));
            }
            (0, 1) => {}
            _ => return None,
        }
        let slot = view
            .drives
            .iter()
            .position(|drive| drive.number.get() == comes && drive.state.get() == DRIVE_IN)?;
        Some(Some((shard, slot as u16)))
    }

    /// Notes in a view which drive is emptied from now on, or is not any more, and which has been. Returns `None` when
    /// one is to leave that is to stay.
    fn empty(&self, view: &mut ViewOnDisk, number_of: NumberOf<'_>) -> Option<()> {
        for drive in view.drives.iter_mut().filter(|drive| drive.state.get() != DRIVE_NONE) {
            let number = drive.number.get();
            let is = |place: u16| number_of(place) == number;
            if let Some((_, leaves)) = self.leaving.filter(|(place, _)| is(*place)) {
                drive.set_flag(LEAVES, leaves);
                drive.set_flag(SPREADS, drive.spreads() && !leaves);
            }
            if let Some((_, spreads)) = self.spreading.filter(|(place, _)| is(*place)) {
                drive.set_flag(SPREADS, spreads && !drive.leaves());
            }
            if self.emptied.is_some_and(is) {
                if !drive.leaves() && drive.state.get() != DRIVE_EMPTIED {
                    return None;
                }
                (drive.state, drive.flags) = (Le16::new(DRIVE_EMPTIED), Le16::new(0));
            }
            if self.kept.is_some_and(is) && drive.state.get() == DRIVE_EMPTIED {
                (drive.state, drive.flags) = (Le16::new(DRIVE_IN), Le16::new(LEAVES));
            }
        }
        Some(())
    }
}
