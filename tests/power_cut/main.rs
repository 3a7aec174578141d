//! Power cuts: a recording of all that a real node sent to a real drive, cut at its flush boundaries.
//!
//! At each cut the drive holds what was durable, and any part of what was not. Every such drive is recovered, most of
//! them in the simulator, some as a real file; everything acknowledged before the cut must be there and whole.
//!
//! `POWER_CUT_ROUNDS=10 POWER_CUT_SEED=1 cargo test -p ringbolt-tests --test power_cut` cuts at every boundary of ten
//! recordings; without it, at some of one.

mod history;
mod replay;
mod workload;

use crate::replay::{Bench, Fates, Replay};
use crate::workload::{DRIVE_BYTES, Recording, record};
use ringbolt_engine::device::record::Event;
use ringbolt_engine::node::NodePlan;
use ringbolt_tests::node::{self, End, options};
use ringbolt_tests::{Dice, binary};
use std::path::Path;

const SEED: u64 = 20_260_301;
/// Of a bounded run.
const CUTS: usize = 20;
const MIXES: usize = 3;
/// One image in so many is recovered as a real file too.
const REAL_FILES: usize = 50;

#[derive(Debug, Default)]
struct Counts {
    recordings: usize,
    acknowledged: usize,
    writes: usize,
    flushes: usize,
    cuts: usize,
    images: usize,
    open_writes: usize,
    real_files: usize,
    objects: usize,
}

fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("cut-").tempdir_in(binary::scratch_dir()).expect("a directory")
}

/// Before and behind each event that makes something durable or says that it is.
fn boundaries(events: &[Event]) -> Vec<usize> {
    let marks = |event: &Event| !matches!(event, Event::WriteStarted { .. });
    let mut all: Vec<usize> =
        (0..events.len()).filter(|&at| marks(&events[at])).flat_map(|at| [at, at + 1]).collect();
    all.dedup();
    all
}

/// An even choice of at most `most`, always with the last one.
fn some(all: &[usize], most: usize) -> Vec<usize> {
    let step = all.len().div_ceil(most).max(1);
    let mut chosen: Vec<usize> = all.iter().rev().step_by(step).copied().collect();
    chosen.reverse();
    chosen
}

fn cut_everywhere(recording: &Recording, cuts: &[usize], directory: &Path, seed: u64, counts: &mut Counts) {
    let (mut replay, bench) = (Replay::new(recording), Bench::new(recording.base.len()));
    let mut dice = Dice::new(seed);
    for &cut in cuts {
        replay.advance(cut);
        counts.cuts += 1;
        counts.open_writes += replay.open_writes();
        let expected = recording.timeline.expected(cut);
        let mixes = if replay.open_writes() > 0 { MIXES } else { 0 };
        let all_kept = (mixes > 0).then_some(Fates::AllKept);
        let fates = std::iter::once(Fates::AllLost)
            .chain(all_kept)
            .chain([Fates::Mixed; MIXES].into_iter().take(mixes));
        for fates in fates {
            let image = replay.image(fates, &mut dice);
            let story = format!("seed {seed}, cut before event {cut}, {fates:?}");
            let objects = bench.recover(&image, expected.clone(), dice.next());
            counts.objects += objects.unwrap_or_else(|wrong| panic!("{story}: {wrong}"));
            if counts.images.is_multiple_of(REAL_FILES) {
                let path = directory.join("cut");
                std::fs::write(&path, &image).expect("write the image");
                let seeds =
                    NodePlan::open(options(path, 2)).unwrap_or_else(|error| panic!("{story}: {error}"));
                let checked = node::run(seeds, End::Drop, |core| {
                    let expected = &expected;
                    async move { expected.check(&core).await }
                });
                let checked = checked.unwrap_or_else(|error| panic!("{story}, as a file: {error}"));
                checked.into_iter().for_each(|outcome| {
                    outcome.unwrap_or_else(|wrong| panic!("{story}, as a file: {wrong}"));
                });
                counts.real_files += 1;
            }
            counts.images += 1;
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
        cut_everywhere(&recording, &cuts, directory.path(), seed, &mut counts);
        println!("after seed {seed}: {counts:?}");
    }
    assert!(counts.images >= counts.cuts && counts.objects > 100, "too little was looked at: {counts:?}");
}

/// These tests see what is lost: a drive whose flushes do nothing loses something acknowledged.
#[test]
fn a_drive_that_only_says_it_flushed_is_found_out() {
    let directory = scratch();
    let recording = record(&directory.path().join("drive"), SEED, 1, 10);
    let (mut replay, bench) = (Replay::new(&recording), Bench::new(DRIVE_BYTES as usize));
    replay.lies = true;
    replay.advance(recording.events.len());
    let image = replay.image(Fates::AllLost, &mut Dice::new(1));
    let expected = recording.timeline.expected(recording.events.len());
    let wrong = bench.recover(&image, expected, 1).expect_err("everything is lost");
    assert!(wrong.contains("gone"), "{wrong}");
}
