//! This module makes a drive fail under a running server, and lets it work again.
//!
//! A file gets the attribute that it can not be changed (`chattr +i`). Then ext4 refuses every write, also one
//! through a descriptor that was open before, and the file keeps what it holds. A loop device fails in the same
//! way when the file behind it does. Reads and flushes go on: the server sees a drive that does not take writes.
//! Other file systems take writes through open descriptors in spite of the attribute, and other devices have none;
//! [`FailingDrive::find`] tries it.
//!
//! Invariant: the attribute is gone when a [`Failure`] is dropped.

use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const BLOCK_BYTES: usize = 4096;

/// This is a drive that can be made to fail.
#[derive(Clone, Debug)]
pub struct FailingDrive {
    file: PathBuf,
}

/// A drive fails as long as this lives.
#[derive(Debug)]
pub struct Failure {
    file: File,
}

impl FailingDrive {
    /// Returns the drive if it can be made to fail, and tries that. No server may use it.
    ///
    /// # Errors
    /// Returns the reason why it can not.
    pub fn find(drive: &Path) -> Result<Self, String> {
        let file = file_behind(drive).map_err(|error| format!("{} is {error}", drive.display()))?;
        let found = Self { file };
        match found.is_refused() {
            Ok(true) => Ok(found),
            Ok(false) => Err(format!(
                "the file system of {} takes writes to a file that can not be changed; ext4 does not",
                found.file.display()
            )),
            Err(error) => Err(format!("{} can not be made unchangeable: {error}", found.file.display())),
        }
    }

    /// Lets every write to the drive fail from now on.
    ///
    /// # Errors
    /// Fails when the process may not, or when the file system has no such attribute.
    pub fn fail(&self) -> io::Result<Failure> {
        let file = File::open(&self.file)?;
        ioctl_setflags(&file, ioctl_getflags(&file)? | IFlags::IMMUTABLE)?;
        Ok(Failure { file })
    }

    /// Returns whether a descriptor that was open before takes no write any more. What it tries to write is
    /// what is there.
    fn is_refused(&self) -> io::Result<bool> {
        let file = OpenOptions::new().read(true).write(true).open(&self.file)?;
        let mut block = [0; BLOCK_BYTES];
        file.read_exact_at(&mut block, 0)?;
        let failure = self.fail()?;
        let written = file.write_all_at(&block, 0);
        drop(failure);
        file.sync_all()?;
        Ok(written.is_err())
    }
}

impl Drop for Failure {
    fn drop(&mut self) {
        let flags = ioctl_getflags(&self.file);
        let cleared = flags.and_then(|flags| ioctl_setflags(&self.file, flags - IFlags::IMMUTABLE));
        if let Err(error) = cleared {
            eprintln!("A drive file keeps the attribute that it can not be changed (chattr -i): {error}");
        }
    }
}

/// Returns the file that holds the drive.
fn file_behind(drive: &Path) -> io::Result<PathBuf> {
    let drive = drive.canonicalize()?;
    if drive.metadata()?.is_file() {
        return Ok(drive);
    }
    let name = drive.file_name().unwrap_or_default();
    let behind = Path::new("/sys/block").join(name).join("loop/backing_file");
    match std::fs::read_to_string(behind) {
        Ok(file) => Ok(PathBuf::from(file.trim_end_matches('\n'))),
        Err(_) => Err(io::Error::other("neither a file nor a loop device")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_can_not_be_made_to_fail() {
        let told = FailingDrive::find(Path::new("/dev/null")).unwrap_err();
        assert!(told.contains("/dev/null is neither a file nor a loop device"), "{told}");
    }

    /// Whether a file can be made to fail depends on the user and the file system. It is as before in any case.
    #[test]
    fn a_file_holds_what_it_held_and_takes_writes_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("drive");
        std::fs::write(&path, [7; 2 * BLOCK_BYTES]).unwrap();
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        if let Ok(drive) = FailingDrive::find(&path) {
            let failure = drive.fail().unwrap();
            assert!(file.write_all_at(&[8; 100], 0).is_err());
            drop(failure);
        }
        assert_eq!(std::fs::read(&path).unwrap(), [7; 2 * BLOCK_BYTES]);
        file.write_all_at(&[8; 100], 0).unwrap();
    }
}
