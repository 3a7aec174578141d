//! Errors of the engine. A condition that only a bug can cause is an assert instead.

/// A device refused or failed an operation. For writes and flushes the failure is final (law 3).
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
#[error("{operation}{} failed: {reason}", place(*length, *offset))]
pub struct DeviceError {
    /// Name of the operation: read, write or flush.
    pub operation: &'static str,
    /// Byte offset on the device.
    pub offset: u64,
    /// Length of the operation in bytes; 0 for a flush.
    pub length: usize,
    pub reason: String,
}

/// Says where an operation was, if it was one of bytes.
fn place(length: usize, offset: u64) -> String {
    if length == 0 { String::new() } else { format!(" of {length} bytes at {offset}") }
}

/// Error of an operation on a running node.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum EngineError {
    #[error("no such bucket")]
    NoSuchBucket,
    #[error("the bucket is not empty")]
    BucketNotEmpty,
    #[error("no such key")]
    NoSuchKey,
    #[error("no such upload")]
    NoSuchUpload,
    /// The version that a change named is gone, or was changed after it was looked at.
    #[error("the version was removed or changed meanwhile; try again")]
    Superseded,
    /// A part that Complete named is missing, or was replaced after it was looked at.
    #[error("part {number} of the upload does not exist or has changed")]
    InvalidPart { number: u16 },
    #[error("a condition of the request does not hold")]
    PreconditionFailed,
    /// A legal hold or a retention keeps the version, or its lock, as it is.
    #[error("the version is locked by a legal hold or a retention")]
    Locked,
    /// The machine's clock was set back, and the retention that was asked for is over by the time that
    /// is known. Nothing was changed.
    #[error(
        "the retention would end before the time that this server knows of: its clock was set back; see `ringbolt \
         clock show`"
    )]
    RetentionOver,
    #[error("the configuration of the bucket would have {length} bytes; the most is {limit}")]
    ConfigTooLarge { length: usize, limit: usize },
    #[error("the name of a record of the node has {length} bytes; it must have 1 to {limit}")]
    NodeNameLength { length: usize, limit: usize },
    #[error("the record {name:?} of the node would have {length} bytes; the most is {limit}")]
    NodeValueTooLong { name: String, length: usize, limit: usize },
    #[error("a change of the node's records has {length} bytes; the most is {limit}: make several of it")]
    NodeChangeTooLarge { length: usize, limit: usize },
    /// What removes or shrinks records is still accepted.
    #[error("the node's records would take {bytes} bytes of the {limit_bytes} that they may have")]
    NodeRecordsFull { bytes: u64, limit_bytes: u64 },
    /// The change was made for another state of the records. Nothing was changed.
    #[error("the node's records were changed meanwhile (revision {revision}); look at them and try again")]
    NodeRecordsChanged { revision: u64 },
    /// Object lock needs versioning, and a bucket that has it keeps both.
    #[error(
        "object lock can be enabled only while the bucket's versioning is, and then neither can be undone"
    )]
    LockNeedsVersions,
    /// The bucket would hold more than its quota admits. Nothing was stored.
    #[error("the bucket's quota is {limit} {what}, of which {used} are used")]
    QuotaExceeded { what: &'static str, limit: u64, used: u64 },
    #[error("the object would be {size_bytes} bytes; the most this node stores is {limit_bytes}")]
    TooLarge { size_bytes: u64, limit_bytes: u64 },
    #[error("the key has {length} bytes; the most is {limit}")]
    KeyTooLong { length: usize, limit: usize },
    #[error("attributes of {length} bytes; the most is {limit}")]
    AttributesTooLarge { length: usize, limit: usize },
    /// The body ended early or was longer than announced. Nothing was stored.
    #[error("the body has {got} bytes where {announced} were announced")]
    LengthMismatch { announced: u64, got: u64 },
    /// The drive is full for new data. Reads, listings and deletes still work.
    #[error(
        "no space for new data: delete objects or add a drive ({free_bytes} bytes are free in gaps that do not fit)"
    )]
    NoSpace { free_bytes: u64 },
    /// The index has reached its memory limit. What is stored can still be read, overwritten and
    /// deleted.
    #[error(
        "no memory for new keys: the index has {index_bytes} bytes of the {limit_bytes} that its share of --memory \
         allows this shard; delete objects, abort uploads, or raise --memory"
    )]
    IndexFull { index_bytes: u64, limit_bytes: u64 },
    /// A limit on memory or queues is reached. The caller may try again later.
    #[error("over a limit of this node ({what}); try again")]
    Busy { what: &'static str },
    /// A write or flush failed. The shard writes nothing more until a restart recovers it.
    #[error("shard {shard} stopped writing after a device error; restart the server to recover")]
    WritesStopped { shard: u16 },
    /// Stored bytes do not match their checksum or their identity. They are never served.
    #[error("stored data is damaged: {what} at extent {extent}, offset {offset}")]
    Damaged { what: &'static str, extent: u32, offset: u32 },
    /// The device reported an error for a read.
    #[error("the drive failed to read {length} bytes at {offset}: {reason}")]
    ReadFailed { offset: u64, length: usize, reason: String },
    #[error("the node is shutting down")]
    ShuttingDown,
}

impl EngineError {
    /// Converts the failed read of a device into the error for the caller of the engine.
    /// Returns whether the drive did not give what was stored, so that another copy may be whole.
    pub(crate) fn is_of_copy(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::ReadFailed { .. })
    }

    pub(crate) fn read_failed(error: DeviceError) -> Self {
        Self::ReadFailed { offset: error.offset, length: error.length, reason: error.reason }
    }
}

/// Result of an engine operation.
pub type Result<T> = std::result::Result<T, EngineError>;
