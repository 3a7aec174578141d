//! The admin socket in the data directory.
//!
//! Invariants:
//! - The socket has mode 0600 from the moment its file exists.
//! - A socket that a killed server left behind is replaced. One that answers belongs to another
//!   server, and is refused.
//! - The file is removed when its owner is dropped.

use rustix::fs::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The name of the socket in the data directory.
pub const FILE: &str = "admin.sock";
const BACKLOG: i32 = 64;
/// How long the socket of a server that was killed may go on answering.
const DYING: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(20);
/// The longest path that `sockaddr_un` holds beside its terminating zero, in bytes.
const PATH_BYTES_MAX: usize = 107;

/// The reason why the admin socket can not be made.
#[derive(Debug, thiserror::Error)]
pub enum AdminSocketError {
    #[error(
        "another server answers at {}: two servers can not share a data directory; give each its own with --data",
        path.display()
    )]
    InUse { path: PathBuf },
    #[error(
        "can not make the admin socket {}: {source}; the data directory must be on a local file system",
        path.display()
    )]
    Make { path: PathBuf, source: io::Error },
}

/// The listening socket and its file. The file is removed when this is dropped.
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl AdminSocket {
    /// Makes the socket in `data_dir` and listens on it. Fails if another server answers there, or
    /// if the socket can not be made.
    pub fn bind(data_dir: &Path) -> Result<Self, AdminSocketError> {
        let path = data_dir.join(FILE);
        let failed = |source| AdminSocketError::Make { path: path.clone(), source };
        let directory = File::open(data_dir).map_err(failed)?;
        let reachable = reachable(&directory, &path);
        if keeps_answering(&reachable) {
            return Err(AdminSocketError::InUse { path });
        }
        match std::fs::symlink_metadata(&path) {
            Ok(found) if found.file_type().is_socket() => std::fs::remove_file(&path).map_err(failed)?,
            _ => {}
        }
        let listener = listen(&reachable).map_err(failed)?;
        Ok(Self { listener, path })
    }

    /// Returns the path of the socket's file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns a handle of the listener, for the core that serves it.
    pub fn listener(&self) -> io::Result<UnixListener> {
        self.listener.try_clone()
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        // A file that stays is replaced at the next start.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Returns whether a server answers at this path, and still does after [`DYING`]: the kernel closes
/// the socket of a server that was killed only after it has taken its rings apart.
#[expect(clippy::disallowed_methods, reason = "the server starts: no core runs yet that could be blocked")]
fn keeps_answering(path: &Path) -> bool {
    let until = Instant::now() + DYING;
    while answers(path) {
        if Instant::now() >= until {
            return true;
        }
        std::thread::sleep(LOOK);
    }
    false
}

/// Returns whether somebody listens at this path. One who accepts nothing does too: the connection
/// is refused with [`io::ErrorKind::WouldBlock`] when as many wait as may.
fn answers(path: &Path) -> bool {
    let connect = || -> io::Result<()> {
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.connect(&SockAddr::unix(path)?)
    };
    connect().map_or_else(|error| error.kind() == io::ErrorKind::WouldBlock, |()| true)
}

/// Returns a path by which the kernel takes the socket: it refuses long ones, which go by way of
/// the open directory.
fn reachable(directory: &File, path: &Path) -> PathBuf {
    if path.as_os_str().len() <= PATH_BYTES_MAX {
        return path.to_owned();
    }
    Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(FILE)
}

fn listen(path: &Path) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // The mode is set before the socket has a name: its file gets the same mode.
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    socket.bind(&SockAddr::unix(path)?)?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(UnixListener::from(std::os::fd::OwnedFd::from(socket)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn it_is_its_owners_alone_and_goes_with_it() {
        let directory = tempfile::tempdir().unwrap();
        let socket = AdminSocket::bind(directory.path()).unwrap();
        let mode = std::fs::metadata(socket.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let second = AdminSocket::bind(directory.path()).err().unwrap();
        assert!(matches!(&second, AdminSocketError::InUse { path } if path == socket.path()), "{second}");
        let path = socket.path().to_owned();
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn what_a_killed_server_left_is_replaced_and_other_files_are_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join(FILE);
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists(), "as after a kill");
        drop(AdminSocket::bind(directory.path()).unwrap());
        std::fs::write(&path, "somebody's").unwrap();
        let refused = AdminSocket::bind(directory.path()).err().unwrap().to_string();
        assert!(refused.contains(FILE), "{refused}");
        assert_eq!(std::fs::read(&path).unwrap(), b"somebody's");
    }

    #[test]
    #[expect(
        clippy::disallowed_methods,
        reason = "what is waited for is the time that the other takes to die"
    )]
    fn a_server_that_is_still_dying_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let dying = UnixListener::bind(directory.path().join(FILE)).unwrap();
        let ends = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            drop(dying);
        });
        assert!(AdminSocket::bind(directory.path()).is_ok());
        ends.join().unwrap();
    }

    #[test]
    fn a_server_that_accepts_nobody_is_refused_too() {
        let directory = tempfile::tempdir().unwrap();
        let busy = Socket::new(Domain::UNIX, Type::STREAM, None).unwrap();
        busy.bind(&SockAddr::unix(directory.path().join(FILE)).unwrap()).unwrap();
        busy.listen(1).unwrap();
        assert!(matches!(AdminSocket::bind(directory.path()), Err(AdminSocketError::InUse { .. })));
    }

    #[test]
    fn a_data_directory_with_a_long_path_has_one_too() {
        let directory = tempfile::tempdir().unwrap();
        let deep = directory.path().join("d".repeat(100)).join("e".repeat(100));
        std::fs::create_dir_all(&deep).unwrap();
        let socket = AdminSocket::bind(&deep).unwrap();
        assert!(deep.join(FILE).exists());
        assert!(matches!(AdminSocket::bind(&deep), Err(AdminSocketError::InUse { .. })));
        drop(socket);
        assert!(!deep.join(FILE).exists());
    }
}
