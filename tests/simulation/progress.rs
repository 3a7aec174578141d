//! This module demands progress once faults have ended: whatever is in progress ends, and whatever
//! comes then works, within a bound.
//!
//! Invariants:
//! - The bound is in virtual time, and longer than any wait of the engine.
//! - A shard that has stopped writing (law 3) is left to the restart that follows.
//! - A refusal for lack of space or of index memory is a valid response; it must end when
//!   everything is deleted.

use std::rc::Rc;

use ringbolt_engine::EngineError;
use ringbolt_engine::sim::SimNode;
use ringbolt_engine::types::{BucketId, Deleted, ListQuery, ObjectMeta, WriteCondition};

use super::context::{Context, Life};
use super::etag_of;
use super::model::{Stored, content};
use super::world::{BUFFERS_LOOK_US_MAX, World};

/// This is the longest time that what was in progress may take, in virtual microseconds;
/// `PROBE_US_MAX` limits one operation of the probe.
const END_US_MAX: u64 = 40_000_000;
const PROBE_US_MAX: u64 = 25_000_000;
/// The bodies are in the record, in slices, and in several pieces.
const SIZES: [u64; 3] = [1000, 100_000, 1_500_000];

impl World {
    /// Ends the faults in the middle of work, and demands progress.
    pub(super) fn demand_progress(&mut self, node: &Rc<SimNode>, life: &Life) {
        self.heal();
        let begun = self.sim().now_us();
        self.stop_clients(node);
        let took = self.sim().now_us() - begun;
        assert!(took < END_US_MAX, "what was under way took {took} us after the last fault");
        // Tasks that held buffers like a slow client release them too.
        let sim = self.sim().clone();
        self.sim().block_on(async move { sim.sleep_us(2 * BUFFERS_LOOK_US_MAX).await });
        let core = node.core(0);
        let metrics = self.sim().block_on(async move { core.metrics().await });
        let shards = metrics.unwrap_or_else(|error| panic!("metrics are always known: {error}")).shards;
        if shards.iter().any(|shard| shard.writes_stopped) {
            assert!(life.faults.writes_stop, "shards stopped writing, and no write failed: {shards:?}");
            return;
        }
        self.shared.report.borrow_mut().progress_demanded += 1;
        let context = self.context(node, life);
        self.sim().block_on(async move { context.probe().await });
        node.audit();
    }
}

impl Context {
    async fn probe(&self) {
        let bucket = self.shared.model.borrow().shared_bucket();
        let bucket = bucket.unwrap_or_else(|| panic!("the shared bucket is made first"));
        self.clear_probes(bucket).await;
        let mut stored_keys = Vec::new();
        for (number, size) in SIZES.into_iter().enumerate() {
            let key = format!("probe/{number}").into_bytes();
            let stored = Stored { tag: self.shared.new_tag(), size };
            if let Err(error) = self.probe_put(bucket, &key, stored).await {
                let room = matches!(error, EngineError::NoSpace { .. } | EngineError::IndexFull { .. });
                assert!(room, "a put fails after the last fault: {error}");
                if !self.make_room(bucket).await {
                    return;
                }
                stored_keys.clear();
                let again = self.probe_put(bucket, &key, stored).await;
                again.unwrap_or_else(|error| panic!("a put fails although nothing else is stored: {error}"));
            }
            self.probe_read(bucket, &key, stored).await;
            stored_keys.push(key);
        }
        self.probe_list(bucket, &stored_keys).await;
        self.probe_upload(bucket).await;
        for key in stored_keys {
            self.probe_delete(bucket, &key).await;
        }
    }

    /// Waits for an operation, which must end within the bound.
    async fn bounded<T>(
        &self,
        what: &'static str,
        operation: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        let begun = self.shared.sim.now_us();
        let result = self.watched(what, String::new, operation).await.1;
        let took = self.shared.sim.now_us() - begun;
        assert!(took < PROBE_US_MAX, "{what} took {took} us after the last fault");
        result
    }

    async fn probe_put(&self, bucket: BucketId, key: &[u8], stored: Stored) -> Result<(), EngineError> {
        let begun = self.shared.model.borrow_mut().begin(bucket, key, Some(stored));
        let core = self.core();
        let put = async {
            let mut writer = core.put(bucket, key, stored.size).await?;
            writer.write(&content(stored.tag, stored.size as usize)).await?;
            let attributes = super::client::attributes_of(stored.tag);
            let meta = ObjectMeta { etag: etag_of(stored.tag, 0), attributes };
            writer.commit(meta, WriteCondition::default()).await
        };
        let result = self.bounded("probe put", put).await;
        let mut model = self.shared.model.borrow_mut();
        match &result {
            Ok(_) => model.acknowledge(bucket, key, begun),
            Err(_) => model.refuse(bucket, key, begun),
        }
        result.map(|_| ())
    }

    async fn probe_read(&self, bucket: BucketId, key: &[u8], stored: Stored) {
        let core = self.core();
        let read = async {
            let Some(mut reader) = core.get(bucket, key).await? else { return Ok(None) };
            let mut bytes = Vec::new();
            while let Some(chunk) = reader.next().await? {
                bytes.extend_from_slice(chunk.as_ref());
            }
            Ok(Some(bytes))
        };
        let bytes = self.bounded("probe get", read).await;
        let bytes = bytes.unwrap_or_else(|error| panic!("a get fails after the last fault: {error}"));
        assert!(bytes == Some(content(stored.tag, stored.size as usize)), "wrong bytes: {stored:?}");
    }

    /// Deletes probes that are left. The delete of a probe may have been lost with a part of the
    /// log: then the probe is there again.
    async fn clear_probes(&self, bucket: BucketId) {
        let left = self.probes(bucket).await;
        assert!(left.is_empty() || self.life.faults.damage, "{left:?}");
        for key in left {
            self.probe_delete(bucket, &key).await;
        }
    }

    async fn probes(&self, bucket: BucketId) -> Vec<Vec<u8>> {
        let query = ListQuery { prefix: b"probe/".to_vec(), max_items: 9, ..ListQuery::default() };
        let core = self.core();
        let page = self.bounded("probe list", core.list(bucket, &query)).await;
        let page = page.unwrap_or_else(|error| panic!("a listing fails after the last fault: {error}"));
        page.items.iter().map(|item| item.name().to_vec()).collect()
    }

    async fn probe_list(&self, bucket: BucketId, keys: &[Vec<u8>]) {
        assert_eq!(self.probes(bucket).await, keys);
    }

    /// Uploads one part, and completes the upload if there is space for it.
    async fn probe_upload(&self, bucket: BucketId) {
        let (core, key) = (self.core(), b"probe/parts");
        let part = Stored { tag: self.shared.new_tag(), size: 70_000 };
        let whole = Stored { tag: self.shared.new_tag(), size: 70_000 };
        let begun = {
            let mut model = self.shared.model.borrow_mut();
            model.compose(whole.tag, vec![part]);
            model.begin(bucket, key, Some(whole))
        };
        let upload = async {
            let id = core.create_upload(bucket, key, Vec::new()).await?;
            self.shared.model.borrow_mut().note_part(id, 1, part);
            let mut writer = core.put_part(bucket, key, id, 1, part.size).await?;
            writer.write(&content(part.tag, part.size as usize)).await?;
            writer.commit_part(etag_of(part.tag, 0), Vec::new()).await?;
            let attributes = super::client::attributes_of(whole.tag);
            let meta = ObjectMeta { etag: etag_of(whole.tag, 1), attributes };
            let named = vec![(1, etag_of(part.tag, 0))];
            core.complete_upload(bucket, key, id, named, meta, WriteCondition::default()).await
        };
        match self.bounded("probe upload", upload).await {
            Ok(_) => {
                self.shared.model.borrow_mut().acknowledge(bucket, key, begun);
                self.probe_delete(bucket, key).await;
            }
            // An upload that was begun is left over: the model does not know it, so it ends with
            // this life.
            Err(EngineError::NoSpace { .. } | EngineError::IndexFull { .. }) => {
                self.shared.model.borrow_mut().refuse(bucket, key, begun);
                self.abort_unknown(bucket, key).await;
            }
            // A drive may be slow, and uploads may age soon.
            Err(EngineError::NoSuchUpload) if self.life.upload_age_ms.is_some() => {
                self.shared.model.borrow_mut().refuse(bucket, key, begun);
            }
            Err(error) => panic!("an upload fails after the last fault: {error}"),
        }
    }

    async fn abort_unknown(&self, bucket: BucketId, key: &[u8]) {
        let query =
            ringbolt_engine::types::UploadQuery { prefix: key.to_vec(), max_items: 9, ..Default::default() };
        let page = self.core().list_uploads(bucket, &query).await;
        let page = page.unwrap_or_else(|error| panic!("a listing of uploads fails: {error}"));
        for item in page.items {
            let ringbolt_engine::types::UploadItem::Upload(upload) = item else { continue };
            let aborted = self.core().abort_upload(bucket, key, upload.id).await;
            aborted.unwrap_or_else(|error| panic!("an upload is not aborted: {error}"));
        }
    }

    async fn probe_delete(&self, bucket: BucketId, key: &[u8]) {
        let begun = self.shared.model.borrow_mut().begin(bucket, key, None);
        let core = self.core();
        let deleted = self.bounded("probe delete", core.delete(bucket, key, WriteCondition::default())).await;
        let deleted = deleted.unwrap_or_else(|error| panic!("a delete fails after the last fault: {error}"));
        assert!(matches!(deleted, Deleted::Removed { .. }), "{key:?}: {deleted:?}");
        self.shared.model.borrow_mut().acknowledge(bucket, key, begun);
    }

    /// Deletes and aborts everything, and takes the checkpoints that release the space. Returns false
    /// if versions are left that are held, and that leave no space for the records that end holds.
    async fn make_room(&self, shared_bucket: BucketId) -> bool {
        let uploads = self.shared.model.borrow().uploads.known.clone();
        for (id, upload) in uploads {
            let begun = self.shared.model.borrow_mut().begin_ending(id, None);
            match self.core().abort_upload(upload.bucket, &upload.key, id).await {
                Ok(()) => {
                    let now = self.shared.model.borrow_mut().tick();
                    self.shared.model.borrow_mut().uploads.get(id).end(begun, now);
                }
                Err(EngineError::NoSuchUpload | EngineError::NoSuchBucket) => {}
                Err(error) => panic!("{upload:?} is not aborted: {error}"),
            }
        }
        let buckets: Vec<BucketId> = self.core().buckets().iter().map(|bucket| bucket.id).collect();
        assert!(buckets.contains(&shared_bucket), "the shared bucket is gone");
        let versioned: Vec<BucketId> = self.shared.model.borrow().versioned.keys().copied().collect();
        let mut locked = Vec::new();
        for bucket in &versioned {
            self.abort_uploads(*bucket).await;
            if !self.remove_versions(*bucket, true).await {
                locked.push(*bucket);
            }
        }
        for bucket in buckets.into_iter().filter(|bucket| !versioned.contains(bucket)) {
            // A client that gave up may have begun an upload whose id nobody heard. It takes memory
            // of the index too.
            self.abort_uploads(bucket).await;
            let query = ListQuery { max_items: 1000, ..ListQuery::default() };
            let page = self.core().list(bucket, &query).await;
            let page = page.unwrap_or_else(|error| panic!("a listing fails after the last fault: {error}"));
            for item in page.items {
                self.probe_delete(bucket, item.name()).await;
            }
        }
        for _ in 0..2 {
            let done = self.node.checkpoint().await;
            done.unwrap_or_else(|error| panic!("no checkpoint of an empty node: {error}"));
            // There may be room now to end the locks of what is left.
            for bucket in std::mem::take(&mut locked) {
                if !self.remove_versions(bucket, true).await {
                    locked.push(bucket);
                }
            }
        }
        locked.is_empty()
    }
}
