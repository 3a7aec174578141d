//! The system shard's operations on buckets. A bucket is a record in its log.

use std::rc::Rc;
use std::sync::Arc;

use super::commit::check_length;
use super::instance::Shard;
use crate::error::{EngineError, Result};
use crate::extent::allocator::Class;
use crate::format::record::{BucketConfigV1, BucketDeleteV1, BucketV1, DeleteV1, EncodedRecord, Mutation};
use crate::lifecycle::LifecycleRules;
use crate::types::{
    Attributes, Bucket, BucketConfig, BucketCreated, BucketId, BucketLock, ConfigKind, Parsed, Quota,
    Versioning,
};

/// Largest configuration of a bucket, all kinds together, bytes. A piece of a checkpoint, which may
/// have other buckets before it, is not longer than a chunk.
const CONFIG_BYTES_MAX: usize = 512 << 10;

impl Shard {
    /// Creates a bucket with this configuration, durable before the answer. The caller holds the
    /// node's bucket lock, so names stay unique.
    ///
    /// # Errors
    /// Returns an error when there is no space, the index is full, or the device fails.
    pub async fn create_bucket(
        self: &Rc<Self>,
        name: &str,
        owner: &str,
        attributes: Attributes,
        config: Vec<(ConfigKind, Vec<u8>)>,
    ) -> Result<BucketCreated> {
        if let Some(bucket) = self.state.borrow().buckets.values().find(|bucket| bucket.name == name) {
            return Ok(BucketCreated::Exists(bucket_of(bucket)));
        }
        self.check_index_room()?;
        let id = {
            let mut state = self.state.borrow_mut();
            state.next_bucket += 1;
            state.next_bucket - 1
        };
        let created_ms = self.environment.wall_clock_ms();
        let (name, owner) = (name.to_owned(), owner.to_owned());
        let mut config: Vec<(u16, Vec<u8>)> =
            config.into_iter().map(|(kind, value)| (kind.0, value)).collect();
        check_size(config.iter().map(|(_, value)| value.len()).sum())?;
        config.sort_by_key(|(kind, _)| *kind);
        config.dedup_by_key(|(kind, _)| *kind);
        let bucket = BucketV1 { id, name, owner, created_ms, attributes, config };
        let created = bucket_of(&bucket);
        self.commit_system(Mutation::BucketPut(bucket), Class::User).await?;
        Ok(BucketCreated::New(created))
    }

    /// Removes a bucket that the node has found empty.
    ///
    /// # Errors
    /// Returns [`EngineError::NoSuchBucket`], or an error when the device fails.
    pub async fn remove_bucket(self: &Rc<Self>, bucket: BucketId) -> Result<()> {
        if !self.state.borrow().buckets.contains_key(&bucket.0) {
            return Err(EngineError::NoSuchBucket);
        }
        self.commit_system(Mutation::BucketDelete(BucketDeleteV1 { id: bucket.0 }), Class::System).await
    }

    /// Sets one kind of a bucket's configuration, or removes it, durable before the answer. Returns
    /// the bucket as it is then. The caller holds the node's bucket lock.
    ///
    /// # Errors
    /// Returns [`EngineError::NoSuchBucket`], [`EngineError::LockNeedsVersions`], or an error when
    /// there is no space, the index is full, or the device fails.
    pub async fn configure_bucket(
        self: &Rc<Self>,
        bucket: BucketId,
        kind: ConfigKind,
        value: Option<Vec<u8>>,
    ) -> Result<Bucket> {
        let before = self.state.borrow().buckets.get(&bucket.0).map(bucket_of);
        let before = before.ok_or(EngineError::NoSuchBucket)?;
        check_lock(&before, kind, value.as_deref())?;
        let others = before.config.iter().filter(|(other, _)| *other != kind).map(|(_, value)| value.len());
        check_size(others.sum::<usize>() + value.as_ref().map_or(0, Vec::len))?;
        if value.is_some() {
            self.check_index_room()?;
        }
        let config = BucketConfigV1 { bucket: bucket.0, kind: kind.0, value };
        self.commit_system(Mutation::BucketConfig(config), Class::User).await?;
        self.state.borrow().buckets.get(&bucket.0).map(bucket_of).ok_or(EngineError::NoSuchBucket)
    }

    /// Returns the greatest bucket id that an object or upload of this shard has, or 0 when the
    /// shard has none.
    pub(crate) fn last_bucket(&self) -> u32 {
        let state = self.state.borrow();
        let of_objects = state.index.last_key().and_then(|key| key.first_chunk().copied());
        let of_uploads = state.uploads.last_key_value().map(|((bucket, ..), _)| *bucket);
        of_objects.map_or(0, u32::from_be_bytes).max(of_uploads.unwrap_or(0))
    }

    /// Makes sure, in the system shard, that `used` is never given to another bucket. The record of
    /// the bucket that had it may be lost, and what was in that bucket must not appear in a new
    /// one.
    pub(crate) fn pass_bucket(&self, used: u32) {
        let mut state = self.state.borrow_mut();
        state.next_bucket = state.next_bucket.max(used.saturating_add(1));
    }

    /// Returns every bucket; it is for the system shard only.
    pub fn all_buckets(&self) -> Vec<Bucket> {
        self.state.borrow().buckets.values().map(bucket_of).collect()
    }

    async fn commit_system(self: &Rc<Self>, mutation: Mutation, class: Class) -> Result<()> {
        let record = EncodedRecord::new(&mutation, 0, 0, Vec::new());
        check_length(&record)?;
        if class == Class::User {
            self.admit(record.length(), class).await?;
        }
        self.append(Some((mutation, record)), None).await
    }

    /// Waits until everything of users that was queued before is durable and applied. The cleaner's
    /// copies, which change nothing that a user sees, may come later.
    ///
    /// # Errors
    /// Returns [`EngineError::WritesStopped`] or [`EngineError::ShuttingDown`] when the shard
    /// writes no more.
    pub async fn barrier(self: &Rc<Self>) -> Result<()> {
        self.append(None, None).await
    }

    /// Writes a record that changes nothing: a delete in a bucket that never exists.
    ///
    /// # Errors
    /// Returns [`EngineError::WritesStopped`] or [`EngineError::ShuttingDown`] when the shard
    /// writes no more.
    pub(crate) async fn fence(self: &Rc<Self>) -> Result<()> {
        let mutation = Mutation::Delete(DeleteV1 { bucket: 0, key: Vec::new(), removes: 0, null: 0 });
        let record = EncodedRecord::new(&mutation, 0, 0, Vec::new());
        self.append(Some((mutation, record)), None).await
    }
}

/// Returns the value that a bucket's configuration has for a state of its versioning.
pub fn versioning_value(versioning: Versioning) -> Option<Vec<u8>> {
    match versioning {
        Versioning::Off => None,
        Versioning::Enabled => Some(vec![1]),
        Versioning::Suspended => Some(vec![2]),
    }
}

/// Checks that the configuration of a bucket fits into a record and into a piece of a checkpoint.
///
/// # Errors
/// Returns [`EngineError::ConfigTooLarge`].
fn check_size(length: usize) -> Result<()> {
    match length <= CONFIG_BYTES_MAX {
        true => Ok(()),
        false => Err(EngineError::ConfigTooLarge { length, limit: CONFIG_BYTES_MAX }),
    }
}

/// Checks that a change keeps object lock and versioning together: a bucket gets a lock only where
/// its versioning is enabled, and then both stay.
///
/// # Errors
/// Returns [`EngineError::LockNeedsVersions`].
fn check_lock(bucket: &Bucket, kind: ConfigKind, value: Option<&[u8]>) -> Result<()> {
    let versioning = match kind {
        ConfigKind::VERSIONING => value.map_or(Versioning::Off, versioning_of),
        _ => bucket.versioning,
    };
    let locked = match kind {
        ConfigKind::LOCK => value.is_some(),
        _ => bucket.lock.is_some(),
    };
    let unlocks = bucket.lock.is_some() && !locked;
    if unlocks || locked && versioning != Versioning::Enabled {
        return Err(EngineError::LockNeedsVersions);
    }
    Ok(())
}

fn versioning_of(value: &[u8]) -> Versioning {
    match value {
        [1] => Versioning::Enabled,
        // A value that this program does not know came with a record that its checksum covers, so
        // the bucket has kept versions. Nothing of it is removed then.
        _ => Versioning::Suspended,
    }
}

fn bucket_of(bucket: &BucketV1) -> Bucket {
    let config: BucketConfig =
        bucket.config.iter().map(|(kind, value)| (ConfigKind(*kind), value.as_slice().into())).collect();
    let value = |wanted: ConfigKind| config.iter().find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    Bucket {
        id: BucketId(bucket.id),
        name: bucket.name.clone(),
        owner: bucket.owner.clone(),
        created_ms: bucket.created_ms,
        attributes: bucket.attributes.clone(),
        versioning: value(ConfigKind::VERSIONING).map_or(Versioning::Off, |value| versioning_of(value)),
        lock: value(ConfigKind::LOCK).map(|value| BucketLock::decode(value)),
        quota: value(ConfigKind::QUOTA).map(|value| Quota::decode(value)),
        lifecycle: value(ConfigKind::LIFECYCLE).and_then(|value| LifecycleRules::decode(value)).map(Arc::new),
        config,
        parsed: Parsed::default(),
    }
}
