//! This module resolves directions, blocks, depth, rates, flushes, contents and logs.

use super::fields::Fields;
use crate::job::values;
use crate::spec::{
    Batches, BlockSize, ByDirection, Checksum, Direction, Distribution, Durable, Job, LatencyTarget, Logs,
    MorePercentiles, RateProcess, Verify,
};

/// The default seed is constant, so that each run has the same random numbers.
pub const SEED_DEFAULT: u64 = 0x7269_6e67_626f_6c74;
pub const PERCENTILES_DEFAULT: [f64; 17] =
    [1.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.95, 99.99];
const DEPTH_MAX: u32 = 32_768;

/// Sets the fields of a job's load.
pub fn fill(job: &mut Job, fields: &Fields<'_>) {
    if let Some(pattern) = fields.special("rw", values::pattern) {
        job.pattern = pattern;
    }
    job.block = blocks(fields);
    job.depth = fields.small("iodepth", 1..=DEPTH_MAX).unwrap_or(1);
    batches(job, fields);
    job.read_percent = read_percent(fields);
    places(job, fields);
    rates(job, fields);
    job.latency_target = latency_target(fields);
    contents(job, fields);
    results(job, fields);
}

/// Sets how many operations are submitted and reaped at a time.
fn batches(job: &mut Job, fields: &Fields<'_>) {
    let depth = job.depth;
    job.batches = Batches {
        most: fields
            .small("iodepth_batch", 0..=DEPTH_MAX)
            .map(|batch| if batch == 0 { depth } else { batch }),
        complete_min: fields.small("iodepth_batch_complete_min", 0..=DEPTH_MAX).unwrap_or(1),
        complete_max: fields.small("iodepth_batch_complete_max", 1..=DEPTH_MAX),
        depth_low: fields.small("iodepth_low", 0..=DEPTH_MAX).filter(|low| (1..depth).contains(low)),
    };
}

/// Returns the block sizes: `bssplit` overrides `bsrange`, which overrides `bs`.
fn blocks(fields: &Fields<'_>) -> ByDirection<BlockSize> {
    let units = &fields.units;
    let default = ByDirection::same(BlockSize::Fixed(4096));
    let fixed = fields.special("bs", |text| {
        values::by_direction(text, &default, |part| values::block_size(part, units).map(BlockSize::Fixed))
    });
    let below = fixed.unwrap_or(default);
    let range = fields.special("bsrange", |text| {
        values::by_direction(&text.replace('/', ","), &below, |part| values::block_range(part, units))
    });
    let below = range.unwrap_or(below);
    let split = fields.special("bssplit", |text| values::block_splits(text, &below, units));
    split.unwrap_or(below)
}

fn read_percent(fields: &Fields<'_>) -> u32 {
    let read = fields.small("rwmixread", 0..=100).unwrap_or(50);
    let write = fields.small("rwmixwrite", 0..=100).unwrap_or(50);
    match (fields.has("rwmixread"), fields.has("rwmixwrite")) {
        (true, true) if read + write != 100 => {
            let sum = read + write;
            let reason = format!("rwmixread={read} and rwmixwrite={write} add up to {sum}, not 100");
            fields.refuse(&["rwmixread", "rwmixwrite"], reason);
            read
        }
        (true, _) => read,
        (false, _) => 100 - write,
    }
}

fn places(job: &mut Job, fields: &Fields<'_>) {
    if let Some(distribution) = fields.special("random_distribution", values::distributions) {
        job.distribution = distribution;
    }
    let even = ByDirection::same(Distribution::Even);
    job.random_percent = random_percent(fields);
    // As in fio, a skewed distribution visits some places twice before it visited all once.
    job.norandommap = fields.flag("norandommap")
        || job.distribution != even
        || Direction::ALL.iter().any(|of| *job.random_percent.get(*of) < 100);
    job.seed = match fields.number("randseed", 0..=u64::MAX) {
        Some(seed) => seed,
        None if fields.bool("randrepeat") == Some(false) => random_seed(fields),
        None => SEED_DEFAULT,
    };
}

/// Returns the percentage of random places, from `percentage_random` or its opposite.
fn random_percent(fields: &Fields<'_>) -> ByDirection<u32> {
    let all = ByDirection::same(100);
    let percent = |text: &str| match text.parse() {
        Ok(percent @ 0..=100) => Ok(percent),
        _ => Err(format!("{text:?} is no whole number from 0 to 100")),
    };
    let random = fields.special("percentage_random", |text| values::by_direction(text, &all, percent));
    let sequential = fields.special("percentage_sequential", |text| {
        values::by_direction(text, &all, |part| percent(part).map(|percent| 100 - percent))
    });
    if fields.has("percentage_random") && fields.has("percentage_sequential") && random != sequential {
        let reason = "percentage_random and percentage_sequential do not add up to 100: leave one out";
        fields.refuse(&["percentage_random", "percentage_sequential"], reason);
    }
    random.or(sequential).unwrap_or(all)
}

fn random_seed(fields: &Fields<'_>) -> u64 {
    getrandom::u64().unwrap_or_else(|error| {
        let reason = format!("the system gives no random number: {error}; give randseed");
        fields.refuse(&["randrepeat"], reason);
        SEED_DEFAULT
    })
}

fn rates(job: &mut Job, fields: &Fields<'_>) {
    let none = ByDirection::same(None);
    let parse = |text: &str| {
        values::by_direction(text, &none, |part| Ok(Some(fields.units.size(part)?).filter(|rate| *rate > 0)))
    };
    job.rate = fields.special("rate", parse).unwrap_or_default();
    job.rate_iops = fields.special("rate_iops", parse).unwrap_or_default();
    let process = fields.special("rate_process", |text| match text {
        "linear" => Ok(RateProcess::Linear),
        "poisson" => Ok(RateProcess::Poisson),
        _ => Err("write linear or poisson".to_owned()),
    });
    job.rate_process = process.unwrap_or(RateProcess::Linear);
    job.think_ns = fields.time("thinktime").unwrap_or(0);
    job.think_spin_ns = fields.time("thinktime_spin").unwrap_or(0);
    if job.think_spin_ns > job.think_ns {
        let reason = "thinktime_spin is a part of thinktime: give a thinktime of at least as much";
        fields.refuse(&["thinktime", "thinktime_spin"], reason);
    }
    job.think_blocks = fields.number("thinktime_blocks", 1..=u64::MAX).unwrap_or(1);
}

fn latency_target(fields: &Fields<'_>) -> Option<LatencyTarget> {
    let target_ns = fields.time("latency_target").filter(|nanoseconds| *nanoseconds > 0);
    let window_ns = fields.time("latency_window").filter(|nanoseconds| *nanoseconds > 0);
    let percentile = fields.special("latency_percentile", values::percent);
    let (key, reason) = match (target_ns, window_ns) {
        (Some(target_ns), Some(window_ns)) => {
            return Some(LatencyTarget { target_ns, window_ns, percentile: percentile.unwrap_or(100.0) });
        }
        (Some(_), None) => (
            "latency_target",
            "latency_target needs latency_window: how long each depth is tried, as in latency_window=1s",
        ),
        (None, Some(_)) => ("latency_window", "latency_window needs latency_target: say what to hold"),
        (None, None) if percentile.is_some() => {
            ("latency_percentile", "latency_percentile needs latency_target: say what to hold")
        }
        (None, None) => return None,
    };
    fields.refuse(&["latency_target", "latency_window", key], reason);
    None
}

fn contents(job: &mut Job, fields: &Fields<'_>) {
    job.fsync = fields.number("fsync", 0..=u64::MAX).unwrap_or(0);
    job.fdatasync = fields.number("fdatasync", 0..=u64::MAX).unwrap_or(0);
    job.end_fsync = fields.flag("end_fsync");
    let durable = fields.special("sync", |text| match text {
        "none" | "0" => Ok(Durable::No),
        "dsync" => Ok(Durable::Data),
        "sync" | "1" => Ok(Durable::All),
        _ => Err("write none, dsync or sync".to_owned()),
    });
    job.durable = durable.unwrap_or(Durable::No);
    let verify = fields.special("verify", |text| match text {
        "crc32c" | "crc32c-intel" => Ok(Some((Checksum::Crc32c, false))),
        "sha256" => Ok(Some((Checksum::Sha256, false))),
        "pattern" => Ok(Some((Checksum::Crc32c, true))),
        "0" | "none" => Ok(None),
        _ => Err("known to fio or not, crc32c and pattern are built here, and sha256 for objects".to_owned()),
    });
    let verify_pattern = fields.special("verify_pattern", values::byte_pattern);
    let buffer_pattern = fields.special("buffer_pattern", values::byte_pattern);
    // As in fio, a verify pattern alone asks for verification by that pattern.
    let by_default = verify_pattern.is_some().then_some((Checksum::Crc32c, true));
    let (checksum, by_pattern) = match verify.unwrap_or(by_default) {
        Some((checksum, by_pattern)) => (Some(checksum), by_pattern),
        None => (None, false),
    };
    job.byte_pattern = verify_pattern.or(buffer_pattern).unwrap_or_default();
    if by_pattern && job.byte_pattern.is_empty() {
        let reason = "verify=pattern needs verify_pattern: say which bytes, as in verify_pattern=0xdeadbeef";
        fields.refuse(&["verify_pattern", "buffer_pattern", "verify"], reason);
    }
    let read_back = fields.bool("do_verify").unwrap_or(true);
    let fatal = fields.flag("verify_fatal");
    job.verify = checksum.map(|_| Verify { read_back, fatal, by_pattern });
    job.checksum = checksum.unwrap_or_default();
    job.refill_buffers = fields.flag("refill_buffers");
    job.zero_buffers = fields.flag("zero_buffers");
    job.compress_percent = fields.small("buffer_compress_percentage", 0..=100).unwrap_or(0);
}

fn results(job: &mut Job, fields: &Fields<'_>) {
    if let Some(percentiles) = fields.special("percentile_list", values::percentiles) {
        job.percentiles = percentiles;
    }
    job.more_percentiles = MorePercentiles {
        total: fields.flag("lat_percentiles"),
        submission: fields.flag("slat_percentiles"),
    };
    job.logs = Logs {
        bandwidth: fields.text_or_name("write_bw_log"),
        latency: fields.text_or_name("write_lat_log"),
        iops: fields.text_or_name("write_iops_log"),
        average_ms: fields.time("log_avg_msec").unwrap_or(0) / 1_000_000,
        in_one_file: !fields.bool("per_job_logs").unwrap_or(true),
        with_offset: fields.flag("log_offset"),
    };
    job.continue_on_error = fields.special("continue_on_error", values::error_kinds).unwrap_or_default();
}
