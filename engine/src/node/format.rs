//! Formatting drives, and reading the superblock of one.
//!
//! Invariant: the superblock is written last. Until then, a failed format leaves something that no
//! server opens.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use zerocopy::FromZeros;

use crate::device::file::{DriveError, OpenDrive, allocate_file, recognise};
use crate::format::slice::{MEMBERS_OF_SLICES_MAX, SLICE_BYTES, UNIT_BYTES, UNITS_PER_SLOT};
use crate::format::superblock::{
    COPIES, COPY_STRIDE, DRIVE_IN, FIRST_BIRTH, HOMES, MAGIC, NO_HOME, ROOT_LOG, ROOT_NONE, ROOTS,
    SHARDS_MAX, SUPERBLOCK_BYTES, ShardRootOnDisk, SuperblockOnDisk, VIEW_DRIVES, ViewDriveOnDisk,
    ViewOnDisk,
};
use crate::format::{BLOCK_BYTES, FORMAT_VERSION, FormatDamage, Le16, Le32, Le64};
use crate::ring::arena::CHUNK_BYTES;

/// Byte offset of extent 0 on a drive.
pub(crate) const EXTENTS_START: u64 = 1 << 20;
/// Longest body that is stored inline, bytes.
pub(crate) const INLINE_BYTES_MAX: u32 = 64 << 10;
/// Size of a slot, the room for one full slice.
pub(crate) const SLOT_BYTES: u64 = UNIT_BYTES as u64 * UNITS_PER_SLOT as u64;
/// Most slots of an extent.
pub(crate) const SLOTS_MAX: u64 = 16;
/// Number of extents that a drive gets if an extent of 1 to 16 slots allows it.
const EXTENTS_WANTED: u64 = 512;
/// Fewest extents for each shard: room for a log, two checkpoints, data of two kinds, and what is
/// held back.
pub(crate) const EXTENTS_PER_SHARD: u64 = 12;

/// How many drives of a set may be lost, and how large objects lie on the drives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Redundancy {
    /// How many drives may be lost: small objects have a copy on so many more drives.
    pub failures_max: u8,
    /// Over how many drives the data of a large object is striped, beside parity on as many as may be lost. With 1,
    /// large objects are copied as small ones are.
    pub data_members: u8,
}

impl Redundancy {
    /// Every byte is on one drive.
    pub const NONE: Self = Self::copies(0);

    /// Everything is copied, so that `failures_max` drives may be lost.
    pub const fn copies(failures_max: u8) -> Self {
        Self { failures_max, data_members: 1 }
    }

    /// Large objects are striped over `data` drives with parity on `parity` more, and small ones are copied.
    pub const fn striped(data: u8, parity: u8) -> Self {
        Self { failures_max: parity, data_members: data }
    }

    /// Returns what a set of `drives` drives has unless it is formatted otherwise: a copy of everything if there is
    /// another drive, and from four on stripes, of which any two drives may be lost, or three of eleven and more.
    pub fn of(drives: usize) -> Self {
        match drives {
            ..4 => Self::copies(u8::from(drives > 1)),
            4 => Self::striped(2, 2),
            5 => Self::striped(3, 2),
            6..11 => Self::striped(4, 2),
            _ => Self::striped(8, 3),
        }
    }
}

/// The options of formatting drives.
#[derive(Clone, Debug, Default)]
pub struct FormatOptions {
    /// Size of the file to make. A block device has its own size. With `None`, an existing file
    /// keeps its size.
    pub size_bytes: Option<u64>,
    /// Shards of the whole node. With 0, there are two for each core of this machine, or fewer on a
    /// small drive.
    pub shards: u16,
    /// How much of the set may be lost. With `None`, what [`Redundancy::of`] says for the number of drives.
    pub redundancy: Option<Redundancy>,
    /// Set to overwrite what is on the drive.
    pub force: bool,
    /// Random numbers, from which the identities and the hash key are made.
    pub seed: [u64; 4],
}

/// A drive that was formatted.
#[derive(Clone, Debug)]
pub struct FormatReport {
    pub path: PathBuf,
    pub size_bytes: u64,
    pub extent_bytes: u64,
    pub extents: u32,
    pub shards: u16,
    pub redundancy: Redundancy,
    pub drive_uuid: String,
}

/// The reason why a drive can not be formatted or read.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    #[error(transparent)]
    Drive(#[from] DriveError),
    #[error("{path} already holds {what}; formatting destroys it: choose another drive, or pass --force")]
    InUse { path: PathBuf, what: &'static str },
    #[error("{path} does not exist: give the size of the drive file to make, for example --size 8GiB")]
    NoSize { path: PathBuf },
    #[error(
        "a drive of {size_bytes} bytes has room for {most} shards, {shards} were asked; \
         give fewer --shards or a larger --size"
    )]
    TooManyShards { size_bytes: u64, shards: u16, most: u64 },
    #[error("{path} is not a Ringbolt drive; make one with `ringbolt format --drive {path}`")]
    NotRingbolt { path: PathBuf },
    #[error(
        "{path} was formatted by another version of Ringbolt: its format is {version}, this program reads \
         {FORMAT_VERSION}. Versions 1 and 2 were never released: copy the objects elsewhere over S3, with the program \
         that wrote them, and format the drive anew. A newer version needs a newer program"
    )]
    OtherVersion { path: PathBuf, version: u32 },
    #[error(
        "{path}: no two copies of the superblock agree ({damage}): the drive is damaged. Leave it out if its set has \
         copies; else run `ringbolt check --drive {path}`: it says what can be saved"
    )]
    Damaged { path: PathBuf, damage: FormatDamage },
    #[error("{path} is given twice")]
    Twice { path: PathBuf },
    #[error("{given} drives were given; a set has at most {VIEW_DRIVES}")]
    TooManyDrives { given: usize },
    #[error(
        "{copies} copies of everything need {copies} drives or more, {given} were given; give more --drive, or fewer \
         copies with --redundancy"
    )]
    TooFewDrives { given: usize, copies: u8 },
    #[error("{copies} copies of everything were asked; the most is {HOMES}")]
    TooManyCopies { copies: u8 },
    #[error(
        "{data}+{parity}: there are stripes of 2 or more data and 1 or more parity members, of {MEMBERS_OF_SLICES_MAX} \
         together at most"
    )]
    Stripes { data: u8, parity: u8 },
    #[error(
        "{shards} shards are too few for stripes over {drives} drives, each of which is the home of a shard; give \
         larger drives, or --shards {drives} or more"
    )]
    TooFewShards { shards: u16, drives: usize },
    #[error(
        "{data}+{parity} needs a drive for each member, {given} were given; give more --drive, or fewer members with \
         --redundancy"
    )]
    TooFewForStripes { given: usize, data: u8, parity: u8 },
}

/// Formats the drives of one node; several drives form a set. `progress` gets the bytes done and
/// the total bytes of each drive.
///
/// # Errors
/// Returns a [`FormatError`] that says what to do. Drives that were formatted before it stay
/// formatted.
pub fn format_drive(
    paths: &[&Path],
    options: &FormatOptions,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Vec<FormatReport>, FormatError> {
    if let Some(path) = given_twice(paths) {
        return Err(FormatError::Twice { path: path.to_owned() });
    }
    if paths.len() > VIEW_DRIVES {
        return Err(FormatError::TooManyDrives { given: paths.len() });
    }
    let redundancy = options.redundancy.unwrap_or_else(|| Redundancy::of(paths.len()));
    let Redundancy { failures_max, data_members } = redundancy;
    let copies = failures_max.saturating_add(1);
    if usize::from(copies) > HOMES {
        return Err(FormatError::TooManyCopies { copies });
    }
    if usize::from(copies) > paths.len() {
        return Err(FormatError::TooFewDrives { given: paths.len(), copies });
    }
    check_stripes(paths.len(), (data_members, failures_max))?;
    let drives = paths.iter().map(|path| prepare(path, options)).collect::<Result<Vec<_>, _>>()?;
    let smallest = drives.iter().map(|drive| drive.size_bytes).min().unwrap_or(0);
    let shards = choose_shards(options.shards, smallest, (drives.len() as u64, u64::from(copies)))?;
    if data_members > 1 && usize::from(shards) < drives.len() {
        // By the shards that a drive is a home of a start knows whether it lacks something.
        return Err(FormatError::TooFewShards { shards, drives: drives.len() });
    }
    let mut reports = Vec::new();
    for (index, drive) in drives.iter().enumerate() {
        let (number, drives) = (index as u16, drives.len() as u16);
        let place = Place { number, drives, shards, failures_max, data_members };
        // The members of a set have one size, so that extents of drives with copies on each other do.
        let measure = if failures_max == 0 { drive.size_bytes } else { smallest };
        let superblock = superblock((drive.size_bytes, extent_bytes(measure)), place, options.seed, now_ms());
        // Old batches and headers on a device carry the identity of another format, so only the head must be
        // cleared. A file is written out in full, so that the file system has nothing to allocate later.
        let cleared = if drive.is_block_device { EXTENTS_START } else { drive.size_bytes };
        write_format(drive, &superblock, (cleared, progress))?;
        reports.push(report(&drive.path, &superblock));
    }
    Ok(reports)
}

/// Checks that so many drives can have striped sets of these numbers of data and parity members.
fn check_stripes(given: usize, (data, parity): (u8, u8)) -> Result<(), FormatError> {
    if data == 1 {
        return Ok(());
    }
    let members = usize::from(data) + usize::from(parity);
    if data == 0 || parity == 0 || members > MEMBERS_OF_SLICES_MAX {
        return Err(FormatError::Stripes { data, parity });
    }
    if members > given {
        return Err(FormatError::TooFewForStripes { given, data, parity });
    }
    Ok(())
}

/// Returns the wall clock, Unix time in milliseconds.
pub(super) fn now_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |age| age.as_millis() as u64)
}

/// Clears the first bytes of a drive, and writes its first superblock.
///
/// # Errors
/// Returns [`DriveError`] when the device fails.
pub(super) fn write_format(
    drive: &OpenDrive,
    superblock: &SuperblockOnDisk,
    (cleared, progress): (u64, &mut dyn FnMut(u64, u64)),
) -> Result<(), DriveError> {
    drive.zero(0, cleared & !(BLOCK_BYTES as u64 - 1), progress)?;
    drive.flush()?;
    for copy in 0..COPIES as u64 {
        drive.write(copy * COPY_STRIDE, superblock.bytes())?;
    }
    drive.flush()
}

/// Returns a path that leads to the same place as one before it. Opened twice, a drive would seem to be in use.
pub(super) fn given_twice<T: AsRef<Path>>(paths: &[T]) -> Option<&Path> {
    let real = |path: &T| std::fs::canonicalize(path).unwrap_or_else(|_| path.as_ref().to_owned());
    let mut seen = BTreeSet::new();
    paths.iter().find(|path| !seen.insert(real(path))).map(AsRef::as_ref)
}

/// Opens the drive, at the wanted size if it is a file, and refuses one that is in use.
pub(super) fn prepare(path: &Path, options: &FormatOptions) -> Result<OpenDrive, FormatError> {
    let existing = std::fs::metadata(path).ok();
    let is_file = existing.as_ref().is_none_or(std::fs::Metadata::is_file);
    if let Some(metadata) = &existing
        && (!is_file || metadata.len() > 0)
    {
        let drive = OpenDrive::open(path)?;
        let head = drive.read(0, (drive.size_bytes.min(CHUNK_BYTES as u64) as usize) & !(BLOCK_BYTES - 1))?;
        if let Some(what) = recognise(&head).filter(|_| !options.force) {
            return Err(FormatError::InUse { path: path.to_owned(), what });
        }
    }
    if is_file {
        let present = existing.map(|metadata| metadata.len()).filter(|&length| length > 0);
        let size = options.size_bytes.or(present).ok_or(FormatError::NoSize { path: path.to_owned() })?;
        let size = size & !(BLOCK_BYTES as u64 - 1);
        check_size(path, size)?;
        allocate_file(path, size)?;
    }
    let drive = OpenDrive::open(path)?;
    check_size(path, drive.size_bytes)?;
    Ok(drive)
}

fn check_size(path: &Path, size_bytes: u64) -> Result<(), DriveError> {
    let least_bytes = EXTENTS_START + EXTENTS_PER_SHARD * SLOT_BYTES;
    if size_bytes >= least_bytes {
        return Ok(());
    }
    Err(DriveError::TooSmall { path: path.to_owned(), size_bytes, least_bytes })
}

/// Returns the extent size: whole slots, chosen for about 512 extents a drive.
pub(crate) fn extent_bytes(size_bytes: u64) -> u64 {
    SLOT_BYTES * (size_bytes / EXTENTS_WANTED / SLOT_BYTES).clamp(1, SLOTS_MAX)
}

fn choose_shards(asked: u16, size_bytes: u64, (drives, copies): (u64, u64)) -> Result<u16, FormatError> {
    let extents = (size_bytes - EXTENTS_START) / extent_bytes(size_bytes);
    let most = shards_max(extents, drives, copies);
    if asked == 0 {
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u64;
        return Ok(default_shards(cores, drives, most) as u16);
    }
    if u64::from(asked) > most {
        return Err(FormatError::TooManyShards { size_bytes, shards: asked, most });
    }
    Ok(asked)
}

/// Returns the number of shards that `drives` drives of `extents` extents have room for, each with
/// `copies` homes.
pub(crate) fn shards_max(extents: u64, drives: u64, copies: u64) -> u64 {
    let most_on_drive = (extents / EXTENTS_PER_SHARD).min(ROOTS as u64);
    let most = (most_on_drive * drives / copies).min(SHARDS_MAX as u64);
    (0..=most).rev().find(|shards| homes_max(*shards, drives, copies) <= most_on_drive).unwrap_or(0)
}

/// Returns how many homes the drive with the most of them has. The drives take turns, so that in the
/// last round some may have a shard more than others.
pub(crate) fn homes_max(shards: u64, drives: u64, copies: u64) -> u64 {
    shards / drives * copies + (shards % drives).min(copies)
}

/// Returns two shards for each core, but at least one for each drive and at most `most`.
pub(crate) fn default_shards(cores: u64, drives: u64, most: u64) -> u64 {
    (2 * cores).max(drives).min(most).max(1)
}

/// The position of a drive in its node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// Number of the drive in the view.
    pub number: u16,
    /// Number of drives of the node.
    pub drives: u16,
    /// Number of shards of the whole node.
    pub shards: u16,
    /// How many drives may be lost.
    pub failures_max: u8,
    /// How many members of a set of slices hold data: 1 where slices are copied.
    pub data_members: u8,
}

/// The identities that a format makes from its seed.
struct Identities {
    state: u64,
}

impl Identities {
    /// Returns the next number of SplitMix64 (Steele, Lea, Flood, 2014).
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ self.state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn uuid(&mut self, salt: u64) -> [u8; 16] {
        random_uuid([self.next() ^ salt, self.next()])
    }
}

/// Returns a UUID of random bits, of version 4 and variant 1 (RFC 9562).
pub(super) fn random_uuid(bits: [u64; 2]) -> [u8; 16] {
    let mut uuid = [0; 16];
    uuid[..8].copy_from_slice(&bits[0].to_le_bytes());
    uuid[8..].copy_from_slice(&bits[1].to_le_bytes());
    uuid[6] = uuid[6] & 0x0f | 0x40;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    uuid
}

/// Makes the first superblock of a drive of `size_bytes` with extents of `extent` bytes.
pub(crate) fn superblock(
    (size_bytes, extent): (u64, u64),
    place: Place,
    seed: [u64; 4],
    now_ms: u64,
) -> SuperblockOnDisk {
    let Place { number, drives, shards, failures_max, data_members } = place;
    let mut identities = Identities { state: seed[0] };
    let (node, set) = (identities.uuid(seed[1]), identities.uuid(seed[2]));
    // Each drive names the others from the start, so each derives the identities of all.
    let salts = (0..drives).map(|other| seed[3].wrapping_add(u64::from(other)));
    let drive_uuids: Vec<[u8; 16]> = salts.map(|salt| identities.uuid(salt)).collect();
    let mut block = SuperblockOnDisk::new_zeroed();
    block.magic = MAGIC;
    block.format_version = Le32::new(FORMAT_VERSION);
    block.sequence = Le64::new(1);
    (block.node_uuid, block.set_uuid, block.drive_uuid) = (node, set, drive_uuids[usize::from(number)]);
    block.hash_key = [Le64::new(seed[1]), Le64::new(seed[2])];
    block.created_ms = Le64::new(now_ms);
    block.size_bytes = Le64::new(size_bytes);
    block.extent_bytes = Le64::new(extent);
    block.extents_start = Le64::new(EXTENTS_START);
    block.extents = Le32::new(extents_of(size_bytes, extent));
    block.inline_bytes_max = Le32::new(INLINE_BYTES_MAX);
    block.slice_bytes = Le32::new(SLICE_BYTES as u32);
    block.unit_bytes = Le32::new(UNIT_BYTES as u32);
    (block.drive_number, block.shards) = (Le16::new(number), Le16::new(shards));
    (block.data_members, block.parity_members) = (data_members, failures_max);
    block.view = first_view(&drive_uuids, shards, usize::from(failures_max) + 1);
    let own = (0..shards).filter(|shard| block.view.home_numbers(*shard).any(|home| home == number));
    let own: Vec<u16> = own.collect();
    for (slot, (extent, shard)) in block.roots.iter_mut().zip(own.into_iter().enumerate()) {
        *slot = ShardRootOnDisk {
            shard: Le16::new(shard),
            kind: Le16::new(ROOT_LOG),
            extent: Le32::new(extent as u32),
            sequence: Le64::new(1),
            birth: Le64::new(FIRST_BIRTH),
            ..ShardRootOnDisk::default()
        };
    }
    block.seal();
    block
}

/// Returns how many extents of `extent` bytes a drive of `size_bytes` has.
pub(super) fn extents_of(size_bytes: u64, extent: u64) -> u32 {
    let extents = size_bytes.saturating_sub(EXTENTS_START) / extent;
    extents.min(u64::from(crate::shard::entry::EXTENTS_MAX)) as u32
}

/// Returns the view of a set that is formatted: the drives take turns in being the homes of a shard.
fn first_view(drive_uuids: &[[u8; 16]], shards: u16, copies: usize) -> ViewOnDisk {
    let mut view = ViewOnDisk::new_zeroed();
    view.counter = Le32::new(1);
    for (number, (slot, uuid)) in view.drives.iter_mut().zip(drive_uuids).enumerate() {
        let (number, state) = (Le16::new(number as u16), Le16::new(DRIVE_IN));
        *slot = ViewDriveOnDisk { number, state, uuid: *uuid, ..ViewDriveOnDisk::default() };
    }
    for (shard, homes) in view.homes.iter_mut().enumerate() {
        homes.drives = [Le16::new(NO_HOME); HOMES];
        if shard < usize::from(shards) {
            let first = first_homes(shard as u16, drive_uuids.len() as u16, copies);
            homes.drives.iter_mut().zip(first).for_each(|(home, first)| *home = Le16::new(first));
        }
    }
    view
}

/// Returns the numbers of the drives that are the homes of a shard when a set of `drives` drives is formatted:
/// they take turns.
pub(crate) fn first_homes(shard: u16, drives: u16, copies: usize) -> impl Iterator<Item = u16> {
    (0..copies).map(move |turn| ((usize::from(shard) + turn) % usize::from(drives)) as u16)
}

pub(super) fn report(path: &Path, block: &SuperblockOnDisk) -> FormatReport {
    FormatReport {
        path: path.to_owned(),
        size_bytes: block.size_bytes.get(),
        extent_bytes: block.extent_bytes.get(),
        extents: block.extents.get(),
        shards: block.shards.get(),
        redundancy: Redundancy { failures_max: block.parity_members, data_members: block.data_members },
        drive_uuid: uuid_text(&block.drive_uuid),
    }
}

/// Returns a UUID in its usual text form.
pub fn uuid_text(uuid: &[u8; 16]) -> String {
    let hex: String = uuid.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// Returns the UUID that a text says, in its usual form, or `None` when it says none.
pub fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let hex: String = text.chars().filter(|digit| *digit != '-').collect();
    let mut uuid = [0; 16];
    for (at, byte) in uuid.iter_mut().enumerate() {
        *byte = u8::from_str_radix(hex.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    (uuid_text(&uuid) == text.to_ascii_lowercase()).then_some(uuid)
}

/// Reads the superblock copies and returns the superblock that is in force.
///
/// # Errors
/// Returns an error when the drive is not Ringbolt's, has another format version, or is damaged.
pub fn read_superblock(drive: &OpenDrive) -> Result<SuperblockOnDisk, FormatError> {
    superblock_of(&drive.path, drive.size_bytes, |offset| drive.read(offset, SUPERBLOCK_BYTES))
}

/// Reads the superblock copies of a drive of `size_bytes` by `read`, which gets the byte offset of each, and
/// returns the superblock that is in force.
///
/// # Errors
/// Returns the same errors as [`read_superblock`].
pub(crate) fn superblock_of(
    path: &Path,
    size_bytes: u64,
    read: impl Fn(u64) -> Result<Vec<u8>, DriveError>,
) -> Result<SuperblockOnDisk, FormatError> {
    if size_bytes < COPIES as u64 * COPY_STRIDE {
        return Err(FormatError::NotRingbolt { path: path.to_owned() });
    }
    let copies = (0..COPIES as u64).map(|copy| read(copy * COPY_STRIDE)).collect::<Result<Vec<_>, _>>()?;
    let copies: Vec<&[u8]> = copies.iter().map(Vec::as_slice).collect();
    choose_superblock(&copies, path.to_owned(), size_bytes)
}

/// Returns whether one of the places where a superblock lies begins as one does. It says nothing of whether
/// the drive can be opened, and opens it for a moment alone.
///
/// # Errors
/// Returns an error when `path` can not be read.
pub fn is_drive(path: &Path) -> std::io::Result<bool> {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::open(path)?;
    let mut magic = [0; MAGIC.len()];
    for copy in 0..COPIES as u64 {
        match file.read_exact_at(&mut magic, copy * COPY_STRIDE) {
            Ok(()) if magic == MAGIC => return Ok(true),
            Err(error) if error.kind() != std::io::ErrorKind::UnexpectedEof => return Err(error),
            _ => {}
        }
    }
    Ok(false)
}

/// Chooses the superblock that is in force from the copies on a drive of `size_bytes`.
///
/// # Errors
/// Returns the same errors as [`read_superblock`].
pub(crate) fn choose_superblock(
    copies: &[&[u8]],
    path: PathBuf,
    size_bytes: u64,
) -> Result<SuperblockOnDisk, FormatError> {
    let block = SuperblockOnDisk::choose(copies).map_err(|damage| match damage {
        FormatDamage::Magic => FormatError::NotRingbolt { path: path.clone() },
        FormatDamage::Version(version) => FormatError::OtherVersion { path: path.clone(), version },
        damage => FormatError::Damaged { path: path.clone(), damage },
    })?;
    if block.size_bytes.get() > size_bytes {
        return Err(FormatError::Damaged {
            path,
            damage: FormatDamage::Field("size_bytes: the drive is shorter"),
        });
    }
    match impossible_field(&block) {
        Some(field) => Err(FormatError::Damaged { path, damage: FormatDamage::Field(field) }),
        None => Ok(block),
    }
}

/// Returns the first field with a value that no version of this program writes. All code that uses
/// a superblock relies on these limits.
fn impossible_field(block: &SuperblockOnDisk) -> Option<&'static str> {
    let slots = block.extent_bytes.get() / SLOT_BYTES;
    let root_fits = |root: &ShardRootOnDisk| {
        let possible = root.extent < block.extents && root.shard < block.shards;
        root.kind.get() == ROOT_NONE || (possible && root.log_epoch <= block.promised_epoch)
    };
    let checks = [
        ("extent_bytes", slots * SLOT_BYTES == block.extent_bytes.get() && (1..=SLOTS_MAX).contains(&slots)),
        ("extents", block.extents.get() <= crate::shard::entry::EXTENTS_MAX),
        ("extents_start", block.extents_start.get() == EXTENTS_START),
        ("slice_bytes", block.slice_bytes.get() == SLICE_BYTES as u32),
        ("unit_bytes", block.unit_bytes.get() == UNIT_BYTES as u32),
        ("inline_bytes_max", block.inline_bytes_max.get() <= INLINE_BYTES_MAX),
        ("promised_epoch", block.promised_epoch.get() < u32::MAX && block.sequence.get() < u64::MAX),
        ("roots", block.roots.iter().all(root_fits)),
    ];
    checks.iter().find(|(_, holds)| !holds).map(|(field, _)| *field)
}
