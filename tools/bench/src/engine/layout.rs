//! This module prepares the files of a job before it runs: it creates them, extends them, fills
//! what reads need, and opens them.
//!
//! Invariants:
//! - A file is never shortened; a file that is long enough is not changed.
//! - Threads that share a file lay it out once: the layout happens under one lock of the run.
//! - When the run is to end, nothing more is laid out, and at most [`FLUSH_BYTES`] are still
//!   flushed.

use super::EngineError;
use crate::load::{Random, Region};
use crate::spec::{Job, WrittenFiles};
use rustix::fs::{Advice, FallocateFlags, OFlags, fadvise, fallocate};
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

const PIECE_BYTES: u64 = 1 << 20;

/// A flush follows after this many bytes, so that the last one is short.
const FLUSH_BYTES: u64 = 64 << 20;

/// This is held while files are laid out.
#[derive(Debug, Default)]
pub struct LayoutLock {
    mutex: Mutex<()>,
    stop: Arc<AtomicBool>,
}

impl LayoutLock {
    /// Creates the lock; `stop` is set when the run is to end.
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

/// Opens the files of one thread, and returns the part of each that the job works on.
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
    let offset = job.offset_of(thread);
    let (mut files, mut regions) = (Vec::new(), Vec::new());
    for (at, path) in paths.iter().enumerate() {
        let mut tell = |share: f64| progress((at as f64 + share) / paths.len() as f64);
        let wanted = file_bytes(job, thread, at, paths.len());
        let needed = wanted.map(|wanted| offset.saturating_add(wanted));
        let length = prepare(job, path, needed, lock, &mut tell)?;
        if length <= offset {
            return Err(EngineError(format!(
                "{}: offset={offset} is not below its size of {length} bytes; give a smaller offset or a larger size",
                path.display(),
            )));
        }
        let rest = length - offset;
        regions.push(Region { start: offset, length: wanted.map_or(rest, |wanted| wanted.min(rest)) });
        files.push(open_one(job, path)?);
    }
    Ok((files, regions))
}

/// Returns how many bytes a thread works on in one of its `count` files; `None` means the whole
/// file.
fn file_bytes(job: &Job, thread: u32, file: usize, count: usize) -> Option<u64> {
    let (Some(least), Some(most)) = (job.file_size, job.file_size_most) else {
        return job.file_size.or(job.size.map(|size| size / count.max(1) as u64));
    };
    // Threads that share files draw the same sizes.
    let stream = if job.files.is_empty() { u64::from(thread) << 32 } else { 0 };
    let mut random = Random::stream(job.seed, stream | file as u64);
    // Sizes are multiples of this, so that blocks fit as far as possible.
    const STEP: u64 = 4096;
    let steps = (most - least) / STEP;
    Some(if steps == 0 {
        least + random.below(most - least + 1)
    } else {
        least + random.below(steps + 1) * STEP
    })
}

/// Says what a job does with its open files between passes and at its end.
#[derive(Clone, Copy, Debug)]
pub struct Upkeep {
    drops_cache: bool,
    flushes: bool,
}

impl Upkeep {
    /// Returns what the job asks for.
    pub fn of(job: &Job) -> Self {
        Self { drops_cache: job.invalidate && !job.direct, flushes: job.close_fsync }
    }

    /// Drops the files from the page cache before a further pass, if the job asks for it.
    pub fn restart(self, files: &[File]) {
        files.iter().filter(|_| self.drops_cache).for_each(drop_cache);
    }

    /// Flushes the files at the end of the job, if the job asks for it.
    ///
    /// # Errors
    /// Names the file that was not flushed.
    pub fn close(self, files: &[File]) -> Result<(), EngineError> {
        let mut flushed = files.iter().enumerate().filter(|_| self.flushes);
        flushed.try_for_each(|(at, file)| {
            file.sync_all().map_err(|error| EngineError(format!("fsync_on_close: file {at}: {error}")))
        })
    }
}

/// Creates or extends a file as needed, and returns its length. `needed` is the end of the job's
/// part of the file.
fn prepare(
    job: &Job,
    path: &Path,
    needed: Option<u64>,
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
    let needed = match needed {
        Some(needed) => needed,
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

/// Extends a file: one that is read gets content, one that is only written gets space.
fn grow(
    job: &Job,
    path: &Path,
    part: std::ops::Range<u64>,
    lock: &LayoutLock,
    progress: &mut dyn FnMut(f64),
) -> Result<(), EngineError> {
    let (length, needed) = (part.start, part.end);
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(false).open(path);
    let file = file.map_err(|error| failed(path, "make", &error))?;
    if !job.pattern.reads && job.written_files != WrittenFiles::Written {
        if job.written_files == WrittenFiles::Sparse {
            return file.set_len(needed).map_err(|error| failed(path, "lengthen", &error));
        }
        // A file system that cannot reserve space only sets the length.
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
    if job.fadvise_hint && !job.direct {
        let access = if job.pattern.random { Advice::Random } else { Advice::Sequential };
        // The call is only advice; its failure does not matter.
        fadvise(&file, 0, None, access).ok();
    }
    if job.invalidate {
        // Dirty pages would stay in the cache, and be written while the job runs.
        file.sync_all().map_err(|error| failed(path, "flush", &error))?;
        drop_cache(&file);
    }
    Ok(file)
}

/// Drops a file or block device from the page cache, except for dirty pages.
fn drop_cache(file: &File) {
    // The call is only advice: pages in use stay.
    fadvise(file, 0, None, Advice::DontNeed).ok();
}

fn failed(path: &Path, step: &str, error: &io::Error) -> EngineError {
    EngineError(format!("{}: could not {step} it: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;
    use rustix::io::{ReadWriteFlags, preadv2};
    use std::io::IoSliceMut;

    const BYTES: u64 = 16 << 20;

    /// Creates a file below target/ that is written and not flushed.
    fn written() -> tempfile::NamedTempFile {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
        std::fs::create_dir_all(&target).unwrap();
        let file = tempfile::NamedTempFile::new_in(target).unwrap();
        std::fs::write(file.path(), vec![7; BYTES as usize]).unwrap();
        file
    }

    fn job(path: &Path) -> Job {
        let mut job = sample::job("job", 0, true, false);
        job.files = vec![path.to_owned()];
        (job.size, job.direct) = (Some(BYTES), false);
        job
    }

    /// Counts how many of some places far from each other are in the page cache; `None` if the file
    /// system does not say.
    fn cached(file: &File) -> Option<usize> {
        let mut hits = 0;
        for at in (0..BYTES).step_by(1 << 20) {
            let mut byte = [0];
            match preadv2(file, &mut [IoSliceMut::new(&mut byte)], at, ReadWriteFlags::NOWAIT) {
                Ok(_) => hits += 1,
                Err(rustix::io::Errno::AGAIN) => {}
                Err(_) => return None,
            }
        }
        Some(hits)
    }

    /// Regression: dirty pages stayed in the cache, so that a new file was read at the speed of
    /// memory.
    #[test]
    fn a_job_begins_with_an_empty_page_cache_unless_it_is_to_be_kept() {
        let file = written();
        let mut kept = job(file.path());
        kept.invalidate = false;
        let lock = LayoutLock::default();
        let (files, _) = open(&kept, 0, &lock, &mut |_| {}).unwrap();
        let Some(hits) = cached(&files[0]) else {
            println!("not looked at: the file system does not say what is cached");
            return;
        };
        assert_eq!(hits, 16);
        let (files, _) = open(&job(file.path()), 0, &lock, &mut |_| {}).unwrap();
        assert_eq!(cached(&files[0]), Some(0));
        let (again, _) = open(&kept, 0, &lock, &mut |_| {}).unwrap();
        std::io::copy(&mut &again[0], &mut io::sink()).unwrap();
        assert_eq!(cached(&again[0]), Some(16));
        drop_cache(&again[0]);
        assert_eq!(cached(&again[0]), Some(0), "as before each further pass");
    }
}
