//! This module removes everything when a signal ends the measurement.
//!
//! Invariant: a thread that holds the list of paths either is about to add what it creates, or
//! handles a signal. In the latter case it holds the list until the process has ended, so that
//! nothing is created or printed after that.

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, waitpid};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use tempfile::TempDir;

/// A file that is created while its directory is being removed makes the removal fail, so it is
/// tried again.
const REMOVALS_MAX: u32 = 100;

/// Ends the process at SIGINT and SIGTERM, with its children, and removes what it has created.
pub struct Cleanup {
    paths: Arc<Mutex<Vec<PathBuf>>>,
    signals: Handle,
    watcher: Option<JoinHandle<()>>,
}

/// This is a directory that a signal removes too.
pub struct Directory<'a> {
    cleanup: &'a Cleanup,
    /// This is `None` while it is being removed.
    directory: Option<TempDir>,
}

impl Cleanup {
    /// Begins to catch signals.
    ///
    /// # Errors
    /// Fails when the signals cannot be caught.
    pub fn watch() -> io::Result<Self> {
        let mut caught = Signals::new([SIGINT, SIGTERM])?;
        let (paths, signals) = (Arc::<Mutex<Vec<PathBuf>>>::default(), caught.handle());
        let watched = paths.clone();
        let watcher = std::thread::spawn(move || {
            // The loop ends without a signal when the handle is closed.
            if let Some(signal) = caught.forever().next() {
                let paths = locked(&watched);
                for child in children_of(getpid()) {
                    end(child);
                }
                paths.iter().for_each(|path| remove(path));
                eprintln!(
                    "ringbolt plan calibrate: interrupted; what it made is removed, and nothing is written"
                );
                std::process::exit(128 + signal);
            }
        });
        Ok(Self { paths, signals, watcher: Some(watcher) })
    }

    /// Creates an empty directory in `parent`.
    ///
    /// # Errors
    /// Fails when it cannot be created.
    pub fn directory(&self, parent: &Path) -> io::Result<Directory<'_>> {
        let mut paths = locked(&self.paths);
        let directory = tempfile::Builder::new().prefix("plan-calibrate-").tempdir_in(parent)?;
        paths.push(directory.path().to_owned());
        Ok(Directory { cleanup: self, directory: Some(directory) })
    }

    /// Adds `path` to what a signal removes.
    pub fn add(&self, path: &Path) {
        locked(&self.paths).push(path.to_owned());
    }

    /// Does not return once a signal was caught: anything that fails from then on fails because of
    /// it.
    pub fn hold_if_interrupted(&self) {
        drop(locked(&self.paths));
    }
}

impl Drop for Cleanup {
    fn drop(&mut self) {
        self.signals.close();
        if let Some(watcher) = self.watcher.take() {
            // The watcher does not panic, and if it did, nothing could be done.
            _ = watcher.join();
        }
    }
}

impl Directory<'_> {
    pub fn path(&self) -> &Path {
        self.directory.as_ref().map_or(Path::new(""), TempDir::path)
    }
}

impl Drop for Directory<'_> {
    fn drop(&mut self) {
        let mut paths = locked(&self.cleanup.paths);
        if let Some(directory) = self.directory.take() {
            paths.retain(|path| path != directory.path());
        }
    }
}

/// Locks the paths, which are consistent at any time.
fn locked(paths: &Mutex<Vec<PathBuf>>) -> MutexGuard<'_, Vec<PathBuf>> {
    paths.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Kills a process and waits for its end, because until then it may create files.
fn end(child: Pid) {
    // Both calls fail only if the process has already ended and was waited for.
    _ = kill_process(child, Signal::KILL);
    _ = waitpid(Some(child), WaitOptions::empty());
}

fn remove(path: &Path) {
    for _ in 0..REMOVALS_MAX {
        let removed = if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
        match removed {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {}
            _ => return,
        }
    }
}

/// Finds the children of a process in the kernel's list of all processes.
fn children_of(parent: Pid) -> Vec<Pid> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let is_child = |pid: &Pid| {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
        // The name, which may contain any character, is followed by the state and the parent.
        let parent_of =
            |stat: String| stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse::<i32>().ok();
        stat.ok().and_then(parent_of) == Some(parent.as_raw_nonzero().get())
    };
    let pid = |entry: std::fs::DirEntry| entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw);
    entries.flatten().filter_map(pid).filter(is_child).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn children_are_found_and_ended() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 600 & echo $!; wait"]).stdout(Stdio::piped());
        let mut shell = shell.spawn().unwrap();
        let mut line = String::new();
        io::BufRead::read_line(&mut io::BufReader::new(shell.stdout.take().unwrap()), &mut line).unwrap();
        let sleep = Pid::from_raw(line.trim().parse().unwrap()).unwrap();
        assert_eq!(children_of(Pid::from_child(&shell)), [sleep]);
        assert!(children_of(getpid()).contains(&Pid::from_child(&shell)));
        // The test started this process; the shell waits for it and ends too.
        _ = kill_process(sleep, Signal::KILL);
        shell.wait().unwrap();
    }

    #[test]
    fn what_is_dropped_is_removed_and_forgotten() {
        let parent = tempfile::tempdir().unwrap();
        let cleanup = Cleanup::watch().unwrap();
        let directory = cleanup.directory(parent.path()).unwrap();
        let path = directory.path().to_owned();
        std::fs::write(path.join("drive"), "bytes").unwrap();
        assert_eq!(*locked(&cleanup.paths), std::slice::from_ref(&path));
        drop(directory);
        assert!(!path.exists() && locked(&cleanup.paths).is_empty());
        cleanup.hold_if_interrupted();
        std::fs::create_dir_all(path.join("within")).unwrap();
        remove(&path);
        assert!(!path.exists());
        remove(&path);
    }
}
