//! This module measures the CPU time of the server for each request. It starts a server on one
//! core, and the bench tool sends requests from another.
//!
//! Invariants:
//! - The result is CPU time of the server's threads over answered requests, so a slow drive makes
//!   it noisier but not larger. A busy host makes it larger, and some points more than others, so
//!   the median of all turns counts.
//! - The cost of puts and deletes excludes their part of a group commit, because the load
//!   determines how many share one.

use super::work::{Work, WorkSampler, commit_cost_us};
use super::{CalibrateError, SHARDS};
use ringbolt_bench::cli::RunOptions;
use ringbolt_bench::job::{self, Surroundings};
use ringbolt_bench::layers::server::LocalServer;
use ringbolt_bench::run;
use ringbolt_tool_common::units::MIB;
use std::path::{Path, PathBuf};

/// Holds the sizes of inline bodies, and of bodies in slices: the two ends of a line each.
const INLINE_BYTES: [u64; 2] = [4 << 10, 64 << 10];
const LARGE_BYTES: [u64; 2] = [128 << 10, 4 << 20];
/// This is the body size when the size does not matter.
const SMALL_BYTES: u64 = INLINE_BYTES[0];
/// This is the number of requests that wait at the same time: enough that the server always has
/// work while others wait for its drive. `IN_FLIGHT_BYTES` limits the bytes of their bodies,
/// because requests in progress at the first and the last sample blur the count.
pub const IN_FLIGHT: u64 = 128;
const IN_FLIGHT_BYTES: u64 = 16 << 20;
/// If the server was sampled less than twice, the point is measured again, at most this many times.
const ATTEMPTS: u32 = 3;
/// This is the number of objects of a point; `POINT_BYTES` limits their total size.
const OBJECTS: u64 = 2_000;
const POINT_BYTES: u64 = 128 << 20;

/// Says where and for how long to measure.
#[derive(Clone, Debug)]
pub struct Place {
    /// This is the program that serves.
    pub server: PathBuf,
    pub server_core: usize,
    pub client_core: usize,
    /// This is the time for each point and turn.
    pub seconds: u64,
}

/// Holds microseconds of a request without its body, and of a MiB of the body.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Line {
    pub request: f64,
    pub mib: f64,
}

/// Holds costs in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RequestCosts {
    pub put: Line,
    pub put_large: Line,
    pub get: Line,
    pub get_large: Line,
    pub get_cached: f64,
    pub head: f64,
    pub delete: f64,
    /// This is the cost of a group commit.
    pub commit: f64,
    /// This is the time between the commits of a shard that always has records waiting, on an idle
    /// core; `commit_time_busy` is the same on a busy core.
    pub commit_time: f64,
    pub commit_time_busy: f64,
    pub list: f64,
    pub list_per_key: f64,
}

/// This is a job to measure.
struct Job<'a> {
    title: &'a str,
    op: &'a str,
    body_bytes: u64,
    objects: u64,
    bucket: &'a str,
    /// Uses the server with a read cache.
    cached: bool,
    /// This is the number of requests that wait at the same time.
    in_flight: u64,
}

const fn body<'a>(title: &'a str, op: &'a str, body_bytes: u64) -> Job<'a> {
    let most = POINT_BYTES / body_bytes;
    let objects = if most < OBJECTS { most } else { OBJECTS };
    let few = IN_FLIGHT_BYTES / body_bytes;
    let in_flight = if few < IN_FLIGHT { few } else { IN_FLIGHT };
    Job { title, op, body_bytes, objects, bucket: "calibrate", cached: false, in_flight }
}

const fn listing<'a>(title: &'a str, objects: u64, bucket: &'a str) -> Job<'a> {
    // Each job has a bucket of its own, because a listing returns what is there. No request waits
    // for the drive, so that a few keep the core busy; more would delay the samples of the server.
    Job { title, op: "list", body_bytes: 64, objects, bucket, cached: false, in_flight: 16 }
}

/// Two jobs list this many keys, which gives the cost of a key.
const LISTED: [u64; 2] = [10, 1_000];
/// Lists the jobs in the order in which [`measure`] uses them.
const JOBS: [Job; 15] = [
    body("PUT of 4 KiB", "put", INLINE_BYTES[0]),
    body("PUT of 64 KiB", "put", INLINE_BYTES[1]),
    body("PUT of 128 KiB", "put", LARGE_BYTES[0]),
    body("PUT of 4 MiB", "put", LARGE_BYTES[1]),
    body("GET of 4 KiB", "get", INLINE_BYTES[0]),
    body("GET of 64 KiB", "get", INLINE_BYTES[1]),
    body("GET of 128 KiB", "get", LARGE_BYTES[0]),
    body("GET of 4 MiB", "get", LARGE_BYTES[1]),
    body("HEAD", "head", SMALL_BYTES),
    body("PUT among GETs", "mixed\nopmix=get/3:put/1", SMALL_BYTES),
    body("PUT and DELETE", "mixed\nopmix=put/50:delete/50", SMALL_BYTES),
    listing("LIST of 10 keys", LISTED[0], "list-10"),
    listing("LIST of 1,000 keys", LISTED[1], "list-1000"),
    Job { cached: true, objects: 500, ..body("GET of 4 KiB from memory", "get", SMALL_BYTES) },
    Job { in_flight: 1, ..body("PUT of 4 KiB, one at a time", "put", SMALL_BYTES) },
];
/// This is the number of GETs for each PUT, in the job that mixes them.
const GETS_AMONG: f64 = 3.0;

/// Describes a mix of requests, as a job of the bench tool.
#[derive(Clone, Debug)]
pub struct Mix {
    /// Holds lines of the job: `op=` and related keys.
    pub lines: String,
    /// This is the size of the largest body.
    pub body_bytes: u64,
    pub objects: u64,
}

/// Holds the servers and what was measured so far: the server's work for each job, and for a mix,
/// in each turn.
pub struct Turns<'a> {
    uncached: Measured<'a>,
    cached: Measured<'a>,
    points: [Vec<Work>; JOBS.len()],
    mixed: Vec<Work>,
}

impl<'a> Turns<'a> {
    /// Starts the servers, with drives and messages in `directory`.
    ///
    /// # Errors
    /// Fails when a server does not start.
    pub fn start(place: &'a Place, directory: &Path, drive_bytes: u64) -> Result<Self, CalibrateError> {
        Ok(Self {
            uncached: Measured::start(place, &directory.join("uncached"), drive_bytes, "off")?,
            cached: Measured::start(place, &directory.join("cached"), drive_bytes, "64MiB")?,
            points: Default::default(),
            mixed: Vec::new(),
        })
    }

    /// Measures each job once, and `mix`. Jobs take turns, so that other load on the machine
    /// affects all of them.
    ///
    /// # Errors
    /// Fails when the server answers with errors.
    pub fn take(&mut self, mix: Option<&Mix>) -> Result<(), CalibrateError> {
        for (points, job) in self.points.iter_mut().zip(&JOBS) {
            let server = if job.cached { &self.cached } else { &self.uncached };
            points.push(server.job(job)?);
        }
        if let Some(Mix { lines, body_bytes, objects }) = mix {
            let objects = *objects;
            let whole = body("mix of requests", lines, *body_bytes);
            let job = Job { bucket: "mixed", objects, in_flight: IN_FLIGHT, ..whole };
            self.mixed.push(self.uncached.job(&job)?);
        }
        Ok(())
    }

    /// Returns the costs from the turns so far; at least one is needed.
    pub fn costs(&self) -> RequestCosts {
        costs(&self.points)
    }

    /// Returns the microseconds per request of the mix, from the turns so far, which show how well
    /// the costs predict it; `None` if there was no mix.
    pub fn mixed_us(&self) -> Option<f64> {
        (!self.mixed.is_empty()).then(|| median(&self.mixed).request_us)
    }
}

fn costs(turns: &[Vec<Work>; JOBS.len()]) -> RequestCosts {
    let [
        put_4k,
        put_64k,
        put_128k,
        put_4m,
        get_4k,
        get_64k,
        get_128k,
        get_4m,
        head,
        among,
        both,
        few,
        many,
        kept,
        alone,
    ] = turns.each_ref().map(|points| median(points));
    let get = Line::through(INLINE_BYTES, [get_4k.request_us, get_64k.request_us]);
    let put_among_us = among.request_us * (GETS_AMONG + 1.0) - get_4k.request_us * GETS_AMONG;
    let commit = commit_cost_us((put_4k.request_us, put_4k.records), (put_among_us, among.records));
    let put = Line::through(INLINE_BYTES, [put_4k, put_64k].map(|point| point.without(commit)));
    let list_per_key = ((many.request_us - few.request_us) / (LISTED[1] - LISTED[0]) as f64).max(0.0);
    RequestCosts {
        put,
        put_large: Line::through(LARGE_BYTES, [put_128k, put_4m].map(|point| point.without(commit))),
        get,
        get_large: Line::through(LARGE_BYTES, [get_128k.request_us, get_4m.request_us]),
        get_cached: (kept.request_us - get.mib * SMALL_BYTES as f64 / MIB).max(0.0),
        head: head.request_us,
        delete: (2.0 * both.without(commit) - put.of(SMALL_BYTES)).max(0.0),
        commit,
        // Requests come one after the other, over all shards.
        commit_time: alone.interval_us / f64::from(SHARDS),
        commit_time_busy: put_4k.interval_us,
        list: (few.request_us - list_per_key * LISTED[0] as f64).max(0.0),
        list_per_key,
    }
}

/// Returns the work of the turn with the median cost; of two, the cheaper one. The minimum would be
/// that of one lucky second, which happens to some points and not to others.
fn median(points: &[Work]) -> Work {
    let mut sorted = points.to_vec();
    sorted.sort_by(|one, other| one.request_us.total_cmp(&other.request_us));
    let middle = sorted.len().saturating_sub(1) / 2;
    *sorted.get(middle).unwrap_or_else(|| panic!("a point is measured once at least"))
}

impl Line {
    /// Returns the line through the costs of two bodies of these lengths.
    fn through(bytes: [u64; 2], [small, large]: [f64; 2]) -> Self {
        let per_byte = ((large - small) / (bytes[1] - bytes[0]) as f64).max(0.0);
        Self { request: (small - per_byte * bytes[0] as f64).max(0.0), mib: per_byte * MIB }
    }

    fn of(&self, bytes: u64) -> f64 {
        self.request + self.mib * bytes as f64 / MIB
    }
}

/// Runs jobs against a server.
struct Measured<'a> {
    place: &'a Place,
    server: LocalServer,
}

impl<'a> Measured<'a> {
    /// Starts the server with this `--read-cache`.
    fn start(place: &'a Place, data: &Path, drive_bytes: u64, cache: &str) -> Result<Self, CalibrateError> {
        let core = place.server_core;
        let server = LocalServer::start(&place.server, data, core, drive_bytes, cache, Some(SHARDS))?;
        Ok(Self { place, server })
    }

    /// Measures the server's work during `job`.
    ///
    /// # Errors
    /// Fails when operations fail, or when none ends.
    fn job(&self, job: &Job<'_>) -> Result<Work, CalibrateError> {
        let failed = |what: String| CalibrateError::Point { title: job.title.to_owned(), what };
        for _ in 0..ATTEMPTS {
            if let Some(point) = self.attempt(job).map_err(failed)? {
                eprintln!(
                    "calibrate: {}: {:.1} us of CPU; the core was busy {:.0}%; {:.1} records in a group commit",
                    job.title,
                    point.request_us,
                    point.busy * 100.0,
                    point.records
                );
                return Ok(point);
            }
        }
        Err(failed("too short to be measured: give more --seconds".into()))
    }

    /// Returns `None` when the run was too short. The error is a text.
    fn attempt(&self, job: &Job<'_>) -> Result<Option<Work>, String> {
        let Job { op, body_bytes, objects, bucket, in_flight, .. } = *job;
        let text = format!(
            "[calibrate]\nioengine=s3\nhttp_host=127.0.0.1\nhttp_s3_keyid=x\nhttp_s3_key=x\nop={op}\nbs={body_bytes}\n\
             objects={objects}\nbucket={bucket}\niodepth={in_flight}\ntime_based\nruntime={}s\nramp_time=1s\n\
             cpus_allowed={}\n",
            self.place.seconds, self.place.client_core,
        );
        let around = Surroundings::of_process();
        let resolved = job::of_text(&text, Path::new("calibrate"), &around);
        let mut plan = resolved.map_err(|error| error.to_string())?.plan;
        plan.jobs.iter_mut().for_each(|job| self.server.aim(&mut job.objects));
        let mut sampler = WorkSampler::new(self.server.id(), &self.server.admin_host());
        let measured =
            run::run(&plan, &RunOptions::default(), &mut sampler).map_err(|error| error.to_string())?;
        measured.only_result().map_err(|what| format!("{what} {}", sampler.notes.join("; ")))?;
        Ok(sampler.work())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_turn_that_was_lucky_or_disturbed_does_not_count() {
        let point = |request_us| Work { request_us, ..Work::default() };
        assert_eq!(median(&[70.0, 20.0, 75.0, 400.0, 72.0].map(point)).request_us, 72.0);
        assert_eq!(median(&[70.0, 20.0, 75.0, 400.0].map(point)).request_us, 70.0);
        assert_eq!(median(&[70.0].map(point)).request_us, 70.0);
    }

    #[test]
    fn two_sizes_give_what_a_request_and_what_a_byte_costs() {
        let of = |bytes: u64| 30.0 + 2_000.0 * bytes as f64 / MIB;
        let line = Line::through(INLINE_BYTES, INLINE_BYTES.map(of));
        assert!((line.request - 30.0).abs() < 1e-9 && (line.mib - 2_000.0).abs() < 1e-6);
        assert!((line.of(20_000) - of(20_000)).abs() < 1e-9);
        assert_eq!(Line::through(INLINE_BYTES, [10.0, 5.0]), Line { request: 10.0, mib: 0.0 });
    }
}
