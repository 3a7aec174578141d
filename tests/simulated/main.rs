//! The simulation in bounded form: a few seeds, the same run from the same seed, and bugs planted to be caught.
//!
//! `cargo run --release -p ringbolt-tests --bin simulate` runs as many seeds as one has time for.

use std::process::Command;

use ringbolt_engine::sim::Bug;
use ringbolt_tests::simulation::{self, Faults, Plan, Report};

fn small(seed: u64, faults: Faults) -> Plan {
    Plan { rounds: 5, steps: 1500, faults, ..Plan::new(seed) }
}

fn run_all(seeds: std::ops::RangeInclusive<u64>, faults: Faults) -> Report {
    let mut sum = Report::default();
    for seed in seeds {
        let plan = small(seed, faults);
        let report = simulation::attempt(&plan);
        let report = report.unwrap_or_else(|failure| {
            panic!("{}\nrepeat it with:\n  {}", failure.message, failure.plan.command())
        });
        sum.add(&report);
    }
    sum
}

#[test]
fn nothing_is_lost_by_power_cuts() {
    let sum = run_all(1..=8, Faults::None);
    assert!(sum.crash_recoveries >= 20 && sum.total_operations() > 2000, "{sum}");
    assert!(sum.crashes_in_recovery > 0 && sum.clean_stops > 0 && sum.kills > 0, "{sum}");
}

#[test]
fn nothing_is_lost_by_a_drive_that_owns_up_to_its_errors() {
    let sum = run_all(1..=16, Faults::Errors);
    assert!(sum.refused_stopped > 0 && sum.failed_reads > 0 && sum.crash_recoveries >= 20, "{sum}");
}

#[test]
fn nothing_wrong_is_served_by_a_drive_that_lies() {
    let sum = run_all(1..=12, Faults::Media);
    assert!(sum.media_lives >= 8 && sum.damage_reported + sum.drives_refused > 0, "{sum}");
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    for faults in [Faults::None, Faults::Errors, Faults::Media] {
        let plan = small(80, faults);
        let (first, second) = (simulation::trace(&plan), simulation::trace(&plan));
        assert!(first.1.len() > 200, "{} lines", first.1.len());
        assert_eq!(first.1.join("\n"), second.1.join("\n"), "{plan}");
        let report = first.0.unwrap_or_else(|failure| panic!("{}", failure.message));
        assert_eq!(second.0.ok(), Some(report));
        assert_ne!(simulation::trace(&small(81, faults)).1, first.1);
    }
}

/// Catches `bug` within `seeds` seeds, and none of them fails without it.
fn is_caught(bug: Bug, faults: Faults, seeds: u64) {
    let caught = (1..=seeds).find_map(|seed| {
        let plan = Plan { bug: Some(bug), ..small(seed, faults) };
        simulation::attempt(&plan).err()
    });
    let failure = caught.unwrap_or_else(|| panic!("{bug:?} is not caught within {seeds} seeds"));
    let honest = Plan { bug: None, ..failure.plan };
    simulation::attempt(&honest).unwrap_or_else(|failure| panic!("without the bug too: {}", failure.message));
}

#[test]
fn a_skipped_flush_is_caught() {
    is_caught(Bug::SkipFlush, Faults::None, 5);
}

#[test]
fn an_early_acknowledgement_is_caught() {
    is_caught(Bug::AcknowledgeBeforeCommit, Faults::None, 5);
}

#[test]
fn space_that_is_used_again_too_early_is_caught() {
    is_caught(Bug::ReuseSpaceEarly, Faults::None, 10);
}

#[test]
fn a_lost_tail_is_caught() {
    is_caught(Bug::LoseTail, Faults::None, 10);
}

#[test]
fn an_ignored_checksum_is_caught() {
    is_caught(Bug::IgnoreCrc, Faults::Media, 60);
}

#[test]
fn slices_moved_to_what_is_not_durable_are_caught() {
    is_caught(Bug::MoveUnflushed, Faults::None, 60);
}

/// Runs the command that a failure names.
fn simulate(arguments: &str) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_simulate")).args(arguments.split(' ')).output();
    let output = output.expect("the simulation starts");
    (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn a_failure_names_the_command_that_repeats_it() {
    let plan = Plan { bug: Some(Bug::SkipFlush), ..small(1, Faults::None) };
    let failure = simulation::attempt(&plan).expect_err("a skipped flush is caught");
    let command = failure.plan.command();
    let arguments = command.split_once(" -- ").expect("arguments").1;
    let (status, text) = simulate(arguments);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains(&format!("BROKEN: {}", failure.message)) && text.contains(&command), "{text}");
    let smaller = simulation::shrink(failure.clone(), 10).plan;
    let size = |plan: &Plan| (plan.rounds, plan.clients, plan.steps);
    assert!(size(&smaller) <= size(&failure.plan) && simulation::attempt(&smaller).is_err(), "{smaller}");
    let well = arguments.replace(" --bug skip-flush", "");
    assert_eq!(simulate(&well).0, Some(0), "without the bug nothing is broken");
}
