//! A drive in memory for one fuzzed shard. It holds what was put into it, and zeros elsewhere.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::ready;
use std::rc::Rc;

use futures_util::FutureExt;

use crate::device::{Device, DeviceError, Durability, FlushFuture, IoFuture};
use crate::extent::{DriveNumber, Drives, Geometry, Reached, Shape};
use crate::format::superblock::ShardRootOnDisk;
use crate::index::Step;
use crate::ring::{Buffer, Pool};
use crate::shard::recover::{ChunkCopies, HomeRoot, RecoverError, Recovered, Source};
use crate::shard::{CheckpointCut, Settings, State};

/// Size of an extent, which has room for one full slice.
pub const EXTENT_BYTES: u32 = 4_210_688;
const EXTENTS: u32 = 4;
const EXTENTS_START: u64 = 1 << 20;
/// Number of the fuzzed shard.
pub const SHARD: u16 = 0;
pub const FORMAT_ID: u64 = 9;

thread_local! {
    /// The buffers of this thread. They are mapped once, because an input is read in less time than
    /// a mapping takes.
    static POOL: Pool = Pool::new(16 << 20).unwrap_or_else(|error| panic!("no memory for buffers: {error}"));
}

/// Returns the geometry of the fuzzed drive.
pub fn geometry() -> Geometry {
    Geometry {
        extent_bytes: EXTENT_BYTES,
        extents: EXTENTS,
        extents_start: EXTENTS_START,
        format_id: FORMAT_ID,
        drive_id: 0,
        drive: 0,
        copies: 1,
        shape: Shape::PLAIN,
        epoch: 1,
        planted: crate::hook::Planted::default(),
    }
}

/// Returns the settings of the fuzzed shard.
pub fn settings() -> Settings {
    Settings {
        hash_key: [1, 2],
        inline_bytes_max: 64 << 10,
        index_bytes_max: 64 << 20,
        dead_log_bytes_max: 1 << 30,
        checkpoint_after_bytes: 1 << 30,
        checkpoint_cut: CheckpointCut::default(),
        clock_step_max_ms: u64::MAX,
        drive_shards: 1,
        few_extents: 1,
    }
}

/// A drive as pieces of bytes by offset.
#[derive(Default)]
pub struct FuzzDrive(RefCell<BTreeMap<u64, Vec<u8>>>);

impl FuzzDrive {
    /// Puts bytes at an offset in an extent, and leaves out what does not fit.
    pub fn put(&self, extent: u32, offset: u32, bytes: &[u8]) {
        let room = EXTENT_BYTES.saturating_sub(offset) as usize;
        let at = geometry().byte(extent, offset);
        self.0.borrow_mut().insert(at, bytes[..bytes.len().min(room)].to_vec());
    }

    /// Recovers the shard from `root`, and checks the recovered state.
    pub fn recover(self, root: ShardRootOnDisk) {
        let (device, geometry, settings) = (Rc::new(self) as Rc<dyn Device>, geometry(), settings());
        let drives = Drives::new(vec![Reached {
            geometry,
            number: DriveNumber::new(geometry.drive),
            device,
            watch: None,
        }]);
        let outcome = POOL.with(|pool| {
            let source = Source {
                shard: SHARD,
                geometry: &geometry,
                settings: &settings,
                drives: &drives,
                pool,
                salvage: None,
                told: None,
                makes_alike: true,
                copies: ChunkCopies::UntilWhole,
                noticed: RefCell::default(),
            };
            let outcome = source.recover(&[HomeRoot { home: 0, root }]).now_or_never();
            outcome.unwrap_or_else(|| panic!("recovery waits for something that never comes"))
        });
        if let Ok(Recovered { state, .. }) = &outcome {
            check_state(state);
        }
        if let Err(error @ RecoverError::Device(_)) = outcome {
            panic!("recovery asked for what no drive has: {error}");
        }
    }
}

/// Checks that the versions of a walk are in order and as many as are counted, by the index and by
/// the usage of the buckets, and that each is found.
fn check_state(state: &State) {
    let index = state.index();
    let mut keys = Vec::new();
    index.visit(&[], &mut |key, _| {
        keys.push(key.to_vec());
        Step::Continue
    });
    assert_eq!(keys.len() as u64, index.len(), "a walk shows another number of keys than are counted");
    let usage = state.usage_of_all();
    assert_eq!(keys.len() as u64, usage.versions + usage.markers, "the usage is not what a walk shows");
    assert!(keys.is_sorted(), "keys are not in order");
    assert!(keys.iter().all(|key| index.get(key).is_some()), "a key that a walk shows is not found");
}

impl Device for FuzzDrive {
    fn size_bytes(&self) -> u64 {
        EXTENTS_START + u64::from(EXTENTS) * u64::from(EXTENT_BYTES)
    }

    fn needs_flush(&self) -> bool {
        false
    }

    fn is_idle(&self) -> bool {
        true
    }

    fn read(&self, offset: u64, length: usize, mut buffer: Buffer) -> IoFuture {
        buffer[..length].fill(0);
        let (start, end) = (offset, offset + length as u64);
        for (&at, bytes) in self.0.borrow().range(..end) {
            let (from, to) = (at.max(start), (at + bytes.len() as u64).min(end));
            if from < to {
                let wanted = &bytes[(from - at) as usize..(to - at) as usize];
                buffer[(from - start) as usize..(to - start) as usize].copy_from_slice(wanted);
            }
        }
        let within = end <= self.size_bytes();
        let reason = || "beyond the end".to_owned();
        let error = || DeviceError { operation: "read", offset, length, reason: reason() };
        Box::pin(ready((if within { Ok(()) } else { Err(error()) }, buffer)))
    }

    fn write(&self, _: u64, _: usize, _: Buffer, _: Durability) -> IoFuture {
        panic!("recovery writes nothing")
    }

    fn flush(&self) -> FlushFuture {
        Box::pin(ready(Ok(())))
    }
}
