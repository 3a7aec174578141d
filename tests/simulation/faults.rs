//! This module draws the faults of one life.
//!
//! Invariant: what clients must tolerate follows from the kinds of faults that were drawn, and from
//! nothing else.

use ringbolt_engine::sim::Random;
use ringbolt_engine::sim::device::{FaultKind, FaultPlan};

/// Holds the faults of the drives in one life, and what clients must tolerate then.
#[derive(Clone, Copy, Debug, Default)]
pub struct LifeFaults {
    pub plan: FaultPlan,
    /// Says that reads may fail.
    pub reads_fail: bool,
    /// Says that reads may fail while the node opens, and only then.
    pub opens_fail: bool,
    /// Says that shards may stop writing.
    pub writes_stop: bool,
    /// Says that reads may find damage.
    pub damage: bool,
    /// Says that there are unreported faults of several kinds, so that losses cannot be predicted.
    pub mixed: bool,
}

impl LifeFaults {
    /// Draws short transfers and long operations, which nobody may notice.
    pub fn unnoticed(random: &Random) -> Self {
        let mut plan = FaultPlan::default();
        if random.one_in(2) {
            plan = plan.with(FaultKind::ShortRead, 10, u64::MAX).with(FaultKind::ShortWrite, 10, u64::MAX);
        }
        if random.one_in(3) {
            plan = plan.with(FaultKind::Delay, 60, u64::MAX);
        }
        if random.one_in(8) {
            plan = plan.with(FaultKind::Stall, 300, 2);
        }
        Self { plan, ..Self::default() }
    }

    /// Draws one or two kinds of errors that the drive reports.
    pub fn errors(random: &Random) -> Self {
        let mut life = Self::unnoticed(random);
        for _ in 0..=random.below(2) {
            let (kind, one_in, most) = match random.below(8) {
                0 => (FaultKind::ReadError, 60, 20),
                1 => (FaultKind::UnreadableBlocks, 150, 3),
                2 => (FaultKind::WriteError, 120, 2),
                3 => (FaultKind::WritesFail, 200, 1),
                4 => (FaultKind::FlushError, 40, 1),
                5 => (FaultKind::UnwritableBlocks, 200, 1),
                6 => (FaultKind::MisdirectedReadAlike, 80, 1),
                _ => (FaultKind::MisdirectedRead, 80, 1),
            };
            life.plan = life.plan.with(kind, one_in, most);
            match kind {
                FaultKind::ReadError | FaultKind::UnreadableBlocks => life.reads_fail = true,
                FaultKind::MisdirectedRead | FaultKind::MisdirectedReadAlike => life.damage = true,
                _ => life.writes_stop = true,
            }
        }
        life
    }

    /// Draws a fault that the drive does not report: one misdirected write, or some rot.
    pub fn media(random: &Random) -> Self {
        let unnoticed = Self::unnoticed(random);
        let plan = Self::with_media(unnoticed.plan, random.below(Self::MEDIA_KINDS));
        Self { plan, damage: true, ..unnoticed }
    }

    /// Draws several kinds of unreported faults, and misdirected reads.
    pub fn mixed_media(random: &Random) -> Self {
        let mut life = Self::unnoticed(random);
        for _ in 0..2 + random.below(2) {
            life.plan = Self::with_media(life.plan, random.below(Self::MEDIA_KINDS));
        }
        if random.one_in(2) {
            life.plan = life.plan.with(FaultKind::MisdirectedRead, 80, 2);
            life.plan = life.plan.with(FaultKind::MisdirectedReadAlike, 80, 2);
        }
        Self { damage: true, mixed: true, ..life }
    }

    const MEDIA_KINDS: u64 = 5;

    fn with_media(plan: FaultPlan, kind: u64) -> FaultPlan {
        match kind {
            0 => plan.with(FaultKind::MisdirectedWrite, 40, 1),
            1 => plan.with(FaultKind::LostWrite, 40, 1),
            2 => plan.with(FaultKind::MisdirectedWriteAlike, 40, 1),
            3 => plan.with(FaultKind::TornWrite, 40, 1),
            _ => plan.with(FaultKind::Rot, 30, 3),
        }
    }
}
