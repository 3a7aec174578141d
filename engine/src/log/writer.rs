//! The group commit: one task for each shard turns the waiting records into batches.
//!
//! Invariants (law 1): (1) the batch is written; (2) it is durable, by a synchronous write or by a
//! flush that started after the write; (3) the owner is told and changes its index, record by
//! record in order; (4) those who wait are told.
//!
//! The log reads no meaning into records. It takes them encoded, each with a commit of its owner,
//! and returns the commits through [`LogOwner`] with the places where the records are durable.
//!
//! Users' records are written to each place of the log at most once. A place is (log extent number,
//! offset). The position where a life of the node begins may hold a torn batch of the previous
//! life. So the first batch of a life, which is written when the life has its first record, only
//! names another extent, and the records go there: [`begin`].

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use super::{LogPosition, RecordPlace, first_log_number};
use crate::device::DeviceError;
use crate::env::Environment;
use crate::error::{EngineError, Result};
use crate::extent::allocator::Class;
use crate::extent::sets::{KIND_LOG, TakenSet};
use crate::extent::{Geometry, LogSet, SetPlace, SetWriter};
use crate::format::batch::{BATCH_BYTES_MAX, BatchHeaderOnDisk, HEADER_BYTES, MAGIC, VERSION};
use crate::format::record::{EncodedRecord, FLAG_PLACE, LogExtentV1, Mutation, RECORD_ALIGNMENT};
use crate::format::{BLOCK_BYTES, Le16, Le32, Le64, blocks_up};
use crate::hook::{Rare, reached};
use crate::ring::{Buffer, Pool};
use crate::sync::signal::Signal;

/// Bytes of the largest record that fits into a batch.
pub const RECORD_BYTES_MAX: usize = BATCH_BYTES_MAX - HEADER_BYTES - 8;

/// A life that began with the last extents of a full drive and has lasted this many microseconds is
/// not expected to be cut off soon.
const TIGHT_US: u64 = 10_000_000;
/// The most bytes of the cleaner's copies in a batch. Users who wait for the next batch wait longer
/// by the time to write them.
const COPIES_BYTES_MAX: usize = 256 << 10;

/// What the log needs of its owner, the shard.
pub trait LogOwner: 'static {
    /// What the owner passes with a record, and gets back with the place where the record is
    /// durable.
    type Commit;

    /// Returns the owner's log.
    fn log(&self) -> &Log<Self::Commit>;

    /// Tells the owner that these records are durable, at these places, in the order of the log.
    /// The commit of a barrier carries no record; everything that was queued before it is durable.
    fn durable(self: &Rc<Self>, records: impl Iterator<Item = (Self::Commit, RecordPlace)>);

    /// Tells the owner that a batch is finished, and that the tasks that waited for the log's
    /// progress were woken.
    fn batch_ended(self: &Rc<Self>);

    /// Hands the owner the commits whose records were not and will not be written, because there is
    /// no extent in which the log could continue.
    fn refused(self: &Rc<Self>, commits: Vec<Self::Commit>);

    /// Tells the owner that a write or a flush failed. The owner writes nothing more (law 3).
    fn failed(self: &Rc<Self>, error: &DeviceError);

    /// Tells the owner that the log now reaches to byte `end` of this set.
    fn written(&self, set: u32, end: u32);

    /// Tells the owner that the log continues in this set, with this log extent number.
    fn entered(&self, set: u32, log_number: u64);

    /// Takes an extent for the log's next set, if necessary one that is held back, and returns the
    /// set. Returns `None` if there is none.
    fn take_set(self: &Rc<Self>) -> impl Future<Output = Option<TakenSet>>;

    /// Returns where a set is now: it may have got another member since it was taken.
    fn place_now(&self, set: SetPlace) -> SetPlace;

    /// Returns a set that the log does not need after all.
    fn give_set(&self, set: SetPlace);

    /// Returns whether a checkpoint would release extents of the log.
    fn has_empty_extents(&self) -> bool;

    /// Takes a checkpoint. The owner reports a failure.
    fn checkpoint_for_log(self: &Rc<Self>) -> impl Future<Output = ()>;

    /// Queues copies of all live records of extents that hold few of them, as many extents as one
    /// batch empties, and does not wait until they are written.
    fn queue_crumbs(self: &Rc<Self>) -> impl Future<Output = ()>;

    /// Records durably that this life has begun the log.
    ///
    /// # Errors
    /// Returns [`DeviceError`] when the device failed. The note may or may not be durable then.
    fn note_begun(self: &Rc<Self>) -> impl Future<Output = std::result::Result<(), DeviceError>>;
}

/// A waiting record, with the owner's commit.
struct Pending<C> {
    /// The encoded record; `None` for a barrier.
    record: Option<EncodedRecord>,
    /// The owner's commit; `None` for a record of the log itself.
    commit: Option<C>,
    /// The record is the cleaner's copy.
    moved: bool,
}

impl<C> Pending<C> {
    /// Returns the bytes that it takes in a batch.
    fn padded_bytes(&self) -> usize {
        self.record.as_ref().map_or(0, |record| record.length().next_multiple_of(RECORD_ALIGNMENT))
    }
}

/// Counters of a log's work, for benchmarks and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogCounters {
    pub batches: u64,
    pub records: u64,
    /// Batches that were made durable by a synchronous write. The others waited for a flush.
    pub synchronous_writes: u64,
    /// Bytes written, including headers and padding.
    pub bytes: u64,
    /// Bytes of the records that the cleaner moved.
    pub moved_bytes: u64,
}

/// What a log needs in order to write.
pub struct LogParts {
    pub shard: u16,
    pub geometry: Geometry,
    pub writer: SetWriter,
    pub pool: Pool,
    pub environment: Rc<dyn Environment>,
}

/// A shard's log: the waiting records and the position of the next batch.
pub struct Log<C> {
    parts: LogParts,
    waiting: RefCell<VecDeque<Pending<C>>>,
    /// Bytes of the records in `waiting`.
    queued_bytes: Cell<usize>,
    /// The cleaner's copies, which give way to the records in `waiting`.
    copies: RefCell<VecDeque<Pending<C>>>,
    /// Bytes of the batch that is being written. It lies at the position, which has not moved yet.
    writing_bytes: Cell<usize>,
    /// This life of the node has written to the log. Until then only a batch that names another
    /// extent is written at the position, so what a torn batch of the last life left there is never
    /// taken for a later record.
    begun: Cell<bool>,
    /// The replay from the checkpoint in force to the position depends on a single block. So a
    /// checkpoint is taken before the first record.
    by_copy: Cell<bool>,
    /// This life began in an extent that was held back, and the log has not moved to one since that
    /// was not.
    began_short: Cell<bool>,
    /// The beginning of this life left the drive no more extents than the next life of each shard
    /// needs. Until this monotonic time in microseconds, or until the log continues in an extent
    /// that is not held back, the cleaner starts nothing that it could leave half done.
    tight_until_us: Cell<u64>,
    /// The next batch takes the cleaner's copies before the records in `waiting`.
    copies_first: Cell<bool>,
    /// The current extent was held back, so its room is not for user data.
    borrowed: Cell<bool>,
    /// Raised when a batch was applied.
    progress: Signal,
    work: Signal,
    position: Cell<LogPosition>,
    failed: Cell<bool>,
    stopped: Cell<bool>,
    /// The log continues in another set before the next record.
    wants_roll: Cell<bool>,
    /// Nothing is written until it is let go on.
    /// How many want that no batch is written.
    paused: Cell<u32>,
    /// The task writes a batch.
    busy: Cell<bool>,
    /// Sets that were taken before they were needed. After a crash their extents are free again.
    spares: RefCell<VecDeque<TakenSet>>,
    counters: Cell<LogCounters>,
    /// Bytes written since the last checkpoint.
    since_checkpoint: Cell<u64>,
}

impl<C> Log<C> {
    /// Creates a log that continues at `position`. With `begun` the caller states that nothing was
    /// written behind it, not even by an earlier life. With `by_copy` it states that a single block
    /// leads there from the checkpoint in force.
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
            copies_first: Cell::new(false),
            borrowed: Cell::new(false),
            progress: Signal::default(),
            work: Signal::default(),
            position: Cell::new(position),
            failed: Cell::new(false),
            stopped: Cell::new(false),
            wants_roll: Cell::new(false),
            paused: Cell::new(0),
            busy: Cell::new(false),
            spares: RefCell::default(),
            counters: Cell::default(),
            since_checkpoint: Cell::new(0),
        }
    }

    /// Queues a record, or a barrier. It is written whether or not anybody waits for it.
    ///
    /// # Errors
    /// Returns [`EngineError::WritesStopped`] or [`EngineError::ShuttingDown`] when the shard
    /// writes no more.
    pub fn push(&self, record: Option<EncodedRecord>, commit: C) -> Result<()> {
        self.check_open()?;
        let pending = Pending { record, commit: Some(commit), moved: false };
        self.queued_bytes.set(self.queued_bytes.get() + pending.padded_bytes());
        self.waiting.borrow_mut().push_back(pending);
        self.work.raise();
        Ok(())
    }

    /// Queues a copy of the cleaner, which gives way to what users wait for.
    ///
    /// # Errors
    /// Returns [`EngineError::WritesStopped`] or [`EngineError::ShuttingDown`] when the shard
    /// writes no more.
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

    /// Returns the position of the next batch.
    pub fn position(&self) -> LogPosition {
        self.position.get()
    }

    /// Returns the bytes of users' records that wait.
    pub fn queued_bytes(&self) -> usize {
        self.queued_bytes.get()
    }

    /// Returns whether a write or a flush failed.
    pub fn has_failed(&self) -> bool {
        self.failed.get()
    }

    /// Returns whether this life has written a record.
    pub fn has_begun(&self) -> bool {
        self.begun.get()
    }

    /// Returns whether this life began in an extent that was held back and the log has not moved to
    /// one since that was not.
    pub fn began_short(&self) -> bool {
        self.began_short.get()
    }

    /// Returns whether this life began, a short time ago, with the last extents of a full drive.
    pub fn is_tight(&self) -> bool {
        let until_us = self.tight_until_us.get();
        until_us > 0 && self.parts.environment.monotonic_us() < until_us
    }

    /// Returns the signal that is raised when a batch was applied and when the log has failed.
    pub fn progress(&self) -> &Signal {
        &self.progress
    }

    /// Returns the counters.
    pub fn counters(&self) -> LogCounters {
        self.counters.get()
    }

    /// Returns the bytes of the log that are not the cleaner's copies.
    pub fn user_log_bytes(&self) -> u64 {
        let counters = self.counters.get();
        counters.bytes.saturating_sub(counters.moved_bytes)
    }

    /// Returns the bytes written since the last checkpoint.
    pub fn since_checkpoint(&self) -> u64 {
        self.since_checkpoint.get()
    }

    /// Starts the count anew because a checkpoint begins at the position. Returns the bytes since
    /// the last checkpoint.
    pub fn take_since_checkpoint(&self) -> u64 {
        self.since_checkpoint.replace(0)
    }

    /// Adds back the bytes that a checkpoint took with [`Self::take_since_checkpoint`], because the
    /// checkpoint did not come into force.
    pub fn restore_since_checkpoint(&self, bytes: u64) {
        self.since_checkpoint.set(self.since_checkpoint.get() + bytes);
    }

    /// Ends the writing and returns all waiting commits, for the owner to refuse. Their slices stay
    /// reserved, because a record that did reach the device could point at them.
    #[must_use]
    pub fn fail(&self) -> Vec<C> {
        self.failed.set(true);
        let commits = self.take_all();
        self.progress.raise();
        commits
    }

    /// Makes the log continue in another set before the next record.
    pub fn roll_next(&self) {
        self.wants_roll.set(true);
    }

    /// Returns once no batch is being written. None is until [`Self::go_on`].
    pub async fn pause(&self) {
        self.paused.set(self.paused.get() + 1);
        loop {
            let mark = self.progress.mark();
            if !self.busy.get() {
                return;
            }
            self.progress.after(mark).await;
        }
    }

    /// Ends a pause. Another one may go on.
    pub fn go_on(&self) {
        self.paused.set(self.paused.get() - 1);
        self.work.raise();
    }

    /// Makes the writer's task end once nothing waits any more.
    pub fn stop(&self) {
        self.stopped.set(true);
        self.work.raise();
    }

    /// Returns the sets that were taken before they were needed.
    pub fn spare_sets(&self) -> Vec<SetPlace> {
        self.spares.borrow().iter().map(|spare| spare.place).collect()
    }

    /// Returns the number of sets that were taken before they were needed.
    pub fn spare_count(&self) -> usize {
        self.spares.borrow().len()
    }

    /// Removes and returns the sets that were taken before they were needed, unless a record waits
    /// that could need them.
    pub fn take_unneeded_spares(&self) -> Vec<SetPlace> {
        if self.queued_bytes.get() > 0 {
            return Vec::new();
        }
        std::mem::take(&mut *self.spares.borrow_mut()).into_iter().map(|spare| spare.place).collect()
    }

    /// Returns whether `bytes` more of user data fit behind all that waits, without an extent that
    /// is held back from `class`.
    pub fn has_room(&self, bytes: usize, class: Class) -> bool {
        let extent_bytes = self.parts.geometry.extent_bytes as usize;
        let needed = self.queued_bytes.get() + bytes;
        // Each batch has a header and padding, and the extent's last block names the next extent.
        let needed = needed + (needed / BATCH_BYTES_MAX + 2) * BLOCK_BYTES;
        let taken = self.position.get().offset as usize + self.writing_bytes.get() + BLOCK_BYTES;
        let usable = self.begun.get() && !self.borrowed.get();
        let current = if usable { extent_bytes.saturating_sub(taken) } else { 0 };
        if needed <= current {
            return true;
        }
        let spares = self.spares.borrow();
        let spares = spares.iter().filter(|spare| !spare.held_back || class != Class::User).count();
        // A record that does not fit at the end of an extent leaves less than half of the extent
        // unused.
        needed <= current.saturating_sub(bytes) + spares * (extent_bytes / 2)
    }

    /// Takes a set for user data, as a spare one. If the current extent was held back, and counting
    /// it as a normal one makes room for `bytes`, the new extent replaces it among those held back.
    /// The new set is then returned, for the caller to give back.
    #[must_use]
    pub fn repay_or_spare(&self, taken: TakenSet, bytes: usize, class: Class) -> Option<SetPlace> {
        if !taken.held_back && self.borrowed.replace(false) {
            if self.has_room(bytes, class) {
                return Some(taken.place);
            }
            self.borrowed.set(true);
        }
        self.spares.borrow_mut().push_back(taken);
        None
    }

    /// Returns whether a record waits, and not only barriers.
    fn has_records(&self) -> bool {
        let is_record = |pending: &Pending<C>| pending.record.is_some();
        self.waiting.borrow().iter().any(is_record) || self.copies.borrow().iter().any(is_record)
    }

    fn is_idle(&self) -> bool {
        self.waiting.borrow().is_empty() && self.copies.borrow().is_empty()
    }

    /// Removes all waiting commits. The cleaner's copies come last.
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

    /// Takes as many waiting records as fit into `room` bytes with the header, in order, and after
    /// them copies of the cleaner. Copies get some room in every batch, because users who fill all
    /// batches wait for what the cleaner frees. The first batch of a life that began with the last
    /// extents takes all copies before: see [`begin`].
    fn collect(&self, room: usize) -> Vec<Pending<C>> {
        let (mut waiting, mut copies) = (self.waiting.borrow_mut(), self.copies.borrow_mut());
        let (mut batch, mut total) = (Vec::new(), HEADER_BYTES);
        if self.copies_first.replace(false) {
            take_fitting(&mut copies, &mut batch, &mut total, room, room);
        }
        let for_copies = if copies.is_empty() { 0 } else { COPIES_BYTES_MAX };
        let before = total;
        take_fitting(&mut waiting, &mut batch, &mut total, room.min(BATCH_BYTES_MAX - for_copies), room);
        self.queued_bytes.set(self.queued_bytes.get() + before - total);
        if waiting.is_empty() || !batch.is_empty() {
            let most = room.min(total + for_copies);
            take_fitting(&mut copies, &mut batch, &mut total, most, room);
        }
        self.writing_bytes.set(if total == HEADER_BYTES { 0 } else { blocks_up(total) });
        batch
    }

    /// Writes the records of one batch at `position`, makes them durable and moves the position
    /// behind them. If `copy` is given, a copy of the batch is written first, at that byte offset
    /// of the extent. Returns each record's offset, and the bytes written.
    async fn write_batch(
        &self,
        position: LogPosition,
        batch: &[Pending<C>],
        copy: Option<u32>,
    ) -> std::result::Result<(Vec<u32>, u32), DeviceError> {
        let length = HEADER_BYTES + batch.iter().map(Pending::padded_bytes).sum::<usize>();
        if length == HEADER_BYTES {
            // The batch has only barriers, and everything before them is durable already.
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
            version: Le16::new(VERSION),
            records: Le32::new(batch.iter().filter(|pending| pending.record.is_some()).count() as u32),
            sequence: Le64::new(position.sequence),
            epoch: Le32::new(geometry.epoch),
            previous_crc: Le32::new(position.previous_crc),
            durable_sequence: Le64::new(position.sequence - 1),
            format: Le64::new(geometry.format_id),
            log_number: Le64::new(position.log_number),
            birth: Le64::new(position.set.birth),
            set: Le32::new(position.set.set),
            offset: Le32::new(position.offset),
            key_id: Le32::new(0),
            reserved: [0; 4],
            tag: [0; 16],
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
        let alone = self.parts.writer.write_durably((position.set, position.offset), length, buffer).await?;
        self.count(|counters| {
            counters.batches += 1;
            counters.synchronous_writes += u64::from(alone);
            counters.bytes += length as u64;
        });
        Ok(())
    }

    /// Copies the records behind the header, each with the mark of its place, and clears the
    /// padding, because the buffer held other bytes before. Returns the offset of each record in
    /// the extent.
    fn fill(&self, buffer: &mut [u8], batch: &[Pending<C>], position: LogPosition) -> Vec<u32> {
        let mut at = HEADER_BYTES;
        let mut offsets = Vec::with_capacity(batch.len());
        for pending in batch {
            let offset = position.offset + at as u32;
            offsets.push(offset);
            let Some(record) = &pending.record else { continue };
            let LogParts { geometry, shard, .. } = &self.parts;
            let log = LogSet { place: position.set, log_number: position.log_number };
            let mark = geometry.record_mark(*shard, log, offset);
            record.place(&mut buffer[at..], mark);
            let end = at + pending.padded_bytes();
            buffer[at + record.length()..end].fill(0);
            at = end;
        }
        buffer[at..].fill(0);
        offsets
    }

    /// Returns the log extent number of the next extent. It is greater than any that another life
    /// has given, even if nothing is known of that life any more.
    fn next_log_number(&self) -> u64 {
        (self.position.get().log_number + 1).max(first_log_number(self.parts.geometry.epoch))
    }
}

/// Moves records into the batch until it has `most` bytes. Its first record may be longer than that
/// and use all of `room`.
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

/// Runs the writer's task until the log is stopped. It is spawned once for each shard.
pub async fn run<O: LogOwner>(owner: Rc<O>) {
    let log = owner.log();
    loop {
        let mark = log.work.mark();
        if log.is_idle() || log.paused.get() > 0 {
            if log.stopped.get() && log.is_idle() {
                return;
            }
            log.work.after(mark).await;
            continue;
        }
        log.busy.set(true);
        let written = write_next(&owner).await;
        log.busy.set(false);
        if log.paused.get() > 0 {
            log.progress.raise();
        }
        if let Err(error) = written {
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
    if log.begun.get() && log.has_records() && log.wants_roll.replace(false) {
        return roll(owner).await;
    }
    let position = log.position.get();
    let room = log.parts.geometry.extent_bytes as usize - BLOCK_BYTES - position.offset as usize;
    // Barriers need no room in the extent.
    let room = if log.begun.get() { room.min(BATCH_BYTES_MAX) } else { BATCH_BYTES_MAX };
    let batch = log.collect(room);
    if batch.is_empty() {
        return roll(owner).await;
    }
    let (offsets, written) = log.write_batch(position, &batch, None).await?;
    if written > 0 {
        owner.written(position.set.set, position.offset + written);
    }
    log.since_checkpoint.set(log.since_checkpoint.get() + u64::from(written));
    let places = batch.into_iter().zip(offsets).filter_map(|(pending, offset)| {
        let length = pending.record.as_ref().map_or(0, EncodedRecord::length) as u32;
        log.count(|counters| {
            counters.records += u64::from(pending.record.is_some());
            counters.moved_bytes += u64::from(if pending.moved { length } else { 0 });
        });
        let (extent, sequence, moved) = (position.set.set, position.sequence, pending.moved);
        Some((pending.commit?, RecordPlace { extent, offset, length, sequence, moved }))
    });
    owner.durable(places);
    log.progress.raise();
    owner.batch_ended();
    Ok(())
}

/// Continues in the next set, which the last records of this one name.
async fn roll<O: LogOwner>(owner: &Rc<O>) -> std::result::Result<(), DeviceError> {
    let log = owner.log();
    let Some(TakenSet { place, held_back, .. }) = next_set(owner).await else { return Ok(()) };
    if !held_back {
        log.began_short.set(false);
        log.tight_until_us.set(0);
    }
    if log.failed.get() {
        return Ok(());
    }
    name_and_enter(owner, place, None).await
}

/// Writes the first batch of a life. It names the set where this life's records go. Nothing follows
/// it in this set that would reveal its loss, so the same bytes are also written to the set's last
/// block, which is kept for such batches, and recovery continues from whichever is sound. If the
/// position is already close to the end, recovery searches all extents for the log, as it does
/// behind every batch that names a set. Before anything of this life is
/// acknowledged, the superblock records that the log was begun. So if the batch and its copy are
/// both lost one day, the shard refuses to open instead of losing the lives since then.
///
/// A life that begins with the last extents may end at once, and so may the next ones. Each leaves
/// live records in an extent of its own, which no checkpoint releases, until no extent is left for
/// the next checkpoint. So the first batch with users' records also has copies of all records of
/// nearly empty extents: either nothing of this life's extent is live when it ends, or theirs are
/// released by the next life's checkpoint. The number of extents with few live records thus stays
/// what it was, however soon lives end.
async fn begin<O: LogOwner>(owner: &Rc<O>) -> std::result::Result<(), DeviceError> {
    let log = owner.log();
    let Some(mut taken) = next_set(owner).await else { return Ok(()) };
    // On a full drive, life after life may begin and be cut off, each in an extent that was held
    // back. A checkpoint releases what the previous lives took. It is taken first, because it may
    // need the extent itself.
    let gains = taken.tight || owner.has_empty_extents();
    if taken.held_back && gains || log.by_copy.take() {
        owner.give_set(taken.place);
        owner.checkpoint_for_log().await;
        if log.failed.get() {
            return Ok(());
        }
        let Some(again) = next_set(owner).await else { return Ok(()) };
        taken = again;
    }
    let TakenSet { place, held_back, tight } = taken;
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
    name_and_enter(owner, place, copy).await?;
    owner.note_begun().await?;
    if tight {
        owner.queue_crumbs().await;
        log.copies_first.set(true);
    }
    log.begun.set(true);
    Ok(())
}

/// Takes the set in which the log continues. If there is none, it refuses all that waits and
/// returns `None`.
async fn next_set<O: LogOwner>(owner: &Rc<O>) -> Option<TakenSet> {
    let log = owner.log();
    log.writing_bytes.set(0);
    let spare = log.spares.borrow_mut().pop_front();
    let next = match spare {
        Some(spare) => Some(TakenSet { place: owner.place_now(spare.place), ..spare }),
        None => owner.take_set().await,
    };
    let Some(taken) = next else {
        // This can not happen while enough extents are held back. Refusing is better than stopping
        // the shard.
        owner.refused(log.take_all());
        return None;
    };
    log.borrowed.set(taken.held_back);
    Some(taken)
}

/// Writes the batch that says where a set is and that the log continues there, and continues there.
async fn name_and_enter<O: LogOwner>(
    owner: &Rc<O>,
    place: SetPlace,
    copy: Option<u32>,
) -> std::result::Result<(), DeviceError> {
    let log = owner.log();
    let (position, log_number) = (log.position.get(), log.next_log_number());
    let where_it_is = Mutation::SetPut(place.to_disk(KIND_LOG));
    let goes_on = Mutation::LogExtent(LogExtentV1 { extent: place.set, log_number });
    let naming = [where_it_is, goes_on].map(|mutation| Pending {
        record: Some(EncodedRecord::new(&mutation, log_number, FLAG_PLACE, Vec::new())),
        commit: None,
        moved: false,
    });
    let (_, written) = log.write_batch(position, &naming, copy).await?;
    owner.written(position.set.set, position.offset + written);
    reached(Rare::LogRolled);
    owner.entered(place.set, log_number);
    log.position.set(LogPosition { set: place, log_number, offset: 0, ..log.position.get() });
    Ok(())
}
