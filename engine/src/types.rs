//! The values that cross the engine's public interface: what a caller gives and gets.
//!
//! Invariants: nothing here borrows from a ring or a shard, so every value may cross cores. The
//! engine reads no meaning into attribute names, except for those of [`traits`]; the S3 front end does.

mod parsed;
mod request;
pub mod rules;
pub mod traits;

pub use parsed::Parsed;
pub use request::{EnteredRequest, RequestId};
pub use rules::{BucketLock, DefaultRetention, Period, Quota};
pub use traits::{Attributes, Lock, Retention, RetentionMode, StorageClass};

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use crate::lifecycle::LifecycleRules;

/// Identifies a bucket. An id is never reused, so an operation that raced a delete can not touch a
/// later bucket of the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BucketId(pub u32);

/// A bucket as every core knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    pub id: BucketId,
    pub name: String,
    /// Canonical id of the account that created the bucket.
    pub owner: String,
    /// Unix time in milliseconds.
    pub created_ms: u64,
    pub attributes: Attributes,
    pub versioning: Versioning,
    /// The bucket's object lock, if it was ever enabled.
    pub lock: Option<BucketLock>,
    pub quota: Option<Quota>,
    /// The rules by which the engine removes what is old. `None` where there are none, and where
    /// this program does not understand them.
    pub lifecycle: Option<Arc<LifecycleRules>>,
    /// The configuration of the bucket by kind, ascending, beside its versioning.
    pub config: BucketConfig,
    /// What the door above made of the configuration.
    pub parsed: Parsed,
}

impl Bucket {
    /// Returns the value of a kind of configuration, if it is set.
    pub fn value_of(&self, kind: ConfigKind) -> Option<&[u8]> {
        self.config.iter().find(|(known, _)| *known == kind).map(|(_, value)| &**value)
    }
}

/// The state of a bucket's versioning, which says what a put and a delete do with the object that is
/// there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Versioning {
    /// The bucket has never kept versions: a put replaces the object and a delete removes it.
    #[default]
    Off,
    /// A put adds a version, and a delete adds a delete marker.
    Enabled,
    /// A put replaces the null version, and a delete replaces it with a null marker. All other
    /// versions stay.
    Suspended,
}

/// A kind of configuration of a bucket. The engine stores it and reads no meaning into it, except
/// for those that are named here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigKind(pub u16);

impl ConfigKind {
    /// The bucket's [`Versioning`], which [`Core::set_versioning`](crate::node::Core::set_versioning)
    /// sets.
    pub const VERSIONING: Self = Self(1);
    /// The bucket's [`BucketLock`]. It can be changed, but not removed, and keeps the bucket's
    /// versioning enabled.
    pub const LOCK: Self = Self(2);
    /// The bucket's [`Quota`].
    pub const QUOTA: Self = Self(3);
    /// The tags of the bucket.
    pub const TAGS: Self = Self(4);
    /// The rules by which the engine removes what is old ([`crate::lifecycle`]).
    pub const LIFECYCLE: Self = Self(5);
    /// The bucket's access control list.
    pub const ACL: Self = Self(6);
    /// Who owns what is written into the bucket.
    pub const OWNERSHIP: Self = Self(7);
    /// What of public access is blocked.
    pub const PUBLIC_ACCESS_BLOCK: Self = Self(8);
    /// The bucket's policy, as it was put.
    pub const POLICY: Self = Self(9);
    /// The rules for requests of pages from other origins.
    pub const CORS: Self = Self(10);
    /// How the bucket is served as a website.
    pub const WEBSITE: Self = Self(11);
}

/// Configuration of a bucket: a value for each kind that is set, ascending by kind.
pub type BucketConfig = Vec<(ConfigKind, Arc<[u8]>)>;

/// A record of the node: a value under a name, which belongs to no bucket. The engine reads no meaning
/// into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRecord {
    pub name: Arc<str>,
    pub value: Arc<[u8]>,
}

/// Records of the node, ascending by name, as of one revision.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeRecords {
    /// Number of the last change of any record of the node; 0 when there was none.
    pub revision: u64,
    pub records: Vec<NodeRecord>,
}

/// A name with its new value; `None` where it was removed.
pub type NewValue = (Arc<str>, Option<Arc<[u8]>>);

/// A change of the node's records that is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeChange {
    pub revision: u64,
    pub changes: Arc<[NewValue]>,
}

/// The version of a key that is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// The newest one.
    #[default]
    Newest,
    /// The null version, which was written while the bucket kept no versions.
    Null,
    /// The one with this generation.
    Generation(u64),
}

/// The id by which clients know a version of a key: its generation, and a check that is keyed, so
/// that no id of another key or node is taken for one. [`Core`](crate::node::Core) makes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionId {
    pub(crate) generation: u64,
    pub(crate) check: u64,
}

impl VersionId {
    /// Parses an id as it is displayed. Returns `None` for a text that is none.
    pub fn parse(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if text.len() != 32 || !text.bytes().all(is_digit) {
            return None;
        }
        let number = |digits| u64::from_str_radix(digits, 16).ok();
        Some(Self { generation: number(&text[..16])?, check: number(&text[16..])? })
    }
}

impl fmt::Display for VersionId {
    /// Shows the id as 32 hexadecimal digits.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}{:016x}", self.generation, self.check)
    }
}

/// An S3 ETag: the MD5 of the body, or the MD5 of the parts' MD5s together with their count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Etag {
    pub md5: [u8; 16],
    /// Number of parts; 0 for an object that was stored in one piece.
    pub parts: u16,
}

impl fmt::Display for Etag {
    /// Shows the ETag without quotes: `d41d8cd98f00b204e9800998ecf8427e` or `…-12`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // This runs for every GET and for every key of a listing, so the digits are not formatted
        // one by one.
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

/// Identifies a multipart upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UploadId(pub u128);

/// One part of a multipart object or upload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartInfo {
    /// The part number, from 1 to 10,000.
    pub number: u16,
    /// Size of the part's body in bytes.
    pub size_bytes: u64,
    /// Unix time of the upload in milliseconds.
    pub modified_ms: u64,
    pub etag: Etag,
    /// What the caller keeps of the checksum of the part's body, at most
    /// [`PART_CHECKSUM_BYTES_MAX`] bytes. The engine reads no meaning into it.
    pub checksum: Vec<u8>,
}

/// Most bytes of [`PartInfo::checksum`].
pub const PART_CHECKSUM_BYTES_MAX: usize = 128;

/// Everything that is known of an object without reading its data. The default is an empty object,
/// modified in 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectInfo {
    pub size_bytes: u64,
    /// Unix time in milliseconds.
    pub modified_ms: u64,
    pub etag: Etag,
    pub attributes: Attributes,
    /// The parts in ascending order of number. The list is empty unless the object was completed
    /// from parts. If there are very many,
    /// [`ObjectReader::load_parts`](crate::node::ObjectReader::load_parts) reads them.
    pub parts: Vec<PartInfo>,
    /// The upload from which the object was completed, so that a repeated Complete can be
    /// recognised.
    pub upload: Option<UploadId>,
    /// Number of this version of the object, unique in its shard. Versions of a key that were written
    /// later have greater ones.
    pub generation: u64,
    /// This is the key's null version.
    pub is_null: bool,
    /// Number of times that the metadata of this version was changed.
    pub metadata_change: u32,
}

/// A delete marker: a version of a key that says that there is no object.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marker {
    pub generation: u64,
    /// This is the key's null version.
    pub is_null: bool,
    /// Unix time in milliseconds.
    pub modified_ms: u64,
}

/// What is known of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionInfo {
    Object(ObjectInfo),
    Marker(Marker),
}

/// A change of the metadata of a version, which leaves its data where it is.
#[derive(Clone, Debug, Default)]
pub struct MetadataChange {
    /// The generation of the version.
    pub generation: u64,
    /// The change is refused unless the version has been changed this many times. `None` accepts any
    /// number.
    pub if_changed: Option<u32>,
    /// All attributes of the version from now on.
    pub attributes: Attributes,
    /// The version's modification time becomes that of the change.
    pub touches: bool,
    /// A retention of governance does not keep the change from shortening or removing it.
    pub bypass_governance: bool,
    /// The change is refused where the bucket keeps versions, as one that came too late.
    pub unless_versioned: bool,
}

/// What the writer of an object knows once the whole body has been read.
#[derive(Clone, Debug, Default)]
pub struct ObjectMeta {
    pub etag: Etag,
    pub attributes: Attributes,
}

/// The ETags that a conditional write asks for. The owner core compares them, atomically with the
/// write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EtagMatch {
    /// `*`: every existing object matches.
    Any,
    /// An object matches if its ETag is one of these, as [`Etag`] displays them (without quotes).
    OneOf(Vec<String>),
}

/// A deletion: of what, and on what terms.
#[derive(Clone, Debug, Default)]
pub struct Deletion {
    pub version: Version,
    /// The condition is judged against the version that is named.
    pub condition: WriteCondition,
    /// A retention of governance does not keep the version from being removed.
    pub bypass_governance: bool,
}

/// Conditions on the current object under which a write or delete goes ahead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteCondition {
    /// The object must exist and match. A missing object is answered with
    /// [`EngineError::NoSuchKey`](crate::EngineError).
    pub if_match: Option<EtagMatch>,
    /// The object must not exist, or must not match.
    pub if_none_match: Option<EtagMatch>,
    /// The object must have this modification time, in whole seconds since 1970. Only deletes use
    /// it.
    pub if_modified_time_s: Option<u64>,
    /// The object must have this size in bytes. Only deletes use it.
    pub if_size_bytes: Option<u64>,
}

/// Asks for one page of a listing of objects.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    pub prefix: Vec<u8>,
    /// The delimiter that groups keys into common prefixes. If it is empty, nothing is grouped.
    pub delimiter: Vec<u8>,
    /// The page holds only what sorts after this. If it is itself a common prefix (its first
    /// delimiter behind `prefix` is at its end), everything under that prefix is skipped too.
    pub after: Vec<u8>,
    /// The most entries and common prefixes together that the page may hold; at most 10,000.
    pub max_items: usize,
}

/// One entry of a listing. Entries come in the order of their UTF-8 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListItem {
    Object { key: Vec<u8>, size_bytes: u64, modified_ms: u64, etag: Etag, class: StorageClass },
    CommonPrefix(Vec<u8>),
}

impl ListItem {
    /// Returns the key or the common prefix, which is the value of `after` for the next page.
    pub fn name(&self) -> &[u8] {
        match self {
            Self::Object { key, .. } => key,
            Self::CommonPrefix(prefix) => prefix,
        }
    }
}

/// A page of a listing whose items are `I` and whose pages begin behind places `P`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page<I, P> {
    pub items: Vec<I>,
    /// There may be more items after those of this page.
    pub truncated: bool,
    /// The place behind which the next page begins, if this one is truncated.
    pub next: P,
}

impl<I, P: Default> Default for Page<I, P> {
    fn default() -> Self {
        Self { items: Vec::new(), truncated: false, next: P::default() }
    }
}

/// A page of a listing of objects. It may have fewer items than were asked for, or none, where there
/// are many keys whose newest version is a delete marker. Its `next` is the value of `after` for the
/// next page.
pub type ListPage = Page<ListItem, Vec<u8>>;

/// Asks for one page of a listing of versions. The rules are those of [`ListQuery`].
#[derive(Clone, Debug, Default)]
pub struct VersionsQuery {
    pub prefix: Vec<u8>,
    pub delimiter: Vec<u8>,
    pub after_key: Vec<u8>,
    /// If it is set, the versions of the key `after_key` itself that are older than this one are
    /// still listed. If the key has no null version, nothing is older than it.
    pub after_version: Option<Version>,
    /// The most entries and common prefixes together that the page may hold; at most 10,000.
    pub max_items: usize,
}

/// One entry of a listing of versions. Entries come in the order of their keys, and those of a key
/// with the newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionItem {
    Version {
        key: Vec<u8>,
        generation: u64,
        is_null: bool,
        /// This is the newest version of its key.
        is_latest: bool,
        /// This is a delete marker. It has no size and no ETag.
        is_marker: bool,
        size_bytes: u64,
        modified_ms: u64,
        etag: Etag,
        class: StorageClass,
    },
    CommonPrefix(Vec<u8>),
}

impl VersionItem {
    /// Returns the key or the common prefix.
    pub fn name(&self) -> &[u8] {
        match self {
            Self::Version { key, .. } => key,
            Self::CommonPrefix(prefix) => prefix,
        }
    }

    /// Returns the place behind which a page begins that follows this item.
    pub fn place(&self) -> VersionPlace {
        let generation = match self {
            Self::Version { generation, .. } => *generation,
            Self::CommonPrefix(_) => 0,
        };
        VersionPlace { key: self.name().to_vec(), generation }
    }
}

/// The place in a listing of versions behind which a page begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionPlace {
    /// A key or a common prefix.
    pub key: Vec<u8>,
    /// The generation of the last version of the key that was listed; 0 when all of them, or the
    /// common prefix, were.
    pub generation: u64,
}

impl Ord for VersionPlace {
    /// Orders places as a listing does: by key, and then with the newest version first.
    fn cmp(&self, other: &Self) -> Ordering {
        self.key.cmp(&other.key).then(other.generation.cmp(&self.generation))
    }
}

impl PartialOrd for VersionPlace {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// A page of a listing of versions.
pub type VersionsPage = Page<VersionItem, VersionPlace>;

/// What a bucket holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BucketUsage {
    /// Keys whose newest version is an object.
    pub keys: u64,
    /// Versions that are objects.
    pub versions: u64,
    /// Delete markers.
    pub markers: u64,
    /// Sum of the sizes of all versions, bytes.
    pub bytes: u64,
}

impl BucketUsage {
    /// Returns the sum of both.
    pub fn plus(self, other: Self) -> Self {
        Self {
            keys: self.keys + other.keys,
            versions: self.versions + other.versions,
            markers: self.markers + other.markers,
            // A damaged log may say any size. It is taken off again as it was added.
            bytes: self.bytes.wrapping_add(other.bytes),
        }
    }
}

/// A multipart upload in progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UploadInfo {
    pub id: UploadId,
    pub key: Vec<u8>,
    /// Unix time in milliseconds.
    pub initiated_ms: u64,
    pub attributes: Attributes,
    /// The parts in ascending order of number. The list is empty in answers to a listing of
    /// uploads.
    pub parts: Vec<PartInfo>,
}

/// Asks for one page of a listing of uploads. The rules are those of [`ListQuery`].
#[derive(Clone, Debug, Default)]
pub struct UploadQuery {
    pub prefix: Vec<u8>,
    pub delimiter: Vec<u8>,
    pub after_key: Vec<u8>,
    /// If it is set, uploads of the key `after_key` itself with a greater id are still listed.
    pub after_id: Option<UploadId>,
    /// The most entries and common prefixes together that the page may hold.
    pub max_items: usize,
}

/// One entry of a listing of uploads. Entries are sorted by key, then by id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UploadItem {
    Upload(UploadInfo),
    CommonPrefix(Vec<u8>),
}

/// A page of a listing of uploads.
#[derive(Clone, Debug, Default)]
pub struct UploadPage {
    pub items: Vec<UploadItem>,
    /// There is at least one more item after the last one of this page.
    pub truncated: bool,
}

/// Outcome of a delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deleted {
    /// A version was removed, which was a delete marker or an object.
    Removed { generation: u64, marker: bool, is_null: bool },
    /// A delete marker was added.
    Marked { generation: u64, is_null: bool },
    /// There was no such version. S3 answers with success all the same.
    Absent,
}

/// Outcome of the creation of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BucketCreated {
    New(Bucket),
    /// A bucket of this name exists. The caller decides what its owner means for the answer.
    Exists(Bucket),
}
