//! This module runs a server process: it starts the server, finds its addresses, and ends it by its
//! own process id.
//!
//! Invariant: a server started here is ended when its owner is dropped, also in a panic.

use rustix::process::{Pid, Signal, kill_process};
use std::io::{self, BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

/// Says why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("can not start the server: {0}")]
    Spawn(#[from] io::Error),
    #[error("the server ended with {0} before it was ready")]
    Ended(ExitStatus),
    #[error("the server was not ready within {0:?}")]
    Silent(Duration),
}

/// This is a process that is starting as a server.
pub struct Starting {
    child: ServerProcess,
    endpoints: Receiver<Endpoints>,
}

/// Holds the addresses of a server: that of S3, and that of health and metrics if there is one.
type Endpoints = (SocketAddr, Option<SocketAddr>);

/// This is a server process, which is killed when dropped.
pub struct ServerProcess {
    child: Child,
    admin: Option<SocketAddr>,
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // Both calls fail only when the process has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl ServerProcess {
    /// Spawns `command`, which must be a `ringbolt serve`, and reads its stdout.
    ///
    /// # Errors
    /// Fails when the program cannot be run.
    pub fn spawn(command: &mut Command) -> io::Result<Starting> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let mut child = Self { child, admin: None };
        let (sender, endpoints) = channel();
        if let Some(stdout) = child.child.stdout.take() {
            // The thread continues to read after the endpoints, because a full pipe would stop the
            // server.
            std::thread::spawn(move || {
                let mut endpoint = None;
                for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                    endpoint = endpoint.or_else(|| endpoint_in(&line));
                    if let Some((endpoint, admin)) = endpoint.zip(admin_in(&line)) {
                        // Nobody waits any more if the process was killed while it started.
                        let _ = sender.send((endpoint, admin));
                    }
                }
            });
        }
        Ok(Starting { child, endpoints })
    }

    /// Returns the process id, which gives access to what the kernel knows about the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the address of health and metrics once the server is ready; `None` with
    /// `--admin-listen off`.
    pub fn admin(&self) -> Option<SocketAddr> {
        self.admin
    }

    /// Kills the process (`kill -9`), and waits for its end.
    ///
    /// # Errors
    /// Fails when the process cannot be waited for.
    pub fn kill(mut self) -> io::Result<ExitStatus> {
        self.child.kill()?;
        self.child.wait()
    }

    /// Sends SIGTERM; the server ends after its current work.
    ///
    /// # Errors
    /// Fails when the process has ended and was waited for.
    pub fn terminate(&self) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), Signal::TERM)?)
    }

    /// Sends SIGHUP; the server reads again what can change.
    ///
    /// # Errors
    /// Fails when the process has ended and was waited for.
    pub fn hang_up(&self) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), Signal::HUP)?)
    }

    /// Waits for the end.
    ///
    /// # Errors
    /// Fails when the process cannot be waited for.
    pub fn wait(mut self) -> io::Result<ExitStatus> {
        self.child.wait()
    }

    /// Returns the exit status if the process has ended.
    ///
    /// # Errors
    /// Fails when the kernel does not know the process.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }
}

impl Starting {
    /// Waits until the server prints its address, which it does after its recovery.
    ///
    /// # Errors
    /// Fails when the server ends before, or takes longer than `limit`.
    pub fn ready(mut self, limit: Duration) -> Result<(ServerProcess, SocketAddr), StartError> {
        match self.endpoints.recv_timeout(limit) {
            Ok((address, admin)) => {
                self.child.admin = admin;
                Ok((self.child, address))
            }
            Err(RecvTimeoutError::Timeout) => Err(StartError::Silent(limit)),
            // Its stdout is closed: it has ended, or is about to.
            Err(RecvTimeoutError::Disconnected) => Err(StartError::Ended(self.child.child.wait()?)),
        }
    }

    /// Kills the process (`kill -9`) after `delay`, or when it is ready if that is earlier. Returns
    /// true when it was not ready yet.
    ///
    /// # Errors
    /// Fails when the process cannot be waited for.
    pub fn kill_after(self, delay: Duration) -> io::Result<bool> {
        let early = self.endpoints.recv_timeout(delay).is_err();
        self.child.kill()?;
        Ok(early)
    }
}

/// Removes the settings of the user who runs a test, which must not reach the server under test.
pub fn without_settings(command: &mut Command) -> &mut Command {
    let is_setting = |name: &std::ffi::OsString| name.to_string_lossy().starts_with("RINGBOLT_");
    for name in std::env::vars_os().map(|(name, _)| name).filter(is_setting) {
        command.env_remove(name);
    }
    command
}

fn endpoint_in(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("is ready at ")?;
    without_scheme(rest)?.split_whitespace().next()?.trim_end_matches('/').parse().ok()
}

fn without_scheme(url: &str) -> Option<&str> {
    url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"))
}

/// Parses the line after the endpoint's. Returns `Some`, with the address if there is one.
fn admin_in(line: &str) -> Option<Option<SocketAddr>> {
    let rest = line.strip_prefix("Health and metrics are ")?;
    let address = rest.strip_prefix("at ").and_then(without_scheme);
    let address = address.and_then(|rest| rest.split_whitespace().next());
    Some(address.and_then(|address| address.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_is_in_the_banner() {
        let address = endpoint_in("Ringbolt 0.1.0 is ready at http://127.0.0.1:4711");
        assert_eq!(address, Some(SocketAddr::from(([127, 0, 0, 1], 4711))));
        assert_eq!(endpoint_in("Ringbolt 0.1.0 is ready at https://127.0.0.1:4711"), address);
        let admin =
            admin_in("Health and metrics are at http://127.0.0.1:4712 and in the socket d/admin.sock");
        assert_eq!(admin, Some(Some(SocketAddr::from(([127, 0, 0, 1], 4712)))));
        assert_eq!(admin_in("Health and metrics are in the socket d/admin.sock"), Some(None));
        assert_eq!(admin_in("Ringbolt 0.1.0 is ready at http://127.0.0.1:4711"), None);
        assert_eq!(endpoint_in("Try it: aws --endpoint-url http://127.0.0.1:4711 s3 mb s3://demo"), None);
    }

    #[test]
    fn a_program_that_ends_at_once_is_told_from_a_slow_one() {
        let ended = ServerProcess::spawn(&mut Command::new("false")).unwrap().ready(Duration::from_secs(60));
        assert!(matches!(ended, Err(StartError::Ended(status)) if !status.success()));
        let slow = ServerProcess::spawn(Command::new("sleep").arg("600")).unwrap();
        assert!(slow.kill_after(Duration::from_millis(1)).unwrap());
    }
}
