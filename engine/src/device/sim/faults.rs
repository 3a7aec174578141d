//! What a simulated drive does wrong, by odds and seed.
//!
//! Invariants:
//! - Same seed, same plan, same operations: same faults.
//! - A fault is counted when it happens, not when it is looked for.
//!
//! Kinds that a drive owns up to (errors, short transfers, delays) cost nothing that was acknowledged. Kinds that it
//! does not own up to (misdirected and lost writes, rot) are what checksums and identities are for.

use std::collections::VecDeque;
use std::ops::Range;

use crate::format::BLOCK_BYTES;
use crate::sim::Random;

/// Places written to that are remembered as targets.
const PLACES_REMEMBERED: usize = 512;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// One read fails.
    ReadError,
    /// A few blocks can not be read any more, until they are written again or the drive is healed.
    UnreadableBlocks,
    /// One write fails; any part of it may have been done.
    WriteError,
    /// From now on every write fails, until the drive is healed.
    WritesFail,
    /// One flush fails: what it should have made durable never is.
    FlushError,
    /// A read ends early, or is interrupted before it begins.
    ShortRead,
    /// The same of a write.
    ShortWrite,
    /// An operation takes up to a thousand times as long.
    Delay,
    /// A read gives what is stored elsewhere.
    MisdirectedRead,
    /// A write goes elsewhere.
    MisdirectedWrite,
    /// A write is acknowledged and never done.
    LostWrite,
    /// A bit of durable data flips.
    Rot,
}

impl FaultKind {
    pub const COUNT: usize = 12;
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
    ];

    /// As people call it.
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
        }
    }
}

/// How many of each kind.
pub type FaultCounts = [u64; FaultKind::COUNT];

/// How often what goes wrong. Empty at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultPlan {
    /// Once in so many operations that it could hit; 0 is never.
    one_in: FaultCounts,
    most: FaultCounts,
}

impl FaultPlan {
    /// Adds a kind: once in `one_in` operations, `most` times at most.
    pub fn with(mut self, kind: FaultKind, one_in: u64, most: u64) -> Self {
        (self.one_in[kind as usize], self.most[kind as usize]) = (one_in, most);
        self
    }

    pub fn is_empty(&self) -> bool {
        self.one_in.iter().all(|one_in| *one_in == 0)
    }
}

/// Decides for one drive.
pub(super) struct Injector {
    pub random: Random,
    plan: FaultPlan,
    pub counts: FaultCounts,
    pub unreadable: Vec<Range<usize>>,
    pub writes_fail: bool,
    /// Where was written last, newest at the back.
    places: VecDeque<Range<usize>>,
}

/// How a read or write goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Course {
    Well,
    /// The error, and how many bytes of a write were done all the same.
    Fails {
        done: usize,
    },
    /// Nothing happened; to be asked again.
    Interrupted,
    Short {
        bytes: usize,
    },
    Elsewhere {
        offset: usize,
    },
    /// A write only.
    Lost,
}

impl Injector {
    pub fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            plan: FaultPlan::default(),
            counts: FaultCounts::default(),
            unreadable: Vec::new(),
            writes_fail: false,
            places: VecDeque::new(),
        }
    }

    pub fn follow(&mut self, plan: FaultPlan) {
        self.plan = plan;
    }

    pub fn heal(&mut self) {
        self.unreadable.clear();
        self.writes_fail = false;
    }

    /// Whether it happens now; counted.
    pub fn strikes(&mut self, kind: FaultKind) -> bool {
        let at = kind as usize;
        if self.plan.most[at] == 0 || self.plan.one_in[at] == 0 || !self.random.one_in(self.plan.one_in[at]) {
            return false;
        }
        self.plan.most[at] -= 1;
        self.counts[at] += 1;
        true
    }

    pub fn course_of_read(&mut self, offset: usize, length: usize) -> Course {
        if self.plan.is_empty() && self.unreadable.is_empty() {
            return Course::Well;
        }
        if self.strikes(FaultKind::UnreadableBlocks) {
            let block = offset + self.random.below(length as u64) as usize;
            let block = block - block % BLOCK_BYTES;
            let end = block + BLOCK_BYTES * (1 + self.random.below(4) as usize);
            self.unreadable.push(block..end);
        }
        let hits = |range: &Range<usize>| range.start < offset + length && offset < range.end;
        if self.unreadable.iter().any(hits) || self.strikes(FaultKind::ReadError) {
            return Course::Fails { done: 0 };
        }
        if self.strikes(FaultKind::ShortRead) {
            return self.short(length);
        }
        match self.other_place(FaultKind::MisdirectedRead, offset, length) {
            Some(offset) => Course::Elsewhere { offset },
            None => Course::Well,
        }
    }

    pub fn course_of_write(&mut self, offset: usize, length: usize) -> Course {
        self.remember(offset..offset + length);
        if self.plan.is_empty() && !self.writes_fail {
            return Course::Well;
        }
        if !self.writes_fail && self.strikes(FaultKind::WritesFail) {
            self.writes_fail = true;
        }
        if self.writes_fail || self.strikes(FaultKind::WriteError) {
            let sectors = (length / super::SECTOR) as u64;
            return Course::Fails { done: self.random.below(sectors + 1) as usize * super::SECTOR };
        }
        if self.strikes(FaultKind::ShortWrite) {
            return self.short(length);
        }
        if self.strikes(FaultKind::LostWrite) {
            return Course::Lost;
        }
        match self.other_place(FaultKind::MisdirectedWrite, offset, length) {
            Some(offset) => Course::Elsewhere { offset },
            None => Course::Well,
        }
    }

    fn short(&mut self, length: usize) -> Course {
        let sectors = (length / super::SECTOR) as u64;
        match self.random.below(sectors) as usize {
            0 => Course::Interrupted,
            sectors => Course::Short { bytes: sectors * super::SECTOR },
        }
    }

    fn remember(&mut self, place: Range<usize>) {
        self.unreadable.retain(|range| range.start < place.start || place.end < range.end);
        if self.places.len() == PLACES_REMEMBERED {
            self.places.pop_front();
        }
        self.places.push_back(place);
    }

    /// Where something lies that was written before, if the fault strikes and there is such a place.
    fn other_place(&mut self, kind: FaultKind, offset: usize, length: usize) -> Option<usize> {
        // Overlapping itself it would be another fault: half a write.
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

    /// A byte to rot, among what was written, and the bit.
    pub fn place_to_rot(&mut self) -> Option<(usize, u8)> {
        if self.plan.one_in[FaultKind::Rot as usize] == 0 || self.places.is_empty() {
            return None;
        }
        let place = self.places[self.random.below(self.places.len() as u64) as usize].clone();
        let at = place.start + self.random.below(place.len() as u64) as usize;
        Some((at, 1 << self.random.below(8)))
    }
}
