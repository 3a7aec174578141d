//! Space of a shard: taking it, giving it back, and knowing how much there is.
//!
//! Invariants:
//! - Slices on their way in are `reserved`; dropping the reservation frees them at once (no record names them).
//! - Slices that a durable record freed wait in `freed` for their readers and for the next checkpoint.
//! - Room in the log for user data is taken before the record is queued: a full drive refuses it with nothing written.

use std::rc::Rc;

use super::{Freed, Shard, State};
use crate::error::{EngineError, Result};
use crate::extent::keeper::{Class, HeldBack, Refusal, Taken};
use crate::extent::slices::SliceSpace;
use crate::extent::{RunCount, run_units, segment_units, tail_units};
use crate::format::BLOCK_BYTES;
use crate::format::batch::BATCH_BYTES_MAX;
use crate::format::record::{Mutation, RunV1, SegmentV1};
use crate::format::slice::UNIT_BYTES;
use crate::hook::{Bug, Rare, reached};
use crate::log::RecordPlace;

/// The part of a drive that is kept for the cleaners of all its shards: one in so many extents. Decision 0004.
const CLEANER_PART: u32 = 16;
/// The least for one shard's cleaner: the extent it writes to, and one to spare.
pub(crate) const CLEANER_EXTENTS_MIN: u32 = 2;

/// One byte in so many is batch headers, padding and what is left at extents' ends when live records are moved
/// together.
pub(crate) const COPIES_OVERHEAD_PART: u64 = 64;

/// Of a drive of `extents` extents, one shard's part of the cleaners' share.
pub(crate) fn cleaner_extents(extents: u32, drive_shards: u32) -> u32 {
    (extents / CLEANER_PART / drive_shards).max(CLEANER_EXTENTS_MIN)
}

/// Extents that are kept for the next checkpoint of an index of so many bytes, a quarter larger than it is now.
fn next_checkpoint_extents(index_bytes: u64, extent_bytes: u64) -> u64 {
    (index_bytes + index_bytes / 4) / extent_bytes + 1
}

/// Extents that a shard can not do without: the log's next one, and the next checkpoint beside the one in force. While
/// that one, of `current` extents, is smaller or not there yet, room for it to grow is kept too, so that what fits on a
/// drive does not shrink with the first checkpoint.
pub(crate) fn needed_extents(index_bytes: u64, current: u64, extent_bytes: u64) -> u64 {
    let next = next_checkpoint_extents(index_bytes, extent_bytes);
    1 + next + next.saturating_sub(current)
}

/// What a body needs next of the slices.
#[derive(Clone, Copy)]
enum Wanted {
    Full { most: u32 },
    Tail { units: u32 },
}

/// Key of the lock around taking a new extent for the log; those for slices are in [`Wanted::lock`].
const GROW_LOG: u64 = 2;

impl Wanted {
    fn fit(self, slices: &mut SliceSpace) -> Option<RunV1> {
        match self {
            Self::Full { most } => slices.allocate_full(most),
            Self::Tail { units } => slices.allocate_tail(units),
        }
    }

    fn could_fit(self, slices: &SliceSpace) -> bool {
        match self {
            Self::Full { .. } => slices.has_full(),
            Self::Tail { units } => slices.has_tail(units),
        }
    }

    fn lock(self) -> u64 {
        match self {
            Self::Full { .. } => 0,
            Self::Tail { .. } => 1,
        }
    }
}

/// Slices on their way in; freed when dropped, unless [`Reserved::keep`] hands them to a record.
pub struct Reserved {
    shard: Rc<Shard>,
    segment: SegmentV1,
}

impl Reserved {
    pub fn new(shard: Rc<Shard>, segment: SegmentV1) -> Self {
        Self { shard, segment }
    }

    pub fn segment(&self) -> &SegmentV1 {
        &self.segment
    }

    /// A queued record names them now, and decides what becomes of them.
    pub fn hand_over(mut self) {
        self.segment.runs.clear();
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        let segment = std::mem::take(&mut self.segment);
        self.shard.release(&segment.runs, segment.length);
    }
}

impl State {
    pub(super) fn free_later(&mut self, sequence: u64, segment: &SegmentV1) {
        for run in &segment.runs {
            let units = run_units(run, segment.length);
            self.freed_units += u64::from(units);
            self.freed.push_back(Freed { sequence, run: *run, units });
        }
    }

    /// A checkpoint of everything before `sequence` is in force: what was freed until then is free. Frees up to `most`
    /// runs; returns extents that became empty, and how many runs it were.
    pub(super) fn release_freed(&mut self, sequence: u64, most: usize) -> (Vec<u32>, usize) {
        let (mut empty, mut runs) = (Vec::new(), 0);
        while runs < most && self.freed.front().is_some_and(|freed| freed.sequence < sequence) {
            let Some(freed) = self.freed.pop_front() else { break };
            self.freed_units -= u64::from(freed.units);
            empty.extend(self.slices.free(&freed.run, freed.units));
            runs += 1;
        }
        (empty, runs)
    }

    /// Bytes of slices that a checkpoint would free.
    pub(super) fn freed_bytes(&self) -> u64 {
        self.freed_units * UNIT_BYTES as u64
    }

    /// Bytes that a checkpoint would free.
    pub(super) fn reclaimable_bytes(&self) -> u64 {
        self.freed_bytes() + self.logs.empty() as u64 * u64::from(self.geometry.extent_bytes)
    }
}

impl Shard {
    /// Accounts for an applied record.
    pub(crate) fn apply(self: &Rc<Self>, mutation: &Mutation, place: RecordPlace) {
        let mut state = self.state.borrow_mut();
        let effects = state.apply(mutation, place);
        let relocated = effects.relocated;
        if let Some((before, after)) = relocated {
            state.runs = state.runs.plus(after).minus(before);
        }
        match mutation {
            Mutation::Put(_) if relocated.is_some() => {}
            // A completed upload's were counted as parts.
            Mutation::Put(put) if !place.moved && put.upload.is_none() => {
                put.segments.iter().for_each(|segment| state.runs.add(segment));
            }
            Mutation::UploadPart(part) => state.runs.add(&part.part.segment),
            _ => {}
        }
        if let Some((extent, bytes)) = effects.gained {
            state.logs.gain(extent, bytes);
        }
        if let Some((extent, bytes)) = effects.lost {
            state.logs.lose(extent, bytes);
        }
        for (generation, segment) in effects.freed {
            if relocated.is_none() {
                state.runs.remove(&segment);
            }
            // What is read may have been opened as the object, or before that as a part.
            let pin =
                [generation, segment.generation].into_iter().find(|pin| state.object_pins.contains_key(pin));
            match pin.filter(|_| !self.geometry.planted.is(Bug::ReuseSpaceEarly)) {
                Some(pin) => {
                    reached(Rare::ReaderKeptSpace);
                    state.zombies.entry(pin).or_default().push(segment);
                }
                None => state.free_later(place.sequence, &segment),
            }
        }
    }

    /// Slices for a body of `length` bytes: up to `full` full ones in one or more runs, and the tail if `with_tail`.
    ///
    /// # Errors
    /// [`EngineError::NoSpace`] when the drive is full and nothing can be reclaimed; nothing stays reserved then.
    pub async fn reserve(
        self: &Rc<Self>,
        length: u64,
        full: u32,
        with_tail: bool,
        class: Class,
    ) -> Result<Vec<RunV1>> {
        let mut runs: Vec<RunV1> = Vec::new();
        let mut left = full;
        let mut wanted: Vec<Wanted> = Vec::new();
        let units = tail_units(length);
        if with_tail && units > 0 {
            wanted.push(Wanted::Tail { units });
        }
        loop {
            let next = if left > 0 { Some(Wanted::Full { most: left }) } else { wanted.pop() };
            let Some(next) = next else { return Ok(runs) };
            match self.allocate(next, class).await {
                Ok(run) => {
                    left -= run.slices;
                    self.state.borrow_mut().reserved_units += u64::from(run_units(&run, length));
                    runs.push(run);
                }
                Err(error) => {
                    self.release(&runs, length);
                    return Err(error);
                }
            }
        }
    }

    /// One run, of an extent that is there or of a new one.
    async fn allocate(self: &Rc<Self>, wanted: Wanted, class: Class) -> Result<RunV1> {
        let fit = || wanted.fit(&mut self.state.borrow_mut().slices);
        if let Some(run) = fit() {
            return Ok(run);
        }
        // One grows the shard at a time: else each of many bodies takes an extent of its own.
        let _one = self.growing.lock(wanted.lock()).await;
        if let Some(run) = fit() {
            return Ok(run);
        }
        let taken = self.take_user_extent(class, &|| wanted.could_fit(&self.state.borrow().slices)).await;
        let extent = taken.map(|taken| taken.extent);
        // Freed meanwhile: an extent that nobody uses would stay with this shard.
        if let Some(run) = fit() {
            self.give_extents(extent.into_iter().collect());
            return Ok(run);
        }
        let extent = extent.ok_or_else(|| self.no_space())?;
        self.state.borrow_mut().slices.add(extent, matches!(wanted, Wanted::Tail { .. }));
        fit().ok_or_else(|| self.no_space())
    }

    /// Frees reserved slices that no record names.
    pub fn release(self: &Rc<Self>, runs: &[RunV1], length: u64) {
        let mut empty = Vec::new();
        {
            let mut state = self.state.borrow_mut();
            for run in runs {
                let units = run_units(run, length);
                state.reserved_units -= u64::from(units);
                empty.extend(state.slices.free(run, units));
            }
        }
        self.give_extents(empty);
    }

    /// The record that was to name these slices is durable and applied.
    pub(crate) fn keep(&self, segment: &SegmentV1) {
        self.state.borrow_mut().reserved_units -= segment_units(segment);
    }

    /// Answers all that waits with an error: the log has no extent to go on in.
    pub(crate) fn refuse_waiting(self: &Rc<Self>) {
        let error = self.no_space();
        for pending in self.log.take_all() {
            pending.reserved.iter().for_each(|segment| self.release(&segment.runs, segment.length));
            pending.reply.send(Err(error.clone()));
        }
    }

    /// Makes sure that `bytes` more of user data fit into the log.
    ///
    /// # Errors
    /// [`EngineError::NoSpace`].
    pub(super) async fn admit(self: &Rc<Self>, bytes: usize, class: Class) -> Result<()> {
        let enough = || self.has_room(bytes, class);
        if enough() {
            return Ok(());
        }
        // One at a time, as for slices.
        let _one = self.growing.lock(GROW_LOG).await;
        while !enough() {
            if let Some(taken) = self.take_user_extent(class, &enough).await {
                self.repay_or_spare(taken, bytes, class);
            } else if !enough() {
                return Err(self.no_space());
            }
        }
        Ok(())
    }

    /// What is taken for user data is a spare extent of the log. While the log's current one is out of what is held
    /// back, the new one goes back in its stead if that makes room: nothing is owed any more then.
    fn repay_or_spare(self: &Rc<Self>, taken: Taken, bytes: usize, class: Class) {
        if !taken.held_back && self.log.borrowed.replace(false) {
            if self.has_room(bytes, class) {
                self.give_extents(vec![taken.extent]);
                return;
            }
            self.log.borrowed.set(true);
        }
        self.log.spares.borrow_mut().push_back(taken);
    }

    /// Whether `bytes` more of user data fit behind all that waits, without an extent that is held back from `class`.
    fn has_room(&self, bytes: usize, class: Class) -> bool {
        let (log, extent_bytes) = (&self.log, self.geometry.extent_bytes as usize);
        let needed = log.queued_bytes.get() + bytes;
        // Each batch has a header and padding, and the extent's last block names the next one.
        let needed = needed + (needed / BATCH_BYTES_MAX + 2) * BLOCK_BYTES;
        let taken = log.position.get().offset as usize + log.writing_bytes.get() + BLOCK_BYTES;
        let usable = log.begun.get() && !log.borrowed.get();
        let current = if usable { extent_bytes.saturating_sub(taken) } else { 0 };
        if needed <= current {
            return true;
        }
        let spares = log.spares.borrow();
        let spares = spares.iter().filter(|spare| !spare.held_back || class != Class::User).count();
        // What does not fit at an extent's end leaves less than half of it.
        needed <= current.saturating_sub(bytes) + spares * (extent_bytes / 2)
    }

    /// An extent for user data; reclaims space on the whole drive before it says no. None also once `enough` says that
    /// what was reclaimed in this shard does without one.
    async fn take_user_extent(self: &Rc<Self>, class: Class, enough: &dyn Fn() -> bool) -> Option<Taken> {
        let core = self.core().ok()?;
        loop {
            let refusal = match self.take_extent(Class::User).await {
                Ok(taken) => return Some(taken),
                Err(refusal) => refusal,
            };
            let reclaimed = core.reclaim(self.drive, refusal).await;
            if enough() {
                return None;
            }
            if reclaimed {
                continue;
            }
            // What moving slices gains is part of what the keeper counts: a full drive has none of it.
            let compacted = refusal == Refusal::Scarce && core.compact(self.drive, self.id).await;
            if enough() {
                return None;
            }
            if !compacted {
                break;
            }
        }
        self.take_extent(class).await.ok()
    }

    pub(crate) async fn take_extent(&self, class: Class) -> std::result::Result<Taken, Refusal> {
        let Ok(core) = self.core() else { return Err(Refusal::Scarce) };
        let drive = self.drive;
        let keeper = core.layout.keeper_core(drive);
        if keeper == core.index {
            return core.take_kept(drive, class);
        }
        // An extent whose asker is gone goes back to its keeper.
        let orphan = move |core: &Rc<super::CoreState>, taken: std::result::Result<Taken, Refusal>| {
            taken.into_iter().for_each(|taken| core.give_extent(drive, taken.extent));
        };
        core.call_or(keeper, move |core| async move { core.take_kept(drive, class) }, orphan).await
    }

    /// The log's next extent, at the worst out of what is held back; then from what a checkpoint gives back.
    pub(crate) async fn take_extent_or_checkpoint(self: &Rc<Self>) -> Option<Taken> {
        if let Ok(taken) = self.take_extent(Class::System).await {
            return Some(taken);
        }
        // A checkpoint needs nothing of the log's writer, which waits here.
        if let Err(error) = self.checkpoint().await {
            tracing::warn!(shard = self.id, %error, "no extent for the log, and no checkpoint that frees one");
        }
        self.take_extent(Class::System).await.ok()
    }

    pub(crate) fn give_extents(&self, extents: Vec<u32>) {
        if let Ok(core) = self.core() {
            extents.into_iter().for_each(|extent| core.give_extent(self.drive, extent));
        }
    }

    pub(crate) fn no_space(&self) -> EngineError {
        let slices = &self.state.borrow().slices;
        let units_per_extent = u64::from(self.geometry.extent_bytes) / UNIT_BYTES as u64;
        let free = slices.extent_count() as u64 * units_per_extent - slices.used_units();
        EngineError::NoSpace { free_bytes: free * UNIT_BYTES as u64 }
    }

    /// After each batch: is it time for a checkpoint or for the cleaner, and does the keeper hold enough back?
    pub(crate) fn after_batch(self: &Rc<Self>) {
        // Law 5. In release builds it is asserted at every checkpoint.
        debug_assert!(self.space().adds_up(), "{:?}", self.space());
        self.hold_back();
        if self.log.since_checkpoint.get() >= self.geometry.checkpoint_after_bytes || self.release_pays() {
            self.start_checkpoint();
        }
        self.relieve();
    }

    /// Tells the keeper what this shard needs on a full drive, see [`needed_extents`]; what its cleaner works in; its
    /// share; and what that would gain.
    pub(super) fn hold_back(self: &Rc<Self>) {
        let (needed, gainable) = {
            let state = self.state.borrow();
            let extent_bytes = u64::from(self.geometry.extent_bytes);
            let current = state.checkpoint_extents.len() as u64;
            let needed = needed_extents(state.index_bytes(), current, extent_bytes) as u32;
            (needed, self.gainable_extents(&state))
        };
        let working = needed + CLEANER_EXTENTS_MIN;
        let held_back = HeldBack { needed, working, share: needed + self.cleaner_extents(), gainable };
        if held_back != self.held_back.replace(held_back)
            && let Ok(core) = self.core()
        {
            core.hold_back(self.drive, self.id, held_back);
        }
    }

    /// Extents that would be free if the log's live records stood together, as the cleaner would write them, and the
    /// slices too. Those that could not be read or emptied stay as they are.
    fn gainable_extents(&self, state: &State) -> u32 {
        let (live, _) = state.logs.live_and_dead();
        let live = live + live / COPIES_OVERHEAD_PART;
        let packed = live.div_ceil(u64::from(self.geometry.extent_bytes)) as usize;
        // The current one is not moved out of.
        let of_log = state.logs.count().saturating_sub(packed + 1 + self.unreadable.borrow().len()) as u32;
        let of_data = state.slices.gainable_extents();
        of_log + of_data.saturating_sub(self.immovable.borrow().len() as u32)
    }

    /// Free extents beside those that cleaners work in, as far as this core knows; capped at what is few.
    pub(super) fn spare_extents(&self) -> u32 {
        let few = self.geometry.few_extents;
        self.core().map_or(few, |core| core.drives[usize::from(self.drive)].spare_extents.get().min(few))
    }

    pub(super) fn is_short_of_space(&self) -> bool {
        self.spare_extents() < self.geometry.few_extents
    }

    /// The keeper says that another number of extents is free.
    pub(crate) fn hear_spare(self: &Rc<Self>) {
        self.log.progress.raise();
        self.relieve();
    }

    /// The cleaner's share of the drive: so many extents it may have filled that no checkpoint has given back yet,
    /// and so many can not be live.
    pub(super) fn cleaner_extents(&self) -> u32 {
        cleaner_extents(self.geometry.extents, self.geometry.drive_shards)
    }

    /// Bytes: live (named by the index), dead (freed, waiting), reserved, owned but free.
    pub fn space(&self) -> ShardSpace {
        let state = self.state.borrow();
        let unit = UNIT_BYTES as u64;
        let extent = u64::from(self.geometry.extent_bytes);
        let (log_live, log_dead) = state.logs.live_and_dead();
        let used = state.slices.used_units();
        let zombies: u64 = state.zombies.values().flatten().map(segment_units).sum();
        let waiting = state.freed_units + zombies;
        let log_free = state.logs.count() as u64 * extent - log_live - log_dead;
        let owned_free = state.slices.extent_count() as u64 * extent - used * unit;
        ShardSpace {
            live_bytes: log_live + (used - waiting - state.reserved_units) * unit,
            dead_bytes: log_dead + waiting * unit,
            reserved_bytes: (state.reserved_units) * unit
                + (state.checkpoint_extents.len() + self.log.spares.borrow().len()) as u64 * extent
                + log_free,
            free_bytes: owned_free,
            owned_bytes: (state.logs.count()
                + state.slices.extent_count()
                + state.checkpoint_extents.len()
                + self.log.spares.borrow().len()) as u64
                * extent,
            objects: state.objects(),
            index_bytes: state.index_bytes(),
            runs: state.runs,
        }
    }
}

impl Shard {
    /// Every extent it owns, for the simulator's checks.
    pub(crate) fn extents(&self) -> Vec<u32> {
        let state = self.state.borrow();
        let spares = self.log.spares.borrow();
        let all =
            state.logs.all().chain(state.slices.extents()).chain(state.checkpoint_extents.iter().copied());
        all.chain(spares.iter().map(|spare| spare.extent)).collect()
    }

    /// For the simulator's checks.
    pub(crate) fn count_leftovers(&self, sum: &mut crate::sim::Leftovers) {
        let state = self.state.borrow();
        sum.log_extents += state.logs.count();
        sum.data_extents += state.slices.extent_count();
        sum.checkpoint_extents += state.checkpoint_extents.len();
        sum.spare_extents += self.log.spares.borrow().len();
        sum.used_units += state.slices.used_units();
        sum.reserved_units += state.reserved_units;
        sum.freed_units +=
            state.freed_units + state.zombies.values().flatten().map(segment_units).sum::<u64>();
        sum.pinned_objects += state.object_pins.len();
        sum.held_locks += self.locks.held();
    }
}

impl ShardSpace {
    /// live + dead + reserved + free = owned.
    pub fn adds_up(&self) -> bool {
        self.live_bytes + self.dead_bytes + self.reserved_bytes + self.free_bytes == self.owned_bytes
    }
}

/// Where the bytes of the extents that a shard owns are: live + dead + reserved + free = owned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardSpace {
    pub live_bytes: u64,
    pub dead_bytes: u64,
    pub reserved_bytes: u64,
    pub free_bytes: u64,
    pub owned_bytes: u64,
    pub objects: u64,
    pub index_bytes: u64,
    pub runs: RunCount,
}
