//! Files of a job before it runs: made, grown and filled where reads will need content, opened.
//!
//! Invariants:
//! - What is there is never made shorter; a file that is long enough is not touched.
//! - Threads that share a file lay it out once: all of this happens under one lock of the run.
//! - When the run is to end, nothing more is laid out, and no more than [`FLUSH_BYTES`] are waited for.

use super::EngineError;
use crate::bench::load::{Random, Region};
use crate::bench::spec::Job;
use rustix::fs::{Advice, FallocateFlags, OFlags, fadvise, fallocate};
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

const PIECE_BYTES: u64 = 1 << 20;

/// So much is written between two flushes, so that the last one is short.
const FLUSH_BYTES: u64 = 64 << 20;

/// Held while files are laid out.
#[derive(Debug, Default)]
pub struct LayoutLock {
    mutex: Mutex<()>,
    stop: Arc<AtomicBool>,
}

impl LayoutLock {
    /// `stop` is set when the run is to end.
    pub fn new(stop: Arc<AtomicBool>) -> Self {
        Self { mutex: Mutex::default(), stop }
    }

    fn go_on(&self) -> Result<(), EngineError> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(EngineError("stopped before all files were laid out".into()));
        }
        Ok(())
    }
}

/// Opens the files of one thread, and says which part of each the job works on.
///
/// # Errors
/// Names the file and what to do.
pub fn open(
    job: &Job,
    thread: u32,
    lock: &LayoutLock,
    progress: &mut dyn FnMut(f64),
) -> Result<(Vec<File>, Vec<Region>), EngineError> {
    let _held = lock.mutex.lock().unwrap_or_else(PoisonError::into_inner);
    let paths = job.paths(thread);
    let wanted = job.file_size.or(job.size.map(|size| size / paths.len().max(1) as u64));
    let (mut files, mut regions) = (Vec::new(), Vec::new());
    for (at, path) in paths.iter().enumerate() {
        let mut tell = |share: f64| progress((at as f64 + share) / paths.len() as f64);
        let length = prepare(job, path, wanted, lock, &mut tell)?;
        if length <= job.offset {
            return Err(EngineError(format!(
                "{}: offset={} is not below its size of {length} bytes; give a smaller offset or a larger size",
                path.display(),
                job.offset
            )));
        }
        let rest = length - job.offset;
        regions.push(Region { start: job.offset, length: wanted.map_or(rest, |wanted| wanted.min(rest)) });
        files.push(open_one(job, path)?);
    }
    Ok((files, regions))
}

/// Makes what is missing; the length of the file then.
fn prepare(
    job: &Job,
    path: &Path,
    wanted: Option<u64>,
    lock: &LayoutLock,
    progress: &mut dyn FnMut(f64),
) -> Result<u64, EngineError> {
    lock.go_on()?;
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => Some(metadata),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(failed(path, "look at", &error)),
    };
    if let Some(metadata) = &metadata {
        if metadata.file_type().is_block_device() {
            let mut device = File::open(path).map_err(|error| failed(path, "open", &error))?;
            return device.seek(SeekFrom::End(0)).map_err(|error| failed(path, "measure", &error));
        }
        if !metadata.is_file() {
            return Err(EngineError(format!("{} is neither a file nor a block device", path.display())));
        }
    }
    if job.pattern.trims {
        return Err(EngineError(format!("{}: trims need a block device", path.display())));
    }
    let length = metadata.map_or(0, |metadata| metadata.len());
    let needed = match wanted {
        Some(wanted) => job.offset.saturating_add(wanted),
        None if length > 0 => length,
        None => {
            return Err(EngineError(format!(
                "{} is not there or empty: give size= or filesize=, or a file that exists",
                path.display()
            )));
        }
    };
    if length < needed {
        grow(job, path, length..needed, lock, progress)?;
    }
    Ok(length.max(needed))
}

/// A file that is read gets content; one that is only written gets space.
fn grow(
    job: &Job,
    path: &Path,
    part: std::ops::Range<u64>,
    lock: &LayoutLock,
    progress: &mut dyn FnMut(f64),
) -> Result<(), EngineError> {
    let (length, needed) = (part.start, part.end);
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(directory) = directory {
        std::fs::create_dir_all(directory).map_err(|error| failed(directory, "make", &error))?;
    }
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).open(path);
    let file = file.map_err(|error| failed(path, "make", &error))?;
    if !job.pattern.reads {
        // File systems that can not reserve space take the length alone.
        return fallocate(&file, FallocateFlags::empty(), 0, needed)
            .map_err(io::Error::from)
            .or_else(|_| file.set_len(needed))
            .map_err(|error| failed(path, "reserve space for", &error));
    }
    let mut random = Random::new(job.seed ^ needed);
    let mut piece = vec![0; PIECE_BYTES as usize];
    let (mut at, mut flushed) = (length, length);
    while at < needed {
        random.fill(&mut piece);
        let step = PIECE_BYTES.min(needed - at);
        file.write_all_at(&piece[..step as usize], at).map_err(|error| failed(path, "lay out", &error))?;
        at += step;
        lock.go_on()?;
        if at - flushed >= FLUSH_BYTES {
            file.sync_data().map_err(|error| failed(path, "flush", &error))?;
            flushed = at;
        }
        progress((at - length) as f64 / (needed - length) as f64);
    }
    file.sync_all().map_err(|error| failed(path, "flush", &error))
}

fn open_one(job: &Job, path: &Path) -> Result<File, EngineError> {
    let mut options = OpenOptions::new();
    options.read(true).write(job.pattern.writes || job.pattern.trims);
    if job.direct {
        options.custom_flags(OFlags::DIRECT.bits() as i32);
    }
    let file = options.open(path).map_err(|error| match job.direct && error.raw_os_error() == Some(22) {
        true => EngineError(format!(
            "{}: its file system does not support direct=1; use another one, or direct=0",
            path.display()
        )),
        false => failed(path, "open", &error),
    })?;
    if !job.direct {
        // As fio's invalidate: reads are to come from the drive. Only advice, so failing is no failure.
        fadvise(&file, 0, None, Advice::DontNeed).ok();
    }
    Ok(file)
}

fn failed(path: &Path, step: &str, error: &io::Error) -> EngineError {
    EngineError(format!("{}: could not {step} it: {error}", path.display()))
}
