//! Logs in fio's format: `time ms, value, direction, block size, offset, priority` on each line.
//!
//! Invariants: a file is called `PREFIX_KIND.N.log`, N the number of the job's result in the report, from 1. Values are
//! KiB/s, operations a second, or nanoseconds, by kind; directions are 0 read, 1 write, 2 trim; the priority is
//! always 0, since nothing here has one.

use crate::bench::result::{JobResult, LogEntry, Run};
use crate::bench::spec::Direction;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// A log that could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the log {}: {source}; give write_*_log a path in a directory that can be written", path.display())]
pub struct LogError {
    path: PathBuf,
    source: io::Error,
}

/// Writes the logs that the jobs asked for and gives their paths. A prefix is relative to `directory`.
///
/// # Errors
/// When a file cannot be written; those before it stay.
pub fn write(run: &Run, directory: &Path) -> Result<Vec<PathBuf>, LogError> {
    let mut written = Vec::new();
    for (index, result) in run.jobs.iter().enumerate() {
        for (prefix, kind, entries) in wanted(result) {
            let path = directory.join(format!("{prefix}_{kind}.{}.log", index + 1));
            write_entries(&path, entries).map_err(|source| LogError { path: path.clone(), source })?;
            written.push(path);
        }
    }
    Ok(written)
}

fn wanted(result: &JobResult) -> Vec<(&str, &'static str, &[LogEntry])> {
    let logs = &result.job.logs;
    let mut wanted: Vec<(&str, &'static str, &[LogEntry])> = Vec::new();
    if let Some(prefix) = &logs.bandwidth {
        wanted.push((prefix, "bw", &result.bandwidth_log));
    }
    if let Some(prefix) = &logs.iops {
        wanted.push((prefix, "iops", &result.iops_log));
    }
    if let Some(prefix) = &logs.latency {
        wanted.push((prefix, "slat", &result.slat_log));
        wanted.push((prefix, "clat", &result.clat_log));
        wanted.push((prefix, "lat", &result.lat_log));
    }
    wanted
}

fn write_entries(path: &Path, entries: &[LogEntry]) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for entry in entries {
        let direction = match entry.direction {
            Direction::Read => 0,
            Direction::Write => 1,
            Direction::Trim => 2,
        };
        let LogEntry { at_ms, value, block_bytes, offset, .. } = entry;
        writeln!(file, "{at_ms}, {value}, {direction}, {block_bytes}, {offset}, 0")?;
    }
    file.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::report::sample;
    use crate::bench::spec::Logs;
    use std::fs;

    /// Reads a log as its format is described: six numbers, separated by a comma and a blank.
    fn read_back(path: &Path) -> Vec<[u64; 6]> {
        let text = fs::read_to_string(path).expect("the log");
        let fields = |line: &str| {
            let numbers: Vec<u64> = line.split(", ").map(|field| field.parse().expect("a number")).collect();
            numbers.try_into().expect("six fields")
        };
        text.lines().map(fields).collect()
    }

    #[test]
    fn what_is_written_reads_back() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut run = sample::run();
        let all = Some("trace".to_owned());
        run.jobs[0].job.logs =
            Logs { bandwidth: all.clone(), latency: all.clone(), iops: all.clone(), average_ms: 500 };
        run.jobs[1].job.logs.latency = Some("other".to_owned());
        run.jobs[0].clat_log[3].value += 1;
        let mut names: Vec<String> = write(&run, directory.path())
            .expect("written")
            .iter()
            .map(|path| path.file_name().expect("a name").to_string_lossy().into_owned())
            .collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "other_clat.2.log",
                "other_lat.2.log",
                "other_slat.2.log",
                "trace_bw.1.log",
                "trace_clat.1.log",
                "trace_iops.1.log",
                "trace_lat.1.log",
                "trace_slat.1.log"
            ]
        );
        let read = read_back(&directory.path().join("trace_clat.1.log"));
        let expected: Vec<[u64; 6]> = run.jobs[0]
            .clat_log
            .iter()
            .map(|entry| {
                let direction =
                    Direction::ALL.iter().position(|one| *one == entry.direction).expect("one of all");
                [entry.at_ms, entry.value, direction as u64, entry.block_bytes, entry.offset, 0]
            })
            .collect();
        assert_eq!(read, expected);
        assert_ne!(
            read,
            read_back(&directory.path().join("trace_lat.1.log")),
            "each kind has its own entries"
        );
    }

    #[test]
    fn a_place_that_cannot_be_written_is_named() {
        let mut run = sample::run();
        run.jobs[0].job.logs.iops = Some("no/such/place".to_owned());
        let directory = tempfile::tempdir().expect("a directory");
        let error = write(&run, directory.path()).expect_err("there is no such directory").to_string();
        assert!(error.contains("no/such/place_iops.1.log"), "{error}");
    }
}
