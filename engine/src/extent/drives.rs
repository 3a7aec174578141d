//! The home drives of a shard, as one core reaches them: reading and writing the sets that lie there.
//!
//! Invariants:
//! - A set is addressed by its place and an offset in it. Which byte of which drive that is, only this
//!   file knows.
//! - A write of a set goes to every copy on a drive that is here, and is done when all of them are. A
//!   copy on a drive that is not here takes no part: the view says that it is out.
//! - Where a write or a flush fails on some homes and not on others, it is done once the view in use is
//!   without the drives that failed.
//! - The copies share one buffer, which nobody changes before the last of them is written.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::future::join_all;

use super::geometry::{Geometry, SetPlace};
use super::members::{MEMBERS_MAX, Member, Members, NO_DRIVE};
use crate::device::flush::FlushGroup;
use crate::device::pace::Paces;
use crate::device::watch::{Part, Watch};
use crate::device::{Device, DeviceError, Durability, IoFuture};
use crate::env::LocalFuture;
use crate::format::FormatDamage;
use crate::format::set::{KIND_CHECKPOINT, KIND_LOG, KIND_SLICES, SETS_MAX, SetV1};
use crate::ring::{Buffer, Pool};
use crate::view::DriveSet;

/// The number in the view of the drive that a core has at a place. Clones share it. A place where no drive is yet, or
/// none any more, has none.
#[derive(Clone)]
pub struct DriveNumber(Rc<Cell<u16>>);

impl DriveNumber {
    pub fn new(number: u16) -> Self {
        Self(Rc::new(Cell::new(number)))
    }

    /// Returns the number of a place without a drive.
    pub fn none() -> Self {
        Self::new(NO_DRIVE)
    }

    /// Returns the number, if a drive is there.
    pub fn get(&self) -> Option<u16> {
        Some(self.0.get()).filter(|number| *number != NO_DRIVE)
    }

    /// Gives the place a drive, or takes it away.
    pub fn set(&self, number: Option<u16>) {
        self.0.set(number.unwrap_or(NO_DRIVE));
    }

    /// Returns whether it is this one.
    pub fn is(&self, number: u16) -> bool {
        self.0.get() == number
    }
}

/// A drive that is in the view and present, or a place for one.
#[derive(Clone)]
pub struct Reached {
    pub geometry: Geometry,
    pub number: DriveNumber,
    pub device: Rc<dyn Device>,
    /// The watch over the drive, if the node can go on without it.
    pub watch: Option<Rc<Watch>>,
}

impl Reached {
    /// Returns the extent that a set has on the drive.
    fn extent_of(&self, members: &Members) -> Option<u32> {
        members.on(self.number.get()?)
    }

    /// Returns whether the view in use is without the drive, or no drive is here.
    pub fn has_left(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.has_left())
    }

    /// Returns whether the drive is in the view in use, and holds what it was given.
    pub fn is_whole(&self) -> bool {
        self.watch.as_ref().is_none_or(|watch| watch.part() == Part::Whole)
    }

    /// Returns whether other drives are to be read in its place if they can be, since it is slow.
    pub fn is_passed_over(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.paces().is_passed_over(watch.pace()))
    }

    /// Returns whether it holds what it was given, and answers as soon as others do.
    pub fn is_fast(&self) -> bool {
        self.is_whole() && !self.is_passed_over()
    }

    /// Returns whether what it holds is moved to other drives.
    pub fn is_leaving(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.is_leaving())
    }

    /// Returns whether it is to be read this time although it is slow.
    pub fn is_asked_again(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.paces().is_asked_again(watch.pace()))
    }

    /// Returns the number of operations of this core that are on their way, as far as somebody counts them.
    fn queue(&self) -> usize {
        self.watch.as_ref().map_or(0, |watch| watch.queue())
    }
}

/// What becomes of a drive that failed.
pub trait Losses {
    /// Drops the drive at a place among the homes from the view. Resolves when every drive that stays has
    /// the view without it: what is on these counts as durable then.
    ///
    /// # Errors
    /// Returns the drive's error when the node can not go on without it.
    fn lose(&self, home: usize, error: DeviceError) -> LocalFuture<Result<(), DeviceError>>;
}

/// What became of something that several homes did.
#[derive(Default)]
pub struct Outcomes {
    failed: Vec<(usize, DeviceError)>,
    is_somewhere: bool,
}

impl Outcomes {
    /// Notes what became of it on the home at a place.
    pub fn note<T>(&mut self, home: usize, outcome: Result<T, DeviceError>) -> Option<T> {
        match outcome {
            Ok(value) => {
                self.is_somewhere = true;
                Some(value)
            }
            Err(error) => {
                self.failed.push((home, error));
                None
            }
        }
    }

    /// Resolves when it counts as done: where it was not, the drives are out of the view.
    ///
    /// # Errors
    /// Returns the error of a drive when no home did it, or when the node can not go on without the drive.
    pub async fn settle(self, losses: Rc<dyn Losses>) -> Result<(), DeviceError> {
        for (home, error) in self.failed {
            if !self.is_somewhere {
                return Err(error);
            }
            losses.lose(home, error).await?;
        }
        Ok(())
    }
}

/// A copy of a set on a drive that is present.
#[derive(Clone, Copy)]
pub struct SetCopy<'a> {
    /// The place of the drive among those that are reached.
    pub at: usize,
    pub drive: &'a Reached,
    pub extent: u32,
}

impl SetCopy<'_> {
    /// Returns the byte on the drive of byte `offset` of the set.
    pub fn byte(&self, offset: u32) -> u64 {
        self.drive.geometry.byte(self.extent, offset)
    }

    /// Reads into `buffer[..length]` from byte `offset` of the set.
    pub fn read(&self, offset: u32, length: usize, buffer: Buffer) -> IoFuture {
        self.drive.device.read(self.byte(offset), length, buffer)
    }

    /// Reads bytes of the set into one of the buffers that are kept for operations of one step.
    ///
    /// # Errors
    /// Returns [`DeviceError`] when the device fails.
    pub async fn read_step(&self, pool: &Pool, offset: u32, length: usize) -> Result<Buffer, DeviceError> {
        let buffer = pool.take_for_step(length).await;
        let (result, buffer) = self.read(offset, length, buffer).await;
        result.map(|()| buffer)
    }

    /// Writes `buffer[..length]` at byte `offset` of the set.
    pub fn write(&self, offset: u32, length: usize, buffer: Buffer, durability: Durability) -> IoFuture {
        self.drive.device.write(self.byte(offset), length, buffer, durability)
    }
}

/// The drives that hold a shard's sets. Those that were homes when the node started are the first. Behind them come
/// those that hold only striped sets, and places for drives to come. Clones share them.
#[derive(Clone)]
pub struct Drives(Rc<AllDrives>);

struct AllDrives {
    all: Vec<Reached>,
    /// The places of the homes.
    homes: Rc<Cell<DriveSet>>,
}

impl Drives {
    /// # Panics
    /// Panics when there is no drive.
    pub fn new(drives: Vec<Reached>) -> Self {
        Self::with_others(drives, Vec::new())
    }

    /// Makes it of the homes, and of the other drives that striped sets may lie on.
    ///
    /// # Panics
    /// Panics when there is no home.
    pub fn with_others(homes: Vec<Reached>, others: Vec<Reached>) -> Self {
        assert!(!homes.is_empty(), "a shard has a home");
        let places = Rc::new(Cell::new((0..homes.len() as u16).collect()));
        Self(Rc::new(AllDrives { all: homes.into_iter().chain(others).collect(), homes: places }))
    }

    /// Returns the first `count` of the homes that there were when the node started, at the same places, and the
    /// drives that were no homes.
    pub fn first(&self, count: usize) -> Self {
        Self::with_others(self.0.all[..count].to_vec(), self.0.all[self.count()..].to_vec())
    }

    /// Returns the number of homes.
    pub fn count(&self) -> usize {
        self.0.homes.get().len() as usize
    }

    /// Returns whether the drive at a place is a home.
    pub fn is_home(&self, at: usize) -> bool {
        self.0.homes.get().contains(at as u16)
    }

    /// Makes other places homes.
    pub fn set_homes(&self, homes: DriveSet) {
        self.0.homes.set(homes);
    }

    /// Returns the homes.
    pub fn iter(&self) -> impl Iterator<Item = &Reached> {
        self.0.homes.get().iter().map(|at| self.get(usize::from(at)))
    }

    /// Returns the homes and the other drives.
    pub fn all(&self) -> &[Reached] {
        &self.0.all
    }

    /// Returns the places of the homes that are in the view in use.
    pub fn places(&self) -> Vec<usize> {
        let homes = self.0.homes.get().iter().map(usize::from);
        homes.filter(|at| !self.get(*at).has_left()).collect()
    }

    /// Returns the places of all drives that are in the view in use and may have something of the shard.
    pub fn all_places(&self) -> Vec<usize> {
        (0..self.all().len()).filter(|at| !self.get(*at).has_left()).collect()
    }

    /// Returns the places of all drives that are in the view in use and hold something: the homes, or all drives where
    /// slices are striped.
    pub fn places_to_read(&self) -> Vec<usize> {
        match self.get(0).geometry.shape.is_striped() {
            true => self.all_places(),
            false => self.places(),
        }
    }

    /// Returns the drive at a place.
    pub fn get(&self, at: usize) -> &Reached {
        &self.0.all[at]
    }

    /// Returns the member of a striped set with this number, if the set has it on a drive that can be reached.
    pub fn member(&self, place: SetPlace, member: usize) -> Option<SetCopy<'_>> {
        let Member { drive: number, extent } = place.members.iter().nth(member)?;
        let at = self.0.all.iter().position(|drive| drive.number.is(number))?;
        let drive = self.get(at);
        (!drive.has_left()).then_some(SetCopy { at, drive, extent })
    }

    /// Returns the copies of a set that can be reached, in the order of the drives.
    pub fn copies(&self, place: SetPlace) -> impl Iterator<Item = SetCopy<'_>> {
        let here = self.all().iter().enumerate().filter(|(_, drive)| !drive.has_left());
        here.filter_map(move |(at, drive)| {
            let extent = drive.extent_of(&place.members)?;
            Some(SetCopy { at, drive, extent })
        })
    }

    /// Starts something with each copy of a set that can be reached, and with the buffer, which the copies
    /// share if there are several.
    ///
    /// # Panics
    /// Panics when no copy can be reached.
    fn each<'a, T>(
        &'a self,
        place: SetPlace,
        buffer: Buffer,
        start: impl Fn(SetCopy<'a>, Buffer) -> T,
    ) -> Each<T> {
        let mut copies = self.copies(place);
        let Some(first) = copies.next() else { panic!("no drive of {place:?} is here") };
        let Some(second) = copies.next() else { return Each::One(start(first, buffer)) };
        let shared = buffer.share();
        let all = [first, second].into_iter().chain(copies);
        Each::All(all.map(|copy| start(copy, shared.another())).collect())
    }

    /// Returns the copy of a set on the drive at a place, or any other one if that has none.
    ///
    /// # Panics
    /// Panics when no copy can be reached. Sets are known only if one can: [`Self::set_of`].
    pub fn copy(&self, place: SetPlace, at: usize) -> SetCopy<'_> {
        let drive = self.get(at);
        if let Some(extent) = drive.extent_of(&place.members)
            && !drive.has_left()
        {
            return SetCopy { at, drive, extent };
        }
        self.copies(place).next().unwrap_or_else(|| panic!("no drive of {place:?} is here"))
    }

    /// Returns the drive with the shortest queue that has a copy of a set, beside those that are `bad`. One
    /// that is slow is chosen after others, and one that is brought up to date is the last choice.
    pub fn pick(&self, place: SetPlace, bad: &[usize]) -> Option<usize> {
        if self.all().len() == 1 {
            // Most nodes have no choice, and every read comes here.
            return bad.is_empty().then_some(0);
        }
        let copies = || self.copies(place).filter(|copy| !bad.contains(&copy.at));
        let order = |copy: &SetCopy<'_>| {
            let drive = copy.drive;
            (!drive.is_whole(), drive.is_passed_over(), drive.queue())
        };
        let is_asked_again = |copy: &SetCopy<'_>| copy.drive.is_whole() && copy.drive.is_asked_again();
        let again = copies().find(is_asked_again);
        again.or_else(|| copies().min_by_key(order)).map(|copy| copy.at)
    }

    /// Returns the paces of the drives, if the node can go on without one of them.
    pub fn paces(&self) -> Option<&Rc<Paces>> {
        self.get(0).watch.as_ref().map(|watch| watch.paces())
    }

    /// Returns the copy of a set to read from because that on the drive at a place is late, and counts that. Those
    /// that are `bad` are left out.
    pub fn hedge(&self, place: SetPlace, late: usize, bad: &[usize]) -> Option<SetCopy<'_>> {
        let fit = |copy: &SetCopy<'_>| copy.at != late && !bad.contains(&copy.at) && copy.drive.is_fast();
        let other = self.copies(place).filter(fit).min_by_key(|copy| copy.drive.queue())?;
        let watch = self.get(late).watch.as_ref()?;
        watch.paces().may_hedge([watch.pace()]).then_some(other)
    }

    /// Returns the place of a set that a drive says there is, and its kind. A set of a shard whose sets
    /// have up to `copies` members.
    ///
    /// # Errors
    /// Returns [`FormatDamage::Field`] when it can not be a set of a shard with these homes.
    pub fn set_of(&self, set: &SetV1) -> Result<(SetPlace, u8), FormatDamage> {
        let known = [KIND_LOG, KIND_CHECKPOINT, KIND_SLICES].contains(&set.kind);
        let members = Members::of_disk(&set.members)?;
        let geometry = &self.get(0).geometry;
        let most = match set.kind {
            KIND_SLICES if geometry.shape.is_striped() => geometry.shape.members(),
            // A shard that moves from one home to another has a member on both meanwhile.
            _ if geometry.copies > 1 => MEMBERS_MAX,
            _ => 1,
        };
        if members.count() > most {
            return Err(FormatDamage::Field("members of a set"));
        }
        let place = SetPlace { set: set.set, birth: set.birth, members };
        let fits = |copy: SetCopy<'_>| copy.extent < copy.drive.geometry.extents;
        // Of a striped set that is lost, as the operator has accepted, nothing is read.
        let may_be_lost = set.kind == KIND_SLICES && geometry.shape.is_striped();
        let is_lost = self.copies(place).next().is_none() && !may_be_lost;
        if is_lost || !self.copies(place).all(fits) {
            return Err(FormatDamage::Field("member of a set"));
        }
        // The lowest free number is always the next, so none is greater than a home has extents. But with copies
        // the one that had most may be lost.
        let most = if geometry.copies == 1 { geometry.extents } else { SETS_MAX };
        if !known || set.set >= most.min(SETS_MAX) {
            return Err(FormatDamage::Field("set"));
        }
        Ok((place, set.kind))
    }

    /// Makes what was written before durable, on every home.
    ///
    /// # Errors
    /// Returns [`DeviceError`] when a device fails.
    pub async fn flush(&self) -> Result<(), DeviceError> {
        join_all(self.iter().map(|drive| drive.device.flush())).await.into_iter().collect()
    }
}

/// What was started with the only copy of a set that can be reached, or with each of several.
enum Each<T> {
    One(T),
    All(Vec<T>),
}

/// The writes of the copies of a set.
pub enum Writes {
    One(IoFuture),
    All(CopyWrites),
}

/// The writes of several copies, or of members of a striped set.
pub struct CopyWrites {
    /// Those that are on their way, by the places of the homes.
    running: Vec<(usize, IoFuture)>,
    outcomes: Outcomes,
    losses: Rc<dyn Losses>,
    /// Set when all have ended.
    settling: Option<LocalFuture<Result<(), DeviceError>>>,
}

impl Writes {
    /// Waits until every copy is written. A caller may give up and call again.
    ///
    /// # Errors
    /// Returns the error of a device that the node can not go on without.
    pub async fn done(&mut self) -> Result<(), DeviceError> {
        match self {
            Self::One(write) => write.await.0,
            Self::All(writes) => poll_fn(|context| writes.poll(context)).await,
        }
    }
}

impl CopyWrites {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<(), DeviceError>> {
        let Self { running, outcomes, losses, settling } = self;
        running.retain_mut(|(home, write)| match write.as_mut().poll(context) {
            Poll::Pending => true,
            Poll::Ready((ended, _)) => {
                outcomes.note(*home, ended);
                false
            }
        });
        if !running.is_empty() {
            return Poll::Pending;
        }
        let settle = || -> LocalFuture<_> { Box::pin(std::mem::take(outcomes).settle(losses.clone())) };
        settling.get_or_insert_with(settle).as_mut().poll(context)
    }
}

/// A write of a member of a striped set.
pub struct MemberWrite {
    /// Number of the member.
    pub member: usize,
    /// Byte offset in the set.
    pub offset: u32,
    /// How many bytes of the buffer are written.
    pub length: usize,
    pub buffer: Buffer,
}

/// The drives of a shard with the groups by which this core shares their flushes.
#[derive(Clone)]
pub struct SetWriter {
    pub drives: Drives,
    /// A group for each of the drives.
    flushes: Rc<Vec<Rc<FlushGroup>>>,
    losses: Rc<dyn Losses>,
}

impl SetWriter {
    /// # Panics
    /// Panics when there is not a group for each drive.
    pub fn new(drives: Drives, flushes: Vec<Rc<FlushGroup>>, losses: Rc<dyn Losses>) -> Self {
        assert_eq!(drives.all().len(), flushes.len(), "a group for each drive");
        Self { drives, flushes: Rc::new(flushes), losses }
    }

    /// Returns a writer with what `change` makes of the device and the group of each drive, by its place, for
    /// planted bugs.
    #[cfg(feature = "planted-bugs")]
    pub fn with(
        &self,
        change: impl Fn(usize, &Rc<dyn Device>, &Rc<FlushGroup>) -> (Rc<dyn Device>, Rc<FlushGroup>),
    ) -> Self {
        let all = self.drives.all().iter().zip(&*self.flushes).enumerate();
        let changed = all.map(|(at, (drive, flush))| {
            let (device, flush) = change(at, &drive.device, flush);
            (Reached { device, ..drive.clone() }, flush)
        });
        let (all, flushes): (Vec<_>, Vec<_>) = changed.unzip();
        let drives = Drives(Rc::new(AllDrives { all, homes: self.drives.0.homes.clone() }));
        Self::new(drives, flushes, self.losses.clone())
    }

    /// Drops the drive at a place among the homes from the view, because it failed.
    ///
    /// # Errors
    /// Returns its error when the node can not go on without it.
    pub async fn lose(&self, home: usize, error: DeviceError) -> Result<(), DeviceError> {
        self.losses.lose(home, error).await
    }

    /// Starts a write of every copy of a set that can be reached.
    pub fn write(
        &self,
        (place, offset): (SetPlace, u32),
        length: usize,
        buffer: Buffer,
        durability: Durability,
    ) -> Writes {
        let write = |copy: SetCopy<'_>, buffer| (copy.at, copy.write(offset, length, buffer, durability));
        match self.drives.each(place, buffer, write) {
            Each::One((_, write)) => Writes::One(write),
            Each::All(running) => {
                let (outcomes, losses) = (Outcomes::default(), self.losses.clone());
                Writes::All(CopyWrites { running, outcomes, losses, settling: None })
            }
        }
    }

    /// Starts writes of members of a striped set, each to a drive at a place, of the buffer's first bytes to a byte
    /// of the set.
    pub fn write_members(&self, place: SetPlace, writes: Vec<MemberWrite>) -> Writes {
        let write = |MemberWrite { member, offset, length, buffer }| {
            let copy = self.drives.member(place, member)?;
            Some((copy.at, copy.write(offset, length, buffer, Durability::Deferred)))
        };
        // What is not here is made up for by the other members.
        let running = writes.into_iter().filter_map(write).collect();
        let outcomes = Outcomes { is_somewhere: true, ..Outcomes::default() };
        Writes::All(CopyWrites { running, outcomes, losses: self.losses.clone(), settling: None })
    }

    /// Makes what was written before durable, on every home.
    ///
    /// # Errors
    /// Returns [`DeviceError`] when a device fails that the node can not go on without.
    pub async fn flush(&self) -> Result<(), DeviceError> {
        if let [only] = self.flushes.as_slice() {
            return only.flush().await;
        }
        self.flush_those(|at| self.drives.is_home(at)).await
    }

    /// Makes what was written to slices before durable: on every home, or on every drive if slices are striped.
    ///
    /// # Errors
    /// Returns the same errors as [`Self::flush`].
    pub async fn flush_slices(&self, sets: &[SetPlace]) -> Result<(), DeviceError> {
        if !self.drives.get(0).geometry.shape.is_striped() {
            return self.flush().await;
        }
        let has = |at: usize| {
            let drive = self.drives.get(at);
            sets.iter().any(|set| drive.extent_of(&set.members).is_some())
        };
        self.flush_those(has).await
    }

    async fn flush_those(&self, is_meant: impl Fn(usize) -> bool) -> Result<(), DeviceError> {
        let all = self.drives.all().iter().zip(&*self.flushes).enumerate();
        let flush = |(at, (_, group)): (usize, (_, &Rc<FlushGroup>))| {
            let group = group.clone();
            async move { (at, group.flush().await) }
        };
        let here = all.filter(|(at, (drive, _))| is_meant(*at) && !drive.has_left());
        let flushed = join_all(here.map(flush)).await;
        let mut outcomes = Outcomes::default();
        for (at, outcome) in flushed {
            outcomes.note(at, outcome);
        }
        outcomes.settle(self.losses.clone()).await
    }

    /// Writes every copy of a set, durably. Returns whether a synchronous write made all of them so.
    ///
    /// # Errors
    /// Returns [`DeviceError`] when a device fails that the node can not go on without. Other copies may be
    /// durable then.
    pub async fn write_durably(
        &self,
        (place, offset): (SetPlace, u32),
        length: usize,
        buffer: Buffer,
    ) -> Result<bool, DeviceError> {
        let write = |copy, buffer| self.write_one(copy, offset, length, buffer);
        match self.drives.each(place, buffer, write) {
            Each::One(write) => write.await.1,
            Each::All(writes) => {
                let (mut outcomes, mut alone) = (Outcomes::default(), true);
                for (at, outcome) in join_all(writes).await {
                    alone &= outcomes.note(at, outcome).unwrap_or(true);
                }
                outcomes.settle(self.losses.clone()).await?;
                Ok(alone)
            }
        }
    }

    /// Writes a copy durably. Returns its home, and whether a synchronous write made it so.
    async fn write_one(
        &self,
        copy: SetCopy<'_>,
        offset: u32,
        length: usize,
        buffer: Buffer,
    ) -> (usize, Result<bool, DeviceError>) {
        // A synchronous write alone is one round trip. While others flush anyway, joining them is
        // cheaper for all.
        let flush = &self.flushes[copy.at];
        let together = flush.busy();
        let durability = if together { Durability::Deferred } else { Durability::Immediate };
        let mut written = copy.write(offset, length, buffer, durability).await.0;
        if together && written.is_ok() {
            written = flush.flush().await;
        }
        (copy.at, written.map(|()| !together))
    }
}
