use super::*;
use crate::report::sample;

fn lines_with(text: &str, part: &str) -> Vec<String> {
    text.lines().filter(|line| line.contains(part)).map(str::to_owned).collect()
}

#[test]
fn the_report_has_fios_lines_in_order() {
    let text = text(&sample::run());
    let wanted = [
        "mixed: (groupid=0, jobs=1): err= 0: pid=",
        "  read: IOPS=10.6k, BW=",
        "    slat (nsec): min=",
        "    clat (usec): min=",
        "     lat (usec): min=",
        "    clat percentiles (usec):",
        "     |  1.00th=[",
        "   bw (  KiB/s): min=",
        "   iops        : min=",
        "  write: IOPS=",
        "  lat (usec)   : ",
        "  lat (msec)   : ",
        "  cpu          : usr=10.00%, sys=25.00%, ctx=12345, majf=1, minf=23",
        "  IO depths    : 1=10.0%, 2=0.0%, 4=0.0%, 8=0.0%, 16=0.0%, 32=90.0%, >=64=0.0%",
        "     submit    : 0=0.0%, 4=100.0%,",
        "     complete  : 0=0.0%, 4=100.0%, 8=0.1%,",
        "     issued rwts: total=",
        "     latency   : target=0, window=0, percentile=100.00%, depth=32",
        "writes: (groupid=1, jobs=1)",
        "  fsync/fdatasync/sync_file_range:",
        "    sync percentiles (usec):",
        "Run status group 0 (all jobs):",
        "   READ: bw=",
        "  WRITE: bw=",
        "Run status group 1 (all jobs):",
        "Disk stats (read/write):",
        "  vda: ios=100000/60000, sectors=800000/480000, merge=3/4, ticks=5000/6000, in_queue=11000, util=99.50%",
    ];
    let mut rest = text.as_str();
    for part in wanted {
        let at = rest.find(part).unwrap_or_else(|| panic!("{part:?} is not (or not in order) in\n{text}"));
        rest = &rest[at + part.len()..];
    }
    assert!(!text.contains("response"), "only with a rate");
}

#[test]
fn percentiles_go_to_99_99_and_lines_stay_narrow() {
    let text = text(&sample::run());
    assert_eq!(lines_with(&text, "99.99th=[").len(), 4, "read, write, write, sync");
    for line in text.lines().filter(|line| line.starts_with("     |")) {
        assert!(line.len() <= 80, "{} characters: {line}", line.len());
    }
    assert!(!text.contains(",,"));
}

#[test]
fn response_times_stand_beside_service_times() {
    let text = text(&sample::run_with_rate());
    assert_eq!(lines_with(&text, "    response time percentiles").len(), 2);
    assert_eq!(lines_with(&text, "    response (").len(), 2);
}

#[test]
fn an_error_is_named() {
    let mut run = sample::run();
    run.jobs[0].error = 5;
    run.jobs[0].error_text = Some("Input/output error".to_owned());
    assert!(text(&run).contains("err= 5 (Input/output error): pid="));
}

#[test]
fn the_heading_names_each_job() {
    let plan = sample::run().plan;
    let text = heading(&plan);
    assert!(
        text.starts_with(
            "mixed: (g=0): rw=randrw, bs=(R) 4096B-4096B, (W) 4096B-4096B, (T) 4096B-4096B, \
             ioengine=io_uring, iodepth=32\n"
        ),
        "{text}"
    );
    assert!(text.ends_with("Starting 2 threads\n"));
}

#[test]
fn a_run_without_anything_prints_without_panic() {
    let mut run = sample::run();
    run.jobs[0].by_direction = Default::default();
    run.jobs[0].job.percentiles = vec![f64::NAN, 1000.0];
    run.disks.clear();
    let text = text(&run);
    assert!(!text.contains("NaN") && !text.contains("=inf"), "{text}");
}
