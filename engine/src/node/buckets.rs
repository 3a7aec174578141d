//! The deletion of buckets, and the permits of those who write to them. While what a bucket holds is
//! counted for its quota ([`super::quota`]), nobody has a permit.
//!
//! Invariants:
//! - A client's request that writes to a bucket holds a [`WritePermit`] on the core that owns the
//!   key, from before the key's lock is taken until the write has ended. An upload that ends because
//!   of its age or with its bucket needs none: it adds nothing to the bucket.
//! - A deletion that is refused was never visible. While the bucket is examined it exists for
//!   everybody, and only writers that come during the decision wait. They go on if the bucket
//!   stays, and get an error if it was removed.
//! - A bucket is removed only while nobody holds a permit for it on any core and all that was
//!   queued is applied. So no acknowledged write is in a bucket that was removed.

use std::rc::Rc;

use super::bucket_map::{BucketWrites, Mode, WritePermit};
use super::layout::SYSTEM_SHARD;
use super::state::CoreState;
use crate::error::{EngineError, Result};
use crate::hook::{Rare, reached};
use crate::shard::{ShardReply, ShardRequest};
use crate::types::BucketId;

impl CoreState {
    pub(super) fn writes_of(&self, bucket: BucketId) -> Result<Rc<BucketWrites>> {
        self.buckets.borrow().writes_of(bucket).ok_or(EngineError::NoSuchBucket)
    }

    /// Returns the permit to write to a bucket on this core, or `None` while its deletion is being
    /// decided or what it holds is being counted.
    ///
    /// # Errors
    /// Returns [`EngineError::NoSuchBucket`], or [`EngineError::WritesStopped`] when the drive
    /// failed during the bucket's deletion.
    pub(super) fn try_permit(&self, bucket: BucketId) -> Result<Option<WritePermit>> {
        self.writes_of(bucket)?.permit()
    }

    /// Returns the permit to write to a bucket, after the decision about its deletion, or
    /// the count of what it holds, if there is one.
    ///
    /// # Errors
    /// Returns the same errors as [`Self::try_permit`].
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

    /// Removes a bucket that has no objects, together with its uploads. It runs on the system
    /// shard's core, with the lock of buckets held.
    ///
    /// # Errors
    /// Returns [`EngineError::BucketNotEmpty`], [`EngineError::NoSuchBucket`], or an error when a
    /// device fails.
    pub(super) async fn delete_bucket(self: &Rc<Self>, bucket: BucketId) -> Result<()> {
        // If the drive failed during an earlier deletion, only a restart can tell whether the
        // bucket exists.
        self.writes_of(bucket)?.permit()?;
        // 1. A bucket with objects is refused at once, and no writer has to wait.
        self.check_empty(bucket).await?;
        // 2. New writers wait, running ones end, and what they queued is applied. 3. The bucket is
        //    checked again.
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
        // 4. The bucket is removed, and all cores are told.
        let removed = self.shard(SYSTEM_SHARD).remove_bucket(bucket).await;
        match removed {
            Ok(()) => {
                self.on_every_core(move |core| core.buckets.borrow_mut().remove(bucket)).await;
                self.end_ledger(bucket).await;
            }
            Err(EngineError::WritesStopped { .. }) => self.set_mode(bucket, Mode::Unknown).await,
            // The deletion was refused before anything was written.
            Err(_) => self.set_mode(bucket, Mode::Open).await,
        }
        removed
    }

    pub(super) async fn set_mode(self: &Rc<Self>, bucket: BucketId, mode: Mode) {
        self.on_every_core(move |core| {
            if let Ok(writes) = core.writes_of(bucket) {
                writes.set_mode(mode);
            }
        })
        .await;
    }

    /// Makes new writers of the bucket wait on every core, and returns once none is running.
    pub(super) async fn hold_writes(self: &Rc<Self>, bucket: BucketId) {
        let calls = (0..self.layout.cores).map(|core| {
            self.call(core, move |core| async move {
                if let Ok(writes) = core.writes_of(bucket) {
                    writes.hold().await;
                }
            })
        });
        futures_util::future::join_all(calls).await;
    }

    /// Runs `change` on every core and waits until it has run everywhere.
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

    /// Waits until everything that was queued on any shard is applied. A caller that was dropped
    /// may have left its record in a queue.
    pub(super) async fn settle(self: &Rc<Self>) -> Result<()> {
        self.ask_all(|| ShardRequest::Barrier).await.map(|_| ())
    }

    /// Checks that no shard has an object of the bucket.
    ///
    /// # Errors
    /// Returns [`EngineError::BucketNotEmpty`] when a shard has one.
    async fn check_empty(self: &Rc<Self>, bucket: BucketId) -> Result<()> {
        let judged = self.ask_all(|| ShardRequest::IsBucketEmpty(bucket)).await?;
        let empty = judged.into_iter().all(|judged| matches!(judged, ShardReply::Judged(true)));
        if empty { Ok(()) } else { Err(EngineError::BucketNotEmpty) }
    }

    async fn end_uploads(self: &Rc<Self>, bucket: BucketId) -> Result<()> {
        self.ask_all(|| ShardRequest::EndUploads(bucket)).await.map(|_| ())
    }
}
