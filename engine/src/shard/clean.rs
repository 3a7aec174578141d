//! The cleaner moves live records out of log extents that are mostly dead, so that the extents can
//! be used again.
//!
//! Invariants:
//! - A move is a copy of the record at the log's head, marked as moved. It counts only if the index
//!   still has the version, and its change of what the record holds, when it is applied: whatever
//!   users did to it first wins.
//!   So copies and users' records may be written in any order.
//! - The old extent stays until a checkpoint that does not name it is in force. The cleaner fills
//!   at most its share of the drive with extents that wait for that.
//! - The cleaner gives way to users: copies fill up batches, and while users write it moves no
//!   faster than they use space, unless there is none left for them.

use std::pin::pin;
use std::rc::Rc;

use futures_util::future::select;

use super::entry::Entry;
use super::get::Pins;
use super::instance::{Commit, Shard};
use super::maintenance::Task;
use crate::error::{EngineError, Result};
use crate::format::FormatDamage;
use crate::format::batch::{BATCH_BYTES_MAX, BatchHeaderOnDisk, HEADER_BYTES};
use crate::format::record::{
    EncodedRecord, FLAG_LOST, FLAG_MOVED, FLAG_PLACE, MetaV1, Mutation, PutV1, RECORD_ALIGNMENT, RecordView,
    STATE_MARKER, STATE_NULL,
};
use crate::hook::{Rare, reached};
use crate::log::space::{CRUMBS_BYTES, ClosedExtent};
use crate::sync::oneshot;
use crate::types::BucketId;

/// Most live bytes of an extent that is worth cleaning, per cent. At 90, nine bytes are moved for
/// each one that is gained.
const LIVE_PERCENT_MAX: u64 = 90;
/// The same limit while a put waits for the space.
const LIVE_PERCENT_MAX_WAITED_FOR: u64 = 95;
/// Copies that are queued at a time, bytes.
const STEP_BYTES: usize = 256 << 10;
/// Copies that the first batch of a life may hold, bytes. Records and their padding fit beside it
/// into a batch.
const CRUMBS_TOGETHER_BYTES: u64 = 512 << 10;
/// While nobody writes, a step is taken at least this often, milliseconds.
const STEP_MS: u64 = 10;
/// Number of reads in a row that must give the same wrong bytes before a record counts as damaged.
/// A drive that reads something else now and then, such as only zeros, would otherwise cost a sound
/// record.
const READS_OF_DAMAGE: usize = 8;
/// A checkpoint is written to free extents once they have this many times the bytes that it writes.
pub(super) const CHECKPOINT_GAIN: u64 = 8;

impl Shard {
    /// Starts the cleaner if there is a reason to. It is called after each batch and when the
    /// drive's free extents become few.
    pub(crate) fn relieve(self: &Rc<Self>) {
        if !self.wants_cleaning() || !self.cleaner.begin() {
            return;
        }
        let shard = self.clone();
        self.environment.spawn(Box::pin(async move {
            match shard.clean_while_wanted().await {
                Ok(()) | Err(EngineError::ShuttingDown) => {}
                Err(error) => tracing::warn!(shard = shard.id, %error, "the log cleaner stopped early"),
            }
            shard.cleaner.end();
        }));
    }

    /// Returns whether too much is dead or the drive has few free extents left and, if the last run
    /// gained nothing, whether more has died since then.
    fn wants_cleaning(&self) -> bool {
        let (live, dead) = self.state.borrow().space.logs.live_and_dead();
        let fruitless = self.cleaner.is_fruitless(dead, self.geometry.extent_bytes);
        let much_is_dead = dead > live.max(self.settings.dead_log_bytes_max);
        let wanted = !fruitless && (much_is_dead || self.is_short_of_space());
        self.may_write() && (wanted || self.has_crumbs()) && !self.must_leave_extents()
    }

    /// Returns whether no extent is left beside those that the cleaner works in, and some extents
    /// before the log's current one are nearly empty. Lives that end soon leave such extents with a
    /// few records each. One batch empties them.
    fn has_crumbs(&self) -> bool {
        let movable = || self.state.borrow().space.logs.nearly_empty() > self.cleaner.unreadable().len();
        self.spare_extents() == 0 && movable()
    }

    /// Returns whether the cleaner may write. It does not begin a life's log in one of the last
    /// extents: a node that crashes again and again would use them up though nobody writes.
    fn may_write(&self) -> bool {
        !self.log.has_failed() && (self.log.has_begun() || self.spare_extents() > 0)
    }

    /// Returns whether, in a life that began with the last extents of a full drive, the cleaner
    /// would have to move more than one batch before it empties any extent.
    ///
    /// After a crash in between, one more extent would have live records than before. The same
    /// could happen in the next lives, until no extent is left to begin a log in and no delete is
    /// accepted.
    fn must_leave_extents(&self) -> bool {
        if !self.log.is_tight() {
            return false;
        }
        let (state, unreadable) = (self.state.borrow(), self.cleaner.unreadable());
        let movable = state
            .space
            .logs
            .closed()
            .filter(|closed| closed.live > 0 && !unreadable.contains(&closed.extent));
        movable.map(|closed| closed.live).min().is_some_and(|least| least > CRUMBS_BYTES)
    }

    async fn clean_while_wanted(self: &Rc<Self>) -> Result<()> {
        while self.wants_cleaning() {
            if self.checkpoint_pays() {
                if self.checkpoint().await.is_err() {
                    break;
                }
                continue;
            }
            let _one = self.upkeep.turn(Task::Cleaning).await;
            let Some(victim) = self.victim(LIVE_PERCENT_MAX) else { break };
            self.move_out(victim).await?;
        }
        if self.state.borrow().space.logs.empty() > 0 {
            self.start_checkpoint();
        }
        // Dead bytes from which nothing could be gained are no reason to look again.
        let gained = !self.wants_cleaning();
        self.cleaner.note_fruitless(if gained {
            0
        } else {
            self.state.borrow().space.logs.live_and_dead().1
        });
        Ok(())
    }

    /// Returns whether the extents that a checkpoint would free are worth it, are the cleaner's
    /// whole share, or are needed now or soon.
    fn checkpoint_pays(&self) -> bool {
        let state = self.state.borrow();
        let empty = state.space.logs.empty() as u64;
        let bytes = empty * u64::from(self.geometry.extent_bytes);
        let worth = bytes >= CHECKPOINT_GAIN * state.index_bytes();
        let share = empty + 1 >= u64::from(self.cleaner_extents());
        let urgent = self.cleaner.is_waited_for() || self.spare_extents() == 0;
        empty > 0 && (worth || share || urgent)
    }

    /// Moves the live records out of the extents that are worth it until that frees an extent, and
    /// returns whether it did.
    ///
    /// # Errors
    /// Returns an error when the log writes no more.
    pub async fn clean(self: &Rc<Self>) -> Result<bool> {
        let _waiter = self.cleaner.wait_for(self.log.progress());
        let _one = self.upkeep.turn(Task::Cleaning).await;
        let (mut gained, extent_bytes) = (0, u64::from(self.geometry.extent_bytes));
        for _ in 0..self.cleaner_extents() * 4 {
            let Some(victim) = self.victim(LIVE_PERCENT_MAX_WAITED_FOR) else { break };
            gained += extent_bytes - victim.live.min(extent_bytes);
            self.move_out(victim).await?;
            let empty = self.state.borrow().space.logs.empty() as u64;
            if gained > extent_bytes || empty >= u64::from(self.cleaner_extents()) {
                break;
            }
        }
        Ok(gained > 0)
    }

    /// Chooses the extent with the best ratio of benefit to cost: the bytes gained, times how long
    /// the extent has been unchanged, over the bytes read and written (Rosenblum and Ousterhout,
    /// 1992). Decision 0004 compares this with choosing the emptiest.
    ///
    /// In a life that began on a full drive the emptiest is chosen. When lives end one soon after
    /// the other, each takes one of the extents held back and may leave a few live records in it.
    /// The next life must empty that extent before it moves anything else, or no extent is left for
    /// deletes.
    fn victim(&self, live_percent_max: u64) -> Option<ClosedExtent> {
        if self.must_leave_extents() {
            return None;
        }
        let state = self.state.borrow();
        let extent_bytes = u64::from(self.geometry.extent_bytes);
        let unreadable = self.cleaner.unreadable();
        let worth = |closed: &ClosedExtent| {
            let cheap = closed.live > 0 && closed.live * 100 <= extent_bytes * live_percent_max;
            cheap && !unreadable.contains(&closed.extent)
        };
        let score = |closed: &ClosedExtent| {
            u128::from(extent_bytes - closed.live) * u128::from(closed.age + 1) * (1 << 32)
                / u128::from(extent_bytes + closed.live)
        };
        let candidates = state.space.logs.closed().filter(worth);
        match self.log.began_short() || self.has_crumbs() {
            true => candidates.min_by_key(|closed| closed.live),
            false => candidates.max_by_key(score),
        }
    }

    /// Moves the live records out of one extent. An extent in which something can not be read stays
    /// as it is until the next start, and the cleaner goes on with others.
    async fn move_out(self: &Rc<Self>, victim: ClosedExtent) -> Result<()> {
        // The extent is pinned as by a reader, because a checkpoint may free it as soon as its last
        // live record has moved.
        self.state.borrow_mut().space.logs.pin(victim.extent);
        let mut moved = self.move_records(victim).await;
        let damaged = matches!(moved, Err(EngineError::Damaged { .. } | EngineError::ReadFailed { .. }));
        if damaged || moved.is_ok() && self.state.borrow().space.logs.has_live(victim.extent) {
            moved = self.move_one_by_one(victim).await;
        }
        self.unpin(Pins { extent: victim.extent, meta: None, object: None });
        moved?;
        // What could not be read is not tried again and again.
        if self.state.borrow().space.logs.has_live(victim.extent) {
            tracing::error!(
                shard = self.id,
                extent = self.place(victim.extent).extent(),
                "the log cleaner leaves an extent as it is"
            );
            self.cleaner.note_unreadable(victim.extent);
        }
        Ok(())
    }

    /// Queues copies of the live records of nearly empty extents, of the emptiest first, as many as
    /// fit into one batch. An extent that can not be read is left to the cleaner.
    pub(super) async fn queue_crumbs(self: &Rc<Self>) {
        let mut crumbs: Vec<ClosedExtent> = {
            let (state, unreadable) = (self.state.borrow(), self.cleaner.unreadable());
            let nearly_empty = |closed: &ClosedExtent| {
                (1..=CRUMBS_BYTES).contains(&closed.live) && !unreadable.contains(&closed.extent)
            };
            state.space.logs.closed().filter(nearly_empty).collect()
        };
        crumbs.sort_by_key(|closed| closed.live);
        let mut left = CRUMBS_TOGETHER_BYTES;
        for closed in crumbs {
            let Some(rest) = left.checked_sub(closed.live) else { return };
            left = rest;
            self.state.borrow_mut().space.logs.pin(closed.extent);
            let copies = self.copies_of(closed).await;
            self.unpin(Pins { extent: closed.extent, meta: None, object: None });
            for (mutation, record) in copies.unwrap_or_default() {
                // Nobody waits for a copy. Its commit says what becomes of it.
                let (mutation, reply) = (Some(mutation), oneshot::channel().0);
                let commit = Commit { mutation, guard: None, reserved: Vec::new(), quota: None, reply };
                if self.log.push_copy(record, commit).is_err() {
                    return;
                }
            }
        }
    }

    /// Returns copies of all live records of an extent.
    ///
    /// # Errors
    /// Returns an error when a batch of it is damaged or can not be read.
    async fn copies_of(&self, closed: ClosedExtent) -> Result<Vec<(Mutation, EncodedRecord)>> {
        let (mut all, mut offset) = (Vec::new(), 0);
        while offset < closed.written {
            let (copies, passed) = self.copies_in_window(closed, offset).await?;
            all.extend(copies);
            offset += passed;
        }
        Ok(all)
    }

    /// Moves the objects whose records are in an extent with damaged batches, one by one.
    async fn move_one_by_one(self: &Rc<Self>, victim: ClosedExtent) -> Result<()> {
        let mut next = Some(Vec::new());
        while let Some(start) = next {
            let lies_there = |entry: &Entry| {
                entry.location.extent == victim.extent
                    || entry.meta.is_some_and(|meta| meta.extent == victim.extent)
            };
            let (found, behind) = self.some_objects(&start, lies_there);
            for (bucket, key, entry) in found {
                for record in [Record::Version, Record::Metadata] {
                    let copy = self.copy_or_loss(victim, (BucketId(bucket), &key), &entry, record).await?;
                    if let Some(copy) = copy {
                        self.append_copies(vec![copy], victim).await?;
                    }
                }
            }
            next = behind;
            self.environment.yield_now().await;
        }
        Ok(())
    }

    /// Returns a copy of a record of a version, or the record of its loss. Returns `None` if that
    /// record is not in the extent, and while the drive's reads do not settle what is there.
    async fn copy_or_loss(
        self: &Rc<Self>,
        victim: ClosedExtent,
        (bucket, key): (BucketId, &[u8]),
        entry: &Entry,
        record: Record,
    ) -> Result<Option<(Mutation, EncodedRecord)>> {
        let Some((set, offset, _)) = record.place(entry) else { return Ok(None) };
        if set != victim.extent {
            return Ok(None);
        }
        let mut settled = true;
        for home in self.writer.drives.places() {
            match self.copy_at(home, victim, (bucket, key), entry, record).await? {
                Copied::Whole(copy) => return Ok(Some(*copy)),
                Copied::Damaged => {}
                Copied::Unsettled => settled = false,
            }
        }
        if !settled {
            return Ok(None);
        }
        let (shard, name) = (self.id, String::from_utf8_lossy(key));
        let extent = self.place(set).extent();
        tracing::error!(shard, bucket = bucket.0, key = %name, extent, offset, "an object's record is damaged");
        reached(Rare::RecordLost);
        Ok(Some(match record {
            Record::Version => loss_of(bucket, key, entry),
            Record::Metadata => loss_of_metadata(bucket, key, entry),
        }))
    }

    /// Reads a record of a version from the copy on a home, again and again while it is damaged.
    async fn copy_at(
        &self,
        home: usize,
        victim: ClosedExtent,
        of: (BucketId, &[u8]),
        entry: &Entry,
        record: Record,
    ) -> Result<Copied> {
        let Some(place @ (.., length)) = record.place(entry) else { return Ok(Copied::Unsettled) };
        let mut before = None;
        for _ in 0..READS_OF_DAMAGE {
            let (buffer, start) = match self.read_record(place, home).await {
                Err(EngineError::ReadFailed { .. }) => return Ok(Copied::Unsettled),
                read => read?,
            };
            let bytes = &buffer[start..];
            let read = match record {
                Record::Version => self
                    .put_of(of, (entry, victim.log_number), bytes)
                    .map(|(put, view)| (Mutation::Put(put), view.moved_copy())),
                Record::Metadata => self
                    .meta_of(of, (entry, victim.log_number), bytes)
                    .map(|(meta, view)| (Mutation::Meta(meta), view.moved_copy())),
            };
            if let Ok(copy) = read {
                return Ok(Copied::Whole(Box::new(copy)));
            }
            let seen = crc32c::crc32c(&bytes[..length as usize]);
            if before.replace(seen).is_some_and(|before| before != seen) {
                return Ok(Copied::Unsettled);
            }
        }
        Ok(Copied::Damaged)
    }

    async fn move_records(self: &Rc<Self>, victim: ClosedExtent) -> Result<()> {
        // All copies are queued together, so that one batch empties the extent. See
        // `must_leave_extents`.
        let mut together = (victim.live <= CRUMBS_BYTES).then(Vec::new);
        let mut offset = 0;
        while offset < victim.written && self.state.borrow().space.logs.has_live(victim.extent) {
            let (copies, passed) = self.copies_in_window(victim, offset).await?;
            match &mut together {
                Some(all) => all.extend(copies),
                None => self.append_copies(copies, victim).await?,
            }
            offset += passed;
        }
        self.append_copies(together.unwrap_or_default(), victim).await
    }

    /// Reads a window of an extent, and returns what [`Self::live_in_window`] does, of the first copy that
    /// is whole.
    async fn copies_in_window(
        &self,
        victim: ClosedExtent,
        offset: u32,
    ) -> Result<(Vec<(Mutation, EncodedRecord)>, u32)> {
        let window = (self.geometry.extent_bytes - offset).min(BATCH_BYTES_MAX as u32) as usize;
        let place = self.place(victim.extent);
        self.any_copy(victim.extent, async |home| {
            let read = self.writer.drives.copy(place, home).read_step(&self.pool, offset, window).await;
            self.count(|counters| counters.cleaner_read_bytes += window as u64);
            self.live_in_window(victim, offset, &read.map_err(EngineError::read_failed)?[..window])
        })
        .await
    }

    /// Returns copies of the live records in the whole batches of a window, and how many bytes of
    /// the window these batches take.
    fn live_in_window(
        &self,
        victim: ClosedExtent,
        offset: u32,
        window: &[u8],
    ) -> Result<(Vec<(Mutation, EncodedRecord)>, u32)> {
        let (mut copies, mut passed) = (Vec::new(), 0);
        while offset + (passed as u32) < victim.written {
            let batch = &window[passed..];
            let start = offset + passed as u32;
            let header = match BatchHeaderOnDisk::parse(batch) {
                Ok(header) if self.wrote(&header, victim, start) => header,
                // The next window begins with this batch.
                Err(FormatDamage::Short) if passed > 0 => break,
                Ok(_) | Err(_) => {
                    let (extent, offset) = (self.place(victim.extent).extent(), start);
                    return Err(EngineError::Damaged { what: "log batch", extent, offset });
                }
            };
            copies.extend(self.live_records(&header, &batch[..header.length.get() as usize]));
            passed += header.padded_bytes();
            if passed >= window.len() {
                break;
            }
        }
        Ok((copies, passed as u32))
    }

    /// Returns whether this shard's log wrote the batch at `offset` of the extent.
    fn wrote(&self, header: &BatchHeaderOnDisk, closed: ClosedExtent, offset: u32) -> bool {
        header.is_of(self.geometry.format_id, self.id)
            && header.log_number.get() == closed.log_number
            && header.is_at(self.place(closed.extent).identity(), offset)
    }

    /// Returns copies of the records of a batch that the index still points at.
    fn live_records(&self, header: &BatchHeaderOnDisk, batch: &[u8]) -> Vec<(Mutation, EncodedRecord)> {
        let state = self.state.borrow();
        let extent = header.set.get();
        let (mut at, mut copies) = (HEADER_BYTES, Vec::new());
        for _ in 0..header.records.get() {
            let record = batch.get(at..).unwrap_or_default();
            let Ok(view) = RecordView::parse(record, header.record_mark(at)) else { break };
            let offset = header.offset.get() + at as u32;
            at += view.length().next_multiple_of(RECORD_ALIGNMENT);
            let Ok(mutation) = view.mutation() else { continue };
            let live = match &mutation {
                Mutation::Put(put) => {
                    let entry = state.version(BucketId(put.bucket), &put.key, put.generation);
                    entry.map(|entry| (entry.location.extent, entry.location.offset))
                }
                Mutation::Meta(meta) => {
                    let entry = state.version(BucketId(meta.bucket), &meta.key, meta.generation);
                    entry.and_then(|entry| entry.meta).map(|meta| (meta.extent, meta.offset))
                }
                _ => None,
            };
            if live == Some((extent, offset)) {
                copies.push((mutation, view.moved_copy()));
            }
        }
        copies
    }

    /// Queues copies step by step, each step once the one before is durable and the pacing allows
    /// it.
    async fn append_copies(
        self: &Rc<Self>,
        copies: Vec<(Mutation, EncodedRecord)>,
        victim: ClosedExtent,
    ) -> Result<()> {
        let mut copies = copies.into_iter().peekable();
        while copies.peek().is_some() {
            let (mut bytes, mut answers) = (0, Vec::new());
            while let Some((mutation, record)) = copies.next_if(|_| bytes < STEP_BYTES) {
                bytes += record.length();
                let (reply, answer) = oneshot::channel();
                let (mutation, guard, reserved) = (Some(mutation), None, Vec::new());
                self.log.push_copy(record, Commit { mutation, guard, reserved, quota: None, reply })?;
                answers.push(answer);
            }
            let users = self.log.user_log_bytes();
            for answer in answers {
                answer.await.unwrap_or(Err(EngineError::WritesStopped { shard: self.id }))?;
            }
            self.pace(users, bytes, victim).await;
        }
        Ok(())
    }

    /// Waits until users have written three quarters of the bytes that a step of `bytes` makes room
    /// for, or less where space is scarcer. Does not wait while there is no space or a caller waits
    /// for it, and never waits long while nobody writes.
    async fn pace(&self, users: u64, bytes: usize, victim: ClosedExtent) {
        let gain = u64::from(self.geometry.extent_bytes).saturating_sub(victim.live);
        let few = u64::from(self.settings.few_extents);
        let idle = self.environment.sleep(STEP_MS);
        let paced = async {
            loop {
                let mark = self.log.progress().mark();
                let spare = u64::from(self.spare_extents()).min(few);
                let due = bytes as u64 * gain / victim.live.max(1) * (few + 2 * spare) / (4 * few).max(1);
                let urgent = self.cleaner.is_waited_for() || spare == 0 || self.log.has_failed();
                if urgent || self.log.user_log_bytes() >= users + due {
                    return;
                }
                self.log.progress().after(mark).await;
            }
        };
        select(pin!(paced), idle).await;
    }
}

/// What the cleaner found where a record should be.
enum Copied {
    Whole(Box<(Mutation, EncodedRecord)>),
    Damaged,
    /// It can not be read, or the reads do not settle what is there.
    Unsettled,
}

/// The two records that a version may have.
#[derive(Clone, Copy)]
enum Record {
    /// The record of the version itself.
    Version,
    /// The record of its newest metadata.
    Metadata,
}

impl Record {
    /// Returns extent, offset and length of the record, if the version has it.
    fn place(self, entry: &Entry) -> Option<(u32, u32, u32)> {
        match self {
            Self::Version => Some((entry.location.extent, entry.location.offset, entry.record_length)),
            Self::Metadata => entry.meta.map(|meta| (meta.extent, meta.offset, meta.record_length)),
        }
    }
}

/// Makes the record that stands for a version whose record is damaged: everything that the index has
/// of it. It is moved like any other record. The version stays listed and keeps its slices, and
/// every reader is told of the damage until the version is deleted or replaced.
fn loss_of(bucket: BucketId, key: &[u8], entry: &Entry) -> (Mutation, EncodedRecord) {
    let has = |flag: u8, set: bool| if set { flag } else { 0 };
    let put = Mutation::Put(PutV1 {
        bucket: bucket.0,
        key: key.to_vec(),
        generation: entry.generation,
        change: entry.change,
        state: has(STATE_NULL, entry.is_null) | has(STATE_MARKER, entry.is_marker),
        null: entry.null,
        size: entry.size,
        modified_ms: entry.modified_ms,
        md5: entry.etag.md5,
        etag_parts: entry.etag.parts,
        attributes: entry.traits.attributes(),
        segments: entry.segments.clone(),
        ..PutV1::default()
    });
    let flags = FLAG_MOVED | FLAG_LOST | FLAG_PLACE;
    let record = EncodedRecord::new(&put, entry.generation, flags, Vec::new());
    (put, record)
}

/// Makes the record that stands for the damaged record of a version's metadata.
fn loss_of_metadata(bucket: BucketId, key: &[u8], entry: &Entry) -> (Mutation, EncodedRecord) {
    let meta = Mutation::Meta(MetaV1 {
        bucket: bucket.0,
        key: key.to_vec(),
        generation: entry.generation,
        change: entry.meta.map_or(0, |meta| meta.change),
        modified_ms: entry.modified_ms,
        attributes: entry.traits.attributes(),
    });
    let flags = FLAG_MOVED | FLAG_LOST | FLAG_PLACE;
    let record = EncodedRecord::new(&meta, entry.generation, flags, Vec::new());
    (meta, record)
}
