//! A whole node on the simulator's thread.
//!
//! Invariant: cores share nothing here either. A message waits in the mailbox until a task of the
//! target core drains it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use crate::device::Device;
use crate::env::{Environment, LocalTask};
use crate::executor::{Odds, Simulator};
use crate::format::superblock::{COPIES, COPY_STRIDE, SUPERBLOCK_BYTES, SuperblockOnDisk};
use crate::node::cache::ReadCache;
use crate::node::format::{FormatError, Place, SLOT_BYTES, superblock, superblock_of};
use crate::node::layout::Layout;
use crate::node::new_drive::{NewDrive, Seats};
use crate::node::open::{CoreParts, MAILBOX_CAPACITY, choose_drives, missing_uuids, next_epoch, only};
use crate::node::replace::Replacement;
use crate::node::state::CoreState;
use crate::node::{Core, OnlineError, OpenError, Purpose, ReplaceError, SpaceReport};
use crate::ring::arena::CHUNK_BYTES;
use crate::ring::mailbox::{Mailbox, Notifier};
use crate::ring::{Buffer, RingError};
use crate::shard::CheckpointCut;
pub use crate::shard::Leftovers;
use crate::sim::device::SimDevice;
use crate::types::BucketId;

/// Longest time of a message that is not late, microseconds.
const MESSAGE_US_MAX: u64 = 20;

/// The options of opening a simulated node.
#[derive(Clone, Copy, Debug)]
pub struct SimOptions {
    pub cores: usize,
    pub arena_bytes_per_core: usize,
    /// Limit for the memory of the whole node's index, bytes.
    pub index_bytes_max: usize,
    /// Log bytes of one shard after which it writes a checkpoint.
    pub checkpoint_after_bytes: u64,
    pub checkpoint_cut: CheckpointCut,
    /// Dead bytes that one shard's log may always hold before it is cleaned. It is cleaned when
    /// more are dead than this and more are dead than live.
    pub dead_log_bytes_max: u64,
    /// Size of each core's read cache, bytes.
    pub read_cache_bytes_per_core: usize,
    /// Most messages on their way from one core to another before they overflow.
    pub mailbox_capacity: usize,
    /// Odds that a core is notified of messages late, and how late.
    pub late_messages: Odds,
    /// Odds that a core is paused after one of its tasks ran, and for how long. Its tasks are only
    /// those that the engine or [`SimNode::spawn`] started.
    pub core_stalls: Odds,
    /// The operator's word that the drives that are missing are gone for good.
    pub without_missing: bool,
    #[cfg(feature = "planted-bugs")]
    pub bug: Option<super::Bug>,
}

impl Default for SimOptions {
    fn default() -> Self {
        Self {
            cores: 1,
            arena_bytes_per_core: 16 << 20,
            index_bytes_max: 64 << 20,
            checkpoint_after_bytes: 3 << 20,
            checkpoint_cut: CheckpointCut::default(),
            dead_log_bytes_max: 8 << 20,
            read_cache_bytes_per_core: 256 << 10,
            mailbox_capacity: MAILBOX_CAPACITY,
            late_messages: Odds::default(),
            core_stalls: Odds::default(),
            without_missing: false,
            #[cfg(feature = "planted-bugs")]
            bug: None,
        }
    }
}

/// Formats a set of drives of `size_bytes` each for a node of `shards` shards. Extents have room
/// for `extent_slots` full slices; on a real drive of this size they would have room for one.
///
/// # Panics
/// Panics when a drive has not at least one extent more than the node has shards.
pub fn format_sim_drives(sim: &Simulator, drives: u16, sizes: (u64, u64), shards: u16) -> Vec<SimDevice> {
    format_sim_set(sim, drives, sizes, shards, 0)
}

/// Formats drives as [`format_sim_drives`] does, for a set that goes on without `failures_max` of them.
///
/// # Panics
/// Panics when a drive has not at least one extent more than the node has shards.
pub fn format_sim_set(
    sim: &Simulator,
    drives: u16,
    (size_bytes, extent_slots): (u64, u64),
    shards: u16,
    failures_max: u8,
) -> Vec<SimDevice> {
    format_striped_sim_set(sim, drives, (size_bytes, extent_slots), shards, (1, failures_max))
}

/// Formats drives as [`format_sim_set`] does, with slices in striped sets of so many data and parity members.
///
/// # Panics
/// Panics when a drive has not at least one extent more than the node has shards.
pub fn format_striped_sim_set(
    sim: &Simulator,
    drives: u16,
    (size_bytes, extent_slots): (u64, u64),
    shards: u16,
    (data_members, failures_max): (u8, u8),
) -> Vec<SimDevice> {
    let seed = [(); 4].map(|()| sim.random().next_u64());
    let format = |number| {
        let block = superblock(
            (size_bytes, extent_slots * SLOT_BYTES),
            Place { number, drives, shards, failures_max, data_members },
            seed,
            0,
        );
        assert!(
            block.extents.get() > u32::from(shards),
            "{size_bytes} bytes are too few for {shards} shards"
        );
        sim_drive(sim, &block)
    };
    (0..drives).map(format).collect()
}

/// Makes a drive of a set that is to take the place of the only one that is not among these.
///
/// # Errors
/// Returns the same errors as [`make_replacement`](crate::node::make_replacement).
pub fn make_sim_replacement(
    sim: &Simulator,
    set: &[SimDevice],
    size_bytes: u64,
) -> Result<SimDevice, ReplaceError> {
    make_sim_drive(sim, set, size_bytes, Purpose::default())
}

/// Makes a drive for a set that runs.
///
/// # Errors
/// Returns the same errors as [`make_replacement`](crate::node::make_replacement).
pub fn make_sim_drive(
    sim: &Simulator,
    set: &[SimDevice],
    size_bytes: u64,
    purpose: Purpose,
) -> Result<SimDevice, ReplaceError> {
    let path = Path::new("simulated drive");
    let mut blocks = Vec::new();
    for drive in set {
        blocks.push((path, read_superblock(drive)?));
    }
    let seed = [sim.random().next_u64(), sim.random().next_u64()];
    let block = Replacement::of(&blocks, purpose, seed)?.superblock(size_bytes, 0);
    Ok(sim_drive(sim, &block))
}

/// Makes a drive that has nothing but its superblock.
fn sim_drive(sim: &Simulator, block: &SuperblockOnDisk) -> SimDevice {
    let device = SimDevice::new(block.size_bytes.get());
    (0..COPIES as u64).for_each(|copy| device.poke(copy * COPY_STRIDE, block.bytes()));
    device.live_in(sim);
    device.seed_faults(sim.random().next_u64());
    device
}

/// A node that is open. Dropping it ends nothing; [`Simulator::kill`] does.
pub struct SimNode {
    sim: Simulator,
    states: Vec<Rc<CoreState>>,
    cores: Vec<Core>,
    coming: Rc<ComingDrives>,
}

/// The drives that were given to the node while it runs.
#[derive(Default)]
struct ComingDrives(RefCell<Vec<([u8; 16], SimDevice)>>);

impl Seats for ComingDrives {
    fn attach(&self, _: u16, drive: &NewDrive) -> Result<Rc<dyn Device>, String> {
        let drives = self.0.borrow();
        let found = drives.iter().rev().find(|(uuid, _)| *uuid == drive.uuid());
        found
            .map(|(_, device)| Rc::new(device.clone()) as _)
            .ok_or_else(|| "there is no such drive".to_owned())
    }

    fn detach(&self, _: u16) {}
}

/// Buffers that nobody else can take until this is dropped.
pub struct HeldBuffers {
    _held: Vec<Buffer>,
}

struct SimNotifier {
    sim: Simulator,
    late: Odds,
    peers: Rc<RefCell<Vec<Weak<CoreState>>>>,
}

impl Notifier for SimNotifier {
    fn notify(&self, target: usize) {
        let peer = self.peers.borrow().get(target).cloned().unwrap_or_default();
        let random = self.sim.random();
        let takes_us = self.late.draw(random).unwrap_or_else(|| 1 + random.below(MESSAGE_US_MAX));
        let delay = self.sim.sleep_us(takes_us);
        self.sim.spawn_on(target, async move {
            delay.await;
            if let Some(peer) = peer.upgrade() {
                peer.receive();
            }
        });
    }
}

/// The environment of one core. Tasks that it starts are paused with the core.
struct SimEnvironment {
    sim: Simulator,
    core: usize,
}

impl Environment for SimEnvironment {
    fn wall_clock_ms(&self) -> u64 {
        self.sim.wall_clock_ms()
    }

    fn monotonic_us(&self) -> u64 {
        self.sim.monotonic_us()
    }

    fn random_u64(&self) -> u64 {
        self.sim.random_u64()
    }

    fn spawn(&self, task: LocalTask) {
        self.sim.spawn_boxed(Some(self.core), task);
    }

    fn sleep(&self, milliseconds: u64) -> LocalTask {
        self.sim.sleep(milliseconds)
    }
}

impl SimNode {
    /// Opens `drives` as they are, and recovers every shard.
    ///
    /// # Errors
    /// Returns the same errors as a real node.
    pub async fn open(
        sim: Simulator,
        drives: Vec<SimDevice>,
        options: SimOptions,
    ) -> Result<Self, OpenError> {
        #[cfg(feature = "planted-bugs")]
        if options.bug == Some(super::Bug::OpenUnderOldWrites) {
            drives.iter().for_each(SimDevice::let_dead_operations_go_on);
        }
        drives.iter().for_each(SimDevice::end_dead_operations);
        sim.set_core_stalls(options.core_stalls);
        let superblocks = drives.iter().map(read_superblock).collect::<Result<Vec<_>, _>>()?;
        let path = Path::new("simulated drive");
        let members: Vec<_> = superblocks.iter().map(|block| (path, block)).collect();
        let gone: Vec<[u8; 16]> = match options.without_missing {
            true => missing_uuids(superblocks.iter()),
            false => Vec::new(),
        };
        let chosen = choose_drives(&members, &gone)?;
        let epoch = next_epoch(superblocks.iter());
        let opened = chosen.opened(&members);
        let (superblocks, drives) = (only(superblocks, &opened), only(drives, &opened));
        let mut layout = Layout::new(options.cores, superblocks, epoch, options.index_bytes_max);
        layout.add_seats();
        layout.start.leave_for_good(&gone);
        layout.set_maintenance(options.checkpoint_after_bytes, options.dead_log_bytes_max);
        layout.cut_checkpoints(options.checkpoint_cut);
        #[cfg(feature = "planted-bugs")]
        layout.plant(options.bug);
        let layout = Arc::new(layout);
        let peers: Rc<RefCell<Vec<Weak<CoreState>>>> = Rc::default();
        let coming: Rc<ComingDrives> = Rc::default();
        let mut states = Vec::new();
        let mailboxes = Mailbox::mesh(options.cores, options.mailbox_capacity);
        for (index, mailbox) in mailboxes.into_iter().enumerate() {
            let pool = sim.pool(index, options.arena_bytes_per_core).map_err(RingError::Arena)?;
            let notifier =
                SimNotifier { sim: sim.clone(), late: options.late_messages, peers: peers.clone() };
            let parts = CoreParts {
                environment: Rc::new(SimEnvironment { sim: sim.clone(), core: index }),
                pool,
                cache: ReadCache::new(options.read_cache_bytes_per_core),
                devices: drives.iter().map(|drive| Rc::new(drive.clone()) as Rc<dyn Device>).collect(),
                seats: coming.clone(),
                notifier: Rc::new(notifier),
            };
            states.push(parts.assemble(index, layout.clone(), mailbox));
        }
        *peers.borrow_mut() = states.iter().map(Rc::downgrade).collect();
        let cores: Vec<_> = states.iter().cloned().map(Core::simulated).collect();
        // The error of the shard itself says more than "elsewhere".
        let opened = futures_util::future::join_all(cores.iter().map(Core::open)).await;
        let mut errors: Vec<_> = opened.into_iter().filter_map(Result::err).collect();
        errors.sort_by_key(|error| matches!(error, OpenError::Elsewhere));
        match errors.into_iter().next() {
            Some(error) => Err(error),
            None => Ok(Self { sim, states, cores, coming }),
        }
    }

    /// Returns the numbers of the drives in the view in use.
    pub fn drive_numbers(&self) -> Vec<u16> {
        let Some(state) = self.states.first() else { return Vec::new() };
        state.places_in_view().map(|place| state.number_of(place)).collect()
    }

    /// Returns the numbers of the drives in the view in use that hold all that they were given.
    pub fn whole_drives(&self) -> Vec<u16> {
        self.states.first().map(|state| state.numbers_of_whole()).unwrap_or_default()
    }

    /// Gives the node a drive while it runs, as `ringbolt drive online` does. Returns its number.
    ///
    /// # Errors
    /// Returns the same errors as a real node, or [`OnlineError::Unknown`] for what is no drive.
    pub async fn take_drive(&self, drive: &SimDevice) -> Result<u16, OnlineError> {
        let block = read_superblock(drive).map_err(|_| OnlineError::Unknown)?;
        let new = NewDrive::simulated(block);
        self.coming.0.borrow_mut().push((new.uuid(), drive.clone()));
        self.any_core().take_drive(new).await
    }

    /// Returns a core of the node; the number is taken modulo the number of cores.
    pub fn core(&self, index: usize) -> Core {
        self.cores[index % self.cores.len()].clone()
    }

    /// Returns a core that the seed chooses, as for the next connection.
    pub fn any_core(&self) -> Core {
        self.core(self.sim.random().below(self.cores.len() as u64) as usize)
    }

    /// Starts a task on a core. It is paused with the core, as a client's connection would be.
    pub fn spawn(&self, core: &Core, task: impl Future<Output = ()> + 'static) {
        self.sim.spawn_on(core.index(), task);
    }

    /// Takes the free chunks of a core's buffers that bodies may have, all but `left` of them,
    /// until the result is dropped.
    pub fn hold_buffers(&self, core: usize, left: usize) -> HeldBuffers {
        let pool = &self.states[core % self.states.len()].pool;
        let mut held: Vec<Buffer> = std::iter::from_fn(|| pool.try_take(CHUNK_BYTES)).collect();
        held.truncate(held.len().saturating_sub(left));
        HeldBuffers { _held: held }
    }

    /// Writes a checkpoint of every shard.
    ///
    /// # Errors
    /// Returns a description of the first failure, after all shards were tried.
    pub async fn checkpoint(&self) -> Result<(), String> {
        let mut outcome = Ok(());
        for shard in self.states.iter().flat_map(|state| state.own_shards()) {
            let done = shard.checkpoint().await.map_err(|error| format!("shard {}: {error}", shard.id));
            outcome = outcome.and(done);
        }
        outcome
    }

    /// Runs the cleaner of every shard.
    ///
    /// # Errors
    /// Returns a description of the first failure, which ends it.
    pub async fn clean(&self) -> Result<(), String> {
        for shard in self.states.iter().flat_map(|state| state.own_shards()) {
            shard.clean().await.map_err(|error| format!("shard {}: {error}", shard.id))?;
        }
        Ok(())
    }

    /// Runs the compaction of every shard.
    ///
    /// # Errors
    /// Returns a description of the first failure, which ends it.
    pub async fn compact(&self) -> Result<(), String> {
        for shard in self.states.iter().flat_map(|state| state.own_shards()) {
            shard.compact().await.map_err(|error| format!("shard {}: {error}", shard.id))?;
        }
        Ok(())
    }

    /// Returns the bytes of slices that were moved since the node was opened.
    pub fn relocated_bytes(&self) -> u64 {
        self.cores.iter().map(|core| core.counters().relocated_bytes).sum()
    }

    /// Writes a record that changes nothing to every shard's log. After it, every batch before it
    /// is known as durable.
    ///
    /// # Errors
    /// Returns an error when a shard writes no more.
    pub async fn fence(&self) -> Result<(), String> {
        for shard in self.states.iter().flat_map(|state| state.own_shards()) {
            shard.fence().await.map_err(|error| format!("shard {}: {error}", shard.id))?;
        }
        Ok(())
    }

    /// Returns the space of the node, and asserts that nothing is missing. It must be called only
    /// when no request is running.
    ///
    /// # Panics
    /// Panics when live + dead + reserved + free is not what the drives have.
    pub async fn space(&self) -> SpaceReport {
        let report = match self.cores[0].space().await {
            Ok(report) => report,
            Err(error) => panic!("space is always known: {error}"),
        };
        let sum = report.live_bytes
            + report.dead_bytes
            + report.reserved_bytes
            + report.free_bytes
            + report.copies_bytes;
        assert_eq!(sum, report.physical_bytes, "space is missing or counted twice: {report:?}");
        report
    }

    /// Checks what must hold at any moment, whatever is running: the space of each shard adds up,
    /// and no extent has two owners (laws 4 to 6). Extents on their way between a shard and its
    /// allocator belong to nobody here.
    ///
    /// # Panics
    /// Panics when it does not hold.
    pub fn audit(&self) {
        let mut owners: BTreeMap<(u16, u32), String> = BTreeMap::new();
        let mut own = |drive: u16, extent: u32, owner: String| {
            if let Some(other) = owners.insert((drive, extent), owner.clone()) {
                panic!("extent {extent} of drive {drive} belongs to {other} and to {owner}");
            }
        };
        for state in &self.states {
            for shard in state.own_shards() {
                let space = shard.space();
                assert!(space.adds_up(), "the space of shard {} does not add up: {space:?}", shard.id);
                for member in shard.places().iter().flat_map(|place| place.members.iter()) {
                    // What lies on a drive that is not here is not accounted for.
                    if let Some(drive) = state.place_of(member.drive) {
                        own(drive, member.extent, format!("shard {}", shard.id));
                    }
                }
            }
            for (drive, allocator) in &*state.allocators.borrow() {
                let free = if allocator.is_ready() { allocator.free_extents() } else { Vec::new() };
                free.into_iter().for_each(|extent| own(*drive, extent, "nobody".to_owned()));
            }
        }
    }

    /// Returns the extents of a drive that nobody has, by the drive's number in the view.
    pub fn free_extents_on(&self, drive: u16) -> BTreeSet<u32> {
        let allocators = self.states.iter().flat_map(|state| {
            let place = state.place_of(drive);
            state.own_allocators().into_iter().filter(move |(at, _)| Some(*at) == place)
        });
        allocators.flat_map(|(_, allocator)| allocator.free_extents()).collect()
    }

    /// Returns the extents that sets have on a drive, by the drive's number in the view.
    pub fn named_extents_on(&self, drive: u16) -> BTreeSet<u32> {
        let shards = self.states.iter().flat_map(|state| state.own_shards());
        shards.flat_map(|shard| shard.places()).filter_map(|place| place.members.on(drive)).collect()
    }

    /// Returns what the node holds beside live objects.
    pub fn leftovers(&self) -> Leftovers {
        let mut sum = Leftovers::default();
        for state in &self.states {
            sum.writers += state.bodies.count();
            sum.held_locks += state.bucket_locks.held();
            for shard in state.own_shards() {
                shard.count_leftovers(&mut sum);
            }
        }
        sum
    }

    /// Returns the bytes and versions that the ledger of a bucket's quota counts, or `None` when the
    /// bucket has none.
    pub fn quota_counted(&self, bucket: BucketId) -> Option<(u64, u64)> {
        self.states.iter().find_map(|state| state.ledgers.counted(bucket))
    }

    /// Returns the number of free extents over all drives, including those that are held back.
    pub fn free_extents(&self) -> u32 {
        let allocators = self.states.iter().flat_map(|state| {
            let here = state.own_allocators().into_iter().filter(|(drive, _)| !state.has_left(*drive));
            here.map(|(_, allocator)| allocator).collect::<Vec<_>>()
        });
        allocators.map(|allocator| allocator.room().free).sum()
    }
}

fn read_superblock(device: &SimDevice) -> Result<SuperblockOnDisk, FormatError> {
    let read = |offset| Ok(device.peek(offset, SUPERBLOCK_BYTES));
    superblock_of(Path::new("simulated drive"), device.size_bytes(), read)
}
