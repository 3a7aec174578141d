//! Writes invented runs in every form of report for `tests/bench`, which passes them to programs
//! that read fio's output: `report_samples DIRECTORY`.

// This is the builder of the reports' own tests; its types have the same names here.
#[path = "../src/report/sample.rs"]
#[allow(dead_code)]
mod sample;

use ringbolt_bench::{report, result, spec};

use report::{html, json, logs, terse};
use spec::Logs;
use std::error::Error;
use std::path::Path;
use std::{env, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let directory = env::args_os().nth(1).ok_or("give a directory to write to")?;
    let directory = Path::new(&directory);
    fs::create_dir_all(directory)?;
    let mut run = sample::run();
    fs::write(directory.join("run.json"), json::text(&run, true))?;
    fs::write(directory.join("run.terse"), terse::text(&run))?;
    html::write(&sample::run_with_rate(), &directory.join("run.html"))?;

    // The stall is as long as any that can be recorded.
    run.jobs[0].by_direction.read.clat.record(150_000_000_000);
    fs::write(directory.join("stalled.json"), json::text(&run, true))?;

    // fio-plot looks for files with these names.
    let mut plotted = sample::run();
    plotted.jobs.truncate(1);
    let prefix = Some("randrw-iodepth-32-numjobs-1".to_owned());
    plotted.jobs[0].job.logs = Logs {
        bandwidth: prefix.clone(),
        latency: prefix.clone(),
        iops: prefix,
        average_ms: 500,
        ..Logs::default()
    };
    let plots = directory.join("plots");
    fs::create_dir_all(&plots)?;
    fs::write(plots.join("randrw.json"), json::text(&plotted, false))?;
    logs::write(&plotted, &plots)?;
    Ok(())
}
