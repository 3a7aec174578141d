use super::*;
use crate::engine::failures::FailedOperation;
use crate::report::sample;
use serde_json::Value;

fn parsed(run: &Run, with_bins: bool) -> Value {
    serde_json::from_str(&text(run, with_bins)).expect("own JSON")
}

#[test]
fn integers_are_integers_and_floats_are_floats() {
    let run = sample::run();
    let report = parsed(&run, true);
    let read = &report["jobs"][0]["read"];
    for key in
        ["io_bytes", "bw_bytes", "bw", "runtime", "total_ios", "bw_min", "bw_max", "iops_min", "iops_max"]
    {
        assert!(read[key].is_u64(), "{key}: {}", read[key]);
    }
    for key in ["iops", "bw_agg", "bw_mean", "bw_dev", "iops_mean", "iops_stddev"] {
        assert!(read[key].is_f64(), "{key}: {}", read[key]);
    }
    let trim = &report["jobs"][0]["trim"];
    assert!(trim["iops"].is_f64(), "also when nothing ran: {}", trim["iops"]);
    assert!(trim["clat_ns"].get("percentile").is_none(), "as fio without operations");
    assert!(report["jobs"][0]["job options"].as_object().expect("a map").values().all(Value::is_string));
}

#[test]
fn rates_are_operations_and_bytes_over_time() {
    let run = sample::run();
    let report = parsed(&run, false);
    let read = &report["jobs"][0]["read"];
    let measured = &run.jobs[0].by_direction.read;
    assert_eq!(read["total_ios"], measured.ios);
    assert_eq!(read["bw_bytes"], measured.bytes / 10);
    assert_eq!(read["bw"], measured.bytes / 10 / 1024);
    assert_eq!(read["iops"].as_f64(), Some(measured.ios as f64 / 10.0));
    assert_eq!(report["jobs"][0]["job_runtime"], 10_000);
    assert_eq!(report["jobs"][0]["usr_cpu"], 10.0);
}

#[test]
fn bins_hold_every_operation_and_agree_with_the_percentiles() {
    let run = sample::run();
    let report = parsed(&run, true);
    let clat = &report["jobs"][0]["read"]["clat_ns"];
    let bins = clat["bins"].as_object().expect("json+ has bins");
    let mut ordered: Vec<(u64, u64)> = bins
        .iter()
        .map(|(key, count)| (key.parse().expect("a number"), count.as_u64().expect("a count")))
        .collect();
    ordered.sort_unstable();
    let total: u64 = ordered.iter().map(|(_, count)| count).sum();
    assert_eq!(Some(total), clat["N"].as_u64());
    for (name, value) in clat["percentile"].as_object().expect("percentiles") {
        let wanted = name.parse::<f64>().expect("a percentage") / 100.0 * total as f64;
        let mut seen = 0;
        let at = ordered.iter().find(|(_, count)| {
            seen += count;
            seen as f64 >= wanted
        });
        assert_eq!(Some(at.expect("in the bins").0), value.as_u64(), "{name}");
    }
    let without = parsed(&run, false);
    assert!(without["jobs"][0]["read"]["clat_ns"].get("bins").is_none(), "only json+ has bins");
}

#[test]
fn no_bin_is_beyond_fios_last() {
    let mut run = sample::run();
    for seconds in [1, 17, 18, 150] {
        run.jobs[0].by_direction.read.clat.record(seconds * 1_000_000_000);
    }
    let report = parsed(&run, true);
    let bins = report["jobs"][0]["read"]["clat_ns"]["bins"].as_object().expect("bins").clone();
    assert_eq!(bins.keys().map(|key| key.parse::<u64>().expect("a number")).max(), Some(BIN_NS_MAX));
    assert_eq!(bins[&BIN_NS_MAX.to_string()], 2);
}

#[test]
fn intervals_sum_to_the_totals() {
    let run = sample::run();
    let report = parsed(&run, false);
    let job = &report["jobs"][0];
    let intervals = job["ringbolt"]["intervals"].as_array().expect("intervals");
    let sum: u64 = intervals.iter().map(|one| one["read"]["ios"].as_u64().expect("a count")).sum();
    assert_eq!(Some(sum), job["read"]["total_ios"].as_u64());
    assert_eq!(intervals[1]["start_ms"], 500.0);
}

#[test]
fn response_times_are_there_with_a_rate_only() {
    let without = parsed(&sample::run(), false);
    assert!(without["jobs"][0]["ringbolt"]["response_ns"].as_object().expect("a map").is_empty());
    let with = parsed(&sample::run_with_rate(), false);
    let job = &with["jobs"][0];
    let response = job["ringbolt"]["response_ns"]["read"]["percentile"]["99.900000"].as_u64();
    let service = job["read"]["clat_ns"]["percentile"]["99.900000"].as_u64();
    assert!(response > service.map(|service| service * 10), "{response:?} against {service:?}");
}

#[test]
fn a_run_that_measured_nothing_is_still_json() {
    let mut run = sample::run();
    run.jobs[0].by_direction = ByDirection::default();
    run.jobs[0].intervals.clear();
    run.jobs[0].usage.wall_ns = 0;
    run.disks[0].utilisation_percent = f64::NAN;
    let report = parsed(&run, true);
    assert_eq!(report["jobs"][0]["read"]["iops"], 0.0);
    assert_eq!(report["disk_util"][0]["util"], 0.0);
    assert_eq!(report["disk_util"][0]["read_sectors"], 800_000);
    assert_eq!(report["disk_util"][0]["write_sectors"], 480_000);
}

#[test]
fn failures_are_told_with_their_reasons() {
    let mut run = sample::run();
    let failed = FailedOperation {
        operation: "GET".into(),
        path: "/bench/4096/1".into(),
        errno: 16,
        status: Some(503),
        code: Some("SlowDown".into()),
        text: "503 SlowDown: Less, please.".into(),
        kind: "503 SlowDown".into(),
        ..FailedOperation::default()
    };
    run.jobs[0].failures.count(failed.clone());
    run.jobs[0].failures.count(FailedOperation { path: "/bench/4096/2".into(), ..failed });
    run.jobs[0].reconnections = Some(3);
    run.jobs[0].by_direction.read.cut_ios = 2;
    let report: serde_json::Value = serde_json::from_str(&text(&run, false)).unwrap();
    let extras = &report["jobs"][0]["ringbolt"];
    let expected = serde_json::json!([{
        "count": 2, "operation": "GET", "path": "/bench/4096/1", "errno": 16, "status": 503, "code": "SlowDown",
        "text": "503 SlowDown: Less, please."
    }]);
    assert_eq!((&extras["failures"], &extras["reconnections"]), (&expected, &serde_json::json!(3)));
    assert_eq!(extras["cut_ios"]["read"], 2);
    let shown = crate::report::normal::text(&run);
    for line in
        ["failed    : 2 × GET /bench/4096/1: 503 SlowDown", "connections made again=3", "cut off   : 2,0,0"]
    {
        assert!(shown.contains(line), "{line} is not in {shown}");
    }
}
