//! A raw file or block device by io_uring: `ioengine=io_uring`.
//!
//! Invariant: operations lie within the regions that [`Drive::open`] gave, which lie within the files.

use super::layout::{self, LayoutLock, Upkeep};
use super::{Clock, Completion, EngineError, IoEngine, Operation, Verb};
use crate::load::{Region, Sizes};
use crate::spec::{Direction, Durable, Job};
use ringbolt_engine::ring::blocks::{
    BUFFER_BYTES_MAX, BlockDone, BlockOperation, BlockVerb, Blocks, DEPTH_MAX,
};
use std::time::Duration;

/// See the module.
pub struct Drive {
    blocks: Blocks,
    clock: Clock,
    write: BlockVerb,
    batch: usize,
    upkeep: Upkeep,
    reaped: Vec<BlockDone>,
}

impl Drive {
    /// Opens the files of one thread of `job`, laid out where they have to be, and says which parts of them the job
    /// works on. `progress` from 0 to 1.
    ///
    /// # Errors
    /// When a file is not there or does not take what it should, or the machine has no ring to give.
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
        let blocks = Blocks::new(job.depth, buffer_bytes as usize, files)
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

/// So many operations are handed over together at most.
///
/// The kernel keeps what one call brings until the last of it is ready, so the drive has fewer than `depth` operations
/// meanwhile: an eighth fewer at depth 32, a sixteenth from depth 64 on. Calls of four cost no more CPU time than one
/// call for all that became free; smaller ones do, and give no more IOPS (docs/bench.md has the figures).
pub fn batch_of(depth: u32) -> usize {
    (depth as usize / 16).max(4)
}

/// The largest block that the job reads or writes.
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
            // Who looks and does not wait: the kernel completes operations in calls that wait, if only for no time.
            None if at_least == 0 => Some(Duration::ZERO),
            None => None,
        };
        // With nothing to wait for but the time, one completion is asked for that does not come.
        let wanted = if timeout.is_some() { at_least.max(1) } else { at_least.min(self.blocks.in_flight()) };
        self.reaped.clear();
        self.blocks.reap(wanted, timeout, &mut self.reaped).map_err(broken)?;
        for end in &self.reaped {
            done.push(Completion { slot: end.slot, result: i64::from(end.result) });
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), EngineError> {
        self.upkeep.close(self.blocks.files())
    }
}

fn broken(error: std::io::Error) -> EngineError {
    EngineError(format!("io_uring_enter failed: {error}"))
}
