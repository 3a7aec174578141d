//! This module runs the engine alone in this process: on real drive files and on one core.

use ringbolt_engine::EngineError;
use ringbolt_engine::node::{
    Core, Counters, FormatOptions, NodeOptions, NodePlan, Redundancy, SpaceReport, format_drive,
};
use ringbolt_engine::types::{BucketCreated, BucketId, ObjectMeta, WriteCondition};
use ringbolt_tool_common::executor::{Executor, Latch};
use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

const ARENA_BYTES: usize = 128 << 20;
const INDEX_BYTES_MAX: usize = 1 << 30;
/// This many puts wait at the same time.
pub const IN_FLIGHT: usize = 32;

/// Says why the measurement cannot continue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failure(String);

impl Failure {
    pub(super) fn of(what: impl Display) -> Self {
        Self(what.to_string())
    }
}

/// This is one node with one bucket.
pub struct SingleCore {
    executor: Executor,
    core: Core,
    bucket: BucketId,
    /// Holds the data that bodies are slices of: generating a body for each put would take most of
    /// the time.
    bytes: Rc<Vec<u8>>,
}

/// Holds key and body length of an object to put.
pub type Item = (String, u64);

/// Says which drives a node gets.
#[derive(Clone, Debug)]
pub struct DriveSet {
    pub drives: Vec<PathBuf>,
    /// This is the size of each drive.
    pub size_bytes: u64,
    pub shards: u16,
    pub redundancy: Redundancy,
    pub seed: u64,
}

impl SingleCore {
    /// Formats `drive`. No body may be longer than `body_bytes_max`.
    ///
    /// # Errors
    /// Fails when the file cannot be created, or when the engine does not accept it.
    pub fn format(
        drive: &Path,
        size_bytes: u64,
        shards: u16,
        seed: u64,
        body_bytes_max: u64,
    ) -> Result<Self, Failure> {
        let (drives, redundancy) = (vec![drive.to_owned()], Redundancy::NONE);
        Self::format_set(&DriveSet { drives, size_bytes, shards, redundancy, seed }, body_bytes_max)
    }

    /// Formats the drives of a set. No body may be longer than `body_bytes_max`.
    ///
    /// # Errors
    /// Fails when a file cannot be created, or when the engine does not accept the set.
    pub fn format_set(set: &DriveSet, body_bytes_max: u64) -> Result<Self, Failure> {
        let DriveSet { drives, size_bytes, shards, redundancy, seed } = set;
        let format = FormatOptions {
            size_bytes: Some(*size_bytes),
            shards: *shards,
            redundancy: Some(*redundancy),
            force: false,
            seed: [*seed, seed + 1, seed + 2, seed + 3],
        };
        let paths: Vec<&Path> = drives.iter().map(PathBuf::as_path).collect();
        format_drive(&paths, &format, &mut |_, _| {}).map_err(Failure::of)?;
        let options = NodeOptions {
            drives: drives.clone(),
            without_drives: Vec::new(),
            cores: 1,
            arena_bytes_per_core: ARENA_BYTES,
            index_bytes_max: INDEX_BYTES_MAX,
            register_buffers: false,
            clock_step_max_ms: ringbolt_engine::types::rules::DAY_MS,
            read_cache_bytes_per_core: 0,
        };
        let executor = Executor::new().map_err(Failure::of)?;
        let seed = NodePlan::open(options).map_err(Failure::of)?.into_iter().next();
        let seed = seed.ok_or_else(|| Failure::of("the node has no core"))?;
        let core = seed.start(executor.environment()).map_err(Failure::of)?;
        executor.attach(core.driver()).map_err(Failure::of)?;
        executor.run(core.open()).map_err(Failure::of)?.map_err(Failure::of)?;
        let made = executor.run(core.create_bucket("plan", "plan", Vec::new())).map_err(Failure::of)?;
        let (BucketCreated::New(bucket) | BucketCreated::Exists(bucket)) = made.map_err(Failure::of)?;
        let bytes = (0..body_bytes_max).map(|at| (at * 131) as u8).collect();
        Ok(Self { executor, core, bucket: bucket.id, bytes: Rc::new(bytes) })
    }

    /// Puts `count` objects from `next`, [`IN_FLIGHT`] at a time.
    ///
    /// # Errors
    /// Returns the first failure of a put.
    pub fn put_many(&self, count: u64, next: impl FnMut() -> Item + 'static) -> Result<(), Failure> {
        let (left, next) = (Rc::new(Cell::new(count)), Rc::new(RefCell::new(next)));
        let failure: Rc<RefCell<Option<EngineError>>> = Rc::default();
        let latch = Latch::new(IN_FLIGHT);
        for _ in 0..IN_FLIGHT {
            let (left, next, failure) = (left.clone(), next.clone(), failure.clone());
            let (core, bucket) = (self.core.clone(), self.bucket);
            let (bytes, latch) = (self.bytes.clone(), latch.clone());
            self.executor.spawn(async move {
                while left.get() > 0 && failure.borrow().is_none() {
                    left.set(left.get() - 1);
                    let (key, length) = (next.borrow_mut())();
                    if let Err(error) = put(&core, bucket, &key, &bytes[..length as usize]).await {
                        failure.borrow_mut().get_or_insert(error);
                    }
                }
                latch.count_down();
            });
        }
        self.executor.run(latch).map_err(Failure::of)?;
        failure.take().map_or(Ok(()), |error| Err(Failure::of(error)))
    }

    /// Gets `count` objects from `next`, one after the other: a range of the body, or all of it.
    ///
    /// # Errors
    /// Returns the first failure of a get, or fails when an object does not exist.
    pub fn get_many(
        &self,
        count: u64,
        mut next: impl FnMut() -> (String, Option<Range<u64>>),
    ) -> Result<(), Failure> {
        self.executor
            .run(async {
                for _ in 0..count {
                    let (key, range) = next();
                    get(&self.core, self.bucket, &key, range).await?;
                }
                Ok(())
            })
            .map_err(Failure::of)?
    }

    /// Reads the heads of `count` objects from `next`.
    ///
    /// # Errors
    /// Returns the first failure of a head, or fails when an object does not exist.
    pub fn head_many(&self, count: u64, mut next: impl FnMut() -> String) -> Result<(), Failure> {
        self.executor
            .run(async {
                for _ in 0..count {
                    let key = next();
                    let found = self.core.head(self.bucket, key.as_bytes()).await.map_err(Failure::of)?;
                    found.ok_or_else(|| Failure::of(format!("{key} is not there")))?;
                }
                Ok(())
            })
            .map_err(Failure::of)?
    }

    /// Returns the use of space.
    ///
    /// # Errors
    /// Fails when the node has stopped.
    pub fn space(&self) -> Result<SpaceReport, Failure> {
        self.executor.run(self.core.space()).map_err(Failure::of)?.map_err(Failure::of)
    }

    /// Returns the counters of the engine.
    pub fn counters(&self) -> Counters {
        self.core.counters()
    }

    /// Closes the node.
    ///
    /// # Errors
    /// Fails when the rest cannot be written.
    pub fn close(self) -> Result<(), Failure> {
        self.executor.run(self.core.close()).map_err(Failure::of)?.map_err(Failure::of)
    }
}

async fn get(core: &Core, bucket: BucketId, key: &str, range: Option<Range<u64>>) -> Result<(), Failure> {
    let opened = core.get(bucket, key.as_bytes()).await.map_err(Failure::of)?;
    let mut reader = opened.ok_or_else(|| Failure::of(format!("{key} is not there")))?;
    if let Some(range) = range {
        reader.set_range(range.start, range.end - range.start);
    }
    while reader.next().await.map_err(Failure::of)?.is_some() {}
    Ok(())
}

async fn put(core: &Core, bucket: BucketId, key: &str, body: &[u8]) -> Result<(), EngineError> {
    let mut writer = core.put(bucket, key.as_bytes(), body.len() as u64).await?;
    writer.write(body).await?;
    writer.commit(ObjectMeta::default(), WriteCondition::default()).await?;
    Ok(())
}
