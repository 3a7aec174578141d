//! What the rules of a bucket would do now: a walk that changes nothing.

use std::rc::Rc;
use std::sync::Arc;

use super::examine::{Examined, examine};
use crate::error::{EngineError, Result};
use crate::lifecycle::{Action, Clock, LifecyclePreview, LifecycleRules, upload_due};
use crate::node::core::Core;
use crate::node::state::CoreState;
use crate::shard::{PreviewRequest, SeenUpload, Shard, ShardReply, ShardRequest, UploadWalk, Walk};
use crate::types::BucketId;

impl Core {
    /// Returns what rules would do with a bucket now, over all shards, with at most `max_examples`
    /// examples. They need not be the rules that the bucket has. Nothing is changed.
    ///
    /// # Errors
    /// Returns [`EngineError::NoSuchBucket`], or an error when a record is damaged or can not be
    /// read.
    pub async fn preview_lifecycle(
        &self,
        bucket: BucketId,
        rules: &LifecycleRules,
        max_examples: usize,
    ) -> Result<LifecyclePreview> {
        self.state().check_bucket(bucket)?;
        let (rules, day_ms) = (Arc::new(rules.clone()), self.lifecycle_day_ms());
        let request = || PreviewRequest { bucket, rules: rules.clone(), day_ms, max_examples };
        let replies = self.state().ask_all(|| ShardRequest::PreviewLifecycle(request())).await?;
        let mut sum = LifecyclePreview::default();
        for reply in replies {
            match reply {
                ShardReply::LifecyclePreview(preview) => sum.add(preview, max_examples),
                other => other.mistaken(),
            }
        }
        Ok(sum)
    }
}

/// Returns what rules would do with a bucket in one shard of this core.
///
/// # Errors
/// Returns the same errors as [`Core::preview_lifecycle`].
pub(in crate::node) async fn of_shard(
    core: &Rc<CoreState>,
    shard: &Rc<Shard>,
    request: PreviewRequest,
) -> Result<LifecyclePreview> {
    let PreviewRequest { bucket, rules, day_ms, max_examples } = request;
    let bucket = core.buckets.borrow().by_id(bucket).ok_or(EngineError::NoSuchBucket)?;
    let mut preview = LifecyclePreview::default();
    let clock = Clock { now_ms: shard.lifecycle_time(), day_ms };
    for prefix in rules.version_prefixes() {
        let mut walk = Walk::new(bucket.id, &prefix);
        loop {
            let step = walk.step(shard);
            if step.is_empty() {
                break;
            }
            for seen in step {
                preview.examined += 1;
                let Examined::Due(found) = examine(core, &bucket, &rules, &seen, clock).await? else {
                    continue;
                };
                let (lock, size_bytes) = (seen.outline.lock, seen.outline.listed.size);
                if found.judged.action == Action::RemoveVersion && lock.protects(clock.now_ms, false) {
                    preview.locked += 1;
                    continue;
                }
                preview.note(found.judged, (&seen.key, seen.generation, None), size_bytes, max_examples);
            }
            core.environment.yield_now().await;
        }
    }
    for prefix in rules.upload_prefixes() {
        let mut walk = UploadWalk::new(bucket.id, prefix, true);
        loop {
            let step = walk.step(shard);
            if step.is_empty() {
                break;
            }
            for SeenUpload { key, id, initiated_ms, bytes } in step {
                preview.examined += 1;
                if let Some(judged) = upload_due(&rules, &key, initiated_ms, clock) {
                    preview.note(judged, (&key, 0, Some(id)), bytes, max_examples);
                }
            }
            core.environment.yield_now().await;
        }
    }
    preview.examples.sort_by(|left, right| left.key.cmp(&right.key));
    Ok(preview)
}
