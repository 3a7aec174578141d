//! This module writes results to their destination.
//!
//! Invariant: a regular file is replaced by a complete one, or not at all; devices and pipes are
//! written directly.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Says why a result could not be written.
#[derive(Debug, thiserror::Error)]
#[error("results can not be written to {}: {error}", .path.display())]
pub struct OutputError {
    path: PathBuf,
    error: io::Error,
}

/// This is the destination of a result; it is opened before the work begins.
#[derive(Debug)]
pub struct Output {
    path: PathBuf,
    target: Target,
}

#[derive(Debug)]
enum Target {
    Stdout,
    /// This is a temporary file beside the file that it will replace.
    Whole(NamedTempFile),
    Open(File),
}

impl Output {
    /// Opens the destination; `None` and `-` mean standard output.
    ///
    /// # Errors
    /// Fails when the destination is not writable.
    pub fn to(path: Option<&Path>) -> Result<Self, OutputError> {
        let Some(path) = path.filter(|path| *path != Path::new("-")) else {
            return Ok(Self { path: PathBuf::from("standard output"), target: Target::Stdout });
        };
        let target = target(path).map_err(|error| OutputError { path: path.to_owned(), error })?;
        Ok(Self { path: path.to_owned(), target })
    }

    /// Returns the temporary file beside the file that it will replace.
    pub fn temporary(&self) -> Option<&Path> {
        match &self.target {
            Target::Whole(file) => Some(file.path()),
            Target::Stdout | Target::Open(_) => None,
        }
    }

    /// Writes the result.
    ///
    /// # Errors
    /// Fails when it cannot be written.
    pub fn write(self, text: &str) -> Result<(), OutputError> {
        let Self { path, target } = self;
        let written = match target {
            Target::Stdout => to_stdout(text),
            Target::Open(mut file) => file.write_all(text.as_bytes()),
            Target::Whole(mut file) => file
                .write_all(text.as_bytes())
                .and_then(|()| file.persist(&path).map(drop).map_err(|error| error.error)),
        };
        written.map_err(|error| OutputError { path, error })
    }
}

fn target(path: &Path) -> io::Result<Target> {
    match path.metadata() {
        Ok(data) if data.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(data) if !data.is_file() => Ok(Target::Open(OpenOptions::new().write(true).open(path)?)),
        _ => {
            let beside = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            // The permissions are those of any new file: the umask restricts them.
            tempfile::Builder::new()
                .permissions(Permissions::from_mode(0o666))
                .tempfile_in(beside.unwrap_or(Path::new(".")))
                .map(Target::Whole)
        }
    }
}

fn to_stdout(text: &str) -> io::Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        // The reader has closed the pipe, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_only_by_a_whole_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("plan.json");
        std::fs::write(&path, "before").unwrap();
        drop(Output::to(Some(&path)).unwrap());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "before");
        Output::to(Some(&path)).unwrap().write("after").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "after");
        assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 1, "nothing is left beside it");
        // Others may read the file if the umask lets them.
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode();
        let plain = directory.path().join("plain");
        std::fs::write(&plain, "").unwrap();
        assert_eq!(mode(&path), mode(&plain));
    }

    #[test]
    fn what_can_not_be_written_is_known_before() {
        let directory = tempfile::tempdir().unwrap();
        for path in [directory.path().to_owned(), directory.path().join("nowhere/plan.json")] {
            let error = Output::to(Some(&path)).unwrap_err().to_string();
            assert!(error.contains(&path.display().to_string()), "{error}");
        }
        Output::to(Some(Path::new("/dev/null"))).unwrap().write("text").unwrap();
        assert!(!Path::new("/dev/null").metadata().unwrap().is_file(), "it is still a device");
    }
}
