//! Opening a set of drives, and starting a core.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::sync::atomic::AtomicI32;

use super::barrier::PhaseBarrier;
use super::bodies::Bodies;
use super::bucket_map::BucketMap;
use super::cache::ReadCache;
use super::core::Core;
use super::error::OpenError;
use super::format::{given_twice, read_superblock, uuid_text};
use super::layout::{Layout, holds_nothing, joining, newest_view};
use super::ledger::Ledgers;
use super::message::Message;
use super::new_drive::{RingSeats, Seats};
use super::opening::Opening;
use super::state::{CoreState, Drive};
use super::view_change::LossesOfCore;
use super::views::Views;
use crate::device::Device;
use crate::device::file::OpenDrive;
use crate::device::latch::LatchedDevice;
use crate::device::pace::Paces;
use crate::device::seat::SeatDevice;
use crate::device::uring::UringDevice;
use crate::device::watch::Part;
use crate::env::Environment;
use crate::extent::allocator::ExtentAllocator;
use crate::extent::{DriveNumber, Drives, Reached, SetWriter};
use crate::format::superblock::{
    DRIVE_EMPTIED, DRIVE_IN, DRIVE_OUT, SuperblockOnDisk, VIEW_DRIVES, ViewDriveOnDisk, ViewOnDisk,
};
use crate::ring::driver::Driver;
use crate::ring::mailbox::{Mailbox, Notifier};
use crate::ring::{Pool, Ring, RingError};
use crate::stripe::ReedSolomon;
use crate::sync::calls::Calls;
use crate::sync::locks::KeyLocks;
use crate::types::rules::DAY_MS;
use crate::view::{DriveSet, Rules};

/// Most messages on their way from one core to another before they overflow.
pub(crate) const MAILBOX_CAPACITY: usize = 4096;

/// The options of opening a node.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    pub drives: Vec<PathBuf>,
    /// UUIDs of drives that are gone for good, by the operator's word.
    pub without_drives: Vec<[u8; 16]>,
    pub cores: usize,
    /// Size of one core's I/O buffers, bytes.
    pub arena_bytes_per_core: usize,
    /// Limit for the memory of the whole node's index, bytes.
    pub index_bytes_max: usize,
    /// Size of each core's read cache, bytes. With 0, nothing is cached.
    pub read_cache_bytes_per_core: usize,
    /// Set to register the buffers with the ring, which needs memlock.
    pub register_buffers: bool,
    /// How far the wall clock may step ahead and still end retentions, milliseconds. It is a day by
    /// default ([`DAY_MS`](crate::types::rules::DAY_MS)).
    pub clock_step_max_ms: u64,
}

/// The entry point for opening a node.
pub struct NodePlan;

impl NodePlan {
    /// Locks the drives, reads their superblocks, and assigns the shards to cores. It blocks, and
    /// must be called before the core threads start.
    ///
    /// # Errors
    /// Returns an [`OpenError`] that says what to do.
    pub fn open(options: NodeOptions) -> Result<Vec<CoreSeed>, OpenError> {
        Self::open_with(options, |_| ())
    }

    /// Opens a node like [`NodePlan::open`], records everything that is written to the drives, and
    /// runs maintenance as often as a test wants it.
    ///
    /// # Errors
    /// Returns the same errors as [`NodePlan::open`].
    #[cfg(feature = "record")]
    pub fn open_recorded(
        options: NodeOptions,
        recorder: &crate::device::record::Recorder,
        checkpoint_after_bytes: u64,
        dead_log_bytes_max: u64,
    ) -> Result<Vec<CoreSeed>, OpenError> {
        let often = |layout: &mut Layout| layout.set_maintenance(checkpoint_after_bytes, dead_log_bytes_max);
        let mut seeds = Self::open_with(options, often)?;
        seeds.iter_mut().for_each(|seed| seed.recorder = Some(recorder.clone()));
        Ok(seeds)
    }

    fn open_with(options: NodeOptions, adjust: impl FnOnce(&mut Layout)) -> Result<Vec<CoreSeed>, OpenError> {
        if let Some(path) = given_twice(&options.drives) {
            return Err(OpenError::Twice { path: path.to_owned() });
        }
        let drives = options
            .drives
            .iter()
            .map(|path| {
                let drive = OpenDrive::open(path)?;
                let superblock = read_superblock(&drive)?;
                Ok((drive, superblock))
            })
            .collect::<Result<Vec<_>, OpenError>>()?;
        let members: Vec<(&Path, &SuperblockOnDisk)> =
            drives.iter().map(|(drive, superblock)| (drive.path.as_path(), superblock)).collect();
        let chosen = choose_drives(&members, &options.without_drives)?;
        for at in &chosen.stale {
            let path = members[*at].0.display();
            tracing::warn!(%path, "this drive is out of the view of its set: what it holds is old, and is not used");
        }
        for at in &chosen.returning {
            let path = members[*at].0.display();
            tracing::info!(%path, "this drive is out of the view of its set; it is brought up to date and comes back");
        }
        for at in &chosen.joining {
            let path = members[*at].0.display();
            tracing::info!(%path, "this drive is new to its set; it is brought up to date and takes its place");
        }
        for number in &chosen.absent {
            tracing::warn!(drive = number, "a drive of the set is absent; going on without it");
        }
        for number in &chosen.away {
            tracing::warn!(
                drive = number,
                "a drive of the set has left its view before, and is absent; it is lacked"
            );
        }
        let epoch = next_epoch(drives.iter().map(|(_, superblock)| superblock));
        let opened = chosen.opened(&members);
        let (drives, superblocks): (Vec<_>, Vec<_>) = only(drives, &opened).into_iter().unzip();
        let mut layout = Layout::new(options.cores, superblocks, epoch, options.index_bytes_max);
        layout.add_seats();
        layout.start.leave_for_good(&options.without_drives);
        layout.limit_clock_step(options.clock_step_max_ms);
        adjust(&mut layout);
        let layout = Arc::new(layout);
        let drives: Arc<Vec<_>> = Arc::new(drives.into_iter().map(Arc::new).collect());
        let peers: Arc<Vec<AtomicI32>> = Arc::new((0..options.cores).map(|_| AtomicI32::new(-1)).collect());
        let mesh = Mailbox::mesh(options.cores, MAILBOX_CAPACITY);
        let seeds = mesh.into_iter().enumerate().map(|(index, mailbox)| CoreSeed {
            index,
            layout: layout.clone(),
            drives: drives.clone(),
            peers: peers.clone(),
            mailbox,
            arena_bytes: options.arena_bytes_per_core,
            read_cache_bytes: options.read_cache_bytes_per_core,
            register_buffers: options.register_buffers,
            #[cfg(feature = "record")]
            recorder: None,
        });
        Ok(seeds.collect())
    }
}

/// Returns the epoch of the next life: one more than any of these drives has promised.
pub(crate) fn next_epoch<'a>(drives: impl Iterator<Item = &'a SuperblockOnDisk>) -> u32 {
    drives.map(|superblock| superblock.promised_epoch.get()).max().unwrap_or(0) + 1
}

/// What a start does with the drives that it was given.
#[derive(Debug)]
pub(crate) struct Chosen {
    /// Those that it goes on with, by their places in the list.
    pub kept: Vec<usize>,
    /// Those that are out of the view, and come back once they are brought up to date: what they hold is
    /// old.
    pub returning: Vec<usize>,
    /// Those that no view knows yet, and that take the place of others.
    pub joining: Vec<usize>,
    /// Those that are out of the view for good.
    pub stale: Vec<usize>,
    /// The numbers of the drives of the view that are absent.
    pub absent: Vec<u16>,
    /// The numbers of those that had left the view before, are absent, and were not replaced.
    pub away: Vec<u16>,
}

impl Chosen {
    /// Returns the places of the drives that the node opens, in the order of their numbers.
    pub fn opened(&self, drives: &[(&Path, &SuperblockOnDisk)]) -> Vec<usize> {
        let mut opened = [self.kept.as_slice(), &self.returning, &self.joining].concat();
        opened.sort_by_key(|at| drives[*at].1.drive_number.get());
        opened
    }
}

/// Decides by the rules of views whether a start may go on with these drives of one set, and with which of
/// them. `gone` are the drives that are gone for good by the operator's word. Without redundancy a start
/// needs every drive of the newest view.
///
/// # Errors
/// Returns [`OpenError::NoDrives`], [`OpenError::OtherSet`], [`OpenError::Twice`],
/// [`OpenError::TwoViews`], [`OpenError::Dropped`], [`OpenError::GivenAndGone`],
/// [`OpenError::GivenAndReplaced`], [`OpenError::Outdated`], [`OpenError::Unknown`], [`OpenError::Missing`] or
/// [`OpenError::TooFew`] otherwise.
pub(crate) fn choose_drives(
    drives: &[(&Path, &SuperblockOnDisk)],
    gone: &[[u8; 16]],
) -> Result<Chosen, OpenError> {
    let Some((_, block)) = drives.first() else { return Err(OpenError::NoDrives) };
    let (view, bases) = newest_view(drives.iter().map(|(_, block)| *block));
    let seen = are_of_one_set(drives, view, gone)?;
    let rules = Rules { failures_max: u32::from(block.parity_members) };
    let (mut kept, mut stale) = (Vec::new(), Vec::new());
    for (at, (path, other)) in drives.iter().enumerate() {
        if other.view.number() == view.number() && other.view != *view {
            return Err(OpenError::TwoViews { path: path.to_path_buf() });
        }
        match view.drives_in().any(|drive| drive.uuid == other.drive_uuid) {
            true => kept.push(at),
            false if rules.failures_max == 0 => return Err(OpenError::Dropped { path: path.to_path_buf() }),
            false => stale.push(at),
        }
    }
    let knows = |other: &SuperblockOnDisk, uuid| other.view.drives_in().any(|drive| drive.uuid == uuid);
    // Its lives were also those of a drive that goes on now.
    let is_of_this_history = |other: &SuperblockOnDisk| {
        holds_nothing(other) || kept.iter().any(|at| knows(other, drives[*at].1.drive_uuid))
    };
    let may_return = |at: &usize| {
        let (_, other) = drives[*at];
        let is_out = |drive: &ViewDriveOnDisk| {
            (drive.state.get(), drive.number, drive.uuid) == (DRIVE_OUT, other.drive_number, other.drive_uuid)
        };
        view.drives.iter().any(is_out) && is_of_this_history(other)
    };
    for (path, other) in stale.iter().map(|at| drives[*at]) {
        // A view that was used and is without all drives that go on now: both went on without the other.
        let was_used = other.bases().next().is_none();
        if was_used && !is_of_this_history(other) {
            return Err(OpenError::TwoHistories { path: path.to_path_buf() });
        }
    }
    let joining = joining_drives(view, drives, &seen)?;
    let slots = |is_meant: &dyn Fn(&ViewDriveOnDisk) -> bool| -> DriveSet {
        let known = view.known().iter().filter(|slot| is_meant(&view.drives[usize::from(*slot)]));
        known.collect()
    };
    if let Some(uuid) = gone.iter().find(|uuid| slots(&|drive| drive.uuid == **uuid).is_empty()) {
        return Err(OpenError::Unknown { uuid: uuid_text(uuid) });
    }
    let present = slots(&|drive| seen.contains(&drive.uuid));
    // That a drive was made to take the place of another one is no word: that one may have gone on since.
    let gone = view.gone() | slots(&|drive| gone.contains(&drive.uuid));
    let members = view.members();
    let lacks_a_home = |shard: &u16| !Rules::has_home(view.homes(*shard), present);
    let homeless: Vec<u16> = (0..block.shards.get()).filter(lacks_a_home).collect();
    let is_here = |number: u16| {
        view.drives_in().any(|drive| drive.number.get() == number && seen.contains(&drive.uuid))
    };
    // What was lost before counts too, since no view says how much of each stripe is left.
    let is_readable = block.data_members == 1 || view.lacking(is_here) <= rules.failures_max;
    let is_enough = is_readable && rules.may_start(members, bases, present);
    let drive_at = |slot: u16| &view.drives[usize::from(slot)];
    let missing = (members - present).iter().map(|slot| drive_at(slot).number.get()).collect();
    if homeless.is_empty() && (is_enough || Rules::is_nothing_missing(view.known(), present, gone)) {
        stale.retain(|at| !joining.contains_key(at));
        let (returning, stale) = stale.into_iter().partition(may_return);
        let has_left = |drive: &&ViewDriveOnDisk| {
            let number = drive.number.get();
            let is_replaced =
                view.successor_of(number).is_some() || joining.values().any(|it| *it == Some(number));
            !matches!(drive.state.get(), DRIVE_IN | DRIVE_EMPTIED)
                && !seen.contains(&drive.uuid)
                && !is_replaced
        };
        let away = view.drives_known().filter(has_left).map(|drive| drive.number.get()).collect();
        let joining = joining.into_keys().collect();
        return Ok(Chosen { kept, returning, joining, stale, absent: missing, away });
    }
    let (expected, given) = (members.len() as u16, kept.len());
    if rules.failures_max == 0 {
        return Err(OpenError::Missing { expected, given, missing });
    }
    if let Some(shard) = homeless.first() {
        let homes = view.homes(*shard).iter().map(|slot| uuid_text(&drive_at(slot).uuid)).collect::<Vec<_>>();
        let (shards, homes) = (homeless.len(), homes.join(" or "));
        return Err(OpenError::NoHome { shards, shard: *shard, homes });
    }
    let unnamed = (view.known() - present - gone).iter();
    let word = |slot| format!("--without-drive {}", uuid_text(&drive_at(slot).uuid));
    let words = unnamed.map(word).collect::<Vec<_>>();
    Err(OpenError::TooFew { expected, given, missing, words: words.join(" ") })
}

/// Checks that drives are of one set with what all of its drives have alike, each once, and none that is `gone`.
/// Returns their UUIDs.
fn are_of_one_set(
    drives: &[(&Path, &SuperblockOnDisk)],
    view: &ViewOnDisk,
    gone: &[[u8; 16]],
) -> Result<BTreeSet<[u8; 16]>, OpenError> {
    let Some((first, block)) = drives.first() else { return Err(OpenError::NoDrives) };
    let mut seen = BTreeSet::new();
    for (path, other) in drives {
        if other.set_uuid != block.set_uuid {
            return Err(OpenError::OtherSet { path: path.to_path_buf(), first: first.to_path_buf() });
        }
        let named = view.drives_known().find(|drive| drive.uuid == other.drive_uuid);
        let unlike = (other.shards, other.hash_key, other.data_members, other.parity_members)
            != (block.shards, block.hash_key, block.data_members, block.parity_members)
            || block.parity_members > 0 && other.extent_bytes != block.extent_bytes
            || named.is_some_and(|named| named.number != other.drive_number);
        if unlike {
            return Err(OpenError::Unlike { path: path.to_path_buf(), first: first.to_path_buf() });
        }
        if !seen.insert(other.drive_uuid) {
            return Err(OpenError::Twice { path: path.to_path_buf() });
        }
        if gone.contains(&other.drive_uuid) {
            return Err(OpenError::GivenAndGone { path: path.to_path_buf() });
        }
    }
    Ok(seen)
}

/// Returns the drives that the newest view does not know and that are to take the place of others: their places
/// in the list, with the number of the drive that is gone.
fn joining_drives(
    view: &ViewOnDisk,
    drives: &[(&Path, &SuperblockOnDisk)],
    given: &BTreeSet<[u8; 16]>,
) -> Result<BTreeMap<usize, Option<u16>>, OpenError> {
    let mut joining_drives = BTreeMap::new();
    let mut numbers: BTreeSet<u16> = view.drives_known().map(|drive| drive.number.get()).collect();
    for (at, (path, block)) in drives.iter().enumerate() {
        if view.drives_known().any(|drive| drive.uuid == block.drive_uuid) {
            continue;
        }
        let path = || path.to_path_buf();
        let is_free = numbers.insert(block.drive_number.get()) && numbers.len() <= VIEW_DRIVES;
        let own = joining(view, block).filter(|_| is_free);
        let Some(own) = own else { return Err(OpenError::Outdated { path: path() }) };
        let Some(replaced) = own.replaced() else {
            joining_drives.insert(at, None);
            continue;
        };
        // The number may be that of another drive, if the one that this was made with was cut off.
        let meant = block.view.drives_known().find(|drive| drive.number.get() == replaced);
        let named = view.drives_known().find(|drive| meant.is_some_and(|meant| meant.uuid == drive.uuid));
        let is_taken =
            view.successor_of(replaced).is_some() || joining_drives.values().any(|it| *it == Some(replaced));
        match named {
            Some(named) if given.contains(&named.uuid) => {
                return Err(OpenError::GivenAndReplaced { path: path(), number: replaced });
            }
            Some(_) if !is_taken => drop(joining_drives.insert(at, Some(replaced))),
            _ => return Err(OpenError::Outdated { path: path() }),
        }
    }
    Ok(joining_drives)
}

/// Returns the UUIDs of the drives that were ever in the set and are not among these.
pub(crate) fn missing_uuids<'a>(blocks: impl Iterator<Item = &'a SuperblockOnDisk> + Clone) -> Vec<[u8; 16]> {
    let (view, _) = newest_view(blocks.clone());
    let slots = view.known().iter().map(|slot| &view.drives[usize::from(slot)]);
    let is_here = |uuid: &[u8; 16]| blocks.clone().any(|block| block.drive_uuid == *uuid);
    slots.map(|drive| drive.uuid).filter(|uuid| !is_here(uuid)).collect()
}

/// Returns those of a list that are at these places, in the order of the places.
pub(crate) fn only<T>(all: Vec<T>, places: &[usize]) -> Vec<T> {
    let mut all: Vec<Option<T>> = all.into_iter().map(Some).collect();
    places.iter().filter_map(|at| all.get_mut(*at)?.take()).collect()
}

/// Everything that one core's thread needs to start.
pub struct CoreSeed {
    index: usize,
    layout: Arc<Layout>,
    drives: Arc<Vec<Arc<OpenDrive>>>,
    peers: Arc<Vec<AtomicI32>>,
    mailbox: Mailbox<Message<CoreState>>,
    arena_bytes: usize,
    read_cache_bytes: usize,
    register_buffers: bool,
    #[cfg(feature = "record")]
    recorder: Option<crate::device::record::Recorder>,
}

impl CoreSeed {
    pub fn core_index(&self) -> usize {
        self.index
    }

    /// Returns how far the opening of the whole node is, which changes while cores open it.
    pub fn opening(&self) -> Arc<Opening> {
        self.layout.opening.clone()
    }

    /// Makes the core's ring and buffers. It must run on the core's own thread; then [`Core::open`]
    /// is awaited.
    ///
    /// # Errors
    /// Returns an error when the machine refuses the ring or the memory.
    pub fn start(self, environment: Rc<dyn Environment>) -> Result<Core, OpenError> {
        let pool = Pool::new(self.arena_bytes).map_err(RingError::Arena)?;
        let mut files: Vec<i32> = self.drives.iter().map(|drive| drive.file.as_raw_fd()).collect();
        files.resize(usize::from(self.layout.places()), -1);
        let ring = Ring::new(self.index, self.peers, &files, pool.clone(), self.register_buffers)?;
        let device = |(at, drive): (usize, &Arc<OpenDrive>)| {
            Rc::new(UringDevice::new(ring.clone(), at as u32, drive)) as Rc<dyn Device>
        };
        let devices = self.drives.iter().enumerate().map(device);
        #[cfg(feature = "record")]
        let devices = devices.map(|device| match &self.recorder {
            Some(recorder) => recorder.wrap(device),
            None => device,
        });
        let devices = devices.collect();
        let cache = ReadCache::new(self.read_cache_bytes);
        let driver = Driver::new(ring.clone(), environment.clone());
        let (notifier, seats) = (Rc::new(ring.clone()), Rc::new(RingSeats(ring.clone())));
        let parts = CoreParts { environment, pool, cache, devices, seats, notifier };
        let state = parts.assemble(self.index, self.layout, self.mailbox);
        // They stay open and locked as long as any core has them.
        let kept = state.drives.iter().zip(self.drives.iter());
        kept.for_each(|(drive, open)| drop(drive.kept_open.replace(Some(open.clone()))));
        let weak = Rc::downgrade(&state);
        ring.on_message(Rc::new(move || {
            if let Some(state) = weak.upgrade() {
                state.receive();
            }
        }));
        // Messages that were sent before this ring could be notified are received now.
        state.receive();
        Ok(Core::new(state, Some(driver)))
    }
}

/// The surroundings of a core, real or simulated.
pub struct CoreParts {
    pub environment: Rc<dyn Environment>,
    pub pool: Pool,
    pub cache: ReadCache,
    pub devices: Vec<Rc<dyn Device>>,
    pub seats: Rc<dyn Seats>,
    pub notifier: Rc<dyn Notifier>,
}

impl CoreParts {
    /// Makes a core that has no shards yet.
    pub fn assemble(
        self,
        index: usize,
        layout: Arc<Layout>,
        mailbox: Mailbox<Message<CoreState>>,
    ) -> Rc<CoreState> {
        let environment = self.environment;
        let paces = Paces::new(environment.clone());
        let latch = |place, device| LatchedDevice::new(device, layout.latch(place), index);
        let drive = |(place, device)| {
            let number = DriveNumber::new(layout.geometry_of(place).drive);
            let part = part_of(&layout, place);
            Drive::new(latch(place, device), (number, None), &environment, &self.pool, part, &paces)
        };
        let mut drives: Vec<Drive> = (0..).zip(self.devices).map(drive).collect();
        for drive in layout.start.view.drives_known().filter(|drive| drive.leaves()) {
            let watches = drives
                .iter()
                .filter(|own| own.number.is(drive.number.get()))
                .filter_map(|own| own.watch.as_ref());
            watches.for_each(|watch| watch.set_leaving(true));
        }
        drives.extend(layout.seats().map(|place| {
            let (device, part) = (Rc::<SeatDevice>::default(), Some(Part::Out));
            let seat = (DriveNumber::none(), Some(device.clone()));
            Drive::new(latch(place, device), seat, &environment, &self.pool, part, &paces)
        }));
        let kept = (0..layout.drives()).filter(|drive| layout.allocator_core(*drive) == index).map(|drive| {
            let shards = layout.claims_on(drive);
            let (device, superblock) =
                (drives[usize::from(drive)].device.clone(), layout.superblocks[usize::from(drive)]);
            (drive, ExtentAllocator::new(device, self.pool.clone(), superblock, shards))
        });
        let allocators = kept.collect();
        let views = Views::new(&layout);
        let shape = layout.geometry_of(0).shape;
        let codec =
            ReedSolomon::new(shape.data(), shape.parity()).filter(|_| shape.is_striped()).map(Rc::new);
        let state = Rc::new_cyclic(|here| CoreState {
            index,
            writers_of_shards: (0..layout.shards)
                .map(|shard| writer_of((&layout, &drives), here, shard))
                .collect(),
            view: Cell::new(layout.start.view.number()),
            homes: RefCell::new((0..layout.shards).map(|shard| layout.homes_of(shard).to_vec()).collect()),
            layout,
            drives,
            seats: self.seats,
            views,
            pool: self.pool,
            cache: self.cache,
            mailbox,
            notifier: self.notifier,
            asked: Calls::default(),
            calls: Calls::default(),
            shards: RefCell::default(),
            allocators: RefCell::new(allocators),
            barrier: PhaseBarrier::default(),
            ledgers: Ledgers::default(),
            bucket_locks: KeyLocks::default(),
            node_watch: RefCell::default(),
            buckets: RefCell::new(BucketMap::default()),
            closing: Cell::new(false),
            retrying: Cell::new(false),
            bodies: Bodies::default(),
            readers: Bodies::default(),
            refusals: Cell::new(0),
            repairs: Cell::new(0),
            decoded: Cell::new(0),
            paces,
            codec,
            caught_up: Cell::new(0),
            mending: Cell::new(0),
            record_mends: KeyLocks::default(),
            wants_checkpoint: RefCell::default(),
            lifecycle_day_ms: Cell::new(DAY_MS),
            heal_within_ms: Cell::new(0),
            scrub_run: Cell::new(0),
            lifecycle_run: Cell::new(0),
            salvage: RefCell::default(),
            environment,
        });
        state.connect_latches();
        state.watch_drives();
        state
    }
}

/// Returns the part that a drive has when the node starts, or `None` when the node can not do without it. One
/// that is to be a home again lacks something yet.
fn part_of(layout: &Layout, drive: u16) -> Option<Part> {
    let number = layout.geometry_of(drive).drive;
    let known = |drive: &&ViewDriveOnDisk| drive.number.get() == number;
    let lacks = || layout.start.view.drives_known().find(known).is_some_and(ViewDriveOnDisk::lacks);
    layout.is_redundant().then(|| match layout.was_out(drive) {
        true => Part::Returning,
        false if lacks() => Part::CatchingUp,
        false => Part::Whole,
    })
}

/// Returns the homes of a shard as the core that is `here`, with these drives, reaches them.
fn writer_of((layout, drives): (&Layout, &[Drive]), here: &Weak<CoreState>, shard: u16) -> SetWriter {
    let reach = |place: &u16| {
        let drive = &drives[usize::from(*place)];
        let (geometry, device) = (*layout.geometry_of(*place), drive.device.clone());
        let (number, watch) = (drive.number.clone(), drive.watch.clone());
        (Reached { geometry, number, device, watch }, drive.flush.clone())
    };
    let places = layout.drives_of(shard);
    let (mut homes, flushes): (Vec<_>, Vec<_>) = places.iter().map(reach).unzip();
    let others = homes.split_off(layout.homes_of(shard).len());
    let losses = LossesOfCore::new(here.clone(), &places);
    SetWriter::new(Drives::with_others(homes, others), flushes, Rc::new(losses))
}
