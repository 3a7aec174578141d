//! This module is a client: it runs one operation after the other, chosen by the seed, and checks
//! each against the model.
//!
//! Invariants:
//! - All clients share everything: keys, uploads, and buckets that are created and deleted. None
//!   waits for another one.
//! - An operation follows from its number alone, so that leaving one out does not change the
//!   others.

use std::cell::RefMut;
use std::task::Poll;

use ringbolt_engine::EngineError;
use ringbolt_engine::sim::Random;
use ringbolt_engine::types::{BucketId, Deleted, EtagMatch, ListItem, ListQuery, ObjectMeta, WriteCondition};

use super::context::Context;
use super::model::{Model, PageSeen, Stored, Value, content};
use super::plan::Kind;
use super::upload_steps::UPLOAD_KEYS;
use super::{etag_of, tag_of};

/// These are the keys of every bucket, with and without prefixes, some of which contain others.
const KEYS: [&str; 14] =
    ["a", "a/", "a/1", "a/2", "a/b/1", "a/b/2", "b", "c/1", "c/1/2", "c/2", "d/e/f/1", "d/e/f/2", "é/1", "z"];
/// This is the number of keys in a bucket that is created and deleted; there are few, so that it is
/// sometimes empty.
const PASSING_KEYS: u64 = 3;
/// This is the longest pause of a client between two operations in virtual microseconds.
const PAUSE_US_MAX: u64 = 20_000;

pub struct Client {
    pub context: Context,
    pub number: u64,
    /// These are the sizes of the bodies that it mostly writes.
    pub sizes: Sizes,
    /// Generates the random numbers of the current operation.
    pub random: Random,
}

/// Says which bodies are most frequent in a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    Small,
    /// Goes up to the largest inline body, so that the log grows quickly.
    Inline,
    Mixed,
    /// Has mostly slices of odd lengths, so that gaps between them do not fit.
    Large,
}

impl Client {
    /// Works until it is told to stop.
    pub async fn run(mut self) {
        let shared = self.context.shared.clone();
        let mut number = 0;
        while !shared.stopping.get() {
            let stopped = shared.report.borrow().refused_stopped;
            self.operation(number).await;
            number += 1;
            if shared.report.borrow().refused_stopped > stopped {
                // Other clients may still find shards that write.
                shared.sim.pause_us(PAUSE_US_MAX).await;
            }
        }
        shared.clients_left.set(shared.clients_left.get() - 1);
    }

    async fn operation(&mut self, number: u64) {
        let shared = self.context.shared.clone();
        let id = shared.plan.operation(shared.round.get(), self.number, number);
        self.random = Random::new(shared.plan.seed ^ id.rotate_left(32));
        let kind = shared.plan.kind_of(id, &self.random, self.sizes == Sizes::Large);
        if shared.plan.leaves_out(id, kind) {
            return shared.sim.sleep_us(1).await;
        }
        shared.operations.borrow_mut().push(id);
        match kind {
            Kind::Put => self.put(WriteCondition::default()).await,
            Kind::PutIf => self.put_if().await,
            Kind::Get => self.get().await,
            Kind::Delete => self.delete().await,
            Kind::List => self.list().await,
            Kind::GiveUp => self.give_up().await,
            Kind::Upload => self.upload_step().await,
            Kind::Bucket => self.bucket_step().await,
            Kind::Checkpoint => self.checkpoint().await,
            Kind::Compact => self.compact().await,
            Kind::Clean => self.clean().await,
            Kind::Version => self.version_step().await,
            Kind::Node => self.node_step().await,
            Kind::Pause => shared.sim.sleep_us(self.random.below(PAUSE_US_MAX)).await,
        }
    }

    pub(super) fn random(&self) -> &Random {
        &self.random
    }

    pub(super) fn model(&self) -> RefMut<'_, Model> {
        self.context.shared.model.borrow_mut()
    }

    pub(super) fn size(&self) -> u64 {
        let random = self.random();
        match (self.sizes, random.below(100)) {
            (_, 0..=4) => 0,
            (Sizes::Small, 5..=91) | (Sizes::Mixed, 5..=69) => random.below(3000),
            (Sizes::Inline, 5..=91) => 30_000 + random.below(35_537),
            (_, 92..=94) => 65_535 + random.below(3),
            (Sizes::Large, 5..=91) => 65_537 + random.below(1 << (16 + random.below(6))),
            (Sizes::Mixed | Sizes::Large, 99) => (4 << 20) - 1 + random.below(3),
            _ => 65_537 + random.below(90_000),
        }
    }

    /// Returns the shared bucket, or once in `one_in` another one.
    pub(super) fn some_bucket(&self, one_in: u64) -> BucketId {
        let (random, model) = (self.random(), self.model());
        let passing = model.passing_buckets(random.one_in(20));
        if !passing.is_empty() && random.one_in(one_in) {
            return passing[random.below(passing.len() as u64) as usize];
        }
        model.shared_bucket().unwrap_or_else(|| panic!("the shared bucket is made first"))
    }

    /// Returns a bucket and one of its keys to work on.
    fn place(&self) -> (BucketId, Vec<u8>) {
        let random = self.random();
        let bucket = self.some_bucket(4);
        if Some(bucket) != self.model().shared_bucket() {
            return (bucket, vec![b'k', b'0' + random.below(PASSING_KEYS) as u8]);
        }
        let keys = if random.one_in(16) { UPLOAD_KEYS.as_slice() } else { KEYS.as_slice() };
        (bucket, keys[random.below(keys.len() as u64) as usize].as_bytes().to_vec())
    }

    async fn put(&self, condition: WriteCondition) {
        let (bucket, key) = self.place();
        self.put_at(bucket, &key, condition).await;
    }

    async fn put_at(&self, bucket: BucketId, key: &[u8], condition: WriteCondition) {
        let context = &self.context;
        let stored = Stored { tag: context.shared.new_tag(), size: self.size() };
        let what = || format!("{} {stored:?} {condition:?}", name_of(bucket, key));
        let begun = self.model().begin(bucket, key, Some(stored));
        let operation = self.store(bucket, key, stored, condition.clone());
        let (from, result) = context.watched("put", what, operation).await;
        match &result {
            Ok(()) => self.check_replaced(bucket, key, &condition),
            Err(EngineError::PreconditionFailed | EngineError::NoSuchKey) => {
                let absent = result == Err(EngineError::NoSuchKey);
                self.model().refuse(bucket, key, begun);
                self.check_refused(bucket, key, from, &condition, absent);
                return;
            }
            Err(EngineError::IndexFull { .. }) => {
                let mut model = self.model();
                let now = model.tick();
                model.refuse(bucket, key, begun);
                let is_new = !model.key(bucket, key).is_certain(from, now);
                assert!(is_new, "{} is overwritten, and refused for want of an index", name_of(bucket, key));
            }
            Err(_) => {}
        }
        context.tell("put", (bucket, key), (begun, from), &result);
    }

    /// Writes the body in pieces of odd sizes, as they arrive from a socket.
    async fn store(
        &self,
        bucket: BucketId,
        key: &[u8],
        stored: Stored,
        condition: WriteCondition,
    ) -> Result<(), EngineError> {
        let core = self.context.core();
        let bytes = content(stored.tag, stored.size as usize);
        let mut writer = core.put(bucket, key, stored.size).await?;
        for piece in bytes.chunks(40_961) {
            writer.write(piece).await?;
        }
        let meta = ObjectMeta { etag: etag_of(stored.tag, 0), attributes: attributes_of(stored.tag) };
        writer.commit(meta, condition).await.map(|_| ())
    }

    /// Puts an object only if there is none, or only if a certain version is there.
    async fn put_if(&self) {
        let (bucket, key) = self.place();
        if self.random().one_in(2) {
            let none = WriteCondition { if_none_match: Some(EtagMatch::Any), ..WriteCondition::default() };
            return self.put_at(bucket, &key, none).await;
        }
        let core = self.context.core();
        let operation = core.head(bucket, &key);
        let what = || name_of(bucket, &key);
        let (from, found) = self.context.watched("head", what, operation).await;
        match found {
            Ok(Some(info)) => {
                let stored = Stored { tag: tag_of(&info.etag), size: info.size_bytes };
                self.context.see("head", bucket, &key, from, Some(stored));
                let same = EtagMatch::OneOf(vec![info.etag.to_string()]);
                let condition = WriteCondition { if_match: Some(same), ..WriteCondition::default() };
                self.put_at(bucket, &key, condition).await;
            }
            Ok(None) => self.context.see("head", bucket, &key, from, None),
            Err(error) => {
                self.context.judge("head", Some((bucket, from)), &error);
            }
        }
    }

    /// Checks after a condition held that nobody else replaced the same version under a condition.
    fn check_replaced(&self, bucket: BucketId, key: &[u8], condition: &WriteCondition) {
        if let Some(EtagMatch::OneOf(tags)) = &condition.if_match {
            let tag = u64::from_str_radix(&tags[0][..16], 16).map(u64::swap_bytes);
            let first = tag.is_ok_and(|tag| self.model().replaces(tag));
            assert!(first, "lost update: two puts replaced {tags:?} of {}", name_of(bucket, key));
        }
    }

    /// Checks after a condition did not hold that some version explains it.
    fn check_refused(
        &self,
        bucket: BucketId,
        key: &[u8],
        from: u64,
        condition: &WriteCondition,
        absent: bool,
    ) {
        let mut model = self.model();
        let now = model.tick();
        let named = |stored: Stored| match &condition.if_match {
            Some(EtagMatch::OneOf(tags)) => tags.contains(&etag_of(stored.tag, 0).to_string()),
            _ => false,
        };
        let explains = |value: Value| match value {
            None => absent,
            Some(stored) => !absent && !named(stored),
        };
        let explained = model.key(bucket, key).possible(from, now).any(explains);
        let name = name_of(bucket, key);
        assert!(explained, "put {name}: refused by {condition:?}, which nothing explains");
    }

    async fn get(&self) {
        let (bucket, key) = self.place();
        let what = || name_of(bucket, &key);
        let (from, result) = self.context.watched("get", what, self.read(bucket, &key)).await;
        match result {
            Ok(value) => self.context.see("get", bucket, &key, from, value),
            Err(error) => {
                self.context.judge("get", Some((bucket, from)), &error);
            }
        }
    }

    /// Reads all of an object or a range, and compares it.
    async fn read(&self, bucket: BucketId, key: &[u8]) -> Result<Value, EngineError> {
        let core = self.context.core();
        let Some(mut reader) = core.get(bucket, key).await? else { return Ok(None) };
        let stored = Stored { tag: tag_of(&reader.info().etag), size: reader.info().size_bytes };
        let random = self.random();
        let (from, length) = if random.one_in(3) && stored.size > 0 {
            let from = random.below(stored.size);
            (from, 1 + random.below(stored.size - from))
        } else {
            (0, stored.size)
        };
        reader.set_range(from, length);
        let mut read = 0;
        while let Some(chunk) = reader.next().await? {
            let bytes = chunk.as_ref();
            let right = self.model().is_content(stored, from + read, bytes);
            assert!(right, "wrong bytes: {} {stored:?}, from {}", name_of(bucket, key), from + read);
            read += bytes.len() as u64;
            // A slow reader keeps the object pinned while others write.
            if random.one_in(6) {
                self.context.shared.sim.pause_us(3000).await;
            }
        }
        assert_eq!(read, length, "bytes of {} from {from}", name_of(bucket, key));
        let now = self.model().tick();
        if length < stored.size
            && !self.model().key(bucket, key).possible(now, now).any(|value| value == Some(stored))
        {
            self.context.shared.report.borrow_mut().replaced_ranges += 1;
        }
        Ok(Some(stored))
    }

    async fn delete(&self) {
        let (bucket, key) = self.place();
        self.delete_at(bucket, &key).await;
    }

    pub(super) async fn delete_at(&self, bucket: BucketId, key: &[u8]) {
        let context = &self.context;
        let begun = self.model().begin(bucket, key, None);
        let core = context.core();
        let operation = core.delete(bucket, key, WriteCondition::default());
        let (from, result) = context.watched("delete", || name_of(bucket, key), operation).await;
        if let Ok(deleted) = result {
            let mut model = self.model();
            let now = model.tick();
            let wanted = matches!(deleted, Deleted::Removed { .. });
            let explained = model.key(bucket, key).possible(from, now).any(|value| value.is_some() == wanted);
            assert!(explained, "delete {}: {deleted:?}", name_of(bucket, key));
        }
        let refused = matches!(result, Err(EngineError::NoSpace { .. } | EngineError::IndexFull { .. }));
        assert!(!refused, "a delete needs no space: {result:?}");
        context.tell("delete", (bucket, key), (begun, from), &result);
    }

    /// Lists a few pages, each of which is checked by itself.
    async fn list(&self) {
        let random = self.random();
        let (bucket, _) = self.place();
        let prefixes: [&[u8]; 5] = [b"", b"", b"a/", b"d/", "é".as_bytes()];
        let mut query = ListQuery {
            prefix: prefixes[random.below(5) as usize].to_vec(),
            delimiter: if random.one_in(2) { b"/".to_vec() } else { Vec::new() },
            after: Vec::new(),
            max_items: 1 + random.below(8) as usize,
        };
        for _ in 0..4 {
            let core = self.context.core();
            let what = || format!("b{} {query:?}", bucket.0);
            let operation = core.list(bucket, &query);
            let (from, page) = self.context.watched("list", what, operation).await;
            let page = match page {
                Ok(page) => page,
                Err(error) => {
                    self.context.judge("list", Some((bucket, from)), &error);
                    return;
                }
            };
            let items: Vec<_> = page.items.iter().map(seen_item).collect();
            let (prefix, delimiter, after) = (&query.prefix, &query.delimiter, &query.after);
            let seen = PageSeen { prefix, delimiter, after, from, items: &items, truncated: page.truncated };
            let checked = self.model().check_page(bucket, &seen);
            checked
                .unwrap_or_else(|error| panic!("listing b{} {query:?} gives {items:?}: {error}", bucket.0));
            assert!(items.len() <= query.max_items, "{} items, {query:?}", items.len());
            match items.last() {
                Some((name, _)) if page.truncated => query.after.clone_from(name),
                _ => return,
            }
        }
    }

    /// Begins a put or delete, and drops it at any point where it waits.
    async fn give_up(&self) {
        let (bucket, key) = self.place();
        let random = self.random();
        let (polls, is_put) = (random.below(30), random.below(3) > 0);
        let stored = Stored { tag: self.context.shared.new_tag(), size: self.size() };
        let value = is_put.then_some(stored);
        let begun = self.model().begin(bucket, &key, value);
        let what = || format!("{} {value:?}, {polls} polls", name_of(bucket, &key));
        let operation = async {
            if is_put {
                return self.store(bucket, &key, stored, WriteCondition::default()).await;
            }
            let core = self.context.core();
            core.delete(bucket, &key, WriteCondition::default()).await.map(|_| ())
        };
        let watched = self.context.watched("given up", what, operation);
        // An operation that was dropped may still happen, or never: the model knows it as begun.
        if let Some((from, result)) = polled_at_most(watched, polls).await {
            self.context.tell("given up", (bucket, &key), (begun, from), &result);
        }
    }

    async fn checkpoint(&self) {
        self.context.shared.report.borrow_mut().checkpoints += 1;
        let done = self.context.node.checkpoint().await;
        self.context.shared.note(|| format!("checkpoint {done:?}"));
    }

    async fn clean(&self) {
        self.context.shared.report.borrow_mut().cleanings += 1;
        let done = self.context.node.clean().await;
        self.context.shared.note(|| format!("clean {done:?}"));
    }

    async fn compact(&self) {
        self.context.shared.report.borrow_mut().compactions += 1;
        let done = self.context.node.compact().await;
        self.context.shared.note(|| format!("compact {done:?}"));
    }
}

/// Returns the name of an object in traces.
pub(super) fn name_of(bucket: BucketId, key: &[u8]) -> String {
    format!("b{}/{}", bucket.0, String::from_utf8_lossy(key))
}

fn seen_item(item: &ListItem) -> (Vec<u8>, Value) {
    match item {
        ListItem::Object { key, size_bytes, etag, .. } => {
            (key.clone(), Some(Stored { tag: tag_of(etag), size: *size_bytes }))
        }
        ListItem::CommonPrefix(prefix) => (prefix.clone(), None),
    }
}

pub(super) fn attributes_of(tag: u64) -> Vec<(String, String)> {
    vec![("tag".to_owned(), tag.to_string())]
}

/// Returns the output if it comes within `polls` polls; otherwise the future is dropped as it is.
pub(super) async fn polled_at_most<T>(future: impl Future<Output = T>, polls: u64) -> Option<T> {
    let mut future = Box::pin(future);
    let mut left = polls;
    std::future::poll_fn(move |context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}
