//! The faults of a simulated drive, decided by odds and a seed.
//!
//! Invariants:
//! - The same seed, plan and operations give the same faults.
//! - A fault is counted when it happens, not when it is looked for.
//!
//! Faults that a drive reports (errors, short transfers, delays) must cost nothing that was
//! acknowledged. Faults that it does not report (misdirected and lost writes, rot) are what
//! checksums and identities are for.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use super::fate::SECTOR;
use crate::executor::Random;
use crate::format::BLOCK_BYTES;

/// Number of places that were written lately and are remembered as targets.
const PLACES_REMEMBERED: usize = 512;
/// Number of places that are remembered as targets for each kind of structure, from the drive's
/// whole past and not only the newest.
const ALIKE_REMEMBERED: usize = 256;
/// Farthest distance, in blocks, of an operation that is misdirected to a place near its own.
const NEAR_BLOCKS: u64 = 8;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// One read fails.
    ReadError,
    /// A few blocks can not be read until they are written again or the drive is healed.
    UnreadableBlocks,
    /// One write fails. Any of its sectors may have been written.
    WriteError,
    /// Every write fails until the drive is healed.
    WritesFail,
    /// One flush fails. What it should have made durable never becomes durable.
    FlushError,
    /// A read ends early, or is interrupted before it begins.
    ShortRead,
    /// A write ends early, or is interrupted before it begins.
    ShortWrite,
    /// An operation takes up to a thousand times as long.
    Delay,
    /// A read gives what is stored at another place.
    MisdirectedRead,
    /// A write goes to another place.
    MisdirectedWrite,
    /// A write is acknowledged and never done.
    LostWrite,
    /// A bit of durable data flips.
    Rot,
    /// The drive answers nothing for some seconds, and then goes on.
    Stall,
    /// A few blocks take no writes until the drive is healed. A write over them fails, and its
    /// other sectors are written.
    UnwritableBlocks,
    /// A read gives another structure of the same kind (batch, slice header, chunk, data) from
    /// anywhere in the drive's past, or what is stored a few blocks away.
    MisdirectedReadAlike,
    /// A write goes over another structure of the same kind, or to a place a few blocks away.
    MisdirectedWriteAlike,
    /// A write is acknowledged, but only some of its sectors are written.
    TornWrite,
}

impl FaultKind {
    pub const COUNT: usize = 17;
    pub const ALL: [Self; Self::COUNT] = [
        Self::ReadError,
        Self::UnreadableBlocks,
        Self::WriteError,
        Self::WritesFail,
        Self::FlushError,
        Self::ShortRead,
        Self::ShortWrite,
        Self::Delay,
        Self::MisdirectedRead,
        Self::MisdirectedWrite,
        Self::LostWrite,
        Self::Rot,
        Self::Stall,
        Self::UnwritableBlocks,
        Self::MisdirectedReadAlike,
        Self::MisdirectedWriteAlike,
        Self::TornWrite,
    ];

    /// Returns the usual name of the fault.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadError => "read-error",
            Self::UnreadableBlocks => "unreadable-blocks",
            Self::WriteError => "write-error",
            Self::WritesFail => "writes-fail",
            Self::FlushError => "flush-error",
            Self::ShortRead => "short-read",
            Self::ShortWrite => "short-write",
            Self::Delay => "delay",
            Self::MisdirectedRead => "misdirected-read",
            Self::MisdirectedWrite => "misdirected-write",
            Self::LostWrite => "lost-write",
            Self::Rot => "rot",
            Self::Stall => "stall",
            Self::UnwritableBlocks => "unwritable-blocks",
            Self::MisdirectedReadAlike => "misdirected-read-alike",
            Self::MisdirectedWriteAlike => "misdirected-write-alike",
            Self::TornWrite => "torn-write",
        }
    }
}

/// A number for each kind of fault.
pub type FaultCounts = [u64; FaultKind::COUNT];

/// The odds and limits of faults. By default it has none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultPlan {
    /// A fault strikes once in this many operations that it could hit; never if it is 0.
    one_in: FaultCounts,
    /// Most times that each fault strikes.
    most: FaultCounts,
}

impl FaultPlan {
    /// Adds a kind of fault that strikes once in `one_in` operations and at most `most` times.
    pub fn with(mut self, kind: FaultKind, one_in: u64, most: u64) -> Self {
        (self.one_in[kind as usize], self.most[kind as usize]) = (one_in, most);
        self
    }

    /// Adds every kind that `other` has. For a kind in both plans, `other` counts.
    pub fn and(mut self, other: Self) -> Self {
        for kind in FaultKind::ALL.into_iter().filter(|kind| other.one_in[*kind as usize] > 0) {
            self = self.with(kind, other.one_in[kind as usize], other.most[kind as usize]);
        }
        self
    }

    pub fn is_empty(&self) -> bool {
        self.one_in.iter().all(|one_in| *one_in == 0)
    }
}

/// The first bytes of a structure, which tell its kind; zeros for data.
type Head = [u8; 8];

/// The faults of one drive, and the choices about them.
pub(super) struct Injector {
    pub random: Random,
    plan: FaultPlan,
    pub counts: FaultCounts,
    /// Ranges that can not be read.
    pub unreadable: Vec<Range<usize>>,
    unwritable: Vec<Range<usize>>,
    /// Set while all writes fail.
    pub writes_fail: bool,
    /// Places that were written lately, the newest at the back.
    places: VecDeque<Range<usize>>,
    /// Some of the places where a structure was written, by kind of structure.
    alike: BTreeMap<Head, Vec<Range<usize>>>,
    /// The choice of the places to forget. It is separate from all other choices.
    forgetting: Random,
}

/// The course of a read or write.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Course {
    Well,
    /// The operation fails. `sectors` of a write are done all the same, except at the `refused`
    /// places.
    Fails {
        sectors: usize,
        refused: Vec<Range<usize>>,
    },
    /// Nothing happened, and the operation must be asked for again.
    Interrupted,
    Short {
        bytes: usize,
    },
    Elsewhere {
        offset: usize,
    },
    /// The write is acknowledged, but only this many of its sectors are written.
    Lost {
        sectors: usize,
    },
}

impl Injector {
    pub fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            plan: FaultPlan::default(),
            counts: FaultCounts::default(),
            unreadable: Vec::new(),
            unwritable: Vec::new(),
            writes_fail: false,
            places: VecDeque::new(),
            alike: BTreeMap::new(),
            forgetting: Random::new(seed ^ u64::from(u32::MAX)),
        }
    }

    /// Follows another plan from now on.
    pub fn follow(&mut self, plan: FaultPlan) {
        self.plan = plan;
    }

    /// Ends lasting faults.
    pub fn heal(&mut self) {
        self.unreadable.clear();
        self.unwritable.clear();
        self.writes_fail = false;
    }

    /// Returns whether a fault strikes now, and counts it.
    pub fn strikes(&mut self, kind: FaultKind) -> bool {
        let at = kind as usize;
        if self.plan.most[at] == 0 || self.plan.one_in[at] == 0 || !self.random.one_in(self.plan.one_in[at]) {
            return false;
        }
        self.plan.most[at] -= 1;
        self.counts[at] += 1;
        true
    }

    /// Decides the course of a read.
    pub fn course_of_read(&mut self, offset: usize, length: usize) -> Course {
        if self.plan.is_empty() && self.unreadable.is_empty() {
            return Course::Well;
        }
        if self.strikes(FaultKind::UnreadableBlocks) {
            let blocks = self.some_blocks(offset, length);
            self.unreadable.push(blocks);
        }
        if overlaps(&self.unreadable, offset, length) || self.strikes(FaultKind::ReadError) {
            return Course::Fails { sectors: 0, refused: Vec::new() };
        }
        if self.strikes(FaultKind::ShortRead) {
            return self.short(length);
        }
        let elsewhere = match self.other_place(FaultKind::MisdirectedRead, offset, length) {
            Some(place) => Some(place),
            None => self.alike(FaultKind::MisdirectedReadAlike, None, offset, length),
        };
        elsewhere.map_or(Course::Well, |offset| Course::Elsewhere { offset })
    }

    /// Decides the course of a write. `start` is the first bytes of what is written.
    pub fn course_of_write(&mut self, offset: usize, length: usize, start: &[u8]) -> Course {
        let head = head_of(start);
        self.remember(head, offset..offset + length);
        if self.plan.is_empty() && !self.writes_fail && self.unwritable.is_empty() {
            return Course::Well;
        }
        let sectors = length / SECTOR;
        if !self.writes_fail && self.strikes(FaultKind::WritesFail) {
            self.writes_fail = true;
        }
        if self.writes_fail || self.strikes(FaultKind::WriteError) {
            let sectors = self.random.below(sectors as u64 + 1) as usize;
            return Course::Fails { sectors, refused: Vec::new() };
        }
        if self.strikes(FaultKind::UnwritableBlocks) {
            let blocks = self.some_blocks(offset, length);
            self.unwritable.push(blocks);
        }
        if overlaps(&self.unwritable, offset, length) {
            return Course::Fails { sectors, refused: self.unwritable.clone() };
        }
        if self.strikes(FaultKind::ShortWrite) {
            return self.short(length);
        }
        if self.strikes(FaultKind::LostWrite) {
            return Course::Lost { sectors: 0 };
        }
        if self.strikes(FaultKind::TornWrite) {
            return Course::Lost { sectors: self.random.below(sectors as u64) as usize };
        }
        let elsewhere = match self.other_place(FaultKind::MisdirectedWrite, offset, length) {
            Some(place) => Some(place),
            None => self.alike(FaultKind::MisdirectedWriteAlike, Some(head), offset, length),
        };
        elsewhere.map_or(Course::Well, |offset| Course::Elsewhere { offset })
    }

    /// Makes a transfer short. The kernel may end one at any byte.
    fn short(&mut self, length: usize) -> Course {
        match self.random.below(16) {
            0 => Course::Interrupted,
            1..=8 => Course::Short { bytes: 1 + self.random.below(length as u64 - 1) as usize },
            _ => {
                let sectors = (length / SECTOR) as u64;
                Course::Short { bytes: (1 + self.random.below(sectors - 1) as usize) * SECTOR }
            }
        }
    }

    /// Chooses up to four blocks, the first of them within the operation.
    fn some_blocks(&mut self, offset: usize, length: usize) -> Range<usize> {
        let block = offset + self.random.below(length as u64) as usize;
        let block = block - block % BLOCK_BYTES;
        block..block + BLOCK_BYTES * (1 + self.random.below(4) as usize)
    }

    fn remember(&mut self, head: Head, place: Range<usize>) {
        self.unreadable.retain(|range| range.start < place.start || place.end < range.end);
        if self.places.len() == PLACES_REMEMBERED {
            self.places.pop_front();
        }
        self.places.push_back(place.clone());
        let alike = self.alike.entry(head).or_default();
        if alike.len() == ALIKE_REMEMBERED {
            alike.swap_remove(self.forgetting.below(ALIKE_REMEMBERED as u64) as usize);
        }
        alike.push(place);
    }

    /// Chooses the place of an earlier write, if the fault strikes and there is one apart from this
    /// operation.
    fn other_place(&mut self, kind: FaultKind, offset: usize, length: usize) -> Option<usize> {
        // A place that overlaps the operation itself would be another fault, half a write.
        let apart = |place: &&Range<usize>| place.start + length <= offset || offset + length <= place.start;
        let count = match self.plan.one_in[kind as usize] {
            0 => 0,
            _ => self.places.iter().filter(apart).count() as u64,
        };
        if count == 0 || !self.strikes(kind) {
            return None;
        }
        let chosen = self.random.below(count) as usize;
        self.places.iter().filter(apart).nth(chosen).map(|place| place.start)
    }

    /// Chooses a place that holds, or once held, the same kind of structure, or a place a few
    /// blocks away. `head` is the kind of what is written; with `None` it is the kind of what is
    /// stored there.
    fn alike(&mut self, kind: FaultKind, head: Option<Head>, offset: usize, length: usize) -> Option<usize> {
        if self.plan.one_in[kind as usize] == 0 || !self.strikes(kind) {
            return None;
        }
        let away = (1 + self.random.below(NEAR_BLOCKS) as usize) * BLOCK_BYTES;
        let near = if offset < away || self.random.one_in(2) { offset + away } else { offset - away };
        let stored = || {
            let holding = self.alike.iter().find_map(|(head, places)| {
                let place = places.iter().rev().find(|place| place.contains(&offset))?;
                Some((*head, offset - place.start))
            });
            holding.unwrap_or_default()
        };
        let (head, within) = head.map_or_else(stored, |head| (head, 0));
        // The target is the same block of another structure, or its first one if that structure is
        // shorter.
        let target = |place: &Range<usize>| match place.start + within < place.end {
            true => place.start + within,
            false => place.start,
        };
        let apart = |at: &usize| at + length <= offset || offset + length <= *at;
        let places = self.alike.get(&head).into_iter().flatten();
        let targets: Vec<usize> = places.map(target).filter(apart).collect();
        match targets.len() as u64 {
            count if count > 0 && !self.random.one_in(4) => Some(targets[self.random.below(count) as usize]),
            _ => Some(near),
        }
    }

    /// Chooses the byte, among what was written, and the bit that rots.
    pub fn place_to_rot(&mut self) -> Option<(usize, u8)> {
        if self.plan.one_in[FaultKind::Rot as usize] == 0 || self.places.is_empty() {
            return None;
        }
        let place = self.places[self.random.below(self.places.len() as u64) as usize].clone();
        let at = place.start + self.random.below(place.len() as u64) as usize;
        Some((at, 1 << self.random.below(8)))
    }
}

fn overlaps(ranges: &[Range<usize>], offset: usize, length: usize) -> bool {
    ranges.iter().any(|range| range.start < offset + length && offset < range.end)
}

/// Returns the kind of a structure. Every structure of the format starts with eight letters, the
/// first two of which are always the same.
fn head_of(start: &[u8]) -> Head {
    let head = start.first_chunk::<8>().copied().unwrap_or_default();
    if head.starts_with(b"RB") { head } else { Head::default() }
}
