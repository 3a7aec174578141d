//! The runner of lifecycle rules: one task for each shard, which walks through the buckets that have
//! rules and does what is due.
//!
//! Invariants:
//! - Time is the earlier one of the machine's clock and the shard's lock clock, so that no step of the
//!   machine's clock removes anything too early.
//! - A bucket without rules costs nothing, and of one with rules only what is under their prefixes
//!   is looked at.
//! - It gives way to others: each step looks at a bounded number of versions, each change is durable
//!   before the next begins, and both are held to a rate.
//! - What was done is durable, and where a pass stood is not noted: after a restart it begins anew,
//!   and finds what is left.
//! - A change holds the bucket's permit, as a client's does, so that no bucket is removed under it.

use std::collections::VecDeque;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use super::examine::{Examined, Found, examine, read};
use crate::error::{EngineError, Result};
use crate::lifecycle::{Action, Clock, LifecycleCounters, LifecycleRules, upload_due};
use crate::node::core::Core;
use crate::node::state::CoreState;
use crate::shard::{DueVersion, STEP_ENTRIES, Seen, SeenUpload, Shard, UploadWalk, Walk};
use crate::types::rules::DAY_MS;
use crate::types::{Bucket, BucketId, UploadId, Versioning};

/// Longest sleep, milliseconds. It keeps a clock that is set from ending the lifecycle.
const SLEEP_MS_MAX: u64 = 60 * 60 * 1000;
/// Operations that a failed one counts for, so that a full drive is not asked at the full rate.
const FAILED_COST: u64 = 20;
const SECOND_US: u64 = 1_000_000;

/// The options of a node's lifecycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LifecycleOptions {
    /// Length of a day in milliseconds. Only tests make it shorter than [`DAY_MS`].
    pub day_ms: u64,
    /// Time between two looks whether a pass is due, milliseconds. A pass is due when a day has
    /// ended, when rules have changed, and when the last pass has changed something.
    pub every_ms: u64,
    /// Most operations of one shard in a second: changes, reads of tags, and steps of 64 versions. With
    /// 0, nothing is ever done.
    pub operations_per_second: u64,
}

impl Default for LifecycleOptions {
    fn default() -> Self {
        Self { day_ms: DAY_MS, every_ms: SLEEP_MS_MAX, operations_per_second: 500 }
    }
}

impl Core {
    /// Starts doing what the lifecycle rules of buckets ask for, in this core's shards, while the
    /// node is open. It is called on every core with the same options. Called again, what runs ends at
    /// its next step, and its pass is begun anew.
    pub fn run_lifecycle(&self, options: LifecycleOptions) {
        let core = self.state();
        let run = core.lifecycle_run.get() + 1;
        core.lifecycle_run.set(run);
        core.lifecycle_day_ms.set(options.day_ms.max(1));
        if options.operations_per_second == 0 {
            return;
        }
        for shard in core.own_shards() {
            let runner = Runner {
                core: Rc::downgrade(core),
                shard: shard.id,
                run,
                options: LifecycleOptions { day_ms: options.day_ms.max(1), ..options },
                last: None,
                pass: None,
                debt_us: 0,
            };
            core.environment.spawn(Box::pin(runner.run()));
        }
    }

    /// Returns the length of a day by which lifecycle rules are judged, milliseconds.
    pub fn lifecycle_day_ms(&self) -> u64 {
        self.state().lifecycle_day_ms.get()
    }
}

/// The buckets with rules, as they were when a pass began.
type Ruled = Vec<(BucketId, Versioning, Arc<LifecycleRules>)>;

struct Runner {
    core: Weak<CoreState>,
    shard: u16,
    /// Number of this runner among those of the core; it ends when there is a later one.
    run: u64,
    options: LifecycleOptions,
    /// The last pass that ended.
    last: Option<Last>,
    pass: Option<Pass>,
    /// Time that was earned and not yet slept, microseconds.
    debt_us: u64,
}

struct Last {
    /// The day on which the pass began, counted from 1970.
    day: u64,
    ruled: Ruled,
    /// The pass has changed something, or could not.
    is_unsettled: bool,
}

struct Pass {
    day: u64,
    ruled: Ruled,
    /// What is still to be walked through.
    ranges: VecDeque<Range>,
    before: LifecycleCounters,
    /// An error of this pass was logged.
    complained: bool,
}

/// The versions or the uploads of a bucket under a prefix.
enum Range {
    Versions(BucketId, Walk),
    Uploads(BucketId, UploadWalk),
}

impl Runner {
    async fn run(mut self) {
        // No reference to the core is held between two steps, so the runner does not keep a closed node
        // alive for long.
        while let Some(core) = self.core.upgrade().filter(|core| !self.is_over(core)) {
            let wait_ms = self.step(&core).await;
            let sleep = core.environment.sleep(wait_ms.min(SLEEP_MS_MAX));
            drop(core);
            sleep.await;
        }
    }

    /// Returns whether the node closes, or another runner has begun.
    fn is_over(&self, core: &CoreState) -> bool {
        core.closing.get() || core.lifecycle_run.get() != self.run
    }

    /// Does a little work, and returns how long to sleep, milliseconds.
    async fn step(&mut self, core: &Rc<CoreState>) -> u64 {
        let shard = core.shard(self.shard);
        if shard.log.has_failed() {
            return SLEEP_MS_MAX;
        }
        let Some(mut pass) = self.pass.take().or_else(|| self.begin(core, &shard)) else {
            let now_ms = shard.lifecycle_time();
            let day_ends_ms = self.options.day_ms - now_ms % self.options.day_ms;
            return self.options.every_ms.min(day_ends_ms).max(1);
        };
        let goes_on = match pass.ranges.front_mut() {
            Some(Range::Versions(bucket, walk)) => {
                let (bucket, seen) = (*bucket, walk.step(&shard));
                self.owe(seen.len().div_ceil(STEP_ENTRIES).max(1) as u64);
                self.versions(core, &shard, bucket, seen, &mut pass.complained).await
            }
            Some(Range::Uploads(bucket, walk)) => {
                let (bucket, uploads) = (*bucket, walk.step(&shard));
                self.owe(1);
                self.uploads(core, &shard, bucket, uploads, &mut pass.complained).await
            }
            None => return self.finish(&shard, pass),
        };
        if !goes_on {
            pass.ranges.pop_front();
        }
        self.pass = Some(pass);
        // Between two steps others always have their turn.
        (std::mem::take(&mut self.debt_us) / 1000).max(1)
    }

    /// Returns the next pass, if one is due.
    fn begin(&mut self, core: &Rc<CoreState>, shard: &Shard) -> Option<Pass> {
        let ruled: Ruled = core.buckets.borrow().all().iter().filter_map(ruled).collect();
        let day = shard.lifecycle_time() / self.options.day_ms;
        let settled = |last: &Last| last.day == day && !last.is_unsettled && last.ruled == ruled;
        if ruled.is_empty() || self.last.as_ref().is_some_and(settled) {
            return None;
        }
        let ranges = ruled.iter().flat_map(|(bucket, _, rules)| {
            let versions = rules.version_prefixes().into_iter();
            let versions = versions.map(|prefix| Range::Versions(*bucket, Walk::new(*bucket, &prefix)));
            let uploads = rules.upload_prefixes().into_iter();
            versions
                .chain(uploads.map(|prefix| Range::Uploads(*bucket, UploadWalk::new(*bucket, prefix, false))))
        });
        let ranges = ranges.collect();
        Some(Pass { day, ruled, ranges, before: shard.lifecycle.get(), complained: false })
    }

    /// Ends a pass, and returns how long to sleep, milliseconds. What was done may make more due, such as
    /// a marker that is alone now; what could not be done waits for the next look.
    fn finish(&mut self, shard: &Shard, pass: Pass) -> u64 {
        shard.count_lifecycle(|counters| counters.passes += 1);
        let (before, after) = (pass.before, shard.lifecycle.get());
        let examined = after.examined - before.examined;
        let markers_added = after.markers_added - before.markers_added;
        let removed =
            after.versions_removed + after.markers_removed - before.versions_removed - before.markers_removed;
        let uploads_aborted = after.uploads_aborted - before.uploads_aborted;
        let transitions = after.transitions - before.transitions;
        let (locked, errors) = (after.locked - before.locked, after.errors - before.errors);
        let overtaken = after.overtaken - before.overtaken;
        let done = markers_added + removed + uploads_aborted + transitions;
        let shard = shard.id;
        if done + errors > 0 {
            tracing::info!(
                shard,
                examined,
                markers_added,
                removed,
                uploads_aborted,
                transitions,
                locked,
                errors,
                "lifecycle: a pass ended"
            );
        } else {
            tracing::debug!(shard, examined, locked, "lifecycle: a pass ended");
        }
        let is_unsettled = done + errors + overtaken > 0;
        self.last = Some(Last { day: pass.day, ruled: pass.ruled, is_unsettled });
        if done > 0 { 1 } else { self.options.every_ms.max(1) }
    }

    /// Judges versions and does what is due. Returns false at the end of the walk, or when it must
    /// not go on.
    async fn versions(
        &mut self,
        core: &Rc<CoreState>,
        shard: &Rc<Shard>,
        bucket: BucketId,
        step: Vec<Seen>,
        complained: &mut bool,
    ) -> bool {
        let goes_on = !step.is_empty();
        // The oldest come first: the age of a version counts from the next newer one, which must still
        // be there when the key is locked.
        for seen in step.into_iter().rev() {
            // A client may change the rules, or delete the bucket, at any time.
            let Some((bucket, rules)) = rules_of(core, bucket) else { return false };
            shard.count_lifecycle(|counters| counters.examined += 1);
            let clock = Clock { now_ms: shard.lifecycle_time(), day_ms: self.options.day_ms };
            let done = match examine(core, &bucket, &rules, &seen, clock).await {
                Ok(Examined::Kept) => continue,
                Ok(Examined::KeptByTags) => Ok(()),
                Ok(Examined::Due(found)) => self.version(core, shard, &bucket, seen, found, clock).await,
                Err(error) => Err(error),
            };
            if !self.note(core, shard, done, complained).await {
                return false;
            }
        }
        goes_on
    }

    /// Does what is due for a version.
    async fn version(
        &mut self,
        core: &Rc<CoreState>,
        shard: &Rc<Shard>,
        bucket: &Bucket,
        seen: Seen,
        found: Found<'_>,
        clock: Clock,
    ) -> Result<()> {
        let action = found.judged.action;
        // The shard refuses it once the key is locked. This look spares the lock.
        if action == Action::RemoveVersion && seen.outline.lock.protects(clock.now_ms, false) {
            return Err(EngineError::Locked);
        }
        let Found { mut metadata_change, mut attributes, .. } = found;
        if matches!(action, Action::Transition(_)) && attributes.is_none() {
            let Some((all, change)) = read(core, bucket.id, &seen).await? else { return Ok(()) };
            (attributes, metadata_change) = (Some(all), change);
            self.owe(1);
        }
        let Seen { key, generation, newer, .. } = seen;
        let due =
            DueVersion { bucket: bucket.id, key, generation, newer, action, metadata_change, attributes };
        let _permit = core.permit(bucket.id).await?;
        if self.is_over(core) {
            return Err(EngineError::ShuttingDown);
        }
        let done = shard.carry_out(due, clock.day_ms).await?;
        shard.count_lifecycle(|counters| {
            let count = match action {
                _ if !done => &mut counters.overtaken,
                Action::AddMarker => &mut counters.markers_added,
                Action::RemoveVersion => &mut counters.versions_removed,
                Action::RemoveMarker => &mut counters.markers_removed,
                Action::Transition(_) => &mut counters.transitions,
                Action::AbortUpload => &mut counters.uploads_aborted,
            };
            *count += 1;
        });
        Ok(())
    }

    /// Aborts the uploads that are due. Returns false at the end of the walk, or when it must not go
    /// on.
    async fn uploads(
        &mut self,
        core: &Rc<CoreState>,
        shard: &Rc<Shard>,
        bucket: BucketId,
        step: Vec<SeenUpload>,
        complained: &mut bool,
    ) -> bool {
        let goes_on = !step.is_empty();
        for SeenUpload { key, id, initiated_ms, .. } in step {
            let Some((bucket, rules)) = rules_of(core, bucket) else { return false };
            shard.count_lifecycle(|counters| counters.examined += 1);
            let clock = Clock { now_ms: shard.lifecycle_time(), day_ms: self.options.day_ms };
            if upload_due(&rules, &key, initiated_ms, clock).is_none() {
                continue;
            }
            let done = abort(core, shard, bucket.id, key, id).await;
            if !self.note(core, shard, done, complained).await {
                return false;
            }
        }
        goes_on
    }

    /// Counts an operation, and sleeps for what was done. Returns false when the walk must not go
    /// on.
    async fn note(
        &mut self,
        core: &Rc<CoreState>,
        shard: &Shard,
        done: Result<()>,
        complained: &mut bool,
    ) -> bool {
        self.owe(1);
        match done {
            Ok(()) => {}
            Err(EngineError::Locked) => shard.count_lifecycle(|counters| counters.locked += 1),
            // Somebody else was there before.
            Err(EngineError::NoSuchUpload | EngineError::Superseded) => {
                shard.count_lifecycle(|counters| counters.overtaken += 1);
            }
            Err(EngineError::NoSuchBucket | EngineError::ShuttingDown) => return false,
            Err(error) => {
                shard.count_lifecycle(|counters| counters.errors += 1);
                self.owe(FAILED_COST);
                if !std::mem::replace(complained, true) {
                    let shard = shard.id;
                    let text = "lifecycle: what is due could not be done; the next pass tries again";
                    tracing::warn!(shard, %error, "{text}");
                }
            }
        }
        let wait_ms = self.debt_us / 1000;
        if wait_ms > 0 && !self.is_over(core) {
            self.debt_us %= 1000;
            core.environment.sleep(wait_ms).await;
        }
        !self.is_over(core) && !shard.log.has_failed()
    }

    /// Notes that operations were done, for which time must pass.
    fn owe(&mut self, operations: u64) {
        self.debt_us += operations * SECOND_US / self.options.operations_per_second;
    }
}

/// Returns a bucket that has rules.
fn ruled(bucket: &Rc<Bucket>) -> Option<(BucketId, Versioning, Arc<LifecycleRules>)> {
    let rules = bucket.lifecycle.clone()?;
    Some((bucket.id, bucket.versioning, rules))
}

/// Returns a bucket as it is now, with its rules.
fn rules_of(core: &CoreState, bucket: BucketId) -> Option<(Rc<Bucket>, Arc<LifecycleRules>)> {
    let bucket = core.buckets.borrow().by_id(bucket)?;
    let rules = bucket.lifecycle.clone()?;
    Some((bucket, rules))
}

async fn abort(
    core: &Rc<CoreState>,
    shard: &Rc<Shard>,
    bucket: BucketId,
    key: Vec<u8>,
    upload: UploadId,
) -> Result<()> {
    let _permit = core.permit(bucket).await?;
    shard.abort_upload(bucket, key, upload).await?;
    shard.count_lifecycle(|counters| counters.uploads_aborted += 1);
    Ok(())
}
