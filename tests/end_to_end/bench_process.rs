//! These tests run `ringbolt bench` as a process: results while it runs, interrupts, cores.

use ringbolt_tests::binary::{ringbolt, scratch_dir};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Lines};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use tempfile::TempDir;

const JOB: &[&str] = &["--name=job"];

/// This is a run on a file of 4 MiB, in a directory of its own; it is killed when a test fails.
struct Run {
    directory: TempDir,
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Run {
    /// Starts a run with results each second; `keys` are for all of `jobs`.
    fn start(keys: &[&str], jobs: &[&str]) -> Self {
        let directory = tempfile::tempdir_in(scratch_dir()).expect("a directory");
        let mut command = Command::new(ringbolt());
        command.args(["bench", "--filename=data", "--size=4m", "--bs=4k", "--iodepth=4"]);
        command.args(["--time_based", "--status-interval=1", "--eta=never"]).args(keys).args(jobs);
        let mut child = command
            .current_dir(directory.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start ringbolt bench");
        let lines = BufReader::new(child.stdout.take().expect("its output")).lines();
        Self { directory, child, lines }
    }

    /// Waits for a line that contains `text`.
    fn wait_for(&mut self, text: &str) {
        let found = self.lines.by_ref().map(|line| line.expect("a line")).any(|line| line.contains(text));
        assert!(found, "the run ended without {text:?}");
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().expect("a process id")).expect("not 0");
        kill_process(pid, signal).expect("send a signal");
    }

    /// Returns exit status and the remaining output.
    fn end(&mut self) -> (Option<i32>, String) {
        let rest: Vec<String> = self.lines.by_ref().map(|line| line.expect("a line")).collect();
        let status = self.child.wait().expect("its end");
        (status.code(), rest.join("\n"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Returns for each thread the cores it may run on.
    fn cores_of_threads(&self) -> Vec<String> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("its threads");
        let cores = |task: std::io::Result<std::fs::DirEntry>| {
            let status = std::fs::read_to_string(task.ok()?.path().join("status")).ok()?;
            // The kernel's own threads of the ring are listed too.
            (!status.starts_with("Name:\tiou-")).then(|| cores_in(&status))
        };
        tasks.filter_map(cores).collect()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // The process has already ended unless the test failed.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn cores_in(status: &str) -> String {
    let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    line.expect("the cores of a thread").trim().to_owned()
}

/// Returns the whole numbers after each occurrence of `name`.
fn numbers(text: &str, name: &str) -> Vec<u64> {
    let digits = |rest: &str| rest.chars().take_while(char::is_ascii_digit).collect::<String>();
    text.split(name).skip(1).map(|rest| digits(rest).parse().expect("a number")).collect()
}

fn assert_growing(counts: &[u64], least: usize) {
    assert!(counts.len() >= least && counts[0] > 0, "{counts:?}");
    assert!(counts.is_sorted() && counts.first() < counts.last(), "{counts:?}");
}

#[test]
fn results_so_far_are_whole_reports_in_every_form() {
    let (status, said) = Run::start(&["--rw=randread", "--runtime=3"], JOB).end();
    assert_eq!(status, Some(0), "{said}");
    assert_growing(&numbers(&said, "issued rwts: total="), 2);
    assert_eq!(numbers(&said, "(groupid=").len(), numbers(&said, "issued rwts: total=").len());
    let (status, said) = Run::start(&["--rw=randread", "--runtime=3", "--output-format=json"], JOB).end();
    assert_eq!(status, Some(0), "{said}");
    // As in fio, the documents follow each other.
    let documents = said.split("\n}\n{\n");
    // The first of them may come before the file is laid out: no job has begun then.
    let begun = documents.filter(|document| document.contains("\"jobname\": \"job\""));
    let reads: Vec<u64> = begun.map(|document| numbers(document, "\"total_ios\": ")[0]).collect();
    assert_growing(&reads, 2);
}

#[test]
fn an_interrupt_ends_a_run_in_order() {
    for signal in [Signal::INT, Signal::TERM] {
        let keys = ["--rw=randwrite", "--runtime=100", "--unlink=1", "--write_iops_log=log"];
        let mut run = Run::start(&keys, &["--name=job", "--name=later", "--stonewall"]);
        run.wait_for("issued rwts: total=");
        assert!(run.path("data").exists());
        run.signal(signal);
        let (status, said) = run.end();
        assert_eq!(status, Some(128), "{said}");
        assert!(numbers(&said, "issued rwts: total=0,").last().is_some_and(|writes| *writes > 0), "{said}");
        let log = std::fs::read_to_string(run.path("log_iops.1.log")).expect("a log");
        assert!(!log.is_empty() && !run.path("data").exists(), "{log}");
        assert!(!said.contains("later: (groupid="), "a job began after the interrupt: {said}");
    }
}

/// Regression: each measurement of a profile caught the interrupt and ended, and the next one
/// began.
#[test]
fn an_interrupt_ends_a_profile_and_leaves_nothing_behind() {
    let directory = tempfile::tempdir_in(scratch_dir()).expect("a directory");
    let mut profile = Command::new(ringbolt())
        .args(["bench", "profile", "--drive=drive", "--size=128MiB", "--minutes=60", "--output=profile.json"])
        .current_dir(directory.path())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start ringbolt bench profile");
    let mut said = BufReader::new(profile.stderr.take().expect("its messages")).lines();
    said.next().expect("it begins").expect("a line");
    let pid = Pid::from_raw(profile.id().try_into().expect("a process id")).expect("not 0");
    kill_process(pid, Signal::TERM).expect("send a signal");
    let rest: Vec<String> = said.map(|line| line.expect("a line")).collect();
    assert_eq!(profile.wait().expect("its end").code(), Some(128), "{rest:?}");
    assert!(rest.last().is_some_and(|line| line.contains("interrupted")), "{rest:?}");
    let left: Vec<_> = std::fs::read_dir(directory.path()).expect("the directory").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn threads_stay_on_the_cores_they_are_given() {
    let own = cores_in(&std::fs::read_to_string("/proc/self/status").expect("our own status"));
    let last = own.rsplit([',', '-']).next().expect("a core").to_owned();
    let cores = format!("--cpus_allowed={last}");
    let mut run = Run::start(&["--rw=randread", "--runtime=100", "--numjobs=2", &cores], JOB);
    run.wait_for("issued rwts: total=");
    let threads = run.cores_of_threads();
    let pinned = threads.iter().filter(|cores| **cores == last).count();
    if own == last {
        println!("not compared with unpinned threads: there is one core");
    } else {
        assert_eq!(pinned, 2, "{threads:?}");
        assert!(threads.contains(&own), "the thread that watches is pinned too: {threads:?}");
    }
    assert!(pinned >= 2, "{threads:?}");
    run.signal(Signal::INT);
    run.end();
}
