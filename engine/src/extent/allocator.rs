//! The extent allocator of a drive: its free extents and its superblock, on one core.
//!
//! Invariants:
//! - An extent is free or has exactly one owner. It is taken and returned by message, on this core.
//! - Extents for user data are refused while fewer are free than the shards need to continue: for
//!   tombstones, checkpoints and the cleaner's work. So DELETE works on a full drive. A write that
//!   makes an object smaller may take more of them, but never those that the next checkpoint and
//!   the log's next extent need.
//! - Extents for user data are also refused when so much data is live that the cleaner would lose
//!   its share of the drive. Until then dead data, and gaps between slices, may lie in that share:
//!   the more of it accumulates, the less is moved for each byte gained.
//! - No extent is handed out before every shard of the drive has claimed what its recovery found.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use zerocopy::{FromZeros, IntoBytes};

use crate::device::{Device, DeviceError, Durability};
use crate::format::superblock::{
    COPIES, COPY_STRIDE, ROOT_NONE, ROOTS, SUPERBLOCK_BYTES, ShardRootOnDisk, SuperblockOnDisk, VIEW_BASES,
    ViewOnDisk,
};
use crate::format::{Le32, Le64};
use crate::ring::{Buffer, Pool};
use crate::sync::locks::KeyLocks;
use crate::sync::signal::Signal;

/// The purpose for which an extent, or room in the log, is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// New data of users.
    User,
    /// User data that replaces something larger, so that the space it takes is returned.
    Shrinking,
    /// Tombstones, checkpoints and the cleaner. They may take extents that are held back.
    System,
}

/// The reason why an extent was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Few extents are free, but cleaning will free more.
    Scarce,
    /// So much data is live that cleaning does not help.
    Full,
}

/// The room on a drive, in extents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// All that the drive has.
    pub extents: u32,
    pub free: u32,
    /// How many of the free ones user data may not take.
    pub held: u32,
}

/// An extent that was taken from the allocator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    pub extent: u32,
    /// The extent is one of those that are held back from user data.
    pub held_back: bool,
    /// No more extents are left than the shards need for their next checkpoints and log extents.
    pub tight: bool,
}

/// The numbers of extents that a shard needs and can gain, as it reports them to the allocator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeldBack {
    /// Free extents for its next checkpoint and its log's next extent.
    pub needed: u32,
    /// Free extents including those that its cleaner works in.
    pub working: u32,
    /// The part of the drive that live data of this shard may not take: `needed` and the cleaner's
    /// share.
    pub share: u32,
    /// Extents of its own that would be free if its log held nothing dead and its slices had no
    /// gaps between them.
    pub gainable: u32,
}

/// A claim that contradicts another one, which means that the drive is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClaimConflict {
    pub extent: u32,
}

/// The free extents and the superblock of one drive.
pub struct ExtentAllocator {
    device: Rc<dyn Device>,
    pool: Pool,
    state: RefCell<State>,
    updating: KeyLocks,
    /// The first failure of an update of the superblock, which is final like that of every write.
    failed: RefCell<Option<DeviceError>>,
    claimed: Signal,
    /// The drive's view is on all of its drives, so that what it was counted from can be forgotten.
    view_is_used: Cell<bool>,
    /// The node closes, and writes down no more that nobody waits for.
    is_closing: Cell<bool>,
    /// The drive has had its first update in this life, so that the allocator's own claim is made.
    has_begun: Cell<bool>,
    /// The drive is about to leave for good, and no extent is taken.
    is_closed: Cell<bool>,
    written_bytes: Cell<u64>,
    told_spare: Cell<u32>,
    /// A buffer that is kept for updates where a drive may hang with all others.
    kept: Cell<Option<Buffer>>,
}

struct State {
    extents: u32,
    free: BTreeSet<u32>,
    held_back: BTreeMap<u16, HeldBack>,
    /// Claims that are still missing.
    unclaimed: u16,
    conflict: Option<ClaimConflict>,
    superblock: SuperblockOnDisk,
}

impl State {
    /// Returns the sum over all shards.
    fn held_back(&self) -> HeldBack {
        let shards = self.held_back.values();
        shards.fold(HeldBack::default(), |sum, shard| HeldBack {
            needed: sum.needed + shard.needed,
            working: sum.working + shard.working,
            share: sum.share + shard.share,
            gainable: sum.gainable + shard.gainable,
        })
    }
}

impl ExtentAllocator {
    /// Creates the allocator of a drive with this superblock, on which `shards` shards live.
    pub fn new(device: Rc<dyn Device>, pool: Pool, superblock: SuperblockOnDisk, shards: u16) -> Rc<Self> {
        let extents = superblock.extents.get();
        let kept = (superblock.parity_members > 0).then(|| pool.try_take(SUPERBLOCK_BYTES)).flatten();
        let state = State {
            extents,
            free: (0..extents).collect(),
            held_back: BTreeMap::new(),
            // The allocator's own claim is made when the new epoch is durable on the drive.
            unclaimed: shards + 1,
            conflict: None,
            superblock,
        };
        Rc::new(Self {
            device,
            pool,
            state: RefCell::new(state),
            updating: KeyLocks::default(),
            failed: RefCell::default(),
            claimed: Signal::default(),
            view_is_used: Cell::new(false),
            is_closing: Cell::new(false),
            is_closed: Cell::new(false),
            written_bytes: Cell::new(0),
            told_spare: Cell::new(u32::MAX),
            has_begun: Cell::default(),
            kept: Cell::new(kept),
        })
    }

    /// Returns the number of the drive in the view.
    pub fn drive_number(&self) -> u16 {
        self.state.borrow().superblock.drive_number.get()
    }

    /// Takes a free extent.
    ///
    /// # Errors
    /// Returns the [`Refusal`] when no extent is available to this class.
    pub fn take(&self, class: Class) -> Result<Taken, Refusal> {
        let mut state = self.state.borrow_mut();
        assert_eq!(state.unclaimed, 0, "extents are handed out only after recovery");
        if self.is_closed.get() {
            return Err(Refusal::Full);
        }
        let (free, held) = (state.free.len() as u32, state.held_back());
        let kept = match class {
            Class::User => held.working,
            Class::Shrinking => held.needed,
            Class::System => 0,
        };
        if free <= kept {
            return Err(Refusal::Scarce);
        }
        if class == Class::User && free + held.gainable <= held.share {
            return Err(Refusal::Full);
        }
        let first = state.free.pop_first();
        let (held_back, tight) = (free <= held.working, free <= held.needed + 1);
        first.map(|extent| Taken { extent, held_back, tight }).ok_or(Refusal::Scarce)
    }

    /// Lets nobody take an extent any more, or again.
    pub fn close(&self, is_closed: bool) {
        self.is_closed.set(is_closed);
    }

    /// Returns an extent to the free ones.
    pub fn give(&self, extent: u32) {
        let mut state = self.state.borrow_mut();
        let is_given = extent < state.extents && state.free.insert(extent);
        // Nothing is taken of a drive whose claims contradict each other.
        assert!(is_given || state.conflict.is_some(), "extent {extent} was free already");
    }

    /// Sets the extents that `shard` needs to continue when the drive is full.
    pub fn hold_back(&self, shard: u16, extents: HeldBack) {
        self.state.borrow_mut().held_back.insert(shard, extents);
    }

    /// Returns the free extents, for the simulator's checks.
    pub(crate) fn free_extents(&self) -> Vec<u32> {
        self.state.borrow().free.iter().copied().collect()
    }

    /// Returns whether every shard has made its claim.
    pub(crate) fn is_ready(&self) -> bool {
        self.state.borrow().unclaimed == 0
    }

    /// Returns how much room the drive has.
    pub fn room(&self) -> Room {
        let state = self.state.borrow();
        let (free, held) = (state.free.len() as u32, state.held_back());
        let takeable =
            (free + held.gainable).saturating_sub(held.share).min(free.saturating_sub(held.working));
        Room { extents: state.extents, free, held: free - takeable }
    }

    /// Returns the number of free extents beyond those that cleaners work in, if it differs from
    /// the number returned last. A number above `few` counts as `few`.
    pub fn spare_to_tell(&self, few: u32) -> Option<u32> {
        let spare = {
            let state = self.state.borrow();
            (state.free.len() as u32).saturating_sub(state.held_back().working).min(few)
        };
        (self.told_spare.replace(spare) != spare).then_some(spare)
    }

    /// Claims the extents that a shard's recovery found to be its own. Resolves when every shard of
    /// the drive has made its claim.
    ///
    /// # Errors
    /// Returns [`ClaimConflict`] when two shards own the same extent, or when [`Self::give_up`] was
    /// called.
    pub async fn claim(&self, extents: Vec<u32>) -> Result<(), ClaimConflict> {
        self.note_claim(extents);
        self.until_claimed().await
    }

    /// Makes the claim of a shard, and does not wait for others.
    pub fn note_claim(&self, extents: Vec<u32>) {
        {
            let mut state = self.state.borrow_mut();
            for extent in extents {
                if !state.free.remove(&extent) {
                    state.conflict = Some(ClaimConflict { extent });
                }
            }
            state.unclaimed -= 1;
        }
        self.claimed.raise();
    }

    /// Makes all claims fail. It is called when a core or shard with a part in this drive could not
    /// start: the node does not open then, and nobody may wait for ever.
    pub fn give_up(&self) {
        self.state.borrow_mut().conflict.get_or_insert(ClaimConflict { extent: u32::MAX });
        self.claimed.raise();
    }

    async fn until_claimed(&self) -> Result<(), ClaimConflict> {
        loop {
            let mark = self.claimed.mark();
            {
                let state = self.state.borrow();
                // A shard that gave up may have kept others from claiming, so nobody waits for
                // their claims.
                if let Some(conflict) = state.conflict {
                    return Err(conflict);
                }
                if state.unclaimed == 0 {
                    return Ok(());
                }
            }
            self.claimed.after(mark).await;
        }
    }

    /// Makes `root` the start of its shard's recovery.
    ///
    /// # Errors
    /// Returns [`DeviceError`] when the device failed. The old root may or may not be in force
    /// then.
    pub async fn install(&self, mut root: ShardRootOnDisk) -> Result<(), DeviceError> {
        self.update(|superblock| {
            let epoch = superblock.view.epoch;
            let slot = slot_of(superblock, root.shard.get());
            // The checkpoint may have been started before this life began its log.
            if slot.log_epoch == epoch {
                root.log_epoch = epoch;
            }
            *slot = root;
        })
        .await
    }

    /// Makes the root of a shard the one that it was recovered from, which another home had: what an older
    /// one names may be let go now.
    ///
    /// # Errors
    /// Returns [`DeviceError`] when the device failed.
    pub async fn restore_root(&self, root: ShardRootOnDisk) -> Result<(), DeviceError> {
        self.update(|superblock| {
            let slot = slot_of(superblock, root.shard.get());
            let log_epoch = Le32::new(slot.log_epoch.get().max(root.log_epoch.get()));
            *slot = ShardRootOnDisk { log_epoch, ..root };
        })
        .await
    }

    /// Forgets the root of a shard that the drive is no home of any more.
    ///
    /// # Errors
    /// Returns [`DeviceError`] when the device failed.
    pub async fn forget_root(&self, shard: u16) -> Result<(), DeviceError> {
        self.update(|superblock| {
            let own = |slot: &&mut ShardRootOnDisk| slot.kind.get() != ROOT_NONE && slot.shard.get() == shard;
            superblock.roots.iter_mut().filter(own).for_each(|slot| *slot = ShardRootOnDisk::new_zeroed());
        })
        .await
    }

    /// Records durably that this life has begun the log of `shard`.
    ///
    /// # Errors
    /// Returns [`DeviceError`] when the device failed. The note may or may not be durable then.
    pub async fn note_log_begun(&self, shard: u16) -> Result<(), DeviceError> {
        let is_there = self.state.borrow().superblock.root_of(shard).is_some();
        if !is_there {
            // A drive that has never been a home of the shard gets a root of this life before it is one.
            return Ok(());
        }
        self.update(|superblock| {
            let epoch = superblock.view.epoch;
            slot_of(superblock, shard).log_epoch = epoch;
        })
        .await
    }

    /// Begins a new life of the node: everything written from now on carries `epoch`.
    ///
    /// The drive promises the epoch and gets the view of the life in one update. That is enough
    /// while every shard has one home: a start needs all drives of the view, so no start that was
    /// interrupted can come back with a part of them.
    ///
    /// # Errors
    /// Returns [`DeviceError`] when the device failed.
    pub async fn begin_epoch(&self, epoch: u32) -> Result<(), DeviceError> {
        self.begin(|superblock| {
            superblock.promised_epoch = Le32::new(epoch);
            (superblock.view.epoch, superblock.view.counter) = (Le32::new(epoch), Le32::new(1));
        })
        .await
    }

    /// Begins a new life of a node with redundancy: the drive promises the epoch, so that no start that was
    /// interrupted can come back later with a higher one. What this start finds is written nowhere before
    /// every drive has promised, and its view not before the homes of each shard are alike.
    ///
    /// # Errors
    /// Returns [`DeviceError`] when the device failed.
    pub async fn promise(&self, epoch: u32) -> Result<(), DeviceError> {
        self.begin(|superblock| superblock.promised_epoch = Le32::new(epoch)).await
    }

    /// Makes the first update of a life, and with it the allocator's own claim.
    async fn begin(&self, change: impl FnOnce(&mut SuperblockOnDisk)) -> Result<(), DeviceError> {
        self.settle().await?;
        self.update(change).await?;
        self.claim_own();
        Ok(())
    }

    /// Makes the allocator's own claim, unless it has.
    fn claim_own(&self) {
        if !self.has_begun.replace(true) {
            self.state.borrow_mut().unclaimed -= 1;
            self.claimed.raise();
        }
    }

    /// Writes a view of this life, and what it was counted from.
    ///
    /// # Errors
    /// Returns [`DeviceError`] when the device failed.
    pub async fn enter_view(&self, view: ViewOnDisk, bases: [Le64; VIEW_BASES]) -> Result<(), DeviceError> {
        self.update(move |superblock| {
            // A change that was given up for a later one may come behind it.
            if superblock.view.number() > view.number() {
                return;
            }
            self.view_is_used.set(false);
            superblock.promised_epoch = Le32::new(superblock.promised_epoch.get().max(view.epoch.get()));
            (superblock.view, superblock.bases) = (view, bases);
        })
        .await
    }

    /// Writes the view by which the drive comes back, as its first update in this life: one that was out of
    /// the view promised nothing when the node started. It makes the allocator's own claim.
    ///
    /// # Errors
    /// Returns [`DeviceError`] when the device failed.
    pub async fn come_back(
        &self,
        view: Box<ViewOnDisk>,
        bases: [Le64; VIEW_BASES],
    ) -> Result<(), DeviceError> {
        self.settle().await?;
        self.enter_view(*view, bases).await?;
        // It may be asked for twice, when another drive fails meanwhile.
        self.claim_own();
        Ok(())
    }

    /// Returns whether a shard's claims contradict each other, as those on a damaged drive may.
    pub fn has_conflict(&self) -> bool {
        self.state.borrow().conflict.is_some()
    }

    /// Notes that every drive of the view with this number has it, if that is the drive's own still. The next
    /// update says so.
    pub fn use_view(&self, number: (u32, u32)) {
        if self.state.borrow().superblock.view.number() == number {
            self.view_is_used.set(true);
        }
    }

    /// Writes down that the view is in use, so that a start needs no more than that view.
    ///
    /// # Errors
    /// Returns [`DeviceError`] when the device failed.
    pub async fn note_use(&self) -> Result<(), DeviceError> {
        if self.is_closing.get() {
            // Nothing needs it, and nobody would wait for it any more.
            return Ok(());
        }
        self.update(|_| ()).await
    }

    /// Waits until the updates of the superblock have ended that have begun. From now on no note of a view begins.
    pub async fn end_notes(&self) {
        self.is_closing.set(true);
        drop(self.updating.lock(0).await);
    }

    /// Returns the bytes of superblocks written so far.
    pub fn written_bytes(&self) -> u64 {
        self.written_bytes.get()
    }

    async fn update(&self, change: impl FnOnce(&mut SuperblockOnDisk)) -> Result<(), DeviceError> {
        let _guard = self.updating.lock(0).await;
        // The state of the copies after a failed update is unknown. Another update over them could
        // leave no two copies that agree.
        if let Some(error) = self.failed.borrow().clone() {
            return Err(error);
        }
        let updated = self.write_changed(change).await;
        if let Err(error) = &updated {
            *self.failed.borrow_mut() = Some(error.clone());
        }
        updated
    }

    /// Makes all copies durably equal to the superblock that was chosen when the drive was opened.
    /// If the last life ended within an update, only two copies agree, and they are not always
    /// those that the next update leaves alone at first. What was read may still be only in the
    /// device's cache, so a flush comes before the copies that differ are overwritten. Without it,
    /// a power cut could lose these copies and the ones that agreed together.
    async fn settle(&self) -> Result<(), DeviceError> {
        let chosen = Box::new(self.state.borrow().superblock);
        let mut differing = Vec::new();
        for copy in 0..COPIES as u64 {
            let buffer = self.pool.take_for_log(SUPERBLOCK_BYTES).await;
            let (read, buffer) = self.device.read(copy * COPY_STRIDE, SUPERBLOCK_BYTES, buffer).await;
            // A copy that can not be read is written again like one that differs.
            if read.is_err() || buffer[..SUPERBLOCK_BYTES] != *chosen.as_bytes() {
                differing.push(copy);
            }
        }
        self.device.flush().await?;
        if differing.is_empty() {
            return Ok(());
        }
        for copy in differing {
            self.writer().write(copy, &chosen).await?;
        }
        self.device.flush().await
    }

    fn writer(&self) -> CopyWriter<'_> {
        let Self { device, pool, written_bytes, kept, .. } = self;
        CopyWriter { device: &**device, pool, written_bytes, kept }
    }

    async fn write_changed(&self, change: impl FnOnce(&mut SuperblockOnDisk)) -> Result<(), DeviceError> {
        let mut next = Box::new(self.state.borrow().superblock);
        if self.view_is_used.get() {
            next.bases = [Le64::new(0); VIEW_BASES];
        }
        change(&mut next);
        next.parent_crc = next.crc;
        next.sequence = Le64::new(next.sequence.get() + 1);
        next.seal();
        self.writer().write_all(&next).await?;
        self.state.borrow_mut().superblock = *next;
        Ok(())
    }
}

/// What writes the copies of a superblock.
pub(crate) struct CopyWriter<'a> {
    pub device: &'a dyn Device,
    pub pool: &'a Pool,
    pub written_bytes: &'a Cell<u64>,
    /// A buffer that is kept for this, if there is one.
    pub kept: &'a Cell<Option<Buffer>>,
}

impl CopyWriter<'_> {
    /// Writes all copies of a superblock, in the order of every update: 1. the first half of the
    /// copies; 2. a flush, so that two whole copies of old or new are always there; 3. the second half;
    /// 4. a flush, before anybody relies on it.
    ///
    /// # Errors
    /// Returns what the device answered. The copies may be old or new then.
    pub async fn write_all(&self, block: &SuperblockOnDisk) -> Result<(), DeviceError> {
        for half in [0..COPIES / 2, COPIES / 2..COPIES] {
            for copy in half {
                self.write(copy as u64, block).await?;
            }
            self.device.flush().await?;
        }
        Ok(())
    }

    async fn write(&self, copy: u64, block: &SuperblockOnDisk) -> Result<(), DeviceError> {
        let kept = self.kept.take();
        let is_kept = kept.is_some();
        let mut buffer = match kept {
            Some(buffer) => buffer,
            None => self.pool.take_for_log(SUPERBLOCK_BYTES).await,
        };
        buffer[..SUPERBLOCK_BYTES].copy_from_slice(block.as_bytes());
        let offset = copy * COPY_STRIDE;
        let (written, buffer) =
            self.device.write(offset, SUPERBLOCK_BYTES, buffer, Durability::Deferred).await;
        if is_kept && buffer.capacity() >= SUPERBLOCK_BYTES {
            self.kept.set(Some(buffer));
        }
        written?;
        self.written_bytes.set(self.written_bytes.get() + SUPERBLOCK_BYTES as u64);
        Ok(())
    }
}

/// Returns the slot of a shard's root, or a free one.
fn slot_of(superblock: &mut SuperblockOnDisk, shard: u16) -> &mut ShardRootOnDisk {
    let own = |slot: &ShardRootOnDisk| slot.kind.get() != ROOT_NONE && slot.shard.get() == shard;
    let at = superblock.roots.iter().position(own);
    let free = || superblock.roots.iter().position(|slot| slot.kind.get() == ROOT_NONE);
    match at.or_else(free) {
        Some(at) => &mut superblock.roots[at],
        None => panic!("this drive has roots of {ROOTS} other shards"),
    }
}
