//! In what order, and how fast, drives are brought up to date.

use std::cell::Cell;
use std::rc::Rc;

use ringbolt_engine::sim::{Bug, Rare, SimNode, take_reached};
use ringbolt_engine::types::BucketId;

use crate::come_back::{are_whole, until_are_whole};
use crate::leave::{Wrong, work};
use crate::mirror::{Mirror, compare, fill, mirror, must_open};
use crate::replace::replacement;
use crate::striped::striped;
use crate::world::{body, put};

const CHECKED_BYTES: usize = 64 << 10;

fn copied_bytes(world: &Mirror, node: &Rc<SimNode>, number: usize) -> u64 {
    let on = node.clone();
    let drives = world.run(async move { on.any_core().drives().await }).expect("the drives").drives;
    let drive = drives.iter().find(|drive| usize::from(drive.number) == number).expect("the drive");
    drive.catch_up.map_or(0, |progress| progress.copied_bytes)
}

/// Two of eight drives are lost, and come back empty at a time. Once a core says that it has what would be lost with
/// the next one, a data member on the first is there of every object that has one on both.
fn what_both_held_comes_first(bug: Option<Bug>) -> Result<(), String> {
    for seed in [1200, 1201] {
        let mut world = striped(seed, 8, (4, 2), 8, 2);
        world.options.bug = bug;
        let all: Vec<usize> = (0..8).collect();
        let node = must_open(&world, &all, false);
        let (id, stored) = fill(&world, &node, 0, 60);
        let on = node.clone();
        world.run(async move { on.checkpoint().await }).expect("a checkpoint");
        let mut urgent = Vec::new();
        for (tag, length) in stored.values().filter(|(_, length)| *length >= 4 * CHECKED_BYTES) {
            let bytes = body(*tag, *length);
            let starts = bytes.chunks(CHECKED_BYTES).take(4).map(|block| block[..64].to_vec());
            let is_on = |at: usize, start: &[u8]| !world.drives[at].blocks_starting_with(start).is_empty();
            let starts: Vec<Vec<u8>> = starts.collect();
            if starts.iter().any(|start| is_on(1, start)) {
                urgent.extend(starts.iter().filter(|start| is_on(0, start)).cloned());
            }
        }
        assert!(!urgent.is_empty(), "seed {seed}");
        Wrong::Everything.befalls(&world.drives[0]);
        drop(fill(&world, &node, 100, 1));
        let first = replacement(&mut world, &all[1..]);
        Wrong::Everything.befalls(&world.drives[1]);
        drop(fill(&world, &node, 101, 1));
        let left: Vec<usize> = all[2..].iter().copied().chain([first]).collect();
        let second = replacement(&mut world, &left);
        take_reached();
        let (on, drive) = (node.clone(), world.drives[first].clone());
        assert_eq!(world.run(async move { on.take_drive(&drive).await }), Ok(first as u16));
        let mut cores = take_reached()[Rare::UrgentHealed as usize];
        while cores < 2 {
            assert!(world.sim.step(), "the node goes on");
            cores += take_reached()[Rare::UrgentHealed as usize];
        }
        let is_there = |start: &Vec<u8>| !world.drives[first].blocks_starting_with(start).is_empty();
        let early = copied_bytes(&world, &node, first);
        if let Some(missing) = urgent.iter().position(|start| !is_there(start)) {
            return Err(format!("seed {seed}: member {missing} of {} is missing yet", urgent.len()));
        }
        let (on, drive) = (node.clone(), world.drives[second].clone());
        assert_eq!(world.run(async move { on.take_drive(&drive).await }), Ok(second as u16));
        let mut copied = early;
        while node.whole_drives().len() < 8 {
            copied = copied.max(copied_bytes(&world, &node, first));
            world.sim.run_steps(2000);
        }
        assert!(early < copied, "{early} of {copied} bytes came first");
        compare(&world, &node, id, &stored);
        let given: Vec<usize> = all[2..].iter().copied().chain([first, second]).collect();
        are_whole(&world, node, &given);
    }
    Ok(())
}

#[test]
fn what_would_be_lost_with_the_next_drive_comes_first() {
    what_both_held_comes_first(None).expect("the order is kept");
}

#[test]
fn another_order_is_caught() {
    assert!(what_both_held_comes_first(Some(Bug::HealInAnyOrder)).is_err());
}

/// Writes small objects without a pause until told to end.
fn keep_busy(world: &Mirror, node: &Rc<SimNode>, id: BucketId) -> Rc<Cell<bool>> {
    let is_over = Rc::new(Cell::new(false));
    for writer in 0..12u64 {
        let (on, over) = (node.clone(), is_over.clone());
        world.sim.spawn(async move {
            for number in 0u64.. {
                if over.get() {
                    return;
                }
                let key = format!("writer {writer}, {}", number % 8).into_bytes();
                put(&on.any_core(), id, &key, number, 8_000).await.expect("stored");
            }
        });
    }
    is_over
}

/// Returns how long it takes under load until a new drive is up to date, microseconds.
fn heals_in_us(heal_within_ms: u64) -> u64 {
    let mut world = mirror(1210, 2, 2, 1);
    let node = must_open(&world, &[0, 1], false);
    let (id, mut stored) = fill(&world, &node, 0, 6);
    for number in 0..1800u64 {
        let key = format!("small {number}").into_bytes();
        stored.insert(key.clone(), (number, 900));
        let on = node.clone();
        let stored = world.run(async move { put(&on.any_core(), id, &key, number, 900).await.map(drop) });
        stored.expect("stored");
    }
    Wrong::Everything.befalls(&world.drives[1]);
    stored.extend(fill(&world, &node, 100, 1).1);
    work(&world, &node, id, &mut stored);
    let new = replacement(&mut world, &[0]);
    for core in 0..1 {
        node.core(core).heal_within(heal_within_ms);
    }
    let is_over = keep_busy(&world, &node, id);
    let since_us = world.sim.now_us();
    let (on, drive) = (node.clone(), world.drives[new].clone());
    assert_eq!(world.run(async move { on.take_drive(&drive).await }), Ok(new as u16));
    until_are_whole(&world, &node, 2);
    let took_us = world.sim.now_us() - since_us;
    is_over.set(true);
    world.sim.run_until_idle();
    compare(&world, &node, id, &stored);
    are_whole(&world, node, &[0, new]);
    took_us
}

#[test]
fn a_drive_is_up_to_date_within_the_time_that_is_given() {
    const WITHIN_MS: u64 = 4_000;
    let (gently, in_time) = (heals_in_us(0), heals_in_us(WITHIN_MS));
    assert!(
        gently > WITHIN_MS * 1000,
        "{gently} us without a deadline: there was room for clients and for it"
    );
    assert!(in_time <= WITHIN_MS * 1000, "{in_time} us");
}
