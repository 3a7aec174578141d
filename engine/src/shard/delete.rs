//! Deleting an object: a tombstone in the log, written into space that is held back, so that it
//! works on a full drive.

use std::rc::Rc;

use super::instance::Shard;
use crate::error::Result;
use crate::extent::allocator::Class;
use crate::format::record::{DeleteV1, EncodedRecord, Mutation};
use crate::types::{BucketId, Deleted, WriteCondition};

impl Shard {
    /// Removes the object of a key. The change is durable before the answer.
    ///
    /// # Errors
    /// Returns an error when the condition does not hold, the bucket is missing, or the device
    /// fails.
    pub async fn delete(
        self: &Rc<Self>,
        bucket: BucketId,
        key: Vec<u8>,
        condition: WriteCondition,
    ) -> Result<Deleted> {
        let guard = self.locks.lock(self.hash(bucket, &key)).await;
        self.check_condition(bucket, &key, &condition)?;
        if self.state.borrow().entry(bucket, &key).is_none() {
            return Ok(Deleted::Absent);
        }
        let mutation = Mutation::Delete(DeleteV1 { bucket: bucket.0, key });
        let record = EncodedRecord::new(&mutation, 0, 0, Vec::new());
        self.commit(bucket, mutation, record, guard, Class::System, None).await?;
        Ok(Deleted::Removed)
    }
}
