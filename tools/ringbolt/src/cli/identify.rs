//! `ringbolt drive identify`: shows an operator in front of the machine which drive is meant.

use rustix::fs::{Mode, OFlags, open};
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where the kernel shows the enclosures that have lights.
const ENCLOSURES: &str = "/sys/class/enclosure";
/// Bytes of a read, at an offset that is a multiple of them.
const READ_BYTES: usize = 128 << 10;
/// So long a drive is read, and then left alone.
const HALF: Duration = Duration::from_millis(500);

/// How a drive is shown.
#[derive(Debug, PartialEq, Eq)]
pub enum Shown {
    /// The enclosure's light of its slot was lit.
    Light(PathBuf),
    /// It was read in a pattern, which its own light shows.
    Reads,
}

/// Shows a drive for some time: by the light of its slot, or by reading from it every other half second.
///
/// # Errors
/// Fails when the drive can not be opened or read, or the light can not be lit.
pub fn identify(drive: &Path, time: Duration) -> io::Result<Shown> {
    let real = fs::canonicalize(drive)?;
    if let Some(light) = real.file_name().and_then(|name| light_of(Path::new(ENCLOSURES), Path::new(name))) {
        fs::write(&light, "1")?;
        rest(time);
        fs::write(&light, "0")?;
        return Ok(Shown::Light(light));
    }
    let file = open(&real, OFlags::RDONLY | OFlags::DIRECT | OFlags::CLOEXEC, Mode::empty())?;
    let until = Instant::now() + time;
    while Instant::now() < until {
        read_for(&file, HALF)?;
        rest(HALF);
    }
    Ok(Shown::Reads)
}

/// Returns the file that lights the slot of a block device, or of the device that it is a partition of.
fn light_of(enclosures: &Path, device: &Path) -> Option<PathBuf> {
    let slots = fs::read_dir(enclosures).ok()?.flatten().flat_map(|enclosure| fs::read_dir(enclosure.path()));
    let slots = slots.flatten().flatten().map(|slot| slot.path());
    let mut lit = slots.filter(|slot| {
        let block = slot.join("device/block");
        let mut names = fs::read_dir(block).into_iter().flatten().flatten();
        names.any(|whole| whole.file_name() == device || whole.path().join(device).exists())
    });
    lit.find_map(|slot| Some(slot.join("locate")).filter(|light| light.exists()))
}

/// Reads from one place after the other, past the page cache, for some time.
fn read_for(file: &OwnedFd, time: Duration) -> io::Result<()> {
    let mut memory = vec![0; 2 * READ_BYTES];
    let aligned = memory.as_ptr().align_offset(4096);
    let buffer = &mut memory[aligned..aligned + READ_BYTES];
    let until = Instant::now() + time;
    let mut offset = 0;
    while Instant::now() < until {
        match rustix::io::pread(file, &mut *buffer, offset)? {
            0 if offset == 0 => {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the drive is empty"));
            }
            READ_BYTES => offset += READ_BYTES as u64,
            // It begins again at the end.
            _ => offset = 0,
        }
    }
    Ok(())
}

#[expect(clippy::disallowed_methods, reason = "an operator looks at a light meanwhile")]
fn rest(time: Duration) {
    std::thread::sleep(time);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_light_is_that_of_the_slot_with_the_device() {
        let root = tempfile::tempdir().unwrap();
        let slot = |name: &str, device: &str, has_light: bool| {
            let slot = root.path().join("0:0:8:0").join(name);
            fs::create_dir_all(slot.join("device/block").join(device).join(format!("{device}1"))).unwrap();
            if has_light {
                fs::write(slot.join("locate"), "0").unwrap();
            }
            slot.join("locate")
        };
        let (first, _) = (slot("Slot 01", "sda", true), slot("Slot 02", "sdb", false));
        let last = slot("Slot 03", "sdc", true);
        let light = |device: &str| light_of(root.path(), Path::new(device));
        assert_eq!((light("sda"), light("sda1")), (Some(first.clone()), Some(first)));
        assert_eq!((light("sdb"), light("sdd"), light("sd")), (None, None, None));
        assert_eq!(light("sdc"), Some(last));
        assert_eq!(light_of(&root.path().join("none"), Path::new("sda")), None);
    }

    #[test]
    fn a_drive_without_a_light_is_read() {
        // A file system in memory may not have direct I/O.
        let scratch = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tmp");
        fs::create_dir_all(&scratch).unwrap();
        let directory = tempfile::tempdir_in(scratch).unwrap();
        let drive = directory.path().join("drive");
        fs::write(&drive, vec![7; 1 << 20]).unwrap();
        assert_eq!(identify(&drive, Duration::from_millis(1)).unwrap(), Shown::Reads);
        fs::write(&drive, "").unwrap();
        let error = identify(&drive, Duration::from_millis(1)).unwrap_err();
        assert!(error.to_string().contains("empty"), "{error}");
        assert!(identify(&directory.path().join("absent"), Duration::ZERO).is_err());
    }
}
