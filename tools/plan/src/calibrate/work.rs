//! This module measures the work of a server while a job runs: requests, their CPU time and group
//! commits. It also computes the cost of a commit.
//!
//! Invariant: all counts are taken between the same two samples of the running job, the first and
//! the last. The preparation of the job is not included, and a moment in which everything stands
//! still is in all counts or in none.

use crate::http::Http;
use crate::live::metrics::Metrics;
use crate::live::{METRICS_BYTES_MAX, METRICS_PATH};
use ringbolt_bench::layers::server::process_cpu_ns;
use ringbolt_bench::run::{Phase, Status, Watcher};
use std::time::Instant;

/// Holds what a server has done since it started.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Counts {
    cpu_us: f64,
    requests: f64,
    batches: f64,
    records: f64,
}

/// Watches a run, and samples the server's work.
pub struct WorkSampler {
    process: u32,
    http: Http,
    url: String,
    first: Option<(Instant, Counts)>,
    last: Option<(Instant, Counts)>,
    shards: f64,
    pub notes: Vec<String>,
}

/// Describes the work in the measured part of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Work {
    /// This is the CPU time of a request.
    pub request_us: f64,
    /// This is the mean number of busy cores.
    pub busy: f64,
    /// This is the number of records per group commit; 1 if there was none.
    pub records: f64,
    /// This is the time between the group commits of a shard; 0 if there was none.
    pub interval_us: f64,
}

impl WorkSampler {
    /// Creates a sampler of the server whose metrics are at `host`.
    pub fn new(process: u32, host: &str) -> Self {
        Self {
            process,
            http: Http::default(),
            url: format!("http://{host}{METRICS_PATH}"),
            first: None,
            last: None,
            shards: 1.0,
            notes: Vec::new(),
        }
    }

    /// Returns the work; `None` if the run was too short for two samples, or if no request was
    /// answered between them.
    pub fn work(&self) -> Option<Work> {
        let ((begin, before), (end, after)) = (self.first?, self.last?);
        Work::between(&before, &after, (end - begin).as_secs_f64() * 1e6, self.shards)
    }

    fn look(&mut self) -> Option<(Instant, Counts)> {
        let (begin, cpu_before) = (Instant::now(), process_cpu_ns(self.process)?);
        let answer = self.http.get(&self.url, &[], METRICS_BYTES_MAX).ok()?;
        let (taken, cpu_after) = (begin.elapsed(), process_cpu_ns(self.process)?);
        let metrics = Metrics::parse(&String::from_utf8_lossy(&answer.body)).ok()?;
        self.shards = metrics.by_label("ringbolt_shard_objects", "shard").len().max(1) as f64;
        let counts = Counts {
            // The request for metrics waited among the others: its values are of a moment between
            // the two CPU times.
            cpu_us: (cpu_before + cpu_after) as f64 / 2.0 / 1e3,
            requests: metrics.by_label("ringbolt_s3_requests_total", "operation").values().sum(),
            batches: metrics.value("ringbolt_log_batches_total")?,
            records: metrics.value("ringbolt_log_records_total")?,
        };
        Some((begin + taken / 2, counts))
    }
}

impl Watcher for WorkSampler {
    fn status(&mut self, status: &Status) {
        if status.jobs.iter().all(|job| job.phase == Phase::Running)
            && let Some(look) = self.look()
        {
            self.first.get_or_insert(look);
            self.last = Some(look);
        }
    }

    fn note(&mut self, _job: &str, text: &str) {
        self.notes.push(text.to_owned());
    }
}

impl Work {
    fn between(before: &Counts, after: &Counts, wall_us: f64, shards: f64) -> Option<Self> {
        let cpu_us = after.cpu_us - before.cpu_us;
        let requests = after.requests - before.requests;
        if requests < 1.0 || wall_us <= 0.0 {
            return None;
        }
        let (batches, records) = (after.batches - before.batches, after.records - before.records);
        let (records, interval_us) =
            if batches < 1.0 { (1.0, 0.0) } else { (records / batches, wall_us * shards / batches) };
        Some(Self { request_us: cpu_us / requests, busy: cpu_us / wall_us, records, interval_us })
    }

    /// Returns the CPU time of a request that writes a record, without its part of the group
    /// commit.
    pub fn without(&self, commit_us: f64) -> f64 {
        (self.request_us - commit_us / self.records).max(0.0)
    }
}

/// Computes the CPU time of one group commit from two ways to put the same object: the cost of each
/// put, and the records per commit. It is 0 when the numbers of records are too close to each
/// other.
pub fn commit_cost_us(many: (f64, f64), few: (f64, f64)) -> f64 {
    let ((many_us, many_records), (few_us, few_records)) = (many, few);
    if few_records * 1.25 > many_records {
        return 0.0;
    }
    ((few_us - many_us) / (1.0 / few_records - 1.0 / many_records)).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_costs_what_fewer_records_in_it_cost_more() {
        let put = |records: f64| (30.0 + 120.0 / records, records);
        assert!((commit_cost_us(put(10.0), put(3.0)) - 120.0).abs() < 1e-9);
        assert_eq!(commit_cost_us(put(3.0), put(3.0)), 0.0, "nothing to tell them apart by");
        assert_eq!(commit_cost_us((40.0, 10.0), (35.0, 3.0)), 0.0, "noise");
    }

    #[test]
    fn work_is_what_was_done_between_two_looks() {
        let before = Counts { cpu_us: 1e6, requests: 500.0, batches: 20.0, records: 300.0 };
        let after = Counts { cpu_us: 1.4e6, requests: 10_500.0, batches: 520.0, records: 10_300.0 };
        let work = Work::between(&before, &after, 5e5, 2.0);
        assert_eq!(work, Some(Work { request_us: 40.0, busy: 0.8, records: 20.0, interval_us: 2_000.0 }));
        let read = Counts { batches: 20.0, records: 300.0, ..after };
        let work = Work::between(&before, &read, 5e5, 2.0);
        assert_eq!(work, Some(Work { request_us: 40.0, busy: 0.8, records: 1.0, interval_us: 0.0 }));
        assert_eq!(Work::between(&before, &before, 5e5, 2.0), None, "nothing was answered");
        assert_eq!(Work::between(&before, &after, 0.0, 2.0), None, "one look");
    }
}
