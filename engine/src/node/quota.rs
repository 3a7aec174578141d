//! The quotas of buckets. The keys of a bucket are spread over all shards, so one ledger for each
//! bucket that has a quota judges for all of them what may be added. It lives on one core, which
//! follows from the bucket's id, so that the work of many such buckets is spread over the cores.
//!
//! Invariants:
//! - A ledger counts what is stored and what is admitted and on its way. It never counts less than
//!   all shards together hold, and exactly that while nobody writes.
//! - A ledger begins with the sum over all shards, taken while nobody has a permit to write to the
//!   bucket and all that was queued is applied, or before the node is open to anybody.
//!
//! After a shard has stopped writing, its part of the sum is what it has applied, until the next
//! start tells what became of the rest.

use std::rc::Rc;

use super::bucket_map::Mode;
use super::layout::SYSTEM_SHARD;
use super::ledger::{FIRST, Ledger};
use super::state::CoreState;
use crate::error::{EngineError, Result};
use crate::shard::{Growth, LedgerId, ShardReply, ShardRequest};
use crate::types::{Bucket, BucketId, BucketUsage, ConfigKind, Quota};

/// The shards' side: asking a ledger and telling it, from any core.
impl CoreState {
    /// Returns the core that keeps a bucket's ledger.
    fn ledger_core(&self, bucket: BucketId) -> usize {
        bucket.0 as usize % self.layout.cores
    }

    fn admit_growth(&self, bucket: BucketId, id: LedgerId, growth: Growth) -> Result<Growth> {
        self.ledgers.reserve(bucket, id, growth, self.layout.geometry_of(0).planted)
    }

    /// Asks a ledger to admit what a change adds. Returns what it has counted of it.
    ///
    /// # Errors
    /// Returns [`EngineError::QuotaExceeded`].
    pub(super) async fn reserve_quota(
        self: &Rc<Self>,
        bucket: BucketId,
        id: LedgerId,
        growth: Growth,
    ) -> Result<Growth> {
        let judge = self.ledger_core(bucket);
        if judge == self.index {
            return self.admit_growth(bucket, id, growth);
        }
        let orphan = move |core: &Rc<Self>, counted: Result<Growth>| {
            let counted = counted.unwrap_or_default();
            core.settle_quota(bucket, id, Growth::default().minus(counted));
        };
        let admit = move |core: Rc<Self>| async move { core.admit_growth(bucket, id, growth) };
        self.call_or(judge, admit, orphan).await
    }

    /// Tells a ledger to count a change.
    pub(super) fn settle_quota(self: &Rc<Self>, bucket: BucketId, id: LedgerId, change: Growth) {
        let settle = move |core: &Rc<Self>| core.ledgers.settle(bucket, id, change);
        self.send(self.ledger_core(bucket), Box::new(settle));
    }

    /// Waits until a ledger has heard everything that this core has told it: messages from one core
    /// to another keep their order.
    pub(super) async fn quota_heard(self: &Rc<Self>, bucket: BucketId) {
        self.call(self.ledger_core(bucket), |_| async {}).await;
    }
}

/// The node's side: ledgers begin, change and end.
impl CoreState {
    /// Returns what each of these buckets holds, over all shards.
    ///
    /// # Errors
    /// Returns the error of a shard that does not answer. No shard fails to answer today.
    pub(super) async fn usage_of(self: &Rc<Self>, buckets: Vec<BucketId>) -> Result<Vec<BucketUsage>> {
        let mut sums = vec![BucketUsage::default(); buckets.len()];
        for reply in self.ask_all(|| ShardRequest::Usage(buckets.clone())).await? {
            let ShardReply::Usage(usage) = reply else { reply.mistaken() };
            sums.iter_mut().zip(usage).for_each(|(sum, usage)| *sum = sum.plus(usage));
        }
        Ok(sums)
    }

    /// Opens the ledgers that this core keeps, and notes those of all cores. All shards are open then,
    /// and no core takes requests yet, so nobody has to be held off.
    ///
    /// # Errors
    /// Returns the same errors as [`Self::usage_of`].
    pub(super) async fn open_ledgers(self: &Rc<Self>, buckets: &[Bucket]) -> Result<()> {
        let limited = || buckets.iter().filter_map(|bucket| Some((bucket.id, bucket.quota?)));
        limited().for_each(|(bucket, _)| self.buckets.borrow_mut().set_ledger(bucket, Some(FIRST)));
        let own: Vec<_> = limited().filter(|(bucket, _)| self.ledger_core(*bucket) == self.index).collect();
        if own.is_empty() {
            return Ok(());
        }
        let usage = self.usage_of(own.iter().map(|(bucket, _)| *bucket).collect()).await?;
        for ((bucket, quota), usage) in own.into_iter().zip(usage) {
            self.ledgers.open(bucket, Ledger::new(FIRST, quota, usage));
        }
        Ok(())
    }

    /// Sets or removes a bucket's quota, by the value of its configuration. It runs on the system
    /// shard's core, with the lock of buckets held.
    ///
    /// # Errors
    /// Returns [`EngineError::NoSuchBucket`], or an error when there is no space or a device fails.
    pub(super) async fn set_quota(self: &Rc<Self>, bucket: BucketId, value: Option<Vec<u8>>) -> Result<()> {
        // If the drive failed during the bucket's deletion, only a restart tells whether it exists.
        self.writes_of(bucket)?.permit()?;
        let rules = self.buckets.borrow().rules(bucket).ok_or(EngineError::NoSuchBucket)?;
        let quota = value.as_deref().map(Quota::decode);
        match (rules.ledger, quota) {
            (None, Some(quota)) => {
                // 1. New writers wait, and running ones end.
                self.hold_writes(bucket).await;
                let outcome = self.begin_ledger(bucket, quota).await;
                self.set_mode(bucket, Mode::Open).await;
                outcome
            }
            (ledger, Some(quota)) => {
                // The ledger is exact already, so nobody has to wait.
                let changed = self.configure_quota(bucket, Some(quota)).await?;
                let judge = self.ledger_core(bucket);
                self.call(judge, move |core| async move { core.ledgers.set_quota(bucket, quota) }).await;
                self.announce(changed, ledger).await;
                Ok(())
            }
            (ledger, None) => {
                let changed = self.configure_quota(bucket, None).await?;
                self.announce(changed, None).await;
                if ledger.is_some() {
                    self.end_ledger(bucket).await;
                }
                Ok(())
            }
        }
    }

    /// Counts what a bucket holds, while nobody has a permit for it, and begins its ledger.
    async fn begin_ledger(self: &Rc<Self>, bucket: BucketId, quota: Quota) -> Result<()> {
        // 2. What they queued, and what callers that are gone have queued, is applied.
        self.settle().await?;
        let usage = self.usage_of(vec![bucket]).await?.into_iter().next().unwrap_or_default();
        // 3. The quota is durable.
        let changed = self.configure_quota(bucket, Some(quota)).await?;
        // 4. The ledger begins, all cores are told, and only then writers go on.
        let begin = move |core: Rc<Self>| async move { core.ledgers.begin(bucket, quota, usage) };
        let ledger = self.call(self.ledger_core(bucket), begin).await;
        self.announce(changed, Some(ledger)).await;
        Ok(())
    }

    async fn configure_quota(self: &Rc<Self>, bucket: BucketId, quota: Option<Quota>) -> Result<Bucket> {
        let value = quota.map(Quota::encode);
        self.shard(SYSTEM_SHARD).configure_bucket(bucket, ConfigKind::QUOTA, value).await
    }

    /// Tells every core what a bucket is now, and which ledger judges for it.
    async fn announce(self: &Rc<Self>, bucket: Bucket, ledger: Option<LedgerId>) {
        self.on_every_core(move |core| {
            let mut buckets = core.buckets.borrow_mut();
            buckets.update(bucket.clone());
            buckets.set_ledger(bucket.id, ledger);
        })
        .await;
    }

    /// Ends the ledger of a bucket that is gone or has no quota any more.
    pub(super) async fn end_ledger(self: &Rc<Self>, bucket: BucketId) {
        let end = move |core: Rc<Self>| async move { core.ledgers.end(bucket) };
        self.call(self.ledger_core(bucket), end).await;
    }
}
