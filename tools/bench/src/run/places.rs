//! This module checks the directories that a run needs for its files, logs and reports.
//!
//! Invariant: nothing is created here, and nothing has run yet: all missing directories are
//! reported at once, before the first operation.

use crate::cli::RunOptions;
use crate::spec::{Engine, Job, Plan};
use rustix::fs::{Access, access};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

/// Lists the directories that a run cannot use.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\nringbolt bench: "))]
pub struct PlacesError(Vec<String>);

/// Checks every directory that the jobs and the options name.
///
/// # Errors
/// Returns a line for each one that does not exist, is no directory, or is not writable.
pub fn check(plan: &Plan, options: &RunOptions) -> Result<(), PlacesError> {
    let mut wrong: Vec<String> = Vec::new();
    for job in &plan.jobs {
        let found = targets(job).into_iter().chain(logs(job));
        wrong.extend(found.map(|text| format!("job {}: {text}", job.name)));
    }
    for (option, path) in [("--output", &options.output), ("--html", &options.html)] {
        let Some(path) = path else { continue };
        wrong.extend(parent_fault(path).map(|fault| format!("{option}={}: {fault}", path.display())));
        if path.is_dir() {
            wrong.push(format!("{option}={} is a directory: name a file in it", path.display()));
        }
    }
    wrong.dedup();
    if wrong.is_empty() { Ok(()) } else { Err(PlacesError(wrong)) }
}

/// Says what is wrong with the directories of a job's files.
fn targets(job: &Job) -> Vec<String> {
    if job.engine == Engine::S3 {
        return Vec::new();
    }
    if let Some(directory) = &job.directory {
        // Files in a directory can be checked only if it exists.
        let fault = directory_fault(directory);
        if let Some(fault) = fault {
            return vec![format!("directory={}: {fault}", directory.display())];
        }
    }
    let mut wrong = Vec::new();
    for path in (0..job.threads).flat_map(|thread| job.paths(thread)) {
        let fault = match std::fs::metadata(&path) {
            Ok(there) if there.is_dir() => {
                Some("it is a directory: name a file in it, or give it as directory=".to_owned())
            }
            Ok(there) if !there.is_file() && !there.file_type().is_block_device() => {
                Some("it is neither a file nor a block device".to_owned())
            }
            Ok(_) => None,
            Err(error) if error.kind() == io::ErrorKind::NotFound => parent_fault(&path),
            Err(error) => Some(format!("it can not be looked at: {error}")),
        };
        wrong.extend(fault.map(|fault| format!("filename={}: {fault}", path.display())));
    }
    wrong.dedup();
    wrong
}

fn logs(job: &Job) -> Vec<String> {
    let logs = &job.logs;
    let keys =
        [("write_bw_log", &logs.bandwidth), ("write_lat_log", &logs.latency), ("write_iops_log", &logs.iops)];
    let fault = |(key, prefix): (&str, &Option<String>)| {
        let prefix = prefix.as_ref()?;
        // The part after the prefix contains no slash.
        let fault = parent_fault(Path::new(&format!("{prefix}_")))?;
        Some(format!("{key}={prefix}: {fault}"))
    };
    keys.into_iter().filter_map(fault).collect()
}

/// Says what is wrong with the directory in which a file is to be created.
fn parent_fault(path: &Path) -> Option<String> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    directory_fault(&parent).or_else(|| {
        let is_closed = access(&parent, Access::WRITE_OK | Access::EXEC_OK).err()?;
        // An existing file needs no write permission on its directory.
        (!path.exists()).then(|| format!("nothing can be made in {}: {is_closed}", parent.display()))
    })
}

fn directory_fault(path: &Path) -> Option<String> {
    let shown = path.display();
    match std::fs::metadata(path) {
        Ok(there) if there.is_dir() => None,
        Ok(_) => Some(format!("{shown} is no directory")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Some(format!("the directory {shown} is not there: make it, or name one that is"))
        }
        Err(error) => Some(format!("the directory {shown} can not be looked at: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use crate::run::{Unwatched, run};

    fn said(change: impl FnOnce(&Path, &mut Job, &mut RunOptions)) -> String {
        let place = tempfile::tempdir().expect("a directory");
        std::fs::write(place.path().join("file"), "").expect("a file");
        let mut job = sample::job("job", 0, true, false);
        job.files = vec![place.path().join("data")];
        job.size = Some(1 << 20);
        let mut options = RunOptions::default();
        change(place.path(), &mut job, &mut options);
        let plan = Plan { global: Default::default(), jobs: vec![job] };
        let error = run(&plan, &options, &mut Unwatched).expect_err("refused before anything is run");
        assert_eq!(
            std::fs::read_dir(place.path()).expect("list it").count(),
            1,
            "something was made: {error}"
        );
        error.to_string()
    }

    #[test]
    fn what_is_not_there_is_refused_before_the_run() {
        let missing = |said: String, key: &str| {
            assert!(said.contains(key) && said.contains("/none is not there"), "{key}: {said}");
        };
        missing(said(|at, job, _| job.directory = Some(at.join("none"))), "job: directory=");
        missing(said(|at, job, _| job.files = vec![at.join("none/data")]), "job: filename=");
        missing(
            said(|at, job, _| job.logs.iops = Some(format!("{}/none/log", at.display()))),
            "write_iops_log=",
        );
        missing(said(|at, _, options| options.output = Some(at.join("none/out.json"))), "--output=");
        missing(said(|at, _, options| options.html = Some(at.join("none/out.html"))), "--html=");
        missing(
            said(|at, job, _| {
                job.engine = Engine::Ringbolt;
                job.files = vec![at.join("none/drive")];
            }),
            "job: filename=",
        );
    }

    #[test]
    fn what_is_something_else_is_refused_before_the_run() {
        let file = said(|at, job, _| job.directory = Some(at.join("file")));
        assert!(file.contains("/file is no directory"), "{file}");
        let directory = said(|at, job, _| job.files = vec![at.to_owned()]);
        assert!(directory.contains("it is a directory: name a file in it"), "{directory}");
        let log = said(|at, job, _| job.logs.latency = Some(format!("{}/file/log", at.display())));
        assert!(log.contains("write_lat_log=") && log.contains("/file is no directory"), "{log}");
        let output = said(|at, _, options| options.output = Some(at.to_owned()));
        assert!(output.contains("is a directory: name a file in it"), "{output}");
        let device = said(|_, job, _| job.files = vec!["/dev/null".into()]);
        assert!(device.contains("neither a file nor a block device"), "{device}");
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let all = said(|at, job, options| {
            job.directory = Some(at.join("none"));
            job.logs.bandwidth = Some("/no/such/log".to_owned());
            options.output = Some(at.join("none/out"));
        });
        assert_eq!(all.lines().count(), 3, "{all}");
    }
}
