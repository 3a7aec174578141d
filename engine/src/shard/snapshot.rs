//! Uploads and buckets for a checkpoint, a piece at a time while the shard goes on.
//!
//! Invariants:
//! - A piece is of bounded size, however many parts an upload has: one of many parts comes in several pieces, each with
//!   all that is known of the upload itself.
//! - What changes between two pieces is in the log behind the position that the checkpoint names: the replay brings it
//!   up to date. What is unchanged during the whole walk comes exactly once.

use std::ops::Bound;

use super::{State, UploadKey, attributes_bytes, part_bytes};
use crate::format::record::{BucketV1, UploadV1};

/// A bucket's place in memory, beside its texts.
const BUCKET_BYTES: u64 = 256;

/// How far a walk over uploads has come: up to this part of this upload.
#[derive(Clone, Debug)]
pub(super) struct UploadCursor {
    key: UploadKey,
    part: u16,
}

impl State {
    /// The next uploads, with their parts, of about `bytes` in memory, and where to go on; None: there are no more.
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

    /// The next buckets, of about `bytes` in memory; None: there are no more.
    pub(super) fn buckets_after(&self, after: Option<u32>, bytes: u64) -> Option<Vec<BucketV1>> {
        let (mut buckets, mut taken) = (Vec::new(), 0);
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        for bucket in self.buckets.range((start, Bound::Unbounded)).map(|(_, bucket)| bucket) {
            let texts = bucket.name.len() + bucket.owner.len();
            taken += BUCKET_BYTES + texts as u64 + attributes_bytes(&bucket.attributes);
            buckets.push(bucket.clone());
            if taken >= bytes {
                break;
            }
        }
        (!buckets.is_empty()).then_some(buckets)
    }

    /// Recovery: an upload, or more parts of one.
    pub(super) fn load_upload(&mut self, piece: UploadV1) {
        let key = (piece.bucket, piece.key, piece.id);
        if !self.uploads.contains_key(&key) {
            let (initiated_ms, attributes) = (piece.initiated_ms, piece.attributes);
            self.add_upload(
                key.clone(),
                super::Upload { initiated_ms, attributes, parts: Default::default() },
            );
        }
        piece.parts.into_iter().for_each(|part| drop(self.set_part(&key, part)));
    }
}
