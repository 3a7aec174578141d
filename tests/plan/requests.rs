//! CPU time of a mix of requests.

use crate::compare;
use crate::scenario::{constants, hardware, workload};
use ringbolt_engine::node::sizing;
use ringbolt_tests::binary;
use ringbolt_tools::plan::calibrate::requests::{Measured, Place, measure};
use ringbolt_tools::plan::constants::Constants;
use ringbolt_tools::plan::model::demand::{Draw, demand};
use ringbolt_tools::plan::model::layout::layout;
use ringbolt_tools::plan::model::node::{Fleet, Writes};
use ringbolt_tools::plan::sizes::{SizeClass, SizeHistogram};

const DRIVE_BYTES: u64 = 1 << 30;
const BODY_BYTES: u64 = 4_096;
/// Of 100 requests. No writes: on one core they wait for the drive, so that the core is never busy, and each of them
/// costs more than where it is.
const GETS: f64 = 84.0;
const HEADS: f64 = 14.0;
const LISTS: f64 = 2.0;
/// More than an answer lists.
const OBJECTS: u64 = 2_000;
const LISTED: f64 = 1_000.0;
/// On a machine that does nothing else it is some per cent; other tests beside this one make it much more.
const WITHIN: f64 = 1.0;

#[test]
fn requests_take_the_cpu_time_that_the_plan_says() {
    let directory = tempfile::Builder::new().prefix("plan-").tempdir_in(binary::scratch_dir());
    let directory = directory.expect("a directory");
    let place = Place { server: binary::ringbolt().to_owned(), server_core: 0, client_core: 1, seconds: 2 };
    let costs = measure(&place, directory.path(), DRIVE_BYTES).expect("costs");
    println!("{costs:?}");
    let mut constants: Constants = constants();
    for (constant, value) in [
        (&mut constants.put_cpu_us, costs.put),
        (&mut constants.put_cpu_us_per_mib, costs.put_per_mib),
        (&mut constants.get_cpu_us, costs.get),
        (&mut constants.get_cpu_us_per_mib, costs.get_per_mib),
        (&mut constants.head_cpu_us, costs.head),
        (&mut constants.list_cpu_us, costs.list),
        (&mut constants.list_cpu_us_per_key, costs.list_per_key),
        (&mut constants.delete_cpu_us, costs.delete),
    ] {
        constant.value = value;
    }
    // The server under test has no read cache.
    constants.get_cached_cpu_us.value = costs.get;
    let predicted = predicted_us(&constants);
    let server =
        Measured::start(&place, &directory.path().join("mixed"), DRIVE_BYTES, "off").expect("a server");
    let mix = format!("mixed\nopmix=get/{GETS}:head/{HEADS}:list/{LISTS}");
    let measured = server.cost("mix of requests", &mix, BODY_BYTES, OBJECTS).expect("a cost");
    compare("CPU-bound requests a second of one core", 1e6 / predicted, 1e6 / measured, WITHIN);
}

/// CPU time of the mean request.
fn predicted_us(constants: &Constants) -> f64 {
    let exact = SizeClass { lower_bytes: BODY_BYTES, upper_bytes: BODY_BYTES, share: 1.0 };
    let mut workload = workload(SizeHistogram::new(vec![exact]).expect("one size"), OBJECTS);
    let requests = &mut workload.requests;
    (requests.get_per_s, requests.head_per_s) = (GETS, HEADS);
    (requests.list_per_s, requests.list_keys) = (LISTS, LISTED);
    requests.overwrite_share = 0.0;
    let hardware = hardware(DRIVE_BYTES);
    let (object, _) = layout(&workload, constants);
    let drive = sizing::drive(DRIVE_BYTES, 2);
    let fleet = Fleet { workload: &workload, hardware: &hardware, constants, object, drive };
    let months = demand(&workload, &Draw::MEAN);
    fleet.cpu_us_per_s(&months[0], 1.0, &Writes::default()) / (GETS + HEADS + LISTS)
}
