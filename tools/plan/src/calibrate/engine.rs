//! The engine alone, on a real drive file, in this process, on one core.

use ringbolt_engine::EngineError;
use ringbolt_engine::node::{
    Core, Counters, FormatOptions, NodeOptions, NodePlan, SpaceReport, format_drive,
};
use ringbolt_engine::types::{BucketCreated, BucketId, ObjectMeta, WriteCondition};
use ringbolt_tool_common::executor::{Executor, Latch};
use std::cell::{Cell, RefCell};
use std::fmt::Display;
use std::ops::Range;
use std::path::Path;
use std::rc::Rc;

const ARENA_BYTES: usize = 128 << 20;
const INDEX_BYTES_MAX: usize = 1 << 30;
/// Puts that wait at one time.
pub const IN_FLIGHT: usize = 32;

/// Why it does not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Failure(String);

impl Failure {
    pub(super) fn of(what: impl Display) -> Self {
        Self(what.to_string())
    }
}

/// One node with one bucket.
pub struct SingleCore {
    executor: Executor,
    core: Core,
    bucket: BucketId,
    /// Bodies are cut from here: making one for each put would be most of the work.
    bytes: Rc<Vec<u8>>,
}

/// What to put: key and length of the body.
pub type Item = (String, u64);

impl SingleCore {
    /// Formats `drive`. No body will be longer than `body_bytes_max`.
    ///
    /// # Errors
    /// When the file can not be made, or the engine does not take it.
    pub fn format(
        drive: &Path,
        size_bytes: u64,
        shards: u16,
        seed: u64,
        body_bytes_max: u64,
    ) -> Result<Self, Failure> {
        let seed = [seed, seed + 1, seed + 2, seed + 3];
        let format = FormatOptions { size_bytes: Some(size_bytes), shards, force: false, seed };
        format_drive(&[drive], &format, &mut |_, _| {}).map_err(Failure::of)?;
        let options = NodeOptions {
            drives: vec![drive.to_owned()],
            cores: 1,
            arena_bytes_per_core: ARENA_BYTES,
            index_bytes_max: INDEX_BYTES_MAX,
            register_buffers: false,
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

    /// Puts what `next` gives, [`IN_FLIGHT`] at a time, so many times.
    ///
    /// # Errors
    /// The first that a put ends with.
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

    /// Gets what `next` gives, one after the other, so many times: `range` of the body, or all of it.
    ///
    /// # Errors
    /// The first that a get ends with; when there is no such object.
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

    /// Asks so many times for the head of what `next` names.
    ///
    /// # Errors
    /// The first that a head ends with; when there is no such object.
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

    /// # Errors
    /// When the node has stopped.
    pub fn space(&self) -> Result<SpaceReport, Failure> {
        self.executor.run(self.core.space()).map_err(Failure::of)?.map_err(Failure::of)
    }

    pub fn counters(&self) -> Counters {
        self.core.counters()
    }

    /// # Errors
    /// When what is left can not be written.
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
