//! Changing the metadata of a version: one record holds all of it from then on, and the data stay
//! where they are.

use std::rc::Rc;

use super::commit::Holds;
use super::instance::Shard;
use crate::error::{EngineError, Result};
use crate::extent::allocator::Class;
use crate::format::record::{EncodedRecord, MetaV1, Mutation};
use crate::sync::locks::KeyGuard;
use crate::types::{BucketId, Lock, MetadataChange, Versioning, WriteCondition};

impl Shard {
    /// Changes the metadata of a version, if it still is as the change expects it. Returns its
    /// modification time, a Unix time in milliseconds. The condition is judged against the key's
    /// newest version.
    ///
    /// # Errors
    /// Returns [`EngineError::Superseded`] when the version is gone or was changed meanwhile,
    /// [`EngineError::Locked`] when a retention would be shortened that may not be, an error when the
    /// condition does not hold, or the same errors as [`Shard::put`].
    pub async fn update_metadata(
        self: &Rc<Self>,
        bucket: BucketId,
        key: Vec<u8>,
        change: MetadataChange,
        condition: WriteCondition,
    ) -> Result<u64> {
        let guard = self.locks.lock(self.hash(bucket, &key)).await;
        self.check_condition(bucket, &key, &condition)?;
        self.change_metadata(bucket, key, change, guard).await
    }

    /// Changes the metadata of a version whose key is locked by `guard`.
    ///
    /// # Errors
    /// Returns the same errors as [`Self::update_metadata`].
    pub(super) async fn change_metadata(
        self: &Rc<Self>,
        bucket: BucketId,
        key: Vec<u8>,
        change: MetadataChange,
        guard: KeyGuard,
    ) -> Result<u64> {
        let entry = self.state.borrow().version(bucket, &key, change.generation);
        let entry = entry.filter(|entry| !entry.is_marker).ok_or(EngineError::Superseded)?;
        let changed = entry.meta.map_or(0, |meta| meta.change);
        if change.if_changed.is_some_and(|expected| expected != changed) {
            return Err(EngineError::Superseded);
        }
        let lock = Lock::of(&change.attributes);
        if !entry.traits.lock.is_none() {
            let now_ms = self.lock_time().now_ms;
            if !entry.traits.lock.may_become(lock, now_ms, change.bypass_governance) {
                return Err(EngineError::Locked);
            }
        }
        if lock.retention != entry.traits.lock.retention {
            self.check_retention(lock, self.environment.wall_clock_ms())?;
        }
        if entry.meta.is_none() {
            self.check_index_room()?;
        }
        let modified_ms = if change.touches { self.environment.wall_clock_ms() } else { entry.modified_ms };
        let generation = change.generation;
        let meta = MetaV1 {
            bucket: bucket.0,
            key,
            generation,
            change: changed + 1,
            modified_ms,
            attributes: change.attributes,
        };
        let mutation = Mutation::Meta(meta);
        let record = EncodedRecord::new(&mutation, generation, 0, Vec::new());
        let only_in = change.unless_versioned.then_some(Versioning::Off);
        let holds = Holds { only_in, ..Holds::default() };
        self.commit(bucket, mutation, record, guard, Class::User, holds).await?;
        Ok(modified_ms)
    }
}
