//! CPU time of the server for each request: a server of our own on one core, asked by the bench tool from another.
//!
//! Invariant: what is counted is CPU time of the server's threads over requests answered, so a slow drive or a busy
//! neighbour makes it noisier but not larger.

use super::CalibrateError;
use crate::bench::cli::RunOptions;
use crate::bench::job::{self, Surroundings};
use crate::bench::layers::server::{LocalServer, Sampler};
use crate::bench::result::DirectionResult;
use crate::bench::run;
use crate::bench::spec::Direction;
use std::path::{Path, PathBuf};

const MIB: f64 = 1024.0 * 1024.0;
const SMALL_BYTES: u64 = 4096;
const LARGE_BYTES: u64 = 1 << 20;

/// Where and how long.
#[derive(Clone, Debug)]
pub struct Place {
    /// The program that serves.
    pub server: PathBuf,
    pub server_core: usize,
    pub client_core: usize,
    /// For each point.
    pub seconds: u64,
}

/// Microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RequestCosts {
    pub put: f64,
    pub put_per_mib: f64,
    pub get: f64,
    pub get_per_mib: f64,
    pub get_cached: f64,
    pub head: f64,
    pub delete: f64,
    pub list: f64,
    pub list_per_key: f64,
}

/// Measures all; `directory` is empty and is left so.
///
/// # Errors
/// When the server does not start or answers with errors.
pub fn measure(place: &Place, directory: &Path, drive_bytes: u64) -> Result<RequestCosts, CalibrateError> {
    let uncached = Measured::start(place, &directory.join("uncached"), drive_bytes, "off")?;
    let put_small = uncached.cost("PUT of 4 KiB", "put", SMALL_BYTES, 2_000)?;
    let put_large = uncached.cost("PUT of 1 MiB", "put", LARGE_BYTES, 64)?;
    let get_small = uncached.cost("GET of 4 KiB", "get", SMALL_BYTES, 2_000)?;
    let get_large = uncached.cost("GET of 1 MiB", "get", LARGE_BYTES, 64)?;
    let head = uncached.cost("HEAD", "head", SMALL_BYTES, 2_000)?;
    let both = uncached.cost("PUT and DELETE", "mixed\nopmix=put/50:delete/50", SMALL_BYTES, 2_000)?;
    // Each in a bucket of its own: a listing is of what is there.
    let (few, many) = (10, 1_000);
    let list_few = uncached.listing(few)?;
    let list_many = uncached.listing(many)?;
    drop(uncached);
    let cached = Measured::start(place, &directory.join("cached"), drive_bytes, "64MiB")?;
    let get_cached = cached.cost("GET of 4 KiB from memory", "get", SMALL_BYTES, 500)?;
    let (put, put_per_mib) = line(put_small, put_large);
    let (get, get_per_mib) = line(get_small, get_large);
    let list_per_key = ((list_many - list_few) / (many - few) as f64).max(0.0);
    Ok(RequestCosts {
        put,
        put_per_mib,
        get,
        get_per_mib,
        get_cached: (get_cached - get_per_mib * SMALL_BYTES as f64 / MIB).max(0.0),
        head,
        delete: (2.0 * both - put_small).max(0.0),
        list: (list_few - list_per_key * few as f64).max(0.0),
        list_per_key,
    })
}

/// Costs of a request and of a MiB, from those of a small body and of a large one.
fn line(small: f64, large: f64) -> (f64, f64) {
    let per_byte = ((large - small) / (LARGE_BYTES - SMALL_BYTES) as f64).max(0.0);
    ((small - per_byte * SMALL_BYTES as f64).max(0.0), per_byte * MIB)
}

/// A server, and jobs against it.
struct Measured<'a> {
    place: &'a Place,
    server: LocalServer,
}

impl<'a> Measured<'a> {
    /// Starts it with that `--read-cache`.
    fn start(place: &'a Place, data: &Path, drive_bytes: u64, cache: &str) -> Result<Self, CalibrateError> {
        let server = LocalServer::start(&place.server, data, place.server_core, drive_bytes, cache)?;
        Ok(Self { place, server })
    }

    fn listing(&self, objects: u64) -> Result<f64, CalibrateError> {
        self.job(&format!("LIST of {objects} keys"), "list", 64, objects, &format!("list-{objects}"))
    }

    fn cost(&self, title: &str, op: &str, body_bytes: u64, objects: u64) -> Result<f64, CalibrateError> {
        self.job(title, op, body_bytes, objects, "calibrate")
    }

    /// CPU of the server for one operation of `op` (as in a job file) on so many objects, microseconds.
    fn job(
        &self,
        title: &str,
        op: &str,
        body_bytes: u64,
        objects: u64,
        bucket: &str,
    ) -> Result<f64, CalibrateError> {
        eprintln!("calibrate: {title}");
        let failed = |what: String| CalibrateError::Point { title: title.to_owned(), what };
        let text = format!(
            "[calibrate]\nioengine=s3\nhttp_host=127.0.0.1\nhttp_s3_keyid=x\nhttp_s3_key=x\nop={op}\nbs={body_bytes}\n\
             objects={objects}\nbucket={bucket}\niodepth=16\ntime_based\nruntime={}s\nramp_time=1s\n\
             cpus_allowed={}\n",
            self.place.seconds, self.place.client_core,
        );
        let around = Surroundings::of_process();
        let sections = job::parser::parse_text(&text, Path::new("calibrate"), 1, &around);
        let resolved = sections.and_then(|sections| job::resolve(&sections, &around));
        let mut plan = resolved.map_err(|error| failed(error.to_string()))?.plan;
        plan.jobs.iter_mut().for_each(|job| self.server.aim(&mut job.objects));
        let mut sampler = Sampler::of(Some(self.server.id()));
        let measured = run::run(&plan, &RunOptions::default(), &mut sampler)
            .map_err(|error| failed(error.to_string()))?;
        let result =
            measured.only_result().map_err(|what| failed(format!("{what} {}", sampler.notes.join("; "))))?;
        let per_s: f64 =
            Direction::ALL.iter().map(|direction| per_s(result.by_direction.get(*direction))).sum();
        let busy = sampler.server_share().filter(|_| per_s > 0.0);
        let busy = busy.ok_or_else(|| failed("too short to be measured: give more --seconds".into()))?;
        Ok(busy * 1e6 / per_s)
    }
}

/// Operations a second. Each S3 operation is counted in one direction.
fn per_s(result: &DirectionResult) -> f64 {
    if result.runtime_ns == 0 { 0.0 } else { result.ios as f64 * 1e9 / result.runtime_ns as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sizes_give_what_a_request_and_what_a_byte_costs() {
        let of = |bytes: u64| 30.0 + 2_000.0 * bytes as f64 / MIB;
        let (request, per_mib) = line(of(SMALL_BYTES), of(LARGE_BYTES));
        assert!((request - 30.0).abs() < 1e-9 && (per_mib - 2_000.0).abs() < 1e-6);
        assert_eq!(line(10.0, 5.0), (10.0, 0.0));
    }
}
