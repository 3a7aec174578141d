//! This module writes logs in fio's format: each line is `time ms, value, direction, block size,
//! priority`, as fio 3.33 writes them. With `log_offset=1`, the offset comes before the priority.
//!
//! Invariants: each thread has its own files `PREFIX_KIND.N.log`, where N is its number within the
//! run, from 1. With `per_job_logs=0`, all threads with the same prefix share `PREFIX_KIND.log`,
//! ordered by time. Depending on the kind, values are in KiB/s, operations per second, or
//! nanoseconds. Directions are 0 for read, 1 for write, 2 for trim. A mean of several operations
//! has the block size 0. The priority is always 0, because operations have none here.

use crate::result::{JobResult, LogEntry, Run};
use crate::spec::Direction;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Says which log could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the log {}: {source}; give write_*_log a path in a directory that can be written", path.display())]
pub struct LogError {
    path: PathBuf,
    source: io::Error,
}

/// Holds the entries of one file.
#[derive(Default)]
struct Content<'run> {
    entries: Vec<&'run LogEntry>,
    with_offset: bool,
}

/// Writes the logs that the jobs asked for and returns their paths. A prefix is relative to
/// `directory`.
///
/// # Errors
/// Fails when a file cannot be written; those written before it stay.
pub fn write(run: &Run, directory: &Path) -> Result<Vec<PathBuf>, LogError> {
    let mut files: BTreeMap<PathBuf, Content<'_>> = BTreeMap::new();
    for result in &run.jobs {
        let logs = &result.job.logs;
        for (prefix, kind, entries) in wanted(result) {
            let path = |thread: u32| match logs.in_one_file {
                true => directory.join(format!("{prefix}_{kind}.log")),
                false => directory.join(format!("{prefix}_{kind}.{thread}.log")),
            };
            // A thread that did nothing has an empty log.
            for thread in &result.thread_numbers {
                files.entry(path(*thread)).or_default().with_offset |= logs.with_offset;
            }
            for entry in entries {
                files.entry(path(entry.thread)).or_default().entries.push(entry);
            }
        }
    }
    for (path, content) in &mut files {
        content.entries.sort_by_key(|entry| entry.at_ms);
        write_entries(path, content).map_err(|source| LogError { path: path.clone(), source })?;
    }
    Ok(files.into_keys().collect())
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

fn write_entries(path: &Path, content: &Content<'_>) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    for entry in &content.entries {
        let direction = match entry.direction {
            Direction::Read => 0,
            Direction::Write => 1,
            Direction::Trim => 2,
        };
        let LogEntry { at_ms, value, block_bytes, offset, .. } = entry;
        write!(file, "{at_ms}, {value}, {direction}, {block_bytes}")?;
        if content.with_offset {
            write!(file, ", {offset}")?;
        }
        writeln!(file, ", 0")?;
    }
    file.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use crate::spec::Logs;
    use std::fs;

    /// Reads a log in the documented format: a fixed number of fields, separated by a comma and a
    /// blank.
    fn read_back<const COLUMNS: usize>(path: &Path) -> Vec<[u64; COLUMNS]> {
        let text = fs::read_to_string(path).expect("the log");
        let fields = |line: &str| {
            let numbers: Vec<u64> = line.split(", ").map(|field| field.parse().expect("a number")).collect();
            numbers.try_into().unwrap_or_else(|_| panic!("{COLUMNS} fields: {line}"))
        };
        text.lines().map(fields).collect()
    }

    fn names(written: &[PathBuf]) -> Vec<String> {
        let name = |path: &PathBuf| path.file_name().expect("a name").to_string_lossy().into_owned();
        written.iter().map(name).collect()
    }

    #[test]
    fn what_is_written_reads_back() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut run = sample::run();
        let all = Some("trace".to_owned());
        run.jobs[0].job.logs = Logs {
            bandwidth: all.clone(),
            latency: all.clone(),
            iops: all.clone(),
            with_offset: true,
            ..Logs::default()
        };
        run.jobs[1].job.logs.latency = Some("other".to_owned());
        run.jobs[0].clat_log[3].value += 1;
        let written = write(&run, directory.path()).expect("written");
        assert_eq!(
            names(&written),
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
        let without_offset = read_back::<5>(&directory.path().join("other_clat.2.log"));
        assert_eq!(without_offset[0][3..], [4096, 0], "fio's five columns");
        assert_ne!(
            read,
            read_back::<6>(&directory.path().join("trace_lat.1.log")),
            "each kind has its own entries"
        );
    }

    /// Regression: threads that are reported as one wrote one log, which programs that read fio's
    /// logs took for that of the first thread.
    #[test]
    fn threads_of_a_group_have_logs_of_their_own_unless_one_is_asked_for() {
        let directory = tempfile::tempdir().expect("a directory");
        let mut run = sample::run();
        run.jobs[0].job.logs.bandwidth = Some("grouped".to_owned());
        let mut other = run.jobs[0].clone();
        other.number(2);
        let each = other.bandwidth_log.len();
        run.jobs[0].merge(&other);
        let written = write(&run, directory.path()).expect("written");
        assert_eq!(names(&written), ["grouped_bw.1.log", "grouped_bw.2.log"]);
        for path in &written {
            assert_eq!(read_back::<5>(path).len(), each);
        }
        for result in &mut run.jobs {
            result.job.logs =
                Logs { bandwidth: Some("shared".to_owned()), in_one_file: true, ..Logs::default() };
        }
        let written = write(&run, directory.path()).expect("written");
        assert_eq!(names(&written), ["shared_bw.log"]);
        let shared = read_back::<5>(&written[0]);
        assert_eq!(shared.len(), 3 * each, "of both threads, and of the other job");
        assert!(shared.is_sorted_by_key(|entry| entry[0]));
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
