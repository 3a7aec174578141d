//! This module compares the buckets that keep versions with the model after a restart, takes them as
//! they are after a repair with loss, and empties them.

use std::collections::BTreeSet;

use ringbolt_engine::types::{
    BucketId, BucketLock, BucketUsage, Deleted, UploadItem, UploadQuery, Version, Versioning,
};

use super::client::name_of;
use super::context::Context;
use super::locks::{BucketDefault, DefaultKeep, Keep};
use super::version_steps::Terms;
use super::versions::{Answer, BucketLocked, Held, SeenVersion, Slice, VersionedBucket};

/// What the names of buckets that keep versions begin with.
pub(super) const VERSIONED: &str = "versions-";
/// A lock that lasts this much longer is probed, milliseconds.
const PROBE_MS: u64 = 1000;

impl Context {
    /// Compares everything in buckets that keep versions, and takes it as certain from then on.
    ///
    /// # Panics
    /// Panics when something acknowledged is missing or wrong.
    pub(super) async fn verify_versions(&self) {
        let buckets: Vec<BucketId> = self.shared.model.borrow().versioned.keys().copied().collect();
        for id in buckets {
            let versioning = self.found_versioning(id);
            self.abort_uploads(id).await;
            let found = self.all_versions(id).await;
            let mut keys: BTreeSet<Vec<u8>> = found.iter().map(|(key, _)| key.clone()).collect();
            keys.extend(self.shared.model.borrow_mut().versioned(id).keys.keys().cloned());
            for key in keys {
                let items = found.iter().find(|(other, _)| *other == key);
                self.verify_stack(id, &key, items.map_or(&[], |(_, items)| items)).await;
            }
            self.settle_phase(id, versioning);
            self.verify_usage(id).await;
        }
    }

    /// Takes the state of versioning that was found as certain. What was given up may have happened
    /// under every state that there was.
    fn settle_phase(&self, id: BucketId, versioning: Versioning) {
        let mut model = self.shared.model.borrow_mut();
        let now = model.tick();
        model.versioned(id).settle_phase(versioning, now);
    }

    fn found_versioning(&self, id: BucketId) -> Versioning {
        let found = self.core().buckets().into_iter().find(|bucket| bucket.id == id);
        let mut model = self.shared.model.borrow_mut();
        let now = model.tick();
        let known = model.versioned(id);
        let found = found.unwrap_or_else(|| panic!("bucket {} is gone", known.name));
        assert_eq!(found.name, known.name, "the name of bucket {}", id.0);
        let possible = known.possible(now, now);
        let (name, is) = (known.name.clone(), found.versioning);
        assert!(possible.contains(&is), "{name} is {is:?}, possible is {possible:?}");
        let locked = match found.lock {
            Some(_) => known.lock != BucketLocked::No,
            None => known.lock != BucketLocked::Yes,
        };
        assert!(locked, "{name} has the lock {:?}, possible is {:?}", found.lock, known.lock);
        known.lock = if found.lock.is_some() { BucketLocked::Yes } else { BucketLocked::No };
        known.default = default_of(found.lock);
        is
    }

    async fn verify_stack(&self, id: BucketId, key: &[u8], items: &[(SeenVersion, bool)]) {
        let name = name_of(id, key);
        {
            let mut model = self.shared.model.borrow_mut();
            let now = model.tick();
            let slice = Slice { after: None, cut_at: None, items };
            let seen = model.versioned(id).see_slice(key, &slice, now);
            seen.unwrap_or_else(|error| panic!("after a restart, {name} has {items:?}: {error}"));
        }
        for (seen, _) in items {
            let version = Version::Generation(seen.generation);
            let Some(opened) = self.open_version(id, key, version).await else { continue };
            let size = opened.1.stored.size;
            if self.read_body("after a restart", opened, None).await {
                let mut report = self.shared.report.borrow_mut();
                report.objects_compared += 1;
                report.bytes_compared += size;
            }
        }
        for version in [Version::Newest, Version::Null] {
            drop(self.open_version(id, key, version).await);
        }
        {
            let mut model = self.shared.model.borrow_mut();
            let now = model.tick();
            model.versioned(id).settle(key, now);
        }
        self.probe_locks(id, key).await;
    }

    /// Tries to remove what is surely locked.
    async fn probe_locks(&self, id: BucketId, key: &[u8]) {
        for held in self.held(id, key) {
            let (Some(generation), Some(keep)) = (held.generation, held.keep(&self.shared.locks)) else {
                continue;
            };
            let bypass = keep.hold || keep.compliance;
            if keep.protects(self.shared.locks.latest_ms() + PROBE_MS, bypass) {
                let version = Version::Generation(generation);
                self.delete_version(id, key, (version, bypass)).await;
                self.shared.report.borrow_mut().locks_probed += 1;
            }
        }
    }

    /// Returns the versions that a key may have.
    fn held(&self, id: BucketId, key: &[u8]) -> Vec<Held> {
        let mut model = self.shared.model.borrow_mut();
        model.versioned(id).keys.get(key).map_or(Vec::new(), |known| known.likely().to_vec())
    }

    /// Lets the wall clock go on until no retention is left, and confirms it. Returns whether that is
    /// certain.
    pub(super) async fn end_retentions(&self) -> bool {
        let rest_ms = self.shared.locks.rest_ms();
        if rest_ms > 0 {
            self.shared.step_clock(rest_ms as i64 + 1000);
        }
        self.confirm_clock().await
    }

    /// Ends a hold. Returns false if there is no space for that.
    async fn release(&self, id: BucketId, key: &[u8], generation: u64) -> bool {
        let held = self.held(id, key).into_iter().find(|held| held.generation == Some(generation));
        let Some((held, body)) = held.and_then(|held| Some((held, held.body?))) else { return true };
        if held.keep(&self.shared.locks).is_some_and(|keep| !keep.hold) {
            return true;
        }
        let terms = Terms { if_changed: None, touches: false, keep: (Keep::default(), true) };
        let done = self.relock((id, key), (generation, body.stored.tag), terms).await;
        matches!(done, Some(Answer::MetadataChanged { .. }))
    }

    /// Confirms the wall clock, and returns whether that is certain.
    ///
    /// # Panics
    /// Panics when nothing explains an error.
    pub(super) async fn confirm_clock(&self) -> bool {
        let (locks, core) = (&self.shared.locks, self.core());
        let wall_ms = locks.wall_ms();
        locks.believe();
        let (_, result) = self.watched("confirm clock", String::new, core.confirm_clock()).await;
        locks.believe();
        match result {
            Ok(()) => locks.confirmed(wall_ms),
            Err(error) => {
                locks.lose_floor();
                self.judge("confirm clock", None, &error);
                return false;
            }
        }
        true
    }

    /// Compares what a bucket holds, if the model is certain of it.
    pub(super) async fn verify_usage(&self, id: BucketId) {
        let expected = {
            let mut model = self.shared.model.borrow_mut();
            let now = model.tick();
            model.versioned(id).usage(now)
        };
        let usage = self.core().bucket_usage(id).await;
        let usage = usage.unwrap_or_else(|error| panic!("the usage of b{} is known: {error}", id.0));
        assert!(expected.is_none_or(|expected| expected == usage), "b{}: {usage:?}, not {expected:?}", id.0);
    }

    /// Aborts the uploads of a bucket, which the model does not know.
    pub(super) async fn abort_uploads(&self, id: BucketId) {
        let query = UploadQuery { max_items: 1000, ..UploadQuery::default() };
        let page = self.core().list_uploads(id, &query).await;
        let page = page.unwrap_or_else(|error| panic!("a listing of uploads of b{}: {error}", id.0));
        for item in page.items {
            let UploadItem::Upload(upload) = item else { panic!("no delimiter was asked for") };
            if let Err(error) = self.core().abort_upload(id, &upload.key, upload.id).await {
                self.judge_version("abort", &error);
            }
        }
    }

    /// Takes what there is as certain, after damage that no promise covers.
    ///
    /// # Panics
    /// Panics when a version was never put as what it is.
    pub(super) async fn adopt_versions(&self, id: BucketId) {
        self.abort_uploads(id).await;
        for (key, items) in self.all_versions(id).await {
            let name = name_of(id, &key);
            let mut seen: Vec<SeenVersion> = items.into_iter().map(|(seen, _)| seen).collect();
            let nulls = seen.iter().filter(|version| version.is_null).count();
            assert!(nulls < 2, "{name} has {nulls} null versions: {seen:?}");
            {
                let mut model = self.shared.model.borrow_mut();
                let now = model.tick();
                model.versioned(id).adopt(&key, &seen, now);
            }
            for version in &mut seen {
                let opened = self.open_version(id, &key, Version::Generation(version.generation)).await;
                let Some(opened) = opened else { continue };
                let locks = &self.shared.locks;
                version.metadata = super::version_steps::seen_object(opened.0.info(), locks).metadata;
                self.read_body("after a repair", opened, None).await;
            }
            for version in [Version::Newest, Version::Null] {
                drop(self.open_version(id, &key, version).await);
            }
            let wrong = seen.iter().find(|version| !self.was_put(id, &key, version));
            assert!(wrong.is_none(), "{name} is {wrong:?}, which was never put there");
            let mut model = self.shared.model.borrow_mut();
            let now = model.tick();
            model.versioned(id).adopt(&key, &seen, now);
        }
        self.verify_usage(id).await;
    }

    /// Makes the model of a bucket that is there after a repair.
    pub(super) fn adopted_bucket(&self, id: BucketId) -> Option<VersionedBucket> {
        let found = self.core().buckets().into_iter().find(|bucket| bucket.id == id)?;
        let locks = self.shared.locks.clone();
        if !found.name.starts_with(VERSIONED) {
            return None;
        }
        let mut bucket = VersionedBucket::new(&found.name, found.versioning, locks);
        bucket.lock = if found.lock.is_some() { BucketLocked::Yes } else { BucketLocked::No };
        bucket.default = default_of(found.lock);
        Some(bucket)
    }

    /// Removes the objects of a bucket, or all versions. Nothing else may be in progress. Returns false
    /// if locks of some could not be ended for lack of space.
    ///
    /// # Panics
    /// Panics when a version is not removed.
    pub(super) async fn remove_versions(&self, id: BucketId, markers_too: bool) -> bool {
        let locks = self.shared.model.borrow_mut().versioned(id).lock != BucketLocked::No;
        if locks && !self.end_retentions().await {
            return false;
        }
        let mut all = true;
        for (key, items) in self.all_versions(id).await {
            {
                // Nothing that was given up can still happen.
                let mut model = self.shared.model.borrow_mut();
                let now = model.tick();
                let slice = Slice { after: None, cut_at: None, items: &items };
                let seen = model.versioned(id).see_slice(&key, &slice, now);
                seen.unwrap_or_else(|error| panic!("{} has {items:?}: {error}", name_of(id, &key)));
                model.versioned(id).settle(&key, now);
            }
            for (seen, _) in items.iter().filter(|(seen, _)| markers_too || seen.body.is_some()) {
                if locks && !self.release(id, &key, seen.generation).await {
                    all = false;
                    continue;
                }
                let version = Version::Generation(seen.generation);
                let answer = self.delete_version(id, &key, (version, true)).await;
                let removed = matches!(answer, Some(Answer::Deleted(Deleted::Removed { .. })));
                assert!(removed, "{} {version:?} is not removed: {answer:?}", name_of(id, &key));
            }
        }
        if markers_too && all {
            let usage = self.core().bucket_usage(id).await;
            assert_eq!(usage, Ok(BucketUsage::default()), "an empty bucket");
        }
        all
    }

    /// Empties a bucket and deletes it: as long as it has only markers, it is not empty.
    ///
    /// # Panics
    /// Panics when it is deleted too early, or not at all.
    pub(super) async fn retire(&self, id: BucketId) {
        self.abort_uploads(id).await;
        if !self.remove_versions(id, false).await {
            return;
        }
        let markers = !self.all_versions(id).await.is_empty();
        let core = self.core();
        let (_, deleted) = self.watched("retire", || format!("b{}", id.0), core.delete_bucket(id)).await;
        if markers {
            assert_eq!(deleted, Err(ringbolt_engine::EngineError::BucketNotEmpty), "it has markers");
            self.remove_versions(id, true).await;
            let deleted = self.core().delete_bucket(id).await;
            deleted.unwrap_or_else(|error| panic!("an empty bucket is not deleted: {error}"));
        } else {
            deleted.unwrap_or_else(|error| panic!("an empty bucket is not deleted: {error}"));
        }
        self.shared.model.borrow_mut().versioned.remove(&id);
    }
}

/// Returns the retention that a bucket certainly gives.
fn default_of(lock: Option<BucketLock>) -> BucketDefault {
    BucketDefault { keep: lock.and_then(|lock| lock.default).map(DefaultKeep::of), is_certain: true }
}
