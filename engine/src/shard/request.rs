//! What crosses to the owner of a shard, and what comes back.
//!
//! Invariants:
//! - Requests and replies own what they hold and borrow from nobody: between cores they move, and a network could carry
//!   them.
//! - A reply that nobody waits for any more may hold a pin or reserved slices. Whoever finds it gives them back
//!   ([`ShardReply::into_undo`]).

use super::accounts::ShardSpace;
use super::get::{Found, Pins};
use super::multipart::{CompleteCommit, PartCommit};
use super::put::PutCommit;
use crate::error::DeviceError;
use crate::extent::allocator::Refusal;
use crate::format::record::RunV1;
use crate::types::{
    Attributes, BucketId, Deleted, ListPage, ListQuery, ObjectInfo, PartInfo, UploadId, UploadInfo,
    UploadPage, UploadQuery, WriteCondition,
};

/// The operations of a shard. `node/serve.rs` answers them.
#[derive(Debug)]
pub(crate) enum ShardRequest {
    /// Finds an object and pins what its reader reads.
    Lookup {
        bucket: BucketId,
        key: Vec<u8>,
    },
    /// Asks for the key itself, when a record turned out to be another key's.
    HasKey {
        bucket: BucketId,
        key: Vec<u8>,
    },
    /// A reader is done.
    Unpin(Pins),
    /// One shard's part of a page.
    List {
        bucket: BucketId,
        query: ListQuery,
        max: usize,
    },

    /// Asks for the next slices of a body.
    Reserve(Reservation),
    /// Asks for the identity of a body without slices.
    NewSegment,
    /// Gives slices back that no record names.
    Release {
        runs: Vec<RunV1>,
        length: u64,
    },
    /// Makes a body the object of its key.
    Put(PutCommit),
    Delete {
        bucket: BucketId,
        key: Vec<u8>,
        condition: WriteCondition,
    },

    CreateUpload {
        bucket: BucketId,
        key: Vec<u8>,
        attributes: Attributes,
    },
    /// Asks whether there is such an upload, without a look at its parts.
    CheckUpload {
        bucket: BucketId,
        key: Vec<u8>,
        upload: UploadId,
    },
    /// Asks for an upload with its parts.
    Upload {
        bucket: BucketId,
        key: Vec<u8>,
        upload: UploadId,
    },
    ListUploads {
        bucket: BucketId,
        query: UploadQuery,
    },
    /// Makes written slices a part.
    PutPart(PartCommit),
    /// Makes parts the object of their key.
    Complete(CompleteCommit),
    AbortUpload {
        bucket: BucketId,
        key: Vec<u8>,
        upload: UploadId,
    },

    /// Resolves when everything queued before it is durable and applied.
    Barrier,
    /// Asks whether a bucket has no object here.
    IsBucketEmpty(BucketId),
    /// Ends every upload of a bucket that is being deleted.
    EndUploads(BucketId),

    /// Gives back to the drive what can be, after this refusal.
    Reclaim(Refusal),
    /// Gives extents back by moving slices together.
    Compact,
    /// Asks where the shard's bytes are.
    Space,
    /// A write of object data failed: the shard writes no more (law 3).
    StopWriting(DeviceError),
}

/// Slices that a body of `length` bytes needs next.
#[derive(Debug)]
pub(crate) struct Reservation {
    pub bucket: BucketId,
    /// The key whose object goes when this one comes; None: a part, which replaces none.
    pub replaces: Option<Vec<u8>>,
    pub length: u64,
    /// Full slices, at most.
    pub full: u32,
    pub with_tail: bool,
    /// The body has no generation yet.
    pub needs_generation: bool,
}

/// The answer to a [`ShardRequest`].
#[derive(Debug)]
pub(crate) enum ShardReply {
    /// It is done, and there is nothing to say.
    Done,
    Found(Option<(Found, Pins)>),
    /// Whether it is so, or whether something was done.
    Judged(bool),
    Page(ListPage),
    /// The generation is 0 when none was asked for.
    Reserved {
        generation: u64,
        runs: Vec<RunV1>,
        length: u64,
    },
    Segment(u64),
    Object(ObjectInfo),
    Deleted(Deleted),
    UploadCreated(UploadId),
    Upload(UploadInfo),
    Uploads(UploadPage),
    Part(PartInfo),
    Space(ShardSpace),
}

impl ShardRequest {
    /// Whether the work must come to its end though its asker is gone: it would leave slices reserved, or a checkpoint
    /// half installed.
    pub fn must_end(&self) -> bool {
        matches!(self, Self::Reserve(_) | Self::Reclaim(_) | Self::Compact)
    }
}

impl ShardReply {
    /// What takes back what this reply gave, when its asker is gone.
    pub fn into_undo(self) -> Option<ShardRequest> {
        match self {
            Self::Found(Some((_, pins))) => Some(ShardRequest::Unpin(pins)),
            Self::Reserved { runs, length, .. } => Some(ShardRequest::Release { runs, length }),
            _ => None,
        }
    }

    /// # Panics
    /// Always: the table of `node/serve.rs` answered a request with another one's reply.
    pub fn mistaken(&self) -> ! {
        panic!("a shard answered with {self:?}, which was not asked for")
    }
}
