//! The space of a shard: how it is allocated and freed, and how much there is.
//!
//! Invariants:
//! - Slices for a body that is not committed are `reserved`. Dropping the reservation frees them at
//!   once because no record names them.
//! - Room in the log for user data is taken before the record is queued, so a full drive refuses
//!   the record with nothing written.
//! - An extent becomes a set of this shard, with a number and a birth, as soon as it is taken. The
//!   number may be used again when the extent goes back to the drive, and not before (law 6).

use std::rc::Rc;

use super::instance::Shard;
use super::state::State;
use crate::error::{EngineError, Result};
use crate::extent::allocator::{Class, HeldBack, Refusal};
use crate::extent::sets::{KIND_LOG, KIND_SLICES, TakenSet};
use crate::extent::slices::SliceSpace;
use crate::extent::{Members, SetPlace};
use crate::format::record::{RunV1, SegmentV1};

/// One in this many extents of a drive is kept for the cleaners of its shards. Decision 0004 has
/// the reason.
const CLEANER_PART: u32 = 16;
/// Fewest extents for one shard's cleaner: the one that it writes to and a spare one.
pub(crate) const CLEANER_EXTENTS_MIN: u32 = 2;

/// One byte in this many is batch headers, padding, and unused space at the ends of extents when
/// live records are moved together.
pub(crate) const COPIES_OVERHEAD_PART: u64 = 64;

/// Returns one shard's part, in extents, of the cleaners' share of a drive of `extents` extents.
pub(crate) fn cleaner_extents(extents: u32, drive_shards: u32) -> u32 {
    (extents / CLEANER_PART / drive_shards).max(CLEANER_EXTENTS_MIN)
}

/// Returns the extents that are kept for the next checkpoint of an index of this many bytes, should
/// it be a quarter larger than now.
fn next_checkpoint_extents(index_bytes: u64, extent_bytes: u64) -> u64 {
    (index_bytes + index_bytes / 4) / extent_bytes + 1
}

/// Returns the extents that a shard can not do without: one for the log, and those of the next
/// checkpoint beside the one in force.
///
/// While the checkpoint in force, of `current` extents, is smaller than that or does not exist yet,
/// room for it to grow is kept too. Without that, the data that fits on a drive would shrink with
/// the first checkpoint.
pub(crate) fn needed_extents(index_bytes: u64, current: u64, extent_bytes: u64) -> u64 {
    let next = next_checkpoint_extents(index_bytes, extent_bytes);
    1 + next + next.saturating_sub(current)
}

/// The space that a body needs next.
#[derive(Clone, Copy)]
enum Wanted {
    Full { most: u32 },
    Tail { units: u32 },
}

/// The refusal to store what one more loss would lose.
pub const TOO_FEW_DRIVES: EngineError =
    EngineError::Busy { what: "drives: too few are here to store this with redundancy" };
/// Key of the lock under which the log takes a new extent. The keys for slices are in
/// [`Wanted::lock`].
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

/// Slices that are reserved for a body. They are freed when this is dropped, unless
/// [`Reserved::hand_over`] passes them to a queued record.
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

    /// Passes the slices to a queued record that names them, which decides what becomes of them.
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

impl Shard {
    /// Reserves slices for a body of `length` bytes: up to `full` full ones in one or more runs,
    /// and the tail if `with_tail`.
    ///
    /// # Errors
    /// Returns [`EngineError::NoSpace`] when the drive is full and nothing can be reclaimed;
    /// nothing stays reserved then.
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
        let shape = self.geometry.shape;
        let units = shape.tail_units(length);
        if with_tail && units > 0 {
            wanted.push(Wanted::Tail { units });
        }
        loop {
            let next = if left > 0 { Some(Wanted::Full { most: left }) } else { wanted.pop() };
            let Some(next) = next else { return Ok(runs) };
            match self.allocate(next, class).await {
                Ok(run) => {
                    left -= run.slices;
                    self.state.borrow_mut().space.reserve(shape.run_units(&run, length));
                    runs.push(run);
                }
                Err(error) => {
                    self.release(&runs, length);
                    return Err(error);
                }
            }
        }
    }

    /// Allocates one run in an extent that the shard has, or in a new one.
    async fn allocate(self: &Rc<Self>, wanted: Wanted, class: Class) -> Result<RunV1> {
        let fit = || wanted.fit(&mut self.state.borrow_mut().space.slices);
        if let Some(run) = fit() {
            return Ok(run);
        }
        self.has_drives_enough()?;
        // One body grows the shard at a time. Otherwise each of many bodies would take an extent of
        // its own.
        let _one = self.growing.lock(wanted.lock()).await;
        if let Some(run) = fit() {
            return Ok(run);
        }
        let enough = || wanted.could_fit(&self.state.borrow().space.slices);
        let taken = self.take_user_set(KIND_SLICES, class, &enough).await;
        let set = taken.map(|taken| taken.place.set);
        // If slices were freed meanwhile, the extent is returned. Nobody would use it in this
        // shard.
        if let Some(run) = fit() {
            self.give_sets(set);
            return Ok(run);
        }
        let set = set.ok_or_else(|| self.no_space())?;
        self.state.borrow_mut().space.slices.add(set, matches!(wanted, Wanted::Tail { .. }));
        fit().ok_or_else(|| self.no_space())
    }

    /// Checks that so many drives are here that what is stored in stripes survives one more loss.
    fn has_drives_enough(&self) -> Result<()> {
        let shape = self.geometry.shape;
        match shape.is_striped() && self.writer.drives.all_places().len() <= shape.data() {
            true => Err(TOO_FEW_DRIVES),
            false => Ok(()),
        }
    }

    /// Frees reserved slices that no record names.
    pub fn release(&self, runs: &[RunV1], length: u64) {
        let empty = self.state.borrow_mut().space.release(runs, length);
        self.give_sets(empty);
    }

    /// Takes a free extent for each member of a set, and makes the set of them.
    ///
    /// # Errors
    /// Returns the [`Refusal`] when no extent is available to this class, or no number is free.
    pub(super) async fn take_set(&self, kind: u8, class: Class) -> std::result::Result<TakenSet, Refusal> {
        let taken = match kind {
            KIND_SLICES => self.surroundings.take_extents_for_slices(class).await?,
            _ => self.surroundings.take_extents(class).await?,
        };
        let set = self.state.borrow_mut().space.sets.add(kind, taken.members);
        let Some(place) = set else {
            self.surroundings.give_extents(vec![taken.members]);
            return Err(Refusal::Scarce);
        };
        Ok(TakenSet { place, held_back: taken.held_back, tight: taken.tight })
    }

    /// Returns the extents of sets to the drive. Their numbers are free.
    pub(super) fn give_sets(&self, sets: impl IntoIterator<Item = u32>) {
        let extents: Vec<Members> = {
            let mut state = self.state.borrow_mut();
            sets.into_iter().map(|set| state.space.sets.remove(set).members).collect()
        };
        self.surroundings.give_extents(extents);
    }

    /// Returns where a set of this shard is.
    pub(super) fn place(&self, set: u32) -> SetPlace {
        self.state.borrow().space.sets.place(set)
    }

    /// Makes sure that `bytes` more of user data fit into the log.
    ///
    /// # Errors
    /// Returns [`EngineError::NoSpace`] when the drive is full and nothing can be reclaimed.
    pub(super) async fn admit(self: &Rc<Self>, bytes: usize, class: Class) -> Result<()> {
        let enough = || self.log.has_room(bytes, class);
        if enough() {
            return Ok(());
        }
        // One extent is taken at a time, as for slices.
        let _one = self.growing.lock(GROW_LOG).await;
        while !enough() {
            if let Some(taken) = self.take_user_set(KIND_LOG, class, &enough).await {
                let repaid = self.log.repay_or_spare(taken, bytes, class);
                self.give_sets(repaid.map(|place| place.set));
            } else if !enough() {
                return Err(self.no_space());
            }
        }
        Ok(())
    }

    /// Takes a set for user data; if there is no extent, reclaims space on the whole drive first.
    /// Returns `None` when that fails, and also when `enough` says that the space reclaimed in this
    /// shard makes an extent unnecessary.
    async fn take_user_set(
        self: &Rc<Self>,
        kind: u8,
        class: Class,
        enough: &dyn Fn() -> bool,
    ) -> Option<TakenSet> {
        loop {
            let refusal = match self.take_set(kind, Class::User).await {
                Ok(taken) => return Some(taken),
                Err(refusal) => refusal,
            };
            let reclaimed = self.surroundings.reclaim(refusal).await;
            if enough() {
                return None;
            }
            if reclaimed {
                continue;
            }
            // The allocator already counts what moving slices would gain. A drive that is full in
            // that sense gains nothing more.
            let compacted = refusal == Refusal::Scarce && self.surroundings.compact(self.id).await;
            if enough() {
                return None;
            }
            if !compacted {
                break;
            }
        }
        self.take_set(kind, class).await.ok()
    }

    /// Returns the error for a full drive.
    pub(super) fn no_space(&self) -> EngineError {
        EngineError::NoSpace { free_bytes: self.state.borrow().space.gap_bytes() }
    }

    /// Starts a checkpoint or the cleaner after a batch if it is time for one, and tells the
    /// allocator what to hold back.
    pub(crate) fn after_batch(self: &Rc<Self>) {
        // Law 5. Release builds assert it at every checkpoint.
        debug_assert!(self.space().adds_up(), "{:?}", self.space());
        self.hold_back();
        if self.log.since_checkpoint() >= self.settings.checkpoint_after_bytes || self.release_pays() {
            self.start_checkpoint();
        }
        self.relieve();
    }

    /// Tells the allocator what this shard needs on a full drive (see [`needed_extents`]), the
    /// extents that its cleaner works in, its share, and how many extents cleaning and compaction
    /// would gain.
    pub(super) fn hold_back(self: &Rc<Self>) {
        let (needed, (of_log, of_data)) = {
            let state = self.state.borrow();
            let extent_bytes = u64::from(self.geometry.extent_bytes);
            let current = state.space.checkpoint_sets.len() as u64;
            let needed = needed_extents(state.index_bytes(), current, extent_bytes) as u32;
            (needed, self.gainable_extents(&state))
        };
        let working = needed + CLEANER_EXTENTS_MIN;
        let (share, gainable) = (needed + self.cleaner_extents(), of_log + of_data);
        let held_back = HeldBack { needed, working, share, gainable };
        if self.upkeep.changes_held_back(held_back) {
            self.surroundings.hold_back(self.id, held_back, of_data);
        }
    }

    /// Returns the numbers of extents of each of its drives that would be free if the log's live records were
    /// packed together, as the cleaner would write them, and if the slices were. Extents that could not be
    /// read or emptied do not count.
    fn gainable_extents(&self, state: &State) -> (u32, u32) {
        let (live, _) = state.space.logs.live_and_dead();
        let live = live + live / COPIES_OVERHEAD_PART;
        let packed = live.div_ceil(u64::from(self.geometry.extent_bytes)) as usize;
        // Records are not moved out of the current extent.
        let of_log =
            state.space.logs.count().saturating_sub(packed + 1 + self.cleaner.unreadable().len()) as u32;
        let of_data = state.space.slices.gainable_extents();
        let of_data = of_data.saturating_sub(self.compactor.immovable_count() as u32);
        let shape = self.geometry.shape;
        if !shape.is_striped() {
            return (of_log, of_data);
        }
        // Each set lies on some of the drives.
        let drives = self.writer.drives.all_places().len().max(shape.members());
        (of_log, (of_data * shape.members() as u32).div_ceil(drives as u32))
    }

    /// Returns the number of free extents beside those that cleaners work in, as far as this core
    /// knows, but at most the number that counts as few.
    pub(super) fn spare_extents(&self) -> u32 {
        self.surroundings.spare_extents().min(self.settings.few_extents)
    }

    /// Returns whether the drive has few free extents left.
    pub(super) fn is_short_of_space(&self) -> bool {
        self.spare_extents() < self.settings.few_extents
    }

    /// Reacts to a change of the number of the drive's free extents.
    pub(crate) fn note_free_extents(self: &Rc<Self>) {
        self.log.progress().raise();
        self.relieve();
    }

    /// Returns the cleaner's share of the drive in extents. The cleaner may fill this many extents
    /// before a checkpoint frees the old ones, and this many can hold no live data.
    pub(super) fn cleaner_extents(&self) -> u32 {
        cleaner_extents(self.geometry.extents, self.settings.drive_shards)
    }
}
