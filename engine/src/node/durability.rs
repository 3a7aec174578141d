//! The question how durable a version is that was committed before.

use super::core::Core;
use super::receipt::Durability;
use crate::error::Result;
use crate::shard::{Found, ShardReply, ShardRequest};
use crate::types::{BucketId, Version};

impl Core {
    /// Returns how durable a version of a key is, or `None` when there is no such version.
    ///
    /// # Errors
    /// Returns an error when the shard does not serve.
    pub async fn durability(
        &self,
        bucket: BucketId,
        key: &[u8],
        version: Version,
    ) -> Result<Option<Durability>> {
        let state = self.state();
        let shard = state.layout.shard_of_key(bucket, key);
        let found =
            match state.ask(shard, ShardRequest::Lookup { bucket, key: key.to_vec(), version }).await? {
                ShardReply::Found(found) => found,
                other => other.mistaken(),
            };
        let found = found.map(|(found, pins)| {
            let sets = match &found {
                Found::Entry(found) => found.slices.all(),
                Found::Inline { .. } => &[],
            };
            let sets = sets.to_vec();
            state.tell(shard, ShardRequest::Unpin(pins));
            sets
        });
        match found {
            Some(sets) => Ok(Some(state.durability_of(shard, &sets).await)),
            None => Ok(None),
        }
    }
}
