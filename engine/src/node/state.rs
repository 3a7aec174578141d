//! One core's part of the node: its shards, keepers, devices, and how it talks to the other cores.
//!
//! Invariants:
//! - Everything here is used by one thread; cores share nothing but mailboxes.
//! - A message runs at once on the core it reaches; what must wait is spawned there.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::Either;

use super::buckets::BucketWrites;
use super::cache::ReadCache;
use super::gate::Gate;
use super::serve::{Answered, Asked, Told};
use crate::device::flush::FlushGroup;
use crate::device::latch::{Latch, LatchedDevice};
use crate::device::{Device, DeviceError};
use crate::env::Environment;
use crate::error::{EngineError, Result};
use crate::extent::Geometry;
use crate::extent::keeper::{Class, HeldBack, Keeper, Refusal, Taken};
use crate::format::superblock::{ShardRootOnDisk, SuperblockOnDisk};
use crate::hook::{Planted, Rare, reached};
use crate::ring::mailbox::{Mailbox, Notifier};
use crate::ring::{Buffer, Pool};
use crate::shard::{CheckpointCut, Salvage, Settings, Shard, ShardReply, ShardRequest};
use crate::sync::calls::Calls;
use crate::sync::locks::KeyLocks;
use crate::types::{Bucket, BucketId};

/// How long a body waits for a buffer before its client is told to slow down.
const BUFFER_WAIT_MS: u64 = 10_000;

/// What one core sends to another. Small, since every pair of cores has a queue of them.
pub enum Message {
    Ask(Box<Asked>),
    Answer(Box<Answered>),
    Tell(Box<Told>),
    /// What concerns the node and its drives, not the objects: it runs on the core that it reaches.
    Control(Box<dyn FnOnce(&Rc<CoreState>) + Send>),
}

/// The answer to a control message, of a type that its sender knows.
type ControlAnswer = Box<dyn Any + Send>;

/// The whole node, the same on every core.
pub struct Layout {
    pub cores: usize,
    pub shards: u16,
    pub superblocks: Vec<SuperblockOnDisk>,
    /// Of this life.
    pub epoch: u32,
    pub index_bytes_max: usize,
    /// By drive: flushes of all cores.
    latches: Vec<Arc<Latch>>,
    /// By drive.
    geometries: Vec<(Geometry, Settings)>,
}

/// A drive as one core sees it.
pub struct Drive {
    pub device: Rc<dyn Device>,
    /// The same, as other cores call it.
    pub(crate) latched: LatchedDevice,
    pub flush: Rc<FlushGroup>,
    /// Free extents that users may take, as the keeper last said: at most what it counts as few.
    pub(crate) spare_extents: Cell<u32>,
    /// Slices written by this core, headers and padding included, bytes.
    pub(crate) slice_bytes: Cell<u64>,
}

impl Drive {
    pub fn new(latched: LatchedDevice, environment: &Rc<dyn Environment>) -> Self {
        let device: Rc<dyn Device> = Rc::new(latched.clone());
        let flush = FlushGroup::new(device.clone(), environment.clone());
        Self { device, latched, flush, spare_extents: Cell::new(u32::MAX), slice_bytes: Cell::new(0) }
    }
}

/// This core's copy of all buckets.
#[derive(Default)]
pub struct BucketMap {
    by_name: BTreeMap<String, Rc<Bucket>>,
    by_id: BTreeMap<u32, (Rc<Bucket>, Rc<BucketWrites>)>,
}

/// See the module.
pub struct CoreState {
    pub index: usize,
    pub layout: Arc<Layout>,
    pub environment: Rc<dyn Environment>,
    pub pool: Pool,
    /// Small objects that this core read lately.
    pub(crate) cache: ReadCache,
    pub drives: Vec<Drive>,
    pub(crate) mailbox: Mailbox<Message>,
    pub(crate) notifier: Rc<dyn Notifier>,
    /// Requests to shards of other cores.
    pub(super) asked: Calls<Result<ShardReply>>,
    /// Control messages to other cores.
    pub(super) calls: Calls<ControlAnswer>,
    pub(crate) shards: RefCell<BTreeMap<u16, Rc<Shard>>>,
    pub(crate) keepers: RefCell<BTreeMap<u16, Rc<Keeper>>>,
    pub(crate) buckets: RefCell<BucketMap>,
    pub(crate) bucket_locks: KeyLocks,
    /// Core 0's counts for the whole node.
    pub(crate) gate: Gate,
    pub(crate) closing: Cell<bool>,
    pub(crate) retrying: Cell<bool>,
    /// Bodies on their way in: a graceful stop waits for them.
    pub(crate) writers: Cell<usize>,
    /// Reads that were refused to clients because what they met was damaged or unreadable.
    pub(crate) refusals: Cell<u64>,
    /// By shard: goes on behind damage when it opens. Set by a repair, never by a server.
    pub(crate) salvage: RefCell<BTreeMap<u16, Rc<Salvage>>>,
}

impl Layout {
    pub fn drives(&self) -> u16 {
        self.superblocks.len() as u16
    }

    pub fn core_of(&self, shard: u16) -> usize {
        usize::from(shard) % self.cores
    }

    pub fn drive_of(&self, shard: u16) -> u16 {
        shard % self.drives()
    }

    pub fn keeper_core(&self, drive: u16) -> usize {
        usize::from(drive) % self.cores
    }

    pub fn shards_of_core(&self, core: usize) -> impl Iterator<Item = u16> + '_ {
        (0..self.shards).filter(move |shard| self.core_of(*shard) == core)
    }

    pub fn shards_of_drive(&self, drive: u16) -> impl Iterator<Item = u16> + '_ {
        (0..self.shards).filter(move |shard| self.drive_of(*shard) == drive)
    }

    /// The shard of a hash: the low half, since the point table spreads by the high bits.
    pub fn shard_of(&self, hash: u64) -> u16 {
        (((hash & 0xffff_ffff) * u64::from(self.shards)) >> 32) as u16
    }

    /// Of a node with these drives, in the order of their index.
    pub fn new(cores: usize, superblocks: Vec<SuperblockOnDisk>, epoch: u32, index_bytes_max: usize) -> Self {
        let shards = superblocks[0].shards.get();
        let latches = superblocks.iter().map(|_| Arc::new(Latch::new(cores))).collect();
        let geometries = Vec::new();
        let mut layout = Self { cores, shards, superblocks, epoch, index_bytes_max, latches, geometries };
        layout.geometries = (0..layout.drives()).map(|drive| layout.geometry(drive)).collect();
        layout
    }

    /// Takes a checkpoint after so many bytes of log, and cleans it when so many are dead, however large the drive is.
    pub fn set_maintenance(&mut self, checkpoint_after_bytes: u64, dead_log_bytes_max: u64) {
        for (_, settings) in &mut self.geometries {
            (settings.checkpoint_after_bytes, settings.dead_log_bytes_max) =
                (checkpoint_after_bytes, dead_log_bytes_max);
        }
    }

    /// Cuts checkpoints so.
    pub fn cut_checkpoints(&mut self, cut: CheckpointCut) {
        self.geometries.iter_mut().for_each(|(_, settings)| settings.checkpoint_cut = cut);
    }

    /// Gives a simulated node a bug.
    #[cfg(feature = "planted-bugs")]
    pub(crate) fn plant(&mut self, bug: Option<crate::hook::Bug>) {
        self.geometries.iter_mut().for_each(|(geometry, _)| geometry.planted = Planted::new(bug));
    }

    /// The shard that owns a key. Every drive of a set has the same hash key.
    pub fn shard_of_key(&self, bucket: BucketId, key: &[u8]) -> u16 {
        self.shard_of(self.settings_of(0).hash(bucket, key))
    }

    /// What the cores share about the flushes of a drive.
    pub fn latch(&self, drive: u16) -> Arc<Latch> {
        self.latches[usize::from(drive)].clone()
    }

    pub fn geometry_of(&self, drive: u16) -> &Geometry {
        &self.geometries[usize::from(drive)].0
    }

    pub fn settings_of(&self, drive: u16) -> &Settings {
        &self.geometries[usize::from(drive)].1
    }

    fn geometry(&self, drive: u16) -> (Geometry, Settings) {
        let superblock = &self.superblocks[usize::from(drive)];
        let drive_shards = self.shards_of_drive(drive).count().max(1) as u64;
        let id = superblock.drive_uuid.first_chunk::<8>().map_or(0, |half| u64::from_le_bytes(*half));
        let extent_bytes = superblock.extent_bytes.get();
        let (dead_log_bytes_max, checkpoint_after_bytes) =
            maintenance_bytes(superblock.size_bytes.get(), drive_shards, extent_bytes);
        let geometry = Geometry {
            extent_bytes: extent_bytes as u32,
            extents: superblock.extents.get(),
            extents_start: superblock.extents_start.get(),
            drive_id: id,
            epoch: self.epoch,
            planted: Planted::default(),
        };
        let settings = Settings {
            hash_key: superblock.hash_key.map(|half| half.get()),
            inline_bytes_max: superblock.inline_bytes_max.get(),
            index_bytes_max: (self.index_bytes_max / usize::from(self.shards)) as u64,
            dead_log_bytes_max,
            checkpoint_after_bytes,
            checkpoint_cut: CheckpointCut::default(),
            drive_shards: drive_shards as u32,
            few_extents: drive_shards as u32,
        };
        (geometry, settings)
    }
}

/// Of a drive with `drive_shards` shards: how much of one's log may be dead before it is cleaned, and how much is
/// written between two checkpoints, bytes.
pub(crate) fn maintenance_bytes(size_bytes: u64, drive_shards: u64, extent_bytes: u64) -> (u64, u64) {
    let share = size_bytes / drive_shards / 8;
    (2 * share, share.clamp(4 * extent_bytes, 1 << 30))
}

/// An answer as its sender knows it.
fn unpacked<R: 'static>(answer: ControlAnswer) -> R {
    match answer.downcast::<R>() {
        Ok(answer) => *answer,
        Err(_) => panic!("a control message was answered with another type"),
    }
}

impl CoreState {
    /// Runs `work` on `core` and waits for what it gives. Work that was sent goes on when the caller is dropped;
    /// its result then goes to `orphan` here.
    pub async fn call_or<R, F, W>(
        self: &Rc<Self>,
        core: usize,
        work: F,
        orphan: impl FnOnce(&Rc<CoreState>, R) + 'static,
    ) -> R
    where
        R: Send + 'static,
        W: Future<Output = R> + 'static,
        F: FnOnce(Rc<CoreState>) -> W + Send + 'static,
    {
        // The table of calls is this core's: what waits in it may not keep the core alive.
        let here = Rc::downgrade(self);
        let orphan = move |answer| {
            if let Some(here) = here.upgrade() {
                orphan(&here, answer);
            }
        };
        self.dispatch(core, work, Some(Box::new(orphan))).await
    }

    /// As [`Self::call_or`], for results that need no care.
    pub async fn call<R, F, W>(self: &Rc<Self>, core: usize, work: F) -> R
    where
        R: Send + 'static,
        W: Future<Output = R> + 'static,
        F: FnOnce(Rc<CoreState>) -> W + Send + 'static,
    {
        if core == self.index {
            return work(self.clone()).await;
        }
        self.dispatch(core, work, None).await
    }

    async fn dispatch<R, F, W>(self: &Rc<Self>, core: usize, work: F, orphan: Option<Box<dyn FnOnce(R)>>) -> R
    where
        R: Send + 'static,
        W: Future<Output = R> + 'static,
        F: FnOnce(Rc<CoreState>) -> W + Send + 'static,
    {
        let orphan =
            orphan.map(|orphan| Box::new(move |answer| orphan(unpacked(answer))) as Box<dyn FnOnce(_)>);
        let (id, call) = self.calls.register(orphan);
        let from = self.index;
        if core == self.index {
            let here = self.clone();
            self.environment.spawn(Box::pin(async move {
                let answer = work(here.clone()).await;
                here.calls.complete(id, Box::new(answer));
            }));
            return unpacked(call.await);
        }
        self.send(
            core,
            Box::new(move |there| {
                let there = there.clone();
                there.clone().environment.spawn(Box::pin(async move {
                    let answer = work(there.clone()).await;
                    there.send(from, Box::new(move |here| here.calls.complete(id, Box::new(answer))));
                }));
            }),
        );
        unpacked(call.await)
    }

    /// Runs something on a core, which may be this one.
    pub fn send(self: &Rc<Self>, core: usize, message: Box<dyn FnOnce(&Rc<CoreState>) + Send>) {
        if core == self.index {
            return message(self);
        }
        self.send_message(core, Message::Control(message));
    }

    /// Sends a message to another core.
    pub(super) fn send_message(self: &Rc<Self>, core: usize, message: Message) {
        let overflowed = self.mailbox.send(core, message, &*self.notifier);
        if overflowed {
            reached(Rare::MailboxFull);
        }
        if overflowed && !self.retrying.replace(true) {
            let state = self.clone();
            self.environment.spawn(Box::pin(async move {
                while state.mailbox.retry(&*state.notifier) {
                    state.environment.sleep(1).await;
                }
                state.retrying.set(false);
            }));
        }
    }

    /// Lets cores that wait for a flush of this one hear of its end.
    pub(super) fn connect_latches(self: &Rc<Self>) {
        for (at, drive) in self.drives.iter().enumerate() {
            let here = Rc::downgrade(self);
            drive.latched.set_tell(Rc::new(move |core| {
                if let Some(here) = here.upgrade() {
                    here.send(core, Box::new(move |there| there.drives[at].latched.look_again()));
                }
            }));
        }
    }

    /// Runs what other cores have sent.
    pub fn receive(self: &Rc<Self>) {
        self.mailbox.drain(|message| match message {
            Message::Ask(asked) => self.asked(*asked),
            Message::Answer(answered) => self.answered(*answered),
            Message::Tell(told) => self.told(*told),
            Message::Control(run) => run(self),
        });
    }

    /// A buffer for a body, waited for within bounds.
    ///
    /// # Errors
    /// [`EngineError::Busy`] when other bodies hold all buffers for [`BUFFER_WAIT_MS`].
    pub async fn buffer(&self, length: usize) -> Result<Buffer> {
        if let Some(buffer) = self.pool.try_take(length) {
            return Ok(buffer);
        }
        reached(Rare::BufferWaited);
        let (taken, timeout) =
            (std::pin::pin!(self.pool.take(length)), self.environment.sleep(BUFFER_WAIT_MS));
        match futures_util::future::select(taken, timeout).await {
            Either::Left((buffer, _)) => Ok(buffer),
            Either::Right(_) => {
                reached(Rare::BufferRefused);
                Err(EngineError::Busy { what: "I/O buffers: slow clients hold them all; raise --memory" })
            }
        }
    }

    pub fn shard(&self, shard: u16) -> Rc<Shard> {
        let shards = self.shards.borrow();
        shards
            .get(&shard)
            .cloned()
            .unwrap_or_else(|| panic!("shard {shard} does not live on core {}", self.index))
    }

    pub(crate) fn own_shards(&self) -> Vec<Rc<Shard>> {
        self.shards.borrow().values().cloned().collect()
    }

    pub fn keeper(&self, drive: u16) -> Rc<Keeper> {
        let keepers = self.keepers.borrow();
        keepers
            .get(&drive)
            .cloned()
            .unwrap_or_else(|| panic!("drive {drive} is not kept by core {}", self.index))
    }

    /// On the drive's keeper core.
    pub(crate) fn take_kept(
        self: &Rc<Self>,
        drive: u16,
        class: Class,
    ) -> std::result::Result<Taken, Refusal> {
        let taken = self.keeper(drive).take(class);
        self.tell_spare(drive);
        taken
    }

    pub fn give_extent(self: &Rc<Self>, drive: u16, extent: u32) {
        let give = move |core: &Rc<CoreState>| {
            core.keeper(drive).give(extent);
            core.tell_spare(drive);
        };
        self.send(self.layout.keeper_core(drive), Box::new(give));
    }

    pub fn hold_back(self: &Rc<Self>, drive: u16, shard: u16, extents: HeldBack) {
        let hold = move |core: &Rc<CoreState>| {
            core.keeper(drive).hold_back(shard, extents);
            core.tell_spare(drive);
        };
        self.send(self.layout.keeper_core(drive), Box::new(hold));
    }

    /// Tells every core how many extents users can still take, while they are few.
    fn tell_spare(self: &Rc<Self>, drive: u16) {
        let few = self.layout.settings_of(drive).few_extents;
        let Some(spare) = self.keeper(drive).spare_to_tell(few) else { return };
        for core in 0..self.layout.cores {
            let hear = move |core: &Rc<CoreState>| {
                core.drives[usize::from(drive)].spare_extents.set(spare);
                core.shards_of_drive(drive).for_each(|shard| shard.note_free_extents());
            };
            self.send(core, Box::new(hear));
        }
    }

    /// Of this core.
    fn shards_of_drive(&self, drive: u16) -> impl Iterator<Item = Rc<Shard>> + use<> {
        self.own_shards().into_iter().filter(move |shard| shard.drive == drive)
    }

    /// A flush of `drive` failed: on every core its shards write no more (law 3), since nobody knows whose writes it
    /// should have made durable.
    pub fn stop_drive(self: &Rc<Self>, drive: u16, error: &DeviceError) {
        for core in 0..self.layout.cores {
            let error = error.clone();
            self.send(
                core,
                Box::new(move |core| {
                    core.drives[usize::from(drive)].flush.stop(error);
                    core.shards_of_drive(drive).for_each(|shard| shard.end_writing());
                }),
            );
        }
    }

    pub async fn install_root(
        self: &Rc<Self>,
        drive: u16,
        root: ShardRootOnDisk,
    ) -> std::result::Result<(), DeviceError> {
        let keeper = self.layout.keeper_core(drive);
        self.call(keeper, move |core| async move { core.keeper(drive).install(root).await }).await
    }

    /// Notes durably that this life has begun the log of `shard`.
    ///
    /// # Errors
    /// When the device failed: it may be noted or not.
    pub async fn note_log_begun(
        self: &Rc<Self>,
        drive: u16,
        shard: u16,
    ) -> std::result::Result<(), DeviceError> {
        let keeper = self.layout.keeper_core(drive);
        self.call(keeper, move |core| async move { core.keeper(drive).note_log_begun(shard).await }).await
    }

    /// Makes every shard of a drive give back what it can: after `refusal`, since cleaning does nothing for a drive
    /// that is full of live data. Whether any did.
    pub async fn reclaim(self: &Rc<Self>, drive: u16, refusal: Refusal) -> bool {
        let shards: Vec<u16> = self.layout.shards_of_drive(drive).collect();
        let calls = shards.into_iter().map(|shard| self.ask(shard, ShardRequest::Reclaim(refusal)));
        let outcomes = futures_util::future::join_all(calls).await;
        outcomes.into_iter().any(|outcome| matches!(outcome, Ok(ShardReply::Judged(true))))
    }

    /// Makes the shards of a drive give extents back by moving slices together, one shard after the other until one
    /// did; `first` is asked first. Whether any did.
    pub async fn compact(self: &Rc<Self>, drive: u16, first: u16) -> bool {
        let mut shards: Vec<u16> = self.layout.shards_of_drive(drive).collect();
        shards.sort_by_key(|shard| *shard != first);
        for shard in shards {
            if matches!(self.ask(shard, ShardRequest::Compact).await, Ok(ShardReply::Judged(true))) {
                return true;
            }
        }
        false
    }

    /// Counts what a client was refused because the drive did not give what was stored.
    pub(crate) fn note_refusal(&self, error: &EngineError) {
        if matches!(error, EngineError::Damaged { .. } | EngineError::ReadFailed { .. }) {
            self.refusals.set(self.refusals.get() + 1);
        }
    }

    /// # Errors
    /// [`EngineError::NoSuchBucket`].
    pub fn check_bucket(&self, bucket: BucketId) -> Result<()> {
        let known = self.buckets.borrow().by_id.contains_key(&bucket.0);
        if known { Ok(()) } else { Err(EngineError::NoSuchBucket) }
    }
}

impl BucketMap {
    pub fn add(&mut self, bucket: Bucket) {
        let bucket = Rc::new(bucket);
        self.by_id.insert(bucket.id.0, (bucket.clone(), Rc::default()));
        self.by_name.insert(bucket.name.clone(), bucket);
    }

    pub fn remove(&mut self, bucket: BucketId) {
        if let Some((bucket, writes)) = self.by_id.remove(&bucket.0) {
            if self.by_name.get(&bucket.name).is_some_and(|named| named.id == bucket.id) {
                self.by_name.remove(&bucket.name);
            }
            writes.wake();
        }
    }

    pub(super) fn writes_of(&self, bucket: BucketId) -> Option<Rc<BucketWrites>> {
        self.by_id.get(&bucket.0).map(|(_, writes)| writes.clone())
    }

    pub fn get(&self, name: &str) -> Option<Rc<Bucket>> {
        self.by_name.get(name).cloned()
    }

    pub fn name_of(&self, bucket: u32) -> Option<String> {
        self.by_id.get(&bucket).map(|(bucket, _)| bucket.name.clone())
    }

    pub fn all(&self) -> Vec<Rc<Bucket>> {
        self.by_name.values().cloned().collect()
    }
}
