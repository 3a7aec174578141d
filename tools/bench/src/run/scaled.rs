//! Job files as the public writes them, with less to do: for tests, and to lay them beside fio, which the
//! program `public_jobs` of benches/ does: it has this file too, and the library of neither.
//!
//! Invariant: only sizes, times, numbers of threads and places change; what a job asks for otherwise stays.

use std::path::Path;

/// How much is left of a public job, and where it runs.
#[derive(Clone, Copy, Debug)]
pub struct Scale<'a> {
    /// What `/mnt/data` stands for.
    pub directory: &'a Path,
    /// What `/dev/nvme1n1` stands for.
    pub drive: &'a Path,
    /// In place of `size` and `offset_increment`: of jobs with blocks of up to 1 MiB, and of others.
    pub sizes: [&'a str; 2],
    pub threads_max: u32,
    pub runtime: &'a str,
    pub ramp: &'a str,
}

/// A job file with less to do.
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
