//! Sets of extents: their numbers are used again, and what names them survives that.

use std::rc::Rc;

use ringbolt_engine::node::{Core, OpenError};
use ringbolt_engine::shard::CheckpointCut;
#[cfg(feature = "planted-bugs")]
use ringbolt_engine::sim::Bug;
use ringbolt_engine::sim::{Rare, SimNode, SimOptions, take_reached};
use ringbolt_engine::types::BucketId;

use crate::check::{checked, copied};
use crate::world::{MIB, World, body, bucket, delete, get, put};

/// Length of a body that lies in a set of slices, bytes.
const LARGE: usize = 300_000;
/// So many objects with keys of this length, bytes, need a checkpoint of two sets.
const OBJECTS: u64 = 3000;
const KEY: usize = 1000;

async fn assert_reads(node: &Rc<SimNode>, id: BucketId, key: &[u8], tag: u64) {
    let read = get(&node.core(0), id, key).await.expect("readable");
    assert!(read.is_some_and(|(_, bytes)| bytes == body(tag, LARGE)), "{key:?} of {tag}");
}

/// Each round deletes everything that the round before stored, so that sets are given back and their
/// numbers are used again, and ends in the middle of something.
#[test]
fn numbers_of_sets_are_used_again_across_lives() {
    take_reached();
    for seed in 0..2 {
        let mut world = World::new(3000 + seed, 96 * MIB, 1, 1);
        world.options.checkpoint_after_bytes = u64::MAX;
        let mut id = None;
        for round in 0..25u64 {
            let node = world.open();
            let on = node.clone();
            id = world.run(async move {
                let core = on.core(0);
                let Some(id) = id else { return Some(bucket(&core, "b").await) };
                for key in [&b"one"[..], b"two"] {
                    // The round before may have ended before its own bodies were stored.
                    let read = get(&core, id, key).await.expect("readable");
                    let tag = [round - 1, round.saturating_sub(2)]
                        .into_iter()
                        .find(|tag| read.as_ref().is_some_and(|(_, bytes)| *bytes == body(*tag, LARGE)));
                    assert!(tag.is_some() || read.is_none(), "{key:?} in round {round}");
                    delete(&core, id, key).await.expect("deleted");
                }
                on.checkpoint().await.expect("a checkpoint");
                put(&core, id, b"one", round, LARGE).await.expect("stored");
                assert_reads(&on, id, b"one", round).await;
                Some(id)
            });
            let (on, id) = (node.clone(), id.expect("made in the first round"));
            world.sim.spawn(async move {
                let core = on.core(0);
                let stored = put(&core, id, b"two", round, LARGE);
                drop(futures_util::future::join(stored, on.checkpoint()).await);
            });
            world.sim.run_steps(world.sim.random().below(120));
            if world.sim.random().one_in(2) {
                world.crash(node);
            } else {
                world.kill(node);
            }
            let (outcome, seen) = checked(&copied(&world), true);
            assert_eq!((outcome.losses, outcome.beyond_repair), (0, 0), "{:?}", seen.findings);
        }
    }
    let reached = take_reached();
    if cfg!(feature = "planted-bugs") {
        assert!(reached[Rare::SetNumberReused as usize] > 60, "numbers are not used again");
    }
}

/// Returns options by which a checkpoint is written when it is asked for, in many small chunks: it
/// lasts longer than a body.
fn long_checkpoints(options: SimOptions) -> SimOptions {
    let checkpoint_cut = CheckpointCut { payload_bytes: 4032, names: 64 };
    SimOptions { checkpoint_after_bytes: u64::MAX, checkpoint_cut, ..options }
}

/// Makes a bucket of objects whose checkpoint needs two sets.
async fn stored(core: &Core) -> BucketId {
    let id = bucket(core, "b").await;
    for tag in 0..OBJECTS {
        put(core, id, &body(tag, KEY), tag, 500).await.expect("stored");
    }
    id
}

async fn assert_stored(core: &Core, id: BucketId) {
    for tag in (0..OBJECTS).step_by(100) {
        let read = get(core, id, &body(tag, KEY)).await.expect("readable");
        assert!(read.is_some_and(|(_, bytes)| bytes == body(tag, 500)), "{tag}");
    }
}

/// Ends a life `steps` after it began a long checkpoint and a large body that needs a new set, and
/// returns what the next start says.
fn ends_within_a_checkpoint(options: SimOptions, steps: u64) -> Result<(), OpenError> {
    let mut world = World::new(7, 96 * MIB, 1, 1);
    world.options = long_checkpoints(options);
    let node = world.open();
    let on = node.clone();
    let id = world.run(async move {
        let core = on.core(0);
        let id = stored(&core).await;
        on.checkpoint().await.expect("a checkpoint");
        id
    });
    let on = node.clone();
    world.sim.spawn(async move { drop(on.checkpoint().await) });
    let on = node.clone();
    world.sim.spawn(async move {
        // Full slices and tails are in different sets.
        let core = on.core(0);
        let (one, two) = (put(&core, id, b"one", 1, LARGE), put(&core, id, b"two", 2, 4 << 20));
        drop(futures_util::future::join(one, two).await);
    });
    world.sim.run_steps(steps);
    world.crash(node);
    let node = world.try_open()?;
    let on = node.clone();
    world.run(async move {
        assert_stored(&on.core(0), id).await;
        let read = get(&on.core(0), id, b"one").await.expect("readable");
        assert!(read.is_none_or(|(_, bytes)| bytes == body(1, LARGE)), "one");
    });
    world.kill(node);
    Ok(())
}

#[test]
fn a_life_that_ends_within_a_checkpoint_leaves_the_old_one_whole() {
    for steps in (5..400).step_by(37) {
        let opened = ends_within_a_checkpoint(SimOptions::default(), steps);
        opened.unwrap_or_else(|error| panic!("after {steps} steps: {error}"));
    }
}

/// The numbers of the sets of the checkpoint in force are given to other sets while the next one is
/// written. If the life ends then, the log says other places for the sets of the checkpoint that the
/// next life starts from.
#[cfg(feature = "planted-bugs")]
#[test]
fn numbers_that_are_used_again_while_their_checkpoint_is_in_force_are_caught() {
    let bug = Some(Bug::ReuseNumberEarly);
    let options = SimOptions { bug, ..SimOptions::default() };
    let refused = (5..400).step_by(37).filter_map(|steps| ends_within_a_checkpoint(options, steps).err());
    let errors: Vec<OpenError> = refused.collect();
    assert!(!errors.is_empty(), "the test tests nothing");
    for error in errors {
        let text = error.to_string();
        assert!(text.contains("set whose number is in use"), "{text}");
    }
}

/// Gives a body up, whose set of slices no record has named, `steps` after a long checkpoint began
/// that names the set, and returns what a start from that checkpoint says.
fn gives_a_body_up_within_a_checkpoint(options: SimOptions, steps: u64) -> Result<(), OpenError> {
    let mut world = World::new(11, 96 * MIB, 1, 1);
    world.options = long_checkpoints(options);
    let node = world.open();
    let on = node.clone();
    let (id, writer) = world.run(async move {
        let core = on.core(0);
        let id = stored(&core).await;
        let mut writer = core.put(id, b"large", 4 << 20).await.expect("begun");
        writer.write(&body(1, 1 << 20)).await.expect("written");
        (id, writer)
    });
    let on = node.clone();
    world.sim.spawn(async move { on.checkpoint().await.expect("a checkpoint") });
    world.sim.run_steps(steps);
    drop(writer);
    let on = node.clone();
    world.run(async move {
        put(&on.core(0), id, b"after", 2, 500).await.expect("stored");
    });
    world.sim.run_steps(4000);
    world.crash(node);
    let node = world.try_open()?;
    let on = node.clone();
    world.run(async move {
        assert_stored(&on.core(0), id).await;
        assert!(get(&on.core(0), id, b"large").await.expect("readable").is_none());
    });
    world.kill(node);
    Ok(())
}

#[test]
fn a_body_that_is_given_up_within_a_checkpoint_leaves_it_whole() {
    for steps in (1..400).step_by(37) {
        let opened = gives_a_body_up_within_a_checkpoint(SimOptions::default(), steps);
        opened.unwrap_or_else(|error| panic!("after {steps} steps: {error}"));
    }
}

/// The number of the set that was given up goes to a set of the checkpoint that names it.
#[cfg(feature = "planted-bugs")]
#[test]
fn numbers_that_are_used_again_by_the_checkpoint_that_names_them_are_caught() {
    let bug = Some(Bug::ReuseListedNumber);
    let options = SimOptions { bug, ..SimOptions::default() };
    let gives_up = |steps| gives_a_body_up_within_a_checkpoint(options, steps);
    let refused = (1..400).step_by(37).filter_map(|steps| gives_up(steps).err());
    let errors: Vec<OpenError> = refused.collect();
    assert!(!errors.is_empty(), "the test tests nothing");
    for error in errors {
        let text = error.to_string();
        assert!(text.contains("set that is named twice"), "{text}");
    }
}
