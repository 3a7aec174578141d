//! Changes of the view while the node runs: a drive that fails is dropped.
//!
//! Invariants (decision 0016, rules 2 and 3):
//! - Core 0 changes the view, one change after the other. A change drops at most M of the drives of the
//!   view in use, and each shard keeps a home.
//! - A view is used when all of its members have it durably. Whoever waits because a drive failed goes on
//!   behind that, so that nothing is acknowledged meanwhile that only the failed drive lacks.
//! - A view that was written to any drive is never given up, and its number is used once. If a member fails
//!   meanwhile, a view of a higher number follows, without it too. If that may not be, no view of this life
//!   follows, and the shards that need one stop writing.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::{Rc, Weak};

use futures_util::future::{Either, select};
use futures_util::stream::{FuturesUnordered, StreamExt};

use super::layout::{Layout, keep_only};
use super::state::CoreState;
use crate::device::DeviceError;
use crate::env::LocalFuture;
use crate::extent::Losses;
use crate::format::superblock::{VIEW_BASES, ViewOnDisk};
use crate::format::{BLOCK_BYTES, Le32, Le64};
use crate::hook::{Bug, Rare, reached};
use crate::sync::locks::KeyLocks;
use crate::sync::signal::Signal;
use crate::view::{DriveSet, Rules, ShardDrives};

/// Time in which a drive has to answer when it is asked, milliseconds.
const PATIENCE_MS: u64 = 5000;
/// Time that it gets beside, after another drive has answered, milliseconds.
const LAST_WAIT_MS: u64 = 1000;
/// The key of the lock that is held while the view changes.
const CHANGE: u64 = 0;

/// The views of this life.
pub(super) struct Views {
    rules: Rules,
    changing: KeyLocks,
    /// The drives that failed, by their places. They may still be in the view.
    failed: RefCell<BTreeSet<u16>>,
    /// Raised when one more has failed.
    news: Signal,
    /// The members of the view in use.
    in_use: Cell<DriveSet>,
    /// The view of the highest number.
    latest: RefCell<Box<ViewOnDisk>>,
    /// The view of the start is in use, and no change has failed.
    may_change: Cell<bool>,
}

impl Views {
    pub fn new(layout: &Layout) -> Self {
        let view = layout.start.view;
        Self {
            rules: Rules { failures_max: u32::from(layout.superblocks[0].parity_members) },
            changing: KeyLocks::default(),
            failed: RefCell::default(),
            news: Signal::default(),
            in_use: Cell::new(view.members()),
            latest: RefCell::new(Box::new(view)),
            may_change: Cell::new(false),
        }
    }

    /// Notes that the view of the start is in use.
    pub fn begin(&self) {
        self.may_change.set(true);
    }

    /// Returns the view that follows the latest one without these drives, by their numbers, or `None` when
    /// the rules do not allow it.
    fn without(&self, lost: &[u16], shards: u16) -> Option<Box<ViewOnDisk>> {
        let latest = self.latest.borrow();
        let mut view = latest.clone();
        keep_only(&mut view, |number| !lost.contains(&number.get()));
        let (in_use, next) = (self.in_use.get(), view.members());
        let is_lost = |slot: &u16| lost.contains(&latest.drives[usize::from(*slot)].number.get());
        let alive = (in_use | latest.members()).iter().filter(|slot| !is_lost(slot)).collect();
        let keeps_a_home = |shard: u16| {
            let homes = latest.homes(shard);
            self.rules.may_be_homes(ShardDrives { homes, ready: homes }, next, view.homes(shard))
        };
        let may_follow =
            self.rules.may_change(in_use, latest.members(), next, alive) && (0..shards).all(keeps_a_home);
        view.counter = Le32::new(latest.counter.get() + 1);
        may_follow.then_some(view)
    }
}

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
        if self.has_left(drive) {
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
        self.views.failed.borrow_mut().insert(drive);
        self.views.news.raise();
        let _turn = self.views.changing.lock(CHANGE).await;
        if self.has_left(drive) {
            return true;
        }
        if !self.views.may_change.get() {
            return false;
        }
        let number = self.layout.geometry_of(drive).drive;
        let mut lost = vec![drive];
        loop {
            let Some(view) = self.view_without(&lost) else {
                // What was begun is never given up, and nothing may follow it.
                self.views.may_change.set(lost.len() == 1);
                tracing::error!(drive = number, %error, "a drive failed, and the node can not go on without it");
                return false;
            };
            match self.write_view(&view, &lost).await {
                Ok(()) => {
                    self.use_view(&view, &lost).await;
                    let (epoch, counter) = view.number();
                    tracing::error!(drive = number, %error, epoch, counter, "a drive failed and left the view");
                    return true;
                }
                Err(also) => lost.push(also),
            }
        }
    }

    /// Returns the view that follows without these drives, or `None` when there may be none.
    fn view_without(&self, lost: &[u16]) -> Option<Box<ViewOnDisk>> {
        let numbers: Vec<u16> = lost.iter().map(|drive| self.layout.geometry_of(*drive).drive).collect();
        self.views.without(&numbers, self.layout.shards)
    }

    /// Returns the places of the drives that are in a view.
    fn places_in(&self, view: &ViewOnDisk) -> Vec<u16> {
        let numbers = view.drives_in().map(|drive| drive.number.get());
        numbers.filter_map(|number| self.layout.place_of(number)).collect()
    }

    /// Writes a view to each of its drives, and waits until all have it.
    ///
    /// # Errors
    /// Returns a drive that failed meanwhile. Some drives may have the view then.
    async fn write_view(self: &Rc<Self>, view: &ViewOnDisk, lost: &[u16]) -> Result<(), u16> {
        let planted = self.layout.geometry_of(0).planted;
        if planted.is(Bug::DropWithoutView) {
            return Ok(());
        }
        **self.views.latest.borrow_mut() = *view;
        let mut bases = [Le64::new(0); VIEW_BASES];
        bases[0] = Le64::new(self.views.in_use.get().bits());
        let members = self.places_in(view);
        let enter = |drive: u16| {
            let (core, view) = (self.clone(), Box::new(*view));
            // An update that has begun goes on, even if nobody waits for it any more.
            let work = move |there: Rc<CoreState>| async move {
                there.allocator(drive).enter_view(*view, bases).await
            };
            async move { (drive, core.call_or(core.layout.allocator_core(drive), work, |_, _| ()).await) }
        };
        let mut writes: FuturesUnordered<_> = members.iter().copied().map(enter).collect();
        loop {
            let mark = self.views.news.mark();
            // A member that failed is not waited for if the node can go on without it too.
            let failed = self.views.failed.borrow().clone();
            let may_be_lost = |drive: u16| self.view_without(&[lost, &[drive]].concat()).is_some();
            let also = failed.into_iter().filter(|drive| members.contains(drive));
            if let Some(drive) = also.into_iter().find(|drive| may_be_lost(*drive)) {
                return Err(drive);
            }
            let news = std::pin::pin!(self.views.news.after(mark));
            match select(writes.next(), news).await {
                Either::Left((None, _)) => return Ok(()),
                Either::Left((Some((drive, Err(error))), _)) => {
                    let number = self.layout.geometry_of(drive).drive;
                    tracing::error!(drive = number, %error, "a drive that was to get a new view failed");
                    return Err(drive);
                }
                Either::Left((Some((_, Ok(()))), _)) if planted.is(Bug::UseViewEarly) => return Ok(()),
                Either::Left((Some((_, Ok(()))), _)) | Either::Right(_) => {}
            }
        }
    }

    /// Makes a view that all of its drives have the one in use, on every core.
    async fn use_view(self: &Rc<Self>, view: &ViewOnDisk, lost: &[u16]) {
        for core in 0..self.layout.cores {
            let lost = lost.to_vec();
            let leave = move |there: Rc<CoreState>| async move {
                for drive in lost {
                    there.drives[usize::from(drive)].watch.iter().for_each(|watch| watch.leave());
                }
            };
            self.call(core, leave).await;
        }
        self.views.in_use.set(view.members());
        reached(Rare::DriveDropped);
        for drive in self.places_in(view) {
            let used = move |core: &Rc<CoreState>| core.allocator(drive).use_view();
            self.send(self.layout.allocator_core(drive), Box::new(used));
        }
    }

    /// Has the drives watched, so that one that does not answer is dropped.
    pub(super) fn watch_drives(self: &Rc<Self>) {
        for (drive, watch) in (0..).zip(self.drives.iter().map(|drive| &drive.watch)) {
            let (here, asking) = (Rc::downgrade(self), Rc::new(Cell::new(false)));
            let tell = move || {
                let Some(core) = here.upgrade().filter(|_| !asking.replace(true)) else { return };
                let (environment, asking) = (core.environment.clone(), asking.clone());
                environment.spawn(Box::pin(async move {
                    let refused = core.heard_nothing(drive).await.is_err();
                    // A drive that the node can not do without keeps a buffer for each question.
                    asking.set(refused);
                }));
            };
            watch.iter().for_each(|watch| watch.on_silence(Box::new(tell.clone())));
        }
    }

    /// Asks a drive that seems to be silent whether it answers, and drops it if it does not, but another one
    /// does: else it is the node that stands still, or all that its drives hang on.
    ///
    /// # Errors
    /// Returns an error when it does not answer, and the node can not go on without it.
    async fn heard_nothing(self: &Rc<Self>, drive: u16) -> Result<(), DeviceError> {
        let ask = |drive: u16| async move {
            let drive = &self.drives[usize::from(drive)];
            let buffer = self.pool.take_for_step(BLOCK_BYTES).await;
            let read = drive.device.read(0, BLOCK_BYTES, buffer).await.0;
            // The group goes on with a flush that nobody waits for any more: a drive whose flush was given
            // up counts as one that failed.
            read.and(drive.flush.flush().await).is_ok()
        };
        let mut answer = std::pin::pin!(ask(drive));
        if let Either::Left(_) = select(&mut answer, self.environment.sleep(PATIENCE_MS)).await {
            return Ok(());
        }
        let others = (0..self.layout.drives()).filter(|other| *other != drive && !self.has_left(*other));
        let mut others: FuturesUnordered<_> = others.map(ask).collect();
        while !others.next().await.unwrap_or(true) {}
        drop(others);
        if let Either::Left(_) = select(answer, self.environment.sleep(LAST_WAIT_MS)).await {
            return Ok(());
        }
        reached(Rare::DriveSilent);
        let reason = format!("the drive has not answered for {} s", PATIENCE_MS / 1000);
        let error = DeviceError { operation: "wait", offset: 0, length: 0, reason };
        self.lose(drive, error).await
    }
}
