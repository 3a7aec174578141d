//! fio's keys that change nothing here, because what they ask for is always so.
//!
//! Invariant: a key or value stands here only when ignoring it can not change what is measured; other values of the
//! same key are refused.

use super::{Key, Kind};

const fn inert(
    name: &'static str,
    values: &'static [&'static str],
    example: &'static str,
    why: &'static str,
) -> Key {
    Key::new(name, Kind::Inert(values), example, why).default("")
}

#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    inert("thread", &[], "thread", "jobs are threads always"),
    inert("clocksource", &["clock_gettime"], "clocksource=clock_gettime", "the monotonic clock is used"),
    inert("gtod_reduce", &["0"], "gtod_reduce=0", "every latency is measured"),
    inert("disable_lat", &["0"], "disable_lat=0", "every latency is measured"),
    inert("disable_clat", &["0"], "disable_clat=0", "every latency is measured"),
    inert("disable_slat", &["0"], "disable_slat=0", "every latency is measured"),
    inert("disable_bw_measurement", &["0"], "disable_bw=0", "bandwidth is sampled").aliases(&["disable_bw"]),
    inert("clat_percentiles", &["1"], "clat_percentiles=1", "completion latencies have percentiles"),
    inert("stats", &["1"], "stats=1", "results are reported"),
    inert("disk_util", &["1"], "disk_util=1", "counters of the devices are reported"),
    inert("unified_rw_reporting", &["0", "none"], "unified_rw_reporting=none", "directions are reported apart"),
    inert("significant_figures", &["4"], "significant_figures=4", "numbers have four figures in text"),
    inert("unit_base", &["0"], "unit_base=0", "bandwidth is shown in bytes"),
    inert("error_dump", &["0"], "error_dump=0", "the first error is reported"),
    inert("allrandrepeat", &[], "allrandrepeat=1", "all of a job's random numbers follow randseed"),
    inert("random_generator", &["tausworthe", "tausworthe64"], "random_generator=tausworthe64",
        "offsets are pseudo-random"),
    inert("percentage_random", &["100"], "percentage_random=100", "a random load is all random"),
    inert("file_service_type", &["roundrobin"], "file_service_type=roundrobin", "files are taken in turn"),
    inert("openfiles", &["0"], "openfiles=0", "all files of a job are open"),
    inert("lockfile", &["none"], "lockfile=none", "files are not locked"),
    inert("create_serialize", &[], "create_serialize=1", "files are laid out before the clock starts"),
    inert("create_on_open", &["0"], "create_on_open=0", "files are laid out before the clock starts"),
    inert("allow_file_create", &["1"], "allow_file_create=1", "files that are missing are made"),
    inert("overwrite", &["0"], "overwrite=0", "files to be written are not written before"),
    inert("iodepth_low", &["0"], "iodepth_low=0", "an operation is replaced as soon as it has completed"),
    inert("rate_ignore_thinktime", &["0"], "rate_ignore_thinktime=0", "a rate is not made up after a pause"),
    inert("mem", &["malloc"], "mem=malloc", "buffers are ordinary memory").aliases(&["iomem"]),
    inert("nonvectored", &["1"], "nonvectored=1", "operations have one buffer"),
    inert("verify_state_save", &["0"], "verify_state_save=0", "no state of verification is kept"),
    inert("verify_dump", &["0"], "verify_dump=0", "blocks that are wrong are counted and named, not stored"),
    inert("lat_percentiles", &["0"], "lat_percentiles=0", "percentiles are of completion latencies"),
    inert("slat_percentiles", &["0"], "slat_percentiles=0", "percentiles are of completion latencies"),
];
