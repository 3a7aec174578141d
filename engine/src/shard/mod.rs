//! One shard: the owner of its keys, on one core.
//!
//! Invariants:
//! - The index changes only in [`apply`](crate::shard::State::apply), in the order of the log, after the record
//!   is durable; recovery runs the same code over the same records.
//! - Changes of one key follow each other: each holds the key's lock from its check until it is applied.
//! - Space is given back only when the record that freed it is durable, its readers are gone, and a checkpoint
//!   that does not name it is in force (law 6).

mod apply;
mod buckets;
pub(crate) mod checkpoint;
mod clean;
mod compact;
mod delete;
pub mod entry;
mod get;
mod list;
mod multipart;
mod open;
mod pieces;
mod put;
pub(crate) mod recover;
mod snapshot;
pub(crate) mod space;
mod verify;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::hash::Hasher;
use std::rc::{Rc, Weak};

pub use self::apply::Effects;
pub use self::get::{Found, Pins};
pub use self::multipart::{CompleteCommit, PartCommit};
pub use self::put::{Body, PutCommit, info_of};
pub use self::recover::{RecoverError, Recovered, Salvage, Source};
pub(crate) use self::recover::{for_each_entry, for_each_entry_from, load_leaves};
pub use self::space::Reserved;
pub use self::verify::{Flaw, Owner, Reading};

use crate::device::flush::FlushGroup;
use crate::device::{Device, DeviceError};
use crate::env::Environment;
use crate::error::{EngineError, Result};
use crate::extent::RunCount;
use crate::extent::keeper::HeldBack;
use crate::extent::slices::SliceSpace;
use crate::format::checkpoint::HEADER_BYTES;
use crate::format::record::{BucketV1, RunV1, SegmentV1, UploadPartV1};
use crate::format::scrub::ScrubState;
use crate::format::superblock::ShardRootOnDisk;
use crate::format::{BLOCK_BYTES, batch};
use crate::hook::Planted;
use crate::index::{OrderedIndex, PointTable, Step, keys};
use crate::log::queue::LogQueue;
use crate::log::space::LogSpace;
use crate::node::state::CoreState;
use crate::ring::{Buffer, Pool};
use crate::sync::locks::KeyLocks;
use crate::types::{Attributes, BucketId};

/// What a shard must know of its drive and node.
#[derive(Clone, Copy, Debug)]
pub struct Geometry {
    pub extent_bytes: u32,
    pub extents: u32,
    /// Byte offset of extent 0.
    pub extents_start: u64,
    /// First half of the drive's UUID.
    pub drive_id: u64,
    /// Of this life of the node.
    pub epoch: u32,
    pub hash_key: [u64; 2],
    /// Larger bodies go into slices, bytes.
    pub inline_bytes_max: u32,
    /// Cap on this shard's index, bytes.
    pub index_bytes_max: u64,
    /// Dead bytes that the log may hold before it is cleaned, if they are not more than the live ones.
    pub dead_log_bytes_max: u64,
    /// Log bytes after which a checkpoint is taken. [`u64::MAX`]: none but where somebody asks or waits for it.
    pub checkpoint_after_bytes: u64,
    pub checkpoint_cut: CheckpointCut,
    /// Shards that live on this drive.
    pub drive_shards: u32,
    /// Free extents, beside those held back, from which on the cleaners work.
    pub few_extents: u32,
    pub(crate) planted: Planted,
}

/// How a checkpoint is cut into chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointCut {
    /// Payload of a chunk, bytes; more where one leaf is longer.
    pub payload_bytes: usize,
    /// Chunks or log extents that a list or the root names, at most.
    pub names: usize,
}

impl Default for CheckpointCut {
    fn default() -> Self {
        Self { payload_bytes: (256 << 10) - HEADER_BYTES, names: 8192 }
    }
}

impl Geometry {
    /// Of all extents of the drive.
    pub(crate) fn size_bytes(&self) -> u64 {
        u64::from(self.extents) * u64::from(self.extent_bytes)
    }

    /// Byte offset on the device of `offset` in `extent`.
    pub fn byte(&self, extent: u32, offset: u32) -> u64 {
        assert!(
            extent < self.extents && offset <= self.extent_bytes,
            "extent {extent}, offset {offset} is not there"
        );
        self.extents_start + u64::from(extent) * u64::from(self.extent_bytes) + u64::from(offset)
    }

    /// Byte offset of an extent's last block, which is kept for the batch that names the log's next extent.
    pub(crate) fn last_block(&self) -> u32 {
        self.extent_bytes / BLOCK_BYTES as u32 * BLOCK_BYTES as u32 - BLOCK_BYTES as u32
    }

    /// `length` bytes of the drive, in a buffer of those held back for the engine's own work.
    pub(crate) async fn read(
        &self,
        device: &Rc<dyn Device>,
        pool: &Pool,
        (extent, offset): (u32, u32),
        length: usize,
    ) -> std::result::Result<Buffer, DeviceError> {
        let buffer = pool.take_for_step(length).await;
        let (result, buffer) = device.read(self.byte(extent, offset), length, buffer).await;
        result.map(|()| buffer)
    }

    /// The mark of a record of `shard` at byte `offset` of the log extent with number `lap`.
    pub(crate) fn record_mark(&self, shard: u16, lap: u64, offset: u32) -> u32 {
        batch::record_mark(self.drive_id, shard, lap, offset)
    }

    /// Keyed, so that nobody can aim keys at one shard or one bucket of the table. SipHash-1-3 (Aumasson and
    /// Bernstein, 2012).
    pub fn hash(&self, bucket: BucketId, key: &[u8]) -> u64 {
        let mut hasher = siphasher::sip::SipHasher13::new_with_keys(self.hash_key[0], self.hash_key[1]);
        hasher.write_u32(bucket.0.to_le());
        hasher.write(key);
        hasher.finish()
    }
}

/// An upload in progress.
#[derive(Clone, Debug)]
pub struct Upload {
    pub initiated_ms: u64,
    pub attributes: Attributes,
    pub parts: BTreeMap<u16, UploadPartV1>,
}

/// A bucket's record, and the copies that the cores keep: near enough, as there are few.
const BUCKET_BYTES: u64 = 4 << 10;
/// What an upload or a part takes beside its texts: its structure, its place in a tree, the allocator's share.
const UPLOAD_BYTES: u64 = 256;
const PART_BYTES: u64 = 320;

impl Upload {
    /// Memory without that of its parts, bytes.
    fn own_bytes(&self, key: &UploadKey) -> u64 {
        UPLOAD_BYTES + key.1.len() as u64 + attributes_bytes(&self.attributes)
    }

    fn memory_bytes(&self, key: &UploadKey) -> u64 {
        self.own_bytes(key) + self.parts.values().map(part_bytes).sum::<u64>()
    }
}

fn part_bytes(part: &UploadPartV1) -> u64 {
    PART_BYTES
        + attributes_bytes(&part.info.attributes)
        + (part.segment.runs.len() * size_of::<RunV1>()) as u64
}

fn attributes_bytes(attributes: &Attributes) -> u64 {
    attributes
        .iter()
        .map(|(name, value)| (2 * size_of::<String>() + name.len() + value.len() + 32) as u64)
        .sum()
}

/// Bucket, key, upload id: the order in which uploads are listed.
pub type UploadKey = (u32, Vec<u8>, u128);

/// A freed run waits for a checkpoint behind `sequence`.
struct Freed {
    sequence: u64,
    run: RunV1,
    units: u32,
}

/// Everything that changes.
pub struct State {
    geometry: Geometry,
    index: OrderedIndex,
    points: PointTable,
    pub(crate) uploads: BTreeMap<UploadKey, Upload>,
    /// Memory of all uploads; kept as they change, since it is asked for at every put.
    uploads_bytes: u64,
    /// System shard only.
    pub(crate) buckets: BTreeMap<u32, BucketV1>,
    next_bucket: u32,
    next_generation: u64,
    pub(crate) logs: LogSpace,
    pub(crate) slices: SliceSpace,
    /// Of what the index and the uploads name.
    runs: RunCount,
    freed: VecDeque<Freed>,
    freed_units: u64,
    /// Units of bodies on their way in.
    reserved_units: u64,
    object_pins: HashMap<u64, u32>,
    /// Freed while read, by generation of the object.
    zombies: HashMap<u64, Vec<SegmentV1>>,
    checkpoint_extents: Vec<u32>,
    checkpoint_sequence: u64,
}

/// See the module.
pub struct Shard {
    pub id: u16,
    pub drive: u16,
    pub geometry: Geometry,
    pub(crate) core: Weak<CoreState>,
    pub(crate) device: Rc<dyn Device>,
    pub(crate) flush: Rc<FlushGroup>,
    pub(crate) pool: Pool,
    pub(crate) environment: Rc<dyn Environment>,
    pub state: RefCell<State>,
    pub log: LogQueue,
    pub(crate) locks: KeyLocks,
    /// One checkpoint, one cleaning at a time.
    maintaining: KeyLocks,
    /// One takes a new extent of a kind at a time.
    growing: KeyLocks,
    /// One gives space back at a time.
    reclaiming: KeyLocks,
    /// Of the one in force; None: there is none yet.
    checkpoint_root: Cell<Option<ShardRootOnDisk>>,
    checkpoint_wanted: Cell<bool>,
    pub(crate) checkpoint_peak: Cell<checkpoint::Peak>,
    clean_wanted: Cell<bool>,
    held_back: Cell<HeldBack>,
    /// Who waits for the cleaner now.
    hurried: Cell<u32>,
    /// Dead bytes that the cleaner found nothing worth moving among.
    dead_in_vain: Cell<u64>,
    /// Log extents that the cleaner could not read.
    unreadable: RefCell<BTreeSet<u32>>,
    /// Data extents that could not be emptied.
    immovable: RefCell<BTreeMap<u32, compact::Immovable>>,
    /// Extents and runs that checkpoints have given back so far.
    given_back: Cell<u64>,
    /// Where its scrub is.
    pub(crate) scrub: RefCell<ScrubState>,
}

impl State {
    /// An empty shard.
    pub fn new(geometry: Geometry) -> Self {
        Self {
            geometry,
            index: OrderedIndex::new(),
            points: PointTable::new(),
            uploads: BTreeMap::new(),
            uploads_bytes: 0,
            buckets: BTreeMap::new(),
            next_bucket: 1,
            next_generation: u64::from(geometry.epoch) << 40 | 1,
            logs: LogSpace::default(),
            slices: SliceSpace::new(geometry.extent_bytes / crate::format::slice::UNIT_BYTES as u32),
            runs: RunCount::default(),
            freed: VecDeque::new(),
            freed_units: 0,
            reserved_units: 0,
            object_pins: HashMap::new(),
            zombies: HashMap::new(),
            checkpoint_extents: Vec::new(),
            checkpoint_sequence: 0,
        }
    }

    /// A number that no other object, part or upload of this shard ever has: the epoch makes it new after a crash.
    pub fn new_generation(&mut self) -> u64 {
        self.next_generation += 1;
        self.next_generation
    }

    fn entry(&self, bucket: BucketId, key: &[u8]) -> Option<entry::Entry> {
        let composite = keys::encode(bucket.0, key);
        self.index.get(&composite).and_then(entry::Entry::decode)
    }

    /// Shows the keys of the index from `start` on.
    pub(crate) fn visit(&self, start: &[u8], visitor: &mut dyn FnMut(&[u8]) -> Step) {
        self.index.visit(start, &mut |composite, _| visitor(composite));
    }

    /// Memory of the index, of uploads in progress and of buckets, bytes.
    pub fn index_bytes(&self) -> u64 {
        let buckets = self.buckets.len() as u64 * BUCKET_BYTES;
        (self.index.memory_bytes() + self.points.memory_bytes()) as u64 + self.uploads_bytes + buckets
    }

    pub fn objects(&self) -> u64 {
        self.index.len()
    }

    pub(crate) fn index(&self) -> &OrderedIndex {
        &self.index
    }
}

impl Shard {
    /// The core it lives on.
    ///
    /// # Errors
    /// When the node is going down.
    pub(crate) fn core(&self) -> Result<Rc<CoreState>> {
        self.core.upgrade().ok_or(EngineError::ShuttingDown)
    }

    /// Law 3: a write failed, or a flush, which ends the writing of the whole drive.
    pub(crate) fn stop_writing(&self, error: &DeviceError) {
        self.log.fail(self.id);
        if error.operation == "flush"
            && let Ok(core) = self.core()
        {
            core.stop_drive(self.drive, error);
        }
    }

    pub(crate) fn hash(&self, bucket: BucketId, key: &[u8]) -> u64 {
        self.geometry.hash(bucket, key)
    }
}
