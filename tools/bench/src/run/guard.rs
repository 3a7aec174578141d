//! This module keeps a run from writing to files and devices by mistake.
//!
//! Invariants:
//! - Before any job runs, every file that any job would write was examined: an existing file needs
//!   `--allow-overwrite`, and a device that is mounted or otherwise in use is always refused.
//! - Devices stay claimed while the run lasts, so that nobody mounts one meanwhile.

use crate::spec::{Engine, Plan};
use rustix::fs::OFlags;
use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Says why a file must not be written.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    #[error("{path} exists and would be overwritten by job {job}; give --allow-overwrite if that is meant")]
    Exists { path: PathBuf, job: String },
    #[error(
        "{path} is mounted, or held by the kernel or another program (swap, RAID, LVM): it is never written; job {job}"
    )]
    Held { path: PathBuf, job: String },
    #[error("{path} could not be looked at for job {job}: {error}")]
    Unknown { path: PathBuf, job: String, error: std::io::Error },
}

/// Keeps the devices of a run claimed until it is dropped.
#[derive(Debug, Default)]
pub struct Claims(#[expect(dead_code, reason = "held open, not used")] Vec<File>);

/// Examines every file that the plan would write, and claims the devices.
///
/// # Errors
/// Fails at the first file or device that must not be written.
pub fn claim(plan: &Plan, allow_overwrite: bool) -> Result<Claims, GuardError> {
    let mut seen = BTreeSet::new();
    let mut claims = Vec::new();
    for job in &plan.jobs {
        // The storage engine examines its drive itself and recognises one that it has formatted.
        if job.engine != Engine::IoUring || !(job.pattern.writes || job.pattern.trims) {
            continue;
        }
        for path in (0..job.threads).flat_map(|thread| job.paths(thread)) {
            if seen.insert(path.clone()) {
                claims.extend(look_at(&path, &job.name, allow_overwrite)?);
            }
        }
    }
    Ok(Claims(claims))
}

fn look_at(path: &Path, job: &str, allow_overwrite: bool) -> Result<Option<File>, GuardError> {
    let (path_buf, job) = (path.to_owned(), job.to_owned());
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(GuardError::Unknown { path: path_buf, job, error }),
    };
    let mut claim = None;
    if metadata.file_type().is_block_device() {
        // The kernel refuses an exclusive open of a mounted device, also when only a partition of
        // it is mounted.
        let exclusive = OFlags::EXCL.bits() as i32;
        match OpenOptions::new().read(true).custom_flags(exclusive).open(path) {
            Ok(file) => claim = Some(file),
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                return Err(GuardError::Held { path: path_buf, job });
            }
            Err(error) => return Err(GuardError::Unknown { path: path_buf, job, error }),
        }
    }
    if allow_overwrite { Ok(claim) } else { Err(GuardError::Exists { path: path_buf, job }) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use crate::spec::Job;

    fn plan_of(path: &Path, change: impl FnOnce(&mut Job)) -> Plan {
        let mut job = sample::job("guarded", 0, false, true);
        job.files = vec![path.to_owned()];
        change(&mut job);
        Plan { global: Default::default(), jobs: vec![job] }
    }

    #[test]
    fn an_existing_file_is_written_only_when_that_was_said() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let plan = plan_of(file.path(), |_| {});
        assert!(matches!(claim(&plan, false), Err(GuardError::Exists { .. })));
        claim(&plan, true).unwrap();
        let reads = plan_of(file.path(), |job| (job.pattern.reads, job.pattern.writes) = (true, false));
        claim(&reads, false).unwrap();
        claim(&plan_of(Path::new("target/not-there"), |_| {}), false).unwrap();
    }

    /// Returns a mounted block device that this user may read, if there is one.
    fn mounted_device() -> Option<PathBuf> {
        let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
        let devices = mounts.lines().filter_map(|line| line.split(' ').next());
        devices.map(PathBuf::from).find(|path| {
            std::fs::metadata(path).is_ok_and(|there| there.file_type().is_block_device())
                && OpenOptions::new().read(true).open(path).is_ok()
        })
    }

    #[test]
    fn a_mounted_device_is_refused_whatever_was_said() {
        // Without such a device, or without the right to open it, there is nothing to test.
        let Some(device) = mounted_device() else { return };
        let plan = plan_of(&device, |_| {});
        for allow_overwrite in [false, true] {
            assert!(matches!(claim(&plan, allow_overwrite), Err(GuardError::Held { .. })));
        }
    }
}
