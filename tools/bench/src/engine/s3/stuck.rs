//! These tests run whole jobs against servers that do not respond, or not completely.
//!
//! Regression: a missing response held a run for two minutes beyond its runtime, or for ever while
//! other connections were busy, and an interrupt had no effect while objects were stored.

use super::tests::read_request;
use crate::cli::RunOptions;
use crate::engine::testing::job;
use crate::result::Run;
use crate::run::{Status, Watcher, run_until};
use crate::spec::{ErrorKinds, Job, ObjectOp, Plan};
use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// This is far less than the timeouts of jobs that must not wait for them, and far more than a
/// loaded machine needs.
const SOON: Duration = Duration::from_secs(10);
const NEVER_NS: u64 = 600_000_000_000;

/// Says how much of the response to a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    None,
    Half,
    All,
}

/// Starts a server that answers with an object of one block, or with an empty document. `part` gets
/// the first line of a request.
fn server(part: impl Fn(&str) -> Part + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let part = part.clone();
            std::thread::spawn(move || {
                while let Some(request) = read_request(&mut stream) {
                    let text = String::from_utf8_lossy(&request);
                    let line = text.lines().next().unwrap_or_default();
                    let is_get = line.starts_with("GET") && !line.contains('?');
                    let body = if is_get { vec![7; 4096] } else { Vec::new() };
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
                    let answer = [head.into_bytes(), body].concat();
                    let sent = match part(line) {
                        Part::None => 0,
                        Part::Half => answer.len() / 2,
                        Part::All => answer.len(),
                    };
                    if stream.write_all(&answer[..sent]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    host
}

fn get_job(host: &str, timeout_ns: u64) -> Job {
    let mut job = job(host, 4);
    job.objects.ops = Some(vec![(ObjectOp::Get, 1)]);
    job.objects.timeout_ns = timeout_ns;
    job.continue_on_error = ErrorKinds { read: true, write: true, verify: true };
    job
}

/// Sets the stop flag at the first status.
struct Stopper(Arc<AtomicBool>);

impl Watcher for Stopper {
    fn status(&mut self, _status: &Status) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Nobody;

impl Watcher for Nobody {}

fn run_job(job: &Job, watcher: &mut dyn Watcher, stop: Arc<AtomicBool>) -> Run {
    let plan = Plan { jobs: vec![job.clone()], ..Plan::default() };
    let began = Instant::now();
    let run = run_until(&plan, &RunOptions::default(), watcher, stop).unwrap();
    assert!(began.elapsed() < SOON, "the run was held for {:?}", began.elapsed());
    run
}

#[test]
fn what_does_not_answer_in_time_has_failed_also_beside_what_does() {
    for part in [Part::None, Part::Half] {
        // Object 3 never arrives; the others do, so that the client is never idle.
        let stuck = move |line: &str| {
            let is_third = line.starts_with("GET") && line.contains("0003 ");
            if is_third { part } else { Part::All }
        };
        let mut job = get_job(&server(stuck), 300_000_000);
        (job.time_based, job.runtime_ns) = (true, Some(1_500_000_000));
        let run = run_job(&job, &mut Nobody, Arc::default());
        let read = &run.jobs[0].by_direction.read;
        assert!(read.failed_ios > 0 && read.ios > 100, "{part:?}: {} of {}", read.failed_ios, read.ios);
    }
}

#[test]
fn the_end_of_a_job_cuts_off_what_is_in_flight() {
    for part in [Part::None, Part::Half] {
        let stuck = move |line: &str| {
            let is_get = line.starts_with("GET") && !line.contains('?');
            if is_get { part } else { Part::All }
        };
        let mut job = get_job(&server(stuck), NEVER_NS);
        (job.time_based, job.runtime_ns) = (true, Some(300_000_000));
        let run = run_job(&job, &mut Nobody, Arc::default());
        let read = &run.jobs[0].by_direction.read;
        assert_eq!((read.ios, read.failed_ios, read.cut_ios), (0, 0, 4), "{part:?}");
        assert_eq!((run.jobs[0].error, run.interrupted), (0, false));
        // An interrupt ends the job too.
        job.runtime_ns = Some(NEVER_NS);
        let stop = Arc::new(AtomicBool::new(false));
        let run = run_job(&job, &mut Stopper(stop.clone()), stop);
        assert_eq!((run.jobs[0].by_direction.read.cut_ios, run.interrupted), (4, true), "{part:?}");
    }
}

#[test]
fn an_interrupt_ends_preparing_objects() {
    for stuck in ["HEAD", "GET", "PUT"] {
        for part in [Part::None, Part::Half] {
            let stuck = move |line: &str| if line.starts_with(stuck) { part } else { Part::All };
            let job = get_job(&server(stuck), NEVER_NS);
            let stop = Arc::new(AtomicBool::new(false));
            let run = run_job(&job, &mut Stopper(stop.clone()), stop);
            let result = &run.jobs[0];
            assert_eq!((run.interrupted, result.error), (true, 0));
            assert!(result.notes[0].contains("interrupted before the job began"), "{:?}", result.notes);
        }
    }
}

#[test]
fn preparing_ends_with_a_failure_when_nothing_is_answered() {
    let job = get_job(&server(|_| Part::None), 200_000_000);
    let result = run_job(&job, &mut Nobody, Arc::default()).jobs.remove(0);
    let text = result.error_text.unwrap();
    assert!(result.error != 0 && text.contains("no whole answer within 200ms"), "{text}");
}
