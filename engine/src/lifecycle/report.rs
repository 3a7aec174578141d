//! What lifecycle rules have done, and what they would do.

use super::judge::{Action, Judged};
use crate::types::UploadId;

/// Counts of what the lifecycle of a shard's buckets has done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LifecycleCounters {
    /// Versions that were judged.
    pub examined: u64,
    /// Objects that expired into a delete marker.
    pub markers_added: u64,
    /// Objects that were removed.
    pub versions_removed: u64,
    /// Delete markers that were removed.
    pub markers_removed: u64,
    pub uploads_aborted: u64,
    /// Versions that got another storage class.
    pub transitions: u64,
    /// Times that a version stayed because it is locked. A version that stays locked is counted in
    /// every pass.
    pub locked: u64,
    /// Versions that had changed, or were no longer due, when their key was locked.
    pub overtaken: u64,
    /// Versions and uploads that could not be read or changed, and stayed for the next pass.
    pub errors: u64,
    /// Passes that ended.
    pub passes: u64,
}

/// What rules would do now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LifecyclePreview {
    /// Versions and uploads that were judged.
    pub examined: u64,
    /// Versions that are due and stay because they are locked. They are in no other figure.
    pub locked: u64,
    /// What is due, by rule and action, in the order in which it was found first.
    pub due: Vec<DueCount>,
    /// The first versions and uploads that are due, by key, versions of a key with the newest first.
    pub examples: Vec<DueExample>,
}

/// How much is due by one rule and action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueCount {
    pub rule: String,
    pub action: Action,
    /// Versions or uploads.
    pub versions: u64,
    /// Sum of their sizes, bytes. A delete marker that is added frees none of them.
    pub bytes: u64,
}

/// A version or an upload that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DueExample {
    pub key: Vec<u8>,
    /// Generation of the version; 0 for an upload.
    pub generation: u64,
    pub upload: Option<UploadId>,
    pub size_bytes: u64,
    pub action: Action,
    pub rule: String,
}

impl LifecyclePreview {
    /// Notes that a version or upload is due.
    pub(crate) fn note(
        &mut self,
        judged: Judged<'_>,
        (key, generation, upload): (&[u8], u64, Option<UploadId>),
        size_bytes: u64,
        max_examples: usize,
    ) {
        let (rule, action) = (judged.rule.id.clone(), judged.action);
        if self.examples.len() < max_examples {
            let (key, rule) = (key.to_vec(), rule.clone());
            self.examples.push(DueExample { key, generation, upload, size_bytes, action, rule });
        }
        self.count(DueCount { rule, action, versions: 1, bytes: size_bytes });
    }

    /// Adds what another shard has found, whose examples are in order.
    pub(crate) fn add(&mut self, other: Self, max_examples: usize) {
        self.examined += other.examined;
        self.locked += other.locked;
        other.due.into_iter().for_each(|count| self.count(count));
        self.examples.extend(other.examples);
        // The versions of a key are all of one shard, and in order already.
        self.examples.sort_by(|left, right| left.key.cmp(&right.key));
        self.examples.truncate(max_examples);
    }

    fn count(&mut self, count: DueCount) {
        let same = |known: &&mut DueCount| known.action == count.action && known.rule == count.rule;
        match self.due.iter_mut().find(same) {
            Some(known) => {
                known.versions += count.versions;
                known.bytes = known.bytes.saturating_add(count.bytes);
            }
            None => self.due.push(count),
        }
    }
}
