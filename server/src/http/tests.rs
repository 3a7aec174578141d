//! Connections and requests over a real listener.

use super::testing::{LARGE_BYTES, Server};
use super::*;
use crate::auth::hash::Sha256;
use std::io::Read;

#[test]
fn keep_alive_requests_get_ids_of_their_own() {
    let server = Server::start(Limits::default(), true);
    let mut client = server.connect();
    let mut ids = Vec::new();
    for body in ["", "hello"] {
        let answer = client
            .send(&format!("PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
            .answer();
        let id = answer.header("x-amz-request-id").to_owned();
        assert_eq!(answer.text(), format!("/b/k {} h {id}", body.len()));
        assert_eq!((answer.status, answer.header("server")), (200, "Ringbolt"));
        assert!(!answer.header("x-amz-id-2").is_empty());
        ids.push(id);
    }
    assert_ne!(ids[0], ids[1]);
    assert_eq!(server.stop(), 0);
}

/// `aws s3 sync` of a tree with empty files hung: botocore reuses a connection on which it was
/// answered without "100 Continue", and misreads the next answer.
#[test]
fn a_client_that_waits_to_send_nothing_is_not_kept() {
    let server = Server::start(Limits::default(), true);
    let mut client = server.connect();
    let head = "PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n";
    let answer = client.send(head).answer();
    assert_eq!((answer.status, answer.header("connection")), (200, "close"));
    assert!(client.closed());
}

/// A client that was refused before its body was read sent its next request into a closing
/// connection.
#[test]
fn a_body_left_unread_ends_the_connection_and_says_so() {
    let server = Server::start(Limits::default(), true);
    let mut client = server.connect();
    let head = "PUT /b/k HTTP/1.1\r\nHost: h\r\nAuthorization: AWS a:b\r\nContent-Length: 1000000\r\n\r\n";
    let answer = client.send(head).answer();
    assert_eq!((answer.status, answer.header("connection")), (403, "close"));
}

#[test]
fn requests_wait_for_the_node() {
    for (open, status) in [(false, 503), (true, 200)] {
        let server = Server::start(Limits::default(), open);
        let answer = server.connect().send("GET /b HTTP/1.1\r\nHost: h\r\n\r\n").answer();
        assert_eq!(answer.status, status, "{}", answer.text());
    }
}

#[test]
fn errors_carry_code_and_request_id() {
    let server = Server::start(Limits::default(), true);
    let mut client = server.connect();
    let answer = client.send("GET /b HTTP/1.1\r\nHost: h\r\nAuthorization: AWS a:b\r\n\r\n").answer();
    let id = format!("<RequestId>{}</RequestId>", answer.header("x-amz-request-id"));
    assert_eq!(answer.status, 403);
    assert!(answer.text().contains("<Code>AccessDenied</Code>") && answer.text().contains(&id));
}

/// The handler saw only a broken stream and answered 500: the client is told what it did wrong.
#[test]
fn a_body_with_the_wrong_hash_is_the_clients_error() {
    let server = Server::start(Limits::default(), true);
    let mut client = server.connect();
    let hash = hex::encode(Sha256::digest(b"other"));
    let head =
        format!("PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nx-amz-content-sha256: {hash}\r\n\r\n");
    let answer = client.send(&head).send("hello").answer();
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("<Code>XAmzContentSHA256Mismatch</Code>"), "{}", answer.text());
    // The body was read to its end, so the connection goes on.
    assert_eq!(client.send("GET /b HTTP/1.1\r\nHost: h\r\n\r\n").answer().status, 200);
}

#[test]
fn the_body_is_only_asked_for_once_the_signature_was_checked() {
    let server = Server::start(Limits::default(), true);
    let mut good = server.connect();
    good.send("PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(good.line(), "HTTP/1.1 100 Continue");
    good.line();
    assert_eq!(good.send("hello").answer().status, 200);
    let mut bad = server.connect();
    let head = "PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\nAuthorization: x\r\n\r\n";
    assert_eq!(bad.send(head).answer().status, 400);
}

/// 8 MiB do not fit a socket's buffer: sending has to wait for the reader many times.
#[test]
fn large_answers_arrive_whole() {
    let server = Server::start(Limits::default(), true);
    let mut client = server.connect();
    for _ in 0..2 {
        let answer = client.send("GET /large HTTP/1.1\r\nHost: h\r\n\r\n").answer();
        assert_eq!(answer.body.len(), LARGE_BYTES);
        assert!(answer.body.iter().all(|&byte| byte == 7));
    }
}

#[test]
fn a_refused_upload_can_still_read_why() {
    let server = Server::start(Limits::default(), true);
    let mut client = server.connect();
    let head =
        format!("PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: {LARGE_BYTES}\r\nAuthorization: x\r\n\r\n");
    client.send(&head).send(&"x".repeat(LARGE_BYTES));
    assert_eq!(client.answer().status, 400);
}

#[test]
fn large_uploads_arrive_whole() {
    let server = Server::start(Limits::default(), true);
    let mut client = server.connect();
    let head = format!("PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: {LARGE_BYTES}\r\n\r\n");
    let answer = client.send(&head).send(&"x".repeat(LARGE_BYTES)).answer();
    assert!(answer.text().starts_with(&format!("/b/k {LARGE_BYTES} ")), "{}", answer.text());
}

#[test]
fn slow_heads_and_slow_bodies_are_ended() {
    let short = Duration::from_millis(50);
    let server = Server::start(Limits { header_time: short, body_stall: short, ..Limits::default() }, true);
    let mut head = server.connect();
    head.send("GET / HTTP/1.1\r\nHo");
    let mut rest = Vec::new();
    head.0.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&rest));
    let mut body = server.connect();
    let answer = body.send("PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhe").answer();
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("<Code>RequestTimeout</Code>"));
    assert!(body.closed());
}

#[test]
fn connections_over_the_cap_are_told_so() {
    let server = Server::start(Limits { connections: ConnectionCap::new(1), ..Limits::default() }, true);
    let mut first = server.connect();
    assert_eq!(first.send("GET /b HTTP/1.1\r\nHost: h\r\n\r\n").answer().status, 200);
    let mut second = server.connect();
    let answer = second.answer();
    assert_eq!(answer.status, 503);
    assert!(answer.text().contains("SlowDown") && answer.text().ends_with("</Error>\n"));
    assert!(second.closed());
    assert_eq!(first.send("GET /b HTTP/1.1\r\nHost: h\r\n\r\n").answer().status, 200);
}

#[test]
fn heads_over_the_cap_are_refused() {
    let server = Server::start(Limits { header_bytes_max: 8192, ..Limits::default() }, true);
    let mut client = server.connect();
    client.send(&format!("GET / HTTP/1.1\r\nHost: h\r\nx-amz-meta-a: {}\r\n\r\n", "a".repeat(20_000)));
    assert_eq!(client.line().split(' ').nth(1), Some("431"));
}

#[test]
fn a_graceful_stop_finishes_what_runs_and_closes_what_idles() {
    let server = Server::start(Limits::default(), true);
    let mut idle = server.connect();
    assert_eq!(idle.send("GET /b HTTP/1.1\r\nHost: h\r\n\r\n").answer().status, 200);
    let mut busy = server.connect();
    busy.send("PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n");
    // The handler now waits for the body.
    assert_eq!(busy.line(), "HTTP/1.1 100 Continue");
    busy.line();
    server.stop.ring();
    assert!(idle.closed());
    assert_eq!(busy.send("hello").answer().status, 200);
    assert!(busy.closed());
    assert_eq!(server.stop(), 0);
}

#[test]
fn an_address_in_use_is_refused() {
    let address = "127.0.0.1:0".parse().unwrap();
    let first = bind(address, 2, "--listen").unwrap();
    assert_eq!(first[0].local_addr().unwrap(), first[1].local_addr().unwrap());
    let error = bind(first[0].local_addr().unwrap(), 1, "--flag").unwrap_err();
    assert!(matches!(error, ListenError::InUse { flag: "--flag", .. }), "{error}");
}
