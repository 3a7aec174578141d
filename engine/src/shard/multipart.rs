//! Multipart uploads. Each part has slices of its own. Completing an upload writes one record that
//! names them, and copies no data. Where there are very many parts, what is known of them goes into
//! a table of its own before that.
//!
//! Invariant: a part's slices belong to the upload from the part's record on, and to the object
//! from the completing record on. Slices that the object does not take are freed by the same
//! record.

use std::rc::Rc;

use super::commit::Holds;
use super::info::part_info;
use super::instance::Shard;
use super::space::Reserved;
use super::state::{Upload, UploadKey};
use crate::error::{EngineError, Result};
use crate::extent::allocator::Class;
use crate::format::record::{
    EncodedRecord, Mutation, PartPutV1, PartV1, PutV1, SegmentV1, UploadAbortV1, UploadPartV1, UploadV1,
};
use crate::hook::{Rare, reached};
use crate::index::common_prefix;
use crate::types::{
    Attributes, BucketId, Etag, ObjectInfo, ObjectMeta, PartInfo, UploadId, UploadInfo, UploadItem,
    UploadPage, UploadQuery, WriteCondition,
};

/// Number of random bits at the low end of an upload's id. Above them is the Unix time in
/// milliseconds at which the upload began.
const UPLOAD_ID_RANDOM_BITS: u32 = 80;

/// Everything that committing a written part needs.
#[derive(Debug)]
pub struct PartCommit {
    pub bucket: BucketId,
    pub key: Vec<u8>,
    pub upload: UploadId,
    pub number: u16,
    pub etag: Etag,
    pub checksum: Vec<u8>,
    pub segment: SegmentV1,
}

/// Everything that completing an upload needs.
#[derive(Debug)]
pub struct CompleteCommit {
    pub bucket: BucketId,
    pub key: Vec<u8>,
    pub upload: UploadId,
    /// Numbers and ETags of the parts, ascending by number.
    pub parts: Vec<(u16, Etag)>,
    /// The table of the parts, durable already; `None` when they go into the record.
    pub table: Option<PartsTable>,
    pub meta: ObjectMeta,
    pub condition: WriteCondition,
}

/// The table of an object's parts, which was written before the upload is completed.
#[derive(Debug)]
pub struct PartsTable {
    pub parts: Vec<PartV1>,
    pub segment: SegmentV1,
}

impl Shard {
    /// Begins an upload.
    ///
    /// # Errors
    /// Returns the same errors as [`Shard::put`].
    pub async fn create_upload(
        self: &Rc<Self>,
        bucket: BucketId,
        key: Vec<u8>,
        attributes: Attributes,
    ) -> Result<UploadId> {
        let initiated_ms = self.environment.wall_clock_ms();
        // Uploads of a key are listed in the order of their ids, which is the order in which they
        // began. Random bits keep apart two that began in one millisecond.
        let random =
            u128::from(self.environment.random_u64()) << 64 | u128::from(self.environment.random_u64());
        let id = u128::from(initiated_ms) << UPLOAD_ID_RANDOM_BITS | random >> (128 - UPLOAD_ID_RANDOM_BITS);
        let guard = self.locks.lock(self.hash(bucket, &key)).await;
        self.check_index_room()?;
        let upload = UploadV1 { bucket: bucket.0, key, id, initiated_ms, attributes, parts: Vec::new() };
        let mutation = Mutation::UploadCreate(upload);
        let record = EncodedRecord::new(&mutation, 0, 0, Vec::new());
        self.commit(bucket, mutation, record, guard, Class::User, Holds::default()).await?;
        Ok(UploadId(id))
    }

    /// Returns an upload with its parts.
    ///
    /// # Errors
    /// Returns [`EngineError::NoSuchUpload`] when there is none.
    pub fn upload(&self, bucket: BucketId, key: &[u8], id: UploadId) -> Result<UploadInfo> {
        let state = self.state.borrow();
        let upload = state.uploads.get(&(bucket.0, key.to_vec(), id.0)).ok_or(EngineError::NoSuchUpload)?;
        let parts = upload.parts.values().map(|part| part_info(&part.info)).collect();
        Ok(UploadInfo { parts, ..upload_info(key, id.0, upload) })
    }

    /// Checks that an upload exists.
    ///
    /// # Errors
    /// Returns [`EngineError::NoSuchUpload`] when there is none.
    pub fn check_upload(&self, bucket: BucketId, key: &[u8], id: UploadId) -> Result<()> {
        let known = self.state.borrow().uploads.contains_key(&(bucket.0, key.to_vec(), id.0));
        if known { Ok(()) } else { Err(EngineError::NoSuchUpload) }
    }

    /// Makes written slices a part of an upload.
    ///
    /// # Errors
    /// Returns [`EngineError::NoSuchUpload`], or the same errors as [`Shard::put`]. The slices are
    /// freed then.
    pub async fn put_part(self: &Rc<Self>, commit: PartCommit) -> Result<PartInfo> {
        let reserved = Reserved::new(self.clone(), commit.segment);
        let guard = self.locks.lock(self.hash(commit.bucket, &commit.key)).await;
        let known =
            match self.state.borrow().uploads.get(&(commit.bucket.0, commit.key.clone(), commit.upload.0)) {
                Some(upload) => upload.parts.contains_key(&commit.number),
                None => return Err(EngineError::NoSuchUpload),
            };
        if !known {
            self.check_index_room()?;
        }
        let segment = reserved.segment().clone();
        let info = PartV1 {
            number: commit.number,
            size: segment.length,
            modified_ms: self.environment.wall_clock_ms(),
            md5: commit.etag.md5,
            checksum: commit.checksum,
        };
        let answer = part_info(&info);
        let generation = segment.generation;
        let part = UploadPartV1 { info, segment };
        let mutation = Mutation::UploadPart(PartPutV1 {
            bucket: commit.bucket.0,
            key: commit.key,
            upload: commit.upload.0,
            part,
        });
        let record = EncodedRecord::new(&mutation, generation, 0, Vec::new());
        self.commit(commit.bucket, mutation, record, guard, Class::User, Holds::from(vec![reserved])).await?;
        Ok(answer)
    }

    /// Makes the parts the object of the key.
    ///
    /// # Errors
    /// Returns [`EngineError::NoSuchUpload`], [`EngineError::InvalidPart`], or the same errors as
    /// [`Shard::put`].
    pub async fn complete_upload(self: &Rc<Self>, commit: CompleteCommit) -> Result<ObjectInfo> {
        let (listed, table) = commit.table.map(|table| (table.parts, table.segment)).unzip();
        let table = table.map(|segment| Reserved::new(self.clone(), segment));
        let guard = self.locks.lock(self.hash(commit.bucket, &commit.key)).await;
        let chosen = self.chosen_parts(commit.bucket, &commit.key, commit.upload, &commit.parts)?;
        if let Some(listed) = &listed
            && let Some((part, _)) = chosen.iter().zip(listed).find(|(part, listed)| part.info != **listed)
        {
            // The part was replaced since the table was written, by one with the same ETag.
            return Err(EngineError::InvalidPart { number: part.info.number });
        }
        let parts = match listed {
            Some(_) => Vec::new(),
            None => chosen.iter().map(|part| part.info.clone()).collect(),
        };
        self.check_condition(commit.bucket, &commit.key, &commit.condition)?;
        let put = PutV1 {
            bucket: commit.bucket.0,
            key: commit.key,
            size: chosen.iter().map(|part| part.segment.length).sum(),
            modified_ms: self.environment.wall_clock_ms(),
            md5: commit.meta.etag.md5,
            etag_parts: commit.meta.etag.parts,
            upload: Some(commit.upload.0),
            attributes: commit.meta.attributes,
            parts,
            segments: chosen
                .into_iter()
                .map(|part| part.segment)
                .filter(|segment| segment.length > 0)
                .chain(table.iter().map(|table| table.segment().clone()))
                .collect(),
            ..PutV1::default()
        };
        self.commit_put(put, Vec::new(), guard, table).await
    }

    /// Returns what is known of the parts of an upload that are to be completed.
    ///
    /// # Errors
    /// Returns [`EngineError::NoSuchUpload`] or [`EngineError::InvalidPart`].
    pub fn parts_of(
        &self,
        bucket: BucketId,
        key: &[u8],
        upload: UploadId,
        parts: &[(u16, Etag)],
    ) -> Result<Vec<PartV1>> {
        let chosen = self.chosen_parts(bucket, key, upload, parts)?;
        Ok(chosen.into_iter().map(|part| part.info).collect())
    }

    fn chosen_parts(
        &self,
        bucket: BucketId,
        key: &[u8],
        upload: UploadId,
        parts: &[(u16, Etag)],
    ) -> Result<Vec<UploadPartV1>> {
        let state = self.state.borrow();
        let key: UploadKey = (bucket.0, key.to_vec(), upload.0);
        let upload = state.uploads.get(&key).ok_or(EngineError::NoSuchUpload)?;
        let find = |(number, etag): &(u16, Etag)| {
            let part = upload.parts.get(number).filter(|part| part.info.md5 == etag.md5);
            part.cloned().ok_or(EngineError::InvalidPart { number: *number })
        };
        // A part named twice would give its slices to the object twice, and recovery would refuse
        // that.
        if let Some(pair) = parts.windows(2).find(|pair| pair[0].0 >= pair[1].0) {
            return Err(EngineError::InvalidPart { number: pair[1].0 });
        }
        parts.iter().map(find).collect()
    }

    /// Aborts an upload and frees its parts.
    ///
    /// # Errors
    /// Returns [`EngineError::NoSuchUpload`] when there is none, or an error when the device fails.
    pub async fn abort_upload(self: &Rc<Self>, bucket: BucketId, key: Vec<u8>, id: UploadId) -> Result<()> {
        let guard = self.locks.lock(self.hash(bucket, &key)).await;
        if !self.state.borrow().uploads.contains_key(&(bucket.0, key.clone(), id.0)) {
            return Err(EngineError::NoSuchUpload);
        }
        let mutation = Mutation::UploadAbort(UploadAbortV1 { bucket: bucket.0, key, upload: id.0 });
        let record = EncodedRecord::new(&mutation, 0, 0, Vec::new());
        self.commit(bucket, mutation, record, guard, Class::System, Holds::default()).await.map(|_| ())
    }

    /// Aborts every upload that began before `before_ms`, a Unix time in milliseconds. An upload
    /// that can not be aborted stays for the next call.
    pub async fn abort_uploads_begun_before(self: &Rc<Self>, before_ms: u64) {
        let old: Vec<(UploadKey, u64)> = {
            let state = self.state.borrow();
            let old = state.uploads.iter().filter(|(_, upload)| upload.initiated_ms < before_ms);
            old.map(|(key, upload)| (key.clone(), upload.initiated_ms)).collect()
        };
        for ((bucket, key, id), initiated_ms) in old {
            let name = String::from_utf8_lossy(&key).into_owned();
            match self.abort_upload(BucketId(bucket), key, UploadId(id)).await {
                Ok(()) => {
                    reached(Rare::UploadAged);
                    let text = "aborted an upload that was not completed in time";
                    tracing::info!(bucket, key = name, initiated_ms, "{text}");
                }
                // The upload was completed or aborted meanwhile.
                Err(EngineError::NoSuchUpload | EngineError::NoSuchBucket) => {}
                Err(error) => {
                    tracing::warn!(bucket, key = name, %error, "an old upload could not be aborted")
                }
            }
        }
    }

    /// Aborts every upload of a bucket that is being deleted.
    ///
    /// # Errors
    /// Returns an error when the shard writes no more.
    pub async fn end_uploads(self: &Rc<Self>, bucket: BucketId) -> Result<()> {
        for (key, id) in self.uploads_of(bucket) {
            let guard = self.locks.lock(self.hash(bucket, &key)).await;
            let mutation = Mutation::UploadAbort(UploadAbortV1 { bucket: bucket.0, key, upload: id.0 });
            let record = EncodedRecord::new(&mutation, 0, 0, Vec::new());
            self.append(Some((mutation, record)), Some(guard)).await?;
        }
        Ok(())
    }

    /// Returns at most `query.max_items` uploads of this shard, ordered by key, then by id, which
    /// is the order in which they began.
    pub fn list_uploads(&self, bucket: BucketId, query: &UploadQuery) -> UploadPage {
        let state = self.state.borrow();
        let mut page = UploadPage::default();
        let start = (bucket.0, query.prefix.clone().max(query.after_key.clone()), 0);
        for ((_, key, id), upload) in
            state.uploads.range(start..).take_while(|((owner, ..), _)| *owner == bucket.0)
        {
            if !key.starts_with(&query.prefix) {
                break;
            }
            if is_before(query, key, *id) {
                continue;
            }
            let item = match common_prefix(&query.prefix, &query.delimiter, key) {
                Some(prefix) => UploadItem::CommonPrefix(prefix.to_vec()),
                None => UploadItem::Upload(upload_info(key, *id, upload)),
            };
            if matches!(&item, UploadItem::CommonPrefix(_)) && page.items.last() == Some(&item) {
                continue;
            }
            if page.items.len() >= query.max_items {
                page.truncated = true;
                break;
            }
            page.items.push(item);
        }
        page
    }

    /// Returns the uploads of a bucket, which end with it.
    pub fn uploads_of(&self, bucket: BucketId) -> Vec<(Vec<u8>, UploadId)> {
        let state = self.state.borrow();
        let own = state
            .uploads
            .range((bucket.0, Vec::new(), 0)..)
            .take_while(|((owner, ..), _)| *owner == bucket.0);
        own.map(|((_, key, id), _)| (key.clone(), UploadId(*id))).collect()
    }
}

/// Returns whether the page starts behind this upload.
fn is_before(query: &UploadQuery, key: &[u8], id: u128) -> bool {
    let after = query.after_key.as_slice();
    if after.is_empty() {
        return false;
    }
    // Everything under this common prefix was given already.
    if common_prefix(&query.prefix, &query.delimiter, key) == Some(after) {
        return true;
    }
    match query.after_id {
        Some(marker) => key < after || key == after && id <= marker.0,
        None => key <= after,
    }
}

fn upload_info(key: &[u8], id: u128, upload: &Upload) -> UploadInfo {
    UploadInfo {
        id: UploadId(id),
        key: key.to_vec(),
        initiated_ms: upload.initiated_ms,
        attributes: upload.attributes.clone(),
        parts: Vec::new(),
    }
}
