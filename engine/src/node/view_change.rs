//! Changes of the view while the node runs: a drive that fails is dropped, one that is back is taken back, and
//! becomes a home again.
//!
//! Invariants (decision 0016, rules 2 and 3):
//! - Core 0 changes the view, one change after the other. A change drops at most M of the drives of the
//!   view in use, and each shard keeps a home.
//! - A view is used when all of its members have it durably. Whoever waits because a drive failed goes on
//!   behind that, so that nothing is acknowledged meanwhile that only the failed drive lacks.
//! - A view that was written to any drive is never given up, and its number is used once. If a member fails
//!   meanwhile, a view of a higher number follows, without it too. If that may not be, no view of this life
//!   follows, and the shards that need one stop writing.

use std::cell::Cell;
use std::rc::{Rc, Weak};

use futures_util::future::{Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt};

use super::state::CoreState;
use super::views::Change;
use crate::device::DeviceError;
use crate::device::watch::Part;
use crate::env::LocalFuture;
use crate::extent::Losses;
use crate::format::superblock::{VIEW_BASES, ViewOnDisk};
use crate::format::{BLOCK_BYTES, Le32, Le64};
use crate::hook::{Bug, Rare, reached};
use crate::sync::locks::KeyGuard;

/// Time in which a drive has to answer when it is asked, milliseconds.
const PATIENCE_MS: u64 = 5000;
/// Time that it gets beside, after another drive has answered, milliseconds.
const LAST_WAIT_MS: u64 = 1000;
/// The key of the lock that is held while the view changes.
const CHANGE: u64 = 0;

/// What is done about the homes of a shard that fail.
pub(super) struct LossesOfCore {
    core: Weak<CoreState>,
    /// The places of the homes among the node's drives.
    homes: Vec<u16>,
}

impl LossesOfCore {
    pub fn new(core: Weak<CoreState>, homes: &[u16]) -> Self {
        Self { core, homes: homes.to_vec() }
    }
}

impl Losses for LossesOfCore {
    fn lose(&self, home: usize, error: DeviceError) -> LocalFuture<Result<(), DeviceError>> {
        let (core, drive) = (self.core.upgrade(), self.homes[home]);
        Box::pin(async move {
            match core {
                Some(core) => core.lose(drive, error).await,
                None => Err(error),
            }
        })
    }
}

impl CoreState {
    /// Drops a drive that failed from the view, and waits until the view without it is in use.
    ///
    /// # Errors
    /// Returns the drive's error when the node can not go on without it.
    pub(super) async fn lose(self: &Rc<Self>, drive: u16, error: DeviceError) -> Result<(), DeviceError> {
        if self.is_out(drive) {
            return Ok(());
        }
        if !self.layout.is_redundant() {
            return Err(error);
        }
        let said = error.clone();
        let change = move |core: Rc<CoreState>| async move { core.drop_drive(drive, said).await };
        // A change that has begun goes on, even if the client that noticed the failure has gone.
        let dropped = self.call_or(0, change, |_, _| ()).await;
        if dropped { Ok(()) } else { Err(error) }
    }

    /// Changes the view on core 0, and returns whether it is without the drive.
    async fn drop_drive(self: Rc<Self>, drive: u16, error: DeviceError) -> bool {
        if !self.views.may_change.get() {
            return false;
        }
        self.views.failed.borrow_mut().insert(drive);
        self.views.news.raise();
        let _turn = self.turn_to_change().await;
        if self.is_out(drive) {
            return true;
        }
        // It may have answered meanwhile.
        if !self.views.may_change.get() || !self.views.failed.borrow().contains(&drive) {
            return false;
        }
        let number = self.number_of(drive);
        match self.carry_out(Change::default().without(drive)).await {
            Some((epoch, counter)) => {
                self.views.reasons.borrow_mut().insert(drive, error.to_string());
                tracing::error!(drive = number, %error, epoch, counter, "a drive failed and left the view");
            }
            None => {
                let reason = format!("{error}; the node can not go on without it");
                self.views.reasons.borrow_mut().insert(drive, reason);
                tracing::error!(drive = number, %error, "a drive failed, and the node can not go on without it");
            }
        }
        self.views.failed.borrow_mut().remove(&drive);
        self.has_left(drive)
    }

    /// Takes a drive back, or makes it a home, on core 0. Returns whether the drive has that part now.
    pub(super) async fn change_view(self: &Rc<Self>, change: Change) -> bool {
        let _turn = self.turn_to_change().await;
        self.views.failed.borrow_mut().retain(|drive| change.back != Some(*drive));
        let may_be = change.home.is_none_or(|home| !self.has_left(home));
        if !self.views.may_change.get() || !may_be || self.carry_out(change.clone()).await.is_none() {
            return false;
        }
        let drives = change.back.iter().chain(&change.home);
        drives.into_iter().all(|drive| !self.has_left(*drive))
    }

    /// Waits until nobody else changes the view.
    pub(super) async fn turn_to_change(&self) -> KeyGuard {
        self.views.changing.lock(CHANGE).await
    }

    /// Returns the view that follows the latest one by a change, or `None` when the rules do not allow it.
    pub(super) fn next_view(&self, change: &Change) -> Option<Box<ViewOnDisk>> {
        self.views.next(change, &self.layout, &|place| self.number_of(place))
    }

    /// Makes views until one is durable on all of its drives and in use, and returns its number. Drives that
    /// fail meanwhile are dropped too. Returns `None` when the rules do not allow it.
    pub(super) async fn carry_out(self: &Rc<Self>, mut change: Change) -> Option<(u32, u32)> {
        let mut is_begun = false;
        loop {
            let Some(view) = self.next_view(&change) else {
                // What was begun is never given up, and nothing may follow it.
                self.views.may_change.set(!is_begun);
                return None;
            };
            is_begun = true;
            match self.write_view(&view, &change).await {
                Ok(()) => {
                    self.use_view(&view, &change).await;
                    return Some(view.number());
                }
                Err(also) => {
                    change = change.without(also);
                    if self.layout.geometry_of(0).planted.is(Bug::GiveUpView) {
                        let (_, counter) = view.number();
                        self.views.latest.borrow_mut().counter = Le32::new(counter - 1);
                    }
                }
            }
        }
    }

    /// Returns the places of the drives that are in a view.
    fn places_in(&self, view: &ViewOnDisk) -> Vec<u16> {
        let numbers = view.drives_in().map(|drive| drive.number.get());
        numbers.filter_map(|number| self.place_of(number)).collect()
    }

    /// Writes a view to each of its drives, and waits until all have it.
    ///
    /// # Errors
    /// Returns a drive that failed meanwhile. Some drives may have the view then.
    async fn write_view(self: &Rc<Self>, view: &ViewOnDisk, change: &Change) -> Result<(), u16> {
        let planted = self.layout.geometry_of(0).planted;
        if planted.is(Bug::DropWithoutView) && !change.lost.is_empty() {
            return Ok(());
        }
        **self.views.latest.borrow_mut() = *view;
        let mut bases = [Le64::new(0); VIEW_BASES];
        bases[0] = Le64::new(self.views.in_use.get().bits());
        let members = self.places_in(view);
        let enter = |drive: u16| {
            let (core, view, is_back) = (self.clone(), Box::new(*view), change.back == Some(drive));
            // An update that has begun goes on, even if nobody waits for it any more.
            let work = move |there: Rc<CoreState>| async move {
                let allocator = there.allocator(drive);
                match is_back {
                    true => allocator.come_back(view, bases).await,
                    false => allocator.enter_view(*view, bases).await,
                }
            };
            async move { (drive, core.call_or(core.layout.allocator_core(drive), work, |_, _| ()).await) }
        };
        let mut writes: FuturesUnordered<_> = members.iter().copied().map(enter).collect();
        loop {
            let mark = self.views.news.mark();
            // A member that failed is not waited for if the node can go on without it too.
            let failed = self.views.failed.borrow().clone();
            let may_be_lost = |drive| self.next_view(&change.without(drive)).is_some();
            let also = failed.into_iter().filter(|drive| members.contains(drive));
            if let Some(drive) = also.into_iter().find(|drive| may_be_lost(*drive)) {
                return Err(drive);
            }
            let news = std::pin::pin!(self.views.news.after(mark));
            match select(writes.next(), news).await {
                Either::Left((None, _)) => return Ok(()),
                Either::Left((Some((drive, Err(error))), _)) => {
                    let number = self.number_of(drive);
                    tracing::error!(drive = number, %error, "a drive that was to get a new view failed");
                    return Err(drive);
                }
                Either::Left((Some((_, Ok(()))), _)) if planted.is(Bug::UseViewEarly) => return Ok(()),
                Either::Left((Some((_, Ok(()))), _)) | Either::Right(_) => {}
            }
        }
    }

    /// Makes a view that all of its drives have the one in use, on every core.
    async fn use_view(self: &Rc<Self>, view: &ViewOnDisk, change: &Change) {
        for core in 0..self.layout.cores {
            let (change, number) = (change.clone(), view.number());
            let note = move |there: Rc<CoreState>| async move {
                there.note_parts(&change);
                there.view.set(number);
            };
            self.call(core, note).await;
        }
        self.views.in_use.set(view.members());
        if !change.lost.is_empty() {
            reached(Rare::DriveDropped);
        }
        let number = view.number();
        for drive in self.places_in(view) {
            let note = move |core: &Rc<CoreState>| {
                let allocator = core.allocator(drive);
                allocator.use_view(number);
                // Nobody waits for it, and whoever writes to the drive next notices if it failed.
                core.environment.spawn(Box::pin(async move { drop(allocator.note_use().await) }));
            };
            self.send(self.layout.allocator_core(drive), Box::new(note));
        }
    }

    /// Notes on this core which parts drives have in the view in use.
    fn note_parts(&self, Change { lost, back, home, leaving, .. }: &Change) {
        let watch = |drive: u16| self.drives[usize::from(drive)].watch.iter();
        back.iter().for_each(|drive| watch(*drive).for_each(|watch| watch.enter(Part::CatchingUp)));
        home.iter().for_each(|drive| watch(*drive).for_each(|watch| watch.enter(Part::Whole)));
        lost.iter().for_each(|drive| watch(*drive).for_each(|watch| watch.leave()));
        leaving.iter().for_each(|(drive, leaves)| watch(*drive).for_each(|watch| watch.set_leaving(*leaves)));
        self.own_shards().iter().for_each(|shard| shard.rest_sets());
    }

    /// Has the drives watched, so that one that does not answer is dropped.
    pub(super) fn watch_drives(self: &Rc<Self>) {
        for (drive, watch) in (0..).zip(self.drives.iter().map(|drive| &drive.watch)) {
            let (here, asking) = (Rc::downgrade(self), Rc::new(Cell::new(false)));
            let tell = move || {
                let Some(core) = here.upgrade().filter(|_| !asking.replace(true)) else { return };
                let (environment, asking) = (core.environment.clone(), asking.clone());
                environment.spawn(Box::pin(async move {
                    core.heard_nothing(drive).await;
                    asking.set(false);
                }));
            };
            watch.iter().for_each(|watch| watch.on_silence(Box::new(tell.clone())));
        }
    }

    /// Asks a drive a question of its own, and returns whether it did what it was asked, once it has answered.
    async fn ask_drive(&self, drive: u16) -> bool {
        let drive = &self.drives[usize::from(drive)];
        // Whoever waits for the drive may hold all other buffers.
        let kept = drive.question.take().or_else(|| self.pool.try_take(BLOCK_BYTES));
        let Some(buffer) = kept else { return false };
        let (read, buffer) = drive.device.read(0, BLOCK_BYTES, buffer).await;
        drive.question.set(Some(buffer).filter(|buffer| buffer.capacity() >= BLOCK_BYTES));
        // The group goes on with a flush that nobody waits for any more: a drive whose flush was given
        // up counts as one that failed.
        read.is_ok() && drive.flush.flush().await.is_ok()
    }

    /// Resolves when another drive does what it is asked.
    async fn another_answers(&self, drive: u16) {
        loop {
            let others = self.places_in_view().filter(|other| *other != drive);
            let mut asked: FuturesUnordered<_> = others.map(|other| self.ask_drive(other)).collect();
            while let Some(answers) = asked.next().await {
                if answers {
                    return;
                }
            }
            // Each of them failed, or is being asked already.
            self.environment.sleep(LAST_WAIT_MS).await;
        }
    }

    /// Asks a drive that seems to be silent whether it answers, and drops it if it does not, but another one
    /// does: else it is the node that stands still, or all that its drives hang on.
    async fn heard_nothing(self: &Rc<Self>, drive: u16) {
        let Some(watch) = &self.drives[usize::from(drive)].watch else { return };
        let mut answer = std::pin::pin!(self.ask_drive(drive));
        let mut seen = watch.answers();
        // Twice the whole time, since all drives may stand still at first.
        for _ in 0..2 {
            let sleep = self.environment.sleep(PATIENCE_MS);
            if let Either::Left(_) = select(answer.as_mut(), sleep).await {
                return;
            }
            let another = std::pin::pin!(self.another_answers(drive));
            if let Either::Left(_) = select(answer.as_mut(), another).await {
                return;
            }
            if watch.answers() == seen {
                break;
            }
            // Others got answers meanwhile.
            seen = watch.answers();
        }
        let last = self.environment.sleep(LAST_WAIT_MS);
        if watch.answers() != seen || matches!(select(answer.as_mut(), last).await, Either::Left(_)) {
            return;
        }
        reached(Rare::DriveSilent);
        let reason = format!("the drive has not answered for {} s", PATIENCE_MS / 1000);
        let error = DeviceError { operation: "wait", offset: 0, length: 0, reason };
        let losing = std::pin::pin!(self.lose(drive, error));
        match select(answer.as_mut(), losing).await {
            // It answers, before it was dropped.
            Either::Left(_) => {
                let withdraw = move |core: &Rc<CoreState>| core.views.withdraw(drive);
                self.send(0, Box::new(withdraw));
            }
            Either::Right((Ok(()), _)) => {}
            // The node can not go on without it.
            Either::Right((Err(_), _)) => drop(answer.await),
        }
    }
}
