//! The engine on a real drive file, in this process, on one core.

use crate::scenario::{IN_FLIGHT, KEY_BYTES, SHARDS};
use ringbolt_engine::EngineError;
use ringbolt_engine::node::{
    Core, Counters, FormatOptions, NodeOptions, NodePlan, SpaceReport, format_drive,
};
use ringbolt_engine::types::{BucketCreated, BucketId, ObjectMeta, WriteCondition};
use ringbolt_tools::executor::{Executor, Latch};
use std::cell::{Cell, RefCell};
use std::path::Path;
use std::rc::Rc;

pub struct Engine {
    executor: Executor,
    core: Core,
    bucket: BucketId,
    /// Bodies are cut from here: making one for each put would be most of the work.
    bytes: Rc<Vec<u8>>,
}

impl Engine {
    pub fn new(drive: &Path, size_bytes: u64, body_bytes_max: u64) -> Self {
        let format =
            FormatOptions { size_bytes: Some(size_bytes), shards: SHARDS, force: false, seed: [1, 2, 3, 4] };
        format_drive(&[drive], &format, &mut |_, _| {}).expect("a drive");
        let executor = Executor::new().expect("an executor");
        let options = NodeOptions {
            drives: vec![drive.to_owned()],
            cores: 1,
            arena_bytes_per_core: 128 << 20,
            index_bytes_max: 1 << 30,
            register_buffers: false,
            read_cache_bytes_per_core: 0,
        };
        let seeds = NodePlan::open(options).expect("a node");
        let seed = seeds.into_iter().next().expect("a core");
        let core = seed.start(executor.environment()).expect("a core");
        executor.attach(core.driver()).expect("a driver");
        executor.run(core.open()).expect("to wait").expect("an open core");
        let made = executor.run(core.create_bucket("plan", "plan", Vec::new())).expect("to wait");
        let (BucketCreated::New(bucket) | BucketCreated::Exists(bucket)) = made.expect("a bucket");
        let bytes = (0..body_bytes_max).map(|at| (at * 131) as u8).collect();
        Self { executor, core, bucket: bucket.id, bytes: Rc::new(bytes) }
    }

    /// Puts so many objects; `which` gives the number and the size of the next.
    pub fn put_many(&self, count: u64, which: impl FnMut() -> (u64, u64) + 'static) {
        let (left, which) = (Rc::new(Cell::new(count)), Rc::new(RefCell::new(which)));
        let failure: Rc<RefCell<Option<EngineError>>> = Rc::default();
        let latch = Latch::new(IN_FLIGHT);
        for _ in 0..IN_FLIGHT {
            let (left, which, failure) = (left.clone(), which.clone(), failure.clone());
            let (core, bucket, bytes, latch) =
                (self.core.clone(), self.bucket, self.bytes.clone(), latch.clone());
            self.executor.spawn(async move {
                while left.get() > 0 && failure.borrow().is_none() {
                    left.set(left.get() - 1);
                    let (number, size) = (which.borrow_mut())();
                    if let Err(error) = put(&core, bucket, number, &bytes[..size as usize]).await {
                        failure.borrow_mut().get_or_insert(error);
                    }
                }
                latch.count_down();
            });
        }
        self.executor.run(latch).expect("to wait");
        assert!(failure.borrow().is_none(), "{:?}", failure.borrow());
    }

    pub fn space(&self) -> SpaceReport {
        self.executor.run(self.core.space()).expect("to wait").expect("the space")
    }

    pub fn counters(&self) -> Counters {
        self.core.counters()
    }

    pub fn close(&self) {
        self.executor.run(self.core.close()).expect("to wait").expect("a closed core");
    }
}

/// Of [`KEY_BYTES`] bytes. The number is spread first: keys that follow each other share little, as hashes and names
/// do.
pub fn key(number: u64) -> String {
    let spread = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{spread:016x}{number:0width$}", width = KEY_BYTES - 16)
}

async fn put(core: &Core, bucket: BucketId, number: u64, body: &[u8]) -> Result<(), EngineError> {
    let mut writer = core.put(bucket, key(number).as_bytes(), body.len() as u64).await?;
    writer.write(body).await?;
    writer.commit(ObjectMeta::default(), WriteCondition::default()).await?;
    Ok(())
}
