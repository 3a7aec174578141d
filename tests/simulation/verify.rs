//! This module compares after a restart everything that the node has with everything that the model
//! knows.
//!
//! Invariant: what is found is taken as certain afterwards, and nothing is in progress any more.

use std::collections::BTreeMap;

use ringbolt_engine::EngineError;
use ringbolt_engine::types::{BucketId, ListItem, ListQuery, UploadId, UploadInfo, UploadItem, UploadQuery};

use super::buckets::BucketModel;
use super::client::name_of;
use super::context::Context;
use super::model::{Key, Origin, Stored, Value};
use super::tag_of;
use super::uploads::{Upload, parts_of};

/// Holds the uploads of the node.
type FoundUploads = BTreeMap<UploadId, (BucketId, UploadInfo)>;

impl Context {
    /// Compares everything with the model.
    ///
    /// # Panics
    /// Panics when something acknowledged is missing or wrong, or when something is there that was
    /// never put. Reads may fail only where the life's faults explain it.
    pub async fn verify(&self) {
        let before = self.before_verify();
        self.verify_node_records(true).await;
        self.verify_buckets();
        let buckets: Vec<BucketId> = self.shared.model.borrow().buckets.keys().copied().collect();
        let mut uploads = BTreeMap::new();
        for id in buckets {
            self.verify_objects(id).await;
            self.collect_uploads(id, &mut uploads).await;
        }
        self.verify_uploads(uploads, &before);
        self.verify_versions().await;
        self.shared.report.borrow_mut().recoveries += 1;
    }

    /// Returns for each upload the history of its key, and whether its bucket may have been
    /// deleted.
    fn before_verify(&self) -> BTreeMap<UploadId, (Key, bool)> {
        let mut model = self.shared.model.borrow_mut();
        model.running.clear();
        let uploads = model.uploads.known.clone();
        let of = |(id, upload): (UploadId, Upload)| {
            let leaving = model.bucket(upload.bucket).may_be_gone();
            (id, (model.key(upload.bucket, &upload.key).clone(), leaving))
        };
        uploads.into_iter().map(of).collect()
    }

    /// Takes what there is as certain after damage that no promise covers: anything may be missing,
    /// or be as it was before. What is there must be intact, and must have been put as what it is.
    /// Returns whether the model can continue.
    ///
    /// # Panics
    /// Panics when something is wrong.
    pub async fn adopt(&self) -> bool {
        self.shared.locks.lose_floor();
        self.verify_node_records(false).await;
        let found = self.found_buckets();
        let all_there = {
            let mut model = self.shared.model.borrow_mut();
            model.running.clear();
            model.forget_replaced();
            let all_there =
                model.buckets.iter().all(|(id, known)| known.may_be_gone() || found.contains_key(id))
                    && model.versioned.keys().all(|id| found.contains_key(id));
            let known = std::mem::take(&mut model.buckets);
            let versioned = std::mem::take(&mut model.versioned);
            for (id, name) in &found {
                if let Some(bucket) = self.adopted_bucket(*id) {
                    let was = versioned.get(id).is_none_or(|known| known.name == *name);
                    assert!(was, "bucket {} is called {name} now", id.0);
                    model.versioned.insert(*id, bucket);
                    continue;
                }
                let was = known.get(id).is_none_or(|known| known.name == *name);
                assert!(was, "bucket {} is called {name} now", id.0);
                model.buckets.insert(*id, BucketModel::new(name));
            }
            model.creating.clear();
            model.uploads.known.clear();
            model.uploads.creating.clear();
            all_there
        };
        let mut uploads = BTreeMap::new();
        let versioned: Vec<BucketId> = self.shared.model.borrow().versioned.keys().copied().collect();
        for id in &versioned {
            self.adopt_versions(*id).await;
        }
        for id in found.keys().filter(|id| !versioned.contains(id)) {
            for (key, stored) in self.list_all(*id).await {
                let origin = Origin::Object(*id, key.clone(), stored.size);
                let put = self.shared.model.borrow().came_from(stored.tag, &origin);
                assert!(put, "{} is {stored:?}, which was never put there", name_of(*id, &key));
                match self.read_whole(*id, &key).await {
                    Ok(value) => assert_eq!(value, Some(stored), "{}: listed otherwise", name_of(*id, &key)),
                    Err(error) => {
                        self.judge("after a repair", None, &error);
                    }
                }
                self.shared.model.borrow_mut().settle(*id, &key, Some(stored));
            }
            self.collect_uploads(*id, &mut uploads).await;
        }
        self.adopt_uploads(uploads);
        // The next bucket may get the id of a lost one, and so whatever other shards still have of
        // that.
        all_there
    }

    fn adopt_uploads(&self, found: FoundUploads) {
        let mut model = self.shared.model.borrow_mut();
        for (id, (bucket, info)) in found {
            for (number, stored) in parts_of(&info) {
                let origin = Origin::Part(id, number, stored.size);
                assert!(
                    model.came_from(stored.tag, &origin),
                    "part {number} of {info:?} was never put there"
                );
            }
            let now = model.tick();
            let mut upload = Upload::new(bucket, info.key.clone(), now, 0);
            upload.settle(&info, now);
            model.uploads.known.insert(id, upload);
        }
    }

    fn found_buckets(&self) -> BTreeMap<BucketId, String> {
        self.core().buckets().iter().map(|bucket| (bucket.id, bucket.name.clone())).collect()
    }

    fn verify_buckets(&self) {
        let found = self.found_buckets();
        let mut model = self.shared.model.borrow_mut();
        let now = model.tick();
        let versioned: Vec<BucketId> = model.versioned.keys().copied().collect();
        for (id, name) in found.iter().filter(|(id, _)| !versioned.contains(id)) {
            let creating = model.creating.contains(name);
            let known = model.buckets.entry(*id).or_insert_with(|| {
                assert!(creating, "bucket {name} ({}) was never made", id.0);
                BucketModel::new(name)
            });
            assert!(known.name == *name && known.gone.is_none(), "bucket {name} is there: {known:?}");
        }
        model.buckets.retain(|id, known| {
            let there = found.contains_key(id);
            assert!(there || known.may_be_gone(), "bucket {} ({}) is gone", known.name, id.0);
            match there {
                true => known.settle(),
                false => known.check_gone(*id, now),
            }
            there
        });
        model.creating.clear();
    }

    async fn verify_objects(&self, id: BucketId) {
        let mut listed = self.list_all(id).await;
        let keys: Vec<Vec<u8>> = self.shared.model.borrow().buckets[&id].keys.keys().cloned().collect();
        for key in keys {
            let name = name_of(id, &key);
            let named = listed.remove(&key);
            let from = self.shared.model.borrow_mut().tick();
            match self.read_whole(id, &key).await {
                Ok(value) => {
                    assert_eq!(named, value, "{name}: the listing and the object differ");
                    self.see("after a restart", id, &key, from, value);
                    self.shared.model.borrow_mut().settle(id, &key, value);
                }
                Err(error) => {
                    self.judge(&format!("after a restart, {name}"), None, &error);
                    // The index is not damaged: it still says which version is there.
                    self.see("listed after a restart", id, &key, from, named);
                    self.shared.model.borrow_mut().settle(id, &key, named);
                }
            }
        }
        assert!(listed.is_empty(), "b{} lists what was never put: {listed:?}", id.0);
    }

    async fn list_all(&self, id: BucketId) -> BTreeMap<Vec<u8>, Stored> {
        let mut query = ListQuery { max_items: 9, ..ListQuery::default() };
        let mut found = BTreeMap::new();
        loop {
            let page = self.core().list(id, &query).await;
            let page = page.unwrap_or_else(|error| panic!("a listing of b{} fails: {error}", id.0));
            for item in &page.items {
                let ListItem::Object { key, size_bytes, etag, .. } = item else {
                    panic!("no delimiter was asked for, {item:?} came")
                };
                let stored = Stored { tag: tag_of(etag), size: *size_bytes };
                let twice = found.insert(key.clone(), stored);
                assert!(twice.is_none(), "b{} lists {key:?} twice", id.0);
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
        let mut read = 0;
        while let Some(chunk) = reader.next().await? {
            let bytes = chunk.as_ref();
            let right = self.shared.model.borrow().is_content(stored, read, bytes);
            assert!(right, "wrong bytes after a restart: {} {stored:?}, from {read}", name_of(bucket, key));
            read += bytes.len() as u64;
        }
        assert_eq!(read, stored.size, "bytes of {}", name_of(bucket, key));
        let mut report = self.shared.report.borrow_mut();
        report.objects_compared += 1;
        report.bytes_compared += stored.size;
        Ok(Some(stored))
    }

    async fn collect_uploads(&self, id: BucketId, found: &mut FoundUploads) {
        let mut query = UploadQuery { max_items: 2, ..UploadQuery::default() };
        loop {
            let page = self.core().list_uploads(id, &query).await;
            let page =
                page.unwrap_or_else(|error| panic!("a listing of uploads of b{} fails: {error}", id.0));
            for item in &page.items {
                let UploadItem::Upload(upload) = item else {
                    panic!("no delimiter was asked for, {item:?} came")
                };
                let info = self.core().upload(id, &upload.key, upload.id).await;
                let info = info.unwrap_or_else(|error| panic!("{upload:?} is listed: {error}"));
                let twice = found.insert(upload.id, (id, info));
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

    fn verify_uploads(&self, mut found: FoundUploads, before: &BTreeMap<UploadId, (Key, bool)>) {
        let mut known = std::mem::take(&mut self.shared.model.borrow_mut().uploads.known);
        known.retain(|id, upload| match found.remove(id) {
            Some((_, info)) => {
                self.verify_upload(upload, &info);
                true
            }
            None => {
                self.verify_ended(upload, &before[id]);
                false
            }
        });
        let mut model = self.shared.model.borrow_mut();
        let now = model.tick();
        for (id, (bucket, info)) in found {
            let begun = model.uploads.creating.contains(&(bucket, info.key.clone()));
            assert!(begun && info.parts.is_empty(), "{info:?} was never begun, or ended");
            known.insert(id, Upload::new(bucket, info.key, now, info.initiated_ms));
        }
        model.uploads.known = known;
        model.uploads.creating.clear();
    }

    fn verify_upload(&self, upload: &mut Upload, info: &UploadInfo) {
        let now = self.shared.model.borrow_mut().tick();
        assert!(upload.ended.is_none(), "{upload:?} is there still, or again");
        upload.see(info, now, now + 1).unwrap_or_else(|error| panic!("{upload:?}: {error}"));
        upload.settle(info, now);
    }

    /// Checks an upload that is not there after a restart: something must have ended it, and if
    /// only a Complete can have, the object must not be what it was before.
    fn verify_ended(&self, upload: &Upload, (before, bucket_may_be_gone): &(Key, bool)) {
        let otherwise = self.aged(upload) || *bucket_may_be_gone;
        assert!(otherwise || upload.may_be_over(0), "{upload:?} is gone");
        let completed = upload.endings.iter().all(|ending| ending.object.is_some());
        let Some(first) = upload.endings.iter().map(|ending| ending.begun).min() else { return };
        if otherwise || !completed {
            return;
        }
        let mut model = self.shared.model.borrow_mut();
        let now = model.tick();
        let value = model.key(upload.bucket, &upload.key).possible(now, now + 1).next().flatten();
        let by_half = match value {
            Some(_) => before.had(value, first),
            None => !before.may_have_gone_since(first),
        };
        assert!(!by_half, "{upload:?} was completed by half: the object is {value:?}");
    }
}
