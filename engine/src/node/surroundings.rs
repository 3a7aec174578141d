//! The node's implementation of what a shard on one core needs.

use std::cell::Cell;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use futures_util::future::join_all;

use super::state::CoreState;
use super::view_change::LossesOfCore;
use crate::device::DeviceError;
use crate::env::LocalFuture;
use crate::error::{EngineError, Result};
use crate::extent::allocator::{Class, ExtentAllocator, HeldBack, Refusal, Taken};
use crate::extent::{MEMBERS_MAX, Member, Members, Outcomes};
use crate::format::Le32;
use crate::format::superblock::ShardRootOnDisk;
use crate::hook::Bug;
use crate::lifecycle::LifecycleRules;
use crate::shard::{BucketRules, Growth, LedgerId, ShardReply, ShardRequest, Surroundings, TakenExtents};
use crate::types::BucketId;

/// The homes of a shard as one core sees them. They do not keep the core alive.
pub(super) struct HomesOfCore {
    core: Weak<CoreState>,
    shard: u16,
    /// Number of striped sets that were made. The members of the next begin with another drive.
    turn: Cell<usize>,
}

impl HomesOfCore {
    pub fn new(core: &Rc<CoreState>, shard: u16) -> Self {
        Self { core: Rc::downgrade(core), shard, turn: Cell::new(usize::from(shard)) }
    }

    /// Returns the core, or an error when the node is closing.
    fn core(&self) -> Result<Rc<CoreState>> {
        self.core.upgrade().ok_or(EngineError::ShuttingDown)
    }

    /// Returns the shards that have a home in common with this one.
    fn neighbours(&self, core: &CoreState) -> Vec<u16> {
        // Striped slices of every shard may lie on every drive.
        let is_striped = core.is_striped();
        let homes = core.homes.borrow();
        let own = &homes[usize::from(self.shard)];
        let is_near =
            |shard: &u16| is_striped || homes[usize::from(*shard)].iter().any(|home| own.contains(home));
        (0..core.layout.shards).filter(is_near).collect()
    }

    /// Does something at the allocator of each home, and waits until all have done it. Those that fail are
    /// dropped from the view.
    fn at_each<W>(
        &self,
        core: Rc<CoreState>,
        only_first: bool,
        work: impl Fn(Rc<ExtentAllocator>) -> W + Clone + Send + 'static,
    ) -> LocalFuture<std::result::Result<(), DeviceError>>
    where
        W: Future<Output = std::result::Result<(), DeviceError>> + 'static,
    {
        let call = |core: Rc<CoreState>, drive: u16| {
            let (allocator, work) = (core.layout.allocator_core(drive), work.clone());
            async move {
                core.call(allocator, move |there| async move { work(there.allocator(drive)).await }).await
            }
        };
        let homes = match only_first {
            true => core.homes_of(self.shard)[..1].to_vec(),
            false => core.homes_of(self.shard),
        };
        if let [only] = homes.as_slice() {
            return Box::pin(call(core, *only));
        }
        let losses = Rc::new(LossesOfCore::new(self.core.clone(), &homes));
        let homes = homes.iter().enumerate().filter(|(_, home)| !core.has_left(**home));
        let calls: Vec<_> = homes
            .map(|(at, drive)| {
                let done = call(core.clone(), *drive);
                async move { (at, done.await) }
            })
            .collect();
        Box::pin(async move {
            let mut outcomes = Outcomes::default();
            for (at, outcome) in join_all(calls).await {
                outcomes.note(at, outcome);
            }
            outcomes.settle(losses).await
        })
    }
}

impl CoreState {
    /// Returns which part of a drive user data may take yet, in thousandths.
    pub(super) async fn free_share(self: &Rc<Self>, drive: u16) -> u64 {
        let room = self.room_of(drive).await;
        u64::from(room.free - room.held) * 1000 / u64::from(room.extents)
    }
}

/// Returns the homes of a shard that are in the view in use.
fn homes_here(core: &CoreState, shard: u16) -> Vec<u16> {
    core.homes_of(shard).into_iter().filter(|home| !core.has_left(*home)).collect()
}

/// Returns the drives that a new striped set of a shard may lie on, the homes of the shard first.
fn drives_for_slices(core: &CoreState, shard: u16) -> Vec<u16> {
    let mut here = homes_here(core, shard);
    let others: Vec<u16> = core.places_in_view().filter(|drive| !here.contains(drive)).collect();
    here.extend(others);
    // Those that leave get nothing that others have room for.
    let stays = |drive: &u16| !core.drives[usize::from(*drive)].is_leaving();
    let staying: Vec<u16> = here.iter().copied().filter(stays).collect();
    let enough = core.layout.geometry_of(0).shape.members().min(here.len());
    if staying.len() >= enough { staying } else { here }
}

/// Returns a future that is ready with this answer.
fn at_once<T: 'static>(answer: T) -> LocalFuture<T> {
    Box::pin(std::future::ready(answer))
}

/// Takes a free extent, on the core of the drive's allocator.
fn take_here(core: &Rc<CoreState>, drive: u16, class: Class) -> std::result::Result<Taken, Refusal> {
    let taken = core.allocator(drive).take(class);
    tell_spare(core, drive);
    taken
}

/// Takes a free extent of a drive.
pub(super) async fn take(
    core: &Rc<CoreState>,
    drive: u16,
    class: Class,
) -> std::result::Result<Taken, Refusal> {
    let allocator = core.layout.allocator_core(drive);
    if allocator == core.index {
        return take_here(core, drive, class);
    }
    let orphan = move |core: &Rc<CoreState>, taken: std::result::Result<Taken, Refusal>| {
        taken.into_iter().for_each(|taken| give(core, drive, taken.extent));
    };
    let take = move |core: Rc<CoreState>| async move { take_here(&core, drive, class) };
    core.call_or(allocator, take, orphan).await
}

/// Extents that were taken, each with its drive. Those that are left go back when this is dropped.
struct Taking {
    core: Rc<CoreState>,
    taken: Vec<(u16, Taken)>,
}

impl Drop for Taking {
    fn drop(&mut self) {
        for (drive, taken) in self.taken.drain(..) {
            give(&self.core, drive, taken.extent);
        }
    }
}

/// The reason why extents were not taken.
enum NotTaken {
    Refused(Refusal),
    /// A drive left its place meanwhile, and may have come back to another one.
    Changed,
}

impl From<Refusal> for NotTaken {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Takes extents, again and again while drives leave their places meanwhile.
async fn until_unchanged(
    mut take: impl AsyncFnMut() -> std::result::Result<TakenExtents, NotTaken>,
) -> std::result::Result<TakenExtents, Refusal> {
    loop {
        match take().await {
            Ok(taken) => return Ok(taken),
            Err(NotTaken::Refused(refusal)) => return Err(refusal),
            Err(NotTaken::Changed) => {}
        }
    }
}

/// Takes a free extent of each of these drives, or none.
async fn take_all(
    core: Rc<CoreState>,
    drives: Vec<u16>,
    class: Class,
) -> std::result::Result<TakenExtents, NotTaken> {
    let numbers: Vec<u16> = drives.iter().map(|drive| core.number_of(*drive)).collect();
    let mut taking = Taking { core, taken: Vec::with_capacity(drives.len()) };
    for drive in drives {
        let taken = take(&taking.core, drive, class).await?;
        taking.taken.push((drive, taken));
    }
    // What was taken at an old place of a drive is not taken at its new one.
    let is_there = |((drive, _), number): (&(u16, Taken), &u16)| taking.core.number_of(*drive) == *number;
    if !taking.taken.iter().zip(&numbers).all(is_there) {
        return Err(NotTaken::Changed);
    }
    let taken = std::mem::take(&mut taking.taken);
    let member = |((_, taken), drive): (&(u16, Taken), &u16)| Member { drive: *drive, extent: taken.extent };
    let members = Members::new(taken.iter().zip(&numbers).map(member));
    Ok(TakenExtents {
        members: members.unwrap_or_else(|| panic!("a shard has one to {MEMBERS_MAX} homes")),
        held_back: taken.iter().any(|(_, taken)| taken.held_back),
        tight: taken.iter().any(|(_, taken)| taken.tight),
    })
}

/// Takes a free extent of the drives with the most room for each member of a striped set, or none. Where too few
/// drives are here, the set has fewer parity members, but at least one.
async fn take_striped(
    core: Rc<CoreState>,
    drives: Vec<u16>,
    turn: usize,
    class: Class,
) -> std::result::Result<TakenExtents, NotTaken> {
    let shape = core.layout.geometry_of(0).shape;
    let count = drives.len().min(shape.members());
    if count <= shape.data() {
        return Err(Refusal::Full.into());
    }
    let mut by_room = Vec::with_capacity(drives.len());
    for drive in drives {
        by_room.push((std::cmp::Reverse(core.free_share(drive).await), drive));
    }
    // Drives of the same room take turns.
    let length = by_room.len();
    by_room.rotate_left(turn % length);
    by_room.sort_by_key(|(room, _)| *room);
    let mut chosen: Vec<u16> = by_room[..count].iter().map(|(_, drive)| *drive).collect();
    chosen.rotate_left(turn % count);
    take_all(core, chosen, class).await
}

/// Returns an extent to its drive's allocator, by message if that is on another core.
pub(super) fn give(core: &Rc<CoreState>, drive: u16, extent: u32) {
    let give = move |core: &Rc<CoreState>| {
        core.allocator(drive).give(extent);
        tell_spare(core, drive);
    };
    core.send(core.layout.allocator_core(drive), Box::new(give));
}

/// Tells every core how many extents users can still take, while they are few. It runs on the core
/// of the drive's allocator.
fn tell_spare(core: &Rc<CoreState>, drive: u16) {
    let few = core.layout.settings_of(drive).few_extents;
    let Some(spare) = core.allocator(drive).spare_to_tell(few) else { return };
    for other in 0..core.layout.cores {
        let hear = move |core: &Rc<CoreState>| {
            core.drives[usize::from(drive)].spare_extents.set(spare);
            core.shards_of_drive(drive).for_each(|shard| shard.note_free_extents());
        };
        core.send(other, Box::new(hear));
    }
}

impl Surroundings for HomesOfCore {
    fn take_extents(&self, class: Class) -> LocalFuture<std::result::Result<TakenExtents, Refusal>> {
        let (Ok(core), shard) = (self.core(), self.shard) else { return at_once(Err(Refusal::Scarce)) };
        Box::pin(async move {
            until_unchanged(async || take_all(core.clone(), homes_here(&core, shard), class).await).await
        })
    }

    fn take_extents_for_slices(
        &self,
        class: Class,
    ) -> LocalFuture<std::result::Result<TakenExtents, Refusal>> {
        match self.core() {
            Ok(core) if core.is_striped() => {
                let shard = self.shard;
                let turn = self.turn.replace(self.turn.get().wrapping_add(1));
                Box::pin(async move {
                    let take = async || {
                        take_striped(core.clone(), drives_for_slices(&core, shard), turn, class).await
                    };
                    until_unchanged(take).await
                })
            }
            _ => self.take_extents(class),
        }
    }

    fn give_extents(&self, extents: Vec<Members>) {
        let Ok(core) = self.core() else { return };
        for member in extents.iter().flat_map(Members::iter) {
            // What lies on a drive that is out of the view is not accounted for.
            if let Some(drive) = core.place_of(member.drive) {
                give(&core, drive, member.extent);
            }
        }
    }

    fn hold_back(&self, shard: u16, extents: HeldBack, elsewhere: u32) {
        let Ok(core) = self.core() else { return };
        let homes = core.homes_of(self.shard);
        let is_other = |drive: &u16| core.is_striped() && !homes.contains(drive);
        let others = core.places_in_view().filter(is_other);
        let gains = HeldBack { gainable: elsewhere, ..HeldBack::default() };
        let here = homes_here(&core, self.shard).into_iter();
        let of_all = here.map(|home| (home, extents)).chain(others.map(|drive| (drive, gains)));
        for (drive, extents) in of_all {
            let hold = move |core: &Rc<CoreState>| {
                core.allocator(drive).hold_back(shard, extents);
                tell_spare(core, drive);
            };
            core.send(core.layout.allocator_core(drive), Box::new(hold));
        }
    }

    fn spare_extents(&self) -> u32 {
        let Ok(core) = self.core() else { return u32::MAX };
        // A drive tells no more than what is few for itself, which may be fewer than for another one.
        let is_copied = core.layout.is_redundant();
        let spare_of = |drive: u16| match core.drives[usize::from(drive)].spare_extents.get() {
            spare if is_copied && spare >= core.layout.settings_of(drive).few_extents => u32::MAX,
            spare => spare,
        };
        let homes = core.homes.borrow();
        let here = homes[usize::from(self.shard)].iter().filter(|home| !core.has_left(**home));
        here.map(|home| spare_of(*home)).min().unwrap_or(u32::MAX)
    }

    fn reclaim(&self, refusal: Refusal) -> LocalFuture<bool> {
        let Ok(core) = self.core() else { return at_once(false) };
        let shards = self.neighbours(&core);
        Box::pin(async move {
            let asked = shards.into_iter().map(|shard| core.ask(shard, ShardRequest::Reclaim(refusal)));
            let outcomes = join_all(asked).await;
            outcomes.into_iter().any(|outcome| matches!(outcome, Ok(ShardReply::Judged(true))))
        })
    }

    fn compact(&self, first: u16) -> LocalFuture<bool> {
        let Ok(core) = self.core() else { return at_once(false) };
        let mut shards = self.neighbours(&core);
        Box::pin(async move {
            shards.sort_by_key(|shard| *shard != first);
            for shard in shards {
                if matches!(core.ask(shard, ShardRequest::Compact).await, Ok(ShardReply::Judged(true))) {
                    return true;
                }
            }
            false
        })
    }

    fn install_root(
        &self,
        root: ShardRootOnDisk,
        members: Members,
    ) -> LocalFuture<Result<std::result::Result<(), DeviceError>>> {
        let core = match self.core() {
            Ok(core) => core,
            Err(error) => return at_once(Err(error)),
        };
        let install = move |allocator: Rc<ExtentAllocator>| async move {
            // A checkpoint that began before a drive came back is not on it.
            let Some(extent) = members.on(allocator.drive_number()) else { return Ok(()) };
            allocator.install(ShardRootOnDisk { extent: Le32::new(extent), ..root }).await
        };
        let only_first = core.layout.geometry_of(0).planted.is(Bug::InstallRootOnOneHome);
        let installed = self.at_each(core, only_first, install);
        Box::pin(async move { Ok(installed.await) })
    }

    fn note_log_begun(&self, shard: u16) -> LocalFuture<std::result::Result<(), DeviceError>> {
        let Ok(core) = self.core() else { return at_once(Ok(())) };
        self.at_each(core, false, move |allocator| async move { allocator.note_log_begun(shard).await })
    }

    /// Nobody knows whose writes the flush should have made durable, so the shards stop on all
    /// cores. Where it may have been the flush of either of two homes, each shard finds that out by its own
    /// next flush: the latch of the drive lets none succeed any more.
    fn stop_drive(&self, error: &DeviceError) {
        let Ok(core) = self.core() else { return };
        // Of several homes any may be meant.
        let &[drive] = core.homes_of(self.shard).as_slice() else { return };
        // It may have been the flush of a drive that holds striped slices alone.
        if core.is_striped() {
            return;
        }
        for other in 0..core.layout.cores {
            let error = error.clone();
            let stop = move |core: &Rc<CoreState>| {
                core.drives[usize::from(drive)].flush.stop(error);
                core.shards_of_drive(drive).for_each(|shard| shard.end_writing());
            };
            core.send(other, Box::new(stop));
        }
    }

    fn reserve_quota(
        &self,
        bucket: BucketId,
        ledger: LedgerId,
        growth: Growth,
    ) -> LocalFuture<Result<Growth>> {
        let core = match self.core() {
            Ok(core) => core,
            Err(error) => return at_once(Err(error)),
        };
        Box::pin(async move { core.reserve_quota(bucket, ledger, growth).await })
    }

    fn settle_quota(&self, bucket: BucketId, ledger: LedgerId, change: Growth) {
        if let Ok(core) = self.core() {
            core.settle_quota(bucket, ledger, change);
        }
    }

    fn quota_heard(&self, bucket: BucketId) -> LocalFuture<()> {
        let Ok(core) = self.core() else { return at_once(()) };
        Box::pin(async move { core.quota_heard(bucket).await })
    }

    fn rules(&self, bucket: BucketId) -> Result<BucketRules> {
        self.core()?.buckets.borrow().rules(bucket).ok_or(EngineError::NoSuchBucket)
    }

    fn lifecycle(&self, bucket: BucketId) -> Result<Option<Arc<LifecycleRules>>> {
        let bucket = self.core()?.buckets.borrow().by_id(bucket).ok_or(EngineError::NoSuchBucket)?;
        Ok(bucket.lifecycle.clone())
    }
}
