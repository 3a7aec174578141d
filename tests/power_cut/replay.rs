//! Drives as a power cut may leave them, made from a recording.
//!
//! Invariants:
//! - Durable at a cut: what an ended immediate write wrote, and what had ended before the start of a flush that
//!   ended. Everything else that was started may be there, whole, in part by sectors, or not at all.
//! - A write that is not durable never comes out on top of a later one that is.

use crate::history::Expected;
use crate::workload::Recording;
use ringbolt_engine::device::Durability;
use ringbolt_engine::device::record::Event;
use ringbolt_engine::device::sim::SimDevice;
use ringbolt_engine::sim::{SimNode, SimOptions, Simulator};
use ringbolt_tests::Dice;
use std::collections::HashMap;

const SECTOR: usize = 512;

/// A write that was started and is not durable.
struct Volatile<'a> {
    id: u64,
    offset: usize,
    bytes: &'a [u8],
    ended: bool,
}

/// What the drive holds for certain, and what it may hold, while a recording is walked through.
pub struct Replay<'a> {
    events: &'a [Event],
    at: usize,
    /// Nothing but `volatile` may be on top of it.
    durable: Vec<u8>,
    volatile: Vec<Volatile<'a>>,
    /// By flush: the writes it covers.
    flushing: HashMap<u64, Vec<u64>>,
    durability: HashMap<u64, Durability>,
    /// A drive whose flushes do nothing: what the test of these tests plants.
    pub lies: bool,
}

/// What becomes of the writes that are not durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fates {
    AllLost,
    AllKept,
    /// Each by itself: kept, lost, torn behind some sector, or some sectors of it.
    Mixed,
}

impl<'a> Replay<'a> {
    pub fn new(recording: &'a Recording) -> Self {
        Self {
            events: &recording.events,
            at: 0,
            durable: recording.base.clone(),
            volatile: Vec::new(),
            flushing: HashMap::new(),
            durability: HashMap::new(),
            lies: false,
        }
    }

    /// Goes on to before event `cut`.
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

    /// These writes are durable; older ones that are not can not undo them.
    fn settle(&mut self, ids: &[u64]) {
        if self.lies {
            return;
        }
        for id in ids {
            let Some(at) = self.volatile.iter().position(|write| write.id == *id) else { continue };
            let done = self.volatile.remove(at);
            let end = done.offset + done.bytes.len();
            self.durable[done.offset..end].copy_from_slice(done.bytes);
            self.volatile.retain(|other| {
                other.id > done.id || other.offset >= end || other.offset + other.bytes.len() <= done.offset
            });
        }
    }

    /// Writes whose fate is open.
    pub fn open_writes(&self) -> usize {
        self.volatile.len()
    }

    /// What a cut here may leave.
    pub fn image(&self, fates: Fates, dice: &mut Dice) -> Vec<u8> {
        let mut image = self.durable.clone();
        for write in &self.volatile {
            let sectors = write.bytes.len() / SECTOR;
            let (choice, mask, torn) = (dice.below(4), dice.next(), dice.below(sectors + 1));
            for (sector, bytes) in write.bytes.chunks(SECTOR).enumerate() {
                let kept = match (fates, choice) {
                    (Fates::AllKept, _) | (Fates::Mixed, 0) => true,
                    (Fates::AllLost, _) | (Fates::Mixed, 1) => false,
                    (Fates::Mixed, 2) => sector < torn,
                    (Fates::Mixed, _) => mask >> (sector % 64) & 1 == 1,
                };
                if kept {
                    let from = write.offset + sector * SECTOR;
                    image[from..from + bytes.len()].copy_from_slice(bytes);
                }
            }
        }
        image
    }
}

/// A simulated drive that is used again and again: only its bytes matter.
pub struct Bench {
    device: SimDevice,
}

impl Bench {
    pub fn new(size_bytes: usize) -> Self {
        Self { device: SimDevice::new(size_bytes as u64) }
    }

    /// Recovers a node from `image` and holds it against what must be there. Gives how many objects there were.
    pub fn recover(&self, image: &[u8], expected: Expected, seed: u64) -> Result<usize, String> {
        self.device.crash(|_| ringbolt_engine::device::sim::Fate::Lost);
        self.device.poke(0, image);
        let sim = Simulator::new(seed);
        let options = SimOptions { cores: 1 + (seed % 2) as usize, ..SimOptions::default() };
        let opening = SimNode::open(sim.clone(), vec![self.device.clone()], options);
        let outcome = match sim.block_on(opening) {
            Ok(node) => sim.block_on(async move { expected.check(&node.any_core()).await }),
            Err(error) => Err(format!("it does not open: {error}")),
        };
        sim.kill();
        outcome
    }
}
