//! CPU time of the cleaner: the engine in this process, on a small drive that is overwritten without end.

use super::CalibrateError;
use crate::executor::{Executor, Latch};
use ringbolt_engine::EngineError;
use ringbolt_engine::node::{Core, Counters, FormatOptions, NodeOptions, NodePlan, format_drive};
use ringbolt_engine::types::{BucketCreated, BucketId, ObjectMeta, WriteCondition};
use std::cell::{Cell, RefCell};
use std::io;
use std::path::Path;
use std::rc::Rc;

const MIB: f64 = 1024.0 * 1024.0;
const DRIVE_BYTES: u64 = 512 << 20;
const BODY_BYTES: usize = 16 << 10;
/// Live, of the drive: the cleaner has to work, and finds room.
const LIVE_SHARE: f64 = 0.7;
/// Overwritten, times what is live, before and while it is measured.
const TURNS: [f64; 2] = [0.5, 1.5];
const DEPTH: usize = 32;

/// Microseconds of CPU for each MiB that the cleaner moves.
///
/// # Errors
/// When the drive can not be made or used.
pub fn measure(directory: &Path, core: usize, seed: u64) -> Result<f64, CalibrateError> {
    eprintln!("calibrate: cleaner");
    // A thread of its own: it is pinned, and its CPU time is its own.
    let directory = directory.to_owned();
    let thread = std::thread::spawn(move || measure_here(&directory, core, seed));
    thread.join().unwrap_or_else(|_| Err(CalibrateError::Cleaner("it ended in a panic".into())))
}

fn measure_here(directory: &Path, core: usize, seed: u64) -> Result<f64, CalibrateError> {
    crate::bench::run::settle(Some(&[core])).map_err(CalibrateError::Cleaner)?;
    let node = Rc::new(Node::open(&directory.join("cleaner.drive"), seed)?);
    let objects = (DRIVE_BYTES as f64 * LIVE_SHARE / BODY_BYTES as f64) as u64;
    // Without the cleaner: the drive is filled for the first time.
    let filled = node.store(objects, &Order::Ascending)?;
    let turn = |turns: f64| node.store((objects as f64 * turns) as u64, &Order::Random(objects));
    turn(TURNS[0])?;
    let cleaned = turn(TURNS[1])?;
    node.executor.run(node.core.close()).map_err(io_error)?.map_err(engine_error)?;
    let moved = cleaned.counters.moved_bytes as f64;
    if moved < MIB {
        return Err(CalibrateError::Cleaner("the cleaner had nothing to do".into()));
    }
    let by_puts = filled.cpu_us / filled.counters.user_bytes as f64 * cleaned.counters.user_bytes as f64;
    Ok(((cleaned.cpu_us - by_puts) / (moved / MIB)).max(0.0))
}

enum Order {
    Ascending,
    Random(u64),
}

/// What storing took.
struct Stored {
    cpu_us: f64,
    counters: Counters,
}

struct Node {
    executor: Executor,
    core: Core,
    bucket: BucketId,
    random: RefCell<fastrand::Rng>,
}

impl Node {
    fn open(drive: &Path, seed: u64) -> Result<Self, CalibrateError> {
        let refused = |error: &dyn std::fmt::Display| CalibrateError::Cleaner(error.to_string());
        let format = FormatOptions {
            size_bytes: Some(DRIVE_BYTES),
            shards: 2,
            force: false,
            seed: [seed, seed + 1, seed + 2, seed + 3],
        };
        format_drive(&[drive], &format, &mut |_, _| {}).map_err(|error| refused(&error))?;
        let executor = Executor::new().map_err(io_error)?;
        let seeds = NodePlan::open(NodeOptions {
            drives: vec![drive.to_owned()],
            cores: 1,
            arena_bytes_per_core: 64 << 20,
            index_bytes_max: 256 << 20,
            register_buffers: false,
            read_cache_bytes_per_core: 0,
        });
        let seed_of_core = seeds.map_err(|error| refused(&error))?.into_iter().next();
        let seed_of_core = seed_of_core.ok_or_else(|| refused(&"the node has no core"))?;
        let core = seed_of_core.start(executor.environment()).map_err(|error| refused(&error))?;
        executor.attach(core.driver()).map_err(io_error)?;
        executor.run(core.open()).map_err(io_error)?.map_err(|error| refused(&error))?;
        let made =
            executor.run(core.create_bucket("calibrate", "calibrate", Vec::new())).map_err(io_error)?;
        let bucket = match made.map_err(engine_error)? {
            BucketCreated::New(bucket) | BucketCreated::Exists(bucket) => bucket.id,
        };
        Ok(Self { executor, core, bucket, random: RefCell::new(fastrand::Rng::with_seed(seed)) })
    }

    /// Stores so many objects, or overwrites them.
    fn store(self: &Rc<Self>, count: u64, order: &Order) -> Result<Stored, CalibrateError> {
        let (before, cpu) = (self.core.counters(), thread_cpu_us());
        let (next, failure) = (Rc::new(Cell::new(0)), Rc::new(RefCell::new(None)));
        let latch = Latch::new(DEPTH);
        let among = match order {
            Order::Ascending => None,
            Order::Random(objects) => Some(*objects),
        };
        for _ in 0..DEPTH {
            let (node, next, failure, latch) = (self.clone(), next.clone(), failure.clone(), latch.clone());
            self.executor.spawn(async move {
                let body = vec![7; BODY_BYTES];
                while next.get() < count && failure.borrow().is_none() {
                    let number = next.replace(next.get() + 1);
                    let number = among.map_or(number, |objects| node.random.borrow_mut().u64(..objects));
                    if let Err(error) = node.put(number, &body).await {
                        *failure.borrow_mut() = Some(error);
                    }
                }
                latch.count_down();
            });
        }
        self.executor.run(latch).map_err(io_error)?;
        match failure.take() {
            Some(error) => Err(engine_error(error)),
            None => {
                Ok(Stored { cpu_us: thread_cpu_us() - cpu, counters: self.core.counters().since(&before) })
            }
        }
    }

    async fn put(&self, number: u64, body: &[u8]) -> Result<(), EngineError> {
        let key = format!("objects/{number:032}");
        let mut writer = self.core.put(self.bucket, key.as_bytes(), body.len() as u64).await?;
        writer.write(body).await?;
        writer.commit(ObjectMeta::default(), WriteCondition::default()).await?;
        Ok(())
    }
}

fn thread_cpu_us() -> f64 {
    let usage = crate::bench::run::thread_usage();
    (usage.user_ns + usage.system_ns) as f64 / 1e3
}

fn io_error(error: io::Error) -> CalibrateError {
    CalibrateError::Cleaner(error.to_string())
}

fn engine_error(error: EngineError) -> CalibrateError {
    CalibrateError::Cleaner(error.to_string())
}
