//! The admin listeners beside a server that serves.

use super::*;
use crate::http::Limits;
use crate::http::testing::{Client, Server};
use ringbolt_engine::node::OpeningProgress;
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
fn readiness_says_what_the_node_does() {
    for (open, status, word) in [(false, 503, "starting"), (true, 200, "ready")] {
        let server = Server::start(Limits::default(), open);
        let mut client = server.connect_admin();
        let answer = ask(&mut client, "GET", READY_PATH);
        let value: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        assert_eq!((answer.status, value["status"].as_str()), (status, Some(word)));
        assert_eq!(ask(&mut client, "GET", ALIVE_PATH).status, 200, "it runs in any case");
        assert_eq!(ask(&mut client, "POST", READY_PATH).status, 405);
    }
    let opening = OpeningProgress { shards: 4, recovered: 1, bytes: 4000, read_bytes: 1000 };
    let told = recovering(&StartProgress { opening, seconds: 5.04 });
    let expected = serde_json::json!({
        "status": "recovering", "shards": 4, "shards_recovered": 1, "bytes": 4000, "bytes_read": 1000,
        "percent": 25.0, "seconds": 5.0, "ready_in_seconds": 16.0,
    });
    assert_eq!(told, expected);
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

/// Sends one request to the admin socket, and returns everything that comes back.
fn ask_socket(server: &Server, request: &str) -> String {
    let mut socket = UnixStream::connect(server.admin_socket()).unwrap();
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

fn command(method: &str, path: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {}{path} HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}",
        command::COMMANDS_PATH
    )
}

/// The handler of these tests has no engine: 503 means that a command was let in.
#[test]
fn the_socket_lets_commands_in_and_the_address_only_signed_ones() {
    let server = Server::start(Limits::default(), true);
    for (method, path) in [("GET", "buckets"), ("DELETE", "buckets/b"), ("POST", "clock/confirm")] {
        let answer = ask_socket(&server, &command(method, path, ""));
        assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
        let refused = server.connect_admin().send(&command(method, path, "")).answer();
        assert_eq!((refused.status, refused.header("content-type")), (403, "application/json"));
        let value: serde_json::Value = serde_json::from_slice(&refused.body).unwrap();
        assert!(value["error"].as_str().unwrap().contains("signed with version 4"), "{value}");
        assert!(value["what_to_do"].as_str().unwrap().contains("root key"), "{value}");
    }
    // Whether there is such a command is not told either.
    let refused = server.connect_admin().send(&command("GET", "secrets", "")).answer();
    assert_eq!(refused.status, 403);
}

#[test]
fn signatures_that_do_not_cover_the_command_are_refused() {
    let server = Server::start(Limits::default(), true);
    let signed = "Authorization: AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/s3/aws4_request, \
                  SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-ringbolt-command, Signature=00\r\n";
    let mark = "x-amz-ringbolt-command: 1\r\n";
    let hash = format!("x-amz-content-sha256: {}\r\n", "0".repeat(64));
    for (headers, error) in [
        ("Authorization: AWS key:AAAA\r\n".to_owned(), "signed with version 4"),
        (signed.to_owned(), "x-amz-ringbolt-command"),
        (format!("{signed}{mark}"), "must be the SHA-256 of the body"),
        (
            format!("{signed}{mark}x-amz-content-sha256: UNSIGNED-PAYLOAD\r\n"),
            "must be the SHA-256 of the body",
        ),
        (format!("{signed}{mark}{hash}x-amz-date: 20260101T000000Z\r\n"), ""),
    ] {
        let request = command("GET", "buckets", "").replace("Host: h\r\n", &format!("Host: h\r\n{headers}"));
        let refused = server.connect_admin().send(&request).answer();
        assert_eq!(refused.status, 403, "{}", refused.text());
        assert!(
            refused.text().contains(error) && refused.text().contains("what_to_do"),
            "{}",
            refused.text()
        );
    }
}

#[test]
fn bodies_of_commands_are_bounded() {
    let server = Server::start(Limits::default(), true);
    let fits = ask_socket(&server, &command("PUT", "buckets/b/quota", &" ".repeat(64 << 10)));
    assert!(fits.starts_with("HTTP/1.1 503 "), "{fits}");
    let announced = "PUT /ringbolt/v1/buckets/b/quota HTTP/1.1\r\nHost: h\r\nContent-Length: 65537\r\n\r\n";
    let refused = ask_socket(&server, announced);
    assert!(refused.starts_with("HTTP/1.1 413 ") && refused.contains("connection: close"), "{refused}");
    let piece = format!("8001\r\n{}\r\n", "x".repeat(0x8001));
    let chunked =
        "PUT /ringbolt/v1/buckets/b/quota HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let refused = ask_socket(&server, &format!("{chunked}{piece}{piece}"));
    assert!(refused.starts_with("HTTP/1.1 413 "), "{refused}");
}

#[test]
fn unknown_commands_and_methods_say_so() {
    let server = Server::start(Limits::default(), true);
    let unknown = ask_socket(&server, &command("GET", "secrets", ""));
    assert!(unknown.starts_with("HTTP/1.1 404 ") && unknown.contains("what_to_do"), "{unknown}");
    let method = ask_socket(&server, &command("POST", "buckets/b", ""));
    assert!(method.starts_with("HTTP/1.1 405 ") && method.contains("allow: GET, DELETE"), "{method}");
}

/// They shadowed the objects `health` and `metrics` of a bucket `ringbolt`, and with virtual hosts
/// those of every one.
#[test]
fn clients_have_all_names_to_themselves() {
    let server = Server::start(Limits::default(), true);
    let mut client = server.connect();
    for path in [HEALTH_PATH, READY_PATH, ALIVE_PATH, METRICS_PATH] {
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
