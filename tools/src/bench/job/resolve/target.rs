//! Files, sizes, threads, time.

use super::fields::Fields;
use crate::bench::job::error::JobError;
use crate::bench::job::values;
use crate::bench::spec::Job;
use std::io::{Seek, SeekFrom};
use std::path::PathBuf;

const FILES_MAX: u64 = 65_536;
const THREADS_MAX: u64 = 4096;

/// Fills in what belongs to the target and to time.
pub fn fill(job: &mut Job, fields: &Fields<'_>) -> Result<(), JobError> {
    job.files = fields.special("filename", values::paths)?.unwrap_or_default();
    job.directory = fields.text("directory").map(PathBuf::from);
    job.nrfiles = fields.number("nrfiles", 1..=FILES_MAX)?.map_or(1, narrow);
    if !job.files.is_empty() {
        job.nrfiles = narrow(job.files.len() as u64);
    }
    job.size = size(job, fields)?;
    job.io_size = fields.size("io_size")?.filter(|bytes| *bytes > 0);
    job.file_size = fields.size("filesize")?.filter(|bytes| *bytes > 0);
    job.offset = fields.size("offset")?.unwrap_or(0);
    job.threads = fields.number("numjobs", 1..=THREADS_MAX)?.map_or(1, narrow);
    let direct = fields.bool("direct")?;
    let buffered = fields.bool("buffered")?.map(|buffered| !buffered);
    let later = if fields.is_later("buffered", "direct") { buffered } else { direct };
    job.direct = later.unwrap_or(false);
    job.invalidate = fields.bool("invalidate")?.unwrap_or(true);
    job.fadvise_hint = fields.bool("fadvise_hint")?.unwrap_or(true);
    job.unlink = fields.flag("unlink")?;
    job.cpus = fields.special("cpus_allowed", values::cores)?.unwrap_or_default();
    job.numa_nodes = fields.special("numa_cpu_nodes", values::nodes)?.unwrap_or_default();
    time(job, fields)
}

fn time(job: &mut Job, fields: &Fields<'_>) -> Result<(), JobError> {
    job.runtime_ns = fields.time("runtime")?.filter(|nanoseconds| *nanoseconds > 0);
    job.time_based = fields.flag("time_based")?;
    job.ramp_ns = fields.time("ramp_time")?.unwrap_or(0);
    job.start_delay_ns = fields.time("startdelay")?.unwrap_or(0);
    job.loops = fields.number("loops", 1..=u64::MAX)?.unwrap_or(1);
    job.number_ios = fields.number("number_ios", 1..=u64::MAX)?;
    Ok(())
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).expect("the range of the key ends below")
}

/// A number of bytes, or per cent of what is there.
fn size(job: &Job, fields: &Fields<'_>) -> Result<Option<u64>, JobError> {
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
    })?;
    Ok(size.filter(|bytes| *bytes > 0))
}

fn existing_bytes(job: &Job) -> Result<u64, String> {
    if job.files.is_empty() {
        return Err("per cent need files or devices that are named and exist: give bytes".to_owned());
    }
    job.paths(0).iter().try_fold(0_u64, |sum, path| {
        // A device says 0 to metadata; its end is its size.
        let end = std::fs::File::open(path).and_then(|mut file| file.seek(SeekFrom::End(0)));
        let bytes = end.map_err(|error| {
            format!("per cent of {}, which can not be opened ({error}): give bytes", path.display())
        })?;
        sum.checked_add(bytes).ok_or_else(|| "files of more than 64 bits".to_owned())
    })
}
