//! This module compares the space that objects take on several drives, in copies and in stripes.

use crate::reads::{ASKED, Asked, hold, measured, predicted};
use crate::scenario::{KEY_BYTES, constants, hardware, workload};
use crate::{compare, directory, own_machine};
use ringbolt_engine::node::{Redundancy as EngineRedundancy, SpaceReport, sizing};
use ringbolt_plan::calibrate::engine::{DriveSet, SingleCore};
use ringbolt_plan::constants::Constants;
use ringbolt_plan::hardware::{Hardware, Redundancy};
use ringbolt_plan::model;
use ringbolt_plan::result::Plan;
use ringbolt_plan::sizes::{SizeClass, SizeHistogram};

const MIB: u64 = 1 << 20;
/// Objects of up to 64 KiB are in the log. Larger ones are less than a row of a stripe, some rows, a part of a
/// slice, a little more than a full one of 2+2 or of 4+2, and several.
const SIZES: [u64; 8] = [4 << 10, 64 << 10, 65 << 10, 300_000, MIB, 9 * MIB, 17 * MIB, 40 * MIB];
/// As many bytes are stored of each size, or one object.
const BYTES_OF_EACH: u64 = 64 * MIB;
const WITHIN: f64 = 0.03;

/// Says what is formatted: the redundancy, the number of drives, and the size of each.
struct Case {
    name: &'static str,
    drives: u32,
    drive_bytes: u64,
}

/// The third has more drives than a stripe has members.
const CASES: [Case; 3] = [
    Case { name: "mirror", drives: 2, drive_bytes: 896 * MIB },
    Case { name: "2+2", drives: 4, drive_bytes: 512 * MIB },
    Case { name: "4+2", drives: 7, drive_bytes: 384 * MIB },
];

impl Case {
    fn redundancy(&self) -> Redundancy {
        Redundancy::of_name(self.name).expect("a redundancy")
    }

    fn plan(&self, constants: &Constants, sizes: &[(u64, u64)]) -> Plan {
        let count: u64 = sizes.iter().map(|(_, count)| count).sum();
        let class = |(bytes, of_size): &(u64, u64)| SizeClass {
            lower_bytes: *bytes,
            upper_bytes: *bytes,
            share: *of_size as f64 / count as f64,
        };
        let sizes = SizeHistogram::new(sizes.iter().map(class).collect()).expect("sizes");
        model::plan(&workload(sizes, count), &self.hardware(), constants, 0).expect("a plan")
    }

    fn hardware(&self) -> Hardware {
        let mut hardware = hardware(self.drive_bytes);
        (hardware.drives.count, hardware.redundancy) = (self.drives, self.redundancy());
        hardware
    }

    fn shards(&self) -> u16 {
        4.max(self.drives as u16)
    }

    /// Returns the bytes of an extent for each copy of each shard.
    fn tails(&self) -> f64 {
        let (shards, copies) = (u64::from(self.shards()), u64::from(self.redundancy().copies));
        let ring = sizing::ring(shards, u64::from(self.drives), copies);
        (shards * copies * sizing::drive(self.drive_bytes, ring.homes_max).extent_bytes) as f64
    }

    /// Makes the drives, with as many shards as the plan has.
    fn format(&self, directory: &tempfile::TempDir) -> SingleCore {
        let redundancy = self.redundancy();
        let set = DriveSet {
            drives: (0..self.drives).map(|drive| directory.path().join(format!("drive{drive}"))).collect(),
            size_bytes: self.drive_bytes,
            shards: self.shards(),
            redundancy: EngineRedundancy {
                failures_max: redundancy.failures_max() as u8,
                data_members: redundancy.data_members as u8,
            },
            seed: 1,
        };
        SingleCore::format_set(&set, *SIZES.last().expect("a size")).expect("a node")
    }
}

fn key(bytes: u64, number: u64) -> String {
    format!("{bytes:020}{number:0width$}", width = KEY_BYTES - 20)
}

/// Returns what the drives have that objects can not get: neither what is free, nor what is dead in the log
/// (nothing was overwritten, so that is the padding of group commits, which the cleaner leaves out), each with
/// its copies and parity.
fn used_bytes(space: &SpaceReport, redundancy: Redundancy) -> f64 {
    let free_bytes = (space.free_bytes - space.gap_bytes) as f64;
    let gap_bytes = space.gap_bytes as f64 * redundancy.overhead();
    let dead_bytes = space.dead_bytes as f64 * f64::from(redundancy.copies);
    space.physical_bytes as f64 - free_bytes - gap_bytes - dead_bytes
}

/// Returns what objects have of that: neither what is held back, nor the checkpoints and the room at the end of
/// the log, which do not grow with the objects.
fn used_by_objects(space: &SpaceReport, redundancy: Redundancy) -> f64 {
    let taken_bytes = (space.reserved_bytes - space.held_bytes) as f64 * f64::from(redundancy.copies);
    used_bytes(space, redundancy) - space.held_bytes as f64 - taken_bytes
}

#[test]
fn copies_and_stripes_take_what_the_plan_says() {
    let _alone = own_machine();
    let constants = constants();
    for case in CASES {
        let directory = directory();
        let engine = case.format(&directory);
        let mut stored = Vec::new();
        let mut before = engine.space().expect("the space");
        for bytes in SIZES {
            let count = (BYTES_OF_EACH / bytes).max(1);
            let mut next = 0;
            let all = engine.put_many(count, move || {
                next += 1;
                (key(bytes, next), bytes)
            });
            all.expect("objects");
            let now = engine.space().expect("the space");
            let counted = case.plan(&constants, &[(bytes, count)]).layout.counted_bytes_per_object;
            let live_bytes = (now.live_bytes - before.live_bytes) as f64 / count as f64;
            compare(
                &format!("{}, live bytes for one of {bytes}", case.name),
                counted.expect("bytes of an object"),
                live_bytes,
                WITHIN,
            );
            stored.push((bytes, count));
            before = now;
        }
        engine.close().expect("a closed node");
        let (plan, redundancy) = (case.plan(&constants, &stored), case.redundancy());
        let on_drives = plan.months[0].stored_bytes;
        let of_objects = used_by_objects(&before, redundancy);
        compare(&format!("{}, drive use by objects, bytes", case.name), on_drives, of_objects, WITHIN);
        // Each copy of a log is anywhere in its last extent.
        let used = used_bytes(&before, redundancy);
        let kept = plan.node.checkpoint_bytes + plan.node.held_back_bytes;
        compare(
            &format!("{}, drive use, bytes", case.name),
            on_drives + kept,
            used,
            WITHIN + case.tails() / used,
        );
    }
}

/// A GET of all of an object reads each of its data members. Ranges are left to the planner's unit tests: where one
/// of the drives is slow, others are read in its place, and of a range these are more.
#[test]
fn stripes_are_read_as_the_plan_says() {
    const OBJECTS: u64 = 4;
    let _alone = own_machine();
    let (constants, case) = (constants(), &CASES[2]);
    let directory = directory();
    let engine = case.format(&directory);
    for bytes in [4 << 10, 65 << 10, 300_000, 17 * MIB] {
        let mut next = 0;
        let all = engine.put_many(OBJECTS, move || {
            next += 1;
            (key(bytes, next), bytes)
        });
        all.expect("objects");
        let mut next = 0;
        let mut wanted = || {
            next += 1;
            (key(bytes, next % OBJECTS + 1), None)
        };
        let found = measured(|| engine.get_many(ASKED, &mut wanted).expect("objects that are there"));
        let expected = predicted(&constants, case.hardware(), bytes, Asked::Whole);
        hold(&format!("{}, GET of {bytes} B", case.name), expected, found);
    }
    engine.close().expect("a closed node");
}
