//! Opening a shard: checkpoint, log tail, accounting.
//!
//! Steps: (1) the root chunk and the chunks it names, each checked; (2) leaves into the index, and from them the point
//! table; (3) the log from the noted position, through the same `apply` as live; (4) what is allocated, derived
//! from the result; (5) a flush, since what was read may still have been in the device's cache.

use std::rc::Rc;

use super::entry::Entry;
use super::{Geometry, State};
use crate::device::{Device, DeviceError};
use crate::extent::run_units;
use crate::format::checkpoint::{
    CheckpointChunkOnDisk, CheckpointRootV1, ChunkPlaceV1, KIND_BUCKETS, KIND_LEAVES, KIND_UPLOADS,
};
use crate::format::record::{Mutation, SegmentV1, decode_buckets, decode_uploads};
use crate::format::superblock::{ROOT_CHECKPOINT, ROOT_LOG, ShardRootOnDisk};
use crate::format::{FormatDamage, blocks_up};
use crate::index::{OrderedIndex, Step, keys};
use crate::log::LogPosition;
use crate::log::replay::{Replay, ReplayError};
use crate::ring::Pool;
use crate::types::BucketId;

/// Why a shard can not be opened. Nothing was written.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RecoverError {
    #[error(
        "the checkpoint chunk in extent {extent} at {offset} is damaged: {damage}; restore the drive from a copy"
    )]
    Chunk { extent: u32, offset: u32, damage: FormatDamage },
    #[error("a leaf of the checkpoint is damaged: {0}; restore the drive from a copy")]
    Leaf(String),
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error("two objects claim the same space in extent {extent}; restore the drive from a copy")]
    Overlap { extent: u32 },
    #[error(
        "extent {extent} is named by an object but is no log extent of its shard; restore the drive from a copy"
    )]
    NoLog { extent: u32 },
    #[error("the superblock has no root for shard {0}; restore the drive from a copy")]
    NoRoot(u16),
}

/// What recovery reads with.
pub struct Source<'a> {
    pub shard: u16,
    pub geometry: &'a Geometry,
    pub device: &'a Rc<dyn Device>,
    pub pool: &'a Pool,
}

/// A recovered shard: its state, where its log goes on, and how many records were replayed.
pub struct Recovered {
    pub state: State,
    pub position: LogPosition,
    pub replayed: u64,
}

impl Source<'_> {
    /// Recovers from `root`.
    ///
    /// # Errors
    /// When something durable is damaged or unreadable.
    pub async fn recover(&self, root: ShardRootOnDisk) -> Result<Recovered, RecoverError> {
        let mut state = State::new(*self.geometry);
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
            ROOT_CHECKPOINT => self.load(&mut state, root).await?,
            _ => return Err(RecoverError::NoRoot(self.shard)),
        };
        let mut replay = Replay {
            device: self.device,
            pool: self.pool,
            geometry: self.geometry,
            shard: self.shard,
            position: start,
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
        account(&mut state)?;
        self.device.flush().await?;
        Ok(Recovered { state, position, replayed })
    }

    async fn load(&self, state: &mut State, place: ShardRootOnDisk) -> Result<LogPosition, RecoverError> {
        let (extent, offset) = (place.extent.get(), place.offset.get());
        let damage = |damage| RecoverError::Chunk { extent, offset, damage };
        let named =
            ChunkPlaceV1 { extent, offset, length: place.length.get(), crc: place.crc.get(), kind: 0 };
        let root = CheckpointRootV1::decode(&self.chunk(&named).await?).map_err(damage)?;
        let (mut uploads, mut buckets) = (Vec::new(), Vec::new());
        state.points.reserve(root.objects as usize);
        for named in &root.chunks {
            let payload = self.chunk(named).await?;
            match named.kind {
                KIND_UPLOADS => uploads.extend(payload),
                KIND_BUCKETS => buckets.extend(payload),
                KIND_LEAVES => load_leaves(&mut state.index, &payload)?,
                _ => return Err(damage(FormatDamage::Field("chunk kind"))),
            }
        }
        for upload in decode_uploads(&uploads).map_err(damage)? {
            let key = (upload.bucket, upload.key.clone(), upload.id);
            let parts = upload.parts.into_iter().map(|part| (part.info.number, part)).collect();
            let (initiated_ms, attributes) = (upload.initiated_ms, upload.attributes);
            state.uploads.insert(key, super::Upload { initiated_ms, attributes, parts });
        }
        state.buckets =
            decode_buckets(&buckets).map_err(damage)?.into_iter().map(|bucket| (bucket.id, bucket)).collect();
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

fn load_leaves(index: &mut OrderedIndex, mut payload: &[u8]) -> Result<(), RecoverError> {
    while let Some((length, rest)) = payload.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let leaf = rest.get(..length).ok_or_else(|| RecoverError::Leaf("a leaf is cut off".to_owned()))?;
        index.load_leaf(leaf).map_err(|error| RecoverError::Leaf(error.to_string()))?;
        payload = &rest[length..];
    }
    Ok(())
}

/// Gets bucket, key and entry.
type EachEntry<'a> = &'a mut dyn FnMut(u32, &[u8], Entry) -> Result<(), RecoverError>;

/// Calls `each` for every entry; stops at the first error.
fn for_each_entry(index: &OrderedIndex, each: EachEntry<'_>) -> Result<(), RecoverError> {
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

/// Step 4: live bytes of the log's extents, and used slices.
fn account(state: &mut State) -> Result<(), RecoverError> {
    let State { index, logs, slices, uploads, .. } = state;
    let mut claim = |segment: &SegmentV1| {
        for run in &segment.runs {
            if !slices.claim(run, run_units(run, segment.length)) {
                return Err(RecoverError::Overlap { extent: run.extent });
            }
        }
        Ok(())
    };
    for_each_entry(index, &mut |_, _, entry| {
        if !logs.contains(entry.location.extent) {
            return Err(RecoverError::NoLog { extent: entry.location.extent });
        }
        logs.gain(entry.location.extent, entry.record_length);
        entry.segments.iter().try_for_each(&mut claim)
    })?;
    uploads.values().flat_map(|upload| upload.parts.values()).try_for_each(|part| claim(&part.segment))
}
