use super::*;
use crate::report::{json, sample};
use crate::result::Run;
use std::fs;

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn put(&self, name: &str, text: &str) -> String {
        let path = self.0.path().join(name);
        fs::write(&path, text).expect("write it");
        path.to_string_lossy().into_owned()
    }

    fn run(&self, name: &str, run: &Run) -> String {
        self.put(name, &json::text(run, true))
    }
}

fn arguments(before: &str, after: &str) -> Arguments {
    Arguments { before: before.to_owned(), after: after.to_owned(), threshold: 5.0, json: false }
}

fn find<'a>(comparison: &'a Comparison, job: &str, direction: &str, figure: &str) -> &'a Change {
    let wanted = |change: &&Change| {
        (change.job.as_str(), change.direction.as_str(), change.figure) == (job, direction, figure)
    };
    comparison
        .changes
        .iter()
        .find(wanted)
        .unwrap_or_else(|| panic!("{job} {direction} {figure}: {comparison:?}"))
}

#[test]
fn a_slower_run_is_a_regression_and_the_same_run_is_none() {
    let files = Files::new();
    let before = files.run("a.json", &sample::run());
    let after = files.run("b.json", &sample::run_scaled(1.3, 0.8));
    let comparison = compare(&arguments(&before, &after)).expect("comparable");
    for figure in ["IOPS", "bandwidth", "latency p50"] {
        let change = find(&comparison, "mixed", "read", figure);
        assert_eq!(change.verdict, Verdict::Regression, "{change:?}");
    }
    let median = find(&comparison, "mixed", "read", "latency p50");
    let (low, high) = median.interval_percent.expect("intervals to judge by");
    assert!(low < 30.0 && high > 30.0 && high - low < 45.0, "{median:?}");
    let mean = find(&comparison, "mixed", "read", "latency mean");
    assert_eq!(mean.verdict, Verdict::Same, "most of it is one stall: {mean:?}");
    let other = find(&comparison, "writes", "write", "latency p50");
    assert_eq!(other.verdict, Verdict::Same, "{other:?}");

    let same = compare(&arguments(&before, &before)).expect("comparable");
    assert_eq!(same.regressions, 0);
    assert!(same.changes.iter().all(|change| change.change_percent == 0.0));
    let better = compare(&arguments(&after, &before)).expect("comparable");
    assert_eq!(better.regressions, 0);
    assert_eq!(find(&better, "mixed", "read", "IOPS").verdict, Verdict::Better);
}

#[test]
fn the_exit_status_says_it() {
    let files = Files::new();
    let before = files.run("a.json", &sample::run());
    let after = files.run("b.json", &sample::run_scaled(1.3, 0.8));
    let status = |arguments: &Arguments| format!("{:?}", execute(arguments));
    let is = |code: u8| format!("{:?}", ExitCode::from(code));
    assert_eq!(status(&arguments(&before, &after)), is(3));
    assert_eq!(status(&arguments(&before, &before)), is(0));
    assert_eq!(status(&Arguments { threshold: 60.0, ..arguments(&before, &after) }), is(0));
    assert_eq!(status(&arguments(&before, "/no/such/file")), is(2));
}

#[test]
fn within_the_threshold_is_worse_but_no_regression() {
    assert_eq!(verdict(Some((6.0, 9.0)), false, 5.0), Verdict::Regression);
    assert_eq!(verdict(Some((4.0, 9.0)), false, 5.0), Verdict::Worse);
    assert_eq!(verdict(Some((-1.0, 9.0)), false, 5.0), Verdict::Same);
    assert_eq!(verdict(Some((-9.0, -6.0)), true, 5.0), Verdict::Regression);
    assert_eq!(verdict(Some((-9.0, -4.0)), true, 5.0), Verdict::Worse);
    assert_eq!(verdict(Some((1.0, 2.0)), true, 5.0), Verdict::Better);
    assert_eq!(verdict(None, true, 5.0), Verdict::Unknown);
}

#[test]
fn one_run_a_side_can_not_judge_tails_and_says_what_it_takes() {
    let files = Files::new();
    let one = files.run("a1.json", &sample::run());
    let mut busier = sample::run();
    busier.jobs[0].usage.user_ns *= 2;
    let two = files.run("a2.json", &busier);
    let single = compare(&arguments(&one, &two)).expect("comparable");
    assert_eq!(single.judged_by, JudgedBy::Intervals);
    let unknown = |comparison: &Comparison| -> Vec<&'static str> {
        let all = comparison.changes.iter().filter(|change| change.verdict == Verdict::Unknown);
        all.map(|change| change.figure).collect()
    };
    assert_eq!(
        unknown(&single)[..3],
        ["CPU per I/O", "latency p99", "latency p99.9"],
        "those of the first job: {single:?}"
    );
    let table = show::table(&single);
    assert!(table.contains("Not judged: CPU per I/O, latency p99, latency p99.9"), "{table}");
    assert!(table.contains("at least 3 runs a side"), "{table}");

    let three = files.run("a3.json", &sample::run_scaled(1.02, 1.0));
    let side = format!("{one},{two},{three}");
    let several = compare(&arguments(&side, &side)).expect("comparable");
    assert_eq!((several.judged_by, unknown(&several).len()), (JudgedBy::Runs, 0));
    let cpu = find(&several, "mixed", "all", "CPU per I/O");
    let (low, high) = cpu.interval_percent.expect("runs to judge by");
    assert!(low < -10.0 && high > 10.0, "runs that differ by a third: {cpu:?}");
    assert!(!show::table(&several).contains("Not judged"));
}

#[test]
fn fios_own_json_is_read_as_far_as_it_goes() {
    let fio = |iops: u32| {
        format!(
            r#"note: something fio said first
{{"fio version": "fio-3.33", "jobs": [{{"jobname": "j", "usr_cpu": 1.0, "sys_cpu": 4.0, "job_runtime": 1000,
 "read": {{"total_ios": 1000, "iops": {iops}.0, "bw_bytes": 4096000, "iops_stddev": 10.0, "iops_samples": 100,
  "clat_ns": {{"mean": 900.0, "stddev": 30.0, "N": 1000, "percentile": {{"50.000000": 890, "99.000000": 1200}}}}}},
 "write": {{"total_ios": 0}}}}]}}"#
        )
    };
    let files = Files::new();
    let side = |rates: [u32; 3]| -> Vec<String> {
        rates.iter().map(|iops| files.put(&format!("{iops}.json"), &fio(*iops))).collect()
    };
    let (before, after) = (side([1000, 1010, 990]), side([800, 808, 795]));
    let single = compare(&arguments(&before[0], &after[0])).expect("comparable");
    let rate = find(&single, "j", "read", "IOPS");
    assert_eq!(rate.verdict, Verdict::Unknown, "samples of one run follow each other: {rate:?}");
    assert_eq!(find(&single, "j", "read", "latency p99").before, 1200.0);
    assert!((find(&single, "j", "all", "CPU per I/O").before - 50_000.0).abs() < 1e-3);
    assert!(single.changes.iter().all(|change| change.figure != "latency p99.9"), "not in the file");
    let several = compare(&arguments(&before.join(","), &after.join(","))).expect("comparable");
    let rate = find(&several, "j", "read", "IOPS");
    assert_eq!(rate.verdict, Verdict::Regression, "{rate:?}");
    let tail = find(&several, "j", "read", "latency p99");
    let (low, high) = tail.interval_percent.expect("runs to judge by");
    assert!(tail.verdict == Verdict::Same && low < -0.5 && high > 0.5, "within a class of fio's: {tail:?}");
}

/// Files of earlier versions have first and last intervals as long as the others, and none for a
/// second in which nothing ended.
#[test]
fn files_of_before_are_read_with_the_gaps_between_their_intervals() {
    let interval = |second: u64, ios: u64| {
        serde_json::json!({"start_ms": second * 1000, "length_ms": 1000,
            "read": {"ios": ios, "bytes": ios * 4096, "mean_ns": 90.0, "p50_ns": 80}})
    };
    let intervals: Vec<_> =
        (0..15).filter(|second| *second != 7).map(|second| interval(second, 1000 + second % 3)).collect();
    let job = serde_json::json!({"jobname": "j", "read": {"total_ios": 14_000, "iops": 933.0,
        "bw_bytes": 3_822_933, "clat_ns": {"mean": 90.0, "N": 14_000}}, "ringbolt": {"intervals": intervals}});
    let found = read::figures_of(&[job]);
    let figures = &found[&("j".to_owned(), "read".to_owned())];
    let rate = &figures[0].intervals;
    assert_eq!((rate.len(), rate[7].amount, rate[7].weight), (15, 0.0, 1.0));
    let latency =
        figures.iter().find(|figure| figure.kind.name == "latency mean").expect("it is in the file");
    assert_eq!(latency.intervals.len(), 14);
}

#[test]
fn what_cannot_be_compared_says_why() {
    let files = Files::new();
    let good = files.run("a.json", &sample::run());
    let mut renamed = sample::run();
    renamed.jobs[0].job.name = "other".to_owned();
    renamed.jobs[1].job.name = "another".to_owned();
    let cases = [
        (files.put("text.json", "no json"), "not JSON of"),
        (files.put("empty.json", ""), "not JSON of"),
        (files.put("list.json", "{\"jobs\": 3}"), "no \"jobs\""),
        (files.put("none.json", "{\"jobs\": [null, 7, {}]}"), "no job in common"),
        (files.run("renamed.json", &renamed), "no job in common"),
        (files.0.path().join("missing").to_string_lossy().into_owned(), "cannot read"),
    ];
    for (after, part) in cases {
        let error = compare(&arguments(&good, &after)).expect_err("cannot be compared").to_string();
        assert!(error.contains(part), "{part}: {error}");
    }
    let error =
        compare(&Arguments { threshold: f64::NAN, ..arguments(&good, &good) }).expect_err("no number");
    assert!(error.to_string().contains("threshold"), "{error}");
}

/// Holds runs of one job file on one machine, one after the other: when `compare` assumed that
/// operations are independent, it saw a change in each of a hundred pairs of them. Each line is the
/// JSON of a run, without what is not compared. Nine more were made while other programs used most
/// of the machine; they were three times slower, which is a change, and are left out.
const RECORDED: &str = include_str!("recorded.jsonl");

struct Recorded {
    files: Files,
    runs: Vec<serde_json::Value>,
}

impl Recorded {
    fn new() -> Self {
        let run = |line: &str| serde_json::from_str(line).expect("JSON of a run");
        let recorded = Self { files: Files::new(), runs: RECORDED.lines().map(run).collect() };
        for (index, run) in recorded.runs.iter().enumerate() {
            recorded.files.put(&format!("{index}.json"), &run.to_string());
            recorded.files.put(&format!("slower{index}.json"), &slower(run.clone()).to_string());
        }
        recorded
    }

    fn side(&self, prefix: &str, runs: &[usize]) -> String {
        let name = |run: &usize| {
            let path = self.files.0.path().join(format!("{prefix}{run}.json"));
            path.to_string_lossy().into_owned()
        };
        runs.iter().map(name).collect::<Vec<_>>().join(",")
    }

    fn compare(&self, prefix: &str, before: &[usize], after: &[usize]) -> Comparison {
        let (before, after) = (self.side("", before), self.side(prefix, after));
        compare(&arguments(&before, &after)).expect("runs of one job file")
    }

    /// Returns a hundred pairs of sides with `each` runs per side, made in turns.
    fn turns(&self, each: usize) -> Vec<(Vec<usize>, Vec<usize>)> {
        let count = self.runs.len();
        let side = |first: usize, step: usize| -> Vec<usize> {
            (0..each).map(|turn| (first + 2 * turn * step) % count).collect()
        };
        let steps = (1..).flat_map(|step| (0..count).map(move |first| (first, step)));
        steps.map(|(first, step)| (side(first, step), side(first + step, step))).take(100).collect()
    }
}

/// Returns the same run with a tenth fewer operations in each second and accordingly longer
/// latencies.
fn slower(mut run: serde_json::Value) -> serde_json::Value {
    fn scale(value: &mut serde_json::Value, name: &str) {
        let factor = match name {
            "iops" | "bw_bytes" | "ios" | "bytes" => 0.9,
            "mean" | "mean_ns" | "p50_ns" => 1.0 / 0.9,
            name if name.starts_with(|first: char| first.is_ascii_digit()) => 1.0 / 0.9,
            _ => 1.0,
        };
        match value {
            serde_json::Value::Object(fields) => {
                fields.iter_mut().for_each(|(name, value)| scale(value, name));
            }
            serde_json::Value::Array(values) => values.iter_mut().for_each(|value| scale(value, "")),
            serde_json::Value::Number(number) if factor != 1.0 => {
                *value = (number.as_f64().expect("a number") * factor).into();
            }
            _ => {}
        }
    }
    scale(&mut run, "");
    run
}

fn is_alarm(change: &Change) -> bool {
    matches!(change.verdict, Verdict::Regression | Verdict::Worse | Verdict::Better)
}

#[test]
fn a_hundred_comparisons_of_like_runs_give_at_most_five_alarms() {
    let recorded = Recorded::new();
    for each in [1, 3, 5, 8] {
        let mut alarms = Vec::new();
        for (before, after) in recorded.turns(each) {
            let comparison = recorded.compare("", &before, &after);
            let judged = comparison.changes.iter().filter(|change| change.interval_percent.is_some());
            assert!(judged.count() >= 12, "{comparison:?}");
            let first = comparison.changes.iter().find(|change| is_alarm(change));
            alarms.extend(first.map(|change| format!("{before:?} {after:?}: {change:?}")));
        }
        println!("{each} a side: {} alarms", alarms.len());
        assert!(alarms.len() <= 5, "{each} a side: {}: {alarms:#?}", alarms.len());
    }
}

/// These runs differ by 6% to 8% by themselves.
#[test]
fn a_tenth_less_is_found_with_several_runs_a_side() {
    let recorded = Recorded::new();
    for (each, least) in [(3, 30), (5, 60), (8, 95)] {
        let mut found = 0;
        for (before, after) in recorded.turns(each) {
            let comparison = recorded.compare("slower", &before, &after);
            let has = |verdict| comparison.changes.iter().any(|change| change.verdict == verdict);
            found += usize::from(has(Verdict::Worse) || has(Verdict::Regression));
        }
        println!("{each} a side: found {found}");
        assert!(found >= least, "{each} a side: {found}");
    }
}

#[test]
fn the_table_names_what_changed() {
    let files = Files::new();
    let before = files.run("a.json", &sample::run());
    let mut fewer = sample::run_scaled(1.3, 0.8);
    fewer.jobs.truncate(1);
    let after = files.run("b.json", &fewer);
    let table = show::table(&compare(&arguments(&before, &after)).expect("comparable"));
    for part in [
        "mixed, read\n",
        "REGRESSION",
        "latency p99.9",
        "Only before: writes all, writes write",
        "beyond 5%.",
    ] {
        assert!(table.contains(part), "{part} in\n{table}");
    }
}
