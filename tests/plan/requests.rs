//! This module compares the CPU time of a mix of requests.

use crate::scenario::{constants, hardware, workload};
use crate::{agree, compare, directory, own_machine};
use ringbolt_plan::calibrate::SHARDS;
use ringbolt_plan::calibrate::requests::{IN_FLIGHT, Mix, Place, RequestCosts, Turns};
use ringbolt_plan::constants::Constants;
use ringbolt_plan::model::demand::{Draw, demand};
use ringbolt_plan::model::node::{Fleet, Writes};
use ringbolt_plan::sizes::{SizeClass, SizeHistogram};
use ringbolt_tests::binary;

const DRIVE_BYTES: u64 = 1 << 30;
/// Most objects are in the log, the others in slices; the shares are of a hundred objects.
const SIZES: [(u64, u32); 5] = [(1 << 10, 30), (6 << 10, 30), (24 << 10, 25), (56 << 10, 10), (300 << 10, 5)];
/// The rates are out of 200 requests.
const GETS: f64 = 110.0;
const PUTS: f64 = 56.0;
const HEADS: f64 = 33.0;
const LISTS: f64 = 1.0;
/// There are more objects than a response lists.
const OBJECTS: u64 = 2_000;
const LISTED: f64 = 1_000.0;

/// The parts and the mix are measured in turns, a second each, so that other load on the machine
/// affects both; the median of each counts. On a busy host a second may cost twice as much as the
/// next. More turns are taken then until the two agree, or until there are so many that the plan
/// must be wrong.
const TURNS: usize = 5;
const TURNS_MAX: usize = 20;
const WITHIN: f64 = 0.2;

/// The test compares CPU times, which other load on the machine changes: only `tests/long/run` runs
/// it.
#[test]
fn requests_take_the_cpu_time_that_the_plan_says() {
    if std::env::var_os("PLAN_CPU").is_none() {
        println!("left to tests/long/run, which sets PLAN_CPU");
        return;
    }
    let _alone = own_machine();
    let directory = directory();
    let server = binary::ringbolt().to_owned();
    let place = Place { server, server_core: 0, client_core: 1, seconds: 1 };
    let mix = mix();
    let mut turns = Turns::start(&place, directory.path(), DRIVE_BYTES).expect("servers");
    let (mut predicted, mut measured) = (0.0, 0.0);
    for turn in 1..=TURNS_MAX {
        turns.take(Some(&mix)).expect("a turn");
        predicted = predicted_per_s(&with(&turns.costs()));
        measured = 1e6 / turns.mixed_us().expect("a mix");
        println!("{turn} turns: predicted {predicted:.0}, measured {measured:.0} requests a second");
        if turn >= TURNS && agree(predicted, measured, WITHIN) {
            break;
        }
    }
    println!("{:?}", turns.costs());
    compare("CPU-bound requests a second of one core", predicted, measured, WITHIN);
}

fn mix() -> Mix {
    let sizes: Vec<String> = SIZES.iter().map(|(bytes, share)| format!("{bytes}/{share}")).collect();
    let lines =
        format!("mixed\nopmix=get/{GETS}:put/{PUTS}:head/{HEADS}:list/{LISTS}\nbssplit={}", sizes.join(":"));
    let largest = SIZES.iter().map(|(bytes, _)| *bytes).max().expect("a size");
    Mix { lines, body_bytes: largest, objects: OBJECTS }
}

/// Returns constants with the costs of this machine instead of the shipped ones.
fn with(costs: &RequestCosts) -> Constants {
    let mut constants = constants();
    for (constant, value) in [
        (&mut constants.put_cpu_us, costs.put.request),
        (&mut constants.put_cpu_us_per_mib, costs.put.mib),
        (&mut constants.put_large_cpu_us, costs.put_large.request),
        (&mut constants.put_large_cpu_us_per_mib, costs.put_large.mib),
        (&mut constants.get_cpu_us, costs.get.request),
        (&mut constants.get_cpu_us_per_mib, costs.get.mib),
        (&mut constants.get_large_cpu_us, costs.get_large.request),
        (&mut constants.get_large_cpu_us_per_mib, costs.get_large.mib),
        // The server under test has no read cache.
        (&mut constants.get_cached_cpu_us, costs.get.request),
        (&mut constants.head_cpu_us, costs.head),
        (&mut constants.commit_cpu_us, costs.commit),
        (&mut constants.commit_us, costs.commit_time),
        (&mut constants.commit_busy_us, costs.commit_time_busy),
        (&mut constants.list_cpu_us, costs.list),
        (&mut constants.list_cpu_us_per_key, costs.list_per_key),
    ] {
        constant.value = value;
    }
    constants
}

/// Returns the rate of requests that keeps one core busy.
fn predicted_per_s(constants: &Constants) -> f64 {
    let exact = |(bytes, share): (u64, u32)| SizeClass {
        lower_bytes: bytes,
        upper_bytes: bytes,
        share: f64::from(share) / 100.0,
    };
    let sizes = SizeHistogram::new(SIZES.map(exact).to_vec()).expect("sizes");
    let mut workload = workload(sizes, OBJECTS);
    let requests = &mut workload.requests;
    (requests.get_per_s, requests.put_per_s, requests.head_per_s) = (GETS, PUTS, HEADS);
    (requests.list_per_s, requests.list_keys) = (LISTS, LISTED);
    requests.puts_in_flight = IN_FLIGHT as f64;
    let mut hardware = hardware(DRIVE_BYTES);
    hardware.node.cores = 1;
    let (fleet, _) = Fleet::of(&workload, &hardware, constants, u64::from(SHARDS));
    let months = demand(&workload, &Draw::MEAN);
    let busy = |times: f64| fleet.cpu(&months[0], 1.0, &Writes::default(), times);
    // The more puts there are, the fewer commits each of them needs, so the CPU time is not
    // proportional; but it rises.
    let (mut below, mut above) = (0.0, 1e6);
    for _ in 0..100 {
        let middle = (below + above) / 2.0;
        if busy(middle) < 1.0 { below = middle } else { above = middle }
    }
    below * (GETS + PUTS + HEADS + LISTS)
}
