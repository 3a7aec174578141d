//! This module runs the server process of one test, with its own data directory and port.

use crate::binary;
use crate::client::{self, Account};
use ringbolt_tool_common::process::{ServerProcess, without_settings};
use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Formatting writes every byte of the drive once, which takes this long on slow disks of test
/// machines.
const START_LIMIT: Duration = Duration::from_secs(180);

/// Says how a test starts its server.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    pub size: &'static str,
    pub shards: &'static str,
    /// This is `None` for all cores of the machine.
    pub cores: Option<&'static str>,
    /// Holds further flags of `serve`.
    pub flags: &'static [&'static str],
    pub memory: &'static str,
    /// Holds variables of the server's environment.
    pub environment: &'static [(&'static str, &'static str)],
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self { size: "512MiB", shards: "4", cores: None, flags: &[], memory: "256MiB", environment: &[] }
    }
}

/// This is a data directory and, most of the time, a server running on it.
pub struct Server {
    options: ServerOptions,
    directory: TempDir,
    running: Option<Running>,
}

struct Running {
    process: ServerProcess,
    endpoint: String,
}

impl Server {
    /// Creates a new data directory with two accounts and starts a server on it.
    pub fn start(options: ServerOptions) -> Self {
        let directory = tempfile::Builder::new()
            .prefix("e2e-")
            .tempdir_in(binary::scratch_dir())
            .expect("make a data directory");
        write_users(directory.path());
        let mut server = Self { options, directory, running: None };
        server.start_again();
        server
    }

    /// Starts a server on the existing data.
    pub fn start_again(&mut self) {
        assert!(self.running.is_none(), "the server is running already");
        let starting = ServerProcess::spawn(self.command().stderr(self.log_file())).expect("start ringbolt");
        match starting.ready(START_LIMIT) {
            Ok((process, address)) => {
                self.running = Some(Running { process, endpoint: format!("http://{address}") });
            }
            Err(error) => panic!("{error}:\n{}", self.log()),
        }
    }

    /// Sets the cores for the next start.
    pub fn set_cores(&mut self, cores: Option<&'static str>) {
        self.options.cores = cores;
    }

    /// Sets further flags for the next start.
    pub fn set_flags(&mut self, flags: &'static [&'static str]) {
        self.options.flags = flags;
    }

    /// Starts another server on the same data, which must give up by itself; returns its status and
    /// output.
    pub fn start_second(&self) -> (ExitStatus, String) {
        Self::run_to_its_end(&mut self.command())
    }

    /// Starts a server as [`Self::start_second`] does, in the data directory `data`, with
    /// `environment` instead of flags.
    pub fn start_other(&self, data: &Path, environment: &[(&str, &str)]) -> (ExitStatus, String) {
        let mut command = Command::new(binary::ringbolt());
        without_settings(&mut command).arg("serve").arg("--data").arg(data);
        command.args(["--memory", self.options.memory]).envs(environment.iter().copied());
        Self::run_to_its_end(&mut command)
    }

    fn run_to_its_end(command: &mut Command) -> (ExitStatus, String) {
        let output = command.stdin(Stdio::null()).output().expect("start a second ringbolt");
        let said = [output.stdout, output.stderr].concat();
        (output.status, String::from_utf8_lossy(&said).into_owned())
    }

    pub fn endpoint(&self) -> &str {
        &self.running.as_ref().expect("the server is running").endpoint
    }

    /// Returns whether there is an address of health and metrics; there is none with
    /// `--admin-listen off`.
    pub fn has_admin_address(&self) -> bool {
        self.running.as_ref().is_some_and(|running| running.process.admin().is_some())
    }

    /// Returns the endpoint of health and metrics.
    pub fn admin_endpoint(&self) -> String {
        let running = self.running.as_ref().expect("the server is running");
        format!("http://{}", running.process.admin().expect("an admin address"))
    }

    pub fn client(&self, account: &Account) -> aws_sdk_s3::Client {
        client::client(self.endpoint(), account)
    }

    /// Kills the server (`kill -9`).
    pub fn kill(&mut self) {
        let running = self.running.take().expect("the server is running");
        running.process.kill().expect("kill the server");
    }

    /// Sends SIGTERM, and returns the exit status.
    pub fn stop(&mut self) -> ExitStatus {
        self.terminate();
        self.wait_for_exit()
    }

    /// Sends SIGTERM; the server ends after its current work.
    pub fn terminate(&self) {
        let running = self.running.as_ref().expect("the server is running");
        running.process.terminate().expect("signal the server");
    }

    /// Sends SIGHUP; the server reads again what can change.
    pub fn hang_up(&self) {
        let running = self.running.as_ref().expect("the server is running");
        running.process.hang_up().expect("signal the server");
    }

    pub fn wait_for_exit(&mut self) -> ExitStatus {
        let running = self.running.take().expect("the server is running");
        running.process.wait().expect("wait for the server")
    }

    /// Returns what the server has written to stderr so far, over all its starts.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    pub fn pid(&self) -> u32 {
        self.running.as_ref().expect("the server is running").process.id()
    }

    /// Returns the peak of its resident memory in bytes since it started.
    pub fn resident_bytes_max(&self) -> u64 {
        resident_bytes_max(&self.pid().to_string())
    }

    /// Sets the memory for the next start.
    pub fn set_memory(&mut self, memory: &'static str) {
        self.options.memory = memory;
    }

    pub fn data_dir(&self) -> &Path {
        self.directory.path()
    }

    fn command(&self) -> Command {
        let mut command = Command::new(binary::ringbolt());
        command.arg("serve").arg("--data").arg(self.directory.path());
        command.args([
            "--listen",
            "127.0.0.1:0",
            "--size",
            self.options.size,
            "--shards",
            self.options.shards,
        ]);
        command.args(["--memory", self.options.memory]).args(self.options.flags);
        if !self.options.flags.contains(&"--admin-listen") {
            command.args(["--admin-listen", "127.0.0.1:0"]);
        }
        if let Some(cores) = self.options.cores {
            command.args(["--cores", cores]);
        }
        without_settings(&mut command).envs(self.options.environment.iter().copied());
        command
    }

    fn log_path(&self) -> PathBuf {
        self.directory.path().join("stderr.log")
    }

    fn log_file(&self) -> fs::File {
        fs::OpenOptions::new().create(true).append(true).open(self.log_path()).expect("open the server's log")
    }
}

/// Returns the peak of the resident memory in bytes of process `id` (or `self`).
pub fn resident_bytes_max(id: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{id}/status")).expect("read /proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.running.take());
        if std::thread::panicking() {
            eprintln!("--- the server's log ---\n{}", self.log());
        }
    }
}

fn write_users(directory: &Path) {
    let path = directory.join("users.toml");
    let mut file =
        fs::OpenOptions::new().create_new(true).write(true).mode(0o600).open(path).expect("make users.toml");
    for account in [&client::MAIN, &client::OTHER] {
        let Account { access_key, secret_key, canonical_id, display_name, email } = account;
        writeln!(file, "[[account]]\naccess_key = \"{access_key}\"\nsecret_key = \"{secret_key}\"")
            .expect("write users.toml");
        writeln!(
            file,
            "canonical_id = \"{canonical_id}\"\ndisplay_name = \"{display_name}\"\nemail = \"{email}\"\n"
        )
        .expect("write users.toml");
    }
}
