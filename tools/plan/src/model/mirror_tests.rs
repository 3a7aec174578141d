//! These tests check what copies on the drives of a node change in a plan.

use super::testing::{constants, hardware, one_node, sizes, workload};
use super::*;
use crate::hardware::Redundancy;

fn planned(workload: &Workload, hardware: &Hardware) -> Plan {
    plan(workload, hardware, &constants(), 0).unwrap()
}

/// Returns a workload that one node has room for.
fn modest() -> Workload {
    let mut modest = workload();
    modest.objects.count = 10_000_000;
    (modest.requests.put_per_s, modest.requests.delete_per_s) = (2.0, 0.2);
    modest
}

fn used(plan: &Plan, constraint: Constraint) -> f64 {
    plan.months[0].uses.iter().find(|one| one.constraint == constraint).unwrap().use_of_limit
}

/// A node with four drives without copies, and one with as many for each copy: both have 48 shards of
/// 24 cores, and each of their drives has twelve homes and the same bytes.
#[test]
fn a_copy_of_everything_needs_a_drive_for_each_drive() {
    let on = |drives: u32, redundancy: Redundancy| {
        let mut hardware = one_node(drives, redundancy);
        hardware.node.cores = 24;
        planned(&modest(), &hardware)
    };
    let once = on(4, Redundancy::SINGLE);
    let near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 1e-9;
    for copies in 2..=4 {
        let plan = on(4 * copies, Redundancy::mirror(copies));
        let times = f64::from(copies);
        assert!(near(plan.node.usable_bytes, once.node.usable_bytes * times), "{:?}", plan.node);
        assert!(near(plan.node.usable_once_bytes.unwrap(), once.node.usable_bytes), "{:?}", plan.node);
        assert_eq!(plan.node.uneven_bytes, 0.0);
        assert_eq!(
            (plan.node.index_bytes, plan.node.ram_bytes),
            (once.node.index_bytes, once.node.ram_bytes)
        );
        assert!(near(plan.months[0].stored_bytes, once.months[0].stored_bytes * times));
        assert_eq!(plan.months[0].logical_bytes, once.months[0].logical_bytes);
        let all = plan.layout.redundant_bytes_per_object.unwrap();
        assert!(near(all, plan.layout.stored_bytes_per_object * times));
        let (endurance, alone) = (&plan.endurance, &once.endurance);
        assert!(near(endurance.write_amplification, alone.write_amplification * times), "{endurance:?}");
        let [by_drive, of_one] = [endurance, alone].map(|of| of.host_bytes_per_day_per_drive);
        assert!(near(by_drive, of_one) && near(endurance.life_years.unwrap(), alone.life_years.unwrap()));
        for constraint in Constraint::ALL {
            let (mirrored, alone) = (used(&plan, constraint), used(&once, constraint));
            // One copy is read, so the reads of a drive are fewer.
            let is_read = matches!(constraint, Constraint::DriveIops | Constraint::DriveBandwidth);
            let holds = if is_read { mirrored < alone } else { near(mirrored, alone) };
            assert!(holds && mirrored > 0.0, "{constraint:?} of {copies} copies: {mirrored}, {alone}");
        }
        let [cost, of_one] = [&plan, &once].map(|plan| plan.cost.per_usable_tb_month.unwrap());
        let [price, price_once] = [&plan, &once].map(|plan| plan.cost.per_month);
        assert!(near(cost / of_one, price / price_once), "the same usable bytes");
        assert!(Plan::from_json(&plan.to_json()).unwrap() == plan, "another plan when it is read");
    }
}

/// A record of 1,000 bytes with a group commit of its own is one block, and two or three on drives.
#[test]
fn each_copy_is_written() {
    let by_put = |redundancy: Redundancy| {
        let mut asked = modest();
        asked.objects.sizes = sizes(&[(1_000, 1.0)]);
        (asked.requests.put_per_s, asked.requests.delete_per_s) = (0.01, 0.0);
        planned(&asked, &one_node(8, redundancy)).endurance.write_amplification_objects
    };
    for copies in 1..=4 {
        let found = by_put(Redundancy::mirror(copies));
        assert!((found / (4.096 * f64::from(copies)) - 1.0).abs() < 1e-9, "{copies} copies: {found}");
    }
}

/// Sixteen cores make 32 shards. By hand: on twelve drives without copies, eight have three of them and
/// four have two, so 32 / 36 of the room is used. With three copies on five drives, two of them
/// have 20 homes, two 19 and one 18, which is 96 / 100.
#[test]
fn the_drive_with_the_most_shards_is_full_first() {
    for (drives, redundancy, share) in [
        (8, Redundancy::SINGLE, 1.0),
        (12, Redundancy::SINGLE, 32.0 / 36.0),
        (8, Redundancy::mirror(2), 1.0),
        (12, Redundancy::mirror(2), 64.0 / 72.0),
        (5, Redundancy::mirror(3), 96.0 / 100.0),
    ] {
        let node = planned(&modest(), &one_node(drives, redundancy)).node;
        let found = node.usable_bytes / (node.usable_bytes + node.uneven_bytes);
        assert!((found - share).abs() < 1e-9, "{drives} drives, {redundancy:?}: {found}");
        let once = node.usable_once_bytes.unwrap() * f64::from(redundancy.copies);
        assert!((once / node.usable_bytes - 1.0).abs() < 1e-12);
    }
}

#[test]
fn a_rebuild_has_the_rate_that_is_given_or_half_of_a_drive() {
    let hours = |change: &dyn Fn(&mut Hardware)| {
        let mut hardware = one_node(8, Redundancy::mirror(2));
        change(&mut hardware);
        let plan = planned(&modest(), &hardware);
        (plan.durability.rebuild_hours.unwrap(), plan.months[0].stored_bytes / 8.0, plan.durability)
    };
    let (found, on_drive, given) = hours(&|hardware| hardware.drives.rebuild_bytes_per_s = Some(50e6));
    assert!((found / (on_drive / 50e6 / 3600.0) - 1.0).abs() < 1e-9, "{found} hours");
    assert!(given.rebuild_bound_by.contains("drives.rebuild_rate"), "{given:?}");
    let (found, on_drive, default) = hours(&|_| ());
    assert!((found / (on_drive / 1e9 / 3600.0) - 1.0).abs() < 1e-9, "{found} hours");
    assert!(default.rebuild_bound_by.contains("writes of the new drive"), "{default:?}");
    // The copies are in the same node.
    let (same, _, _) = hours(&|hardware| hardware.node.nic_bytes_per_s = 1e6);
    assert_eq!(same, found);
    let (longer, _, _) = hours(&|hardware| hardware.drives.speed.read_bytes_per_s = 5e8);
    assert!((longer / found - 4.0).abs() < 1e-9, "half of the reads, in place of half of the writes");
}

/// By hand: 8 drives of two nodes each are 16 groups of two drives, 1% of which fail in a year, and are
/// down for a day and the rebuild. With two drives in a node there is one group in each.
#[test]
fn losses_are_those_of_all_groups_of_all_nodes() {
    for (drives, copies, groups) in [(8, 2, 16), (2, 2, 2), (8, 3, 16), (4, 4, 2)] {
        let mut hardware = one_node(drives, Redundancy::mirror(copies));
        hardware.node.count = Some(2);
        let plan = planned(&modest(), &hardware);
        let durability = &plan.durability;
        assert_eq!((durability.groups, durability.drives), (Some(groups), 2 * drives));
        let failing = 0.01 * (24.0 + durability.rebuild_hours.unwrap()) / 8_760.0;
        let others = failing.powi(copies as i32 - 1);
        let by_hand = f64::from(groups) * f64::from(copies) * 0.01 * others;
        let found = durability.data_loss_probability_per_year;
        assert!((found / by_hand - 1.0).abs() < 2e-3, "{drives}, {copies}: {found:e}, by hand {by_hand:e}");
        // A group has its share of one copy of what users store.
        let lost = plan.months[0].logical_bytes / f64::from(groups);
        assert!((durability.bytes_lost_per_loss / lost - 1.0).abs() < 1e-9, "{durability:?}");
        assert!(durability.model.contains("copies × λ"), "{durability:?}");
    }
}

#[test]
fn what_mirrors_are_and_are_not_is_noted() {
    let notes = |hardware: &Hardware| planned(&modest(), hardware).notes.join("\n");
    let mirrored = notes(&one_node(8, Redundancy::mirror(3)));
    assert!(mirrored.contains("on 3 drives of one node") && mirrored.contains("--redundancy mirror-3"));
    assert!(mirrored.contains("`ringbolt drive replace`"), "{mirrored}");
    let several = notes(&one_node(8, Redundancy::SINGLE));
    for part in ["`ringbolt format` makes 4+2 of 8 drives", "--set redundancy.format=default counts it"] {
        assert!(several.contains(part), "{several}");
    }
    assert!(notes(&one_node(1, Redundancy::SINGLE)).contains("Keep another copy elsewhere"));
}

/// Programs before mirrors wrote neither copies nor groups.
#[test]
fn plans_without_mirrors_are_read_as_before() {
    let plan = planned(&modest(), &hardware());
    let mut json: serde_json::Value = serde_json::from_str(&plan.to_json()).unwrap();
    for (part, name) in [
        ("/hardware/redundancy", "copies"),
        ("/hardware/redundancy", "data_members"),
        ("/hardware/drives", "rebuild_bytes_per_s"),
        ("/node", "uneven_bytes"),
        ("/node", "usable_once_bytes"),
        ("/durability", "groups"),
        ("/durability", "rebuild_read_bytes"),
        ("/durability", "rebuild_written_bytes"),
        ("/layout", "redundant_bytes_per_logical_byte"),
        ("/layout", "counted_bytes_per_object"),
    ] {
        let object = json.pointer_mut(part).and_then(serde_json::Value::as_object_mut).unwrap();
        assert!(object.remove(name).is_some(), "{part}/{name}");
    }
    let mut read = Plan::from_json(&json.to_string()).unwrap();
    assert_eq!((read.hardware.redundancy, read.node.usable_once_bytes), (Redundancy::SINGLE, None));
    read.node.usable_once_bytes = plan.node.usable_once_bytes;
    read.layout.redundant_bytes_per_logical_byte = plan.layout.redundant_bytes_per_logical_byte;
    read.layout.counted_bytes_per_object = plan.layout.counted_bytes_per_object;
    assert!(read == plan);
}
