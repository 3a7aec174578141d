//! Compaction empties data extents by moving their slices into gaps of other extents, so that whole
//! extents return to the drive. It runs only when a put finds no extent and nothing else frees one;
//! decision 0005 has the reasons.
//!
//! The steps for each object, in order:
//!
//! 1. Take its key's lock and pin its record and slices.
//! 2. Copy the slices, verifying each byte as it is read, into places that nothing names.
//! 3. Flush (law 1).
//! 4. Write the version's record anew, with its slices at their new places and a higher number of
//!    changes. Its generation, its metadata and everything that a user sees stay as they were.
//! 5. The old places wait for a checkpoint and for readers, as those of any overwritten object do
//!    (law 6).
//!
//! Invariants:
//! - No new slice goes into an extent that is being emptied.
//! - An object that is being changed is left alone, because the one who waits for space may hold
//!   its lock.
//! - Damaged slices and parts of uploads stay where they are. An extent that could not be emptied
//!   is not tried again before something in it, or enough in the shard, was freed.

use std::collections::BTreeSet;
use std::rc::Rc;

use super::commit::Holds;
use super::entry::{Entry, blocks_covering};
use super::get::{Found, FoundEntry, Pins};
use super::instance::Shard;
use super::maintenance::Task;
use super::recover::for_each_entry_from;
use super::slice_verifier::{SliceFlaw, SliceVerifier};
use super::space::Reserved;
use super::striped::{CopyError, StripedSlice, StripedSource};
use crate::device::{DeviceError, Durability};
use crate::error::{EngineError, Result};
use crate::extent::{LogSet, SlicePlace, coalesce, runs_one_by_one};
use crate::format::BLOCK_BYTES;
use crate::format::record::{EncodedRecord, MetaV1, Mutation, PutV1, RecordView, RunV1, SegmentV1};
use crate::format::slice::UNIT_BYTES;
use crate::hook::{Bug, Rare, reached};
use crate::log::writer::RECORD_BYTES_MAX;
use crate::ring::Buffer;
use crate::types::{BucketId, Version};
use zerocopy::IntoBytes;

/// Bytes that are moved, about, before a checkpoint frees the emptied extents. The index is
/// searched and written once for all of them.
const MOVE_BYTES: u64 = 64 << 20;
/// Objects that are looked at before other tasks of the core may run.
const OBJECTS_AT_ONCE: usize = 1024;
/// In a life in which nothing may be moved yet, callers that wait for space retry after this many
/// milliseconds.
const TIGHT_STEP_MS: u64 = 250;

/// Buckets, keys and entries of objects.
type Objects = Vec<(u32, Vec<u8>, Entry)>;

/// Extents that are being emptied. They are opened for new slices again when this is dropped.
struct Victims<'a> {
    shard: &'a Shard,
    extents: BTreeSet<u32>,
}

impl Drop for Victims<'_> {
    fn drop(&mut self) {
        let mut state = self.shard.state.borrow_mut();
        self.extents.iter().for_each(|extent| state.space.slices.reopen(*extent));
    }
}

/// The outcome of moving an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moved {
    Done,
    /// The object changed, is being changed, or can not be moved.
    Skipped,
    /// There is no gap for one of the slices.
    NoRoom,
}

impl Shard {
    /// Empties extents and writes the checkpoint that frees them. Returns whether an extent was
    /// freed, by this call or by one that it waited for.
    ///
    /// Returns true also in a life that began with the last extents of a full drive, where nothing
    /// may move that a crash could leave half done. The caller has to wait there and try again.
    ///
    /// # Errors
    /// Returns an error when the shard writes no more.
    pub async fn compact(self: &Rc<Self>) -> Result<bool> {
        if self.log.is_tight() {
            self.environment.sleep(TIGHT_STEP_MS).await;
            return Ok(true);
        }
        let given = self.upkeep.given_back();
        let _one = self.upkeep.turn(Task::Compaction).await;
        if self.upkeep.given_back() != given {
            return Ok(true);
        }
        let victims = self.close_victims();
        if victims.extents.is_empty() {
            return Ok(false);
        }
        for (bucket, key, generation) in self.objects_in(&victims.extents).await {
            match self.move_object(BucketId(bucket), &key, generation, &victims.extents).await {
                Ok(Moved::NoRoom) => break,
                Ok(Moved::Done | Moved::Skipped) => {}
                Err(error @ (EngineError::Damaged { .. } | EngineError::ReadFailed { .. })) => {
                    tracing::error!(shard = self.id, %error, "compaction leaves an object where it is");
                }
                Err(error) => return Err(error),
            }
        }
        if self.checkpoint().await.is_err() {
            return Ok(false);
        }
        Ok(self.note_immovable(&victims.extents) < victims.extents.len())
    }

    /// Remembers which of the extents still hold something, and returns their number.
    fn note_immovable(&self, extents: &BTreeSet<u32>) -> usize {
        let left = self.compactor.note(&self.state.borrow().space.slices, extents);
        tracing::debug!(shard = self.id, of = extents.len(), left, "compacted data extents");
        left
    }

    fn close_victims(&self) -> Victims<'_> {
        let mut state = self.state.borrow_mut();
        let extents = self.compactor.victims(&state.space.slices, MOVE_BYTES / UNIT_BYTES as u64);
        extents.iter().for_each(|extent| state.space.slices.close(*extent));
        Victims { shard: self, extents }
    }

    /// Returns bucket, key and generation of every version with a slice in these extents.
    async fn objects_in(&self, extents: &BTreeSet<u32>) -> Vec<(u32, Vec<u8>, u64)> {
        let (mut found, mut next) = (Vec::new(), Some(Vec::new()));
        let lies_there = |entry: &Entry| entry.segments.iter().any(|segment| lies_in(segment, extents));
        while let Some(start) = next.take() {
            let (some, behind) = self.some_objects(&start, lies_there);
            found.extend(some.into_iter().map(|(bucket, key, entry)| (bucket, key, entry.generation)));
            next = behind;
            self.environment.yield_now().await;
        }
        found
    }

    /// Looks at the next `OBJECTS_AT_ONCE` objects from a composite key on. Returns those whose
    /// entries are `wanted`, and the key to continue from.
    pub(super) fn some_objects(
        &self,
        start: &[u8],
        wanted: impl Fn(&Entry) -> bool,
    ) -> (Objects, Option<Vec<u8>>) {
        let (mut seen, mut found) = (0, Vec::new());
        let next = for_each_entry_from(self.state.borrow().index(), start, &mut |bucket, key, entry| {
            if wanted(&entry) {
                found.push((bucket, key.to_vec(), entry));
            }
            seen += 1;
            seen < OBJECTS_AT_ONCE
        });
        (found, next)
    }

    async fn move_object(
        self: &Rc<Self>,
        bucket: BucketId,
        key: &[u8],
        generation: u64,
        victims: &BTreeSet<u32>,
    ) -> Result<Moved> {
        // 1. The lock may be held by a put that waits for space, so waiting for it could take for
        //    ever.
        let Some(guard) = self.locks.try_lock(self.hash(bucket, key)) else {
            reached(Rare::MoveSkipped);
            return Ok(Moved::Skipped);
        };
        let found = self.lookup(bucket, key, Version::Generation(generation));
        let Some((found, pins)) = found else { return Ok(Moved::Skipped) };
        let _pinned = Pinned { shard: self, pins };
        let Found::Entry(found) = found else { return Ok(Moved::Skipped) };
        let FoundEntry { entry, log, .. } = *found;
        let mut put = self.read_put((bucket, key), (&entry, log.log_number)).await?;
        // 2. and 3. Copy the slices and flush.
        let mut handles = Vec::new();
        for segment in put.segments.iter_mut().filter(|segment| lies_in(segment, victims)) {
            let Some(handle) = self.new_places(segment, victims) else { return Ok(Moved::NoRoom) };
            self.copy_slices(segment, handle.segment(), victims).await?;
            segment.runs = merged(segment, handle.segment(), victims);
            handles.push(handle);
        }
        if handles.is_empty() {
            return Ok(Moved::Skipped);
        }
        if !self.geometry.planted.is(Bug::MoveUnflushed) {
            let sets = self.state.borrow().space.sets.places_of(&put.segments);
            self.writer.flush_slices(sets.all()).await.map_err(|error| self.stopped_by(&error))?;
        }
        // 4. Write the record anew.
        put.change += 1;
        let mutation = Mutation::Put(put);
        let record = EncodedRecord::new(&mutation, generation, 0, Vec::new());
        if record.length() > RECORD_BYTES_MAX {
            return Ok(Moved::Skipped);
        }
        self.queue(mutation, record, guard, Holds::from(handles)).await?;
        reached(Rare::SliceMoved);
        Ok(Moved::Done)
    }

    /// Reads the record of an object, from one copy after the other until one is whole.
    async fn read_put(&self, of: (BucketId, &[u8]), (entry, log_number): (&Entry, u64)) -> Result<PutV1> {
        let place = (entry.location.extent, entry.location.offset, entry.record_length);
        self.any_copy(place.0, async |home| {
            let (buffer, start) = self.read_record(place, home).await?;
            self.put_of(of, (entry, log_number), &buffer[start..]).map(|(put, _)| put)
        })
        .await
    }

    /// Does something with one copy of a set after the other, by the places of their homes, until one is
    /// whole.
    ///
    /// # Errors
    /// Returns the error of the first copy when none is whole, or an error that no other copy would mend.
    ///
    /// # Panics
    /// Panics when no copy of the set can be reached.
    pub(super) async fn any_copy<T>(&self, set: u32, read: impl AsyncFn(usize) -> Result<T>) -> Result<T> {
        let (place, mut first) = (self.place(set), None);
        for copy in self.writer.drives.copies(place) {
            match read(copy.at).await {
                Err(error) if error.is_of_copy() => drop(first.get_or_insert(error)),
                read => return read,
            }
        }
        Err(first.unwrap_or_else(|| panic!("no drive of {place:?} is here")))
    }

    /// Reads the blocks of the record with this extent, offset and length, of the copy on a home. Returns
    /// them, and the offset at which the record begins.
    ///
    /// # Errors
    /// Returns [`EngineError::ReadFailed`] when the device fails.
    pub(super) async fn read_record(&self, place: (u32, u32, u32), home: usize) -> Result<(Buffer, usize)> {
        let (set, offset, length) = place;
        let copy = self.writer.drives.copy(self.place(set), home);
        let first = offset - offset % BLOCK_BYTES as u32;
        let length = blocks_covering(offset, length) as usize * BLOCK_BYTES;
        let read = copy.read_step(&self.pool, first, length).await;
        Ok((read.map_err(EngineError::read_failed)?, (offset - first) as usize))
    }

    /// Decodes the record at the start of `bytes` and checks that it is the one of this object.
    ///
    /// # Errors
    /// Returns [`EngineError::Damaged`] when it is not.
    pub(super) fn put_of<'a>(
        &self,
        (bucket, key): (BucketId, &[u8]),
        (entry, log_number): (&Entry, u64),
        bytes: &'a [u8],
    ) -> Result<(PutV1, RecordView<'a>)> {
        let (at, offset) = (self.place(entry.location.extent), entry.location.offset);
        let damaged = |what| EngineError::Damaged { what, extent: at.extent(), offset };
        let mark = self.geometry.record_mark(self.id, LogSet { place: at, log_number }, offset);
        let (view, put) = RecordView::of_put(bytes, mark).map_err(damaged)?;
        let numbers = (put.generation, put.change) == (entry.generation, entry.change);
        let own = put.bucket == bucket.0 && put.key == key && numbers;
        if own && put.segments == entry.segments && view.is_whole(&put) {
            Ok((put, view))
        } else {
            Err(damaged("record identity"))
        }
    }

    /// Decodes the record of metadata at the start of `bytes` and checks that it is the newest one of
    /// this version.
    ///
    /// # Errors
    /// Returns [`EngineError::Damaged`] when it is not.
    pub(super) fn meta_of<'a>(
        &self,
        (bucket, key): (BucketId, &[u8]),
        (entry, log_number): (&Entry, u64),
        bytes: &'a [u8],
    ) -> Result<(MetaV1, RecordView<'a>)> {
        let Some(place) = entry.meta else { panic!("the version has a record of metadata") };
        let log = LogSet { place: self.place(place.extent), log_number };
        let extent = log.place.extent();
        let damaged = |what| EngineError::Damaged { what, extent, offset: place.offset };
        let mark = self.geometry.record_mark(self.id, log, place.offset);
        let (view, meta) = RecordView::of_meta(bytes, mark).map_err(damaged)?;
        let numbers = (meta.generation, meta.change) == (entry.generation, place.change);
        if meta.bucket == bucket.0 && meta.key == key && numbers && !view.is_loss() {
            Ok((meta, view))
        } else {
            Err(damaged("metadata identity"))
        }
    }

    /// Allocates room for the slices of `segment` that lie in `victims`, or returns `None` when
    /// there is none.
    fn new_places(self: &Rc<Self>, segment: &SegmentV1, victims: &BTreeSet<u32>) -> Option<Reserved> {
        let mut state = self.state.borrow_mut();
        let mut taken = SegmentV1 { runs: Vec::new(), ..*segment };
        for run in runs_one_by_one(segment).filter(|run| victims.contains(&run.extent)) {
            let units = self.geometry.shape.run_units(&run, segment.length);
            let place = match run.slices {
                0 => state.space.slices.allocate_tail(units),
                _ => state.space.slices.allocate_full(1),
            };
            let Some(place) = place else {
                drop(state);
                drop(Reserved::new(self.clone(), taken));
                return None;
            };
            state.space.reserve(units);
            taken.runs.push(place);
        }
        drop(state);
        Some(Reserved::new(self.clone(), taken))
    }

    /// Copies the slices of `from` that lie in `victims` to the places of `to`, one after the
    /// other.
    async fn copy_slices(&self, from: &SegmentV1, to: &SegmentV1, victims: &BTreeSet<u32>) -> Result<()> {
        let moving = self.geometry.shape.slices_of(from).filter(|place| victims.contains(&place.extent));
        for (place, run) in moving.zip(&to.runs) {
            self.copy_slice(place, run, from.generation).await?;
        }
        Ok(())
    }

    /// Copies a slice, from one copy after the other until one is whole.
    async fn copy_slice(&self, from: SlicePlace, to: &RunV1, generation: u64) -> Result<()> {
        if self.geometry.shape.is_striped() {
            return self.copy_striped(from, to, generation).await;
        }
        self.any_copy(from.extent, async |home| self.copy_slice_of(home, from, to, generation).await).await
    }

    async fn copy_slice_of(&self, home: usize, from: SlicePlace, to: &RunV1, generation: u64) -> Result<()> {
        let (source, target) = (self.place(from.extent), self.place(to.extent));
        let (extent, offset) = (source.extent(), from.offset);
        let sources = ((self.id, &self.geometry), (&self.writer.drives, home, &self.pool));
        let mut pieces = SliceVerifier::new(sources.0, sources.1, (from, source), generation);
        loop {
            let mut piece = match pieces.next().await {
                Ok(Some(piece)) => piece,
                Ok(None) => return Ok(()),
                Err(SliceFlaw::Damaged(what)) => return Err(EngineError::Damaged { what, extent, offset }),
                Err(SliceFlaw::Device(error)) => return Err(EngineError::read_failed(error)),
            };
            let place = to.unit * UNIT_BYTES as u32;
            if let Some(header) = pieces.header().filter(|_| piece.offset == 0) {
                let header = header.moved_to(target.identity(), place);
                piece.buffer[..BLOCK_BYTES].copy_from_slice(header.as_bytes());
            }
            let to = (target, place + piece.offset);
            let mut writes = self.writer.write(to, piece.length, piece.buffer, Durability::Deferred);
            let written = writes.done().await;
            written.map_err(|error| self.stopped_by(&error))?;
            self.count(|counters| counters.relocated_bytes += piece.length as u64);
        }
    }

    /// Copies a slice of a striped set, made from parity where that is needed.
    async fn copy_striped(&self, from: SlicePlace, to: &RunV1, generation: u64) -> Result<()> {
        let (source, target) = (self.place(from.extent), self.place(to.extent));
        let slice = StripedSlice {
            shape: self.geometry.shape,
            owner: (self.geometry.format_id, self.id),
            place: from,
            at: source,
            generation,
            planted: self.geometry.planted,
        };
        let codec = self.codec.as_deref().unwrap_or_else(|| panic!("the node has striped sets"));
        let source = StripedSource::new(slice, &self.writer.drives, (&self.pool, codec));
        let place = SlicePlace { extent: to.extent, offset: to.unit * UNIT_BYTES as u32, ..from };
        let written = source.copy_to(place, target, &self.writer).await.map_err(|error| match error {
            CopyError::Source(SliceFlaw::Damaged(what)) => {
                EngineError::Damaged { what, extent: slice.at.extent(), offset: from.offset }
            }
            CopyError::Source(SliceFlaw::Device(error)) => EngineError::read_failed(error),
            CopyError::Target(error) => self.stopped_by(&error),
        })?;
        self.count(|counters| counters.relocated_bytes += written);
        Ok(())
    }

    /// Stops the shard's writing after a failed write (law 3), and returns the error for the
    /// caller.
    fn stopped_by(&self, error: &DeviceError) -> EngineError {
        tracing::error!(shard = self.id, %error, "moving slices failed; this shard writes no more until restart");
        self.stop_writing(error);
        EngineError::WritesStopped { shard: self.id }
    }
}

/// Keeps an object pinned while it is moved.
struct Pinned<'a> {
    shard: &'a Rc<Shard>,
    pins: Pins,
}

impl Drop for Pinned<'_> {
    fn drop(&mut self) {
        self.shard.unpin(self.pins);
    }
}

fn lies_in(segment: &SegmentV1, extents: &BTreeSet<u32>) -> bool {
    segment.runs.iter().any(|run| extents.contains(&run.extent))
}

/// Returns the runs of `segment`, with those in `victims` replaced by the places of `moved`.
fn merged(segment: &SegmentV1, moved: &SegmentV1, victims: &BTreeSet<u32>) -> Vec<RunV1> {
    let mut places = moved.runs.iter();
    coalesce(runs_one_by_one(segment).map(|run| match victims.contains(&run.extent) {
        true => *places.next().unwrap_or_else(|| panic!("a place for each slice that moves")),
        false => run,
    }))
}
