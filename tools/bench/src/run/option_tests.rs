//! These tests run whole jobs on real files, with keys that public job files use besides the common
//! ones.

use super::tests::{Place, good, run_jobs};
use crate::spec::{
    Batches, BlockSize, ByDirection, Calls, Durable, Job, Steady, SteadyMetric, Verify, WrittenFiles,
};
use std::os::unix::fs::MetadataExt;

const MIB: u64 = 1 << 20;

#[test]
fn one_call_after_the_other_writes_and_reads_each_block_once() {
    let place = Place::new();
    for durable in [Durable::No, Durable::Data, Durable::All] {
        let mut job = Job { calls: Calls::Plain, depth: 1, durable, ..place.job("randwrite") };
        job.size = Some(MIB);
        job.fdatasync = 32;
        let result = good(&job);
        assert_eq!((result.by_direction.write.ios, result.by_direction.write.short_ios), (256, 0));
        assert_eq!((result.sync.count(), result.depth.0[0]), (8, 264), "{durable:?}");
        assert!(result.depth.0[1..].iter().all(|count| *count == 0), "{:?}", result.depth);
    }
    let content = std::fs::read(place.file("data")).unwrap();
    assert!(content.chunks(4096).all(|block| block.iter().any(|byte| *byte != 0)), "a block was not written");
    let read = Job { calls: Calls::Plain, depth: 1, size: Some(MIB), ..place.job("randread") };
    assert_eq!(good(&read).by_direction.read.bytes, MIB);
    // A plain read verifies what io_uring wrote, and a job whose drive rejects a write reports why.
    let mut verify = Job {
        verify: Some(Verify { read_back: true, fatal: true, by_pattern: false }),
        ..place.job("randwrite")
    };
    assert_eq!(good(&verify).verify_failures, 0);
    (verify.calls, verify.depth, verify.pattern) = (Calls::Plain, 1, place.job("read").pattern);
    assert_eq!(good(&verify).verify_failures, 0);
    let odd = Job { calls: Calls::Plain, depth: 1, block: ByDirection::same(BlockSize::Fixed(1000)), ..read };
    let failed = run_jobs(&[&odd]).jobs.remove(0);
    let text = failed.error_text.expect("direct reads of 1000 bytes fail");
    assert!(failed.error != 0 && text.contains("direct=1"), "{text}");
}

#[test]
fn a_mapped_file_is_written_and_read_by_copies() {
    let place = Place::new();
    for (direct, durable) in [(false, Durable::No), (false, Durable::All), (true, Durable::No)] {
        let mut job = Job { calls: Calls::Mapped, depth: 1, durable, direct, ..place.job("randwrite") };
        (job.size, job.fdatasync) = (Some(MIB), 64);
        job.verify = Some(Verify { read_back: true, fatal: true, by_pattern: false });
        let result = good(&job);
        assert_eq!((result.by_direction.write.ios, result.by_direction.write.bytes), (256, MIB));
        assert_eq!((result.sync.count(), result.verify_failures), (4, 0), "direct {direct}, {durable:?}");
        // What was copied is in the file for those who read it by calls, and the reverse.
        let mut verify = Job { calls: Calls::Plain, pattern: place.job("read").pattern, ..job };
        assert_eq!(good(&verify).verify_failures, 0);
        (verify.calls, verify.loops) = (Calls::Mapped, 2);
        let read = good(&verify);
        assert_eq!((read.verify_failures, read.by_direction.read.ios), (0, 512));
    }
    let content = std::fs::read(place.file("data")).unwrap();
    std::fs::write(place.file("data"), vec![0; content.len()]).unwrap();
    let mut verify = Job { calls: Calls::Mapped, depth: 1, direct: false, ..place.job("read") };
    verify.size = Some(MIB);
    verify.verify = Some(Verify { read_back: true, fatal: false, by_pattern: false });
    assert!(run_jobs(&[&verify]).jobs[0].verify_failures > 0, "zeros are not what was written");
}

#[test]
fn batches_are_as_large_as_was_asked_for() {
    let place = Place::new();
    let mut job = place.job("randread");
    job.depth = 32;
    job.batches = Batches { most: Some(3), complete_min: 8, complete_max: Some(4), depth_low: Some(20) };
    let result = good(&job);
    assert_eq!(result.by_direction.read.ios, 1024);
    assert!(
        result.submitted.0[2..].iter().all(|count| *count == 0),
        "more than 4 at once: {:?}",
        result.submitted
    );
    assert!(
        result.completed.0[2..].iter().all(|count| *count == 0),
        "more than 4 at once: {:?}",
        result.completed
    );
    // Polls for completions without waiting, and takes one at a time.
    job.batches = Batches { most: Some(32), complete_min: 0, complete_max: Some(1), depth_low: None };
    assert_eq!(good(&job).by_direction.read.ios, 1024);
}

#[test]
fn threads_of_one_file_have_their_own_parts_of_it() {
    let place = Place::new();
    let mut job = place.job("write");
    (job.threads, job.size, job.offset, job.offset_increment) = (3, Some(MIB), MIB, MIB);
    let run = run_jobs(&[&job]);
    assert!(run.jobs.iter().all(|result| result.error == 0 && result.by_direction.write.bytes == MIB));
    let content = std::fs::read(place.file("data")).unwrap();
    assert_eq!(content.len() as u64, 4 * MIB);
    let is_zero = |block: &[u8]| block.iter().all(|byte| *byte == 0);
    let zeros = content.chunks(4096).position(|block| !is_zero(block));
    assert_eq!(zeros, Some(256), "the first part is nobody's");
    assert!(!content[MIB as usize..].chunks(4096).any(is_zero), "a part of a thread has a hole");
}

#[test]
fn files_have_sizes_within_their_range_the_same_each_time() {
    let place = Place::new();
    let mut job = place.job("randwrite");
    (job.files, job.directory, job.nrfiles) = (Vec::new(), Some(place.file("")), 12);
    (job.size, job.file_size, job.file_size_most) = (None, Some(65_536), Some(MIB));
    let mut runs = Vec::new();
    for _ in 0..2 {
        good(&job);
        let length = |path: &std::path::PathBuf| std::fs::metadata(path).unwrap().len();
        runs.push(job.paths(0).iter().map(length).collect::<Vec<u64>>());
        job.paths(0).iter().for_each(|path| std::fs::remove_file(path).unwrap());
    }
    assert_eq!(runs[0], runs[1]);
    assert!(runs[0].iter().all(|bytes| (65_536..=MIB).contains(bytes)), "{runs:?}");
    assert!(runs[0].iter().any(|bytes| *bytes != runs[0][0]), "{runs:?}");
}

#[test]
fn space_is_reserved_written_or_left_as_was_asked_for() {
    let place = Place::new();
    for (written_files, is_there, is_written) in [
        (WrittenFiles::Sparse, false, false),
        (WrittenFiles::Reserved, true, false),
        (WrittenFiles::Written, true, true),
    ] {
        let mut job = place.job("write");
        (job.written_files, job.number_ios) = (written_files, Some(1));
        job.close_fsync = true;
        good(&job);
        let content = std::fs::read(place.file("data")).unwrap();
        assert_eq!(content.len() as u64, 4 * MIB);
        assert_eq!(content[MIB as usize..].iter().any(|byte| *byte != 0), is_written, "{written_files:?}");
        let bytes = std::fs::metadata(place.file("data")).unwrap().blocks() * 512;
        // A file system may be unable to reserve space; but unless the job asks for it, no space is
        // reserved.
        assert!(is_there || bytes < MIB, "{bytes} bytes are taken without being reserved");
        std::fs::remove_file(place.file("data")).unwrap();
    }
}

#[test]
fn a_job_ends_once_it_is_steady() {
    let place = Place::new();
    let steady = Steady {
        metric: SteadyMetric::Iops,
        slope: false,
        // The job is steady whatever else the machine does.
        limit: 1e6,
        percent: true,
        window_ns: 200_000_000,
        ramp_ns: 50_000_000,
        interval_ns: 50_000_000,
    };
    let mut job = place.job("randread");
    (job.steady, job.threads, job.group_reporting) = (Some(steady), 2, true);
    (job.time_based, job.runtime_ns) = (true, Some(600_000_000_000));
    let result = good(&job);
    let report = result.steady.expect("there is a report");
    assert!(report.attained && report.iops.len() == 4, "{report:?}");
    assert_eq!(result.threads, 2, "both threads were ended");
    // This window is longer than the job.
    job.steady = Some(Steady { window_ns: 60_000_000_000, ..steady });
    job.runtime_ns = Some(500_000_000);
    assert!(!good(&job).steady.expect("there is a report").attained);
}

#[test]
fn pauses_may_be_spent_busy() {
    let place = Place::new();
    let mut job = place.job("randread");
    (job.number_ios, job.depth) = (Some(20), 1);
    (job.think_ns, job.think_spin_ns) = (300_000, 200_000);
    let result = good(&job);
    assert_eq!(result.by_direction.read.ios, 20);
}

#[test]
fn blocks_of_a_pattern_are_looked_at_byte_by_byte() {
    let place = Place::new();
    let mut job = place.job("randwrite");
    job.verify = Some(Verify { read_back: true, fatal: false, by_pattern: true });
    job.byte_pattern = b"ring".to_vec();
    job.block = ByDirection::same(BlockSize::Range { least: 4096, most: 16_384 });
    assert_eq!(good(&job).verify_failures, 0);
    let mut content = std::fs::read(place.file("data")).unwrap();
    assert!(content.chunks(4).all(|piece| piece == b"ring"));
    content[50 * 4096 + 6] = b'X';
    std::fs::write(place.file("data"), content).unwrap();
    let check = Job { verify: job.verify, byte_pattern: job.byte_pattern, ..place.job("read") };
    let found = run_jobs(&[&check]).jobs.remove(0);
    let text = found.error_text.expect("a byte is wrong");
    assert_eq!(found.verify_failures, 1);
    assert!(
        text.contains("offset 204800") && text.contains("byte 6") && text.contains("0x58, not 0x6e"),
        "{text}"
    );
}
