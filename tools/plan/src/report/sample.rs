//! This module generates plans for the tests of the reports. They are invented, but shaped like
//! plans, and the same each time.
//!
//! Invariant: what must add up does: shares sum to 1, months follow one another, and the
//! amplification is the sum of its parts.

use crate::constants::{Constant, Source};
use crate::hardware::{Cost, DriveSpeed, Drives, Hardware, Limits, Node, Redundancy};
use crate::live::node::{Difference, DifferenceLine, LiveNode};
use crate::month::Month;
use crate::result::{
    ClassLayout, Constraint, CostPlan, Durability, Endurance, Fill, FillMonth, Layout, MonthPlan, Needed,
    NodeCapacity, Plan, SCHEMA, Use, VERSION, WhenFull,
};
use crate::sizes::{SizeClass, SizeHistogram};
use crate::workload::{Day, Growth, Horizon, HotSet, Objects, Requests, Workload};
use ringbolt_tool_common::units::DAYS_PER_MONTH;

const CREATED_UNIX_MS: u64 = 1_795_275_389_534;
const NODES: u32 = 4;
const DRIVES: u32 = 8;
const OBJECTS: f64 = 1.2e9;
/// This is what a node can hold at its limit.
const NODE_BYTES: f64 = 4.6e13;
const GROWTH: f64 = 0.06;

/// Returns a plan with two years of growth: 4 nodes limited by capacity become many, and reads come
/// close to their limit.
pub fn plan() -> Plan {
    with_months(24)
}

/// Returns a plan with a horizon of this many months.
pub fn with_months(months: u32) -> Plan {
    let start = start();
    let layout = layout(40);
    let stored = OBJECTS * layout.stored_bytes_per_object;
    Plan {
        schema: SCHEMA.to_owned(),
        version: VERSION,
        created_unix_ms: CREATED_UNIX_MS,
        workload: workload(months),
        hardware: hardware(),
        constants: constants(),
        nodes: NODES,
        months: (0..months).map(|index| month(start.plus(index), index, &layout)).collect(),
        node: NodeCapacity {
            raw_bytes: f64::from(DRIVES) * 7.68e12,
            format_bytes: 1.1e9,
            checkpoint_bytes: 3.2e11,
            held_back_bytes: 4.9e12,
            uneven_bytes: 0.0,
            usable_bytes: 5.6e13,
            usable_once_bytes: Some(5.6e13),
            index_bytes: 2.4e10,
            ram_bytes: 274_877_906_944.0,
        },
        layout,
        fill: fill(start, months, stored),
        endurance: endurance(),
        durability: Durability {
            model: "Drives fail independently of one another at a constant rate; no loss by software, fire or people \
                    is counted."
                .to_owned(),
            drives: NODES * DRIVES,
            groups: None,
            rebuild_read_bytes: None,
            rebuild_written_bytes: None,
            drive_failures_per_year: 0.256,
            rebuild_hours: None,
            rebuild_bound_by: "without redundancy there is nothing to rebuild from".to_owned(),
            data_loss_probability_per_year: 0.226,
            bytes_lost_per_loss: 4.1e12,
        },
        cost: CostPlan {
            purchase: 61_600.0,
            power_per_month: 412.0,
            per_month: 1_438.7,
            per_usable_tb_month: Some(7.55),
            per_stored_tb_month: Some(10.9),
            per_million_requests: Some(0.081),
            watts_per_usable_tb: Some(12.4),
        },
        notes: vec![
            "The sizes are an example, not measured.".to_owned(),
            "CPU was measured on another kind of machine than the hardware file describes: expect the same order of \
             magnitude, not the same figure."
                .to_owned(),
        ],
    }
}

fn start() -> Month {
    Month::of_unix_s(CREATED_UNIX_MS / 1000).plus(1)
}

fn month(month: Month, index: u32, layout: &Layout) -> MonthPlan {
    let growth = (1.0 + GROWTH).powi(index as i32);
    let objects = OBJECTS * growth;
    let stored_bytes = objects * layout.stored_bytes_per_object;
    let share = [
        stored_bytes / NODE_BYTES,
        1.5 * growth.powf(1.2),
        0.9 * growth,
        1.0,
        0.7 * growth,
        1.4 * growth,
        0.6,
    ];
    let uses: Vec<Use> =
        Constraint::ALL.into_iter().zip(share).map(|(constraint, nodes)| used(constraint, nodes)).collect();
    let most = uses.iter().max_by(|left, right| left.use_of_limit.total_cmp(&right.use_of_limit)).unwrap();
    let needed = |more: u32| Needed {
        nodes: most.nodes + more,
        drives: (most.nodes + more) * DRIVES,
        binding: most.constraint,
    };
    MonthPlan {
        month,
        objects,
        logical_bytes: objects * layout.logical_bytes_per_object,
        stored_bytes,
        peak_put_per_s: 2_100.0 * growth,
        peak_get_per_s: 14_000.0 * growth,
        needed: needed(0),
        needed_with_one_down: needed(1),
        nodes_p5: most.nodes - most.nodes / 8,
        nodes_p50: most.nodes,
        nodes_p95: most.nodes + most.nodes / 4,
        uses,
    }
}

fn used(constraint: Constraint, nodes: f64) -> Use {
    Use {
        constraint,
        use_of_limit: nodes / f64::from(NODES),
        use_of_limit_with_one_down: nodes / f64::from(NODES - 1),
        nodes: nodes.ceil() as u32,
    }
}

/// Returns this many classes from 1 byte to 4 GiB.
pub fn classes(number: u32) -> Vec<ClassLayout> {
    let edge = |index: u32| 2_f64.powf(32.0 * f64::from(index) / f64::from(number)) as u64;
    let mut classes = Vec::new();
    let mut lower_bytes = 1;
    for index in 1..=number {
        let upper_bytes = edge(index).max(lower_bytes);
        let logical = (lower_bytes as f64 + upper_bytes as f64) / 2.0;
        let stored = (logical + 96.0).max(512.0).mul_add(1.002, 0.0);
        let distance = (logical.ln() - 11.0) / 3.0;
        classes.push(ClassLayout {
            lower_bytes,
            upper_bytes,
            objects_share: (-distance * distance / 2.0).exp(),
            logical_share: 0.0,
            logical_bytes_per_object: logical,
            stored_bytes_per_object: stored,
            redundant_bytes_per_object: Some(stored),
            redundant_bytes_per_logical_byte: None,
            waste_share: 1.0 - logical / stored,
        });
        lower_bytes = upper_bytes + 1;
    }
    let objects: f64 = classes.iter().map(|class| class.objects_share).sum();
    classes.iter_mut().for_each(|class| class.objects_share /= objects);
    let bytes: f64 = classes.iter().map(|class| class.objects_share * class.logical_bytes_per_object).sum();
    for class in &mut classes {
        class.logical_share = class.objects_share * class.logical_bytes_per_object / bytes;
    }
    classes
}

/// Returns a layout of this many classes.
pub fn layout(number: u32) -> Layout {
    let classes = classes(number);
    let mean =
        |of: fn(&ClassLayout) -> f64| classes.iter().map(|class| class.objects_share * of(class)).sum();
    let logical_bytes_per_object: f64 = mean(|class| class.logical_bytes_per_object);
    let stored_bytes_per_object: f64 = mean(|class| class.stored_bytes_per_object);
    // Objects are much smaller than in the classes, so that the months need only a few nodes.
    Layout {
        logical_bytes_per_object: logical_bytes_per_object / 60.0,
        stored_bytes_per_object: stored_bytes_per_object / 60.0,
        redundant_bytes_per_object: Some(stored_bytes_per_object / 60.0),
        redundant_bytes_per_logical_byte: None,
        counted_bytes_per_object: None,
        waste_share: 1.0 - logical_bytes_per_object / stored_bytes_per_object,
        index_bytes_per_object: 78.4,
        classes,
    }
}

fn fill(start: Month, months: u32, stored: f64) -> Fill {
    let fill = |index: u32, growth: f64| {
        stored * (1.0 + growth).powi(index as i32) / (f64::from(NODES) * NODE_BYTES)
    };
    let of_month = |index: u32| FillMonth {
        month: start.plus(index),
        fill_p5: fill(index, GROWTH - 0.02),
        fill_p50: fill(index, GROWTH),
        fill_p95: fill(index, GROWTH + 0.02),
    };
    let days = |level: f64, growth: f64| {
        let month = (level / fill(0, 0.0)).ln() / (1.0 + growth).ln();
        (month <= f64::from(months)).then(|| month.max(0.0) * DAYS_PER_MONTH)
    };
    let when = |level: f64| WhenFull {
        days_p5: days(level, GROWTH + 0.02),
        days_p50: days(level, GROWTH),
        days_p95: days(level, GROWTH - 0.02),
        share_of_samples: if days(level, GROWTH - 0.02).is_some() { 1.0 } else { 0.83 },
    };
    Fill { months: (0..=months).map(of_month).collect(), at_80_percent: when(0.8), at_100_percent: when(1.0) }
}

fn endurance() -> Endurance {
    Endurance {
        user_bytes_per_day_per_drive: 4.1e11,
        host_bytes_per_day_per_drive: 7.4e11,
        write_amplification: 1.8,
        write_amplification_objects: 1.1,
        write_amplification_cleaner: 0.57,
        write_amplification_checkpoints: 0.12,
        write_amplification_deletes: 0.01,
        log_live_share: 0.74,
        drive_writes_per_day: 0.096,
        life_years: Some(9.6),
    }
}

fn constants() -> std::collections::BTreeMap<String, Constant> {
    let measured = Source::Measured {
        how: "200,000 objects of 4 KiB, difference of resident memory".to_owned(),
        machine: "example: 2 cores, Linux 6.1".to_owned(),
        unix_ms: CREATED_UNIX_MS,
    };
    [
        ("index_bytes_per_object", 58.2, measured.clone()),
        ("put_cpu_us", 31.5, measured),
        (
            "checkpoint_share_of_index",
            0.8,
            Source::Format { what: "entries as they are in memory, packed".to_owned() },
        ),
        (
            "list_cpu_us_per_key",
            1.9,
            Source::Assumption { why: "as measured for a bucket of 10,000 keys".to_owned() },
        ),
        ("drive_read_iops", 9.0e5, Source::Datasheet { of: "example drive".to_owned() }),
    ]
    .into_iter()
    .map(|(name, value, source)| (name.to_owned(), Constant { value, source }))
    .collect()
}

fn workload(months: u32) -> Workload {
    let class = |lower_bytes, upper_bytes, share| SizeClass { lower_bytes, upper_bytes, share };
    let sizes = SizeHistogram::new(vec![class(100, 4096, 0.5), class(4097, 1 << 20, 0.5)]).unwrap();
    Workload {
        name: "photos <of> cats & dogs".to_owned(),
        objects: Objects {
            count: OBJECTS as u64,
            key_bytes: 44.0,
            key_shared_bytes: 30.0,
            metadata_bytes: 64.0,
            sizes,
            sizes_source: "two classes by hand".to_owned(),
            live_bytes_per_object: None,
            part_bytes: None,
        },
        requests: Requests {
            put_per_s: 800.0,
            get_per_s: 5_300.0,
            head_per_s: 120.0,
            list_per_s: 3.0,
            delete_per_s: 90.0,
            overwrite_share: 0.05,
            list_keys: 1000.0,
            range_share: 0.1,
            range_bytes: 65_536,
            puts_in_flight: 64.0,
            gets_by_size: None,
            heads_by_size: None,
            uncertainty: 0.2,
        },
        day: Day { shape: vec![1.0; 24], peak_factor: 2.6 },
        hot_set: HotSet { object_share: 0.1, request_share: 0.8 },
        growth: Growth {
            requests_share_per_month: GROWTH,
            stored_share_per_month: Some(GROWTH),
            uncertainty: 0.01,
        },
        retention_days: None,
        horizon: Horizon { start: start(), months, seed: 7, samples: 2000 },
    }
}

fn hardware() -> Hardware {
    Hardware {
        name: "example: 8 drives a node".to_owned(),
        node: Node {
            count: None,
            cores: 32,
            ram_bytes: 256 << 30,
            nic_bytes_per_s: 3.125e9,
            watts: 280.0,
            price: 6_000.0,
        },
        drives: Drives {
            count: DRIVES,
            size_bytes: 7_680_000_000_000,
            price: 1_175.0,
            watts: 14.0,
            endurance_bytes: Some(1.4e16),
            endurance_used_share: 0.0,
            wanted_life_years: 5.0,
            internal_write_amplification: 1.5,
            annual_failure_rate: 0.008,
            replacement_hours: 24.0,
            rebuild_bytes_per_s: None,
            speed: DriveSpeed {
                read_iops: 9.0e5,
                write_iops: 1.3e5,
                read_bytes_per_s: 6.5e9,
                write_bytes_per_s: 2.9e9,
                source: "datasheet of an example drive".to_owned(),
                profile: None,
            },
        },
        redundancy: Redundancy::SINGLE,
        limits: Limits { capacity: 0.9, drive_iops: 0.7, drive_bandwidth: 0.7, ram: 0.8, cpu: 0.7, nic: 0.7 },
        cost: Cost {
            currency: "EUR".to_owned(),
            years: 5.0,
            price_per_kwh: 0.25,
            power_usage_effectiveness: 1.4,
        },
    }
}

/// Returns a plan of one node without load, which is never full and whose drives last for ever:
/// everything optional is missing.
pub fn idle() -> Plan {
    let mut plan = with_months(1);
    plan.nodes = 1;
    for one in &mut plan.months[0].uses {
        one.use_of_limit_with_one_down = f64::INFINITY;
        one.nodes = 1;
        one.use_of_limit = 0.0;
    }
    let never = WhenFull { days_p5: None, days_p50: None, days_p95: None, share_of_samples: 0.0 };
    plan.fill.at_80_percent = never;
    plan.fill.at_100_percent = never;
    plan.fill.months.iter_mut().for_each(|month| {
        (month.fill_p5, month.fill_p50, month.fill_p95) = (0.0, 0.0, 0.0);
    });
    plan.endurance = Endurance { life_years: None, ..plan.endurance };
    plan.hardware.drives.endurance_bytes = None;
    plan.cost.per_million_requests = None;
    plan.layout = layout(1);
    plan.notes.clear();
    plan
}

/// Returns live figures beside those of the plan; one of them is not known.
pub fn difference() -> Difference {
    let line =
        |name: &str, planned: f64, live: Option<f64>| DifferenceLine { name: name.to_owned(), planned, live };
    Difference {
        live: LiveNode {
            url: "http://127.0.0.1:9001".to_owned(),
            read_unix_ms: CREATED_UNIX_MS,
            seconds: 10.0,
            ..LiveNode::default()
        },
        month: start(),
        lines: vec![
            line("objects", 3.0e8, Some(2.91e8)),
            line("stored_bytes_per_object", 61_234.5, Some(61_300.0)),
            line("write_amplification", 1.8, Some(2.4)),
            line("list_per_s", 0.0, Some(0.5)),
            line("cpu_cores", 3.5, None),
        ],
        notes: vec![
            "The process is younger than a day: <write_amplification> is of a short time.".to_owned(),
        ],
    }
}
