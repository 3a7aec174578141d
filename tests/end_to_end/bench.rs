//! These tests run the S3 engine of the bench tool against a real server: every operation, and the
//! effect of a stall of the server. They also check that the tool protects block devices.

use crate::support::{BUCKET, list_all};
use ringbolt_bench::cli::RunOptions;
use ringbolt_bench::engine::s3::S3Engine;
use ringbolt_bench::engine::{Clock, IoEngine, Operation, Verb};
use ringbolt_bench::run::{self, Phase, Status, Watcher};
use ringbolt_bench::spec::{BlockSize, ByDirection, Direction, Engine, Job, ObjectOp, Objects, Plan};
use ringbolt_tests::binary::{ringbolt, scratch_dir};
use ringbolt_tests::client::MAIN;
use ringbolt_tests::{Server, ServerOptions};
use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// The client polls while it waits: several clients would take the cores from the servers.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

pub const OBJECTS: u64 = 40;
const STALL: Duration = Duration::from_secs(1);

pub fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn job(server: &Server, block_bytes: u64, depth: u32) -> Job {
    let objects = Objects {
        host: server.endpoint().trim_start_matches("http://").to_owned(),
        access_key: MAIN.access_key.into(),
        secret_key: MAIN.secret_key.into(),
        objects: OBJECTS,
        ops: Some(vec![(ObjectOp::Get, 1)]),
        ..Objects::default()
    };
    let block = ByDirection::same(BlockSize::Fixed(block_bytes));
    Job { block, depth, objects, ..Job::plain("bench", Engine::S3) }
}

/// Does `verb` on objects `0..count`, two at a time, and returns the results by number.
pub fn all(engine: &mut S3Engine, verb: Verb, length: u64, count: u64) -> Vec<i64> {
    let mut results = vec![i64::MIN; count as usize];
    for first in (0..count).step_by(2) {
        let numbers: Vec<u64> = (first..count.min(first + 2)).collect();
        for (slot, number) in (0..).zip(&numbers) {
            engine.submit(slot, &Operation { verb, file: 0, offset: 0, length, number: *number });
        }
        let mut done = Vec::new();
        while done.len() < numbers.len() {
            engine.reap(1, None, &mut done).expect("reap");
        }
        for completion in done {
            results[numbers[completion.slot as usize] as usize] = completion.result;
        }
    }
    results
}

#[test]
fn every_operation_of_the_s3_engine_is_understood_by_the_server() {
    let _alone = alone();
    let server = Server::start(ServerOptions::default());
    // There are six parts, of which the last is short; the body is larger than what is sent in one
    // piece.
    let length = 26 << 20;
    for (length, count) in [(4096, OBJECTS), (length, 2)] {
        let mut job = job(&server, length, 2);
        job.objects.objects = count;
        let mut engine = S3Engine::new(&job, 0, Clock::start()).expect("an engine");
        let mut last = 0.0;
        engine.prepare(&mut |share| last = share).expect("bucket and objects");
        assert_eq!(last, 1.0);
        let whole = vec![length as i64; count as usize];
        for verb in [Verb::Read, Verb::Write, Verb::Copy, Verb::Multipart, Verb::Read] {
            assert_eq!(all(&mut engine, verb, length, count), whole, "{verb:?} {:?}", engine.notes());
        }
        assert_eq!(all(&mut engine, Verb::Head, length, count), vec![0; count as usize]);
        let listed = all(&mut engine, Verb::List, length, 1)[0];
        assert!(listed > 100 * count as i64, "a listing of {listed} bytes");
        assert_eq!(all(&mut engine, Verb::Trim, length, count), whole);
        assert_eq!(all(&mut engine, Verb::Read, length, 1), [-2]);
        assert_eq!(engine.notes().len(), 1, "{:?}", engine.notes());
        engine.finish().expect("finish");
    }
}

/// Regression: the objects of a benchmark stayed in the bucket, whatever the job asked for.
#[test]
fn objects_of_a_run_are_removed_when_that_is_asked_for() {
    let _alone = alone();
    let server = Server::start(ServerOptions::default());
    let mut job = job(&server, 4096, 4);
    // There is more than a page of a listing; another run's objects have another size.
    (job.objects.objects, job.objects.bucket) = (1200, BUCKET.to_owned());
    job.objects.ops = Some(vec![(ObjectOp::Put, 1)]);
    let mut others = Job { block: ByDirection::same(BlockSize::Fixed(512)), ..job.clone() };
    others.objects.objects = 5;
    let run = |job: &Job| {
        let plan = Plan { jobs: vec![job.clone()], ..Plan::default() };
        let run = run::run(&plan, &RunOptions::default(), &mut run::Unwatched).expect("a run");
        assert_eq!(run.jobs[0].error_text, None);
    };
    run(&others);
    run(&job);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let stored = || runtime.block_on(async { list_all(&server.client(&MAIN), 1000).await }).len();
    assert_eq!(stored(), 1205);
    job.unlink = true;
    run(&job);
    assert_eq!(stored(), 5, "the objects of another job stay");
}

#[test]
fn what_reads_need_is_stored_once_and_in_its_size() {
    let _alone = alone();
    let server = Server::start(ServerOptions::default());
    let mut job = job(&server, 4096, 2);
    // There is more than a page of a listing.
    job.objects.objects = 1010;
    let mut first = S3Engine::new(&job, 0, Clock::start()).expect("an engine");
    first.prepare(&mut |_| ()).expect("prepare");
    first.buffer(0)[..4096].fill(7);
    first.submit(0, &Operation { verb: Verb::Write, file: 0, offset: 0, length: 4096, number: 1005 });
    first.reap(1, None, &mut Vec::new()).expect("reap");
    // The second time one object has a wrong size: that one is stored again, the others stay.
    first.submit(0, &Operation { verb: Verb::Write, file: 0, offset: 0, length: 5, number: 3 });
    first.reap(1, None, &mut Vec::new()).expect("reap");
    let mut second = S3Engine::new(&job, 0, Clock::start()).expect("an engine");
    second.prepare(&mut |_| ()).expect("prepare");
    for (number, kept) in [(1005, true), (3, false)] {
        let mut done = Vec::new();
        second.submit(0, &Operation { verb: Verb::Read, file: 0, offset: 0, length: 4096, number });
        second.reap(1, None, &mut done).expect("reap");
        assert_eq!(done[0].result, 4096);
        assert_eq!(second.buffer(0)[..4096] == [7; 4096], kept, "object {number}");
    }
}

#[test]
fn wrong_credentials_are_told_in_the_words_of_the_server() {
    let _alone = alone();
    let server = Server::start(ServerOptions::default());
    let mut job = job(&server, 4096, 1);
    job.objects.secret_key = "wrong".into();
    let refused = S3Engine::new(&job, 0, Clock::start()).and_then(|mut engine| engine.prepare(&mut |_| ()));
    assert!(refused.expect_err("a refusal").to_string().contains("403"));
}

/// Stops the server for a while, one second after the job began to run.
struct Staller {
    server: Pid,
    stalling: Option<JoinHandle<()>>,
}

impl Watcher for Staller {
    fn status(&mut self, status: &Status) {
        if self.stalling.is_some() || !status.jobs.iter().all(|job| job.phase == Phase::Running) {
            return;
        }
        let server = self.server;
        self.stalling = Some(std::thread::spawn(move || {
            kill_process(server, Signal::STOP).expect("stop the server");
            // This is the stall itself, not a wait for something to be ready.
            std::sync::mpsc::channel::<()>().1.recv_timeout(STALL).expect_err("nobody sends");
            kill_process(server, Signal::CONT).expect("let the server go on");
        }));
    }
}

/// A closed loop hides a stall: while the server is stopped, nothing is requested, so hardly any
/// response is late. With a rate, requests that were due meanwhile count.
#[test]
fn a_stall_of_the_server_shows_in_the_response_time() {
    let _alone = alone();
    let server = Server::start(ServerOptions::default());
    let mut job = job(&server, 4096, 8);
    job.pattern.random = true;
    (job.norandommap, job.time_based, job.runtime_ns) = (true, true, Some(5_000_000_000));
    job.rate_iops = ByDirection::same(Some(200));
    let plan = Plan { jobs: vec![job], ..Plan::default() };
    let pid = Pid::from_raw(server.pid() as i32).expect("the server's process");
    let mut staller = Staller { server: pid, stalling: None };
    let run = run::run(&plan, &RunOptions::default(), &mut staller).expect("run");
    staller.stalling.take().expect("the server was stopped").join().expect("stopped and let go on");
    let result = &run.jobs[0];
    assert_eq!((result.error, &result.error_text), (0, &None));
    let read = &result.by_direction.read;
    assert!(read.ios > 900, "{} operations at 200 a second", read.ios);
    let late = read.response.percentile_ns(99.9);
    assert!(late >= 900_000_000, "p99.9 of the response time is {late} ns");
    let slow: u64 = read.clat.bins().filter(|(ns, _)| *ns >= 500_000_000).map(|(_, count)| count).sum();
    assert!((1..=16).contains(&slow), "{slow} operations took the server's stall for themselves");
    let waited: u64 = read.response.bins().filter(|(ns, _)| *ns >= 100_000_000).map(|(_, count)| count).sum();
    assert!(waited >= 100, "only {waited} operations waited");
}

#[test]
fn a_mix_with_deletes_asks_only_for_what_is_there() {
    let _alone = alone();
    let server = Server::start(ServerOptions::default());
    let mut job = job(&server, 4096, 8);
    let weights = [(ObjectOp::Get, 40), (ObjectOp::Head, 10), (ObjectOp::Put, 25), (ObjectOp::Multipart, 5)];
    job.objects.ops = Some([&weights[..], &[(ObjectOp::Delete, 20)]].concat());
    (job.objects.bucket, job.objects.objects) = (BUCKET.to_owned(), 1000);
    job.block.write = BlockSize::Fixed(8192);
    (job.threads, job.group_reporting, job.norandommap, job.pattern.random) = (2, true, true, true);
    job.number_ios = Some(1000);
    let plan = Plan { jobs: vec![job], ..Plan::default() };
    let run = run::run(&plan, &RunOptions::default(), &mut run::Unwatched).expect("run");
    let result = &run.jobs[0];
    assert_eq!((result.error, &result.error_text), (0, &None));
    let [reads, writes, deletes] = Direction::ALL.map(|direction| result.by_direction.get(direction).ios);
    assert_eq!(reads + writes + deletes, 2000);
    assert!((380..=400).contains(&deletes), "{deletes} deletes");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let keys = runtime.block_on(async { list_all(&server.client(&MAIN), 1000).await });
    let own = keys.iter().filter(|(key, size)| key.starts_with("8192/") && *size == 8192).count() as u64;
    assert_eq!((own, keys.len() as u64 - own), (writes - deletes, 1000));
}

/// This is a block device over a file, which is removed when dropped.
struct LoopDevice(String);

impl LoopDevice {
    /// Creates a device over a file; returns `None` where this is not allowed.
    fn over(file: &Path) -> Option<Self> {
        let output = Command::new("losetup").args(["--find", "--show"]).arg(file).output().ok()?;
        let path = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        output.status.success().then_some(Self(path))
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        // This fails only when the device has already been removed.
        let _ = Command::new("losetup").args(["--detach", &self.0]).status();
    }
}

fn bench(arguments: &[&str]) -> (i32, String) {
    let output =
        Command::new(ringbolt()).arg("bench").args(arguments).arg("--eta=never").output().expect("bench");
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().expect("a status"), String::from_utf8_lossy(&said).into_owned())
}

#[test]
fn a_block_device_is_written_only_on_request_and_never_while_it_is_held() {
    let directory = tempfile::tempdir_in(scratch_dir()).expect("a directory");
    let image = directory.path().join("image");
    File::create(&image).and_then(|file| file.set_len(32 << 20)).expect("an image");
    let Some(device) = LoopDevice::over(&image) else {
        println!("not run: no loop device can be had here (root and losetup are needed)");
        return;
    };
    let file_name = format!("--filename={}", device.0);
    let job = |pattern: &'static str| {
        vec![
            "--name=job".to_owned(),
            file_name.clone(),
            pattern.to_owned(),
            "--bs=64k".into(),
            "--direct=1".into(),
        ]
    };
    let run = |job: Vec<String>| bench(&job.iter().map(String::as_str).collect::<Vec<_>>());
    let (status, said) = run(job("--rw=write"));
    assert!(status == 2 && said.contains("--allow-overwrite") && said.contains(&device.0), "{said}");
    assert!(std::fs::read(&image).expect("the image").iter().all(|byte| *byte == 0), "it was written to");
    let allowed = |pattern| [job(pattern), vec!["--allow-overwrite".to_owned()]].concat();
    for pattern in ["--rw=randwrite", "--rw=randread", "--rw=trim"] {
        let (status, said) = run(allowed(pattern));
        assert!(status == 0 && said.contains("total=") && said.contains("err= 0"), "{pattern}: {said}");
    }
    // The device is held as a file system or another program would hold it.
    let held = OpenOptions::new()
        .read(true)
        .custom_flags(OFlags::EXCL.bits() as i32)
        .open(&device.0)
        .expect("hold the device");
    let (status, said) = run(allowed("--rw=write"));
    assert!(status == 2 && said.contains("held"), "{said}");
    drop(held);
}
