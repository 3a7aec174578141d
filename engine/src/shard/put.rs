//! Putting an object: one record makes a body the newest version of its key.
//!
//! On its owner, a put locks the key, judges the condition, makes room in the log, checks that the
//! bucket is still there, queues the record, and waits until the record is durable and applied. From
//! making room on, the steps are the same for every commit and are in `commit.rs`.

use std::rc::Rc;

use super::instance::Shard;
use super::space::Reserved;
use crate::error::Result;
use crate::format::record::{PutV1, SegmentV1};
use crate::types::{BucketId, ObjectInfo, ObjectMeta, WriteCondition};

/// The body of an object: its bytes, or the slices that hold them.
#[derive(Debug)]
pub enum Body {
    /// The bytes, which go into the record.
    Inline(Vec<u8>),
    /// Slices that are written and durable already.
    Slices(SegmentV1),
}

impl Body {
    /// Returns the body's slices, or `None` for an inline body.
    pub fn segment(&self) -> Option<&SegmentV1> {
        match self {
            Self::Inline(_) => None,
            Self::Slices(segment) => Some(segment),
        }
    }
}

/// Everything that a put needs on the key's owner.
#[derive(Debug)]
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
    /// Returns an error when the bucket is missing, the condition does not hold, or there is no
    /// space; nothing is stored then. After [`WritesStopped`](crate::EngineError::WritesStopped),
    /// when the device failed under the commit, only a restart tells whether the object is there.
    pub async fn put(self: &Rc<Self>, commit: PutCommit) -> Result<ObjectInfo> {
        let (data, reserved) = match commit.body {
            Body::Inline(data) => (data, None),
            Body::Slices(segment) => (Vec::new(), Some(Reserved::new(self.clone(), segment))),
        };
        let guard = self.locks.lock(self.hash(commit.bucket, &commit.key)).await;
        self.check_condition(commit.bucket, &commit.key, &commit.condition)?;
        let put = PutV1 {
            bucket: commit.bucket.0,
            key: commit.key,
            size: commit.size,
            modified_ms: self.environment.wall_clock_ms(),
            md5: commit.meta.etag.md5,
            etag_parts: commit.meta.etag.parts,
            attributes: commit.meta.attributes,
            segments: reserved.iter().map(|reserved| reserved.segment().clone()).collect(),
            ..PutV1::default()
        };
        self.commit_put(put, data, guard, reserved).await
    }
}
