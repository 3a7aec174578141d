//! Emptying a drive while the node runs, so that it may be pulled: all that it holds is moved to others first. And the
//! share of shards that a drive gets that was added.
//!
//! Invariants:
//! - The view says that the drive leaves, so that what was begun goes on after a restart, and behind a failure.
//! - It leaves the view for good when no set names it, and no shard is at home there. Until then it holds all that it
//!   was given.

use std::collections::BTreeMap;
use std::fmt;
use std::rc::Rc;

use super::moves::{AGAIN_MS, Moved, Stop};
use super::state::CoreState;
use super::views::{Change, HomeMove};
use crate::format::superblock::{ROOTS, ViewOnDisk};
use crate::hook::{Bug, Rare, reached};

/// Free extents that a new home has to have beside those that it gets: for the log's next set, and a checkpoint.
const SPARE_EXTENTS: u64 = 4;

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
    /// It is the home of so many shards, and the others can be that of so many more.
    TooManyShards { shards: usize, room: usize },
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
            Self::TooManyShards { shards, room } => write!(
                formatter,
                "{shards} shards are at home on the drive, and the others can be the homes of {room} more"
            ),
            Self::NotLeaving => formatter.write_str("the drive is not being emptied"),
            Self::NotNow => formatter.write_str("the view can not be changed now"),
        }
    }
}

impl std::error::Error for DrainError {}

/// Goes on with what an earlier life has begun, from core 0.
pub(super) fn start(core: &Rc<CoreState>) {
    if !core.layout.is_redundant() {
        return;
    }
    let there = core.clone();
    core.environment.spawn(Box::pin(async move {
        there.drop_all_strays().await;
        let places: Vec<u16> = there.places_that_stay().collect();
        places.into_iter().for_each(|place| there.share_in_time(place));
        for place in 0..there.layout.places() {
            if there.view_leaves(there.number_of(place)) {
                there.empty_in_time(place);
            }
            there.spread_in_time(place);
        }
    }));
}

impl CoreState {
    /// Begins to empty a drive, from core 0.
    ///
    /// # Errors
    /// Returns [`DrainError`].
    pub(super) async fn begin_drain(self: Rc<Self>, number: u16) -> Result<(), DrainError> {
        let place = self.place_of(number).ok_or(DrainError::Unknown)?;
        if !self.layout.is_redundant() {
            return Err(DrainError::NotRedundant);
        }
        if !self.is_whole(place) {
            return Err(DrainError::NotWhole);
        }
        let others = self.places_that_stay().filter(|other| *other != place).count();
        let copies = usize::from(self.layout.geometry_of(0).copies);
        let needed = copies.max(self.layout.geometry_of(0).shape.members());
        if others < needed {
            return Err(DrainError::TooFew { needed, others });
        }
        self.has_room_for_homes(place)?;
        if !self.view_leaves(number) {
            let change = Change { leaving: Some((place, true)), ..Change::default() };
            if !self.change_view(change).await {
                return Err(DrainError::NotNow);
            }
            tracing::info!(drive = number, "a drive is emptied");
        }
        self.empty_in_time(place);
        Ok(())
    }

    /// Checks that the other drives can be the homes of the shards that one is the home of.
    fn has_room_for_homes(&self, place: u16) -> Result<(), DrainError> {
        let latest = self.views.latest.borrow();
        let others = self.places_that_stay().filter(|other| *other != place);
        let room: usize = others.map(|other| ROOTS.saturating_sub(self.shards_at_home(&latest, other))).sum();
        let shards = self.shards_at_home(&latest, place);
        if shards > room { Err(DrainError::TooManyShards { shards, room }) } else { Ok(()) }
    }

    /// Starts the task that empties a drive, if there is none.
    pub(super) fn empty_in_time(self: &Rc<Self>, place: u16) {
        let core = self.clone();
        self.start_once(place, |views| &views.emptying, async move { core.empty(place).await });
    }

    /// Empties a drive, and gives up when the node closes, the drive leaves, or is to stay.
    async fn empty(self: &Rc<Self>, place: u16) {
        let number = self.number_of(place);
        loop {
            if self.closing.get() || self.has_left(place) || !self.view_leaves(number) {
                self.views.reasons.borrow_mut().remove(&place);
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
        reached(Rare::DriveEmptied);
        self.views.reasons.borrow_mut().insert(place, "empty, and may be pulled".to_owned());
        tracing::info!(drive = number, "a drive is empty, and may be pulled");
    }

    async fn empty_once(self: &Rc<Self>, place: u16) -> Moved {
        let sums = self.layout.catch_up_of(place);
        sums.begin(self.environment.monotonic_us());
        let mut used = self.used_bytes(place).await;
        sums.add(used);
        for shard in 0..self.layout.shards {
            let _turn = self.turn_to_move().await;
            if !self.is_whole(place) {
                return Err(Stop::Later("it is not up to date".to_owned()));
            }
            self.empty_shard(shard, place).await?;
            let left = self.used_bytes(place).await;
            sums.done(used.saturating_sub(left));
            used = left;
        }
        let _turn = self.turn_to_move().await;
        self.leave_empty(place).await
    }

    /// Moves what a drive has of a shard to others.
    async fn empty_shard(self: &Rc<Self>, shard: u16, place: u16) -> Moved {
        self.drop_strays(shard).await?;
        if self.homes_in_latest(shard).contains(&self.number_of(place)) {
            let to = self.new_home_for(shard).await?;
            self.move_home(HomeMove { shard, from: place, to }, true).await?;
        }
        self.let_go(shard, place, true).await
    }

    /// Takes a drive out of the view for good, if nobody has anything on it.
    async fn leave_empty(self: &Rc<Self>, place: u16) -> Moved {
        let keeper = self.layout.allocator_core(place);
        let close = move |core: Rc<Self>| async move { core.allocator(place).close(true) };
        self.call_or(keeper, close, |_, ()| ()).await;
        let is_empty = self.used_bytes(place).await == 0;
        let may_leave = is_empty || self.layout.geometry_of(0).planted.is(Bug::DrainLeavesTail);
        if may_leave && self.change_view(Change::emptied(place)).await && self.is_out(place) {
            return Ok(());
        }
        let open = move |core: Rc<Self>| async move { core.allocator(place).close(false) };
        self.call_or(keeper, open, |_, ()| ()).await;
        let reason = match may_leave {
            true => "the view could not be changed",
            false => "something was stored there meanwhile",
        };
        Err(Stop::Later(reason.to_owned()))
    }

    /// Has all shards let go what interrupted moves have left on drives that are no homes of them.
    async fn drop_all_strays(self: &Rc<Self>) {
        for shard in 0..self.layout.shards {
            let _turn = self.turn_to_move().await;
            // Where a shard lacks a home, that is done before something of it is moved.
            if let Err(Stop::Over) = self.drop_strays(shard).await {
                return;
            }
        }
    }

    /// Returns the bytes in extents of a drive that somebody has.
    async fn used_bytes(self: &Rc<Self>, place: u16) -> u64 {
        let room = self.room_of(place).await;
        u64::from(room.extents - room.free) * u64::from(self.layout.geometry_of(0).extent_bytes)
    }

    /// Chooses the drive that is home of the fewest shards, of those that stay and have room for one more.
    async fn new_home_for(self: &Rc<Self>, shard: u16) -> Result<u16, Stop> {
        let (mut free, counts) = {
            let latest = self.views.latest.borrow();
            let taken: Vec<u16> = latest.home_numbers(shard).chain(latest.wanted_numbers(shard)).collect();
            let free: Vec<u16> =
                self.places_that_stay().filter(|place| !taken.contains(&self.number_of(*place))).collect();
            let counts: BTreeMap<u16, usize> =
                free.iter().map(|place| (*place, self.shards_at_home(&latest, *place))).collect();
            (free, counts)
        };
        free.sort_by_key(|place| counts[place]);
        for place in free {
            if counts[&place] < ROOTS && self.has_room_for(shard, place).await {
                return Ok(place);
            }
        }
        Err(Stop::Later(format!("no other drive has room to be the home of shard {shard}: add one")))
    }

    /// Returns whether a drive has room for what a home of a shard holds, and for what it needs to go on.
    async fn has_room_for(self: &Rc<Self>, shard: u16, place: u16) -> bool {
        let count =
            move |core: Rc<Self>| async move { core.shard(shard).copied_sets_beside(&|_| false).len() };
        let sets = self.call(self.layout.core_of(shard), count).await as u64;
        u64::from(self.room_of(place).await.free) >= sets + SPARE_EXTENTS
    }

    /// Returns of how many shards a drive is the home.
    fn shards_at_home(&self, view: &ViewOnDisk, place: u16) -> usize {
        let number = self.number_of(place);
        (0..self.layout.shards).filter(|shard| view.home_numbers(*shard).any(|home| home == number)).count()
    }

    /// Makes a drive that was added the home of as many shards as others are of, from core 0.
    async fn take_share(self: Rc<Self>, place: u16) {
        loop {
            let turn = self.turn_to_move().await;
            let Some(moved) = self.next_for_share(place) else { return };
            let outcome = self.share(moved).await;
            drop(turn);
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

    async fn share(self: &Rc<Self>, moved: HomeMove) -> Moved {
        self.drop_strays(moved.shard).await?;
        if !self.has_room_for(moved.shard, moved.to).await {
            return Err(Stop::Later(format!("it has no room for shard {}", moved.shard)));
        }
        self.move_home(moved, false).await?;
        self.let_go(moved.shard, moved.from, false).await
    }

    /// Returns the next shard that an added drive takes from the one that is the home of most, while it is the home of
    /// fewer than all are on average.
    fn next_for_share(&self, place: u16) -> Option<HomeMove> {
        let (latest, number) = (self.views.latest.borrow(), self.number_of(place));
        let staying: Vec<u16> = self.places_that_stay().collect();
        let counts = staying.iter().map(|drive| (self.shards_at_home(&latest, *drive), *drive));
        let all: usize = counts.clone().map(|(count, _)| count).sum();
        let own = self.shards_at_home(&latest, place);
        if !staying.contains(&place) || own >= (all / staying.len()).min(ROOTS) {
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
