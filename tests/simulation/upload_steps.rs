//! This module runs multipart uploads by many clients at once: any of them puts any part, completes
//! or aborts any upload.

use ringbolt_engine::EngineError;
use ringbolt_engine::env::Environment;
use ringbolt_engine::types::{ObjectMeta, UploadId, UploadItem, UploadQuery, WriteCondition};

use super::client::{Client, attributes_of};
use super::context::Outcome;
use super::etag_of;
use super::model::{Stored, content};
use super::uploads::Upload;

/// With this many uploads in progress, clients mostly work on those.
const UPLOADS_ENOUGH: usize = 3;
/// These are the keys of uploads: there are few, and clients put and delete objects there too.
pub const UPLOAD_KEYS: [&str; 3] = ["m/1", "m/2", "m/3"];

impl Client {
    pub(super) async fn upload_step(&self) {
        let random = self.random();
        let late = random.one_in(16);
        let usable: Vec<UploadId> = {
            let model = self.model();
            let usable = |(_, upload): &(&UploadId, &Upload)| late || upload.ended.is_none();
            model.uploads.known.iter().filter(usable).map(|(id, _)| *id).collect()
        };
        if usable.is_empty() || (usable.len() < UPLOADS_ENOUGH && random.one_in(6)) {
            return self.create_upload().await;
        }
        let id = usable[random.below(usable.len() as u64) as usize];
        match random.below(20) {
            0..=11 => self.put_part(id).await,
            12..=15 => self.complete(id).await,
            16 => self.abort(id).await,
            17 => self.list_uploads(id).await,
            _ => self.look_at(id).await,
        }
    }

    async fn create_upload(&self) {
        let random = self.random();
        let bucket = self.some_bucket(3);
        let key = UPLOAD_KEYS[random.below(UPLOAD_KEYS.len() as u64) as usize].as_bytes().to_vec();
        self.model().uploads.creating.push((bucket, key.clone()));
        let begun_ms = self.context.shared.sim.wall_clock_ms();
        let core = self.context.core();
        let operation = core.create_upload(bucket, &key, Vec::new());
        let what = || format!("b{}/{}", bucket.0, String::from_utf8_lossy(&key));
        let (from, result) = self.context.watched("create upload", what, operation).await;
        let place = Some((bucket, from));
        let outcome = result.as_ref().err().map(|error| self.context.judge("create upload", place, error));
        let mut model = self.model();
        if outcome != Some(Outcome::Unknown) {
            let creating = &mut model.uploads.creating;
            let own = creating.iter().position(|(other, name)| (*other, name) == (bucket, &key));
            own.map(|at| creating.swap_remove(at));
        }
        if let Ok(id) = result {
            let known = model.tick();
            let twice = model.uploads.known.insert(id, Upload::new(bucket, key, known, begun_ms));
            assert!(twice.is_none(), "{id:?} was given twice");
        }
    }

    /// Returns what an error means for a call about an upload, begun in the model at `own` and on
    /// the node at `from`.
    fn judge_upload(&self, what: &str, id: UploadId, own: u64, from: u64, error: &EngineError) -> Outcome {
        if *error == EngineError::NoSuchUpload {
            let aged = self.context.may_have_aged(id);
            let explained = aged || self.model().may_miss_upload(id, own, from);
            assert!(explained, "{what}: {:?} is not there", self.model().uploads.get(id));
            return Outcome::Refused;
        }
        let bucket = self.model().uploads.get(id).bucket;
        self.context.judge(what, Some((bucket, from)), error)
    }

    /// Checks an upload after a call succeeded.
    ///
    /// # Panics
    /// Panics when the upload had ended before the call began.
    fn check_not_over(&self, what: &str, id: UploadId, from: u64) {
        let mut model = self.model();
        let upload = model.uploads.get(id).clone();
        let over = upload.was_over(from) || model.bucket(upload.bucket).was_gone(from);
        assert!(!over, "{what}: {upload:?} was over before");
    }

    async fn put_part(&self, id: UploadId) {
        let random = self.random();
        let number = 1 + random.below(4) as u16;
        let stored = Stored { tag: self.context.shared.new_tag(), size: self.size() };
        let (begun, bucket, key) = {
            let mut model = self.model();
            let begun = model.begin_part(id, number, stored);
            let upload = model.uploads.get(id);
            (begun, upload.bucket, upload.key.clone())
        };
        let core = self.context.core();
        let operation = async {
            let mut writer = core.put_part(bucket, &key, id, number, stored.size).await?;
            for piece in content(stored.tag, stored.size as usize).chunks(100_003) {
                writer.write(piece).await?;
            }
            writer.commit_part(etag_of(stored.tag, 0), Vec::new()).await
        };
        let what = || format!("b{}/{} {number} {stored:?}", bucket.0, String::from_utf8_lossy(&key));
        let (from, result) = self.context.watched("put part", what, operation).await;
        let outcome = match &result {
            Ok(_) => {
                self.check_not_over("put part", id, from);
                None
            }
            Err(error) => Some(self.judge_upload("put part", id, begun, from, error)),
        };
        let mut model = self.model();
        let now = model.tick();
        let part = model.uploads.get(id).parts.entry(number).or_default();
        match outcome {
            None => part.acknowledge(begun, now),
            Some(Outcome::Refused) => part.refuse(begun),
            Some(Outcome::Unknown) => {}
        }
    }

    /// Chooses some of the parts, each with a possible content.
    fn choose_parts(&self, id: UploadId) -> Vec<(u16, Stored)> {
        let random = self.random();
        let mut model = self.model();
        let now = model.tick();
        let mut chosen = Vec::new();
        for (number, part) in &model.uploads.get(id).parts {
            let possible: Vec<Stored> = part.possible(now, now).flatten().collect();
            if !possible.is_empty() && !random.one_in(5) {
                chosen.push((*number, possible[random.below(possible.len() as u64) as usize]));
            }
        }
        chosen
    }

    async fn complete(&self, id: UploadId) {
        let chosen = self.choose_parts(id);
        if chosen.is_empty() {
            return;
        }
        let size = chosen.iter().map(|(_, part)| part.size).sum();
        let object = Stored { tag: self.context.shared.new_tag(), size };
        let (begun, bucket, key) = {
            let mut model = self.model();
            model.compose(object.tag, chosen.iter().map(|(_, part)| *part).collect());
            let begun = model.begin_ending(id, Some(object));
            let upload = model.uploads.get(id);
            (begun, upload.bucket, upload.key.clone())
        };
        let named = chosen.iter().map(|(number, part)| (*number, etag_of(part.tag, 0))).collect();
        let etag = etag_of(object.tag, chosen.len() as u16);
        let meta = ObjectMeta { etag, attributes: attributes_of(object.tag) };
        let core = self.context.core();
        let operation = core.complete_upload(bucket, &key, id, named, meta, WriteCondition::default());
        let what = || format!("b{}/{} {object:?} of {chosen:?}", bucket.0, String::from_utf8_lossy(&key));
        let (from, result) = self.context.watched("complete", what, operation).await;
        let outcome = match &result {
            Ok(_) => {
                self.check_not_over("complete", id, from);
                self.check_taken(id, from, &chosen);
                None
            }
            Err(EngineError::InvalidPart { number }) => {
                self.check_invalid_part(id, from, *number, &chosen);
                Some(Outcome::Refused)
            }
            Err(error @ EngineError::IndexFull { .. }) => panic!("a Complete takes no room: {error}"),
            Err(error) => Some(self.judge_upload("complete", id, begun, from, error)),
        };
        if outcome.is_none() {
            self.model().acknowledge(bucket, &key, begun);
        }
        if outcome == Some(Outcome::Refused) {
            self.model().refuse(bucket, &key, begun);
        }
        self.ended(id, begun, outcome);
    }

    /// Checks the parts that a completed object consists of.
    ///
    /// # Panics
    /// Panics when the object has a part that the upload did not have.
    fn check_taken(&self, id: UploadId, from: u64, chosen: &[(u16, Stored)]) {
        let mut model = self.model();
        let now = model.tick();
        for (number, stored) in chosen {
            let part = model.uploads.get(id).parts.entry(*number).or_default();
            let wrong = part.see(from, now, Some(*stored));
            assert!(wrong.is_none(), "complete took part {number} as {stored:?}, possible was {wrong:?}");
        }
    }

    /// Checks a part that was refused as invalid.
    ///
    /// # Panics
    /// Panics when the part had the named content all the time.
    fn check_invalid_part(&self, id: UploadId, from: u64, number: u16, chosen: &[(u16, Stored)]) {
        let mut model = self.model();
        let now = model.tick();
        let named = chosen.iter().find(|(other, _)| *other == number).map(|(_, stored)| *stored);
        let part = model.uploads.get(id).parts.entry(number).or_default();
        let explained = part.possible(from, now).any(|value| value != named);
        assert!(explained, "part {number} is said not to be {named:?}, and is nothing else");
    }

    /// Records the result of a call that ends an upload.
    fn ended(&self, id: UploadId, begun: u64, outcome: Option<Outcome>) {
        let mut model = self.model();
        let now = model.tick();
        let upload = model.uploads.get(id);
        match outcome {
            None => upload.end(begun, now),
            Some(Outcome::Refused) => upload.endings.retain(|ending| ending.begun != begun),
            // It may have happened: only a restart shows it.
            Some(Outcome::Unknown) => {}
        }
    }

    async fn abort(&self, id: UploadId) {
        let (begun, bucket, key) = {
            let mut model = self.model();
            let begun = model.begin_ending(id, None);
            let upload = model.uploads.get(id);
            (begun, upload.bucket, upload.key.clone())
        };
        let core = self.context.core();
        let operation = core.abort_upload(bucket, &key, id);
        let what = || format!("b{}/{} {id:?}", bucket.0, String::from_utf8_lossy(&key));
        let (from, result) = self.context.watched("abort", what, operation).await;
        let outcome = match &result {
            Ok(()) => {
                self.check_not_over("abort", id, from);
                None
            }
            Err(error @ (EngineError::NoSpace { .. } | EngineError::IndexFull { .. })) => {
                panic!("an abort needs no space: {error}")
            }
            Err(error) => Some(self.judge_upload("abort", id, begun, from, error)),
        };
        self.ended(id, begun, outcome);
    }

    async fn look_at(&self, id: UploadId) {
        let (bucket, key) = {
            let mut model = self.model();
            let upload = model.uploads.get(id);
            (upload.bucket, upload.key.clone())
        };
        let core = self.context.core();
        let operation = core.upload(bucket, &key, id);
        let (from, info) = self.context.watched("look at upload", || format!("{id:?}"), operation).await;
        match info {
            Ok(info) => {
                self.check_not_over("look at upload", id, from);
                let mut model = self.model();
                let now = model.tick();
                let seen = model.uploads.get(id).see(&info, from, now);
                seen.unwrap_or_else(|error| panic!("upload {:?}: {error}", model.uploads.get(id)));
            }
            Err(error) => {
                self.judge_upload("look at upload", id, 0, from, &error);
            }
        }
    }

    /// Lists a first page of the uploads in the bucket of `id`.
    async fn list_uploads(&self, id: UploadId) {
        let bucket = self.model().uploads.get(id).bucket;
        let query = UploadQuery { max_items: 1 + self.random().below(6) as usize, ..UploadQuery::default() };
        let core = self.context.core();
        let operation = core.list_uploads(bucket, &query);
        let (from, page) = self.context.watched("list uploads", || format!("b{}", bucket.0), operation).await;
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                self.context.judge("list uploads", Some((bucket, from)), &error);
                return;
            }
        };
        let listed = page.items.iter().map(|item| match item {
            UploadItem::Upload(upload) => (upload.key.clone(), upload.id),
            UploadItem::CommonPrefix(prefix) => panic!("no delimiter was asked for, {prefix:?} came"),
        });
        let listed: Vec<_> = listed.collect();
        assert!(listed.is_sorted(), "uploads are not in order: {listed:?}");
        let mut model = self.model();
        for (key, id) in &listed {
            let upload = model.uploads.known.get(id);
            let begun = model.uploads.creating.contains(&(bucket, key.clone()));
            let well = upload.map_or(begun, |upload| upload.key == *key && !upload.was_over(from));
            assert!(well, "{id:?} of {key:?} is listed: {upload:?}");
        }
        let bucket_stays = !model.bucket(bucket).may_be_missed(from);
        for (id, upload) in &model.uploads.known {
            let place = (upload.key.clone(), *id);
            let covered = !page.truncated || listed.last().is_some_and(|last| place <= *last);
            let there = upload.bucket == bucket && upload.known < from && !upload.may_be_over(0);
            let missing = there && bucket_stays && covered && !listed.contains(&place);
            assert!(!missing || self.context.aged(upload), "{upload:?} is not listed: {listed:?}");
        }
    }
}
