//! This module resolves files, sizes, threads and time.

use super::fields::Fields;
use crate::job::values;
use crate::spec::{Job, Steady, WrittenFiles};
use ringbolt_engine::ring::blocks::BlockMemory;
use std::io::{Seek, SeekFrom};
use std::path::PathBuf;

const FILES_MAX: u32 = 65_536;
const THREADS_MAX: u32 = 4096;
const STEADY_SAMPLES_MAX: u64 = 86_400;

/// Sets the fields of the target and of time.
pub fn fill(job: &mut Job, fields: &Fields<'_>) {
    job.files = fields.special("filename", values::paths).unwrap_or_default();
    job.directory = fields.text("directory").map(PathBuf::from);
    job.nrfiles = fields.small("nrfiles", 1..=FILES_MAX).unwrap_or(1);
    if !job.files.is_empty() {
        job.nrfiles = job.files.len() as u32;
    }
    job.size = size(job, fields);
    job.io_size = fields.size("io_size").filter(|bytes| *bytes > 0);
    let file_size = fields.special("filesize", |text| match text.contains('-') {
        true => fields.units.size_range(text).map(|(least, most)| (least, Some(most))),
        false => fields.units.size(text).map(|bytes| (bytes, None)),
    });
    let (least, most) = file_size.unwrap_or((0, None));
    job.file_size = Some(least).filter(|bytes| *bytes > 0);
    job.file_size_most = most.filter(|most| *most > least && least > 0);
    job.offset = fields.size("offset").unwrap_or(0);
    job.offset_increment = fields.size("offset_increment").unwrap_or(0);
    let reserve = fields.special("fallocate", |text| match text {
        "none" | "truncate" | "0" => Ok(false),
        "posix" | "native" | "keep" | "1" => Ok(true),
        _ => Err("write none, truncate, posix, native or keep".to_owned()),
    });
    job.written_files = match (fields.flag("overwrite"), reserve) {
        (true, _) => WrittenFiles::Written,
        (false, Some(false)) => WrittenFiles::Sparse,
        (false, _) => WrittenFiles::Reserved,
    };
    job.close_fsync = fields.flag("fsync_on_close");
    job.threads = fields.small("numjobs", 1..=THREADS_MAX).unwrap_or(1);
    let direct = fields.bool("direct");
    let buffered = fields.bool("buffered").map(|buffered| !buffered);
    let later = if fields.is_later("buffered", "direct") { buffered } else { direct };
    job.direct = later.unwrap_or(false);
    job.invalidate = fields.bool("invalidate").unwrap_or(true);
    job.fadvise_hint = fields.bool("fadvise_hint").unwrap_or(true);
    job.unlink = fields.flag("unlink");
    let huge_pages = fields.special("mem", values::huge_pages).unwrap_or(false);
    job.memory = BlockMemory { huge_pages, registered: fields.flag("fixedbufs") };
    let policy = fields.special("cpus_allowed_policy", |text| match text {
        "shared" => Ok(false),
        "split" => Ok(true),
        _ => Err("write shared or split".to_owned()),
    });
    job.split_cpus = policy.unwrap_or(false);
    job.cpus = fields.special("cpus_allowed", values::cores).unwrap_or_default();
    job.numa_nodes = fields.special("numa_cpu_nodes", values::nodes).unwrap_or_default();
    time(job, fields);
}

fn time(job: &mut Job, fields: &Fields<'_>) {
    job.runtime_ns = fields.time("runtime").filter(|nanoseconds| *nanoseconds > 0);
    job.time_based = fields.flag("time_based");
    job.ramp_ns = fields.time("ramp_time").unwrap_or(0);
    job.start_delay_ns = fields.time("startdelay").unwrap_or(0);
    job.loops = fields.number("loops", 1..=u64::MAX).unwrap_or(1);
    job.steady = steady(fields);
    job.number_ios = fields.number("number_ios", 1..=u64::MAX);
}

/// Returns the steady-state criterion and its window.
fn steady(fields: &Fields<'_>) -> Option<Steady> {
    const WINDOW_NS: u64 = 30_000_000_000;
    const INTERVAL_NS: u64 = 1_000_000_000;
    let criterion = fields.special("steadystate", values::steady);
    let time = |key: &str, default: u64| fields.time(key).filter(|time| *time > 0).unwrap_or(default);
    let window_ns = time("steadystate_duration", WINDOW_NS);
    let ramp_ns = time("steadystate_ramp_time", 0);
    let interval_ns = time("steadystate_check_interval", INTERVAL_NS);
    let others = ["steadystate_duration", "steadystate_ramp_time", "steadystate_check_interval"];
    let Some((metric, slope, limit, percent)) = criterion else {
        if let Some(key) = others.into_iter().find(|key| fields.has(key)) {
            let reason =
                format!("{key} needs steadystate: say what is to be steady, as in steadystate=iops:2%");
            fields.refuse(&["steadystate", key], reason);
        }
        return None;
    };
    if window_ns < 2 * interval_ns || window_ns / interval_ns > STEADY_SAMPLES_MAX {
        let reason = format!(
            "a window of {} s has to have 2 to {STEADY_SAMPLES_MAX} samples of {} s",
            window_ns as f64 / 1e9,
            interval_ns as f64 / 1e9
        );
        fields.refuse(&others, reason);
    }
    Some(Steady { metric, slope, limit, percent, window_ns, ramp_ns, interval_ns })
}

/// Returns the size in bytes; a percentage is taken of the existing file's size.
fn size(job: &Job, fields: &Fields<'_>) -> Option<u64> {
    let size = fields.special("size", |text| match text.strip_suffix('%') {
        None => fields.units.size(text),
        Some(percent) => {
            let percent: u64 = percent.trim().parse().unwrap_or(0);
            if !(1..=100).contains(&percent) {
                return Err("write 1% to 100%".to_owned());
            }
            Ok(u64::try_from(u128::from(existing_bytes(job)?) * u128::from(percent) / 100)
                .expect("a part of 64 bits"))
        }
    });
    size.filter(|bytes| *bytes > 0)
}

fn existing_bytes(job: &Job) -> Result<u64, String> {
    if job.files.is_empty() {
        return Err("per cent need files or devices that are named and exist: give bytes".to_owned());
    }
    job.paths(0).iter().try_fold(0_u64, |sum, path| {
        // The metadata of a device give the size 0; the end of the device is its size.
        let end = std::fs::File::open(path).and_then(|mut file| file.seek(SeekFrom::End(0)));
        let bytes = end.map_err(|error| {
            format!("per cent of {}, which can not be opened ({error}): give bytes", path.display())
        })?;
        sum.checked_add(bytes).ok_or_else(|| "files of more than 64 bits".to_owned())
    })
}
