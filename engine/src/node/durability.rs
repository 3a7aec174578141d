//! The question how durable a version is that was committed before.

use super::core::Core;
use super::read::look_up;
use super::receipt::Durability;
use crate::error::Result;
use crate::shard::Found;
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
        // The pin keeps its sets where they are meanwhile.
        let Some((found, _pin)) = look_up(state, shard, (bucket, key, version)).await? else {
            return Ok(None);
        };
        let sets = match &found {
            Found::Entry(found) => found.slices.all(),
            Found::Inline { .. } => &[],
        };
        Ok(Some(state.durability_of(shard, sets).await))
    }
}
