//! This module runs a node on a real file, and records everything that it sends to the drive.

use crate::history::{BUCKET, Change, History, Timeline};
use crate::versions::{VERSIONS, VersionChange, attributes};
use ringbolt_engine::EngineError;
use ringbolt_engine::device::record::{Event, Recorder};
use ringbolt_engine::node::{Core, NodePlan};
use ringbolt_engine::types::{
    BucketId, Deleted, MetadataChange, ObjectMeta, Version, Versioning, WriteCondition,
};
use ringbolt_tests::node::{self, End, bucket, etag, options, put, put_part};
use ringbolt_tests::{Content, Dice};
use std::collections::BTreeMap;
use std::path::Path;

const CORES: usize = 2;
pub const SHARDS: u16 = 2;
const DRIVE_BYTES: u64 = 112 << 20;
/// The limits are low, so that a recording contains several checkpoints and the cleaner's work.
const CHECKPOINT_AFTER_BYTES: u64 = 2 << 20;
const DEAD_LOG_BYTES_MAX: u64 = 4 << 20;
const KEYS_PER_WORKER: usize = 7;

pub struct Recording {
    /// This is the drive before the first event.
    pub base: Vec<u8>,
    pub events: Vec<Event>,
    pub timeline: Timeline,
}

/// Formats `path`, then runs `lives` nodes on it one after the other, each of which ends with or
/// without a clean stop.
pub fn record(path: &Path, seed: u64, lives: usize, changes_per_worker: usize) -> Recording {
    node::format(path, DRIVE_BYTES, SHARDS, seed);
    let base = std::fs::read(path).expect("read the drive");
    let (recorder, history) = (Recorder::default(), History::default());
    let mut dice = Dice::new(seed);
    for life in 0..lives {
        let seeds = NodePlan::open_recorded(
            options(path.to_owned(), CORES),
            &recorder,
            CHECKPOINT_AFTER_BYTES,
            DEAD_LOG_BYTES_MAX,
        );
        let end = if life % 2 == 0 { End::Close } else { End::Drop };
        let (seed, suspended) = (dice.next(), life % 2 == 1);
        let work = |core: Core| {
            let (recorder, history) = (&recorder, &history);
            async move {
                let bucket = make_bucket(&core, recorder, history).await;
                let versioning = if suspended { Versioning::Suspended } else { Versioning::Enabled };
                let versions = make_versions(&core, recorder, history, versioning).await;
                let worker = |number: usize| {
                    let name = format!("{}-{number}", core.index());
                    let dice = Dice::new(seed ^ (core.index() * 100 + number) as u64);
                    let (core, own) = (core.clone(), BTreeMap::new());
                    Worker { core, bucket, versions, suspended, own, name, recorder, history, dice }
                };
                let workers = (0..3).map(|number| worker(number).work(changes_per_worker));
                futures_util::future::join_all(workers).await;
            }
        };
        node::run(seeds.expect("the drive opens"), end, work).expect("the node opens");
    }
    let events = recorder.take();
    let timeline = history.finish(&events);
    Recording { base, events, timeline }
}

async fn make_bucket(core: &Core, recorder: &Recorder, history: &History) -> BucketId {
    let done = history.begin(recorder, "", Change::Bucket);
    let id = bucket(core, BUCKET).await;
    recorder.mark(done);
    id
}

/// Sets the versioning of the bucket that keeps versions, which is made if it is missing.
async fn make_versions(
    core: &Core,
    recorder: &Recorder,
    history: &History,
    versioning: Versioning,
) -> BucketId {
    let id = bucket(core, VERSIONS).await;
    let done = history.begin(recorder, "", Change::Versioning(versioning));
    core.set_versioning(id, versioning).await.expect("the versioning is set");
    recorder.mark(done);
    id
}

/// Makes one change after the other, on keys of its own.
struct Worker<'a> {
    core: Core,
    bucket: BucketId,
    versions: BucketId,
    /// Says that the versioning of that bucket is suspended.
    suspended: bool,
    /// Holds the versions that this life has added to the worker's keys and not removed, and whether
    /// they are objects.
    own: BTreeMap<String, Vec<(u64, bool)>>,
    name: String,
    recorder: &'a Recorder,
    history: &'a History,
    dice: Dice,
}

impl Worker<'_> {
    async fn work(mut self, changes: usize) {
        for _ in 0..changes {
            let key = format!("worker-{}/{}", self.name, self.dice.below(KEYS_PER_WORKER));
            match self.dice.below(15) {
                10.. => self.change_versions().await,
                0 | 1 => self.delete(&key).await,
                2 => self.upload(&key).await,
                _ => self.put(&key).await,
            }
        }
    }

    fn content(&mut self) -> Content {
        let size = match self.dice.below(20) {
            0 => self.dice.below((4 << 20) + 100_000),
            1..=4 => self.dice.below(300 << 10),
            _ => self.dice.below((64 << 10) + 2),
        };
        Content::new(self.dice.next(), size)
    }

    /// The only other allowed result is a refusal for lack of space, after which nothing is stored.
    fn end(&self, done: u64, outcome: Result<(), EngineError>) {
        match outcome {
            Ok(()) => self.recorder.mark(done),
            Err(EngineError::NoSpace { .. }) => self.history.refused(done),
            Err(error) => panic!("worker {}: {error}", self.name),
        }
    }

    async fn put(&mut self, key: &str) {
        let content = self.content();
        let done = self.history.begin(self.recorder, key, Change::Put(content));
        let outcome = put(&self.core, self.bucket, key, content).await;
        self.end(done, outcome.map(|_| ()));
    }

    async fn delete(&mut self, key: &str) {
        let done = self.history.begin(self.recorder, key, Change::Delete);
        let outcome = self.core.delete(self.bucket, key.as_bytes(), WriteCondition::default()).await;
        self.end(done, outcome.map(|_| ()));
    }

    /// Uploads two parts; every third upload is left unfinished.
    async fn upload(&mut self, key: &str) {
        let Ok(upload) = self.core.create_upload(self.bucket, key.as_bytes(), Vec::new()).await else {
            return;
        };
        // Its id is known only from the response, so request and response have the same position
        // here.
        let done = self.history.begin(self.recorder, key, Change::Create(upload));
        self.recorder.mark(done);
        let bodies = [1, 2].map(|_| Content::new(self.dice.next(), 1 + self.dice.below(200_000)));
        let mut parts = Vec::new();
        for (number, part) in (1..).zip(bodies) {
            let done = self.history.begin(self.recorder, key, Change::Part(upload, number, etag(part)));
            let stored = put_part(&self.core, self.bucket, key, (upload, number), part).await;
            let is_stored = stored.is_ok();
            self.end(done, stored.map(|_| ()));
            if !is_stored {
                return;
            }
            parts.push((number, etag(part)));
        }
        if self.dice.below(3) == 0 {
            return;
        }
        let meta = ObjectMeta { etag: etag(bodies[0]), attributes: Vec::new() };
        let condition = WriteCondition::default();
        let done = self.history.begin(self.recorder, key, Change::Complete(upload, bodies.to_vec()));
        let completed =
            self.core.complete_upload(self.bucket, key.as_bytes(), upload, parts, meta, condition).await;
        self.end(done, completed.map(|_| ()));
    }

    /// Adds a version or a delete marker, removes one, or changes the metadata of one.
    async fn change_versions(&mut self) {
        let key = format!("worker-{}/stack-{}", self.name, self.dice.below(3));
        let own = self.own.get(&key).cloned().unwrap_or_default();
        let chosen = own.get(self.dice.below(own.len().max(1))).copied();
        match (self.dice.below(6), chosen) {
            (0, Some((generation, _))) => self.remove(&key, generation).await,
            (1 | 2, Some((generation, true))) => self.change_metadata(&key, generation).await,
            (3, _) => self.add_version(&key, None).await,
            _ => {
                let content = self.content();
                self.add_version(&key, Some(content)).await;
            }
        }
    }

    async fn add_version(&mut self, key: &str, content: Option<Content>) {
        let change = VersionChange::Add { content, suspended: self.suspended };
        let done = self.history.begin(self.recorder, key, Change::Version(change));
        let outcome = match content {
            Some(content) => put(&self.core, self.versions, key, content).await,
            None => self.mark_deleted(key).await,
        };
        if let Ok(generation) = outcome {
            self.history.added(done, generation);
            let own = self.own.entry(key.to_owned()).or_default();
            if self.suspended {
                // It has replaced the null version, and this life adds no others.
                own.clear();
            }
            own.push((generation, content.is_some()));
        }
        self.end(done, outcome.map(|_| ()));
    }

    async fn mark_deleted(&self, key: &str) -> Result<u64, EngineError> {
        let condition = WriteCondition::default();
        match self.core.delete(self.versions, key.as_bytes(), condition).await? {
            Deleted::Marked { generation, .. } => Ok(generation),
            other => panic!("worker {}: a delete marker was due, not {other:?}", self.name),
        }
    }

    async fn remove(&mut self, key: &str, generation: u64) {
        let change = Change::Version(VersionChange::Remove { generation });
        let done = self.history.begin(self.recorder, key, change);
        let (version, condition) = (Version::Generation(generation), WriteCondition::default());
        let outcome = self.core.delete_version(self.versions, key.as_bytes(), version, condition).await;
        self.own.entry(key.to_owned()).or_default().retain(|(own, _)| *own != generation);
        self.end(done, outcome.map(|_| ()));
    }

    async fn change_metadata(&mut self, key: &str, generation: u64) {
        let tag = self.dice.next().max(1);
        let change = Change::Version(VersionChange::Meta { generation, tag });
        let done = self.history.begin(self.recorder, key, change);
        let change = MetadataChange {
            generation,
            if_changed: None,
            attributes: attributes(tag),
            touches: false,
            ..MetadataChange::default()
        };
        let condition = WriteCondition::default();
        let outcome = self.core.update_metadata(self.versions, key.as_bytes(), change, condition).await;
        self.end(done, outcome.map(|_| ()));
    }
}
