//! The group commit: one task for each shard turns the records that wait into batches.
//!
//! Invariants (law 1): (1) the batch is written; (2) it is durable, by a synchronous write or by a flush that
//! started after the write; (3) the owner hears of it and changes its index, record by record in order; (4) those who
//! wait are told.
//!
//! The log reads no meaning into records. It takes them encoded, each with a commit of its owner's, and gives the
//! commits back through [`LogOwner`] with the places where the records are durable.
//!
//! Each place of the log holds users' records once. A place is (log extent number, offset); the position where a life
//! of the node begins may hold a torn batch of the life before. So the first batch of a life, written once it has a
//! first record, only names another extent, where the records go: [`begin`].

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::{LogPosition, RecordPlace, first_log_number};
use crate::device::flush::FlushGroup;
use crate::device::{Device, DeviceError, Durability};
use crate::env::Environment;
use crate::error::{EngineError, Result};
use crate::extent::Geometry;
use crate::extent::allocator::{Class, Taken};
use crate::format::batch::{BATCH_BYTES_MAX, BatchHeaderOnDisk, HEADER_BYTES, MAGIC};
use crate::format::record::{EncodedRecord, LogExtentV1, Mutation, RECORD_ALIGNMENT};
use crate::format::{BLOCK_BYTES, Le16, Le32, Le64, blocks_up};
use crate::hook::{Bug, Rare, reached};
use crate::ring::{Buffer, Pool};
use crate::sync::signal::Signal;

/// Largest record that fits a batch.
pub const RECORD_BYTES_MAX: usize = BATCH_BYTES_MAX - HEADER_BYTES - 8;

/// A life that began on a full drive and lasts as long is not cut off like the ones before it, microseconds.
const TIGHT_US: u64 = 10_000_000;
/// Bytes of the cleaner's copies in a batch: those who wait for the next one wait that much longer.
const COPIES_BYTES_MAX: usize = 256 << 10;

/// What the log needs of its owner, the shard.
pub trait LogOwner: 'static {
    /// What the owner gives with a record, and gets back with the place where the record is durable.
    type Commit;

    /// The owner's log.
    fn log(&self) -> &Log<Self::Commit>;

    /// These records are durable, at these places, in the order of the log. A barrier comes without a record, behind
    /// everything that was queued before it.
    fn durable(self: &Rc<Self>, records: impl Iterator<Item = (Self::Commit, RecordPlace)>);

    /// A batch is through, and everybody who waited for the log's progress is awake.
    fn batch_ended(self: &Rc<Self>);

    /// Nothing of these was or will be written: there is no extent to go on in.
    fn refused(self: &Rc<Self>, commits: Vec<Self::Commit>);

    /// A write or a flush failed: the owner's writing ends (law 3).
    fn failed(self: &Rc<Self>, error: &DeviceError);

    /// The log reaches to byte `end` of `extent` now.
    fn written(&self, extent: u32, end: u32);

    /// The log goes on in `extent`, with this log extent number.
    fn entered(&self, extent: u32, log_number: u64);

    /// The log's next extent, at the worst out of what is held back.
    fn take_extent(self: &Rc<Self>) -> impl Future<Output = Option<Taken>>;

    /// An extent that the log does not need after all.
    fn give_extent(&self, extent: u32);

    /// Whether a checkpoint would let go of extents of the log.
    fn has_empty_extents(&self) -> bool;

    /// Takes a checkpoint; a failure is the owner's to report.
    fn checkpoint_for_log(self: &Rc<Self>) -> impl Future<Output = ()>;

    /// Notes durably that this life has begun the log.
    ///
    /// # Errors
    /// When the device failed: it may be noted or not.
    fn note_begun(self: &Rc<Self>) -> impl Future<Output = std::result::Result<(), DeviceError>>;
}

/// A record that waits, with what its owner does once it is durable.
struct Pending<C> {
    /// None: a barrier.
    record: Option<EncodedRecord>,
    /// None: the log's own record.
    commit: Option<C>,
    moved: bool,
}

impl<C> Pending<C> {
    /// Bytes it takes in a batch.
    fn padded_bytes(&self) -> usize {
        self.record.as_ref().map_or(0, |record| record.length().next_multiple_of(RECORD_ALIGNMENT))
    }
}

/// How much a log has done; for benchmarks and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogCounters {
    pub batches: u64,
    pub records: u64,
    /// Batches made durable by a synchronous write; the others waited for a flush.
    pub synchronous_writes: u64,
    pub bytes: u64,
    /// Records that the cleaner moved, bytes.
    pub moved_bytes: u64,
}

/// What a log writes with.
pub struct LogParts {
    pub shard: u16,
    pub geometry: Geometry,
    pub device: Rc<dyn Device>,
    pub flush: Rc<FlushGroup>,
    pub pool: Pool,
    pub environment: Rc<dyn Environment>,
}

/// A shard's log: the records that wait, and where the next batch goes.
pub struct Log<C> {
    parts: LogParts,
    waiting: RefCell<VecDeque<Pending<C>>>,
    /// Of `waiting`.
    queued_bytes: Cell<usize>,
    /// The cleaner's copies. They give way to what waits.
    copies: RefCell<VecDeque<Pending<C>>>,
    /// Of the batch on its way to the device: behind the position, which has not moved yet.
    writing_bytes: Cell<usize>,
    /// This life of the node has written to the log. Before that nothing goes to the position but the batch that names
    /// another extent: what a torn batch of the last life left there is never taken for a later record.
    begun: Cell<bool>,
    /// A single block leads from the checkpoint in force to the position: a checkpoint comes before the first record.
    by_copy: Cell<bool>,
    /// This life began in an extent that was held back, and has found no other since.
    began_short: Cell<bool>,
    /// It left the drive no extent more than the next life of each shard needs: until this time, or until the log
    /// goes on in an extent that is not held back, the cleaner begins nothing that it could leave half done.
    /// Monotonic, in us.
    tight_until_us: Cell<u64>,
    /// The current extent is one that was held back: its room is not for user data.
    borrowed: Cell<bool>,
    /// Raised when a batch was applied.
    progress: Signal,
    work: Signal,
    position: Cell<LogPosition>,
    failed: Cell<bool>,
    stopped: Cell<bool>,
    /// Extents taken ahead of need; free again after a crash.
    spares: RefCell<VecDeque<Taken>>,
    counters: Cell<LogCounters>,
    /// Bytes written since the last checkpoint.
    since_checkpoint: Cell<u64>,
}

impl<C> Log<C> {
    /// A log that goes on at `position`. `begun`: nothing can have been written behind it, by an earlier life neither.
    /// `by_copy`: a single block leads there from the checkpoint in force.
    pub fn new(parts: LogParts, position: LogPosition, begun: bool, by_copy: bool) -> Self {
        Self {
            parts,
            waiting: RefCell::default(),
            queued_bytes: Cell::new(0),
            copies: RefCell::default(),
            writing_bytes: Cell::new(0),
            begun: Cell::new(begun),
            by_copy: Cell::new(by_copy),
            began_short: Cell::new(false),
            tight_until_us: Cell::new(0),
            borrowed: Cell::new(false),
            progress: Signal::default(),
            work: Signal::default(),
            position: Cell::new(position),
            failed: Cell::new(false),
            stopped: Cell::new(false),
            spares: RefCell::default(),
            counters: Cell::default(),
            since_checkpoint: Cell::new(0),
        }
    }

    /// Queues a record, or a barrier. From here on it happens whether or not anybody waits for it.
    ///
    /// # Errors
    /// When the shard writes no more.
    pub fn push(&self, record: Option<EncodedRecord>, commit: C) -> Result<()> {
        self.check_open()?;
        let pending = Pending { record, commit: Some(commit), moved: false };
        self.queued_bytes.set(self.queued_bytes.get() + pending.padded_bytes());
        self.waiting.borrow_mut().push_back(pending);
        self.work.raise();
        Ok(())
    }

    /// Queues a copy of the cleaner's, which gives way to what users wait for.
    ///
    /// # Errors
    /// When the shard writes no more.
    pub fn push_copy(&self, record: EncodedRecord, commit: C) -> Result<()> {
        self.check_open()?;
        let pending = Pending { record: Some(record), commit: Some(commit), moved: true };
        self.copies.borrow_mut().push_back(pending);
        self.work.raise();
        Ok(())
    }

    fn check_open(&self) -> Result<()> {
        if self.failed.get() {
            return Err(EngineError::WritesStopped { shard: self.parts.shard });
        }
        if self.stopped.get() { Err(EngineError::ShuttingDown) } else { Ok(()) }
    }

    /// Where the next batch goes.
    pub fn position(&self) -> LogPosition {
        self.position.get()
    }

    /// Bytes of users' records that wait.
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes.get()
    }

    /// Whether a write or a flush failed.
    pub fn has_failed(&self) -> bool {
        self.failed.get()
    }

    /// Whether this life has written a record.
    pub fn has_begun(&self) -> bool {
        self.begun.get()
    }

    /// Whether this life began in an extent that was held back, and has found no other since.
    pub fn began_short(&self) -> bool {
        self.began_short.get()
    }

    /// Whether this life began with the last extents of a full drive, not long ago.
    pub fn is_tight(&self) -> bool {
        let until_us = self.tight_until_us.get();
        until_us > 0 && self.parts.environment.monotonic_us() < until_us
    }

    /// Raised when a batch was applied, and when the log has failed.
    pub fn progress(&self) -> &Signal {
        &self.progress
    }

    /// How much the log has done.
    pub fn counters(&self) -> LogCounters {
        self.counters.get()
    }

    /// Bytes of the log that are not the cleaner's.
    pub fn user_log_bytes(&self) -> u64 {
        let counters = self.counters.get();
        counters.bytes.saturating_sub(counters.moved_bytes)
    }

    /// Bytes written since the last checkpoint.
    pub fn since_checkpoint(&self) -> u64 {
        self.since_checkpoint.get()
    }

    /// A checkpoint begins at the position; gives the bytes since the last one.
    pub fn take_since_checkpoint(&self) -> u64 {
        self.since_checkpoint.replace(0)
    }

    /// The checkpoint that took these bytes did not come into force.
    pub fn restore_since_checkpoint(&self, bytes: u64) {
        self.since_checkpoint.set(self.since_checkpoint.get() + bytes);
    }

    /// Ends the writing; gives everything that waits, for the owner to refuse. Slices stay reserved: nobody may write
    /// where a record that did reach the device could point.
    #[must_use]
    pub fn fail(&self) -> Vec<C> {
        self.failed.set(true);
        let commits = self.take_all();
        self.progress.raise();
        commits
    }

    /// The writer's task ends once nothing waits any more.
    pub fn stop(&self) {
        self.stopped.set(true);
        self.work.raise();
    }

    /// Extents taken ahead of need.
    pub fn spare_extents(&self) -> Vec<u32> {
        self.spares.borrow().iter().map(|spare| spare.extent).collect()
    }

    /// Their number.
    pub fn spare_count(&self) -> usize {
        self.spares.borrow().len()
    }

    /// Takes the extents that were taken ahead of need, if nothing waits that could need them.
    pub fn take_unneeded_spares(&self) -> Vec<u32> {
        if self.queued_bytes.get() > 0 {
            return Vec::new();
        }
        std::mem::take(&mut *self.spares.borrow_mut()).into_iter().map(|spare| spare.extent).collect()
    }

    /// Whether `bytes` more of user data fit behind all that waits, without an extent that is held back from `class`.
    pub fn has_room(&self, bytes: usize, class: Class) -> bool {
        let extent_bytes = self.parts.geometry.extent_bytes as usize;
        let needed = self.queued_bytes.get() + bytes;
        // Each batch has a header and padding, and the extent's last block names the next one.
        let needed = needed + (needed / BATCH_BYTES_MAX + 2) * BLOCK_BYTES;
        let taken = self.position.get().offset as usize + self.writing_bytes.get() + BLOCK_BYTES;
        let usable = self.begun.get() && !self.borrowed.get();
        let current = if usable { extent_bytes.saturating_sub(taken) } else { 0 };
        if needed <= current {
            return true;
        }
        let spares = self.spares.borrow();
        let spares = spares.iter().filter(|spare| !spare.held_back || class != Class::User).count();
        // What does not fit at an extent's end leaves less than half of it.
        needed <= current.saturating_sub(bytes) + spares * (extent_bytes / 2)
    }

    /// Takes an extent for user data, as a spare one. While the log's current one is out of what is held back, the new
    /// one goes back in its stead if that makes room for `bytes`: nothing is owed any more then. Gives the extent that
    /// goes back.
    #[must_use]
    pub fn repay_or_spare(&self, taken: Taken, bytes: usize, class: Class) -> Option<u32> {
        if !taken.held_back && self.borrowed.replace(false) {
            if self.has_room(bytes, class) {
                return Some(taken.extent);
            }
            self.borrowed.set(true);
        }
        self.spares.borrow_mut().push_back(taken);
        None
    }

    /// Whether a record waits, not only barriers.
    fn has_records(&self) -> bool {
        let is_record = |pending: &Pending<C>| pending.record.is_some();
        self.waiting.borrow().iter().any(is_record) || self.copies.borrow().iter().any(is_record)
    }

    fn is_idle(&self) -> bool {
        self.waiting.borrow().is_empty() && self.copies.borrow().is_empty()
    }

    /// Everything that waits, the cleaner's copies last.
    fn take_all(&self) -> Vec<C> {
        self.queued_bytes.set(0);
        let mut all = std::mem::take(&mut *self.waiting.borrow_mut());
        all.append(&mut self.copies.borrow_mut());
        all.into_iter().filter_map(|pending| pending.commit).collect()
    }

    fn count(&self, change: impl FnOnce(&mut LogCounters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }

    /// Takes as many waiting records as fit into `room` bytes with the header, in order, and behind them copies of the
    /// cleaner, which find some room in every batch: users who fill all of them wait for what the cleaner frees.
    fn collect(&self, room: usize) -> Vec<Pending<C>> {
        let (mut waiting, mut copies) = (self.waiting.borrow_mut(), self.copies.borrow_mut());
        let for_copies = if copies.is_empty() { 0 } else { COPIES_BYTES_MAX };
        let (mut batch, mut total) = (Vec::new(), HEADER_BYTES);
        take_fitting(&mut waiting, &mut batch, &mut total, room.min(BATCH_BYTES_MAX - for_copies), room);
        self.queued_bytes.set(self.queued_bytes.get() + HEADER_BYTES - total);
        if waiting.is_empty() || !batch.is_empty() {
            let most = room.min(total + for_copies);
            take_fitting(&mut copies, &mut batch, &mut total, most, room);
        }
        self.writing_bytes.set(if total == HEADER_BYTES { 0 } else { blocks_up(total) });
        batch
    }

    /// Writes the records of one batch at `position` and makes it durable, a copy of it at byte `copy` of the extent
    /// before that if one is wanted; moves the position behind it. Gives each record's offset, and the bytes written.
    async fn write_batch(
        &self,
        position: LogPosition,
        batch: &[Pending<C>],
        copy: Option<u32>,
    ) -> std::result::Result<(Vec<u32>, u32), DeviceError> {
        let length = HEADER_BYTES + batch.iter().map(Pending::padded_bytes).sum::<usize>();
        if length == HEADER_BYTES {
            // Barriers only: everything before them is durable already.
            return Ok((vec![position.offset; batch.len()], 0));
        }
        let (shard, geometry) = (self.parts.shard, &self.parts.geometry);
        let padded = blocks_up(length);
        let mut buffer = self.parts.pool.take_for_log(padded).await;
        let offsets = self.fill(&mut buffer[..padded], batch, position);
        let header = BatchHeaderOnDisk {
            magic: MAGIC,
            crc: Le32::new(0),
            length: Le32::new(length as u32),
            shard: Le16::new(shard),
            version: Le16::new(2),
            records: Le32::new(batch.iter().filter(|pending| pending.record.is_some()).count() as u32),
            sequence: Le64::new(position.sequence),
            epoch: Le32::new(geometry.epoch),
            previous_crc: Le32::new(position.previous_crc),
            durable_sequence: Le64::new(position.sequence - 1),
            drive: Le64::new(geometry.drive_id),
            log_number: Le64::new(position.log_number),
            extent: Le32::new(position.extent),
            offset: Le32::new(position.offset),
            reserved: [0; 24],
        };
        let crc = header.seal_into(&mut buffer[..padded]);
        if let Some(offset) = copy {
            let mut twin = self.parts.pool.take_for_log(padded).await;
            twin[..padded].copy_from_slice(&buffer[..padded]);
            self.write_durably(LogPosition { offset, ..position }, padded, twin).await?;
        }
        self.write_durably(position, padded, buffer).await?;
        self.writing_bytes.set(0);
        self.position.set(LogPosition {
            offset: position.offset + padded as u32,
            sequence: position.sequence + 1,
            previous_crc: crc,
            ..position
        });
        Ok((offsets, padded as u32))
    }

    async fn write_durably(
        &self,
        position: LogPosition,
        length: usize,
        buffer: Buffer,
    ) -> std::result::Result<(), DeviceError> {
        let LogParts { geometry, device, flush, environment, .. } = &self.parts;
        let offset = geometry.byte(position.extent, position.offset);
        // Alone, a synchronous write is one round trip; while others flush anyway, joining them is cheaper for all.
        let together = flush.busy();
        let durability = if together { Durability::Deferred } else { Durability::Immediate };
        let skips_flush = geometry.planted.is(Bug::SkipFlush);
        let durability = if skips_flush { Durability::Deferred } else { durability };
        let writing = device.write(offset, length, buffer, durability);
        if geometry.planted.is(Bug::AcknowledgeBeforeCommit) {
            environment.spawn(Box::pin(async move { drop(writing.await) }));
            return Ok(());
        }
        writing.await.0?;
        if together && !skips_flush {
            flush.flush().await?;
        }
        self.count(|counters| {
            counters.batches += 1;
            counters.synchronous_writes += u64::from(!together);
            counters.bytes += length as u64;
        });
        Ok(())
    }

    /// Copies the records behind the header, each with the mark of its place; gives each one's offset in the extent.
    /// Clears the padding: the buffer held other bytes before.
    fn fill(&self, buffer: &mut [u8], batch: &[Pending<C>], position: LogPosition) -> Vec<u32> {
        let mut at = HEADER_BYTES;
        let mut offsets = Vec::with_capacity(batch.len());
        for pending in batch {
            let offset = position.offset + at as u32;
            offsets.push(offset);
            let Some(record) = &pending.record else { continue };
            let mark = self.parts.geometry.record_mark(self.parts.shard, position.log_number, offset);
            record.place(&mut buffer[at..], mark);
            let end = at + pending.padded_bytes();
            buffer[at + record.length()..end].fill(0);
            at = end;
        }
        buffer[at..].fill(0);
        offsets
    }

    /// The greatest log extent number is that of the next extent: greater than any that another life gave, also one of
    /// which nothing is known any more.
    fn next_log_number(&self) -> u64 {
        (self.position.get().log_number + 1).max(first_log_number(self.parts.geometry.epoch))
    }
}

/// The first record of a batch may go beyond `most`, up to `room`: it may be longer than that.
fn take_fitting<C>(
    from: &mut VecDeque<Pending<C>>,
    batch: &mut Vec<Pending<C>>,
    total: &mut usize,
    most: usize,
    room: usize,
) {
    while let Some(next) = from.front() {
        let bytes = next.padded_bytes();
        if *total + bytes > if batch.is_empty() { room } else { most } {
            break;
        }
        *total += bytes;
        batch.extend(from.pop_front());
    }
}

/// Runs until the log is stopped. Spawned once for each shard.
pub async fn run<O: LogOwner>(owner: Rc<O>) {
    let log = owner.log();
    loop {
        let mark = log.work.mark();
        if log.is_idle() {
            if log.stopped.get() {
                return;
            }
            log.work.after(mark).await;
            continue;
        }
        if let Err(error) = write_next(&owner).await {
            let shard = log.parts.shard;
            tracing::error!(shard, %error, "a write to the log failed; no more writes until restart");
            owner.failed(&error);
        }
    }
}

async fn write_next<O: LogOwner>(owner: &Rc<O>) -> std::result::Result<(), DeviceError> {
    let log = owner.log();
    if !log.begun.get() && log.has_records() {
        return begin(owner).await;
    }
    let position = log.position.get();
    let room = log.parts.geometry.extent_bytes as usize - BLOCK_BYTES - position.offset as usize;
    // Barriers need none.
    let room = if log.begun.get() { room.min(BATCH_BYTES_MAX) } else { BATCH_BYTES_MAX };
    let batch = log.collect(room);
    if batch.is_empty() {
        return roll(owner).await;
    }
    let (offsets, written) = log.write_batch(position, &batch, None).await?;
    if written > 0 {
        owner.written(position.extent, position.offset + written);
    }
    log.since_checkpoint.set(log.since_checkpoint.get() + u64::from(written));
    let places = batch.into_iter().zip(offsets).filter_map(|(pending, offset)| {
        let length = pending.record.as_ref().map_or(0, EncodedRecord::length) as u32;
        log.count(|counters| {
            counters.records += u64::from(pending.record.is_some());
            counters.moved_bytes += u64::from(if pending.moved { length } else { 0 });
        });
        let (extent, sequence, moved) = (position.extent, position.sequence, pending.moved);
        Some((pending.commit?, RecordPlace { extent, offset, length, sequence, moved }))
    });
    owner.durable(places);
    log.progress.raise();
    owner.batch_ended();
    Ok(())
}

/// Goes on to the next extent: its name is the last record of this one.
async fn roll<O: LogOwner>(owner: &Rc<O>) -> std::result::Result<(), DeviceError> {
    let log = owner.log();
    let Some(Taken { extent, held_back, .. }) = next_extent(owner).await else { return Ok(()) };
    if !held_back {
        log.began_short.set(false);
        log.tight_until_us.set(0);
    }
    if log.failed.get() {
        return Ok(());
    }
    name_and_enter(owner, extent, None).await
}

/// The first batch of a life: it names the extent where this life's records go. Behind it nothing follows in this
/// extent that would tell of its loss, so the same bytes stand in the extent's last block too, which is kept for such
/// batches: recovery goes on from whichever is whole. Where the position is close to the end already, recovery looks
/// for the log in all extents, as behind every batch that names one. The superblock says, before anything of this life
/// is acknowledged, that the log was begun: if both are lost one day, the shard does not open without the lives since.
async fn begin<O: LogOwner>(owner: &Rc<O>) -> std::result::Result<(), DeviceError> {
    let log = owner.log();
    let Some(mut taken) = next_extent(owner).await else { return Ok(()) };
    // On a full drive life after life may begin and be cut off, each in an extent of those held back. A checkpoint lets
    // go of what the lives before took; it comes first, as it may need the extent itself.
    let gains = taken.tight || owner.has_empty_extents();
    if taken.held_back && gains || log.by_copy.take() {
        owner.give_extent(taken.extent);
        owner.checkpoint_for_log().await;
        if log.failed.get() {
            return Ok(());
        }
        let Some(again) = next_extent(owner).await else { return Ok(()) };
        taken = again;
    }
    let Taken { extent, held_back, tight } = taken;
    reached(if held_back { Rare::LifeBegunShort } else { Rare::LifeBegun });
    log.began_short.set(held_back);
    if tight {
        log.tight_until_us.set(log.parts.environment.monotonic_us() + TIGHT_US);
    }
    let last_block = log.parts.geometry.last_block();
    if log.failed.get() {
        return Ok(());
    }
    let copy = (log.position.get().offset + BATCH_BYTES_MAX as u32 <= last_block).then_some(last_block);
    name_and_enter(owner, extent, copy).await?;
    owner.note_begun().await?;
    log.begun.set(true);
    Ok(())
}

/// The extent where the log goes on; None when there is none, and all that waits was refused.
async fn next_extent<O: LogOwner>(owner: &Rc<O>) -> Option<Taken> {
    let log = owner.log();
    log.writing_bytes.set(0);
    let spare = log.spares.borrow_mut().pop_front();
    let next = match spare {
        Some(spare) => Some(spare),
        None => owner.take_extent().await,
    };
    let Some(taken) = next else {
        // Cannot happen while enough is held back; refuse rather than stop the shard.
        owner.refused(log.take_all());
        return None;
    };
    log.borrowed.set(taken.held_back);
    Some(taken)
}

/// Writes the batch that names `extent`, and goes on there.
async fn name_and_enter<O: LogOwner>(
    owner: &Rc<O>,
    extent: u32,
    copy: Option<u32>,
) -> std::result::Result<(), DeviceError> {
    let log = owner.log();
    let (position, log_number) = (log.position.get(), log.next_log_number());
    let mutation = Mutation::LogExtent(LogExtentV1 { extent, log_number });
    let record = EncodedRecord::new(&mutation, log_number, 0, Vec::new());
    let naming = [Pending { record: Some(record), commit: None, moved: false }];
    let (_, written) = log.write_batch(position, &naming, copy).await?;
    owner.written(position.extent, position.offset + written);
    reached(Rare::LogRolled);
    owner.entered(extent, log_number);
    log.position.set(LogPosition { extent, log_number, offset: 0, ..log.position.get() });
    Ok(())
}
