//! This module starts a server of our own, and measures its CPU time while a job runs against it.

use crate::run::{Phase, Status, Watcher};
use crate::spec::Objects;
use ringbolt_tool_common::process::{ServerProcess, StartError, without_settings};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const REGION: &str = "us-east-1";
/// Formatting writes every byte of the drive once, which takes time.
const START_LIMIT: Duration = Duration::from_secs(600);

/// Says why the server could not be started.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error("the server of the S3 layer: {error}; its messages: {said}")]
    Start { error: StartError, said: String },
    #[error("{program}: {error}; name the ringbolt program with --server")]
    Program { program: PathBuf, error: std::io::Error },
    #[error("no random numbers for the server's credentials: {0}")]
    Random(String),
}

/// This is a `ringbolt serve` on loopback with a drive of its own. It is ended when dropped.
pub struct LocalServer {
    process: ServerProcess,
    host: String,
    access_key: String,
    secret_key: String,
}

impl LocalServer {
    /// Starts the server on one core and waits until it is ready. `read_cache` and `shards` are its
    /// options of these names; with `None`, the server chooses the number of shards.
    ///
    /// # Errors
    /// Fails when the server does not start.
    pub fn start(
        program: &Path,
        data: &Path,
        core: usize,
        drive_bytes: u64,
        read_cache: &str,
        shards: Option<u16>,
    ) -> Result<Self, ServerError> {
        let (access_key, secret_key) = (random_hex(10)?, random_hex(20)?);
        let log = data.with_extension("log");
        let refused = |error| ServerError::Program { program: program.to_owned(), error };
        let mut command = Command::new(program);
        without_settings(&mut command);
        command.arg("serve").arg("--data").arg(data);
        command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        command.args(["--region", REGION, "--scrub-rate", "off"]);
        command.args([
            "--read-cache",
            read_cache,
            "--cores",
            &core.to_string(),
            "--size",
            &drive_bytes.to_string(),
        ]);
        command.args(shards.map(|shards| format!("--shards={shards}")));
        command.env("RINGBOLT_ACCESS_KEY", &access_key).env("RINGBOLT_SECRET_KEY", &secret_key);
        command.stderr(Stdio::from(std::fs::File::create(&log).map_err(refused)?));
        let started = ServerProcess::spawn(&mut command).map_err(refused)?.ready(START_LIMIT);
        let (process, address) = started.map_err(|error| {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            ServerError::Start { error, said: said.trim().to_owned() }
        })?;
        Ok(Self { process, host: address.to_string(), access_key, secret_key })
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Returns address and port.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Returns address and port of health and metrics.
    pub fn admin_host(&self) -> String {
        // The server was started with one, and reports it when it is ready.
        self.process.admin().map(|address| address.to_string()).unwrap_or_default()
    }

    /// Sets the endpoint and the credentials of a job to this server.
    pub fn aim(&self, objects: &mut Objects) {
        objects.host.clone_from(&self.host);
        objects.access_key.clone_from(&self.access_key);
        objects.secret_key.clone_from(&self.secret_key);
        objects.region = REGION.into();
    }
}

fn random_hex(bytes: usize) -> Result<String, ServerError> {
    let mut random = vec![0; bytes];
    getrandom::fill(&mut random).map_err(|error| ServerError::Random(error.to_string()))?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Watches a run, and measures a server's CPU time from the first status of the running job to the
/// last.
pub struct Sampler {
    process: Option<u32>,
    first: Option<(Instant, u64)>,
    last: Option<(Instant, u64)>,
    pub notes: Vec<String>,
}

impl Sampler {
    pub fn of(process: Option<u32>) -> Self {
        Self { process, first: None, last: None, notes: Vec::new() }
    }

    /// Returns the mean number of cores that the server used; `None` without a server of ours or
    /// with fewer than two samples.
    pub fn server_share(&self) -> Option<f64> {
        let ((begin, before), (end, after)) = (self.first?, self.last?);
        let wall_ns = (end - begin).as_nanos() as f64;
        (wall_ns > 0.0).then(|| (after - before) as f64 / wall_ns)
    }
}

impl Watcher for Sampler {
    fn status(&mut self, status: &Status) {
        let runs = status.jobs.iter().all(|job| job.phase == Phase::Running);
        if let Some(cpu_ns) = self.process.filter(|_| runs).and_then(process_cpu_ns) {
            let now = (Instant::now(), cpu_ns);
            self.first.get_or_insert(now);
            self.last = Some(now);
        }
    }

    fn note(&mut self, _job: &str, text: &str) {
        self.notes.push(text.to_owned());
    }
}

/// Returns the CPU time in ns of all live threads of a process, as counted by the scheduler.
pub fn process_cpu_ns(process: u32) -> Option<u64> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).ok()?;
    let of_thread = |thread: std::fs::DirEntry| {
        let text = std::fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    };
    Some(threads.filter_map(Result::ok).filter_map(of_thread).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_of_a_process_grows_with_its_work() {
        let own = std::process::id();
        let before = process_cpu_ns(own).unwrap();
        let (begin, mut state) = (Instant::now(), 1_u64);
        while process_cpu_ns(own).unwrap() < before + 5_000_000 && begin.elapsed() < Duration::from_secs(20) {
            state = std::hint::black_box(state.wrapping_mul(3));
        }
        assert!(process_cpu_ns(own).unwrap() >= before + 5_000_000);
        assert_eq!(process_cpu_ns(u32::MAX), None);
    }
}
