//! RFC 9110 and RFC 9112 over a real listener: what docs/s3-compatibility.md says of them.

use super::testing::Server;
use super::*;
use std::io::{Read, Write};

/// Bytes that a slow peer would send if it were let.
const TRICKLED_MAX: u32 = 1200;

/// Everything that the server sends until it closes.
fn rest(client: &mut super::testing::Client) -> String {
    let mut rest = Vec::new();
    // A reset ends it as well.
    let _ = client.0.read_to_end(&mut rest);
    String::from_utf8_lossy(&rest).into_owned()
}

fn answers(text: &str) -> usize {
    text.matches("HTTP/1.1 ").count()
}

/// RFC 9112, 3.2: they got an answer as if they were good.
#[test]
fn a_request_without_its_one_host_is_refused() {
    for hosts in ["", "Host: a\r\nHost: b\r\n", "Host: a\r\nHost: a\r\n", "Host: a b\r\n", "Host:\r\n"] {
        let server = Server::start(Limits::default(), true);
        let mut client = server.connect();
        let answer = client.send(&format!("GET /b HTTP/1.1\r\n{hosts}\r\n")).answer();
        assert_eq!((answer.status, answer.header("connection")), (400, "close"), "{hosts:?}");
        assert!(answer.text().contains("<Code>InvalidRequest</Code>"), "{}", answer.text());
        assert!(client.closed());
    }
    let server = Server::start(Limits::default(), true);
    let answer = server.connect().send("GET /b HTTP/1.0\r\n\r\n").answer();
    assert_eq!(answer.status, 200, "HTTP/1.0 has none");
}

/// RFC 9112, 3.2.2.
#[test]
fn the_host_of_an_absolute_target_counts() {
    let server = Server::start(Limits::default(), true);
    let mut client = server.connect();
    let answer = client.send("GET http://first/b/k?x HTTP/1.1\r\nHost: second\r\n\r\n").answer();
    assert!(answer.text().starts_with("/b/k 0 first "), "{}", answer.text());
}

/// RFC 9110, 9: methods of HTTP that nothing here has.
#[test]
fn methods_that_nothing_has_say_what_is_allowed() {
    for target in ["PATCH /b", "TRACE /b", "CONNECT h:80"] {
        let server = Server::start(Limits::default(), true);
        let answer = server.connect().send(&format!("{target} HTTP/1.1\r\nHost: h\r\n\r\n")).answer();
        assert_eq!(answer.status, 405, "{target}");
        assert!(answer.header("allow").contains("GET, HEAD, PUT"), "{target}");
    }
}

/// RFC 9112, 6.1: a coding that nobody takes off would be stored as if it were the object.
#[test]
fn transfer_codings_other_than_chunked_are_refused() {
    let chunked = "4\r\nbody\r\n0\r\n\r\n";
    // Chunks alone are taken off; it is S3 then that asks for the length of what is stored.
    for (coding, status) in [("chunked", 411), ("gzip, chunked", 501), ("chunked, gzip", 400), ("gzip", 400)]
    {
        let server = Server::start(Limits::default(), true);
        let mut client = server.connect();
        client.send(&format!("PUT /b/k HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: {coding}\r\n\r\n{chunked}"));
        let heard = client.line();
        assert_eq!(heard.split(' ').nth(1), Some(status.to_string().as_str()), "{coding}: {heard}");
    }
}

/// RFC 9112, 6.3: what two readers could frame differently ends the connection.
#[test]
fn two_ways_to_frame_a_body_end_the_connection() {
    let second = "GET /second HTTP/1.1\r\nHost: h\r\n\r\n";
    for framing in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
        "Content-Length: 4\r\nContent-Length: 5\r\n\r\nbody",
        "Content-Length: +4\r\n\r\nbody",
        "Content-Length: 4, 4\r\n\r\nbody",
    ] {
        let server = Server::start(Limits::default(), true);
        let mut client = server.connect();
        client.send(&format!("PUT /b/k HTTP/1.1\r\nHost: h\r\n{framing}{second}"));
        let heard = rest(&mut client);
        assert!(answers(&heard) <= 1 && !heard.contains("/second"), "{framing:?}: {heard}");
    }
}

/// RFC 9110, 9.3.1: a body of a GET has no meaning, and must not become the next request.
#[test]
fn a_body_where_none_belongs_is_never_the_next_request() {
    let smuggled = "GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n";
    for method in ["GET", "HEAD", "DELETE", "OPTIONS"] {
        // A handler that reads it, and a refusal before anybody does.
        for (path, header) in [("/read", "X-A: b"), ("/unread", "Authorization: x")] {
            let server = Server::start(Limits::default(), true);
            let mut client = server.connect();
            let length = smuggled.len();
            let head = format!(
                "{method} {path} HTTP/1.1\r\nHost: h\r\n{header}\r\nContent-Length: {length}\r\n\r\n"
            );
            client.send(&head).send(smuggled);
            client.half_close();
            let heard = rest(&mut client);
            assert_eq!(answers(&heard), 1, "{method} {path}: {heard}");
            assert!(!heard.contains("/smuggled"), "{method} {path}: {heard}");
        }
    }
}

/// RFC 9112, 9.6: a client that has said all it had to say hears the answer, however long that
/// takes.
#[test]
fn a_half_closed_connection_gets_its_answer() {
    let server = Server::start(Limits::default(), true);
    let mut client = server.connect();
    client.send("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n").half_close();
    // Its end has arrived before this second connection is made.
    let other = server.connect().send("GET /go HTTP/1.1\r\nHost: h\r\n\r\n").answer();
    assert_eq!(other.status, 200);
    let answer = client.answer();
    assert!(answer.text().starts_with("/wait 0 "), "{}", answer.text());
    let mut large = server.connect();
    large.send("GET /large HTTP/1.1\r\nHost: h\r\n\r\n").half_close();
    assert_eq!(large.answer().body.len(), super::testing::LARGE_BYTES);
}

/// RFC 9112, 9.3.2: pipelined requests are answered in order.
#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::start(Limits::default(), true);
    let mut client = server.connect();
    let request = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
    client.send(&[request("/a"), request("/b"), request("/c")].concat());
    for path in ["/a", "/b", "/c"] {
        assert!(client.answer().text().starts_with(path));
    }
}

/// RFC 9112, 2.2, 5.1 and 5.2: heads that readers disagree about.
#[test]
fn heads_that_can_be_read_in_two_ways_are_refused() {
    for head in [
        "GET /b HTTP/1.1\r\nHost: h\r\nX-A : b\r\n\r\n",
        "GET /b HTTP/1.1\r\nHost: h\r\nX-A: b\r\n c\r\n\r\n",
        "GET /b HTTP/1.1\r\n Host: h\r\n\r\n",
        "GET /b\u{b}HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET  /b HTTP/1.1\r\nHost: h\r\n\r\n",
        "GET /b HTTP/1.1\r\nHost: h\r\nX-A: b\rc\r\n\r\n",
        "GET b HTTP/1.1\r\nHost: h\r\n\r\n",
    ] {
        let server = Server::start(Limits::default(), true);
        let mut client = server.connect();
        client.send(head).half_close();
        let heard = rest(&mut client);
        assert!(heard.starts_with("HTTP/1.1 400"), "{head:?}: {heard}");
    }
}

#[test]
fn two_hundred_headers_are_taken() {
    let server = Server::start(Limits::default(), true);
    let mut client = server.connect();
    let many: String = (0..200).map(|number| format!("x-amz-meta-{number}: v\r\n")).collect();
    let answer = client.send(&format!("GET /b HTTP/1.1\r\nHost: h\r\n{many}\r\n")).answer();
    assert_eq!(answer.status, 200);
}

/// It never stood still for as long as the limit, and so it went on for as long as its sender
/// wanted.
#[test]
fn a_body_that_trickles_is_ended() {
    let limit = Duration::from_millis(500);
    let server = Server::start(Limits { body_stall: limit, ..Limits::default() }, true);
    let mut client = server.connect();
    client.send("PUT /b/k HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n");
    let mut sending = client.0.get_ref().try_clone().unwrap();
    let trickle = std::thread::spawn(move || {
        let (_sender, pause) = std::sync::mpsc::channel::<()>();
        // Not a wait for anything: it is how slowly this peer sends.
        let send = |_: &u32| {
            let _ = pause.recv_timeout(limit / 20);
            sending.write_all(b"x").is_ok()
        };
        (0..TRICKLED_MAX).take_while(send).count()
    });
    let answer = client.answer();
    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("<Code>RequestTimeout</Code>"), "{}", answer.text());
    drop(client);
    // It would have gone on for longer than this test waits for the answer.
    assert!(trickle.join().unwrap() < TRICKLED_MAX as usize);
}
