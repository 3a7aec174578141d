//! The layout of the whole node, which is the same on every core: its drives, its shards, and their
//! cores.

use std::sync::Arc;

use super::opening::Opening;
use crate::device::latch::Latch;
use crate::extent::Geometry;
use crate::format::superblock::SuperblockOnDisk;
use crate::hook::Planted;
use crate::shard::{CheckpointCut, Settings};
use crate::types::BucketId;
use crate::types::rules::DAY_MS;

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
    /// The home of each shard, by shard: its place in `superblocks`.
    homes: Vec<u16>,
    /// Geometry and shard settings, by drive.
    geometries: Vec<(Geometry, Settings)>,
    /// How far the opening of the shards is.
    pub opening: Arc<Opening>,
}

impl Layout {
    pub fn drives(&self) -> u16 {
        self.superblocks.len() as u16
    }

    /// Returns the core that a shard lives on.
    pub fn core_of(&self, shard: u16) -> usize {
        usize::from(shard) % self.cores
    }

    /// Returns the place among the node's drives of a shard's home.
    pub fn drive_of(&self, shard: u16) -> u16 {
        self.homes[usize::from(shard)]
    }

    /// Returns the place among the node's drives of the drive with this number in the view.
    ///
    /// # Panics
    /// Panics when it is not among them.
    pub fn drive_with(&self, number: u16) -> u16 {
        let mut geometries = self.geometries.iter();
        match geometries.position(|(geometry, _)| geometry.drive == number) {
            Some(place) => place as u16,
            None => panic!("drive {number} is not among the node's"),
        }
    }

    /// Returns the core that a drive's extent allocator lives on.
    pub fn allocator_core(&self, drive: u16) -> usize {
        usize::from(drive) % self.cores
    }

    pub fn shards_of_core(&self, core: usize) -> impl Iterator<Item = u16> + '_ {
        (0..self.shards).filter(move |shard| self.core_of(*shard) == core)
    }

    pub fn shards_of_drive(&self, drive: u16) -> impl Iterator<Item = u16> + '_ {
        (0..self.shards).filter(move |shard| self.drive_of(*shard) == drive)
    }

    /// Returns the shard of a hash. It uses the low half, because the point table uses the high
    /// bits.
    pub fn shard_of(&self, hash: u64) -> u16 {
        (((hash & 0xffff_ffff) * u64::from(self.shards)) >> 32) as u16
    }

    /// Makes the layout of a node with these drives, which must be those of their view.
    ///
    /// # Panics
    /// Panics when the home of a shard is not among the drives.
    pub fn new(cores: usize, superblocks: Vec<SuperblockOnDisk>, epoch: u32, index_bytes_max: usize) -> Self {
        let shards = superblocks[0].shards.get();
        let latches = superblocks.iter().map(|_| Arc::new(Latch::new(cores))).collect();
        let homes = homes_of(&superblocks);
        let (geometries, opening) = (Vec::new(), Arc::new(Opening::new(shards)));
        let mut layout =
            Self { cores, shards, superblocks, epoch, index_bytes_max, latches, homes, geometries, opening };
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

    pub fn geometry_of(&self, drive: u16) -> &Geometry {
        &self.geometries[usize::from(drive)].0
    }

    pub fn settings_of(&self, drive: u16) -> &Settings {
        &self.geometries[usize::from(drive)].1
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

/// Returns the home of each shard as a place in `superblocks`, as the newest view of them says.
fn homes_of(superblocks: &[SuperblockOnDisk]) -> Vec<u16> {
    let Some(newest) = superblocks.iter().max_by_key(|block| block.view.number()) else { return Vec::new() };
    let place_of = |shard: u16| {
        let home = newest.view.home_of(shard);
        let place = superblocks.iter().position(|block| Some(block.drive_number.get()) == home);
        place.unwrap_or_else(|| panic!("the home of shard {shard} is not among the drives")) as u16
    };
    (0..newest.shards.get()).map(place_of).collect()
}

/// Returns, for a drive with `drive_shards` shards, how many bytes of a shard's log may be dead
/// before it is cleaned, and how many bytes of log are written between two checkpoints.
pub(crate) fn maintenance_bytes(size_bytes: u64, drive_shards: u64, extent_bytes: u64) -> (u64, u64) {
    let share = size_bytes / drive_shards / 8;
    (2 * share, share.clamp(4 * extent_bytes, 1 << 30))
}
