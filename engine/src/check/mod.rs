//! The check of a set of drives while no server runs: `ringbolt check`.
//!
//! Invariants:
//! - A check writes nothing. It recovers each shard by the code with which a server opens it,
//!   except that damage does not end the recovery. So a drive without findings opens.
//! - One shard is checked at a time. The memory is what a server needs for that shard's index, and
//!   24 bytes an object.
//! - A repair first does what loses nothing. Everything else is done only when it is asked for, and
//!   is reported before.

mod finding;
mod repair;
mod shard;
mod superblock;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

pub use self::finding::{Finding, Kind, ObjectName, Place, Remedy};
pub use self::repair::{RepairError, Repaired};

pub use crate::device::blocking::BlockingDevice;
use crate::device::file::OpenDrive;
use crate::device::{Device, DeviceError};
use crate::extent::{DriveNumber, Drives, Reached};
use crate::format::superblock::SuperblockOnDisk;
use crate::node::layout::Layout;
use crate::node::open::{choose_drives, missing_uuids, only};
use crate::node::{FormatError, OpenError};
use crate::ring::Pool;
use crate::shard::Salvage;

/// Memory for the buffers of a check, bytes.
const ARENA_BYTES: usize = 16 << 20;

/// A drive as a check reads it.
#[derive(Clone)]
pub struct Medium {
    pub path: PathBuf,
    pub device: Rc<dyn Device>,
    /// The device of a real drive, which knows the blocks that it could not read.
    pub blocking: Option<Rc<BlockingDevice>>,
}

/// The reason why drives can not be checked at all.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Device(#[from] DeviceError),
    #[error("can not map memory for buffers: {0}")]
    Memory(std::io::Error),
    #[error(
        "{path}: no copy of the superblock is whole: where its shards begin is not known any more; restore it"
    )]
    NoSuperblock { path: PathBuf },
}

/// A receiver of findings and progress while a check runs.
pub trait Watcher {
    fn finding(&mut self, finding: &Finding);
    fn progress(&mut self, progress: &Progress);
}

/// Keeps the findings.
impl Watcher for Vec<Finding> {
    fn finding(&mut self, finding: &Finding) {
        self.push(finding.clone());
    }

    fn progress(&mut self, _: &Progress) {}
}

/// The progress of a check.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Progress {
    pub shard: u16,
    pub shards: u16,
    /// The finished share of the whole check, from 0 to 1.
    pub share: f64,
}

/// Sums over the drives of a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Keys whose newest version is an object.
    pub objects: u64,
    /// Versions that are objects: these objects, and the older versions of all keys.
    pub versions: u64,
    pub delete_markers: u64,
    pub uploads: u64,
    pub live_bytes: u64,
    pub dead_bytes: u64,
    /// Bytes in extents that belong to shards but are not used, including logs and checkpoints.
    pub reserved_bytes: u64,
    /// Bytes of the extents that are further copies of others.
    pub copies_bytes: u64,
    pub free_bytes: u64,
    pub physical_bytes: u64,
}

/// The result of a check.
#[derive(Default)]
pub struct Outcome {
    pub totals: Totals,
    /// Number of findings for which nothing has to be done.
    pub harmless: u64,
    /// Number of findings that can be mended without loss.
    pub lossless: u64,
    /// Number of findings that can be mended only with loss.
    pub losses: u64,
    /// Number of findings that no repair can mend.
    pub beyond_repair: u64,
    /// The objects and uploads that a repair leaves out, by shard.
    salvage: BTreeMap<u16, Salvage>,
}

impl Outcome {
    /// Returns the number of findings that are damage.
    pub fn damage(&self) -> u64 {
        self.lossless + self.losses + self.beyond_repair
    }
}

/// Opens and locks the drives at `paths`.
///
/// # Errors
/// Returns an error when a drive is missing, held by a server, or not Ringbolt's.
pub fn open_media(paths: &[PathBuf]) -> Result<Vec<Medium>, CheckError> {
    let open = |path: &PathBuf| {
        let drive = OpenDrive::open(path).map_err(OpenError::from)?;
        let device = Rc::new(BlockingDevice::new(drive));
        Ok(Medium { path: path.clone(), device: device.clone(), blocking: Some(device) })
    };
    paths.iter().map(open).collect()
}

/// The drives of a set in their order, with the layout of their node.
struct Set {
    media: Vec<Medium>,
    layout: Layout,
    pool: Pool,
}

impl Set {
    /// Returns the homes of a shard.
    fn homes(&self, shard: u16) -> Drives {
        let reach = |drive: &u16| Reached {
            geometry: *self.layout.geometry_of(*drive),
            number: DriveNumber::new(self.layout.geometry_of(*drive).drive),
            device: self.media[usize::from(*drive)].device.clone(),
            watch: None,
        };
        let mut homes: Vec<Reached> = self.layout.drives_of(shard).iter().map(reach).collect();
        let others = homes.split_off(self.layout.homes_of(shard).len());
        Drives::with_others(homes, others)
    }
}

/// Checks a whole set of drives. If `deep`, it also reads all data.
///
/// # Errors
/// Returns an error when the check can not be done, which says nothing about the drives' contents.
pub fn check(media: &[Medium], deep: bool, watcher: &mut dyn Watcher) -> Result<Outcome, CheckError> {
    run_through(check_set_of(media, deep, watcher))
}

/// Repairs what `outcome`, from a check of `media` just before, found. Without `accept_loss`, it
/// repairs only what can be mended without loss.
///
/// # Errors
/// Returns an error when a drive fails or when the rest does not open. The damage is not greater
/// then than before.
pub fn repair(media: &[Medium], outcome: Outcome, accept_loss: bool) -> Result<Repaired, RepairError> {
    run_through(repair::repair(media, outcome, accept_loss))
}

/// Polls a future until it is ready. The future waits only for devices that answer at once.
fn run_through<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return done;
        }
    }
}

async fn check_set_of(
    media: &[Medium],
    deep: bool,
    watcher: &mut dyn Watcher,
) -> Result<Outcome, CheckError> {
    let mut run = Run { outcome: Outcome::default(), watcher, names: BTreeMap::new() };
    let set = run.superblocks(media).await?;
    let Set { layout, .. } = &set;
    let extents = |drive: u16| layout.geometry_of(drive).extents as usize;
    let mut owners: Vec<_> = (0..layout.drives()).map(|drive| vec![None; extents(drive)]).collect();
    let mut shards: Vec<u16> = (0..layout.shards).collect();
    shards.sort_by_key(|shard| (layout.first_home_of(*shard), *shard));
    for shard in shards {
        run.shard(&set, shard, deep, &mut owners).await?;
    }
    for (drive, owners) in (0..).zip(&owners) {
        let geometry = layout.geometry_of(drive);
        let free = owners.iter().filter(|owner| owner.is_none()).count() as u64;
        run.outcome.totals.free_bytes += free * u64::from(geometry.extent_bytes);
        run.outcome.totals.physical_bytes += geometry.size_bytes();
        run.unreadable(&set.media[usize::from(drive)]);
    }
    Ok(run.outcome)
}

/// The state of a running check.
struct Run<'a> {
    outcome: Outcome,
    watcher: &'a mut dyn Watcher,
    /// Names of buckets by id, once the system shard was read.
    names: BTreeMap<u32, String>,
}

impl Run<'_> {
    async fn superblocks(&mut self, media: &[Medium]) -> Result<Set, CheckError> {
        let pool = Pool::new(ARENA_BYTES).map_err(CheckError::Memory)?;
        let mut found = Vec::new();
        for medium in media {
            let copies = superblock::read(medium, &pool).await?;
            let (block, findings) = superblock::judge(medium, &copies)?;
            findings.into_iter().for_each(|finding| self.report(finding));
            found.push((medium.clone(), block));
        }
        let members: Vec<(&Path, &SuperblockOnDisk)> =
            found.iter().map(|(medium, block)| (medium.path.as_path(), block)).collect();
        // Whoever goes on without a drive says so to the server. A check only says what the others hold.
        let chosen = choose_drives(&members, &[]).or_else(|error| match error {
            OpenError::TooFew { .. } => choose_drives(&members, &missing_uuids(blocks_of(&members))),
            error => Err(error),
        })?;
        for at in &chosen.stale {
            let text =
                "the drive was dropped from its set: what it holds is old, and is not looked at".to_owned();
            self.report(Finding::new(&found[*at].0, Kind::Drive, Remedy::None, text));
        }
        for number in &chosen.absent {
            let text = format!("drive {number} of the set is not here; what only it has is not known");
            self.report(Finding::new(&found[0].0, Kind::Drive, Remedy::None, text));
        }
        for at in &chosen.joining {
            let text =
                "the drive is new to its set: it holds nothing before the first start with it".to_owned();
            self.report(Finding::new(&found[*at].0, Kind::Drive, Remedy::None, text));
        }
        let mut found = only(found, &chosen.kept);
        found.sort_by_key(|(_, block)| block.drive_number.get());
        let (media, blocks): (Vec<_>, Vec<_>) = found.into_iter().unzip();
        let epoch = blocks.iter().map(|block| block.promised_epoch.get()).max().unwrap_or(0);
        Ok(Set { media, layout: Layout::new(1, blocks, epoch, usize::MAX), pool })
    }

    fn report(&mut self, finding: Finding) {
        match finding.remedy {
            Remedy::None => self.outcome.harmless += 1,
            Remedy::Lossless => self.outcome.lossless += 1,
            Remedy::Loss => self.outcome.losses += 1,
            Remedy::Beyond => self.outcome.beyond_repair += 1,
        }
        self.watcher.finding(&finding);
    }

    /// Reports blocks that the drive could not read. Damage to what they held is reported
    /// separately.
    fn unreadable(&mut self, medium: &Medium) {
        let Some(blocking) = &medium.blocking else { return };
        for offset in blocking.take_unreadable() {
            let text = format!("the drive can not read the block at byte {offset}");
            self.report(Finding::new(medium, Kind::Unreadable, Remedy::None, text));
        }
    }

    fn named(&self, bucket: u32, key: &[u8]) -> ObjectName {
        let bucket_name = self.names.get(&bucket).cloned();
        ObjectName { bucket, bucket_name, key: key.to_vec(), version_id: None }
    }
}

fn blocks_of<'a>(
    members: &'a [(&Path, &'a SuperblockOnDisk)],
) -> impl Iterator<Item = &'a SuperblockOnDisk> + Clone {
    members.iter().map(|(_, block)| *block)
}

impl From<FormatError> for CheckError {
    fn from(error: FormatError) -> Self {
        Self::Open(OpenError::Format(error))
    }
}
