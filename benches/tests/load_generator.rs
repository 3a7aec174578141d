//! These tests run the load generator against the bare hyper server, both in this process: what it
//! reports must be true.

use bytes::Bytes;
use ringbolt_benches::http::client::ClientError;
use ringbolt_benches::http::hyper_server;
use ringbolt_benches::http::load::{Load, run_load};
use ringbolt_benches::http::request::Request;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

const BODY_BYTES: usize = 4096;

/// Starts a server on a thread that ends with the test process.
fn start_server() -> SocketAddr {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        hyper_server::serve(BODY_BYTES, |address| sender.send(address).expect("the test waits"))
            .expect("the server runs");
    });
    receiver.recv().expect("the server started")
}

fn load(address: SocketAddr, expected_body: Vec<u8>) -> Load {
    let request = Request {
        bytes: Bytes::from("GET / HTTP/1.1\r\nhost: test\r\n\r\n"),
        expected_body: Some(expected_body.into()),
    };
    Load {
        address,
        server_pid: std::process::id(),
        connections: 4,
        core: 0,
        ramp: Duration::from_millis(50),
        runtime: Duration::from_millis(200),
        rest: None,
        requests: Arc::new(vec![request]),
    }
}

#[test]
fn rates_and_costs_agree_with_each_other() {
    let report = run_load(load(start_server(), vec![0x5a; BODY_BYTES])).unwrap();
    assert!(report.requests_per_s > 100.0, "{report:?}");
    // The server's CPU time is here that of this whole process, so it cannot be less than the
    // client's.
    assert!(report.server_cpu_us > 0.0 && report.client_cpu_us > 0.0, "{report:?}");
    let busy = report.server_cpu_us * report.requests_per_s / 1e6;
    assert!((busy - report.server_busy).abs() < 0.01 * busy, "{report:?}");
    assert!(report.p50_us <= report.p99_us, "{report:?}");
}

#[test]
fn a_wrong_body_fails_the_run() {
    let outcome = run_load(load(start_server(), vec![0x5b; BODY_BYTES]));
    assert!(matches!(outcome, Err(ClientError::WrongBody { length: BODY_BYTES })), "{outcome:?}");
}
