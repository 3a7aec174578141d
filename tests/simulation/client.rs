//! A client: one operation after the other, chosen by the seed, each checked against the model.
//!
//! Invariants:
//! - Keys of the bucket that all share are changed by all, without order; a bucket of its own and uploads are changed
//!   by one client only.
//! - A client never waits for another one.

use std::task::Poll;

use ringbolt_engine::EngineError;
use ringbolt_engine::types::{Deleted, EtagMatch, ListItem, ListQuery, ObjectMeta, WriteCondition};

use super::context::{Context, Outcome};
use super::model::{PageSeen, Stored, Value};
use super::{etag_of, tag_of};

/// The bucket that is always there.
pub const SHARED_BUCKET: &str = "shared";

/// Keys of the shared bucket: with and without prefixes, some within others.
const KEYS: [&str; 14] =
    ["a", "a/", "a/1", "a/2", "a/b/1", "a/b/2", "b", "c/1", "c/1/2", "c/2", "d/e/f/1", "d/e/f/2", "é/1", "z"];

/// One client.
pub struct Client {
    pub context: Context,
    pub number: u64,
    /// Sizes of bodies that it likes.
    pub sizes: Sizes,
}

/// Which bodies a world sees most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    Small,
    /// Up to the largest that a record holds: the log grows quickly.
    Inline,
    Mixed,
    /// Most have slices, of odd lengths: gaps between them do not fit.
    Large,
}

impl Client {
    /// Works until it is told to stop.
    pub async fn run(self) {
        let shared = self.context.shared.clone();
        while !shared.stopping.get() {
            let stopped = shared.report.borrow().refused_stopped;
            self.operation().await;
            if shared.report.borrow().refused_stopped > stopped {
                // Others may still find shards that write.
                shared.sim.pause_us(20_000).await;
            }
        }
        shared.clients_left.set(shared.clients_left.get() - 1);
    }

    async fn operation(&self) {
        let random = self.context.random();
        match random.below(100) {
            0..=29 => self.put(WriteCondition::default()).await,
            30..=35 => self.put_if().await,
            36..=52 => self.get().await,
            53..=64 => self.delete().await,
            65..=71 => self.list().await,
            72..=76 => self.give_up().await,
            77..=90 => self.upload_step().await,
            94..=96 if matches!(self.sizes, Sizes::Large) => self.compact().await,
            91..=96 => self.own_bucket_step().await,
            97 => self.checkpoint().await,
            98 if random.one_in(2) => self.compact().await,
            98 => self.clean().await,
            _ => {
                let pause = random.below(20_000);
                self.context.shared.sim.sleep_us(pause).await;
            }
        }
    }

    pub(super) fn size(&self) -> u64 {
        let random = self.context.random();
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

    /// A bucket and a key of it to work on.
    fn place(&self) -> (String, Vec<u8>) {
        let random = self.context.random();
        let own = self.own_bucket();
        let exists = {
            let model = self.context.shared.model.borrow();
            model.buckets.get(&own).is_some_and(|bucket| bucket.id.is_some() && !bucket.uncertain)
        };
        if exists && random.one_in(4) {
            return (own, vec![b'k', b'0' + random.below(3) as u8]);
        }
        let key = KEYS[random.below(KEYS.len() as u64) as usize];
        (SHARED_BUCKET.to_owned(), key.as_bytes().to_vec())
    }

    async fn put(&self, condition: WriteCondition) {
        let (bucket, key) = self.place();
        self.put_at(&bucket, &key, condition).await;
    }

    async fn put_at(&self, bucket: &str, key: &[u8], condition: WriteCondition) {
        let context = &self.context;
        let stored = Stored { tag: context.shared.new_tag(), size: self.size() };
        let what = || format!("{bucket}/{} {stored:?} {condition:?}", String::from_utf8_lossy(key));
        let begun = context.shared.model.borrow_mut().begin(bucket, key, Some(stored));
        let operation = self.store(bucket, key, stored, condition.clone());
        let (from, result) = context.watched("put", what, operation).await;
        match &result {
            Ok(()) => self.check_replaced(bucket, key, &condition),
            Err(EngineError::PreconditionFailed | EngineError::NoSuchKey) => {
                let absent = result == Err(EngineError::NoSuchKey);
                context.shared.model.borrow_mut().refuse(bucket, key, begun);
                self.check_refused(bucket, key, from, &condition, absent);
                return;
            }
            Err(_) => {}
        }
        context.tell("put", (bucket, key), begun, &result);
    }

    /// The body in pieces of odd sizes, as they come from a socket.
    async fn store(
        &self,
        bucket: &str,
        key: &[u8],
        stored: Stored,
        condition: WriteCondition,
    ) -> Result<(), EngineError> {
        let core = self.context.core();
        let bytes = self.context.shared.model.borrow().bytes(stored);
        let mut writer = core.put(self.context.bucket_id(bucket), key, stored.size).await?;
        for piece in bytes.chunks(40_961) {
            writer.write(piece).await?;
        }
        let meta = ObjectMeta { etag: etag_of(stored.tag, 0), attributes: attributes_of(stored.tag) };
        writer.commit(meta, condition).await.map(|_| ())
    }

    /// Only if there is nothing, or only if a certain version is there.
    async fn put_if(&self) {
        let (bucket, key) = self.place();
        if self.context.random().one_in(2) {
            let none = WriteCondition { if_none_match: Some(EtagMatch::Any), ..WriteCondition::default() };
            return self.put_at(&bucket, &key, none).await;
        }
        let core = self.context.core();
        let operation = core.head(self.context.bucket_id(&bucket), &key);
        let what = || format!("{bucket}/{}", String::from_utf8_lossy(&key));
        let (from, found) = self.context.watched("head", what, operation).await;
        match found {
            Ok(Some(info)) => {
                let stored = Stored { tag: tag_of(&info.etag), size: info.size_bytes };
                self.context.see("head", &bucket, &key, from, Some(stored));
                let same = EtagMatch::OneOf(vec![info.etag.to_string()]);
                let condition = WriteCondition { if_match: Some(same), ..WriteCondition::default() };
                self.put_at(&bucket, &key, condition).await;
            }
            Ok(None) => self.context.see("head", &bucket, &key, from, None),
            Err(error) => drop(self.context.judge("head", &error)),
        }
    }

    /// A condition held: nobody else may have replaced the same version under one.
    fn check_replaced(&self, bucket: &str, key: &[u8], condition: &WriteCondition) {
        if let Some(EtagMatch::OneOf(tags)) = &condition.if_match {
            let tag = u64::from_str_radix(&tags[0][..16], 16).map(u64::swap_bytes);
            let first = tag.is_ok_and(|tag| self.context.shared.model.borrow_mut().replaces(tag));
            let name = String::from_utf8_lossy(key);
            assert!(first, "lost update: two puts replaced {tags:?} of {bucket}/{name}");
        }
    }

    /// A condition did not hold: something must have been there that explains it.
    fn check_refused(&self, bucket: &str, key: &[u8], from: u64, condition: &WriteCondition, absent: bool) {
        let mut model = self.context.shared.model.borrow_mut();
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
        let name = String::from_utf8_lossy(key);
        assert!(explained, "put {bucket}/{name}: refused by {condition:?}, which nothing explains");
    }

    async fn get(&self) {
        let (bucket, key) = self.place();
        let what = || format!("{bucket}/{}", String::from_utf8_lossy(&key));
        let (from, result) = self.context.watched("get", what, self.read(&bucket, &key)).await;
        match result {
            Ok(value) => self.context.see("get", &bucket, &key, from, value),
            Err(error) => drop(self.context.judge("get", &error)),
        }
    }

    /// Reads all of an object or a range, and compares.
    async fn read(&self, bucket: &str, key: &[u8]) -> Result<Value, EngineError> {
        let core = self.context.core();
        let Some(mut reader) = core.get(self.context.bucket_id(bucket), key).await? else { return Ok(None) };
        let stored = Stored { tag: tag_of(&reader.info().etag), size: reader.info().size_bytes };
        let random = self.context.random();
        let (from, length) = if random.one_in(3) && stored.size > 0 {
            let from = random.below(stored.size);
            (from, 1 + random.below(stored.size - from))
        } else {
            (0, stored.size)
        };
        reader.set_range(from, length);
        let mut bytes = Vec::with_capacity(length as usize);
        while let Some(chunk) = reader.next().await? {
            bytes.extend_from_slice(chunk.as_ref());
            // A slow reader holds its pin while others write.
            if random.one_in(6) {
                self.context.shared.sim.pause_us(3000).await;
            }
        }
        let expected = self.context.shared.model.borrow().bytes(stored);
        let expected = &expected[from as usize..(from + length) as usize];
        assert!(bytes == expected, "wrong bytes: {bucket}/{} {stored:?}", String::from_utf8_lossy(key));
        Ok(Some(stored))
    }

    async fn delete(&self) {
        let (bucket, key) = self.place();
        let context = &self.context;
        let begun = context.shared.model.borrow_mut().begin(&bucket, &key, None);
        let core = context.core();
        let operation = core.delete(context.bucket_id(&bucket), &key, WriteCondition::default());
        let what = || format!("{bucket}/{}", String::from_utf8_lossy(&key));
        let (from, result) = context.watched("delete", what, operation).await;
        if let Ok(deleted) = result {
            let mut model = context.shared.model.borrow_mut();
            let now = model.tick();
            let wanted = deleted == Deleted::Removed;
            let explained =
                model.key(&bucket, &key).possible(from, now).any(|value| value.is_some() == wanted);
            assert!(explained, "delete {bucket}/{}: {deleted:?}", String::from_utf8_lossy(&key));
        }
        assert!(!matches!(result, Err(EngineError::NoSpace { .. })), "a delete needs no space: {result:?}");
        context.tell("delete", (&bucket, &key), begun, &result);
    }

    /// A few pages of a listing, each checked by itself.
    async fn list(&self) {
        let random = self.context.random();
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
            let what = || format!("{bucket} {query:?}");
            let operation = core.list(self.context.bucket_id(&bucket), &query);
            let (from, page) = self.context.watched("list", what, operation).await;
            let page = page.unwrap_or_else(|error| panic!("a listing of {bucket} fails: {error}"));
            let items: Vec<_> = page.items.iter().map(seen_item).collect();
            let (prefix, delimiter, after) = (&query.prefix, &query.delimiter, &query.after);
            let seen = PageSeen { prefix, delimiter, after, from, items: &items, truncated: page.truncated };
            let checked = self.context.shared.model.borrow_mut().check_page(&bucket, &seen);
            checked.unwrap_or_else(|error| panic!("listing {bucket} {query:?} gives {items:?}: {error}"));
            assert!(items.len() <= query.max_items, "{} items, {query:?}", items.len());
            match items.last() {
                Some((name, _)) if page.truncated => query.after.clone_from(name),
                _ => return,
            }
        }
    }

    /// A put or delete whose client goes away in the middle, at any point where it waits.
    async fn give_up(&self) {
        let (bucket, key) = self.place();
        let random = self.context.random();
        let (polls, is_put) = (random.below(30), random.below(3) > 0);
        let stored = Stored { tag: self.context.shared.new_tag(), size: self.size() };
        let value = is_put.then_some(stored);
        let begun = self.context.shared.model.borrow_mut().begin(&bucket, &key, value);
        let what = || format!("{bucket}/{} {value:?}, {polls} polls", String::from_utf8_lossy(&key));
        let operation = async {
            if is_put {
                return self.store(&bucket, &key, stored, WriteCondition::default()).await;
            }
            let core = self.context.core();
            let id = self.context.bucket_id(&bucket);
            core.delete(id, &key, WriteCondition::default()).await.map(|_| ())
        };
        let watched = self.context.watched("given up", what, operation);
        // Given up, it may still happen, or never: the model knows it as begun.
        if let Some((_, result)) = polled_at_most(watched, polls).await {
            self.context.tell("given up", (&bucket, &key), begun, &result);
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

    /// What an error of a change without a key means.
    pub(super) fn judge(&self, what: &str, error: &EngineError) -> Outcome {
        self.context.judge(what, error)
    }
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

/// The output if it comes within `polls` polls; else the future is dropped where it stands.
async fn polled_at_most<T>(future: impl Future<Output = T>, polls: u64) -> Option<T> {
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
