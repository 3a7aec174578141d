//! This module runs the processes under load, which the measurement starts and ends.

use super::client::{Connection, block_on};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{self, BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub const ACCESS_KEY: &str = "RINGBOLTBENCH0000000";
pub const SECRET_KEY: &str = "benches-only-secret-key-0123456789abcdef";

#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    #[error("could not start {program}: {source}; build it with `cargo build --release`")]
    Start { program: String, source: io::Error },
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the server ended with {status} before it answered; its messages are in {log}")]
    Ended { status: std::process::ExitStatus, log: String },
    #[error("no answer from {address} within {seconds} s; the server's messages are in {log}")]
    Silent { address: SocketAddr, seconds: u64, log: String },
    #[error("the server gave no address")]
    NoAddress,
}

/// Says how `ringbolt serve` is started.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    pub program: PathBuf,
    pub data: PathBuf,
    pub size: String,
    pub memory: String,
    pub core: usize,
    pub anonymous: bool,
    /// This is the value of `--read-cache`.
    pub read_cache: Option<String>,
    /// It speaks HTTPS, with a certificate of its own.
    pub tls: bool,
    /// Holds further flags of `serve`.
    pub flags: Vec<String>,
}

impl ServeOptions {
    /// Returns options of a server on fresh data in `name` under `dir`, by `program` or the one beside this.
    pub fn fresh(dir: &Path, name: &str, program: Option<&Path>) -> io::Result<Self> {
        let data = dir.join(name);
        if data.exists() {
            std::fs::remove_dir_all(&data)?;
        }
        std::fs::create_dir_all(dir)?;
        Ok(Self {
            program: program.map_or_else(default_program, Path::to_path_buf),
            data,
            size: "1GiB".into(),
            memory: "1GiB".into(),
            core: 0,
            anonymous: false,
            read_cache: None,
            tls: false,
            flags: Vec::new(),
        })
    }
}

/// This is a running server, which is ended when dropped.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    log: PathBuf,
}

impl Server {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Starts the bare hyper server, which is this program with the argument `hyper`.
    pub fn start_hyper(core: usize) -> Result<Self, ProcessError> {
        Self::start_own(&["hyper", "--core", &core.to_string()])
    }

    /// This very program with other arguments, with which it serves and first prints the address it listens on.
    pub fn start_own(arguments: &[&str]) -> Result<Self, ProcessError> {
        let program = std::env::current_exe()?;
        let mut child = Command::new(&program)
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|source| ProcessError::Start { program: program.display().to_string(), source })?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        let mut server =
            Self { child, address: SocketAddr::from(([127, 0, 0, 1], 0)), log: PathBuf::from("stderr") };
        server.address = line.trim().parse().map_err(|_| ProcessError::NoAddress)?;
        Ok(server)
    }

    /// Starts `ringbolt serve`, and does not wait for it.
    pub fn start_ringbolt(options: &ServeOptions) -> Result<Self, ProcessError> {
        let address = free_address()?;
        std::fs::create_dir_all(&options.data)?;
        let log = options.data.with_extension("log");
        let output = std::fs::File::create(&log)?;
        let mut command = Command::new(&options.program);
        command
            .arg("serve")
            .arg("--data")
            .arg(&options.data)
            .args(["--listen", &address.to_string(), "--admin-listen", "off"])
            .args(["--cores", &options.core.to_string()])
            .args(["--memory", &options.memory])
            .args(["--size", &options.size])
            .env("RINGBOLT_ACCESS_KEY", ACCESS_KEY)
            .env("RINGBOLT_SECRET_KEY", SECRET_KEY)
            .stdout(output.try_clone()?)
            .stderr(output);
        if let Some(size) = &options.read_cache {
            command.args(["--read-cache", size]);
        }
        if options.tls {
            command.args(["--tls", "self-signed"]);
        }
        command.args(&options.flags);
        if options.anonymous {
            command.env("RINGBOLT_BENCH_ANONYMOUS", "1");
        }
        let child = command.spawn().map_err(|source| ProcessError::Start {
            program: options.program.display().to_string(),
            source,
        })?;
        Ok(Self { child, address, log })
    }

    /// Waits until `request` is answered. A 503 does not count, because the server sends it until
    /// its node is open. Returns the status and the time since `since`.
    pub fn first_answer(
        &mut self,
        request: &bytes::Bytes,
        since: Instant,
        limit: Duration,
    ) -> Result<(u16, Duration), ProcessError> {
        let log = self.log.display().to_string();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Err(ProcessError::Ended { status, log });
            }
            let (address, request) = (self.address, request.clone());
            let outcome = block_on(async move { Connection::open(address).await?.ask(request).await })?;
            if let Ok(answer) = outcome
                && answer.status != 503
            {
                return Ok((answer.status, since.elapsed()));
            }
            if since.elapsed() > limit {
                return Err(ProcessError::Silent { address, seconds: limit.as_secs(), log });
            }
            // The server gives no signal to other processes: a client can only ask again.
            #[expect(
                clippy::disallowed_methods,
                reason = "polling another process; it has no event to wait for"
            )]
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until the server says that it is ready, which it does whatever it speaks.
    pub fn ready(&mut self, since: Instant, limit: Duration) -> Result<(), ProcessError> {
        let log = self.log.display().to_string();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Err(ProcessError::Ended { status, log });
            }
            if std::fs::read_to_string(&self.log)?.contains("is ready at") {
                return Ok(());
            }
            if since.elapsed() > limit {
                return Err(ProcessError::Silent { address: self.address, seconds: limit.as_secs(), log });
            }
            #[expect(clippy::disallowed_methods, reason = "polling a file; it has no event to wait for")]
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends SIGTERM, then waits for the orderly end.
    pub fn stop(mut self) -> Result<Duration, ProcessError> {
        let started = Instant::now();
        kill(Pid::from_raw(self.child.id() as i32), Signal::SIGTERM).map_err(io::Error::from)?;
        self.child.wait()?;
        Ok(started.elapsed())
    }

    /// Sends SIGKILL, which leaves what a crash of the process leaves.
    pub fn kill(mut self) -> Result<(), ProcessError> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both calls fail only when the process has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Returns an address that was free a moment ago.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind("127.0.0.1:0")?.local_addr()
}

/// Returns the server beside this program.
fn default_program() -> PathBuf {
    let beside = std::env::current_exe().ok().and_then(|path| path.parent().map(Path::to_path_buf));
    beside.unwrap_or_default().join("ringbolt")
}
