//! These tests run whole jobs on a real file, with O_DIRECT.

use super::*;
use crate::report::sample;
use crate::spec::{
    BlockSize, ByDirection, Direction, ErrorKinds, LatencyTarget, Logs, Pattern, RateProcess, Verify,
};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;

/// Holds a directory below target/, because /tmp may not support O_DIRECT.
pub struct Place(tempfile::TempDir);

impl Place {
    pub fn new() -> Self {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target");
        std::fs::create_dir_all(&target).unwrap();
        Self(tempfile::tempdir_in(target).unwrap())
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Returns a job over 4 MiB in blocks of 4 KiB at depth 8 that ends after one pass.
    pub fn job(&self, rw: &str) -> Job {
        let mut job = sample::job("job", 0, false, false);
        job.pattern = Pattern {
            reads: rw.contains("read") || rw.ends_with("rw"),
            writes: rw.contains("write") || rw.ends_with("rw"),
            trims: rw.contains("trim"),
            random: rw.starts_with("rand"),
        };
        job.files = vec![self.file("data")];
        job.size = Some(4 * MIB);
        job.depth = 8;
        (job.runtime_ns, job.time_based) = (None, false);
        job
    }
}

pub fn run_jobs(jobs: &[&Job]) -> Run {
    run_plan(&Plan { global: Default::default(), jobs: jobs.iter().map(|job| (*job).clone()).collect() })
}

pub fn run_plan(plan: &Plan) -> Run {
    let options = RunOptions { allow_overwrite: true, ..RunOptions::default() };
    run(plan, &options, &mut Unwatched).unwrap()
}

/// Runs the job and returns its only result, which must have no error.
pub fn good(job: &Job) -> JobResult {
    let run = run_jobs(&[job]);
    assert_eq!(run.jobs.len(), 1);
    let result = run.jobs.into_iter().next().unwrap();
    assert_eq!((result.error, &result.error_text), (0, &None));
    result
}

#[test]
fn a_write_job_writes_each_block_once_and_reads_come_from_the_drive() {
    let place = Place::new();
    let mut job = place.job("randwrite");
    job.fsync = 100;
    job.end_fsync = true;
    let written = good(&job);
    let result = &written.by_direction.write;
    assert_eq!((result.ios, result.bytes, result.short_ios), (1024, 4 * MIB, 0));
    assert_eq!((result.slat.count(), result.clat.count(), result.lat.count()), (1024, 1024, 1024));
    assert_eq!(result.response.count(), 0, "there was no rate");
    assert_eq!(written.sync.count(), 11);
    assert_eq!(written.by_direction.read.ios, 0);
    assert_eq!(written.intervals.iter().map(|interval| interval.by_direction.write.ios).sum::<u64>(), 1024);
    let content = std::fs::read(place.file("data")).unwrap();
    assert_eq!(content.len() as u64, 4 * MIB);
    assert!(content.chunks(4096).all(|block| block.iter().any(|byte| *byte != 0)), "a block was not written");
    let read = good(&place.job("read"));
    assert_eq!((read.by_direction.read.ios, read.by_direction.read.bytes), (1024, 4 * MIB));
    assert!(read.depth.0[3] > 0 && read.depth.0[4..].iter().all(|count| *count == 0), "{:?}", read.depth);
}

#[test]
fn a_read_lays_its_file_out_and_goes_nowhere_else() {
    let place = Place::new();
    let mut job = place.job("randread");
    job.offset = MIB;
    job.size = Some(2 * MIB);
    job.unlink = false;
    let result = good(&job);
    assert_eq!(result.by_direction.read.bytes, 2 * MIB);
    assert_eq!(std::fs::metadata(place.file("data")).unwrap().len(), 3 * MIB);
    // The file is longer than the job's part: a second job uses the rest.
    job.offset = 0;
    job.unlink = true;
    assert_eq!(good(&job).by_direction.read.ios, 512);
    assert!(!place.file("data").exists(), "unlink=1 left the file");
}

#[test]
fn what_a_verify_job_wrote_is_read_back_and_a_flipped_byte_is_found() {
    let place = Place::new();
    let mut job = place.job("randwrite");
    job.verify = Some(Verify { read_back: true, fatal: false, by_pattern: false });
    job.block = ByDirection::same(BlockSize::Range { least: 4096, most: 16_384 });
    job.loops = 2;
    let result = good(&job);
    assert_eq!((result.verify_failures, result.by_direction.write.bytes), (0, 8 * MIB));
    assert_eq!(result.by_direction.read.bytes, 8 * MIB);
    // Regression: the rate of reading back included the time of the writes.
    let [read_ns, write_ns] = [&result.by_direction.read, &result.by_direction.write].map(|of| of.runtime_ns);
    assert!(
        read_ns > 0 && write_ns > 0 && read_ns + write_ns <= result.runtime_ns,
        "{read_ns} and {write_ns}"
    );

    let mut check = place.job("read");
    check.verify = job.verify;
    assert_eq!(good(&check).verify_failures, 0);
    let mut content = std::fs::read(place.file("data")).unwrap();
    content[100 * 4096 + 77] ^= 4;
    std::fs::write(place.file("data"), content).unwrap();
    let found = run_jobs(&[&check]).jobs.remove(0);
    assert_eq!(found.verify_failures, 1);
    assert!(found.error != 0 && found.error_text.as_ref().unwrap().contains("offset 409600"), "{found:?}");
    check.continue_on_error = ErrorKinds { verify: true, ..ErrorKinds::default() };
    let all = run_jobs(&[&check]).jobs.remove(0);
    assert_eq!((all.error, all.verify_failures, all.by_direction.read.ios), (0, 1, 1024));
}

#[test]
fn a_rate_is_kept_and_response_times_are_recorded() {
    let place = Place::new();
    let mut job = place.job("randread");
    job.rate_iops.read = Some(500);
    job.number_ios = Some(400);
    for process in [RateProcess::Linear, RateProcess::Poisson] {
        job.rate_process = process;
        let result = good(&job).by_direction.read;
        assert_eq!((result.ios, result.response.count()), (400, 400));
        // No operation begins before it is due; how late it ends depends on the drive, within
        // limits.
        let rate = 400.0 * 1e9 / result.runtime_ns as f64;
        let most = if process == RateProcess::Linear { 502.0 } else { 625.0 };
        assert!(rate > 200.0 && rate < most, "{process:?}: {rate} of 500 a second");
        assert!(result.response.mean_ns() + 1.0 >= result.clat.mean_ns());
    }
}

#[test]
fn a_backlog_shows_in_response_times_and_not_in_service_times() {
    let place = Place::new();
    let mut job = place.job("randread");
    good(&job);
    job.depth = 1;
    // No drive reaches this rate at depth 1: operations are late during the whole job.
    job.rate_iops.read = Some(50_000_000);
    let result = good(&job).by_direction.read;
    let (response, service) = (&result.response, &result.clat);
    // This holds however unsteady the drive is: all 1024 are due within 21 us and run one after the
    // other, so the response time of each contains the service times of all before it, and no
    // service time does.
    let due_ns = 21_000.0;
    let busy_ns = 1024.0 * service.mean_ns();
    assert!(busy_ns <= 1.005 * result.runtime_ns as f64, "{busy_ns} of service in {}", result.runtime_ns);
    let (last_ns, median_ns) = (response.max_ns() as f64, response.percentile_ns(50.0) as f64);
    assert!(last_ns * 1.005 + due_ns >= busy_ns, "the last after {last_ns}, with {busy_ns} of service");
    let half_ns = 511.0 * service.min_ns() as f64;
    assert!(
        median_ns * 1.005 + due_ns >= half_ns,
        "half after {median_ns}, with {half_ns} of service at least"
    );
}

#[test]
fn a_runtime_ends_in_time_and_ramps_are_not_counted() {
    let place = Place::new();
    let mut job = place.job("randrw");
    (job.time_based, job.ramp_ns, job.runtime_ns) = (true, 300_000_000, Some(700_000_000));
    job.threads = 2;
    job.group_reporting = true;
    let before = Instant::now();
    let result = good(&job);
    let elapsed = before.elapsed();
    assert!(elapsed > Duration::from_millis(950) && elapsed < Duration::from_secs(20), "{elapsed:?}");
    assert_eq!(result.threads, 2);
    assert!(result.runtime_ns > 500_000_000 && result.runtime_ns < 10_000_000_000, "{}", result.runtime_ns);
    let (reads, writes) = (result.by_direction.read.ios as f64, result.by_direction.write.ios as f64);
    assert!((reads / (reads + writes) - 0.7).abs() < 0.05, "{reads} reads, {writes} writes");
    let usage = result.usage;
    let wall_ns_max = 2 * (elapsed.as_nanos() as u64 - 300_000_000);
    assert!(usage.user_ns + usage.system_ns > 0 && usage.wall_ns > 1_300_000_000, "{usage:?}");
    assert!(usage.wall_ns <= wall_ns_max, "the ramps of two threads are not in {usage:?}");
    assert!(!result.by_direction.read.iops.0.is_empty());
}

#[test]
fn stages_follow_each_other_and_failures_stay_with_their_job() {
    let place = Place::new();
    let mut write = place.job("write");
    write.name = "first".into();
    let mut missing = place.job("read");
    (missing.name, missing.stage) = ("missing".into(), 1);
    (missing.files, missing.size) = (vec![place.file("not-there")], None);
    let mut read = place.job("read");
    (read.name, read.stage, read.size) = ("last".into(), 1, None);
    read.wait_for = Some("missing".into());
    let run = run_jobs(&[&write, &missing, &read]);
    let names: Vec<&str> = run.jobs.iter().map(|result| result.job.name.as_str()).collect();
    assert_eq!(names, ["first", "missing", "last"]);
    assert!(run.jobs[1].error_text.as_ref().unwrap().contains("not-there"));
    assert_eq!(run.jobs[2].by_direction.read.bytes, 4 * MIB, "it read what the first stage had written");
    assert!(!run.disks.is_empty() && run.disks[0].ios[1] > 0, "{:?}", run.disks);
}

#[test]
fn a_latency_that_any_depth_holds_finds_the_greatest() {
    let place = Place::new();
    let mut job = place.job("randread");
    (job.time_based, job.runtime_ns) = (true, Some(60_000_000_000));
    let target = |target_ns| LatencyTarget { target_ns, window_ns: 20_000_000, percentile: 90.0 };
    job.latency_target = Some(target(100_000_000_000));
    assert_eq!(good(&job).latency_depth, Some(8));
    job.latency_target = Some(target(1));
    assert_eq!(good(&job).latency_depth, Some(0));
}

#[test]
fn logs_hold_each_operation_or_means() {
    let place = Place::new();
    let mut job = place.job("read");
    let name = Some("log".to_owned());
    job.logs = Logs { bandwidth: name.clone(), latency: name.clone(), iops: name, ..Logs::default() };
    let result = good(&job);
    assert_eq!((result.lat_log.len(), result.iops_log.len()), (1024, 1024));
    let offsets: std::collections::BTreeSet<u64> = result.lat_log.iter().map(|entry| entry.offset).collect();
    assert_eq!((offsets.len(), result.lat_log[0].block_bytes), (1024, 4096));
    job.logs.average_ms = 50;
    (job.time_based, job.runtime_ns) = (true, Some(400_000_000));
    let entries = good(&job).iops_log;
    assert!((3..=9).contains(&entries.len()), "{entries:?}");
    assert!(entries.iter().all(|entry| entry.direction == Direction::Read && entry.value > 0));
}

#[test]
fn a_block_that_the_drive_refuses_ends_the_job_with_a_hint() {
    let place = Place::new();
    good(&place.job("write"));
    let mut job = place.job("read");
    job.block = ByDirection::same(BlockSize::Fixed(1000));
    let result = run_jobs(&[&job]).jobs.remove(0);
    assert_eq!(result.error, 22);
    assert!(result.error_text.unwrap().contains("direct=1"));
    job.continue_on_error.read = true;
    job.number_ios = Some(10);
    let result = run_jobs(&[&job]).jobs.remove(0);
    assert_eq!((result.error, result.by_direction.read.failed_ios), (0, 10));
    let told = &result.failures.kinds[0];
    assert_eq!((told.count, told.first.errno, told.first.operation.as_str()), (10, 22, "read"));
    assert!(told.first.path.ends_with("data") && told.first.offset.is_some(), "{told:?}");
}

/// Sets the stop flag at the first status.
struct Stopper(Arc<AtomicBool>);

impl Watcher for Stopper {
    fn status(&mut self, status: &Status) {
        assert_eq!(status.jobs[0].phase, Phase::LayingOut);
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Regression: Ctrl-C during the layout of a large file had no effect until the file was complete.
#[test]
fn an_interrupt_ends_laying_out() {
    let place = Place::new();
    let mut of_files = place.job("read");
    of_files.size = Some(1 << 40);
    let mut of_objects = place.job("read");
    of_objects.engine = Engine::Ringbolt;
    of_objects.files = vec![place.file("drive")];
    (of_objects.objects.objects, of_objects.size) = (1_000_000, None);
    for job in [of_files, of_objects] {
        let stop = Arc::new(AtomicBool::new(false));
        let plan = Plan { global: Default::default(), jobs: vec![job] };
        let options = RunOptions { allow_overwrite: true, ..RunOptions::default() };
        let run = run_until(&plan, &options, &mut Stopper(stop.clone()), stop).unwrap();
        // The layout would fill any drive and take an hour: the test is that the run ends at all.
        let result = &run.jobs[0];
        assert_eq!((run.interrupted, result.error, result.by_direction.read.ios), (true, 0, 0));
        assert!(result.notes[0].contains("stopped"), "{:?}", result.notes);
    }
}

#[test]
fn plans_that_can_not_run_are_refused_before_anything_is_written() {
    let place = Place::new();
    let refused = |change: &dyn Fn(&mut Job)| {
        let mut job = place.job("write");
        change(&mut job);
        let plan = Plan { global: Default::default(), jobs: vec![job] };
        run(&plan, &RunOptions::default(), &mut Unwatched).unwrap_err().to_string()
    };
    assert!(refused(&|job| job.wait_for = Some("nobody".into())).contains("nobody"));
    assert!(refused(&|job| job.numa_nodes = vec![4096]).contains("numa_cpu_nodes=4096"));
    assert!(refused(&|job| (job.engine, job.fsync) = (Engine::S3, 1)).contains("fsync"));
    assert!(!place.file("data").exists());
    std::fs::write(place.file("data"), b"precious").unwrap();
    assert!(refused(&|_| {}).contains("--allow-overwrite"));
    assert_eq!(std::fs::read(place.file("data")).unwrap(), b"precious");
}
