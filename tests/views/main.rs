//! Every state that the rules of views can reach, explored with `stateright`: with the right rules
//! nothing acknowledged is lost, and with each of the wrong ones something goes wrong.
//!
//! A set of drives keeps each shard's log on several of them, its *homes*. Drives fail, are away at a
//! start, and come back with what they held long ago. A *view* says which drives are in, and which
//! are homes; only those may be believed. It is numbered by an epoch, which grows with each start,
//! and by a counter within it, and lies in every drive's superblock. The rules say when a view may
//! follow another one, and what a start may take for the truth:
//!
//! 1. Homes change by a view alone. A drive holds its view and the highest epoch that it promised.
//! 2. A batch is acknowledged when every drive has it that it was written to and that is in the view.
//!    While a shard's homes change, nothing of that shard is acknowledged.
//! 3. A node that runs may write a view of the next number. It drops at most M drives of the view in
//!    use. A new home is ready first: the log has rolled to a log set that includes it and every
//!    present home, and then a checkpoint whose replay begins there is durable on it. The view is
//!    used when it is durable on all its drives, and it is never given up before.
//! 4. A start takes the newest view that it finds, and keeps those of its drives that are present. It
//!    goes on if at most M of that view's drives are absent, if it keeps all or at least M+1 of them,
//!    and if each shard has a home among them. If the newest view is not known to have been used, the
//!    drives that are kept must be as many of each view, too, that it was counted from. Therefore a
//!    superblock names those with a view until the view was used. The start promises an epoch, makes
//!    the homes' logs alike, writes its view, and then serves, each durable before the next.
//! 5. A drive that is not in the view, or not a home, is never a source. It comes back by a view.
//! 6. What an older root names is let go when the newer root is durable on every home in the view
//!    and on every drive that is ready to be one.
//!
//! A drive that nothing lies on may be added, by a start or while the node runs. It is no member before a view
//! takes it in, and no home before it is ready to be one.
//!
//! When too many drives are gone, the operator may name them. Then a start goes on if every drive that was ever
//! in the set is present or named, in the view or not, also one that was added while those that are present were
//! away. The word is taken for true: a drive that was named never comes back. What was acknowledged may be lost
//! only if every home of the view in use was named.
//!
//! What the model leaves out, and why it may:
//!
//! - A batch is there or it is not. A torn one is found by its checksums and counts as absent.
//! - One batch of a shard is under way at a time, because those behind it wait for it in a real log
//!   too. Two shards are under way at once.
//! - A checkpoint covers all up to the beginning of the log set in which its replay begins (`log.rs`).
//! - A start is one step with a cut at each write, since nothing else happens meanwhile. A drive that
//!   fails during a start is one that the write did not reach, absent at the next start.
//! - The note that a view was used is written with its last copy (`state.rs`).
//! - Objects outside of the log, damage that checksums find, and how long a start waits for drives.
//!
//! Counts of batches, log sets, views and starts are bounded. `stateright` tells states apart by a hash
//! of 64 bits, so that ten million states hide a different one with a probability of one in 400,000.

mod log;
mod model;
mod rules;
mod running;
mod set;
mod start;
mod state;

use std::collections::BTreeSet;

use model::{Asks, Bounds, HOME_FOR_EACH, HOMES_COMPLETE, NOTHING_LOST, NUMBER_ONCE, Views};
use rules::{Rules, Wrong};
use stateright::{Checker, HasDiscoveries, Model};

/// Returns a model with one shard, with the right rules.
fn drives(drives: u8, failures_max: u32, bounds: Bounds) -> Views {
    let rules = Rules { failures_max, wrong: None };
    Views { drives, blanks: 0, shards: 1, rules, bounds, asks: Asks::Safety }
}

fn two_drives() -> Views {
    drives(2, 1, Bounds { writes: 1, rolls: 1, counter: 4, starts: 3, words: 1 })
}

fn three_drives() -> Views {
    drives(3, 1, Bounds { writes: 1, rolls: 1, counter: 2, starts: 2, words: 1 })
}

/// Homes move twice within one run.
fn three_drives_with_many_views() -> Views {
    drives(3, 1, Bounds { writes: 1, rolls: 1, counter: 3, starts: 0, words: 0 })
}

fn three_drives_with_many_views_and_starts() -> Views {
    drives(3, 1, Bounds { writes: 1, rolls: 0, counter: 3, starts: 2, words: 1 })
}

/// The right rules take minutes here, a wrong one is caught in seconds.
fn three_drives_with_all() -> Views {
    drives(3, 1, Bounds { writes: 1, rolls: 1, counter: 3, starts: 2, words: 0 })
}

fn three_drives_of_which_two_may_fail() -> Views {
    drives(3, 2, Bounds { writes: 1, rolls: 1, counter: 2, starts: 2, words: 1 })
}

fn four_drives() -> Views {
    drives(4, 1, Bounds { writes: 1, rolls: 0, counter: 2, starts: 2, words: 0 })
}

/// The right rules have not been explored to the end here: that takes more memory than it is worth.
fn four_drives_with_many_views() -> Views {
    drives(4, 1, Bounds { writes: 1, rolls: 0, counter: 3, starts: 2, words: 0 })
}

fn four_drives_with_many_starts() -> Views {
    drives(4, 1, Bounds { writes: 1, rolls: 0, counter: 1, starts: 4, words: 1 })
}

/// The shards' homes overlap in one drive.
fn two_shards() -> Views {
    let bounds = Bounds { writes: 1, rolls: 0, counter: 3, starts: 2, words: 0 };
    Views { shards: 2, ..drives(3, 1, bounds) }
}

/// A third drive may be added to two of which one may fail.
fn two_drives_and_a_new_one() -> Views {
    let bounds = Bounds { writes: 1, rolls: 1, counter: 3, starts: 1, words: 1 };
    Views { blanks: 1, ..drives(3, 1, bounds) }
}

/// A drive may be added to three.
fn three_drives_and_a_new_one() -> Views {
    let bounds = Bounds { writes: 1, rolls: 0, counter: 2, starts: 2, words: 1 };
    Views { blanks: 1, ..drives(4, 1, bounds) }
}

/// Explores every state and finds nothing wrong.
fn holds(model: Views) {
    let checker = model.checker().finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let wrong = checker.discoveries().into_iter().next();
    let wrong = wrong.map(|(property, path)| format!("not so: {property}\n{:#?}", path.into_actions()));
    assert_eq!(wrong, None, "{model:?}");
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    println!("{states} states, {depth} steps: {model:?}");
    assert!(states > 10_000, "{states} states");
}

#[test]
fn the_rules_hold_for_two_drives() {
    holds(two_drives());
}

#[test]
fn the_rules_hold_for_three_drives() {
    holds(three_drives());
    holds(three_drives_with_many_views());
    holds(three_drives_with_many_views_and_starts());
}

#[test]
fn the_rules_hold_for_three_drives_of_which_two_may_fail() {
    holds(three_drives_of_which_two_may_fail());
}

#[test]
fn the_rules_hold_for_four_drives() {
    holds(four_drives());
    holds(four_drives_with_many_starts());
}

#[test]
fn the_rules_hold_when_a_drive_is_added() {
    holds(two_drives_and_a_new_one());
    holds(three_drives_and_a_new_one());
}

#[test]
fn the_rules_hold_for_two_shards() {
    holds(two_shards());
}

/// Explores larger counts, which takes minutes and 5 GiB of memory, when `VIEWS_LARGE` is set.
#[test]
fn the_rules_hold_for_more() {
    if std::env::var_os("VIEWS_LARGE").is_none() {
        return;
    }
    holds(drives(2, 1, Bounds { writes: 2, rolls: 1, counter: 4, starts: 3, words: 1 }));
    holds(drives(3, 2, Bounds { writes: 1, rolls: 1, counter: 2, starts: 2, words: 2 }));
    holds(drives(4, 1, Bounds { writes: 1, rolls: 1, counter: 2, starts: 1, words: 0 }));
    holds(drives(4, 1, Bounds { writes: 1, rolls: 0, counter: 2, starts: 3, words: 0 }));
    let two_starts = Bounds { starts: 2, ..two_drives_and_a_new_one().bounds };
    holds(Views { bounds: two_starts, ..two_drives_and_a_new_one() });
    holds(three_drives_with_all());
    for wrong in [Wrong::Abandon, Wrong::ViewBeforeCheckpoint, Wrong::LetGoUnderNewHome] {
        is_caught(wrong, three_drives_with_all(), NOTHING_LOST);
    }
    is_caught(Wrong::CountThePresent, four_drives_with_many_views(), NOTHING_LOST);
}

/// Finds that `property` does not hold when one rule is wrong.
fn is_caught(wrong: Wrong, right: Views, property: &'static str) {
    let model = Views { rules: Rules { wrong: Some(wrong), ..right.rules }, ..right };
    let until = HasDiscoveries::AnyOf(BTreeSet::from([property]));
    let checker = model.checker().finish_when(until).spawn_bfs().join();
    let path = checker.discovery(property);
    let path = path.unwrap_or_else(|| panic!("{wrong:?} is not caught by \"{property}\""));
    let states = checker.unique_state_count();
    let actions = path.into_actions();
    println!("{wrong:?}: {} steps, {states} states: {property}\n{actions:#?}", actions.len());
}

#[test]
fn wrong_changes_of_view_are_caught() {
    is_caught(Wrong::AckBeforeView, three_drives(), NOTHING_LOST);
    is_caught(Wrong::Abandon, three_drives(), NUMBER_ONCE);
    is_caught(Wrong::CountFromUnfinished, three_drives_with_many_views_and_starts(), NOTHING_LOST);
    is_caught(Wrong::DropMany, three_drives(), NOTHING_LOST);
}

#[test]
fn wrong_homes_are_caught() {
    is_caught(Wrong::NoCopy, three_drives(), NOTHING_LOST);
    is_caught(Wrong::ViewBeforeCheckpoint, three_drives(), HOMES_COMPLETE);
    is_caught(Wrong::OldSetCounts, two_drives(), HOMES_COMPLETE);
    is_caught(Wrong::HomesByRecord, three_drives(), NOTHING_LOST);
}

#[test]
fn space_that_is_let_go_too_early_is_caught() {
    is_caught(Wrong::LetGoEarly, three_drives(), NOTHING_LOST);
    is_caught(Wrong::LetGoUnderNewHome, three_drives_with_many_views(), HOMES_COMPLETE);
}

#[test]
fn wrong_starts_are_caught() {
    is_caught(Wrong::AnyOne, three_drives(), NOTHING_LOST);
    is_caught(Wrong::StartWithoutHome, three_drives(), HOME_FOR_EACH);
    is_caught(Wrong::StaleSource, three_drives(), NOTHING_LOST);
    is_caught(Wrong::NoPromise, four_drives_with_many_starts(), NOTHING_LOST);
    is_caught(Wrong::CounterOnly, three_drives_with_all(), NOTHING_LOST);
    is_caught(Wrong::ServeBeforeView, three_drives(), NOTHING_LOST);
}

#[test]
fn a_start_that_counts_from_a_view_that_was_never_used_is_caught() {
    is_caught(Wrong::CountFromNewest, four_drives_with_many_starts(), NOTHING_LOST);
    is_caught(Wrong::CountFromNewest, three_drives_with_many_views_and_starts(), NOTHING_LOST);
}

#[test]
fn a_word_that_is_taken_for_too_much_is_caught() {
    is_caught(Wrong::WordForAll, three_drives(), NOTHING_LOST);
    is_caught(Wrong::WordForSome, three_drives(), NOTHING_LOST);
    is_caught(Wrong::WordOfKnown, two_drives_and_a_new_one(), NOTHING_LOST);
}

/// A model in which nothing happens would have nothing wrong either.
#[test]
fn what_the_rules_are_for_happens() {
    let model = Views { asks: Asks::Happens, ..three_drives() };
    model.checker().spawn_bfs().join().assert_properties();
}
