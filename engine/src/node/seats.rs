//! Drives that come while the node runs: one that was away, or a new one that takes the place of one that is gone.
//!
//! Invariants (decision 0016, rules 3, 5 and 8):
//! - A drive takes a seat that no drive had in this life: what was sent to it at another place has been answered,
//!   and nothing more is sent there.
//! - No extent of it is handed out before each shard has claimed what its sets have there.
//! - It is written to from the view on that has it, and nothing that it holds is believed before it is brought up
//!   to date.

use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use super::catch_up::bring_back;
use super::core::Core;
use super::layout::{holds_nothing, join, joining};
use super::new_drive::NewDrive;
use super::state::CoreState;
use super::views::Change;
use crate::device::watch::Part;
use crate::extent::allocator::ExtentAllocator;
use crate::format::BLOCK_BYTES;
use crate::format::superblock::{
    DRIVE_EMPTIED, DRIVE_GONE, DRIVE_IN, SuperblockOnDisk, VIEW_DRIVES, ViewDriveOnDisk,
};
use crate::hook::{Bug, Rare, reached};

/// The key of the lock that is held while a drive takes a seat.
const SEATING: u64 = 0;

/// The reason why a drive can not come while the node runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OnlineError {
    /// The set has no redundancy.
    NotRedundant,
    /// It is a drive of another set, or unlike the drives of this one.
    OtherSet,
    /// It is in the view.
    IsIn,
    /// What was sent to it before it left has not been answered.
    IsBusy,
    /// It is gone for good: it was named so, or another drive has taken its place.
    Gone,
    /// It holds what this set knows nothing of.
    OtherHistory,
    /// The set does not know it, and it takes no place of this set.
    Unknown,
    /// The drive with this number, whose place it is to take, is in the view.
    ReplacedIsIn(u16),
    /// Another drive has taken the place that it is to take.
    Taken,
    /// Every seat of this life has had a drive.
    NoSeat,
    /// The set has had as many drives as a set ever has.
    Full,
    /// It holds something for two shards at one place.
    Damaged,
    /// It could not be reached or written to.
    Failed(String),
    /// The node is opening or closing, or another drive failed in a way that lets no view follow.
    NotNow,
}

impl fmt::Display for OnlineError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotRedundant => {
                formatter.write_str("the set has no redundancy, and so no drive of it can come or go")
            }
            Self::OtherSet => formatter.write_str("it is a drive of another set"),
            Self::IsIn => formatter.write_str("the drive is in the view already"),
            Self::IsBusy => {
                formatter.write_str("the drive has not answered what was sent to it before it left")
            }
            Self::Gone => formatter.write_str("the drive is gone for good: it was named so, or was replaced"),
            Self::OtherHistory => formatter
                .write_str("the drive went on without the others, and may hold what they know nothing of"),
            Self::Unknown => formatter.write_str("the set does not know the drive"),
            Self::ReplacedIsIn(number) => {
                write!(formatter, "drive {number}, whose place it is to take, is in the view")
            }
            Self::Taken => formatter.write_str("another drive has taken the place that it was made for"),
            Self::NoSeat => formatter.write_str("as many drives have come since the start as may"),
            Self::Full => write!(formatter, "the set has had {VIEW_DRIVES} drives, which is the most"),
            Self::Damaged => formatter.write_str("two shards have the same extent on it"),
            Self::Failed(reason) => write!(formatter, "the drive failed: {reason}"),
            Self::NotNow => formatter.write_str("the view can not be changed now"),
        }
    }
}

impl std::error::Error for OnlineError {}

impl Core {
    /// Lets a drive go that has left the view, so that it can be opened again. It does nothing with one that is not
    /// here.
    ///
    /// # Errors
    /// Returns [`OnlineError::IsIn`], or [`OnlineError::IsBusy`] while the drive has something to answer.
    pub async fn release_drive(&self, uuid: [u8; 16]) -> Result<(), OnlineError> {
        let release = move |core: Rc<CoreState>| async move {
            let _one = core.views.seating.lock(SEATING).await;
            core.release(uuid).await
        };
        self.state().call_or(0, release, |_, _| ()).await
    }

    /// Takes a drive into the set: one that was away, or one that was made to take the place of another one. When this
    /// returns, the drive is in the view and gets all that is written. It is brought up to date behind that, which
    /// [`Self::drives`] tells of. Returns its number.
    ///
    /// # Errors
    /// Returns [`OnlineError`]. The set goes on without the drive then.
    pub async fn take_drive(&self, drive: NewDrive) -> Result<u16, OnlineError> {
        let take = move |core: Rc<CoreState>| async move {
            let _one = core.views.seating.lock(SEATING).await;
            core.take_drive(Arc::new(drive)).await
        };
        // What has begun goes on, even if nobody waits for it any more.
        self.state().call_or(0, take, |_, _| ()).await
    }
}

impl CoreState {
    /// Returns where a drive is that this core has opened.
    pub(super) fn drive_path(&self, place: u16) -> Option<PathBuf> {
        self.drives[usize::from(place)].kept_open.borrow().as_ref().map(|open| open.path.clone())
    }

    /// Lets a drive go on every core, from core 0.
    async fn release(self: &Rc<Self>, uuid: [u8; 16]) -> Result<(), OnlineError> {
        let number = {
            let latest = self.views.latest.borrow();
            latest.drives_known().find(|drive| drive.uuid == uuid).map(|drive| drive.number.get())
        };
        let Some(place) = number.and_then(|number| self.place_of(number)) else { return Ok(()) };
        if !self.is_out(place) {
            return Err(OnlineError::IsIn);
        }
        if !self.layout.geometry_of(0).planted.is(Bug::SeatWhileBusy) {
            for core in 0..self.layout.cores {
                let ask =
                    move |core: Rc<Self>| async move { core.drives[usize::from(place)].device.is_idle() };
                if !self.call(core, ask).await {
                    return Err(OnlineError::IsBusy);
                }
            }
        }
        for core in 0..self.layout.cores {
            let leave = move |core: Rc<Self>| async move {
                let drive = &core.drives[usize::from(place)];
                drive.number.set(None);
                core.seats.detach(place);
                drive.kept_open.take();
            };
            self.call(core, leave).await;
        }
        self.views.reasons.borrow_mut().remove(&place);
        Ok(())
    }

    /// Takes a drive into the set, from core 0.
    async fn take_drive(self: Rc<Self>, drive: Arc<NewDrive>) -> Result<u16, OnlineError> {
        let joining = self.may_take(&drive.superblock)?;
        if self.closing.get() || !self.views.may_change.get() {
            return Err(OnlineError::NotNow);
        }
        self.release(drive.uuid()).await?;
        let is_free = |place: &u16| {
            let seat = &self.drives[usize::from(*place)].seat;
            seat.as_ref().is_some_and(|seat| !seat.is_taken())
        };
        let place = self.layout.seats().find(is_free).ok_or(OnlineError::NoSeat)?;
        let number = drive.superblock.drive_number.get();
        for core in 0..self.layout.cores {
            let drive = drive.clone();
            let attach = move |core: Rc<Self>| async move { core.attach(place, &drive) };
            if let Err(reason) = self.call(core, attach).await {
                self.clear_seat(place).await;
                return Err(OnlineError::Failed(reason));
            }
        }
        let block = drive.superblock.clone();
        let keep = move |core: Rc<Self>| async move {
            let (device, claims) =
                (core.drives[usize::from(place)].device.clone(), core.layout.claims_on(place));
            let allocator = ExtentAllocator::new(device, core.pool.clone(), *block, claims);
            core.allocators.borrow_mut().insert(place, allocator);
        };
        self.call(self.layout.allocator_core(place), keep).await;
        let shards = self.shards_of_seat(number, joining);
        let leaves = self.view_leaves(number);
        for core in 0..self.layout.cores {
            let shards = shards.clone();
            let sit = move |core: Rc<Self>| async move { core.sit(place, (number, leaves), &shards).await };
            self.call(core, sit).await;
        }
        let conflict = move |core: Rc<Self>| async move { core.allocator(place).has_conflict() };
        let taken = match self.call(self.layout.allocator_core(place), conflict).await {
            true => Err(OnlineError::Damaged),
            false => match self.change_view(Change { joining, ..Change::back(place) }).await {
                true => Ok(number),
                false => Err(OnlineError::Failed("it could not be written to, or left again".to_owned())),
            },
        };
        if taken.is_err() {
            self.clear_seat(place).await;
            return taken;
        }
        reached(Rare::DriveSeated);
        let core = self.clone();
        self.environment.spawn(Box::pin(async move { bring_back(&core, place).await }));
        taken
    }

    /// Takes a seat away again from a drive that has not got it, on every core.
    async fn clear_seat(self: &Rc<Self>, place: u16) {
        for core in 0..self.layout.cores {
            let leave = move |core: Rc<Self>| async move { core.stand_up(place) };
            self.call(core, leave).await;
        }
    }

    /// Judges whether a drive may come, by what it says of itself. Returns how the view is to name it if it is new.
    fn may_take(&self, block: &SuperblockOnDisk) -> Result<Option<ViewDriveOnDisk>, OnlineError> {
        let own = &self.layout.superblocks[0];
        if !self.layout.is_redundant() {
            return Err(OnlineError::NotRedundant);
        }
        let shape = |block: &SuperblockOnDisk| {
            let members = (block.data_members, block.parity_members);
            (block.set_uuid, block.hash_key, block.shards.get(), members, block.extent_bytes.get())
        };
        if shape(block) != shape(own) {
            return Err(OnlineError::OtherSet);
        }
        let latest = self.views.latest.borrow();
        let known = latest.drives_known().find(|drive| drive.uuid == block.drive_uuid);
        if let Some(known) = known {
            let knows = |uuid| block.view.drives_in().any(|drive| drive.uuid == uuid);
            let is_of_this_history =
                holds_nothing(block) || latest.drives_in().any(|drive| knows(drive.uuid));
            return match known.state.get() {
                DRIVE_IN => Err(OnlineError::IsIn),
                DRIVE_GONE | DRIVE_EMPTIED => Err(OnlineError::Gone),
                _ if known.number != block.drive_number => Err(OnlineError::OtherSet),
                _ if block.view.number() >= latest.number() || !is_of_this_history => {
                    Err(OnlineError::OtherHistory)
                }
                _ => Ok(None),
            };
        }
        let joining = joining(&latest, block).ok_or(OnlineError::Unknown)?;
        let is_full = latest.drives_known().count() >= VIEW_DRIVES;
        let Some(replaced) = joining.replaced() else {
            return if is_full { Err(OnlineError::Full) } else { Ok(Some(joining)) };
        };
        // The number may be that of another drive, if the one that this was made with was cut off.
        let meant = block.view.drives_known().find(|drive| drive.number.get() == replaced);
        let named = meant.and_then(|meant| latest.drives_known().find(|drive| drive.uuid == meant.uuid));
        match named {
            None => Err(OnlineError::Unknown),
            Some(_) if latest.successor_of(replaced).is_some() => Err(OnlineError::Taken),
            Some(named) if named.state.get() == DRIVE_IN => Err(OnlineError::ReplacedIsIn(replaced)),
            Some(_) if is_full => Err(OnlineError::Full),
            Some(_) => Ok(Some(joining)),
        }
    }

    /// Returns the shards that a drive is to be a home of, once it is up to date.
    fn shards_of_seat(&self, number: u16, joining: Option<ViewDriveOnDisk>) -> Vec<u16> {
        let mut view = self.views.latest.borrow().clone();
        joining.into_iter().for_each(|joining| join(&mut view, joining));
        let is_for = |shard: &u16| view.wanted_numbers(*shard).any(|home| home == number);
        (0..self.layout.shards).filter(is_for).collect()
    }

    /// Makes this core reach a drive at a seat.
    fn attach(&self, place: u16, drive: &NewDrive) -> Result<(), String> {
        let device = self.seats.attach(place, drive)?;
        let at = &self.drives[usize::from(place)];
        at.seat.as_ref().unwrap_or_else(|| panic!("place {place} is no seat")).take(device);
        at.question.set(self.pool.try_take(BLOCK_BYTES));
        at.kept_open.replace(drive.open.clone());
        Ok(())
    }

    /// Notes on this core which drive has a seat, and claims what this core's shards have on it.
    async fn sit(self: &Rc<Self>, place: u16, (number, leaves): (u16, bool), shards: &[u16]) {
        let drive = &self.drives[usize::from(place)];
        drive.number.set(Some(number));
        drive.watch.iter().for_each(|watch| {
            watch.enter(Part::Returning);
            watch.set_leaving(leaves);
        });
        for shard in 0..self.layout.shards {
            let homes = &mut self.homes.borrow_mut()[usize::from(shard)];
            // What has left comes back to another seat, if at all.
            homes.retain(|home| !self.is_out(*home));
            homes.extend(Some(place).filter(|_| shards.contains(&shard)));
        }
        (0..self.layout.shards).for_each(|shard| self.note_homes(shard));
        // All in this step: what a shard frees from now on goes to this place, behind its claim.
        let keeper = self.layout.allocator_core(place);
        for shard in self.own_shards() {
            let forgets = self.layout.geometry_of(0).planted.is(Bug::SeatWithoutClaims);
            let places = if forgets { Vec::new() } else { shard.all_sets() };
            let extents = places.iter().filter_map(|place| place.members.on(number)).collect();
            shard.forget_left(number);
            self.send(keeper, Box::new(move |core| core.allocator(place).note_claim(extents)));
        }
        self.call(keeper, |_| async {}).await;
    }

    /// Notes on this core that a drive has not got its seat.
    fn stand_up(&self, place: u16) {
        let drive = &self.drives[usize::from(place)];
        drive.watch.iter().for_each(|watch| watch.leave());
        drive.number.set(None);
        self.seats.detach(place);
        drive.kept_open.take();
        self.homes.borrow_mut().iter_mut().for_each(|homes| homes.retain(|home| *home != place));
        (0..self.layout.shards).for_each(|shard| self.note_homes(shard));
    }

    /// Returns the shards that a drive is to be a home of, and is not yet, as core 0 knows.
    pub(super) fn shards_to_return_to(&self, drive: u16) -> Vec<u16> {
        let (latest, number) = (self.views.latest.borrow(), self.number_of(drive));
        let homes = self.homes.borrow();
        let is_no_home_yet = |shard: &u16| {
            homes[usize::from(*shard)].contains(&drive)
                && !latest.home_numbers(*shard).any(|home| home == number)
        };
        (0..self.layout.shards).filter(is_no_home_yet).collect()
    }

    /// Returns whether something holds for the drive with a number, as core 0 knows.
    pub(super) fn view_says(&self, number: u16, what: fn(&ViewDriveOnDisk) -> bool) -> bool {
        self.views.latest.borrow().drives_known().any(|drive| drive.number.get() == number && what(drive))
    }

    /// Returns whether what a drive holds is moved to others, as core 0 knows.
    pub(super) fn view_leaves(&self, number: u16) -> bool {
        self.view_says(number, ViewDriveOnDisk::leaves)
    }

    /// Returns the numbers of the drives whose place a drive has taken, as core 0 knows.
    pub(super) fn gives_way_to(&self, drive: u16) -> Vec<u16> {
        let (latest, number) = (self.views.latest.borrow(), self.number_of(drive));
        let known = latest.drives_known().map(|drive| drive.number.get());
        known.filter(|earlier| *earlier != number && latest.has_place_of(number, *earlier)).collect()
    }
}
