//! The superblock: a drive's identity and geometry, the view, and where each shard's recovery
//! starts.
//!
//! Invariants:
//! - Four copies of 16 KiB lie 64 KiB apart from the start of the drive. An update writes copies 0
//!   and 1, flushes, writes copies 2 and 3, and flushes again. So at any time two copies of one
//!   sequence are whole.
//! - The superblock in force is the one with the highest sequence that at least two valid copies
//!   agree on, byte for byte.
//! - It changes only when the drive is formatted, when it is opened (a new epoch and its view), when
//!   a life begins a shard's log, and after a checkpoint.
//! - The view says which drives belong to the set and which of them are each shard's homes. Nothing
//!   else tells the drive of a shard.

use std::mem::{offset_of, size_of};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use super::slice::{DATA_MEMBERS_MAX, MEMBERS_OF_SLICES_MAX};
use super::{BLOCK_BYTES, FORMAT_VERSION, FormatDamage, Le16, Le32, Le64};
use crate::view::DriveSet;

pub const MAGIC: [u8; 8] = *b"RINGBOLT";
/// Size of a copy in bytes.
pub const SUPERBLOCK_BYTES: usize = size_of::<SuperblockOnDisk>();
pub const COPIES: usize = 4;
/// Distance between the copies in bytes.
pub const COPY_STRIDE: u64 = 64 << 10;
/// The most shards that can have their root on one drive.
pub const ROOTS: usize = 96;
/// The most drives that a view names.
pub const VIEW_DRIVES: usize = 64;
/// The most views that one is counted from.
pub const VIEW_BASES: usize = 16;
/// The most shards of a node.
pub const SHARDS_MAX: usize = 1024;
/// The most home drives of a shard.
pub const HOMES: usize = 4;
/// The last format version whose superblock has 4 KiB.
const LAST_VERSION_OF_A_BLOCK: u32 = 2;

/// The place where a shard's recovery starts. It names the extents of its own drive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ShardRootOnDisk {
    pub shard: Le16,
    /// [`ROOT_NONE`], [`ROOT_LOG`] or [`ROOT_CHECKPOINT`].
    pub kind: Le16,
    /// Extent of the log's first batch, or of the checkpoint's root chunk.
    pub extent: Le32,
    /// Byte offset of the root chunk within the extent.
    pub offset: Le32,
    /// Length of the root chunk in bytes.
    pub length: Le32,
    /// Sequence of the log's first batch, or of the checkpoint.
    pub sequence: Le64,
    /// The crc32c of the root chunk.
    pub crc: Le32,
    /// Epoch of the last life that began a new extent for the shard's log. A log that ends in an
    /// earlier life is incomplete.
    pub log_epoch: Le32,
    /// Birth of the set that holds the log's first batch, or the root chunk.
    pub birth: Le64,
    /// Number of that set.
    pub set: Le32,
    pub reserved: [u8; 4],
}

/// Birth of the set that the first batch of a shard's log is written to: its set number is 0.
pub const FIRST_BIRTH: u64 = 1;

/// A drive as a view names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ViewDriveOnDisk {
    /// Number of the drive, which is never given to another one.
    pub number: Le16,
    /// [`DRIVE_NONE`], [`DRIVE_IN`], [`DRIVE_OUT`], [`DRIVE_GONE`] or [`DRIVE_EMPTIED`].
    pub state: Le16,
    /// One more than the number of the drive whose place it has taken, 0 for a drive of the format, or [`ADDED`].
    pub replaces: Le16,
    /// [`LACKS`], [`LEAVES`] and [`SPREADS`], or 0.
    pub flags: Le16,
    pub uuid: [u8; 16],
}

impl ViewDriveOnDisk {
    /// Returns the number of the drive whose place it has taken.
    pub fn replaced(&self) -> Option<u16> {
        self.replaces.get().checked_sub(1).filter(|_| !self.is_added())
    }

    /// Returns whether it was added to the set and takes no place of another one.
    pub fn is_added(&self) -> bool {
        self.replaces.get() == ADDED
    }

    /// Returns whether it may lack something that sets have on it.
    pub fn lacks(&self) -> bool {
        self.flags.get() & LACKS != 0
    }

    /// Returns whether what it holds is moved to other drives.
    pub fn leaves(&self) -> bool {
        self.flags.get() & LEAVES != 0
    }

    /// Returns whether it gets its share of stripes that were there before it.
    pub fn spreads(&self) -> bool {
        self.flags.get() & SPREADS != 0
    }

    /// Notes whether something holds for it.
    pub fn set_flag(&mut self, flag: u16, holds: bool) {
        let others = self.flags.get() & !flag;
        self.flags = Le16::new(if holds { others | flag } else { others });
    }
}

/// The drive was added, and takes no place of another one.
pub const ADDED: u16 = u16::MAX;
/// The drive may lack something that sets have on it: it was away, or is new in the place of another one.
pub const LACKS: u16 = 1;
/// What the drive holds is moved to other drives. It gets no new sets that others have room for.
pub const LEAVES: u16 = 2;
/// The drive gets its share of stripes that were there before it.
pub const SPREADS: u16 = 4;

/// The slot names no drive.
pub const DRIVE_NONE: u16 = 0;
/// The drive holds what it was given, and has a part in every acknowledgement that concerns it.
pub const DRIVE_IN: u16 = 1;
/// The drive was dropped. What it holds may be old.
pub const DRIVE_OUT: u16 = 2;
/// The drive is gone for good, as the operator has said. It never takes part again.
pub const DRIVE_GONE: u16 = 3;
/// All that the drive held was moved to others, and no set names it. It never takes part again.
pub const DRIVE_EMPTIED: u16 = 4;

/// The numbers of a shard's home drives, which hold its log, checkpoints and roots. [`NO_HOME`] in
/// the slots that are not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct HomesOnDisk {
    pub drives: [Le16; HOMES],
}

/// The slot of a home that is not used.
pub const NO_HOME: u16 = u16::MAX;
/// Added to the number of a drive that is to be a home again, or in the place of another one, and is none now.
pub const HOME_LACKS: u16 = 1 << 15;

/// The drives of the set and the homes of its shards, as of one number (epoch, counter).
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ViewOnDisk {
    /// The epoch in which the view was made. It is the number of the life of the node that uses it.
    pub epoch: Le32,
    /// Number of the view in its epoch, from 1.
    pub counter: Le32,
    pub reserved: [u8; 8],
    /// The drives that were ever in the set. A drive keeps its slot for ever, out of the view too, so that
    /// a bit can stand for it.
    pub drives: [ViewDriveOnDisk; VIEW_DRIVES],
    /// The homes of each shard, by its number.
    pub homes: [HomesOnDisk; SHARDS_MAX],
}

/// The slot holds no shard.
pub const ROOT_NONE: u16 = 0;
/// Recovery starts with the first batch of the log.
pub const ROOT_LOG: u16 = 1;
/// Recovery starts with a checkpoint.
pub const ROOT_CHECKPOINT: u16 = 2;

/// One copy of the superblock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SuperblockOnDisk {
    pub magic: [u8; 8],
    /// The crc32c of everything behind this field.
    pub crc: Le32,
    pub format_version: Le32,
    /// One more with every update.
    pub sequence: Le64,
    /// The crc of the superblock before this one.
    pub parent_crc: Le32,
    /// The highest epoch that this drive has promised. A later start has a greater one.
    pub promised_epoch: Le32,
    pub node_uuid: [u8; 16],
    /// The UUID of the format: new with every format, and the same on all drives of the set. Marks
    /// carry its first half.
    pub set_uuid: [u8; 16],
    pub drive_uuid: [u8; 16],
    /// Key of the hash that distributes keys over shards.
    pub hash_key: [Le64; 2],
    /// Unix time in milliseconds when the drive was formatted.
    pub created_ms: Le64,
    pub size_bytes: Le64,
    pub extent_bytes: Le64,
    /// Byte offset of extent 0.
    pub extents_start: Le64,
    pub extents: Le32,
    /// Bytes of the largest object that is stored inside its record.
    pub inline_bytes_max: Le32,
    pub slice_bytes: Le32,
    pub unit_bytes: Le32,
    /// Number of this drive in the view.
    pub drive_number: Le16,
    /// Number of shards of the whole node.
    pub shards: Le16,
    /// Data members of a set of slices: 1 where slices are copied.
    pub data_members: u8,
    /// Parity members of a set of slices, and copies of logs and checkpoints beside the first: M.
    pub parity_members: u8,
    pub reserved: [u8; 2],
    /// The members of the views that the view was counted from, a bit for each slot of its drives, as
    /// long as the drive does not know that the view was used. What is not needed is zero.
    pub bases: [Le64; VIEW_BASES],
    pub reserved_middle: [u8; 744],
    pub view: ViewOnDisk,
    pub roots: [ShardRootOnDisk; ROOTS],
    pub reserved_end: [u8; 1008],
}

const _: () = {
    assert!(size_of::<ShardRootOnDisk>() == 48);
    assert!(size_of::<ViewDriveOnDisk>() == 24);
    assert!(size_of::<ViewOnDisk>() == 16 + 1536 + 8192);
    assert!(SUPERBLOCK_BYTES == 16 << 10 && SUPERBLOCK_BYTES as u64 <= COPY_STRIDE);
    assert!(offset_of!(SuperblockOnDisk, sequence) == 16);
    assert!(offset_of!(SuperblockOnDisk, node_uuid) == 32);
    assert!(offset_of!(SuperblockOnDisk, hash_key) == 80);
    assert!(offset_of!(SuperblockOnDisk, extents) == 128);
    assert!(offset_of!(SuperblockOnDisk, reserved) == 150);
    assert!(offset_of!(SuperblockOnDisk, bases) == 152);
    assert!(offset_of!(SuperblockOnDisk, reserved_middle) == 280);
    assert!(offset_of!(SuperblockOnDisk, view) == 1024);
    assert!(offset_of!(SuperblockOnDisk, roots) == 10_768);
};

impl ViewOnDisk {
    /// Returns the number of the view, by which views are ordered.
    pub fn number(&self) -> (u32, u32) {
        (self.epoch.get(), self.counter.get())
    }

    /// Returns the drives that are in.
    pub fn drives_in(&self) -> impl Iterator<Item = &ViewDriveOnDisk> {
        self.drives.iter().filter(|drive| drive.state.get() == DRIVE_IN)
    }

    /// Returns the drives that are in, by their slots.
    pub fn members(&self) -> DriveSet {
        self.slots_with(|drive| drive.state.get() == DRIVE_IN)
    }

    /// Returns the drives that were ever in the set, by their slots.
    pub fn known(&self) -> DriveSet {
        self.slots_with(|drive| drive.state.get() != DRIVE_NONE)
    }

    /// Returns the drives that are gone for good, by their slots.
    pub fn gone(&self) -> DriveSet {
        self.slots_with(|drive| matches!(drive.state.get(), DRIVE_GONE | DRIVE_EMPTIED))
    }

    /// Returns the drives that were ever in the set.
    pub fn drives_known(&self) -> impl Iterator<Item = &ViewDriveOnDisk> {
        self.drives.iter().filter(|drive| drive.state.get() != DRIVE_NONE)
    }

    /// Returns the number of the drive that has taken the place of a drive.
    pub fn successor_of(&self, number: u16) -> Option<u16> {
        let is_it = |drive: &&ViewDriveOnDisk| drive.replaced() == Some(number);
        self.drives_known().find(is_it).map(|drive| drive.number.get())
    }

    /// Returns the numbers of the drives that have had the place of a drive, from itself on.
    fn line_of(&self, number: u16) -> impl Iterator<Item = u16> {
        std::iter::successors(Some(number), |number| self.successor_of(*number))
    }

    /// Returns whether a drive has, or has had, the place that another one had before, which may be itself.
    pub fn has_place_of(&self, number: u16, earlier: u16) -> bool {
        self.line_of(earlier).any(|later| later == number)
    }

    /// Returns what stands in the slots for the homes of `shard`.
    fn slots_of(&self, shard: u16) -> &[Le16] {
        self.homes.get(usize::from(shard)).map_or(&[], |homes| &homes.drives)
    }

    /// Writes `new` wherever `old` stands in a slot for a home.
    pub fn rename_homes(&mut self, old: u16, new: u16) {
        let slots = self.homes.iter_mut().flat_map(|homes| &mut homes.drives);
        slots.filter(|home| home.get() == old).for_each(|home| *home = Le16::new(new));
    }

    /// Returns the slots of the homes of `shard`.
    pub fn homes(&self, shard: u16) -> DriveSet {
        let homes = self.slots_of(shard);
        self.slots_with(|drive| drive.state.get() == DRIVE_IN && homes.contains(&drive.number))
    }

    fn slots_with(&self, is_meant: impl Fn(&ViewDriveOnDisk) -> bool) -> DriveSet {
        let slots = (0..).zip(&self.drives).filter(|(_, drive)| is_meant(drive));
        slots.map(|(slot, _)| slot).collect()
    }

    /// Returns the numbers of the homes of `shard`.
    pub fn home_numbers(&self, shard: u16) -> impl Iterator<Item = u16> {
        self.slots_of(shard).iter().map(|home| home.get()).filter(|home| *home < HOME_LACKS)
    }

    /// Returns the numbers of the drives that are to be homes of `shard`, and are none now.
    pub fn wanted_numbers(&self, shard: u16) -> impl Iterator<Item = u16> {
        let slots = self.slots_of(shard).iter().map(|home| home.get());
        slots.filter(|home| *home >= HOME_LACKS && *home != NO_HOME).map(|home| home - HOME_LACKS)
    }

    /// Returns how many drives may lack something that sets have on them, of those that are not here or not in too.
    pub fn lacking(&self, is_here: impl Fn(u16) -> bool) -> u32 {
        let lacks = |drive: &&ViewDriveOnDisk| {
            let number = drive.number.get();
            let is_missing = drive.state.get() == DRIVE_IN && !is_here(number);
            let has_a_place = drive.state.get() != DRIVE_EMPTIED && self.successor_of(number).is_none();
            has_a_place && (drive.lacks() || is_missing)
        };
        self.drives_known().filter(lacks).count() as u32
    }

    /// Returns whether each of the first `shards` shards has one to `homes_max` homes, or drives that are to be homes,
    /// the homes are drives that are in, no other shard has any, and no number is that of two drives.
    fn is_possible(&self, shards: u16, homes_max: usize) -> bool {
        let named: Vec<u16> = self
            .drives
            .iter()
            .filter(|drive| drive.state.get() != DRIVE_NONE)
            .map(|drive| drive.number.get())
            .collect();
        let distinct =
            (1..named.len()).all(|at| !named[..at].contains(&named[at])) && !named.contains(&NO_HOME);
        let is_known = |drive: &ViewDriveOnDisk| {
            drive.state.get() <= DRIVE_EMPTIED && drive.flags.get() <= LACKS | LEAVES | SPREADS
        };
        let known = self.drives.iter().all(is_known);
        // A place goes from a drive to one with a higher number, and to one alone.
        let heirs: Vec<_> =
            self.drives_known().filter_map(|drive| Some((drive.replaced()?, drive.number.get()))).collect();
        let takes_over = |(at, (earlier, later)): (usize, &(u16, u16))| {
            let is_taken = heirs[..at].iter().any(|(other, _)| other == earlier);
            let is_gone =
                |drive: &ViewDriveOnDisk| drive.number.get() == *earlier && drive.state.get() == DRIVE_GONE;
            self.drives.iter().any(is_gone) && earlier < later && !is_taken
        };
        let places = heirs.iter().enumerate().all(takes_over);
        let is_in = |home: u16| self.drives_in().any(|drive| drive.number.get() == home);
        let homes = self.homes.iter().enumerate().all(|(shard, homes)| {
            let used = homes.drives.iter().take_while(|home| home.get() != NO_HOME).count();
            let (slots, rest) = homes.drives.split_at(used);
            let numbers: Vec<u16> = slots.iter().map(|home| home.get() & !HOME_LACKS).collect();
            let distinct = (1..used).all(|at| !numbers[..at].contains(&numbers[at]));
            let known = numbers.iter().all(|number| named.contains(number));
            let mut homes = slots.iter().map(|home| home.get()).filter(|home| *home < HOME_LACKS).peekable();
            let has_one = used == 0 || homes.peek().is_some();
            let wanted = if shard < usize::from(shards) { 1..=homes_max } else { 0..=0 };
            let rest = rest.iter().all(|home| home.get() == NO_HOME);
            wanted.contains(&used) && distinct && known && rest && has_one && homes.all(is_in)
        });
        distinct && known && places && homes && self.counter.get() > 0
    }
}

impl SuperblockOnDisk {
    /// Computes the checksum and stores it.
    pub fn seal(&mut self) {
        self.crc = Le32::new(self.checksum());
    }

    /// Returns the bytes of the copy.
    pub fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }

    fn checksum(&self) -> u32 {
        crc32c::crc32c(&self.as_bytes()[12..])
    }

    /// Checks one copy.
    ///
    /// # Errors
    /// Returns what is wrong with the copy.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatDamage> {
        if let Some(version) = older_version(bytes) {
            return Err(FormatDamage::Version(version));
        }
        let block = Self::read_from_prefix(bytes).map_err(|_| FormatDamage::Short)?.0;
        if block.magic != MAGIC {
            return Err(FormatDamage::Magic);
        }
        if block.crc.get() != block.checksum() {
            return Err(FormatDamage::Checksum);
        }
        if block.format_version.get() != FORMAT_VERSION {
            return Err(FormatDamage::Version(block.format_version.get()));
        }
        let geometry = block.extent_bytes.get().checked_mul(u64::from(block.extents.get()));
        match geometry.and_then(|bytes| bytes.checked_add(block.extents_start.get())) {
            Some(end) if end <= block.size_bytes.get() && block.extents.get() > 0 => {}
            _ => return Err(FormatDamage::Field("extents")),
        }
        if !(1..=SHARDS_MAX as u16).contains(&block.shards.get()) {
            return Err(FormatDamage::Field("shards"));
        }
        let homes_max = usize::from(block.parity_members) + 1;
        let (data, all) = (block.data_members, block.data_members.saturating_add(block.parity_members));
        let is_striped = data > 1 && block.parity_members > 0 && usize::from(all) <= MEMBERS_OF_SLICES_MAX;
        if !(data == 1 || is_striped && usize::from(data) <= DATA_MEMBERS_MAX) || homes_max > HOMES {
            return Err(FormatDamage::Field("members of a set"));
        }
        let own =
            |drive: &ViewDriveOnDisk| (drive.number, drive.uuid) == (block.drive_number, block.drive_uuid);
        if !block.view.is_possible(block.shards.get(), homes_max) || !block.view.drives_in().any(own) {
            return Err(FormatDamage::Field("view"));
        }
        // Without redundancy a start needs every drive, so that there is nothing to count.
        let known = block.view.known();
        let impossible = |base: DriveSet| block.parity_members == 0 || !base.is_within(known);
        if block.bases().any(impossible) || block.bases().count() >= VIEW_BASES {
            return Err(FormatDamage::Field("bases"));
        }
        if block.view.epoch > block.promised_epoch {
            return Err(FormatDamage::Field("promised_epoch"));
        }
        Ok(block)
    }

    /// Returns the superblock in force, given the four copies as read from the drive.
    ///
    /// # Errors
    /// Returns [`FormatDamage::Version`] if any copy has another version, [`FormatDamage::Magic`]
    /// if no copy has the magic number, and [`FormatDamage::Checksum`] if no two copies agree.
    pub fn choose(copies: &[&[u8]]) -> Result<Self, FormatDamage> {
        let parsed: Vec<_> = copies.iter().map(|bytes| Self::parse(bytes)).collect();
        if let Some(other) = parsed.iter().find_map(|copy| match copy {
            Err(FormatDamage::Version(version)) => Some(*version),
            _ => None,
        }) {
            return Err(FormatDamage::Version(other));
        }
        let valid: Vec<Self> = parsed.iter().filter_map(|copy| copy.ok()).collect();
        let agreed = valid.iter().filter(|one| valid.iter().filter(|other| other == one).count() >= 2);
        match agreed.max_by_key(|copy| copy.sequence.get()) {
            Some(copy) => Ok(*copy),
            None if valid.is_empty() && parsed.iter().all(|copy| *copy == Err(FormatDamage::Magic)) => {
                Err(FormatDamage::Magic)
            }
            None => Err(FormatDamage::Checksum),
        }
    }

    /// Returns the first half of the UUID of the format, which marks carry.
    pub fn format_id(&self) -> u64 {
        first_half(&self.set_uuid)
    }

    /// Returns the first half of the drive's UUID.
    pub fn drive_id(&self) -> u64 {
        first_half(&self.drive_uuid)
    }

    /// Returns the members of each view that the view was counted from.
    pub fn bases(&self) -> impl Iterator<Item = DriveSet> {
        self.bases.iter().map(|bits| DriveSet::from_bits(bits.get())).filter(|base| !base.is_empty())
    }

    /// Returns the root of `shard`, if the drive has one.
    pub fn root_of(&self, shard: u16) -> Option<ShardRootOnDisk> {
        self.roots.iter().find(|root| root.kind.get() != ROOT_NONE && root.shard.get() == shard).copied()
    }
}

fn first_half(uuid: &[u8; 16]) -> u64 {
    uuid.first_chunk::<8>().map_or(0, |half| u64::from_le_bytes(*half))
}

/// Returns the format version of a superblock of 4 KiB, as earlier versions wrote it, if it is
/// whole.
fn older_version(bytes: &[u8]) -> Option<u32> {
    let block = bytes.get(..BLOCK_BYTES)?;
    let word = |at: usize| block[at..].first_chunk::<4>().map_or(0, |word| u32::from_le_bytes(*word));
    let version = word(12);
    let is_whole = || crc32c::crc32c(&block[12..]) == word(8);
    let is_older = block.starts_with(&MAGIC) && (1..=LAST_VERSION_OF_A_BLOCK).contains(&version);
    (is_older && is_whole()).then_some(version)
}

#[cfg(test)]
pub(crate) mod tests {
    use zerocopy::FromZeros;

    use super::*;

    pub(crate) fn example(sequence: u64) -> SuperblockOnDisk {
        let mut block = SuperblockOnDisk::new_zeroed();
        block.magic = MAGIC;
        block.format_version = Le32::new(FORMAT_VERSION);
        block.sequence = Le64::new(sequence);
        block.size_bytes = Le64::new(1 << 30);
        block.extent_bytes = Le64::new(4_210_688);
        block.extents_start = Le64::new(1 << 20);
        block.extents = Le32::new(200);
        (block.shards, block.data_members) = (Le16::new(4), 1);
        block.view.counter = Le32::new(1);
        block.view.drives[0].state = Le16::new(DRIVE_IN);
        for (shard, homes) in block.view.homes.iter_mut().enumerate() {
            homes.drives = [Le16::new(NO_HOME); HOMES];
            homes.drives[0] = Le16::new(if shard < 4 { 0 } else { NO_HOME });
        }
        block.seal();
        block
    }

    #[test]
    fn golden_bytes() {
        let block = example(7);
        let bytes = block.bytes();
        assert_eq!(&bytes[..8], b"RINGBOLT");
        assert_eq!(&bytes[12..32], &[3, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(&bytes[104..112], &[0, 0, 0, 0x40, 0, 0, 0, 0]);
        assert_eq!(crc32c::crc32c(bytes), 0x2e00_ca9b, "the golden superblock changed");
        assert_eq!(SuperblockOnDisk::parse(bytes), Ok(block));
        let mut counted = block;
        (counted.bases[0], counted.bases[15]) = (Le64::new(0b101), Le64::new(1 << 63));
        assert_eq!((counted.bytes()[152], counted.bytes()[279]), (0b101, 0x80));
        assert_eq!(counted.bases().map(DriveSet::bits).collect::<Vec<_>>(), [0b101, 1 << 63]);
        let places = (block.view.members(), block.view.known(), block.view.homes(3), block.view.homes(4));
        let first = DriveSet::from_bits(1);
        assert_eq!(places, (first, first, first, DriveSet::EMPTY));
    }

    #[test]
    fn two_copies_must_agree() {
        let (old, new) = (example(7), example(8));
        let zero = [0u8; SUPERBLOCK_BYTES];
        let choose = |copies: [&[u8]; 4]| SuperblockOnDisk::choose(&copies).map(|block| block.sequence.get());
        assert_eq!(choose([new.bytes(), new.bytes(), old.bytes(), old.bytes()]), Ok(8));
        assert_eq!(choose([new.bytes(), &zero, old.bytes(), old.bytes()]), Ok(7));
        assert_eq!(choose([new.bytes(), &zero, &zero, old.bytes()]), Err(FormatDamage::Checksum));
        assert_eq!(choose([&zero, &zero, &zero, &zero]), Err(FormatDamage::Magic));
        let mut flipped = new.bytes().to_vec();
        flipped[2000] ^= 1;
        assert_eq!(choose([&flipped, new.bytes(), old.bytes(), old.bytes()]), Ok(7));
    }

    #[test]
    fn another_version_is_named() {
        let mut newer = example(9);
        newer.format_version = Le32::new(FORMAT_VERSION + 1);
        newer.seal();
        let mut found = vec![(FORMAT_VERSION + 1, newer.bytes().to_vec())];
        // Earlier versions have a block of 4 KiB, and their checksum covers that.
        for version in [1, 2] {
            let mut block = example(9).bytes()[..BLOCK_BYTES].to_vec();
            block[12..16].copy_from_slice(&u32::to_le_bytes(version));
            let crc = crc32c::crc32c(&block[12..]);
            block[8..12].copy_from_slice(&crc.to_le_bytes());
            block.resize(SUPERBLOCK_BYTES, 0);
            found.push((version, block));
        }
        for (version, other) in found {
            let old = example(8);
            let copies = [&*other, &*other, old.bytes(), old.bytes()];
            assert_eq!(SuperblockOnDisk::choose(&copies), Err(FormatDamage::Version(version)));
        }
    }

    #[test]
    fn a_view_that_no_program_writes_is_refused() {
        type Change = fn(&mut SuperblockOnDisk);
        let changes: [(Change, &str); 12] = [
            (
                |block| {
                    block.view.drives[1] =
                        ViewDriveOnDisk { number: Le16::new(NO_HOME), ..block.view.drives[0] }
                },
                "view",
            ),
            (|block| block.bases[0] = Le64::new(1), "bases"),
            (|block| block.view.drives[0].state = Le16::new(DRIVE_OUT), "view"),
            (|block| block.view.drives[1] = block.view.drives[0], "view"),
            (|block| block.view.drives[1].state = Le16::new(5), "view"),
            (|block| block.view.drives[0].flags = Le16::new(8), "view"),
            (|block| block.view.homes[3].drives[0] = Le16::new(HOME_LACKS), "view"),
            (|block| block.view.homes[3].drives[0] = Le16::new(NO_HOME), "view"),
            (|block| block.view.homes[4].drives[0] = Le16::new(0), "view"),
            (|block| block.view.homes[0].drives[1] = Le16::new(0), "view"),
            (|block| block.view.epoch = Le32::new(1), "promised_epoch"),
            (|block| block.parity_members = HOMES as u8, "members of a set"),
        ];
        for (at, (change, field)) in changes.into_iter().enumerate() {
            let mut block = example(7);
            change(&mut block);
            block.seal();
            assert_eq!(
                SuperblockOnDisk::parse(block.bytes()),
                Err(FormatDamage::Field(field)),
                "change {at} was believed"
            );
        }
    }
}
