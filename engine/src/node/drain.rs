//! Emptying a drive while the node runs, so that it may be pulled: all that it holds is moved to others first. And the
//! share of shards that a drive gets that was added.
//!
//! Invariants:
//! - The view says that the drive leaves, so that what was begun goes on after a restart, and behind a failure.
//! - It leaves the view for good when no set names it, and no shard is at home there. Until then it holds all that it
//!   was given.

use std::fmt;
use std::rc::Rc;

use super::core::Core;
use super::moves::{Moved, Stop};
use super::state::CoreState;
use super::views::{Change, HomeMove};
use crate::format::superblock::ViewOnDisk;
use crate::hook::{Bug, Rare, reached};

/// Time between two tries, milliseconds.
const AGAIN_MS: u64 = 10_000;

/// The reason why a drive can not be emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DrainError {
    /// The set has no drive of this number, or it is not here.
    Unknown,
    /// The set has no redundancy.
    NotRedundant,
    /// It is out of the view, or not up to date yet.
    NotWhole,
    /// So many other drives have to be whole, and so many are.
    TooFew { needed: usize, others: usize },
    /// It is not being emptied, so that there is nothing to stop.
    NotLeaving,
    /// The view can not be changed now.
    NotNow,
}

impl fmt::Display for DrainError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => formatter.write_str("the server has no drive of this number"),
            Self::NotRedundant => {
                formatter.write_str("the set has no redundancy, and so no drive of it can come or go")
            }
            Self::NotWhole => formatter.write_str("the drive is out of the view, or not up to date yet"),
            Self::TooFew { needed, others } => write!(
                formatter,
                "what the drive holds has to lie on {needed} other drives, and {others} others are in and whole"
            ),
            Self::NotLeaving => formatter.write_str("the drive is not being emptied"),
            Self::NotNow => formatter.write_str("the view can not be changed now"),
        }
    }
}

impl std::error::Error for DrainError {}

impl Core {
    /// Begins to move all that a drive holds to others. When that has ended, the drive leaves the view for good.
    /// [`Self::drives`] tells how far it is.
    ///
    /// # Errors
    /// Returns [`DrainError`]. The drive stays then.
    pub async fn drain(&self, number: u16) -> Result<(), DrainError> {
        let drain = move |core: Rc<CoreState>| async move { core.begin_drain(number).await };
        self.state().call_or(0, drain, |_, _| ()).await
    }

    /// Has a drive stay that was being emptied. What was moved stays where it is.
    ///
    /// # Errors
    /// Returns [`DrainError`].
    pub async fn stop_drain(&self, number: u16) -> Result<(), DrainError> {
        let stop = move |core: Rc<CoreState>| async move {
            let place = core.place_of(number).ok_or(DrainError::Unknown)?;
            if !core.view_leaves(number) {
                return Err(DrainError::NotLeaving);
            }
            let change = Change { leaving: Some((place, false)), ..Change::default() };
            if core.change_view(change).await { Ok(()) } else { Err(DrainError::NotNow) }
        };
        self.state().call_or(0, stop, |_, _| ()).await
    }
}

/// Goes on with what an earlier life has begun, from core 0.
pub(super) fn start(core: &Rc<CoreState>) {
    let numbers: Vec<u16> = {
        let view = core.views.latest.borrow();
        view.drives_in().filter(|drive| drive.leaves()).map(|drive| drive.number.get()).collect()
    };
    numbers
        .into_iter()
        .filter_map(|number| core.place_of(number))
        .for_each(|place| core.empty_in_time(place));
    core.places_that_stay().for_each(|place| core.share_in_time(place));
}

impl CoreState {
    async fn begin_drain(self: Rc<Self>, number: u16) -> Result<(), DrainError> {
        let place = self.place_of(number).ok_or(DrainError::Unknown)?;
        if !self.layout.is_redundant() {
            return Err(DrainError::NotRedundant);
        }
        if !self.is_whole(place) {
            return Err(DrainError::NotWhole);
        }
        let others = self.places_that_stay().filter(|other| *other != place).count();
        let copies = usize::from(self.layout.superblocks[0].parity_members) + 1;
        let needed = copies.max(self.layout.geometry_of(0).shape.members());
        if others < needed {
            return Err(DrainError::TooFew { needed, others });
        }
        let was_leaving = self.view_leaves(number);
        let change = Change { leaving: Some((place, true)), ..Change::default() };
        if !was_leaving && !self.change_view(change).await {
            return Err(DrainError::NotNow);
        }
        if !was_leaving {
            tracing::info!(drive = number, "a drive is emptied");
            self.empty_in_time(place);
        }
        Ok(())
    }

    /// Starts the task that empties a drive.
    pub(super) fn empty_in_time(self: &Rc<Self>, place: u16) {
        let core = self.clone();
        self.environment.spawn(Box::pin(async move { core.empty(place).await }));
    }

    /// Empties a drive, and gives up when the node closes, the drive leaves, or is to stay.
    async fn empty(self: Rc<Self>, place: u16) {
        let number = self.number_of(place);
        loop {
            if self.closing.get() || self.has_left(place) || !self.view_leaves(number) {
                return;
            }
            let reason = match self.empty_once(place).await {
                Ok(()) => break,
                Err(Stop::Over) => "interrupted".to_owned(),
                Err(Stop::Later(reason)) => reason,
            };
            tracing::warn!(drive = number, reason, "a drive is not empty yet; trying again");
            self.views.reasons.borrow_mut().insert(place, format!("not empty yet: {reason}"));
            self.environment.sleep(AGAIN_MS).await;
        }
        let change = Change { emptied: Some(place), ..Change::default().without(place) };
        if !self.change_view(change).await {
            tracing::error!(drive = number, "a drive that is empty could not leave the view");
            return;
        }
        reached(Rare::DriveEmptied);
        self.views.reasons.borrow_mut().insert(place, "empty, and may be pulled".to_owned());
        tracing::info!(drive = number, "a drive is empty, and may be pulled");
    }

    async fn empty_once(self: &Rc<Self>, place: u16) -> Moved {
        let number = self.number_of(place);
        let sums = self.layout.catch_up_of(place);
        sums.begin(self.environment.monotonic_us());
        let mut used = self.used_bytes(place).await;
        sums.add(used);
        for shard in 0..self.layout.shards {
            if self.homes_in_latest(shard).contains(&number) {
                let to = self.new_home_for(shard)?;
                self.move_home(HomeMove { shard, from: place, to }, true).await?;
            }
            if self.homes_in_latest(shard).len() <= usize::from(self.layout.superblocks[0].parity_members) {
                return Err(Stop::Later("a shard has too few homes".to_owned()));
            }
            self.let_go(shard, place, true).await?;
            let left = self.used_bytes(place).await;
            sums.done(used.saturating_sub(left));
            used = left;
        }
        let is_empty = used == 0 || self.layout.geometry_of(0).planted.is(Bug::DrainLeavesTail);
        if is_empty { Ok(()) } else { Err(Stop::Later("something was stored there meanwhile".to_owned())) }
    }

    /// Returns the bytes in extents of a drive that somebody has.
    async fn used_bytes(self: &Rc<Self>, place: u16) -> u64 {
        let ask = move |core: Rc<Self>| async move { core.allocator(place).room() };
        let room = self.call(self.layout.allocator_core(place), ask).await;
        u64::from(room.extents - room.free) * u64::from(self.layout.geometry_of(0).extent_bytes)
    }

    /// Returns the numbers of a shard's homes in the latest view.
    fn homes_in_latest(&self, shard: u16) -> Vec<u16> {
        self.views.latest.borrow().home_numbers(shard).collect()
    }

    /// Chooses the drive that is home of the fewest shards, of those that stay.
    fn new_home_for(&self, shard: u16) -> Result<u16, Stop> {
        let latest = self.views.latest.borrow();
        let taken: Vec<u16> = latest.home_numbers(shard).chain(latest.wanted_numbers(shard)).collect();
        let free = self.places_that_stay().filter(|place| !taken.contains(&self.number_of(*place)));
        let reason = || format!("no other drive can be the home of shard {shard}");
        free.min_by_key(|place| self.shards_at_home(&latest, *place)).ok_or_else(|| Stop::Later(reason()))
    }

    /// Returns of how many shards a drive is the home.
    fn shards_at_home(&self, view: &ViewOnDisk, place: u16) -> usize {
        let number = self.number_of(place);
        (0..self.layout.shards).filter(|shard| view.home_numbers(*shard).any(|home| home == number)).count()
    }

    /// Makes a drive that was added the home of as many shards as others are of, from core 0.
    async fn take_share(self: Rc<Self>, place: u16) {
        loop {
            let Some(moved) = self.next_for_share(place) else { return };
            let outcome = match self.move_home(moved, false).await {
                Ok(()) => self.let_go(moved.shard, moved.from, false).await,
                Err(stop) => Err(stop),
            };
            match outcome {
                Ok(()) => tracing::debug!(?moved, "a shard has another home"),
                Err(Stop::Over) => return,
                Err(Stop::Later(reason)) => {
                    let drive = self.number_of(place);
                    tracing::warn!(
                        drive,
                        reason,
                        "a new drive has not got its share of shards yet; trying again"
                    );
                    self.environment.sleep(AGAIN_MS).await;
                }
            }
            if self.closing.get() || !self.places_that_stay().any(|other| other == place) {
                return;
            }
        }
    }

    /// Returns the next shard that an added drive takes from the one that is the home of most, while it is the home of
    /// fewer than all are on average.
    fn next_for_share(&self, place: u16) -> Option<HomeMove> {
        let (latest, number) = (self.views.latest.borrow(), self.number_of(place));
        let staying: Vec<u16> = self.places_that_stay().collect();
        let counts = staying.iter().map(|drive| (self.shards_at_home(&latest, *drive), *drive));
        let all: usize = counts.clone().map(|(count, _)| count).sum();
        let own = self.shards_at_home(&latest, place);
        if !staying.contains(&place) || own >= all / staying.len() {
            return None;
        }
        let (most, from) = counts.max()?;
        let from_number = self.number_of(from);
        let may_move = |shard: &u16| {
            let mut homes = latest.home_numbers(*shard);
            homes.any(|home| home == from_number)
                && !latest.home_numbers(*shard).any(|home| home == number)
                && latest.wanted_numbers(*shard).next().is_none()
        };
        let shard = (0..self.layout.shards).find(may_move).filter(|_| most > own + 1)?;
        Some(HomeMove { shard, from, to: place })
    }

    /// Starts to make a drive the home of its share of shards if it was added, from core 0.
    pub(super) fn share_in_time(self: &Rc<Self>, place: u16) {
        let number = self.number_of(place);
        let is_added = {
            let latest = self.views.latest.borrow();
            latest.drives_in().any(|drive| drive.number.get() == number && drive.is_added())
        };
        if is_added {
            self.environment.spawn(Box::pin(self.clone().take_share(place)));
        }
    }
}
