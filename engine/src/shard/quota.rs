//! What changes add to a bucket that has a quota. One ledger for each such bucket, which the node
//! keeps on one core, judges that for all shards.
//!
//! Invariants:
//! - What a record adds is counted by the bucket's ledger before the record is queued, and what it
//!   takes only after the record is durable. So the ledger never counts less than is stored.
//! - Who holds a [`QuotaHold`] and drops it gives back what was counted for it, so neither a refused
//!   record nor a caller that is gone leaves something in the ledger.
//! - In a bucket without a quota nothing of this happens.

use std::rc::Rc;

use super::growth::{Growth, LedgerId};
use super::surroundings::Surroundings;
use crate::error::Result;
use crate::types::BucketId;

/// What a change adds to its bucket and takes from it, on its way. It is dropped if the change does not
/// come to pass.
pub(super) struct QuotaHold {
    surroundings: Rc<dyn Surroundings>,
    bucket: BucketId,
    ledger: LedgerId,
    growth: Growth,
    /// What the ledger has counted of it.
    counted: Growth,
}

impl QuotaHold {
    /// Gets what a change adds to its bucket admitted. Returns `None` when the bucket has no ledger or
    /// holds as much after the change. The caller holds the key's lock and the bucket's permit.
    ///
    /// # Errors
    /// Returns [`EngineError::QuotaExceeded`](crate::EngineError::QuotaExceeded), or
    /// [`EngineError::ShuttingDown`](crate::EngineError::ShuttingDown).
    pub async fn take(
        surroundings: &Rc<dyn Surroundings>,
        bucket: BucketId,
        ledger: Option<LedgerId>,
        growth: impl FnOnce() -> Growth,
    ) -> Result<Option<Self>> {
        let Some(ledger) = ledger else { return Ok(None) };
        let growth = growth();
        if growth.is_zero() {
            return Ok(None);
        }
        let wanted = growth.positive();
        let counted = match wanted.is_zero() {
            true => wanted,
            false => surroundings.reserve_quota(bucket, ledger, wanted).await?,
        };
        Ok(Some(Self { surroundings: surroundings.clone(), bucket, ledger, growth, counted }))
    }

    /// Returns the bucket if the change takes something from what it holds.
    pub fn shrinks(&self) -> Option<BucketId> {
        (self.growth != self.growth.positive()).then_some(self.bucket)
    }

    /// Completes the count, after the change is durable and applied.
    pub fn keep(mut self) {
        self.settle(self.growth.minus(self.counted));
        self.counted = Growth::default();
    }

    fn settle(&self, change: Growth) {
        if !change.is_zero() {
            self.surroundings.settle_quota(self.bucket, self.ledger, change);
        }
    }
}

impl Drop for QuotaHold {
    fn drop(&mut self) {
        self.settle(Growth::default().minus(self.counted));
    }
}
