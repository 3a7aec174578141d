//! These tests damage a real drive file: every relevant kind of block, in every way in which drives
//! fail.
//!
//! The drive has checkpoints of several chunks, logs, inline objects, slices, parts, versions, delete
//! markers, changed metadata, and a log that was not closed. Each case changes some bytes, opens the
//! drive with a real engine and reads. The expected result follows from the changed bytes: either the
//! drive is refused, or reading exactly the affected objects fails, and everything else is right, byte
//! by byte, and listed. The one exception is the last batch of a log, because nobody can tell whether
//! it was ever acknowledged.
//!
//! `DAMAGE_TRIALS=20 cargo test -p ringbolt-tests --test damage` tries each case at 20 places.

mod atlas;
mod cases;
mod mirror;
mod stored;
mod versions;

use crate::atlas::{Atlas, Verdict};
use crate::cases::{HARMS, Harm, KINDS, Kind, changed_bytes, damage};
use crate::stored::{SENTINEL, Stored};
use ringbolt_engine::check::{Finding, Outcome, check, open_media};
use ringbolt_engine::node::Redundancy;
use ringbolt_tests::{Dice, binary};
use std::collections::BTreeMap;
use std::path::PathBuf;

const SEED: u64 = 7;

/// Returns at how many places each case is tried.
fn trials() -> usize {
    std::env::var("DAMAGE_TRIALS").ok().and_then(|value| value.parse().ok()).unwrap_or(1)
}

/// Checks drives that no node has open, and reads every byte.
fn checked(paths: &[PathBuf]) -> (Outcome, Vec<Finding>) {
    let mut findings = Vec::<Finding>::new();
    let media = open_media(paths).expect("the drives can be checked");
    let outcome = check(&media, true, &mut findings).expect("the drives can be checked");
    (outcome, findings)
}

#[test]
fn damage_is_detected_and_what_is_not_damaged_stays_readable() {
    let trials = trials();
    let directory =
        tempfile::Builder::new().prefix("damage-").tempdir_in(binary::scratch_dir()).expect("a directory");
    let stored = Stored::make(directory.path(), 1, Redundancy::NONE);
    let drive = &stored.drives[0];
    let atlas = Atlas::read(&drive.image);
    assert_eq!(stored.read_damaged(&Vec::new(), &[]).expect("it opens"), Vec::<String>::new());
    let mut dice = Dice::new(SEED);
    let mut outcomes: BTreeMap<_, [usize; 3]> = BTreeMap::new();
    for (kind, harm) in KINDS.into_iter().flat_map(|kind| HARMS.map(|harm| (kind, harm))) {
        if (kind, harm) == (Kind::ThreeSuperblocks, Harm::RollBack) {
            // Three copies that agree are no damage: this is the drive of an earlier time.
            continue;
        }
        for trial in 0..trials {
            let changes = damage(kind, harm, &atlas, drive, &mut dice);
            if changes.is_empty() {
                continue;
            }
            let changed = changed_bytes(&changes, &drive.image);
            let mut verdict = atlas.verdict(&changed);
            if let Verdict::Unreadable(keys) = &mut verdict {
                // The damage extends to the end of the log: these keys are lost with it, and not
                // read.
                keys.retain(|key| !key.starts_with(SENTINEL));
                keys.sort_unstable();
            }
            let found = match stored.read_damaged(&changes, verdict.unreadable()) {
                Ok(mut keys) => {
                    keys.sort_unstable();
                    Verdict::Unreadable(keys)
                }
                Err(_) => Verdict::Refused,
            };
            let at: Vec<usize> = changes.iter().map(|(at, _)| *at).collect();
            assert_eq!(found, verdict, "{harm:?} of {kind:?}, trial {trial}, at {at:?}");
            let counts = outcomes.entry((kind, harm)).or_default();
            counts[match &found {
                Verdict::Refused => 0,
                Verdict::Unreadable(keys) if !keys.is_empty() => 1,
                Verdict::Unreadable(_) => 2,
            }] += 1;
        }
    }
    println!("refused at open, objects answered with an error, nothing needed what was damaged:");
    outcomes.iter().for_each(|((kind, harm), counts)| println!("  {kind:?} {harm:?} {counts:?}"));
    assert!(drive.is_restored(), "a case left something behind");
    // Every kind is detected in every way, except for single superblocks, which have four copies, and
    // for delete markers, of which the index says all that readers ask for.
    let noticed = outcomes.values().map(|[refused, unreadable, _]| refused + unreadable).sum::<usize>();
    assert!(noticed >= 36 * trials, "only {noticed} damages were noticed: {outcomes:?}");
}
