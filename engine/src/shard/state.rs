//! The state of a shard: its index, its uploads in progress and, in the system shard, the buckets.
//!
//! Invariants:
//! - The index, the uploads and the buckets change only through [`State::apply`], in the order of the
//!   log. A live commit and recovery run the same code; recovery loads a checkpoint before.
//! - Applying the log in order, from any point at or before the position that a checkpoint names,
//!   over the leaves of that checkpoint gives the same state. The leaves are copied while the shard
//!   goes on.
//! - A moved copy counts only if the index still has the same generation at another place.
//! - An object whose slices were moved is put anew, with a new generation and with the segments
//!   that it had, at other places.
//! - A checkpoint copies uploads and buckets piece by piece, each piece of bounded size, while the
//!   shard goes on. What changes between two pieces is in the log behind the position that the
//!   checkpoint names, so the replay brings it up to date. What does not change during the walk is
//!   copied exactly once.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::accounts::{Accounts, Effects};
use super::entry::{Entry, INLINE_RECORD_BYTES_MAX, Location};
use super::settings::Settings;
use crate::extent::{Geometry, RunCount, coalesce, runs_one_by_one};
use crate::format::record::{BucketV1, Mutation, PartPutV1, PutV1, RunV1, SegmentV1, UploadPartV1, UploadV1};
use crate::hook::{Rare, reached};
use crate::index::{OrderedIndex, PointTable, Step, keys};
use crate::log::RecordPlace;
use crate::types::{Attributes, BucketId};

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
    next_generation: u64,
    pub(crate) space: Accounts,
}

impl Effects {
    /// Notes which slices become free when `put` replaces `old`. A segment that both have was
    /// moved, and frees only the places that it left.
    fn replace(&mut self, old: &Entry, put: &PutV1) {
        let count = |segments: &[SegmentV1]| {
            segments.iter().fold(RunCount::default(), |sum, segment| sum.plus(RunCount::of(segment)))
        };
        for segment in &old.segments {
            let kept = put.segments.iter().find(|kept| kept.generation == segment.generation);
            let freed = match kept {
                Some(kept) => {
                    self.relocated = Some((count(&old.segments), count(&put.segments)));
                    left_places(segment, kept)
                }
                None => segment.clone(),
            };
            if !freed.runs.is_empty() {
                self.freed.push((old.generation, freed));
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
            next_generation: u64::from(geometry.epoch) << 40 | 1,
            space: Accounts::new(geometry),
        }
    }

    /// Returns a number that no other object, part or upload of this shard ever has. The epoch in
    /// it makes it unique across crashes.
    pub fn new_generation(&mut self) -> u64 {
        self.next_generation += 1;
        self.next_generation
    }

    /// Returns the index entry of a key.
    pub(super) fn entry(&self, bucket: BucketId, key: &[u8]) -> Option<Entry> {
        let composite = keys::encode(bucket.0, key);
        self.index.get(&composite).and_then(Entry::decode)
    }

    /// Visits the keys of the index from `start` on, in order.
    pub(crate) fn visit(&self, start: &[u8], visitor: &mut dyn FnMut(&[u8]) -> Step) {
        self.index.visit(start, &mut |composite, _| visitor(composite));
    }

    /// Returns the memory of the index, of uploads in progress and of buckets, bytes.
    pub fn index_bytes(&self) -> u64 {
        let buckets = self.buckets.len() as u64 * BUCKET_BYTES;
        (self.index.memory_bytes() + self.points.memory_bytes()) as u64 + self.uploads_bytes + buckets
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
            Mutation::Put(put) => self.apply_put(put, place),
            Mutation::Delete(delete) => self.apply_delete(delete.bucket, &delete.key),
            Mutation::UploadCreate(upload) => self.apply_upload(upload),
            Mutation::UploadPart(part) => self.apply_part(part),
            Mutation::UploadAbort(abort) => self.apply_abort((abort.bucket, abort.key.clone(), abort.upload)),
            Mutation::BucketPut(bucket) => {
                self.put_bucket(bucket.clone());
                Effects::default()
            }
            Mutation::BucketDelete(bucket) => {
                self.buckets.remove(&bucket.id);
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
        self.buckets.retain(|_, other| other.name != bucket.name);
        self.buckets.insert(bucket.id, bucket);
    }

    fn apply_put(&mut self, put: &PutV1, place: RecordPlace) -> Effects {
        let entry = Entry::of_put(put, place.extent, place.offset, place.length);
        let mut effects = Effects { gained: Some((place.extent, place.length)), ..Effects::default() };
        if let Some(old) = self.set_entry(put.bucket, &put.key, &entry) {
            effects.lost = Some((old.location.extent, old.record_length));
            // When an object is replayed over leaves that have it already, it must not free itself.
            if old.generation != put.generation {
                effects.replace(&old, put);
            }
        }
        if let Some(id) = put.upload
            && let Some(upload) = self.remove_upload(&(put.bucket, put.key.clone(), id))
        {
            let used =
                |segment: &SegmentV1| put.segments.iter().any(|kept| kept.generation == segment.generation);
            let unused = upload.parts.into_values().map(|part| part.segment).filter(|segment| !used(segment));
            let before = effects.freed.len();
            effects.freed.extend(unused.map(|segment| (segment.generation, segment)));
            if effects.freed.len() > before {
                reached(Rare::PartUnused);
            }
        }
        effects
    }

    fn apply_moved(&mut self, put: &PutV1, place: RecordPlace) -> Effects {
        let current = self.entry(BucketId(put.bucket), &put.key);
        let Some(old) = current.filter(|entry| entry.generation == put.generation) else {
            reached(Rare::MoveLost);
            return Effects::default();
        };
        reached(Rare::RecordMoved);
        let large = old.is_large() || place.length > INLINE_RECORD_BYTES_MAX;
        let location = Location::new(place.extent, place.offset, place.length, put.generation, large);
        let lost = Some((old.location.extent, old.record_length));
        self.set_entry(put.bucket, &put.key, &Entry { location, record_length: place.length, ..old });
        Effects { gained: Some((place.extent, place.length)), lost, ..Effects::default() }
    }

    fn apply_delete(&mut self, bucket: u32, key: &[u8]) -> Effects {
        let composite = keys::encode(bucket, key);
        let Some(old) = self.index.remove(&composite).and_then(|bytes| Entry::decode(&bytes)) else {
            return Effects::default();
        };
        let hash = self.hash(BucketId(bucket), key);
        let removed = self.points.remove(hash, old.location.pack());
        debug_assert!(removed, "leaves and point table disagree");
        Effects {
            gained: None,
            lost: Some((old.location.extent, old.record_length)),
            freed: old.segments.into_iter().map(|segment| (old.generation, segment)).collect(),
            relocated: None,
        }
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
                freed: vec![(part.part.segment.generation, part.part.segment.clone())],
                ..Effects::default()
            };
        };
        let freed =
            replaced.map(|old| old.segment).filter(|old| old.generation != part.part.segment.generation);
        if freed.is_some() {
            reached(Rare::PartReplaced);
        }
        Effects {
            freed: freed.map(|segment| (segment.generation, segment)).into_iter().collect(),
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
        let freed = parts.into_values().map(|part| (part.segment.generation, part.segment)).collect();
        Effects { freed, ..Effects::default() }
    }

    /// Points leaf and point table at `entry` and returns the entry that it replaces.
    fn set_entry(&mut self, bucket: u32, key: &[u8], entry: &Entry) -> Option<Entry> {
        let mut value = Vec::with_capacity(64);
        entry.encode(&mut value);
        let hash = self.hash(BucketId(bucket), key);
        let old =
            self.index.insert(&keys::encode(bucket, key), &value).and_then(|bytes| Entry::decode(&bytes));
        match &old {
            Some(old) => {
                let replaced = self.points.replace(hash, old.location.pack(), entry.location.pack());
                debug_assert!(replaced, "leaves and point table disagree");
            }
            None => self.points.insert(hash, entry.location.pack()),
        }
        old
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
            taken += BUCKET_PIECE_BYTES + texts as u64 + attributes_bytes(&bucket.attributes);
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
