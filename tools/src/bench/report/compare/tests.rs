use super::*;
use crate::bench::report::{json, sample};
use crate::bench::result::Run;
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
    Arguments { before: before.to_owned(), after: after.to_owned(), threshold: 5.0, json: false, seed: 1 }
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
    for figure in ["IOPS", "bandwidth", "latency mean", "latency p50", "latency p99"] {
        let change = find(&comparison, "mixed", "read", figure);
        assert_eq!(change.verdict, Verdict::Regression, "{change:?}");
    }
    let median = find(&comparison, "mixed", "read", "latency p50");
    let (low, high) = median.interval_percent.expect("bins to draw from");
    assert!(low < 30.0 && high > 30.0 && high - low < 5.0, "{median:?}");
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
fn several_files_give_every_figure_an_interval() {
    let files = Files::new();
    let one = files.run("a1.json", &sample::run());
    let mut busier = sample::run();
    busier.jobs[0].usage.user_ns *= 2;
    let two = files.run("a2.json", &busier);
    let single = compare(&arguments(&one, &two)).expect("comparable");
    assert_eq!(find(&single, "mixed", "all", "CPU per I/O").verdict, Verdict::Unknown);
    let both = format!("{one},{two}");
    let several = compare(&arguments(&both, &both)).expect("comparable");
    let cpu = find(&several, "mixed", "all", "CPU per I/O");
    let (low, high) = cpu.interval_percent.expect("files to draw from");
    assert!(low < -10.0 && high > 10.0, "runs that differ by a third: {cpu:?}");
}

#[test]
fn fios_own_json_is_read_as_far_as_it_goes() {
    let fio = r#"note: something fio said first
{"fio version": "fio-3.33", "jobs": [{"jobname": "j", "usr_cpu": 1.0, "sys_cpu": 4.0, "job_runtime": 1000,
 "read": {"total_ios": 1000, "iops": 1000.0, "bw_bytes": 4096000, "iops_stddev": 10.0, "iops_samples": 100,
  "bw_dev": 40.0, "bw_samples": 100,
  "clat_ns": {"mean": 900.0, "stddev": 30.0, "N": 1000, "percentile": {"50.000000": 890, "99.000000": 1200}}},
 "write": {"total_ios": 0}}]}"#;
    let files = Files::new();
    let before = files.put("a.json", fio);
    let after = files.put("b.json", &fio.replace("\"iops\": 1000.0", "\"iops\": 800.0"));
    let comparison = compare(&arguments(&before, &after)).expect("comparable");
    let rate = find(&comparison, "j", "read", "IOPS");
    assert_eq!(rate.verdict, Verdict::Regression, "{rate:?}");
    assert_eq!(find(&comparison, "j", "read", "latency p99").verdict, Verdict::Unknown);
    assert_eq!(find(&comparison, "j", "read", "latency p99").before, 1200.0);
    assert_eq!(find(&comparison, "j", "all", "CPU per I/O").before, 50_000.0);
    assert!(comparison.changes.iter().all(|change| change.figure != "latency p99.9"), "not in the file");
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

#[test]
fn the_same_seed_gives_the_same_answer() {
    let files = Files::new();
    let before = files.run("a.json", &sample::run());
    let after = files.run("b.json", &sample::run_scaled(1.1, 0.9));
    let shown = |seed| {
        let comparison = compare(&Arguments { seed, ..arguments(&before, &after) }).expect("comparable");
        show::json(&comparison)
    };
    assert_eq!(shown(1), shown(1));
    assert_ne!(shown(1), shown(2));
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
