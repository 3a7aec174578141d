//! This module defines the plan of a run: everything follows from a few numbers.
//!
//! Invariants:
//! - The same plan gives the same run; [`Plan::command`] is the plan as a command line.
//! - An operation's number identifies its life, its client and its position among the client's
//!   operations. The operation follows from the number and the seed, so leaving one out changes
//!   when the others happen, and not what they are.

use std::fmt;

use ringbolt_engine::sim::{Bug, Random};

use super::locks::DefaultKeep;

/// Says which faults drives have besides loss of power.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Faults {
    /// The seed chooses among the other three.
    All,
    None,
    /// Drives report their faults: errors, short transfers, delays. Nothing that was acknowledged
    /// may be lost.
    Errors,
    /// Drives do not report their faults: misdirected and lost writes, rot. Nothing wrong may be
    /// served, and nothing may be silently missing.
    Media,
}

impl Faults {
    pub const NAMES: [(&'static str, Self); 4] =
        [("all", Self::All), ("none", Self::None), ("errors", Self::Errors), ("media", Self::Media)];

    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, faults)| *faults == self).map_or("all", |(name, _)| name)
    }
}

/// Says what is more frequent in a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Aim {
    Nothing,
    /// Slices are moved more often, and power cuts follow soon after.
    Compaction,
    /// Most operations are in buckets that keep versions.
    Versions,
    /// The same, and one of them has object lock.
    Locks,
    /// Every byte has copies on other drives, and some drives fail and are taken away.
    Mirrors,
    /// The same, and large objects are in striped sets.
    Stripes,
}

impl Aim {
    pub const NAMES: [(&'static str, Self); 6] = [
        ("nothing", Self::Nothing),
        ("compaction", Self::Compaction),
        ("versions", Self::Versions),
        ("locks", Self::Locks),
        ("mirrors", Self::Mirrors),
        ("stripes", Self::Stripes),
    ];

    /// Returns whether drives may be lost.
    pub fn is_redundant(self) -> bool {
        matches!(self, Self::Mirrors | Self::Stripes)
    }

    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(_, aim)| *aim == self).map_or("nothing", |(name, _)| name)
    }
}

/// This is a kind of operation of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Put,
    PutIf,
    Get,
    Delete,
    List,
    GiveUp,
    Upload,
    Bucket,
    Checkpoint,
    Compact,
    Clean,
    Pause,
    /// This is an operation in a bucket that keeps versions.
    Version,
    /// This is an operation on the node's records.
    Node,
}

impl Kind {
    pub const ALL: [Self; 14] = [
        Self::Put,
        Self::PutIf,
        Self::Get,
        Self::Delete,
        Self::List,
        Self::GiveUp,
        Self::Upload,
        Self::Bucket,
        Self::Checkpoint,
        Self::Compact,
        Self::Clean,
        Self::Pause,
        Self::Version,
        Self::Node,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::PutIf => "put-if",
            Self::Get => "get",
            Self::Delete => "delete",
            Self::List => "list",
            Self::GiveUp => "give-up",
            Self::Upload => "upload",
            Self::Bucket => "bucket",
            Self::Checkpoint => "checkpoint",
            Self::Compact => "compact",
            Self::Clean => "clean",
            Self::Pause => "pause",
            Self::Version => "version",
            Self::Node => "node",
        }
    }

    /// These are the percentages of the kinds of operations in buckets that keep no versions, and of
    /// those that have none.
    const ODDS: [u64; 12] = [28, 6, 16, 11, 7, 5, 15, 7, 1, 1, 1, 2];
    /// These are the percentages where slices are moved together often.
    const ODDS_COMPACTING: [u64; 12] = [32, 2, 12, 20, 4, 4, 8, 2, 2, 12, 1, 1];
}

/// Says how a bucket gets object lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockPlan {
    /// The bucket is made with it, and not only later.
    pub from_start: bool,
    pub default: Option<DefaultKeep>,
}

/// Decides everything about a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub seed: u64,
    /// Counts the lives of the node, each of which ends with a power cut, a kill or a clean stop.
    pub rounds: u64,
    pub clients: u64,
    /// Limits the polls in one life.
    pub steps: u64,
    pub faults: Faults,
    pub aim: Aim,
    pub bug: Option<Bug>,
    /// Lists kinds of operations that are left out.
    pub without: Vec<Kind>,
    /// Lists ranges of numbers of operations that are left out.
    pub skip: Vec<(u64, u64)>,
}

impl Plan {
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            rounds: 12,
            clients: 4,
            steps: 3000,
            faults: Faults::All,
            aim: Aim::Nothing,
            bug: None,
            without: Vec::new(),
            skip: Vec::new(),
        }
    }

    /// Returns the one command that repeats the run.
    pub fn command(&self) -> String {
        format!("cargo run --release -p ringbolt-tests --no-default-features --bin simulate -- {self}")
    }

    /// Returns whether clients do everything that there is.
    pub fn is_mixed(&self) -> bool {
        matches!(self.aim, Aim::Nothing | Aim::Mirrors | Aim::Stripes)
    }

    /// Returns the number of a client's operation.
    pub fn operation(&self, round: u64, client: u64, number: u64) -> u64 {
        assert!(client < 256 && number < 1 << 24, "operation {number} of client {client}");
        round << 32 | client << 24 | number
    }

    /// Returns the number of buckets that keep versions.
    pub fn versioned_buckets(&self) -> u64 {
        let random = Random::new(self.seed ^ Self::OF_VERSIONS);
        match (self.without.contains(&Kind::Version), self.aim) {
            (true, _) => 0,
            (false, Aim::Versions) => 1 + random.below(2),
            (false, Aim::Locks) => 1,
            (false, Aim::Compaction) => random.below(2),
            (false, Aim::Nothing | Aim::Mirrors | Aim::Stripes) => [0, 1, 1, 2][random.below(4) as usize],
        }
    }

    /// Returns how the first bucket that keeps versions gets object lock, or `None` if it has none.
    pub fn bucket_lock(&self) -> Option<LockPlan> {
        let random = Random::new(self.seed ^ Self::OF_LOCKS);
        let locks = match self.aim {
            Aim::Locks => true,
            Aim::Nothing => random.one_in(2),
            Aim::Versions | Aim::Compaction | Aim::Mirrors | Aim::Stripes => false,
        };
        let (compliance, days) = (random.one_in(2), 1 + random.below(3) as u32);
        let default = random.one_in(4).then_some(DefaultKeep { compliance, days });
        let plan = LockPlan { from_start: random.one_in(2), default };
        (locks && self.versioned_buckets() > 0).then_some(plan)
    }

    /// Returns whether an operation is in a bucket that keeps versions.
    fn is_of_versions(&self, operation: u64) -> bool {
        let random = Random::new(self.seed ^ Self::OF_VERSIONS ^ operation.rotate_left(17));
        let share = if matches!(self.aim, Aim::Versions | Aim::Locks) { 80 } else { 30 };
        self.versioned_buckets() > 0 && random.below(100) < share
    }

    /// Returns whether an operation is on the node's records.
    fn is_of_node(&self, operation: u64) -> bool {
        let random = Random::new(self.seed ^ Self::OF_NODE ^ operation.rotate_left(17));
        random.below(100) < 4
    }

    /// Keeps the random numbers apart from those of everything else, which is the same with versions
    /// and without.
    const OF_VERSIONS: u64 = 0x7665_7273_696f_6e73;
    /// Does the same for locks.
    const OF_LOCKS: u64 = 0x6c6f_636b_6564_2121;
    /// Does the same for the node's records.
    const OF_NODE: u64 = 0x6e6f_6465_7265_636f;

    pub fn kind_of(&self, operation: u64, random: &Random, compacting: bool) -> Kind {
        // A world with an aim has nothing else in its way.
        if self.is_mixed() && self.is_of_node(operation) {
            return Kind::Node;
        }
        if self.is_of_versions(operation) {
            return Kind::Version;
        }
        let odds = if compacting { Kind::ODDS_COMPACTING } else { Kind::ODDS };
        let mut left = random.below(odds.iter().sum());
        let chosen = Kind::ALL.into_iter().zip(odds).find(|(_, odds)| {
            let here = left < *odds;
            left = left.saturating_sub(*odds);
            here
        });
        chosen.map_or(Kind::Pause, |(kind, _)| kind)
    }

    pub fn leaves_out(&self, operation: u64, kind: Kind) -> bool {
        self.without.contains(&kind) || self.skip.iter().any(|(from, to)| (*from..=*to).contains(&operation))
    }

    /// Parses what [`Plan::command`] writes for [`Plan::skip`].
    ///
    /// # Errors
    /// Fails when the text is something else.
    pub fn parse_skip(text: &str) -> Result<Vec<(u64, u64)>, String> {
        let range = |part: &str| {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let number =
                |text: &str| text.parse().map_err(|_| format!("{text} is not an operation's number"));
            Ok((number(from)?, number(to)?))
        };
        text.split(',').map(range).collect()
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, rounds, clients, steps, faults, aim, bug, without, skip } = self;
        write!(formatter, "--seed {seed} --seeds 1 --rounds {rounds} --clients {clients} --steps {steps}")?;
        write!(formatter, " --faults {}", faults.name())?;
        if *aim != Aim::Nothing {
            write!(formatter, " --aim {}", aim.name())?;
        }
        bug.iter().try_for_each(|bug| write!(formatter, " --bug {}", bug.name()))?;
        if !without.is_empty() {
            let names: Vec<_> = without.iter().map(|kind| kind.name()).collect();
            write!(formatter, " --without {}", names.join(","))?;
        }
        if !skip.is_empty() {
            let ranges: Vec<_> = skip.iter().map(|(from, to)| format!("{from}-{to}")).collect();
            write!(formatter, " --skip {}", ranges.join(","))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_written_as_it_is_read() {
        let skip = vec![(3, 9), (1 << 40, 1 << 40)];
        let plan = Plan { skip: skip.clone(), without: vec![Kind::List], ..Plan::new(1) };
        let text = plan.to_string();
        let written = text.split_once("--skip ").expect("it is written").1;
        assert_eq!(Plan::parse_skip(written), Ok(skip));
        assert!(Plan::parse_skip("3-x").is_err());
        assert!(plan.leaves_out(9, Kind::Get) && plan.leaves_out(10, Kind::List));
        assert!(!plan.leaves_out(10, Kind::Get));
    }

    #[test]
    fn every_kind_comes_up_and_records_of_the_node_only_without_an_aim() {
        for (aim, compacting) in
            [Aim::Nothing, Aim::Versions].into_iter().flat_map(|aim| [(aim, false), (aim, true)])
        {
            // Of seed 1 with these aims some buckets keep versions.
            let (plan, random) = (Plan { aim, ..Plan::new(1) }, Random::new(7));
            assert!(plan.versioned_buckets() > 0, "the seed has no versions, choose another");
            let seen: Vec<Kind> = (0..5000).map(|number| plan.kind_of(number, &random, compacting)).collect();
            for kind in Kind::ALL {
                let expected = kind != Kind::Node || aim == Aim::Nothing;
                assert_eq!(seen.contains(&kind), expected, "{} with aim {}", kind.name(), aim.name());
            }
        }
    }
}
