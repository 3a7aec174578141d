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
//! Invariant: a set never has fewer whole members than before. What is interrupted goes on with the next start: the
//! view says which drives leave.

use std::rc::Rc;

use super::bodies::Bodies;
use super::scrub::yield_to_others;
use super::state::CoreState;
use super::surroundings::{give, take};
use super::views::{Change, HomeMove};
use crate::device::{DeviceError, Durability};
use crate::error::EngineError;
use crate::extent::allocator::Class;
use crate::extent::sets::KIND_SLICES;
use crate::extent::{Member, SetPlace};
use crate::hook::{Rare, reached};
use crate::shard::Shard;

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
    /// Waits until all who write or read have ended that have begun until now, on every core.
    pub(super) async fn old_users_ended(self: &Rc<Self>) {
        let all = |core: &CoreState, what: &dyn Fn(&Bodies)| {
            [&core.bodies, &core.readers].into_iter().for_each(what)
        };
        for core in 0..self.layout.cores {
            let mark = move |there: Rc<Self>| async move { all(&there, &Bodies::mark) };
            self.call_or(core, mark, |_, ()| ()).await;
        }
        for core in 0..self.layout.cores {
            let ended = |there: Rc<Self>| async move {
                there.bodies.old_ones_ended().await;
                there.readers.old_ones_ended().await;
            };
            self.call_or(core, ended, |_, ()| ()).await;
        }
        // What such a one asked the owner for, and does not wait for any more, came before the answers.
        all(self, &Bodies::mark);
        self.bodies.old_ones_ended().await;
        self.readers.old_ones_ended().await;
    }

    /// Makes a drive a home of a shard in place of another one, from core 0. Both are given by their places.
    pub(super) async fn move_home(
        self: &Rc<Self>,
        HomeMove { shard, from, to }: HomeMove,
        empties: bool,
    ) -> Moved {
        let owner = self.layout.core_of(shard);
        self.set_homes(shard, move |homes| {
            homes.retain(|home| *home != to);
            homes.push(to);
        })
        .await;
        let prepare = move |there: Rc<Self>| async move {
            Mover { shard: there.shard(shard), core: there, from, empties }.prepare_home(to).await
        };
        let prepared = self.call_or(owner, prepare, |_, _| ()).await;
        let moved = match prepared {
            Ok(()) => self.change_homes(HomeMove { shard, from, to }).await,
            Err(stop) => Err(stop),
        };
        let gone = if moved.is_ok() { from } else { to };
        self.set_homes(shard, move |homes| homes.retain(|home| *home != gone)).await;
        moved?;
        reached(Rare::HomeMoved);
        let forget =
            move |there: Rc<Self>| async move { drop(there.allocator(from).forget_root(shard).await) };
        // Nothing needs that: a root of a shard that the drive is no home of is never read.
        self.call_or(self.layout.allocator_core(from), forget, |_, ()| ()).await;
        Ok(())
    }

    /// Changes the homes of a shard by a view. Nothing is written to its log meanwhile.
    async fn change_homes(self: &Rc<Self>, moved: HomeMove) -> Moved {
        let (shard, owner) = (moved.shard, self.layout.core_of(moved.shard));
        let pause = move |there: Rc<Self>| async move { there.shard(shard).log.pause().await };
        self.call_or(owner, pause, |_, ()| ()).await;
        let changed = self.change_view(Change { moved: Some(moved), ..Change::default() }).await;
        self.send(owner, Box::new(move |there| there.shard(shard).log.go_on()));
        if changed { Ok(()) } else { Err(Stop::Later("the view could not be changed".to_owned())) }
    }

    /// Changes which places every core takes for the homes of a shard, and for those that prepare to be.
    async fn set_homes(self: &Rc<Self>, shard: u16, change: impl Fn(&mut Vec<u16>) + Clone + Send + 'static) {
        for core in 0..self.layout.cores {
            let change = change.clone();
            let set = move |there: Rc<Self>| async move {
                change(&mut there.homes.borrow_mut()[usize::from(shard)]);
                there.note_homes(shard);
            };
            self.call_or(core, set, |_, ()| ()).await;
        }
    }

    /// Has a shard let go what a drive holds that is no home of it any more, and give the extents back. If it
    /// `empties` the drive, members of striped sets move to others.
    pub(super) async fn let_go(self: &Rc<Self>, shard: u16, from: u16, empties: bool) -> Moved {
        let work = move |there: Rc<Self>| async move {
            let mover = Mover { shard: there.shard(shard), core: there, from, empties };
            if empties {
                mover.move_all_striped().await?;
            }
            mover.drop_copies().await?;
            mover.give_back().await
        };
        self.call_or(self.layout.core_of(shard), work, |_, _| ()).await
    }
}

/// A shard on its core, and the place of a drive from which something is moved.
struct Mover {
    core: Rc<CoreState>,
    shard: Rc<Shard>,
    from: u16,
    /// Nothing is to be left on that drive, so that it ends when the drive is to stay.
    empties: bool,
}

impl Mover {
    /// Returns an error when the work has no end any more.
    fn go_on(&self) -> Moved {
        let from = &self.core.drives[usize::from(self.from)];
        let is_over = self.core.closing.get() || from.has_left() || self.empties && !from.is_leaving();
        if is_over { Err(Stop::Over) } else { Ok(()) }
    }

    /// Gives a new home everything that a home has (step 1).
    async fn prepare_home(&self, to: u16) -> Moved {
        let number = self.core.number_of(to);
        self.shard.roll().await?;
        while self.shard.log.position().set.members.on(number).is_none() {
            self.go_on()?;
            self.shard.roll().await?;
        }
        loop {
            let lacking = self.shard.sets_for_home(number);
            if lacking.is_empty() {
                break;
            }
            self.shard.begin_moving(lacking.iter().map(|(place, _)| place.set));
            let added = self.add_members(&lacking, to).await;
            self.shard.end_moving();
            added?;
        }
        self.shard.barrier().await?;
        self.shard.seal().await.map_err(|error| Stop::Later(error.to_string()))?;
        self.go_on()
    }

    /// Adds a member on a drive to sets that rest.
    async fn add_members(&self, sets: &[(SetPlace, u8)], to: u16) -> Moved {
        self.quiet().await;
        for (place, kind) in sets {
            let Some(extent) = self.copied(*place, *kind, to).await? else { continue };
            let member = Member { drive: self.core.number_of(to), extent };
            if !self.shard.add_member(*place, member, |_| false)? {
                give(&self.core, to, extent);
            }
        }
        Ok(())
    }

    /// Waits until nobody writes to sets that rest, or moves something in them.
    async fn quiet(&self) {
        self.shard.moves_ended().await;
        self.core.old_users_ended().await;
    }

    /// Moves every member of a striped set on the drive elsewhere (step 3).
    async fn move_all_striped(&self) -> Moved {
        let number = self.core.number_of(self.from);
        loop {
            let striped = self.shard.striped_sets_on(number);
            if striped.is_empty() {
                return Ok(());
            }
            self.shard.begin_moving(striped.iter().map(|place| place.set));
            let moved = self.move_striped(&striped).await;
            self.shard.end_moving();
            moved?;
        }
    }

    /// Takes the members on the drive out of sets that are copied (step 4).
    async fn drop_copies(&self) -> Moved {
        let number = self.core.number_of(self.from);
        // The set that the log is in has the drive until it is full.
        while self.shard.log.position().set.members.on(number).is_some() {
            self.go_on()?;
            self.shard.roll().await?;
        }
        self.quiet().await;
        for (place, kind) in self.shard.sets_on(number) {
            self.go_on()?;
            if kind != KIND_SLICES || !self.core.is_striped() {
                self.shard.drop_member(place, number)?;
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
            self.go_on()
        };
        match ready.await {
            Ok(()) => self.shard.give_left(left),
            Err(stop) => {
                self.shard.keep_left(left);
                return Err(stop);
            }
        }
        Ok(())
    }

    /// Moves members of striped sets that rest, each to the drive with the most room that the set is not on.
    async fn move_striped(&self, sets: &[SetPlace]) -> Moved {
        self.quiet().await;
        let number = self.core.number_of(self.from);
        for place in sets {
            let to = self.drive_for(*place).await?;
            let Some(extent) = self.copied(*place, KIND_SLICES, to).await? else { continue };
            let member = Member { drive: self.core.number_of(to), extent };
            match self.shard.add_member(*place, member, |other| other == number)? {
                true => self.shard.note_left(*place, number),
                false => give(&self.core, to, extent),
            }
            reached(Rare::MemberMoved);
            yield_to_others(&self.core, &self.shard).await;
        }
        Ok(())
    }

    /// Returns the drive with the most room that a set is not on.
    async fn drive_for(&self, place: SetPlace) -> Result<u16, Stop> {
        let mut best = None;
        let drives: Vec<u16> = self.core.places_that_stay().collect();
        for drive in
            drives.into_iter().filter(|drive| place.members.on(self.core.number_of(*drive)).is_none())
        {
            let share = self.core.free_share(drive).await;
            if best.is_none_or(|(most, _)| share > most) {
                best = Some((share, drive));
            }
        }
        let none =
            || Stop::Later("no other drive can take what is on it: add one, or bring one back".to_owned());
        best.map(|(_, drive)| drive).ok_or_else(none)
    }

    /// Copies what a set has on the drive, or on another one if that can not be read, to a new extent of another
    /// drive, durably. Returns the extent, or `None` when the set is gone.
    async fn copied(&self, place: SetPlace, kind: u8, to: u16) -> Result<Option<u32>, Stop> {
        self.go_on()?;
        let no_room = || Stop::Later("the other drives have no room for what is on it: add one".to_owned());
        let extent = take(&self.core, to, Class::Shrinking).await.map_err(|_| no_room())?.extent;
        let copied = self.copy(place, kind, to, extent).await;
        if copied.is_err() {
            give(&self.core, to, extent);
        }
        copied.map(|()| Some(extent))
    }

    async fn copy(&self, place: SetPlace, kind: u8, to: u16, extent: u32) -> Moved {
        let drives = &self.shard.writer.drives;
        let number = self.core.number_of(self.from);
        let is_copied = kind != KIND_SLICES || !self.core.is_striped();
        let target = &self.core.drives[usize::from(to)];
        let geometry = self.core.layout.geometry_of(to);
        for range in self.shard.used_ranges(place, kind) {
            let mut at = range.start;
            while at < range.end {
                self.go_on()?;
                let length = (range.end - at).min(PIECE_BYTES);
                let mut buffer = self.core.pool.take_for_step(length as usize).await;
                let mut copies: Vec<_> = drives.copies(place).collect();
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
                self.core.layout.catch_up_of(self.from).copied(u64::from(length));
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
