//! The layout of the whole node, which is the same on every core: its drives, its shards, and their
//! cores.

use std::sync::Arc;

use super::opening::Opening;
use super::progress::CatchUpSums;
use crate::device::latch::Latch;
use crate::extent::{Geometry, Shape};
use crate::format::superblock::{
    DRIVE_GONE, DRIVE_IN, DRIVE_NONE, DRIVE_OUT, HOME_LACKS, LACKS, NO_HOME, SuperblockOnDisk, VIEW_BASES,
    VIEW_DRIVES, ViewDriveOnDisk, ViewOnDisk,
};
use crate::format::{Le16, Le32, Le64};
use crate::hook::Planted;
use crate::shard::{CheckpointCut, HomeRoot, Settings};
use crate::types::BucketId;
use crate::types::rules::DAY_MS;
use crate::view::{DriveSet, bases_of};

/// Number of drives that may come while the node runs, until it is started again.
const SEATS: usize = 8;
/// The shard that keeps the buckets.
pub(super) const SYSTEM_SHARD: u16 = 0;

/// The drives and shards of the whole node, the same on every core.
pub struct Layout {
    pub cores: usize,
    pub shards: u16,
    pub superblocks: Vec<SuperblockOnDisk>,
    /// The epoch of this life.
    pub epoch: u32,
    /// Limit for the memory of the whole node's index, bytes.
    pub index_bytes_max: usize,
    /// The latch for flushes of all cores, by drive.
    latches: Vec<Arc<Latch>>,
    /// How far a drive is brought up to date, by drive.
    catch_ups: Vec<CatchUpSums>,
    /// The homes of each shard that are present, by shard: their places in `superblocks`. Behind those that
    /// it has in the view that was found come those that may be its homes again.
    homes: Vec<Vec<u16>>,
    /// How many of the homes of each shard are in the view that was found.
    in_view: Vec<usize>,
    /// The drives that are out of that view, by place.
    out: Vec<bool>,
    /// What this start makes of the view that it found.
    pub(crate) start: Box<StartView>,
    /// Geometry and shard settings, by drive. Behind those of the drives of the start come those of seats for drives
    /// that come while the node runs.
    geometries: Vec<(Geometry, Settings)>,
    /// How far the opening of the shards is.
    pub opening: Arc<Opening>,
}

impl Layout {
    /// Returns the number of drives that the node was started with.
    pub fn drives(&self) -> u16 {
        self.superblocks.len() as u16
    }

    /// Returns the number of places for drives: those of the start, and behind them seats for others.
    pub fn places(&self) -> u16 {
        self.geometries.len() as u16
    }

    /// Returns the seats for drives that come while the node runs.
    pub fn seats(&self) -> std::ops::Range<u16> {
        self.drives()..self.places()
    }

    /// Adds seats for drives that come while the node runs, if it can do without one of those that it has.
    pub fn add_seats(&mut self) {
        let seats = match self.is_redundant() {
            true => SEATS.min(VIEW_DRIVES - self.superblocks.len()),
            false => 0,
        };
        let (geometry, settings) = self.geometries[0];
        let seat = (Geometry { drive: NO_HOME, extents: u32::MAX, drive_id: 0, ..geometry }, settings);
        self.geometries.extend((0..seats).map(|_| seat));
        self.latches.extend((0..seats).map(|_| Arc::new(Latch::new(self.cores))));
        self.catch_ups.extend((0..seats).map(|_| CatchUpSums::default()));
    }

    /// Returns the core that a shard lives on.
    pub fn core_of(&self, shard: u16) -> usize {
        usize::from(shard) % self.cores
    }

    /// Returns whether a drive was out of the view when the node started.
    pub fn was_out(&self, drive: u16) -> bool {
        self.out[usize::from(drive)]
    }

    /// Returns the homes of a shard that it has in the view that was found.
    pub fn homes_in_view(&self, shard: u16) -> &[u16] {
        &self.homes_of(shard)[..self.in_view[usize::from(shard)]]
    }

    /// Returns the number of shards that may have something on a drive, and claim what they have there.
    pub fn claims_on(&self, drive: u16) -> u16 {
        match self.is_redundant() {
            true => self.shards,
            false => self.shards_of_drive(drive).count() as u16,
        }
    }

    /// Returns the places among the node's drives of a shard's homes that are present, those behind that are
    /// brought up to date first.
    pub fn homes_of(&self, shard: u16) -> &[u16] {
        &self.homes[usize::from(shard)]
    }

    /// Returns the places of all that may hold something of a shard, once it is there: those of its homes first and,
    /// if the node can do without one, those of all others.
    pub fn drives_of(&self, shard: u16) -> Vec<u16> {
        let homes = self.homes_of(shard);
        let is_redundant = self.is_redundant();
        let others = (0..self.places()).filter(|drive| is_redundant && !homes.contains(drive));
        homes.iter().copied().chain(others).collect()
    }

    /// Returns the place among the node's drives of a shard's first home that is present.
    pub fn first_home_of(&self, shard: u16) -> u16 {
        self.homes[usize::from(shard)][0]
    }

    /// Returns the roots of a shard that its homes have.
    pub fn roots_of(&self, shard: u16) -> Vec<HomeRoot> {
        let root_of = |(home, drive): (usize, &u16)| {
            let root = self.superblocks[usize::from(*drive)].root_of(shard)?;
            Some(HomeRoot { home, root })
        };
        self.homes_in_view(shard).iter().enumerate().filter_map(root_of).collect()
    }

    /// Returns whether sets have copies on several drives.
    pub fn is_redundant(&self) -> bool {
        self.superblocks[0].parity_members > 0
    }

    /// Returns the place among the node's drives of the drive with this number in the view, or `None`
    /// when it was not present at the start.
    pub fn place_of(&self, number: u16) -> Option<u16> {
        let mut geometries = self.geometries.iter();
        geometries.position(|(geometry, _)| geometry.drive == number).map(|place| place as u16)
    }

    /// Returns the core that a drive's extent allocator lives on.
    pub fn allocator_core(&self, drive: u16) -> usize {
        usize::from(drive) % self.cores
    }

    pub fn shards_of_core(&self, core: usize) -> impl Iterator<Item = u16> + '_ {
        (0..self.shards).filter(move |shard| self.core_of(*shard) == core)
    }

    pub fn shards_of_drive(&self, drive: u16) -> impl Iterator<Item = u16> + '_ {
        (0..self.shards).filter(move |shard| self.homes_of(*shard).contains(&drive))
    }

    /// Returns the shard of a hash. It uses the low half, because the point table uses the high
    /// bits.
    pub fn shard_of(&self, hash: u64) -> u16 {
        (((hash & 0xffff_ffff) * u64::from(self.shards)) >> 32) as u16
    }

    /// Makes the layout of a node with these drives. Those that are not in the newest of their views are
    /// brought up to date.
    ///
    /// # Panics
    /// Panics when no home of a shard is among the drives.
    pub fn new(cores: usize, superblocks: Vec<SuperblockOnDisk>, epoch: u32, index_bytes_max: usize) -> Self {
        let shards = superblocks[0].shards.get();
        let latches = superblocks.iter().map(|_| Arc::new(Latch::new(cores))).collect();
        let catch_ups = superblocks.iter().map(|_| CatchUpSums::default()).collect();
        let (mut homes, out) = homes_of(&superblocks);
        let in_view = homes.iter().map(Vec::len).collect();
        let start = Box::new(StartView::of(&superblocks, epoch));
        add_returning(&mut homes, &superblocks, &start.view);
        let (geometries, opening) = (Vec::new(), Arc::new(Opening::new(shards)));
        let mut layout = Self {
            cores,
            shards,
            superblocks,
            epoch,
            index_bytes_max,
            latches,
            catch_ups,
            homes,
            in_view,
            out,
            start,
            geometries,
            opening,
        };
        layout.geometries = (0..layout.drives()).map(|drive| layout.geometry(drive)).collect();
        layout
    }

    /// Sets after how many log bytes a shard writes a checkpoint, and from how many dead bytes on
    /// it cleans its log, whatever the size of the drive.
    pub fn set_maintenance(&mut self, checkpoint_after_bytes: u64, dead_log_bytes_max: u64) {
        for (_, settings) in &mut self.geometries {
            (settings.checkpoint_after_bytes, settings.dead_log_bytes_max) =
                (checkpoint_after_bytes, dead_log_bytes_max);
        }
    }

    /// Sets how far the wall clock may step ahead and still end retentions.
    pub fn limit_clock_step(&mut self, step_ms: u64) {
        self.geometries.iter_mut().for_each(|(_, settings)| settings.clock_step_max_ms = step_ms);
    }

    /// Sets the sizes of the pieces that checkpoints are written in.
    pub fn cut_checkpoints(&mut self, cut: CheckpointCut) {
        self.geometries.iter_mut().for_each(|(_, settings)| settings.checkpoint_cut = cut);
    }

    /// Plants a bug into a simulated node.
    #[cfg(feature = "planted-bugs")]
    pub(crate) fn plant(&mut self, bug: Option<crate::hook::Bug>) {
        self.geometries.iter_mut().for_each(|(geometry, _)| geometry.planted = Planted::new(bug));
    }

    /// Returns the shard that owns a key. Every drive of a set has the same hash key.
    pub fn shard_of_key(&self, bucket: BucketId, key: &[u8]) -> u16 {
        self.shard_of(self.settings_of(0).hash(bucket, key))
    }

    /// Returns the state that the cores share about the flushes of a drive.
    pub fn latch(&self, drive: u16) -> Arc<Latch> {
        self.latches[usize::from(drive)].clone()
    }

    /// Returns how far a drive is brought up to date.
    pub(super) fn catch_up_of(&self, drive: u16) -> &CatchUpSums {
        &self.catch_ups[usize::from(drive)]
    }

    pub fn geometry_of(&self, drive: u16) -> &Geometry {
        &self.geometries[usize::from(drive)].0
    }

    pub fn settings_of(&self, drive: u16) -> &Settings {
        &self.geometries[usize::from(drive)].1
    }

    /// Returns geometry and settings of a shard: those of its first home, but with the size of the smallest,
    /// which is full first.
    pub fn of_shard(&self, shard: u16) -> (Geometry, Settings) {
        let homes = self.homes_of(shard);
        let (mut geometry, mut settings) = self.geometries[usize::from(homes[0])];
        for home in homes.iter().map(|home| &self.geometries[usize::from(*home)]) {
            geometry.extents = geometry.extents.min(home.0.extents);
            settings.drive_shards = settings.drive_shards.max(home.1.drive_shards);
            settings.few_extents = settings.few_extents.max(home.1.few_extents);
            settings.dead_log_bytes_max = settings.dead_log_bytes_max.min(home.1.dead_log_bytes_max);
            settings.checkpoint_after_bytes =
                settings.checkpoint_after_bytes.min(home.1.checkpoint_after_bytes);
        }
        (geometry, settings)
    }

    fn geometry(&self, drive: u16) -> (Geometry, Settings) {
        let superblock = &self.superblocks[usize::from(drive)];
        let drive_shards = self.shards_of_drive(drive).count().max(1) as u64;
        let extent_bytes = superblock.extent_bytes.get();
        let (dead_log_bytes_max, checkpoint_after_bytes) =
            maintenance_bytes(superblock.size_bytes.get(), drive_shards, extent_bytes);
        let geometry = Geometry {
            extent_bytes: extent_bytes as u32,
            extents: superblock.extents.get(),
            extents_start: superblock.extents_start.get(),
            format_id: superblock.format_id(),
            drive_id: superblock.drive_id(),
            drive: superblock.drive_number.get(),
            copies: superblock.parity_members + 1,
            shape: Shape::new(superblock.data_members, superblock.parity_members),
            epoch: self.epoch,
            planted: Planted::default(),
        };
        let settings = Settings {
            hash_key: superblock.hash_key.map(|half| half.get()),
            inline_bytes_max: superblock.inline_bytes_max.get(),
            index_bytes_max: (self.index_bytes_max / usize::from(self.shards)) as u64,
            dead_log_bytes_max,
            checkpoint_after_bytes,
            checkpoint_cut: CheckpointCut::default(),
            clock_step_max_ms: DAY_MS,
            drive_shards: drive_shards as u32,
            few_extents: drive_shards as u32,
        };
        (geometry, settings)
    }
}

/// The view that a start writes, and what it was counted from.
pub(crate) struct StartView {
    pub view: ViewOnDisk,
    pub bases: [Le64; VIEW_BASES],
}

impl StartView {
    /// Makes the view of the life `epoch`: the newest that was found, without the drives that are absent.
    fn of(superblocks: &[SuperblockOnDisk], epoch: u32) -> Self {
        let (newest, counted) = newest_view(superblocks.iter());
        let mut view = *newest;
        (view.epoch, view.counter) = (Le32::new(epoch), Le32::new(1));
        keep_only(&mut view, |number| superblocks.iter().any(|block| block.drive_number == number));
        superblocks
            .iter()
            .filter_map(|block| joining(newest, block))
            .for_each(|drive| join(&mut view, drive));
        let mut bases = [Le64::new(0); VIEW_BASES];
        if superblocks[0].parity_members > 0 {
            let mut all = vec![newest.members()];
            all.extend(counted.into_iter().filter(|base| *base != newest.members()));
            for (slot, base) in bases.iter_mut().zip(all) {
                *slot = Le64::new(base.bits());
            }
        }
        Self { view, bases }
    }

    /// Notes that drives are gone for good, as the operator has said.
    pub fn leave_for_good(&mut self, gone: &[[u8; 16]]) {
        let named =
            |drive: &&mut ViewDriveOnDisk| drive.state.get() == DRIVE_OUT && gone.contains(&drive.uuid);
        let drives = self.view.drives.iter_mut().filter(named);
        drives.for_each(|drive| drive.state = Le16::new(DRIVE_GONE));
    }
}

/// Takes the drives that do not stay out of a view, as members and as homes.
pub(super) fn keep_only(view: &mut ViewOnDisk, stays: impl Fn(Le16) -> bool) {
    for drive in view.drives.iter_mut().filter(|drive| drive.state.get() == DRIVE_IN) {
        if !stays(drive.number) {
            drive.state = Le16::new(DRIVE_OUT);
            drive.set_flag(LACKS, true);
        }
    }
    // They are to be homes again, or others in their place.
    for home in view.homes.iter_mut().flat_map(|homes| &mut homes.drives) {
        if home.get() < HOME_LACKS && !stays(*home) {
            *home = Le16::new(home.get() | HOME_LACKS);
        }
    }
}

/// Returns the newest view that these drives have, and what it was counted from as its holders say.
///
/// # Panics
/// Panics when there is no drive.
pub(super) fn newest_view<'a>(
    blocks: impl Iterator<Item = &'a SuperblockOnDisk> + Clone,
) -> (&'a ViewOnDisk, Vec<DriveSet>) {
    let newest = blocks.clone().map(|block| &block.view).max_by_key(|view| view.number());
    let view = newest.unwrap_or_else(|| panic!("a node has drives"));
    let holders = blocks.filter(|block| block.view.number() == view.number());
    (view, bases_of(holders.map(|block| block.bases().collect())))
}

/// Returns the homes of each shard as places in `superblocks`, as the newest view of them says, without
/// those that are not among them, and which of these drives are out of that view.
fn homes_of(superblocks: &[SuperblockOnDisk]) -> (Vec<Vec<u16>>, Vec<bool>) {
    let (newest, _) = newest_view(superblocks.iter());
    let places_of = |shard: u16| {
        let homes = newest.home_numbers(shard);
        let place_of = |home: u16| superblocks.iter().position(|block| block.drive_number.get() == home);
        let places: Vec<u16> = homes.filter_map(place_of).map(|place| place as u16).collect();
        assert!(!places.is_empty(), "no home of shard {shard} is among the drives");
        places
    };
    let is_in = |block: &SuperblockOnDisk| newest.drives_in().any(|drive| drive.number == block.drive_number);
    let out = superblocks.iter().map(|block| !is_in(block)).collect();
    ((0..superblocks[0].shards.get()).map(places_of).collect(), out)
}

/// Returns how a view that does not know a drive is to name it, if the drive was made to be added, or to take the
/// place of another one.
pub(super) fn joining(view: &ViewOnDisk, block: &SuperblockOnDisk) -> Option<ViewDriveOnDisk> {
    let own = unused(block)?;
    let is_new = !view.drives_known().any(|drive| drive.uuid == own.uuid || drive.number == own.number);
    is_new.then_some(ViewDriveOnDisk { state: Le16::new(DRIVE_OUT), ..*own })
}

/// Returns what a drive says of itself that was made to be added, or to take the place of another one, and has had no
/// part in the set yet.
fn unused(block: &SuperblockOnDisk) -> Option<&ViewDriveOnDisk> {
    let own = block.view.drives_known().find(|drive| drive.uuid == block.drive_uuid)?;
    let is_made = own.replaced().is_some() || own.is_added();
    (is_made && block.view.epoch.get() == 0).then_some(own)
}

/// Returns whether a drive was made for a set that runs, and has had no part in it yet.
pub(super) fn holds_nothing(block: &SuperblockOnDisk) -> bool {
    unused(block).is_some()
}

/// Adds a drive to a view, out of which it is until it is written to, in place of one that is gone for good if it was
/// made for that.
///
/// # Panics
/// Panics when the view has no room, which whoever chooses the drives of a start rules out.
pub(super) fn join(view: &mut ViewOnDisk, joining: ViewDriveOnDisk) {
    let replaced = joining.replaced();
    let gone = view.drives.iter_mut().filter(|drive| drive.state.get() == DRIVE_OUT);
    for drive in gone.filter(|drive| replaced == Some(drive.number.get())) {
        drive.state = Le16::new(DRIVE_GONE);
    }
    if let Some(replaced) = replaced {
        view.rename_homes(replaced | HOME_LACKS, joining.number.get() | HOME_LACKS);
    }
    let free = view.drives.iter_mut().find(|drive| drive.state.get() == DRIVE_NONE);
    *free.unwrap_or_else(|| panic!("a view has {VIEW_DRIVES} drives at most")) = joining;
}

/// Adds the drives that are to be homes of a shard, and are none now.
fn add_returning(homes: &mut [Vec<u16>], superblocks: &[SuperblockOnDisk], view: &ViewOnDisk) {
    for (shard, homes) in (0..).zip(homes) {
        for home in view.wanted_numbers(shard) {
            let place = superblocks.iter().position(|block| block.drive_number.get() == home);
            homes.extend(place.map(|place| place as u16).filter(|place| !homes.contains(place)));
        }
    }
}

/// Returns, for a drive with `drive_shards` shards, how many bytes of a shard's log may be dead
/// before it is cleaned, and how many bytes of log are written between two checkpoints.
pub(crate) fn maintenance_bytes(size_bytes: u64, drive_shards: u64, extent_bytes: u64) -> (u64, u64) {
    let share = size_bytes / drive_shards / 8;
    (2 * share, share.clamp(4 * extent_bytes, 1 << 30))
}
