//! The time by which the retentions of the whole node are judged, as operators see and confirm it.

use std::rc::Rc;

use super::core::Core;
use super::state::CoreState;
use crate::error::Result;
use crate::shard::{ClockReading, NOTED_EVERY_MS, ShardReply, ShardRequest};
use crate::types::BucketId;

impl CoreState {
    /// Makes every shard of the node keep time. It precedes the first bucket with object lock, so
    /// that no shard has its first lock after the clock was set wrong.
    ///
    /// # Errors
    /// Returns an error when a shard writes no more, or has no space for a record.
    pub(super) async fn begin_time(self: &Rc<Self>) -> Result<()> {
        self.ask_all(|| ShardRequest::BeginTime).await.map(|_| ())
    }
}

impl Core {
    /// Returns the time by which the retentions of a key's versions are judged, or `None` where time
    /// is not kept. A retention that ends before it protects nothing, even if the wall clock is
    /// behind.
    ///
    /// # Errors
    /// Returns the error of a shard that does not answer. No shard fails to answer today.
    pub async fn lock_time_of(&self, bucket: BucketId, key: &[u8]) -> Result<Option<ClockReading>> {
        let shard = self.state().layout.shard_of_key(bucket, key);
        match self.state().ask(shard, ShardRequest::LockTime).await? {
            ShardReply::LockTime(reading) => Ok(reading),
            other => other.mistaken(),
        }
    }

    /// Returns the time by which retentions are judged: that of the shard that is furthest behind.
    /// Returns `None` while there was never a bucket with object lock or a locked version.
    ///
    /// # Errors
    /// Returns the error of a shard that does not answer. No shard fails to answer today.
    pub async fn lock_time(&self) -> Result<Option<ClockReading>> {
        let replies = self.state().ask_all(|| ShardRequest::LockTime).await?;
        let readings = replies.into_iter().filter_map(|reply| match reply {
            ShardReply::LockTime(reading) => reading,
            other => other.mistaken(),
        });
        Ok(readings.min_by_key(|reading| reading.now_ms))
    }

    /// Makes all shards judge retentions by the wall clock as it is now, however far it has stepped.
    /// It is the word of an operator, and durable before the answer.
    ///
    /// # Errors
    /// Returns an error when a shard writes no more. Others may have believed the clock then.
    pub async fn confirm_clock(&self) -> Result<()> {
        // It ends also if the caller is dropped: a shard must not note what it does not believe.
        let confirm = |core: Rc<CoreState>| async move { core.ask_all(|| ShardRequest::ConfirmTime).await };
        self.on_system(confirm).await.map(|_| ())
    }

    /// Notes the time in the logs of this core's shards while it passes, until the core closes, and
    /// says when the wall clock is not believed.
    pub async fn keep_time(&self) {
        let state = self.state();
        let mut said = false;
        while !state.closing.get() {
            let mut ahead_ms = 0;
            for shard in state.own_shards() {
                if shard.keeps_time() {
                    ahead_ms = ahead_ms.max(shard.lock_time().ahead_ms);
                }
                if let Err(error) = shard.note_time().await {
                    tracing::debug!(shard = shard.id, %error, "the time could not be noted");
                }
            }
            if ahead_ms > 0 && !said {
                let ahead_h = ahead_ms / 3_600_000;
                tracing::warn!(
                    ahead_h,
                    "the clock is ahead of the time that is known to have passed, so no retention ends by it; if \
                     it is right, run `ringbolt clock confirm`"
                );
            }
            said = ahead_ms > 0;
            state.environment.sleep(NOTED_EVERY_MS / 60).await;
        }
    }
}
