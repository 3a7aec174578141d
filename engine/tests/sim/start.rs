//! Starts that are interrupted again and again, and starts on drives that fail.

use std::rc::Rc;

use ringbolt_engine::format::superblock::{COPIES, COPY_STRIDE, SUPERBLOCK_BYTES, SuperblockOnDisk};
use ringbolt_engine::node::OpenError;
use ringbolt_engine::sim::device::{Fate, Faults};
use ringbolt_engine::sim::{SimNode, SimOptions, Simulator, format_sim_drives};

use crate::persistence::seeds;
use crate::world::{MIB, World, bucket, get, put};

/// Every start writes the superblock, as a checkpoint does. Each of them may meet what the previous
/// one left half done.
#[test]
fn starts_and_checkpoints_that_the_power_cuts_off_leave_a_drive_that_starts() {
    for seed in seeds(4) {
        let world = World::new(2000 + seed, 64 * MIB, 1, 1);
        let mut id = None;
        for round in 0..300u64 {
            let node = world.try_open().unwrap_or_else(|error| panic!("seed {seed}, round {round}: {error}"));
            let on = node.clone();
            id = world.run(async move {
                let core = on.core(0);
                let id =
                    if round == 0 { bucket(&core, "b").await } else { id.expect("made in the first round") };
                let found = get(&core, id, b"k").await.expect("read");
                assert_eq!(found.map(|(info, _)| info.size_bytes), round.checked_sub(1), "seed {seed}");
                put(&core, id, b"k", round, round as usize).await.expect("stored");
                Some(id)
            });
            let on = node.clone();
            world.sim.spawn(async move { drop(on.checkpoint().await) });
            let random = world.sim.random();
            world.sim.run_steps(random.below(60));
            // If only the process ends, the drive's cache keeps half an update, which the next
            // start may find.
            if random.one_in(3) {
                world.kill(node);
            } else {
                world.crash(node);
            }
            for _ in 0..random.below(4) {
                let opening = SimNode::open(world.sim.clone(), world.drives.clone(), world.options);
                world.sim.spawn(async move { drop(opening.await) });
                world.sim.run_steps(random.below(16));
                // Sometimes only the process ends: then the next one finds what is in the drive's
                // cache.
                if !random.one_in(3) {
                    world.cut_power();
                }
                world.sim.kill();
            }
        }
    }
}

/// Returns the sequences of the superblock's copies, as they are read.
fn copies(world: &World) -> [u64; COPIES] {
    std::array::from_fn(|copy| {
        let block = world.drives[0].peek(copy as u64 * COPY_STRIDE, SUPERBLOCK_BYTES);
        SuperblockOnDisk::parse(&block).map_or(0, |block| block.sequence.get())
    })
}

fn step_until(world: &World, what: &str, reached: impl Fn([u64; COPIES]) -> bool) {
    for _ in 0..100_000 {
        if reached(copies(world)) {
            return;
        }
        assert!(world.sim.step(), "nothing is left to do, and {what} never happened");
    }
    panic!("{what} never happened: {:?}", copies(world));
}

/// A process ended within an update, when half of the copies were new and only in the drive's
/// cache. The next start found that they agree, began to make the others equal to them, and the
/// power was cut: no two copies agreed any more.
#[test]
fn copies_that_only_the_drives_cache_holds_are_made_durable_before_others_are_written_over() {
    let world = World::new(2100, 64 * MIB, 1, 1);
    let node = world.open();
    world.sim.run_until_idle();
    let before = copies(&world)[0];
    let on = node.clone();
    world.sim.spawn(async move { drop(on.checkpoint().await) });
    step_until(&world, "half an update", |now| now == [before + 1, before + 1, before, before]);
    world.kill(node);
    assert_eq!(copies(&world), [before + 1, before + 1, before, before]);
    let opening = SimNode::open(world.sim.clone(), world.drives.clone(), world.options);
    world.sim.spawn(async move { drop(opening.await) });
    step_until(&world, "a third copy", |now| now[2] != before);
    world.drives[0].crash(|_| Fate::Torn { sectors: 1 });
    world.sim.kill();
    world.open();
}

/// One core keeps two of three drives, and the first of them accepts no writes. Shards of other
/// cores must not wait for it.
#[test]
fn a_drive_that_fails_at_the_start_is_an_error_and_not_a_wait() {
    for failing in 0..3 {
        for cores in 1..=3 {
            let sim = Simulator::new(failing as u64);
            let drives = format_sim_drives(&sim, 3, (64 * MIB, 1), 6);
            drives[failing].set_faults(Faults { fail_writes: true, ..Faults::default() });
            let options = SimOptions { cores, ..SimOptions::default() };
            let opened = sim.block_on(SimNode::open(sim.clone(), drives.clone(), options)).map(Rc::new);
            let Err(OpenError::Device { drive, .. }) = opened.map(drop) else {
                panic!("drive {failing} of a node with {cores} cores takes no writes, and it opens");
            };
            assert_eq!(usize::from(drive), failing);
            sim.kill();
        }
    }
}
