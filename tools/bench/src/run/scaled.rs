//! This module scales public job files down, for tests and for comparisons with fio. The program
//! `public_jobs` of benches/ includes this file; it is in neither library.
//!
//! Invariant: only sizes, times, numbers of threads and paths change; everything else that a job
//! asks for stays.

use std::path::Path;

/// Says how far a public job is scaled down, and where it runs.
#[derive(Clone, Copy, Debug)]
pub struct Scale<'a> {
    /// Replaces `/mnt/data`.
    pub directory: &'a Path,
    /// Replaces `/dev/nvme1n1`.
    pub drive: &'a Path,
    /// Replaces `size` and `offset_increment`: the first in jobs with blocks of 1 MiB, the second
    /// in all others.
    pub sizes: [&'a str; 2],
    pub threads_max: u32,
    pub runtime: &'a str,
    pub ramp: &'a str,
}

/// Returns a job file that does less.
pub fn scaled(text: &str, scale: &Scale<'_>) -> String {
    let lower = text.to_lowercase();
    let has_large_blocks = lower.contains("1m") || lower.contains("1024k");
    let size = scale.sizes[usize::from(!has_large_blocks)];
    let path = |path: &Path| path.display().to_string();
    let line = |line: &str| {
        let (key, value) = line.split_once('=').unwrap_or((line, ""));
        match key {
            "size" | "offset_increment" => format!("{key}={size}"),
            "numjobs" => {
                let threads = value.parse().unwrap_or(1_u32);
                format!("numjobs={}", threads.min(scale.threads_max))
            }
            "runtime" => format!("runtime={}", scale.runtime),
            "ramp_time" => format!("ramp_time={}", scale.ramp),
            "steadystate_ramp_time" => "steadystate_ramp_time=0".to_owned(),
            _ => line
                .replace("/mnt/data", path(scale.directory).trim_end_matches('/'))
                .replace("/dev/nvme1n1", &path(scale.drive)),
        }
    };
    text.lines().map(|text| line(text) + "\n").collect()
}
