//! This module lists fio's keys that have no effect here: what they ask for is always the case, or
//! they tune fio itself.
//!
//! Invariant: a key or value is listed here only if ignoring it cannot change what is measured;
//! other values of the same key are refused. Keys that tune fio itself are reported in one line.

use super::{Key, Kind};

const fn inert(
    name: &'static str,
    values: &'static [&'static str],
    example: &'static str,
    why: &'static str,
) -> Key {
    Key::new(name, Kind::Inert(values), example, why).default("")
}

const fn tuning(
    name: &'static str,
    values: &'static [&'static str],
    example: &'static str,
    why: &'static str,
) -> Key {
    Key::new(name, Kind::Tuning(values), example, why).default("")
}

#[rustfmt::skip]
pub const KEYS: &[Key] = &[
    inert("thread", &[], "thread", "jobs are threads always"),
    inert("clocksource", &["clock_gettime"], "clocksource=clock_gettime", "the monotonic clock is used"),
    inert("stats", &["1"], "stats=1", "results are reported"),
    inert("unified_rw_reporting", &["0", "none"], "unified_rw_reporting=none", "directions are reported apart"),
    inert("significant_figures", &["4"], "significant_figures=4", "numbers have four figures in text"),
    inert("error_dump", &["0"], "error_dump=0", "the first error is reported"),
    inert("allrandrepeat", &[], "allrandrepeat=1", "all of a job's random numbers follow randseed"),
    inert("file_service_type", &["roundrobin"], "file_service_type=roundrobin", "files are taken in turn"),
    inert("openfiles", &["0"], "openfiles=0", "all files of a job are open"),
    inert("lockfile", &["none"], "lockfile=none", "files are not locked"),
    inert("create_serialize", &[], "create_serialize=1", "files are laid out before the clock starts"),
    inert("create_on_open", &["0"], "create_on_open=0", "files are laid out before the clock starts"),
    inert("allow_file_create", &["1"], "allow_file_create=1", "files that are missing are made"),
    inert("rate_ignore_thinktime", &["0"], "rate_ignore_thinktime=0", "a rate is not made up after a pause"),
    inert("nonvectored", &["1"], "nonvectored=1", "operations have one buffer"),
    inert("verify_state_save", &["0"], "verify_state_save=0", "no state of verification is kept"),
    inert("verify_dump", &["0"], "verify_dump=0", "blocks that are wrong are counted and named, not stored"),
    inert("random_generator", &["tausworthe", "tausworthe64", "lfsr"], "random_generator=tausworthe64",
        "offsets are pseudo-random, and with the random map each comes once"),
    inert("softrandommap", &[], "softrandommap=1", "the random map of one block size takes no memory"),
    inert("zonemode", &["none"], "zonemode=none", "drives have no zones"),
    inert("hipri", &["0"], "hipri=0", "completions come by interrupt"),
    inert("sqthread_poll", &["0"], "sqthread_poll=0", "the job's own thread hands operations over"),
    inert("nowait", &["0"], "nowait=0", "an operation that has to wait waits"),
    inert("atomic", &["0"], "atomic=0", "writes are as atomic as the drive makes them"),
    inert("allow_mounted_write", &["0"], "allow_mounted_write=0",
        "a mounted device is not written without --allow-overwrite"),
    inert("create_fsync", &["1"], "create_fsync=1", "files that were laid out are flushed"),
    inert("create_only", &["0"], "create_only=0", "a job runs"),
    inert("pre_read", &["0"], "pre_read=0", "files are not read before"),
    inert("serialize_overlap", &["0"], "serialize_overlap=0", "operations that overlap run at the same time"),
    inert("verify_only", &["0"], "verify_only=0", "a job does what rw says"),
    inert("exitall", &["0"], "exitall=0", "jobs end by themselves"),
    inert("rw_sequencer", &["sequential"], "rw_sequencer=sequential", "sequential loads are strictly sequential"),
    tuning("gtod_reduce", &["0", "1"], "gtod_reduce=1", "every latency is measured, at no cost that could be seen"),
    tuning("disable_lat", &["0", "1"], "disable_lat=1", "every latency is measured"),
    tuning("disable_clat", &["0", "1"], "disable_clat=1", "every latency is measured"),
    tuning("disable_slat", &["0", "1"], "disable_slat=1", "every latency is measured"),
    tuning("disable_bw_measurement", &["0", "1"], "disable_bw=1", "bandwidth is sampled").aliases(&["disable_bw"]),
    tuning("clat_percentiles", &["0", "1"], "clat_percentiles=1", "completion latencies have percentiles"),
    tuning("disk_util", &["0", "1"], "disk_util=0", "counters of the devices are reported"),
    tuning("unit_base", &["0", "8"], "unit_base=0", "bandwidth is shown in bytes"),
    tuning("iomem_align", &[], "iomem_align=4096", "buffers begin at pages").aliases(&["mem_align"]),
    tuning("registerfiles", &[], "registerfiles", "files are registered with the ring"),
    tuning("scramble_buffers", &["0", "1"], "scramble_buffers=1",
        "written content is random; refill_buffers makes it new for each write"),
    tuning("bwavgtime", &[], "bwavgtime=500", "bandwidth has one sample a second"),
    tuning("iopsavgtime", &[], "iopsavgtime=500", "IOPS have one sample a second"),
    tuning("log_entries", &[], "log_entries=1024", "logs grow as they need"),
    tuning("rwmixcycle", &[], "rwmixcycle=10", "shares of a mix hold over every hundred operations"),
    tuning("userspace_reap", &[], "userspace_reap", "completions are taken from the ring without a call"),
];
