//! Deleting: a version is removed by a record in the log, written into space that is held back, so
//! that it works on a full drive. Where the bucket keeps versions, a delete that names none adds a
//! delete marker instead, which takes space as a put does.

use std::rc::Rc;

use super::commit::{Holds, judge};
use super::entry::Entry;
use super::growth::Growth;
use super::instance::Shard;
use super::quota::QuotaHold;
use crate::error::Result;
use crate::extent::allocator::Class;
use crate::format::record::{DeleteV1, EncodedRecord, Mutation, PutV1, STATE_MARKER};
use crate::sync::locks::KeyGuard;
use crate::types::{BucketId, Deleted, Deletion, Version, Versioning, WriteCondition};

impl Shard {
    /// Removes a version of a key, or marks the key as deleted. The change is durable before the
    /// answer. The condition is judged against the version that is named. If that does not exist, it
    /// is not looked at, and nothing is written: only a delete without condition marks a key that
    /// has no versions.
    ///
    /// # Errors
    /// Returns [`EngineError::Locked`](crate::EngineError::Locked) for a version that is locked, or
    /// an error when the condition does not hold, the bucket is missing, or the device fails. A
    /// delete marker may find no space.
    pub async fn delete(
        self: &Rc<Self>,
        bucket: BucketId,
        key: Vec<u8>,
        deletion: Deletion,
    ) -> Result<Deleted> {
        let Deletion { version, condition, bypass_governance } = deletion;
        let guard = self.locks.lock(self.hash(bucket, &key)).await;
        let (found, null) = {
            let state = self.state.borrow();
            let newest = state.newest(bucket, &key);
            let null = newest.as_ref().and_then(|newest| newest.null_version());
            let found = if version == Version::Newest { newest } else { state.find(bucket, &key, version) };
            (found, null)
        };
        let conditional = condition != WriteCondition::default();
        match &found {
            Some(found) => judge(found, &condition)?,
            None if conditional => return Ok(Deleted::Absent),
            None => {}
        }
        if version == Version::Newest && self.surroundings.versioning(bucket)? != Versioning::Off {
            return self.mark_deleted(bucket, key, guard).await;
        }
        let Some(old) = found else { return Ok(Deleted::Absent) };
        self.remove_version(bucket, key, (&old, null), bypass_governance, guard).await
    }

    /// Removes a version whose key is locked by `guard`, and whose null version is `null`.
    ///
    /// # Errors
    /// Returns the same errors as [`Self::delete`].
    pub(super) async fn remove_version(
        self: &Rc<Self>,
        bucket: BucketId,
        key: Vec<u8>,
        (old, null): (&Entry, Option<u64>),
        bypass_governance: bool,
        guard: KeyGuard,
    ) -> Result<Deleted> {
        self.check_unlocked(old, bypass_governance)?;
        let removes = old.generation;
        let null = null.filter(|null| *null != removes).unwrap_or(0);
        let mutation = Mutation::Delete(DeleteV1 { bucket: bucket.0, key, removes, null });
        let record = EncodedRecord::new(&mutation, 0, 0, Vec::new());
        let ledger = self.surroundings.rules(bucket)?.ledger;
        let quota = QuotaHold::take(&self.surroundings, bucket, ledger, || Growth::of_delete(old)).await?;
        let holds = Holds { quota, ..Holds::default() };
        self.commit(bucket, mutation, record, guard, Class::System, holds).await?;
        Ok(Deleted::Removed { generation: removes, marker: old.is_marker, is_null: old.is_null })
    }

    /// Adds a delete marker to a key that is locked by `guard`.
    ///
    /// # Errors
    /// Returns the same errors as [`Self::delete`].
    pub(super) async fn mark_deleted(
        self: &Rc<Self>,
        bucket: BucketId,
        key: Vec<u8>,
        guard: KeyGuard,
    ) -> Result<Deleted> {
        let marker = PutV1 {
            bucket: bucket.0,
            key,
            state: STATE_MARKER,
            modified_ms: self.environment.wall_clock_ms(),
            ..PutV1::default()
        };
        let info = self.commit_put(marker, Vec::new(), guard, None).await?;
        Ok(Deleted::Marked { generation: info.generation, is_null: info.is_null })
    }
}
