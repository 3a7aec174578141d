//! This module writes fio's terse output, version 3: one line of fields for each job, separated by
//! semicolons.
//!
//! Invariant: the order and number of fields are fio's; only the number of disks, and a
//! description, change the length.

use super::summary::{self, GroupSum, LatencyClasses, Spread};
use super::version_text;
use crate::result::{DirectionResult, JobResult, Latencies, Run};
use crate::spec::{ByDirection, Direction};
use ringbolt_tool_common::number::{finite, per_second};

/// fio reserves this many fields for percentiles.
const PERCENTILE_FIELDS: usize = 20;

/// Returns a line for each job.
pub fn text(run: &Run) -> String {
    let groups = summary::groups(run);
    let mut text = String::new();
    for result in &run.jobs {
        let sums = groups.get(&result.job.group).copied().unwrap_or_default();
        text += &fields(run, result, &sums).join(";");
        text.push('\n');
    }
    text
}

fn fields(run: &Run, result: &JobResult, sums: &ByDirection<GroupSum>) -> Vec<String> {
    let job = &result.job;
    let mut fields = vec!["3".to_owned(), version_text(), plain(&job.name)];
    fields.push(job.group.to_string());
    fields.push(result.error.to_string());
    // Trims came with version 4.
    for direction in [Direction::Read, Direction::Write] {
        let measured = result.by_direction.get(direction);
        push_direction(&mut fields, measured, sums.get(direction), &job.percentiles);
    }
    let (user, system) = summary::cpu_percent(result);
    fields.extend([format!("{user:.6}%"), format!("{system:.6}%")]);
    let usage = &result.usage;
    fields
        .extend([usage.context_switches, usage.major_faults, usage.minor_faults].map(|one| one.to_string()));
    fields.extend(summary::depth_percent(&result.depth).map(|share| format!("{share:3.1}%")));
    let mut classes = LatencyClasses::of(result);
    // The format is older than nanoseconds: latencies below a microsecond count in the first class.
    classes.micro[0] += classes.nano.iter().sum::<f64>();
    fields.extend(classes.micro.iter().chain(&classes.milli).map(|share| format!("{share:3.2}%")));
    for disk in &run.disks {
        fields.push(plain(&disk.name));
        let counts = [disk.ios, disk.merges, disk.ticks_ms];
        fields.extend(counts.as_flattened().iter().map(u64::to_string));
        fields.push(disk.in_queue_ms.to_string());
        fields.push(format!("{:3.2}%", finite(disk.utilisation_percent).min(100.0)));
    }
    fields.extend(job.description.as_deref().map(plain));
    fields
}

/// Returns a text without characters that separate fields or lines.
fn plain(text: &str) -> String {
    text.replace([';', '\n', '\r'], " ")
}

fn push_direction(
    fields: &mut Vec<String>,
    measured: &DirectionResult,
    group: &GroupSum,
    percentiles: &[f64],
) {
    let rate = per_second(measured.bytes, measured.runtime_ns) as u64;
    let iops = per_second(measured.ios, measured.runtime_ns) as u64;
    let runtime = summary::milliseconds(measured.runtime_ns);
    fields.extend([measured.bytes / 1024, rate / 1024, iops, runtime].map(|one| one.to_string()));
    push_latency(fields, &measured.slat);
    push_latency(fields, &measured.clat);
    let wanted = summary::percentiles(percentiles);
    let shown: &[f64] = if measured.clat.count() == 0 { &[] } else { &wanted };
    for index in 0..PERCENTILE_FIELDS {
        fields.push(match shown.get(index) {
            Some(percent) => format!("{percent:.6}%={}", measured.clat.percentile_ns(*percent) / 1000),
            None => "0%=0".to_owned(),
        });
    }
    push_latency(fields, &measured.lat);
    let samples = Spread::of_samples(&measured.bandwidth);
    let share = if samples.count == 0 { 0.0 } else { group.share(samples.mean) };
    fields.extend([samples.min.to_string(), samples.max.to_string(), format!("{share:.6}%")]);
    fields.extend([samples.mean, samples.deviation].map(|one| format!("{one:.6}")));
}

/// Appends the smallest and largest latency, the mean and the deviation, in microseconds.
fn push_latency(fields: &mut Vec<String>, latencies: &Latencies) {
    let spread = Spread::of_latencies(latencies);
    fields.extend([spread.min, spread.max].map(|one| (one / 1000).to_string()));
    fields.extend([spread.mean, spread.deviation].map(|one| format!("{:.6}", one / 1000.0)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    /// Version, name, group and error are 5 fields. Each direction has 4 + 4 + 4 + 20 + 4 + 5 = 41,
    /// CPU 5, depths 7, classes 22, a disk 9.
    #[test]
    fn a_line_has_fios_fields() {
        let run = sample::run();
        let line = text(&run).lines().next().expect("one job").to_owned();
        let fields: Vec<&str> = line.split(';').collect();
        assert_eq!(fields.len(), 5 + 2 * 41 + 5 + 7 + 22 + 9, "{line}");
        let measured = &run.jobs[0].by_direction.read;
        assert_eq!(fields[0], "3");
        assert_eq!(fields[2], run.jobs[0].job.name);
        assert_eq!(fields[5], (measured.bytes / 1024).to_string());
        assert_eq!(fields[8], "10000");
        assert_eq!(fields[13], (measured.clat.min_ns() / 1000).to_string());
        assert_eq!(fields[17], format!("1.000000%={}", measured.clat.percentile_ns(1.0) / 1000));
        assert_eq!(fields[36], "0%=0");
        assert_eq!(fields[46], (run.jobs[0].by_direction.write.bytes / 1024).to_string());
        assert_eq!(fields[89], run.jobs[0].usage.context_switches.to_string());
        assert_eq!(fields[121], run.disks[0].name);
    }

    #[test]
    fn a_name_does_not_make_fields() {
        let mut run = sample::run();
        let expected = text(&run).split(';').count();
        run.jobs[0].job.name = "a;b\nc".to_owned();
        assert_eq!(text(&run).split(';').count(), expected);
        assert_eq!(text(&run).lines().count(), run.jobs.len());
    }
}
