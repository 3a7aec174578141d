//! This module models multipart uploads as the clients know them. All clients share all uploads.
//!
//! Invariants:
//! - An upload ends once: by one Complete, one Abort, the end of its bucket, or its age.
//! - Each part has a history of its own, like a key. A Complete takes what it names of each, or
//!   nothing.

use std::collections::BTreeMap;

use ringbolt_engine::types::{BucketId, Etag, UploadId, UploadInfo};

use super::model::{Key, Model, Stored};

/// This is a call that ends an upload: it succeeded, or may happen at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ending {
    pub begun: u64,
    /// This is what the parts become; `None` is an abort.
    pub object: Option<Stored>,
}

#[derive(Clone, Debug)]
pub struct Upload {
    pub bucket: BucketId,
    pub key: Vec<u8>,
    /// This is the tick by which it was known.
    pub known: u64,
    /// This is the wall clock before it was begun.
    pub begun_ms: u64,
    pub parts: BTreeMap<u16, Key>,
    pub endings: Vec<Ending>,
    /// Holds the tick by which it had ended, and the begin of the call that ended it.
    pub ended: Option<(u64, u64)>,
}

/// Holds every upload that is, or may be, in progress.
#[derive(Clone, Debug, Default)]
pub struct Uploads {
    pub known: BTreeMap<UploadId, Upload>,
    /// Holds bucket and key of creates that were not answered.
    pub creating: Vec<(BucketId, Vec<u8>)>,
    /// Holds the upload of a completed object, by its tag.
    objects: BTreeMap<u64, UploadId>,
}

impl Upload {
    pub fn new(bucket: BucketId, key: Vec<u8>, known: u64, begun_ms: u64) -> Self {
        Self { bucket, key, known, begun_ms, parts: BTreeMap::new(), endings: Vec::new(), ended: None }
    }

    /// Returns whether an operation that begins at `from` cannot find it.
    pub fn was_over(&self, from: u64) -> bool {
        self.ended.is_some_and(|(tick, _)| tick < from)
    }

    /// Returns whether a call other than the one begun at `own` may have ended it.
    pub fn may_be_over(&self, own: u64) -> bool {
        self.endings.iter().any(|ending| ending.begun != own)
    }

    /// Records that the call begun at `own` ended it.
    ///
    /// # Panics
    /// Panics when another call had ended it.
    pub fn end(&mut self, own: u64, now: u64) {
        let (_, by) = *self.ended.get_or_insert((now, own));
        assert_eq!(by, own, "the upload ended twice: {self:?}");
    }

    /// Compares parts that an operation between `from` and `now` saw.
    ///
    /// # Errors
    /// Returns what is impossible.
    pub fn see(&mut self, info: &UploadInfo, from: u64, now: u64) -> Result<(), String> {
        let found = parts_of(info);
        for (number, stored) in &found {
            let part = self.parts.get_mut(number);
            let part = part.ok_or_else(|| format!("part {number} was never put"))?;
            if let Some(possible) = part.see(from, now, Some(*stored)) {
                return Err(format!("part {number} is {stored:?}, possible is {possible}"));
            }
        }
        let missing = self
            .parts
            .iter()
            .find(|(number, part)| !found.contains_key(number) && part.is_certain(from, now));
        missing.map_or(Ok(()), |(number, part)| Err(format!("part {number} is missing: {part:?}")))
    }

    /// Takes the existing parts as certain.
    pub fn settle(&mut self, info: &UploadInfo, now: u64) {
        self.parts.clear();
        for (number, stored) in parts_of(info) {
            self.parts.entry(number).or_default().settle(Some(stored), now);
        }
        self.endings.clear();
    }
}

/// Returns number and body of each part.
pub fn parts_of(info: &UploadInfo) -> BTreeMap<u16, Stored> {
    let stored = |etag: &Etag, size| Stored { tag: super::tag_of(etag), size };
    info.parts.iter().map(|part| (part.number, stored(&part.etag, part.size_bytes))).collect()
}

impl Uploads {
    pub fn get(&mut self, id: UploadId) -> &mut Upload {
        self.known.get_mut(&id).unwrap_or_else(|| panic!("{id:?} is not in the model"))
    }

    /// Records that an operation saw a completed object, so that its upload has ended.
    pub fn saw_object(&mut self, tag: u64, now: u64) {
        let upload = self.objects.get(&tag).and_then(|id| self.known.get_mut(id));
        if let Some(upload) = upload {
            let own = upload.endings.iter().find(|ending| ending.object.is_some_and(|of| of.tag == tag));
            let own = own.map(|ending| ending.begun);
            own.into_iter().for_each(|own| upload.end(own, now));
        }
    }
}

impl Model {
    /// Begins a call that ends an upload; `None` as the object is an abort.
    pub fn begin_ending(&mut self, id: UploadId, object: Option<Stored>) -> u64 {
        let (bucket, key) = {
            let upload = self.uploads.get(id);
            (upload.bucket, upload.key.clone())
        };
        let begun = match object {
            Some(stored) => {
                self.uploads.objects.insert(stored.tag, id);
                self.begin(bucket, &key, object)
            }
            None => self.tick(),
        };
        self.uploads.get(id).endings.push(Ending { begun, object });
        begun
    }

    /// Returns whether an operation since `from` may have been told that there is no such upload.
    pub fn may_miss_upload(&mut self, id: UploadId, own: u64, from: u64) -> bool {
        let upload = self.uploads.get(id);
        let (over, bucket) = (upload.may_be_over(own), upload.bucket);
        over || self.bucket(bucket).may_be_missed(from)
    }
}
