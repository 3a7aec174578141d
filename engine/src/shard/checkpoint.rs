//! Checkpoints: the index written out, so that recovery reads little log and freed space can be
//! used again.
//!
//! The steps, in order:
//!
//! 1. Note the log's position, what the log must keep, and where every set is.
//! 2. Write uploads, buckets, the node's records and leaves while the shard goes on. The replay from the noted position
//!    brings them up to date.
//! 3. Write the root chunk.
//! 4. Flush.
//! 5. Install the root in the superblock, which flushes twice.
//! 6. Only then free the old checkpoint, the log sets that it alone needed, and the slices that were
//!    freed before the position.
//!
//! Why the sets as of step 1 are right, although leaves are copied later and numbers of sets are used
//! again: a set that is there at the noted position is in the list. One that is made later is said by
//! a record, which is behind the position or not written at all; replay enters it, and nothing names
//! the set before that record does. A number is used again only after its extent went back to the
//! drive. If a record named the old set, that is after step 6 of an earlier checkpoint: the record
//! was void by one before *that* checkpoint's position, so no leaf that is copied now, and no record
//! that is replayed from now on, names the old set. Extents go back at other moments too, when a
//! reader lets a log set go that is needed no more, or a body is given up. Such a set may be in the
//! list, so from step 1 until the checkpoint is in force no number that is given back is used. The
//! sets of this checkpoint itself and of the one before are not in the list. A root says where its
//! own are, and no record may use their numbers while it is in force.

use std::cell::RefCell;
use std::rc::Rc;

use super::clean::CHECKPOINT_GAIN;
use super::instance::Shard;
use super::maintenance::{Peak, Task};
use super::recover::{ChunkCopies, RecoverError, Source};
use crate::device::{DeviceError, Durability};
use crate::error::{EngineError, Result};
use crate::extent::allocator::{Class, Refusal};
use crate::extent::sets::{KIND_CHECKPOINT, KIND_LOG};
use crate::extent::{Members, SetPlace};
use crate::format::checkpoint::{
    CHUNK_BYTES_MAX, CheckpointChunkOnDisk, CheckpointRootV1, ChunkIdentity, ChunkListV1, ChunkPlaceV1,
    HEADER_BYTES, KIND_BUCKETS, KIND_CLOCK, KIND_LEAVES, KIND_LIST, KIND_LOGS, KIND_NODE_RECORDS, KIND_ROOT,
    KIND_SETS, KIND_UPLOADS, LogPlaceV1, encode_logs, encode_sets,
};
use crate::format::record::{ClockV1, encode_buckets, encode_clock, encode_node_records, encode_uploads};
use crate::format::set::{FURTHER_MEMBER_BYTES, SET_BYTES, SetV1};
use crate::format::superblock::{HOMES, ROOT_CHECKPOINT, ShardRootOnDisk};
use crate::format::{Le16, Le32, Le64, blocks_up};
use crate::hook::{Bug, Rare, reached};
use crate::index::leaf;
use crate::log::{LogPosition, epoch_of};

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
    /// The sets that hold it.
    own: Vec<SetPlace>,
    /// The next free byte of the last set.
    offset: u32,
    /// The chunks that no list names yet.
    rest: ChunkListV1,
    lists: Vec<ChunkPlaceV1>,
    /// Bytes of the lists of log extents and of sets that are held until they are written.
    noted_bytes: usize,
    peak: Peak,
}

impl Shard {
    /// Starts a checkpoint in the background, unless one is wanted already.
    pub(crate) fn start_checkpoint(self: &Rc<Self>) {
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
            let early = std::mem::take(&mut self.state.borrow_mut().space.checkpoint_sets);
            self.give_sets(early);
        }
        let numbered_early = self.free_numbers_early();
        if !self.geometry.planted.is(Bug::ReuseListedNumber) {
            self.state.borrow_mut().space.sets.hold_numbers();
        }
        let mut writer = Writer::new(self, sequence);
        let written = writer.write(position).await;
        self.state.borrow_mut().space.sets.release_numbers();
        self.checkpoints.note_peak(writer.peak);
        match written {
            Ok((logs, installed)) => {
                self.count(|counters| counters.checkpoints += 1);
                self.checkpoints.install(installed);
                self.let_go(writer.sets(), sequence, position, &logs).await;
                self.surroundings.give_extents(numbered_early);
                Ok(())
            }
            Err(error) => {
                reached(Rare::CheckpointFailed);
                self.log.restore_since_checkpoint(since);
                // No superblock names these sets. After a device error that is not known, since
                // the root may have been installed.
                match &error {
                    CheckpointError::NoSpace => self.give_sets(writer.sets()),
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

    /// With a bug planted, frees the numbers of the old checkpoint's sets while it is still in force,
    /// and returns their extents, which stay taken.
    fn free_numbers_early(&self) -> Vec<Members> {
        if !self.geometry.planted.is(Bug::ReuseNumberEarly) {
            return Vec::new();
        }
        let space = &mut self.state.borrow_mut().space;
        let early = std::mem::take(&mut space.checkpoint_sets);
        early.into_iter().map(|set| space.sets.remove(set).members).collect()
    }

    /// Waits until no checkpoint runs, and lets none begin any more, since the shard closes.
    pub(crate) async fn end_checkpoints(&self) {
        self.upkeep.end_checkpoints().await;
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
        let (root, own) = self.source().root(place, self.place(place.set.get())).await?;
        let chunks = self.source().named_chunks(&root, &own, place.sequence.get()).await?;
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
        let own = self.state.borrow().space.sets.get(named.set);
        let (sequence, number) = (place.sequence.get(), Some(number));
        self.source().chunk(named, own.map(|(own, _)| own), sequence, number).await?;
        Ok(true)
    }

    fn source(&self) -> Source<'_> {
        Source {
            shard: self.id,
            geometry: &self.geometry,
            settings: &self.settings,
            drives: &self.writer.drives,
            pool: &self.pool,
            salvage: None,
            told: None,
            makes_alike: false,
            copies: ChunkCopies::AllWhole,
            noticed: RefCell::default(),
        }
    }

    /// Does step 6. Freed runs are released in groups because there may be very many of them.
    async fn let_go(
        self: &Rc<Self>,
        own: Vec<u32>,
        sequence: u64,
        position: LogPosition,
        logs: &[LogPlaceV1],
    ) {
        {
            let mut state = self.state.borrow_mut();
            state.space.checkpoint_sequence = sequence;
            let mut gone = std::mem::replace(&mut state.space.checkpoint_sets, own);
            let old = gone.len();
            gone.extend(state.space.logs.retire(logs));
            self.cleaner.keep_unreadable(|set| state.space.logs.contains(set));
            drop(state);
            self.upkeep.count_given_back(gone.len() - old);
            self.give_sets(gone);
        }
        loop {
            let (empty, runs) = self.state.borrow_mut().space.release_freed(position.sequence, FREED_AT_ONCE);
            self.upkeep.count_given_back(runs);
            self.give_sets(empty);
            self.hold_back();
            let space = self.space();
            assert!(space.adds_up(), "the space of shard {} does not add up: {space:?}", self.id);
            if runs < FREED_AT_ONCE {
                return;
            }
            self.environment.yield_now().await;
        }
    }
}

impl<'a> Writer<'a> {
    fn new(shard: &'a Rc<Shard>, sequence: u64) -> Self {
        Self {
            shard,
            sequence,
            own: Vec::new(),
            offset: 0,
            rest: ChunkListV1::default(),
            lists: Vec::new(),
            noted_bytes: 0,
            peak: Peak::default(),
        }
    }

    /// Returns the numbers of the sets that hold the checkpoint.
    fn sets(&self) -> Vec<u32> {
        self.own.iter().map(|place| place.set).collect()
    }

    /// Writes the checkpoint. Returns the log sets that it names, and its root.
    async fn write(
        &mut self,
        position: LogPosition,
    ) -> std::result::Result<(Vec<LogPlaceV1>, ShardRootOnDisk), CheckpointError> {
        // 1. Note the position, and the state as of then that is not written piece by piece.
        let (logs, sets, objects, next_bucket) = {
            let state = self.shard.state.borrow();
            (state.space.logs.needed(&position), self.sets_to_name(), state.objects(), state.next_bucket)
        };
        self.noted_bytes = size_of_val(logs.as_slice()) + size_of_val(sets.as_slice());
        self.note(0, self.noted_bytes);
        // 2. Write uploads, buckets and the node's records, then leaves.
        self.write_uploads().await?;
        self.write_buckets().await?;
        self.write_node_records().await?;
        let noted = self.shard.state.borrow().clock_ms;
        if let Some(now_ms) = noted {
            self.write_chunk(KIND_CLOCK, &encode_clock(&ClockV1 { now_ms })).await?;
        }
        self.write_leaves().await?;
        let names = self.shard.settings.checkpoint_cut.names;
        let beyond = logs.len().saturating_sub(names);
        for group in logs[..beyond].chunks(names) {
            self.write_chunk(KIND_LOGS, &encode_logs(&group.to_vec())).await?;
        }
        let in_chunks = sets.len().saturating_sub(names);
        for group in sets[..in_chunks].chunks(names) {
            self.write_chunk(KIND_SETS, &encode_sets(&to_disk(group))).await?;
        }
        // 3. Write the root.
        let root = CheckpointRootV1 {
            lists: std::mem::take(&mut self.lists),
            rest: std::mem::take(&mut self.rest),
            own: Vec::new(),
            sets: to_disk(&sets[in_chunks..]),
            logs: logs[beyond..].to_vec(),
            replay_offset: position.offset,
            replay_sequence: position.sequence,
            replay_previous_crc: position.previous_crc,
            objects,
            next_bucket,
        };
        let (at, place) = self.write_root(root).await?;
        // 4. Make all of it durable before anything names it.
        self.shard.writer.flush().await?;
        // 5. Put it in force.
        let installed = ShardRootOnDisk {
            shard: Le16::new(self.shard.id),
            kind: Le16::new(ROOT_CHECKPOINT),
            extent: Le32::new(at.extent()),
            offset: Le32::new(place.offset),
            length: Le32::new(place.length),
            sequence: Le64::new(self.sequence),
            crc: Le32::new(place.crc),
            log_epoch: Le32::new(epoch_of(position.log_number)),
            birth: Le64::new(at.birth),
            set: Le32::new(at.set),
            reserved: [0; 4],
        };
        self.shard.surroundings.install_root(installed, at.members).await??;
        Ok((logs, installed))
    }

    /// Returns the sets of the log and of slices, those of the log last: the root has room for them,
    /// so that a salvage can replay the log even if chunks of sets are lost.
    fn sets_to_name(&self) -> Vec<(SetPlace, u8)> {
        let state = self.shard.state.borrow();
        let named = state.space.sets.all().filter(|(_, kind)| *kind != KIND_CHECKPOINT);
        let mut sets: Vec<(SetPlace, u8)> = named.collect();
        sets.sort_by_key(|(_, kind)| *kind == KIND_LOG);
        sets
    }

    /// Returns the size of a piece of uploads, buckets or records of the node in memory, bytes. In memory a piece takes
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

    async fn write_node_records(&mut self) -> std::result::Result<(), CheckpointError> {
        let mut after: Option<String> = None;
        loop {
            let next = self.shard.node_piece_after(after.as_deref(), self.piece_bytes());
            let Some(mut piece) = next else { return Ok(()) };
            self.write_chunk(KIND_NODE_RECORDS, &encode_node_records(&piece)).await?;
            let Some(last) = piece.records.pop() else { return Ok(()) };
            after = Some(last.name);
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

    /// Writes the root, which names all sets of the checkpoint including its own. They are known
    /// only once there is room for the root. Returns the root's set, and its place there.
    async fn write_root(
        &mut self,
        root: CheckpointRootV1,
    ) -> std::result::Result<(SetPlace, ChunkPlaceV1), CheckpointError> {
        // The root itself may need one more set, so room to name it is left.
        let set_bytes = SET_BYTES + HOMES * FURTHER_MEMBER_BYTES;
        let own_bytes = blocks_up(set_bytes * (self.own.len() + 2));
        let needed = blocks_up(HEADER_BYTES + root.encode().len()) + own_bytes;
        let at = self.make_room(needed).await?;
        let number = root.rest.first + root.rest.chunks.len() as u32;
        let own = self.own.iter().map(|place| place.to_disk(KIND_CHECKPOINT)).collect();
        let root = CheckpointRootV1 { own, ..root };
        let payload = root.encode();
        if HEADER_BYTES + payload.len() > CHUNK_BYTES_MAX {
            return Err(CheckpointError::NoSpace);
        }
        Ok((at, self.put_chunk(KIND_ROOT, number, &payload).await?))
    }

    /// Makes sure that `bytes` fit into the last set, and returns that.
    async fn make_room(&mut self, bytes: usize) -> std::result::Result<SetPlace, CheckpointError> {
        let full = self.offset as usize + bytes > self.shard.geometry.extent_bytes as usize;
        if let Some(&last) = self.own.last().filter(|_| !full) {
            return Ok(last);
        }
        let taken = self.shard.take_set(KIND_CHECKPOINT, Class::System).await;
        let place = taken.map_err(|_| CheckpointError::NoSpace)?.place;
        self.own.push(place);
        self.offset = 0;
        Ok(place)
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
        let at = self.make_room(padded).await?;
        let mut buffer = self.shard.pool.take_for_log(padded).await;
        buffer[HEADER_BYTES..length].copy_from_slice(payload);
        buffer[length..padded].fill(0);
        let identity = ChunkIdentity {
            format: self.shard.geometry.format_id,
            shard: self.shard.id,
            sequence: self.sequence,
            number,
            kind,
            set: at.set,
            birth: at.birth,
            offset: self.offset,
        };
        let crc = CheckpointChunkOnDisk::seal_into(identity, payload.len(), &mut buffer[..padded]);
        let place = ChunkPlaceV1 { set: at.set, offset: self.offset, length: length as u32, crc, kind };
        let to = (at, self.offset);
        self.shard.writer.write(to, padded, buffer, Durability::Deferred).done().await?;
        self.shard.count(|counters| counters.checkpoint_bytes += padded as u64);
        self.offset += padded as u32;
        Ok(place)
    }

    /// Notes `bytes` that are held now, beside what names the written chunks, and a step of `step`
    /// bytes, for the peaks.
    fn note(&mut self, bytes: usize, step: usize) {
        let named = (self.rest.chunks.capacity() + self.lists.capacity()) * size_of::<ChunkPlaceV1>();
        let held = bytes + named + self.noted_bytes + size_of_val(self.own.as_slice());
        self.peak.memory = self.peak.memory.max(held as u64);
        self.peak.step = self.peak.step.max(step as u64);
    }
}

fn to_disk(sets: &[(SetPlace, u8)]) -> Vec<SetV1> {
    sets.iter().map(|(place, kind)| place.to_disk(*kind)).collect()
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
        self.give_sets(spares.into_iter().map(|place| place.set));
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
