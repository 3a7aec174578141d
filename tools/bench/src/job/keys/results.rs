//! This module lists the keys of results: what is reported, and what happens after an error.

use super::{Key, Kind};

pub const KEYS: &[Key] = &[
    Key::new("percentile_list", Kind::Special, "percentile_list=50:99:99.9", "Percentiles that are reported")
        .default("1:5:10:20:30:40:50:60:70:80:90:95:99:99.5:99.9:99.95:99.99")
        .range("up to 20 numbers above 0, up to 100"),
    Key::new("lat_percentiles", Kind::Bool, "lat_percentiles=1", "Percentiles of whole latencies too")
        .default("0")
        .text("From when an operation is taken up; those of clat count from when it was handed over."),
    Key::new("slat_percentiles", Kind::Bool, "slat_percentiles=1", "Percentiles of submission latencies too")
        .default("0")
        .text("Until an operation is handed over: the system call is in clat, where fio has it in slat."),
    Key::new("write_bw_log", Kind::Text, "write_bw_log=out", "Write bandwidth over time to out_bw.N.log")
        .alone()
        .text("Alone, the job's name is put before."),
    Key::new(
        "write_lat_log",
        Kind::Text,
        "write_lat_log=out",
        "Write latencies over time to out_lat.N.log and so on",
    )
    .alone()
    .text("Alone, the job's name is put before."),
    Key::new(
        "write_iops_log",
        Kind::Text,
        "write_iops_log=out",
        "Write operations a second to out_iops.N.log",
    )
    .alone()
    .text("Alone, the job's name is put before."),
    Key::new("log_avg_msec", Kind::Milliseconds, "log_avg_msec=500", "Logs have means over so long")
        .default("0: each operation"),
    Key::new("per_job_logs", Kind::Bool, "per_job_logs=0", "Each thread has log files of its own")
        .default("1")
        .text(
            "N is the number of the thread within the run, from 1. With 0 all write to out_bw.log and so on.",
        ),
    Key::new("log_offset", Kind::Bool, "log_offset=1", "Logs have the offset of each operation as a column")
        .default("0"),
    Key::new("continue_on_error", Kind::Special, "continue_on_error=io", "Errors that do not end the job")
        .default("none")
        .range("none, read, write, io, verify, all"),
];
