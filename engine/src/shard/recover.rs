//! Recovery of a shard: its checkpoint, the tail of its log, its accounts.
//!
//! The steps, in order:
//!
//! 1. Read the root chunk and the chunks that it names, and check each.
//! 2. Load the leaves into the index, and fill the point table from them.
//! 3. Replay the log from the noted position, through the same `apply` as a live commit.
//! 4. Derive from the result what is allocated.
//! 5. Flush, since what was read may have been only in the device's cache.
//!
//! A server stops at the first damage. `ringbolt check` goes on behind it ([`Source::salvage`]).
//! The result is then a shard without what was damaged, and a list of that damage.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use super::accounts::Accounts;
use super::entry::Entry;
use super::settings::Settings;
use super::state::{State, UploadKey};
use crate::device::{Device, DeviceError};
use crate::extent::{Geometry, is_whole, run_units};
use crate::format::checkpoint::{
    CHUNK_BYTES_MAX, CheckpointChunkOnDisk, CheckpointRootV1, ChunkIdentity, ChunkListV1, ChunkPlaceV1,
    HEADER_BYTES, KIND_BUCKETS, KIND_LEAVES, KIND_LIST, KIND_LOGS, KIND_ROOT, KIND_UPLOADS, LogPlaceV1,
    decode_logs,
};
use crate::format::record::{Mutation, RunV1, SegmentV1, decode_buckets, decode_uploads};
use crate::format::slice::UNIT_BYTES;
use crate::format::superblock::{ROOT_CHECKPOINT, ROOT_LOG, ShardRootOnDisk};
use crate::format::{BLOCK_BYTES, FormatDamage, blocks_up};
use crate::index::{OrderedIndex, Step, keys};
use crate::log::LogPosition;
use crate::log::replay::{Replay, ReplayError};
use crate::ring::Pool;

/// Fewest bytes of a leaf that an object takes: its location, its ETag, and a byte for each number.
const ENTRY_BYTES_MIN: u64 = 32;
/// Limit above which a batch sequence number is refused as damage. No log ever has so many batches.
const SEQUENCE_MAX: u64 = 1 << 62;
/// The advice at the end of an error's text.
const ADVICE: &str = "run `ringbolt check` on the drive: it says what is lost and what can be saved";

/// The reason why a shard can not be opened. Nothing was written. The errors of a salvage tell what
/// it passed over.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RecoverError {
    #[error("the checkpoint chunk in extent {extent} at {offset} is damaged: {damage}; {ADVICE}")]
    Chunk { extent: u32, offset: u32, damage: FormatDamage },
    #[error("a leaf of the checkpoint is damaged: {0}; {ADVICE}")]
    Leaf(String),
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error("the space in extent {extent} is claimed twice, or by an object that does not fit it; {ADVICE}")]
    Overlap { extent: u32, bucket: u32, key: Vec<u8> },
    #[error("extent {extent} is named by an object but is no log extent of its shard; {ADVICE}")]
    NoLog { extent: u32, bucket: u32, key: Vec<u8> },
    #[error("extent {extent} of the log is named twice or is not there; {ADVICE}")]
    Log { extent: u32 },
    #[error(
        "the index needs more than {limit_bytes} bytes for this shard, all that its share of --memory allows; \
         raise --memory"
    )]
    Memory { limit_bytes: u64 },
    #[error("the superblock has no root for shard {0}; {ADVICE}")]
    NoRoot(u16),
}

/// The inputs of a recovery.
pub struct Source<'a> {
    pub shard: u16,
    pub geometry: &'a Geometry,
    pub settings: &'a Settings,
    pub device: &'a Rc<dyn Device>,
    pub pool: &'a Pool,
    /// The salvage that goes on behind damage; `None` to stop at the first damage.
    pub salvage: Option<&'a Salvage>,
}

/// The object or upload that damaged bytes belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A version of an object, by bucket, key and generation.
    Object {
        bucket: u32,
        key: Vec<u8>,
        generation: u64,
    },
    Upload(UploadKey),
}

/// The state of a recovery that goes on behind damage.
#[derive(Default)]
pub struct Salvage {
    /// The damage that was passed over, in the order in which it was met.
    pub found: RefCell<Vec<RecoverError>>,
    /// Versions to leave out, by bucket, key and generation, because they are known to be unreadable.
    pub objects: HashSet<(u32, Vec<u8>, u64)>,
    /// Uploads to leave out.
    pub uploads: HashSet<UploadKey>,
}

impl Salvage {
    /// Leaves out the owner of something that can not be read.
    pub(crate) fn leave_out(&mut self, owner: Owner) {
        match owner {
            Owner::Object { bucket, key, generation } => drop(self.objects.insert((bucket, key, generation))),
            Owner::Upload(id) => drop(self.uploads.insert(id)),
        }
    }
}

/// A recovered shard: its state, where its log goes on, and how many records were replayed.
pub struct Recovered {
    pub state: State,
    pub position: LogPosition,
    /// Number of records that were replayed from the log.
    pub replayed: u64,
    /// The number of objects in the checkpoint, as it was counted when it was written.
    pub counted: Option<u64>,
    /// Set when a single block leads to the end of the log; see [`Replay::by_copy`].
    pub by_copy: bool,
}

impl Source<'_> {
    /// Recovers a shard from `root`.
    ///
    /// # Errors
    /// Returns an error when something durable is damaged or can not be read.
    pub async fn recover(&self, root: ShardRootOnDisk) -> Result<Recovered, RecoverError> {
        let mut state = State::new(*self.geometry, *self.settings);
        let mut counted = None;
        let start = match root.kind.get() {
            ROOT_LOG => {
                self.add_log(&mut state, root.extent.get(), 1, 0)?;
                LogPosition {
                    extent: root.extent.get(),
                    log_number: 1,
                    offset: 0,
                    sequence: root.sequence.get(),
                    previous_crc: 0,
                }
            }
            ROOT_CHECKPOINT => self.load(&mut state, root, &mut counted).await?,
            _ => return Err(RecoverError::NoRoot(self.shard)),
        };
        let losses = RefCell::default();
        let mut replay = Replay {
            device: self.device,
            pool: self.pool,
            geometry: self.geometry,
            shard: self.shard,
            position: start,
            salvage: self.salvage.map(|_| &losses),
            last: start,
            by_copy: false,
            log_epoch: root.log_epoch.get(),
        };
        let mut replayed = 0;
        replay
            .run(|mutation, place| {
                replayed += 1;
                if let Mutation::LogExtent(next) = &mutation {
                    self.add_log(&mut state, next.extent, next.log_number, 0)
                        .map_err(|_| FormatDamage::Field("log extent"))?;
                }
                state.apply(&mutation, place);
                let end = place.offset + place.length;
                state.space.logs.wrote(place.extent, blocks_up(end as usize) as u32);
                Ok(())
            })
            .await?;
        let (position, by_copy) = (replay.position, replay.by_copy);
        for loss in losses.into_inner() {
            self.tolerate(loss.into())?;
        }
        check_memory(&state)?;
        if let Some(salvage) = self.salvage {
            // After damage the state has not what was counted.
            let damaged = !salvage.found.borrow().is_empty();
            counted = counted.filter(|_| !damaged);
            if damaged {
                mend_nulls(&mut state);
            }
            for (bucket, key, generation) in &salvage.objects {
                state.forget(*bucket, key, *generation);
            }
            salvage.uploads.iter().for_each(|key| drop(state.remove_upload(key)));
        }
        self.account(&mut state)?;
        self.device.flush().await?;
        Ok(Recovered { state, position, replayed, counted, by_copy })
    }

    /// Adds a log extent, and refuses one that is already there.
    fn add_log(
        &self,
        state: &mut State,
        extent: u32,
        log_number: u64,
        written: u32,
    ) -> Result<(), RecoverError> {
        if extent >= self.geometry.extents || state.space.logs.contains(extent) {
            return Err(RecoverError::Log { extent });
        }
        state.space.logs.add(extent, log_number, written.min(self.geometry.extent_bytes));
        Ok(())
    }

    /// Returns the error or, in a salvage, notes it and passes over the damage.
    fn tolerate(&self, error: RecoverError) -> Result<(), RecoverError> {
        let Some(salvage) = self.salvage else { return Err(error) };
        salvage.found.borrow_mut().push(error);
        Ok(())
    }

    async fn load(
        &self,
        state: &mut State,
        place: ShardRootOnDisk,
        counted: &mut Option<u64>,
    ) -> Result<LogPosition, RecoverError> {
        let damage =
            |damage| RecoverError::Chunk { extent: place.extent.get(), offset: place.offset.get(), damage };
        let root = self.root(place).await?;
        *counted = Some(root.objects);
        let chunks = self.named_chunks(&root, place.sequence.get()).await?;
        let bytes: u64 = chunks.iter().map(|(_, chunk)| u64::from(chunk.length)).sum();
        state.points.reserve(root.objects.min(bytes / ENTRY_BYTES_MIN) as usize);
        let mut logs = Vec::new();
        for (number, named) in chunks {
            let loaded = match self.chunk(&named, place.sequence.get(), Some(number)).await {
                Ok(payload) => load_chunk(state, &mut logs, &named, &payload),
                Err(error) => Err(error),
            };
            loaded.or_else(|error| self.tolerate(error))?;
            check_memory(state)?;
        }
        state.next_bucket = state.next_bucket.max(root.next_bucket);
        if !state.fill_from_leaves() {
            return Err(RecoverError::Leaf("an entry is unreadable".to_owned()));
        }
        state.space.checkpoint_extents = root.extents;
        state.space.checkpoint_sequence = place.sequence.get();
        for log in logs.iter().chain(&root.logs) {
            self.add_log(state, log.extent, log.log_number, log.written)?;
        }
        let last = root.logs.last().ok_or(damage(FormatDamage::Field("logs")))?;
        let offset = root.replay_offset;
        if !(offset as usize).is_multiple_of(BLOCK_BYTES) || offset >= self.geometry.extent_bytes {
            return Err(damage(FormatDamage::Field("replay_offset")));
        }
        if root.replay_sequence > SEQUENCE_MAX {
            return Err(damage(FormatDamage::Field("replay_sequence")));
        }
        Ok(LogPosition {
            extent: last.extent,
            log_number: last.log_number,
            offset: root.replay_offset,
            sequence: root.replay_sequence,
            previous_crc: root.replay_previous_crc,
        })
    }

    /// Reads the root chunk of the checkpoint at `place`.
    ///
    /// # Errors
    /// Returns an error when the chunk is damaged or can not be read.
    pub(super) async fn root(&self, place: ShardRootOnDisk) -> Result<CheckpointRootV1, RecoverError> {
        let (extent, offset) = (place.extent.get(), place.offset.get());
        let named =
            ChunkPlaceV1 { extent, offset, length: place.length.get(), crc: place.crc.get(), kind: 0 };
        let payload = self.chunk(&named, place.sequence.get(), None).await?;
        CheckpointRootV1::decode(&payload).map_err(|damage| RecoverError::Chunk { extent, offset, damage })
    }

    /// Returns the chunks that a root names, itself or through its lists, each with its number.
    ///
    /// # Errors
    /// Returns an error when a list is damaged, except in a salvage.
    pub(super) async fn named_chunks(
        &self,
        root: &CheckpointRootV1,
        sequence: u64,
    ) -> Result<Vec<(u32, ChunkPlaceV1)>, RecoverError> {
        let mut chunks = Vec::new();
        for (number, named) in (0..).zip(&root.lists) {
            let (extent, offset) = (named.extent, named.offset);
            let damaged = |damage| RecoverError::Chunk { extent, offset, damage };
            let list = match self.chunk(named, sequence, Some(number)).await {
                Ok(payload) if named.kind == KIND_LIST => ChunkListV1::decode(&payload).map_err(damaged),
                Ok(_) => Err(damaged(FormatDamage::Field("chunk kind"))),
                Err(error) => Err(error),
            };
            match list {
                Ok(list) => chunks.extend(list.numbered()),
                Err(error) => self.tolerate(error)?,
            }
        }
        chunks.extend(root.rest.numbered());
        Ok(chunks)
    }

    /// Reads a chunk of checkpoint `sequence` and checks it against its reference. `number` is the
    /// chunk's own number, so that none is named twice, or `None` for the root.
    ///
    /// # Errors
    /// Returns [`RecoverError::Chunk`] when the chunk is damaged or not what the reference says, or
    /// the device's error.
    pub(super) async fn chunk(
        &self,
        named: &ChunkPlaceV1,
        sequence: u64,
        number: Option<u32>,
    ) -> Result<Vec<u8>, RecoverError> {
        let (extent, offset) = (named.extent, named.offset);
        let damaged = |damage| RecoverError::Chunk { extent, offset, damage };
        let length = blocks_up(named.length as usize);
        let aligned = (offset as usize).is_multiple_of(BLOCK_BYTES);
        if !aligned
            || !(HEADER_BYTES..=CHUNK_BYTES_MAX).contains(&(named.length as usize))
            || extent >= self.geometry.extents
            || offset as usize + length > self.geometry.extent_bytes as usize
        {
            return Err(damaged(FormatDamage::Field("place")));
        }
        let buffer = self.read(extent, offset, length).await?;
        let (header, payload) = CheckpointChunkOnDisk::parse(&buffer[..length]).map_err(damaged)?;
        // The root comes last, so its number is the count of the chunks before it.
        let (number, kind) = match number {
            Some(number) => (number, named.kind),
            None => (header.number.get(), KIND_ROOT),
        };
        let (drive, shard) = (self.geometry.drive_id, self.shard);
        let expected = ChunkIdentity { drive, shard, sequence, number, kind, extent, offset };
        if header.identity() != expected || header.crc.get() != named.crc {
            return Err(damaged(FormatDamage::Elsewhere));
        }
        Ok(payload.to_vec())
    }
}

/// Loads what a chunk holds into the state or into `logs`.
fn load_chunk(
    state: &mut State,
    logs: &mut Vec<LogPlaceV1>,
    named: &ChunkPlaceV1,
    payload: &[u8],
) -> Result<(), RecoverError> {
    let (extent, offset) = (named.extent, named.offset);
    let damaged = |damage| RecoverError::Chunk { extent, offset, damage };
    match named.kind {
        KIND_UPLOADS => {
            decode_uploads(payload).map_err(damaged)?.into_iter().for_each(|piece| state.load_upload(piece));
        }
        KIND_BUCKETS => {
            let buckets = decode_buckets(payload).map_err(damaged)?;
            buckets.into_iter().for_each(|bucket| state.put_bucket(bucket));
        }
        KIND_LOGS => logs.extend(decode_logs(payload).map_err(damaged)?),
        KIND_LEAVES => load_leaves(&mut state.index, payload)?,
        _ => return Err(damaged(FormatDamage::Field("chunk kind"))),
    }
    Ok(())
}

/// Loads encoded leaves, each behind its length, into the index.
///
/// # Errors
/// Returns [`RecoverError::Leaf`] when a leaf is damaged or cut off.
pub(crate) fn load_leaves(index: &mut OrderedIndex, mut payload: &[u8]) -> Result<(), RecoverError> {
    while let Some((length, rest)) = payload.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let leaf = rest.get(..length).ok_or_else(|| RecoverError::Leaf("a leaf is cut off".to_owned()))?;
        index.load_leaf(leaf).map_err(|error| RecoverError::Leaf(error.to_string()))?;
        payload = &rest[length..];
    }
    if payload.is_empty() { Ok(()) } else { Err(RecoverError::Leaf("a leaf's length is cut off".to_owned())) }
}

/// Checks the memory of the index. The limit is a quarter above that for writing, because recovery
/// may pack the index a little worse and must still open what was stored.
fn check_memory(state: &State) -> Result<(), RecoverError> {
    let limit_bytes = state.settings.index_bytes_max.saturating_add(state.settings.index_bytes_max / 4);
    if state.index_bytes() > limit_bytes { Err(RecoverError::Memory { limit_bytes }) } else { Ok(()) }
}

fn decode(composite: &[u8], value: &[u8]) -> Option<(u32, Vec<u8>, Entry)> {
    let (bucket, key, generation) = keys::decode(composite)?;
    Some((bucket, key, Entry::decode(generation, value)?))
}

/// A callback that gets bucket, key and entry.
pub(crate) type EachEntry<'a> = &'a mut dyn FnMut(u32, &[u8], Entry) -> Result<(), RecoverError>;

/// Calls `each` for every entry and stops at the first error.
///
/// # Errors
/// Returns the first error of `each`, or [`RecoverError::Leaf`] when an entry can not be decoded.
pub(crate) fn for_each_entry(index: &OrderedIndex, each: EachEntry<'_>) -> Result<(), RecoverError> {
    let mut outcome = Ok(());
    index.visit(&[], &mut |composite, value| {
        let unreadable = || Err(RecoverError::Leaf("an entry is unreadable".to_owned()));
        outcome = match decode(composite, value) {
            Some((bucket, key, entry)) => each(bucket, &key, entry),
            None => unreadable(),
        };
        if outcome.is_ok() { Step::Continue } else { Step::Stop }
    });
    outcome
}

/// Calls `each` for the objects from `start` on until it returns false, and returns the composite
/// key to continue from. An entry that can not be decoded is skipped: no reader could use it
/// either.
pub(crate) fn for_each_entry_from(
    index: &OrderedIndex,
    start: &[u8],
    each: &mut dyn FnMut(u32, &[u8], Entry) -> bool,
) -> Option<Vec<u8>> {
    let mut next = None;
    index.visit(start, &mut |composite, value| {
        let goes_on = match decode(composite, value) {
            Some((bucket, key, entry)) => each(bucket, &key, entry),
            None => true,
        };
        if goes_on {
            return Step::Continue;
        }
        // This is the smallest key behind the current one.
        next = Some([composite, &[0]].concat());
        Step::Stop
    });
    next
}

/// Makes the newest version of every key name the key's null version, after records were lost.
fn mend_nulls(state: &mut State) {
    let mut keys_found: Vec<(u32, Vec<u8>)> = Vec::new();
    state.index.visit(&[], &mut |composite, _| {
        keys_found.extend(keys::decode(composite).map(|(bucket, key, _)| (bucket, key)));
        Step::Continue
    });
    keys_found.dedup();
    keys_found.iter().for_each(|(bucket, key)| state.mend_null(*bucket, key));
}

impl Source<'_> {
    /// Does step 4: counts the live bytes of the log's extents, and claims the used slices.
    fn account(&self, state: &mut State) -> Result<(), RecoverError> {
        let State { index, uploads, space: Accounts { logs, slices, runs, .. }, .. } = state;
        let geometry = self.geometry;
        let units_per_extent = geometry.extent_bytes / UNIT_BYTES as u32;
        let mut claim = |segment: &SegmentV1, bucket: u32, key: &[u8]| {
            let overlap = |extent: u32| RecoverError::Overlap { extent, bucket, key: key.to_vec() };
            if !is_whole(segment, geometry.extents, units_per_extent) {
                return Err(overlap(segment.runs.first().map_or(0, |run| run.extent)));
            }
            let refused = |run: &&RunV1| !slices.claim(run, run_units(run, segment.length));
            if let Some(run) = segment.runs.iter().find(refused) {
                return Err(overlap(run.extent));
            }
            runs.add(segment);
            Ok(())
        };
        let (mut objects, mut unfinished) = (Vec::new(), Vec::new());
        for_each_entry(index, &mut |bucket, key, entry| {
            let extent = entry.location.extent;
            let meta = entry.meta.map(|meta| (meta.extent, meta.record_length));
            let known = logs.contains(extent) && meta.is_none_or(|(extent, _)| logs.contains(extent));
            let claimed = match known && entry.is_possible(geometry.extent_bytes) {
                true => entry.segments.iter().try_for_each(|segment| claim(segment, bucket, key)),
                false => Err(RecoverError::NoLog { extent, bucket, key: key.to_vec() }),
            };
            match claimed {
                Ok(()) => {
                    logs.gain(extent, entry.record_length);
                    meta.into_iter().for_each(|(extent, length)| logs.gain(extent, length));
                }
                Err(error) => {
                    objects.push((bucket, key.to_vec(), entry.generation));
                    self.tolerate(error)?;
                }
            }
            Ok(())
        })?;
        for (id, upload) in uploads.iter() {
            let claimed = upload.parts.values().try_for_each(|part| claim(&part.segment, id.0, &id.1));
            if let Err(error) = claimed {
                unfinished.push(id.clone());
                self.tolerate(error)?;
            }
        }
        unfinished.iter().for_each(|id| drop(state.remove_upload(id)));
        for (bucket, key, generation) in &objects {
            state.forget(*bucket, key, *generation);
        }
        Ok(())
    }
}
