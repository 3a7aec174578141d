//! This module recovers drives in the state that a power cut leaves: a simulated drive, and a real
//! file.
//!
//! Invariants:
//! - Between two recoveries, a bench's drive holds the durable bytes of the last cut and nothing
//!   else. Only differences are written before a recovery and undone after it; the drive is copied
//!   as a whole only if recovery made durable changes that cannot be undone.
//! - What recovery wrote is read from the drive, not derived from the engine's rules; `compare`
//!   checks all bytes.

use crate::history::Expected;
use crate::replay::{Piece, Replay};
use crate::workload::SHARDS;
use ringbolt_engine::device::record::{Event, Recorder};
use ringbolt_engine::node::{NodePlan, sizing};
use ringbolt_engine::sim::device::{Fate, Faults, SimDevice};
use ringbolt_engine::sim::{SimNode, SimOptions, Simulator};
use ringbolt_tests::node::{self, End, options};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// This is a simulated drive in a simulated world, both of which are reused.
pub struct SimBench {
    device: SimDevice,
    sim: Simulator,
    /// Counts the entries of the replay's `settled` that the drive has.
    seen: usize,
}

impl SimBench {
    pub fn new(replay: &Replay, seed: u64) -> Self {
        let device = SimDevice::new(replay.durable().len() as u64);
        device.poke(0, replay.durable());
        Self { device, sim: Simulator::new(seed), seen: replay.settled().len() }
    }

    /// Recovers a node with this many cores from the durable bytes with `remains` on top, and
    /// compares it with what must be there. Returns the number of objects.
    pub fn recover(
        &mut self,
        replay: &Replay,
        remains: &[Piece],
        expected: &Arc<Expected>,
        cores: usize,
    ) -> Result<usize, String> {
        self.catch_up(replay);
        remains.iter().for_each(|piece| self.device.poke(piece.offset as u64, piece.bytes));
        // Nobody cuts this life, so its flushes have no visible effect, except that every write can
        // be undone.
        self.device.set_faults(Faults { lie_about_flushes: true, ..Faults::default() });
        let writes_before = self.device.counts().1;
        let outcome = self.open_and_check(expected, cores);
        self.sim.kill();
        let written = self.device.counts().1 - writes_before;
        let taken_back = self.device.cached_writes() as u64;
        self.device.crash(|_| Fate::Lost);
        if taken_back == written {
            remains.iter().for_each(|piece| self.restore(replay, piece.range()));
        } else {
            // Some of the writes were immediate.
            self.device.poke(0, replay.durable());
        }
        outcome
    }

    /// Brings the drive to the current durable bytes.
    fn catch_up(&mut self, replay: &Replay) {
        let new = &replay.settled()[self.seen..];
        new.iter().for_each(|range| self.restore(replay, range.clone()));
        self.seen += new.len();
    }

    fn open_and_check(&self, expected: &Arc<Expected>, cores: usize) -> Result<usize, String> {
        let options = SimOptions { cores, ..SimOptions::default() };
        let opening = SimNode::open(self.sim.clone(), vec![self.device.clone()], options);
        let node = self.sim.block_on(opening).map_err(|error| format!("it does not open: {error}"))?;
        let expected = expected.clone();
        self.sim.block_on(async move { expected.check(&node.any_core()).await })
    }

    fn restore(&self, replay: &Replay, range: Range<usize>) {
        self.device.poke(range.start as u64, &replay.durable()[range]);
    }

    /// Asserts the invariant.
    pub fn compare(&mut self, replay: &Replay) {
        self.catch_up(replay);
        let mut same = false;
        self.device.damage(0, |bytes| same = bytes == replay.durable());
        assert!(same, "the simulated drive holds what an earlier recovery left");
    }
}

/// This is a file that is a drive for real nodes.
pub struct FileBench {
    path: PathBuf,
    file: File,
    seen: usize,
}

impl FileBench {
    pub fn new(replay: &Replay, path: &Path) -> Self {
        std::fs::write(path, replay.durable()).expect("write the drive");
        let file = File::options().read(true).write(true).open(path).expect("open the drive");
        Self { path: path.to_owned(), file, seen: replay.settled().len() }
    }

    /// Recovers a node as [`SimBench::recover`] does.
    pub fn recover(
        &mut self,
        replay: &Replay,
        remains: &[Piece],
        expected: &Arc<Expected>,
        cores: usize,
    ) -> Result<usize, String> {
        self.catch_up(replay);
        remains.iter().for_each(|piece| self.write(piece.offset, piece.bytes));
        let recorder = Recorder::default();
        let outcome = self.open_and_check(&recorder, expected, cores);
        remains.iter().for_each(|piece| self.restore(replay, piece.range()));
        for event in recorder.take() {
            if let Event::WriteStarted { offset, bytes, .. } = event {
                self.restore(replay, offset as usize..offset as usize + bytes.len());
            }
        }
        outcome
    }

    /// Brings the drive to the current durable bytes.
    fn catch_up(&mut self, replay: &Replay) {
        let new = &replay.settled()[self.seen..];
        new.iter().for_each(|range| self.restore(replay, range.clone()));
        self.seen += new.len();
    }

    /// Opens a node with the maintenance of a node that is not recorded, and checks it.
    fn open_and_check(
        &self,
        recorder: &Recorder,
        expected: &Arc<Expected>,
        cores: usize,
    ) -> Result<usize, String> {
        let size_bytes = self.file.metadata().map_err(|error| error.to_string())?.len();
        let sizing = sizing::drive(size_bytes, u64::from(SHARDS));
        let seeds = NodePlan::open_recorded(
            options(self.path.clone(), cores),
            recorder,
            sizing.checkpoint_after_bytes,
            sizing.dead_bytes_max,
        );
        let checked = seeds.and_then(|seeds| {
            node::run(seeds, End::Drop, |core| {
                let expected = expected.clone();
                async move { expected.check(&core).await }
            })
        });
        let checked = checked.map_err(|error| format!("as a file it does not open: {error}"))?;
        let objects = checked.into_iter().collect::<Result<Vec<_>, _>>();
        let objects = objects.map_err(|wrong| format!("as a file: {wrong}"))?;
        Ok(objects[0])
    }

    fn write(&self, offset: usize, bytes: &[u8]) {
        self.file.write_all_at(bytes, offset as u64).expect("write to the drive");
    }

    fn restore(&self, replay: &Replay, range: Range<usize>) {
        self.write(range.start, &replay.durable()[range]);
    }

    /// Asserts the invariant as [`SimBench::compare`] does.
    pub fn compare(&mut self, replay: &Replay) {
        self.catch_up(replay);
        let same = std::fs::read(&self.path).expect("read the drive") == replay.durable();
        assert!(same, "the drive file holds what an earlier recovery left");
    }
}
