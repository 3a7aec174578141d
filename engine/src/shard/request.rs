//! The requests to the owner of a shard, and its replies.
//!
//! Invariants:
//! - Requests and replies own what they hold and borrow nothing. Between cores they are moved; a
//!   network could carry them.
//! - A reply that nobody waits for any more may hold a pin or reserved slices. Whoever finds such a
//!   reply releases them ([`ShardReply::into_undo`]).

use std::sync::Arc;

use super::accounts::ShardSpace;
use super::get::{Found, Pins};
use super::lock_clock::ClockReading;
use super::multipart::{CompleteCommit, PartCommit};
use super::put::PutCommit;
use crate::error::DeviceError;
use crate::extent::allocator::Refusal;
use crate::extent::sets::Places;
use crate::format::record::{PartV1, RunV1};
use crate::lifecycle::{LifecyclePreview, LifecycleRules};
use crate::types::{
    Attributes, BucketId, BucketUsage, Deleted, Deletion, Etag, ListPage, ListQuery, MetadataChange,
    ObjectInfo, PartInfo, UploadId, UploadInfo, UploadPage, UploadQuery, Version, VersionsPage,
    VersionsQuery, WriteCondition,
};

/// An operation of a shard. `node/serve.rs` answers it.
#[derive(Debug)]
pub(crate) enum ShardRequest {
    /// Finds a version and pins what its reader will read.
    Lookup {
        bucket: BucketId,
        key: Vec<u8>,
        version: Version,
    },
    /// Asks whether the key exists, after a record turned out to be another key's.
    HasKey {
        bucket: BucketId,
        key: Vec<u8>,
    },
    /// Releases what a reader had pinned.
    Unpin(Pins),
    /// Lists this shard's items of a page.
    List {
        bucket: BucketId,
        query: ListQuery,
        max: usize,
    },
    /// Lists this shard's items of a page of versions.
    ListVersions {
        bucket: BucketId,
        query: VersionsQuery,
        max: usize,
    },
    /// Asks what each of these buckets holds in this shard.
    Usage(Vec<BucketId>),

    /// Reserves the next slices of a body.
    Reserve(Reservation),
    /// Asks for a new generation, for a body without slices.
    NewSegment,
    /// Frees slices that no record names.
    Release {
        runs: Vec<RunV1>,
        length: u64,
    },
    /// Makes a body the object of its key.
    Put(PutCommit),
    Delete {
        bucket: BucketId,
        key: Vec<u8>,
        deletion: Deletion,
    },
    UpdateMetadata {
        bucket: BucketId,
        key: Vec<u8>,
        change: MetadataChange,
        condition: WriteCondition,
    },

    CreateUpload {
        bucket: BucketId,
        key: Vec<u8>,
        attributes: Attributes,
    },
    /// Asks whether an upload exists, without reading its parts.
    CheckUpload {
        bucket: BucketId,
        key: Vec<u8>,
        upload: UploadId,
    },
    /// Asks for an upload and its parts.
    Upload {
        bucket: BucketId,
        key: Vec<u8>,
        upload: UploadId,
    },
    /// Asks what is known of the parts of an upload that are to be completed.
    PartsOf {
        bucket: BucketId,
        key: Vec<u8>,
        upload: UploadId,
        parts: Vec<(u16, Etag)>,
    },
    ListUploads {
        bucket: BucketId,
        query: UploadQuery,
    },
    /// Makes slices that were written a part of an upload.
    PutPart(PartCommit),
    /// Makes the parts of an upload the object of their key.
    Complete(CompleteCommit),
    AbortUpload {
        bucket: BucketId,
        key: Vec<u8>,
        upload: UploadId,
    },

    /// Asks what lifecycle rules would do.
    PreviewLifecycle(PreviewRequest),

    /// Asks for the time by which retentions are judged, if the shard keeps time.
    LockTime,
    /// Keeps time from now on.
    BeginTime,
    /// Believes the wall clock, on the word of an operator.
    ConfirmTime,

    /// Waits until everything that was queued before it is durable and applied.
    Barrier,
    /// Asks whether a bucket has no object in this shard.
    IsBucketEmpty(BucketId),
    /// Aborts every upload of a bucket that is being deleted.
    EndUploads(BucketId),

    /// Returns space to the drive where possible, after this refusal of the allocator.
    Reclaim(Refusal),
    /// Frees extents by moving slices together.
    Compact,
    /// Asks for the shard's space accounts.
    Space,
    /// Reports a failed write of object data: the shard stops writing (law 3).
    StopWriting(DeviceError),
}

/// A request for what lifecycle rules would do with a bucket now.
#[derive(Debug)]
pub(crate) struct PreviewRequest {
    pub bucket: BucketId,
    pub rules: Arc<LifecycleRules>,
    /// Length of a day in milliseconds.
    pub day_ms: u64,
    pub max_examples: usize,
}

/// A request for the next slices of a body of `length` bytes.
#[derive(Debug)]
pub(crate) struct Reservation {
    pub bucket: BucketId,
    /// The key whose object the body replaces; `None` for a part, which replaces no object.
    pub replaces: Option<Vec<u8>>,
    pub length: u64,
    /// Most full slices to reserve.
    pub full: u32,
    pub with_tail: bool,
    /// Set while the body has no generation yet.
    pub needs_generation: bool,
}

/// The answer to a [`ShardRequest`].
#[derive(Debug)]
pub(crate) enum ShardReply {
    /// The request is done and has no result.
    Done,
    Found(Option<(Found, Pins)>),
    /// The answer to a question, or whether something was done.
    Judged(bool),
    Page(ListPage),
    Versions(VersionsPage),
    /// What each bucket holds, in the order of the request.
    Usage(Vec<BucketUsage>),
    /// Reserved slices, and where their sets are. The generation is 0 when none was asked for.
    Reserved {
        generation: u64,
        runs: Vec<RunV1>,
        places: Places,
        length: u64,
    },
    Segment(u64),
    Object(ObjectInfo),
    Deleted(Deleted),
    /// The modification time of a version whose metadata were changed, a Unix time in milliseconds.
    MetadataUpdated(u64),
    UploadCreated(UploadId),
    Upload(UploadInfo),
    Parts(Vec<PartV1>),
    Uploads(UploadPage),
    Part(PartInfo),
    Space(ShardSpace),
    LockTime(Option<ClockReading>),
    LifecyclePreview(LifecyclePreview),
}

impl ShardRequest {
    /// Returns whether it is upkeep, which a client may wait for, but which works on the objects of
    /// others.
    pub fn is_upkeep(&self) -> bool {
        matches!(self, Self::Reclaim(_) | Self::Compact)
    }

    /// Returns whether the work must finish although its caller is gone. Stopping it would leave
    /// slices reserved or a checkpoint half installed.
    pub fn must_end(&self) -> bool {
        matches!(self, Self::Reserve(_) | Self::Reclaim(_) | Self::Compact)
    }
}

impl ShardReply {
    /// Returns the request that releases what this reply holds, for when its caller is gone.
    pub fn into_undo(self) -> Option<ShardRequest> {
        match self {
            Self::Found(Some((_, pins))) => Some(ShardRequest::Unpin(pins)),
            Self::Reserved { runs, length, .. } => Some(ShardRequest::Release { runs, length }),
            _ => None,
        }
    }

    /// Reports a reply of the wrong kind.
    ///
    /// # Panics
    /// Panics always, because the table of `node/serve.rs` answered a request with another one's
    /// reply.
    pub fn mistaken(&self) -> ! {
        panic!("a shard answered with {self:?}, which was not asked for")
    }
}
