//! Reads everything that a recovered shard names, in the order of its sets, for `ringbolt check`.
//!
//! Invariants:
//! - What is refused here is what a GET would refuse, by the same checksums and identities.
//! - Memory: 32 bytes a record, 24 a slice, and a list of what is damaged.

use std::collections::HashMap;

use super::entry::{Entry, MetaPlace};
use super::recover::{Owner, RecoverError, Source, for_each_entry};
use super::slice_verifier::{SliceFlaw, SliceVerifier};
use super::state::State;
use super::striped::{StripedSlice, StripedSource};
use crate::device::DeviceError;
use crate::extent::sets::KIND_SLICES;
use crate::extent::{LogSet, SetPlace, SlicePlace};
use crate::format::record::{
    ENVELOPE_BYTES, FLAG_LOST, META_KIND, PUT_KIND, RecordEnvelopeOnDisk, RecordView, SegmentV1,
};
use crate::format::slice::UNIT_BYTES;
use crate::format::{BLOCK_BYTES, blocks_up};
use crate::ring::arena::CHUNK_BYTES;
use crate::stripe::ReedSolomon;
use crate::types::BucketId;
use zerocopy::FromBytes;

/// Records up to this length, in bytes, are read whole even when only their heads are asked for.
const HEAD_BYTES: u32 = 2 * BLOCK_BYTES as u32;
/// A gap between two records of at most this many bytes is read too, instead of reading twice.
const GAP_BYTES: u32 = 64 << 10;

/// Damage that keeps something from being served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    pub owner: Owner,
    /// The part that is damaged.
    pub what: &'static str,
    pub extent: u32,
    pub offset: u32,
    /// The home whose copy is damaged, by its place among the drives.
    pub home: usize,
}

/// The damage that a verification found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flaws {
    /// No copy of it is whole.
    pub lost: Vec<Flaw>,
    /// Another copy is whole.
    pub mendable: Vec<Flaw>,
}

/// The progress of a verification.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    pub done_bytes: u64,
    pub total_bytes: u64,
}

#[derive(Clone, Copy)]
struct RecordToRead {
    set: u32,
    offset: u32,
    length: u32,
    generation: u64,
    mark: u32,
    /// The record holds metadata of a version, and not the version itself.
    is_meta: bool,
}

struct SliceToRead {
    place: SlicePlace,
    generation: u64,
}

impl RecordToRead {
    fn wanted(&self, deep: bool) -> u32 {
        if deep || self.length <= HEAD_BYTES { self.length } else { ENVELOPE_BYTES as u32 }
    }
}

/// The damage that was found, by set and offset.
type Bad = HashMap<(u32, u32), &'static str>;

impl Source<'_> {
    /// Reads every copy of the record of every object and, if `deep`, also every byte of its data.
    /// Returns what is damaged.
    ///
    /// # Errors
    /// Returns an error when the device fails.
    pub async fn verify(
        &self,
        state: &State,
        deep: bool,
        progress: &mut dyn FnMut(Reading),
    ) -> Result<Flaws, RecoverError> {
        let mut nowhere = Bad::new();
        let records = self.records_of(state, &mut nowhere)?;
        let slices = if deep { self.slices_to_read(state, &mut nowhere)? } else { Vec::new() };
        let of_a_copy = records.iter().map(|record| u64::from(record.wanted(deep))).sum::<u64>()
            + slices.iter().map(|slice| u64::from(slice.place.length)).sum::<u64>();
        let homes = self.drives.count();
        let mut extent = Reading { total_bytes: of_a_copy * homes as u64, done_bytes: 0 };
        let mut bad_at = Vec::new();
        for home in 0..homes {
            let mut bad = Bad::new();
            let mut rest = records.as_slice();
            while !rest.is_empty() {
                let (window, behind) = rest.split_at(window_of(rest, deep));
                self.read_records((state, home), window, deep, &mut bad).await?;
                rest = behind;
                extent.done_bytes += window.iter().map(|record| u64::from(record.wanted(deep))).sum::<u64>();
                progress(extent);
            }
            let whole = if self.geometry.shape.is_striped() { &[] } else { slices.as_slice() };
            for slice in whole {
                let at = state.space.sets.place(slice.place.extent);
                if let Some(what) = self.read_slice(slice, at, home).await? {
                    bad.insert((slice.place.extent, slice.place.offset), what);
                }
                extent.done_bytes += u64::from(slice.place.length);
                progress(extent);
            }
            bad_at.push(bad);
        }
        if self.geometry.shape.is_striped() {
            bad_at.resize_with(self.drives.all().len(), Bad::new);
            for slice in &slices {
                self.judge_striped((state, slice), &mut bad_at, &mut nowhere).await?;
                extent.done_bytes += u64::from(slice.place.length) * homes as u64;
                progress(extent);
            }
        }
        // A set without a copy on a home was read from another one, with the same verdict.
        let is_striped = |place: &(u32, u32)| {
            self.geometry.shape.is_striped() && state.space.sets.is(place.0, KIND_SLICES)
        };
        // Damage of several members is none that counts where each row has enough of them.
        let everywhere = |place: &(u32, u32)| match is_striped(place) {
            true => nowhere.contains_key(place),
            false => bad_at[..homes].iter().all(|bad| bad.contains_key(place)),
        };
        let (lost, mendable): (Vec<_>, Vec<_>) = (0..bad_at.len())
            .flat_map(|home| bad_at[home].iter().map(move |(place, what)| (home, *place, *what)))
            .partition(|(_, place, _)| everywhere(place));
        nowhere.extend(lost.into_iter().rev().map(|(_, place, what)| (place, what)));
        let mut flaws = Flaws { lost: self.name(state, &nowhere, 0)?, mendable: Vec::new() };
        for home in 0..bad_at.len() {
            let of_home = mendable.iter().filter(|(other, ..)| *other == home);
            let bad = of_home.map(|(_, place, what)| (*place, *what)).collect();
            flaws.mendable.extend(self.name(state, &bad, home)?);
        }
        Ok(flaws)
    }

    fn fits(&self, offset: u32, length: u32) -> bool {
        u64::from(offset) + u64::from(length) <= u64::from(self.geometry.extent_bytes)
    }

    fn records_of(&self, state: &State, bad: &mut Bad) -> Result<Vec<RecordToRead>, RecoverError> {
        let mut records = Vec::with_capacity(state.objects() as usize);
        for_each_entry(&state.index, &mut |_, _, entry| {
            let generation = entry.generation;
            let own = (entry.location.extent, entry.location.offset, entry.record_length, false);
            let meta = entry.meta.map(|meta| (meta.extent, meta.offset, meta.record_length, true));
            for (set, offset, length, is_meta) in [own].into_iter().chain(meta) {
                match state.space.logs.number_of(set).filter(|_| self.fits(offset, length)) {
                    Some(log_number) => {
                        let log = LogSet { place: state.space.sets.place(set), log_number };
                        let mark = self.geometry.record_mark(self.shard, log, offset);
                        records.push(RecordToRead { set, offset, length, generation, mark, is_meta });
                    }
                    None => drop(bad.insert((set, offset), "record place")),
                }
            }
            Ok(())
        })?;
        records.sort_unstable_by_key(|record| (record.set, record.offset));
        Ok(records)
    }

    fn slices_to_read(&self, state: &State, bad: &mut Bad) -> Result<Vec<SliceToRead>, RecoverError> {
        let (mut slices, shape) = (Vec::new(), self.geometry.shape);
        for_each_segment(state, &mut |_, segment| {
            for place in shape.slices_of(segment) {
                let chunk = shape.chunk_bytes(place.length as usize) + BLOCK_BYTES;
                let fits = self.fits(place.offset, chunk as u32);
                if fits && state.space.slices.contains(place.extent) {
                    slices.push(SliceToRead { place, generation: segment.generation });
                } else {
                    bad.insert((place.extent, place.offset), "slice place");
                }
            }
        })?;
        slices.sort_unstable_by_key(|slice| (slice.place.extent, slice.place.offset));
        Ok(slices)
    }

    async fn read_records(
        &self,
        (state, home): (&State, usize),
        window: &[RecordToRead],
        deep: bool,
        bad: &mut Bad,
    ) -> Result<(), DeviceError> {
        let Some(first) = window.first() else { return Ok(()) };
        let start = first.offset - first.offset % BLOCK_BYTES as u32;
        let end = window.iter().map(|record| record.offset + record.wanted(deep)).max().unwrap_or(start);
        let length = blocks_up((end - start) as usize);
        let copy = self.drives.copy(state.space.sets.place(first.set), home);
        let buffer = copy.read_step(self.pool, start, length).await?;
        for record in window {
            let from = (record.offset - start) as usize;
            let bytes = &buffer[from..from + record.wanted(deep) as usize];
            let verdict = if record.wanted(deep) == record.length {
                whole_record(state, record, bytes)
            } else {
                head_of_record(record, bytes)
            };
            if let Err(what) = verdict {
                bad.insert((record.set, record.offset), what);
            }
        }
        Ok(())
    }

    /// Reads all members of a slice of a striped set, and notes which are damaged, and whether too few are whole.
    async fn judge_striped(
        &self,
        (state, slice): (&State, &SliceToRead),
        bad_at: &mut [Bad],
        nowhere: &mut Bad,
    ) -> Result<(), DeviceError> {
        let shape = self.geometry.shape;
        let codec = ReedSolomon::new(shape.data(), shape.parity());
        let codec = codec.unwrap_or_else(|| panic!("the superblock was checked"));
        let at = state.space.sets.place(slice.place.extent);
        let (owner, generation) = ((self.geometry.format_id, self.shard), slice.generation);
        let striped =
            StripedSlice { shape, owner, place: slice.place, at, generation, planted: self.geometry.planted };
        let source = StripedSource::new(striped, self.drives, (self.pool, &codec));
        let place = (slice.place.extent, slice.place.offset);
        for row in source.rows() {
            let mut whole = 0;
            for member in 0..shape.members() {
                let what = match source.judge(member, row).await {
                    None => continue,
                    Some(Ok(())) => {
                        whole += 1;
                        continue;
                    }
                    Some(Err(SliceFlaw::Damaged(what))) => what,
                    Some(Err(SliceFlaw::Device(error))) => return Err(error),
                };
                if let Some(copy) = striped.copy(self.drives, member) {
                    bad_at[copy.at].insert(place, what);
                }
            }
            if whole < shape.data() {
                nowhere.insert(place, "slice data of too many members");
            }
        }
        Ok(())
    }

    /// Reads a slice and returns what is wrong with it, if anything.
    async fn read_slice(
        &self,
        slice: &SliceToRead,
        at: SetPlace,
        home: usize,
    ) -> Result<Option<&'static str>, DeviceError> {
        let (own, from) = ((self.shard, self.geometry), (self.drives, home, self.pool));
        let mut pieces = SliceVerifier::new(own, from, (slice.place, at), slice.generation);
        loop {
            match pieces.next().await {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(None),
                Err(SliceFlaw::Damaged(what)) => return Ok(Some(what)),
                Err(SliceFlaw::Device(error)) => return Err(error),
            }
        }
    }
}

/// Returns how many of the next records are read together.
fn window_of(records: &[RecordToRead], deep: bool) -> usize {
    let first = records[0];
    let start = first.offset - first.offset % BLOCK_BYTES as u32;
    let mut end = first.offset + first.wanted(deep);
    let together = |record: &&RecordToRead| {
        let next = record.offset + record.wanted(deep);
        let fits = record.set == first.set
            && record.offset.saturating_sub(end) <= GAP_BYTES
            && blocks_up((next - start) as usize) <= CHUNK_BYTES;
        end = end.max(next);
        fits
    };
    1 + records[1..].iter().take_while(together).count()
}

fn whole_record(state: &State, record: &RecordToRead, bytes: &[u8]) -> Result<(), &'static str> {
    if record.is_meta {
        return whole_metadata(state, record, bytes);
    }
    let (view, put) = RecordView::of_put(bytes, record.mark)?;
    let entry = state.version(BucketId(put.bucket), &put.key, put.generation);
    let here = |entry: &Entry| entry.location.extent == record.set && entry.location.offset == record.offset;
    let Some(entry) = entry.filter(here) else { return Err("record identity") };
    let generation = view.envelope.generation.get();
    let same = generation == record.generation
        && put.change == entry.change
        && view.length() == record.length as usize;
    if same && view.is_whole(&put) { Ok(()) } else { Err("record generation") }
}

fn whole_metadata(state: &State, record: &RecordToRead, bytes: &[u8]) -> Result<(), &'static str> {
    let (view, meta) = RecordView::of_meta(bytes, record.mark)?;
    let entry = state.version(BucketId(meta.bucket), &meta.key, meta.generation);
    let here = |place: &MetaPlace| (place.extent, place.offset) == (record.set, record.offset);
    let Some(place) = entry.and_then(|entry| entry.meta).filter(here) else {
        return Err("metadata identity");
    };
    let same = meta.generation == record.generation
        && meta.change == place.change
        && view.length() == record.length as usize;
    if same && !view.is_loss() { Ok(()) } else { Err("metadata generation") }
}

fn head_of_record(record: &RecordToRead, bytes: &[u8]) -> Result<(), &'static str> {
    let (envelope, _) = RecordEnvelopeOnDisk::read_from_prefix(bytes).map_err(|_| "record")?;
    let length =
        ENVELOPE_BYTES as u64 + u64::from(envelope.meta_length.get()) + u64::from(envelope.data_length.get());
    let kind = if record.is_meta { META_KIND } else { PUT_KIND };
    let own = envelope.kind == kind
        && envelope.generation.get() == record.generation
        && length == u64::from(record.length)
        && envelope.flags.get() & FLAG_LOST == 0;
    if own { Ok(()) } else { Err("record generation") }
}

/// The extents that a shard owns, and the sums over them.
pub struct Census {
    /// Each set, with what it is used for.
    pub sets: Vec<(SetPlace, &'static str)>,
    /// Log extents with more live than written bytes, or with more written bytes than fit: extent,
    /// live bytes, written bytes.
    pub overfull: Vec<(u32, u64, u32)>,
    pub live_bytes: u64,
    pub dead_bytes: u64,
    pub owned_bytes: u64,
}

impl State {
    /// Counts what a shard owns. The shard must be newly recovered.
    pub fn census(&self, extent_bytes: u32) -> Census {
        let extent_of = |set: u32| self.space.sets.place(set).extent();
        let place_of = |set: u32| self.space.sets.place(set);
        let mut sets: Vec<(SetPlace, &'static str)> =
            self.space.logs.all().map(|set| (place_of(set), "log")).collect();
        sets.extend(self.space.slices.extents().map(|set| (place_of(set), "data")));
        sets.extend(self.space.checkpoint_sets.iter().map(|set| (place_of(*set), "checkpoint")));
        let too_much =
            |(_, live, written): &(u32, u64, u32)| *live > u64::from(*written) || *written > extent_bytes;
        let (log_live, log_dead) = self.space.logs.live_and_dead();
        // Of a striped set the data members count, and parity as copies do.
        let wider = (self.space.width() - 1) * self.space.slices.extent_count() as u64;
        let owned_bytes = (sets.len() as u64 + wider) * u64::from(extent_bytes);
        Census {
            overfull: self
                .space
                .logs
                .each()
                .filter(too_much)
                .map(|(set, live, written)| (extent_of(set), live, written))
                .collect(),
            live_bytes: log_live + self.space.slices.used_units() * self.space.width() * UNIT_BYTES as u64,
            dead_bytes: log_dead,
            owned_bytes,
            sets,
        }
    }
}

/// A callback that gets a segment, and a function that tells whose it is.
type EachSegment<'a> = &'a mut dyn FnMut(&dyn Fn() -> Owner, &SegmentV1);

/// Calls `each` for every segment of every object and upload.
fn for_each_segment(state: &State, each: EachSegment<'_>) -> Result<(), RecoverError> {
    for_each_entry(&state.index, &mut |bucket, key, entry| {
        let generation = entry.generation;
        let owner = || Owner::Object { bucket, key: key.to_vec(), generation };
        entry.segments.iter().for_each(|segment| each(&owner, segment));
        Ok(())
    })?;
    for (id, upload) in &state.uploads {
        let owner = || Owner::Upload(id.clone());
        upload.parts.values().for_each(|part| each(&owner, &part.segment));
    }
    Ok(())
}

impl Source<'_> {
    /// Finds the owners of the damaged places.
    fn name(&self, state: &State, bad: &Bad, home: usize) -> Result<Vec<Flaw>, RecoverError> {
        let mut flaws = Vec::new();
        if bad.is_empty() {
            return Ok(flaws);
        }
        // Where the set is not known, its number is all that can be said.
        let extent_of = |set: u32| {
            let known = state.space.sets.get(set);
            known.map_or(set, |(place, _)| self.drives.copy(place, home).extent)
        };
        for_each_entry(&state.index, &mut |bucket, key, entry| {
            let own = (entry.location.extent, entry.location.offset);
            let meta = entry.meta.map(|meta| (meta.extent, meta.offset));
            for (set, offset) in [own].into_iter().chain(meta) {
                if let Some(what) = bad.get(&(set, offset)) {
                    let extent = extent_of(set);
                    let owner = Owner::Object { bucket, key: key.to_vec(), generation: entry.generation };
                    flaws.push(Flaw { owner, what, extent, offset, home });
                }
            }
            Ok(())
        })?;
        for_each_segment(state, &mut |owner, segment| {
            for place in self.geometry.shape.slices_of(segment) {
                if let Some(what) = bad.get(&(place.extent, place.offset)) {
                    let (extent, offset) = (extent_of(place.extent), place.offset);
                    flaws.push(Flaw { owner: owner(), what, extent, offset, home });
                }
            }
        })?;
        Ok(flaws)
    }
}
