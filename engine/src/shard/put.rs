//! Putting: one record makes a body the object of its key.
//!
//! The way of a put on its owner: lock the key, check bucket and condition, make room in the log, queue the record,
//! wait until it is durable and applied. The last three are the way of every commit: commit.rs.

use std::rc::Rc;

use super::info::info_of;
use super::instance::Shard;
use super::space::Reserved;
use crate::error::Result;
use crate::format::record::{PutV1, SegmentV1};
use crate::types::{BucketId, ObjectInfo, ObjectMeta, WriteCondition};

/// Where the bytes are.
#[derive(Debug)]
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
}
