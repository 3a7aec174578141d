//! What changing a bucket takes on the system shard's core.

use std::rc::Rc;

use super::state::CoreState;
use crate::error::{EngineError, Result};
use crate::types::BucketId;

impl CoreState {
    /// Runs `change` on every core; resolves when it has run everywhere.
    pub(super) async fn on_every_core(
        self: &Rc<Self>,
        change: impl Fn(&Rc<CoreState>) + Clone + Send + 'static,
    ) {
        let calls = (0..self.layout.cores).map(|core| {
            let change = change.clone();
            self.call(core, move |core| async move { change(&core) })
        });
        futures_util::future::join_all(calls).await;
    }

    /// Resolves when no shard has an object of the bucket; ends its uploads.
    ///
    /// # Errors
    /// [`EngineError::BucketNotEmpty`].
    pub(super) async fn empty_bucket(self: &Rc<Self>, bucket: BucketId) -> Result<()> {
        let look = |shard: u16| {
            let work = move |core: Rc<CoreState>| async move {
                let shard = core.shard(shard);
                shard.barrier().await?;
                Ok(shard.is_bucket_empty(bucket))
            };
            self.call(self.layout.core_of(shard), work)
        };
        let answers = futures_util::future::join_all((0..self.layout.shards).map(look)).await;
        let empty = answers.into_iter().collect::<Result<Vec<bool>>>()?;
        if !empty.into_iter().all(|empty| empty) {
            return Err(EngineError::BucketNotEmpty);
        }
        let end = |shard: u16| {
            let work = move |core: Rc<CoreState>| async move { core.shard(shard).end_uploads(bucket).await };
            self.call(self.layout.core_of(shard), work)
        };
        let ended = futures_util::future::join_all((0..self.layout.shards).map(end)).await;
        ended.into_iter().collect()
    }
}
