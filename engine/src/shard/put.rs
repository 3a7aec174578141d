//! Putting: one record makes a body the object of its key.
//!
//! The way of a put on its owner: lock the key, check bucket and condition, make room in the log, queue the record,
//! wait until it is durable and applied. A caller that goes away before the record is queued leaves nothing; one that
//! goes away later does not stop it.

use std::rc::Rc;

use super::Shard;
use super::entry::Entry;
use super::multipart::part_info;
use super::space::Reserved;
use crate::error::{EngineError, Result};
use crate::extent::keeper::Class;
use crate::format::record::{EncodedRecord, Mutation, PutV1, SegmentV1};
use crate::hook::{Rare, reached};
use crate::log::RecordPlace;
use crate::log::queue::Pending;
use crate::log::writer::RECORD_BYTES_MAX;
use crate::sync::locks::KeyGuard;
use crate::sync::oneshot;
use crate::types::{BucketId, Etag, EtagMatch, ObjectInfo, ObjectMeta, UploadId, WriteCondition};

/// Where the bytes are.
pub enum Body {
    /// They travel in the record.
    Inline(Vec<u8>),
    /// Written and durable already.
    Slices(SegmentV1),
}

impl Body {
    /// None: inline.
    pub fn segment(&self) -> Option<&SegmentV1> {
        match self {
            Self::Inline(_) => None,
            Self::Slices(segment) => Some(segment),
        }
    }
}

/// What a commit needs.
pub struct PutCommit {
    pub bucket: BucketId,
    pub key: Vec<u8>,
    pub size: u64,
    pub meta: ObjectMeta,
    pub condition: WriteCondition,
    pub body: Body,
}

impl Shard {
    /// Makes the body the object of its key.
    ///
    /// # Errors
    /// When bucket, condition, space or device say no; nothing is stored then.
    pub async fn put(self: &Rc<Self>, commit: PutCommit) -> Result<ObjectInfo> {
        let (data, reserved) = match commit.body {
            Body::Inline(data) => (data, None),
            Body::Slices(segment) => (Vec::new(), Some(Reserved::new(self.clone(), segment))),
        };
        let guard = self.locks.lock(self.hash(commit.bucket, &commit.key)).await;
        self.check_condition(commit.bucket, &commit.key, &commit.condition)?;
        let generation = match &reserved {
            Some(reserved) => reserved.segment().generation,
            None => self.state.borrow_mut().new_generation(),
        };
        let put = PutV1 {
            bucket: commit.bucket.0,
            key: commit.key,
            generation,
            size: commit.size,
            modified_ms: self.environment.wall_clock_ms(),
            md5: commit.meta.etag.md5,
            etag_parts: commit.meta.etag.parts,
            upload: None,
            attributes: commit.meta.attributes,
            parts: Vec::new(),
            segments: reserved.iter().map(|reserved| reserved.segment().clone()).collect(),
        };
        let info = info_of(&put);
        self.commit_put(put, data, guard, reserved).await?;
        Ok(info)
    }

    pub(super) async fn commit_put(
        self: &Rc<Self>,
        put: PutV1,
        data: Vec<u8>,
        guard: KeyGuard,
        reserved: Option<Reserved>,
    ) -> Result<RecordPlace> {
        let (bucket, generation) = (BucketId(put.bucket), put.generation);
        // What completes an upload gives more memory back than it takes.
        if put.upload.is_none() && self.state.borrow().entry(bucket, &put.key).is_none() {
            self.check_index_room()?;
        }
        let class = self.class_of(bucket, &put.key, put.size);
        let mutation = Mutation::Put(put);
        let record = EncodedRecord::new(&mutation, generation, 0, data);
        self.commit(bucket, mutation, record, guard, class, reserved).await
    }

    /// Queues a record and waits for it.
    pub(super) async fn commit(
        self: &Rc<Self>,
        bucket: BucketId,
        mutation: Mutation,
        record: EncodedRecord,
        guard: KeyGuard,
        class: Class,
        reserved: Option<Reserved>,
    ) -> Result<RecordPlace> {
        if record.length() > RECORD_BYTES_MAX {
            let (size_bytes, limit_bytes) = (record.length() as u64, RECORD_BYTES_MAX as u64);
            return Err(EngineError::TooLarge { size_bytes, limit_bytes });
        }
        if class != Class::System {
            self.admit(record.length(), class).await?;
        }
        // From here to the push nothing waits. What clients write has a permit that keeps the bucket; an upload that
        // ends by its age has none, and finds it gone.
        self.core()?.check_bucket(bucket)?;
        self.queue(mutation, record, guard, reserved.into_iter().collect(), false).await
    }

    /// Queues a record that names the slices of `handles`, and waits for it.
    pub(super) async fn queue(
        self: &Rc<Self>,
        mutation: Mutation,
        record: EncodedRecord,
        guard: KeyGuard,
        handles: Vec<Reserved>,
        relocates: bool,
    ) -> Result<RecordPlace> {
        let (reply, answer) = oneshot::channel();
        let reserved = handles.iter().map(|handle| handle.segment().clone()).collect();
        let (mutation, guard) = (Some(mutation), Some(guard));
        let pending = Pending { mutation, record, moved: false, relocates, guard, reserved, reply };
        self.log.push(self.id, pending)?;
        // Only now that it is queued.
        handles.into_iter().for_each(Reserved::hand_over);
        answer.await.unwrap_or(Err(EngineError::WritesStopped { shard: self.id }))
    }

    /// Judges a condition against the current object. Call with the key's lock held.
    pub(super) fn check_condition(
        &self,
        bucket: BucketId,
        key: &[u8],
        condition: &WriteCondition,
    ) -> Result<()> {
        if *condition == WriteCondition::default() {
            return Ok(());
        }
        let entry = self.state.borrow().entry(bucket, key);
        judge(entry.as_ref(), condition)
    }

    /// On a full drive what replaces a larger object still finds room: it gives more back than it takes.
    pub fn class_of(&self, bucket: BucketId, key: &[u8], size: u64) -> Class {
        let shrinks = self.state.borrow().entry(bucket, key).is_some_and(|old| size < old.size);
        if shrinks { Class::Shrinking } else { Class::User }
    }

    /// Asked before anything new takes memory: a key, an upload, a part, a bucket.
    pub(super) fn check_index_room(&self) -> Result<()> {
        let (index_bytes, limit_bytes) = (self.state.borrow().index_bytes(), self.geometry.index_bytes_max);
        if index_bytes < limit_bytes {
            Ok(())
        } else {
            reached(Rare::IndexFull);
            Err(EngineError::IndexFull { index_bytes, limit_bytes })
        }
    }
}

fn judge(entry: Option<&Entry>, condition: &WriteCondition) -> Result<()> {
    let matches = |wanted: &EtagMatch, entry: &Entry| match wanted {
        EtagMatch::Any => true,
        EtagMatch::OneOf(tags) => tags.contains(&entry.etag.to_string()),
    };
    if let Some(wanted) = &condition.if_match {
        match entry {
            None => return Err(EngineError::NoSuchKey),
            Some(entry) if !matches(wanted, entry) => return Err(EngineError::PreconditionFailed),
            Some(_) => {}
        }
    }
    let Some(entry) = entry else { return Ok(()) };
    let unwanted = condition.if_none_match.as_ref().is_some_and(|tags| matches(tags, entry));
    let other_time = condition.if_modified_time_s.is_some_and(|seconds| seconds != entry.modified_ms / 1000);
    let other_size = condition.if_size_bytes.is_some_and(|size| size != entry.size);
    if unwanted || other_time || other_size { Err(EngineError::PreconditionFailed) } else { Ok(()) }
}

/// What a record says of its object.
pub fn info_of(put: &PutV1) -> ObjectInfo {
    ObjectInfo {
        size_bytes: put.size,
        modified_ms: put.modified_ms,
        etag: Etag { md5: put.md5, parts: put.etag_parts },
        attributes: put.attributes.clone(),
        parts: put.parts.iter().map(part_info).collect(),
        upload: put.upload.map(UploadId),
        generation: put.generation,
    }
}
