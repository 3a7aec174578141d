//! The admin listeners beside a server that serves.

use super::*;
use crate::http::Limits;
use crate::http::testing::{Client, Server};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

fn ask(client: &mut Client, method: &str, path: &str) -> crate::http::testing::Answer {
    client.send(&format!("{method} {path} HTTP/1.1\r\nHost: h\r\n\r\n")).answer()
}

#[test]
fn health_and_metrics_need_no_credentials_and_no_open_node() {
    for (open, health, ready) in [(false, 503, "ringbolt_ready 0"), (true, 200, "ringbolt_ready 1")] {
        let server = Server::start(Limits::default(), open);
        let mut client = server.connect_admin();
        let answer = ask(&mut client, "GET", HEALTH_PATH);
        assert_eq!((answer.status, answer.header("content-type")), (health, "application/json"));
        let answer = ask(&mut client, "GET", METRICS_PATH);
        assert!(answer.status == 200 && answer.text().contains(ready), "{}", answer.text());
    }
}

#[test]
fn they_are_in_the_socket_too() {
    let server = Server::start(Limits::default(), true);
    let mut socket = UnixStream::connect(server.admin_socket()).unwrap();
    socket.write_all(b"GET /ringbolt/health HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("\"status\":\"ok\""), "{answer}");
}

/// They shadowed the objects `health` and `metrics` of a bucket `ringbolt`, and with virtual hosts
/// those of every one.
#[test]
fn clients_have_all_names_to_themselves() {
    let server = Server::start(Limits::default(), true);
    let mut client = server.connect();
    for path in [HEALTH_PATH, METRICS_PATH] {
        let answer = ask(&mut client, "GET", path);
        assert!(answer.text().starts_with(&format!("{path} 0 ")), "the handler's: {}", answer.text());
    }
}

#[test]
fn anything_else_is_refused() {
    let server = Server::start(Limits::default(), true);
    let mut client = server.connect_admin();
    for path in ["/", "/ringbolt", "/ringbolt/health/", "/b/k"] {
        assert_eq!(ask(&mut client, "GET", path).status, 404, "{path}");
    }
    let answer = ask(&mut client, "POST", METRICS_PATH);
    assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD"));
    let head = "GET /ringbolt/health HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(client.send(head).answer().header("connection"), "close");
    assert!(client.closed());
    let answer = server.connect_admin().send("GET /ringbolt/health HTTP/1.1\r\n\r\n").answer();
    assert_eq!(answer.status, 400);
}

/// They are told when clients hold every connection.
#[test]
fn the_cap_of_clients_is_not_theirs() {
    let limits = Limits { connections: crate::http::ConnectionCap::new(1), ..Limits::default() };
    let server = Server::start(limits, true);
    let mut first = server.connect();
    assert_eq!(ask(&mut first, "GET", "/b").status, 200);
    assert_eq!(server.connect().answer().status, 503);
    let metrics = ask(&mut server.connect_admin(), "GET", METRICS_PATH);
    assert!(metrics.text().contains("ringbolt_http_connections 1\n"), "{}", metrics.text());
}
