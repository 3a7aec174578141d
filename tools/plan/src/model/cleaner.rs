//! Write amplification of the log: what the cleaner moves for each byte that users write, and what checkpoints add.
//!
//! Model: records die evenly, the cleaner takes extents in the order in which they were filled, or nearly so. Then an
//! extent is found with the live share v that solves `u = (v - 1) / ln v`, u being the live share of the whole log
//! (Menon 1995; Robinson 1996; Desnoyers 2012, "Analytic Modeling of SSD Write Performance", for LRW; the same with
//! Lambert's W in Xiang and Kurkoski 2012), and each byte gained costs v / (1 - v) bytes moved.

use ringbolt_engine::node::sizing::{self, DriveSizing};

/// Extents of a shard that a checkpoint gives back. As many as the cleaner's share when it has time; while puts wait
/// for space, each of them is given back as soon as it is empty, and that is what is planned for.
pub const EMPTIED_BY_CHECKPOINT: f64 = 1.0;
/// The same where slices die too: a put that waits then makes every shard write a checkpoint, also those that have
/// emptied no extent. Source: a drive of 4 GiB of which slices take a half, overwritten (tests/plan).
pub const EMPTIED_BESIDE_SLICES: f64 = 0.8;

/// Live share of an extent when the cleaner comes to it, in a log of which the share `live_share` (0 to below 1) is
/// live.
pub fn victim_live_share(live_share: f64) -> f64 {
    if live_share <= 0.0 {
        return 0.0;
    }
    if live_share >= 1.0 {
        return 1.0;
    }
    // (v - 1) / ln v rises from 0 to 1 with v: halve the interval until it is as narrow as numbers are.
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

/// Of one drive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LogState {
    /// Of records.
    pub live_bytes: f64,
    /// Extents that hold slices.
    pub slice_extents: f64,
    /// Of slices that puts write, and of others that die for it, for each byte that they write to the log.
    pub slice_bytes_by_log_byte: f64,
    /// Memory of the index of all shards of the drive, and what a checkpoint of all of it writes.
    pub index_bytes: f64,
    pub checkpoint_bytes: f64,
    /// What is moved, over what the formula says.
    pub moved_bytes_factor: f64,
}

/// Extents of one shard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ShardExtents {
    /// Its checkpoint in force.
    pub checkpoint: f64,
    /// What it can not do without beside that, and the log's current one, which is not full.
    pub kept: f64,
}

/// Of a shard with an index of `index_bytes`, of which a checkpoint writes `checkpoint_bytes`.
pub fn shard_extents(drive: &DriveSizing, index_bytes: f64, checkpoint_bytes: f64) -> ShardExtents {
    let checkpoint = (checkpoint_bytes / drive.extent_bytes as f64).ceil().max(1.0);
    let needed = sizing::needed_extents(index_bytes as u64, checkpoint as u64, drive.extent_bytes);
    ShardExtents { checkpoint, kept: needed as f64 + 1.0 }
}

/// For each byte that puts and deletes write to the log.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LogWrites {
    /// Of the log's extents that hold anything: what is live.
    pub live_share: f64,
    pub moved_bytes: f64,
    pub checkpoint_bytes: f64,
}

/// `dying_share`: of what is written, how much takes the place of something that dies; the rest fills the drive up.
pub fn log_writes(drive: &DriveSizing, state: &LogState, dying_share: f64) -> LogWrites {
    let extent = drive.extent_bytes as f64;
    let shards = drive.shards as f64;
    let live = state.live_bytes * (1.0 + sizing::COPIES_OVERHEAD_SHARE);
    let own = shard_extents(drive, state.index_bytes / shards, state.checkpoint_bytes / shards);
    let kept_free = shards * (own.kept + drive.cleaner_working_extents as f64);
    let emptied = shards * EMPTIED_BY_CHECKPOINT / 2.0;
    let room = drive.extents as f64 - state.slice_extents - shards * own.checkpoint - kept_free - emptied;
    // With much room, it is cleaned once more is dead than live, and a quarter of the drive.
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

/// By one checkpoint of a shard.
fn emptied_extents(state: &LogState, gained_by_extent: f64, shards: f64) -> f64 {
    let freed = state.slice_bytes_by_log_byte * gained_by_extent;
    let worth_it = state.index_bytes / shards / sizing::RECLAIMED_PART as f64;
    let of_slices = if freed > 0.0 { (freed / worth_it).min(1.0) } else { 0.0 };
    EMPTIED_BY_CHECKPOINT + of_slices * (EMPTIED_BESIDE_SLICES - EMPTIED_BY_CHECKPOINT)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Xiang and Kurkoski, "An Improved Analytical Expression for Write Amplification in NAND Flash" (2012): over-
    /// provisioning of 0.3 gives 2.36; 2.35 by simulation.
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

    /// What was measured on drives of 1 and 2 GiB filled to 85% with objects of 4 to 64 KiB, four shards, ten times
    /// overwritten (docs/decisions/0004-cleaner.md, docs/reliability.md): the log takes 3.60 and 3.24 bytes a byte.
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
