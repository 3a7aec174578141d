//! What a run is: everything follows from these few numbers.
//!
//! Invariant: the same plan gives the same run; [`Plan::command`] is the plan as one would type it.

use std::fmt;

use ringbolt_engine::device::sim::{FaultKind, FaultPlan};
use ringbolt_engine::sim::{Bug, Random};

/// What the drives do wrong beside losing power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Faults {
    /// The seed chooses among the other three.
    All,
    None,
    /// What a drive owns up to: errors, short transfers, delays. Nothing that was acknowledged may be lost.
    Errors,
    /// What it does not: misdirected and lost writes, rot. Nothing wrong may be served, nothing be missing in silence.
    Media,
}

impl Faults {
    pub const NAMES: [(&'static str, Self); 4] =
        [("all", Self::All), ("none", Self::None), ("errors", Self::Errors), ("media", Self::Media)];

    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, faults)| *faults == self).map_or("all", |(name, _)| name)
    }
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub seed: u64,
    /// Lives of the node, each ended by a power cut, a kill or a clean stop.
    pub rounds: u64,
    pub clients: u64,
    /// Polls in one life, at most.
    pub steps: u64,
    pub faults: Faults,
    pub bug: Option<Bug>,
}

impl Plan {
    pub fn new(seed: u64) -> Self {
        Self { seed, rounds: 12, clients: 4, steps: 3000, faults: Faults::All, bug: None }
    }

    /// The one command that repeats the run.
    pub fn command(&self) -> String {
        format!("cargo run --release -p ringbolt-tests --bin simulate -- {self}")
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, rounds, clients, steps, faults, bug } = self;
        write!(formatter, "--seed {seed} --seeds 1 --rounds {rounds} --clients {clients} --steps {steps}")?;
        write!(formatter, " --faults {}", faults.name())?;
        bug.iter().try_for_each(|bug| write!(formatter, " --bug {}", bug.name()))
    }
}

/// What may go wrong in one life, and what clients must put up with then.
#[derive(Clone, Copy, Debug, Default)]
pub struct LifeFaults {
    pub plan: FaultPlan,
    /// Reads may fail.
    pub reads_fail: bool,
    /// Shards may stop writing.
    pub writes_stop: bool,
    /// What is read may be found damaged.
    pub damage: bool,
}

impl LifeFaults {
    /// Transfers that end early and operations that take long: nobody may notice.
    pub fn unnoticed(random: &Random) -> Self {
        let mut plan = FaultPlan::default();
        if random.one_in(2) {
            plan = plan.with(FaultKind::ShortRead, 10, u64::MAX).with(FaultKind::ShortWrite, 10, u64::MAX);
        }
        if random.one_in(3) {
            plan = plan.with(FaultKind::Delay, 60, u64::MAX);
        }
        Self { plan, ..Self::default() }
    }

    /// What the drive owns up to: one or two kinds of it.
    pub fn errors(random: &Random) -> Self {
        let mut life = Self::unnoticed(random);
        for _ in 0..=random.below(2) {
            let (kind, one_in, most) = match random.below(6) {
                0 => (FaultKind::ReadError, 60, 20),
                1 => (FaultKind::UnreadableBlocks, 150, 3),
                2 => (FaultKind::WriteError, 120, 2),
                3 => (FaultKind::WritesFail, 200, 1),
                4 => (FaultKind::FlushError, 40, 1),
                _ => (FaultKind::MisdirectedRead, 80, 1),
            };
            life.plan = life.plan.with(kind, one_in, most);
            match kind {
                FaultKind::ReadError | FaultKind::UnreadableBlocks => life.reads_fail = true,
                FaultKind::MisdirectedRead => life.damage = true,
                _ => life.writes_stop = true,
            }
        }
        life
    }

    /// What the drive does not own up to: one write gone astray, or some rot.
    pub fn media(random: &Random) -> Self {
        let (kind, one_in, most) = match random.below(3) {
            0 => (FaultKind::MisdirectedWrite, 40, 1),
            1 => (FaultKind::LostWrite, 40, 1),
            _ => (FaultKind::Rot, 30, 3),
        };
        let unnoticed = Self::unnoticed(random);
        Self { plan: unnoticed.plan.with(kind, one_in, most), damage: true, ..unnoticed }
    }
}
