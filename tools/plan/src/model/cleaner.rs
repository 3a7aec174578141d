//! This module models the write amplification of the log: what the cleaner moves for each byte that
//! users write, and what checkpoints add.
//!
//! Records die evenly, and the cleaner takes extents in the order in which they were filled, or
//! nearly so. The live share v of an extent when it is cleaned then solves `u = (v - 1) / ln v`,
//! where u is the live share of the whole log (Menon 1995; Robinson 1996; Desnoyers 2012, "Analytic
//! Modeling of SSD Write Performance", for LRW; the same with Lambert's W in Xiang and Kurkoski
//! 2012), and each byte gained costs v / (1 - v) bytes moved.

use ringbolt_engine::node::sizing::{self, DriveSizing};

/// This is the number of extents of a shard that a checkpoint gives back. With enough time, it is
/// the cleaner's share; while puts wait for space, each extent is given back as soon as it is
/// empty, and the plan assumes this case.
pub const EMPTIED_BY_CHECKPOINT: f64 = 1.0;
/// This is the same number if slices die too: a put that waits then makes every shard write a
/// checkpoint, also those that have emptied no extent. Source: a drive of 4 GiB, half of it slices,
/// overwritten (tests/plan).
pub const EMPTIED_BESIDE_SLICES: f64 = 0.8;

/// Returns the live share of an extent when the cleaner takes it, in a log with the live share
/// `live_share` (0 to below 1).
pub fn victim_live_share(live_share: f64) -> f64 {
    if live_share <= 0.0 {
        return 0.0;
    }
    if live_share >= 1.0 {
        return 1.0;
    }
    // (v - 1) / ln v rises from 0 to 1 with v, so the interval is halved down to the precision of
    // numbers.
    let (mut low, mut high) = (0.0f64, 1.0f64);
    for _ in 0..100 {
        let middle = (low + high) / 2.0;
        if (middle - 1.0) / middle.ln() < live_share {
            low = middle;
        } else {
            high = middle;
        }
    }
    (low + high) / 2.0
}

/// Describes the log of one drive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogState {
    /// This is the size of the live records.
    pub live_bytes: f64,
    /// Counts the extents that hold slices.
    pub slice_extents: f64,
    /// This is the size of the slices that puts write and that die, for each byte written to the
    /// log.
    pub slice_bytes_by_log_byte: f64,
    /// This is the memory of the index of all shards of the drive; `checkpoint_bytes` is what a
    /// checkpoint of all of it writes.
    pub index_bytes: f64,
    pub checkpoint_bytes: f64,
    /// This is the ratio of the bytes moved to the formula.
    pub moved_bytes_factor: f64,
}

/// Counts extents of one shard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShardExtents {
    /// Counts those of its current checkpoint.
    pub checkpoint: f64,
    /// Counts the others that it needs, including the log's current one, which is not full.
    pub kept: f64,
}

/// Returns the extents of a shard whose index takes `index_bytes` and whose checkpoint writes
/// `checkpoint_bytes`.
pub fn shard_extents(drive: &DriveSizing, index_bytes: f64, checkpoint_bytes: f64) -> ShardExtents {
    let checkpoint = (checkpoint_bytes / drive.extent_bytes as f64).ceil().max(1.0);
    let needed = sizing::needed_extents(index_bytes as u64, checkpoint as u64, drive.extent_bytes);
    ShardExtents { checkpoint, kept: needed as f64 + 1.0 }
}

/// Holds what is written to the log, for each byte that puts and deletes write to it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LogWrites {
    /// This is the live share of the log's extents that hold anything.
    pub live_share: f64,
    pub moved_bytes: f64,
    pub checkpoint_bytes: f64,
}

/// Computes the writes to the log. `dying_share` is the share of the writes that replace something
/// that dies; the rest fills the drive up.
pub fn log_writes(drive: &DriveSizing, state: &LogState, dying_share: f64) -> LogWrites {
    let extent = drive.extent_bytes as f64;
    let shards = drive.shards as f64;
    let live = state.live_bytes * (1.0 + sizing::COPIES_OVERHEAD_SHARE);
    let own = shard_extents(drive, state.index_bytes / shards, state.checkpoint_bytes / shards);
    let kept_free = shards * (own.kept + drive.cleaner_working_extents as f64);
    let emptied = shards * EMPTIED_BY_CHECKPOINT / 2.0;
    let room = drive.extents as f64 - state.slice_extents - shards * own.checkpoint - kept_free - emptied;
    // With much room, the log is cleaned once more is dead than live, and more than a quarter of
    // the drive.
    let dead_max = live.max(drive.dead_bytes_max as f64 * shards);
    let space = (room * extent).min(live + dead_max).max(extent);
    let live_share = (live / space).min(0.999);
    let victim = victim_live_share(live_share);
    let gained_by_extent = extent * (1.0 - victim);
    let emptied_extents = emptied_extents(state, gained_by_extent, shards);
    let by_cleaning = dying_share * state.checkpoint_bytes / shards / (emptied_extents * gained_by_extent);
    let moved_bytes = dying_share * victim / (1.0 - victim) * state.moved_bytes_factor;
    let by_log = (1.0 + moved_bytes) * state.checkpoint_bytes / shards / drive.checkpoint_after_bytes as f64;
    LogWrites { live_share, moved_bytes, checkpoint_bytes: by_cleaning.max(by_log) }
}

/// Returns the number of extents that one checkpoint of a shard gives back.
fn emptied_extents(state: &LogState, gained_by_extent: f64, shards: f64) -> f64 {
    let freed = state.slice_bytes_by_log_byte * gained_by_extent;
    let worth_it = state.index_bytes / shards / sizing::RECLAIMED_PART as f64;
    let of_slices = if freed > 0.0 { (freed / worth_it).min(1.0) } else { 0.0 };
    EMPTIED_BY_CHECKPOINT + of_slices * (EMPTIED_BESIDE_SLICES - EMPTIED_BY_CHECKPOINT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Xiang and Kurkoski, "An Improved Analytical Expression for Write Amplification in NAND
    /// Flash" (2012): over-provisioning of 0.3 gives 2.36; 2.35 by simulation.
    #[test]
    fn a_published_figure_is_reproduced() {
        let amplification = |over: f64| 1.0 / (1.0 - victim_live_share(1.0 / (1.0 + over)));
        assert!((amplification(0.3) - 2.36).abs() < 0.005, "{}", amplification(0.3));
    }

    #[test]
    fn a_fuller_log_has_fuller_victims() {
        let shares: Vec<f64> =
            (0..=100).map(|percent| victim_live_share(f64::from(percent) / 100.0)).collect();
        assert!(shares.windows(2).all(|pair| pair[0] <= pair[1]), "{shares:?}");
        assert_eq!((shares[0], shares[100]), (0.0, 1.0));
        for share in [0.1, 0.5, 0.85, 0.99] {
            let victim = victim_live_share(share);
            assert!(((victim - 1.0) / victim.ln() - share).abs() < 1e-9 && victim < share);
        }
    }

    /// Drives of 1 and 2 GiB were filled to 85% with objects of 4 to 64 KiB, with four shards, and
    /// overwritten ten times (docs/decisions/0004-cleaner.md, docs/reliability.md): the log takes
    /// 3.60 and 3.24 bytes per byte.
    #[test]
    fn the_cleaner_moves_what_it_was_seen_to_move() {
        for (size_bytes, measured) in [(1u64 << 30, 3.60), (2 << 30, 3.24)] {
            let drive = sizing::drive(size_bytes, 4);
            let usable = drive.extents - 4 * (1 + 1 + drive.cleaner_extents + 2);
            let live_bytes =
                0.85 * (usable * drive.extent_bytes) as f64 / (1.0 + sizing::COPIES_OVERHEAD_SHARE);
            let objects = live_bytes / 34_900.0;
            let state = LogState {
                live_bytes,
                slice_extents: 0.0,
                slice_bytes_by_log_byte: 0.0,
                index_bytes: objects * 90.0,
                checkpoint_bytes: objects * 60.0,
                moved_bytes_factor: 1.0,
            };
            let writes = log_writes(&drive, &state, 1.0);
            let log = 1.0 + writes.moved_bytes;
            assert!((log / measured - 1.0).abs() < 0.15, "{log} for {measured}: {writes:?}");
        }
    }
}
