//! This module runs operations on a raw file or block device by io_uring: `ioengine=io_uring`.
//!
//! Invariant: operations lie within the regions that [`Drive::open`] returned, which lie within the
//! files.

use super::layout::{self, LayoutLock, Upkeep};
use super::{Clock, Completion, EngineError, IoEngine, Operation, Verb};
use crate::load::{Region, Sizes};
use crate::spec::{Direction, Durable, Job};
use ringbolt_engine::ring::blocks::{
    BUFFER_BYTES_MAX, BlockDone, BlockOperation, BlockVerb, Blocks, DEPTH_MAX,
};
use std::time::Duration;

/// Runs the operations of one thread by io_uring.
pub struct Drive {
    blocks: Blocks,
    clock: Clock,
    write: BlockVerb,
    batch: usize,
    upkeep: Upkeep,
    reaped: Vec<BlockDone>,
}

impl Drive {
    /// Opens the files of one thread of `job`, lays them out if necessary, and returns the parts of
    /// them that the job works on. `progress` receives values from 0 to 1.
    ///
    /// # Errors
    /// Fails when a file is missing or does not support what the job asks of it, or when the kernel
    /// refuses a ring.
    pub fn open(
        job: &Job,
        thread: u32,
        clock: Clock,
        lock: &LayoutLock,
        progress: &mut dyn FnMut(f64),
    ) -> Result<(Self, Vec<Region>), EngineError> {
        let refuse = |text: String| Err(EngineError(format!("job {}: {text}", job.name)));
        let buffer_bytes = buffer_bytes(job);
        if buffer_bytes > BUFFER_BYTES_MAX as u64 {
            return refuse(format!(
                "bs={buffer_bytes} is more than the largest block, {BUFFER_BYTES_MAX} bytes"
            ));
        }
        if !(1..=DEPTH_MAX).contains(&job.depth) {
            return refuse(format!("iodepth={} must be from 1 to {DEPTH_MAX}", job.depth));
        }
        let (files, regions) = layout::open(job, thread, lock, progress)?;
        let blocks = Blocks::new(job.depth, buffer_bytes as usize, files, job.memory)
            .map_err(|error| EngineError(format!("job {}: {error}", job.name)))?;
        let write = match job.durable {
            Durable::No => BlockVerb::Write,
            Durable::Data => BlockVerb::WriteDurable,
            Durable::All => BlockVerb::WriteSynced,
        };
        let reaped = Vec::with_capacity(job.depth as usize);
        let batch = batch_of(job.depth);
        Ok((Self { blocks, clock, write, batch, upkeep: Upkeep::of(job), reaped }, regions))
    }
}

/// Returns how many operations are submitted together at most.
///
/// The kernel holds the operations of one call back until the last of them is prepared, so the
/// drive meanwhile has fewer than `depth` operations: an eighth fewer at depth 32, a sixteenth
/// fewer from depth 64 on. Calls of four cost no more CPU time than one call for all operations
/// that became free; smaller calls cost more and give no more IOPS (docs/bench.md has the figures).
pub fn batch_of(depth: u32) -> usize {
    (depth as usize / 16).max(4)
}

/// Returns the largest block in bytes that the job reads or writes.
pub fn buffer_bytes(job: &Job) -> u64 {
    let used = [(Direction::Read, job.pattern.reads), (Direction::Write, job.pattern.writes)];
    let sizes =
        used.into_iter().filter(|(_, is_used)| *is_used).map(|(of, _)| Sizes::new(job.block.get(of)).most());
    sizes.max().unwrap_or(4096)
}

impl IoEngine for Drive {
    fn prepare(&mut self, _progress: &mut dyn FnMut(f64)) -> Result<(), EngineError> {
        Ok(())
    }

    fn restart(&mut self) {
        self.upkeep.restart(self.blocks.files());
    }

    fn buffer(&mut self, slot: u32) -> &mut [u8] {
        self.blocks.buffer(slot)
    }

    fn submit(&mut self, slot: u32, operation: &Operation) {
        let verb = match operation.verb {
            Verb::Read => BlockVerb::Read,
            Verb::Write => self.write,
            Verb::Trim => BlockVerb::Discard,
            Verb::Sync => BlockVerb::Flush,
            Verb::DataSync => BlockVerb::FlushData,
            verb @ (Verb::ReadBack | Verb::Head | Verb::List | Verb::Copy | Verb::Multipart) => {
                unreachable!("{verb:?} is of objects; jobs are checked before they run")
            }
        };
        let Operation { file, offset, length, .. } = *operation;
        self.blocks.submit(slot, BlockOperation { verb, file, offset, length });
    }

    fn batch(&self) -> usize {
        self.batch
    }

    fn hand_over(&mut self) -> Result<(), EngineError> {
        self.blocks.hand_over().map_err(broken)
    }

    fn reap(
        &mut self,
        at_least: usize,
        deadline_ns: Option<u64>,
        done: &mut Vec<Completion>,
    ) -> Result<(), EngineError> {
        let timeout = match deadline_ns {
            Some(at) => Some(Duration::from_nanos(at.saturating_sub(self.clock.now_ns()))),
            // A poll needs a timeout of zero, because the kernel completes operations only in calls
            // that wait.
            None if at_least == 0 => Some(Duration::ZERO),
            None => None,
        };
        // If there is only a deadline to wait for, the call asks for one completion, which does not
        // come.
        let wanted = if timeout.is_some() { at_least.max(1) } else { at_least.min(self.blocks.in_flight()) };
        self.reaped.clear();
        self.blocks.reap(wanted, timeout, &mut self.reaped).map_err(broken)?;
        for end in &self.reaped {
            done.push(Completion { slot: end.slot, result: i64::from(end.result) });
        }
        Ok(())
    }

    fn flush_to_close(&mut self) -> Result<(), EngineError> {
        self.upkeep.close(self.blocks.files())
    }
}

fn broken(error: std::io::Error) -> EngineError {
    EngineError(format!("io_uring_enter failed: {error}"))
}
