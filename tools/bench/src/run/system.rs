//! This module uses the system's interfaces for threads and drives: cores, CPU time, block device
//! counters.

use crate::result::{DiskUsage, Usage};
use crate::spec::Job;
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::unistd::Pid;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Returns the cores that a job may run on; `None` means any.
///
/// # Errors
/// Fails when a NUMA node does not exist.
pub fn cores_of(job: &Job) -> Result<Option<Vec<usize>>, String> {
    let mut cores = job.cpus.clone();
    for node in &job.numa_nodes {
        let path = format!("/sys/devices/system/node/node{node}/cpulist");
        let text = fs::read_to_string(&path).map_err(|error| {
            format!("numa_cpu_nodes={node}: there is no such node on this machine ({path}: {error})")
        })?;
        cores.extend(parse_list(text.trim()));
    }
    cores.sort_unstable();
    cores.dedup();
    Ok((!cores.is_empty()).then_some(cores))
}

/// Parses a list such as `0-3,8`.
fn parse_list(text: &str) -> Vec<usize> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<usize>().ok()?..=last.parse::<usize>().ok()?)
    };
    text.split(',').filter_map(range).flatten().collect()
}

/// Pins the calling thread to `cores`, and makes its timers exact.
///
/// # Errors
/// Fails when the machine has no such core.
pub fn settle(cores: Option<&[usize]>) -> Result<(), String> {
    // An open loop starts its operations by timers; by default, each timer may be 50 us late.
    nix::sys::prctl::set_timerslack(1).ok();
    let Some(cores) = cores else { return Ok(()) };
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core).map_err(|error| format!("cpus_allowed: core {core}: {error}"))?;
    }
    sched_setaffinity(Pid::from_raw(0), &set)
        .map_err(|error| format!("cpus_allowed={cores:?}: {error}; see /sys/devices/system/cpu/online"))
}

/// Returns the CPU time and events of the calling thread so far.
pub fn thread_usage() -> Usage {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_THREAD) else { return Usage::default() };
    let count = |value: i64| u64::try_from(value).unwrap_or(0);
    Usage {
        user_ns: count(usage.user_time().num_nanoseconds()),
        system_ns: count(usage.system_time().num_nanoseconds()),
        context_switches: count(usage.voluntary_context_switches() + usage.involuntary_context_switches()),
        major_faults: count(usage.major_page_faults()),
        minor_faults: count(usage.minor_page_faults()),
        wall_ns: 0,
    }
}

/// Returns what the calling thread has used since `before`.
pub fn usage_since(before: &Usage, wall_ns: u64) -> Usage {
    let now = thread_usage();
    Usage {
        user_ns: now.user_ns.saturating_sub(before.user_ns),
        system_ns: now.system_ns.saturating_sub(before.system_ns),
        context_switches: now.context_switches.saturating_sub(before.context_switches),
        major_faults: now.major_faults.saturating_sub(before.major_faults),
        minor_faults: now.minor_faults.saturating_sub(before.minor_faults),
        wall_ns,
    }
}

/// Holds the counters of the block devices below a set of files.
#[derive(Debug, Default)]
pub struct Disks(BTreeMap<String, [u64; 11]>);

impl Disks {
    /// Reads the counters of the devices that contain, or are, these files; a file that does not
    /// exist yet counts with its directory.
    pub fn below(paths: &[PathBuf]) -> Self {
        let devices = paths.iter().filter_map(|path| device_of(path));
        Self(devices.filter_map(|name| Some((name.clone(), counters(&name)?))).collect())
    }

    /// Returns the difference of the counters since then, over `elapsed_ns`.
    pub fn since(&self, elapsed_ns: u64) -> Vec<DiskUsage> {
        let usage = |(name, before): (&String, &[u64; 11])| {
            Some(usage_between(name, before, &counters(name)?, elapsed_ns))
        };
        self.0.iter().filter_map(usage).collect()
    }
}

/// Computes the usage from the counters of the kernel (Documentation/block/stat.rst).
fn usage_between(name: &str, before: &[u64; 11], now: &[u64; 11], elapsed_ns: u64) -> DiskUsage {
    let field = |at: usize| now[at].wrapping_sub(before[at]);
    DiskUsage {
        name: name.to_owned(),
        ios: [field(0), field(4)],
        sectors: [field(2), field(6)],
        merges: [field(1), field(5)],
        ticks_ms: [field(3), field(7)],
        in_queue_ms: field(10),
        utilisation_percent: (field(9) as f64 * 1e8 / elapsed_ns.max(1) as f64).min(100.0),
    }
}

/// Returns the name of the whole device below a path.
fn device_of(path: &Path) -> Option<String> {
    let there = path.ancestors().find_map(|path| {
        fs::metadata(if path.as_os_str().is_empty() { Path::new(".") } else { path }).ok()
    })?;
    let number = if there.file_type().is_block_device() { there.rdev() } else { there.dev() };
    let (major, minor) = (nix::sys::stat::major(number), nix::sys::stat::minor(number));
    let link = fs::canonicalize(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    let whole = if link.join("partition").exists() { link.parent()? } else { &link };
    Some(whole.file_name()?.to_str()?.to_owned())
}

fn counters(name: &str) -> Option<[u64; 11]> {
    let text = fs::read_to_string(format!("/sys/block/{name}/stat")).ok()?;
    let mut fields = text.split_whitespace().map(str::parse);
    let mut counters = [0; 11];
    for counter in &mut counters {
        *counter = fields.next()?.ok()?;
    }
    Some(counters)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cores_are_read() {
        assert_eq!(parse_list("0-2,5,7-8"), [0, 1, 2, 5, 7, 8]);
        assert!(parse_list("").is_empty());
    }

    #[test]
    fn counters_of_a_drive_are_taken_for_what_they_are() {
        // The fields are: reads, merged, sectors, ms; the same of writes; in flight, busy ms,
        // waited ms.
        let now = [11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21];
        let usage = usage_between("vda", &[10, 10, 10, 10, 10, 10, 10, 10, 10, 10, 10], &now, 100_000_000);
        assert_eq!((usage.ios, usage.merges, usage.sectors), ([1, 5], [2, 6], [3, 7]));
        assert_eq!((usage.ticks_ms, usage.in_queue_ms, usage.utilisation_percent), ([4, 8], 11, 10.0));
    }

    #[test]
    fn usage_grows_with_work() {
        let before = thread_usage();
        let mut state = 1u64;
        while usage_since(&before, 0).user_ns < 5_000_000 {
            state = std::hint::black_box((0..10_000).fold(state, |state, step| state.wrapping_mul(3) ^ step));
        }
        assert!(thread_usage().user_ns > before.user_ns);
    }
}
