//! Opening a shard: checkpoint, log tail, accounting.
//!
//! Steps: (1) the root chunk and the chunks it names, each checked; (2) leaves into the index, and from them the point
//! table; (3) the log from the noted position, through the same `apply` as live; (4) what is allocated, derived
//! from the result; (5) a flush, since what was read may still have been in the device's cache.
//!
//! A server ends at the first damage. `ringbolt check` goes on behind it ([`Source::salvage`]): what is left is then a
//! shard without what was damaged, and the list says what that was.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;

use super::entry::Entry;
use super::{Geometry, State, UploadKey};
use crate::device::{Device, DeviceError};
use crate::extent::run_units;
use crate::format::checkpoint::{
    CheckpointChunkOnDisk, CheckpointRootV1, ChunkPlaceV1, KIND_BUCKETS, KIND_LEAVES, KIND_UPLOADS,
};
use crate::format::record::{Mutation, RunV1, SegmentV1, decode_buckets, decode_uploads};
use crate::format::superblock::{ROOT_CHECKPOINT, ROOT_LOG, ShardRootOnDisk};
use crate::format::{FormatDamage, blocks_up};
use crate::index::{OrderedIndex, Step, keys};
use crate::log::LogPosition;
use crate::log::replay::{Replay, ReplayError};
use crate::ring::Pool;
use crate::types::BucketId;

/// What a refusal says to do.
const ADVICE: &str = "run `ringbolt check` on the drive: it says what is lost and what can be saved";

/// Why a shard can not be opened; nothing was written. Those of a salvage say what it passed by.
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
    #[error("two objects claim the same space in extent {extent}; {ADVICE}")]
    Overlap { extent: u32, bucket: u32, key: Vec<u8> },
    #[error("extent {extent} is named by an object but is no log extent of its shard; {ADVICE}")]
    NoLog { extent: u32, bucket: u32, key: Vec<u8> },
    #[error("the superblock has no root for shard {0}; {ADVICE}")]
    NoRoot(u16),
    #[error("batches {from} up to {to} of the log in extent {extent} are lost", to = to - 1)]
    LostBatches { from: u64, to: u64, extent: u32 },
    /// The object is what the damaged record seems to be about.
    #[error("a record of the log in extent {extent} at {offset} is lost")]
    LostRecord { extent: u32, offset: u32, object: Option<(u32, Vec<u8>)> },
}

/// What recovery reads with.
pub struct Source<'a> {
    pub shard: u16,
    pub geometry: &'a Geometry,
    pub device: &'a Rc<dyn Device>,
    pub pool: &'a Pool,
    pub salvage: Option<&'a Salvage>,
}

/// Recovery that goes on behind damage.
#[derive(Default)]
pub struct Salvage {
    /// What was passed by, in the order in which it was met.
    pub found: RefCell<Vec<RecoverError>>,
    /// Objects to leave out, by bucket and key: those that are known to be unreadable.
    pub objects: HashSet<(u32, Vec<u8>)>,
    /// Uploads to leave out.
    pub uploads: HashSet<UploadKey>,
}

/// A recovered shard: its state, where its log goes on, and how many records were replayed.
pub struct Recovered {
    pub state: State,
    pub position: LogPosition,
    pub replayed: u64,
    /// Objects that the checkpoint counted.
    pub counted: Option<u64>,
}

impl Source<'_> {
    /// Recovers from `root`.
    ///
    /// # Errors
    /// When something durable is damaged or unreadable.
    pub async fn recover(&self, root: ShardRootOnDisk) -> Result<Recovered, RecoverError> {
        let mut state = State::new(*self.geometry);
        let mut counted = None;
        let start = match root.kind.get() {
            ROOT_LOG => {
                state.logs.add(root.extent.get(), 1, 0);
                LogPosition {
                    extent: root.extent.get(),
                    lap: 1,
                    offset: 0,
                    sequence: root.sequence.get(),
                    previous_crc: 0,
                }
            }
            ROOT_CHECKPOINT => self.load(&mut state, root, &mut counted).await?,
            _ => return Err(RecoverError::NoRoot(self.shard)),
        };
        let mut replay = Replay {
            device: self.device,
            pool: self.pool,
            geometry: self.geometry,
            shard: self.shard,
            position: start,
            salvage: self.salvage.map(|salvage| &salvage.found),
            last: start,
        };
        let mut replayed = 0;
        replay
            .run(|mutation, place| {
                replayed += 1;
                if let Mutation::LogExtent(next) = &mutation {
                    state.logs.add(next.extent, next.lap, 0);
                }
                state.apply(&mutation, place);
                let end = place.offset + place.length;
                state.logs.wrote(place.extent, blocks_up(end as usize) as u32);
            })
            .await?;
        let position = replay.position;
        if let Some(salvage) = self.salvage {
            // What is left is not what was counted.
            counted = counted.filter(|_| salvage.found.borrow().is_empty());
            salvage.objects.iter().for_each(|(bucket, key)| state.forget(*bucket, key));
            state.uploads.retain(|key, _| !salvage.uploads.contains(key));
        }
        self.account(&mut state)?;
        self.device.flush().await?;
        Ok(Recovered { state, position, replayed, counted })
    }

    /// The error itself, unless what is damaged is passed by.
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
        let (mut uploads, mut buckets) = (Vec::new(), Vec::new());
        state.points.reserve(root.objects as usize);
        for named in &root.chunks {
            let payload = match self.chunk(named).await {
                Ok(payload) => payload,
                Err(error) => {
                    self.tolerate(error)?;
                    continue;
                }
            };
            match named.kind {
                KIND_UPLOADS => uploads.extend(payload),
                KIND_BUCKETS => buckets.extend(payload),
                KIND_LEAVES => {
                    load_leaves(&mut state.index, &payload).or_else(|error| self.tolerate(error))?;
                }
                _ => return Err(damage(FormatDamage::Field("chunk kind"))),
            }
        }
        let uploads = decode_uploads(&uploads).map_err(damage);
        let uploads = uploads.or_else(|error| self.tolerate(error).map(|()| Vec::new()))?;
        for upload in uploads {
            let key = (upload.bucket, upload.key.clone(), upload.id);
            let parts = upload.parts.into_iter().map(|part| (part.info.number, part)).collect();
            let (initiated_ms, attributes) = (upload.initiated_ms, upload.attributes);
            state.uploads.insert(key, super::Upload { initiated_ms, attributes, parts });
        }
        let buckets = decode_buckets(&buckets).map_err(damage);
        let buckets = buckets.or_else(|error| self.tolerate(error).map(|()| Vec::new()))?;
        state.buckets = buckets.into_iter().map(|bucket| (bucket.id, bucket)).collect();
        state.next_bucket = root.next_bucket;
        fill_points(state)?;
        state.checkpoint_extents = root.extents;
        state.checkpoint_sequence = place.sequence.get();
        for log in &root.logs {
            state.logs.add(log.extent, log.lap, log.written);
        }
        let last = root.logs.last().ok_or(damage(FormatDamage::Field("logs")))?;
        Ok(LogPosition {
            extent: last.extent,
            lap: last.lap,
            offset: root.replay_offset,
            sequence: root.replay_sequence,
            previous_crc: root.replay_previous_crc,
        })
    }

    /// The root chunk of the checkpoint at `place`.
    ///
    /// # Errors
    /// When it is damaged.
    pub(super) async fn root(&self, place: ShardRootOnDisk) -> Result<CheckpointRootV1, RecoverError> {
        let (extent, offset) = (place.extent.get(), place.offset.get());
        let named =
            ChunkPlaceV1 { extent, offset, length: place.length.get(), crc: place.crc.get(), kind: 0 };
        CheckpointRootV1::decode(&self.chunk(&named).await?).map_err(|damage| RecoverError::Chunk {
            extent,
            offset,
            damage,
        })
    }

    /// Reads a chunk and checks it against what names it.
    async fn chunk(&self, named: &ChunkPlaceV1) -> Result<Vec<u8>, RecoverError> {
        let (extent, offset) = (named.extent, named.offset);
        let damaged = |damage| RecoverError::Chunk { extent, offset, damage };
        let length = blocks_up(named.length as usize);
        if extent >= self.geometry.extents || offset as usize + length > self.geometry.extent_bytes as usize {
            return Err(damaged(FormatDamage::Field("place")));
        }
        let buffer = self.pool.take_reserved(length).await;
        let (result, buffer) = self.device.read(self.geometry.byte(extent, offset), length, buffer).await;
        result?;
        let (header, payload) = CheckpointChunkOnDisk::parse(&buffer[..length]).map_err(damaged)?;
        if header.crc.get() != named.crc
            || header.shard.get() != self.shard
            || header.drive.get() != self.geometry.drive_id
        {
            return Err(damaged(FormatDamage::Field("identity")));
        }
        Ok(payload.to_vec())
    }
}

pub(crate) fn load_leaves(index: &mut OrderedIndex, mut payload: &[u8]) -> Result<(), RecoverError> {
    while let Some((length, rest)) = payload.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let leaf = rest.get(..length).ok_or_else(|| RecoverError::Leaf("a leaf is cut off".to_owned()))?;
        index.load_leaf(leaf).map_err(|error| RecoverError::Leaf(error.to_string()))?;
        payload = &rest[length..];
    }
    Ok(())
}

/// Gets bucket, key and entry.
pub(crate) type EachEntry<'a> = &'a mut dyn FnMut(u32, &[u8], Entry) -> Result<(), RecoverError>;

/// Calls `each` for every entry; stops at the first error.
pub(crate) fn for_each_entry(index: &OrderedIndex, each: EachEntry<'_>) -> Result<(), RecoverError> {
    let mut outcome = Ok(());
    index.visit(&[], &mut |composite, value| {
        let unreadable = || Err(RecoverError::Leaf("an entry is unreadable".to_owned()));
        outcome = match (keys::decode(composite), Entry::decode(value)) {
            (Some((bucket, key)), Some(entry)) => each(bucket, &key, entry),
            _ => unreadable(),
        };
        if outcome.is_ok() { Step::Continue } else { Step::Stop }
    });
    outcome
}

fn fill_points(state: &mut State) -> Result<(), RecoverError> {
    let State { index, points, geometry, .. } = state;
    for_each_entry(index, &mut |bucket, key, entry| {
        points.insert(geometry.hash(BucketId(bucket), key), entry.location.pack());
        Ok(())
    })
}

impl Source<'_> {
    /// Step 4: live bytes of the log's extents, and used slices.
    fn account(&self, state: &mut State) -> Result<(), RecoverError> {
        let State { index, logs, slices, uploads, runs, .. } = state;
        let mut claim = |segment: &SegmentV1, bucket: u32, key: &[u8]| {
            let refused = segment.runs.iter().find(|run| {
                run.extent >= self.geometry.extents || !slices.claim(run, run_units(run, segment.length))
            });
            if refused.is_none() {
                runs.add(segment);
            }
            let overlap =
                |run: &RunV1| RecoverError::Overlap { extent: run.extent, bucket, key: key.to_vec() };
            refused.map_or(Ok(()), |run| Err(overlap(run)))
        };
        let (mut objects, mut unfinished) = (Vec::new(), Vec::new());
        for_each_entry(index, &mut |bucket, key, entry| {
            let extent = entry.location.extent;
            let claimed = match logs.contains(extent) {
                true => entry.segments.iter().try_for_each(|segment| claim(segment, bucket, key)),
                false => Err(RecoverError::NoLog { extent, bucket, key: key.to_vec() }),
            };
            match claimed {
                Ok(()) => logs.gain(extent, entry.record_length),
                Err(error) => {
                    objects.push((bucket, key.to_vec()));
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
        unfinished.iter().for_each(|id| drop(uploads.remove(id)));
        objects.iter().for_each(|(bucket, key)| state.forget(*bucket, key));
        Ok(())
    }
}

impl State {
    /// Takes an object out of the index as if it had never been there.
    fn forget(&mut self, bucket: u32, key: &[u8]) {
        if let Some(entry) = self.entry(BucketId(bucket), key) {
            self.index.remove(&keys::encode(bucket, key));
            self.points.remove(self.geometry.hash(BucketId(bucket), key), entry.location.pack());
        }
    }
}
