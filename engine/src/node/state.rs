//! One core's part of the node: its shards, extent allocators and devices, and its messages to
//! other cores.
//!
//! Invariants:
//! - Everything here is used by one thread. Cores share mailboxes, and the words of each drive's
//!   latch ([`crate::device::latch`]); no lock.
//! - A message runs at once on the core that it reaches. Work that must wait is spawned there as a
//!   task.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use futures_util::future::Either;

use super::barrier::PhaseBarrier;
use super::bodies::Bodies;
use super::bucket_map::BucketMap;
use super::cache::ReadCache;
use super::layout::Layout;
use super::ledger::Ledgers;
use super::message::{Control, Message};
use super::new_drive::Seats;
use super::views::Views;
use crate::device::Device;
use crate::device::file::OpenDrive;
use crate::device::flush::FlushGroup;
use crate::device::latch::LatchedDevice;
use crate::device::pace::Paces;
use crate::device::seat::SeatDevice;
use crate::device::watch::{Part, Watch, WatchedDevice};
use crate::env::Environment;
use crate::error::{EngineError, Result};
use crate::extent::allocator::{ExtentAllocator, Room};
use crate::extent::{DriveNumber, SetWriter};
use crate::format::BLOCK_BYTES;
use crate::format::superblock::NO_HOME;
use crate::hook::{Rare, reached};
use crate::ring::mailbox::{Mailbox, Notifier};
use crate::ring::{Buffer, Pool};
use crate::shard::{Salvage, Shard, ShardReply};
use crate::stripe::ReedSolomon;
use crate::sync::calls::Calls;
use crate::sync::locks::KeyLocks;
use crate::types::{BucketId, NodeChange, RequestId};

/// Longest time that a body waits for a buffer before its client is told to slow down,
/// milliseconds.
const BUFFER_WAIT_MS: u64 = 10_000;

/// A callback that gets a change of the node's records.
pub type NodeWatch = Rc<dyn Fn(&NodeChange)>;

/// The answer to a control message, of a type that its sender knows.
type ControlAnswer = Box<dyn Any + Send>;

/// A drive as one core sees it, or a place for one.
pub struct Drive {
    /// Its number in the view. A place where no drive is has none.
    pub(crate) number: DriveNumber,
    /// Where its device goes, if the place had no drive when the node started.
    pub(super) seat: Option<Rc<SeatDevice>>,
    /// What keeps it open, if it is a real one.
    pub(super) kept_open: RefCell<Option<Arc<OpenDrive>>>,
    pub device: Rc<dyn Device>,
    /// What `device` is: the drive's own device behind the latch that the cores share for flushes.
    /// Other cores call it by this type.
    pub(crate) latched: LatchedDevice,
    /// The group through which this core's flushes of the drive are shared.
    pub flush: Rc<FlushGroup>,
    /// Free extents that users may take, as the allocator last told, but at most the number that
    /// counts as few.
    pub(crate) spare_extents: Cell<u32>,
    /// Bytes of slices that this core wrote, including headers and padding, a copy counted once.
    pub(crate) slice_bytes: Cell<u64>,
    /// The watch over the drive, if the node can go on without it.
    pub(crate) watch: Option<Rc<Watch>>,
    /// The buffer for a question that the drive is asked, if it is under watch and answered the last one.
    pub(crate) question: Cell<Option<Buffer>>,
}

impl Drive {
    /// Makes a drive that is under watch if it has a part in a view that can do without it.
    pub fn new(
        latched: LatchedDevice,
        (number, seat): (DriveNumber, Option<Rc<SeatDevice>>),
        environment: &Rc<dyn Environment>,
        pool: &Pool,
        part: Option<Part>,
        paces: &Rc<Paces>,
    ) -> Self {
        let latch = Rc::new(latched.clone());
        let watch = part.map(|part| Watch::new(environment.clone(), part, paces));
        let device: Rc<dyn Device> = match &watch {
            Some(watch) => Rc::new(WatchedDevice::new(latch, watch.clone())),
            None => latch,
        };
        let flush = FlushGroup::new(device.clone(), environment.clone());
        let (spare_extents, slice_bytes) = (Cell::new(u32::MAX), Cell::new(0));
        let question = part.filter(|_| seat.is_none()).and_then(|_| pool.try_take(BLOCK_BYTES));
        let (question, kept_open) = (Cell::new(question), RefCell::default());
        Self { number, seat, kept_open, device, latched, flush, spare_extents, slice_bytes, watch, question }
    }

    /// Returns whether the view in use is without the drive, or no drive is here.
    pub fn has_left(&self) -> bool {
        matches!(self.part(), Part::Returning | Part::Out)
    }

    /// Returns whether what it holds is moved to other drives.
    pub(super) fn is_leaving(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.is_leaving())
    }

    /// Returns the part that the drive has in the view in use.
    pub(crate) fn part(&self) -> Part {
        self.watch.as_ref().map_or(Part::Whole, |watch| watch.part())
    }
}

/// The state of one core, which its thread works with.
pub struct CoreState {
    pub index: usize,
    pub layout: Arc<Layout>,
    pub environment: Rc<dyn Environment>,
    pub pool: Pool,
    /// Small objects that this core read lately.
    pub(crate) cache: ReadCache,
    /// The drives of the start, and behind them seats for others.
    pub drives: Vec<Drive>,
    /// How drives that come take their seats.
    pub(super) seats: Rc<dyn Seats>,
    /// The places of each shard's homes that are present, and of those that are to be its homes, by its number.
    pub(super) homes: RefCell<Vec<Vec<u16>>>,
    /// What reaches the drives for each shard, by its number.
    pub(crate) writers_of_shards: Vec<SetWriter>,
    pub(crate) mailbox: Mailbox<Message<CoreState>>,
    pub(crate) notifier: Rc<dyn Notifier>,
    /// Requests to shards of other cores that wait for a reply.
    pub(super) asked: Calls<Result<ShardReply>>,
    /// Control messages to other cores that wait for an answer.
    pub(super) calls: Calls<ControlAnswer>,
    /// The open shards of this core, by number.
    pub(crate) shards: RefCell<BTreeMap<u16, Rc<Shard>>>,
    /// The extent allocators on this core, by drive.
    pub(crate) allocators: RefCell<BTreeMap<u16, Rc<ExtentAllocator>>>,
    /// This core's copy of all buckets.
    pub(crate) buckets: RefCell<BucketMap>,
    /// The ledgers of buckets with a quota that this core keeps.
    pub(crate) ledgers: Ledgers,
    /// Gets every change of the node's records, once it is durable.
    pub(crate) node_watch: RefCell<Option<NodeWatch>>,
    /// Locks that are held while buckets or the node's records change.
    pub(crate) bucket_locks: KeyLocks,
    /// Counts the cores that reach the phases of the whole node. Only core 0's is used.
    pub(crate) barrier: PhaseBarrier,
    /// The views of this life. Only core 0's are used.
    pub(super) views: Views,
    /// Number of the view in use.
    pub(crate) view: Cell<(u32, u32)>,
    /// Set once the core is closing and refuses new writes.
    pub(crate) closing: Cell<bool>,
    /// Set while a task sends again what did not fit into a mailbox.
    pub(crate) retrying: Cell<bool>,
    /// The bodies that are being written.
    pub(crate) bodies: Bodies,
    /// Those who read records and slices.
    pub(crate) readers: Bodies,
    /// Reads that were refused to clients because data was damaged or could not be read.
    pub(crate) refusals: Cell<u64>,
    /// Copies that were found damaged or unreadable and written anew from another one.
    pub(crate) repairs: Cell<u64>,
    /// Groups of pieces of striped slices that were made from parity for somebody who reads.
    pub(crate) decoded: Cell<u64>,
    /// How fast the drives answer reads, if they are under watch.
    pub(crate) paces: Rc<Paces>,
    /// The code of striped sets, if the node has such sets.
    pub(crate) codec: Option<Rc<ReedSolomon>>,
    /// How many of them were on drives that are brought up to date.
    pub(crate) caught_up: Cell<u64>,
    /// Shards of which a copy of the checkpoint was found damaged when they opened.
    pub(crate) wants_checkpoint: RefCell<BTreeSet<u16>>,
    /// Copies that are being written anew.
    pub(crate) mending: Cell<usize>,
    /// Held by shard and home while a record of a copy there is written anew.
    pub(crate) record_mends: KeyLocks,
    /// Time in which a drive is to be brought up to date, milliseconds; 0 for as fast as others leave room.
    pub(crate) heal_within_ms: Cell<u64>,
    /// Length of a day by which lifecycle rules are judged, milliseconds.
    pub(crate) lifecycle_day_ms: Cell<u64>,
    /// Grow whenever scrub and lifecycle begin with other options, which ends those that run.
    pub(crate) scrub_run: Cell<u64>,
    pub(crate) lifecycle_run: Cell<u64>,
    /// The shards that go on behind damage when they open. A repair sets it, a server never.
    pub(crate) salvage: RefCell<BTreeMap<u16, Rc<Salvage>>>,
}

/// Converts an answer to the type that its sender knows.
fn unpacked<R: 'static>(answer: ControlAnswer) -> R {
    match answer.downcast::<R>() {
        Ok(answer) => *answer,
        Err(_) => panic!("a control message was answered with another type"),
    }
}

impl CoreState {
    /// Runs `work` on `core` and returns its result. Work that was sent goes on when the caller is
    /// dropped, and its result then goes to `orphan` on this core.
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
        // The table of calls belongs to this core, so an entry in it must not keep the core alive.
        let here = Rc::downgrade(self);
        let orphan = move |answer| {
            if let Some(here) = here.upgrade() {
                orphan(&here, answer);
            }
        };
        self.dispatch(core, work, Some(Box::new(orphan))).await
    }

    /// Does the same as [`Self::call_or`], for results that may be dropped.
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
        let (from, client) = (self.index, RequestId::current());
        if core == self.index {
            let here = self.clone();
            self.environment.spawn(RequestId::carried(client, async move {
                let answer = work(here.clone()).await;
                here.calls.complete(id, Box::new(answer));
            }));
            return unpacked(call.await);
        }
        self.send(
            core,
            Box::new(move |there| {
                let there = there.clone();
                let environment = there.environment.clone();
                environment.spawn(RequestId::carried(client, async move {
                    let answer = work(there.clone()).await;
                    there.send(from, Box::new(move |here| here.calls.complete(id, Box::new(answer))));
                }));
            }),
        );
        unpacked(call.await)
    }

    /// Runs a function on a core, which may be this one.
    pub fn send(self: &Rc<Self>, core: usize, message: Control<Self>) {
        if core == self.index {
            return message(self);
        }
        self.send_message(core, Message::Control(message));
    }

    /// Sends a message to another core.
    pub(super) fn send_message(self: &Rc<Self>, core: usize, message: Message<Self>) {
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

    /// Connects the drives' latches, so that cores that wait for a flush of this core are told when
    /// it ends.
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

    /// Handles the messages that other cores have sent.
    pub fn receive(self: &Rc<Self>) {
        self.mailbox.drain(|message| match message {
            Message::Ask(asked) => self.asked(*asked),
            Message::Answer(answered) => self.answered(*answered),
            Message::Tell(told) => self.told(*told),
            Message::Control(run) => run(self),
        });
    }

    /// Waits until all bodies, or all who read, have ended that have begun until now, on every core.
    pub(super) async fn old_ones_ended(self: &Rc<Self>, of: fn(&Self) -> &Bodies) {
        for core in 0..self.layout.cores {
            let mark = move |there: Rc<Self>| async move { of(&there).mark() };
            self.call_or(core, mark, |_, ()| ()).await;
        }
        for core in 0..self.layout.cores {
            let ended = move |there: Rc<Self>| async move { of(&there).old_ones_ended().await };
            self.call_or(core, ended, |_, ()| ()).await;
        }
        // What such a one asked the owner for, and does not wait for any more, came before the answers.
        of(self).mark();
        of(self).old_ones_ended().await;
    }

    /// Returns how much room a drive has.
    pub(super) async fn room_of(self: &Rc<Self>, drive: u16) -> Room {
        let ask = move |core: Rc<Self>| async move { core.allocator(drive).room() };
        self.call(self.layout.allocator_core(drive), ask).await
    }

    /// Returns a buffer for a body, after at most [`BUFFER_WAIT_MS`].
    ///
    /// # Errors
    /// Returns [`EngineError::Busy`] when other bodies hold all buffers for that long.
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

    /// Returns a shard of this core.
    ///
    /// # Panics
    /// Panics when the shard lives on another core.
    pub fn shard(&self, shard: u16) -> Rc<Shard> {
        let shards = self.shards.borrow();
        shards
            .get(&shard)
            .cloned()
            .unwrap_or_else(|| panic!("shard {shard} does not live on core {}", self.index))
    }

    /// Returns the open shards of this core.
    pub(crate) fn own_shards(&self) -> Vec<Rc<Shard>> {
        self.shards.borrow().values().cloned().collect()
    }

    /// Returns the extent allocator of a drive, which must be on this core.
    ///
    /// # Panics
    /// Panics when it is on another core.
    pub fn allocator(&self, drive: u16) -> Rc<ExtentAllocator> {
        let allocators = self.allocators.borrow();
        allocators
            .get(&drive)
            .cloned()
            .unwrap_or_else(|| panic!("drive {drive} is not kept by core {}", self.index))
    }

    /// Returns the extent allocators on this core, with their drives.
    pub(crate) fn own_allocators(&self) -> Vec<(u16, Rc<ExtentAllocator>)> {
        self.allocators.borrow().iter().map(|(drive, allocator)| (*drive, allocator.clone())).collect()
    }

    /// Returns this core's shards of a drive.
    pub(super) fn shards_of_drive(&self, drive: u16) -> impl Iterator<Item = Rc<Shard>> + use<> {
        let homes = self.homes.borrow();
        let of_drive = |shard: &Rc<Shard>| homes[usize::from(shard.id)].contains(&drive);
        self.own_shards().into_iter().filter(of_drive).collect::<Vec<_>>().into_iter()
    }

    /// Returns the places of a shard's homes that are present, and of those that are to be its homes.
    pub(super) fn homes_of(&self, shard: u16) -> Vec<u16> {
        self.homes.borrow()[usize::from(shard)].clone()
    }

    /// Tells the drives of a shard which of them are its homes now.
    pub(super) fn note_homes(&self, shard: u16) {
        let order = self.layout.drives_of(shard);
        let homes = self.homes.borrow();
        let at = |home: &u16| order.iter().position(|place| place == home).map(|at| at as u16);
        let places = homes[usize::from(shard)].iter().filter_map(at).collect();
        self.writer_of(shard).drives.set_homes(places);
    }

    /// Returns whether large objects are striped.
    pub(super) fn is_striped(&self) -> bool {
        self.layout.geometry_of(0).shape.is_striped()
    }

    /// Returns the places of the drives that are whole, and do not leave.
    pub(super) fn places_that_stay(&self) -> impl Iterator<Item = u16> {
        let stays = |place: &u16| {
            let drive = &self.drives[usize::from(*place)];
            drive.part() == Part::Whole && !drive.is_leaving()
        };
        (0..self.drives.len() as u16).filter(stays)
    }

    /// Returns the place of the drive with this number in the view, or `None` when it is not present.
    pub(crate) fn place_of(&self, number: u16) -> Option<u16> {
        self.drives.iter().position(|drive| drive.number.is(number)).map(|place| place as u16)
    }

    /// Returns the number in the view of the drive at a place. A place where none is has one that no drive has.
    pub(crate) fn number_of(&self, place: u16) -> u16 {
        self.drives[usize::from(place)].number.get().unwrap_or(NO_HOME)
    }

    /// Returns the places of the drives that are in the view in use.
    pub(crate) fn places_in_view(&self) -> impl Iterator<Item = u16> {
        (0..self.drives.len() as u16).filter(|place| !self.has_left(*place))
    }

    /// Returns whether the view in use is without a drive, or no drive is at that place.
    pub(crate) fn has_left(&self, drive: u16) -> bool {
        self.drives[usize::from(drive)].has_left()
    }

    /// Returns whether nothing is sent to a drive any more.
    pub(crate) fn is_out(&self, drive: u16) -> bool {
        self.drives[usize::from(drive)].part() == Part::Out
    }

    /// Returns whether a drive is in the view in use, and holds what it was given.
    pub(crate) fn is_whole(&self, drive: u16) -> bool {
        self.drives[usize::from(drive)].part() == Part::Whole
    }

    /// Returns the numbers of the drives that are whole.
    pub(crate) fn numbers_of_whole(&self) -> Vec<u16> {
        let whole = (0..self.drives.len() as u16).filter(|place| self.is_whole(*place));
        whole.map(|place| self.number_of(place)).collect()
    }

    /// Returns the drives of a shard's sets as this core reaches them, with the groups of their flushes.
    pub(crate) fn writer_of(&self, shard: u16) -> &SetWriter {
        &self.writers_of_shards[usize::from(shard)]
    }

    /// Returns the code of striped sets.
    ///
    /// # Panics
    /// Panics when the node has no such sets.
    pub(crate) fn codec(&self) -> &Rc<ReedSolomon> {
        self.codec.as_ref().unwrap_or_else(|| panic!("the node has striped sets"))
    }

    /// Counts a client's read that was refused because the drive did not give what was stored.
    pub(crate) fn note_refusal(&self, error: &EngineError) {
        if error.is_of_copy() {
            self.refusals.set(self.refusals.get() + 1);
        }
    }

    /// Checks that a bucket exists.
    ///
    /// # Errors
    /// Returns [`EngineError::NoSuchBucket`].
    pub fn check_bucket(&self, bucket: BucketId) -> Result<()> {
        let known = self.buckets.borrow().contains(bucket);
        if known { Ok(()) } else { Err(EngineError::NoSuchBucket) }
    }
}
