//! SKELETON: what one thread works with. Cheap to clone, lives on one core, not `Send`.
use crate::error::Result;
use crate::node::{ObjectReader, ObjectWriter};
use crate::types::*;
use std::rc::Rc;

#[derive(Clone)]
pub struct Core;

/// Space of the node in bytes: physical = live + dead + reserved + free.
#[derive(Clone, Copy, Debug, Default)]
pub struct SpaceReport {
    pub physical_bytes: u64,
    pub live_bytes: u64,
    pub dead_bytes: u64,
    pub reserved_bytes: u64,
    pub free_bytes: u64,
    pub objects: u64,
    pub index_bytes: u64,
}

/// The engine's ring, for whoever owns the thread. The loop is: when `pending` resolves, `submit`;
/// when the descriptor polls readable, `reap` and only then poll again.
#[derive(Clone)]
pub struct Driver;

impl Driver {
    /// Readable (POLLIN) when completions or messages from other cores wait to be reaped.
    pub fn raw_fd(&self) -> i32 {
        todo!()
    }
    /// Resolves when operations wait to be submitted.
    pub async fn pending(&self) {
        todo!()
    }
    /// Hands what is queued to the kernel; does not wait.
    pub fn submit(&self) {
        todo!()
    }
    /// Takes completions and wakes their tasks; returns how many. No system call.
    pub fn reap(&self) -> usize {
        todo!()
    }
    /// Submits, then blocks until there is at least one completion (for loops that own the thread alone).
    pub fn submit_and_wait(&self) {
        todo!()
    }
}

impl Core {
    pub fn driver(&self) -> Driver {
        todo!()
    }
    /// Recovers this core's shards; resolves when the whole node is open.
    pub async fn open(&self) -> std::result::Result<(), crate::node::OpenError> {
        todo!()
    }
    /// Refuses new writes, waits for running ones, checkpoints this core's shards.
    pub async fn close(&self) -> Result<()> {
        todo!()
    }
    pub async fn space(&self) -> Result<SpaceReport> {
        todo!()
    }

    /// From this core's copy; no message.
    pub fn bucket(&self, _name: &str) -> Option<Rc<Bucket>> {
        todo!()
    }
    /// By name, ascending.
    pub fn buckets(&self) -> Vec<Rc<Bucket>> {
        todo!()
    }
    pub async fn create_bucket(
        &self,
        _name: &str,
        _owner: &str,
        _attributes: Attributes,
    ) -> Result<BucketCreated> {
        todo!()
    }
    /// Uploads in progress go with it; objects do not: [`EngineError::BucketNotEmpty`](crate::EngineError).
    pub async fn delete_bucket(&self, _bucket: BucketId) -> Result<()> {
        todo!()
    }

    pub async fn head(&self, _bucket: BucketId, _key: &[u8]) -> Result<Option<ObjectInfo>> {
        todo!()
    }
    pub async fn get(&self, _bucket: BucketId, _key: &[u8]) -> Result<Option<ObjectReader>> {
        todo!()
    }
    /// `length` is the exact size of the body to come.
    pub async fn put(&self, _bucket: BucketId, _key: &[u8], _length: u64) -> Result<ObjectWriter> {
        todo!()
    }
    pub async fn delete(
        &self,
        _bucket: BucketId,
        _key: &[u8],
        _condition: WriteCondition,
    ) -> Result<Deleted> {
        todo!()
    }
    pub async fn list(&self, _bucket: BucketId, _query: &ListQuery) -> Result<ListPage> {
        todo!()
    }

    pub async fn create_upload(
        &self,
        _bucket: BucketId,
        _key: &[u8],
        _attributes: Attributes,
    ) -> Result<UploadId> {
        todo!()
    }
    /// With all its parts.
    pub async fn upload(&self, _bucket: BucketId, _key: &[u8], _upload: UploadId) -> Result<UploadInfo> {
        todo!()
    }
    pub async fn put_part(
        &self,
        _bucket: BucketId,
        _key: &[u8],
        _upload: UploadId,
        _number: u16,
        _length: u64,
    ) -> Result<ObjectWriter> {
        todo!()
    }
    /// `parts`: number and ETag of each, ascending; they must match what is stored. No data is copied.
    pub async fn complete_upload(
        &self,
        _bucket: BucketId,
        _key: &[u8],
        _upload: UploadId,
        _parts: Vec<(u16, Etag)>,
        _meta: ObjectMeta,
        _condition: WriteCondition,
    ) -> Result<ObjectInfo> {
        todo!()
    }
    pub async fn abort_upload(&self, _bucket: BucketId, _key: &[u8], _upload: UploadId) -> Result<()> {
        todo!()
    }
    pub async fn list_uploads(&self, _bucket: BucketId, _query: &UploadQuery) -> Result<UploadPage> {
        todo!()
    }
}
