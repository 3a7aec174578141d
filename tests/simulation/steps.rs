//! What only one client changes: its own bucket, and its uploads.

use ringbolt_engine::EngineError;
use ringbolt_engine::types::{BucketCreated, ObjectMeta, UploadId, WriteCondition};

use super::client::{Client, SHARED_BUCKET, attributes_of};
use super::context::Outcome;
use super::etag_of;
use super::model::Stored;
use super::uploads::{Ending, Part, Upload};

/// Uploads that a client has under way, at most.
const UPLOADS_MAX: usize = 3;

impl Client {
    /// The bucket that this client makes and deletes.
    pub fn own_bucket(&self) -> String {
        format!("own-{}", self.number)
    }

    pub(super) async fn own_bucket_step(&self) {
        let name = self.own_bucket();
        let (exists, uncertain) = {
            let mut model = self.context.shared.model.borrow_mut();
            let bucket = model.buckets.entry(name.clone()).or_default();
            (bucket.id.is_some(), bucket.uncertain)
        };
        match (uncertain, exists) {
            // Only a restart tells.
            (true, _) => {}
            (false, false) => self.create_own_bucket(&name).await,
            (false, true) => self.delete_own_bucket(&name).await,
        }
    }

    fn set_uncertain(&self, bucket: &str, uncertain: bool) {
        let mut model = self.context.shared.model.borrow_mut();
        model.buckets.entry(bucket.to_owned()).or_default().uncertain = uncertain;
    }

    async fn create_own_bucket(&self, name: &str) {
        self.set_uncertain(name, true);
        let core = self.context.core();
        let operation = core.create_bucket(name, "owner", Vec::new());
        match self.context.watched("create bucket", || name.to_owned(), operation).await.1 {
            Ok(BucketCreated::New(bucket)) => {
                let mut model = self.context.shared.model.borrow_mut();
                let used = model.buckets.values().any(|other| other.id == Some(bucket.id));
                assert!(!used, "{name} was given the id of another bucket");
                let known = model.buckets.entry(name.to_owned()).or_default();
                (known.id, known.uncertain) = (Some(bucket.id), false);
                known.keys.clear();
            }
            Ok(BucketCreated::Exists(_)) => panic!("{name} exists already, before it was made"),
            Err(error) => {
                let refused = self.judge("create bucket", &error) == Outcome::Refused;
                self.set_uncertain(name, !refused);
            }
        }
    }

    async fn delete_own_bucket(&self, name: &str) {
        self.set_uncertain(name, true);
        let core = self.context.core();
        let operation = core.delete_bucket(self.context.bucket_id(name));
        let (from, result) = self.context.watched("delete bucket", || name.to_owned(), operation).await;
        let mut model = self.context.shared.model.borrow_mut();
        let now = model.tick();
        let bucket = model.buckets.entry(name.to_owned()).or_default();
        match result {
            Ok(()) => {
                let lost = bucket.keys.iter().find(|(_, key)| key.is_certain(from, now));
                assert!(lost.is_none(), "{name} was deleted with {lost:?} in it");
                (bucket.id, bucket.uncertain) = (None, false);
                bucket.keys.clear();
                model.uploads.known.retain(|_, upload| upload.bucket != name);
            }
            Err(EngineError::BucketNotEmpty) => {
                let holds =
                    bucket.keys.values().any(|key| key.possible(from, now).any(|value| value.is_some()));
                assert!(holds, "{name} is empty and said not to be");
                bucket.uncertain = false;
            }
            Err(error) => {
                drop(model);
                let outcome = self.judge("delete bucket", &error);
                assert_eq!(outcome, Outcome::Unknown, "deleting a bucket needs no space");
            }
        }
    }

    pub(super) async fn upload_step(&self) {
        let random = self.context.random();
        let own: Vec<UploadId> = {
            let model = self.context.shared.model.borrow();
            let usable = |upload: &(&UploadId, &Upload)| {
                let certain = model.buckets.get(&upload.1.bucket).is_some_and(|bucket| !bucket.uncertain);
                upload.1.client == self.number && upload.1.ending.is_none() && certain
            };
            model.uploads.known.iter().filter(usable).map(|(id, _)| *id).collect()
        };
        if own.is_empty() || (own.len() < UPLOADS_MAX && random.one_in(6)) {
            return self.create_upload().await;
        }
        let id = own[random.below(own.len() as u64) as usize];
        match random.below(20) {
            0..=11 => self.put_part(id).await,
            12..=15 => self.complete(id).await,
            16..=17 => self.abort(id).await,
            _ => self.look_at(id).await,
        }
    }

    async fn create_upload(&self) {
        let random = self.context.random();
        let own = self.own_bucket();
        let key = format!("m/{}/{}", self.number, random.below(3)).into_bytes();
        let bucket = {
            let mut model = self.context.shared.model.borrow_mut();
            let there =
                model.buckets.get(&own).is_some_and(|bucket| bucket.id.is_some() && !bucket.uncertain);
            let bucket = if there && random.one_in(3) { own } else { SHARED_BUCKET.to_owned() };
            model.uploads.creating.push((bucket.clone(), key.clone()));
            bucket
        };
        let core = self.context.core();
        let operation = core.create_upload(self.context.bucket_id(&bucket), &key, Vec::new());
        let what = || format!("{bucket}/{}", String::from_utf8_lossy(&key));
        let result = self.context.watched("create upload", what, operation).await.1;
        let outcome = result.as_ref().err().map(|error| self.judge("create upload", error));
        let mut model = self.context.shared.model.borrow_mut();
        if outcome != Some(Outcome::Unknown) {
            let creating = &mut model.uploads.creating;
            let own = creating.iter().position(|(other, name)| (other, name) == (&bucket, &key));
            own.map(|at| creating.swap_remove(at));
        }
        if let Ok(id) = result {
            let (client, parts) = (self.number, std::collections::BTreeMap::new());
            model.uploads.known.insert(id, Upload { client, bucket, key, parts, ending: None });
        }
    }

    /// Changes what is known of an upload.
    fn with_upload<T>(&self, id: UploadId, change: impl FnOnce(&mut Upload) -> T) -> T {
        let mut model = self.context.shared.model.borrow_mut();
        let upload = model.uploads.known.get_mut(&id);
        change(upload.unwrap_or_else(|| panic!("{id:?} is not in the model")))
    }

    async fn put_part(&self, id: UploadId) {
        let random = self.context.random();
        let number = 1 + random.below(4) as u16;
        let stored = Stored { tag: self.context.shared.new_tag(), size: self.size() };
        let (bucket, key) = self.with_upload(id, |upload| {
            upload.parts.entry(number).or_default().in_flight.push(stored);
            (upload.bucket.clone(), upload.key.clone())
        });
        let operation = async {
            let bytes = self.context.shared.model.borrow().bytes(stored);
            let (core, id_of_bucket) = (self.context.core(), self.context.bucket_id(&bucket));
            let mut writer = core.put_part(id_of_bucket, &key, id, number, stored.size).await?;
            writer.write(&bytes).await?;
            writer.commit_part(etag_of(stored.tag, 0), Vec::new()).await
        };
        let what = || format!("{bucket}/{} {number} {stored:?}", String::from_utf8_lossy(&key));
        let result = self.context.watched("put part", what, operation).await.1;
        let outcome = result.as_ref().err().map(|error| self.judge("put part", error));
        self.with_upload(id, |upload| {
            let part = upload.parts.entry(number).or_default();
            match outcome {
                None => *part = Part { certain: Some(stored), in_flight: Vec::new() },
                Some(Outcome::Refused) => part.in_flight.retain(|other| *other != stored),
                Some(Outcome::Unknown) => {}
            }
            if part.certain.is_none() && part.in_flight.is_empty() {
                upload.parts.remove(&number);
            }
        });
    }

    async fn complete(&self, id: UploadId) {
        let random = self.context.random();
        let (bucket, key, parts) = self.with_upload(id, |upload| {
            let certain = upload.parts.iter().filter_map(|(number, part)| Some((*number, part.certain?)));
            (upload.bucket.clone(), upload.key.clone(), certain.collect::<Vec<_>>())
        });
        let chosen: Vec<(u16, Stored)> = parts.into_iter().filter(|_| !random.one_in(4)).collect();
        if chosen.is_empty() {
            return;
        }
        let size = chosen.iter().map(|(_, part)| part.size).sum();
        let object = Stored { tag: self.context.shared.new_tag(), size };
        self.with_upload(id, |upload| upload.ending = Some(Ending::Complete { object }));
        let begun = {
            let mut model = self.context.shared.model.borrow_mut();
            model.compose(object.tag, chosen.iter().map(|(_, part)| *part).collect());
            model.begin(&bucket, &key, Some(object))
        };
        let named = chosen.iter().map(|(number, part)| (*number, etag_of(part.tag, 0))).collect();
        let etag = etag_of(object.tag, chosen.len() as u16);
        let meta = ObjectMeta { etag, attributes: attributes_of(object.tag) };
        let (core, id_of_bucket) = (self.context.core(), self.context.bucket_id(&bucket));
        let operation = core.complete_upload(id_of_bucket, &key, id, named, meta, WriteCondition::default());
        let what = || format!("{bucket}/{} {object:?} of {chosen:?}", String::from_utf8_lossy(&key));
        let result = self.context.watched("complete", what, operation).await.1;
        self.context.tell("complete", (&bucket, &key), begun, &result);
        self.ended(id, &result.map(|_| ()));
    }

    /// A call that ends an upload was answered.
    fn ended(&self, id: UploadId, result: &Result<(), EngineError>) {
        let mut model = self.context.shared.model.borrow_mut();
        match result {
            Ok(()) => drop(model.uploads.known.remove(&id)),
            // It may have happened: only a restart tells.
            Err(EngineError::WritesStopped { .. }) => {}
            Err(_) => {
                let upload = model.uploads.known.get_mut(&id);
                upload.into_iter().for_each(|upload| upload.ending = None);
            }
        }
    }

    async fn abort(&self, id: UploadId) {
        let (bucket, key) = self.with_upload(id, |upload| {
            upload.ending = Some(Ending::Abort);
            (upload.bucket.clone(), upload.key.clone())
        });
        let core = self.context.core();
        let operation = core.abort_upload(self.context.bucket_id(&bucket), &key, id);
        let what = || format!("{bucket}/{}", String::from_utf8_lossy(&key));
        let result = self.context.watched("abort", what, operation).await.1;
        if let Err(error) = &result {
            assert_eq!(self.judge("abort", error), Outcome::Unknown, "an abort needs no space");
        }
        self.ended(id, &result);
    }

    async fn look_at(&self, id: UploadId) {
        let mut known = self.with_upload(id, |upload| upload.clone());
        let core = self.context.core();
        let operation = core.upload(self.context.bucket_id(&known.bucket), &known.key, id);
        let what = || format!("{id:?}");
        let info = self.context.watched("look at upload", what, operation).await.1;
        let info = info.unwrap_or_else(|error| panic!("upload {known:?} is not there: {error}"));
        known.settle(&info).unwrap_or_else(|error| panic!("upload {known:?}: {error}"));
    }
}
