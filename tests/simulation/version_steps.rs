//! This module runs the operations of clients on buckets that keep versions. Each client changes keys
//! of its own there; everybody lists all of them.

use std::rc::Rc;

use ringbolt_engine::EngineError;
use ringbolt_engine::node::{Core, ObjectReader, ObjectWriter, Opened};
use ringbolt_engine::sim::Random;
use ringbolt_engine::types::{
    Attributes, BucketId, Deletion, EtagMatch, ListItem, ListQuery, Lock, MetadataChange, ObjectInfo,
    ObjectMeta, Version, VersionId, VersionItem, VersionPlace, Versioning, VersionsQuery, WriteCondition,
};

use super::client::{Client, Sizes, attributes_of, name_of, polled_at_most};
use super::context::{Context, Outcome, Shared};
use super::locks::{BucketDefault, DAY_MS, Keep, Locks};
use super::model::{Origin, Stored, content};
use super::versions::{
    Answer, Body, BucketLocked, Change, Condition, Held, Metadata, Refusal, SeenVersion, VersionsSeen,
};
use super::{etag_of, tag_of};

/// With more versions of a key, clients mostly remove some.
const DEPTH_MAX: usize = 6;
/// The same in worlds of large bodies.
const DEPTH_MAX_LARGE: usize = 3;
/// With more versions of a key, clients put no more, because locks may keep all of them.
const KEPT_MAX: usize = 14;
/// This is the number of keys that a client has in a bucket.
const KEYS: u64 = 5;

/// Returns the attributes of a version whose metadata were changed last by `change`, or never if
/// that is 0. Some are long, so that records of metadata fill the log.
pub(super) fn attributes_after(tag: u64, change: u64) -> Attributes {
    let mut attributes = attributes_of(tag);
    if change > 0 {
        attributes.push(("change".to_owned(), change.to_string()));
        attributes.push(("fill".to_owned(), "x".repeat((change * 97 % 4000) as usize)));
    }
    if change % 3 == 1 {
        attributes.push((":tag:change".to_owned(), change.to_string()));
    }
    attributes
}

/// Returns the attributes with a lock.
fn locked(mut attributes: Attributes, keep: Keep) -> Attributes {
    keep.lock().write(&mut attributes);
    attributes
}

/// Returns an object as a read shows it.
///
/// # Panics
/// Panics when its attributes, its lock among them, are not what some change made of them.
pub(super) fn seen_object(info: &ObjectInfo, locks: &Locks) -> SeenVersion {
    let tag = tag_of(&info.etag);
    let change = info.attributes.iter().find(|(name, _)| name == "change");
    let change = change.map_or(0, |(_, value)| value.parse().unwrap_or(u64::MAX));
    let mut attributes = info.attributes.clone();
    attributes.retain(|(name, _)| name != ":retention" && name != ":hold");
    assert_eq!(attributes, attributes_after(tag, change), "attributes of {info:?}");
    locks.learn(if change == 0 { tag } else { change }, Keep::of(Lock::of(&info.attributes)));
    SeenVersion {
        body: Some(Body { stored: Stored { tag, size: info.size_bytes }, parts: info.etag.parts }),
        is_null: info.is_null,
        generation: info.generation,
        modified_ms: info.modified_ms,
        metadata: Metadata { changes: Some(info.metadata_change), tag: Some(change) },
    }
}

fn answer_of(result: Result<Answer, EngineError>) -> Result<Answer, EngineError> {
    match result {
        Err(EngineError::PreconditionFailed) => Ok(Answer::Refused(Refusal::PreconditionFailed)),
        Err(EngineError::NoSuchKey) => Ok(Answer::Refused(Refusal::NoSuchKey)),
        Err(EngineError::Superseded) => Ok(Answer::Refused(Refusal::Superseded)),
        Err(EngineError::Locked) => Ok(Answer::Refused(Refusal::Locked)),
        Err(EngineError::RetentionOver) => Ok(Answer::Refused(Refusal::RetentionOver)),
        other => other,
    }
}

fn put_answer(info: &ObjectInfo) -> Answer {
    Answer::Put { generation: info.generation, is_null: info.is_null, modified_ms: info.modified_ms }
}

fn write_condition(condition: Condition) -> WriteCondition {
    match condition {
        Condition::Nothing => WriteCondition::default(),
        Condition::Absent => {
            WriteCondition { if_none_match: Some(EtagMatch::Any), ..WriteCondition::default() }
        }
        Condition::Is(body) => {
            let tags = vec![body.etag().to_string()];
            WriteCondition { if_match: Some(EtagMatch::OneOf(tags)), ..WriteCondition::default() }
        }
    }
}

/// Says what a change of metadata asks for: the lock of the version, and whether a retention of
/// governance is bypassed, among it.
pub(super) struct Terms {
    pub if_changed: Option<u32>,
    pub touches: bool,
    pub keep: (Keep, bool),
}

/// Leaves a change that is dropped before its response as one that may happen.
struct GivesUp {
    shared: Rc<Shared>,
    bucket: BucketId,
    key: Vec<u8>,
}

impl Drop for GivesUp {
    fn drop(&mut self) {
        // If there is a panic elsewhere, the model may be borrowed.
        if let Ok(mut model) = self.shared.model.try_borrow_mut() {
            let now = model.tick();
            if let Some(known) = model.versioned.get_mut(&self.bucket) {
                known.give_up(&self.key, now);
            }
        }
    }
}

impl Context {
    /// Runs a change of a key and records its outcome.
    ///
    /// # Panics
    /// Panics when nothing explains the response.
    pub(super) async fn change(
        &self,
        (bucket, key): (BucketId, &[u8]),
        change: Change,
        operation: impl Future<Output = Result<Answer, EngineError>>,
    ) -> Option<Answer> {
        {
            let mut model = self.shared.model.borrow_mut();
            let now = model.tick();
            match change {
                Change::Put { body, .. } => model.note_object(bucket, key, body.stored),
                Change::Metadata { tag, .. } => model.note_metadata(bucket, key, tag),
                Change::Delete | Change::Remove { .. } => {}
            }
            model.versioned(bucket).begin(key, change, now);
        }
        let left = GivesUp { shared: self.shared.clone(), bucket, key: key.to_vec() };
        let kind = match change {
            Change::Put { .. } => "version put",
            Change::Delete => "version delete",
            Change::Remove { .. } => "version remove",
            Change::Metadata { .. } => "version metadata",
        };
        let what = || format!("{} {change:?}", name_of(bucket, key));
        let (_, result) = self.watched(kind, what, operation).await;
        let answer = match answer_of(result) {
            Ok(answer) => {
                let mut model = self.shared.model.borrow_mut();
                let now = model.tick();
                let answered = model.versioned(bucket).answer(key, answer, now);
                self.shared.note(|| format!("      {answer:?}"));
                answered.unwrap_or_else(|error| {
                    let locks = self.shared.locks.describe();
                    panic!("{kind} {} {change:?}: {answer:?}, {error}; {locks}", name_of(bucket, key))
                });
                if answer == Answer::Refused(Refusal::Locked) {
                    self.shared.report.borrow_mut().refused_locked += 1;
                }
                Some(answer)
            }
            Err(error) => {
                let room = matches!(error, EngineError::NoSpace { .. } | EngineError::IndexFull { .. });
                let removes = matches!(change, Change::Remove { .. });
                assert!(!room || !removes, "{kind}: a version is removed without space: {error}");
                if self.judge_version(kind, &error) == Outcome::Refused {
                    let mut model = self.shared.model.borrow_mut();
                    let now = model.tick();
                    model.versioned(bucket).refuse(key, now);
                }
                None
            }
        };
        drop(left);
        answer
    }

    pub(super) fn judge_version(&self, kind: &str, error: &EngineError) -> Outcome {
        if *error == EngineError::NoSuchUpload && self.life.upload_age_ms.is_some() {
            return Outcome::Refused;
        }
        self.judge(kind, None, error)
    }

    /// Changes the metadata of a version with its lock; `body` is the tag of its body.
    pub(super) async fn relock(
        &self,
        (bucket, key): (BucketId, &[u8]),
        (generation, body): (u64, u64),
        Terms { if_changed, touches, keep: (keep, bypass) }: Terms,
    ) -> Option<Answer> {
        let tag = self.shared.new_tag();
        self.shared.locks.give(tag, keep, BucketDefault::default());
        let attributes = locked(attributes_after(body, tag), keep);
        let request = MetadataChange {
            generation,
            if_changed,
            attributes,
            touches,
            bypass_governance: bypass,
            unless_versioned: false,
        };
        let core = self.core();
        let operation = async {
            let modified_ms = core.update_metadata(bucket, key, request, WriteCondition::default()).await?;
            Ok(Answer::MetadataChanged { modified_ms })
        };
        let change = Change::Metadata { generation, if_changed, tag, touches, bypass };
        self.change((bucket, key), change, operation).await
    }

    /// Removes a version, or deletes without naming one.
    pub(super) async fn delete_version(
        &self,
        bucket: BucketId,
        key: &[u8],
        (version, bypass): (Version, bool),
    ) -> Option<Answer> {
        let change = match version {
            Version::Newest => Change::Delete,
            version => Change::Remove { version, bypass },
        };
        let core = self.core();
        let deletion = Deletion { version, bypass_governance: bypass, ..Deletion::default() };
        let operation = async { core.remove(bucket, key, deletion).await.map(Answer::Deleted) };
        self.change((bucket, key), change, operation).await
    }

    /// Opens a version, and records what is there. Returns its reader if it is an object.
    ///
    /// # Panics
    /// Panics when it cannot be there.
    pub(super) async fn open_version(
        &self,
        bucket: BucketId,
        key: &[u8],
        version: Version,
    ) -> Option<(ObjectReader, Body)> {
        let core = self.core();
        let what = || format!("{} {version:?}", name_of(bucket, key));
        let (_, opened) = self.watched("version get", what, core.open_version(bucket, key, version)).await;
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => {
                self.judge("version get", None, &error);
                return None;
            }
        };
        let seen = match &opened {
            Opened::Object(reader) => Some(seen_object(reader.info(), &self.shared.locks)),
            Opened::Marker(marker) => Some(SeenVersion {
                body: None,
                is_null: marker.is_null,
                generation: marker.generation,
                modified_ms: marker.modified_ms,
                metadata: Metadata::default(),
            }),
            Opened::Absent => None,
        };
        let mut model = self.shared.model.borrow_mut();
        let now = model.tick();
        let possible = model.versioned(bucket).see(key, version, seen.as_ref(), now);
        possible
            .unwrap_or_else(|error| panic!("{version:?} of {} is {seen:?}: {error}", name_of(bucket, key)));
        let body = seen.and_then(|seen| seen.body)?;
        Some((opened.object()?, body))
    }

    /// Reads a body to its end, and returns whether nothing failed.
    ///
    /// # Panics
    /// Panics when a byte is wrong.
    pub(super) async fn read_body(
        &self,
        what: &str,
        (mut reader, body): (ObjectReader, Body),
        random: Option<&Random>,
    ) -> bool {
        let stored = body.stored;
        let (mut from, mut length) = (0, stored.size);
        if let Some(random) = random.filter(|random| stored.size > 0 && random.one_in(4)) {
            from = random.below(stored.size);
            length = 1 + random.below(stored.size - from);
        }
        reader.set_range(from, length);
        let mut read = 0;
        loop {
            let chunk = match reader.next().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                Err(error) => {
                    self.judge(what, None, &error);
                    return false;
                }
            };
            let bytes = chunk.as_ref();
            let right = self.shared.model.borrow().is_content(stored, from + read, bytes);
            assert!(right, "{what}: wrong bytes of {body:?}, from {}", from + read);
            read += bytes.len() as u64;
            if random.is_some_and(|random| random.one_in(6)) {
                self.shared.sim.pause_us(3000).await;
            }
        }
        assert_eq!(read, length, "{what}: bytes of {body:?} from {from}");
        true
    }

    /// Changes the state of a bucket's versioning.
    pub(super) async fn set_versioning(&self, bucket: BucketId, versioning: Versioning) {
        let is_locked = self.shared.model.borrow_mut().versioned(bucket).lock;
        if is_locked == BucketLocked::Yes && versioning != Versioning::Enabled {
            let refused = self.core().set_versioning(bucket, versioning).await;
            assert_eq!(refused, Err(EngineError::LockNeedsVersions), "versions of locked b{}", bucket.0);
            return;
        }
        let begun = {
            let mut model = self.shared.model.borrow_mut();
            let begun = model.tick();
            model.versioned(bucket).begin_phase(versioning, begun);
            begun
        };
        let core = self.core();
        let what = || format!("b{} {versioning:?}", bucket.0);
        let (_, result) = self.watched("set versioning", what, core.set_versioning(bucket, versioning)).await;
        let outcome = result.err().map(|error| match error {
            EngineError::LockNeedsVersions if is_locked == BucketLocked::Maybe => Outcome::Refused,
            error => self.judge("set versioning", None, &error),
        });
        let mut model = self.shared.model.borrow_mut();
        let now = model.tick();
        match outcome {
            None => model.versioned(bucket).end_phase(begun, now),
            Some(Outcome::Refused) => model.versioned(bucket).refuse_phase(begun),
            Some(Outcome::Unknown) => {}
        }
    }

    /// Lists a page of versions, or of objects, and checks it. Returns the place of the next page.
    ///
    /// # Panics
    /// Panics when the page is wrong.
    pub(super) async fn list_versions_page(
        &self,
        bucket: BucketId,
        query: &VersionsQuery,
        only_objects: bool,
    ) -> Option<(Vec<VersionItem>, Option<VersionPlace>)> {
        let core = self.core();
        let what = || format!("b{} {query:?}", bucket.0);
        let page = async {
            if !only_objects {
                let page = core.list_versions(bucket, query).await?;
                return Ok((page.items, page.truncated.then_some(page.next)));
            }
            let VersionsQuery { prefix, delimiter, after_key: after, max_items, .. } = query.clone();
            let page = core.list(bucket, &ListQuery { prefix, delimiter, after, max_items }).await?;
            let next = page.truncated.then_some(VersionPlace { key: page.next, generation: 0 });
            Ok((page.items.into_iter().map(as_version).collect(), next))
        };
        let kind = if only_objects { "list of versioned" } else { "list versions" };
        let (from, page) = self.watched(kind, what, page).await;
        let (items, next) = match page {
            Ok(page) => page,
            Err(error) => {
                self.judge(kind, None, &error);
                return None;
            }
        };
        assert!(items.len() <= query.max_items, "{} items, {query:?}", items.len());
        let seen = VersionsSeen { query, items: &items, next: next.clone(), from, only_objects };
        let checked = self.shared.model.borrow_mut().check_versions(bucket, &seen);
        checked.unwrap_or_else(|error| {
            panic!("{kind} b{} {query:?} gives {items:?} and {next:?}: {error}", bucket.0)
        });
        Some((items, next))
    }
}

/// Returns an object of a listing as its version, of which only the body is known.
fn as_version(item: ListItem) -> VersionItem {
    match item {
        ListItem::Object { key, size_bytes, modified_ms, etag, class } => VersionItem::Version {
            key,
            generation: 0,
            is_null: false,
            is_latest: true,
            is_marker: false,
            size_bytes,
            modified_ms,
            etag,
            class,
        },
        ListItem::CommonPrefix(prefix) => VersionItem::CommonPrefix(prefix),
    }
}

type Place = (BucketId, Vec<u8>);

/// Holds keys with their versions as a listing shows them, each with whether it is the newest.
type SeenStacks = Vec<(Vec<u8>, Vec<(SeenVersion, bool)>)>;

impl Client {
    pub(super) async fn version_step(&self) {
        let random = self.random();
        let Some((bucket, key)) = self.version_place() else {
            return self.context.shared.sim.sleep_us(1).await;
        };
        let depth = self.stack(bucket, &key).len();
        let deepest = if self.sizes == Sizes::Large { DEPTH_MAX_LARGE } else { DEPTH_MAX };
        if depth > KEPT_MAX || depth > deepest && random.below(3) > 0 {
            return self.remove(bucket, &key).await;
        }
        match random.below(100) {
            0..=19 => self.put_version(bucket, &key, self.size()).await,
            20..=30 => self.mark(bucket, &key).await,
            31..=40 => self.remove(bucket, &key).await,
            41..=54 => self.look(bucket, &key).await,
            55..=62 => self.change_metadata(bucket, &key).await,
            63..=66 => self.change_metadata_while_cleaning(bucket).await,
            67..=74 => self.list_versions(bucket, &key).await,
            75..=80 => self.interleave(bucket, &key).await,
            81..=84 => self.complete_version(bucket, &key).await,
            85..=89 => self.switch(bucket).await,
            90..=93 => self.give_up_version(bucket, &key).await,
            94..=97 => self.read_slowly(bucket, &key).await,
            98 => self.read_ids(bucket, &key).await,
            _ => self.delete_bucket_with_versions(bucket, &key).await,
        }
    }

    /// Returns a bucket that keeps versions and one of the client's own keys in it.
    fn version_place(&self) -> Option<Place> {
        let (random, model) = (self.random(), self.model());
        let buckets: Vec<BucketId> = model.versioned.keys().copied().collect();
        let bucket = *buckets.get(random.below(buckets.len().max(1) as u64) as usize)?;
        Some((bucket, self.own_key(random.below(KEYS))))
    }

    fn own_key(&self, number: u64) -> Vec<u8> {
        let own = self.number;
        let name = match number {
            0 => format!("a/{own}"),
            1 => format!("a/b/{own}"),
            2 => format!("b{own}"),
            3 => format!("c/{own}/x"),
            _ => format!("é/{own}"),
        };
        name.into_bytes()
    }

    /// Returns a stack that the key may have.
    fn stack(&self, bucket: BucketId, key: &[u8]) -> Vec<Held> {
        let mut model = self.model();
        model.versioned(bucket).keys.get(key).map(|known| known.likely().to_vec()).unwrap_or_default()
    }

    fn may_change(&self, bucket: BucketId, key: &[u8]) -> bool {
        self.model().versioned(bucket).keys.get(key).is_none_or(|known| known.may_change())
    }

    fn new_body(&self, size: u64) -> Body {
        Body { stored: Stored { tag: self.context.shared.new_tag(), size }, parts: 0 }
    }

    /// Returns a condition that mostly holds.
    fn some_condition(&self, bucket: BucketId, key: &[u8]) -> Condition {
        let random = self.random();
        let bodies: Vec<Body> = self.stack(bucket, key).iter().filter_map(|held| held.body).collect();
        match random.below(8) {
            0 => Condition::Absent,
            1 | 2 if !bodies.is_empty() => {
                let at = if random.one_in(4) { random.below(bodies.len() as u64) as usize } else { 0 };
                Condition::Is(bodies[at])
            }
            _ => Condition::Nothing,
        }
    }

    async fn put_version(&self, bucket: BucketId, key: &[u8], size: u64) {
        let body = self.new_body(size);
        let bytes = content(body.stored.tag, size as usize);
        if let Some(writer) = self.written(bucket, key, size, &bytes).await {
            let condition = self.some_condition(bucket, key);
            self.commit_version((bucket, key), writer, body, condition).await;
        }
    }

    /// Begins a body and writes the first bytes of it.
    async fn written(&self, bucket: BucketId, key: &[u8], size: u64, first: &[u8]) -> Option<ObjectWriter> {
        let context = &self.context;
        let core = context.core();
        let operation = async {
            let mut writer = core.put(bucket, key, size).await?;
            for piece in first.chunks(40_961) {
                writer.write(piece).await?;
            }
            Ok(writer)
        };
        let what = || format!("{} {size}", name_of(bucket, key));
        let (_, written) = context.watched("version write", what, operation).await;
        // Whatever the error is, nothing was committed.
        if let Err(error) = &written {
            context.judge("version write", None, error);
        }
        written.ok()
    }

    async fn commit_version(
        &self,
        (bucket, key): (BucketId, &[u8]),
        writer: ObjectWriter,
        body: Body,
        condition: Condition,
    ) {
        if !self.may_change(bucket, key) {
            return;
        }
        let attributes = locked(attributes_of(body.stored.tag), self.lock_body(bucket, body));
        let meta = ObjectMeta { etag: body.etag(), attributes };
        let locks = self.context.shared.locks.clone();
        let commit = async {
            let info = writer.commit(meta, write_condition(condition)).await?;
            assert_eq!((info.size_bytes, info.etag), (body.stored.size, body.etag()), "a put of {body:?}");
            seen_object(&info, &locks);
            Ok(put_answer(&info))
        };
        self.context.change((bucket, key), Change::Put { body, condition }, commit).await;
    }

    /// Deletes without naming a version.
    async fn mark(&self, bucket: BucketId, key: &[u8]) {
        if self.may_change(bucket, key) {
            self.context.delete_version(bucket, key, (Version::Newest, false)).await;
        }
    }

    /// Chooses how a new version is locked, and notes it.
    fn lock_body(&self, bucket: BucketId, body: Body) -> Keep {
        let (lock, default) = {
            let mut model = self.model();
            let known = model.versioned(bucket);
            (known.lock, known.default)
        };
        if lock == BucketLocked::No {
            return Keep::default();
        }
        let locks = lock == BucketLocked::Yes && self.random().one_in(2);
        let keep = if locks { self.some_keep() } else { Keep::default() };
        self.context.shared.locks.give(body.stored.tag, keep, default);
        keep
    }

    /// Returns a lock, most of which are short.
    fn some_keep(&self) -> Keep {
        let random = self.random();
        let now_ms = self.context.shared.locks.wall_ms();
        let length_ms = match random.below(8) {
            0 => 2 * DAY_MS + random.below(30 * DAY_MS),
            1 => random.below(DAY_MS),
            _ => random.below(1500),
        };
        let until_ms = (random.below(6) > 0).then_some(now_ms + length_ms);
        Keep { hold: random.one_in(6), until_ms, compliance: until_ms.is_some() && random.one_in(2) }
    }

    /// Returns what is made of a lock, which is mostly allowed, and whether a retention of governance
    /// is bypassed.
    fn next_keep(&self, keep: Keep) -> (Keep, bool) {
        let random = self.random();
        let bypass = random.one_in(3);
        let next = match (random.below(8), keep.until_ms) {
            (0, _) => Keep { hold: !keep.hold, ..keep },
            (1, Some(until_ms)) => Keep { until_ms: Some(until_ms + random.below(2000)), ..keep },
            (2, Some(until_ms)) => Keep { until_ms: Some(until_ms - random.below(2000)), ..keep },
            (3, _) => Keep { until_ms: None, compliance: false, ..keep },
            (4, _) => self.some_keep(),
            _ => keep,
        };
        (next, bypass)
    }

    /// Returns a version of the stack, the null version, or one that never was.
    fn some_version(&self, bucket: BucketId, key: &[u8]) -> Version {
        let random = self.random();
        let generations: Vec<u64> =
            self.stack(bucket, key).iter().filter_map(|held| held.generation).collect();
        match random.below(10) {
            0 | 1 => Version::Null,
            2 => Version::Generation((1 << 62) + random.below(1000)),
            _ if generations.is_empty() => Version::Null,
            _ => Version::Generation(generations[random.below(generations.len() as u64) as usize]),
        }
    }

    async fn remove(&self, bucket: BucketId, key: &[u8]) {
        let version = self.some_version(bucket, key);
        if self.may_change(bucket, key) {
            self.context.delete_version(bucket, key, (version, self.random().one_in(3))).await;
        }
    }

    fn version_to_read(&self, bucket: BucketId, key: &[u8]) -> Version {
        if self.random().one_in(3) { Version::Newest } else { self.some_version(bucket, key) }
    }

    async fn look(&self, bucket: BucketId, key: &[u8]) {
        let version = self.version_to_read(bucket, key);
        if let Some(opened) = self.context.open_version(bucket, key, version).await {
            self.context.read_body("version get", opened, Some(self.random())).await;
        }
    }

    /// Changes the key while one of its versions is being read.
    async fn read_slowly(&self, bucket: BucketId, key: &[u8]) {
        let version = self.version_to_read(bucket, key);
        let opened = self.context.open_version(bucket, key, version).await;
        match (version, self.random().below(4)) {
            (Version::Newest, _) | (_, 0) => self.put_version(bucket, key, self.size()).await,
            (_, 1) => self.change_metadata(bucket, key).await,
            (named, _) if self.may_change(bucket, key) => {
                self.context.delete_version(bucket, key, (named, self.random().one_in(3))).await;
            }
            _ => {}
        }
        if self.random().one_in(4) {
            let done = self.context.node.compact().await;
            self.context.shared.note(|| format!("compact {done:?}"));
        }
        if let Some(opened) = opened {
            self.context.read_body("slow version get", opened, Some(self.random())).await;
        }
    }

    /// Changes the metadata of an object of the stack.
    async fn change_metadata(&self, bucket: BucketId, key: &[u8]) {
        let random = self.random();
        let stack = self.stack(bucket, key);
        let objects: Vec<&Held> =
            stack.iter().filter(|held| held.body.is_some() && held.generation.is_some()).collect();
        let (generation, changes) = match objects.get(random.below(objects.len().max(1) as u64) as usize) {
            Some(held) if !random.one_in(16) => (held.generation.unwrap_or(0), held.metadata.changes),
            // It is a delete marker, or never was.
            _ => (stack.iter().find_map(|held| held.generation).unwrap_or(7), Some(0)),
        };
        let if_changed = match (random.below(4), changes) {
            (0, Some(changes)) => Some(changes + 1 + random.below(3) as u32),
            (1 | 2, Some(changes)) => Some(changes),
            _ => None,
        };
        self.change_metadata_of(bucket, key, (generation, if_changed)).await;
    }

    async fn change_metadata_of(
        &self,
        bucket: BucketId,
        key: &[u8],
        (generation, if_changed): (u64, Option<u32>),
    ) {
        if !self.may_change(bucket, key) {
            return;
        }
        let stack = self.stack(bucket, key);
        let held = stack.iter().find(|held| held.generation == Some(generation));
        let body = held.and_then(|held| held.body).map_or(0, |body| body.stored.tag);
        let locks = &self.context.shared.locks;
        let keep = held.and_then(|held| held.keep(locks)).unwrap_or_default();
        let is_locked = self.model().versioned(bucket).lock == BucketLocked::Yes;
        let next = if is_locked { self.next_keep(keep) } else { (Keep::default(), false) };
        let terms = Terms { if_changed, touches: self.random().one_in(3), keep: next };
        self.context.relock((bucket, key), (generation, body), terms).await;
    }

    /// Changes metadata of all of the client's keys again and again while the cleaner runs.
    async fn change_metadata_while_cleaning(&self, bucket: BucketId) {
        let keys: Vec<Vec<u8>> = (0..KEYS).map(|number| self.own_key(number)).collect();
        let changes = keys.iter().map(|key| async move {
            for _ in 0..4 {
                let stack = self.stack(bucket, key);
                let object = stack.iter().find(|held| held.body.is_some());
                let Some(generation) = object.and_then(|held| held.generation) else { return };
                self.change_metadata_of(bucket, key, (generation, None)).await;
            }
        });
        let node = self.context.node.clone();
        let cleaned = async {
            let done = node.clean().await;
            self.context.shared.note(|| format!("clean {done:?}"));
        };
        futures_util::future::join(futures_util::future::join_all(changes), cleaned).await;
    }

    /// Begins a body, puts another one completely, and then commits the first, which is the newer
    /// version.
    async fn interleave(&self, bucket: BucketId, key: &[u8]) {
        let random = self.random();
        let size = 65_537 + random.below(200_000);
        let body = self.new_body(size);
        let bytes = content(body.stored.tag, size as usize);
        let (first, rest) = bytes.split_at(random.below(size) as usize);
        let Some(mut writer) = self.written(bucket, key, size, first).await else { return };
        match random.below(5) {
            0 => self.mark(bucket, key).await,
            1 => self.switch(bucket).await,
            2 => self.put_version(bucket, key, self.size()).await,
            _ => self.put_version(bucket, key, 65_537 + random.below(90_000)).await,
        }
        if let Err(error) = writer.write(rest).await {
            self.context.judge("version write", None, &error);
            return;
        }
        let condition = self.some_condition(bucket, key);
        self.commit_version((bucket, key), writer, body, condition).await;
    }

    /// Puts a version in parts.
    async fn complete_version(&self, bucket: BucketId, key: &[u8]) {
        let (random, core) = (self.random(), self.context.core());
        let shared = &self.context.shared;
        let count = 1 + random.below(3) as u16;
        let parts: Vec<Stored> =
            (0..count).map(|_| Stored { tag: shared.new_tag(), size: self.size() }).collect();
        let size = parts.iter().map(|part| part.size).sum();
        let body = Body { stored: Stored { tag: shared.new_tag(), size }, parts: count };
        self.model().compose(body.stored.tag, parts.clone());
        let upload = async {
            let id = core.create_upload(bucket, key, Vec::new()).await?;
            for (number, part) in (1..).zip(&parts) {
                let mut writer = core.put_part(bucket, key, id, number, part.size).await?;
                writer.write(&content(part.tag, part.size as usize)).await?;
                writer.commit_part(etag_of(part.tag, 0), Vec::new()).await?;
            }
            Ok(id)
        };
        let what = || format!("{} {parts:?}", name_of(bucket, key));
        let (_, uploaded) = self.context.watched("version upload", what, upload).await;
        let id = match uploaded {
            Ok(id) => id,
            Err(error) => {
                self.context.judge_version("version upload", &error);
                return;
            }
        };
        if !self.may_change(bucket, key) {
            return;
        }
        let named = (1..).zip(&parts).map(|(number, part)| (number, etag_of(part.tag, 0))).collect();
        let attributes = locked(attributes_of(body.stored.tag), self.lock_body(bucket, body));
        let meta = ObjectMeta { etag: body.etag(), attributes };
        let condition = self.some_condition(bucket, key);
        let complete = async {
            let completed =
                core.complete_upload(bucket, key, id, named, meta, write_condition(condition)).await?;
            seen_object(&completed, &shared.locks);
            Ok(put_answer(&completed))
        };
        self.context.change((bucket, key), Change::Put { body, condition }, complete).await;
    }

    /// Changes the state of the bucket's versioning, if it is the client's own.
    async fn switch(&self, bucket: BucketId) {
        let clients = self.context.shared.plan.clients;
        let states = {
            let mut model = self.model();
            let now = model.tick();
            (u64::from(bucket.0) % clients == self.number).then(|| model.versioned(bucket).possible(now, now))
        };
        let Some(states) = states else { return };
        let next = match states.as_slice() {
            [Versioning::Enabled] => Versioning::Suspended,
            [Versioning::Off] if self.random().one_in(4) => Versioning::Suspended,
            _ => Versioning::Enabled,
        };
        let change = self.context.set_versioning(bucket, next);
        if self.random().one_in(6) {
            polled_at_most(change, self.random().below(30)).await;
        } else {
            change.await;
        }
    }

    /// Begins a change, and drops it at any point where it waits.
    async fn give_up_version(&self, bucket: BucketId, key: &[u8]) {
        let polls = self.random().below(30);
        match self.random().below(5) {
            0 => drop(polled_at_most(self.mark(bucket, key), polls).await),
            1 => drop(polled_at_most(self.remove(bucket, key), polls).await),
            2 => drop(polled_at_most(self.change_metadata(bucket, key), polls).await),
            _ => drop(polled_at_most(self.put_version(bucket, key, self.size()), polls).await),
        }
    }

    /// Lists a few pages, which may begin in the middle of a key.
    async fn list_versions(&self, bucket: BucketId, key: &[u8]) {
        let random = self.random();
        let only_objects = random.one_in(3);
        let prefixes: [&[u8]; 6] = [b"", b"", b"a/", b"c/", "é".as_bytes(), key];
        let mut query = VersionsQuery {
            prefix: prefixes[random.below(6) as usize].to_vec(),
            delimiter: if random.one_in(2) { b"/".to_vec() } else { Vec::new() },
            max_items: 1 + random.below(7) as usize,
            ..VersionsQuery::default()
        };
        let is_grouped = query.delimiter == b"/" && !query.prefix.is_empty() || key.contains(&b'/');
        if random.one_in(2) {
            query.after_key = key.to_vec();
            let within = !only_objects && !is_grouped && random.below(3) > 0;
            query.after_version = within.then(|| self.some_version(bucket, key));
        }
        for _ in 0..4 {
            let page = self.context.list_versions_page(bucket, &query, only_objects).await;
            let Some((_, Some(next))) = page else { return };
            query.after_key = next.key;
            query.after_version = (next.generation > 0).then_some(Version::Generation(next.generation));
        }
    }

    /// Checks that a version's id means it, and that of another key does not.
    async fn read_ids(&self, bucket: BucketId, key: &[u8]) {
        let core = self.context.core();
        let Version::Generation(generation) = self.some_version(bucket, key) else { return };
        let text = core.id_of_version(bucket, key, generation).to_string();
        let id = VersionId::parse(&text).unwrap_or_else(|| panic!("{text} is no id"));
        let named = core.version_of_id(bucket, key, id);
        assert_eq!(named, Some(Version::Generation(generation)), "the version of the id {text}");
        assert_eq!(core.version_of_id(bucket, b"another", id), None, "{text} is of another key");
        self.context.open_version(bucket, key, Version::Generation(generation)).await;
    }

    /// Tries to delete a bucket in which a key of this client has versions.
    async fn delete_bucket_with_versions(&self, bucket: BucketId, key: &[u8]) {
        let there = {
            let mut model = self.model();
            let now = model.tick();
            model.versioned(bucket).is_certainly_there(key, now)
        };
        if !there {
            return;
        }
        let core: Core = self.context.core();
        let what = || format!("b{}", bucket.0);
        let (_, result) =
            self.context.watched("delete versioned bucket", what, core.delete_bucket(bucket)).await;
        match result {
            Err(EngineError::BucketNotEmpty) => {}
            Ok(()) => panic!("b{} was deleted, and {} has versions", bucket.0, name_of(bucket, key)),
            Err(error) => {
                self.context.judge("delete versioned bucket", None, &error);
            }
        }
    }
}

impl Context {
    /// Returns all versions of a bucket by key, newest first, listed in pages that begin in the
    /// middle of keys.
    ///
    /// # Panics
    /// Panics when the listing fails.
    pub(super) async fn all_versions(&self, bucket: BucketId) -> SeenStacks {
        let mut query = VersionsQuery { max_items: 3, ..VersionsQuery::default() };
        let mut found = SeenStacks::new();
        loop {
            let page = self.core().list_versions(bucket, &query).await;
            let page = page.unwrap_or_else(|error| panic!("versions of b{}: {error}", bucket.0));
            for item in &page.items {
                let Some(seen) = super::versions::seen_item(item) else { panic!("{item:?}: no delimiter") };
                match found.last_mut() {
                    Some((key, versions)) if key == item.name() => versions.push(seen),
                    _ => found.push((item.name().to_vec(), vec![seen])),
                }
            }
            if !page.truncated {
                assert!(found.is_sorted_by(|left, right| left.0 < right.0), "keys come twice: {found:?}");
                return found;
            }
            query.after_key = page.next.key;
            query.after_version =
                (page.next.generation > 0).then_some(Version::Generation(page.next.generation));
        }
    }

    /// Returns whether a body, and what was last done to its metadata, were put where they are.
    pub(super) fn was_put(&self, bucket: BucketId, key: &[u8], seen: &SeenVersion) -> bool {
        let model = self.shared.model.borrow();
        let body = seen.body.is_none_or(|body| {
            let origin = Origin::Object(bucket, key.to_vec(), body.stored.size);
            model.came_from(body.stored.tag, &origin)
        });
        let changed = seen.metadata.tag.filter(|tag| *tag > 0);
        body && changed.is_none_or(|tag| model.came_from(tag, &Origin::Metadata(bucket, key.to_vec())))
    }
}
