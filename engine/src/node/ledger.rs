//! The ledgers of one core: what the buckets with a quota that it judges hold, and may hold.
//!
//! Invariants:
//! - A ledger counts what is stored and what is admitted and on its way.
//! - What comes late for an earlier ledger of the same bucket is ignored, because the ledgers of a
//!   bucket have different numbers.
//! - A ledger answers at once. It waits for nobody, so nobody waits in a circle.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use crate::error::{EngineError, Result};
use crate::hook::{Bug, Planted};
use crate::shard::{Growth, LedgerId};
use crate::types::{BucketId, BucketUsage, Quota};

/// The number of every ledger that is there when the node opens.
pub(super) const FIRST: LedgerId = LedgerId(0);

pub(super) struct Ledger {
    id: LedgerId,
    quota: Quota,
    /// Bytes of all versions, and versions that are objects: stored, or on their way.
    bytes: u64,
    versions: u64,
}

impl Ledger {
    pub fn new(id: LedgerId, quota: Quota, usage: BucketUsage) -> Self {
        Self { id, quota, bytes: usage.bytes, versions: usage.versions }
    }

    /// Judges what a change would add. What does not grow is not judged, so a bucket that holds more
    /// than its quota can be put in order.
    fn judge(&self, growth: Growth) -> Result<()> {
        check("bytes", self.quota.bytes, self.bytes, growth.bytes)?;
        check("versions", self.quota.versions, self.versions, growth.versions)
    }

    fn count(&mut self, change: Growth) {
        self.bytes = self.bytes.wrapping_add_signed(change.bytes);
        self.versions = self.versions.wrapping_add_signed(change.versions);
    }
}

fn check(what: &'static str, limit: Option<u64>, used: u64, growth: i64) -> Result<()> {
    let (Some(limit), 1..) = (limit, growth) else { return Ok(()) };
    match used.checked_add_signed(growth) {
        Some(sum) if sum <= limit => Ok(()),
        _ => Err(EngineError::QuotaExceeded { what, limit, used }),
    }
}

/// The ledgers of one core, by bucket.
#[derive(Default)]
pub(crate) struct Ledgers {
    last: Cell<u64>,
    by_bucket: RefCell<BTreeMap<u32, Ledger>>,
}

impl Ledgers {
    pub(super) fn open(&self, bucket: BucketId, ledger: Ledger) {
        self.by_bucket.borrow_mut().insert(bucket.0, ledger);
    }

    /// Makes a ledger of a node that is open, and returns its number.
    pub(super) fn begin(&self, bucket: BucketId, quota: Quota, usage: BucketUsage) -> LedgerId {
        self.last.set(self.last.get() + 1);
        let id = LedgerId(self.last.get());
        self.open(bucket, Ledger::new(id, quota, usage));
        id
    }

    /// Runs `work` on a ledger, if it is still the one of its bucket.
    fn with<R>(&self, bucket: BucketId, id: LedgerId, work: impl FnOnce(&mut Ledger) -> R) -> Option<R> {
        let mut ledgers = self.by_bucket.borrow_mut();
        ledgers.get_mut(&bucket.0).filter(|ledger| ledger.id == id).map(work)
    }

    /// Admits what a change adds, and returns what is counted of it. Where the quota was removed
    /// meanwhile, everything is admitted and nothing counted.
    pub(super) fn reserve(
        &self,
        bucket: BucketId,
        id: LedgerId,
        growth: Growth,
        planted: Planted,
    ) -> Result<Growth> {
        let judged = self.with(bucket, id, |ledger| {
            ledger.judge(growth)?;
            let counted = if planted.is(Bug::JudgeQuotaByUsage) { Growth::default() } else { growth };
            ledger.count(counted);
            Ok(counted)
        });
        judged.unwrap_or(Ok(Growth::default()))
    }

    pub(super) fn settle(&self, bucket: BucketId, id: LedgerId, change: Growth) {
        self.with(bucket, id, |ledger| ledger.count(change));
    }

    pub(super) fn set_quota(&self, bucket: BucketId, quota: Quota) {
        if let Some(ledger) = self.by_bucket.borrow_mut().get_mut(&bucket.0) {
            ledger.quota = quota;
        }
    }

    pub(super) fn end(&self, bucket: BucketId) {
        self.by_bucket.borrow_mut().remove(&bucket.0);
    }

    /// Returns the bytes and versions that a bucket's ledger counts, for the simulator's checks.
    pub(crate) fn counted(&self, bucket: BucketId) -> Option<(u64, u64)> {
        self.by_bucket.borrow().get(&bucket.0).map(|ledger| (ledger.bytes, ledger.versions))
    }
}
