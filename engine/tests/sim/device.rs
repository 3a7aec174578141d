//! The simulated drive itself: what it does with writes in flight, with operations that nobody
//! waits for, and with the faults that it is given. Tests that rely on the drive are worth what
//! these tests show.

use std::rc::Rc;

use ringbolt_engine::device::{Device, Durability};
use ringbolt_engine::ring::{Buffer, Pool};
use ringbolt_engine::sim::Simulator;
use ringbolt_engine::sim::device::{Fate, FaultKind, FaultPlan, SimDevice};

use crate::world::MIB;

const BLOCK: usize = 4096;
const SECTOR: usize = 512;
const LENGTH: usize = 64 * BLOCK;

/// Returns a drive in virtual time.
fn drive(seed: u64) -> (Simulator, SimDevice, Pool) {
    let (sim, drive, pool) = (Simulator::new(seed), SimDevice::new(4 * MIB), Pool::new(0).expect("memory"));
    drive.seed_faults(seed);
    drive.live_in(&sim);
    (sim, drive, pool)
}

fn filled(pool: &Pool, length: usize, byte: u8) -> Buffer {
    let mut buffer = pool.try_take(length).expect("a buffer");
    buffer[..length].fill(byte);
    buffer
}

async fn store(drive: &SimDevice, pool: &Pool, offset: u64, bytes: &[u8]) -> bool {
    let mut buffer = pool.try_take(bytes.len()).expect("a buffer");
    buffer[..bytes.len()].copy_from_slice(bytes);
    drive.write(offset, bytes.len(), buffer, Durability::Immediate).await.0.is_ok()
}

/// Returns the sectors that hold `byte`.
fn sectors_of(drive: &SimDevice, byte: u8) -> Vec<usize> {
    let stored = drive.peek(0, LENGTH);
    let whole = |sector: &[u8]| sector.iter().all(|value| *value == byte);
    stored.chunks(SECTOR).enumerate().filter(|(_, sector)| whole(sector)).map(|(at, _)| at).collect()
}

#[test]
fn a_write_shows_sector_by_sector_and_a_cut_leaves_what_was_done() {
    let (mut halves, mut out_of_order) = (0, 0);
    for seed in 0..60 {
        let (sim, drive, pool) = drive(seed);
        drive.poke(0, &[1; LENGTH]);
        // The write is slow enough to be observed.
        drive.follow(FaultPlan::default().with(FaultKind::Delay, 1, 1));
        let write = drive.write(0, LENGTH, filled(&pool, LENGTH, 2), Durability::Deferred);
        sim.spawn(async move { drop(write.await) });
        let mut before = Vec::new();
        for _ in 0..3 {
            let pause = sim.sleep_us(5000);
            sim.block_on(pause);
            let done = sectors_of(&drive, 2);
            assert!(
                before.iter().all(|sector| done.contains(sector)),
                "seed {seed}: what is done stays done"
            );
            assert_eq!(
                done.len() + sectors_of(&drive, 1).len(),
                LENGTH / SECTOR,
                "seed {seed}: no sector is torn"
            );
            before = done;
        }
        let partly = !before.is_empty() && before.len() < LENGTH / SECTOR;
        halves += u32::from(partly);
        out_of_order += u32::from(partly && before.iter().enumerate().any(|(at, sector)| at != *sector));
        let keep = seed % 2 == 0;
        drive.crash(|_| if keep { Fate::Kept } else { Fate::Lost });
        let left = if keep { before } else { Vec::new() };
        assert_eq!(sectors_of(&drive, 2), left, "seed {seed}: after the cut");
        sim.run_until_idle();
        assert_eq!(sectors_of(&drive, 2), left, "seed {seed}: a drive without power goes on with nothing");
    }
    assert!(
        halves > 30 && out_of_order > 10,
        "{halves} writes were seen half done, {out_of_order} out of order"
    );
}

/// Two writes overlap, and a power cut decides on each of them separately.
#[test]
fn writes_that_overlap_are_taken_back_one_by_one() {
    for seed in 0..40 {
        let (sim, drive, pool) = drive(seed);
        drive.poke(0, &[1; LENGTH]);
        let writes = [(0, 2), (16 * BLOCK as u64, 3), (8 * BLOCK as u64, 4)];
        let length = 32 * BLOCK;
        for (offset, byte) in writes {
            let write = drive.write(offset, length, filled(&pool, length, byte), Durability::Deferred);
            sim.spawn(async move { drop(write.await) });
        }
        sim.run_until_idle();
        assert_eq!(drive.cached_writes(), 3);
        let kept = seed as usize % 4;
        drive.crash(|index| if index == kept { Fate::Kept } else { Fate::Lost });
        let mut expected = vec![1; LENGTH];
        if let Some((offset, byte)) = writes.get(kept) {
            expected[*offset as usize..*offset as usize + length].fill(*byte);
        }
        assert!(drive.peek(0, LENGTH) == expected, "seed {seed}: only write {kept} was kept");
    }
}

#[test]
fn a_flush_keeps_what_completed_before_it_and_nothing_else() {
    for seed in 0..40 {
        let (sim, drive, pool) = drive(seed);
        drive.poke(0, &[1; LENGTH]);
        let (on, with) = (drive.clone(), pool.clone());
        sim.block_on(async move {
            let done = on.write(0, BLOCK, filled(&with, BLOCK, 2), Durability::Deferred);
            assert!(done.await.0.is_ok());
            let late = on.write(BLOCK as u64, BLOCK, filled(&with, BLOCK, 3), Durability::Deferred);
            let flush = on.flush();
            let (flushed, _) = futures_util::future::join(flush, late).await;
            assert!(flushed.is_ok());
        });
        drive.crash(|_| Fate::Lost);
        assert_eq!(
            (sectors_of(&drive, 2).len(), sectors_of(&drive, 3).len()),
            (BLOCK / SECTOR, 0),
            "seed {seed}"
        );
    }
}

/// The kernel has the buffer of an operation until the operation ends. If the buffer were returned
/// at once, the read would change it under its next user, or the drive would get the next user's
/// bytes.
#[test]
fn an_operation_that_nobody_waits_for_goes_on_and_keeps_its_buffer() {
    for reads in [true, false] {
        let (sim, drive, pool) = drive(7);
        drive.follow(FaultPlan::default().with(FaultKind::Delay, 1, 1));
        let (chunks, free) = pool.chunks();
        assert_eq!(chunks, free);
        let buffer = filled(&pool, LENGTH, 2);
        let running = match reads {
            true => drive.read(0, LENGTH, buffer),
            false => drive.write(0, LENGTH, buffer, Durability::Deferred),
        };
        let busy = pool.chunks().1;
        drop(running);
        assert_eq!(pool.chunks().1, busy, "the operation still uses its buffer, reads: {reads}");
        assert!(
            sectors_of(&drive, 2).len() < LENGTH / SECTOR,
            "nothing is done at once because it was given up"
        );
        sim.run_until_idle();
        assert_eq!(pool.chunks().1, free, "it ended, and nobody asked: reads: {reads}");
        assert_eq!(sectors_of(&drive, 2).len(), if reads { 0 } else { LENGTH / SECTOR });
    }
}

#[test]
fn what_a_dead_process_asked_for_is_through_before_the_next_one() {
    let (sim, drive, pool) = drive(8);
    drive.follow(FaultPlan::default().with(FaultKind::Delay, 1, 1));
    let write = drive.write(0, LENGTH, filled(&pool, LENGTH, 2), Durability::Deferred);
    sim.spawn(async move { drop(write.await) });
    sim.run_steps(1);
    sim.kill();
    assert_eq!(sectors_of(&drive, 2).len(), LENGTH / SECTOR);
    assert_eq!((pool.chunks().0, sim.tasks()), (pool.chunks().1, 0), "its buffer is free");
}

#[test]
fn a_stalled_drive_answers_nothing_for_seconds_and_then_all() {
    let (sim, drive, pool) = drive(9);
    let (on, with) = (drive.clone(), pool.clone());
    let write = drive.write(0, LENGTH, filled(&pool, LENGTH, 2), Durability::Deferred);
    drive.follow(FaultPlan::default().with(FaultKind::Stall, 1, 1));
    let times = Rc::new(std::cell::RefCell::new(Vec::new()));
    let (world, ended) = (sim.clone(), times.clone());
    sim.spawn(async move {
        assert!(write.await.0.is_ok());
        ended.borrow_mut().push(world.now_us());
    });
    let (world, ended) = (sim.clone(), times.clone());
    sim.block_on(async move {
        let read = on.read(0, BLOCK, with.try_take(BLOCK).expect("a buffer"));
        assert!(read.await.0.is_ok());
        ended.borrow_mut().push(world.now_us());
        assert!(on.flush().await.is_ok());
    });
    sim.run_until_idle();
    assert_eq!(drive.fault_counts()[FaultKind::Stall as usize], 1);
    let times = times.borrow();
    assert!(
        times.len() == 2 && times.iter().all(|at| *at >= 1_000_000),
        "{times:?}: what ran before stalls too"
    );
    assert!(sim.now_us() < times[1] + 10_000, "it goes on as ever");
}

/// Runs one write of [`LENGTH`] bytes over others, with a fault of this kind. Returns whether it
/// was acknowledged, and the drive.
fn struck(seed: u64, kind: FaultKind) -> (bool, SimDevice) {
    let (sim, drive, pool) = drive(seed);
    drive.poke(0, &[1; LENGTH]);
    drive.follow(FaultPlan::default().with(kind, 1, 1));
    let on = drive.clone();
    let acknowledged = sim.block_on(async move { store(&on, &pool, 0, &[2; LENGTH]).await });
    assert_eq!(drive.fault_counts()[kind as usize], 1, "{kind:?}");
    (acknowledged, drive)
}

#[test]
fn writes_fail_or_are_torn_in_some_of_their_sectors() {
    let (mut some, mut scattered) = ([0; 2], 0);
    for seed in 0..40 {
        for (at, kind) in [FaultKind::WriteError, FaultKind::TornWrite].into_iter().enumerate() {
            let (acknowledged, drive) = struck(seed, kind);
            assert_eq!(acknowledged, kind == FaultKind::TornWrite);
            let done = sectors_of(&drive, 2);
            some[at] += u32::from(!done.is_empty() && done.len() < LENGTH / SECTOR);
            scattered += u32::from(done.iter().enumerate().any(|(at, sector)| at != *sector));
        }
        let (acknowledged, drive) = struck(seed, FaultKind::UnwritableBlocks);
        let left = sectors_of(&drive, 1);
        assert!(!acknowledged && (1..=4 * BLOCK / SECTOR).contains(&left.len()), "{} sectors", left.len());
        assert!(left.windows(2).all(|pair| pair[1] == pair[0] + 1), "blocks next to each other: {left:?}");
    }
    assert!(some[0] > 20 && some[1] > 20 && scattered > 10, "{some:?} writes, {scattered} of them scattered");
}

#[test]
fn blocks_that_take_no_writes_take_some_once_the_drive_is_healed() {
    let (sim, drive, pool) = drive(3);
    drive.follow(FaultPlan::default().with(FaultKind::UnwritableBlocks, 1, 1));
    let on = drive.clone();
    sim.block_on(async move {
        assert!(!store(&on, &pool, 0, &[2; BLOCK]).await);
        assert!(!store(&on, &pool, 0, &[3; BLOCK]).await, "for good");
        assert!(store(&on, &pool, 64 * BLOCK as u64, &[3; BLOCK]).await, "elsewhere it does");
        on.heal();
        assert!(store(&on, &pool, 0, &[4; BLOCK]).await);
    });
    assert_eq!(drive.peek(0, 1), [4]);
}

/// Writes headers of two kinds and data, far apart. A fault of this kind then meets an operation on
/// a header of the first kind.
fn astray(seed: u64, kind: FaultKind) -> (SimDevice, Vec<u8>) {
    let (sim, drive, pool) = drive(seed);
    let on = drive.clone();
    let block = |head: &[u8; 8], number: u8| [&head[..], &[number; BLOCK - 8]].concat();
    let read = sim.block_on(async move {
        for number in 0..8u8 {
            let head = [b"RBBATCH1", b"RBSLICE1", b"userdata"][usize::from(number) % 3];
            assert!(store(&on, &pool, u64::from(number) * 100 * BLOCK as u64, &block(head, number)).await);
        }
        on.follow(FaultPlan::default().with(kind, 1, 1));
        if kind == FaultKind::MisdirectedWriteAlike {
            assert!(store(&on, &pool, 0, &block(b"RBBATCH1", 99)).await);
        }
        let (result, buffer) = on.read(0, BLOCK, pool.try_take(BLOCK).expect("a buffer")).await;
        assert!(result.is_ok());
        buffer[..BLOCK].to_vec()
    });
    assert_eq!(drive.fault_counts()[kind as usize], 1);
    (drive, read)
}

#[test]
fn what_goes_astray_among_its_like_meets_the_same_kind_of_structure() {
    let (mut reads, mut writes) = (0, 0);
    for seed in 0..60 {
        let (_, read) = astray(seed, FaultKind::MisdirectedReadAlike);
        // The read returned another batch, or the zeros near this one.
        assert!(read[8] == 0 || read.starts_with(b"RBBATCH1"), "{:?}", &read[..9]);
        reads += u32::from(read[8] > 0);
        let (drive, read) = astray(seed, FaultKind::MisdirectedWriteAlike);
        assert_eq!(read[8], 0, "its own place is as it was");
        let hit = |number: &u64| drive.peek(number * 100 * BLOCK as u64 + 8, 1) == [99];
        let hits: Vec<u64> = (0..8).filter(hit).collect();
        assert!(hits.iter().all(|number| number % 3 == 0), "only batches: {hits:?}");
        writes += u32::from(hits.len() == 1);
    }
    assert!(reads > 30 && writes > 30, "{reads} reads and {writes} writes met another batch");
}

#[test]
fn plans_of_several_kinds_go_together_and_one_after_the_other() {
    let errors = FaultPlan::default().with(FaultKind::ReadError, 2, 5).with(FaultKind::Delay, 3, 100);
    let media = FaultPlan::default().with(FaultKind::LostWrite, 4, 3).with(FaultKind::Rot, 5, 3);
    let both = errors.and(media).and(FaultPlan::default());
    assert_eq!(both, media.and(errors));
    let (sim, drive, pool) = drive(11);
    drive.follow(both);
    let on = drive.clone();
    sim.block_on(async move {
        for round in 0..200u64 {
            let at = round % 32 * BLOCK as u64;
            store(&on, &pool, at, &[round as u8; BLOCK]).await;
            drop(on.read(at, BLOCK, pool.try_take(BLOCK).expect("a buffer")).await);
        }
    });
    let counts = drive.fault_counts();
    let of = |kind: FaultKind| counts[kind as usize];
    assert_eq!((of(FaultKind::ReadError), of(FaultKind::LostWrite), of(FaultKind::Rot)), (5, 3, 3));
    assert!(of(FaultKind::Delay) > 10, "{counts:?}");
}
