//! One shard, alive on its core: its state, its log, and the owners of its upkeep.
//!
//! Invariants:
//! - The index changes only in [`State::apply`], in the order of the log, after the record is durable; recovery runs
//!   the same code over the same records.
//! - Changes of one key follow each other: each holds the key's lock from its check until it is applied.
//! - Space is given back only when the record that freed it is durable, its readers are gone, and a checkpoint
//!   that does not name it is in force (law 6).

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::accounts::{Leftovers, ShardSpace};
use super::maintenance::{Checkpoints, Cleaner, Compactor, Peak, Upkeep};
use super::recover::Recovered;
use super::settings::Settings;
use super::state::State;
use super::surroundings::Surroundings;
use crate::device::flush::FlushGroup;
use crate::device::{Device, DeviceError};
use crate::env::Environment;
use crate::error::{EngineError, Result};
use crate::extent::Geometry;
use crate::format::record::{Mutation, SegmentV1};
use crate::format::scrub::ScrubState;
use crate::format::superblock::{ROOT_CHECKPOINT, ShardRootOnDisk};
use crate::hook::Bug;
use crate::log::RecordPlace;
use crate::log::writer::{Log, LogParts};
use crate::ring::Pool;
use crate::sync::locks::{KeyGuard, KeyLocks};
use crate::sync::oneshot;
use crate::types::BucketId;

/// What happens once a record is durable.
pub struct Commit {
    /// None: a barrier.
    pub(super) mutation: Option<Mutation>,
    /// Held until the change is applied, so that changes of one key follow each other.
    pub(super) guard: Option<KeyGuard>,
    /// Slices that are nobody's unless the record becomes durable.
    pub(super) reserved: Vec<SegmentV1>,
    /// It changes where an object's slices are, and nothing that a user sees.
    pub(super) relocates: bool,
    pub(super) reply: oneshot::Sender<Result<RecordPlace>>,
}

/// What a shard has written and read beside its log; for benchmarks and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardCounters {
    /// Bodies that became objects or parts: what users wrote.
    pub user_bytes: u64,
    /// Read by the cleaner.
    pub cleaner_read_bytes: u64,
    /// Slices moved to empty extents.
    pub relocated_bytes: u64,
    pub checkpoints: u64,
    pub checkpoint_bytes: u64,
}

/// What a shard is made of when its core opens it.
pub(crate) struct ShardParts {
    pub id: u16,
    pub drive: u16,
    pub geometry: Geometry,
    pub settings: Settings,
    pub surroundings: Rc<dyn Surroundings>,
    pub device: Rc<dyn Device>,
    pub flush: Rc<FlushGroup>,
    pub pool: Pool,
    pub environment: Rc<dyn Environment>,
    /// Its root in the superblock.
    pub root: Option<ShardRootOnDisk>,
    pub recovered: Recovered,
}

/// The owner of its keys, on one core.
pub struct Shard {
    pub id: u16,
    pub drive: u16,
    pub geometry: Geometry,
    pub(crate) settings: Settings,
    pub(super) surroundings: Rc<dyn Surroundings>,
    pub(crate) device: Rc<dyn Device>,
    pub(crate) flush: Rc<FlushGroup>,
    pub(crate) pool: Pool,
    pub(crate) environment: Rc<dyn Environment>,
    pub state: RefCell<State>,
    pub log: Log<Commit>,
    counters: Cell<ShardCounters>,
    pub(super) locks: KeyLocks,
    /// One takes a new extent of a kind at a time.
    pub(super) growing: KeyLocks,
    pub(super) upkeep: Upkeep,
    pub(super) checkpoints: Checkpoints,
    pub(super) cleaner: Cleaner,
    pub(super) compactor: Compactor,
    /// Where its scrub is.
    pub(crate) scrub: RefCell<ScrubState>,
}

impl Shard {
    /// A shard as recovery left it, whose log nobody writes yet.
    pub(crate) fn new(parts: ShardParts) -> Rc<Self> {
        let ShardParts { id, drive, geometry, settings, surroundings, device, flush, pool, .. } = parts;
        let (environment, recovered) = (parts.environment, parts.recovered);
        // Nobody wrote before the first life.
        let begun = geometry.epoch == 1 || geometry.planted.is(Bug::ContinueTornLog);
        let log = LogParts {
            shard: id,
            geometry,
            device: device.clone(),
            flush: flush.clone(),
            pool: pool.clone(),
            environment: environment.clone(),
        };
        let root = parts.root.filter(|root| root.kind.get() == ROOT_CHECKPOINT);
        Rc::new(Self {
            id,
            drive,
            geometry,
            settings,
            surroundings,
            device,
            flush,
            pool,
            environment,
            state: RefCell::new(recovered.state),
            log: Log::new(log, recovered.position, begun, recovered.by_copy),
            counters: Cell::default(),
            locks: KeyLocks::default(),
            growing: KeyLocks::default(),
            upkeep: Upkeep::default(),
            checkpoints: Checkpoints::new(root),
            cleaner: Cleaner::default(),
            compactor: Compactor::default(),
            scrub: RefCell::default(),
        })
    }

    pub(super) fn hash(&self, bucket: BucketId, key: &[u8]) -> u64 {
        self.settings.hash(bucket, key)
    }

    /// Law 3: a write failed, or a flush, which ends the writing of the whole drive.
    pub(crate) fn stop_writing(&self, error: &DeviceError) {
        self.end_writing();
        if error.operation == "flush" {
            self.surroundings.stop_drive(error);
        }
    }

    /// Refuses everything that waits and everything to come.
    pub(crate) fn end_writing(&self) {
        for commit in self.log.fail() {
            commit.reply.send(Err(EngineError::WritesStopped { shard: self.id }));
        }
    }

    /// What it has written and read beside its log.
    pub(crate) fn counters(&self) -> ShardCounters {
        self.counters.get()
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut ShardCounters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }

    /// The most that its checkpoints have taken since the start.
    pub(crate) fn checkpoint_peak(&self) -> Peak {
        self.checkpoints.peak()
    }

    /// Bytes: live (named by the index), dead (freed, waiting), reserved, owned but free.
    pub fn space(&self) -> ShardSpace {
        let state = self.state.borrow();
        let (objects, index_bytes) = (state.objects(), state.index_bytes());
        ShardSpace { objects, index_bytes, ..state.space.space(self.log.spare_count()) }
    }

    /// Every extent it owns, for the simulator's checks.
    pub(crate) fn extents(&self) -> Vec<u32> {
        let mut extents = self.state.borrow().space.extents();
        extents.extend(self.log.spare_extents());
        extents
    }

    /// Adds what it holds beside live objects, for the simulator's checks.
    pub(crate) fn count_leftovers(&self, sum: &mut Leftovers) {
        self.state.borrow().space.count_leftovers(sum);
        sum.spare_extents += self.log.spare_count();
        sum.held_locks += self.locks.held();
    }
}
