//! Faults with probabilities: each kind does what it says, and the engine survives single ones that
//! once lost data.

use std::rc::Rc;
use std::sync::Arc;

use ringbolt_engine::device::latch::{Latch, LatchedDevice};
use ringbolt_engine::device::{Device, Durability};
use ringbolt_engine::node::OpenError;
use ringbolt_engine::ring::Pool;
use ringbolt_engine::sim::Simulator;
use ringbolt_engine::sim::device::{FaultKind, FaultPlan, SimDevice};

use crate::world::{MIB, World, body, bucket, get, put};

const BLOCK: usize = 4096;

async fn write(drive: &impl Device, pool: &Pool, offset: u64, bytes: &[u8]) -> bool {
    let mut buffer = pool.try_take(bytes.len()).expect("a buffer");
    buffer[..bytes.len()].copy_from_slice(bytes);
    drive.write(offset, bytes.len(), buffer, Durability::Immediate).await.0.is_ok()
}

async fn read(drive: &impl Device, pool: &Pool, offset: u64, length: usize) -> Option<Vec<u8>> {
    let buffer = pool.try_take(length).expect("a buffer");
    let (result, buffer) = drive.read(offset, length, buffer).await;
    result.ok().map(|()| buffer[..length].to_vec())
}

/// Returns a drive with four written blocks, and with `plan` in force from then on.
fn drive(seed: u64, plan: FaultPlan) -> (Simulator, SimDevice, Pool) {
    let (sim, drive, pool) = (Simulator::new(seed), SimDevice::new(MIB), Pool::new(0).expect("memory"));
    drive.seed_faults(seed);
    let (on, with) = (drive.clone(), pool.clone());
    sim.block_on(async move {
        for block in 0..4u64 {
            assert!(write(&on, &with, block * 64 * BLOCK as u64, &[block as u8 + 1; BLOCK]).await);
        }
    });
    drive.follow(plan);
    (sim, drive, pool)
}

fn once(kind: FaultKind) -> FaultPlan {
    FaultPlan::default().with(kind, 1, 1)
}

#[test]
fn transfers_that_end_early_go_on_until_they_are_whole() {
    for seed in 0..40 {
        let plan = FaultPlan::default().with(FaultKind::ShortRead, 2, 30).with(FaultKind::ShortWrite, 2, 30);
        let (sim, drive, pool) = drive(seed, plan);
        let on = drive.clone();
        let (length, bytes) = (64 * BLOCK, body(seed, 64 * BLOCK));
        let back = sim.block_on(async move {
            assert!(write(&on, &pool, 0, &bytes).await);
            (read(&on, &pool, 0, length).await, bytes)
        });
        assert!(back.0 == Some(back.1), "seed {seed}");
        drive.crash(|_| panic!("an immediate write is durable in all its pieces"));
    }
}

#[test]
fn each_kind_of_fault_does_what_it_says_and_is_counted() {
    let run = |kind| {
        let (sim, drive, pool) = drive(3, once(kind));
        let on = drive.clone();
        let seen = sim.block_on(async move {
            let first = read(&on, &pool, 0, BLOCK).await;
            let written = write(&on, &pool, 0, &[9; BLOCK]).await;
            let again = write(&on, &pool, 5 * BLOCK as u64, &[8; BLOCK]).await;
            let flushed = on.flush().await.is_ok();
            (first, written, again, flushed)
        });
        assert_eq!(drive.fault_counts()[kind as usize], 1, "{kind:?}");
        (seen, drive)
    };
    let old = Some(vec![1; BLOCK]);
    assert_eq!(run(FaultKind::ReadError).0, (None, true, true, true));
    assert_eq!(run(FaultKind::UnreadableBlocks).0, (None, true, true, true));
    assert_eq!(run(FaultKind::WriteError).0, (old.clone(), false, true, true));
    assert_eq!(run(FaultKind::WritesFail).0, (old.clone(), false, false, true));
    assert_eq!(run(FaultKind::FlushError).0, (old.clone(), true, true, false));
    let ((lost, ..), drive) = run(FaultKind::LostWrite);
    assert_eq!((lost, drive.peek(0, BLOCK)), (old.clone(), vec![1; BLOCK]));
    let ((_, acknowledged, ..), drive) = run(FaultKind::MisdirectedWrite);
    assert!(acknowledged && drive.peek(0, BLOCK) == vec![1; BLOCK]);
    let elsewhere = (1..4).filter(|block| drive.peek(block * 64 * BLOCK as u64, 1) == [9]).count();
    assert_eq!(elsewhere, 1);
    let ((misread, ..), _) = run(FaultKind::MisdirectedRead);
    assert!(misread.is_some_and(|bytes| bytes[0] > 1));
    let rotten = |drive: &SimDevice| {
        let blocks = (0..4).map(|block| drive.peek(block * 64 * BLOCK as u64, BLOCK));
        blocks.enumerate().map(|(at, bytes)| bytes.iter().filter(|byte| **byte != at as u8 + 1).count()).sum()
    };
    let (sim, drive, pool) = self::drive(4, once(FaultKind::Rot));
    let on = drive.clone();
    sim.block_on(async move { read(&on, &pool, 0, BLOCK).await });
    let flipped: usize = rotten(&drive);
    assert_eq!(flipped, 1);
}

/// A flush that fails on one core loses what another core's flush, in flight at the same time, was
/// asked to make durable. The failure was once announced by message, and the other core could
/// answer its client before the message came.
#[test]
fn a_flush_that_failed_on_one_core_fails_on_all() {
    let (sim, drive, _) = drive(1, once(FaultKind::FlushError));
    let latch: Arc<Latch> = Arc::new(Latch::new(2));
    let core = |own| LatchedDevice::new(Rc::new(drive.clone()), latch.clone(), own);
    let (one, other) = (core(0), core(1));
    let (told_one, told_other) = (one.clone(), other.clone());
    one.set_tell(Rc::new(move |_| told_other.look_again()));
    other.set_tell(Rc::new(move |_| told_one.look_again()));
    let (failing, later) = (one.flush(), other.flush());
    sim.block_on(async move {
        assert!(failing.await.is_err());
        assert!(later.await.is_err(), "what it should have covered is lost");
        assert!(one.flush().await.is_err() && other.flush().await.is_err(), "for good");
    });
}

/// The block of the log's last batch was once read from elsewhere: the log seemed to end before
/// that batch, and the next one was written over it.
#[test]
fn a_misdirected_read_at_the_end_of_the_log_loses_nothing() {
    let mut struck = 0;
    for seed in 0..40 {
        let world = World::new(seed, 64 * MIB, 1, 1);
        let node = world.open();
        let on = node.clone();
        let id = world.run(async move {
            let id = bucket(&on.core(0), "b").await;
            on.checkpoint().await.expect("a checkpoint");
            put(&on.core(0), id, b"last", 1, 3000).await.expect("stored");
            id
        });
        world.kill(node);
        world.drives[0].follow(FaultPlan::default().with(FaultKind::MisdirectedRead, 4, 1));
        let opened = world.try_open();
        world.drives[0].follow(FaultPlan::default());
        struck += world.drives[0].fault_counts()[FaultKind::MisdirectedRead as usize];
        let node = opened.unwrap_or_else(|_| {
            world.sim.kill();
            world.open()
        });
        world.run(async move {
            let found = get(&node.core(0), id, b"last").await.expect("readable");
            assert!(found.is_some(), "seed {seed}: acknowledged, and gone");
        });
    }
    assert!(struck > 20, "{struck}");
}

/// A failed update of the superblock may leave two new copies and a torn one. When another update
/// over them was cut off, no two copies agreed.
#[test]
fn a_failed_update_of_the_superblock_is_the_last_one() {
    let mut failed = 0;
    for seed in 0..150 {
        let world = World::new(seed, 96 * MIB, 3, 1);
        let node = world.open();
        let on = node.clone();
        world.run(async move { bucket(&on.core(0), "b").await });
        world.drives[0].follow(FaultPlan::default().with(FaultKind::WriteError, 5, 1));
        let on = node.clone();
        world.sim.spawn(async move { drop(on.checkpoint().await) });
        world.sim.run_steps(world.sim.random().below(250));
        failed += world.drives[0].fault_counts()[FaultKind::WriteError as usize];
        world.drives[0].follow(FaultPlan::default());
        world.crash(node);
        world.try_open().unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    }
    assert!(failed > 50, "{failed}");
}

/// The core that keeps the drive gave up before its own shards had made their claims, and the other
/// core waited for them for ever.
#[test]
fn an_open_that_can_not_write_ends_on_all_cores() {
    for cores in 1..=3 {
        let world = World::new(5, 96 * MIB, 3, cores);
        world.drives[0].follow(once(FaultKind::WritesFail));
        let refused = world.try_open().err();
        assert!(matches!(refused, Some(OpenError::Device { .. })), "{cores} cores: {refused:?}");
        world.sim.kill();
        world.drives[0].heal();
        world.open();
    }
}
