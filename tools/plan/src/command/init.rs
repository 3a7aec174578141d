//! This module is the command `ringbolt plan init`: it writes two files to edit.
//!
//! Invariant: an existing file is not changed without --force.

use super::CommandError;
use crate::cli::InitArgs;
use crate::input::template;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

pub const WORKLOAD: &str = "workload.toml";
pub const HARDWARE: &str = "hardware.toml";

/// Writes both files, and says what to do next.
pub fn init(args: &InitArgs) -> Result<(), CommandError> {
    let wrong = |path: &Path, error| CommandError::File { path: path.to_owned(), error };
    fs::create_dir_all(&args.directory).map_err(|error| wrong(&args.directory, error))?;
    let (workload, hardware) = (args.directory.join(WORKLOAD), args.directory.join(HARDWARE));
    let files = [(&workload, template().workload), (&hardware, template().hardware)];
    // Neither file is written if one of them exists.
    if let Some((path, _)) = files.iter().find(|(path, _)| !args.force && path.symlink_metadata().is_ok()) {
        return Err(CommandError::Exists((*path).clone()));
    }
    for (path, text) in files {
        write(path, text, args.force).map_err(|error| wrong(path, error))?;
    }
    print!("{}", next(&workload, &hardware, args.directory == Path::new(".")));
    Ok(())
}

fn write(path: &Path, text: &str, force: bool) -> io::Result<()> {
    let mut options = OpenOptions::new();
    // Without --force, this also fails if the file was created in between.
    if force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    options.write(true).open(path)?.write_all(text.as_bytes())
}

fn next(workload: &Path, hardware: &Path, here: bool) -> String {
    let (workload, hardware) = (workload.display(), hardware.display());
    let files = if here { String::new() } else { format!(" {workload} {hardware}") };
    format!(
        "Written: {workload}, {hardware}\n\n\
         They describe an example. What comes next:\n  \
         1. Edit them: what you store and ask for; what machines you have, or think of buying.\n  \
         2. Put measured figures in place of the example's, where you can:\n       \
         ringbolt plan scan --endpoint URL --bucket NAME    how large your objects are\n       \
         ringbolt bench profile --drive PATH                what a drive does; what is on it is lost\n       \
         ringbolt plan calibrate                            what the engine costs on this machine\n  \
         3. ringbolt plan run{files} --html plan.html\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_stays_without_force() {
        let directory = tempfile::tempdir().unwrap();
        let inner = directory.path().join("new/inner");
        let args = |force| InitArgs { directory: inner.clone(), force };
        init(&args(false)).unwrap();
        let (workload, hardware) = (inner.join(WORKLOAD), inner.join(HARDWARE));
        assert_eq!(fs::read_to_string(&workload).unwrap(), template().workload);
        fs::write(&hardware, "mine").unwrap();
        fs::remove_file(&workload).unwrap();
        let error = init(&args(false)).unwrap_err();
        assert!(error.to_string().contains("hardware.toml exists; give --force"), "{error}");
        assert_eq!(error.status(), 2);
        assert!(!workload.exists(), "neither is written");
        assert_eq!(fs::read_to_string(&hardware).unwrap(), "mine");
        init(&args(true)).unwrap();
        assert_eq!(fs::read_to_string(&hardware).unwrap(), template().hardware);
    }

    #[test]
    fn the_next_command_names_the_files_where_they_are() {
        let text = next(Path::new("a/workload.toml"), Path::new("a/hardware.toml"), false);
        assert!(text.contains("ringbolt plan run a/workload.toml a/hardware.toml --html"), "{text}");
        let text = next(Path::new("./workload.toml"), Path::new("./hardware.toml"), true);
        assert!(text.contains("ringbolt plan run --html"), "{text}");
    }
}
