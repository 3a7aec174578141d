//! This module defines workload and hardware of the tests: one node with one drive.

use ringbolt_plan::calibrate::engine::IN_FLIGHT;
use ringbolt_plan::calibrate::space::{self, SpaceCosts};
use ringbolt_plan::constants::{Constant, Constants, SCHEMA, Source, VERSION};
use ringbolt_plan::hardware::{Cost, DriveSpeed, Drives, Hardware, Limits, Node, Redundancy};
use ringbolt_plan::sizes::{SizeClass, SizeHistogram};
use ringbolt_plan::workload::{Day, Growth, Horizon, HotSet, Objects, Requests, Workload};
use std::collections::BTreeMap;
use std::sync::OnceLock;

pub const SHARDS: u16 = 4;
pub const KEY_BYTES: usize = 40;
/// Puts come as fast as possible, so that every group commit is full.
pub const PUT_PER_S: f64 = 1e5;

/// Returns sizes of documents, pictures and a few films: most objects are small, most bytes are
/// not.
pub fn mixed_sizes() -> SizeHistogram {
    let class = |lower_bytes, upper_bytes, share| SizeClass { lower_bytes, upper_bytes, share };
    let classes = vec![
        class(200, 1_999, 0.45),
        class(2_000, 7_999, 0.35),
        class(8_000, 65_536, 0.17),
        class(65_537, 199_999, 0.027),
        class(200_000, 2_000_000, 0.003),
    ];
    SizeHistogram::new(classes).expect("classes that do not overlap")
}

/// Returns the sizes without those that are not inline.
pub fn small_sizes() -> SizeHistogram {
    let inline =
        mixed_sizes().classes().iter().copied().filter(|class| class.upper_bytes <= 65_536).collect();
    SizeHistogram::new(inline).expect("classes that do not overlap")
}

pub fn workload(sizes: SizeHistogram, count: u64) -> Workload {
    Workload {
        name: "one node".into(),
        objects: Objects {
            count,
            key_bytes: KEY_BYTES as f64,
            key_shared_bytes: 0.0,
            metadata_bytes: 0.0,
            sizes,
            sizes_source: "this test".into(),
            live_bytes_per_object: None,
            part_bytes: None,
        },
        requests: Requests {
            put_per_s: 0.0,
            get_per_s: 0.0,
            head_per_s: 0.0,
            list_per_s: 0.0,
            delete_per_s: 0.0,
            overwrite_share: 1.0,
            list_keys: 0.0,
            range_share: 0.0,
            range_bytes: 1,
            puts_in_flight: IN_FLIGHT as f64,
            gets_by_size: None,
            heads_by_size: None,
            uncertainty: 0.0,
        },
        day: Day { shape: vec![1.0; 24], peak_factor: 1.0 },
        hot_set: HotSet { object_share: 1.0, request_share: 1.0 },
        growth: Growth { requests_share_per_month: 0.0, stored_share_per_month: None, uncertainty: 0.0 },
        retention_days: None,
        horizon: Horizon { start: "2027-01".parse().expect("a month"), months: 1, seed: 1, samples: 100 },
    }
}

/// Returns hardware with one drive of `drive_bytes`, and two cores, which have [`SHARDS`] shards.
pub fn hardware(drive_bytes: u64) -> Hardware {
    Hardware {
        name: "one node".into(),
        node: Node {
            count: Some(1),
            cores: 2,
            ram_bytes: 8 << 30,
            nic_bytes_per_s: 1e9,
            watts: 0.0,
            price: 0.0,
        },
        drives: Drives {
            count: 1,
            size_bytes: drive_bytes,
            price: 0.0,
            watts: 0.0,
            endurance_bytes: None,
            endurance_used_share: 0.0,
            wanted_life_years: 5.0,
            internal_write_amplification: 1.0,
            annual_failure_rate: 0.0,
            replacement_hours: 24.0,
            rebuild_bytes_per_s: None,
            speed: DriveSpeed {
                read_iops: 1e6,
                write_iops: 1e6,
                read_bytes_per_s: 1e9,
                write_bytes_per_s: 1e9,
                source: "not asked for".into(),
                profile: None,
            },
        },
        redundancy: Redundancy::SINGLE,
        limits: Limits { capacity: 1.0, drive_iops: 1.0, drive_bandwidth: 1.0, ram: 1.0, cpu: 1.0, nic: 1.0 },
        cost: Cost { currency: "-".into(), years: 5.0, price_per_kwh: 0.0, power_usage_effectiveness: 1.0 },
    }
}

/// Returns constants of the index and of space as `calibrate` measures them, without CPU time.
pub fn calibrated() -> Constants {
    static SPACE: OnceLock<SpaceCosts> = OnceLock::new();
    let mut constants = constants();
    let SpaceCosts { large, small } = SPACE.get_or_init(|| {
        let directory = crate::directory();
        space::measure(directory.path(), 0, 1, constants.checkpoint_share_of_index.value).expect("space")
    });
    println!("{large:?}, {small:?}");
    // A measured factor must not hide an error of what is computed.
    for (name, factor, within) in [
        ("alignment", large.alignment, 0.001),
        ("log", small.log, 0.02),
        ("moved by the cleaner", small.cleaner, 0.15),
    ] {
        crate::compare(&format!("{name}, measured over counted"), 1.0, factor, within);
    }
    constants.slice_alignment_factor.value = large.alignment;
    constants.slice_tail_gaps_share.value = large.tail_gaps;
    constants.log_bytes_factor.value = small.log;
    constants.moved_bytes_factor.value = small.cleaner;
    constants
}

/// Returns constants of the index as `calibrate` measures them, space as it is computed, no CPU
/// time, and commits so slow that with [`PUT_PER_S`] there are always puts waiting for them.
pub fn constants() -> Constants {
    let index = ringbolt_plan::calibrate::index::measure(1);
    let constant = |value| Constant { value, source: Source::Format { what: "this test".into() } };
    Constants {
        schema: SCHEMA.into(),
        version: VERSION,
        created_unix_ms: 0,
        fingerprint: BTreeMap::new(),
        index_bytes_per_object: constant(index.bytes_per_object),
        index_bytes_per_key_byte: constant(index.bytes_per_key_byte),
        checkpoint_share_of_index: constant(index.checkpoint_share),
        put_cpu_us: constant(0.0),
        put_cpu_us_per_mib: constant(0.0),
        put_large_cpu_us: constant(0.0),
        put_large_cpu_us_per_mib: constant(0.0),
        get_cpu_us: constant(0.0),
        get_cpu_us_per_mib: constant(0.0),
        get_large_cpu_us: constant(0.0),
        get_large_cpu_us_per_mib: constant(0.0),
        get_cached_cpu_us: constant(0.0),
        head_cpu_us: constant(0.0),
        delete_cpu_us: constant(0.0),
        commit_cpu_us: constant(0.0),
        commit_us: constant(1e4),
        commit_busy_us: constant(1e4),
        list_cpu_us: constant(0.0),
        list_cpu_us_per_key: constant(0.0),
        slice_alignment_factor: constant(1.0),
        slice_tail_gaps_share: constant(0.0),
        log_bytes_factor: constant(1.0),
        moved_bytes_factor: constant(1.0),
        clean_cpu_us_per_mib: constant(0.0),
    }
}
