//! Runs the simulation for many seeds: `cargo run --release -p ringbolt-tests --bin simulate --
//! --seeds 1000`.
//!
//! Invariant: a failure ends with exit status 1, what was violated, and the one command that
//! repeats it.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use ringbolt_engine::sim::Bug;
use ringbolt_tests::simulation::{self, Aim, Failure, Faults, Kind, Plan, Report};

/// This is the time between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(10);
/// This is the number of runs that try to make a failing plan smaller.
const SHRINK_ATTEMPTS: u64 = 200;

/// Simulates whole nodes with crashes and faulty drives, and compares them with a model.
#[derive(Parser)]
struct Arguments {
    /// First seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many seeds.
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    seeds: u64,
    /// Ends after so many minutes.
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    minutes: u64,
    /// The same in seconds.
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    seconds: u64,
    /// Ends after so many crashes from which everything acknowledged was recovered.
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    recoveries: u64,
    /// Lives of a node, each ended by a power cut, a kill or a clean stop.
    #[arg(long, default_value_t = 12)]
    rounds: u64,
    #[arg(long, default_value_t = 4)]
    clients: u64,
    /// Polls in one life, at most.
    #[arg(long, default_value_t = 3000)]
    steps: u64,
    /// What drives do wrong beside losing power.
    #[arg(long, default_value = "all", value_parser = ["all", "none", "errors", "media"])]
    faults: String,
    /// What worlds see more of than others.
    #[arg(long, default_value = "nothing", value_parser = Aim::NAMES.map(|(name, _)| name))]
    aim: String,
    /// Kinds of operations to leave out.
    #[arg(long, value_delimiter = ',', value_parser = Kind::ALL.map(Kind::name))]
    without: Vec<String>,
    /// Numbers of operations to leave out, as a failure names them.
    #[arg(long, value_parser = Plan::parse_skip)]
    skip: Option<std::vec::Vec<(u64, u64)>>,
    /// Breaks the node on purpose, to see that it is noticed.
    #[arg(long, value_parser = bugs().map(Bug::name).collect::<Vec<_>>())]
    bug: Option<String>,
    /// Runs that a failing plan is tried to be made smaller with.
    #[arg(long, default_value_t = SHRINK_ATTEMPTS)]
    shrink: u64,
    /// Prints what happens, line by line, for the first seed only.
    #[arg(long)]
    trace: bool,
}

/// Returns the bugs that random seeds find.
fn bugs() -> impl Iterator<Item = Bug> {
    Bug::ALL.into_iter().chain(Bug::MIRRORED)
}

impl Arguments {
    fn plan(&self, seed: u64) -> Plan {
        let faults = Faults::NAMES.iter().find(|(name, _)| *name == self.faults);
        let aim = Aim::NAMES.iter().find(|(name, _)| *name == self.aim);
        let left_out = |kind: &Kind| self.without.iter().any(|name| name == kind.name());
        let bug = bugs().find(|bug| Some(bug.name()) == self.bug.as_deref());
        Plan {
            seed,
            rounds: self.rounds,
            clients: self.clients,
            steps: self.steps,
            faults: faults.map_or(Faults::All, |(_, faults)| *faults),
            aim: aim.map_or(Aim::Nothing, |(_, aim)| *aim),
            bug,
            without: Kind::ALL.into_iter().filter(left_out).collect(),
            skip: self.skip.clone().unwrap_or_default(),
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.trace {
        let (result, lines) = simulation::trace(&arguments.plan(arguments.seed));
        lines.iter().for_each(|line| println!("{line}"));
        return match result {
            Ok(report) => {
                println!("{report}");
                ExitCode::SUCCESS
            }
            Err(failure) => {
                println!("BROKEN: {}", failure.message);
                ExitCode::FAILURE
            }
        };
    }
    // The message is printed once, with the command that repeats the failure.
    std::panic::set_hook(Box::new(|_| ()));
    let started = Instant::now();
    let (mut sum, mut told) = (Report::default(), started);
    let limit = Duration::from_secs(arguments.minutes.saturating_mul(60).min(arguments.seconds));
    for seed in (arguments.seed..).take(arguments.seeds.try_into().unwrap_or(usize::MAX)) {
        if started.elapsed() >= limit || sum.crash_recoveries >= arguments.recoveries {
            break;
        }
        match simulation::attempt(&arguments.plan(seed)) {
            Ok(report) => sum.add(&report),
            Err(failure) => return fail(failure, &sum, arguments.shrink),
        }
        if told.elapsed() >= PROGRESS {
            told = Instant::now();
            println!("{:>6} s  {}", started.elapsed().as_secs(), sum.progress());
        }
    }
    println!("no promise was broken in {:.1} s\n\n{sum}", started.elapsed().as_secs_f64());
    ExitCode::SUCCESS
}

fn fail(failure: Failure, sum: &Report, attempts: u64) -> ExitCode {
    println!("{sum}");
    println!("BROKEN: {}\n", failure.message);
    println!("repeat it with:\n  {}", failure.plan.command());
    let smaller = simulation::shrink(failure.clone(), attempts);
    if smaller.plan != failure.plan {
        let (left, all) = (smaller.operations.len(), failure.operations.len());
        println!("\nsmaller, {left} of {all} operations: {}", smaller.message);
        println!("  {}", smaller.plan.command());
    }
    ExitCode::FAILURE
}
