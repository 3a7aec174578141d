//! What must hold for any plan.

use super::testing::{constants, hardware, sizes, workload};
use super::*;
use crate::plan::hardware::Redundancy;

fn planned(workload: &Workload, hardware: &Hardware) -> Plan {
    plan(workload, hardware, &constants(), 0).unwrap()
}

#[test]
fn a_plan_holds_together() {
    let plan = planned(&workload(), &hardware());
    assert_eq!(plan.months.len(), 12);
    assert_eq!(plan.fill.months.len(), 13);
    for month in &plan.months {
        let most = month.uses.iter().map(|each| each.nodes).max().unwrap();
        assert_eq!(month.needed.nodes, most, "the constraint that asks for most decides");
        let binding = month.uses.iter().find(|each| each.constraint == month.needed.binding).unwrap();
        assert_eq!(binding.nodes, most);
        assert_eq!(month.needed_with_one_down.nodes, most + 1);
        assert!(month.nodes_p5 <= month.nodes_p50 && month.nodes_p50 <= month.nodes_p95);
        for each in &month.uses {
            assert!(
                each.use_of_limit >= 0.0 && each.use_of_limit <= each.use_of_limit_with_one_down,
                "{each:?}"
            );
        }
    }
    let endurance = &plan.endurance;
    let parts = endurance.write_amplification_objects
        + endurance.write_amplification_cleaner
        + endurance.write_amplification_checkpoints
        + endurance.write_amplification_deletes;
    assert!((parts - endurance.write_amplification).abs() < 1e-9 && parts > 1.0, "{endurance:?}");
    let node = &plan.node;
    let sum = node.format_bytes + node.checkpoint_bytes + node.held_back_bytes + node.usable_bytes;
    assert!((sum / node.raw_bytes - 1.0).abs() < 1e-9, "{node:?}");
    let shares: f64 = plan.layout.classes.iter().map(|class| class.logical_share).sum();
    assert!((shares - 1.0).abs() < 1e-9);
}

#[test]
fn the_same_seed_gives_the_same_plan() {
    let (mut workload, hardware) = (workload(), hardware());
    let first = planned(&workload, &hardware);
    assert!(first == planned(&workload, &hardware), "another plan");
    assert!(Plan::from_json(&first.to_json()).unwrap() == first, "another plan when it is read");
    workload.horizon.seed = 2;
    assert!(planned(&workload, &hardware).fill != first.fill, "the seed makes no difference");
}

/// Hardware that is more of something never needs more nodes, and never fills earlier.
#[test]
fn more_hardware_is_never_worse() {
    let workload = workload();
    let mut few = hardware();
    few.node.count = Some(2);
    let base = planned(&workload, &few);
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..40 {
        let mut more = few.clone();
        match random.u8(..5) {
            0 => more.drives.count += random.u32(1..9),
            1 => more.drives.size_bytes += random.u64(1..20_000_000_000_000),
            2 => more.node.ram_bytes += random.u64(1..1 << 40),
            3 => more.node.cores += random.u32(1..64),
            _ => more.drives.speed.read_iops *= 1.0 + random.f64(),
        }
        let plan = planned(&workload, &more);
        for (better, month) in plan.months.iter().zip(&base.months) {
            assert!(better.needed.nodes <= month.needed.nodes, "{:?} {:?}", more.node, more.drives);
        }
        let full = |plan: &Plan| plan.fill.at_80_percent.days_p50.unwrap_or(f64::INFINITY);
        // Cores bring shards, and each shard holds extents back.
        if more.node.cores == few.node.cores {
            assert!(full(&plan) >= full(&base), "{:?}", more.drives);
        }
    }
}

/// Of small objects, and of large ones: across the border a body leaves its record for slices of whole units.
#[test]
fn waste_falls_with_the_size_of_objects() {
    let hardware = hardware();
    let mut workload = workload();
    let mut waste = |bytes: u64| {
        workload.objects.sizes = sizes(&[(bytes, 1.0)]);
        planned(&workload, &hardware).layout.waste_share
    };
    let small: Vec<f64> = (0..=16).map(|octave| waste(1 << octave)).collect();
    assert!(small.windows(2).all(|pair| pair[1] < pair[0]), "{small:?}");
    let large: Vec<f64> = (17..=22).map(|octave| waste(1 << octave)).collect();
    assert!(large.windows(2).all(|pair| pair[1] < pair[0]), "{large:?}");
    assert!(waste(64 << 20) < 0.005, "{}", waste(64 << 20));
}

#[test]
fn each_constraint_can_bind() {
    let bound = |change: &dyn Fn(&mut Workload, &mut Hardware)| {
        let (mut workload, mut hardware) = (workload(), hardware());
        change(&mut workload, &mut hardware);
        planned(&workload, &hardware).months[0].needed.binding
    };
    assert_eq!(bound(&|_, _| ()), Constraint::Capacity);
    assert_eq!(bound(&|_, hardware| hardware.drives.speed.read_iops = 10.0), Constraint::DriveIops);
    assert_eq!(
        bound(&|_, hardware| hardware.drives.speed.write_bytes_per_s = 1e6),
        Constraint::DriveBandwidth
    );
    assert_eq!(bound(&|_, hardware| hardware.drives.endurance_bytes = Some(1e13)), Constraint::Endurance);
    assert_eq!(bound(&|_, hardware| hardware.node.ram_bytes = 2 << 30), Constraint::Ram);
    assert_eq!(bound(&|workload, _| workload.requests.list_per_s = 1e5), Constraint::Cpu);
    assert_eq!(bound(&|_, hardware| hardware.node.nic_bytes_per_s = 1e7), Constraint::Nic);
}

#[test]
fn what_can_not_be_is_refused_with_the_reason() {
    let refused = |change: &dyn Fn(&mut Workload, &mut Hardware)| {
        let (mut workload, mut hardware) = (workload(), hardware());
        change(&mut workload, &mut hardware);
        plan(&workload, &hardware, &constants(), 0).unwrap_err().to_string()
    };
    assert!(refused(&|_, hardware| hardware.drives.size_bytes = 1 << 20).contains("at least"));
    assert!(refused(&|_, hardware| hardware.node.ram_bytes = 1 << 20).contains("node.ram"));
    let endless = refused(&|workload, _| workload.requests.list_per_s = 1e15);
    assert!(endless.contains("CPU asks for more than 1000000 nodes in 2027-01"), "{endless}");
}

#[test]
fn nodes_that_are_there_are_watched() {
    let mut hardware = hardware();
    hardware.node.count = Some(1);
    let plan = planned(&workload(), &hardware);
    assert_eq!(plan.nodes, 1);
    assert!(plan.months[0].needed.nodes > 1);
    assert_eq!(plan.fill.at_100_percent.days_p50, Some(0.0), "it is too full already");
    // It refuses what it has no room for: it writes as a full one does, however much is asked.
    let amplification = |count: u64| {
        let mut asked = workload();
        asked.objects.count = count;
        planned(&asked, &hardware).endurance.write_amplification
    };
    let (full, beyond) = (amplification(10_000_000_000), amplification(1_000_000_000_000));
    assert!(full > 1.0 && full < 30.0 && (beyond / full - 1.0).abs() < 0.01, "{full} {beyond}");
    assert!(plan.notes[0].contains("1 node does not suffice from 2027-01"), "{:?}", plan.notes);
    assert!(plan.months[0].uses.iter().all(|each| each.use_of_limit_with_one_down == f64::INFINITY));
}

/// MinIO's knowledge base, "storage utilization entitlement" (2025): 12 + 4 is 75%, 8 + 3 72.7%, 6 + 2 75%, 4 + 2
/// 66.7%.
#[test]
fn published_usable_shares_are_reproduced() {
    for (data, parity, percent) in [(12, 4, 75.0), (8, 3, 72.7), (6, 2, 75.0), (8, 8, 50.0), (4, 2, 66.7)] {
        let usable = 100.0 / Redundancy { data, parity }.overhead();
        assert!((usable - percent).abs() < 0.05, "{data} + {parity}: {usable}");
    }
    let mut redundant = hardware();
    redundant.redundancy = Redundancy { data: 6, parity: 2 };
    let (single, redundant) = (planned(&workload(), &hardware()), planned(&workload(), &redundant));
    let ratio = redundant.months[0].stored_bytes / single.months[0].stored_bytes;
    assert!((ratio - 4.0 / 3.0).abs() < 1e-9);
    assert!(redundant.durability.rebuild_hours.unwrap() > 0.0);
    // Each piece has a drive, however little is stored.
    let (mut few, mut little) = (hardware(), workload());
    (few.redundancy, few.drives.count) = (Redundancy { data: 12, parity: 4 }, 3);
    little.objects.count = 1_000;
    little.requests = crate::plan::workload::Requests { put_per_s: 0.1, get_per_s: 0.1, ..little.requests };
    let plan = planned(&little, &few);
    assert_eq!((plan.nodes, plan.months[0].needed.nodes, plan.months[0].nodes_p50), (6, 6, 6));
    assert!(plan.notes.iter().any(|note| note.contains("on 6 nodes at least")), "{:?}", plan.notes);
    assert!(
        redundant.durability.data_loss_probability_per_year
            < single.durability.data_loss_probability_per_year / 1000.0
    );
}

#[test]
fn without_requests_only_capacity_and_memory_are_used() {
    let mut idle = workload();
    let requests = &mut idle.requests;
    (requests.put_per_s, requests.get_per_s, requests.head_per_s) = (0.0, 0.0, 0.0);
    (requests.list_per_s, requests.delete_per_s) = (0.0, 0.0);
    let plan = planned(&idle, &hardware());
    assert_eq!((plan.endurance.life_years, plan.cost.per_million_requests), (None, None));
    assert_eq!(plan.endurance.write_amplification, 0.0);
    for each in &plan.months[0].uses {
        let used = matches!(each.constraint, Constraint::Capacity | Constraint::Ram);
        assert_eq!(each.use_of_limit > 0.0, used, "{each:?}");
    }
    assert_eq!(plan.months[11].objects, plan.months[0].objects);
}
