//! The drives of a job: one, or several that are one set.
//!
//! Invariant: a file that is not a Ringbolt drive is never written; a block device is written only
//! with `allow_overwrite`, and never while it is mounted, because it is opened exclusively.

use crate::engine::EngineError;
use crate::spec::Job;
use ringbolt_engine::node::{FormatOptions, Redundancy, format_drive, inspect_drive};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

/// This is the interval at which the thread checks the progress of formatting and the stop flag.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Makes the drives of a job where there are none.
pub struct Drives {
    job: String,
    pub paths: Vec<PathBuf>,
    /// How much of them may be lost, if they are made; with `None` as `ringbolt format` has it.
    redundancy: Option<Redundancy>,
    /// Says that this run created the drives and that the job removes them at the end.
    unlink: bool,
    allow_overwrite: bool,
    pub stop: Arc<AtomicBool>,
}

/// What is found at the path of a drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Drive,
    /// It is no file, or an empty one.
    Nothing,
    /// It is a block device without a drive, which may be written.
    Device,
}

impl Drives {
    pub fn of(job: &Job, allow_overwrite: bool) -> Self {
        Self {
            job: job.name.clone(),
            paths: job.files.clone(),
            redundancy: job
                .objects
                .redundancy
                .map(|(data_members, failures_max)| Redundancy { failures_max, data_members }),
            unlink: job.unlink,
            allow_overwrite,
            stop: Arc::default(),
        }
    }

    /// Returns an error that names the job and its drives.
    pub fn error(&self, what: impl std::fmt::Display) -> EngineError {
        let paths: Vec<String> = self.paths.iter().map(|path| path.display().to_string()).collect();
        EngineError(format!("job {}: {}: {what}", self.job, paths.join(", ")))
    }

    fn error_of(&self, path: &Path, what: impl std::fmt::Display) -> EngineError {
        EngineError(format!("job {}: {}: {what}", self.job, path.display()))
    }

    fn found(&self, path: &Path) -> Result<Found, EngineError> {
        let existing = std::fs::metadata(path).ok();
        let is_device = existing.as_ref().is_some_and(|found| found.file_type().is_block_device());
        if existing.as_ref().is_none_or(|found| found.is_file() && found.len() == 0) {
            return Ok(Found::Nothing);
        }
        match inspect_drive(path) {
            Ok(_) => Ok(Found::Drive),
            Err(_) if is_device && self.allow_overwrite => Ok(Found::Device),
            Err(problem) => {
                let advice = match is_device {
                    true => "pass --allow-overwrite: all that is on it is lost",
                    false => "name a file that does not exist: it is made",
                };
                Err(self.error_of(path, format!("{problem}; or {advice}")))
            }
        }
    }

    /// Makes the drives if there are none, with room for so many bytes of objects.
    pub fn ensure(&mut self, wanted_bytes: u64, progress: &mut dyn FnMut(f64)) -> Result<(), EngineError> {
        let mut found = Vec::new();
        for path in &self.paths {
            found.push(self.found(path)?);
        }
        if found.iter().all(|found| *found == Found::Drive) {
            self.unlink = false;
            return Ok(());
        }
        if let Some(at) = found.iter().position(|found| *found == Found::Drive) {
            let what =
                "this is a drive already and others are not; give drives of one set, or none that exists";
            return Err(self.error_of(&self.paths[at], what));
        }
        let files = found.iter().filter(|found| **found == Found::Nothing).count();
        self.unlink &= files == self.paths.len();
        let drives = self.paths.len() as u64;
        let redundancy = self.redundancy.unwrap_or_else(|| Redundancy::of(self.paths.len()));
        // Small objects have copies, whatever large ones have.
        let failures_max = redundancy.failures_max;
        let share_bytes = (wanted_bytes * (u64::from(failures_max) + 1)).div_ceil(drives);
        self.format(
            FormatOptions {
                size_bytes: (files > 0).then_some(share_bytes),
                shards: 0,
                redundancy: Some(redundancy),
                force: files < self.paths.len(),
                seed: std::array::from_fn(|_| fastrand::u64(..)),
            },
            progress,
        )
    }

    /// Formats the drives on a separate thread. Formatting cannot be stopped, so the thread is
    /// abandoned when the run is to end.
    fn format(&self, options: FormatOptions, progress: &mut dyn FnMut(f64)) -> Result<(), EngineError> {
        let (sender, told) = mpsc::channel();
        let (paths, are_files) = (self.paths.clone(), options.size_bytes.is_some());
        std::thread::spawn(move || {
            // Nobody receives the message if the thread was abandoned.
            let mut tell = |done: u64, all: u64| {
                sender.send(Told::Share(done as f64 / all.max(1) as f64)).ok();
            };
            let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
            let outcome = format_drive(&paths, &options, &mut tell);
            sender.send(Told::Ended(outcome.map(drop).map_err(|error| error.to_string()))).ok();
        });
        loop {
            match told.recv_timeout(LOOK_EVERY) {
                Ok(Told::Share(share)) => progress(share),
                Ok(Told::Ended(outcome)) => return outcome.map_err(|error| self.error(error)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(self.error("formatting broke off")),
            }
            if self.stop.load(Ordering::Relaxed) {
                if are_files {
                    // The drives are incomplete. If one cannot be removed, the next run reports what
                    // is wrong with it.
                    self.remove_files().ok();
                }
                return Err(self.error("stopped while it was formatted"));
            }
        }
    }

    fn remove_files(&self) -> Result<(), EngineError> {
        let is_file = |path: &&PathBuf| std::fs::metadata(path).is_ok_and(|found| found.is_file());
        for path in self.paths.iter().filter(is_file) {
            std::fs::remove_file(path).map_err(|error| self.error_of(path, error))?;
        }
        Ok(())
    }

    /// Removes the drives if the job wants that of those that it made.
    pub fn remove(&self) -> Result<(), EngineError> {
        if self.unlink { self.remove_files() } else { Ok(()) }
    }
}

/// This is a message about the progress of formatting.
enum Told {
    Share(f64),
    Ended(Result<(), String>),
}
