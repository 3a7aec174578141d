//! Group commits of a server while a job runs against it, and what one of them costs.
//!
//! Invariant: CPU time and commits are counted between the first and the last look at the running job, so without what
//! was done to prepare it.

use crate::bench::layers::server::Sampler;
use crate::bench::run::{Phase, Status, Watcher};
use crate::plan::http::Http;
use crate::plan::live::metrics::Metrics;
use std::time::Instant;

/// More than any answer has.
const METRICS_BYTES_MAX: u64 = 16 << 20;

/// What a server has done since it started.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Counts {
    batches: f64,
    records: f64,
}

/// Watches a run: CPU time and group commits of the server.
pub struct CommitSampler {
    pub cpu: Sampler,
    http: Http,
    url: String,
    first: Option<(Instant, Counts)>,
    last: Option<(Instant, Counts)>,
    shards: f64,
}

/// Of the measured part of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Commits {
    /// Records of a group commit; 1 when there was none.
    pub records: f64,
    /// From one to the next of a shard.
    pub interval_us: f64,
}

impl CommitSampler {
    /// Of the server that answers at `host`.
    pub fn new(process: u32, host: &str) -> Self {
        Self {
            cpu: Sampler::of(Some(process)),
            http: Http::default(),
            url: format!("http://{host}/ringbolt/metrics"),
            first: None,
            last: None,
            shards: 1.0,
        }
    }

    /// None when the run was too short for two looks.
    pub fn commits(&self) -> Option<Commits> {
        let ((begin, before), (end, after)) = (self.first?, self.last?);
        let (batches, records) = (after.batches - before.batches, after.records - before.records);
        if batches < 1.0 {
            return Some(Commits { records: 1.0, interval_us: 0.0 });
        }
        let us = (end - begin).as_secs_f64() * 1e6;
        Some(Commits { records: records / batches, interval_us: us * self.shards / batches })
    }

    fn look(&mut self) -> Option<(Instant, Counts)> {
        let answer = self.http.get(&self.url, &[], METRICS_BYTES_MAX).ok()?;
        let metrics = Metrics::parse(&String::from_utf8_lossy(&answer.body)).ok()?;
        self.shards = metrics.by_label("ringbolt_shard_objects", "shard").len().max(1) as f64;
        let batches = metrics.value("ringbolt_log_batches_total")?;
        let records = metrics.value("ringbolt_log_records_total")?;
        Some((Instant::now(), Counts { batches, records }))
    }
}

impl Watcher for CommitSampler {
    fn status(&mut self, status: &Status) {
        self.cpu.status(status);
        if status.jobs.iter().all(|job| job.phase == Phase::Running)
            && let Some(look) = self.look()
        {
            self.first.get_or_insert(look);
            self.last = Some(look);
        }
    }

    fn note(&mut self, job: &str, text: &str) {
        self.cpu.note(job, text);
    }
}

/// CPU time of one group commit, from two ways to put the same object: `cost_us` for each put, with so many records in
/// a commit. 0 when the numbers of records are too near to each other to tell.
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
}
