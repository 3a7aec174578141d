//! This module writes the report for people, laid out as fio's.
//!
//! Invariant: a line appears when fio would print it, in fio's order. Lines that fio does not have
//! (response times, verification) are placed so that they do not separate lines that belong
//! together.

use super::engine_name;
use super::summary::{self, CLASS_ENDS, GroupSum, LatencyClasses, Spread, TimeUnit};
use crate::result::{DirectionResult, JobResult, Latencies, Run};
use crate::spec::{BlockSize, ClientWait, Direction, Job, Pattern, Plan};
use ringbolt_tool_common::date;
use ringbolt_tool_common::number::{self, Prefix};
use std::fmt::{Result, Write};

/// Returns one line for each job before it starts, as `fio` prints them.
pub fn heading(plan: &Plan) -> String {
    let mut text = String::new();
    for job in &plan.jobs {
        let sizes: Vec<String> = Direction::ALL.iter().map(|one| block_size(job.block.get(*one))).collect();
        text += &format!(
            "{}: (g={}): rw={}, bs=(R) {}, (W) {}, (T) {}, ioengine={}, iodepth={}\n",
            job.name,
            job.group,
            job.given.get("rw").or(job.given.get("readwrite")).map_or(pattern(job.pattern), String::as_str),
            sizes[0],
            sizes[1],
            sizes[2],
            engine_name(job.engine),
            job.depth,
        );
        if job.threads > 1 {
            text += "...\n";
        }
    }
    let threads: u32 = plan.jobs.iter().map(|job| job.threads).sum();
    text += &format!("ringbolt-{}\nStarting {threads} thread", env!("CARGO_PKG_VERSION"));
    text += if threads == 1 { "\n" } else { "s\n" };
    text
}

fn pattern(pattern: Pattern) -> &'static str {
    match (pattern.reads, pattern.writes, pattern.trims, pattern.random) {
        (true, false, _, false) => "read",
        (true, false, _, true) => "randread",
        (false, true, false, false) => "write",
        (false, true, false, true) => "randwrite",
        (false, true, true, _) => "trimwrite",
        (true, true, _, false) => "rw",
        (true, true, _, true) => "randrw",
        (false, false, _, false) => "trim",
        (false, false, _, true) => "randtrim",
    }
}

fn block_size(block: &BlockSize) -> String {
    let (least, most) = match block {
        BlockSize::Fixed(bytes) => (*bytes, *bytes),
        BlockSize::Range { least, most } => (*least, *most),
        BlockSize::Split(parts) => (
            parts.iter().map(|(bytes, _)| *bytes).min().unwrap_or(0),
            parts.iter().map(|(bytes, _)| *bytes).max().unwrap_or(0),
        ),
    };
    let (least, most) = (number::size_both(least).0, number::size_both(most).0);
    format!("{least}-{most}")
}

/// Returns the whole report.
pub fn text(run: &Run) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_run(&mut out, run);
    out
}

fn write_run(out: &mut String, run: &Run) -> Result {
    let groups = summary::groups(run);
    let ended_unix_s = run.started_unix_ms / 1000 + longest_ns(run) / 1_000_000_000;
    writeln!(out)?;
    for result in &run.jobs {
        let sums = groups.get(&result.job.group).copied().unwrap_or_default();
        write_title(out, result, ended_unix_s)?;
        for direction in Direction::ALL {
            let measured = result.by_direction.get(direction);
            if measured.ios > 0 {
                write_direction(out, direction, measured, sums.get(direction), &result.job)?;
            }
        }
        write_classes(out, result)?;
        write_sync(out, result)?;
        write_rest(out, result)?;
        write_steady(out, result)?;
    }
    for (group, sums) in &groups {
        writeln!(out, "\nRun status group {group} (all jobs):")?;
        for direction in Direction::ALL {
            write_group(out, direction, sums.get(direction))?;
        }
    }
    write_disks(out, run)
}

/// Returns the latest end of any job, from the start of the run.
fn longest_ns(run: &Run) -> u64 {
    let ends = run.jobs.iter().map(|result| {
        let last = result.intervals.last().map_or(0, |last| last.start_ns.saturating_add(last.length_ns));
        last.max(result.runtime_ns)
    });
    ends.max().unwrap_or(0)
}

fn write_title(out: &mut String, result: &JobResult, unix_seconds: u64) -> Result {
    let error = match &result.error_text {
        Some(text) if result.error != 0 => format!("{:2} ({text})", result.error),
        _ => format!("{:2}", result.error),
    };
    let (job, process) = (&result.job, std::process::id());
    let ended = date::text(unix_seconds);
    let (group, threads) = (job.group, result.threads);
    writeln!(
        out,
        "{}: (groupid={group}, jobs={threads}): err={error}: pid={process}: {ended} UTC",
        job.name
    )?;
    match &job.description {
        Some(description) => writeln!(out, "  Description  : [{description}]"),
        None => Ok(()),
    }
}

fn write_direction(
    out: &mut String,
    direction: Direction,
    measured: &DirectionResult,
    group: &GroupSum,
    job: &Job,
) -> Result {
    let percentiles = &job.percentiles;
    let (rate, rate_alternative) =
        number::rate_both(number::per_second(measured.bytes, measured.runtime_ns) as u64);
    writeln!(
        out,
        "  {}: IOPS={}, BW={rate} ({rate_alternative})({}/{}msec)",
        direction.name(),
        number::count(number::per_second(measured.ios, measured.runtime_ns) as u64),
        number::size_both(measured.bytes).0,
        summary::milliseconds(measured.runtime_ns),
    )?;
    if !matches!(job.block.get(direction), BlockSize::Fixed(_)) {
        let bytes = measured.bytes / measured.ios;
        writeln!(out, "   size        : avg={} ({bytes} bytes)", number::size_both(bytes).0)?;
    }
    write_latency(out, "slat", &measured.slat)?;
    write_latency(out, "clat", &measured.clat)?;
    write_latency(out, " lat", &measured.lat)?;
    write_latency(out, "response", &measured.response)?;
    if job.more_percentiles.submission {
        write_percentiles(out, "slat", &measured.slat, percentiles)?;
    }
    write_percentiles(out, "clat", &measured.clat, percentiles)?;
    if job.more_percentiles.total {
        write_percentiles(out, "lat", &measured.lat, percentiles)?;
    }
    write_percentiles(out, "response time", &measured.response, percentiles)?;
    write_samples(out, measured, group)
}

/// Writes a line of latencies, or nothing if none were recorded.
fn write_latency(out: &mut String, name: &str, latencies: &Latencies) -> Result {
    let spread = Spread::of_latencies(latencies);
    if spread.count == 0 {
        return Ok(());
    }
    let unit = spread.unit();
    let whole = |value: u64| number::short(value / unit.nanoseconds(), 6, Prefix::Decimal, "");
    let scale = unit.nanoseconds() as f64;
    writeln!(
        out,
        "    {name} ({}): min={}, max={}, avg={:5.2}, stdev={:5.2}",
        unit.name(),
        whole(spread.min),
        whole(spread.max),
        spread.mean / scale,
        spread.deviation / scale
    )
}

fn write_percentiles(out: &mut String, name: &str, latencies: &Latencies, given: &[f64]) -> Result {
    let wanted = summary::percentiles(given);
    let values: Vec<u64> = wanted.iter().map(|percent| latencies.percentile_ns(*percent)).collect();
    let (Some(least), Some(most)) = (values.first(), values.last()) else { return Ok(()) };
    if latencies.count() == 0 {
        return Ok(());
    }
    let unit = TimeUnit::of_percentiles(*least, *most);
    writeln!(out, "    {name} percentiles ({}):", unit.name())?;
    let scaled = |value: &u64| value.div_ceil(unit.nanoseconds());
    let width = scaled(most).to_string().len().max(5);
    let per_line = ((80 - 7) / (PERCENTILE_DECIMALS + 10 + width)).max(1);
    let cells: Vec<String> = wanted
        .iter()
        .zip(&values)
        .map(|(percent, value)| format!("{percent:5.PERCENTILE_DECIMALS$}th=[{:width$}]", scaled(value)))
        .collect();
    for (index, line) in cells.chunks(per_line).enumerate() {
        let more = if (index + 1) * per_line < cells.len() { "," } else { "" };
        writeln!(out, "     | {}{more}", line.join(", "))?;
    }
    Ok(())
}

const PERCENTILE_DECIMALS: usize = 2;

fn write_samples(out: &mut String, measured: &DirectionResult, group: &GroupSum) -> Result {
    let rate = Spread::of_samples(&measured.bandwidth);
    if rate.count > 0 {
        let (unit, divisor) = if rate.mean > 1024.0 * 1024.0 { ("MiB", 1024) } else { ("KiB", 1) };
        writeln!(
            out,
            "   bw ({unit:>5}/s): min={:5}, max={:5}, per={:3.2}%, avg={:5.2}, stdev={:5.2}, samples={}",
            rate.min / divisor,
            rate.max / divisor,
            group.share(rate.mean),
            rate.mean / divisor as f64,
            rate.deviation / divisor as f64,
            rate.count
        )?;
    }
    let iops = Spread::of_samples(&measured.iops);
    if iops.count > 0 {
        writeln!(
            out,
            "   iops        : min={:5}, max={:5}, avg={:5.2}, stdev={:5.2}, samples={}",
            iops.min, iops.max, iops.mean, iops.deviation, iops.count
        )?;
    }
    Ok(())
}

fn write_classes(out: &mut String, result: &JobResult) -> Result {
    let classes = LatencyClasses::of(result);
    for (unit, shares) in
        [("nsec", &classes.nano[..]), ("usec", &classes.micro[..]), ("msec", &classes.milli[..])]
    {
        let shown: Vec<String> = shares
            .iter()
            .enumerate()
            .filter(|(_, share)| **share > 0.0)
            .map(|(index, share)| format!("{}={share:3.2}%", class_name(index)))
            .collect();
        for line in shown.chunks(5) {
            writeln!(out, "  lat ({unit})   : {}", line.join(", "))?;
        }
    }
    Ok(())
}

/// Returns the upper end of a class of the distribution.
pub fn class_name(index: usize) -> String {
    match index {
        0..10 => CLASS_ENDS[index].to_string(),
        10 => "2000".to_owned(),
        _ => ">=2000".to_owned(),
    }
}

fn write_steady(out: &mut String, result: &JobResult) -> Result {
    let Some(report) = &result.steady else { return Ok(()) };
    let settings = &report.settings;
    let attained = if report.attained { "yes" } else { "no" };
    let seconds = settings.window_ns as f64 / 1e9;
    let (name, limit) = (summary::steady_name(settings), settings.limit);
    let per_cent = if settings.percent { "%" } else { "" };
    let (criterion, slope) = (report.criterion(), report.slope);
    writeln!(
        out,
        "  steadystate  : attained={attained}, {name}={criterion:.2}{per_cent} (limit {limit}{per_cent} over \
         {seconds} s), slope={slope:.2}"
    )
}

fn write_sync(out: &mut String, result: &JobResult) -> Result {
    if result.sync.count() == 0 {
        return Ok(());
    }
    writeln!(out, "  fsync/fdatasync/sync_file_range:")?;
    write_latency(out, "sync", &result.sync)?;
    write_percentiles(out, "sync", &result.sync, &result.job.percentiles)
}

fn write_rest(out: &mut String, result: &JobResult) -> Result {
    let (user, system) = summary::cpu_percent(result);
    let usage = &result.usage;
    let (switches, major, minor) = (usage.context_switches, usage.major_faults, usage.minor_faults);
    writeln!(
        out,
        "  cpu          : usr={user:3.2}%, sys={system:3.2}%, ctx={switches}, majf={major}, minf={minor}"
    )?;
    let line = |shares: [f64; 7], names: [&str; 7]| {
        let cells: Vec<String> =
            names.iter().zip(shares).map(|(name, share)| format!("{name}={share:3.1}%")).collect();
        cells.join(", ")
    };
    let batches = ["0", "4", "8", "16", "32", "64", ">=64"];
    let depths = line(summary::depth_percent(&result.depth), ["1", "2", "4", "8", "16", "32", ">=64"]);
    writeln!(out, "  IO depths    : {depths}")?;
    writeln!(out, "     submit    : {}", line(summary::depth_percent(&result.submitted), batches))?;
    writeln!(out, "     complete  : {}", line(summary::depth_percent(&result.completed), batches))?;
    write_issued(out, result)?;
    write_target(out, result)?;
    if result.job.verify.is_some() || result.verify_failures > 0 {
        writeln!(out, "     verify    : wrong blocks={}", result.verify_failures)?;
    }
    Ok(())
}

fn write_issued(out: &mut String, result: &JobResult) -> Result {
    let each = |value: fn(&DirectionResult) -> u64| {
        let values = Direction::ALL.map(|direction| value(result.by_direction.get(direction)).to_string());
        values.join(",")
    };
    writeln!(
        out,
        "     issued rwts: total={},{} short={},0 dropped={},0",
        each(|one| one.ios),
        result.sync.count(),
        each(|one| one.short_ios),
        each(|one| one.failed_ios),
    )?;
    if Direction::ALL.iter().any(|direction| result.by_direction.get(*direction).cut_ios > 0) {
        writeln!(out, "     cut off   : {} in flight at the end", each(|one| one.cut_ios))?;
    }
    for line in result.failures.lines() {
        writeln!(out, "     failed    : {line}")?;
    }
    if let Some(again) = result.reconnections {
        let wait = result.client_wait.map_or("", ClientWait::name);
        writeln!(out, "     http      : connections made again={again}, client_wait={wait}")?;
    }
    result.notes.iter().try_for_each(|note| writeln!(out, "     note      : {note}"))
}

fn write_target(out: &mut String, result: &JobResult) -> Result {
    let depth = result.latency_depth.unwrap_or(result.job.depth);
    let (target, window, percentile) = match &result.job.latency_target {
        Some(wanted) => (scaled(wanted.target_ns), scaled(wanted.window_ns), wanted.percentile),
        None => ("0".to_owned(), "0".to_owned(), 100.0),
    };
    writeln!(
        out,
        "     latency   : target={target}, window={window}, percentile={percentile:.2}%, depth={depth}"
    )
}

fn scaled(nanoseconds: u64) -> String {
    let (divisor, unit) = match nanoseconds {
        2_000_000_000.. => (1e9, "s"),
        2_000_000.. => (1e6, "ms"),
        2_000.. => (1e3, "us"),
        _ => (1.0, "ns"),
    };
    format!("{:.2}{unit}", nanoseconds as f64 / divisor)
}

fn write_group(out: &mut String, direction: Direction, sum: &GroupSum) -> Result {
    if sum.runtime_ms_max == 0 {
        return Ok(());
    }
    let (rate, rate_alternative) = number::rate_both(sum.rate);
    let (least, least_alternative) = number::rate_both(sum.rate_min);
    let (most, most_alternative) = number::rate_both(sum.rate_max);
    let (bytes, bytes_alternative) = number::size_both(sum.bytes);
    writeln!(
        out,
        "{:>7}: bw={rate} ({rate_alternative}), {least}-{most} ({least_alternative}-{most_alternative}), \
         io={bytes} ({bytes_alternative}), run={}-{}msec",
        direction.name().to_uppercase(),
        sum.runtime_ms_min,
        sum.runtime_ms_max
    )
}

fn write_disks(out: &mut String, run: &Run) -> Result {
    if run.disks.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nDisk stats (read/write):")?;
    for disk in &run.disks {
        writeln!(
            out,
            "  {}: ios={}/{}, sectors={}/{}, merge={}/{}, ticks={}/{}, in_queue={}, util={:3.2}%",
            disk.name,
            disk.ios[0],
            disk.ios[1],
            disk.sectors[0],
            disk.sectors[1],
            disk.merges[0],
            disk.merges[1],
            disk.ticks_ms[0],
            disk.ticks_ms[1],
            disk.in_queue_ms,
            number::finite(disk.utilisation_percent).min(100.0)
        )?;
    }
    Ok(())
}

#[cfg(test)]
#[path = "normal_tests.rs"]
mod tests;
