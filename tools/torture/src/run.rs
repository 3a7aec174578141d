//! This module runs the cycles: start, read back, write, kill.

use super::error::TortureError;
use super::journal::Journal;
use super::report::Totals;
use super::taken::Taken;
use super::verify::{Scope, verify, verify_listing};
use super::verify_versions::verify_versions;
use super::writer::Writer;
use super::{BUCKET, TortureArgs, VERSIONS};
use ringbolt_tool_common::content::Dice;
use ringbolt_tool_common::process::{ServerProcess, StartError, Starting, without_settings};
use ringbolt_tool_common::s3::answer::elements;
use ringbolt_tool_common::s3::client::Client;
use ringbolt_tool_common::s3::sign::Credentials;
use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

/// A drive that is large or slow takes this long to recover.
pub const START_LIMIT: Duration = Duration::from_secs(300);
const ANSWER_LIMIT: Duration = Duration::from_secs(120);
/// After each kill, this many of each writer's unchanged keys are read back too.
const SAMPLE_PER_WRITER: usize = 8;
/// The writers keep the drive's size divided by this; the rest is for space that waits to be
/// reclaimed.
const LIVE_SHARE: u64 = 3;
/// One kill in this many hits the server while it recovers, or while it stops.
const SPECIAL_KILLS: usize = 5;
/// Versioning is suspended in one life of this many.
const SUSPENDED_LIVES: usize = 3;

/// Runs the cycles, and passes the totals to `progress` after each one and at the end.
///
/// # Errors
/// Fails at the first finding, or when the test cannot continue; the work directory is kept then.
pub fn run(args: &TortureArgs, progress: &mut dyn FnMut(&Totals)) -> Result<Totals, TortureError> {
    let parent = args.work.clone().unwrap_or_else(std::env::temp_dir);
    let made = tempfile::Builder::new().prefix("ringbolt-torture-").tempdir_in(&parent);
    let work = made.map_err(|error| TortureError::File { path: parent, error })?;
    let outcome = Bench::new(args, work.path()).and_then(|mut bench| bench.run(progress));
    if outcome.is_err() {
        eprintln!("The journals and the server's log are kept in {}", work.keep().display());
    }
    outcome
}

pub type Running = (ServerProcess, SocketAddr);

/// This is the drive under test, or the set of drives.
pub struct Bench<'a> {
    pub args: &'a TortureArgs,
    pub program: PathBuf,
    pub work: PathBuf,
    credentials: Credentials,
    /// Bytes for objects: those of the drives by the number of copies.
    pub room_bytes: u64,
    dice: Dice,
    pub totals: Totals,
    /// Says that the versioning of the second bucket is suspended.
    suspended: bool,
    /// Is set if drives may be lost.
    pub taken: Option<Taken>,
}

impl<'a> Bench<'a> {
    fn new(args: &'a TortureArgs, work: &Path) -> Result<Self, TortureError> {
        let program = args.program.clone().map_or_else(std::env::current_exe, Ok)?;
        let random = || getrandom::u64().map_err(TortureError::Random);
        let seed = args.seed.map_or_else(random, Ok)?;
        let credentials = Credentials {
            access_key: "RINGBOLTTORTURE".to_owned(),
            secret_key: format!("{:016x}{:016x}", random()?, random()?),
            region: "us-east-1".to_owned(),
        };
        eprintln!("Seed {seed}");
        let mut bench = Self {
            args,
            program,
            work: work.to_owned(),
            credentials,
            room_bytes: 0,
            dice: Dice::new(seed),
            totals: Totals { drives_lost_max: args.failures_max() as u64, ..Totals::default() },
            suspended: false,
            taken: None,
        };
        bench.format()?;
        let sizes = args.drive.iter().map(|drive| {
            let size = File::open(drive).and_then(|mut drive| drive.seek(SeekFrom::End(0)));
            size.map_err(|error| TortureError::File { path: drive.clone(), error })
        });
        let sizes = sizes.collect::<Result<Vec<u64>, _>>()?;
        let smallest = sizes.iter().min().copied().unwrap_or_default();
        bench.room_bytes = smallest * sizes.len() as u64 / (args.failures_max() as u64 + 1);
        if args.failures_max() > 0 {
            bench.taken = Some(Taken::new(&args.drive, args.failures_max(), seed));
        }
        Ok(bench)
    }

    fn format(&self) -> Result<(), TortureError> {
        let mut command = Command::new(&self.program);
        without_settings(&mut command).arg("format");
        for drive in &self.args.drive {
            command.arg("--drive").arg(drive);
        }
        if let Some(redundancy) = &self.args.redundancy {
            command.args(["--redundancy", redundancy]);
        }
        if let Some(size) = &self.args.size {
            command.args(["--size", size]);
        }
        if self.args.force {
            command.arg("--force");
        }
        let formatted = command.stdout(Stdio::null()).status()?;
        if formatted.success() { Ok(()) } else { Err(TortureError::NotFormatted) }
    }

    fn run(&mut self, progress: &mut dyn FnMut(&Totals)) -> Result<Totals, TortureError> {
        let log = self.log_path();
        let (server, address) =
            self.spawn(&[])?.ready(START_LIMIT).map_err(|error| TortureError::FirstStart { error, log })?;
        for bucket in [BUCKET, VERSIONS] {
            let made = self.client(address).send("PUT", &format!("/{bucket}"), &[])?;
            if !made.is_success() {
                let operation = "CreateBucket".to_owned();
                return Err(TortureError::Answer { operation, status: made.status, body: made.text() });
            }
        }
        let mut running = (server, address);
        let started = Instant::now();
        let out_of_time = || self.args.minutes().is_some_and(|limit| started.elapsed() >= limit);
        let mut cycles = self.args.cycles.unwrap_or(u64::MAX);
        while cycles > 0 && !out_of_time() {
            cycles -= 1;
            self.set_versioning(running.1)?;
            self.write_until_killed(running)?;
            running = self.start_again()?;
            self.verify_versioning(running.1)?;
            self.read_back(running.1, Scope::Touched { others: SAMPLE_PER_WRITER })?;
            self.totals.cycles += 1;
            progress(&self.totals);
        }
        self.read_back(running.1, Scope::All)?;
        self.finish(running)?;
        Ok(self.totals)
    }

    /// Ends a server, and checks that it ends well.
    pub fn stop(&self, server: ServerProcess) -> Result<(), TortureError> {
        server.terminate()?;
        let status = server.wait()?;
        if status.success() { Ok(()) } else { Err(TortureError::Ended { status, log: self.log_path() }) }
    }

    fn set_versioning(&mut self, address: SocketAddr) -> Result<(), TortureError> {
        let before = self.suspended;
        self.suspended = self.dice.below(SUSPENDED_LIVES) == 0;
        let status = self.versioning();
        let document =
            format!("<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>");
        let path = format!("/{VERSIONS}?versioning");
        let answer = self.client(address).send("PUT", &path, document.as_bytes())?;
        if answer.is_success() {
            return Ok(());
        }
        // Writers fill a small drive. What was set in an earlier life holds on.
        if answer.status == 507 && self.totals.cycles > 0 {
            self.suspended = before;
            return Ok(());
        }
        let operation = "PutBucketVersioning".to_owned();
        Err(TortureError::Answer { operation, status: answer.status, body: answer.text() })
    }

    fn versioning(&self) -> &'static str {
        if self.suspended { "Suspended" } else { "Enabled" }
    }

    /// Checks that the state of the versioning is the one that was acknowledged.
    fn verify_versioning(&self, address: SocketAddr) -> Result<(), TortureError> {
        let answer = self.client(address).ask("GET", &format!("/{VERSIONS}?versioning"))?;
        let text = answer.text();
        if answer.is_success() && elements(&text, "Status").next() == Some(self.versioning()) {
            return Ok(());
        }
        Err(TortureError::Loss {
            key: format!("the versioning of {VERSIONS}"),
            expected: self.versioning().to_owned(),
            found: format!("status {}: {text}", answer.status),
        })
    }

    /// Restarts a killed server; some of its recoveries are killed too. Each of these starts may be without
    /// drives.
    fn start_again(&mut self) -> Result<Running, TortureError> {
        while self.dice.below(SPECIAL_KILLS) == 0 {
            let delay = Duration::from_millis(self.dice.below(200) as u64);
            self.choose_drives();
            let early = self.spawn(&[])?.kill_after(delay)?;
            self.totals.killed_while_recovering += u64::from(early);
        }
        self.choose_drives();
        self.start(&[])
    }

    /// Starts a server with the drives that are not taken away. `words` say which ones are gone for good.
    pub fn start(&mut self, words: &[String]) -> Result<Running, TortureError> {
        let started = Instant::now();
        let does_not_open = |error: StartError| TortureError::DoesNotOpen {
            drives: self.drives_text(),
            error,
            log: self.log_path(),
        };
        let running = self.spawn(words)?.ready(START_LIMIT).map_err(does_not_open)?;
        self.totals.open_ms_max = self.totals.open_ms_max.max(started.elapsed().as_millis() as u64);
        self.look_at_drives()?;
        Ok(running)
    }

    fn write_until_killed(&mut self, (server, address): Running) -> Result<(), TortureError> {
        let most_ms = self.args.kill_after_ms.max(1) as usize;
        let delay = Duration::from_millis(20 + self.dice.below(most_ms) as u64);
        let stopping = self.dice.below(SPECIAL_KILLS) == 0;
        let stopping = stopping.then(|| Duration::from_millis(self.dice.below(300) as u64));
        let dice: Vec<Dice> = (0..self.args.writers).map(|_| Dice::new(self.dice.next())).collect();
        let mut journals = self.journals()?;
        let writers = journals.iter_mut().zip(dice).enumerate().map(|(number, (journal, dice))| Writer {
            number,
            keys: self.args.keys as usize,
            suspended: self.suspended,
            share_bytes: (self.room_bytes / LIVE_SHARE / self.args.writers) as usize,
            client: self.client(address),
            journal,
            dice,
            totals: Totals::default(),
        });
        let writers = writers.collect();
        let course = |server: &mut ServerProcess, ended: &Receiver<()>| self.live(server, ended, delay);
        let Life { ended, course, outcomes } = run_writers(writers, server, course, stopping)?;
        if let Some(status) = ended {
            return Err(TortureError::Ended { status, log: self.log_path() });
        }
        match stopping {
            Some(_) => self.totals.killed_while_stopping += 1,
            None => self.totals.killed_while_writing += 1,
        }
        for (written, totals) in outcomes {
            self.totals.add(&totals);
            written?;
        }
        // A drive that failed works again from here on.
        course.map(drop)
    }

    /// Reads back everything in `scope`, the keys of all writers at once; then the listing.
    pub fn read_back(&mut self, address: SocketAddr, scope: Scope) -> Result<(), TortureError> {
        let mut journals = self.journals()?;
        let dice: Vec<Dice> = journals.iter().map(|_| Dice::new(self.dice.next())).collect();
        let outcomes: Vec<Result<Totals, TortureError>> = std::thread::scope(|threads| {
            let mut reading = Vec::new();
            for (number, (journal, mut dice)) in journals.iter_mut().zip(dice).enumerate() {
                let mut client = self.client(address);
                reading.push(threads.spawn(move || {
                    // The versions come first, because what is touched is forgotten at the end.
                    let mut totals = verify_versions(&mut client, journal, number, scope, &mut dice)?;
                    totals.add(&verify(&mut client, journal, scope, &mut dice)?);
                    Ok(totals)
                }));
            }
            reading.into_iter().map(joined).collect()
        });
        for outcome in outcomes {
            self.totals.add(&outcome?);
        }
        self.totals.listed += verify_listing(&mut self.client(address), &journals)?;
        Ok(())
    }

    fn journals(&self) -> Result<Vec<Journal>, TortureError> {
        let open = |number| {
            let path = self.work.join(format!("writer-{number}.jsonl"));
            Journal::open(&path).map_err(|error| TortureError::File { path, error })
        };
        (0..self.args.writers).map(open).collect()
    }

    fn client(&self, address: SocketAddr) -> Client {
        Client::new(address, self.credentials.clone(), ANSWER_LIMIT)
    }

    fn spawn(&self, words: &[String]) -> Result<Starting, TortureError> {
        let path = self.log_path();
        let opened = OpenOptions::new().create(true).append(true).open(&path);
        let log = opened.map_err(|error| TortureError::File { path, error })?;
        let mut command = Command::new(&self.program);
        without_settings(&mut command)
            .arg("serve")
            .arg("--data")
            .arg(self.data_path())
            .args(["--listen", "127.0.0.1:0", "--admin-listen", "off", "--memory", &self.args.memory])
            .env("RINGBOLT_ACCESS_KEY", &self.credentials.access_key)
            .env("RINGBOLT_SECRET_KEY", &self.credentials.secret_key)
            .stderr(log);
        for (_, drive) in self.given_drives() {
            command.arg("--drive").arg(drive);
        }
        for uuid in words {
            command.args(["--without-drive", uuid]);
        }
        Ok(ServerProcess::spawn(&mut command)?)
    }

    pub fn data_path(&self) -> PathBuf {
        self.work.join("data")
    }

    pub fn log_path(&self) -> PathBuf {
        self.work.join("server.log")
    }
}

type Written = (Result<(), TortureError>, Totals);

/// Holds how a life went.
struct Life<T> {
    /// Is how the server ended if it did so by itself.
    ended: Option<ExitStatus>,
    course: Result<T, TortureError>,
    /// Holds what each writer did.
    outcomes: Vec<Written>,
}

/// Lets the writers write until `course` returns, then kills the server; with `stopping`, the kill comes this
/// long after a SIGTERM. A course gets a message when a writer has ended.
fn run_writers<T>(
    writers: Vec<Writer<'_>>,
    mut server: ServerProcess,
    course: impl FnOnce(&mut ServerProcess, &Receiver<()>) -> Result<T, TortureError>,
    stopping: Option<Duration>,
) -> Result<Life<T>, TortureError> {
    std::thread::scope(|threads| {
        let (ending, ended) = channel();
        let write = |mut writer: Writer<'_>| {
            let outcome = writer.write();
            (outcome, writer.totals)
        };
        let spawn = |writer| {
            let ending = ending.clone();
            threads.spawn(move || {
                let written = write(writer);
                // Nobody receives the message once the server was killed.
                let _ = ending.send(());
                written
            })
        };
        let writing: Vec<_> = writers.into_iter().map(spawn).collect();
        let course = course(&mut server, &ended);
        let by_itself = server.ended()?;
        if let (Some(time), None) = (stopping, by_itself) {
            server.terminate()?;
            let _ = ended.recv_timeout(time);
        }
        server.kill()?;
        let outcomes = writing.into_iter().map(joined).collect();
        Ok(Life { ended: by_itself, course, outcomes })
    })
}

fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
