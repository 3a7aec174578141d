//! This module prints a profile for people.

use super::schema::{DriveProfile, Rate};
use std::fmt::Write;

/// Returns a table of rates, and the other figures below it.
pub fn text(profile: &DriveProfile) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(
        text,
        "{} ({}), {:.1} GB, measured on the first {:.1} GB\n",
        profile.drive.path,
        profile.drive.kind,
        profile.drive.size_bytes as f64 / 1e9,
        profile.drive.tested_bytes as f64 / 1e9
    );
    let _ = writeln!(
        text,
        "{:<12}{:>8}{:>7}{:>7}{:>11}{:>10}{:>13}{:>13}",
        "order", "block", "depth", "reads", "IOPS", "MB/s", "read p99 us", "write p99 us"
    );
    for rate in &profile.rates {
        text.push_str(&row(rate));
    }
    for load in &profile.latency_at_load {
        let _ = writeln!(
            text,
            "{} at {}% load ({:.0}/s offered, {:.0} done): response p50 {:.0} us, p99 {:.0} us",
            if load.read_percent == 100 { "reads" } else { "writes" },
            load.load_percent,
            load.offered_iops,
            load.achieved_iops,
            load.response.p50_us,
            load.response.p99_us
        );
    }
    if let Some(flush) = &profile.flush {
        let _ = writeln!(
            text,
            "fdatasync p50 {:.0} us, p99 {:.0} us; durable write (dsync) p50 {:.0} us, p99 {:.0} us",
            flush.fdatasync.p50_us,
            flush.fdatasync.p99_us,
            flush.dsync_write.p50_us,
            flush.dsync_write.p99_us
        );
    }
    if let Some(sustained) = &profile.sustained_write {
        let _ = writeln!(
            text,
            "sustained write: {:.0} MB/s at first, {:.0} MB/s after {:.1} GB{}",
            sustained.first_bytes_per_s / 1e6,
            sustained.settled_bytes_per_s / 1e6,
            sustained.written_bytes as f64 / 1e9,
            if sustained.settled { "" } else { ", not settled" }
        );
    }
    for left_out in &profile.left_out {
        let _ = writeln!(text, "left out: {left_out}");
    }
    text
}

fn row(rate: &Rate) -> String {
    let latency = |of: Option<f64>| of.map_or_else(|| "-".to_owned(), |us| format!("{us:.0}"));
    format!(
        "{:<12}{:>4} KiB{:>7}{:>6}%{:>11.0}{:>10.1}{:>13}{:>13}\n",
        if rate.random { "random" } else { "sequential" },
        rate.block_bytes >> 10,
        rate.depth,
        rate.read_percent,
        rate.iops,
        rate.bytes_per_s / 1e6,
        latency(rate.read_latency.map(|latency| latency.p99_us)),
        latency(rate.write_latency.map(|latency| latency.p99_us))
    )
}
