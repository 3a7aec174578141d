//! The figures of a node for monitoring, summed over its cores by message.
//!
//! Names of buckets and keys are left out deliberately. Whoever may read the figures need not be
//! allowed to read the names.

use std::rc::Rc;

use super::core::Core;
use super::progress::CatchUpProgress;
use super::report::{Counters, SpaceReport};
use super::state::CoreState;
use crate::error::Result;
use crate::format::superblock::{DRIVE_EMPTIED, ViewDriveOnDisk};
use crate::lifecycle::LifecycleCounters;

/// The figures of one shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardMetrics {
    pub shard: u16,
    pub objects: u64,
    /// Set when a write failed: the shard writes no more until the node is restarted.
    pub writes_stopped: bool,
    /// Log bytes since the last checkpoint, which a restart reads.
    pub replay_bytes: u64,
    /// The most memory that a checkpoint held at a time beside the index since the start, bytes.
    pub checkpoint_memory_bytes_max: u64,
    /// The most bytes that a checkpoint copied without yielding to requests since the start.
    pub checkpoint_step_bytes_max: u64,
    pub scrub: ScrubMetrics,
    pub lifecycle: LifecycleCounters,
}

/// The progress of a shard's scrub.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubMetrics {
    /// Passes that ended, over the drive's whole life.
    pub passes: u64,
    /// Set while a pass runs.
    pub running: bool,
    /// Objects that were read in the running pass, or in the last one.
    pub objects: u64,
    /// Bytes that were read in that pass.
    pub bytes: u64,
    /// Damage that was found in that pass.
    pub findings: u64,
    /// Unix time in milliseconds at which the last pass ended, or 0 before the first end.
    pub finished_ms: u64,
}

/// All figures of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeMetrics {
    pub space: SpaceReport,
    pub counters: Counters,
    /// The shards, ascending by number.
    pub shards: Vec<ShardMetrics>,
    /// Reads that were refused to clients because the drive did not give what was stored.
    pub refused_reads: u64,
    /// Copies that were found damaged and written anew from another one.
    pub mended_copies: u64,
    /// Reads of striped slices for which pieces were made from parity.
    pub decoded_reads: u64,
    /// Reads that were asked of another drive too, because the first one was late.
    pub hedged_reads: u64,
    /// How long a read waits before it is late: the most patient core's time, microseconds.
    pub read_patience_us: u64,
    /// Copies that were written anew on drives that are brought up to date.
    pub caught_up_copies: u64,
    /// Number of copies that the set was formatted for.
    pub copies: u8,
    /// Drives of the view that hold all that they were given, those of the view that are brought up to date,
    /// and drives that were ever in the set, are out of the view, and were not replaced.
    pub drives_in: u64,
    pub drives_catching_up: u64,
    pub drives_out: u64,
    /// The drives that are brought up to date, by number.
    pub catch_ups: Vec<(u16, CatchUpProgress)>,
    /// Shards with fewer homes than the format wants, whose new data have fewer copies.
    pub degraded_shards: u64,
    /// Number of I/O buffers, each of 1 MiB.
    pub buffer_chunks: u64,
    /// Number of I/O buffers that are free.
    pub buffer_chunks_free: u64,
    pub buckets: u64,
}

impl Core {
    /// Returns the figures of the whole node.
    ///
    /// # Errors
    /// Returns the same errors as [`Core::space`].
    pub async fn metrics(&self) -> Result<NodeMetrics> {
        let mut sum = NodeMetrics {
            space: self.space().await?,
            buckets: self.buckets().len() as u64,
            ..NodeMetrics::default()
        };
        for core in 0..self.cores() {
            let part = self.state().call(core, |core| async move { of_core(&core) }).await;
            sum.counters.add(&part.counters);
            sum.shards.extend(part.shards);
            sum.refused_reads += part.refused_reads;
            sum.mended_copies += part.mended_copies;
            sum.decoded_reads += part.decoded_reads;
            sum.hedged_reads += part.hedged_reads;
            sum.read_patience_us = sum.read_patience_us.max(part.read_patience_us);
            sum.caught_up_copies += part.caught_up_copies;
            sum.buffer_chunks += part.buffer_chunks;
            sum.buffer_chunks_free += part.buffer_chunks_free;
        }
        sum.shards.sort_by_key(|shard| shard.shard);
        let (state, layout) = (self.state(), &self.state().layout);
        let in_view = state.places_in_view().count() as u64;
        sum.drives_in = state.places_in_view().filter(|drive| state.is_whole(*drive)).count() as u64;
        sum.copies = layout.superblocks[0].parity_members + 1;
        sum.drives_catching_up = in_view - sum.drives_in;
        let view = state.call(0, |core| async move { core.views.latest.borrow().clone() }).await;
        let has_its_place = |drive: &&ViewDriveOnDisk| {
            drive.state.get() != DRIVE_EMPTIED && view.successor_of(drive.number.get()).is_none()
        };
        sum.drives_out = (view.drives_known().filter(has_its_place).count() as u64).saturating_sub(in_view);
        let is_behind = |drive: &u16| !state.is_whole(*drive) && !state.is_out(*drive);
        let behind = (0..layout.places()).filter(is_behind);
        sum.catch_ups = behind.map(|drive| (state.number_of(drive), state.catch_up_of(drive))).collect();
        let lacks = |shard: &u16| state.whole_homes_of(*shard) < usize::from(sum.copies);
        sum.degraded_shards = (0..layout.shards).filter(lacks).count() as u64;
        Ok(sum)
    }
}

fn of_core(core: &Rc<CoreState>) -> NodeMetrics {
    let (chunks, free) = core.pool.chunks();
    let shard = |shard: Rc<crate::shard::Shard>| {
        let scrub = shard.scrub.borrow();
        ShardMetrics {
            shard: shard.id,
            objects: shard.state.borrow().objects(),
            writes_stopped: shard.log.has_failed(),
            replay_bytes: shard.log.since_checkpoint(),
            checkpoint_memory_bytes_max: shard.checkpoint_peak().memory,
            checkpoint_step_bytes_max: shard.checkpoint_peak().step,
            lifecycle: shard.lifecycle.get(),
            scrub: ScrubMetrics {
                passes: scrub.passes,
                running: scrub.started_ms > 0,
                objects: scrub.objects,
                bytes: scrub.bytes,
                findings: scrub.findings,
                finished_ms: scrub.finished_ms,
            },
        }
    };
    NodeMetrics {
        counters: Counters::of(core),
        shards: core.own_shards().into_iter().map(shard).collect(),
        refused_reads: core.refusals.get(),
        mended_copies: core.repairs.get() - core.caught_up.get(),
        decoded_reads: core.decoded.get(),
        hedged_reads: core.paces.hedged(),
        read_patience_us: core.paces.patience_us(),
        caught_up_copies: core.caught_up.get(),
        buffer_chunks: chunks as u64,
        buffer_chunks_free: free as u64,
        ..NodeMetrics::default()
    }
}
