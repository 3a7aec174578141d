//! This module derives from a recording the drives that a power cut may leave.
//!
//! Invariants:
//! - Durable at a cut are: what an ended immediate write wrote, and what had ended before the start
//!   of a flush that ended. Everything else that was started may be there, completely, in part by
//!   sectors, or not at all.
//! - A write that is not durable never overwrites a later one that is.
//! - The durable bytes change only where `settled` says so; copies of them are updated by it.

use crate::workload::Recording;
use ringbolt_engine::device::Durability;
use ringbolt_engine::device::record::Event;
use ringbolt_tests::Dice;
use std::collections::HashMap;
use std::ops::Range;

const SECTOR: usize = 512;

/// This is a write that was started and is not durable.
struct Volatile<'a> {
    id: u64,
    offset: usize,
    bytes: &'a [u8],
    ended: bool,
}

/// Holds what the drive contains for certain, and what it may contain, at one position of a
/// recording.
pub struct Replay<'a> {
    events: &'a [Event],
    at: usize,
    /// Holds the certain bytes; only `volatile` may be on top of them.
    durable: Vec<u8>,
    volatile: Vec<Volatile<'a>>,
    /// Lists where `durable` was changed, from the beginning on.
    settled: Vec<Range<usize>>,
    /// Holds for each flush the writes it covers.
    flushing: HashMap<u64, Vec<u64>>,
    durability: HashMap<u64, Durability>,
    /// Makes flushes do nothing, which the test of these tests uses.
    pub lies: bool,
}

/// Says what happens to writes that are not durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fates {
    AllLost,
    AllKept,
    /// Decides for each write: kept, lost, torn after some sector, or only some sectors of it.
    Mixed,
}

/// Holds bytes and their place on the drive.
#[derive(Clone, Copy)]
pub struct Piece<'a> {
    pub offset: usize,
    pub bytes: &'a [u8],
}

impl Piece<'_> {
    pub fn range(&self) -> Range<usize> {
        self.offset..self.offset + self.bytes.len()
    }
}

impl<'a> Replay<'a> {
    pub fn new(recording: &'a Recording) -> Self {
        Self {
            events: &recording.events,
            at: 0,
            durable: recording.base.clone(),
            volatile: Vec::new(),
            settled: Vec::new(),
            flushing: HashMap::new(),
            durability: HashMap::new(),
            lies: false,
        }
    }

    /// Advances to the position before event `cut`.
    pub fn advance(&mut self, cut: usize) {
        while self.at < cut {
            match &self.events[self.at] {
                Event::WriteStarted { id, offset, bytes, durability } => {
                    self.durability.insert(*id, *durability);
                    self.volatile.push(Volatile { id: *id, offset: *offset as usize, bytes, ended: false });
                }
                Event::WriteEnded { id } if self.durability.get(id) == Some(&Durability::Immediate) => {
                    self.settle(&[*id]);
                }
                Event::WriteEnded { id } => {
                    self.volatile
                        .iter_mut()
                        .filter(|write| write.id == *id)
                        .for_each(|write| write.ended = true);
                }
                Event::FlushStarted { id } => {
                    let ended = self.volatile.iter().filter(|write| write.ended).map(|write| write.id);
                    self.flushing.insert(*id, ended.collect());
                }
                Event::FlushEnded { id } => {
                    let covered = self.flushing.remove(id).expect("a flush ends after its start");
                    self.settle(&covered);
                }
                Event::Mark(_) => {}
            }
            self.at += 1;
        }
    }

    /// Makes these writes durable; older ones that are not durable cannot undo them.
    fn settle(&mut self, ids: &[u64]) {
        if self.lies {
            return;
        }
        for id in ids {
            let Some(at) = self.volatile.iter().position(|write| write.id == *id) else { continue };
            let done = self.volatile.remove(at);
            let end = done.offset + done.bytes.len();
            self.durable[done.offset..end].copy_from_slice(done.bytes);
            self.settled.push(done.offset..end);
            self.volatile.retain(|other| {
                other.id > done.id || other.offset >= end || other.offset + other.bytes.len() <= done.offset
            });
        }
    }

    /// Returns the number of writes that are not durable.
    pub fn open_writes(&self) -> usize {
        self.volatile.len()
    }

    pub fn durable(&self) -> &[u8] {
        &self.durable
    }

    pub fn settled(&self) -> &[Range<usize>] {
        &self.settled
    }

    /// Returns what a cut here may leave on top of the durable bytes, in this order.
    pub fn remains(&self, fates: Fates, dice: &mut Dice) -> Vec<Piece<'a>> {
        let mut remains = Vec::new();
        for write in &self.volatile {
            let sectors = write.bytes.len() / SECTOR;
            let (choice, mask, torn) = (dice.below(4), dice.next(), dice.below(sectors + 1));
            let is_kept = |sector: usize| match (fates, choice) {
                (Fates::AllKept, _) | (Fates::Mixed, 0) => true,
                (Fates::AllLost, _) | (Fates::Mixed, 1) => false,
                (Fates::Mixed, 2) => sector < torn,
                (Fates::Mixed, _) => mask >> (sector % 64) & 1 == 1,
            };
            let kept: Vec<usize> = (0..sectors).filter(|&sector| is_kept(sector)).collect();
            // There is a piece for each run of sectors; most writes are one.
            for stretch in kept.chunk_by(|sector, next| sector + 1 == *next) {
                let (from, end) = (stretch[0] * SECTOR, (stretch[stretch.len() - 1] + 1) * SECTOR);
                remains.push(Piece { offset: write.offset + from, bytes: &write.bytes[from..end] });
            }
        }
        remains
    }
}
