//! The limits of keys, buckets and addresses over a real listener. Anonymous clients are told apart by
//! the loopback address that they come from.

use super::testing::{Answer, Client, LARGE_BYTES, Server};
use super::*;
use crate::throttle::PerSecond;
use std::time::Instant;

const GET: &str = "GET /b/k HTTP/1.1\r\nHost: h\r\n\r\n";

fn server(throttle: ThrottleLimits) -> Server {
    Server::start(Limits { throttle, ..Limits::default() }, true)
}

fn requests(per_second: u64) -> PerSecond {
    PerSecond { requests: Some(per_second), bytes: None }
}

/// Asserts that a request was refused with the advice to come back in so many seconds.
fn assert_held(answer: &Answer, part: &str, seconds: std::ops::RangeInclusive<u64>) {
    assert_eq!(answer.status, 503, "{}", answer.text());
    assert!(
        answer.text().contains("<Code>SlowDown</Code>") && answer.text().contains(part),
        "{}",
        answer.text()
    );
    let after: u64 = answer.header("retry-after").parse().unwrap();
    assert!(seconds.contains(&after), "after {after} s");
}

#[test]
fn a_client_that_asks_too_often_waits_and_others_do_not() {
    let server = server(ThrottleLimits { key: requests(1), ..ThrottleLimits::default() });
    let (mut one, mut other) = (server.connect(), server.connect_from([127, 0, 0, 2]));
    assert_eq!(one.send(GET).answer().status, 200);
    let held = (0..100).map(|_| one.send(GET).answer()).find(|answer| answer.status != 200);
    assert_held(&held.expect("two within a second"), "This key sends more requests", 1..=1);
    assert_eq!(other.send(GET).answer().status, 200);
    let anybody = "GET /anybody HTTP/1.1\r\nHost: h\r\n\r\n";
    let is_held = (0..100).any(|_| one.send(anybody).answer().status == 503);
    assert!(is_held, "what needs no key is limited too");
}

#[test]
fn a_bucket_that_is_asked_too_often_holds_back_its_own_clients() {
    let server = server(ThrottleLimits { bucket: requests(1), ..ThrottleLimits::default() });
    let mut client = server.connect();
    // The handler of these tests lets everybody do something with the bucket `b`, and with no other.
    let held = (0..100).map(|_| client.send(GET).answer()).find(|answer| answer.status != 200);
    assert_held(&held.expect("two within a second"), "This bucket gets more requests", 1..=1);
    let other = "GET /c/k HTTP/1.1\r\nHost: h\r\n\r\n";
    assert!((0..10).all(|_| client.send(other).answer().status == 200));
}

#[test]
fn a_client_has_so_many_requests_at_once() {
    let server = server(ThrottleLimits { key_in_flight: Some(1), ..ThrottleLimits::default() });
    let (mut waits, mut more) = (server.connect(), server.connect());
    let put = "PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
    waits.send(put);
    // The handler waits for the body: the request is in flight.
    assert_eq!(waits.line(), "HTTP/1.1 100 Continue");
    waits.line();
    assert_held(&more.send(GET).answer(), "more requests at the same time", 1..=1);
    assert_eq!(server.connect_from([127, 0, 0, 2]).send(GET).answer().status, 200);
    assert_eq!(waits.send("hello").answer().status, 200);
    // The place is given back once the answer was sent, which its reader may see a moment before.
    let freed = (0..500).any(|_| {
        std::thread::yield_now();
        more.send(GET).answer().status == 200
    });
    assert!(freed);
}

#[test]
fn bytes_are_slowed_down_and_then_refused() {
    let bytes = Some(LARGE_BYTES as u64 / 16);
    let server =
        server(ThrottleLimits { key: PerSecond { requests: None, bytes }, ..ThrottleLimits::default() });
    let mut client = server.connect();
    let began = Instant::now();
    let put = format!("PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", LARGE_BYTES / 8);
    // Two seconds' worth arrive: the first at once, the second within a second.
    let answer = client.send(&put).send(&"x".repeat(LARGE_BYTES / 8)).answer();
    assert!(answer.status == 200 && began.elapsed() > Duration::from_millis(500), "{:?}", began.elapsed());
    // One piece of sixteen seconds' worth: whoever comes next waits for them.
    assert_eq!(client.send("GET /large HTTP/1.1\r\nHost: h\r\n\r\n").answer().body.len(), LARGE_BYTES);
    assert_held(&client.send(GET).answer(), "This key moves more bytes", 1..=16);
    assert_eq!(server.connect_from([127, 0, 0, 2]).send(GET).answer().status, 200);
}

#[test]
fn an_address_has_so_many_connections() {
    let limits = Limits { connections_per_address: Some(2), ..Limits::default() };
    let server = Server::start(limits, true);
    let ask = |client: &mut Client| client.send(GET).answer().status;
    let (mut one, mut two) = (server.connect(), server.connect());
    assert_eq!((ask(&mut one), ask(&mut two)), (200, 200));
    let mut third = server.connect();
    let answer = third.answer();
    assert!(answer.status == 503 && answer.text().contains("Too many connections"), "{}", answer.text());
    assert_eq!(ask(&mut server.connect_from([127, 0, 0, 2])), 200);
    drop(two);
    // The server hears of the end of a connection a moment later.
    let again = (0..500).any(|_| {
        let mut client = server.connect();
        client.0.get_ref().set_nonblocking(false).unwrap();
        client.send(GET).answer().status == 200
    });
    assert!(again, "the place was given back");
}
