//! After a restart: everything that the node has, against everything that the model knows.
//!
//! Invariant: what is found is taken as certain afterwards; nothing is under way any more.

use std::collections::BTreeMap;

use ringbolt_engine::EngineError;
use ringbolt_engine::types::{BucketId, ListItem, ListQuery, UploadId, UploadInfo, UploadItem, UploadQuery};

use super::context::Context;
use super::model::{Stored, Value};
use super::tag_of;
use super::uploads::{Ending, Upload};

impl Context {
    /// # Panics
    /// When something acknowledged is missing or wrong, or something is there that was never put. Reads may fail
    /// only where the life's faults explain it.
    pub async fn verify(&self) {
        self.shared.model.borrow_mut().running.clear();
        self.verify_buckets();
        let buckets: Vec<(String, Option<BucketId>)> = {
            let model = self.shared.model.borrow();
            model.buckets.iter().map(|(name, bucket)| (name.clone(), bucket.id)).collect()
        };
        let mut uploads = BTreeMap::new();
        for (name, id) in buckets {
            if let Some(id) = id {
                self.verify_objects(&name, id).await;
                self.collect_uploads(&name, id, &mut uploads).await;
            }
        }
        self.verify_uploads(uploads);
        self.shared.report.borrow_mut().recoveries += 1;
    }

    fn verify_buckets(&self) {
        let found: BTreeMap<String, BucketId> =
            self.core().buckets().iter().map(|bucket| (bucket.name.clone(), bucket.id)).collect();
        let mut model = self.shared.model.borrow_mut();
        for name in found.keys() {
            assert!(model.buckets.contains_key(name), "bucket {name} was never made");
        }
        for (name, bucket) in &mut model.buckets {
            let there = found.get(name).copied();
            let allowed = bucket.uncertain || there == bucket.id;
            assert!(allowed, "bucket {name} is {there:?}, not {:?}", bucket.id);
            if there != bucket.id {
                bucket.keys.clear();
            }
            bucket.id = there;
        }
    }

    async fn verify_objects(&self, bucket: &str, id: BucketId) {
        let mut listed = self.list_all(bucket, id).await;
        let keys: Vec<Vec<u8>> = self.shared.model.borrow().buckets[bucket].keys.keys().cloned().collect();
        for key in keys {
            let name = String::from_utf8_lossy(&key).into_owned();
            let named = listed.remove(&key);
            let from = self.shared.model.borrow_mut().tick();
            match self.read_whole(id, &key).await {
                Ok(value) => {
                    assert_eq!(named, value, "{bucket}/{name}: the listing and the object differ");
                    self.see("after a restart", bucket, &key, from, value);
                    self.shared.model.borrow_mut().settle(bucket, &key, value);
                }
                Err(error) => {
                    self.judge(&format!("after a restart, {bucket}/{name}"), &error);
                    // The index is not damaged: it still says which version is there.
                    self.see("listed after a restart", bucket, &key, from, named);
                    self.shared.model.borrow_mut().settle(bucket, &key, named);
                }
            }
        }
        assert!(listed.is_empty(), "{bucket} lists what was never put: {listed:?}");
    }

    async fn list_all(&self, bucket: &str, id: BucketId) -> BTreeMap<Vec<u8>, Stored> {
        let mut query = ListQuery { max_items: 9, ..ListQuery::default() };
        let mut found = BTreeMap::new();
        loop {
            let page = self.core().list(id, &query).await;
            let page = page.unwrap_or_else(|error| panic!("a listing of {bucket} fails: {error}"));
            for item in &page.items {
                let ListItem::Object { key, size_bytes, etag, .. } = item else {
                    panic!("no delimiter was asked for, {item:?} came")
                };
                let stored = Stored { tag: tag_of(etag), size: *size_bytes };
                let twice = found.insert(key.clone(), stored);
                assert!(twice.is_none(), "{bucket} lists {key:?} twice");
            }
            match page.items.last() {
                Some(last) if page.truncated => query.after = last.name().to_vec(),
                _ => return found,
            }
        }
    }

    async fn read_whole(&self, bucket: BucketId, key: &[u8]) -> Result<Value, EngineError> {
        let Some(mut reader) = self.core().get(bucket, key).await? else { return Ok(None) };
        let info = reader.info().clone();
        let stored = Stored { tag: tag_of(&info.etag), size: info.size_bytes };
        assert_eq!(info.attributes, super::client::attributes_of(stored.tag), "{key:?}");
        let mut bytes = Vec::with_capacity(stored.size as usize);
        while let Some(chunk) = reader.next().await? {
            bytes.extend_from_slice(chunk.as_ref());
        }
        let wrong = bytes != self.shared.model.borrow().bytes(stored);
        assert!(!wrong, "wrong bytes after a restart: {} {stored:?}", String::from_utf8_lossy(key));
        let mut report = self.shared.report.borrow_mut();
        report.objects_compared += 1;
        report.bytes_compared += stored.size;
        Ok(Some(stored))
    }

    async fn collect_uploads(
        &self,
        bucket: &str,
        id: BucketId,
        found: &mut BTreeMap<UploadId, (String, UploadInfo)>,
    ) {
        let mut query = UploadQuery { max_items: 2, ..UploadQuery::default() };
        loop {
            let page = self.core().list_uploads(id, &query).await;
            let page = page.unwrap_or_else(|error| panic!("a listing of uploads of {bucket} fails: {error}"));
            for item in &page.items {
                let UploadItem::Upload(upload) = item else {
                    panic!("no delimiter was asked for, {item:?} came")
                };
                let info = self.core().upload(id, &upload.key, upload.id).await;
                let info = info.unwrap_or_else(|error| panic!("{upload:?} is listed: {error}"));
                let twice = found.insert(upload.id, (bucket.to_owned(), info));
                assert!(twice.is_none(), "{upload:?} is listed twice");
            }
            match page.items.last() {
                Some(UploadItem::Upload(last)) if page.truncated => {
                    (query.after_key, query.after_id) = (last.key.clone(), Some(last.id));
                }
                _ => return,
            }
        }
    }

    fn verify_uploads(&self, mut found: BTreeMap<UploadId, (String, UploadInfo)>) {
        let mut model = self.shared.model.borrow_mut();
        let mut known = std::mem::take(&mut model.uploads.known);
        let now = model.tick();
        known.retain(|id, upload| {
            let there = found.remove(id);
            let object: Option<Value> = match upload.ending {
                Some(Ending::Complete { .. }) => {
                    model.key(&upload.bucket, &upload.key).possible(now, now + 1).next()
                }
                _ => None,
            };
            if let (Some(Ending::Complete { object: whole }), Some(value)) = (upload.ending, object) {
                let completed = value == Some(whole);
                let half = completed == there.is_some() && !model.buckets[&upload.bucket].uncertain;
                assert!(!half, "{upload:?} was completed by half: object {value:?}, upload {there:?}");
            }
            let Some((_, info)) = there else {
                // Deleting a bucket ends its uploads first.
                let explained = upload.ending.is_some() || model.buckets[&upload.bucket].uncertain;
                assert!(explained, "{upload:?} is gone");
                return false;
            };
            upload.settle(&info).unwrap_or_else(|error| panic!("{upload:?}: {error}"));
            upload.ending = None;
            true
        });
        for (id, (bucket, info)) in found {
            let begun = model.uploads.creating.contains(&(bucket.clone(), info.key.clone()));
            assert!(begun && info.parts.is_empty(), "{info:?} was never begun, or ended");
            let client =
                String::from_utf8_lossy(&info.key).split('/').nth(1).and_then(|part| part.parse().ok());
            let (client, parts) = (client.unwrap_or(0), BTreeMap::new());
            known.insert(id, Upload { client, bucket, key: info.key, parts, ending: None });
        }
        model.uploads.known = known;
        model.uploads.creating.clear();
        model.buckets.values_mut().for_each(|bucket| bucket.uncertain = false);
    }
}
