//! These tests cut the power: everything that a real node sent to a real drive is recorded, and the
//! recording is cut at its flush boundaries.
//!
//! At each cut the drive holds what was durable, and any part of what was not. Every such drive is
//! recovered, most of them in the simulator, some as a real file; everything acknowledged before
//! the cut must be there and intact.
//!
//! `POWER_CUT_ROUNDS=10 POWER_CUT_SEED=1 cargo test -p ringbolt-tests --test power_cut --
//! --nocapture` cuts at every boundary of ten recordings and reports its progress; without these
//! variables, it cuts at some boundaries of one.

mod bench;
mod history;
mod progress;
mod replay;
mod versions;
mod workload;

use crate::bench::{FileBench, SimBench};
use crate::progress::{Counts, Progress};
use crate::replay::{Fates, Replay};
use crate::workload::{Recording, record};
use ringbolt_engine::device::record::Event;
use ringbolt_tests::{Dice, binary};
use std::path::Path;
use std::sync::Arc;

const SEED: u64 = 20_260_301;
/// Limits the cuts of a bounded run.
const CUTS: usize = 20;
const MIXES: usize = 3;
/// One drive in this many is also recovered as a real file. The number is not a multiple of the
/// five drives of a place, so that it is not always the same of them.
const REAL_FILES: usize = 47;
/// At this many places, and the last, all bytes of the benches' drives are compared.
const COMPARED: usize = 100;

fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("cut-").tempdir_in(binary::scratch_dir()).expect("a directory")
}

/// Returns the positions before and after each event that makes something durable or reports that
/// it is.
fn boundaries(events: &[Event]) -> Vec<usize> {
    let marks = |event: &Event| !matches!(event, Event::WriteStarted { .. });
    let mut all: Vec<usize> =
        (0..events.len()).filter(|&at| marks(&events[at])).flat_map(|at| [at, at + 1]).collect();
    all.dedup();
    all
}

/// Returns an even choice of at most `most`, always with the last one.
fn some(all: &[usize], most: usize) -> Vec<usize> {
    let step = all.len().div_ceil(most).max(1);
    let mut chosen: Vec<usize> = all.iter().rev().step_by(step).copied().collect();
    chosen.reverse();
    chosen
}

/// Cuts one recording at the places `cuts`. With `tells` it reports its progress.
fn cut(recording: &Recording, cuts: &[usize], path: &Path, seed: u64, tells: bool, counts: &mut Counts) {
    let (mut replay, mut dice) = (Replay::new(recording), Dice::new(seed));
    let (mut sim, mut file) = (SimBench::new(&replay, dice.next()), FileBench::new(&replay, path));
    let mut progress = Progress::new(cuts.len(), counts);
    for (number, &cut) in cuts.iter().enumerate() {
        replay.advance(cut);
        counts.cuts += 1;
        counts.open_writes += replay.open_writes();
        let expected = Arc::new(recording.timeline.expected(cut));
        let mixes = if replay.open_writes() > 0 { MIXES } else { 0 };
        let all_kept = (mixes > 0).then_some(Fates::AllKept);
        let fates = std::iter::once(Fates::AllLost)
            .chain(all_kept)
            .chain([Fates::Mixed; MIXES].into_iter().take(mixes));
        for fates in fates {
            let remains = replay.remains(fates, &mut dice);
            let wrong = |wrong| panic!("seed {seed}, cut before event {cut}, {fates:?}: {wrong}");
            let cores = 1 + dice.below(2);
            counts.objects += sim.recover(&replay, &remains, &expected, cores).unwrap_or_else(wrong);
            if counts.drives.is_multiple_of(REAL_FILES) {
                file.recover(&replay, &remains, &expected, 2).unwrap_or_else(wrong);
                counts.real_files += 1;
            }
            counts.drives += 1;
        }
        if number.is_multiple_of(cuts.len().div_ceil(COMPARED)) || number + 1 == cuts.len() {
            sim.compare(&replay);
            file.compare(&replay);
        }
        if tells {
            progress.tell(seed, number + 1, counts);
        }
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|value| value.parse().ok())
}

#[test]
fn what_was_acknowledged_survives_every_power_cut() {
    let directory = scratch();
    let (rounds, first) = (number("POWER_CUT_ROUNDS"), number("POWER_CUT_SEED").unwrap_or(SEED));
    let mut counts = Counts::default();
    for seed in first..first + rounds.unwrap_or(1) {
        let changes = if rounds.is_some() { 60 } else { 40 };
        let recording = record(&directory.path().join("drive"), seed, 3, changes);
        let all = boundaries(&recording.events);
        let cuts = if rounds.is_some() { all } else { some(&all, CUTS) };
        let is_write = |event: &&Event| matches!(event, Event::WriteStarted { .. });
        let is_flush = |event: &&Event| matches!(event, Event::FlushEnded { .. });
        counts.recordings += 1;
        counts.acknowledged += recording.timeline.acknowledged();
        counts.writes += recording.events.iter().filter(is_write).count();
        counts.flushes += recording.events.iter().filter(is_flush).count();
        cut(&recording, &cuts, &directory.path().join("cut"), seed, rounds.is_some(), &mut counts);
        println!("after seed {seed}: {counts}");
    }
    assert!(counts.drives >= counts.cuts && counts.objects > 100, "too little was looked at: {counts:?}");
}

/// These tests detect a loss: a drive whose flushes do nothing loses something acknowledged.
#[test]
fn a_drive_that_only_says_it_flushed_is_found_out() {
    let directory = scratch();
    let recording = record(&directory.path().join("drive"), SEED, 1, 10);
    let mut replay = Replay::new(&recording);
    let mut bench = SimBench::new(&replay, 1);
    replay.lies = true;
    replay.advance(recording.events.len());
    let remains = replay.remains(Fates::AllLost, &mut Dice::new(1));
    let expected = Arc::new(recording.timeline.expected(recording.events.len()));
    let wrong = bench.recover(&replay, &remains, &expected, 1).expect_err("everything is lost");
    assert!(wrong.contains("gone"), "{wrong}");
}
