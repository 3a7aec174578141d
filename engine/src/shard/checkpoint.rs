//! Checkpoints: the index written out, so that recovery reads little log and freed space can be
//! used again.
//!
//! The steps, in order:
//!
//! 1. Note the log's position and what the log must keep.
//! 2. Write uploads, buckets and leaves while the shard goes on. The replay from the noted position
//!    brings them up to date.
//! 3. Write the root chunk.
//! 4. Flush.
//! 5. Install the root in the superblock, which flushes twice.
//! 6. Only then free the old checkpoint, the log extents that it alone needed, and the slices that
//!    were freed before the position.

use std::rc::Rc;

use super::clean::CHECKPOINT_GAIN;
use super::instance::Shard;
use super::maintenance::{Peak, Task};
use super::recover::{RecoverError, Source};
use crate::device::{DeviceError, Durability};
use crate::error::{EngineError, Result};
use crate::extent::allocator::{Class, Refusal};
use crate::format::checkpoint::{
    CHUNK_BYTES_MAX, CheckpointChunkOnDisk, CheckpointRootV1, ChunkIdentity, ChunkListV1, ChunkPlaceV1,
    HEADER_BYTES, KIND_BUCKETS, KIND_LEAVES, KIND_LIST, KIND_LOGS, KIND_ROOT, KIND_UPLOADS, LogPlaceV1,
    encode_logs,
};
use crate::format::record::{encode_buckets, encode_uploads};
use crate::format::superblock::{ROOT_CHECKPOINT, ShardRootOnDisk};
use crate::format::{Le16, Le32, Le64, blocks_up};
use crate::hook::{Bug, Rare, reached};
use crate::index::leaf;
use crate::log::{LogPosition, epoch_of};
use crate::sync::yield_now;

/// A shard writes a checkpoint when one in this many bytes of its share of the drive is freed and
/// waits.
const RELEASE_PART: u64 = 32;

/// Freed runs that are released before other tasks of the core may run.
const FREED_AT_ONCE: usize = 4096;

/// While puts wait for space, a checkpoint is written when it frees at least one byte for this many
/// bytes of the index.
pub(crate) const RECLAIMED_PART: u64 = 16;

/// The reason why a checkpoint was not finished. The old one stays in force.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error("no free extent for the checkpoint")]
    NoSpace,
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// A checkpoint that is being written.
struct Writer<'a> {
    shard: &'a Rc<Shard>,
    sequence: u64,
    extents: Vec<u32>,
    /// The next free byte of the last extent.
    offset: u32,
    /// The chunks that no list names yet.
    rest: ChunkListV1,
    lists: Vec<ChunkPlaceV1>,
    logs_bytes: usize,
    peak: Peak,
}

impl Shard {
    /// Starts a checkpoint in the background, unless one is wanted already.
    pub(super) fn start_checkpoint(self: &Rc<Self>) {
        if !self.checkpoints.want() {
            return;
        }
        let shard = self.clone();
        self.environment.spawn(Box::pin(async move {
            if let Err(error) = shard.checkpoint().await {
                tracing::warn!(shard = shard.id, %error, "a checkpoint was not finished; the old one stays");
            }
        }));
    }

    /// Writes a checkpoint now, after one that is being written has ended.
    ///
    /// # Errors
    /// Returns an error when there is no space or the device fails; the old checkpoint stays in
    /// force.
    pub async fn checkpoint(self: &Rc<Self>) -> std::result::Result<(), CheckpointError> {
        let _one = self.upkeep.turn(Task::Checkpoint).await;
        self.checkpoints.begin();
        if self.log.has_failed() {
            return Err(EngineError::WritesStopped { shard: self.id }.into());
        }
        let position = self.log.position();
        let since = self.log.take_since_checkpoint();
        let sequence = self.state.borrow().space.checkpoint_sequence + 1;
        if self.geometry.planted.is(Bug::ReuseSpaceEarly) {
            let early = std::mem::take(&mut self.state.borrow_mut().space.checkpoint_extents);
            self.surroundings.give_extents(early);
        }
        let mut writer = Writer::new(self, sequence);
        let written = writer.write(position).await;
        self.checkpoints.note_peak(writer.peak);
        match written {
            Ok((logs, installed)) => {
                self.count(|counters| counters.checkpoints += 1);
                self.checkpoints.install(installed);
                self.let_go(writer.extents, sequence, position, &logs).await;
                Ok(())
            }
            Err(error) => {
                reached(Rare::CheckpointFailed);
                self.log.restore_since_checkpoint(since);
                // No superblock names these extents. After a device error that is not known, since
                // the root may have been installed.
                match &error {
                    CheckpointError::NoSpace => self.surroundings.give_extents(writer.extents),
                    CheckpointError::Device(error) => {
                        tracing::error!(shard = self.id, %error, "writing a checkpoint failed; no more writes");
                        self.stop_writing(error);
                    }
                    CheckpointError::Engine(_) => {}
                }
                Err(error)
            }
        }
    }

    /// Returns where the root chunk of the checkpoint in force is, and the chunks that it names.
    /// Returns `None` when there is no checkpoint yet.
    ///
    /// # Errors
    /// Returns an error when the root chunk is damaged or can not be read.
    pub(crate) async fn checkpoint_in_force(
        &self,
    ) -> std::result::Result<Option<(ShardRootOnDisk, Vec<(u32, ChunkPlaceV1)>)>, RecoverError> {
        let _one = self.upkeep.turn(Task::Checkpoint).await;
        let Some(place) = self.checkpoints.root() else { return Ok(None) };
        let root = self.source().root(place).await?;
        let chunks = self.source().named_chunks(&root, place.sequence.get()).await?;
        Ok(Some((place, chunks)))
    }

    /// Reads one chunk of the checkpoint at `place` as recovery would. Returns false when that
    /// checkpoint is no longer in force.
    ///
    /// # Errors
    /// Returns an error when the chunk is damaged or can not be read.
    pub(crate) async fn verify_chunk(
        &self,
        place: ShardRootOnDisk,
        named: &ChunkPlaceV1,
        number: u32,
    ) -> std::result::Result<bool, RecoverError> {
        // The extents of a checkpoint are reused once another is in force.
        let _one = self.upkeep.turn(Task::Checkpoint).await;
        if self.checkpoints.root() != Some(place) {
            return Ok(false);
        }
        self.source().chunk(named, place.sequence.get(), Some(number)).await?;
        Ok(true)
    }

    fn source(&self) -> Source<'_> {
        Source {
            shard: self.id,
            geometry: &self.geometry,
            settings: &self.settings,
            device: &self.device,
            pool: &self.pool,
            salvage: None,
        }
    }

    /// Does step 6. Freed runs are released in groups because there may be very many of them.
    async fn let_go(
        self: &Rc<Self>,
        extents: Vec<u32>,
        sequence: u64,
        position: LogPosition,
        logs: &[LogPlaceV1],
    ) {
        {
            let mut state = self.state.borrow_mut();
            state.space.checkpoint_sequence = sequence;
            let mut gone = std::mem::replace(&mut state.space.checkpoint_extents, extents);
            let old = gone.len();
            gone.extend(state.space.logs.retire(logs));
            self.cleaner.keep_unreadable(|extent| state.space.logs.contains(extent));
            drop(state);
            self.upkeep.count_given_back(gone.len() - old);
            self.surroundings.give_extents(gone);
        }
        loop {
            let (empty, runs) = self.state.borrow_mut().space.release_freed(position.sequence, FREED_AT_ONCE);
            self.upkeep.count_given_back(runs);
            self.surroundings.give_extents(empty);
            self.hold_back();
            let space = self.space();
            assert!(space.adds_up(), "the space of shard {} does not add up: {space:?}", self.id);
            if runs < FREED_AT_ONCE {
                return;
            }
            yield_now().await;
        }
    }
}

impl<'a> Writer<'a> {
    fn new(shard: &'a Rc<Shard>, sequence: u64) -> Self {
        Self {
            shard,
            sequence,
            extents: Vec::new(),
            offset: 0,
            rest: ChunkListV1::default(),
            lists: Vec::new(),
            logs_bytes: 0,
            peak: Peak::default(),
        }
    }

    /// Writes the checkpoint. Returns the log extents that it names, and its root.
    async fn write(
        &mut self,
        position: LogPosition,
    ) -> std::result::Result<(Vec<LogPlaceV1>, ShardRootOnDisk), CheckpointError> {
        // 1. Note the position, and the state as of then that is not in leaves, uploads or buckets.
        let (logs, objects, next_bucket) = {
            let state = self.shard.state.borrow();
            (state.space.logs.needed(&position), state.objects(), state.next_bucket)
        };
        self.logs_bytes = size_of_val(logs.as_slice());
        self.note(0, self.logs_bytes);
        // 2. Write uploads and buckets, then leaves.
        self.write_uploads().await?;
        self.write_buckets().await?;
        self.write_leaves().await?;
        let beyond = logs.len().saturating_sub(self.shard.settings.checkpoint_cut.names);
        for group in logs[..beyond].chunks(self.shard.settings.checkpoint_cut.names) {
            self.write_chunk(KIND_LOGS, &encode_logs(&group.to_vec())).await?;
        }
        // 3. Write the root.
        let root = CheckpointRootV1 {
            lists: std::mem::take(&mut self.lists),
            rest: std::mem::take(&mut self.rest),
            extents: Vec::new(),
            logs: logs[beyond..].to_vec(),
            replay_offset: position.offset,
            replay_sequence: position.sequence,
            replay_previous_crc: position.previous_crc,
            objects,
            next_bucket,
        };
        let place = self.write_root(root).await?;
        // 4. Make all of it durable before anything names it.
        self.shard.flush.flush().await?;
        // 5. Put it in force.
        let installed = ShardRootOnDisk {
            shard: Le16::new(self.shard.id),
            kind: Le16::new(ROOT_CHECKPOINT),
            extent: Le32::new(place.extent),
            offset: Le32::new(place.offset),
            length: Le32::new(place.length),
            sequence: Le64::new(self.sequence),
            crc: Le32::new(place.crc),
            log_epoch: Le32::new(epoch_of(position.log_number)),
            ..ShardRootOnDisk::default()
        };
        self.shard.surroundings.install_root(installed).await??;
        Ok((logs, installed))
    }

    /// Returns the size of a piece of uploads or buckets in memory, bytes. In memory a piece takes
    /// at least its encoded size, except for its last item.
    fn piece_bytes(&self) -> u64 {
        self.shard.settings.checkpoint_cut.payload_bytes as u64 / 4
    }

    async fn write_uploads(&mut self) -> std::result::Result<(), CheckpointError> {
        let mut after = None;
        loop {
            let next = self.shard.state.borrow().uploads_after(after.as_ref(), self.piece_bytes());
            let Some((pieces, cursor)) = next else { return Ok(()) };
            self.write_chunk(KIND_UPLOADS, &encode_uploads(&pieces)).await?;
            after = Some(cursor);
        }
    }

    async fn write_buckets(&mut self) -> std::result::Result<(), CheckpointError> {
        let mut after = None;
        loop {
            let next = self.shard.state.borrow().buckets_after(after, self.piece_bytes());
            let Some(buckets) = next else { return Ok(()) };
            self.write_chunk(KIND_BUCKETS, &encode_buckets(&buckets)).await?;
            after = buckets.last().map(|bucket| bucket.id);
        }
    }

    async fn write_leaves(&mut self) -> std::result::Result<(), CheckpointError> {
        let most = self.shard.settings.checkpoint_cut.payload_bytes;
        let (mut payload, mut last_key): (Vec<u8>, Option<Vec<u8>>) = (Vec::with_capacity(most), None);
        loop {
            let room = {
                let state = self.shard.state.borrow();
                match state.index.leaf_after(last_key.as_deref()) {
                    None => break,
                    Some(encoded) if payload.len() + 4 + encoded.len() <= most || payload.is_empty() => {
                        payload.extend_from_slice(&(encoded.len() as u32).to_le_bytes());
                        payload.extend_from_slice(&encoded);
                        last_key = Some(leaf::last_key(&encoded));
                        true
                    }
                    Some(_) => false,
                }
            };
            if !room {
                self.write_chunk(KIND_LEAVES, &payload).await?;
                payload.clear();
            }
        }
        if !payload.is_empty() {
            self.write_chunk(KIND_LEAVES, &payload).await?;
        }
        Ok(())
    }

    /// Writes the root, which names all extents including its own. They are known only once there
    /// is room for the root.
    async fn write_root(
        &mut self,
        root: CheckpointRootV1,
    ) -> std::result::Result<ChunkPlaceV1, CheckpointError> {
        // The root itself may need one more extent, so room to name it is left.
        let needed = blocks_up(HEADER_BYTES + root.encode().len()) + blocks_up(4 * (self.extents.len() + 2));
        self.make_room(needed).await?;
        let number = root.rest.first + root.rest.chunks.len() as u32;
        let root = CheckpointRootV1 { extents: self.extents.clone(), ..root };
        let payload = root.encode();
        if HEADER_BYTES + payload.len() > CHUNK_BYTES_MAX {
            return Err(CheckpointError::NoSpace);
        }
        self.put_chunk(KIND_ROOT, number, &payload).await
    }

    async fn make_room(&mut self, bytes: usize) -> std::result::Result<(), CheckpointError> {
        let full = self.offset as usize + bytes > self.shard.geometry.extent_bytes as usize;
        if self.extents.is_empty() || full {
            let taken = self
                .shard
                .surroundings
                .take_extent(Class::System)
                .await
                .map_err(|_| CheckpointError::NoSpace)?;
            self.extents.push(taken.extent);
            self.offset = 0;
        }
        Ok(())
    }

    /// Writes a chunk that a list or the root names.
    async fn write_chunk(&mut self, kind: u16, payload: &[u8]) -> std::result::Result<(), CheckpointError> {
        let number = self.rest.first + self.rest.chunks.len() as u32;
        let place = self.put_chunk(kind, number, payload).await?;
        self.rest.chunks.push(place);
        if self.rest.chunks.len() >= self.shard.settings.checkpoint_cut.names {
            let next = ChunkListV1 { first: number + 1, chunks: Vec::new() };
            let full = std::mem::replace(&mut self.rest, next).encode();
            let list = self.put_chunk(KIND_LIST, self.lists.len() as u32, &full).await?;
            self.lists.push(list);
        }
        Ok(())
    }

    async fn put_chunk(
        &mut self,
        kind: u16,
        number: u32,
        payload: &[u8],
    ) -> std::result::Result<ChunkPlaceV1, CheckpointError> {
        let length = HEADER_BYTES + payload.len();
        let padded = blocks_up(length);
        self.note(payload.len() + padded, payload.len());
        self.make_room(padded).await?;
        let Some(&extent) = self.extents.last() else { return Err(CheckpointError::NoSpace) };
        let mut buffer = self.shard.pool.take_for_log(padded).await;
        buffer[HEADER_BYTES..length].copy_from_slice(payload);
        buffer[length..padded].fill(0);
        let identity = ChunkIdentity {
            drive: self.shard.geometry.drive_id,
            shard: self.shard.id,
            sequence: self.sequence,
            number,
            kind,
            extent,
            offset: self.offset,
        };
        let crc = CheckpointChunkOnDisk::seal_into(identity, payload.len(), &mut buffer[..padded]);
        let place = ChunkPlaceV1 { extent, offset: self.offset, length: length as u32, crc, kind };
        let at = self.shard.geometry.byte(extent, self.offset);
        self.shard.device.write(at, padded, buffer, Durability::Deferred).await.0?;
        self.shard.count(|counters| counters.checkpoint_bytes += padded as u64);
        self.offset += padded as u32;
        Ok(place)
    }

    /// Notes `bytes` that are held now, beside what names the written chunks, and a step of `step`
    /// bytes, for the peaks.
    fn note(&mut self, bytes: usize, step: usize) {
        let named = (self.rest.chunks.capacity() + self.lists.capacity()) * size_of::<ChunkPlaceV1>();
        let held = bytes + named + self.logs_bytes + size_of_val(self.extents.as_slice());
        self.peak.memory = self.peak.memory.max(held as u64);
        self.peak.step = self.peak.step.max(step as u64);
    }
}

impl Shard {
    /// Returns space to the drive: first what costs only a checkpoint, then what the cleaner frees
    /// by moving live records together. Returns false when nothing was worth the work.
    ///
    /// # Errors
    /// Returns an error when the log writes no more.
    pub async fn reclaim(self: &Rc<Self>, refusal: Refusal) -> Result<bool> {
        // Other callers may wait for the same. The first one does the work for all.
        let given = self.upkeep.given_back();
        let _waiter = self.cleaner.wait_for(self.log.progress());
        let _one = self.upkeep.turn(Task::Reclaiming).await;
        if self.upkeep.given_back() != given {
            return Ok(true);
        }
        // A checkpoint that is being written will free the extents of the one before, and
        // everything else that waits for a checkpoint.
        if self.upkeep.try_turn(Task::Checkpoint).is_none() {
            drop(self.upkeep.turn(Task::Checkpoint).await);
            return Ok(true);
        }
        let spares = self.log.take_unneeded_spares();
        self.upkeep.count_given_back(spares.len());
        self.surroundings.give_extents(spares);
        if refusal == Refusal::Scarce && !self.is_worth_a_checkpoint() {
            self.clean().await?;
        }
        if self.is_worth_a_checkpoint() && self.checkpoint().await.is_err() {
            return Ok(false);
        }
        let gained = self.upkeep.given_back() != given;
        if gained {
            reached(Rare::SpaceReclaimed);
        }
        Ok(gained)
    }

    /// Returns whether a checkpoint, which writes the whole index, frees enough to be worth it.
    fn is_worth_a_checkpoint(&self) -> bool {
        let state = self.state.borrow();
        let reclaimable = state.space.reclaimable_bytes();
        reclaimable > 0 && reclaimable * RECLAIMED_PART >= state.index_bytes()
    }

    /// Returns whether freed space is worth a checkpoint before anybody waits for it: there is so
    /// much of it that the checkpoint's own writes are small beside it, or few free extents are
    /// left.
    pub(super) fn release_pays(&self) -> bool {
        let (bytes, index_bytes) = {
            let state = self.state.borrow();
            (state.space.freed_bytes(), state.index_bytes())
        };
        let by_itself = self.settings.checkpoint_after_bytes < u64::MAX;
        if bytes < u64::from(self.geometry.extent_bytes) || self.log.has_failed() || !by_itself {
            return false;
        }
        let share = self.geometry.size_bytes() / u64::from(self.settings.drive_shards);
        let much = bytes >= (CHECKPOINT_GAIN * index_bytes).max(share / RELEASE_PART);
        let needed = self.is_short_of_space() && bytes >= index_bytes;
        // What a checkpoint that is being written will free is not asked for again.
        (much || needed) && self.log.has_begun() && self.upkeep.try_turn(Task::Checkpoint).is_some()
    }
}
