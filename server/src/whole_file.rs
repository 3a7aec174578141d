//! Files that are there whole, or as they were, whenever a start ends.
//!
//! Invariant: what is written has another name until it is durable, and its mode from the beginning, so
//! that nobody whom the mode shuts out can read any of it at any time.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// What could not be done with a file.
#[derive(Debug)]
pub struct FileError {
    /// A verb, as in `write`.
    pub action: &'static str,
    pub source: io::Error,
}

fn failed(action: &'static str) -> impl FnOnce(io::Error) -> FileError {
    move |source| FileError { action, source }
}

/// Writes a file beside `path` and flushes it. Returns its path, which the caller gives the name.
pub fn write_beside(path: &Path, bytes: &[u8], mode: u32) -> Result<PathBuf, FileError> {
    let mut name: OsString = path.as_os_str().to_owned();
    name.push(".unfinished");
    let unfinished = PathBuf::from(name);
    // What a start left that ended in the middle may have another mode.
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("replace")(error)),
        _ => {}
    }
    let mut options = OpenOptions::new();
    let mut file =
        options.write(true).create_new(true).mode(mode).open(&unfinished).map_err(failed("create"))?;
    file.write_all(bytes).map_err(failed("write"))?;
    file.sync_all().map_err(failed("flush"))?;
    Ok(unfinished)
}

/// Makes the names in the directory of `path` durable.
pub fn flush_directory(path: &Path) -> Result<(), FileError> {
    let directory = path.parent().unwrap_or(path);
    let flushed = File::open(directory).and_then(|directory| directory.sync_all());
    flushed.map_err(failed("flush the directory of"))
}

/// Replaces a file, or makes it.
pub fn replace(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FileError> {
    let unfinished = write_beside(path, bytes, mode)?;
    std::fs::rename(unfinished, path).map_err(failed("finish"))?;
    flush_directory(path)
}
