//! Recovery of a shard: its checkpoint, the tail of its log, its accounts.
//!
//! The steps, in order:
//!
//! 1. Read the root chunk and the chunks that it names, and check each. The root says where its own
//!    sets are; then the other sets are known.
//! 2. Load the leaves into the index, and fill the point table from them.
//! 3. Replay the log from the noted position, through the same `apply` as a live commit. Sets that
//!    the log says take the place of those that had their numbers.
//! 4. Derive from the result what is allocated. A set that nothing claims is free.
//! 5. Flush, since what was read may have been only in the device's cache.
//!
//! A server stops at the first damage. `ringbolt check` goes on behind it ([`Source::salvage`]).
//! The result is then a shard without what was damaged, and a list of that damage.

use super::accounts::Accounts;
use super::entry::Entry;
use super::lock_clock::TIME_LOST_MS;
use super::settings::Settings;
use super::state::{State, UploadKey};
use crate::device::{DeviceError, Durability};
use crate::extent::sets::{KIND_CHECKPOINT, KIND_LOG, KIND_SLICES};
use crate::extent::{Drives, Geometry, Member, Members, SetCopy, SetPlace};
use crate::format::checkpoint::{
    CHUNK_BYTES_MAX, CheckpointChunkOnDisk, CheckpointRootV1, ChunkIdentity, ChunkListV1, ChunkPlaceV1,
    HEADER_BYTES, KIND_BUCKETS, KIND_CLOCK, KIND_LEAVES, KIND_LIST, KIND_LOGS, KIND_NODE_RECORDS, KIND_ROOT,
    KIND_SETS, KIND_UPLOADS, LogPlaceV1, decode_logs, decode_sets,
};
use crate::format::record::{
    Mutation, RunV1, SegmentV1, decode_buckets, decode_clock, decode_node_records, decode_uploads,
};
use crate::format::set::SetV1;
use crate::format::slice::UNIT_BYTES;
use crate::format::superblock::{ROOT_CHECKPOINT, ROOT_LOG, ShardRootOnDisk};
use crate::format::{BLOCK_BYTES, FormatDamage, blocks_up};
use crate::hook::{Bug, Rare, reached};
use crate::index::{OrderedIndex, Step, keys};
use crate::log::LogPosition;
use crate::log::replay::{Replay, ReplayError, Uneven};
use crate::ring::Pool;
use std::cell::RefCell;
use std::collections::HashSet;

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
    #[error("set {set} is named by an object but holds nothing of that kind; {ADVICE}")]
    NoSet { set: u32, bucket: u32, key: Vec<u8> },
    #[error("set {set} of the log is named twice or is not there; {ADVICE}")]
    Log { set: u32 },
    #[error("what the checkpoint says of set {set} can not be: {damage}; {ADVICE}")]
    Set { set: u32, damage: FormatDamage },
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
    /// The homes of the shard that are present.
    pub drives: &'a Drives,
    pub pool: &'a Pool,
    /// The salvage that goes on behind damage; `None` to stop at the first damage.
    pub salvage: Option<&'a Salvage>,
    /// Is told of each step, for those who wait.
    pub told: Option<&'a dyn Fn(RecoveryStep)>,
    /// The copies of the log are made alike, as a start has to; a check writes nothing.
    pub makes_alike: bool,
    /// Which copies of a checkpoint's chunks are read.
    pub copies: ChunkCopies,
    /// The copies that were found damaged while another one was whole.
    pub noticed: RefCell<Vec<RecoverError>>,
}

/// Which copies of a checkpoint's chunks are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkCopies {
    /// One after the other, until one is whole, as a start does.
    UntilWhole,
    /// All of them, of which one has to be whole, as a check does.
    All,
    /// All of them, and each has to be whole, as the scrub wants it.
    AllWhole,
}

/// The root of a shard on one of its homes.
#[derive(Clone, Copy, Debug)]
pub struct HomeRoot {
    /// The place of the home among the drives.
    pub home: usize,
    pub root: ShardRootOnDisk,
}

/// Orders roots by age: a shard begins without a checkpoint, and each one has the next number.
pub(crate) fn age_of(root: &ShardRootOnDisk) -> (u16, u64) {
    (root.kind.get(), root.sequence.get())
}

/// A step of a recovery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecoveryStep {
    /// The checkpoint has so many bytes.
    Checkpoint(u64),
    /// So many more bytes of the checkpoint or of the log were read.
    Read(u64),
}

/// How often what only one home has is read, until it is what the replay found.
const READS_OF_RIGHT_COPY: u32 = 8;
/// Bytes of the log that are told of together.
const TOLD_BYTES: u64 = 1 << 20;

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
    /// The root from which it was recovered.
    pub root: ShardRootOnDisk,
}

impl Source<'_> {
    /// Recovers a shard from the newest of the roots that its homes have. An older one is used where the
    /// checkpoint of that is damaged: what it names is not let go before the newer one is on every home.
    ///
    /// # Errors
    /// Returns an error when something durable is damaged or can not be read.
    pub async fn recover(&self, roots: &[HomeRoot]) -> Result<Recovered, RecoverError> {
        let mut newest: Vec<HomeRoot> = roots.to_vec();
        newest.sort_by_key(|root| std::cmp::Reverse(age_of(&root.root)));
        // Something of a life may have been acknowledged once every home knows that it began the log.
        let log_epoch = roots.iter().map(|root| root.root.log_epoch.get()).max().unwrap_or(0);
        let mut first = None;
        for root in &newest {
            if let Some(salvage) = self.salvage {
                salvage.found.borrow_mut().clear();
            }
            let mut state = State::new(*self.geometry, *self.settings);
            let mut counted = None;
            match self.begin(*root, roots, &mut state, &mut counted).await {
                Ok(start) => return self.replay(start, state, counted, (root.root, log_epoch)).await,
                // An older checkpoint would not need less.
                Err(error @ RecoverError::Memory { .. }) => return Err(error),
                Err(error) => drop(first.get_or_insert(error)),
            }
        }
        Err(first.unwrap_or(RecoverError::NoRoot(self.shard)))
    }

    /// Loads what a root names into an empty state. Returns where the replay of the log begins.
    async fn begin(
        &self,
        HomeRoot { home, root }: HomeRoot,
        roots: &[HomeRoot],
        state: &mut State,
        counted: &mut Option<u64>,
    ) -> Result<LogPosition, RecoverError> {
        match root.kind.get() {
            ROOT_LOG => {
                let set = self.first_set(root, roots);
                let known = self.drives.set_of(&set.to_disk(KIND_LOG));
                known.map_err(|damage| RecoverError::Set { set: set.set, damage })?;
                state.space.sets.enter(set, KIND_LOG);
                self.add_log(state, set.set, 1, 0)?;
                let sequence = root.sequence.get();
                Ok(LogPosition { set, log_number: 1, offset: 0, sequence, previous_crc: 0 })
            }
            ROOT_CHECKPOINT => self.load(state, (root, self.place_of(root, home)), counted).await,
            _ => Err(RecoverError::NoRoot(self.shard)),
        }
    }

    async fn replay(
        &self,
        start: LogPosition,
        mut state: State,
        mut counted: Option<u64>,
        (root, log_epoch): (ShardRootOnDisk, u32),
    ) -> Result<Recovered, RecoverError> {
        let losses = RefCell::default();
        let mut replay = Replay {
            drives: self.drives,
            pool: self.pool,
            geometry: self.geometry,
            shard: self.shard,
            position: start,
            home: 0,
            uneven: Vec::new(),
            salvage: self.salvage.map(|_| &losses),
            last: start,
            last_bytes: 0,
            last_home: 0,
            by_copy: false,
            log_epoch,
            said: None,
        };
        let (mut replayed, mut untold) = (0, 0);
        replay
            .run(|mutation, place| {
                replayed += 1;
                match &mutation {
                    Mutation::SetPut(set) => self.replace_set(&mut state, set)?,
                    Mutation::LogExtent(next) => self
                        .add_log(&mut state, next.extent, next.log_number, 0)
                        .map_err(|_| FormatDamage::Field("log extent"))?,
                    _ => {}
                }
                state.apply(&mutation, place);
                untold += u64::from(place.length);
                if untold >= TOLD_BYTES {
                    self.tell(RecoveryStep::Read(std::mem::take(&mut untold)));
                }
                let end = place.offset + place.length;
                state.space.logs.wrote(place.extent, blocks_up(end as usize) as u32);
                Ok(())
            })
            .await?;
        let (position, by_copy, uneven) = (replay.position, replay.by_copy, replay.uneven);
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
        let retains = self.account(&mut state)?;
        if retains && state.clock_ms.is_none() {
            // The record of the time was lost with other damage.
            state.clock_ms = Some(TIME_LOST_MS);
        }
        if self.makes_alike && self.drives.count() > 1 && !self.geometry.planted.is(Bug::LeaveLogsUneven) {
            self.make_alike(&uneven).await?;
        }
        self.drives.flush().await?;
        Ok(Recovered { state, position, replayed, counted, by_copy, root })
    }

    /// Writes what the right copy of each of these blocks has to the copies that have something else.
    async fn make_alike(&self, uneven: &[Uneven]) -> Result<(), RecoverError> {
        for blocks in uneven {
            let right = self.drives.copy(blocks.set, blocks.home);
            for copy in self.drives.copies(blocks.set).filter(|copy| copy.at != right.at) {
                self.copy_blocks((right, copy), blocks).await?;
            }
        }
        Ok(())
    }

    /// Copies batches to a home that has something else in their place.
    async fn copy_blocks(
        &self,
        (from, to): (SetCopy<'_>, SetCopy<'_>),
        blocks: &Uneven,
    ) -> Result<(), RecoverError> {
        let Uneven { offset, length, .. } = *blocks;
        let owner = (self.geometry.format_id, self.shard);
        // One buffer at a time: whoever holds one for a step must not wait for another.
        let has = to.read_step(self.pool, offset, length as usize).await;
        if has.is_ok_and(|buffer| blocks.are_whole(owner, &buffer[..length as usize])) {
            return Ok(());
        }
        for _ in 0..READS_OF_RIGHT_COPY {
            // What is written was verified in the very buffer: a drive may return other bytes than before.
            let read = from.read_step(self.pool, offset, length as usize).await;
            let Ok(buffer) = read else { continue };
            if blocks.are_whole(owner, &buffer[..length as usize]) {
                reached(Rare::LogMadeAlike);
                let (shard, extent) = (self.shard, to.extent);
                tracing::info!(shard, extent, offset, length, "a copy of the log is made alike");
                return Ok(to.write(offset, length as usize, buffer, Durability::Immediate).await.0?);
            }
        }
        Err(RecoverError::Chunk { extent: from.extent, offset, damage: FormatDamage::Elsewhere })
    }

    fn tell(&self, step: RecoveryStep) {
        if let Some(told) = self.told {
            told(step);
        }
    }

    /// Returns where the set is that a root names, as far as this home knows: its own extent.
    fn place_of(&self, root: ShardRootOnDisk, home: usize) -> SetPlace {
        let members = Members::one(self.drives.get(home).geometry.drive, root.extent.get());
        SetPlace { set: root.set.get(), birth: root.birth.get(), members }
    }

    /// Returns where the first set of the log is. Every home that has no checkpoint yet says where its
    /// copy is.
    fn first_set(&self, root: ShardRootOnDisk, roots: &[HomeRoot]) -> SetPlace {
        let first = roots.iter().filter(|other| other.root.kind.get() == ROOT_LOG);
        let member = |other: &HomeRoot| Member {
            drive: self.drives.get(other.home).geometry.drive,
            extent: other.root.extent.get(),
        };
        let members = Members::new(first.map(member));
        let members = members.unwrap_or_else(|| Members::one(self.geometry.drive, root.extent.get()));
        SetPlace { set: root.set.get(), birth: root.birth.get(), members }
    }

    /// Adds a set of the log, and refuses one that is already in the log or not there.
    fn add_log(
        &self,
        state: &mut State,
        set: u32,
        log_number: u64,
        written: u32,
    ) -> Result<(), RecoverError> {
        if !state.space.sets.is(set, KIND_LOG) || state.space.logs.contains(set) {
            return Err(RecoverError::Log { set });
        }
        state.space.logs.add(set, log_number, written.min(self.geometry.extent_bytes));
        Ok(())
    }

    /// Enters a set that the log says, in place of the one that had its number. It may be the same set with
    /// more members.
    ///
    /// # Errors
    /// Returns [`FormatDamage::Field`] when the number belongs to a set of the log or of the
    /// checkpoint that recovery started from. These numbers are not used again before a later
    /// checkpoint (law 6).
    fn replace_set(&self, state: &mut State, set: &SetV1) -> Result<(), FormatDamage> {
        let (place, kind) = self.drives.set_of(set)?;
        let old = state.space.sets.get(place.set);
        // The record waited while its set was given back: its number is that of a later one.
        if old.is_some_and(|(old, _)| old.birth > place.birth) {
            return Ok(());
        }
        let is_same = |(old, of): (SetPlace, u8)| (old.birth, of) == (place.birth, kind);
        if old.is_some_and(is_same) {
            state.space.sets.enter(place, kind);
            return Ok(());
        }
        let needed = state.space.logs.contains(place.set)
            || old.is_some_and(|(_, kind)| kind == KIND_CHECKPOINT)
            || kind == KIND_CHECKPOINT;
        if needed && old != Some((place, kind)) {
            return Err(FormatDamage::Field("set whose number is in use"));
        }
        state.space.sets.enter(place, kind);
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
        (place, at): (ShardRootOnDisk, SetPlace),
        counted: &mut Option<u64>,
    ) -> Result<LogPosition, RecoverError> {
        let damage =
            |damage| RecoverError::Chunk { extent: place.extent.get(), offset: place.offset.get(), damage };
        let (root, own) = self.root(place, at).await?;
        if self.copies == ChunkCopies::All
            && let Some(at) = own.iter().find(|own| own.set == place.set.get())
        {
            // The root names the copy on its own drive alone; now all of them are known.
            self.root(place, *at).await?;
        }
        *counted = Some(root.objects);
        let chunks = self.named_chunks(&root, &own, place.sequence.get()).await?;
        let all = chunks.iter().map(|(_, named)| u64::from(named.length)).sum();
        self.tell(RecoveryStep::Checkpoint(all));
        let (mut logs, mut sets) = (Vec::new(), Vec::new());
        for (number, named) in chunks {
            let at = own.iter().find(|own| own.set == named.set).copied();
            let loaded = match self.chunk(&named, at, place.sequence.get(), Some(number)).await {
                Ok(payload) => load_chunk(state, (&mut logs, &mut sets), (&named, at), &payload),
                Err(error) => Err(error),
            };
            loaded.or_else(|error| self.tolerate(error))?;
            self.tell(RecoveryStep::Read(u64::from(named.length)));
            check_memory(state)?;
        }
        state.next_bucket = state.next_bucket.max(root.next_bucket);
        if !state.fill_from_leaves() {
            return Err(RecoverError::Leaf("an entry is unreadable".to_owned()));
        }
        state.space.checkpoint_sets = own.iter().map(|own| own.set).collect();
        state.space.checkpoint_sequence = place.sequence.get();
        let others = sets.iter().chain(&root.sets);
        for set in root.own.iter().chain(others) {
            self.add_set(state, set)?;
        }
        for log in logs.iter().chain(&root.logs) {
            // Where a chunk of sets is lost, a salvage goes on without those that it named.
            self.add_log(state, log.set, log.log_number, log.written)
                .or_else(|error| self.tolerate(error))?;
        }
        let last = root.logs.last().ok_or(damage(FormatDamage::Field("logs")))?;
        let offset = root.replay_offset;
        if !(offset as usize).is_multiple_of(BLOCK_BYTES) || offset >= self.geometry.extent_bytes {
            return Err(damage(FormatDamage::Field("replay_offset")));
        }
        if root.replay_sequence > SEQUENCE_MAX {
            return Err(damage(FormatDamage::Field("replay_sequence")));
        }
        let start = state.space.sets.get(last.set).ok_or(RecoverError::Log { set: last.set })?;
        Ok(LogPosition {
            set: start.0,
            log_number: last.log_number,
            offset: root.replay_offset,
            sequence: root.replay_sequence,
            previous_crc: root.replay_previous_crc,
        })
    }

    /// Enters a set of the checkpoint, and refuses one that is already there.
    fn add_set(&self, state: &mut State, set: &SetV1) -> Result<(), RecoverError> {
        let refused = |damage| RecoverError::Set { set: set.set, damage };
        let (place, kind) = self.drives.set_of(set).map_err(refused)?;
        if state.space.sets.get(place.set).is_some() {
            return Err(refused(FormatDamage::Field("set that is named twice")));
        }
        state.space.sets.enter(place, kind);
        Ok(())
    }

    /// Reads the root chunk of the checkpoint at `place`, in the set `at`. Returns it, and where its own
    /// sets are.
    ///
    /// # Errors
    /// Returns an error when the chunk is damaged or can not be read, or when it names a set that
    /// can not be.
    pub(super) async fn root(
        &self,
        place: ShardRootOnDisk,
        at: SetPlace,
    ) -> Result<(CheckpointRootV1, Vec<SetPlace>), RecoverError> {
        let offset = place.offset.get();
        let (length, crc) = (place.length.get(), place.crc.get());
        let named = ChunkPlaceV1 { set: at.set, offset, length, crc, kind: 0 };
        let payload = self.chunk(&named, Some(at), place.sequence.get(), None).await?;
        let damaged = |damage| RecoverError::Chunk { extent: at.extent(), offset, damage };
        let root = CheckpointRootV1::decode(&payload).map_err(damaged)?;
        let own = |set: &SetV1| match self.drives.set_of(set) {
            Ok((place, KIND_CHECKPOINT)) => Ok(place),
            Ok(_) => Err(damaged(FormatDamage::Field("kind of a set"))),
            Err(damage) => Err(damaged(damage)),
        };
        let own = root.own.iter().map(own).collect::<Result<Vec<_>, _>>()?;
        if !own.iter().any(|own| own.set == at.set) {
            return Err(damaged(FormatDamage::Field("set of the root")));
        }
        Ok((root, own))
    }

    /// Returns the chunks that a root names, itself or through its lists, each with its number.
    ///
    /// # Errors
    /// Returns an error when a list is damaged, except in a salvage.
    pub(super) async fn named_chunks(
        &self,
        root: &CheckpointRootV1,
        own: &[SetPlace],
        sequence: u64,
    ) -> Result<Vec<(u32, ChunkPlaceV1)>, RecoverError> {
        let mut chunks = Vec::new();
        for (number, named) in (0..).zip(&root.lists) {
            let at = own.iter().find(|own| own.set == named.set).copied();
            let damaged = |damage| damaged_chunk(named, at, damage);
            let list = match self.chunk(named, at, sequence, Some(number)).await {
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

    /// Reads a chunk of checkpoint `sequence` from a copy of its set that passes the check against its
    /// reference. `at` is the set's place, or `None` when the checkpoint has no such set. `number` is the chunk's
    /// own number, so that none is named twice, or `None` for the root.
    ///
    /// # Errors
    /// Returns [`RecoverError::Chunk`] when the chunk is damaged or not what the reference says, or
    /// the device's error.
    pub(super) async fn chunk(
        &self,
        named: &ChunkPlaceV1,
        at: Option<SetPlace>,
        sequence: u64,
        number: Option<u32>,
    ) -> Result<Vec<u8>, RecoverError> {
        let at = at.ok_or(damaged_chunk(named, at, FormatDamage::Field("set")))?;
        let (mut first, mut whole, mut bad) = (None, None, Vec::new());
        for copy in self.drives.copies(at) {
            match self.chunk_of_copy(copy, named, (at, sequence), number).await {
                Ok(payload) => {
                    whole = Some(payload);
                    if self.copies == ChunkCopies::UntilWhole {
                        break;
                    }
                }
                // What ended because the drive leaves says nothing of the copy, and one that is brought up to date gets
                // a new checkpoint in the end.
                Err(error) if !copy.drive.is_whole() => drop(first.get_or_insert(error)),
                Err(error) => {
                    bad.push(error.clone());
                    first.get_or_insert(error);
                }
            }
        }
        let is_enough = bad.is_empty() || self.copies != ChunkCopies::AllWhole;
        if let (Some(payload), true) = (whole, is_enough) {
            self.noticed.borrow_mut().append(&mut bad);
            return Ok(payload);
        }
        Err(first.unwrap_or(damaged_chunk(named, Some(at), FormatDamage::Field("member of a set"))))
    }

    async fn chunk_of_copy(
        &self,
        copy: SetCopy<'_>,
        named: &ChunkPlaceV1,
        (at, sequence): (SetPlace, u64),
        number: Option<u32>,
    ) -> Result<Vec<u8>, RecoverError> {
        let (extent, offset) = (copy.extent, named.offset);
        let damaged = |damage| RecoverError::Chunk { extent, offset, damage };
        let length = blocks_up(named.length as usize);
        let aligned = (offset as usize).is_multiple_of(BLOCK_BYTES);
        if !aligned
            || !(HEADER_BYTES..=CHUNK_BYTES_MAX).contains(&(named.length as usize))
            || extent >= copy.drive.geometry.extents
            || offset as usize + length > self.geometry.extent_bytes as usize
        {
            return Err(damaged(FormatDamage::Field("place")));
        }
        let buffer = copy.read_step(self.pool, offset, length).await?;
        let (header, payload) = CheckpointChunkOnDisk::parse(&buffer[..length]).map_err(damaged)?;
        // The root comes last, so its number is the count of the chunks before it.
        let (number, kind) = match number {
            Some(number) => (number, named.kind),
            None => (header.number.get(), KIND_ROOT),
        };
        let (format, shard, (set, birth)) = (self.geometry.format_id, self.shard, at.identity());
        let expected = ChunkIdentity { format, shard, sequence, number, kind, set, birth, offset };
        if header.identity() != expected || header.crc.get() != named.crc {
            return Err(damaged(FormatDamage::Elsewhere));
        }
        Ok(payload.to_vec())
    }
}

/// Returns the error for a chunk that is not what its reference says. Where its set is not known,
/// the extent is the set's number.
fn damaged_chunk(named: &ChunkPlaceV1, at: Option<SetPlace>, damage: FormatDamage) -> RecoverError {
    RecoverError::Chunk { extent: at.map_or(named.set, |at| at.extent()), offset: named.offset, damage }
}

/// Loads what a chunk holds into the state, or into the lists of log extents and sets.
fn load_chunk(
    state: &mut State,
    (logs, sets): (&mut Vec<LogPlaceV1>, &mut Vec<SetV1>),
    (named, at): (&ChunkPlaceV1, Option<SetPlace>),
    payload: &[u8],
) -> Result<(), RecoverError> {
    let damaged = |damage| damaged_chunk(named, at, damage);
    match named.kind {
        KIND_UPLOADS => {
            decode_uploads(payload).map_err(damaged)?.into_iter().for_each(|piece| state.load_upload(piece));
        }
        KIND_BUCKETS => {
            let buckets = decode_buckets(payload).map_err(damaged)?;
            buckets.into_iter().for_each(|bucket| state.put_bucket(bucket));
        }
        KIND_NODE_RECORDS => state.node.apply(&decode_node_records(payload).map_err(damaged)?),
        KIND_CLOCK => state.clock_ms = Some(decode_clock(payload).map_err(damaged)?.now_ms),
        KIND_LOGS => logs.extend(decode_logs(payload).map_err(damaged)?),
        KIND_SETS => sets.extend(decode_sets(payload).map_err(damaged)?),
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

/// What recovery may need beyond the limit for writing, however small that is, bytes. An index of a
/// few hundred keys takes up to 40 KiB more or less for the same keys, by how many sub-tables of the
/// point table have one, and its leaves are not all full.
const PACKED_WORSE_MIN: u64 = 64 << 10;

/// Checks the memory of the index. The limit is above that for writing by a quarter, or by
/// [`PACKED_WORSE_MIN`], because recovery may pack the index a little worse and must still open what
/// was stored.
fn check_memory(state: &State) -> Result<(), RecoverError> {
    let for_writing = state.settings.index_bytes_max;
    let limit_bytes = for_writing.saturating_add((for_writing / 4).max(PACKED_WORSE_MIN));
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
    /// Does step 4: counts the live bytes of the log's extents, and claims the used slices. Returns
    /// whether a version has a retention.
    fn account(&self, state: &mut State) -> Result<bool, RecoverError> {
        let State { index, uploads, space: Accounts { sets, logs, slices, runs, .. }, .. } = state;
        let geometry = self.geometry;
        let units_per_extent = geometry.extent_bytes / UNIT_BYTES as u32;
        let mut claim = |segment: &SegmentV1, bucket: u32, key: &[u8]| {
            let overlap = |set: u32| {
                let extent = sets.get(set).map_or(0, |(place, _)| place.extent());
                RecoverError::Overlap { extent, bucket, key: key.to_vec() }
            };
            if let Some(run) = segment.runs.iter().find(|run| !sets.is(run.extent, KIND_SLICES)) {
                return Err(RecoverError::NoSet { set: run.extent, bucket, key: key.to_vec() });
            }
            if !geometry.shape.is_whole(segment, units_per_extent) {
                return Err(overlap(segment.runs.first().map_or(0, |run| run.extent)));
            }
            let refused = |run: &&RunV1| !slices.claim(run, geometry.shape.run_units(run, segment.length));
            if let Some(run) = segment.runs.iter().find(refused) {
                return Err(overlap(run.extent));
            }
            runs.add(segment);
            Ok(())
        };
        let (mut objects, mut unfinished, mut retains) = (Vec::new(), Vec::new(), false);
        for_each_entry(index, &mut |bucket, key, entry| {
            retains |= entry.traits.lock.retention.is_some();
            let extent = entry.location.extent;
            let meta = entry.meta.map(|meta| (meta.extent, meta.record_length));
            let known = logs.contains(extent) && meta.is_none_or(|(extent, _)| logs.contains(extent));
            let claimed = match known && entry.is_possible(geometry.extent_bytes) {
                true => entry.segments.iter().try_for_each(|segment| claim(segment, bucket, key)),
                false => Err(RecoverError::NoSet { set: extent, bucket, key: key.to_vec() }),
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
        state.space.keep_claimed_sets();
        Ok(retains)
    }
}
