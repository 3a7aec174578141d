//! The state of a shard: its index, its uploads in progress and, in the system shard, the buckets and
//! the node's records.
//!
//! Invariants:
//! - The index, the uploads, the buckets and the node's records change only through [`State::apply`], in
//!   the order of the log. A live commit and recovery run the same code; recovery loads a checkpoint
//!   before.
//! - Applying the log in order, from any point at or before the position that a checkpoint names,
//!   over the leaves of that checkpoint gives the same state. The leaves are copied while the shard
//!   goes on.
//! - A key has a stack of versions, newest first. A record names the version that it removes and the
//!   key's null version after it, so that applying it needs no search and no read.
//! - The newest version of a key knows which one is the null version. What the others say of that may
//!   be out of date.
//! - A moved copy of a record counts only if the index still has the version, and its change of what
//!   the record holds: the data, or the metadata. It alters nothing else.
//! - A checkpoint copies uploads, buckets and the node's records piece by piece, each piece of bounded size, while the
//!   shard goes on. What changes between two pieces is in the log behind the position that the
//!   checkpoint names, so the replay brings it up to date. What does not change during the walk is
//!   copied exactly once.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::accounts::{Accounts, Effects, NOTHING, Pin};
use super::entry::{Entry, INLINE_RECORD_BYTES_MAX, Location, MetaPlace};
use super::node_table::NodeTable;
use super::settings::Settings;
use crate::extent::{Geometry, RunCount, coalesce, runs_one_by_one};
use crate::format::record::{
    BucketConfigV1, BucketV1, DeleteV1, MetaV1, Mutation, PartPutV1, PutV1, RunV1, SegmentV1, UploadPartV1,
    UploadV1,
};
use crate::hook::{Bug, Rare, reached};
use crate::index::{Found, OrderedIndex, PointTable, Step, keys};
use crate::log::RecordPlace;
use crate::types::traits::Traits;
use crate::types::{Attributes, BucketId, BucketUsage, Lock, Version};

/// A multipart upload in progress.
#[derive(Clone, Debug)]
pub struct Upload {
    pub initiated_ms: u64,
    pub attributes: Attributes,
    pub parts: BTreeMap<u16, UploadPartV1>,
}

/// Estimated memory of a bucket's record and of the copies that the cores keep, bytes. There are
/// few buckets, so an estimate is enough.
const BUCKET_BYTES: u64 = 4 << 10;
/// Estimated memory of an upload or a part beside its texts, bytes: its structure, its place in a
/// tree, and the allocator's overhead.
const UPLOAD_BYTES: u64 = 256;
const PART_BYTES: u64 = 320;

impl Upload {
    /// Returns the upload's memory without that of its parts, bytes.
    fn own_bytes(&self, key: &UploadKey) -> u64 {
        UPLOAD_BYTES + key.1.len() as u64 + attributes_bytes(&self.attributes)
    }

    fn memory_bytes(&self, key: &UploadKey) -> u64 {
        self.own_bytes(key) + self.parts.values().map(part_bytes).sum::<u64>()
    }
}

fn part_bytes(part: &UploadPartV1) -> u64 {
    PART_BYTES + part.info.checksum.len() as u64 + (part.segment.runs.len() * size_of::<RunV1>()) as u64
}

/// Returns the memory of a bucket's record and of the copies that the cores keep, bytes.
fn bucket_bytes(bucket: &BucketV1) -> u64 {
    let config: usize = bucket.config.iter().map(|(_, value)| 2 * value.len() + 64).sum();
    BUCKET_BYTES + config as u64
}

fn attributes_bytes(attributes: &Attributes) -> u64 {
    attributes
        .iter()
        .map(|(name, value)| (2 * size_of::<String>() + name.len() + value.len() + 32) as u64)
        .sum()
}

/// Bucket, key and upload id. Uploads are listed in this order.
pub type UploadKey = (u32, Vec<u8>, u128);

/// Estimated size of a bucket in a piece of a checkpoint, beside its texts, bytes.
const BUCKET_PIECE_BYTES: u64 = 256;

/// Everything in a shard that changes with its log.
pub struct State {
    pub(super) settings: Settings,
    /// The ordered index: the leaves.
    pub(super) index: OrderedIndex,
    /// The point table: where the object of each key is.
    pub(super) points: PointTable,
    pub(crate) uploads: BTreeMap<UploadKey, Upload>,
    /// Memory of all uploads, bytes. It is kept up to date with every change because each put reads
    /// it.
    uploads_bytes: u64,
    /// The buckets by id; empty in all shards but the system shard.
    pub(crate) buckets: BTreeMap<u32, BucketV1>,
    /// The id of the next bucket that is created.
    pub(super) next_bucket: u32,
    /// Memory of all buckets, bytes.
    buckets_bytes: u64,
    /// The records of the node; empty in all shards but the system shard.
    pub(super) node: NodeTable,
    /// What each bucket holds in this shard.
    usage: BTreeMap<u32, BucketUsage>,
    next_generation: u64,
    /// The time that was noted last, a Unix time in milliseconds; `None` while nothing was ever locked.
    pub(crate) clock_ms: Option<u64>,
    pub(crate) space: Accounts,
}

impl Effects {
    /// Notes that an entry is gone, with its records and slices.
    fn lose(&mut self, old: Entry) {
        self.lost[0] = (old.location.extent, old.record_length);
        if let Some(meta) = &old.meta {
            self.lost[1] = (meta.extent, meta.record_length);
        }
        let pin = Pin::of(&old);
        self.freed.extend(old.segments.into_iter().map(|segment| (pin, segment)));
    }

    /// Notes that the slices of an entry were moved, which frees only the places that they left.
    fn relocate(&mut self, old: &Entry, segments: &[SegmentV1]) {
        let count = |segments: &[SegmentV1]| {
            segments.iter().fold(RunCount::default(), |sum, segment| sum.plus(RunCount::of(segment)))
        };
        self.relocated = Some((count(&old.segments), count(segments)));
        for (before, after) in old.segments.iter().zip(segments) {
            let left = left_places(before, after);
            if !left.runs.is_empty() {
                self.freed.push((Pin::of(old), left));
            }
        }
    }
}

/// Returns the slices of `old` that are at another place in `new`.
fn left_places(old: &SegmentV1, new: &SegmentV1) -> SegmentV1 {
    let places = runs_one_by_one(old).zip(runs_one_by_one(new));
    let left = places.filter(|(before, after)| before != after).map(|(before, _)| before);
    SegmentV1 { runs: coalesce(left), ..*old }
}

/// The position of a walk over uploads: everything up to and including this part of this upload is
/// done.
#[derive(Clone, Debug)]
pub(super) struct UploadCursor {
    key: UploadKey,
    part: u16,
}

impl State {
    /// Returns the state of an empty shard.
    pub fn new(geometry: Geometry, settings: Settings) -> Self {
        Self {
            settings,
            index: OrderedIndex::new(),
            points: PointTable::new(),
            uploads: BTreeMap::new(),
            uploads_bytes: 0,
            buckets: BTreeMap::new(),
            next_bucket: 1,
            buckets_bytes: 0,
            node: NodeTable::default(),
            usage: BTreeMap::new(),
            next_generation: u64::from(geometry.epoch) << 40 | 1,
            clock_ms: None,
            space: Accounts::new(geometry),
        }
    }

    /// Returns a number that no other object, part or upload of this shard ever has. The epoch in
    /// it makes it unique across crashes.
    pub fn new_generation(&mut self) -> u64 {
        self.next_generation += 1;
        self.next_generation
    }

    /// Returns the entry of the newest version of a key.
    pub(super) fn newest(&self, bucket: BucketId, key: &[u8]) -> Option<Entry> {
        // Most keys that are asked for before a put are new ones, and the point table knows that.
        if self.points.find(self.hash(bucket, key)) == Found::None {
            return None;
        }
        self.first(&keys::stack(bucket.0, key))
    }

    /// Returns the first entry of a stack.
    fn first(&self, stack: &[u8]) -> Option<Entry> {
        let (rest, value) = self.index.first_with(stack)?;
        Entry::decode(keys::generation_of(rest)?, value)
    }

    /// Returns the entry of a version.
    pub(super) fn find(&self, bucket: BucketId, key: &[u8], version: Version) -> Option<Entry> {
        match version {
            Version::Newest => self.newest(bucket, key),
            Version::Null => {
                let newest = self.newest(bucket, key)?;
                let null = newest.null_version()?;
                if newest.is_null { Some(newest) } else { self.version(bucket, key, null) }
            }
            Version::Generation(generation) => self.version(bucket, key, generation),
        }
    }

    /// Returns the entry of the version with this generation.
    pub(crate) fn version(&self, bucket: BucketId, key: &[u8], generation: u64) -> Option<Entry> {
        let value = self.index.get(&keys::encode(bucket.0, key, generation))?;
        Entry::decode(generation, value)
    }

    /// Returns what a bucket holds in this shard.
    pub(super) fn usage(&self, bucket: BucketId) -> BucketUsage {
        self.usage.get(&bucket.0).copied().unwrap_or_default()
    }

    /// Returns what the shard holds of all buckets together.
    pub fn usage_of_all(&self) -> BucketUsage {
        self.usage.values().fold(BucketUsage::default(), |sum, usage| sum.plus(*usage))
    }

    /// Visits the keys of the index from `start` on, in order.
    pub(crate) fn visit(&self, start: &[u8], visitor: &mut dyn FnMut(&[u8]) -> Step) {
        self.index.visit(start, &mut |composite, _| visitor(composite));
    }

    /// Returns the memory of the index, of uploads in progress, of buckets and of the node's records,
    /// bytes.
    pub fn index_bytes(&self) -> u64 {
        (self.index.memory_bytes() + self.points.memory_bytes()) as u64
            + self.uploads_bytes
            + self.buckets_bytes
            + self.node.memory_bytes()
    }

    pub fn objects(&self) -> u64 {
        self.index.len()
    }

    /// Returns the hash under which the point table has a key.
    pub(super) fn hash(&self, bucket: BucketId, key: &[u8]) -> u64 {
        self.settings.hash(bucket, key)
    }

    pub(crate) fn index(&self) -> &OrderedIndex {
        &self.index
    }
}

impl State {
    /// Applies one record and returns what it changes in the shard's accounts.
    pub fn apply(&mut self, mutation: &Mutation, place: RecordPlace) -> Effects {
        match mutation {
            Mutation::Put(put) if place.moved => self.apply_moved(put, place),
            Mutation::Put(put) if put.change > 0 => self.apply_relocated(put, place),
            Mutation::Put(put) => self.apply_put(put, place),
            Mutation::Delete(delete) => self.apply_delete(delete),
            Mutation::Meta(meta) => self.apply_meta(meta, place),
            Mutation::UploadCreate(upload) => self.apply_upload(upload),
            Mutation::UploadPart(part) => self.apply_part(part),
            Mutation::UploadAbort(abort) => self.apply_abort((abort.bucket, abort.key.clone(), abort.upload)),
            Mutation::BucketPut(bucket) => {
                self.put_bucket(bucket.clone());
                Effects::default()
            }
            Mutation::BucketDelete(bucket) => {
                self.remove_bucket(bucket.id);
                Effects::default()
            }
            Mutation::BucketConfig(config) => {
                self.configure_bucket(config);
                Effects::default()
            }
            Mutation::Clock(clock) => {
                self.clock_ms = Some(clock.now_ms);
                Effects::default()
            }
            Mutation::NodeRecords(change) => {
                self.node.apply(change);
                Effects::default()
            }
            // Whoever writes or replays these records handles them.
            Mutation::LogExtent(_) | Mutation::SetPut(_) => Effects::default(),
        }
    }

    /// Adds a bucket from the log or from a checkpoint.
    ///
    /// A checkpoint may hold buckets that were created after its root was taken. Their ids are not
    /// given to another bucket even if the log behind the checkpoint is lost.
    pub(super) fn put_bucket(&mut self, bucket: BucketV1) {
        self.next_bucket = self.next_bucket.max(bucket.id.saturating_add(1));
        // A name is free when a bucket is created. If another bucket has it, the record of that
        // bucket's deletion was lost.
        let others = self.buckets.values().filter(|other| other.name == bucket.name);
        let replaced: Vec<u32> = others.map(|other| other.id).collect();
        replaced.into_iter().for_each(|id| self.remove_bucket(id));
        self.buckets_bytes += bucket_bytes(&bucket);
        self.buckets.insert(bucket.id, bucket);
    }

    fn remove_bucket(&mut self, id: u32) {
        if let Some(bucket) = self.buckets.remove(&id) {
            self.buckets_bytes -= bucket_bytes(&bucket);
        }
    }

    fn configure_bucket(&mut self, config: &BucketConfigV1) {
        let Some(bucket) = self.buckets.get_mut(&config.bucket) else { return };
        self.buckets_bytes -= bucket_bytes(bucket);
        let at = bucket.config.partition_point(|(kind, _)| *kind < config.kind);
        if bucket.config.get(at).is_some_and(|(kind, _)| *kind == config.kind) {
            bucket.config.remove(at);
        }
        if let Some(value) = &config.value {
            bucket.config.insert(at, (config.kind, value.clone()));
        }
        self.buckets_bytes += bucket_bytes(bucket);
    }

    fn apply_put(&mut self, put: &PutV1, place: RecordPlace) -> Effects {
        let entry = Entry::of_put(put, place.extent, place.offset, place.length);
        let mut effects = Effects { gained: (place.extent, place.length), ..Effects::default() };
        let mut stack = Stack::of(self, put.bucket, &put.key);
        if put.removes != 0
            && put.removes != put.generation
            && let Some(old) = stack.remove(put.removes)
        {
            effects.lose(old);
        }
        // Over leaves that have the version already, its record is replayed. Then nothing is freed.
        if let Some(old) = stack.set(&entry) {
            effects.lose(Entry { segments: Vec::new(), ..old });
        }
        stack.finish();
        if let Some(id) = put.upload
            && let Some(upload) = self.remove_upload(&(put.bucket, put.key.clone(), id))
        {
            let kept: BTreeSet<u64> = put.segments.iter().map(|segment| segment.generation).collect();
            let segments = upload.parts.into_values().map(|part| part.segment);
            let unused = segments.filter(|segment| !kept.contains(&segment.generation));
            let before = effects.freed.len();
            effects.freed.extend(unused.map(|segment| (Pin::of_part(&segment), segment)));
            if effects.freed.len() > before {
                reached(Rare::PartUnused);
            }
        }
        effects
    }

    /// Applies a copy of a version's record at another place.
    fn apply_moved(&mut self, put: &PutV1, place: RecordPlace) -> Effects {
        let current = self.version(BucketId(put.bucket), &put.key, put.generation);
        let Some(old) = current.filter(|entry| entry.change == put.change) else {
            reached(Rare::MoveLost);
            return Effects::default();
        };
        reached(Rare::RecordMoved);
        let large = old.is_large() || place.length > INLINE_RECORD_BYTES_MAX;
        let location = Location::new(place.extent, place.offset, place.length, put.generation, large);
        let mut new = Entry { location, record_length: place.length, ..old.clone() };
        if self.space.planted().is(Bug::MoveUnlocked) {
            new.traits.lock = Lock::default();
        }
        self.alter(put.bucket, &put.key, &old, &new);
        let lost = [(old.location.extent, old.record_length), NOTHING];
        Effects { gained: (place.extent, place.length), lost, ..Effects::default() }
    }

    /// Applies the record of a version whose slices were moved.
    fn apply_relocated(&mut self, put: &PutV1, place: RecordPlace) -> Effects {
        let Some(old) = self.version(BucketId(put.bucket), &put.key, put.generation) else {
            // This is a replay over leaves from which the version was removed later.
            return Effects::default();
        };
        let location = Location::new(place.extent, place.offset, place.length, put.generation, true);
        let new = Entry {
            location,
            record_length: place.length,
            change: put.change,
            segments: put.segments.clone(),
            ..old.clone()
        };
        self.alter(put.bucket, &put.key, &old, &new);
        let mut effects = Effects { gained: (place.extent, place.length), ..Effects::default() };
        effects.lost[0] = (old.location.extent, old.record_length);
        effects.relocate(&old, &put.segments);
        effects
    }

    fn apply_delete(&mut self, delete: &DeleteV1) -> Effects {
        let mut effects = Effects::default();
        let mut stack = Stack::unread(self, delete.bucket, &delete.key);
        if let Some(old) = stack.remove(delete.removes) {
            stack.before = Some(Newest::of(&old));
            effects.lose(old);
        }
        stack.name_null(delete.null);
        stack.finish();
        effects
    }

    /// Applies a change of a version's metadata, or a copy of such a record at another place.
    fn apply_meta(&mut self, meta: &MetaV1, place: RecordPlace) -> Effects {
        let current = self.version(BucketId(meta.bucket), &meta.key, meta.generation);
        let has = current.as_ref().and_then(|entry| entry.meta).map_or(0, |meta| meta.change);
        let counts = !place.moved || has == meta.change || self.space.planted().is(Bug::RollBackMetadata);
        let Some(old) = current.filter(|_| counts) else {
            reached(Rare::MoveLost);
            return Effects::default();
        };
        if place.moved {
            reached(Rare::MetaMoved);
        }
        let mut new = old.clone();
        new.set_meta(MetaPlace {
            extent: place.extent,
            offset: place.offset,
            record_length: place.length,
            change: meta.change,
        });
        new.modified_ms = meta.modified_ms;
        // A copy says what the index knows already, but for the tags of a record that was lost.
        if !place.moved {
            new.traits = Traits::of(&meta.attributes);
        }
        if self.space.planted().is(Bug::LoseRetention) {
            new.traits.lock.retention = None;
        }
        self.alter(meta.bucket, &meta.key, &old, &new);
        let lost = old.meta.map_or(NOTHING, |meta| (meta.extent, meta.record_length));
        Effects { gained: (place.extent, place.length), lost: [lost, NOTHING], ..Effects::default() }
    }

    /// Replaces the entry of a version by one of the same version.
    fn alter(&mut self, bucket: u32, key: &[u8], old: &Entry, new: &Entry) {
        let mut value = Vec::with_capacity(64);
        new.encode(&mut value);
        self.index.insert(&keys::encode(bucket, key, new.generation), &value);
        // The point table has the newest version of the key alone, and so perhaps not this one.
        self.points.replace(self.hash(BucketId(bucket), key), old.location.pack(), new.location.pack());
    }

    fn apply_upload(&mut self, upload: &UploadV1) -> Effects {
        let parts = upload.parts.iter().map(|part| (part.info.number, part.clone())).collect();
        let entry =
            Upload { initiated_ms: upload.initiated_ms, attributes: upload.attributes.clone(), parts };
        self.add_upload((upload.bucket, upload.key.clone(), upload.id), entry);
        Effects::default()
    }

    /// Adds an upload, and replaces one of the same key.
    pub(super) fn add_upload(&mut self, key: UploadKey, upload: Upload) {
        self.remove_upload(&key);
        self.uploads_bytes += upload.memory_bytes(&key);
        self.uploads.insert(key, upload);
    }

    /// Removes an upload and returns it.
    pub(super) fn remove_upload(&mut self, key: &UploadKey) -> Option<Upload> {
        let upload = self.uploads.remove(key)?;
        self.uploads_bytes -= upload.memory_bytes(key);
        Some(upload)
    }

    fn apply_part(&mut self, part: &PartPutV1) -> Effects {
        let key = (part.bucket, part.key.clone(), part.upload);
        let Some(replaced) = self.set_part(&key, part.part.clone()) else {
            // The upload was aborted or completed meanwhile, so nothing names the part's slices.
            return Effects {
                freed: vec![(Pin::of_part(&part.part.segment), part.part.segment.clone())],
                ..Effects::default()
            };
        };
        let freed =
            replaced.map(|old| old.segment).filter(|old| old.generation != part.part.segment.generation);
        if freed.is_some() {
            reached(Rare::PartReplaced);
        }
        Effects {
            freed: freed.map(|segment| (Pin::of_part(&segment), segment)).into_iter().collect(),
            ..Effects::default()
        }
    }

    /// Puts a part into its upload and returns the part that it replaces. Returns `None` when there
    /// is no such upload.
    pub(super) fn set_part(&mut self, key: &UploadKey, part: UploadPartV1) -> Option<Option<UploadPartV1>> {
        let upload = self.uploads.get_mut(key)?;
        self.uploads_bytes += part_bytes(&part);
        let replaced = upload.parts.insert(part.info.number, part);
        self.uploads_bytes -= replaced.as_ref().map_or(0, part_bytes);
        Some(replaced)
    }

    fn apply_abort(&mut self, key: UploadKey) -> Effects {
        let parts = self.remove_upload(&key).map(|upload| upload.parts).unwrap_or_default();
        let freed = parts.into_values().map(|part| (Pin::of_part(&part.segment), part.segment)).collect();
        Effects { freed, ..Effects::default() }
    }
}

/// The stack of a key while a record changes it: leaves, point table and usage follow together.
struct Stack<'a> {
    state: &'a mut State,
    bucket: u32,
    /// What the composite keys of the stack begin with.
    stack: Vec<u8>,
    hash: u64,
    /// The newest entry before the change.
    before: Option<Newest>,
    /// The newest entry now, or `None` when it has to be looked up.
    now: Option<Option<Newest>>,
    /// What is added to the usage of the bucket.
    added: BucketUsage,
    /// What is taken from the usage of the bucket.
    removed: BucketUsage,
}

/// What is known of the newest entry of a stack.
#[derive(Clone, Copy)]
struct Newest {
    generation: u64,
    location: u64,
    is_marker: bool,
}

impl Newest {
    fn of(entry: &Entry) -> Self {
        let (generation, is_marker) = (entry.generation, entry.is_marker);
        Self { generation, location: entry.location.pack(), is_marker }
    }
}

impl<'a> Stack<'a> {
    fn of(state: &'a mut State, bucket: u32, key: &[u8]) -> Self {
        let (stack, hash) = (keys::stack(bucket, key), state.hash(BucketId(bucket), key));
        let is_new = state.points.find(hash) == Found::None;
        let before = if is_new { None } else { newest_of(&state.index, &stack) };
        let (added, removed) = (BucketUsage::default(), BucketUsage::default());
        Self { state, bucket, stack, hash, before, now: Some(before), added, removed }
    }

    /// Returns a stack from which one version is removed, which becomes `before`. Whether it was the
    /// newest is known once what is left was looked at.
    fn unread(state: &'a mut State, bucket: u32, key: &[u8]) -> Self {
        let (stack, hash) = (keys::stack(bucket, key), state.hash(BucketId(bucket), key));
        let (added, removed) = (BucketUsage::default(), BucketUsage::default());
        Self { state, bucket, stack, hash, before: None, now: None, added, removed }
    }

    fn composite(&self, generation: u64) -> Vec<u8> {
        let mut composite = Vec::with_capacity(self.stack.len() + keys::GENERATION_BYTES);
        composite.extend_from_slice(&self.stack);
        keys::push_generation(&mut composite, generation);
        composite
    }

    /// Removes a version and returns it.
    fn remove(&mut self, generation: u64) -> Option<Entry> {
        let removed = self.state.index.remove(&self.composite(generation))?;
        let old = Entry::decode(generation, &removed)?;
        self.removed = self.removed.plus(usage_of(&old));
        if self.now.flatten().is_some_and(|newest| newest.generation == generation) {
            self.now = None;
        }
        Some(old)
    }

    /// Adds a version, and returns the entry of the same version that was there.
    fn set(&mut self, entry: &Entry) -> Option<Entry> {
        let mut value = Vec::with_capacity(64);
        entry.encode(&mut value);
        let replaced = self.state.index.insert(&self.composite(entry.generation), &value);
        self.added = self.added.plus(usage_of(entry));
        let replaced = replaced.and_then(|value| Entry::decode(entry.generation, &value));
        if let Some(old) = &replaced {
            self.removed = self.removed.plus(usage_of(old));
        }
        // Only in a replay there may be a newer one already.
        if self.before.is_none_or(|newest| newest.generation <= entry.generation) {
            self.now = Some(Some(Newest::of(entry)));
        }
        replaced
    }

    /// Makes the newest entry say which version is the null version.
    fn name_null(&mut self, null: u64) {
        let Some(newest) = self.state.first(&self.stack) else {
            self.now = Some(None);
            return;
        };
        // A version that was removed and is older than what is left was not the newest.
        if self.before.is_none_or(|before| before.generation < newest.generation) {
            self.before = Some(Newest::of(&newest));
        }
        if !newest.is_null && newest.null != null {
            let mut value = Vec::with_capacity(64);
            Entry { null, ..newest.clone() }.encode(&mut value);
            self.state.index.insert(&self.composite(newest.generation), &value);
        }
        self.now = Some(Some(Newest::of(&newest)));
    }

    /// Makes point table and usage follow.
    fn finish(self) {
        let Self { state, bucket, stack, hash, before, now, mut added, mut removed } = self;
        let now = now.unwrap_or_else(|| newest_of(&state.index, &stack));
        match (before, now) {
            (None, Some(now)) => state.points.insert(hash, now.location),
            (Some(before), Some(now)) => {
                let replaced = state.points.replace(hash, before.location, now.location);
                debug_assert!(replaced, "leaves and point table disagree");
            }
            (Some(before), None) => {
                let removed = state.points.remove(hash, before.location);
                debug_assert!(removed, "leaves and point table disagree");
            }
            (None, None) => {}
        }
        added.keys = u64::from(now.is_some_and(|newest| !newest.is_marker));
        removed.keys = u64::from(before.is_some_and(|newest| !newest.is_marker));
        state.change_usage(bucket, added, removed);
    }
}

fn newest_of(index: &OrderedIndex, stack: &[u8]) -> Option<Newest> {
    let (rest, value) = index.first_with(stack)?;
    let location = u64::from_le_bytes(*value.first_chunk()?);
    let is_marker = Entry::is_encoded_marker(value);
    Some(Newest { generation: keys::generation_of(rest)?, location, is_marker })
}

/// Returns what one version adds to the usage of its bucket, without its key.
fn usage_of(entry: &Entry) -> BucketUsage {
    let marker = u64::from(entry.is_marker);
    BucketUsage { keys: 0, versions: 1 - marker, markers: marker, bytes: entry.size }
}

impl State {
    fn change_usage(&mut self, bucket: u32, added: BucketUsage, removed: BucketUsage) {
        let usage = self.usage.entry(bucket).or_default();
        let sum = usage.plus(added);
        *usage = BucketUsage {
            keys: sum.keys - removed.keys,
            versions: sum.versions - removed.versions,
            markers: sum.markers - removed.markers,
            bytes: sum.bytes.wrapping_sub(removed.bytes),
        };
        if usage.versions + usage.markers == 0 {
            self.usage.remove(&bucket);
        }
    }

    /// Fills point table and usage from the leaves of a checkpoint.
    ///
    /// # Errors
    /// Returns false when an entry can not be decoded.
    pub(super) fn fill_from_leaves(&mut self) -> bool {
        self.points.reserve(self.keys());
        let planted = self.space.planted();
        let Self { index, points, settings, usage, .. } = self;
        let (mut stack, mut sound, mut lost) = (Vec::new(), true, Vec::new());
        index.visit(&[], &mut |composite, value| {
            let Some((bucket, key, generation)) = keys::decode(composite) else {
                sound = false;
                return Step::Stop;
            };
            let Some(entry) = Entry::decode(generation, value) else {
                sound = false;
                return Step::Stop;
            };
            if entry.is_marker && planted.is(Bug::LoseMarkers) {
                lost.push(composite.to_vec());
                return Step::Continue;
            }
            let usage = usage.entry(bucket).or_default();
            *usage = usage.plus(usage_of(&entry));
            if stack != keys::stack_of(composite) {
                stack = keys::stack_of(composite).to_vec();
                points.insert(settings.hash(BucketId(bucket), &key), entry.location.pack());
                usage.keys += u64::from(!entry.is_marker);
            }
            Step::Continue
        });
        lost.iter().for_each(|composite| drop(self.index.remove(composite)));
        sound
    }

    /// Counts the keys of the index. The point table has one entry for each, however many versions
    /// there are.
    fn keys(&self) -> usize {
        let (mut stack, mut keys) = (Vec::new(), 0);
        self.index.visit(&[], &mut |composite, _| {
            if stack != keys::stack_of(composite) {
                stack.clear();
                stack.extend_from_slice(keys::stack_of(composite));
                keys += 1;
            }
            Step::Continue
        });
        keys
    }

    /// Removes a version from the index as if it had never been there.
    pub(super) fn forget(&mut self, bucket: u32, key: &[u8], generation: u64) {
        let mut stack = Stack::of(self, bucket, key);
        stack.remove(generation);
        stack.finish();
        self.mend_null(bucket, key);
    }

    /// Makes the newest entry of a key name its null version, after records were lost. If there are
    /// several, only the newest null version is kept.
    pub(super) fn mend_null(&mut self, bucket: u32, key: &[u8]) {
        let start = keys::stack(bucket, key);
        let mut nulls = Vec::new();
        self.index.visit(&start, &mut |composite, value| {
            if keys::stack_of(composite) != start {
                return Step::Stop;
            }
            let generation = keys::generation_of(&composite[start.len()..]).unwrap_or(0);
            if Entry::listed(value).is_some_and(|listed| listed.is_null) {
                nulls.push(generation);
            }
            Step::Continue
        });
        let mut stack = Stack::of(self, bucket, key);
        for generation in nulls.iter().skip(1) {
            stack.remove(*generation);
        }
        stack.name_null(nulls.first().copied().unwrap_or(0));
        stack.finish();
    }
}

impl State {
    /// Returns the next uploads with their parts, about `bytes` of memory, and where to continue.
    /// Returns `None` when there are no more.
    pub(super) fn uploads_after(
        &self,
        after: Option<&UploadCursor>,
        bytes: u64,
    ) -> Option<(Vec<UploadV1>, UploadCursor)> {
        let (mut pieces, mut cursor, mut taken): (Vec<UploadV1>, Option<UploadCursor>, u64) =
            (Vec::new(), None, 0);
        let start = after.map_or(Bound::Unbounded, |cursor| Bound::Included(&cursor.key));
        for (key, upload) in self.uploads.range((start, Bound::Unbounded)) {
            let resumed = after.filter(|cursor| cursor.key == *key).map(|cursor| cursor.part);
            let mut parts = upload.parts.range(resumed.map_or(0, |part| part + 1)..).peekable();
            if resumed.is_some() && parts.peek().is_none() {
                continue;
            }
            let mut piece = UploadV1 {
                bucket: key.0,
                key: key.1.clone(),
                id: key.2,
                initiated_ms: upload.initiated_ms,
                attributes: upload.attributes.clone(),
                parts: Vec::new(),
            };
            taken += upload.own_bytes(key);
            let mut last = resumed.unwrap_or(0);
            while let Some((number, part)) = parts.next_if(|_| taken < bytes || piece.parts.is_empty()) {
                taken += part_bytes(part);
                last = *number;
                piece.parts.push(part.clone());
            }
            pieces.push(piece);
            cursor = Some(UploadCursor { key: key.clone(), part: last });
            if taken >= bytes {
                break;
            }
        }
        cursor.map(|cursor| (pieces, cursor))
    }

    /// Returns the next buckets, about `bytes` of memory, or `None` when there are no more.
    pub(super) fn buckets_after(&self, after: Option<u32>, bytes: u64) -> Option<Vec<BucketV1>> {
        let (mut buckets, mut taken) = (Vec::new(), 0);
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        for bucket in self.buckets.range((start, Bound::Unbounded)).map(|(_, bucket)| bucket) {
            let texts = bucket.name.len() + bucket.owner.len();
            let config: usize = bucket.config.iter().map(|(_, value)| value.len() + 8).sum();
            taken += BUCKET_PIECE_BYTES + (texts + config) as u64 + attributes_bytes(&bucket.attributes);
            buckets.push(bucket.clone());
            if taken >= bytes {
                break;
            }
        }
        (!buckets.is_empty()).then_some(buckets)
    }

    /// Adds an upload, or more parts of one, from a checkpoint during recovery.
    pub(super) fn load_upload(&mut self, piece: UploadV1) {
        let key = (piece.bucket, piece.key, piece.id);
        if !self.uploads.contains_key(&key) {
            let (initiated_ms, attributes) = (piece.initiated_ms, piece.attributes);
            self.add_upload(key.clone(), Upload { initiated_ms, attributes, parts: Default::default() });
        }
        piece.parts.into_iter().for_each(|part| drop(self.set_part(&key, part)));
    }
}
