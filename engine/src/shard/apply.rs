//! What each record does to the index: the same code for a live commit and for recovery.
//!
//! Invariants:
//! - Applying the log from any point at or before a checkpoint's own, in order, over that checkpoint's leaves gives
//!   the same state (the leaves of a checkpoint are taken while the shard goes on).
//! - A moved copy counts only if the index still has the same generation at another place.
//! - An object whose slices were moved is put anew: with a new generation, and the segments it had, at other places.

use super::entry::{Entry, INLINE_RECORD_BYTES_MAX, Location};
use super::{State, Upload, UploadKey, part_bytes};
use crate::extent::{RunCount, coalesce, runs_one_by_one};
use crate::format::record::{BucketV1, Mutation, PartPutV1, PutV1, SegmentV1, UploadPartV1, UploadV1};
use crate::hook::{Rare, reached};
use crate::index::keys;
use crate::log::RecordPlace;
use crate::types::BucketId;

/// What a live shard must account for after a change. Recovery derives it anew instead.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// Extent and bytes of the record that is live now.
    pub gained: Option<(u32, u32)>,
    /// Extent and bytes of the record that is dead now.
    pub lost: Option<(u32, u32)>,
    /// Slices that nothing names any more, with the generation of the object that readers may have pinned.
    pub freed: Vec<(u64, SegmentV1)>,
    /// Of an object whose slices were moved: its runs as they were, and as they are.
    pub relocated: Option<(RunCount, RunCount)>,
}

impl Effects {
    /// `put` takes the place of `old`. A segment that both have was moved: only the places it left are free.
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

/// Of the slices of `old`, those that are elsewhere in `new`.
fn left_places(old: &SegmentV1, new: &SegmentV1) -> SegmentV1 {
    let places = runs_one_by_one(old).zip(runs_one_by_one(new));
    let left = places.filter(|(before, after)| before != after).map(|(before, _)| before);
    SegmentV1 { runs: coalesce(left), ..*old }
}

impl State {
    /// Applies one record.
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
            // The writer and the replay follow the log by themselves.
            Mutation::LogExtent(_) => Effects::default(),
        }
    }

    /// Adds a bucket, from the log or from a checkpoint. That may hold buckets which were made after its root was
    /// taken: without the log behind it, their ids are given to no other bucket either.
    pub(super) fn put_bucket(&mut self, bucket: BucketV1) {
        self.next_bucket = self.next_bucket.max(bucket.id.saturating_add(1));
        // Names are free when they are given: one that is taken is that of a bucket whose deletion was lost.
        self.buckets.retain(|_, other| other.name != bucket.name);
        self.buckets.insert(bucket.id, bucket);
    }

    fn apply_put(&mut self, put: &PutV1, place: RecordPlace) -> Effects {
        let entry = Entry::of_put(put, place.extent, place.offset, place.length);
        let mut effects = Effects { gained: Some((place.extent, place.length)), ..Effects::default() };
        if let Some(old) = self.set_entry(put.bucket, &put.key, &entry) {
            effects.lost = Some((old.location.extent, old.record_length));
            // Replayed over leaves that have it already, an object does not free itself.
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
        let hash = self.geometry.hash(BucketId(bucket), key);
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

    pub(super) fn add_upload(&mut self, key: UploadKey, upload: Upload) {
        self.remove_upload(&key);
        self.uploads_bytes += upload.memory_bytes(&key);
        self.uploads.insert(key, upload);
    }

    pub(super) fn remove_upload(&mut self, key: &UploadKey) -> Option<Upload> {
        let upload = self.uploads.remove(key)?;
        self.uploads_bytes -= upload.memory_bytes(key);
        Some(upload)
    }

    fn apply_part(&mut self, part: &PartPutV1) -> Effects {
        let key = (part.bucket, part.key.clone(), part.upload);
        let Some(replaced) = self.set_part(&key, part.part.clone()) else {
            // Aborted or completed meanwhile: nothing names the part's slices.
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

    /// Puts a part into its upload; gives the one that it takes the place of. None: there is no such upload.
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

    /// Points leaf and table at `entry`; returns what was there.
    fn set_entry(&mut self, bucket: u32, key: &[u8], entry: &Entry) -> Option<Entry> {
        let mut value = Vec::with_capacity(64);
        entry.encode(&mut value);
        let hash = self.geometry.hash(BucketId(bucket), key);
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
