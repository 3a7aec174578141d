//! Opening a drive: its kind, whether it may be used, and preparing a file for O_DIRECT.
//!
//! Invariant: an [`OpenDrive`] holds an exclusive lock (a block device is also opened with O_EXCL),
//! so a drive is never shared by two servers, or by a server and a mount.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::ring::Pool;
use crate::ring::arena::CHUNK_BYTES;

/// Number of attempts to lock a drive. With the pauses they take ten seconds.
const LOCK_ATTEMPTS: usize = 200;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// The reason why a drive can not be used.
#[derive(Debug, thiserror::Error)]
pub enum DriveError {
    #[error(
        "{path}: there is no such file or device; check the path, or make it with \
         `ringbolt format --drive {path} --size 8GiB`. A set with copies starts without a drive that is lost: leave it \
         out"
    )]
    Missing { path: PathBuf },
    #[error("{path}: permission denied; run as a user who may read and write it")]
    Forbidden { path: PathBuf },
    #[error("{path} is neither a block device nor a regular file")]
    WrongKind { path: PathBuf },
    #[error("{path} is mounted or held by another program; unmount it, or choose another drive")]
    Held { path: PathBuf },
    #[error(
        "{path} is in use by another Ringbolt process; stop that one first (only one server may open a drive). One that \
         was ended holds its drives for as long as any of them has not answered"
    )]
    Locked { path: PathBuf },
    #[error(
        "{path}: the file system does not support O_DIRECT (tmpfs and some network or overlay file systems do not); \
         put the drive file on ext4 or XFS, or use a block device"
    )]
    NoDirect { path: PathBuf },
    #[error("{path} has {size_bytes} bytes; the least is {least_bytes} bytes: give a larger --size or drive")]
    TooSmall { path: PathBuf, size_bytes: u64, least_bytes: u64 },
    #[error("{path}: not enough space on the file system for {size_bytes} bytes; give a smaller --size")]
    NoRoom { path: PathBuf, size_bytes: u64 },
    #[error("{path}: {step} failed: {error}")]
    Io { path: PathBuf, step: &'static str, error: std::io::Error },
}

/// A drive opened with O_DIRECT and locked.
#[derive(Debug)]
pub struct OpenDrive {
    pub path: PathBuf,
    pub file: File,
    pub size_bytes: u64,
    pub is_block_device: bool,
    /// False only for a block device that the kernel reports as write-through.
    pub needs_flush: bool,
    /// False only when a block device writes durable writes past its cache (FUA), or has no
    /// volatile cache.
    pub durable_write_flushes: bool,
}

impl OpenDrive {
    /// Opens and locks the drive at `path`.
    ///
    /// # Errors
    /// Returns a [`DriveError`] that says what to do.
    pub fn open(path: &Path) -> Result<Self, DriveError> {
        let metadata = std::fs::metadata(path).map_err(|error| io_error(path, "stat", error))?;
        let is_block_device = metadata.file_type().is_block_device();
        if !is_block_device && !metadata.is_file() {
            return Err(DriveError::WrongKind { path: path.to_owned() });
        }
        let exclusive = if is_block_device { libc::O_EXCL } else { 0 };
        let mut file = patiently(|| open_locked(path, exclusive))?;
        let size_bytes = file.seek(SeekFrom::End(0)).map_err(|error| io_error(path, "measure", error))?;
        let says = |name, value| is_block_device && queue_says(metadata.rdev(), name, value);
        let needs_flush = !says("write_cache", "write through");
        // A file system may have to flush its journal, even if the drive below it supports FUA.
        let durable_write_flushes = needs_flush && !says("fua", "1");
        let path = path.to_owned();
        Ok(Self { path, file, size_bytes, is_block_device, needs_flush, durable_write_flushes })
    }

    /// Reads `length` bytes from byte `offset`, both aligned to 4 KiB, without a ring.
    ///
    /// # Errors
    /// Returns [`DriveError`] when the device fails or ends early.
    pub fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, DriveError> {
        let pool = self.pool()?;
        let mut buffer =
            pool.try_take(length.min(CHUNK_BYTES)).unwrap_or_else(|| panic!("a new pool has a buffer"));
        let mut bytes = Vec::with_capacity(length);
        while bytes.len() < length {
            let step = (length - bytes.len()).min(buffer.capacity());
            self.file
                .read_exact_at(&mut buffer[..step], offset + bytes.len() as u64)
                .map_err(|error| io_error(&self.path, "read", error))?;
            bytes.extend_from_slice(&buffer[..step]);
        }
        Ok(bytes)
    }

    /// Writes `bytes` at byte `offset`, both aligned to 4 KiB, without a ring.
    ///
    /// # Errors
    /// Returns [`DriveError`] when the device fails.
    pub fn write(&self, offset: u64, bytes: &[u8]) -> Result<(), DriveError> {
        let pool = self.pool()?;
        let mut buffer = pool.try_take(CHUNK_BYTES).unwrap_or_else(|| panic!("a new pool has a buffer"));
        for (at, piece) in bytes.chunks(CHUNK_BYTES).enumerate() {
            buffer[..piece.len()].copy_from_slice(piece);
            self.file
                .write_all_at(&buffer[..piece.len()], offset + (at * CHUNK_BYTES) as u64)
                .map_err(|error| io_error(&self.path, "write", error))?;
        }
        Ok(())
    }

    /// Makes everything that was written durable.
    ///
    /// # Errors
    /// Returns [`DriveError`] when the device fails.
    pub fn flush(&self) -> Result<(), DriveError> {
        self.file.sync_all().map_err(|error| io_error(&self.path, "flush", error))
    }

    /// Writes zeros over `length` bytes from `offset`. After each step it calls `progress` with the
    /// bytes done and `length`.
    ///
    /// # Errors
    /// Returns [`DriveError`] when the device fails.
    pub fn zero(
        &self,
        offset: u64,
        length: u64,
        progress: &mut dyn FnMut(u64, u64),
    ) -> Result<(), DriveError> {
        let pool = self.pool()?;
        let zeros = pool.try_take(CHUNK_BYTES).unwrap_or_else(|| panic!("a new pool has a buffer"));
        let mut done = 0;
        while done < length {
            let step = (length - done).min(zeros.capacity() as u64);
            self.file
                .write_all_at(&zeros[..step as usize], offset + done)
                .map_err(|error| io_error(&self.path, "write", error))?;
            done += step;
            progress(done, length);
        }
        Ok(())
    }

    fn pool(&self) -> Result<Pool, DriveError> {
        Pool::new(0).map_err(|error| io_error(&self.path, "map memory", error))
    }
}

fn open_locked(path: &Path, exclusive: i32) -> Result<File, DriveError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_DIRECT | exclusive)
        .open(path)
        .map_err(|error| io_error(path, "open", error))?;
    file.try_lock().map_err(|error| match error {
        std::fs::TryLockError::WouldBlock => DriveError::Locked { path: path.to_owned() },
        std::fs::TryLockError::Error(error) => io_error(path, "lock", error),
    })?;
    Ok(file)
}

/// Repeats the attempt for a while when the drive is locked or held: the kernel releases a killed
/// process's drives only after it has torn down its rings, which happens in the background.
fn patiently(mut attempt: impl FnMut() -> Result<File, DriveError>) -> Result<File, DriveError> {
    let mut outcome = attempt();
    for _ in 0..LOCK_ATTEMPTS {
        if !matches!(outcome, Err(DriveError::Locked { .. } | DriveError::Held { .. })) {
            break;
        }
        std::thread::sleep(LOCK_PAUSE);
        outcome = attempt();
    }
    outcome
}

/// Creates a file of `size_bytes` with its blocks allocated. An existing file keeps its contents
/// and is resized.
///
/// # Errors
/// Returns a [`DriveError`] that says what to do.
pub fn allocate_file(path: &Path, size_bytes: u64) -> Result<(), DriveError> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|error| io_error(path, "create", error))?;
    let allocated = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, size_bytes);
    if let Err(error) = allocated {
        return Err(match error {
            rustix::io::Errno::NOSPC | rustix::io::Errno::FBIG => {
                DriveError::NoRoom { path: path.to_owned(), size_bytes }
            }
            other => io_error(path, "preallocate", other.into()),
        });
    }
    file.set_len(size_bytes).map_err(|error| io_error(path, "resize", error))?;
    file.sync_all().map_err(|error| io_error(path, "flush", error))?;
    // The directory entry must survive a crash too.
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| io_error(path, "flush", error))
}

/// Guesses from a drive's first MiB what it already holds. Returns `None` when all of it is zeros.
pub fn recognise(head: &[u8]) -> Option<&'static str> {
    const SIGNATURES: [(usize, &[u8], &str); 9] = [
        (0, b"RINGBOLT", "a Ringbolt drive"),
        (0, b"XFSB", "an XFS file system"),
        (1080, &[0x53, 0xef], "an ext2, ext3 or ext4 file system"),
        (65600, b"_BHRfS_M", "a Btrfs file system"),
        (4086, b"SWAPSPACE2", "a swap area"),
        (536, b"LVM2 001", "an LVM physical volume"),
        (512, b"EFI PART", "a GPT partition table"),
        (510, &[0x55, 0xaa], "a partition table or boot sector"),
        (0, b"LUKS\xba\xbe", "a LUKS volume"),
    ];
    let known = SIGNATURES.iter().find(|(at, magic, _)| head.get(*at..*at + magic.len()) == Some(*magic));
    match known {
        Some((_, _, name)) => Some(name),
        None => head.iter().any(|&byte| byte != 0).then_some("data of an unknown kind"),
    }
}

/// Returns whether the attribute `name` of the block device's queue in sysfs has this value.
fn queue_says(device: u64, name: &str, value: &str) -> bool {
    let (major, minor) = (libc::major(device), libc::minor(device));
    // A partition has no queue of its own; it is that of the parent device.
    ["queue", "../queue"].iter().any(|queue| {
        std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/{queue}/{name}"))
            .is_ok_and(|said| said.trim() == value)
    })
}

fn io_error(path: &Path, step: &'static str, error: std::io::Error) -> DriveError {
    let path = path.to_owned();
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ENXIO) => DriveError::Missing { path },
        Some(libc::EACCES | libc::EPERM) => DriveError::Forbidden { path },
        Some(libc::EBUSY) => DriveError::Held { path },
        Some(libc::EINVAL | libc::EOPNOTSUPP) if step == "open" => DriveError::NoDirect { path },
        _ => DriveError::Io { path, step, error },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_recognised() {
        let mut head = vec![0; CHUNK_BYTES];
        assert_eq!(recognise(&head), None);
        head[1080..1082].copy_from_slice(&[0x53, 0xef]);
        assert_eq!(recognise(&head), Some("an ext2, ext3 or ext4 file system"));
        head[..8].copy_from_slice(b"RINGBOLT");
        assert_eq!(recognise(&head), Some("a Ringbolt drive"));
        let mut noise = vec![0; 4096];
        noise[77] = 1;
        assert_eq!(recognise(&noise), Some("data of an unknown kind"));
    }

    #[test]
    fn a_missing_drive_and_a_directory_have_their_own_errors() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let missing = OpenDrive::open(&directory.path().join("none"));
        assert!(matches!(missing, Err(DriveError::Missing { .. })), "{missing:?}");
        let kind = OpenDrive::open(directory.path());
        assert!(matches!(kind, Err(DriveError::WrongKind { .. })), "{kind:?}");
    }
}
