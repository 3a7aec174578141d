//! The drives that a server opens, and the drive file that it makes on its first start.

use super::{ServeError, ServeOptions};
use ringbolt_engine::node::{FormatOptions, FormatReport, format_drive};
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

const DEFAULT_FILE: &str = "drive0";

/// Returns the drives to open. If none is named, it is the default one, which is made if it does
/// not exist.
pub fn prepare_drives(options: &ServeOptions) -> Result<Vec<PathBuf>, ServeError> {
    if !options.drives.is_empty() {
        return Ok(options.drives.clone());
    }
    let path = options.data_dir.join(DEFAULT_FILE);
    if !path.exists() {
        eprintln!("Making the drive file {} of {}.", path.display(), human_size(options.drive_bytes));
        // The file has another name until it is whole, so that an interrupted start leaves no
        // half-made drive behind.
        let unfinished = options.data_dir.join(format!("{DEFAULT_FILE}.unfinished"));
        format_with_progress(&[&unfinished], Some(options.drive_bytes), options.shards, true)?;
        std::fs::rename(&unfinished, &path)
            .map_err(|source| ServeError::Directory { path: path.clone(), source })?;
    }
    Ok(vec![path])
}

/// Formats drives and shows the progress on stderr. Fails if a drive can not be formatted, or if
/// the system gives no random numbers.
pub fn format_with_progress(
    paths: &[&Path],
    size_bytes: Option<u64>,
    shards: u16,
    force: bool,
) -> Result<Vec<FormatReport>, ServeError> {
    let mut seed = [0; 4];
    for word in &mut seed {
        *word = getrandom::u64().map_err(|error| ServeError::Random(error.to_string()))?;
    }
    let mut progress = Progress::new(std::io::stderr().is_terminal());
    let options = FormatOptions { size_bytes, shards, force, seed };
    let result = format_drive(paths, &options, &mut |done, total| progress.show(done, total));
    progress.end();
    Ok(result?)
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
