//! This module checks directory, cores and program before minutes of measuring.

use super::{CalibrateArgs, DISK_BYTES};
use ringbolt_bench::run::settle;
use ringbolt_tool_common::process::without_settings;
use ringbolt_tool_common::units::human_binary;
use rustix::fs::OFlags;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The program's version text begins with this.
const PROGRAM: &str = "ringbolt ";

/// Says why the measurement does not begin.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    #[error("--directory {}: {error}; name a directory that this user may write to", .path.display())]
    Directory { path: PathBuf, error: io::Error },
    #[error(
        "--directory {}: its file system takes no direct I/O ({error}); name one on a drive, such as ext4 or xfs",
        .path.display()
    )]
    NoDirectIo { path: PathBuf, error: io::Error },
    #[error(
        "--directory {}: {} are free, and the drive files take {}; make room, or name another one",
        .path.display(),
        in_words(.free_bytes),
        in_words(&DISK_BYTES)
    )]
    NoSpace { path: PathBuf, free_bytes: u64 },
    #[error(
        "--server-core and --client-core are both {0}: each would be measured with the other; give two CPUs"
    )]
    OneCore(usize),
    #[error("{option} {core}: {why}")]
    Core { option: &'static str, core: usize, why: String },
    #[error("--server {}: {why}; name the ringbolt program", .path.display())]
    Server { path: PathBuf, why: String },
}

fn in_words(bytes: &u64) -> String {
    human_binary(*bytes as f64)
}

/// Checks that the measurement is possible; `program` is the server's.
///
/// # Errors
/// Returns the first reason why it is not.
pub fn check(args: &CalibrateArgs, program: &Path) -> Result<(), Refusal> {
    if args.server_core == args.client_core {
        return Err(Refusal::OneCore(args.server_core));
    }
    for (option, core) in [("--server-core", args.server_core), ("--client-core", args.client_core)] {
        check_core(core).map_err(|why| Refusal::Core { option, core, why })?;
    }
    check_program(program).map_err(|why| Refusal::Server { path: program.to_owned(), why })?;
    check_directory(&args.directory)
}

/// Checks that a thread can be pinned to a core, as the measurement will do.
fn check_core(core: usize) -> Result<(), String> {
    let thread = std::thread::spawn(move || settle(Some(&[core])));
    thread.join().unwrap_or_else(|_| Err("a thread can not be pinned".to_owned()))
}

fn check_program(program: &Path) -> Result<(), String> {
    let mut command = Command::new(program);
    without_settings(&mut command).arg("--version").stdin(Stdio::null());
    let said = command.output().map_err(|error| error.to_string())?;
    let version = String::from_utf8_lossy(&said.stdout);
    if said.status.success() && version.starts_with(PROGRAM) {
        return Ok(());
    }
    Err(format!("it does not say with --version that it is one ({})", said.status))
}

fn check_directory(path: &Path) -> Result<(), Refusal> {
    let refused = |error| Refusal::Directory { path: path.to_owned(), error };
    let place = tempfile::Builder::new().prefix("plan-calibrate-").tempdir_in(path).map_err(refused)?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).custom_flags(OFlags::DIRECT.bits() as i32);
    let direct = options.open(place.path().join("direct"));
    direct.map_err(|error| Refusal::NoDirectIo { path: path.to_owned(), error })?;
    let space = rustix::fs::statvfs(place.path()).map_err(|error| refused(error.into()))?;
    let free_bytes = space.f_bavail.saturating_mul(space.f_frsize);
    if free_bytes < DISK_BYTES {
        return Err(Refusal::NoSpace { path: path.to_owned(), free_bytes });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args as _, FromArgMatches as _};
    use std::os::unix::fs::PermissionsExt;

    fn args(words: &[&str]) -> CalibrateArgs {
        let command = CalibrateArgs::augment_args(clap::Command::new("calibrate"));
        let matches = command.try_get_matches_from([&["calibrate"], words].concat()).unwrap();
        CalibrateArgs::from_arg_matches(&matches).unwrap()
    }

    /// Writes a program that prints what the server's program prints.
    fn program(folder: &Path) -> PathBuf {
        let path = folder.join("ringbolt");
        std::fs::write(&path, "#!/bin/sh\necho ringbolt 0.1.0\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    #[test]
    fn what_can_not_be_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let program = program(folder.path());
        let refused = |words: &[&str], program: &Path| check(&args(words), program).unwrap_err().to_string();
        assert!(refused(&["--client-core", "0"], &program).contains("are both 0"));
        let far = refused(&["--client-core", "1000"], &program);
        assert!(far.starts_with("--client-core 1000: "), "{far}");
        let far = refused(&["--server-core", "5000"], &program);
        assert!(far.starts_with("--server-core 5000: "), "{far}");
        let nowhere = refused(&["--directory", "/nowhere/at/all"], &program);
        assert!(nowhere.starts_with("--directory /nowhere/at/all: "), "{nowhere}");
        let proc = refused(&["--directory", "/proc"], &program);
        assert!(proc.starts_with("--directory /proc: "), "{proc}");
        let file = program.display().to_string();
        assert!(refused(&["--directory", &file], &program).starts_with(&format!("--directory {file}: ")));
        for other in ["/bin/true", "/nowhere/ringbolt", "/etc/passwd"] {
            let other = refused(&[], Path::new(other));
            assert!(other.starts_with("--server ") && other.contains("name the ringbolt program"), "{other}");
        }
        let left = std::fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 1, "nothing is left behind");
    }
}
