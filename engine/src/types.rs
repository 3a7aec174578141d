//! The values that cross the engine's door: what a caller gives and gets.
//!
//! Invariants: nothing here borrows from a ring or a shard, so every value may cross cores.
//! The engine reads no meaning into attribute names; the S3 front end does.

mod request;

pub use request::{EnteredRequest, RequestId};

use std::fmt;

/// Identity of a bucket. Never reused, so an operation that raced a delete can not touch a namesake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BucketId(pub u32);

/// A bucket as every core knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    pub id: BucketId,
    pub name: String,
    /// Canonical id of the account that made it.
    pub owner: String,
    /// Unix time in milliseconds.
    pub created_ms: u64,
    pub attributes: Attributes,
}

/// Named values kept with an object, an upload, a part or a bucket, in the order they were given.
pub type Attributes = Vec<(String, String)>;

/// What S3 calls the ETag: the MD5 of the body, or the MD5 of the parts' MD5s with their count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Etag {
    pub md5: [u8; 16],
    /// 0 for an object stored in one piece, else the number of parts.
    pub parts: u16,
}

impl fmt::Display for Etag {
    /// Without quotes: `d41d8cd98f00b204e9800998ecf8427e` or `…-12`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Shown with every GET and for every key of a listing: not digit by digit.
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut hex = [0; 32];
        for (pair, byte) in hex.chunks_exact_mut(2).zip(self.md5) {
            pair.copy_from_slice(&[DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
        }
        formatter.write_str(std::str::from_utf8(&hex).unwrap_or_default())?;
        if self.parts > 0 {
            write!(formatter, "-{}", self.parts)?;
        }
        Ok(())
    }
}

/// Identity of a multipart upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UploadId(pub u128);

/// One part of a multipart object or upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartInfo {
    /// 1 to 10,000.
    pub number: u16,
    pub size_bytes: u64,
    pub modified_ms: u64,
    pub etag: Etag,
    pub attributes: Attributes,
}

/// All that is known of an object without reading its data. The default is an empty object of 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectInfo {
    pub size_bytes: u64,
    /// Unix time in milliseconds.
    pub modified_ms: u64,
    pub etag: Etag,
    pub attributes: Attributes,
    /// Empty unless the object was completed from parts; ascending by number.
    pub parts: Vec<PartInfo>,
    /// The upload it was completed from, so that a repeated Complete can be recognised.
    pub upload: Option<UploadId>,
    /// Unique per shard and content: changes whenever the object is replaced.
    pub generation: u64,
}

/// What the writer of an object knows once the body is through.
#[derive(Clone, Debug, Default)]
pub struct ObjectMeta {
    pub etag: Etag,
    pub attributes: Attributes,
}

/// One side of a conditional write. The comparison happens on the owner core, atomically with the write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EtagMatch {
    /// `*`
    Any,
    /// Any of these, as [`Etag`] displays them (no quotes).
    OneOf(Vec<String>),
}

/// Conditions on the current object under which a write or delete goes ahead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteCondition {
    /// The object must exist and match. A missing object is [`EngineError::NoSuchKey`](crate::EngineError).
    pub if_match: Option<EtagMatch>,
    /// The object must not exist, or not match.
    pub if_none_match: Option<EtagMatch>,
    /// Delete only: the stored modification time, whole seconds since 1970.
    pub if_modified_time_s: Option<u64>,
    /// Delete only: the stored size.
    pub if_size_bytes: Option<u64>,
}

/// A page of a listing is asked for with this.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    pub prefix: Vec<u8>,
    /// Empty: no grouping.
    pub delimiter: Vec<u8>,
    /// Only what sorts after this. If it is itself a common prefix (ends with the delimiter, which it
    /// contains first after `prefix`), everything under that prefix is skipped too.
    pub after: Vec<u8>,
    /// Entries and common prefixes together, at most 10,000.
    pub max_items: usize,
}

/// One entry of a listing, in UTF-8 byte order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListItem {
    Object { key: Vec<u8>, size_bytes: u64, modified_ms: u64, etag: Etag },
    CommonPrefix(Vec<u8>),
}

impl ListItem {
    /// The key or the common prefix: what `after` of the next page takes.
    pub fn name(&self) -> &[u8] {
        match self {
            Self::Object { key, .. } => key,
            Self::CommonPrefix(prefix) => prefix,
        }
    }
}

/// A page of a listing. `truncated` says that there is at least one more item after the last.
#[derive(Clone, Debug, Default)]
pub struct ListPage {
    pub items: Vec<ListItem>,
    pub truncated: bool,
}

/// A multipart upload in progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadInfo {
    pub id: UploadId,
    pub key: Vec<u8>,
    pub initiated_ms: u64,
    pub attributes: Attributes,
    /// Ascending by number. Empty in answers to a listing of uploads.
    pub parts: Vec<PartInfo>,
}

/// A page of uploads is asked for with this; the same rules as [`ListQuery`].
#[derive(Clone, Debug, Default)]
pub struct UploadQuery {
    pub prefix: Vec<u8>,
    pub delimiter: Vec<u8>,
    pub after_key: Vec<u8>,
    /// With `after_key`: uploads of that very key with a greater id are still listed.
    pub after_id: Option<UploadId>,
    pub max_items: usize,
}

/// One entry of a listing of uploads, by key, then by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UploadItem {
    Upload(UploadInfo),
    CommonPrefix(Vec<u8>),
}

/// A page of uploads.
#[derive(Clone, Debug, Default)]
pub struct UploadPage {
    pub items: Vec<UploadItem>,
    pub truncated: bool,
}

/// What a delete found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    Removed,
    /// There was nothing; S3 answers success all the same.
    Absent,
}

/// Outcome of making a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BucketCreated {
    New(Bucket),
    /// The name is taken; by whom is the caller's to judge.
    Exists(Bucket),
}
