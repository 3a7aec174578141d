//! What a node says of itself in numbers: summed over its cores by message.
//!
//! Deliberately absent: names of buckets and keys. Whoever may read the numbers need not be allowed to read those.

use std::rc::Rc;

use super::core::Core;
use super::report::{Counters, SpaceReport};
use super::state::CoreState;
use crate::error::Result;

/// One shard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShardMetrics {
    pub shard: u16,
    pub objects: u64,
    /// A write failed: no more until restart.
    pub writes_stopped: bool,
    /// Log bytes since the last checkpoint: what a restart reads.
    pub replay_bytes: u64,
    /// Since the start, the most memory that a checkpoint held at a time beside the index, bytes.
    pub checkpoint_memory_bytes_max: u64,
    /// And the most bytes that one copied without giving way to requests.
    pub checkpoint_step_bytes_max: u64,
    pub scrub: ScrubMetrics,
}

/// Where a shard's scrub is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubMetrics {
    /// Passes that came to their end, over the drive's life.
    pub passes: u64,
    pub running: bool,
    /// Of the running pass, or of the last one.
    pub objects: u64,
    pub bytes: u64,
    pub findings: u64,
    /// Unix time in ms of the end of the last pass; 0: none.
    pub finished_ms: u64,
}

/// Everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeMetrics {
    pub space: SpaceReport,
    pub counters: Counters,
    /// Ascending by number.
    pub shards: Vec<ShardMetrics>,
    /// Reads refused to clients because the drive did not give what was stored.
    pub refused_reads: u64,
    /// I/O buffers in units of 1 MiB, and those that are free.
    pub buffer_chunks: u64,
    pub buffer_chunks_free: u64,
    pub buckets: u64,
}

impl Core {
    /// The numbers of the whole node.
    ///
    /// # Errors
    /// As for [`Core::space`].
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
            sum.buffer_chunks += part.buffer_chunks;
            sum.buffer_chunks_free += part.buffer_chunks_free;
        }
        sum.shards.sort_by_key(|shard| shard.shard);
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
        buffer_chunks: chunks as u64,
        buffer_chunks_free: free as u64,
        ..NodeMetrics::default()
    }
}
