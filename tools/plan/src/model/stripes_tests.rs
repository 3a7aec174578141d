//! These tests check what stripes on the drives of a node change in a plan.

use super::testing::{constants, one_node, sizes, workload};
use super::*;
use crate::hardware::Redundancy;
use ringbolt_engine::node::sizing::{BLOCK_BYTES, ObjectShape, Shape, UNIT_BYTES};

const MIB: u64 = 1 << 20;

fn planned(workload: &Workload, hardware: &Hardware) -> Plan {
    plan(workload, hardware, &constants(), 0).unwrap()
}

/// Returns a workload of objects of one size that one node has room for.
fn of_size(bytes: u64) -> Workload {
    let mut modest = workload();
    (modest.objects.count, modest.objects.sizes) = (100_000, sizes(&[(bytes, 1.0)]));
    (modest.requests.put_per_s, modest.requests.delete_per_s) = (2.0, 0.2);
    modest
}

fn near(found: f64, expected: f64) -> bool {
    (found / expected - 1.0).abs() < 1e-9
}

/// By hand, for 4+2: 65 KiB are 20 KiB of each member and a header, in two units; 1 MiB is 256 KiB of each and a
/// header, in 17; 16 MiB are a slot of 257 units on each of the six.
#[test]
fn stripes_take_what_the_format_says() {
    let unit = UNIT_BYTES as f64;
    for (bytes, units) in [(65 << 10, 2.0), (MIB, 17.0), (16 * MIB, 257.0), (32 * MIB, 514.0)] {
        let of = |redundancy| planned(&of_size(bytes), &one_node(8, redundancy)).layout;
        let (striped, mirrored) = (of(Redundancy::stripes(4, 2)), of(Redundancy::mirror(3)));
        let sizing = |sets| {
            let shape =
                ObjectShape { key_bytes: 40, attribute_bytes: 40, body_bytes: bytes, part_bytes: None };
            sizing::object(sets, &shape)
        };
        let (own, whole) = (sizing(Shape::new(4, 2)), sizing(Shape::PLAIN));
        assert_eq!(own.slice_bytes as f64, units * unit);
        let logged = |record_bytes: u64| record_bytes as f64 * (1.0 + sizing::COPIES_OVERHEAD_SHARE);
        let (all, counted) = (striped.redundant_bytes_per_object, striped.counted_bytes_per_object);
        assert!(near(all.unwrap(), logged(own.record_bytes) * 3.0 + units * unit * 6.0), "{striped:?}");
        assert!(near(counted.unwrap(), logged(own.record_bytes) + units * unit * 4.0), "{striped:?}");
        assert!(near(striped.redundant_bytes_per_logical_byte.unwrap(), all.unwrap() / bytes as f64));
        let copied = (logged(whole.record_bytes) + whole.slice_bytes as f64) * 3.0;
        assert!(near(mirrored.redundant_bytes_per_object.unwrap(), copied), "{mirrored:?}");
        // A header and the payload in whole blocks on each member, in pieces of 256 KiB.
        let slices = bytes.div_ceil(16 * MIB);
        let chunk = bytes.div_ceil(slices).div_ceil(4).next_multiple_of(BLOCK_BYTES as u64);
        assert_eq!(own.slice_written_bytes, slices * (BLOCK_BYTES as u64 + chunk));
        assert_eq!(own.slice_writes, slices * (1 + chunk.div_ceil(256 << 10)));
    }
    // Small objects are in the log, whatever becomes of large ones.
    let small = |redundancy| planned(&of_size(4 << 10), &one_node(8, redundancy)).layout;
    let (striped, mirrored) = (small(Redundancy::stripes(4, 2)), small(Redundancy::mirror(3)));
    assert_eq!(striped.redundant_bytes_per_object, mirrored.redundant_bytes_per_object);
}

/// Large objects of 4+2 use six drives for four, on 6 drives or more. With as many shards for each drive all
/// of the room is used; on seven the homes are uneven, and slices fill what the logs leave.
#[test]
fn capacity_is_used_on_all_drives() {
    for (drives, cores) in [(6, 24), (8, 16), (7, 16), (11, 24)] {
        let mut hardware = one_node(drives, Redundancy::stripes(4, 2));
        hardware.node.cores = cores;
        let plan = planned(&of_size(16 * MIB), &hardware);
        let node = &plan.node;
        let kept = node.format_bytes + node.checkpoint_bytes + node.held_back_bytes + node.uneven_bytes;
        assert!(near(kept + node.usable_bytes, node.raw_bytes), "{node:?}");
        assert!(node.uneven_bytes < node.usable_bytes * 0.001, "{drives} drives: {node:?}");
        let once = node.usable_once_bytes.unwrap() / node.usable_bytes;
        assert!((once - 4.0 / 6.0).abs() < 1e-3, "{once}");
        assert!(Plan::from_json(&plan.to_json()).unwrap() == plan, "another plan when it is read");
    }
    // Small objects are copied: on seven drives some have more homes than others, as with a mirror.
    let small = |redundancy| planned(&of_size(4 << 10), &one_node(7, redundancy)).node;
    let (striped, mirrored) = (small(Redundancy::stripes(4, 2)), small(Redundancy::mirror(3)));
    assert!((striped.usable_bytes / mirrored.usable_bytes - 1.0).abs() < 1e-6, "{striped:?} {mirrored:?}");
}

/// Of large objects the drives get six bytes for four, and of small ones three for one.
#[test]
fn parity_is_written() {
    let written = |bytes, redundancy| {
        planned(&of_size(bytes), &one_node(8, redundancy)).endurance.write_amplification_objects
    };
    let large = written(64 * MIB, Redundancy::stripes(4, 2));
    assert!((large - 1.5).abs() < 0.005, "{large}");
    let [striped, mirrored] =
        [Redundancy::stripes(4, 2), Redundancy::mirror(3)].map(|redundancy| written(4 << 10, redundancy));
    assert_eq!(striped, mirrored);
}

/// By hand: a drive of 8 has an eighth of all, its part of the logs is copied and each chunk made from four others.
#[test]
fn a_rebuild_reads_as_many_members_as_suffice() {
    let plan = planned(&of_size(16 * MIB), &one_node(8, Redundancy::stripes(4, 2)));
    let durability = &plan.durability;
    let on_drive = plan.months[0].stored_bytes / 8.0;
    let records = (plan.layout.redundant_bytes_per_object.unwrap() - 257.0 * 6.0 * UNIT_BYTES as f64) / 8.0;
    let objects = plan.months[0].objects;
    let read = objects * records + 4.0 * (on_drive - objects * records);
    assert!(near(durability.rebuild_written_bytes.unwrap(), on_drive), "{durability:?}");
    assert!((durability.rebuild_read_bytes.unwrap() / read - 1.0).abs() < 1e-6, "{durability:?}");
    // Half of 2 GB/s of writes; the seven others read four sevenths of that each.
    assert!(near(durability.rebuild_hours.unwrap(), on_drive / 1e9 / 3600.0), "{durability:?}");
    let mut slow = one_node(8, Redundancy::stripes(4, 2));
    slow.drives.speed.read_bytes_per_s = 1e9;
    let slow = planned(&of_size(16 * MIB), &slow).durability;
    let by_reads = on_drive * 4.0 / 7.0 / 0.5e9 / 3600.0;
    assert!((slow.rebuild_hours.unwrap() / by_reads - 1.0).abs() < 0.01, "{slow:?}, by hand {by_reads}");
    assert!(slow.rebuild_bound_by.contains("reads of the other drives"), "{slow:?}");
}

/// By hand: of six drives any three lose stripes, which are 20 choices; of 7 drives with many stripes all 35.
#[test]
fn losses_are_those_of_all_choices_that_share_a_stripe() {
    for (drives, choices) in [(6, 20.0), (7, 35.0)] {
        let plan = planned(&of_size(16 * MIB), &one_node(drives, Redundancy::stripes(4, 2)));
        let durability = &plan.durability;
        assert_eq!(durability.groups, Some(choices as u32));
        let failing = 0.01 * (24.0 + durability.rebuild_hours.unwrap()) / 8_760.0;
        let by_hand = choices * 3.0 * 0.01 * failing * failing;
        let found = durability.data_loss_probability_per_year;
        assert!((found / by_hand - 1.0).abs() < 2e-3, "{drives}: {found:e}, by hand {by_hand:e}");
        assert!(durability.model.contains("some stripe has in common"), "{durability:?}");
    }
    // Without large objects only neighbours lose something.
    let small = |redundancy| planned(&of_size(4 << 10), &one_node(7, redundancy)).durability;
    let (striped, mirrored) = (small(Redundancy::stripes(4, 2)), small(Redundancy::mirror(3)));
    assert_eq!((striped.groups, mirrored.groups), (Some(7), Some(7)));
    assert!(near(striped.data_loss_probability_per_year, mirrored.data_loss_probability_per_year));
}

/// A GET of all of a striped object reads the header and the chunk of each data member, and one of a byte those
/// of one member.
#[test]
fn reads_are_those_of_the_members_that_have_something() {
    let shape = |body_bytes| ObjectShape { key_bytes: 40, attribute_bytes: 0, body_bytes, part_bytes: None };
    let sets = Shape::new(4, 2);
    let reads = |bytes: u64, range: std::ops::Range<u64>| {
        let read = sizing::slice_reads(sets, &shape(bytes), range);
        (read.reads, read.bytes)
    };
    assert_eq!(reads(64 << 10, 0..64 << 10), (0, 0));
    // 16 pieces of 256 KiB on each of four drives, and a header.
    assert_eq!(reads(16 * MIB, 0..16 * MIB), (4 * 17, 16 * MIB + 4 * 4096));
    assert_eq!(reads(32 * MIB, 0..32 * MIB), (8 * 17, 32 * MIB + 8 * 4096));
    assert_eq!(reads(16 * MIB, 5..6), (2, 4096 + 65_536));
    // The end of one member's row, and the beginning of the next one's.
    assert_eq!(reads(16 * MIB, 65_535..65_537), (4, 2 * (4096 + 65_536)));
    // 65 KiB are 17 KiB on each, in whole blocks.
    assert_eq!(reads(65 << 10, 0..65 << 10), (8, 4 * (4096 + 20_480)));
    // The last row of four is read with the one before it.
    assert_eq!(reads(300 << 10, 0..300 << 10), (8, 4 * (4096 + 65_536 + 12_288)));
}

#[test]
fn what_stripes_are_is_noted() {
    let notes = planned(&of_size(MIB), &one_node(8, Redundancy::stripes(4, 2))).notes.join("\n");
    let parts = [
        "striped over 4 drives of one node with parity on 2 more",
        "--redundancy 4+2",
        "`ringbolt drive replace`",
    ];
    assert!(parts.iter().all(|part| notes.contains(part)), "{notes}");
}

#[test]
fn drives_without_room_for_a_shard_on_each_are_refused() {
    let mut small = one_node(14, Redundancy::stripes(4, 2));
    small.drives.size_bytes = sizing::drive_bytes_min();
    let refused = plan(&of_size(MIB), &small, &constants(), 0).unwrap_err().to_string();
    assert!(refused.contains("with stripes each drive is the home of one"), "{refused}");
}
