//! SKELETON: bodies in and out.
use crate::error::Result;
use crate::types::*;

/// Verified bytes of an object; its buffer goes back to the core's pool when it is dropped. Not `Send`.
pub struct Chunk;

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        todo!()
    }
}

/// An object opened for reading: pinned until dropped, so its space is not reused under the reader.
pub struct ObjectReader;

impl ObjectReader {
    pub fn info(&self) -> &ObjectInfo {
        todo!()
    }
    /// Restricts reading to `length` bytes from `offset` (must lie within the object). Call before the first `next`.
    pub fn set_range(&mut self, _offset: u64, _length: u64) {
        todo!()
    }
    /// The next verified bytes in order, None at the end. Reads ahead within the core's buffer budget.
    pub async fn next(&mut self) -> Result<Option<Chunk>> {
        todo!()
    }
}

/// A body on its way in. Dropping it without `commit` leaves nothing behind.
pub struct ObjectWriter;

impl ObjectWriter {
    /// Copies `bytes` in and waits when the device is behind.
    pub async fn write(&mut self, _bytes: &[u8]) -> Result<()> {
        todo!()
    }
    /// Object writers: makes it the object of its key, durable before the answer.
    pub async fn commit(self, _meta: ObjectMeta, _condition: WriteCondition) -> Result<ObjectInfo> {
        todo!()
    }
    /// Part writers: makes it part `number` of its upload (replacing an earlier one), durable before the answer.
    pub async fn commit_part(self, _etag: Etag, _attributes: Attributes) -> Result<PartInfo> {
        todo!()
    }
}
