use super::*;
use crate::engine::testing::{BLOCK, job, operation};
use crate::spec::BlockSize;
use std::path::Path;
use std::time::Instant;

/// Creates a directory on a disk: temporary directories are often in memory, which does not support
/// O_DIRECT.
fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR").to_owned() + "/../../target").unwrap()
}

fn small_job(drive: &Path, depth: u32) -> Job {
    Job { files: vec![drive.to_owned()], ..job("", depth) }
}

fn prepared(job: &Job, clock: Clock) -> RingboltEngine {
    let mut engine = RingboltEngine::new(job, clock, false).unwrap();
    engine.prepare(&mut |_| ()).unwrap();
    engine
}

fn one(engine: &mut RingboltEngine, slot: u32, operation: &Operation) -> i64 {
    let mut done = Vec::new();
    engine.submit(slot, operation);
    engine.reap(1, None, &mut done).unwrap();
    assert_eq!((done.len(), done[0].slot), (1, slot));
    done[0].result
}

#[test]
fn objects_are_stored_read_listed_and_deleted() {
    let directory = directory();
    let drive = directory.path().join("drive");
    let clock = Clock::start();
    let mut job = small_job(&drive, 4);
    let mut engine = prepared(&job, clock);
    let whole = BLOCK as i64;
    for number in 0..3 {
        engine.buffer(1).fill(number as u8 + 1);
        assert_eq!(one(&mut engine, 1, &operation(Verb::Write, number)), whole);
    }
    assert_eq!(one(&mut engine, 0, &operation(Verb::Read, 2)), whole);
    assert_eq!(engine.buffer(0), [3; BLOCK as usize]);
    assert_eq!(one(&mut engine, 3, &operation(Verb::Trim, 2)), whole);
    assert_eq!(one(&mut engine, 0, &operation(Verb::Read, 2)), -2);
    assert_eq!(one(&mut engine, 0, &operation(Verb::Head, 1)), 0);
    assert_eq!(one(&mut engine, 0, &operation(Verb::List, 0)), 2 * 40);
    assert!(
        engine.notes().iter().any(|note| note.contains("1 × read 4096/") && note.contains("no such key")),
        "{:?}",
        engine.notes()
    );
    engine.finish().unwrap();
    // The drive is locked while the engine lives.
    drop(engine);
    // The drive is reused: missing objects are stored, and existing ones stay.
    job.objects.ops = None;
    let mut again = prepared(&job, clock);
    assert_eq!(one(&mut again, 2, &operation(Verb::Read, 0)), whole);
    assert_eq!(again.buffer(2), [1; BLOCK as usize]);
    assert_eq!(one(&mut again, 2, &operation(Verb::Read, 15)), whole);
    again.finish().unwrap();
}

#[test]
fn many_are_in_flight_and_deadlines_hold() {
    let directory = directory();
    let clock = Clock::start();
    let mut job = small_job(&directory.path().join("drive"), 8);
    job.unlink = true;
    let mut engine = prepared(&job, clock);
    let mut done = Vec::new();
    for slot in 0..8 {
        engine.submit(slot, &operation(Verb::Write, u64::from(slot)));
    }
    while done.len() < 8 {
        engine.reap(1, Some(clock.now_ns() + 10_000_000_000), &mut done).unwrap();
    }
    let mut slots: Vec<u32> = done.iter().map(|completion| completion.slot).collect();
    slots.sort_unstable();
    assert_eq!(slots, [0, 1, 2, 3, 4, 5, 6, 7]);
    for wait_ms in [1, 20, 70] {
        let before = Instant::now();
        engine.reap(0, Some(clock.now_ns() + wait_ms * 1_000_000), &mut done).unwrap();
        assert!(before.elapsed().as_millis() >= u128::from(wait_ms));
    }
    engine.finish().unwrap();
    assert!(!directory.path().join("drive").exists());
}

#[test]
fn what_it_does_not_do_is_refused_in_words() {
    let directory = directory();
    let file = directory.path().join("precious");
    std::fs::write(&file, vec![7; 1 << 20]).unwrap();
    let refused = |change: &dyn Fn(&mut Job)| {
        let mut job = small_job(&file, 1);
        change(&mut job);
        let outcome = RingboltEngine::new(&job, Clock::start(), true);
        outcome.and_then(|mut engine| engine.prepare(&mut |_| ())).unwrap_err().to_string()
    };
    assert!(refused(&|job| job.threads = 2).contains("numjobs=2"));
    assert!(refused(&|job| job.files.clear()).contains("filename="));
    assert!(refused(&|job| job.objects.ops = Some(vec![(ObjectOp::Multipart, 1)])).contains("op=multipart"));
    assert!(refused(&|_| ()).contains("not a Ringbolt drive"));
    assert_eq!(std::fs::read(&file).unwrap(), vec![7; 1 << 20]);
}

#[test]
fn several_drives_are_one_set() {
    let directory = directory();
    let path = |name: &str| directory.path().join(name);
    for (name, redundancy, copies) in [("mirror", None, 2), ("none", Some((1, 0)), 1)] {
        let mut job = small_job(&path(&format!("{name}-0")), 4);
        job.files.push(path(&format!("{name}-1")));
        job.objects.ops = None;
        job.objects.redundancy = redundancy;
        let mut engine = prepared(&job, Clock::start());
        for number in 0..16 {
            assert_eq!(one(&mut engine, 0, &operation(Verb::Read, number)), BLOCK as i64);
        }
        let core = engine.core.clone().unwrap();
        let metrics = engine.executor.run(async move { core.metrics().await }).unwrap().unwrap();
        assert_eq!(metrics.drives_in, 2);
        let (by_losses, live) = (&metrics.space.bytes_by_losses, metrics.space.live_bytes);
        assert_eq!(by_losses[copies - 1], live, "{name}: {by_losses:?}");
        engine.finish().unwrap();
        drop(engine);
        // They are drives now, in any order, and not alone.
        job.files.reverse();
        prepared(&job, Clock::start()).finish().unwrap();
        let refused = |job: &Job| {
            let mut engine = RingboltEngine::new(job, Clock::start(), false).unwrap();
            engine.prepare(&mut |_| ()).unwrap_err().to_string()
        };
        job.files[0] = path("new");
        assert!(refused(&job).contains("this is a drive already and others are not"), "{}", refused(&job));
        job.files.remove(0);
        assert!(refused(&job).contains("missing"), "{}", refused(&job));
    }
}

#[test]
fn sizes_may_differ_from_object_to_object() {
    let directory = directory();
    let mut job = small_job(&directory.path().join("drive"), 2);
    job.objects.ops = None;
    job.block.read = BlockSize::Range { least: 4096, most: 131_072 };
    let mut engine = prepared(&job, Clock::start());
    for number in 0..16 {
        let size_bytes = engine.objects.size_bytes(Direction::Read, number);
        assert_eq!(one(&mut engine, 0, &operation(Verb::Read, number)), size_bytes as i64);
        let mut expected = vec![0; size_bytes as usize];
        ObjectSet::fill(number, &mut expected);
        assert_eq!(engine.buffer(0)[..size_bytes as usize], expected);
    }
    engine.finish().unwrap();
}

/// Regression: all reads of a batch had to end before the first of them was replaced, so that the
/// drive had nothing to do half of the time.
#[test]
fn each_end_is_handed_over_before_the_next_is_looked_at() {
    const DEPTH: u32 = 8;
    let directory = directory();
    let clock = Clock::start();
    let mut job = small_job(&directory.path().join("drive"), DEPTH);
    (job.objects.ops, job.unlink) = (None, true);
    let mut engine = prepared(&job, clock);
    for slot in 0..DEPTH {
        engine.submit(slot, &operation(Verb::Read, u64::from(slot)));
    }
    for number in 0..500 {
        let mut done = Vec::new();
        engine.reap(1, None, &mut done).unwrap();
        assert_eq!((done.len(), done[0].result), (1, BLOCK as i64));
        assert_eq!(engine.slots.in_flight(), DEPTH as usize - 1);
        engine.submit(done[0].slot, &operation(Verb::Read, number % 16));
    }
    let mut done = Vec::new();
    while done.len() < DEPTH as usize {
        engine.reap(1, None, &mut done).unwrap();
    }
    engine.finish().unwrap();
}

/// The engine formats by one table, and tools that do not have the engine know another one.
#[test]
fn as_many_drives_may_be_lost_as_tools_believe() {
    use ringbolt_engine::node::Redundancy;
    for drives in 1..=20 {
        let said = ringbolt_tool_common::redundancy::failures_max_of(drives);
        assert_eq!(Redundancy::of(drives).failures_max, said, "{drives} drives");
    }
}
