//! A shard, open on its core: its state, its log, and its maintenance.
//!
//! Invariants:
//! - The index changes only in [`State::apply`], in the order of the log, after the record is
//!   durable. Recovery runs the same code over the same records.
//! - Changes of one key are serialised: each holds the key's lock from its check until it is
//!   applied.
//! - Space is freed only when the record that freed it is durable, its readers are gone, and a
//!   checkpoint that does not name it is in force (law 6).

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use super::accounts::{Leftovers, ShardSpace};
use super::lock_clock::LockClock;
use super::maintenance::{Checkpoints, Cleaner, Compactor, Peak, Upkeep};
use super::quota::QuotaHold;
use super::recover::Recovered;
use super::settings::Settings;
use super::state::State;
use super::surroundings::Surroundings;
use crate::device::DeviceError;
use crate::env::Environment;
use crate::error::{EngineError, Result};
use crate::extent::sets::KIND_SLICES;
use crate::extent::{Geometry, Members, SetPlace, SetWriter};
use crate::format::record::{Mutation, SegmentV1};
use crate::format::scrub::ScrubState;
use crate::format::superblock::{ROOT_CHECKPOINT, ShardRootOnDisk};
use crate::hook::Bug;
use crate::lifecycle::LifecycleCounters;
use crate::log::RecordPlace;
use crate::log::writer::{Log, LogParts};
use crate::ring::Pool;
use crate::stripe::ReedSolomon;
use crate::sync::locks::{KeyGuard, KeyLocks};
use crate::sync::oneshot;
use crate::types::BucketId;

/// The part of a commit that travels with its record through the log, to be used once the record is
/// durable.
pub struct Commit {
    /// The change to apply; `None` for a barrier.
    pub(super) mutation: Option<Mutation>,
    /// The key's lock. It is held until the change is applied, so that changes of one key are
    /// serialised.
    pub(super) guard: Option<KeyGuard>,
    /// Slices that belong to nothing until the record is durable.
    pub(super) reserved: Vec<SegmentV1>,
    /// What the change adds to its bucket or takes from it, if the bucket has a quota.
    pub(super) quota: Option<QuotaHold>,
    /// The channel for the answer to the commit's caller.
    pub(super) reply: oneshot::Sender<Result<RecordPlace>>,
}

/// Counts of what a shard has written and read beside its log, for benchmarks and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardCounters {
    /// Bytes that users wrote: bodies that became objects or parts.
    pub user_bytes: u64,
    /// Bytes that the cleaner read.
    pub cleaner_read_bytes: u64,
    /// Bytes of slices that compaction copied.
    pub relocated_bytes: u64,
    pub checkpoints: u64,
    pub checkpoint_bytes: u64,
}

/// The parts from which a core makes a shard when it opens it.
pub(crate) struct ShardParts {
    pub id: u16,
    pub geometry: Geometry,
    pub settings: Settings,
    pub surroundings: Rc<dyn Surroundings>,
    pub writer: SetWriter,
    pub pool: Pool,
    /// The code of striped sets, if the node has such sets.
    pub codec: Option<Rc<ReedSolomon>>,
    pub environment: Rc<dyn Environment>,
    /// The shard's root in the superblock.
    pub root: Option<ShardRootOnDisk>,
    pub recovered: Recovered,
}

/// The owner of a part of all keys, on one core.
pub struct Shard {
    pub id: u16,
    pub geometry: Geometry,
    /// The sets of slices of which members are moved to other drives. Nothing new is placed there.
    pub(super) moving: RefCell<BTreeSet<u32>>,
    /// Members that sets had and have no more, whose extents are not given back yet.
    pub(super) left: RefCell<Vec<Members>>,
    pub(crate) settings: Settings,
    pub(super) surroundings: Rc<dyn Surroundings>,
    pub(crate) writer: SetWriter,
    pub(crate) pool: Pool,
    pub(super) codec: Option<Rc<ReedSolomon>>,
    pub(crate) environment: Rc<dyn Environment>,
    pub state: RefCell<State>,
    pub log: Log<Commit>,
    counters: Cell<ShardCounters>,
    pub(super) locks: KeyLocks,
    pub(super) lock_clock: LockClock,
    /// The newest time for which a record was queued, a Unix time in milliseconds.
    pub(super) time_queued: Cell<Option<u64>>,
    /// Locks under which a new extent is taken, one at a time for each use.
    pub(super) growing: KeyLocks,
    pub(super) upkeep: Upkeep,
    pub(super) checkpoints: Checkpoints,
    pub(super) cleaner: Cleaner,
    pub(super) compactor: Compactor,
    /// The progress of the shard's scrub.
    pub(crate) scrub: RefCell<ScrubState>,
    /// What the lifecycle rules of buckets have done here.
    pub(crate) lifecycle: Cell<LifecycleCounters>,
}

impl Shard {
    /// Makes a shard from what recovery found. Nothing writes its log yet.
    pub(crate) fn new(parts: ShardParts) -> Rc<Self> {
        let ShardParts { id, geometry, settings, surroundings, writer, pool, codec, .. } = parts;
        let (environment, recovered) = (parts.environment, parts.recovered);
        // Before the first life nobody wrote.
        let begun = geometry.epoch == 1 || geometry.planted.is(Bug::ContinueTornLog);
        #[cfg(not(feature = "planted-bugs"))]
        let log_writer = writer.clone();
        #[cfg(feature = "planted-bugs")]
        let log_writer = writer.with(|home, device, flush| {
            crate::device::planted::of_log((geometry.planted, home), device, flush, &pool, &environment)
        });
        let log = LogParts {
            shard: id,
            geometry,
            writer: log_writer,
            pool: pool.clone(),
            environment: environment.clone(),
        };
        let lock_clock = LockClock::new(recovered.state.clock_ms, environment.monotonic_us());
        let root = parts.root.filter(|root| root.kind.get() == ROOT_CHECKPOINT);
        Rc::new(Self {
            id,
            geometry,
            moving: RefCell::default(),
            left: RefCell::default(),
            settings,
            surroundings,
            writer,
            pool,
            codec,
            environment,
            state: RefCell::new(recovered.state),
            log: Log::new(log, recovered.position, begun, recovered.by_copy),
            counters: Cell::default(),
            locks: KeyLocks::default(),
            lock_clock,
            time_queued: Cell::new(None),
            growing: KeyLocks::default(),
            upkeep: Upkeep::default(),
            checkpoints: Checkpoints::new(root),
            cleaner: Cleaner::default(),
            compactor: Compactor::default(),
            scrub: RefCell::default(),
            lifecycle: Cell::default(),
        })
    }

    pub(super) fn hash(&self, bucket: BucketId, key: &[u8]) -> u64 {
        self.settings.hash(bucket, key)
    }

    /// Stops writing after a write or a flush failed (law 3). A flush that failed ends the writing
    /// of the whole drive.
    pub(crate) fn stop_writing(&self, error: &DeviceError) {
        self.end_writing();
        if error.operation == "flush" {
            self.surroundings.stop_drive(error);
        }
    }

    /// Fails all waiting commits and refuses all later ones.
    pub(crate) fn end_writing(&self) {
        for commit in self.log.fail() {
            commit.reply.send(Err(EngineError::WritesStopped { shard: self.id }));
        }
    }

    /// Returns what the shard has written and read beside its log.
    pub(crate) fn counters(&self) -> ShardCounters {
        self.counters.get()
    }

    /// Changes the counters.
    pub(super) fn count(&self, change: impl FnOnce(&mut ShardCounters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }

    /// Returns the most memory that the shard's checkpoints have taken since the start.
    pub(crate) fn checkpoint_peak(&self) -> Peak {
        self.checkpoints.peak()
    }

    /// Returns the bytes that are live (the index names them), dead (freed and waiting), reserved,
    /// and owned but free.
    pub fn space(&self) -> ShardSpace {
        let state = self.state.borrow();
        let (objects, index_bytes) = (state.objects(), state.index_bytes());
        ShardSpace { objects, index_bytes, ..state.space.space(self.log.spare_count()) }
    }

    /// Returns what [`Self::space`] does, with the bytes of further copies.
    pub(crate) fn space_of_copies(&self) -> ShardSpace {
        let is_slices = |place: SetPlace| self.state.borrow().space.sets.is(place.set, KIND_SLICES);
        let further = |place: SetPlace| {
            let own = if is_slices(place) { self.geometry.shape.data() } else { 1 };
            self.writer.drives.copies(place).count() as i64 - own as i64
        };
        let copies: i64 = match self.writer.drives.all().len() {
            1 => 0,
            _ => self.places().into_iter().map(further).sum(),
        };
        let copies_bytes = copies.max(0) as u64 * u64::from(self.geometry.extent_bytes);
        let mut space = ShardSpace { copies_bytes, ..self.space() };
        if self.geometry.shape.is_striped() {
            let whole = |place| self.writer.drives.copies(place).filter(|copy| copy.drive.is_whole()).count();
            space.striped_by_losses = self.state.borrow().space.striped_by_losses(whole);
        }
        space
    }

    /// Returns the place of every set that the shard owns.
    pub(crate) fn places(&self) -> Vec<SetPlace> {
        let mut places = self.state.borrow().space.places();
        places.extend(self.log.spare_sets());
        places
    }

    /// Returns the place of every set that there is, also of a checkpoint that is being written.
    pub(crate) fn all_sets(&self) -> Vec<SetPlace> {
        self.state.borrow().space.sets.all().map(|(place, _)| place).collect()
    }

    /// Adds what the shard holds beside live objects, for the simulator's checks.
    pub(crate) fn count_leftovers(&self, sum: &mut Leftovers) {
        self.state.borrow().space.count_leftovers(sum);
        sum.spare_extents += self.log.spare_count();
        sum.held_locks += self.locks.held();
    }
}
