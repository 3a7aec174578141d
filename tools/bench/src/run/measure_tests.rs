use super::*;
use crate::report::sample;

fn flight(verb: Verb, start_ns: u64) -> Flight {
    let operation = Operation { verb, file: 0, offset: 0, length: 4096, number: 0 };
    Flight { operation, start_ns, issue_ns: start_ns + 100, intended_ns: Some(start_ns - 50) }
}

#[test]
fn buckets_are_fios() {
    let depth: Vec<usize> = [1, 2, 3, 4, 8, 63, 64, 500].map(depth_bucket).to_vec();
    assert_eq!(depth, [0, 1, 1, 2, 3, 5, 6, 6]);
    let batch: Vec<usize> = [0, 1, 4, 5, 8, 9, 16, 32, 33, 64, 65, 900].map(batch_bucket).to_vec();
    assert_eq!(batch, [0, 1, 1, 2, 2, 3, 3, 4, 5, 5, 6, 6]);
}

#[test]
fn nothing_of_the_ramp_is_counted_and_times_are_kept_apart() {
    let job = sample::job("job", 0, true, false);
    let mut recorder = Recorder::new(&job, 1_000_000);
    recorder.done(&flight(Verb::Read, 990_000), 4096, 999_999);
    recorder.submitted(1, 1, 999_999);
    assert_eq!((recorder.result.by_direction.read.ios, recorder.result.depth.0[0]), (0, 0));
    recorder.done(&flight(Verb::Read, 1_000_000), 2048, 1_001_000);
    let read = &recorder.result.by_direction.read;
    assert_eq!((read.ios, read.bytes, read.short_ios, read.runtime_ns), (1, 2048, 1, 1000));
    let times = [&read.slat, &read.clat, &read.lat, &read.response].map(|of| of.max_ns());
    assert_eq!(times, [100, 900, 1000, 1050]);
}

#[test]
fn samples_keep_their_half_second_also_when_nothing_came() {
    let job = sample::job("job", 0, true, false);
    let mut recorder = Recorder::new(&job, 0);
    recorder.done(&flight(Verb::Read, 1000), 4096, 2000);
    recorder.tick(SAMPLE_NS).unwrap();
    recorder.tick(3 * SAMPLE_NS).unwrap();
    assert_eq!(recorder.result.by_direction.read.iops.0, [2.0, 0.0, 0.0]);
    assert_eq!(recorder.result.by_direction.read.bandwidth.0, [8.0, 0.0, 0.0]);
}

#[test]
fn intervals_are_bounded_and_lose_nothing() {
    let job = sample::job("job", 0, true, false);
    let mut recorder = Recorder::new(&job, 0);
    let count = 5 * INTERVALS_MAX as u64;
    for second in 0..count {
        let at_ns = second * INTERVAL_NS + 5000;
        recorder.done(&flight(Verb::Read, at_ns), 4096, at_ns + 1000);
    }
    let result = recorder.snapshot(count * INTERVAL_NS);
    assert!(result.intervals.len() <= INTERVALS_MAX, "{}", result.intervals.len());
    assert_eq!(result.intervals.iter().map(|interval| interval.by_direction.read.ios).sum::<u64>(), count);
    let latencies = result.intervals.iter().map(|interval| interval.by_direction.read.latencies.count());
    assert_eq!(latencies.sum::<u64>(), count);
    assert!(result.intervals.windows(2).all(|pair| pair[0].start_ns < pair[1].start_ns));
}

#[test]
fn a_log_that_is_full_says_so() {
    let mut job = sample::job("job", 0, true, false);
    job.logs.iops = Some("x".into());
    let mut recorder = Recorder::new(&job, 0);
    let entry =
        LogEntry { at_ms: 0, value: 0, direction: Direction::Read, block_bytes: 0, offset: 0, thread: 0 };
    recorder.result.iops_log = vec![entry; LOG_ENTRIES_MAX - 1];
    recorder.tick(1).unwrap();
    recorder.done(&flight(Verb::Read, 100), 4096, 2000);
    assert!(recorder.tick(2001).is_err());
}

#[test]
fn two_threads_results_add_up() {
    let job = sample::job("job", 0, true, true);
    let measured = |from: u64, count: u64| {
        let mut recorder = Recorder::new(&job, 0);
        for at in from..from + count {
            let verb = if at % 2 == 0 { Verb::Read } else { Verb::Write };
            let at_ns = at * 100_000_000 + 1000;
            recorder.submitted(1, 1, at_ns);
            recorder.done(&flight(verb, at_ns), 4096, at_ns + 100 * (at + 2));
            recorder.tick(at_ns).unwrap();
        }
        recorder.snapshot(100 * INTERVAL_NS)
    };
    let (one, other) = (measured(0, 40), measured(10, 60));
    let (mut sum, mut turned) = (one.clone(), other.clone());
    sum.merge(&other);
    turned.merge(&one);
    assert_eq!(sum.threads, 2);
    for direction in [Direction::Read, Direction::Write] {
        let parts = [&one, &other].map(|part| part.by_direction.get(direction));
        let whole = sum.by_direction.get(direction);
        assert_eq!(whole.ios, parts[0].ios + parts[1].ios);
        assert_eq!(whole.clat.count(), whole.ios);
        assert_eq!(whole.clat.max_ns(), parts[1].clat.max_ns());
        assert_eq!(whole.runtime_ns, parts[1].runtime_ns);
        let samples: f64 = parts.iter().flat_map(|part| &part.iops.0).sum();
        assert!((whole.iops.0.iter().sum::<f64>() - samples).abs() < 1e-6);
        let same = turned.by_direction.get(direction);
        assert_eq!((same.ios, &same.iops.0), (whole.ios, &whole.iops.0));
        assert_eq!(same.lat.bins().collect::<Vec<_>>(), whole.lat.bins().collect::<Vec<_>>());
    }
    assert_eq!(sum.depth.0[0], 100);
    let intervals: u64 = sum.intervals.iter().map(|interval| interval.by_direction.read.ios).sum();
    assert_eq!(intervals, sum.by_direction.read.ios);
    assert!(sum.intervals.windows(2).all(|pair| pair[0].start_ns < pair[1].start_ns));
}

/// Regression: the first interval had the full length though counting began within it, and so had
/// the last one of a group though the job ended within it. Both looked like a drop of the rate.
#[test]
fn intervals_end_with_the_job_also_when_threads_are_summed() {
    const EVERY_NS: u64 = 10_000_000;
    let (from_ns, until_ns) = (730_000_000, 3_250_000_000);
    let job = sample::job("job", 0, true, false);
    let measured = |late_ns: u64| {
        let mut recorder = Recorder::new(&job, from_ns + late_ns);
        let mut at_ns = from_ns + late_ns;
        while at_ns < until_ns {
            recorder.done(&flight(Verb::Read, at_ns), 4096, at_ns);
            at_ns += EVERY_NS;
        }
        recorder.end(until_ns);
        // Flushes and other operations after the end are in no interval.
        recorder.snapshot(until_ns + INTERVAL_NS)
    };
    let (mut sum, other) = (measured(0), measured(1_000_000));
    let of = |result: &JobResult| -> Vec<(u64, u64)> {
        result.intervals.iter().map(|one| (one.start_ns, one.length_ns)).collect()
    };
    let expected = [
        (from_ns, 270_000_000),
        (1_000_000_000, INTERVAL_NS),
        (2_000_000_000, INTERVAL_NS),
        (3_000_000_000, 250_000_000),
    ];
    assert_eq!(of(&sum), expected);
    sum.merge(&other);
    assert_eq!(of(&sum), expected);
    for interval in &sum.intervals {
        let rate = interval.by_direction.read.ios as f64 / (interval.length_ns as f64 / 1e9);
        assert!((rate / 200.0 - 1.0).abs() < 0.05, "{rate} a second in {interval:?}");
    }
    // This run is shorter than an interval.
    let mut short = Recorder::new(&job, 1_900_000_000);
    short.done(&flight(Verb::Read, 1_950_000_000), 4096, 1_950_000_000);
    short.done(&flight(Verb::Read, 2_050_000_000), 4096, 2_050_000_000);
    short.end(2_100_000_000);
    let mut short = short.snapshot(2_100_000_000);
    short.merge(&short.clone());
    assert_eq!(of(&short), [(1_900_000_000, 100_000_000), (2_000_000_000, 100_000_000)]);
}
