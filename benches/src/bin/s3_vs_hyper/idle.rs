//! This module measures the CPU time of a server that has served requests and has nothing to do.

#![expect(clippy::disallowed_methods, reason = "measuring idleness is waiting")]

use crate::{AnyError, BUCKET, Bench, expect_success, make_bucket, renderer, start};
use ringbolt_benches::http::request::Payload;
use ringbolt_benches::stats::median;
use ringbolt_benches::usage::process_cpu_ns;
use ringbolt_benches::verdict::at_most;
use std::time::Duration;

const WINDOW: Duration = Duration::from_secs(10);

pub fn run(bench: &mut Bench) -> Result<(), AnyError> {
    println!("\nidle server, windows of {} s", WINDOW.as_secs());
    let server = start(&bench.fresh("s3-idle", "2GiB")?)?;
    make_bucket(&server)?;
    let renderer = renderer(&server);
    let path = format!("/{BUCKET}/one");
    let requests =
        vec![renderer.put(&path, b"something", Payload::UnsignedWithCrc32c), renderer.signed("GET", &path)];
    expect_success(&server, requests)?;
    std::thread::sleep(Duration::from_secs(2));
    let mut shares = Vec::new();
    for repeat in 1..=bench.options.repeats {
        let before = process_cpu_ns(server.pid())?;
        std::thread::sleep(WINDOW);
        // The CPU time of a kernel thread of the ring is lost when the thread ends.
        let Some(used) = process_cpu_ns(server.pid())?.checked_sub(before) else {
            println!("{repeat}: a thread ended meanwhile; not counted");
            continue;
        };
        let share = used as f64 / WINDOW.as_nanos() as f64 * 100.0;
        println!("{repeat}: {share:.4}% of a core");
        shares.push(share);
    }
    if shares.is_empty() {
        return Err("no window could be counted; run more with --repeats".into());
    }
    bench.verdicts.judge("idle server, share of a core", median(&shares), "%", at_most(0.1));
    server.stop()?;
    Ok(())
}
