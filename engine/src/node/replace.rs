//! Making a drive that is to take the place of one that is gone for good, or to be added.
//!
//! The drive gets a superblock of the set, in which a view of the lowest number says whose place it takes. A
//! start with it adds it to the newest view, out of which it is until it is written to; then it is brought up to
//! date as a drive that was away (decision 0017). Until such a start nothing else of the set has changed, and the
//! drive may be made again.
//!
//! Invariant: the drives of the set are only read, and may be in use.

use std::fs::File;
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use zerocopy::FromZeros;

use super::format::{
    EXTENTS_PER_SHARD, EXTENTS_START, FormatError, FormatOptions, FormatReport, extents_of, given_twice,
    now_ms, prepare, random_uuid, report, superblock_of, uuid_text, write_format,
};
use super::layout::{join, joining, keep_only, newest_view};
use crate::device::file::DriveError;
use crate::format::superblock::{
    ADDED, DRIVE_GONE, DRIVE_IN, LACKS, SUPERBLOCK_BYTES, ShardRootOnDisk, SuperblockOnDisk, VIEW_DRIVES,
    ViewDriveOnDisk, ViewOnDisk,
};
use crate::format::{Le16, Le32, Le64};

/// How often a superblock is read that the server writes meanwhile.
const READS_MAX: usize = 100;

/// The options of making a drive for a set that runs.
#[derive(Clone, Debug, Default)]
pub struct ReplaceOptions {
    pub purpose: Purpose,
    /// Size of the file to make. A block device has its own size. With `None`, an existing file keeps its
    /// size, and a new one is as large as the largest drive of the set.
    pub size_bytes: Option<u64>,
    /// Set to overwrite what is on the drive.
    pub force: bool,
    /// Random numbers, from which the identity of the drive is made.
    pub seed: [u64; 2],
}

/// What a drive is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It takes the place of the drive with this UUID. With `None` that is the only one that is not given.
    Replace(Option<[u8; 16]>),
    /// It is one more.
    Add,
}

impl Default for Purpose {
    fn default() -> Self {
        Self::Replace(None)
    }
}

/// A drive that was made for a set that runs.
#[derive(Clone, Debug)]
pub struct ReplaceReport {
    pub drive: FormatReport,
    /// Its number in the set.
    pub number: u16,
    /// The number and UUID of the drive whose place it takes.
    pub replaced: Option<(u16, String)>,
}

/// The reason why no drive can be made for a set that runs. The text of each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ReplaceError {
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error(transparent)]
    Drive(#[from] DriveError),
    #[error("{path} belongs to another set of drives than {first}; give the drives that are left of one set")]
    OtherSet { path: PathBuf, first: PathBuf },
    #[error(
        "{path} is a drive of the set that is not lost; give another one to take the place of the one that is lost"
    )]
    OwnDrive { path: PathBuf },
    #[error(
        "the set has no redundancy: what was on a lost drive is on no other one, and nothing can take its place; \
         restore what you have a copy of on drives that are formatted anew"
    )]
    NoCopies,
    #[error(
        "the set has no redundancy, and takes no more drives; copy its buckets over S3 to a set that is formatted with all \
         of them"
    )]
    NoneAdded,
    #[error("the set was never served; format its drives anew")]
    NeverServed,
    #[error(
        "every drive of the set is given; leave the one out that is to be replaced, and name it: --lost {uuids}"
    )]
    NothingLost { uuids: String },
    #[error(
        "{count} drives of the set are not given: give those that are left, or say which is lost: --lost {uuids}"
    )]
    Several { count: usize, uuids: String },
    #[error("{path} is given, and said to be lost; do one of both")]
    GivenAndLost { path: PathBuf },
    #[error("no drive of the set has the UUID {uuid}; the drives are {uuids}")]
    Unknown { uuid: String, uuids: String },
    #[error("drive {uuid} has been replaced already, by {by}; name that one if it is lost too")]
    AlreadyReplaced { uuid: String, by: String },
    #[error(
        "shard {shard} has no other home in the set's view: without the drive {uuid} its objects are lost. Give that \
         drive to the server, if it is still there"
    )]
    LastHome { shard: u16, uuid: String },
    #[error("the set has had {VIEW_DRIVES} drives, which is the most; copy its buckets over S3 to a new set")]
    Full,
}

/// Makes a drive of a set, to take the place of one that is gone for good. `set` are the drives that are left, which
/// a server may have open. `progress` gets the bytes done and the total bytes.
///
/// # Errors
/// Returns a [`ReplaceError`] that says what to do. Nothing of the set has changed then.
pub fn make_replacement(
    set: &[&Path],
    new: &Path,
    options: &ReplaceOptions,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<ReplaceReport, ReplaceError> {
    if let Some(path) = given_twice(set) {
        return Err(FormatError::Twice { path: path.to_owned() }.into());
    }
    let mut blocks = Vec::new();
    for path in set {
        blocks.push((*path, read_while_used(path)?));
    }
    let replacement = Replacement::of(&blocks, options.purpose, options.seed)?;
    let is_there = std::fs::metadata(new).is_ok_and(|found| !found.is_file() || found.len() > 0);
    let is_given = given_twice(&[set, &[new]].concat()).is_some();
    if is_there && (is_given || replacement.is_in_use(new)) {
        return Err(ReplaceError::OwnDrive { path: new.to_owned() });
    }
    let largest = blocks.iter().map(|(_, block)| block.size_bytes.get()).max();
    let size_bytes = options.size_bytes.or(largest.filter(|_| !is_there));
    // What is too small is refused before anything is made of it.
    size_bytes.map_or(Ok(()), |size_bytes| replacement.fits(new, size_bytes))?;
    let format = FormatOptions { size_bytes, force: options.force, ..FormatOptions::default() };
    let drive = prepare(new, &format)?;
    replacement.fits(new, drive.size_bytes)?;
    let made = replacement.superblock(drive.size_bytes, now_ms());
    // What an earlier life of the set has left there could be taken for what belongs there now.
    write_format(&drive, &made, (drive.size_bytes, progress))?;
    Ok(ReplaceReport {
        drive: report(new, &made),
        number: made.drive_number.get(),
        replaced: replacement.lost.map(|lost| (lost.number.get(), uuid_text(&lost.uuid))),
    })
}

/// A drive that is made for a set that runs.
pub(crate) struct Replacement {
    /// Its superblock, as if the drive had no extents.
    block: SuperblockOnDisk,
    /// The drive whose place it takes.
    lost: Option<ViewDriveOnDisk>,
    extents_min: u64,
}

impl Replacement {
    /// # Errors
    /// Returns a [`ReplaceError`] when these drives of a set have no such place.
    pub fn of(
        blocks: &[(&Path, SuperblockOnDisk)],
        purpose: Purpose,
        seed: [u64; 2],
    ) -> Result<Self, ReplaceError> {
        let Some((first, any)) = blocks.first() else { return Err(ReplaceError::NeverServed) };
        if let Some((path, _)) = blocks.iter().find(|(_, other)| other.set_uuid != any.set_uuid) {
            return Err(ReplaceError::OtherSet { path: path.to_path_buf(), first: first.to_path_buf() });
        }
        if any.parity_members == 0 {
            return Err(if purpose == Purpose::Add {
                ReplaceError::NoneAdded
            } else {
                ReplaceError::NoCopies
            });
        }
        let (newest, _) = newest_view(blocks.iter().map(|(_, block)| block));
        if newest.epoch.get() == 0 {
            return Err(ReplaceError::NeverServed);
        }
        // Those that were made before, and that no start has been given yet, have their places too.
        let mut known = *newest;
        for joining in blocks.iter().filter_map(|(_, block)| joining(newest, block)) {
            take_place(&mut known, joining)?;
        }
        let lost = match purpose {
            Purpose::Replace(lost) => Some(lost_drive(&known, blocks, lost)?),
            Purpose::Add => None,
        };
        let number = known.drives_known().map(|drive| drive.number.get()).max().unwrap_or(0) + 1;
        let (mut block, uuid) = (*any, random_uuid(seed));
        block.view = view_of(&known, (number, uuid), lost, block.shards.get())?;
        (block.sequence, block.parent_crc, block.promised_epoch) = (Le64::new(1), Le32::new(0), Le32::new(0));
        (block.drive_uuid, block.drive_number) = (uuid, Le16::new(number));
        block.bases.fill(Le64::new(0));
        block.roots.fill(ShardRootOnDisk::new_zeroed());
        let homes = (0..block.shards.get())
            .filter(|shard| block.view.wanted_numbers(*shard).any(|home| home == number));
        let extents_min = EXTENTS_PER_SHARD * homes.count().max(1) as u64;
        Ok(Self { block, lost, extents_min })
    }

    /// Returns whether what is at a path is a drive of the set that is neither lost nor gone.
    fn is_in_use(&self, path: &Path) -> bool {
        let Ok(found) = read_while_used(path) else { return false };
        let is_it =
            |drive: &ViewDriveOnDisk| drive.uuid == found.drive_uuid && drive.state.get() != DRIVE_GONE;
        found.set_uuid == self.block.set_uuid && self.block.view.drives_known().any(is_it)
    }

    /// Checks that a drive of `size_bytes` has room for what any drive of the set holds at least.
    ///
    /// # Errors
    /// Returns [`DriveError::TooSmall`] when it has not.
    pub fn fits(&self, path: &Path, size_bytes: u64) -> Result<(), DriveError> {
        let extent_bytes = self.block.extent_bytes.get();
        if u64::from(extents_of(size_bytes, extent_bytes)) >= self.extents_min {
            return Ok(());
        }
        let least_bytes = EXTENTS_START + self.extents_min * extent_bytes;
        Err(DriveError::TooSmall { path: path.to_owned(), size_bytes, least_bytes })
    }

    /// Returns the superblock on a drive of `size_bytes`.
    pub fn superblock(&self, size_bytes: u64, now_ms: u64) -> SuperblockOnDisk {
        let mut block = self.block;
        block.size_bytes = Le64::new(size_bytes);
        block.extents = Le32::new(extents_of(size_bytes, block.extent_bytes.get()));
        block.created_ms = Le64::new(now_ms);
        block.seal();
        block
    }
}

/// Returns the drive that is lost, as the newest view names it.
fn lost_drive(
    view: &ViewOnDisk,
    blocks: &[(&Path, SuperblockOnDisk)],
    named: Option<[u8; 16]>,
) -> Result<ViewDriveOnDisk, ReplaceError> {
    let given = |uuid: [u8; 16]| blocks.iter().find(|(_, block)| block.drive_uuid == uuid);
    let successor = |drive: &ViewDriveOnDisk| view.successor_of(drive.number.get());
    let list = |drives: &[ViewDriveOnDisk]| {
        drives.iter().map(|drive| uuid_text(&drive.uuid)).collect::<Vec<_>>().join(" or ")
    };
    let all: Vec<ViewDriveOnDisk> = view.drives_known().copied().collect();
    let Some(uuid) = named else {
        let is_missing = |drive: &ViewDriveOnDisk| given(drive.uuid).is_none() && successor(drive).is_none();
        let missing: Vec<_> = all.iter().copied().filter(is_missing).collect();
        return match missing.as_slice() {
            [lost] => Ok(*lost),
            [] => {
                let in_place: Vec<_> =
                    all.iter().copied().filter(|drive| successor(drive).is_none()).collect();
                Err(ReplaceError::NothingLost { uuids: list(&in_place) })
            }
            _ => Err(ReplaceError::Several { count: missing.len(), uuids: list(&missing) }),
        };
    };
    if let Some((path, _)) = given(uuid) {
        return Err(ReplaceError::GivenAndLost { path: path.to_path_buf() });
    }
    let Some(lost) = all.iter().find(|drive| drive.uuid == uuid) else {
        return Err(ReplaceError::Unknown { uuid: uuid_text(&uuid), uuids: list(&all) });
    };
    match successor(lost).and_then(|number| all.iter().find(|drive| drive.number.get() == number)) {
        None => Ok(*lost),
        Some(by) => Err(ReplaceError::AlreadyReplaced { uuid: uuid_text(&uuid), by: uuid_text(&by.uuid) }),
    }
}

/// Returns the view that the new drive has: the newest one, without the drive that is lost, and under a number
/// below those of all starts.
fn view_of(
    newest: &ViewOnDisk,
    (number, uuid): (u16, [u8; 16]),
    lost: Option<ViewDriveOnDisk>,
    shards: u16,
) -> Result<ViewOnDisk, ReplaceError> {
    let mut view = *newest;
    (view.epoch, view.counter) = (Le32::new(0), Le32::new(1));
    let own = ViewDriveOnDisk {
        number: Le16::new(number),
        state: Le16::new(DRIVE_IN),
        replaces: Le16::new(lost.map_or(ADDED, |lost| lost.number.get() + 1)),
        flags: Le16::new(if lost.is_some() { LACKS } else { 0 }),
        uuid,
    };
    take_place(&mut view, own)?;
    if let Some(shard) = (0..shards).find(|shard| view.home_numbers(*shard).next().is_none())
        && let Some(lost) = lost
    {
        return Err(ReplaceError::LastHome { shard, uuid: uuid_text(&lost.uuid) });
    }
    Ok(view)
}

/// Adds a drive to a view, which the one goes out of for good whose place it takes.
fn take_place(view: &mut ViewOnDisk, drive: ViewDriveOnDisk) -> Result<(), ReplaceError> {
    if view.drives_known().count() >= VIEW_DRIVES {
        return Err(ReplaceError::Full);
    }
    if let Some(replaced) = drive.replaced() {
        keep_only(view, |number| replaced != number.get());
    }
    join(view, drive);
    Ok(())
}

/// Returns the UUID of a drive, which a server may have open. It blocks.
///
/// # Errors
/// Returns a [`ReplaceError`] that says what to do.
pub fn uuid_of_drive(path: &Path) -> Result<[u8; 16], ReplaceError> {
    Ok(read_while_used(path)?.drive_uuid)
}

/// Reads the superblock of a drive that a server may have open, and write meanwhile.
fn read_while_used(path: &Path) -> Result<SuperblockOnDisk, ReplaceError> {
    let failed = |step: &'static str, error| DriveError::Io { path: path.to_owned(), step, error };
    let mut file = File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => DriveError::Missing { path: path.to_owned() },
        std::io::ErrorKind::PermissionDenied => DriveError::Forbidden { path: path.to_owned() },
        _ => failed("open", error),
    })?;
    let size_bytes = file.seek(SeekFrom::End(0)).map_err(|error| failed("measure", error))?;
    let read = |offset| {
        let mut bytes = vec![0; SUPERBLOCK_BYTES];
        file.read_exact_at(&mut bytes, offset).map_err(|error| failed("read", error))?;
        Ok(bytes)
    };
    let mut reads = 1;
    loop {
        match superblock_of(path, size_bytes, read) {
            Err(FormatError::Damaged { .. }) if reads < READS_MAX => reads += 1,
            other => return Ok(other?),
        }
    }
}
