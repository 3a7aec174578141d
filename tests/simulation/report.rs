//! This module counts what runs did.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Deref, DerefMut};

use ringbolt_engine::sim::Rare;
use ringbolt_engine::sim::device::{FaultCounts, FaultKind};

/// Holds sums over runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    pub seeds: u64,
    pub operations: BTreeMap<&'static str, u64>,
    /// Counts power cuts, including those in the middle of a recovery.
    pub crashes: u64,
    pub crashes_in_recovery: u64,
    pub kills: u64,
    pub clean_stops: u64,
    /// Counts opens after a power cut that were followed by a comparison of everything with the
    /// model.
    pub crash_recoveries: u64,
    pub recoveries: u64,
    pub objects_compared: u64,
    pub bytes_compared: u64,
    /// Counts operations refused for lack of space.
    pub refused_full: u64,
    pub refused_busy: u64,
    /// Counts operations on a shard that had stopped writing.
    pub refused_stopped: u64,
    pub failed_reads: u64,
    pub damage_reported: u64,
    /// Counts opens that failed because of a fault, and were then repeated without it.
    pub opens_failed: u64,
    /// Counts drives refused permanently, because acknowledged data was damaged.
    pub drives_refused: u64,
    /// Counts lives with misdirected or lost writes or rot, after which everything could be read or
    /// was refused.
    pub media_lives: u64,
    pub checkpoints: u64,
    pub cleanings: u64,
    pub compactions: u64,
    /// Counts the bytes of slices moved by them, or because a put needed the space.
    pub relocated_bytes: u64,
    pub polls: u64,
    /// Counts operations refused because the index was full; `refused_bucket` counts those whose
    /// bucket was gone or being deleted.
    pub refused_index: u64,
    pub refused_bucket: u64,
    /// Counts ranges read to their end of objects that were replaced meanwhile.
    pub replaced_ranges: u64,
    /// Counts checks of drives; `repairs` counts repairs of what was refused.
    pub checks: u64,
    pub repairs: u64,
    /// Counts lives in which faults ended, and everything had to work then.
    pub progress_demanded: u64,
    /// Counts how often the wall clock was set back.
    pub clock_jumps_back: u64,
    /// Counts changes that a lock kept from happening; `locks_probed` counts those that were tried
    /// for this after a restart.
    pub refused_locked: u64,
    pub locks_probed: u64,
    /// Counts views that are without a drive that was in the one before.
    pub drives_dropped: u64,
    /// Counts drives that took the place of others.
    pub drives_replaced: u64,
    /// Counts drives that came while a node ran.
    pub drives_came: u64,
    /// Counts worlds that had everything without as many drives as may be lost.
    pub losses_judged: u64,
    pub faults: FaultCounts,
    /// Counts rare paths of the engine.
    pub rare: RareCounts,
}

/// A number for each rare path of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RareCounts(pub [u64; Rare::COUNT]);

impl Default for RareCounts {
    fn default() -> Self {
        Self([0; Rare::COUNT])
    }
}

impl Deref for RareCounts {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        &self.0
    }
}

impl DerefMut for RareCounts {
    fn deref_mut(&mut self) -> &mut [u64] {
        &mut self.0
    }
}

impl Report {
    pub fn count(&mut self, operation: &'static str) {
        *self.operations.entry(operation).or_default() += 1;
    }

    pub fn total_operations(&self) -> u64 {
        self.operations.values().sum()
    }

    pub fn add(&mut self, other: &Self) {
        for (operation, count) in &other.operations {
            *self.operations.entry(operation).or_default() += count;
        }
        self.faults.iter_mut().zip(other.faults).for_each(|(sum, count)| *sum += count);
        self.rare.iter_mut().zip(other.rare.iter()).for_each(|(sum, count)| *sum += count);
        for (sum, count) in self.numbers().into_iter().zip(other.clone().numbers()) {
            *sum += *count;
        }
    }

    fn numbers(&mut self) -> [&mut u64; 35] {
        [
            &mut self.drives_came,
            &mut self.drives_dropped,
            &mut self.drives_replaced,
            &mut self.losses_judged,
            &mut self.seeds,
            &mut self.crashes,
            &mut self.crashes_in_recovery,
            &mut self.kills,
            &mut self.clean_stops,
            &mut self.crash_recoveries,
            &mut self.recoveries,
            &mut self.objects_compared,
            &mut self.bytes_compared,
            &mut self.refused_full,
            &mut self.refused_busy,
            &mut self.refused_stopped,
            &mut self.failed_reads,
            &mut self.damage_reported,
            &mut self.opens_failed,
            &mut self.drives_refused,
            &mut self.media_lives,
            &mut self.checkpoints,
            &mut self.cleanings,
            &mut self.compactions,
            &mut self.relocated_bytes,
            &mut self.polls,
            &mut self.refused_index,
            &mut self.refused_bucket,
            &mut self.replaced_ranges,
            &mut self.checks,
            &mut self.repairs,
            &mut self.progress_demanded,
            &mut self.clock_jumps_back,
            &mut self.refused_locked,
            &mut self.locks_probed,
        ]
    }

    /// Returns rare paths that a long run must have reached, and how often it did.
    pub fn rare_paths(&self) -> Vec<(&'static str, u64)> {
        let mut paths: Vec<_> =
            Rare::ALL.iter().map(|rare| (rare.name(), self.rare[*rare as usize])).collect();
        paths.extend([
            ("cut-in-recovery", self.crashes_in_recovery),
            ("replaced-range", self.replaced_ranges),
            ("drive-full", self.refused_full),
            ("writes-stopped", self.refused_stopped),
            ("open-failed", self.opens_failed),
            ("drive-refused", self.drives_refused),
            ("repaired", self.repairs),
            ("progress-demanded", self.progress_demanded),
            ("clock-set-back", self.clock_jumps_back),
            ("refused-locked", self.refused_locked),
            ("locks-probed", self.locks_probed),
            ("drive-dropped", self.drives_dropped),
            ("drive-replaced", self.drives_replaced),
            ("drive-came", self.drives_came),
            ("losses-judged", self.losses_judged),
        ]);
        paths
    }

    /// Returns one line for a run in progress.
    pub fn progress(&self) -> String {
        let faults: u64 = self.faults.iter().sum();
        format!(
            "{} seeds, {} crash-recoveries, {} operations, {faults} faults, {} drives refused",
            self.seeds,
            self.crash_recoveries,
            self.total_operations(),
            self.drives_refused
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "seeds               {}", self.seeds)?;
        writeln!(
            formatter,
            "crash-recoveries    {} (of {} recoveries)",
            self.crash_recoveries, self.recoveries
        )?;
        writeln!(
            formatter,
            "lives ended by      {} power cuts ({} in recovery), {} kills, {} clean stops",
            self.crashes, self.crashes_in_recovery, self.kills, self.clean_stops
        )?;
        writeln!(
            formatter,
            "compared            {} objects, {} MiB",
            self.objects_compared,
            self.bytes_compared >> 20
        )?;
        writeln!(
            formatter,
            "asked for           {} checkpoints, {} cleanings, {} compactions; {} MiB of slices moved",
            self.checkpoints,
            self.cleanings,
            self.compactions,
            self.relocated_bytes >> 20
        )?;
        writeln!(
            formatter,
            "refused             {} drive full, {} index full, {} busy, {} bucket gone, {} writing stopped",
            self.refused_full,
            self.refused_index,
            self.refused_busy,
            self.refused_bucket,
            self.refused_stopped
        )?;
        writeln!(
            formatter,
            "reads refused       {} failed, {} damaged",
            self.failed_reads, self.damage_reported
        )?;
        writeln!(
            formatter,
            "opens               {} failed by a fault and repeated, {} drives refused as damaged, {} lives with damage",
            self.opens_failed, self.drives_refused, self.media_lives
        )?;
        writeln!(
            formatter,
            "drives              {} checks, {} repairs with loss; {} times progress demanded once faults ended",
            self.checks, self.repairs, self.progress_demanded
        )?;
        writeln!(formatter, "polls               {}", self.polls)?;
        writeln!(formatter, "operations          {}", self.total_operations())?;
        for (operation, count) in &self.operations {
            writeln!(formatter, "  {operation:<24}{count}")?;
        }
        writeln!(formatter, "faults              {}", self.faults.iter().sum::<u64>())?;
        for kind in FaultKind::ALL {
            writeln!(formatter, "  {:<24}{}", kind.name(), self.faults[kind as usize])?;
        }
        writeln!(formatter, "rare paths")?;
        for (name, count) in self.rare_paths() {
            writeln!(formatter, "  {name:<24}{count}")?;
        }
        Ok(())
    }
}
