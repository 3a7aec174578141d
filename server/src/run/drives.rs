//! The drives that a server opens, and the drive file that it makes on its first start.

use super::{ServeError, ServeOptions};
use ringbolt_engine::node::{
    FormatOptions, FormatReport, ReplaceOptions, ReplaceReport, format_drive, is_drive, make_replacement,
};
use std::collections::BTreeSet;
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

const DEFAULT_FILE: &str = "drive0";

/// Returns the drives to open. If none is named, it is the default one, which is made if it does
/// not exist.
pub fn prepare_drives(options: &ServeOptions) -> Result<Vec<PathBuf>, ServeError> {
    if !options.drives.is_empty() {
        return Ok(options.drives.clone());
    }
    if let Some(set) = &options.drive_set {
        return Ok(find_drives(set)?);
    }
    let path = options.data_dir.join(DEFAULT_FILE);
    if !path.exists() {
        eprintln!("Making the drive file {} of {}.", path.display(), human_size(options.drive_bytes));
        // The file has another name until it is whole, so that an interrupted start leaves no
        // half-made drive behind.
        let unfinished = options.data_dir.join(format!("{DEFAULT_FILE}.unfinished"));
        let format = FormatOptions {
            size_bytes: Some(options.drive_bytes),
            shards: options.shards,
            redundancy: options.redundancy,
            force: true,
            ..FormatOptions::default()
        };
        format_with_progress(&[&unfinished], format)?;
        std::fs::rename(&unfinished, &path)
            .map_err(|source| ServeError::Directory { path: path.clone(), source })?;
    }
    Ok(vec![path])
}

/// The reason why no drives are found.
#[derive(Debug, thiserror::Error)]
pub enum DriveSetError {
    #[error("can not read the directory {}: {source}", path.display())]
    Directory { path: PathBuf, source: io::Error },
    #[error("--drive-set {} is no directory and no pattern of paths: {problem}", path.display())]
    Pattern { path: PathBuf, problem: String },
    #[error(
        "no drive is at --drive-set {}, of {seen} files and devices there; make one with `ringbolt format`, or name \
         the place where the drives are",
        path.display()
    )]
    None { path: PathBuf, seen: usize },
}

/// Finds the drives in a directory, or at the paths that fit a pattern. Whatever else is there is passed
/// over; of several links to one drive, one is taken.
///
/// # Errors
/// Fails when there is none.
fn find_drives(set: &Path) -> Result<Vec<PathBuf>, DriveSetError> {
    let paths: Vec<PathBuf> = if set.is_dir() {
        let failed = |source| DriveSetError::Directory { path: set.to_owned(), source };
        let entries =
            std::fs::read_dir(set).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        entries.into_iter().map(|entry| entry.path()).collect()
    } else {
        let wrong = |problem: String| DriveSetError::Pattern { path: set.to_owned(), problem };
        let pattern = set.to_str().ok_or_else(|| wrong("it is not UTF-8".to_owned()))?;
        let found = glob::glob(pattern).map_err(|error| wrong(error.to_string()))?;
        // A directory on the way that can not be read has no drives for this user.
        found.filter_map(Result::ok).collect()
    };
    let (mut drives, mut seen) = (BTreeSet::new(), 0);
    for path in paths {
        // What is gone meanwhile, or a link to nothing, is no drive.
        let Ok(real) = path.canonicalize() else { continue };
        let Ok(metadata) = real.metadata() else { continue };
        if !(metadata.is_file() || metadata.file_type().is_block_device()) {
            continue;
        }
        seen += 1;
        match is_drive(&real) {
            Ok(true) => drop(drives.insert(real)),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "can not see whether this is a drive")
            }
        }
    }
    if drives.is_empty() {
        return Err(DriveSetError::None { path: set.to_owned(), seen });
    }
    tracing::info!(?drives, "the drives that were found");
    Ok(drives.into_iter().collect())
}

/// Formats drives with a seed of random numbers, and shows the progress on stderr. Fails if a drive
/// can not be formatted, or if the system gives no random numbers.
pub fn format_with_progress(
    paths: &[&Path],
    mut options: FormatOptions,
) -> Result<Vec<FormatReport>, ServeError> {
    seed(&mut options.seed)?;
    let mut progress = Progress::new(std::io::stderr().is_terminal());
    let result = format_drive(paths, &options, &mut |done, total| progress.show(done, total));
    progress.end();
    Ok(result?)
}

/// Makes a drive that takes the place of one that is lost, with random numbers, and shows the progress on stderr.
/// Fails if there is no such place, or if the system gives no random numbers.
pub fn replace_with_progress(
    set: &[&Path],
    new: &Path,
    mut options: ReplaceOptions,
) -> Result<ReplaceReport, ServeError> {
    seed(&mut options.seed)?;
    let mut progress = Progress::new(std::io::stderr().is_terminal());
    let result = make_replacement(set, new, &options, &mut |done, total| progress.show(done, total));
    progress.end();
    Ok(result?)
}

fn seed(words: &mut [u64]) -> Result<(), ServeError> {
    for word in words {
        *word = getrandom::u64().map_err(|error| ServeError::Random(error.to_string()))?;
    }
    Ok(())
}

/// Shows progress: a line that is rewritten on a terminal, and a line for each quarter elsewhere.
struct Progress {
    terminal: bool,
    last_percent: Option<u64>,
}

impl Progress {
    fn new(terminal: bool) -> Self {
        Self { terminal, last_percent: None }
    }

    fn show(&mut self, done: u64, total: u64) {
        let percent = (u128::from(done) * 100 / u128::from(total.max(1))) as u64;
        let step = if self.terminal { 1 } else { 25 };
        let percent = percent / step * step;
        if self.last_percent == Some(percent) {
            return;
        }
        self.last_percent = Some(percent);
        let line = format!("  zeroing {percent:3}% of {}", human_size(total));
        if self.terminal {
            let bar = "#".repeat(percent as usize / 4);
            eprint!("\r{line} [{bar:<25}]");
        } else {
            eprintln!("{line}");
        }
        // Progress that can not be shown is no reason to fail.
        let _ = std::io::stderr().flush();
    }

    fn end(&self) {
        if self.terminal && self.last_percent.is_some() {
            eprintln!();
        }
    }
}

/// Returns a size for people, such as `4.0 GiB`.
pub fn human_size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drives_are_found_among_other_things_and_each_once() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let find = |set: &Path| find_drives(set).map_err(|error| error.to_string());
        std::fs::write(at("notes"), "RINGBOL").unwrap();
        std::fs::create_dir(at("below")).unwrap();
        assert!(find(directory.path()).unwrap_err().contains("of 1 files"));
        std::fs::write(at("one"), "RINGBOLT and more").unwrap();
        // Its first copy is damaged.
        let mut bytes = vec![0; 65 << 10];
        bytes[64 << 10..][..8].copy_from_slice(b"RINGBOLT");
        std::fs::write(at("two"), bytes).unwrap();
        std::os::unix::fs::symlink(at("one"), at("link")).unwrap();
        std::os::unix::fs::symlink(at("nowhere"), at("broken")).unwrap();
        let real = |name: &str| at(name).canonicalize().unwrap();
        assert_eq!(find(directory.path()), Ok(vec![real("one"), real("two")]));
        assert_eq!(find(&at("t*")), Ok(vec![real("two")]));
        assert_eq!(find(&at("[ol]*")), Ok(vec![real("one")]));
        assert!(find(&at("x*")).unwrap_err().contains("of 0 files"));
        assert!(find(&at("[")).unwrap_err().contains("no pattern of paths"));
    }
}
