//! What changing a bucket takes: the permits of those who write to it, and its deletion.
//!
//! Invariants:
//! - Whoever writes to a bucket holds a [`WritePermit`] on the core that owns the key, from before the key's lock until
//!   the write has ended.
//! - A deletion that ends refused was never visible: while a bucket is looked into it is there for everybody, and only
//!   writers that come in the decisive moment wait. They go on when it stays, and hear that it is gone when it went.
//! - A bucket is removed only while nobody holds a permit for it, on any core, and all that was queued is applied: no
//!   acknowledged write is in a bucket that is gone.

use std::rc::Rc;

use super::bucket_map::{BucketWrites, Mode, WritePermit};
use super::layout::SYSTEM_SHARD;
use super::state::CoreState;
use crate::error::{EngineError, Result};
use crate::hook::{Rare, reached};
use crate::shard::{ShardReply, ShardRequest};
use crate::types::BucketId;

impl CoreState {
    fn writes_of(&self, bucket: BucketId) -> Result<Rc<BucketWrites>> {
        self.buckets.borrow().writes_of(bucket).ok_or(EngineError::NoSuchBucket)
    }

    /// The permit to write to a bucket on this core, None while its deletion is being decided.
    ///
    /// # Errors
    /// [`EngineError::NoSuchBucket`]; [`EngineError::WritesStopped`] when the drive failed at its deletion.
    pub(super) fn try_permit(&self, bucket: BucketId) -> Result<Option<WritePermit>> {
        self.writes_of(bucket)?.permit()
    }

    /// As [`Self::try_permit`], but waits for the decision.
    ///
    /// # Errors
    /// As there.
    pub(super) async fn permit(&self, bucket: BucketId) -> Result<WritePermit> {
        loop {
            let writes = self.writes_of(bucket)?;
            let mark = writes.changed.mark();
            match writes.permit()? {
                Some(permit) => return Ok(permit),
                None => {
                    reached(Rare::BucketLeaving);
                    writes.changed.after(mark).await;
                }
            }
        }
    }

    /// Removes a bucket if nothing is in it; its uploads go with it. On the system shard's core, with the lock of
    /// buckets held.
    ///
    /// # Errors
    /// [`EngineError::BucketNotEmpty`], [`EngineError::NoSuchBucket`], or when a device says no.
    pub(super) async fn delete_bucket(self: &Rc<Self>, bucket: BucketId) -> Result<()> {
        // Of a bucket whose deletion failed on the drive nobody can say more than that.
        self.writes_of(bucket)?.permit()?;
        // 1. What has objects is refused at once, and nobody waited for it.
        self.check_empty(bucket).await?;
        // 2. New writers wait, those that run end, and what they queued is applied; 3. look again.
        self.hold_writes(bucket).await;
        let judged = match self.settle().await {
            Ok(()) => self.check_empty(bucket).await,
            Err(error) => Err(error),
        };
        let judged = match judged {
            Ok(()) => self.end_uploads(bucket).await,
            Err(error) => Err(error),
        };
        if let Err(error) = judged {
            self.set_mode(bucket, Mode::Open).await;
            return Err(error);
        }
        // 4. Remove, and tell everybody.
        let removed = self.shard(SYSTEM_SHARD).remove_bucket(bucket).await;
        match removed {
            Ok(()) => {
                self.on_every_core(move |core| core.buckets.borrow_mut().remove(bucket)).await;
            }
            Err(EngineError::WritesStopped { .. }) => self.set_mode(bucket, Mode::Unknown).await,
            // Refused before anything was written.
            Err(_) => self.set_mode(bucket, Mode::Open).await,
        }
        removed
    }

    async fn set_mode(self: &Rc<Self>, bucket: BucketId, mode: Mode) {
        self.on_every_core(move |core| {
            if let Ok(writes) = core.writes_of(bucket) {
                writes.set_mode(mode);
            }
        })
        .await;
    }

    /// Resolves when no core has a writer of the bucket any more; new ones wait.
    async fn hold_writes(self: &Rc<Self>, bucket: BucketId) {
        let calls = (0..self.layout.cores).map(|core| {
            self.call(core, move |core| async move {
                if let Ok(writes) = core.writes_of(bucket) {
                    writes.hold().await;
                }
            })
        });
        futures_util::future::join_all(calls).await;
    }

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

    /// What was queued on any shard is applied: a caller that went away left its record behind.
    async fn settle(self: &Rc<Self>) -> Result<()> {
        self.ask_all(|| ShardRequest::Barrier).await.map(|_| ())
    }

    /// # Errors
    /// [`EngineError::BucketNotEmpty`] when a shard has an object of the bucket.
    async fn check_empty(self: &Rc<Self>, bucket: BucketId) -> Result<()> {
        let judged = self.ask_all(|| ShardRequest::IsBucketEmpty(bucket)).await?;
        let empty = judged.into_iter().all(|judged| matches!(judged, ShardReply::Judged(true)));
        if empty { Ok(()) } else { Err(EngineError::BucketNotEmpty) }
    }

    async fn end_uploads(self: &Rc<Self>, bucket: BucketId) -> Result<()> {
        self.ask_all(|| ShardRequest::EndUploads(bucket)).await.map(|_| ())
    }
}
