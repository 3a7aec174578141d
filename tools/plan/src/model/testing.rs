//! This module provides a workload, hardware and constants for tests. The figures are round and
//! invented.

use crate::constants::{Constant, Constants, SCHEMA, Source, VERSION};
use crate::hardware::{Cost, DriveSpeed, Drives, Hardware, Limits, Node, Redundancy};
use crate::sizes::{SizeClass, SizeHistogram};
use crate::workload::{Day, Growth, Horizon, HotSet, Objects, Requests, Workload};
use std::collections::{BTreeMap, BTreeSet};

/// Returns classes of exact sizes.
pub fn sizes(classes: &[(u64, f64)]) -> SizeHistogram {
    let exact = |&(bytes, share): &(u64, f64)| SizeClass { lower_bytes: bytes, upper_bytes: bytes, share };
    SizeHistogram::new(classes.iter().map(exact).collect()).unwrap()
}

pub fn workload() -> Workload {
    Workload {
        name: "test".into(),
        objects: Objects {
            count: 100_000_000,
            key_bytes: 40.0,
            key_shared_bytes: 20.0,
            metadata_bytes: 40.0,
            sizes: sizes(&[(4 << 10, 0.7), (256 << 10, 0.2), (8 << 20, 0.1)]),
            sizes_source: "a test".into(),
            live_bytes_per_object: None,
            part_bytes: None,
        },
        requests: Requests {
            put_per_s: 200.0,
            get_per_s: 2_000.0,
            head_per_s: 100.0,
            list_per_s: 5.0,
            delete_per_s: 20.0,
            overwrite_share: 0.2,
            list_keys: 500.0,
            range_share: 0.1,
            range_bytes: 64 << 10,
            puts_in_flight: 32.0,
            gets_by_size: None,
            heads_by_size: None,
            uncertainty: 0.2,
        },
        day: Day { shape: vec![1.0; 24], peak_factor: 2.0 },
        hot_set: HotSet { object_share: 0.1, request_share: 0.8 },
        growth: Growth { requests_share_per_month: 0.02, stored_share_per_month: None, uncertainty: 0.01 },
        retention_days: None,
        horizon: Horizon { start: "2027-01".parse().unwrap(), months: 12, seed: 1, samples: 200 },
    }
}

pub fn hardware() -> Hardware {
    Hardware {
        name: "test".into(),
        node: Node {
            count: None,
            cores: 16,
            ram_bytes: 256 << 30,
            nic_bytes_per_s: 25e9 / 8.0,
            watts: 200.0,
            price: 5_000.0,
        },
        drives: Drives {
            count: 8,
            size_bytes: 8_000_000_000_000,
            price: 800.0,
            watts: 10.0,
            endurance_bytes: Some(14e15),
            endurance_used_share: 0.0,
            wanted_life_years: 5.0,
            internal_write_amplification: 1.2,
            annual_failure_rate: 0.01,
            replacement_hours: 24.0,
            rebuild_bytes_per_s: None,
            speed: DriveSpeed {
                read_iops: 500_000.0,
                write_iops: 100_000.0,
                read_bytes_per_s: 5e9,
                write_bytes_per_s: 2e9,
                source: "a test".into(),
                profile: None,
            },
        },
        redundancy: Redundancy::SINGLE,
        limits: Limits { capacity: 0.8, drive_iops: 0.7, drive_bandwidth: 0.7, ram: 0.8, cpu: 0.7, nic: 0.7 },
        cost: Cost { currency: "EUR".into(), years: 5.0, price_per_kwh: 0.2, power_usage_effectiveness: 1.3 },
    }
}

/// Returns hardware with one node of `drives` drives.
pub fn one_node(drives: u32, redundancy: Redundancy) -> Hardware {
    let mut hardware = hardware();
    (hardware.node.count, hardware.drives.count, hardware.redundancy) = (Some(1), drives, redundancy);
    hardware
}

/// Returns the share of `years` years in which the drives that are down together, at one moment, lose
/// something, by failures that are drawn one after the other.
pub fn years_with_loss(
    drives: usize,
    (failures_per_year, repair_years): (f64, f64),
    years: usize,
    loses: impl Fn(&[bool]) -> bool,
) -> f64 {
    let mut random = fastrand::Rng::with_seed(0x5e7);
    let mut wait = || -(1.0 - random.f64()).ln() / failures_per_year;
    let mut fails: Vec<f64> = (0..drives).map(|_| wait()).collect();
    let mut back = vec![0.0; drives];
    let mut lost = BTreeSet::new();
    loop {
        let (drive, &now) = fails.iter().enumerate().min_by(|a, b| a.1.total_cmp(b.1)).unwrap();
        if now >= years as f64 {
            return lost.len() as f64 / years as f64;
        }
        back[drive] = now + repair_years;
        fails[drive] = back[drive] + wait();
        let down: Vec<bool> = back.iter().map(|back| *back > now).collect();
        if loses(&down) {
            lost.insert(now as usize);
        }
    }
}

pub fn constants() -> Constants {
    let constant = |value| Constant { value, source: Source::Assumption { why: "a test".into() } };
    Constants {
        schema: SCHEMA.into(),
        version: VERSION,
        created_unix_ms: 0,
        fingerprint: BTreeMap::new(),
        index_bytes_per_object: constant(75.0),
        index_bytes_per_key_byte: constant(1.35),
        checkpoint_share_of_index: constant(0.7),
        put_cpu_us: constant(40.0),
        put_cpu_us_per_mib: constant(2_000.0),
        put_large_cpu_us: constant(40.0),
        put_large_cpu_us_per_mib: constant(2_000.0),
        get_cpu_us: constant(20.0),
        get_cpu_us_per_mib: constant(300.0),
        get_large_cpu_us: constant(20.0),
        get_large_cpu_us_per_mib: constant(300.0),
        get_cached_cpu_us: constant(10.0),
        head_cpu_us: constant(10.0),
        delete_cpu_us: constant(25.0),
        commit_cpu_us: constant(80.0),
        commit_us: constant(1_000.0),
        commit_busy_us: constant(1_500.0),
        list_cpu_us: constant(100.0),
        list_cpu_us_per_key: constant(2.0),
        slice_alignment_factor: constant(1.0),
        slice_tail_gaps_share: constant(0.15),
        log_bytes_factor: constant(1.0),
        moved_bytes_factor: constant(1.0),
        clean_cpu_us_per_mib: constant(500.0),
    }
}
