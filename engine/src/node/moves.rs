//! Moving what a drive holds to others while the node runs: its homes, and the members of sets that lie there.
//!
//! The steps for a shard, on its core:
//!
//! 1. Another drive prepares to be its home. It gets a member of every set of the log, and of slices if they are
//!    copied: what is made from now on has one there, and what lies elsewhere is copied. Then a checkpoint is written
//!    there too.
//! 2. A view makes it a home in place of the drive that leaves. Nothing is written to the log meanwhile.
//! 3. Each striped set that has a member on the drive gets one elsewhere in its place.
//! 4. Sets that are copied lose the member on the drive.
//! 5. When the records of all that are durable, a checkpoint behind them is in force, and all who may know the old
//!    places have ended, the extents go back.
//!
//! Invariants:
//! - A set never has fewer whole members than before. What is interrupted goes on with the next start: the view says
//!   which drives leave, and which are homes. A copy on any other drive is none that counts, and is dropped.
//! - One thing is moved at a time: what is chosen, and which homes the cores know, follow from the view alone.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use super::scrub::yield_to_others;
use super::state::CoreState;
use super::surroundings::{give, take};
use super::views::{Change, HomeMove, Views};
use crate::device::{DeviceError, Durability};
use crate::error::EngineError;
use crate::extent::allocator::{Class, HeldBack};
use crate::extent::sets::KIND_SLICES;
use crate::extent::{Member, SetPlace};
use crate::hook::{Rare, reached};
use crate::shard::Shard;
use crate::sync::locks::KeyGuard;

/// The key of the lock that is held while something is moved.
const MOVING: u64 = 0;
/// Time between two tries to move something, milliseconds.
pub(super) const AGAIN_MS: u64 = 10_000;
/// Members of striped sets that are moved to a drive between two checkpoints.
const SPREAD_AT_ONCE: usize = 32;
/// Bytes that are copied at a time.
const PIECE_BYTES: u32 = 256 << 10;

/// The reason why something was not moved.
#[derive(Debug)]
pub(super) enum Stop {
    /// The node closes, or the drive does not leave any more.
    Over,
    /// It is worth another try.
    Later(String),
}

impl From<EngineError> for Stop {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::ShuttingDown | EngineError::WritesStopped { .. } => Self::Over,
            error => Self::Later(error.to_string()),
        }
    }
}

pub(super) type Moved = Result<(), Stop>;

impl CoreState {
    /// Waits until nobody else moves anything. What is to be moved is chosen behind that.
    pub(super) async fn turn_to_move(&self) -> KeyGuard {
        self.views.moving.lock(MOVING).await
    }

    /// Starts a task about the drive at a place, unless there is one of that kind, and notes it until it has ended.
    pub(super) fn start_once(
        self: &Rc<Self>,
        place: u16,
        kind: fn(&Views) -> &RefCell<BTreeSet<u16>>,
        task: impl Future<Output = ()> + 'static,
    ) {
        if kind(&self.views).borrow_mut().insert(place) {
            let core = self.clone();
            self.environment.spawn(Box::pin(async move {
                task.await;
                kind(&core.views).borrow_mut().remove(&place);
            }));
        }
    }

    /// Makes a drive a home of a shard in place of another one, from core 0. If it `empties` that one, it ends when
    /// that is to stay. Both are given by their places.
    pub(super) async fn move_home(self: &Rc<Self>, moved: HomeMove, empties: bool) -> Moved {
        let HomeMove { shard, from, to } = moved;
        let owner = self.layout.core_of(shard);
        self.set_homes(shard, vec![from, to]).await;
        let prepare = move |there: Rc<Self>| async move {
            let mover = Mover::of(&there, shard, Some(from).filter(|_| empties), vec![from, to]);
            mover.prepare_home(from, to).await
        };
        let changed = match self.call_or(owner, prepare, |_, _| ()).await {
            Ok(()) => self.change_homes(moved).await,
            Err(stop) => Err(stop),
        };
        // A view that was begun names the new home, and is never given up: both get everything then.
        self.set_homes(shard, if changed.is_ok() { Vec::new() } else { vec![from] }).await;
        let number = self.number_of(to);
        let gone = match self.homes_in_latest(shard).contains(&number) {
            true => from,
            false => to,
        };
        if changed.is_ok() || gone == to {
            let forget = move |there: Rc<Self>| async move {
                let allocator = there.allocator(gone);
                allocator.hold_back(shard, HeldBack::default());
                // Nothing needs that: a root of a shard that the drive is no home of is never read.
                drop(allocator.forget_root(shard).await);
            };
            self.call_or(self.layout.allocator_core(gone), forget, |_, ()| ()).await;
        }
        self.send(owner, Box::new(move |there| there.shard(shard).hold_back_again()));
        changed?;
        reached(Rare::HomeMoved);
        Ok(())
    }

    /// Changes the homes of a shard by a view. Nothing is written to its log meanwhile.
    async fn change_homes(self: &Rc<Self>, moved: HomeMove) -> Moved {
        let (shard, owner, number) =
            (moved.shard, self.layout.core_of(moved.shard), self.number_of(moved.to));
        let pause = move |there: Rc<Self>| async move {
            let shard = there.shard(shard);
            shard.log.pause().await;
            // A set that was taken before the drive prepared may have come behind the last look.
            shard.has_all_for_home(number)
        };
        let is_ready = self.call_or(owner, pause, |_, _| ()).await;
        let changed = is_ready && self.change_view(Change { moved: Some(moved), ..Change::default() }).await;
        self.send(owner, Box::new(move |there| there.shard(shard).log.go_on()));
        let is_home = changed && self.homes_in_latest(shard).contains(&number);
        if is_home { Ok(()) } else { Err(Stop::Later("the view could not be changed".to_owned())) }
    }

    /// Has every core take those drives for the homes of a shard that are or are to be its homes as the latest view
    /// says, and others too.
    async fn set_homes(self: &Rc<Self>, shard: u16, others: Vec<u16>) {
        let mut homes: Vec<u16> = {
            let latest = self.views.latest.borrow();
            let numbers = latest.home_numbers(shard).chain(latest.wanted_numbers(shard));
            numbers.filter_map(|number| self.place_of(number)).collect()
        };
        homes.extend(others.into_iter().filter(|place| !homes.contains(place)).collect::<Vec<_>>());
        homes.retain(|place| !self.is_out(*place));
        for core in 0..self.layout.cores {
            let homes = homes.clone();
            let set = move |there: Rc<Self>| async move {
                there.homes.borrow_mut()[usize::from(shard)] = homes;
                there.note_homes(shard);
            };
            self.call_or(core, set, |_, ()| ()).await;
        }
        self.send(self.layout.core_of(shard), Box::new(move |there| there.shard(shard).hold_back_again()));
    }

    /// Has a shard let go what a drive holds that is no home of it any more, and give the extents back. If it
    /// `empties` the drive, members of striped sets move to others. The shard has to have all its homes.
    pub(super) async fn let_go(self: &Rc<Self>, shard: u16, from: u16, empties: bool) -> Moved {
        let keep = self.homes_of_whole(shard)?;
        let work = move |there: Rc<Self>| async move {
            let mover = Mover::of(&there, shard, Some(from).filter(|_| empties), Vec::new());
            if empties {
                mover.move_all_striped(from).await?;
            }
            mover.drop_strays(&keep).await?;
            mover.give_back().await
        };
        self.call_or(self.layout.core_of(shard), work, |_, _| ()).await
    }

    /// Moves some members of a shard's striped sets to a drive, and returns how many. With none it has its share.
    pub(super) async fn spread_some(
        self: &Rc<Self>,
        shard: u16,
        to: u16,
        sizes: Vec<(u16, u64)>,
    ) -> Result<u64, Stop> {
        let work = move |there: Rc<Self>| async move {
            Mover::of(&there, shard, None, vec![to]).spread_some(to, &sizes).await
        };
        self.call_or(self.layout.core_of(shard), work, |_, _| ()).await
    }

    /// Has a shard let go what an interrupted move has left on drives that are no homes of it, if there is any.
    pub(super) async fn drop_strays(self: &Rc<Self>, shard: u16) -> Moved {
        let keep = self.homes_of_whole(shard)?;
        let work = move |there: Rc<Self>| async move {
            let mover = Mover::of(&there, shard, None, Vec::new());
            if mover.strays(&keep).is_empty() {
                return Ok(());
            }
            mover.drop_strays(&keep).await?;
            mover.give_back().await
        };
        self.call_or(self.layout.core_of(shard), work, |_, _| ()).await
    }

    /// Returns the numbers of a shard's homes in the latest view.
    pub(super) fn homes_in_latest(&self, shard: u16) -> Vec<u16> {
        self.views.latest.borrow().home_numbers(shard).collect()
    }

    /// Returns the numbers of a shard's homes if it lacks none, and all are whole.
    fn homes_of_whole(&self, shard: u16) -> Result<Vec<u16>, Stop> {
        let homes = self.homes_in_latest(shard);
        let copies = usize::from(self.layout.geometry_of(0).copies);
        let is_whole = |number: &u16| self.place_of(*number).is_some_and(|place| self.is_whole(place));
        match homes.len() == copies && homes.iter().all(is_whole) {
            true => Ok(homes),
            false => Err(Stop::Later(format!("shard {shard} lacks a home"))),
        }
    }
}

/// A shard on its core, of which something is moved.
struct Mover {
    core: Rc<CoreState>,
    shard: Rc<Shard>,
    /// The place of a drive that is emptied by that.
    emptied: Option<u16>,
    /// The places of drives that have to be whole all the while.
    needed: Vec<u16>,
}

impl Mover {
    fn of(core: &Rc<CoreState>, shard: u16, emptied: Option<u16>, needed: Vec<u16>) -> Self {
        Self { shard: core.shard(shard), core: core.clone(), emptied, needed }
    }

    /// Returns an error when the work has no end any more.
    fn go_on(&self) -> Moved {
        let is_over = |place: u16| {
            let drive = &self.core.drives[usize::from(place)];
            drive.has_left() || !drive.is_leaving()
        };
        if self.core.closing.get() || self.emptied.is_some_and(is_over) {
            return Err(Stop::Over);
        }
        match self.needed.iter().find(|place| !self.core.is_whole(**place)) {
            None => Ok(()),
            Some(place) => {
                Err(Stop::Later(format!("drive {} failed meanwhile", self.core.number_of(*place))))
            }
        }
    }

    /// Gives a new home everything that a home has (step 1), for the most part from the drive that is its home yet.
    async fn prepare_home(&self, from: u16, to: u16) -> Moved {
        let number = self.core.number_of(to);
        self.shard.roll().await?;
        // What it got in an earlier try, and no more since, is no copy.
        self.drop_members(&|member| member != number).await?;
        while self.shard.log.position().set.members.on(number).is_none() {
            self.go_on()?;
            self.shard.roll().await?;
        }
        loop {
            let lacking = self.shard.sets_for_home(number);
            if lacking.is_empty() {
                break;
            }
            let sets = lacking.iter().map(|(place, _)| place.set);
            self.at_rest(sets, self.add_members(&lacking, from, to)).await?;
        }
        self.shard.barrier().await?;
        self.shard.seal().await.map_err(|error| Stop::Later(error.to_string()))?;
        self.go_on()
    }

    /// Adds a member on a drive to sets that rest.
    async fn add_members(&self, sets: &[(SetPlace, u8)], from: u16, to: u16) -> Moved {
        for (place, kind) in sets {
            let extent = self.copied(*place, *kind, (from, to)).await?;
            let member = Member { drive: self.core.number_of(to), extent };
            if !self.shard.add_member(*place, member, |_| false)? {
                give(&self.core, to, extent);
            }
        }
        Ok(())
    }

    /// Does something with sets while they rest, and nobody who began before writes to them or reads them.
    async fn at_rest<T>(&self, sets: impl Iterator<Item = u32>, work: impl Future<Output = T>) -> T {
        self.shard.begin_moving(sets);
        self.quiet().await;
        let done = work.await;
        self.shard.end_moving();
        done
    }

    /// Waits until nobody writes to sets that rest, or moves something in them.
    async fn quiet(&self) {
        self.shard.moves_ended().await;
        self.core.old_ones_ended(|core| &core.bodies).await;
        self.core.old_ones_ended(|core| &core.readers).await;
    }

    /// Moves every member of a striped set on a drive elsewhere (step 3).
    async fn move_all_striped(&self, from: u16) -> Moved {
        let number = self.core.number_of(from);
        loop {
            let striped = self.shard.striped_sets_on(number);
            if striped.is_empty() {
                return Ok(());
            }
            let sets = striped.iter().map(|place| place.set);
            self.at_rest(sets, self.move_striped(&striped, from)).await?;
        }
    }

    /// Returns the sets that are copied and have a member on a drive that is not among these.
    fn strays(&self, keep: &[u16]) -> Vec<SetPlace> {
        self.shard.copied_sets_beside(&|member| keep.contains(&member))
    }

    /// Takes the members on drives that are no homes out of sets that are copied (step 4).
    async fn drop_strays(&self, keep: &[u16]) -> Moved {
        // The set that the log is in has the drive until it is full, and so have those that were taken for the log.
        while self.shard.log.position().set.members.iter().any(|member| !keep.contains(&member.drive)) {
            self.go_on()?;
            self.shard.roll().await?;
        }
        self.drop_members(&|member| keep.contains(&member)).await
    }

    /// Takes members out of sets that are copied, but for those that stay.
    async fn drop_members(&self, stays: &dyn Fn(u16) -> bool) -> Moved {
        if self.shard.copied_sets_beside(stays).is_empty() {
            return Ok(());
        }
        self.quiet().await;
        let head = self.shard.log.position().set.set;
        for place in self.shard.copied_sets_beside(stays).into_iter().filter(|place| place.set != head) {
            self.go_on()?;
            for member in place.members.iter().filter(|member| !stays(member.drive)) {
                let now = self.shard.place_now(place);
                self.shard.drop_member(now, member.drive)?;
            }
        }
        Ok(())
    }

    /// Gives the extents back that sets have left (step 5).
    async fn give_back(&self) -> Moved {
        let left = self.shard.take_left();
        let ready = async {
            self.shard.barrier().await?;
            self.shard.seal().await.map_err(|error| Stop::Later(error.to_string()))?;
            self.quiet().await;
            if self.core.closing.get() { Err(Stop::Over) } else { Ok(()) }
        };
        let ready = ready.await;
        match &ready {
            Ok(()) => self.shard.give_left(left),
            Err(_) => self.shard.keep_left(left),
        }
        ready
    }

    /// Moves members of striped sets that rest, each to the drive with the most room that the set is not on.
    async fn move_striped(&self, sets: &[SetPlace], from: u16) -> Moved {
        for place in sets {
            let to = self.drive_for(*place).await?;
            self.move_member(*place, from, to).await?;
        }
        Ok(())
    }

    /// Moves a member of a striped set that rests.
    async fn move_member(&self, place: SetPlace, from: u16, to: u16) -> Moved {
        let number = self.core.number_of(from);
        let extent = self.copied(place, KIND_SLICES, (from, to)).await?;
        let member = Member { drive: self.core.number_of(to), extent };
        match self.shard.add_member(place, member, |other| other == number)? {
            true => self.shard.note_left(place, number),
            false => give(&self.core, to, extent),
        }
        reached(Rare::MemberMoved);
        yield_to_others(&self.core, &self.shard).await;
        Ok(())
    }

    /// Moves some members of striped sets to a drive from those that have more of them by their sizes, which are given
    /// with their numbers. Returns how many were moved.
    async fn spread_some(&self, to: u16, sizes: &[(u16, u64)]) -> Result<u64, Stop> {
        let mut sets = self.shard.sets_to_spread(self.core.number_of(to), sizes);
        sets.truncate(SPREAD_AT_ONCE);
        if sets.is_empty() {
            return Ok(0);
        }
        let resting = sets.iter().map(|(place, _)| place.set);
        let moved = self.at_rest(resting, self.spread(&sets, to)).await;
        // What was moved before something failed has left its old places too.
        self.give_back().await?;
        moved
    }

    async fn spread(&self, sets: &[(SetPlace, u16)], to: u16) -> Result<u64, Stop> {
        let mut moved = 0;
        for (place, number) in sets {
            let Some(from) = self.core.place_of(*number) else { continue };
            self.move_member(*place, from, to).await?;
            moved += 1;
        }
        Ok(moved)
    }

    /// Returns the drive with the most room that a set is not on.
    async fn drive_for(&self, place: SetPlace) -> Result<u16, Stop> {
        let mut best = None;
        let is_free = |drive: &u16| place.members.on(self.core.number_of(*drive)).is_none();
        let drives: Vec<u16> = self.core.places_that_stay().filter(is_free).collect();
        for drive in drives {
            let share = self.core.free_share(drive).await;
            if best.is_none_or(|(most, _)| share > most) {
                best = Some((share, drive));
            }
        }
        let none =
            || Stop::Later("no other drive can take what is on it: add one, or bring one back".to_owned());
        best.map(|(_, drive)| drive).ok_or_else(none)
    }

    /// Copies what a set has on a drive to a new extent of another one, durably, and returns the extent.
    async fn copied(&self, place: SetPlace, kind: u8, (from, to): (u16, u16)) -> Result<u32, Stop> {
        self.go_on()?;
        let no_room = || Stop::Later("the other drives have no room for what is on it: add one".to_owned());
        let extent = take(&self.core, to, Class::Shrinking).await.map_err(|_| no_room())?.extent;
        let copied = self.copy((place, kind), from, (to, extent)).await;
        if copied.is_err() {
            give(&self.core, to, extent);
        }
        copied.map(|()| extent)
    }

    async fn copy(&self, (place, kind): (SetPlace, u8), from: u16, (to, extent): (u16, u32)) -> Moved {
        let drives = &self.shard.writer.drives;
        let number = self.core.number_of(from);
        let is_copied = kind != KIND_SLICES || !self.core.is_striped();
        let target = &self.core.drives[usize::from(to)];
        let geometry = self.core.layout.geometry_of(to);
        for range in self.shard.used_ranges(place, kind) {
            let mut at = range.start;
            while at < range.end {
                self.go_on()?;
                let length = (range.end - at).min(PIECE_BYTES);
                let mut buffer = self.core.pool.take_for_step(length as usize).await;
                // A home that is brought up to date is no source.
                let whole = drives.copies(place).filter(|copy| copy.drive.is_whole());
                let mut copies: Vec<_> = whole.collect();
                copies.sort_by_key(|copy| !copy.drive.number.is(number));
                // Any copy has the same. A member of a striped set that can not be read is made anew by who reads.
                let most = if is_copied { copies.len() } else { 1 };
                for copy in copies.into_iter().take(most) {
                    let (read, same) = copy.read(at, length as usize, buffer).await;
                    buffer = same;
                    if read.is_ok() || copy.drive.has_left() {
                        break;
                    }
                }
                self.go_on()?;
                let offset = geometry.byte(extent, at);
                let (written, _) =
                    target.device.write(offset, length as usize, buffer, Durability::Deferred).await;
                if let Err(error) = written {
                    return self.failed(to, error).await;
                }
                let counted = self.emptied.unwrap_or(to);
                self.core.layout.catch_up_of(counted).copied(u64::from(length));
                at += length;
            }
            yield_to_others(&self.core, &self.shard).await;
        }
        match target.flush.flush().await {
            Ok(()) => Ok(()),
            Err(error) => self.failed(to, error).await,
        }
    }

    /// Drops a drive that failed while something was moved there.
    async fn failed(&self, to: u16, error: DeviceError) -> Moved {
        let reason = format!("drive {} failed: {error}", self.core.number_of(to));
        // What is to be said of it is said by whoever drops the drive.
        let _ = self.core.lose(to, error).await;
        Err(Stop::Later(reason))
    }
}
