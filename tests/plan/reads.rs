//! This module compares what requests read from a drive.

use crate::scenario::{KEY_BYTES, SHARDS, constants, hardware, workload};
use crate::{compare, directory, own_machine};
use ringbolt_plan::calibrate::engine::SingleCore;
use ringbolt_plan::constants::Constants;
use ringbolt_plan::hardware::Hardware;
use ringbolt_plan::model::demand::{Draw, demand};
use ringbolt_plan::model::node::Fleet;
use ringbolt_plan::model::reads::DriveReads;
use ringbolt_plan::sizes::{SizeClass, SizeHistogram};
use std::ops::Range;

const DRIVE_BYTES: u64 = 2 << 30;
/// Objects up to 64 KiB are in the log, larger ones in slices.
const SIZES: [u64; 8] = [1_000, 20_000, 64 << 10, 100_000, 300_000, 1 << 20, 3 << 20, 16 << 20];
const RANGED: u64 = 16 << 20;
const RANGES: [u64; 4] = [1, 4 << 10, 64 << 10, 1 << 20];
/// This is the number of objects of each size; this many are put at the same time, so that they
/// have different positions in a group commit.
const OBJECTS: u64 = 32;
pub const ASKED: u64 = 320;
const WITHIN: f64 = 0.10;

fn key(bytes: u64, number: u64) -> String {
    format!("{bytes:020}{number:0width$}", width = KEY_BYTES - 20)
}

#[derive(Clone, Copy)]
pub enum Asked {
    Whole,
    Range(u64),
    Head,
}

/// Returns the prediction for one request for an object of `bytes`, without a read cache.
pub fn predicted(constants: &Constants, mut hardware: Hardware, bytes: u64, asked: Asked) -> DriveReads {
    let exact = SizeClass { lower_bytes: bytes, upper_bytes: bytes, share: 1.0 };
    let mut workload = workload(SizeHistogram::new(vec![exact]).expect("sizes"), OBJECTS);
    let requests = &mut workload.requests;
    match asked {
        Asked::Head => requests.head_per_s = 1.0,
        Asked::Whole => requests.get_per_s = 1.0,
        Asked::Range(range) => {
            (requests.get_per_s, requests.range_share, requests.range_bytes) = (1.0, 1.0, range);
        }
    }
    // The server itself needs more, so there is no read cache.
    hardware.node.ram_bytes = 1 << 20;
    let (fleet, _) = Fleet::of(&workload, &hardware, constants, u64::from(SHARDS));
    let months = demand(&workload, &Draw::MEAN);
    fleet.drive_reads(&months[0], 1.0)
}

/// Returns what this process has read from drives so far: the kernel's count of bytes, and that of
/// completed operations of rings.
fn read_so_far() -> DriveReads {
    let text = std::fs::read_to_string("/proc/self/io").expect("the I/O of this process");
    let bytes = text.lines().find_map(|line| line.strip_prefix("read_bytes: ")).expect("bytes read");
    let mut reads = 0;
    for entry in std::fs::read_dir("/proc/self/fd").expect("open files").flatten() {
        let is_ring = std::fs::read_link(entry.path()).is_ok_and(|to| to.ends_with("anon_inode:[io_uring]"));
        if is_ring {
            let info = std::path::Path::new("/proc/self/fdinfo").join(entry.file_name());
            let text = std::fs::read_to_string(info).expect("the state of a ring");
            let done = text.lines().find_map(|line| line.strip_prefix("CqTail:")).expect("what it has done");
            reads += done.trim().parse::<u32>().expect("a number");
        }
    }
    DriveReads { reads: f64::from(reads), bytes: bytes.parse().expect("a number") }
}

/// Returns the reads of one request; `asked` makes [`ASKED`] of them.
pub fn measured(asked: impl FnOnce()) -> DriveReads {
    let before = read_so_far();
    asked();
    let after = read_so_far();
    let each = |before: f64, after: f64| (after - before) / ASKED as f64;
    DriveReads { reads: each(before.reads, after.reads), bytes: each(before.bytes, after.bytes) }
}

pub fn hold(what: &str, predicted: DriveReads, measured: DriveReads) {
    compare(&format!("{what}: reads"), predicted.reads, measured.reads, WITHIN);
    compare(&format!("{what}: bytes read"), predicted.bytes, measured.bytes, WITHIN);
}

#[test]
fn requests_read_what_the_plan_says() {
    let _alone = own_machine();
    let (directory, constants) = (directory(), constants());
    let largest = *SIZES.last().expect("a size");
    let engine = SingleCore::format(&directory.path().join("drive"), DRIVE_BYTES, SHARDS, 1, largest);
    let engine = engine.expect("a node");
    for bytes in SIZES {
        let mut next = 0;
        let all = engine.put_many(OBJECTS, move || {
            next += 1;
            (key(bytes, next - 1), bytes)
        });
        all.expect("objects");
    }
    let mut random = fastrand::Rng::with_seed(7);
    let get = |bytes: u64, mut range: Box<dyn FnMut() -> Option<Range<u64>>>| {
        let mut next = 0;
        let all = engine.get_many(ASKED, || {
            next += 1;
            (key(bytes, next % OBJECTS), range())
        });
        all.expect("objects that are there");
    };
    for bytes in SIZES {
        let whole = measured(|| get(bytes, Box::new(|| None)));
        hold(
            &format!("GET of {bytes} B"),
            predicted(&constants, hardware(DRIVE_BYTES), bytes, Asked::Whole),
            whole,
        );
    }
    for range in RANGES {
        let mut random = random.fork();
        let mut part = move || random.u64(..=RANGED - range);
        let some = move || {
            let start = part();
            Some(start..start + range)
        };
        let ranged = measured(|| get(RANGED, Box::new(some)));
        hold(
            &format!("GET of {range} B of {RANGED}"),
            predicted(&constants, hardware(DRIVE_BYTES), RANGED, Asked::Range(range)),
            ranged,
        );
    }
    for bytes in SIZES {
        let mut next = 0;
        let mut name = || {
            next += 1;
            key(bytes, next % OBJECTS)
        };
        let headed = measured(|| engine.head_many(ASKED, &mut name).expect("objects that are there"));
        hold(
            &format!("HEAD of {bytes} B"),
            predicted(&constants, hardware(DRIVE_BYTES), bytes, Asked::Head),
            headed,
        );
    }
    engine.close().expect("a closed node");
}
